//! Whether a read of a document is believed. Datadog may answer what is not so: an old copy, an empty list, an error that
//! looks like an absence. A PUT replaces the whole document, so that what such a read lacks would be lost for good.

use std::{collections::BTreeSet, time::Duration};

use sha2::{Digest as _, Sha256};

use crate::model::{Contents, EntryKey, Suspicion, Time};

/// What a read of a document is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// It lacks nothing that was there.
    Believed,
    /// It lacks something for the first time, or not long enough: nothing is decided until a later read lacks the same.
    Suspect(Suspicion),
    /// Two reads a grace apart lack the same.
    Confirmed {
        /// What they lack.
        suspicion: Suspicion,
        /// They lack so much that a person decides about the next PUT: all entries of ours, or more than half of all.
        much: bool,
    },
}

/// So long much must be lacking before it counts as gone although nobody was asked, because nothing is to be written.
const GONE_AFTER: Duration = Duration::from_secs(86_400);

impl Read {
    /// What stays suspected after a look that wrote nothing. `waits` says that something waits for a person, who decides.
    pub fn still_suspected(self, waits: bool, now: Time) -> Option<Suspicion> {
        match self {
            Self::Confirmed { suspicion, much: true } if waits || suspicion.since + GONE_AFTER > now => {
                Some(suspicion)
            }
            Self::Believed | Self::Suspect(_) | Self::Confirmed { .. } => None,
        }
    }
}

/// Judges a read that shows these contents. `accepted` is what the document had when it was last accepted, without what a PUT
/// of ours removed since; `ours` are the entries that we added.
pub fn judge_read(
    shown: &Contents,
    accepted: &Contents,
    ours: &BTreeSet<EntryKey>,
    suspicion: Option<&Suspicion>,
    grace: Duration,
    now: Time,
) -> Read {
    let entries: Vec<&EntryKey> = accepted.entries.difference(&shown.entries).collect();
    let fields: Vec<&String> = accepted.fields.difference(&shown.fields).collect();
    if entries.is_empty() && fields.is_empty() {
        return Read::Believed;
    }
    let lacks = hash(entries.iter().map(|key| &key.0), &fields);
    // One that began ahead of the clock, which was set back since, begins again.
    let known = suspicion.filter(|known| known.lacks == lacks && known.since <= now);
    let Some(known) = known else { return Read::Suspect(Suspicion { since: now, lacks }) };
    if known.since + grace > now {
        return Read::Suspect(known.clone());
    }
    let mut ours = ours.intersection(&accepted.entries).peekable();
    let none_of_ours = ours.peek().is_some() && ours.all(|key| !shown.entries.contains(key));
    let most = entries.len() * 2 > accepted.entries.len();
    Read::Confirmed { suspicion: known.clone(), much: none_of_ours || most }
}

fn hash<'a>(entries: impl Iterator<Item = &'a String>, fields: &[&String]) -> String {
    let mut hash = Sha256::new();
    let entries = entries.map(|entry| ("entry", entry));
    for (what, name) in entries.chain(fields.iter().map(|field| ("field", *field))) {
        hash.update(what);
        hash.update(name.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn keys(names: &str) -> BTreeSet<EntryKey> {
        names.split_whitespace().map(|name| EntryKey(name.into())).collect()
    }

    /// A word with a colon is a field.
    fn contents(names: &str) -> Contents {
        let (fields, entries): (Vec<_>, Vec<_>) =
            names.split_whitespace().partition(|name| name.ends_with(':'));
        Contents {
            entries: keys(&entries.join(" ")),
            fields: fields.into_iter().map(str::to_owned).collect(),
        }
    }

    fn at(seconds: i64) -> Time {
        Time(seconds * 1_000_000)
    }

    /// Judges reads one after the other, each with its second; what is suspected is remembered.
    fn judged(accepted: &str, ours: &str, reads: &[(i64, &str)]) -> Vec<&'static str> {
        let mut suspicion = None;
        let judge = |&(second, names): &(i64, &str)| {
            let (read, accepted, ours) = (contents(names), contents(accepted), keys(ours));
            let judged = judge_read(&read, &accepted, &ours, suspicion.as_ref(), GRACE, at(second));
            let (told, next) = match judged {
                Read::Believed => ("believed", None),
                Read::Suspect(suspicion) => ("suspect", Some(suspicion)),
                Read::Confirmed { suspicion, much: false } => ("confirmed", Some(suspicion)),
                Read::Confirmed { suspicion, much: true } => ("confirmed, much", Some(suspicion)),
            };
            suspicion = next;
            told
        };
        reads.iter().map(judge).collect()
    }

    #[test]
    fn a_read_that_shows_all_that_was_there_is_believed_and_one_that_lacks_anything_only_when_a_later_one_does()
     {
        assert_eq!(judged("a b", "", &[(0, "a b c")]), ["believed"]);
        assert_eq!(judged("", "", &[(0, "")]), ["believed"], "nothing was accepted yet");
        assert_eq!(
            judged("a note:", "", &[(0, "a"), (60, "a")]),
            ["suspect", "confirmed"],
            "a field of others"
        );
        let reads = [(0, "a b"), (59, "a b"), (60, "a b"), (61, "a b c")];
        assert_eq!(judged("a b c", "", &reads), ["suspect", "suspect", "confirmed", "believed"]);
    }

    #[test]
    fn what_two_reads_lack_must_be_the_same() {
        let reads = [(0, "a b"), (60, "a c"), (119, "a c"), (120, "a c")];
        assert_eq!(judged("a b c", "", &reads), ["suspect", "suspect", "suspect", "confirmed"]);
        let back = [(0, "a b"), (60, "a b c"), (120, "a b")];
        assert_eq!(judged("a b c", "", &back), ["suspect", "believed", "suspect"]);
    }

    #[test]
    fn a_person_decides_where_two_reads_lack_all_of_ours_or_more_than_half() {
        let twice = |names| judged("a b c d", "d", &[(0, names), (60, names)])[1];
        assert_eq!(twice("b c d"), "confirmed");
        assert_eq!(twice("c d"), "confirmed", "half");
        assert_eq!(twice("d"), "confirmed, much");
        assert_eq!(twice("a b c"), "confirmed, much", "all of ours");
        assert_eq!(twice(""), "confirmed, much");
        let another = judged("a b", "z", &[(0, "a"), (60, "a")])[1];
        assert_eq!(another, "confirmed", "one of ours that no read has shown yet is not lacked");
    }

    #[test]
    fn much_that_is_lacking_counts_as_gone_after_a_day_unless_a_person_was_asked() {
        let much =
            || Read::Confirmed { suspicion: Suspicion { since: at(0), lacks: String::new() }, much: true };
        assert!(much().still_suspected(false, at(86_399)).is_some());
        assert!(much().still_suspected(false, at(86_400)).is_none());
        assert!(much().still_suspected(true, at(86_400)).is_some());
        assert!(Read::Believed.still_suspected(true, at(0)).is_none());
    }

    #[test]
    fn a_suspicion_ahead_of_a_clock_that_was_set_back_begins_again() {
        assert_eq!(
            judged("a b", "", &[(1_000, "a"), (10, "a"), (69, "a"), (70, "a")]),
            ["suspect", "suspect", "suspect", "confirmed"]
        );
    }
}
