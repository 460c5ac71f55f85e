//! Which organisations are ours. Decided by the ids that the ledger has bound; a login says only whom to ask GitHub about.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{OrgFacts, OrgId};

/// The organisations that are watched, as far as they are known.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// `github.orgs`, lower-cased; empty = every organisation that sends events.
    wanted: BTreeSet<String>,
    /// The login that each known id was bound to, lower-cased.
    bound: BTreeMap<OrgId, String>,
    /// The organisation that had each login which was released, lower-cased.
    released: BTreeMap<String, OrgId>,
    /// An id was asked about that was not known.
    met_stranger: bool,
}

/// What an organisation is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Ours, and known.
    Known,
    /// Perhaps ours, and not bound. The worker asks GitHub who has its login.
    New(OrgFacts),
    /// Not on the list.
    NotOurs,
    /// Its login was released. No event binds it again: GitHub is asked who has it.
    Released {
        /// The organisation that had it.
        before: OrgId,
    },
    /// Its login is on the list, but bound to another id: somebody took over the name of a renamed organisation.
    LoginTaken {
        /// The id that the login is bound to.
        by: OrgId,
    },
}

impl Watch {
    /// A watch over the logins in `github.orgs` and the organisations that the ledger has bound.
    pub fn new(orgs: &[String], bound: impl IntoIterator<Item = (OrgId, String)>) -> Self {
        Self {
            wanted: orgs.iter().map(|login| login.to_lowercase()).collect(),
            bound: bound.into_iter().map(|(id, login)| (id, login.to_lowercase())).collect(),
            released: BTreeMap::new(),
            met_stranger: false,
        }
    }

    /// Whether an id was asked about that was not known when the ledger was last read.
    pub(super) fn met_stranger(&self) -> bool {
        self.met_stranger
    }

    /// Takes over what the ledger has bound and released, by whomever, and nothing else.
    pub(super) fn relearn(
        &mut self,
        bound: impl IntoIterator<Item = (OrgId, String)>,
        released: impl IntoIterator<Item = (OrgId, String)>,
    ) {
        self.bound = bound.into_iter().map(|(id, login)| (id, login.to_lowercase())).collect();
        self.released = released.into_iter().map(|(id, login)| (login.to_lowercase(), id)).collect();
        self.met_stranger = false;
    }

    /// What the organisation of an event is to us.
    pub fn standing(&mut self, id: OrgId, login: Option<&str>) -> Standing {
        let bound = self.bound.get(&id);
        if bound.is_some_and(|bound| self.wanted.is_empty() || self.wanted.contains(bound)) {
            return Standing::Known;
        }
        self.met_stranger |= bound.is_none();
        let Some(login) = login.filter(|login| is_login(login)) else { return Standing::NotOurs };
        let lower = login.to_lowercase();
        if !self.wanted.is_empty() && !self.wanted.contains(&lower) {
            return Standing::NotOurs;
        }
        if bound.is_some() {
            // Renamed, and the list names it by its new login, to whomever that is bound.
            return Standing::Known;
        }
        if let Some((&by, _)) = self.bound.iter().find(|(of, bound)| **bound == lower && **of != id) {
            return Standing::LoginTaken { by };
        }
        if let Some(&before) = self.released.get(&lower) {
            return Standing::Released { before };
        }
        Standing::New(OrgFacts { id, login: login.to_owned() })
    }
}

/// Whether GitHub could call an organisation so. Its logins have up to 39 characters, and those of its enterprises a few more.
fn is_login(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=100).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(orgs: &[&str]) -> Watch {
        Watch::new(&orgs.iter().map(|&login| login.to_owned()).collect::<Vec<_>>(), [])
    }

    #[test]
    fn an_empty_list_has_every_org_asked_about_until_it_is_bound() {
        let mut watch = watch(&[]);
        for _ in 0..2 {
            assert!(matches!(watch.standing(OrgId(1), Some("Acme")), Standing::New(_)));
        }
        watch.relearn([(OrgId(1), "Acme".to_owned())], []);
        assert_eq!(watch.standing(OrgId(1), Some("acme")), Standing::Known);
    }

    #[test]
    fn nobody_is_asked_about_what_cannot_be_a_login() {
        let mut watch = watch(&[]);
        for login in ["", "a/b", "a b", "..", "\u{e9}", &"x".repeat(101)] {
            assert_eq!(watch.standing(OrgId(1), Some(login)), Standing::NotOurs, "{login}");
        }
    }

    #[test]
    fn no_event_takes_a_login_from_whoever_has_it() {
        let mut watch = watch(&["acme"]);
        assert!(matches!(watch.standing(OrgId(666), Some("acme")), Standing::New(_)));
        assert!(matches!(watch.standing(OrgId(1), Some("acme")), Standing::New(_)));
    }

    #[test]
    fn a_list_takes_its_logins_in_any_case_and_nothing_else() {
        let mut watch = watch(&["Acme"]);
        assert!(matches!(watch.standing(OrgId(1), Some("aCME")), Standing::New(_)));
        assert_eq!(watch.standing(OrgId(2), Some("other")), Standing::NotOurs);
        assert_eq!(watch.standing(OrgId(3), None), Standing::NotOurs);
    }

    #[test]
    fn after_a_rename_the_id_decides() {
        let mut watch = Watch::new(&["acme".to_owned()], [(OrgId(1), "acme".to_owned())]);
        assert_eq!(watch.standing(OrgId(1), Some("acme-corp")), Standing::Known);
        assert_eq!(watch.standing(OrgId(9), Some("acme")), Standing::LoginTaken { by: OrgId(1) });
    }

    #[test]
    fn no_event_binds_a_login_that_was_released() {
        let mut watch = watch(&["acme"]);
        watch.relearn([], [(OrgId(1), "Acme".to_owned())]);
        let asks = Standing::Released { before: OrgId(1) };
        assert_eq!(watch.standing(OrgId(9), Some("acme")), asks);
        assert_eq!(watch.standing(OrgId(1), Some("acme")), asks, "an old event of the organisation itself");
        assert_eq!(watch.standing(OrgId(9), Some("other")), Standing::NotOurs);
        watch.relearn([(OrgId(9), "acme".to_owned())], [(OrgId(1), "Acme".to_owned())]);
        assert_eq!(watch.standing(OrgId(9), Some("acme")), Standing::Known);
        assert_eq!(watch.standing(OrgId(1), Some("acme")), Standing::LoginTaken { by: OrgId(9) });
    }

    #[test]
    fn a_renamed_org_may_be_listed_by_either_login() {
        let bound = [(OrgId(1), "acme".to_owned()), (OrgId(2), "taken".to_owned())];
        let mut watch = Watch::new(&["globex".to_owned(), "taken".to_owned()], bound);
        assert_eq!(watch.standing(OrgId(1), Some("Globex")), Standing::Known);
        assert_eq!(watch.standing(OrgId(1), Some("acme")), Standing::NotOurs);
        assert_eq!(watch.standing(OrgId(1), None), Standing::NotOurs);
        // A binding restricts only ids that were never seen.
        assert_eq!(watch.standing(OrgId(1), Some("taken")), Standing::Known);
        assert_eq!(watch.standing(OrgId(3), Some("taken")), Standing::LoginTaken { by: OrgId(2) });
    }
}
