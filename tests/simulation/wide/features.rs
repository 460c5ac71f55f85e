//! What a wide world may contain. A seed draws the same things whatever is switched on; what is switched off does not
//! happen. So a world can be lived again with less in it, to find out what its failure needs.

use std::{collections::BTreeSet, env, fmt};

use rand::{RngExt, rngs::StdRng};

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident $share:literal,)*) => {
        /// One kind of thing that a wide world may contain.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Feature { $($(#[$doc])* $name,)* }

        /// Each feature, and the share of the worlds that have it.
        const ALL: &[(Feature, f64)] = &[$((Feature::$name, $share),)*];
    };
}

features! {
    /// More than one organisation.
    Orgs 0.8,
    /// `github.orgs` names only some of them.
    Some 0.3,
    /// Logins are renamed, handed over, swapped, given up and reclaimed.
    Logins 0.4,
    /// Organisations are deleted, and created again under their login.
    Remade 0.15,
    /// Datadog's lists of connections lag behind its writes.
    Lag 0.3,
    /// Datadog's totals are off.
    Totals 0.2,
    /// Connections whose keys differ in case only.
    Case 0.15,
    /// Restarts with other `github.orgs`.
    Served 0.25,
    /// Restarts with other rules.
    Rules 0.3,
    /// Restarts with another mark.
    Marks 0.15,
    /// Protected globs, and restarts with others.
    Protected 0.25,
    /// Modes other than `sync`, and restarts with another.
    Modes 0.2,
    /// Pauses of a team, of an organisation, of everything.
    Pauses 0.3,
    /// Wall clocks are stepped.
    Clocks 0.25,
    /// Two workers whose wall clocks differ, on a ledger that has a clock of its own.
    Two 0.25,
    /// Rate limits whose windows are smaller than a list.
    Limits 0.15,
    /// Somebody else writes while a pass is under way.
    Writers 0.4,
    /// Somebody removes the same connection again and again.
    Nemesis 0.1,
    /// Teams answer 404 by id, while their slug and the list are right.
    ById 0.2,
    /// Slugs answer 404, while the id and the list are right.
    BySlug 0.15,
    /// A list lacks a team.
    Lists 0.15,
    /// Reads and writes fail for a time.
    Failures 0.4,
    /// Teams of the enterprise.
    Enterprise 0.1,
    /// The process is killed between two steps.
    Kills 0.3,
    /// Webhooks are lost, come twice, and out of order.
    Lost 0.4,
    /// A person approves what is held.
    Approvals 0.4,
    /// A person adopts what others made.
    Adoptions 0.1,
    /// Tight limits for removals.
    Guard 0.5,
    /// Datadog teams are renamed and deleted.
    Handles 0.2,
    /// Datadog carries a write out after its sender stopped waiting for the answer.
    Late 0.3,
    /// The team of a write that is under way is renamed or deleted, its login moves, or somebody removes its connection.
    Chased 0.5,
    /// Restarts with the keys of another Datadog organisation, and back.
    Keys 0.15,
}

impl Feature {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Which of them a world has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features(BTreeSet<Feature>);

impl Features {
    /// Draws them. `TEAMLINK_WIDE` names those that a world may have, with commas between; without it, all may be there.
    /// `later` are for what came to the list later: all else that a seed draws stays as it was.
    pub fn drawn(dice: &mut StdRng, later: &mut StdRng) -> Self {
        let drawn = ALL.iter().filter(|(feature, share)| {
            let came_later = matches!(feature, Feature::Late | Feature::Chased | Feature::Keys);
            let dice = if came_later { &mut *later } else { &mut *dice };
            dice.random_bool(*share)
        });
        let drawn: Vec<_> = drawn.collect();
        let allowed = env::var("TEAMLINK_WIDE").ok().filter(|names| !names.is_empty());
        let allows = |feature: Feature| match &allowed {
            None => true,
            Some(names) => names.split(',').any(|name| name == feature.name()),
        };
        Self(drawn.into_iter().map(|(feature, _)| *feature).filter(|feature| allows(*feature)).collect())
    }

    pub fn has(&self, feature: Feature) -> bool {
        self.0.contains(&feature)
    }

    /// Each way to have one less.
    pub fn smaller(&self) -> Vec<Self> {
        let without = |out: &Feature| Self(self.0.iter().filter(|it| *it != out).copied().collect());
        self.0.iter().map(without).collect()
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|feature| feature.name()).collect();
        f.write_str(&names.join(","))
    }
}
