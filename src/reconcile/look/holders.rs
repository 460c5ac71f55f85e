//! Before a connection goes: who holds its slug now? A team of this organisation joins the plan; a team of another one
//! that is served gets a look of its own, and the connection waits for that.

use std::collections::{BTreeSet, HashMap, btree_map::Entry};

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
        cleared: &mut BTreeSet<String>,
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
            } else if cleared.insert(slug.to_owned()) {
                joining.extend(self.holder_here(&key, (team, is_gone), slug).await?);
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
        let org = self.known.mirror.org.clone();
        let login = &org.login;
        let listed = self.reading.listing.as_ref().and_then(|listing| listing.get(slug).cloned());
        let unheld = self.reading.unheld.contains(slug) && !self.login_changed;
        let mut holder = match listed {
            Some(facts) => Answer::Present(facts),
            None if unheld => Answer::Absent,
            None => self.eyes.github.team_of(&org, slug).await,
        };
        // That a team is gone, a list has proven. A team in doubt may have the slug, whatever that answers.
        let lists = self.listed_teams.contains_key(&org.id) || self.is_any_in_doubt();
        if holder == Answer::Absent && !is_gone && lists {
            holder = match self.teams_of(&org).await {
                Ok(teams) => teams.get(slug).cloned().map_or(Answer::Absent, Answer::Present),
                Err(trouble) => Answer::Failed(trouble),
            };
        }
        match holder {
            // Nobody has it, if its organisation answers under this login: after a rename everything is 404.
            Answer::Absent => {
                let counts = self.reading.absence_counts(&self.eyes.github, &self.state).await;
                let renamed = self.reading.org.as_ref().is_some_and(|org| org.login != *login);
                self.login_changed |= renamed;
                let other = || Trouble::new(Class::Transient, format!("{login} has another login now"));
                if let Err(trouble) = counts.and_then(|()| if renamed { Err(other()) } else { Ok(()) }) {
                    self.troubles.insert(team, trouble);
                }
            }
            Answer::Present(facts) if facts.id == team => {
                let why = format!("{} still names it by its slug, though not by its id", key.github);
                self.troubles.insert(team, Trouble::new(Class::Transient, why));
            }
            Answer::Present(facts) => {
                let id = facts.id;
                self.ledger.take_in_teams(&mut self.state, &BTreeSet::from([id])).await?;
                self.known.take_in(&self.state);
                self.known.take_in_held(self.ledger.held_of_team(self.state.org.facts.id, id).await?);
                self.fold(id, Seen::Present(facts), true);
                return Ok(Some(id));
            }
            Answer::Forbidden(trouble) | Answer::Failed(trouble) => {
                self.troubles.insert(team, trouble);
            }
        }
        Ok(None)
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
        // Where its lists were refused, only a list shows that they may be read again. No turn of its own may be due.
        let scope = Scope::github(Whose::Org(org.id), Capability::Teams);
        if self.eyes.github.gate().refuses_lists(&scope)
            && let Err(trouble) = self.teams_of(org).await
        {
            return Holder::Unknown(trouble);
        }
        match self.eyes.github.team_of(org, slug).await {
            Answer::Present(facts) => return Holder::Team(facts),
            Answer::Absent => {}
            Answer::Forbidden(trouble) | Answer::Failed(trouble) => return Holder::Unknown(trouble),
        }
        match self.teams_of(org).await {
            Ok(teams) => teams.get(slug).cloned().map_or(Holder::Nobody, Holder::Team),
            Err(trouble) => Holder::Unknown(trouble),
        }
    }

    /// Whether there is a team that GitHub neither shows nor proves to be gone.
    fn is_any_in_doubt(&self) -> bool {
        let suspected = |team: &MirrorTeam| matches!(team.state, TeamState::Suspected { .. });
        !self.unread.is_empty() || self.known.mirror.teams.values().any(suspected)
    }

    /// The teams of an organisation by their slugs, read once in a look.
    async fn teams_of(&mut self, org: &OrgFacts) -> Result<&HashMap<String, TeamFacts>, Trouble> {
        match self.listed_teams.entry(org.id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unread) => {
                let absent = || format!("the list of the teams of {} answers 404", org.login);
                let list = observe::answer(self.eyes.github.list_teams(org, None).await, absent)?;
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
