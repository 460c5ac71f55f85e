//! `teamlink connections` and the network settings, with the built binary against the sandbox.

use std::{
    process::{Output, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use teamlink::sandbox::{self, Remote, Sandbox};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn world() -> Sandbox {
    let sandbox = sandbox::start(sandbox::Options::default()).await.unwrap();
    let seed = json!({
        "orgs": [{"login": "acme", "teams": [{"name": "Core"}]}],
        "datadog_teams": [{"handle": "core", "name": "Core"}, {"handle": "core-too", "name": "Core too"}],
    });
    Remote::new(sandbox.url()).unwrap().seed(seed).await.unwrap();
    sandbox
}

/// Runs `teamlink` with nothing in the environment but this.
async fn teamlink(args: &[&str], env: &[(&str, &str)]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_teamlink"))
        .args(args)
        .env_clear()
        .envs([("DD_API_KEY", "api-secret"), ("DD_APP_KEY", "app-secret"), ("GITHUB_TOKEN", "github-secret")])
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

async fn connections(sandbox: &Sandbox, args: &[&str]) -> Output {
    let args = [&["connections"], args].concat();
    teamlink(&args, &[("TEAMLINK_DATADOG__BASE_URL", &sandbox.url())]).await
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

async fn list(sandbox: &Sandbox, filters: &[&str]) -> Vec<Value> {
    let args = [&["list", "--format", "json"], filters].concat();
    serde_json::from_str(&stdout(&connections(sandbox, &args).await)).unwrap()
}

#[tokio::test]
async fn a_connection_is_created_by_handle_listed_and_deleted() {
    let world = world().await;
    let made =
        connections(&world, &["create", "--team-handle", "core", "--github", "@acme/core", "--yes"]).await;
    assert!(stdout(&made).contains("@acme/core"), "{made:?}");
    let listed = list(&world, &[]).await;
    assert_eq!((listed.len(), &listed[0]["managed_by"]), (1, &json!("teamlink")));
    let team = listed[0]["datadog_team"].as_str().unwrap();
    assert_eq!(
        list(&world, &["--team-id", team, "--github", "@acme/core", "--source", "github"]).await,
        listed
    );
    assert_eq!(list(&world, &["--source", "scim,servicenow"]).await, Vec::<Value>::new());
    assert_eq!(list(&world, &["--page", "1", "--page-size", "1"]).await, Vec::<Value>::new());

    let again = connections(&world, &["create", "--team-id", team, "--github", "@acme/core", "--yes"]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("hint: this pair may be connected already"), "{}", stderr(&again));

    let id = listed[0]["id"].as_str().unwrap();
    assert_eq!(list(&world, &["--id", id]).await, listed);
    stdout(&connections(&world, &["delete", id, "--yes"]).await);
    assert_eq!(list(&world, &[]).await, Vec::<Value>::new());
    let gone = connections(&world, &["delete", id, "--yes"]).await;
    assert!(
        stderr(&gone).contains(&format!("no connection has the id {id}; nothing was deleted")),
        "{gone:?}"
    );
}

#[tokio::test]
async fn nothing_is_written_without_a_confirmation() {
    let world = world().await;
    let asked = connections(&world, &["create", "--team-handle", "core", "--github", "@acme/core"]).await;
    assert_eq!(asked.status.code(), Some(1));
    assert!(stderr(&asked).contains("give --yes to connect Datadog team"), "{}", stderr(&asked));
    assert_eq!(list(&world, &[]).await, Vec::<Value>::new());
}

#[tokio::test]
async fn wrong_arguments_are_refused_with_what_to_do() {
    let world = world().await;
    for (args, said) in [
        (
            ["list", "--page-size", "101", "--page", "0", "--format", "text"].as_slice(),
            "from 1 to 100 items, not 101",
        ),
        (
            &["create", "--team-handle", "cor", "--github", "@acme/core", "--yes"],
            "no Datadog team has the handle `cor`",
        ),
        (&["create", "--team-handle", "core", "--github", "acme/core", "--yes"], "write it as @org/slug"),
    ] {
        let output = connections(&world, args).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}

/// The sandbox takes a proxy's requests too: `GET http://datadog.invalid/api/…` is answered by its path.
#[tokio::test]
async fn both_upstreams_are_asked_through_the_proxy() {
    let world = world().await;
    let env = [
        ("TEAMLINK_DATADOG__BASE_URL", "http://datadog.invalid"),
        ("TEAMLINK_GITHUB__BASE_URL", "http://github.invalid"),
        ("TEAMLINK_GITHUB__ORGS", "acme"),
        ("TEAMLINK_NETWORK__ALLOW_PLAINTEXT", "datadog.invalid,github.invalid"),
        ("HTTP_PROXY", &world.url()),
    ];
    let checked = teamlink(&["check", "--format", "json"], &env).await;
    let checked: Value = serde_json::from_str(&stdout(&checked)).unwrap();
    let findings = checked["findings"].as_array().unwrap();
    let asked = ["Datadog teams can be read", "teams of acme can be listed"];
    for what in asked {
        assert!(findings.iter().any(|it| it["what"] == what && it["verdict"] == "ok"), "{findings:#?}");
    }
}

/// A proxy that answers in the place of GitHub and Datadog, and returns all that it was sent.
#[tokio::test]
async fn a_proxy_learns_no_credential_and_is_not_believed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let hears = hears.clone();
            tokio::spawn(async move {
                let answers =
                    ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"data\":[]}"];
                for answer in answers {
                    let mut sent = vec![0; 8_192];
                    let length = connection.read(&mut sent).await.unwrap_or_default();
                    hears.lock().unwrap().extend_from_slice(&sent[..length]);
                    connection.write_all(answer.as_bytes()).await.ok();
                }
            });
        }
    });
    let env = [("TEAMLINK_GITHUB__ORGS", "acme"), ("HTTPS_PROXY", &*proxy)];
    let checked = teamlink(&["check"], &env).await;
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
    for host in ["api.datadoghq.com", "api.github.com"] {
        assert!(heard.contains(&format!("CONNECT {host}:443")), "{host}");
    }
    for secret in ["api-secret", "app-secret", "github-secret"] {
        assert!(!heard.contains(secret), "{secret} was sent to the proxy");
    }
}

#[tokio::test]
async fn no_secret_is_printed_even_when_everything_is_logged() {
    let world = world().await;
    let env = [("TEAMLINK_DATADOG__BASE_URL", world.url()), ("TEAMLINK_GITHUB__BASE_URL", world.url())];
    let env = env.each_ref().map(|(key, value)| (*key, value.as_str()));
    let output = teamlink(&["check", "-vv"], &[env.as_slice(), &[("RUST_LOG", "trace")]].concat()).await;
    let printed = stdout(&output) + &stderr(&output);
    assert!(
        printed.contains("asked datadog: list_teams") || printed.contains("asked datadog: probe_teams"),
        "{printed}"
    );
    for secret in ["api-secret", "app-secret", "github-secret"] {
        assert!(!printed.contains(secret), "{secret} was printed");
    }
}
