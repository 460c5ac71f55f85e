//! Wide worlds: several organisations whose logins move, settings that change, clocks that are set, a Datadog whose lists
//! lag, and limits smaller than its lists. Each world has some of that; see [`features`] for what, and [`judge`] for what
//! is demanded.
//!
//! `TEAMLINK_WIDE` names what the worlds may contain, with commas between; without it, all of it. `TEAMLINK_ALL` tries
//! every world, however many fail, and counts the failures by rule and cause. `TEAMLINK_SHRINK` looks for the least that a
//! failed world needs.

mod ends;
mod features;
mod happen;
mod judge;
mod script;
mod tries;
mod truth;
mod wire;
mod world;

use std::{env, pin::pin, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};
use teamlink::{
    model::{OrgId, TeamId, Time},
    sandbox::Webhook,
};

pub use features::{Feature, Features};
pub use judge::Failure;
use judge::Notes;
use script::Happening;
pub use tries::relive;
use world::Wide;

use crate::{
    coverage::Coverage,
    gate::Step,
    scratch,
    script::one_of,
    world::{OURS, THEIRS},
};

#[test]
fn worlds_of_several_organisations_end_right() {
    tries::try_worlds();
}

/// How a world went.
pub struct Life {
    pub features: Features,
    pub failures: Vec<Failure>,
    pub story: Vec<String>,
    pub coverage: Coverage,
    pub requests: usize,
    pub took: Duration,
}

/// One world's life, with less in it than was drawn if `features` says so.
pub async fn live(seed: u64, features: Option<Features>) -> Life {
    let started = std::time::Instant::now();
    let dice = &mut StdRng::seed_from_u64(seed ^ 0x31de);
    let later = &mut StdRng::seed_from_u64(seed ^ 0x1a7e);
    let drawn = Features::drawn(dice, later);
    let features = features.unwrap_or(drawn);
    let dir = scratch();
    let beginning = script::beginning(seed, dice, features.clone());
    let mut life = History::begin(beginning, dir.path()).await;
    life.told(&(&features.to_string(), &life.world.setup, &life.world.standing));
    let nemesis = dice.random_range(0..30);
    for round in 0..dice.random_range(2..6) {
        let late = script::late(later, &life.world.features);
        if life.world.features.has(Feature::Keys) {
            life.keys(later.random_bool(0.4)).await;
        }
        life.round(dice, round, nemesis, late).await;
        if life.world.wire.is_endless() {
            break;
        }
    }
    life.quiet(dice).await;
    let story = story(&life.world);
    let (failures, coverage, requests) = (life.failures, life.coverage, story.len());
    Life { features, failures, story, coverage, requests, took: started.elapsed() }
}

/// Every request that there was.
fn story(world: &Wide) -> Vec<String> {
    let log = world.wire.log();
    let line = |it: &wire::Entry| {
        let fence = it.fence.as_deref().unwrap_or_default();
        let cut = if it.cut { " cut" } else { "" };
        let body = if it.body.is_null() { String::new() } else { it.body.to_string() };
        format!("{} {} {}?{} {}{cut} {fence} {body}", it.at.0, it.method, it.path, it.query, it.status)
    };
    log.iter().map(line).collect()
}

struct History {
    world: Wide,
    notes: Notes,
    failures: Vec<Failure>,
    coverage: Coverage,
    /// Up to where the log is in the coverage.
    covered: usize,
    /// When the workers were at work without an end.
    working: Vec<(Time, Time)>,
    delivered: std::collections::BTreeSet<uuid::Uuid>,
    faults: Vec<Value>,
    /// Since when the keys are those of another Datadog organisation.
    wrong_keys: Option<Time>,
    /// For what happens to that which a late write concerns.
    chase: StdRng,
}

impl History {
    /// Tells of what happens, where one world is tried.
    fn told(&self, what: &dyn std::fmt::Debug) {
        if env::var("TEAMLINK_SEED").is_ok() && env::var("TEAMLINK_SHRINK").is_err() {
            println!("  {} {what:?}", self.world.clock.now());
        }
    }

    async fn begin(beginning: world::Beginning, dir: &std::path::Path) -> Self {
        let dice = &mut StdRng::seed_from_u64(beginning.seed);
        let chase = StdRng::seed_from_u64(beginning.seed ^ 0xc4a5e);
        let mut world = Wide::new(beginning, dir).await;
        let mut notes = Notes::default();
        // Somebody was here before us.
        let teams: Vec<_> = world
            .truth()
            .orgs
            .values()
            .flat_map(|org| {
                org.teams.values().map(|team| (format!("@{}/{}", org.login, team.slug), team.slug.clone()))
            })
            .collect();
        for (handle, slug) in teams {
            let mark = one_of(dice, &[None, None, None, None, Some(THEIRS), Some(OURS)]);
            if let (Some(team), Some(mark)) = (world.truth().handles.get(&slug).cloned(), mark)
                && world.features.has(Feature::Writers)
            {
                notes.by_hand.extend(happen::connect(&mut world, &team, &handle, mark).await);
            }
        }
        // Of each organisation there is an event, by which it is bound where `github.orgs` names none.
        let logins: Vec<String> = world.truth().orgs.values().map(|org| org.login.clone()).collect();
        for login in logins {
            world.ask("POST", &format!("/orgs/{login}/teams"), json!({"name": "First"})).await;
        }
        let (failures, coverage, working, faults) = (Vec::new(), Coverage::default(), Vec::new(), Vec::new());
        let mut life = Self {
            world,
            notes,
            failures,
            coverage,
            covered: 0,
            working,
            delivered: Default::default(),
            faults,
            wrong_keys: None,
            chase,
        };
        life.deliver(None).await;
        let standing: Vec<Value> = Vec::new();
        life.world.faults(&standing).await;
        life.world.begin_pass().await;
        life
    }

    /// Delivers what GitHub sends. Some of it is lost, comes twice, or out of order, as the dice say.
    async fn deliver(&mut self, dice: Option<&mut StdRng>) {
        let mut webhooks: Vec<Webhook> = self.world.pending.drain(..).collect();
        if let Some(dice) = dice {
            let times: Vec<usize> =
                webhooks.iter().map(|_| one_of(dice, &[0, 1, 1, 1, 1, 1, 1, 2])).collect();
            let mut order: Vec<usize> =
                (0..webhooks.len()).flat_map(|index| std::iter::repeat_n(index, times[index])).collect();
            order.shuffle(dice);
            if self.world.features.has(Feature::Lost) {
                let lost = webhooks.iter().zip(&times).filter(|(_, times)| **times == 0);
                self.notes
                    .lost
                    .extend(lost.map(|(webhook, _)| OrgId(i64::try_from(webhook.org_id).unwrap())));
                webhooks = order.into_iter().map(|index| webhooks[index].clone()).collect();
            }
        }
        self.world.deliver(webhooks.clone()).await;
        let known = self.world.ledger().orgs().await.unwrap();
        let setting = self.world.settings.last().unwrap();
        for webhook in &webhooks {
            let body: Value = serde_json::from_slice(&webhook.body).unwrap();
            let org = OrgId(i64::try_from(webhook.org_id).unwrap());
            let row = known.iter().find(|row| row.facts.id == org);
            // Of a login that makes it served, only a pass learns.
            let serves = row.is_none_or(|row| setting.serves(&row.facts.login, Some(&row.bound_login)));
            if webhook.event == "team" && self.delivered.insert(webhook.guid) && serves {
                let team = TeamId(body["team"]["id"].as_i64().unwrap());
                self.notes.events.push((self.world.clock.now(), org, team, row.is_some()));
            }
        }
    }

    /// Sets what goes wrong from now on.
    async fn faulty(&mut self, faults: Vec<Value>) {
        let now = self.world.clock.now();
        if !self.faults.is_empty()
            && let Some(last) = self.notes.faulty.last_mut()
        {
            let late = self.faults.iter().any(|fault| fault["late"] == true);
            last.1 = if late { now + wire::LATE } else { now };
        }
        self.cover(false);
        // What a list lacked, only the next one shows; and a new team that stays away by its id until the last read after
        // its event.
        let hides = |fault: &Value| {
            fault["lacks"].is_string() || fault["path"] == "/organizations/*/team/*" && fault["status"] == 404
        };
        self.notes.silent |= faults.iter().any(hides);
        if !faults.is_empty() {
            self.told(&faults);
            self.notes.faulty.push((now, Time(i64::MAX / 2)));
        }
        self.world.faults(&faults).await;
        self.faults = faults;
    }

    /// Notes which fault met which step.
    fn cover(&mut self, stopped: bool) {
        let log = self.world.wire.log();
        let request = |it: &wire::Entry| json!({"method": it.method, "path": it.path, "query": it.query});
        let requests: Vec<Value> = log[self.covered..].iter().map(request).collect();
        let faults: Vec<Value> = self.faults.iter().chain(&self.world.standing).cloned().collect();
        self.covered = log.len();
        drop(log);
        self.coverage.note(&requests, &faults, stopped);
    }

    /// Every daemon is started again, with the keys of another Datadog organisation or with the right ones. A ledger that
    /// knows none yet would belong to whichever it meets.
    async fn keys(&mut self, wrong: bool) {
        let wrong = wrong && self.world.ledger().datadog_home().await.unwrap().org.is_some();
        if wrong == self.wrong_keys.is_some() {
            return;
        }
        let now = self.world.clock.now();
        self.told(&if wrong { "wrong keys" } else { "right keys" });
        match self.wrong_keys.take() {
            Some(since) => self.notes.faulty.push((since, now)),
            None => self.wrong_keys = Some(now),
        }
        self.world.wire.wrong_keys(wrong);
        self.notes.killed.push(now);
        self.world.restart().await;
    }

    async fn round(&mut self, dice: &mut StdRng, round: usize, nemesis: usize, late: Option<Value>) {
        if round > 0 {
            for _ in 0..dice.random_range(0..5) {
                let drawn = script::any_time(dice);
                let happening = self.chased().await.unwrap_or(drawn).within(&self.world.features);
                self.happens(happening, dice).await;
                let pause = Duration::from_millis(one_of(dice, &[0, 500, 5_000, 40_000]));
                self.work(pause, dice).await;
            }
            for _ in 0..dice.random_range(0..3) {
                let happening = script::operated(dice, &self.world.features).within(&self.world.features);
                self.told(&happening);
                happen::operated(&mut self.world, &mut self.notes, happening).await;
            }
        }
        let mut faults = script::faults(dice, &self.world.features);
        faults.extend(late);
        self.faulty(faults).await;
        if self.chases() {
            // So that there is something to write.
            for _ in 0..2 {
                let happening = script::created(&mut self.chase);
                self.happens(happening, dice).await;
            }
        }
        self.deliver(Some(dice)).await;
        if dice.random_bool(0.3) && self.world.passes {
            self.world.begin_pass().await;
        }
        let horizon = Duration::from_secs(one_of(dice, &[1, 10, 60, 300]));
        let stops = dice.random_range(0..5);
        let stops = if self.chases() { stops + 8 } else { stops };
        self.work_with_stops(horizon, stops, dice).await;
        if self.world.features.has(Feature::Nemesis) {
            for _ in 0..dice.random_range(1..4) {
                self.remove_again(nemesis).await;
                self.work(Duration::from_secs(40), dice).await;
            }
        }
        self.faulty(Vec::new()).await;
        let failures = judge::writes(&self.world, &mut self.notes).await;
        self.failures.extend(failures);
    }

    /// Somebody removes the connection of one team whenever it is there.
    async fn remove_again(&mut self, which: usize) {
        let handles: Vec<&String> = self.world.truth().handles.values().collect();
        let Some(team) = handles.get(which % handles.len().max(1)).map(|id| (*id).clone()) else { return };
        let all = self.world.connections().await;
        if let Some(id) = all.iter().find(|(_, it)| it.datadog_team == team).map(|(id, _)| id.clone()) {
            happen::disconnect(&mut self.world, &mut self.notes, &id).await;
        }
    }

    fn chases(&self) -> bool {
        [Feature::Late, Feature::Chased].iter().all(|it| self.world.features.has(*it))
    }

    /// What happens instead of what was drawn, in some worlds, while a write is under way.
    async fn chased(&mut self) -> Option<Happening> {
        if self.chases() { happen::chased(&self.world, &mut self.chase).await } else { None }
    }

    async fn happens(&mut self, happening: Happening, dice: &mut StdRng) {
        if !matches!(happening, Happening::Nothing) {
            self.told(&happening);
        }
        match happening {
            Happening::Killed => {
                self.notes.killed.push(self.world.clock.now());
                self.world.restart().await;
            }
            Happening::SecondWorks { seconds } => {
                self.world.second_works(Duration::from_secs(seconds), dice).await;
            }
            happening => happen::outside(&mut self.world, &mut self.notes, happening).await,
        }
    }

    async fn work(&mut self, horizon: Duration, dice: &mut StdRng) {
        let from = self.world.clock.now();
        self.world.work(horizon, dice).await;
        let until = self.world.clock.now();
        match self.working.last_mut().filter(|last| last.1 == from) {
            Some(last) => last.1 = until,
            None => self.working.push((from, until)),
        }
    }

    /// Works, and stops so often between two steps; something happens then.
    async fn work_with_stops(&mut self, horizon: Duration, stops: usize, dice: &mut StdRng) {
        let mut from = self.world.clock.now();
        let gate = self.world.gate.clone();
        let mut work = Box::pin(self.world.work(horizon, dice));
        for _ in 0..stops {
            let step = one_of(dice, &[Step::Question, Step::Answer, Step::Ledger]);
            let (steps, mut deliver) = (dice.random_range(1..40), dice.random_bool(0.5));
            let drawn = script::any_time(dice);
            // A late write is under way for a few steps.
            let steps = if self.chases() { steps % 6 + 1 } else { steps };
            let mut pinned = pin!(&mut work);
            if !gate.stops(&mut pinned, step, steps).await {
                // Whoever else met the gate goes on.
                gate.open();
                self.working.push((from, self.world.clock.now()));
                return;
            }
            let chased = self.chased().await;
            deliver |= chased.is_some();
            let happening = chased.unwrap_or(drawn).within(&self.world.features);
            let ledger = self.world.leaves_the_ledger(step);
            match happening {
                Happening::Killed => {
                    self.told(&"killed");
                    drop(work);
                    gate.open();
                    self.cover(true);
                    self.notes.killed.push(self.world.clock.now());
                    self.world.restart().await;
                    work = Box::pin(self.world.work(horizon, dice));
                    from = self.world.clock.now();
                    continue;
                }
                // A request that waits to be sent for so long has timed out.
                Happening::SecondWorks { .. } if !ledger || step != Step::Answer => {}
                happening => {
                    let stopped = self.world.clock.now();
                    self.happens(happening, dice).await;
                    if self.world.clock.now() > stopped {
                        // The one that is stopped meanwhile keeps its lease, and does nothing.
                        self.working.push((from, stopped));
                        from = self.world.clock.now();
                    }
                }
            }
            if deliver && ledger {
                self.deliver(Some(dice)).await;
            }
            gate.open();
        }
        work.await;
        self.working.push((from, self.world.clock.now()));
    }

    /// Once nothing goes wrong any more, everything comes right.
    async fn quiet(&mut self, dice: &mut StdRng) {
        if self.world.wire.is_endless() {
            self.endless();
            return;
        }
        let right = ends::right_within(&self.world);
        self.keys(false).await;
        let strays = self.world.wire.strays();
        let stray = |what| Failure { rule: "R3", cause: "a write in another Datadog organisation", what };
        self.failures.extend(strays.into_iter().map(stray));
        self.faulty(Vec::new()).await;
        if dice.random_bool(0.6) {
            happen::resume(&mut self.world).await;
        }
        self.deliver(None).await;
        let bound = judge::bound(&self.world).await;
        let unknown = self.world.truth().orgs.keys().any(|org| !bound.contains_key(org));
        // What failed alone, while others went through, waits for an event of its own or a pass (DESIGN: parked).
        let parks = !self.world.ledger().parked().await.unwrap().is_empty();
        // A team that slides to a page which was read before the window ended is in no list, and no event tells of it.
        let slides = self.world.features.has(Feature::Limits);
        let lost = !self.notes.lost.is_empty();
        let by_events = !(lost || self.notes.silent || unknown || parks || slides);
        self.told(&if by_events { "quiet, by events alone" } else { "quiet, with a pass" });
        if !by_events {
            // No event tells of what somebody removed, so that a pass in whose list it still is misses it.
            if self.world.features.has(Feature::Lag) {
                self.work(ends::LAG, dice).await;
            }
            self.world.begin_pass().await;
        }
        if slides {
            // What the first pass shows may have been read before the last fault ended.
            self.work(right, dice).await;
            self.world.begin_pass().await;
        }
        self.work(right, dice).await;
        if !self.world.wire.is_endless() {
            let failures = judge::writes(&self.world, &mut self.notes).await;
            self.failures.extend(failures);
            self.failures.extend(ends::right(&self.world, &self.notes).await);
            self.tell_plans().await;
            self.world.begin_pass().await;
            self.work(right, dice).await;
            self.released(dice).await;
        }
        if self.world.wire.is_endless() {
            self.endless();
            return;
        }
        let failures = judge::writes(&self.world, &mut self.notes).await;
        self.failures.extend(failures);
        self.failures.extend(ends::known(&self.world, &self.notes).await);
        self.failures.extend(ends::events(&self.world, &self.notes, &self.working).await);
        self.cover(false);
    }

    /// Tells what `teamlink plan` says of each organisation, and the audit trail, where one world is tried.
    async fn tell_plans(&self) {
        if env::var("TEAMLINK_SEED").is_err() {
            return;
        }
        for org in self.world.ledger().orgs().await.unwrap() {
            let plan = self.world.survey().plan(&org.facts.login).await;
            let state = self.world.ledger().org_state(org.facts.id).await.unwrap().unwrap();
            let teams: Vec<_> = state.teams.iter().map(|(id, it)| (id, &it.facts.slug, it.state)).collect();
            let owned: Vec<_> = state.owned.iter().map(|it| (&it.key.github, &it.id, it.team)).collect();
            self.told(&(&org.facts, &org.bound_login, teams, owned, &state.intents, plan.map(|it| it.plan)));
        }
        for line in self.world.ledger().audit(None, Time(0)).await.unwrap() {
            self.told(&line);
        }
    }

    /// Once a person has released the logins that wait for it, the next pass serves whoever has them.
    async fn released(&mut self, dice: &mut StdRng) {
        if self.world.wire.is_endless() || !happen::release(&self.world, &mut self.notes).await {
            return;
        }
        self.told(&"released");
        let right = ends::right_within(&self.world);
        self.work(right, dice).await;
        self.world.begin_pass().await;
        self.work(right, dice).await;
        let failures = judge::writes(&self.world, &mut self.notes).await;
        self.failures.extend(failures);
        if !self.world.wire.is_endless() {
            self.failures.extend(ends::right(&self.world, &self.notes).await);
        }
    }

    fn endless(&mut self) {
        let what = "requests, or uses of the ledger, without end".to_owned();
        self.failures.push(Failure { rule: "R0", cause: "an endless loop", what });
    }
}
