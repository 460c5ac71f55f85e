//! GitHub's JSON: how organisations, teams, repositories and people look in answers and in webhooks.

use serde::Serialize;
use serde_json::{Value, json};

use super::world::{Org, Repo, Team, World};
use crate::sandbox::clock::github_time;

/// Who owns the token, and who did what webhooks tell of.
pub(crate) const ADMIN: &str = "sandbox-admin";

/// A team as it stands in lists, answers and webhooks. A type of its own, as lists of thousands are made of it.
#[derive(Serialize)]
pub(crate) struct TeamLine<'a> {
    name: &'a str,
    id: u64,
    node_id: String,
    slug: &'a str,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enterprise_id: Option<u64>,
    description: Option<&'a str>,
    privacy: &'a str,
    notification_setting: &'a str,
    url: String,
    html_url: String,
    members_url: String,
    repositories_url: String,
    permission: &'a str,
    /// `Some(None)` is `null`; a parent itself is shown without this field.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Option<Box<TeamLine<'a>>>>,
}

/// A team with its parent as of `at`.
pub(crate) fn team<'a>(world: &'a World, base: &str, org: &Org, team: &'a Team, at: u64) -> TeamLine<'a> {
    let parent = team.parent.and_then(|id| world.team_by_id(id, at).ok());
    let mut line = bare_team(base, org, team);
    line.parent = Some(parent.map(|parent| Box::new(bare_team(base, org, parent))));
    line
}

/// Whose team it is: `type`, and what `team_type` selects.
pub(crate) fn team_type(team: &Team) -> &'static str {
    if team.enterprise.is_some() { "enterprise" } else { "organization" }
}

fn bare_team<'a>(base: &str, org: &Org, team: &'a Team) -> TeamLine<'a> {
    let url = format!("{base}/organizations/{}/team/{}", org.id, team.id);
    TeamLine {
        name: &team.name,
        id: team.id,
        node_id: format!("T_{:x}", team.id),
        slug: &team.slug,
        r#type: team_type(team),
        organization_id: team.enterprise.is_none().then_some(org.id),
        enterprise_id: team.enterprise,
        description: team.description.as_deref(),
        privacy: &team.privacy,
        notification_setting: &team.notification_setting,
        html_url: format!("https://github.com/orgs/{}/teams/{}", org.login, team.slug),
        members_url: format!("{url}/members{{/member}}"),
        repositories_url: format!("{url}/repos"),
        url,
        permission: &team.permission,
        parent: None,
    }
}

/// A team as answered alone.
pub(crate) fn full_team(world: &World, base: &str, org: &Org, one: &Team, at: u64) -> Value {
    let mut json = json!(team(world, base, org, one, at));
    json["members_count"] = world.members(one.id, at).count().into();
    json["repos_count"] = world.grants_of(one.id, at).count().into();
    json["created_at"] = github_time(one.created_at).into();
    json["updated_at"] = github_time(one.updated_at).into();
    json["organization"] = full_org(base, org);
    json
}

/// An organisation as it stands in webhooks and lists.
pub(crate) fn org(base: &str, org: &Org) -> Value {
    let url = format!("{base}/orgs/{}", org.login);
    json!({
        "login": org.login,
        "id": org.id,
        "node_id": format!("O_{:x}", org.id),
        "url": url,
        "repos_url": format!("{url}/repos"),
        "events_url": format!("{url}/events"),
        "hooks_url": format!("{url}/hooks"),
        "issues_url": format!("{url}/issues"),
        "members_url": format!("{url}/members{{/member}}"),
        "public_members_url": format!("{url}/public_members{{/member}}"),
        "avatar_url": format!("https://avatars.githubusercontent.com/u/{}?v=4", org.id),
        "description": org.description,
    })
}

/// An organisation as answered alone.
pub(crate) fn full_org(base: &str, one: &Org) -> Value {
    let mut json = org(base, one);
    let rest = json!({
        "name": one.name,
        "company": null,
        "blog": null,
        "location": null,
        "email": null,
        "is_verified": false,
        "has_organization_projects": true,
        "has_repository_projects": true,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "html_url": format!("https://github.com/{}", one.login),
        "created_at": github_time(one.created_at),
        "updated_at": github_time(one.updated_at),
        "archived_at": null,
        "type": "Organization",
    });
    extend(&mut json, rest);
    json
}

/// Copies the fields of one object into another.
fn extend(json: &mut Value, more: Value) {
    if let (Some(fields), Value::Object(more)) = (json.as_object_mut(), more) {
        fields.extend(more);
    }
}

/// A person, or an organisation as an owner.
pub(crate) fn account(base: &str, login: &str, id: u64, kind: &str) -> Value {
    let url = format!("{base}/users/{login}");
    json!({
        "login": login,
        "id": id,
        "node_id": format!("U_{id:x}"),
        "avatar_url": format!("https://avatars.githubusercontent.com/u/{id}?v=4"),
        "gravatar_id": "",
        "url": url,
        "html_url": format!("https://github.com/{login}"),
        "followers_url": format!("{url}/followers"),
        "following_url": format!("{url}/following{{/other_user}}"),
        "gists_url": format!("{url}/gists{{/gist_id}}"),
        "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
        "subscriptions_url": format!("{url}/subscriptions"),
        "organizations_url": format!("{url}/orgs"),
        "repos_url": format!("{url}/repos"),
        "events_url": format!("{url}/events{{/privacy}}"),
        "received_events_url": format!("{url}/received_events"),
        "type": kind,
        "site_admin": false,
    })
}

/// A person. People need no registration here: their id follows from the login (FNV-1a).
pub(crate) fn user(base: &str, login: &str) -> Value {
    let hash = login.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    });
    account(base, login, hash % 100_000_000, "User")
}

/// What a repository's JSON has below its own URL.
const REPO_URLS: [(&str, &str); 36] = [
    ("forks_url", "/forks"),
    ("keys_url", "/keys{/key_id}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("teams_url", "/teams"),
    ("hooks_url", "/hooks"),
    ("issue_events_url", "/issues/events{/number}"),
    ("events_url", "/events"),
    ("assignees_url", "/assignees{/user}"),
    ("branches_url", "/branches{/branch}"),
    ("tags_url", "/tags"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("trees_url", "/git/trees{/sha}"),
    ("statuses_url", "/statuses/{sha}"),
    ("languages_url", "/languages"),
    ("stargazers_url", "/stargazers"),
    ("contributors_url", "/contributors"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("commits_url", "/commits{/sha}"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("comments_url", "/comments{/number}"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("contents_url", "/contents/{+path}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("merges_url", "/merges"),
    ("archive_url", "/{archive_format}{/ref}"),
    ("downloads_url", "/downloads"),
    ("issues_url", "/issues{/number}"),
    ("pulls_url", "/pulls{/number}"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("labels_url", "/labels{/name}"),
    ("releases_url", "/releases{/id}"),
    ("deployments_url", "/deployments"),
];

/// A repository.
pub(crate) fn repo(base: &str, org: &Org, repo: &Repo) -> Value {
    let full_name = format!("{}/{}", org.login, repo.name);
    let url = format!("{base}/repos/{full_name}");
    let html_url = format!("https://github.com/{full_name}");
    let mut json = json!({
        "id": repo.id,
        "node_id": format!("R_{:x}", repo.id),
        "name": repo.name,
        "full_name": full_name,
        "private": repo.visibility != "public",
        "owner": account(base, &org.login, org.id, "Organization"),
        "html_url": html_url,
        "description": repo.description,
        "url": url,
        "git_url": format!("git://github.com/{full_name}.git"),
        "ssh_url": format!("git@github.com:{full_name}.git"),
        "clone_url": format!("{html_url}.git"),
        "homepage": repo.homepage,
        "svn_url": html_url,
        "archived": repo.archived,
        "topics": repo.topics,
        "visibility": repo.visibility,
        "default_branch": repo.default_branch,
        "created_at": github_time(repo.created_at),
        "updated_at": github_time(repo.updated_at),
        "pushed_at": github_time(repo.created_at),
    });
    extend(
        &mut json,
        json!({
            "fork": false,
            "size": 0,
            "stargazers_count": 0,
            "watchers_count": 0,
            "forks_count": 0,
            "open_issues_count": 0,
            "watchers": 0,
            "forks": 0,
            "open_issues": 0,
            "mirror_url": null,
            "web_commit_signoff_required": false,
            "custom_properties": {},
            "language": null,
            "has_issues": true,
            "has_projects": true,
            "has_downloads": true,
            "has_wiki": true,
            "has_pages": false,
            "disabled": false,
            "license": null,
            "is_template": false,
        }),
    );
    for (name, rest) in REPO_URLS {
        json[name] = format!("{url}{rest}").into();
    }
    json
}

/// A team's access to a repository, as `permissions`.
pub(crate) fn permissions(permission: &str) -> Value {
    const ORDER: [&str; 5] = ["pull", "triage", "push", "maintain", "admin"];
    let level = ORDER.iter().position(|name| *name == permission).unwrap_or(0);
    ORDER.iter().enumerate().map(|(at, name)| ((*name).to_owned(), Value::Bool(at <= level))).collect()
}
