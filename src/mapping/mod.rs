//! Mapping rules: GitHub team → Datadog teams. Pure.
//!
//! Rules are tried in order and the first whose pattern matches decides; case is ignored. This room knows
//! nothing of which Datadog teams exist: it gives handles and ids, and the planner finds the teams.

mod existing;
mod pattern;
mod spec;
mod template;

pub use existing::{Existing, from_existing};
pub use spec::RuleSpec;

use std::collections::HashMap;

use pattern::Pattern;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use template::Template;

use crate::model::{DatadogTeamId, TeamFacts, TeamType};

/// Mapping rules, validated and compiled. The default is `*/* → {slug}`.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Rules whose pattern has no wildcard, by the team that they name: there may be thousands of them.
    exact: HashMap<String, usize>,
    /// The others, in order.
    wild: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Rule {
    spec: RuleSpec,
    pattern: Pattern,
    gives: Gives,
}

#[derive(Clone, Debug)]
enum Gives {
    Handles(Vec<Template>),
    TeamIds(Vec<DatadogTeamId>),
    Ignore,
}

/// What the rules say of one GitHub team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Index of the rule that decided; see [`Rules::spec`].
    pub rule: Option<usize>,
    /// What it decided.
    pub outcome: Outcome,
}

/// What a GitHub team is linked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The Datadog teams with these handles, lower-cased.
    Handles {
        /// The handles, in the rule's order.
        handles: Vec<String>,
        /// Handles that the rule gave but no Datadog team can have.
        impossible: Vec<ImpossibleHandle>,
    },
    /// The Datadog teams with these ids.
    TeamIds(Vec<DatadogTeamId>),
    /// A rule says to leave it alone.
    Ignored,
    /// No rule matches.
    Unmapped,
}

impl Outcome {
    /// Returns the handles that the rule gives and that a Datadog team can have.
    pub fn into_handles(self) -> Vec<String> {
        match self {
            Self::Handles { handles, impossible: _ } => handles,
            Self::TeamIds(_) | Self::Ignored | Self::Unmapped => Vec::new(),
        }
    }
}

/// A handle that Datadog would refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImpossibleHandle {
    /// The handle.
    pub handle: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleProblem {
    /// The rule's number, counted from 1.
    pub rule: usize,
    /// The key within the rule.
    pub key: &'static str,
    /// The value of that key, when it has one.
    pub value: Option<String>,
    /// What is wrong with it.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl Default for Rules {
    fn default() -> Self {
        let spec = RuleSpec::handles("*/*", ["{slug}"]);
        Self::compile(vec![spec]).unwrap_or_else(|problems| unreachable!("the default rule: {problems:?}"))
    }
}

impl Rules {
    /// Validates and compiles rules, all problems at once. No rules at all are the default rule.
    pub fn compile(specs: Vec<RuleSpec>) -> Result<Self, Vec<RuleProblem>> {
        if specs.is_empty() {
            return Ok(Self::default());
        }
        let mut problems = Vec::new();
        let mut this = Self { rules: Vec::new(), exact: HashMap::new(), wild: Vec::new() };
        for (index, spec) in specs.into_iter().enumerate() {
            let Some((pattern, gives)) = compile(&spec, index + 1, &mut problems) else { continue };
            match pattern.exact() {
                Some(team) => drop(this.exact.entry(team.to_owned()).or_insert(index)),
                None => this.wild.push(index),
            }
            this.rules.push(Rule { spec, pattern, gives });
        }
        if problems.is_empty() { Ok(this) } else { Err(problems) }
    }

    /// The rule with this index, as it was written.
    pub fn spec(&self, index: usize) -> Option<&RuleSpec> {
        self.rules.get(index).map(|rule| &rule.spec)
    }

    /// All rules in order, as they were written.
    pub fn specs(&self) -> impl Iterator<Item = &RuleSpec> {
        self.rules.iter().map(|rule| &rule.spec)
    }

    /// Returns what the rules say of a team. They match organisation teams only.
    pub fn resolve_team(&self, logins: &[&str], team: &TeamFacts) -> Resolution {
        match team.team_type {
            TeamType::Organization => self.resolve(logins, &team.slug),
            TeamType::Enterprise => Resolution { rule: None, outcome: Outcome::Unmapped },
        }
    }

    /// Returns the fingerprint of the rule set: it covers what was compiled, in its order, and not how it was written.
    /// It begins with its scheme.
    pub fn fingerprint(&self) -> String {
        let canonical = |Rule { spec, gives, .. }: &Rule| RuleSpec {
            github: spec.github.to_lowercase(),
            datadog: spec.datadog.iter().map(|handle| handle.to_lowercase()).collect(),
            team_id: match gives {
                Gives::TeamIds(ids) => ids.iter().map(ToString::to_string).collect(),
                Gives::Handles(_) | Gives::Ignore => Vec::new(),
            },
            ignore: spec.ignore,
        };
        let rules: Vec<RuleSpec> = self.rules.iter().map(canonical).collect();
        // A rule is texts, lists of texts and a flag: there is nothing that JSON can't say.
        let rules = serde_json::to_string(&rules).unwrap_or_default();
        let mut hash = hex::encode(Sha256::digest(rules));
        hash.truncate(32);
        format!("r1:{hash}")
    }

    /// What the rules say of the team with this slug. `logins` are those that its organisation answers to, the
    /// current one first and then the one that it was bound to: a renamed organisation keeps its rules.
    pub fn resolve(&self, logins: &[&str], slug: &str) -> Resolution {
        let slug = slug.to_lowercase();
        if TeamType::of(None, &slug) == TeamType::Enterprise {
            return Resolution { rule: None, outcome: Outcome::Unmapped };
        }
        let names: Vec<(String, String)> = logins
            .iter()
            .map(|login| {
                let login = login.to_lowercase();
                let name = format!("{login}/{slug}");
                (login, name)
            })
            .collect();
        let exact = names.iter().filter_map(|(_, name)| self.exact.get(name)).min().copied();
        let wild = (self.wild.iter().copied())
            .take_while(|index| exact.is_none_or(|exact| *index < exact))
            .find(|index| names.iter().any(|(_, name)| self.rules[*index].pattern.matches(name)));
        let Some(index) = wild.or(exact) else {
            return Resolution { rule: None, outcome: Outcome::Unmapped };
        };

        let Rule { pattern, gives, .. } = &self.rules[index];
        let outcome = match gives {
            Gives::Ignore => Outcome::Ignored,
            Gives::TeamIds(ids) => Outcome::TeamIds(ids.clone()),
            Gives::Handles(templates) => {
                let matched = names.iter().find(|(_, name)| pattern.matches(name));
                let (org, name) = matched.unwrap_or(&names[0]);
                handles(templates, org, &slug, &pattern.capture(name))
            }
        };
        Resolution { rule: Some(index), outcome }
    }
}

fn handles(templates: &[Template], org: &str, slug: &str, captures: &[&str]) -> Outcome {
    let (mut handles, mut impossible) = (Vec::new(), Vec::new());
    for template in templates {
        let handle = template.fill(org, slug, captures);
        match template::impossible(&handle) {
            Some(why) => impossible.push(ImpossibleHandle { handle, why }),
            None if handles.contains(&handle) => {}
            None => handles.push(handle),
        }
    }
    Outcome::Handles { handles, impossible }
}

/// Compiles one rule; what is wrong with it is added to the problems.
fn compile(spec: &RuleSpec, rule: usize, problems: &mut Vec<RuleProblem>) -> Option<(Pattern, Gives)> {
    let RuleSpec { github, datadog, team_id, ignore } = spec;
    let before = problems.len();
    let mut problem = |key, value: Option<&str>, why: String, remedy: &str| {
        let value = value.map(str::to_owned);
        problems.push(RuleProblem { rule, key, value, why, remedy: remedy.to_owned() });
    };

    let pattern = Pattern::new(github);
    if let Err(why) = &pattern {
        let remedy = "write `org/team`; `*` stands for any text and `?` for one character, `/` excepted";
        problem("github", Some(github), why.clone(), remedy);
    }
    if usize::from(!datadog.is_empty()) + usize::from(!team_id.is_empty()) + usize::from(*ignore) != 1 {
        let why = "a rule says exactly one of `datadog`, `team_id` and `ignore = true`".to_owned();
        problem("datadog", None, why, "keep one of them; write several rules for several answers");
    }
    let captures = pattern.as_ref().map_or(usize::MAX, Pattern::captures);
    let mut templates = Vec::new();
    for text in datadog {
        match Template::new(text, captures) {
            Ok(template) => templates.push(template),
            Err(why) => problem(
                "datadog",
                Some(text),
                why,
                "write a handle of a Datadog team, with `{slug}`, `{org}` and, for what each `*` of the \
                 pattern stands for, `{1}`, `{2}` …",
            ),
        }
    }
    let mut ids = Vec::new();
    for text in team_id {
        match uuid::Uuid::try_parse(text) {
            Ok(id) => ids.push(DatadogTeamId::from(id.to_string())),
            Err(_) => {
                let remedy = "copy the team's id from the address of its page in Datadog, or name its handle \
                              with `datadog`";
                problem("team_id", Some(text), "it is no UUID".to_owned(), remedy);
            }
        }
    }
    let gives = if *ignore {
        Gives::Ignore
    } else if datadog.is_empty() {
        Gives::TeamIds(ids)
    } else {
        Gives::Handles(templates)
    };
    pattern.ok().filter(|_| problems.len() == before).map(|pattern| (pattern, gives))
}

#[cfg(test)]
mod tests;
