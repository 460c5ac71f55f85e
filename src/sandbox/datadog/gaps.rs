//! What writers of the same document do to each other. A PUT replaces the whole document and has no precondition, so
//! whatever others changed between a client's GET and its PUT is overwritten unseen: how often, and how long that gap
//! was, is counted here, under the world's lock, so that no request slips between.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// What one client last saw of one document, and what others did to it since.
#[derive(Default)]
struct Look {
    at: u64,
    /// Entries of others that were there.
    theirs: BTreeSet<String>,
    /// Entries that others added since, and that they removed.
    added: BTreeSet<String>,
    removed: BTreeSet<String>,
}

/// What one client did to one document.
#[derive(Default)]
struct Tally {
    /// Microseconds from each GET to the PUT that followed it.
    gaps: Vec<u64>,
    /// Entries of others that were added or removed within a gap, and undone by the PUT at its end.
    overwritten: u64,
    /// Entries of others that it had seen, and removed.
    removed_of_others: u64,
}

/// By integration and client.
type Key = (String, String);

#[derive(Default)]
pub(crate) struct Gaps {
    looks: BTreeMap<Key, Look>,
    tallies: BTreeMap<Key, Tally>,
    /// Who put each entry there, by integration.
    authors: BTreeMap<String, BTreeMap<String, String>>,
    /// What each client ever put there: who puts it back from an old copy does not make it theirs.
    ever: BTreeMap<Key, BTreeSet<String>>,
}

/// The entries of all lists of a document, as text.
fn entries(config: Option<&Value>) -> BTreeSet<String> {
    let lists = config.and_then(Value::as_object).into_iter().flatten();
    lists
        .filter_map(|(name, list)| Some((name, list.as_array()?)))
        .flat_map(|(name, list)| list.iter().map(move |entry| format!("{name} {entry}")))
        .collect()
}

impl Gaps {
    /// A client read a document.
    pub(crate) fn looked(&mut self, client: &str, integration: &str, now: u64) {
        let authors = self.authors.get(integration).into_iter().flatten();
        let theirs =
            authors.filter(|(_, author)| *author != client).map(|(entry, _)| entry.clone()).collect();
        let key = (integration.to_owned(), client.to_owned());
        self.looks.insert(key, Look { at: now, theirs, ..Look::default() });
    }

    /// A client replaced a document, or deleted it.
    pub(crate) fn replaced(
        &mut self,
        client: &str,
        integration: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        now: u64,
    ) {
        let (before, after) = (entries(before), entries(after));
        let key = (integration.to_owned(), client.to_owned());
        let tally = self.tallies.entry(key.clone()).or_default();
        if let Some(look) = self.looks.remove(&key) {
            tally.gaps.push(now.saturating_sub(look.at));
            tally.overwritten += look.added.difference(&after).count() as u64;
            tally.overwritten += look.removed.intersection(&after).count() as u64;
            let own = self.ever.get(&key);
            let kept = |entry: &&String| {
                let was_own = own.is_some_and(|own| own.contains(*entry));
                was_own || after.contains(*entry) || look.removed.contains(*entry)
            };
            tally.removed_of_others += look.theirs.iter().filter(|entry| !kept(entry)).count() as u64;
        }
        let authors = self.authors.entry(integration.to_owned()).or_default();
        authors.retain(|entry, _| after.contains(entry));
        self.ever.entry(key).or_default().extend(after.difference(&before).cloned());
        for entry in &after {
            authors.entry(entry.clone()).or_insert_with(|| client.to_owned());
        }
        for ((of, _), look) in &mut self.looks {
            if of != integration {
                continue;
            }
            for entry in after.difference(&before) {
                if !look.removed.remove(entry) {
                    look.added.insert(entry.clone());
                }
            }
            for entry in before.difference(&after) {
                if !look.added.remove(entry) {
                    look.removed.insert(entry.clone());
                }
            }
        }
    }

    /// By integration, then by client.
    pub(crate) fn stats(&self) -> Value {
        let mut stats = json!({});
        for ((integration, client), tally) in &self.tallies {
            let mut gaps = tally.gaps.clone();
            gaps.sort_unstable();
            stats[integration][client] = json!({
                "puts_after_get": gaps.len(),
                "gap_us": {"median": gaps.get(gaps.len() / 2), "max": gaps.last()},
                "overwritten": tally.overwritten,
                "removed_of_others": tally.removed_of_others,
            });
        }
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repos(names: &[&str]) -> Value {
        json!({"enabled_repos": names})
    }

    #[test]
    fn what_others_changed_within_the_gap_and_was_undone_is_counted() {
        let mut gaps = Gaps::default();
        let versions = [repos(&["a", "b"]), repos(&["b", "c"]), repos(&["a", "b", "d"])];
        gaps.looked("we", "github", 10);
        gaps.replaced("person", "github", Some(&versions[0]), Some(&versions[1]), 15);
        gaps.replaced("we", "github", Some(&versions[1]), Some(&versions[2]), 30);
        // Their `a` is back and their `c` is gone; our own `d` is nobody's loss.
        let ours = json!({
            "puts_after_get": 1, "gap_us": {"median": 20, "max": 20}, "overwritten": 2, "removed_of_others": 0,
        });
        assert_eq!(gaps.stats()["github"]["we"], ours);
        assert_eq!(gaps.stats()["github"]["person"]["puts_after_get"], 0);
    }

    #[test]
    fn what_others_wrote_is_seen_and_removed_and_what_one_wrote_oneself_is_ones_own() {
        let mut gaps = Gaps::default();
        let before = repos(&["theirs", "too"]);
        gaps.replaced("person", "github", None, Some(&before), 5);
        gaps.looked("we", "github", 10);
        let ours = repos(&["theirs", "ours"]);
        gaps.replaced("we", "github", Some(&before), Some(&ours), 12);
        gaps.looked("we", "github", 15);
        gaps.replaced("we", "github", Some(&ours), Some(&repos(&["theirs"])), 17);
        assert_eq!(gaps.stats()["github"]["we"]["removed_of_others"], 1);
    }

    #[test]
    fn what_was_changed_before_the_look_or_elsewhere_or_kept_is_not() {
        let mut gaps = Gaps::default();
        let (one, two) = (repos(&["a"]), repos(&["a", "b"]));
        gaps.replaced("person", "github", None, Some(&one), 5);
        gaps.looked("we", "github", 10);
        gaps.replaced("person", "jira", None, Some(&two), 12);
        gaps.replaced("person", "github", Some(&one), Some(&two), 13);
        gaps.replaced("we", "github", Some(&two), Some(&repos(&["b", "a", "c"])), 17);
        assert_eq!(gaps.stats()["github"]["we"]["overwritten"], 0);
        // A change that the person took back is none.
        gaps.looked("we", "github", 20);
        gaps.replaced("person", "github", Some(&one), Some(&two), 21);
        gaps.replaced("person", "github", Some(&two), Some(&one), 22);
        gaps.replaced("we", "github", Some(&one), None, 24);
        assert_eq!(gaps.stats()["github"]["we"]["overwritten"], 0);
        assert_eq!(gaps.stats()["github"]["we"]["gap_us"], json!({"median": 7, "max": 7}));
    }
}
