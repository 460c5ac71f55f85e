//! What a wide world may contain. A seed draws the same things whatever is switched on; what is switched off does not
//! happen. So a world can be lived again with less in it, to find out what its failure needs.

use std::{collections::BTreeSet, env, fmt};

use rand::{RngExt, rngs::StdRng};

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident $share:literal $holds:literal,)*) => {
        /// One kind of thing that a wide world may contain.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Feature { $($(#[$doc])* $name,)* }

        /// Each feature, the share of the worlds that have it, and whether every world with it is right today.
        const ALL: &[(Feature, f64, bool)] = &[$((Feature::$name, $share, $holds),)*];
    };
}

// The last column is the one place in which a feature is switched on for everybody, once the worlds with it hold.
features! {
    /// More than one organisation.
    Orgs 0.8 true,
    /// `github.orgs` names only some of them.
    Some 0.3 true,
    /// Logins are renamed, handed over, swapped, given up and reclaimed.
    Logins 0.4 false,
    /// Organisations are deleted, and created again under their login.
    Remade 0.15 false,
    /// Datadog's lists of connections lag behind its writes.
    Lag 0.3 true,
    /// Datadog's totals are off.
    Totals 0.2 true,
    /// Connections whose keys differ in case only.
    Case 0.15 true,
    /// Restarts with other `github.orgs`.
    Served 0.25 true,
    /// Restarts with other rules.
    Rules 0.3 true,
    /// Restarts with another mark.
    Marks 0.15 true,
    /// Protected globs, and restarts with others.
    Protected 0.25 true,
    /// Modes other than `sync`, and restarts with another.
    Modes 0.2 true,
    /// Pauses of a team, of an organisation, of everything.
    Pauses 0.3 true,
    /// Wall clocks are stepped.
    Clocks 0.25 true,
    /// Two workers whose wall clocks differ, on a ledger that has a clock of its own.
    Two 0.25 true,
    /// Rate limits whose windows are smaller than a list.
    Limits 0.15 true,
    /// Somebody else writes while a pass is under way.
    Writers 0.4 true,
    /// Somebody removes the same connection again and again.
    Nemesis 0.1 true,
    /// Teams answer 404 by id, while their slug and the list are right.
    ById 0.2 true,
    /// Slugs answer 404, while the id and the list are right.
    BySlug 0.15 true,
    /// A list lacks a team.
    Lists 0.15 true,
    /// Reads and writes fail for a time.
    Failures 0.4 true,
    /// Teams of the enterprise.
    Enterprise 0.1 true,
    /// The process is killed between two steps.
    Kills 0.3 true,
    /// Webhooks are lost, come twice, and out of order.
    Lost 0.4 true,
    /// A person approves what is held.
    Approvals 0.4 true,
    /// A person adopts what others made.
    Adoptions 0.1 true,
    /// Tight limits for removals.
    Guard 0.5 true,
    /// Datadog teams are renamed and deleted.
    Handles 0.2 true,
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
    /// Draws them, as far as `TEAMLINK_WIDE` allows: `all`, or names with commas between; without it those that hold.
    pub fn drawn(dice: &mut StdRng) -> Self {
        let drawn: Vec<_> = ALL.iter().filter(|(_, share, _)| dice.random_bool(*share)).collect();
        let allowed = env::var("TEAMLINK_WIDE").ok();
        let allows = |(feature, _, holds): &(Feature, f64, bool)| match allowed.as_deref() {
            None | Some("") => *holds,
            Some("all") => true,
            Some(names) => names.split(',').any(|name| name == feature.name()),
        };
        Self(drawn.into_iter().filter(|it| allows(it)).map(|(feature, ..)| *feature).collect())
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
