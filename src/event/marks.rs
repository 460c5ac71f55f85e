//! [`Event`] → marks: what each event asks to look at.

use super::{About, Event};
use crate::model::{Integration, Mark, Target, TeamKey};

/// What to look at because of an event. A team or organisation whose organisation's id the event does not give
/// cannot be marked; the next full pass finds it.
pub fn marks(event: &Event) -> Vec<Mark> {
    let (target, deleted, documents) = match (event.about, &event.org) {
        (About::Team { team, deleted, repositories }, Some(org)) => {
            (Some(Target::Team(TeamKey { org: org.id, team })), deleted, repositories)
        }
        (About::Team { repositories, .. }, None) => (None, false, repositories),
        (About::Org { deleted }, Some(org)) => (Some(Target::Org(org.id)), deleted, true),
        (About::Org { .. }, None) => (None, false, false),
        (About::Repository, _) => (None, false, true),
        (About::Nothing | About::Unknown, _) => (None, false, false),
    };
    let document =
        documents.then_some(Mark { target: Target::Document(Integration::Github), deleted: false });
    target.map(|target| Mark { target, deleted }).into_iter().chain(document).collect()
}
