//! A request to one of the two APIs, as the routes take it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

/// What a route may know about its request besides the path.
pub(crate) struct Call {
    /// The moment to read the world at: [`NOW`](super::table::NOW), or earlier for a stale read.
    pub(crate) at: u64,
    /// The slug of a team that a list leaves out.
    pub(crate) lacks: Option<String>,
    /// Send no webhooks for this write.
    pub(crate) drop_webhooks: bool,
    /// `http://host`, as the caller named this server.
    pub(crate) base: String,
    pub(crate) path: String,
    /// As sent.
    pub(crate) query: String,
    /// Who asks: the `User-Agent` header.
    pub(crate) agent: String,
    pub(crate) body: Bytes,
}

impl Call {
    /// The first value of a query parameter.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// A number in the query; `default` when absent, `None` when it is not one.
    pub(crate) fn number(&self, name: &str, default: usize) -> Option<usize> {
        self.param(name).map_or(Some(default), |text| text.parse().ok())
    }
}

/// A shared [`Call`], as routes take it.
pub(crate) struct Context(pub(crate) Arc<Call>);

impl std::ops::Deref for Context {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.extensions.get::<Arc<Call>>().cloned().map(Self).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}
