//! A sandbox as people and tests use it over HTTP: its own routes, and requests to both services.

use anyhow::{Context as _, ensure};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// A client of one sandbox. It sends credentials for both services, whichever one it asks.
#[derive(Clone, Debug)]
pub struct Remote {
    url: String,
    http: reqwest::Client,
}

impl Remote {
    /// Returns a client of the sandbox at this base URL. It ignores the proxy of the environment. Fails if HTTP can't
    /// be set up.
    pub fn new(url: String) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build().context("failed to set up HTTP")?;
        Ok(Self { url, http })
    }

    /// Adds to the worlds, without webhooks. Returns the ids of what it added.
    pub async fn seed(&self, seed: Value) -> anyhow::Result<Value> {
        self.send(Method::POST, "/_sandbox/seed", seed).await
    }

    /// Replaces the fault rules.
    pub async fn faults(&self, faults: Value) -> anyhow::Result<()> {
        self.send(Method::PUT, "/_sandbox/faults", faults).await?;
        Ok(())
    }

    /// Returns what the sandbox has counted: requests by route, and webhooks.
    pub async fn stats(&self) -> anyhow::Result<Value> {
        self.send(Method::GET, "/_sandbox/stats", Value::Null).await
    }

    /// Returns every request with a sequence number above `since`, to either service.
    pub async fn requests(&self, since: u64) -> anyhow::Result<Vec<Value>> {
        let path = format!("/_sandbox/requests?since={since}");
        let requests = self.send(Method::GET, &path, Value::Null).await?;
        serde_json::from_value(requests).context("the sandbox's requests are not a list")
    }

    /// Sends a request, and fails unless the answer is a success.
    pub async fn send(&self, method: Method, path: &str, body: Value) -> anyhow::Result<Value> {
        let (status, answer) = self.ask(method.clone(), path, body).await?;
        ensure!(status.is_success(), "failed to {method} {path} of the sandbox: {status}: {answer}");
        Ok(answer)
    }

    /// Sends a request. Returns the status and the body; a body that isn't JSON becomes a string.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> anyhow::Result<(StatusCode, Value)> {
        let request = self.http.request(method.clone(), format!("{}{path}", self.url));
        let request = request.bearer_auth("token").header("DD-API-KEY", "api");
        let request = request.header("DD-APPLICATION-KEY", "app").json(&body);
        let attempt = || format!("failed to {method} {path} of the sandbox");
        let response = request.send().await.with_context(attempt)?;
        let (status, text) = (response.status(), response.text().await.with_context(attempt)?);
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }
}
