//! Faults on request: rules that spoil answers. Which rule hits is decided here; carrying it out is the
//! pipeline's work.

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use serde_json::Value;

/// One rule of `PUT /_sandbox/faults`; all but `path` may be left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Only this method; any if absent.
    #[serde(default)]
    pub(crate) method: Option<String>,
    /// Matched against the path as sent, without the query; `*` is any text, `/` included.
    pub(crate) path: String,
    /// Only requests that hold this text, in their body or in a header.
    #[serde(default)]
    pub(crate) contains: Option<String>,
    /// Share of the matching requests that are hit.
    #[serde(default = "always")]
    pub(crate) probability: f64,
    /// Hits left; unlimited if absent.
    #[serde(default)]
    pub(crate) times: Option<u64>,
    /// Holds the answer back this long; the request has been carried out by then.
    #[serde(default)]
    pub(crate) latency_ms: u64,
    /// A GET is answered with the world as it was this long ago.
    #[serde(default)]
    pub(crate) stale_ms: u64,
    /// Answers with this status and does not carry the request out.
    #[serde(default)]
    pub(crate) status: Option<u16>,
    /// Added to the answer, whether it is real or made up.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Answers with this (a string as it is, anything else as JSON) and does not carry the request out.
    #[serde(default)]
    pub(crate) body: Option<Value>,
    /// Cuts the connection in place of the answer; the request has been carried out, unless `status` or `body`
    /// is given too.
    #[serde(default)]
    pub(crate) reset: bool,
    /// Drops the second half of a page's items and its next link.
    #[serde(default)]
    pub(crate) truncate: bool,
    /// Answers 200 with an empty list.
    #[serde(default)]
    pub(crate) empty: bool,
    /// Added to the total that a list tells.
    #[serde(default)]
    pub(crate) total_off: i64,
    /// A list of GitHub's teams lacks the one with this slug.
    #[serde(default)]
    pub(crate) lacks: Option<String>,
    /// A document is written without the entries that hold this text.
    #[serde(default)]
    pub(crate) drops: Option<String>,
    /// A write sends no webhooks.
    #[serde(default)]
    pub(crate) drop_webhooks: bool,
}

impl Rule {
    /// What would make the rule impossible to carry out.
    fn check(&self) -> Result<(), String> {
        if self.status.is_some_and(|status| StatusCode::from_u16(status).is_err()) {
            return Err(format!("status {:?} of {:?} is none", self.status, self.path));
        }
        for (name, value) in &self.headers {
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
                return Err(format!("header {name:?}: {value:?} of {:?} is none", self.path));
            }
        }
        Ok(())
    }
}

fn always() -> f64 {
    1.0
}

/// The rules in force, and the dice.
pub(crate) struct Faults {
    rules: Vec<Rule>,
    dice: StdRng,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), dice: StdRng::seed_from_u64(seed) }
    }

    /// Replaces all rules, or none if one of them is impossible.
    pub(crate) fn set(&mut self, rules: Vec<Rule>) -> Result<(), String> {
        rules.iter().try_for_each(Rule::check)?;
        self.rules = rules;
        Ok(())
    }

    /// The first rule that matches, has hits left and whose dice fall; it loses one hit. `holds` says whether the
    /// request has a text in it.
    pub(crate) fn hit(&mut self, method: &str, path: &str, holds: impl Fn(&str) -> bool) -> Option<Rule> {
        let Self { rules, dice } = self;
        let rule = rules.iter_mut().find(|rule| {
            rule.times != Some(0)
                && rule.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                && glob(&rule.path, path)
                && rule.contains.as_deref().is_none_or(&holds)
                && (rule.probability >= 1.0 || dice.random::<f64>() < rule.probability)
        })?;
        if let Some(times) = &mut rule.times {
            *times -= 1;
        }
        Some(rule.clone())
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<Rule> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_star_matches_slashes_too() {
        for (pattern, text, fits) in [
            ("/orgs/*/teams", "/orgs/acme/teams", true),
            ("/orgs/*/teams", "/orgs/acme/teams/x/repos/acme/teams", true),
            ("/orgs/*/teams", "/orgs/acme/teams/x", false),
            ("/api/*", "/api/v2/team/connections", true),
            ("*", "", true),
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("*b*b*", "ab", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_with_hits_left_wins() {
        let mut faults = Faults::new(1);
        faults.set(rules(
            r#"[{"path": "/a", "method": "post", "status": 501}, {"path": "/a", "times": 1, "status": 502}, {"path": "*", "status": 503}]"#,
        )).unwrap();
        let mut seen = |method, path| faults.hit(method, path, |_| false).and_then(|rule| rule.status);
        assert_eq!(
            [seen("POST", "/a"), seen("GET", "/a"), seen("GET", "/a"), seen("GET", "/b")],
            [Some(501), Some(502), Some(503), Some(503)]
        );
    }

    #[test]
    fn the_dice_fall_as_the_seed_says() {
        let falls = |seed| {
            let mut faults = Faults::new(seed);
            faults.set(rules(r#"[{"path": "*", "probability": 0.5}]"#)).unwrap();
            (0..64).map(|_| faults.hit("GET", "/", |_| false).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(falls(7), falls(7));
        assert_ne!(falls(7), falls(8));
        assert!(falls(7).contains(&true) && falls(7).contains(&false));
    }

    #[test]
    fn a_rule_for_a_text_hits_only_what_holds_it() {
        let mut faults = Faults::new(1);
        faults.set(rules(r#"[{"path": "*", "contains": "poison"}]"#)).unwrap();
        let mut hits = |body: &str| faults.hit("POST", "/", |text| body.contains(text)).is_some();
        assert!(hits("a poison in it") && !hits("clean"));
    }

    #[test]
    fn a_rule_that_cannot_be_is_refused() {
        assert!(serde_json::from_str::<Rule>(r#"{"path": "*", "stale": 1}"#).is_err());
        let mut faults = Faults::new(1);
        for wrong in [r#"[{"path": "*", "status": 9}]"#, r#"[{"path": "*", "headers": {"a b": "c"}}]"#] {
            assert!(faults.set(rules(wrong)).is_err(), "{wrong}");
        }
    }
}
