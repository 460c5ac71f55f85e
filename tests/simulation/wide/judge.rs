//! The judge of the wide worlds. It knows what is true, and judges each write by what was true when it was carried out.
//!
//! What it demands, by rule:
//! - `R0` No panic and no endless loop; nothing is written under `observe`, while paused, or after a later lease; nothing
//!   is deleted under `upsert`, and nothing that somebody else made, without a person.
//! - `R1` No DELETE of a key that a served team wants, except by an adoption.
//! - `R2` No DELETE of a key that names a team that exists, except with an approval, by an adoption, or as a replacement:
//!   a team that had the key's name has another one now, and is connected under it. Nor of a key that was made for a
//!   team, as long as that team is there and wants one.
//! - `R3` No write for an organisation that is not served; no DELETE of a team that is protected under one of its names,
//!   except as a replacement.
//! - `R4` No more removals within the guard's window than its limits allow, however looks divide them.
//! - `R5` What teamlink made is owned, or reported. The approval of a removal ends when a team wants the connection again.
//! - `R6` Everything is right 150 s after the last fault.
//! - `R7` An event is looked at within [`EVENT`](super::ends::EVENT), while no fault stands.
//!
//! Beyond judging, and left out: within [`RACE`] of a change a look may not have seen it, so R1 to R3 demand of what is
//! true that it was so for that long. Removals that a step of the clock moved out of the guard's window by the wall clock
//! count no more. R7 leaves out worlds with rate limits.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use teamlink::model::{Mode, OrgId, PauseScope, TeamId, Time};

use super::{
    truth::{Connection, Key, Truth},
    wire::Entry,
    world::{Setting, Wide},
};
use crate::world::THEIRS;

/// What may change between the reads of a look and its writes is not held against it.
const RACE: Duration = Duration::from_secs(20);

/// What should not have happened.
#[derive(Clone, Debug)]
pub struct Failure {
    pub rule: &'static str,
    /// The same for all failures of a kind.
    pub cause: &'static str,
    pub what: String,
}

/// What the judge is told, beside what it sees.
#[derive(Default)]
pub struct Notes {
    /// Connections that somebody else made, whatever their mark.
    pub by_hand: BTreeSet<String>,
    /// Keys whose removal a person approved.
    pub approved: Vec<Key>,
    /// Organisations whose login a person released.
    pub released: BTreeSet<OrgId>,
    /// When others removed connections.
    pub others_removed: Vec<Time>,
    /// When they removed each.
    pub disconnected: BTreeMap<Key, Vec<Time>>,
    /// When a wall clock was stepped.
    pub stepped: Vec<Time>,
    /// When a process was killed.
    pub killed: Vec<Time>,
    /// When faults stood: from, until.
    pub faulty: Vec<(Time, Time)>,
    /// Something changed of which no event tells.
    pub silent: bool,
    /// The organisations of which a webhook was lost.
    pub lost: BTreeSet<OrgId>,
    /// Events that were delivered, with their team, and whether its organisation was bound by then.
    pub events: Vec<(Time, OrgId, TeamId, bool)>,
    /// Up to where the log was judged.
    judged: usize,
    /// The fence of each organisation's last write.
    fences: BTreeMap<i64, i64>,
    /// Unapproved removals: when, by the true time and by the writer's wall clock, and for which organisation.
    removals: Vec<Removal>,
    /// Which team had the name of a connection when teamlink made it.
    pub made_for: BTreeMap<String, TeamId>,
    /// Keys that teamlink tried to make.
    attempted: BTreeSet<Key>,
    /// The logins that each organisation was bound under: a release may change that.
    bound: BTreeMap<OrgId, BTreeSet<String>>,
    /// Who made what: the organisation under whose lease it was written.
    pub makers: BTreeMap<String, i64>,
    /// When it was made.
    made_at: BTreeMap<String, Time>,
}

impl Notes {
    /// Whether teamlink waits before it makes a connection once more (DESIGN: a second writer).
    pub fn is_removed_again_and_again(&self, key: &Key) -> bool {
        self.disconnected.get(key).is_some_and(|times| times.len() > 2)
    }
}

struct Removal {
    at: Time,
    org: i64,
}

/// The login that each organisation was bound under.
pub type Bound = BTreeMap<OrgId, String>;

/// An entry with all that bears on it.
struct Case<'a> {
    entry: &'a Entry,
    setting: &'a Setting,
    /// The truths of the last moments, the newest last.
    views: &'a [Truth],
    /// Everything that was ever true until then.
    past: &'a [Truth],
    /// Every request until then.
    log: &'a [Entry],
    bound: &'a Bound,
}

impl Setting {
    /// Whether an organisation with this login, and bound under that one, is served.
    pub fn serves(&self, login: &str, bound: Option<&String>) -> bool {
        let orgs = &self.setup.orgs;
        let named = |it: &str| orgs.iter().any(|org| org.eq_ignore_ascii_case(it));
        orgs.is_empty() || named(login) || bound.is_some_and(|it| named(it))
    }
}

/// Whether nothing is done for an organisation because its login is bound to another.
pub fn forbidden(org: OrgId, login: &str, bound: &Bound) -> bool {
    !bound.contains_key(&org) && bound.values().any(|it| it.eq_ignore_ascii_case(login))
}

/// The keys that served teams want, each with a team that does.
pub fn wanted(truth: &Truth, setting: &Setting, bound: &Bound) -> BTreeMap<Key, (OrgId, TeamId)> {
    let mut wanted = BTreeMap::new();
    for (id, org) in &truth.orgs {
        if !setting.serves(&org.login, bound.get(id)) || forbidden(*id, &org.login, bound) {
            continue;
        }
        let login = bound.get(id).unwrap_or(&org.login);
        for (team, facts) in &org.teams {
            let wishes = truth.wishes(org, facts, login, &setting.rules);
            wanted.extend(wishes.into_iter().map(|key| (key, (*id, *team))));
        }
    }
    wanted
}

/// Judges what was written since the last time.
pub async fn writes(world: &Wide, notes: &mut Notes) -> Vec<Failure> {
    let bound = bound(world).await;
    for (org, login) in &bound {
        notes.bound.entry(*org).or_default().insert(login.clone());
    }
    // What a write does that was not carried out yet is judged later.
    let log: Vec<Entry> = world.wire.carried_out();
    let judged = std::mem::replace(&mut notes.judged, log.len());
    let mut failures = Vec::new();
    let writes = |entry: &Entry| entry.writes_connections() && entry.fence.is_some();
    for (at, entry) in log.iter().enumerate().skip(judged).filter(|(_, entry)| writes(entry)) {
        let newest = entry.moment.truth;
        let past = &world.history[..=newest];
        let from = past.iter().rposition(|truth| truth.since + RACE <= entry.at).unwrap_or(0);
        let setting = &world.settings[entry.moment.setting];
        let case = Case { entry, setting, views: &past[from..], past, log: &log[..at], bound: &bound };
        case.write(notes, &mut failures);
        if entry.method == "POST" {
            let items = entry.body["data"].as_array().into_iter().flatten();
            notes.attempted.extend(items.filter_map(|item| {
                let of = |which: &str| item["relationships"][which]["data"]["id"].as_str();
                Some((of("team")?.to_owned(), of("connected_team")?.to_lowercase()))
            }));
        }
        for (id, connection) in entry.made() {
            let team = case.past.last().and_then(|truth| case.meant(truth, &connection.key().1));
            notes.made_for.extend(team.map(|team| (id.clone(), team)));
        }
        notes.made_at.extend(entry.made().map(|(id, _)| (id.clone(), entry.at)));
        notes.makers.extend(entry.made().map(|(id, _)| (id.clone(), entry.org().unwrap_or_default())));
        if entry.method == "DELETE" {
            let before = notes.removals.len();
            for (id, connection) in entry.removed() {
                case.removal(id, connection, notes, &mut failures);
            }
            // What a person approved is bound by no limit, whatever it leaves.
            if notes.removals.len() > before {
                limits(world, notes, &case, &mut failures);
            }
        }
    }
    failures
}

/// The login under which each known organisation was bound.
pub async fn bound(world: &Wide) -> Bound {
    let orgs = world.ledger().orgs().await.unwrap();
    orgs.into_iter().map(|org| (org.facts.id, org.bound_login)).collect()
}

impl Case<'_> {
    fn fail(&self, failures: &mut Vec<Failure>, rule: &'static str, cause: &'static str, what: &str) {
        let Entry { at, method, fence, .. } = self.entry;
        let what = format!("{what} ({method} at {at} under {})", fence.as_deref().unwrap_or_default());
        failures.push(Failure { rule, cause, what });
    }

    /// The login of an organisation as it was last seen.
    fn login(&self, org: OrgId) -> Option<&str> {
        self.past.iter().rev().find_map(|truth| Some(truth.orgs.get(&org)?.login.as_str()))
    }

    /// What may be said of any write.
    fn write(&self, notes: &mut Notes, failures: &mut Vec<Failure>) {
        let Self { entry, setting, .. } = self;
        let carried_out = entry.before != entry.after;
        let what = format!("{:?} -> {:?}", entry.before.len(), entry.after.len());
        if setting.setup.mode == Mode::Observe {
            self.fail(failures, "R0", "`observe` writes", &what);
        }
        if setting.setup.mode == Mode::Upsert && entry.method == "DELETE" {
            self.fail(failures, "R0", "`upsert` deletes", &what);
        }
        let Some(org) = entry.org() else { return };
        let count =
            entry.fence.as_deref().and_then(|fence| fence.rsplit(':').next()?.parse().ok()).unwrap_or(0);
        let last = notes.fences.entry(org).or_default();
        if count < *last {
            self.fail(failures, "R0", "a lost lease writes", &what);
        }
        *last = (*last).max(count);
        let org = OrgId(org);
        if entry.moment.adopting {
            return;
        }
        let paused = |scope: &PauseScope| *scope == PauseScope::All || *scope == PauseScope::Org(org);
        if setting.paused.iter().any(paused) {
            self.fail(failures, "R0", "written while paused", &what);
        }
        let served = self.views.iter().any(|truth| {
            let login = truth.orgs.get(&org).map(|org| org.login.as_str());
            let mut bound = notes.bound.get(&org).into_iter().flatten().map(Some).chain([None]);
            let login = login.or_else(|| self.login(org));
            login.is_some_and(|login| bound.any(|bound| setting.serves(login, bound)))
        });
        if !served && carried_out {
            let cause = if entry.method == "POST" {
                "a create for an organisation that is not served"
            } else {
                "a delete for an organisation that is not served"
            };
            self.fail(failures, "R3", cause, &format!("organisation {org} ({:?})", self.login(org)));
        }
    }

    /// Judges one connection that went.
    fn removal(&self, id: &str, connection: &Connection, notes: &mut Notes, failures: &mut Vec<Failure>) {
        let key = connection.key();
        let what = format!(
            "{} of Datadog team {} ({})",
            connection.written, connection.datadog_team, connection.managed_by
        );
        if self.entry.moment.adopting {
            return;
        }
        let approval = notes.approved.iter().position(|it| *it == key);
        // What somebody made with our mark while a create of ours was under way counts as made by it.
        let taken = connection.managed_by != THEIRS && notes.attempted.contains(&key);
        if notes.by_hand.contains(id) && approval.is_none() && !taken {
            self.fail(failures, "R0", "somebody else's connection is deleted", &what);
        }
        let kept = self.entry.after.values().any(|it| it.key() == key);
        let wants = |truth: &Truth| wanted(truth, self.setting, self.bound).get(&key).copied();
        let wishes: Vec<_> = self.views.iter().map(wants).collect();
        if wishes.iter().all(Option::is_some) && !kept {
            let team = wishes[0];
            let cause = if approval.is_some() {
                "an approved removal of a key that a served team wants"
            } else {
                "a key that a served team wants"
            };
            self.fail(failures, "R1", cause, &format!("{what}, wanted by {team:?}"));
        }
        let replaced = self.replaced(&key, notes.made_for.get(id), notes);
        let holder = self.views[0].holder(&key.1);
        let stays = holder.is_some() && self.views.iter().all(|truth| truth.holder(&key.1) == holder);
        if stays && approval.is_none() && !replaced && !kept {
            self.fail(
                failures,
                "R2",
                "a key that names a team that exists",
                &format!("{what}, names {holder:?}"),
            );
        }
        // A team that had the name later got the connection with it.
        let last = self.past.iter().rev().find_map(|truth| truth.holder(&key.1)).map(|(_, team)| team);
        let made_for = notes.made_for.get(id).copied().filter(|team| last.is_none_or(|last| last == *team));
        if holder.is_none() && approval.is_none() && !replaced && self.exists(made_for) {
            self.fail(failures, "R2", "a team that exists is taken for gone", &what);
        }
        if !replaced && self.protects(&key, notes.made_for.get(id).copied()) {
            self.fail(failures, "R3", "a protected team", &what);
        }
        match approval {
            Some(index) => drop(notes.approved.remove(index)),
            None if replaced || notes.by_hand.contains(id) => {}
            // Who releases the login of an organisation that was deleted approves that its connections go.
            None if notes.released.contains(&OrgId(self.entry.org().unwrap_or_default())) => {}
            None => {
                let org = self.entry.org().unwrap_or_default();
                notes.removals.push(Removal { at: self.entry.at, org });
            }
        }
    }

    /// The team that a handle means: the one that has it, or that with its slug in the organisation that writes, which
    /// may have another login since.
    fn meant(&self, truth: &Truth, handle: &str) -> Option<TeamId> {
        let org = truth.orgs.get(&OrgId(self.entry.org()?));
        let slug = handle.split_once('/')?.1;
        let of_org = || org?.teams.iter().find(|(_, team)| team.slug == slug).map(|(team, _)| *team);
        truth.holder(handle).map(|(_, team)| team).or_else(of_org)
    }

    /// The teams that ever had the name in a key.
    fn once(&self, handle: &str) -> BTreeSet<TeamId> {
        self.past.iter().filter_map(|truth| truth.holder(handle)).map(|(_, team)| team).collect()
    }

    /// Whether the team for which a connection was made is there, wants something, and was taken for gone.
    fn exists(&self, made_for: Option<TeamId>) -> bool {
        let wants = |truth: &Truth| {
            let Some((id, org, facts)) = made_for.and_then(|team| truth.team(team)) else { return false };
            let login = self.bound.get(&id).unwrap_or(&org.login);
            let served = self.setting.serves(&org.login, self.bound.get(&id));
            served && !truth.wishes(org, facts, login, &self.setting.rules).is_empty()
        };
        self.views.iter().all(wants)
    }

    /// Whether a team that had the name in this key, or that it was made for, has another one, and is connected under it,
    /// or was tried to be.
    fn replaced(&self, key: &Key, made_for: Option<&TeamId>, notes: &Notes) -> bool {
        let mut there: BTreeSet<Key> = self.entry.before.values().map(Connection::key).collect();
        // One that somebody removed a moment ago, the look has still seen.
        let late = |times: &[Time]| times.iter().any(|at| *at <= self.entry.at && *at + RACE > self.entry.at);
        there.extend(notes.disconnected.iter().filter(|(_, times)| late(times)).map(|(key, _)| key.clone()));
        let attempted = &notes.attempted;
        let elsewhere = |truth: &Truth, team: &TeamId| {
            truth.team(*team).is_some_and(|(id, org, facts)| {
                let handle = format!("@{}/{}", org.login, facts.slug).to_lowercase();
                let login = self.bound.get(&id).unwrap_or(&org.login);
                let rules = &self.setting.rules;
                let mut instead = truth.wishes(org, facts, login, rules);
                if truth.unresolved(org, facts, login, rules) {
                    instead.insert((key.0.clone(), handle.clone()));
                }
                handle != key.1 && instead.iter().any(|it| there.contains(it) || attempted.contains(it))
            })
        };
        let mut teams = self.once(&key.1);
        teams.extend(made_for);
        // After a change of the login, the row belongs to the team that has its slug now.
        teams.extend(self.past.last().and_then(|truth| self.meant(truth, &key.1)));
        self.views.iter().any(|truth| teams.iter().any(|team| elsewhere(truth, team)))
    }

    /// Whether an answer showed this team. Of a list of one team, it is only asked whether it answers.
    fn shows(&self, entry: &Entry, team: TeamId) -> bool {
        let Some((org, facts, _)) = self.past[entry.moment.truth].team(team) else { return false };
        let paths = [format!("/organizations/{org}/team/{team}"), format!("/orgs/{}/teams", facts.login)];
        matches!(entry.status, 200 | 304)
            && entry.query != "per_page=1"
            && paths.iter().any(|path| entry.path.eq_ignore_ascii_case(path))
    }

    /// Whether a team kept its name for a while after this answer. Who was due when a list was read is read by its id after
    /// it, and what the list said of it is lost.
    fn stays(&self, entry: &Entry, team: TeamId) -> bool {
        let slug = |truth: &Truth| truth.team(team).map(|(.., facts)| facts.slug.clone());
        let later = self.past.iter().rev().find(|truth| truth.since <= entry.at + RACE);
        entry.path.starts_with("/organizations/")
            || later.is_some_and(|later| slug(later) == slug(&self.past[entry.moment.truth]))
    }

    /// Whether a connection was made with the name that this team had: whoever made it knew the name.
    fn is_made_for(&self, entry: &Entry, team: TeamId) -> bool {
        let truth = &self.past[entry.moment.truth];
        let names = |github: &str| truth.holder(github).is_some_and(|(_, holder)| holder == team);
        entry.method == "POST"
            && entry.after.iter().any(|(id, it)| !entry.before.contains_key(id) && names(&it.key().1))
    }

    /// The truth that the last answer about a team showed.
    fn last_read(&self, team: TeamId) -> Option<usize> {
        let shows = |entry: &&Entry| {
            self.shows(entry, team) && self.stays(entry, team) || self.is_made_for(entry, team)
        };
        self.log.iter().rev().find(shows).map(|entry| entry.moment.truth)
    }

    /// Whether a team that had the name in this key is protected, under whatever name.
    fn protects(&self, key: &Key, made_for: Option<TeamId>) -> bool {
        let matches = |name: &str| self.setting.protected.is_match(name.to_lowercase());
        let Some((key_login, _)) = key.1.trim_start_matches('@').split_once('/') else { return false };
        if matches(key.1.trim_start_matches('@')) {
            return true;
        }
        // The team of a known organisation that had it last, as far as it was shown under that name.
        let shown = |at: usize, team| self.log.iter().any(|it| it.moment.truth == at && self.shows(it, team));
        let holders = self.past.iter().enumerate().rev();
        let mut holders = holders.filter_map(|(at, truth)| Some((at, truth.holder(&key.1)?)));
        let known = |org: &OrgId, at, team| self.bound.contains_key(org) && shown(at, team);
        let Some((_, (org, team))) = holders.find(|(at, (org, team))| known(org, *at, *team)) else {
            return false;
        };
        // Where the team that it was made for is gone, it may never have been passed on to the one of another organisation
        // that had the name later, for example because that one was paused.
        let gone = |team: TeamId| self.views.iter().all(|truth| truth.team(team).is_none());
        let elsewhere = |team: TeamId| {
            self.past.iter().rev().find_map(|truth| truth.team(team)).is_some_and(|(of, ..)| of != org)
        };
        // A login that came back gives the key back to the team that has its slug, also where no list shows that one.
        let last = self.past.iter().rev().find_map(|truth| truth.holder(&key.1)).map(|(_, team)| team);
        let others = [made_for, last].into_iter().flatten().filter(|team| elsewhere(*team) && gone(*team));
        others.chain([team]).all(|team| {
            // Nobody knows a name that it had only between two looks.
            let read = self.last_read(team).map_or(&[][..], |at| &self.past[..=at]);
            self.views.iter().all(|truth| {
                let last = || read.iter().rev().find_map(|it| it.team(team));
                let Some((id, org, facts)) = truth.team(team).or_else(last) else { return false };
                // A team that is gone is named by the login that its organisation has today.
                let today = truth.orgs.get(&id).unwrap_or(org).login.as_str();
                let logins = [today, self.bound.get(&id).map_or("", String::as_str), key_login];
                logins.iter().any(|login| matches(&format!("{login}/{}", facts.slug)))
            })
        })
    }
}

/// Judges the removals within the guard's window.
fn limits(world: &Wide, notes: &Notes, case: &Case<'_>, failures: &mut Vec<Failure>) {
    let setup = &case.setting.setup;
    let now = case.entry.at;
    // A step of the clock may have ended the window.
    let stepped = notes.stepped.iter().filter(|at| **at <= now).max().copied().unwrap_or(Time(0));
    let recent: Vec<&Removal> =
        notes.removals.iter().filter(|it| it.at + setup.window > now && it.at >= stepped).collect();
    let org = case.entry.org().unwrap_or_default();
    let of_org = recent.iter().filter(|it| it.org == org).count();
    if recent.is_empty() {
        return;
    }
    if recent.len() > setup.max_per_window {
        let what = format!("{} removals within the window, of {}", recent.len(), setup.max_per_window);
        case.fail(failures, "R4", "max_per_window", &what);
    }
    if of_org > setup.limits.max_removals {
        let what = format!("{of_org} removals of one organisation, of {}", setup.limits.max_removals);
        case.fail(failures, "R4", "max_removals", &what);
    }
    // What others removed may have been its own. As long as teamlink did not see that it is gone, it counts as owned;
    // from then on it counts in neither figure.
    let others = notes.others_removed.iter().filter(|at| **at + setup.window > now).count();
    // The guard decides when a removal is sent.
    let left: Vec<(&String, &Connection)> = case.entry.left().collect();
    let of_ours = |id: &&String| notes.makers.get(*id) == Some(&org);
    let owned = left.iter().filter(|(id, _)| of_ours(id)).count();
    // What was made under one organisation's lease is passed on to the one whose team it names.
    let names = |it: &Connection| {
        let holder = case.past.iter().rev().find_map(|truth| truth.holder(&it.key().1));
        holder.map(|(org, _)| org.0)
    };
    let passed = |(id, it): &(&String, &Connection)| {
        let (maker, of) = (notes.makers.get(*id), names(it));
        maker.is_some() && of.is_some() && maker.copied() != of
    };
    let (to_it, from_it) = left.iter().copied().filter(passed).fold((0, 0), |(to, from), (id, it)| {
        (to + usize::from(names(it) == Some(org)), from + usize::from(notes.makers[id] == org))
    });
    // A look counts before its own creates, and before those that an earlier look could not see in Datadog's lists.
    let unseen = if world.features.has(super::Feature::Lag) { Duration::from_secs(60) } else { RACE };
    let new = |id: &String| notes.made_at.get(id).is_some_and(|at| *at + unseen > now);
    let new = left.iter().filter(|(id, _)| of_ours(id) && new(id)).count();
    let (least, most) = ((owned + of_org).saturating_sub(new + from_it), owned + of_org + others + to_it);
    if least > setup.limits.above && of_org as f64 > most as f64 * setup.limits.max_share {
        let what = format!("{of_org} removals of {most}, share {}", setup.limits.max_share);
        case.fail(failures, "R4", "max_share", &what);
    }
    // What somebody made with our mark while a create of ours was under way counts as made by it.
    let taken = |it: &Connection| {
        it.managed_by != THEIRS && notes.attempted.contains(&it.key()) && names(it) == Some(org)
    };
    let any = left.iter().any(|(id, it)| notes.makers.get(*id).map_or_else(|| taken(it), |of| *of == org));
    if of_org > 0 && !any && others == 0 && !world.features.has(super::Feature::Logins) {
        case.fail(failures, "R4", "the last connection", &format!("organisation {org}"));
    }
}
