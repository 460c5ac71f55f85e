//! Which settings send credentials to another machine without TLS, and whether `network.allow_plaintext` lists the host. It
//! reads what the settings say, and asks nobody.

use std::{collections::BTreeMap, net::IpAddr};

use secrecy::ExposeSecret as _;
use url::{Host, Url};

use super::{Plaintext, Problem, Settings};

/// The values of PostgreSQL's `sslmode` that never fall back to the clear.
const ENCRYPTED: [&str; 3] = ["require", "verify-ca", "verify-full"];

/// The variables that name a proxy, in lower case.
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "all_proxy"];

/// Every connection in the clear to another machine that carries credentials.
pub(super) fn connections(settings: &Settings, env: &BTreeMap<String, String>) -> Vec<Plaintext> {
    let Settings { github, datadog, queue, ledger, telemetry, .. } = settings;
    let http = |key: &str, url: &Url| {
        let host = url.host().filter(|host| url.scheme() == "http" && is_elsewhere(host))?;
        Some(Plaintext { key: key.to_owned(), host: name(&host), remedy: "write `https://`" })
    };
    let broker = queue.url.as_ref().and_then(|url| Url::parse(url.expose_secret()).ok());
    let broker = broker.and_then(|url| {
        let host =
            Host::parse(url.host_str()?).ok().filter(|host| url.scheme() == "amqp" && is_elsewhere(host))?;
        Some(Plaintext { key: "queue.url".to_owned(), host: name(&host), remedy: "write `amqps://`" })
    });
    let proxies = env.iter().filter_map(|(variable, value)| {
        let value = if value.contains("://") { value.clone() } else { format!("http://{value}") };
        let url = Url::parse(&value).ok()?;
        let carries = !url.username().is_empty() || url.password().is_some();
        PROXIES.contains(&variable.to_lowercase().as_str()).then_some(())?;
        http(variable, &url).filter(|_| carries)
    });
    let upstreams = [
        http("github.base_url", &github.base_url),
        http("datadog.base_url", &datadog.base_url),
        telemetry.otlp_endpoint.as_ref().and_then(|url| http("telemetry.otlp_endpoint", url)),
        broker,
        postgres(ledger.url.expose_secret(), env),
    ];
    upstreams.into_iter().flatten().chain(proxies).collect()
}

/// Returns the ledger's connection if it may go without TLS. PostgreSQL's default, `prefer`, sends the password in the clear
/// to a server that declines TLS. If the URL lacks a host or a mode, the driver uses `PGHOSTADDR`, `PGHOST` and `PGSSLMODE`.
fn postgres(url: &str, env: &BTreeMap<String, String>) -> Option<Plaintext> {
    let url = Url::parse(url).ok().filter(|url| url.scheme().starts_with("postgres"))?;
    let parameter = |names: &[&str]| {
        let found = url.query_pairs().filter(|(name, _)| names.contains(&&**name)).last();
        found.map(|(_, value)| value.into_owned())
    };
    let variable = |names: &[&str]| names.iter().find_map(|name| env.get(*name)).cloned();
    let mode = parameter(&["sslmode", "ssl-mode"]).or_else(|| variable(&["PGSSLMODE"]));
    let mode = mode.unwrap_or_default().to_lowercase();
    // If neither names a host, PostgreSQL is on this machine. A host that begins with `/` or `%2f` is a Unix socket.
    let host = parameter(&["host", "hostaddr"])
        .or_else(|| url.host_str().filter(|host| !host.is_empty()).map(str::to_owned))
        .or_else(|| variable(&["PGHOSTADDR", "PGHOST"]))?;
    let is_socket = host.starts_with('/') || host.to_lowercase().starts_with("%2f");
    let elsewhere = Host::parse(&host).map_or(!is_socket, |host| is_elsewhere(&host));
    (elsewhere && !is_socket && !host.is_empty() && !ENCRYPTED.contains(&mode.as_str())).then(|| Plaintext {
        key: "ledger.url".to_owned(),
        host: host.trim_matches(['[', ']']).to_lowercase(),
        remedy: "add `sslmode=verify-full` to the URL",
    })
}

/// Whether a host is another machine.
fn is_elsewhere(host: &Host<impl AsRef<str>>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.as_ref().to_lowercase();
            // The scheme `amqp` is none whose hosts the parser takes for addresses.
            name != "localhost"
                && !name.ends_with(".localhost")
                && !name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        Host::Ipv4(address) => !address.is_loopback(),
        Host::Ipv6(address) => !address.is_loopback(),
    }
}

fn name(host: &Host<impl AsRef<str>>) -> String {
    match host {
        Host::Domain(name) => name.as_ref().to_lowercase(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

/// Why a connection in the clear is refused.
pub(super) fn problem(Plaintext { key, host, remedy }: &Plaintext) -> Problem {
    Problem::new(
        key,
        format!("credentials go to {host} without TLS: whoever is on the way can read them"),
        format!("{remedy}, or list {host} in network.allow_plaintext"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let env = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let told = |problems: super::super::Problems| problems.0.iter().map(ToString::to_string).collect();
        Settings::load(&[], &env).map(|loaded| loaded.settings).map_err(told)
    }

    /// Credentials that go to another machine in the clear, by the variable that says so, with the host.
    const CLEAR: [(&str, &str, &str); 13] = [
        ("TEAMLINK_GITHUB__BASE_URL", "http://ghes.example/api/v3", "ghes.example"),
        ("TEAMLINK_DATADOG__BASE_URL", "http://10.0.0.7:8080", "10.0.0.7"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[fd00::7]:4318", "fd00::7"),
        ("AMQP_URL", "amqp://teamlink:pw@rabbitmq:5672/%2f", "rabbitmq"),
        ("AMQP_URL", "amqp://10.0.0.7", "10.0.0.7"),
        ("DATABASE_URL", "postgres://teamlink:pw@db.example/teamlink", "db.example"),
        ("DATABASE_URL", "postgresql://teamlink:pw@DB.example/teamlink?sslmode=prefer", "db.example"),
        ("DATABASE_URL", "postgres://db.example/teamlink?sslmode=disable", "db.example"),
        ("DATABASE_URL", "postgres://db.example/teamlink?sslmode=require&sslmode=allow", "db.example"),
        ("DATABASE_URL", "postgres://localhost/teamlink?host=db.example", "db.example"),
        ("HTTPS_PROXY", "http://me:pw@proxy.example:3128", "proxy.example"),
        ("https_proxy", "me:pw@proxy.example:3128", "proxy.example"),
        ("ALL_PROXY", "http://me@proxy.example", "proxy.example"),
    ];

    #[test]
    fn credentials_in_the_clear_are_refused_unless_their_host_is_listed() {
        for (variable, value, host) in CLEAR {
            let why = format!("credentials go to {host} without TLS");
            let told = load(&[(variable, value)]).unwrap_err();
            assert!(told.len() == 1 && told[0].contains(&why), "{variable}={value}: {told:?}");
            assert!(!told[0].contains("pw"), "{told:?}");
            let listed = host.to_uppercase();
            let settings =
                load(&[(variable, value), ("TEAMLINK_NETWORK__ALLOW_PLAINTEXT", &listed)]).unwrap();
            let allowed: Vec<_> = settings.network.plaintext.iter().map(|it| it.host.as_str()).collect();
            assert_eq!(allowed, [host], "{variable}={value}");
            let other = [(variable, value), ("TEAMLINK_NETWORK__ALLOW_PLAINTEXT", "other.example")];
            assert!(load(&other).is_err(), "{variable}={value}");
        }
    }

    #[test]
    fn what_is_encrypted_or_stays_on_this_machine_needs_no_entry() {
        for (variable, value) in [
            ("TEAMLINK_GITHUB__BASE_URL", "https://ghes.example/api/v3"),
            ("TEAMLINK_GITHUB__BASE_URL", "http://localhost:9000"),
            ("TEAMLINK_DATADOG__BASE_URL", "http://127.0.0.2:9000"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1]:4318"),
            ("AMQP_URL", "amqps://teamlink:pw@rabbitmq/%2f"),
            ("AMQP_URL", "amqp://127.0.0.1:5672/%2f"),
            ("AMQP_URL", "amqp://[::1]:5672/%2f"),
            ("DATABASE_URL", "postgres://teamlink:pw@db.example/teamlink?sslmode=verify-full"),
            ("DATABASE_URL", "postgres://teamlink:pw@db.example/teamlink?sslmode=require"),
            ("DATABASE_URL", "postgres://teamlink:pw@127.0.0.1/teamlink"),
            ("DATABASE_URL", "postgres:///teamlink"),
            ("DATABASE_URL", "postgres://%2Fvar%2Frun%2Fpostgresql/teamlink"),
            ("DATABASE_URL", "postgres://db.example/teamlink?host=/var/run/postgresql"),
            ("DATABASE_URL", "sqlite:teamlink.db"),
            ("HTTPS_PROXY", "http://proxy.example:3128"),
            ("HTTPS_PROXY", "https://me:pw@proxy.example:3128"),
            ("HTTPS_PROXY", "http://me:pw@localhost:3128"),
        ] {
            let settings = load(&[(variable, value)]);
            let settings = settings.unwrap_or_else(|told| panic!("{variable}={value}: {told:?}"));
            assert_eq!(settings.network.plaintext, [], "{variable}={value}");
        }
    }

    #[test]
    fn what_the_url_of_postgresql_leaves_out_its_variables_say() {
        let url = ("DATABASE_URL", "postgres:///teamlink");
        for variable in ["PGHOST", "PGHOSTADDR"] {
            let told = load(&[url, (variable, "10.0.0.7")]).unwrap_err();
            assert!(told.len() == 1 && told[0].contains("credentials go to 10.0.0.7"), "{told:?}");
            assert!(load(&[url, (variable, "10.0.0.7"), ("PGSSLMODE", "verify-full")]).is_ok());
        }
        assert!(load(&[url, ("PGHOST", "/var/run/postgresql")]).is_ok());
        let here = ("DATABASE_URL", "postgres://127.0.0.1/teamlink");
        assert!(load(&[here, ("PGHOST", "10.0.0.7")]).is_ok(), "the URL names the host");
        let clear = ("DATABASE_URL", "postgres://db.example/teamlink?sslmode=prefer");
        assert!(load(&[clear, ("PGSSLMODE", "verify-full")]).is_err(), "the URL says how");
    }
}
