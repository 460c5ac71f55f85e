//! One signed request to Datadog, and the decoding of its answer. What may be asked is decided in `read`,
//! `write` and `probe`.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time;

use super::{Auth, Options};
use crate::{
    model::{Class, Fence, Trouble},
    transport,
    upstream::{self, Access, Capability, Question, Reply, Scope, Urgency, Whose},
};

/// Carries what the lease is on and its counter, so that logs on the way (and the sandbox's judge) can tell writers apart.
const FENCE: HeaderName = HeaderName::from_static("x-teamlink-fence");

/// The operation that writes nothing.
pub(super) const PROBE_WRITE: &str = "probe_write";

/// Signs and sends, a bounded number at once. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) http: transport::Client,
    base_url: Url,
    auth: Auth,
    timeout: Duration,
    permits: transport::Permits,
    /// Who waits for the answers.
    urgency: Urgency,
}

/// A request in the making.
pub(super) struct Call<'a> {
    pub(super) operation: &'static str,
    /// Finishes the sentence "failed to …".
    pub(super) attempt: &'a str,
    pub(super) method: Method,
    /// Segments after `/api/v2`.
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, String)],
}

impl Call<'_> {
    fn write(&self) -> bool {
        self.method != Method::GET
    }

    /// What it needs to be allowed.
    fn scope(&self) -> Scope {
        let capability = match self.path {
            ["team", "connections", ..] => Capability::Connections,
            ["team", "sync", ..] => Capability::Sync,
            ["team", ..] => Capability::Teams,
            ["current_user"] => Capability::User,
            _ => Capability::Integrations,
        };
        Scope::datadog(capability, if self.write() { Access::Write } else { Access::Read })
    }

    /// Whether what it asks for always exists: a list, and a document that a PUT creates where there is none. Of a
    /// write to a list, a 404 is about its items.
    fn collection(&self) -> bool {
        match *self.path {
            ["idp", ..] => self.method == Method::PUT,
            ["team"] | ["team", "connections" | "sync"] => !self.write() || self.operation == PROBE_WRITE,
            _ => false,
        }
    }

    /// What to check when Datadog does not allow it.
    fn needs(&self) -> &'static str {
        match self.path.first() {
            Some(&"idp") => {
                "entity integrations are a preview that takes no access token: ask Datadog for it, check both \
                 keys, and that their owner has `integrations_read` and `manage_integrations`"
            }
            _ => "check the keys or the token, and that their owner has `teams_read` and `teams_manage`",
        }
    }
}

impl Client {
    pub(super) fn new(options: &Options) -> anyhow::Result<Self> {
        signature(&options.auth).map_err(anyhow::Error::msg)?;
        anyhow::ensure!(
            !options.base_url.cannot_be_a_base(),
            "the Datadog base URL {} has no host; give one like https://api.datadoghq.com",
            options.base_url
        );
        Ok(Self {
            http: options.http.clone(),
            base_url: options.base_url.clone(),
            auth: options.auth.clone(),
            timeout: options.timeout,
            permits: transport::Permits::new(options.concurrency),
            urgency: Urgency::Event,
        })
    }

    /// The same for a full pass.
    pub(super) fn unhurried(&self) -> Self {
        Self { urgency: Urgency::Pass, ..self.clone() }
    }

    /// Sends once.
    ///
    /// # Errors
    /// Anything but a 2xx.
    pub(super) async fn send(
        &self,
        call: &Call<'_>,
        body: Option<&(impl Serialize + Sync)>,
        fence: Option<Fence>,
    ) -> Result<Reply, Trouble> {
        let mut url = self.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v2"]).extend(call.path);
        }
        let refused = |why: String| Trouble::new(Class::Auth, format!("failed to {}: {why}", call.attempt));
        let headers = signature(&self.auth).map_err(refused)?;
        let mut request = self.http.request(call.method.clone(), url).headers(headers).query(call.query);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(fence) = fence {
            request = request.header(FENCE, fence.to_string());
        }
        let request = request.build().map_err(|error| {
            let error = error.without_url();
            Trouble::new(Class::Permanent, format!("failed to {}: {error}", call.attempt))
        })?;
        let question = Question {
            scope: &call.scope(),
            operation: call.operation,
            attempt: call.attempt,
            needs: call.needs(),
            collection: call.collection(),
            renewable: false,
            account: 0,
            urgency: self.urgency,
        };
        let (_permit, timeout) = self.turn(call).await?;
        let reply = transport::send(&self.http, request, timeout, &question).await?;
        if reply.status.is_success() {
            Ok(reply)
        } else {
            Err(upstream::trouble(&question, &reply, self.http.gate().wall()))
        }
    }

    /// Waits until another request may be under way; answers how long it may take. A read waits as long as it
    /// must. A write's wait is part of its timeout: whoever sends it under a lease has counted on that.
    async fn turn(&self, call: &Call<'_>) -> Result<(Option<transport::Permit>, Duration), Trouble> {
        let started = Instant::now();
        // One credential serves all organisations: none of them is told from another here.
        let permit = self.permits.acquire(&Whose::Credential, self.urgency);
        if !call.write() {
            return Ok((permit.await, self.timeout));
        }
        match time::timeout(self.timeout, permit).await {
            Ok(permit) => Ok((permit, self.timeout.saturating_sub(started.elapsed()))),
            Err(_) => Err(Trouble::new(
                Class::Transient,
                format!("failed to {}: other writes took all the time; nothing was sent", call.attempt),
            )),
        }
    }

    /// Sends once and decodes the answer.
    ///
    /// # Errors
    /// Anything but a 2xx with a body that fits; a write with a body that does not is ambiguous.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        body: Option<&(impl Serialize + Sync)>,
        fence: Option<Fence>,
    ) -> Result<T, Trouble> {
        let reply = self.send(&call, body, fence).await?;
        serde_json::from_slice(&reply.body).map_err(|error| Trouble {
            ambiguous: call.write(),
            ..upstream::invalid(call.attempt, &reply, &error)
        })
    }

    /// Reads once and decodes the answer.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        attempt: &str,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, Trouble> {
        self.ask(Call { operation, attempt, method: Method::GET, path, query }, None::<&()>, None).await
    }
}

/// The headers that sign a request, with the secrets as they are now.
fn signature(auth: &Auth) -> Result<HeaderMap, String> {
    let secret = |value: &str, name: &str| {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            format!(
                "the Datadog {name} holds characters that no HTTP header can carry; check for line breaks around it"
            )
        })?;
        value.set_sensitive(true);
        Ok::<_, String>(value)
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    match auth {
        Auth::Keys { api, app } => {
            headers.insert("dd-api-key", secret(api.get().expose_secret(), "API key")?);
            headers.insert("dd-application-key", secret(app.get().expose_secret(), "application key")?);
        }
        Auth::Bearer(token) => {
            let bearer = SecretString::from(format!("Bearer {}", token.get().expose_secret()));
            headers.insert(header::AUTHORIZATION, secret(bearer.expose_secret(), "access token")?);
        }
    }
    Ok(headers)
}
