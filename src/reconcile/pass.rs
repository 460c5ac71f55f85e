//! The beginning of a full pass: which organisations it is over. What it finds in them is `whole.rs`; this only marks.
//!
//! A login of `github.orgs` is bound to the id that has it once GitHub lists its teams. From then on the id decides: the
//! organisation stays ours when it is renamed, and whoever takes its old login gets nothing done until a person releases
//! it (`release.rs`), which is said in each pass for as long as the list names that login.

use std::{collections::BTreeMap, fmt};

use super::{unproven, worker::Worker};
use crate::{
    ledger::OrgRow,
    model::{Answer, Asks, Cause, Class, Integration, Lane, OrgFacts, OrgId, Target, TeamState, Trouble},
    telemetry,
};

/// A login of `github.orgs` that another organisation has now.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Taken {
    /// The login.
    pub login: String,
    /// Who has it.
    pub by: OrgId,
    /// The organisation that it is bound to, as it was last seen.
    pub bound_to: OrgFacts,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { login, by, bound_to: OrgFacts { id, login: now } } = self;
        write!(
            f,
            "{login}: nothing is done for org {by}, which has this login now, because it is bound to org {id} ({now})"
        )
    }
}

/// What a pass is over.
#[derive(Debug)]
pub struct Begun {
    /// The organisations and the documents.
    pub lanes: Vec<Lane>,
    /// Logins whose organisations could not be bound, each with the reason. Those of the settings are tried again.
    pub unbound: Vec<(String, Trouble)>,
}

impl Worker {
    /// Asks for a full pass over the organisations with these logins, or, when there are none, over all that
    /// are known and all that have the App installed, and over the documents.
    pub async fn begin_pass(&self, logins: &[String], cause: Cause, asks: Asks) -> anyhow::Result<Begun> {
        self.eyes.identity.forget().await;
        if let Answer::Present(sync) = self.eyes.datadog.team_sync().await {
            telemetry::work::datadog_sync(sync.is_some_and(|sync| sync.continuous()));
        }
        let mut holders = self.holders(logins).await;
        let known = self.ledger.orgs().await?;
        for taken in taken(&known, &holders) {
            telemetry::work::login_taken(taken.by, &taken.login, taken.bound_to.id);
        }
        // One that is known is served by its login of today too, to whomever that is bound.
        let mut orgs = Vec::new();
        for facts in holders.values().filter_map(present) {
            let Some(org) = known.iter().find(|org| org.facts.id == facts.id) else { continue };
            orgs.push(facts.id);
            if org.facts.login != facts.login {
                self.ledger.note_login(facts, self.now()).await?;
            }
        }
        let released = self.ledger.released_orgs().await?;
        if logins.is_empty() {
            orgs.extend(known.iter().map(|org| org.facts.id));
            let is_known = |facts: &OrgFacts| known.iter().any(|org| org.facts.id == facts.id);
            for facts in self.installed().await?.into_iter().filter(|facts| !is_known(facts)) {
                match bound(&known, &facts.login) {
                    Some(to) => telemetry::work::login_taken(facts.id, &facts.login, to.facts.id),
                    None => {
                        self.ledger.bind_org(&facts, self.now()).await?;
                        orgs.push(facts.id);
                    }
                }
            }
        }
        let mut unbound = Vec::new();
        for login in logins {
            let named = known.iter().find(|org| org.facts.login.eq_ignore_ascii_case(login));
            if let Some(org) = bound(&known, login).or(named) {
                orgs.push(org.facts.id);
                continue;
            }
            let Some(answer) = holders.remove(login) else { continue };
            if matches!(answer, Answer::Absent) && released.iter().any(|org| org.is_called(login)) {
                telemetry::work::login_free(login);
                continue;
            }
            match self.bind_login(login, answer).await? {
                Ok(org) => orgs.push(org),
                Err(trouble) => unbound.push((login.clone(), trouble)),
            }
        }
        orgs.sort_unstable();
        orgs.dedup();
        let documents: Vec<Integration> = self.eyes.options.documents.keys().copied().collect();
        if self.eyes.options.lists_linked_teams() {
            self.ledger.distrust_team_lists().await?;
            self.eyes.others.distrust().await;
        }
        let targets = orgs.iter().map(|org| Target::Org(*org));
        let targets: Vec<Target> = targets.chain(documents.iter().copied().map(Target::Document)).collect();
        self.ledger.mark(&targets, cause, asks, self.now()).await?;
        self.wake.notify_one();
        Ok(Begun { lanes: targets.into_iter().map(Target::lane).collect(), unbound })
    }

    /// Binds a login to whoever has it, as GitHub has answered. While GitHub doesn't list the organisation's teams, one of
    /// the settings is tried again and again.
    async fn bind_login(
        &self,
        login: &str,
        holder: Answer<OrgFacts>,
    ) -> sqlx::Result<Result<OrgId, Trouble>> {
        let trouble = match self.eyes.with_teams(holder).await {
            Answer::Present(facts) => {
                self.ledger.bind_org(&facts, self.now()).await?;
                return Ok(Ok(facts.id));
            }
            Answer::Absent => {
                let why = format!("GitHub has no organisation {login} that this credential may see");
                Trouble::new(Class::Permanent, why)
            }
            Answer::Forbidden(trouble) | Answer::Failed(trouble) => trouble,
        };
        telemetry::work::not_bound(login, &trouble);
        if self.eyes.options.orgs.iter().any(|listed| listed.eq_ignore_ascii_case(login)) {
            let wait = self.eyes.options.backoff.delay(1, self.eyes.options.clock.jitter());
            self.ledger.expect_org(login, wait, self.now()).await?;
        }
        Ok(Err(trouble))
    }

    /// Those of these logins that an organisation has which is bound to none, because they are bound to another.
    pub async fn taken_logins(&self, logins: &[String]) -> sqlx::Result<Vec<Taken>> {
        Ok(taken(&self.ledger.orgs().await?, &self.holders(logins).await))
    }

    /// Who has each of these logins today.
    async fn holders(&self, logins: &[String]) -> BTreeMap<String, Answer<OrgFacts>> {
        let mut holders = BTreeMap::new();
        for login in logins {
            holders.insert(login.clone(), self.eyes.github.org_by_login(login).await);
        }
        holders
    }

    /// Teams of an organisation that are not there, and never will be taken for gone without more than further
    /// looks: each by its slug, with the reason.
    pub async fn stuck(&self, org: OrgId) -> sqlx::Result<Vec<(String, String)>> {
        let Some(state) = self.ledger.org_state(org).await? else { return Ok(Vec::new()) };
        let suspected = state.teams.values().filter(|team| team.deleted_event_at.is_none());
        let suspected = suspected.filter_map(|team| match team.state {
            TeamState::Suspected { since, .. } => Some((team.facts.slug.clone(), unproven(since))),
            TeamState::Present | TeamState::Gone { .. } => None,
        });
        let suspected: Vec<_> = suspected.collect();
        if suspected.is_empty() || self.eyes.sees_all_teams(&state.org.facts.login).await != Ok(false) {
            return Ok(Vec::new());
        }
        Ok(suspected)
    }

    /// The organisations that can be read because the App is installed there; none when a token signs.
    async fn installed(&self) -> anyhow::Result<Vec<OrgFacts>> {
        match self.eyes.github.installations().await {
            Answer::Present(all) => Ok(all.into_iter().filter(|it| !it.suspended).map(|it| it.org).collect()),
            Answer::Absent => Ok(Vec::new()),
            Answer::Forbidden(trouble) | Answer::Failed(trouble) => Err(trouble.into()),
        }
    }
}

fn bound<'k>(known: &'k [OrgRow], login: &str) -> Option<&'k OrgRow> {
    known.iter().find(|org| org.bound_login.eq_ignore_ascii_case(login))
}

/// GitHub's trouble with the question is no answer: the pass itself meets it.
fn present(answer: &Answer<OrgFacts>) -> Option<&OrgFacts> {
    match answer {
        Answer::Present(facts) => Some(facts),
        Answer::Absent | Answer::Forbidden(_) | Answer::Failed(_) => None,
    }
}

fn taken(known: &[OrgRow], holders: &BTreeMap<String, Answer<OrgFacts>>) -> Vec<Taken> {
    let taken = holders.iter().filter_map(|(login, holder)| {
        let (OrgRow { facts, .. }, holder) = (bound(known, login)?, present(holder)?);
        let stranger = known.iter().all(|org| org.facts.id != holder.id);
        stranger.then(|| Taken { login: login.clone(), by: holder.id, bound_to: facts.clone() })
    });
    taken.collect()
}
