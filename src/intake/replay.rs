//! What is parked is accepted again, by the same way as the first time: it is checked, decoded and stored anew.

use super::{Intake, RETRY_AFTER, Refused};
use crate::ledger::AuditAction;

/// What became of a parked delivery that was accepted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It was stored, and is parked no more.
    Accepted,
    /// It was given up on again, for the reason that the ledger has now.
    ParkedAnew,
    /// It was not parked any more.
    Gone,
}

impl Intake {
    /// Accepts a parked delivery again because a person asked for it, which the audit trail keeps with the reason.
    /// `attempts` is its count as the person saw it.
    ///
    /// # Errors
    /// When the ledger does not store; the delivery is then still parked.
    pub async fn replay(&self, id: i64, attempts: i64, reason: &str) -> Result<Replayed, Refused> {
        let Some(delivery) = self.ledger.parked_delivery(id).await.map_err(refused)? else {
            return Ok(Replayed::Gone);
        };
        self.accept_all(vec![delivery]).await?;
        let now = self.clock.now();
        let gone =
            self.ledger.unpark(id, attempts, AuditAction::Replay, reason, now).await.map_err(refused)?;
        Ok(if gone { Replayed::Accepted } else { Replayed::ParkedAnew })
    }

    /// Accepts again, once, each delivery that came from the broker's dead queue. Answers how many are stored now.
    ///
    /// # Errors
    /// When the ledger does not store; what was not accepted again stays parked.
    pub async fn revive_dead(&self) -> Result<usize, Refused> {
        let mut revived = 0;
        while let Some((id, attempts)) = self.ledger.take_dead().await.map_err(refused)? {
            if let Some(delivery) = self.ledger.parked_delivery(id).await.map_err(refused)? {
                // It is not given again, so that it must not be dropped because the ledger is busy.
                while let Err(refused) = self.accept_all(vec![delivery.clone()]).await {
                    tokio::time::sleep(refused.retry_after).await;
                }
                revived += usize::from(self.ledger.revived(id, attempts).await.map_err(refused)?);
            }
        }
        Ok(revived)
    }
}

fn refused(error: sqlx::Error) -> Refused {
    Refused { reason: format!("the ledger failed: {error}"), retry_after: RETRY_AFTER }
}
