//! The lease under which a lane is worked on: taken, renewed in the background, and asked before every
//! write whether enough of it is left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::AbortHandle;

use crate::{
    clock::Clock,
    ledger::{Ledger, LedgerError, lane_number},
    model::{Fence, Lane},
};

/// How long a lease lasts without renewal.
pub(super) const TTL: Duration = Duration::from_secs(30);

/// How much longer than its timeout a write is given before it is taken to be over.
pub(super) const MARGIN: Duration = Duration::from_secs(2);

/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(5);

/// A held lease.
pub(super) struct Lease {
    ledger: Ledger,
    pub(super) lane: Lane,
    pub(super) fence: i64,
    clock: Clock,
    /// The monotonic millisecond at which it ends, counted from before the query that took or renewed it.
    ends: Arc<AtomicU64>,
    renewal: AbortHandle,
}

impl Lease {
    /// Takes the lease, or answers `None` while another holds it.
    pub(super) async fn take(
        ledger: &Ledger,
        lane: Lane,
        holder: &str,
        clock: &Clock,
    ) -> sqlx::Result<Option<Self>> {
        let asked = clock.monotonic();
        let Some(fence) = ledger.lease(lane, holder, clock.now(), TTL).await? else { return Ok(None) };
        let ends = Arc::new(AtomicU64::new(millis(asked + TTL)));
        let renewal =
            tokio::spawn(renew(ledger.clone(), lane, fence, clock.clone(), ends.clone())).abort_handle();
        Ok(Some(Self { ledger: ledger.clone(), lane, fence, clock: clock.clone(), ends, renewal }))
    }

    /// What the writes under it carry.
    pub(super) fn fence(&self) -> Fence {
        Fence { lane: self.lane, count: self.fence }
    }

    /// Whether a write that may take `timeout` can be sent: not with less left than that and [`MARGIN`] more, so that a
    /// successor never writes while this write may still arrive.
    pub(super) fn allows_write(&self, timeout: Duration) -> bool {
        let needed = self.clock.monotonic() + timeout + MARGIN;
        millis(needed) <= self.ends.load(Ordering::Relaxed)
    }

    /// Gives it back.
    pub(super) async fn release(self) -> sqlx::Result<()> {
        self.renewal.abort();
        self.ledger.release(self.lane, self.fence).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

async fn renew(ledger: Ledger, lane: Lane, fence: i64, clock: Clock, ends: Arc<AtomicU64>) {
    let mut ticks = tokio::time::interval(RENEW);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let asked = clock.monotonic();
        match ledger.renew(lane, fence, clock.now(), TTL).await {
            Ok(()) => ends.store(millis(asked + TTL), Ordering::Relaxed),
            // Lost for good: whatever is settled later is refused by its fence.
            Err(LedgerError::LeaseLost(_)) => return ends.store(0, Ordering::Relaxed),
            // The ledger may be back at the next tick; until then the lease only grows shorter.
            Err(LedgerError::Store(error)) => {
                tracing::warn!(org.id = lane_number(lane), %lane, %error, "lease not renewed")
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
