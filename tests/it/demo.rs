//! The demo as a new user runs it: the built binary, on a machine whose settings have nothing to do with it.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// The demo, with its temporary files in `dir`, and with variables that it must not follow.
fn demo(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_teamlink"));
    command.arg("demo").env_clear().current_dir(dir).env("TMPDIR", dir).envs([
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("TEAMLINK_GUARD__GRACE", "not a duration"),
        ("AMQP_URL", "amqp://127.0.0.1:1"),
    ]);
    command
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn the_demo_ends_well_with_its_table_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(dir.path()).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    println!("{stdout}");
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
    let words = |start: &str| -> Vec<&str> {
        let line = stdout.lines().rfind(|line| line.starts_with(start)).unwrap();
        line[start.len()..].split_whitespace().collect()
    };
    assert_eq!(words("STEP")[..5], ["EVENTS", "REPEATED", "LOOKS", "GITHUB", "DATADOG"]);
    assert_eq!(words("14:00  Webhooks in disorder")[..2], ["22", "11"]);
    assert_eq!(words("16:45  What no webhook tells")[..2], ["0", "0"]);
    assert!(stdout.contains("All 11 steps ended as expected") && !stdout.contains('✗'));
    // The catalog's document, as it stands after each step that changes it.
    for catalog in [
        "the catalog lists 5 repositories; 5 added, 0 removed in one PUT",
        "the catalog lists 6 repositories, 1 added by hand; 2 added, 2 removed in",
        "the catalog lists 5 repositories, 1 added by hand; 0 added, 1 removed in one PUT",
    ] {
        assert!(stdout.contains(catalog), "{catalog}");
    }
    let table: Vec<_> = stdout.lines().skip_while(|line| !line.starts_with("STEP")).take(12).collect();
    let mark = |line: &str| line.chars().position(|c| c == '✓');
    let columns: BTreeSet<_> = table[1..].iter().map(|line| mark(line)).collect();
    assert!(columns.len() == 1 && !columns.contains(&None), "the table lines up: {table:#?}");
    assert!(!stdout.contains('\u{1b}'), "there is no colour where there is no terminal");
    assert!(is_empty(dir.path()));
}

#[test]
fn the_demo_stops_cleanly_at_ctrl_c() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = demo(dir.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().starts_with("09:10")).unwrap().unwrap();
    assert!(!is_empty(dir.path()), "the ledger is in the temporary folder");
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    // The rest is read, so that the demo never writes into a closed pipe.
    assert!(!lines.any(|line| line.unwrap().contains("ended as expected")));
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(is_empty(dir.path()));
}
