//! The teams that are connected, and the cached list of those that others have connected.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::Mutex;

/// Connected teams of GitHub.
#[derive(Clone, Default)]
pub(super) struct Linked {
    /// As Datadog names them: login and slug, lower-cased.
    pub(super) handles: BTreeSet<(String, String)>,
    /// What is wrong with Datadog's list, so that it may lack some.
    pub(super) missing: Option<String>,
}

/// The teams that others have connected, as Datadog's list showed them at a time. It is read again when it is older
/// than `datadog.teams_ttl`, and for a full pass. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(super) struct OthersLinks(pub(super) Arc<Mutex<Option<(Duration, Linked)>>>);

impl OthersLinks {
    /// Has it read again.
    pub(super) async fn distrust(&self) {
        *self.0.lock().await = None;
    }
}
