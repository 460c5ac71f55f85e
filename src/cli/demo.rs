//! `teamlink demo`: sandbox, worker and a day in the life of an organisation, watched.

use std::process::ExitCode;

use crate::settings::Loaded;

/// Arguments of `teamlink demo`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    drop((args, loaded));
    anyhow::bail!("not built yet")
}
