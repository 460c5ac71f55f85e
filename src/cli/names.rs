//! The names that people type: `ORG/TEAM`, and what stands behind them in the ledger.

use super::output::Hinted;
use crate::{
    ledger::{Ledger, OrgRow},
    model::{Integration, PauseScope, TeamKey},
};

/// Parts `ORG/TEAM`, with or without the `@` that Datadog writes before it.
pub(super) fn org_and_team(name: &str) -> anyhow::Result<(&str, &str)> {
    let parts = name.strip_prefix('@').unwrap_or(name).split_once('/');
    let parts = parts.filter(|(org, slug)| !org.is_empty() && !slug.is_empty() && !slug.contains('/'));
    Ok(parts.ok_or_else(|| Hinted {
        error: format!("`{name}` names no GitHub team"),
        hint: "write it as in the address of its page: ORG/TEAM, such as acme/platform".to_owned(),
    })?)
}

/// The organisation that the ledger knows by this login or id.
pub(super) async fn org(ledger: &Ledger, name: &str) -> anyhow::Result<OrgRow> {
    Ok(ledger.find_org(name).await?.ok_or_else(|| Hinted {
        error: format!("the ledger knows no organisation {name}"),
        hint: "an organisation is known from its first event or full pass on; `teamlink sync` makes one"
            .to_owned(),
    })?)
}

/// The team that the ledger knows by this name: its slug, a former one, or its id.
pub(super) async fn team(ledger: &Ledger, name: &str) -> anyhow::Result<TeamKey> {
    let (login, slug) = org_and_team(name)?;
    let org = org(ledger, login).await?;
    let team = ledger.find_team(&org, slug).await?.ok_or_else(|| Hinted {
        error: format!("the ledger knows no team {slug} of {}", org.facts.login),
        hint: "a team is known from its first event or full pass on; `teamlink explain` asks GitHub about it"
            .to_owned(),
    })?;
    Ok(TeamKey { org: org.facts.id, team })
}

/// Before the id of an integration whose document is meant.
const DOCUMENT: &str = "integration:";

/// The integration whose document is meant by `integration:ID`.
fn document(name: &str) -> anyhow::Result<Integration> {
    let integration = name.strip_prefix(DOCUMENT).and_then(Integration::from_id);
    Ok(integration.ok_or_else(|| Hinted {
        error: format!("`{name}` is no document that teamlink writes"),
        hint: format!(
            "use one of {}",
            Integration::ALL.map(|it| format!("{DOCUMENT}{}", it.as_str())).join(", ")
        ),
    })?)
}

/// What `pause` and `resume` take.
pub(super) async fn scope(ledger: &Ledger, name: &str) -> anyhow::Result<PauseScope> {
    Ok(match name {
        "all" => PauseScope::All,
        _ if name.starts_with(DOCUMENT) => PauseScope::Document(document(name)?),
        _ if name.contains('/') => PauseScope::Team(team(ledger, name).await?),
        _ => PauseScope::Org(org(ledger, name).await?.facts.id),
    })
}
