//! Reading GitHub. Every method asks once and says what came back as one of the four answers; who asks again,
//! and when, is the caller's business.
//!
//! octocrab signs the requests and carries them into our own [`transport`], so that proxies,
//! CA file and timeouts are those of Datadog. Its models and its paging are not used: the models demand fields
//! that GitHub leaves out, and its paging drops the credential from page 2 on for an App anywhere but on
//! api.github.com. Only what teamlink needs is decoded; redirects are not followed.
//!
//! This room never writes to GitHub, and never decides what an answer means for a connection.

mod app;
mod assertion;
mod cache;
mod client;
mod reader;
mod wire;

use std::time::Duration;

use reqwest::Url;

use crate::{clock::Clock, secret::Secret, transport};

pub use app::Installation;
pub use reader::{AppFacts, Reader, Whoami};

/// What a [`Reader`] needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// `https://api.github.com`, or `https://HOST/api/v3` of GitHub Enterprise Server.
    pub base_url: Url,
    /// How to sign in.
    pub auth: Auth,
    /// The client of [`transport::client`].
    pub http: transport::Client,
    /// How many requests may be under way at once. GitHub allows 100 over everything that uses the credential.
    pub concurrency: usize,
    /// How long one request may take, body included.
    pub timeout: Duration,
    /// What time it is: a limit that GitHub gives as a moment is turned into a wait.
    pub clock: Clock,
}

/// How to sign in to GitHub.
#[derive(Clone, Debug)]
pub enum Auth {
    /// A personal access token.
    Token(Secret),
    /// A GitHub App; each organisation is read with the token of its installation there.
    App {
        /// Its id.
        id: u64,
        /// Its RSA key, PEM.
        private_key: Secret,
    },
}
