//! `teamlink demo`: sandbox, worker and a day in the life of an organisation, watched.
//!
//! The daemon is the one that `teamlink run` starts, over HTTP and with its own ledger; nothing of it is mocked or
//! told to wait for the demo. What is expected after each step is written down in the story by hand, and judged by
//! what the sandbox's Datadog holds and what both upstreams were asked.

mod day;
mod judge;
mod post;
mod report;
mod stage;
mod story;

use std::{process::ExitCode, time::Instant};

use anyhow::Context as _;

use self::{
    day::{Day, NotAsExpected},
    stage::Stage,
};
use crate::{settings::Loaded, shutdown, telemetry};

/// What a shell calls an end by ctrl-c.
const INTERRUPTED: u8 = 130;

/// Arguments of `teamlink demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink demo                  half a minute; needs no account, no settings and no network
  teamlink demo --seed 7         the webhooks of the afternoon in another order
  teamlink demo -v 2> demo.log   with the log of the worker beside it

Exit codes: 0 all went as expected; 1 something did not; 130 ended by ctrl-c.")]
pub struct Args {
    /// What the sandbox's ids, the order of its lists and of shuffled webhooks follow from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Runs the command.
///
/// # Errors
/// When something of the demo itself fails, such as a port that cannot be opened.
pub async fn run(args: Args, _: Loaded) -> anyhow::Result<ExitCode> {
    let signals = shutdown::signals()?;
    let started = Instant::now();
    report::opening(story::TEAMS.len());
    let metrics = telemetry::install_metrics()?;
    let stage =
        Stage::build(metrics, args.seed, &story::TEAMS, &story::REPOSITORIES, &story::OTHER_HANDLES).await;
    let mut day = Day::new(stage.context("failed to set the demo up")?);
    let played = tokio::select! {
        played = story::play(&mut day) => Some(played),
        () = signals.stop.cancelled() => None,
    };
    let Day { stage, rows, spinner, .. } = day;
    spinner.finish_and_clear();
    stage.end().await?;
    match played {
        None => Ok(ExitCode::from(INTERRUPTED)),
        Some(Err(error)) if !error.is::<NotAsExpected>() => Err(error),
        Some(judged) => {
            report::closing(&rows, started.elapsed());
            Ok(if judged.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
