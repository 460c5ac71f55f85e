//! What is stored of time, after the clock was set. Everything that waits has a moment of the ledger's clock until when.
//! When that clock is set back, such a moment may lie a day ahead. When it is set forward, a grace that began a minute
//! ago seems to be over.
//!
//! [`Ledger::keep_time`] compares the wall clock with the monotonic one. After a jump it makes every delay due, and begins
//! again every grace, slot, intent, approval and lease that was not over. While no process looked, a clock that was set
//! back shows in moments that lie ahead although they were now when they were stored. Those are corrected at the start,
//! and every now and then.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::AssertSqlSafe;

use super::{Ledger, rows::Flag};
use crate::model::{LISTS_LAG, RemovedByOthers, Time};

/// How often moments that lie ahead are looked for: another process may have stored them by a clock that was wrong.
const LOOK_AHEAD: Duration = Duration::from_secs(10);

/// How far ahead a moment may lie before it is wrong: the clocks of processes are not quite the same.
const AHEAD: Duration = Duration::from_secs(1);

/// How long a lease lasts of which no version stored when it was renewed.
const OLD_LEASE: Duration = Duration::from_secs(60);

/// A team's list of repositories is read again until it is this much younger than the last event.
const LISTS: Duration = Duration::from_secs(300);

/// How long what is waited for lasts, by the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// From one look at what is gone or unwanted to the next.
    pub grace: Duration,
    /// In which the guard counts removals.
    pub window: Duration,
    /// The longest delay of a mark.
    pub delay: Duration,
    /// In which Datadog's lists may lag behind its answer to a write.
    pub lag: Duration,
}

/// What a process knows of its clock.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// When moments ahead were last looked for, by the monotonic clock.
    looked: Option<Duration>,
    /// The time before and after the last jump.
    jump: Option<(Time, Time)>,
    /// How many there were.
    jumps: u64,
}

/// What is to begin again: what lies after these moments.
pub(super) struct After {
    /// The condition on marks, if any of them are to be due.
    marks: Option<String>,
    grace: Time,
    slots: Time,
    lists: Time,
    intents: Time,
    answers: Time,
    recorded: Time,
    seconds: Time,
    removed: Time,
    /// What no delay counts from, but may not lie ahead either.
    rest: Time,
    /// The conditions on leases and approvals.
    leases: String,
    approvals: String,
}

impl After {
    /// What was not over when the clock jumped.
    pub(super) fn jump((old, new): (Time, Time), now: Time, spans: Spans) -> Self {
        let before = old.min(new);
        Self {
            // Forward, all that waits is due by itself.
            marks: (new < old).then(|| format!("due_at > {0} OR not_before > {0} OR first_at > {0}", now.0)),
            grace: before - spans.grace,
            slots: before - spans.window,
            lists: before - LISTS,
            // Any of them may still arrive.
            intents: Time(0),
            answers: before - spans.lag.max(spans.grace),
            recorded: before - LISTS_LAG,
            seconds: before - spans.delay,
            removed: before - RemovedByOthers::WITHIN,
            rest: new,
            leases: format!("expires_at > {}", before.0),
            approvals: format!("expires_at > {}", old.0),
        }
    }

    /// What lies ahead of the clock.
    fn now(now: Time, spans: Spans) -> Self {
        let (ahead, far, lease) = (now + AHEAD, now + spans.delay, now + OLD_LEASE);
        Self {
            marks: Some(format!(
                "decided_at > {0} OR first_at > {0} OR decided_at IS NULL AND (due_at > {1} OR not_before > {1})",
                ahead.0, far.0
            )),
            grace: ahead,
            slots: ahead,
            lists: ahead,
            intents: ahead,
            answers: ahead,
            recorded: ahead,
            seconds: ahead,
            removed: ahead,
            rest: ahead,
            leases: format!("renewed_at > {} OR renewed_at IS NULL AND expires_at > {}", ahead.0, lease.0),
            approvals: format!("approved_at > {}", ahead.0),
        }
    }

    /// The moments by table: the column, which rows, and after when.
    fn moments(&self) -> [(&'static str, &'static str, &'static str, Time); 22] {
        [
            ("teams", "suspected_at", "gone_at IS NULL AND", self.grace),
            ("connections", "unwanted_since", "", self.grace),
            // The lists may lack what was recorded just before.
            ("connections", "created_at", "", self.recorded),
            ("entries", "suspected_at", "", self.grace),
            ("document_suspicions", "since", "", self.grace),
            ("document_looks", "put_at", "", self.rest),
            ("removed_entries", "removed_at", "", self.rest),
            ("removal_slots", "at", "", self.slots),
            ("disowned", "at", "", self.slots),
            ("intents", "at", "", self.intents),
            ("late_creates", "sent_at", "", self.intents),
            ("intents", "answered_at", "", self.answers),
            ("intents", "missed_at", "", self.answers),
            // The list that completes a proof begins after the second look, and may have begun a while ago.
            ("teams", "suspected_at", "gone_at IS NOT NULL AND", self.rest),
            ("teams", "gone_at", "unlisted_at IS NULL AND", self.seconds),
            ("orgs", "listed_at", "", self.rest),
            ("orgs", "absent_since", "released_at IS NULL AND", self.grace),
            ("team_lists", "changed_at", "", self.lists),
            ("strangers", "met_at", "", self.rest),
            ("strangers", "heard_at", "", self.rest),
            ("payloads", "stored_at", "", self.rest),
            // What somebody removed counts for a day.
            ("removed_by_others", "at", "", self.removed),
        ]
    }

    fn marks(&self) -> Option<String> {
        self.marks.as_ref().map(|marks| format!("due_at IS NOT NULL AND ({marks})"))
    }
}

impl Ledger {
    /// Goes by the wall clock as it is now. Returns by how many microseconds it was set since the last call, if it was.
    pub async fn keep_time(&self, spans: Spans) -> sqlx::Result<Option<i64>> {
        // Where the database has a clock, this process follows it.
        self.time(self.clock.now()).await?;
        let Some(jump) = self.clock.jumped() else {
            self.clock.take_over();
            self.look_ahead(spans).await?;
            return Ok(None);
        };
        let (old, new) = (self.clock.now(), self.clock.wall());
        self.begin_again(After::jump((old, new), new, spans), new).await?;
        self.clock.take_over();
        let mut kept = self.kept();
        (kept.jump, kept.jumps) = (Some((old, new)), kept.jumps + 1);
        Ok(Some(jump))
    }

    /// How often the clock was set, as far as this process knows.
    pub fn jumps(&self) -> u64 {
        self.kept().jumps
    }

    /// Does once more what was done at the last jump, for what was stored since by the time before it: whoever was at
    /// work during the jump calls this before another may continue.
    pub async fn keep_time_again(&self, spans: Spans) -> sqlx::Result<()> {
        let (jump, now) = (self.kept().jump, self.clock.now());
        match jump {
            Some(jump) => self.begin_again(After::jump(jump, now, spans), now).await,
            None => Ok(()),
        }
    }

    /// Corrects what lies ahead of the clock, now and then.
    async fn look_ahead(&self, spans: Spans) -> sqlx::Result<()> {
        let looks = self.clock.monotonic();
        if self.kept().looked.is_some_and(|at| at + LOOK_AHEAD > looks) {
            return Ok(());
        }
        let now = self.clock.now();
        let after = After::now(now, spans);
        let moments = after.moments().map(|(table, column, rows, at)| {
            format!("EXISTS (SELECT 1 FROM {table} WHERE {rows} {column} > {})", at.0)
        });
        let marks = after.marks().unwrap_or_default();
        let query = format!(
            "SELECT EXISTS (SELECT 1 FROM marks WHERE {marks}) OR {}
                 OR EXISTS (SELECT 1 FROM team_lists WHERE read_at > {})
                 OR EXISTS (SELECT 1 FROM approvals WHERE {})
                 OR EXISTS (SELECT 1 FROM leases WHERE expires_at > 0 AND ({}))",
            moments.join(" OR "),
            after.lists.0,
            after.approvals,
            after.leases
        );
        let any: Flag = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&self.read).await?;
        if any.0 {
            self.begin_again(after, now).await?;
        }
        self.kept().looked = Some(looks);
        Ok(())
    }

    pub(super) async fn begin_again(&self, after: After, now: Time) -> sqlx::Result<()> {
        let after = &after;
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            for sql in begin_again(after, now) {
                sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
            }
            transaction.commit().await
        })
        .await
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The statements that begin it again. Numbers of ours only: no text of others is in them.
fn begin_again(after: &After, now: Time) -> Vec<String> {
    let mut statements = Vec::new();
    let now = now.0;
    if let Some(marks) = after.marks() {
        let at_most = |column| format!("{column} = CASE WHEN {column} > {now} THEN {now} ELSE {column} END");
        let columns = ["due_at", "not_before", "first_at", "event_at"].map(at_most).join(", ");
        statements.push(format!("UPDATE marks SET {columns}, decided_at = {now} WHERE {marks}"));
    }
    statements.extend(after.moments().map(|(table, column, rows, at)| {
        format!("UPDATE {table} SET {column} = {now} WHERE {rows} {column} > {}", at.0)
    }));
    statements.push(format!("UPDATE team_lists SET read_at = NULL WHERE read_at > {now}"));
    statements.push(format!(
        "UPDATE approvals SET expires_at = {now} + (expires_at - approved_at), approved_at = {now} WHERE {}",
        after.approvals
    ));
    let lasts = OLD_LEASE.as_micros();
    statements.push(format!(
        "UPDATE leases SET
             expires_at = {now} + CASE WHEN expires_at - renewed_at BETWEEN 0 AND {lasts} THEN expires_at - renewed_at
                                       ELSE {lasts} END,
             renewed_at = {now}
         WHERE expires_at > 0 AND ({})",
        after.leases
    ));
    statements
}
