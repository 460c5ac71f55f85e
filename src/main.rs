//! The life story: arguments → settings → telemetry → command → exit code.
//!
//! Exit codes: 0 well; 1 failed; 2 where a command's help gives it a meaning, and clap's own for wrong usage;
//! 78 (`EX_CONFIG`) for settings with mistakes.

use std::{collections::BTreeMap, env, process::ExitCode};

use clap::Parser;
use teamlink::{
    cli::{Cli, output},
    settings::{self, Problems, Settings},
    telemetry,
};

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await.unwrap_or_else(|error| {
        output::print_error(&error);
        ExitCode::from(if error.is::<Problems>() { 78 } else { 1 })
    })
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // Before anything opens a connection: the process has one TLS provider, whatever its libraries prefer.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        anyhow::bail!("failed to install the TLS provider: another one is installed already");
    }
    let Cli { global, command } = cli;
    let loaded = if command.stands_alone() {
        Settings::load(&[], &BTreeMap::new())?
    } else {
        Settings::load(&global.config, &variables())?
    };
    let settings::Telemetry { log, log_format, .. } = &loaded.settings.telemetry;
    let by_default = command.log().filter(|_| log == "info");
    let log = global.log().or(by_default).unwrap_or(log).to_owned();
    telemetry::install_logs(&telemetry::Options { log, format: *log_format })?;
    command.run(loaded).await
}

/// The environment. A variable that is no UTF-8 can be no setting of ours.
fn variables() -> BTreeMap<String, String> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
