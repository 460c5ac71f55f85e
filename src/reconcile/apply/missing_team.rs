//! Creating Datadog teams for handles that do not exist (`policy.missing_team = "create"`). A list that was cut
//! must never be taken for a Datadog without teams.

use super::{Operation, Run};
use crate::{
    datadog::Filter,
    ledger::{AuditAction, AuditOutcome},
    model::{Class, Connection, Subject, TeamId, Trouble},
    plan::DatadogTeams,
};

impl Run<'_> {
    /// A Datadog team for a handle that does not exist, as far as that can be known: the list is read afresh, and
    /// must show the team of every connection that there is. A list that lacks one was cut, or is not for us.
    pub(super) async fn create_team(&mut self, team: TeamId, handle: &str, name: &str, reason: &str) {
        if self.out.stopped.is_none()
            && let Err(trouble) = self.handle_is_free(handle).await
        {
            self.out.unfinished.insert(Some(team), trouble);
            return;
        }
        if !self.may_write() {
            return self.leave(Some(team));
        }
        let (of, subject) = (Some(team), Subject::DatadogTeam(handle.to_owned()));
        let create = AuditAction::CreateTeam;
        let result = self.hands.writer.create_team(handle, name, Some(self.hands.lease.fence())).await;
        // Made or refused: the remembered list is out of date, and the team needs another look.
        self.hands.directory.distrust().await;
        match result {
            Ok(created) => {
                self.worked.insert(Operation::CreateTeam);
                let id = Some(created.id.as_str());
                self.audit(of, create, subject, id, reason, None, AuditOutcome::Done, None);
                self.out.stored.found.push(team);
            }
            Err(trouble) => {
                if !matches!(trouble.class, Class::Permanent) {
                    self.stop(&trouble);
                    self.out.counted.extend(of.filter(|_| self.worked.contains(&Operation::CreateTeam)));
                }
                let said = Some(trouble.message.as_str());
                self.audit(of, create, subject, None, reason, None, AuditOutcome::Failed, said);
                self.out.unfinished.insert(of, trouble);
            }
        }
    }

    /// Whether Datadog has no team with this handle, by a list that was just read and lacks nothing that another
    /// read shows.
    async fn handle_is_free(&mut self, handle: &str) -> Result<(), Trouble> {
        if self.listed.is_none() {
            let teams = self.hands.directory.whole(true).await?;
            self.list_is_whole(&teams).await?;
            self.listed = Some(teams);
        }
        match self.listed.as_ref().and_then(|teams| teams.find(handle)) {
            None => self.hands.directory.lacks(handle).await,
            Some(_) => Err(Trouble::new(Class::Transient, format!("Datadog has a team `{handle}` by now"))),
        }
    }

    /// Every connection has its team in the list; so has every row of ours, unless its team's id answers 404.
    async fn list_is_whole(&self, teams: &DatadogTeams) -> Result<(), Trouble> {
        let connections = self.hands.reader.connections(&Filter::github()).await?;
        let connections: Vec<_> = connections.iter().filter_map(Connection::key).collect();
        let state = self.hands.ledger.org_state(self.hands.org).await;
        let state =
            state.map_err(|error| Trouble::new(Class::Transient, format!("the ledger failed: {error}")))?;
        let owned = state.map(|state| state.owned).unwrap_or_default();
        let rows: Vec<_> = owned.iter().map(|owned| &owned.key).collect();
        let connections: Vec<_> = connections.iter().collect();
        let fates = self.hands.directory.fates(teams, &connections, &rows).await?;
        fates.undecided.into_values().next().map_or(Ok(()), Err)
    }
}
