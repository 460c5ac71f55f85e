//! Whose turn it is, and how many lanes are worked on at a time. Pure.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::{
    ledger::DueLane,
    model::{Cause, Lane},
};

/// Lanes worked on at a time.
const LANES: usize = 4;

/// The turns that are under way, and those that were.
#[derive(Default)]
pub(super) struct Turns {
    busy: HashSet<Lane>,
    /// Until when a lane rests, on the monotonic clock.
    rests: HashMap<Lane, Rest>,
    /// The number of each lane's last turn.
    last: HashMap<Lane, u64>,
    count: u64,
    /// Whether one place is kept for lanes that have an event due.
    keeps_place: bool,
}

struct Rest {
    until: Duration,
    /// The last turn failed: the lane rests from the ledger's trouble, not for more events to come.
    failed: bool,
}

impl Turns {
    /// The turns of a worker that hears of events all the time.
    pub(super) fn keeping_a_place() -> Self {
        Self { keeps_place: true, ..Self::default() }
    }

    /// Returns due lanes in the order of their turns: people's first, then events', then passes'. Among these, the lane
    /// goes first whose last turn was before those of the others, so that a long backlog lets each of them have a turn
    /// after each of its chunks. Lanes that had none keep the order of `due`, which is by age.
    pub(super) fn in_order(&self, mut due: Vec<DueLane>) -> Vec<DueLane> {
        due.sort_by_key(|due| (rank(due.cause), self.last.get(&due.lane).copied().unwrap_or_default()));
        due
    }

    /// Whether a turn of this lane may begin now.
    pub(super) fn has_place(&self, due: &DueLane) -> bool {
        let kept = usize::from(self.keeps_place && !due.event);
        !self.busy.contains(&due.lane) && self.busy.len() + kept < LANES
    }

    /// How long this lane still rests. A trickle of events is looked at together; an organisation as a whole, a person
    /// and events that have come on top of a backlog don't wait for company.
    pub(super) fn rest(&self, due: &DueLane, now: Duration) -> Duration {
        let waits_for_none = due.whole || due.at_once || due.urgent && due.passes;
        match self.rests.get(&due.lane) {
            Some(rest) if rest.failed || !waits_for_none => rest.until.saturating_sub(now),
            _ => Duration::ZERO,
        }
    }

    /// A turn of this lane begins.
    pub(super) fn begin(&mut self, lane: Lane) {
        self.count += 1;
        self.last.insert(lane, self.count);
        self.busy.insert(lane);
    }

    /// A turn of this lane ended, and the lane rests until then.
    pub(super) fn end(&mut self, lane: Lane, until: Duration, failed: bool) {
        self.busy.remove(&lane);
        self.rests.insert(lane, Rest { until, failed });
    }

    /// No turn is under way any more.
    pub(super) fn end_all(&mut self) {
        self.busy.clear();
    }
}

fn rank(cause: Cause) -> u8 {
    match cause {
        Cause::Person => 0,
        Cause::Event => 1,
        Cause::Pass => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OrgId, Time};

    fn lane(org: i64) -> Lane {
        Lane::Org(OrgId(org))
    }

    fn due(org: i64, cause: Cause) -> DueLane {
        let (urgent, event) = (cause != Cause::Pass, cause == Cause::Event);
        let (whole, at_once, passes) = (false, false, !urgent);
        DueLane { lane: lane(org), cause, since: Time(org), event, urgent, passes, whole, at_once }
    }

    /// The organisations of the turns that begin now.
    fn begun(turns: &mut Turns, all: &[DueLane]) -> Vec<i64> {
        let mut begun = Vec::new();
        for due in turns.in_order(all.to_vec()) {
            if turns.has_place(&due) && turns.rest(&due, Duration::ZERO).is_zero() {
                turns.begin(due.lane);
                begun.push(due.lane.org().unwrap().0);
            }
        }
        begun
    }

    #[test]
    fn five_backlogs_take_turns_and_leave_a_place_to_an_event_of_a_sixth() {
        let mut turns = Turns::keeping_a_place();
        let mut all: Vec<DueLane> = (1..=5).map(|org| due(org, Cause::Pass)).collect();
        assert_eq!(begun(&mut turns, &all), [1, 2, 3]);
        assert_eq!(begun(&mut turns, &all), [] as [i64; 0]);
        for (ended, next) in [(1, 4), (3, 5), (2, 1), (4, 2), (5, 3)] {
            turns.end(lane(ended), Duration::ZERO, false);
            assert_eq!(begun(&mut turns, &all), [next], "after {ended}");
        }
        all.insert(3, due(6, Cause::Event));
        assert_eq!(begun(&mut turns, &all), [6]);
        turns.end(lane(1), Duration::ZERO, false);
        assert_eq!(begun(&mut turns, &all), [] as [i64; 0], "the last place is kept for the next event");
    }

    #[test]
    fn a_command_keeps_no_place_for_events() {
        let all: Vec<DueLane> = (1..=5).map(|org| due(org, Cause::Person)).collect();
        assert_eq!(begun(&mut Turns::default(), &all), [1, 2, 3, 4]);
        assert_eq!(begun(&mut Turns::keeping_a_place(), &all), [1, 2, 3]);
    }

    #[test]
    fn events_wait_for_company_unless_a_backlog_waits_too() {
        let mut turns = Turns::default();
        let (event, now, until) = (due(1, Cause::Event), Duration::from_secs(5), Duration::from_secs(6));
        turns.end(lane(1), until, false);
        assert_eq!(turns.rest(&event, now), until - now);
        assert_eq!(turns.rest(&event, until), Duration::ZERO);
        let others = [
            DueLane { passes: true, ..event },
            DueLane { whole: true, ..event },
            DueLane { at_once: true, ..event },
        ];
        assert!(others.iter().all(|due| turns.rest(due, now).is_zero()));
        turns.end(lane(1), until, true);
        assert!(others.iter().all(|due| turns.rest(due, now) == until - now), "the ledger failed");
    }
}
