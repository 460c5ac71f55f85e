//! What a full pass has listed, for the looks that it asks for: they read only what may have changed since. That keeps
//! requests in proportion to the pages of the lists.
//!
//! Nothing goes because of a list: a team that has a connection under another name than the list shows is read by its id,
//! and so is everything that an event or a person asked about.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::pace::LAG_ENDS;
use crate::{
    ledger::OrgState,
    model::{
        Asks, Connection, Connections, DatadogTeamId, GithubHandle, MirrorTeam, TeamId, TeamState, TeamType,
        Time,
    },
    plan::Mirror,
};

/// How long what a list showed of a team stands: as long as an event that was lost may stay unnoticed, since each pass
/// lists again.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// The due teams that need not be read: a pass asked for them and has listed them, and nothing of them may go.
pub(super) fn shown(state: &OrgState, due: &BTreeMap<TeamId, Asks>, now: Time) -> BTreeSet<TeamId> {
    let login = &state.org.facts.login;
    let otherwise_named = state.owned.iter().filter(|owned| {
        let slug = state.teams.get(&owned.team).map_or("", |team| &team.facts.slug);
        owned.key.github != GithubHandle::new(login, slug).key()
    });
    let interrupted = state.intents.iter().filter_map(|intent| intent.team);
    let read: BTreeSet<TeamId> = otherwise_named.map(|owned| owned.team).chain(interrupted).collect();
    let good = |id: &TeamId| {
        let present = state.teams.get(id).is_some_and(|team| team.state == TeamState::Present);
        // A later list may lack it. One from the future was read before the clock was set back.
        let listed = state.listed.get(id).filter(|at| state.listed_at.is_none_or(|last| last <= **at));
        present && listed.is_some_and(|at| *at <= now && now.since(*at) < GOOD_FOR) && !read.contains(id)
    };
    due.iter().filter(|(id, asks)| **asks == Asks::PASS && good(id)).map(|(id, _)| *id).collect()
}

/// Whether what a list, begun at this time, shows of a team may be stored. A team that was read otherwise a short while
/// before is read once more: the list may be older than that answer.
pub(super) fn counts(known: Option<&MirrorTeam>, listed: &MirrorTeam, began: Time) -> bool {
    known.is_none_or(|known| {
        let settled = known.facts == listed.facts || known.seen_at + LAG_ENDS <= began;
        known.state == TeamState::Present && listed.state == TeamState::Present && settled
    })
}

/// The teams of the mirror that a list of this type of team lacks and that are not known to be gone.
pub(super) fn missing(mirror: &Mirror, listed: &BTreeSet<TeamId>, of: Option<TeamType>) -> Vec<TeamId> {
    let lacks = |(id, team): &(&TeamId, &MirrorTeam)| {
        !listed.contains(*id)
            && of.is_none_or(|of| team.facts.team_type == of)
            && !matches!(team.state, TeamState::Gone { .. })
    };
    mirror.teams.iter().filter(lacks).map(|(id, _)| *id).collect()
}

/// Datadog's connections by Datadog team.
pub(super) type ByTeam = HashMap<DatadogTeamId, Vec<Connection>>;

/// Datadog's connections as a first pass listed them, until a time by the monotonic clock. Each look of the pass takes a
/// few of them, which are found by their Datadog teams. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(super) struct FirstConnections(Arc<Mutex<Option<(Duration, ByTeam)>>>);

impl FirstConnections {
    /// Keeps them until then.
    pub(super) fn keep(&self, connections: Option<(Duration, ByTeam)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = connections;
    }

    /// Those of these Datadog teams, if they are still good.
    pub(super) fn of(&self, teams: &BTreeSet<DatadogTeamId>, now: Duration) -> Option<Connections> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, by_team) = kept.as_ref().filter(|(until, _)| *until > now)?;
        Some(teams.iter().filter_map(|team| by_team.get(team)).flatten().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{Intent, IntentKind, OrgRow, Size},
        model::{ConnectionKey, OrgFacts, OrgId, Owned, TeamFacts, TeamType},
    };

    const LISTED: Time = Time(10_000_000_000);

    fn team(slug: &str, seen_at: Time) -> MirrorTeam {
        let facts = TeamFacts {
            id: TeamId(7),
            slug: slug.into(),
            name: slug.to_uppercase(),
            parent: None,
            team_type: TeamType::Organization,
        };
        MirrorTeam { facts, state: TeamState::Present, seen_at, deleted_event_at: None, in_step: false }
    }

    fn key(github: &str) -> ConnectionKey {
        ConnectionKey { datadog_team: DatadogTeamId::from("d"), github: github.into() }
    }

    fn owned(github: &str) -> Owned {
        Owned { key: key(github), id: "c".into(), team: TeamId(7), managed_by: None }
    }

    /// Team 7, which a pass has listed as `platform` of `Acme`.
    fn state() -> OrgState {
        let facts = OrgFacts { id: OrgId(1), login: "Acme".into() };
        OrgState {
            whole: true,
            size: Size::default(),
            has_enterprise_teams: false,
            read_at: LISTED,
            org: OrgRow { passed: true, ..OrgRow::newcomer(facts) },
            teams: [(TeamId(7), team("platform", LISTED))].into(),
            waiting: BTreeSet::new(),
            listed: [(TeamId(7), LISTED)].into(),
            owned: Vec::new(),
            unwanted_since: BTreeMap::new(),
            young: BTreeMap::new(),
            intents: Vec::new(),
            late_creates: BTreeMap::new(),
            own_marks: BTreeSet::new(),
            listed_at: None,
            paused: Default::default(),
        }
    }

    fn is_shown(state: &OrgState, asks: Asks, now: Time) -> bool {
        !shown(state, &[(TeamId(7), asks)].into(), now).is_empty()
    }

    #[test]
    fn what_a_pass_asks_for_and_has_listed_is_not_read_again() {
        let now = LISTED + Duration::from_secs(60);
        assert!(is_shown(&state(), Asks::PASS, now));
        for asks in [Asks::EVENT, Asks::PERSON, Asks { event: true, ..Asks::PASS }] {
            assert!(!is_shown(&state(), asks, now), "{asks:?} asks for what is so now");
        }
        assert!(!is_shown(&state(), Asks::PASS, LISTED + GOOD_FOR), "too old");
        let listed_again = |at| OrgState { listed_at: Some(at), ..state() };
        assert!(is_shown(&listed_again(LISTED), Asks::PASS, now));
        let later = listed_again(LISTED + Duration::from_secs(1));
        assert!(!is_shown(&later, Asks::PASS, now), "a later list may lack it");
        assert!(!is_shown(&state(), Asks::PASS, LISTED - Duration::from_secs(1)), "the clock was set back");
        let read_since = OrgState { listed: BTreeMap::new(), ..state() };
        assert!(!is_shown(&read_since, Asks::PASS, now));
    }

    #[test]
    fn a_team_that_may_lose_something_is_read() {
        let now = LISTED + Duration::from_secs(60);
        let with = |owned: Vec<Owned>| is_shown(&OrgState { owned, ..state() }, Asks::PASS, now);
        assert!(with(vec![owned("@acme/platform")]));
        assert!(!with(vec![owned("@acme/platform"), owned("@acme/infra")]), "it was renamed");
        assert!(!with(vec![owned("@old/platform")]), "its organisation was renamed");
        let mut suspected = state();
        let since = TeamState::Suspected { since: LISTED, second: None };
        suspected.teams.values_mut().for_each(|team| team.state = since);
        assert!(!is_shown(&suspected, Asks::PASS, now));
        let (kind, team) = (IntentKind::Create, Some(TeamId(7)));
        let intent = Intent {
            key: key("@acme/x"),
            kind,
            team,
            at: LISTED,
            managed_by: None,
            written: None,
            answered: None,
        };
        assert!(!is_shown(&OrgState { intents: vec![intent], ..state() }, Asks::PASS, now));
    }

    #[test]
    fn a_list_that_may_be_older_than_the_last_answer_is_not_stored() {
        let before = |seconds| LISTED - Duration::from_secs(seconds);
        let now = team("platform", LISTED);
        assert!(counts(None, &now, LISTED));
        assert!(counts(Some(&team("platform", before(1))), &now, LISTED), "both say the same");
        assert!(!counts(Some(&team("infra", before(119))), &now, LISTED));
        assert!(counts(Some(&team("infra", before(120))), &now, LISTED));
        let since = TeamState::Suspected { since: before(500), second: None };
        assert!(!counts(Some(&MirrorTeam { state: since, ..team("platform", before(500)) }), &now, LISTED));
    }
}
