//! What the credentials of both upstreams allow, each finding with its remedy. Nothing here can write.

use serde::Serialize;

use crate::{
    datadog, github,
    model::{Answer, Trouble},
    transport::retry_answer,
};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but not everything will, or not as one may think.
    Warning,
    /// Teamlink cannot do its main work.
    Failed,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, in a few words.
    pub what: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do about it; `None` when nothing needs doing.
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Ok, detail: detail.into(), remedy: None }
    }

    /// Something a person should know, with what to do.
    pub fn warning(what: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            verdict: Verdict::Warning,
            detail: detail.into(),
            remedy: Some(remedy.into()),
        }
    }

    /// Something that must be mended, with how.
    pub fn failed(what: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, ..Self::warning(what, detail, remedy) }
    }

    /// The finding for an answer that is not the good one: a refusal gets the remedy for missing permission,
    /// a failure says that nothing is known.
    fn refused<T>(what: &str, answer: Answer<T>, remedy: &str) -> Self {
        match answer {
            Answer::Forbidden(trouble) => Self::failed(what, trouble.message, remedy),
            Answer::Failed(trouble) => Self::unreachable(what, trouble),
            Answer::Absent | Answer::Present(_) => Self::failed(what, "not found", remedy),
        }
    }

    fn unreachable(what: &str, trouble: Trouble) -> Self {
        Self::failed(
            what,
            trouble.message,
            "check the base URL, HTTPS_PROXY, NO_PROXY and network.ca_file, then try again",
        )
    }

    /// The same, where teamlink's main work goes on without it.
    fn softened(self) -> Self {
        Self { verdict: Verdict::Warning, ..self }
    }
}

/// Asks Datadog what the credential may do.
///
/// # Errors
/// When the options cannot make a client; what Datadog says is in the findings.
pub async fn datadog(options: &datadog::Options) -> anyhow::Result<Vec<Finding>> {
    let reader = datadog::Reader::new(options)?;
    let probe = datadog::Probe::new(options)?;

    let what = "Datadog teams can be read";
    let teams = match retry_answer(|| reader.teams_answer()).await {
        Answer::Present(()) => Finding::ok(what, format!("at {}", options.base_url)),
        refused => Finding::refused(
            what,
            refused,
            "check the site and both keys; give the application key `teams_read`",
        ),
    };
    // Without an answer to the first question, the others would only repeat it.
    if teams.verdict != Verdict::Ok {
        return Ok(vec![teams]);
    }

    let what = "team connections can be read";
    let connections = match retry_answer(|| reader.connections_answer()).await {
        Answer::Present(()) => Finding::ok(what, "permission `teams_read`"),
        refused => Finding::refused(what, refused, "give the application key `teams_read`"),
    };
    let what = "team connections can be created";
    let write = match retry_answer(|| probe.write()).await {
        Answer::Present(()) => Finding::ok(what, "asked to create none; nothing was written"),
        refused => {
            let remedy = "give the application key's owner `teams_manage`, or set policy.mode = \"observe\" to only report";
            Finding::refused(what, refused, remedy)
        }
    };
    let what = "entity integrations can be read";
    let integrations = match retry_answer(|| reader.integration("github")).await {
        Answer::Present(_) => Finding::ok(what, "permission `integrations_read`"),
        Answer::Absent => Finding::ok(what, "none is configured for GitHub yet"),
        refused => Finding::refused(
            what,
            refused,
            "give the application key `integrations_read` (an access token cannot have it); without it only \
             [integrations.*] does not work",
        )
        .softened(),
    };
    let what = "Datadog's own team sync is off";
    let sync = match retry_answer(|| reader.team_sync()).await {
        Answer::Present(Some(sync)) if sync.continuous() => Finding::warning(
            what,
            format!("it runs continuously (type {}) and writes connections beside teamlink", sync.kind),
            "pause it in Datadog (Teams, settings, GitHub), or let teamlink only report: policy.mode = \"observe\"",
        ),
        Answer::Present(Some(sync)) => Finding::ok(what, format!("its frequency is `{}`", sync.frequency)),
        Answer::Present(None) => Finding::ok(what, "it was never set up"),
        refused => {
            Finding::refused(what, refused, "look in Datadog (Teams, settings, GitHub) yourself").softened()
        }
    };
    Ok(vec![teams, connections, write, integrations, sync])
}

/// Asks GitHub whose the credential is and what it sees of these organisations.
///
/// # Errors
/// When the options cannot make a client; what GitHub says is in the findings.
pub async fn github(options: github::Options, orgs: &[String]) -> anyhow::Result<Vec<Finding>> {
    let at = format!("at {}", options.base_url);
    let reader = github::Reader::new(options)?;
    let what = "the GitHub App can sign in";
    match retry_answer(|| reader.app()).await {
        Answer::Absent => Ok(with_token(&reader, &at, orgs).await),
        Answer::Present(app) => {
            let signs_in = Finding::ok(what, format!("{} (id {}) {at}", app.name, app.id));
            Ok([vec![signs_in], with_app(&reader, app, orgs).await].concat())
        }
        refused => {
            let remedy =
                "check github.app_id, that github.private_key is a key of that app, and this machine's clock";
            Ok(vec![Finding::refused(what, refused, remedy)])
        }
    }
}

async fn with_token(reader: &github::Reader, at: &str, orgs: &[String]) -> Vec<Finding> {
    let what = "the GitHub token is valid";
    let token = match retry_answer(|| reader.whoami()).await {
        Answer::Present(user) => {
            let scopes =
                user.scopes.map_or_else(String::new, |scopes| format!(", scopes {}", scopes.join(" ")));
            Finding::ok(what, format!("{} {at}{scopes}", user.login))
        }
        refused => Finding::refused(what, refused, "make a new token and set GITHUB_TOKEN"),
    };
    if token.verdict != Verdict::Ok {
        return vec![token];
    }
    let mut findings = vec![token];
    if orgs.is_empty() {
        findings.push(Finding::warning(
            "organisations to serve",
            "github.orgs is empty: an organisation is served from its first event on, none at start-up",
            "list their logins in github.orgs to have them looked at now and on every pass",
        ));
    }
    for login in orgs {
        let seen = org(reader, login).await;
        let visible = seen.iter().all(|finding| finding.verdict == Verdict::Ok);
        findings.extend(seen);
        if !visible {
            continue;
        }
        let what = format!("secret teams of {login} are seen");
        findings.push(match retry_answer(|| reader.owner(login)).await {
            Answer::Present(true) => Finding::ok(&what, "the token is an owner's"),
            Answer::Present(false) => Finding::warning(
                &what,
                "the token is not an owner's, so a team that is not seen is taken for gone only after its team.deleted event",
                format!("use the token of an owner of {login}, unless it has no secret teams"),
            ),
            refused => Finding::refused(&what, refused, "give the token `read:org`").softened(),
        });
    }
    findings
}

/// The installations on `orgs`, or, when there are none, all of them.
async fn with_app(reader: &github::Reader, app: github::AppFacts, orgs: &[String]) -> Vec<Finding> {
    let what = "installations of the GitHub App";
    let installations = match retry_answer(|| reader.installations()).await {
        Answer::Present(installations) => installations,
        refused => return vec![Finding::refused(what, refused, "try again")],
    };
    let names: Vec<&str> = installations.iter().map(|it| it.org.login.as_str()).collect();
    let install =
        format!("an owner installs it: {}", app.page.as_deref().unwrap_or("the app's page at GitHub"));
    if names.is_empty() {
        return vec![Finding::failed(what, "it is installed on no organisation", install)];
    }
    let mut findings = vec![Finding::ok(what, names.join(", "))];
    let logins = if orgs.is_empty() { names } else { orgs.iter().map(String::as_str).collect() };
    for login in logins {
        let what = format!("the GitHub App may read {login}");
        let installed = installations.iter().find(|it| it.org.login.eq_ignore_ascii_case(login));
        let finding = match installed {
            None => Finding::failed(
                what,
                "it is not installed there; a renamed organisation's old login is gone",
                format!("check the spelling in github.orgs, or {install}"),
            ),
            Some(it) if it.suspended => Finding::failed(
                what,
                "its installation is suspended: nothing is read and nothing is removed there",
                format!("an owner of {login} unsuspends it: organisation settings, GitHub Apps"),
            ),
            Some(it) if !it.members => Finding::failed(
                what,
                "its installation lacks the permission Members: read",
                format!("add the permission in the app's settings, then an owner of {login} accepts it"),
            ),
            Some(_) => Finding::ok(what, "permission Members: read, secret teams too"),
        };
        let reads = finding.verdict == Verdict::Ok;
        findings.push(finding);
        if reads {
            findings.extend(org(reader, login).await);
        }
    }
    findings
}

/// Whether the organisation and its teams are seen.
async fn org(reader: &github::Reader, login: &str) -> Vec<Finding> {
    let what = format!("organisation {login} is visible");
    let visible = match retry_answer(|| reader.org_by_login(login)).await {
        Answer::Present(org) => Finding::ok(&what, format!("id {}", org.id)),
        refused => Finding::refused(
            &what,
            refused,
            "check the spelling in github.orgs (a renamed organisation's old login is gone), and that the credential may see it",
        ),
    };
    if visible.verdict != Verdict::Ok {
        return vec![visible];
    }
    let what = format!("teams of {login} can be listed");
    let teams = match retry_answer(|| reader.teams_answer(login)).await {
        Answer::Present(()) => Finding::ok(&what, "all that this credential sees"),
        refused => Finding::refused(
            &what,
            refused,
            "give the token `read:org` (fine-grained token or app: Members, read), and authorise it for the organisation's SSO",
        ),
    };
    vec![visible, teams]
}
