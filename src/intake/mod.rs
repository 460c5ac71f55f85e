//! Where deliveries are accepted: the `Inbox` trait that both doors hand them to, and the [`Intake`], which
//! stores them.
//!
//! A delivery is accepted only when it is stored: in the ledger by [`Intake`], or confirmed by the broker in
//! `queue::Publisher`. These two are the whole difference between the embedded and the distributed set-up.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::model::Delivery;

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

/// The inbox that writes to the ledger, many deliveries a transaction.
#[derive(Clone)]
pub struct Intake {}

impl Intake {
    /// Stores deliveries in the order given, in one transaction with whatever else is waiting. `Ok` means that
    /// all of them are committed (those that cannot be decoded are parked, which is stored too).
    pub async fn accept_all(&self, deliveries: Vec<Delivery>) -> Result<(), Refused> {
        drop(deliveries);
        Err(Refused { reason: "not built yet".into(), retry_after: Duration::from_secs(1) })
    }
}
