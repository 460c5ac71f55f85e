//! Taking connections over: what was asked about, organisation by organisation, and one after the other.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    ledger::{IntentKind, Ledger},
    model::{ConnectionKey, GithubHandle},
    plan::TakeOver,
    reconcile::{Asked, Candidate, Outcome, Survey, Worker},
};

/// How one connection would be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It is deleted and created again.
    Recreate,
    /// A row in the ledger is enough.
    Record,
    /// An interrupted adoption deleted it: it is created again.
    Finish,
    /// It is left alone.
    Leave,
}

/// How taking it over ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It is ours.
    Done,
    /// Nothing was done, because it changed after it was shown.
    Left,
    /// It failed.
    Failed,
}

/// What would be done about one connection, or was.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Id of the connection; none while an interrupted adoption has deleted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The connection.
    #[serde(flatten)]
    pub key: ConnectionKey,
    /// Handle of the Datadog team, where it is known.
    pub handle: Option<String>,
    /// Whose mark it has.
    pub managed_by: Option<String>,
    /// How it would be taken over.
    pub step: Step,
    /// Why it is left alone, or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Whether its GitHub team wants it by the mapping rules; if not, the next pass holds its removal.
    pub wanted: bool,
    /// How it ended; none where nothing was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Ended>,
}

impl From<&Candidate> for Line {
    fn from(candidate: &Candidate) -> Self {
        let Candidate { id, key, managed_by, handle, wanted, step } = candidate;
        Self {
            id: id.as_ref().map(ToString::to_string),
            key: key.clone(),
            handle: handle.clone(),
            managed_by: managed_by.clone(),
            step: match step.as_ref().map(|adoption| adoption.how) {
                Ok(TakeOver::Recreate) if id.is_none() => Step::Finish,
                Ok(TakeOver::Recreate) => Step::Recreate,
                Ok(TakeOver::Record) => Step::Record,
                Err(_) => Step::Leave,
            },
            because: step.as_ref().err().cloned(),
            wanted: *wanted,
            outcome: None,
        }
    }
}

impl Line {
    /// Notes how it ended.
    fn ended(&mut self, outcome: &Outcome) {
        let (ended, because) = match outcome {
            Outcome::Done => (Ended::Done, None),
            Outcome::Left(why) => (Ended::Left, Some(why.clone())),
            Outcome::Failed(trouble) => (Ended::Failed, Some(trouble.message.clone())),
        };
        (self.outcome, self.because) = (Some(ended), because);
    }
}

/// What can be done about the connections that are asked about. `orgs` are the logins of `github.orgs`; where there
/// are none, every organisation that the ledger knows is served. Writes nothing.
///
/// # Errors
/// When Datadog or one of the organisations cannot be read.
pub async fn candidates(
    survey: &Survey,
    ledger: &Ledger,
    orgs: &[String],
    asked: &Asked,
) -> anyhow::Result<Vec<Candidate>> {
    let listed = |login: &str| orgs.is_empty() || orgs.iter().any(|it| it.eq_ignore_ascii_case(login));
    let mut served: BTreeSet<String> = orgs.iter().map(|login| login.to_lowercase()).collect();
    let mut logins = BTreeSet::new();
    for org in ledger.orgs().await? {
        if !listed(&org.bound_login) && !listed(&org.facts.login) {
            continue;
        }
        served.extend([org.bound_login.to_lowercase(), org.facts.login.to_lowercase()]);
        let intents = ledger.org_state(org.facts.id).await?.map(|state| state.intents).unwrap_or_default();
        let interrupted = intents.iter().filter(|intent| intent.kind == IntentKind::Adopt);
        let interrupted = interrupted.map(|intent| &intent.key).filter(|key| asked.picks_place(key));
        logins.extend(interrupted.filter_map(login_of));
    }
    let mut candidates = Vec::new();
    for (key, connection) in survey.connections().await? {
        if !asked.picks(&key, connection.managed_by.as_deref()) {
            continue;
        }
        match login_of(&key).filter(|login| served.contains(login)) {
            Some(login) => drop(logins.insert(login)),
            None => candidates.push(Candidate {
                id: Some(connection.id),
                key,
                managed_by: connection.managed_by,
                handle: None,
                wanted: false,
                step: Err("its organisation is not served: not in github.orgs, or not seen yet".to_owned()),
            }),
        }
    }
    for login in logins {
        candidates.extend(survey.adoptable(&login, asked).await?);
    }
    candidates.sort_by(|a, b| a.key.github.cmp(&b.key.github).then_with(|| a.key.cmp(&b.key)));
    Ok(candidates)
}

/// The organisation's login in a key.
fn login_of(key: &ConnectionKey) -> Option<String> {
    GithubHandle::from_datadog(key.github.clone()).parts().map(|(login, _)| login.to_owned())
}

/// Takes over what can be, one connection after the other, and tells each as it ends. Ends at the first failure, so
/// that never more than one connection is missing.
///
/// # Errors
/// When an organisation stays leased by another process, or the ledger fails.
pub async fn adopt(
    worker: &Worker,
    candidates: &[Candidate],
    tell: impl Fn(&Line),
) -> anyhow::Result<Vec<Line>> {
    let mut lines: Vec<Line> = candidates.iter().map(Line::from).collect();
    for (candidate, line) in candidates.iter().zip(&mut lines) {
        let Ok(adoption) = &candidate.step else { continue };
        let outcome = worker.adopt(candidate, adoption).await?;
        line.ended(&outcome);
        tell(line);
        if let Outcome::Failed(_) = outcome {
            break;
        }
    }
    Ok(lines)
}
