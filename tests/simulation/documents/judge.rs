//! What must hold of a document that several write.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Map, Value};
use teamlink::model::EntryKey;

use super::{
    wire::{INTEGRATION, Put, Writer, fields, keys},
    world::{Documents, GRACE, keys_of},
};

/// PUTs of one teamlink in the last two hours, when nobody else writes, at most.
const MOST_PUTS: usize = 10;

/// What should not have happened.
pub struct Failure {
    pub cause: &'static str,
    pub what: String,
}

/// Judges a life that is over.
pub async fn judge(world: &Documents) -> Vec<Failure> {
    let mut failures = Vec::new();
    let log = world.wire.log();
    for put in &log {
        if let Writer::Teamlink(which) = put.by {
            writes(world, &log, put, which, &mut failures);
        }
    }
    ends(world, &log, &mut failures).await;
    failures
}

/// Everything of a document but its list.
fn rest(config: Option<&Map<String, Value>>) -> Map<String, Value> {
    let mut rest = config.cloned().unwrap_or_default();
    rest.remove(INTEGRATION.list());
    rest
}

/// Whether its writer could not know of an entry when it sent a PUT: no read has ever shown it, or two reads a grace apart
/// lacked it.
fn cannot_know(put: &Put, key: &EntryKey) -> bool {
    !put.known.contains(key) || put.lacked.get(key).is_some_and(|since| *since + GRACE <= put.at)
}

fn writes(world: &Documents, log: &[Put], put: &Put, which: usize, failures: &mut Vec<Failure>) {
    let mut fail = |cause, what: String| {
        failures.push(Failure { cause, what: format!("{what} (PUT of {:?} at {})", put.by, put.at) });
    };
    let (had, has) = (keys(put.before.as_ref()), keys(put.sent.as_ref()));
    let of_others = |key: &&EntryKey| put.authors.get(*key) != Some(&put.by) && !put.added.contains(*key);
    // What somebody added since the last read cannot be known.
    let seen = |key: &&EntryKey| put.seen.contains(*key);
    let lost = had.difference(&has).filter(of_others).filter(seen).filter(|key| !cannot_know(put, key));
    let lost: BTreeSet<&EntryKey> = lost.collect();
    if !world.is_exclusive(which) && !lost.is_empty() {
        fail("entries of others are lost", format!("{lost:?}"));
    }
    if rest(put.before.as_ref()) != rest(put.sent.as_ref()) && !cannot_know(put, &fields()) {
        fail("a field of others is lost", format!("{:?}", rest(put.before.as_ref())));
    }
    if world.is_exclusive(which) && world.approvals.is_empty() {
        let window =
            |it: &&Put| it.by == put.by && it.at + Duration::from_secs(3600) > put.at && it.at <= put.at;
        let removed = |it: &Put| -> Vec<EntryKey> {
            let (had, has) = (keys(it.before.as_ref()), keys(it.sent.as_ref()));
            had.difference(&has).filter(|key| !cannot_know(it, key)).cloned().collect()
        };
        let puts: Vec<&Put> = log.iter().filter(window).collect();
        let count = |(place, put): (usize, &&Put)| {
            // A teamlink cannot know whether Datadog carried out a PUT that it did not answer. Sent again, it is one removal.
            let repeated = |key: &EntryKey| {
                put.unanswered && puts[place + 1..].iter().any(|later| removed(later).contains(key))
            };
            removed(put).iter().filter(|key| !repeated(key)).count()
        };
        let removed: usize = puts.iter().enumerate().map(count).sum();
        let most = world.setups[which].max_per_window;
        if removed > most {
            fail("more removals within a window than allowed", format!("{removed} of {most}"));
        }
    }
    if had.is_empty() && put.told.is_empty() && world.approvals.is_empty() {
        fail("the first entries narrow everything", format!("{has:?}"));
    }
}

async fn ends(world: &Documents, log: &[Put], failures: &mut Vec<Failure>) {
    let there = world.there().await;
    let authors = world.wire.authors();
    for which in world.writers() {
        let mut fail = |cause, what: String| failures.push(Failure { cause, what });
        let (told, wanted) = (world.told(which).await, keys_of(&world.setups[which].wanted));
        let reports =
            |key: &EntryKey| told.held.contains(key) || told.parked.iter().any(|it| it.contains(&key.0));
        // Another teamlink may be exclusive.
        let alone = !world.writers().any(|it| it != which && world.is_exclusive(it));
        for key in wanted.difference(&there) {
            if alone && !reports(key) {
                fail("a wanted entry is missing", format!("{key} of teamlink {which}"));
            }
        }
        let unlearned = world.wire.unlearned(Writer::Teamlink(which));
        for key in there.difference(&wanted) {
            let ours = authors.get(key) == Some(&Writer::Teamlink(which)) && !unlearned.contains(key);
            if ours && !world.removes_nothing(which) && !reports(key) {
                fail("an entry of ours stays unreported", format!("{key} of teamlink {which}"));
            }
        }
        for key in &told.ours {
            // While a person has not decided, the document is what it was.
            if alone && !there.contains(key) && told.held.is_empty() && !told.suspects {
                fail("what is not there counts as ours", format!("{key} of teamlink {which}"));
            }
        }
        let by_it = |it: &&Put| it.by == Writer::Teamlink(which) && it.at >= world.quiet_since;
        let puts = log.iter().filter(by_it).count();
        if puts > MOST_PUTS {
            fail("PUTs without end", format!("{puts} of teamlink {which}"));
        }
    }
}
