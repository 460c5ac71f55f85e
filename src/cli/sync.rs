//! `teamlink sync`: one full pass, then exit.

use std::{process::ExitCode, sync::Arc};

use tokio::sync::Notify;

use super::output::{self, Format};
use crate::{
    app,
    ledger::{Ledger, Progress, lane_number},
    model::{Asks, Cause, Integration, Lane},
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
    let lanes = worker.begin_pass(&logins, Cause::Person, Asks::PERSON).await?;
    let spinner = output::spinner("looking at GitHub and Datadog");
    let progress = worker.work_off(&lanes).await?;
    spinner.finish_and_clear();
    let orgs = ledger.orgs().await?.into_iter().map(|org| (Lane::Org(org.facts.id), org.facts.login));
    let documents = Integration::ALL.map(Lane::Document).map(|lane| (lane, lane.to_string()));
    let rows: Vec<Row> = orgs
        .chain(documents)
        .filter_map(|(lane, name)| Some(Row { lane, name, progress: progress.get(&lane)?.clone() }))
        .collect();
    show(&rows, args.format)?;
    let taken = worker.taken_logins(&logins).await?;
    for taken in taken.iter().filter(|_| args.format == Format::Text) {
        anstream::println!("\n{taken}; write {} in github.orgs", taken.bound_to.login);
    }
    if args.format == Format::Text {
        say_former_marks(&ledger, &settings.datadog.managed_by).await?;
    }
    for Row { lane, name, progress } in &rows {
        if let Some(error) = &progress.unread
            && args.format == Format::Text
        {
            anstream::println!("\n{name}: nothing was removed, because {error}");
        }
        if let Some(org) = lane.org()
            && progress.suspected > 0
            && args.format == Format::Text
        {
            for (slug, why) in worker.stuck(org).await? {
                anstream::println!("held: {name}/{slug}: {why}");
            }
        }
        if progress.removed_by_others > 0 && args.format == Format::Text {
            let removed = ledger.removed_by_others(*lane, ledger.clock().now()).await?;
            for (key, removals) in removed.iter().filter(|(_, removals)| removals.is_fight()) {
                let times = removals.times();
                anstream::println!(
                    "somebody removes {key}: {times} times within a day; find the other writer"
                );
            }
        }
        if progress.paused > 0 && args.format == Format::Text {
            for pause in ledger.paused(*lane).await?.all() {
                anstream::println!("paused: {}", super::pause::said(&ledger, pause).await?);
            }
        }
        if progress.held > 0
            && let Some(set) = ledger.held_set(*lane, ledger.clock().now()).await?
            && args.format == Format::Text
        {
            anstream::println!();
            for held in &set.items {
                anstream::println!("held: {} {}: {}", held.key.kind.as_str(), held.key.subject, held.reason);
            }
            super::approve::invite(set.items.len(), &set.hash);
        }
    }
    // What may pass by itself and did not is a failure; what waits for somebody is not.
    let failed = rows.iter().any(|row| row.progress.passing > 0);
    let open = !taken.is_empty() || rows.iter().any(|row| !settled(&row.progress));
    Ok(ExitCode::from(if failed || rows.is_empty() { 1 } else { u8::from(open) * 2 }))
}

/// Says how many connections of ours carry a former value of `datadog.managed_by`.
async fn say_former_marks(ledger: &Ledger, today: &str) -> anyhow::Result<()> {
    for (mark, count) in ledger.former_marks(today).await? {
        let what = if count == 1 { "connection carries" } else { "connections carry" };
        anstream::println!(
            "\n{count} {what} the former mark `{mark}`; to make them again under `{today}`:\n  teamlink adopt --managed-by {mark}"
        );
    }
    Ok(())
}

/// An organisation or a document, as it is printed.
struct Row {
    lane: Lane,
    name: String,
    progress: Progress,
}

/// Whether nothing of a lane waits for anything.
fn settled(lane: &Progress) -> bool {
    let Progress { failing, suspected, held, parked, paused, removed_by_others, .. } = lane;
    [failing, suspected, held, parked, paused, removed_by_others].iter().all(|count| **count == 0)
}

fn show(rows: &[Row], format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => {
            let rows: Vec<_> = rows
                .iter()
                .map(|Row { lane, name, progress }| {
                    let org = serde_json::json!({"id": lane_number(*lane), "login": name});
                    serde_json::json!({"org": org, "progress": progress})
                })
                .collect();
            output::print_json(&rows)
        }
        Format::Text => {
            let rows = rows.iter().map(|Row { lane: _, name, progress }| {
                let Progress {
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
                    removed_by_others: _,
                } = progress;
                let state = match (unread, settled(progress)) {
                    (Some(_), _) => "not read",
                    (None, true) => "in sync",
                    (None, false) => "waiting",
                };
                let counts = [owned, orphans, held, suspected, failing, parked, paused, waiting];
                let mut cells = vec![name.clone(), state.to_owned()];
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
