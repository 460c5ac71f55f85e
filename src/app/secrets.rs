//! Secrets that are given as files are read again while the daemon runs, so that a changed key needs no restart.

use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;

use super::daemon::ticks;
use crate::{
    secret::Secret,
    settings::{Server, Settings},
    telemetry::upstreams,
    transport::Gate,
    upstream::Upstream,
};

/// How often the files are looked at. They are small, and few.
const REREAD: Duration = Duration::from_secs(2);

/// Reads the secrets of the upstreams and of the webhook again and again. `gates` are told when what was refused may
/// be allowed now.
pub(super) async fn reread(
    settings: Settings,
    gates: Vec<(Upstream, Gate)>,
    webhook: watch::Sender<Vec<SecretString>>,
) {
    let mut github = Files::new(settings.github.secrets());
    let mut datadog = Files::new(settings.datadog.secrets());
    let from = settings.server.webhook_secrets_file;
    let mut doors =
        Files::new(from.clone().map(|file| ("server.webhook_secrets", file)).into_iter().collect());
    let mut ticks = ticks(REREAD);
    loop {
        ticks.tick().await;
        let changed;
        // A file system that does not answer stops nothing but this.
        let looked = tokio::task::spawn_blocking(move || {
            let changed = [&mut github, &mut datadog, &mut doors].map(Files::changed);
            (github, datadog, doors, changed)
        });
        let Ok(looked) = looked.await else { return };
        (github, datadog, doors, changed) = looked;
        for (changed, of) in changed.into_iter().zip([Upstream::Github, Upstream::Datadog]) {
            if changed {
                let of_it = gates.iter().filter(|(upstream, _)| *upstream == of);
                of_it.for_each(|(upstream, gate)| gate.credential_changed(*upstream));
            }
        }
        if let Some(file) = from.as_ref().filter(|_| changed[2]) {
            webhook.send_replace(Server::secrets_in(&file.get()));
        }
    }
}

/// Secrets by key, and whether each was readable when last looked at.
struct Files(Vec<(&'static str, Secret, bool)>);

impl Files {
    fn new(secrets: Vec<(&'static str, Secret)>) -> Self {
        Self(secrets.into_iter().map(|(key, secret)| (key, secret, true)).collect())
    }

    /// Reads all of them again; says whether any is another now.
    fn changed(&mut self) -> bool {
        let mut any = false;
        for (key, secret, readable) in &mut self.0 {
            match secret.reread() {
                Ok(changed) => {
                    if changed {
                        upstreams::secret_changed(key);
                    }
                    any |= changed;
                    *readable = true;
                }
                Err(error) => {
                    upstreams::secret_unreadable(key, &error, *readable);
                    *readable = false;
                }
            }
        }
        any
    }
}
