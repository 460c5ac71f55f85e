//! A webhook delivery on its way in.

use bytes::Bytes;

use super::Time;

/// One GitHub webhook request, by whichever door it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// `X-GitHub-Delivery`. A redelivery carries the same GUID.
    pub guid: String,
    /// `X-GitHub-Event`: `team`, `membership`, `organization`, …
    pub event: String,
    /// `X-GitHub-Enterprise-Host`, which only GitHub Enterprise Server sends.
    pub host: Option<String>,
    /// `X-Hub-Signature-256` of the body, when it came with one.
    pub signature: Option<String>,
    /// When our first door took it.
    pub received_at: Time,
    /// The body, byte for byte as it was signed.
    pub body: Bytes,
}
