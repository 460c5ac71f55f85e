//! Random histories: what an operator sets, what happens at GitHub and in Datadog, and what goes wrong meanwhile.

use std::time::Duration;

use rand::{
    RngExt,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use serde_json::{Value, json};
use teamlink::{
    mapping::RuleSpec,
    model::{MissingTeam, Mode},
    plan::Limits,
};

use super::world::{OURS, Setup};

/// Names that teams are given; few, so that slugs are taken over and exchanged.
pub const NAMES: [&str; 10] =
    ["Core", "Data", "Edge", "Infra", "Kernel", "Mobile", "Platform", "Search", "Security", "Web"];

/// How far back a stale answer lies at most.
pub const STALE: Duration = Duration::from_secs(20);

pub fn one_of<T: Copy>(dice: &mut StdRng, of: &[T]) -> T {
    *of.choose(dice).unwrap()
}

/// What an operator may have set.
pub fn setup(dice: &mut StdRng, stale: bool) -> Setup {
    let window = Duration::from_secs(3600);
    Setup {
        rules: rules(dice),
        mode: one_of(dice, &[Mode::Sync, Mode::Sync, Mode::Sync, Mode::Sync, Mode::Upsert, Mode::Observe]),
        missing_team: one_of(dice, &[MissingTeam::Report, MissingTeam::Create]),
        limits: Limits {
            max_share: one_of(dice, &[0.0, 0.3, 0.5, 1.0, 1.0, 1.0]),
            above: one_of(dice, &[0, 2, 10]),
            max_removals: one_of(dice, &[0, 1, 2, 50, 50, 50]),
        },
        max_per_window: one_of(dice, &[0, 1, 2, 100, 100, 100]),
        window,
        // Two looks only prove anything when they are further apart than replicas lag.
        grace: if stale {
            Duration::from_secs(60)
        } else {
            one_of(dice, &[Duration::ZERO, Duration::from_secs(60)])
        },
        protected: if dice.random_bool(0.3) { vec!["acme/s*".to_owned()] } else { Vec::new() },
        observed: Vec::new(),
        first_creates: one_of(dice, &[0, 3, 250, 250, 250]),
        orgs: Vec::new(),
        managed_by: OURS,
        page: 100,
    }
}

/// Rules: mostly the default; sometimes a typo that unmaps everything, or one that maps all teams to one.
pub fn rules(dice: &mut StdRng) -> Vec<RuleSpec> {
    match dice.random_range(0..20) {
        0 => vec![RuleSpec::handles("acmee/*", ["{slug}"])],
        1 => vec![RuleSpec::handles("acme/*", ["core"])],
        2 => vec![RuleSpec::ignore("acme/*a*"), RuleSpec::handles("acme/*", ["{slug}"])],
        3 => vec![RuleSpec::handles("acme/*", ["{slug}", "core"])],
        _ => Vec::new(),
    }
}

/// Something that happens.
#[derive(Debug)]
pub enum Happening {
    /// A GitHub team is made; its Datadog team is there, or not.
    Created {
        name: &'static str,
        known: bool,
    },
    Renamed {
        which: usize,
        name: &'static str,
    },
    Deleted {
        which: usize,
    },
    /// Deleted, and made again under the same name.
    Remade {
        which: usize,
    },
    /// Two teams exchange their names.
    Swapped {
        one: usize,
        other: usize,
    },
    /// Somebody connects a team by hand, with a mark of their own or with ours.
    Connected {
        which: usize,
        to: usize,
        ours: bool,
    },
    /// Somebody disconnects something.
    Disconnected {
        which: usize,
    },
    /// A Datadog team is made for a name.
    DatadogTeam {
        name: &'static str,
    },
    /// A Datadog team is called otherwise, or is deleted.
    DatadogRenamed {
        which: usize,
        name: &'static str,
    },
    DatadogGone {
        which: usize,
    },
    /// The organisation is renamed.
    OrgRenamed(&'static str),
    /// A person pauses a team, or all; or ends every pause.
    Paused {
        which: Option<usize>,
    },
    Resumed,
    /// A person takes over what others have made.
    Adopted,
    /// The rules change.
    Rules(Vec<RuleSpec>),
}

pub fn happening(dice: &mut StdRng) -> Happening {
    let (which, name) = (dice.random_range(0..20), one_of(dice, &NAMES));
    match dice.random_range(0..27) {
        0..3 => Happening::Created { name, known: dice.random_bool(0.6) },
        3..7 => Happening::Renamed { which, name },
        7..12 => Happening::Deleted { which },
        12 => Happening::Remade { which },
        13 => Happening::Swapped { one: which, other: dice.random_range(0..20) },
        14..16 => Happening::Connected { which, to: dice.random_range(0..20), ours: dice.random_bool(0.3) },
        16 => Happening::Disconnected { which },
        17 => Happening::DatadogTeam { name },
        18 => Happening::Rules(rules(dice)),
        19 => Happening::DatadogRenamed { which, name },
        20 => Happening::DatadogGone { which },
        21 => Happening::OrgRenamed(one_of(dice, &["newco", "acme", "other"])),
        22 => Happening::Paused { which: dice.random_bool(0.7).then_some(which) },
        23 | 24 => Happening::Resumed,
        25 => Happening::Adopted,
        _ => Happening::Deleted { which },
    }
}

/// Something that happens at GitHub, and is told.
pub fn at_github(dice: &mut StdRng) -> Happening {
    let (which, name) = (dice.random_range(0..20), one_of(dice, &NAMES));
    match dice.random_range(0..6) {
        0 => Happening::Created { name, known: false },
        1 | 2 => Happening::Renamed { which, name },
        3 => Happening::Deleted { which },
        4 => Happening::Remade { which },
        _ => Happening::Swapped { one: which, other: dice.random_range(0..20) },
    }
}

/// What goes wrong while the worker looks: nothing, one thing, or some.
pub fn faults(dice: &mut StdRng, stale: bool, narrow: bool) -> Vec<Value> {
    let mut faults: Vec<Value> = (0..dice.random_range(0..4)).map(|_| fault(dice, stale)).collect();
    if narrow && dice.random_bool(0.5) {
        // Secret teams, which this credential may not see.
        faults.push(json!({"method": "GET", "path": "/organizations/*/team/*", "status": 404, "times": dice.random_range(1..9)}));
    }
    faults.shuffle(dice);
    faults
}

fn fault(dice: &mut StdRng, stale: bool) -> Value {
    let get = |path: &str, what: Value| {
        let mut fault = json!({"method": "GET", "path": path});
        fault.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        fault
    };
    let github =
        one_of(dice, &["/orgs/*/teams", "/organizations/*", "/organizations/*/team/*", "/orgs/*", "/or*"]);
    let datadog = one_of(dice, &["/api/v2/team", "/api/v2/team/connections", "/api/v2/team*"]);
    let write = one_of(dice, &["POST", "DELETE"]);
    let refusal = one_of(dice, &[400, 403, 404, 409, 429, 500, 503]);
    let mut fault = match dice.random_range(0..16) {
        0 => get(github, json!({"status": one_of(dice, &[500, 502, 503])})),
        1 => get(github, json!({"status": 403})),
        2 | 3 => get("/orgs/*/teams", json!({"empty": true})),
        4 | 5 => get("/orgs/*/teams", json!({"truncate": true})),
        6 | 7 if stale => get(github, json!({"stale_ms": dice.random_range(1..STALE.as_millis() as u64)})),
        6 | 7 => get("/user/*", json!({"status": one_of(dice, &[403, 404, 500])})),
        // The organisation renamed, or out of sight: its login, its id, or all of it.
        8 => get("/orgs/*", json!({"status": 404})),
        9 => get("/organizations/*", json!({"status": 404})),
        10 => get("/or*", json!({"status": 404})),
        11 => get(datadog, json!({"empty": true})),
        12 => get(datadog, json!({"truncate": true})),
        13 => get(datadog, json!({"status": one_of(dice, &[403, 429, 500])})),
        14 => json!({"method": write, "path": "/api/v2/team*", "status": refusal}),
        // The write is carried out, and its answer is lost.
        _ => json!({"method": write, "path": "/api/v2/team*", "reset": true}),
    };
    // A login or an id that is out of sight is so for every question: answers that contradict each other by chance
    // would be a GitHub that proves what is not so.
    let consistent = fault["method"] == "GET" && fault["status"] == 404;
    if consistent {
        return fault;
    }
    if dice.random_bool(0.5) {
        fault["times"] = json!(dice.random_range(1..4));
    } else if dice.random_bool(0.3) {
        fault["probability"] = json!(0.5);
    }
    fault
}

/// Whether this fault may hide connections that there are.
pub fn hides_connections(fault: &Value) -> bool {
    let hides = ["empty", "truncate"].iter().any(|how| fault[how] == true) || fault["stale_ms"].is_number();
    hides && fault["path"].as_str().is_some_and(|path| path.starts_with("/api/v2/team"))
}
