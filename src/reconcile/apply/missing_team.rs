//! Creating Datadog teams for handles that do not exist (`policy.missing_team = "create"`). A list that was cut
//! must never be taken for a Datadog without teams.

use super::Run;
use crate::{
    datadog::Filter,
    model::{Class, ConnectionId, ConnectionKey, TeamId, Trouble},
};

impl Run<'_> {
    /// A Datadog team for a handle that does not exist, as far as that can be known: the list is read afresh, and
    /// must show the team of every connection that there is. A list that lacks one was cut, or is not for us.
    pub(super) async fn create_team(&mut self, team: TeamId, handle: &str, name: &str, reason: &str) {
        if !self.may_write() {
            return self.leave(team);
        }
        match self.handle_is_free(handle).await {
            Ok(()) => {}
            Err(trouble) => {
                self.out.unfinished.insert(team, trouble);
                return;
            }
        }
        let key = ConnectionKey { datadog_team: handle.into(), github: String::new() };
        let result = self.hands.writer.create_team(handle, name, Some(self.hands.lease.fence)).await;
        // Made or refused: the remembered list is out of date, and the team needs another look.
        self.hands.directory.distrust().await;
        match result {
            Ok(created) => {
                self.out.wrote = true;
                let id = ConnectionId(created.id.0);
                self.audit(team, "create_team", &key, Some(&id), reason, None, "done", None);
                self.out.stored.found.push(team);
            }
            Err(trouble) => {
                if !matches!(trouble.class, Class::Permanent) {
                    self.stop(&trouble);
                }
                self.audit(team, "create_team", &key, None, reason, None, "failed", Some(&trouble.message));
                self.out.unfinished.insert(team, trouble);
            }
        }
    }

    /// Whether Datadog has no team with this handle, by a list that was just read and lacks nothing.
    async fn handle_is_free(&mut self, handle: &str) -> Result<(), Trouble> {
        if self.listed.is_none() {
            let teams = self.hands.directory.whole(true).await?;
            let sources = vec!["github".to_owned()];
            let all = self.hands.reader.connections(&Filter { sources, ..Filter::default() }).await?;
            if let Some(team) = all.iter().filter_map(|it| it.datadog_team.as_ref()).find(|id| !teams.has(id))
            {
                self.hands.directory.distrust().await;
                let why = format!(
                    "Datadog's list lacks team {team}, which has a connection: it was cut, and no team is created from it"
                );
                return Err(Trouble::new(Class::Invalid, why));
            }
            self.listed = Some(teams);
        }
        match self.listed.as_ref().and_then(|teams| teams.find(handle)) {
            None => Ok(()),
            Some(_) => Err(Trouble::new(Class::Transient, format!("Datadog has a team `{handle}` by now"))),
        }
    }
}
