//! A look at one team that changes nothing: the same reading and the same plan, and nothing more.

use super::{
    look::Look,
    survey::{Eyes, Standing},
};
use crate::{
    ledger::{Ledger, OrgState},
    model::{MirrorTeam, OrgFacts, Owned, Pause, TeamId, Time, Trouble},
    plan::{Guarded, Mode},
};

/// What a look at one team would find and do now. Writes nothing, stores nothing.
pub(super) async fn foresee(
    eyes: &Eyes,
    ledger: &Ledger,
    state: OrgState,
    team: TeamId,
) -> sqlx::Result<Foresight> {
    let org = &state.org;
    let mode = eyes.options.policy(&org.facts.login, &org.bound_login).mode;
    let marks = ledger.marks_of(org.facts.id, &[team]).await?;
    let standing = Standing::read(ledger, org.facts.id, &eyes.options, false).await?;
    let known = state.teams.get(&team).cloned();
    let owned = state.owned.clone();
    let pause = state.paused.of(team).cloned();
    let mut look = Look::new(eyes, state, &marks, eyes.options.clock.now());
    look.read().await;
    let unread = look.troubles.get(&team).cloned();
    let asks = look.asks();
    let mut guarded = Guarded::default();
    if !asks.is_empty() {
        let needs_no_slot = standing.approved.clone();
        look.known.weigh(standing.held, standing.approved);
        guarded = look.plan(asks).await;
        let needed = guarded.slots_needed(&needs_no_slot);
        let granted = needed.iter().take(standing.slots).cloned().collect();
        guarded = guarded.within(&needed, &granted);
    }
    Ok(Foresight {
        mode,
        known,
        owned,
        pause,
        needs_event: look
            .folded
            .get(&team)
            .is_some_and(|folded| folded.trouble.is_none() && folded.second_look.is_none()),
        team: look.folded.remove(&team).and_then(|folded| folded.team),
        read_at: look.answered,
        unplanned: look.troubles.remove(&team).filter(|_| unread.is_none()),
        unread,
        rival: rival(&look, team),
        org: look.known.mirror.org,
        guarded,
    })
}

/// What a look at one team would find and do.
#[derive(Clone, Debug)]
pub struct Foresight {
    /// The organisation.
    pub org: OrgFacts,
    /// How far its plans may go.
    pub mode: Mode,
    /// The team as it is remembered.
    pub known: Option<MirrorTeam>,
    /// The connections of its organisation that are ours.
    pub owned: Vec<Owned>,
    /// The pause that it is under.
    pub pause: Option<Pause>,
    /// The team as it would be remembered; `None` when it was never seen and is not there.
    pub team: Option<MirrorTeam>,
    /// No further look will prove it gone, if it is suspected: only an event or another credential.
    pub needs_event: bool,
    /// When GitHub answered.
    pub read_at: Time,
    /// Why GitHub said nothing about it.
    pub unread: Option<Trouble>,
    /// Why it could not be planned though GitHub answered.
    pub unplanned: Option<Trouble>,
    /// Another team that reads back with the same slug.
    pub rival: Option<TeamId>,
    /// The steps, for it and for the teams that they concern.
    pub guarded: Guarded,
}

/// The other team that reads back with the same slug as this one.
fn rival(look: &Look<'_>, team: TeamId) -> Option<TeamId> {
    let teams = &look.known.mirror.teams;
    let slug = &teams.get(&team).filter(|_| look.conflicts.contains(&team))?.facts.slug;
    look.conflicts
        .iter()
        .copied()
        .find(|other| *other != team && teams.get(other).is_some_and(|it| it.facts.slug == *slug))
}
