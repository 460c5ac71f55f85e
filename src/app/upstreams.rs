//! Settings → the options of the clients of both upstreams.

use std::time::Duration;

use url::Url;

use crate::{
    clock::Clock,
    datadog, github,
    settings::{DatadogCredential, GithubCredential, Settings},
    transport,
};

/// How long one request to GitHub may take: as long as GitHub itself lets one run.
const GITHUB_TIMEOUT: Duration = Duration::from_secs(10);

/// What [`github::Reader`] needs.
///
/// # Errors
/// A [`Problem`](crate::settings::Problem) when no usable credential is set; when `network.ca_file` holds no certificate.
pub fn github(settings: &Settings) -> anyhow::Result<github::Options> {
    let auth = match settings.github.require()? {
        GithubCredential::Token(token) => github::Auth::Token(token.clone()),
        GithubCredential::App { id, private_key } => {
            github::Auth::App { id: *id, private_key: private_key.clone() }
        }
    };
    Ok(github::Options {
        base_url: settings.github.base_url.clone(),
        auth,
        http: http(settings, &settings.github.base_url)?,
        concurrency: settings.github.concurrency,
        timeout: GITHUB_TIMEOUT,
        clock: Clock::default(),
    })
}

/// What [`datadog::Reader`], [`datadog::Writer`] and [`datadog::Probe`] need.
///
/// # Errors
/// A [`Problem`](crate::settings::Problem) when no credential is set; when `network.ca_file` holds no certificate.
pub fn datadog(settings: &Settings) -> anyhow::Result<datadog::Options> {
    let auth = match settings.datadog.require()? {
        DatadogCredential::Keys { api, app } => datadog::Auth::Keys { api: api.clone(), app: app.clone() },
        DatadogCredential::AccessToken(token) => datadog::Auth::Bearer(token.clone()),
    };
    Ok(datadog::Options {
        base_url: settings.datadog.base_url.clone(),
        auth,
        managed_by: settings.datadog.managed_by.clone(),
        timeout: settings.datadog.timeout,
        concurrency: settings.datadog.concurrency,
        http: http(settings, &settings.datadog.base_url)?,
    })
}

fn http(settings: &Settings, base_url: &Url) -> anyhow::Result<transport::Client> {
    transport::client(base_url, settings.network.extra_ca.as_deref())
}
