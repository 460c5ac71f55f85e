//! Routes of users' memberships in teams. Users need no registration here.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::reply::{Page, json_reply};
use super::world::{Membership, uuid};
use super::{Refusal, data, read, write};
use crate::sandbox::Shared;
use crate::sandbox::call::Context;
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;

fn line(membership: &Membership, by: uuid::Uuid) -> Value {
    let Membership { number, team, user, role } = membership;
    json!({
        "type": "team_memberships",
        "id": format!("TeamMembership-{team}-{number}"),
        "attributes": {"provisioned_by": null, "provisioned_by_id": by.to_string(), "role": role},
        "relationships": {
            "team": {"data": {"id": team.to_string(), "type": "team"}},
            "user": {"data": {"id": user.to_string(), "type": "users"}},
        },
    })
}

/// Recorded, quotes and all.
const INVALID_ROLE: &str =
    "{'errors': [{'detail': 'Not a valid choice.', 'source': {'pointer': '/data/attributes/role'}}]}";

/// A role in a request: `admin` or null.
fn role(data: &Value) -> Result<Option<String>, Refusal> {
    match &data["attributes"]["role"] {
        Value::Null => Ok(None),
        Value::String(role) if role == "admin" => Ok(Some(role.clone())),
        _ => Err(Refusal::wrong(INVALID_ROLE)),
    }
}

pub(super) async fn list(
    State(shared): Sandbox,
    Path(team_id): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let page = Page::of(&call)?;
    let world = read(&shared);
    let team = world.team(&team_id, call.at)?;
    let found: Vec<_> = world.memberships_of(team.id, call.at).collect();
    let mut body = page.pagination(&call, found.len());
    body["data"] = page.cut(found).into_iter().map(|one| line(one, world.me)).collect();
    Ok(json_reply(StatusCode::OK, &body))
}

/// Recorded: without pages.
pub(super) async fn of_user(
    State(shared): Sandbox,
    Path(user): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let found = world.memberships_of_user(uuid(&user)?, call.at);
    let data: Value = found.map(|one| line(one, world.me)).collect();
    Ok(json_reply(StatusCode::OK, &json!({"data": data})))
}

pub(super) async fn join(
    State(shared): Sandbox,
    Path(team_id): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let data = data(&call)?;
    let user = data.pointer("/relationships/user/data/id").and_then(Value::as_str).unwrap_or_default();
    let role = role(&data)?;
    let body = write(&shared, |world, now| {
        let team = world.team(&team_id, NOW)?.id;
        let membership = world.join(team, uuid(user)?, role, now)?;
        Ok(json!({"data": line(&membership, world.me)}))
    })?;
    Ok(json_reply(StatusCode::OK, &body))
}

pub(super) async fn update(
    State(shared): Sandbox,
    Path((team_id, user_id)): Path<(String, String)>,
    call: Context,
) -> Result<Response, Refusal> {
    let role = role(&data(&call)?)?;
    let body = write(&shared, |world, now| {
        let team = world.team(&team_id, NOW)?.id;
        let membership = Membership { role, ..Membership::clone(world.membership(team, &user_id)?) };
        world.put_membership(membership.clone(), now);
        Ok(json!({"data": line(&membership, world.me)}))
    })?;
    Ok(json_reply(StatusCode::OK, &body))
}

pub(super) async fn leave(
    State(shared): Sandbox,
    Path((team_id, user_id)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    write(&shared, |world, now| {
        let team = world.team(&team_id, NOW)?.id;
        let membership = world.membership(team, &user_id)?.clone();
        world.leave(&membership, now);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}
