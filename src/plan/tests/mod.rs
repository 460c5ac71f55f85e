//! A world where both sides agree, one change, the plan that follows. Then random worlds: whatever they hold,
//! carrying a plan out leaves nothing to plan, and nothing is deleted that is not ours or not proven.

mod interrupted;
mod limits;
mod ownership;
mod properties;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    time::Duration,
};

use super::*;
use crate::{
    mapping::{RuleSpec, Rules},
    model::{
        Connection, ConnectionId, ConnectionKey, DatadogTeam, DatadogTeamId, GithubHandle, MissingTeam, Mode,
        OrgFacts, OrgId, Owned, Pause, PauseScope, Paused, TeamFacts, TeamState, TeamType, Time,
    },
};

/// An organisation `Acme` and Datadog, changed by the tests.
#[derive(Clone, Debug)]
struct World {
    login: &'static str,
    teams: BTreeMap<TeamId, MirrorTeam>,
    rules: Vec<RuleSpec>,
    datadog: Vec<DatadogTeam>,
    complete: bool,
    connections: HashMap<ConnectionKey, Connection>,
    owned: HashMap<ConnectionKey, Owned>,
    create_intents: BTreeMap<ConnectionKey, Interrupted>,
    troubled: BTreeMap<TeamId, String>,
    mode: Mode,
    missing_team: MissingTeam,
    paused: Paused,
    grace: Duration,
    now: Time,
    unwanted_since: BTreeMap<ConnectionKey, Time>,
    elsewhere: BTreeMap<ConnectionKey, (OrgId, Owned)>,
    unanswered: BTreeMap<ConnectionKey, Time>,
    /// Datadog teams that are gone.
    gone: BTreeSet<DatadogTeamId>,
    arriving: BTreeMap<ConnectionKey, Time>,
}

const GONE: TeamState = TeamState::Gone { since: Time(0), proven: Time(60_000_000) };

fn team(id: i64, slug: &str) -> MirrorTeam {
    MirrorTeam {
        facts: TeamFacts {
            id: TeamId(id),
            slug: slug.into(),
            name: slug.to_uppercase(),
            parent: None,
            team_type: TeamType::Organization,
        },
        state: TeamState::Present,
        seen_at: Time(0),
        deleted_event_at: None,
        in_step: false,
    }
}

/// A create or an adoption for team 1 whose answer was lost.
fn interrupted(adopts: bool, over: bool) -> Interrupted {
    Interrupted {
        team: TeamId(1),
        adopts,
        over,
        managed_by: None,
        written: None,
        answered: None,
        repeated: false,
    }
}

fn dd(handle: &str) -> DatadogTeamId {
    DatadogTeamId::from(format!("dd-{handle}"))
}

impl World {
    /// Teams 1, 2, … with these slugs, each connected by us with the Datadog team of the same handle.
    fn agreeing(slugs: &[&str]) -> Self {
        let mut world = Self {
            login: "Acme",
            teams: BTreeMap::new(),
            rules: Vec::new(),
            datadog: Vec::new(),
            complete: true,
            connections: HashMap::new(),
            owned: HashMap::new(),
            create_intents: BTreeMap::new(),
            troubled: BTreeMap::new(),
            mode: Mode::Sync,
            missing_team: MissingTeam::Report,
            paused: Paused::default(),
            grace: Duration::ZERO,
            now: Time(100_000_000),
            unwanted_since: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            gone: BTreeSet::new(),
            arriving: BTreeMap::new(),
        };
        for (id, slug) in (1..).zip(slugs) {
            world.teams.insert(TeamId(id), team(id, slug));
            world.datadog_team(slug);
            world.connect(id, slug, slug, "teamlink");
        }
        world
    }

    fn datadog_team(&mut self, handle: &str) {
        self.datadog.push(DatadogTeam { id: dd(handle), handle: handle.into(), name: handle.into() });
    }

    /// A connection in Datadog; one with our mark is ours on paper too.
    fn connect(&mut self, team: i64, slug: &str, handle: &str, managed_by: &str) {
        let key = ConnectionKey::new(dd(handle), &GithubHandle::new(self.login, slug));
        let id = ConnectionId::from(format!("c-{slug}-{handle}"));
        self.connections.insert(
            key.clone(),
            Connection {
                id: id.clone(),
                datadog_team: Some(dd(handle)),
                github: Some(format!("@{}/{slug}", self.login)),
                managed_by: Some(managed_by.into()),
                source: Some("github".into()),
            },
        );
        if managed_by == "teamlink" {
            self.owned.insert(
                key.clone(),
                Owned { key, id, team: TeamId(team), managed_by: Some("teamlink".into()) },
            );
        }
    }

    fn rename(&mut self, id: i64, slug: &str) {
        self.teams.get_mut(&TeamId(id)).unwrap().facts.slug = slug.into();
    }

    fn state(&mut self, id: i64, state: TeamState) {
        self.teams.get_mut(&TeamId(id)).unwrap().state = state;
    }

    fn guarded(&self) -> Guarded {
        let mirror = Mirror {
            org: OrgFacts { id: OrgId(1), login: self.login.into() },
            bound_login: "Acme".into(),
            teams: self.teams.clone(),
        };
        let rules = Rules::compile(self.rules.clone()).unwrap();
        let directory = DatadogTeams::new(self.datadog.clone(), self.complete);
        let desired = desire(&mirror, &rules, &directory, self.owned.values());
        let actual = Actual {
            connections: self.connections.values().cloned().collect(),
            owned: self.owned.clone(),
            unwanted_since: self.unwanted_since.clone(),
            create_intents: self.create_intents.clone(),
            own_marks: ["teamlink".to_owned()].into(),
            elsewhere: self.elsewhere.clone(),
            unanswered: self.unanswered.clone(),
            gone: self.gone.clone(),
            arriving: self.arriving.clone(),
            ..Actual::default()
        };
        let policy = Policy {
            grace: self.grace,
            now: self.now,
            mode: self.mode,
            missing_team: self.missing_team,
            managed_by: "teamlink",
            paused: &self.paused,
        };
        let scope = self.teams.keys().copied().collect();
        let plan = plan(&mirror, &scope, &desired, &actual, &self.troubled, &policy);
        let population = Population { owned: self.owned.len(), ..Population::default() };
        let limits = Limits { max_share: 1.0, above: 0, max_removals: usize::MAX };
        let protected = |team, key: &ConnectionKey| mirror.names(team, key).contains("acme/protected");
        guard(plan, &population, &limits, protected).keeping_what_may_be_made(&actual.arriving)
    }

    /// The plan, a line a step.
    fn planned(&self) -> String {
        let mut out = String::new();
        let Guarded { ready, held, .. } = self.guarded();
        let mut line = |sign: &str, planned: &Planned, more: &str| {
            let step = match &planned.action {
                Action::CreateTeam { handle, .. } => format!("create team {handle}"),
                Action::Create { key, .. } => format!("create {key}"),
                Action::Delete { key, .. } => format!("delete {key}"),
                Action::PassOn { key, to, .. } => format!("pass on {key} to {to}"),
                Action::Record { key, .. } => format!("record {key}"),
                Action::Forget { key } => format!("forget {key}"),
            };
            writeln!(out, "{sign}{}: {step}{more}", planned.team.unwrap()).unwrap();
        };
        ready.actions.iter().for_each(|planned| line("", planned, ""));
        held.iter().for_each(|(planned, why)| line("held ", planned, &format!(" ({why})")));
        for LeftAlone { team, why } in &ready.left_alone {
            let debug = format!("{why:?}");
            let name = debug.split([' ', '{']).next().unwrap();
            writeln!(out, "left {}: {name}", team.unwrap()).unwrap();
        }
        out
    }

    /// Carries the plan out, as Datadog and the ledger would.
    fn apply(&mut self) -> Guarded {
        let guarded = self.guarded();
        for Planned { team, action, .. } in &guarded.ready.actions {
            match action {
                Action::CreateTeam { handle, .. } => self.datadog_team(handle),
                Action::Create { key, github } => {
                    let slug = github.parts().unwrap().1.to_owned();
                    let handle = key.datadog_team.as_str().trim_start_matches("dd-").to_owned();
                    self.connect(team.unwrap().0, &slug, &handle, "teamlink");
                }
                Action::Delete { key, .. } => {
                    self.connections.remove(key);
                    self.owned.remove(key);
                }
                Action::PassOn { key, id, to, .. } => {
                    self.owned.insert(
                        key.clone(),
                        Owned { key: key.clone(), id: id.clone(), team: *to, managed_by: None },
                    );
                }
                Action::Record { key, id } => {
                    self.owned.insert(
                        key.clone(),
                        Owned { key: key.clone(), id: id.clone(), team: team.unwrap(), managed_by: None },
                    );
                }
                Action::Forget { key } => {
                    self.owned.remove(key);
                }
            }
        }
        guarded
    }
}

#[test]
fn where_both_sides_agree_there_is_nothing_to_do() {
    assert_eq!(World::agreeing(&["a", "b", "c"]).planned(), "");
}

#[test]
fn a_new_team_is_connected() {
    let mut world = World::agreeing(&["a"]);
    world.teams.insert(TeamId(2), team(2, "new"));
    world.datadog_team("new");
    insta::assert_snapshot!(world.planned(), @"2: create @acme/new = dd-new");
}

#[test]
fn a_renamed_team_is_connected_anew_before_the_old_connection_goes() {
    let mut world = World::agreeing(&["a", "b"]);
    world.datadog_team("new");
    world.rename(1, "new");
    insta::assert_snapshot!(world.planned(), @r"
    1: create @acme/new = dd-new
    1: delete @acme/a = dd-a
    ");
}

#[test]
fn a_renamed_team_whose_new_handle_does_not_exist_keeps_its_datadog_team() {
    let mut world = World::agreeing(&["a", "b"]);
    world.rename(1, "new");
    insta::assert_snapshot!(world.planned(), @r"
    1: create @acme/new = dd-a
    1: delete @acme/a = dd-a
    left 1: NoSuchHandle
    ");
}

#[test]
fn two_teams_that_swapped_slugs_swap_rows_and_nothing_is_written() {
    let mut world = World::agreeing(&["a", "b"]);
    world.rename(1, "b");
    world.rename(2, "a");
    insta::assert_snapshot!(world.planned(), @r"
    1: pass on @acme/b = dd-b to 1
    2: pass on @acme/a = dd-a to 2
    ");
    assert!(!world.guarded().ready.writes());
}

#[test]
fn the_connection_of_a_team_that_is_proven_gone_goes() {
    let mut world = World::agreeing(&["a", "b"]);
    world.state(1, GONE);
    insta::assert_snapshot!(world.planned(), @"1: delete @acme/a = dd-a");
}

#[test]
fn a_team_that_is_only_suspected_gone_or_could_not_be_read_keeps_its_connection() {
    let mut world = World::agreeing(&["a", "b"]);
    world.state(1, TeamState::Suspected { since: Time(0), second: None });
    world.troubled.insert(TeamId(2), "503".into());
    insta::assert_snapshot!(world.planned(), @r"
    left 1: Suspected
    left 2: NotRead
    ");
}

#[test]
fn a_new_team_under_the_slug_of_one_that_is_gone_inherits_its_row() {
    let mut world = World::agreeing(&["a", "b"]);
    world.state(1, GONE);
    world.teams.insert(TeamId(3), team(3, "a"));
    insta::assert_snapshot!(world.planned(), @"3: pass on @acme/a = dd-a to 3");
}

#[test]
fn nothing_is_planned_for_a_paused_team_nor_taken_from_it() {
    let mut world = World::agreeing(&["a", "b", "c"]);
    let pause = |scope| Pause { scope, since: Time(0), reason: String::new() };
    let team_1 = PauseScope::Team(crate::model::TeamKey { org: OrgId(1), team: TeamId(1) });
    world.paused.teams.insert(TeamId(1), pause(team_1));
    world.datadog_team("new");
    world.rename(1, "new");
    world.teams.insert(TeamId(4), team(4, "a"));
    world.state(2, GONE);
    insta::assert_snapshot!(world.planned(), @r"
    2: delete @acme/b = dd-b
    left 1: Paused
    left 4: Paused
    ");
    world.paused.whole = Some(pause(PauseScope::All));
    insta::assert_snapshot!(world.planned(), @r"
    left 1: Paused
    left 2: Paused
    left 4: Paused
    ");
    world.paused = Paused::default();
    assert!(world.planned().contains("1: create @acme/new = dd-new"));
}

#[test]
fn while_two_teams_read_back_with_one_slug_neither_is_touched() {
    let mut world = World::agreeing(&["a", "b"]);
    world.rename(2, "a");
    insta::assert_snapshot!(world.planned(), @r"
    left 1: Conflict
    left 2: Conflict
    ");
}

#[test]
fn a_renamed_organisation_has_every_team_connected_anew() {
    let mut world = World::agreeing(&["a", "b"]);
    world.login = "NewCo";
    insta::assert_snapshot!(world.planned(), @r"
    1: create @newco/a = dd-a
    2: create @newco/b = dd-b
    1: delete @acme/a = dd-a
    2: delete @acme/b = dd-b
    ");
}

#[test]
fn what_others_made_satisfies_and_is_never_removed() {
    let mut world = World::agreeing(&["a"]);
    world.teams.insert(TeamId(2), team(2, "theirs"));
    world.datadog_team("theirs");
    world.connect(2, "theirs", "theirs", "terraform");
    insta::assert_snapshot!(world.planned(), @"left 2: Satisfied");
    world.state(2, GONE);
    assert_eq!(world.planned(), "");
}

#[test]
fn an_orphan_counts_as_foreign_unless_an_intent_of_ours_explains_it() {
    let mut world = World::agreeing(&["a", "b"]);
    let (key, _) =
        world.owned.remove_entry(&ConnectionKey::new(dd("a"), &GithubHandle::new("acme", "a"))).unwrap();
    insta::assert_snapshot!(world.planned(), @"left 1: Satisfied");
    world.create_intents.insert(key, interrupted(false, true));
    insta::assert_snapshot!(world.planned(), @"1: record @acme/a = dd-a");
}

#[test]
fn an_interrupted_create_that_nobody_wants_any_more_is_recorded_then_removed_or_forgotten() {
    let mut world = World::agreeing(&["a", "b"]);
    let key = ConnectionKey::new(dd("b"), &GithubHandle::new("acme", "a"));
    world.create_intents.insert(key.clone(), interrupted(false, false));
    assert_eq!(world.planned(), "");
    world.create_intents.insert(key.clone(), interrupted(false, true));
    insta::assert_snapshot!(world.planned(), @"1: forget @acme/a = dd-b");
    world.connect(1, "a", "b", "teamlink");
    world.owned.remove(&key);
    insta::assert_snapshot!(world.planned(), @"1: record @acme/a = dd-b");
}

#[test]
fn an_interrupted_create_is_recorded_though_whoever_has_the_handle_now_is_suspected_gone() {
    let mut world = World::agreeing(&["a", "b"]);
    let key = ConnectionKey::new(dd("b"), &GithubHandle::new("acme", "b"));
    world.owned.remove(&key);
    world.create_intents.insert(key, interrupted(false, true));
    insta::assert_snapshot!(world.planned(), @"2: record @acme/b = dd-b");
    world.state(2, TeamState::Suspected { since: Time(0), second: None });
    insta::assert_snapshot!(world.planned(), @r"
    1: record @acme/b = dd-b
    left 2: Suspected
    ");
}

#[test]
fn a_connection_of_ours_that_somebody_removed_is_made_again() {
    let mut world = World::agreeing(&["a", "b"]);
    world.connections.remove(&ConnectionKey::new(dd("a"), &GithubHandle::new("acme", "a")));
    insta::assert_snapshot!(world.planned(), @"1: create @acme/a = dd-a");
}

#[test]
fn a_removal_that_no_change_in_github_caused_is_held() {
    let mut world = World::agreeing(&["a", "b"]);
    world.rules = vec![RuleSpec::ignore("acme/a"), RuleSpec::handles("*/*", ["{slug}"])];
    insta::assert_snapshot!(world.planned(), @r"
    held 1: delete @acme/a = dd-a (no change in GitHub caused it)
    left 1: Ignored
    ");
}

#[test]
fn removals_that_would_leave_the_organisation_with_nothing_are_held() {
    let mut world = World::agreeing(&["a", "b"]);
    world.state(1, GONE);
    world.state(2, GONE);
    insta::assert_snapshot!(world.planned(), @r"
    held 1: delete @acme/a = dd-a (it would leave the org with no connection)
    held 2: delete @acme/b = dd-b (it would leave the org with no connection)
    ");
}

#[test]
fn a_connection_stays_while_its_replacement_is_held() {
    let mut world = World::agreeing(&["a", "b"]);
    world.datadog_team("new");
    world.rename(1, "new");
    let guarded = world.guarded().first_pass(0, &BTreeSet::new());
    assert!(guarded.ready.actions.is_empty(), "{:?}", guarded.ready.actions);
    assert_eq!(guarded.held.len(), 1);
}

#[test]
fn a_protected_team_is_never_unlinked() {
    let mut world = World::agreeing(&["protected", "b"]);
    world.state(1, GONE);
    insta::assert_snapshot!(world.planned(), @"left 1: Protected");
}

#[test]
fn upsert_creates_and_never_deletes() {
    let mut world = World::agreeing(&["a", "b"]);
    world.mode = Mode::Upsert;
    world.state(1, GONE);
    world.teams.insert(TeamId(3), team(3, "new"));
    world.datadog_team("new");
    insta::assert_snapshot!(world.planned(), @r"
    3: create @acme/new = dd-new
    left 1: Policy
    ");
}

#[test]
fn a_missing_datadog_team_is_created_only_from_a_complete_list_and_without_an_owned_connection() {
    let mut world = World::agreeing(&["a"]);
    world.missing_team = MissingTeam::Create;
    world.teams.insert(TeamId(2), team(2, "new"));
    insta::assert_snapshot!(world.planned(), @r"
    2: create team new
    left 2: NoSuchHandle
    ");
    world.complete = false;
    insta::assert_snapshot!(world.planned(), @"left 2: NoSuchHandle");
    world.complete = true;
    world.rename(1, "moved");
    insta::assert_snapshot!(world.planned(), @r"
    2: create team new
    1: create @acme/moved = dd-a
    1: delete @acme/a = dd-a
    left 1: NoSuchHandle
    left 2: NoSuchHandle
    ");
}
