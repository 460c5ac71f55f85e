//! What is known of an organisation while it is planned.

use std::collections::{BTreeMap, BTreeSet};

use super::{Options, lease, survey::Standing};
use crate::{
    ledger::{Held, Intent, IntentKind, Ledger, OrgState, Removed},
    model::{ConnectionKey, Connections, HeldKey, HeldKind, OrgFacts, Paused, Time},
    plan::{Actual, Interrupted, Mirror, Population},
};

/// What is known of an organisation while it is planned.
pub(super) struct Known {
    pub(super) mirror: Mirror,
    pub(super) population: Population,
    pub(super) paused: Paused,
    /// When the look began.
    pub(super) now: Time,
    pub(super) actual: Actual,
    /// What is held of its teams.
    pub(super) held: Vec<Held>,
    /// Its removals of the guard's window.
    pub(super) removed: Removed,
    /// Connections that an interrupted write of ours may have deleted.
    pub(super) deleting: BTreeSet<ConnectionKey>,
}

/// Whether Datadog answered this create, and another one of ours may have made the connection that is there: one that was
/// sent after that answer, or one that was sent before and that nobody answered.
fn was_repeated(create: &Intent, late_creates: &BTreeMap<ConnectionKey, Time>) -> bool {
    create.answered.is_some() && (!create.is_answered() || late_creates.contains_key(&create.key))
}

impl Known {
    /// An interrupted write is over once Datadog's lists show whether it was carried out.
    pub(super) fn new(state: &OrgState, options: &Options, now: Time) -> Self {
        let shown = lease::shown_within(options.timeout);
        // An intent that lies far ahead was stored before the clock was set back.
        let over = |at: Time| at + shown < now || at > now + shown;
        let (deletes, creates): (Vec<_>, Vec<_>) =
            state.intents.iter().partition(|intent| intent.kind == IntentKind::Delete);
        let deleting = state.intents.iter().filter(|intent| intent.kind != IntentKind::Create);
        let deleting = deleting.map(|intent| intent.key.clone()).collect();
        let unanswered =
            creates.iter().filter(|it| it.is_create() && !it.is_answered()).map(|it| (&it.key, it.at));
        let mut arriving = BTreeMap::new();
        for (key, at) in unanswered.chain(state.late_creates.iter().map(|(key, at)| (key, *at))) {
            if at <= now + shown && at + shown > now {
                let until = arriving.entry(key.clone()).or_insert(at);
                *until = (at + shown).max(*until);
            }
        }
        let creates = creates.into_iter().filter_map(|intent| {
            let repeated = was_repeated(intent, &state.late_creates);
            let Intent { key, kind, team, at, managed_by, written, answered } = intent.clone();
            let adopts = kind == IntentKind::Adopt;
            let (team, over) = (team?, over(at));
            Some((key, Interrupted { team, adopts, over, managed_by, written, answered, repeated }))
        });
        let unanswered = deletes.iter().filter(|it| it.answered.is_none() && !over(it.at));
        let unanswered = unanswered.map(|it| (it.key.clone(), it.at)).collect();
        let deleted = deletes.into_iter().filter_map(|it| Some((it.key.clone(), it.answered.clone()?)));
        Self {
            mirror: Mirror {
                org: state.org.facts.clone(),
                bound_login: state.org.bound_login.clone(),
                teams: state.teams.clone(),
            },
            population: Population { owned: state.size.owned, now, ..Population::default() },
            paused: state.paused.clone(),
            now,
            actual: Actual {
                unwanted_since: state.unwanted_since.clone(),
                young: state.young.clone(),
                connections: Connections::default(),
                owned: state.owned.iter().map(|owned| (owned.key.clone(), owned.clone())).collect(),
                create_intents: creates.collect(),
                gone: BTreeSet::new(),
                deleted: deleted.collect(),
                unanswered,
                arriving,
                missing: BTreeSet::new(),
                elsewhere: BTreeMap::new(),
                claims: BTreeMap::new(),
                own_marks: state.own_marks.iter().chain([&options.managed_by]).cloned().collect(),
            },
            held: Vec::new(),
            removed: Removed::default(),
            deleting,
        }
    }

    /// Reads what other organisations have of this one's keys: a key is global, and a login can move.
    pub(super) async fn read_elsewhere(&mut self, ledger: &Ledger) -> sqlx::Result<()> {
        let OrgFacts { id, login } = &self.mirror.org;
        self.actual.elsewhere = ledger.rows_elsewhere(*id, login).await?;
        self.read_claims(ledger).await
    }

    /// Reads which teams of other organisations have the names in the keys of this one's rows.
    pub(super) async fn read_claims(&mut self, ledger: &Ledger) -> sqlx::Result<()> {
        self.actual.claims = ledger.claims(self.mirror.org.id, self.actual.owned.keys()).await?;
        Ok(())
    }

    /// Takes in what was read of the ledger since. What a look found of a team stays.
    pub(super) fn take_in(&mut self, state: &OrgState) {
        for (id, team) in &state.teams {
            self.mirror.teams.entry(*id).or_insert_with(|| team.clone());
        }
        for owned in &state.owned {
            self.actual.owned.entry(owned.key.clone()).or_insert_with(|| owned.clone());
        }
        let unwanted = state.unwanted_since.iter().map(|(key, since)| (key.clone(), *since));
        self.actual.unwanted_since.extend(unwanted);
        self.actual.young.extend(state.young.iter().map(|(key, at)| (key.clone(), *at)));
    }

    /// Every mark that this ledger writes or has written under.
    pub(super) fn own_marks(&self) -> &BTreeSet<String> {
        &self.actual.own_marks
    }

    /// Whether another organisation has rows under the login of this one, or a claim on its rows.
    pub(super) fn is_contested(&self) -> bool {
        !self.actual.elsewhere.is_empty() || !self.actual.claims.is_empty()
    }

    /// Leaves the rows of other organisations alone: which of the two has the login is not known.
    pub(super) fn forget_elsewhere(&mut self) {
        self.actual.elsewhere.clear();
    }

    /// Takes in what is held and what is approved. What a person takes over is made again, whatever limits a first pass.
    pub(super) fn weigh(&mut self, standing: Standing) {
        let Standing { held, approved, removed, removed_by_others, .. } = standing;
        let adopted = self.actual.create_intents.iter().filter(|(_, intent)| intent.adopts);
        let adopted = adopted.map(|(key, _)| HeldKey::new(HeldKind::Create, key.clone()));
        self.population.approved = adopted.chain(approved).collect();
        self.population.held = held.iter().map(|held| (held.key.clone(), held.reason.clone())).collect();
        self.population.removed_by_others = removed_by_others;
        self.removed = removed;
        self.held = held;
    }

    /// Takes in what is held of a team that joins the look.
    pub(super) fn take_in_held(&mut self, held: Vec<Held>) {
        for held in held {
            if self.population.held.insert(held.key.clone(), held.reason.clone()).is_none() {
                self.held.push(held);
            }
        }
    }

    /// What is, once Datadog has shown these connections.
    pub(super) fn showing(&self, connections: Connections) -> Actual {
        Actual { connections, ..self.actual.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Answered;

    #[test]
    fn a_create_was_repeated_if_one_before_or_after_its_answer_was_not_answered() {
        let key = ConnectionKey { datadog_team: "d".into(), github: "@acme/s7".into() };
        let intent = |at: i64, answered: Option<i64>| Intent {
            key: key.clone(),
            kind: IntentKind::Create,
            team: None,
            at: Time(at),
            managed_by: None,
            written: None,
            answered: answered.map(|at| Answered { id: "c".into(), at: Time(at), missed_at: None }),
        };
        let (none, late) = (BTreeMap::new(), BTreeMap::from([(key.clone(), Time(1))]));
        assert!(!was_repeated(&intent(2, Some(3)), &none));
        assert!(was_repeated(&intent(4, Some(3)), &none), "sent again after the answer");
        assert!(was_repeated(&intent(2, Some(3)), &late), "one from before may have arrived after it");
        assert!(!was_repeated(&intent(2, None), &late), "nothing was answered");
    }
}
