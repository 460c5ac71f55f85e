//! A plan as a document that can be printed, saved, reviewed and applied. `config/plan.schema.json` describes it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::rebind;
use crate::{
    datadog,
    ledger::{Held, Ledger},
    model::{DatadogOrg, Lane, OrgFacts, TeamId, Time},
    plan::{Action, LeftAlone, Planned},
    reconcile::OrgPlan,
    settings::Settings,
};

/// The form of the document; raised when a reader of the old form would misunderstand the new one.
pub const FORMAT: &str = "teamlink-plan/1";

/// A plan of one or more organisations.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanDocument {
    /// [`FORMAT`].
    pub format: String,
    /// When it was made (RFC 3339).
    pub made_at: String,
    /// What it is of; none in the plans of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Origin>,
    /// By organisation.
    pub orgs: Vec<OrgDocument>,
}

/// The GitHub and the Datadog that a plan is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The host of GitHub's API.
    pub github: String,
    /// The Datadog organisation; none where Datadog does not say whose the keys are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datadog: Option<DatadogOrg>,
}

impl Origin {
    /// What today's settings name.
    ///
    /// # Errors
    /// When Datadog does not answer.
    pub async fn read(settings: &Settings, reader: &datadog::Reader) -> anyhow::Result<Self> {
        let datadog = rebind::org_of(reader).await?;
        let github = settings.github.base_url.host_str().unwrap_or_default().to_owned();
        Ok(Self { github, datadog })
    }

    /// What a plan of this origin differs in from today's, if it does.
    pub(super) fn differs(&self, today: &Self) -> Option<String> {
        if self.github != today.github {
            return Some(format!("GitHub at {}, but the settings name {}", self.github, today.github));
        }
        match (&self.datadog, &today.datadog) {
            (Some(saved), Some(now)) if saved.id != now.id => {
                Some(format!("Datadog organisation {saved}, but the keys belong to {now}"))
            }
            _ => None,
        }
    }
}

/// The plan of one organisation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrgDocument {
    /// The organisation.
    pub org: OrgFacts,
    /// Why there is no plan, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Steps that may go ahead, in their order.
    pub actions: Vec<Planned>,
    /// Steps that wait for a person.
    pub held: Vec<HeldStep>,
    /// What `teamlink approve` takes to let all of `held` go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_hash: Option<String>,
    /// Teams for which an event was waiting when the plan was made: their steps are the daemon's too, and may have
    /// changed by the time that the plan is applied.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub in_flight: BTreeSet<TeamId>,
    /// Teams that GitHub showed other than they were remembered, before any event had told of it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub untold: BTreeSet<TeamId>,
    /// What was left as it is, and why.
    pub left_alone: Vec<LeftAlone>,
}

/// A step that waits for a person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeldStep {
    /// The step.
    #[serde(flatten)]
    pub planned: Planned,
    /// Why it waits.
    pub held_because: String,
}

/// Makes the document. A set that is shown can be approved, so what is held is remembered under its hash; nothing
/// else is written.
pub async fn document(
    plans: &[OrgPlan],
    of: Origin,
    ledger: &Ledger,
    now: Time,
) -> anyhow::Result<PlanDocument> {
    let mut orgs = Vec::new();
    for plan in plans {
        orgs.push(match &plan.plan {
            Err(trouble) => OrgDocument {
                org: plan.org.clone(),
                error: Some(trouble.message.clone()),
                actions: Vec::new(),
                held: Vec::new(),
                held_hash: None,
                in_flight: BTreeSet::new(),
                untold: BTreeSet::new(),
                left_alone: Vec::new(),
            },
            Ok(guarded) => {
                let held: Vec<Held> = plan.held().collect();
                let hash = ledger.remember_held(Lane::Org(plan.org.id), &held, now).await?;
                OrgDocument {
                    org: plan.org.clone(),
                    error: None,
                    actions: guarded.ready.actions.clone(),
                    held: guarded
                        .held
                        .iter()
                        .map(|(planned, because)| HeldStep {
                            planned: planned.clone(),
                            held_because: because.text.clone(),
                        })
                        .collect(),
                    held_hash: (!held.is_empty()).then_some(hash),
                    in_flight: plan.in_flight.clone(),
                    untold: plan.untold.clone(),
                    left_alone: guarded.ready.left_alone.clone(),
                }
            }
        });
    }
    Ok(PlanDocument { format: FORMAT.to_owned(), made_at: now.to_string(), of: Some(of), orgs })
}

impl OrgDocument {
    /// Whether an event for this team was waiting when the plan was made.
    pub(super) fn in_flight(&self, team: Option<TeamId>) -> bool {
        team.is_some_and(|team| self.in_flight.contains(&team))
    }

    /// Every step that writes to Datadog, held ones too.
    pub fn writes(&self) -> impl Iterator<Item = &Planned> {
        let held = self.held.iter().map(|held| &held.planned);
        self.actions.iter().chain(held).filter(|planned| match planned.action {
            Action::CreateTeam { .. } | Action::Create { .. } | Action::Delete { .. } => true,
            Action::PassOn { .. } | Action::Record { .. } | Action::Forget { .. } => false,
        })
    }
}
