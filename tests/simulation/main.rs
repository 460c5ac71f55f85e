//! Random worlds under random faults: whatever is true, whatever the upstreams answer, nothing is removed that
//! should not be. The real worker, ledger and clients run against the sandbox in one thread, without sockets, on
//! a simulated clock.
//!
//! `TEAMLINK_SEEDS` sets how many worlds are tried. They begin with seed 0, with `TEAMLINK_FIRST_SEED`, or, with
//! `TEAMLINK_SLICE`, where that slice of the long form's worlds begins. `TEAMLINK_SEED` tries a single one. `TEAMLINK_STORIES` names a folder: each world writes its requests into a file
//! there, so that the worlds of two commits can be compared.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a panic is how a test fails; its files share what they need, and it tells what it tried"
)]

mod clocks;
mod coverage;
mod documents;
mod doubts;
mod gate;
mod grace;
mod judge;
mod limits;
mod lists;
mod outages;
mod removals;
mod script;
mod second_writer;
mod sequences;
mod takeover;
mod wide;
mod world;

use std::{
    collections::BTreeSet,
    env,
    panic::catch_unwind,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use coverage::Coverage;
use gate::Step;
use judge::{Judge, Pausing, Tally, Verdict};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use script::{Happening, NAMES};
use serde_json::{Value, json};
use teamlink::{
    model::{Asks, Cause, Lane, MissingTeam, Mode, PauseScope, TeamId, TeamKey, TeamState},
    operate,
    plan::{Action, Planned},
    reconcile::{Asked, Outcome},
};
use world::{OURS, Setup, THEIRS, World, rustls};

/// Worlds of the long form: those of one worker, and those that more than one share.
const ALL: [u64; 2] = [10_000, 2_000];

/// Worlds that are tried: as many as catch every mutant, from seed 0 on, or all of them by an optimised build
/// (`--profile simulation`). `tests/run` tries another slice of all every day.
const WORLDS: [u64; 2] = if cfg!(debug_assertions) { [300, 100] } else { ALL };

/// Worlds that are lived twice.
const RELIVED: u64 = if cfg!(debug_assertions) { 10 } else { 100 };

/// The number in this variable, if it is set.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The first seed and the number of worlds to try: so many, unless a variable says otherwise. A slice is one of `all`.
fn seeds(worlds: u64, all: u64) -> (u64, u64) {
    if let Some(seed) = number("TEAMLINK_SEED") {
        return (seed, 1);
    }
    let count = number("TEAMLINK_SEEDS").unwrap_or(worlds);
    let slice = || number("TEAMLINK_SLICE").map(|slice| slice * count % all);
    (number("TEAMLINK_FIRST_SEED").or_else(slice).unwrap_or(0), count)
}

#[test]
fn nothing_is_removed_that_should_not_be() {
    try_worlds(false);
}

#[test]
fn whoever_lost_a_lease_sends_and_stores_nothing() {
    try_worlds(true);
}

#[test]
fn a_world_can_be_lived_again() {
    rustls();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, _) = seeds(WORLDS[0], ALL[0]);
    for seed in first..first + RELIVED {
        let [first, second] = [(), ()].map(|()| runtime.block_on(live(seed, false)).2);
        let parts = first.iter().zip(&second).position(|(one, other)| one != other);
        let (one, other) = parts.map_or((None, None), |at| (first.get(at), second.get(at)));
        assert_eq!((one, first.len()), (other, second.len()), "seed {seed} at {parts:?}");
    }
    for seed in first..first + RELIVED {
        assert_eq!(wide::relive(seed), wide::relive(seed), "wide world {seed}");
    }
}

/// Lives the lives of so many worlds; in those that are `shared`, more than one worker is at work.
fn try_worlds(shared: bool) {
    rustls();
    let (first, count) = seeds(WORLDS[usize::from(shared)], ALL[usize::from(shared)]);
    let started = Instant::now();
    let next = AtomicU64::new(first);
    let wrong: Mutex<Vec<(u64, String)>> = Mutex::default();
    let total: Mutex<(Tally, Coverage)> = Mutex::default();
    std::thread::scope(|scope| {
        for thread in 0..2 * std::thread::available_parallelism().map_or(2, usize::from) {
            let (next, wrong, total) = (&next, &wrong, &total);
            scope.spawn(move || {
                stay_on_one_processor(thread);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || wrong.lock().unwrap().len() >= 3 {
                        break;
                    }
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    let Ok((verdict, judge, _)) = catch_unwind(|| runtime.block_on(live(seed, shared)))
                    else {
                        wrong.lock().unwrap().push((seed, "it panicked, as printed above".to_owned()));
                        continue;
                    };
                    let mut total = total.lock().unwrap();
                    total.0.add(judge.tally);
                    total.1.add(judge.coverage);
                    if let Err(why) = verdict {
                        wrong.lock().unwrap().push((seed, why));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let tried = next.into_inner().min(first + count) - first;
    let (tally, coverage) = total.into_inner().unwrap();
    let took = started.elapsed().as_secs_f32();
    println!("{tried} worlds in {took:.1} s, from seed {first} on: {tally:?}\n{coverage}");
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    for (seed, why) in &wrong {
        println!(
            "seed {seed}: {why}\n  again: TEAMLINK_SEED={seed} cargo test --test simulation {test} -- --nocapture"
        );
    }
    assert!(wrong.is_empty(), "{} worlds went wrong", wrong.len());
}

/// The worlds of this thread and the thread that each ledger has then never wait for another processor to wake up.
fn stay_on_one_processor(thread: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        // Where it may not be asked for, worlds are only slower.
        let Ok(all) = sched_getaffinity(None) else { return };
        let mine = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).cycle().nth(thread);
        let mut one = CpuSet::new();
        mine.into_iter().for_each(|cpu| one.set(cpu));
        sched_setaffinity(None, &one).ok();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = thread;
}

/// One world's life, and every request that there was.
async fn live(seed: u64, shared: bool) -> (Verdict, Judge, Vec<String>) {
    let dice = &mut StdRng::seed_from_u64(seed);
    let (stale, narrow) = (dice.random_bool(0.3), dice.random_bool(0.25));
    let mut judge = Judge::new(narrow, stale);
    let dir = scratch();
    let setup = script::setup(dice, stale);
    let teams = dice.random_range(1..12);
    let mut world = World::new(seed, teams, setup, dir.path()).await;
    // Dice of their own: one seed is the same world, shared or not.
    let still = shared.then(|| StdRng::seed_from_u64(!seed));
    let verdict = history(&mut world, &mut judge, dice, stale, still).await;
    let story = world.story().await;
    if let Ok(folder) = env::var("TEAMLINK_STORIES") {
        let name = if shared { format!("shared-{seed}") } else { seed.to_string() };
        std::fs::write(Path::new(&folder).join(name), story.join("\n")).unwrap();
    }
    if verdict.is_err() && env::var("TEAMLINK_SEED").is_ok() {
        println!("  {}", story.join("\n  "));
    }
    (verdict, judge, story)
}

/// A folder for the ledger, in memory where the system has such a place.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

async fn history(
    world: &mut World,
    judge: &mut Judge,
    dice: &mut StdRng,
    stale: bool,
    mut still: Option<StdRng>,
) -> Verdict {
    let told = env::var("TEAMLINK_SEED").is_ok();
    let verbose = |what: &dyn std::fmt::Debug| {
        if told {
            println!("  {what:?}")
        }
    };
    verbose(&(&world.setup, judge.narrow, stale));
    // A credential that is no owner's stays one for the whole life.
    let membership = json!({"state": "active", "role": "member"});
    let standing: Vec<Value> = if judge.narrow {
        vec![json!({"method": "GET", "path": "/user/memberships/orgs/*", "body": membership})]
    } else {
        Vec::new()
    };
    if dice.random_bool(0.5) {
        // Somebody was here before us.
        let handles = world.datadog_teams().await;
        for (_, handle) in world.teams().await {
            let slug = handle.split_once('/').unwrap().1.to_owned();
            let mark = script::one_of(dice, &[None, None, Some(THEIRS), Some(OURS)]);
            if let (Some(to), Some(mark)) = (handles.get(&slug), mark) {
                judge.by_hand.extend(world.connect(to, &slug, mark).await);
            }
        }
    }
    judge.witness(world).await;
    let once_absent = dice.random_range(1..8);
    for round in 0..dice.random_range(2..5) {
        world.faults(&[]).await;
        if round > 0 {
            for _ in 0..dice.random_range(0..5) {
                let happening = script::happening(dice);
                verbose(&happening);
                happen(world, judge, happening).await;
                world.clock.advance(Duration::from_millis(dice.random_range(1..10_000)));
            }
        }
        let mut webhooks = Vec::new();
        while let Ok(webhook) = world.webhooks.try_recv() {
            // GitHub loses some, and sends some twice.
            webhooks.extend(std::iter::repeat_n(webhook, script::one_of(dice, &[0, 1, 1, 1, 2])));
        }
        webhooks.shuffle(dice);
        judge.hears(&webhooks);
        let before = judge.before(world).await;
        world.requests().await;
        // What of it the daemon hears is stored before anything is asked.
        world.deliver(webhooks).await;
        let mut faults = if round > 0 { script::faults(dice, stale, judge.narrow) } else { Vec::new() };
        faults.extend(standing.clone());
        if round == once_absent {
            // One replica does not have one team yet.
            faults
                .push(json!({"method": "GET", "path": "/organizations/*/team/*", "status": 404, "times": 1}));
        }
        verbose(&faults);
        world.faults(&faults).await;
        judge.lied |= faults.iter().any(script::hides_connections);
        judge.faults = faults;
        if round == 0 || dice.random_bool(0.6) {
            let (cause, asks) =
                if dice.random_bool(0.2) { (Cause::Person, Asks::PERSON) } else { (Cause::Pass, Asks::PASS) };
            // Where the organisation cannot be looked up, there is no pass.
            drop(world.worker.begin_pass(&["acme".to_owned()], cause, asks).await);
        }
        if dice.random_bool(0.2)
            && let Some(set) = world.ledger.held_set(Lane::Org(world.org), world.clock.now()).await.unwrap()
        {
            verbose(&set);
            let expires = Duration::from_secs(3600);
            let approved = world.ledger.approve(&set.hash, "simulated", expires, world.clock.now()).await;
            judge.approve(approved.unwrap().unwrap());
        }
        let horizon = Duration::from_secs(script::one_of(dice, &[1, 30, 200, 4000]));
        let killed = dice.random_bool(0.3) && {
            let step = script::one_of(dice, &[Step::Question, Step::Answer, Step::Ledger]);
            world.work_and_crash(horizon, step, dice.random_range(1..60)).await
        };
        if killed {
            verbose(&"killed");
            world.restart().await;
            judge.restarted = true;
        }
        let stood = match still.as_mut().filter(|_| !killed) {
            Some(still) => takeover::stands_still(world, judge, still, horizon).await,
            None => false,
        };
        if stood {
            verbose(&"stood still");
        }
        judge.crashed = killed || stood;
        world.work(horizon).await;
        world.faults(&[]).await;
        judge.after(world, before).await.map_err(|why| format!("round {round}: {why}"))?;
    }
    quiet(world, judge, &standing).await
}

/// Once nothing goes wrong any more: a pass, and then nothing is left to do.
async fn quiet(world: &mut World, judge: &mut Judge, standing: &[Value]) -> Verdict {
    world.ledger.resume(PauseScope::All, "", world.clock.now()).await.unwrap();
    (judge.paused, judge.crashed, judge.faults) = (None, false, Vec::new());
    // By then every list of Datadog's teams is too old to be used, and every approval has expired.
    world.clock.advance(Duration::from_secs(3601));
    for pass in 0..2 {
        world.faults(standing).await;
        let before = judge.before(world).await;
        world.requests().await;
        world
            .worker
            .begin_pass(&["acme".to_owned()], Cause::Pass, Asks::PASS)
            .await
            .map_err(|error| error.to_string())?;
        world.work(Duration::from_secs(1800)).await;
        // A Datadog team that was made at the end of that is seen by others who want its handle when the list is read again.
        world.work(Duration::from_secs(300)).await;
        world.faults(&[]).await;
        if pass == 1 {
            let writes: Vec<Value> = world
                .requests()
                .await
                .into_iter()
                .filter(|request| request["method"] != "GET" && request["fence"].is_string())
                .filter(|request| request["status"].as_u64().is_some_and(|status| status < 300))
                .collect();
            if !writes.is_empty() {
                return Err(format!("a pass over a settled world still writes: {writes:?}"));
            }
        } else {
            judge.after(world, before).await.map_err(|why| format!("quiet pass {pass}: {why}"))?;
        }
    }
    judge.knows_its_own(world).await?;
    if judge.narrow {
        // Of what this credential cannot see, nothing ever comes to an end by itself.
        return Ok(());
    }
    let progress = world.ledger.progress(Lane::Org(world.org), world.clock.now()).await.unwrap();
    // Datadog refuses a team for a handle that is free where the name is not: that is said, and stays.
    let refused = world.setup.missing_team == MissingTeam::Create;
    if (progress.failing, progress.parked) != (0, 0) && !refused {
        return Err(format!("something stays wrong in a settled world: {progress:?}"));
    }
    world.faults(standing).await;
    let plan = world.survey().plan("acme").await.unwrap();
    world.faults(&[]).await;
    let guarded = plan.plan.as_ref().map_err(|trouble| trouble.to_string())?;
    let creates_team = |planned: &&Planned| matches!(planned.action, Action::CreateTeam { .. });
    let open: Vec<_> = guarded.ready.actions.iter().filter(|planned| !creates_team(planned)).collect();
    if world.setup.mode != Mode::Observe && !open.is_empty() {
        return Err(format!("a settled world is not as it should be: {open:?}"));
    }
    let planned: BTreeSet<_> = plan.held().map(|held| held.key).collect();
    let set = world.ledger.held_set(Lane::Org(world.org), world.clock.now()).await.unwrap();
    // Of a team about which nothing will ever be proven, nothing can be planned.
    let teams = world.state().await.map(|state| state.teams).unwrap_or_default();
    let doubted = |team: Option<TeamId>| {
        let team = team.and_then(|team| teams.get(&team));
        team.is_some_and(|team| matches!(team.state, TeamState::Suspected { .. }))
    };
    let held = set.into_iter().flat_map(|set| set.items).filter(|held| !doubted(held.team));
    let held: BTreeSet<_> = held.map(|held| held.key).collect();
    if held != planned {
        return Err(format!("held is {held:?}, planned to be held {planned:?}"));
    }
    Ok(())
}

/// Takes over all that somebody else has made, as far as it may be.
async fn adopt(world: &mut World, judge: &mut Judge) {
    let asked = Asked::ManagedBy(THEIRS.into());
    let (survey, orgs) = (world.survey(), ["acme".to_owned()]);
    // An organisation that cannot be read has no candidates.
    let Ok(candidates) = operate::adopt::candidates(&survey, &world.ledger, &orgs, &asked).await else {
        return;
    };
    for candidate in &candidates {
        let Ok(adoption) = &candidate.step else { continue };
        let outcome = world.worker.adopt(candidate, adoption).await.unwrap();
        if let Outcome::Failed(trouble) = &outcome {
            // What failed a moment ago is not asked again at once, nor is an upstream whose rate limit is used up.
            // The error that the ledger has of a look tells it by its text alone.
            let told = ["is used up until", "not asked while"].map(|why| trouble.message.contains(why));
            assert!(trouble.blocked || told.contains(&true), "{outcome:?}");
            break;
        }
    }
    judge.seen.extend(world.connections().await);
}

async fn happen(world: &mut World, judge: &mut Judge, happening: Happening) {
    let teams: Vec<(TeamId, String)> = world.teams().await.into_iter().collect();
    let slug = |handle: &String| handle.split_once('/').unwrap().1.to_owned();
    let team = |which: usize| teams.get(which % teams.len().max(1)).map(|(_, handle)| slug(handle));
    let datadog: Vec<String> = world.datadog_teams().await.into_values().collect();
    let datadog_team =
        |which: usize| datadog.get(which % datadog.len().max(1)).map(|id| format!("/api/v2/team/{id}"));
    match happening {
        Happening::Created { name, known } => {
            if known {
                world.datadog_team(name).await;
            }
            world.create(name).await;
        }
        Happening::Renamed { which, name } => {
            if let Some(slug) = team(which) {
                world.rename(&slug, name).await;
            }
        }
        Happening::Deleted { which } => {
            if let Some(slug) = team(which) {
                world.delete(&slug).await;
            }
        }
        Happening::Remade { which } => {
            if let Some(slug) = team(which) {
                world.delete(&slug).await;
                judge.witness(world).await;
                world.create(&slug).await;
            }
        }
        Happening::Swapped { one, other } => {
            if let (Some(one), Some(other)) = (team(one), team(other))
                && one != other
            {
                for (from, to) in [(&one, "between"), (&other, one.as_str()), (&"between".to_owned(), &other)]
                {
                    world.rename(from, to).await;
                    judge.witness(world).await;
                }
            }
        }
        Happening::Connected { which, to, ours } => {
            let handles: Vec<String> = world.datadog_teams().await.into_values().collect();
            let slug = team(which).unwrap_or_else(|| NAMES[which % NAMES.len()].to_lowercase());
            if let Some(to) = handles.get(to % handles.len().max(1))
                && let Some(id) = world.connect(to, &slug, if ours { OURS } else { THEIRS }).await
            {
                judge.by_hand.insert(id);
            }
        }
        Happening::Disconnected { which } => {
            let connections: Vec<String> = world.connections().await.into_keys().collect();
            if let Some(id) = connections.get(which % connections.len().max(1)) {
                judge.disturbed |= world.owned().await.contains(id);
                world.disconnect(id).await;
            }
        }
        Happening::DatadogTeam { name } => world.datadog_team(name).await,
        Happening::DatadogRenamed { which, name } => {
            if let Some(path) = datadog_team(which) {
                let attributes = json!({"handle": name.to_lowercase(), "name": name});
                world.ask("PATCH", &path, json!({"data": {"type": "team", "attributes": attributes}})).await;
            }
        }
        Happening::DatadogGone { which } => {
            if let Some(path) = datadog_team(which) {
                let owned = world.owned().await;
                world.ask("DELETE", &path, Value::Null).await;
                judge.disturbed |= world.owned().await != owned;
            }
        }
        Happening::OrgRenamed(login) => world.rename_org(login).await,
        Happening::Paused { which } => {
            let team = which.and_then(|which| teams.get(which % teams.len().max(1))).map(|(team, _)| *team);
            world.ledger.resume(PauseScope::All, "", world.clock.now()).await.unwrap();
            let (scope, pausing) = match team {
                Some(team) => (PauseScope::Team(TeamKey { org: world.org, team }), Pausing::Team(team)),
                None => (PauseScope::All, Pausing::All),
            };
            world.ledger.pause(scope, "", world.clock.now()).await.unwrap();
            judge.paused = Some(pausing);
        }
        Happening::Resumed => {
            world.ledger.resume(PauseScope::All, "", world.clock.now()).await.unwrap();
            judge.paused = None;
        }
        Happening::Adopted => adopt(world, judge).await,
        Happening::Rules(rules) => {
            world.setup.rules = rules;
            world.restart().await;
            judge.restarted = true;
        }
    }
    judge.witness(world).await;
}
