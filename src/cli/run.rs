//! `teamlink run`: the daemon.

use std::process::ExitCode;

use anyhow::bail;

use crate::{
    app::{Daemon, Role},
    settings::{Loaded, Plaintext},
    shutdown, telemetry,
};

/// Arguments of `teamlink run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink run --config teamlink.toml            one process: webhook, worker and ledger
  teamlink run --role webhook                    behind GitHub, publishing to RabbitMQ
  teamlink run --role worker                     consuming RabbitMQ

Ends at SIGTERM or SIGINT: exit 0 when all work in hand was finished within server.shutdown_grace, else 1.")]
pub struct Args {
    /// What this process does
    #[arg(long, value_enum, default_value_t)]
    role: Role,
}

/// Runs the command.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let settings = loaded.settings;
    for Plaintext { key, host, .. } in &settings.network.plaintext {
        telemetry::work::plaintext(key, host);
    }
    let metrics = telemetry::install_metrics()?;
    let signals = shutdown::signals()?;
    let mut daemon = Daemon::start(&settings, args.role, metrics).await?;
    tokio::select! {
        () = signals.stop.cancelled() => {}
        error = daemon.failed() => return Err(error.context("the daemon stopped because a part of it ended")),
    }
    tokio::select! {
        late = daemon.stop() => {
            if late.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            bail!("{} did not finish within server.shutdown_grace", late.join(", "))
        }
        () = signals.abandon.cancelled() => bail!("told twice to stop: left without finishing what was in hand"),
    }
}
