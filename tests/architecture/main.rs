//! Keeps the modules apart: which module may import which, and what the pure modules must not touch. An import that
//! breaks a rule fails here, with the rule. To change a rule, change `MODULES` and say why. `cycles.rs` forbids
//! cycles between modules, `functions.rs` keeps functions short, and this file keeps files short.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod cycles;
mod functions;
mod names;
mod source;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use source::{File, code_of, files, sources};

/// A module at the top of the crate, the modules it may import, and the reason. Imports point downwards: only to
/// modules further down in this list.
type Module = (&'static str, &'static [&'static str], &'static str);

const PURE: &str =
    "pure modules know only what they compute with: no I/O, no clock, no randomness, no logging";
const CLIENT: &str =
    "the clients know `model`, `upstream` and the transport; they meet in `reconcile`, `operate` and `app`";
const DOOR: &str = "the doors hand deliveries to an Inbox and know nothing of what becomes of them";

const MODULES: &[Module] = &[
    ("main", &["cli", "settings", "telemetry"], "main tells the life story and nothing else"),
    (
        "cli",
        &[
            "app",
            "files",
            "settings",
            "operate",
            "sandbox",
            "reconcile",
            "telemetry",
            "shutdown",
            "transport",
            "datadog",
            "github",
            "ledger",
            "queue",
            "webhook",
            "intake",
            "plan",
            "mapping",
            "event",
            "upstream",
            "printable",
            "model",
        ],
        "commands stand on top; nothing imports them",
    ),
    (
        "app",
        &[
            "clock",
            "secret",
            "settings",
            "admin",
            "operate",
            "reconcile",
            "server",
            "webhook",
            "queue",
            "intake",
            "github",
            "datadog",
            "transport",
            "telemetry",
            "ledger",
            "shutdown",
            "plan",
            "mapping",
            "event",
            "upstream",
            "model",
        ],
        "app puts the concrete parts together and may name all of them, but is no command",
    ),
    ("admin", &["operate", "telemetry", "printable", "model"], "admin serves what `operate` answers"),
    (
        "operate",
        &[
            "clock",
            "settings",
            "reconcile",
            "queue",
            "intake",
            "github",
            "datadog",
            "transport",
            "telemetry",
            "ledger",
            "plan",
            "mapping",
            "event",
            "upstream",
            "printable",
            "model",
        ],
        "operate answers operators; it prints nothing and serves nothing",
    ),
    (
        "settings",
        &["files", "secret", "telemetry", "mapping", "model"],
        "settings are read by `app`, `cli` and `operate` only",
    ),
    (
        "reconcile",
        &[
            "clock",
            "github",
            "datadog",
            "transport",
            "telemetry",
            "ledger",
            "plan",
            "mapping",
            "event",
            "upstream",
            "model",
        ],
        "the worker knows no settings and no doors: it is given its options",
    ),
    ("webhook", &["intake", "telemetry", "signature", "model"], DOOR),
    ("queue", &["intake", "telemetry", "model"], DOOR),
    ("server", &["telemetry"], "the listener knows connections and no routes"),
    (
        "intake",
        &["clock", "telemetry", "ledger", "signature", "event", "model"],
        "intake turns deliveries into marks in the ledger",
    ),
    ("github", &["clock", "secret", "transport", "telemetry", "upstream", "model"], CLIENT),
    ("datadog", &["secret", "transport", "telemetry", "upstream", "model"], CLIENT),
    (
        "transport",
        &["clock", "telemetry", "upstream", "model"],
        "transport carries requests and knows neither API",
    ),
    (
        "telemetry",
        &["ledger", "plan", "printable", "model"],
        "telemetry reads what happened from the types that say so",
    ),
    (
        "ledger",
        &["clock", "files", "model"],
        "the ledger knows only `model` and what time it is; it neither logs nor decides",
    ),
    ("shutdown", &[], "shutdown knows signals and tokens"),
    ("secret", &["files"], "a secret knows its file and nothing else"),
    ("files", &[], "files knows nothing of what is in them"),
    ("clock", &["model"], "the clock is the only place that asks what time it is for those who do I/O"),
    ("plan", &["mapping", "model"], PURE),
    ("signature", &[], PURE),
    ("event", &["model"], PURE),
    ("mapping", &["printable", "model"], PURE),
    ("upstream", &["model"], PURE),
    ("printable", &[], PURE),
    ("model", &[], PURE),
    ("sandbox", &[], "the sandbox imports nothing of ours: it is the judge"),
];

/// The texts that code of a pure module must not contain.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::net",
    "std::io",
    "std::process",
    "std::thread",
    "tokio::",
    "sqlx::",
    "reqwest::",
    "lapin::",
    "tracing::",
    "metrics::",
    "rand::",
    "::now(",
    "new_v4(",
    "async fn",
    ".await",
    "println!",
];

/// The files of commands that only read: a dry run is a dry run by type.
const DRY: &[&str] = &[
    "cli/plan.rs",
    "cli/map.rs",
    "cli/check.rs",
    "operate/plan.rs",
    "cli/explain.rs",
    "operate/explain.rs",
    "operate/blocks.rs",
    "operate/check.rs",
];

/// An import: the module it names, and the line.
#[derive(Debug, PartialEq, Eq)]
struct Import {
    to: String,
    line: usize,
}

/// Returns the modules that code names, as `crate::module`, as `teamlink::module`, in a group of either, or with
/// `super::` written `depth` times.
fn imports(code: &str, depth: usize) -> Vec<Import> {
    let climb = "super::".repeat(depth);
    let mut found = Vec::new();
    for (at, _) in code.char_indices() {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let heads = ["crate::", "teamlink::", climb.as_str()];
        let Some(head) = heads.iter().find(|head| !head.is_empty() && code[at..].starts_with(**head)) else {
            continue;
        };
        let line = code[..at].matches('\n').count() + 1;
        let tail = &code[at + head.len()..];
        if let Some(group) = tail.strip_prefix('{') {
            let (mut nesting, mut expect_name) = (0_usize, true);
            for (at, c) in group.char_indices() {
                match c {
                    '{' => nesting += 1,
                    '}' if nesting == 0 => break,
                    '}' => nesting -= 1,
                    ',' if nesting == 0 => expect_name = true,
                    c if expect_name && (c.is_alphanumeric() || c == '_') => {
                        found.push(Import { to: name_at(&group[at..]), line });
                        expect_name = false;
                    }
                    _ => {}
                }
            }
        } else {
            found.push(Import { to: name_at(tail), line });
        }
    }
    // No code that compiles climbs higher than the root. Names of types and macros at the root are not modules.
    found.retain(|import| import.to.starts_with(|c: char| c.is_lowercase()) && import.to != "super");
    found
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Returns what is wrong with the imports of a file.
fn broken(module: &str, file: &str, imports: &[Import]) -> Vec<String> {
    let Some((_, allowed, rule)) = MODULES.iter().find(|(name, ..)| *name == module) else {
        return vec![format!("{file}: the module `{module}` has no rule; add it to MODULES, at its height")];
    };
    (imports.iter())
        .filter(|import| import.to != module && !allowed.contains(&import.to.as_str()))
        .map(|import| format!("{file}:{}: `{module}` must not import `{}`: {rule}", import.line, import.to))
        .collect()
}

#[test]
fn every_import_keeps_the_rules_of_its_module() {
    let broken: Vec<String> = files()
        .iter()
        .filter(|file| file.name != "lib.rs")
        .flat_map(|file| {
            let depth = if file.module == "main" { 0 } else { file.depth };
            broken(&file.module, &format!("src/{}", file.name), &imports(&file.code, depth))
        })
        .collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_file_is_a_module_that_is_compiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in sources("src") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap();
        if folder == root.join("src") && ["lib", "main"].contains(&name) {
            continue;
        }
        // `a/mod.rs` is named by what stands beside `a`, `a/b.rs` by `a`.
        let (name, folder) = match name {
            "mod" => (folder.file_name().unwrap().to_str().unwrap(), folder.parent().unwrap()),
            name => (name, folder),
        };
        let parents = ["mod.rs", "lib.rs", "main.rs"].map(|parent| folder.join(parent));
        let parents = parents.into_iter().chain([folder.with_extension("rs")]);
        let named = parents
            .filter_map(|parent| fs::read_to_string(parent).ok())
            .any(|parent| parent.lines().any(|line| line.trim_start().ends_with(&format!("mod {name};"))));
        assert!(named, "{}: no `mod {name};` names it, so that nothing of it is compiled", path.display());
    }
}

#[test]
fn no_file_is_longer_than_one_reason_to_change() {
    const MOST: usize = 500;
    let lines = |path: &PathBuf| fs::read_to_string(path).unwrap().lines().count();
    let paths = [sources("src"), sources("tests")].concat();
    let long: Vec<_> =
        paths.iter().map(|path| (lines(path), path)).filter(|(lines, _)| *lines > MOST).collect();
    assert!(
        long.is_empty(),
        "more than {MOST} lines: a file holds two reasons to change; split it: {long:#?}"
    );
}

#[test]
fn pure_modules_touch_nothing_outside() {
    let pure: BTreeSet<&str> =
        MODULES.iter().filter(|(.., rule)| *rule == PURE).map(|(module, ..)| *module).collect();
    for File { name, module, code, .. } in files().iter().filter(|file| pure.contains(file.module.as_str())) {
        for impure in IMPURE {
            assert!(!code.contains(impure), "src/{name}: `{module}` must not use `{impure}`: {PURE}");
        }
    }
}

#[test]
fn what_only_looks_never_holds_the_writer() {
    for File { name, code, .. } in files().iter().filter(|file| DRY.contains(&file.name.as_str())) {
        let holds = code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "Writer");
        assert!(!holds, "src/{name} names the writer of Datadog: a dry run is a dry run by type");
    }
}

#[test]
fn the_rules_themselves_point_downwards() {
    for (height, (module, allowed, _)) in MODULES.iter().enumerate() {
        for to in *allowed {
            let below = MODULES.iter().position(|(name, ..)| name == to);
            assert!(
                below.is_some_and(|below| below > height),
                "{module} may import {to}, which does not stand below it"
            );
        }
    }
}

#[test]
fn a_forbidden_import_is_caught_however_it_is_written() {
    let told =
        |module: &str, depth: usize, source: &str| broken(module, "f.rs", &imports(&code_of(source), depth));
    for (depth, source) in [
        (1, "use crate::ledger::Ledger;"),
        (1, "use crate::{\n    ledger::{self, Ledger},\n    model::Time,\n};"),
        (2, "use super::super::{model, ledger};"),
        (1, "fn f() { crate::ledger::open(); }"),
        (1, "fn f() { let quote = '\"'; super::ledger::open(); }"),
        (1, "const T: &str = \"\\\\\"; use crate::ledger;"),
        (1, "const T: &str = r#\"\"{\"#; use crate::ledger; // \""),
        (1, "const C: [char; 2] = ['\\'', '\"']; use crate::ledger; // \""),
        (1, "fn f<'a>(_: &'a str) { crate::ledger::open('a'); }"),
        (1, "#[cfg(test)]\nmod tests;\n\nuse crate::ledger;"),
        (1, "#[cfg(test)]\nmod tests { use crate::event; }\nuse crate::ledger;"),
    ] {
        let problems = told("plan", depth, source);
        assert_eq!(problems.len(), 1, "{source}: {problems:?}");
        assert!(problems[0].contains("`plan` must not import `ledger`: pure modules"), "{problems:?}");
    }
    for source in [
        "use crate::model::Time;",
        "// use crate::ledger;",
        "/// [`crate::ledger`]",
        "const T: &str = \"crate::ledger\";",
        "use super::ledger;\n",
        "/* use crate::ledger; /* */ use crate::ledger; */",
        "const T: &str = r#\"\" crate::ledger \"\"#;",
        "const T: &[u8] = br\"\\\"; const U: &str = \"crate::ledger\";",
        "#[cfg(test)]\nmod tests { use crate::ledger; }",
        "#[cfg(test)]\n#[expect(unused)]\npub(super) mod tests { fn f() {} use crate::ledger; }",
        "#[cfg(test)]\nuse crate::ledger::{self, Ledger};",
    ] {
        assert!(told("plan", 2, source).is_empty(), "{source}");
    }
    assert_eq!(told("attic", 1, "").len(), 1);
    assert_eq!(told("sandbox", 1, "use crate::model;").len(), 1);
    assert_eq!(imports("\n\nuse crate::model;", 1), [Import { to: "model".into(), line: 3 }]);
}
