//! Tests that need no server: teamlink, in this process or as the built binary, against the sandbox.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a panic is how a test fails, and figures are printed"
)]

mod adopt;
mod clients;
mod commands;
mod connections;
mod demo;
mod deploy;
mod documents;
mod documents_proof;
mod fairness;
mod from_existing;
mod fuzz;
mod github_app;
mod growth;
mod guard;
mod held;
mod hostile_names;
mod identity;
mod integrations;
mod large;
mod ledgers;
mod lists;
mod migrations;
mod operate;
mod outage;
mod ownership;
mod parked;
mod plans;
mod readme;
mod receiver;
mod reconcile;
mod releases;
mod requests;
mod sandbox_contract;
mod scenarios;
mod second_writer;
mod shutdown;
mod strangers;
mod stress;
#[path = "../support/mod.rs"]
mod support;
mod threats;
mod troubles;
