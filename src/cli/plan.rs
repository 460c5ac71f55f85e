//! `teamlink plan`: what a pass would do; writes nothing.

use std::process::ExitCode;

use crate::settings::Loaded;

/// Arguments of `teamlink plan`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    drop((args, loaded));
    anyhow::bail!("not built yet")
}
