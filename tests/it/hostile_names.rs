//! Names that somebody chose to trick a terminal, a log or a page: through every command that shows any, on a terminal and
//! in a pipe, and as Markdown.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read as _,
    process::{Command, Stdio},
};

use bytes::Bytes;
use reqwest::Method;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use teamlink::{
    app,
    model::{Delivery, PauseScope, Time},
    printable::is_live,
};

use crate::support::{
    documents::{self, ORG},
    world::World,
};

/// Sets a title, clears the screen, speaks in C1, turns the direction, and begins a new line; then leaves a cell of a
/// table, and opens whatever Markdown has.
const HOSTILE: &str = "x\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}8m\u{202e}\r\nin sync | </td> ### owned ![i](http://e.example/i) \
    <img src=x> [l](javascript:x) @octocat #1 https://e.example www.e.example a@e.example `c` ``d`` *e* ~~f~~ |\n\n# g\n";

/// Everything that shows a name of others, as text and as JSON.
const COMMANDS: &[&[&str]] = &[
    &["plan"],
    &["sync"],
    &["explain", "acme/team-1"],
    &["connections", "list"],
    &["adopt", "--org", "acme"],
    &["audit"],
    &["parked", "list"],
    &["parked", "show", "1"],
    &["map", "--from-existing"],
];

/// The same, of what has one form.
const SINGLE: &[&[&str]] = &[&["integrations", "get", "github"]];

/// A connection of this GitHub team, as somebody else made it.
async fn connect(world: &World, team: &str, github: &str, by: &str) {
    let connection = json!({"data": [{
        "type": "team_connection",
        "attributes": {"source": "github", "managed_by": by},
        "relationships": {
            "team": {"data": {"type": "team", "id": world.datadog_teams().await[team]}},
            "connected_team": {"data": {"type": "github_team", "id": github}},
        },
    }]});
    let made = world.datadog(Method::POST, "/api/v2/team/connections", connection).await;
    assert!(made["data"][0]["id"].is_string(), "{made}");
}

/// A world in which whatever others name has the hostile name.
async fn hostile() -> World {
    let world = World::new(2, &[ORG, ("TEAMLINK_GUARD__ABOVE", "0")]).await;
    let named = json!({"handle": format!("team-3{HOSTILE}"), "name": HOSTILE});
    world
        .seed(json!({
            "orgs": [{"login": "acme", "teams": [{"name": HOSTILE}], "repos": [{"name": "r"}]}],
            "datadog_teams": [named],
        }))
        .await;
    connect(&world, "team-1", "@acme/team-1", HOSTILE).await;
    connect(&world, "team-2", &format!("@acme/{HOSTILE}"), "teamlink").await;
    connect(&world, &format!("team-3{HOSTILE}"), &format!("@acme/b{HOSTILE}"), "teamlink").await;
    let entry = json!({"hostname": HOSTILE, "github_org_name": "acme", "repo_name": HOSTILE});
    documents::put(&world, "github", &json!({"enabled_repos": [entry], HOSTILE: HOSTILE})).await;

    let ledger = app::ledger(&world.settings).await.unwrap();
    let intake = app::intake_alone(&world.settings, &ledger).await.unwrap();
    let delivery = Delivery {
        guid: format!("g{HOSTILE}").chars().take(90).collect(),
        event: format!("team{HOSTILE}").chars().take(90).collect(),
        host: Some(HOSTILE.to_owned()),
        signature: Some(HOSTILE.to_owned()),
        received_at: Time(1),
        body: Bytes::from(HOSTILE),
    };
    intake.park_dead(delivery, HOSTILE.to_owned()).await.unwrap();
    world
}

/// What a command prints on a terminal.
fn on_a_terminal(world: &World, args: &[&str]) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let path = ptsname(&terminal, Vec::new()).unwrap();
    let line = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_teamlink"));
    command.args(args).env_clear().envs(world.env.iter()).env("TERM", "xterm");
    let mut child =
        command.stdin(Stdio::null()).stdout(line.try_clone().unwrap()).stderr(line).spawn().unwrap();
    drop(command);
    let mut printed = Vec::new();
    // Linux: reading ends with EIO once nobody has the other side.
    drop(File::from(terminal).read_to_end(&mut printed));
    child.wait().unwrap();
    String::from_utf8(printed).unwrap()
}

/// The text without the styles that teamlink gives it, and without what a spinner does on a terminal.
fn without_styles(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        out += before;
        let end = after.find(|c: char| !c.is_ascii_digit() && c != ';' && c != '?').unwrap();
        let (parameters, end) = (&after[..end], &after[end..]);
        let own = match &end[..1] {
            "m" => !parameters.split(';').any(|it| it == "8"),
            // A spinner clears its line, and hides the cursor.
            "K" => true,
            "h" | "l" => parameters == "?25",
            "A" => true,
            _ => false,
        };
        assert!(own, "{parameters}{end}");
        rest = &end[1..];
    }
    out + rest
}

fn assert_harmless(what: &str, text: &str) {
    let live = text.find(|c| is_live(c) && c != '\n');
    assert!(
        live.is_none(),
        "{what}: {:?}",
        &text[live.unwrap().saturating_sub(0)..].chars().take(80).collect::<String>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_hands_a_hostile_name_to_a_terminal_or_a_pipe() {
    let world = hostile().await;
    let ledger = app::ledger(&world.settings).await.unwrap();
    ledger.pause(PauseScope::All, HOSTILE, ledger.clock().now()).await.unwrap();
    let mut shown = BTreeSet::new();
    for command in COMMANDS.iter().chain(SINGLE) {
        for json in [false, true] {
            if json && SINGLE.contains(command) {
                continue;
            }
            let args = if json { [*command, &["--format", "json"]].concat() } else { command.to_vec() };
            let what = args.join(" ");
            let piped = world.teamlink(&args).await;
            let piped = [piped.stdout, piped.stderr].map(|text| String::from_utf8(text).unwrap());
            piped.iter().for_each(|text| assert_harmless(&what, text));
            if piped.iter().any(|text| text.contains("owned")) {
                shown.insert(what.clone());
            }
            if json {
                let parsed =
                    serde_json::from_str::<Value>(&piped[0]).unwrap_or_else(|it| panic!("{what}: {it}"));
                let escaped = piped[0].contains("owned");
                assert!(!escaped || parsed.to_string().contains("owned"), "{what}");
            }
            let terminal = on_a_terminal(&world, &args);
            assert_harmless(&what, &without_styles(&terminal).replace('\r', ""));
        }
    }
    for command in COMMANDS.iter().chain(SINGLE) {
        assert!(shown.contains(&command.join(" ")), "{command:?} shows no hostile name: {shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_plan_as_markdown_is_live() {
    let world = hostile().await;
    let plan = world.teamlink(&["plan", "--format", "markdown"]).await;
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert_harmless("plan as Markdown", &plan);
    assert!(plan.contains("owned") && plan.contains("octocat"), "{plan}");

    let mut options = comrak::Options::default();
    options.extension.table = true;
    options.extension.autolink = true;
    options.extension.strikethrough = true;
    options.extension.tasklist = true;
    options.extension.footnotes = true;
    // What GitHub filters only afterwards is live here.
    options.render.r#unsafe = true;
    let html = comrak::markdown_to_html(&plan, &options);
    for live in ["<a ", "<img", "<input", "<del>", "<em>", "<strong>", "<h1", "<h2", "<td></td><td></td>"] {
        assert!(!html.contains(live), "{live}: {html}");
    }
    assert_eq!(html.matches("<h3>").count(), 1, "{html}");
    let rows = html.split("<tr>").skip(2);
    assert!(rows.clone().count() > 0, "{html}");
    rows.for_each(|row| assert_eq!(row.matches("<td>").count(), 4, "{row}"));
    // GitHub mentions nobody and links nothing within code.
    let outside: String =
        html.split("<code>").map(|part| part.split_once("</code>").map_or(part, |it| it.1)).collect();
    for word in ["owned", "octocat", "example"] {
        assert!(!outside.contains(word), "{word}: {outside}");
    }
}
