//! Routes of hierarchy links between teams.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::reply::{Page, json_reply};
use super::world::Link;
use super::{Refusal, Team, World, data, read, write};
use crate::sandbox::Shared;
use crate::sandbox::call::Context;
use crate::sandbox::clock::datadog_time;
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;

fn line(link: &Link) -> Value {
    json!({
        "id": link.id.to_string(),
        "type": "team_hierarchy_links",
        "attributes": {"created_at": datadog_time(link.created_at), "provisioned_by": ""},
        "relationships": {
            "parent_team": {"data": {"id": link.parent.to_string(), "type": "team"}},
            "sub_team": {"data": {"id": link.sub.to_string(), "type": "team"}},
        },
    })
}

/// The teams of the links, as `included` shows them.
fn included(world: &World, links: &[&Link], at: u64) -> Vec<Value> {
    let mut ids: Vec<_> = links.iter().flat_map(|link| [link.parent, link.sub]).collect();
    ids.sort_unstable();
    ids.dedup();
    let teams = ids.iter().filter_map(|id| world.team(&id.to_string(), at).ok());
    teams.map(|team| team_line(world, team, at)).collect()
}

fn team_line(world: &World, team: &Team, at: u64) -> Value {
    json!({
        "id": team.id.to_string(),
        "type": "team",
        "attributes": {
            "avatar": team.avatar,
            "banner": team.banner,
            "handle": team.handle,
            "is_managed": false,
            "is_open_membership": true,
            "link_count": 0,
            "name": team.name,
            "summary": null,
            "user_count": world.memberships_of(team.id, at).count(),
        },
    })
}

fn one(world: &World, link: &Link, at: u64) -> Response {
    json_reply(StatusCode::OK, &json!({"data": line(link), "included": included(world, &[link], at)}))
}

pub(super) async fn list(State(shared): Sandbox, call: Context) -> Result<Response, Refusal> {
    let page = Page::of(&call)?;
    let (parent, sub) = (call.param("filter[parent_team]"), call.param("filter[sub_team]"));
    let world = read(&shared);
    let fits =
        |wanted: &Option<String>, id: uuid::Uuid| wanted.as_ref().is_none_or(|text| *text == id.to_string());
    let found: Vec<_> =
        world.links(call.at).filter(|link| fits(&parent, link.parent) && fits(&sub, link.sub)).collect();
    let meta = page.meta(found.len());
    let links: Vec<&Link> = page.cut(found).into_iter().map(Arc::as_ref).collect();
    let body = json!({
        "data": links.iter().map(|link| line(link)).collect::<Vec<_>>(),
        "meta": {"page": meta},
        "links": {"self": format!("{}{}?{}", call.base, call.path, call.query)},
        "included": included(&world, &links, call.at),
    });
    Ok(json_reply(StatusCode::OK, &body))
}

pub(super) async fn show(
    State(shared): Sandbox,
    Path(link_id): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    Ok(one(&world, world.link(&link_id, call.at)?, call.at))
}

/// Recorded: 200, not 201.
pub(super) async fn create(State(shared): Sandbox, call: Context) -> Result<Response, Refusal> {
    let data = data(&call)?;
    let id = |role: &str| {
        let id = data.pointer(&format!("/relationships/{role}/data/id")).and_then(Value::as_str);
        id.ok_or_else(|| Refusal::wrong(format!("attribute \"{role}\" is required")))
    };
    let (parent, sub) = (id("parent_team")?, id("sub_team")?);
    write(&shared, |world, now| {
        let (parent, sub) = (world.team(parent, NOW)?.id, world.team(sub, NOW)?.id);
        let link = world.create_link(parent, sub, now)?;
        Ok(one(world, &link, NOW))
    })
}

pub(super) async fn delete(State(shared): Sandbox, Path(link_id): Path<String>) -> Result<Response, Refusal> {
    write(&shared, |world, now| {
        let link = world.link(&link_id, NOW)?.clone();
        world.delete_link(&link, now);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}
