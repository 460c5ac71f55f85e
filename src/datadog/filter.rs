//! Which connections to list, and how a long list of ids is spread over several requests.

use crate::model::{Class, Trouble};

/// Longest list of ids in one request: 50 UUIDs are 1.8 kB of query, far from any limit on URLs.
const LONGEST: usize = 50;

/// Datadog's four filters on connections; a connection must pass all of them. **An empty list filters
/// nothing**: for "those of no id at all", do not ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Systems: `github`, ….
    pub sources: Vec<String>,
    /// Datadog teams.
    pub team_ids: Vec<String>,
    /// GitHub teams, as `@org/slug`. Whether Datadog looks at their case is not documented: who needs every
    /// spelling filters by Datadog team, and compares keys.
    pub connected_team_ids: Vec<String>,
    /// Connections.
    pub connection_ids: Vec<String>,
}

impl Filter {
    /// Every connection from GitHub.
    pub fn github() -> Self {
        Self { sources: vec!["github".to_owned()], ..Self::default() }
    }

    fn lists(&self) -> [(&'static str, &[String]); 4] {
        let Self { sources, team_ids, connected_team_ids, connection_ids } = self;
        [
            ("filter[sources]", sources),
            ("filter[team_ids]", team_ids),
            ("filter[connected_team_ids]", connected_team_ids),
            ("filter[connection_ids]", connection_ids),
        ]
    }

    /// The query parameters of each request that is needed: comma-separated (`explode: false`), at most 50 ids
    /// in a list.
    ///
    /// # Errors
    /// Permanent, when more than one list is longer than that: their product would be a multitude of requests.
    pub(super) fn queries(&self) -> Result<Vec<Vec<(&'static str, String)>>, Trouble> {
        let lists = self.lists().into_iter().filter(|(_, ids)| !ids.is_empty());
        let (long, short): (Vec<_>, Vec<_>) = lists.partition(|(_, ids)| ids.len() > LONGEST);
        let short: Vec<_> = short.into_iter().map(|(name, ids)| (name, ids.join(","))).collect();
        match long.as_slice() {
            [] => Ok(vec![short]),
            [(name, ids)] => Ok(ids
                .chunks(LONGEST)
                .map(|chunk| [short.as_slice(), &[(*name, chunk.join(","))]].concat())
                .collect()),
            _ => {
                let names: Vec<_> = long.iter().map(|(name, _)| *name).collect();
                Err(Trouble::new(
                    Class::Permanent,
                    format!(
                        "failed to list team connections: only one filter may hold more than {LONGEST} values, but these do: {}; ask in several steps",
                        names.join(", ")
                    ),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("id-{n}")).collect()
    }

    #[test]
    fn no_filter_is_one_request_without_parameters() {
        assert_eq!(Filter::default().queries(), Ok(vec![vec![]]));
    }

    #[test]
    fn a_long_list_is_cut_and_each_part_keeps_the_other_filters() {
        let filter =
            Filter { sources: vec!["github".into(), "scim".into()], team_ids: ids(120), ..Filter::default() };
        let queries = filter.queries().unwrap();
        let lengths: Vec<_> = queries.iter().map(|query| query[1].1.split(',').count()).collect();
        assert_eq!(lengths, [50, 50, 20]);
        assert!(queries.iter().all(|query| query[0] == ("filter[sources]", "github,scim".to_owned())));
        let all: Vec<_> = queries.iter().flat_map(|query| query[1].1.split(',')).map(str::to_owned).collect();
        assert_eq!(all, ids(120));
    }

    #[test]
    fn two_long_lists_at_once_are_refused() {
        let filter = Filter { team_ids: ids(51), connection_ids: ids(51), ..Filter::default() };
        let trouble = filter.queries().unwrap_err();
        assert_eq!(trouble.class, Class::Permanent);
        assert!(trouble.message.contains("filter[team_ids], filter[connection_ids]"), "{trouble}");
    }
}
