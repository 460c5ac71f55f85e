//! Who has a login that nothing has bound yet. An event only says that somebody is to be asked about; what binds a login
//! to an id is GitHub's own answer to this credential, which must list the organisation's teams. A login that was freed
//! and taken by somebody else is not bound so.

use tokio::task::JoinSet;

use super::{survey::Eyes, worker::Worker};
use crate::{
    ledger::{Met, OrgRow, Stranger},
    model::{Answer, OrgFacts},
    telemetry,
};

impl Worker {
    /// Asks about the strangers that are due, if any are, while the loop goes round.
    pub(super) async fn meet_in_background(&self, meeting: &mut JoinSet<()>) {
        if !meeting.is_empty() {
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
            let answer = self.eyes.holder(&stranger.login).await;
            let now = self.now();
            let met = match &answer {
                Answer::Present(facts) if self.is_ours(&stranger, facts).await? => Met::Bound(facts),
                Answer::Present(_) | Answer::Absent => Met::Nobody,
                Answer::Forbidden(trouble) | Answer::Failed(trouble) => {
                    telemetry::work::not_bound(&stranger.login, trouble);
                    let options = &self.eyes.options;
                    let delay = options.backoff.delay(stranger.failures + 1, options.clock.jitter());
                    Met::Later(delay.max(trouble.retry_after.unwrap_or_default()))
                }
            };
            self.ledger.met(&stranger, met, now).await?;
            if let Met::Bound(facts) = met {
                telemetry::work::bound(facts.id, &facts.login);
                self.wake.notify_one();
            }
        }
        Ok(())
    }

    /// Whether whoever has the login is to be bound to it.
    async fn is_ours(&self, stranger: &Stranger, holder: &OrgFacts) -> sqlx::Result<bool> {
        // Where the settings name no login, it is for the organisation that was heard of.
        let is_meant = !self.eyes.options.orgs.is_empty() || stranger.org == Some(holder.id);
        let known = self.ledger.orgs().await?;
        Ok(is_meant && self.eyes.options.lists(&holder.login) && !is_taken(&known, holder))
    }
}

impl Eyes {
    /// The organisation with this login, if this credential sees its teams.
    pub(super) async fn holder(&self, login: &str) -> Answer<OrgFacts> {
        self.with_teams(self.github.org_by_login(login).await).await
    }

    /// The same of an answer about the login.
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
