//! Rule sets: which of them a look went by, and which a pass.

use super::*;

on_both! {
    a_team_is_in_step_only_for_the_rules_under_which_a_look_found_it_so,
    a_pass_leaves_the_rules_that_it_went_by,
}

async fn a_team_is_in_step_only_for_the_rules_under_which_a_look_found_it_so(opened: Opened) {
    let old = opened.ledger.under("r1:a", "sync");
    let new = Ledger::open(&opened.url).await.unwrap().under("r1:b", "sync");
    let stricter = Ledger::open(&opened.url).await.unwrap().under("r1:b", "upsert");
    let in_step = async |ledger: &Ledger| {
        let state = ledger.org_state(ORG).await.unwrap().unwrap();
        [1, 2].map(|team| state.teams[&TeamId(team)].in_step)
    };
    let look = |team: i64| Settlement { teams: vec![settled(team, None)], ..Settlement::default() };
    let fence = old.lease(LANE, "old", at(1), TTL).await.unwrap().unwrap();
    old.settle(LANE, fence, &look(1), at(1)).await.unwrap();
    old.release(LANE, fence).await.unwrap();
    // The new worker has been started, the old one goes on for a while.
    let fence = new.lease(LANE, "new", at(2), TTL).await.unwrap().unwrap();
    new.settle(LANE, fence, &look(2), at(2)).await.unwrap();
    new.release(LANE, fence).await.unwrap();
    let fence = old.lease(LANE, "old", at(3), TTL).await.unwrap().unwrap();
    old.settle(LANE, fence, &look(1), at(3)).await.unwrap();
    assert_eq!(in_step(&old).await, [true, false]);
    assert_eq!(in_step(&new).await, [false, true]);
    assert_eq!(in_step(&stricter).await, [false, false]);
    // What asks for a look asks under any rules.
    new.mark(&[Target::Team(key(1))], Cause::Pass, Asks::PASS, at(4)).await.unwrap();
    assert_eq!(in_step(&old).await, [false, false]);
    // The end of a pause has the teams looked at that aren't known to be in step by these rules.
    for ledger in [&old, &new] {
        ledger.settle(LANE, fence, &look(1), at(5)).await.unwrap();
        ledger.settle(LANE, fence, &done(1, 1, Next::Nothing), at(5)).await.unwrap();
        ledger.pause(PauseScope::Org(ORG), "", at(6)).await.unwrap();
        old.resume(PauseScope::Org(ORG), "", at(6)).await.unwrap();
        assert_eq!(due(ledger, at(6)).await.contains(&1), std::ptr::eq(ledger, &new));
        ledger.settle(LANE, fence, &done(1, 2, Next::Nothing), at(7)).await.unwrap();
    }
}

async fn a_pass_leaves_the_rules_that_it_went_by(opened: Opened) {
    let ledger = opened.ledger.under("r1:a", "sync");
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    ledger.settle(LANE, fence, &done(1, 1, Next::Nothing), at(1)).await.unwrap();
    let passed = "SELECT passed_for, passed_at FROM orgs WHERE org_id = 1";
    let of_look: (Option<String>, Option<i64>) =
        sqlx::query_as(passed).fetch_one(&ledger.read).await.unwrap();
    assert_eq!(of_look, (None, None));
    for (second, rules) in [(2, "r1:a"), (3, "r1:b")] {
        let pass = Settlement { passed: Some((0, 0)), ..Settlement::default() };
        ledger.clone().under(rules, "sync").settle(LANE, fence, &pass, at(second)).await.unwrap();
        let of_pass: (String, i64) = sqlx::query_as(passed).fetch_one(&ledger.read).await.unwrap();
        assert_eq!(of_pass, (rules.to_owned(), at(second).0));
    }
}
