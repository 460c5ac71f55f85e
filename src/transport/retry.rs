//! Retries for one-shot commands. The worker does not use this: its retries are rows in the ledger.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};

use crate::model::{Answer, Class, Trouble};

/// A command that waited this long in all says what is wrong and ends.
const TOTAL: Duration = Duration::from_secs(30);

/// Tries until it works, the trouble is one that waiting does not cure, or the waits would exceed 30 s in all;
/// the last trouble is returned. A write whose outcome is unknown is never sent again: it must be looked up.
pub async fn retry<T, F>(attempt: impl FnMut() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    retry_from(Duration::from_millis(500), attempt).await
}

/// The same for reads that answer in four ways; what is present, absent or forbidden is an answer.
pub async fn retry_answer<T, F>(mut attempt: impl FnMut() -> F) -> Answer<T>
where
    F: Future<Output = Answer<T>>,
{
    let outcome = retry(|| {
        let answer = attempt();
        async {
            match answer.await {
                Answer::Failed(trouble) => Err(trouble),
                answer => Ok(answer),
            }
        }
    });
    outcome.await.unwrap_or_else(Answer::Failed)
}

async fn retry_from<T, F>(min_delay: Duration, attempt: impl FnMut() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let started = Instant::now();
    let policy = ExponentialBuilder::default()
        .with_min_delay(min_delay)
        .with_max_delay(Duration::from_secs(8))
        .with_jitter()
        .without_max_times();
    attempt
        .retry(policy)
        .when(curable)
        .adjust(|trouble: &Trouble, delay| {
            let delay = delay?.max(trouble.retry_after.unwrap_or_default());
            (started.elapsed() + delay <= TOTAL).then_some(delay)
        })
        .notify(|trouble: &Trouble, delay| {
            tracing::warn!("{trouble}; trying again in {:.1} s", delay.as_secs_f32());
        })
        .await
}

fn curable(trouble: &Trouble) -> bool {
    match trouble.class {
        Class::Transient | Class::Throttled => !trouble.ambiguous,
        Class::Auth | Class::Permanent | Class::Invalid => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails with these troubles in turn, then works; answers the outcome and how often it was tried.
    async fn try_through(troubles: Vec<Trouble>) -> (Result<(), Trouble>, usize) {
        let mut tries = 0;
        let outcome = retry_from(Duration::from_millis(1), || {
            let outcome = troubles.get(tries).cloned().map_or(Ok(()), Err);
            tries += 1;
            async { outcome }
        })
        .await;
        (outcome, tries)
    }

    #[tokio::test]
    async fn what_waiting_cures_is_tried_until_it_works() {
        let throttled =
            Trouble { retry_after: Some(Duration::ZERO), ..Trouble::new(Class::Throttled, "slow") };
        let troubles =
            vec![Trouble::new(Class::Transient, "down"), throttled, Trouble::new(Class::Transient, "down")];
        assert_eq!(try_through(troubles).await, (Ok(()), 4));
    }

    #[tokio::test]
    async fn what_waiting_does_not_cure_is_tried_once() {
        for class in [Class::Auth, Class::Permanent, Class::Invalid] {
            let trouble = Trouble::new(class, "no");
            assert_eq!(try_through(vec![trouble.clone()]).await, (Err(trouble), 1));
        }
    }

    #[tokio::test]
    async fn a_write_whose_outcome_is_unknown_is_never_sent_again() {
        let lost = Trouble { ambiguous: true, ..Trouble::new(Class::Transient, "lost") };
        assert_eq!(try_through(vec![lost.clone()]).await, (Err(lost), 1));
    }

    #[tokio::test]
    async fn a_wait_beyond_the_limit_is_not_begun() {
        let long =
            Trouble { retry_after: Some(Duration::from_secs(31)), ..Trouble::new(Class::Throttled, "later") };
        assert_eq!(try_through(vec![long.clone()]).await, (Err(long), 1));
    }
}
