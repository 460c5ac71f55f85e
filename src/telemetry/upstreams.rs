//! What the requests to GitHub and Datadog cost: their number, their latency, what is left of the rate limits.

use std::time::Duration;

use crate::model::Class;

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

/// A list has another number of items than it says, at each reading.
pub fn wrong_total(list: &str, says: usize, has: usize) {
    tracing::warn!(
        list,
        "{list} says that there are {says} and shows {has}, the same at each reading; what it shows counts, and \
         nothing goes because it lacks it"
    );
}

/// A scope is given a rest: a refused credential waits for a person, an outage for its end.
pub fn stopped(scope: &str, class: Class, why: &str) {
    breaker(scope, 1.0);
    match class {
        Class::Auth => tracing::error!(
            scope,
            "{why}; what needs {scope} waits, and is tried every few seconds; `teamlink check` tells what is lacking"
        ),
        _ => tracing::warn!(scope, "{why}; what needs {scope} waits, and is tried every few seconds"),
    }
}

/// A scope works again.
pub fn healed(scope: &str) {
    breaker(scope, 0.0);
    tracing::info!(scope, "{scope} works again; what waited for it goes on");
}

fn breaker(scope: &str, open: f64) {
    metrics::gauge!("teamlink_breaker_open", "scope" => scope.to_owned()).set(open);
}

/// A secret was read anew from its file.
pub fn secret_changed(key: &str) {
    tracing::info!(key, "{key} was changed in its file and is used from now on");
}

/// The file of a secret cannot be read any more. `news` is false when the same was said before.
pub fn secret_unreadable(key: &str, error: &std::io::Error, news: bool) {
    if news {
        tracing::warn!(key, %error, "the file of {key} cannot be read; what it last held is used");
    }
}
