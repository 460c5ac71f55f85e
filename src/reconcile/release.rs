//! The end of the binding of a login. A look at the whole organisation reads what proves it, holds it for a person, and
//! carries it out once that person has approved it. It reads no more than usual as long as the organisation answers under
//! the login that it is bound to.
//!
//! Of an organisation that was deleted, the connections go first, like those of teams that are gone: intents, batches and
//! read-backs are the same, and a look after the last removal releases the login. Whatever may not be deleted is disowned
//! then: what is protected, what `upsert` keeps, and what names a team of whoever has the login now.
//!
//! Nobody binds a login that was released but GitHub's answer under it. An event about such a login only asks for that
//! answer.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    apply::{self, Applied, Hands},
    known::Known,
    lease::{Lease, shown_within},
    observe, pace,
    strangers::is_taken,
    survey::{Eyes, Standing, Surveyed},
};
use crate::{
    datadog,
    ledger::{
        AuditAction, AuditEntry, AuditOutcome, Held, LeasedMark, Ledger, LedgerError, MarkResult, Next,
        OrgRow, OrgState, Released, Settlement, release_of,
    },
    model::{
        Answer, Asks, Cause, Class, ConnectionKey, GithubHandle, HeldKey, HeldKind, Integration, Mode,
        OrgFacts, OrgId, Subject, Target, TeamId, TeamState, Time, Trouble,
    },
    plan::{self, Action, Binding, Guarded, Holder, Judged, Release, RemovalCause, Why},
    telemetry,
};

/// What a look found of a binding.
pub(super) struct Found {
    judged: Judged,
    /// The organisation, unless its id answers 404.
    org: Option<OrgFacts>,
    /// The login that is spoken of.
    login: String,
}

/// Reads what GitHub says of the binding of an organisation. Returns none if GitHub's answers decide nothing.
pub(super) async fn read(
    eyes: &Eyes,
    ledger: &Ledger,
    state: &OrgState,
    surveyed: Result<&Surveyed, &Trouble>,
) -> sqlx::Result<Option<Found>> {
    let row = &state.org;
    let org = match surveyed {
        Ok(surveyed) => Some(surveyed.mirror.org.clone()),
        Err(trouble) if trouble.class == Class::Auth => match eyes.github.org(row.facts.id).await {
            Answer::Present(org) => Some(org),
            Answer::Absent => None,
            Answer::Forbidden(_) | Answer::Failed(_) => return Ok(None),
        },
        Err(_) => return Ok(None),
    };
    let logins: Vec<&str> = match &org {
        Some(org) if org.login.eq_ignore_ascii_case(&row.bound_login) => Vec::new(),
        Some(_) => vec![&row.bound_login],
        None if row.deleted_event_at.is_some() => Vec::new(),
        None if row.facts.login.eq_ignore_ascii_case(&row.bound_login) => {
            vec![&row.bound_login]
        }
        None => vec![&row.bound_login, &row.facts.login],
    };
    let known = ledger.orgs().await?;
    let mut holder = None;
    for login in logins.into_iter().filter(|login| eyes.options.lists(login)) {
        match eyes.github.org_by_login(login).await {
            Answer::Present(org) if org.id != row.facts.id => {
                let bound = known.iter().any(|it| it.facts.id == org.id);
                holder = Some(Holder { org, bound });
                break;
            }
            Answer::Present(_) | Answer::Absent => {}
            Answer::Forbidden(_) | Answer::Failed(_) => return Ok(None),
        }
    }
    let binding = Binding {
        org: row.facts.id,
        login: &row.bound_login,
        deleted_event_at: row.deleted_event_at,
        absent_since: row.absent_since,
    };
    let times = (state.read_at, eyes.options.clock.now());
    let judged = plan::judge_binding(binding, org.as_ref(), holder.as_ref(), eyes.options.grace, times);
    let of_deleted = || if org.is_none() { row.facts.login.clone() } else { row.bound_login.clone() };
    let login = holder.map_or_else(of_deleted, |holder| holder.org.login);
    Ok(Some(Found { judged, org, login }))
}

/// A look at an organisation, as far as a release needs it.
pub(super) struct At<'a> {
    pub(super) eyes: &'a Eyes,
    pub(super) ledger: &'a Ledger,
    pub(super) writer: &'a datadog::Writer,
    pub(super) lease: &'a Lease,
    pub(super) org: OrgId,
    pub(super) state: &'a OrgState,
    pub(super) mark: &'a LeasedMark,
}

/// How far carrying out a release came.
enum Carried {
    /// All is done that comes before the end of the binding.
    Over,
    /// Something comes first.
    Waits(Next),
}

impl At<'_> {
    /// Holds a release, carries it out if it is approved, or ends what was held. Adds what is to be stored of it, and says
    /// when to look again if that is sooner than `next`.
    pub(super) async fn decide(
        &self,
        found: Option<Found>,
        settlement: &mut Settlement,
        next: &mut Next,
    ) -> Result<(), LedgerError> {
        let now = self.eyes.options.clock.now();
        let before = self.ledger.held_release(self.org, now).await?;
        let Some(Found { judged, org, login }) = found else {
            settlement.held.extend(before.map(|(held, _)| held));
            return Ok(());
        };
        settlement.absent_since = Some(judged.absent_since);
        // The event may have come before GitHub's own replicas knew.
        let lag = pace::lag_look(self.state.org.deleted_event_at, now)
            .filter(|_| judged.release.is_none() && org.is_some());
        if let Some(at) = judged.again.into_iter().chain(lag).min() {
            sooner(next, at);
        }
        let Some(release) = judged.release else {
            if let Some((held, _)) = before {
                settlement.ends_release = true;
                telemetry::work::hold_ended(&held, "GitHub doesn't show it any more");
                let reason = format!("release held because {}; GitHub doesn't show it any more", held.reason);
                settlement.audit.push(self.line(AuditAction::EndHold, held.key.subject, reason, None));
            }
            return Ok(());
        };
        let reason = release.reason(&login);
        let same = before.as_ref().is_some_and(|(held, _)| held.reason.rule == reason.rule);
        settlement.ends_release = before.is_some() && !same;
        let free = self.state.paused.whole.is_none() && self.state.paused.teams.is_empty();
        // What is held is read again now and then: it ends by itself when it is no longer true.
        let again = now + self.eyes.options.backoff.max;
        match &org {
            Some(_) => sooner(next, again),
            None => *next = Next::At(again),
        }
        if free && same && before.is_some_and(|(_, approved)| approved) {
            match self.carry_out(&release, settlement).await? {
                Carried::Over => {
                    // Rows are bound to the login that is stored.
                    settlement.org = settlement.org.take().or(org);
                    self.end(&release, &login, settlement);
                    *next = Next::Nothing;
                    return Ok(());
                }
                Carried::Waits(until) => *next = until,
            }
        }
        settlement.held.push(Held { key: release_of(self.org), team: None, reason });
        Ok(())
    }

    /// Ends the binding.
    fn end(&self, release: &Release, login: &str, settlement: &mut Settlement) {
        let released = if release.is_end() { Released::Gone } else { Released::Renamed };
        settlement.released = Some(released);
        let reason = format!("a person released the login {login}");
        let subject = Subject::Organisation(self.org);
        settlement.audit.push(self.line(AuditAction::Release, subject, reason, Some(release.proof())));
        telemetry::work::released(self.org, login);
        if released == Released::Renamed {
            return;
        }
        self.tell_document(settlement);
        for owned in &self.state.owned {
            let reason =
                format!("the login {login} of its organisation was released, and nothing deletes it");
            let subject = Subject::Connection(owned.key.clone());
            let line = self.line(AuditAction::Forget, subject, reason, None);
            let connection = Some(owned.id.to_string());
            settlement.audit.push(AuditEntry { team: Some(owned.team), connection, ..line });
        }
    }

    /// Whose repositories GitHub's document lists depends on the connections.
    fn tell_document(&self, settlement: &mut Settlement) {
        if self.eyes.options.lists_linked_teams() {
            settlement.documents.push(Integration::Github);
        }
    }

    fn line(
        &self,
        action: AuditAction,
        subject: Subject,
        reason: String,
        proof: Option<String>,
    ) -> AuditEntry {
        AuditEntry {
            team: None,
            action,
            subject,
            connection: None,
            cause: self.mark.cause,
            of_event: false,
            reason,
            proof,
            outcome: AuditOutcome::Done,
            detail: None,
        }
    }

    /// Does what comes before the end of a binding.
    async fn carry_out(
        &self,
        release: &Release,
        settlement: &mut Settlement,
    ) -> Result<Carried, LedgerError> {
        let OrgState { org, owned, intents, .. } = self.state;
        let options = &self.eyes.options;
        let now = options.clock.now();
        if !release.is_end() || owned.is_empty() && intents.is_empty() {
            return Ok(Carried::Over);
        }
        // A write that may still arrive would be nobody's.
        let shown = shown_within(options.timeout);
        if let Some(at) = intents.iter().map(|intent| intent.at + shown).filter(|at| *at >= now).max() {
            return Ok(Carried::Waits(Next::At(at + options.backoff.min)));
        }
        let Some(cause) = release.removes() else { return Ok(Carried::Over) };
        if options.policy(&org.facts.login, &org.bound_login).mode == Mode::Observe {
            return Ok(Carried::Waits(Next::At(now + options.backoff.max)));
        }
        let planned = match self.plan(&cause).await? {
            Ok(planned) => planned,
            Err(trouble) => return Ok(Carried::Waits(self.retry(&trouble))),
        };
        if planned.ready.actions.is_empty() {
            let open = planned.ready.left_alone.iter().any(|left| waits(&left.why));
            let again = Next::At(now + options.backoff.min);
            return Ok(if open { Carried::Waits(again) } else { Carried::Over });
        }
        let marks = BTreeMap::from([(None, self.mark)]);
        let of_look = (intents.as_slice(), self.state.read_at);
        let hands = Hands::new(self.eyes, self.ledger, self.writer, (self.lease, self.org), &marks, of_look);
        let Applied { stored, unfinished, .. } = apply::apply(hands, planned.ready).await?;
        if unfinished.values().all(|trouble| trouble.class != Class::Throttled) {
            self.eyes.datadog.looked(self.lease.lane);
        }
        let known = std::mem::replace(settlement, stored);
        let Settlement { org, absent_since, ends_release, mut audit, .. } = known;
        (settlement.org, settlement.absent_since, settlement.ends_release) =
            (org, absent_since, ends_release);
        settlement.audit.append(&mut audit);
        settlement.found.clear();
        self.tell_document(settlement);
        // The look after the last removal ends the binding. One that removed nothing is not repeated at once.
        let removed = !settlement.disowned.is_empty() || !settlement.owned.is_empty();
        let again = Next::At(if removed { now } else { now + options.backoff.min });
        let next = unfinished.into_values().next().map_or(again, |trouble| self.retry(&trouble));
        Ok(Carried::Waits(next))
    }

    fn retry(&self, trouble: &Trouble) -> Next {
        let options = &self.eyes.options;
        let clock = &options.clock;
        pace::retry(trouble, self.mark.failures, false, options.backoff, clock.jitter(), clock.now())
    }

    /// Plans the removal of all connections of an organisation that was deleted. What names a team of whoever has the
    /// login now is left out.
    async fn plan(&self, cause: &RemovalCause) -> Result<Result<Guarded, Trouble>, LedgerError> {
        let (eyes, state) = (self.eyes, self.state);
        let mut standing = Standing::read(self.ledger, self.org, &eyes.options, false).await?;
        for kind in [HeldKind::Delete, HeldKind::Disown] {
            standing.approved.extend(state.owned.iter().map(|owned| HeldKey::new(kind, owned.key.clone())));
        }
        let mut known = Known::new(state, &eyes.options, state.read_at);
        known.weigh(standing);
        known.read_elsewhere(self.ledger).await?;
        known.forget_elsewhere();
        let proven = eyes.options.clock.now();
        for team in known.mirror.teams.values_mut() {
            team.state = TeamState::Gone { since: proven, proven };
        }
        // Where a limit stops the removals, the next look goes on with what was read.
        let reading = self.eyes.looking(self.lease.lane);
        Ok(self.plan_removals(&reading, &known, cause).await)
    }

    async fn plan_removals(
        &self,
        reading: &Eyes,
        known: &Known,
        cause: &RemovalCause,
    ) -> Result<Guarded, Trouble> {
        let mut guarded = reading.plan_end(known).await?;
        for planned in &mut guarded.ready.actions {
            if let Action::Delete { cause: of, .. } = &mut planned.action {
                *of = cause.clone();
                planned.reason = cause.reason();
            }
        }
        let deletes: Vec<ConnectionKey> = guarded
            .ready
            .actions
            .iter()
            .filter(|planned| matches!(planned.action, Action::Delete { .. }))
            .filter_map(|planned| planned.action.key().cloned())
            .collect();
        let nobodys = self.held_by_nobody(deletes).await?;
        guarded.ready.actions.retain(|planned| {
            let deletes = matches!(planned.action, Action::Delete { .. });
            !deletes || planned.action.key().is_some_and(|key| nobodys.contains(key))
        });
        Ok(guarded)
    }

    /// Those of these keys that name no team today, as far as GitHub tells: whoever has the login now may have such a team.
    /// Each is read, so that a rate limit may end before the last one. The next look goes on with those that are left.
    async fn held_by_nobody(&self, keys: Vec<ConnectionKey>) -> Result<BTreeSet<ConnectionKey>, Trouble> {
        let (mut logins, mut nobodys) = (BTreeMap::new(), BTreeSet::new());
        for key in keys {
            match self.is_held(&key, &mut logins).await {
                Ok(held) => nobodys.extend((!held).then_some(key)),
                Err(trouble) if nobodys.is_empty() => return Err(trouble),
                Err(_) => break,
            }
        }
        Ok(nobodys)
    }

    /// Whether a key names a team today. `logins` has the slugs of the teams under each login that was read before.
    async fn is_held(
        &self,
        key: &ConnectionKey,
        logins: &mut BTreeMap<String, Option<BTreeSet<String>>>,
    ) -> Result<bool, Trouble> {
        let handle = GithubHandle::from_datadog(key.github.clone());
        let Some((login, slug)) = handle.parts() else { return Ok(false) };
        if !logins.contains_key(login) {
            logins.insert(login.to_owned(), self.slugs_under(login).await?);
        }
        let Some(listed) = &logins[login] else { return Ok(false) };
        Ok(listed.contains(slug) || there(self.eyes.github.team_by_slug(login, slug).await)?.is_some())
    }

    /// The slugs of the teams under a login, if an organisation has it now.
    async fn slugs_under(&self, login: &str) -> Result<Option<BTreeSet<String>>, Trouble> {
        let github = &self.eyes.github;
        let Some(org) = there(github.org_by_login(login).await)? else { return Ok(None) };
        let absent = || format!("the list of the teams of {login} answers 404");
        let list = observe::answer(github.list_teams(&org, None).await, absent)?;
        Ok(Some(list.items.into_iter().map(|team| team.slug).collect()))
    }
}

fn there<T>(answer: Answer<T>) -> Result<Option<T>, Trouble> {
    match answer {
        Answer::Present(value) => Ok(Some(value)),
        Answer::Absent => Ok(None),
        Answer::Forbidden(trouble) | Answer::Failed(trouble) => Err(trouble),
    }
}

/// Whether a later look may decide what this one left alone.
fn waits(why: &Why) -> bool {
    matches!(
        why,
        Why::NotVisible { .. }
            | Why::NotRead { .. }
            | Why::Paused { .. }
            | Why::Grace { .. }
            | Why::MayBeMade { .. }
            | Why::Suspected { .. }
            | Why::Conflict { .. }
    )
}

fn sooner(next: &mut Next, at: Time) {
    match next {
        Next::Nothing => *next = Next::At(at),
        Next::At(before) | Next::Waits(before) => *before = at.min(*before),
        Next::Retry { at: before, floor, .. } => {
            *before = at.min(*before);
            *floor = at.min(*floor);
        }
    }
}

impl Eyes {
    /// Plans for an organisation of which every team counts as gone.
    async fn plan_end(&self, known: &Known) -> Result<Guarded, Trouble> {
        let directory = self.directory.whole(false).await?;
        let desired =
            plan::desire(&known.mirror, &self.options.rules, &directory, known.actual.owned.values());
        let teams: BTreeSet<TeamId> = known.mirror.teams.keys().copied().collect();
        let ours = known.actual.owned.keys().chain(known.actual.create_intents.keys());
        let datadog_teams = ours.map(|key| key.datadog_team.clone()).collect();
        let connections = self.connections_of(known, &teams, &desired, datadog_teams).await?;
        let mut actual = known.showing(connections);
        let (gone, undecided) = self.gone(&directory, &actual, |_| true).await?;
        actual.gone = gone;
        if let Some(trouble) = undecided.into_values().next() {
            return Err(trouble);
        }
        let plan = self.plan_by_ids(known, (&teams, &desired), &mut actual, &BTreeMap::new()).await?;
        Ok(self.judge(known, &teams, plan, &actual, Vec::new()))
    }

    /// Binds whoever has a login that was released, if GitHub shows somebody under it and `github.orgs` lists it.
    pub(super) async fn bind_holder(
        &self,
        ledger: &Ledger,
        login: &str,
    ) -> Result<Result<(), Trouble>, LedgerError> {
        if !self.options.lists(login) {
            return Ok(Ok(()));
        }
        let facts = match self.holder(login).await {
            Answer::Present(facts) => facts,
            Answer::Absent => return Ok(Ok(())),
            Answer::Forbidden(trouble) | Answer::Failed(trouble) => return Ok(Err(trouble)),
        };
        if !is_taken(&ledger.orgs().await?, &facts) {
            let now = self.options.clock.now();
            ledger.bind_org(&facts, now).await?;
            ledger.mark(&[Target::Org(facts.id)], Cause::Pass, Asks::PASS, now).await?;
        }
        Ok(Ok(()))
    }
}

/// Settles the marks of an organisation that was released. One on the organisation as a whole asks who has its login.
pub(super) async fn look_at_released(
    eyes: &Eyes,
    ledger: &Ledger,
    lease: &Lease,
    org: &OrgRow,
    (whole, teams): (Option<&LeasedMark>, &[LeasedMark]),
) -> Result<(), LedgerError> {
    let clock = &eyes.options.clock;
    let settled = |mark: &LeasedMark, next| MarkResult { team: mark.team, generation: mark.generation, next };
    let mut marks: Vec<_> = teams.iter().map(|mark| settled(mark, Next::Nothing)).collect();
    if let Some(mark) = whole {
        let next = match eyes.bind_holder(ledger, &org.bound_login).await? {
            Ok(()) => Next::Nothing,
            Err(trouble) => {
                let (backoff, jitter) = (eyes.options.backoff, clock.jitter());
                pace::retry(&trouble, mark.failures, false, backoff, jitter, clock.now())
            }
        };
        marks.push(settled(mark, next));
    }
    ledger.settle(lease.lane, lease.fence, &Settlement { marks, ..Settlement::default() }, clock.now()).await
}
