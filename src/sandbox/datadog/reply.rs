//! Datadog's manners: JSON:API content type, two shapes of errors, pages in two styles, rate-limit headers.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::world::Refusal;
use crate::sandbox::Shared;
use crate::sandbox::call::Call;

/// The largest page (documented); what a larger wish gets is not known, 400 is assumed.
const MAX_PAGE: usize = 100;

/// The fields in the recorded order.
#[derive(Serialize)]
struct ErrorObject<'a> {
    status: String,
    title: &'a str,
    detail: &'a str,
}

#[derive(Serialize)]
struct Errors<E> {
    errors: [E; 1],
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = |number| StatusCode::from_u16(number).unwrap_or(StatusCode::BAD_REQUEST);
        match &self {
            Self::Text(status, text) => json_reply(code(*status), &Errors { errors: [text] }),
            Self::Object(status, detail) => {
                let title = code(*status).canonical_reason().unwrap_or_default();
                let error = ErrorObject { status: status.to_string(), title, detail };
                json_reply(code(*status), &Errors { errors: [error] })
            }
        }
    }
}

/// A JSON:API answer.
pub(crate) fn json_reply(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    let content_type = HeaderValue::from_static("application/vnd.api+json");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// The refusal of a request without API key and application key, or, except for the entity integrations, a bearer.
pub(crate) fn unauthorised(path: &str, headers: &HeaderMap) -> Option<Response> {
    let given = |name| headers.get(name).is_some_and(|value| !value.is_empty());
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.is_some_and(|value| value.len() > 7 && value[..7].eq_ignore_ascii_case("bearer "));
    let bearer = bearer && !path.starts_with("/api/v2/idp/");
    let allowed = bearer || (given("dd-api-key") && given("dd-application-key"));
    (!allowed).then(|| Refusal::Text(403, "Forbidden".to_owned()).into_response())
}

/// The last touch to every answer: the rate-limit headers. A rule's own stay; a 429 without any says, as the
/// recorded one does, that nothing remains and one second is to be waited.
pub(crate) fn finish(shared: &Shared, mut response: Response) -> Response {
    let now = shared.clock.now() / 1_000_000;
    // Windows are aligned to the calendar (documented).
    let rate = shared.datadog_rate.count(now, 1);
    let (remaining, reset) = match response.status() {
        StatusCode::TOO_MANY_REQUESTS => (0, 1),
        _ => (rate.remaining, rate.ends - now),
    };
    let figures = [
        ("x-ratelimit-limit", rate.limit),
        ("x-ratelimit-period", rate.period),
        ("x-ratelimit-remaining", remaining),
        ("x-ratelimit-reset", reset),
    ];
    for (name, value) in figures {
        response.headers_mut().entry(HeaderName::from_static(name)).or_insert_with(|| value.into());
    }
    let name = HeaderValue::from_static("sandbox_teams");
    response.headers_mut().entry("x-ratelimit-name").or_insert(name);
    response
}

/// The refusal of a request above the limit, which says when the window ends.
pub(crate) fn limited(shared: &Shared) -> Option<Response> {
    let now = shared.clock.now() / 1_000_000;
    shared.datadog_rate.refuses(now)?;
    let rate = shared.datadog_rate.count(now, 0);
    let refusal = Refusal::Text(429, "Too many requests".to_owned());
    Some(
        (
            [("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", (rate.ends - now).to_string())],
            refusal,
        )
            .into_response(),
    )
}

/// What a page asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Page {
    /// `page[number]`, `page[size]`.
    Number(usize, usize),
    /// `page[offset]`, `page[limit]`; also when nothing is said, with a limit of 100 (recorded; documented is 10).
    Offset(usize, usize),
}

impl Page {
    pub(crate) fn of(call: &Call) -> Result<Self, Refusal> {
        let figure = |name: &str, default: usize, range: std::ops::RangeInclusive<usize>| {
            let wrong = || Refusal::bad(format!("parameter \"{name}\" must be between {range:?}"));
            call.number(name, default).filter(|figure| range.contains(figure)).ok_or_else(wrong)
        };
        const ANY: std::ops::RangeInclusive<usize> = 0..=usize::MAX >> 16;
        if call.param("page[size]").or(call.param("page[number]")).is_some() {
            Ok(Self::Number(figure("page[number]", 0, ANY)?, figure("page[size]", 10, 1..=MAX_PAGE)?))
        } else {
            Ok(Self::Offset(figure("page[offset]", 0, ANY)?, figure("page[limit]", MAX_PAGE, 1..=MAX_PAGE)?))
        }
    }

    /// The items of the page.
    pub(crate) fn cut<T>(self, items: impl IntoIterator<Item = T>) -> Vec<T> {
        let (start, size) = match self {
            Self::Number(number, size) => (number * size, size),
            Self::Offset(offset, limit) => (offset, limit),
        };
        items.into_iter().skip(start).take(size).collect()
    }

    /// `meta.page` of connections and hierarchy links (recorded in both styles).
    pub(crate) fn meta(self, total: usize) -> PageMeta {
        let before = |at: usize, step: usize| (at > 0).then(|| at.saturating_sub(step));
        match self {
            Self::Number(number, size) => {
                let last_number = total.div_ceil(size).saturating_sub(1);
                let next_number = (number < last_number).then_some(number + 1);
                PageMeta::NumberSize {
                    r#type: "number_size",
                    number,
                    size,
                    total,
                    first_number: 0,
                    prev_number: before(number, 1),
                    next_number,
                    last_number,
                }
            }
            Self::Offset(offset, limit) => PageMeta::OffsetLimit {
                r#type: "offset_limit",
                offset,
                limit,
                total,
                first_offset: 0,
                prev_offset: before(offset, limit),
                next_offset: (offset + limit < total).then_some(offset + limit),
                last_offset: total.div_ceil(limit).saturating_sub(1) * limit,
            },
        }
    }

    /// `meta.pagination` and `links` of teams and memberships. Recorded oddities: the next page is named even past
    /// the end, the previous of the first page is 0, no last link in the offset style.
    pub(crate) fn pagination(self, call: &Call, total: usize) -> Value {
        let url = format!("{}{}", call.base, call.path);
        let own = if call.query.is_empty() { url.clone() } else { format!("{url}?{}", call.query) };
        match self {
            Self::Number(number, size) => {
                let last = total.div_ceil(size).saturating_sub(1);
                let link = |number: usize| format!("{url}?page[number]={number}&page[size]={size}");
                json!({
                    "meta": {"pagination": {
                        "number": number, "first_number": 0, "prev_number": number.saturating_sub(1),
                        "next_number": number + 1, "last_number": last, "size": size, "type": "number_size",
                        "total": total,
                    }},
                    "links": {
                        "self": own, "last": link(last), "next": link(number + 1),
                        "prev": (number > 0).then(|| link(number - 1)), "first": link(0),
                    },
                })
            }
            Self::Offset(offset, limit) => {
                let link = |offset: usize| format!("{url}?page[offset]={offset}&page[limit]={limit}");
                json!({
                    "meta": {"pagination": {
                        "offset": offset, "first_offset": 0, "prev_offset": offset.saturating_sub(limit),
                        "next_offset": offset + limit, "last_offset": 0, "limit": limit, "type": "offset_limit",
                        "total": total,
                    }},
                    "links": {
                        "self": own, "last": null, "next": link(offset + limit),
                        "prev": (offset > 0).then(|| link(offset.saturating_sub(limit))), "first": link(0),
                    },
                })
            }
        }
    }
}

/// The fields in the recorded order.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum PageMeta {
    NumberSize {
        r#type: &'static str,
        number: usize,
        size: usize,
        total: usize,
        first_number: usize,
        prev_number: Option<usize>,
        next_number: Option<usize>,
        last_number: usize,
    },
    OffsetLimit {
        r#type: &'static str,
        offset: usize,
        limit: usize,
        total: usize,
        first_offset: usize,
        prev_offset: Option<usize>,
        next_offset: Option<usize>,
        last_offset: usize,
    },
}

/// A list answer as it would be with nothing in it.
pub(crate) fn emptied(mut json: Value) -> Value {
    if !json.get("data").is_some_and(Value::is_array) {
        return json!({"data": []});
    }
    json["data"] = json!([]);
    for meta in ["page", "pagination"] {
        if let Some(fields) = json.pointer_mut(&format!("/meta/{meta}")).and_then(Value::as_object_mut) {
            for (name, value) in fields {
                match name.as_str() {
                    "total" | "last_number" | "last_offset" => *value = 0.into(),
                    "next_number" | "next_offset" if meta == "page" => *value = Value::Null,
                    _ => {}
                }
            }
        }
    }
    json
}
