//! Where a world's workers are stopped: at a request before it is sent, at its answer, or before the ledger is used. Which
//! one it is follows from the seed alone, so that a world can be lived again.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
};

use teamlink::{ledger::Turnstile, transport::Direct};
use tokio::sync::Notify;
use tower::{ServiceExt as _, util::BoxCloneSyncService};

/// Between which steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request was not sent yet.
    Question,
    /// A request was answered, and whoever asked has not seen it.
    Answer,
    /// A query or a transaction was not begun yet.
    Ledger,
}

#[derive(Clone, Default)]
pub struct Gate(Arc<State>);

#[derive(Default)]
struct State {
    questions: Counter,
    answers: Counter,
    ledger: Counter,
    shut: AtomicBool,
    opened: Notify,
}

#[derive(Default)]
struct Counter {
    passed: AtomicU64,
    /// `0`: none is stopped.
    stop_at: AtomicU64,
}

impl Gate {
    /// The same service behind the gate.
    pub fn before(&self, service: Direct) -> Direct {
        let gate = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request| {
            let (service, gate) = (service.clone(), gate.clone());
            async move {
                gate.pass(Step::Question).await;
                let answer = service.oneshot(request).await;
                gate.pass(Step::Answer).await;
                answer
            }
        }))
    }

    /// What the world's ledger is to be opened behind.
    pub fn turnstile(&self) -> Turnstile {
        let gate = self.clone();
        Arc::new(move || {
            let gate = gate.clone();
            Box::pin(async move { gate.pass(Step::Ledger).await })
        })
    }

    fn counter(&self, step: Step) -> &Counter {
        match step {
            Step::Question => &self.0.questions,
            Step::Answer => &self.0.answers,
            Step::Ledger => &self.0.ledger,
        }
    }

    async fn pass(&self, step: Step) {
        let counter = self.counter(step);
        let passed = counter.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if passed == counter.stop_at.load(Ordering::Relaxed) {
            self.0.shut.store(true, Ordering::Relaxed);
            self.0.opened.notified().await;
        }
    }

    /// Works until it stops at the last of so many steps of a kind; says whether it came so far.
    pub async fn stops(&self, work: &mut Pin<&mut impl Future<Output = ()>>, step: Step, steps: u64) -> bool {
        let counter = self.counter(step);
        counter.stop_at.store(counter.passed.load(Ordering::Relaxed) + steps, Ordering::Relaxed);
        let stopped = poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending if self.0.shut.swap(false, Ordering::Relaxed) => Poll::Ready(true),
            Poll::Pending => Poll::Pending,
        })
        .await;
        counter.stop_at.store(0, Ordering::Relaxed);
        stopped
    }

    /// Lets what was stopped go on.
    pub fn open(&self) {
        self.0.opened.notify_waiters();
    }
}
