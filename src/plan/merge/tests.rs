//! Examples, and histories of three writers of one document.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn repository(name: &str) -> Entry {
    let text = str::to_owned;
    Entry::Repository { hostname: text("github.com"), github_org_name: text("acme"), repo_name: text(name) }
}

fn key(name: &str) -> EntryKey {
    repository(name).key()
}

fn keys(names: &[&str]) -> BTreeSet<EntryKey> {
    names.iter().map(|name| key(name)).collect()
}

fn fields(name: &str) -> Value {
    Value::Object(repository(name).fields())
}

fn document(names: &[&str]) -> Map<String, Value> {
    let list: Vec<_> = names.iter().map(|name| fields(name)).collect();
    Map::from_iter([("enabled_repos".to_owned(), list.into())])
}

fn values(config: Configuration) -> Map<String, Value> {
    config.into_iter().map(|(name, field)| (name, field.value().unwrap())).collect()
}

fn merge(
    integration: Integration,
    remote: Option<&Map<String, Value>>,
    ours: &BTreeSet<EntryKey>,
    wanted: &[Entry],
    mode: DocumentMode,
    spared: impl Fn(&EntryKey) -> bool,
) -> Result<Merged, String> {
    let text = |(name, field): (&String, &Value)| (name.clone(), JsonText::from(field));
    let remote: Option<Configuration> = remote.map(|fields| fields.iter().map(text).collect());
    super::merge(integration, remote.as_ref(), ours, wanted, mode, spared)
}

fn merged(remote: &Map<String, Value>, ours: &[&str], wanted: &[&str], mode: DocumentMode) -> Merged {
    let wanted: Vec<_> = wanted.iter().map(|name| repository(name)).collect();
    merge(Integration::Github, Some(remote), &keys(ours), &wanted, mode, |_| false).unwrap()
}

use DocumentMode::{Additive, Exclusive};

#[test]
fn a_document_that_is_as_wanted_is_left_alone() {
    let remote = document(&["b", "a"]);
    for mode in [Additive, Exclusive] {
        let merged = merged(&remote, &["a"], &["a", "b"], mode);
        assert!(!merged.changed());
        assert_eq!(values(merged.document()), remote);
        assert_eq!(merged.ours(), keys(&["a"]), "what others added does not become ours");
    }
}

#[test]
fn the_first_document_has_what_is_wanted_and_nothing_wanted_makes_none() {
    let first = |wanted: &[Entry]| {
        merge(Integration::Github, None, &BTreeSet::new(), wanted, Additive, |_| false).unwrap()
    };
    let merged = first(&[repository("b"), repository("a")]);
    assert_eq!((values(merged.document()), merged.ours()), (document(&["a", "b"]), keys(&["a", "b"])));
    assert!(!first(&[]).changed());
}

#[test]
fn what_others_wrote_stays_in_its_place_and_new_entries_follow_sorted() {
    let mut remote = document(&["z", "ours", "c"]);
    remote["enabled_repos"][0]["since"] = json!(1.5);
    remote["enabled_repos"].as_array_mut().unwrap().push(json!("not understood"));
    remote.insert("added later".into(), json!({"by": ["Datadog"]}));
    let merged = merged(&remote, &["ours"], &["m", "Z", "d"], Additive);
    assert_eq!(
        Value::Object(values(merged.document())),
        json!({
            "added later": {"by": ["Datadog"]},
            "enabled_repos": [
                {"hostname": "github.com", "github_org_name": "acme", "repo_name": "z", "since": 1.5},
                fields("c"), "not understood", fields("d"), fields("m"),
            ],
        })
    );
    assert_eq!(merged.ours(), keys(&["d", "m"]));
}

#[test]
fn exclusive_leaves_exactly_what_is_wanted() {
    let mut remote = document(&["theirs", "b", "B"]);
    remote["enabled_repos"].as_array_mut().unwrap().push(json!(7));
    let merged = merged(&remote, &[], &["a", "b"], Exclusive);
    assert_eq!(values(merged.document()), document(&["b", "a"]));
}

#[test]
fn a_second_entry_of_the_same_name_is_anothers() {
    let merged = merged(&document(&["a", "A", "b"]), &["a"], &[], Additive);
    assert_eq!(values(merged.document()), document(&["A", "b"]));
}

#[test]
fn of_two_entries_with_one_name_exclusive_keeps_the_first_and_it_stays_ours() {
    let merged = merged(&document(&["a", "A"]), &["a"], &["a"], Exclusive);
    assert_eq!((values(merged.document()), merged.ours()), (document(&["a"]), keys(&["a"])));
}

#[test]
fn an_entry_that_is_not_understood_is_never_taken_for_a_wanted_one() {
    let odd = json!({"accounts": [7, null, "acme"]});
    let wanted =
        ["7", "null", "acme"].map(|name| Entry::Account { enabled: true, subdomain: Some(name.into()) });
    let merged =
        merge(Integration::Pagerduty, odd.as_object(), &BTreeSet::new(), &wanted, Additive, |_| false)
            .unwrap();
    assert_eq!(values(merged.document())["accounts"].as_array().unwrap().len(), 6);
}

#[test]
fn of_two_entries_with_one_name_the_one_with_fields_of_its_own_is_anothers() {
    let mut remote = document(&["A", "a"]);
    remote["enabled_repos"][0]["since"] = json!(1);
    let merged = merged(&remote, &["a"], &[], Additive);
    assert_eq!(values(merged.document())["enabled_repos"], json!([remote["enabled_repos"][0]]));
    assert_eq!(merged.ours(), keys(&[]));
}

#[test]
fn what_is_spared_stays_ours_though_it_is_not_wanted() {
    let remote = document(&["a", "b"]);
    let merged =
        merge(Integration::Github, Some(&remote), &keys(&["a", "b"]), &[], Additive, |it| *it == key("a"));
    let merged = merged.unwrap();
    assert_eq!((values(merged.document()), merged.ours()), (document(&["a"]), keys(&["a"])));
}

#[test]
fn an_account_is_corrected_without_losing_what_else_it_says() {
    let remote =
        json!({"accounts": [{"subdomain": "Acme", "enabled": true, "note": "n"}, {"enabled": false}]});
    let remote = remote.as_object().unwrap();
    let wanted = [Entry::Account { enabled: false, subdomain: Some("acme".into()) }];
    let merged =
        merge(Integration::Pagerduty, Some(remote), &BTreeSet::new(), &wanted, Additive, |_| false).unwrap();
    assert!(merged.changed());
    assert_eq!(
        Value::Object(values(merged.document())),
        json!({"accounts": [{"subdomain": "Acme", "enabled": false, "note": "n"}, {"enabled": false}]})
    );
    assert_eq!(merged.ours(), BTreeSet::new());
}

#[test]
fn a_document_whose_list_is_none_is_not_touched() {
    let odd = json!({"enabled_repos": {"all": true}});
    let refused =
        merge(Integration::Github, odd.as_object(), &BTreeSet::new(), &[], Exclusive, |_| false).unwrap_err();
    assert!(refused.contains(r#"holds {"all":true} as `enabled_repos`"#), "{refused}");
}

const LIMITS: Limits = Limits { max_share: 0.5, above: 2, max_removals: 3 };

fn guarded(merged: Merged, held: &[&str], approved: &[&str]) -> Merged {
    let held = held.iter().map(|name| (key(name), HoldReason::new(HoldRule::MaxShare, "before"))).collect();
    merged.guard(&LIMITS, 0, &held, &keys(approved))
}

#[test]
fn removals_above_the_limits_wait_together_and_the_rest_goes_ahead() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let few = guarded(merged(&document(&names), &names, &names[3..], Additive), &[], &[]);
    assert_eq!((few.removed.len(), few.held.len()), (3, 0));
    let many =
        guarded(merged(&document(&names), &names, &["e", "f", "g", "h", "i", "new"], Additive), &[], &[]);
    assert_eq!((many.removed.len(), many.held.len(), many.added.len()), (0, 4, 1));
    assert_eq!(many.held[&key("a")].text, "4 removals exceed `guard.max_removals` (3)");
    assert_eq!(many.ours(), keys(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "new"]));
    let share = guarded(merged(&document(&names), &["a", "b", "c"], &["c"], Additive), &[], &[]);
    assert_eq!(share.held[&key("a")].text, "2 removals of 3 entries exceed `guard.max_share` (0.5)");
    let theirs_too = guarded(merged(&document(&names), &["a"], &names[2..], Exclusive), &[], &[]);
    assert_eq!(theirs_too.removed.len(), 2, "in exclusive, the share is that of all entries");
}

#[test]
fn what_is_held_as_a_whole_goes_as_far_as_it_is_approved() {
    let reason = HoldReason::new(HoldRule::SuspectRead, "two reads lack it");
    let plan = || merged(&document(&["a", "b"]), &["a", "b"], &["c", "d"], Additive);
    let held = plan().hold_all(&reason, &keys(&[]), &keys(&[]));
    assert!(!held.changed());
    assert_eq!((held.held.len(), held.held_additions.len()), (2, 2));
    assert_eq!(values(held.document_once_approved()), document(&["a", "b", "c", "d"]));
    let approved = plan().hold_all(&reason, &keys(&["a"]), &keys(&["c"]));
    assert_eq!(values(approved.document()), document(&["b", "c"]));
}

#[test]
fn an_empty_list_waits_for_a_person() {
    let held = guarded(merged(&document(&["a"]), &["a"], &[], Additive), &[], &[]);
    assert!(!held.changed());
    assert_eq!(held.held[&key("a")].text, "it would leave the list empty, which may mean all");
    let approved = guarded(merged(&document(&["a"]), &["a"], &[], Additive), &["a"], &["a"]);
    assert_eq!(values(approved.document()), document(&[]));
    let replaced = guarded(merged(&document(&["a"]), &["a"], &["b"], Additive), &[], &[]);
    assert_eq!(values(replaced.document()), document(&["b"]));
}

#[test]
fn removals_done_within_the_window_count_in_both_figures() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let remove_two = |done| {
        let merged = merged(&document(&names), &names, &names[2..], Additive);
        merged.guard(&LIMITS, done, &BTreeMap::new(), &BTreeSet::new())
    };
    assert_eq!([0, 1, 2].map(|done| remove_two(done).held.len()), [0, 0, 2]);
    let share = |done| {
        let merged = merged(&document(&names), &["a", "b"], &["b"], Additive);
        merged.guard(&LIMITS, done, &BTreeMap::new(), &BTreeSet::new()).held.len()
    };
    assert_eq!([0, 1, 2].map(share), [0, 1, 1], "two of ours, and one that went: 2 of 3 are more than half");
}

#[test]
fn what_is_held_stays_held_until_it_is_approved_or_wanted_again() {
    let remote = document(&["a", "b", "c"]);
    let look = |wanted: &[&str], approved: &[&str]| {
        guarded(merged(&remote, &["a", "b"], wanted, Additive), &["a"], approved)
    };
    assert_eq!(look(&["b"], &[]).held[&key("a")].text, "before");
    assert_eq!(values(look(&["b"], &["a"]).document()), document(&["b", "c"]));
    assert!(look(&["a", "b"], &[]).held.is_empty());
}

/// What happens in a history.
#[derive(Clone, Debug)]
enum Step {
    /// A person, or another tool, puts a name into the list, or takes it out; `loud` writes it in capitals.
    Puts {
        name: usize,
        loud: bool,
        tool: bool,
    },
    Takes {
        name: usize,
        loud: bool,
    },
    /// GitHub changes: these are wanted now.
    Wants(BTreeSet<usize>),
    /// teamlink looks.
    Looks,
}

const NAMES: [&str; 6] = ["ant", "bee", "cat", "dog", "elk", "fox"];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        3 => (name.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(name, loud, tool)| Step::Puts { name, loud, tool }),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, loud)| Step::Takes { name, loud }),
        2 => proptest::collection::btree_set(name, 0..NAMES.len()).prop_map(Step::Wants),
        3 => Just(Step::Looks),
    ]
}

/// An entry as a person writes it, or as another tool does, with a field of its own.
fn written(name: usize, loud: bool, tool: bool) -> Value {
    let name = if loud { NAMES[name].to_uppercase() } else { NAMES[name].to_owned() };
    let mut entry = fields(&name);
    if tool {
        entry["tool"] = json!("terraform");
    }
    entry
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_seen_is_lost_unless_we_added_it_and_what_is_wanted_is_there(
        steps in proptest::collection::vec(step(), 1..40), exclusive: bool,
    ) {
        let mode = if exclusive { Exclusive } else { Additive };
        let mut list: Vec<Value> = Vec::new();
        let mut wanted: Vec<Entry> = Vec::new();
        let mut ours = BTreeSet::new();
        // The oracle's own book: what our PUTs added, less what a later look did not find.
        let mut added_by_us: BTreeSet<String> = BTreeSet::new();
        let name = |entry: &Value| entry["repo_name"].as_str().unwrap().to_lowercase();
        for step in steps.into_iter().chain([Step::Looks]) {
            match step {
                Step::Puts { name, loud, tool } => {
                    let entry = written(name, loud, tool);
                    if !list.contains(&entry) {
                        list.insert(list.len() / 2, entry);
                    }
                }
                Step::Takes { name, loud } => {
                    let names = written(name, loud, false)["repo_name"].clone();
                    list.retain(|entry| entry["repo_name"] != names);
                }
                Step::Wants(names) => wanted = names.into_iter().map(|name| repository(NAMES[name])).collect(),
                Step::Looks => {
                    let seen = Map::from_iter([
                        ("enabled_repos".to_owned(), Value::from(list.clone())),
                        ("other".to_owned(), json!({"deep": [null, 1.5]})),
                    ]);
                    added_by_us.retain(|added| list.iter().any(|entry| name(entry) == *added));
                    let look = merge(Integration::Github, Some(&seen), &ours, &wanted, mode, |_| false).unwrap();
                    let put = values(look.document());
                    prop_assert_eq!(&put["other"], &seen["other"]);
                    let after = put["enabled_repos"].as_array().unwrap().clone();
                    prop_assert_eq!(look.changed(), after != list);
                    for entry in wanted.iter().map(Entry::key) {
                        let there = |found: &Value| EntryKey::of(Integration::Github, found) == entry;
                        prop_assert!(after.iter().any(there), "{} is wanted", entry);
                    }
                    if exclusive {
                        prop_assert_eq!(after.len(), wanted.len());
                    } else {
                        let mut left = after.clone();
                        for entry in &list {
                            // Of entries with one name, one at most is ours.
                            match left.iter().position(|found| found == entry) {
                                Some(place) => drop(left.remove(place)),
                                None => {
                                    prop_assert!(added_by_us.remove(&name(entry)), "{} is lost", entry);
                                    let plain = |it: &&Value| name(it) == name(entry) && it.get("tool").is_none();
                                    let anothers = entry.get("tool").is_some() && list.iter().any(|it| plain(&it));
                                    prop_assert!(!anothers, "{} went in place of ours", entry);
                                }
                            }
                        }
                    }
                    added_by_us.extend(look.added.values().map(|entry| name(&Value::Object(entry.fields()))));
                    ours = look.ours();
                    let again = merge(Integration::Github, Some(&put), &ours, &wanted, mode, |_| false).unwrap();
                    prop_assert!(!again.changed(), "a second look writes again");
                    list = after;
                }
            }
        }
    }
}
