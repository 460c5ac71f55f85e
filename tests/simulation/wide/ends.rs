//! What must be so in the end: everything right, nothing stranded, every event looked at in time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use teamlink::model::{ConnectionKey, HeldKind, Lane, Mode, OrgId, PauseScope, TeamId, TeamKey, Time};

use super::{
    judge::{Bound, Failure, Notes, bound, forbidden, wanted},
    truth::{Connection, Key, Org, Truth},
    world::{Setting, Wide},
};

/// How long after the last fault everything is right.
const RIGHT: Duration = Duration::from_secs(150);

/// The same where rate limits stand that are smaller than a list, with a window of five seconds.
const RIGHT_WITHIN_LIMITS: Duration = Duration::from_secs(600);

/// The longest that Datadog's lists lag behind. What somebody removed, a list shows for that long.
pub const LAG: Duration = Duration::from_secs(10);

/// How long an event waits at most: debounce and `max_wait` (6 s), and the chunks of the other organisations that may be
/// before it.
pub const EVENT: Duration = Duration::from_secs(20);

/// The longest that a fault is felt after it has ended: the backoff, and a probe.
const FELT: Duration = Duration::from_secs(30);

/// How long after the last fault everything is right in this world.
pub fn right_within(world: &Wide) -> Duration {
    if world.features.has(super::Feature::Limits) { RIGHT_WITHIN_LIMITS } else { RIGHT }
}

/// What the ledger tells a person.
struct Told {
    bound: Bound,
    /// The login of each organisation as it was last read.
    logins: Bound,
    held: BTreeSet<(HeldKind, Key)>,
    /// Organisations of which something is held.
    holding: BTreeSet<OrgId>,
    /// Organisations of which an event said that they were deleted.
    deleted: BTreeSet<OrgId>,
    /// The teams whose rows have these keys.
    rows: BTreeMap<Key, (OrgId, TeamId)>,
    /// What is owned, and by which team.
    owned: BTreeMap<String, (OrgId, Option<TeamId>)>,
    /// Creates of which nobody knows yet whether they were carried out.
    open: BTreeSet<Key>,
    /// Connections of organisations whose release is held: it decides what becomes of them.
    waiting: BTreeSet<String>,
    /// Creates of theirs whose end is unknown: nobody else deletes these.
    waiting_keys: BTreeSet<Key>,
    parked: Vec<String>,
    orphans: i64,
    /// Removals that a person approved and that were not done.
    approved: BTreeSet<Key>,
}

impl Told {
    async fn by(world: &Wide) -> Self {
        let ledger = world.ledger();
        let bound = bound(world).await;
        let (mut held, mut holding, mut orphans) = (BTreeSet::new(), BTreeSet::new(), 0);
        let (mut rows, mut owned) = (BTreeMap::new(), BTreeMap::new());
        let (mut open, mut waiting, mut waiting_keys) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut approved = BTreeSet::new();
        for org in bound.keys() {
            let (_, still) = ledger.held_and_approved(*org, world.wall()).await.unwrap();
            let removals = still.into_iter().filter(|it| it.kind == HeldKind::Delete);
            approved.extend(removals.map(|it| it.subject.names()));
            let lane = Lane::Org(*org);
            if let Some(set) = ledger.held_set(lane, world.wall()).await.unwrap() {
                holding.insert(*org);
                held.extend(set.items.iter().map(|item| (item.key.kind, item.key.subject.names())));
            }
            let mut interrupted: BTreeSet<Key> = BTreeSet::new();
            let mut theirs: BTreeMap<String, (OrgId, Option<TeamId>)> = BTreeMap::new();
            if let Some(state) = ledger.org_state(*org).await.unwrap() {
                let key = |key: &ConnectionKey| (key.datadog_team.to_string(), key.github.clone());
                interrupted.extend(state.intents.iter().map(|intent| key(&intent.key)));
                // DESIGN: a committed intent makes it ours too, whatever Datadog's lists show yet.
                let answered = state.intents.into_iter().filter_map(|it| Some((it.answered?.id, it.team)));
                theirs.extend(answered.map(|(id, team)| (id.to_string(), (*org, team))));
                rows.extend(state.owned.iter().map(|it| (key(&it.key), (*org, it.team))));
                let owned = state.owned.into_iter();
                theirs.extend(owned.map(|owned| (owned.id.to_string(), (*org, Some(owned.team)))));
            }
            if ledger.held_release(*org, world.wall()).await.unwrap().is_some() {
                // Approved, it may wait for the end of a pause.
                holding.insert(*org);
                waiting.extend(theirs.keys().cloned());
                waiting_keys.extend(interrupted.iter().cloned());
            }
            open.extend(interrupted);
            owned.extend(theirs);
            orphans += ledger.progress(lane, world.wall()).await.unwrap().orphans;
        }
        let known = ledger.orgs().await.unwrap();
        let deleted = known.iter().filter(|org| org.deleted_event_at.is_some());
        let deleted = deleted.map(|org| org.facts.id).collect();
        let logins = known.into_iter().map(|org| (org.facts.id, org.facts.login)).collect();
        let parked = ledger.parked().await.unwrap().into_iter().map(|parked| parked.subject).collect();
        Self {
            bound,
            logins,
            held,
            holding,
            deleted,
            rows,
            owned,
            open,
            waiting,
            waiting_keys,
            parked,
            orphans,
            approved,
        }
    }

    fn holds(&self, kind: HeldKind, key: &Key) -> bool {
        self.held.contains(&(kind, key.clone()))
    }

    fn parks(&self, key: &Key) -> bool {
        self.parked.iter().any(|subject| subject.contains(&key.1))
    }
}

fn paused(setting: &Setting, org: OrgId, team: Option<TeamId>) -> bool {
    setting.paused.iter().any(|scope| match scope {
        PauseScope::All => true,
        PauseScope::Org(paused) => *paused == org,
        PauseScope::Document(_) => false,
        PauseScope::Team(TeamKey { team: paused, .. }) => Some(*paused) == team,
    })
}

/// Judges whether everything is right.
pub async fn right(world: &Wide, notes: &Notes) -> Vec<Failure> {
    let told = Told::by(world).await;
    let setting = world.settings.last().unwrap();
    let connections = world.connections().await;
    let wants = wanted(world.truth(), setting, &told.bound);
    let there: BTreeSet<Key> = connections.values().map(Connection::key).collect();
    let mut failures = Vec::new();
    let mut fail = |cause, what: String| failures.push(Failure { rule: "R6", cause, what });
    // Where the settings list no organisation, only an event tells of one.
    let listed = !setting.setup.orgs.is_empty();
    let untold = |org| !listed && notes.lost.contains(org) && !told.bound.contains_key(org);
    for (key, (org, team)) in &wants {
        let excused = there.contains(key)
            || untold(org)
            || setting.setup.mode == Mode::Observe
            || paused(setting, *org, Some(*team))
            // The row of a paused team keeps its key.
            || told.rows.get(key).is_some_and(|(org, team)| paused(setting, *org, Some(*team)))
            || told.holds(HeldKind::Create, key)
            || notes.is_removed_again_and_again(key);
        if excused {
            continue;
        }
        let cause = match () {
            () if told.parks(key) => "not connected, and parked",
            () if !told.bound.contains_key(org) => "not connected: its organisation is not known",
            () => "not connected",
        };
        fail(cause, format!("{} to Datadog team {}, team {team} of {org}", key.1, key.0));
    }
    for (id, connection) in &connections {
        let key = connection.key();
        if wants.contains_key(&key) || !notes.makers.contains_key(id) || notes.by_hand.contains(id) {
            continue;
        }
        if let Some(cause) = left_over(world, notes, &told, (id, &key)) {
            fail(cause, format!("{} of Datadog team {}, connection {id}", key.1, key.0));
        }
    }
    failures
}

/// Why a connection that teamlink made and nobody wants should not be there any more.
fn left_over(world: &Wide, notes: &Notes, told: &Told, (id, key): (&str, &Key)) -> Option<&'static str> {
    let setting = world.settings.last().unwrap();
    let truth = world.truth();
    let maker = OrgId(notes.makers[id]);
    let last = world.history.iter().rev().find_map(|truth| truth.holder(&key.1));
    let team = last.map(|(_, team)| team);
    // With a login, a row passes to the organisation that takes it. The names and pauses of that one count.
    let (heir, its_team) = told.owned.get(id).copied().unwrap_or((maker, team));
    // Of an organisation that is gone, only a person decides.
    let org = truth.orgs.get(&maker)?;
    let serves = |id: OrgId, org: &Org| setting.serves(&org.login, told.bound.get(&id));
    if setting.setup.mode != Mode::Sync
        || !serves(maker, org)
        || !truth.orgs.get(&heir).is_some_and(|org| serves(heir, org))
        || paused(setting, maker, team)
        || paused(setting, heir, its_team)
        // The team that it was made for may be called otherwise now.
        || paused(setting, maker, notes.made_for.get(id).copied())
        || told.holds(HeldKind::Delete, key)
        || told.waiting.contains(id)
        || told.waiting_keys.contains(key)
        || !told.owned.contains_key(id) && is_left_by_release(world, notes, told, (maker, key))
    {
        return None;
    }
    if let Some((org, _)) = truth.holder(&key.1) {
        let login = &truth.orgs[&org].login;
        if !setting.serves(login, told.bound.get(&org))
            || forbidden(org, login, &told.bound)
            || paused(setting, org, team)
        {
            return None;
        }
    }
    let keeps = |(id, of): (&OrgId, &Org)| {
        let login = told.bound.get(id).unwrap_or(&of.login);
        let holder = truth.holder(&key.1).filter(|(org, _)| org == id).map(|(_, team)| &of.teams[&team]);
        holder.is_some_and(|holder| truth.unresolved(of, holder, login, &setting.rules))
    };
    if truth.orgs.iter().any(keeps) {
        return None;
    }
    // It stays until the one that is to replace it is its team's: that one may be a paused team's still.
    let waits = |(wanted, of): (&Key, &(OrgId, TeamId))| {
        (heir, its_team) == (of.0, Some(of.1))
            && told.rows.get(wanted).is_some_and(|(org, team)| paused(setting, *org, Some(*team)))
    };
    if wanted(truth, setting, &told.bound).iter().any(waits) {
        return None;
    }
    // It waits for the connection that is to replace it.
    if told.held.iter().any(|(kind, _)| *kind == HeldKind::Create) {
        return None;
    }
    let named = |login: &str| {
        let last = |team: TeamId| world.history.iter().rev().find_map(|truth| truth.team(team));
        let teams = team.into_iter().chain(its_team);
        let mut slugs = teams.filter_map(last).map(|(.., facts)| facts.slug.clone());
        let slug = key.1.split_once('/').map_or("", |(_, slug)| slug);
        let is = |slug: &str| setting.protected.is_match(format!("{login}/{slug}").to_lowercase());
        is(slug) || slugs.any(|slug| is(&slug))
    };
    let key_login = key.1.trim_start_matches('@').split('/').next().unwrap_or_default();
    let bound = [maker, heir].into_iter().flat_map(|org| {
        let login = truth.orgs.get(&org).map(|org| org.login.as_str());
        told.bound.get(&org).map(String::as_str).into_iter().chain(login)
    });
    let mut logins = [key_login, org.login.as_str()].into_iter().chain(bound);
    if logins.any(named) {
        return None;
    }
    Some(match () {
        () if key.1.contains("/ent:") => "left over: of a team of the enterprise",
        () if told.parks(key) => "left over, and parked",
        () if !told.owned.contains_key(id) => "left over: an orphan of our own making",
        () if truth.holder(&key.1).is_some() => "left over: no rule wants it, and nothing is held",
        () => "left over",
    })
}

/// Whether a release left this connection, whose maker is given, of an organisation that is gone: the audit trail tells of
/// it. It may have been passed on to that organisation.
fn is_left_by_release(world: &Wide, notes: &Notes, told: &Told, (maker, key): (OrgId, &Key)) -> bool {
    let had = |org: OrgId| {
        let holders = world.history.iter().filter_map(|truth| truth.holder(&key.1));
        org == maker || holders.map(|(of, _)| of).any(|of| of == org)
    };
    notes.released.iter().filter(|org| !told.bound.contains_key(org)).any(|org| had(*org))
}

/// Judges whether what teamlink made is known, after a pass.
pub async fn known(world: &Wide, notes: &Notes) -> Vec<Failure> {
    let told = Told::by(world).await;
    let setting = world.settings.last().unwrap();
    let truth = world.truth();
    let wants = wanted(truth, setting, &told.bound);
    let mut failures = Vec::new();
    let mut fail = |cause, what: String| failures.push(Failure { rule: "R5", cause, what });
    let mut gone: BTreeMap<i64, usize> = BTreeMap::new();
    for (id, connection) in world.connections().await {
        let (Some(maker), key) = (notes.makers.get(&id), connection.key()) else { continue };
        let released = is_left_by_release(world, notes, &told, (OrgId(*maker), &key));
        if notes.by_hand.contains(&id) || released {
            continue;
        }
        // teamlink serves an organisation only by a login that it read before the organisation was gone.
        let known = told.logins.get(&OrgId(*maker));
        let served = known.is_some_and(|login| setting.serves(login, told.bound.get(&OrgId(*maker))));
        // Under `observe` or a pause, and where an organisation is gone or not served, nothing is settled: what becomes of an
        // interrupted create, and that the key of a row has another connection now, the next look that may write finds, or
        // the release.
        let paused_team = paused(setting, OrgId(*maker), notes.made_for.get(&id).copied());
        let is_gone = !truth.orgs.contains_key(&OrgId(*maker));
        let unsettled = setting.setup.mode == Mode::Observe || !served || is_gone || paused_team;
        let reported = told.orphans > 0
            || told.holds(HeldKind::Delete, &key)
            || told.parks(&key)
            || unsettled && (told.open.contains(&key) || told.rows.contains_key(&key))
            || wants.contains_key(&key);
        if !told.owned.contains_key(&id) && !reported {
            fail(
                "stranded without a report",
                format!("{} of Datadog team {}, connection {id}", key.1, key.0),
            );
        }
        if !truth.orgs.contains_key(&OrgId(*maker))
            && served
            && releasable(world, &told, OrgId(*maker))
            && !told.holding.contains(&OrgId(*maker))
        {
            *gone.entry(*maker).or_default() += 1;
        }
    }
    for key in &told.approved {
        let Some((org, team)) = wants.get(key).filter(|_| setting.setup.mode == Mode::Sync) else { continue };
        if !paused(setting, *org, Some(*team)) && !told.parks(key) {
            fail("an approval outlives its removal", format!("{} of Datadog team {}", key.1, key.0));
        }
    }
    for (org, count) in gone {
        if !paused(setting, OrgId(org), None) && setting.setup.mode == Mode::Sync {
            fail("an organisation is gone, and nothing is held", format!("{org}, with {count} connections"));
        }
    }
    failures
}

/// Whether there is proof that an organisation is gone: its event came, or somebody else has a login of it.
fn releasable(world: &Wide, told: &Told, org: OrgId) -> bool {
    let (truth, setting) = (world.truth(), world.settings.last().unwrap());
    let last = world.history.iter().rev().find_map(|truth| Some(truth.orgs.get(&org)?.login.clone()));
    let logins = last.iter().chain(told.bound.get(&org)).filter(|login| setting.serves(login, None));
    let mut taken = logins.map(|login| truth.orgs.values().any(|it| it.login.eq_ignore_ascii_case(login)));
    told.deleted.contains(&org) || taken.any(|taken| taken)
}

/// Judges how long events waited, while the workers were at work and nothing was wrong.
pub async fn events(world: &Wide, notes: &Notes, working: &[(Time, Time)]) -> Vec<Failure> {
    if world.features.has(super::Feature::Limits) {
        return Vec::new();
    }
    let bound = bound(world).await;
    let log = world.wire.log();
    let mut failures = Vec::new();
    for (at, org, team, is_bound) in &notes.events {
        let end = *at + EVENT;
        let within = |(from, until): &(Time, Time)| from <= at && end <= *until;
        let calm = |moment: &Time| *moment + FELT <= *at || *moment >= end;
        let faulty = notes.faulty.iter().any(|(from, until)| *from < end && *until + FELT > *at);
        let moments = notes.stepped.iter().chain(&notes.killed);
        let calm = moments.chain(world.settings.iter().skip(1).map(|it| &it.since)).all(calm);
        if !working.iter().any(within) || faulty || !calm {
            continue;
        }
        let Some(login) = bound.get(org) else { continue };
        let reads = |entry: &&super::wire::Entry| {
            let now =
                world.history[entry.moment.truth].orgs.get(org).map_or(login.as_str(), |org| &org.login);
            let lists = |login: &str| {
                entry.path.to_lowercase().starts_with(&format!("/orgs/{login}/teams").to_lowercase())
            };
            entry.path == format!("/organizations/{org}/team/{team}") || lists(now) || lists(login)
        };
        let in_time =
            log.iter().filter(|entry| entry.at >= *at && entry.at <= end).any(|entry| reads(&entry));
        let setting = world.settings.iter().rfind(|it| it.since <= *at).unwrap_or(&world.settings[0]);
        let before = world.history.iter().rposition(|it| it.since < *at).unwrap_or(0);
        let meanwhile = world.history[before..].iter().take_while(|it| it.since <= end);
        // Somebody else may be bound to a login that it took: it waits for a person then.
        let others = |login: &str| {
            let mut orgs = world.history.iter().flat_map(|truth| &truth.orgs);
            orgs.any(|(other, it)| other != org && it.login.eq_ignore_ascii_case(login))
        };
        let serves = |it: &Truth| {
            let login = it.orgs.get(org).map(|org| &org.login);
            login.is_some_and(|login| setting.serves(login, None) && (*is_bound || !others(login)))
        };
        if !in_time && meanwhile.into_iter().all(serves) {
            let what = format!("team {team} of {org}, of which an event came at {at}");
            failures.push(Failure { rule: "R7", cause: "an event is not looked at in time", what });
        }
    }
    failures
}
