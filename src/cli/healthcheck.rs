//! `teamlink healthcheck`: asks the local daemon whether its loops turn; for containers, which have no `curl`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, ensure};

use super::output::Hinted;
use super::print::out;
use crate::settings::Loaded;

/// A daemon that does not answer a local request in this time does not turn.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Arguments of `teamlink healthcheck`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Asks http://<server.listen>/healthz; exit code 0 when it answers 200, 1 otherwise.")]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// When the daemon does not answer, or says that a loop of its own is stuck.
pub async fn run(Args {}: Args, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let url = format!("http://{}/healthz", reachable(loaded.settings.server.listen));
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    let response = client.get(&url).send().await.map_err(|error| Hinted {
        error: format!("failed to ask {url}: {:#}", anyhow::Error::from(error.without_url())),
        hint: "is `teamlink run` running, with the same `server.listen`?".to_owned(),
    })?;
    let status = response.status();
    let body = response.text().await.with_context(|| format!("failed to read the answer of {url}"))?;
    ensure!(status.is_success(), "{url} answered {status}: {}", body.trim());
    out!("{}", body.trim());
    Ok(ExitCode::SUCCESS)
}

/// Where a listener on this address is reached from the same machine: one on all addresses has none itself.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_the_loopback() {
        for (listen, asked) in
            [("0.0.0.0:8080", "127.0.0.1:8080"), ("[::]:80", "[::1]:80"), ("10.0.0.1:8080", "10.0.0.1:8080")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
