//! Reads a body within bounds of size, time and memory.
//!
//! Memory is reserved as bytes arrive, not as they are announced, so that a sender who announces much and sends
//! nothing keeps nobody else out.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

/// A body in several pieces grows by at most so many bytes at a time.
const GROWTH: usize = 256 << 10;

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    TooLarge,
    Slow,
    Broken,
    Busy,
}

/// Reads the whole body. The permit stands for its bytes: keep it as long as the body.
pub(super) async fn read(
    body: Body,
    max: usize,
    in_flight: &Arc<Semaphore>,
    deadline: Instant,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Trouble> {
    let mut stream = body.into_data_stream();
    let read = timeout_at(deadline, read_stream(&mut stream, max, in_flight)).await;
    let result = read.unwrap_or(Err(Trouble::Slow));
    if matches!(result, Err(Trouble::TooLarge)) {
        discard(Body::from_stream(stream));
    }
    result
}

async fn read_stream(
    stream: &mut BodyDataStream,
    max: usize,
    in_flight: &Arc<Semaphore>,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Trouble> {
    let mut permit: Option<OwnedSemaphorePermit> = None;
    // Most bodies come in one piece, which is then passed on without a copy.
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| Trouble::Broken)?;
        let so_far = if rest.is_empty() { first.len() } else { rest.len() };
        if so_far + piece.len() > max {
            return Err(Trouble::TooLarge);
        }
        // What is reserved counts, used or not.
        let room = if so_far == 0 { piece.len() } else { rest.capacity().max(first.len()) };
        let held = permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let grown = (so_far + piece.len().max(so_far.min(GROWTH))).min(max);
        let room = if so_far + piece.len() > room { grown } else { room };
        if room > held {
            let bytes = u32::try_from(room - held).map_err(|_| Trouble::TooLarge)?;
            let more = Arc::clone(in_flight).try_acquire_many_owned(bytes).map_err(|_| Trouble::Busy)?;
            match &mut permit {
                Some(permit) => permit.merge(more),
                None => permit = Some(more),
            }
        }
        if so_far == 0 {
            first = piece;
            continue;
        }
        rest.reserve_exact(room - rest.len());
        if rest.is_empty() {
            rest.extend_from_slice(&first);
            first = Bytes::new();
        }
        rest.extend_from_slice(&piece);
    }
    Ok((if rest.is_empty() { first } else { rest.into() }, permit))
}

/// Reads on for a while without keeping anything. A sender that is still sending would otherwise find the
/// connection reset, and never read why.
pub(super) fn discard(body: Body) {
    tokio::spawn(timeout(Duration::from_secs(10), async move {
        let mut stream = body.into_data_stream();
        while let Some(Ok(_)) = stream.next().await {}
    }));
}
