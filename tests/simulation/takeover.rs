//! A worker that stands still until another has its lease, and then goes on as if nothing had been.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use rand::{RngExt, rngs::StdRng};
use teamlink::transport::Direct;
use tokio::sync::Notify;
use tower::{ServiceExt as _, util::BoxCloneSyncService};

use super::{
    happen,
    judge::Judge,
    script,
    world::{World, work},
};

/// Longer than a lease lasts.
const STILL: Duration = Duration::from_secs(40);

/// Holds one answer back. A process that is stopped gets its answer when it goes on.
#[derive(Clone, Default)]
pub struct Gate(Arc<State>);

#[derive(Default)]
struct State {
    asked: AtomicU64,
    shut_at: AtomicU64,
    shut: AtomicBool,
    opened: Notify,
}

impl Gate {
    /// The same service behind the gate.
    pub fn before(&self, service: Direct) -> Direct {
        let gate = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request| {
            let (service, gate) = (service.clone(), gate.clone());
            async move {
                let answer = service.oneshot(request).await;
                gate.pass().await;
                answer
            }
        }))
    }

    async fn pass(&self) {
        let asked = self.0.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if asked == self.0.shut_at.load(Ordering::Relaxed) {
            self.0.shut.store(true, Ordering::Relaxed);
            self.0.opened.notified().await;
        }
    }

    /// Works until the answer to the request after so many others is held back; says whether it came so far.
    async fn stops(&self, work: &mut Pin<&mut impl Future<Output = ()>>, requests: u64) -> bool {
        self.0.shut_at.store(self.0.asked.load(Ordering::Relaxed) + requests, Ordering::Relaxed);
        let stopped = poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending if self.0.shut.swap(false, Ordering::Relaxed) => Poll::Ready(true),
            Poll::Pending => Poll::Pending,
        })
        .await;
        self.0.shut_at.store(0, Ordering::Relaxed);
        stopped
    }
}

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
    if !gate.stops(&mut first, dice.random_range(1..30)).await {
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
    gate.0.opened.notify_one();
    first.await;
    true
}
