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

impl RepositoryFilter {
    /// Why a repository is left out; `None` when it is taken. Globs match the login that was bound to its organisation
    /// at first sight too, so that they outlast a renaming.
    pub fn leaves_out(&self, repository: &RepositoryFacts, bound_login: &str) -> Option<&'static str> {
        let Self { hostname: _, include, exclude, archived, visibility, topics } = self;
        let names = [repository.owner.as_str(), bound_login]
            .map(|login| format!("{login}/{}", repository.name).to_lowercase());
        let names_it = |globs: &GlobSet| names.iter().any(|name| globs.is_match(name));
        let has = |wanted: &[String], found: &str| wanted.iter().any(|one| one.eq_ignore_ascii_case(found));
        if repository.archived && !archived {
            Some("it is archived")
        } else if !include.is_empty() && !names_it(include) {
            Some("`integrations.github.include` does not name it")
        } else if names_it(exclude) {
            Some("`integrations.github.exclude` names it")
        } else if !visibility.is_empty() && !has(visibility, &repository.visibility) {
            Some("its visibility is not in `integrations.github.visibility`")
        } else if !topics.is_empty() && !repository.topics.iter().any(|topic| has(topics, topic)) {
            Some("it has none of `integrations.github.topics`")
        } else {
            None
        }
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
            archived: false,
            visibility: "private".into(),
            topics: vec!["Backend".into()],
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
        let archived = RepositoryFacts { archived: true, ..repository("Old") };
        assert_eq!(everything().leaves_out(&repository("App"), "acme"), None);
        assert_eq!(everything().leaves_out(&archived, "acme"), Some("it is archived"));
        assert_eq!(RepositoryFilter { archived: true, ..everything() }.leaves_out(&archived, "acme"), None);
        assert_eq!(everything().entry(&repository("App")).key().0, "github.com/acme/app");
    }

    #[test]
    fn each_condition_leaves_out_what_does_not_meet_it_whatever_the_case() {
        let app = repository("App-Web");
        let out = |filter: RepositoryFilter| filter.leaves_out(&app, "initech").is_some();
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
    fn the_host_is_the_one_that_people_see() {
        assert_eq!(hostname("api.github.com"), "github.com");
        assert_eq!(hostname("api.acme.ghe.com"), "acme.ghe.com");
        assert_eq!(hostname("github.acme.example"), "github.acme.example");
        assert_eq!(hostname("api.acme.example"), "api.acme.example");
    }
}
