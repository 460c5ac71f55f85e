//! `teamlink audit`: what was done, and what led to it.

use std::{process::ExitCode, time::Duration};

use super::output::bold;
use super::print::out;
use super::{
    names,
    output::{self, Format},
};
use crate::{app, ledger::AuditLine, model::Time, settings::Loaded};

/// Arguments of `teamlink audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink audit                                   everything that is kept
  teamlink audit --team acme/platform --since 30d
  teamlink audit --since 1h --format json

Newest last. Each step has who asked for the look (an event, a pass, a person), why it was taken, what proves
that it may be taken, and how it ended; under it the deliveries of that team which the look answered, while they
are kept (ledger.keep_deliveries). The trail itself is kept for ledger.keep_audit.")]
pub struct Args {
    /// Only this team: by its slug, a former one, or its id
    #[arg(long, value_name = "ORG/TEAM")]
    team: Option<String>,
    /// How far back; everything that is kept without it
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// The form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// When the ledger does not know the team, or cannot be read.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let ledger = app::ledger(&loaded.settings).await?;
    let team = match &args.team {
        Some(name) => Some(names::team(&ledger, name).await?),
        None => None,
    };
    let since = args.since.map_or(Time(0), |since| ledger.clock().now() - since);
    let lines = ledger.audit(team, since).await?;
    match args.format {
        Format::Json => output::print_json(&lines)?,
        Format::Text if lines.is_empty() => out!("nothing was done"),
        Format::Text => lines.iter().for_each(show),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(line: &AuditLine) {
    let AuditLine { at, github, action, connected_team, datadog_team, cause, outcome, .. } = line;
    let key = match (connected_team.as_str(), datadog_team.as_str()) {
        ("", "") => String::new(),
        ("", datadog_team) => format!(" {datadog_team}"),
        (github, datadog_team) => format!(" {github} = {datadog_team}"),
    };
    out!("{}  {}  {}{}: {} ({})", at, bold(github), action, key, outcome, cause);
    let reason = Some(&line.reason).filter(|reason| !reason.is_empty());
    let more = [("why", reason), ("proof", line.proof.as_ref()), ("detail", line.detail.as_ref())];
    for (name, text) in more.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        out!("    {:<10} {}", name, text);
    }
    if !line.deliveries.is_empty() {
        out!("    {:<10} {}", "deliveries", line.deliveries.join(" "));
    }
}
