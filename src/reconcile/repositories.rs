//! Which repositories GitHub's document is to have, and which of our entries may go. Reads GitHub and Datadog; an
//! answer that fails never takes an entry away.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{join_all, try_join_all};

use super::{RepositoriesOf, document::Wants, survey::Eyes};
use crate::{
    datadog::Filter,
    ledger::{DocumentState, EntryRow, Ledger, OrgRow},
    model::{Answer, Class, EntryKey, GithubHandle, OrgId, RepositoryFacts, RepositoryId, Time, Trouble},
    plan::{Mode, RepositoryFilter},
};

/// The repositories that GitHub shows, by id.
type Listed = BTreeMap<RepositoryId, RepositoryFacts>;

/// Slugs of linked teams, by lower-cased login.
type Linked = BTreeMap<String, BTreeSet<String>>;

/// One of our entries, with the repository that it stands for.
type Mine<'a> = (&'a EntryKey, &'a EntryRow, RepositoryId);

impl Eyes {
    /// What is wanted of all organisations that are served. With `preview`, as if every policy were to write.
    pub(super) async fn repositories(
        &self,
        ledger: &Ledger,
        of: RepositoriesOf,
        filter: &RepositoryFilter,
        state: &DocumentState,
        preview: bool,
    ) -> sqlx::Result<Wants> {
        let now = self.options.clock.now();
        let mut wants = Wants { writes: true, ..Wants::default() };
        let mut ours: BTreeMap<OrgId, Vec<Mine<'_>>> = BTreeMap::new();
        for (key, row) in &state.entries {
            match row.repository {
                Some((org, id)) => ours.entry(org).or_default().push((key, row, id)),
                None => drop(wants.spared.insert(key.clone())),
            }
        }
        let linked = match of {
            RepositoriesOf::Org => None,
            RepositoriesOf::LinkedTeams => match self.linked().await {
                Ok(linked) => Some(linked),
                Err(trouble) => {
                    wants.unread(trouble, state.entries.keys());
                    return Ok(wants);
                }
            },
        };
        let mut orgs = ledger.orgs().await?;
        let unknown = |login: &&String| !orgs.iter().any(|org| org.is_called(login));
        for login in self.options.orgs.iter().filter(unknown).collect::<Vec<_>>() {
            // A pass binds it. Until then its repositories may have any name; a preview looks it up.
            wants.spare_others |= !preview;
            if preview {
                match self.github.org_by_login(login).await {
                    Answer::Present(facts) => {
                        orgs.push(OrgRow { facts, bound_login: login.clone(), passed: false });
                    }
                    Answer::Forbidden(trouble) | Answer::Failed(trouble) => wants.unread(trouble, []),
                    Answer::Absent => {
                        let why = format!("GitHub has no organisation {login} that this credential may see");
                        wants.unread(Trouble::new(Class::Permanent, why), []);
                    }
                }
            }
        }
        wants.spare_others |= orgs.is_empty();
        if preview && orgs.is_empty() {
            let why =
                "whose repositories are wanted is not known: set github.orgs, or run `teamlink sync` first";
            wants.unread(Trouble::new(Class::Permanent, why), []);
        }
        for org in orgs.into_iter().filter(|org| self.options.serves(org)) {
            let mine = ours.remove(&org.facts.id).unwrap_or_default();
            let keys = mine.iter().map(|(key, ..)| *key);
            let mode = match self.options.policy(&org.facts.login, &org.bound_login).mode {
                _ if preview => Mode::Sync,
                mode => mode,
            };
            if mode == Mode::Observe || ledger.paused(org.facts.id).await?.whole.is_some() {
                wants.spare(keys);
                continue;
            }
            let listed = match self.listed(&org, linked.as_ref()).await {
                Ok(listed) => listed,
                Err(trouble) => {
                    wants.unread(trouble, keys);
                    continue;
                }
            };
            for repository in listed.values().filter(|one| filter.leaves_out(one).is_none()) {
                let entry = filter.entry(repository);
                let row = EntryRow { repository: Some((org.facts.id, repository.id)), suspected: None };
                wants.rows.insert(entry.key(), row);
                wants.entries.push(entry);
            }
            if mode == Mode::Upsert {
                wants.spare(keys);
                continue;
            }
            let unwanted: Vec<_> =
                mine.into_iter().filter(|(key, ..)| !wants.rows.contains_key(*key)).collect();
            let fates = unwanted.iter().map(|mine| self.fate(&org, mine, &listed, of, filter, now));
            let fates = join_all(fates).await;
            for ((key, ..), fate) in unwanted.into_iter().zip(fates) {
                match fate {
                    Fate::Goes(why) => drop(wants.reasons.insert(key.clone(), why)),
                    Fate::Suspected { since } => {
                        let again = since + self.options.grace;
                        wants.second_look = Some(wants.second_look.map_or(again, |at| at.min(again)));
                        wants.suspected.insert(key.clone(), since);
                        wants.spared.insert(key.clone());
                    }
                    Fate::Unread(trouble) => wants.unread(trouble, [key]),
                }
            }
        }
        // Those of organisations that are not served any more are left alone.
        wants.spared.extend(ours.into_values().flatten().map(|(key, ..)| key.clone()));
        Ok(wants)
    }

    /// The teams that Datadog connects, whoever connected them.
    async fn linked(&self) -> Result<Linked, Trouble> {
        let filter = Filter { sources: vec!["github".to_owned()], ..Filter::default() };
        let mut linked = Linked::new();
        for handle in self.datadog.connections(&filter).await?.into_iter().filter_map(|it| it.github) {
            if let Some((login, slug)) = GithubHandle::from_datadog(handle.to_lowercase()).parts() {
                linked.entry(login.to_owned()).or_default().insert(slug.to_owned());
            }
        }
        Ok(linked)
    }

    /// The repositories of an organisation, or of its linked teams.
    async fn listed(&self, org: &OrgRow, linked: Option<&Linked>) -> Result<Listed, Trouble> {
        let login = &org.facts.login;
        let found = match linked {
            None => vec![answered(self.github.org_repositories(login).await)?],
            Some(linked) => {
                let slugs = linked.get(&login.to_lowercase());
                try_join_all(slugs.into_iter().flatten().map(|slug| self.of_team(login, slug))).await?
            }
        };
        Ok(found.into_iter().flatten().map(|repository| (repository.id, repository)).collect())
    }

    /// A connection may name a team that is gone, whose repositories answer 404.
    async fn of_team(&self, login: &str, slug: &str) -> Result<Vec<RepositoryFacts>, Trouble> {
        match self.github.team_repositories(login, slug).await {
            Answer::Forbidden(trouble) if trouble.status == Some(404) => {
                match self.github.team_by_slug(login, slug).await {
                    Answer::Absent => Ok(Vec::new()),
                    _ => Err(trouble),
                }
            }
            answer => answered(answer),
        }
    }

    /// What becomes of an entry of ours that no list wants: by its repository's id.
    async fn fate(
        &self,
        org: &OrgRow,
        (_, row, id): &Mine<'_>,
        listed: &Listed,
        of: RepositoriesOf,
        filter: &RepositoryFilter,
        now: Time,
    ) -> Fate {
        let name = |repository: &RepositoryFacts| format!("{}/{}", repository.owner, repository.name);
        let moved = |repository: &RepositoryFacts| match filter.leaves_out(repository) {
            Some(why) => format!("{}: {why}", name(repository)),
            None => format!("the repository is {} now", name(repository)),
        };
        if let Some(repository) = listed.get(id) {
            return Fate::Goes(moved(repository));
        }
        match self.github.repository(org.facts.id, *id).await {
            Answer::Present(found) if !found.owner.eq_ignore_ascii_case(&org.facts.login) => {
                Fate::Goes(moved(&found))
            }
            Answer::Present(found) if of == RepositoriesOf::LinkedTeams => {
                Fate::Goes(format!("no linked team has {}", name(&found)))
            }
            Answer::Present(found) => Fate::Unread(Trouble::new(
                Class::Transient,
                format!(
                    "the list of {}'s repositories lacks {}, which its id shows",
                    org.facts.login, found.name
                ),
            )),
            Answer::Absent => match row.suspected {
                Some(since) if since + self.options.grace <= now => {
                    Fate::Goes(format!("404 by id at {since} and at {now}, while its org answered"))
                }
                since => Fate::Suspected { since: since.unwrap_or(now) },
            },
            Answer::Forbidden(trouble) | Answer::Failed(trouble) => Fate::Unread(trouble),
        }
    }
}

/// What becomes of an entry that no list wants.
enum Fate {
    /// It may go, for this reason.
    Goes(String),
    /// One look of the two found its repository gone.
    Suspected { since: Time },
    /// Nothing is known.
    Unread(Trouble),
}

fn answered<T>(answer: Answer<T>) -> Result<T, Trouble> {
    match answer {
        Answer::Present(value) => Ok(value),
        Answer::Forbidden(trouble) | Answer::Failed(trouble) => Err(trouble),
        Answer::Absent => Err(Trouble::new(Class::Auth, "GitHub answers 404 to a list of repositories")),
    }
}
