//! Carries out what happens.

use std::time::Duration;

use rand::{rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use teamlink::{
    model::{HeldKind, Lane, OrgId, PauseScope, Subject, TeamId, TeamKey},
    operate,
    reconcile::{Asked, Outcome},
};

use super::{
    judge::Notes,
    script::{self, Happening},
    world::Wide,
};
use crate::world::{OURS, THEIRS};

/// The organisation with this number, if there is one: id and login.
fn org_of(world: &Wide, number: usize) -> Option<(OrgId, String)> {
    let orgs = &world.truth().orgs;
    let at = number % orgs.len().max(1);
    orgs.iter().nth(at).map(|(id, org)| (*id, org.login.clone()))
}

/// A team of an organisation that may be edited: login, id and slug.
fn team_of(world: &Wide, org: usize, which: usize) -> Option<(String, TeamId, String)> {
    let (id, login) = org_of(world, org)?;
    let teams: Vec<_> = world.truth().orgs[&id].teams.iter().filter(|(_, team)| !team.enterprise).collect();
    let (team, facts) = teams.get(which % teams.len().max(1))?;
    Some((login, **team, facts.slug.clone()))
}

/// Something that happens while a write is under way to what that write concerns, if there is such a connection: one that
/// is to be deleted, or that a later create has made.
pub async fn chased(world: &Wide, dice: &mut StdRng) -> Option<Happening> {
    let under_way = world.wire.under_way();
    let key = under_way.choose(dice)?;
    let (login, slug) = key.1.strip_prefix('@')?.split_once('/')?;
    let orgs = &world.truth().orgs;
    let org = orgs.values().position(|org| org.login.eq_ignore_ascii_case(login))?;
    let mut teams = orgs.values().nth(org)?.teams.values().filter(|team| !team.enterprise);
    let which = teams.position(|team| team.slug == slug)?;
    let connection = world.connections().await.values().position(|it| it.key() == *key)?;
    Some(script::chase(dice, (org, which), connection))
}

async fn create(world: &mut Wide, login: &str, name: &str) {
    world.ask("POST", &format!("/orgs/{login}/teams"), json!({"name": name})).await;
}

async fn rename(world: &mut Wide, login: &str, slug: &str, name: &str) {
    world.ask("PATCH", &format!("/orgs/{login}/teams/{slug}"), json!({"name": name})).await;
}

async fn delete(world: &mut Wide, login: &str, slug: &str) {
    world.ask("DELETE", &format!("/orgs/{login}/teams/{slug}"), Value::Null).await;
}

async fn call(world: &mut Wide, login: &str, new: &str) {
    world.ask("PATCH", &format!("/orgs/{login}"), json!({"login": new})).await;
}

/// Connects by hand, and answers the connection's id.
pub async fn connect(world: &mut Wide, team: &str, handle: &str, by: &str) -> Option<String> {
    let connection = json!({"data": [{
        "type": "team_connection",
        "attributes": {"managed_by": by, "source": "github"},
        "relationships": {
            "team": {"data": {"id": team, "type": "team"}},
            "connected_team": {"data": {"id": handle, "type": "github_team"}},
        },
    }]});
    let (_, made) = world.ask("POST", "/api/v2/team/connections", connection).await;
    Some(made["data"][0]["id"].as_str()?.to_owned())
}

pub async fn disconnect(world: &mut Wide, notes: &mut Notes, id: &str) {
    let body = json!({"data": [{"id": id, "type": "team_connection"}]});
    if let Some(connection) = world.connections().await.get(id) {
        notes.disconnected.entry(connection.key()).or_default().push(world.clock.now());
    }
    world.ask("DELETE", "/api/v2/team/connections", body).await;
    notes.others_removed.push(world.clock.now());
    notes.silent = true;
}

/// What happens at GitHub or Datadog, or to a clock. It leaves the ledger alone.
pub async fn outside(world: &mut Wide, notes: &mut Notes, happening: Happening) {
    match happening {
        Happening::Created { org, name } => {
            if let Some((_, login)) = org_of(world, org) {
                create(world, &login, name).await;
            }
        }
        Happening::Renamed { org, which, name } => {
            if let Some((login, _, slug)) = team_of(world, org, which) {
                rename(world, &login, &slug, name).await;
            }
        }
        Happening::Deleted { org, which } => {
            if let Some((login, _, slug)) = team_of(world, org, which) {
                delete(world, &login, &slug).await;
            }
        }
        Happening::TeamRemade { org, which } => {
            if let Some((login, _, slug)) = team_of(world, org, which) {
                delete(world, &login, &slug).await;
                create(world, &login, &slug).await;
            }
        }
        Happening::Swapped { org, one, other } => {
            if let (Some((login, one, from)), Some((_, other, to))) =
                (team_of(world, org, one), team_of(world, org, other))
                && one != other
            {
                rename(world, &login, &from, "between").await;
                rename(world, &login, &to, &from).await;
                rename(world, &login, "between", &to).await;
            }
        }
        Happening::LoginChanged { .. }
        | Happening::LoginHandedOver { .. }
        | Happening::LoginsSwapped { .. }
        | Happening::OrgDeleted { .. }
        | Happening::OrgRemade { .. } => to_an_org(world, notes, happening).await,
        Happening::Stepped { machine, by } => {
            world.step(machine, by);
            notes.stepped.push(world.clock.now());
        }
        _ => at_datadog(world, notes, happening).await,
    }
}

async fn to_an_org(world: &mut Wide, notes: &mut Notes, happening: Happening) {
    match happening {
        Happening::LoginChanged { org, login } => {
            if let Some((_, from)) = org_of(world, org) {
                call(world, &from, login).await;
            }
        }
        Happening::LoginHandedOver { from, to } => {
            if let (Some((one, login)), Some((other, old))) = (org_of(world, from), org_of(world, to))
                && one != other
            {
                call(world, &login, &format!("{login}-legacy")).await;
                call(world, &old, &login).await;
            }
        }
        Happening::LoginsSwapped { one, other } => {
            if let (Some((one, from)), Some((other, to))) = (org_of(world, one), org_of(world, other))
                && one != other
            {
                call(world, &from, "between").await;
                call(world, &to, &from).await;
                call(world, "between", &to).await;
            }
        }
        Happening::OrgDeleted { org } => {
            if let Some((_, login)) = org_of(world, org)
                && world.truth().orgs.len() > 1
            {
                world.ask("DELETE", &format!("/orgs/{login}"), Value::Null).await;
            }
        }
        Happening::OrgRemade { login }
            if world.truth().orgs.values().all(|org| !org.login.eq_ignore_ascii_case(login)) =>
        {
            world.seed(&json!({"orgs": [{"login": login, "teams": []}]})).await;
            for name in ["Core", "Data"] {
                create(world, login, name).await;
            }
            notes.silent = true;
        }
        _ => {}
    }
}

async fn at_datadog(world: &mut Wide, notes: &mut Notes, happening: Happening) {
    let ids: Vec<String> = world.truth().handles.values().cloned().collect();
    let some = |which: usize| ids.get(which % ids.len().max(1)).cloned();
    match happening {
        Happening::Connected { which, to, by } => {
            let Some((login, _, slug)) = team_of(world, which, to) else { return };
            // Often the Datadog team that it should be connected to.
            let wanted = world.truth().handles.get(&slug).filter(|_| which % 2 == 0).cloned();
            if let Some(team) = wanted.or_else(|| some(to)) {
                notes.by_hand.extend(connect(world, &team, &format!("@{login}/{slug}"), by).await);
                notes.silent = true;
            }
        }
        Happening::Disconnected { which } => {
            let all: Vec<String> = world.connections().await.into_keys().collect();
            if let Some(id) = all.get(which % all.len().max(1)) {
                disconnect(world, notes, id).await;
            }
        }
        Happening::Twin { which } => {
            let all: Vec<_> = world.connections().await.into_values().collect();
            if let Some(one) = all.get(which % all.len().max(1)) {
                let lower = one.written.to_lowercase();
                let twin = if lower == one.written { one.written.to_uppercase() } else { lower };
                notes.by_hand.extend(connect(world, &one.datadog_team, &twin, THEIRS).await);
                notes.silent = true;
            }
        }
        Happening::DatadogRenamed { which, name } => {
            if let Some(id) = some(which) {
                let attributes = json!({"handle": name.to_lowercase(), "name": name});
                let body = json!({"data": {"type": "team", "attributes": attributes}});
                world.ask("PATCH", &format!("/api/v2/team/{id}"), body).await;
                notes.silent = true;
            }
        }
        Happening::DatadogGone { which } => {
            if let Some(id) = some(which) {
                world.ask("DELETE", &format!("/api/v2/team/{id}"), Value::Null).await;
                notes.others_removed.push(world.clock.now());
                notes.silent = true;
            }
        }
        _ => {}
    }
}

/// What an operator does.
pub async fn operated(world: &mut Wide, notes: &mut Notes, happening: Happening) {
    match happening {
        Happening::Served(orgs) => world.setup.orgs = orgs,
        Happening::Rules(rules) => world.setup.rules = rules,
        Happening::Mark(mark) => world.setup.managed_by = mark,
        Happening::Protected(globs) => world.setup.protected = globs,
        Happening::Mode(mode) => world.setup.mode = mode,
        Happening::PausedAll => return pause(world, Some(PauseScope::All)).await,
        Happening::PausedOrg { org } => {
            let org = org_of(world, org).map(|(id, _)| PauseScope::Org(id));
            return pause(world, org).await;
        }
        Happening::PausedTeam { org, which } => {
            let id = org_of(world, org).map(|(id, _)| id);
            let team = team_of(world, org, which).zip(id);
            let team = team.map(|((_, team, _), org)| PauseScope::Team(TeamKey { org, team }));
            return pause(world, team).await;
        }
        Happening::Resumed => return resume(world).await,
        Happening::Approved { org } => return approve(world, notes, org).await,
        Happening::Adopted => return adopt(world, notes).await,
        _ => return,
    }
    notes.silent = true;
    world.restart().await;
}

async fn pause(world: &mut Wide, scope: Option<PauseScope>) {
    let Some(scope) = scope else { return };
    world.ledger().pause(scope, "", world.wall()).await.unwrap();
    world.paused.push(scope);
    world.set().await;
}

pub async fn resume(world: &mut Wide) {
    for scope in std::mem::take(&mut world.paused) {
        world.ledger().resume(scope, "", world.wall()).await.unwrap();
    }
    world.set().await;
}

/// A person approves what is held of an organisation, which may be gone.
async fn approve(world: &mut Wide, notes: &mut Notes, number: usize) {
    let mut ids: Vec<OrgId> = world.truth().orgs.keys().copied().collect();
    let known = world.ledger().orgs().await.unwrap().into_iter().map(|org| org.facts.id);
    ids.extend(known.filter(|org| !world.truth().orgs.contains_key(org)).collect::<Vec<_>>());
    let Some(id) = ids.get(number % ids.len().max(1)) else { return };
    let Some(set) = world.ledger().held_set(Lane::Org(*id), world.wall()).await.unwrap() else { return };
    approve_set(world, notes, &set.hash).await;
}

async fn approve_set(world: &Wide, notes: &mut Notes, hash: &str) {
    let hour = Duration::from_secs(3600);
    let approved = world.ledger().approve(hash, "simulated", hour, world.wall()).await.unwrap().unwrap();
    for held in approved {
        match held.subject {
            Subject::Organisation(org) => drop(notes.released.insert(org)),
            subject if held.kind == HeldKind::Delete => notes.approved.push(subject.names()),
            _ => {}
        }
    }
}

/// A person approves each release that waits, and nothing else. Says whether there was one.
pub async fn release(world: &Wide, notes: &mut Notes) -> bool {
    let mut any = false;
    for org in world.ledger().orgs().await.unwrap() {
        let waiting = operate::release::waiting(world.ledger(), &org.facts, world.wall()).await.unwrap();
        if let Some(release) = waiting.filter(|release| !release.approved) {
            any = true;
            approve_set(world, notes, &release.hash).await;
        }
    }
    any
}

/// A person takes over all that somebody else has made, or that has our mark and no row.
async fn adopt(world: &mut Wide, notes: &mut Notes) {
    let orgs = world.setup.orgs.clone();
    // What failed a moment ago is asked again.
    world.faults(&[]).await;
    world.clock.advance(Duration::from_secs(30));
    world.wire.moment().adopting = true;
    for mark in [THEIRS, OURS] {
        let asked = Asked::ManagedBy(mark.into());
        let survey = world.survey();
        // An organisation that cannot be read has no candidates.
        let Ok(candidates) = operate::adopt::candidates(&survey, world.ledger(), &orgs, &asked).await else {
            continue;
        };
        for candidate in &candidates {
            let Ok(adoption) = &candidate.step else { continue };
            match world.worker().adopt(candidate, adoption).await {
                Ok(Outcome::Failed(_)) | Err(_) => break,
                Ok(_) => notes.by_hand.retain(|id| candidate.id.as_ref().is_none_or(|it| it.as_str() != id)),
            }
        }
    }
    world.wire.moment().adopting = false;
}
