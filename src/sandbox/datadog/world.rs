//! Datadog's state and its rules: teams, team connections, memberships, hierarchy links, settings. No HTTP here.
//!
//! What the rules rest on is noted as *recorded* (real traffic of the official clients' tests), *documented*, or
//! *assumed* (nothing is known; the choice is ours).

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use uuid::Uuid;

use super::gaps::Gaps;
use crate::sandbox::table::{NOW, Table};

/// The organisation's number, as recordings have it.
pub(crate) const ORG_ID: u64 = 321_813;

/// The namespace of the ids that organisations have beside their numbers.
const ORGS: Uuid = Uuid::from_u128(0x6c7d_31ce_3b0f_4f0a_9f5e_2f7b_7d1a_90c4);

/// A Datadog team.
#[derive(Clone, Debug)]
pub(crate) struct Team {
    pub(crate) id: Uuid,
    pub(crate) handle: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) avatar: Option<String>,
    pub(crate) banner: Option<i64>,
    pub(crate) visible_modules: Option<Vec<String>>,
    pub(crate) hidden_modules: Option<Vec<String>>,
    pub(crate) created_at: u64,
    pub(crate) modified_at: u64,
}

impl Team {
    /// A team to create.
    pub(crate) fn draft(handle: String, name: String) -> Self {
        Self {
            id: Uuid::nil(),
            handle,
            name,
            description: None,
            avatar: None,
            banner: None,
            visible_modules: None,
            hidden_modules: None,
            created_at: 0,
            modified_at: 0,
        }
    }
}

/// A team connection; nothing of it can change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Connection {
    pub(crate) id: Uuid,
    pub(crate) team: Uuid,
    /// `@org/slug`.
    pub(crate) connected: String,
    pub(crate) managed_by: String,
    pub(crate) source: String,
}

/// A user's place in a team.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) number: u32,
    pub(crate) team: Uuid,
    pub(crate) user: Uuid,
    /// `admin` or nothing.
    pub(crate) role: Option<String>,
}

/// A parent team and its sub-team.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: Uuid,
    pub(crate) parent: Uuid,
    pub(crate) sub: Uuid,
    pub(crate) created_at: u64,
}

/// Why a request is refused.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// `{"errors": ["…"]}`
    Text(u16, String),
    /// `{"errors": [{"status", "title", "detail"}]}`
    Object(u16, String),
}

impl Refusal {
    /// As connections refuse (recorded).
    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::Object(400, detail.into())
    }

    /// As teams and memberships refuse (recorded for memberships).
    pub(crate) fn wrong(text: impl Into<String>) -> Self {
        Self::Text(400, text.into())
    }

    pub(crate) fn not_found(text: String) -> Self {
        Self::Text(404, text)
    }

    pub(crate) fn conflict(text: String) -> Self {
        Self::Text(409, text)
    }
}

/// Lists come in this order: neither by id nor by creation (recorded), yet always the same.
pub(crate) type Shuffled = (u64, Uuid);

fn shuffled(id: Uuid) -> Shuffled {
    let (high, low) = id.as_u64_pair();
    let mut mixed = (high ^ low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 32), id)
}

/// Which connections a list is to hold; an empty filter holds all.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) sources: Vec<String>,
    pub(crate) teams: Vec<String>,
    pub(crate) connected: Vec<String>,
    pub(crate) ids: Vec<String>,
}

/// One Datadog organisation.
pub(crate) struct World {
    /// The organisation's number.
    pub(crate) org_id: u64,
    random: StdRng,
    /// Of the last v1 UUID, in 100 ns.
    ticks: u64,
    /// The caller's user.
    pub(crate) me: Uuid,
    teams: Table<Shuffled, Team>,
    handles: Table<String, Uuid>,
    names: Table<String, Uuid>,
    connections: Table<Shuffled, Connection>,
    pairs: Table<(Uuid, String), Uuid>,
    by_connected: Table<(String, Uuid), Uuid>,
    memberships: Table<(Uuid, Uuid), Membership>,
    links: Table<Shuffled, Link>,
    /// (team, action) → who may; absent is the default.
    pub(crate) permissions: Table<(Uuid, String), String>,
    /// Source → id and attributes of its one sync configuration.
    pub(crate) syncs: Table<String, (Uuid, Value)>,
    /// Integration → config document.
    pub(crate) integrations: Table<String, (Uuid, Value)>,
    /// What the writers of those documents do to each other.
    pub(crate) gaps: Gaps,
}

impl World {
    /// An empty Datadog whose ids follow from the seed.
    pub(crate) fn new(org_id: u64, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        // A day in 2026, as a v1 UUID counts (100 ns since 1582); each seed has a time of its own.
        let ticks = 0x01f1_29be_0000_0000 + (random.random::<u64>() >> 20);
        let me = uuid::Builder::from_random_bytes(random.random()).into_uuid();
        Self {
            org_id,
            random,
            ticks,
            me,
            teams: Table::default(),
            handles: Table::default(),
            names: Table::default(),
            connections: Table::default(),
            pairs: Table::default(),
            by_connected: Table::default(),
            memberships: Table::default(),
            links: Table::default(),
            permissions: Table::default(),
            syncs: Table::default(),
            integrations: Table::default(),
            gaps: Gaps::default(),
        }
    }

    /// The organisation's other id.
    pub(crate) fn org_uuid(&self) -> Uuid {
        Uuid::from_u128(ORGS.as_u128() ^ u128::from(self.org_id))
    }

    /// Team ids and others are v4 (recorded).
    pub(crate) fn new_id(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.random.random()).into_uuid()
    }

    /// Connection ids are v1 (recorded: `51323b02-29be-11f1-ad4d-da7ad0900002`).
    fn new_connection_id(&mut self) -> Uuid {
        self.ticks += 1 + (self.random.random::<u64>() >> 40);
        let sequence = (self.random.random::<u16>() & 0x3fff) | 0x8000;
        let [high, low] = sequence.to_be_bytes();
        Uuid::from_fields(
            self.ticks as u32,
            (self.ticks >> 32) as u16,
            0x1000 | ((self.ticks >> 48) as u16 & 0x0fff),
            &[high, low, 0xda, 0x7a, 0xd0, 0x90, 0x00, 0x02],
        )
    }

    // Teams.

    /// A team by the id in a path. Recorded: both wordings, as strings.
    pub(crate) fn team(&self, id: &str, at: u64) -> Result<&Arc<Team>, Refusal> {
        let uuid = uuid(id)?;
        self.teams
            .get(&shuffled(uuid), at)
            .ok_or_else(|| Refusal::not_found(format!("Team for ID {id} not found")))
    }

    pub(crate) fn teams(&self, at: u64) -> impl Iterator<Item = &Arc<Team>> {
        self.teams.iter(at).map(|(_, team)| team)
    }

    /// Recorded: 409 `Team name and handle must be unique`. The handle counts without case (assumed).
    fn unique(&self, team: &Team) -> Result<(), Refusal> {
        let other = |id: Option<&Arc<Uuid>>| id.is_some_and(|id| **id != team.id);
        if other(self.handles.get(&team.handle.to_lowercase(), NOW)) || other(self.names.get(&team.name, NOW))
        {
            return Err(Refusal::conflict("Team name and handle must be unique".to_owned()));
        }
        Ok(())
    }

    /// Creates a team from what is set in `draft`; its id, times and (recorded) some banner are given here.
    pub(crate) fn create_team(&mut self, mut draft: Team, now: u64) -> Result<Arc<Team>, Refusal> {
        self.unique(&draft)?;
        draft.id = self.new_id();
        draft.created_at = now;
        if draft.banner.is_none() {
            draft.banner = Some(i64::from(self.random.random::<u8>() & 15));
        }
        Ok(self.put_team(draft, now))
    }

    pub(crate) fn update_team(&mut self, before: &Team, after: Team, now: u64) -> Result<Arc<Team>, Refusal> {
        self.unique(&after)?;
        self.handles.remove(&before.handle.to_lowercase(), now);
        self.names.remove(&before.name, now);
        Ok(self.put_team(after, now))
    }

    fn put_team(&mut self, mut team: Team, now: u64) -> Arc<Team> {
        team.modified_at = now;
        self.handles.put(team.handle.to_lowercase(), team.id, now);
        self.names.put(team.name.clone(), team.id, now);
        self.teams.put(shuffled(team.id), team.clone(), now);
        Arc::new(team)
    }

    /// Deletes a team; its connections go with it (recorded), and so do memberships and links.
    pub(crate) fn delete_team(&mut self, team: &Team, now: u64) {
        let connections: Vec<_> = self.pairs.range(pairs_of(team.id), NOW).map(|(_, id)| **id).collect();
        for id in connections {
            self.remove_connection(id, now);
        }
        let users: Vec<_> = self.memberships_of(team.id, NOW).map(|membership| membership.user).collect();
        for user in users {
            self.memberships.remove(&(team.id, user), now);
        }
        let links: Vec<_> =
            self.links(NOW).filter(|link| [link.parent, link.sub].contains(&team.id)).cloned().collect();
        for link in links {
            self.delete_link(&link, now);
        }
        self.handles.remove(&team.handle.to_lowercase(), now);
        self.names.remove(&team.name, now);
        self.teams.remove(&shuffled(team.id), now);
    }

    // Connections.

    /// The connections that pass a filter, in the order of lists.
    pub(crate) fn connections(&self, filter: &Filter, at: u64) -> Vec<&Arc<Connection>> {
        let by_id = |id: &Uuid| self.connections.get(&shuffled(*id), at);
        // The narrowest index first, then every filter on what it gives.
        let mut found: Vec<_> = if !filter.ids.is_empty() {
            filter.ids.iter().filter_map(|id| by_id(&Uuid::parse_str(id).ok()?)).collect()
        } else if !filter.connected.is_empty() {
            let of = |name: &String| (name.clone(), Uuid::nil())..=(name.clone(), Uuid::max());
            let ids = filter.connected.iter().flat_map(|name| self.by_connected.range(of(name), at));
            ids.filter_map(|(_, id)| by_id(id)).collect()
        } else if !filter.teams.is_empty() {
            let teams = filter.teams.iter().filter_map(|id| Uuid::parse_str(id).ok());
            let ids = teams.flat_map(|team| self.pairs.range(pairs_of(team), at));
            ids.filter_map(|(_, id)| by_id(id)).collect()
        } else {
            self.connections.iter(at).map(|(_, connection)| connection).collect()
        };
        let passes =
            |wanted: &[String], value: &str| wanted.is_empty() || wanted.iter().any(|name| name == value);
        found.retain(|connection| {
            passes(&filter.sources, &connection.source)
                && passes(&filter.connected, &connection.connected)
                && (filter.teams.is_empty() || passes(&filter.teams, &connection.team.to_string()))
        });
        found.sort_unstable_by_key(|connection| shuffled(connection.id));
        found.dedup_by_key(|connection| connection.id);
        found
    }

    /// Creates all or none. Recorded: 409 for a pair that exists.
    pub(crate) fn create_connections(
        &mut self,
        drafts: Vec<Connection>,
        now: u64,
    ) -> Result<Vec<Connection>, Refusal> {
        let mut pairs: Vec<_> = drafts.iter().map(|draft| (draft.team, draft.connected.clone())).collect();
        pairs.sort_unstable();
        pairs.dedup();
        if pairs.len() < drafts.len() || pairs.iter().any(|pair| self.pairs.has(pair)) {
            let why = "failed to add team connections: one or more team attributes already exist";
            return Err(Refusal::Object(409, why.to_owned()));
        }
        let mut created = Vec::new();
        for draft in drafts {
            let connection = Connection { id: self.new_connection_id(), ..draft };
            let (id, team, connected) = (connection.id, connection.team, connection.connected.clone());
            self.pairs.put((team, connected.clone()), id, now);
            self.by_connected.put((connected, id), id, now);
            self.connections.put(shuffled(id), connection.clone(), now);
            created.push(connection);
        }
        Ok(created)
    }

    /// Deletes all or none (assumed; documented: 404 for an unknown id).
    pub(crate) fn delete_connections(&mut self, ids: &[&str], now: u64) -> Result<(), Refusal> {
        let mut known = Vec::new();
        for text in ids {
            let id = Uuid::parse_str(text).ok().filter(|id| self.connections.has(&shuffled(*id)));
            let unknown = || Refusal::Object(404, format!("team connection {text} not found"));
            known.push(id.ok_or_else(unknown)?);
        }
        for id in known {
            self.remove_connection(id, now);
        }
        Ok(())
    }

    fn remove_connection(&mut self, id: Uuid, now: u64) {
        let Some(connection) = self.connections.get(&shuffled(id), NOW).cloned() else { return };
        self.pairs.remove(&(connection.team, connection.connected.clone()), now);
        self.by_connected.remove(&(connection.connected.clone(), id), now);
        self.connections.remove(&shuffled(id), now);
    }

    // Memberships.

    pub(crate) fn memberships_of(&self, team: Uuid, at: u64) -> impl Iterator<Item = &Arc<Membership>> {
        self.memberships
            .range((team, Uuid::nil())..=(team, Uuid::max()), at)
            .map(|(_, membership)| membership)
    }

    pub(crate) fn memberships_of_user(&self, user: Uuid, at: u64) -> impl Iterator<Item = &Arc<Membership>> {
        self.memberships.iter(at).map(|(_, membership)| membership).filter(move |one| one.user == user)
    }

    pub(crate) fn membership(&self, team: Uuid, user: &str) -> Result<&Arc<Membership>, Refusal> {
        let user = uuid(user)?;
        let unknown = || Refusal::not_found(format!("User for ID {user} not found"));
        self.memberships.get(&(team, user), NOW).ok_or_else(unknown)
    }

    /// Recorded: 409 as an object, `users already present on the team [uuid]`.
    pub(crate) fn join(
        &mut self,
        team: Uuid,
        user: Uuid,
        role: Option<String>,
        now: u64,
    ) -> Result<Membership, Refusal> {
        if self.memberships.has(&(team, user)) {
            return Err(Refusal::Object(409, format!("users already present on the team [{user}]")));
        }
        let membership = Membership { number: self.random.random::<u32>() >> 4, team, user, role };
        self.put_membership(membership.clone(), now);
        Ok(membership)
    }

    pub(crate) fn put_membership(&mut self, membership: Membership, now: u64) {
        self.memberships.put((membership.team, membership.user), membership, now);
    }

    pub(crate) fn leave(&mut self, membership: &Membership, now: u64) {
        self.memberships.remove(&(membership.team, membership.user), now);
    }

    // Hierarchy links.

    pub(crate) fn links(&self, at: u64) -> impl Iterator<Item = &Arc<Link>> {
        self.links.iter(at).map(|(_, link)| link)
    }

    /// Recorded: the wording of the 404, as a string.
    pub(crate) fn link(&self, id: &str, at: u64) -> Result<&Arc<Link>, Refusal> {
        let unknown = || Refusal::not_found(format!("Not Found: link with id {id} not found"));
        self.links.get(&shuffled(Uuid::parse_str(id).map_err(|_| unknown())?), at).ok_or_else(unknown)
    }

    /// Recorded: 409 as a string for a link that exists.
    pub(crate) fn create_link(&mut self, parent: Uuid, sub: Uuid, now: u64) -> Result<Link, Refusal> {
        if self.links(NOW).any(|link| (link.parent, link.sub) == (parent, sub)) {
            let org = self.org_id;
            let why = format!(
                "Conflict: could not add team {sub} as a member team of team {parent} in org {org}: team \
                 hierarchy link between super team {parent} and member team {sub} already exists in org {org}"
            );
            return Err(Refusal::conflict(why));
        }
        let link = Link { id: self.new_id(), parent, sub, created_at: now };
        self.links.put(shuffled(link.id), link.clone(), now);
        Ok(link)
    }

    pub(crate) fn delete_link(&mut self, link: &Link, now: u64) {
        self.links.remove(&shuffled(link.id), now);
    }
}

/// Recorded: a path segment that is no UUID is answered with 404 in these words.
pub(crate) fn uuid(text: &str) -> Result<Uuid, Refusal> {
    Uuid::parse_str(text).map_err(|_| Refusal::not_found(format!("{text} is not a valid UUID not found")))
}

/// All pairs of a team.
fn pairs_of(team: Uuid) -> std::ops::RangeInclusive<(Uuid, String)> {
    (team, String::new())..=(team, "\u{10ffff}".to_owned())
}
