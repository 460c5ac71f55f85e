//! `teamlink map`: which mapping rule a GitHub team meets and what it gives, offline; or rules that reproduce
//! the connections that Datadog has today.

use std::process::ExitCode;

use serde_json::json;

use super::output::{Format, print_json};
use super::print::{Block, out};
use crate::{
    app::upstreams,
    datadog::{Filter, Reader},
    mapping::{Existing, Outcome, Resolution, Rules, from_existing},
    settings::Loaded,
    transport::retry,
};

const EXAMPLES: &str = "\
Examples:
  teamlink map acme/platform-eu                 which rule, which Datadog teams; asks nobody
  teamlink map --from-existing > mapping.toml   rules under which nothing changes today
  teamlink plan --config mapping.toml           … and the proof";

/// Arguments of `teamlink map`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The GitHub team
    #[arg(value_name = "ORG/TEAM", required_unless_present = "from_existing")]
    team: Option<String>,
    /// Print the rules that reproduce the connections that Datadog has today
    #[arg(long, conflicts_with = "team")]
    from_existing: bool,
    /// The form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// When the team is not written `ORG/TEAM`; with `--from-existing`, what Datadog answered.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    match args.team {
        Some(team) => show(&loaded.settings.mapping, &team, args.format)?,
        None => existing(&loaded, args.format).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(rules: &Rules, team: &str, format: Format) -> anyhow::Result<()> {
    let (org, slug) = super::names::org_and_team(team)?;
    let Resolution { rule, outcome } = rules.resolve(&[org], slug);
    let spec = rule.and_then(|index| rules.spec(index));
    match format {
        Format::Json => {
            let number = rule.map(|index| index + 1);
            print_json(
                &json!({"github": team, "rule_number": number, "rule": spec, "gives": gives(&outcome)}),
            )
        }
        Format::Text => {
            match (rule, spec) {
                (Some(index), Some(spec)) => out!(
                    "{} meets rule {} of {}: {} → {}",
                    team,
                    index + 1,
                    rules.specs().count(),
                    spec.github,
                    spec.gives()
                ),
                _ => out!("{} meets none of the {} rules", team, rules.specs().count()),
            }
            for line in lines(&outcome) {
                out!("  {}", line);
            }
            Ok(())
        }
    }
}

fn gives(outcome: &Outcome) -> serde_json::Value {
    match outcome {
        Outcome::Handles { handles, impossible } => json!({"handles": handles, "impossible": impossible}),
        Outcome::TeamIds(ids) => json!({"team_ids": ids}),
        Outcome::Ignored => json!({"ignored": true}),
        Outcome::Unmapped => json!({}),
    }
}

fn lines(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Handles { handles, impossible } => {
            let handles = handles.iter().map(|handle| format!("Datadog team with the handle `{handle}`"));
            let impossible = impossible.iter().map(|bad| {
                format!(
                    "no Datadog team can have the handle `{}`: {}; name another in a rule",
                    bad.handle, bad.why
                )
            });
            handles.chain(impossible).collect()
        }
        Outcome::TeamIds(ids) => ids.iter().map(|id| format!("Datadog team {id}")).collect(),
        Outcome::Ignored => vec!["left alone".to_owned()],
        Outcome::Unmapped => vec!["linked to nothing; add a rule".to_owned()],
    }
}

async fn existing(loaded: &Loaded, format: Format) -> anyhow::Result<()> {
    let reader = Reader::new(&upstreams::datadog(&loaded.settings)?)?;
    let all = Filter::default();
    let connections = retry(|| reader.connections(&all)).await?;
    let teams = retry(|| reader.teams()).await?;
    let Existing { rules, left_out } = from_existing(&connections, &teams);
    match format {
        Format::Json => print_json(&json!({"mapping": rules, "left_out": left_out})),
        Format::Text => {
            out!(
                "# Rules that reproduce the {} connections that Datadog has today; the first that matches decides.",
                connections.len() - left_out.len()
            );
            for connection in &left_out {
                let github = connection.github.as_deref().unwrap_or("nothing");
                out!("# Left out: connection {}, which names {}", connection.id, github);
            }
            for rule in &rules {
                out!("\n{}", Block::new(rule.to_string().trim_end()));
            }
            Ok(())
        }
    }
}
