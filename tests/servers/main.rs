//! Tests that need a real RabbitMQ or a real PostgreSQL. `tests/run` starts both.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a panic is how a test fails, and figures are printed"
)]

mod broker;
mod clocks;
mod history;
mod machine;
mod network;
mod postgres;
mod schema;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "`it` uses all of it, these tests a part")]
mod support;
