//! The repositories of an organisation, or of its linked teams. An organisation may have a thousand of those, and an event
//! is about one: their lists are remembered in the ledger until an event or a full pass says otherwise. What is
//! remembered are ids; what the repositories are called and whether they are archived is always read.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::{
    links::Linked,
    pace::LAG_ENDS,
    repositories::{Listed, answered},
    survey::Eyes,
    wants::Served,
};
use crate::{
    datadog::Filter,
    ledger::Ledger,
    model::{
        Answer, GithubHandle, OrgId, RepositoryFacts, RepositoryId, TeamId, TeamKey, TeamState, Trouble,
    },
};

/// Repositories by team, as they were read.
pub(super) type Lists = BTreeMap<TeamKey, BTreeSet<RepositoryId>>;

/// What the ledger remembers of an organisation.
#[derive(Default)]
pub(super) struct Remembered {
    /// Teams by their slugs.
    slugs: BTreeMap<String, TeamId>,
    /// The lists that are good.
    lists: BTreeMap<TeamId, BTreeSet<RepositoryId>>,
}

impl Remembered {
    /// Forgets the lists, and says whether there were any.
    pub(super) fn forget_lists(&mut self) -> bool {
        !std::mem::take(&mut self.lists).is_empty()
    }
}

impl Eyes {
    /// The teams that are connected: by us as the ledger knows, by others as Datadog's list shows.
    pub(super) async fn linked(&self, ledger: &Ledger) -> sqlx::Result<Result<Linked, Trouble>> {
        let now = self.options.clock.monotonic();
        let mut remembered = self.others.0.lock().await;
        let fresh = remembered.as_ref().is_some_and(|(at, _)| *at + self.options.teams_ttl > now);
        let ours = ledger.owned_keys().await?;
        if !fresh {
            let list = match self.datadog.list_connections(&Filter::github()).await {
                Ok(list) => list,
                Err(trouble) => return Ok(Err(trouble)),
            };
            let shown: BTreeSet<_> = list.items.iter().filter_map(|connection| connection.key()).collect();
            let theirs = shown.iter().filter(|key| !ours.contains_key(*key));
            let handles = theirs.filter_map(|key| parts(&key.github)).collect();
            let lacks = ours.iter().find(|(key, stands)| **stands && !shown.contains(*key));
            let lacks = lacks.map(|(key, _)| format!("lacks {}, which is ours", key.github));
            let shows = || format!("shows {}", list.items.len());
            let says = list.wrong_total.map(|total| format!("says that there are {total} and {}", shows()));
            let missing = lacks.or(says);
            *remembered = Some((now, Linked { handles, missing }));
        }
        let mut linked = remembered.as_ref().map(|(_, linked)| linked.clone()).unwrap_or_default();
        if linked.missing.is_some() {
            // A list that was cut is not kept.
            *remembered = None;
        }
        linked.handles.extend(ours.keys().filter_map(|key| parts(&key.github)));
        Ok(Ok(linked))
    }

    /// What the ledger remembers of an organisation's teams and their repositories.
    pub(super) async fn remembered(&self, ledger: &Ledger, org: OrgId) -> sqlx::Result<Remembered> {
        let teams = ledger.org_state(org).await?.map(|state| state.teams).unwrap_or_default();
        let alive = teams.into_values().filter(|team| !matches!(team.state, TeamState::Gone { .. }));
        Ok(Remembered {
            slugs: alive.map(|team| (team.facts.slug.to_lowercase(), team.facts.id)).collect(),
            lists: ledger.team_lists(org, LAG_ENDS).await?,
        })
    }

    /// The repositories of an organisation, or of its linked teams. What was read of those goes into `lists`, also
    /// when something else could not be read.
    pub(super) async fn listed(
        &self,
        org: OrgId,
        Served { login, teams, .. }: &Served,
        known: &Remembered,
        lists: &mut Lists,
    ) -> Result<Listed, Trouble> {
        let mut listed = Listed::default();
        let Some(teams) = teams else {
            let all = answered(self.github.org_repositories(login).await)?;
            listed.repositories = all.into_iter().map(|repository| (repository.id, repository)).collect();
            return Ok(listed);
        };
        let (mut ids, mut unread) = (BTreeSet::new(), Vec::new());
        for (slug, &ours) in teams {
            let team = ours.or_else(|| known.slugs.get(slug).copied());
            match team.and_then(|team| known.lists.get(&team)) {
                Some(list) => {
                    for &id in list {
                        listed.team.entry(id).or_insert_with(|| slug.clone());
                        ids.insert(id);
                    }
                }
                None => unread.push((slug, ours, team)),
            }
        }
        let read = join_all(unread.iter().map(|(slug, ours, _)| self.of_team(org, login, slug, *ours))).await;
        let mut trouble = None;
        for ((slug, _, team), read) in unread.into_iter().zip(read) {
            match read {
                Ok(Some(list)) => {
                    if let Some(team) = team {
                        lists.insert(TeamKey { org, team }, list.iter().map(|one| one.id).collect());
                    }
                    for repository in list {
                        listed.team.entry(repository.id).or_insert_with(|| slug.clone());
                        listed.repositories.insert(repository.id, repository);
                    }
                }
                Ok(None) => drop(listed.gone.insert(slug.clone())),
                Err(why) => trouble = Some(why),
            }
        }
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        ids.retain(|id| !listed.repositories.contains_key(id));
        listed.repositories.extend(self.described(org, login, ids).await?);
        Ok(listed)
    }

    /// These repositories of an organisation as they are now, without those that left it.
    async fn described(
        &self,
        org: OrgId,
        login: &str,
        mut ids: BTreeSet<RepositoryId>,
    ) -> Result<BTreeMap<RepositoryId, RepositoryFacts>, Trouble> {
        let mut described = BTreeMap::new();
        if ids.is_empty() {
            return Ok(described);
        }
        let all = answered(self.github.org_repositories(login).await)?;
        described.extend(all.into_iter().filter(|one| ids.remove(&one.id)).map(|one| (one.id, one)));
        for answer in join_all(ids.into_iter().map(|id| self.github.repository(org, id))).await {
            match answer {
                Answer::Present(one) if one.owner.eq_ignore_ascii_case(login) => {
                    described.insert(one.id, one);
                }
                Answer::Present(_) | Answer::Absent => {}
                Answer::Forbidden(trouble) | Answer::Failed(trouble) => return Err(trouble),
            }
        }
        Ok(described)
    }

    /// The repositories of a connected team. A connection may name a team that is gone or renamed, whose repositories
    /// answer 404: `None` for one of ours that is gone, since its end is the connection's to prove.
    async fn of_team(
        &self,
        org: OrgId,
        login: &str,
        slug: &str,
        id: Option<TeamId>,
    ) -> Result<Option<Vec<RepositoryFacts>>, Trouble> {
        let trouble = match self.github.team_repositories(login, slug).await {
            Answer::Forbidden(trouble) if trouble.status == Some(404) => trouble,
            answer => return answered(answer).map(Some),
        };
        let team = match id {
            Some(id) => self.github.team(org, id).await,
            None => self.github.team_by_slug(login, slug).await,
        };
        match team {
            Answer::Present(team) if !team.slug.eq_ignore_ascii_case(slug) => {
                answered(self.github.team_repositories(login, &team.slug).await).map(Some)
            }
            Answer::Absent => {
                self.sees(login).await?;
                Ok(id.is_none().then(Vec::new))
            }
            Answer::Present(_) | Answer::Forbidden(_) | Answer::Failed(_) => Err(trouble),
        }
    }
}

/// Login and slug of a connected team.
pub(super) fn parts(handle: &str) -> Option<(String, String)> {
    GithubHandle::from_datadog(handle.to_owned())
        .parts()
        .map(|(login, slug)| (login.to_lowercase(), slug.to_lowercase()))
}
