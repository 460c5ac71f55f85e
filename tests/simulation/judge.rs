//! The judge: knows what is true, sees what reached Datadog, and says which of it should never have happened.
//! What teamlink believes counts only as far as its audit names the team for which a connection went.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use teamlink::{
    mapping::{Outcome, Rules},
    model::{HeldKey, HeldKind, Lane, MissingTeam, Mode, TeamId, Time},
    plan::Limits,
    sandbox::Webhook,
};

use super::{
    coverage::Coverage,
    script::STALE,
    world::{Connection, OURS, Setup, World},
};

/// What is true, and what was so.
pub struct Judge {
    /// The credential sees only some of the teams.
    pub narrow: bool,
    /// Answers may be this old.
    pub lag: Duration,
    /// GitHub's teams as they were from each moment on.
    teams: Vec<(Time, BTreeMap<TeamId, String>)>,
    /// Every connection that was ever seen.
    pub seen: BTreeMap<String, Connection>,
    /// Those that somebody else made, whatever their mark.
    pub by_hand: BTreeSet<String>,
    /// Teams whose deletion GitHub told us.
    pub told: BTreeSet<TeamId>,
    /// Keys whose removal a person approved.
    pub approved: BTreeSet<(String, String)>,
    /// The worker was started anew, and has forgotten what it need not know.
    pub restarted: bool,
    /// It was killed in this round: what it did last, nobody wrote down.
    pub crashed: bool,
    /// What a person has paused.
    pub paused: Option<Pausing>,
    /// Something of ours went without us.
    pub disturbed: bool,
    /// Datadog hid connections, and whoever cannot see one takes it for gone.
    pub lied: bool,
    /// Keys of creates whose answers never came. What shows itself under one of them with our mark is ours by the intent,
    /// though somebody else had made it while Datadog hid it.
    unanswered: BTreeSet<(String, String)>,
    removed_at: Vec<Time>,
    /// What goes wrong in this round.
    pub faults: Vec<Value>,
    /// What was judged, for the figures.
    pub tally: Tally,
    /// What went wrong where.
    pub coverage: Coverage,
}

/// What is paused.
#[derive(Clone, Copy, Debug)]
pub enum Pausing {
    All,
    Team(TeamId),
}

/// How often what was judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub created: usize,
    pub replaced: usize,
    pub removed: usize,
    pub approved: usize,
    pub held: usize,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.created += other.created;
        self.replaced += other.replaced;
        self.removed += other.removed;
        self.approved += other.approved;
        self.held += other.held;
    }
}

/// What is known before a round.
pub struct Before {
    connections: BTreeMap<String, Connection>,
    owned: BTreeSet<String>,
    /// For which team each of ours was made.
    teams: BTreeMap<String, TeamId>,
    handles: BTreeMap<String, String>,
    at: Time,
}

/// What should never have happened.
pub type Verdict = Result<(), String>;

impl Judge {
    pub fn new(narrow: bool, stale: bool) -> Self {
        Self {
            narrow,
            lag: if stale { STALE } else { Duration::ZERO },
            teams: Vec::new(),
            seen: BTreeMap::new(),
            by_hand: BTreeSet::new(),
            told: BTreeSet::new(),
            approved: BTreeSet::new(),
            restarted: false,
            crashed: false,
            paused: None,
            disturbed: false,
            lied: false,
            unanswered: BTreeSet::new(),
            removed_at: Vec::new(),
            faults: Vec::new(),
            tally: Tally::default(),
            coverage: Coverage::default(),
        }
    }

    /// Looks at GitHub after something happened.
    pub async fn witness(&mut self, world: &World) {
        self.teams.push((world.clock.now(), world.teams().await));
    }

    pub async fn before(&mut self, world: &World) -> Before {
        let connections = world.connections().await;
        self.seen.extend(connections.clone());
        Before {
            connections,
            owned: world.owned().await,
            teams: world
                .state()
                .await
                .into_iter()
                .flat_map(|state| state.owned)
                .map(|owned| (owned.id.to_string(), owned.team))
                .collect(),
            handles: world.datadog_teams().await,
            at: world.clock.now(),
        }
    }

    /// Notes which deletions GitHub told of.
    pub fn hears(&mut self, webhooks: &[Webhook]) {
        for webhook in webhooks {
            let body: Value = serde_json::from_slice(&webhook.body).unwrap();
            if webhook.event == "team" && body["action"] == "deleted" {
                self.told.insert(TeamId(body["team"]["id"].as_i64().unwrap()));
            }
        }
    }

    pub fn approve(&mut self, approved: impl IntoIterator<Item = HeldKey>) {
        let removals = approved.into_iter().filter(|held| held.kind == HeldKind::Delete);
        self.approved.extend(removals.map(|held| held.subject.names()));
    }

    /// Judges a round.
    pub async fn after(&mut self, world: &mut World, before: Before) -> Verdict {
        let requests = world.requests().await;
        self.coverage.note(&requests, &self.faults, self.crashed);
        let now = world.connections().await;
        self.seen.extend(now.clone());
        let setup = world.setup.clone();
        let writes: Vec<&Value> = requests
            .iter()
            .filter(|request| request["method"] != "GET" && request["fence"].is_string())
            .collect();
        if setup.mode == Mode::Observe && !writes.is_empty() {
            return Err(format!("`observe` wrote: {writes:?}"));
        }
        // Whoever has lost a lease sends nothing more: each holder's fence is higher than the one before.
        let fence = |request: &&Value| -> i64 {
            request["fence"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
        };
        if let Some(late) = writes.windows(2).find(|two| fence(&two[1]) < fence(&two[0])) {
            return Err(format!("a lost lease wrote: {:?} after {:?}", late[1], late[0]));
        }
        if matches!(self.paused, Some(Pausing::All)) && !writes.is_empty() {
            return Err(format!("written while all is paused: {writes:?}"));
        }
        for request in writes.iter().filter(|request| request["path"] == "/api/v2/team") {
            let handle = request["body"]["data"]["attributes"]["handle"].as_str().unwrap_or_default();
            if setup.missing_team == MissingTeam::Report {
                return Err(format!("`report` created Datadog team {handle}"));
            }
            // To a worker that has just begun and owns nothing, nothing shows that a Datadog without teams lies.
            let knows = !self.restarted || !before.owned.is_empty();
            if before.handles.contains_key(handle) && knows {
                return Err(format!("Datadog team {handle} exists, and was to be created"));
            }
        }
        self.unanswered.extend(unanswered_creates(&writes));
        let audit = world.ledger.audit(None, before.at).await.map_err(|error| error.to_string())?;
        let claims: BTreeMap<&str, (Option<TeamId>, Option<&str>)> = audit
            .iter()
            .filter(|line| line.action == "delete" || line.action == "forget")
            .filter_map(|line| Some((line.connection.as_deref()?, (line.team, line.proof.as_deref()))))
            .collect();
        let created = now.keys().filter(|id| !before.connections.contains_key(*id)).count();
        self.tally.created += created;
        let most_owned = before.owned.len() + created;
        let rules = Rules::compile(setup.rules.clone()).unwrap();
        let mut removed: BTreeMap<&str, usize> = BTreeMap::new();
        let mut judged = BTreeSet::new();
        let mut unapproved = 0;
        let deletes = writes.iter().filter(|request| request["method"] == "DELETE");
        let succeeded =
            deletes.filter(|request| request["status"].as_u64().is_some_and(|status| status < 300));
        for request in succeeded {
            let at = Time(request["at_us"].as_i64().unwrap());
            for item in request["body"]["data"].as_array().into_iter().flatten() {
                let id = item["id"].as_str().unwrap();
                if !judged.insert(id.to_owned()) {
                    continue;
                }
                let Some(connection) = self.seen.get(id).cloned() else { continue };
                let key = (connection.datadog_team.clone(), connection.github.clone());
                let approved = self.approved.contains(&key);
                // A connection that was made and went in one round was nobody's before.
                let team = claims.get(id).map(|claim| claim.0).or(before.teams.get(id).copied().map(Some));
                if let (Some(Pausing::Team(paused)), Some(Some(team))) = (self.paused, team)
                    && paused == team
                {
                    return Err(format!("team {team} is paused, and lost {connection:?}"));
                }
                let claim = team.map(|team| (team, claims.get(id).and_then(|claim| claim.1)));
                match self.removal(&connection, id, at, claim, approved, &rules, &before, &setup)? {
                    Kind::Replaced => self.tally.replaced += 1,
                    // An approval is for once.
                    Kind::Removed if self.approved.remove(&key) => self.tally.approved += 1,
                    Kind::Removed => {
                        self.tally.removed += 1;
                        unapproved += 1;
                        self.removed_at.push(at);
                        *removed.entry(request["fence"].as_str().unwrap()).or_default() += 1;
                    }
                }
            }
        }
        let least_owned = before.owned.len().saturating_sub(judged.len());
        self.within_the_limits(&setup, least_owned, most_owned, before.at)?;
        for (fence, count) in removed {
            let limits = setup.limits;
            if count > limits.max_removals {
                return Err(format!(
                    "{count} removals under fence {fence}, of {} allowed",
                    limits.max_removals
                ));
            }
            let share = most_owned as f64 * limits.max_share;
            if least_owned > limits.above && !self.disturbed && count as f64 > share {
                return Err(format!(
                    "{count} removals of {most_owned} under fence {fence}: more than the share"
                ));
            }
        }
        for (index, end) in self.removed_at.iter().enumerate() {
            let within = self.removed_at[..=index].iter().filter(|at| **at + setup.window > *end).count();
            if within > setup.max_per_window {
                return Err(format!("{within} removals in a window of {}", setup.max_per_window));
            }
        }
        let left = world.owned().await.len();
        if unapproved > 0 && left == 0 && !self.disturbed {
            return Err("the organisation was left with no connection".to_owned());
        }
        self.tally.held += world
            .ledger
            .held_set(Lane::Org(world.org), world.clock.now())
            .await
            .unwrap()
            .map_or(0, |set| set.items.len());
        Ok(())
    }

    /// The limits count all removals of a window, however looks divide them. `since` is when the round began, and the
    /// figures are how many connections the organisation had in it, at least and at most.
    fn within_the_limits(&self, setup: &Setup, least: usize, most: usize, since: Time) -> Verdict {
        let Limits { max_share, above, max_removals } = setup.limits;
        for (index, end) in self.removed_at.iter().enumerate().filter(|(_, end)| **end >= since) {
            let of_window = || self.removed_at[..=index].iter().filter(|at| **at + setup.window > *end);
            let (within, earlier) = (of_window().count(), of_window().filter(|at| **at < since).count());
            if within > max_removals {
                return Err(format!("{within} removals in a window, of {max_removals} allowed"));
            }
            let share = (most + earlier) as f64 * max_share;
            if least + earlier > above && !self.disturbed && within as f64 > share {
                return Err(format!("{within} removals in a window, more than the share of {share}"));
            }
        }
        Ok(())
    }

    /// Everything that was ever made is known to the ledger: a crash makes no orphans.
    pub async fn knows_its_own(&self, world: &World) -> Verdict {
        let owned = world.owned().await;
        let ours = |id: &str, it: &Connection| it.managed_by == OURS && !self.by_hand.contains(id);
        let orphan =
            world.connections().await.into_iter().find(|(id, it)| ours(id, it) && !owned.contains(id));
        match orphan.filter(|_| !self.lied) {
            Some((_, orphan)) => Err(format!("made, and not known any more: {orphan:?}")),
            None => Ok(()),
        }
    }

    /// One connection that went.
    #[expect(clippy::too_many_arguments, reason = "everything that bears on one removal")]
    fn removal(
        &self,
        connection: &Connection,
        id: &str,
        at: Time,
        claim: Option<(Option<TeamId>, Option<&str>)>,
        approved: bool,
        rules: &Rules,
        before: &Before,
        setup: &Setup,
    ) -> Result<Kind, String> {
        let what = format!("{} of Datadog team {}", connection.github, connection.datadog_team);
        if connection.managed_by != OURS {
            return Err(format!("a connection of {} was deleted: {what}", connection.managed_by));
        }
        let key = (connection.datadog_team.clone(), connection.github.clone());
        if self.by_hand.contains(id) && !approved && !self.unanswered.contains(&key) {
            return Err(format!("an orphan was deleted: {what}"));
        }
        if setup.mode == Mode::Upsert {
            return Err(format!("`upsert` deleted {what}"));
        }
        let handle = connection.github.trim_start_matches('@');
        let resolve = |handle: &str| {
            let (login, slug) = handle.split_once('/').unwrap();
            rules.resolve(&[login, "acme"], slug).outcome
        };
        let wants = |handle: &str| match resolve(handle) {
            Outcome::Handles { handles, .. } => {
                handles.iter().any(|handle| before.handles.get(handle) == Some(&connection.datadog_team))
            }
            Outcome::TeamIds(ids) => ids.iter().any(|id| id.as_str() == connection.datadog_team),
            Outcome::Ignored | Outcome::Unmapped => false,
        };
        let views = self.views(at);
        // Whoever has had this slug for as long as an answer may be old.
        let holder = views[0].iter().find(|(_, has)| *has == handle).map(|(team, _)| *team);
        let holder =
            holder.filter(|team| views.iter().all(|view| view.get(team).is_some_and(|has| has == handle)));
        if let Some(holder) = holder
            && wants(handle)
        {
            return Err(format!("team {holder} wants {what}"));
        }
        if claim.is_none() && self.crashed {
            return Ok(Kind::Replaced);
        }
        let Some((team, proof)) = claim else { return Err(format!("nothing tells for whom {what} went")) };
        if holder.is_some() && holder == team && !approved {
            return Err(format!("team {team:?} is there and named {handle}: {what} went without approval"));
        }
        // An orphan belongs to no team, so that none is there.
        let named = |view: &BTreeMap<TeamId, String>| team.and_then(|team| view.get(&team).cloned());
        let gone = views.iter().any(|view| named(view).is_none());
        let renamed = views.iter().any(|view| named(view).is_some_and(|has| has != handle));
        if !gone && !renamed && !approved {
            return Err(format!("team {team:?} is there: {what} went"));
        }
        if !approved && proof.is_none() && !self.crashed {
            return Err(format!("{what} went without proof"));
        }
        let told = team.is_some_and(|team| self.told.contains(&team));
        if gone && !renamed && self.narrow && !told && !approved {
            return Err(format!(
                "this credential cannot know that team {team:?} is gone, and no event told: {what}"
            ));
        }
        let elsewhere = |view: &BTreeMap<TeamId, String>| {
            named(view).is_some_and(|has| {
                has != handle
                    && match resolve(&has) {
                        Outcome::Handles { handles, .. } => !handles.is_empty(),
                        Outcome::TeamIds(_) => true,
                        Outcome::Ignored | Outcome::Unmapped => false,
                    }
            })
        };
        let replaced = views.iter().any(|view| elsewhere(view));
        if !replaced && setup.protected.iter().any(|_| handle.starts_with("acme/s")) {
            return Err(format!("{what} is protected"));
        }
        Ok(if replaced { Kind::Replaced } else { Kind::Removed })
    }

    /// GitHub's teams as an answer at this time may have shown them.
    fn views(&self, at: Time) -> Vec<&BTreeMap<TeamId, String>> {
        let from = at - self.lag;
        let first = self.teams.iter().rposition(|(since, _)| *since <= from).unwrap_or(0);
        let views: Vec<_> =
            self.teams[first..].iter().filter(|(since, _)| *since <= at).map(|(_, view)| view).collect();
        if views.is_empty() { vec![&self.teams[first].1] } else { views }
    }
}

/// The keys of creates whose answers were cut off.
fn unanswered_creates(writes: &[&Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value["data"]["id"].as_str().unwrap_or_default().to_owned();
    let creates = writes.iter().filter(|request| request["method"] == "POST" && request["cut"] == true);
    let items = creates.flat_map(|request| request["body"]["data"].as_array().into_iter().flatten());
    items
        .map(|item| &item["relationships"])
        .map(|item| (text(&item["team"]), text(&item["connected_team"])))
        .collect()
}

enum Kind {
    Replaced,
    Removed,
}
