//! Which repositories GitHub's document is to have: a filter over what GitHub says of them.

use globset::GlobSet;

use crate::model::{Entry, RepositoryFacts};

/// `[integrations.github]`: which repositories are taken.
#[derive(Clone, Debug)]
pub struct RepositoryFilter {
    /// The host that entries name.
    pub hostname: String,
    /// Globs of lower-cased `owner/name` that are taken; none = all.
    pub include: GlobSet,
    /// Globs of lower-cased `owner/name` that are left out, included or not.
    pub exclude: GlobSet,
    /// Whether archived ones are taken.
    pub archived: bool,
    /// Visibilities that are taken; none = all.
    pub visibility: Vec<String>,
    /// Topics of which one is needed; none = any.
    pub topics: Vec<String>,
}

/// What the filter makes of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is taken.
    Taken,
    /// It is left out, for this reason.
    LeftOut(&'static str),
    /// GitHub's answer lacks this field, on which it depends.
    Unknown(&'static str),
}

impl RepositoryFilter {
    /// Whether a repository is taken. Globs match the login that was bound to its organisation at first sight too, so that
    /// they outlast a renaming.
    pub fn fit(&self, repository: &RepositoryFacts, bound_login: &str) -> Fit {
        let Self { hostname: _, include, exclude, archived, visibility, topics } = self;
        let names = [repository.owner.as_str(), bound_login]
            .map(|login| format!("{login}/{}", repository.name).to_lowercase());
        let names_it = |globs: &GlobSet| names.iter().any(|name| globs.is_match(name));
        let has = |wanted: &[String], found: &str| wanted.iter().any(|one| one.eq_ignore_ascii_case(found));
        // A condition that is not set is met by all.
        let met = |set: bool, met: Option<bool>| if set { met } else { Some(true) };
        let visible = repository.visibility.as_ref().map(|it| has(visibility, it));
        let topical = repository.topics.as_ref().map(|all| all.iter().any(|topic| has(topics, topic)));
        let conditions = [
            (met(!archived, repository.archived.map(|is| !is)), "archived", "it is archived"),
            (
                met(!include.is_empty(), Some(names_it(include))),
                "name",
                "`integrations.github.include` does not name it",
            ),
            (Some(!names_it(exclude)), "name", "`integrations.github.exclude` names it"),
            (
                met(!visibility.is_empty(), visible),
                "visibility",
                "its visibility is not in `integrations.github.visibility`",
            ),
            (met(!topics.is_empty(), topical), "topics", "it has none of `integrations.github.topics`"),
        ];
        if let Some((.., why)) = conditions.iter().find(|(met, ..)| *met == Some(false)) {
            return Fit::LeftOut(why);
        }
        if let Some((_, field, _)) = conditions.iter().find(|(met, ..)| met.is_none()) {
            return Fit::Unknown(field);
        }
        Fit::Taken
    }

    /// How a repository stands in the document.
    pub fn entry(&self, repository: &RepositoryFacts) -> Entry {
        Entry::Repository {
            hostname: self.hostname.clone(),
            github_org_name: repository.owner.clone(),
            repo_name: repository.name.clone(),
        }
    }
}

/// The host that people see, from the host of the API: `github.com`, a tenant's `NAME.ghe.com`, or that of GitHub
/// Enterprise Server, whose API lives on the same host.
pub fn hostname(api_host: &str) -> &str {
    match api_host.strip_prefix("api.") {
        Some(host) if host == "github.com" || host.ends_with(".ghe.com") => host,
        _ => api_host,
    }
}

#[cfg(test)]
mod tests {
    use globset::{Glob, GlobSetBuilder};

    use super::*;
    use crate::model::RepositoryId;

    fn repository(name: &str) -> RepositoryFacts {
        RepositoryFacts {
            id: RepositoryId(1),
            name: name.into(),
            owner: "Acme".into(),
            archived: Some(false),
            visibility: Some("private".into()),
            topics: Some(vec!["Backend".into()]),
        }
    }

    fn globs(globs: &[&str]) -> GlobSet {
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            set.add(Glob::new(glob).unwrap());
        }
        set.build().unwrap()
    }

    fn everything() -> RepositoryFilter {
        RepositoryFilter {
            hostname: "github.com".into(),
            include: GlobSet::empty(),
            exclude: GlobSet::empty(),
            archived: false,
            visibility: Vec::new(),
            topics: Vec::new(),
        }
    }

    #[test]
    fn without_conditions_all_but_archived_repositories_are_taken() {
        let archived = RepositoryFacts { archived: Some(true), ..repository("Old") };
        assert_eq!(everything().fit(&repository("App"), "acme"), Fit::Taken);
        assert_eq!(everything().fit(&archived, "acme"), Fit::LeftOut("it is archived"));
        assert_eq!(RepositoryFilter { archived: true, ..everything() }.fit(&archived, "acme"), Fit::Taken);
        assert_eq!(everything().entry(&repository("App")).key().0, "github.com/acme/app");
    }

    #[test]
    fn each_condition_leaves_out_what_does_not_meet_it_whatever_the_case() {
        let app = repository("App-Web");
        let out = |filter: RepositoryFilter| filter.fit(&app, "initech") != Fit::Taken;
        assert!(!out(RepositoryFilter { include: globs(&["acme/app-*"]), ..everything() }));
        assert!(out(RepositoryFilter { include: globs(&["acme/lib-*"]), ..everything() }));
        assert!(out(RepositoryFilter {
            include: globs(&["*/*"]),
            exclude: globs(&["*/*-web"]),
            ..everything()
        }));
        assert!(!out(RepositoryFilter { include: globs(&["initech/*"]), ..everything() }));
        assert!(out(RepositoryFilter { exclude: globs(&["initech/*"]), ..everything() }));
        assert!(!out(RepositoryFilter { visibility: vec!["private".into()], ..everything() }));
        assert!(out(RepositoryFilter {
            visibility: vec!["public".into(), "internal".into()],
            ..everything()
        }));
        assert!(!out(RepositoryFilter { topics: vec!["backend".into(), "db".into()], ..everything() }));
        assert!(out(RepositoryFilter { topics: vec!["db".into()], ..everything() }));
    }

    #[test]
    fn a_field_that_is_missing_decides_nothing_where_a_condition_needs_it() {
        let silent = RepositoryFacts { archived: None, visibility: None, topics: None, ..repository("App") };
        let fit = |filter: RepositoryFilter| filter.fit(&silent, "acme");
        let all = || RepositoryFilter { archived: true, ..everything() };
        assert_eq!(fit(all()), Fit::Taken, "nothing depends on it");
        assert_eq!(fit(everything()), Fit::Unknown("archived"));
        assert_eq!(
            fit(RepositoryFilter { visibility: vec!["private".into()], ..all() }),
            Fit::Unknown("visibility")
        );
        assert_eq!(fit(RepositoryFilter { topics: vec!["db".into()], ..all() }), Fit::Unknown("topics"));
        let excluded = RepositoryFilter { exclude: globs(&["acme/*"]), ..everything() };
        assert!(matches!(fit(excluded), Fit::LeftOut(_)), "its name says enough");
    }

    #[test]
    fn the_host_is_the_one_that_people_see() {
        assert_eq!(hostname("api.github.com"), "github.com");
        assert_eq!(hostname("api.acme.ghe.com"), "acme.ghe.com");
        assert_eq!(hostname("github.acme.example"), "github.acme.example");
        assert_eq!(hostname("api.acme.example"), "api.acme.example");
    }
}
