//! What becomes of what was held before a look. A hold stays while its team is in doubt, because nothing was decided about
//! it. One that ends without a person is told of, in the log and in the audit trail.

use std::collections::{BTreeMap, BTreeSet};

use super::Look;
use crate::{
    ledger::{AuditAction, AuditEntry, AuditOutcome, Held, LeasedMark, Ledger, Settlement},
    model::{Cause, HeldKey, Lane, TeamId, Time},
    plan::{Action, Guarded, RemovalCause, Why},
    telemetry,
};

impl Look<'_> {
    /// Returns the holds of this look: those of the plan, and those from before of teams that are in doubt.
    pub(super) fn holds(&self, guarded: &Guarded) -> Vec<Held> {
        let doubts = guarded.ready.left_alone.iter().filter_map(|left| match left.why {
            Why::Suspected { .. }
            | Why::NotRead { .. }
            | Why::Conflict { .. }
            | Why::Paused { .. }
            | Why::NotVisible { .. }
            | Why::MayBeMade { .. }
            | Why::Grace { .. } => left.team,
            Why::Satisfied { .. }
            | Why::Ignored
            | Why::Unmapped
            | Why::NoSuchHandle { .. }
            | Why::Policy { .. }
            | Why::Protected { .. }
            | Why::OfAnother { .. }
            | Why::SomebodyRemoves { .. }
            | Why::Orphan { .. } => None,
        });
        let doubts: BTreeSet<TeamId> = doubts.chain(self.troubles.keys().copied()).collect();
        let mut holds: Vec<Held> = super::held(guarded).collect();
        let decided: BTreeSet<HeldKey> = guarded
            .held_items()
            .map(|(key, ..)| key)
            .chain(guarded.ready.actions.iter().filter_map(|planned| planned.action.held_key()))
            .collect();
        let undecided = |held: &&Held| {
            held.team.is_some_and(|team| doubts.contains(&team)) && !decided.contains(&held.key)
        };
        holds.extend(self.known.held.iter().filter(undecided).cloned());
        holds
    }

    /// Returns what is approved and planned: it stays held until it is done or planned no more.
    pub(super) fn approved(&self, guarded: &Guarded) -> BTreeSet<HeldKey> {
        let planned = guarded.ready.actions.iter().filter_map(|planned| planned.action.held_key());
        planned.filter(|key| self.known.population.approved.contains(key)).collect()
    }

    /// Returns the audit of the holds that this look ended though nobody approved the action.
    pub(super) fn ended_holds(
        &self,
        due: &[LeasedMark],
        guarded: &Guarded,
        stored: &Settlement,
    ) -> Vec<AuditEntry> {
        let lapsed = |held: &&Held| {
            let decided = held.team.is_some_and(|team| self.asked.contains(&team));
            let stays = stored.held.iter().any(|it| it.key == held.key);
            decided && !stays && !stored.approved.contains(&held.key)
        };
        let mut audit = Vec::new();
        for held in self.known.held.iter().filter(lapsed) {
            let now = match planned(guarded, &held.key) {
                Some(Action::Delete { cause: RemovalCause::Replaced { .. }, .. }) => {
                    "its connection is replaced, which needs no approval"
                }
                Some(Action::Delete { .. }) => {
                    "GitHub proves now that the team is gone: it is a removal like any other"
                }
                Some(_) => "nothing holds it any more",
                None => "it is no longer planned",
            };
            let reason = format!("{} held because {}; {now}", held.key.kind.as_str(), held.reason);
            telemetry::work::hold_ended(held, now);
            let mark = due.iter().find(|mark| mark.team == held.team);
            audit.push(AuditEntry {
                team: held.team,
                action: AuditAction::EndHold,
                subject: held.key.subject.clone(),
                connection: None,
                cause: mark.map_or(Cause::Pass, |mark| mark.cause),
                of_event: mark.is_some_and(|mark| mark.asks.event),
                reason,
                proof: None,
                outcome: AuditOutcome::Done,
                detail: None,
            });
        }
        audit
    }
}

/// The step that goes ahead and that would be held under this key.
fn planned<'g>(guarded: &'g Guarded, key: &HeldKey) -> Option<&'g Action> {
    let step = guarded.ready.actions.iter().find(|it| it.action.held_key().as_ref() == Some(key));
    step.map(|planned| &planned.action)
}

/// Tells a person what waits for them.
pub(super) async fn tell(ledger: &Ledger, lane: Lane, now: Time) -> sqlx::Result<()> {
    if let Some(set) = ledger.held_set(lane, now).await? {
        telemetry::work::held_set(&set);
    }
    Ok(())
}

/// Whether a look changed what is held: a set that a person was shown before is not shown again.
pub(super) fn changes(held: &BTreeMap<HeldKey, Option<TeamId>>, settlement: &Settlement) -> bool {
    let now: BTreeSet<&HeldKey> = settlement.held.iter().map(|held| &held.key).collect();
    let ended =
        |(key, team): (&HeldKey, &Option<TeamId>)| !now.contains(key) && settlement.looked_at.contains(team);
    now.iter().any(|key| !held.contains_key(*key)) || held.iter().any(ended)
}
