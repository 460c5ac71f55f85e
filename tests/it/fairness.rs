//! What an event of a small organisation waits for while others keep the worker busy: judged by which requests come
//! before its own. How long it took is printed.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{
    ledger::Ledger,
    model::{Asks, Cause, OrgFacts, OrgId, Target, TeamId, TeamKey, Time},
};

use crate::support::world::World;

/// Nothing here hangs on how fast it is; what takes longer than this does not come.
const LONG: Duration = Duration::from_secs(60);

const CONNECTIONS: &str = "/api/v2/team/connections";

async fn ledger(world: &World) -> Ledger {
    teamlink::app::ledger(&world.settings).await.unwrap()
}

fn now() -> Time {
    Time::from(std::time::SystemTime::now())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A world of these organisations. `acme`, which is one of them, soon has a team `fresh`.
async fn world(orgs: &str) -> World {
    let world = World::new(3, &[("TEAMLINK_GITHUB__ORGS", orgs)]).await;
    world.seed(json!({"datadog_teams": [{"handle": "fresh", "name": "Fresh"}]})).await;
    world
}

/// An organisation that the ledger knows.
struct Org {
    facts: OrgFacts,
    teams: Vec<TeamId>,
}

impl Org {
    /// The organisation with this login, with so many teams more, each with a Datadog team of the same name if they are
    /// `wanted`.
    async fn new(world: &World, login: &str, teams: usize, wanted: bool) -> Self {
        let names: Vec<String> = (0..teams).map(|number| format!("{login} {number}")).collect();
        let seed: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        let handles: Vec<Value> = names
            .iter()
            .filter(|_| wanted)
            .map(|name| json!({"handle": name.replace(' ', "-"), "name": name}))
            .collect();
        world.seed(json!({"datadog_teams": handles})).await;
        let seed = json!({"orgs": [{"login": login, "teams": seed}]});
        let made = world.remote.seed(seed).await.unwrap();
        let made = &made["orgs"][0];
        let id = |it: &Value| it["id"].as_i64().unwrap();
        let facts = OrgFacts { id: OrgId(id(made)), login: login.to_owned() };
        ledger(world).await.bind_org(&facts, now()).await.unwrap();
        let teams = made["teams"].as_array().unwrap().iter().map(|team| TeamId(id(team))).collect();
        Self { facts, teams }
    }

    /// Marks teams of it.
    async fn mark(&self, world: &World, teams: usize, cause: Cause, asks: Asks) {
        let org = self.facts.id;
        let targets: Vec<Target> =
            self.teams.iter().take(teams).map(|&team| Target::Team(TeamKey { org, team })).collect();
        ledger(world).await.mark(&targets, cause, asks, now()).await.unwrap();
    }
}

/// An event of `acme`: a team that Datadog has a namesake of.
struct Event {
    /// The sequence number of the request that led to it.
    seq: u64,
    began: Instant,
}

impl Event {
    async fn happens(world: &World) -> Self {
        let began = Instant::now();
        world.github(Method::POST, "/orgs/acme/teams", json!({"name": "fresh"})).await;
        let made = |it: &Value| it["method"] == "POST" && it["path"] == "/orgs/acme/teams";
        let seq = world.requests(0).await.iter().find(|it| made(it)).unwrap()["seq"].as_u64().unwrap();
        Self { seq, began }
    }

    /// Waits until it is right. Returns the requests that came before the one that made it so, and that one.
    async fn right(self, world: &World) -> (Vec<Value>, Value) {
        let makes = |it: &Value| {
            it["path"] == CONNECTIONS
                && it["method"] == "POST"
                && it["body"].to_string().contains("@acme/fresh")
        };
        until("the event is right", async || world.requests(self.seq).await.iter().any(makes)).await;
        let took = self.began.elapsed();
        let mut requests = world.requests(self.seq).await;
        let at = requests.iter().position(makes).unwrap();
        let made = requests.remove(at);
        requests.truncate(at);
        println!("right after {:.1} s and {at} requests of anybody", took.as_secs_f64());
        (requests, made)
    }
}

fn count(requests: &[Value], of: impl Fn(&str, &str) -> bool) -> usize {
    let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    requests.iter().filter(|it| of(&text(it, "method"), &text(it, "path"))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_before_the_passes_of_five_organisations_that_began_earlier() {
    const TEAMS: usize = 2000;
    let mut world = world("acme,o1,o2,o3,o4,o5").await;
    Org::new(&world, "acme", 0, false).await;
    for login in ["o1", "o2", "o3", "o4", "o5"] {
        let org = Org::new(&world, login, TEAMS, true).await;
        org.mark(&world, TEAMS, Cause::Pass, Asks::PASS).await;
    }
    world.start().await;
    until("four of them are worked on", async || {
        let requests = world.requests(0).await;
        let posts = requests.iter().filter(|it| it["path"] == CONNECTIONS && it["method"] == "POST");
        let fences: BTreeSet<&str> = posts.filter_map(|it| it["fence"].as_str()).collect();
        fences.len() >= 4
    })
    .await;
    let event = Event::happens(&world).await;
    let (before, _) = event.right(&world).await;
    let batches = count(&before, |method, path| method == "POST" && path == CONNECTIONS);
    println!("{batches} batches of the passes came before it");
    assert!(batches <= 12, "{batches} batches of the passes came before the event's");
    world.stop().await;
}

/// An organisation that answers slowly is asked by more than there are permits, and `acme` has an event.
async fn slow(work: impl AsyncFnOnce(&World, &Org)) {
    const TEAMS: usize = 2500;
    let mut world = world("acme,large").await;
    Org::new(&world, "acme", 0, false).await;
    let large = Org::new(&world, "large", TEAMS, false).await;
    world.pass().await;
    world.start().await;
    let list = "/orgs/large/teams";
    let by_id = format!("/organizations/{}/team/*", large.facts.id);
    world
        .faults(json!([
            {"path": list, "times": 1},
            {"path": list, "latency_ms": 9000},
            {"path": by_id, "latency_ms": 9000},
        ]))
        .await;
    let since = world.seq().await;
    let slow = |requests: &[Value]| {
        count(requests, |_, path| path == list || path.starts_with(by_id.trim_end_matches('*')))
    };
    work(&world, &large).await;
    until("it is asked", async || slow(&world.requests(since).await) >= 7).await;
    let event = Event::happens(&world).await;
    let (before, _) = event.right(&world).await;
    let more = slow(&before);
    assert!(more < 7, "it waited until {more} slow answers had come");
    world.faults(json!([])).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_does_not_wait_for_a_pass_of_an_organisation_that_answers_slowly() {
    slow(async |world, large| {
        let whole = [Target::Org(large.facts.id)];
        ledger(world).await.mark(&whole, Cause::Pass, Asks::PASS, now()).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_does_not_wait_for_events_of_an_organisation_that_answers_slowly() {
    slow(async |world, large| large.mark(world, 20, Cause::Event, Asks::EVENT).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_does_not_wait_for_the_list_of_datadog_teams_that_a_pass_reads() {
    const TEAMS: usize = 1000;
    const LIST: &str = "/api/v2/team";
    let mut world = world("acme,large").await;
    Org::new(&world, "acme", 0, false).await;
    let large = Org::new(&world, "large", TEAMS, true).await;
    world.start().await;
    let slow = json!({"path": LIST, "latency_ms": 9000, "times": 3});
    world.faults(json!([{"path": LIST, "times": 1}, slow])).await;
    let since = world.seq().await;
    let pages = |requests: &[Value]| count(requests, |_, path| path == LIST);
    large.mark(&world, 100, Cause::Pass, Asks::PASS).await;
    until("it is read", async || pages(&world.requests(since).await) >= 4).await;
    let event = Event::happens(&world).await;
    let (before, _) = event.right(&world).await;
    // The one that the event itself needs is a search.
    assert!(pages(&before) < 3, "it waited for the list");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_uses_the_reserve_that_a_pass_in_its_organisation_has_left() {
    const TEAMS: usize = 150;
    let mut world = world("acme").await;
    let acme = Org::new(&world, "acme", TEAMS, true).await;
    let reset = std::time::SystemTime::now() + Duration::from_secs(3600);
    let reset = reset.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    let left = json!({
        "x-ratelimit-limit": "100", "x-ratelimit-remaining": "10", "x-ratelimit-period": "3600",
        "x-ratelimit-reset": reset,
    });
    world.faults(json!([{"path": "/org*", "headers": left}])).await;
    acme.mark(&world, TEAMS, Cause::Pass, Asks::PASS).await;
    let since = world.seq().await;
    world.start().await;
    until("the pass has used its share", async || {
        count(&world.requests(since).await, |_, path| path.starts_with("/organizations/")) > 0
    })
    .await;
    let event = Event::happens(&world).await;
    let (before, made) = event.right(&world).await;
    let pairs = made["body"]["data"].as_array().unwrap().len();
    assert_eq!(pairs, 1, "teams of the pass came with the event: {made}");
    let lists = count(&before, |method, path| method == "GET" && path == "/orgs/acme/teams");
    assert_eq!(lists, 0, "the reserve was used for the pass");
    assert!(ledger(&world).await.counts(now()).await.unwrap().due + 100 >= i64::try_from(TEAMS).unwrap());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_served_from_the_reserve_of_a_limit_whose_share_a_pass_has_used() {
    const LIMIT: usize = 50;
    // More pages than the pass may read: nine tenths of the limit.
    const TEAMS: usize = 5000;
    let mut world = world("acme,large").await;
    Org::new(&world, "acme", 0, false).await;
    let large = Org::new(&world, "large", TEAMS, false).await;
    world.start().await;
    let limits = json!({"github": {"requests": LIMIT, "seconds": 100_000_000}});
    world.remote.send(Method::PUT, "/_sandbox/limits", limits).await.unwrap();
    let since = world.seq().await;
    let asked = |requests: &[Value]| count(requests, |_, path| path.starts_with("/org"));
    ledger(&world).await.mark(&[Target::Org(large.facts.id)], Cause::Pass, Asks::PASS, now()).await.unwrap();
    until("the pass has used its share", async || asked(&world.requests(since).await) >= LIMIT - LIMIT / 10)
        .await;
    let event = Event::happens(&world).await;
    let (before, _) = event.right(&world).await;
    let few = asked(&before);
    assert!(few <= 2, "{few} requests came before the event's");
    let refused = |it: &&Value| it["status"] == 429 || it["status"] == 403;
    assert_eq!(world.requests(since).await.iter().find(refused), None, "the limit was hit");
    world.stop().await;
}
