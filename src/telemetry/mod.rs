//! Logs and metrics: their set-up, and one function for each thing that happens, which writes the log line and
//! moves the counter together, so that they cannot disagree.
//!
//! Every room that does I/O may call these functions; the pure rooms (`model`, `event`, `mapping`, `plan`,
//! `upstream`) may not.

pub mod upstreams;
