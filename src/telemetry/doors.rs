//! What happens at the doors: deliveries at the webhook and from the queue, and the connection to the broker.

use std::{fmt, io, time::Duration};

use metrics::{counter, gauge};
use tracing::{debug, error, info, warn};

use super::seldom::Seldom;

const DELIVERIES: &str = "teamlink_deliveries_total";
const BROKER: &str = "teamlink_broker_connected";

static TURNED_AWAY: Seldom = Seldom::new();
static NOT_ACCEPTED: Seldom = Seldom::new();

/// Event names that become a label as they are; every other is `other`, since whoever can send a message could
/// otherwise make as many time series as they like.
const EVENTS: [&str; 11] = [
    "team",
    "team_add",
    "membership",
    "organization",
    "member",
    "repository",
    "installation",
    "installation_repositories",
    "installation_target",
    "ping",
    "push",
];

/// What became of a delivery. Each door counts its own: the webhook says whether it took the delivery, the
/// intake what it made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Webhook: the broker confirmed it. (Embedded, the intake's outcome is the only one.)
    Published,
    /// Webhook: the inbox could not store it; the sender was told to try again.
    Refused,
    /// Webhook: no signature, or a wrong one.
    Unauthorized,
    /// Webhook: not a delivery (headers missing, unknown content type, too large, too slow).
    Malformed,
    /// Webhook: from another GitHub host than the configured one.
    OtherHost,
    /// Webhook: a ping, answered and not stored.
    Ping,
    /// Intake: new, and committed.
    Stored,
    /// Intake: its GUID was known; committed all the same.
    Duplicate,
    /// Intake: of an organisation or a kind that does not concern us.
    Ignored,
    /// Intake: cannot be decoded; kept for a person.
    Parked,
}

impl Outcome {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Refused => "refused",
            Self::Unauthorized => "unauthorized",
            Self::Malformed => "malformed",
            Self::OtherHost => "other_host",
            Self::Ping => "ping",
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Parked => "parked",
        }
    }
}

/// Counts one delivery.
pub fn delivery(event: &str, outcome: Outcome) {
    counter!(DELIVERIES, "event" => event_label(event), "outcome" => outcome.as_str()).increment(1);
}

/// The event's name as a label: itself when known, else `other`.
pub(super) fn event_label(event: &str) -> &'static str {
    EVENTS.into_iter().find(|known| *known == event).unwrap_or("other")
}

/// The webhook stored a delivery through its inbox. Within the delivery's span.
pub fn delivery_published(event: &str) {
    debug!("delivery accepted");
    delivery(event, Outcome::Published);
}

/// The webhook turned a request away. Within the delivery's span.
pub fn delivery_turned_away(event: &str, outcome: Outcome, status: u16, reason: &str) {
    match outcome {
        // Our own trouble.
        Outcome::Refused => warn!(status, reason, "delivery refused"),
        // The sender's, who may be anybody.
        _ => {
            if let Some(left_out) = TURNED_AWAY.line() {
                info!(status, reason, left_out, "request turned away");
            }
        }
    }
    delivery(event, outcome);
}

/// The listener could not accept a connection.
pub fn not_accepted(error: &io::Error) {
    if let Some(left_out) = NOT_ACCEPTED.line() {
        warn!(%error, left_out, "failed to accept a connection");
    }
}

/// The webhook has no secret to check signatures with.
pub fn no_webhook_secret() {
    warn!(
        "no webhook secret is set: every delivery is answered with 503, since unsigned ones are never accepted; \
         set server.webhook_secrets or GITHUB_WEBHOOK_SECRET"
    );
}

/// A publisher or consumer is connected to the broker, its topology in place.
pub fn broker_connected(user: &'static str) {
    info!(user, "connected to RabbitMQ");
    gauge!(BROKER, "user" => user).set(1.0);
}

/// A connection to the broker could not be made or was lost. `news` is false when the same was said before.
pub fn broker_lost(user: &'static str, trouble: &dyn fmt::Display, news: bool, retry_in: Duration) {
    let retry_in_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
    if news {
        error!(user, retry_in_ms, "{trouble}");
    } else {
        debug!(user, retry_in_ms, "{trouble}");
    }
    gauge!(BROKER, "user" => user).set(0.0);
}

/// A connection to the broker was closed on purpose.
pub fn broker_left(user: &'static str) {
    info!(user, "left RabbitMQ");
    gauge!(BROKER, "user" => user).set(0.0);
}

/// The intake refused a batch; what was received is kept, and nothing more is taken from the queue until it is
/// stored. `news` is false when the same was said before.
pub fn consumer_waits(reason: &str, messages: usize, retry_in: Duration, news: bool) {
    let retry_in_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
    if news {
        warn!(reason, messages, retry_in_ms, "the ledger refuses deliveries; the queue keeps what follows");
    } else {
        debug!(reason, messages, retry_in_ms, "the ledger still refuses deliveries");
    }
}

/// The intake takes deliveries again.
pub fn consumer_resumes() {
    info!("the ledger takes deliveries again");
}

/// Deliveries that the broker had given up were accepted after all.
pub fn dead_revived(deliveries: usize) {
    info!(deliveries, "what the broker had given up is accepted");
}

/// The consumer changed how many messages it lets the broker send ahead.
pub fn consumer_prefetch(prefetch: u16, reason: &'static str) {
    info!(prefetch, reason, "prefetch changed");
}
