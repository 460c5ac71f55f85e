//! Arguments and printing, one file a command. Nothing is decided here: `operate` decides, this room shows.
//!
//! Results go to stdout, logs and errors to stderr. A command answers with its exit code; what each code means
//! stands in that command's help.

pub mod adopt;
pub mod apply;
pub mod approve;
pub mod audit;
pub mod check;
pub mod connections;
pub mod demo;
pub mod explain;
pub mod healthcheck;
pub mod integrations;
mod ledger;
pub mod map;
mod names;
pub mod output;
pub mod parked;
pub mod pause;
pub mod plan;
mod print;
pub mod run;
pub mod sandbox;
pub mod sync;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::settings::Loaded;

/// Keeps Datadog team connections true to what GitHub says, seconds after GitHub changes.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  teamlink demo                            see it work, without any account
  teamlink check --config teamlink.toml    are the settings and credentials right?
  teamlink plan --config teamlink.toml     what would it change? nothing is written
  teamlink run --config teamlink.toml      the daemon";

/// Flags that every command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// Settings file (TOML); may be given several times, later files win
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Say more: -v debug, -vv trace; RUST_LOG says it more finely
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Global {
    /// The log filter that `-v` asks for.
    pub fn log(&self) -> Option<&'static str> {
        match self.verbose {
            0 => None,
            1 => Some("info,teamlink=debug"),
            _ => Some("debug,teamlink=trace"),
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take GitHub events and keep Datadog in step (the daemon)
    Run(run::Args),
    /// Make one full pass, then exit
    Sync(sync::Args),
    /// Show what a full pass would do; writes nothing
    Plan(plan::Args),
    /// Carry out a saved plan, while it still is the plan
    Apply(apply::Args),
    /// Let actions go that the guard holds
    Approve(approve::Args),
    /// Tell why a team is as it is, what blocks it, and what would happen now
    Explain(explain::Args),
    /// Tell which mapping rule a GitHub team meets and what it gives
    Map(map::Args),
    /// List, create and delete Datadog team connections by hand
    Connections(connections::Args),
    /// Show, compare and replace the documents of Datadog's entity integrations
    Integrations(integrations::Args),
    /// Take connections over from whoever made them
    Adopt(adopt::Args),
    /// List, show, replay and discard what was given up on
    Parked(parked::Args),
    /// Show what was done, why, and what led to it
    Audit(audit::Args),
    /// Pause writes for a team, an organisation, a document, or everything
    Pause(pause::Args),
    /// End a pause, and look at what was paused
    Resume(pause::Args),
    /// Bind the ledger to another Datadog organisation
    Ledger(ledger::Args),
    /// Check settings, credentials, permissions and the broker
    Check(check::Args),
    /// Serve a stateful GitHub and Datadog on one local port
    Sandbox(sandbox::Args),
    /// Watch sandbox and worker live through a day of an organisation
    Demo(demo::Args),
    /// Ask the local daemon whether it is alive (for containers)
    Healthcheck(healthcheck::Args),
}

impl Command {
    /// Whether the command brings its own world and must not see this machine's settings.
    pub fn stands_alone(&self) -> bool {
        matches!(self, Self::Sandbox(_) | Self::Demo(_))
    }

    /// The log filter of a command, whose output tells what it does, unless somebody asks for more.
    pub fn log(&self) -> Option<&'static str> {
        match self {
            Self::Run(_) => None,
            Self::Demo(_) => Some("off"),
            _ => Some("warn"),
        }
    }

    /// Runs it.
    pub async fn run(self, loaded: Loaded) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(args) => run::run(args, loaded).await,
            Self::Sync(args) => sync::run(args, loaded).await,
            Self::Plan(args) => plan::run(args, loaded).await,
            Self::Apply(args) => apply::run(args, loaded).await,
            Self::Approve(args) => approve::run(args, loaded).await,
            Self::Explain(args) => explain::run(args, loaded).await,
            Self::Map(args) => map::run(args, loaded).await,
            Self::Connections(args) => connections::run(args, loaded).await,
            Self::Integrations(args) => integrations::run(args, loaded).await,
            Self::Adopt(args) => adopt::run(args, loaded).await,
            Self::Parked(args) => parked::run(args, loaded).await,
            Self::Audit(args) => audit::run(args, loaded).await,
            Self::Pause(args) => pause::pause(args, loaded).await,
            Self::Resume(args) => pause::resume(args, loaded).await,
            Self::Ledger(args) => ledger::run(args, loaded).await,
            Self::Check(args) => check::run(args, loaded).await,
            Self::Sandbox(args) => sandbox::run(args, loaded).await,
            Self::Demo(args) => demo::run(args, loaded).await,
            Self::Healthcheck(args) => healthcheck::run(args, loaded).await,
        }
    }
}
