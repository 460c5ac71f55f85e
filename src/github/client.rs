//! One signed, conditional GET, and the service that lets octocrab send through our transport.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    task,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use reqwest::Url;
use tower::Service;

use super::{
    Auth, Options,
    app::{App, Of},
    cache::Cache,
};
use crate::{
    clock::Clock,
    model::{Class, OrgFacts, OrgId, Time, Trouble},
    secret::Secret,
    transport,
    upstream::{self, Capability, Question, Reply, Scope, Urgency, Whose},
};

/// Answers kept for conditional reads: a whole organisation of 20,000 teams read one by one.
const CACHED_ANSWERS: usize = 20_000;

/// What to check when GitHub does not allow something.
const NEEDS: &str =
    "check the token or the app's installation, and its read access to the organisation's members";

/// Sends signed, conditional GETs, a bounded number at once.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) line: Line,
    credential: Credential,
    cache: Arc<Cache>,
    /// Who waits for the answers.
    urgency: Urgency,
    /// Ids of organisations by lower-cased login, so that what is refused by login is known to be refused by id.
    ids: Arc<Mutex<HashMap<String, OrgId>>>,
}

#[derive(Clone)]
enum Credential {
    Token(Arc<Token>),
    App(Arc<App>),
}

/// A personal access token, and what signs with it as it is now.
struct Token {
    secret: Secret,
    signer: Mutex<(u64, Octocrab)>,
}

impl Client {
    /// Must be called within a tokio runtime: octocrab spawns a task.
    pub(super) fn new(options: Options) -> anyhow::Result<Self> {
        let Options { base_url, auth, http, concurrency, timeout, clock } = options;
        let carrier = Carrier { http, base_url, timeout };
        let line =
            Line { carrier, permits: transport::Permits::new(concurrency), clock, ahead: Arc::default() };
        let credential = match auth {
            Auth::Token(secret) => {
                let token = secret.get();
                anyhow::ensure!(
                    HeaderValue::from_str(secrecy::ExposeSecret::expose_secret(&token)).is_ok(),
                    "the GitHub token holds characters that no HTTP header can carry; check for line breaks around it"
                );
                let signer = Mutex::new((secret.version(), line.signed_by(AuthState::AccessToken { token })));
                Credential::Token(Arc::new(Token { secret, signer }))
            }
            Auth::App { id, private_key } => {
                Credential::App(Arc::new(App::new(id, private_key, line.clone())?))
            }
        };
        let (cache, urgency) = (Arc::new(Cache::new(CACHED_ANSWERS)), Urgency::Event);
        Ok(Self { line, credential, cache, urgency, ids: Arc::default() })
    }

    /// The same for a full pass.
    pub(super) fn unhurried(&self) -> Self {
        Self { urgency: Urgency::Pass, ..self.clone() }
    }

    /// The App that signs, if one does.
    pub(super) fn app(&self) -> Option<&App> {
        match &self.credential {
            Credential::Token(_) => None,
            Credential::App(app) => Some(app),
        }
    }

    /// Which organisation has a login.
    pub(super) fn knows(&self, org: &OrgFacts) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.insert(org.login.to_lowercase(), org.id);
    }

    /// What a question of this kind needs, and whether what it asks for always exists.
    fn scope(&self, of: Of<'_>, operation: &'static str) -> (Scope, bool) {
        let whose = match of {
            Of::App => Whose::Credential,
            Of::Id(id) => Whose::Org(id),
            Of::Login(login) => {
                let login = login.to_lowercase();
                let id = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(&login).copied();
                id.map_or(Whose::Login(login), Whose::Org)
            }
        };
        let (capability, collection) = capability(operation);
        (Scope::github(whose, capability), collection)
    }

    /// Takes up a changed token. It sees another world: what was seen with the former one is forgotten.
    fn refresh(&self) {
        let Credential::Token(token) = &self.credential else { return };
        let mut signer = token.signer.lock().unwrap_or_else(PoisonError::into_inner);
        let version = token.secret.version();
        if signer.0 != version {
            *signer = (version, self.line.signed_by(AuthState::AccessToken { token: token.secret.get() }));
            self.cache.clear();
            self.line.carrier.http.shelf().forget(None);
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
        let (scope, collection) = self.scope(of, operation);
        self.refresh();
        let known = self.cache.get::<T>(uri);
        let request = || {
            let request = Request::get(uri);
            match &known {
                Some((etag, _)) => request.header(header::IF_NONE_MATCH, etag),
                None => request,
            }
        };
        let urgency = self.urgency;
        let attempt: Arc<str> = attempt.into();
        let needs = NEEDS.into();
        let mut purpose =
            Purpose { operation, attempt, needs, scope, collection, renewable: false, account: 0, urgency };
        let reply = match &self.credential {
            Credential::Token(token) => {
                let crab = token.signer.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
                self.line.exchange(&crab, purpose.clone(), request()).await?
            }
            Credential::App(app) => {
                let signer = app.signer(of, &purpose.attempt, None).await?;
                purpose.account = signer.account;
                let first = Purpose { renewable: true, ..purpose.clone() };
                let reply = self.line.exchange(&signer.crab, first, request()).await?;
                if reply.status == StatusCode::UNAUTHORIZED {
                    // A token may end before its time.
                    let signer = app.signer(of, &purpose.attempt, Some(&signer.crab)).await?;
                    self.line.exchange(&signer.crab, purpose.clone(), request()).await?
                } else {
                    reply
                }
            }
        };
        match (reply.status.as_u16(), known) {
            (200 | 204, _) => {
                let value =
                    decode(&reply).map_err(|error| upstream::invalid(&purpose.attempt, &reply, &error))?;
                if let Some(etag) = reply.headers.get(header::ETAG) {
                    self.cache.put(uri, etag, &value);
                }
                Ok(value)
            }
            (304, Some((_, value))) => Ok(value),
            _ => Err(upstream::trouble(&purpose.question(), &reply, self.line.clock.wall())),
        }
    }
}

/// What an operation needs to be allowed, and whether what it asks for always exists.
fn capability(operation: &'static str) -> (Capability, bool) {
    match operation {
        "get_org" | "get_org_by_login" => (Capability::Org, false),
        "get_membership" => (Capability::Membership, false),
        "get_user" => (Capability::User, true),
        "get_app" | "list_installations" => (Capability::App, true),
        "create_token" => (Capability::App, false),
        "list_team_repositories" | "list_org_repositories" => (Capability::Repositories, true),
        "get_team_repository" | "get_repository" | "get_repository_by_name" => {
            (Capability::Repositories, false)
        }
        "list_teams" | "probe_teams" => (Capability::Teams, true),
        _ => (Capability::Teams, false),
    }
}

/// What a request is for, handed through octocrab as an extension of the request.
#[derive(Clone)]
pub(super) struct Purpose {
    /// The operation's name in metrics.
    pub(super) operation: &'static str,
    /// Finishes the sentence "failed to …".
    pub(super) attempt: Arc<str>,
    /// What to check when it is refused.
    pub(super) needs: Arc<str>,
    pub(super) scope: Scope,
    pub(super) collection: bool,
    pub(super) renewable: bool,
    pub(super) account: u64,
    pub(super) urgency: Urgency,
}

impl Purpose {
    /// What is asked about the App itself, or about its installation on an organisation.
    pub(super) fn of_app(operation: &'static str, attempt: &str, needs: &str, org: Option<OrgId>) -> Self {
        let whose = org.map_or(Whose::Credential, Whose::Org);
        let (capability, collection) = capability(operation);
        Self {
            operation,
            attempt: attempt.into(),
            needs: needs.into(),
            scope: Scope::github(whose, capability),
            collection,
            renewable: false,
            account: 0,
            urgency: Urgency::Event,
        }
    }

    /// The same, for those who judge the answer.
    pub(super) fn question(&self) -> Question<'_> {
        let Self { operation, attempt, needs, scope, collection, renewable, account, urgency } = self;
        Question {
            scope,
            operation,
            attempt,
            needs,
            collection: *collection,
            renewable: *renewable,
            account: *account,
            urgency: *urgency,
        }
    }
}

/// The way to GitHub, whoever signs.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) carrier: Carrier,
    permits: transport::Permits,
    pub(super) clock: Clock,
    /// By how many microseconds GitHub's clock is ahead of the monotonic one here, as its last answer showed.
    ahead: Arc<Mutex<Option<i64>>>,
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
        let _permit = self.permits.acquire(&purpose.scope.whose, purpose.urgency).await;
        let request = request.header(header::ACCEPT, "application/vnd.github+json").extension(purpose);
        let request = signer.build_request(request, None::<&()>).map_err(unsent)?;
        let response = signer.execute(request).await.map_err(unsent)?;
        let (parts, body) = response.into_parts();
        // The carrier read the whole body; this only takes it out again.
        let body = body.collect().await.map_err(unsent)?.to_bytes();
        let reply = Reply { status: parts.status, headers: parts.headers, body };
        if let Some(date) = reply.date() {
            *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some(date.0 - self.monotonic());
        }
        Ok(reply)
    }

    /// What time it is at GitHub. Until it has answered, this machine's clock has to serve.
    pub(super) fn time(&self) -> Time {
        let ahead = *self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.map_or_else(|| self.clock.wall(), |ahead| Time(self.monotonic() + ahead))
    }

    fn monotonic(&self) -> i64 {
        i64::try_from(self.clock.monotonic().as_micros()).unwrap_or(i64::MAX)
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
pub(super) struct Carrier {
    pub(super) http: transport::Client,
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
            let Some(purpose) = parts.extensions.get::<Purpose>() else {
                return Err(Trouble::new(Class::Permanent, "octocrab asked GitHub something of its own"));
            };
            let attempt = &purpose.attempt;
            let url = format!("{}{}", base_url.as_str().trim_end_matches('/'), parts.uri);
            let url = Url::parse(&url)
                .map_err(|error| Trouble::new(Class::Permanent, format!("failed to {attempt}: {error}")))?;
            let mut outgoing = reqwest::Request::new(parts.method, url);
            *outgoing.headers_mut() = parts.headers;
            let reply = transport::send(&http, outgoing, timeout, &purpose.question()).await?;
            let mut response = Response::new(Full::new(reply.body));
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            Ok(response)
        })
    }
}
