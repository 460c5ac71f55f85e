//! Log lines that strangers can cause: some of them, and then how many more there were.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The lines within [`WHILE`].
const LINES: u64 = 10;

/// How long lines count.
const WHILE: Duration = Duration::from_secs(10);

/// Counts the lines of one kind.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    since: Option<Instant>,
    lines: u64,
}

impl Seldom {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Count { since: None, lines: 0 }))
    }

    /// Whether a line may be written, and how many were left out before it.
    pub(super) fn line(&self) -> Option<u64> {
        self.line_at(Instant::now())
    }

    fn line_at(&self, now: Instant) -> Option<u64> {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left_out = 0;
        if count.since.is_none_or(|since| now.duration_since(since) >= WHILE) {
            left_out = count.lines.saturating_sub(LINES);
            *count = Count { since: Some(now), lines: 0 };
        }
        count.lines += 1;
        (count.lines <= LINES).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_are_written_in_ten_seconds_and_the_next_says_how_many_more_there_were() {
        let (seldom, now) = (Seldom::new(), Instant::now());
        let written = (0..1000).filter_map(|_| seldom.line_at(now)).collect::<Vec<_>>();
        assert_eq!(written, [0; 10]);
        assert_eq!(seldom.line_at(now + WHILE), Some(990));
        assert_eq!(seldom.line_at(now + WHILE), Some(0));
    }
}
