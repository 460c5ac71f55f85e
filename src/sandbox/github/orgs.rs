//! Routes of organisations and of their webhooks.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::{json_reply, page};
use super::wire;
use super::{Org, Refusal, body, id, nullable, read, write};
use crate::sandbox::Shared;
use crate::sandbox::call::Context;
use crate::sandbox::hooks::Hook;
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;

pub(super) async fn show(
    State(shared): Sandbox,
    Path(org): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    Ok(json_reply(StatusCode::OK, &wire::full_org(&call.base, world.org(&org, call.at)?)))
}

pub(super) async fn show_by_id(
    State(shared): Sandbox,
    Path(org_id): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    Ok(json_reply(StatusCode::OK, &wire::full_org(&call.base, world.org_by_id(id(&org_id)?, call.at)?)))
}

/// `login` is the sandbox's own: GitHub renames organisations only in the browser.
#[derive(Deserialize)]
struct OrgFields {
    login: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    description: Option<Option<String>>,
}

pub(super) async fn update(
    State(shared): Sandbox,
    Path(org): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let OrgFields { login, name, description } = body(&call)?;
    write(&shared, &call, |world, tell, now| {
        let before = world.org(&org, NOW)?.clone();
        let mut after = Org::clone(&before);
        after.login = login.unwrap_or(after.login);
        after.name = name.unwrap_or(after.name);
        after.description = description.unwrap_or(after.description);
        let org = world.update_org(&before, after, now)?;
        if org.login != before.login {
            tell.org(&org, "renamed", Some(&before.login));
        }
        Ok(json_reply(StatusCode::OK, &wire::full_org(&call.base, &org)))
    })
}

pub(super) async fn delete(
    State(shared): Sandbox,
    Path(org): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let org = write(&shared, &call, |world, tell, now| {
        let org = world.org(&org, NOW)?.clone();
        world.delete_org(&org, now);
        tell.org(&org, "deleted", None);
        Ok(org)
    })?;
    shared.hooks.remove(|hook| hook.org_id == Some(org.id));
    Ok(json_reply(StatusCode::ACCEPTED, &json!({})))
}

#[derive(Deserialize)]
struct NewHook {
    config: HookConfig,
    active: Option<bool>,
    events: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct HookConfig {
    url: String,
    secret: Option<String>,
    content_type: Option<String>,
}

fn hook_json(base: &str, org: &Org, hook: &Hook) -> Value {
    let url = format!("{base}/orgs/{}/hooks/{}", org.login, hook.id);
    json!({
        "id": hook.id,
        "type": "Organization",
        "name": "web",
        "active": true,
        "events": hook.events,
        "config": {
            "url": hook.url,
            "content_type": if hook.form { "form" } else { "json" },
            "insecure_ssl": "0",
            "secret": hook.secret.as_ref().map(|_| "********"),
        },
        "url": url,
        "ping_url": format!("{url}/pings"),
        "deliveries_url": format!("{url}/deliveries"),
    })
}

/// Registers a hook and pings it. Without `events` it hears everything (GitHub: only `push`, which never happens
/// here).
pub(super) async fn add_hook(
    State(shared): Sandbox,
    Path(org): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let NewHook { config, active, events } = body(&call)?;
    let (json, hook) = write(&shared, &call, |world, _, _| {
        let org = world.org(&org, NOW)?.clone();
        let hook = Hook {
            id: world.next_id(),
            org_id: Some(org.id),
            url: config.url,
            secret: config.secret,
            form: config.content_type.as_deref() != Some("json"),
            events: events.unwrap_or_else(|| vec!["*".to_owned()]),
        };
        Ok((hook_json(&call.base, &org, &hook), hook))
    })?;
    if active != Some(false) {
        shared.hooks.add(hook);
        write(&shared, &call, |world, tell, _| {
            tell.ping(world.org(&org, NOW)?, json.clone());
            Ok(())
        })?;
    }
    Ok(json_reply(StatusCode::CREATED, &json))
}

pub(super) async fn hooks(
    State(shared): Sandbox,
    Path(org): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let org = world.org(&org, call.at)?;
    let hooks = shared.hooks.of(org.id);
    Ok(page(&call, hooks.iter(), |hook| hook_json(&call.base, org, hook)))
}

pub(super) async fn delete_hook(
    State(shared): Sandbox,
    Path((org, hook_id)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (org_id, hook_id) = (read(&shared).org(&org, NOW)?.id, id(&hook_id)?);
    if shared.hooks.remove(|hook| hook.id == hook_id && hook.org_id == Some(org_id)) {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Refusal::NotFound)
    }
}
