//! What happens around every request of the two APIs: body, fault, limit, credentials, route, spoiling, finishing,
//! journal, delay. The routes themselves know nothing of it but [`Call`].
//!
//! An answer is held back only after the request was carried out and noted: a caller that gives up waiting must not
//! know whether its write took place, which is the harder case.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Shared;
use super::call::Call;
use super::clock::http_time;
use super::faults::Rule;
use super::journal::Entry;
use super::listener::Scissors;
use super::table::NOW;
use super::{datadog, github};

/// Larger bodies are refused; the largest real one is a batch of connections.
const MAX_BODY: usize = 16 << 20;

/// Marks the request of a person who stands outside of the test, such as its judge: no fault or limit meets it, it counts
/// towards none, and the journal leaves it out.
const EXEMPT: &str = "x-sandbox-exempt";

/// The middleware of both APIs.
pub(crate) async fn around(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let method = parts.method.clone();
    let path = parts.uri.path().to_owned();
    let of_datadog = path.starts_with("/api/");
    let holds = |text: &str| {
        let within = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(text);
        within(&body) || parts.headers.values().any(|value| within(value.as_bytes()))
    };
    let exempt = parts.headers.contains_key(EXEMPT);
    let rule = if exempt { None } else { shared.faults().hit(method.as_str(), &path, holds) };
    let stale_us = rule.as_ref().map_or(0, |rule| rule.stale_ms.saturating_mul(1000));
    let host = header_text(&parts.headers, header::HOST.as_str());
    let call = Arc::new(Call {
        at: if stale_us > 0 && method == "GET" { shared.clock.now().saturating_sub(stale_us) } else { NOW },
        lacks: rule.as_ref().and_then(|rule| rule.lacks.clone()),
        drop_webhooks: rule.as_ref().is_some_and(|rule| rule.drop_webhooks),
        base: host.map_or_else(|| shared.url.clone(), |host| format!("http://{host}")),
        path: path.clone(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        agent: header_text(&parts.headers, header::USER_AGENT.as_str()).unwrap_or("(none)").to_owned(),
        body: rule.as_ref().and_then(|rule| without(rule.drops.as_deref()?, &body)).unwrap_or(body.clone()),
    });
    parts.extensions.insert(call.clone());
    if exempt {
        return next.run(Request::from_parts(parts, Body::empty())).await;
    }
    let route = parts.extensions.get::<MatchedPath>().map_or("(no route)", MatchedPath::as_str);
    let route = format!("{method} {route}");
    let headers = parts.headers.clone();

    let refused = || {
        if of_datadog {
            datadog::limited(&shared).or_else(|| datadog::unauthorised(&path, &headers))
        } else {
            github::limited(&shared).or_else(|| github::unauthorised(&shared, &path, &headers))
        }
    };
    let mut response = match rule.as_ref().and_then(|rule| made_up(rule, of_datadog)).or_else(refused) {
        Some(response) => response,
        None => next.run(Request::from_parts(parts, Body::empty())).await,
    };
    if let Some(rule) = &rule {
        response = spoil(rule, of_datadog, response).await;
    }
    let mut response = if of_datadog {
        datadog::finish(&shared, response)
    } else {
        github::finish(&shared, &method, &headers, response).await
    };
    // By the sandbox's clock, as the moments in its headers: a caller whose clock is wrong counts from this date.
    if let Ok(date) = HeaderValue::try_from(http_time(shared.clock.now())) {
        response.headers_mut().entry(header::DATE).or_insert(date);
    }

    let cut = rule.as_ref().is_some_and(|rule| rule.reset);
    let entry = Entry {
        at_us: shared.clock.now(),
        method: method.to_string(),
        path,
        query: call.query.clone(),
        status: response.status().as_u16(),
        host: header_text(&headers, "host").unwrap_or_default().to_owned(),
        fence: header_text(&headers, "x-teamlink-fence").map(str::to_owned),
        body,
        cut,
    };
    shared.journal().note(route, entry);
    let delay = shared.latency + Duration::from_millis(rule.map_or(0, |rule| rule.latency_ms));
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if cut {
        scissors.cut();
    }
    response
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The answer that a rule gives in place of the world's, if it does.
fn made_up(rule: &Rule, of_datadog: bool) -> Option<Response> {
    if rule.status.is_none() && rule.body.is_none() {
        return None;
    }
    let status = rule.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK);
    let reason = status.canonical_reason().unwrap_or("Error");
    let body = match &rule.body {
        Some(Value::String(text)) => text.clone(),
        Some(json) => json.to_string(),
        None if of_datadog => format!(r#"{{"errors":["{reason}"]}}"#),
        None => format!(r#"{{"message":"{reason}","status":"{}"}}"#, status.as_u16()),
    };
    let mut response = (status, body).into_response();
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Some(response)
}

/// Empties, halves or miscounts a list, and adds the rule's headers.
async fn spoil(rule: &Rule, of_datadog: bool, response: Response) -> Response {
    let (mut parts, mut body) = response.into_parts();
    if rule.empty || rule.truncate || rule.total_off != 0 {
        let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let mut json: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let wrong = miscount(rule.total_off, &mut json);
        body = Body::from(if rule.empty {
            parts.status = StatusCode::OK;
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            parts.headers.remove(header::LINK);
            parts.headers.remove(header::CONTENT_LENGTH);
            if of_datadog { datadog::emptied(json).to_string() } else { "[]".to_owned() }.into()
        } else {
            let cut = if rule.truncate { truncated(&mut json, &mut parts.headers) } else { wrong };
            if cut || wrong {
                parts.headers.remove(header::CONTENT_LENGTH);
                json.to_string().into()
            } else {
                bytes
            }
        });
    }
    for (name, value) in &rule.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            parts.headers.insert(name, value);
        }
    }
    Response::from_parts(parts, body)
}

/// A document as it is written without the entries that hold a text.
fn without(text: &str, body: &Bytes) -> Option<Bytes> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    let config = body.pointer_mut("/data/attributes/config")?.as_object_mut()?;
    for list in config.values_mut().filter_map(Value::as_array_mut) {
        list.retain(|entry| !entry.to_string().contains(text));
    }
    Some(Bytes::from(body.to_string()))
}

/// Adds to the total that a list page tells; returns whether it tells one.
fn miscount(by: i64, json: &mut Value) -> bool {
    let mut told = false;
    for at in ["/meta/page/total", "/meta/pagination/total"] {
        if let Some(total) = json.pointer_mut(at)
            && let Some(true_one) = total.as_i64()
        {
            *total = true_one.saturating_add(by).max(0).into();
            told = true;
        }
    }
    told && by != 0
}

/// Drops the second half of a list page's items; returns whether it is a list page. Totals stay as they are: that is
/// how a caller can tell.
fn truncated(json: &mut Value, headers: &mut HeaderMap) -> bool {
    let list = if json.is_array() { Some(&mut *json) } else { json.get_mut("data") };
    let Some(items) = list.and_then(Value::as_array_mut) else { return false };
    items.truncate(items.len().div_ceil(2));
    headers.remove(header::LINK);
    for at in ["/meta/page/next_number", "/meta/page/next_offset", "/links/next"] {
        if let Some(next) = json.pointer_mut(at) {
            *next = Value::Null;
        }
    }
    true
}
