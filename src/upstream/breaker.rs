//! Which scopes are given a rest, and when one of them is tried again.
//!
//! A refused credential opens its scope at once. An outage opens it after several failures in a row; it is one for
//! all organisations, and one probe serves for all that fails of one upstream. While a scope is open, one request
//! gets through every [`PROBE_EVERY`]; whatever answer shows that the scope works closes it. What was refused of a list,
//! no answer about a single thing shows to be allowed: a team that answers 404 is answered to those too who may not list.
//!
//! All times are those of the monotonic clock, so that a wall clock that is set neither prolongs a rest nor ends it.

use std::{collections::BTreeMap, time::Duration};

use super::{Access, Question, Scope, Upstream};
use crate::model::Class;

/// How often an open scope is tried.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Failed writes in a row that a batch may cost while it is halved down to one culprit.
pub const MOST_FAILURES: u32 = 10;

/// Failed reads in a row that are taken for an outage.
const FAILED_READS: u32 = 5;

/// What kind of question an answer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    operation: &'static str,
    /// It asks for what always exists.
    collection: bool,
}

impl Kind {
    /// The kind of a question.
    pub fn of(question: &Question<'_>) -> Self {
        Self { operation: question.operation, collection: question.collection }
    }

    /// Whether an answer of this kind shows that what was refused of another kind is allowed now.
    fn cures(self, refused: Self, access: Access) -> bool {
        let same = access == Access::Read || self.operation == refused.operation;
        self.collection || (!refused.collection && same)
    }
}

/// Why a scope is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Auth or transient.
    pub class: Class,
    /// What the upstream last said.
    pub why: String,
    /// Since when, by the monotonic clock.
    pub since: Duration,
    probe_at: Duration,
    /// What was refused.
    refused: Kind,
}

/// How a scope stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It works, as far as is known.
    Closed,
    /// It is open, and the next request is the probe.
    Due,
    /// It is open for this long at least.
    Open(Duration),
}

/// Whether a request may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Sent,
    /// It may not: this scope is open, and tried again after the wait.
    Refused {
        /// Which.
        scope: Scope,
        /// Why.
        open: Open,
        /// Until it is tried again.
        wait: Duration,
    },
}

/// What an answer says about its scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It works, whatever became of the request.
    Alive,
    /// Nothing.
    Nothing,
    /// The server fails, or does not answer.
    Down(String),
    /// The credential is refused.
    Refused(String),
}

/// A scope that was opened or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub scope: Scope,
    /// Why it is open now; `None` when it was closed.
    pub open: Option<Open>,
}

/// The scopes that fail.
#[derive(Clone, Debug, Default)]
pub struct Breakers {
    open: BTreeMap<Scope, Open>,
    /// Failures in a row of scopes that are not open yet.
    failures: BTreeMap<Scope, u32>,
}

impl Breakers {
    /// How a scope stands. What is never refused as a whole is stopped by outages only.
    pub fn standing(&self, scope: &Scope, now: Duration) -> Standing {
        let mut standing = Standing::Closed;
        for open in [scope, &scope.outage()].into_iter().filter_map(|key| self.open.get(key)) {
            let wait = open.probe_at.saturating_sub(now);
            standing = match standing {
                Standing::Open(longer) if longer >= wait => Standing::Open(longer),
                _ if wait.is_zero() => Standing::Due,
                _ => Standing::Open(wait),
            };
        }
        standing
    }

    /// Asks whether a request may be sent. One that may although the scope is open is the probe.
    pub fn admit(&mut self, scope: &Scope, now: Duration) -> Admission {
        let outage = scope.outage();
        let keys = if outage == *scope { vec![outage] } else { vec![scope.clone(), outage] };
        for key in &keys {
            if let Some(open) = self.open.get(key).filter(|open| open.probe_at > now) {
                let wait = open.probe_at.saturating_sub(now);
                return Admission::Refused { scope: key.clone(), open: open.clone(), wait };
            }
        }
        for key in keys {
            let Some(open) = self.open.get_mut(&key) else { continue };
            open.probe_at = now + PROBE_EVERY;
            if open.class == Class::Transient {
                self.probe_outages(key.upstream, now + PROBE_EVERY);
            }
        }
        Admission::Sent
    }

    /// Takes in what an answer to a question of this kind says. Answers what was opened or closed by it.
    pub fn heard(&mut self, scope: &Scope, kind: Kind, heard: Heard, now: Duration) -> Vec<Change> {
        let outage = scope.outage();
        match heard {
            Heard::Nothing => Vec::new(),
            Heard::Alive => {
                let own = (outage != *scope).then(|| self.alive(scope, kind, now)).flatten();
                own.into_iter().chain(self.alive(&outage, kind, now)).collect()
            }
            Heard::Refused(why) => {
                let up = (outage != *scope).then(|| self.alive(&outage, kind, now)).flatten();
                up.into_iter().chain(self.open(scope.clone(), Class::Auth, kind, why, now)).collect()
            }
            Heard::Down(why) => {
                let failures = self.failures.entry(outage.clone()).or_default();
                *failures += 1;
                let enough = match scope.access {
                    Access::Read => FAILED_READS,
                    Access::Write => MOST_FAILURES + 1,
                };
                let opens = *failures >= enough && !self.open.contains_key(&outage);
                let opened = opens.then(|| self.open(outage, Class::Transient, kind, why, now));
                opened.flatten().into_iter().collect()
            }
        }
    }

    /// Whether a scope is open because a list of it was refused.
    pub fn refuses_lists(&self, scope: &Scope) -> bool {
        self.open.get(scope).is_some_and(|open| open.class == Class::Auth && open.refused.collection)
    }

    /// What was refused is tried at once, since the credential is another now.
    pub fn credential_changed(&mut self, upstream: Upstream, now: Duration) {
        let refused =
            |(scope, open): &(&Scope, &mut Open)| scope.upstream == upstream && open.class == Class::Auth;
        self.open.iter_mut().filter(refused).for_each(|(_, open)| open.probe_at = now);
    }

    /// The scopes that are open.
    pub fn all_open(&self) -> impl Iterator<Item = (&Scope, &Open)> {
        self.open.iter()
    }

    fn open(&mut self, scope: Scope, class: Class, kind: Kind, why: String, now: Duration) -> Option<Change> {
        self.failures.remove(&scope);
        if let Some(known) = self.open.get_mut(&scope).filter(|known| known.class == class) {
            known.why = why;
            if kind.collection {
                known.refused = kind;
            }
            return None;
        }
        let open = Open { class, why, since: now, probe_at: now + PROBE_EVERY, refused: kind };
        self.open.insert(scope.clone(), open.clone());
        Some(Change { scope, open: Some(open) })
    }

    /// An answer of this kind was there, and no refusal.
    fn alive(&mut self, scope: &Scope, kind: Kind, now: Duration) -> Option<Change> {
        self.failures.remove(scope);
        let refused = |open: &Open| open.class == Class::Auth && !kind.cures(open.refused, scope.access);
        if self.open.get(scope).is_some_and(refused) {
            return None;
        }
        let closed = self.open.remove(scope)?;
        if closed.class == Class::Transient {
            // It is back: what else of it failed need not wait its turn.
            self.probe_outages(scope.upstream, now);
        }
        Some(Change { scope: scope.clone(), open: None })
    }

    fn probe_outages(&mut self, upstream: Upstream, at: Duration) {
        let failing = |(scope, open): &(&Scope, &mut Open)| {
            scope.upstream == upstream && open.class == Class::Transient
        };
        self.open.iter_mut().filter(failing).for_each(|(_, open)| open.probe_at = at);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Capability, Whose},
        *,
    };
    use crate::model::OrgId;

    static READ: Scope = Scope::datadog(Capability::Teams, Access::Read);
    static LIST: Scope = Scope::datadog(Capability::Connections, Access::Read);
    static WRITE: Scope = Scope::datadog(Capability::Connections, Access::Write);

    const ITEM: Kind = Kind { operation: "get", collection: false };
    const ALL: Kind = Kind { operation: "list", collection: true };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000 + seconds)
    }

    fn down() -> Heard {
        Heard::Down("500".into())
    }

    fn refused() -> Heard {
        Heard::Refused("403".into())
    }

    fn of_org(org: i64) -> Scope {
        Scope::github(Whose::Org(OrgId(org)), Capability::Teams)
    }

    /// Breakers after this many failures in a row.
    fn failed(scope: &Scope, times: u32) -> Breakers {
        let mut breakers = Breakers::default();
        (0..times).for_each(|_| drop(breakers.heard(scope, ITEM, down(), at(0))));
        breakers
    }

    #[test]
    fn several_failures_in_a_row_are_an_outage_and_one_answer_between_them_is_none() {
        assert_eq!(failed(&READ, 4).standing(&READ, at(0)), Standing::Closed);
        assert_eq!(failed(&READ, 5).standing(&READ, at(0)), Standing::Open(PROBE_EVERY));
        let mut breakers = failed(&READ, 4);
        breakers.heard(&READ, ITEM, Heard::Alive, at(0));
        breakers.heard(&READ, ITEM, down(), at(0));
        assert_eq!(breakers.standing(&READ, at(0)), Standing::Closed);
    }

    #[test]
    fn a_batch_can_be_halved_down_to_a_culprit_that_is_answered_500_without_an_outage() {
        assert_eq!(failed(&WRITE, MOST_FAILURES).standing(&WRITE, at(0)), Standing::Closed);
        assert_ne!(failed(&WRITE, MOST_FAILURES + 1).standing(&WRITE, at(0)), Standing::Closed);
    }

    #[test]
    fn a_refusal_opens_its_own_scope_at_once_and_no_other() {
        let mut breakers = Breakers::default();
        let changes = breakers.heard(&of_org(1), ITEM, refused(), at(0));
        assert_eq!(changes.len(), 1);
        assert_eq!(breakers.standing(&of_org(1), at(0)), Standing::Open(PROBE_EVERY));
        assert_eq!(breakers.standing(&of_org(2), at(0)), Standing::Closed);
        assert!(breakers.heard(&of_org(1), ITEM, refused(), at(1)).is_empty(), "it is said once");
        breakers.heard(&Scope::datadog(Capability::Integrations, Access::Read), ITEM, refused(), at(0));
        assert_eq!(breakers.standing(&LIST, at(0)), Standing::Closed);
    }

    #[test]
    fn one_request_gets_through_every_five_seconds() {
        let mut breakers = failed(&READ, 5);
        let sent: Vec<u64> =
            (0..20).filter(|second| breakers.admit(&READ, at(*second)) == Admission::Sent).collect();
        assert_eq!(sent, [5, 10, 15]);
    }

    #[test]
    fn what_fails_of_one_upstream_shares_the_probe_and_the_return() {
        let mut breakers = failed(&READ, 5);
        (0..5).for_each(|_| drop(breakers.heard(&LIST, ITEM, down(), at(1))));
        assert_eq!(breakers.admit(&READ, at(6)), Admission::Sent);
        assert!(matches!(breakers.admit(&LIST, at(7)), Admission::Refused { .. }));
        breakers.heard(&READ, ITEM, Heard::Alive, at(7));
        assert_eq!(breakers.standing(&READ, at(7)), Standing::Closed);
        assert_eq!(breakers.standing(&LIST, at(7)), Standing::Due);
    }

    #[test]
    fn an_outage_of_github_is_one_for_all_organisations() {
        let mut breakers = Breakers::default();
        (0..5).for_each(|org| drop(breakers.heard(&of_org(org), ITEM, down(), at(0))));
        assert_eq!(breakers.standing(&of_org(9), at(0)), Standing::Open(PROBE_EVERY));
        let closed = breakers.heard(&of_org(3), ITEM, Heard::Alive, at(5));
        assert_eq!(closed, [Change { scope: of_org(3).outage(), open: None }]);
        assert_eq!(breakers.standing(&of_org(9), at(5)), Standing::Closed);
    }

    #[test]
    fn a_server_that_refuses_is_up() {
        let mut breakers = failed(&of_org(1), 5);
        breakers.heard(&of_org(2), ITEM, refused(), at(5));
        assert_eq!(breakers.standing(&of_org(1), at(5)), Standing::Closed);
        assert_eq!(breakers.standing(&of_org(2), at(5)), Standing::Open(PROBE_EVERY));
    }

    #[test]
    fn a_new_credential_is_tried_at_once_and_cures_no_outage() {
        let mut breakers = failed(&LIST, 5);
        breakers.heard(&READ, ITEM, refused(), at(0));
        breakers.credential_changed(Upstream::Github, at(1));
        assert_eq!(breakers.standing(&READ, at(1)), Standing::Open(Duration::from_secs(4)));
        breakers.credential_changed(Upstream::Datadog, at(1));
        assert_eq!(breakers.standing(&READ, at(1)), Standing::Due);
        assert_eq!(breakers.standing(&LIST, at(1)), Standing::Open(Duration::from_secs(4)));
    }

    #[test]
    fn a_failure_during_a_refusal_changes_nothing_and_a_refusal_after_an_outage_is_news() {
        let mut breakers = Breakers::default();
        breakers.heard(&READ, ITEM, refused(), at(0));
        (0..9).for_each(|_| assert!(breakers.heard(&READ, ITEM, down(), at(5)).is_empty()));
        let mut breakers = failed(&READ, 5);
        let changes = breakers.heard(&READ, ITEM, refused(), at(5));
        assert!(changes[0].open.as_ref().is_some_and(|open| open.class == Class::Auth), "{changes:?}");
    }

    #[test]
    fn what_was_refused_of_a_list_no_answer_about_a_single_thing_shows_to_be_allowed() {
        let scope = of_org(1);
        let mut breakers = Breakers::default();
        assert_eq!(breakers.heard(&scope, ALL, refused(), at(0)).len(), 1);
        assert!(breakers.refuses_lists(&scope));
        for second in 1..60 {
            assert_eq!(breakers.heard(&scope, ITEM, Heard::Alive, at(second)), [], "said once");
            assert_eq!(breakers.heard(&scope, ALL, refused(), at(second)), []);
        }
        assert_eq!(breakers.heard(&scope, ALL, Heard::Alive, at(60)).len(), 1);
        // What was refused of a single thing is allowed once any other is answered.
        for cure in [ITEM, Kind { operation: "other", ..ITEM }, ALL] {
            breakers.heard(&scope, ITEM, refused(), at(61));
            assert!(!breakers.refuses_lists(&scope));
            assert_eq!(breakers.heard(&scope, cure, Heard::Alive, at(62)).len(), 1, "{cure:?}");
        }
        // Then the list is refused too.
        breakers.heard(&scope, ITEM, refused(), at(63));
        breakers.heard(&scope, ALL, refused(), at(64));
        assert_eq!(breakers.heard(&scope, ITEM, Heard::Alive, at(65)), []);
    }

    #[test]
    fn a_write_that_was_refused_is_allowed_once_it_or_the_probe_is() {
        let create = Kind { operation: "create_connections", ..ITEM };
        let mut breakers = Breakers::default();
        breakers.heard(&WRITE, create, refused(), at(0));
        let delete = Kind { operation: "delete_connections", ..ITEM };
        assert_eq!(breakers.heard(&WRITE, delete, Heard::Alive, at(1)), []);
        for cure in [create, Kind { operation: "probe_write", ..ALL }] {
            assert_eq!(breakers.heard(&WRITE, cure, Heard::Alive, at(2)).len(), 1, "{cure:?}");
            breakers.heard(&WRITE, create, refused(), at(3));
        }
    }
}
