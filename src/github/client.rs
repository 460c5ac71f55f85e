//! One signed, conditional GET, and the service that lets octocrab send through our transport.

use std::{sync::Arc, task, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use reqwest::Url;
use tokio::sync::Semaphore;
use tower::Service;

use super::{
    Auth, Options,
    app::{App, Of},
    cache::Cache,
};
use crate::{
    clock::Clock,
    model::{Class, Trouble},
    telemetry::upstreams,
    transport::{self, What},
    upstream::{self, Reply},
};

/// Answers kept for conditional reads: a whole organisation of 20,000 teams read one by one.
const CACHED_ANSWERS: usize = 20_000;

/// Sends signed, conditional GETs, a bounded number at once.
#[derive(Clone)]
pub(super) struct Client {
    line: Line,
    credential: Credential,
    cache: Arc<Cache>,
}

#[derive(Clone)]
enum Credential {
    Token(Octocrab),
    App(Arc<App>),
}

impl Client {
    /// Must be called within a tokio runtime: octocrab spawns a task.
    pub(super) fn new(options: Options) -> anyhow::Result<Self> {
        let Options { base_url, auth, http, concurrency, timeout, clock } = options;
        let carrier = Carrier { http, base_url, timeout };
        let line = Line { carrier, permits: Arc::new(Semaphore::new(concurrency.max(1))), clock };
        let credential = match auth {
            Auth::Token(token) => {
                anyhow::ensure!(
                    HeaderValue::from_str(secrecy::ExposeSecret::expose_secret(&token)).is_ok(),
                    "the GitHub token holds characters that no HTTP header can carry; check for line breaks around it"
                );
                Credential::Token(line.signed_by(AuthState::AccessToken { token }))
            }
            Auth::App { id, private_key } => {
                Credential::App(Arc::new(App::new(id, &private_key, line.clone())?))
            }
        };
        Ok(Self { line, credential, cache: Arc::new(Cache::new(CACHED_ANSWERS)) })
    }

    /// The App that signs, if one does.
    pub(super) fn app(&self) -> Option<&App> {
        match &self.credential {
            Credential::Token(_) => None,
            Credential::App(app) => Some(app),
        }
    }

    /// Reads `uri` (path and query) once, as `of` needs it signed. When GitHub answers that nothing changed since the
    /// last read, that is what the last read said.
    pub(super) async fn get<T: Clone + Send + Sync + 'static>(
        &self,
        of: Of<'_>,
        operation: &'static str,
        attempt: &str,
        uri: &str,
        decode: impl Fn(&Reply) -> serde_json::Result<T>,
    ) -> Result<T, Trouble> {
        let known = self.cache.get::<T>(uri);
        let request = || {
            let request = Request::get(uri);
            match &known {
                Some((etag, _)) => request.header(header::IF_NONE_MATCH, etag),
                None => request,
            }
        };
        let purpose = Purpose { operation, attempt: attempt.into() };
        let reply = match &self.credential {
            Credential::Token(crab) => self.line.exchange(crab, purpose, request()).await?,
            Credential::App(app) => {
                let signer = app.signer(of, attempt, None).await?;
                let reply = self.line.exchange(&signer, purpose.clone(), request()).await?;
                if reply.status == StatusCode::UNAUTHORIZED {
                    // A token may end before its time.
                    let signer = app.signer(of, attempt, Some(&signer)).await?;
                    self.line.exchange(&signer, purpose, request()).await?
                } else {
                    reply
                }
            }
        };
        match (reply.status.as_u16(), known) {
            (200 | 204, _) => {
                let value = decode(&reply).map_err(|error| upstream::invalid(attempt, &reply, &error))?;
                if let Some(etag) = reply.headers.get(header::ETAG) {
                    self.cache.put(uri, etag.clone(), &value);
                }
                Ok(value)
            }
            (304, Some((_, value))) => Ok(value),
            _ => Err(upstream::github(attempt, &reply, self.line.clock.now())),
        }
    }
}

/// What a request is for, handed through octocrab as an extension of the request.
#[derive(Clone)]
pub(super) struct Purpose {
    /// The operation's name in metrics.
    pub(super) operation: &'static str,
    /// Finishes the sentence "failed to …".
    pub(super) attempt: Arc<str>,
}

/// The way to GitHub, whoever signs.
#[derive(Clone)]
pub(super) struct Line {
    carrier: Carrier,
    permits: Arc<Semaphore>,
    pub(super) clock: Clock,
}

impl Line {
    /// What signs requests so.
    pub(super) fn signed_by(&self, auth: AuthState) -> Octocrab {
        let Ok(crab) =
            OctocrabBuilder::new_empty().with_service(self.carrier.clone()).with_auth(auth).build();
        crab
    }

    /// Sends one request and reads its whole answer.
    pub(super) async fn exchange(
        &self,
        signer: &Octocrab,
        purpose: Purpose,
        request: http::request::Builder,
    ) -> Result<Reply, Trouble> {
        let attempt = purpose.attempt.clone();
        let unsent = |error| unsent(&attempt, error);
        let _permit = self.permits.acquire().await;
        let request = request.header(header::ACCEPT, "application/vnd.github+json").extension(purpose);
        let request = signer.build_request(request, None::<&()>).map_err(unsent)?;
        let response = signer.execute(request).await.map_err(unsent)?;
        let (parts, body) = response.into_parts();
        // The carrier read the whole body; this only takes it out again.
        let body = body.collect().await.map_err(unsent)?.to_bytes();
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
