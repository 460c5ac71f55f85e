//! Rules that reproduce the connections that Datadog has today, for a team that comes to teamlink with years of
//! hand-made ones: with these rules in the settings, the first plan changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{RuleSpec, pattern::Pattern, template};
use crate::model::{Connection, DatadogTeam, DatadogTeamId};

/// Rules made from what exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// The rules, most special first; the last ignores every team that no connection names.
    pub rules: Vec<RuleSpec>,
    /// Connections to GitHub that no rule can express: they lack an end, or name what cannot be a team.
    pub left_out: Vec<Connection>,
}

/// By `(org, slug)`, the Datadog teams that it is linked to.
type Links<'a> = BTreeMap<(String, String), BTreeSet<&'a DatadogTeamId>>;

/// The rules under which exactly these connections are wanted, as few and general as is safe.
///
/// Where most teams of an organisation follow one template (`{slug}`, `{slug}-eng`, `team-{slug}`), one rule
/// stands for all of them. Such a rule would also link a GitHub team that is not linked today to a Datadog
/// team whose handle happens to fit; each such handle is kept out by an `ignore` rule of its own, and if that
/// makes more rules than it saves, every team gets its own rule instead.
pub fn from_existing(connections: &[Connection], teams: &[DatadogTeam]) -> Existing {
    let mut left_out = Vec::new();
    let mut links: Links<'_> = BTreeMap::new();
    for connection in connections {
        if connection.source.as_deref().is_some_and(|source| !source.eq_ignore_ascii_case("github")) {
            continue;
        }
        match (github_team(connection), &connection.datadog_team) {
            (Some(name), Some(team)) if uuid::Uuid::try_parse(team.as_str()).is_ok() => {
                links.entry(name).or_default().insert(team);
            }
            _ => left_out.push(connection.clone()),
        }
    }
    let handles = handles(teams);
    let findable: BTreeSet<String> = teams.iter().map(|team| team.handle.to_lowercase()).collect();

    let mut orgs: BTreeMap<&str, Vec<(&str, &BTreeSet<&DatadogTeamId>)>> = BTreeMap::new();
    for ((org, slug), linked) in &links {
        orgs.entry(org).or_default().push((slug, linked));
    }
    let (mut special, mut general) = (Vec::new(), Vec::new());
    for (org, linked) in orgs {
        let (own, shared) = rules_of(org, &linked, &handles, &findable);
        special.extend(own);
        general.extend(shared);
    }
    special.extend(general);
    special.push(RuleSpec::ignore("*/*"));
    Existing { rules: special, left_out }
}

/// The team that a connection names, lower-cased, if GitHub could have such a team.
fn github_team(connection: &Connection) -> Option<(String, String)> {
    let name = connection.github.as_ref()?.to_lowercase();
    let name = name.strip_prefix('@')?;
    Pattern::new(name).ok()?.exact()?;
    let (org, slug) = name.split_once('/')?;
    Some((org.to_owned(), slug.to_owned()))
}

/// Handles by id, but only those that a rule can name: written as the resolver gives them, and of one team.
fn handles(teams: &[DatadogTeam]) -> HashMap<&DatadogTeamId, &str> {
    let mut count: HashMap<String, usize> = HashMap::new();
    for team in teams {
        *count.entry(team.handle.to_lowercase()).or_default() += 1;
    }
    let usable = |team: &&DatadogTeam| {
        template::impossible(&team.handle).is_none() && count.get(team.handle.as_str()) == Some(&1)
    };
    teams.iter().filter(usable).map(|team| (&team.id, team.handle.as_str())).collect()
}

/// One organisation's rules: those for single teams, and the general one if it pays. A template finds a Datadog
/// team by its handle whatever the case, so `findable` has every handle in lower case, also those that no rule of
/// ours names.
fn rules_of(
    org: &str,
    linked: &[(&str, &BTreeSet<&DatadogTeamId>)],
    handles: &HashMap<&DatadogTeamId, &str>,
    findable: &BTreeSet<String>,
) -> (Vec<RuleSpec>, Option<RuleSpec>) {
    let exact = |(slug, ids): &(&str, &BTreeSet<&DatadogTeamId>)| {
        let github = format!("{org}/{slug}");
        match ids.iter().map(|id| handles.get(id).copied()).collect::<Option<BTreeSet<_>>>() {
            Some(handles) => RuleSpec::handles(&github, handles),
            None => RuleSpec::team_ids(&github, ids.iter().map(|id| id.as_str())),
        }
    };
    let only_handle = |ids: &BTreeSet<&DatadogTeamId>| match ids.iter().collect::<Vec<_>>()[..] {
        [id] => handles.get(id).copied(),
        _ => None,
    };

    if let Some((before, behind)) =
        best_template(linked.iter().filter_map(|(slug, ids)| Some((*slug, only_handle(ids)?))))
    {
        let follows = |slug: &str, ids: &BTreeSet<&DatadogTeamId>| {
            only_handle(ids).is_some_and(|handle| handle == format!("{before}{slug}{behind}"))
        };
        let mut special: Vec<RuleSpec> =
            linked.iter().filter(|(slug, ids)| !follows(slug, ids)).map(exact).collect();
        let known: BTreeSet<&str> = linked.iter().map(|(slug, _)| *slug).collect();
        let strangers: BTreeSet<&str> = findable
            .iter()
            .filter_map(|handle| handle.strip_prefix(before)?.strip_suffix(behind))
            .filter(|slug| !known.contains(slug) && is_slug(slug))
            .collect();
        special.extend(strangers.iter().map(|slug| RuleSpec::ignore(&format!("{org}/{slug}"))));
        if special.len() + 1 < linked.len() {
            special.sort_by(|a, b| a.github.cmp(&b.github));
            let general = RuleSpec::handles(&format!("{org}/*"), [format!("{before}{{slug}}{behind}")]);
            return (special, Some(general));
        }
    }
    (linked.iter().map(exact).collect(), None)
}

/// What stands before and behind the slug in most of these handles; of equals, the shortest and first.
fn best_template<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<(&'a str, &'a str)> {
    let mut count: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (slug, handle) in pairs {
        for (at, _) in handle.match_indices(slug) {
            *count.entry((&handle[..at], &handle[at + slug.len()..])).or_default() += 1;
        }
    }
    let shortest = |(before, behind): &(&str, &str)| std::cmp::Reverse(before.len() + behind.len());
    // `max_by_key` takes the last of equals, so the order is turned round for the first.
    count
        .into_iter()
        .rev()
        .max_by_key(|(template, count)| (*count, shortest(template)))
        .map(|(template, _)| template)
}

/// Whether GitHub could give a team this slug.
fn is_slug(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
}
