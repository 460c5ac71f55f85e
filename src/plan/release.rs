//! When the binding of a login to an organisation may end. A binding keeps out an id that takes over a login, so that it
//! never ends by itself: a person approves the release. What proves it is read again at each look, and the approval of one
//! kind of release is none for another, because they do different things.

use std::time::Duration;

use super::removal::RemovalCause;
use crate::model::{HoldReason, HoldRule, OrgFacts, OrgId, Time};

/// Why a login may be released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// `organization.deleted` came, and the id answers 404: the connections go with the organisation.
    Deleted {
        /// When the event came.
        told: Time,
        /// When the id answered 404.
        proven: Time,
    },
    /// The organisation has another login, and another id has the one that it is bound to: it keeps its rows.
    Renamed {
        /// Its login now.
        to: String,
        /// Who has the login that it is bound to.
        by: OrgId,
    },
    /// Another id has the login, and the organisation's own answers 404 at two looks: its rows are disowned.
    Replaced {
        /// Who has the login.
        by: OrgId,
        /// The first look.
        since: Time,
        /// The second look.
        proven: Time,
    },
}

/// What the ledger knows of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The organisation.
    pub org: OrgId,
    /// The login that it is bound to.
    pub login: &'a str,
    /// The last event that said that it was deleted.
    pub deleted_event_at: Option<Time>,
    /// Since when its id answers 404.
    pub absent_since: Option<Time>,
}

/// Who has the login of a binding now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The organisation.
    pub org: OrgFacts,
    /// Whether it is bound itself, to whatever login: teamlink serves it under any.
    pub bound: bool,
}

/// What a look decides about a binding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Since when the organisation's id answers 404.
    pub absent_since: Option<Time>,
    /// What may be approved.
    pub release: Option<Release>,
    /// When a second look may prove more.
    pub again: Option<Time>,
}

/// Judges a binding by what GitHub says: the organisation under its id, or none if that answers 404, and whoever has the
/// login. The look began at the first of the two times, and its answers were there at the second.
pub fn judge_binding(
    binding: Binding<'_>,
    org: Option<&OrgFacts>,
    holder: Option<&Holder>,
    grace: Duration,
    (began, answered): (Time, Time),
) -> Judged {
    let other = holder.filter(|holder| holder.org.id != binding.org);
    if let Some(org) = org {
        let newcomer = other.filter(|holder| !holder.bound && !org.login.eq_ignore_ascii_case(binding.login));
        let release = newcomer.map(|holder| Release::Renamed { to: org.login.clone(), by: holder.org.id });
        return Judged { release, ..Judged::default() };
    }
    // A first look that lies ahead was stored before the clock was set back: the grace begins again.
    let first = binding.absent_since.filter(|since| *since <= answered);
    let since = first.unwrap_or(answered);
    let mut judged = Judged { absent_since: Some(since), ..Judged::default() };
    match (binding.deleted_event_at, other) {
        (Some(told), _) => judged.release = Some(Release::Deleted { told, proven: answered }),
        (None, Some(holder)) if first.is_some() && began.since(since) >= grace && began >= since => {
            judged.release = Some(Release::Replaced { by: holder.org.id, since, proven: answered });
        }
        (None, Some(_)) => judged.again = Some((since + grace).max(began)),
        (None, None) => {}
    }
    judged
}

impl Release {
    /// Why it is held, for a person.
    pub fn reason(&self, login: &str) -> HoldReason {
        match self {
            Self::Deleted { .. } => HoldReason::new(
                HoldRule::OrgDeleted,
                format!(
                    "GitHub told that {login} was deleted, and its id answers 404; an approval deletes its connections, \
                     and releases the login"
                ),
            ),
            Self::Renamed { to, by } => HoldReason::new(
                HoldRule::OrgRenamed,
                format!(
                    "{login} is called {to} now, and org {by} has the login {login}; an approval binds the login to org \
                     {by}, and leaves {to} its connections"
                ),
            ),
            Self::Replaced { by, .. } => HoldReason::new(
                HoldRule::OrgReplaced,
                format!(
                    "the org that was called {login} answers 404 by its id, and org {by} has the login now; an approval \
                     binds the login to org {by}, and disowns the connections of the old org, which stay as orphans"
                ),
            ),
        }
    }

    /// What proves it, for the audit.
    pub fn proof(&self) -> String {
        match self {
            Self::Deleted { told, proven } => {
                format!("organization.deleted came at {told}, and its id answered 404 at {proven}")
            }
            Self::Renamed { to, by } => format!("its id reads back as {to}, and the login as org {by}"),
            Self::Replaced { by, since, proven } => {
                format!("404 by id at {since} and at {proven}, while the login read back as org {by}")
            }
        }
    }

    /// Whether the organisation is gone.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Deleted { .. } | Self::Replaced { .. })
    }

    /// Why the connections of the organisation go with it; none if they stay.
    pub fn removes(&self) -> Option<RemovalCause> {
        match *self {
            Self::Deleted { told, proven } => Some(RemovalCause::OrgGone { told, proven }),
            Self::Renamed { .. } | Self::Replaced { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);
    const ACME: OrgId = OrgId(1);

    fn at(seconds: i64) -> Time {
        Time(seconds * 1_000_000)
    }

    fn org(id: i64, login: &str) -> OrgFacts {
        OrgFacts { id: OrgId(id), login: login.into() }
    }

    fn holder(id: i64, bound: bool) -> Holder {
        Holder { org: org(id, "Acme"), bound }
    }

    fn binding(told: Option<i64>, absent: Option<i64>) -> Binding<'static> {
        Binding { org: ACME, login: "acme", deleted_event_at: told.map(at), absent_since: absent.map(at) }
    }

    fn judge(binding: Binding<'_>, org: Option<&OrgFacts>, holder: Option<&Holder>, second: i64) -> Judged {
        judge_binding(binding, org, holder, GRACE, (at(second), at(second + 1)))
    }

    #[test]
    fn an_organisation_that_answers_under_its_login_keeps_it_whatever_an_event_said() {
        let (here, itself) = (org(1, "Acme"), holder(1, true));
        for told in [None, Some(5)] {
            assert_eq!(judge(binding(told, Some(6)), Some(&here), Some(&itself), 100), Judged::default());
            assert_eq!(judge(binding(told, None), Some(&here), None, 100), Judged::default());
        }
    }

    #[test]
    fn an_event_and_one_404_prove_the_deletion_and_either_alone_does_not() {
        let proven = at(11);
        let told = judge(binding(Some(5), None), None, None, 10);
        let release = Release::Deleted { told: at(5), proven };
        assert_eq!(told, Judged { absent_since: Some(proven), release: Some(release), again: None });
        let untold = judge(binding(None, Some(2)), None, None, 10_000);
        assert_eq!(untold, Judged { absent_since: Some(at(2)), release: None, again: None });
    }

    #[test]
    fn the_event_decides_also_where_another_has_the_login() {
        let judged = judge(binding(Some(5), Some(6)), None, Some(&holder(2, false)), 1_000);
        assert!(matches!(judged.release, Some(Release::Deleted { .. })));
    }

    #[test]
    fn a_newcomer_under_the_login_of_a_renamed_organisation_may_be_let_in_and_a_known_one_is() {
        let now = org(1, "acme-legacy");
        let judged = judge(binding(None, None), Some(&now), Some(&holder(2, false)), 10);
        assert_eq!(judged.release, Some(Release::Renamed { to: "acme-legacy".into(), by: OrgId(2) }));
        assert_eq!(judge(binding(None, None), Some(&now), Some(&holder(2, true)), 10), Judged::default());
        // The login is free, or its own in one of two answers, of which one is stale.
        assert_eq!(judge(binding(None, None), Some(&now), None, 10), Judged::default());
        assert_eq!(judge(binding(None, None), Some(&now), Some(&holder(1, true)), 10), Judged::default());
    }

    #[test]
    fn without_an_event_two_looks_a_grace_apart_prove_that_the_organisation_was_replaced() {
        let newcomer = holder(2, false);
        let first = judge(binding(None, None), None, Some(&newcomer), 10);
        assert_eq!(first, Judged { absent_since: Some(at(11)), release: None, again: Some(at(71)) });
        let early = judge(binding(None, Some(11)), None, Some(&newcomer), 70);
        assert_eq!((early.release, early.again), (None, Some(at(71))));
        let second = judge(binding(None, Some(11)), None, Some(&newcomer), 71);
        let replaced = Release::Replaced { by: OrgId(2), since: at(11), proven: at(72) };
        assert_eq!(second, Judged { absent_since: Some(at(11)), release: Some(replaced), again: None });
        // Whose the login is, or that it is nobody's, says nothing of the old organisation.
        assert_eq!(judge(binding(None, Some(11)), None, Some(&holder(1, true)), 71).release, None);
        // The clock was set back since.
        let ahead = judge(binding(None, Some(9_000)), None, Some(&newcomer), 71);
        assert_eq!((ahead.absent_since, ahead.release), (Some(at(72)), None));
    }

    #[test]
    fn without_a_grace_two_looks_are_two_looks() {
        let look = |absent| {
            judge_binding(
                binding(None, absent),
                None,
                Some(&holder(2, false)),
                Duration::ZERO,
                (at(5), at(5)),
            )
        };
        assert_eq!((look(None).release, look(None).again), (None, Some(at(5))));
        assert!(look(Some(5)).release.is_some());
    }

    #[test]
    fn only_a_deletion_takes_connections_along_and_each_kind_has_a_rule_of_its_own() {
        let (told, proven, by, since) = (at(1), at(2), OrgId(2), at(1));
        let all = [
            Release::Deleted { told, proven },
            Release::Renamed { to: "acme-legacy".into(), by },
            Release::Replaced { by, since, proven },
        ];
        let removes = all.each_ref().map(|it| it.removes().is_some());
        assert_eq!(removes, [true, false, false]);
        assert_eq!(all.each_ref().map(Release::is_end), [true, false, true]);
        let rules = all.each_ref().map(|it| it.reason("acme").rule);
        assert_eq!(rules, [HoldRule::OrgDeleted, HoldRule::OrgRenamed, HoldRule::OrgReplaced]);
    }
}
