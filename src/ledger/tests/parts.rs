//! The part of an organisation that a look at some of its teams loads: all that they concern, and nothing else.

use std::collections::BTreeSet;

use super::*;

on_both! {
    a_look_loads_what_its_teams_concern_and_nothing_else,
    what_is_loaded_of_a_part_is_as_in_the_whole,
    a_row_is_young_for_a_while_after_its_connection_was_recorded,
    a_team_that_is_gone_is_found_by_when_that_was_proven,
}

fn owned(datadog: &str, github: &str, team: i64) -> Owned {
    let key = ConnectionKey { datadog_team: datadog.into(), github: github.into() };
    Owned { key, id: format!("{datadog}-{github}").as_str().into(), team: TeamId(team), managed_by: None }
}

/// An organisation of 300 teams with a connection each. Team 2 was `s1` before, team 3 is suspected gone, team 4 lies below
/// team 5, team 6 shares the Datadog team of team 7, and the connection of team 8 is unwanted. Returns the fence.
async fn filled(ledger: &Ledger) -> i64 {
    let fence = ledger.lease(LANE, "t", at(1), TTL).await.unwrap().unwrap();
    let mut teams: Vec<Settled> = (1..=300).map(|team| settled(team, (team == 4).then_some(5))).collect();
    teams[2].team.state = TeamState::Suspected { since: at(1), second: None };
    let mut rows = vec![owned("d2", "@acme/s1", 2), owned("d7", "@acme/s6", 6)];
    for team in (3..=5).chain(7..=300) {
        rows.push(owned(&format!("d{team}"), &format!("@acme/s{team}"), team));
    }
    rows.push(owned("d1", "@acme/s1", 1));
    let unwanted = rows.iter().filter(|row| row.team == TeamId(8)).map(|row| (row.key.clone(), at(1)));
    let unwanted = unwanted.collect();
    let stored = Settlement { teams, owned: rows, unwanted, ..Settlement::default() };
    ledger.settle(LANE, fence, &stored, at(1)).await.unwrap();
    fence
}

fn ids(state: &OrgState) -> Vec<i64> {
    state.teams.keys().map(|team| team.0).collect()
}

fn rows_of(state: &OrgState) -> BTreeSet<String> {
    state.owned.iter().map(|owned| owned.key.to_string()).collect()
}

fn named(handles: &[&str]) -> BTreeSet<String> {
    handles.iter().map(|handle| (*handle).to_owned()).collect()
}

async fn a_look_loads_what_its_teams_concern_and_nothing_else(opened: Opened) {
    let ledger = &opened.ledger;
    filled(ledger).await;
    let teams = BTreeSet::from([TeamId(9), TeamId(1_000)]);
    let mut part = ledger.org_part(ORG, &teams).await.unwrap().unwrap();
    assert_eq!((part.size.teams, part.size.owned), (300, 300));
    assert_eq!(ids(&part), [3, 9], "with the team that is suspected");
    let always = ["@acme/s3 = d3", "@acme/s8 = d8", "@acme/s9 = d9"];
    assert_eq!(rows_of(&part), named(&always), "with the row that is unwanted");

    ledger.take_in_handles(&mut part, &named(&["@acme/s1"])).await.unwrap();
    assert_eq!(ids(&part), [1, 2, 3, 9], "who has the name, and whose row has it");
    ledger.take_in_teams(&mut part, &BTreeSet::from([TeamId(7)])).await.unwrap();
    assert_eq!(ids(&part), [1, 2, 3, 7, 9]);
    let more = ["@acme/s1 = d1", "@acme/s1 = d2", "@acme/s7 = d7", "@acme/s6 = d7"];
    assert_eq!(rows_of(&part), named(&[&always[..], &more[..]].concat()), "with who shares the Datadog team");
    assert_eq!(part.owned.len(), 7, "each row once");

    assert_eq!(ledger.teams_below(ORG, &[TeamId(5), TeamId(6)]).await.unwrap(), [TeamId(4)]);
    assert_eq!(ledger.present_teams(ORG).await.unwrap().len(), 299);
    if ledger.engine == Engine::Sqlite {
        for query in part::queries() {
            let steps = plan(ledger, &query).await;
            let of_table = |step: &&String| step.contains(" teams ") || step.contains(" connections ");
            for step in steps.iter().filter(of_table) {
                let by_key = step.matches("=?").count() >= 2 || step.contains("parent_id=?");
                let partial = step.contains("teams_suspected") || step.contains("connections_unwanted");
                let of_datadog = step.contains("(datadog_team_id=?)");
                assert!(
                    step.starts_with("SEARCH") && (by_key || partial || of_datadog),
                    "{query}: {steps:#?}"
                );
            }
        }
    }
}

async fn what_is_loaded_of_a_part_is_as_in_the_whole(opened: Opened) {
    let ledger = &opened.ledger;
    filled(ledger).await;
    let whole = ledger.org_state(ORG).await.unwrap().unwrap();
    let all: BTreeSet<TeamId> = (1..=300).map(TeamId).collect();
    let part = ledger.org_part(ORG, &all).await.unwrap().unwrap();
    assert!(whole.whole && !part.whole);
    assert_eq!(part.teams, whole.teams);
    assert_eq!(rows_of(&part), rows_of(&whole));
    assert_eq!((part.size, part.has_enterprise_teams), (whole.size, whole.has_enterprise_teams));
    assert_eq!(part.unwanted_since, whole.unwanted_since);
    assert_eq!((part.waiting, part.listed), (whole.waiting, whole.listed));
}

async fn a_row_is_young_for_a_while_after_its_connection_was_recorded(opened: Opened) {
    let ledger = &opened.ledger;
    let fence = filled(ledger).await;
    let young = async |keys: usize| {
        let part = ledger.org_part(ORG, &BTreeSet::from([TeamId(9)])).await.unwrap().unwrap();
        assert_eq!(part.young.len(), keys, "{:?}", part.young);
    };
    young(0).await;
    let again = Owned { id: "another".into(), ..owned("d9", "@acme/s9", 9) };
    for (rows, expected) in [(owned("d9", "@acme/s9", 9), 0), (again, 1)] {
        let stored = Settlement { owned: vec![rows], ..Settlement::default() };
        ledger.settle(LANE, fence, &stored, ledger.clock().now()).await.unwrap();
        young(expected).await;
    }
}

async fn a_team_that_is_gone_is_found_by_when_that_was_proven(opened: Opened) {
    let ledger = &opened.ledger;
    let fence = filled(ledger).await;
    let mut gone = settled(7, None);
    gone.team.state = TeamState::Gone { since: at(1), proven: at(5) };
    ledger
        .settle(LANE, fence, &Settlement { teams: vec![gone], ..Settlement::default() }, at(6))
        .await
        .unwrap();
    assert_eq!(
        ledger.gone_since(ORG, at(6)).await.unwrap(),
        BTreeSet::from([TeamId(7)]),
        "the list came last"
    );
    assert_eq!(ledger.gone_since(ORG, at(7)).await.unwrap(), BTreeSet::new());
}
