//! Worlds in which several write one integration document: one or two teamlinks, and a person. Reads of it lie, writes to it
//! fail. The judge knows who added each entry.
//!
//! `TEAMLINK_SEEDS`, `TEAMLINK_FIRST_SEED`, `TEAMLINK_SEED` and `TEAMLINK_ALL` are as in the other worlds.

mod judge;
mod script;
mod wire;
mod world;

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{seeds, stay_on_one_processor, world::rustls};
use judge::Failure;
use script::Beginning;
use world::Documents;

/// Worlds of the long form.
const ALL: u64 = 1_000;

/// Worlds that are tried.
const WORLDS: u64 = if cfg!(debug_assertions) { 100 } else { ALL };

#[test]
fn a_document_that_several_write_loses_nothing_of_others() {
    rustls();
    let (first, count) = seeds(WORLDS, ALL);
    let every = env::var("TEAMLINK_ALL").is_ok();
    let started = Instant::now();
    let next = AtomicU64::new(first);
    let wrong: Mutex<BTreeMap<u64, Vec<Failure>>> = Mutex::default();
    let puts = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2 * std::thread::available_parallelism().map_or(2, usize::from) {
            let (next, wrong, puts) = (&next, &wrong, &puts);
            scope.spawn(move || {
                stay_on_one_processor(thread);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || !every && wrong.lock().unwrap().len() >= 3 {
                        break;
                    }
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    let (failures, written) = runtime.block_on(live(seed));
                    puts.fetch_add(written, Ordering::Relaxed);
                    if !failures.is_empty() {
                        wrong.lock().unwrap().insert(seed, failures);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let tried = next.into_inner().min(first + count) - first;
    println!(
        "{tried} documents in {:.1} s, from seed {first} on: {} wrong, {} PUTs",
        started.elapsed().as_secs_f32(),
        wrong.len(),
        puts.into_inner()
    );
    let mut causes: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (seed, failures) in &wrong {
        for failure in failures {
            let seeds = causes.entry(failure.cause).or_default();
            if seeds.last() != Some(seed) {
                seeds.push(*seed);
            }
        }
    }
    for (cause, seeds) in &causes {
        println!("{:5} {cause}: seeds {:?}", seeds.len(), &seeds[..seeds.len().min(12)]);
    }
    for (seed, failures) in wrong.iter().take(20) {
        println!("seed {seed}");
        for Failure { cause, what } in failures.iter().take(4) {
            println!("    {cause}: {what}");
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} documents went wrong", wrong.len());
}

/// What happens in the long life of one document.
const STEPS: usize = if cfg!(debug_assertions) { 1_000 } else { 10_000 };

#[test]
fn one_document_with_two_teamlinks_and_a_person_lives_long() {
    rustls();
    let dice = &mut StdRng::seed_from_u64(0x10_000);
    let beginning = loop {
        let beginning = script::beginning(dice);
        if beginning.setups.len() == 2 {
            break beginning;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (failures, puts) = runtime.block_on(lives(0, beginning, STEPS, dice));
    println!("{STEPS} steps, {puts} PUTs, {} failures", failures.len());
    for Failure { cause, what } in failures.iter().take(20) {
        println!("    {cause}: {what}");
    }
    assert!(failures.is_empty());
    assert!(puts > STEPS as u64 / 20, "{puts} PUTs");
}

/// One world's life: what went wrong in it, and how often a teamlink wrote.
async fn live(seed: u64) -> (Vec<Failure>, u64) {
    let dice = &mut StdRng::seed_from_u64(seed ^ 0xd0c5);
    let beginning = script::beginning(dice);
    let steps = dice.random_range(4..25);
    lives(seed, beginning, steps, dice).await
}

/// The life of a world in which so much happens.
async fn lives(seed: u64, beginning: Beginning, steps: usize, dice: &mut StdRng) -> (Vec<Failure>, u64) {
    let dir = crate::scratch();
    let told = env::var("TEAMLINK_SEED").is_ok();
    if told {
        println!("  {beginning:?}");
    }
    let mut world = Documents::new(seed, beginning, dir.path()).await;
    let mut left = steps;
    while left > 0 {
        let lies = script::lies(dice);
        if told {
            println!("  {} {lies:?}", world.clock.now());
        }
        world.wire.lies(lies);
        for _ in 0..dice.random_range(1..6).min(left) {
            left -= 1;
            let happening = script::happening(dice);
            if told {
                println!("  {} {happening:?}", world.clock.now());
            }
            world.happens(happening, dice).await;
        }
        world.work(Duration::from_secs(script::one_of(dice, &[1, 20, 200, 4_000])), dice).await;
    }
    world.quiet(dice).await;
    let failures = judge::judge(&world).await;
    if told {
        for line in world.wire.story() {
            println!("  {line}");
        }
    }
    (failures, world.wire.puts())
}
