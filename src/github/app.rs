//! Signing in as a GitHub App. The App's own key signs only what is asked about the App; everything of an
//! organisation is read with the token of the App's installation there, which GitHub gives for an hour.
//!
//! An organisation without an installation, with a suspended one, or whose token GitHub refuses is *forbidden*: no
//! trouble from here ever carries the status 404, which would read as absence.
//!
//! Which installation belongs to which organisation is known by numeric id and login from the App's list. It is read
//! again when an organisation is missing from it, or when GitHub no longer knows the installation that it names, since
//! an App that is removed and installed anew has another.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use http::{Request, StatusCode};
use jsonwebtoken::EncodingKey;
use octocrab::{AuthState, Octocrab};
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;

use super::{
    assertion,
    client::{Line, Purpose},
    wire,
};
use crate::{
    model::{Class, OrgFacts, OrgId, Time, Trouble},
    secret::Secret,
    transport::{self, Asked, Page},
    upstream::{self, Reply},
};

/// A token is not used for its last minute: a request may take ten seconds, and clocks differ.
const MARGIN: Duration = Duration::from_secs(60);

/// No token lives longer.
const LIFE: Duration = Duration::from_secs(3600);

/// GitHub's page size limit.
const PAGE: usize = 100;

const CHECK_APP: &str = "check github.app_id, github.private_key and this machine's clock";

/// Whose token a request needs; a personal access token serves for all.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of<'a> {
    /// The App's own key.
    App,
    /// The installation on the organisation with this id.
    Id(OrgId),
    /// The installation on the organisation with this login.
    Login(&'a str),
}

/// One installation of the App on an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The organisation.
    pub org: OrgFacts,
    /// An owner, or GitHub, has suspended it: nothing can be read.
    pub suspended: bool,
    /// It may read members and teams, secret ones too.
    pub members: bool,
}

/// The App, with a token for each installation that was needed.
pub(super) struct App {
    id: u64,
    private_key: Secret,
    /// The key of this version, and what signs with it.
    key: std::sync::Mutex<(u64, EncodingKey)>,
    line: Line,
    listed: Mutex<Listed>,
}

#[derive(Default)]
struct Listed {
    at: Option<Instant>,
    installed: Vec<Installed>,
}

#[derive(Clone)]
struct Installed {
    id: u64,
    seen: Installation,
    /// Locked while a token is asked for, so that it is asked for once.
    token: Arc<Mutex<Option<Token>>>,
}

#[derive(Clone)]
struct Token {
    signer: Arc<Octocrab>,
    /// The installation.
    account: u64,
    /// By the monotonic clock.
    good_until: Duration,
    members: bool,
}

/// What signs a request, and whose rate limit it counts towards.
pub(super) struct Signer {
    pub(super) crab: Arc<Octocrab>,
    pub(super) account: u64,
}

/// Why there is no token.
enum Refused {
    /// GitHub does not know the installation.
    Unknown,
    Trouble(Trouble),
}

impl Listed {
    fn find(&self, of: Of<'_>) -> Option<Installed> {
        let wanted = |it: &&Installed| match of {
            Of::App => false,
            Of::Id(id) => it.seen.org.id == id,
            Of::Login(login) => it.seen.org.login.eq_ignore_ascii_case(login),
        };
        self.installed.iter().find(wanted).cloned()
    }
}

impl App {
    /// # Errors
    /// When the key is no RSA key in PEM.
    pub(super) fn new(id: u64, private_key: Secret, line: Line) -> anyhow::Result<Self> {
        let key = Self::key(&private_key)?;
        assertion::sign(id, line.time(), &key)?;
        let key = std::sync::Mutex::new((private_key.version(), key));
        Ok(Self { id, private_key, key, line, listed: Mutex::default() })
    }

    fn key(private_key: &Secret) -> anyhow::Result<EncodingKey> {
        EncodingKey::from_rsa_pem(private_key.pem().expose_secret().as_bytes())
            .context("the private key of the GitHub App is no RSA key in PEM")
    }

    /// What signs with the App's own key and GitHub's time, as they are now. One that is no key changes nothing.
    fn own_signer(&self) -> Result<Octocrab, Trouble> {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.private_key.version();
        if key.0 != version {
            let now = self.line.time();
            match Self::key(&self.private_key)
                .and_then(|new| assertion::sign(self.id, now, &new).map(|_| new))
            {
                Ok(new) => key.1 = new,
                Err(error) => tracing::warn!("the former private key is used: {error:#}"),
            }
            key.0 = version;
        }
        let token = assertion::sign(self.id, self.line.time(), &key.1)
            .map_err(|error| Trouble::new(Class::Permanent, format!("{error:#}")))?;
        Ok(self.line.signed_by(AuthState::AccessToken { token }))
    }

    /// What signs requests of this kind. `refused` is the signer that GitHub has just refused.
    pub(super) async fn signer(
        &self,
        of: Of<'_>,
        attempt: &str,
        refused: Option<&Arc<Octocrab>>,
    ) -> Result<Signer, Trouble> {
        match of {
            Of::App => Ok(Signer { crab: Arc::new(self.own_signer()?), account: 0 }),
            Of::Id(_) | Of::Login(_) => {
                let Token { signer: crab, account, .. } = self.token(of, attempt, refused).await?;
                Ok(Signer { crab, account })
            }
        }
    }

    /// Whether the token for this organisation may read its members and all of its teams.
    pub(super) async fn reads_members(&self, of: Of<'_>, attempt: &str) -> Result<bool, Trouble> {
        Ok(self.token(of, attempt, None).await?.members)
    }

    async fn token(
        &self,
        of: Of<'_>,
        attempt: &str,
        refused: Option<&Arc<Octocrab>>,
    ) -> Result<Token, Trouble> {
        let asked = Instant::now();
        let not_installed = || {
            let whose = match of {
                Of::Id(id) => format!("organisation {id}"),
                Of::Login(login) => format!("organisation {login}"),
                Of::App => "itself".to_owned(),
            };
            let app = self.id;
            let why = format!("GitHub App {app} is not installed on {whose}");
            let remedy = "install it there (an owner can), or take the organisation off github.orgs";
            Trouble::new(Class::Auth, format!("failed to {attempt}: {why}; {remedy}"))
        };
        let mut newer_than = None;
        loop {
            let installed = self.find(of, attempt, newer_than).await?.ok_or_else(not_installed)?;
            match self.token_of(&installed, attempt, refused).await {
                Ok(token) => return Ok(token),
                Err(Refused::Trouble(trouble)) => return Err(trouble),
                Err(Refused::Unknown) if newer_than.is_none() => newer_than = Some(asked),
                Err(Refused::Unknown) => return Err(not_installed()),
            }
        }
    }

    /// The installation, from a list read after `newer_than` if that is given, and from a new one if the known list
    /// lacks it.
    async fn find(
        &self,
        of: Of<'_>,
        attempt: &str,
        newer_than: Option<Instant>,
    ) -> Result<Option<Installed>, Trouble> {
        let asked = newer_than.unwrap_or_else(Instant::now);
        let mut listed = self.listed.lock().await;
        let read_since = listed.at.is_some_and(|at| at > asked);
        let known = listed.find(of);
        if read_since || (newer_than.is_none() && known.is_some()) {
            return Ok(known);
        }
        self.list(&mut listed, attempt).await?;
        Ok(listed.find(of))
    }

    /// The App's installations on organisations, now.
    pub(super) async fn installations(&self) -> Result<Vec<Installation>, Trouble> {
        let mut listed = self.listed.lock().await;
        self.list(&mut listed, "list the installations of the GitHub App").await?;
        Ok(listed.installed.iter().map(|it| it.seen.clone()).collect())
    }

    async fn list(&self, listed: &mut Listed, attempt: &str) -> Result<(), Trouble> {
        let at = Instant::now();
        let fetch = async |number: usize| {
            let uri = format!("/app/installations?per_page={PAGE}&page={}", number + 1);
            let purpose = Purpose::of_app("list_installations", attempt, CHECK_APP, None);
            let reply = self.exchange(&purpose, || Request::get(&uri)).await?;
            if reply.status != StatusCode::OK {
                return Err(self.refusal(&purpose, &reply));
            }
            let items: Vec<wire::Installation> =
                serde_json::from_slice(&reply.body).map_err(|e| upstream::invalid(attempt, &reply, &e))?;
            let (next, pages) = wire::links(&reply.headers);
            Ok(Page { more: next || items.len() >= PAGE, items, pages, total: None })
        };
        let asked = Asked { list: "list_installations", attempt, kept: None };
        let shelf = self.line.carrier.http.shelf();
        let all = transport::pages(shelf, &asked, fetch, |installation| installation.id).await?.items;
        let before = std::mem::take(&mut listed.installed);
        for installation in all {
            let id = installation.id;
            let Some(seen) = installation.on_org() else { continue };
            let token = before.iter().find(|it| it.id == id).map(|it| it.token.clone()).unwrap_or_default();
            listed.installed.push(Installed { id, seen, token });
        }
        listed.at = Some(at);
        Ok(())
    }

    /// The token of an installation: the known one, unless it is about to end or is the one `refused`.
    async fn token_of(
        &self,
        installed: &Installed,
        attempt: &str,
        refused: Option<&Arc<Octocrab>>,
    ) -> Result<Token, Refused> {
        let mut known = installed.token.lock().await;
        if let Some(token) = &*known
            && self.line.clock.monotonic() < token.good_until
            && refused.is_none_or(|refused| !Arc::ptr_eq(refused, &token.signer))
        {
            return Ok(token.clone());
        }
        *known = None;
        let Installed { id, seen, token: _ } = installed;
        let login = &seen.org.login;
        let attempt = format!("{attempt}: no token of GitHub App {} for organisation {login}", self.id);
        let needs = format!(
            "an owner of {login} has to lift the suspension of the app (organisation settings, GitHub Apps); otherwise {CHECK_APP}"
        );
        let uri = format!("/app/installations/{id}/access_tokens");
        let purpose = Purpose::of_app("create_token", &attempt, &needs, Some(seen.org.id));
        let asked = self.line.clock.monotonic();
        let reply = self.exchange(&purpose, || Request::post(&uri)).await.map_err(Refused::Trouble)?;
        match reply.status {
            StatusCode::CREATED => {}
            StatusCode::NOT_FOUND => return Err(Refused::Unknown),
            _ => return Err(Refused::Trouble(self.refusal(&purpose, &reply))),
        }
        let invalid = |why: &dyn std::fmt::Display| {
            // Without the body, which may hold the token.
            let message = format!("failed to {attempt}: the answer makes no sense ({why})");
            Refused::Trouble(Trouble::new(Class::Invalid, message))
        };
        let given: wire::Token = serde_json::from_slice(&reply.body).map_err(|error| invalid(&error))?;
        let expires = humantime::parse_rfc3339(&given.expires_at).map_err(|error| invalid(&error))?;
        let members = given.permissions.read_members();
        let signer = self.line.signed_by(AuthState::AccessToken { token: given.token.into() });
        // By the clock of whoever gave it: this machine's may be wrong.
        let given_at = reply.date().unwrap_or_else(|| self.line.clock.wall());
        let good_until = asked + Time::from(expires).since(given_at).min(LIFE).saturating_sub(MARGIN);
        let token = Token { signer: Arc::new(signer), account: *id, good_until, members };
        *known = Some(token.clone());
        Ok(token)
    }

    /// Asks as the App. A refusal shows what time it is at GitHub, so that what was signed by a wrong clock is signed once
    /// more.
    async fn exchange(
        &self,
        purpose: &Purpose,
        request: impl Fn() -> http::request::Builder,
    ) -> Result<Reply, Trouble> {
        let first = Purpose { renewable: true, ..purpose.clone() };
        let reply = self.line.exchange(&self.own_signer()?, first, request()).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        self.line.exchange(&self.own_signer()?, purpose.clone(), request()).await
    }

    /// What a refusal of the App amounts to: never that what was asked for does not exist.
    fn refusal(&self, purpose: &Purpose, reply: &Reply) -> Trouble {
        let trouble = upstream::trouble(&purpose.question(), reply, self.line.clock.wall());
        Trouble { status: trouble.status.filter(|status| *status != 404), ..trouble }
    }
}
