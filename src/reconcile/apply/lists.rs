//! What Datadog lists while a plan is carried out. A list that fails stops the rest.

use std::collections::HashSet;

use super::{Delete, Run};
use crate::{
    datadog::Filter,
    model::{Connection, ConnectionId},
};

impl Run<'_> {
    pub(super) async fn list(&mut self, filter: Filter) -> Option<Vec<Connection>> {
        match self.hands.reader.connections(&filter).await {
            Ok(connections) => Some(connections),
            Err(trouble) => {
                self.stop(&trouble);
                None
            }
        }
    }

    /// Which of these connections Datadog shows.
    pub(super) async fn list_ids(&mut self, items: &[Delete]) -> Option<HashSet<ConnectionId>> {
        let connection_ids = items.iter().map(|item| item.id.to_string()).collect();
        let filter = Filter { connection_ids, ..Filter::default() };
        match self.hands.reader.connections(&filter).await {
            Ok(listed) => Some(listed.into_iter().map(|connection| connection.id).collect()),
            Err(trouble) => {
                self.stop(&trouble);
                None
            }
        }
    }
}
