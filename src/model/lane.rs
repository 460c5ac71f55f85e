//! The unit of work that one worker leases, and the fence that its writes carry.
//!
//! A lane is a type and never a number: how the ledger stores one is known to the ledger alone.

use std::fmt;

use super::{Integration, OrgId};

/// The unit that one worker holds under a lease: a fence, a settle, a held set and a pause belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// An organisation with its teams.
    Org(OrgId),
    /// One integration's document.
    Document(Integration),
    /// The recovery of deliveries that GitHub could not deliver.
    Recovery,
}

impl Lane {
    /// The organisation, unless the lane is something else.
    pub fn org(self) -> Option<OrgId> {
        match self {
            Self::Org(org) => Some(org),
            Self::Document(_) | Self::Recovery => None,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Org(org) => write!(f, "org:{org}"),
            Self::Document(integration) => write!(f, "integration:{}", integration.as_str()),
            Self::Recovery => f.write_str("recovery"),
        }
    }
}

/// The lease under which a request is written. Requests carry it, so that their order can be checked afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// What the lease is on.
    pub lane: Lane,
    /// The lease's counter, which rises with each holder.
    pub count: i64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.lane, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_names_its_lane_as_targets_are_named() {
        let fence = |lane| Fence { lane, count: 3 }.to_string();
        assert_eq!(fence(Lane::Org(OrgId(7))), "org:7:3");
        assert_eq!(fence(Lane::Document(Integration::Github)), "integration:github:3");
        assert_eq!(fence(Lane::Recovery), "recovery:3");
    }
}
