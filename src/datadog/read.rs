//! The questions that teamlink asks Datadog.

use std::{collections::HashSet, sync::Arc};

use futures_util::future::join_all;

use super::{
    Filter, Options,
    client::Client,
    wire::{self, Integration, One, TeamSync},
};
use crate::{
    model::{Answer, Class, Connection, DatadogOrg, DatadogTeam, DatadogTeamId, Document, Lane, Trouble},
    transport::{self, Asked, Kept, List, Page},
    upstream::{many, one},
};

/// Datadog: "The maximum allowed value is 100."
const PAGE: usize = 100;

/// Reads Datadog. Cheap to clone; clones share the limit on concurrency.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    /// The lane for whose look it reads.
    look: Option<Lane>,
}

impl Reader {
    /// A reader with these options.
    ///
    /// # Errors
    /// When a key cannot be sent in a header, or the base URL has no host.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(options)?, look: None })
    }

    /// The same for a full pass, which leaves a reserve of the rate limits to events.
    pub fn unhurried(&self) -> Self {
        Self { client: self.client.unhurried(), ..self.clone() }
    }

    /// The same for a look of this lane: while a rate limit ends, the lists that it has read stay read for the lane's next
    /// look, until the lane writes or [`Reader::looked`] is called. A look's lists may need several windows.
    pub fn looking(&self, lane: Lane) -> Self {
        Self { look: Some(lane), ..self.clone() }
    }

    /// The look of this lane is over.
    pub fn looked(&self, lane: Lane) {
        self.client.http.shelf().forget_look(lane);
    }

    /// What is known of Datadog, shared with all that was made from the same options.
    pub fn gate(&self) -> &transport::Gate {
        self.client.http.gate()
    }

    /// All connections that pass the filter: all pages or none. One list of ids may be of any length. A list whose total
    /// is wrong still proves what it shows. Only a list by ids proves what it lacks.
    ///
    /// # Errors
    /// Those of any request; permanent when two lists hold more than 50 ids; transient when the list goes on contradicting
    /// itself.
    pub async fn connections(&self, filter: &Filter) -> Result<Vec<Connection>, Trouble> {
        Ok(self.list_connections(filter).await?.items)
    }

    /// The list itself, which says whether its total is wrong.
    ///
    /// # Errors
    /// As for [`Reader::connections`].
    pub async fn list_connections(&self, filter: &Filter) -> Result<List<Connection>, Trouble> {
        let kept = if *filter == Filter::github() {
            // A page of all connections may be old: who writes for a team reads those of the team.
            Some(self.look)
        } else if filter.connection_ids.is_empty() {
            self.look.map(Some)
        } else {
            // An id proves what is not there, so that it is read now: another worker may have written since.
            None
        };
        let began = self.client.http.gate().monotonic();
        let queries = filter.queries()?;
        let path = ["team", "connections"];
        let asked = ("list_connections", "list team connections", kept);
        let parts = queries.iter().map(|query| self.list(asked, &path, query));
        let mut all = List { items: Vec::new(), began, wrong_total: None };
        let mut seen = HashSet::new();
        // Each is read as far as it can be, so that what was read stays read.
        for list in join_all(parts).await {
            let List { items, began, wrong_total } = list?;
            all.began = all.began.min(began);
            all.wrong_total = all.wrong_total.or(wrong_total);
            all.items.extend(items.into_iter().filter(|it: &Connection| seen.insert(it.id.clone())));
        }
        Ok(all)
    }

    /// One page of connections, as Datadog cuts it, for a person who wants to see it. Pages are numbered from 0.
    ///
    /// # Errors
    /// Permanent, without asking, for a size that is not from 1 to 100 and for lists of more than 50 ids.
    pub async fn connections_page(
        &self,
        filter: &Filter,
        size: usize,
        number: usize,
    ) -> Result<Vec<Connection>, Trouble> {
        let refused = |why: &str| {
            Err(Trouble::new(Class::Permanent, format!("failed to list one page of team connections: {why}")))
        };
        if !(1..=PAGE).contains(&size) {
            return refused(&format!("Datadog's pages hold from 1 to {PAGE} items, not {size}"));
        }
        let queries = filter.queries()?;
        let [query] = queries.as_slice() else {
            return refused(
                "a filter with more than 50 values has no pages of its own; list all of them instead",
            );
        };
        let query = paged(query, size, number);
        let attempt = "list one page of team connections";
        let list: wire::List =
            self.client.get("list_connections", attempt, &["team", "connections"], &query).await?;
        Ok(list.data.into_iter().map(Connection::from).collect())
    }

    /// Whether connections can be listed at all.
    pub async fn connections_answer(&self) -> Answer<()> {
        self.answers("probe_connections", "look at team connections", &["team", "connections"]).await
    }

    /// Whether teams can be listed at all.
    pub async fn teams_answer(&self) -> Answer<()> {
        self.answers("probe_teams", "look at Datadog teams", &["team"]).await
    }

    /// All teams, with no more than mapping needs.
    ///
    /// # Errors
    /// As for [`Reader::connections`].
    pub async fn teams(&self) -> Result<Vec<DatadogTeam>, Trouble> {
        Ok(self.list_teams().await?.items)
    }

    /// The list itself, which says whether its total is wrong.
    ///
    /// # Errors
    /// As for [`Reader::connections`].
    pub async fn list_teams(&self) -> Result<List<DatadogTeam>, Trouble> {
        self.list(("list_teams", "list Datadog teams", Some(None)), &["team"], &[fields()]).await
    }

    /// Has all lists begin again that a rate limit interrupted.
    pub fn begin_again(&self) {
        self.client.http.shelf().forget(None);
    }

    /// Teams whose handle, name or member's address contains the text: Datadog's search, not an exact match.
    ///
    /// # Errors
    /// As for [`Reader::connections`].
    pub async fn teams_matching(&self, keyword: &str) -> Result<Vec<DatadogTeam>, Trouble> {
        Ok(self.search_teams(keyword).await?.items)
    }

    /// What the search lists, which says whether its total is wrong.
    ///
    /// # Errors
    /// As for [`Reader::connections`].
    pub async fn search_teams(&self, keyword: &str) -> Result<List<DatadogTeam>, Trouble> {
        let attempt = format!("search Datadog teams for `{keyword}`");
        let query = [fields(), ("filter[keyword]", keyword.to_owned())];
        self.list(("search_teams", &attempt, self.look.map(Some)), &["team"], &query).await
    }

    /// One team. Datadog: 404 too for an id that is no UUID.
    pub async fn team(&self, id: &DatadogTeamId) -> Answer<DatadogTeam> {
        let attempt = format!("read Datadog team {id}");
        one(self.client.get::<One>("get_team", &attempt, &["team", id.as_str()], &[]).await)
            .map(|team| team.data.into())
    }

    /// The organisation that the keys belong to. *Absent* where Datadog does not say: nobody has recorded this answer.
    pub async fn org(&self) -> Answer<DatadogOrg> {
        let attempt = "read the organisation of the Datadog keys";
        let user = self.client.get::<wire::CurrentUser>("get_current_user", attempt, &["current_user"], &[]);
        match one(user.await) {
            Answer::Present(user) => user.org().map_or(Answer::Absent, Answer::Present),
            Answer::Absent => Answer::Absent,
            Answer::Forbidden(trouble) => Answer::Forbidden(trouble),
            Answer::Failed(trouble) => Answer::Failed(trouble),
        }
    }

    /// Datadog's own synchronisation from GitHub, if one was ever set up.
    pub async fn team_sync(&self) -> Answer<Option<TeamSync>> {
        let query = [("filter[source]", "github".to_owned())];
        let attempt = "read Datadog's own team sync";
        many(self.client.get::<wire::List>("get_team_sync", attempt, &["team", "sync"], &query).await)
            .map(|list| list.data.into_iter().next().map(TeamSync::from))
    }

    /// The document of an entity integration (`github`, `jira`, `pagerduty`); *absent* before its first PUT.
    /// Takes API and application keys only. The API is a preview: *forbidden* where it is not granted.
    pub async fn integration(&self, id: &str) -> Answer<Document> {
        let attempt = format!("read the configuration of entity integration {id}");
        let path = ["idp", "entity_integrations", id];
        one(self.client.get::<Integration>("get_integration", &attempt, &path, &[]).await).map(Document::from)
    }

    async fn answers(&self, operation: &'static str, attempt: &str, path: &[&str]) -> Answer<()> {
        many(self.client.get::<wire::List>(operation, attempt, path, &paged(&[], 1, 0)).await.map(drop))
    }

    /// Reads a list: the operation, the attempt, and whether its pages stay read while a rate limit ends, for whose look.
    async fn list<T: From<super::wire::Item> + Identified + Clone + Send + 'static>(
        &self,
        (operation, attempt, kept): (&'static str, &str, Option<Option<Lane>>),
        path: &[&str],
        query: &[(&'static str, String)],
    ) -> Result<List<T>, Trouble> {
        let size = self.client.http.page();
        let fetch = |number| async move {
            let list: wire::List =
                self.client.get(operation, attempt, path, &paged(query, size, number)).await?;
            let total = list.total();
            Ok(Page {
                more: list.data.len() >= size,
                pages: total.map(|total| total.div_ceil(size)),
                total,
                items: list.data.into_iter().map(T::from).collect(),
            })
        };
        let kept = kept.map(|look| Kept {
            query: format!("{attempt}: {} {path:?} {query:?}", self.client.http.gate().credential()),
            look,
        });
        let asked = Asked { list: operation, attempt, kept };
        transport::pages(self.client.http.shelf(), &asked, fetch, T::identity).await
    }
}

/// What tells items of a list apart.
trait Identified {
    fn identity(&self) -> Arc<str>;
}

impl Identified for Connection {
    fn identity(&self) -> Arc<str> {
        self.id.text()
    }
}

impl Identified for DatadogTeam {
    fn identity(&self) -> Arc<str> {
        self.id.text()
    }
}

fn fields() -> (&'static str, String) {
    ("fields[team]", "id,name,handle".to_owned())
}

/// Always both parameters: without them Datadog's default size is not the documented one, and its metadata
/// changes shape.
fn paged<'a>(query: &[(&'a str, String)], size: usize, number: usize) -> Vec<(&'a str, String)> {
    let mut query = query.to_vec();
    query.extend([("page[size]", size.to_string()), ("page[number]", number.to_string())]);
    query
}
