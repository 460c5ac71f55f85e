//! Routes of team connections.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::reply::{Page, PageMeta, json_reply};
use super::world::Filter;
use super::{Connection, Refusal, World, csv, data, read, write};
use crate::sandbox::Shared;
use crate::sandbox::call::Context;
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;

/// Recorded, in a terraform issue of May 2026.
const SOURCES: [&str; 3] = ["github", "scim", "servicenow"];

/// The fields in the recorded order, here and below.
#[derive(Serialize)]
struct Line<'a> {
    id: String,
    r#type: &'a str,
    attributes: Attributes<'a>,
    relationships: Relationships<'a>,
}

#[derive(Serialize)]
struct Attributes<'a> {
    managed_by: &'a str,
    source: &'a str,
}

#[derive(Serialize)]
struct Relationships<'a> {
    connected_team: To<&'a str>,
    team: To<String>,
}

#[derive(Serialize)]
struct To<I> {
    data: Target<I>,
}

#[derive(Serialize)]
struct Target<I> {
    id: I,
    r#type: &'static str,
}

#[derive(Serialize)]
struct List<'a> {
    data: Vec<Line<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Meta>,
}

#[derive(Serialize)]
struct Meta {
    page: PageMeta,
}

fn line(connection: &Connection) -> Line<'_> {
    Line {
        id: connection.id.to_string(),
        r#type: "team_connection",
        attributes: Attributes { managed_by: &connection.managed_by, source: &connection.source },
        relationships: Relationships {
            connected_team: To { data: Target { id: &connection.connected, r#type: "github_team" } },
            team: To { data: Target { id: connection.team.to_string(), r#type: "team" } },
        },
    }
}

pub(super) async fn list(State(shared): Sandbox, call: Context) -> Result<Response, Refusal> {
    let page = Page::of(&call)?;
    let filter = Filter {
        sources: csv(&call, "filter[sources]"),
        teams: csv(&call, "filter[team_ids]"),
        connected: csv(&call, "filter[connected_team_ids]"),
        ids: csv(&call, "filter[connection_ids]"),
    };
    let world = read(&shared);
    let found = world.connections(&filter, call.at);
    let meta = Meta { page: page.meta(found.len()) };
    let data = page.cut(found).into_iter().map(|connection| line(connection)).collect();
    Ok(json_reply(StatusCode::OK, &List { data, meta: Some(meta) }))
}

/// The items of a request; there must be some (recorded for POST, assumed for DELETE).
fn items(data: &Value) -> Result<&[Value], Refusal> {
    match data.as_array() {
        Some(items) if !items.is_empty() => Ok(items),
        _ => Err(Refusal::bad("attribute \"data\" at least one team connection must be provided")),
    }
}

fn text<'a>(item: &'a Value, pointer: &str) -> &'a str {
    item.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn draft(world: &World, item: &Value) -> Result<Connection, Refusal> {
    let source = text(item, "/attributes/source");
    if !SOURCES.contains(&source) {
        let detail = format!(
            "attribute \"source\" \"{source}\" is not a supported external team type, must be one of [{}]",
            SOURCES.join(" ")
        );
        return Err(Refusal::bad(detail));
    }
    // What Datadog says to a team it does not know is not recorded; the spec leaves 400.
    let team = text(item, "/relationships/team/data/id");
    let unknown = || Refusal::bad(format!("attribute \"team\" \"{team}\" does not exist"));
    let team = world.team(team, NOW).map_err(|_| unknown())?.id;
    let connected = text(item, "/relationships/connected_team/data/id");
    if connected.is_empty() {
        return Err(Refusal::bad("attribute \"connected_team\" \"\" is not a valid external team id"));
    }
    let managed_by = item.pointer("/attributes/managed_by").and_then(Value::as_str);
    Ok(Connection {
        id: Uuid::nil(),
        team,
        connected: connected.to_owned(),
        // Recorded: absent, it becomes a UUID, presumably the caller's.
        managed_by: managed_by.map_or_else(|| world.me.to_string(), str::to_owned),
        source: source.to_owned(),
    })
}

/// Recorded: 201 without `meta`.
pub(super) async fn create(State(shared): Sandbox, call: Context) -> Result<Response, Refusal> {
    let data = data(&call)?;
    let items = items(&data)?;
    let created = write(&shared, |world, now| {
        let drafts = items.iter().map(|item| draft(world, item)).collect::<Result<_, _>>()?;
        world.create_connections(drafts, now)
    })?;
    let data = created.iter().map(line).collect();
    Ok(json_reply(StatusCode::CREATED, &List { data, meta: None }))
}

/// Recorded: 204 without body and content type, and the wording for an empty id.
pub(super) async fn delete(State(shared): Sandbox, call: Context) -> Result<Response, Refusal> {
    let data = data(&call)?;
    let ids: Vec<_> = items(&data)?.iter().map(|item| text(item, "/id")).collect();
    if ids.contains(&"") {
        return Err(Refusal::bad("attribute \"id\" one or more team connection ids are not present"));
    }
    write(&shared, |world, now| world.delete_connections(&ids, now))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
