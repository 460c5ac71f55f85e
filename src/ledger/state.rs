//! What the ledger remembers of organisations: the mirror of GitHub, our connections, interrupted writes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::TryStreamExt as _;
use sqlx::{Row, any::AnyRow};

use super::{IntentKind, Ledger, rows};
use crate::model::{
    Answered, ConnectionId, ConnectionKey, DatadogTeamId, GithubHandle, LISTS_LAG, Lane, MirrorTeam,
    OrgFacts, OrgId, Owned, Paused, TeamFacts, TeamId, TeamState, TeamType, Time,
};

/// An organisation in the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrgRow {
    /// Its id and its login as GitHub last said.
    pub facts: OrgFacts,
    /// The login that was bound to its id at first sight.
    pub bound_login: String,
    /// Whether a full pass over it was ever made.
    pub passed: bool,
    /// The last event that said that it was deleted.
    pub deleted_event_at: Option<Time>,
    /// Since when its id answers 404; none while it answers.
    pub absent_since: Option<Time>,
    /// When a person released its login, because it is gone: nothing is done for it any more.
    pub released_at: Option<Time>,
}

impl OrgRow {
    /// An organisation that the ledger doesn't know.
    pub fn newcomer(facts: OrgFacts) -> Self {
        let bound_login = facts.login.clone();
        Self {
            facts,
            bound_login,
            passed: false,
            deleted_event_at: None,
            absent_since: None,
            released_at: None,
        }
    }

    /// Whether a login is its own, now or when it was bound.
    pub fn is_called(&self, login: &str) -> bool {
        login.eq_ignore_ascii_case(&self.bound_login) || login.eq_ignore_ascii_case(&self.facts.login)
    }
}

/// A write that was about to be sent and whose end is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The connection.
    pub key: ConnectionKey,
    /// What was to be done to it.
    pub kind: IntentKind,
    /// The GitHub team that it was for; none for the removal of an orphan.
    pub team: Option<TeamId>,
    /// When it was stored, just before it was sent; when this process opened the ledger, if that was later.
    pub at: Time,
    /// The mark that a create carries; `None` for a delete, and for an intent of version 0.1.0.
    pub managed_by: Option<String>,
    /// The GitHub team as a create wrote it.
    pub written: Option<GithubHandle>,
    /// What Datadog answered, where it answered with success.
    pub answered: Option<Answered>,
}

impl Intent {
    /// Whether a create was sent: that of an adoption follows its delete.
    pub fn is_create(&self) -> bool {
        self.kind == IntentKind::Create || self.written.is_some()
    }

    /// Whether Datadog answered with success when it was sent last.
    pub fn is_answered(&self) -> bool {
        self.answered.as_ref().is_some_and(|answered| answered.at >= self.at)
    }
}

/// What planning an organisation, or some of its teams, needs from the ledger.
#[derive(Clone, Debug)]
pub struct OrgState {
    /// Whether all of it is here, or the part that some teams concern.
    pub whole: bool,
    /// How many teams and connections of ours it has, whatever part of them is here.
    pub size: Size,
    /// Whether a connection of ours is for an enterprise team.
    pub has_enterprise_teams: bool,
    /// When this was read, before anything of it: no later than any change of the clock that shows in it.
    pub read_at: Time,
    /// The organisation.
    pub org: OrgRow,
    /// Its teams. Of those that are gone, only those that own a connection, have an interrupted write or are due.
    pub teams: BTreeMap<TeamId, MirrorTeam>,
    /// Those of them that wait for a handle that Datadog does not have.
    pub waiting: BTreeSet<TeamId>,
    /// When the list of a pass began that showed them as they are here, of those that no look has read since.
    pub listed: BTreeMap<TeamId, Time>,
    /// Our connections of this organisation.
    pub owned: Vec<Owned>,
    /// Those of them that their team needs no more, since when: their grace has begun.
    pub unwanted_since: BTreeMap<ConnectionKey, Time>,
    /// Those of them that were recorded just before this was read, and when: Datadog's lists may lack them still.
    pub young: BTreeMap<ConnectionKey, Time>,
    /// Interrupted writes.
    pub intents: Vec<Intent>,
    /// Creates of any organisation that may still arrive though no intent says so, and when the last was sent at the latest.
    pub late_creates: BTreeMap<ConnectionKey, Time>,
    /// Every mark that this ledger has written under.
    pub own_marks: BTreeSet<String>,
    /// When the last complete list of its teams for a proof began.
    pub listed_at: Option<Time>,
    /// What a person has paused of it.
    pub paused: Paused,
}

/// How large an organisation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Its teams that are not gone, about.
    pub teams: usize,
    /// Our connections of it.
    pub owned: usize,
}

/// The teams of organisation $1 that a look may need: those that are not gone, and of the others those that own a
/// connection, have an interrupted write or are due, and team $2; in step by the rules $3. The index of `gone_at` keeps it from reading the rest. No
/// database can use it for the second half, where it would lead to all that are gone.
pub(super) const TEAMS: &str = "
    WITH shown AS (
        SELECT * FROM teams WHERE org_id = $1 AND gone_at IS NULL
        UNION ALL
        SELECT * FROM teams WHERE org_id = $1 AND COALESCE(gone_at, 0) <> 0 AND team_id IN (
            SELECT team_id FROM connections WHERE org_id = $1
            UNION SELECT team_id FROM intents WHERE org_id = $1
            UNION SELECT team_id FROM marks WHERE org_id = $1 AND kind = 'team' AND due_at IS NOT NULL
            UNION SELECT CAST($2 AS BIGINT)))
    SELECT shown.team_id, slug, name, parent_id, team_type, suspected_at, gone_at, unlisted_at, seen_at, waiting, at,
        listed_at, CASE WHEN in_step_for = $3 THEN in_step ELSE FALSE END AS in_step
    FROM shown LEFT JOIN deleted_events
        ON deleted_events.org_id = shown.org_id AND deleted_events.team_id = shown.team_id";

impl Ledger {
    /// Returns how many of our connections carry each mark but this one.
    pub async fn former_marks(&self, today: &str) -> sqlx::Result<Vec<(String, i64)>> {
        sqlx::query_as(
            "SELECT managed_by, COUNT(*) FROM connections WHERE managed_by <> $1
             GROUP BY managed_by ORDER BY managed_by",
        )
        .bind(today)
        .fetch_all(&self.read)
        .await
    }

    /// Returns the rows of other organisations whose keys name teams under this login, by key.
    pub async fn rows_elsewhere(
        &self,
        org: OrgId,
        login: &str,
    ) -> sqlx::Result<BTreeMap<ConnectionKey, (OrgId, Owned)>> {
        let login = login.to_lowercase();
        let rows = sqlx::query(
            // An organisation after the other, so that the rows of this one are not read.
            "WITH RECURSIVE others (org_id) AS (
                 SELECT MIN(org_id) FROM connections
                 UNION ALL
                 SELECT (SELECT MIN(org_id) FROM connections WHERE connections.org_id > others.org_id)
                 FROM others WHERE others.org_id IS NOT NULL
             )
             SELECT connections.org_id, datadog_team_id, github, connection_id, team_id, managed_by
             FROM others CROSS JOIN connections
             WHERE connections.org_id = others.org_id AND others.org_id <> $1 AND github >= $2 AND github < $3",
        )
        .bind(org.0)
        // The names under a login lie between `@login/` and `@login0`, the next text of that length.
        .bind(format!("@{login}/"))
        .bind(format!("@{login}0"))
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|row| {
                let owned = owned_row(row)?;
                Ok((owned.key.clone(), (OrgId(row.try_get("org_id")?), owned)))
            })
            .collect()
    }

    /// What is known of one organisation; `None` when it was never bound.
    pub async fn org_state(&self, org: OrgId) -> sqlx::Result<Option<OrgState>> {
        self.load_org(org, None).await
    }

    /// The same with this team, even if it is gone and nothing is left of it.
    pub async fn org_state_with(&self, org: OrgId, team: TeamId) -> sqlx::Result<Option<OrgState>> {
        self.load_org(org, Some(team)).await
    }

    async fn load_org(&self, org: OrgId, also: Option<TeamId>) -> sqlx::Result<Option<OrgState>> {
        let Some(mut state) = self.bare_org(org).await? else { return Ok(None) };
        state.whole = true;
        // Row by row: the rows of a large organisation take many times the memory of what is in them.
        let mut owned = sqlx::query(
            "SELECT datadog_team_id, github, connection_id, team_id, managed_by, unwanted_since, created_at
             FROM connections WHERE org_id = $1 ORDER BY github, datadog_team_id",
        )
        .bind(org.0)
        .fetch(&self.read);
        while let Some(row) = owned.try_next().await? {
            state.add_owned(&row)?;
        }
        // It has a connection of its own until then.
        drop(owned);
        state.owned.shrink_to_fit();
        let owning = state.owning();
        let mut teams = sqlx::query(TEAMS)
            .bind(org.0)
            .bind(also.map(|team| team.0))
            .bind(self.rules.in_step_for.as_str())
            .fetch(&self.read);
        while let Some(row) = teams.try_next().await? {
            state.add_team(&row, &owning)?;
        }
        state.size = Size { teams: state.teams.len(), owned: state.owned.len() };
        state.has_enterprise_teams = state.owned.iter().any(|owned| {
            let team = state.teams.get(&owned.team);
            team.is_some_and(|team| team.facts.team_type == TeamType::Enterprise)
        });
        Ok(Some(state))
    }

    /// What is known of an organisation apart from its teams and connections.
    pub(super) async fn bare_org(&self, org: OrgId) -> sqlx::Result<Option<OrgState>> {
        let read_at = self.clock.now();
        let Some(row) = sqlx::query(
            "SELECT org_id, login, bound_login, listed_at, first_pass_at IS NOT NULL AS passed, deleted_event_at,
                 absent_since, released_at
             FROM orgs WHERE org_id = $1",
        )
            .bind(org.0)
            .fetch_optional(&self.read)
            .await?
        else {
            return Ok(None);
        };
        let intents = sqlx::query(
            "SELECT datadog_team_id, github, kind, team_id, at, managed_by, written, connection_id, answered_at, missed_at
             FROM intents WHERE org_id = $1",
        )
        .bind(org.0)
        .fetch_all(&self.read)
        .await?;
        let late = sqlx::query("SELECT datadog_team_id, github, sent_at FROM late_creates")
            .fetch_all(&self.read)
            .await?;
        let opened = self.opened_at();
        let late = late
            .iter()
            .map(|row| Ok::<_, sqlx::Error>((key(row)?, Time(row.try_get("sent_at")?).max(opened))));
        let own_marks: Vec<String> =
            sqlx::query_scalar("SELECT managed_by FROM own_marks").fetch_all(&self.read).await?;
        Ok(Some(OrgState {
            whole: false,
            size: Size::default(),
            has_enterprise_teams: false,
            read_at,
            paused: self.paused(Lane::Org(org)).await?,
            org: org_row(&row)?,
            teams: BTreeMap::new(),
            waiting: BTreeSet::new(),
            listed: BTreeMap::new(),
            owned: Vec::new(),
            unwanted_since: BTreeMap::new(),
            young: BTreeMap::new(),
            intents: intents.iter().map(|row| intent(row, opened)).collect::<sqlx::Result<_>>()?,
            late_creates: late.collect::<sqlx::Result<_>>()?,
            own_marks: own_marks.into_iter().collect(),
            listed_at: row.try_get::<Option<i64>, _>("listed_at")?.map(Time),
        }))
    }
}

impl OrgState {
    /// Takes in a connection of ours.
    pub(super) fn add_owned(&mut self, row: &AnyRow) -> sqlx::Result<()> {
        let owned = owned_row(row)?;
        if let Some(since) = row.try_get::<Option<i64>, _>("unwanted_since")? {
            self.unwanted_since.insert(owned.key.clone(), Time(since));
        }
        let recorded = Time(row.try_get("created_at")?);
        // One that lies ahead was recorded before the clock was set back: nobody knows how long ago.
        if (recorded..recorded + LISTS_LAG).contains(&self.read_at) {
            self.young.insert(owned.key.clone(), recorded);
        }
        self.owned.push(owned);
        Ok(())
    }

    /// The teams that own something of what is here, or have a write whose end is unknown.
    pub(super) fn owning(&self) -> HashSet<TeamId> {
        let interrupted = self.intents.iter().filter_map(|intent| intent.team);
        self.owned.iter().map(|owned| owned.team).chain(interrupted).collect()
    }

    /// Takes in a team whose connections are here.
    pub(super) fn add_team(&mut self, row: &AnyRow, owning: &HashSet<TeamId>) -> sqlx::Result<()> {
        let (id, team) = team(row, owning)?;
        if rows::flag(row, "waiting")? {
            self.waiting.insert(id);
        }
        if let Some(at) = row.try_get::<Option<i64>, _>("listed_at")? {
            self.listed.insert(id, Time(at));
        }
        self.teams.insert(id, team);
        Ok(())
    }
}

/// Returns the row of a connection of ours.
pub(super) fn owned_row(row: &AnyRow) -> sqlx::Result<Owned> {
    Ok(Owned {
        key: key(row)?,
        id: ConnectionId::from(row.try_get::<&str, _>("connection_id")?),
        team: TeamId(row.try_get("team_id")?),
        managed_by: row.try_get("managed_by")?,
    })
}

/// An intent of a ledger that was opened at this time. How long before that it was sent or answered, nobody knows.
fn intent(row: &AnyRow, opened: Time) -> sqlx::Result<Intent> {
    let time =
        |column| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(|at| Time(at).max(opened)));
    let id: Option<String> = row.try_get("connection_id")?;
    let (answered_at, missed_at) = (time("answered_at")?, time("missed_at")?);
    Ok(Intent {
        key: key(row)?,
        kind: IntentKind::named(row.try_get("kind")?),
        team: rows::team(row.try_get("team_id")?),
        at: Time(row.try_get("at")?).max(opened),
        managed_by: row.try_get("managed_by")?,
        written: row.try_get::<Option<String>, _>("written")?.map(GithubHandle::from_datadog),
        answered: id.zip(answered_at).map(|(id, at)| Answered { id: ConnectionId::from(id), at, missed_at }),
    })
}

pub(super) fn org_row(row: &AnyRow) -> sqlx::Result<OrgRow> {
    let time = |column| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Time));
    Ok(OrgRow {
        facts: OrgFacts { id: OrgId(row.try_get("org_id")?), login: row.try_get("login")? },
        bound_login: row.try_get("bound_login")?,
        passed: rows::flag(row, "passed")?,
        deleted_event_at: time("deleted_event_at")?,
        absent_since: time("absent_since")?,
        released_at: time("released_at")?,
    })
}

/// Returns a team of the mirror. `owning` are the teams that own something or have a write whose end is unknown: for
/// those, a proof without a list, as version 0.1.0 made it, is not enough.
fn team(row: &AnyRow, owning: &HashSet<TeamId>) -> sqlx::Result<(TeamId, MirrorTeam)> {
    let id = TeamId(row.try_get("team_id")?);
    let time = |column| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Time));
    let (suspected, second) = (time("suspected_at")?, time("gone_at")?);
    let unlisted = time("unlisted_at")?.is_some() || !owning.contains(&id);
    let state = match (suspected.or(second), second) {
        (Some(since), Some(proven)) if unlisted => TeamState::Gone { since, proven },
        (Some(since), second) => TeamState::Suspected { since, second },
        (None, _) => TeamState::Present,
    };
    Ok((
        id,
        MirrorTeam {
            facts: facts(row)?,
            state,
            seen_at: Time(row.try_get("seen_at")?),
            deleted_event_at: row.try_get::<Option<i64>, _>("at")?.map(Time),
            in_step: rows::flag(row, "in_step")?,
        },
    ))
}

/// Returns what GitHub said of a team.
pub(super) fn facts(row: &AnyRow) -> sqlx::Result<TeamFacts> {
    let slug: String = row.try_get("slug")?;
    let team_type: Option<&str> = row.try_get("team_type")?;
    Ok(TeamFacts {
        id: TeamId(row.try_get("team_id")?),
        team_type: TeamType::of(team_type, &slug),
        slug,
        name: row.try_get("name")?,
        parent: row.try_get::<Option<i64>, _>("parent_id")?.map(TeamId),
    })
}

fn key(row: &AnyRow) -> sqlx::Result<ConnectionKey> {
    Ok(ConnectionKey {
        datadog_team: DatadogTeamId::from(row.try_get::<&str, _>("datadog_team_id")?),
        github: row.try_get("github")?,
    })
}
