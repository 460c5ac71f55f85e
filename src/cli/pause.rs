//! `teamlink pause` and `teamlink resume`: writes for a team, an organisation, a document, or everything.

use std::process::ExitCode;

use super::names;
use super::print::out;
use crate::{
    app,
    ledger::Ledger,
    model::{Pause, PauseScope},
    settings::Loaded,
};

/// Arguments of `teamlink pause` and `teamlink resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink pause acme/platform --reason \"re-organisation, CHANGE-1234\"
  teamlink pause integration:github
  teamlink pause all
  teamlink resume acme

While paused, events are taken and GitHub is read as ever, but nothing is written to Datadog, and no approval
lifts that. A look that is under way is finished. A pause survives restarts. `resume` ends the pause of what is
named and every pause within it, and has it looked at.
Exit codes: 0 done, or it was so already; 2 resumed, but still under a wider pause; 1 failed.")]
pub struct Args {
    /// A team, an organisation, the document of an integration, or everything
    #[arg(value_name = "ORG[/TEAM]|integration:ID|all")]
    what: String,
    /// Why; kept in the audit trail
    #[arg(long, default_value = "")]
    reason: String,
}

/// Runs `teamlink pause`.
///
/// # Errors
/// When the ledger knows no such organisation or team, or fails.
pub async fn pause(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let ledger = app::ledger(&loaded.settings).await?;
    let scope = names::scope(&ledger, &args.what).await?;
    if ledger.pause(scope, &args.reason, ledger.clock().now()).await? {
        out!("{} is paused; `teamlink resume {}` ends it", args.what, args.what);
    } else {
        out!("{} is paused already", args.what);
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `teamlink resume`.
///
/// # Errors
/// As for [`pause`].
pub async fn resume(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let ledger = app::ledger(&loaded.settings).await?;
    let scope = names::scope(&ledger, &args.what).await?;
    let ended = ledger.resume(scope, &args.reason, ledger.clock().now()).await?;
    for pause in &ended {
        out!("ended: {}", said(&ledger, pause).await?);
    }
    let wider = ledger.pauses().await?.into_iter().find(|pause| match scope {
        PauseScope::All => false,
        PauseScope::Org(_) | PauseScope::Document(_) => pause.scope == PauseScope::All,
        PauseScope::Team(key) => [PauseScope::All, PauseScope::Org(key.org)].contains(&pause.scope),
    });
    if let Some(wider) = wider {
        out!("{} stays under the {}", args.what, said(&ledger, &wider).await?);
        return Ok(ExitCode::from(2));
    }
    if ended.is_empty() {
        out!("{} is not paused", args.what);
    } else {
        out!("{} is resumed; a running daemon looks at it within seconds, or run `teamlink sync`", args.what);
    }
    Ok(ExitCode::SUCCESS)
}

/// A pause in words, with what its scope is called.
pub(super) async fn said(ledger: &Ledger, pause: &Pause) -> sqlx::Result<String> {
    let name = ledger.name_of_pause(pause).await?;
    let reason = if pause.reason.is_empty() { String::new() } else { format!(" ({})", pause.reason) };
    Ok(format!("pause of {name} since {}{reason}", pause.since))
}
