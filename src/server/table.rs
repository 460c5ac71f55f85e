//! Which connections there are, what each does, and which one makes room for another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The head of a request has begun to arrive.
    Head,
    /// Nothing has arrived, or nothing since the last answer.
    Idle,
    /// A request is being answered.
    Busy,
}

/// The connections of a listener.
pub(super) struct Table {
    most: usize,
    places: Mutex<Places>,
    /// A place was given back, or a connection became one that may be closed.
    changed: Notify,
}

#[derive(Default)]
struct Places {
    next: u64,
    taken: HashMap<u64, Taken>,
}

struct Taken {
    phase: Phase,
    since: Instant,
    closed: CancellationToken,
}

/// A connection's place in the table, given back when it is dropped.
pub(super) struct Place {
    table: Arc<Table>,
    id: u64,
    /// Cancelled once the connection has to make room.
    pub(super) closed: CancellationToken,
}

impl Table {
    pub(super) fn new(most: usize) -> Self {
        Self { most, places: Mutex::default(), changed: Notify::new() }
    }

    /// Takes a place. If there is none, the connection that has sent half a request for the longest time is closed, else the
    /// one that is idle for the longest time. Waits while all are busy.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        loop {
            let changed = self.changed.notified();
            if let Some(place) = self.try_place() {
                return place;
            }
            changed.await;
        }
    }

    fn try_place(self: &Arc<Self>) -> Option<Place> {
        let mut places = self.places();
        if places.taken.len() >= self.most {
            let open =
                places.taken.values().filter(|it| it.phase != Phase::Busy && !it.closed.is_cancelled());
            if let Some(oldest) = open.min_by_key(|it| (it.phase, it.since)) {
                oldest.closed.cancel();
            }
            return None;
        }
        let (id, closed) = (places.next, CancellationToken::new());
        places.next += 1;
        places.taken.insert(id, Taken { phase: Phase::Idle, since: Instant::now(), closed: closed.clone() });
        Some(Place { table: self.clone(), id, closed })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What the connection does, and since when.
    pub(super) fn phase(&self) -> (Phase, Instant) {
        let places = self.table.places();
        places.taken.get(&self.id).map_or((Phase::Idle, Instant::now()), |it| (it.phase, it.since))
    }

    /// The connection does something else from now on.
    pub(super) fn enter(&self, phase: Phase) {
        if let Some(taken) = self.table.places().taken.get_mut(&self.id) {
            (taken.phase, taken.since) = (phase, Instant::now());
        }
        if phase != Phase::Busy {
            self.table.changed.notify_waiters();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.places().taken.remove(&self.id);
        self.table.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_sent_half_a_request_makes_room_before_who_is_idle_and_who_is_busy_never() {
        let table = Arc::new(Table::new(4));
        let mut places = Vec::new();
        for phase in [Phase::Busy, Phase::Idle, Phase::Head, Phase::Head] {
            let place = table.place().await;
            place.enter(phase);
            places.push(place);
        }
        let busy = places.remove(0);
        let mut order = Vec::new();
        for _ in 0..3 {
            assert!(table.try_place().is_none());
            let at = places.iter().position(|place| place.closed.is_cancelled()).unwrap();
            // It leaves before the other one comes.
            let phase = places.remove(at).phase().0;
            let place = table.place().await;
            place.enter(Phase::Busy);
            order.push((phase, place));
        }
        let phases: Vec<Phase> = order.iter().map(|(phase, _)| *phase).collect();
        assert_eq!(phases, [Phase::Head, Phase::Head, Phase::Idle]);
        // Everybody is busy: whoever comes waits until one is done.
        let waiting = tokio::spawn({
            let table = table.clone();
            async move { table.place().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && !busy.closed.is_cancelled());
        drop(busy);
        waiting.await.unwrap();
    }
}
