//! How many messages the broker may send ahead: a count that keeps the bytes within bounds. Pure.
//!
//! AMQP could bound the bytes (`prefetch_size`), but RabbitMQ does not implement it, and lapin buffers whatever
//! comes without a bound. GitHub's bodies are 10 KiB or so, but may be 25 MiB: a thousand of those would be
//! 25 GB. So the consumer counts the bytes it holds; beyond [`BUDGET`] it closes the channel, whereupon what it
//! did not commit goes back to the queue, and consumes again with a prefetch at which even messages as large as
//! the largest seen fit. After a stretch of small ones the prefetch doubles, up to what the settings say.
//!
//! Each return to the queue counts towards the broker's delivery limit. At most a few returns happen before the
//! prefetch fits, and what is at the head of the queue is committed in between, so none gets near it.

/// Bytes received and not yet committed, at most (but for what is on its way while the channel closes).
pub(super) const BUDGET: usize = 64 * 1024 * 1024;
/// A stretch is this many times the prefetch in committed messages.
const STRETCH: usize = 4;

/// The prefetch now, and what is needed to move it.
#[derive(Debug)]
pub(super) struct Pace {
    configured: u16,
    prefetch: u16,
    committed: usize,
    largest: usize,
    refused: bool,
}

impl Pace {
    pub(super) fn new(configured: u16) -> Self {
        let configured = configured.max(1);
        Self { configured, prefetch: configured, committed: 0, largest: 0, refused: false }
    }

    /// What to set before the next `basic.consume`.
    pub(super) fn prefetch(&self) -> u16 {
        if self.refused { 1 } else { self.prefetch }
    }

    /// The ledger refused a batch. Until it takes one, a new session asks for a single message.
    pub(super) fn refused(&mut self) {
        self.refused = true;
    }

    /// The budget was exceeded by messages of at most `largest` bytes.
    pub(super) fn overflowed(&mut self, largest: usize) {
        let fits = u16::try_from(BUDGET / largest.max(1)).unwrap_or(u16::MAX);
        // Halved at least: bytes in flight were more than this prefetch should have allowed.
        self.set(fits.min(self.prefetch / 2));
    }

    /// A batch was committed. When the prefetch has grown, the reason: consuming should begin again with it.
    pub(super) fn committed(&mut self, messages: usize, largest: usize) -> Option<&'static str> {
        if std::mem::take(&mut self.refused) {
            return Some("the ledger takes deliveries again");
        }
        self.committed += messages;
        self.largest = self.largest.max(largest);
        if self.prefetch == self.configured || self.committed < STRETCH * usize::from(self.prefetch) {
            return None;
        }
        let doubled = self.prefetch.saturating_mul(2).min(self.configured);
        let fits = self.largest.saturating_mul(doubled.into()) <= BUDGET;
        self.set(if fits { doubled } else { self.prefetch });
        fits.then_some("messages are small again")
    }

    fn set(&mut self, prefetch: u16) {
        *self = Self { prefetch: prefetch.clamp(1, self.configured), committed: 0, largest: 0, ..*self };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn messages_of_the_largest_size_seen_fit_the_budget_after_an_overflow() {
        let mut pace = Pace::new(1000);
        pace.overflowed(25 * MIB);
        assert_eq!(pace.prefetch(), 2);
        pace.overflowed(70 * MIB);
        assert_eq!(pace.prefetch(), 1);
    }

    #[test]
    fn an_overflow_always_lowers_the_prefetch_until_it_is_one() {
        let mut pace = Pace::new(1000);
        for expected in [500, 250, 125, 62, 31, 15, 7, 3, 1, 1] {
            pace.overflowed(1);
            assert_eq!(pace.prefetch(), expected);
        }
    }

    #[test]
    fn small_messages_bring_the_configured_prefetch_back() {
        let mut pace = Pace::new(1000);
        pace.overflowed(25 * MIB);
        let mut messages = 0;
        while pace.prefetch() < 1000 {
            pace.committed(1, 8 * 1024);
            messages += 1;
            assert!(messages < 10_000, "stuck at {pace:?}");
        }
        assert_eq!(
            pace.committed(10_000, 8 * 1024),
            None,
            "at the configured prefetch there is nothing to grow"
        );
    }

    #[test]
    fn large_messages_keep_the_prefetch_down() {
        let mut pace = Pace::new(1000);
        pace.overflowed(25 * MIB);
        assert!((0..1000).all(|_| pace.committed(1, 25 * MIB).is_none()));
        assert_eq!(pace.prefetch(), 2);
    }

    #[test]
    fn after_a_refusal_one_message_is_asked_for_until_one_is_committed() {
        let mut pace = Pace::new(1000);
        pace.refused();
        assert_eq!(pace.prefetch(), 1);
        assert!(pace.committed(1, 1).is_some());
        assert_eq!(pace.prefetch(), 1000);
    }
}
