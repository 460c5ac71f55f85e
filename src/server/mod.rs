//! The HTTP listener: accepts connections, serves a router on them, and bounds what they cost. A sender that holds connections
//! open keeps nobody out: when there are too many, the listener closes the connection with the oldest half-sent request, then
//! the oldest idle one. It must not know the routes.
//!
//! hyper's own limit on the time of a request's head also ends connections that are idle between two requests, which load
//! balancers keep for minutes. That is why each connection is watched here.

mod connection;
mod table;

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::table::Table;
use crate::telemetry::doors;

/// The most connections, where the process may open enough files.
const MOST: u64 = 4096;

/// Files that are kept for the ledger, the broker and the upstreams.
const OTHER_FILES: u64 = 256;

/// How long accepting rests after it failed, for example because the machine has no file left.
const REST: Duration = Duration::from_millis(100);

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most connections at a time.
    pub connections: usize,
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// Between two requests. Load balancers keep connections open for minutes, and must be the first to close them.
    pub idle: Duration,
    /// From the end of a request's head to the answer.
    pub request: Duration,
}

impl Limits {
    /// The limits of this process.
    pub fn of_process() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(MOST + OTHER_FILES);
        let connections = files.saturating_sub(OTHER_FILES).clamp(16, MOST);
        Self {
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            head: Duration::from_secs(5),
            idle: Duration::from_secs(620),
            request: Duration::from_secs(30),
        }
    }
}

/// Serves until `stop` is cancelled. It finishes the requests that are being answered then, and closes everything else.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let table = Arc::new(Table::new(limits.connections));
    let mut connections = JoinSet::new();
    while let Some(stream) = accept(&listener, &stop).await {
        while connections.try_join_next().is_some() {}
        // One is accepted beyond the limit: only whoever waits for a place closes that of another.
        let Some(place) = stop.run_until_cancelled(table.place()).await else { break };
        connections.spawn(connection::serve(stream, router.clone(), limits, place, stop.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Accepts the next connection; `None` once it is told to stop.
async fn accept(listener: &TcpListener, stop: &CancellationToken) -> Option<TcpStream> {
    loop {
        match stop.run_until_cancelled(listener.accept()).await? {
            Ok((stream, _)) => return Some(stream),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                doors::not_accepted(&error);
                stop.run_until_cancelled(tokio::time::sleep(REST)).await?;
            }
        }
    }
}

/// Whether only the connection failed that was to be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
