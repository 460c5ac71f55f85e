//! Typed values out of raw ones. A value that is wrong becomes a problem, and its default is read instead, so
//! that one load finds every mistake. What nobody asked for is unknown.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use bytesize::ByteSize;
use config::{Value, ValueKind};
use secrecy::SecretString;
use url::Url;

use super::{
    Effective, Problem,
    layers::{self, DEFAULT, Values},
};
use crate::{files, secret::Secret};

/// The smallest likeness (Jaro-Winkler, 0 to 1) at which an unknown key is taken for a slip.
const LIKENESS: f64 = 0.85;

pub(super) struct Reader {
    values: Values,
    defaults: Values,
    /// Every key asked for, in order, with its value as `check` shows it.
    pub(super) effective: Vec<Effective>,
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(values: Values, problems: Vec<Problem>) -> Self {
        Self { values, defaults: layers::defaults(), effective: Vec::new(), problems }
    }

    /// Takes a key's value out, so that what is left in the end is unknown.
    pub(super) fn take(&mut self, key: &str, shown: impl FnOnce(&Value) -> String) -> Option<Value> {
        let value = self.values.remove(key);
        self.effective.push(Effective {
            key: key.to_owned(),
            value: value.as_ref().map_or_else(|| "(not set)".to_owned(), shown),
            source: value.as_ref().map_or(DEFAULT, source).to_owned(),
        });
        value
    }

    /// Says where a value comes from that is not set itself.
    pub(super) fn derived(&mut self, key: &str, value: &str, from: &str) {
        if let Some(shown) = self.effective.iter_mut().find(|shown| shown.key == key) {
            (shown.value, shown.source) = (value.to_owned(), from.to_owned());
        }
    }

    pub(super) fn problem(&mut self, key: &str, why: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::new(key, why, remedy));
    }

    /// A value that may be missing. `parse` says what is wrong; `remedy` what to write.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(key, harmless)?;
        match scalar(&value).and_then(|text| parse(text.trim())) {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                self.problems.push(Problem {
                    value: Some(harmless(&value)),
                    source: Some(source(&value).to_owned()),
                    ..Problem::new(key, why, remedy)
                });
                None
            }
        }
    }

    /// A value that has a default.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        if let Some(parsed) = self.optional(key, remedy, &parse) {
            return parsed;
        }
        let default = self.defaults.get(key).and_then(|value| scalar(value).ok());
        let parsed = default.ok_or_else(|| "missing".to_owned()).and_then(|text| parse(&text));
        parsed.unwrap_or_else(|why| unreachable!("config/default.toml: {key}: {why}"))
    }

    pub(super) fn text(&mut self, key: &str) -> String {
        self.value(key, "write some text", |text| {
            if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
        })
    }

    pub(super) fn flag(&mut self, key: &str) -> bool {
        self.value(key, "write true or false", |text| {
            text.parse().map_err(|_| "it is neither true nor false".to_owned())
        })
    }

    pub(super) fn duration(&mut self, key: &str) -> Duration {
        self.value(key, DURATION_REMEDY, duration)
    }

    pub(super) fn size(&mut self, key: &str) -> u64 {
        self.value(key, "write a size such as `64KiB` or `25MiB`", |text| {
            ByteSize::from_str(text).map(|size| size.as_u64()).map_err(|_| "it is no size".to_owned())
        })
    }

    /// A whole number, at least `least` and at most what its type holds.
    pub(super) fn number<N: FromStr + PartialOrd + std::fmt::Display>(&mut self, key: &str, least: N) -> N {
        let remedy = format!("write a whole number, {least} or more");
        self.value(key, &remedy, |text| match text.parse() {
            Ok(number) if number >= least => Ok(number),
            Ok(_) => Err("it is too small".to_owned()),
            Err(_) => Err("it is no whole number in range".to_owned()),
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> T {
        self.value(key, &one_of(words), |text| chosen(words, text))
    }

    /// One of a few words, where the default is not that of the key.
    pub(super) fn choice_or<T: Copy>(&mut self, key: &str, words: &[(&str, T)], default: T) -> T {
        self.optional(key, &one_of(words), |text| chosen(words, text)).unwrap_or(default)
    }

    /// A list: a TOML array, or a text separated by commas.
    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.take(key, text_of) else { return Vec::new() };
        self.texts(key, &value).unwrap_or_default()
    }

    /// A list of globs.
    pub(super) fn globs(&mut self, key: &str) -> Vec<String> {
        let globs = self.list(key);
        for glob in &globs {
            if let Err(error) = globset::Glob::new(glob) {
                let why = format!("{glob:?} is no glob: {}", error.kind());
                self.problem(key, why, "write globs such as `acme/platform-*`");
            }
        }
        globs
    }

    fn texts(&mut self, key: &str, value: &Value) -> Option<Vec<String>> {
        let texts: Result<Vec<String>, String> = match &value.kind {
            ValueKind::Array(items) => items.iter().map(scalar).collect(),
            _ => scalar(value).map(|text| text.split(',').map(|part| part.trim().to_owned()).collect()),
        };
        match texts {
            Ok(texts) => Some(texts.into_iter().filter(|text| !text.is_empty()).collect()),
            Err(why) => {
                self.problems.push(Problem {
                    source: Some(source(value).to_owned()),
                    ..Problem::new(key, why, "write a list of texts: [\"one\", \"two\"]")
                });
                None
            }
        }
    }

    /// A secret, given itself or as the path of a file that holds it.
    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        let file = self.file_of(key);
        let (value, origin) = self.hidden(key, |value| scalar(value).map(|text| vec![text]))?;
        let text = value.into_iter().next().unwrap_or_default();
        if text.is_empty() {
            self.problem(key, format!("it is empty ({origin})"), "give the secret, or unset it");
        }
        let text = SecretString::from(text);
        Some(file.map_or_else(|| text.clone().into(), |file| Secret::from_file(text.clone(), file)))
    }

    /// The file that holds a secret, as far as one is named.
    pub(super) fn file_of(&self, key: &str) -> Option<PathBuf> {
        self.values.get(&format!("{key}_file")).map(|path| text_of(path).into())
    }

    /// Several secrets; a file holds one a line.
    pub(super) fn secrets(&mut self, key: &str) -> Vec<SecretString> {
        let texts = |value: &Value| match &value.kind {
            ValueKind::Array(items) => items.iter().map(scalar).collect(),
            _ => scalar(value).map(|text| parts(&text).map(str::to_owned).collect()),
        };
        let secrets = self.hidden(key, texts).map(|(secrets, _)| secrets).unwrap_or_default();
        secrets.into_iter().filter(|secret| !secret.is_empty()).map(SecretString::from).collect()
    }

    fn hidden(
        &mut self,
        key: &str,
        read: impl Fn(&Value) -> Result<Vec<String>, String>,
    ) -> Option<(Vec<String>, String)> {
        let file_key = format!("{key}_file");
        let value = self.take(key, |value| match &value.kind {
            ValueKind::Array(secrets) if secrets.is_empty() => "[]".to_owned(),
            _ => "(hidden)".to_owned(),
        });
        let Some(path) = self.values.remove(&file_key) else {
            let value = value?;
            return match read(&value) {
                Ok(texts) => Some((texts, source(&value).to_owned())),
                Err(why) => {
                    self.problem(key, why, "give the secret as text");
                    None
                }
            };
        };
        let origin = source(&path).to_owned();
        if let Some(value) = value.filter(|value| source(value) != DEFAULT) {
            let why = format!("it is given twice: itself ({}) and as a file ({origin})", source(&value));
            self.problem(key, why, "keep one of the two");
        }
        let shown = text_of(&path);
        match files::read_secret(Path::new(&shown)) {
            Ok(text) => {
                self.derived(key, "(hidden)", &format!("{shown} ({origin})"));
                read(&Value::new(None, text)).ok().map(|texts| (texts, shown))
            }
            Err(error) => {
                self.problems.push(Problem {
                    value: Some(shown),
                    source: Some(origin),
                    ..Problem::new(
                        &file_key,
                        format!("cannot be read: {error}"),
                        "check the path and its permissions",
                    )
                });
                None
            }
        }
    }

    /// A URL that may hold a password, shown without it.
    pub(super) fn secret_url(&mut self, key: &str, remedy: &str, schemes: &[&str]) -> SecretString {
        let default = self.defaults.get(key).map(text_of).unwrap_or_default();
        let (texts, origin) = match self.hidden(key, |value| scalar(value).map(|text| vec![text])) {
            Some(given) => given,
            None => (vec![default.clone()], DEFAULT.to_owned()),
        };
        let text = texts.into_iter().next().unwrap_or_default();
        let shown = without_password(&text);
        if !schemes.iter().any(|scheme| text.starts_with(scheme)) {
            self.problems.push(Problem {
                value: Some(shown),
                source: Some(origin),
                ..Problem::new(key, format!("it begins with none of {}", schemes.join(", ")), remedy)
            });
            return default.into();
        }
        let from = self.effective.iter().find(|it| it.key == key).map(|it| it.source.clone());
        self.derived(key, &shown, &from.unwrap_or(origin));
        text.into()
    }

    /// The raw value of a key, for a reader of its own; nothing is shown for it.
    pub(super) fn raw(&mut self, key: &str) -> Option<Value> {
        self.values.remove(key)
    }

    /// The names under a prefix: `acme` of `policy.orgs.acme.mode`.
    pub(super) fn names_under(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> = (self.values.keys())
            .filter_map(|key| Some(key.strip_prefix(prefix)?.split_once('.')?.0.to_owned()))
            .collect();
        names.dedup();
        names
    }

    /// Whether a key is set at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// What nobody asked for becomes problems, with the likeliest key that was meant.
    pub(super) fn refuse_the_rest(&mut self) {
        let known: Vec<String> = self.effective.iter().map(|it| it.key.clone()).collect();
        for (key, value) in std::mem::take(&mut self.values) {
            let remedy = match likeliest(&key, known.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "remove it; config/default.toml has every setting".to_owned(),
            };
            self.problems.push(Problem {
                source: Some(source(&value).to_owned()),
                ..Problem::new(key, "there is no such setting", remedy)
            });
        }
    }
}

pub(super) const DURATION_REMEDY: &str = "write a duration such as `500ms`, `30s`, `5m` or `1h`";

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("it is no duration: {error}"))
}

fn one_of<T>(words: &[(&str, T)]) -> String {
    let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
    format!("write one of {}", words.join(", "))
}

fn chosen<T: Copy>(words: &[(&str, T)], text: &str) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| "it is none of the choices".to_owned())
}

/// The known word that an unknown one is likeliest a slip of.
pub(super) fn likeliest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|word| (strsim::jaro_winkler(unknown, word), word));
    let best = scored.filter(|(score, _)| *score >= LIKENESS).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map(|(_, word)| word)
}

/// The secrets in a text that holds several, as a file does.
pub(super) fn secrets_in(text: &str) -> Vec<SecretString> {
    parts(text).filter(|secret| !secret.is_empty()).map(SecretString::from).collect()
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n']).map(str::trim)
}

/// An `http` or `https` URL.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
    match (url.scheme(), url.has_host(), url.username().is_empty() && url.password().is_none()) {
        ("http" | "https", true, true) => Ok(url),
        ("http" | "https", true, false) => Err("it holds a user or password".to_owned()),
        _ => Err("it is no http or https URL".to_owned()),
    }
}

/// A URL without its password and query; a text that only looks like one is hidden as a whole.
fn without_password(text: &str) -> String {
    if !text.contains(['@', '?']) {
        return text.to_owned();
    }
    let Some(mut url) = Url::parse(text).ok().filter(|url| url.password().is_some() || !text.contains('@'))
    else {
        return "(hidden)".to_owned();
    };
    url.set_query(None);
    match url.password().is_none() || url.set_password(Some("hidden")).is_ok() {
        true => url.into(),
        false => "(hidden)".to_owned(),
    }
}

/// A value for people, in case it is a URL that holds a password where none belongs.
fn harmless(value: &Value) -> String {
    let text = text_of(value);
    if text.contains("://") || text.contains('@') { without_password(&text) } else { text }
}

/// Where a value came from: `default`, a file, or a variable.
pub(super) fn source(value: &Value) -> &str {
    value.origin().unwrap_or(DEFAULT)
}

fn scalar(value: &Value) -> Result<String, String> {
    match &value.kind {
        ValueKind::Array(_) => Err("it is a list where one value is expected".to_owned()),
        ValueKind::Table(_) => Err("it is a table where a value is expected".to_owned()),
        _ => value.clone().into_string().map_err(|error| error.to_string()),
    }
}

/// A value as it would be written, for people.
pub(super) fn text_of(value: &Value) -> String {
    match &value.kind {
        ValueKind::Array(items) => {
            format!("[{}]", items.iter().map(text_of).collect::<Vec<_>>().join(", "))
        }
        ValueKind::Table(table) => {
            let sorted: std::collections::BTreeMap<_, _> = table.iter().collect();
            let pairs = sorted.into_iter().map(|(key, value)| format!("{key} = {}", text_of(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        _ => value.clone().into_string().unwrap_or_default(),
    }
}
