//! Tries many wide worlds, and counts what went wrong by rule and cause.

use std::{
    collections::BTreeMap,
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Failure, Features, Life, live};
use crate::{coverage::Coverage, seeds, stay_on_one_processor, world::rustls};

/// Worlds of the long form.
const ALL: u64 = 2_000;

/// Worlds that are tried.
const WORLDS: u64 = if cfg!(debug_assertions) { 60 } else { ALL };

/// Worlds beyond those that have shown a fault. A seed makes another world once its generator changes.
const ONCE_WRONG: [u64; 12] =
    [20_499, 31_162, 35_194, 43_850, 54_930, 58_271, 63_116, 72_597, 77_666, 86_587, 95_469, 400_125];

/// True time that a world takes at most: one that takes longer waits for something that never comes.
const LONGEST: Duration = Duration::from_secs(60);

/// A world that went wrong: its seed, what it has, and what should not have happened.
struct Wrong {
    seed: u64,
    features: String,
    failures: Vec<Failure>,
}

#[derive(Default)]
struct Total {
    wrong: Vec<Wrong>,
    coverage: Coverage,
    requests: usize,
    slowest: (Duration, u64),
}

fn run(seed: u64, features: Option<Features>) -> Result<Life, Vec<Failure>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let life = async { tokio::time::timeout(LONGEST, live(seed, features)).await };
    let failed = |cause, what| vec![Failure { rule: "R0", cause, what }];
    match catch_unwind(AssertUnwindSafe(|| runtime.block_on(life))) {
        Ok(Ok(life)) => Ok(life),
        Ok(Err(_)) => Err(failed("a world stands still", format!("for {LONGEST:?}"))),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(failed("a panic", text.unwrap_or_default()))
        }
    }
}

/// What a world tells when it is lived again.
pub fn relive(seed: u64) -> Vec<String> {
    match run(seed, None) {
        Ok(life) => life.story.into_iter().chain(life.failures.iter().map(|it| format!("{it:?}"))).collect(),
        Err(failures) => failures.iter().map(|it| format!("{it:?}")).collect(),
    }
}

#[test]
fn worlds_that_once_went_wrong_end_right() {
    rustls();
    let (mut total, started) = (Total::default(), Instant::now());
    ONCE_WRONG.into_iter().for_each(|seed| tell(seed, run(seed, None), &mut total));
    report(&total, ONCE_WRONG.len() as u64, ONCE_WRONG[0], started.elapsed());
    assert!(total.wrong.is_empty(), "{} of these worlds went wrong again", total.wrong.len());
}

/// Lives the lives of so many worlds.
pub fn try_worlds() {
    rustls();
    let (first, count) = seeds(WORLDS, ALL);
    let every = env::var("TEAMLINK_ALL").is_ok();
    let started = Instant::now();
    let (next, total) = (AtomicU64::new(first), Mutex::new(Total::default()));
    std::thread::scope(|scope| {
        for thread in 0..2 * std::thread::available_parallelism().map_or(2, usize::from) {
            let (next, total) = (&next, &total);
            scope.spawn(move || {
                stay_on_one_processor(thread);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || !every && total.lock().unwrap().wrong.len() >= 3 {
                        break;
                    }
                    tell(seed, run(seed, None), &mut total.lock().unwrap());
                }
            });
        }
    });
    let tried = next.into_inner().min(first + count) - first;
    let mut total = total.into_inner().unwrap();
    total.wrong.sort_by_key(|wrong| wrong.seed);
    report(&total, tried, first, started.elapsed());
    assert!(total.wrong.is_empty(), "{} worlds of {tried} went wrong", total.wrong.len());
}

fn tell(seed: u64, life: Result<Life, Vec<Failure>>, total: &mut Total) {
    let (features, failures) = match life {
        Ok(life) => {
            total.requests += life.requests;
            total.slowest = total.slowest.max((life.took, seed));
            total.coverage.add(life.coverage);
            if let Ok(folder) = env::var("TEAMLINK_STORIES") {
                std::fs::write(Path::new(&folder).join(format!("wide-{seed}")), life.story.join("\n"))
                    .unwrap();
            }
            if env::var("TEAMLINK_SEED").is_ok()
                && env::var("TEAMLINK_SHRINK").is_err()
                && !life.failures.is_empty()
            {
                println!("  {}", life.story.join("\n  "));
            }
            (life.features.to_string(), life.failures)
        }
        Err(failures) => (String::new(), failures),
    };
    if !failures.is_empty() {
        total.wrong.push(Wrong { seed, features, failures });
    }
}

fn report(total: &Total, tried: u64, first: u64, took: Duration) {
    let Total { wrong, coverage, requests, slowest } = total;
    println!(
        "{tried} wide worlds in {:.1} s, from seed {first} on: {} wrong, {requests} requests, the slowest {:.1} s (seed {})\n{coverage}",
        took.as_secs_f32(),
        wrong.len(),
        slowest.0.as_secs_f32(),
        slowest.1
    );
    let mut rules: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut causes: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for one in wrong {
        for failure in &one.failures {
            for seeds in [
                rules.entry(failure.rule).or_default(),
                causes.entry((failure.rule, failure.cause)).or_default(),
            ] {
                if seeds.last() != Some(&one.seed) {
                    seeds.push(one.seed);
                }
            }
        }
    }
    for (rule, seeds) in &rules {
        println!("{rule}: {} worlds", seeds.len());
        for ((_, cause), seeds) in causes.iter().filter(|((of, _), _)| of == rule) {
            println!("    {:4} {cause}: seeds {:?}", seeds.len(), &seeds[..seeds.len().min(12)]);
        }
    }
    let shrinks = env::var("TEAMLINK_SHRINK").is_ok();
    for Wrong { seed, features, failures } in wrong {
        println!("seed {seed} [{features}]");
        for Failure { rule, cause, what } in failures.iter().take(4) {
            println!("    {rule} {cause}: {what}");
        }
        if shrinks {
            println!("    least: {}", shrunk(*seed, &failures[0]));
        }
    }
}

/// The least that this world needs to fail in the same way.
fn shrunk(seed: u64, failure: &Failure) -> String {
    let same =
        |failures: &[Failure]| failures.iter().any(|it| (it.rule, it.cause) == (failure.rule, failure.cause));
    let Ok(life) = run(seed, None) else { return "a panic".to_owned() };
    let mut least = life.features;
    'smaller: loop {
        for smaller in least.smaller() {
            let fails = match run(seed, Some(smaller.clone())) {
                Ok(life) => same(&life.failures),
                Err(failures) => same(&failures),
            };
            if fails {
                least = smaller;
                continue 'smaller;
            }
        }
        return least.to_string();
    }
}
