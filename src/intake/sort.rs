//! A delivery → what is stored of it. Pure, but for the watch, which notes that it met a stranger.

use super::watch::{Standing, Watch};
use crate::{
    event::{self, About},
    ledger::{Accepting, Outcome, ParkedPlace},
    model::{Delivery, Mark, OrgId, Target, cut},
    telemetry,
};

/// A delivery on its way into the ledger.
pub(super) struct Received {
    pub(super) delivery: Delivery,
    /// Where and why it is given up on, without a look at what it says.
    pub(super) unfit: Option<(ParkedPlace, String)>,
}

impl Received {
    /// The organisation that an unfit delivery names. What a wrong signature stands under names nobody.
    fn named(&self) -> Option<OrgId> {
        let (place, _) = self.unfit.as_ref()?;
        if *place == ParkedPlace::Signature {
            return None;
        }
        Some(event::decode(&self.delivery).ok()?.org?.id)
    }
}

/// GitHub's actions are a word or two.
const LONGEST_ACTION: usize = 100;

/// Decodes a delivery and decides what becomes of it.
pub(super) fn entry(received: &Received, watch: &mut Watch) -> Accepting {
    let Received { delivery, unfit } = received;
    let mut entry = Accepting {
        guid: delivery.guid.clone(),
        event: delivery.event.clone(),
        action: String::new(),
        org: None,
        team: None,
        received_at: delivery.received_at,
        outcome: Outcome::Ignored,
        targets: Vec::new(),
        deleted: None,
        stranger: None,
        host: delivery.host.clone(),
        signature: delivery.signature.clone(),
        body: delivery.body.clone(),
        named: None,
        unfit: unfit.clone(),
    };
    if unfit.is_some() {
        entry.outcome = Outcome::Parked;
        entry.named = received.named();
        return entry;
    }
    let event = match event::decode(delivery) {
        Ok(event) => event,
        Err(error) => {
            entry.outcome = Outcome::Parked;
            entry.unfit = Some((ParkedPlace::Decode, error.to_string()));
            return entry;
        }
    };
    entry.action = cut(event.action.clone().unwrap_or_default(), LONGEST_ACTION);
    if let About::Team { team, .. } = event.about {
        entry.team = Some(team);
    }
    let Some(org) = &event.org else { return entry };
    (entry.org, entry.named) = (Some(org.id), Some(org.id));
    match watch.standing(org.id, org.login.as_deref()) {
        Standing::Known => {}
        Standing::New(facts) => {
            entry.outcome = Outcome::Stored;
            entry.stranger = Some(facts);
            return entry;
        }
        Standing::NotOurs => return entry,
        Standing::Released { before } => {
            entry.outcome = Outcome::Stored;
            entry.targets = vec![Target::Org(before)];
            return entry;
        }
        Standing::LoginTaken { by } => {
            telemetry::work::login_taken(org.id, org.login.as_deref().unwrap_or_default(), by);
            return entry;
        }
    }
    for Mark { target, deleted } in event::marks(&event) {
        if deleted {
            entry.deleted = Some(target);
        }
        entry.targets.push(target);
    }
    if !entry.targets.is_empty() {
        entry.outcome = Outcome::Stored;
    }
    entry
}
