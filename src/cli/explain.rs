//! `teamlink explain`: why a team is as it is. Holds nothing that could write to Datadog.

use std::process::ExitCode;

use super::output::bold;
use super::print::out;
use super::{
    names,
    output::{self, Format},
};
use crate::{
    app::{self, upstreams},
    datadog, github,
    model::{TeamState, Time},
    operate::explain::{Explanation, Seen, Sources, explain},
    settings::Loaded,
};

/// Arguments of `teamlink explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink explain acme/platform
  teamlink explain acme/4217 --format json

The team may be named by its slug, by one that it was connected under before, or by its id. GitHub and Datadog
are read now; nothing is written but the hash of what is held of this team, so that it can be approved alone.
Exit codes: 0 explained; 1 no such team, or the ledger failed.")]
pub struct Args {
    /// The GitHub team
    #[arg(value_name = "ORG/TEAM")]
    team: String,
    /// The form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// When neither the ledger nor GitHub knows the team, or the ledger fails.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let settings = loaded.settings;
    let (login, slug) = names::org_and_team(&args.team)?;
    let ledger = app::ledger(&settings).await?;
    let sources = Sources {
        ledger: &ledger,
        survey: &app::survey(&settings, ledger.clone())?,
        github: &github::Reader::new(upstreams::github(&settings)?)?,
        datadog: &datadog::Reader::new(&upstreams::datadog(&settings)?)?,
        rules: &settings.mapping,
    };
    let spinner = output::spinner("looking at GitHub and Datadog");
    let explanation = explain(&sources, login, slug).await?;
    spinner.finish_and_clear();
    match args.format {
        Format::Json => output::print_json(&explanation)?,
        Format::Text => show(&explanation),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(it: &Explanation) {
    out!("{} (team {} of org {})", bold(&it.team), it.id, it.org.id);
    let rule = match (it.rule.number, &it.rule.pattern, &it.rule.gives) {
        (Some(number), Some(pattern), Some(gives)) => format!("{number}: {pattern} → {gives}"),
        _ => "none matches".to_owned(),
    };
    let gives = it.rule.datadog_teams.join(", ");
    line("rule", &if gives.is_empty() { rule } else { format!("{rule}, here: {gives}") });
    line(
        "GitHub",
        &match (&it.github.now, &it.github.error) {
            (_, Some(error)) => format!("not read at {}: {error}", it.github.read_at),
            (Some(now), None) => format!("{}, read at {}", seen(now), it.github.read_at),
            (None, None) => format!("not there, read at {}", it.github.read_at),
        },
    );
    line(
        "mirror",
        &match &it.github.mirror {
            Some(mirror) => format!("{}, last seen at {}", seen(mirror), mirror.seen_at),
            None => "never seen".to_owned(),
        },
    );
    let datadog = match &it.datadog.error {
        Some(error) => format!("not read at {}: {error}", it.datadog.read_at),
        None => format!("connections: {}, read at {}", it.datadog.connections.len(), it.datadog.read_at),
    };
    line("Datadog", &datadog);
    let connections = it.datadog.connections.iter().map(|connection| {
        let team = connection.handle.clone().unwrap_or_else(|| connection.datadog_team.to_string());
        let by = connection.managed_by.as_deref().unwrap_or("nobody");
        let owner = format!("{}, managed by {by}", connection.owner.as_str());
        vec![connection.github.clone(), format!("= {team}"), owner, connection.id.to_string()]
    });
    list(connections.collect());
    line("events", if it.story.events.is_empty() { "none" } else { "the last ones" });
    let events = it.story.events.iter().map(|event| {
        let times = if event.times > 1 { format!("{} times", event.times) } else { String::new() };
        vec![event.received_at.to_string(), event.event.clone(), event.guid.clone(), times]
    });
    list(events.collect());
    let time = |at: Option<Time>| at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    match &it.story.looks {
        None => line("looks", "none yet"),
        Some(looks) => {
            let success = time(looks.last_success_at);
            line("looks", &format!("last attempt {}, last success {success}", time(looks.last_attempt_at)));
            line("error", looks.last_error.as_deref().unwrap_or("none"));
            let next = looks.next_at.map(|at| at.to_string());
            line("next", next.as_deref().unwrap_or("with the next event or full pass"));
        }
    }
    line("blocked", if it.blocks.is_empty() { "by nothing" } else { "by" });
    for block in &it.blocks {
        out!("    {}: {}", block.kind, block.what);
        if let Some(remedy) = &block.remedy {
            out!("      → {}", remedy);
        }
    }
    line("now", if it.now.is_empty() { "a look would do nothing" } else { "a look would find and do" });
    for step in &it.now {
        out!("    {}", step);
    }
}

fn line(name: &str, text: &str) {
    out!("  {:<8} {}", name, text);
}

fn list(rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    for line in output::table(&["", "", "", ""], rows).lines().skip(1) {
        out!("    {}", line.trim_end());
    }
}

fn seen(team: &Seen) -> String {
    let state = match team.state {
        TeamState::Present => "present".to_owned(),
        TeamState::Suspected { since, .. } => format!("suspected gone since {since}"),
        TeamState::Gone { proven, .. } => format!("gone, proven at {proven}"),
    };
    format!("{state} as {} ({})", team.slug, team.name)
}
