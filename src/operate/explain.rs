//! Why a team is as it is: its rule, what GitHub and Datadog say of it, what has happened, what blocks it, and what
//! would happen now. It is read with the same eyes as a look has; nothing here can write to Datadog.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use serde::Serialize;

pub use super::blocks::Block;
use super::{blocks, release};
use crate::{
    datadog::{self, Filter},
    github,
    ledger::{Held, Ledger, OrgRow, TeamStory},
    mapping::{Outcome, Rules},
    model::{
        Answer, Connection, ConnectionId, DatadogTeamId, GithubHandle, Lane, MirrorTeam, OrgFacts, Owned,
        OwnedBy, TeamFacts, TeamId, TeamKey, TeamState, Time, Trouble,
    },
    plan::{Action, LeftAlone, Planned, Why},
    reconcile::{Foresight, Survey},
};

/// What is asked.
pub struct Sources<'a> {
    /// What we remember.
    pub ledger: &'a Ledger,
    /// What plans.
    pub survey: &'a Survey,
    /// GitHub, for names that the ledger does not know.
    pub github: &'a github::Reader,
    /// Datadog, for the team's connections.
    pub datadog: &'a datadog::Reader,
    /// The mapping rules.
    pub rules: &'a Rules,
}

/// Why a team is as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The organisation.
    pub org: OrgFacts,
    /// The team's id.
    pub id: TeamId,
    /// `org/slug` as it is now.
    pub team: String,
    /// The mapping rule.
    pub rule: Rule,
    /// What GitHub says, and said.
    pub github: GithubSide,
    /// What Datadog says.
    pub datadog: DatadogSide,
    /// Its events and looks, and what waits or was given up on.
    #[serde(flatten)]
    pub story: TeamStory,
    /// What keeps it from being brought into step.
    pub blocks: Vec<Block>,
    /// What a look would do now, a line each; those steps that are held or paused are not among them.
    pub now: Vec<String>,
}

/// The rule that decides.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    /// Its number, from 1; `None` when no rule matches.
    pub number: Option<usize>,
    /// Its pattern.
    pub pattern: Option<String>,
    /// What it gives, as it is written.
    pub gives: Option<String>,
    /// Handles or ids of Datadog teams that it gives this team.
    pub datadog_teams: Vec<String>,
}

/// GitHub's side.
#[derive(Clone, Debug, Serialize)]
pub struct GithubSide {
    /// What the mirror remembers; `None` for a team that was never seen.
    pub mirror: Option<Seen>,
    /// What GitHub shows now; `None` when that could not be read, or it is not there and never was.
    pub now: Option<Seen>,
    /// When GitHub was read.
    pub read_at: Time,
    /// Why it could not be.
    pub error: Option<String>,
}

/// A team as GitHub showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Its slug.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// `present`, `suspected` or `gone`, and since when.
    #[serde(flatten)]
    pub state: TeamState,
    /// When GitHub last showed it.
    pub seen_at: Time,
}

impl From<&MirrorTeam> for Seen {
    fn from(team: &MirrorTeam) -> Self {
        let TeamFacts { id: _, slug, name, parent: _, team_type: _ } = team.facts.clone();
        Self { slug, name, state: team.state, seen_at: team.seen_at }
    }
}

/// Datadog's side.
#[derive(Clone, Debug, Serialize)]
pub struct DatadogSide {
    /// The connections of the GitHub team, whoever made them.
    pub connections: Vec<Connected>,
    /// When Datadog was read.
    pub read_at: Time,
    /// Why it could not be.
    pub error: Option<String>,
}

/// One connection of the team.
#[derive(Clone, Debug, Serialize)]
pub struct Connected {
    /// Its id.
    pub id: ConnectionId,
    /// The Datadog team.
    pub datadog_team: DatadogTeamId,
    /// Its handle, when it could be read.
    pub handle: Option<String>,
    /// The GitHub team as Datadog names it.
    pub github: String,
    /// Whose it is.
    pub owner: OwnedBy,
    /// Who says to manage it.
    pub managed_by: Option<String>,
}

/// Explains the team that is called `slug` (or was, or has this id) in the organisation `login`.
///
/// # Errors
/// When neither the ledger nor GitHub knows such a team, or the ledger fails. What GitHub and Datadog refuse of a
/// known team is part of the explanation.
pub async fn explain(sources: &Sources<'_>, login: &str, slug: &str) -> anyhow::Result<Explanation> {
    let ledger = sources.ledger;
    let (org, team) = match find(sources, login, slug).await {
        Ok(found) => found,
        Err(error) => return Err(unless_released(ledger, login, error).await?),
    };
    let key = TeamKey { org: org.facts.id, team };
    let foresight = sources.survey.foresee(&org, team).await?;
    let mut story = ledger.story(key).await?;
    let newly_held = foresight.guarded.held_items().filter(|(_, of, _)| *of == Some(team));
    for (key, team, reason) in newly_held {
        if !story.held.iter().any(|held| held.key == key) {
            story.held.push(Held { key, team, reason: reason.clone() });
        }
    }
    let shown = foresight.team.as_ref().or(foresight.known.as_ref());
    let slug = shown.map_or_else(|| slug.to_lowercase(), |team| team.facts.slug.clone());
    let now = ledger.clock().now();
    // The set of this team alone: whoever approves it lets nothing else go.
    let hash = ledger.remember_held(Lane::Org(key.org), &story.held, now).await?;
    let (connections, error) = match connections(sources, &foresight, team, &slug).await {
        Ok(connections) => (connections, None),
        Err(trouble) => (Vec::new(), Some(trouble)),
    };
    let name = format!("{}/{slug}", foresight.org.login);
    let pause = match &foresight.pause {
        Some(pause) => Some((pause.clone(), ledger.name_of_pause(pause).await?)),
        None => None,
    };
    let mut blocks = blocks::of(&name, &foresight, &story, &hash, pause.as_ref(), error.as_ref());
    let release = release::waiting_of(ledger, key.org, now).await?;
    if let Some(block) = release::block(&org, release.as_ref()) {
        blocks.retain(|other| block.kind != "released" || other.kind != "not_served");
        blocks.insert(0, block);
    }
    let mut steps = steps(&foresight);
    name_datadog_teams(sources, blocks.iter_mut().map(|block| &mut block.what).chain(&mut steps)).await;
    Ok(Explanation {
        id: team,
        rule: rule(sources.rules, &foresight.org, &org.bound_login, &slug),
        blocks,
        now: steps,
        github: GithubSide {
            mirror: foresight.known.as_ref().map(Seen::from),
            now: foresight.team.as_ref().filter(|_| foresight.unread.is_none()).map(Seen::from),
            read_at: foresight.read_at,
            error: foresight.unread.as_ref().map(|trouble| trouble.message.clone()),
        },
        datadog: DatadogSide { connections, read_at: now, error: error.map(|trouble| trouble.message) },
        team: name,
        org: foresight.org,
        story,
    })
}

/// What to say of a team that isn't found: it may be one of whoever has the login now, which is bound to another.
async fn unless_released(
    ledger: &Ledger,
    login: &str,
    error: anyhow::Error,
) -> anyhow::Result<anyhow::Error> {
    let Some(org) = ledger.find_org(login).await? else { return Ok(error) };
    let release = release::waiting(ledger, &org.facts, ledger.clock().now()).await?;
    Ok(match release {
        Some(release) => error.context(format!("{}; run `{}`", release.reason, release.command())),
        None => error,
    })
}

/// The team by its name: in the ledger, else in GitHub.
async fn find(sources: &Sources<'_>, login: &str, slug: &str) -> anyhow::Result<(OrgRow, TeamId)> {
    let org = match sources.ledger.find_org(login).await? {
        Some(org) => org,
        None => match sources.github.org_by_login(login).await {
            Answer::Present(facts) => OrgRow::newcomer(facts),
            Answer::Absent => bail!("GitHub has no organisation {login} that this credential may see"),
            Answer::Forbidden(trouble) | Answer::Failed(trouble) => {
                return Err(trouble).context(format!("the ledger does not know the organisation {login}"));
            }
        },
    };
    if let Some(team) = sources.ledger.find_team(&org, slug).await? {
        return Ok((org, team));
    }
    let by_id = slug.parse().ok().filter(|id| *id > 0).map(TeamId);
    let answer = match sources.github.team_by_slug(&org.facts.login, slug).await {
        Answer::Absent if by_id.is_some() => {
            sources.github.team(org.facts.id, by_id.unwrap_or(TeamId(0))).await
        }
        answer => answer,
    };
    match answer {
        Answer::Present(facts) => Ok((org, facts.id)),
        Answer::Absent => bail!(
            "neither the ledger nor GitHub knows a team {slug} of {}; if it exists, the credential may not see it",
            org.facts.login
        ),
        Answer::Forbidden(trouble) | Answer::Failed(trouble) => {
            Err(trouble).context(format!("the ledger does not know the team {slug}"))
        }
    }
}

fn rule(rules: &Rules, org: &OrgFacts, bound_login: &str, slug: &str) -> Rule {
    let resolution = rules.resolve(&[&org.login, bound_login], slug);
    let spec = resolution.rule.and_then(|index| rules.spec(index));
    let datadog_teams = match resolution.outcome {
        Outcome::Handles { handles, impossible } => {
            handles.into_iter().chain(impossible.into_iter().map(|impossible| impossible.handle)).collect()
        }
        Outcome::TeamIds(ids) => ids.into_iter().map(String::from).collect(),
        Outcome::Ignored | Outcome::Unmapped => Vec::new(),
    };
    Rule {
        number: resolution.rule.map(|index| index + 1),
        pattern: spec.map(|spec| spec.github.clone()),
        gives: spec.map(|spec| spec.gives()),
        datadog_teams,
    }
}

/// The connections of the team under its handle, and those of ours under a former one.
async fn connections(
    sources: &Sources<'_>,
    foresight: &Foresight,
    team: TeamId,
    slug: &str,
) -> Result<Vec<Connected>, Trouble> {
    let handle = GithubHandle::new(&foresight.org.login, slug);
    let mut names = BTreeSet::from([handle.as_str().to_owned(), handle.key()]);
    let owned: Vec<&Owned> = foresight.owned.iter().filter(|owned| owned.team == team).collect();
    names.extend(owned.iter().map(|owned| owned.key.github.clone()));
    let team_ids: BTreeSet<String> = owned.iter().map(|owned| owned.key.datadog_team.to_string()).collect();
    let mut found: BTreeMap<ConnectionId, Connection> = BTreeMap::new();
    let by_name = Filter { connected_team_ids: names.iter().cloned().collect(), ..Filter::default() };
    let by_team = Filter { team_ids: team_ids.into_iter().collect(), ..Filter::default() };
    for filter in [by_name, by_team].into_iter().filter(|filter| *filter != Filter::default()) {
        let listed = sources.datadog.connections(&filter).await?;
        found.extend(listed.into_iter().map(|connection| (connection.id.clone(), connection)));
    }
    let mut connections = Vec::new();
    for connection in found.into_values() {
        let Some(key) = connection.key().filter(|key| names.contains(&key.github)) else { continue };
        let ours = connection.managed_by.as_ref().is_some_and(|mark| foresight.own_marks.contains(mark));
        let owned = foresight.owned.iter().any(|owned| owned.id == connection.id);
        let handle = match sources.datadog.team(&key.datadog_team).await {
            Answer::Present(team) => Some(team.handle),
            Answer::Absent | Answer::Forbidden(_) | Answer::Failed(_) => None,
        };
        connections.push(Connected {
            id: connection.id,
            datadog_team: key.datadog_team,
            handle,
            github: connection.github.unwrap_or(key.github),
            owner: match (owned, ours) {
                (true, _) => OwnedBy::Us,
                (false, true) => OwnedBy::Orphan,
                (false, false) => OwnedBy::Foreign,
            },
            managed_by: connection.managed_by,
        });
    }
    Ok(connections)
}

/// Puts the handles of Datadog's teams in the place of their ids, as far as Datadog tells them.
async fn name_datadog_teams(sources: &Sources<'_>, texts: impl Iterator<Item = &mut String>) {
    let mut handles = BTreeMap::new();
    for text in texts {
        let words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
        let ids: BTreeSet<String> =
            words.filter(|word| word.len() == 36 && word.contains('-')).map(str::to_owned).collect();
        for id in ids {
            let id = DatadogTeamId::from(id);
            if !handles.contains_key(&id) {
                let handle = match sources.datadog.team(&id).await {
                    Answer::Present(team) => Some(team.handle),
                    Answer::Absent | Answer::Forbidden(_) | Answer::Failed(_) => None,
                };
                handles.insert(id.clone(), handle);
            }
            if let Some(Some(handle)) = handles.get(&id) {
                *text = text.replace(id.as_str(), handle);
            }
        }
    }
}

/// What would be done now, and what is as it should be already.
fn steps(foresight: &Foresight) -> Vec<String> {
    let ready = &foresight.guarded.ready;
    let step = |Planned { action, reason, .. }: &Planned| {
        let proof = match action {
            Action::Delete { cause, .. } => cause.proof().map(|proof| format!(" ({proof})")),
            _ => None,
        };
        format!("{}: {reason}{}", action.step(), proof.unwrap_or_default())
    };
    let satisfied = |LeftAlone { why, .. }: &LeftAlone| match why {
        Why::Satisfied { key, owner } => Some(format!("{key} exists already ({})", owner.as_str())),
        _ => None,
    };
    ready.actions.iter().map(step).chain(ready.left_alone.iter().filter_map(satisfied)).collect()
}
