//! Counts requests in windows of time, for the rate-limit headers of both APIs.

use std::sync::{Mutex, PoisonError};

/// Requests of the current window.
#[derive(Default)]
pub(crate) struct Rate(Mutex<(u64, u64)>);

impl Rate {
    /// Adds to the window and returns what it has by now; a new window starts at zero.
    pub(crate) fn count(&self, window: u64, more: u64) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = if state.0 == window { state.1 } else { 0 };
        *state = (window, used + more);
        used + more
    }
}
