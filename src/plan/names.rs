//! The names of a team. GitHub's id identifies a team, but people name teams as `org/slug` in rules, globs and pauses,
//! and Datadog names them so in keys. Every place that matches a team by name takes its names from here.

use std::collections::BTreeSet;

use super::Mirror;
use crate::model::{ConnectionKey, GithubHandle, TeamId};

/// Returns the logins of an organisation: today's, and the one that it is bound to where that differs.
pub fn logins<'l>(today: &'l str, bound: &'l str) -> Vec<&'l str> {
    if today.eq_ignore_ascii_case(bound) { vec![today] } else { vec![today, bound] }
}

impl Mirror {
    /// Returns the logins of the organisation: today's, and the one that it is bound to where that differs.
    pub fn logins(&self) -> Vec<&str> {
        logins(&self.org.login, &self.bound_login)
    }

    /// Returns every name, `org/slug` in lower case, under which a team is protected where the connection with `key`
    /// would go: today's slug and the slug in the key, each under every login of the organisation, and the name in the
    /// key itself. An orphan belongs to no team, so only its key names it.
    pub fn names(&self, team: Option<TeamId>, key: &ConnectionKey) -> BTreeSet<String> {
        let handle = GithubHandle::from_datadog(key.github.clone());
        let in_key = handle.parts();
        let today = team.and_then(|team| self.teams.get(&team)).map(|team| team.facts.slug.as_str());
        let slugs = today.into_iter().chain(in_key.map(|(_, slug)| slug));
        let mut names: BTreeSet<String> = slugs
            .flat_map(|slug| {
                self.logins().into_iter().map(move |login| format!("{login}/{slug}").to_lowercase())
            })
            .collect();
        names.extend(in_key.map(|(login, slug)| format!("{login}/{slug}").to_lowercase()));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DatadogTeamId, MirrorTeam, OrgFacts, OrgId, TeamFacts, TeamState, TeamType, Time};

    #[test]
    fn a_team_is_named_by_todays_slug_and_the_keys_under_every_login() {
        let facts = TeamFacts {
            id: TeamId(1),
            slug: "Infra".into(),
            name: "Infra".into(),
            parent: None,
            team_type: TeamType::Organization,
        };
        let state = TeamState::Present;
        let team = MirrorTeam { facts, state, seen_at: Time(0), deleted_event_at: None, in_step: false };
        let mirror = Mirror {
            org: OrgFacts { id: OrgId(1), login: "Acme2".into() },
            bound_login: "acme".into(),
            teams: [(TeamId(1), team)].into(),
        };
        let key =
            |github: &str| ConnectionKey { datadog_team: DatadogTeamId::from("d"), github: github.into() };
        let names = |team, key| mirror.names(team, &key).into_iter().collect::<Vec<_>>();
        let expected = ["acme/infra", "acme/prod-b", "acme2/infra", "acme2/prod-b", "old/prod-b"];
        assert_eq!(names(Some(TeamId(1)), key("@old/prod-b")), expected);
        assert_eq!(names(None, key("@acme2/prod-b")), ["acme/prod-b", "acme2/prod-b"]);
        assert_eq!(names(Some(TeamId(9)), key("no handle")), Vec::<String>::new());
    }
}
