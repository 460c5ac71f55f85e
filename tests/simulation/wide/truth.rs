//! What is true of GitHub and Datadog, as the sandbox tells it to whoever stands outside of the test.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;
use teamlink::{
    mapping::{Outcome, Rules},
    model::{OrgId, TeamId, Time},
    transport::Direct,
};
use tower::ServiceExt as _;

/// A connection as Datadog holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub datadog_team: String,
    /// `@org/slug` as it was written.
    pub written: String,
    pub managed_by: String,
}

impl Connection {
    /// Datadog team and `@org/slug`, lower-cased.
    pub fn key(&self) -> Key {
        (self.datadog_team.clone(), self.written.to_lowercase())
    }
}

/// A connection's Datadog team and handle.
pub type Key = (String, String);

/// A team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    pub slug: String,
    pub enterprise: bool,
}

/// An organisation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Org {
    pub login: String,
    pub teams: BTreeMap<TeamId, Team>,
}

/// GitHub and Datadog's teams from one moment on.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub since: Time,
    pub orgs: BTreeMap<OrgId, Org>,
    /// Datadog's teams: id by handle.
    pub handles: BTreeMap<String, String>,
}

/// Asks as whoever stands outside of the test.
pub async fn ask(service: &Direct, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://sandbox{path}"))
        .header("x-sandbox-exempt", "1")
        .header("user-agent", "outside")
        .body(if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) })
        .unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
}

/// Datadog's connections by id, as they are now.
pub async fn connections(service: &Direct) -> BTreeMap<String, Connection> {
    let (_, list) = ask(service, "GET", "/api/v2/team/connections?page[size]=100", &Value::Null).await;
    let connection = |it: &Value| {
        let connection = Connection {
            datadog_team: it["relationships"]["team"]["data"]["id"].as_str()?.to_owned(),
            written: it["relationships"]["connected_team"]["data"]["id"].as_str()?.to_owned(),
            managed_by: it["attributes"]["managed_by"].as_str()?.to_owned(),
        };
        Some((it["id"].as_str()?.to_owned(), connection))
    };
    list["data"].as_array().unwrap().iter().filter_map(connection).collect()
}

impl Truth {
    /// What is true now of these organisations, as far as they are there.
    pub async fn now(service: &Direct, known: &BTreeSet<OrgId>, since: Time) -> Self {
        let mut orgs = BTreeMap::new();
        for org in known {
            let (status, facts) = ask(service, "GET", &format!("/organizations/{org}"), &Value::Null).await;
            if status != 200 {
                continue;
            }
            let login = facts["login"].as_str().unwrap().to_owned();
            let (_, list) =
                ask(service, "GET", &format!("/orgs/{login}/teams?per_page=100"), &Value::Null).await;
            let team = |team: &Value| {
                let (slug, enterprise) = (team["slug"].as_str()?.to_owned(), team["type"] == "enterprise");
                Some((TeamId(team["id"].as_i64()?), Team { slug, enterprise }))
            };
            let teams = list.as_array().unwrap().iter().filter_map(team).collect();
            orgs.insert(*org, Org { login, teams });
        }
        let (_, list) = ask(service, "GET", "/api/v2/team?page[size]=100", &Value::Null).await;
        let team = |team: &Value| {
            Some((team["attributes"]["handle"].as_str()?.to_owned(), team["id"].as_str()?.to_owned()))
        };
        let handles = list["data"].as_array().unwrap().iter().filter_map(team).collect();
        Self { since, orgs, handles }
    }

    /// The team that a handle `@org/slug` names.
    pub fn holder(&self, handle: &str) -> Option<(OrgId, TeamId)> {
        let of = |(org, it): (&OrgId, &Org)| {
            let named = |(_, team): &(&TeamId, &Team)| {
                handle == format!("@{}/{}", it.login, team.slug).to_lowercase() && !team.enterprise
            };
            it.teams.iter().find(named).map(|(team, _)| (*org, *team))
        };
        self.orgs.iter().find_map(of)
    }

    /// A team by its id.
    pub fn team(&self, id: TeamId) -> Option<(OrgId, &Org, &Team)> {
        self.orgs.iter().find_map(|(org, it)| Some((*org, it, it.teams.get(&id)?)))
    }

    /// Whether the rules name a Datadog team for this one that Datadog does not have: it keeps the connections that it has,
    /// under whatever name.
    pub fn unresolved(&self, org: &Org, team: &Team, bound: &str, rules: &Rules) -> bool {
        match rules.resolve(&[&org.login, bound], &team.slug).outcome {
            Outcome::Handles { handles, .. } => handles.iter().any(|it| !self.handles.contains_key(it)),
            _ => false,
        }
    }

    /// What the rules want for one team.
    pub fn wishes(&self, org: &Org, team: &Team, bound: &str, rules: &Rules) -> BTreeSet<Key> {
        if team.enterprise {
            return BTreeSet::new();
        }
        let github = format!("@{}/{}", org.login, team.slug).to_lowercase();
        match rules.resolve(&[&org.login, bound], &team.slug).outcome {
            Outcome::Handles { handles, .. } => handles
                .iter()
                .filter_map(|handle| Some((self.handles.get(handle)?.clone(), github.clone())))
                .collect(),
            Outcome::TeamIds(ids) => ids.into_iter().map(|id| (id.to_string(), github.clone())).collect(),
            Outcome::Ignored | Outcome::Unmapped => BTreeSet::new(),
        }
    }
}
