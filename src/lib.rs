//! teamlink keeps Datadog's team connections true to what GitHub says, seconds after GitHub changes.
//!
//! This page is the map: which room does what, so that you find the one you need. `README.md` tells the same
//! from outside, for those who run it.
//!
//! # The one idea
//!
//! **An event never says what to change. It says what to look at.** GitHub neither repeats nor orders its
//! webhooks, so an event only marks a team (or an integration's document) as due in a durable ledger. The reconciler then looks at GitHub and at
//! Datadog, plans, guards and applies. A full pass and a person's command mark in just the same way: there is
//! one path on which Datadog is ever written, and lost, doubled or shuffled events cost time, never correctness.
//!
//! ```text
//!  GitHub ── POST ──► webhook ── publish, confirm ──► RabbitMQ ── consume ──► queue ──┐
//!                        └────────────────────── embedded ────────────────────────────┤
//!                                                                                     ▼
//!  full pass · sync ── mark ──────────────────────────────► intake: decode → one ledger transaction → ack, 202
//!                                                                                     ▼
//!                                     ledger (SQLite): deliveries · marks · mirror of GitHub · owned
//!                                             connections · intents · held · parked · audit
//!                                                                                     │ lease one organisation
//!                                                                                     ▼
//!                    reconcile:  observe ─────► plan ─► guard ─► apply ─► read back ─► settle
//!                                GitHub, Datadog (pure)  (pure)  Datadog
//! ```
//!
//! # The rooms
//!
//! Imports point downwards only; `tests/architecture/` holds every file to it.
//!
//! | room | what it does | look here when … |
//! |---|---|---|
//! | [`cli`] | arguments and printing, one file a command | a command should print or ask something else |
//! | [`app`] | the only place that names concrete clients and spawns tasks | a part has to be wired in |
//! | [`settings`] | defaults, files and environment → checked values, every problem at once | a setting is added |
//! | [`telemetry`] | one function a fact: its log line and its metric together | something should be seen |
//! | [`clock`] | what time it is, and how the dice fall | time has to be simulated |
//! | [`files`] | files of this machine: private ones are made, secrets are read | a file has the wrong permissions |
//! | [`secret`] | a secret that its file may change while we run | a changed key is not taken up |
//! | [`shutdown`] | signals → tokens; a drain with a deadline | stopping takes too long |
//! | [`operate`] | what a person can ask of a running system | `check` should find something more |
//! | [`admin`] | health and metrics over HTTP | an orchestrator asks |
//! | [`reconcile`] | the worker: lease, look, apply, settle; the full pass | Datadog was written wrongly, or not |
//! | [`server`] | the HTTP listener: how many connections, and for how long | somebody holds connections open |
//! | [`webhook`] | the HTTP door in: limits, signature, then an inbox | GitHub's deliveries are refused |
//! | [`queue`] | the RabbitMQ door: topology, publisher, consumer | messages stay in the queue |
//! | [`intake`] | the `Inbox` behind both doors: a delivery is accepted only once it is stored | a delivery got lost |
//! | [`github`] | reading GitHub, with four answers: present, absent, forbidden, failed | GitHub answers oddly |
//! | [`datadog`] | reading and writing Datadog, as two types: a dry run cannot write | Datadog answers oddly |
//! | [`transport`] | the one way out: TLS, proxies, timeouts, counting, the gate that stops what would fail | a proxy or a CA is in the way, or nothing is asked |
//! | [`ledger`] | the durable store: schema and every query | state has to be remembered |
//! | [`upstream`] | classes of errors, breakers, rate limits, backoff; pure | a refusal is retried, or is not |
//! | [`plan`] | what should be, the steps to it, and which of them wait for a person; pure | a plan is wrong |
//! | [`mapping`] | rules: GitHub team → Datadog teams; pure | a team is linked to the wrong one |
//! | [`signature`] | whether GitHub signed a body; pure | a signature is refused |
//! | [`event`] | GitHub's webhook JSON → events → marks; pure | an event is not understood |
//! | [`printable`] | text of unknown origin, made safe to show; pure | a terminal or a page obeys a name |
//! | [`model`] | ids, values and snapshots that all rooms speak; pure | two rooms need a common word |
//! | [`sandbox`] | a stateful GitHub and Datadog on one port; imports nothing of ours, for it is the judge | a test needs a world |
//!
//! Pure rooms do no I/O, read no clock, draw no random numbers and log nothing: time and jitter are arguments.
#![cfg_attr(test, allow(clippy::print_stdout, clippy::print_stderr))]

pub mod app;
pub mod cli;
pub mod clock;
pub mod files;
pub mod secret;
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
pub mod server;
pub mod transport;
pub mod webhook;

pub mod event;
pub mod mapping;
pub mod model;
pub mod plan;
pub mod printable;
pub mod signature;
pub mod upstream;

pub mod sandbox;
