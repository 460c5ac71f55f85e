//! A mapping rule as a person writes it, and as it is printed.

use std::fmt;

use crate::printable;

/// One `[[mapping]]` block, not yet validated. Exactly one of `datadog`, `team_id` and `ignore` says what the
/// GitHub teams that it names are linked to.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RuleSpec {
    /// Which GitHub teams: `org/slug`, where `*` stands for any text and `?` for one character, `/` excepted.
    pub github: String,
    /// Handles of Datadog teams, with the placeholders `{slug}`, `{org}` and `{1}`, `{2}` … for what the `*`
    /// of the pattern stood for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datadog: Vec<String>,
    /// Ids of Datadog teams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub team_id: Vec<String>,
    /// Leave these teams alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignore: bool,
}

impl RuleSpec {
    /// GitHub teams to handles.
    pub fn handles<H: Into<String>>(github: &str, handles: impl IntoIterator<Item = H>) -> Self {
        let datadog = handles.into_iter().map(Into::into).collect();
        Self { github: github.to_owned(), datadog, ..Self::default() }
    }

    /// GitHub teams to ids of Datadog teams.
    pub fn team_ids<I: Into<String>>(github: &str, ids: impl IntoIterator<Item = I>) -> Self {
        let team_id = ids.into_iter().map(Into::into).collect();
        Self { github: github.to_owned(), team_id, ..Self::default() }
    }

    /// GitHub teams to nothing.
    pub fn ignore(github: &str) -> Self {
        Self { github: github.to_owned(), ignore: true, ..Self::default() }
    }

    /// What the rule gives, as it would be written: a handle, a list, `ignore`.
    pub fn gives(&self) -> String {
        match (self.ignore, self.datadog.is_empty()) {
            (true, _) => "ignore".to_owned(),
            (false, false) => self.datadog.join(", "),
            (false, true) => self.team_id.join(", "),
        }
    }
}

impl fmt::Display for RuleSpec {
    /// The rule as a `[[mapping]]` block of TOML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &String| printable::toml(text);
        let list = |list: &[String]| match list {
            [one] => text(one),
            many => format!("[{}]", many.iter().map(text).collect::<Vec<_>>().join(", ")),
        };
        let Self { github, datadog, team_id, ignore } = self;
        writeln!(f, "[[mapping]]\ngithub = {}", text(github))?;
        if !datadog.is_empty() {
            writeln!(f, "datadog = {}", list(datadog))?;
        }
        if !team_id.is_empty() {
            writeln!(f, "team_id = {}", list(team_id))?;
        }
        if *ignore {
            writeln!(f, "ignore = true")?;
        }
        Ok(())
    }
}
