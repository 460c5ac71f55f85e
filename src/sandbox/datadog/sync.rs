//! Routes of Datadog's own team sync: one configuration for each source, kept and shown, never carried out.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::reply::json_reply;
use super::{Refusal, data, read, write};
use crate::sandbox::Shared;
use crate::sandbox::call::Context;
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;

/// The fields in the recorded order.
#[derive(Serialize)]
struct Line<'a> {
    id: String,
    r#type: &'a str,
    attributes: Attributes<'a>,
}

#[derive(Serialize)]
struct Attributes<'a> {
    frequency: &'a Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    selection_state: &'a Value,
    source: &'a Value,
    sync_membership: &'a Value,
    r#type: &'a Value,
}

#[derive(Serialize)]
struct List<'a> {
    data: Vec<Line<'a>>,
}

/// Recorded: the list has the one configuration, without `selection_state` when it is unset.
pub(super) async fn show(State(shared): Sandbox, call: Context) -> Result<Response, Refusal> {
    let source = call.param("filter[source]");
    let source = source.ok_or_else(|| Refusal::bad("missing required parameter \"filter[source]\""))?;
    let world = read(&shared);
    let found = world.syncs.get(&source, call.at);
    let line = found.map(|found| {
        let (id, set) = &**found;
        let attributes = Attributes {
            frequency: &set["frequency"],
            selection_state: &set["selection_state"],
            source: &set["source"],
            sync_membership: &set["sync_membership"],
            r#type: &set["type"],
        };
        Line { id: id.to_string(), r#type: "team_sync_bulk", attributes }
    });
    Ok(json_reply(StatusCode::OK, &List { data: line.into_iter().collect() }))
}

/// Recorded: 204, the id stays, everything else is overwritten.
pub(super) async fn set(State(shared): Sandbox, call: Context) -> Result<Response, Refusal> {
    let mut set = data(&call)?["attributes"].take();
    let one_of = |name: &str, allowed: &[&str]| {
        let wrong = || Refusal::bad(format!("attribute \"{name}\" must be one of [{}]", allowed.join(" ")));
        set[name].as_str().filter(|value| allowed.contains(value)).map(str::to_owned).ok_or_else(wrong)
    };
    let source = one_of("source", &["github"])?;
    one_of("type", &["link", "provision"])?;
    let frequency = set.get("frequency").map(|_| one_of("frequency", &["once", "continuously", "paused"]));
    set["frequency"] = frequency.transpose()?.unwrap_or_else(|| "once".to_owned()).into();
    set["sync_membership"] = json!(set["sync_membership"] == true);
    write(&shared, |world, now| {
        let id = world.syncs.get(&source, NOW).map(|found| found.0);
        let id = id.unwrap_or_else(|| world.new_id());
        world.syncs.put(source, (id, set), now);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}
