//! Where deliveries are accepted: the `Inbox` trait that both doors hand them to, and the [`Intake`], which
//! stores them.
//!
//! A delivery is accepted only when it is stored: in the ledger by [`Intake`], or confirmed by the broker in
//! `queue::Publisher`. These two are the whole difference between the embedded and the distributed set-up.
//!
//! The intake commits in groups: while one transaction is being written, whatever arrives waits together for the
//! next, so that a thousand deliveries cost a handful of disk flushes. Nothing is told `Ok` before its commit.

mod replay;
mod sort;
mod verify;
mod watch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use sqlx::error::ErrorKind;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use self::sort::{Received, entry};
pub use self::{
    replay::Replayed,
    verify::{Verify, VerifyWhen},
    watch::Watch,
};
use crate::{
    clock::Clock,
    ledger::{Accepting, Ledger, OrgRow, Outcome, Pace, ParkedPlace},
    model::{Delivery, Time},
    telemetry,
};

/// Takes deliveries for good. When `accept` answers `Ok`, the delivery survives a crash of this process.
pub trait Inbox: Send + Sync + 'static {
    /// Stores one delivery.
    fn accept(&self, delivery: Delivery) -> BoxFuture<'_, Result<(), Refused>>;

    /// Whether deliveries can be accepted now, and if not, why; for `/readyz`.
    fn ready(&self) -> Result<(), String>;
}

/// The inbox could not store a delivery; whoever sent it must send it again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// What was wrong, for people.
    pub reason: String,
    /// When trying again may help.
    pub retry_after: Duration,
}

/// The largest number of deliveries in one transaction: enough to make the disk flush cheap for each, few enough
/// that a transaction ends within some tens of milliseconds.
const GROUP: usize = 1_000;

/// Bytes of bodies that may wait for their commit; beyond it, senders wait at the door.
const IN_FLIGHT_BYTES: usize = 64 << 20;

/// How soon trying again may help when the ledger does not store.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The inbox that writes to the ledger, many deliveries a transaction.
#[derive(Clone)]
pub struct Intake {
    groups: mpsc::Sender<Group>,
    bytes: Arc<Semaphore>,
    healthy: Arc<AtomicBool>,
    /// For what is parked in it.
    ledger: Ledger,
    clock: Clock,
    /// `None`: the door before it has checked the signatures.
    verify: Option<Verify>,
}

/// Deliveries that arrived together, and who waits for their commit.
struct Group {
    received: Vec<Received>,
    done: oneshot::Sender<Result<(), Refused>>,
}

impl Intake {
    /// Starts the task that commits. It ends when the last clone of the intake is dropped; `accepted` is notified
    /// after each commit that marked something.
    pub fn start(ledger: Ledger, watch: Watch, pace: Pace, accepted: Arc<Notify>, clock: Clock) -> Self {
        let (groups, waiting) = mpsc::channel(GROUP);
        let healthy = Arc::new(AtomicBool::new(true));
        let committer = Committer {
            ledger: ledger.clone(),
            watch,
            pace,
            accepted,
            clock: clock.clone(),
            healthy: healthy.clone(),
        };
        tokio::spawn(committer.run(waiting));
        let bytes = Arc::new(Semaphore::new(IN_FLIGHT_BYTES));
        Self { groups, bytes, healthy, ledger, clock, verify: None }
    }

    /// The same intake behind a door that does not check signatures itself.
    pub fn verifying(self, verify: Verify) -> Self {
        Self { verify: Some(verify), ..self }
    }

    /// Stores deliveries in the order given, in one transaction with whatever else is waiting. `Ok` means that
    /// all of them are committed (those that cannot be decoded or believed are parked, which is stored too).
    pub async fn accept_all(&self, deliveries: Vec<Delivery>) -> Result<(), Refused> {
        let received = deliveries.into_iter().map(|delivery| {
            let wrong = self.verify.as_ref().and_then(|verify| verify.check(&delivery).err());
            Received { delivery, unfit: wrong.map(|wrong| (ParkedPlace::Signature, wrong)) }
        });
        self.store(received.collect()).await
    }

    /// Parks a delivery that the broker gave up, whatever it says.
    pub async fn park_dead(&self, delivery: Delivery, why: String) -> Result<(), Refused> {
        self.store(vec![Received { delivery, unfit: Some((ParkedPlace::DeadQueue, why)) }]).await
    }

    async fn store(&self, received: Vec<Received>) -> Result<(), Refused> {
        let bytes = received.iter().map(|received| received.delivery.body.len()).sum::<usize>();
        let permits = u32::try_from(bytes.clamp(1, IN_FLIGHT_BYTES)).unwrap_or(u32::MAX);
        let _in_flight = self.bytes.acquire_many(permits).await.map_err(|_| closed())?;
        let (done, committed) = oneshot::channel();
        self.groups.send(Group { received, done }).await.map_err(|_| closed())?;
        committed.await.map_err(|_| closed())?
    }
}

impl Inbox for Intake {
    fn accept(&self, delivery: Delivery) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(self.accept_all(vec![delivery]))
    }

    fn ready(&self) -> Result<(), String> {
        if self.healthy.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("the ledger did not store the last deliveries".to_owned())
        }
    }
}

/// Whether the store objects to what was to be stored, rather than being unable to store anything.
fn refused_content(error: &sqlx::Error) -> bool {
    // SQLite: 18 is SQLITE_TOOBIG, 20 is SQLITE_MISMATCH. PostgreSQL, of five characters: class 22 is a data exception,
    // 54 a limit that was exceeded.
    let of_content = |code: &str| match code {
        "18" | "20" => true,
        code => code.len() == 5 && (code.starts_with("22") || code.starts_with("54")),
    };
    error.as_database_error().is_some_and(|error| {
        error.kind() != ErrorKind::Other || error.code().is_some_and(|code| of_content(&code))
    })
}

/// What is stored in place of an entry that the store refuses.
fn parked(entry: Accepting, error: &str) -> Accepting {
    if entry.outcome != Outcome::Parked {
        return entry.poisoned(error);
    }
    telemetry::work::not_parked(&entry.guid, error);
    entry.stub(error)
}

fn closed() -> Refused {
    Refused { reason: "the intake is shutting down".to_owned(), retry_after: RETRY_AFTER }
}

struct Committer {
    ledger: Ledger,
    watch: Watch,
    pace: Pace,
    accepted: Arc<Notify>,
    clock: Clock,
    healthy: Arc<AtomicBool>,
}

impl Committer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Group>) {
        while let Some(first) = waiting.recv().await {
            let mut size = first.received.len();
            let mut groups = vec![first];
            while size < GROUP {
                let Ok(next) = waiting.try_recv() else { break };
                size += next.received.len();
                groups.push(next);
            }
            let now = self.clock.now();
            let mut entries = self.sort(&groups);
            if self.watch.met_stranger() {
                // The worker, or a command in another process, may have bound it meanwhile.
                let (bound, released) = (self.ledger.orgs().await, self.ledger.released_orgs().await);
                if let (Ok(bound), Ok(released)) = (bound, released) {
                    let binding = |org: OrgRow| (org.facts.id, org.bound_login);
                    self.watch.relearn(bound.into_iter().map(binding), released.into_iter().map(binding));
                    entries = self.sort(&groups);
                }
            }
            let result = self.commit(entries, now).await;
            self.healthy.store(result.is_ok(), Ordering::Relaxed);
            for group in groups {
                // Whoever waited may have given up; the delivery is stored all the same.
                drop(group.done.send(result.clone()));
            }
        }
    }

    fn sort(&mut self, groups: &[Group]) -> Vec<Accepting> {
        let received = groups.iter().flat_map(|group| &group.received);
        received.map(|received| entry(received, &mut self.watch)).collect()
    }

    /// Commits entries. Those that the store refuses for what they hold are found by halving, and parked.
    async fn commit(&mut self, entries: Vec<Accepting>, now: Time) -> Result<(), Refused> {
        let mut rest = vec![entries];
        while let Some(mut entries) = rest.pop() {
            let Err(error) = self.ledger.accept(&entries, self.pace, now).await.map(|accepted| {
                telemetry::work::accepted(&entries, &accepted);
                if accepted.marked > 0 || entries.iter().any(|entry| entry.stranger.is_some()) {
                    self.accepted.notify_one();
                }
            }) else {
                continue;
            };
            if !refused_content(&error) || entries.iter().any(Accepting::is_stub) {
                telemetry::work::not_stored(&error);
                return Err(Refused {
                    reason: format!("the ledger did not store the delivery: {error}"),
                    retry_after: RETRY_AFTER,
                });
            }
            if entries.len() > 1 {
                let half = entries.split_off(entries.len() / 2);
                rest.push(half);
                rest.push(entries);
            } else {
                let error = error.to_string();
                rest.push(entries.into_iter().map(|entry| parked(entry, &error)).collect());
            }
        }
        Ok(())
    }
}
