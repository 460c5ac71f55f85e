//! What both clients share: which class an answer belongs to, what it says, how long to back off. Pure: no
//! I/O, no clock, no randomness; the time and the jitter are arguments.

mod answer;
mod backoff;
mod classify;
mod text;

pub use answer::{many, one, ungranted};
pub use backoff::Backoff;
pub use classify::{Reply, datadog, github, github_advising, invalid};
pub use text::sanitise;
