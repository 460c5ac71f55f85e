//! What a wide world begins with, what happens in it, and what goes wrong.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};
use teamlink::{
    mapping::RuleSpec,
    model::{MissingTeam, Mode},
    plan::Limits,
};

use super::{
    features::{Feature, Features},
    world::Beginning,
};
use crate::{
    script::one_of,
    world::{OURS, Setup, THEIRS},
};

/// Names of teams, of which each organisation has some: slugs are the same in several.
pub const NAMES: [&str; 7] = ["Core", "Data", "Edge", "Infra", "Search", "Security", "Web"];

/// Logins that organisations have one after the other.
const LOGINS: [&str; 5] = ["acme", "globex", "initech", "acme-legacy", "newco"];

/// The mark that we had before, or have afterwards.
pub const OTHER_MARK: &str = "teamlink-2";

const SECOND: i64 = 1_000_000;

/// By how much a wall clock is set forward, in microseconds.
const STEPS: [i64; 5] = [SECOND, 10 * SECOND, 60 * SECOND, 3600 * SECOND, 86_400 * SECOND];

fn step(dice: &mut StdRng) -> i64 {
    one_of(dice, &STEPS) * one_of(dice, &[-1, 1])
}

/// How a world begins.
pub fn beginning(seed: u64, dice: &mut StdRng, features: Features) -> Beginning {
    let setup = setup(dice, &features);
    let latency = Duration::from_millis(one_of(dice, &[0, 5, 30]));
    let limits = limits(dice, &features);
    let (stale, off) = (dice.random_range(0..10_000), one_of(dice, &[-2, -1, 1, 3]));
    let always_off = dice.random_bool(0.5);
    let mut standing = Vec::new();
    let mut connections = json!({"method": "GET", "path": "/api/v2/team/connections"});
    if features.has(Feature::Lag) {
        connections["stale_ms"] = json!(stale);
    }
    if features.has(Feature::Totals) && always_off {
        connections["total_off"] = json!(off);
        standing.push(json!({"method": "GET", "path": "/api/v2/team", "total_off": off}));
    }
    if connections.as_object().unwrap().len() > 2 {
        standing.push(connections);
    }
    let content = content(dice, &features);
    let (apart, passes) = (step(dice), dice.random_bool(0.5));
    Beginning { seed, features, setup, latency, standing, limits, content, apart, passes }
}

fn setup(dice: &mut StdRng, features: &Features) -> Setup {
    let guard = features.has(Feature::Guard);
    let tight = Setup {
        rules: rules(dice),
        mode: mode(dice),
        missing_team: MissingTeam::Report,
        limits: Limits {
            max_share: one_of(dice, &[0.3, 0.5, 0.5, 1.0]),
            above: one_of(dice, &[0, 2, 10]),
            max_removals: one_of(dice, &[1, 2, 50]),
        },
        max_per_window: one_of(dice, &[1, 3, 100]),
        window: Duration::from_secs(one_of(dice, &[600, 3600])),
        grace: Duration::from_secs(one_of(dice, &[2, 10, 25])),
        protected: protected(dice),
        observed: Vec::new(),
        first_creates: one_of(dice, &[3, 250, 250, 250]),
        orgs: served(dice, features.has(Feature::Some)),
        managed_by: OURS,
        page: if features.has(Feature::Limits) { one_of(dice, &[2, 3, 5]) } else { 100 },
    };
    Setup {
        rules: if features.has(Feature::Rules) { tight.rules } else { Vec::new() },
        mode: if features.has(Feature::Modes) { tight.mode } else { Mode::Sync },
        protected: if features.has(Feature::Protected) { tight.protected } else { Vec::new() },
        limits: if guard { tight.limits } else { Limits { max_share: 1.0, above: 0, max_removals: 50 } },
        max_per_window: if guard { tight.max_per_window } else { 100 },
        observed: Vec::new(),
        first_creates: if guard { tight.first_creates } else { 250 },
        ..tight
    }
}

fn limits(dice: &mut StdRng, features: &Features) -> Value {
    let mut limit =
        |status: Value| json!({"requests": one_of(dice, &[6, 10, 15]), "seconds": 5, "status": status});
    let limits = json!({"github": limit(json!(403)), "datadog": limit(Value::Null)});
    let which = dice.random_range(0..3);
    if !features.has(Feature::Limits) {
        return json!({});
    }
    match which {
        0 => limits,
        1 => json!({"github": limits["github"]}),
        _ => json!({"datadog": limits["datadog"]}),
    }
}

/// `github.orgs`.
pub fn served(dice: &mut StdRng, some: bool) -> Vec<String> {
    let (first, second) = (one_of(dice, &["acme", "globex", "initech"]), one_of(dice, &LOGINS));
    let all = dice.random_bool(0.5);
    let names: Vec<&str> = match (some, all) {
        (true, true) => vec![first],
        (true, false) => vec![first, second],
        (false, true) => Vec::new(),
        (false, false) => vec!["acme", "globex", "initech"],
    };
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    names.dedup();
    names
}

pub fn mode(dice: &mut StdRng) -> Mode {
    one_of(dice, &[Mode::Sync, Mode::Sync, Mode::Upsert, Mode::Observe])
}

pub fn protected(dice: &mut StdRng) -> Vec<String> {
    let globs = ["acme/s*", "acme/c*", "globex/*", "*/infra"];
    vec![one_of(dice, &globs).to_owned()]
}

pub fn rules(dice: &mut StdRng) -> Vec<RuleSpec> {
    match dice.random_range(0..7) {
        0 => vec![RuleSpec::handles("*/*", ["{slug}"])],
        1 => vec![RuleSpec::handles("acme/*", ["{slug}"])],
        2 => vec![RuleSpec::handles("*/*", ["{org}-{slug}"])],
        3 => vec![RuleSpec::ignore("*/s*"), RuleSpec::handles("*/*", ["{slug}"])],
        4 => vec![RuleSpec::handles("acme/*", ["{slug}", "core"]), RuleSpec::handles("*/*", ["{slug}"])],
        _ => Vec::new(),
    }
}

/// Organisations with their teams, and Datadog's teams for them.
fn content(dice: &mut StdRng, features: &Features) -> Value {
    let mut orgs = Vec::new();
    let count = if dice.random_bool(0.4) { 3 } else { 2 };
    for (index, login) in LOGINS.iter().take(count).enumerate() {
        let mut names = NAMES;
        names.shuffle(dice);
        let more = if features.has(Feature::Limits) { NAMES.len() } else { dice.random_range(2..6) };
        let mut teams: Vec<Value> = names[..more].iter().map(|name| json!({"name": name})).collect();
        let enterprise = one_of(dice, &NAMES);
        if features.has(Feature::Limits) && index == 0 {
            teams.extend((1..6).map(|number| json!({"name": format!("Squad {number}")})));
        }
        let login = if features.has(Feature::Case) && index == 0 { "Acme" } else { *login };
        let mut org = json!({"login": login, "teams": teams});
        if features.has(Feature::Enterprise) && index < 2 {
            org["enterprise_teams"] = json!([{"name": enterprise}]);
        }
        orgs.push(org);
    }
    if !features.has(Feature::Orgs) {
        orgs.truncate(1);
    }
    let plain = NAMES.iter().map(|name| (name.to_lowercase(), (*name).to_owned()));
    let squads = (1..6).map(|number| (format!("squad-{number}"), format!("Squad {number}")));
    let of_orgs = ["acme", "globex", "acme-legacy"].into_iter().flat_map(|login| {
        ["core", "data", "security"].map(|slug| (format!("{login}-{slug}"), format!("{login} {slug}")))
    });
    let of_enterprise =
        NAMES.iter().map(|name| (format!("ent:{}", name.to_lowercase()), format!("Enterprise {name}")));
    let all = plain
        .chain(squads.filter(|_| features.has(Feature::Limits)))
        .chain(of_orgs)
        .chain(of_enterprise.filter(|_| features.has(Feature::Enterprise)));
    let datadog: Vec<Value> = all.map(|(handle, name)| json!({"handle": handle, "name": name})).collect();
    json!({"orgs": orgs, "datadog_teams": datadog})
}

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Happening {
    Nothing,
    Created {
        org: usize,
        name: &'static str,
    },
    Renamed {
        org: usize,
        which: usize,
        name: &'static str,
    },
    Deleted {
        org: usize,
        which: usize,
    },
    TeamRemade {
        org: usize,
        which: usize,
    },
    Swapped {
        org: usize,
        one: usize,
        other: usize,
    },
    /// An organisation is called otherwise, if the login is free.
    LoginChanged {
        org: usize,
        login: &'static str,
    },
    /// An organisation takes the login of another, which is called otherwise from then on.
    LoginHandedOver {
        from: usize,
        to: usize,
    },
    LoginsSwapped {
        one: usize,
        other: usize,
    },
    OrgDeleted {
        org: usize,
    },
    /// A deleted organisation's login is that of a new one.
    OrgRemade {
        login: &'static str,
    },
    Connected {
        which: usize,
        to: usize,
        by: &'static str,
    },
    Disconnected {
        which: usize,
    },
    /// A connection beside one that there is, whose key differs in case.
    Twin {
        which: usize,
    },
    DatadogRenamed {
        which: usize,
        name: &'static str,
    },
    DatadogGone {
        which: usize,
    },
    Served(Vec<String>),
    Rules(Vec<RuleSpec>),
    Mark(&'static str),
    Protected(Vec<String>),
    Mode(Mode),
    PausedAll,
    PausedOrg {
        org: usize,
    },
    PausedTeam {
        org: usize,
        which: usize,
    },
    Resumed,
    Stepped {
        machine: usize,
        by: i64,
    },
    Approved {
        org: usize,
    },
    Adopted,
    Killed,
    SecondWorks {
        seconds: u64,
    },
}

impl Happening {
    /// What a world must have for it.
    fn needs(&self) -> Option<Feature> {
        Some(match self {
            Self::LoginChanged { .. } | Self::LoginHandedOver { .. } | Self::LoginsSwapped { .. } => {
                Feature::Logins
            }
            Self::OrgDeleted { .. } | Self::OrgRemade { .. } => Feature::Remade,
            Self::Connected { .. } | Self::Disconnected { .. } => Feature::Writers,
            Self::Twin { .. } => Feature::Case,
            Self::DatadogRenamed { .. } | Self::DatadogGone { .. } => Feature::Handles,
            Self::Served(_) => Feature::Served,
            Self::Rules(_) => Feature::Rules,
            Self::Mark(_) => Feature::Marks,
            Self::Protected(_) => Feature::Protected,
            Self::Mode(_) => Feature::Modes,
            Self::PausedAll | Self::PausedOrg { .. } | Self::PausedTeam { .. } | Self::Resumed => {
                Feature::Pauses
            }
            Self::Stepped { .. } => Feature::Clocks,
            Self::Approved { .. } => Feature::Approvals,
            Self::Adopted => Feature::Adoptions,
            Self::Killed => Feature::Kills,
            Self::SecondWorks { .. } => Feature::Two,
            _ => return None,
        })
    }

    /// The same, or nothing where the world has none of it.
    pub fn within(self, features: &Features) -> Self {
        // A person's command tries for 30 s of true time what fails, and no simulated clock shortens that.
        let patient = matches!(self, Self::Adopted)
            && [Feature::Lag, Feature::Totals, Feature::Limits, Feature::Two]
                .iter()
                .any(|it| features.has(*it));
        let has = self.needs().is_none_or(|feature| features.has(feature));
        if has && !patient { self } else { Self::Nothing }
    }
}

/// Something that happens at GitHub or Datadog, or to a machine: at any moment.
pub fn any_time(dice: &mut StdRng) -> Happening {
    let (org, which) = (dice.random_range(0..6), dice.random_range(0..30));
    let (name, other) = (one_of(dice, &NAMES), dice.random_range(0..30));
    match dice.random_range(0..36) {
        0..3 => Happening::Created { org, name },
        3..7 => Happening::Renamed { org, which, name },
        7..11 => Happening::Deleted { org, which },
        11 => Happening::TeamRemade { org, which },
        12 => Happening::Swapped { org, one: which, other },
        13..15 => Happening::LoginChanged { org, login: one_of(dice, &LOGINS) },
        15..18 => Happening::LoginHandedOver { from: org, to: other },
        18 => Happening::LoginsSwapped { one: org, other },
        19 => Happening::OrgDeleted { org },
        20 => Happening::OrgRemade { login: one_of(dice, &LOGINS[..3]) },
        21..24 => Happening::Connected { which, to: other, by: one_of(dice, &[THEIRS, THEIRS, OURS]) },
        24..27 => Happening::Disconnected { which },
        27 | 28 => Happening::Twin { which },
        29 => Happening::DatadogRenamed { which, name },
        30 => Happening::DatadogGone { which },
        31..33 => Happening::Stepped { machine: which, by: step(dice) },
        33 | 34 => Happening::Killed,
        _ => Happening::SecondWorks { seconds: one_of(dice, &[1, 10, 40]) },
    }
}

/// A new team.
pub fn created(dice: &mut StdRng) -> Happening {
    Happening::Created { org: dice.random_range(0..6), name: one_of(dice, &NAMES) }
}

/// Something that happens to a team, its organisation or its connection while a write of that connection is under way.
pub fn chase(dice: &mut StdRng, (org, which): (usize, usize), connection: usize) -> Happening {
    let (name, login) = (one_of(dice, &NAMES), one_of(dice, &LOGINS));
    match dice.random_range(0..6) {
        0..3 => Happening::Renamed { org, which, name },
        3 => Happening::LoginChanged { org, login },
        4 => Happening::Disconnected { which: connection },
        _ => Happening::Deleted { org, which },
    }
}

/// Something that an operator does, while no worker is in the middle of something.
pub fn operated(dice: &mut StdRng, features: &Features) -> Happening {
    let (org, which) = (dice.random_range(0..6), dice.random_range(0..30));
    match dice.random_range(0..14) {
        0 => Happening::Served(served(dice, features.has(Feature::Some) || which % 2 == 0)),
        1 => Happening::Rules(rules(dice)),
        2 => Happening::Mark(one_of(dice, &[OURS, OTHER_MARK])),
        3 => Happening::Protected(protected(dice)),
        4 => Happening::Mode(mode(dice)),
        5 => Happening::PausedAll,
        6 | 7 => Happening::PausedOrg { org },
        8 => Happening::PausedTeam { org, which },
        9 => Happening::Resumed,
        10..13 => Happening::Approved { org },
        _ => Happening::Adopted,
    }
}

/// What goes wrong for a while, as far as the world has it.
pub fn faults(dice: &mut StdRng, features: &Features) -> Vec<Value> {
    let mut faults = Vec::new();
    for _ in 0..dice.random_range(0..4) {
        let (feature, fault) = fault(dice);
        if features.has(feature) {
            faults.push(fault);
        }
    }
    // Where its id lies, the list is right: of a team that is renamed meanwhile, GitHub would say nothing that is true.
    if faults.iter().any(|fault| fault["path"] == "/organizations/*/team/*" && fault["status"] == 404) {
        faults.retain(|fault| !fault["lacks"].is_string());
    }
    faults
}

/// A fault by which Datadog carries writes out after their senders stopped waiting for the answers.
pub fn late(dice: &mut StdRng, features: &Features) -> Option<Value> {
    let method = one_of(dice, &[None, Some("POST"), Some("DELETE"), Some("DELETE")]);
    let chased = features.has(Feature::Chased).then_some("POST");
    let method = method.or(chased)?;
    let late = json!({"method": method, "path": "/api/v2/team/connections", "late": true});
    features.has(Feature::Late).then_some(late)
}

fn fault(dice: &mut StdRng) -> (Feature, Value) {
    let slug = one_of(dice, &NAMES).to_lowercase();
    let reads = one_of(
        dice,
        &[
            "/orgs/*/teams",
            "/organizations/*/team/*",
            "/orgs/*",
            "/organizations/*",
            "/api/v2/team",
            "/api/v2/team/connections",
            "/or*",
            "/api/v2/team*",
        ],
    );
    let (write, off) = (one_of(dice, &["POST", "DELETE"]), one_of(dice, &[-1, 1, 2]));
    let (down, refused) = (one_of(dice, &[500, 502, 503]), one_of(dice, &[401, 403, 404]));
    let (some, times, probability) = (dice.random_range(0..3), dice.random_range(1..5), 0.5);
    let (feature, mut fault) = match dice.random_range(0..15) {
        0 | 1 => (Feature::ById, json!({"method": "GET", "path": "/organizations/*/team/*", "status": 404})),
        2 => (Feature::BySlug, json!({"method": "GET", "path": "/orgs/*/teams/*", "status": 404})),
        3 | 4 => (Feature::Lists, json!({"method": "GET", "path": "/orgs/*/teams", "lacks": slug})),
        5 => (Feature::Totals, json!({"method": "GET", "path": "/api/v2/team*", "total_off": off})),
        6..9 => (Feature::Failures, json!({"method": "GET", "path": reads, "status": down})),
        9 => (
            Feature::Failures,
            json!({"method": "GET", "path": "/api/v2/team/connections", "status": refused}),
        ),
        10 => (Feature::Failures, json!({"method": "GET", "path": "/orgs/*/teams", "status": 403})),
        11 | 12 => {
            (Feature::Failures, json!({"method": write, "path": "/api/v2/team/connections", "status": down}))
        }
        13 => {
            (Feature::Failures, json!({"method": write, "path": "/api/v2/team/connections", "status": 429}))
        }
        // The write is carried out, and its answer is lost.
        _ => (Feature::Failures, json!({"method": write, "path": "/api/v2/team/connections", "reset": true})),
    };
    match some {
        0 if feature == Feature::Failures => fault["times"] = json!(times),
        1 if feature == Feature::Failures => fault["probability"] = json!(probability),
        _ => {}
    }
    (feature, fault)
}
