//! Whether connections could be written, found out without writing.

use reqwest::Method;
use serde_json::json;

use super::{
    Options,
    client::{Call, Client, PROBE_WRITE},
};
use crate::{model::Answer, upstream::many};

/// Sends the one POST that cannot change anything. Not part of [`Writer`](super::Writer), so that `check` need
/// not hold a type that can write.
#[derive(Clone)]
pub struct Probe {
    pub(super) client: Client,
}

impl Probe {
    /// A probe with these options.
    ///
    /// # Errors
    /// When a key cannot be sent in a header, or the base URL has no host.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(options)? })
    }

    /// *Present* when the credential may create connections. Asks to create none: Datadog answers 400 "at
    /// least one team connection must be provided" to those who may, 403 to those who may not.
    pub async fn write(&self) -> Answer<()> {
        let call = Call {
            operation: PROBE_WRITE,
            attempt: "ask Datadog whether connections may be created",
            method: Method::POST,
            path: &["team", "connections"],
            query: &[],
        };
        match self.client.send(&call, Some(&json!({"data": []})), None).await {
            Err(trouble) if trouble.status == Some(400) => Answer::Present(()),
            other => many(other.map(drop)),
        }
    }
}
