//! `teamlink adopt`: takes connections over from whoever made them.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use tokio::sync::Notify;

use super::output::bold;
use super::print::{err, out};
use super::{
    names,
    output::{self, Format},
};
use crate::{
    app,
    operate::adopt::{self, Ended, Line, Step},
    reconcile::Asked,
    settings::Loaded,
};

/// Arguments of `teamlink adopt`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink adopt --managed-by terraform           what would be done; writes nothing
  teamlink adopt --managed-by terraform --yes     … and does it
  teamlink adopt --team acme/payments --yes
  teamlink adopt --managed-by teamlink            after a lost ledger: only rows are written

A connection cannot be changed. One with another mark is deleted and made again, one at a time, each noted first: what
is interrupted, the daemon, `sync` or this command finishes. Take a connection out of what made it (Terraform's state,
Datadog's own sync) first, or that will make it again or miss it.
Exit codes: 0 done, or nothing to do; 2 something to do, without --yes; 1 could not look, or failed.")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Do it
    #[arg(long)]
    yes: bool,
    /// The form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Those that carry this mark
    #[arg(long, value_name = "MARK")]
    managed_by: Option<String>,
    /// Those of this organisation's teams
    #[arg(long, value_name = "LOGIN")]
    org: Option<String>,
    /// Those of this team
    #[arg(long, value_name = "ORG/TEAM")]
    team: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When Datadog or an organisation cannot be read, or the ledger fails.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let settings = loaded.settings;
    let (asked, typed) = match args.which {
        Which { managed_by: Some(mark), .. } => {
            let typed = format!("--managed-by {mark}");
            (Asked::ManagedBy(mark), typed)
        }
        Which { org: Some(org), .. } => {
            let typed = format!("--org {org}");
            (Asked::Org(org), typed)
        }
        Which { team, .. } => {
            let team = team.context("name what to adopt")?;
            let (org, slug) = names::org_and_team(&team)?;
            (Asked::Team(org.to_owned(), slug.to_owned()), format!("--team {org}/{slug}"))
        }
    };
    let ledger = app::ledger(&settings).await?;
    let survey = app::survey(&settings, ledger.clone())?;
    let spinner = output::spinner("looking at GitHub and Datadog");
    let candidates = adopt::candidates(&survey, &ledger, &settings.github.orgs, &asked).await?;
    spinner.finish_and_clear();
    let mut lines: Vec<Line> = candidates.iter().map(Line::from).collect();
    let text = args.format == Format::Text;
    if text {
        show(&lines);
    }
    let to_do = lines.iter().filter(|line| line.step != Step::Leave).count();
    if args.yes && to_do > 0 {
        let worker = app::worker(&settings, ledger, "command", Arc::new(Notify::new()))?;
        lines = adopt::adopt(&worker, &candidates, |line| {
            if text {
                tell(line)
            }
        })
        .await?;
    }
    let ended = |how| lines.iter().filter(|line| line.outcome == Some(how)).count();
    let (done, left, failed) = (ended(Ended::Done), ended(Ended::Left), ended(Ended::Failed));
    if !text {
        output::print_json(&lines)?;
    } else if args.yes && to_do > 0 {
        out!("{} of {} taken over, {} left alone, {} failed", done, to_do, left, failed);
    } else if to_do > 0 {
        out!("nothing was written; to take them over:");
        out!("  {}", bold(format!("teamlink adopt {typed} --yes")));
    }
    if failed > 0 {
        err!("what is interrupted is finished by a running daemon, `teamlink sync` or this command");
    }
    Ok(ExitCode::from(match (failed, to_do) {
        (1.., _) => 1,
        (0, 1..) if !args.yes => 2,
        (0, _) => 0,
    }))
}

/// Says how one ended.
fn tell(line: &Line) {
    let Line { key, because, outcome, .. } = line;
    let because = because.as_ref().map_or_else(String::new, |because| format!(": {because}"));
    let word = match *outcome {
        Some(Ended::Done) => "taken over",
        Some(Ended::Left) => "left alone",
        Some(Ended::Failed) | None => "failed",
    };
    out!("{}: {} = {}{}", word, key.github, datadog_team(line), because);
}

/// The Datadog team: its handle when that is known, else its id.
fn datadog_team(line: &Line) -> String {
    line.handle.clone().unwrap_or_else(|| line.key.datadog_team.to_string())
}

fn show(lines: &[Line]) {
    if lines.is_empty() {
        out!("no connection matches");
        return;
    }
    let rows = lines.iter().map(|line| {
        let Line { id: _, key, handle: _, managed_by, step, because, wanted, outcome: _ } = line;
        let (sign, what) = match (*step, because) {
            (Step::Record, _) => ("=", "a row in the ledger; nothing is written to Datadog"),
            (Step::Recreate, _) => ("~", "deleted and made again"),
            (Step::Finish, _) => ("+", "deleted already, by an adoption that was interrupted; made again"),
            (Step::Leave, because) => ("·", because.as_deref().unwrap_or_default()),
        };
        let hint =
            if sign == "·" || *wanted { "" } else { "; no rule wants it: the next pass holds its removal" };
        vec![
            sign.to_owned(),
            key.github.trim_start_matches('@').to_owned(),
            datadog_team(line),
            managed_by.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{what}{hint}"),
        ]
    });
    let header = ["", "GITHUB TEAM", "DATADOG TEAM", "MANAGED BY", "WHAT HAPPENS"];
    out!("{}", output::table(&header, rows));
    let count = |steps: &[Step]| lines.iter().filter(|line| steps.contains(&line.step)).count();
    out!(
        "\nadopt: {} to delete and make again, {} for the ledger alone, {} left alone",
        count(&[Step::Recreate, Step::Finish]),
        count(&[Step::Record]),
        count(&[Step::Leave])
    );
}
