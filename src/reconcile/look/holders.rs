//! Before a connection goes: who holds its slug now? A team of this organisation joins the plan; a team of another one
//! that is served gets a look of its own, and the connection waits for that.

use std::{
    collections::{BTreeSet, HashMap, btree_map::Entry},
    time::Duration,
};

use super::{Look, is_delete};
use crate::{
    model::{
        Answer, Class, ConnectionKey, GithubHandle, MirrorTeam, OrgFacts, Target, TeamFacts, TeamId, TeamKey,
        TeamState, Trouble,
    },
    plan::{Action, Guarded, LeftAlone, Planned, RemovalCause, Why},
    reconcile::{fold::Seen, observe},
    upstream::{Capability, Scope, Whose},
};

/// How long a team that answers 404 may be one that has another slug. What stays suspected, a credential may not see.
const DOUBT: Duration = Duration::from_secs(600);

/// Who holds a slug.
enum Holder {
    Nobody,
    Team(TeamFacts),
    Unknown(Trouble),
}

impl Look<'_> {
    /// Reads the holders of the slugs that removals of this plan take connections from. Returns those that join it.
    /// Removals that a holder forbids leave the plan.
    pub(super) async fn holders(
        &mut self,
        guarded: &mut Guarded,
        cleared: &mut BTreeSet<(String, bool)>,
    ) -> sqlx::Result<BTreeSet<TeamId>> {
        let mut joining = BTreeSet::new();
        let removals: Vec<(ConnectionKey, TeamId, bool)> = guarded
            .ready
            .actions
            .iter()
            .filter_map(|planned| match &planned.action {
                // The team still has its slug; a person has approved that it loses the connection.
                Action::Delete { cause: RemovalCause::Rules, .. } => None,
                Action::Delete { key, cause, .. } => {
                    let is_gone = matches!(cause, RemovalCause::TeamGone { .. });
                    Some((key.clone(), planned.team?, is_gone))
                }
                _ => None,
            })
            .collect();
        for (key, team, is_gone) in removals {
            let handle = GithubHandle::from_datadog(key.github.clone());
            let Some((login, slug)) = handle.parts() else { continue };
            if !login.eq_ignore_ascii_case(&self.known.mirror.org.login) {
                if let Some(login) = self.holder_elsewhere(&key, team, login, slug).await {
                    keep(guarded, key, login);
                }
            } else if cleared.insert((slug.to_owned(), is_gone)) {
                joining.extend(self.holder_here(&key, (team, is_gone), slug).await?);
                if self.troubles.contains_key(&team) {
                    // This look asks GitHub again for the next team that had the slug.
                    cleared.remove(&(slug.to_owned(), is_gone));
                }
            }
        }
        Ok(joining)
    }

    /// The holder of a slug in this organisation: another team that has it joins the plan.
    async fn holder_here(
        &mut self,
        key: &ConnectionKey,
        (team, is_gone): (TeamId, bool),
        slug: &str,
    ) -> sqlx::Result<Option<TeamId>> {
        match self.holder_of_own(slug, is_gone).await {
            // Nobody has it, if its organisation answers under this login: after a rename everything is 404.
            Holder::Nobody => {
                let login = self.known.mirror.org.login.clone();
                let counts = self.reading.absence_counts(&self.eyes.github, &self.state).await;
                let renamed = self.reading.org.as_ref().is_some_and(|org| org.login != login);
                self.login_changed |= renamed;
                let other = || Trouble::new(Class::Transient, format!("{login} has another login now"));
                if let Err(trouble) = counts.and_then(|()| if renamed { Err(other()) } else { Ok(()) }) {
                    self.troubles.insert(team, trouble);
                }
            }
            Holder::Team(facts) if facts.id == team => {
                let why = format!("{} still names it by its slug, though not by its id", key.github);
                self.troubles.insert(team, Trouble::new(Class::Transient, why));
            }
            Holder::Team(facts) => {
                let id = facts.id;
                self.ledger.take_in_teams(&mut self.state, &BTreeSet::from([id])).await?;
                self.known.take_in(&self.state);
                self.known.take_in_held(self.ledger.held_of_team(self.state.org.facts.id, id).await?);
                self.fold(id, Seen::Present(facts), true);
                return Ok(Some(id));
            }
            Holder::Unknown(trouble) => {
                self.troubles.insert(team, trouble);
            }
        }
        Ok(None)
    }

    /// Who holds a slug in this organisation.
    async fn holder_of_own(&mut self, slug: &str, is_gone: bool) -> Holder {
        let org = self.known.mirror.org.clone();
        if let Some(facts) = self.reading.listing.as_ref().and_then(|listing| listing.get(slug)) {
            return Holder::Team(facts.clone());
        }
        if self.login_changed || !self.reading.unheld.contains(slug) {
            match self.eyes.github.team_of(&org, slug).await {
                Answer::Present(Ok(facts)) => return Holder::Team(facts),
                Answer::Present(Err(moved)) => {
                    // A look at the whole of it reads the login that it has now.
                    self.found_elsewhere.insert(Target::Org(org.id));
                    return Holder::Unknown(moved);
                }
                Answer::Absent => {}
                Answer::Forbidden(trouble) | Answer::Failed(trouble) => return Holder::Unknown(trouble),
            }
        }
        // A list of this look decides. Where there is none, one is read if a team in doubt may have the slug: that a team
        // is gone, a list has proven.
        let in_reach = self.listed_teams.contains_key(&org.id);
        if self.reading.listing.is_some() || !in_reach && (is_gone || !self.is_any_in_doubt()) {
            return Holder::Nobody;
        }
        match self.teams_of(&org).await {
            // What this look has read of a team is no older.
            Ok(teams) => match teams.get(slug).cloned() {
                Some(facts) if !self.folded.contains_key(&facts.id) => Holder::Team(facts),
                Some(_) | None => Holder::Nobody,
            },
            Err(trouble) => Holder::Unknown(trouble),
        }
    }

    /// The holder of a slug under a login that this organisation does not have any more. Returns the login if it
    /// belongs to an organisation that is not served: nobody would look at its team.
    async fn holder_elsewhere(
        &mut self,
        key: &ConnectionKey,
        team: TeamId,
        login: &str,
        slug: &str,
    ) -> Option<String> {
        let org = match self.who_has(login).await {
            // Nobody has the login, so nobody has the handle.
            Answer::Absent => return None,
            Answer::Present(org) if org.id == self.known.mirror.org.id => {
                let why = format!("GitHub shows this organisation under {login} too; one answer is stale");
                self.troubles.insert(team, Trouble::new(Class::Transient, why));
                return None;
            }
            Answer::Present(org) => org,
            Answer::Forbidden(trouble) | Answer::Failed(trouble) => {
                self.troubles.insert(team, trouble);
                return None;
            }
        };
        let row = self.orgs.iter().find(|row| row.facts.id == org.id);
        let row = row.filter(|row| self.options.serves(row));
        let served = row.is_some();
        let known_login = row.is_some_and(|row| row.facts.login.eq_ignore_ascii_case(&org.login));
        let holder = match self.holder_of(&org, slug).await {
            Holder::Nobody => {
                // Its teams are in no mirror under this login yet.
                let unread = served && !known_login;
                self.found_elsewhere.extend(unread.then_some(Target::Org(org.id)));
                return None;
            }
            Holder::Team(_) if !served => return Some(org.login),
            // Whatever a later read may show, a later look decides about.
            Holder::Unknown(trouble)
                if !served && matches!(trouble.class, Class::Auth | Class::Permanent) =>
            {
                return Some(org.login);
            }
            Holder::Team(holder) => holder,
            Holder::Unknown(trouble) => {
                self.troubles.insert(team, trouble);
                return None;
            }
        };
        // A look at its team only learns the login where the mirror has it.
        self.found_elsewhere.insert(if known_login {
            Target::Team(TeamKey { org: org.id, team: holder.id })
        } else {
            Target::Org(org.id)
        });
        let why =
            format!("{} is the handle of a team of {} now, which is looked at first", key.github, org.login);
        self.troubles.insert(team, Trouble::new(Class::Transient, why));
        None
    }

    /// Who holds a slug in another organisation. Nobody does if the slug answers 404, and the list of the organisation's
    /// teams lacks it too: no mirror says what its teams are called.
    async fn holder_of(&mut self, org: &OrgFacts, slug: &str) -> Holder {
        self.eyes.github.knows(org);
        // Where its lists were refused, only a list shows that they may be read again. No turn of its own may be due.
        let scope = Scope::github(Whose::Org(org.id), Capability::Teams);
        if self.eyes.github.gate().refuses_lists(&scope)
            && let Err(trouble) = self.teams_of(org).await
        {
            return Holder::Unknown(trouble);
        }
        match self.eyes.github.team_of(org, slug).await {
            Answer::Present(Ok(facts)) => return Holder::Team(facts),
            Answer::Absent => {}
            Answer::Present(Err(trouble)) | Answer::Forbidden(trouble) | Answer::Failed(trouble) => {
                return Holder::Unknown(trouble);
            }
        }
        match self.teams_of(org).await {
            Ok(teams) => teams.get(slug).cloned().map_or(Holder::Nobody, Holder::Team),
            Err(trouble) => Holder::Unknown(trouble),
        }
    }

    /// Whether there is a team that GitHub has shown a short while ago, and neither shows nor proves to be gone now.
    fn is_any_in_doubt(&self) -> bool {
        let doubtful = |team: &MirrorTeam| match team.state {
            TeamState::Suspected { since, .. } => since + DOUBT > self.started,
            TeamState::Present | TeamState::Gone { .. } => false,
        };
        self.known.mirror.teams.values().any(doubtful)
    }

    /// The teams of an organisation by their slugs, read once in a look.
    async fn teams_of(&mut self, org: &OrgFacts) -> Result<&HashMap<String, TeamFacts>, Trouble> {
        match self.listed_teams.entry(org.id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unread) => {
                let absent = || format!("the list of the teams of {} answers 404", org.login);
                // Its own list is read as for a proof: without the reserve for events, and only of its own teams.
                let list = if org.id == self.state.org.facts.id {
                    self.eyes.github.unhurried().list_teams(org, observe::listed_type(&self.state)).await
                } else {
                    self.eyes.github.list_teams(org, None).await
                };
                let list = observe::answer(list, absent)?;
                Ok(unread.insert(by_slug(list.items)))
            }
        }
    }

    /// The organisation that has this login today, read once in a look.
    async fn who_has(&mut self, login: &str) -> Answer<OrgFacts> {
        if let Some(known) = self.logins.get(login) {
            return known.clone();
        }
        let answer = self.eyes.github.org_by_login(login).await;
        self.logins.insert(login.to_owned(), answer.clone());
        answer
    }

    /// Drops the removals of teams that proved to be in doubt while their slugs' holders were read.
    pub(super) fn without_troubled(&self, mut guarded: Guarded) -> Guarded {
        let keeps =
            |it: &Planned| !is_delete(it) || it.team.is_none_or(|team| !self.troubles.contains_key(&team));
        guarded.ready.actions.retain(keeps);
        guarded
    }
}

/// Teams by their slugs.
pub(super) fn by_slug(teams: impl IntoIterator<Item = TeamFacts>) -> HashMap<String, TeamFacts> {
    teams.into_iter().map(|facts| (facts.slug.clone(), facts)).collect()
}

/// Leaves a connection alone whose handle names a team that nobody looks at.
fn keep(guarded: &mut Guarded, key: ConnectionKey, login: String) {
    let (gone, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut guarded.ready.actions)
        .into_iter()
        .partition(|planned| is_delete(planned) && planned.action.key() == Some(&key));
    guarded.ready.actions = rest;
    let why = Why::OfAnother { key, login };
    guarded.ready.left_alone.extend(gone.into_iter().map(|it| LeftAlone { team: it.team, why: why.clone() }));
}
