//! `teamlink check`: settings, credentials, permissions, topology; each failure with its remedy.

use std::process::ExitCode;

use crate::settings::Loaded;

/// Arguments of `teamlink check`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    drop((args, loaded));
    anyhow::bail!("not built yet")
}
