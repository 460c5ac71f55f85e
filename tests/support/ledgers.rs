//! The old ledgers of `tests/ledgers`, whatever the database: what 0.1.0 left in them, and what this version must find.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use teamlink::{
    ledger::Ledger,
    model::{Integration, Lane, OrgId},
    sandbox::{self, Sandbox},
};
use tokio::process::Command;

/// One row: each column's value as an SQL literal.
pub type Row = BTreeMap<String, String>;

/// Every row of every table.
pub type Tables = BTreeMap<String, Vec<Row>>;

/// A fresh copy of an old ledger, which a test may change.
pub trait Old: Sized {
    /// How the recorded files of this ledger are called: `sqlite` or `postgres`.
    const NAME: &'static str;

    /// Makes the copy.
    async fn copy() -> Self;

    /// The ledger's URL.
    fn url(&self) -> String;

    /// Reads every row, without any code of teamlink.
    async fn tables(&self) -> Tables;

    /// Executes a statement, without any code of teamlink.
    async fn execute(&self, sql: &'static str);

    /// Removes the copy.
    async fn remove(self);
}

/// A file of `tests/ledgers`.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ledgers").join(name)
}

/// What 0.1.0 recorded about this ledger.
fn recorded<L: Old>(what: &str) -> Value {
    let file = file(&format!("0.1.0.{}.{what}.json", L::NAME));
    serde_json::from_str(&fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}")))
        .unwrap()
}

/// Opens a ledger as this version does, which brings its schema up to date.
async fn migrate(url: &str) {
    Ledger::open(url).await.unwrap().close().await;
}

/// Lists what `after` lacks of `before`: tables, columns, rows, values. New tables and new columns are no loss. Rows
/// may be added to `meta` and to sqlx's own table, and to no other.
pub fn losses(before: &Tables, after: &Tables) -> Vec<String> {
    let mut losses = Vec::new();
    for (table, old) in before {
        let Some(new) = after.get(table) else {
            losses.push(format!("table {table} is gone"));
            continue;
        };
        let grows = ["meta", "_sqlx_migrations"].contains(&table.as_str());
        if new.len() < old.len() || new.len() > old.len() && !grows {
            losses.push(format!("{table} has {} rows, not {}", new.len(), old.len()));
        }
        let mut rest: Vec<&Row> = new.iter().collect();
        for row in old {
            let same = |new: &&Row| row.iter().all(|(column, value)| new.get(column) == Some(value));
            match rest.iter().position(same) {
                Some(at) => drop(rest.swap_remove(at)),
                None => losses.push(format!("{table} lacks {row:?}")),
            }
        }
    }
    losses
}

/// Lists where `found` differs from what was recorded. Fields that were not recorded may be there too.
fn differences(at: &str, recorded: &Value, found: &Value) -> Vec<String> {
    match (recorded, found) {
        (Value::Object(fields), Value::Object(found)) => fields
            .iter()
            .flat_map(|(name, value)| {
                differences(&format!("{at}.{name}"), value, found.get(name).unwrap_or(&Value::Null))
            })
            .collect(),
        (Value::Array(items), Value::Array(found)) if items.len() == found.len() => items
            .iter()
            .zip(found)
            .enumerate()
            .flat_map(|(index, (item, found))| differences(&format!("{at}[{index}]"), item, found))
            .collect(),
        _ if recorded == found => Vec::new(),
        _ => vec![format!("{at} was {recorded} and is {found}")],
    }
}

/// What a command did.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs this version's binary on a ledger.
async fn teamlink(url: &str, env: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_teamlink"));
    command.args(args).env_clear().env("TEAMLINK_LEDGER__URL", url).envs(env.iter().copied());
    let output = command.output().await.unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The same for a command that must succeed. Returns what it printed.
async fn said(url: &str, args: &[&str]) -> String {
    let ran = teamlink(url, &[], args).await;
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

async fn printed(url: &str, args: &[&str]) -> Value {
    serde_json::from_str(&said(url, args).await).unwrap()
}

/// Opening brings the schema up to date, keeps every row, and does nothing the second time.
pub async fn opening_loses_nothing<L: Old>() {
    let old = L::copy().await;
    let before = old.tables().await;
    for (table, rows) in &before {
        assert!(!rows.is_empty(), "the old ledger has no row in {table}");
    }
    migrate(&old.url()).await;
    let after = old.tables().await;
    assert_eq!(losses(&before, &after), Vec::<String>::new());
    migrate(&old.url()).await;
    assert_eq!(old.tables().await, after, "opening it again changes it");
    old.remove().await;
}

/// Several processes of this version start on it at the same time: one brings it up to date, and all come up.
pub async fn several_processes_bring_it_up_to_date<L: Old>() {
    let old = L::copy().await;
    let before = old.tables().await;
    let url = old.url();
    let all = (0..6).map(|_| teamlink(&url, &[], &["audit"]));
    for ran in futures_util::future::join_all(all).await {
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    assert_eq!(losses(&before, &old.tables().await), Vec::<String>::new());
    old.remove().await;
}

/// The audit trail says of each old slot of the guard's window whose it was, and whether its removal was done.
pub async fn old_slots_count_where_they_belong<L: Old>() {
    let old = L::copy().await;
    let ledger = Ledger::open(&old.url()).await.unwrap();
    let (ages, now) = (Duration::from_secs(100 * 365 * 24 * 3600), ledger.clock().now());
    let done = async |lane| ledger.removals_done(lane, ages, now).await.unwrap();
    assert_eq!(done(Lane::Org(OrgId(1_000_001))).await, 1, "one went, and one was parked");
    assert!(done(Lane::Document(Integration::Github)).await >= 1);
    assert_eq!(done(Lane::Document(Integration::Pagerduty)).await, 0, "its removal waits");
    ledger.close().await;
    old.remove().await;
}

/// A worker of 0.1.0 can't run on the new schema: while it holds a lease, nothing is migrated.
pub async fn an_old_worker_is_not_left_behind<L: Old>() {
    let old = L::copy().await;
    let before = old.tables().await;
    old.execute("UPDATE leases SET expires_at = 253402300799000000 WHERE holder LIKE 'daemon:%'").await;
    let leased = old.tables().await;
    let refusal = format!("{:#}", Ledger::open(&old.url()).await.unwrap_err());
    assert!(refusal.contains("teamlink 0.1.0 is still at work on it (`daemon:"), "{refusal}");
    assert!(refusal.contains("stop it, wait "), "{refusal}");
    assert_eq!(old.tables().await, leased, "the refused ledger changed");
    old.execute("UPDATE leases SET expires_at = 0 WHERE holder LIKE 'daemon:%'").await;
    migrate(&old.url()).await;
    let connections =
        |tables: &Tables| Tables::from([("connections".to_owned(), tables["connections"].clone())]);
    assert_eq!(losses(&connections(&before), &connections(&old.tables().await)), Vec::<String>::new());
    old.remove().await;
}

/// A schema that a later version made is opened: that version only added to it.
pub async fn a_later_schema_is_opened<L: Old>() {
    let old = L::copy().await;
    migrate(&old.url()).await;
    old.execute("ALTER TABLE marks ADD COLUMN later BIGINT").await;
    old.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    let later = old.tables().await;
    migrate(&old.url()).await;
    assert_eq!(old.tables().await, later);
    old.remove().await;
}

/// The comparison notices a lost row, a changed value and a lost table.
pub async fn a_loss_is_noticed<L: Old>() {
    let old = L::copy().await;
    let before = old.tables().await;
    assert_eq!(losses(&before, &before), Vec::<String>::new());
    old.execute("DELETE FROM intents WHERE kind = 'adopt'").await;
    old.execute("UPDATE approvals SET expires_at = 1 WHERE github = '@acme/legacy'").await;
    old.execute("ALTER TABLE paused DROP COLUMN since").await;
    old.execute("DROP TABLE removal_slots").await;
    old.execute("INSERT INTO documents (integration, datadog_org_id) VALUES ('other', 1)").await;
    let found = losses(&before, &old.tables().await);
    for told in [
        "intents has 3 rows, not 4",
        "intents lacks ",
        "approvals lacks ",
        "paused lacks ",
        "table removal_slots is gone",
        "documents has 4 rows, not 3",
    ] {
        assert!(found.iter().any(|loss| loss.starts_with(told)), "{told}: {found:#?}");
    }
    assert_eq!(found.len(), 2 + 1 + 3 + 1 + 1, "{found:#?}");
    old.remove().await;
}

/// What is parked, and the audit trail, are printed as 0.1.0 printed them.
pub async fn what_is_parked_and_audited_is_printed_as_before<L: Old>() {
    let old = L::copy().await;
    let url = old.url();
    migrate(&url).await;
    let parked = recorded::<L>("parked");
    let found = printed(&url, &["parked", "list", "--format", "json"]).await;
    assert_eq!(differences("parked", &parked, &found), Vec::<String>::new());
    for story in recorded::<L>("parked_show").as_array().unwrap() {
        let id = story["parked"]["id"].to_string();
        let found = printed(&url, &["parked", "show", &id, "--format", "json"]).await;
        assert_eq!(differences("story", story, &found), Vec::<String>::new());
    }
    let found = printed(&url, &["audit", "--format", "json"]).await;
    assert_eq!(differences("audit", &recorded::<L>("audit"), &found), Vec::<String>::new());
    // One of them can still be thrown away.
    let first = parked[0]["id"].to_string();
    said(&url, &["parked", "discard", &first, "--yes", "--reason", "test"]).await;
    let left = printed(&url, &["parked", "list", "--format", "json"]).await;
    assert_eq!(left.as_array().unwrap().len(), parked.as_array().unwrap().len() - 1);
    old.remove().await;
}

/// A hash that 0.1.0 printed approves exactly the actions that it was printed for.
pub async fn a_printed_hash_approves_what_it_was_printed_for<L: Old>() {
    let sets = recorded::<L>("held");
    let texts = |set: &Value| -> BTreeSet<String> {
        set["approved"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let all: BTreeSet<String> = sets.as_array().unwrap().iter().flat_map(&texts).collect();
    assert!(
        all.iter().any(|it| it.starts_with("create ")) && all.iter().any(|it| it.contains("= integration:"))
    );
    for set in sets.as_array().unwrap() {
        let old = L::copy().await;
        migrate(&old.url()).await;
        let hash = set["hash"].as_str().unwrap();
        let listed = said(&old.url(), &["approve", hash, "--reason", "test"]).await;
        let approved: BTreeSet<String> =
            all.iter().filter(|action| listed.contains(action.as_str())).cloned().collect();
        assert_eq!(approved, texts(set), "{hash}:\n{listed}");
        let again = teamlink(&old.url(), &[], &["approve", hash, "--reason", "test"]).await;
        assert_eq!(again.code, 1, "a set is approved once: {}", again.stdout);
        old.remove().await;
    }
}

/// The pauses are found with their reasons, and end: one alone, and all.
pub async fn pauses_are_found_and_end<L: Old>() {
    let old = L::copy().await;
    let url = old.url();
    migrate(&url).await;
    let pauses = recorded::<L>("pauses");
    let (name, reason) = (pauses[0]["name"].as_str().unwrap(), pauses[0]["reason"].as_str().unwrap());
    let one = teamlink(&url, &[], &["resume", name, "--reason", "test"]).await;
    assert_eq!(one.code, 2, "wider pauses stay: {}{}", one.stdout, one.stderr);
    assert!(one.stdout.contains(reason), "{}", one.stdout);
    assert_eq!(old.tables().await["paused"].len(), pauses.as_array().unwrap().len() - 1);
    let rest = said(&url, &["resume", "all", "--reason", "test"]).await;
    for pause in &pauses.as_array().unwrap()[1..] {
        for field in ["name", "reason"] {
            assert!(rest.contains(pause[field].as_str().unwrap()), "{pause}: {rest}");
        }
    }
    assert!(old.tables().await["paused"].is_empty());
    old.remove().await;
}

/// Makes the world again in which 0.1.0 left the ledger: the same seed and the same writes give the same ids.
async fn world<L: Old>(http: &Client) -> Sandbox {
    let recorded = recorded::<L>("world");
    let seed = recorded["sandbox_seed"].as_u64().unwrap();
    let sandbox = sandbox::start(sandbox::Options { seed, ..Default::default() }).await.unwrap();
    let seeded = http.post(format!("{}/_sandbox/seed", sandbox.url())).json(&recorded["seed"]).send().await;
    assert!(seeded.unwrap().status().is_success());
    for request in recorded["requests"].as_array().unwrap() {
        let text = |field: &str| request[field].as_str().unwrap();
        let method: Method = text("method").parse().unwrap();
        let url = format!("{}{}?{}", sandbox.url(), text("path"), text("query"));
        let mut again = http.request(method, url).bearer_auth("token");
        if text("path").starts_with("/api/") {
            again = again.header("DD-API-KEY", "api").header("DD-APPLICATION-KEY", "app");
        }
        if !request["body"].is_null() {
            again = again.json(&request["body"]);
        }
        let answer = again.send().await.unwrap();
        assert!(answer.status().is_success(), "{request}: {}", answer.text().await.unwrap());
    }
    sandbox
}

/// Every connection at Datadog: its id, and `@org/slug (its mark)`.
async fn connections(http: &Client, sandbox: &Sandbox) -> BTreeMap<String, String> {
    let url = format!("{}/api/v2/team/connections?page[size]=100", sandbox.url());
    let keys = http.get(url).header("DD-API-KEY", "api").header("DD-APPLICATION-KEY", "app");
    let list: Value = keys.send().await.unwrap().json().await.unwrap();
    let line = |it: &Value| {
        let text = |at: &str| it.pointer(at).unwrap().as_str().unwrap().to_owned();
        let github = text("/relationships/connected_team/data/id");
        (text("/id"), format!("{github} ({})", text("/attributes/managed_by")))
    };
    list["data"].as_array().unwrap().iter().map(line).collect()
}

/// The ids of the connections that a ledger owns.
fn owned_ids(tables: &Tables) -> BTreeSet<String> {
    tables["connections"].iter().map(|row| row["connection_id"].trim_matches('\'').to_owned()).collect()
}

/// Deletes a connection of ours, and makes it again as somebody else's.
async fn remake(http: &Client, sandbox: &Sandbox, before: &BTreeMap<String, String>, github: &str) {
    let id = before.iter().find(|(_, text)| text.split(' ').next() == Some(github)).unwrap().0;
    let url = format!("{}/api/v2/team/connections", sandbox.url());
    let keys =
        |method| http.request(method, &url).header("DD-API-KEY", "api").header("DD-APPLICATION-KEY", "app");
    let one = [("filter[connection_ids]", id)];
    let list: Value = keys(Method::GET).query(&one).send().await.unwrap().json().await.unwrap();
    let mut connection = list["data"][0].clone();
    let deleted = keys(Method::DELETE).json(&json!({"data": [{"id": id, "type": "team_connection"}]}));
    assert!(deleted.send().await.unwrap().status().is_success());
    connection["attributes"]["managed_by"] = "terraform".into();
    let made = keys(Method::POST).json(&json!({"data": [connection]})).send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.text().await.unwrap());
}

/// With the settings of then and the world of then, this version finishes what 0.1.0 began, and deletes nothing that
/// the old ledger does not own, except the orphan whose removal was approved.
pub async fn a_pass_converges_and_deletes_nothing_foreign<L: Old>() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let http = Client::builder().no_proxy().build().unwrap();
    let (old, sandbox) = (L::copy().await, world::<L>(&http).await);
    let (url, base) = (old.url(), sandbox.url());
    let before = connections(&http, &sandbox).await;
    let owned = owned_ids(&old.tables().await);
    let found = owned.iter().filter(|id| before.contains_key(*id)).count();
    // 0.1.0 had deleted `@initech/ops` when it was killed.
    assert_eq!(found, owned.len() - 1, "the sandbox gives other ids than that of 0.1.0: {before:#?}");
    // Meanwhile somebody made a connection again that the ledger owns and no team wants any more: it is theirs now.
    remake(&http, &sandbox, &before, "@acme/suspect").await;
    let ghost = before.iter().find(|(_, text)| text.starts_with("@acme/ghost ")).unwrap().0.clone();

    let config = file("0.1.0.toml").display().to_string();
    let env = [
        ("TEAMLINK_GITHUB__BASE_URL", base.as_str()),
        ("TEAMLINK_DATADOG__BASE_URL", &base),
        ("GITHUB_TOKEN", "token"),
        ("DD_API_KEY", "api"),
        ("DD_APP_KEY", "app"),
        ("TEAMLINK_GUARD__GRACE", "1s"),
    ];
    let seq = http.get(format!("{base}/_sandbox/requests?since=0")).send().await.unwrap();
    let seq = seq.json::<Vec<Value>>().await.unwrap().last().unwrap()["seq"].to_string();
    said(&url, &["resume", "all", "--reason", "test"]).await;
    for _ in 0..3 {
        let ran = teamlink(&url, &env, &["sync", "--config", &config]).await;
        // Protected and held removals stay, so that it never says that all is in sync.
        assert_eq!(ran.code, 2, "{}{}", ran.stdout, ran.stderr);
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    let sent = http.get(format!("{base}/_sandbox/requests?since={seq}")).send().await.unwrap();
    let mut deleted = BTreeSet::new();
    for request in sent.json::<Vec<Value>>().await.unwrap() {
        let is_write = request["method"] != "GET" && request["path"] == "/api/v2/team/connections";
        if is_write && request["method"] == "DELETE" {
            let ids = request["body"]["data"].as_array().unwrap();
            deleted.extend(ids.iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        }
    }
    let foreign: Vec<_> = deleted.iter().filter(|id| !owned.contains(*id) && **id != ghost).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    let gone: BTreeSet<&str> = deleted.iter().map(|id| before[id].as_str()).collect();
    let text = |slugs: &[&str], mark: &str| -> Vec<String> {
        slugs.iter().map(|slug| format!("@{slug} ({mark})")).collect()
    };
    let expected = ["ghost", "legacy", "mobile", "search", "undeletable"].map(|it| format!("acme/{it}"));
    let expected = text(&expected.each_ref().map(String::as_str), "teamlink");
    assert_eq!(gone, expected.iter().map(String::as_str).collect());

    let after = connections(&http, &sandbox).await;
    // The second orphan was never approved.
    let ours =
        after.iter().filter(|(_, text)| text.ends_with(" (teamlink)") && !text.starts_with("@acme/phantom "));
    let ours = ours.map(|(id, _)| id.clone()).collect();
    assert_eq!(
        owned_ids(&old.tables().await),
        ours,
        "the ledger owns what carries our mark, and nothing else"
    );
    let mut after: Vec<String> = after.into_values().collect();
    after.sort_unstable();
    let ours = [
        "acme/core",
        "acme/frozen",
        "acme/late",
        "acme/lost",
        "acme/newbie",
        "acme/payments",
        "acme/phantom",
        "acme/platform",
        "acme/platform-api",
        "acme/platform-api",
        "acme/refused",
        "acme/taken",
        "acme/takeover",
        "acme/tools",
        "acme/unread",
        "acme/vault",
        "acme/web",
        "globex/alpha",
        "globex/beta",
        "globex/delta",
        "globex/epsilon",
        "globex/gamma",
        "initech/dev",
        "initech/operations",
    ];
    let mut expected = text(&ours, "teamlink");
    expected.extend(text(&["acme/failing", "acme/foreign", "acme/forgot", "acme/suspect"], "terraform"));
    expected.sort_unstable();
    assert_eq!(after, expected);
    assert!(old.tables().await["intents"].is_empty(), "no write stays interrupted");
    sandbox.stop().await.unwrap();
    old.remove().await;
}
