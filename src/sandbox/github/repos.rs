//! Routes of repositories.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::reply::{json_reply, page};
use super::wire;
use super::{Refusal, Repo, Teller, World, body, id, nullable, read, write};
use crate::sandbox::Shared;
use crate::sandbox::call::{Call, Context};
use crate::sandbox::table::NOW;

type Sandbox = State<Arc<Shared>>;
type RepoPath = Path<(String, String)>;

pub(super) async fn list(
    State(shared): Sandbox,
    Path(org): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    let org = world.org(&org, call.at)?;
    let mut repos: Vec<_> = world.repos_of(org.id, call.at).collect();
    // Documented: the newest first, unless `full_name` or `asc` is asked for. They come by name.
    let by_name = call.param("sort").is_some_and(|sort| sort == "full_name");
    if !by_name {
        repos.sort_by_key(|repo| repo.id);
    }
    let ascending = call.param("direction").map_or(by_name, |direction| direction == "asc");
    if !ascending {
        repos.reverse();
    }
    Ok(page(&call, repos.into_iter(), |repo| wire::repo(&call.base, org, repo)))
}

pub(super) async fn show(
    State(shared): Sandbox,
    Path((owner, name)): RepoPath,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    answer(&world, &call, world.repo(&owner, &name, call.at)?, StatusCode::OK)
}

pub(super) async fn show_by_id(
    State(shared): Sandbox,
    Path(repo_id): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let world = read(&shared);
    answer(&world, &call, world.repo_by_id(id(&repo_id)?, call.at)?, StatusCode::OK)
}

fn answer(world: &World, call: &Call, repo: &Repo, status: StatusCode) -> Result<Response, Refusal> {
    let org = world.org_by_id(repo.org_id, call.at)?;
    Ok(json_reply(status, &wire::repo(&call.base, org, repo)))
}

/// What `POST` and `PATCH` may set; a field that is absent stays as it is.
#[derive(Deserialize)]
struct RepoFields {
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    homepage: Option<Option<String>>,
    default_branch: Option<String>,
    private: Option<bool>,
    visibility: Option<String>,
    archived: Option<bool>,
}

impl RepoFields {
    fn apply(self, repo: &mut Repo) {
        let Self { name, description, homepage, default_branch, private, visibility, archived } = self;
        repo.name = name.unwrap_or_else(|| std::mem::take(&mut repo.name));
        repo.description = description.unwrap_or_else(|| repo.description.take());
        repo.homepage = homepage.unwrap_or_else(|| repo.homepage.take());
        repo.default_branch = default_branch.unwrap_or_else(|| std::mem::take(&mut repo.default_branch));
        repo.archived = archived.unwrap_or(repo.archived);
        let by_flag = private.map(|private| if private { "private" } else { "public" }.to_owned());
        if let Some(wanted) = visibility.or(by_flag) {
            repo.visibility = wanted;
        }
    }
}

pub(super) async fn create(
    State(shared): Sandbox,
    Path(org): Path<String>,
    call: Context,
) -> Result<Response, Refusal> {
    let fields: RepoFields = body(&call)?;
    write(&shared, &call, |world, tell, now| {
        let org = world.org(&org, NOW)?.clone();
        let mut draft = Repo::draft(org.id, String::new());
        fields.apply(&mut draft);
        let repo = world.create_repo(draft, now)?;
        tell.repo(&org, "created", &repo, None);
        answer(world, &call, &repo, StatusCode::CREATED)
    })
}

pub(super) async fn update(
    State(shared): Sandbox,
    Path((owner, name)): RepoPath,
    call: Context,
) -> Result<Response, Refusal> {
    let fields: RepoFields = body(&call)?;
    write(&shared, &call, |world, tell, now| {
        let before = world.repo(&owner, &name, NOW)?.clone();
        let mut after = Repo::clone(&before);
        fields.apply(&mut after);
        let repo = world.update_repo(&before, after, now)?;
        tell_changes(world, tell, &before, &repo)?;
        answer(world, &call, &repo, StatusCode::OK)
    })
}

/// One event for each kind of change, as each is an action of its own at GitHub.
fn tell_changes(world: &World, tell: &mut Teller<'_>, before: &Repo, repo: &Repo) -> Result<(), Refusal> {
    let org = world.org_by_id(repo.org_id, NOW)?;
    if before.name != repo.name {
        tell.repo(org, "renamed", repo, Some(json!({"repository": {"name": {"from": before.name}}})));
    }
    if before.archived != repo.archived {
        tell.repo(org, if repo.archived { "archived" } else { "unarchived" }, repo, None);
    }
    if before.visibility != repo.visibility {
        tell.repo(org, if repo.visibility == "public" { "publicized" } else { "privatized" }, repo, None);
    }
    let fields = [
        ("description", json!(before.description), json!(repo.description)),
        ("homepage", json!(before.homepage), json!(repo.homepage)),
        ("default_branch", json!(before.default_branch), json!(repo.default_branch)),
        ("topics", json!(before.topics), json!(repo.topics)),
    ];
    let changes: Map<String, Value> = fields
        .into_iter()
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, _)| (name.to_owned(), json!({"from": before})))
        .collect();
    if !changes.is_empty() {
        tell.repo(org, "edited", repo, Some(changes.into()));
    }
    Ok(())
}

pub(super) async fn delete(
    State(shared): Sandbox,
    Path((owner, name)): RepoPath,
    call: Context,
) -> Result<Response, Refusal> {
    write(&shared, &call, |world, tell, now| {
        let repo = world.repo(&owner, &name, NOW)?.clone();
        let org = world.org_by_id(repo.org_id, NOW)?.clone();
        world.delete_repo(&repo, now);
        tell.repo(&org, "deleted", &repo, None);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

#[derive(Deserialize)]
struct Topics {
    names: Vec<String>,
}

pub(super) async fn topics(
    State(shared): Sandbox,
    Path((owner, name)): RepoPath,
    call: Context,
) -> Result<Response, Refusal> {
    let Topics { names } = body(&call)?;
    write(&shared, &call, |world, tell, now| {
        let before = world.repo(&owner, &name, NOW)?.clone();
        let repo = world.update_repo(&before, Repo { topics: names, ..Repo::clone(&before) }, now)?;
        tell_changes(world, tell, &before, &repo)?;
        Ok(json_reply(StatusCode::OK, &json!({"names": repo.topics})))
    })
}

#[derive(Deserialize)]
struct Transfer {
    new_owner: String,
    new_name: Option<String>,
}

pub(super) async fn transfer(
    State(shared): Sandbox,
    Path((owner, name)): RepoPath,
    call: Context,
) -> Result<Response, Refusal> {
    let Transfer { new_owner, new_name } = body(&call)?;
    write(&shared, &call, |world, tell, now| {
        let before = world.repo(&owner, &name, NOW)?.clone();
        let from = world.org_by_id(before.org_id, NOW)?.clone();
        let unknown = Refusal::Invalid { resource: "Repository", code: "invalid", field: "new_owner" };
        let to = world.org(&new_owner, NOW).map_err(|_| unknown)?.clone();
        let after = Repo {
            org_id: to.id,
            name: new_name.unwrap_or_else(|| before.name.clone()),
            ..Repo::clone(&before)
        };
        let repo = world.update_repo(&before, after, now)?;
        tell.transferred(&from, &to, &repo);
        answer(world, &call, &repo, StatusCode::ACCEPTED)
    })
}
