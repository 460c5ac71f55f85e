//! Routes of entity integration configs. There are no recordings of them: statuses and shapes are the contract's,
//! wordings are assumed. They take keys only, no bearer.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::reply::json_reply;
use super::world::ORG_ID;
use super::{Refusal, data, read, write};
use crate::sandbox::Shared;
use crate::sandbox::pipeline::Context;
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;

const INTEGRATIONS: [&str; 3] = ["github", "jira", "pagerduty"];

fn known(integration: &str) -> Result<(), Refusal> {
    if INTEGRATIONS.contains(&integration) {
        return Ok(());
    }
    Err(Refusal::bad(format!("integration \"{integration}\" is not one of [{}]", INTEGRATIONS.join(" "))))
}

fn unset(integration: &str) -> Refusal {
    Refusal::Object(404, format!("no configuration for integration \"{integration}\""))
}

fn answer(integration: &str, id: Uuid, config: &Value) -> Response {
    let body = json!({"data": {
        "id": id.to_string(),
        "type": "entity_integration_configs",
        "attributes": {"integration_id": integration, "org_id": ORG_ID, "config": config},
    }});
    json_reply(StatusCode::OK, &body)
}

pub(super) async fn show(
    State(shared): Sandbox,
    Path(integration): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    known(&integration)?;
    let world = read(&shared);
    let found = world.integrations.get(&integration, call.at).ok_or_else(|| unset(&integration))?;
    Ok(answer(&integration, found.0, &found.1))
}

/// Creates or replaces the whole document.
pub(super) async fn replace(
    State(shared): Sandbox,
    Path(integration): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    known(&integration)?;
    let data = data(&call)?;
    if data["type"] != "entity_integration_config_requests" {
        return Err(Refusal::bad("attribute \"type\" must be \"entity_integration_config_requests\""));
    }
    let config = data.pointer("/attributes/config").filter(|config| config.is_object());
    let config = config.ok_or_else(|| Refusal::bad("attribute \"config\" must be an object"))?.clone();
    write(&shared, |world, now| {
        let id = world.integrations.get(&integration, NOW).map(|found| found.0);
        let id = id.unwrap_or_else(|| world.new_id());
        world.integrations.put(integration.clone(), (id, config.clone()), now);
        Ok(answer(&integration, id, &config))
    })
}

pub(super) async fn delete(
    State(shared): Sandbox,
    Path(integration): Path<String>,
) -> Result<Response, Refusal> {
    known(&integration)?;
    write(&shared, |world, now| {
        world.integrations.get(&integration, NOW).ok_or_else(|| unset(&integration))?;
        world.integrations.remove(&integration, now);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}
