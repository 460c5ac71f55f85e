//! What a full pass found that events should have told. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ledger::OrgState,
    model::{MirrorTeam, TeamId, TeamState},
    plan::{Action, Guarded, Mirror},
};

/// The drift of each team, by kind: `new_team`, `changed_team`, `vanished_team` at GitHub; `missing_connection`,
/// `stale_connection` at Datadog. `before` is what the ledger knew, `now` what the pass read; `waiting` are the
/// teams that an event has marked and no look has answered yet: what is wrong with those is no drift.
pub(super) fn drift(
    before: &OrgState,
    now: &Mirror,
    missing: &[TeamId],
    guarded: &Guarded,
    waiting: &BTreeSet<TeamId>,
) -> BTreeMap<TeamId, &'static str> {
    let mut drift = BTreeMap::new();
    for planned in &guarded.ready.actions {
        let kind = match planned.action {
            Action::CreateTeam { .. } | Action::Create { .. } => "missing_connection",
            Action::Delete { .. } | Action::Forget { .. } => "stale_connection",
            Action::PassOn { .. } | Action::Record { .. } => continue,
        };
        drift.extend(planned.team.map(|team| (team, kind)));
    }
    let alive = |team: &&MirrorTeam| !matches!(team.state, TeamState::Gone { .. });
    for (id, team) in now.teams.iter().filter(|(_, team)| team.state == TeamState::Present) {
        match before.teams.get(id).filter(alive) {
            None => drift.insert(*id, "new_team"),
            Some(known) if known.facts != team.facts => drift.insert(*id, "changed_team"),
            Some(_) => None,
        };
    }
    drift.extend(missing.iter().map(|team| (*team, "vanished_team")));
    drift.retain(|team, _| !waiting.contains(team));
    drift
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{OrgRow, Size},
        model::{OrgFacts, OrgId, TeamFacts, TeamType, Time},
    };

    fn team(id: i64, slug: &str) -> (TeamId, MirrorTeam) {
        let facts = TeamFacts {
            id: TeamId(id),
            slug: slug.into(),
            name: slug.into(),
            parent: None,
            team_type: TeamType::Organization,
        };
        let (state, seen_at) = (TeamState::Present, Time(0));
        (TeamId(id), MirrorTeam { facts, state, seen_at, deleted_event_at: None, in_step: true })
    }

    #[test]
    fn what_no_event_told_is_drift_by_kind_and_what_waits_for_its_look_is_not() {
        let org = OrgFacts { id: OrgId(1), login: "acme".into() };
        let before = OrgState {
            whole: true,
            size: Size::default(),
            has_enterprise_teams: false,
            read_at: Time(0),
            org: OrgRow { passed: true, ..OrgRow::newcomer(org.clone()) },
            teams: [team(1, "a"), team(2, "b"), team(3, "c")].into(),
            listed: BTreeMap::new(),
            waiting: BTreeSet::new(),
            unwanted_since: BTreeMap::new(),
            young: BTreeMap::new(),
            owned: Vec::new(),
            intents: Vec::new(),
            late_creates: BTreeMap::new(),
            own_marks: BTreeSet::new(),
            listed_at: None,
            paused: Default::default(),
        };
        let teams = [team(1, "a"), team(2, "renamed"), team(3, "c"), team(4, "new"), team(5, "told")].into();
        let now = Mirror { org, bound_login: "acme".into(), teams };
        let drift = drift(&before, &now, &[TeamId(3)], &Guarded::default(), &[TeamId(5)].into());
        let expected = [(TeamId(2), "changed_team"), (TeamId(3), "vanished_team"), (TeamId(4), "new_team")];
        assert_eq!(drift, expected.into());
    }
}
