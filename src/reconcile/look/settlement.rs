//! What is stored of a look, and when each team is looked at again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Look, Options};
use crate::{
    ledger::{
        Intent, IntentKind, LeasedMark, MarkResult, Next, ParkedAction, ParkedStep, Settled, Settlement,
    },
    model::{Class, ConnectionKey, LISTS_LAG, MirrorTeam, TeamId, TeamState, Time, Trouble},
    plan::{Guarded, Why},
    reconcile::{apply::Applied, fold::Folded, lease, pace},
};

/// When what failed in a look is retried.
struct Retry<'a> {
    now: Time,
    jitter: f64,
    options: &'a Options,
}

impl Retry<'_> {
    fn after(&self, trouble: &Trouble, failures: u32, others_work: bool) -> Next {
        pace::retry(trouble, failures, others_work, self.options.backoff, self.jitter, self.now)
    }
}

impl Look<'_> {
    /// What is stored of the look, and what comes next for each team.
    pub(super) fn settlement(
        mut self,
        due: &[LeasedMark],
        guarded: &Guarded,
        applied: Applied,
        observing: bool,
    ) -> Settlement {
        let unfinished = applied.unfinished.into_iter();
        self.troubles.extend(unfinished.filter_map(|(team, trouble)| Some((team?, trouble))));
        let mut stored = applied.stored;
        let parked: BTreeSet<TeamId> = stored.parked.iter().filter_map(|action| action.team).collect();
        let waiting_for_a_person: BTreeSet<TeamId> =
            guarded.held.iter().filter_map(|(planned, _)| planned.team).collect();
        let counts = |key: &&ConnectionKey| guarded.disowns.contains(*key);
        stored.unexplained = stored.disowned.iter().filter(counts).cloned().collect();
        stored.held = self.holds(guarded);
        stored.approved = self.approved(guarded);
        let ended = self.ended_holds(due, guarded, &stored);
        stored.audit.extend(ended);
        let removed = guarded.removed_by_others.iter();
        stored.removed_by_others = removed.map(|owned| (owned.key.clone(), owned.id.clone())).collect();
        stored.audit.extend(self.audit_of_removals(due, guarded));
        stored.unwanted = guarded.unwanted(&self.state.unwanted_since, self.started);
        let not_visible = guarded.ready.not_visible().map(|(team, key, since)| {
            let again = pace::not_visible(since, self.started);
            (team, self.missed_again(key).map_or(again, |at| at.min(again)))
        });
        let mut waits: BTreeMap<TeamId, Time> = BTreeMap::new();
        for (team, at) in guarded.ready.postponed().chain(not_visible) {
            waits.entry(team).and_modify(|first| *first = at.min(*first)).or_insert(at);
        }
        // A row passes from another organisation unless a write of its connection is under way: the next look knows.
        let passing = guarded.ready.actions.iter().filter(|it| it.action.passes_between_organisations());
        let passing: BTreeSet<TeamId> = passing.filter_map(|planned| planned.team).collect();
        // Its steps wait for the end of a pause, which may be another team's.
        let left_alone = guarded.ready.left_alone.iter();
        let held_back = left_alone.filter(|left| matches!(left.why, Why::Paused { .. }));
        let held_back: BTreeSet<TeamId> = held_back.filter_map(|left| left.team).collect();
        // Whether the same was done for another team: what fails for all is an outage.
        let github_works = self.folded.keys().any(|team| !self.unread.contains(team));
        // What failed together is retried together: what is read for one of them serves all.
        let (clock, options) = (&self.options.clock, self.options);
        let retry = Retry { now: clock.now(), jitter: clock.jitter(), options };
        for mark in due {
            let Some(team) = mark.team else { continue };
            let others_work =
                if self.unread.contains(&team) { github_works } else { applied.counted.contains(&team) };
            let again = waits.get(&team).copied();
            let next = self.next(mark, team, others_work, again, &retry, &mut stored.parked);
            stored.marks.push(MarkResult { team: Some(team), generation: mark.generation, next });
        }
        for (&id, folded) in &self.folded {
            let Some(team) = &folded.team else { continue };
            let troubled = self.troubles.contains_key(&id);
            // A team that only joined has no mark of its own to say when it is looked at again.
            let unanswered = troubled || folded.second_look.is_some() || !self.asked.contains(&id);
            let postponed = waits.contains_key(&id);
            let undecided = postponed || passing.contains(&id) || self.conflicts.contains(&id);
            if (unanswered && (troubled || folded.changed) || undecided) && !self.due.contains_key(&id) {
                stored.found.push(id);
            }
            let pending = troubled
                || undecided
                || held_back.contains(&id)
                || parked.contains(&id)
                || waiting_for_a_person.contains(&id)
                || observing
                || self.state.paused.of(id).is_some();
            let in_step = team.state == TeamState::Present
                && if self.asked.contains(&id) { !pending } else { team.in_step && !troubled };
            // A look that had no need to ask Datadog has learnt nothing about handles.
            let waiting = if self.asked.contains(&id) { &self.waiting } else { &self.state.waiting };
            let waiting = team.state == TeamState::Present && waiting.contains(&id);
            let listed_at = self.state.listed.get(&id).filter(|_| troubled && self.listed.contains(&id));
            stored.teams.push(Settled {
                team: MirrorTeam { in_step, ..team.clone() },
                waiting,
                listed_at: listed_at.copied(),
            });
        }
        stored.found.extend(self.left_with_nothing(&stored));
        stored.found.extend(self.freed(&stored.disowned));
        stored.found.append(&mut self.concerned);
        let shown = lease::shown_within(self.options.timeout);
        let again = self.options.clock.now() + shown;
        let (over, open): (Vec<_>, Vec<_>) =
            self.state.intents.iter().partition(|intent| intent.at + shown < self.started);
        // A removal that was not repeated: what Datadog shows now is what became of it, unless its lists lag behind its
        // answer.
        let seen = |team| self.asked.contains(&team) && !self.troubles.contains_key(&team);
        let done =
            over.iter().filter(|intent| intent.kind == IntentKind::Delete && intent.team.is_some_and(seen));
        // What this look wrote to that connection has an intent of its own.
        let written: BTreeSet<&ConnectionKey> = guarded.ready.written().collect();
        let done = done
            .filter(|intent| !guarded.ready.is_not_visible(&intent.key) && !written.contains(&intent.key));
        stored.closed_intents.extend(done.map(|intent| intent.key.clone()));
        let settled = |key| stored.closed_intents.contains(key) || stored.undone.contains(key);
        let open = open.iter().filter(|intent| !settled(&intent.key));
        // What is paused is not sent again, and what is parked neither: the next look finds what became of it. Only what a
        // person began is ended under a pause too.
        let is_begun = |intent: &Intent| intent.kind == IntentKind::Adopt;
        let interrupted = open
            .filter(|it| is_begun(it) || it.team.is_some_and(|team| self.state.paused.of(team).is_none()));
        let interrupted: BTreeSet<TeamId> =
            interrupted.filter_map(|intent| intent.team).filter(|team| !parked.contains(team)).collect();
        // What a person took over stands again. Whether its team wants it, the next look decides.
        let taken = |key: &ConnectionKey| stored.owned.iter().any(|owned| owned.key == *key);
        let adopted = self.state.intents.iter().filter(|it| is_begun(it) && taken(&it.key));
        stored.found.extend(adopted.filter_map(|intent| intent.team).collect::<Vec<_>>());
        for mark in &mut stored.marks {
            // An interrupted write may still arrive: look once more when it cannot any longer.
            if mark.team.is_some_and(|team| interrupted.contains(&team)) && matches!(mark.next, Next::Nothing)
            {
                mark.next = Next::At(again);
            }
        }
        stored.org = self.reading.org.take();
        stored.missed = std::mem::take(&mut self.missed);
        stored.listed_at = self.listed_at;
        if !observing {
            stored.found.append(&mut self.unwilling_heirs);
        }
        // What the list decides about teams of other looks is stored, and their own looks act on it.
        for team in std::mem::take(&mut self.decided) {
            stored.found.push(team.facts.id);
            stored.teams.push(Settled { team, waiting: false, listed_at: None });
        }
        stored.found_elsewhere = std::mem::take(&mut self.found_elsewhere).into_iter().collect();
        // A team that is not there has nothing held or parked any more.
        let nowhere = |(id, folded): &(&TeamId, &Folded)| {
            let gone = folded.team.as_ref().is_none_or(|team| matches!(team.state, TeamState::Gone { .. }));
            gone && !self.troubles.contains_key(id)
        };
        self.asked.extend(self.folded.iter().filter(nowhere).map(|(id, _)| *id));
        // What is held of a paused team stays held.
        self.asked.retain(|team| self.state.paused.of(*team).is_none());
        stored.looked_at.extend(self.asked.into_iter().map(Some));
        stored
    }

    /// Returns when a second look may find that the connection in Datadog's answer to a create of ours is missing, if this one
    /// or an earlier one has missed it.
    fn missed_again(&self, key: &ConnectionKey) -> Option<Time> {
        let intent = self.state.intents.iter().find(|intent| intent.key == *key)?;
        let now = self.missed.contains(key).then(|| self.options.clock.now());
        let missed_at = intent.answered.as_ref()?.missed_at.or(now)?;
        Some(missed_at + self.options.grace.max(LISTS_LAG)).filter(|at| *at > self.started)
    }

    /// The teams that wait for a handle and lost their last connection in this look: with nothing of its own any more, a
    /// team may have its Datadog team created.
    fn left_with_nothing(&self, stored: &Settlement) -> Vec<TeamId> {
        let lost: BTreeSet<&ConnectionKey> = stored.disowned.iter().collect();
        let (gone, kept): (Vec<_>, Vec<_>) =
            self.state.owned.iter().partition(|owned| lost.contains(&owned.key));
        let keeps = kept.into_iter().chain(&stored.owned).map(|owned| owned.team).collect::<BTreeSet<_>>();
        let gone = gone.into_iter().map(|owned| owned.team);
        gone.filter(|team| self.waiting.contains(team) && !keeps.contains(team)).collect()
    }

    fn next(
        &self,
        mark: &LeasedMark,
        team: TeamId,
        others_work: bool,
        again: Option<Time>,
        retry: &Retry<'_>,
        parked: &mut Vec<ParkedAction>,
    ) -> Next {
        if let Some(at) = self.put_off.get(&team) {
            return Next::Waits(*at);
        }
        if let Some(trouble) = self.troubles.get(&team) {
            let retry = retry.after(trouble, mark.failures, others_work);
            let attempts = mark.attempts + 1;
            if matches!(retry, Next::Retry { burns: true, .. }) && attempts >= self.options.max_attempts {
                let (step, error) = (ParkedStep::Look(team), trouble.clone());
                parked.push(ParkedAction { team: Some(team), step, error, attempts });
                return Next::Nothing;
            }
            return retry;
        }
        if self.conflicts.contains(&team) {
            let trouble = Trouble::new(Class::Transient, "another team reads back with the same slug");
            return retry.after(&trouble, mark.failures, false);
        }
        let folded = self.folded.get(&team);
        let gone = folded
            .and_then(|folded| folded.team.as_ref())
            .is_some_and(|team| matches!(team.state, TeamState::Gone { .. }));
        let lag = if gone { None } else { pace::lag_look(mark.event_at, self.started) };
        match folded.and_then(|folded| folded.second_look).into_iter().chain(lag).chain(again).min() {
            Some(at) => Next::At(at),
            None => Next::Nothing,
        }
    }
}
