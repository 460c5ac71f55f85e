//! Rate limits: counts requests in windows of time, tells of them in both APIs' headers, and enforces a limit where
//! `PUT /_sandbox/limits` sets one. One count serves every credential of an upstream.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

/// A limit that is enforced.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limit {
    /// Requests in a window.
    pub(crate) requests: u64,
    /// The length of a window. Windows begin at multiples of it.
    pub(crate) seconds: u64,
    /// What a request above the limit is answered with; 429 if absent. GitHub answers 403 or 429.
    #[serde(default)]
    pub(crate) status: Option<u16>,
}

impl Limit {
    /// What would make the limit impossible to enforce.
    pub(crate) fn check(self) -> Result<(), String> {
        match self {
            Self { seconds: 0, .. } => Err("a window of 0 seconds is none".to_owned()),
            Self { status: Some(status), .. } if status != 403 && status != 429 => {
                Err(format!("status {status} is not one that either API answers above its limit"))
            }
            _ => Ok(()),
        }
    }
}

/// The limits of both upstreams, as `PUT /_sandbox/limits` sets them; an absent one is not enforced.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    #[serde(default)]
    pub(crate) github: Option<Limit>,
    #[serde(default)]
    pub(crate) datadog: Option<Limit>,
}

/// What the headers tell of the current window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) limit: u64,
    pub(crate) used: u64,
    pub(crate) remaining: u64,
    /// The length of a window in seconds.
    pub(crate) period: u64,
    /// The second at which this one ends.
    pub(crate) ends: u64,
}

/// Requests of the current window, and how many there may be.
pub(crate) struct Rate(Mutex<State>);

struct State {
    /// What the headers promise, and nothing enforces.
    promised: Limit,
    enforced: Option<Limit>,
    window: u64,
    used: u64,
}

impl State {
    /// The limit that the headers tell of, after the count is set to the window of this second.
    fn at(&mut self, second: u64) -> Limit {
        let limit = self.enforced.unwrap_or(self.promised);
        let window = second / limit.seconds;
        if self.window != window {
            (self.window, self.used) = (window, 0);
        }
        limit
    }
}

impl Rate {
    /// Promises so many requests in windows of so many seconds, and enforces nothing.
    pub(crate) fn promising(requests: u64, seconds: u64) -> Self {
        let promised = Limit { requests, seconds, status: None };
        Self(Mutex::new(State { promised, enforced: None, window: 0, used: 0 }))
    }

    /// Enforces a limit, or none; its count starts at zero.
    pub(crate) fn enforce(&self, limit: Option<Limit>) {
        let mut state = self.state();
        (state.enforced, state.window, state.used) = (limit, 0, 0);
    }

    /// Returns the status for a request that is above the limit.
    pub(crate) fn refuses(&self, second: u64) -> Option<u16> {
        let mut state = self.state();
        let limit = state.at(second);
        let used_up = state.enforced.is_some() && state.used >= limit.requests;
        used_up.then(|| limit.status.unwrap_or(429))
    }

    /// Adds to the window of this second. A limit that is not enforced is never used up.
    pub(crate) fn count(&self, second: u64, more: u64) -> Figures {
        let mut state = self.state();
        let limit = state.at(second);
        state.used += more;
        let most = if state.enforced.is_some() { limit.requests } else { limit.requests - 1 };
        let used = state.used.min(most);
        let period = limit.seconds;
        Figures {
            limit: limit.requests,
            used,
            remaining: limit.requests - used,
            period,
            ends: (second / period + 1) * period,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_used_up_until_its_window_ends() {
        let rate = Rate::promising(1000, 60);
        assert_eq!((rate.refuses(5), rate.count(5, 1).remaining), (None, 999));
        rate.enforce(Some(Limit { requests: 2, seconds: 10, status: Some(403) }));
        assert_eq!(
            [rate.count(11, 1), rate.count(12, 1)].map(|it| (it.remaining, it.ends)),
            [(1, 20), (0, 20)]
        );
        assert_eq!((rate.refuses(19), rate.refuses(20)), (Some(403), None));
        assert_eq!(rate.count(20, 1).used, 1);
        rate.enforce(None);
        assert_eq!(rate.refuses(20), None);
    }
}
