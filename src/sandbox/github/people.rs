//! Routes of people and of the App: who the token belongs to, memberships of teams, installations and their tokens.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::{json_reply, page};
use super::wire;
use super::{Org, Refusal, body, id, read, write};
use crate::sandbox::Shared;
use crate::sandbox::clock::github_time;
use crate::sandbox::pipeline::Context;
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;

/// The id of the one GitHub App.
const APP_ID: u64 = 1;

/// Installation tokens begin so, here and at GitHub; they belong to no person.
const INSTALLATION_TOKEN: &str = "ghs_";

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

pub(super) async fn app(call: Context) -> Response {
    let owner = wire::user(&call.base, wire::ADMIN);
    let app = json!({
        "id": APP_ID,
        "slug": "teamlink-sandbox",
        "node_id": "A_1",
        "owner": owner,
        "name": "teamlink sandbox",
        "description": null,
        "external_url": "https://github.com/apps/teamlink-sandbox",
        "html_url": "https://github.com/apps/teamlink-sandbox",
        "created_at": github_time(0),
        "updated_at": github_time(0),
        "permissions": permissions(),
        "events": ["team", "membership", "organization", "repository"],
    });
    json_reply(StatusCode::OK, &app)
}

fn permissions() -> Value {
    json!({"members": "read", "metadata": "read"})
}

fn installation_json(base: &str, org: &Org) -> Value {
    let url = format!("{base}/app/installations/{}", org.installation_id);
    json!({
        "id": org.installation_id,
        "account": wire::account(base, &org.login, org.id, "Organization"),
        "repository_selection": "all",
        "access_tokens_url": format!("{url}/access_tokens"),
        "repositories_url": format!("{base}/installation/repositories"),
        "html_url": format!("https://github.com/organizations/{}/settings/installations/{}", org.login, org.installation_id),
        "app_id": APP_ID,
        "app_slug": "teamlink-sandbox",
        "target_id": org.id,
        "target_type": "Organization",
        "permissions": permissions(),
        "events": ["team", "membership", "organization", "repository"],
        "created_at": github_time(org.created_at),
        "updated_at": github_time(org.updated_at),
        "single_file_name": null,
        "has_multiple_single_files": false,
        "single_file_paths": [],
        "suspended_by": null,
        "suspended_at": null,
    })
}

pub(super) async fn installations(State(shared): Sandbox, call: Context) -> Response {
    let world = read(&shared);
    page(&call, world.orgs.iter(call.at), |(_, org)| installation_json(&call.base, org))
}

pub(super) async fn installation_of(
    State(shared): Sandbox,
    Path(org): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    Ok(json_reply(StatusCode::OK, &installation_json(&call.base, world.org(&org, call.at)?)))
}

pub(super) async fn installation(
    State(shared): Sandbox,
    Path(installation_id): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let (world, id) = (read(&shared), id(&installation_id)?);
    let found = world.orgs.iter(call.at).find(|(_, org)| org.installation_id == id);
    let (_, org) = found.ok_or(Refusal::NotFound)?;
    Ok(json_reply(StatusCode::OK, &installation_json(&call.base, org)))
}

pub(super) async fn token(
    State(shared): Sandbox,
    Path(installation_id): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let id = id(&installation_id)?;
    if !read(&shared).orgs.iter(call.at).any(|(_, org)| org.installation_id == id) {
        return Err(Refusal::NotFound);
    }
    let now = shared.clock.now();
    let token = json!({
        "token": format!("{INSTALLATION_TOKEN}sandbox{id}x{now}"),
        "expires_at": github_time(now + 3_600_000_000),
        "permissions": permissions(),
        "repository_selection": "all",
    });
    Ok(json_reply(StatusCode::CREATED, &token))
}
