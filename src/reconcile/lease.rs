//! The lease under which a lane is worked on: taken, renewed in the background, and asked before every
//! write whether enough of it is left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::bail;
use tokio::task::AbortHandle;

use crate::{
    clock::Clock,
    ledger::{Ledger, LedgerError, Spans, lane_number},
    model::{Fence, LISTS_LAG, Lane},
    telemetry,
};

/// How much longer than a write's timeout a lease lasts without renewal: a worker that misses two renewals still writes,
/// and one that is killed stalls its lane no longer than that.
const SPARE: Duration = Duration::from_secs(5);

/// How much longer than its timeout a write is given before it is taken to be over.
pub(super) const MARGIN: Duration = Duration::from_secs(2);

/// Returns how long after a write was sent Datadog's lists show whether it was carried out, though nobody answered it. It may
/// arrive until its sender gives up, and the lists lag behind that.
pub(super) fn shown_within(timeout: Duration) -> Duration {
    timeout + MARGIN + LISTS_LAG
}

/// How long a person's command waits for a lease that somebody else has.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it asks for that.
const POLL: Duration = Duration::from_millis(200);

/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(1);

/// A held lease.
pub(super) struct Lease {
    ledger: Ledger,
    pub(super) lane: Lane,
    pub(super) fence: i64,
    clock: Clock,
    spans: Spans,
    /// How often the clock had been set when it was taken.
    jumps: u64,
    /// The monotonic millisecond at which it ends, counted from before the query that took or renewed it.
    ends: Arc<AtomicU64>,
    renewal: AbortHandle,
}

impl Lease {
    /// Takes the lease for writes that may take `timeout` each, or answers `None` while another holds it.
    pub(super) async fn take(
        ledger: &Ledger,
        lane: Lane,
        holder: &str,
        clock: &Clock,
        (timeout, spans): (Duration, Spans),
    ) -> sqlx::Result<Option<Self>> {
        let (lasts, jumps) = (timeout + SPARE, ledger.jumps());
        let asked = clock.monotonic();
        let Some(fence) = ledger.lease(lane, holder, clock.now(), lasts).await? else { return Ok(None) };
        let ends = Arc::new(AtomicU64::new(millis(asked + lasts)));
        let renewal = renew(ledger.clone(), (lane, fence), clock.clone(), lasts, ends.clone());
        let renewal = tokio::spawn(renewal).abort_handle();
        let (ledger, clock) = (ledger.clone(), clock.clone());
        Ok(Some(Self { ledger, lane, fence, clock, spans, jumps, ends, renewal }))
    }

    /// Takes the lease once nobody else holds it. `what` is worked on under it.
    ///
    /// # Errors
    /// When another still holds it after 30 s, or the ledger fails.
    pub(super) async fn wait(
        ledger: &Ledger,
        lane: Lane,
        holder: &str,
        clock: &Clock,
        terms: (Duration, Spans),
        what: &str,
    ) -> anyhow::Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(lease) = Self::take(ledger, lane, holder, clock, terms).await? {
                return Ok(lease);
            }
            if Instant::now() > deadline {
                bail!("another process has worked on {what} for more than 30 s; try again");
            }
            tokio::time::sleep(POLL).await;
        }
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

    /// Gives it back. What was stored under it by the time before a jump of the clock is corrected first.
    pub(super) async fn release(self) -> sqlx::Result<()> {
        let kept = self.keep_time().await;
        self.renewal.abort();
        self.ledger.release(self.lane, self.fence).await?;
        kept
    }

    async fn keep_time(&self) -> sqlx::Result<()> {
        keep_time(&self.ledger, self.spans).await?;
        if self.ledger.jumps() != self.jumps {
            self.ledger.keep_time_again(self.spans).await?;
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Goes by the wall clock as it is now, and says so if it was set.
pub(super) async fn keep_time(ledger: &Ledger, spans: Spans) -> sqlx::Result<()> {
    if let Some(micros) = ledger.keep_time(spans).await? {
        telemetry::work::clock_set(micros);
    }
    Ok(())
}

async fn renew(
    ledger: Ledger,
    (lane, fence): (Lane, i64),
    clock: Clock,
    lasts: Duration,
    ends: Arc<AtomicU64>,
) {
    loop {
        clock.wait(RENEW).await;
        let asked = clock.monotonic();
        match ledger.renew(lane, fence, clock.now(), lasts).await {
            Ok(()) => ends.store(millis(asked + lasts), Ordering::Relaxed),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OrgId, Time};

    #[tokio::test]
    async fn a_lease_lasts_a_write_and_five_seconds_and_serves_no_write_that_would_outlast_it() {
        let directory = tempfile::tempdir().unwrap();
        let ledger =
            Ledger::open(&format!("sqlite:{}", directory.path().join("ledger.db").display())).await.unwrap();
        let (clock, timeout) = (Clock::simulated(Time(1_000_000_000_000), 1), Duration::from_secs(10));
        let (grace, window, delay, lag) = (timeout, timeout, timeout, timeout);
        let terms = (timeout, Spans { grace, window, delay, lag });
        let take =
            async |holder| Lease::take(&ledger, Lane::Org(OrgId(1)), holder, &clock, terms).await.unwrap();
        let lease = take("a").await.unwrap();
        clock.advance(Duration::from_secs(3));
        assert!(lease.allows_write(timeout), "two renewals were missed");
        clock.advance(Duration::from_millis(1));
        assert!(!lease.allows_write(timeout));
        clock.advance(Duration::from_millis(11_998));
        assert!(take("b").await.is_none());
        clock.advance(Duration::from_millis(1));
        assert!(take("b").await.is_some());
    }
}
