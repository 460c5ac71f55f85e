//! The health routes and `/metrics`, with the process-wide recorder as `teamlink run` sets it up.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
};
use teamlink::{
    admin,
    telemetry::{self, LogFormat, doors},
};
use tower::ServiceExt;

async fn get(router: &Router, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1_000_000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn health_follows_the_loops_readiness_the_doors_and_metrics_the_facts() {
    let metrics =
        telemetry::install(&telemetry::Options { log: "off".into(), format: LogFormat::Json }).unwrap();
    let door_works = Arc::new(AtomicBool::new(true));
    let loop_turns = Arc::new(AtomicBool::new(true));
    let check = |well: &Arc<AtomicBool>| -> admin::Check {
        let well = Arc::clone(well);
        Box::new(move || if well.load(Ordering::Relaxed) { Ok(()) } else { Err("the disk is full".into()) })
    };
    let router = admin::router(admin::Options {
        metrics,
        loopback: true,
        loops: vec![("reconcile", check(&loop_turns))],
        doors: vec![("inbox", check(&door_works))],
        upstreams: vec![("datadog", Box::new(|| Err("answers 500".into())))],
        workers: vec![("settings", Box::new(|| Err("they are outdated".into())))],
    });

    // An upstream in trouble is told, and so is a worker that doesn't work. Neither changes a status.
    assert_eq!(get(&router, "/healthz").await, (200, r#"{"ok":true,"loops":{"reconcile":"ok"}}"#.into()));
    assert_eq!(
        get(&router, "/readyz").await,
        (200, r#"{"ok":true,"doors":{"inbox":"ok"},"upstreams":{"datadog":"answers 500"},"worker":{"settings":"they are outdated"}}"#.into())
    );

    door_works.store(false, Ordering::Relaxed);
    assert_eq!(get(&router, "/healthz").await.0, 200);
    assert_eq!(
        get(&router, "/readyz").await,
        (
            503,
            r#"{"ok":false,"doors":{"inbox":"the disk is full"},"upstreams":{"datadog":"answers 500"},"worker":{"settings":"they are outdated"}}"#
                .into()
        )
    );
    loop_turns.store(false, Ordering::Relaxed);
    assert_eq!(get(&router, "/healthz").await.0, 503);

    doors::delivery("team", doors::Outcome::Stored);
    // Whoever can send a message must not be able to make as many time series as they like.
    for made_up in ["x", "y", "z"] {
        doors::delivery(made_up, doors::Outcome::Ignored);
    }
    metrics::histogram!("teamlink_convergence_seconds").record(0.7);
    let (status, text) = get(&router, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        concat!("teamlink_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "teamlink_deliveries_total{event=\"team\",outcome=\"stored\"} 1",
        "teamlink_deliveries_total{event=\"other\",outcome=\"ignored\"} 3",
        "# HELP teamlink_deliveries_total webhook deliveries by event and outcome",
        "# TYPE teamlink_convergence_seconds histogram",
        "teamlink_convergence_seconds_bucket{le=\"1\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert!(
        telemetry::install(&telemetry::Options { log: "info".into(), format: LogFormat::Auto }).is_err(),
        "a second recorder would split the counts"
    );
}

#[test]
fn a_log_filter_that_cannot_be_read_is_an_error_that_shows_a_good_one() {
    let options = telemetry::Options { log: "info,=,".into(), format: LogFormat::Auto };
    let error = telemetry::install_logs(&options).unwrap_err();
    assert!(error.to_string().contains("write e.g. \"info\""), "{error:#}");
}
