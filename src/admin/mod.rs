//! HTTP for operators and orchestrators: health and metrics.
//!
//! `/healthz` asks only whether the loops of this process still turn; it never depends on an upstream, so that
//! an outage elsewhere cannot get a healthy process restarted. `/readyz` answers 200 while deliveries can be
//! accepted; trouble upstream, and whether this process works, is told in its body, not in its status.
//!
//! On a loopback listener, `/metrics` accepts only `localhost` or an IP address as `Host`. This stops DNS rebinding, where a
//! web page resolves its own name to this machine and reads the answer.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use crate::{printable, telemetry::Metrics};

/// Answers whether something is well, and if not, what is wrong. Must not wait.
pub type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the health routes ask.
pub struct Options {
    /// What `/metrics` renders.
    pub metrics: Metrics,
    /// Whether the listener has an address of the loopback network, so that only this machine reaches it.
    pub loopback: bool,
    /// The loops of this process, by name; one that no longer turns makes `/healthz` answer 503.
    pub loops: Vec<(&'static str, Check)>,
    /// The ways in, by name; one that cannot accept deliveries makes `/readyz` answer 503.
    pub doors: Vec<(&'static str, Check)>,
    /// The upstreams, by name; told by `/readyz`, without any effect on its status.
    pub upstreams: Vec<(&'static str, Check)>,
    /// What keeps this process from working though it accepts deliveries, by name; told by `/readyz`, without any effect
    /// on its status. None in a process that doesn't work.
    pub workers: Vec<(&'static str, Check)>,
}

/// The body of `/healthz` and `/readyz`: `"ok"` or what is wrong, by name.
#[derive(Serialize)]
struct Report {
    ok: bool,
    #[serde(flatten)]
    sections: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
}

/// `GET /healthz`, `/readyz` and `/metrics`.
pub fn router(options: Options) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render_metrics))
        .with_state(Arc::new(options))
}

async fn healthz(State(options): State<Arc<Options>>) -> Response {
    report(ask(&options.loops), BTreeMap::new(), "loops")
}

async fn readyz(State(options): State<Arc<Options>>) -> Response {
    let (_, upstreams) = ask(&options.upstreams);
    let mut sections = BTreeMap::from([("upstreams", upstreams)]);
    if !options.workers.is_empty() {
        sections.insert("worker", ask(&options.workers).1);
    }
    report(ask(&options.doors), sections, "doors")
}

async fn render_metrics(State(options): State<Arc<Options>>, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
    if options.loopback && host.is_some_and(|host| !is_localhost_or_address(&host)) {
        let why = "the Host header is neither localhost nor an IP address, and server.listen is a loopback address. Request \
                   localhost, or set `Host: localhost` in the proxy.\n";
        return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
    }
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (text, options.metrics.render()).into_response()
}

/// Returns whether a `Host` header is `localhost` or an IP address. A page that rebinds its name sends that name instead.
fn is_localhost_or_address(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

type Answers = BTreeMap<&'static str, String>;

fn ask(checks: &[(&'static str, Check)]) -> (bool, Answers) {
    let answers: Vec<_> = checks.iter().map(|(name, check)| (*name, check())).collect();
    let ok = answers.iter().all(|(_, answer)| answer.is_ok());
    (ok, answers.into_iter().map(|(name, answer)| (name, answer.err().unwrap_or("ok".into()))).collect())
}

fn report(
    (ok, deciding): (bool, Answers),
    mut sections: BTreeMap<&'static str, Answers>,
    name: &'static str,
) -> Response {
    sections.insert(name, deciding);
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&Report { ok, sections }) {
        // The report contains texts from upstreams, so it is escaped.
        Ok(text) => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (status, json, printable::json(&text).into_owned()).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_localhost_or_address;

    #[test]
    fn a_name_that_a_page_may_rebind_is_neither_localhost_nor_an_address() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "10.0.0.7", "[::1]:8080", "[::1]"] {
            assert!(is_localhost_or_address(host), "{host}");
        }
        for host in
            ["", "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example"]
        {
            assert!(!is_localhost_or_address(host), "{host}");
        }
    }
}
