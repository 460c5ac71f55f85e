//! The questions that teamlink asks GitHub.

use reqwest::Url;
use serde::de::DeserializeOwned;

use super::{Installation, Options, app::Of, client::Client, wire};
use crate::{
    model::{
        Answer, Class, OrgFacts, OrgId, RepositoryFacts, RepositoryId, TeamFacts, TeamId, TeamType, Trouble,
    },
    transport::{self, Asked, Kept, List, Page},
    upstream::{Reply, many, one},
};

/// Reads GitHub with one credential. Cheap to clone; clones share the cache and the limit on concurrency.
#[derive(Clone)]
pub struct Reader {
    client: Client,
}

/// Whose credential it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whoami {
    /// The user's login.
    pub login: String,
    /// A classic token's scopes; fine-grained tokens have none to show.
    pub scopes: Option<Vec<String>>,
}

/// Which GitHub App signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppFacts {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its page, where owners install it.
    pub page: Option<String>,
}

impl Reader {
    /// A reader with these options. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the token cannot be sent in a header, or the App's key cannot sign.
    pub fn new(options: Options) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(options)? })
    }

    /// The same for a full pass, which leaves a reserve of the rate limits to events.
    pub fn unhurried(&self) -> Self {
        Self { client: self.client.unhurried() }
    }

    /// What is known of GitHub, shared with all that was made from the same options.
    pub fn gate(&self) -> &transport::Gate {
        self.client.line.carrier.http.gate()
    }

    /// Tells which organisation has a login, so that a refusal by either name is one.
    pub fn knows(&self, org: &OrgFacts) {
        self.client.knows(org);
    }

    /// A team by id; the answer survives renames of the team and of its organisation.
    pub async fn team(&self, org: OrgId, team: TeamId) -> Answer<TeamFacts> {
        let attempt = format!("read team {team} of organisation {org}");
        let uri = path(&["organizations", &org.to_string(), "team", &team.to_string()]);
        one(self.get::<wire::Team, _>(Of::Id(org), "get_team", &attempt, &uri).await)
    }

    /// The team that has this slug now, under whomever the login is.
    pub async fn team_by_slug(&self, login: &str, slug: &str) -> Answer<TeamFacts> {
        one(self.shown_team(login, slug).await.map(|shown| shown.facts))
    }

    /// The team of an organisation that has this slug now; or, where GitHub says that it is another organisation's, why that
    /// is no answer: the login has moved.
    pub async fn team_of(&self, org: &OrgFacts, slug: &str) -> Answer<Result<TeamFacts, Trouble>> {
        let shown = one(self.shown_team(&org.login, slug).await);
        shown.map(|shown| of_org(org, &shown).map(|()| shown.facts))
    }

    async fn shown_team(&self, login: &str, slug: &str) -> Result<wire::ShownTeam, Trouble> {
        let attempt = format!("read team {login}/{slug}");
        let uri = path(&["orgs", login, "teams", slug]);
        self.get::<wire::Team, _>(Of::Login(login), "get_team_by_slug", &attempt, &uri).await
    }

    /// An organisation by id.
    pub async fn org(&self, org: OrgId) -> Answer<OrgFacts> {
        let attempt = format!("read organisation {org}");
        let uri = path(&["organizations", &org.to_string()]);
        one(self.get::<wire::Org, _>(Of::Id(org), "get_org", &attempt, &uri).await)
    }

    /// The organisation that has this login now. After a rename the old login is absent, until another takes it.
    pub async fn org_by_login(&self, login: &str) -> Answer<OrgFacts> {
        let attempt = format!("read organisation {login}");
        let uri = path(&["orgs", login]);
        one(self.get::<wire::Org, _>(Of::Login(login), "get_org_by_login", &attempt, &uri).await)
    }

    /// All teams of an organisation that the credential may see: all pages or none. GitHub gives no total and
    /// leaves out secret teams, so a team that is missing here is only suspected to be gone. Since 2026 the list
    /// contains teams of the organisation's enterprise too, unless one type is asked for; a server that does not know
    /// types ignores that.
    pub async fn teams(&self, login: &str, only: Option<TeamType>) -> Answer<Vec<TeamFacts>> {
        let list = many(self.teams_of(login, None, only).await);
        list.map(|list| list.items.into_iter().map(|shown| shown.facts).collect())
    }

    /// The list itself, which says when it was begun. Its pages stay read while a rate limit ends: the login is that of
    /// the organisation now, and may have been another's when the list was begun. Fails where GitHub says that a team is
    /// another's: the login has moved since it was read.
    pub async fn list_teams(&self, org: &OrgFacts, only: Option<TeamType>) -> Answer<List<TeamFacts>> {
        let list = self.teams_of(&org.login, Some(org.id), only).await;
        many(list.and_then(|List { items, began, wrong_total }| {
            items.iter().try_for_each(|shown| of_org(org, shown))?;
            let items = items.into_iter().map(|shown| shown.facts).collect();
            Ok(List { items, began, wrong_total })
        }))
    }

    async fn teams_of(
        &self,
        login: &str,
        org: Option<OrgId>,
        only: Option<TeamType>,
    ) -> Result<List<wire::ShownTeam>, Trouble> {
        let attempt = format!("list the teams of {login}");
        let mut uri = path(&["orgs", login, "teams"]);
        if let Some(only) = only {
            uri.push_str(&format!("?team_type={}", only.as_str()));
        }
        let id = |team: &wire::ShownTeam| team.facts.id.0;
        let kept = org.map(|org| Kept { query: format!("{org} {uri}"), look: None });
        self.list::<wire::Team, _>(Of::Login(login), ("list_teams", &attempt), &uri, id, kept).await
    }

    /// Whether the list of an organisation's teams can be read at all, for proof of absence.
    pub async fn teams_answer(&self, login: &str) -> Answer<()> {
        let attempt = format!("look at the teams of {login}");
        let uri = format!("{}?per_page=1", path(&["orgs", login, "teams"]));
        let decode = |reply: &Reply| serde_json::from_slice::<Vec<wire::Team>>(&reply.body).map(drop);
        many(self.client.get(Of::Login(login), "probe_teams", &attempt, &uri, decode).await)
    }

    /// All repositories that a team has access to.
    pub async fn team_repositories(&self, login: &str, slug: &str) -> Answer<Vec<RepositoryFacts>> {
        let attempt = format!("list the repositories of team {login}/{slug}");
        let uri = path(&["orgs", login, "teams", slug, "repos"]);
        let of = Of::Login(login);
        let asked = ("list_team_repositories", attempt.as_str());
        let list = self.list::<wire::Repository, _>(of, asked, &uri, repository_id, None);
        many(list.await.map(|list| list.items))
    }

    /// Whether a team has access to a repository of its organisation. GitHub: 404 when it has none.
    pub async fn team_repository(&self, login: &str, slug: &str, repository: &str) -> Answer<()> {
        let attempt = format!("look whether team {login}/{slug} has {repository}");
        let uri = path(&["orgs", login, "teams", slug, "repos", login, repository]);
        one(self.client.get(Of::Login(login), "get_team_repository", &attempt, &uri, |_| Ok(())).await)
    }

    /// All repositories of an organisation, the oldest first: a new one then changes the last page alone.
    pub async fn org_repositories(&self, login: &str) -> Answer<Vec<RepositoryFacts>> {
        let attempt = format!("list the repositories of {login}");
        let uri = format!("{}?sort=created&direction=asc", path(&["orgs", login, "repos"]));
        let of = Of::Login(login);
        let asked = ("list_org_repositories", attempt.as_str());
        let list = self.list::<wire::Repository, _>(of, asked, &uri, repository_id, None);
        many(list.await.map(|list| list.items))
    }

    /// The repository that has this name now.
    pub async fn repository_by_name(&self, login: &str, name: &str) -> Answer<RepositoryFacts> {
        let attempt = format!("read repository {login}/{name}");
        let uri = path(&["repos", login, name]);
        one(self.get::<wire::Repository, _>(Of::Login(login), "get_repository_by_name", &attempt, &uri).await)
    }

    /// A repository by id, as the credential for `org` sees it; the answer survives renames and transfers.
    pub async fn repository(&self, org: OrgId, id: RepositoryId) -> Answer<RepositoryFacts> {
        let attempt = format!("read repository {id}");
        let uri = path(&["repositories", &id.to_string()]);
        one(self.get::<wire::Repository, _>(Of::Id(org), "get_repository", &attempt, &uri).await)
    }

    /// Whether the credential sees secret teams of the organisation: a token of one of its owners does, and an App
    /// whose installation there may read members.
    pub async fn owner(&self, login: &str) -> Answer<bool> {
        let attempt = format!("read this credential's standing in {login}");
        if let Some(app) = self.client.app() {
            return one(app.reads_members(Of::Login(login), &attempt).await);
        }
        let uri = path(&["user", "memberships", "orgs", login]);
        let decode = |reply: &Reply| {
            let membership: wire::Membership = serde_json::from_slice(&reply.body)?;
            Ok(membership.role.as_deref() == Some("admin") && membership.state.as_deref() == Some("active"))
        };
        match one(self.client.get(Of::Login(login), "get_membership", &attempt, &uri, decode).await) {
            // GitHub: 404 when the user is no member.
            Answer::Absent => Answer::Present(false),
            answer => answer,
        }
    }

    /// Whose token it is. An App has no user: for it the answer is *forbidden*.
    pub async fn whoami(&self) -> Answer<Whoami> {
        let decode = |reply: &Reply| {
            let user: wire::User = serde_json::from_slice(&reply.body)?;
            let scopes = reply.headers.get("x-oauth-scopes").and_then(|scopes| scopes.to_str().ok());
            let scopes =
                scopes.map(|s| s.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect());
            Ok(Whoami { login: user.login, scopes })
        };
        many(self.client.get(Of::App, "get_user", "read whose token this is", "/user", decode).await)
    }

    /// Which App signs; absent when a token does.
    pub async fn app(&self) -> Answer<AppFacts> {
        if self.client.app().is_none() {
            return Answer::Absent;
        }
        let decode = |reply: &Reply| {
            let wire::App { id, slug, name, html_url } = serde_json::from_slice(&reply.body)?;
            Ok(AppFacts { id, name: name.or(slug).unwrap_or_default(), page: html_url })
        };
        many(self.client.get(Of::App, "get_app", "read which GitHub App this is", "/app", decode).await)
    }

    /// The organisations on which the App that signs is installed; absent when a token signs.
    pub async fn installations(&self) -> Answer<Vec<Installation>> {
        match self.client.app() {
            Some(app) => many(app.installations().await),
            None => Answer::Absent,
        }
    }

    async fn get<W, T>(
        &self,
        of: Of<'_>,
        operation: &'static str,
        attempt: &str,
        uri: &str,
    ) -> Result<T, Trouble>
    where
        W: DeserializeOwned + Into<T>,
        T: Clone + Send + Sync + 'static,
    {
        let decode = |reply: &Reply| serde_json::from_slice::<W>(&reply.body).map(Into::into);
        self.client.get(of, operation, attempt, uri, decode).await
    }

    async fn list<W, T>(
        &self,
        of: Of<'_>,
        (operation, attempt): (&'static str, &str),
        uri: &str,
        id: fn(&T) -> i64,
        kept: Option<Kept>,
    ) -> Result<List<T>, Trouble>
    where
        W: DeserializeOwned + Into<T>,
        T: Clone + Send + Sync + 'static,
    {
        let size = self.client.line.carrier.http.page();
        let decode = |reply: &Reply| {
            let items: Vec<W> = serde_json::from_slice(&reply.body)?;
            let (next, pages) = wire::links(&reply.headers);
            let more = next || items.len() >= size;
            Ok(Page { items: items.into_iter().map(Into::into).collect(), more, pages, total: None })
        };
        let fetch = |number: usize| async move {
            let joins = if uri.contains('?') { '&' } else { '?' };
            let uri = format!("{uri}{joins}per_page={size}&page={}", number + 1);
            self.client.get(of, operation, attempt, &uri, decode).await
        };
        let asked = Asked { list: operation, attempt, kept };
        transport::pages(self.client.line.carrier.http.shelf(), &asked, fetch, id).await
    }
}

/// Checks that a team is this organisation's, as far as GitHub says whose it is.
fn of_org(org: &OrgFacts, shown: &wire::ShownTeam) -> Result<(), Trouble> {
    let OrgFacts { id, login } = org;
    match shown.org.filter(|of| of != id) {
        Some(of) => {
            let why = format!("{login}/{} is a team of org {of}, not of org {id}", shown.facts.slug);
            Err(Trouble::new(Class::Transient, format!("{why}: the login has moved; it is read again")))
        }
        None => Ok(()),
    }
}

fn repository_id(repository: &RepositoryFacts) -> i64 {
    repository.id.0
}

/// A path of these segments, each encoded, so that whatever a person typed stays one segment. A dot segment would lead to
/// another path; with its dots encoded, and that encoded in turn, it is a name that nobody has.
fn path(segments: &[&str]) -> String {
    let names = segments.iter().map(|segment| match *segment {
        "." | ".." => segment.replace('.', "%2e"),
        name => name.to_owned(),
    });
    let mut url = Url::parse("http://path").ok();
    if let Some(mut path) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
        path.clear().extend(names);
    }
    url.map_or_else(String::new, |url| url.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_person_typed_is_one_segment_of_a_path() {
        for (typed, segment) in [
            ("platform", "platform"),
            ("a/b", "a%2Fb"),
            ("a?b#c", "a%3Fb%23c"),
            ("..", "%252e%252e"),
            (".", "%252e"),
            ("%2e%2e", "%252e%252e"),
            ("...", "..."),
        ] {
            assert_eq!(path(&["orgs", "acme", "teams", typed]), format!("/orgs/acme/teams/{segment}"));
        }
    }
}
