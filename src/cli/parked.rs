//! `teamlink parked`: what was given up on.

use std::process::ExitCode;

use clap::Subcommand;

use super::output::{self, Format};
use crate::{app, ledger::ParkedKind, settings::Loaded};

/// Arguments of `teamlink parked`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink parked list
  teamlink parked list --format json")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what was given up on: deliveries that cannot be decoded, writes that Datadog refuses
    List {
        /// The form of the output
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// Runs the command.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let Verb::List { format } = args.verb;
    let parked = app::ledger(&loaded.settings).await?.parked().await?;
    match format {
        Format::Json => output::print_json(&parked)?,
        Format::Text if parked.is_empty() => anstream::println!("nothing is parked"),
        Format::Text => {
            let rows = parked.iter().map(|parked| {
                let kind = match parked.kind {
                    ParkedKind::Delivery => "delivery",
                    ParkedKind::Action => "action",
                };
                vec![
                    parked.id.to_string(),
                    kind.to_owned(),
                    parked.parked_at.to_string(),
                    parked.subject.clone(),
                    parked.error.clone(),
                ]
            });
            anstream::println!("{}", output::table(&["ID", "KIND", "PARKED AT", "WHAT", "WHY"], rows));
        }
    }
    Ok(ExitCode::SUCCESS)
}
