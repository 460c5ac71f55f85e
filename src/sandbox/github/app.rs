//! The one GitHub App of this world: its installations, their tokens, and what these may ask.
//!
//! A JSON web token must name the App as its issuer, be signed before now, and end within the next ten minutes; its signature is not looked at, since nobody
//! has told the sandbox a key. Any credential of another kind may ask as the App too, for the sake of those who
//! look around by hand.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::reply::{json_reply, page};
use super::wire;
use super::{Installation, Org, Refusal, id, read, write};
use crate::sandbox::Shared;
use crate::sandbox::call::Context;
use crate::sandbox::clock::github_time;
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;

/// The id of the App.
const APP_ID: u64 = 1;

/// Installation tokens begin so, here and at GitHub; they belong to no person.
pub(super) const INSTALLATION_TOKEN: &str = "ghs_";

/// GitHub: an installation token is good for an hour.
const TOKEN_LIFE_US: u64 = 3_600_000_000;

/// GitHub: a JSON web token of the App ends ten minutes from now at the latest.
const ASSERTION_LIFE_S: u64 = 600;

const ELSEWHERE: Refusal = Refusal::Forbidden("Resource not accessible by integration");
const BAD_CREDENTIALS: Refusal = Refusal::Unauthorised("Bad credentials");

/// Whether a credential may ask for this path, as far as that depends on the App.
pub(super) fn check(shared: &Shared, path: &str, credential: &str) -> Result<(), Refusal> {
    if let Some(token) = credential.strip_prefix(INSTALLATION_TOKEN) {
        return check_token(shared, path, token);
    }
    match credential.split('.').collect::<Vec<_>>().as_slice() {
        [_, claims, _] => check_claims(shared, path, claims),
        _ => Ok(()),
    }
}

fn check_claims(shared: &Shared, path: &str, claims: &str) -> Result<(), Refusal> {
    let unreadable = Refusal::Unauthorised("A JSON web token could not be decoded");
    let Ok(claims) = BASE64_URL_SAFE_NO_PAD.decode(claims) else { return Err(unreadable) };
    let Ok(claims) = serde_json::from_slice::<Value>(&claims) else { return Err(unreadable) };
    let issuer = claims["iss"].as_u64().or_else(|| claims["iss"].as_str()?.parse().ok());
    if issuer != Some(APP_ID) {
        return Err(Refusal::Unauthorised("'Issuer' claim ('iss') must be an Integer that names an app"));
    }
    let now = shared.clock.now() / 1_000_000;
    if claims["exp"].as_u64().is_none_or(|exp| exp < now) {
        return Err(Refusal::Unauthorised(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        ));
    }
    if claims["exp"].as_u64().is_none_or(|exp| exp > now + ASSERTION_LIFE_S) {
        return Err(Refusal::Unauthorised("'Expiration time' claim ('exp') is too far in the future"));
    }
    if claims["iat"].as_u64().is_none_or(|iat| iat > now) {
        return Err(Refusal::Unauthorised(
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        ));
    }
    // The App's own key opens what is the App's.
    let its_own = path == "/app" || path.starts_with("/app/") || path.ends_with("/installation");
    if its_own { Ok(()) } else { Err(ELSEWHERE) }
}

/// A token ends with its hour and with its installation, and is of use for one organisation.
fn check_token(shared: &Shared, path: &str, token: &str) -> Result<(), Refusal> {
    let parts = token.strip_prefix("sandbox").and_then(|parts| parts.split_once('x'));
    let parts = parts.and_then(|(id, at)| Some((id.parse().ok()?, at.parse::<u64>().ok()?)));
    let (id, given_at) = parts.ok_or(BAD_CREDENTIALS)?;
    if shared.clock.now() >= given_at + TOKEN_LIFE_US {
        return Err(BAD_CREDENTIALS);
    }
    let world = read(shared);
    let (org, installation) = world.installed(id, NOW).map_err(|_| BAD_CREDENTIALS)?;
    if installation.suspended_at.is_some() {
        return Err(Refusal::Forbidden("This installation has been suspended"));
    }
    let asked = match path.split('/').skip(1).collect::<Vec<_>>().as_slice() {
        ["orgs", login, _, ..] => world.org(login, NOW).ok(),
        ["organizations", id, _, ..] => id.parse().ok().and_then(|id| world.org_by_id(id, NOW).ok()),
        _ => None,
    };
    match asked {
        Some(asked) if asked.id != org.id => Err(ELSEWHERE),
        _ => Ok(()),
    }
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

/// The installation as GitHub shows it, in answers and in events.
pub(super) fn installation_json(base: &str, org: &Org, installation: Installation) -> Value {
    let id = installation.id;
    let url = format!("{base}/app/installations/{id}");
    let suspended_by = installation.suspended_at.map(|_| wire::user(base, wire::ADMIN));
    json!({
        "id": id,
        "account": wire::account(base, &org.login, org.id, "Organization"),
        "repository_selection": "all",
        "access_tokens_url": format!("{url}/access_tokens"),
        "repositories_url": format!("{base}/installation/repositories"),
        "html_url": format!("https://github.com/organizations/{}/settings/installations/{id}", org.login),
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
        "suspended_by": suspended_by,
        "suspended_at": installation.suspended_at.map(github_time),
    })
}

pub(super) async fn installations(State(shared): Sandbox, call: Context) -> Response {
    let world = read(&shared);
    let installed = world.orgs.iter(call.at).filter_map(|(_, org)| Some((org, org.installation?)));
    page(&call, installed, |(org, installation)| installation_json(&call.base, org, installation))
}

pub(super) async fn of_org(
    State(shared): Sandbox,
    Path(org): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let org = world.org(&org, call.at)?;
    let installation = org.installation.ok_or(Refusal::NotFound)?;
    Ok(json_reply(StatusCode::OK, &installation_json(&call.base, org, installation)))
}

pub(super) async fn installation(
    State(shared): Sandbox,
    Path(installation_id): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let (org, installation) = world.installed(id(&installation_id)?, call.at)?;
    Ok(json_reply(StatusCode::OK, &installation_json(&call.base, org, installation)))
}

pub(super) async fn token(
    State(shared): Sandbox,
    Path(installation_id): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let id = id(&installation_id)?;
    let (_, installation) = read(&shared).installed(id, call.at).map(|(org, it)| (org.id, it))?;
    if installation.suspended_at.is_some() {
        return Err(Refusal::Forbidden("This installation has been suspended"));
    }
    let now = shared.clock.now();
    let token = json!({
        "token": format!("{INSTALLATION_TOKEN}sandbox{id}x{now}"),
        "expires_at": github_time(now + TOKEN_LIFE_US),
        "permissions": permissions(),
        "repository_selection": "all",
    });
    Ok(json_reply(StatusCode::CREATED, &token))
}

pub(super) async fn suspend(shared: Sandbox, path: Path<String>, call: Context) -> Result<Response, Refusal> {
    change(shared, path, call, "suspend", |it, now| Some(Installation { suspended_at: Some(now), ..it }))
}

pub(super) async fn unsuspend(
    shared: Sandbox,
    path: Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    change(shared, path, call, "unsuspend", |it, _| Some(Installation { suspended_at: None, ..it }))
}

pub(super) async fn uninstall(
    shared: Sandbox,
    path: Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    change(shared, path, call, "deleted", |_, _| None)
}

fn change(
    State(shared): Sandbox,
    Path(installation_id): Path<String>,
    call: Context,
    action: &'static str,
    to: fn(Installation, u64) -> Option<Installation>,
) -> Result<Response, Refusal> {
    let id = id(&installation_id)?;
    write(&shared, &call, |world, tell, now| {
        let (org, before) = world.installed(id, NOW)?;
        let org = Arc::clone(org);
        let after = to(before, now);
        let org = world.update_org(&org, Org { installation: after, ..Org::clone(&org) }, now)?;
        tell.installation(&org, action, after.unwrap_or(before));
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}
