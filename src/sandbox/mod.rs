//! A stateful GitHub and Datadog on one local port, speaking the real HTTP contracts as they are documented and as
//! they were recorded. It imports nothing of teamlink: it is the judge.
//!
//! ```text
//! listener (cuttable) → pipeline: body · fault · credentials → route → spoil · finish · journal · delay
//!                                              github/  datadog/   over  table (keeps the past)
//!                                              └─ write → hooks (signed, in order)
//! ```
//!
//! Everything that is random follows from one seed: ids, list order, faults, delivery GUIDs. Times are the wall
//! clock's. Both worlds remember two minutes of their past (`stale_ms`), the journal the last 200,000 requests.

mod clock;
mod control;
mod datadog;
mod faults;
mod github;
mod hooks;
mod journal;
mod listener;
mod pipeline;
mod rate;
mod seed;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How a sandbox starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// An organisation to begin with; without one both worlds are empty.
    pub org: Option<String>,
    /// Teams of that organisation, each with a Datadog team whose handle is its slug.
    pub teams: usize,
    /// Repositories of that organisation.
    pub repos: usize,
    /// A webhook that hears of every organisation.
    pub webhook_url: Option<String>,
    /// Signs that webhook's deliveries; unsigned without.
    pub webhook_secret: Option<String>,
    /// Holds every answer back.
    pub latency: Duration,
    /// What everything random follows from.
    pub seed: u64,
}

impl Default for Options {
    /// Empty worlds on a free local port.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            org: None,
            teams: 0,
            repos: 0,
            webhook_url: None,
            webhook_secret: None,
            latency: Duration::ZERO,
            seed: 0,
        }
    }
}

/// A running sandbox; it ends when dropped.
pub struct Sandbox {
    addr: SocketAddr,
    stop: DropGuard,
    server: JoinHandle<io::Result<()>>,
}

/// What all routes share.
struct Shared {
    url: String,
    latency: Duration,
    clock: clock::Clock,
    github: RwLock<github::World>,
    datadog: RwLock<datadog::World>,
    hooks: hooks::Hooks,
    faults: Mutex<faults::Faults>,
    journal: Mutex<journal::Journal>,
    github_rate: rate::Rate,
    datadog_rate: rate::Rate,
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, faults::Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self) -> MutexGuard<'_, journal::Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a sandbox. Fails if it cannot listen, or if what it is to begin with is impossible.
pub async fn start(options: Options) -> io::Result<Sandbox> {
    let listener = TcpListener::bind(options.listen).await?;
    let addr = listener.local_addr()?;
    let stop = CancellationToken::new();
    let shared = Arc::new(Shared {
        url: format!("http://{addr}"),
        latency: options.latency,
        clock: clock::Clock::start(),
        github: RwLock::new(github::World::new()),
        datadog: RwLock::new(datadog::World::new(options.seed)),
        hooks: hooks::Hooks::new(options.seed, stop.clone()).map_err(io::Error::other)?,
        faults: Mutex::new(faults::Faults::new(options.seed)),
        journal: Mutex::default(),
        github_rate: rate::Rate::default(),
        datadog_rate: rate::Rate::default(),
    });
    seed::sow(&shared, seed::Seed::of(&options)).map_err(io::Error::other)?;
    if let Some(url) = options.webhook_url {
        shared.hooks.add(hooks::Hook {
            id: 1,
            org_id: None,
            url,
            secret: options.webhook_secret,
            form: false,
            events: vec!["*".to_owned()],
        });
    }
    let app = router(shared).into_make_service_with_connect_info::<listener::Scissors>();
    let serving = axum::serve(listener::CuttableListener(listener), app);
    let server = tokio::spawn(serving.with_graceful_shutdown(stop.clone().cancelled_owned()).into_future());
    Ok(Sandbox { addr, stop: stop.drop_guard(), server })
}

fn router(shared: Arc<Shared>) -> Router {
    github::routes()
        .merge(datadog::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_route)
        .layer(axum::middleware::from_fn_with_state(shared.clone(), pipeline::around))
        .merge(control::routes())
        .with_state(shared)
}

/// Both APIs answer a path that they do not have with 404, whatever the method.
async fn no_route(call: pipeline::Context) -> axum::response::Response {
    if call.path.starts_with("/api/") {
        return datadog::Refusal::not_found("Not found".to_owned()).into_response();
    }
    if call.path.starts_with("/_sandbox") {
        return (StatusCode::NOT_FOUND, "no such control route; see the sandbox's documentation\n")
            .into_response();
    }
    github::Refusal::NotFound.into_response()
}

impl Sandbox {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL of both services.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ends it: answers what is being asked, takes no more, sends no more webhooks.
    pub async fn stop(self) -> io::Result<()> {
        drop(self.stop);
        self.server.await?
    }
}
