//! `teamlink apply`: carries out a saved plan.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use tokio::sync::Notify;

use super::output::{self, Hinted};
use super::print::out;
use crate::{
    app::{self, upstreams},
    datadog,
    operate::{
        apply::{self, Stale},
        plan::Origin,
    },
    settings::Loaded,
};

/// Arguments of `teamlink apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink plan --out today.json
  teamlink apply today.json

Carries out exactly the steps of the plan, and nothing at all when one of them is neither planned any more nor done.
Steps that other teams need meanwhile do not matter. What the plan holds is approved by applying it; never without
proof.
Exit codes: 0 done; 2 some steps are still to be done; 1 refused, or failed.")]
pub struct Args {
    /// The plan, as `teamlink plan --out` saved it
    file: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When the plan cannot be read, is stale, or something cannot be looked at.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let settings = loaded.settings;
    let saved = apply::read(&args.file)?;
    let reader = datadog::Reader::new(&upstreams::datadog(&settings)?)?;
    let ledger = app::ledger(&settings).await?;
    let survey = app::survey(&settings, ledger.clone())?;
    let worker = app::worker(&settings, ledger.clone(), "command", Arc::new(Notify::new()))?;
    apply::check_origin(&saved, &Origin::read(&settings, &reader).await?)?;
    let spinner = output::spinner("comparing the plan with what is planned now");
    let now = ledger.clock().now();
    let applied = apply::apply(&saved, &survey, &worker, &ledger, now).await;
    spinner.finish_and_clear();
    let applied = applied.map_err(|error| match error.downcast::<Stale>() {
        Ok(stale) => Hinted {
            error: stale.to_string(),
            hint: format!("nothing was done; look again: teamlink plan --out {}", args.file.display()),
        }
        .into(),
        Err(error) => error,
    })?;
    for org in &applied {
        let done = org.steps - org.left.len().min(org.steps);
        let before = if org.before > 0 { format!(", {} of them before", org.before) } else { String::new() };
        out!("{}: {} of {} steps done{}", org.org.login, done, org.steps, before);
        org.left.iter().for_each(|step| out!("  still to be done: {}", step));
    }
    Ok(ExitCode::from(if applied.iter().all(|org| org.left.is_empty()) { 0 } else { 2 }))
}
