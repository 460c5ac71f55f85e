//! Writes of ours whose end is unknown, of pairs that no team wants by now. What is wanted, the planner settles with
//! the wish itself.

use super::{Action, Why, planner::Planner};
use crate::model::{Answered, ConnectionKey, GithubHandle, MirrorTeam, Owned, TeamId, TeamState};

/// A create or an adoption whose end is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The team it was for.
    pub team: TeamId,
    /// An adoption: somebody else's connection was to be deleted and made again as ours.
    pub adopts: bool,
    /// So long ago that it cannot arrive any more: what is not there now was never made.
    pub over: bool,
    /// The mark that it carries; `None` for an intent of version 0.1.0.
    pub managed_by: Option<String>,
    /// The GitHub team as it was written.
    pub written: Option<GithubHandle>,
    /// What Datadog answered, where it answered with success.
    pub answered: Option<Answered>,
    /// It was sent more than once, and the connection may be of the one that nobody answered.
    pub repeated: bool,
}

/// Why an adoption is forgotten whose delete never arrived.
pub(super) const NOT_ADOPTED: &str =
    "the adoption did not happen; the connection is somebody else's as before";

impl Planner<'_> {
    /// One such write for this team.
    pub(super) fn unwanted_intent(
        &mut self,
        team: &MirrorTeam,
        key: &ConnectionKey,
        intent: &Interrupted,
        login: &str,
    ) {
        // A row whose connection is no longer there is older than this write.
        let stands = |row: &Owned| self.actual.connections.with_id(key, &row.id).is_some();
        // Who is only suspected to be gone settles nothing.
        let settled_by_who_wants_it = self
            .desired
            .wanted_keys
            .get(key)
            .is_some_and(|team| self.desired.holders.get(&key.github) == Some(team));
        if settled_by_who_wants_it || self.actual.owned.get(key).is_some_and(stands) {
            return;
        }
        if intent.adopts {
            self.unwanted_adoption(team, key, intent, login);
        } else {
            self.unwanted_create(team.facts.id, key, intent);
        }
    }

    /// An interrupted create of a pair that nobody wants by now. If it was carried out, it becomes ours on paper,
    /// and the next plan removes it like any other; if it can arrive no more, the intent is forgotten.
    fn unwanted_create(&mut self, team: TeamId, key: &ConnectionKey, create: &Interrupted) {
        if let Some(made) = self.made(key, create) {
            let action = Action::Record { key: key.clone(), id: made.id.clone() };
            self.act(team, action, "an interrupted create of ours had been carried out");
            return;
        }
        if let Some(since) = self.create_not_visible(create) {
            self.leave(team, Why::NotVisible { key: key.clone(), since });
            return;
        }
        match self.actual.connections.at(key).first() {
            None if !create.over => {}
            // Whoever made the connection may remove it before the create arrives.
            Some(_) if self.actual.arriving.contains_key(key) => {}
            Some(_) | None => {
                let action = Action::Forget { key: key.clone() };
                self.act(team, action, "an interrupted create of ours was never carried out");
            }
        }
    }

    /// An interrupted adoption of a pair that nobody wants. What a person took over stands again as ours, whatever
    /// the rules say of it; only its team's end is the end of it.
    fn unwanted_adoption(
        &mut self,
        team: &MirrorTeam,
        key: &ConnectionKey,
        adoption: &Interrupted,
        login: &str,
    ) {
        let id = team.facts.id;
        if let Some(made) = self.made(key, adoption) {
            let action = Action::Record { key: key.clone(), id: made.id.clone() };
            self.act(id, action, "an interrupted adoption had been carried out");
            return;
        }
        if let Some(since) = self.create_not_visible(adoption) {
            self.leave(id, Why::NotVisible { key: key.clone(), since });
            return;
        }
        match self.actual.connections.at(key).first() {
            Some(_) if adoption.over => self.act(id, Action::Forget { key: key.clone() }, NOT_ADOPTED),
            None if self.actual.gone.contains(&key.datadog_team) => {
                let action = Action::Forget { key: key.clone() };
                self.act(id, action, "the Datadog team of an interrupted adoption is gone");
            }
            None if team.state == TeamState::Present && !self.desired.conflicts.contains(&id) => {
                let handle = GithubHandle::from_datadog(key.github.clone());
                let github = match handle.parts() {
                    Some((of, slug)) if of.eq_ignore_ascii_case(login) => GithubHandle::new(login, slug),
                    _ => handle,
                };
                let github = self.as_written(key, github);
                let action = Action::Create { key: key.clone(), github };
                self.act(id, action, "adopted: the connection that it replaces is deleted");
            }
            None if adoption.over && matches!(team.state, TeamState::Gone { .. }) => {
                let action = Action::Forget { key: key.clone() };
                self.act(id, action, "the GitHub team of an interrupted adoption is gone");
            }
            // The delete, or the create, may still arrive, or the team is in doubt.
            Some(_) | None => {}
        }
    }
}
