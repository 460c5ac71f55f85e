//! `teamlink sync`: one full pass, then exit.

use std::{collections::BTreeSet, process::ExitCode, sync::Arc};

use tokio::sync::Notify;

use super::output::{self, Format};
use super::print::{err, out};
use crate::{
    app,
    ledger::{Ledger, OrgRow, Progress, lane_number},
    model::{Asks, Cause, Integration, Lane, OrgId},
    operate::release,
    reconcile::{Begun, Taken, Worker},
    settings::Loaded,
};

/// Arguments of `teamlink sync`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink sync                      every organisation of github.orgs, or every one that is known
  teamlink sync --org acme           one organisation

Works beside a running daemon. Tries for up to 30 s what fails, and waits for what Datadog's lists do not show yet.
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
/// When the App's installations cannot be listed, or the ledger fails.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let settings = loaded.settings;
    let ledger = app::ledger(&settings).await?;
    let worker = app::worker(&settings, ledger.clone(), "command", Arc::new(Notify::new()))?;
    let logins = if args.org.is_empty() { settings.github.orgs.clone() } else { args.org };
    let Begun { lanes, unbound } = worker.begin_pass(&logins, Cause::Person, Asks::PERSON).await?;
    let spinner = output::spinner("looking at GitHub and Datadog");
    let before: BTreeSet<OrgId> = ledger.orgs().await?.into_iter().map(|org| org.facts.id).collect();
    let mut progress = worker.work_off(&lanes).await?;
    // Whoever has a login that this pass released.
    let bound = ledger.orgs().await?.into_iter().filter(|org| !before.contains(&org.facts.id));
    let bound = bound.filter(|org| logins.iter().any(|login| org.is_called(login)));
    let bound: Vec<Lane> = bound.map(|org| Lane::Org(org.facts.id)).collect();
    if !bound.is_empty() {
        progress = worker.work_off(&[lanes, bound].concat()).await?;
    }
    spinner.finish_and_clear();
    let orgs = ledger.orgs().await?.into_iter().map(|org| (Lane::Org(org.facts.id), org.facts.login));
    let documents = Integration::ALL.map(Lane::Document).map(|lane| (lane, lane.to_string()));
    let rows: Vec<Row> = orgs
        .chain(documents)
        .filter_map(|(lane, name)| Some(Row { lane, name, progress: progress.get(&lane)?.clone() }))
        .collect();
    show(&rows, args.format)?;
    let taken = worker.taken_logins(&logins).await?;
    let free = free_logins(&ledger, &logins).await?;
    if args.format == Format::Text {
        for taken in &taken {
            say_taken(&ledger, taken).await?;
        }
        for login in &free {
            out!(
                "\n{}: it was released, and GitHub has no organisation with this login; take it out of github.orgs",
                login
            );
        }
        say_former_marks(&ledger, &settings.datadog.managed_by).await?;
        for row in &rows {
            say_what_waits(&worker, &ledger, row).await?;
        }
    }
    for (login, trouble) in &unbound {
        err!("error: failed to bind the login {}: {}", login, trouble);
    }
    // What may pass by itself and did not is a failure; what waits for somebody is not.
    let failed = !unbound.is_empty()
        || rows.iter().any(|row| row.progress.passing > 0)
        || rows.is_empty() && free.is_empty();
    let open = !taken.is_empty() || !free.is_empty() || rows.iter().any(|row| !settled(&row.progress));
    Ok(ExitCode::from(if failed { 1 } else { u8::from(open) * 2 }))
}

/// Says what of a lane waits, and for whom.
async fn say_what_waits(worker: &Worker, ledger: &Ledger, row: &Row) -> anyhow::Result<()> {
    let Row { lane, name, progress } = row;
    if let Some(error) = &progress.unread {
        out!("\n{}: nothing was removed, because {}", name, error);
    }
    if let Some(org) = lane.org()
        && progress.suspected > 0
    {
        for (slug, why) in worker.stuck(org).await? {
            out!("held: {}/{}: {}", name, slug, why);
        }
    }
    if let Some(until) = progress.postponed_until {
        let teams = if progress.postponed == 1 { "team is" } else { "teams are" };
        out!("\n{}: {} {} not in step yet; the next look is at {}", name, progress.postponed, teams, until);
    }
    if progress.removed_by_others > 0 {
        let removed = ledger.removed_by_others(*lane, ledger.clock().now()).await?;
        for (key, removals) in removed.iter().filter(|(_, removals)| removals.is_fight()) {
            let times = removals.times();
            out!("somebody removes {}: {} times within a day; find the other writer", key, times);
        }
    }
    if progress.paused > 0 {
        for pause in ledger.paused(*lane).await?.all() {
            out!("paused: {}", super::pause::said(ledger, pause).await?);
        }
    }
    if progress.held > 0
        && let Some(set) = ledger.held_set(*lane, ledger.clock().now()).await?
    {
        out!();
        for held in &set.items {
            out!("held: {} {}: {}", held.key.kind.as_str(), held.key.subject, held.reason);
        }
        super::approve::invite(set.items.len(), &set.hash);
    }
    Ok(())
}

/// Those of these logins that were released and are nobody's.
async fn free_logins(ledger: &Ledger, logins: &[String]) -> anyhow::Result<Vec<String>> {
    let (bound, released) = (ledger.orgs().await?, ledger.released_orgs().await?);
    let names = |orgs: &[OrgRow], login: &str| orgs.iter().any(|org| org.is_called(login));
    let free = logins.iter().filter(|login| names(&released, login) && !names(&bound, login));
    Ok(free.cloned().collect())
}

/// Says that another organisation has a login than the one that it is bound to, and what to type.
async fn say_taken(ledger: &Ledger, taken: &Taken) -> anyhow::Result<()> {
    let Taken { login, by, bound_to } = taken;
    match release::waiting(ledger, bound_to, ledger.clock().now()).await? {
        Some(release) if !release.approved => out!(
            "\n{}; to bind {} to org {}:\n  {}\nto serve the old organisation alone, write its login today in \
             github.orgs instead",
            taken,
            login,
            by,
            release.command()
        ),
        Some(_) => {
            out!("\n{}; the release of {} is approved, and is carried out next", taken, login)
        }
        None => out!(
            "\n{}; once another look has proven it, `teamlink sync` prints the command that binds {} to org {}",
            taken,
            login,
            by
        ),
    }
    Ok(())
}

/// Says how many connections of ours carry a former value of `datadog.managed_by`.
async fn say_former_marks(ledger: &Ledger, today: &str) -> anyhow::Result<()> {
    for (mark, count) in ledger.former_marks(today).await? {
        let what = if count == 1 { "connection carries" } else { "connections carry" };
        out!(
            "\n{} {} the former mark `{}`; to make them again under `{}`:\n  teamlink adopt --managed-by {}",
            count,
            what,
            mark,
            today,
            mark
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
    let Progress { failing, suspected, postponed, held, parked, paused, removed_by_others, .. } = lane;
    [failing, suspected, postponed, held, parked, paused, removed_by_others].iter().all(|count| **count == 0)
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
                    postponed: _,
                    postponed_until: _,
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
            out!("{}", output::table(&header, rows));
            Ok(())
        }
    }
}
