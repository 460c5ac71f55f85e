//! `teamlink sync`: one full pass, then exit.

use std::{process::ExitCode, sync::Arc};

use tokio::sync::Notify;

use super::output::{self, Format};
use crate::{
    app,
    ledger::{OrgProgress, OrgRow},
    model::{Cause, Integration, OrgFacts, Target},
    settings::Loaded,
};

/// Arguments of `teamlink sync`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink sync                      every organisation of github.orgs, or every one that is known
  teamlink sync --org acme           one organisation

Works beside a running daemon. Tries for up to 30 s what fails.
Exit codes: 0 in sync; 2 something is held, waiting, paused, parked or was read only in part; 1 failed.")]
pub struct Args {
    /// Only this organisation; may be given several times
    #[arg(long, value_name = "LOGIN")]
    org: Vec<String>,
    /// The form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// When an organisation cannot be looked up, or the ledger fails.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let settings = loaded.settings;
    let ledger = app::ledger(&settings).await?;
    let worker = app::worker(&settings, ledger.clone(), "command", Arc::new(Notify::new()))?;
    let logins = if args.org.is_empty() { settings.github.orgs.clone() } else { args.org };
    let orgs = worker.begin_pass(&logins, Cause::Person).await?;
    let spinner = output::spinner("looking at GitHub and Datadog");
    let progress = worker.work_off(&orgs).await?;
    spinner.finish_and_clear();
    let documents = Integration::ALL.into_iter().map(|integration| {
        let name = Target::Document(integration).to_string();
        let facts = OrgFacts { id: integration.scope(), login: name.clone() };
        OrgRow { facts, bound_login: name, passed: true }
    });
    let rows: Vec<(OrgRow, OrgProgress)> = ledger
        .orgs()
        .await?
        .into_iter()
        .chain(documents)
        .filter_map(|org| {
            let progress = progress.get(&org.facts.id)?.clone();
            Some((org, progress))
        })
        .collect();
    show(&rows, args.format)?;
    let taken = worker.taken_logins(&logins).await?;
    for taken in taken.iter().filter(|_| args.format == Format::Text) {
        anstream::println!("\n{taken}; write {} in github.orgs", taken.bound_to.login);
    }
    for (org, progress) in &rows {
        if let Some(error) = &progress.unread
            && args.format == Format::Text
        {
            anstream::println!("\n{}: nothing was removed, because {error}", org.facts.login);
        }
        if progress.suspected > 0 && args.format == Format::Text {
            for (slug, why) in worker.stuck(org.facts.id).await? {
                anstream::println!("held: {}/{slug}: {why}", org.facts.login);
            }
        }
        if progress.paused > 0 && args.format == Format::Text {
            for pause in ledger.paused(org.facts.id).await?.all() {
                anstream::println!("paused: {}", super::pause::said(&ledger, pause).await?);
            }
        }
        if progress.held > 0
            && let Some(set) = ledger.held_set(org.facts.id, ledger.clock().now()).await?
            && args.format == Format::Text
        {
            anstream::println!();
            for held in &set.items {
                anstream::println!("held: {} {}: {}", held.key.kind.as_str(), held.key.key, held.reason);
            }
            super::approve::invite(set.items.len(), &set.hash);
        }
    }
    // What may pass by itself and did not is a failure; what waits for somebody is not.
    let failed = rows.iter().any(|(_, org)| org.passing > 0);
    let open = !taken.is_empty() || rows.iter().any(|(_, org)| !settled(org));
    Ok(ExitCode::from(if failed || rows.is_empty() { 1 } else { u8::from(open) * 2 }))
}

/// Whether nothing of an organisation waits for anything.
fn settled(org: &OrgProgress) -> bool {
    org.failing == 0 && org.suspected == 0 && org.held == 0 && org.parked == 0 && org.paused == 0
}

fn show(rows: &[(OrgRow, OrgProgress)], format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => {
            let rows: Vec<_> = rows
                .iter()
                .map(|(org, progress)| serde_json::json!({"org": org.facts, "progress": progress}))
                .collect();
            output::print_json(&rows)
        }
        Format::Text => {
            let rows = rows.iter().map(|(org, progress)| {
                let OrgProgress {
                    due: _,
                    unanswered: _,
                    failing,
                    passing: _,
                    orphans,
                    unread,
                    suspected,
                    held,
                    parked,
                    paused,
                    waiting,
                    owned,
                } = progress;
                let state = match (unread, settled(progress)) {
                    (Some(_), _) => "not read",
                    (None, true) => "in sync",
                    (None, false) => "waiting",
                };
                let counts = [owned, orphans, held, suspected, failing, parked, paused, waiting];
                let mut cells = vec![org.facts.login.clone(), state.to_owned()];
                cells.extend(counts.map(ToString::to_string));
                cells
            });
            let header = [
                "ORG",
                "STATE",
                "OWNED",
                "ORPHANS",
                "HELD",
                "SUSPECTED",
                "FAILING",
                "PARKED",
                "PAUSED",
                "WITHOUT HANDLE",
            ];
            anstream::println!("{}", output::table(&header, rows));
            Ok(())
        }
    }
}
