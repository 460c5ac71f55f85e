//! The one way out: a `reqwest` client with our TLS, proxies, CA file, timeouts and `User-Agent`, used for
//! Datadog and, as the service under octocrab, for GitHub, so that the network settings hold for both
//! (octocrab's own client ignores `HTTPS_PROXY`).
//!
//! It is a room of its own because `upstream` is pure. It knows nothing of either API: it carries one request,
//! reads the answer to its end, and counts it. It never follows redirects, so that no credential reaches
//! another host and no write is turned into a read. `retry` is for one-shot commands; the worker schedules its
//! retries in the ledger.

mod pages;
mod retry;

use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::{Certificate, Client, Request, redirect};

pub use pages::{Page, pages};
pub use retry::{retry, retry_answer};

use crate::{
    model::{Class, Trouble},
    telemetry::upstreams,
    upstream::Reply,
};

/// How long a TCP and TLS connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// No answer is read beyond this: a page of 100 items is some hundred kilobytes.
const LARGEST_BODY: usize = 32 << 20;

/// A client that trusts the system's certificate authorities and those of `extra_ca` (PEM, any number of
/// certificates), and takes its proxies from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
///
/// # Errors
/// When `extra_ca` holds no certificate, or TLS cannot be set up.
pub fn client(extra_ca: Option<&[u8]>) -> anyhow::Result<Client> {
    let mut builder = Client::builder()
        .user_agent(concat!("teamlink/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::none());
    if let Some(pem) = extra_ca {
        let certificates =
            Certificate::from_pem_bundle(pem).context("failed to read the extra certificate authorities")?;
        anyhow::ensure!(
            !certificates.is_empty(),
            "the file of extra certificate authorities holds no PEM certificate; give one that begins with `-----BEGIN CERTIFICATE-----`"
        );
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().context("failed to set up the HTTPS client")
}

/// What a request is, for logs, metrics and error texts.
#[derive(Clone, Copy, Debug)]
pub struct What<'a> {
    /// `github` or `datadog`.
    pub upstream: &'static str,
    /// The operation's name in metrics.
    pub operation: &'static str,
    /// Finishes the sentence "failed to …".
    pub attempt: &'a str,
    /// It changes something, so that losing the answer is ambiguous.
    pub write: bool,
}

/// Sends the request once and reads the whole answer, whatever its status, within `timeout`.
///
/// # Errors
/// Transient when there was no answer, or not all of it. It is ambiguous for a write that may have arrived;
/// a connection that never stood cannot have carried it.
pub async fn send(
    client: &Client,
    mut request: Request,
    timeout: Duration,
    what: What<'_>,
) -> Result<Reply, Trouble> {
    *request.timeout_mut() = Some(timeout);
    let started = Instant::now();
    let outcome = exchange(client, request).await;
    let status = match &outcome {
        Ok(reply) => reply.status.as_str(),
        Err(Lost::Error(error)) if error.is_connect() => "unreachable",
        Err(Lost::Error(error)) if error.is_timeout() => "timeout",
        Err(Lost::Error(_)) => "lost",
        Err(Lost::TooLong) => "too_long",
    };
    upstreams::request(what.upstream, what.operation, status, started.elapsed());
    outcome.map_err(|lost| lost.trouble(what, timeout))
}

/// Why there is no whole answer.
enum Lost {
    Error(reqwest::Error),
    TooLong,
}

impl Lost {
    fn trouble(self, what: What<'_>, timeout: Duration) -> Trouble {
        let What { attempt, write, .. } = what;
        match self {
            Self::Error(error) => {
                let unsent = error.is_connect() || error.is_builder();
                let late = error.is_timeout() && !unsent;
                // Without the URL: a proxy's or base URL's password has no place in a log.
                let why = format!("{:#}", anyhow::Error::from(error.without_url()));
                let message = if late {
                    format!("failed to {attempt}: no answer within {}", humantime::format_duration(timeout))
                } else {
                    format!("failed to {attempt}: {why}")
                };
                Trouble { ambiguous: write && !unsent, ..Trouble::new(Class::Transient, message) }
            }
            Self::TooLong => Trouble {
                ambiguous: write,
                ..Trouble::new(
                    Class::Invalid,
                    format!("failed to {attempt}: the answer is longer than {LARGEST_BODY} bytes"),
                )
            },
        }
    }
}

async fn exchange(client: &Client, request: Request) -> Result<Reply, Lost> {
    let mut response = client.execute(request).await.map_err(Lost::Error)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Lost::Error)? {
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(Lost::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body: body.into(),
    })
}
