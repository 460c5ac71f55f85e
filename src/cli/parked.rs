//! `teamlink parked`: what was given up on, to be looked at, tried again or thrown away.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::ensure;
use clap::Subcommand;

use super::output::bold;
use super::print::{Block, out};
use super::{
    names,
    output::{self, Format, Hinted},
};
use crate::{
    app,
    ledger::{Ledger, Parked, ParkedKind},
    model::{Integration, Lane, Time},
    operate::parked::{self, Filter, Story, Tried},
    settings::Loaded,
};

/// Arguments of `teamlink parked`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  teamlink parked list
  teamlink parked list --class invalid --older-than 1d --format json
  teamlink parked show 17
  teamlink parked replay 17 18 --reason \"secret corrected\"
  teamlink parked replay --place dead_queue --limit 50 --rate 5 --reason \"the bug is mended\"
  teamlink parked discard --text \"not JSON\" --reason \"a scanner\"

A delivery is replayed by accepting it as at the first time, its signature checked anew; an action by looking at its
team again. `replay` and `discard` show what they are about to do and ask, or take --yes; both are kept in the audit
trail. Exit codes: 0 done; 2 some were given up on again, or stay parked; 1 failed.")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what was given up on, by class and place
    List {
        #[command(flatten)]
        which: Which,
        /// The form of the output
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Tell everything that is known of one, its payload too
    Show {
        /// Its number, as `list` prints it
        id: i64,
        /// The form of the output
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Try some again
    Replay {
        #[command(flatten)]
        which: Which,
        /// How many at most, oldest first within each class and place
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// How many a second
        #[arg(long, value_name = "PER_SECOND", default_value_t = 10.0, value_parser = rate)]
        rate: f64,
        #[command(flatten)]
        consent: Consent,
    },
    /// Throw some away
    Discard {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, clap::Args)]
struct Consent {
    /// Why; kept in the audit trail
    #[arg(long)]
    reason: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Which of them; all conditions must hold.
#[derive(Debug, clap::Args)]
struct Which {
    /// These numbers
    ids: Vec<i64>,
    /// Only these
    #[arg(long, value_parser = ["delivery", "action"])]
    kind: Option<String>,
    /// The class of the last error: transient, throttled, auth, permanent or invalid
    #[arg(long)]
    class: Option<String>,
    /// Where: decode, signature, store, dead_queue; create, delete, look, replace
    #[arg(long)]
    place: Option<String>,
    /// A part of the reason or of the subject
    #[arg(long)]
    text: Option<String>,
    /// The organisation (login or id), or the document (github, jira, pagerduty) that an action belongs to
    #[arg(long)]
    org: Option<String>,
    /// Given up on before this moment (RFC 3339, UTC)
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    before: Option<SystemTime>,
    /// Given up on longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "before")]
    older_than: Option<Duration>,
    /// Everything that is parked
    #[arg(long)]
    all: bool,
}

impl Which {
    async fn filter(&self, ledger: &Ledger) -> anyhow::Result<Filter> {
        let ago = self.older_than.map(|ago| ledger.clock().now() - ago);
        let document = |name: &str| Integration::ALL.into_iter().find(|it| it.as_str() == name);
        Ok(Filter {
            ids: self.ids.clone(),
            kind: self.kind.as_deref().map(|kind| match kind {
                "delivery" => ParkedKind::Delivery,
                _ => ParkedKind::Action,
            }),
            class: self.class.clone(),
            place: self.place.clone(),
            text: self.text.clone(),
            lane: match self.org.as_deref() {
                Some(name) => match document(name) {
                    Some(integration) => Some(Lane::Document(integration)),
                    None => Some(Lane::Org(names::org(ledger, name).await?.facts.id)),
                },
                None => None,
            },
            before: self.before.map(Time::from).or(ago),
        })
    }

    /// What it names, for those who change something: that must have been said.
    async fn chosen(&self, ledger: &Ledger) -> anyhow::Result<Vec<Parked>> {
        let filter = self.filter(ledger).await?;
        if filter.is_everything() != self.all {
            return Err(Hinted {
                error: "say which of them".to_owned(),
                hint: "give their numbers, a filter such as --place or --older-than, or --all alone"
                    .to_owned(),
            }
            .into());
        }
        let chosen = parked::list(ledger, &filter).await?;
        for id in &self.ids {
            ensure!(chosen.iter().any(|parked| parked.id == *id), "nothing is parked under the number {id}");
        }
        Ok(chosen)
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err("write a number above 0".to_owned()) }
}

/// Runs the command.
///
/// # Errors
/// When the ledger cannot be read or written, or nobody confirms.
pub async fn run(args: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let ledger = app::ledger(&loaded.settings).await?;
    match args.verb {
        Verb::List { which, format } => {
            let parked = parked::list(&ledger, &which.filter(&ledger).await?).await?;
            match format {
                Format::Json => output::print_json(&parked)?,
                Format::Text => show_list(&parked),
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Show { id, format } => {
            let story = parked::show(&ledger, id).await?.ok_or_else(|| Hinted {
                error: format!("nothing is parked under the number {id}"),
                hint: "`teamlink parked list` shows what is".to_owned(),
            })?;
            match format {
                Format::Json => output::print_json(&as_json(&story))?,
                Format::Text => show_story(&story),
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Replay { which, limit, rate, consent } => {
            let mut chosen = which.chosen(&ledger).await?;
            let more = chosen.len().saturating_sub(limit);
            chosen.truncate(limit);
            if more > 0 {
                out!("{} more match; --limit {} leaves them for later", more, limit);
            }
            if !agreed(&chosen, "replay", &consent)? {
                return Ok(ExitCode::SUCCESS);
            }
            let intake = app::intake_alone(&loaded.settings, &ledger).await?;
            let pause = Duration::from_secs_f64((1.0 / rate).min(3600.0));
            let mut anew = 0;
            parked::replay(&ledger, &intake, &chosen, pause, &consent.reason, |parked, tried| {
                anew += usize::from(matches!(tried, Tried::ParkedAnew | Tried::NotKept));
                out!("{} {}: {}", parked.id, parked.subject, said(tried));
            })
            .await?;
            Ok(ExitCode::from(if anew > 0 { 2 } else { 0 }))
        }
        Verb::Discard { which, consent } => {
            let chosen = which.chosen(&ledger).await?;
            if !agreed(&chosen, "discard", &consent)? {
                return Ok(ExitCode::SUCCESS);
            }
            let discarded = parked::discard(&ledger, &chosen, &consent.reason).await?;
            out!("{} of {} discarded", discarded, chosen.len());
            Ok(ExitCode::from(if discarded < chosen.len() { 2 } else { 0 }))
        }
    }
}

/// Shows what is about to be done, and asks. False when there is nothing to do.
fn agreed(chosen: &[Parked], what: &str, consent: &Consent) -> anyhow::Result<bool> {
    show_list(chosen);
    if chosen.is_empty() {
        return Ok(false);
    }
    output::confirm(consent.yes, &format!("{what} {}", chosen.len()))?;
    Ok(true)
}

fn said(tried: Tried) -> &'static str {
    match tried {
        Tried::Accepted => "accepted",
        Tried::ParkedAnew => "given up on again; `teamlink parked show` tells why",
        Tried::Marked => "marked; a running daemon looks at it within seconds, or run `teamlink sync`",
        Tried::Gone => "not parked any more",
        Tried::NotKept => "its payload was not kept; discard it",
    }
}

fn kind(parked: &Parked) -> &'static str {
    match parked.kind {
        ParkedKind::Delivery => "delivery",
        ParkedKind::Action => "action",
    }
}

fn show_list(parked: &[Parked]) {
    if parked.is_empty() {
        out!("nothing is parked that matches");
    }
    for group in parked.chunk_by(|a, b| (&a.class, &a.place) == (&b.class, &b.place)) {
        let Parked { class, place, .. } = &group[0];
        out!("{} ({})", bold(format!("{class}, {place}")), group.len());
        let rows = group.iter().map(|parked| {
            vec![
                parked.id.to_string(),
                kind(parked).to_owned(),
                parked.parked_at.to_string(),
                parked.attempts.to_string(),
                parked.subject.clone(),
                parked.error.clone(),
            ]
        });
        let header = ["ID", "KIND", "PARKED AT", "TRIED", "WHAT", "WHY"];
        out!("{}", output::table(&header, rows));
    }
}

fn show_story(story: &Story) {
    let Story { parked, of, guids, delivery } = story;
    let line = |name: &str, text: &str| out!("{:<12} {}", name, text);
    line("what", &format!("{} {}", kind(parked), parked.subject));
    if let Some(of) = of {
        line("of", of);
    }
    line("given up", &format!("{} at {}", parked.parked_at, parked.place));
    line("class", &parked.class);
    line("why", &parked.error);
    line("tried", &parked.attempts.to_string());
    line("first", &format!("{}: {}", parked.first_at, parked.first_error));
    if let Some(delivery) = delivery {
        line("event", &delivery.event);
        line("received", &delivery.received_at.to_string());
        line("host", delivery.host.as_deref().unwrap_or("github.com"));
        line("signature", delivery.signature.as_deref().unwrap_or("none"));
    }
    line("deliveries", &guids.join(" "));
    match delivery {
        Some(_) if parked.body_bytes.is_none() => line("payload", "not kept"),
        Some(delivery) => {
            out!("payload      {} bytes", delivery.body.len());
            out!("{}", Block::new(String::from_utf8_lossy(&delivery.body)));
        }
        None => {}
    }
}

fn as_json(story: &Story) -> serde_json::Value {
    let Story { parked, of, guids, delivery } = story;
    let delivery = delivery.as_ref().map(|delivery| {
        serde_json::json!({
            "event": delivery.event,
            "host": delivery.host,
            "signature": delivery.signature,
            "received_at": delivery.received_at,
            "body": String::from_utf8_lossy(&delivery.body),
        })
    });
    serde_json::json!({ "parked": parked, "of": of, "guids": guids, "delivery": delivery })
}
