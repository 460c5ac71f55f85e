//! What both clients share: what a request needs, which class its answer belongs to and what it says, what stops
//! after it, how much may be asked, who may ask next, how long to back off. Pure: no I/O, no clock, no randomness; the time and the
//! jitter are arguments.

mod answer;
mod backoff;
mod breaker;
mod budget;
mod classify;
mod date;
mod permits;
mod scope;
mod text;

pub use answer::{many, one};
pub use backoff::Backoff;
pub use breaker::{Admission, Breakers, Change, Heard, Kind, MOST_FAILURES, Open, Standing};
pub use budget::{Budget, Left};
pub use classify::{Reply, heard, invalid, trouble, verdict};
pub use permits::Permits;
pub use scope::{Access, Capability, Question, Scope, Upstream, Urgency, Whose};
pub use text::sanitise;
