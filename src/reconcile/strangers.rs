//! Who has a login that nothing has bound yet. An event only says that somebody is to be asked about; what binds a login
//! to an id is GitHub's own answer to this credential, which must list the organisation's teams. A login that was freed
//! and taken by somebody else is not bound so.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{survey::Eyes, worker::Worker};
use crate::{
    ledger::{Met, OrgRow, Stranger},
    model::{Answer, OrgFacts},
    telemetry,
};

/// How many times GitHub may show nobody under a login that only an event has named: its answers lag behind its events.
const TRIES: u32 = 4;

impl Worker {
    /// Asks about the strangers that are due, if any are, while the loop goes round.
    pub(super) async fn meet_in_background(&self, meeting: &mut JoinSet<()>) {
        // Takes away the task that has ended; it has logged its own errors.
        while meeting.try_join_next().is_some() {}
        if !meeting.is_empty() || !self.may_lease() {
            return;
        }
        match self.ledger.due_strangers(self.now()).await {
            Ok(due) if due.is_empty() => {}
            Ok(_) => {
                let worker = self.clone();
                meeting.spawn(async move {
                    if let Err(error) = worker.meet_strangers().await {
                        telemetry::work::ledger_failed("meet strangers", &error);
                    }
                });
            }
            Err(error) => telemetry::work::ledger_failed("read which strangers are due", &error),
        }
    }

    /// Asks GitHub about the strangers that are due, and binds those that are ours.
    pub(super) async fn meet_strangers(&self) -> sqlx::Result<()> {
        for stranger in self.ledger.due_strangers(self.now()).await? {
            let lists = self.eyes.options.lists(&stranger.login);
            let answer = if lists { self.eyes.meet(&stranger).await } else { Answer::Absent };
            let met = match &answer {
                Answer::Present(facts) if self.is_meant(&stranger, facts).await? => Met::Bound(facts),
                Answer::Present(_) => Met::Nobody,
                Answer::Absent
                    if !lists || self.eyes.options.orgs.is_empty() && stranger.failures >= TRIES =>
                {
                    Met::Nobody
                }
                Answer::Absent => self.later(&stranger, Duration::ZERO),
                // An outage, or a right that is missing, says nothing of the organisation.
                Answer::Forbidden(trouble) | Answer::Failed(trouble) => {
                    telemetry::work::not_bound(&stranger.login, trouble);
                    self.later(&stranger, trouble.retry_after.unwrap_or_default())
                }
            };
            self.ledger.met(&stranger, met, self.now()).await?;
            if let Met::Bound(facts) = met {
                telemetry::work::bound(facts.id, &facts.login);
                self.wake.notify_one();
            }
        }
        Ok(())
    }

    /// Asks again later, at least after this time.
    fn later<'a>(&self, stranger: &Stranger, least: Duration) -> Met<'a> {
        let options = &self.eyes.options;
        Met::Later(options.backoff.delay(stranger.failures + 1, options.clock.jitter()).max(least))
    }

    /// Returns whether the organisation that has the login is to be bound to it, or is bound already.
    async fn is_meant(&self, stranger: &Stranger, holder: &OrgFacts) -> sqlx::Result<bool> {
        // Where the settings name no login, it is for the organisation that was heard of.
        let is_meant = !self.eyes.options.orgs.is_empty() || stranger.org == Some(holder.id);
        let known = self.ledger.orgs().await?;
        let is_bound = known.iter().any(|org| org.facts.id == holder.id);
        Ok(is_meant && (is_bound || !is_taken(&known, holder)))
    }
}

impl Eyes {
    /// The organisation that a stranger is, if this credential sees its teams. One that was given another login after
    /// the event is found by its id, since the event of its new login may come much later.
    async fn meet(&self, stranger: &Stranger) -> Answer<OrgFacts> {
        match (self.holder(&stranger.login).await, stranger.org) {
            (Answer::Absent, Some(org)) => match self.github.org(org).await {
                Answer::Present(facts) if !self.options.lists(&facts.login) => Answer::Absent,
                renamed => self.with_teams(renamed).await,
            },
            (answer, _) => answer,
        }
    }

    /// The organisation with this login, if this credential sees its teams.
    pub(super) async fn holder(&self, login: &str) -> Answer<OrgFacts> {
        self.with_teams(self.github.org_by_login(login).await).await
    }

    /// Returns the organisation that has a login, if this credential may list its teams.
    pub(super) async fn with_teams(&self, holder: Answer<OrgFacts>) -> Answer<OrgFacts> {
        match holder {
            Answer::Present(facts) => self.github.teams_answer(&facts.login).await.map(|()| facts),
            answer => answer,
        }
    }
}

/// Whether an organisation is bound already, or its login is bound to another.
pub(super) fn is_taken(known: &[OrgRow], holder: &OrgFacts) -> bool {
    let takes =
        |org: &OrgRow| org.facts.id == holder.id || org.bound_login.eq_ignore_ascii_case(&holder.login);
    known.iter().any(takes)
}
