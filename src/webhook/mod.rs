//! The HTTP door in: limits, signature, then an `Inbox`.
//!
//! GitHub waits 10 s for an answer and never sends again by itself, so every path here answers within 9 s, and
//! 202 is said only when the inbox has stored the delivery: after the broker's confirm, or the ledger's commit.
//! The body passes as bytes; what it says is not looked at here. The checks run from cheap to dear, and nothing
//! is read before a secret and a signature are there to check it with.

mod body;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use secrecy::SecretString;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout_at},
};
use tracing::{Instrument, info_span};

use crate::{
    intake::Inbox,
    model::{Delivery, Time},
    signature,
    telemetry::doors::{self, Outcome},
};

/// How long a sender may take to send the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// When the answer must be under way, counted from the request's headers. GitHub gives up after 10 s.
const ANSWER_WITHIN: Duration = Duration::from_millis(8500);
/// What to tell a sender whose delivery could not be taken for a reason that passes soon.
const RETRY_SOON: Duration = Duration::from_secs(5);
/// Bytes of large bodies in this process at a time, as multiples of the largest body allowed.
const LARGE_IN_FLIGHT: usize = 2;
/// A body of at most this many bytes is a small one, as nearly all of GitHub's are.
const SMALL: usize = 64 << 10;
/// Bytes of small bodies in this process at a time. Whoever sends large ones without a secret keeps no small one out.
const SMALL_IN_FLIGHT: usize = 32 << 20;
/// Longest event name or GUID taken; GitHub's are 36 bytes at most, and AMQP's short strings end at 255.
const MAX_NAME: usize = 128;

/// How to receive.
#[derive(Clone, Debug)]
pub struct Options {
    /// Any of these may have signed a delivery, so that a secret can be rotated without a gap. Read anew for
    /// each request.
    pub secrets: watch::Receiver<Vec<SecretString>>,
    /// Largest body in bytes. GitHub sends up to 25 MiB.
    pub max_body: usize,
    /// The GitHub Enterprise Server this process serves; `None` for github.com, which names no host.
    pub github_host: Option<String>,
    /// Whether the inbox is the broker: then this door counts what it stored, else the intake does.
    pub counts_stored: bool,
}

struct Receiver {
    options: Options,
    inbox: Arc<dyn Inbox>,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// `POST /webhooks/github`, which hands what it receives to `inbox`.
pub fn router(options: Options, inbox: Arc<dyn Inbox>) -> Router {
    if !signature::possible(&options.secrets.borrow()) {
        doors::no_webhook_secret();
    }
    let small = Arc::new(Semaphore::new(SMALL_IN_FLIGHT));
    let large = Arc::new(Semaphore::new(options.max_body.saturating_mul(LARGE_IN_FLIGHT)));
    let receiver = Receiver { options, inbox, small, large };
    Router::new().route("/webhooks/github", post(receive)).with_state(Arc::new(receiver))
}

async fn receive(State(receiver): State<Arc<Receiver>>, request: Request<Body>) -> Response {
    let headers = request.headers();
    // What is too long is refused, and not logged before that.
    let name =
        |header| text(headers, header).filter(|name| name.len() <= MAX_NAME).unwrap_or_default().to_owned();
    let (event, guid) = (name("x-github-event"), name("x-github-delivery"));
    let span = info_span!("delivery", delivery.guid = guid, event);
    async move {
        let result = receiver.handle(request, event.clone(), guid).await;
        result.unwrap_or_else(|refusal| {
            doors::delivery_turned_away(&event, refusal.outcome, refusal.status.as_u16(), &refusal.reason);
            refusal.into_response()
        })
    }
    .instrument(span)
    .await
}

impl Receiver {
    async fn handle(&self, request: Request<Body>, event: String, guid: String) -> Result<Response, Refusal> {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        if !signature::possible(&self.options.secrets.borrow()) {
            return Err(Refusal::later(
                "no webhook secret is set here, so no delivery can be checked",
                RETRY_SOON,
            ));
        }
        let length =
            text(&head.headers, header::CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
        if length.is_some_and(|length: usize| length > self.options.max_body) {
            body::discard(body);
            return Err(Refusal::too_large(self.options.max_body));
        }
        let signature = signature_in(&head.headers)?;
        let form = is_form(&head.headers)?;
        for (name, value) in [("X-GitHub-Event", &event), ("X-GitHub-Delivery", &guid)] {
            if value.is_empty() {
                return Err(Refusal::malformed(format!("the {name} header is missing or too long")));
            }
        }

        let in_flight = if length.is_some_and(|length| length <= SMALL) { &self.small } else { &self.large };
        let (raw, _in_flight) = body::read(body, self.options.max_body, in_flight, started + BODY_TIMEOUT)
            .await
            .map_err(|trouble| match trouble {
                body::Trouble::TooLarge => Refusal::too_large(self.options.max_body),
                body::Trouble::Slow => Refusal {
                    status: StatusCode::REQUEST_TIMEOUT,
                    ..Refusal::malformed("the body did not arrive in time".into())
                },
                body::Trouble::Broken => Refusal::malformed("the body broke off".into()),
                body::Trouble::Busy => Refusal::later("too many bodies at once", RETRY_SOON),
            })?;
        if !signature::matches(signature, &raw, &self.options.secrets.borrow()) {
            return Err(Refusal::unauthorized("the signature matches none of the secrets set here"));
        }
        let host = text(&head.headers, "x-github-enterprise-host").map(str::to_owned);
        self.check_host(host.as_deref())?;
        if event == "ping" {
            doors::delivery(&event, Outcome::Ping);
            return Ok(StatusCode::OK.into_response());
        }

        // What is handed on carries a signature of what it is: of a form, GitHub signed the form.
        let (body, signature) = if form {
            let body = payload_field(&raw)?;
            let signature = signature::sign(&body, &self.options.secrets.borrow());
            (body, signature)
        } else {
            (raw, Some(signature.to_owned()))
        };
        let received_at = Time::from(SystemTime::now());
        let delivery = Delivery { guid, event, host, signature, received_at, body }.bounded();
        let event = delivery.event.clone();
        match timeout_at(started + ANSWER_WITHIN, self.inbox.accept(delivery)).await {
            Ok(Ok(())) => {
                if self.options.counts_stored {
                    doors::delivery_published(&event);
                }
                Ok(StatusCode::ACCEPTED.into_response())
            }
            Ok(Err(refused)) => Err(Refusal::later(refused.reason, refused.retry_after)),
            Err(_) => Err(Refusal::later("the delivery could not be stored in time", RETRY_SOON)),
        }
    }

    /// One process serves one GitHub host: ids of two hosts must never meet in one ledger.
    fn check_host(&self, sent: Option<&str>) -> Result<(), Refusal> {
        let served = self.options.github_host.as_deref();
        let same = match (sent, served) {
            (Some(sent), Some(served)) => sent.eq_ignore_ascii_case(served),
            (None, None) => true,
            _ => false,
        };
        if same {
            return Ok(());
        }
        Err(Refusal {
            status: StatusCode::FORBIDDEN,
            outcome: Outcome::OtherHost,
            reason: format!(
                "this delivery is from {}, and this process serves {}",
                sent.unwrap_or("github.com"),
                served.unwrap_or("github.com")
            ),
            retry_after: None,
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What may be a signature: whoever sends none is not read.
fn signature_in(headers: &HeaderMap) -> Result<&str, Refusal> {
    let signature = text(headers, signature::HEADER)
        .ok_or_else(|| Refusal::unauthorized("the X-Hub-Signature-256 header is missing"))?;
    if signature::is_formed(signature) {
        Ok(signature)
    } else {
        Err(Refusal::unauthorized("the X-Hub-Signature-256 header holds no signature"))
    }
}

/// GitHub sends either JSON or a form, as the hook is set.
fn is_form(headers: &HeaderMap) -> Result<bool, Refusal> {
    let content_type = text(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(false),
        "application/x-www-form-urlencoded" => Ok(true),
        _ => Err(Refusal::malformed(format!(
            "the content type {content_type:?} is neither application/json nor application/x-www-form-urlencoded"
        ))),
    }
}

fn payload_field(form: &[u8]) -> Result<Bytes, Refusal> {
    form_urlencoded::parse(form)
        .find(|(name, _)| name == "payload")
        .map(|(_, payload)| Bytes::from(payload.into_owned()))
        .ok_or_else(|| Refusal::malformed("the form has no field `payload`".into()))
}

/// Why a delivery was not taken.
struct Refusal {
    status: StatusCode,
    outcome: Outcome,
    reason: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    fn malformed(reason: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, outcome: Outcome::Malformed, reason, retry_after: None }
    }

    fn too_large(max: usize) -> Self {
        let reason = format!("the body is larger than {max} bytes (server.max_body)");
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..Self::malformed(reason) }
    }

    fn unauthorized(reason: &str) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            outcome: Outcome::Unauthorized,
            ..Self::malformed(reason.to_owned())
        }
    }

    fn later(reason: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            outcome: Outcome::Refused,
            reason: reason.into(),
            retry_after: Some(retry_after),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(serde_json::json!({ "error": self.reason }))).into_response();
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: 0 would ask for a retry at once.
            let seconds = wait.as_millis().div_ceil(1000).clamp(1, 3600) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests;
