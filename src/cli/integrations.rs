//! `teamlink integrations`: the documents of Datadog's entity integrations by hand.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, bail};
use clap::Subcommand;

use super::output::{self, Hinted};
use super::print::{self, Block, Painted, err, out};
use crate::{
    app::{self, upstreams},
    datadog,
    model::{Configuration, Integration},
    operate::integrations,
    plan::Read,
    reconcile::DocumentPlan,
    settings::{Loaded, Settings},
};

/// Arguments of `teamlink integrations`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink integrations get github > github.json
  teamlink integrations diff github                       what teamlink would change
  teamlink integrations diff github --file github.json    what the file would change
  teamlink integrations put github --file github.json

Exit codes of diff: 0 no difference; 2 differences; 1 could not look.")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print a document as JSON, an entry a line
    Get(Get),
    /// Show what would change: from what Datadog has to what the settings want, or to a file
    Diff(Diff),
    /// Replace a whole document by a file, after a look at the difference
    Put(Put),
}

#[derive(Debug, clap::Args)]
struct Get {
    /// github, jira or pagerduty
    id: String,
}

#[derive(Debug, clap::Args)]
struct Diff {
    /// github, jira or pagerduty
    id: String,
    /// Compare with this document (JSON) instead of what the settings want
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Put {
    /// github, jira or pagerduty
    id: String,
    /// The document (JSON), as `get` prints it
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
///
/// # Errors
/// What Datadog or GitHub answered, or what is wrong with the file or the settings.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let settings = loaded.settings;
    integrations::needs_keys(&settings)?;
    match args.verb {
        Verb::Get(args) => get(&args.id, &settings).await,
        Verb::Diff(args) => diff(args, &settings).await,
        Verb::Put(args) => put(args, &settings).await,
    }
}

async fn get(id: &str, settings: &Settings) -> anyhow::Result<ExitCode> {
    let reader = datadog::Reader::new(&upstreams::datadog(settings)?)?;
    let document = integrations::read(&reader, id).await?.ok_or_else(|| Hinted {
        error: format!("Datadog has no document of {id} yet"),
        hint: format!("`teamlink integrations put {id} --file FILE` makes one"),
    })?;
    print::raw(&Block::new(integrations::text(&document.config)));
    Ok(ExitCode::SUCCESS)
}

async fn diff(Diff { id, file }: Diff, settings: &Settings) -> anyhow::Result<ExitCode> {
    let diff = match (file, Integration::from_id(&id)) {
        (Some(file), _) => {
            let config = load(&id, &file)?;
            let reader = datadog::Reader::new(&upstreams::datadog(settings)?)?;
            let before = integrations::read(&reader, &id).await?;
            integrations::diff(&id, before.as_ref(), &config, &format!("in {}", file.display()))
        }
        (None, None) => {
            bail!("the settings know nothing of the integration {id}; compare with a file: --file")
        }
        (None, Some(integration)) => {
            let survey = app::survey(settings, app::ledger(settings).await?)?;
            let DocumentPlan { remote, merged, read } = survey.document(integration).await?;
            if matches!(read, Read::Suspect(_)) {
                err!(
                    "suspect: the document lacks entries that it had; teamlink writes once a later read lacks them too"
                );
            }
            for (entry, (_, reason)) in &merged.held_additions {
                err!("held: addition of {}: {}", entry, reason);
            }
            for (entry, reason) in &merged.held {
                err!("held: removal of {}: {}", entry, reason);
            }
            match merged.changed() || !merged.held_additions.is_empty() {
                true => integrations::diff(
                    &id,
                    remote.as_ref(),
                    &merged.document_once_approved(),
                    "as teamlink would PUT it",
                ),
                false => String::new(),
            }
        }
    };
    show(&diff);
    Ok(ExitCode::from(u8::from(!diff.is_empty()) * 2))
}

async fn put(Put { id, file, yes }: Put, settings: &Settings) -> anyhow::Result<ExitCode> {
    let config = load(&id, &file)?;
    let options = upstreams::datadog(settings)?;
    let reader = datadog::Reader::new(&options)?;
    let before = integrations::read(&reader, &id).await?;
    let diff = integrations::diff(&id, before.as_ref(), &config, &format!("in {}", file.display()));
    if diff.is_empty() {
        err!("Datadog has just this document; nothing was written");
        return Ok(ExitCode::SUCCESS);
    }
    show(&diff);
    output::confirm(yes, &format!("replace the document of {id} by {}", file.display()))?;
    let writer = datadog::Writer::new(&options)?;
    let lease = match Integration::from_id(&id) {
        Some(integration) => app::document_by_hand(settings, integration).await?,
        None => None,
    };
    if lease.is_none() {
        err!(
            "warning: no ledger was found to lease this document; stop the workers that write it, or they may write at the same time"
        );
    }
    let clients = (&reader, &writer);
    let written = integrations::put(clients, &id, before.as_ref(), &config, lease.as_ref()).await;
    if let Some(lease) = lease {
        lease.release().await?;
    }
    written?;
    err!("written, and read back");
    Ok(ExitCode::SUCCESS)
}

fn load(id: &str, file: &Path) -> anyhow::Result<Configuration> {
    let text = fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    integrations::parse(id, &text).with_context(|| format!("failed to take {} as a document", file.display()))
}

fn show(diff: &str) {
    for line in diff.lines() {
        let style = match line.as_bytes() {
            [b'-', b'-', ..] | [b'+', b'+', ..] => Style::new().bold(),
            [b'-', ..] => Style::new().fg_color(Some(AnsiColor::Red.into())),
            [b'+', ..] => Style::new().fg_color(Some(AnsiColor::Green.into())),
            [b'@', ..] => Style::new().fg_color(Some(AnsiColor::Cyan.into())),
            _ => Style::new(),
        };
        out!("{}", Painted(style, line));
    }
}
