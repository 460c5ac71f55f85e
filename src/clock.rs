//! What time it is, and how the dice fall: this machine's, or those of a simulation that moves time by itself.
//!
//! It is handed to whoever does I/O and has to know the time. The pure rooms never see it: they are given a
//! [`Time`] or a number.

use std::{
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::model::Time;

/// The largest difference between a wall clock and the time that a process goes by that is not a jump, in microseconds.
const SLEW: i64 = 1_000_000;

/// A clock with dice. Cheap to clone; clones go together. The default is this machine's.
///
/// [`now`](Self::now) is the wall clock as it was when it was last taken over, and what has passed since by the monotonic
/// clock. Between two moments of taking it over, no setting of the wall clock shows: a grace or a delay that is measured
/// within one piece of work is as long as it says.
#[derive(Clone, Debug)]
pub struct Clock {
    simulated: Option<Arc<Simulated>>,
    wall: Arc<Wall>,
}

#[derive(Debug, Default)]
struct Wall {
    /// By how many microseconds the wall clock that this one shows is ahead of this machine's, or of the simulation.
    ahead: AtomicI64,
    /// By how many microseconds [`Clock::now`] is ahead of the monotonic clock.
    difference: AtomicI64,
}

#[derive(Debug)]
struct Simulated {
    micros: AtomicI64,
    dice: Mutex<StdRng>,
}

impl Default for Clock {
    fn default() -> Self {
        let clock = Self { simulated: None, wall: Arc::default() };
        clock.take_over();
        clock
    }
}

impl Clock {
    /// A clock that stands at `start` until it is moved; its dice fall as `seed` says.
    pub fn simulated(start: Time, seed: u64) -> Self {
        let dice = Mutex::new(StdRng::seed_from_u64(seed));
        let simulated = Simulated { micros: AtomicI64::new(start.0), dice };
        Self { simulated: Some(Arc::new(simulated)), wall: Arc::default() }
    }

    /// Goes by another clock from now on, which answered `time` to a question that took `took`: processes on several
    /// machines follow the one of the database that they share. Differences that the way there explains say nothing.
    pub fn follow(&self, time: Time, took: Duration) {
        let took = micros(took);
        let ahead = time.0 + took / 2 - self.machine();
        if (ahead - self.wall.ahead.load(Ordering::Relaxed)).abs() > took {
            self.wall.ahead.store(ahead, Ordering::Relaxed);
        }
    }

    /// Returns another clock of the same simulation: time passes for both, and each has a wall clock of its own, as two
    /// machines have. It shows the simulation's time until it is stepped.
    pub fn of_another_machine(&self) -> Self {
        let clock = Self { simulated: self.simulated.clone(), wall: Arc::default() };
        clock.take_over();
        clock
    }

    /// Sets a simulated wall clock forward by so many microseconds, or back by a negative number. No time passes.
    pub fn step(&self, by: i64) {
        if self.simulated.is_some() {
            self.wall.ahead.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// Moves a simulated clock; this machine's goes by itself.
    pub fn advance(&self, by: Duration) {
        if let Some(simulated) = &self.simulated {
            simulated.micros.fetch_add(micros(by), Ordering::SeqCst);
        }
    }

    /// The time that this process goes by.
    pub fn now(&self) -> Time {
        Time(micros(self.monotonic()) + self.wall.difference.load(Ordering::SeqCst))
    }

    /// The wall clock as it is set at this moment: to show, and to compare with moments that others give.
    pub fn wall(&self) -> Time {
        Time(self.machine() + self.wall.ahead.load(Ordering::SeqCst))
    }

    /// By how many microseconds the wall clock was set forward, or back, since it was last taken over; `None` for as
    /// little as clocks are slewed by all the time.
    pub fn jumped(&self) -> Option<i64> {
        let jump = self.wall().0 - self.now().0;
        (jump.abs() > SLEW).then_some(jump)
    }

    /// Goes by the wall clock as it is set at this moment. Returns by how many microseconds that moves [`now`](Self::now).
    pub fn take_over(&self) -> i64 {
        let difference = self.wall().0 - micros(self.monotonic());
        difference - self.wall.difference.swap(difference, Ordering::SeqCst)
    }

    /// How long it is since some moment of this process: never goes back, whatever becomes of the wall clock.
    pub fn monotonic(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match &self.simulated {
            None => START.elapsed(),
            Some(simulated) => {
                Duration::from_micros(u64::try_from(simulated.micros.load(Ordering::SeqCst)).unwrap_or(0))
            }
        }
    }

    /// Waits so long. It never ends on a simulated clock, which others move: whoever waits there does nothing meanwhile.
    pub async fn wait(&self, time: Duration) {
        match self.simulated {
            None => tokio::time::sleep(time).await,
            Some(_) => std::future::pending().await,
        }
    }

    /// The wall clock of this machine, or of the simulation.
    fn machine(&self) -> i64 {
        match &self.simulated {
            None => Time::from(SystemTime::now()).0,
            Some(simulated) => simulated.micros.load(Ordering::SeqCst),
        }
    }

    /// A random number from 0 up to 1.
    pub fn jitter(&self) -> f64 {
        match &self.simulated {
            None => rand::random(),
            Some(simulated) => simulated.dice.lock().unwrap_or_else(PoisonError::into_inner).random::<f64>(),
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stepped_wall_clock_leaves_the_monotonic_one_and_other_machines_alone() {
        let here = Clock::simulated(Time(10_000_000), 1);
        let there = here.of_another_machine();
        let began = here.monotonic();
        here.step(-3_000_000);
        assert_eq!((here.wall(), there.wall()), (Time(7_000_000), Time(10_000_000)));
        there.advance(Duration::from_secs(1));
        assert_eq!((here.wall(), there.wall()), (Time(8_000_000), Time(11_000_000)));
        assert_eq!(here.monotonic() - began, Duration::from_secs(1));
    }

    #[test]
    fn a_simulated_clock_follows_another() {
        let here = Clock::simulated(Time(10_000_000), 1);
        let database = here.of_another_machine();
        here.step(-3_000_000);
        here.follow(database.now(), Duration::ZERO);
        here.take_over();
        assert_eq!(here.now(), Time(10_000_000));
    }

    #[test]
    fn a_stepped_wall_clock_counts_once_it_is_taken_over() {
        let clock = Clock::simulated(Time(10_000_000), 1);
        clock.step(-3_000_000);
        clock.advance(Duration::from_secs(1));
        assert_eq!((clock.now(), clock.jumped()), (Time(11_000_000), Some(-3_000_000)));
        assert_eq!((clock.take_over(), clock.now(), clock.jumped()), (-3_000_000, Time(8_000_000), None));
        clock.step(900_000);
        assert_eq!(clock.jumped(), None, "clocks are slewed all the time");
    }

    #[test]
    fn the_default_clock_goes_by_this_machines() {
        let clock = Clock::default();
        assert_eq!(clock.jumped(), None);
        clock.follow(clock.wall() + Duration::from_secs(60), Duration::from_millis(10));
        assert!(clock.jumped().is_some_and(|jump| jump > 59_000_000));
    }
}
