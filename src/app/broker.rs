//! Settings → the broker's options.

use crate::{queue, settings::Settings};

/// What the publisher, the consumer and the probe need; `None` without a broker (`queue.url = "embedded"`).
pub fn broker(settings: &Settings) -> Option<queue::Options> {
    let url = settings.queue.url.clone()?;
    let queue = settings.queue.clone();
    Some(queue::Options {
        url,
        exchange: queue.exchange,
        queue: queue.queue,
        dead_queue: queue.dead_queue,
        bindings: queue.bindings,
        declare: queue.declare,
        prefetch: queue.prefetch,
    })
}
