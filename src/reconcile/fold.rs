//! What one look at a team does to what the mirror believes of it. Pure.
//!
//! GitHub's replicas lag, credentials are narrow, lists are cut: only a 404 by id counts towards absence, only
//! while the organisation and the list of its teams answer, and only when a second such look comes at least the
//! grace later. With a credential that cannot see every team, its `team.deleted` event is needed as well. The proof is
//! complete when the organisation's list, begun after the second look, lacks the team too ([`unlisted`]).
//!
//! The id of an enterprise team answers 404 while it is there, so that nothing here proves one gone.

use std::time::Duration;

use crate::model::{MirrorTeam, TeamFacts, TeamState, TeamType, Time};

/// What a look saw of one team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// GitHub shows it.
    Present(TeamFacts),
    /// Its id answers 404, while its organisation and the list of its teams answer 200.
    Absent,
    /// Nothing can be concluded.
    Unreadable(String),
}

/// What follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folded {
    /// The team as it is to be remembered; `None` when it was never seen.
    pub(super) team: Option<MirrorTeam>,
    /// Something about it differs from what was remembered.
    pub(super) changed: bool,
    /// When to look again for the second half of the proof.
    pub(super) second_look: Option<Time>,
    /// Why nothing could be concluded.
    pub(super) trouble: Option<String>,
}

/// Why a team whose id answers 404 since then is not taken for gone, however often that is seen.
pub fn unproven(since: Time) -> String {
    format!(
        "its id answers 404 since {since}, but the credential may not see secret teams: only the team's own team.deleted event, or an owner's token, proves it gone"
    )
}

/// Folds what was seen into what is known. `sees_all` says whether the credential sees secret teams too; the times
/// are when the look began and when its answers were there: the grace runs from the end of one look to the
/// beginning of the other.
pub(super) fn fold(
    known: Option<&MirrorTeam>,
    seen: Seen,
    sees_all: bool,
    grace: Duration,
    (now, answered): (Time, Time),
) -> Folded {
    let mut folded = Folded { team: known.cloned(), changed: false, second_look: None, trouble: None };
    match (seen, known) {
        (Seen::Unreadable(error), _) => folded.trouble = Some(error),
        (Seen::Present(facts), _) => {
            folded.changed =
                known.is_none_or(|known| known.facts != facts || known.state != TeamState::Present);
            folded.team = Some(MirrorTeam {
                facts,
                state: TeamState::Present,
                seen_at: now,
                deleted_event_at: known.and_then(|known| known.deleted_event_at),
                in_step: !folded.changed && known.is_some_and(|known| known.in_step),
            });
        }
        (Seen::Absent, None) => {}
        (Seen::Absent, Some(known)) => {
            let may_prove = (sees_all || known.deleted_event_at.is_some())
                && known.facts.team_type == TeamType::Organization;
            let state = match known.state {
                TeamState::Present => TeamState::Suspected { since: answered, second: None },
                // The clock was set back since: the grace begins again.
                TeamState::Suspected { since, .. } if since > answered => {
                    TeamState::Suspected { since: answered, second: None }
                }
                // A second look that lies ahead was stored before the clock was set back.
                TeamState::Suspected { since, second }
                    if second.is_none_or(|second| second > answered)
                        && now.since(since) >= grace
                        && may_prove =>
                {
                    TeamState::Suspected { since, second: Some(answered) }
                }
                unchanged @ (TeamState::Suspected { .. } | TeamState::Gone { .. }) => unchanged,
            };
            if let TeamState::Suspected { since, second: None } = state
                && may_prove
            {
                folded.second_look = Some((since + grace).max(now));
            }
            folded.changed = state != known.state;
            let in_step = known.in_step && !folded.changed;
            folded.team = Some(MirrorTeam { state, in_step, ..known.clone() });
        }
    }
    folded
}

/// Folds a complete list, begun at this time, that lacks a team: completes the proof if both looks at the team were over
/// by then.
pub(super) fn unlisted(known: &MirrorTeam, began: Time) -> Option<MirrorTeam> {
    match known.state {
        TeamState::Suspected { since, second: Some(proven) } if proven <= began => {
            Some(MirrorTeam { state: TeamState::Gone { since, proven }, in_step: false, ..known.clone() })
        }
        TeamState::Suspected { .. } | TeamState::Present | TeamState::Gone { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TeamId;

    const GRACE: Duration = Duration::from_secs(60);

    fn facts(slug: &str) -> TeamFacts {
        TeamFacts {
            id: TeamId(7),
            slug: slug.into(),
            name: slug.to_uppercase(),
            parent: None,
            team_type: TeamType::Organization,
        }
    }

    fn at(seconds: i64) -> Time {
        Time(seconds * 1_000_000)
    }

    fn look(known: Option<&MirrorTeam>, seen: Seen, second: i64) -> Folded {
        fold(known, seen, true, GRACE, (at(second), at(second)))
    }

    #[test]
    fn a_team_seen_again_unchanged_stays_in_step() {
        let mut known = look(None, Seen::Present(facts("a")), 1).team.unwrap();
        assert!(!known.in_step);
        known.in_step = true;
        let again = look(Some(&known), Seen::Present(facts("a")), 2);
        assert!(!again.changed && again.team.unwrap().in_step);
        assert!(!look(Some(&known), Seen::Present(facts("b")), 2).team.unwrap().in_step);
    }

    #[test]
    fn two_looks_a_grace_apart_and_a_list_after_them_prove_absence_and_one_look_does_not() {
        let known = look(None, Seen::Present(facts("a")), 1).team.unwrap();
        let first = look(Some(&known), Seen::Absent, 10);
        assert_eq!(first.second_look, Some(at(70)));
        let suspected = first.team.unwrap();
        let early = look(Some(&suspected), Seen::Absent, 69);
        assert_eq!(early.team.as_ref().unwrap().state, TeamState::Suspected { since: at(10), second: None });
        assert_eq!(early.second_look, Some(at(70)));
        let second = look(Some(&suspected), Seen::Absent, 70);
        let suspected = second.team.unwrap();
        assert_eq!(suspected.state, TeamState::Suspected { since: at(10), second: Some(at(70)) });
        // A list that began before the second look may be as old as the doubt.
        assert_eq!(unlisted(&suspected, at(69)), None);
        let gone = unlisted(&suspected, at(70)).unwrap();
        assert_eq!(gone.state, TeamState::Gone { since: at(10), proven: at(70) });
    }

    #[test]
    fn the_grace_runs_from_the_answer_of_one_look_to_the_beginning_of_the_other() {
        let known = look(None, Seen::Present(facts("a")), 1).team.unwrap();
        let slow = fold(Some(&known), Seen::Absent, true, GRACE, (at(10), at(15))).team.unwrap();
        let early = fold(Some(&slow), Seen::Absent, true, GRACE, (at(74), at(80)));
        assert_eq!(early.second_look, Some(at(75)));
    }

    #[test]
    fn a_grace_that_began_ahead_of_the_clock_begins_again() {
        let known = look(None, Seen::Present(facts("a")), 1).team.unwrap();
        for second in [None, Some(at(90_060))] {
            let state = TeamState::Suspected { since: at(90_000), second };
            let suspected = MirrorTeam { state, ..known.clone() };
            let again = look(Some(&suspected), Seen::Absent, 10);
            assert_eq!(again.second_look, Some(at(70)));
            assert_eq!(again.team.unwrap().state, TeamState::Suspected { since: at(10), second: None });
        }
    }

    #[test]
    fn a_second_look_that_lies_ahead_of_the_clock_is_made_again() {
        let known = look(None, Seen::Present(facts("a")), 1).team.unwrap();
        let state = TeamState::Suspected { since: at(10), second: Some(at(90_000)) };
        let suspected = MirrorTeam { state, ..known };
        let again = look(Some(&suspected), Seen::Absent, 70);
        assert_eq!(again.team.unwrap().state, TeamState::Suspected { since: at(10), second: Some(at(70)) });
    }

    #[test]
    fn a_team_that_shows_itself_between_the_looks_is_present_again() {
        let known = look(None, Seen::Present(facts("a")), 1).team.unwrap();
        let suspected = look(Some(&known), Seen::Absent, 10).team.unwrap();
        let back = look(Some(&suspected), Seen::Present(facts("a")), 20);
        assert_eq!(back.team.unwrap().state, TeamState::Present);
    }

    #[test]
    fn a_credential_that_may_not_see_all_needs_the_event() {
        let known = look(None, Seen::Present(facts("a")), 1).team.unwrap();
        let suspected = MirrorTeam { state: TeamState::Suspected { since: at(10), second: None }, ..known };
        let unproven = fold(Some(&suspected), Seen::Absent, false, GRACE, (at(100), at(100)));
        assert_eq!((unproven.changed, unproven.second_look), (false, None));
        let told = MirrorTeam { deleted_event_at: Some(at(9)), ..suspected };
        let proven = fold(Some(&told), Seen::Absent, false, GRACE, (at(100), at(100)));
        assert!(matches!(proven.team.unwrap().state, TeamState::Suspected { second: Some(_), .. }));
    }

    #[test]
    fn the_id_of_an_enterprise_team_proves_nothing() {
        let mut known = look(None, Seen::Present(facts("ent:a")), 1).team.unwrap();
        known.facts.team_type = TeamType::Enterprise;
        let suspected = look(Some(&known), Seen::Absent, 10).team.unwrap();
        let second = look(Some(&suspected), Seen::Absent, 100);
        assert_eq!((second.changed, second.second_look), (false, None));
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let known = look(None, Seen::Present(facts("a")), 1).team.unwrap();
        let failed = look(Some(&known), Seen::Unreadable("503".into()), 2);
        assert_eq!((failed.team, failed.changed), (Some(known), false));
        assert_eq!(look(None, Seen::Absent, 2).team, None);
    }
}
