//! Fills the worlds in one go, without webhooks: at the start from [`Options`], later through `POST /_sandbox/seed`.

use std::sync::PoisonError;

use serde::Deserialize;
use serde_json::{Value, json};

use super::table::NOW;
use super::{Options, Shared};
use super::{datadog, github};

/// The id of the one enterprise of this world.
const ENTERPRISE: u64 = 1;

/// What to add to the worlds. Organisations that exist already get more.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seed {
    #[serde(default)]
    orgs: Vec<SeedOrg>,
    #[serde(default)]
    datadog_teams: Vec<SeedDatadogTeam>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedOrg {
    login: String,
    #[serde(default)]
    teams: Vec<SeedTeam>,
    #[serde(default)]
    repos: Vec<SeedRepo>,
    /// Teams of the enterprise that are assigned to this organisation.
    #[serde(default)]
    enterprise_teams: Vec<SeedEnterpriseTeam>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedEnterpriseTeam {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedTeam {
    name: String,
    /// Name or slug of a team that comes earlier.
    #[serde(default)]
    parent: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedRepo {
    name: String,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    private: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedDatadogTeam {
    handle: String,
    name: String,
}

impl Seed {
    /// An organisation with teams `Team 1` … and repositories `repo-1` …, and Datadog teams whose handles are the
    /// teams' slugs.
    pub(crate) fn of(options: &Options) -> Self {
        let Some(login) = options.org.clone() else { return Self::default() };
        let names: Vec<_> = (1..=options.teams).map(|number| format!("Team {number}")).collect();
        let repos = (1..=options.repos).map(|number| format!("repo-{number}"));
        Self {
            orgs: vec![SeedOrg {
                login,
                teams: names.iter().map(|name| SeedTeam { name: name.clone(), parent: None }).collect(),
                repos: repos.map(|name| SeedRepo { name, archived: false, private: false }).collect(),
                enterprise_teams: Vec::new(),
            }],
            datadog_teams: names
                .into_iter()
                .map(|name| SeedDatadogTeam { handle: github::slug(&name), name })
                .collect(),
        }
    }
}

/// Carries a seed out and answers with the ids that came of it. What stood before a failure stays.
pub(crate) fn sow(shared: &Shared, seed: Seed) -> Result<Value, String> {
    let orgs = seed.orgs.iter().map(|org| sow_org(shared, org)).collect::<Result<Vec<_>, _>>()?;
    let teams = seed.datadog_teams.into_iter().map(|team| sow_datadog_team(shared, team));
    Ok(json!({"orgs": orgs, "datadog_teams": teams.collect::<Result<Vec<_>, _>>()?}))
}

fn sow_org(shared: &Shared, seed: &SeedOrg) -> Result<Value, String> {
    let mut world = shared.github.write().unwrap_or_else(PoisonError::into_inner);
    let now = shared.clock.now();
    let login = &seed.login;
    let existing = world.org(login, NOW).ok().cloned();
    let org = existing.map_or_else(|| world.create_org(login, now), Ok);
    let org = org.map_err(|why| format!("cannot create organisation {login:?}: {why:?}"))?;
    let mut teams = Vec::new();
    for SeedTeam { name, parent } in &seed.teams {
        let parent =
            parent.as_ref().map(|parent| world.team(org.id, &github::slug(parent), NOW).map(|team| team.id));
        let team = parent
            .transpose()
            .and_then(|parent| world.create_team(github::Team::draft(org.id, name.clone(), parent), now))
            .map_err(|why| format!("cannot create team {name:?} of {login}: {why:?}"))?;
        teams.push(json!({"id": team.id, "name": team.name, "slug": team.slug}));
    }
    let mut enterprise_teams = Vec::new();
    for SeedEnterpriseTeam { name } in &seed.enterprise_teams {
        let draft = github::Team {
            enterprise: Some(ENTERPRISE),
            privacy: "closed".to_owned(),
            ..github::Team::draft(org.id, name.clone(), None)
        };
        let team = world.create_team(draft, now);
        let team =
            team.map_err(|why| format!("cannot create enterprise team {name:?} of {login}: {why:?}"))?;
        enterprise_teams.push(json!({"id": team.id, "name": team.name, "slug": team.slug}));
    }
    let mut repos = Vec::new();
    for SeedRepo { name, archived, private } in &seed.repos {
        let mut draft = github::Repo { archived: *archived, ..github::Repo::draft(org.id, name.clone()) };
        if *private {
            draft.visibility = "private".to_owned();
        }
        let repo = world.create_repo(draft, now);
        let repo = repo.map_err(|why| format!("cannot create repository {name:?} of {login}: {why:?}"))?;
        repos.push(json!({"id": repo.id, "name": repo.name}));
    }
    Ok(
        json!({"id": org.id, "login": org.login, "teams": teams, "enterprise_teams": enterprise_teams, "repos": repos}),
    )
}

fn sow_datadog_team(shared: &Shared, seed: SeedDatadogTeam) -> Result<Value, String> {
    let mut world = shared.datadog.write().unwrap_or_else(PoisonError::into_inner);
    let handle = seed.handle.clone();
    let team = world
        .create_team(datadog::Team::draft(seed.handle, seed.name), shared.clock.now())
        .map_err(|why| format!("cannot create Datadog team {handle:?}: {why:?}"))?;
    Ok(json!({"id": team.id.to_string(), "handle": team.handle, "name": team.name}))
}
