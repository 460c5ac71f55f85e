//! Upkeep: what it deletes, and what it keeps.

use super::*;
use crate::model::{HeldKey, HeldKind, HoldReason, HoldRule};

on_both! {
    a_gone_team_is_forgotten_once_nothing_needs_it,
    more_than_one_batch_is_forgotten_at_once,
    the_mark_of_a_team_that_no_look_has_seen_is_forgotten_once_it_is_idle,
    a_deleted_event_is_kept_as_long_as_it_may_prove_something,
    what_a_person_was_shown_and_approved_is_forgotten_when_it_is_old,
    a_look_loads_no_gone_team_that_has_nothing,
}

const DAY: i64 = 86_400;

/// The moment of upkeep.
const NOW: i64 = 400 * DAY;

const KEEP: Keep = Keep {
    deliveries: Duration::from_secs(7 * 86_400),
    audit: Duration::from_secs(365 * 86_400),
    window: Duration::from_secs(3_600),
};

async fn execute(ledger: &Ledger, sql: String) {
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&ledger.write).await.unwrap();
}

/// Stores teams that are gone since `day`, each with an idle mark, its `team.deleted` event and a list.
async fn gone(ledger: &Ledger, teams: std::ops::RangeInclusive<i64>, day: i64) {
    let at = day * DAY * 1_000_000;
    let (first, last) = (teams.start(), teams.end());
    let ids =
        format!("WITH RECURSIVE n(id) AS (SELECT {first} UNION ALL SELECT id + 1 FROM n WHERE id < {last})");
    for (table, columns, values) in [
        (
            "teams",
            "org_id, team_id, slug, name, suspected_at, gone_at, seen_at, in_step, waiting",
            format!("1, id, 's' || id, 'S', {at}, {at}, {at}, FALSE, FALSE"),
        ),
        (
            "marks",
            "kind, org_id, team_id, generation, cause, last_attempt_at",
            format!("'team', 1, id, 3, 1, {at}"),
        ),
        ("deleted_events", "org_id, team_id, at", format!("1, id, {at}")),
        ("team_lists", "org_id, team_id, read_at, changed_at", format!("1, id, {at}, {at}")),
    ] {
        execute(ledger, format!("INSERT INTO {table} ({columns}) {ids} SELECT {values} FROM n")).await;
    }
}

/// The teams of a table.
async fn teams(ledger: &Ledger, table: &str) -> Vec<i64> {
    let sql = format!("SELECT team_id FROM {table} WHERE org_id = 1 ORDER BY team_id");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&ledger.read).await.unwrap()
}

/// Counts the rows that a gone team leaves.
async fn left(ledger: &Ledger) -> [i64; 4] {
    let mut left = [0; 4];
    for (at, table) in ["teams", "marks", "deleted_events", "team_lists"].into_iter().enumerate() {
        left[at] = rows(ledger, table).await;
    }
    left
}

async fn a_gone_team_is_forgotten_once_nothing_needs_it(opened: Opened) {
    let ledger = &opened.ledger;
    gone(ledger, 1..=9, 300).await;
    gone(ledger, 10..=10, 399).await;
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    ledger
        .settle(LANE, fence, &Settlement { teams: vec![settled(11, None)], ..Settlement::default() }, at(1))
        .await
        .unwrap();
    let kept = |team: i64| ConnectionKey { datadog_team: "d".into(), github: format!("@acme/s{team}") };
    let owned = Owned { key: kept(1), id: "c".into(), team: TeamId(1), managed_by: None };
    let key = HeldKey::new(HeldKind::Delete, kept(3));
    let stored = Settlement {
        owned: vec![owned],
        held: vec![Held { key, team: Some(TeamId(3)), reason: HoldReason::new(HoldRule::MaxShare, "many") }],
        looked_at: vec![Some(TeamId(3))],
        parked: vec![ParkedAction {
            team: Some(TeamId(4)),
            step: ParkedStep::Look(TeamId(4)),
            error: Trouble::new(Class::Permanent, "no"),
            attempts: 12,
        }],
        ..Settlement::default()
    };
    ledger.settle(LANE, fence, &stored, at(1)).await.unwrap();
    let intent = Intended { kind: IntentKind::Create, key: kept(2), team: Some(TeamId(2)), written: None };
    ledger.intend(ORG, fence, &[intent], "teamlink", at(1)).await.unwrap();
    let approval = Held {
        key: HeldKey::new(HeldKind::Delete, kept(5)),
        team: None,
        reason: HoldReason::new(HoldRule::Orphan, "an orphan"),
    };
    let hash = ledger.remember_held(LANE, &[approval], at(NOW)).await.unwrap();
    ledger.approve(&hash, "why", TTL, at(NOW)).await.unwrap().unwrap();
    execute(ledger, "INSERT INTO paused (org_id, team_id, since, reason) VALUES (1, 6, 1, '')".into()).await;
    ledger.accept(&[entry("a", 7)], PACE, at(NOW)).await.unwrap();
    let line = "INSERT INTO audit (at, org_id, team_id, action, datadog_team_id, github, cause, reason, outcome, fence)";
    execute(
        ledger,
        format!("{line} VALUES ({}, 1, 8, 'delete', 'd', '@acme/s8', 'event', '', 'done', 1)", at(NOW).0),
    )
    .await;
    assert_eq!(left(ledger).await, [11, 11, 10, 10]);

    ledger.forget_old(KEEP, at(NOW)).await.unwrap();
    // Of the teams that are gone long since, only number 9 is needed by nothing.
    assert_eq!(teams(ledger, "teams").await, [1, 2, 3, 4, 5, 6, 7, 8, 10, 11]);
    // The next mark of number 5, 6 or 8 begins anew. The mark of team 0 is the organisation's.
    assert_eq!(teams(ledger, "marks").await, [0, 1, 2, 3, 4, 7, 10]);
    assert_eq!(teams(ledger, "deleted_events").await, [7, 10]);
    assert_eq!(teams(ledger, "team_lists").await, [10]);
}

async fn more_than_one_batch_is_forgotten_at_once(opened: Opened) {
    let ledger = &opened.ledger;
    gone(ledger, 1..=2_500, 300).await;
    assert_eq!(left(ledger).await, [2_500; 4]);
    assert_eq!(ledger.forget_old(KEEP, at(NOW)).await.unwrap(), 10_000);
    assert_eq!(left(ledger).await, [0; 4]);
    // A redelivery of the team's last event finds a team that is new, and is forgotten in its turn.
    let again = Accepting { deleted: Some(Target::Team(key(1))), received_at: at(NOW), ..entry("a", 1) };
    ledger.accept(&[again], PACE, at(NOW)).await.unwrap();
    assert_eq!(due(ledger, at(NOW + 1)).await, [1]);
    let fence = ledger.lease(LANE, "t", at(NOW), TTL).await.unwrap().unwrap();
    ledger.settle(LANE, fence, &done(1, 1, Next::Nothing), at(NOW + 1)).await.unwrap();
    ledger.forget_old(KEEP, at(NOW + 2)).await.unwrap();
    assert_eq!(left(ledger).await, [0, 1, 1, 0]);
    ledger.forget_old(KEEP, at(NOW + 31 * DAY)).await.unwrap();
    assert_eq!(left(ledger).await, [0; 4]);
}

async fn the_mark_of_a_team_that_no_look_has_seen_is_forgotten_once_it_is_idle(opened: Opened) {
    let ledger = &opened.ledger;
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    ledger.accept(&[entry("a", 1), entry("b", 2), entry("c", 3)], PACE, at(1)).await.unwrap();
    ledger.mark(&[Target::Org(ORG)], Cause::Pass, Asks::PASS, at(1)).await.unwrap();
    ledger.settle(LANE, fence, &done(1, 1, Next::Nothing), at(1)).await.unwrap();
    ledger
        .settle(
            LANE,
            fence,
            &Settlement { teams: vec![settled(3, None)], ..done(3, 1, Next::Nothing) },
            at(1),
        )
        .await
        .unwrap();
    ledger
        .settle(
            LANE,
            fence,
            &Settlement {
                marks: vec![MarkResult { team: None, generation: 1, next: Next::Nothing }],
                ..Settlement::default()
            },
            at(1),
        )
        .await
        .unwrap();
    ledger.forget_old(KEEP, at(10 * DAY)).await.unwrap();
    assert_eq!(rows(ledger, "marks").await, 4);
    ledger.forget_old(KEEP, at(NOW)).await.unwrap();
    assert_eq!(
        teams(ledger, "marks").await,
        [0, 2, 3],
        "the organisation's, one that is due, and one of a team that is there"
    );
}

async fn a_deleted_event_is_kept_as_long_as_it_may_prove_something(opened: Opened) {
    let ledger = &opened.ledger;
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let seen = |team: i64, day: i64, state: TeamState| {
        let mut seen = settled(team, None);
        (seen.team.state, seen.team.seen_at) = (state, at(day * DAY));
        seen
    };
    let suspected = TeamState::Suspected { since: at(300 * DAY), second: None };
    let teams_ = vec![
        seen(1, 399, TeamState::Present), // It was there long after the event: the event was wrong.
        seen(2, 299, TeamState::Present), // Nobody has looked since.
        seen(3, 299, suspected),          // The proof is half done.
        seen(4, 399, suspected),          // The doubt is younger than the event and a look that refuted it.
    ];
    ledger.settle(LANE, fence, &Settlement { teams: teams_, ..Settlement::default() }, at(1)).await.unwrap();
    for team in 1..=5 {
        let event = format!(
            "INSERT INTO deleted_events (org_id, team_id, at) VALUES (1, {team}, {})",
            at(300 * DAY).0
        );
        execute(ledger, event).await;
    }
    execute(
        ledger,
        format!("INSERT INTO deleted_events (org_id, team_id, at) VALUES (1, 6, {})", at(390 * DAY).0),
    )
    .await;
    ledger.forget_old(KEEP, at(NOW)).await.unwrap();
    assert_eq!(teams(ledger, "deleted_events").await, [2, 3, 6]);
}

async fn what_a_person_was_shown_and_approved_is_forgotten_when_it_is_old(opened: Opened) {
    let ledger = &opened.ledger;
    let connection = |team: i64| ConnectionKey { datadog_team: "d".into(), github: format!("@acme/s{team}") };
    let held = |team: i64| Held {
        key: HeldKey::new(HeldKind::Delete, connection(team)),
        team: Some(TeamId(team)),
        reason: HoldReason::new(HoldRule::MaxShare, "many"),
    };
    for (team, day) in [(1, 360), (2, 380)] {
        ledger.remember_held(LANE, &[held(team)], at(day * DAY)).await.unwrap();
        execute(
            ledger,
            format!(
                "INSERT INTO held_sets VALUES ('x', 1, 'delete', 'd', '@acme/s{team}', {team}, {})",
                at(day * DAY).0
            ),
        )
        .await;
    }
    for (team, expires) in [(3, NOW - 2 * DAY), (4, NOW - 60), (5, NOW + 60)] {
        let hash = ledger.remember_held(LANE, &[held(team)], at(expires - 1)).await.unwrap();
        ledger.approve(&hash, "why", Duration::from_secs(1), at(expires - 1)).await.unwrap().unwrap();
    }
    let slots = [connection(1).into(), connection(2).into()];
    ledger.take_slots(LANE, &slots[..1], 10, Duration::from_secs(7_200), at(NOW - 3_601)).await.unwrap();
    ledger.take_slots(LANE, &slots[1..], 10, Duration::from_secs(7_200), at(NOW)).await.unwrap();
    execute(
        ledger,
        "INSERT INTO leases (org_id, holder, fence, expires_at) VALUES (77, 'daemon:x', 9, 0)".into(),
    )
    .await;
    ledger.lease(Lane::Recovery, "t", at(1), TTL).await.unwrap().unwrap();
    ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let before = async || {
        let mut counts = Vec::new();
        for table in ["printed_sets", "held_sets", "approvals", "removal_slots", "leases"] {
            counts.push(rows(ledger, table).await);
        }
        counts
    };
    assert_eq!(before().await, [2, 2, 3, 2, 3]);
    ledger.forget_old(KEEP, at(NOW)).await.unwrap();
    assert_eq!(before().await, [1, 1, 2, 1, 2]);
    assert_eq!(ledger.slots_taken(KEEP.window, at(NOW)).await.unwrap(), 1);
}

async fn a_look_loads_no_gone_team_that_has_nothing(opened: Opened) {
    let ledger = &opened.ledger;
    gone(ledger, 1..=10_000, 300).await;
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let kept = |team: i64| ConnectionKey { datadog_team: "d".into(), github: format!("@acme/s{team}") };
    let stored = Settlement {
        teams: vec![settled(20_000, None)],
        owned: vec![Owned { key: kept(1), id: "c".into(), team: TeamId(1), managed_by: None }],
        ..Settlement::default()
    };
    ledger.settle(LANE, fence, &stored, at(1)).await.unwrap();
    let intent = Intended { kind: IntentKind::Create, key: kept(2), team: Some(TeamId(2)), written: None };
    ledger.intend(ORG, fence, &[intent], "teamlink", at(1)).await.unwrap();
    // An event still finds the team that it names.
    ledger.accept(&[entry("a", 3)], PACE, at(1)).await.unwrap();
    let loaded = |state: OrgState| state.teams.into_keys().map(|team| team.0).collect::<Vec<_>>();
    assert_eq!(loaded(ledger.org_state(ORG).await.unwrap().unwrap()), [1, 2, 3, 20_000]);
    // So does a person.
    let asked = ledger.org_state_with(ORG, TeamId(4)).await.unwrap().unwrap();
    assert!(matches!(asked.teams[&TeamId(4)].state, TeamState::Gone { .. }));
    assert_eq!(loaded(asked), [1, 2, 3, 4, 20_000]);
    if ledger.engine == Engine::Sqlite {
        let steps = plan(ledger, state::TEAMS).await;
        let of_teams: Vec<&String> = steps.iter().filter(|step| step.contains(" teams ")).collect();
        assert_eq!(of_teams.len(), 2, "{steps:#?}");
        assert!(of_teams[0].contains("(org_id=? AND gone_at=?)"), "{steps:#?}");
        assert!(of_teams[1].contains("(org_id=? AND team_id=?)"), "{steps:#?}");
    }
}
