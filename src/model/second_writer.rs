//! Somebody else who removes connections of ours: how often, and what teamlink does about it.

use std::{collections::BTreeMap, time::Duration};

use super::{ConnectionId, Time};

/// The removals of one connection of ours that somebody else did within [`RemovedByOthers::WITHIN`]. Each connection that
/// was made for the key counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovedByOthers {
    /// The connections, and when a look first found each of them gone.
    pub connections: BTreeMap<ConnectionId, Time>,
}

/// When a connection that somebody removed is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Now.
    Now,
    /// At this time.
    At(Time),
    /// Once a person approves it.
    Held,
}

impl RemovedByOthers {
    /// Removals that lie further apart than this are no fight.
    pub const WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

    /// So many removals are one.
    pub const FIGHT: usize = 3;

    /// How long the creates wait that follow, one after the other. The next one is held.
    const WAITS: [Duration; 3] =
        [Duration::from_secs(60), Duration::from_secs(5 * 60), Duration::from_secs(30 * 60)];

    /// How many there were.
    pub fn times(&self) -> usize {
        self.connections.len()
    }

    /// Returns whether somebody removes the connection again and again.
    pub fn is_fight(&self) -> bool {
        self.times() >= Self::FIGHT
    }

    /// Returns when the connection is made again. A removal ahead of the clock counts as one of now.
    pub fn again(&self, now: Time) -> Again {
        let Some(further) = self.times().checked_sub(Self::FIGHT) else { return Again::Now };
        let Some(wait) = Self::WAITS.get(further) else { return Again::Held };
        match self.connections.values().max().map(|last| (*last).min(now) + *wait) {
            Some(at) if at > now => Again::At(at),
            _ => Again::Now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creates_wait_longer_and_longer_after_the_third_removal_and_are_held_after_the_sixth() {
        let minute = |minutes: u64| Time(0) + Duration::from_secs(60 * minutes);
        let mut removals = RemovedByOthers::default();
        let mut next = |at: Time| {
            removals.connections.insert(ConnectionId::from(removals.times().to_string()), at);
            removals.again(at)
        };
        let answers = [0, 1, 2, 3, 8, 38].map(|minutes| next(minute(minutes)));
        let expected = [
            Again::Now,
            Again::Now,
            Again::At(minute(3)),
            Again::At(minute(8)),
            Again::At(minute(38)),
            Again::Held,
        ];
        assert_eq!(answers, expected);
        removals.connections.pop_last();
        assert_eq!(removals.again(minute(38)), Again::Now, "the wait is over");
        assert!(removals.is_fight() && !RemovedByOthers::default().is_fight());
    }
}
