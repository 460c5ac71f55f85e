//! Permits to have a question under way, handed out as `upstream::Permits` says. Whoever waits is woken with a permit in
//! hand; one that is dropped, before it is used or after, goes to the next.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::upstream::{self, Urgency, Whose};

/// A fixed number of permits. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Permits(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    book: upstream::Permits,
    waiting: HashMap<u64, oneshot::Sender<Permit>>,
}

/// The right to have one question under way; dropping it gives it back.
#[derive(Debug)]
pub struct Permit {
    of: Permits,
    whose: Whose,
}

impl Permits {
    /// So many permits, at least one.
    pub fn new(size: usize) -> Self {
        let book = upstream::Permits::new(size);
        Self(Arc::new(Mutex::new(Shared { book, waiting: HashMap::new() })))
    }

    /// Waits for a permit. `None` never comes: a place is given up only by whoever waits there.
    pub async fn acquire(&self, whose: &Whose, urgency: Urgency) -> Option<Permit> {
        let (sender, receiver) = oneshot::channel();
        let number = {
            let mut shared = self.shared();
            let number = shared.book.ask(whose, urgency);
            shared.waiting.insert(number, sender);
            number
        };
        let _place = Place { of: self, number, whose, urgency };
        self.hand_out();
        receiver.await.ok()
    }

    /// Hands out what may be had now.
    fn hand_out(&self) {
        let granted: Vec<(oneshot::Sender<Permit>, Whose)> = {
            let mut shared = self.shared();
            let granted = shared.book.grant();
            granted
                .into_iter()
                .filter_map(|(number, whose)| Some((shared.waiting.remove(&number)?, whose)))
                .collect()
        };
        for (sender, whose) in granted {
            // Nobody may be there any more. The permit comes back then, and is dropped here.
            drop(sender.send(Permit { of: self.clone(), whose }));
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.shared().book.give_back(&self.whose);
        self.of.hand_out();
    }
}

/// A place among those who wait.
struct Place<'a> {
    of: &'a Permits,
    number: u64,
    whose: &'a Whose,
    urgency: Urgency,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let waited = {
            let mut shared = self.of.shared();
            shared.book.cancel(self.number, self.whose, self.urgency);
            shared.waiting.remove(&self.number).is_some()
        };
        if waited {
            // Others may have waited only because this one did.
            self.of.hand_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, time::Duration};

    use futures_util::{FutureExt as _, future::join_all};

    use super::*;
    use crate::model::OrgId;

    const LARGE: Whose = Whose::Org(OrgId(1));
    const SMALL: Whose = Whose::Org(OrgId(2));

    fn now<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
        future.now_or_never().flatten()
    }

    #[tokio::test]
    async fn a_waiter_that_is_dropped_loses_no_permit_and_holds_nobody_up() {
        let permits = Permits::new(2);
        let first = now(permits.acquire(&LARGE, Urgency::Event)).unwrap();
        let second = now(permits.acquire(&SMALL, Urgency::Event)).unwrap();
        let mut large = pin!(permits.acquire(&LARGE, Urgency::Event));
        assert!(large.as_mut().now_or_never().is_none());
        {
            let mut gone = pin!(permits.acquire(&SMALL, Urgency::Event));
            assert!(gone.as_mut().now_or_never().is_none());
            // It is granted the permit and dropped before it is polled again.
            drop(second);
        }
        drop(first);
        assert!(now(large).is_some());
        assert!(permits.shared().waiting.is_empty());
        let again = now(permits.acquire(&SMALL, Urgency::Event));
        assert!(again.is_some());
    }

    #[tokio::test]
    async fn an_event_of_a_small_organisation_waits_for_nothing_of_a_large_one() {
        let permits = Permits::new(8);
        let slow: Vec<_> = (0..20)
            .map(|_| {
                let permits = permits.clone();
                tokio::spawn(async move {
                    let _permit = permits.acquire(&LARGE, Urgency::Event).await;
                    std::future::pending::<()>().await;
                })
            })
            .collect();
        tokio::task::yield_now().await;
        for _ in 0..100 {
            assert!(now(permits.acquire(&SMALL, Urgency::Event)).is_some());
        }
        slow.iter().for_each(tokio::task::JoinHandle::abort);
        join_all(slow).await;
        assert!(permits.shared().waiting.is_empty());
        assert!(now(permits.acquire(&LARGE, Urgency::Pass)).is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_permit_is_lost_however_waiters_come_and_go() {
        let permits = Permits::new(3);
        let tasks = (0..300_u64).map(|number| {
            let permits = permits.clone();
            tokio::spawn(async move {
                let whose = [LARGE, SMALL, Whose::Credential][usize::try_from(number % 3).unwrap()].clone();
                let urgency = if number % 2 == 0 { Urgency::Event } else { Urgency::Pass };
                let hold = async {
                    let _permit = permits.acquire(&whose, urgency).await;
                    tokio::task::yield_now().await;
                };
                // Some give up.
                if number % 5 == 0 {
                    drop(tokio::time::timeout(Duration::from_micros(number), hold).await);
                } else {
                    hold.await;
                }
            })
        });
        join_all(tasks).await;
        let all = [LARGE, SMALL, Whose::Credential].map(|whose| now(permits.acquire(&whose, Urgency::Event)));
        assert!(all.iter().all(Option::is_some));
    }
}
