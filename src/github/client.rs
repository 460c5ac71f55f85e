//! One signed, conditional GET, and the service that lets octocrab send through our transport.

use std::{sync::Arc, task, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use reqwest::Url;
use tokio::sync::Semaphore;
use tower::Service;

use super::{Options, cache::Cache};
use crate::{
    clock::Clock,
    model::{Class, Trouble},
    telemetry::upstreams,
    transport::{self, What},
    upstream::{self, Reply},
};

/// Answers kept for conditional reads: a whole organisation of 20,000 teams read one by one.
const CACHED_ANSWERS: usize = 20_000;

/// What a request is for, handed through octocrab as an extension of the request.
#[derive(Clone)]
struct Purpose {
    operation: &'static str,
    attempt: Arc<str>,
}

/// Sends signed, conditional GETs, a bounded number at once.
#[derive(Clone)]
pub(super) struct Client {
    crab: Octocrab,
    cache: Arc<Cache>,
    permits: Arc<Semaphore>,
    clock: Clock,
}

impl Client {
    /// Must be called within a tokio runtime: octocrab spawns a task.
    pub(super) fn new(options: Options) -> anyhow::Result<Self> {
        let Options { base_url, token, http, concurrency, timeout, clock } = options;
        anyhow::ensure!(
            HeaderValue::from_str(secrecy::ExposeSecret::expose_secret(&token)).is_ok(),
            "the GitHub token holds characters that no HTTP header can carry; check for line breaks around it"
        );
        let Ok(crab) = OctocrabBuilder::new_empty()
            .with_service(Carrier { http, base_url, timeout })
            .with_auth(AuthState::AccessToken { token })
            .build();
        Ok(Self {
            crab,
            cache: Arc::new(Cache::new(CACHED_ANSWERS)),
            permits: Arc::new(Semaphore::new(concurrency.max(1))),
            clock,
        })
    }

    /// Reads `uri` (path and query) once. When GitHub answers that nothing changed since the last read, that is
    /// what the last read said.
    pub(super) async fn get<T: Clone + Send + Sync + 'static>(
        &self,
        operation: &'static str,
        attempt: &str,
        uri: &str,
        decode: impl Fn(&Reply) -> serde_json::Result<T>,
    ) -> Result<T, Trouble> {
        let known = self.cache.get::<T>(uri);
        let mut request = Request::get(uri)
            .header(header::ACCEPT, "application/vnd.github+json")
            .extension(Purpose { operation, attempt: attempt.into() });
        if let Some((etag, _)) = &known {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let reply = self.exchange(attempt, request).await?;
        match (reply.status.as_u16(), known) {
            (200, _) => {
                let value = decode(&reply).map_err(|error| upstream::invalid(attempt, &reply, &error))?;
                if let Some(etag) = reply.headers.get(header::ETAG) {
                    self.cache.put(uri, etag.clone(), &value);
                }
                Ok(value)
            }
            (304, Some((_, value))) => Ok(value),
            _ => Err(upstream::github(attempt, &reply, self.clock.now())),
        }
    }

    async fn exchange(&self, attempt: &str, request: http::request::Builder) -> Result<Reply, Trouble> {
        let _permit = self.permits.acquire().await;
        let request =
            self.crab.build_request(request, None::<&()>).map_err(|error| unsent(attempt, error))?;
        let response = self.crab.execute(request).await.map_err(|error| unsent(attempt, error))?;
        let (parts, body) = response.into_parts();
        // The carrier read the whole body; this only takes it out again.
        let body = body.collect().await.map_err(|error| unsent(attempt, error))?.to_bytes();
        let reply = Reply { status: parts.status, headers: parts.headers, body };
        if let Some(left) = reply.number("x-ratelimit-remaining") {
            let bucket = reply.headers.get("x-ratelimit-resource").and_then(|name| name.to_str().ok());
            upstreams::remaining("github", bucket.unwrap_or("core"), left);
        }
        Ok(reply)
    }
}

/// The carrier's own trouble when octocrab only passed it on.
fn unsent(attempt: &str, error: octocrab::Error) -> Trouble {
    if let octocrab::Error::Service { source, .. } = &error
        && let Some(trouble) = source.downcast_ref::<Trouble>()
    {
        return trouble.clone();
    }
    Trouble::new(Class::Transient, format!("failed to {attempt}: {error}"))
}

/// Carries octocrab's requests: adds the base URL, sends, reads the body.
#[derive(Clone)]
struct Carrier {
    http: transport::Client,
    base_url: Url,
    timeout: Duration,
}

impl Service<Request<OctoBody>> for Carrier {
    type Response = Response<Full<Bytes>>;
    type Error = Trouble;
    type Future = BoxFuture<'static, Result<Self::Response, Trouble>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Trouble>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<OctoBody>) -> Self::Future {
        let Self { http, base_url, timeout } = self.clone();
        Box::pin(async move {
            let (parts, _) = request.into_parts();
            let purpose = parts.extensions.get::<Purpose>();
            let attempt = purpose.map_or("talk to GitHub", |purpose| &*purpose.attempt);
            let what = What {
                upstream: "github",
                operation: purpose.map_or("other", |purpose| purpose.operation),
                attempt,
                write: false,
            };
            let url = format!("{}{}", base_url.as_str().trim_end_matches('/'), parts.uri);
            let url = Url::parse(&url)
                .map_err(|error| Trouble::new(Class::Permanent, format!("failed to {attempt}: {error}")))?;
            let mut outgoing = reqwest::Request::new(parts.method, url);
            *outgoing.headers_mut() = parts.headers;
            let reply = transport::send(&http, outgoing, timeout, what).await?;
            let mut response = Response::new(Full::new(reply.body));
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            Ok(response)
        })
    }
}
