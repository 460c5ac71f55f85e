//! Intents: what is about to be written is stored before it is sent, so that an interrupted write is known. They carry the
//! fence of the lease and store nothing when another holder has the lease by then.

use sqlx::AnyConnection;

use super::{IntentKind, Ledger, LedgerError, rows, settle::check_fence};
use crate::model::{ConnectionKey, Lane, OrgId, TeamId, Time};

impl Ledger {
    /// Stores what is about to be written, before it is sent. A team that is connected for the first time enters
    /// the mirror with it: were it gone by the time an interrupted write is looked at again, nothing else would
    /// know that it ever was, and the connection would stay for ever.
    pub async fn intend(
        &self,
        org: OrgId,
        fence: i64,
        intents: &[(IntentKind, ConnectionKey, Option<TeamId>)],
        now: Time,
    ) -> Result<(), LedgerError> {
        self.retried(move || async move {
            let mut transaction = self.begin().await?;
            check_fence(&mut transaction, Lane::Org(org), fence).await?;
            store_intents(&mut transaction, org, fence, intents, now).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }
}

/// The create of an adoption is a part of it: the intent stays what it is until it is closed.
pub(super) async fn store_intents(
    db: &mut AnyConnection,
    org: OrgId,
    fence: i64,
    intents: &[(IntentKind, ConnectionKey, Option<TeamId>)],
    now: Time,
) -> sqlx::Result<()> {
    rows::insert(
        &mut *db,
        "INSERT INTO intents (org_id, datadog_team_id, github, kind, team_id, fence, at) ",
        " ON CONFLICT (datadog_team_id, github) DO UPDATE SET
             org_id = excluded.org_id,
             kind = CASE WHEN intents.kind = 'adopt' THEN 'adopt' ELSE excluded.kind END, team_id = excluded.team_id,
             fence = excluded.fence, at = excluded.at",
        &rows::sorted(intents, |(_, key, _)| key),
        |row, (kind, key, team)| {
            row.bind(org.0).bind(key.datadog_team.as_str()).bind(key.github.as_str());
            row.bind(kind.as_str()).bind(rows::team_column(*team)).bind(fence).bind(now.0);
        },
    )
    .await?;
    let teams: Vec<(TeamId, &str)> =
        intents.iter().filter_map(|(_, key, team)| Some(((*team)?, key.github.split_once('/')?.1))).collect();
    rows::insert(
        &mut *db,
        "INSERT INTO teams (org_id, team_id, slug, name, seen_at, in_step, waiting) ",
        " ON CONFLICT (org_id, team_id) DO NOTHING",
        &rows::sorted(&teams, |(team, _)| *team),
        |row, (team, slug)| {
            row.bind(org.0).bind(team.0).bind(*slug).bind(*slug);
            row.bind(now.0).bind(false).bind(false);
        },
    )
    .await?;
    Ok(())
}
