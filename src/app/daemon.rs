//! The daemon: which tasks a role has, how they start and how they end.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use axum::Router;
use secrecy::ExposeSecret as _;
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use super::{options, presence, secrets};
use crate::{
    admin,
    intake::Inbox,
    ledger::{DaemonLock, Keep, Ledger},
    model::{Asks, Cause},
    queue::{Consumer, DeadQueue, Publisher},
    reconcile::Worker,
    server,
    settings::Settings,
    shutdown::Tasks,
    telemetry::{self, Metrics},
    webhook,
};

/// How often the gauges are read from the ledger.
const GAUGES: Duration = Duration::from_secs(5);

/// How often old rows are forgotten, unless they are kept for less.
const FORGET: Duration = Duration::from_secs(3600);

/// How long after a full pass that could not begin it is tried again.
const PASS_RETRY: Duration = Duration::from_secs(30);

/// What a process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Everything
    #[default]
    All,
    /// Take webhooks and publish them to the broker; needs no ledger
    Webhook,
    /// Consume the broker and keep Datadog in step
    Worker,
}

/// A running daemon.
pub struct Daemon {
    /// Where its HTTP listener is.
    pub addr: SocketAddr,
    tasks: Tasks,
    stop: CancellationToken,
    grace: Duration,
    ledger: Option<Ledger>,
    _lock: Option<DaemonLock>,
}

impl Daemon {
    /// Starts the tasks of a role. It returns once the listener is open and the ledger is ready; the broker may
    /// still be away.
    pub async fn start(settings: &Settings, role: Role, metrics: Metrics) -> anyhow::Result<Self> {
        let loaded = Instant::now();
        let queue = super::broker::broker(settings);
        if role == Role::Webhook && queue.is_none() {
            bail!(
                "`--role webhook` hands deliveries to a broker, but `queue.url` is \"embedded\"; set it (or AMQP_URL), or run with `--role all`"
            );
        }
        let listener = TcpListener::bind(settings.server.listen)
            .await
            .with_context(|| format!("failed to listen on server.listen {}", settings.server.listen))?;
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let mut tasks = Tasks::default();
        let mut health = admin::Options {
            metrics,
            loopback: addr.ip().to_canonical().is_loopback(),
            loops: Vec::new(),
            doors: Vec::new(),
            upstreams: Vec::new(),
            workers: Vec::new(),
        };

        let (secrets, secrets_now) = watch::channel(settings.server.webhook_secrets.clone());
        let (mut ledger, mut lock, mut intake) = (None, None, None);
        let mut gates = Vec::new();
        if role != Role::Webhook {
            // Before anything is read: a second daemon on the same file must not touch it.
            lock = DaemonLock::take(settings.ledger.url.expose_secret())?;
            let process = presence::process(settings, role_name(role), loaded);
            let store = super::ledger(settings).await?.as_process(process);
            let writing = || {
                let url = super::place(&settings.ledger.url);
                format!("failed to write to the ledger {url}; it and its folder must be writable")
            };
            if lock.is_some() {
                store.end_daemon_leases().await.with_context(writing)?;
            }
            store.mark_interrupted(None, store.clock().now()).await.with_context(writing)?;
            let wake = Arc::new(Notify::new());
            intake = Some(super::intake(settings, &store, wake.clone(), secrets_now.clone()).await?);
            let worker = super::worker(settings, store.clone(), "daemon", wake)?;
            let turning = worker.clone();
            health.loops.push(("worker", Box::new(move || turning.turning())));
            gates.extend(worker.gates());
            for (upstream, gate) in gates.clone() {
                let told = move || gate.trouble(upstream).map_or(Ok(()), Err);
                health.upstreams.push((upstream.as_str(), Box::new(told)));
            }
            let shown = store.clone();
            health.workers.push(("settings", Box::new(move || presence::in_force(&shown))));
            store.announce(store.clock().now()).await.with_context(writing)?;
            start_work(&mut tasks, settings, &worker, &store, &stop);
            ledger = Some(store);
        }

        // Requests in flight still publish: the publisher leaves after the listener.
        let doors_shut = CancellationToken::new();
        let mut inbox: Option<Arc<dyn Inbox>> = None;
        let counts_stored = queue.is_some();
        if let Some(queue) = queue {
            if role != Role::Worker {
                let publisher = Publisher::new(queue.clone());
                inbox = Some(Arc::new(publisher.clone()));
                let stop = doors_shut.clone();
                tasks.spawn("publisher", async move {
                    publisher.run(stop).await;
                    Ok(())
                });
            }
            if let Some(intake) = intake {
                let dead = DeadQueue::new(queue.clone(), intake.clone());
                let draining = stop.clone();
                tasks.spawn("dead queue", async move {
                    dead.run(draining).await;
                    Ok(())
                });
                let consumer = Consumer::new(queue, intake);
                let turning = consumer.clone();
                health.loops.push(("consumer", Box::new(move || turning.turning())));
                let (asked, stop) = (consumer.clone(), stop.clone());
                health.doors.push(("queue", Box::new(move || asked.ready())));
                tasks.spawn("consumer", async move {
                    consumer.run(stop).await;
                    Ok(())
                });
            }
        } else if let Some(intake) = intake {
            inbox = Some(Arc::new(intake));
        }

        tasks.spawn("secrets", until(&stop, secrets::reread(settings.clone(), gates, secrets)));
        let mut router = Router::new();
        if let Some(inbox) = inbox.filter(|_| role != Role::Worker) {
            let asked = inbox.clone();
            health.doors.push(("webhook", Box::new(move || asked.ready())));
            let options = webhook::Options {
                secrets: secrets_now,
                max_body: usize::try_from(settings.server.max_body).unwrap_or(usize::MAX),
                github_host: options::github_host(settings),
                counts_stored,
            };
            router = router.merge(webhook::router(options, inbox));
        }
        let router = router.merge(admin::router(health));
        let stopping = stop.clone();
        tasks.spawn("http", async move {
            server::serve(listener, router, server::Limits::of_process(), stopping).await;
            doors_shut.cancel();
            Ok(())
        });
        telemetry::work::started(addr, role_name(role));
        let grace = settings.server.shutdown_grace;
        Ok(Self { addr, tasks, stop, grace, ledger, _lock: lock })
    }

    /// Waits until one of its tasks ends by itself, which none should.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.next_end().await {
            Some((name, Ok(()))) => anyhow::anyhow!("{name} ended by itself"),
            Some((_, Err(error))) => error,
            None => anyhow::anyhow!("nothing is running"),
        }
    }

    /// Stops taking work, finishes what is in hand, and answers the names of those that did not in time.
    pub async fn stop(self) -> Vec<&'static str> {
        self.stop.cancel();
        let late = self.tasks.drain(self.grace).await;
        if let Some(ledger) = self.ledger {
            presence::leave(&ledger).await;
            ledger.close().await;
        }
        late
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::All => "all",
        Role::Webhook => "webhook",
        Role::Worker => "worker",
    }
}

/// The tasks that work on the ledger.
fn start_work(
    tasks: &mut Tasks,
    settings: &Settings,
    worker: &Worker,
    ledger: &Ledger,
    stop: &CancellationToken,
) {
    let (looping, stopping) = (worker.clone(), stop.clone());
    tasks.spawn("worker", async move {
        looping.run(stopping).await;
        Ok(())
    });
    if let Some(every) = settings.reconcile.every {
        // One task for each login, so that one which cannot be looked up holds up no other.
        let orgs = &settings.github.orgs;
        let alone: Vec<&[String]> = if orgs.is_empty() { vec![&[]] } else { orgs.chunks(1).collect() };
        for orgs in alone {
            tasks.spawn("passes", until(stop, passes(worker.clone(), orgs.to_vec(), every)));
        }
    }
    let keep = Keep {
        deliveries: settings.ledger.keep_deliveries,
        audit: settings.ledger.keep_audit,
        window: settings.guard.window,
    };
    tasks.spawn("presence", until(stop, presence::show(ledger.clone())));
    tasks.spawn("gauges", until(stop, gauges(ledger.clone())));
    tasks.spawn("forgetting", until(stop, forgetting(ledger.clone(), keep)));
    tasks.spawn("directory", until(stop, directory(worker.clone(), settings.datadog.teams_ttl)));
}

/// A task without an end of its own, ended by the token.
fn until(
    stop: &CancellationToken,
    task: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = anyhow::Result<()>> + Send + 'static {
    let stop = stop.clone();
    async move {
        stop.run_until_cancelled(task).await;
        Ok(())
    }
}

pub(super) fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn passes(worker: Worker, orgs: Vec<String>, every: Duration) {
    let mut ticks = ticks(every);
    loop {
        ticks.tick().await;
        while let Err(error) = worker.begin_pass(&orgs, Cause::Pass, Asks::PASS).await {
            telemetry::work::pass_not_begun(&error);
            tokio::time::sleep(PASS_RETRY.min(every)).await;
        }
    }
}

async fn gauges(ledger: Ledger) {
    let mut ticks = ticks(GAUGES);
    loop {
        ticks.tick().await;
        let now = ledger.clock().now();
        match ledger.counts(now).await {
            Ok(counts) => telemetry::work::counts(&counts, now),
            Err(error) => telemetry::work::ledger_failed("count", &error),
        }
    }
}

async fn forgetting(ledger: Ledger, keep: Keep) {
    let mut ticks = ticks(FORGET.min(keep.deliveries).max(Duration::from_secs(1)));
    loop {
        ticks.tick().await;
        let now = ledger.clock().now();
        if let Err(error) = ledger.forget_old(keep, now).await {
            telemetry::work::ledger_failed("forget old rows", &error);
        }
    }
}

async fn directory(worker: Worker, ttl: Duration) {
    let mut ticks = ticks(ttl);
    loop {
        ticks.tick().await;
        if let Err(error) = worker.refresh_directory().await {
            telemetry::work::pass_not_begun(&error);
        }
    }
}
