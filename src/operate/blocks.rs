//! What keeps a team from being brought into step, each with what to do about it.

use serde::Serialize;

use crate::{
    ledger::TeamStory,
    model::{Class, ConnectionKey, Mode, Pause, TeamState, Trouble},
    plan::Why,
    reconcile::{Foresight, unproven},
};

/// One thing that blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Block {
    /// `paused`, `held`, `parked`, `unmapped`, `ignored`, `no_such_handle`, `conflict`, `suspected`, `gone`,
    /// `grace`, `credential`, `not_read`, `failing`, `policy`, `protected`,
    /// `second_writer`, `release`, `released`.
    pub kind: &'static str,
    /// What it is.
    pub what: String,
    /// What to do about it; `None` when it passes by itself.
    pub remedy: Option<String>,
}

/// What blocks the team `name`. `hash` names what of it is held; `datadog` is why Datadog could not be read.
pub(super) fn of(
    name: &str,
    foresight: &Foresight,
    story: &TeamStory,
    hash: &str,
    pause: Option<&(Pause, String)>,
    datadog: Option<&Trouble>,
) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut block = |kind, what: String, remedy: Option<String>| blocks.push(Block { kind, what, remedy });
    if !foresight.served {
        let login = &foresight.org.login;
        let what = format!("{login} is not served, because github.orgs does not list it: nothing is written");
        block("not_served", what, Some(format!("add {login} to github.orgs, and restart the workers")));
    }
    if let Some((pause, scope)) = pause {
        let reason = if pause.reason.is_empty() { String::new() } else { format!(" ({})", pause.reason) };
        let what = format!("{scope} is paused since {}{reason}", pause.since);
        block("paused", what, Some(format!("teamlink resume {scope}")));
    }
    for held in &story.held {
        block(
            "held",
            format!("{} {}: {}", held.key.kind.as_str(), held.key.subject, held.reason),
            Some(format!("teamlink approve {hash} --reason \"…\"")),
        );
    }
    for parked in &story.parked {
        let again = format!("teamlink parked replay {} --reason \"…\"", parked.id);
        let remedy = format!("mend the cause, then run `{again}`; a newer event of the team tries again too");
        let what = format!("{}, given up on at {}: {}", parked.subject, parked.parked_at, parked.error);
        block("parked", what, Some(remedy));
    }
    if foresight.mode == Mode::Observe {
        let remedy = "set policy.mode to \"sync\" or \"upsert\" to have changes made";
        block("policy", "policy.mode is observe: nothing is written".to_owned(), Some(remedy.to_owned()));
    }
    for trouble in foresight.unread.iter().chain(datadog.or(foresight.unplanned.as_ref())) {
        match trouble.class {
            Class::Auth => {
                let remedy = "`teamlink check` tells what the credentials lack";
                block("credential", trouble.message.clone(), Some(remedy.to_owned()));
            }
            _ => block("not_read", trouble.message.clone(), None),
        }
    }
    match foresight.team.as_ref().map(|team| team.state) {
        Some(TeamState::Suspected { since, .. }) if foresight.needs_event => {
            let remedy =
                "use a token of an owner of the organisation, or a GitHub App; `teamlink check` tells";
            block("suspected", unproven(since), Some(remedy.to_owned()));
        }
        Some(TeamState::Suspected { since, .. }) => {
            let what = format!(
                "its id answers 404 since {since}; only a second look, a while later, proves it gone"
            );
            block("suspected", what, None);
        }
        Some(TeamState::Gone { proven, .. }) => {
            block("gone", format!("it is gone from GitHub, proven at {proven}"), None);
        }
        Some(TeamState::Present) | None => {}
    }
    if let Some(rival) = foresight.rival {
        let what = format!(
            "team {rival} reads back with the same slug: one of the two answers is stale, and both are read again"
        );
        block("conflict", what, None);
    }
    let left_alone = foresight.guarded.ready.left_alone.iter();
    for left in
        left_alone.filter(|left| foresight.team.as_ref().is_some_and(|team| Some(team.facts.id) == left.team))
    {
        match &left.why {
            Why::Ignored => block("ignored", "its rule says to leave it alone".to_owned(), None),
            Why::Unmapped => block(
                "unmapped",
                "no mapping rule matches it".to_owned(),
                Some(format!("add a [[mapping]] rule; `teamlink map {name}` tests it")),
            ),
            Why::NoSuchHandle { handles } => block(
                "no_such_handle",
                format!("Datadog has no team with the handle {}", handles.join(", ")),
                Some(
                    "create the team in Datadog, or map to another; it is looked for every datadog.teams_ttl"
                        .to_owned(),
                ),
            ),
            Why::Paused { steps, .. } => {
                let whose = if pause.is_some() {
                    "the pause"
                } else {
                    "the pause of a team that has what they touch"
                };
                block("paused", format!("steps that wait for the end of {whose}: {steps}"), None);
            }
            Why::Grace { key, since, until } => {
                let what =
                    format!("{key} is not needed since {since}; it goes at {until}, if a second look agrees");
                block("grace", what, None);
            }
            Why::NotVisible { key, since } => {
                let what =
                    format!("{key} was written or seen at {since}, and Datadog's lists do not agree yet");
                block("not_visible", what, None);
            }
            Why::MayBeMade { key, until } => {
                let what =
                    format!("{key} goes at {until}: a create of it that nobody answered may arrive before");
                block("may_be_made", what, None);
            }
            Why::OfAnother { key, login } => block(
                "of_another_organisation",
                format!("{key} stays: it is the handle of a team of {login} now, which is not served"),
                Some(format!("add {login} to github.orgs, or `teamlink connections delete` it")),
            ),
            Why::Policy { key } => block(
                "policy",
                format!("{key} would go, but policy.mode is upsert: nothing is deleted"),
                Some("set policy.mode to \"sync\", or `teamlink connections delete` it".to_owned()),
            ),
            Why::SomebodyRemoves { until, .. } => {
                let what = format!("teamlink makes the connection again at {until}");
                block("second_writer", what, None);
            }
            Why::Protected { key } => block(
                "protected",
                format!("{key} would go, but policy.protected names the team: it is never deleted"),
                Some("take the team out of policy.protected, or `teamlink connections delete` it".to_owned()),
            ),
            // Told above, from the team's own state; a satisfied pair blocks nothing, an orphan is no team's.
            Why::Satisfied { .. }
            | Why::Conflict { .. }
            | Why::Suspected { .. }
            | Why::NotRead { .. }
            | Why::Orphan { .. } => {}
        }
    }
    let of_team = |key: &ConnectionKey| key.github == format!("@{name}").to_lowercase();
    for (key, removals) in
        foresight.removed_by_others.iter().filter(|(key, it)| of_team(key) && it.is_fight())
    {
        let what = format!("somebody removes {key}: {} times within a day", removals.times());
        let remedy = "find the other writer of this connection and stop it, or map the team otherwise";
        block("second_writer", what, Some(remedy.to_owned()));
    }
    let failed = story.looks.as_ref().and_then(|looks| Some((looks, looks.last_error.as_ref()?)));
    if let Some((looks, error)) = failed {
        let next = looks.next_at.map_or_else(String::new, |at| format!("; it is tried again at {at}"));
        let scope = looks.blocked_by.as_ref();
        let waits = scope.map_or_else(String::new, |scope| format!(", or once {scope} works again"));
        block("failing", format!("the last look failed: {error}{next}{waits}"), None);
    }
    blocks
}
