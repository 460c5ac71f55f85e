//! What a channel delivered and we did not acknowledge yet, in the order of delivery.

use std::collections::VecDeque;

use bytes::Bytes;
use lapin::message::Delivery as Message;

use super::message;
use crate::model::{Delivery, Time};

/// Messages offered to the intake at a time: enough to spread one commit's fsync thin.
const MAX_BATCH: usize = 512;
/// Bytes offered at a time (one message may be larger).
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Messages that wait for a batch, and the count of all that are not acknowledged.
#[derive(Default)]
pub(super) struct Held {
    waiting: VecDeque<(u64, Delivery)>,
    messages: usize,
    bytes: usize,
}

/// The oldest messages of a channel, on their way into the ledger.
pub(super) struct Batch {
    pub(super) deliveries: Vec<Delivery>,
    /// When this and all before it are committed, this tag acknowledges them.
    pub(super) last_tag: u64,
    /// Bytes of the largest body.
    pub(super) largest: usize,
    bytes: usize,
}

impl Held {
    /// Bytes of bodies received and not yet acknowledged.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages received and not yet acknowledged.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes of the largest body that waits.
    pub(super) fn largest(&self) -> usize {
        self.waiting.iter().map(|(_, delivery)| delivery.body.len()).max().unwrap_or_default()
    }

    pub(super) fn push(&mut self, message: Message, now: Time) {
        let body = Bytes::from(message.data);
        let delivery = message::read(message.routing_key.as_str(), &message.properties, body, now);
        self.bytes += delivery.body.len();
        self.messages += 1;
        self.waiting.push_back((message.delivery_tag, delivery));
    }

    /// Cuts a batch from the front. It counts until it is [`committed`](Self::committed).
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        let (last_tag, _) = self.waiting.front()?;
        let deliveries = Vec::with_capacity(self.waiting.len().min(MAX_BATCH));
        let mut batch = Batch { deliveries, last_tag: *last_tag, largest: 0, bytes: 0 };
        while batch.deliveries.len() < MAX_BATCH
            && batch.bytes < MAX_BATCH_BYTES
            && let Some((tag, delivery)) = self.waiting.pop_front()
        {
            let size = delivery.body.len();
            batch.bytes += size;
            batch.largest = batch.largest.max(size);
            batch.last_tag = tag;
            batch.deliveries.push(delivery);
        }
        Some(batch)
    }

    /// A batch is in the ledger.
    pub(super) fn committed(&mut self, batch: &Batch) {
        self.bytes -= batch.bytes;
        self.messages -= batch.deliveries.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(sizes: &[usize]) -> Held {
        let mut held = Held::default();
        for (tag, size) in (1..).zip(sizes) {
            held.push(Message::mock(tag, "".into(), "github.team".into(), false, vec![b'x'; *size]), Time(0));
        }
        held
    }

    #[test]
    fn batches_are_contiguous_and_in_order_of_delivery() {
        let mut held = held(&[1; 700]);
        let first = held.next_batch().unwrap();
        let second = held.next_batch().unwrap();
        assert_eq!((first.deliveries.len(), first.last_tag), (512, 512));
        assert_eq!((second.deliveries.len(), second.last_tag), (188, 700));
        assert!(held.next_batch().is_none());
    }

    #[test]
    fn bytes_count_until_they_are_committed() {
        let mut held = held(&[10, 20]);
        let batch = held.next_batch().unwrap();
        assert_eq!((held.messages(), held.bytes(), batch.largest), (2, 30, 20));
        held.committed(&batch);
        assert_eq!((held.messages(), held.bytes()), (0, 0));
    }

    #[test]
    fn a_batch_ends_with_the_message_that_fills_it_however_large() {
        let mut held = held(&[1, MAX_BATCH_BYTES, 1]);
        assert_eq!(held.next_batch().unwrap().last_tag, 2);
        assert_eq!(held.next_batch().unwrap().last_tag, 3);
    }
}
