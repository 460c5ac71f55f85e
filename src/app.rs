//! Composition root: the only place that names concrete clients, spawns tasks and joins them.

pub mod broker;
pub mod upstreams;
