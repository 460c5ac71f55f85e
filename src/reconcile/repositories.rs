//! Which repositories GitHub's document is to have, and which of our entries may go. Reads GitHub and Datadog; an
//! answer that fails never takes an entry away.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::{
    RepositoriesOf,
    linked::{Remembered, parts},
    links::Linked,
    survey::Eyes,
    wants::{Served, Wants},
};
use crate::{
    ledger::{DocumentState, EntryRow, Ledger, OrgRow},
    model::{
        Answer, Class, Entry, EntryKey, Lane, Mode, OrgId, RepositoryFacts, RepositoryId, Time, Trouble,
    },
    plan::{Fit, RepositoryFilter},
};

/// The repositories that GitHub shows of an organisation.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) repositories: BTreeMap<RepositoryId, RepositoryFacts>,
    /// Of linked teams: one that has the repository.
    pub(super) team: BTreeMap<RepositoryId, String>,
    /// Teams that are gone, though our connections of them are not yet.
    pub(super) gone: BTreeSet<String>,
}

/// What the repositories of each organisation are asked by.
struct Asked<'a> {
    filter: &'a RepositoryFilter,
    /// The teams that are connected; `None` when all repositories count.
    linked: Option<&'a Linked>,
    preview: bool,
    now: Time,
}

/// What the lists of an organisation say is wanted.
#[derive(Default)]
struct Wanted {
    entries: Vec<Entry>,
    rows: BTreeMap<EntryKey, EntryRow>,
    /// Entries of which too little is known.
    unknown: Vec<(EntryKey, Trouble)>,
}

impl Wanted {
    fn of(listed: &Listed, org: &OrgRow, filter: &RepositoryFilter) -> Self {
        let mut wanted = Self::default();
        for repository in listed.repositories.values() {
            let entry = filter.entry(repository);
            match filter.fit(repository, &org.bound_login) {
                Fit::LeftOut(_) => {}
                Fit::Unknown(field) => wanted.unknown.push((entry.key(), unsaid(repository, field))),
                Fit::Taken => {
                    let row = EntryRow {
                        repository: Some((org.facts.id, repository.id)),
                        team: listed.team.get(&repository.id).cloned(),
                        ..EntryRow::default()
                    };
                    wanted.rows.insert(entry.key(), row);
                    wanted.entries.push(entry);
                }
            }
        }
        wanted
    }
}

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
            RepositoriesOf::LinkedTeams => match self.linked(ledger).await? {
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
                        orgs.push(OrgRow { bound_login: login.clone(), ..OrgRow::newcomer(facts) });
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
        let asked = Asked { filter, linked: linked.as_ref(), preview, now: state.read_at };
        for org in orgs.into_iter().filter(|org| self.options.serves(org)) {
            let mine = ours.remove(&org.facts.id).unwrap_or_default();
            if let Err(trouble) = self.of_org(ledger, &asked, &org, &mine, &mut wants).await? {
                wants.unread(trouble, mine.iter().map(|(key, ..)| *key));
            }
        }
        let wanted: BTreeSet<RepositoryId> =
            wants.rows.values().filter_map(|row| Some(row.repository?.1)).collect();
        let renamed = |row: &EntryRow| row.repository.is_some_and(|(_, id)| wanted.contains(&id));
        let renamed =
            state.entries.iter().filter(|(key, row)| !wants.rows.contains_key(*key) && renamed(row));
        wants.renamed = renamed.map(|(key, _)| key.clone()).collect();
        // Those of organisations that are not served any more are left alone.
        wants.spared.extend(ours.into_values().flatten().map(|(key, ..)| key.clone()));
        Ok(wants)
    }

    /// Adds what is wanted of one organisation, and what becomes of our entries of it.
    async fn of_org(
        &self,
        ledger: &Ledger,
        asked: &Asked<'_>,
        org: &OrgRow,
        mine: &[Mine<'_>],
        wants: &mut Wants,
    ) -> sqlx::Result<Result<(), Trouble>> {
        let keys = || mine.iter().map(|(key, ..)| *key);
        let mode = match self.options.policy(&org.facts.login, &org.bound_login).mode {
            _ if asked.preview => Mode::Sync,
            mode => mode,
        };
        if mode == Mode::Observe || ledger.paused(Lane::Org(org.facts.id)).await?.whole.is_some() {
            wants.spare(keys());
            return Ok(Ok(()));
        }
        let served = match self.served(ledger, org, asked.linked).await? {
            Ok(served) => served,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let mut known =
            if asked.preview { Remembered::default() } else { self.remembered(ledger, org.facts.id).await? };
        let (wanted, fates) = loop {
            let listed = match self.listed(org.facts.id, &served, &known, &mut wants.lists).await {
                Ok(listed) => listed,
                Err(trouble) => return Ok(Err(trouble)),
            };
            let wanted = Wanted::of(&listed, org, asked.filter);
            let unwanted = mine.iter().filter(|(key, ..)| !wanted.rows.contains_key(*key));
            let unwanted: Vec<&Mine<'_>> = unwanted.filter(|_| mode != Mode::Upsert).collect();
            let fates = unwanted.iter().map(|mine| self.fate(org.facts.id, mine, &served, &listed, asked));
            let fates: Vec<(&EntryKey, Fate)> =
                unwanted.iter().map(|(key, ..)| *key).zip(join_all(fates).await).collect();
            // The event that told of another team may have been lost: each team is read before an entry goes.
            let by_memory = fates.iter().any(|(_, fate)| matches!(fate, Fate::NoTeam(_)));
            if !(by_memory && known.forget_lists()) {
                break (wanted, fates);
            }
        };
        wants.rows.extend(wanted.rows);
        wants.entries.extend(wanted.entries);
        for (key, trouble) in wanted.unknown {
            wants.unread(trouble, [&key]);
        }
        if mode == Mode::Upsert {
            wants.spare(keys());
            return Ok(Ok(()));
        }
        for (key, fate) in fates {
            match fate {
                Fate::Goes(why) => drop(wants.reasons.insert(key.clone(), why)),
                Fate::NoTeam(name) => {
                    drop(wants.reasons.insert(key.clone(), format!("no linked team has {name}")));
                }
                Fate::Suspected { since } => {
                    let again = since + self.options.grace;
                    wants.second_look = Some(wants.second_look.map_or(again, |at| at.min(again)));
                    wants.suspected.insert(key.clone(), since);
                    wants.spared.insert(key.clone());
                }
                Fate::Stays => drop(wants.spared.insert(key.clone())),
                Fate::Unread(trouble) => wants.unread(trouble, [key]),
            }
        }
        wants.served.insert(served.login.to_lowercase(), served);
        Ok(Ok(()))
    }

    /// Under which names an organisation is to be listed. Its login is read by its id: the one in the ledger may be
    /// another organisation's by now. A connection of ours may still name it, or a team, as they were called before.
    async fn served(
        &self,
        ledger: &Ledger,
        org: &OrgRow,
        linked: Option<&Linked>,
    ) -> sqlx::Result<Result<Served, Trouble>> {
        let login = match self.github.org(org.facts.id).await {
            Answer::Present(facts) => facts.login,
            Answer::Forbidden(trouble) | Answer::Failed(trouble) => return Ok(Err(trouble)),
            Answer::Absent => {
                let why =
                    format!("GitHub answers 404 to organisation {}, once {}", org.facts.id, org.facts.login);
                return Ok(Err(Trouble::new(Class::Auth, why)));
            }
        };
        let teams = match linked {
            None => None,
            Some(linked) => {
                let own = login.to_lowercase();
                let of_org = linked.handles.iter().filter(|(of, _)| *of == own);
                let mut teams: BTreeMap<_, _> = of_org.map(|(_, slug)| (slug.clone(), None)).collect();
                let owned =
                    ledger.org_state(org.facts.id).await?.map(|state| state.owned).unwrap_or_default();
                for owned in owned {
                    let Some(handle) = parts(&owned.key.github) else { continue };
                    teams.insert(handle.1, Some(owned.team));
                }
                Some(teams)
            }
        };
        let missing = linked.and_then(|linked| linked.missing.clone());
        Ok(Ok(Served { login, bound_login: org.bound_login.clone(), teams, missing }))
    }

    /// Whether a 404 means absence: GitHub answers so too whoever has lost access to the organisation.
    pub(super) async fn sees(&self, login: &str) -> Result<(), Trouble> {
        answered(self.github.teams_answer(login).await)
    }

    /// What becomes of an entry of ours that no list wants: by its repository's id.
    async fn fate(
        &self,
        org: OrgId,
        (_, row, id): &Mine<'_>,
        served: &Served,
        listed: &Listed,
        asked: &Asked<'_>,
    ) -> Fate {
        let name = |repository: &RepositoryFacts| format!("{}/{}", repository.owner, repository.name);
        if let Some(repository) = listed.repositories.get(id) {
            return match asked.filter.fit(repository, &served.bound_login) {
                Fit::LeftOut(why) => Fate::Goes(format!("{}: {why}", name(repository))),
                Fit::Taken => Fate::Goes(format!("the repository is {} now", name(repository))),
                Fit::Unknown(field) => Fate::Unread(unsaid(repository, field)),
            };
        }
        match self.github.repository(org, *id).await {
            Answer::Present(found) if !found.owner.eq_ignore_ascii_case(&served.login) => {
                Fate::Goes(format!("the repository is {} now", name(&found)))
            }
            Answer::Present(found) => match (&served.teams, &row.team) {
                (Some(_), Some(team)) if listed.gone.contains(team) => Fate::Stays,
                (Some(teams), Some(team)) if teams.contains_key(team) => {
                    match self.github.team_repository(&served.login, team, &found.name).await {
                        Answer::Absent => Fate::NoTeam(name(&found)),
                        Answer::Present(()) => Fate::Unread(short(&format!("team {team}"), &name(&found))),
                        Answer::Forbidden(trouble) | Answer::Failed(trouble) => Fate::Unread(trouble),
                    }
                }
                (Some(_), _) => match &served.missing {
                    Some(wrong) => Fate::Unread(Trouble::new(
                        Class::Transient,
                        format!("Datadog's list of team connections {wrong}"),
                    )),
                    None => Fate::NoTeam(name(&found)),
                },
                (None, _) => Fate::Unread(short(&served.login, &name(&found))),
            },
            Answer::Absent => match self.sees(&served.login).await {
                Err(trouble) => Fate::Unread(trouble),
                Ok(()) => match row.suspected {
                    Some(since) if since + self.options.grace <= asked.now => {
                        let now = asked.now;
                        Fate::Goes(format!("404 by id at {since} and at {now}, while its org answered"))
                    }
                    // One that began ahead of the clock, which was set back since, begins again.
                    since => Fate::Suspected { since: since.map_or(asked.now, |since| since.min(asked.now)) },
                },
            },
            Answer::Forbidden(trouble) | Answer::Failed(trouble) => Fate::Unread(trouble),
        }
    }

    /// Whether an entry of others, which is to go from a list that is exclusively ours, names no repository that is
    /// wanted: the list that lacks it may have been cut.
    pub(super) async fn unwanted(
        &self,
        served: &Served,
        name: &str,
        filter: &RepositoryFilter,
    ) -> Result<(), Trouble> {
        let Served { login, bound_login, teams, missing: _ } = served;
        let found = match self.github.repository_by_name(login, name).await {
            Answer::Present(found) => found,
            Answer::Absent => return self.sees(login).await,
            // Renamed or transferred.
            Answer::Failed(trouble) if trouble.status == Some(301) => return Ok(()),
            Answer::Forbidden(trouble) | Answer::Failed(trouble) => return Err(trouble),
        };
        let is_it = found.owner.eq_ignore_ascii_case(login) && found.name.eq_ignore_ascii_case(name);
        if !is_it {
            return Ok(());
        }
        match filter.fit(&found, bound_login) {
            Fit::Taken => {}
            Fit::LeftOut(_) => return Ok(()),
            Fit::Unknown(field) => return Err(unsaid(&found, field)),
        }
        let Some(teams) = teams else { return Err(short(login, name)) };
        for team in teams.keys() {
            match self.github.team_repository(login, team, name).await {
                Answer::Absent => {}
                Answer::Present(()) => return Err(short(&format!("team {team}"), name)),
                Answer::Forbidden(trouble) | Answer::Failed(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }
}

/// A list that lacks what another read shows.
fn short(whose: &str, repository: &str) -> Trouble {
    let why = format!("the list of the repositories of {whose} lacks {repository}, which another read shows");
    Trouble::new(Class::Transient, why)
}

/// An answer that lacks a field.
fn unsaid(repository: &RepositoryFacts, field: &str) -> Trouble {
    let RepositoryFacts { owner, name, .. } = repository;
    Trouble::new(Class::Transient, format!("GitHub's answer about {owner}/{name} lacks `{field}`"))
}

/// What becomes of an entry that no list wants.
enum Fate {
    /// It may go, for this reason.
    Goes(String),
    /// No linked team has the repository of this name, as far as the teams' lists say.
    NoTeam(String),
    /// One look of the two found its repository gone.
    Suspected { since: Time },
    /// It stays for as long as its team is connected.
    Stays,
    /// Nothing is known.
    Unread(Trouble),
}

pub(super) fn answered<T>(answer: Answer<T>) -> Result<T, Trouble> {
    match answer {
        Answer::Present(value) => Ok(value),
        Answer::Forbidden(trouble) | Answer::Failed(trouble) => Err(trouble),
        Answer::Absent => Err(Trouble::new(Class::Auth, "GitHub answers 404 to a list of repositories")),
    }
}
