//! The pages of lists that could not be read to their end, until somebody goes on with them: under a rate limit, a list
//! may need more pages than one window allows, and whoever waits for the next window holds nothing meanwhile.
//!
//! A look's lists must be young, and may need several windows all the same. What a look has read, lists to their end too,
//! therefore stays read for the next look of its lane, until the lane writes, or the look is over, or nobody goes on.

use std::{
    any::Any,
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{clock::Clock, model::Lane};

/// A list that was begun longer ago than this begins again. Both upstreams' longest window is an hour.
const KEPT_FOR: Duration = Duration::from_secs(2 * 3600);

/// What a look has read is forgotten this long after the window for which it waits, times [`WINDOWS`], has begun: other
/// lanes may have their turns before.
const SOON: Duration = Duration::from_secs(60);

/// Windows that a look may wait for its turn.
const WINDOWS: u32 = 4;

/// Pages of all lists together; the list that was put aside first goes first.
const MOST_PAGES: usize = 4_000;

/// What is kept for one upstream. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    clock: Clock,
    kept: Arc<Mutex<Lists>>,
}

#[derive(Default)]
struct Lists {
    lists: Vec<Begun>,
    /// Lists whose wrong totals were reported.
    reported: HashSet<&'static str>,
}

/// Where the pages of a list stay read while a rate limit ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The exact query.
    pub query: String,
    /// The lane for whose look it is read; `None` for a list of which a page may be old.
    pub look: Option<Lane>,
}

struct Begun {
    kept: Kept,
    at: Duration,
    until: Duration,
    pages: usize,
    reading: Box<dyn Any + Send>,
}

impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lists").field("lists", &self.lists.len()).finish_non_exhaustive()
    }
}

impl Shelf {
    /// An empty one that goes by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, kept: Arc::default() }
    }

    /// Forgets what was begun, since it would be another list now: all of it, or what was asked by this query.
    pub fn forget(&self, query: Option<&str>) {
        self.kept().lists.retain(|begun| query.is_some_and(|query| begun.kept.query != query));
    }

    /// Forgets what was read for a look of this lane: it is over, or the lane writes.
    pub fn forget_look(&self, lane: Lane) {
        self.kept().lists.retain(|begun| begun.kept.look != Some(lane));
    }

    /// The monotonic time.
    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Takes what was begun by this query, if it is not too old.
    pub(super) fn take<R: 'static>(&self, kept: &Kept) -> Option<R> {
        let now = self.now();
        let lists = &mut self.kept().lists;
        lists.retain(|begun| begun.until > now);
        let at = lists.iter().position(|begun| begun.kept == *kept)?;
        lists.remove(at).reading.downcast().ok().map(|reading| *reading)
    }

    /// Puts aside what was begun at `at` by this query, and waits so long for the next window.
    pub(super) fn put<R: Send + 'static>(
        &self,
        kept: Kept,
        (at, wait): (Duration, Duration),
        pages: usize,
        reading: R,
    ) {
        let (old, soon) = (at + KEPT_FOR, self.now() + wait * WINDOWS + SOON);
        let until = if kept.look.is_some() { old.min(soon) } else { old };
        let lists = &mut self.kept().lists;
        lists.retain(|begun| begun.kept != kept);
        // The other lists of the look wait for the same window.
        for begun in lists.iter_mut().filter(|begun| kept.look.is_some() && begun.kept.look == kept.look) {
            begun.until = begun.until.max(soon).min(begun.at + KEPT_FOR);
        }
        lists.push(Begun { kept, at, until, pages, reading: Box::new(reading) });
        while lists.len() > 1 && lists.iter().map(|begun| begun.pages).sum::<usize>() > MOST_PAGES {
            lists.remove(0);
        }
    }

    /// Whether a wrong total of this list was never reported before.
    pub(super) fn is_news(&self, list: &'static str) -> bool {
        self.kept().reported.insert(list)
    }

    fn kept(&self) -> MutexGuard<'_, Lists> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OrgId, Time};

    fn kept(query: &str) -> Kept {
        Kept { query: query.into(), look: None }
    }

    fn put(shelf: &Shelf, kept: Kept, pages: usize, reading: u8) {
        shelf.put(kept, (shelf.now(), Duration::ZERO), pages, reading);
    }

    #[test]
    fn what_was_begun_is_taken_once_while_it_is_young_and_there_is_room() {
        let clock = Clock::simulated(Time(0), 1);
        let shelf = Shelf::new(clock.clone());
        put(&shelf, kept("a"), 3, 1);
        put(&shelf, kept("b"), MOST_PAGES - 3, 2);
        assert_eq!((shelf.take::<u8>(&kept("b")), shelf.take::<u8>(&kept("b"))), (Some(2), None));
        put(&shelf, kept("c"), MOST_PAGES, 3);
        assert_eq!(shelf.take::<u8>(&kept("a")), None, "the oldest goes");
        clock.advance(KEPT_FOR);
        assert_eq!(shelf.take::<u8>(&kept("c")), None, "too old");
    }

    #[test]
    fn what_was_read_for_a_look_is_taken_soon_by_its_lane_and_not_after_the_lane_wrote() {
        let clock = Clock::simulated(Time(0), 1);
        let shelf = Shelf::new(clock.clone());
        let of = |org: i64| Kept { look: Some(Lane::Org(OrgId(org))), ..kept("a") };
        let wait = Duration::from_secs(5);
        let put = |org: i64| shelf.put(of(org), (shelf.now(), wait), 1, 1_u8);
        put(1);
        put(2);
        shelf.forget_look(Lane::Org(OrgId(1)));
        assert_eq!((shelf.take::<u8>(&of(1)), shelf.take::<u8>(&of(2))), (None, Some(1)));
        put(1);
        clock.advance(wait * WINDOWS);
        assert_eq!(shelf.take::<u8>(&of(1)), Some(1));
        put(1);
        clock.advance(wait * WINDOWS + SOON);
        assert_eq!(shelf.take::<u8>(&of(1)), None, "nobody went on");
    }

    #[test]
    fn what_would_be_another_list_now_is_forgotten() {
        let shelf = Shelf::default();
        for query in ["a", "b"] {
            put(&shelf, kept(query), 1, 1);
        }
        shelf.forget(Some("a"));
        assert_eq!((shelf.take::<u8>(&kept("a")), shelf.take::<u8>(&kept("b"))), (None, Some(1)));
        put(&shelf, kept("b"), 1, 1);
        shelf.forget(None);
        assert_eq!(shelf.take::<u8>(&kept("b")), None);
    }
}
