//! `teamlink run`: the daemon: takes GitHub events and keeps Datadog in step.

use std::process::ExitCode;

use crate::settings::Loaded;

/// Arguments of `teamlink run`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    drop((args, loaded));
    anyhow::bail!("not built yet")
}
