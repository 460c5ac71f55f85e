//! The settings as the rest of the program sees them: validated, plain, one struct a section. The lower rooms
//! do not import these; each has its own small options struct, and `app` translates.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::Problem;
pub use crate::model::{DocumentMode, Entry, Integration, MissingTeam, Mode};
use crate::{mapping::Rules, secret::Secret, telemetry::LogFormat};

/// Everything that can be set. `config/default.toml` documents each key.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The HTTP listener.
    pub server: Server,
    /// Where deliveries wait.
    pub queue: Queue,
    /// The durable store.
    pub ledger: Ledger,
    /// Reading GitHub.
    pub github: Github,
    /// Reading and writing Datadog.
    pub datadog: Datadog,
    /// How both upstreams are reached.
    pub network: Network,
    /// What may be done.
    pub policy: Policy,
    /// How much may be done at once.
    pub guard: Guard,
    /// The pace of the worker.
    pub reconcile: Reconcile,
    /// GitHub team → Datadog teams.
    pub mapping: Rules,
    /// Documents of Datadog's integrations.
    pub integrations: Integrations,
    /// Logs and traces.
    pub telemetry: Telemetry,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// Address of the one HTTP listener.
    pub listen: SocketAddr,
    /// Secrets that GitHub may sign with; several while one is being replaced.
    pub webhook_secrets: Vec<SecretString>,
    /// The file that they are from, for reading them anew.
    pub webhook_secrets_file: Option<Secret>,
    /// Opens the operator's pages; none = they answer 404.
    pub admin_token: Option<SecretString>,
    /// Largest body taken, in bytes.
    pub max_body: u64,
    /// How long the drain at shutdown may take.
    pub shutdown_grace: Duration,
}

/// `[queue]`
#[derive(Clone, Debug)]
pub struct Queue {
    /// The broker (may hold a password), or `None` for `embedded`: no broker, straight into the ledger.
    pub url: Option<SecretString>,
    /// Topic exchange that deliveries are published to.
    pub exchange: String,
    /// Queue that the worker consumes.
    pub queue: String,
    /// Queue of what the broker gave up on.
    pub dead_queue: String,
    /// Routing patterns from the exchange to the queue.
    pub bindings: Vec<String>,
    /// Whether teamlink declares the topology itself.
    pub declare: bool,
    /// Unacknowledged messages at most.
    pub prefetch: u16,
    /// Whether signatures of consumed messages are checked.
    pub verify: Verify,
}

/// When the signature of a message from the queue is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// When it carries one.
    WhenSigned,
    /// Always; an unsigned message is invalid.
    Always,
    /// Never: the broker's own permissions are trusted.
    Never,
}

/// `[ledger]`
#[derive(Clone, Debug)]
pub struct Ledger {
    /// `sqlite:FILE`; may hold a password for other stores.
    pub url: SecretString,
    /// How long a delivery's GUID is remembered.
    pub keep_deliveries: Duration,
    /// How long the audit trail is kept.
    pub keep_audit: Duration,
}

/// `[github]`
#[derive(Clone, Debug)]
pub struct Github {
    /// The API's base.
    pub base_url: Url,
    /// Logins to serve; empty = every organisation that sends events or installed the app.
    pub orgs: Vec<String>,
    /// How to sign in; none = offline.
    pub credential: Option<GithubCredential>,
    /// Requests at a time.
    pub concurrency: usize,
}

/// How to sign in to GitHub.
#[derive(Clone, Debug)]
pub enum GithubCredential {
    /// A personal access token.
    Token(Secret),
    /// A GitHub App.
    App {
        /// Its id.
        id: u64,
        /// Its private key, PEM.
        private_key: Secret,
    },
}

impl Github {
    /// The secrets of the credential, by key.
    pub fn secrets(&self) -> Vec<(&'static str, Secret)> {
        match self.credential.clone() {
            Some(GithubCredential::Token(token)) => vec![("github.token", token)],
            Some(GithubCredential::App { id: _, private_key }) => vec![("github.private_key", private_key)],
            None => Vec::new(),
        }
    }

    /// The credential, or what to set to have one.
    pub fn require(&self) -> Result<&GithubCredential, Problem> {
        self.credential.as_ref().ok_or_else(|| {
            Problem::new(
                "github.token",
                "no GitHub credential is set",
                "set GITHUB_TOKEN (an organisation owner's token with `read:org`), or GITHUB_APP_ID and \
                 GITHUB_APP_PRIVATE_KEY",
            )
        })
    }
}

/// `[datadog]`
#[derive(Clone, Debug)]
pub struct Datadog {
    /// The Datadog site, such as `datadoghq.eu`.
    pub site: String,
    /// The API's base; `https://api.SITE` unless set.
    pub base_url: Url,
    /// How to sign in; none = offline.
    pub credential: Option<DatadogCredential>,
    /// Our mark on the connections that we make.
    pub managed_by: String,
    /// Connections in one write at most.
    pub batch: usize,
    /// Requests at a time.
    pub concurrency: usize,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// How long a list of Datadog's teams is good.
    pub teams_ttl: Duration,
}

/// How to sign in to Datadog.
#[derive(Clone, Debug)]
pub enum DatadogCredential {
    /// API key and application key.
    Keys {
        /// `DD-API-KEY`
        api: Secret,
        /// `DD-APPLICATION-KEY`
        app: Secret,
    },
    /// An OAuth bearer.
    AccessToken(Secret),
}

impl Datadog {
    /// The secrets of the credential, by key.
    pub fn secrets(&self) -> Vec<(&'static str, Secret)> {
        match self.credential.clone() {
            Some(DatadogCredential::Keys { api, app }) => {
                vec![("datadog.api_key", api), ("datadog.app_key", app)]
            }
            Some(DatadogCredential::AccessToken(token)) => vec![("datadog.access_token", token)],
            None => Vec::new(),
        }
    }

    /// The credential, or what to set to have one.
    pub fn require(&self) -> Result<&DatadogCredential, Problem> {
        self.credential.as_ref().ok_or_else(|| {
            Problem::new(
                "datadog.api_key",
                "no Datadog credential is set",
                "set DD_API_KEY and DD_APP_KEY (the application key with `teams_read`, `teams_manage` and \
                 `integrations_read`), or datadog.access_token",
            )
        })
    }
}

/// `[network]`; proxies come from the environment.
#[derive(Clone, Debug)]
pub struct Network {
    /// Certificate authorities (PEM) trusted beside the system's, read from `ca_file`.
    pub extra_ca: Option<Vec<u8>>,
    /// The connections without TLS to hosts that `allow_plaintext` lists.
    pub plaintext: Vec<Plaintext>,
}

/// A connection without TLS to another machine, which carries credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plaintext {
    /// The setting, or the variable, that asks for it.
    pub key: String,
    /// The host, without its port.
    pub host: String,
    /// What to write instead.
    pub remedy: &'static str,
}

/// `[policy]`
#[derive(Clone, Debug)]
pub struct Policy {
    /// For every organisation that has no override.
    pub default: OrgPolicy,
    /// By login, lower-cased; each complete: what an override does not say it has from `default`.
    pub orgs: BTreeMap<String, OrgPolicy>,
}

impl Server {
    /// What the text of a file of webhook secrets holds.
    pub fn secrets_in(text: &SecretString) -> Vec<SecretString> {
        super::reader::secrets_in(text.expose_secret())
    }
}

impl Policy {
    /// The policy for the organisation with this login.
    pub fn of(&self, login: &str) -> &OrgPolicy {
        self.orgs.get(&login.to_lowercase()).unwrap_or(&self.default)
    }
}

/// What may be done in one organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrgPolicy {
    /// How far teamlink goes.
    pub mode: Mode,
    /// What to do about a handle that no Datadog team has.
    pub missing_team: MissingTeam,
    /// Globs of `org/slug` that are never unlinked.
    pub protected: Vec<String>,
}

/// `[guard]`
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// Removals of an org above this share of its connections are held.
    pub max_share: f64,
    /// The share counts only above this many connections.
    pub above: usize,
    /// Removals of an org above this number are held.
    pub max_removals: usize,
    /// Removals of everybody in `window` above this number are held.
    pub max_per_window: usize,
    /// The sliding window.
    pub window: Duration,
    /// The two looks that prove a team gone are at least this far apart.
    pub grace: Duration,
    /// An org's first pass with more creates than this is held.
    pub first_creates: usize,
}

/// `[reconcile]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconcile {
    /// Time between full passes, the first at start-up; `None` = no passes.
    pub every: Option<Duration>,
    /// A mark is due this long after its last event …
    pub debounce: Duration,
    /// … but at most this long after its first.
    pub max_wait: Duration,
    /// First wait after a failure.
    pub backoff_min: Duration,
    /// Longest wait after a failure.
    pub backoff_max: Duration,
    /// Attempts before an action is parked.
    pub max_attempts: u32,
}

/// `[integrations.*]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integrations {
    /// `[integrations.github]`
    pub github: GithubDocument,
    /// `[integrations.jira]`
    pub jira: DeclaredDocument,
    /// `[integrations.pagerduty]`
    pub pagerduty: DeclaredDocument,
}

impl Integrations {
    /// Those whose documents are kept.
    pub fn on(&self) -> Vec<Integration> {
        let github = self.github.repositories != Repositories::None;
        let on = [
            (github, Integration::Github),
            (self.jira.entries.is_some(), Integration::Jira),
            (self.pagerduty.entries.is_some(), Integration::Pagerduty),
        ];
        on.into_iter().filter(|(on, _)| *on).map(|(_, integration)| integration).collect()
    }
}

/// `[integrations.github]`: `enabled_repos`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GithubDocument {
    /// Whether others' entries stay.
    pub mode: DocumentMode,
    /// Where the repositories come from.
    pub repositories: Repositories,
    /// Globs of `owner/name` that are taken; empty = all.
    pub include: Vec<String>,
    /// Globs of `owner/name` that are left out.
    pub exclude: Vec<String>,
    /// Whether archived repositories are taken.
    pub archived: bool,
    /// Visibilities that are taken (`public`, `private`, `internal`); empty = all.
    pub visibility: Vec<String>,
    /// Topics of which a repository must have one; empty = any.
    pub topics: Vec<String>,
}

/// Where the repositories of `enabled_repos` come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repositories {
    /// The document is left alone.
    None,
    /// Those of the linked teams.
    LinkedTeams,
    /// All of the organisation.
    Org,
}

/// `[integrations.jira]`, `[integrations.pagerduty]`: a document whose entries are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredDocument {
    /// Whether others' entries stay.
    pub mode: DocumentMode,
    /// Its entries; `None` = the document is left alone.
    pub entries: Option<Vec<Entry>>,
}

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// Filter directives as in `RUST_LOG`.
    pub log: String,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// Where traces are sent over OTLP, if anywhere.
    pub otlp_endpoint: Option<Url>,
}
