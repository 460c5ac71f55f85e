//! What the ledger remembers of integration documents: the entries that we added, by repository where they are one's.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sqlx::{AnyConnection, Row, any::AnyRow};

use super::{Ledger, LedgerError, held, rows, settle, slots, team_lists};
use crate::model::{
    EntryKey, HeldKey, HoldReason, Integration, Lane, OrgId, RepositoryId, Subject, TeamKey, Time,
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
    /// Removals that were done within the guard's window, but for those that a person approved.
    pub removed: usize,
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
    /// The repositories of teams, as far as they were read again.
    pub lists: BTreeMap<TeamKey, BTreeSet<RepositoryId>>,
    /// When the look began.
    pub read_at: Time,
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
            "SELECT entry, org_id, repository_id, team, suspected_at FROM entries WHERE integration = $1",
        )
        .bind(integration.as_str())
        .fetch_all(&mut *connection)
        .await?;
        let datadog_org = sqlx::query_scalar("SELECT datadog_org_id FROM documents WHERE integration = $1")
            .bind(integration.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let lane = Lane::Document(integration);
        let held = held::held_of(&mut connection, lane).await?;
        let approved = held::approved_of(&mut connection, lane, now).await?;
        let removed = slots::done_of(&mut connection, lane, window, now).await?;
        let entry = |held: HeldKey| match held.subject {
            Subject::Entry(_, entry) => Some(entry),
            Subject::Connection(_) | Subject::DatadogTeam(_) | Subject::Organisation(_) => None,
        };
        Ok(DocumentState {
            read_at: now,
            entries: rows.iter().map(entry_row).collect::<sqlx::Result<_>>()?,
            datadog_org,
            held: held.into_iter().filter_map(|item| Some((entry(item.key)?, item.reason))).collect(),
            approved: approved.into_iter().filter_map(entry).collect(),
            removed,
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
pub(super) async fn store(
    db: &mut AnyConnection,
    SettledDocument { integration, entries, datadog_org, lists, read_at }: &SettledDocument,
    now: Time,
) -> sqlx::Result<()> {
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

async fn insert(
    db: &mut AnyConnection,
    integration: Integration,
    entries: &BTreeMap<EntryKey, EntryRow>,
    now: Time,
) -> sqlx::Result<()> {
    let entries: Vec<_> = entries.iter().collect();
    rows::insert(
        db,
        "INSERT INTO entries (integration, entry, org_id, repository_id, team, suspected_at, added_at) ",
        " ON CONFLICT (integration, entry) DO UPDATE SET
             org_id = excluded.org_id, repository_id = excluded.repository_id, team = excluded.team,
             suspected_at = excluded.suspected_at",
        &entries,
        |row, (key, EntryRow { repository, team, suspected })| {
            row.bind(integration.as_str())
                .bind(rows::clean(&key.0))
                .bind(repository.map(|(org, _)| org.0))
                .bind(repository.map(|(_, id)| id.0))
                .bind(team.as_deref().map(rows::clean))
                .bind(suspected.map(|at| at.0))
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
        },
    ))
}
