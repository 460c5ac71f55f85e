//! The loop: which organisation is worked on, when, and by how many at a time.
//!
//! It sleeps until an accepted delivery wakes it or the next mark falls due, and looks at the ledger at least once
//! a second, since a command in another process may have marked something.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    Options, document,
    lease::{self, Lease},
    look, orphans, pace, release,
    survey::Eyes,
    turns::Turns,
    whole,
};
use crate::{
    clock::Clock,
    datadog, github,
    ledger::{
        DueLane, LeasedMark, Ledger, LedgerError, MarkResult, OrgRow, OrgState, Progress, Settlement, Spans,
    },
    model::{Lane, OrgFacts, TeamId, Time, Trouble},
    plan::StepKey,
    telemetry,
};

/// Teams in one chunk at most.
const CHUNK: usize = 100;

/// The longest sleep: marks of other processes are seen within it.
const POLL: Duration = Duration::from_secs(1);

/// A loop that has not gone round for this long is stuck. It sleeps [`POLL`] at most; the rest is the ledger's.
const STUCK: Duration = Duration::from_secs(60);

/// How long a one-shot pass goes on trying what fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Does the work. Cheap to clone; clones share the clients.
#[derive(Clone)]
pub struct Worker {
    pub(super) eyes: Eyes,
    pub(super) writer: datadog::Writer,
    pub(super) ledger: Ledger,
    holder: String,
    pub(super) wake: Arc<Notify>,
    /// When the loop last went round.
    turned: Arc<Mutex<Instant>>,
}

impl Worker {
    /// A worker that leases as `holder` and is woken by `wake`.
    pub fn new(
        github: github::Reader,
        reader: datadog::Reader,
        writer: datadog::Writer,
        ledger: Ledger,
        options: Options,
        holder: String,
        wake: Arc<Notify>,
    ) -> Self {
        let eyes = Eyes::new(github, reader, options);
        Self { eyes, writer, ledger, holder, wake, turned: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Whether the loop goes round, and if not, since when; for `/healthz`.
    pub fn turning(&self) -> Result<(), String> {
        let still = self.turned.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        if still < STUCK {
            Ok(())
        } else {
            Err(format!("the worker has not gone round for {} s", still.as_secs()))
        }
    }

    /// Works until it is told to stop; what is under way is finished first.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut crew = Crew { turns: Turns::keeping_a_place(), ..Crew::default() };
        let mut meeting = JoinSet::new();
        while !shutdown.is_cancelled() {
            *self.turned.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            self.meet_in_background(&mut meeting).await;
            let wait = self.start_due(&mut crew, |_| true, true).await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.wake.notified() => {}
                () = crew.one_done(self.clock(), |lane| self.rest(lane)), if !crew.tasks.is_empty() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        while !crew.tasks.is_empty() {
            crew.one_done(self.clock(), |_| Duration::ZERO).await;
        }
    }

    /// Works on these lanes until nothing of them is due, and goes on for up to 30 s with what fails. Returns how each
    /// stands.
    pub async fn work_off(&self, lanes: &[Lane]) -> anyhow::Result<BTreeMap<Lane, Progress>> {
        let deadline = Instant::now() + PATIENCE;
        // What an interrupted write came to shows within this time.
        let shown = self.now() + lease::shown_within(self.eyes.options.timeout) + POLL;
        let soon = |progress: &Progress| progress.postponed_until.is_some_and(|until| until <= shown);
        let mut crew = Crew::default();
        loop {
            let wait = self.start_due(&mut crew, |lane| lanes.contains(&lane), false).await;
            let mut progress = BTreeMap::new();
            for &lane in lanes {
                progress.insert(lane, self.ledger.progress(lane, self.now()).await?);
            }
            // A release may have ended that an organisation is served.
            let unserved = self.unserved().await?;
            let is_due = |(lane, progress): (&Lane, &Progress)| progress.due > 0 && !unserved.contains(lane);
            let busy = !crew.tasks.is_empty() || progress.iter().any(is_due);
            let failing = progress.values().any(|lane| lane.passing > 0) && Instant::now() < deadline;
            if let Some(lane) = lanes.iter().find(|lane| crew.unsettled.contains_key(lane)) {
                bail!(
                    "failed to settle what is due of {lane}: a look left it as it was; see the log, and report this"
                );
            }
            if !busy && !failing && !progress.values().any(soon) {
                return Ok(progress);
            }
            tokio::select! {
                () = crew.one_done(self.clock(), |_| Duration::ZERO), if !crew.tasks.is_empty() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Works on what is due at this moment, one turn after the other, and answers when something next falls due:
    /// for those who move the clock themselves.
    pub async fn work_due(&self) -> anyhow::Result<Option<Time>> {
        let mut turns = Turns::default();
        loop {
            self.prepare().await?;
            self.meet_strangers().await?;
            let now = self.now();
            let due = self.due_lanes().await?;
            let (able, resting): (Vec<_>, Vec<_>) =
                due.into_iter().partition(|due| self.upstreams_rest(due).is_zero());
            let Some(&due) = turns.in_order(able).first().filter(|_| self.may_lease()) else {
                let rests = resting.iter().map(|due| now + self.upstreams_rest(due)).min();
                let next = [self.ledger.next_due(now).await?, self.ledger.next_stranger(now).await?];
                return Ok(next.into_iter().flatten().chain(rests).min());
            };
            turns.begin(due.lane);
            self.turn(due, true).await?;
        }
    }

    /// Carries out these steps of these teams and no others, as one lease holder. Waits up to 30 s for the lease.
    pub async fn apply_exactly(
        &self,
        org: &OrgFacts,
        teams: &[Option<TeamId>],
        steps: &BTreeSet<StepKey>,
    ) -> anyhow::Result<()> {
        self.ledger.bind_org(org, self.now()).await?;
        let orphans = teams.contains(&None);
        let teams: Vec<TeamId> = teams.iter().copied().flatten().collect();
        for chunk in teams.chunks(CHUNK) {
            let lease = self.lease_served(org).await?;
            let state = self.ledger.org_part(org.id, &chunk.iter().copied().collect()).await?;
            let state = state.context("the organisation left the ledger")?;
            let marks = self.ledger.marks_of(org.id, chunk).await?;
            let done = {
                let lease = (&lease, org.id);
                look::look(&self.eyes, &self.ledger, &self.writer, lease, state, &marks, Some(steps)).await
            };
            lease.release().await?;
            done?;
        }
        if orphans {
            let (lease, state) = self.lease(org).await?;
            let (eyes, ledger, writer) = (&self.eyes, &self.ledger, &self.writer);
            let done = orphans::apply_exactly(eyes, ledger, writer, (&lease, org.id), &state, steps).await;
            lease.release().await?;
            done?;
        }
        Ok(())
    }

    /// Takes the lease on an organisation, for which it waits up to 30 s, and reads what the ledger has of it then.
    pub(super) async fn lease(&self, org: &OrgFacts) -> anyhow::Result<(Lease, OrgState)> {
        let lease = self.lease_served(org).await?;
        let state = self.ledger.org_state(org.id).await?.context("the organisation left the ledger")?;
        Ok((lease, state))
    }

    /// Takes the lease on an organisation for which something may be written.
    async fn lease_served(&self, org: &OrgFacts) -> anyhow::Result<Lease> {
        self.eyes.at_home(&self.ledger, true).await??;
        let terms = self.terms();
        let lane = Lane::Org(org.id);
        let lease = Lease::wait(&self.ledger, lane, &self.holder, self.clock(), terms, &org.login).await?;
        let row = self.ledger.org(org.id).await?.context("the organisation left the ledger")?;
        if !self.may_write_to(&row) {
            lease.release().await?;
            bail!("{} is not served: github.orgs does not list it; add it there", row.facts.login);
        }
        Ok(lease)
    }

    /// Whether anything may be written for an organisation. What asked for a look may be older than today's settings, so
    /// that this is checked under the lease.
    fn may_write_to(&self, org: &OrgRow) -> bool {
        self.eyes.options.serves(org)
    }

    /// The organisations for which nothing may be written. Their marks wait until they are served again.
    async fn unserved(&self) -> sqlx::Result<BTreeSet<Lane>> {
        let orgs = self.ledger.orgs().await?;
        let unserved = orgs.iter().filter(|org| !self.may_write_to(org));
        Ok(unserved.map(|org| Lane::Org(org.facts.id)).collect())
    }

    /// The lanes that have something due.
    async fn due_lanes(&self) -> sqlx::Result<Vec<DueLane>> {
        let unserved = self.unserved().await?;
        let mut due = self.ledger.due_lanes(self.now()).await?;
        due.retain(|due| !unserved.contains(&due.lane));
        Ok(due)
    }

    /// Takes the lease on a lane, unless another holds it.
    async fn take(&self, lane: Lane) -> sqlx::Result<Option<Lease>> {
        Lease::take(&self.ledger, lane, &self.holder, self.clock(), self.terms()).await
    }

    /// The terms of its leases.
    fn terms(&self) -> (Duration, Spans) {
        (self.eyes.options.timeout, self.eyes.options.spans())
    }

    /// How long a lane rests after a turn. A document is written as a whole, so that many events are worth one PUT.
    fn rest(&self, lane: Lane) -> Duration {
        match lane {
            Lane::Document(_) => self.eyes.options.max_wait,
            Lane::Org(_) | Lane::Recovery => self.eyes.options.debounce,
        }
    }

    /// Whether this worker takes leases: not while another one has loaded other settings later.
    pub(super) fn may_lease(&self) -> bool {
        self.ledger.outdated().is_none()
    }

    pub(super) fn now(&self) -> Time {
        self.eyes.options.clock.now()
    }

    /// What comes before the question what is due: the clock may have been set, and what failed may work again.
    async fn prepare(&self) -> sqlx::Result<()> {
        lease::keep_time(&self.ledger, self.eyes.options.spans()).await?;
        self.lift_healed().await
    }

    /// Starts what may be started, and says how long to sleep otherwise. `patient`: what needs an upstream that fails
    /// waits for it; whoever is not looks all the same, to be able to say what is wrong.
    async fn start_due(&self, crew: &mut Crew, ours: impl Fn(Lane) -> bool, patient: bool) -> Duration {
        if !self.may_lease() {
            return POLL;
        }
        let prepared = self.prepare().await;
        let now = self.now();
        let due = match prepared.and(self.due_lanes().await) {
            Ok(due) => due,
            Err(error) => {
                telemetry::work::ledger_failed("read what is due", &error);
                return POLL;
            }
        };
        // What a backoff holds up is found within a poll at the latest. Only an idle worker looks for it.
        let idle = due.is_empty() && crew.tasks.is_empty();
        let next = if idle { self.ledger.next_due(now).await } else { self.ledger.next_after(now).await };
        let mut wait = POLL;
        for due in crew.turns.in_order(due).into_iter().filter(|due| ours(due.lane)) {
            if !crew.turns.has_place(&due) {
                continue;
            }
            let upstreams = if patient { self.upstreams_rest(&due) } else { Duration::ZERO };
            let rest = upstreams.max(crew.turns.rest(&due, self.clock().monotonic()));
            if !rest.is_zero() {
                wait = wait.min(rest);
                continue;
            }
            crew.turns.begin(due.lane);
            let worker = self.clone();
            crew.tasks.spawn(async move { (due.lane, worker.turn(due, patient).await) });
        }
        if let Ok(Some(next)) = next {
            let until = next.since(self.now());
            if !until.is_zero() {
                wait = wait.min(until);
            }
        }
        wait
    }

    /// Whether marks that a turn took on are due as they were before it: whatever its look did, it settled none of them, and
    /// would be repeated for ever.
    async fn is_unsettled(
        &self,
        lane: Lane,
        (whole, teams): (Option<&LeasedMark>, &[LeasedMark]),
        began: Time,
    ) -> sqlx::Result<bool> {
        let same = |of: &LeasedMark, now: &LeasedMark| {
            (of.team, of.generation, of.attempts, of.failures)
                == (now.team, now.generation, now.attempts, now.failures)
        };
        if let Some(whole) = whole {
            let now = self.ledger.due_whole(lane, began).await?;
            return Ok(now.is_some_and(|now| same(whole, &now)));
        }
        let Lane::Org(org) = lane else { return Ok(false) };
        let now = self.ledger.due_teams(org, began, CHUNK).await?;
        Ok(now.iter().any(|now| teams.iter().any(|of| same(of, now))))
    }

    /// One turn of a lane: a look at the organisation as a whole, a chunk of its due teams, or a document.
    async fn turn(&self, due: DueLane, patient: bool) -> Result<After, LedgerError> {
        if patient && !self.upstreams_answer(&due).await {
            return Ok(After::Rests);
        }
        let Some(lease) = self.take(due.lane).await? else { return Ok(After::Rests) };
        let span = telemetry::work::turn(due.lane, lease.fence);
        let done = tracing::Instrument::instrument(self.leased(&lease, due.urgent), span).await;
        let released = lease.release().await;
        if done.is_err() {
            // What was about to be written, for teams that joined the look and have no mark of their own too.
            self.ledger.mark_interrupted(Some(due.lane), self.now()).await?;
        }
        released?;
        done
    }

    /// Does what is most urgent in the lane, and nothing that is less urgent with it. A turn that was given because
    /// something `urgent` was due does nothing if that is done: others may wait for its place.
    async fn leased(&self, lease: &Lease, urgent: bool) -> Result<After, LedgerError> {
        let began = self.now();
        let whole = self.ledger.due_whole(lease.lane, began).await?;
        let teams = match lease.lane {
            Lane::Org(org) => self.ledger.due_teams(org, began, CHUNK).await?,
            Lane::Document(_) | Lane::Recovery => Vec::new(),
        };
        let hurries = teams.iter().chain(&whole).any(|mark| mark.asks.reserve);
        if urgent && !hurries {
            return Ok(After::Rests);
        }
        let (eyes, writer) = if hurries {
            (self.eyes.clone(), self.writer.clone())
        } else {
            (self.eyes.unhurried(), self.writer.unhurried())
        };
        if let Err(trouble) = eyes.at_home(&self.ledger, true).await? {
            self.put_off(lease, whole.iter().chain(&teams), &trouble).await?;
            return Ok(After::Rests);
        }
        let org = match lease.lane {
            Lane::Org(org) => org,
            Lane::Document(integration) => {
                document::look(&eyes, &self.ledger, &writer, lease, integration).await?;
                return Ok(After::Rests);
            }
            // Nothing marks recovery: it has a schedule of its own.
            Lane::Recovery => return Ok(After::Rests),
        };
        let Some(row) = self.ledger.org(org).await? else { return Ok(After::Rests) };
        if row.released_at.is_some() {
            let marks = (whole.as_ref(), teams.as_slice());
            release::look_at_released(&eyes, &self.ledger, lease, &row, marks).await?;
            return Ok(After::GoesOn);
        }
        if !self.may_write_to(&row) {
            return Ok(After::Rests);
        }
        self.eyes.github.knows(&row.facts);
        // While its id answers 404, no look at its teams finds anything out.
        let is_absent = row.absent_since.is_some();
        if let Some(mark) = whole.filter(|mark| mark.asks.reserve == hurries || is_absent) {
            let Some(state) = self.ledger.org_state(org).await? else { return Ok(After::Rests) };
            whole::look_at_whole(&eyes, &self.ledger, &writer, (lease, org), &state, &mark).await?;
            let unsettled = self.is_unsettled(lease.lane, (Some(&mark), &[]), began).await?;
            return Ok(if unsettled { After::Unsettled } else { After::GoesOn });
        }
        if teams.is_empty() {
            return Ok(After::Rests);
        }
        let due = teams.iter().filter_map(|mark| mark.team).collect();
        let Some(state) = self.ledger.org_part(org, &due).await? else { return Ok(After::Rests) };
        look::look(&eyes, &self.ledger, &writer, (lease, org), state, &teams, None).await?;
        let unsettled = self.is_unsettled(lease.lane, (None, &teams), began).await?;
        // The look may have found that the organisation has a login that is not served.
        let unsettled = unsettled && !self.unserved().await?.contains(&lease.lane);
        Ok(match () {
            () if unsettled => After::Unsettled,
            () if teams.len() < CHUNK => {
                eyes.unknown.forget_list(org);
                After::Rests
            }
            () => After::GoesOn,
        })
    }

    /// Puts off what is due in a lane.
    async fn put_off<'a>(
        &self,
        lease: &Lease,
        due: impl Iterator<Item = &'a LeasedMark>,
        trouble: &Trouble,
    ) -> Result<(), LedgerError> {
        let options = &self.eyes.options;
        let (now, jitter) = (self.now(), options.clock.jitter());
        let result = |mark: &LeasedMark| MarkResult {
            team: mark.team,
            generation: mark.generation,
            next: pace::retry(trouble, mark.failures, false, options.backoff, jitter, now),
        };
        let settlement = Settlement { marks: due.map(result).collect(), ..Settlement::default() };
        self.ledger.settle(lease.lane, lease.fence, &settlement, now).await
    }

    fn clock(&self) -> &Clock {
        &self.eyes.options.clock
    }
}

/// What a lane does after a turn.
#[derive(Clone, Copy)]
enum After {
    /// It has little left to do, and waits for company.
    Rests,
    /// The next turn may follow at once.
    GoesOn,
    /// Its look settled nothing of what it was for: a fault of ours, which must not spin.
    Unsettled,
}

/// The turns that are under way.
#[derive(Default)]
struct Crew {
    tasks: JoinSet<(Lane, Result<After, LedgerError>)>,
    turns: Turns,
    /// How many turns in a row have settled nothing of what they were for.
    unsettled: HashMap<Lane, u32>,
}

impl Crew {
    /// Waits for one turn to end. Its lane then rests for a while.
    async fn one_done(&mut self, clock: &Clock, rest: impl Fn(Lane) -> Duration) {
        match self.tasks.join_next().await {
            Some(Ok((lane, result))) => {
                if let Err(error) = &result {
                    telemetry::work::turn_failed(lane, error);
                }
                let unsettled = matches!(result, Ok(After::Unsettled));
                let times =
                    if unsettled { self.unsettled.get(&lane).map_or(1, |times| times + 1) } else { 0 };
                if unsettled {
                    telemetry::work::unsettled(lane, times);
                    self.unsettled.insert(lane, times);
                } else {
                    self.unsettled.remove(&lane);
                }
                let rest = match result {
                    Ok(After::GoesOn) => Duration::ZERO,
                    Ok(After::Rests) => rest(lane),
                    Ok(After::Unsettled) => (POLL * 2_u32.saturating_pow(times)).min(STUCK),
                    Err(_) => rest(lane).max(POLL),
                };
                self.turns.end(lane, clock.monotonic() + rest, unsettled || result.is_err());
            }
            Some(Err(panic)) => {
                telemetry::work::panicked(&panic);
                // Which lane it was is not known any more; the ledger's leases keep the others apart.
                self.turns.end_all();
            }
            None => {}
        }
    }
}
