//! The payloads of parked deliveries: each once, and no more than the bounds allow.

use bytes::Bytes;

use super::*;
use crate::ledger::{AuditAction, ParkedPlace};

on_both! {
    a_payload_is_stored_once_however_many_deliveries_have_it,
    payloads_beyond_the_bounds_are_not_kept_and_the_organisation_that_they_name_is_looked_at,
}

fn parked(guid: &str, body: &'static [u8], named: Option<OrgId>) -> Accepting {
    Accepting {
        outcome: Outcome::Parked,
        targets: vec![],
        org: None,
        team: None,
        named,
        body: Bytes::from_static(body),
        unfit: Some((ParkedPlace::Decode, "it is no JSON".into())),
        ..entry(guid, 7)
    }
}

async fn a_payload_is_stored_once_however_many_deliveries_have_it(opened: Opened) {
    let ledger = &opened.ledger;
    let guids: Vec<String> = (0..100).map(|number| format!("g{number}")).collect();
    let entries: Vec<Accepting> = guids.iter().map(|guid| parked(guid, b"{broken", None)).collect();
    ledger.accept(&entries, PACE, at(1)).await.unwrap();
    assert_eq!((rows(ledger, "parked").await, rows(ledger, "payloads").await), (100, 1));
    let all = ledger.parked().await.unwrap();
    assert!(all.iter().all(|one| one.body_bytes == Some(7) && one.error == "it is no JSON"));
    let delivery = ledger.parked_delivery(all[99].id).await.unwrap().unwrap();
    assert_eq!((&*delivery.body, delivery.guid.as_str()), (&b"{broken"[..], all[99].subject.as_str()));
    // It goes with the last of them.
    for (index, one) in all.iter().enumerate() {
        assert_eq!(rows(ledger, "payloads").await, 1, "{index}");
        assert!(ledger.unpark(one.id, 1, AuditAction::Discard, "why", at(2)).await.unwrap());
    }
    assert_eq!(rows(ledger, "payloads").await, 0);
}

async fn payloads_beyond_the_bounds_are_not_kept_and_the_organisation_that_they_name_is_looked_at(
    opened: Opened,
) {
    static LARGE: [u8; 30 << 20] = [b'x'; 30 << 20];
    let ledger = &opened.ledger;
    let day = 86_400;
    // Two of 30 MiB fit into a day's 64 MiB, and eight into 256 MiB.
    let mut kept = 0;
    for number in 0..14_usize {
        let (guid, now) = (format!("g{number}"), at(day * (number as i64 / 3) * 2 + number as i64));
        ledger.accept(&[parked(&guid, &LARGE[number..], Some(ORG))], PACE, now).await.unwrap();
        let one = ledger.parked().await.unwrap().remove(number);
        let fits = number % 3 < 2 && kept < 8;
        kept += usize::from(fits);
        assert_eq!(one.body_bytes.is_some(), fits, "{number}: {}", one.error);
        assert_eq!(one.error.contains("its payload of"), !fits, "{}", one.error);
        let due = ledger.due_whole(LANE, now + Duration::from_secs(60)).await.unwrap();
        assert_eq!(due.is_some(), number >= 2, "{number}");
    }
    assert_eq!(kept, 8);
    // A small one still fits, and one that names nobody of ours marks nobody.
    ledger.accept(&[parked("small", b"{", Some(OrgId(404)))], PACE, at(1_000_000)).await.unwrap();
    assert!(ledger.due_whole(Lane::Org(OrgId(404)), at(2_000_000)).await.unwrap().is_none());
    assert_eq!(ledger.parked().await.unwrap().pop().unwrap().body_bytes, Some(1));
}
