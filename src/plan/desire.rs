//! What should be: each team's handle in Datadog's words, and the Datadog teams that it is to be linked to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Mirror, rows::RowsByTeam};
use crate::{
    mapping::{Outcome, Rules},
    model::{ConnectionKey, DatadogTeam, DatadogTeamId, GithubHandle, MirrorTeam, Owned, TeamId, TeamState},
};

/// The Datadog teams that are known, by handle.
#[derive(Clone, Debug, Default)]
pub struct DatadogTeams {
    by_handle: HashMap<String, DatadogTeamId>,
    ids: HashSet<DatadogTeamId>,
    complete: bool,
}

impl DatadogTeams {
    /// A directory of these teams. `complete` says that Datadog has no others.
    pub fn new(teams: impl IntoIterator<Item = DatadogTeam>, complete: bool) -> Self {
        let by_handle: HashMap<_, _> =
            teams.into_iter().map(|team| (team.handle.to_lowercase(), team.id)).collect();
        let ids = by_handle.values().cloned().collect();
        Self { by_handle, ids, complete }
    }

    /// Whether Datadog has no other teams than these.
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// Every known team: its handle, lower-cased, and its id.
    pub fn handles(&self) -> impl Iterator<Item = (&str, &DatadogTeamId)> {
        self.by_handle.iter().map(|(handle, id)| (handle.as_str(), id))
    }

    /// Whether a team with this id is known.
    pub fn has(&self, id: &DatadogTeamId) -> bool {
        self.ids.contains(id)
    }

    /// The team with this handle, which must be lower-cased.
    pub fn find(&self, handle: &str) -> Option<&DatadogTeamId> {
        self.by_handle.get(handle)
    }
}

/// What one team is to be linked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How Datadog names the GitHub team.
    pub github: GithubHandle,
    /// The same, as it stands in keys.
    pub github_key: String,
    /// The Datadog teams, those that are only kept because a handle resolves to nothing too.
    pub datadog: Vec<DatadogTeamId>,
    /// Handles that resolve to nothing.
    pub unresolved: Vec<String>,
    /// Whether the list that lacks them is complete.
    pub list_complete: bool,
    /// The rule that decided.
    pub rule: Option<usize>,
    /// Whether that rule says to leave the team alone.
    pub ignored: bool,
}

/// What an organisation is to look like in Datadog.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// By team; those that are gone want nothing and are not in it.
    pub teams: BTreeMap<TeamId, Wanted>,
    /// Who wants each key. None of these is ever deleted.
    pub wanted_keys: HashMap<ConnectionKey, TeamId>,
    /// Who has each handle, as it stands in keys, of the teams that GitHub shows.
    pub holders: HashMap<String, TeamId>,
    /// Teams that read back with the same slug as another: one of the two answers is stale.
    pub conflicts: BTreeSet<TeamId>,
}

/// What every team of the mirror wants.
pub fn desire<'a>(
    mirror: &Mirror,
    rules: &Rules,
    directory: &DatadogTeams,
    owned: impl IntoIterator<Item = &'a Owned>,
) -> Desired {
    let (rows, logins, count) = (RowsByTeam::new(owned), mirror.logins(), mirror.teams.len());
    let mut desired = Desired {
        wanted_keys: HashMap::with_capacity(count),
        holders: HashMap::with_capacity(count),
        ..Desired::default()
    };
    for (&id, team) in &mirror.teams {
        if matches!(team.state, TeamState::Gone { .. }) {
            continue;
        }
        let wanted = wants(mirror, team, rules, &logins, directory, rows.of(id));
        for datadog_team in &wanted.datadog {
            let key = ConnectionKey { datadog_team: datadog_team.clone(), github: wanted.github_key.clone() };
            // While a team is only suspected gone, whoever is present with its slug is the heir.
            if team.state == TeamState::Present {
                desired.wanted_keys.insert(key, id);
            } else {
                desired.wanted_keys.entry(key).or_insert(id);
            }
        }
        if team.state == TeamState::Present
            && let Some(other) = desired.holders.insert(wanted.github_key.clone(), id)
        {
            desired.conflicts.extend([other, id]);
        }
        desired.teams.insert(id, wanted);
    }
    desired
}

fn wants(
    mirror: &Mirror,
    team: &MirrorTeam,
    rules: &Rules,
    logins: &[&str],
    directory: &DatadogTeams,
    kept: &[&Owned],
) -> Wanted {
    let github = GithubHandle::new(&mirror.org.login, &team.facts.slug);
    let github_key = github.key();
    let resolution = rules.resolve_team(logins, &team.facts);
    let (mut datadog, mut unresolved, mut ignored) = (Vec::new(), Vec::new(), false);
    match resolution.outcome {
        Outcome::Handles { handles, impossible } => {
            for handle in handles {
                match directory.find(&handle) {
                    Some(id) => datadog.push(id.clone()),
                    None => unresolved.push(handle),
                }
            }
            unresolved.extend(impossible.into_iter().map(|impossible| impossible.handle));
        }
        Outcome::TeamIds(ids) => datadog = ids,
        Outcome::Ignored => ignored = true,
        Outcome::Unmapped => {}
    }
    if !unresolved.is_empty() {
        datadog.extend(kept.iter().map(|row| row.key.datadog_team.clone()));
    }
    datadog.sort_unstable();
    datadog.dedup();
    datadog.shrink_to_fit();
    let list_complete = directory.complete();
    Wanted { github, github_key, datadog, unresolved, list_complete, rule: resolution.rule, ignored }
}
