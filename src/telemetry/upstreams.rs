//! What the requests to GitHub and Datadog cost: their number, their latency, what is left of the rate limits.

use std::time::Duration;

/// One request ended, well or badly. `status` is the HTTP status, or one word where there was none
/// (`timeout`, `unreachable`, `lost`).
pub fn request(upstream: &'static str, operation: &'static str, status: &str, took: Duration) {
    tracing::debug!(
        upstream,
        operation,
        status,
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "asked {upstream}: {operation}"
    );
    let labels = [("upstream", upstream.to_owned()), ("operation", operation.to_owned())];
    metrics::counter!(
        "teamlink_upstream_requests_total",
        &[labels.as_slice(), &[("status", status.to_owned())]].concat()
    )
    .increment(1);
    metrics::histogram!("teamlink_upstream_request_seconds", &labels).record(took.as_secs_f64());
}

/// What an upstream says is left of one of its rate limits.
pub fn remaining(upstream: &'static str, bucket: &str, requests: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge; budgets are far below 2^52")]
    metrics::gauge!("teamlink_upstream_remaining", "upstream" => upstream, "bucket" => bucket.to_owned())
        .set(requests as f64);
}
