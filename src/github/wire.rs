//! GitHub's JSON, as little of it as is used. A field that GitHub's schema leaves optional, or that some
//! version of GitHub Enterprise Server lacks, is optional here.

use http::HeaderMap;
use serde::Deserialize;

use super::app;
use crate::model::{OrgFacts, OrgId, RepositoryFacts, RepositoryId, TeamFacts, TeamId, TeamType};

#[derive(Deserialize)]
pub(super) struct Org {
    id: i64,
    login: String,
}

impl From<Org> for OrgFacts {
    fn from(org: Org) -> Self {
        Self { id: OrgId(org.id), login: org.login }
    }
}

#[derive(Deserialize)]
pub(super) struct Team {
    id: i64,
    slug: String,
    name: Option<String>,
    parent: Option<Parent>,
    r#type: Option<String>,
    organization_id: Option<i64>,
}

#[derive(Deserialize)]
struct Parent {
    id: i64,
}

impl From<Team> for TeamFacts {
    fn from(team: Team) -> Self {
        Self {
            id: TeamId(team.id),
            team_type: TeamType::of(team.r#type.as_deref(), &team.slug),
            name: team.name.unwrap_or_else(|| team.slug.clone()),
            slug: team.slug,
            parent: team.parent.map(|parent| TeamId(parent.id)),
        }
    }
}

/// A team that was asked for by a login, with the organisation that has it: the login may be another's by then. Enterprise
/// teams, and older servers, name none.
#[derive(Clone)]
pub(super) struct ShownTeam {
    pub(super) facts: TeamFacts,
    pub(super) org: Option<OrgId>,
}

impl From<Team> for ShownTeam {
    fn from(team: Team) -> Self {
        Self { org: team.organization_id.map(OrgId), facts: team.into() }
    }
}

#[derive(Deserialize)]
pub(super) struct Repository {
    id: i64,
    name: String,
    owner: Owner,
    archived: Option<bool>,
    private: Option<bool>,
    visibility: Option<String>,
    topics: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Owner {
    login: String,
}

impl From<Repository> for RepositoryFacts {
    fn from(repository: Repository) -> Self {
        // A private one may be internal too.
        let by_flag = repository.private.filter(|private| !private).map(|_| "public".to_owned());
        Self {
            id: RepositoryId(repository.id),
            name: repository.name,
            owner: repository.owner.login,
            archived: repository.archived,
            visibility: repository.visibility.or(by_flag),
            topics: repository.topics,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Membership {
    pub(super) state: Option<String>,
    pub(super) role: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) login: String,
}

#[derive(Deserialize)]
pub(super) struct App {
    pub(super) id: u64,
    pub(super) slug: Option<String>,
    pub(super) name: Option<String>,
    pub(super) html_url: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Installation {
    pub(super) id: u64,
    /// GitHub: may be null, and may be an enterprise, which has no login.
    account: Option<Account>,
    target_type: Option<String>,
    suspended_at: Option<String>,
    #[serde(default)]
    permissions: Permissions,
}

#[derive(Clone, Deserialize)]
struct Account {
    id: i64,
    login: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
pub(super) struct Permissions {
    members: Option<String>,
}

impl Permissions {
    pub(super) fn read_members(&self) -> bool {
        self.members.is_some()
    }
}

impl Installation {
    /// What it is, when it is on an organisation.
    pub(super) fn on_org(self) -> Option<app::Installation> {
        let Account { id, login } =
            self.account.filter(|_| self.target_type.as_deref() == Some("Organization"))?;
        Some(app::Installation {
            org: OrgFacts { id: OrgId(id), login: login? },
            suspended: self.suspended_at.is_some(),
            members: self.permissions.read_members(),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Token {
    pub(super) token: String,
    pub(super) expires_at: String,
    #[serde(default)]
    pub(super) permissions: Permissions,
}

/// What the `Link` header says: whether there is a next page, and the number of the last one.
pub(super) fn links(headers: &HeaderMap) -> (bool, Option<usize>) {
    let mut next = false;
    let mut last = None;
    let header = headers.get(http::header::LINK).and_then(|link| link.to_str().ok()).unwrap_or_default();
    for link in header.split(',') {
        if link.contains("rel=\"next\"") {
            next = true;
        }
        if link.contains("rel=\"last\"") {
            last = page_number(link);
        }
    }
    (next, last)
}

/// The value of the parameter `page` in `<https://…?per_page=100&page=3>; rel="last"`.
fn page_number(link: &str) -> Option<usize> {
    let (uri, _) = link.trim().strip_prefix('<')?.split_once('>')?;
    let (_, query) = uri.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix("page="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_team_needs_only_its_id_and_its_slug() {
        let bare: Team = serde_json::from_str(r#"{"id": 7, "slug": "core", "privacy": "new-kind"}"#).unwrap();
        assert_eq!(
            TeamFacts::from(bare),
            TeamFacts {
                id: TeamId(7),
                slug: "core".into(),
                name: "core".into(),
                parent: None,
                team_type: TeamType::Organization
            }
        );
        let nested = r#"{"id": 8, "slug": "db", "name": "DB", "parent": {"id": 7, "name": "Core"}, "permission": null}"#;
        let nested: Team = serde_json::from_str(nested).unwrap();
        assert_eq!(TeamFacts::from(nested).parent, Some(TeamId(7)));
        let top: Team =
            serde_json::from_str(r#"{"id": 8, "slug": "db", "name": null, "parent": null}"#).unwrap();
        assert_eq!(TeamFacts::from(top).parent, None);
    }

    #[test]
    fn what_an_answer_does_not_say_of_a_repository_is_unknown() {
        let read = |fields: &str| {
            let json = format!(r#"{{"id":1,"name":"r","owner":{{"login":"o"}}{fields}}}"#);
            RepositoryFacts::from(serde_json::from_str::<Repository>(&json).unwrap())
        };
        let silent = read("");
        assert_eq!((silent.archived, silent.visibility, silent.topics), (None, None, None));
        assert_eq!(read(r#","private":false"#).visibility.as_deref(), Some("public"));
        assert_eq!(read(r#","private":true"#).visibility, None, "private or internal");
        assert_eq!(
            read(r#","private":true,"visibility":"internal""#).visibility.as_deref(),
            Some("internal")
        );
        assert_eq!(read(r#","archived":false,"topics":[]"#).topics, Some(vec![]));
        assert_eq!(read(r#","archived":null"#).archived, None);
    }

    #[test]
    fn the_link_header_tells_whether_there_is_more_and_how_much() {
        let read = |link: &'static str| {
            links(&HeaderMap::from_iter([(http::header::LINK, HeaderValue::from_static(link))]))
        };
        assert_eq!(
            read(
                r#"<https://other.host/orgs/a/teams?per_page=100&page=2>; rel="next", <https://other.host/orgs/a/teams?per_page=100&page=7>; rel="last""#
            ),
            (true, Some(7))
        );
        assert_eq!(read(r#"<https://h/t?page=1&per_page=100>; rel="first""#), (false, None));
        assert_eq!(read(r#"garbage; rel="last""#), (false, None));
        assert_eq!(links(&HeaderMap::new()), (false, None));
    }
}
