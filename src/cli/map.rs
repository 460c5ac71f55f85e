//! `teamlink map`: which mapping rule a GitHub team meets, and what it gives.

use std::process::ExitCode;

use crate::settings::Loaded;

/// Arguments of `teamlink map`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    drop((args, loaded));
    anyhow::bail!("not built yet")
}
