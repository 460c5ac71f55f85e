//! What a refusal or an outage stops, and nothing beside it: one organisation's 403 leaves the others alone, and a
//! missing permission on integrations leaves connections alone.

use std::fmt;

use crate::model::OrgId;

/// Whose API it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Upstream {
    /// Read only.
    Github,
    /// Read and written.
    Datadog,
}

impl Upstream {
    /// The name in logs, metrics and the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Datadog => "datadog",
        }
    }
}

impl fmt::Display for Upstream {
    /// As people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Github => "GitHub",
            Self::Datadog => "Datadog",
        })
    }
}

/// Whose permission a request needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// The credential's own, whatever it is used for.
    Credential,
    /// What it may do in an organisation.
    Org(OrgId),
    /// The same, of an organisation whose id is not known.
    Login(String),
}

/// What is asked for, as far as one permission goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// The GitHub App itself: its installations and their tokens.
    App,
    /// Datadog's team connections.
    Connections,
    /// Documents of Datadog's entity integrations.
    Integrations,
    /// The user's own standing in an organisation.
    Membership,
    /// A GitHub organisation.
    Org,
    /// Repositories, one or a list: some may be closed while all others are open, and a team's list goes with it.
    Repositories,
    /// Datadog's own sync of teams.
    Sync,
    /// Teams, of either.
    Teams,
    /// Whose token it is.
    User,
}

impl Capability {
    fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Connections => "connections",
            Self::Integrations => "integrations",
            Self::Membership => "membership",
            Self::Org => "org",
            Self::Repositories => "repositories",
            Self::Sync => "sync",
            Self::Teams => "teams",
            Self::User => "user",
        }
    }
}

/// Whether something is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing is.
    Read,
    /// Losing the answer is ambiguous.
    Write,
}

/// What fails and heals together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// The API.
    pub upstream: Upstream,
    /// The credential, or what it may do in one organisation.
    pub whose: Whose,
    /// What is asked for.
    pub capability: Capability,
    /// To read or to write.
    pub access: Access,
}

impl Scope {
    /// A scope of Datadog, where one credential serves for all.
    pub const fn datadog(capability: Capability, access: Access) -> Self {
        Self { upstream: Upstream::Datadog, whose: Whose::Credential, capability, access }
    }

    /// A scope of GitHub, which is only read.
    pub const fn github(whose: Whose, capability: Capability) -> Self {
        Self { upstream: Upstream::Github, whose, capability, access: Access::Read }
    }

    /// What an outage of it concerns: a server that fails does not ask whose organisation it is.
    pub fn outage(&self) -> Self {
        Self { whose: Whose::Credential, ..self.clone() }
    }

    /// Whether a refusal says anything beyond the one thing that was asked.
    pub fn refusal_spreads(&self) -> bool {
        match self.capability {
            Capability::App
            | Capability::Connections
            | Capability::Integrations
            | Capability::Org
            | Capability::Teams => true,
            Capability::Membership | Capability::Repositories | Capability::Sync | Capability::User => false,
        }
    }
}

impl fmt::Display for Scope {
    /// `datadog:connections:write`, `github:1000001:teams:read`: a metric's label, and how the ledger names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.upstream.as_str())?;
        match &self.whose {
            Whose::Credential => {}
            Whose::Org(org) => write!(f, ":{org}")?,
            Whose::Login(login) => write!(f, ":{login}")?,
        }
        let access = match self.access {
            Access::Read => "read",
            Access::Write => "write",
        };
        write!(f, ":{}:{access}", self.capability.as_str())
    }
}

/// Who waits when little of a rate limit is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// An event or a person: whatever is left may be used.
    #[default]
    Event,
    /// A full pass: a reserve is left to the events.
    Pass,
}

/// A request, for those who judge its answer.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What it needs.
    pub scope: &'a Scope,
    /// The operation's name in metrics.
    pub operation: &'static str,
    /// Finishes the sentence "failed to …".
    pub attempt: &'a str,
    /// What to check when it is refused.
    pub needs: &'a str,
    /// It asks for something that always exists, so that a 404 hides it: both upstreams hide so what is not
    /// granted, and previews that are off.
    pub collection: bool,
    /// A 401 only says that a short-lived token has ended; the caller asks for another.
    pub renewable: bool,
    /// Which of several rate limits of one kind it counts towards: a GitHub App has one for each installation.
    pub account: u64,
    /// Who waits.
    pub urgency: Urgency,
}

impl Question<'_> {
    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        self.scope.access == Access::Write
    }
}
