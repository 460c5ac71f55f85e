//! From the embedded defaults, files and variables to one value a key, each with where it came from.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
};

use config::{Config, ConfigError, FileFormat, Format, Map, Source, Value, ValueKind};

use super::Problem;

const DEFAULTS: &str = include_str!("../../config/default.toml");

/// What the origin of a default is called.
pub(super) const DEFAULT: &str = "default";

/// The ecosystem's own names of some settings. A `_FILE` behind any of them makes it the path of a file.
const ECOSYSTEM: [(&str, &str); 11] = [
    ("AMQP_URL", "queue.url"),
    ("DATABASE_URL", "ledger.url"),
    ("DD_API_KEY", "datadog.api_key"),
    ("DD_APP_KEY", "datadog.app_key"),
    ("DD_SITE", "datadog.site"),
    ("GITHUB_APP_ID", "github.app_id"),
    ("GITHUB_APP_PRIVATE_KEY", "github.private_key"),
    ("GITHUB_TOKEN", "github.token"),
    ("GITHUB_WEBHOOK_SECRET", "server.webhook_secrets"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
    ("RUST_LOG", "telemetry.log"),
];

/// One value a key (`section.key`); lists and lists of tables are one value.
pub(super) type Values = BTreeMap<String, Value>;

/// The embedded defaults alone.
pub(super) fn defaults() -> Values {
    let parsed = FileFormat::Toml.parse(Some(&DEFAULT.to_owned()), DEFAULTS);
    let layer = Layer(parsed.unwrap_or_else(|error| unreachable!("config/default.toml: {error}")));
    merge(vec![layer]).unwrap_or_else(|error| unreachable!("config/default.toml: {error}"))
}

/// Defaults, files in order, the environment; later ones win. What cannot be read is told in `problems`.
pub(super) fn read(files: &[PathBuf], env: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Values {
    let defaults = defaults();
    let mut layers = vec![Layer(defaults.clone().into_iter().collect())];
    for file in files {
        let name = file.display().to_string();
        let parsed = fs::read_to_string(file)
            .map_err(|error| ("cannot be read", error.to_string(), "check the path given with --config"))
            .and_then(|text| {
                let parsed = FileFormat::Toml.parse(Some(&name), &text);
                parsed.map_err(|error| ("is not valid TOML", error.to_string(), "mend the file there"))
            });
        match parsed {
            Ok(values) => layers.push(Layer(values)),
            Err((what, error, remedy)) => {
                problems.push(Problem::new(&name, format!("{what}: {}", error.trim_end()), remedy));
            }
        }
    }
    layers.push(environment(env, &defaults));
    merge(layers).unwrap_or_else(|error| {
        problems.push(Problem::new("settings", error.to_string(), "mend the files given with --config"));
        defaults
    })
}

fn environment(env: &BTreeMap<String, String>, defaults: &Values) -> Layer {
    let ecosystem = ECOSYSTEM.iter().flat_map(|(name, key)| {
        [((*name).to_owned(), (*key).to_owned()), (format!("{name}_FILE"), format!("{key}_file"))]
    });
    // Only names with `__` are ours: Kubernetes gives every pod variables such as TEAMLINK_SERVICE_HOST, when
    // there is a service of that name.
    let ours = env.keys().filter_map(|name| {
        let key = name.strip_prefix("TEAMLINK_").filter(|key| key.contains("__"))?;
        Some((name.clone(), key.to_lowercase().replace("__", ".")))
    });
    let mut layer = HashMap::new();
    for (name, key) in ecosystem.chain(ours) {
        let Some(text) = env.get(&name) else { continue };
        let is_list = matches!(defaults.get(&key).map(|value| &value.kind), Some(ValueKind::Array(_)));
        // A list of which no part is split off: secrets may hold commas.
        let kind = match (text.is_empty(), is_list) {
            (true, false) => continue,
            (true, true) if name.starts_with("TEAMLINK_") => ValueKind::Array(Vec::new()),
            (true, true) if name == "GITHUB_WEBHOOK_SECRET" => continue,
            (false, true) if name == "GITHUB_WEBHOOK_SECRET" => {
                ValueKind::Array(vec![Value::new(Some(&name), text.clone())])
            }
            _ => ValueKind::String(text.clone()),
        };
        layer.insert(key, Value::new(Some(&name), kind));
    }
    Layer(layer.into_iter().collect())
}

/// One source of the `config` crate, whose values know where they came from.
#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

fn merge(layers: Vec<Layer>) -> Result<Values, ConfigError> {
    let merged = Config::builder().add_source(layers).build()?;
    let mut values = Values::new();
    for (name, value) in merged.collect()? {
        flatten(name, value, &mut values);
    }
    Ok(values)
}

fn flatten(key: String, value: Value, into: &mut Values) {
    match value.kind {
        ValueKind::Table(table) => {
            for (name, value) in table {
                flatten(format!("{key}.{name}"), value, into);
            }
        }
        _ => drop(into.insert(key, value)),
    }
}
