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

/// A clock with dice. Cheap to clone; clones go together. The default is this machine's.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    simulated: Option<Arc<Simulated>>,
    /// By how many microseconds the wall clock that this one shows is ahead of this machine's, or of the simulation.
    ahead: Arc<AtomicI64>,
}

#[derive(Debug)]
struct Simulated {
    micros: AtomicI64,
    dice: Mutex<StdRng>,
}

impl Clock {
    /// A clock that stands at `start` until it is moved; its dice fall as `seed` says.
    pub fn simulated(start: Time, seed: u64) -> Self {
        let dice = Mutex::new(StdRng::seed_from_u64(seed));
        let simulated = Simulated { micros: AtomicI64::new(start.0), dice };
        Self { simulated: Some(Arc::new(simulated)), ahead: Arc::default() }
    }

    /// Goes by another clock from now on, which answered `time` to a question that took `took`: processes on several
    /// machines follow the one of the database that they share. Differences that the way there explains say nothing.
    pub fn follow(&self, time: Time, took: Duration) {
        let took = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        let ahead = time.0 + took / 2 - self.machine();
        if (ahead - self.ahead.load(Ordering::Relaxed)).abs() > took {
            self.ahead.store(ahead, Ordering::Relaxed);
        }
    }

    /// Returns another clock of the same simulation: time passes for both, and each has a wall clock of its own, as two
    /// machines have. It shows the simulation's time until it is stepped.
    pub fn of_another_machine(&self) -> Self {
        Self { simulated: self.simulated.clone(), ahead: Arc::default() }
    }

    /// Sets a simulated wall clock forward by so many microseconds, or back by a negative number. No time passes.
    pub fn step(&self, by: i64) {
        if self.simulated.is_some() {
            self.ahead.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// Moves a simulated clock; this machine's goes by itself.
    pub fn advance(&self, by: Duration) {
        if let Some(simulated) = &self.simulated {
            let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            simulated.micros.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// The wall clock's time.
    pub fn now(&self) -> Time {
        Time(self.machine() + self.ahead.load(Ordering::Relaxed))
    }

    /// The time of this machine, or of the simulation.
    fn machine(&self) -> i64 {
        match &self.simulated {
            None => Time::from(SystemTime::now()).0,
            Some(simulated) => simulated.micros.load(Ordering::SeqCst),
        }
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

    /// A random number from 0 up to 1.
    pub fn jitter(&self) -> f64 {
        match &self.simulated {
            None => rand::random(),
            Some(simulated) => simulated.dice.lock().unwrap_or_else(PoisonError::into_inner).random::<f64>(),
        }
    }
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
        assert_eq!((here.now(), there.now()), (Time(7_000_000), Time(10_000_000)));
        there.advance(Duration::from_secs(1));
        assert_eq!((here.now(), there.now()), (Time(8_000_000), Time(11_000_000)));
        assert_eq!(here.monotonic() - began, Duration::from_secs(1));
    }

    #[test]
    fn a_simulated_clock_follows_another() {
        let here = Clock::simulated(Time(10_000_000), 1);
        let database = here.of_another_machine();
        here.step(-3_000_000);
        here.follow(database.now(), Duration::ZERO);
        assert_eq!(here.now(), Time(10_000_000));
    }
}
