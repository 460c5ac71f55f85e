//! Settings as a function of files and variables.

use std::{collections::BTreeSet, fs, time::Duration};

use secrecy::ExposeSecret;

use super::*;

fn env(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    Settings::load(&[], &env(variables))
}

/// Settings from one file with this text.
fn load_file(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("teamlink.toml");
    fs::write(&file, text).unwrap();
    Settings::load(&[file], &env(variables))
}

/// The problems, without the temporary directory's name.
fn told(result: Result<Loaded, Problems>) -> String {
    let Problems(mut problems) = result.unwrap_err();
    for source in problems.iter_mut().filter_map(|problem| problem.source.as_mut()) {
        *source = source.rsplit('/').next().unwrap().to_owned();
    }
    Problems(problems).to_string()
}

fn shown<'l>(loaded: &'l Loaded, key: &str) -> (&'l str, &'l str) {
    let found = loaded.effective.iter().find(|it| it.key == key).unwrap();
    (&found.value, &found.source)
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let Loaded { settings, effective } = load(&[]).unwrap();
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.max_body, 25 << 20);
    assert!(settings.queue.url.is_none());
    assert_eq!(settings.queue.verify, Verify::WhenSigned);
    assert_eq!(settings.ledger.url.expose_secret(), "sqlite:teamlink.db");
    assert_eq!(settings.datadog.base_url.as_str(), "https://api.datadoghq.com/");
    assert_eq!(settings.reconcile.every, Some(Duration::from_secs(3600)));
    assert_eq!(settings.guard.first_creates, 250);
    assert!(settings.github.require().is_err() && settings.datadog.require().is_err());
    assert!(effective.iter().all(|it| it.source == "default" || it.source == "datadog.site"));
}

/// `section.key` of every setting in the defaults file, those that are commented out included.
fn documented() -> BTreeSet<String> {
    let uncommented = |line: &str| {
        let code = line.strip_prefix("# ")?;
        let key = code.split_once(" = ")?.0;
        let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_key.then(|| code.to_owned())
    };
    let (mut section, mut keys) = (String::new(), BTreeSet::new());
    for line in include_str!("../../config/default.toml").lines() {
        let bare = line.trim_start_matches("# ");
        if let Some(table) = bare.strip_prefix("[[").and_then(|bare| bare.strip_suffix("]]")) {
            keys.insert(table.to_owned());
            section = "within a list".to_owned();
        } else if let Some(name) = bare.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')) {
            if name.starts_with(|c: char| c.is_ascii_lowercase()) {
                section = name.to_owned();
            }
        } else if let Some((key, _)) = uncommented(line).unwrap_or(line.to_owned()).split_once(" = ") {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys.retain(|key| !key.starts_with('#') && !key.contains(".#") && !key.starts_with("within a list"));
    keys
}

#[test]
fn the_defaults_file_tells_of_every_setting_and_of_no_other() {
    let mut documented = documented();
    assert!(documented.remove("policy.orgs.acme.mode"));
    let known: BTreeSet<String> = load(&[]).unwrap().effective.into_iter().map(|it| it.key).collect();
    assert_eq!(documented, known);
}

#[test]
fn later_files_win_over_earlier_and_variables_over_files() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one.toml"), dir.path().join("two.toml"));
    fs::write(
        &one,
        "[guard]\nabove = 1\nmax_removals = 1\nmax_per_window = 1\n[github]\norgs = [\"a\", \"b\"]",
    )
    .unwrap();
    fs::write(&two, "[guard]\nmax_removals = 2\nmax_per_window = 2\n[github]\norgs = [\"c\"]").unwrap();
    let files = [one.clone(), two.clone()];
    let loaded = Settings::load(&files, &env(&[("TEAMLINK_GUARD__MAX_PER_WINDOW", "3")])).unwrap();
    let Guard { above, max_removals, max_per_window, .. } = loaded.settings.guard;
    assert_eq!((above, max_removals, max_per_window), (1, 2, 3));
    assert_eq!(loaded.settings.github.orgs, ["c"]);
    assert_eq!(shown(&loaded, "guard.above"), ("1", one.to_str().unwrap()));
    assert_eq!(shown(&loaded, "guard.max_removals"), ("2", two.to_str().unwrap()));
    assert_eq!(shown(&loaded, "guard.max_per_window"), ("3", "TEAMLINK_GUARD__MAX_PER_WINDOW"));
    assert_eq!(shown(&loaded, "guard.window"), ("1h", "default"));
}

#[test]
fn our_own_variable_wins_over_the_ecosystems() {
    let both = [("DD_SITE", "datadoghq.eu"), ("TEAMLINK_DATADOG__SITE", "us5.datadoghq.com")];
    let loaded = load(&both).unwrap();
    assert_eq!(loaded.settings.datadog.base_url.as_str(), "https://api.us5.datadoghq.com/");
    assert_eq!(shown(&loaded, "datadog.base_url"), ("https://api.us5.datadoghq.com", "datadog.site"));
    assert_eq!(load(&both[..1]).unwrap().settings.datadog.site, "datadoghq.eu");
}

#[test]
fn an_empty_variable_empties_a_list_and_leaves_anything_else_as_it_was() {
    let file = "[github]\norgs = [\"acme\"]\n[server]\nlisten = \"0.0.0.0:80\"";
    let variables = [
        ("TEAMLINK_GITHUB__ORGS", ""),
        ("TEAMLINK_SERVER__LISTEN", ""),
        ("GITHUB_TOKEN", ""),
        ("DD_API_KEY", ""),
    ];
    let settings = load_file(file, &variables).unwrap().settings;
    assert!(settings.github.orgs.is_empty() && settings.github.credential.is_none());
    assert_eq!(settings.server.listen.to_string(), "0.0.0.0:80");
    let settings = load(&[("TEAMLINK_GITHUB__ORGS", "acme, other,")]).unwrap().settings;
    assert_eq!(settings.github.orgs, ["acme", "other"]);
}

#[test]
fn variables_that_only_look_like_ours_are_left_alone() {
    assert!(load(&[("TEAMLINK_SERVICE_HOST", "10.0.0.1"), ("TEAMLINK_PORT", "tcp://10.0.0.1:80")]).is_ok());
}

#[test]
fn three_mistakes_are_told_at_once() {
    let file =
        "[server]\nlisten = \"localhost\"\n[reconcile]\nevery = \"hourly\"\n[policy]\nmod = \"observe\"";
    insta::assert_snapshot!(told(load_file(file, &[])), @r#"
    3 mistakes in the settings
      server.listen = "localhost" (teamlink.toml): it is no address with a port
        write an address and a port: `127.0.0.1:8080`, `[::]:8080`
      reconcile.every = "hourly" (teamlink.toml): it is no duration: expected number at 0
        write a duration such as `500ms`, `30s`, `5m` or `1h`, or `off`
      policy.mod (teamlink.toml): there is no such setting
        did you mean `policy.mode`?
    "#);
}

#[test]
fn every_kind_of_mistake_is_told_with_its_remedy() {
    let file = r#"
        [queue]
        url = "kafka://user:pass@host"
        prefetch = 70000
        verify = "sometimes"
        [ledger]
        url = "mysql://root:pass@host/db"
        [github]
        base_url = "ftp://host"
        orgs = [["acme"]]
        app_id = "x"
        [datadog]
        site = "https://app.datadoghq.com"
        api_key = "only-one"
        batch = 0
        timeout = "1m"
        [guard]
        max_share = 30
        [policy]
        protected = ["acme/["]
        [policy.orgs.acme]
        mode = "look"
        [reconcile]
        debounce = "1m"
        [telemetry]
        log = "a=b=c"
        [[mapping]]
        github = "acme"
        datdog = "{slug}"
        [[integrations.pagerduty.accounts]]
        subdomain = "acme"
    "#;
    let told = told(load_file(file, &[("TEAMLINK_SERVER__LISTN", "x"), ("TEAMLINK_ODD__THING", "x")]));
    insta::assert_snapshot!(told, @r#"
    22 mistakes in the settings
      queue.url = "kafka://user:hidden@host" (teamlink.toml): it begins with none of embedded, amqp://, amqps://
        write `embedded`, or RabbitMQ's address: `amqp://user:password@host:5672/vhost`, `amqps://…`
      queue.prefetch = "70000" (teamlink.toml): it is no whole number in range
        write a whole number, 1 or more
      queue.verify = "sometimes" (teamlink.toml): it is none of the choices
        write one of "when-signed", "always", "never"
      ledger.url = "mysql://root:hidden@host/db" (teamlink.toml): it begins with none of sqlite:, postgres://, postgresql://
        write `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`
      github.base_url = "ftp://host" (teamlink.toml): it is no http or https URL
        write an address such as `https://api.example.com`
      github.orgs (teamlink.toml): it is a list where one value is expected
        write a list of texts: ["one", "two"]
      github.app_id = "x" (teamlink.toml): it is no number
        write the number on the app's settings page
      datadog.site = "https://app.datadoghq.com" (teamlink.toml): it is no host
        write the site as in the address of Datadog's pages: `datadoghq.eu`
      datadog.app_key: an API key is set without an application key
        set DD_APP_KEY too
      datadog.batch = "0" (teamlink.toml): it is too small
        write a whole number, 1 or more
      datadog.timeout = "1m" (teamlink.toml): it is longer than 20s
        write a duration of at most `20s`: the work of a worker that was killed waits for that long, and 6 s more
      policy.protected: "acme/[" is no glob: unclosed character class; missing ']'
        write globs such as `acme/platform-*`
      policy.orgs.acme.mode = "look" (teamlink.toml): it is none of the choices
        write one of "observe", "upsert", "sync"
      guard.max_share = "30" (teamlink.toml): it is no number from 0 to 1
        write a share such as `0.3`
      reconcile.max_wait: it is shorter than `reconcile.debounce`
        make it at least as long
      mapping[1].datdog (teamlink.toml): there is no such setting
        did you mean `datadog`?
      mapping[1].github = "acme" (teamlink.toml): it has not the form `org/team`
        write `org/team`; `*` stands for any text and `?` for one character, `/` excepted
      mapping[1].datadog (teamlink.toml): a rule says exactly one of `datadog`, `team_id` and `ignore = true`
        keep one of them; write several rules for several answers
      integrations.pagerduty.accounts[1].enabled (teamlink.toml): it is missing
        write true or false
      telemetry.log = "a=b=c" (teamlink.toml): it is no log filter: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5
        write a level (`info`, `debug` …) or directives such as `info,teamlink::queue=debug`
      odd.thing (TEAMLINK_ODD__THING): there is no such setting
        remove it; config/default.toml has every setting
      server.listn (TEAMLINK_SERVER__LISTN): there is no such setting
        did you mean `server.listen`?
    "#);
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_the_other_mistakes() {
    let files = [PathBuf::from("/nowhere/teamlink.toml")];
    let problems = Settings::load(&files, &env(&[("TEAMLINK_GUARD__ABOVE", "many")])).unwrap_err();
    assert_eq!(problems.0.len(), 2, "{problems}");
    let problems = load_file("[server\n", &[]).unwrap_err();
    assert!(problems.to_string().contains("is not valid TOML"), "{problems}");
}

#[test]
fn secrets_come_from_variables_or_from_files_that_variables_name() {
    let dir = tempfile::tempdir().unwrap();
    let (key, hooks) = (dir.path().join("key"), dir.path().join("hooks"));
    fs::write(&key, "the-api-key\n").unwrap();
    fs::write(&hooks, "first\nsecond\n").unwrap();
    let loaded = load(&[
        ("DD_API_KEY_FILE", key.to_str().unwrap()),
        ("DD_APP_KEY", "the-app-key"),
        ("TEAMLINK_SERVER__WEBHOOK_SECRETS_FILE", hooks.to_str().unwrap()),
    ])
    .unwrap();
    let Ok(DatadogCredential::Keys { api, app }) = loaded.settings.datadog.require() else {
        panic!("no keys")
    };
    assert_eq!((api.get().expose_secret(), app.get().expose_secret()), ("the-api-key", "the-app-key"));
    let secrets: Vec<&str> =
        loaded.settings.server.webhook_secrets.iter().map(|it| it.expose_secret()).collect();
    assert_eq!(secrets, ["first", "second"]);
    let from = format!("{} (DD_API_KEY_FILE)", key.display());
    assert_eq!(shown(&loaded, "datadog.api_key"), ("(hidden)", from.as_str()));

    let one = load(&[("GITHUB_WEBHOOK_SECRET", "with, comma")]).unwrap().settings.server.webhook_secrets;
    assert_eq!(one.iter().map(|it| it.expose_secret()).collect::<Vec<_>>(), ["with, comma"]);
    let twice = [("GITHUB_TOKEN", "t"), ("GITHUB_TOKEN_FILE", key.to_str().unwrap())];
    assert!(load(&twice).unwrap_err().to_string().contains("given twice"));
    let missing = load(&[("GITHUB_TOKEN_FILE", "/nowhere/token")]).unwrap_err();
    assert!(
        missing.to_string().contains("github.token_file = \"/nowhere/token\" (GITHUB_TOKEN_FILE)"),
        "{missing}"
    );
}

#[test]
fn a_github_app_needs_its_id_and_a_key_that_can_sign_and_no_token_beside_them() {
    let key = include_str!("../../tests/support/app-key.pem");
    let in_one_line = key.replace('\n', "\\n");
    for key in [key, &in_one_line] {
        let loaded = load(&[("GITHUB_APP_ID", "7"), ("GITHUB_APP_PRIVATE_KEY", key)]).unwrap();
        let Ok(GithubCredential::App { id: 7, private_key }) = loaded.settings.github.require() else {
            panic!("no app")
        };
        assert!(private_key.pem().expose_secret().lines().count() > 20);
    }
    let told = |env: &[(&str, &str)]| told(load(env));
    insta::assert_snapshot!(told(&[("GITHUB_APP_ID", "7"), ("GITHUB_APP_PRIVATE_KEY", "s3cret")]), @r"
    one mistake in the settings
      github.private_key: it is no RSA private key in PEM
        set it to the whole of the .pem file that GitHub made, or name that file: GITHUB_APP_PRIVATE_KEY_FILE
    ");
    // It looks like one and is cut.
    let cut = format!("{}\n-----END RSA PRIVATE KEY-----\n", &key[..key.len() / 2]);
    let cut = told(&[("GITHUB_APP_ID", "7"), ("GITHUB_APP_PRIVATE_KEY", &cut)]);
    assert!(cut.contains("github.private_key: it is no RSA") && !cut.contains(&key[100..120]), "{cut}");
    insta::assert_snapshot!(told(&[("GITHUB_APP_ID", "7")]), @r"
    one mistake in the settings
      github.app_id: a GitHub App needs its id and its private key
        set both `github.app_id` and `github.private_key`
    ");
    insta::assert_snapshot!(told(&[("GITHUB_APP_PRIVATE_KEY", key)]), @r"
    one mistake in the settings
      github.app_id: a GitHub App needs its id and its private key
        set both `github.app_id` and `github.private_key`
    ");
    insta::assert_snapshot!(told(&[("GITHUB_APP_ID", "7"), ("GITHUB_TOKEN", "t")]), @r"
    one mistake in the settings
      github.token: both a token and a GitHub App are set
        unset one of the two
    ");
}

#[test]
fn nothing_secret_is_ever_printed() {
    let loaded = load(&[
        ("GITHUB_TOKEN", "s3cret"),
        ("DD_API_KEY", "s3cret"),
        ("DD_APP_KEY", "s3cret"),
        ("GITHUB_WEBHOOK_SECRET", "s3cret"),
        ("TEAMLINK_SERVER__ADMIN_TOKEN", "s3cret"),
        ("AMQP_URL", "amqps://me:s3cret@mq:5671/%2f?key=s3cret"),
        ("DATABASE_URL", "sqlite:x.db"),
    ])
    .unwrap();
    let printed = format!("{loaded:?} {}", serde_json::to_string(&loaded.effective).unwrap());
    assert!(!printed.contains("s3cret"), "{printed}");
    assert_eq!(shown(&loaded, "queue.url"), ("amqps://me:hidden@mq:5671/%2f", "AMQP_URL"));
    assert_eq!(shown(&loaded, "ledger.url"), ("sqlite:x.db", "DATABASE_URL"));

    for wrong in [
        [("AMQP_URL", "http://me:s3cret@mq"), ("DD_API_KEY", "s3cret")],
        [("AMQP_URL", "me:s3cret@mq"), ("DD_APP_KEY", "s3cret")],
        [("GITHUB_TOKEN", "s3cret"), ("GITHUB_APP_PRIVATE_KEY", "s3cret")],
        [("TEAMLINK_GITHUB__BASE_URL", "https://me:s3cret@host"), ("DD_SITE", "https://s3cret@host")],
    ] {
        let told = load(&wrong).unwrap_err().to_string();
        assert!(!told.contains("s3cret"), "{told}");
    }
}

#[test]
fn an_organisations_policy_overrides_only_what_it_says() {
    let file = "[policy]\nmissing_team = \"create\"\nprotected = [\"*/sre\"]\n[policy.orgs.Acme]\nmode = \"observe\"";
    let policy =
        load_file(file, &[("TEAMLINK_POLICY__ORGS__OTHER__MODE", "upsert")]).unwrap().settings.policy;
    let acme = policy.of("ACME");
    assert_eq!((acme.mode, acme.missing_team), (Mode::Observe, MissingTeam::Create));
    assert_eq!(acme.protected, ["*/sre"]);
    assert_eq!(policy.of("other").mode, Mode::Upsert);
    assert_eq!(policy.of("third").mode, Mode::Sync);
}

#[test]
fn passes_can_be_off_and_rules_come_from_files() {
    let file = "[reconcile]\nevery = \"off\"\n[[mapping]]\ngithub = \"acme/*\"\ndatadog = [\"{slug}\", \"all\"]\n\
                [[mapping]]\ngithub = \"*/*\"\nignore = true";
    let loaded = load_file(file, &[]).unwrap();
    assert_eq!(loaded.settings.reconcile.every, None);
    assert_eq!(loaded.settings.mapping.specs().count(), 2);
    assert_eq!(shown(&loaded, "mapping[1]").0, "acme/* → {slug}, all");
    assert_eq!(shown(&loaded, "mapping[2]").0, "*/* → ignore");
}

#[test]
fn documents_are_declared_entry_by_entry() {
    let file = r#"
        [integrations.github]
        repositories = "linked-teams"
        mode = "exclusive"
        [[integrations.jira.enabled_projects]]
        hostname = "acme.atlassian.net"
        account_id = "1"
        project_key = "ENG"
        [integrations.pagerduty]
        accounts = []
    "#;
    let integrations = load_file(file, &[]).unwrap().settings.integrations;
    assert_eq!(integrations.on(), Integration::ALL);
    assert_eq!(integrations.github.mode, DocumentMode::Exclusive);
    let keys: Vec<_> = integrations.jira.entries.unwrap().iter().map(|entry| entry.key().0).collect();
    assert_eq!(keys, ["acme.atlassian.net/1/eng"]);
    assert_eq!(integrations.pagerduty.entries, Some(Vec::new()));
    assert_eq!(load(&[]).unwrap().settings.integrations.on(), []);
}

#[test]
fn a_wrong_shape_of_a_document_names_the_key() {
    let file = r#"
        [integrations.github]
        repositories = "teams"
        visibility = ["secret"]
        [[integrations.jira.enabled_projects]]
        hostname = "https://acme.atlassian.net"
        account_id = 12
        project_key = "ENG"
        [[integrations.jira.enabled_projects]]
        hostname = "acme.atlassian.net"
        account_id = "12"
        projekt_key = "ENG"
        [[integrations.pagerduty.accounts]]
        enabled = true
        subdomain = "acme"
        [[integrations.pagerduty.accounts]]
        enabled = false
        subdomain = "ACME"
    "#;
    let one = [("TEAMLINK_INTEGRATIONS__JIRA__ENABLED_PROJECTS", "ENG")];
    insta::assert_snapshot!(told(load_file(file, &[])), @r#"
    7 mistakes in the settings
      integrations.github.repositories = "teams" (teamlink.toml): it is none of the choices
        write one of "none", "linked-teams", "org"
      integrations.github.visibility: "secret" is no visibility
        write any of "public", "private", "internal"
      integrations.jira.enabled_projects[1].hostname = "https://acme.atlassian.net" (teamlink.toml): no `/` and no blank can stand in it
        write the host alone: "acme.atlassian.net"
      integrations.jira.enabled_projects[1].account_id = "12" (teamlink.toml): it is no text
        write the id of the Jira account as Datadog shows it, in quotes
      integrations.jira.enabled_projects[2].project_key (teamlink.toml): it is missing
        write the key that stands before the numbers of issues: "ENG"
      integrations.jira.enabled_projects[2].projekt_key (teamlink.toml): there is no such setting
        did you mean `project_key`?
      integrations.pagerduty.accounts[2] (teamlink.toml): it names the same as [1]
        keep one of the two
    "#);
    insta::assert_snapshot!(told(load(&one)), @r#"
    one mistake in the settings
      integrations.jira.enabled_projects (TEAMLINK_INTEGRATIONS__JIRA__ENABLED_PROJECTS): it is no list
        write a list of entries
    "#);
}

#[test]
fn an_access_token_does_not_do_for_documents() {
    let token = ("TEAMLINK_DATADOG__ACCESS_TOKEN", "secret");
    assert!(load(&[token]).is_ok());
    insta::assert_snapshot!(
        told(load(&[token, ("TEAMLINK_INTEGRATIONS__GITHUB__REPOSITORIES", "org")])),
        @r#"
        one mistake in the settings
          datadog.access_token: Datadog takes no access token for [integrations.github]
            set DD_API_KEY and DD_APP_KEY in its place
        "#
    );
}
