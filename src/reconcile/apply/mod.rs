//! Carrying out a guarded plan: create, read back, then delete, read back.
//!
//! Intents are committed before each write and closed by the settle that records its end; a write whose end is
//! unknown leaves its intent open for the next look. Datadog answers for a batch as a whole, and whether a refused
//! batch was carried out in part is not documented: so after a refusal the truth is listed, what is true already
//! is dropped, and the rest is halved until the culprit stands alone. After a server error, only what fails while others
//! go through is a culprit (`outage.rs`).

mod intents;
mod lists;
mod missing_team;
mod outage;
mod record;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Options,
    directory::Directory,
    evidence::{Evidence, Operation},
    lease::Lease,
    survey::Eyes,
};
use crate::{
    datadog::{self, Filter, NewConnection},
    ledger::{
        AuditAction, AuditOutcome, Intent, IntentKind, LeasedMark, Ledger, LedgerError, ParkedStep,
        Settlement,
    },
    model::{
        Class, ConnectionId, ConnectionKey, Connections, GithubHandle, OrgId, Subject, TeamId, Time, Trouble,
    },
    plan::{Action, DatadogTeams, Plan, Planned, RemovalCause},
    upstream::MOST_FAILURES,
};

/// The marks that a look answers, by team; none stands for the organisation as a whole.
pub(super) type Marks<'a> = BTreeMap<Option<TeamId>, &'a LeasedMark>;

/// What applying needs.
pub(super) struct Hands<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) lease: &'a Lease,
    /// The organisation that the lease is on.
    pub(super) org: OrgId,
    pub(super) reader: &'a datadog::Reader,
    pub(super) writer: &'a datadog::Writer,
    pub(super) directory: &'a Directory,
    pub(super) options: &'a Options,
    evidence: &'a Evidence,
    /// Why each due team is looked at, and how often that failed before.
    pub(super) marks: &'a Marks<'a>,
    /// Writes whose end was unknown when the look began. A rejection of another write says nothing about them.
    pub(super) intents: &'a [Intent],
    /// When the look began.
    began: Time,
}

impl<'a> Hands<'a> {
    pub(super) fn new(
        eyes: &'a Eyes,
        ledger: &'a Ledger,
        writer: &'a datadog::Writer,
        (lease, org): (&'a Lease, OrgId),
        marks: &'a Marks<'a>,
        (intents, began): (&'a [Intent], Time),
    ) -> Self {
        let Eyes { datadog: reader, directory, options, evidence, .. } = eyes;
        Self { ledger, lease, org, reader, writer, directory, options, evidence, marks, intents, began }
    }
}

/// Looks in which Datadog answers a create with 409 before it is parked: its lists were seen to lag for ten seconds.
const CONFLICTS: u32 = 4;

/// How far it came.
#[derive(Default)]
pub(super) struct Applied {
    /// What is to be stored of it.
    pub(super) stored: Settlement,
    /// Teams with steps that were not carried out, and why.
    pub(super) unfinished: BTreeMap<Option<TeamId>, Trouble>,
    /// The teams whose failed write counts as an attempt, because the same operation succeeds for others.
    pub(super) counted: BTreeSet<TeamId>,
    /// Set once nothing more is to be sent: what remains, and why.
    stopped: Option<Trouble>,
}

#[derive(Clone)]
struct Create {
    team: TeamId,
    key: ConnectionKey,
    github: GithubHandle,
    reason: String,
}

#[derive(Clone)]
struct Delete {
    team: Option<TeamId>,
    key: ConnectionKey,
    id: ConnectionId,
    cause: RemovalCause,
    reason: String,
}

/// Carries out what the guard let through.
pub(super) async fn apply(hands: Hands<'_>, plan: Plan) -> Result<Applied, LedgerError> {
    let mut run = Run {
        hands,
        out: Applied::default(),
        made: Vec::new(),
        deletes: Vec::new(),
        unsure: BTreeSet::new(),
        failures: 0,
        worked: BTreeSet::new(),
        listed: None,
    };
    let written: BTreeSet<ConnectionKey> = plan.written().cloned().collect();
    let mut creates = Vec::new();
    for Planned { team: of, action, reason } in plan.actions {
        match (action, of) {
            (Action::Delete { key, id, cause }, _) => {
                run.deletes.push(Delete { team: of, key, id, cause, reason });
            }
            (Action::Forget { key }, _) => {
                let connection = Subject::Connection(key.clone());
                run.audit(of, AuditAction::Forget, connection, None, &reason, None, AuditOutcome::Done, None);
                run.out.stored.disowned.push(key.clone());
                // What this look makes for another team has an intent of its own under that key.
                if !written.contains(&key) {
                    run.out.stored.closed_intents.push(key);
                }
                // With nothing of its own any more, the team may want what it could not want before.
                run.out.stored.found.extend(of);
            }
            (Action::CreateTeam { handle, name }, Some(team)) => {
                run.create_team(team, &handle, &name, &reason).await;
            }
            (Action::Create { key, github }, Some(team)) => {
                creates.push(Create { team, key, github, reason });
            }
            (Action::PassOn { key, id, to, from_org, to_org }, Some(_)) => {
                run.pass_on(of, key, id, (from_org, to_org, to), &reason);
            }
            (Action::Record { key, id }, Some(team)) => {
                let made_under = run.open_create(&key).and_then(|intent| intent.managed_by.clone());
                run.record(team, key, id, made_under, &reason, AuditOutcome::Already);
                // It may not be wanted any more: now that it is ours, another look can remove it.
                run.out.stored.found.push(team);
            }
            // Orphans belong to no team: they are only ever deleted or disowned.
            (
                Action::CreateTeam { .. }
                | Action::Create { .. }
                | Action::PassOn { .. }
                | Action::Record { .. },
                None,
            ) => {}
        }
    }
    let batch = run.hands.options.batch.max(1);
    for items in creates.chunks(batch) {
        run.create(items.to_vec()).await?;
    }
    run.read_back_creates().await;
    let deletes: Vec<Delete> = std::mem::take(&mut run.deletes);
    // A connection that was to be replaced stays until its replacement stands, also when that was given up on.
    let parked: BTreeSet<Option<TeamId>> = run.out.stored.parked.iter().map(|action| action.team).collect();
    let stays = |team: &Option<TeamId>| run.out.unfinished.contains_key(team) || parked.contains(team);
    let go: Vec<_> = deletes.into_iter().filter(|delete| !stays(&delete.team)).collect();
    for items in go.chunks(batch) {
        run.delete(items.to_vec()).await?;
    }
    Ok(run.out)
}

struct Run<'a> {
    hands: Hands<'a>,
    out: Applied,
    /// Connections that Datadog says it made, to be read back.
    made: Vec<(Create, ConnectionId)>,
    deletes: Vec<Delete>,
    /// Creates that Datadog may have carried out, whatever it answers when they are sent again.
    unsure: BTreeSet<ConnectionKey>,
    /// 5xx answers in a row.
    failures: u32,
    /// What succeeded in this run.
    worked: BTreeSet<Operation>,
    /// Datadog's teams, read in this run to see which handles are free.
    listed: Option<Arc<DatadogTeams>>,
}

/// What to do about a refused write.
enum Refusal {
    /// Nothing more can be sent now.
    Stop,
    /// Look what is true, and try the rest in smaller parts.
    Part,
}

impl Run<'_> {
    async fn create(&mut self, items: Vec<Create>) -> Result<(), LedgerError> {
        let (mut parts, mut alone) = (vec![items], Vec::new());
        while let Some(mut items) = parts.pop() {
            if self.out.stopped.is_none() {
                let intended = items.iter().map(|item| (&item.key, Some(item.team), Some(&item.github)));
                let refused = self.intend(IntentKind::Create, intended).await?;
                items.retain(|item| !refused.contains(&item.key));
                if items.is_empty() {
                    continue;
                }
            }
            if !self.may_write() {
                items.iter().for_each(|item| self.leave(Some(item.team)));
                continue;
            }
            let new: Vec<_> = items
                .iter()
                .map(|item| NewConnection {
                    datadog_team: item.key.datadog_team.clone(),
                    github: item.github.clone(),
                })
                .collect();
            let trouble = match self.hands.writer.create(&new, Some(self.hands.lease.fence())).await {
                Ok(made) => {
                    self.worked(Operation::Create, items.iter().map(|item| &item.key));
                    let made: Connections = made.into_iter().collect();
                    let ids =
                        items.iter().filter_map(|item| Some((&item.key, &made.at(&item.key).first()?.id)));
                    self.answered(&ids.collect::<Vec<_>>()).await?;
                    for item in items {
                        match made.at(&item.key).first() {
                            Some(connection) => self.made.push((item, connection.id.clone())),
                            None => self.differs(
                                Some(item.team),
                                &item.key,
                                "Datadog's answer to its create lacks it",
                            ),
                        }
                    }
                    continue;
                }
                Err(trouble) => trouble,
            };
            if trouble.ambiguous {
                self.unsure.extend(items.iter().map(|item| item.key.clone()));
            }
            let refusal = self.refused(&trouble, items.iter().map(|item| Some(item.team)));
            if let Refusal::Stop = refusal {
                for item in items.iter().filter(|_| trouble.ambiguous) {
                    self.unknown_create(item, &trouble.message);
                }
                let left = items.iter().map(|item| (&item.key, Some(item.team)));
                self.stop_at(Operation::Create, &trouble, left);
                continue;
            }
            let teams = items.iter().map(|item| item.key.datadog_team.to_string()).collect();
            let Some(actual) = self.list(Filter { team_ids: teams, ..Filter::default() }).await else {
                items.iter().for_each(|item| self.leave(Some(item.team)));
                continue;
            };
            let actual: Connections = actual.into_iter().collect();
            let (there, rest): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| actual.has(&item.key));
            let progress = !there.is_empty();
            for item in there {
                let mark = Some(self.hands.options.managed_by.clone());
                let ours = actual.at(&item.key).iter().find(|found| found.managed_by == mark);
                // What a clear refusal leaves was there before it: an orphan, if it has our mark.
                match ours.filter(|_| trouble.ambiguous) {
                    Some(found) => {
                        let id = found.id.clone();
                        self.record(item.team, item.key, id, mark, &item.reason, AuditOutcome::Already);
                    }
                    // An earlier create of ours may have made it: the next look finds out.
                    None if self.may_be_made(&item.key) => self.out.stored.found.push(item.team),
                    // Somebody else made it meanwhile: what we wanted exists, and is not ours.
                    None => self.out.stored.closed_intents.push(item.key),
                }
            }
            match rest.as_slice() {
                [] => {}
                _ if progress => parts.push(rest),
                [item] => {
                    if let Some(blocker) = self.blocker(item, &trouble) {
                        self.delete(vec![blocker]).await?;
                        parts.push(rest);
                    } else if trouble.class == Class::Permanent {
                        self.give_up_create(item.clone(), &trouble).await;
                    } else {
                        alone.push((item.clone(), trouble));
                    }
                }
                _ => parts.extend(halves(rest)),
            }
        }
        self.creates_failed_alone(alone);
        Ok(())
    }

    /// After a 409 on a single pair: a connection of ours on the same Datadog team that is to be replaced anyway.
    fn blocker(&mut self, item: &Create, trouble: &Trouble) -> Option<Delete> {
        let same = |delete: &Delete| {
            delete.team == Some(item.team)
                && delete.key.datadog_team == item.key.datadog_team
                && matches!(delete.cause, RemovalCause::Replaced { .. })
        };
        let at = self.deletes.iter().position(same).filter(|_| trouble.status == Some(409))?;
        Some(self.deletes.remove(at))
    }

    /// A create that Datadog refuses. The first time, the list of Datadog's teams may be to blame: it is read
    /// again and the team is looked at once more before the create is parked.
    async fn give_up_create(&mut self, item: Create, trouble: &Trouble) {
        self.undone(&item.key);
        let attempts = self.hands.marks.get(&Some(item.team)).map_or(0, |mark| mark.attempts);
        // The connection that a 409 speaks of may be one that Datadog's lists do not show yet.
        let patience = if trouble.status == Some(409) { CONFLICTS } else { 1 };
        if attempts >= patience {
            self.park(Some(item.team), ParkedStep::Create(item.key), None, &item.reason, trouble);
        } else {
            self.hands.directory.distrust().await;
            self.out.unfinished.insert(Some(item.team), trouble.clone());
        }
    }

    async fn read_back_creates(&mut self) {
        let made = std::mem::take(&mut self.made);
        if made.is_empty() {
            return;
        }
        let ids = made.iter().map(|(_, id)| id.to_string()).collect();
        let Some(actual) = self.list(Filter { connection_ids: ids, ..Filter::default() }).await else {
            // Made, but not seen: the open intents let the next look record them.
            made.iter().for_each(|(item, _)| self.leave(Some(item.team)));
            return;
        };
        let actual: Connections = actual.into_iter().collect();
        for (item, id) in made {
            match actual.with_id(&item.key, &id) {
                Some(_) => {
                    let mark = Some(self.hands.options.managed_by.clone());
                    self.record(item.team, item.key, id, mark, &item.reason, AuditOutcome::Done);
                }
                None => self.differs(Some(item.team), &item.key, "Datadog does not show it after its create"),
            }
        }
    }

    async fn delete(&mut self, items: Vec<Delete>) -> Result<(), LedgerError> {
        let (mut parts, mut sent, mut alone) = (vec![items], Vec::new(), Vec::new());
        while let Some(mut items) = parts.pop() {
            if self.out.stopped.is_none() {
                let intended = items.iter().map(|item| (&item.key, item.team, None));
                let refused = self.intend(IntentKind::Delete, intended).await?;
                items.retain(|item| !refused.contains(&item.key));
                if items.is_empty() {
                    continue;
                }
            }
            if !self.may_write() {
                items.iter().for_each(|item| self.leave(item.team));
                continue;
            }
            let ids: Vec<_> = items.iter().map(|item| item.id.clone()).collect();
            let trouble = match self.hands.writer.delete(&ids, Some(self.hands.lease.fence())).await {
                Ok(()) => {
                    self.worked(Operation::Delete, items.iter().map(|item| &item.key));
                    self.answered(&items.iter().map(|item| (&item.key, &item.id)).collect::<Vec<_>>())
                        .await?;
                    sent.extend(items);
                    continue;
                }
                Err(trouble) => trouble,
            };
            let refusal = self.refused(&trouble, items.iter().map(|item| item.team));
            if let Refusal::Stop = refusal {
                for item in items.iter().filter(|_| trouble.ambiguous) {
                    self.unknown_delete(item, Some(&trouble.message));
                }
                let left = items.iter().map(|item| (&item.key, item.team));
                self.stop_at(Operation::Delete, &trouble, left);
                continue;
            }
            let Some(actual) = self.list_ids(&items).await else {
                items.iter().for_each(|item| self.leave(item.team));
                continue;
            };
            let (rest, gone): (Vec<_>, Vec<_>) =
                items.into_iter().partition(|item| actual.contains(&item.id));
            let progress = !gone.is_empty();
            gone.into_iter().for_each(|item| self.unlinked(item, AuditOutcome::Already));
            match rest.as_slice() {
                [] => {}
                _ if progress => parts.push(rest),
                // It is gone, and the list lags behind.
                [item] if trouble.status == Some(404) => {
                    self.answered(&[(&item.key, &item.id)]).await?;
                    sent.extend(rest);
                }
                [item] if trouble.class != Class::Permanent => alone.push((item.clone(), trouble)),
                [item] => {
                    self.out.stored.closed_intents.push(item.key.clone());
                    let step = ParkedStep::Delete(item.key.clone());
                    self.park(item.team, step, Some(&item.id), &item.reason, &trouble);
                }
                _ => parts.extend(halves(rest)),
            }
        }
        self.deletes_failed_alone(alone);
        self.read_back_deletes(sent).await;
        Ok(())
    }

    async fn read_back_deletes(&mut self, sent: Vec<Delete>) {
        if sent.is_empty() {
            return;
        }
        let Some(actual) = self.list_ids(&sent).await else {
            for item in &sent {
                let said = Some("Datadog took it, but could not be read afterwards");
                self.unknown_delete(item, said);
                self.leave(item.team);
            }
            return;
        };
        for item in sent {
            if actual.contains(&item.id) {
                self.unknown_delete(&item, Some("Datadog took it, and still shows it"));
                self.differs(item.team, &item.key, "Datadog still shows it after its delete");
            } else {
                self.unlinked(item, AuditOutcome::Done);
            }
        }
    }

    /// Whether another write may be sent. Asked right before it is: whatever is awaited in between may take long.
    fn may_write(&mut self) -> bool {
        if self.out.stopped.is_none() && !self.hands.lease.allows_write(self.hands.options.timeout) {
            let why = "too little is left of the lease for another write";
            self.stop(&Trouble::new(Class::Transient, why));
        }
        self.out.stopped.is_none()
    }

    fn refused(&mut self, trouble: &Trouble, teams: impl Iterator<Item = Option<TeamId>>) -> Refusal {
        match trouble.class {
            Class::Permanent => Refusal::Part,
            // A batch that fails with 5xx at look after look may have something in it that Datadog chokes on. Whether that
            // or an outage is to blame, its halves show: nothing is parked unless some of it goes through.
            Class::Transient if trouble.status.is_some_and(|status| status >= 500) => {
                self.failures += 1;
                let again =
                    teams.filter_map(|team| self.hands.marks.get(&team)).any(|mark| mark.failures > 0);
                if again && self.failures < MOST_FAILURES { Refusal::Part } else { Refusal::Stop }
            }
            Class::Transient | Class::Throttled | Class::Auth | Class::Invalid => Refusal::Stop,
        }
    }

    fn stop(&mut self, trouble: &Trouble) {
        self.out.stopped.get_or_insert_with(|| trouble.clone());
    }

    /// Nothing more is sent after this refusal. What it surely did not do needs no intent any more.
    fn stop_at<'k>(
        &mut self,
        operation: Operation,
        trouble: &Trouble,
        items: impl Iterator<Item = (&'k ConnectionKey, Option<TeamId>)>,
    ) {
        self.stop(trouble);
        for (key, team) in items {
            if !trouble.ambiguous {
                self.undone(key);
            }
            if trouble.class == Class::Transient {
                self.counts(operation, team, key.clone().into());
            }
            self.leave(team);
        }
    }

    /// A team whose step is not carried out because everything stopped.
    fn leave(&mut self, team: Option<TeamId>) {
        let trouble = self.out.stopped.clone();
        let trouble = trouble.unwrap_or_else(|| Trouble::new(Class::Transient, "not carried out"));
        self.out.unfinished.entry(team).or_insert(trouble);
    }
}

fn halves<T>(mut items: Vec<T>) -> [Vec<T>; 2] {
    let second = items.split_off(items.len() / 2);
    [second, items]
}
