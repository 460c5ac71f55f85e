//! The way from GitHub to teamlink, for webhooks: passes deliveries on as they come, or holds them back and then
//! delivers all of them twice, in any order. It changes nothing in them, so that signatures and ids stay GitHub's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, ensure};
use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tokio::{net::TcpListener, task::AbortHandle};

/// Headers of a delivery that count; the others are of the connection.
const CARRIED: [&str; 4] = ["content-type", "x-github-event", "x-github-delivery", "x-hub-signature-256"];

/// A post office on a port of its own. It closes when dropped.
pub(super) struct Post {
    /// Where GitHub is to deliver.
    pub(super) url: String,
    office: Arc<Office>,
    server: AbortHandle,
}

struct Office {
    http: reqwest::Client,
    state: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    /// Where to; nobody takes deliveries before it is known.
    to: Option<String>,
    /// Deliveries that are held back, while they are.
    held: Option<Vec<Delivery>>,
}

#[derive(Clone)]
struct Delivery {
    headers: HeaderMap,
    body: Bytes,
}

impl Post {
    /// Opens it on a free local port.
    pub(super) async fn open(http: reqwest::Client) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen for webhooks")?;
        let url = format!("http://{}/", listener.local_addr()?);
        let office = Arc::new(Office { http, state: Mutex::default() });
        let router = Router::new().route("/", post(take)).with_state(office.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Ok(Self { url, office, server })
    }

    /// Deliver there from now on.
    pub(super) fn deliver_to(&self, url: String) {
        self.office.desk().to = Some(url);
    }

    /// Hold deliveries back from now on.
    pub(super) fn hold(&self) {
        self.office.desk().held = Some(Vec::new());
    }

    /// Deliver what was held back, all of it twice, in an order that follows from `seed`; pass on what comes
    /// from now on. Answers how many deliveries there were to begin with.
    pub(super) async fn release_shuffled_and_twice(&self, seed: u64) -> anyhow::Result<usize> {
        let held = self.office.desk().held.take().unwrap_or_default();
        let mut twice = [held.as_slice(), held.as_slice()].concat();
        twice.shuffle(&mut StdRng::seed_from_u64(seed));
        for delivery in twice {
            let status = self.office.deliver(delivery).await;
            ensure!(status.is_success(), "teamlink answered a repeated delivery with {status}");
        }
        Ok(held.len())
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Office {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn deliver(&self, Delivery { headers, body }: Delivery) -> StatusCode {
        let Some(to) = self.desk().to.clone() else { return StatusCode::SERVICE_UNAVAILABLE };
        let sent = self.http.post(to).headers(headers).body(body).send().await;
        sent.map_or(StatusCode::BAD_GATEWAY, |answer| answer.status())
    }
}

async fn take(State(office): State<Arc<Office>>, mut headers: HeaderMap, body: Bytes) -> StatusCode {
    let carried = CARRIED.into_iter().filter_map(|name| headers.remove(name).map(|value| (name, value)));
    let headers = carried.map(|(name, value)| (http::HeaderName::from_static(name), value)).collect();
    let delivery = Delivery { headers, body };
    if let Some(held) = &mut office.desk().held {
        held.push(delivery);
        return StatusCode::ACCEPTED;
    }
    office.deliver(delivery).await
}
