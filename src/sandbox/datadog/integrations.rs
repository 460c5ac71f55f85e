//! Routes of entity integration configs. There are no recordings of them: statuses and shapes are the contract's,
//! wordings are assumed. They take keys only, no bearer. A preview that is not granted answers 403, which a fault
//! rule on `/api/v2/idp/*` does.
//!
//! Who the writers are is told by their `User-Agent`; [`Gaps`](super::gaps::Gaps) judges what they do to each other.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::reply::json_reply;
use super::{Refusal, data, write};
use crate::sandbox::Shared;
use crate::sandbox::call::Context;
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;

/// An integration's list, and the fields of its entries that must be texts (documented; `enabled` is a flag).
type Shape = (&'static str, &'static [&'static str]);

fn known(integration: &str) -> Result<Shape, Refusal> {
    match integration {
        "github" => Ok(("enabled_repos", &["hostname", "github_org_name", "repo_name"])),
        "jira" => Ok(("enabled_projects", &["hostname", "account_id", "project_key"])),
        "pagerduty" => Ok(("accounts", &[])),
        _ => {
            Err(Refusal::bad(format!("integration \"{integration}\" is not one of [github jira pagerduty]")))
        }
    }
}

/// Documented: each integration's list must be there. What is said of wrong entries is assumed, and that fields
/// which are not documented are kept.
fn shaped(config: &Value, (list, texts): Shape) -> Result<(), Refusal> {
    let bad = |what: String| Err(Refusal::bad(what));
    let Some(entries) = config[list].as_array() else {
        return bad(format!("attribute \"config.{list}\" must be an array"));
    };
    for (number, entry) in entries.iter().enumerate() {
        let text = |name: &&&str| entry[**name].as_str().is_none_or(str::is_empty);
        if let Some(name) = texts.iter().find(text) {
            return bad(format!("attribute \"config.{list}[{number}].{name}\" must be a text"));
        }
        if list == "accounts" && !(entry["enabled"].is_boolean() && is_text_or_absent(&entry["subdomain"])) {
            return bad(format!("attribute \"config.{list}[{number}]\" needs \"enabled\", true or false"));
        }
    }
    Ok(())
}

fn is_text_or_absent(value: &Value) -> bool {
    value.is_null() || value.is_string()
}

fn unset(integration: &str) -> Refusal {
    Refusal::Object(404, format!("no configuration for integration \"{integration}\""))
}

fn answer(org: u64, integration: &str, id: Uuid, config: &Value) -> Response {
    let body = json!({"data": {
        "id": id.to_string(),
        "type": "entity_integration_configs",
        "attributes": {"integration_id": integration, "org_id": org, "config": config},
    }});
    json_reply(StatusCode::OK, &body)
}

pub(super) async fn show(
    State(shared): Sandbox,
    Path(integration): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    known(&integration)?;
    write(&shared, |world, now| {
        world.gaps.looked(&call.agent, &integration, now);
        let found = world.integrations.get(&integration, call.at).ok_or_else(|| unset(&integration))?;
        Ok(answer(world.org_id, &integration, found.0, &found.1))
    })
}

/// Creates or replaces the whole document.
pub(super) async fn replace(
    State(shared): Sandbox,
    Path(integration): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let shape = known(&integration)?;
    let data = data(&call)?;
    if data["type"] != "entity_integration_config_requests" {
        return Err(Refusal::bad("attribute \"type\" must be \"entity_integration_config_requests\""));
    }
    let config = data.pointer("/attributes/config").filter(|config| config.is_object());
    let config = config.ok_or_else(|| Refusal::bad("attribute \"config\" must be an object"))?;
    shaped(config, shape)?;
    write(&shared, |world, now| {
        let before = world.integrations.get(&integration, NOW).cloned();
        let id = before.as_deref().map(|found| found.0).unwrap_or_else(|| world.new_id());
        let before = before.as_deref().map(|found| &found.1);
        world.gaps.replaced(&call.agent, &integration, before, Some(config), now);
        world.integrations.put(integration.clone(), (id, config.clone()), now);
        Ok(answer(world.org_id, &integration, id, config))
    })
}

pub(super) async fn delete(
    State(shared): Sandbox,
    Path(integration): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    known(&integration)?;
    write(&shared, |world, now| {
        let before = world.integrations.get(&integration, NOW).cloned();
        let before = before.ok_or_else(|| unset(&integration))?;
        world.gaps.replaced(&call.agent, &integration, Some(&before.1), None, now);
        world.integrations.remove(&integration, now);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}
