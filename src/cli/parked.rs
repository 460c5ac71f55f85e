//! `teamlink parked`: what was given up on until a person acts.

use std::process::ExitCode;

use crate::settings::Loaded;

/// Arguments of `teamlink parked`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    drop((args, loaded));
    anyhow::bail!("not built yet")
}
