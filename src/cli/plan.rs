//! `teamlink plan`: what a full pass would do. Holds nothing that could write to Datadog.

use std::{path::PathBuf, process::ExitCode};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;

use super::output;
use super::print::{self, Block, Painted, err, out};
use crate::{
    app::{self, upstreams},
    datadog, files,
    model::{ConnectionKey, Lane, PauseScope, TeamId},
    operate::plan::{Origin, PlanDocument, document},
    plan::{Action, Guarded, LeftAlone, Planned, Why},
    printable::code,
    reconcile::OrgPlan,
    settings::Loaded,
};

/// Arguments of `teamlink plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink plan                      every organisation of github.orgs, or every one that is known
  teamlink plan --org acme --format json
  teamlink plan --out today.json     … and teamlink apply today.json carries out just that

Writes nothing to Datadog. The ledger only remembers the hash of what is held, so that it can be approved.
Exit codes: 0 nothing to do; 2 changes, or something held or in doubt; 1 could not look.")]
pub struct Args {
    /// Only this organisation; may be given several times
    #[arg(long, value_name = "LOGIN")]
    org: Vec<String>,
    /// The form of the output
    #[arg(long, value_enum, default_value_t)]
    format: PlanFormat,
    /// Save the plan too, for `teamlink apply`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The forms in which a plan is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum PlanFormat {
    /// For people
    #[default]
    Text,
    /// For scripts
    Json,
    /// For a pull request
    Markdown,
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
    let reader = datadog::Reader::new(&upstreams::datadog(&settings)?)?;
    let origin = Origin::read(&settings, &reader).await?;
    let document = document(&plans, origin, &ledger, ledger.clock().now()).await?;
    if let Some(path) = &args.out {
        let text = serde_json::to_string_pretty(&document)?;
        files::write_private(path, &text)
            .with_context(|| format!("failed to save the plan as {}", path.display()))?;
    }
    match args.format {
        PlanFormat::Json => output::print_json(&document)?,
        PlanFormat::Markdown => print::raw(&Block::new(markdown(&plans, &document))),
        PlanFormat::Text => {
            for (plan, org) in plans.iter().zip(&document.orgs) {
                show(plan, org.held_hash.as_deref());
            }
        }
    }
    if let Some(path) = &args.out {
        err!("saved; to carry out exactly this: teamlink apply {}", path.display());
    }
    let failed = plans.iter().any(|plan| plan.plan.is_err());
    let open = plans.iter().any(|plan| {
        plan.plan.as_ref().is_ok_and(|guarded| {
            !guarded.ready.actions.is_empty() || !guarded.held.is_empty() || plan.in_doubt()
        })
    });
    Ok(ExitCode::from(if failed { 1 } else { u8::from(open) * 2 }))
}

/// The plan as a comment under a pull request.
fn markdown(plans: &[OrgPlan], document: &PlanDocument) -> String {
    let mut out = String::new();
    for (plan, org) in plans.iter().zip(&document.orgs) {
        out += &format!("### teamlink plan: {}\n\n", code(&org.org.login));
        let guarded = match &plan.plan {
            Ok(guarded) => guarded,
            Err(trouble) => {
                out += &format!("Could not be looked at: {}\n\n", code(&trouble.to_string()));
                continue;
            }
        };
        let lines = lines(guarded, plan);
        out += &format!("{}\n\n", totals(&lines, guarded));
        if !lines.is_empty() {
            out += "| | GitHub team | Datadog team | Why |\n|---|---|---|---|\n";
            for Line { sign, cells, .. } in &lines {
                let cells: Vec<String> = cells.iter().map(|cell| code(cell)).collect();
                out += &format!("| `{sign}` | {} |\n", cells.join(" | "));
            }
            out.push('\n');
        }
        if let Some(hash) = &org.held_hash {
            out += &format!("Held; to let go: `teamlink approve {hash} --reason \"…\"`\n\n");
        }
    }
    out
}

/// Every step, those that are held last.
fn lines(guarded: &Guarded, plan: &OrgPlan) -> Vec<Line> {
    let held = guarded.held.iter().map(|(planned, reason)| (planned, Some(reason.text.as_str())));
    let ready = guarded.ready.actions.iter().map(|planned| (planned, None));
    ready.chain(held).map(|(planned, held)| Line::of(planned, held, plan)).collect()
}

/// The line of totals.
fn totals(lines: &[Line], guarded: &Guarded) -> String {
    let count = |total| lines.iter().filter(|line| line.total == total).count();
    format!(
        "plan: {} to create, {} to delete, {} held, {} for the ledger alone, {} left alone",
        count("create"),
        count("delete"),
        count("held"),
        count("ledger"),
        guarded.ready.left_alone.len(),
    )
}

fn show(plan: &OrgPlan, hash: Option<&str>) {
    let guarded = match &plan.plan {
        Ok(guarded) => guarded,
        Err(trouble) => {
            out!("{}: could not be looked at: {}", plan.org.login, trouble);
            return;
        }
    };
    let lines = lines(guarded, plan);
    let totals = totals(&lines, guarded);
    let rows = lines.into_iter().map(|line| [vec![line.sign.to_owned()], line.cells].concat()).collect();
    out!("{} ({})", plan.org.login, plan.org.id);
    for pause in &plan.paused {
        let name = match pause.scope {
            PauseScope::All => "all".to_owned(),
            PauseScope::Org(_) => plan.org.login.clone(),
            PauseScope::Document(integration) => Lane::Document(integration).to_string(),
            PauseScope::Team(key) => slug(plan, Some(key.team)),
        };
        out!("paused since {}; to end it: teamlink resume {}", pause.since, name);
    }
    print_rows(&["", "GITHUB TEAM", "DATADOG TEAM", "WHY"], rows);
    let alone = left_alone(&guarded.ready.left_alone, plan);
    if !alone.is_empty() {
        out!("\nleft alone");
        print_rows(&["", "GITHUB TEAM", "DATADOG TEAM", "WHY"], alone);
    }
    out!("\n{}", totals);
    if let Some(hash) = hash {
        super::approve::invite(guarded.held.len(), hash);
    }
}

/// Prints rows that line up, each coloured by its sign.
fn print_rows(header: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let table = output::table(header, rows);
    for line in table.lines() {
        let color = match line.trim_start().as_bytes().first() {
            Some(b'+') => Some(AnsiColor::Green),
            Some(b'-') => Some(AnsiColor::Red),
            Some(b'!') => Some(AnsiColor::Yellow),
            Some(b'=' | b'~') => Some(AnsiColor::Cyan),
            _ => None,
        };
        let style = Style::new().fg_color(color.map(Into::into));
        out!("{}", Painted(style, line.trim_end()));
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
        let github = match (planned.action.key(), planned.team) {
            (Some(key), None) => named(key),
            (_, team) => slug(plan, team),
        };
        Self { sign, total, cells: vec![github, datadog, why] }
    }
}

/// The Datadog team of a connection: its handle when that is known, else its id.
fn handle(plan: &OrgPlan, key: &ConnectionKey) -> String {
    plan.handles.get(&key.datadog_team).cloned().unwrap_or_else(|| key.datadog_team.to_string())
}

fn slug(plan: &OrgPlan, team: Option<TeamId>) -> String {
    let Some(team) = team else { return "orphans".to_owned() };
    match plan.slugs.get(&team) {
        Some(slug) => format!("{}/{slug}", plan.org.login),
        None => format!("team {team}"),
    }
}

/// The GitHub team that an orphan names; it belongs to none.
fn named(key: &ConnectionKey) -> String {
    key.github.trim_start_matches('@').to_owned()
}

fn left_alone(left: &[LeftAlone], plan: &OrgPlan) -> Vec<Vec<String>> {
    left.iter()
        .map(|LeftAlone { team, why }| {
            let github = match why {
                Why::Orphan { key, .. } | Why::Policy { key } | Why::Protected { key } if team.is_none() => {
                    named(key)
                }
                _ => slug(plan, *team),
            };
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
                Why::Paused { since, steps } => {
                    (String::new(), format!("paused since {since}; steps that wait: {steps}"))
                }
                Why::Grace { key, until, .. } => {
                    (handle(plan, key), format!("goes at {until}, if a second look agrees"))
                }
                Why::NotVisible { key, since } => (
                    handle(plan, key),
                    format!("written or seen at {since}; Datadog's lists do not agree yet"),
                ),
                Why::MayBeMade { key, until } => (
                    handle(plan, key),
                    format!("goes at {until}: a create that nobody answered may arrive before"),
                ),
                Why::OfAnother { key, login } => (
                    handle(plan, key),
                    format!("stays: the handle of a team of {login}, which is not served"),
                ),
                Why::Policy { key } => (handle(plan, key), "policy.mode is upsert: never deletes".to_owned()),
                Why::SomebodyRemoves { key, times, until } => {
                    let why =
                        format!("somebody removed it {times} times within a day; made again at {until}");
                    (handle(plan, key), why)
                }
                Why::Protected { key } => {
                    (handle(plan, key), "protected by policy.protected: never deleted".to_owned())
                }
                Why::Orphan { key, because } => (handle(plan, key), format!("an orphan; {because}")),
            };
            vec!["·".to_owned(), github, key, why]
        })
        .collect()
}
