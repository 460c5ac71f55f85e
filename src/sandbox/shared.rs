//! What all routes share, and what happens around them.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::{clock, datadog, faults, github, hooks, journal, rate};

/// What all routes share.
pub(crate) struct Shared {
    pub(crate) url: String,
    pub(crate) latency: Duration,
    pub(crate) clock: clock::Clock,
    pub(crate) github: RwLock<github::World>,
    pub(crate) datadog: RwLock<datadog::World>,
    pub(crate) hooks: hooks::Hooks,
    pub(crate) faults: Mutex<faults::Faults>,
    pub(crate) journal: Mutex<journal::Journal>,
    pub(crate) github_rate: rate::Rate,
    pub(crate) datadog_rate: rate::Rate,
}

impl Shared {
    pub(crate) fn faults(&self) -> MutexGuard<'_, faults::Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, journal::Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
