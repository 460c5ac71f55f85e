//! GitHub's manners: pages with `Link`, ETags, rate-limit headers, error bodies.

use std::hash::{DefaultHasher, Hasher};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::app;
use super::world::Refusal;
use crate::sandbox::Shared;
use crate::sandbox::call::Call;

/// The refusal of a request without credentials, or with those of an App that may not ask this; any other
/// `Authorization` will do.
pub(crate) fn unauthorised(shared: &Shared, path: &str, headers: &HeaderMap) -> Option<Response> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = match given.split_whitespace().next_back() {
        None => Err(Refusal::Unauthorised("Requires authentication")),
        Some(credential) => app::check(shared, path, credential),
    };
    refused.err().map(Refusal::into_response)
}

/// The refusal of a request above the limit; the headers of every answer say when the window ends.
pub(crate) fn limited(shared: &Shared) -> Option<Response> {
    let status = shared.github_rate.refuses(shared.clock.now() / 1_000_000)?;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    Some(error(status, "API rate limit exceeded for user ID 1.", None))
}

/// A JSON answer.
pub(crate) fn json_reply(status: StatusCode, body: &impl Serialize) -> Response {
    (status, axum::Json(body)).into_response()
}

fn error(status: StatusCode, message: &str, errors: Option<Value>) -> Response {
    let mut body = json!({
        "message": message,
        "documentation_url": "https://docs.github.com/rest",
        "status": status.as_u16().to_string(),
    });
    if let Some(errors) = errors {
        body["errors"] = errors;
    }
    json_reply(status, &body)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => error(StatusCode::NOT_FOUND, "Not Found", None),
            Self::Forbidden(message) => error(StatusCode::FORBIDDEN, message, None),
            Self::Unauthorised(message) => error(StatusCode::UNAUTHORIZED, message, None),
            Self::Broken => error(StatusCode::BAD_REQUEST, "Problems parsing JSON", None),
            Self::Invalid { resource, code, field } => {
                let errors = json!([{"resource": resource, "code": code, "field": field}]);
                error(StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed", Some(errors))
            }
            Self::Moved(id) => {
                let url = format!("/repositories/{id}");
                let body = json!({
                    "message": "Moved Permanently",
                    "url": url,
                    "documentation_url": "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api#follow-redirects",
                });
                (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, url)], axum::Json(body)).into_response()
            }
        }
    }
}

/// One page of a list, with the links to its neighbours. `per_page` above 100 counts as 100, nonsense as absent.
pub(crate) fn page<T, L: Serialize>(
    call: &Call,
    items: impl Iterator<Item = T>,
    line: impl Fn(T) -> L,
) -> Response {
    let size = call.number("per_page", 30).filter(|size| *size > 0).unwrap_or(30).min(100);
    let number = call.number("page", 1).unwrap_or(1).max(1);
    let start = (number - 1).saturating_mul(size);
    let mut lines = Vec::new();
    let mut total = 0;
    for item in items {
        if total >= start && lines.len() < size {
            lines.push(line(item));
        }
        total += 1;
    }
    let mut response = json_reply(StatusCode::OK, &lines);
    if let Ok(value) = HeaderValue::try_from(links(call, number, total.div_ceil(size)))
        && !value.is_empty()
    {
        response.headers_mut().insert(header::LINK, value);
    }
    response
}

fn links(call: &Call, number: usize, last: usize) -> String {
    let mut links = Vec::new();
    let mut link = |page: usize, rel: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let others = form_urlencoded::parse(call.query.as_bytes()).filter(|(name, _)| name != "page");
        query.extend_pairs(others).append_pair("page", &page.to_string());
        links.push(format!("<{}{}?{}>; rel=\"{rel}\"", call.base, call.path, query.finish()));
    };
    if number > 1 {
        link((number - 1).min(last.max(1)), "prev");
    }
    if number < last {
        link(number + 1, "next");
        link(last, "last");
    }
    if number > 1 {
        link(1, "first");
    }
    links.join(", ")
}

/// The last touch to every answer: rate-limit headers, the ETag, and 304 for a caller who has it already.
pub(crate) async fn finish(
    shared: &Shared,
    method: &Method,
    asked: &HeaderMap,
    response: Response,
) -> Response {
    let now = shared.clock.now() / 1_000_000;
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut body = Body::from(bytes.clone());
    let mut fresh = true;
    if method == Method::GET && parts.status == StatusCode::OK && !parts.headers.contains_key(header::ETAG) {
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        let tag = format!("\"{:016x}\"", hasher.finish());
        fresh = !knows(asked, &tag);
        if !fresh {
            parts.status = StatusCode::NOT_MODIFIED;
            parts.headers.remove(header::CONTENT_LENGTH);
            body = Body::empty();
        }
        if let Ok(value) = HeaderValue::try_from(format!("W/{tag}")) {
            parts.headers.insert(header::ETAG, value);
        }
    }
    let rate = shared.github_rate.count(now, u64::from(fresh));
    let figures = [
        ("x-ratelimit-limit", rate.limit),
        ("x-ratelimit-used", rate.used),
        ("x-ratelimit-remaining", rate.remaining),
        ("x-ratelimit-reset", rate.ends),
    ];
    for (name, value) in figures {
        // A rule's own header stays.
        parts.headers.entry(HeaderName::from_static(name)).or_insert_with(|| value.into());
    }
    parts.headers.entry("x-ratelimit-resource").or_insert(HeaderValue::from_static("core"));
    Response::from_parts(parts, body)
}

/// Whether `If-None-Match` names the tag; weak and strong tags compare alike there.
fn knows(asked: &HeaderMap, tag: &str) -> bool {
    let tags = asked.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    tags.is_some_and(|tags| tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag))
}
