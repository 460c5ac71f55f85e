//! Teams that wait for a Datadog handle. An organisation may have thousands of them, and one new handle concerns few:
//! the rules say which.

use std::collections::BTreeSet;

use super::{survey::Eyes, worker::Worker};
use crate::{
    ledger::OrgRow,
    model::{Asks, Cause, Target, TeamFacts, TeamKey},
    plan, telemetry,
};

impl Worker {
    /// Reads Datadog's teams again when the list has grown old and some team waits for a handle. Marks the teams whose
    /// handles have appeared.
    pub async fn refresh_directory(&self) -> anyhow::Result<()> {
        if !self.ledger.any_waiting().await? {
            return Ok(());
        }
        let appeared = self.eyes.directory.appeared().await?;
        if appeared.is_empty() {
            return Ok(());
        }
        let mut woken = Vec::new();
        for (org, teams) in self.ledger.waiting_teams().await? {
            let concerned = teams.iter().filter(|team| self.eyes.wants_one_of(&org, team, &appeared));
            woken.extend(concerned.map(|team| Target::Team(TeamKey { org: org.facts.id, team: team.id })));
        }
        if !woken.is_empty() {
            self.ledger.mark(&woken, Cause::Pass, Asks::PASS, self.now()).await?;
            telemetry::work::handles_appeared(woken.len());
            self.wake.notify_one();
        }
        // Not before the marks are stored: a ledger that fails now is tried again.
        self.eyes.directory.tell(appeared).await;
        Ok(())
    }
}

impl Eyes {
    /// Whether today's rules give a team one of these handles, which are lower-cased as the rules' are.
    fn wants_one_of(&self, org: &OrgRow, team: &TeamFacts, handles: &BTreeSet<String>) -> bool {
        let logins = plan::logins(&org.facts.login, &org.bound_login);
        let wanted = self.options.rules.resolve_team(&logins, team).outcome.into_handles();
        wanted.iter().any(|handle| handles.contains(handle))
    }
}
