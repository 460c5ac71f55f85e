//! Which fault met which step: a fault that never met one was not tried.

use std::{collections::BTreeMap, fmt};

use globset::Glob;
use serde_json::Value;

/// How many requests each kind of fault was laid upon, by what was asked for.
#[derive(Default)]
pub struct Coverage(BTreeMap<(String, String), usize>);

impl Coverage {
    /// Notes a round: its requests, the faults that stood, and whether a worker was stopped after the last of them.
    pub fn note(&mut self, requests: &[Value], faults: &[Value], stopped: bool) {
        let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
        for fault in faults {
            let (method, path) = (text(fault, "method"), text(fault, "path"));
            // `*` matches `/` too.
            let path = Glob::new(&path).unwrap().compile_matcher();
            let met = requests.iter().filter(|request| {
                path.is_match(text(request, "path")) && (method.is_empty() || method == request["method"])
            });
            for request in met {
                self.count(kind(fault), request);
            }
        }
        // What the simulation itself asks has no fence and comes last.
        let last = requests.iter().rfind(|request| text(request, "query") != "page[size]=100");
        if let Some(last) = last.filter(|_| stopped) {
            self.count("stopped".to_owned(), last);
        }
    }

    fn count(&mut self, fault: String, request: &Value) {
        *self.0.entry((step(request), fault)).or_default() += 1;
    }

    pub fn add(&mut self, other: Self) {
        for (met, times) in other.0 {
            *self.0.entry(met).or_default() += times;
        }
    }
}

/// What a fault does.
fn kind(fault: &Value) -> String {
    for word in ["empty", "truncate", "reset", "late"] {
        if fault[word] == true {
            return word.to_owned();
        }
    }
    for (field, word) in [("lacks", "lacks"), ("total_off", "total")] {
        if !fault[field].is_null() && fault["stale_ms"].is_null() {
            return word.to_owned();
        }
    }
    match (&fault["stale_ms"], &fault["status"]) {
        (Value::Number(_), _) => "stale".to_owned(),
        (_, Value::Number(status)) => status.to_string(),
        _ => "body".to_owned(),
    }
}

/// What is asked for: the method, and the path without ids and names.
fn step(request: &Value) -> String {
    let path = request["path"].as_str().unwrap_or_default();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let what = match parts.as_slice() {
        ["orgs", _] | ["organizations", _] => "org",
        ["orgs", _, "teams"] => "teams of the org",
        ["orgs", _, "teams", ..] => "team by slug",
        ["organizations", _, "team", ..] => "team by id",
        ["user", ..] => "membership",
        ["api", "v2", "team"] => "Datadog teams",
        ["api", "v2", "team", "connections"] => "connections",
        ["api", "v2", "team", "sync"] => "Datadog's sync",
        ["api", "v2", "team", _] => "Datadog team by id",
        _ => path,
    };
    format!("{} {what}", request["method"].as_str().unwrap_or_default())
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut step = "";
        for ((at, fault), times) in &self.0 {
            if at != step {
                write!(f, "\n  {at:24}")?;
                step = at;
            }
            write!(f, " {fault} {times}")?;
        }
        writeln!(f)
    }
}
