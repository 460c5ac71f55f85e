//! Routes of teams and of who may do what with them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::reply::{Page, json_reply};
use super::{Refusal, Team, World, csv, data, read, write};
use crate::sandbox::Shared;
use crate::sandbox::call::Context;
use crate::sandbox::clock::datadog_time;
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;

/// Limits of the contract.
const MAX_HANDLE: usize = 195;
const MAX_NAME: usize = 200;

/// A team as lists and `GET` show it: without avatar, banner and modules (recorded).
pub(super) fn line(world: &World, team: &Team, at: u64) -> Value {
    let links = |what| json!({"related": format!("/api/v2/team/{}/{what}", team.id)});
    json!({
        "type": "team",
        "id": team.id.to_string(),
        "attributes": {
            "created_at": datadog_time(team.created_at),
            "description": team.description,
            "handle": team.handle,
            "is_managed": false,
            "link_count": 0,
            "modified_at": datadog_time(team.modified_at),
            "name": team.name,
            "summary": null,
            "user_count": world.memberships_of(team.id, at).count(),
        },
        "relationships": {
            "team_links": {"links": links("links")},
            "user_team_permissions": {"links": links("permission-settings")},
        },
    })
}

/// A team as the answer to its creation or change shows it.
fn full(world: &World, team: &Team) -> Value {
    let mut json = line(world, team, NOW);
    let attributes = &mut json["attributes"];
    attributes["avatar"] = json!(team.avatar);
    attributes["banner"] = json!(team.banner);
    attributes["visible_modules"] = json!(team.visible_modules);
    attributes["hidden_modules"] = json!(team.hidden_modules);
    json
}

/// `fields[team]`: only those attributes, and no relationship that is not named (recorded).
fn trim(mut team: Value, fields: &[String]) -> Value {
    for part in ["attributes", "relationships"] {
        if let Some(map) = team[part].as_object_mut() {
            map.retain(|name, _| fields.contains(name));
            if map.is_empty() && part == "relationships" {
                team.as_object_mut().map(|team| team.remove(part));
            }
        }
    }
    team
}

pub(super) async fn list(State(shared): Sandbox, call: Context) -> Result<Response, Refusal> {
    let page = Page::of(&call)?;
    let keyword = call.param("filter[keyword]").unwrap_or_default().to_lowercase();
    let mine = call.param("filter[me]").is_some_and(|value| value == "true");
    let fields = csv(&call, "fields[team]");
    let world = read(&shared);
    let is_mine = |team: &Team| world.memberships_of(team.id, call.at).any(|one| one.user == world.me);
    let speaks_of = |text: &str| text.to_lowercase().contains(&keyword);
    let mut found: Vec<_> = world
        .teams(call.at)
        .filter(|team| keyword.is_empty() || speaks_of(&team.name) || speaks_of(&team.handle))
        .filter(|team| !mine || is_mine(team))
        .collect();
    let users = |team: &Team| world.memberships_of(team.id, call.at).count();
    match call.param("sort").as_deref() {
        None => {}
        Some("name") => found.sort_by(|a, b| a.name.cmp(&b.name)),
        Some("-name") => found.sort_by(|a, b| b.name.cmp(&a.name)),
        Some("user_count") => found.sort_by_cached_key(|team| users(team)),
        Some("-user_count") => found.sort_by_cached_key(|team| std::cmp::Reverse(users(team))),
        Some(other) => {
            return Err(Refusal::wrong(format!("parameter \"sort\" \"{other}\" is not supported")));
        }
    }
    let mut body = page.pagination(&call, found.len());
    let lines = page.cut(found).into_iter().map(|team| line(&world, team, call.at));
    body["data"] = lines.map(|team| if fields.is_empty() { team } else { trim(team, &fields) }).collect();
    Ok(json_reply(StatusCode::OK, &body))
}

pub(super) async fn show(
    State(shared): Sandbox,
    Path(team_id): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let team = world.team(&team_id, call.at)?;
    Ok(json_reply(StatusCode::OK, &json!({"data": line(&world, team, call.at)})))
}

/// Sets what the request's attributes name; handle and name must be there.
fn apply(team: &mut Team, data: &Value) -> Result<(), Refusal> {
    let attributes = &data["attributes"];
    let required = |name: &str, limit: usize| {
        let text = attributes[name].as_str().filter(|text| (1..=limit).contains(&text.chars().count()));
        let wrong = || Refusal::wrong(format!("attribute \"{name}\" must have 1 to {limit} characters"));
        text.map(str::to_owned).ok_or_else(wrong)
    };
    team.handle = required("handle", MAX_HANDLE)?;
    team.name = required("name", MAX_NAME)?;
    optional(attributes, "description", &mut team.description)?;
    optional(attributes, "avatar", &mut team.avatar)?;
    optional(attributes, "banner", &mut team.banner)?;
    optional(attributes, "visible_modules", &mut team.visible_modules)?;
    optional(attributes, "hidden_modules", &mut team.hidden_modules)
}

fn optional<T: DeserializeOwned>(attributes: &Value, name: &str, field: &mut T) -> Result<(), Refusal> {
    if let Some(value) = attributes.get(name) {
        let wrong = |_| Refusal::wrong(format!("attribute \"{name}\" is not of the right type"));
        *field = serde_json::from_value(value.clone()).map_err(wrong)?;
    }
    Ok(())
}

pub(super) async fn create(State(shared): Sandbox, call: Context) -> Result<Response, Refusal> {
    let data = data(&call)?;
    let mut draft = Team::draft(String::new(), String::new());
    apply(&mut draft, &data)?;
    let body = write(&shared, |world, now| {
        let team = world.create_team(draft, now)?;
        let mut json = full(world, &team);
        // Recorded: only this answer says that there are no links and no permissions.
        json["relationships"]["team_links"]["data"] = json!([]);
        json["relationships"]["user_team_permissions"]["data"] = Value::Null;
        Ok(json!({"data": json}))
    })?;
    Ok(json_reply(StatusCode::CREATED, &body))
}

pub(super) async fn update(
    State(shared): Sandbox,
    Path(team_id): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let data = data(&call)?;
    let body = write(&shared, |world, now| {
        let before = world.team(&team_id, NOW)?.clone();
        let mut after = Team::clone(&before);
        apply(&mut after, &data)?;
        let team = world.update_team(&before, after, now)?;
        Ok(json!({"data": full(world, &team)}))
    })?;
    Ok(json_reply(StatusCode::OK, &body))
}

pub(super) async fn delete(State(shared): Sandbox, Path(team_id): Path<String>) -> Result<Response, Refusal> {
    write(&shared, |world, now| {
        let team = world.team(&team_id, NOW)?.clone();
        world.delete_team(&team, now);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

/// The two permissions of a team with their default and their choices (recorded).
const PERMISSIONS: [(&str, &str, &str, &[&str]); 2] = [
    (
        "manage_membership",
        "Add and Remove Members",
        "organization",
        &["user_access_manage", "admins", "members", "organization"],
    ),
    ("edit", "Edit Team Details", "members", &["teams_manage", "admins", "members"]),
];

fn permission(world: &World, team: Uuid, action: &str, at: u64) -> Option<Value> {
    let (action, title, default, options) = PERMISSIONS.iter().find(|(name, ..)| *name == action)?;
    let chosen = world.permissions.get(&(team, (*action).to_owned()), at);
    Some(json!({
        "type": "team_permission_settings",
        "id": format!("TeamPermission-{team}-{action}"),
        "attributes": {
            "action": action,
            "value": chosen.map_or(*default, |value| value.as_str()),
            "title": title,
            "editable": true,
            "options": options,
        },
    }))
}

pub(super) async fn permissions(
    State(shared): Sandbox,
    Path(team_id): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let team = world.team(&team_id, call.at)?;
    let data: Vec<_> =
        PERMISSIONS.iter().filter_map(|(action, ..)| permission(&world, team.id, action, call.at)).collect();
    Ok(json_reply(StatusCode::OK, &json!({"data": data})))
}

pub(super) async fn set_permission(
    State(shared): Sandbox,
    Path((team_id, action)): Path<(String, String)>,
    call: Context,
) -> Result<Response, Refusal> {
    let data = data(&call)?;
    let body = write(&shared, |world, now| {
        let team = world.team(&team_id, NOW)?.id;
        // Recorded.
        let unknown = || {
            Refusal::not_found(format!(
                "Invalid action type \"{action}\". Valid actions: manage_membership, edit not found"
            ))
        };
        let (_, _, _, options) = PERMISSIONS.iter().find(|(name, ..)| *name == action).ok_or_else(unknown)?;
        let value = data["attributes"]["value"].as_str().filter(|value| options.contains(value));
        let value = value.ok_or_else(|| Refusal::wrong("attribute \"value\" is not one of the options"))?;
        world.permissions.put((team, action.clone()), value.to_owned(), now);
        Ok(json!({"data": permission(world, team, &action, NOW)}))
    })?;
    Ok(json_reply(StatusCode::OK, &body))
}
