//! What was asked of the sandbox: counts by route, and the requests themselves, for tests that judge behaviour by
//! what reached the upstreams.

use std::collections::{BTreeMap, VecDeque};

use axum::body::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

/// Requests kept; the oldest go first. Their `seq` tells that some are gone.
const KEPT: usize = 200_000;

/// A request as it was answered.
pub(crate) struct Entry {
    /// When it was carried out, in microseconds since the unix epoch.
    pub(crate) at_us: u64,
    pub(crate) method: String,
    pub(crate) path: String,
    /// As sent, without the `?`.
    pub(crate) query: String,
    pub(crate) status: u16,
    /// What the caller called the sandbox: callers that were given a name or a port each can be told apart.
    pub(crate) host: String,
    /// The caller's `X-Teamlink-Fence` header.
    pub(crate) fence: Option<String>,
    pub(crate) body: Bytes,
    /// The connection was cut (`reset`): the caller has not seen `status`.
    pub(crate) cut: bool,
}

/// How an entry is printed.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    at_us: u64,
    method: &'a str,
    path: &'a str,
    query: &'a str,
    status: u16,
    host: &'a str,
    fence: Option<&'a str>,
    body: Option<&'a RawValue>,
    cut: bool,
}

#[derive(Default)]
pub(crate) struct Journal {
    /// The number of the first entry kept; numbers start at 1.
    first: u64,
    entries: VecDeque<Entry>,
    counts: BTreeMap<String, u64>,
}

impl Journal {
    /// Notes a request under its route, such as `GET /orgs/{org}/teams`.
    pub(crate) fn note(&mut self, route: String, entry: Entry) {
        *self.counts.entry(route).or_default() += 1;
        if self.entries.len() == KEPT {
            self.entries.pop_front();
            self.first += 1;
        }
        self.entries.push_back(entry);
    }

    pub(crate) fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// The entries after number `since`, as a JSON array.
    pub(crate) fn since(&self, since: u64) -> serde_json::Result<Vec<u8>> {
        let skipped = since.saturating_sub(self.first) as usize;
        let lines: Vec<_> = self
            .entries
            .iter()
            .enumerate()
            .skip(skipped)
            .map(|(index, entry)| Line {
                seq: self.first + index as u64 + 1,
                at_us: entry.at_us,
                method: &entry.method,
                path: &entry.path,
                query: &entry.query,
                status: entry.status,
                host: &entry.host,
                fence: entry.fence.as_deref(),
                body: serde_json::from_slice(&entry.body).ok(),
                cut: entry.cut,
            })
            .collect();
        serde_json::to_vec(&lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(body: &'static str) -> Entry {
        Entry {
            at_us: 5,
            method: "POST".into(),
            path: "/a".into(),
            query: String::new(),
            status: 200,
            host: "h:1".into(),
            fence: None,
            body: body.into(),
            cut: false,
        }
    }

    #[test]
    fn prints_the_entries_after_a_number() {
        let mut journal = Journal::default();
        for body in ["", r#"{"a": 1}"#, "no json"] {
            journal.note("POST /a".into(), entry(body));
        }
        assert_eq!(
            String::from_utf8(journal.since(1).unwrap()).unwrap(),
            r#"[{"seq":2,"at_us":5,"method":"POST","path":"/a","query":"","status":200,"host":"h:1","fence":null,"body":{"a": 1},"cut":false},"#
                .to_owned()
                + r#"{"seq":3,"at_us":5,"method":"POST","path":"/a","query":"","status":200,"host":"h:1","fence":null,"body":null,"cut":false}]"#
        );
        assert_eq!(journal.counts()["POST /a"], 3);
    }

    #[test]
    fn keeps_a_bounded_number_and_goes_on_counting() {
        let mut journal = Journal::default();
        for _ in 0..KEPT + 2 {
            journal.note("POST /a".into(), entry(""));
        }
        assert_eq!(journal.entries.len(), KEPT);
        let last: serde_json::Value =
            serde_json::from_slice(&journal.since(KEPT as u64 + 1).unwrap()).unwrap();
        assert_eq!(last.as_array().unwrap().len(), 1);
        assert_eq!(last[0]["seq"], KEPT + 2);
    }
}
