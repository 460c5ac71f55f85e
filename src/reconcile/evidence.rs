//! Whether a write that fails with a server error fails for others too. An outage only delays work: an attempt counts, and
//! an action is parked, only if the same operation succeeded for others, in the same run or since the action failed
//! before. No clock is asked: successes are counted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::model::Subject;

/// A kind of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Operation {
    CreateTeam,
    Create,
    Delete,
}

/// The writes that succeeded in this process, and those that fail. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    /// How often each operation succeeded.
    successes: HashMap<Operation, u64>,
    /// What fails, and how often its operation had succeeded when it failed last.
    failing: HashMap<(Operation, Subject), u64>,
}

impl Evidence {
    /// Notes that an operation succeeded for these subjects.
    pub(super) fn succeeded(&self, operation: Operation, subjects: impl Iterator<Item = Subject>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.successes.entry(operation).or_default() += 1;
        for subject in subjects {
            counts.failing.remove(&(operation, subject));
        }
    }

    /// Notes that an operation failed for this subject. Returns whether it has succeeded for others since it failed
    /// before.
    pub(super) fn failed(&self, operation: Operation, subject: Subject) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let successes = counts.successes.get(&operation).copied().unwrap_or_default();
        let before = counts.failing.insert((operation, subject), successes);
        before.is_some_and(|before| successes > before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str) -> Subject {
        Subject::DatadogTeam(name.to_owned())
    }

    #[test]
    fn a_failure_counts_once_the_same_operation_succeeded_for_others_since_the_one_before() {
        let evidence = Evidence::default();
        let (delete, create) = (Operation::Delete, Operation::Create);
        evidence.succeeded(delete, [subject("b")].into_iter());
        assert!(!evidence.failed(delete, subject("a")), "nobody knows what it was that changed");
        evidence.succeeded(create, [subject("b")].into_iter());
        assert!(!evidence.failed(delete, subject("a")));
        evidence.succeeded(delete, [subject("b")].into_iter());
        assert!(evidence.failed(delete, subject("a")));
        assert!(!evidence.failed(delete, subject("a")), "not again by the same success");
        evidence.succeeded(delete, [subject("a")].into_iter());
        assert!(!evidence.failed(delete, subject("a")), "it works by now");
    }
}
