//! teamlink keeps Datadog's team connections and entity integration configs true to what GitHub says.
#![cfg_attr(test, allow(clippy::print_stdout, clippy::print_stderr))]

pub mod app;
pub mod cli;
pub mod settings;
pub mod shutdown;
pub mod telemetry;

pub mod admin;
pub mod operate;
pub mod reconcile;

pub mod datadog;
pub mod github;
pub mod intake;
pub mod ledger;
pub mod queue;
pub mod transport;
pub mod webhook;

pub mod event;
pub mod mapping;
pub mod model;
pub mod plan;
pub mod upstream;

pub mod sandbox;
