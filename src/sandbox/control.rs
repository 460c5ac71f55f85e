//! The sandbox's own routes, `/_sandbox/…`: look at what was asked, set faults, fill the worlds. They need no
//! credentials and are neither noted nor spoilt.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde_json::json;

use super::Shared;
use super::rate::{Limit, Limits};
use super::seed;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_sandbox/stats", get(stats))
        .route("/_sandbox/requests", get(requests))
        .route("/_sandbox/seed", post(fill))
        .route("/_sandbox/faults", put(faults))
        .route("/_sandbox/limits", put(limits))
}

async fn stats(State(shared): State<Arc<Shared>>) -> Response {
    let counts = &shared.hooks.counts;
    let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let integrations = shared.datadog.read().unwrap_or_else(PoisonError::into_inner).gaps.stats();
    axum::Json(json!({
        "requests": shared.journal().counts(),
        "integrations": integrations,
        "webhooks": {
            "sent": load(&counts.sent), "failed": load(&counts.failed), "pending": load(&counts.pending),
        },
    }))
    .into_response()
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn requests(State(shared): State<Arc<Shared>>, Query(Since { since }): Query<Since>) -> Response {
    match shared.journal().since(since) {
        Ok(lines) => ([(header::CONTENT_TYPE, "application/json")], lines).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let rules = serde_json::from_slice(&body).map_err(|error| error.to_string());
    match rules.and_then(|rules| shared.faults().set(rules)) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => (StatusCode::BAD_REQUEST, format!("cannot take the faults: {why}\n")).into_response(),
    }
}

async fn limits(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let set = || -> Result<(), String> {
        let Limits { github, datadog } = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        github.into_iter().chain(datadog).try_for_each(Limit::check)?;
        shared.github_rate.enforce(github);
        shared.datadog_rate.enforce(datadog);
        Ok(())
    };
    match set() {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => (StatusCode::BAD_REQUEST, format!("cannot take the limits: {why}\n")).into_response(),
    }
}

async fn fill(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let seeded = serde_json::from_slice(&body)
        .map_err(|error| format!("cannot read the seed: {error}"))
        .and_then(|seed| seed::sow(&shared, seed));
    match seeded {
        Ok(ids) => axum::Json(ids).into_response(),
        Err(why) => (StatusCode::BAD_REQUEST, why + "\n").into_response(),
    }
}
