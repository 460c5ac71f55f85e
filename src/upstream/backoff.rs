//! How long to wait before the next try.

use std::time::Duration;

/// Exponential backoff between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// No wait is shorter.
    pub min: Duration,
    /// No wait is longer.
    pub max: Duration,
}

impl Backoff {
    /// The wait after this many failed attempts (the first failure is attempt 1): somewhere between half and
    /// all of `min · 2^(attempt - 1)`, never below `min` nor above `max`. Half of the wait is left to chance so
    /// that many workers that failed together do not come back together.
    ///
    /// `jitter` is a random number from 0 up to 1; anything outside is clamped.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let full = self.min.saturating_mul(1 << doublings).min(self.max);
        let share = if jitter.is_nan() { 1.0 } else { 0.5 + jitter.clamp(0.0, 1.0) / 2.0 };
        full.mul_f64(share).clamp(self.min.min(self.max), self.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff { min: Duration::from_secs(2), max: Duration::from_secs(600) };

    #[test]
    fn the_wait_doubles_up_to_the_cap() {
        let waits = [1, 2, 3, 8, 9, 10, 40].map(|attempt| BACKOFF.delay(attempt, 1.0).as_secs());
        assert_eq!(waits, [2, 4, 8, 256, 512, 600, 600]);
    }

    #[test]
    fn jitter_takes_away_at_most_half_and_never_goes_below_the_minimum() {
        assert_eq!(BACKOFF.delay(4, 0.0), Duration::from_secs(8));
        assert_eq!(BACKOFF.delay(4, 0.5), Duration::from_secs(12));
        assert_eq!(BACKOFF.delay(1, 0.0), Duration::from_secs(2));
    }

    proptest! {
        #[test]
        fn any_attempt_and_any_jitter_stay_within_the_bounds(attempt: u32, jitter: f64) {
            let wait = BACKOFF.delay(attempt, jitter);
            prop_assert!((BACKOFF.min..=BACKOFF.max).contains(&wait));
        }
    }
}
