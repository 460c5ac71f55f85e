//! What the ledger remembers of integration documents: the entries that we added, by repository where they are one's.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sqlx::{AnyConnection, Row, any::AnyRow};

use super::{Ledger, LedgerError, held, rows, settle, slots, team_lists};
use crate::model::{
    Class, Contents, EntryChange, EntryKey, HeldKey, HeldKind, HoldReason, Integration, Lane, OrgId,
    RepositoryId, Subject, Suspicion, TeamKey, Time, Trouble,
};

/// An entry that we added, or are about to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryRow {
    /// GitHub: the organisation and the repository that it stands for.
    pub repository: Option<(OrgId, RepositoryId)>,
    /// Of the repositories of linked teams: one such team, by its slug as Datadog names it.
    pub team: Option<String>,
    /// The first look of the two that prove the repository's absence.
    pub suspected: Option<Time>,
    /// How many PUTs in a row have added it without a read that shows it.
    pub unseen_puts: u32,
}

/// An entry that we removed a short while ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovedEntry {
    /// The last PUT that removed it.
    pub at: Time,
    /// How many PUTs have.
    pub removals: u32,
}

/// What a PUT would do to an entry, if Datadog did not reject it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedEntry {
    /// What it would do.
    pub change: EntryChange,
    /// What Datadog says.
    pub error: Trouble,
    /// How many looks tried it.
    pub attempts: u32,
}

/// The last look at a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastLook {
    /// The generation of the mark that it answered.
    pub generation: i64,
    /// When a look reads GitHub again, even without a new mark.
    pub full_at: Option<Time>,
    /// The last PUT.
    pub put_at: Option<Time>,
}

/// What is known of a document.
#[derive(Clone, Debug, Default)]
pub struct DocumentState {
    /// When this was read, before anything of it.
    pub read_at: Time,
    /// The entries that we added.
    pub entries: BTreeMap<EntryKey, EntryRow>,
    /// The Datadog organisation that it was first read in.
    pub datadog_org: Option<i64>,
    /// Removals that wait for a person, and why.
    pub held: BTreeMap<EntryKey, HoldReason>,
    /// Removals that are approved.
    pub approved: BTreeSet<EntryKey>,
    /// Additions that wait for a person, and why.
    pub held_additions: BTreeMap<EntryKey, HoldReason>,
    /// Additions that are approved.
    pub approved_additions: BTreeSet<EntryKey>,
    /// Removals that were done within the guard's window, but for those that a person approved.
    pub removed: usize,
    /// What it had when it was last accepted.
    pub accepted: Contents,
    /// A read that lacked some of that.
    pub suspicion: Option<Suspicion>,
    /// The entries that we removed a short while ago.
    pub removed_entries: BTreeMap<EntryKey, RemovedEntry>,
    /// The entries that Datadog rejects.
    pub rejected: BTreeMap<EntryKey, RejectedEntry>,
    /// The last look.
    pub last_look: Option<LastLook>,
}

/// What a look at a document stores.
#[derive(Clone, Debug)]
pub struct SettledDocument {
    /// Which.
    pub integration: Integration,
    /// All entries that are ours now.
    pub entries: BTreeMap<EntryKey, EntryRow>,
    /// The Datadog organisation that it was read in.
    pub datadog_org: Option<i64>,
    /// What it has now.
    pub accepted: Contents,
    /// A read that lacked some of that.
    pub suspicion: Option<Suspicion>,
    /// The entries that went a short while ago.
    pub removed_entries: BTreeMap<EntryKey, RemovedEntry>,
    /// This look.
    pub look: LastLook,
    /// The repositories of teams, as far as they were read again.
    pub lists: BTreeMap<TeamKey, BTreeSet<RepositoryId>>,
    /// When the look began.
    pub read_at: Time,
}

/// How long after our PUT an entry that is there again counts as put back by somebody who read the document before it. The
/// last read comes two minutes after the PUT, and may come late.
const PUT_BACK_WITHIN: Duration = Duration::from_secs(150);

impl DocumentState {
    /// Returns the entries that one recent PUT of ours removed, or that recent reads lacked when they were to go. If they are
    /// back, they are removed once more.
    pub fn put_back(&self, now: Time) -> BTreeSet<EntryKey> {
        self.removed_entries.iter().filter(|(_, it)| it.goes_again(now)).map(|(key, _)| key.clone()).collect()
    }
}

impl RemovedEntry {
    /// Whether reads still look whether somebody puts it back.
    pub fn is_young(&self, now: Time) -> bool {
        self.at + PUT_BACK_WITHIN > now
    }

    /// Whether it is removed once more if it is back.
    pub fn goes_again(&self, now: Time) -> bool {
        self.removals <= 1 && self.is_young(now)
    }
}

impl Ledger {
    /// What is known of a document. `window` is the guard's.
    pub async fn document_state(
        &self,
        integration: Integration,
        window: Duration,
        now: Time,
    ) -> sqlx::Result<DocumentState> {
        let mut connection = self.read.acquire().await?;
        let rows = sqlx::query(
            "SELECT entry, org_id, repository_id, team, suspected_at, unseen_puts FROM entries
             WHERE integration = $1",
        )
        .bind(integration.as_str())
        .fetch_all(&mut *connection)
        .await?;
        let datadog_org = sqlx::query_scalar("SELECT datadog_org_id FROM documents WHERE integration = $1")
            .bind(integration.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let entries: BTreeMap<_, _> = rows.iter().map(entry_row).collect::<sqlx::Result<_>>()?;
        let accepted = contents(&mut connection, integration, entries.keys()).await?;
        let suspicion = sqlx::query("SELECT since, lacks FROM document_suspicions WHERE integration = $1")
            .bind(integration.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let suspicion = suspicion.as_ref().map(suspicion_row).transpose()?;
        let removed_entries =
            sqlx::query("SELECT entry, removed_at, removals FROM removed_entries WHERE integration = $1")
                .bind(integration.as_str())
                .fetch_all(&mut *connection)
                .await?;
        let last_look =
            sqlx::query("SELECT generation, full_at, put_at FROM document_looks WHERE integration = $1")
                .bind(integration.as_str())
                .fetch_optional(&mut *connection)
                .await?;
        let lane = Lane::Document(integration);
        let rejected = rejected(&mut connection, lane).await?;
        let held = held::held_of(&mut connection, lane).await?;
        let approved = held::approved_of(&mut connection, lane, now).await?;
        let removed = slots::done_of(&mut connection, lane, window, now).await?;
        let entry = |of: HeldKind, held: HeldKey| match held.subject {
            Subject::Entry(_, entry) if held.kind == of => Some(entry),
            _ => None,
        };
        let held_of = |of| {
            let of = held.iter().filter_map(move |it| Some((entry(of, it.key.clone())?, it.reason.clone())));
            of.collect()
        };
        let approved_of = |of| approved.iter().filter_map(move |it| entry(of, it.clone())).collect();
        Ok(DocumentState {
            read_at: now,
            entries,
            datadog_org,
            held: held_of(HeldKind::Delete),
            approved: approved_of(HeldKind::Delete),
            held_additions: held_of(HeldKind::Create),
            approved_additions: approved_of(HeldKind::Create),
            removed,
            accepted,
            suspicion,
            removed_entries: removed_entries.iter().map(removed_row).collect::<sqlx::Result<_>>()?,
            rejected,
            last_look: last_look.as_ref().map(look_row).transpose()?,
        })
    }

    /// Stores which entries are about to be added, before the PUT is sent.
    pub async fn intend_entries(
        &self,
        fence: i64,
        integration: Integration,
        entries: &BTreeMap<EntryKey, EntryRow>,
        now: Time,
    ) -> Result<(), LedgerError> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            settle::check_fence(&mut transaction, Lane::Document(integration), fence).await?;
            insert(&mut transaction, integration, entries, now).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }
}

/// Replaces what is known of a document's entries.
pub(super) async fn store(db: &mut AnyConnection, settled: &SettledDocument, now: Time) -> sqlx::Result<()> {
    let SettledDocument {
        integration,
        entries,
        datadog_org,
        accepted,
        suspicion,
        removed_entries,
        look,
        lists,
        read_at,
    } = settled;
    let known: Vec<String> = sqlx::query_scalar("SELECT entry FROM entries WHERE integration = $1")
        .bind(integration.as_str())
        .fetch_all(&mut *db)
        .await?;
    for entry in known.into_iter().map(EntryKey).filter(|entry| !entries.contains_key(entry)) {
        // It went, and a slot that it has says by whose hand; the answer to that PUT may have been lost.
        slots::note_done(db, &Subject::Entry(*integration, entry.clone()), now).await?;
        sqlx::query("DELETE FROM entries WHERE integration = $1 AND entry = $2")
            .bind(integration.as_str())
            .bind(entry.0)
            .execute(&mut *db)
            .await?;
    }
    insert(db, *integration, entries, now).await?;
    team_lists::store(db, lists, *read_at).await?;
    accept(db, *integration, accepted).await?;
    suspect(db, *integration, suspicion.as_ref()).await?;
    remember_removed(db, *integration, removed_entries).await?;
    remember_look(db, *integration, look).await?;
    if let Some(org) = datadog_org {
        sqlx::query(
            "INSERT INTO documents (integration, datadog_org_id) VALUES ($1, $2)
             ON CONFLICT (integration) DO NOTHING",
        )
        .bind(integration.as_str())
        .bind(org)
        .execute(db)
        .await?;
    }
    Ok(())
}

/// The rows of what a document had when it was last accepted: one of itself, one of each entry, one of each other
/// field. None before that.
async fn content_rows(
    db: &mut AnyConnection,
    integration: Integration,
) -> sqlx::Result<BTreeSet<(String, String)>> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT field, entry FROM document_contents WHERE integration = $1")
            .bind(integration.as_str())
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().collect())
}

/// What a document had when it was last accepted. A ledger that kept no such rows yet takes its own entries for seen.
async fn contents<'a>(
    db: &mut AnyConnection,
    integration: Integration,
    ours: impl Iterator<Item = &'a EntryKey>,
) -> sqlx::Result<Contents> {
    let rows = content_rows(db, integration).await?;
    if rows.is_empty() {
        return Ok(Contents { entries: ours.cloned().collect(), fields: BTreeSet::new() });
    }
    let mut contents = Contents::default();
    for (field, entry) in rows {
        if field == integration.list() {
            contents.entries.insert(EntryKey(entry));
        } else if !field.is_empty() {
            contents.fields.insert(field);
        }
    }
    Ok(contents)
}

/// Replaces what a document has: only what differs is written.
async fn accept(db: &mut AnyConnection, integration: Integration, accepted: &Contents) -> sqlx::Result<()> {
    let list = integration.list().to_owned();
    let entries = accepted.entries.iter().map(|EntryKey(key)| (list.clone(), rows::clean(key)));
    let fields = accepted.fields.iter().map(|field| (rows::clean(field), String::new()));
    let accepted = entries.chain(fields).chain([(String::new(), String::new())]).collect();
    let known = content_rows(db, integration).await?;
    for (field, entry) in known.difference(&accepted) {
        sqlx::query("DELETE FROM document_contents WHERE integration = $1 AND field = $2 AND entry = $3")
            .bind(integration.as_str())
            .bind(field)
            .bind(entry)
            .execute(&mut *db)
            .await?;
    }
    let new: Vec<_> = accepted.difference(&known).collect();
    rows::insert(
        db,
        "INSERT INTO document_contents (integration, field, entry) ",
        " ON CONFLICT (integration, field, entry) DO NOTHING",
        &new,
        |row, (field, entry)| {
            row.bind(integration.as_str()).bind(field.clone()).bind(entry.clone());
        },
    )
    .await?;
    Ok(())
}

/// Replaces what is suspected of a document.
async fn suspect(
    db: &mut AnyConnection,
    integration: Integration,
    suspicion: Option<&Suspicion>,
) -> sqlx::Result<()> {
    let Some(Suspicion { since, lacks }) = suspicion else {
        sqlx::query("DELETE FROM document_suspicions WHERE integration = $1")
            .bind(integration.as_str())
            .execute(db)
            .await?;
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO document_suspicions (integration, since, lacks) VALUES ($1, $2, $3)
         ON CONFLICT (integration) DO UPDATE SET since = excluded.since, lacks = excluded.lacks",
    )
    .bind(integration.as_str())
    .bind(since.0)
    .bind(lacks)
    .execute(db)
    .await?;
    Ok(())
}

/// Replaces what is remembered of entries that we removed.
async fn remember_removed(
    db: &mut AnyConnection,
    integration: Integration,
    removed: &BTreeMap<EntryKey, RemovedEntry>,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM removed_entries WHERE integration = $1")
        .bind(integration.as_str())
        .execute(&mut *db)
        .await?;
    let removed: Vec<_> = removed.iter().collect();
    rows::insert(
        db,
        "INSERT INTO removed_entries (integration, entry, removed_at, removals) ",
        "",
        &removed,
        |row, (EntryKey(key), RemovedEntry { at, removals })| {
            row.bind(integration.as_str()).bind(rows::clean(key)).bind(at.0).bind(i64::from(*removals));
        },
    )
    .await?;
    Ok(())
}

/// Replaces what is remembered of the last look.
async fn remember_look(
    db: &mut AnyConnection,
    integration: Integration,
    LastLook { generation, full_at, put_at }: &LastLook,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO document_looks (integration, generation, full_at, put_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (integration) DO UPDATE SET
             generation = excluded.generation, full_at = excluded.full_at, put_at = excluded.put_at",
    )
    .bind(integration.as_str())
    .bind(generation)
    .bind(full_at.map(|at| at.0))
    .bind(put_at.map(|at| at.0))
    .execute(db)
    .await?;
    Ok(())
}

/// The entries of a document that Datadog rejects: they are parked.
async fn rejected(db: &mut AnyConnection, lane: Lane) -> sqlx::Result<BTreeMap<EntryKey, RejectedEntry>> {
    let parked: Vec<(String, String, String, i64)> = sqlx::query_as(
        "SELECT place, subject, error, attempts FROM parked WHERE kind = 'action' AND org_id = $1",
    )
    .bind(rows::lane_number(lane))
    .fetch_all(db)
    .await?;
    let entry = |(place, subject, error, attempts): (String, String, String, i64)| {
        let change = EntryChange::ALL.into_iter().find(|change| change.as_str() == place)?;
        let key = subject.strip_prefix(&format!("{place} "))?.to_owned();
        let error = Trouble::new(Class::Permanent, error);
        Some((EntryKey(key), RejectedEntry { change, error, attempts: count(attempts) }))
    };
    Ok(parked.into_iter().filter_map(entry).collect())
}

async fn insert(
    db: &mut AnyConnection,
    integration: Integration,
    entries: &BTreeMap<EntryKey, EntryRow>,
    now: Time,
) -> sqlx::Result<()> {
    let entries: Vec<_> = entries.iter().collect();
    rows::insert(
        db,
        "INSERT INTO entries (integration, entry, org_id, repository_id, team, suspected_at, unseen_puts, added_at) ",
        " ON CONFLICT (integration, entry) DO UPDATE SET
             org_id = excluded.org_id, repository_id = excluded.repository_id, team = excluded.team,
             suspected_at = excluded.suspected_at, unseen_puts = excluded.unseen_puts",
        &entries,
        |row, (key, EntryRow { repository, team, suspected, unseen_puts })| {
            row.bind(integration.as_str())
                .bind(rows::clean(&key.0))
                .bind(repository.map(|(org, _)| org.0))
                .bind(repository.map(|(_, id)| id.0))
                .bind(team.as_deref().map(rows::clean))
                .bind(suspected.map(|at| at.0))
                .bind(i64::from(*unseen_puts))
                .bind(now.0);
        },
    )
    .await?;
    Ok(())
}

fn entry_row(row: &AnyRow) -> sqlx::Result<(EntryKey, EntryRow)> {
    let org: Option<i64> = row.try_get("org_id")?;
    let repository: Option<i64> = row.try_get("repository_id")?;
    Ok((
        EntryKey(row.try_get("entry")?),
        EntryRow {
            repository: org.zip(repository).map(|(org, id)| (OrgId(org), RepositoryId(id))),
            team: row.try_get("team")?,
            suspected: row.try_get::<Option<i64>, _>("suspected_at")?.map(Time),
            // An entry of a ledger that did not count counts as seen.
            unseen_puts: count(row.try_get::<Option<i64>, _>("unseen_puts")?.unwrap_or(0)),
        },
    ))
}

fn removed_row(row: &AnyRow) -> sqlx::Result<(EntryKey, RemovedEntry)> {
    let removed =
        RemovedEntry { at: Time(row.try_get("removed_at")?), removals: count(row.try_get("removals")?) };
    Ok((EntryKey(row.try_get("entry")?), removed))
}

fn look_row(row: &AnyRow) -> sqlx::Result<LastLook> {
    let time = |name| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(name)?.map(Time));
    Ok(LastLook {
        generation: row.try_get("generation")?,
        full_at: time("full_at")?,
        put_at: time("put_at")?,
    })
}

fn count(stored: i64) -> u32 {
    u32::try_from(stored).unwrap_or(u32::MAX)
}

fn suspicion_row(row: &AnyRow) -> sqlx::Result<Suspicion> {
    Ok(Suspicion { since: Time(row.try_get("since")?), lacks: row.try_get("lacks")? })
}
