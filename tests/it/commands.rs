//! The binary as a person or a script meets it, without any upstream: exit codes, what goes to stdout and what
//! to stderr.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    thread,
};

use serde_json::Value;
use tokio::io::AsyncBufReadExt as _;

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs the binary with these arguments and variables, and no others.
fn teamlink(args: &[&str], env: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_teamlink"));
    let output = command.args(args).env_clear().envs(env.iter().copied()).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn file(dir: &Path, text: &str) -> String {
    let path = dir.join("teamlink.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn settings_with_three_mistakes_end_with_78_and_name_all_three() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), "[server]\nlisten = \"here\"\n[guard]\nmax_sharre = 0.5");
    let Ran { code, stdout, stderr } =
        teamlink(&["check", "--config", &config], &[("TEAMLINK_RECONCILE__EVERY", "hourly")]);
    assert_eq!((code, stdout.as_str()), (78, ""));
    for told in [
        "error: 3 mistakes in the settings",
        "server.listen = \"here\"",
        "did you mean `guard.max_share`?",
        "reconcile.every = \"hourly\" (TEAMLINK_RECONCILE__EVERY)",
        "or `off`",
    ] {
        assert!(stderr.contains(told), "{told}:\n{stderr}");
    }
    assert!(!stderr.contains('\u{1b}'), "there is no colour where there is no terminal");
}

#[test]
fn check_shows_every_setting_with_its_source_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(dir.path(), "[guard]\ngrace = \"2s\"");
    let env = [
        ("DD_API_KEY", "s3cret"),
        ("DD_APP_KEY", "s3cret"),
        ("GITHUB_TOKEN", "s3cret"),
        ("AMQP_URL", "amqp://me:s3cret@localhost"),
    ];
    let text = teamlink(&["check", "--offline", "--config", &config], &env);
    assert_eq!(text.code, 0, "{}", text.stderr);
    let words = |key: &str| -> Vec<String> {
        let line = text.stdout.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(words("guard.grace"), ["guard.grace", "2s", &config]);
    assert_eq!(words("guard.above"), ["guard.above", "10", "default"]);
    assert_eq!(words("queue.url"), ["queue.url", "amqp://me:hidden@localhost", "AMQP_URL"]);
    assert_eq!(words("github.token"), ["github.token", "(hidden)", "GITHUB_TOKEN"]);

    let json = teamlink(&["check", "--offline", "--format", "json"], &env);
    let parsed: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(parsed["settings"].as_array().unwrap().len() > 50);
    for printed in [text.stdout, text.stderr, json.stdout, json.stderr] {
        assert!(!printed.contains("s3cret"), "{printed}");
    }
}

#[test]
fn check_without_credentials_fails_and_tells_what_to_set() {
    let Ran { code, stdout, .. } = teamlink(&["check"], &[]);
    assert_eq!(code, 1);
    assert!(
        stdout.contains("set GITHUB_TOKEN") && stdout.contains("set DD_API_KEY and DD_APP_KEY"),
        "{stdout}"
    );
    assert!(stdout.contains("set GITHUB_WEBHOOK_SECRET"), "{stdout}");
}

#[test]
fn map_tells_the_rule_and_what_it_gives_offline() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "[[mapping]]\ngithub = \"acme/bots-*\"\nignore = true\n\
                 [[mapping]]\ngithub = \"acme/platform-*\"\ndatadog = [\"plat-{1}\", \"platform\"]";
    let config = file(dir.path(), rules);
    let map = |team: &str| teamlink(&["map", team, "--config", &config], &[]);
    insta::assert_snapshot!(map("Acme/platform-EU").stdout, @r"
    Acme/platform-EU meets rule 2 of 2: acme/platform-* → plat-{1}, platform
      Datadog team with the handle `plat-eu`
      Datadog team with the handle `platform`
    ");
    insta::assert_snapshot!(map("acme/bots-ci").stdout, @r"
    acme/bots-ci meets rule 1 of 2: acme/bots-* → ignore
      left alone
    ");
    insta::assert_snapshot!(map("other/web").stdout, @r"
    other/web meets none of the 2 rules
      linked to nothing; add a rule
    ");
    let wrong = map("platform");
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("hint: write it as"), "{}", wrong.stderr);

    let json = teamlink(&["map", "acme/platform-eu", "--config", &config, "--format", "json"], &[]);
    let parsed: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(parsed["rule_number"], 2);
    assert_eq!(parsed["gives"]["handles"], serde_json::json!(["plat-eu", "platform"]));
}

#[test]
fn healthcheck_follows_what_the_daemon_answers() {
    for (answer, expected) in [("200 OK", 0), ("503 Service Unavailable", 1)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}")
                .unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let ran = teamlink(&["healthcheck"], &[("TEAMLINK_SERVER__LISTEN", &address)]);
        assert_eq!(ran.code, expected, "{}", ran.stderr);
        assert!(daemon.join().unwrap().starts_with("GET /healthz "));
        // Nobody listens any more.
        let ran = teamlink(&["healthcheck"], &[("TEAMLINK_SERVER__LISTEN", &address)]);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("hint: is `teamlink run` running"), "{}", ran.stderr);
    }
}

#[test]
fn wrong_usage_is_told_by_clap() {
    assert_eq!(teamlink(&["map"], &[]).code, 2);
    assert_eq!(teamlink(&["dance"], &[]).code, 2);
    let help = teamlink(&["--help"], &[]);
    assert!(help.code == 0 && help.stdout.contains("Examples:"));
}

#[tokio::test]
async fn the_sandbox_tells_where_it_is_and_ends_when_told_to() {
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_teamlink"))
        .args(["sandbox", "--listen", "127.0.0.1:0", "--org", "acme", "--teams", "3"])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.next_line().await.unwrap().unwrap();
    let github = lines.next_line().await.unwrap().unwrap();
    assert_eq!(github, format!("TEAMLINK_GITHUB__BASE_URL={url}"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("{url}/orgs/acme/teams")).header("authorization", "token sandbox");
    let teams: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(teams.as_array().unwrap().len(), 3);
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(child.wait().await.unwrap().success());
}
