//! What planning an organisation of 10,000 teams costs when all of them are in step: desire → plan → guard.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hint::black_box,
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use teamlink::{
    mapping::Rules,
    model::{
        Connection, ConnectionId, ConnectionKey, Connections, DatadogTeam, DatadogTeamId, GithubHandle,
        MirrorTeam, MissingTeam, Mode, OrgFacts, OrgId, Owned, Paused, TeamFacts, TeamId, TeamState,
        TeamType, Time,
    },
    plan::{Actual, DatadogTeams, Limits, Mirror, Policy, Population, desire, guard, plan},
};

const TEAMS: i64 = 10_000;

fn bench(criterion: &mut Criterion) {
    let org = OrgFacts { id: OrgId(1), login: "Acme".into() };
    let (mut teams, mut datadog) = (BTreeMap::new(), Vec::new());
    let (mut connections, mut owned) = (Connections::default(), HashMap::new());
    for number in 0..TEAMS {
        let (team, slug) = (TeamId(number), format!("team-{number:05}"));
        let facts = TeamFacts {
            id: team,
            slug: slug.clone(),
            name: slug.clone(),
            parent: None,
            team_type: TeamType::Organization,
        };
        let seen = MirrorTeam {
            facts,
            state: TeamState::Present,
            seen_at: Time(0),
            deleted_event_at: None,
            in_step: true,
        };
        teams.insert(team, seen);
        let datadog_team = DatadogTeamId::from(format!("d31ba7b2-5b6a-4a42-9c2f-{number:012}"));
        let github = GithubHandle::new(&org.login, &slug);
        let key = ConnectionKey::new(datadog_team.clone(), &github);
        let id = ConnectionId::from(format!("0b1c2d3e-0000-4a42-9c2f-{number:012}"));
        let connection = Connection {
            id: id.clone(),
            datadog_team: Some(datadog_team.clone()),
            github: Some(github.to_string()),
            managed_by: Some("teamlink".into()),
            source: Some("github".into()),
        };
        connections.extend([connection]);
        owned.insert(key.clone(), Owned { key, id, team, managed_by: None });
        datadog.push(DatadogTeam { id: datadog_team, handle: slug.clone(), name: slug });
    }
    let mirror = Mirror { bound_login: org.login.clone(), org, teams };
    let rules = Rules::default();
    let directory = DatadogTeams::new(datadog, true);
    let scope: BTreeSet<TeamId> = mirror.teams.keys().copied().collect();
    let actual = Actual { connections, owned, ..Actual::default() };
    let policy = Policy {
        grace: Duration::from_secs(60),
        now: Time(0),
        mode: Mode::Sync,
        missing_team: MissingTeam::Report,
        managed_by: "teamlink",
        paused: &Paused::default(),
    };
    let population = Population { owned: actual.owned.len(), ..Population::default() };
    let limits = Limits { max_share: 0.3, above: 10, max_removals: 50 };
    criterion.bench_function("plan of 10,000 teams in step", |bencher| {
        bencher.iter(|| {
            let desired = desire(black_box(&mirror), &rules, &directory, actual.owned.values());
            let plan = plan(&mirror, &scope, &desired, &actual, &BTreeMap::new(), &policy);
            let guarded = guard(plan, &population, &limits, |_, _| false);
            assert!(guarded.ready.actions.is_empty());
            guarded
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
