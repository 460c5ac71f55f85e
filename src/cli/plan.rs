//! `teamlink plan`: what a full pass would do. Holds nothing that could write to Datadog.

use std::{collections::BTreeMap, process::ExitCode};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;

use super::output::{self, Format};
use crate::{
    app,
    ledger::Held,
    model::{ConnectionKey, TeamId, Time},
    plan::{Action, Guarded, LeftAlone, Planned, Why},
    reconcile::OrgPlan,
    settings::Loaded,
};

/// Arguments of `teamlink plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink plan                      every organisation of github.orgs, or every one that is known
  teamlink plan --org acme --format json

Writes nothing to Datadog. The ledger only remembers the hash of what is held, so that it can be approved.
Exit codes: 0 nothing to do; 2 changes, or something held or in doubt; 1 could not look.")]
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
/// When no organisation is named anywhere, or one cannot be looked up.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let settings = loaded.settings;
    let ledger = app::ledger(&settings).await?;
    let mut logins = if args.org.is_empty() { settings.github.orgs.clone() } else { args.org };
    if logins.is_empty() {
        logins = ledger.orgs().await?.into_iter().map(|org| org.facts.login).collect();
    }
    if logins.is_empty() {
        return Err(output::Hinted {
            error: "there is no organisation to plan: github.orgs is empty and the ledger knows none"
                .to_owned(),
            hint: "name one with `--org LOGIN`, or set github.orgs".to_owned(),
        }
        .into());
    }
    let survey = app::survey(&settings, ledger.clone())?;
    let spinner = output::spinner("looking at GitHub and Datadog");
    let mut plans = Vec::new();
    for login in &logins {
        plans.push(
            survey.plan(login).await.with_context(|| format!("failed to plan the organisation {login}"))?,
        );
    }
    spinner.finish_and_clear();
    // A set that is shown can be approved: its hash is remembered, and nothing else is written.
    let now = Time::from(std::time::SystemTime::now());
    let mut hashes = Vec::new();
    for plan in &plans {
        let held: Vec<Held> = plan.held().collect();
        let hash = ledger.remember_held(plan.org.id, &held, now).await?;
        hashes.push((!held.is_empty()).then_some(hash));
    }
    match args.format {
        Format::Json => output::print_json(
            &plans.iter().zip(&hashes).map(|(plan, hash)| json(plan, hash.as_deref())).collect::<Vec<_>>(),
        )?,
        Format::Text => plans.iter().zip(&hashes).for_each(|(plan, hash)| show(plan, hash.as_deref())),
    }
    let failed = plans.iter().any(|plan| plan.plan.is_err());
    let open = plans.iter().any(|plan| {
        plan.plan.as_ref().is_ok_and(|guarded| {
            !guarded.ready.actions.is_empty() || !guarded.held.is_empty() || plan.in_doubt()
        })
    });
    Ok(ExitCode::from(if failed { 1 } else { u8::from(open) * 2 }))
}

fn json(plan: &OrgPlan, hash: Option<&str>) -> serde_json::Value {
    match &plan.plan {
        Ok(Guarded { ready, held }) => serde_json::json!({
            "org": plan.org,
            "actions": ready.actions,
            "held": held.iter().map(|(planned, reason)| {
                serde_json::json!({"action": planned, "held_because": reason})
            }).collect::<Vec<_>>(),
            "held_hash": hash,
            "left_alone": ready.left_alone,
        }),
        Err(trouble) => serde_json::json!({"org": plan.org, "error": trouble.message}),
    }
}

fn show(plan: &OrgPlan, hash: Option<&str>) {
    let guarded = match &plan.plan {
        Ok(guarded) => guarded,
        Err(trouble) => {
            anstream::println!("{}: could not be looked at: {trouble}", plan.org.login);
            return;
        }
    };
    let mut totals = BTreeMap::new();
    let mut rows = Vec::new();
    let held = guarded.held.iter().map(|(planned, reason)| (planned, Some(reason.as_str())));
    for (planned, held) in guarded.ready.actions.iter().map(|planned| (planned, None)).chain(held) {
        let line = Line::of(planned, held, plan);
        *totals.entry(line.total).or_insert(0) += 1;
        rows.push([vec![line.sign.to_owned()], line.cells].concat());
    }
    anstream::println!("{} ({})", plan.org.login, plan.org.id);
    print_rows(&["", "GITHUB TEAM", "DATADOG TEAM", "WHY"], rows);
    let alone = left_alone(&guarded.ready.left_alone, plan);
    if !alone.is_empty() {
        anstream::println!("\nleft alone");
        print_rows(&["", "GITHUB TEAM", "DATADOG TEAM", "WHY"], alone);
    }
    let count = |total| totals.get(total).copied().unwrap_or(0);
    anstream::println!(
        "\nplan: {} to create, {} to delete, {} held, {} for the ledger alone, {} left alone",
        count("create"),
        count("delete"),
        guarded.held.len(),
        count("ledger"),
        guarded.ready.left_alone.len(),
    );
    if let Some(hash) = hash {
        super::approve::invite(guarded.held.len(), hash);
    }
}

/// Prints rows that line up, each coloured by its sign.
fn print_rows(header: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let table = output::table(header, rows).to_string();
    for line in table.lines() {
        let color = match line.trim_start().as_bytes().first() {
            Some(b'+') => Some(AnsiColor::Green),
            Some(b'-') => Some(AnsiColor::Red),
            Some(b'!') => Some(AnsiColor::Yellow),
            Some(b'=' | b'~') => Some(AnsiColor::Cyan),
            _ => None,
        };
        let style = Style::new().fg_color(color.map(Into::into));
        anstream::println!("{style}{}{style:#}", line.trim_end());
    }
}

/// One step as it is printed.
struct Line {
    sign: &'static str,
    total: &'static str,
    cells: Vec<String>,
}

impl Line {
    fn of(planned: &Planned, held: Option<&str>, plan: &OrgPlan) -> Self {
        let (sign, total, datadog) = match &planned.action {
            Action::CreateTeam { handle, .. } => ("+ team", "create", handle.clone()),
            Action::Create { key, .. } => ("+", "create", handle(plan, key)),
            Action::Delete { key, .. } => ("-", "delete", handle(plan, key)),
            Action::PassOn { key, .. } | Action::Record { key, .. } => ("=", "ledger", handle(plan, key)),
            Action::Forget { key } => ("~", "ledger", handle(plan, key)),
        };
        let why = match held {
            Some(held) => format!("{}; held: {held}", planned.reason),
            None => planned.reason.clone(),
        };
        let sign = if held.is_some() { "! held" } else { sign };
        let total = if held.is_some() { "held" } else { total };
        Self { sign, total, cells: vec![slug(plan, planned.team), datadog, why] }
    }
}

/// The Datadog team of a connection: its handle when that is known, else its id.
fn handle(plan: &OrgPlan, key: &ConnectionKey) -> String {
    plan.handles.get(&key.datadog_team).cloned().unwrap_or_else(|| key.datadog_team.to_string())
}

fn slug(plan: &OrgPlan, team: TeamId) -> String {
    plan.slugs.get(&team).map_or_else(|| format!("team {team}"), |slug| format!("{}/{slug}", plan.org.login))
}

fn left_alone(left: &[LeftAlone], plan: &OrgPlan) -> Vec<Vec<String>> {
    left.iter()
        .map(|LeftAlone { team, why }| {
            let (key, why) = match why {
                Why::Satisfied { key, owner } => {
                    (handle(plan, key), format!("exists already ({})", owner.as_str()))
                }
                Why::Ignored => (String::new(), "a rule says to ignore it".to_owned()),
                Why::Unmapped => (String::new(), "no rule matches it".to_owned()),
                Why::NoSuchHandle { handles } => {
                    (handles.join(", "), "Datadog has no team with this handle".to_owned())
                }
                Why::Conflict { slug } => {
                    (String::new(), format!("two teams read back with the slug {slug}; one answer is stale"))
                }
                Why::Suspected { since } => {
                    (String::new(), format!("not there since {since}; a second look has to agree"))
                }
                Why::NotRead { error } => (String::new(), error.clone()),
                Why::Policy { key } => (handle(plan, key), "policy.mode is upsert: never deletes".to_owned()),
            };
            vec!["·".to_owned(), slug(plan, *team), key, why]
        })
        .collect()
}
