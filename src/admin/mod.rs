//! HTTP for operators and orchestrators: health and metrics.
//!
//! `/healthz` asks only whether the loops of this process still turn; it never depends on an upstream, so that
//! an outage elsewhere cannot get a healthy process restarted. `/readyz` answers 200 while deliveries can be
//! accepted; trouble upstream, and whether this process works, is told in its body, not in its status.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde::Serialize;

use crate::telemetry::Metrics;

/// Answers whether something is well, and if not, what is wrong. Must not wait.
pub type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the health routes ask.
pub struct Options {
    /// What `/metrics` renders.
    pub metrics: Metrics,
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

async fn healthz(State(options): State<Arc<Options>>) -> impl IntoResponse {
    report(ask(&options.loops), BTreeMap::new(), "loops")
}

async fn readyz(State(options): State<Arc<Options>>) -> impl IntoResponse {
    let (_, upstreams) = ask(&options.upstreams);
    let mut sections = BTreeMap::from([("upstreams", upstreams)]);
    if !options.workers.is_empty() {
        sections.insert("worker", ask(&options.workers).1);
    }
    report(ask(&options.doors), sections, "doors")
}

async fn render_metrics(State(options): State<Arc<Options>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], options.metrics.render())
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
) -> impl IntoResponse {
    sections.insert(name, deciding);
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Report { ok, sections }))
}
