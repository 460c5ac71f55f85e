//! What GitHub tells webhooks about its changes: which event, in which shape.

use serde_json::{Value, json};

use super::app;
use super::wire;
use super::world::{Installation, Org, Repo, Team, World};
use crate::sandbox::hooks::Event;
use crate::sandbox::table::NOW;

/// Collects the events of one write.
pub(crate) struct Teller<'a> {
    base: &'a str,
    events: Vec<Event>,
}

impl<'a> Teller<'a> {
    /// `base` goes into the URLs of the bodies.
    pub(crate) fn new(base: &'a str) -> Self {
        Self { base, events: Vec::new() }
    }

    pub(crate) fn events(self) -> Vec<Event> {
        self.events
    }

    /// Adds an event: `fields` and what all events of an organisation have.
    fn tell(&mut self, name: &'static str, org: &Org, mut fields: Value) {
        fields["organization"] = wire::org(self.base, org);
        fields["sender"] = wire::user(self.base, wire::ADMIN);
        self.events.push(Event { name, org_id: org.id, body: fields });
    }

    /// `team.created`, `.deleted`, `.edited` (with `changes`).
    pub(crate) fn team(
        &mut self,
        world: &World,
        org: &Org,
        action: &str,
        team: &Team,
        changes: Option<Value>,
    ) {
        let mut fields = json!({"action": action, "team": wire::team(world, self.base, org, team, NOW)});
        if let Some(changes) = changes {
            fields["changes"] = changes;
        }
        self.tell("team", org, fields);
    }

    /// A team's access to a repository: `team.added_to_repository` with `team_add`, `team.removed_from_repository`,
    /// `team.edited`.
    pub(crate) fn access(
        &mut self,
        world: &World,
        org: &Org,
        action: &str,
        team: &Team,
        (repo, permission): (&Repo, Option<&str>),
        changes: Option<Value>,
    ) {
        let team = json!(wire::team(world, self.base, org, team, NOW));
        let mut repository = wire::repo(self.base, org, repo);
        if let Some(permission) = permission {
            repository["permissions"] = wire::permissions(permission);
        }
        let mut fields = json!({"action": action, "team": team, "repository": repository});
        if let Some(changes) = changes {
            fields["changes"] = changes;
        }
        self.tell("team", org, fields);
        if action == "added_to_repository" {
            self.tell("team_add", org, json!({"team": team, "repository": repository}));
        }
    }

    /// `membership.added`, `.removed`.
    pub(crate) fn membership(&mut self, world: &World, org: &Org, action: &str, login: &str, team: &Team) {
        let team = json!(wire::team(world, self.base, org, team, NOW));
        self.member(org, action, login, team);
    }

    /// `membership.removed` of a deleted team, which then has no slug.
    pub(crate) fn member_of_deleted(&mut self, org: &Org, login: &str, team: &Team) {
        self.member(org, "removed", login, json!({"id": team.id, "name": team.name, "deleted": true}));
    }

    fn member(&mut self, org: &Org, action: &str, login: &str, team: Value) {
        let member = wire::user(self.base, login);
        self.tell(
            "membership",
            org,
            json!({"action": action, "scope": "team", "member": member, "team": team}),
        );
    }

    /// `organization.renamed`, `.deleted`.
    pub(crate) fn org(&mut self, org: &Org, action: &str, renamed_from: Option<&str>) {
        let mut fields = json!({"action": action});
        if let Some(from) = renamed_from {
            fields["changes"] = json!({"login": {"from": from}});
        }
        self.tell("organization", org, fields);
    }

    /// `installation.suspend`, `.unsuspend`, `.deleted`: told to Apps only, and without the organisation.
    pub(crate) fn installation(&mut self, org: &Org, action: &str, installation: Installation) {
        let installation = app::installation_json(self.base, org, installation);
        let body = json!({
            "action": action,
            "installation": installation,
            "sender": wire::user(self.base, wire::ADMIN),
        });
        self.events.push(Event { name: "installation", org_id: org.id, body });
    }

    /// `repository.*`.
    pub(crate) fn repo(&mut self, org: &Org, action: &str, repo: &Repo, changes: Option<Value>) {
        let mut fields = json!({"action": action, "repository": wire::repo(self.base, org, repo)});
        if let Some(changes) = changes {
            fields["changes"] = changes;
        }
        self.tell("repository", org, fields);
    }

    /// `repository.transferred`: told to the receiver only.
    pub(crate) fn transferred(&mut self, from: &Org, to: &Org, repo: &Repo) {
        let changes = json!({"owner": {"from": {"organization": wire::org(self.base, from)}}});
        self.repo(to, "transferred", repo, Some(changes));
    }

    /// `ping`, when a hook is registered.
    pub(crate) fn ping(&mut self, org: &Org, hook: Value) {
        let fields =
            json!({"zen": "Anything added dilutes everything else.", "hook_id": hook["id"], "hook": hook});
        self.tell("ping", org, fields);
    }
}
