//! Logs and metrics: their set-up, and one function for each thing that happens, which writes the log line and
//! moves the counter together, so that they cannot disagree.
//!
//! Every room that does I/O may call these functions; the pure rooms (`model`, `event`, `mapping`, `plan`,
//! `upstream`) may not. One file an area: [`doors`] for what comes in, [`upstreams`] for GitHub and Datadog,
//! [`work`] for the ledger and the reconciler; the catalogue lists every metric with its help text. Nothing here may hold a secret, a body or a person's name.

use std::{fmt, io::IsTerminal, sync::Arc, time::Duration};

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
};

mod catalogue;
pub mod doors;
mod line;
mod seldom;
pub mod upstreams;
pub mod work;

/// How often histograms are folded into their buckets. Without it samples would pile up in memory until the
/// next scrape, which may never come.
const UPKEEP: Duration = Duration::from_secs(5);

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object a line, for machines.
    Json,
}

/// What to log, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// A filter in the manner of `RUST_LOG`: `info`, or `info,teamlink::queue=debug`.
    pub log: String,
    /// How the lines look.
    pub format: LogFormat,
}

/// The collected metrics.
#[derive(Clone)]
pub struct Metrics(Arc<PrometheusHandle>);

impl Metrics {
    /// Every metric in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Sets up logs (on stderr) and metrics for the whole process. Errors when the filter cannot be read, or when
/// either was set up before.
pub fn install(options: &Options) -> anyhow::Result<Metrics> {
    install_logs(options)?;
    let metrics = install_metrics()?;
    Ok(metrics)
}

/// The library that, at its finest level, writes the frames of a connection as they are: the password is in one.
const TELLS_FRAMES: &str = "lapin";

/// Sets up logs alone, as `main` does for every command.
pub fn install_logs(options: &Options) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.log)
        .with_context(|| format!("failed to read the log filter {:?}: write e.g. \"info\"", options.log))?;
    let terminal = std::io::stderr().is_terminal();
    let json = match options.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt::layer();
    let lines = if json {
        let lines = lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
        lines.with_writer(|| line::Json(std::io::stderr())).boxed()
    } else {
        // https://no-color.org: set and not empty means no colour.
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let lines = lines.fmt_fields(line::fields()).with_writer(std::io::stderr);
        lines.with_ansi(colour).with_target(false).boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(|line| *line.level() < Level::TRACE || !line.target().starts_with(TELLS_FRAMES)))
        .with(lines)
        .try_init()
        .context("failed to set up logging twice")
}

/// Sets up metrics alone: for commands that serve `/metrics`.
pub fn install_metrics() -> anyhow::Result<Metrics> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in catalogue::BUCKETS {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
    }
    let handle = Arc::new(builder.install_recorder().context("failed to set up metrics twice")?);
    catalogue::describe();
    metrics::gauge!("teamlink_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);

    let upkeep = Arc::downgrade(&handle);
    std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            while let Some(handle) = upkeep.upgrade() {
                handle.run_upkeep();
                drop(handle);
                std::thread::sleep(UPKEEP);
            }
        })
        .context("failed to start the thread that folds histograms")?;
    Ok(Metrics(handle))
}
