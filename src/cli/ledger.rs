//! `teamlink ledger`: what concerns the ledger as a whole.

use std::process::ExitCode;

use clap::Subcommand;

use super::output;
use super::print::out;
use crate::{
    app::{self, upstreams},
    datadog,
    model::DatadogOrg,
    operate::rebind::{self, Rebinding},
    settings::{Loaded, Settings},
};

/// Arguments of `teamlink ledger`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink ledger rebind --reason \"moved to the EU organisation, CHANGE-1234\"

A ledger belongs to one Datadog organisation. With keys of another one, teamlink writes nothing. `rebind` binds the ledger
to the organisation of the current keys. It keeps the rows of the old organisation's connections, and rebinding back
restores them. It discards holds, approvals and the state of documents. Stop all workers first.
Exit codes: 0 done, or it belongs there already; 1 failed, or not confirmed.")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bind the ledger to the Datadog organisation of the current keys
    Rebind(Rebind),
}

#[derive(Debug, clap::Args)]
struct Rebind {
    /// Why; kept in the audit trail
    #[arg(long)]
    reason: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
///
/// # Errors
/// When Datadog does not answer, a worker is running, or the ledger fails.
pub(super) async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Rebind(args) => rebind(args, &loaded.settings).await,
    }
}

async fn rebind(Rebind { reason, yes }: Rebind, settings: &Settings) -> anyhow::Result<ExitCode> {
    let ledger = app::ledger(settings).await?;
    let reader = datadog::Reader::new(&upstreams::datadog(settings)?)?;
    let rebinding = rebind::look(&ledger, &reader).await?;
    let Rebinding { from, to, leaves, restores } = &rebinding;
    if from.is_some() && from.as_ref().map(|from| &from.id) == to.as_ref().map(|to| &to.id) {
        out!("the ledger belongs to {} already", called(from.as_ref()));
        return Ok(ExitCode::SUCCESS);
    }
    let restored = restores.as_ref().map_or(0, |(_, teams)| *teams);
    out!("from  {}, with {} connected Datadog teams", called(from.as_ref()), leaves);
    out!("to    {}, with {} to restore", called(to.as_ref()), restored);
    output::confirm(yes, "bind the ledger to that organisation")?;
    let rebound = rebind::rebind(&ledger, &rebinding, &reason, ledger.clock().now()).await?;
    out!(
        "done: kept {} connections of the old organisation, restored {}; run `teamlink sync` next",
        rebound.kept,
        rebound.restored
    );
    Ok(ExitCode::SUCCESS)
}

/// How an organisation is called in print.
fn called(org: Option<&DatadogOrg>) -> String {
    org.map_or_else(|| "an organisation that Datadog does not name".to_owned(), DatadogOrg::to_string)
}
