//! Orphans: connections that carry a mark of ours and that this ledger does not know (it was lost, or another deployment
//! has the same mark). They belong to no team. One that a team wants satisfies it like anybody's; one whose GitHub
//! team is proven gone may go, but only when a person approves it.

use std::collections::HashSet;

use super::{Action, Actual, Desired, LeftAlone, Mirror, Plan, Planned, Policy, RemovalCause, Why};
use crate::model::{Connection, ConnectionId, ConnectionKey, GithubHandle, Mode, TeamState, Time};

/// An orphan that no team wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The connection's key.
    pub key: ConnectionKey,
    /// Its id.
    pub id: ConnectionId,
    /// The slug that has to answer 404 before it may go; `None` while a team of the mirror has it.
    pub slug: Option<String>,
}

/// The orphans of this organisation that no team wants, by key.
pub fn unwanted_orphans(mirror: &Mirror, desired: &Desired, actual: &Actual) -> Vec<Orphan> {
    let alive = mirror.teams.values().filter(|team| !matches!(team.state, TeamState::Gone { .. }));
    let taken: HashSet<String> = alive.map(|team| team.facts.slug.to_lowercase()).collect();
    let orphan = |key: &ConnectionKey, connection: &Connection| {
        let handle = GithubHandle::from_datadog(key.github.clone());
        let (login, slug) = handle.parts()?;
        let ours = actual.has_own_mark(connection)
            && !actual.owned.contains_key(key)
            && !actual.elsewhere.contains_key(key)
            && !actual.create_intents.contains_key(key);
        let unwanted =
            login.eq_ignore_ascii_case(&mirror.org.login) && !desired.wanted_keys.contains_key(key);
        (ours && unwanted).then(|| Orphan {
            key: key.clone(),
            id: connection.id.clone(),
            slug: (!taken.contains(slug)).then(|| slug.to_owned()),
        })
    };
    let mut orphans: Vec<Orphan> =
        actual.connections.iter().filter_map(|(key, connection)| orphan(key, connection)).collect();
    orphans.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    orphans
}

/// What is to be done about orphans that no team wants. Each comes with the time of its proof, or why there is none.
pub fn plan_orphans(orphans: Vec<(Orphan, Result<Time, String>)>, policy: &Policy<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut leave = |why| plan.left_alone.push(LeftAlone { team: None, why });
    let mut steps = 0;
    for (Orphan { key, id, slug: _ }, proof) in orphans {
        match proof {
            Err(because) => leave(Why::Orphan { key, because }),
            Ok(_) if policy.mode == Mode::Upsert => leave(Why::Policy { key }),
            Ok(_) if policy.paused.whole.is_some() => steps += 1,
            Ok(proven) => {
                let cause = RemovalCause::Orphan { proven };
                let reason = cause.reason();
                plan.actions.push(Planned { team: None, action: Action::Delete { key, id, cause }, reason });
            }
        }
    }
    if let Some(pause) = policy.paused.whole.as_ref().filter(|_| steps > 0) {
        leave(Why::Paused { since: pause.since, steps });
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{
        model::{
            DatadogTeamId, HeldKey, HeldKind, MirrorTeam, MissingTeam, OrgFacts, OrgId, Owned, Pause,
            PauseScope, Paused, TeamFacts, TeamId, TeamType,
        },
        plan::{Guarded, Interrupted, Limits, Population, StepKey, guard},
    };

    fn key(slug: &str) -> ConnectionKey {
        ConnectionKey::new(DatadogTeamId::from("dd"), &GithubHandle::new("acme", slug))
    }

    fn connection(slug: &str, managed_by: &str) -> (ConnectionKey, Connection) {
        let connection = Connection {
            id: ConnectionId::from(format!("c-{slug}")),
            datadog_team: Some("dd".into()),
            github: Some(format!("@Acme/{slug}")),
            managed_by: Some(managed_by.into()),
            source: Some("github".into()),
        };
        (key(slug), connection)
    }

    fn mirror(slug: &str, state: TeamState) -> Mirror {
        let facts = TeamFacts {
            id: TeamId(1),
            slug: slug.into(),
            name: slug.into(),
            parent: None,
            team_type: TeamType::Organization,
        };
        let team = MirrorTeam { facts, state, seen_at: Time(0), deleted_event_at: None, in_step: false };
        Mirror {
            org: OrgFacts { id: OrgId(1), login: "Acme".into() },
            bound_login: "Acme".into(),
            teams: BTreeMap::from([(TeamId(1), team)]),
        }
    }

    fn slugs(mirror: &Mirror, desired: &Desired, actual: &Actual) -> Vec<(String, bool)> {
        let orphans = unwanted_orphans(mirror, desired, actual);
        orphans.into_iter().map(|orphan| (orphan.key.github, orphan.slug.is_some())).collect()
    }

    #[test]
    fn an_orphan_has_our_mark_no_row_anywhere_no_intent_no_team_that_wants_it_and_the_organisations_login() {
        let mut actual = Actual { own_marks: ["teamlink".to_owned()].into(), ..Actual::default() };
        for slug in ["owned", "intended", "wanted", "living", "lost", "of-another"] {
            actual.connections.extend([connection(slug, "teamlink").1]);
        }
        actual.connections.extend([connection("foreign", "terraform").1]);
        let (_, elsewhere) = connection("elsewhere", "teamlink");
        actual.connections.extend([Connection { github: Some("@other/elsewhere".into()), ..elsewhere }]);
        let owned = Owned { key: key("owned"), id: "c-owned".into(), team: TeamId(1), managed_by: None };
        let of_another = Owned { key: key("of-another"), ..owned.clone() };
        actual.elsewhere.insert(key("of-another"), (OrgId(2), of_another));
        actual.owned.insert(key("owned"), owned);
        let (managed_by, answered) = (None, None);
        let intended = Interrupted {
            team: TeamId(1),
            adopts: false,
            over: true,
            managed_by,
            written: None,
            answered,
            repeated: false,
        };
        actual.create_intents.insert(key("intended"), intended);
        let desired = Desired { wanted_keys: [(key("wanted"), TeamId(1))].into(), ..Desired::default() };
        let present = mirror("Living", TeamState::Present);
        let expected = [("@acme/living".to_owned(), false), ("@acme/lost".to_owned(), true)];
        assert_eq!(slugs(&present, &desired, &actual), expected);
        let gone = mirror("living", TeamState::Gone { since: Time(0), proven: Time(1) });
        assert!(slugs(&gone, &desired, &actual).iter().all(|(_, may_go)| *may_go));
        let suspected = mirror("living", TeamState::Suspected { since: Time(0), second: None });
        assert_eq!(slugs(&suspected, &desired, &actual), expected);
    }

    fn guarded(mode: Mode, paused: &Paused, approved: &[&str], protected: bool) -> Guarded {
        let orphan = |slug: &str| Orphan {
            key: key(slug),
            id: ConnectionId::from(format!("c-{slug}")),
            slug: Some(slug.to_owned()),
        };
        let found = vec![(orphan("gone"), Ok(Time(5))), (orphan("unsure"), Err("503".to_owned()))];
        let policy = Policy {
            mode,
            missing_team: MissingTeam::Report,
            managed_by: "teamlink",
            paused,
            grace: std::time::Duration::ZERO,
            now: Time(0),
        };
        let approved: BTreeSet<_> =
            approved.iter().map(|slug| HeldKey::new(HeldKind::Delete, key(slug))).collect();
        let population = Population { approved, ..Population::default() };
        let limits = Limits { max_share: 0.0, above: 0, max_removals: 0 };
        guard(plan_orphans(found, &policy), &population, &limits, |_, _| protected)
    }

    #[test]
    fn a_proven_orphan_is_held_until_it_is_approved_and_no_approval_replaces_proof_or_lifts_protection() {
        let free = Paused::default();
        let held = guarded(Mode::Sync, &free, &[], false);
        let (planned, why) = &held.held[0];
        assert_eq!((held.held.len(), held.ready.actions.len()), (1, 0));
        assert_eq!(planned.action.step(), StepKey::Delete(key("gone")));
        assert_eq!(why.text, "it has our mark, but this ledger does not know it");
        let approved = guarded(Mode::Sync, &free, &["gone", "unsure"], false);
        assert_eq!((approved.held.len(), approved.ready.actions.len()), (0, 1), "limits are lifted");
        let left =
            LeftAlone { team: None, why: Why::Orphan { key: key("unsure"), because: "503".to_owned() } };
        assert_eq!(approved.ready.left_alone, [left]);
        let protected = guarded(Mode::Sync, &free, &["gone"], true);
        assert_eq!((protected.held.len(), protected.ready.actions.len()), (0, 0));
        assert!(protected.ready.left_alone.iter().any(|it| it.why == Why::Protected { key: key("gone") }));
    }

    #[test]
    fn neither_upsert_nor_a_pause_lets_an_approved_orphan_go() {
        let upsert = guarded(Mode::Upsert, &Paused::default(), &["gone"], false);
        assert_eq!((upsert.held.len(), upsert.ready.actions.len()), (0, 0));
        assert!(upsert.ready.left_alone.iter().any(|left| left.why == Why::Policy { key: key("gone") }));
        let pause = Pause { scope: PauseScope::All, since: Time(1), reason: String::new() };
        let paused = Paused { whole: Some(pause), ..Paused::default() };
        let paused = guarded(Mode::Sync, &paused, &["gone"], false);
        assert_eq!((paused.held.len(), paused.ready.actions.len()), (0, 0));
        let why = Why::Paused { since: Time(1), steps: 1 };
        assert!(paused.ready.left_alone.iter().any(|left| left.why == why));
    }
}
