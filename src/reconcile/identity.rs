//! Whether the keys open the Datadog organisation that the ledger belongs to. In another one every connection of ours would
//! look removed, and each write would be wrong: nothing is looked at there, nothing written, and nothing forgotten.
//!
//! Two kinds of evidence are compared, each with its own: the organisation of the keys' user, and teams that are known by
//! their ids. A document has a third, its own `org_id` (`document`). Nobody has recorded what Datadog answers about the keys'
//! user, so that an answer that fails leaves the question to the teams.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::Mutex;

use super::survey::Eyes;
use crate::{
    datadog::Reader,
    ledger::{DatadogHome, Ledger},
    model::{Answer, Class, DatadogOrg, DatadogTeamId, Trouble},
    telemetry,
};

/// How long the right keys count as right: credentials change with a restart.
const GOOD_FOR: Duration = Duration::from_secs(600);

/// How often wrong keys are tried again.
const WRONG_FOR: Duration = Duration::from_secs(5);

/// How many known teams are read by their ids before the whole list is.
const SAMPLE: usize = 3;

/// The last answer, and until when it stands by the monotonic clock. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(super) struct Identity(Arc<Mutex<Option<Known>>>);

/// Until when an answer stands, and whether the keys are the right ones.
type Known = (Duration, Result<(), Trouble>);

impl Identity {
    /// Has the question asked again.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

/// What known teams say.
enum Teams {
    /// One of them is there.
    There,
    /// A complete list has none of them.
    Elsewhere,
    /// None is known, or the list is empty or incomplete.
    Unsaid,
}

impl Eyes {
    /// Whether the keys are those of the ledger's Datadog organisation. A ledger that knows none yet is bound to theirs, if it
    /// `binds`.
    pub(super) async fn at_home(&self, ledger: &Ledger, binds: bool) -> sqlx::Result<Result<(), Trouble>> {
        let clock = &self.options.clock;
        // One asks for all that wait.
        let mut known = self.identity.0.lock().await;
        if let Some((until, answer)) = &*known
            && *until > clock.monotonic()
        {
            return Ok(answer.clone());
        }
        let compared = compare(&self.datadog, &ledger.datadog_home().await?).await;
        if let Ok(Some(shown)) = &compared
            && binds
        {
            ledger.bind_datadog(shown, clock.now()).await?;
        }
        let answer = compared.map(drop);
        if let Err(trouble) = &answer
            && trouble.class == Class::Auth
        {
            telemetry::work::elsewhere(trouble);
        }
        let stands = if answer.is_ok() { GOOD_FOR } else { WRONG_FOR };
        *known = Some((clock.monotonic() + stands, answer.clone()));
        Ok(answer)
    }
}

/// Compares the organisation of these keys with the ledger's, without the cache. If the ledger has no organisation yet and
/// may be bound, returns the organisation to bind it to.
pub(super) async fn compare(datadog: &Reader, home: &DatadogHome) -> Result<Option<DatadogOrg>, Trouble> {
    let DatadogHome { org: home, teams } = home;
    let shown = match datadog.org().await {
        Answer::Present(org) => Some(org),
        Answer::Absent | Answer::Forbidden(_) | Answer::Failed(_) => None,
    };
    if let (Some(home), Some(shown)) = (home, &shown) {
        return if home.id == shown.id { Ok(None) } else { Err(keys_of(shown, home)) };
    }
    let said = teams_say(datadog, teams).await?;
    if let Teams::Elsewhere = said {
        let many = teams.len();
        let what = format!("the keys show none of the {many} Datadog teams that this ledger has connected");
        return Err(elsewhere(&what));
    }
    // A ledger that has connections is bound once one of their teams is there.
    let proven = matches!(said, Teams::There) || teams.is_empty();
    Ok(shown.filter(|_| home.is_none() && proven))
}

/// Returns whether Datadog shows any of the known teams.
async fn teams_say(datadog: &Reader, known: &BTreeSet<DatadogTeamId>) -> Result<Teams, Trouble> {
    if known.is_empty() {
        return Ok(Teams::Unsaid);
    }
    for team in known.iter().take(SAMPLE) {
        match datadog.team(team).await {
            Answer::Present(_) => return Ok(Teams::There),
            Answer::Absent => {}
            Answer::Forbidden(trouble) | Answer::Failed(trouble) => return Err(trouble),
        }
    }
    let list = datadog.list_teams().await?;
    Ok(if list.items.iter().any(|team| known.contains(&team.id)) {
        Teams::There
    } else if list.items.is_empty() || list.wrong_total.is_some() {
        Teams::Unsaid
    } else {
        Teams::Elsewhere
    })
}

/// The keys are those of another organisation than the ledger's.
fn keys_of(shown: &DatadogOrg, home: &DatadogOrg) -> Trouble {
    elsewhere(&format!("the keys belong to Datadog organisation {shown}, but this ledger to {home}"))
}

fn elsewhere(what: &str) -> Trouble {
    let why = format!(
        "nothing is written, because {what}; use keys of the ledger's organisation, or run \
         `teamlink ledger rebind --reason …`"
    );
    Trouble::new(Class::Auth, why)
}
