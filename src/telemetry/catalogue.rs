//! Every metric: its help text, and the buckets of the histograms. Names are part of what people build
//! dashboards and alerts on; they change only with a note in the changelog.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Histograms with their buckets, in seconds. A histogram that is not here would become a summary, whose
/// quantiles cannot be added up over processes.
pub(super) const BUCKETS: [(&str, &[f64]); 2] = [
    // From a debounce of a second to an outage of an hour.
    (
        "teamlink_convergence_seconds",
        &[0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0],
    ),
    // From a conditional read nearby to the timeout of a write.
    ("teamlink_upstream_request_seconds", &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
];

pub(super) fn describe() {
    describe_counter!(
        "teamlink_deliveries_total",
        "webhook deliveries by event and outcome; a webhook and an intake each count once what passes them"
    );
    describe_gauge!(
        "teamlink_broker_connected",
        "1 while connected to RabbitMQ, by user (publisher or consumer)"
    );
    describe_gauge!("teamlink_marks_due", "targets that wait to be looked at and are due");
    describe_gauge!("teamlink_oldest_due_seconds", Unit::Seconds, "how long the oldest of them has been due");
    describe_histogram!(
        "teamlink_convergence_seconds",
        Unit::Seconds,
        "from the receipt of a delivery until Datadog is right"
    );
    describe_counter!("teamlink_looks_total", "looks at targets by kind (team, org) and outcome");
    describe_counter!("teamlink_actions_total", "writes to Datadog by kind and outcome");
    describe_counter!(
        "teamlink_upstream_requests_total",
        "requests by upstream, operation and status (or what happened instead of a status)"
    );
    describe_histogram!("teamlink_upstream_request_seconds", Unit::Seconds, "how long requests took");
    describe_gauge!(
        "teamlink_upstream_remaining",
        "requests left of a rate limit, as the upstream last said"
    );
    describe_gauge!("teamlink_held", "actions held back that wait for a person");
    describe_gauge!(
        "teamlink_parked",
        "deliveries and actions given up on until a person or news tries again"
    );
    describe_gauge!(
        "teamlink_paused",
        "pauses in force, each of a team, of an organisation or of everything"
    );
    describe_gauge!("teamlink_connections", "team connections by ownership: us, orphan or foreign");
    describe_gauge!(
        "teamlink_datadog_sync_continuous",
        "1 while Datadog's own sync of teams writes connections beside us"
    );
    describe_counter!(
        "teamlink_drift_total",
        "differences that a full pass found and no event had told, by kind"
    );
    describe_counter!(
        "teamlink_removed_by_others_total",
        "connections of ours that somebody else removed, by target"
    );
    describe_gauge!(
        "teamlink_last_attempt_timestamp_seconds",
        Unit::Seconds,
        "when a full pass was last tried, by target"
    );
    describe_gauge!(
        "teamlink_last_success_timestamp_seconds",
        Unit::Seconds,
        "when a full pass last succeeded, by target"
    );
    describe_gauge!("teamlink_breaker_open", "1 while a scope of an upstream is given a rest");
    describe_gauge!(
        "teamlink_settings_outdated",
        "1 while this worker takes no leases, because another one loaded other settings later"
    );
    describe_gauge!("teamlink_build_info", "always 1; its label says which version this is");
}
