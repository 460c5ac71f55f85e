//! Every question and every kind of row, on both databases: each has its own idea of types.

use super::*;
use crate::model::{
    Contents, EntryKey, HeldKey, HeldKind, HoldReason, HoldRule, Integration, RepositoryId, Subject,
    Suspicion,
};

on_both! {
    all_that_may_be_asked_is_answered,
}

async fn all_that_may_be_asked_is_answered(opened: Opened) {
    let ledger = &opened.ledger;
    ledger.accept(&[entry("a", 7)], PACE, at(1)).await.unwrap();
    let fence = ledger.lease(LANE, "t", at(2), TTL).await.unwrap().unwrap();
    let connection = ConnectionKey { datadog_team: "d".into(), github: "@acme/s7".into() };
    let line = AuditEntry {
        team: Some(TeamId(7)),
        action: AuditAction::Adopt,
        subject: connection.clone().into(),
        connection: None,
        cause: Cause::Event,
        of_event: true,
        reason: "why".into(),
        proof: None,
        outcome: AuditOutcome::Done,
        detail: None,
    };
    ledger
        .begin_adoption(ORG, fence, (&connection, TeamId(7)), line.clone(), "teamlink", at(2))
        .await
        .unwrap();
    let remove = HeldKey::new(HeldKind::Delete, connection.clone());
    let accepted = Contents { entries: [EntryKey("r".into())].into(), fields: ["note".to_owned()].into() };
    let suspicion = Suspicion { since: at(2), lacks: "a hash".into() };
    let removed = [(EntryKey("old".into()), RemovedEntry { at: at(2), removals: 1 })];
    let looked = LastLook { generation: 3, full_at: Some(at(5)), put_at: None };
    let entries = [(EntryKey("r".into()), EntryRow { suspected: Some(at(1)), ..EntryRow::default() })];
    let look = Settlement {
        org: Some(OrgFacts { id: ORG, login: "Acme".into() }),
        teams: vec![Settled { waiting: true, ..settled(7, None) }],
        owned: vec![Owned { key: connection.clone(), id: "c".into(), team: TeamId(7), managed_by: None }],
        unwanted: vec![(connection.clone(), at(1))],
        closed_intents: vec![connection.clone()],
        undone: vec![connection.clone()],
        held: vec![Held {
            key: remove.clone(),
            team: Some(TeamId(7)),
            reason: HoldReason::new(HoldRule::MaxShare, "many"),
        }],
        passed: Some((2, 3)),
        lifts_creates: true,
        looked_at: vec![Some(TeamId(7))],
        parked: vec![ParkedAction {
            team: Some(TeamId(7)),
            step: ParkedStep::Create(connection.clone()),
            error: Trouble::new(Class::Permanent, "no"),
            attempts: 1,
        }],
        audit: vec![line],
        document: Some(SettledDocument {
            accepted: accepted.clone(),
            suspicion: Some(suspicion.clone()),
            removed_entries: removed.clone().into(),
            look: looked,
            integration: Integration::Github,
            entries: entries.clone().into(),
            datadog_org: Some(5),
            lists: [(key(7), [RepositoryId(1), RepositoryId(2)].into())].into(),
            read_at: at(2),
        }),
        documents: vec![Integration::Github],
        ..done(7, 2, Next::At(at(9)))
    };
    ledger.settle(LANE, fence, &look, at(3)).await.unwrap();
    let removal = Subject::Connection(connection.clone());
    let slots = ledger.take_slots(LANE, std::slice::from_ref(&removal), 1, TTL, at(3)).await.unwrap();
    assert_eq!(slots, [removal].into());

    let state = ledger.org_state(ORG).await.unwrap().unwrap();
    assert!(state.waiting.contains(&TeamId(7)) && state.org.passed && state.teams[&TeamId(7)].in_step);
    let counts = ledger.counts(at(3)).await.unwrap();
    assert_eq!((counts.held, counts.parked, counts.orphans, counts.foreigners), (1, 1, 2, 3));
    let progress = ledger.progress(LANE, at(3)).await.unwrap();
    assert_eq!((progress.waiting, progress.owned, progress.suspected, progress.orphans), (1, 1, 1, 2));
    for team in [None, Some(key(7))] {
        let audit = ledger.audit(team, at(0)).await.unwrap();
        assert_eq!((audit.len(), audit[1].deliveries.as_slice()), (2, ["a".to_owned()].as_slice()));
    }
    let story = ledger.story(key(7)).await.unwrap();
    assert_eq!((story.events.len(), story.held.len(), story.parked.len()), (1, 1, 1));
    assert_eq!(story.looks.unwrap().next_at, Some(at(9)));
    assert_eq!(ledger.deliveries_until(key(7), at(9), 3).await.unwrap(), ["a"]);
    assert_eq!(ledger.parked_delivery(ledger.parked().await.unwrap()[0].id).await.unwrap(), None);
    let org = ledger.find_org("ACME").await.unwrap().unwrap();
    assert_eq!(ledger.find_team(&org, "S7").await.unwrap(), Some(TeamId(7)));
    assert_eq!(ledger.find_team(&org, "nobody").await.unwrap(), None);
    assert_eq!(ledger.name_of(LANE, Some(TeamId(7))).await.unwrap(), "Acme/s7");
    assert!(ledger.any_waiting().await.unwrap());
    let waiting = ledger.waiting_teams().await.unwrap();
    assert_eq!((waiting.len(), waiting[0].0.facts.id), (1, ORG));
    assert_eq!(waiting[0].1.iter().map(|team| team.id).collect::<Vec<_>>(), [TeamId(7)]);
    ledger.mark(&[Target::Team(key(7))], Cause::Pass, Asks::PASS, at(4)).await.unwrap();
    assert_eq!(ledger.marks_of(ORG, &[TeamId(7), TeamId(8)]).await.unwrap().len(), 2);
    assert_eq!(ledger.unanswered_teams(ORG).await.unwrap(), [TeamId(7)].into());
    let (teams, keys) = ledger.moving(ORG, at(0)).await.unwrap();
    assert_eq!((teams.len(), keys), (1, [connection.clone()].into()));
    assert_eq!(ledger.events_since(key(7), at(0)).await.unwrap(), 1);
    assert_eq!(ledger.owned_keys().await.unwrap(), [(connection.clone(), true)].into());
    assert_eq!(ledger.team_lists(ORG, TTL).await.unwrap().len(), 0, "read before the lag was over");
    assert_eq!(ledger.team_lists(ORG, Duration::ZERO).await.unwrap()[&TeamId(7)].len(), 2);
    ledger.distrust_team_lists().await.unwrap();
    assert_eq!(ledger.team_lists(ORG, Duration::ZERO).await.unwrap().len(), 0);
    let document = ledger.document_state(Integration::Github, TTL, at(4)).await.unwrap();
    assert_eq!((&document.entries, document.datadog_org), (&entries.into(), Some(5)));
    assert_eq!((document.accepted, document.suspicion), (accepted, Some(suspicion)));
    assert_eq!((document.removed_entries, document.last_look), (removed.into(), Some(looked)));
    assert!(ledger.due_whole(Lane::Document(Integration::Github), at(4)).await.unwrap().is_some());

    let set = ledger.held_set(LANE, at(4)).await.unwrap().unwrap();
    assert_eq!(ledger.held_teams(ORG).await.unwrap(), [(remove.clone(), TeamId(7))]);
    let approved = ledger.approve(&set.hash, "why", TTL, at(4)).await.unwrap();
    assert_eq!(approved, Some(vec![remove.clone()]));
    assert_eq!(ledger.approve(&set.hash, "why", TTL, at(4)).await.unwrap(), None, "once");
    assert_eq!(ledger.held_and_approved(ORG, at(5)).await.unwrap().1, [remove].into());
    assert_eq!(ledger.held_set(LANE, at(5)).await.unwrap(), None);
    let gone = Settlement {
        disowned: vec![connection],
        looked_at: vec![Some(TeamId(7))],
        ..done(7, 3, Next::Nothing)
    };
    ledger.settle(LANE, fence, &gone, at(6)).await.unwrap();
    assert_eq!(ledger.held_and_approved(ORG, at(7)).await.unwrap(), Default::default());
    ledger.mark_interrupted(None, at(7)).await.unwrap();
    ledger.lift("datadog", at(7)).await.unwrap();
    ledger.remember_held(LANE, &look.held, at(7)).await.unwrap();
    ledger.pause(PauseScope::Team(key(7)), "why", at(7)).await.unwrap();
    let pause = ledger.pauses().await.unwrap().remove(0);
    assert_eq!(ledger.name_of_pause(&pause).await.unwrap(), "Acme/s7");
    let scope = Lane::Document(Integration::Jira);
    let jira = ledger.lease(scope, "t", at(7), TTL).await.unwrap().unwrap();
    ledger.intend_entries(jira, Integration::Jira, &document.entries, at(7)).await.unwrap();

    let dead =
        Accepting { unfit: Some((ParkedPlace::DeadQueue, "died".into())), targets: vec![], ..entry("b", 1) };
    ledger.accept(&[dead], PACE, at(8)).await.unwrap();
    let (id, attempts) = ledger.take_dead().await.unwrap().unwrap();
    assert_eq!(ledger.take_dead().await.unwrap(), None, "each is given once");
    assert!(ledger.revived(id, attempts).await.unwrap());
    let action = Settlement { parked: look.parked, ..Settlement::default() };
    ledger.settle(LANE, fence, &action, at(9)).await.unwrap();
    let id = ledger.parked().await.unwrap()[0].id;
    assert!(ledger.replay_action(id, "why", at(9)).await.unwrap());
}
