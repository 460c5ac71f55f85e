//! What was given up on: looking at it, trying it again, throwing it away.

use std::time::Duration;

use crate::{
    intake::{Intake, Replayed},
    ledger::{AuditAction, Ledger, Parked, ParkedKind},
    model::{Delivery, Lane, TeamKey, Time},
};

/// GUIDs told of a parked action, at most.
const GUIDS: i64 = 20;

/// Which of what is parked; what is not set does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Any of these numbers.
    pub ids: Vec<i64>,
    /// Deliveries or actions.
    pub kind: Option<ParkedKind>,
    /// The class of the last error.
    pub class: Option<String>,
    /// Where it was given up on.
    pub place: Option<String>,
    /// A part of the last error or of the subject, in any case.
    pub text: Option<String>,
    /// The lane that an action belongs to.
    pub lane: Option<Lane>,
    /// Given up on before this moment.
    pub before: Option<Time>,
}

impl Filter {
    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        let Self { ids, kind, class, place, text, lane, before } = self;
        ids.is_empty()
            && (kind, class, place, text, lane, before) == (&None, &None, &None, &None, &None, &None)
    }

    fn keeps(&self, parked: &Parked) -> bool {
        fn same<T: PartialEq<U>, U>(asked: &Option<T>, found: U) -> bool {
            asked.as_ref().is_none_or(|asked| *asked == found)
        }
        let text = self.text.as_ref().map(|text| text.to_lowercase());
        let has = |text: &String| {
            [&parked.error, &parked.subject].iter().any(|it| it.to_lowercase().contains(text))
        };
        (self.ids.is_empty() || self.ids.contains(&parked.id))
            && same(&self.kind, parked.kind)
            && same(&self.class, parked.class.as_str())
            && same(&self.place, parked.place.as_str())
            && text.as_ref().is_none_or(has)
            && (self.lane.is_none() || self.lane == parked.owner.map(|(lane, _)| lane))
            && self.before.is_none_or(|before| parked.parked_at < before)
    }
}

/// What is parked and meets the filter: those of one class and place together, oldest first.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn list(ledger: &Ledger, filter: &Filter) -> anyhow::Result<Vec<Parked>> {
    let mut parked = ledger.parked().await?;
    parked.retain(|parked| filter.keeps(parked));
    parked.sort_by(|a, b| (&a.class, &a.place, a.id).cmp(&(&b.class, &b.place, b.id)));
    Ok(parked)
}

/// Everything that is known of one that is parked.
#[derive(Clone, Debug)]
pub struct Story {
    /// Its row.
    pub parked: Parked,
    /// Its team or organisation as it is called now; of an action.
    pub of: Option<String>,
    /// The delivery's GUID, or those of its team until it was given up on, newest first.
    pub guids: Vec<String>,
    /// The delivery as it came.
    pub delivery: Option<Delivery>,
}

/// Everything that is known of one; `None` when it is not parked.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn show(ledger: &Ledger, id: i64) -> anyhow::Result<Option<Story>> {
    let Some(parked) = ledger.parked().await?.into_iter().find(|parked| parked.id == id) else {
        return Ok(None);
    };
    let delivery = ledger.parked_delivery(id).await?;
    let guids = match (&delivery, parked.owner) {
        (Some(delivery), _) => vec![delivery.guid.clone()],
        (None, Some((Lane::Org(org), Some(team)))) => {
            ledger.deliveries_until(TeamKey { org, team }, parked.parked_at, GUIDS).await?
        }
        (None, _) => Vec::new(),
    };
    let of = match parked.owner {
        Some((lane, team)) => Some(ledger.name_of(lane, team).await?),
        None => None,
    };
    Ok(Some(Story { parked, of, guids, delivery }))
}

/// What became of one that was tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tried {
    /// A delivery was stored, and is parked no more.
    Accepted,
    /// A delivery was given up on again.
    ParkedAnew,
    /// An action's team is looked at by a daemon within seconds, or by `teamlink sync`.
    Marked,
    /// Somebody else took it away meanwhile.
    Gone,
    /// A delivery's payload was not kept, so that there is nothing to try.
    NotKept,
}

/// Tries each again, one after the other, with `pause` between two: deliveries are accepted as at the first time,
/// the targets of actions are marked. `tell` hears of each as it ends.
///
/// # Errors
/// When the ledger does not store; what was not tried stays parked.
pub async fn replay(
    ledger: &Ledger,
    intake: &Intake,
    chosen: &[Parked],
    pause: Duration,
    reason: &str,
    mut tell: impl FnMut(&Parked, Tried),
) -> anyhow::Result<()> {
    for (index, parked) in chosen.iter().enumerate() {
        if index > 0 {
            tokio::time::sleep(pause).await;
        }
        let tried = match parked.kind {
            ParkedKind::Delivery if parked.body_bytes.is_none() => Tried::NotKept,
            ParkedKind::Delivery => match intake.replay(parked.id, parked.attempts, reason).await? {
                Replayed::Accepted => Tried::Accepted,
                Replayed::ParkedAnew => Tried::ParkedAnew,
                Replayed::Gone => Tried::Gone,
            },
            ParkedKind::Action => {
                let now = ledger.clock().now();
                if ledger.replay_action(parked.id, reason, now).await? { Tried::Marked } else { Tried::Gone }
            }
        };
        tell(parked, tried);
    }
    Ok(())
}

/// Throws each away, with the reason in the audit trail. Answers how many were; one that was tried again in vain
/// meanwhile stays.
///
/// # Errors
/// When the ledger fails.
pub async fn discard(ledger: &Ledger, chosen: &[Parked], reason: &str) -> anyhow::Result<usize> {
    let mut discarded = 0;
    for Parked { id, attempts, .. } in chosen {
        let now = ledger.clock().now();
        discarded += usize::from(ledger.unpark(*id, *attempts, AuditAction::Discard, reason, now).await?);
    }
    Ok(discarded)
}
