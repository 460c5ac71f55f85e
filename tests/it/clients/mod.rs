//! The clients of both upstreams against the sandbox: what they ask, how often, and what they make of answers
//! that are late, cut, refused or nonsense.

mod documents;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use teamlink::{
    datadog::{self, Filter, NewConnection},
    github,
    model::{
        Answer, Class, Connection, ConnectionId, DatadogTeamId, Fence, GithubHandle, Lane, OrgId, TeamId,
        Trouble,
    },
    operate::check::{self, Verdict},
    sandbox::{self, Remote},
    transport,
};

/// A sandbox, and a client of it that may look behind the two services.
struct World {
    sandbox: sandbox::Sandbox,
    remote: Remote,
}

impl World {
    async fn start() -> Self {
        let sandbox = sandbox::start(sandbox::Options::default()).await.unwrap();
        let remote = Remote::new(sandbox.url()).unwrap();
        Self { sandbox, remote }
    }

    fn url(&self) -> reqwest::Url {
        self.sandbox.url().parse().unwrap()
    }

    async fn seed(&self, seed: Value) {
        self.remote.seed(seed).await.unwrap();
    }

    async fn faults(&self, faults: Value) {
        self.remote.faults(faults).await.unwrap();
    }

    /// Every request so far.
    async fn requests(&self) -> Vec<Value> {
        self.remote.requests(0).await.unwrap()
    }

    /// The statuses of the requests so far to paths that end so.
    async fn statuses(&self, path: &str) -> Vec<u64> {
        let requests = self.requests().await;
        let to = requests.iter().filter(|request| request["path"].as_str().unwrap().ends_with(path));
        to.map(|request| request["status"].as_u64().unwrap()).collect()
    }

    fn github_options(&self) -> github::Options {
        github::Options {
            base_url: self.url(),
            auth: github::Auth::Token("token".into()),
            http: transport::client(&self.url(), None).unwrap(),
            clock: Default::default(),
            concurrency: 8,
            timeout: Duration::from_secs(5),
        }
    }

    fn github(&self) -> github::Reader {
        github::Reader::new(self.github_options()).unwrap()
    }

    fn datadog_options(&self) -> datadog::Options {
        datadog::Options {
            base_url: self.url(),
            auth: datadog::Auth::Keys { api: "api".into(), app: "app".into() },
            managed_by: "teamlink".into(),
            timeout: Duration::from_secs(5),
            concurrency: 4,
            http: transport::client(&self.url(), None).unwrap(),
        }
    }

    fn datadog(&self) -> (datadog::Reader, datadog::Writer) {
        let options = self.datadog_options();
        (datadog::Reader::new(&options).unwrap(), datadog::Writer::new(&options).unwrap())
    }

    /// One Datadog team, and this many connections of it to GitHub teams `@acme/team-N`.
    async fn connected(&self, count: usize) -> (DatadogTeamId, Vec<Connection>) {
        self.seed(json!({"datadog_teams": [{"handle": "core", "name": "Core"}]})).await;
        let (reader, writer) = self.datadog();
        let team = reader.teams().await.unwrap().remove(0).id;
        let mut made = Vec::new();
        let new: Vec<_> = (0..count).map(|n| new_connection(&team, &format!("team-{n}"))).collect();
        for batch in new.chunks(50) {
            made.extend(writer.create(batch, None).await.unwrap());
        }
        (team, made)
    }
}

fn new_connection(team: &DatadogTeamId, slug: &str) -> NewConnection {
    NewConnection { datadog_team: team.clone(), github: GithubHandle::new("acme", slug) }
}

fn teams(count: usize) -> Value {
    let teams: Vec<_> = (0..count).map(|n| json!({"name": format!("Team {n}")})).collect();
    json!({"orgs": [{"login": "acme", "teams": teams}]})
}

fn present<T: std::fmt::Debug>(answer: Answer<T>) -> T {
    match answer {
        Answer::Present(value) => value,
        other => panic!("not present: {other:?}"),
    }
}

fn failed<T: std::fmt::Debug>(answer: Answer<T>) -> Trouble {
    match answer {
        Answer::Failed(trouble) => trouble,
        other => panic!("not failed: {other:?}"),
    }
}

fn forbidden<T: std::fmt::Debug>(answer: Answer<T>) -> Trouble {
    match answer {
        Answer::Forbidden(trouble) => trouble,
        other => panic!("not forbidden: {other:?}"),
    }
}

#[tokio::test]
async fn all_teams_of_an_org_are_read_in_pages_and_cost_nothing_while_unchanged() {
    let world = World::start().await;
    world.seed(teams(250)).await;
    let github = world.github();
    let first = present(github.teams("acme", None).await);
    assert_eq!(first.len(), 250);
    assert_eq!(present(github.teams("acme", None).await), first);
    let mut statuses = world.statuses("/orgs/acme/teams").await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 304, 304, 304]);
}

#[tokio::test]
async fn a_team_read_by_id_is_followed_through_a_rename() {
    let world = World::start().await;
    world.seed(json!({"orgs": [{"login": "acme", "teams": [{"name": "Core"}, {"name": "Db", "parent": "core"}]}]})).await;
    let github = world.github();
    let org = present(github.org_by_login("acme").await);
    assert_eq!(present(github.org(org.id).await), org);
    let core = present(github.team_by_slug("acme", "core").await);
    assert_eq!(present(github.team_by_slug("acme", "db").await).parent, Some(core.id));

    assert_eq!(present(github.team(org.id, core.id).await), core);
    assert_eq!(present(github.team(org.id, core.id).await), core);
    world.remote.send(Method::PATCH, "/orgs/acme/teams/core", json!({"name": "Kernel"})).await.unwrap();
    assert_eq!(present(github.team(org.id, core.id).await).slug, "kernel");
    assert_eq!(world.statuses(&format!("/team/{}", core.id)).await, [200, 304, 200]);
    assert_eq!(github.team_by_slug("acme", "core").await, Answer::Absent);
}

#[tokio::test]
async fn only_one_thing_that_is_not_found_is_absent() {
    let world = World::start().await;
    world.seed(teams(1)).await;
    let github = world.github();
    let org = present(github.org_by_login("acme").await).id;
    assert_eq!(github.team(org, TeamId(987_654_321)).await, Answer::Absent);
    assert_eq!(github.team_by_slug("acme", "nobody").await, Answer::Absent);
    assert_eq!(github.org(OrgId(987_654_321)).await, Answer::Absent);
    assert_eq!(github.org_by_login("nobody").await, Answer::Absent);
    // What a person typed stays one segment of the path.
    assert_eq!(github.team_by_slug("acme", "team-0/../../x").await, Answer::Absent);
    assert_eq!(forbidden(github.teams("nobody", None).await).status, Some(404));
    // What was refused is not asked again at once.
    assert!(forbidden(github.teams_answer("nobody").await).blocked);
    assert_eq!(forbidden(world.github().teams_answer("nobody").await).status, Some(404));
    present(github.teams_answer("acme").await);
    assert!(present(github.owner("acme").await));
    assert!(!present(github.whoami().await).login.is_empty());

    for (fault, class) in [
        (json!({"status": 500}), Class::Transient),
        (json!({"status": 200, "body": "<html>"}), Class::Invalid),
        (json!({"reset": true}), Class::Transient),
        (json!({"status": 429, "headers": {"retry-after": "7"}}), Class::Throttled),
        (json!({"status": 422}), Class::Permanent),
    ] {
        let mut fault = fault;
        fault["path"] = json!("*");
        world.faults(json!([fault])).await;
        let github = world.github();
        assert_eq!(failed(github.team(org, TeamId(1)).await).class, class, "{fault}");
        assert_eq!(failed(github.teams("acme", None).await).class, class, "{fault}");
    }
    world.faults(json!([{"path": "*", "status": 403, "body": {"message": "Resource not accessible by integration"}}])).await;
    assert_eq!(forbidden(github.team(org, TeamId(1)).await).class, Class::Auth);
}

#[tokio::test]
async fn what_a_login_shows_of_another_organisation_is_no_team_of_the_one_that_had_it() {
    let world = World::start().await;
    let orgs =
        json!([{"login": "acme", "teams": [{"name": "A"}]}, {"login": "globex", "teams": [{"name": "A"}]}]);
    world.seed(json!({"orgs": orgs})).await;
    let github = world.github();
    let acme = present(github.org_by_login("acme").await);
    assert_eq!(present(github.list_teams(&acme, None).await).items.len(), 1);
    assert_eq!(present(github.team_of(&acme, "a").await).unwrap().slug, "a");
    for (login, new) in [("acme", "acme-legacy"), ("globex", "acme")] {
        let path = format!("/orgs/{login}");
        world.remote.send(Method::PATCH, &path, json!({"login": new})).await.unwrap();
    }
    let trouble = failed(github.list_teams(&acme, None).await);
    assert_eq!(trouble.class, Class::Transient);
    assert!(trouble.message.contains("not of org"), "{trouble}");
    assert_eq!(present(github.team_of(&acme, "a").await).unwrap_err().class, Class::Transient);
    let taker = present(github.org_by_login("acme").await);
    assert_eq!(present(github.list_teams(&taker, None).await).items.len(), 1);
}

#[tokio::test]
async fn a_team_list_with_one_failing_page_is_no_list() {
    let world = World::start().await;
    world.seed(teams(250)).await;
    world.faults(json!([{"path": "/orgs/acme/teams", "times": 1}, {"path": "/orgs/acme/teams", "times": 1, "status": 502}])).await;
    assert_eq!(failed(world.github().teams("acme", None).await).class, Class::Transient);
}

#[tokio::test]
async fn a_team_list_that_is_cut_before_its_last_page_is_no_list() {
    let world = World::start().await;
    world.seed(teams(250)).await;
    world
        .faults(
            json!([{"path": "/orgs/acme/teams", "times": 1}, {"path": "/orgs/acme/teams", "truncate": true}]),
        )
        .await;
    let trouble = failed(world.github().teams("acme", None).await);
    assert!(trouble.message.contains("page 2 of 3 said it was the last"), "{trouble}");
}

#[tokio::test]
async fn all_connections_are_read_in_pages_of_one_hundred() {
    let world = World::start().await;
    let (_, made) = world.connected(250).await;
    let (reader, _) = world.datadog();
    let listed = reader.connections(&Filter::default()).await.unwrap();
    assert_eq!(ids(&listed), ids(&made));
    let requests = world.requests().await;
    let mut pages: Vec<_> = requests
        .iter()
        .filter(|request| request["path"] == "/api/v2/team/connections" && request["method"] == "GET")
        .map(|request| request["query"].as_str().unwrap().to_owned())
        .collect();
    pages.sort();
    let page = |number| format!("page%5Bsize%5D=100&page%5Bnumber%5D={number}");
    assert_eq!(pages, [page(0), page(1), page(2)]);
}

fn ids(connections: &[Connection]) -> Vec<ConnectionId> {
    let mut ids: Vec<_> = connections.iter().map(|connection| connection.id.clone()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_filter_of_120_ids_takes_three_requests() {
    let world = World::start().await;
    let (team, made) = world.connected(150).await;
    let (reader, _) = world.datadog();
    let before = world.requests().await.len();
    let wanted = ids(&made)[..120].to_vec();
    let by_id =
        Filter { connection_ids: wanted.iter().map(ToString::to_string).collect(), ..Filter::default() };
    assert_eq!(ids(&reader.connections(&by_id).await.unwrap()), wanted);
    assert_eq!(world.requests().await.len() - before, 3);

    let one = Filter {
        sources: vec!["github".into()],
        team_ids: vec![team.to_string()],
        connected_team_ids: vec!["@acme/team-7".into(), "@acme/team-8".into()],
        ..Filter::default()
    };
    assert_eq!(reader.connections(&one).await.unwrap().len(), 2);
    let none = Filter { sources: vec!["scim".into()], ..Filter::default() };
    assert_eq!(reader.connections(&none).await.unwrap(), []);
}

#[tokio::test]
async fn what_a_look_reads_by_ids_is_read_anew_while_its_lists_stay_read() {
    let world = World::start().await;
    let (team, made) = world.connected(1).await;
    let (reader, writer) = world.datadog();
    let look = reader.looking(Lane::Org(OrgId(1)));
    let of_team = Filter { team_ids: vec![team.to_string()], ..Filter::default() };
    let by_id = |id: &ConnectionId| Filter { connection_ids: vec![id.to_string()], ..Filter::default() };
    let (first, by_first) = (&made[0].id, by_id(&made[0].id));
    assert_eq!(
        [look.connections(&of_team).await.unwrap(), look.connections(&by_first).await.unwrap()]
            .concat()
            .len(),
        2
    );

    // Another worker deletes the one and makes another.
    writer.delete(std::slice::from_ref(first), None).await.unwrap();
    let second = writer.create(&[new_connection(&team, "team-1")], None).await.unwrap().remove(0).id;
    assert_eq!(ids(&look.connections(&of_team).await.unwrap()), std::slice::from_ref(first));
    assert_eq!(look.connections(&by_first).await.unwrap(), []);
    assert_eq!(ids(&look.connections(&by_id(&second)).await.unwrap()), std::slice::from_ref(&second));
    look.looked(Lane::Org(OrgId(1)));
    assert_eq!(ids(&look.connections(&of_team).await.unwrap()), [second], "the next look begins again");
}

#[tokio::test]
async fn a_page_of_more_than_one_hundred_is_refused_without_asking() {
    let world = World::start().await;
    let (reader, _) = world.datadog();
    for size in [0, 101] {
        let trouble = reader.connections_page(&Filter::default(), size, 0).await.unwrap_err();
        assert_eq!(trouble.class, Class::Permanent);
        assert!(trouble.message.contains("from 1 to 100"), "{trouble}");
    }
    assert_eq!(world.requests().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_page_is_what_datadog_cuts() {
    let world = World::start().await;
    world.connected(7).await;
    let (reader, _) = world.datadog();
    let size = async |number| reader.connections_page(&Filter::default(), 3, number).await.unwrap().len();
    assert_eq!([size(0).await, size(2).await, size(3).await], [3, 1, 0]);
}

#[tokio::test]
async fn a_cut_page_is_a_failure_and_never_a_short_list() {
    let world = World::start().await;
    world.connected(150).await;
    let (reader, _) = world.datadog();
    world.faults(json!([{"path": "/api/v2/team/connections", "truncate": true}])).await;
    let trouble = reader.connections(&Filter::default()).await.unwrap_err();
    assert_eq!((trouble.class, trouble.status), (Class::Transient, None), "{trouble}");
    // A cut that was gone a moment later is healed by reading once more.
    world.faults(json!([{"path": "/api/v2/team/connections", "truncate": true, "times": 1}])).await;
    assert_eq!(reader.connections(&Filter::default()).await.unwrap().len(), 150);
}

#[tokio::test]
async fn a_connection_is_made_found_refused_twice_and_deleted() {
    let world = World::start().await;
    let (team, made) = world.connected(1).await;
    let (reader, writer) = world.datadog();
    let [made] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(made.managed_by.as_deref(), Some("teamlink"));
    assert_eq!((made.datadog_team.as_ref(), made.github.as_deref()), (Some(&team), Some("@acme/team-0")));

    let fence = Fence { lane: Lane::Org(OrgId(1)), count: 7 };
    let again = writer.create(&[new_connection(&team, "team-0")], Some(fence)).await.unwrap_err();
    assert_eq!((again.class, again.status, again.ambiguous), (Class::Permanent, Some(409), false), "{again}");
    assert!(again.message.contains("already exist"), "{again}");
    assert_eq!(world.requests().await.last().unwrap()["fence"], "org:1:7");

    writer.delete(std::slice::from_ref(&made.id), None).await.unwrap();
    assert_eq!(reader.connections(&Filter::default()).await.unwrap(), []);
    let gone = writer.delete(std::slice::from_ref(&made.id), None).await.unwrap_err();
    assert_eq!((gone.class, gone.status), (Class::Permanent, Some(404)), "{gone}");
}

#[tokio::test]
async fn datadog_teams_are_listed_searched_read_and_created() {
    let world = World::start().await;
    let many: Vec<_> =
        (0..201).map(|n| json!({"handle": format!("team-{n}"), "name": format!("Team {n}")})).collect();
    world.seed(json!({"datadog_teams": many})).await;
    let (reader, writer) = world.datadog();
    assert_eq!(reader.teams().await.unwrap().len(), 201);
    let found = reader.teams_matching("team-200").await.unwrap();
    let team = found.into_iter().find(|team| team.handle == "team-200").unwrap();
    assert_eq!(present(reader.team(&team.id).await), team);
    assert_eq!(reader.team(&"no-uuid".into()).await, Answer::Absent);

    let made = writer.create_team("new", "New", None).await.unwrap();
    assert_eq!((made.handle.as_str(), made.name.as_str()), ("new", "New"));
    let taken = writer.create_team("new", "New", None).await.unwrap_err();
    assert_eq!(taken.status, Some(409));
    assert!(taken.message.contains("must be unique"), "{taken}");
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_ambiguous_and_may_have_been_done() {
    let world = World::start().await;
    let (team, _) = world.connected(0).await;
    let (reader, writer) = world.datadog();
    world.faults(json!([{"method": "POST", "path": "/api/v2/team/connections", "reset": true}])).await;
    let lost = writer.create(&[new_connection(&team, "lost")], None).await.unwrap_err();
    assert_eq!((lost.class, lost.ambiguous), (Class::Transient, true), "{lost}");
    assert_eq!(reader.connections(&Filter::default()).await.unwrap().len(), 1);

    for (fault, class, ambiguous) in [
        (json!({"status": 500}), Class::Transient, true),
        (json!({"status": 201, "body": "made"}), Class::Invalid, true),
        (
            json!({"status": 429, "headers": {"x-ratelimit-reset": "3"}, "body": {"data": []}}),
            Class::Throttled,
            false,
        ),
        (json!({"status": 403, "body": {"errors": ["Forbidden"]}}), Class::Auth, false),
    ] {
        let mut fault = fault;
        fault["path"] = json!("*");
        world.faults(json!([fault])).await;
        let (_, writer) = world.datadog();
        let trouble = writer.create(&[new_connection(&team, "x")], None).await.unwrap_err();
        assert_eq!((trouble.class, trouble.ambiguous), (class, ambiguous), "{fault}: {trouble}");
        let wait = (class == Class::Throttled).then_some(Duration::from_secs(3));
        assert_eq!(trouble.retry_after, wait, "{fault}");
    }
}

#[tokio::test]
async fn a_slow_write_is_given_up_as_ambiguous_after_the_timeout() {
    let world = World::start().await;
    let (team, _) = world.connected(0).await;
    let options = datadog::Options { timeout: Duration::from_millis(200), ..world.datadog_options() };
    world.faults(json!([{"method": "POST", "path": "*", "latency_ms": 5000}])).await;
    let late = datadog::Writer::new(&options)
        .unwrap()
        .create(&[new_connection(&team, "x")], None)
        .await
        .unwrap_err();
    assert!(late.ambiguous && late.message.contains("no answer within 0.2 s"), "{late}");
}

#[tokio::test]
async fn check_finds_everything_allowed_without_writing_anything() {
    let world = World::start().await;
    world.seed(teams(1)).await;
    let mut findings = check::datadog(&world.datadog_options()).await.unwrap();
    findings.extend(check::github(world.github_options(), &["acme".into()]).await.unwrap());
    for finding in &findings {
        assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
    }
    assert_eq!(findings.len(), 9);
    let (reader, _) = world.datadog();
    assert_eq!(reader.connections(&Filter::default()).await.unwrap(), []);
}

#[tokio::test]
async fn check_tells_what_is_missing_and_what_to_do() {
    let world = World::start().await;
    world.seed(teams(1)).await;
    world
        .faults(json!([
            {"method": "POST", "path": "/api/v2/team/connections", "status": 403, "body": {"errors": ["Forbidden"]}},
            {"path": "/api/v2/idp/*", "status": 403, "body": {"errors": ["Forbidden"]}},
            {"path": "/user/memberships/*", "body": {"state": "active", "role": "member"}},
        ]))
        .await;
    let datadog = check::datadog(&world.datadog_options()).await.unwrap();
    let verdicts: Vec<_> = datadog.iter().map(|finding| finding.verdict).collect();
    assert_eq!(verdicts, [Verdict::Ok, Verdict::Ok, Verdict::Failed, Verdict::Warning, Verdict::Ok]);
    assert!(datadog[2].remedy.as_ref().unwrap().contains("teams_manage"));

    let orgs = ["acme".to_owned(), "acme-typo".to_owned()];
    let github = check::github(world.github_options(), &orgs).await.unwrap();
    let bad: Vec<_> = github.iter().filter(|finding| finding.verdict != Verdict::Ok).collect();
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert_eq!((bad[0].verdict, bad[0].what.as_str()), (Verdict::Warning, "secret teams of acme are seen"));
    assert_eq!(
        (bad[1].verdict, bad[1].what.as_str()),
        (Verdict::Failed, "organisation acme-typo is visible")
    );
}
