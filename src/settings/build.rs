//! The sections, each key named once.

use std::{collections::BTreeMap, fs, net::SocketAddr, time::Duration};

use config::{Value, ValueKind};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::ExposeSecret;
use tracing_subscriber::EnvFilter;

use super::{
    reader::{DURATION_REMEDY, Reader, duration, http_url, likeliest, source, text_of},
    *,
};
use crate::{
    mapping::{RuleProblem, RuleSpec, Rules},
    secret::Secret,
    telemetry::LogFormat,
};

const URL_REMEDY: &str = "write an address such as `https://api.example.com`";

/// A lease lasts 5 s longer than a write may take: the work of a worker that was killed waits for its end.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn build(mut reader: Reader, env: &BTreeMap<String, String>) -> Result<Loaded, Problems> {
    let r = &mut reader;
    let mut settings = Settings {
        server: server(r),
        queue: queue(r),
        ledger: ledger(r),
        github: github(r),
        datadog: datadog(r),
        network: network(r),
        policy: policy(r),
        guard: guard(r),
        reconcile: reconcile(r),
        mapping: mapping(r),
        integrations: documents::integrations(r),
        telemetry: telemetry(r),
    };
    documents::refuse_token(r, &settings);
    allow_plaintext(r, &mut settings, env);
    let Settings { queue, server, .. } = &settings;
    let secret = server.webhook_secrets.iter().any(|secret| !secret.expose_secret().is_empty());
    if queue.url.is_some() && queue.verify == Verify::Always && !secret {
        r.problems.push(Problem::new(
            "queue.verify",
            "it is \"always\", and there is no secret to check with",
            "set server.webhook_secrets or GITHUB_WEBHOOK_SECRET to what GitHub signs with",
        ));
    }
    reader.refuse_the_rest();
    let Reader { problems, effective, .. } = reader;
    if problems.is_empty() { Ok(Loaded { settings, effective }) } else { Err(Problems(problems)) }
}

fn server(r: &mut Reader) -> Server {
    let file = r.file_of("server.webhook_secrets").map(|file| Secret::from_file("".into(), file));
    if let Some(file) = &file {
        // Where it cannot be read, that is told below.
        drop(file.reread());
    }
    Server {
        listen: r.value(
            "server.listen",
            "write an address and a port: `127.0.0.1:8080`, `[::]:8080`",
            |text| text.parse::<SocketAddr>().map_err(|_| "it is no address with a port".to_owned()),
        ),
        webhook_secrets: r.secrets("server.webhook_secrets"),
        webhook_secrets_file: file,
        admin_token: r.secret("server.admin_token").map(|token| token.get()),
        max_body: r.size("server.max_body"),
        shutdown_grace: r.duration("server.shutdown_grace"),
    }
}

fn queue(r: &mut Reader) -> Queue {
    let remedy =
        "write `embedded`, or RabbitMQ's address: `amqp://user:password@host:5672/vhost`, `amqps://…`";
    let url = r.secret_url("queue.url", remedy, &["embedded", "amqp://", "amqps://"]);
    Queue {
        url: (url.expose_secret() != "embedded").then_some(url),
        exchange: r.text("queue.exchange"),
        queue: r.text("queue.queue"),
        dead_queue: r.text("queue.dead_queue"),
        bindings: r.list("queue.bindings"),
        declare: r.flag("queue.declare"),
        prefetch: r.number("queue.prefetch", 1),
        verify: r.choice(
            "queue.verify",
            &[("when-signed", Verify::WhenSigned), ("always", Verify::Always), ("never", Verify::Never)],
        ),
    }
}

fn ledger(r: &mut Reader) -> Ledger {
    Ledger {
        url: r.secret_url(
            "ledger.url",
            "write `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`",
            &["sqlite:", "postgres://", "postgresql://"],
        ),
        keep_deliveries: r.duration("ledger.keep_deliveries"),
        keep_audit: r.duration("ledger.keep_audit"),
    }
}

fn github(r: &mut Reader) -> Github {
    let base_url = r.value("github.base_url", URL_REMEDY, http_url);
    let orgs = r.list("github.orgs");
    let token = r.secret("github.token");
    let app_id = r.optional("github.app_id", "write the number on the app's settings page", |text| {
        text.parse::<u64>().map_err(|_| "it is no number".to_owned())
    });
    let credential = match (token, app_id, r.secret("github.private_key")) {
        (Some(token), None, None) => Some(GithubCredential::Token(token)),
        (None, Some(id), Some(private_key)) => {
            signs(r, &private_key).then_some(GithubCredential::App { id, private_key })
        }
        (None, None, None) => None,
        (Some(_), ..) => {
            r.problem("github.token", "both a token and a GitHub App are set", "unset one of the two");
            None
        }
        (None, ..) => {
            let remedy = "set both `github.app_id` and `github.private_key`";
            r.problem("github.app_id", "a GitHub App needs its id and its private key", remedy);
            None
        }
    };
    Github { base_url, orgs, credential, concurrency: r.number("github.concurrency", 1) }
}

/// Whether the App's key can sign something.
fn signs(r: &mut Reader, key: &Secret) -> bool {
    let key = EncodingKey::from_rsa_pem(key.pem().expose_secret().as_bytes());
    let signed = key.and_then(|key| jsonwebtoken::encode(&Header::new(Algorithm::RS256), &(), &key));
    if signed.is_err() {
        // Neither the key nor what the parser says of it is printed.
        let remedy = "set it to the whole of the .pem file that GitHub made, or name that file: GITHUB_APP_PRIVATE_KEY_FILE";
        r.problem("github.private_key", "it is no RSA private key in PEM", remedy);
    }
    signed.is_ok()
}

fn datadog(r: &mut Reader) -> Datadog {
    let remedy = "write the site as in the address of Datadog's pages: `datadoghq.eu`";
    let (site, api) =
        r.value("datadog.site", remedy, |text| match http_url(&format!("https://api.{text}")) {
            Ok(api) if !text.contains('/') => Ok((text.to_owned(), api)),
            _ => Err("it is no host".to_owned()),
        });
    let base_url = r.optional("datadog.base_url", URL_REMEDY, http_url).unwrap_or_else(|| {
        r.derived("datadog.base_url", api.as_str().trim_end_matches('/'), "datadog.site");
        api
    });
    let (api_key, app_key) = (r.secret("datadog.api_key"), r.secret("datadog.app_key"));
    let credential = match (api_key, app_key, r.secret("datadog.access_token")) {
        (Some(api), Some(app), None) => Some(DatadogCredential::Keys { api, app }),
        (None, None, Some(token)) => Some(DatadogCredential::AccessToken(token)),
        (None, None, None) => None,
        (_, _, Some(_)) => {
            r.problem(
                "datadog.access_token",
                "both keys and an access token are set",
                "unset one of the two",
            );
            None
        }
        (Some(_), None, None) => {
            r.problem(
                "datadog.app_key",
                "an API key is set without an application key",
                "set DD_APP_KEY too",
            );
            None
        }
        (None, Some(_), None) => {
            r.problem(
                "datadog.api_key",
                "an application key is set without an API key",
                "set DD_API_KEY too",
            );
            None
        }
    };
    Datadog {
        site,
        base_url,
        credential,
        managed_by: r.text("datadog.managed_by"),
        batch: r.number("datadog.batch", 1),
        concurrency: r.number("datadog.concurrency", 1),
        timeout: r.value(
            "datadog.timeout",
            "write a duration of at most `20s`: the work of a worker that was killed waits for that long, and 6 s more",
            |text| match duration(text)? {
                longer if longer > LONGEST_TIMEOUT => Err("it is longer than 20s".to_owned()),
                timeout => Ok(timeout),
            },
        ),
        teams_ttl: r.duration("datadog.teams_ttl"),
    }
}

fn network(r: &mut Reader) -> Network {
    let remedy = "check the path and its permissions";
    let read = |path: &str| fs::read(path).map_err(|error| format!("cannot be read: {error}"));
    Network { extra_ca: r.optional("network.ca_file", remedy, read), plaintext: Vec::new() }
}

/// Refuses connections without TLS but to hosts that a person listed.
fn allow_plaintext(r: &mut Reader, settings: &mut Settings, env: &BTreeMap<String, String>) {
    let allowed = r.list("network.allow_plaintext");
    let listed = |it: &Plaintext| allowed.iter().any(|host| host.eq_ignore_ascii_case(&it.host));
    let (allowed, refused): (Vec<_>, Vec<_>) =
        plaintext::connections(settings, env).into_iter().partition(listed);
    r.problems.extend(refused.iter().map(plaintext::problem));
    settings.network.plaintext = allowed;
}

const MODES: [(&str, Mode); 3] = [("observe", Mode::Observe), ("upsert", Mode::Upsert), ("sync", Mode::Sync)];
const MISSING_TEAM: [(&str, MissingTeam); 2] =
    [("report", MissingTeam::Report), ("create", MissingTeam::Create)];

fn policy(r: &mut Reader) -> Policy {
    let default = OrgPolicy {
        mode: r.choice("policy.mode", &MODES),
        missing_team: r.choice("policy.missing_team", &MISSING_TEAM),
        protected: r.globs("policy.protected"),
    };
    let mut orgs = BTreeMap::new();
    for name in r.names_under("policy.orgs.") {
        let key = |key: &str| format!("policy.orgs.{name}.{key}");
        let mut org = default.clone();
        if r.has(&key("mode")) {
            org.mode = r.choice_or(&key("mode"), &MODES, default.mode);
        }
        if r.has(&key("missing_team")) {
            org.missing_team = r.choice_or(&key("missing_team"), &MISSING_TEAM, default.missing_team);
        }
        if r.has(&key("protected")) {
            org.protected = r.globs(&key("protected"));
        }
        orgs.insert(name.to_lowercase(), org);
    }
    Policy { default, orgs }
}

fn guard(r: &mut Reader) -> Guard {
    Guard {
        max_share: r.value("guard.max_share", "write a share such as `0.3`", |text| match text.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
            _ => Err("it is no number from 0 to 1".to_owned()),
        }),
        above: r.number("guard.above", 0),
        max_removals: r.number("guard.max_removals", 0),
        max_per_window: r.number("guard.max_per_window", 0),
        window: r.duration("guard.window"),
        grace: r.duration("guard.grace"),
        first_creates: r.number("guard.first_creates", 0),
    }
}

fn reconcile(r: &mut Reader) -> Reconcile {
    let every = r.value("reconcile.every", &format!("{DURATION_REMEDY}, or `off`"), |text| match text {
        "off" => Ok(None),
        _ => duration(text)
            .and_then(|every| if every.is_zero() { Err("it is zero".to_owned()) } else { Ok(Some(every)) }),
    });
    let (debounce, max_wait) = (r.duration("reconcile.debounce"), r.duration("reconcile.max_wait"));
    if debounce > max_wait {
        r.problem(
            "reconcile.max_wait",
            "it is shorter than `reconcile.debounce`",
            "make it at least as long",
        );
    }
    let (backoff_min, backoff_max) =
        (r.duration("reconcile.backoff_min"), r.duration("reconcile.backoff_max"));
    if backoff_min > backoff_max {
        r.problem(
            "reconcile.backoff_max",
            "it is shorter than `reconcile.backoff_min`",
            "make it at least as long",
        );
    }
    Reconcile {
        every,
        debounce,
        max_wait,
        backoff_min,
        backoff_max,
        max_attempts: r.number("reconcile.max_attempts", 1),
    }
}

fn mapping(r: &mut Reader) -> Rules {
    let tables = match r.raw("mapping").map(|value| value.kind) {
        None => Vec::new(),
        Some(ValueKind::Array(tables)) => tables,
        Some(_) => {
            r.problem("mapping", "it is no list of rules", "write `[[mapping]]` blocks in a file");
            Vec::new()
        }
    };
    // A later file replaces the whole list, so all rules are of one file.
    let from = tables.first().map_or(layers::DEFAULT, source).to_owned();
    let mut specs = Vec::new();
    for (number, table) in (1..).zip(tables) {
        let spec = rule(r, number, table);
        r.effective.push(Effective {
            key: format!("mapping[{number}]"),
            value: format!("{} → {}", spec.github, spec.gives()),
            source: from.clone(),
        });
        specs.push(spec);
    }
    let written = !specs.is_empty();
    let rules = Rules::compile(specs).unwrap_or_else(|problems| {
        for RuleProblem { rule, key, value, why, remedy } in problems {
            let key = format!("mapping[{rule}].{key}");
            r.problems.push(Problem { value, ..Problem::new(key, why, remedy) });
        }
        Rules::default()
    });
    for problem in r.problems.iter_mut().filter(|problem| problem.key.starts_with("mapping[")) {
        problem.source = Some(from.clone());
    }
    if !written {
        let default = rules.specs().map(|spec| format!("{} → {}", spec.github, spec.gives())).collect();
        r.effective.push(Effective { key: "mapping".into(), value: default, source: layers::DEFAULT.into() });
    }
    rules
}

/// One `[[mapping]]` block; `Rules::compile` judges what it says, this only that it says it in the known words.
fn rule(r: &mut Reader, number: usize, table: Value) -> RuleSpec {
    let mut spec = RuleSpec::default();
    let at = |key: &str| format!("mapping[{number}].{key}");
    let Ok(table) = table.into_table() else {
        r.problem(&format!("mapping[{number}]"), "it is no table", "write a `[[mapping]]` block");
        return spec;
    };
    for (key, value) in table.into_iter().collect::<BTreeMap<_, _>>() {
        let shown = text_of(&value);
        let texts = || match value.kind.clone() {
            ValueKind::Array(items) => items.into_iter().map(|item| item.into_string().ok()).collect(),
            ValueKind::String(text) => Some(vec![text]),
            _ => None,
        };
        let understood = match key.as_str() {
            "github" => texts().and_then(|mut texts| texts.pop()).map(|text| spec.github = text),
            "datadog" => texts().map(|texts| spec.datadog = texts),
            "team_id" => texts().map(|texts| spec.team_id = texts),
            "ignore" => value.clone().into_bool().ok().map(|ignore| spec.ignore = ignore),
            _ => {
                let meant = likeliest(&key, ["github", "datadog", "team_id", "ignore"].into_iter());
                let remedy = meant.map_or_else(
                    || "a rule has `github` and one of `datadog`, `team_id`, `ignore`".to_owned(),
                    |meant| format!("did you mean `{meant}`?"),
                );
                r.problem(&at(&key), "there is no such setting", remedy);
                continue;
            }
        };
        if understood.is_none() {
            let remedy = "write a text, or for `datadog` and `team_id` a list of texts; `ignore = true`";
            let problem = Problem::new(at(&key), "it has the wrong type", remedy);
            r.problems.push(Problem { value: Some(shown), ..problem });
        }
    }
    spec
}

fn telemetry(r: &mut Reader) -> Telemetry {
    let remedy = "write a level (`info`, `debug` …) or directives such as `info,teamlink::queue=debug`";
    Telemetry {
        log: r.value("telemetry.log", remedy, |text| match EnvFilter::try_new(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(format!("it is no log filter: {error}")),
        }),
        log_format: r.choice(
            "telemetry.log_format",
            &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)],
        ),
        otlp_endpoint: r.optional("telemetry.otlp_endpoint", URL_REMEDY, http_url),
    }
}
