//! The one way out: a `reqwest` client with our TLS, proxies, CA file, timeouts and `User-Agent`, used for
//! Datadog and, as the service under octocrab, for GitHub, so that the network settings hold for both
//! (octocrab's own client ignores `HTTPS_PROXY`).
//!
//! It is a room of its own because `upstream` is pure. It knows nothing of either API: it carries one request,
//! reads the answer to its end, and counts it, unless the [`Gate`] knows that it would fail. It never follows redirects, so that no credential reaches
//! another host and no write is turned into a read. `retry` is for one-shot commands; the worker schedules its
//! retries in the ledger.

mod gate;
mod pages;
mod permits;
mod retry;
mod shelf;

use std::{
    io,
    sync::LazyLock,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use reqwest::{Certificate, Method, Request, RequestBuilder, Url, redirect};
use tower::{ServiceExt as _, util::BoxCloneSyncService};

pub use gate::Gate;
pub use pages::{Asked, List, Page, pages};
pub use permits::{Permit, Permits};
pub use retry::{retry, retry_answer};
pub use shelf::{Kept, Shelf};

use url::Host;

use crate::{
    clock::Clock,
    model::{Class, Trouble},
    telemetry::upstreams,
    upstream::{Question, Reply},
};

/// How long a TCP and TLS connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest page of both upstreams.
const PAGE: usize = 100;

/// No answer is read beyond this: a page of 100 items is some hundred kilobytes.
const LARGEST_BODY: usize = 32 << 20;

/// Carries requests: over the network, or, in a simulation, straight to a service in this process. Clones share
/// what they know of the upstream.
#[derive(Clone, Debug)]
pub struct Client {
    wire: reqwest::Client,
    direct: Option<Direct>,
    gate: Gate,
    page: usize,
    shelf: Shelf,
}

/// Answers requests within this process. An error is a connection that broke before the answer.
pub type Direct = BoxCloneSyncService<http::Request<Bytes>, http::Response<Bytes>, io::Error>;

impl Client {
    /// A client that opens no connection: `direct` answers whatever is asked.
    pub fn direct(direct: Direct, clock: Clock) -> Self {
        // It only forms requests. Setting one up reads every certificate authority of the system: once is enough.
        static FORMS: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);
        Self {
            wire: FORMS.clone(),
            direct: Some(direct),
            gate: Gate::new(clock.clone()),
            shelf: Shelf::new(clock),
            page: PAGE,
        }
    }

    /// Returns the same client, which asks for pages of this many items, so that the short lists of a simulation have
    /// several pages too.
    #[must_use]
    pub fn paging(self, page: usize) -> Self {
        Self { page, ..self }
    }

    /// Returns how many items a full page has.
    pub fn page(&self) -> usize {
        self.page
    }

    /// What is known of the upstream.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The pages of lists that a rate limit interrupted.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// A request in the making.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.wire.request(method, url)
    }
}

/// A client that trusts the system's certificate authorities and those of `extra_ca` (PEM, any number of
/// certificates), and takes its proxies from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, unless what it is for,
/// `base_url`, is on this machine: no proxy can reach that, and the sandbox must work behind any.
///
/// # Errors
/// When `extra_ca` holds no certificate, or TLS cannot be set up.
pub fn client(base_url: &Url, extra_ca: Option<&[u8]>) -> anyhow::Result<Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("teamlink/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::none());
    if on_this_machine(base_url) {
        builder = builder.no_proxy();
    }
    if let Some(pem) = extra_ca {
        let certificates =
            Certificate::from_pem_bundle(pem).context("failed to read the extra certificate authorities")?;
        anyhow::ensure!(
            !certificates.is_empty(),
            "the file of extra certificate authorities holds no PEM certificate; give one that begins with `-----BEGIN CERTIFICATE-----`"
        );
        builder = builder.tls_certs_merge(certificates);
    }
    let wire = builder.build().context("failed to set up the HTTPS client")?;
    Ok(Client { wire, direct: None, gate: Gate::default(), shelf: Shelf::default(), page: PAGE })
}

fn on_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Sends the request once and reads the whole answer, whatever its status, within `timeout`.
///
/// # Errors
/// Transient when there was no answer, or not all of it. It is ambiguous for a write that may have arrived;
/// a connection that never stood cannot have carried it. Nothing is sent while the gate is closed: see
/// [`Gate`].
pub async fn send(
    client: &Client,
    mut request: Request,
    timeout: Duration,
    question: &Question<'_>,
) -> Result<Reply, Trouble> {
    let pass = client.gate.admit(question)?;
    *request.timeout_mut() = Some(timeout);
    let started = Instant::now();
    let outcome = match &client.direct {
        None => exchange(&client.wire, request).await,
        Some(direct) => within(direct.clone(), request, timeout).await,
    };
    let status = match &outcome {
        Ok(reply) => reply.status.as_str(),
        Err(Lost::Error(error)) if error.is_connect() => "unreachable",
        Err(Lost::Error(error)) if error.is_timeout() => "timeout",
        Err(Lost::Error(_)) => "lost",
        Err(Lost::Late) => "timeout",
        Err(Lost::Cut(_)) => "lost",
        Err(Lost::TooLong) => "too_long",
    };
    upstreams::request(question.scope.upstream.as_str(), question.operation, status, started.elapsed());
    let outcome = outcome.map_err(|lost| lost.trouble(question, timeout));
    pass.heard(question, outcome.as_ref());
    outcome
}

/// Why there is no whole answer.
enum Lost {
    Error(reqwest::Error),
    Late,
    Cut(io::Error),
    TooLong,
}

impl Lost {
    fn trouble(self, question: &Question<'_>, timeout: Duration) -> Trouble {
        let (attempt, write) = (question.attempt, question.writes());
        let trouble = match self {
            Self::Error(error) => {
                let unsent = error.is_connect() || error.is_builder();
                let late = error.is_timeout() && !unsent;
                // Without the URL: a proxy's or base URL's password has no place in a log.
                let why = format!("{:#}", anyhow::Error::from(error.without_url()));
                let message = if late {
                    format!("failed to {attempt}: {}", late_answer(timeout))
                } else if unsent {
                    format!(
                        "failed to {attempt}: {why}; check the base URL, the proxy settings and network.ca_file"
                    )
                } else {
                    format!("failed to {attempt}: {why}")
                };
                Trouble { ambiguous: write && !unsent, ..Trouble::new(Class::Transient, message) }
            }
            Self::Late => Trouble {
                ambiguous: write,
                ..Trouble::new(Class::Transient, format!("failed to {attempt}: {}", late_answer(timeout)))
            },
            Self::Cut(error) => Trouble {
                ambiguous: write,
                ..Trouble::new(Class::Transient, format!("failed to {attempt}: {error}"))
            },
            Self::TooLong => Trouble {
                ambiguous: write,
                ..Trouble::new(
                    Class::Invalid,
                    format!("failed to {attempt}: the answer is longer than {LARGEST_BODY} bytes"),
                )
            },
        };
        let scope = (trouble.class == Class::Transient).then(|| question.scope.outage().to_string());
        Trouble { scope, ..trouble }
    }
}

fn late_answer(timeout: Duration) -> String {
    format!("no answer within {:.1} s", timeout.as_secs_f32())
}

/// The same exchange without a network.
async fn within(direct: Direct, request: Request, timeout: Duration) -> Result<Reply, Lost> {
    let mut parts = http::Request::new(Bytes::new());
    *parts.method_mut() = request.method().clone();
    *parts.uri_mut() = request.url().as_str().parse().map_err(|error| Lost::Cut(io::Error::other(error)))?;
    *parts.headers_mut() = request.headers().clone();
    let body = request.body().and_then(reqwest::Body::as_bytes);
    *parts.body_mut() = Bytes::copy_from_slice(body.unwrap_or_default());
    let answer = tokio::time::timeout(timeout, direct.oneshot(parts)).await;
    let (parts, body) = answer.map_err(|_| Lost::Late)?.map_err(Lost::Cut)?.into_parts();
    Ok(Reply { status: parts.status, headers: parts.headers, body })
}

async fn exchange(client: &reqwest::Client, request: Request) -> Result<Reply, Lost> {
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

#[cfg(test)]
mod tests {
    use reqwest::{Method, Url};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::upstream::{Access, Capability, Scope, Urgency};

    const WRITE: Question<'static> = Question {
        scope: &Scope::datadog(Capability::Connections, Access::Write),
        operation: "write",
        attempt: "write something",
        needs: "",
        collection: false,
        renewable: false,
        account: 0,
        urgency: Urgency::Event,
    };

    /// Takes one request, answers with these bytes, then does as `end` says.
    async fn server(answer: &'static [u8], end: impl Future<Output = ()> + Send + 'static) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
            end.await;
        });
        Url::parse(&format!("http://{address}/")).unwrap()
    }

    async fn write_to(url: Url, question: Question<'_>) -> Result<Reply, Trouble> {
        let client = client(&url, None).unwrap();
        send(&client, Request::new(Method::POST, url), Duration::from_millis(300), &question).await
    }

    #[tokio::test]
    async fn a_write_that_could_not_be_sent_is_not_ambiguous() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let trouble = write_to(Url::parse(&format!("http://{free}/")).unwrap(), WRITE).await.unwrap_err();
        assert_eq!((trouble.class, trouble.ambiguous), (Class::Transient, false), "{trouble}");
        assert!(trouble.message.contains("Connection refused"), "{trouble}");
    }

    #[tokio::test]
    async fn a_lost_answer_is_ambiguous_for_a_write_only() {
        for answer in ["", "HTTP/1.1 201 Created\r\ncontent-length: 10\r\n\r\nhalf"] {
            let trouble = write_to(server(answer.as_bytes(), async {}).await, WRITE).await.unwrap_err();
            assert_eq!((trouble.class, trouble.ambiguous), (Class::Transient, true), "{trouble}");
            let scope = Scope::datadog(Capability::Connections, Access::Read);
            let read = Question { scope: &scope, ..WRITE };
            assert!(!write_to(server(answer.as_bytes(), async {}).await, read).await.unwrap_err().ambiguous);
        }
    }

    #[tokio::test]
    async fn a_late_answer_is_ambiguous() {
        let silent = server(b"", std::future::pending()).await;
        let trouble = write_to(silent, WRITE).await.unwrap_err();
        assert!(trouble.ambiguous);
        insta::assert_snapshot!(trouble, @"failed to write something: no answer within 0.3 s");
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let moved = server(
            b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            async {},
        );
        assert_eq!(write_to(moved.await, WRITE).await.unwrap().status, 307);
    }

    #[test]
    fn only_upstreams_on_this_machine_are_asked_without_a_proxy() {
        let here = |url: &str| on_this_machine(&url.parse().unwrap());
        assert!(["http://127.0.0.1:9090", "http://[::1]:1", "http://localhost/"].into_iter().all(here));
        assert!(
            !["http://10.0.0.1", "https://api.github.com", "http://localhost.example"].into_iter().any(here)
        );
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let error = client(&"https://api.github.com".parse().unwrap(), Some(b"no certificate")).unwrap_err();
        assert!(error.to_string().contains("holds no PEM certificate"), "{error:#}");
    }
}
