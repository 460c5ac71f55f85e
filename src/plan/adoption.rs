//! Which connections may be taken over from whoever made them, and how. Connections are immutable: one with another
//! mark has to be deleted and made again; for one with our mark a row is enough.

use serde::Serialize;

use super::{Actual, Mirror, Policy};
use crate::model::{Connection, ConnectionKey, GithubHandle, Mode, TeamFacts, TeamId, TeamState};

/// How a connection becomes ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TakeOver {
    /// It has our mark: a row in the ledger makes it ours. Nothing is written to Datadog.
    Record,
    /// It has another mark: it is deleted and made again.
    Recreate,
}

/// How this connection may be taken over, and for which team; or why it is left alone. `mirror` holds what GitHub
/// shows now, `protected` returns whether this connection of this team must never be deleted.
///
/// # Errors
/// Why it is left alone.
pub fn take_over(
    connection: &Connection,
    key: &ConnectionKey,
    mirror: &Mirror,
    actual: &Actual,
    policy: &Policy<'_>,
    protected: impl Fn(Option<TeamId>, &ConnectionKey) -> bool,
) -> Result<(TakeOver, TeamFacts), String> {
    match actual.owned.get(key) {
        // One of ours under a former mark is made again under today's.
        Some(owned)
            if owned.id == connection.id && connection.managed_by.as_deref() == Some(policy.managed_by) =>
        {
            return Err("it is ours already".to_owned());
        }
        Some(owned) if owned.id == connection.id => {}
        Some(_) => {
            return Err("the ledger has an older connection of this pair; `teamlink sync` first".to_owned());
        }
        None => {}
    }
    let handle = GithubHandle::from_datadog(key.github.clone());
    let (login, slug) = handle.parts().unwrap_or_default();
    if !login.eq_ignore_ascii_case(&mirror.org.login) {
        return Err(format!("the organisation is called {} now", mirror.org.login));
    }
    let mut holders = mirror
        .teams
        .values()
        .filter(|team| team.state == TeamState::Present && team.facts.slug.eq_ignore_ascii_case(slug));
    let team = match (holders.next(), holders.next()) {
        (Some(team), None) => team.facts.clone(),
        (Some(_), Some(_)) => return Err("two teams read back with its slug; one answer is stale".to_owned()),
        (None, _) => return Err("GitHub shows no team with its slug".to_owned()),
    };
    if let Some(pause) = policy.paused.of(team.id) {
        return Err(format!("paused since {}", pause.since));
    }
    if connection.managed_by.as_deref() == Some(policy.managed_by) {
        return Ok((TakeOver::Record, team));
    }
    if policy.mode != Mode::Sync {
        let mode = if policy.mode == Mode::Observe { "observe" } else { "upsert" };
        return Err(format!("policy.mode is {mode}, and it would have to be deleted and made again"));
    }
    if protected(Some(team.id), key) {
        return Err("protected by `policy.protected`: not unlinked even for a moment".to_owned());
    }
    Ok((TakeOver::Recreate, team))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{
        MirrorTeam, MissingTeam, OrgFacts, OrgId, Owned, Pause, PauseScope, Paused, TeamType, Time,
    };

    struct World {
        mirror: Mirror,
        actual: Actual,
        paused: Paused,
        mode: Mode,
    }

    impl World {
        fn new() -> Self {
            let org = OrgFacts { id: OrgId(1), login: "Acme".into() };
            let mirror = Mirror { org, bound_login: "Acme".into(), teams: BTreeMap::new() };
            let mut world =
                Self { mirror, actual: Actual::default(), paused: Paused::default(), mode: Mode::Sync };
            world.team(1, "a");
            world
        }

        fn team(&mut self, id: i64, slug: &str) {
            let facts = TeamFacts {
                id: TeamId(id),
                slug: slug.into(),
                name: slug.into(),
                parent: None,
                team_type: TeamType::Organization,
            };
            let (state, seen_at) = (TeamState::Present, Time(0));
            let team = MirrorTeam { facts, state, seen_at, deleted_event_at: None, in_step: false };
            self.mirror.teams.insert(TeamId(id), team);
        }

        /// What is to be done about the connection of `@Acme/SLUG` that this one manages.
        fn of(&self, slug: &str, managed_by: &str) -> Result<TakeOver, String> {
            let github = format!("@Acme/{slug}");
            let key = ConnectionKey { datadog_team: "dd".into(), github: github.to_lowercase() };
            let connection = Connection {
                id: "c".into(),
                datadog_team: Some("dd".into()),
                github: Some(github),
                managed_by: Some(managed_by.into()),
                source: Some("github".into()),
            };
            let policy = Policy {
                mode: self.mode,
                missing_team: MissingTeam::Report,
                managed_by: "teamlink",
                paused: &self.paused,
                grace: std::time::Duration::ZERO,
                now: Time(0),
            };
            let protected = |_, key: &ConnectionKey| key.github == "@acme/protected";
            take_over(&connection, &key, &self.mirror, &self.actual, &policy, protected).map(|(how, _)| how)
        }
    }

    #[test]
    fn a_mark_of_ours_takes_a_row_and_another_mark_a_new_connection() {
        let world = World::new();
        assert_eq!(world.of("a", "teamlink"), Ok(TakeOver::Record));
        assert_eq!(world.of("a", "terraform"), Ok(TakeOver::Recreate));
    }

    #[test]
    fn what_is_ours_already_and_what_names_no_single_team_is_left_alone() {
        let mut world = World::new();
        let key = ConnectionKey { datadog_team: "dd".into(), github: "@acme/a".into() };
        let owned = |id: &str| Owned { key: key.clone(), id: id.into(), team: TeamId(1), managed_by: None };
        world.actual.owned.insert(key.clone(), owned("c"));
        assert_eq!(world.of("a", "teamlink"), Err("it is ours already".to_owned()));
        world.actual.owned.insert(key.clone(), owned("former"));
        assert!(world.of("a", "teamlink").unwrap_err().contains("older connection"));
        assert!(world.of("nobody", "terraform").unwrap_err().contains("no team with its slug"));
        world.team(2, "twice");
        world.team(3, "twice");
        assert!(world.of("twice", "terraform").unwrap_err().contains("one answer is stale"));
        world.mirror.teams.get_mut(&TeamId(2)).unwrap().state =
            TeamState::Suspected { since: Time(0), second: None };
        assert_eq!(world.of("twice", "terraform"), Ok(TakeOver::Recreate));
        world.mirror.org.login = "NewCo".into();
        assert!(world.of("twice", "terraform").unwrap_err().contains("called NewCo now"));
    }

    #[test]
    fn protection_and_policy_keep_what_would_have_to_be_deleted_and_a_pause_keeps_all() {
        let mut world = World::new();
        world.team(2, "protected");
        assert!(world.of("protected", "terraform").unwrap_err().contains("policy.protected"));
        assert_eq!(world.of("protected", "teamlink"), Ok(TakeOver::Record));
        for (mode, name) in [(Mode::Observe, "observe"), (Mode::Upsert, "upsert")] {
            world.mode = mode;
            assert!(world.of("a", "terraform").unwrap_err().contains(name));
            assert_eq!(world.of("a", "teamlink"), Ok(TakeOver::Record));
        }
        world.mode = Mode::Sync;
        let pause = Pause { scope: PauseScope::All, since: Time(0), reason: String::new() };
        world.paused.whole = Some(pause);
        assert!(world.of("a", "terraform").unwrap_err().starts_with("paused since"));
        assert!(world.of("a", "teamlink").unwrap_err().starts_with("paused since"));
    }
}
