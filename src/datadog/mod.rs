//! Reading and writing Datadog. Every method asks once and says what came back; who asks again, and when, is
//! the caller's business.
//!
//! Reading and writing are two types, so that what must not write never holds a [`Writer`]; [`Probe`] sends
//! the one POST that cannot change anything. Datadog's answers are decoded by what was recorded, not only by
//! the contract: attributes and relationships may be missing, paging metadata has two shapes or none, errors
//! are strings or objects, and the content type is not looked at.
//!
//! This room never decides what an answer means for a connection.

mod client;
mod filter;
mod probe;
mod read;
mod wire;
mod write;

use std::time::Duration;

use reqwest::Url;

use crate::{secret::Secret, transport};

pub use filter::Filter;
pub use probe::Probe;
pub use read::Reader;
pub use wire::TeamSync;
pub use write::{NewConnection, Writer};

/// What the clients need to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// `https://api.SITE`.
    pub base_url: Url,
    /// How requests are signed.
    pub auth: Auth,
    /// What connections that we make say of who manages them.
    pub managed_by: String,
    /// How long one request may take, body included.
    pub timeout: Duration,
    /// How many requests each client may have under way at once.
    pub concurrency: usize,
    /// The client of [`transport::client`].
    pub http: transport::Client,
}

/// Datadog's two ways of signing requests.
#[derive(Clone, Debug)]
pub enum Auth {
    /// `DD-API-KEY` and `DD-APPLICATION-KEY`. The only way for entity integrations.
    Keys {
        /// The organisation's API key.
        api: Secret,
        /// A user's or service account's application key, whose scopes decide what is allowed.
        app: Secret,
    },
    /// An OAuth access token.
    Bearer(Secret),
}
