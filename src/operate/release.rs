//! What a person is told of organisations whose login may be released, or was.

use super::{blocks::Block, check::Finding};
use crate::{
    ledger::{Ledger, OrgRow},
    model::{Lane, OrgFacts, OrgId, Time},
};

/// A release that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The organisation that is bound to the login.
    pub org: OrgFacts,
    /// Why its release is held.
    pub reason: String,
    /// What `teamlink approve` takes to let the release go alone.
    pub hash: String,
    /// Whether a person has approved it, and it is about to be carried out.
    pub approved: bool,
}

impl Waiting {
    /// What to type.
    pub fn command(&self) -> String {
        format!("teamlink approve {} --reason \"…\"", self.hash)
    }
}

/// The release of an organisation that waits. Its hash is stored: what is shown can be approved.
///
/// # Errors
/// When the ledger fails.
pub async fn waiting(ledger: &Ledger, org: &OrgFacts, now: Time) -> sqlx::Result<Option<Waiting>> {
    let Some((held, approved)) = ledger.held_release(org.id, now).await? else { return Ok(None) };
    let hash = ledger.remember_held(Lane::Org(org.id), std::slice::from_ref(&held), now).await?;
    Ok(Some(Waiting { org: org.clone(), reason: held.reason.text, hash, approved }))
}

/// The release of the organisation with this id that waits.
///
/// # Errors
/// When the ledger fails.
pub async fn waiting_of(ledger: &Ledger, org: OrgId, now: Time) -> sqlx::Result<Option<Waiting>> {
    match ledger.orgs().await?.into_iter().find(|it| it.facts.id == org) {
        Some(row) => waiting(ledger, &row.facts, now).await,
        None => Ok(None),
    }
}

/// The findings of `teamlink check` about logins that are bound to an organisation that is gone or renamed.
///
/// # Errors
/// When the ledger fails.
pub async fn findings(ledger: &Ledger, now: Time) -> sqlx::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for OrgRow { facts, bound_login, .. } in ledger.orgs().await? {
        let Some(release) = waiting(ledger, &facts, now).await? else { continue };
        let what = format!("the login {bound_login} is bound to the organisation that has it");
        findings.push(match release.approved {
            true => Finding::ok(what, format!("its release is approved: {}", release.reason)),
            false => {
                let command = release.command();
                Finding::warning(what, release.reason, command)
            }
        });
    }
    Ok(findings)
}

/// What of it keeps a team from being brought into step.
pub(super) fn block(org: &OrgRow, release: Option<&Waiting>) -> Option<Block> {
    if let Some(at) = org.released_at {
        let login = &org.bound_login;
        let what = format!(
            "a person released the login {login} at {at}, because its organisation is gone: nothing is done for its teams"
        );
        return Some(Block { kind: "released", what, remedy: None });
    }
    let release = release?;
    let remedy = (!release.approved).then(|| release.command());
    Some(Block { kind: "release", what: release.reason.clone(), remedy })
}
