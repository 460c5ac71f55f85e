//! When a target is looked at next. Pure.

use std::time::Duration;

use crate::{
    ledger::Next,
    model::{Class, Time, Trouble},
    upstream::Backoff,
};

/// A webhook can beat GitHub's own replicas: after its last event a team is read again at these distances.
pub(super) const LAG: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120)];

/// The longest delay, whatever the settings are: no upstream is believed that asks for more than an hour.
pub(super) const LONGEST: Duration = Duration::from_secs(2 * 3600);

/// The longest that a scope whose credential was refused is left before it is tried again.
const AUTH_PROBE: Duration = Duration::from_secs(60);

/// After this long, no answer of GitHub's is older than an event.
pub(super) const LAG_ENDS: Duration = LAG[LAG.len() - 1];

/// The next read that guards against lag: the first distance from the last event that lies after this look. An event
/// that lies far ahead came before the clock was set back: nobody knows how long ago.
pub(super) fn lag_look(event_at: Option<Time>, looked_at: Time) -> Option<Time> {
    let event_at = event_at.filter(|at| at.since(looked_at) <= LAG_ENDS)?;
    LAG.iter().map(|&distance| event_at + distance).find(|&at| at > looked_at)
}

/// Since when the next such read is due: only what was read later counts as that read.
pub(super) fn lag_since(event_at: Time, now: Time) -> Time {
    LAG.iter().rev().map(|&distance| event_at + distance).find(|&at| at <= now).unwrap_or(event_at.min(now))
}

/// Datadog's lists may lag behind a write that it answered with success: they are read again at these distances from the
/// answer.
const NOT_VISIBLE: [Duration; 8] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(300),
    Duration::from_secs(600),
];

/// Returns when Datadog's lists are read again for a write that it answered at `since`.
pub(super) fn not_visible(since: Time, now: Time) -> Time {
    NOT_VISIBLE.iter().map(|&distance| since + distance).find(|&at| at > now).unwrap_or(now + NOT_VISIBLE[0])
}

/// Returns when to retry after a trouble: always [`Next::Retry`]. `failures` counts the failed looks before this one.
/// `others_work` is true if the same operation succeeded for another target, so that this is not an outage.
pub(super) fn retry(
    trouble: &Trouble,
    failures: u32,
    others_work: bool,
    backoff: Backoff,
    jitter: f64,
    now: Time,
) -> Next {
    let next = |at: Time, floor, burns| Next::Retry { at, floor, error: trouble.clone(), burns };
    let delay = backoff.delay(failures.saturating_add(1), jitter);
    if trouble.blocked {
        // It was not even asked. When the scope works again, the ledger makes it due at once.
        let at = now + trouble.retry_after.unwrap_or_default().max(backoff.min);
        return next(at, at, false);
    }
    match trouble.class {
        Class::Throttled => {
            // Without a word of when, it is asked less and less.
            let wait = trouble.retry_after.unwrap_or(delay);
            let at = now + wait.max(backoff.min) + backoff.min.mul_f64(jitter);
            // The gate knows the limit. Only what may use the reserve goes ahead before its window ends.
            next(at, now + backoff.min, false)
        }
        Class::Auth => next(now + delay.min(AUTH_PROBE), now + backoff.min, false),
        Class::Transient | Class::Permanent | Class::Invalid => {
            // A rejection is not an outage, whether or not there is another target to compare with.
            next(now + delay, now + backoff.min, others_work || trouble.class == Class::Permanent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { min: Duration::from_secs(2), max: Duration::from_secs(600) };
    const NOW: Time = Time(1_000_000_000);

    /// When the look is repeated, its floor, and whether it counts as an attempt.
    fn again(trouble: &Trouble, failures: u32, others_work: bool, jitter: f64) -> (Time, Time, bool) {
        match retry(trouble, failures, others_work, BACKOFF, jitter, NOW) {
            Next::Retry { at, floor, burns, .. } => (at, floor, burns),
            Next::Nothing | Next::At(_) | Next::Waits(_) => panic!("a trouble is always retried"),
        }
    }

    #[test]
    fn reads_against_lag_come_5_30_and_120_seconds_after_the_last_event() {
        let event = Time(0);
        let after = |seconds: u64| lag_look(Some(event), event + Duration::from_secs(seconds));
        assert_eq!(after(1), Some(event + LAG[0]));
        assert_eq!(after(5), Some(event + LAG[1]));
        assert_eq!(after(31), Some(event + LAG[2]));
        assert_eq!((after(120), lag_look(None, event)), (None, None));
        let since = |seconds: u64| lag_since(event, event + Duration::from_secs(seconds));
        assert_eq!(
            [0, 4, 5, 29, 30, 500].map(since),
            [0, 0, 5, 5, 30, 120].map(|it| event + Duration::from_secs(it))
        );
        assert_eq!(lag_since(event + Duration::from_secs(3600), event), event, "the clock was set back");
        assert_eq!(lag_look(Some(event + Duration::from_secs(3600)), event), None, "the clock was set back");
    }

    #[test]
    fn a_rate_limit_is_obeyed_and_burns_no_attempt() {
        let mut trouble = Trouble::new(Class::Throttled, "429");
        trouble.retry_after = Some(Duration::from_secs(17));
        let at = NOW + Duration::from_secs(17);
        let (next, _, burns) = again(&trouble, 3, true, 0.0);
        assert_eq!((next, burns), (at, false));
    }

    #[test]
    fn an_event_does_not_wait_for_the_window_whose_share_a_pass_has_used() {
        let mut trouble = Trouble::new(Class::Throttled, "only the reserve for events is left");
        trouble.retry_after = Some(Duration::from_secs(3600));
        assert_eq!(again(&trouble, 0, true, 0.0).1, NOW + BACKOFF.min);
    }

    #[test]
    fn a_trouble_that_everybody_has_is_an_outage_and_burns_nothing() {
        let trouble = Trouble::new(Class::Transient, "503");
        assert!(!again(&trouble, 0, false, 0.5).2);
        assert!(again(&trouble, 0, true, 0.5).2);
    }

    #[test]
    fn what_was_not_asked_waits_for_its_scope_and_burns_nothing() {
        let (retry_after, blocked) = (Some(Duration::from_secs(4)), true);
        for class in [Class::Transient, Class::Auth] {
            let trouble = Trouble { retry_after, blocked, ..Trouble::new(class, "not asked") };
            let at = NOW + Duration::from_secs(4);
            assert_eq!(again(&trouble, 7, true, 0.5), (at, at, false));
        }
    }

    #[test]
    fn an_outage_is_met_with_growing_waits_and_a_refusal_burns_an_attempt_by_itself() {
        let trouble = Trouble::new(Class::Transient, "503");
        let wait = |failures| again(&trouble, failures, false, 1.0).0.since(NOW).as_secs();
        assert_eq!([0, 1, 2, 20].map(wait), [2, 4, 8, 600]);
        assert!(again(&Trouble::new(Class::Permanent, "400"), 0, false, 0.5).2);
    }
}
