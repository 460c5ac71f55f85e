//! A worker that stands still until another has its lease, and then goes on as if nothing had been.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use super::{
    gate::Step,
    happen,
    judge::Judge,
    script,
    world::{World, work},
};
use rand::{RngExt, rngs::StdRng};

/// Longer than a lease lasts.
const STILL: Duration = Duration::from_secs(40);

/// Works for this long, with a stop on the way; says whether there was one. What happens at GitHub meanwhile is heard,
/// and seen to by another worker.
pub async fn stands_still(
    world: &mut World,
    judge: &mut Judge,
    dice: &mut StdRng,
    horizon: Duration,
) -> bool {
    let gate = world.gate.clone();
    let mut first = pin!(work(world.worker.clone(), world.clock.clone(), horizon));
    if !gate.stops(&mut first, Step::Answer, dice.random_range(1..30)).await {
        return false;
    }
    if finishes_in_the_ledger(world, &mut first).await {
        return false;
    }
    // What happens now comes after whatever was sent.
    world.clock.advance(Duration::from_millis(1));
    world.faults(&[]).await;
    for _ in 0..dice.random_range(0..4) {
        happen(world, judge, script::at_github(dice)).await;
    }
    world.faults(&judge.faults).await;
    let mut webhooks = Vec::new();
    while let Ok(webhook) = world.webhooks.try_recv() {
        webhooks.push(webhook);
    }
    judge.hears(&webhooks);
    world.deliver(webhooks).await;
    world.clock.advance(STILL);
    judge.restarted = true;
    work(world.another(), world.clock.clone(), script::one_of(dice, &[horizon, STILL])).await;
    gate.open();
    first.await;
    true
}

/// Lets a worker that was stopped at an answer finish what else it does in the ledger, whose connections it shares with the
/// others here. Says whether it has ended.
async fn finishes_in_the_ledger(world: &World, first: &mut Pin<&mut impl Future<Output = ()>>) -> bool {
    loop {
        // A connection that it waited for and that is free now, it takes before this says that none is in use.
        let ended = poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx).is_ready())).await;
        if ended || !world.ledger.is_in_use() {
            return ended;
        }
        tokio::task::yield_now().await;
    }
}
