//! Routes of people: who the token belongs to, memberships of teams.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::app::INSTALLATION_TOKEN;
use super::reply::{json_reply, page};
use super::wire;
use super::{Org, Refusal, body, read, write};
use crate::sandbox::Shared;
use crate::sandbox::call::Context;
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;

fn must_be_a_person(headers: &HeaderMap) -> Result<(), Refusal> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if token.contains(INSTALLATION_TOKEN) {
        return Err(Refusal::Forbidden("Resource not accessible by integration"));
    }
    Ok(())
}

pub(super) async fn user(headers: HeaderMap, call: Context) -> Result<Response, Refusal> {
    must_be_a_person(&headers)?;
    Ok(json_reply(StatusCode::OK, &wire::user(&call.base, wire::ADMIN)))
}

/// Every token is an owner's, who sees secret teams too.
pub(super) async fn own_membership(
    State(shared): Sandbox,
    Path(org): Path<String>,
    headers: HeaderMap,
    call: Context,
) -> Result<Response, Refusal> {
    must_be_a_person(&headers)?;
    let world = read(&shared);
    let org = world.org(&org, call.at)?;
    let membership = json!({
        "url": format!("{}/orgs/{}/memberships/{}", call.base, org.login, wire::ADMIN),
        "state": "active",
        "role": "admin",
        "organization_url": format!("{}/orgs/{}", call.base, org.login),
        "organization": wire::org(&call.base, org),
        "user": wire::user(&call.base, wire::ADMIN),
    });
    Ok(json_reply(StatusCode::OK, &membership))
}

pub(super) async fn members(
    State(shared): Sandbox,
    Path((org, slug)): Path<(String, String)>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let team = world.team(world.org(&org, call.at)?.id, &slug, call.at)?;
    Ok(page(&call, world.members(team.id, call.at), |member| wire::user(&call.base, &member.0)))
}

type MemberPath = Path<(String, String, String)>;

fn membership_json(base: &str, org: &Org, team_id: u64, login: &str, role: &str) -> Value {
    let url = format!("{base}/organizations/{}/team/{team_id}/memberships/{login}", org.id);
    json!({"url": url, "role": role, "state": "active"})
}

pub(super) async fn membership(
    State(shared): Sandbox,
    Path((org, slug, login)): MemberPath,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let org = world.org(&org, call.at)?;
    let team = world.team(org.id, &slug, call.at)?;
    let role = world.role(team.id, &login, call.at)?;
    Ok(json_reply(StatusCode::OK, &membership_json(&call.base, org, team.id, &login, role)))
}

#[derive(Deserialize)]
struct Role {
    role: Option<String>,
}

pub(super) async fn add_member(
    State(shared): Sandbox,
    Path((org, slug, login)): MemberPath,
    call: Context,
) -> Result<Response, Refusal> {
    let Role { role } = body(&call)?;
    let role = role.unwrap_or_else(|| "member".to_owned());
    write(&shared, &call, |world, tell, now| {
        let org = world.org(&org, NOW)?.clone();
        let team = world.team(org.id, &slug, NOW)?.clone();
        if world.add_member(team.id, &login, &role, now) {
            tell.membership(world, &org, "added", &login, &team);
        }
        Ok(json_reply(StatusCode::OK, &membership_json(&call.base, &org, team.id, &login, &role)))
    })
}

pub(super) async fn remove_member(
    State(shared): Sandbox,
    Path((org, slug, login)): MemberPath,
    call: Context,
) -> Result<Response, Refusal> {
    write(&shared, &call, |world, tell, now| {
        let org = world.org(&org, NOW)?.clone();
        let team = world.team(org.id, &slug, NOW)?.clone();
        world.remove_member(team.id, &login, now)?;
        tell.membership(world, &org, "removed", &login, &team);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}
