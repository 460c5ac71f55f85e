//! Datadog's entity integration documents: each is one configuration with one list of entries that say what becomes
//! an entity of Datadog's Software Catalog. teamlink understands the list's entries as far as it must to tell them
//! apart; whatever else stands in a document or an entry is another's and passes through untouched.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Integration, JsonText, Time};

/// A document as Datadog answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Datadog's number of the organisation that the keys belong to; another number is another organisation's key.
    pub org_id: Option<i64>,
    /// The whole configuration.
    pub config: Configuration,
}

/// The fields of a document. Datadog's contract leaves them a free-form object.
pub type Configuration = BTreeMap<String, JsonText>;

/// What happens to entries that others added to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentMode {
    /// They stay.
    Additive,
    /// They go: the list becomes exactly what is wanted.
    Exclusive,
}

/// An entry that teamlink wants in a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// `integrations/github`, in `enabled_repos`.
    Repository {
        /// `github.com`, or the host of GitHub Enterprise Server.
        hostname: String,
        /// The owner's login.
        github_org_name: String,
        /// The name without the owner.
        repo_name: String,
    },
    /// `integrations/jira`, in `enabled_projects`.
    Project {
        /// The Jira site, such as `acme.atlassian.net`.
        hostname: String,
        /// Id of the Jira account that Datadog is connected to.
        account_id: String,
        /// The project's key.
        project_key: String,
    },
    /// `integrations/pagerduty`, in `accounts`.
    Account {
        /// Whether its services are taken.
        enabled: bool,
        /// Its subdomain; none = the organisation's only account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subdomain: Option<String>,
    },
}

impl Entry {
    /// What makes it the entry it is.
    pub fn key(&self) -> EntryKey {
        let integration = match self {
            Self::Repository { .. } => Integration::Github,
            Self::Project { .. } => Integration::Jira,
            Self::Account { .. } => Integration::Pagerduty,
        };
        EntryKey::of(integration, &Value::Object(self.fields()))
    }

    /// As it is written into a document.
    pub fn fields(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    }
}

/// What makes an entry the one it is: its names, lower-cased, as Datadog's sources compare hosts, GitHub names, Jira
/// keys and subdomains without case. Only a Jira account's id is opaque and keeps its case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryKey(pub String);

impl EntryKey {
    /// The key of an entry as it stands in a document. One that teamlink does not understand is its own key.
    pub fn of_text(integration: Integration, entry: &JsonText) -> Self {
        match entry.value() {
            Some(entry) => Self::of(integration, &entry),
            None => Self(format!("as it is: {entry}")),
        }
    }

    /// The same of a value.
    pub fn of(integration: Integration, entry: &Value) -> Self {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        let lower = |name: &str| text(name).map(str::to_lowercase);
        let known = || match integration {
            Integration::Github => {
                Some(format!("{}/{}/{}", lower("hostname")?, lower("github_org_name")?, lower("repo_name")?))
            }
            Integration::Jira => {
                Some(format!("{}/{}/{}", lower("hostname")?, text("account_id")?, lower("project_key")?))
            }
            Integration::Pagerduty => match entry.as_object()?.get("subdomain") {
                None | Some(Value::Null) => Some("(the only account)".to_owned()),
                Some(subdomain) => Some(subdomain.as_str()?.to_lowercase()),
            },
        };
        // No name has a blank in it.
        Self(known().unwrap_or_else(|| format!("as it is: {entry}")))
    }
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a PUT does to one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryChange {
    /// It is added.
    Add,
    /// Its `enabled` is corrected.
    Correct,
    /// It is removed.
    Remove,
}

impl EntryChange {
    /// Every change.
    pub const ALL: [Self; 3] = [Self::Add, Self::Correct, Self::Remove];

    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add_entry",
            Self::Correct => "correct_entry",
            Self::Remove => "remove_entry",
        }
    }
}

/// What a document has, as far as a loss of it would be noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The keys of its entries.
    pub entries: BTreeSet<EntryKey>,
    /// The names of its fields, without its list.
    pub fields: BTreeSet<String>,
}

impl Contents {
    /// Adds what another read shows.
    pub fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.fields.extend(other.fields);
    }
}

/// A read lacked what the document had when it was last accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The first read that lacked it.
    pub since: Time,
    /// What it lacked, as a hash.
    pub lacks: String,
}

/// What is wrong with a list of entries, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshapen {
    /// Behind the list's name: `[2].repo_name`, counted from 1.
    pub at: String,
    /// The value, when there is one.
    pub value: Option<Value>,
    /// What is wrong.
    pub why: String,
    /// What to write.
    pub remedy: &'static str,
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, value, why, remedy } = self;
        match value {
            Some(value) => write!(f, "{at} = {value}: {why}; {remedy}"),
            None => write!(f, "{at}: {why}; {remedy}"),
        }
    }
}

/// One field of an entry that Datadog's contract names.
struct Field {
    name: &'static str,
    required: bool,
    flag: bool,
    remedy: &'static str,
}

const fn text(name: &'static str, remedy: &'static str) -> Field {
    Field { name, required: true, flag: false, remedy }
}

const REPOSITORY: &[Field] = &[
    text("hostname", "write the host alone: \"github.com\""),
    text("github_org_name", "write the organisation's login"),
    text("repo_name", "write the repository's name without its owner"),
];
const PROJECT: &[Field] = &[
    text("hostname", "write the host alone: \"acme.atlassian.net\""),
    text("account_id", "write the id of the Jira account as Datadog shows it, in quotes"),
    text("project_key", "write the key that stands before the numbers of issues: \"ENG\""),
];
const ACCOUNT: &[Field] = &[
    Field { name: "enabled", required: true, flag: true, remedy: "write true or false" },
    Field { required: false, ..text("subdomain", "write \"acme\" for acme.pagerduty.com") },
];

impl Integration {
    /// Every integration of which Datadog keeps such a document.
    pub const ALL: [Self; 3] = [Self::Github, Self::Jira, Self::Pagerduty];

    /// The integration with this id in Datadog's path.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|integration| integration.as_str() == id)
    }

    /// The name of the list in its document.
    pub fn list(self) -> &'static str {
        match self {
            Self::Github => "enabled_repos",
            Self::Jira => "enabled_projects",
            Self::Pagerduty => "accounts",
        }
    }

    /// The fields of an entry that Datadog's contract names.
    pub fn field_names(self) -> impl Iterator<Item = &'static str> {
        self.fields().iter().map(|field| field.name)
    }

    fn fields(self) -> &'static [Field] {
        match self {
            Self::Github => REPOSITORY,
            Self::Jira => PROJECT,
            Self::Pagerduty => ACCOUNT,
        }
    }

    /// Everything that is wrong with a list of entries. Fields that the contract does not name are no mistake.
    pub fn misshapen(self, list: &Value) -> Vec<Misshapen> {
        let problem = |at: String, value: Option<&Value>, why: String, remedy| Misshapen {
            at,
            value: value.cloned(),
            why,
            remedy,
        };
        let Some(entries) = list.as_array() else {
            return vec![problem(String::new(), None, "it is no list".into(), "write a list of entries")];
        };
        let mut problems = Vec::new();
        let mut first: HashMap<EntryKey, usize> = HashMap::new();
        for (number, entry) in (1..).zip(entries) {
            let Some(found) = entry.as_object() else {
                let why = "it is no table of fields".to_owned();
                problems.push(problem(format!("[{number}]"), Some(entry), why, "write its fields"));
                continue;
            };
            let before = problems.len();
            for Field { name, required, flag, remedy } in self.fields() {
                let value = found.get(*name).filter(|value| !value.is_null());
                let why = match value {
                    None if *required => Some("it is missing"),
                    None => None,
                    Some(Value::Bool(_)) if *flag => None,
                    Some(_) if *flag => Some("it is neither true nor false"),
                    Some(Value::String(text)) => wrong(name, text),
                    Some(_) => Some("it is no text"),
                };
                if let Some(why) = why {
                    problems.push(problem(format!("[{number}].{name}"), value, why.to_owned(), remedy));
                }
            }
            if problems.len() == before {
                let other = *first.entry(EntryKey::of(self, entry)).or_insert(number);
                if other != number {
                    let why = format!("it names the same as [{other}]");
                    problems.push(problem(format!("[{number}]"), None, why, "keep one of the two"));
                }
            }
        }
        problems
    }
}

/// What no host, name or key can be.
fn wrong(name: &str, text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("it is empty")
    } else if text.contains(|c: char| c == '/' || c.is_whitespace()) {
        Some("no `/` and no blank can stand in it")
    } else if name == "project_key" && !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Some("a project's key has only letters, digits and `_`")
    } else if name == "subdomain" && text.contains('.') {
        Some("it is more than a subdomain")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_compared_without_case_and_opaque_ids_with_it() {
        let key = |integration, entry: Value| EntryKey::of(integration, &entry).0;
        let repository =
            json!({"hostname": "GitHub.com", "github_org_name": "Acme", "repo_name": "App", "x": 1});
        assert_eq!(key(Integration::Github, repository), "github.com/acme/app");
        let project = json!({"hostname": "Acme.atlassian.net", "account_id": "A-b", "project_key": "eng"});
        assert_eq!(key(Integration::Jira, project), "acme.atlassian.net/A-b/eng");
        assert_eq!(key(Integration::Pagerduty, json!({"subdomain": "ACME", "enabled": true})), "acme");
        let only = key(Integration::Pagerduty, json!({"enabled": true}));
        assert_eq!(only, key(Integration::Pagerduty, json!({"enabled": false, "subdomain": null})));
    }

    #[test]
    fn an_entry_that_is_not_understood_is_its_own_key() {
        for (integration, odd) in [
            (Integration::Github, json!("acme/app")),
            (Integration::Github, json!({"repo_name": 7})),
            (Integration::Jira, json!({"hostname": "acme.atlassian.net"})),
            (Integration::Pagerduty, json!({"subdomain": 1})),
            (Integration::Pagerduty, json!(null)),
        ] {
            assert_eq!(EntryKey::of(integration, &odd).0, format!("as it is: {odd}"));
        }
    }

    #[test]
    fn an_entry_is_written_with_the_fields_of_the_contract() {
        let account = Entry::Account { enabled: true, subdomain: None };
        assert_eq!(Value::Object(account.fields()), json!({"enabled": true}));
        let repository = Entry::Repository {
            hostname: "github.com".into(),
            github_org_name: "Acme".into(),
            repo_name: "App".into(),
        };
        assert_eq!(
            Value::Object(repository.fields()),
            json!({"hostname": "github.com", "github_org_name": "Acme", "repo_name": "App"})
        );
        assert_eq!(repository.key().0, "github.com/acme/app");
    }

    #[test]
    fn what_is_wrong_with_a_list_is_told_with_its_place() {
        let told = |integration: Integration, list: Value| {
            integration.misshapen(&list).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(told(Integration::Github, json!([
            {"hostname": "https://github.com", "github_org_name": "acme"},
            {"hostname": "github.com", "github_org_name": "acme", "repo_name": "app", "since": 3},
            {"hostname": "GitHub.com", "github_org_name": "ACME", "repo_name": "app"},
            "acme/app",
        ])), @r#"
        [1].hostname = "https://github.com": no `/` and no blank can stand in it; write the host alone: "github.com"
        [1].repo_name: it is missing; write the repository's name without its owner
        [3]: it names the same as [2]; keep one of the two
        [4] = "acme/app": it is no table of fields; write its fields
        "#);
        insta::assert_snapshot!(told(Integration::Jira, json!([
            {"hostname": "", "account_id": 12, "project_key": "ENG-12"},
        ])), @r#"
        [1].hostname = "": it is empty; write the host alone: "acme.atlassian.net"
        [1].account_id = 12: it is no text; write the id of the Jira account as Datadog shows it, in quotes
        [1].project_key = "ENG-12": a project's key has only letters, digits and `_`; write the key that stands before the numbers of issues: "ENG"
        "#);
        insta::assert_snapshot!(told(Integration::Pagerduty, json!([
            {"subdomain": "acme.pagerduty.com", "enabled": "yes"}, {"enabled": true}, {"enabled": false},
        ])), @r#"
        [1].enabled = "yes": it is neither true nor false; write true or false
        [1].subdomain = "acme.pagerduty.com": it is more than a subdomain; write "acme" for acme.pagerduty.com
        [3]: it names the same as [2]; keep one of the two
        "#);
        assert_eq!(told(Integration::Github, json!({})), ": it is no list; write a list of entries");
        assert_eq!(told(Integration::Pagerduty, json!([{"enabled": true, "subdomain": null}])), "");
    }
}
