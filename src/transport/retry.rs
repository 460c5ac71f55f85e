//! Retries for one-shot commands. The worker does not use this: its retries are rows in the ledger.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};

use crate::model::{Answer, Class, Trouble};

/// A command that waited this long in all says what is wrong and ends.
const TOTAL: Duration = Duration::from_secs(30);

/// Tries until it works, the trouble is one that waiting does not cure, or 30 s would be exceeded; the last
/// trouble is returned. A write whose outcome is unknown is never sent again: it must be looked up.
pub async fn retry<T, F>(attempt: impl FnMut() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let started = Instant::now();
    let policy = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
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
            tracing::warn!(delay_ms = delay.as_millis() as u64, "{trouble}; trying again")
        })
        .await
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

fn curable(trouble: &Trouble) -> bool {
    match trouble.class {
        Class::Transient | Class::Throttled => !trouble.ambiguous,
        Class::Auth | Class::Permanent | Class::Invalid => false,
    }
}
