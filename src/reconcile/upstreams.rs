//! What a turn needs of GitHub and Datadog, and whether it is there. While something of it is given a rest, what needs
//! it is not leased, so that it burns no attempts and asks nobody.
//!
//! Who looks at an organisation needs to read it at GitHub, to read Datadog's teams and connections, and to write
//! these. Of Datadog, a small question that changes nothing is the probe, asked before anything else is done. GitHub
//! is asked first in any look, so that a look itself is the probe. Where GitHub refused the list of an organisation's
//! teams, only that list shows that it may be read again: the probe is its first entry.

use std::time::Duration;

use super::Worker;
use crate::{
    ledger::DueLane,
    model::{Answer, Lane, OrgId},
    transport::Gate,
    upstream::{Access, Capability, Scope, Standing, Upstream, Urgency, Whose},
};

impl Worker {
    /// What is known of each upstream.
    pub fn gates(&self) -> [(Upstream, Gate); 2] {
        [
            (Upstream::Github, self.gate(Upstream::Github).clone()),
            (Upstream::Datadog, self.gate(Upstream::Datadog).clone()),
        ]
    }

    fn gate(&self, upstream: Upstream) -> &Gate {
        match upstream {
            Upstream::Github => self.eyes.github.gate(),
            Upstream::Datadog => self.eyes.datadog.gate(),
        }
    }

    /// How long an organisation, or a document, waits for the upstreams; zero when it may be worked on, or its turn may
    /// be the probe. Passes wait while nothing but the reserve is left of a rate limit.
    pub(super) fn upstreams_rest(&self, due: &DueLane) -> Duration {
        let rest = |scope: &Scope| match self.standing(scope, urgency(due)) {
            Standing::Closed | Standing::Due => Duration::ZERO,
            Standing::Open(wait) => wait,
        };
        needs(due.lane).iter().map(rest).max().unwrap_or_default()
    }

    /// Whether all that a turn needs may be asked; what of Datadog was given a rest is asked before.
    pub(super) async fn upstreams_answer(&self, due: &DueLane) -> bool {
        for scope in needs(due.lane) {
            let answers = match self.standing(&scope, urgency(due)) {
                Standing::Closed => true,
                Standing::Due => self.probe(due.lane, &scope).await,
                Standing::Open(_) => false,
            };
            if !answers {
                return false;
            }
        }
        true
    }

    /// What waits for a scope that works again is due.
    pub(super) async fn lift_healed(&self) -> sqlx::Result<()> {
        for (_, gate) in self.gates() {
            for scope in gate.take_healed() {
                self.ledger.lift(&scope, self.now()).await?;
            }
        }
        Ok(())
    }

    fn standing(&self, scope: &Scope, urgency: Urgency) -> Standing {
        self.gate(scope.upstream).standing(scope, urgency)
    }

    /// Asks something small of a scope. Where there is no such question, the turn goes on and asks its own.
    async fn probe(&self, lane: Lane, scope: &Scope) -> bool {
        let answer = match (scope.upstream, scope.capability, scope.access) {
            (Upstream::Datadog, Capability::Teams, Access::Read) => self.eyes.datadog.teams_answer().await,
            (Upstream::Datadog, Capability::Connections, Access::Read) => {
                self.eyes.datadog.connections_answer().await
            }
            (Upstream::Datadog, Capability::Connections, Access::Write) => self.writer.probe().write().await,
            (Upstream::Datadog, Capability::Integrations, Access::Read) => match lane {
                Lane::Document(it) => self.eyes.datadog.integration(it.as_str()).await.map(drop),
                Lane::Org(_) | Lane::Recovery => return true,
            },
            (Upstream::Github, Capability::Teams, Access::Read) => match (&scope.whose, lane) {
                (Whose::Org(org), Lane::Org(_)) if self.gate(Upstream::Github).refuses_lists(scope) => {
                    return self.lists_teams(*org).await;
                }
                _ => return true,
            },
            _ => return true,
        };
        match answer {
            Answer::Present(()) | Answer::Absent => true,
            Answer::Forbidden(_) | Answer::Failed(_) => false,
        }
    }
}

impl Worker {
    /// Whether the list of an organisation's teams may be read, under the login that it has now.
    async fn lists_teams(&self, org: OrgId) -> bool {
        let github = &self.eyes.github;
        // While the organisation itself cannot be read, the turn finds out what is wrong.
        let Answer::Present(facts) = github.org(org).await else { return true };
        github.knows(&facts);
        matches!(github.teams_answer(&facts.login).await, Answer::Present(()))
    }
}

/// Returns the urgency of a lane's next turn.
fn urgency(due: &DueLane) -> Urgency {
    if due.urgent { Urgency::Event } else { Urgency::Pass }
}

/// Returns the scopes that a turn needs.
fn needs(lane: Lane) -> Vec<Scope> {
    let datadog = Scope::datadog;
    let org = match lane {
        Lane::Org(org) => org,
        Lane::Document(_) => {
            return [Access::Read, Access::Write]
                .map(|access| datadog(Capability::Integrations, access))
                .to_vec();
        }
        Lane::Recovery => return vec![Scope::github(Whose::Credential, Capability::App)],
    };
    let of_org = |capability| Scope::github(Whose::Org(org), capability);
    vec![
        datadog(Capability::Teams, Access::Read),
        datadog(Capability::Connections, Access::Read),
        datadog(Capability::Connections, Access::Write),
        Scope::github(Whose::Credential, Capability::App),
        of_org(Capability::App),
        of_org(Capability::Org),
        of_org(Capability::Teams),
    ]
}
