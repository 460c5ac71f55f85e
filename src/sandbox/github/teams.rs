//! Routes of teams and of their access to repositories.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::reply::{json_reply, page};
use super::wire;
use super::{Refusal, Team, body, id, nullable, read, write};
use crate::sandbox::Shared;
use crate::sandbox::call::Context;
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;

pub(super) async fn list(
    State(shared): Sandbox,
    Path(org): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let org = world.org(&org, call.at)?;
    let kind = call.param("team_type").filter(|kind| kind != "all");
    let teams = world.teams_of(org.id, call.at);
    let teams = teams.filter(|team| kind.as_deref().is_none_or(|kind| kind == wire::team_type(team)));
    let teams = teams.filter(|team| call.lacks.as_ref() != Some(&team.slug));
    Ok(page(&call, teams, |team| wire::team(&world, &call.base, org, team, call.at)))
}

pub(super) async fn show(
    State(shared): Sandbox,
    Path((org, slug)): Path<(String, String)>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let org = world.org(&org, call.at)?;
    let team = world.team(org.id, &slug, call.at)?;
    Ok(json_reply(StatusCode::OK, &wire::full_team(&world, &call.base, org, team, call.at)))
}

pub(super) async fn show_by_id(
    State(shared): Sandbox,
    Path((org_id, team_id)): Path<(String, String)>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let org = world.org_by_id(id(&org_id)?, call.at)?;
    let team = world.team_by_id(id(&team_id)?, call.at)?;
    // Recorded nowhere; assumed, as the harder case: a team of the enterprise has no path by id in an organisation.
    if team.org_id != org.id || team.enterprise.is_some() {
        return Err(Refusal::NotFound);
    }
    Ok(json_reply(StatusCode::OK, &wire::full_team(&world, &call.base, org, team, call.at)))
}

/// What `POST` and `PATCH` may set; a field that is absent stays as it is.
#[derive(Deserialize)]
pub(super) struct TeamFields {
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    description: Option<Option<String>>,
    privacy: Option<String>,
    notification_setting: Option<String>,
    permission: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    parent_team_id: Option<Option<u64>>,
}

impl TeamFields {
    fn apply(self, team: &mut Team) {
        let Self { name, description, privacy, notification_setting, permission, parent_team_id } = self;
        let set = |field: &mut String, value: Option<String>| {
            if let Some(value) = value {
                *field = value;
            }
        };
        set(&mut team.name, name);
        set(&mut team.privacy, privacy);
        set(&mut team.notification_setting, notification_setting);
        set(&mut team.permission, permission);
        team.description = description.unwrap_or(team.description.take());
        team.parent = parent_team_id.unwrap_or(team.parent);
    }
}

pub(super) async fn create(
    State(shared): Sandbox,
    Path(org): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let fields: TeamFields = body(&call)?;
    write(&shared, &call, |world, tell, now| {
        let org = world.org(&org, NOW)?.clone();
        let parent = fields.parent_team_id.flatten();
        let mut draft = Team::draft(org.id, String::new(), parent);
        fields.apply(&mut draft);
        let team = world.create_team(draft, now)?;
        tell.team(world, &org, "created", &team, None);
        Ok(json_reply(StatusCode::CREATED, &wire::full_team(world, &call.base, &org, &team, NOW)))
    })
}

pub(super) async fn update(
    State(shared): Sandbox,
    Path((org, slug)): Path<(String, String)>,
    call: Context,
) -> Result<Response, Refusal> {
    let fields: TeamFields = body(&call)?;
    write(&shared, &call, |world, tell, now| {
        let org = world.org(&org, NOW)?.clone();
        let before = world.own_team(org.id, &slug)?.clone();
        let mut after = Team::clone(&before);
        fields.apply(&mut after);
        let changes = changes(&before, &after);
        if changes.is_empty() && before.parent == after.parent {
            return Ok(json_reply(StatusCode::OK, &wire::full_team(world, &call.base, &org, &before, NOW)));
        }
        let team = world.update_team(&before, after, now)?;
        // A new parent has no place in `changes`; whether GitHub sends the event then is not known.
        tell.team(world, &org, "edited", &team, Some(changes.into()));
        Ok(json_reply(StatusCode::CREATED, &wire::full_team(world, &call.base, &org, &team, NOW)))
    })
}

/// `team.edited`'s account of what was before.
fn changes(before: &Team, after: &Team) -> Map<String, Value> {
    let fields = [
        ("name", json!(before.name), json!(after.name)),
        ("description", json!(before.description), json!(after.description)),
        ("privacy", json!(before.privacy), json!(after.privacy)),
        ("notification_setting", json!(before.notification_setting), json!(after.notification_setting)),
    ];
    let changed = fields.into_iter().filter(|(_, before, after)| before != after);
    changed.map(|(name, before, _)| (name.to_owned(), json!({"from": before}))).collect()
}

pub(super) async fn delete(
    State(shared): Sandbox,
    Path((org, slug)): Path<(String, String)>,
    call: Context,
) -> Result<Response, Refusal> {
    write(&shared, &call, |world, tell, now| {
        let org = world.org(&org, NOW)?.clone();
        let team = world.own_team(org.id, &slug)?.clone();
        let members: Vec<_> = world.members(team.id, NOW).cloned().collect();
        // The children go too, but only the parent's deletion is told.
        tell.team(world, &org, "deleted", &team, None);
        world.delete_team(team.id, now);
        for member in members {
            tell.member_of_deleted(&org, &member.0, &team);
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

pub(super) async fn repos(
    State(shared): Sandbox,
    Path((org, slug)): Path<(String, String)>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let org = world.org(&org, call.at)?;
    let team = world.team(org.id, &slug, call.at)?;
    Ok(page(&call, world.grants_of(team.id, call.at), |(repo, permission)| {
        let mut json = wire::repo(&call.base, org, repo);
        json["permissions"] = wire::permissions(permission);
        json["role_name"] = permission.into();
        json
    }))
}

type RepoPath = Path<(String, String, String, String)>;

pub(super) async fn has_repo(
    State(shared): Sandbox,
    Path((org, slug, owner, repo)): RepoPath,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let org = world.org(&org, call.at)?;
    let team = world.team(org.id, &slug, call.at)?;
    let repo = world.repo(&owner, &repo, call.at)?;
    world.grant(team.id, repo.id, call.at).ok_or(Refusal::NotFound)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
struct Access {
    permission: Option<String>,
}

pub(super) async fn add_repo(
    State(shared): Sandbox,
    Path((org, slug, owner, repo)): RepoPath,
    call: Context,
) -> Result<Response, Refusal> {
    let Access { permission } = body(&call)?;
    write(&shared, &call, |world, tell, now| {
        let org = world.org(&org, NOW)?.clone();
        let team = world.team(org.id, &slug, NOW)?.clone();
        let repo = world.repo(&owner, &repo, NOW)?.clone();
        if repo.org_id != org.id {
            return Err(Refusal::Invalid { resource: "TeamMember", code: "invalid", field: "repository" });
        }
        let permission = permission.as_ref().unwrap_or(&team.permission);
        let access = (&*repo, Some(permission.as_str()));
        match world.give(team.id, repo.id, permission, now) {
            None => tell.access(world, &org, "added_to_repository", &team, access, None),
            Some(before) if before != *permission => {
                let from = wire::permissions(&before);
                let changes = json!({"repository": {"permissions": {"from": from}}});
                tell.access(world, &org, "edited", &team, access, Some(changes));
            }
            Some(_) => {}
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

pub(super) async fn remove_repo(
    State(shared): Sandbox,
    Path((org, slug, owner, repo)): RepoPath,
    call: Context,
) -> Result<Response, Refusal> {
    write(&shared, &call, |world, tell, now| {
        let org = world.org(&org, NOW)?.clone();
        let team = world.team(org.id, &slug, NOW)?.clone();
        let repo = world.repo(&owner, &repo, NOW)?.clone();
        if world.revoke(team.id, repo.id, now) {
            tell.access(world, &org, "removed_from_repository", &team, (&repo, None), None);
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}
