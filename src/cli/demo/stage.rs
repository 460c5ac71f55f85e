//! What the demo plays on: the sandbox, the daemon just as `teamlink run` starts it, and the hands of the people
//! who change GitHub and Datadog. It knows nothing of what is expected.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    judge::{CATALOG, Catalog, Link, Listed, Request},
    post::Post,
};
use crate::{
    app::{self, Daemon, Role},
    ledger::{Ledger, Progress},
    model::{Asks, Cause, Integration, Lane, OrgId, Time},
    sandbox::{self, Remote, Sandbox},
    settings::Settings,
    telemetry::Metrics,
};

/// The organisation's login.
pub(super) const ORG: &str = "acme";

/// An organisation that teamlink does not serve.
pub(super) const ELSEWHERE: &str = "acme-labs";

/// How long an approval holds.
const APPROVED: Duration = Duration::from_secs(3600);

/// How far apart the two looks are that prove a team gone.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// The field of an entry of the catalog that says who added it; Datadog and teamlink know nothing of it.
const NOTE: &str = "note";

/// What the sandbox signs webhooks with.
const SECRET: &str = "only for the demo";

/// Everything that runs.
pub(super) struct Stage {
    sandbox: Sandbox,
    post: Post,
    daemon: Option<Daemon>,
    settings: Settings,
    metrics: Metrics,
    ledger: Ledger,
    org: OrgId,
    remote: Remote,
    seed: u64,
    /// Requests of the demo's own, which are none of teamlink's: to GitHub, to Datadog.
    own: (u64, u64),
    /// Datadog's handles by team id.
    handles: BTreeMap<String, String>,
    _dir: TempDir,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Deliveries that were taken, repeated ones included.
    pub(super) deliveries: u64,
    /// Those whose id was known.
    pub(super) repeated: u64,
    /// Looks at teams.
    pub(super) looks: u64,
    /// Requests of teamlink's.
    pub(super) github: u64,
    /// Requests of teamlink's.
    pub(super) datadog: u64,
}

impl Counts {
    /// What was counted since `earlier`.
    pub(super) fn minus(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    fn with(self, other: Self, op: fn(u64, u64) -> u64) -> Self {
        let Self { deliveries, repeated, looks, github, datadog } = other;
        Self {
            deliveries: op(self.deliveries, deliveries),
            repeated: op(self.repeated, repeated),
            looks: op(self.looks, looks),
            github: op(self.github, github),
            datadog: op(self.datadog, datadog),
        }
    }
}

impl Stage {
    /// Builds the worlds: these teams and repositories in GitHub, a Datadog team for each of those teams and for each
    /// of `handles`.
    pub(super) async fn build(
        metrics: Metrics,
        seed: u64,
        teams: &[&str],
        repositories: &[&str],
        handles: &[&str],
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build().context("failed to set up HTTP")?;
        let post = Post::open(http).await?;
        let sandbox = sandbox::start(sandbox::Options {
            webhook_url: Some(post.url.clone()),
            webhook_secret: Some(SECRET.to_owned()),
            seed,
            ..sandbox::Options::default()
        })
        .await
        .context("failed to start the sandbox")?;
        let dir = tempfile::tempdir().context("failed to make a temporary folder for the ledger")?;
        let remote = Remote::new(sandbox.url())?;
        let settings = settings(&sandbox.url(), &dir)?;
        let ledger = app::ledger(&settings).await?;
        let mut stage = Self {
            sandbox,
            post,
            daemon: None,
            settings,
            metrics,
            ledger,
            org: OrgId(0),
            remote,
            seed,
            own: (0, 0),
            handles: BTreeMap::new(),
            _dir: dir,
        };
        let named = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>();
        let org = json!({"login": ORG, "teams": named(teams), "repos": named(repositories)});
        let made = stage.sow(json!({"orgs": [org, {"login": ELSEWHERE}]})).await?;
        stage.org = OrgId(made["orgs"][0]["id"].as_i64().context("the sandbox named no organisation")?);
        let slugs = made["orgs"][0]["teams"].as_array().into_iter().flatten();
        let handles = slugs.filter_map(|team| team["slug"].as_str()).chain(handles.iter().copied());
        for handle in handles.map(str::to_owned).collect::<Vec<_>>() {
            stage.add_datadog_team(&handle).await?;
        }
        Ok(stage)
    }

    /// Starts the daemon.
    pub(super) async fn start_daemon(&mut self) -> anyhow::Result<()> {
        let daemon = Daemon::start(&self.settings, Role::All, self.metrics.clone()).await?;
        self.post.deliver_to(format!("http://{}/webhooks/github", daemon.addr));
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Someone approves what is held of the catalog, once something is.
    pub(super) async fn approve_catalog(&self) -> anyhow::Result<()> {
        let lane = Lane::Document(Integration::Github);
        let clock = self.ledger.clock();
        loop {
            if let Some(set) = self.ledger.held_set(lane, clock.now()).await? {
                self.ledger.approve(&set.hash, "the list is right", APPROVED, clock.now()).await?;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends everything in order, and removes the ledger.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        if let Some(daemon) = self.daemon {
            let late = daemon.stop().await;
            ensure!(late.is_empty(), "{} did not stop in time", late.join(", "));
        }
        self.ledger.close().await;
        self.sandbox.stop().await.context("failed to end the sandbox")
    }

    /// A full pass, as `teamlink sync` makes it.
    pub(super) async fn full_pass(&self) -> anyhow::Result<()> {
        let worker = app::worker(&self.settings, self.ledger.clone(), "command", Arc::default())?;
        let orgs = worker.begin_pass(&[ORG.to_owned()], Cause::Person, Asks::PERSON).await?.lanes;
        worker.work_off(&orgs).await?;
        Ok(())
    }

    /// Holds webhooks back.
    pub(super) fn hold_webhooks(&self) {
        self.post.hold();
    }

    /// Delivers those that were held back, all of them twice, in any order. Answers how many there were.
    pub(super) async fn release_webhooks(&self) -> anyhow::Result<usize> {
        // The sandbox sends what a change causes after it has answered the change.
        while self.webhooks_pending().await? > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.post.release_shuffled_and_twice(self.seed).await
    }

    /// Someone creates a team in GitHub.
    pub(super) async fn create(&mut self, name: &str) -> anyhow::Result<()> {
        self.github(Method::POST, &format!("/orgs/{ORG}/teams"), json!({ "name": name })).await.map(|_| ())
    }

    /// Someone renames a team in GitHub.
    pub(super) async fn rename(&mut self, slug: &str, name: &str) -> anyhow::Result<()> {
        self.github(Method::PATCH, &team(slug), json!({ "name": name })).await.map(|_| ())
    }

    /// Someone deletes a team in GitHub. Answers the id that it had.
    pub(super) async fn delete(&mut self, slug: &str) -> anyhow::Result<u64> {
        let was = self.github(Method::GET, &team(slug), Value::Null).await?;
        self.github(Method::DELETE, &team(slug), Value::Null).await?;
        was["id"].as_u64().with_context(|| format!("GitHub's team {slug} has no id"))
    }

    /// Someone creates a repository.
    pub(super) async fn create_repository(&mut self, name: &str) -> anyhow::Result<()> {
        let path = format!("/orgs/{ORG}/repos");
        self.github(Method::POST, &path, json!({ "name": name })).await.map(|_| ())
    }

    /// Someone renames a repository, or archives it.
    pub(super) async fn change_repository(&mut self, name: &str, change: Value) -> anyhow::Result<()> {
        self.github(Method::PATCH, &format!("/repos/{ORG}/{name}"), change).await.map(|_| ())
    }

    /// Someone gives a repository to the other organisation.
    pub(super) async fn transfer(&mut self, name: &str) -> anyhow::Result<()> {
        let path = format!("/repos/{ORG}/{name}/transfer");
        self.github(Method::POST, &path, json!({ "new_owner": ELSEWHERE })).await.map(|_| ())
    }

    /// Someone adds a repository to the catalog, with a note.
    pub(super) async fn list_by_hand(&mut self, repository: &str) -> anyhow::Result<()> {
        self.own.1 += 2;
        let mut config =
            self.remote.send(Method::GET, CATALOG, Value::Null).await?["data"]["attributes"]["config"].take();
        let entries = config["enabled_repos"].as_array_mut().context("the catalog has no list")?;
        let hostname = entries.first().map(|entry| entry["hostname"].clone());
        entries.push(json!({
            "hostname": hostname, "github_org_name": ORG, "repo_name": repository, NOTE: "added by hand",
        }));
        let body =
            json!({"data": {"type": "entity_integration_config_requests", "attributes": {"config": config}}});
        self.remote.send(Method::PUT, CATALOG, body).await.map(|_| ())
    }

    /// Which repositories the catalog lists: none before its document is there.
    pub(super) async fn catalog(&mut self) -> anyhow::Result<Catalog> {
        self.own.1 += 1;
        let (status, document) = self.remote.ask(Method::GET, CATALOG, Value::Null).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Catalog::new());
        }
        let entries = document["data"]["attributes"]["config"]["enabled_repos"].as_array();
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let listed = |entry: &Value| Listed {
            repository: format!("{}/{}", text(entry, "github_org_name"), text(entry, "repo_name")),
            by_hand: entry.get(NOTE).is_some(),
        };
        Ok(entries
            .with_context(|| format!("the catalog answers {status}: {document}"))?
            .iter()
            .map(listed)
            .collect())
    }

    /// Someone adds a team in Datadog.
    pub(super) async fn add_datadog_team(&mut self, handle: &str) -> anyhow::Result<()> {
        let made = self.sow(json!({"datadog_teams": [{"handle": handle, "name": handle}]})).await?;
        let id = made["datadog_teams"][0]["id"].as_str().context("the sandbox named no Datadog team")?;
        self.handles.insert(id.to_owned(), handle.to_owned());
        Ok(())
    }

    /// Another tool connects a Datadog team with a GitHub team.
    pub(super) async fn connect_by_hand(&mut self, link: &Link) -> anyhow::Result<()> {
        let team = self.handles.iter().find(|(_, handle)| **handle == link.handle).map(|(id, _)| id);
        let connection = json!({"type": "team_connection",
            "attributes": {"source": "github", "managed_by": link.by},
            "relationships": {
                "team": {"data": {"type": "team", "id": team}},
                "connected_team": {"data": {"type": "github_team", "id": link.github}}}});
        self.datadog(Method::POST, "", json!({"data": [connection]})).await.map(|_| ())
    }

    /// Every connection that Datadog holds, by its id.
    pub(super) async fn connections(&mut self) -> anyhow::Result<BTreeMap<String, Link>> {
        let list = self.datadog(Method::GET, "?page[size]=100", Value::Null).await?;
        let items = list["data"].as_array().context("Datadog's list of connections has no data")?;
        let text =
            |item: &Value, at: &str| item.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let link = |item: &Value| {
            let team = text(item, "/relationships/team/data/id");
            Link {
                handle: self.handles.get(&team).cloned().unwrap_or(team),
                github: text(item, "/relationships/connected_team/data/id"),
                by: text(item, "/attributes/managed_by"),
            }
        };
        Ok(items.iter().map(|item| (text(item, "/id"), link(item))).collect())
    }

    /// How the ledger says that the organisation and the catalog's document stand, together.
    pub(super) async fn progress(&self) -> anyhow::Result<Progress> {
        let now = Time::from(SystemTime::now());
        let org = self.ledger.progress(Lane::Org(self.org), now).await?;
        let document = self.ledger.progress(Lane::Document(Integration::Github), now).await?;
        Ok(Progress {
            unanswered: org.unanswered + document.unanswered,
            failing: org.failing + document.failing,
            held: org.held + document.held,
            parked: org.parked + document.parked,
            ..org
        })
    }

    /// Sets the sandbox's faults.
    pub(super) async fn faults(&self, faults: Value) -> anyhow::Result<()> {
        self.remote.faults(faults).await
    }

    /// Webhooks that GitHub has not delivered yet.
    pub(super) async fn webhooks_pending(&self) -> anyhow::Result<u64> {
        let stats = self.remote.stats().await?;
        stats["webhooks"]["pending"].as_u64().context("the sandbox does not count its webhooks")
    }

    /// Every request after a number, as both upstreams saw them.
    pub(super) async fn requests(&self, since: u64) -> anyhow::Result<Vec<Request>> {
        let requests = self.remote.requests(since).await?;
        Ok(requests.into_iter().map(serde_json::from_value).collect::<Result<_, _>>()?)
    }

    /// What was counted so far, and the number of the last request.
    pub(super) async fn counts(&self) -> anyhow::Result<(Counts, u64)> {
        let stats = self.remote.stats().await?;
        let (mut github, mut datadog) = (0, 0);
        for (route, count) in stats["requests"].as_object().into_iter().flatten() {
            let upstream = if route.contains(" /api/") { &mut datadog } else { &mut github };
            *upstream += count.as_u64().unwrap_or_default();
        }
        let metrics = self.metrics.render();
        let deliveries = |outcome| total(&metrics, "teamlink_deliveries_total{", outcome);
        let repeated = deliveries("outcome=\"duplicate\"");
        let counts = Counts {
            deliveries: deliveries("outcome=\"stored\"") + repeated,
            repeated,
            looks: total(&metrics, "teamlink_looks_total{", "kind=\"team\""),
            github: github - self.own.0,
            datadog: datadog - self.own.1,
        };
        Ok((counts, github + datadog))
    }

    async fn sow(&self, seed: Value) -> anyhow::Result<Value> {
        self.remote.seed(seed).await
    }

    async fn github(&mut self, method: Method, path: &str, body: Value) -> anyhow::Result<Value> {
        self.own.0 += 1;
        self.remote.send(method, path, body).await
    }

    async fn datadog(&mut self, method: Method, query: &str, body: Value) -> anyhow::Result<Value> {
        self.own.1 += 1;
        self.remote.send(method, &format!("/api/v2/team/connections{query}"), body).await
    }
}

/// A team's path.
fn team(slug: &str) -> String {
    format!("/orgs/{ORG}/teams/{slug}")
}

/// The daemon's settings: the defaults, but for the addresses and shorter waits, so that a day takes half a minute.
fn settings(sandbox: &str, dir: &TempDir) -> anyhow::Result<Settings> {
    let ledger = format!("sqlite:{}", dir.path().join("teamlink.db").display());
    let variables = [
        ("GITHUB_TOKEN", "demo"),
        ("DD_API_KEY", "demo"),
        ("DD_APP_KEY", "demo"),
        ("GITHUB_WEBHOOK_SECRET", SECRET),
        ("TEAMLINK_GITHUB__ORGS", ORG),
        ("TEAMLINK_GITHUB__BASE_URL", sandbox),
        ("TEAMLINK_DATADOG__BASE_URL", sandbox),
        ("TEAMLINK_DATADOG__TEAMS_TTL", "2s"),
        ("TEAMLINK_SERVER__LISTEN", "127.0.0.1:0"),
        ("TEAMLINK_LEDGER__URL", &ledger),
        ("TEAMLINK_RECONCILE__BACKOFF_MIN", "500ms"),
        ("TEAMLINK_RECONCILE__BACKOFF_MAX", "2s"),
        ("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "org"),
        ("TEAMLINK_GUARD__GRACE", &humantime::format_duration(GRACE).to_string()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Settings::load(&[], &variables.into_iter().collect())?.settings)
}

/// The sum of a metric over its time series that have this label.
fn total(metrics: &str, name: &str, label: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_the_series_with_a_label() {
        let metrics = "# TYPE a_total counter\na_total{x=\"1\",y=\"1\"} 3\na_total{x=\"2\",y=\"1\"} 4\nb_total{y=\"1\"} 5\na_total{y=\"2\"} 1\n";
        assert_eq!(total(metrics, "a_total{", "y=\"1\""), 7);
    }
}
