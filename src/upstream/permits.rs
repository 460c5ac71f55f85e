//! Who may have a question under way. A fixed number of permits is divided between organisations, so that one that
//! answers slowly, or has much to ask, doesn't keep the others waiting:
//!
//! - Events go before passes. Within an urgency, the party that holds the fewest permits goes first, then the one that
//!   has waited longest.
//! - While another party waits, a party gets at most half of the permits, rounded up.
//! - The last free permit is kept for an event of a party that holds less than half: one that is heard of only now finds
//!   it, however slowly the others are answered. Datadog knows one party only, whose events may have all permits.
//!
//! This is bookkeeping only. `transport::Permits` lets the ones that wait go on.

use std::collections::{BTreeMap, BTreeSet};

use super::{Urgency, Whose};

/// The permits and those who wait for one, each by a number.
#[derive(Debug)]
pub struct Permits {
    size: usize,
    held: BTreeMap<Whose, usize>,
    waiting: BTreeMap<(Urgency, Whose), BTreeSet<u64>>,
    next: u64,
}

impl Permits {
    /// So many permits, at least one.
    pub fn new(size: usize) -> Self {
        let (held, waiting) = (BTreeMap::new(), BTreeMap::new());
        Self { size: size.max(1), held, waiting, next: 0 }
    }

    /// Notes that a party waits for a permit. Returns its number.
    pub fn ask(&mut self, whose: &Whose, urgency: Urgency) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.entry((urgency, whose.clone())).or_default().insert(number);
        number
    }

    /// Grants what may be granted now. Returns the numbers, and whose permits they are.
    pub fn grant(&mut self) -> Vec<(u64, Whose)> {
        let mut granted = Vec::new();
        while let Some((urgency, whose, number)) = self.next_one() {
            self.cancel(number, &whose, urgency);
            *self.held.entry(whose.clone()).or_default() += 1;
            granted.push((number, whose));
        }
        granted
    }

    /// Takes back a permit that was granted.
    pub fn give_back(&mut self, whose: &Whose) {
        if let Some(held) = self.held.get_mut(whose) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(whose);
            }
        }
    }

    /// Forgets one that waits no more. One that was granted a permit isn't waiting.
    pub fn cancel(&mut self, number: u64, whose: &Whose, urgency: Urgency) {
        let place = (urgency, whose.clone());
        if let Some(numbers) = self.waiting.get_mut(&place) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.waiting.remove(&place);
            }
        }
    }

    /// Returns the one that gets the next permit, if any may have one.
    fn next_one(&self) -> Option<(Urgency, Whose, u64)> {
        let free = self.size.saturating_sub(self.held.values().sum());
        if free == 0 {
            return None;
        }
        self.waiting
            .iter()
            .filter(|((urgency, whose), _)| self.allows(whose, *urgency, free))
            .filter_map(|((urgency, whose), numbers)| {
                Some((urgency, self.holds(whose), numbers.first()?, whose))
            })
            .min()
            .map(|(urgency, _, number, whose)| (*urgency, whose.clone(), *number))
    }

    /// Whether a party may have one of the free permits.
    fn allows(&self, whose: &Whose, urgency: Urgency, free: usize) -> bool {
        let below_half = self.holds(whose) < self.size.div_ceil(2);
        let others_wait = self.waiting.keys().any(|(_, other)| other != whose);
        let is_last = free == 1 && self.size > 1;
        (below_half || !others_wait)
            && (!is_last || urgency == Urgency::Event && (below_half || *whose == Whose::Credential))
    }

    fn holds(&self, whose: &Whose) -> usize {
        self.held.get(whose).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OrgId;

    const LARGE: Whose = Whose::Org(OrgId(1));
    const SMALL: Whose = Whose::Org(OrgId(2));

    fn ask(permits: &mut Permits, whose: &Whose, urgency: Urgency, times: usize) -> Vec<u64> {
        (0..times).map(|_| permits.ask(whose, urgency)).collect()
    }

    fn granted(permits: &mut Permits) -> Vec<u64> {
        permits.grant().into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn a_pass_leaves_one_permit_to_events() {
        let mut permits = Permits::new(4);
        let whose = Whose::Credential;
        let pass = ask(&mut permits, &whose, Urgency::Pass, 9);
        assert_eq!(granted(&mut permits), pass[..3]);
        let event = ask(&mut permits, &whose, Urgency::Event, 2);
        assert_eq!(granted(&mut permits), event[..1], "of the only party, whatever it holds");
        permits.give_back(&whose);
        assert_eq!(granted(&mut permits), event[1..], "events go first");
        permits.give_back(&whose);
        assert_eq!(granted(&mut permits), [] as [u64; 0]);
        permits.give_back(&whose);
        assert_eq!(granted(&mut permits), pass[3..4]);
    }

    #[test]
    fn an_organisation_whose_events_take_all_leaves_the_last_permit_to_another() {
        let mut permits = Permits::new(8);
        ask(&mut permits, &LARGE, Urgency::Event, 20);
        assert_eq!(granted(&mut permits).len(), 7);
        let event = ask(&mut permits, &SMALL, Urgency::Event, 6);
        assert_eq!(granted(&mut permits), event[..1]);
        for next in &event[1..4] {
            permits.give_back(&LARGE);
            assert_eq!(granted(&mut permits), [*next], "half is for the other");
        }
        permits.give_back(&LARGE);
        assert_eq!(permits.grant(), [(7, LARGE)], "each has its half");
        permits.give_back(&SMALL);
        assert_eq!(granted(&mut permits), event[4..5]);
    }

    #[test]
    fn one_who_waits_no_more_holds_nobody_up() {
        let mut permits = Permits::new(3);
        let pass = ask(&mut permits, &LARGE, Urgency::Pass, 1);
        let gone = ask(&mut permits, &SMALL, Urgency::Pass, 1);
        assert_eq!(granted(&mut permits), [pass[0], gone[0]]);
        let other = ask(&mut permits, &SMALL, Urgency::Pass, 1);
        assert_eq!(granted(&mut permits), [] as [u64; 0]);
        let more = ask(&mut permits, &LARGE, Urgency::Pass, 1);
        permits.cancel(other[0], &SMALL, Urgency::Pass);
        permits.cancel(gone[0], &SMALL, Urgency::Pass);
        permits.give_back(&SMALL);
        assert_eq!(granted(&mut permits), more);
    }

    #[test]
    fn one_permit_serves_all_in_turn() {
        let mut permits = Permits::new(0);
        let pass = ask(&mut permits, &LARGE, Urgency::Pass, 2);
        let app = ask(&mut permits, &Whose::Credential, Urgency::Event, 1);
        for next in [app[0], pass[0], pass[1]] {
            let granted = permits.grant();
            assert_eq!(granted.len(), 1);
            assert_eq!(granted[0].0, next);
            permits.give_back(&granted[0].1);
        }
    }

    /// Whatever comes in whatever order, each bound holds at each grant, and nobody who may have a permit waits.
    #[test]
    fn every_order_keeps_the_bounds_and_ends_with_all_served() {
        let parties = [LARGE, SMALL, Whose::Org(OrgId(3)), Whose::Credential];
        for seed in 0..200_u64 {
            let mut state = seed;
            let mut dice = |sides: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                usize::try_from(state >> 33).unwrap() % sides
            };
            let size = 1 + dice(9);
            let (mut permits, mut held, mut waits) = (Permits::new(size), Vec::new(), BTreeMap::new());
            for step in 0..400 {
                match dice(if step < 300 { 4 } else { 2 }) {
                    0 if !held.is_empty() => permits.give_back(&held.swap_remove(dice(held.len()))),
                    1 if !waits.is_empty() && dice(4) == 0 => {
                        let at = *waits.keys().nth(dice(waits.len())).unwrap();
                        let (whose, urgency) = waits.remove(&at).unwrap();
                        permits.cancel(at, &whose, urgency);
                    }
                    2 | 3 => {
                        let urgency = [Urgency::Event, Urgency::Pass][dice(2)];
                        let whose = parties[dice(4)].clone();
                        waits.insert(permits.ask(&whose, urgency), (whose, urgency));
                    }
                    _ => {}
                }
                for (number, whose) in permits.grant() {
                    let (of, urgency) = waits.remove(&number).unwrap();
                    assert_eq!(of, whose);
                    held.push(whose);
                    assert!(held.len() < size || urgency == Urgency::Event || size == 1, "seed {seed}");
                }
                assert!(held.len() <= size, "seed {seed}");
            }
            while !waits.is_empty() {
                assert!(!held.is_empty(), "seed {seed}: {waits:?} wait for nothing");
                permits.give_back(&held.remove(0));
                for (number, whose) in permits.grant() {
                    waits.remove(&number).unwrap();
                    held.push(whose);
                }
            }
        }
    }
}
