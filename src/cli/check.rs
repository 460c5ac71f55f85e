//! `teamlink check`: the effective settings with where each came from, then whether GitHub, Datadog and the
//! broker allow what teamlink needs, each finding with its remedy. Nothing is written anywhere.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde_json::json;

use super::output::{Format, print_json, table};
use super::print::{Painted, out};
use crate::{
    app::{self, broker::broker, upstreams},
    operate::{
        check::{self, Finding, Verdict},
        release,
    },
    queue,
    settings::{Loaded, Plaintext, Problem, Settings},
};

const HELP: &str = "\
Exit code: 0 when teamlink can work, 1 when something has to be mended first.

Examples:
  teamlink check --config teamlink.toml
  teamlink check --offline                 only the settings";

/// Arguments of `teamlink check`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Show the settings only; ask nobody
    #[arg(long)]
    offline: bool,
    /// The form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// When a client cannot be made; what the upstreams say is in the findings.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let Loaded { settings, effective } = &loaded;
    if args.format == Format::Text {
        let row = |it: &crate::settings::Effective| vec![it.key.clone(), it.value.clone(), it.source.clone()];
        out!("{}\n", table(&["SETTING", "VALUE", "FROM"], effective.iter().map(row)));
    }
    let findings = if args.offline { Vec::new() } else { findings(settings).await? };
    match args.format {
        Format::Text => findings.iter().for_each(show),
        Format::Json => print_json(&json!({"settings": effective, "findings": findings}))?,
    }
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn findings(settings: &Settings) -> anyhow::Result<Vec<Finding>> {
    let github = async {
        match upstreams::github(settings) {
            Ok(options) => check::github(options, &settings.github.orgs).await,
            Err(error) => unset("GitHub can be asked", error),
        }
    };
    let datadog = async {
        match upstreams::datadog(settings) {
            Ok(options) => check::datadog(&options).await,
            Err(error) => unset("Datadog can be asked", error),
        }
    };
    let broker = async {
        match broker(settings) {
            Some(options) => queue::probe(&options).await.into_iter().map(of_broker).collect(),
            None => vec![Finding::ok("broker", "none: webhooks go straight into the ledger")],
        }
    };
    let (github, datadog, broker) = tokio::join!(github, datadog, broker);
    let plaintext = plaintext(settings);
    Ok([github?, datadog?, releases(settings).await, broker, vec![webhook(settings)], plaintext].concat())
}

/// What the ledger says of logins that are bound to an organisation that is gone or renamed.
async fn releases(settings: &Settings) -> Vec<Finding> {
    let found = async {
        match app::ledger_if_there(settings).await? {
            Some(ledger) => Ok(release::findings(&ledger, ledger.clock().now()).await?),
            None => anyhow::Ok(Vec::new()),
        }
    };
    found.await.unwrap_or_else(|error| {
        let remedy = "check ledger.url, and that this user may read it";
        vec![Finding::warning("the ledger can be read", format!("{error:#}"), remedy)]
    })
}

/// A setting that is missing is a finding; anything else is an error.
fn unset(what: &str, error: anyhow::Error) -> anyhow::Result<Vec<Finding>> {
    let problem: Problem = error.downcast()?;
    Ok(vec![Finding::failed(what, problem.to_string(), problem.remedy)])
}

/// The connections that a person allowed to go without TLS.
fn plaintext(settings: &Settings) -> Vec<Finding> {
    let warning = |it: &Plaintext| {
        let detail = format!(
            "{}: credentials go to {} in the clear, as network.allow_plaintext says",
            it.key, it.host
        );
        Finding::warning(
            "connections are encrypted",
            detail,
            format!("{}, and take the host off the list", it.remedy),
        )
    };
    settings.network.plaintext.iter().map(warning).collect()
}

fn of_broker(finding: queue::Finding) -> Finding {
    let queue::Finding { verdict, what, remedy } = finding;
    let verdict = match verdict {
        queue::Verdict::Good => Verdict::Ok,
        queue::Verdict::Notice => Verdict::Warning,
        queue::Verdict::Bad => Verdict::Failed,
    };
    Finding { what: "broker".to_owned(), verdict, detail: what, remedy }
}

fn webhook(settings: &Settings) -> Finding {
    let what = "webhooks are signed";
    match settings.server.webhook_secrets.len() {
        0 => Finding::warning(
            what,
            "no secret is set, so the receiver answers 503",
            "set GITHUB_WEBHOOK_SECRET to the secret of the webhook at GitHub; not needed with --role worker",
        ),
        1 => Finding::ok(what, "with one secret"),
        several => Finding::ok(what, format!("with any of {several} secrets")),
    }
}

fn show(finding: &Finding) {
    let Finding { what, verdict, detail, remedy } = finding;
    let (word, color) = match verdict {
        Verdict::Ok => ("ok     ", AnsiColor::Green),
        Verdict::Warning => ("warning", AnsiColor::Yellow),
        Verdict::Failed => ("failed ", AnsiColor::Red),
    };
    let style = Style::new().fg_color(Some(color.into()));
    out!("{}  {}: {}", Painted(style, word), what, detail);
    if let Some(remedy) = remedy {
        out!("         → {}", remedy);
    }
}
