//! Sends webhooks as GitHub does: signed, in order for each hook, one try, ten seconds for the answer. It does not
//! know what the events mean.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// GitHub waits this long for a 2xx.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that happened to an organisation.
pub(crate) struct Event {
    /// `X-GitHub-Event`.
    pub(crate) name: &'static str,
    pub(crate) org_id: u64,
    pub(crate) body: Value,
}

/// A registered webhook.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub(crate) id: u64,
    /// The organisation it hears of; every one if `None`.
    pub(crate) org_id: Option<u64>,
    pub(crate) url: String,
    pub(crate) secret: Option<String>,
    /// `application/x-www-form-urlencoded` instead of JSON.
    pub(crate) form: bool,
    /// Event names; `*` is any.
    pub(crate) events: Vec<String>,
}

impl Hook {
    fn hears(&self, event: &Event) -> bool {
        // A hook of everybody is an App's, and nobody else hears of installations.
        self.org_id.is_none_or(|id| id == event.org_id && event.name != "installation")
            && (event.name == "ping" || self.events.iter().any(|name| name == "*" || name == event.name))
    }
}

/// One delivery on its way.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// `X-GitHub-Event`.
    pub event: &'static str,
    /// `X-GitHub-Delivery`.
    pub guid: Uuid,
    /// The organisation that it is about.
    pub org_id: u64,
    /// The body, unsigned.
    pub body: Bytes,
}

/// How deliveries went so far.
#[derive(Default)]
pub(crate) struct Counts {
    /// Answered with a 2xx in time.
    pub(crate) sent: AtomicU64,
    /// Answered otherwise or not at all; never tried again.
    pub(crate) failed: AtomicU64,
    pub(crate) pending: AtomicU64,
}

/// Every hook with its queue, and the sender behind each.
pub(crate) struct Hooks {
    pub(crate) counts: Arc<Counts>,
    /// Set up by the first hook that is sent to.
    client: OnceLock<reqwest::Client>,
    stop: CancellationToken,
    board: Mutex<Board>,
}

struct Board {
    hooks: Vec<(Hook, mpsc::UnboundedSender<Parcel>)>,
    guids: StdRng,
}

impl Hooks {
    pub(crate) fn new(seed: u64, stop: CancellationToken) -> Self {
        let board = Mutex::new(Board { hooks: Vec::new(), guids: StdRng::seed_from_u64(seed) });
        Self { counts: Arc::default(), client: OnceLock::new(), stop, board }
    }

    /// What sends deliveries: a plain client where this machine cannot set up ours.
    fn client(&self) -> reqwest::Client {
        let build = || {
            reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .redirect(reqwest::redirect::Policy::none())
                .user_agent("GitHub-Hookshot/teamlink")
                .build()
                .unwrap_or_default()
        };
        self.client.get_or_init(build).clone()
    }

    /// Every delivery from here on, handed over instead of sent.
    pub(crate) fn listen(&self) -> mpsc::UnboundedReceiver<Parcel> {
        let (queue, parcels) = mpsc::unbounded_channel();
        let hook = Hook {
            id: 0,
            org_id: None,
            url: String::new(),
            secret: None,
            form: false,
            events: vec!["*".into()],
        };
        self.board().hooks.push((hook, queue));
        parcels
    }

    pub(crate) fn add(&self, hook: Hook) {
        let (queue, parcels) = mpsc::unbounded_channel();
        let sending = send_all(hook.clone(), parcels, self.client(), self.counts.clone());
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(sending).await });
        self.board().hooks.push((hook, queue));
    }

    /// The hooks of an organisation.
    pub(crate) fn of(&self, org_id: u64) -> Vec<Hook> {
        let board = self.board();
        board.hooks.iter().map(|(hook, _)| hook).filter(|hook| hook.org_id == Some(org_id)).cloned().collect()
    }

    /// Removes the matching hooks; what they were already given still goes out.
    pub(crate) fn remove(&self, matching: impl Fn(&Hook) -> bool) -> bool {
        let mut board = self.board();
        let before = board.hooks.len();
        board.hooks.retain(|(hook, _)| !matching(hook));
        board.hooks.len() < before
    }

    /// Queues events, in this order, for every hook that hears them.
    pub(crate) fn publish(&self, events: Vec<Event>) {
        let Board { hooks, guids } = &mut *self.board();
        for event in events {
            // The id is of the event: every hook is told the same one.
            let guid = uuid::Builder::from_random_bytes(guids.random()).into_uuid();
            let body = Bytes::from(event.body.to_string());
            for (_, queue) in hooks.iter().filter(|(hook, _)| hook.hears(&event)) {
                let parcel = Parcel { event: event.name, guid, org_id: event.org_id, body: body.clone() };
                if queue.send(parcel).is_ok() {
                    self.counts.pending.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn board(&self) -> std::sync::MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send_all(
    hook: Hook,
    mut parcels: mpsc::UnboundedReceiver<Parcel>,
    client: reqwest::Client,
    counts: Arc<Counts>,
) {
    while let Some(parcel) = parcels.recv().await {
        let sent = request(&hook, parcel, &client).send().await;
        let outcome =
            if sent.is_ok_and(|answer| answer.status().is_success()) { &counts.sent } else { &counts.failed };
        outcome.fetch_add(1, Ordering::Relaxed);
        counts.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

fn request(hook: &Hook, parcel: Parcel, client: &reqwest::Client) -> reqwest::RequestBuilder {
    let (content_type, body) = if hook.form {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("payload", &String::from_utf8_lossy(&parcel.body));
        ("application/x-www-form-urlencoded", Bytes::from(form.finish()))
    } else {
        ("application/json", parcel.body)
    };
    let mut request = client
        .post(&hook.url)
        .header("Content-Type", content_type)
        .header("X-GitHub-Event", parcel.event)
        .header("X-GitHub-Delivery", parcel.guid.to_string())
        .header("X-GitHub-Hook-ID", hook.id)
        .header("X-GitHub-Hook-Installation-Target-Type", "organization")
        .header("X-GitHub-Hook-Installation-Target-ID", parcel.org_id);
    if let Some(secret) = &hook.secret {
        request = request.header("X-Hub-Signature-256", signature(secret, &body));
    }
    request.body(body)
}

/// GitHub signs the body as it goes over the wire.
pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    // A MAC over SHA-256 takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_githubs_documentation_shows() {
        assert_eq!(
            signature("It's a Secret to Everybody", b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }
}
