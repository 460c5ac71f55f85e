//! Whether a step ended as it must: compares what Datadog holds, and what both upstreams were asked, with what is
//! expected. Pure; it asks nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use crate::ledger::Progress;

/// The document's path.
pub(super) const CATALOG: &str = "/api/v2/idp/entity_integrations/github";

/// Our mark on connections.
pub(super) const US: &str = "teamlink";

/// A team connection as a person reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    /// The Datadog team's handle.
    pub(super) handle: String,
    /// `@org/slug`
    pub(super) github: String,
    /// Who manages it.
    pub(super) by: String,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { handle, github, by } = self;
        write!(f, "{handle} = {github}")?;
        if by == US { Ok(()) } else { write!(f, " (by {by})") }
    }
}

/// All connections.
pub(super) type Links = BTreeSet<Link>;

/// A repository in the document from which Datadog fills its software catalog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    /// `org/repository`
    pub(super) repository: String,
    /// Its entry says that a person added it.
    pub(super) by_hand: bool,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, by_hand } = self;
        write!(f, "{repository} in the catalog{}", if *by_hand { " (by hand)" } else { "" })
    }
}

/// The whole list of the document.
pub(super) type Catalog = BTreeSet<Listed>;

/// A request as the sandbox noted it; numbered in the order in which it was carried out.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    at_us: u64,
    method: String,
    pub(super) path: String,
    pub(super) status: u16,
    /// Under which lease: only teamlink's writes say so.
    fence: Option<String>,
    body: Option<Value>,
}

impl Request {
    /// Whether teamlink replaced the catalog's document with it.
    fn replaced(&self) -> bool {
        let document = self.method == "PUT" && self.path == CATALOG && self.fence.is_some();
        document && (200..300).contains(&self.status)
    }

    /// Whether it changed connections, by this method.
    fn wrote(&self, method: &str) -> bool {
        self.method == method && self.path == "/api/v2/team/connections" && (200..300).contains(&self.status)
    }

    /// What a text within each item of its body says.
    fn items<'a>(&'a self, at: &'a str) -> impl Iterator<Item = &'a str> {
        let data = self.body.as_ref().and_then(|body| body["data"].as_array());
        data.into_iter().flatten().filter_map(move |item| item.pointer(at).and_then(Value::as_str))
    }

    fn removes(&self, connection: &str) -> bool {
        self.wrote("DELETE") && self.items("/id").any(|id| id == connection)
    }

    fn makes(&self, github: &str) -> bool {
        let at = "/relationships/connected_team/data/id";
        self.wrote("POST") && self.items(at).any(|id| id.eq_ignore_ascii_case(github))
    }
}

/// What the order of a step's requests must show, besides where they led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// A connection was removed only after GitHub had answered 404 for the team's id at two moments this far apart.
    TwoLooks {
        /// The team's id.
        team: u64,
        /// The connection's id.
        connection: String,
        /// The least time between.
        apart: Duration,
    },
    /// A connection was removed only when the one in its place stood.
    NewBeforeOld {
        /// `@org/slug` of the new one.
        new: String,
        /// The old one's id.
        old: String,
    },
}

impl Order {
    /// What the requests show, or how they fail to.
    pub(super) fn judge(&self, requests: &[Request]) -> Result<String, String> {
        match self {
            Self::TwoLooks { team, connection, apart } => {
                let removal = requests.iter().find(|request| request.removes(connection));
                let Some(removal) = removal else { return Err("a connection was not removed".to_owned()) };
                let by_id = format!("/team/{team}");
                let looks = requests.iter().filter(|request| {
                    request.at_us < removal.at_us && request.status == 404 && request.path.ends_with(&by_id)
                });
                let times: Vec<u64> = looks.map(|request| request.at_us).collect();
                let (first, last) = (times.first().copied(), times.last().copied());
                let between = Duration::from_micros(last.unwrap_or_default() - first.unwrap_or_default());
                if between < *apart {
                    return Err(format!(
                        "a removal did not wait for two looks {}: {} before it, {} apart",
                        seconds(*apart),
                        times.len(),
                        seconds(between)
                    ));
                }
                Ok(format!(
                    "removed only after two looks, {} apart, had found the team gone",
                    seconds(between)
                ))
            }
            Self::NewBeforeOld { new, old } => {
                let made = requests.iter().position(|request| request.makes(new));
                let removed = requests.iter().position(|request| request.removes(old));
                if made.zip(removed).is_some_and(|(made, removed)| made < removed) {
                    Ok("the new connection stood before the old one went".to_owned())
                } else {
                    Err(format!("a connection went before {new} stood in its place"))
                }
            }
        }
    }
}

/// What is missing and what is too much; `None` when all is as expected.
pub(super) fn difference<T: Ord + fmt::Display>(
    expected: &BTreeSet<T>,
    actual: &BTreeSet<T>,
) -> Option<String> {
    let list = |items: Vec<&T>| {
        let mut names: Vec<String> = items.iter().take(5).map(ToString::to_string).collect();
        if items.len() > names.len() {
            names.push(format!("{} more", items.len() - names.len()));
        }
        names.join(", ")
    };
    let missing: Vec<_> = expected.difference(actual).collect();
    let surplus: Vec<_> = actual.difference(expected).collect();
    let said = [("missing", missing), ("too much", surplus)]
        .map(|(what, items)| (!items.is_empty()).then(|| format!("{what}: {}", list(items))));
    let said: Vec<String> = said.into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// Whether nothing is left to be done: no look is outstanding, no team waits for its second one.
pub(super) fn at_rest(progress: &Progress, webhooks_pending: u64) -> bool {
    webhooks_pending == 0 && progress.unanswered == 0 && progress.suspected == 0 && progress.failing == 0
}

/// How often connections were made and removed, beside how often that was needed. Every one counts, so that one
/// made, removed and made again is told.
pub(super) fn writes(before: &Links, after: &Links, requests: &[Request]) -> Result<String, String> {
    let count = |method: &str| -> usize {
        let items = |request: &Request| request.items("/type").count();
        requests.iter().filter(|request| request.wrote(method)).map(items).sum()
    };
    let (made, removed) = (count("POST"), count("DELETE"));
    let (to_make, to_remove) = (after.difference(before).count(), before.difference(after).count());
    if (made, removed) == (to_make, to_remove) {
        return Ok(match (made, removed) {
            (0, 0) => "none written".to_owned(),
            (made, 0) => format!("{made} made"),
            (0, removed) => format!("{removed} removed"),
            (made, removed) => format!("{made} made, {removed} removed"),
        });
    }
    Err(format!(
        "{made} connections were made and {removed} removed, where {to_make} and {to_remove} would have done"
    ))
}

/// How often the catalog's document was replaced, beside what there was to change in it; `None` when all stayed as
/// it was.
pub(super) fn replacements(
    before: &Catalog,
    after: &Catalog,
    requests: &[Request],
) -> Option<Result<String, String>> {
    let puts = requests.iter().filter(|request| request.replaced()).count();
    let ours = |one: &&Listed| !one.by_hand;
    let added = after.difference(before).filter(ours).count();
    let removed = before.difference(after).filter(ours).count();
    if (puts == 0) != (added + removed == 0) || puts > added + removed {
        return Some(Err(format!(
            "the catalog was replaced {puts} times, where {added} entries were to be added and {removed} removed"
        )));
    }
    let by_hand = match after.iter().filter(|one| one.by_hand).count() {
        0 => String::new(),
        number => format!(", {number} added by hand"),
    };
    let times = if puts == 1 { "one PUT".to_owned() } else { format!("{puts} PUTs") };
    let total = after.len();
    (puts > 0).then(|| {
        Ok(format!(
            "the catalog lists {total} repositories{by_hand}; {added} added, {removed} removed in {times}"
        ))
    })
}

/// One line under a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// As expected.
    pub(super) good: bool,
    /// What was found.
    pub(super) text: String,
}

/// What a step led to.
pub(super) struct Outcome<'a> {
    pub(super) before: &'a Links,
    pub(super) expected: &'a Links,
    /// What Datadog holds.
    pub(super) actual: &'a Links,
    pub(super) catalog_before: &'a Catalog,
    pub(super) catalog_expected: &'a Catalog,
    pub(super) catalog: &'a Catalog,
    pub(super) progress: &'a Progress,
    pub(super) webhooks_pending: u64,
    /// When Datadog was right for good, if it was ever seen otherwise.
    pub(super) right_after: Option<Duration>,
    /// How long was waited in all.
    pub(super) waited: Duration,
    pub(super) requests: &'a [Request],
    pub(super) orders: &'a [Order],
}

/// The verdict on a step: it is good when all findings are.
pub(super) fn verdict(outcome: &Outcome<'_>) -> Vec<Finding> {
    let good = |text: String| Finding { good: true, text };
    let bad = |text: String| Finding { good: false, text };
    let held = outcome.actual.len();
    let wrong = difference(outcome.expected, outcome.actual);
    if let Some(difference) = wrong.or_else(|| difference(outcome.catalog_expected, outcome.catalog)) {
        let waited = seconds(outcome.waited);
        return vec![bad(format!("after {waited} Datadog holds {held} connections; {difference}"))];
    }
    let mut findings = Vec::new();
    match writes(outcome.before, outcome.expected, outcome.requests) {
        Ok(writes) => {
            let when = outcome.right_after.map_or_else(
                || "was right all the time".to_owned(),
                |after| format!("was right after {}", seconds(after)),
            );
            findings.push(good(format!("Datadog {when}: {held} connections, {writes}")));
        }
        Err(error) => findings.push(bad(error)),
    }
    match replacements(outcome.catalog_before, outcome.catalog_expected, outcome.requests) {
        Some(Ok(text)) => findings.push(good(text)),
        Some(Err(error)) => findings.push(bad(error)),
        None => {}
    }
    let mut told = BTreeMap::new();
    for judged in outcome.orders.iter().map(|order| order.judge(outcome.requests)) {
        match judged {
            Ok(text) => *told.entry(text).or_insert(0) += 1,
            Err(text) => findings.push(bad(text)),
        }
    }
    findings.extend(
        told.into_iter()
            .map(|(text, times)| good(if times == 1 { text } else { format!("{text} ({times} times)") })),
    );
    let Progress { unanswered, suspected, failing, held, parked, .. } = *outcome.progress;
    if !at_rest(outcome.progress, outcome.webhooks_pending) {
        let pending = outcome.webhooks_pending;
        findings.push(bad(format!(
            "still not at rest after {}: {pending} webhooks under way, {unanswered} looks outstanding, {failing} failing, {suspected} teams that wait for their second look",
            seconds(outcome.waited)
        )));
    }
    if held + parked > 0 {
        findings
            .push(bad(format!("{held} removals are held and {parked} actions parked, where none should be")));
    }
    findings
}

/// A time as a person reads it.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn link(slug: &str) -> Link {
        Link { handle: slug.into(), github: format!("@acme/{slug}"), by: US.into() }
    }

    fn links(slugs: &[&str]) -> Links {
        slugs.iter().map(|slug| link(slug)).collect()
    }

    fn request(at_us: u64, method: &str, path: &str, status: u16, data: Value) -> Request {
        let body = Some(json!({ "data": data }));
        Request { at_us, method: method.into(), path: path.into(), status, fence: Some("1".into()), body }
    }

    fn made(at_us: u64, github: &str) -> Request {
        let item =
            json!({"type": "team_connection", "relationships": {"connected_team": {"data": {"id": github}}}});
        request(at_us, "POST", "/api/v2/team/connections", 201, json!([item]))
    }

    fn removed(at_us: u64, id: &str) -> Request {
        let item = json!({"type": "team_connection", "id": id});
        request(at_us, "DELETE", "/api/v2/team/connections", 204, json!([item]))
    }

    fn look(at_us: u64, status: u16) -> Request {
        request(at_us, "GET", "/organizations/1/team/7", status, json!([]))
    }

    /// The findings, each with its mark, on a step that begins with `a` and ends with `a` and `b`.
    fn told(expected: &Links, requests: &[Request], progress: Progress) -> Vec<String> {
        let outcome = Outcome {
            before: &links(&["a"]),
            expected,
            actual: &links(&["a", "b"]),
            catalog_before: &Catalog::new(),
            catalog_expected: &Catalog::new(),
            catalog: &Catalog::new(),
            progress: &progress,
            webhooks_pending: 0,
            right_after: Some(Duration::from_millis(1240)),
            waited: Duration::from_secs(20),
            requests,
            orders: &[],
        };
        let mark = |finding: Finding| format!("{} {}", if finding.good { '✓' } else { '✗' }, finding.text);
        verdict(&outcome).into_iter().map(mark).collect()
    }

    #[test]
    fn a_step_that_went_as_it_must_is_good() {
        let told = told(&links(&["a", "b"]), &[made(1, "@acme/b")], Progress::default());
        assert_eq!(told, ["✓ Datadog was right after 1.2 s: 2 connections, 1 made"]);
    }

    #[test]
    fn what_cannot_be_is_told_as_missing_and_too_much() {
        let impossible = Links::from([link("a"), Link { by: "terraform".into(), ..link("unicorn") }]);
        assert_eq!(
            told(&impossible, &[made(1, "@acme/b")], Progress::default()),
            [
                "✗ after 20.0 s Datadog holds 2 connections; missing: unicorn = @acme/unicorn (by terraform); too much: b = @acme/b"
            ]
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let many = links(&["b", "c", "d", "e", "f", "g", "h"]);
        let difference = difference(&many, &Links::new()).unwrap();
        assert!(difference.ends_with("@acme/f, 2 more"), "{difference}");
    }

    #[test]
    fn a_write_too_many_is_bad_though_datadog_is_right_in_the_end() {
        let requests = [made(1, "@acme/b"), removed(2, "x"), made(3, "@acme/b")];
        assert_eq!(
            told(&links(&["a", "b"]), &requests, Progress::default()),
            ["✗ 2 connections were made and 1 removed, where 1 and 0 would have done"]
        );
    }

    #[test]
    fn the_catalog_is_replaced_when_something_changes_and_not_otherwise() {
        let listed = |repository: &str, by_hand| Listed { repository: repository.into(), by_hand };
        let before = Catalog::from([listed("acme/api", false)]);
        let after = Catalog::from([listed("acme/app", false), listed("acme/notes", true)]);
        let puts = |number| -> Vec<_> {
            (0..number).map(|at| request(at, "PUT", CATALOG, 200, json!([]))).collect()
        };
        let told = |before, after, number| replacements(before, after, &puts(number));
        assert_eq!(
            told(&before, &after, 1),
            Some(Ok(
                "the catalog lists 2 repositories, 1 added by hand; 1 added, 1 removed in one PUT".into()
            ))
        );
        assert_eq!(told(&after, &after, 0), None);
        for (before, number) in [(&before, 0), (&before, 3), (&after, 1)] {
            assert!(told(before, &after, number).is_some_and(|told| told.is_err()), "{number} PUTs");
        }
        let by_a_person = Request { fence: None, ..request(1, "PUT", CATALOG, 200, json!([])) };
        assert_eq!(replacements(&after, &after, &[by_a_person]), None);
    }

    #[test]
    fn what_is_left_over_is_bad() {
        let left = Progress { unanswered: 1, parked: 2, ..Progress::default() };
        let told = told(&links(&["a", "b"]), &[made(1, "@acme/b")], left);
        assert!(
            told[1].starts_with("✗ still not at rest after 20.0 s: 0 webhooks under way, 1 looks"),
            "{told:?}"
        );
        assert!(told[2].starts_with("✗ 0 removals are held and 2 actions parked"), "{told:?}");
    }

    #[test]
    fn a_removal_needs_two_looks_far_enough_apart_before_it() {
        let order = Order::TwoLooks { team: 7, connection: "x".into(), apart: Duration::from_secs(2) };
        let judge = |requests: &[Request]| order.judge(requests).is_ok();
        assert!(judge(&[look(0, 404), look(2_000_000, 404), removed(2_100_000, "x")]));
        for requests in [
            vec![look(0, 404), look(1_900_000, 404), removed(2_100_000, "x")],
            vec![look(0, 200), look(2_000_000, 404), removed(2_100_000, "x")],
            vec![look(0, 404), removed(1_000_000, "x"), look(2_000_000, 404)],
            vec![removed(0, "x")],
            vec![look(0, 404), look(2_000_000, 404), removed(2_100_000, "y")],
        ] {
            assert!(!judge(&requests), "{requests:?}");
        }
    }

    #[test]
    fn a_replacement_stands_before_the_old_one_goes() {
        let order = Order::NewBeforeOld { new: "@acme/b".into(), old: "x".into() };
        assert!(order.judge(&[made(1, "@Acme/b"), removed(2, "x")]).is_ok());
        assert!(order.judge(&[removed(1, "x"), made(2, "@acme/b")]).is_err());
        assert!(order.judge(&[removed(1, "x")]).is_err());
    }
}
