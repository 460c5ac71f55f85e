//! Which policy governs an organisation.

use globset::{Glob, GlobSet};

use super::*;

fn policy(mode: Mode, missing_team: MissingTeam, protected: &str) -> OrgPolicy {
    let protected = GlobSet::builder().add(Glob::new(protected).unwrap()).build().unwrap();
    OrgPolicy { mode, missing_team, protected }
}

#[test]
fn where_both_logins_have_a_section_the_stricter_answers_and_the_globs_of_both_apply() {
    let default = policy(Mode::Observe, MissingTeam::Report, "default/x");
    let sections = BTreeMap::from([
        ("acme".to_owned(), policy(Mode::Sync, MissingTeam::Report, "acme/x")),
        ("acme2".to_owned(), policy(Mode::Upsert, MissingTeam::Create, "acme2/x")),
    ]);
    let governing = |logins| {
        let policy = Governing::of(&default, &sections, logins);
        let protects = |name: &&str| policy.protects(&BTreeSet::from([(*name).to_owned()]));
        let protected: Vec<&str> = ["acme/x", "acme2/x", "default/x"].into_iter().filter(protects).collect();
        (policy.mode, policy.missing_team, protected)
    };
    let both = (Mode::Upsert, MissingTeam::Report, vec!["acme/x", "acme2/x"]);
    assert_eq!(governing(["Acme2", "ACME"]), both);
    assert_eq!(governing(["acme", "acme2"]), both);
    assert_eq!(governing(["other", "acme"]), (Mode::Sync, MissingTeam::Report, vec!["acme/x"]));
    assert_eq!(governing(["acme2", "acme2"]), (Mode::Upsert, MissingTeam::Create, vec!["acme2/x"]));
    assert_eq!(governing(["other", "other"]), (Mode::Observe, MissingTeam::Report, vec!["default/x"]));
}
