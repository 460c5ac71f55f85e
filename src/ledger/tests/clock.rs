//! Moments that lie ahead of the clock, because it was set back after they were stored.

use super::*;
use crate::model::{ConnectionId, RemovedByOthers, Subject};

on_both! {
    what_was_sent_before_the_ledger_was_opened_may_have_been_sent_then,
    a_delay_that_lies_ahead_of_the_clock_is_over,
    a_lease_that_lies_ahead_of_the_clock_ends_a_lease_later,
    what_began_ahead_of_the_clock_begins_now,
    a_jump_leaves_what_was_over_alone,
    what_a_proof_or_an_answer_waits_for_never_lies_ahead,
    what_was_recorded_just_before_a_jump_may_be_lacking_from_lists_after_it,
    what_somebody_removed_counts_for_a_day_however_the_clock_is_set,
    a_stranger_who_was_heard_of_ahead_of_the_clock_is_met_at_once,
    a_stranger_who_was_met_ahead_of_the_clock_is_met_again_soon,
}

const SPANS: Spans = Spans {
    grace: Duration::from_secs(60),
    window: Duration::from_secs(600),
    delay: Duration::from_secs(7200),
    lag: Duration::from_secs(600),
};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn sql(ledger: &Ledger, sql: &'static str, at: Time) {
    sqlx::query(sql).bind(at.0).execute(&ledger.write).await.unwrap();
}

async fn moment(ledger: &Ledger, sql: &'static str) -> Time {
    Time(sqlx::query_scalar(sql).fetch_one(&ledger.write).await.unwrap())
}

async fn a_delay_that_lies_ahead_of_the_clock_is_over(opened: Opened) {
    let ledger = &opened.ledger;
    let now = ledger.clock().now();
    ledger.accept(&[entry("a", 7)], PACE, now + DAY).await.unwrap();
    // One that is waited for in earnest, and two of an older version: of them only the longer is over.
    ledger.accept(&[entry("b", 8), entry("c", 9), entry("d", 10)], PACE, now).await.unwrap();
    sql(ledger, "UPDATE marks SET not_before = $1 WHERE team_id = 8", now + DAY).await;
    sql(ledger, "UPDATE marks SET decided_at = NULL, due_at = $1 WHERE team_id = 9", now + DAY).await;
    sql(ledger, "UPDATE marks SET decided_at = NULL, due_at = $1 WHERE team_id = 10", now + SPANS.window)
        .await;
    assert_eq!(ledger.keep_time(SPANS).await.unwrap(), None, "no clock was set");
    let soon = now + Duration::from_secs(5);
    let mut due = due(ledger, soon).await;
    due.sort_unstable();
    assert_eq!(due, [7, 9]);
    assert!(ledger.next_due(now).await.unwrap().is_some_and(|at| at <= soon));
    // An event after that is not held up by what was decided before.
    ledger.accept(&[entry("e", 7)], PACE, soon).await.unwrap();
    assert!(super::due(ledger, soon + PACE.debounce).await.contains(&7));
}

async fn a_stranger_who_was_met_ahead_of_the_clock_is_met_again_soon(opened: Opened) {
    let ledger = &opened.ledger;
    let (now, wait) = (ledger.clock().now(), Duration::from_secs(10));
    ledger.expect_org("globex", wait, now + DAY).await.unwrap();
    ledger.keep_time(SPANS).await.unwrap();
    assert_eq!(ledger.due_strangers(now + wait / 2).await.unwrap(), []);
    assert_eq!(ledger.due_strangers(now + 2 * wait).await.unwrap().len(), 1);
}

async fn a_stranger_who_was_heard_of_ahead_of_the_clock_is_met_at_once(opened: Opened) {
    let ledger = &opened.ledger;
    let now = ledger.clock().now();
    strangers::hear(ledger, 5, "globex", now + DAY).await;
    ledger.keep_time(SPANS).await.unwrap();
    assert_eq!(ledger.due_strangers(now + Duration::from_secs(1)).await.unwrap().len(), 1);
}

async fn a_lease_that_lies_ahead_of_the_clock_ends_a_lease_later(opened: Opened) {
    let ledger = &opened.ledger;
    let now = ledger.clock().now();
    ledger.lease(LANE, "a", now, TTL).await.unwrap().unwrap();
    sql(
        ledger,
        "UPDATE leases SET renewed_at = renewed_at + $1, expires_at = expires_at + $1",
        Time(0) + DAY,
    )
    .await;
    ledger.keep_time(SPANS).await.unwrap();
    assert_eq!(ledger.lease(LANE, "b", now, TTL).await.unwrap(), None, "its holder may live");
    let ends = moment(ledger, "SELECT expires_at FROM leases").await;
    assert!(ends >= now + TTL && ends < now + TTL + TTL, "{ends}");
}

async fn what_began_ahead_of_the_clock_begins_now(opened: Opened) {
    let ledger = &opened.ledger;
    let now = ledger.clock().now();
    let (subject, window) = (Subject::named("d".into(), "@acme/s7".into()), SPANS.window);
    ledger.take_slots(LANE, std::slice::from_ref(&subject), 1, window, now + DAY).await.unwrap();
    let fence = ledger.lease(LANE, "a", now, TTL).await.unwrap().unwrap();
    let mut gone = settled(7, None);
    gone.team.state = TeamState::Suspected { since: now + DAY, second: None };
    let look = Settlement { teams: vec![gone], ..Settlement::default() };
    ledger.settle(LANE, fence, &look, now).await.unwrap();
    ledger.keep_time(SPANS).await.unwrap();
    let later = ledger.clock().now();
    let since = ledger.org_state(ORG).await.unwrap().unwrap().teams[&TeamId(7)].state;
    let TeamState::Suspected { since, second: None } = since else { panic!("{since:?}") };
    assert!(now <= since && since <= later, "{since}");
    assert_eq!(ledger.slots_taken(window, later).await.unwrap(), 1, "it counts as taken now");
    assert_eq!(ledger.slots_taken(window, later + window).await.unwrap(), 0);
}

async fn a_jump_leaves_what_was_over_alone(opened: Opened) {
    let ledger = &opened.ledger;
    let now = ledger.clock().now();
    let fence = ledger.lease(LANE, "a", now, TTL).await.unwrap().unwrap();
    let suspected = |team, ago| {
        let mut settled = settled(team, None);
        settled.team.state = TeamState::Suspected { since: now - Duration::from_secs(ago), second: None };
        settled
    };
    let look = Settlement { teams: vec![suspected(7, 30), suspected(8, 90)], ..Settlement::default() };
    ledger.settle(LANE, fence, &look, now).await.unwrap();
    let old = ledger.clock().now();
    ledger.begin_again(time::After::jump((old, old + DAY), old + DAY, SPANS), old + DAY).await.unwrap();
    let teams = ledger.org_state(ORG).await.unwrap().unwrap().teams;
    assert_eq!(teams[&TeamId(7)].state, TeamState::Suspected { since: old + DAY, second: None });
    assert_eq!(
        teams[&TeamId(8)].state,
        TeamState::Suspected { since: now - Duration::from_secs(90), second: None }
    );
    let ends = moment(ledger, "SELECT expires_at FROM leases").await;
    assert!(ends > old + DAY, "its holder may live: {ends}");
}

async fn what_a_proof_or_an_answer_waits_for_never_lies_ahead(opened: Opened) {
    let ledger = &opened.ledger;
    let now = ledger.clock().now();
    let fence = ledger.lease(LANE, "a", now, TTL).await.unwrap().unwrap();
    let ahead = now + DAY;
    let key = ConnectionKey { datadog_team: "d".into(), github: "@acme/s7".into() };
    let intent = Intended { kind: IntentKind::Create, key, team: Some(TeamId(7)), written: None };
    ledger.intend(ORG, fence, &[intent], "teamlink", ahead).await.unwrap();
    let mut gone = settled(7, None);
    gone.team.state = TeamState::Suspected { since: ahead, second: Some(ahead) };
    let look = Settlement { teams: vec![gone], listed_at: Some(ahead), ..Settlement::default() };
    ledger.settle(LANE, fence, &look, now).await.unwrap();
    sql(ledger, "UPDATE intents SET connection_id = 'c', answered_at = $1, missed_at = $1", ahead).await;
    ledger.keep_time(SPANS).await.unwrap();
    let (later, state) = (ledger.clock().now(), ledger.org_state(ORG).await.unwrap().unwrap());
    let TeamState::Suspected { since, second: Some(second) } = state.teams[&TeamId(7)].state else {
        panic!("{:?}", state.teams)
    };
    let intent = &state.intents[0];
    let answered = intent.answered.as_ref().unwrap();
    let moments =
        [since, second, state.listed_at.unwrap(), intent.at, answered.at, answered.missed_at.unwrap()];
    assert!(moments.iter().all(|at| now <= *at && *at <= later), "{moments:?}");
    // A jump forward ends no time in which Datadog's lists may lag, and a list that was begun before the second look is
    // no younger than that afterwards.
    let old = ledger.clock().now();
    let jump = time::After::jump((old, old + DAY), old + DAY, SPANS);
    ledger.begin_again(jump, old + DAY).await.unwrap();
    let state = ledger.org_state(ORG).await.unwrap().unwrap();
    let answered = state.intents[0].answered.as_ref().unwrap();
    assert_eq!((answered.at, answered.missed_at), (old + DAY, Some(old + DAY)));
    let second = Some(old + DAY);
    assert_eq!(state.teams[&TeamId(7)].state, TeamState::Suspected { since, second });
}

async fn what_was_recorded_just_before_a_jump_may_be_lacking_from_lists_after_it(opened: Opened) {
    let ledger = &opened.ledger;
    let now = ledger.clock().now();
    let fence = ledger.lease(LANE, "a", now, TTL).await.unwrap().unwrap();
    let recorded = |slug: &str| {
        let key = ConnectionKey { datadog_team: "d".into(), github: format!("@acme/{slug}") };
        let row = Owned { key, id: ConnectionId::from(slug), team: TeamId(7), managed_by: None };
        Settlement { owned: vec![row], ..Settlement::default() }
    };
    let young = async || {
        let state = ledger.org_state(ORG).await.unwrap().unwrap();
        state.young.into_keys().map(|key| key.github).collect::<Vec<_>>()
    };
    // By a clock that was a day ahead.
    ledger.settle(LANE, fence, &recorded("back"), now + DAY).await.unwrap();
    ledger.keep_time(SPANS).await.unwrap();
    assert_eq!(young().await, ["@acme/back"]);
    sql(ledger, "UPDATE connections SET created_at = $1", now - Duration::from_secs(60)).await;
    ledger.settle(LANE, fence, &recorded("forward"), now - Duration::from_secs(5)).await.unwrap();
    let jump = time::After::jump((now, now + DAY), now + DAY, SPANS);
    ledger.begin_again(jump, now + DAY).await.unwrap();
    let moved = "SELECT COUNT(*) FROM connections WHERE created_at >= $1";
    let moved: i64 = sqlx::query_scalar(moved).bind((now + DAY).0).fetch_one(&ledger.write).await.unwrap();
    assert_eq!(moved, 1, "the other was recorded long before");
}

async fn what_somebody_removed_counts_for_a_day_however_the_clock_is_set(opened: Opened) {
    let ledger = &opened.ledger;
    let now = ledger.clock().now();
    let fence = ledger.lease(LANE, "a", now, TTL).await.unwrap().unwrap();
    let key = ConnectionKey { datadog_team: "d".into(), github: "@acme/s7".into() };
    let times = async |now| {
        let removed = ledger.removed_by_others(LANE, now).await.unwrap();
        removed.get(&key).map_or(0, RemovedByOthers::times)
    };
    // Noted by a clock that was a week ahead.
    let noted = Settlement {
        removed_by_others: vec![(key.clone(), ConnectionId::from("a"))],
        ..Settlement::default()
    };
    ledger.settle(LANE, fence, &noted, now + 7 * DAY).await.unwrap();
    ledger.keep_time(SPANS).await.unwrap();
    let later = ledger.clock().now();
    assert_eq!((times(later).await, times(later + DAY).await), (1, 0));
    // One that counted when the clock was set forward counts from then on. One that didn't count does so no more.
    let noted = Settlement {
        removed_by_others: vec![(key.clone(), ConnectionId::from("b"))],
        ..Settlement::default()
    };
    let old = later + DAY;
    ledger.settle(LANE, fence, &noted, old - Duration::from_secs(60)).await.unwrap();
    let jump = time::After::jump((old, old + 7 * DAY), old + 7 * DAY, SPANS);
    ledger.begin_again(jump, old + 7 * DAY).await.unwrap();
    assert_eq!(times(old + 7 * DAY).await, 1);
}

async fn what_was_sent_before_the_ledger_was_opened_may_have_been_sent_then(opened: Opened) {
    let clock = Clock::simulated(at(1), 1);
    let ledger = opened.ledger.on_machine(clock.clone(), None);
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let key = |github: &str| ConnectionKey { datadog_team: "d".into(), github: github.to_owned() };
    let (open, late) = (key("@acme/open"), key("@acme/late"));
    let create = |key: &ConnectionKey| Intended {
        key: key.clone(),
        kind: IntentKind::Create,
        team: Some(TeamId(1)),
        written: None,
    };
    ledger.intend(ORG, fence, &[create(&open), create(&late)], "teamlink", at(2)).await.unwrap();
    ledger.note_answered(ORG, fence, &[(&open, &"c".into())], at(2)).await.unwrap();
    ledger.intend(ORG, fence, &[create(&late)], "teamlink", at(2)).await.unwrap();
    let sent = async |ledger: &Ledger| {
        let state = ledger.org_state(ORG).await.unwrap().unwrap();
        let intent = state.intents.iter().find(|intent| intent.key == open).unwrap();
        (intent.at, intent.answered.as_ref().unwrap().at, state.late_creates[&late])
    };
    assert_eq!(sent(&ledger).await, (at(2), at(2), at(2)));
    // It ends, its clock is set forward by an hour, and the next one begins.
    clock.step(3_600_000_000);
    clock.take_over();
    let next = ledger.on_machine(clock.clone(), None);
    let began = clock.now();
    clock.advance(Duration::from_secs(9));
    assert!(began >= at(3_601), "{began}");
    assert_eq!(sent(&next).await, (began, began, began));
}
