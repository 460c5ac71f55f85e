//! A stateful GitHub and Datadog on one local port, speaking the real HTTP contracts as they are documented and as
//! they were recorded. It imports nothing of teamlink: it is the judge.
//!
//! ```text
//! listener (cuttable) → pipeline: body · fault · limit · credentials → route → spoil · finish · journal · delay
//!                                              github/  datadog/   over  table (keeps the past)
//!                                              └─ write → hooks (signed, in order)
//! ```
//!
//! Everything that is random follows from one seed: ids, list order, faults, delivery GUIDs. Times are the wall
//! clock's. Both worlds remember two minutes of their past (`stale_ms`), the journal the last 200,000 requests.

mod call;
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
mod remote;
mod seed;
mod shared;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::{ServiceExt as _, util::BoxCloneSyncService};

use shared::Shared;

pub use hooks::Parcel as Webhook;
pub use remote::Remote;

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
    /// The number of the Datadog organisation.
    pub datadog_org: u64,
    /// What everything random follows from.
    pub seed: u64,
    /// By how many seconds its clock is ahead of this machine's.
    pub clock_ahead_s: i64,
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
            datadog_org: datadog::ORG_ID,
            seed: 0,
            clock_ahead_s: 0,
        }
    }
}

/// A running sandbox; it ends when dropped.
pub struct Sandbox {
    addr: SocketAddr,
    stop: DropGuard,
    server: JoinHandle<io::Result<()>>,
}

/// Starts a sandbox. Fails if it cannot listen, or if what it is to begin with is impossible.
pub async fn start(options: Options) -> io::Result<Sandbox> {
    let listener = TcpListener::bind(options.listen).await?;
    let addr = listener.local_addr()?;
    let stop = CancellationToken::new();
    let shared =
        worlds(&options, format!("http://{addr}"), clock::Clock::start(options.clock_ahead_s), &stop)?;
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

/// Both worlds without a socket.
pub struct InProcess {
    /// Answers as the listener would. An error is a connection that was cut before the answer.
    pub service: BoxCloneSyncService<Request<Bytes>, Response<Bytes>, io::Error>,
    /// The webhooks, in the order in which GitHub would send them.
    pub webhooks: mpsc::UnboundedReceiver<Webhook>,
}

/// Sets up a sandbox in this process, whose time (microseconds since 1970) is what `now` says. Of the options it
/// leaves `listen` and the webhook alone. Fails if what it is to begin with is impossible.
pub fn in_process(options: &Options, now: impl Fn() -> u64 + Send + Sync + 'static) -> io::Result<InProcess> {
    let url = "http://sandbox".to_owned();
    let shared = worlds(options, url, clock::Clock::told(now), &CancellationToken::new())?;
    let webhooks = shared.hooks.listen();
    let router = router(shared);
    let service = tower::service_fn(move |request: Request<Bytes>| {
        let router = router.clone();
        async move {
            let scissors = listener::Scissors::default();
            let mut request = request.map(Body::from);
            request.extensions_mut().insert(ConnectInfo(scissors.clone()));
            let Ok(response) = router.oneshot(request).await;
            if scissors.is_cut() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let (parts, body) = response.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
            Ok(Response::from_parts(parts, body))
        }
    });
    Ok(InProcess { service: BoxCloneSyncService::new(service), webhooks })
}

fn worlds(
    options: &Options,
    url: String,
    clock: clock::Clock,
    stop: &CancellationToken,
) -> io::Result<Arc<Shared>> {
    let shared = Arc::new(Shared {
        url,
        latency: options.latency,
        clock,
        github: RwLock::new(github::World::new()),
        datadog: RwLock::new(datadog::World::new(options.datadog_org, options.seed)),
        hooks: hooks::Hooks::new(options.seed, stop.clone()),
        faults: Mutex::new(faults::Faults::new(options.seed)),
        journal: Mutex::default(),
        github_rate: rate::Rate::promising(1_000_000, 3600),
        datadog_rate: rate::Rate::promising(1_000_000, 60),
    });
    seed::sow(&shared, seed::Seed::of(options)).map_err(io::Error::other)?;
    Ok(shared)
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
async fn no_route(call: call::Context) -> axum::response::Response {
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
