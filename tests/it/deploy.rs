//! What the files of `deploy` grant: images by digest, secrets as files, few rights, networks apart.
//! `tests/servers/broker/compose.rs` runs the same set-up.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Map, Value, json};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn compose() -> Value {
    serde_norway::from_str(&fs::read_to_string(file("compose.yaml")).unwrap()).unwrap()
}

fn services(compose: &Value) -> &Map<String, Value> {
    compose["services"].as_object().unwrap()
}

/// The texts of a list, or the keys of a table.
fn names(of: &Value) -> BTreeSet<&str> {
    match of {
        Value::Array(all) => all.iter().map(|it| it.as_str().unwrap()).collect(),
        Value::Object(all) => all.keys().map(String::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

fn has_digest(image: &str) -> bool {
    image
        .split_once("@sha256:")
        .is_some_and(|(_, digest)| digest.len() == 64 && digest.bytes().all(|it| it.is_ascii_hexdigit()))
}

#[test]
fn every_image_is_named_by_its_digest() {
    let compose = compose();
    for (name, service) in services(&compose).iter().filter(|(_, service)| service["build"].is_null()) {
        assert!(has_digest(service["image"].as_str().unwrap()), "{name}");
    }
    let dockerfile = fs::read_to_string(file("Dockerfile")).unwrap();
    let bases: Vec<_> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(bases.len(), 2);
    for base in bases {
        assert!(has_digest(base.split(' ').next().unwrap()), "{base}");
    }
}

#[test]
fn every_container_has_limits_and_no_rights_of_the_kernel() {
    let compose = compose();
    for (name, service) in services(&compose) {
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["cap_add"], Value::Null, "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert!(service["mem_limit"].is_string() && service["pids_limit"].is_u64(), "{name}");
        // Ours writes nothing but its ledger.
        assert!(service["build"].is_null() || service["read_only"] == json!(true), "{name}");
    }
}

#[test]
fn each_secret_is_a_file_that_only_those_get_who_need_it() {
    let compose = compose();
    for (name, service) in services(&compose) {
        let mut named = BTreeSet::new();
        let empty = Map::new();
        for (variable, value) in service["environment"].as_object().unwrap_or(&empty) {
            if let Some(secret) = value.as_str().and_then(|value| value.strip_prefix("/run/secrets/")) {
                assert!(variable.ends_with("_FILE"), "{name}: {variable}");
                named.insert(secret);
                continue;
            }
            let may_hold_one =
                ["TOKEN", "KEY", "SECRET", "PASS", "URL"].iter().any(|it| variable.contains(it));
            assert!(!may_hold_one, "{name}: {variable} is no file");
        }
        if name == "rabbitmq" {
            named.insert("rabbitmq-definitions.json");
        }
        assert_eq!(names(&service["secrets"]), named, "{name}");
    }
    let webhook = names(&compose["services"]["webhook"]["secrets"]);
    assert_eq!(webhook, ["github-webhook-secret", "webhook-amqp-url"].into());
}

#[test]
fn the_webhook_reaches_no_database_and_the_servers_reach_nothing_outside() {
    let compose = compose();
    let networks = |service: &str| names(&compose["services"][service]["networks"]);
    assert!(networks("webhook").is_disjoint(&networks("postgres")));
    assert!(networks("rabbitmq").is_disjoint(&networks("postgres")));
    for server in ["rabbitmq", "postgres"] {
        for network in networks(server) {
            assert_eq!(compose["networks"][network]["internal"], json!(true), "{server}: {network}");
        }
        assert_eq!(compose["services"][server]["ports"], Value::Null, "{server}");
    }
}

#[test]
fn make_secrets_makes_every_secret_once() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("secrets");
    let make = || {
        let made = Command::new(file("make-secrets")).arg(&folder).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap()
    };
    let said = make();
    let compose = compose();
    let read = || -> Vec<(String, String)> {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let all = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = all.map(|it| (name(&it), fs::read_to_string(&it).unwrap())).collect();
        all.sort();
        all
    };
    let first = read();
    let made: BTreeSet<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(made, names(&compose["secrets"]));
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for (name, text) in &first {
        let to_fill_in = said.contains(&format!("Write the credential into {}/{name},", folder.display()));
        assert_eq!(text.is_empty(), to_fill_in, "{name}: {said}");
    }
    make();
    assert_eq!(read(), first);
}
