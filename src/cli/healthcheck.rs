//! `teamlink healthcheck`: asks the local daemon whether its loops turn; for containers.

use std::process::ExitCode;

use crate::settings::Loaded;

/// Arguments of `teamlink healthcheck`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    drop((args, loaded));
    anyhow::bail!("not built yet")
}
