//! `teamlink approve`: lets held actions go.

use std::{process::ExitCode, time::Duration};

use super::output::Hinted;
use super::output::bold;
use super::print::out;
use crate::{app, settings::Loaded};

/// Arguments of `teamlink approve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink approve 3f2a91c07b55 --reason \"team clean-up, CHANGE-1234\"
  teamlink approve 3f2a91c07b55 --reason \"clean-up\" --expires 10m

Approves exactly the actions of the set that was shown with this hash, each once and only while it is still
wanted. It lifts the guard's limits; never the proof that a team is gone, and never protection.
Exit codes: 0 approved; 1 no set was shown with this hash, or it was approved already.")]
pub struct Args {
    /// The hash, as `plan`, `sync` or the daemon's log printed it
    hash: String,
    /// Why; kept in the audit trail
    #[arg(long)]
    reason: String,
    /// How long the approval holds
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    expires: Duration,
}

/// Runs the command.
///
/// # Errors
/// When no set is known under the hash, or the ledger fails.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let ledger = app::ledger(&loaded.settings).await?;
    let now = ledger.clock().now();
    let Some(approved) = ledger.approve(&args.hash, &args.reason, args.expires, now).await? else {
        return Err(Hinted {
            error: format!("no held set was shown with the hash {}, or it was approved already", args.hash),
            hint: "`teamlink plan` shows what is held now, with its hash".to_owned(),
        }
        .into());
    };
    for held in &approved {
        out!("approved: {} {}", held.kind.as_str(), held.subject);
    }
    out!(
        "{} actions approved until {}; a running daemon carries them out within seconds, or run `teamlink sync`",
        approved.len(),
        now + args.expires
    );
    Ok(ExitCode::SUCCESS)
}

/// Says on stdout what to type to let a held set go.
pub(super) fn invite(count: usize, hash: &str) {
    out!("{} held; to let them go:", count);
    out!("  {}", bold(format!("teamlink approve {hash} --reason \"…\"")));
}
