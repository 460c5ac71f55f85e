//! GitHub's state and its rules: organisations, teams, repositories, memberships. No HTTP and no webhooks here.
//!
//! Ids are numbers that only grow, so what is created again under an old name is new. Reads take the moment they
//! look at (`at`), writes the moment they happen (`now`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::slug::slug;
use crate::sandbox::table::{NOW, Table};

/// An organisation.
#[derive(Clone, Debug)]
pub(crate) struct Org {
    pub(crate) id: u64,
    pub(crate) login: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    /// How the one GitHub App of this world is installed here, if it is.
    pub(crate) installation: Option<Installation>,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

/// The App on an organisation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Installation {
    pub(crate) id: u64,
    pub(crate) suspended_at: Option<u64>,
}

/// A team.
#[derive(Clone, Debug)]
pub(crate) struct Team {
    pub(crate) id: u64,
    pub(crate) org_id: u64,
    pub(crate) name: String,
    pub(crate) slug: String,
    pub(crate) description: Option<String>,
    pub(crate) privacy: String,
    pub(crate) notification_setting: String,
    pub(crate) permission: String,
    pub(crate) parent: Option<u64>,
    /// The enterprise to which the team belongs, if it is not the organisation's own.
    pub(crate) enterprise: Option<u64>,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

/// A repository.
#[derive(Clone, Debug)]
pub(crate) struct Repo {
    pub(crate) id: u64,
    pub(crate) org_id: u64,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) homepage: Option<String>,
    pub(crate) default_branch: String,
    pub(crate) visibility: String,
    pub(crate) archived: bool,
    pub(crate) topics: Vec<String>,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

impl Team {
    /// A team to create, with GitHub's defaults: secret at the top, visible below a parent.
    pub(crate) fn draft(org_id: u64, name: String, parent: Option<u64>) -> Self {
        Self {
            id: 0,
            org_id,
            name,
            slug: String::new(),
            description: None,
            privacy: if parent.is_some() { "closed" } else { "secret" }.to_owned(),
            notification_setting: "notifications_enabled".to_owned(),
            permission: "pull".to_owned(),
            parent,
            enterprise: None,
            created_at: 0,
            updated_at: 0,
        }
    }
}

impl Repo {
    /// A repository to create, with GitHub's defaults.
    pub(crate) fn draft(org_id: u64, name: String) -> Self {
        Self {
            id: 0,
            org_id,
            name,
            description: None,
            homepage: None,
            default_branch: "main".to_owned(),
            visibility: "public".to_owned(),
            archived: false,
            topics: Vec::new(),
            created_at: 0,
            updated_at: 0,
        }
    }
}

/// Why a write is refused; routes make the answer of it.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// Nothing there, or nothing that the caller may see.
    NotFound,
    /// The caller may not.
    Forbidden(&'static str),
    /// The credential is none, or no longer one.
    Unauthorised(&'static str),
    /// The body is no JSON, or not of the right kind.
    Broken,
    /// 422 with one error.
    Invalid { resource: &'static str, code: &'static str, field: &'static str },
    /// A renamed repository: look there.
    Moved(u64),
}

/// A name taken, in GitHub's words.
fn taken(resource: &'static str, field: &'static str) -> Refusal {
    Refusal::Invalid { resource, code: "already_exists", field }
}

fn missing(resource: &'static str, field: &'static str) -> Refusal {
    Refusal::Invalid { resource, code: "missing_field", field }
}

/// GitHub as a whole.
pub(crate) struct World {
    last_id: u64,
    pub(crate) orgs: Table<u64, Org>,
    logins: Table<String, u64>,
    teams: Table<u64, Team>,
    slugs: Table<(u64, String), u64>,
    children: Table<(u64, u64), ()>,
    repos: Table<u64, Repo>,
    names: Table<(u64, String), u64>,
    /// Names that repositories had, by (lowercase owner, lowercase name): GitHub redirects.
    moved: HashMap<(String, String), u64>,
    /// (team, repository) → permission, and the other way round.
    grants: Table<(u64, u64), String>,
    granted: Table<(u64, u64), ()>,
    /// (team, lowercase login) → (login, role).
    members: Table<(u64, String), (String, String)>,
}

impl World {
    /// An empty GitHub. Ids start where nobody mistakes them for indexes.
    pub(crate) fn new() -> Self {
        Self {
            last_id: 1_000_000,
            orgs: Table::default(),
            logins: Table::default(),
            teams: Table::default(),
            slugs: Table::default(),
            children: Table::default(),
            repos: Table::default(),
            names: Table::default(),
            moved: HashMap::new(),
            grants: Table::default(),
            granted: Table::default(),
            members: Table::default(),
        }
    }

    /// The next id: of anything, so that no two kinds share one and a mix-up shows.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    // Organisations.

    pub(crate) fn org(&self, login: &str, at: u64) -> Result<&Arc<Org>, Refusal> {
        let id = self.logins.get(&login.to_lowercase(), at).ok_or(Refusal::NotFound)?;
        self.org_by_id(**id, at)
    }

    pub(crate) fn org_by_id(&self, id: u64, at: u64) -> Result<&Arc<Org>, Refusal> {
        self.orgs.get(&id, at).ok_or(Refusal::NotFound)
    }

    pub(crate) fn create_org(&mut self, login: &str, now: u64) -> Result<Arc<Org>, Refusal> {
        self.free_login(login)?;
        let (id, installation_id) = (self.next_id(), self.next_id());
        let org = Org {
            id,
            login: login.to_owned(),
            name: None,
            description: None,
            installation: Some(Installation { id: installation_id, suspended_at: None }),
            created_at: now,
            updated_at: now,
        };
        self.logins.put(login.to_lowercase(), id, now);
        self.orgs.put(id, org, now);
        self.org_by_id(id, NOW).cloned()
    }

    /// The organisation on which the App is installed under this id.
    pub(crate) fn installed(&self, id: u64, at: u64) -> Result<(&Arc<Org>, Installation), Refusal> {
        let on =
            self.orgs.iter(at).find_map(|(_, org)| Some((org, org.installation.filter(|it| it.id == id)?)));
        on.ok_or(Refusal::NotFound)
    }

    fn free_login(&self, login: &str) -> Result<(), Refusal> {
        if login.is_empty() || login.contains('/') {
            return Err(Refusal::Invalid { resource: "Organization", code: "invalid", field: "login" });
        }
        if self.logins.has(&login.to_lowercase()) { Err(taken("Organization", "login")) } else { Ok(()) }
    }

    /// Changes an organisation; a new login makes the old one unknown.
    pub(crate) fn update_org(&mut self, before: &Org, mut after: Org, now: u64) -> Result<Arc<Org>, Refusal> {
        if after.login.to_lowercase() != before.login.to_lowercase() {
            self.free_login(&after.login)?;
            self.logins.remove(&before.login.to_lowercase(), now);
            self.logins.put(after.login.to_lowercase(), after.id, now);
        }
        after.updated_at = now;
        self.orgs.put(after.id, after, now);
        self.org_by_id(before.id, NOW).cloned()
    }

    /// Deletes an organisation with all that is in it.
    pub(crate) fn delete_org(&mut self, org: &Org, now: u64) {
        let teams: Vec<_> = self.teams_of(org.id, NOW).map(|team| team.id).collect();
        for id in teams {
            self.delete_team(id, now);
        }
        let repos: Vec<_> = self.repos_of(org.id, NOW).cloned().collect();
        for repo in repos {
            self.delete_repo(&repo, now);
        }
        self.logins.remove(&org.login.to_lowercase(), now);
        self.orgs.remove(&org.id, now);
    }

    // Teams.

    /// The teams of an organisation by slug.
    pub(crate) fn teams_of(&self, org_id: u64, at: u64) -> impl Iterator<Item = &Arc<Team>> {
        self.slugs.range(of(org_id), at).filter_map(move |(_, id)| self.teams.get(id, at))
    }

    pub(crate) fn team(&self, org_id: u64, slug: &str, at: u64) -> Result<&Arc<Team>, Refusal> {
        let id = self.slugs.get(&(org_id, slug.to_lowercase()), at).ok_or(Refusal::NotFound)?;
        self.team_by_id(**id, at)
    }

    pub(crate) fn team_by_id(&self, id: u64, at: u64) -> Result<&Arc<Team>, Refusal> {
        self.teams.get(&id, at).ok_or(Refusal::NotFound)
    }

    /// Creates a team from what is set in `draft`; its id, slug and times are given here.
    pub(crate) fn create_team(&mut self, mut draft: Team, now: u64) -> Result<Arc<Team>, Refusal> {
        draft.id = self.next_id();
        draft.created_at = now;
        self.put_team(draft, None, now)
    }

    /// An organisation's own team, to change or to delete: those of its enterprise are not its to edit.
    pub(crate) fn own_team(&self, org_id: u64, slug: &str) -> Result<&Arc<Team>, Refusal> {
        let team = self.team(org_id, slug, NOW)?;
        let own = Refusal::Invalid { resource: "Team", code: "custom", field: "enterprise" };
        if team.enterprise.is_none() { Ok(team) } else { Err(own) }
    }

    /// Changes a team; its slug follows the name.
    pub(crate) fn update_team(&mut self, before: &Team, after: Team, now: u64) -> Result<Arc<Team>, Refusal> {
        self.put_team(after, Some(before), now)
    }

    fn put_team(&mut self, mut team: Team, before: Option<&Team>, now: u64) -> Result<Arc<Team>, Refusal> {
        if team.name.is_empty() {
            return Err(missing("Team", "name"));
        }
        let mut ancestor = team.parent;
        while let Some(id) = ancestor {
            let parent =
                self.team_by_id(id, NOW).ok().filter(|parent| parent.org_id == team.org_id && id != team.id);
            let invalid = Refusal::Invalid { resource: "Team", code: "invalid", field: "parent_team_id" };
            ancestor = parent.ok_or(invalid)?.parent;
        }
        team.slug = slug(&team.name);
        if team.slug.is_empty() {
            team.slug = format!("team-{}", team.id);
        }
        if team.enterprise.is_some() {
            team.slug.insert_str(0, "ent:");
        }
        let key = (team.org_id, team.slug.clone());
        if before.is_none_or(|before| before.slug != team.slug) {
            if self.slugs.has(&key) {
                return Err(taken("Team", "name"));
            }
            self.slugs.put(key, team.id, now);
        }
        if let Some(before) = before {
            if before.slug != team.slug {
                self.slugs.remove(&(before.org_id, before.slug.clone()), now);
            }
            if let Some(parent) = before.parent {
                self.children.remove(&(parent, team.id), now);
            }
        }
        if let Some(parent) = team.parent {
            self.children.put((parent, team.id), (), now);
        }
        let id = team.id;
        team.updated_at = now;
        self.teams.put(id, team, now);
        self.team_by_id(id, NOW).cloned()
    }

    /// Deletes a team with its descendants. A team that is gone already stays so.
    pub(crate) fn delete_team(&mut self, id: u64, now: u64) {
        let Some(team) = self.teams.get(&id, NOW).cloned() else { return };
        let children: Vec<_> = self.children.range(of_pair(id), NOW).map(|((_, child), _)| *child).collect();
        for child in children {
            self.delete_team(child, now);
        }
        let repos: Vec<_> = self.grants.range(of_pair(id), NOW).map(|((_, repo), _)| *repo).collect();
        for repo in repos {
            self.revoke(id, repo, now);
        }
        let members: Vec<_> = self.members.range(of(id), NOW).map(|(key, _)| key.clone()).collect();
        for member in members {
            self.members.remove(&member, now);
        }
        if let Some(parent) = team.parent {
            self.children.remove(&(parent, id), now);
        }
        self.slugs.remove(&(team.org_id, team.slug.clone()), now);
        self.teams.remove(&id, now);
    }

    // Memberships of teams.

    /// (login, role) of a team's members.
    pub(crate) fn members(&self, team_id: u64, at: u64) -> impl Iterator<Item = &Arc<(String, String)>> {
        self.members.range(of(team_id), at).map(|(_, member)| member)
    }

    pub(crate) fn role(&self, team_id: u64, login: &str, at: u64) -> Result<&str, Refusal> {
        let member = self.members.get(&(team_id, login.to_lowercase()), at);
        member.map(|member| member.1.as_str()).ok_or(Refusal::NotFound)
    }

    /// Whether the person was not a member before.
    pub(crate) fn add_member(&mut self, team_id: u64, login: &str, role: &str, now: u64) -> bool {
        let key = (team_id, login.to_lowercase());
        let new = !self.members.has(&key);
        self.members.put(key, (login.to_owned(), role.to_owned()), now);
        new
    }

    pub(crate) fn remove_member(&mut self, team_id: u64, login: &str, now: u64) -> Result<(), Refusal> {
        self.role(team_id, login, NOW)?;
        self.members.remove(&(team_id, login.to_lowercase()), now);
        Ok(())
    }

    // Repositories.

    /// The repositories of an organisation by name.
    pub(crate) fn repos_of(&self, org_id: u64, at: u64) -> impl Iterator<Item = &Arc<Repo>> {
        self.names.range(of(org_id), at).filter_map(move |(_, id)| self.repos.get(id, at))
    }

    pub(crate) fn repo_by_id(&self, id: u64, at: u64) -> Result<&Arc<Repo>, Refusal> {
        self.repos.get(&id, at).ok_or(Refusal::NotFound)
    }

    pub(crate) fn repo(&self, owner: &str, name: &str, at: u64) -> Result<&Arc<Repo>, Refusal> {
        let (owner, name) = (owner.to_lowercase(), name.to_lowercase());
        let org_id = self.logins.get(&owner, at);
        match org_id.and_then(|org_id| self.names.get(&(**org_id, name.clone()), at)) {
            Some(id) => self.repo_by_id(**id, at),
            None => {
                let id = self.moved.get(&(owner, name)).ok_or(Refusal::NotFound)?;
                self.repo_by_id(*id, at).and(Err(Refusal::Moved(*id)))
            }
        }
    }

    /// Creates a repository from what is set in `draft`; its id and times are given here.
    pub(crate) fn create_repo(&mut self, mut draft: Repo, now: u64) -> Result<Arc<Repo>, Refusal> {
        draft.id = self.next_id();
        draft.created_at = now;
        self.put_repo(draft, None, now)
    }

    /// Changes a repository; a new name or owner leaves a redirect, a new owner drops the teams' access.
    pub(crate) fn update_repo(&mut self, before: &Repo, after: Repo, now: u64) -> Result<Arc<Repo>, Refusal> {
        self.put_repo(after, Some(before), now)
    }

    fn put_repo(&mut self, mut repo: Repo, before: Option<&Repo>, now: u64) -> Result<Arc<Repo>, Refusal> {
        if repo.name.is_empty() || repo.name.contains('/') {
            return Err(missing("Repository", "name"));
        }
        let key = (repo.org_id, repo.name.to_lowercase());
        let old_key = before.map(|before| (before.org_id, before.name.to_lowercase()));
        if old_key.as_ref() != Some(&key) {
            if self.names.has(&key) {
                return Err(taken("Repository", "name"));
            }
            if let (Some(old_key), Some(before)) = (old_key, before) {
                let owner = self.org_by_id(before.org_id, NOW)?.login.to_lowercase();
                self.moved.insert((owner, old_key.1.clone()), repo.id);
                self.names.remove(&old_key, now);
                if before.org_id != repo.org_id {
                    self.revoke_all(repo.id, now);
                }
            }
            self.names.put(key, repo.id, now);
        }
        let id = repo.id;
        repo.updated_at = now;
        self.repos.put(id, repo, now);
        self.repo_by_id(id, NOW).cloned()
    }

    pub(crate) fn delete_repo(&mut self, repo: &Repo, now: u64) {
        self.revoke_all(repo.id, now);
        self.names.remove(&(repo.org_id, repo.name.to_lowercase()), now);
        self.repos.remove(&repo.id, now);
    }

    // Access of teams to repositories.

    /// The repositories of a team with its permission, by repository id. It has its ancestors' too.
    pub(crate) fn grants_of(&self, team_id: u64, at: u64) -> impl Iterator<Item = (&Arc<Repo>, &str)> {
        let mut all = BTreeMap::new();
        for team in self.with_ancestors(team_id, at) {
            for ((_, repo), permission) in self.grants.range(of_pair(team), at) {
                all.entry(*repo).or_insert(permission.as_str());
            }
        }
        all.into_iter().filter_map(move |(repo, permission)| Some((self.repos.get(&repo, at)?, permission)))
    }

    /// The team's permission, its own or that of the nearest ancestor.
    pub(crate) fn grant(&self, team_id: u64, repo_id: u64, at: u64) -> Option<&str> {
        let mut teams = self.with_ancestors(team_id, at);
        teams.find_map(|team| self.grants.get(&(team, repo_id), at)).map(|permission| permission.as_str())
    }

    fn with_ancestors(&self, team_id: u64, at: u64) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(team_id), move |id| self.team_by_id(*id, at).ok()?.parent)
    }

    /// What the team's permission was before.
    pub(crate) fn give(&mut self, team_id: u64, repo_id: u64, permission: &str, now: u64) -> Option<String> {
        let before = self.grants.get(&(team_id, repo_id), NOW).map(|permission| permission.to_string());
        self.grants.put((team_id, repo_id), permission.to_owned(), now);
        self.granted.put((repo_id, team_id), (), now);
        before
    }

    /// Whether the team had access.
    pub(crate) fn revoke(&mut self, team_id: u64, repo_id: u64, now: u64) -> bool {
        let had = self.grants.has(&(team_id, repo_id));
        self.grants.remove(&(team_id, repo_id), now);
        self.granted.remove(&(repo_id, team_id), now);
        had
    }

    fn revoke_all(&mut self, repo_id: u64, now: u64) {
        let teams: Vec<_> = self.granted.range(of_pair(repo_id), NOW).map(|((_, team), _)| *team).collect();
        for team in teams {
            self.revoke(team, repo_id, now);
        }
    }
}

/// All keys that begin with this id.
fn of(id: u64) -> std::ops::Range<(u64, String)> {
    (id, String::new())..(id + 1, String::new())
}

fn of_pair(id: u64) -> std::ops::RangeInclusive<(u64, u64)> {
    (id, 0)..=(id, u64::MAX)
}
