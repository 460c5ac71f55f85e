//! The changes that teamlink makes in Datadog. One try each; a trouble that is `ambiguous` may have changed
//! something, so look before anything else is decided.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Options, Probe,
    client::{Call, Client},
    wire::{Integration, List, NewIntegration, One, new_connection},
};
use crate::model::{
    Class, Configuration, Connection, ConnectionId, DatadogTeam, DatadogTeamId, Document, Fence,
    GithubHandle, Trouble,
};

/// A connection to be made.
#[derive(Clone, Debug)]
pub struct NewConnection {
    /// The Datadog team.
    pub datadog_team: DatadogTeamId,
    /// The GitHub team, in the case it is written in on GitHub.
    pub github: GithubHandle,
}

/// Writes to Datadog. Cheap to clone; clones share the limit on concurrency.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    managed_by: String,
}

impl Writer {
    /// A writer with these options.
    ///
    /// # Errors
    /// When a key cannot be sent in a header, or the base URL has no host.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(options)?, managed_by: options.managed_by.clone() })
    }

    /// The same for a full pass, which leaves a reserve of the rate limits to events.
    pub fn unhurried(&self) -> Self {
        Self { client: self.client.unhurried(), ..self.clone() }
    }

    /// What finds out whether anything could be written, by the same credential.
    pub fn probe(&self) -> Probe {
        Probe { client: self.client.clone() }
    }

    /// Makes connections, marked as ours. `fence` is of the lease under which they are made.
    ///
    /// # Errors
    /// Datadog answers for the whole batch: 409 when any pair exists already, 400 when any team does not.
    /// Whether the others were made then is not documented.
    pub async fn create(
        &self,
        connections: &[NewConnection],
        fence: Option<Fence>,
    ) -> Result<Vec<Connection>, Trouble> {
        let attempt = format!("create {}", count(connections.len()));
        let data: Vec<Value> = connections
            .iter()
            .map(|new| new_connection(&new.datadog_team, &new.github, &self.managed_by))
            .collect();
        let call = call("create_connections", &attempt, Method::POST, &["team", "connections"]);
        let made = self.client.ask::<List>(call, Some(&json!({"data": data})), fence).await;
        self.outdates(&made, fence);
        Ok(made?.data.into_iter().map(Connection::from).collect())
    }

    /// Deletes connections.
    ///
    /// # Errors
    /// Datadog answers for the whole batch: 404 when any id is gone already. Whether the others were deleted
    /// then is not documented.
    pub async fn delete(&self, connections: &[ConnectionId], fence: Option<Fence>) -> Result<(), Trouble> {
        let attempt = format!("delete {}", count(connections.len()));
        let data: Vec<Value> =
            connections.iter().map(|id| json!({"id": id, "type": "team_connection"})).collect();
        let call = call("delete_connections", &attempt, Method::DELETE, &["team", "connections"]);
        let deleted = self.client.send(&call, Some(&json!({"data": data})), fence).await;
        self.outdates(&deleted, fence);
        deleted.map(drop)
    }

    /// What was read for a look of the lane may lack what was just made, or show what is gone. What a rate limit refuses
    /// is not carried out.
    fn outdates<T>(&self, written: &Result<T, Trouble>, fence: Option<Fence>) {
        let refused = written.as_ref().is_err_and(|trouble| trouble.class == Class::Throttled);
        if let Some(fence) = fence.filter(|_| !refused) {
            self.client.http.shelf().forget_look(fence.lane);
        }
    }

    /// Creates a team without members.
    ///
    /// # Errors
    /// Datadog: 409 when the handle or the name is taken; 403 without `teams_manage`.
    pub async fn create_team(
        &self,
        handle: &str,
        name: &str,
        fence: Option<Fence>,
    ) -> Result<DatadogTeam, Trouble> {
        let attempt = format!("create Datadog team `{handle}`");
        let body = json!({"data": {"type": "team", "attributes": {"handle": handle, "name": name}}});
        let call = call("create_team", &attempt, Method::POST, &["team"]);
        let made: One = self.client.ask(call, Some(&body), fence).await?;
        Ok(made.data.into())
    }

    /// Creates or replaces the whole document of an entity integration. Datadog knows no precondition: what others
    /// wrote since it was read is lost.
    ///
    /// # Errors
    /// Datadog: 400 for a wrong shape; 403 where the preview is not granted. A 404 can only mean that too, since
    /// this creates what is not there.
    pub async fn put_integration(
        &self,
        id: &str,
        config: &Configuration,
        fence: Option<Fence>,
    ) -> Result<Document, Trouble> {
        let attempt = format!("replace the configuration of entity integration {id}");
        let path = ["idp", "entity_integrations", id];
        let call = call("put_integration", &attempt, Method::PUT, &path);
        let put = self.client.ask(call, Some(&NewIntegration::from(config)), fence).await;
        put.map(|answer: Integration| answer.into())
    }
}

fn call<'a>(operation: &'static str, attempt: &'a str, method: Method, path: &'a [&'a str]) -> Call<'a> {
    Call { operation, attempt, method, path, query: &[] }
}

fn count(connections: usize) -> String {
    match connections {
        1 => "1 team connection".to_owned(),
        n => format!("{n} team connections"),
    }
}
