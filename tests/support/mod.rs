//! What the test binaries share: a world to play on, documents within it, and waiting.

pub mod documents;
pub mod ledgers;
pub mod process;
pub mod world;

use std::time::{Duration, Instant};

/// Where the broker is. `tests/run` sees to it that one answers there.
pub fn amqp_url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".into())
}

/// Asks again and again until it is so; fails after a minute.
pub async fn eventually<T: std::fmt::Debug + PartialEq>(
    what: &str,
    expected: T,
    mut ask: impl AsyncFnMut() -> T,
) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = ask().await;
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: still {found:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
