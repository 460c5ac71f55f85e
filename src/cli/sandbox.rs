//! `teamlink sandbox`: a stateful GitHub and Datadog on one local port.

use std::process::ExitCode;

use crate::settings::Loaded;

/// Arguments of `teamlink sandbox`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    drop((args, loaded));
    anyhow::bail!("not built yet")
}
