//! One step after the other: tell, let it happen, wait until Datadog is as it must be and nothing is left to be
//! done, judge, count.

use std::{
    collections::BTreeMap,
    fmt, mem,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use indicatif::ProgressBar;

use super::{
    judge::{self, Catalog, Link, Links, Listed, Order, Outcome, US},
    report::{self, Row},
    stage::{Counts, GRACE, ORG, Stage},
};
use crate::cli::output;

/// How often Datadog is asked while waiting.
const POLL: Duration = Duration::from_millis(50);

/// The longest wait of a step.
const LIMIT: Duration = Duration::from_secs(20);

/// A step ended otherwise than expected; what is wrong was told.
#[derive(Debug)]
pub(super) struct NotAsExpected;

impl fmt::Display for NotAsExpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a step did not end as expected")
    }
}

impl std::error::Error for NotAsExpected {}

/// The day so far.
pub(super) struct Day {
    pub(super) stage: Stage,
    /// What Datadog must hold at the end of this step.
    expected: Links,
    /// What it held when the step began, by the connections' ids.
    before: BTreeMap<String, Link>,
    /// The catalog, in the same way.
    catalog_expected: Catalog,
    catalog_before: Catalog,
    orders: Vec<Order>,
    title: String,
    counts: Counts,
    /// The number of the last request before the step.
    since: u64,
    /// Shows on a terminal that something is under way.
    pub(super) spinner: ProgressBar,
    /// The last change that teamlink has to follow.
    changed: Instant,
    /// The steps that ended.
    pub(super) rows: Vec<Row>,
}

impl Day {
    /// The morning: nothing happened, nothing is expected.
    pub(super) fn new(stage: Stage) -> Self {
        Self {
            stage,
            expected: Links::new(),
            before: BTreeMap::new(),
            catalog_expected: Catalog::new(),
            catalog_before: Catalog::new(),
            orders: Vec::new(),
            title: String::new(),
            counts: Counts::default(),
            since: 0,
            spinner: ProgressBar::hidden(),
            changed: Instant::now(),
            rows: Vec::new(),
        }
    }

    /// Begins a step: what happens in GitHub, and what must follow.
    pub(super) async fn begin(
        &mut self,
        clock: &str,
        title: &str,
        happened: &str,
        must: &str,
    ) -> anyhow::Result<()> {
        report::step(clock, title, happened, must);
        self.title = format!("{clock}  {title}");
        self.spinner = output::spinner("working");
        self.before = self.stage.connections().await?;
        self.catalog_before = self.stage.catalog().await?;
        (self.counts, self.since) = self.stage.counts().await?;
        self.changed = Instant::now();
        Ok(())
    }

    /// Someone creates a team in GitHub.
    pub(super) async fn create(&mut self, name: &str) -> anyhow::Result<()> {
        self.stage.create(name).await?;
        self.note_change();
        Ok(())
    }

    /// Someone renames a team in GitHub.
    pub(super) async fn rename(&mut self, slug: &str, name: &str) -> anyhow::Result<()> {
        self.stage.rename(slug, name).await?;
        self.note_change();
        Ok(())
    }

    /// Someone deletes a team in GitHub. Answers its id.
    pub(super) async fn delete(&mut self, slug: &str) -> anyhow::Result<u64> {
        let id = self.stage.delete(slug).await?;
        self.note_change();
        Ok(id)
    }

    /// From now on teamlink can know.
    pub(super) fn note_change(&mut self) {
        self.changed = Instant::now();
    }

    /// Datadog's team of this handle must be connected with the GitHub team of this slug, by us.
    pub(super) fn expect(&mut self, handle: &str, slug: &str) {
        self.expected.insert(link(handle, slug, US));
    }

    /// What another tool made must stay.
    pub(super) fn expect_foreign(&mut self, link: Link) {
        self.expected.insert(link);
    }

    /// The catalog must list this repository of the organisation, by us.
    pub(super) fn expect_listed(&mut self, repository: &str) {
        self.catalog_expected.insert(listed(repository, false));
    }

    /// The catalog must list this repository no more.
    pub(super) fn expect_unlisted(&mut self, repository: &str) -> anyhow::Result<()> {
        let listed = listed(repository, false);
        ensure!(
            self.catalog_expected.remove(&listed),
            "the demo's story has a mistake: {listed} was not there before"
        );
        Ok(())
    }

    /// What a person added to the catalog must stay.
    pub(super) fn expect_by_hand(&mut self, repository: &str) {
        self.catalog_expected.insert(listed(repository, true));
    }

    /// Our connection of these two must go, since the team is gone: after two looks.
    pub(super) fn expect_removal(&mut self, handle: &str, slug: &str, team: u64) -> anyhow::Result<()> {
        let connection = self.take(handle, slug)?;
        self.orders.push(Order::TwoLooks { team, connection, apart: GRACE });
        Ok(())
    }

    /// Our connection of the Datadog team must move to the team's new slug, without a gap.
    pub(super) fn expect_move(&mut self, handle: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let old = self.take(handle, from)?;
        self.expect(handle, to);
        self.orders.push(Order::NewBeforeOld { new: format!("@{ORG}/{to}"), old });
        Ok(())
    }

    /// Expects one of our connections no longer. Answers its id.
    fn take(&mut self, handle: &str, slug: &str) -> anyhow::Result<String> {
        let link = link(handle, slug, US);
        let id = self.before.iter().find(|(_, held)| **held == link).map(|(id, _)| id.clone());
        match id {
            Some(id) if self.expected.remove(&link) => Ok(id),
            _ => bail!("the demo's story has a mistake: {link} was not there before"),
        }
    }

    /// Waits for the step's end and judges it.
    ///
    /// # Errors
    /// [`NotAsExpected`], once what is wrong was told.
    pub(super) async fn end(&mut self) -> anyhow::Result<()> {
        let Watched { actual, catalog, progress, webhooks_pending, right_after } = self.watch().await?;
        let requests = self.stage.requests(self.since).await?;
        let findings = judge::verdict(&Outcome {
            before: &self.before.values().cloned().collect(),
            expected: &self.expected,
            actual: &actual,
            catalog_before: &self.catalog_before,
            catalog_expected: &self.catalog_expected,
            catalog: &catalog,
            progress: &progress,
            webhooks_pending,
            right_after,
            waited: self.changed.elapsed(),
            requests: &requests,
            orders: &mem::take(&mut self.orders),
        });
        self.spinner.finish_and_clear();
        report::findings(&findings);
        let good = findings.iter().all(|finding| finding.good);
        let counts = self.stage.counts().await?.0.minus(self.counts);
        self.rows.push(Row { step: mem::take(&mut self.title), counts, right_after, good });
        if good { Ok(()) } else { Err(NotAsExpected.into()) }
    }

    /// Looks at Datadog and the ledger until both are as they must be, or too much time has passed.
    async fn watch(&mut self) -> anyhow::Result<Watched> {
        let (mut right_since, mut was_wrong) = (None, false);
        loop {
            // The ledger first: what it says is at rest, Datadog must show already.
            let webhooks_pending = self.stage.webhooks_pending().await?;
            let progress = self.stage.progress().await?;
            let actual: Links = self.stage.connections().await?.into_values().collect();
            let catalog = self.stage.catalog().await?;
            let waited = self.changed.elapsed();
            if actual == self.expected && catalog == self.catalog_expected {
                right_since = right_since.or(Some(waited));
            } else {
                (right_since, was_wrong) = (None, true);
            }
            let done = right_since.is_some() && judge::at_rest(&progress, webhooks_pending);
            if done || waited > LIMIT {
                let right_after = right_since.filter(|_| was_wrong);
                return Ok(Watched { actual, catalog, progress, webhooks_pending, right_after });
            }
            let wrong = judge::difference(&self.expected, &actual);
            let wrong = wrong.or_else(|| judge::difference(&self.catalog_expected, &catalog));
            let what = wrong.unwrap_or_else(|| "Datadog is right; looks are outstanding".to_owned());
            self.spinner.set_message(format!("{} {what}", judge::seconds(waited)));
            tokio::time::sleep(POLL).await;
        }
    }
}

/// What was seen at the end of a step.
struct Watched {
    actual: Links,
    catalog: Catalog,
    progress: crate::ledger::Progress,
    webhooks_pending: u64,
    right_after: Option<Duration>,
}

/// A repository of the organisation in the catalog.
fn listed(repository: &str, by_hand: bool) -> Listed {
    Listed { repository: format!("{ORG}/{repository}"), by_hand }
}

/// A connection of the organisation.
pub(super) fn link(handle: &str, slug: &str, by: &str) -> Link {
    Link { handle: handle.to_owned(), github: format!("@{ORG}/{slug}"), by: by.to_owned() }
}
