//! `teamlink sandbox`: a stateful GitHub and Datadog on one local port.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::print::out;
use crate::sandbox::{self, Options};
use crate::settings::Loaded;
use crate::shutdown;

/// Arguments of `teamlink sandbox`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first line printed is the URL, the others are the environment that points teamlink at it:
  teamlink sandbox --org acme --teams 40 > sandbox.env &
  env $(tail -n +2 sandbox.env) teamlink plan

Fill and spoil it while it runs:
  curl localhost:9090/_sandbox/stats
  curl localhost:9090/_sandbox/requests?since=0
  curl -X POST localhost:9090/_sandbox/seed -d '{\"orgs\": [{\"login\": \"acme\", \"teams\": [{\"name\": \"Core\"}]}]}'
  curl -X PUT localhost:9090/_sandbox/faults -d '[{\"path\": \"/api/*\", \"status\": 503, \"times\": 3}]'")]
pub struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// Begin with this organisation; without it both worlds are empty
    #[arg(long, value_name = "LOGIN")]
    org: Option<String>,
    /// Teams of that organisation, each with a Datadog team of the same handle
    #[arg(long, value_name = "N", default_value_t = 0, requires = "org")]
    teams: usize,
    /// Repositories of that organisation
    #[arg(long, value_name = "N", default_value_t = 0, requires = "org")]
    repos: usize,
    /// Send the webhooks of every organisation there
    #[arg(long, value_name = "URL")]
    webhook_url: Option<String>,
    /// Sign them with this secret
    #[arg(long, value_name = "SECRET", requires = "webhook_url")]
    webhook_secret: Option<String>,
    /// Hold every answer back this long, such as 20ms
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// What ids, list order and chances follow from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Runs until ctrl-c.
pub async fn run(args: Args, _: Loaded) -> anyhow::Result<ExitCode> {
    let Args { listen, org, teams, repos, webhook_url, webhook_secret, latency, seed } = args;
    let options = Options {
        listen,
        org,
        teams,
        repos,
        webhook_url,
        webhook_secret,
        latency,
        seed,
        ..Options::default()
    };
    let sandbox =
        sandbox::start(options).await.with_context(|| format!("failed to start the sandbox on {listen}"))?;
    let url = sandbox.url();
    out!("{}", url);
    out!("TEAMLINK_GITHUB__BASE_URL={}", url);
    out!("TEAMLINK_DATADOG__BASE_URL={}", url);
    // Any credentials will do, but there must be some.
    for name in ["GITHUB_TOKEN", "DD_API_KEY", "DD_APP_KEY"] {
        out!("{}=sandbox", name);
    }
    shutdown::signals()?.stop.cancelled().await;
    sandbox.stop().await.context("failed to end the sandbox")?;
    Ok(ExitCode::SUCCESS)
}
