//! Signals → tokens passed as arguments; a drain with a deadline that says who was late.
//!
//! Nothing here ends the process: whoever holds the tokens stops in its own way, and `main` turns the result
//! into an exit code.

use std::{collections::HashMap, future::Future, time::Duration};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::{Id, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often the drain says who it is waiting for.
const REMIND: Duration = Duration::from_secs(5);

/// What the signals ask for.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// The first SIGTERM or SIGINT: take nothing new, finish what is in hand.
    pub stop: CancellationToken,
    /// The second: give up now, by the way any other error goes.
    pub abandon: CancellationToken,
}

/// Listens for SIGTERM and SIGINT from now on.
pub fn signals() -> anyhow::Result<Signals> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let signals = Signals::default();
    let Signals { stop, abandon } = signals.clone();
    tokio::spawn(async move {
        for token in [stop, abandon] {
            tokio::select! {
                _ = terminate.recv() => info!("received SIGTERM"),
                _ = interrupt.recv() => info!("received SIGINT"),
            }
            token.cancel();
        }
    });
    Ok(signals)
}

/// Tasks of the process, each with a name to complain by.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Starts a task.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits for the next task to end: its name and how it ended (a panic is an error). `None` when none is
    /// left. Cancel safe.
    pub async fn next_end(&mut self) -> Option<(&'static str, anyhow::Result<()>)> {
        let (id, result) = match self.running.join_next_with_id().await? {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(error.into())),
        };
        let name = self.names.remove(&id).unwrap_or("unnamed");
        Some((name, result.with_context(|| format!("{name} ended"))))
    }

    /// Gives the tasks, which were told to stop, this long to do so. Aborts the others and answers their names.
    pub async fn drain(mut self, grace: Duration) -> Vec<&'static str> {
        let deadline = Instant::now() + grace;
        let mut remind = Instant::now() + REMIND;
        loop {
            match timeout_at(remind.min(deadline), self.next_end()).await {
                Ok(None) => return Vec::new(),
                Ok(Some((_, Ok(())))) => {}
                Ok(Some((name, Err(error)))) => warn!("{name} did not stop cleanly: {error:#}"),
                Err(_) => {
                    let mut late: Vec<_> = self.names.values().copied().collect();
                    late.sort_unstable();
                    let now = Instant::now();
                    if now >= deadline {
                        warn!("gave up waiting for {}", late.join(", "));
                        self.running.abort_all();
                        return late;
                    }
                    let left_s = (deadline - now).as_secs();
                    info!(left_s, "waiting for {}", late.join(", "));
                    remind += REMIND;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drain_names_only_the_tasks_that_are_late() {
        let mut tasks = Tasks::default();
        tasks.spawn("quick", async { Ok(()) });
        tasks.spawn("stuck", std::future::pending());
        assert_eq!(tasks.drain(Duration::from_millis(20)).await, ["stuck"]);
    }

    #[tokio::test]
    async fn drain_ends_when_the_last_task_has_stopped_however_it_stopped() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::default();
        for clean in [true, false] {
            let stop = stop.clone();
            tasks.spawn("told", async move {
                stop.cancelled().await;
                anyhow::ensure!(clean, "it broke while stopping");
                Ok(())
            });
        }
        stop.cancel();
        assert!(tasks.drain(Duration::from_secs(60)).await.is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_an_error_with_the_tasks_name() {
        let mut tasks = Tasks::default();
        tasks.spawn("clumsy", async { panic!("oh") });
        let (name, result) = tasks.next_end().await.unwrap();
        assert_eq!(name, "clumsy");
        assert!(format!("{:#}", result.unwrap_err()).starts_with("clumsy ended: "));
    }
}
