//! Whether a request may be sent now: the breakers and the rate limits of this process, asked before each request
//! and told of each answer. Whoever shares a [`Gate`] stops together, without asking the upstream again.
//!
//! It is memory of this process alone: another one finds out for itself.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    clock::Clock,
    model::{Class, Time, Trouble},
    telemetry::upstreams,
    upstream::{
        self, Admission, Breakers, Budget, Change, Heard, Kind, Question, Reply, Scope, Standing, Upstream,
        Urgency,
    },
};

/// What is known of the upstreams. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    clock: Clock,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    breakers: Breakers,
    budget: Budget,
    /// Scopes that work again, by their names, until somebody asks.
    healed: Vec<String>,
    /// How often the credential became another.
    credentials: u64,
}

impl Gate {
    /// A gate that goes by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, known: Arc::default() }
    }

    /// The wall clock, for answers that give a moment and no date of their own.
    pub fn wall(&self) -> Time {
        self.clock.wall()
    }

    /// The monotonic clock.
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// How a scope stands: its breaker, or for how long nothing of its rate limit is left.
    pub fn standing(&self, scope: &Scope, urgency: Urgency) -> Standing {
        let now = self.clock.monotonic();
        let known = self.known();
        match (known.breakers.standing(scope, now), known.budget.waits_until(scope, urgency, now)) {
            (Standing::Open(wait), Some(until)) => Standing::Open(wait.max(until.saturating_sub(now))),
            (_, Some(until)) => Standing::Open(until.saturating_sub(now)),
            (standing, None) => standing,
        }
    }

    /// Whether a scope is given a rest because a list of it was refused: only a list shows that it works again.
    pub fn refuses_lists(&self, scope: &Scope) -> bool {
        self.known().breakers.refuses_lists(scope)
    }

    /// The scopes that work again since this was last asked, by their names.
    pub fn take_healed(&self) -> Vec<String> {
        std::mem::take(&mut self.known().healed)
    }

    /// What of an upstream is given a rest, and why; for people.
    pub fn trouble(&self, upstream: Upstream) -> Option<String> {
        let known = self.known();
        let open = known.breakers.all_open().filter(|(scope, _)| scope.upstream == upstream);
        let (wall, now) = (self.clock.wall(), self.clock.monotonic());
        let since = |at: Duration| wall - now.saturating_sub(at);
        let said: Vec<String> =
            open.map(|(scope, open)| format!("{scope} since {}: {}", since(open.since), open.why)).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// What was refused is tried at once, since the credential is another now.
    pub fn credential_changed(&self, upstream: Upstream) {
        let mut known = self.known();
        known.credentials += 1;
        known.breakers.credential_changed(upstream, self.clock.monotonic());
    }

    /// The number of the credential: what one was shown is not what another would be.
    pub fn credential(&self) -> u64 {
        self.known().credentials
    }

    /// Lets a request through, or says why not.
    ///
    /// # Errors
    /// Throttled when nothing is left of a rate limit; otherwise the class of the answer that opened the scope.
    pub(super) fn admit(&self, question: &Question<'_>) -> Result<Pass, Trouble> {
        let (now, wall) = (self.clock.monotonic(), self.clock.wall());
        let mut known = self.known();
        let attempt = question.attempt;
        // First the budget: a probe that is not sent would be no probe.
        let bucket = known.budget.take(question, now).map_err(|(bucket, until)| {
            let (who, wait) = (question.scope.upstream, until.saturating_sub(now));
            let until = wall + wait;
            let why = format!("failed to {attempt}: {who}'s rate limit `{bucket}` is used up until {until}");
            Trouble { retry_after: Some(wait), ..Trouble::new(Class::Throttled, why) }
        })?;
        match known.breakers.admit(question.scope, now) {
            Admission::Sent => Ok(Pass { gate: self.clone(), bucket }),
            Admission::Refused { scope, open, wait } => {
                known.budget.ended(&bucket);
                let why = format!("failed to {attempt}: not asked while {scope} fails: {}", open.why);
                let (retry_after, scope) = (Some(wait), Some(scope.to_string()));
                Err(Trouble { retry_after, scope, blocked: true, ..Trouble::new(open.class, why) })
            }
        }
    }

    fn heard(&self, scope: &Scope, kind: Kind, heard: Heard) {
        let changes = {
            let mut known = self.known();
            let changes = known.breakers.heard(scope, kind, heard, self.clock.monotonic());
            let healed = changes.iter().filter(|change| change.open.is_none());
            let healed: Vec<String> = healed.map(|change| change.scope.to_string()).collect();
            known.healed.extend(healed);
            changes
        };
        for Change { scope, open } in changes {
            match open {
                Some(open) => upstreams::stopped(&scope.to_string(), open.class, &open.why),
                None => upstreams::healed(&scope.to_string()),
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that may be sent, and is under way until this is dropped.
pub(super) struct Pass {
    gate: Gate,
    bucket: (Upstream, u64, String),
}

impl Pass {
    /// Takes in what came back; no reply is an outage.
    pub(super) fn heard(self, question: &Question<'_>, outcome: Result<&Reply, &Trouble>) {
        let wall = self.gate.clock.wall();
        match outcome {
            Ok(reply) => {
                let now = self.gate.clock.monotonic();
                let left = self.gate.known().budget.heard(question, reply, now, wall);
                if let Some(left) = left {
                    upstreams::remaining(question.scope.upstream.as_str(), &left.bucket, left.requests);
                }
                self.gate.heard(question.scope, Kind::of(question), upstream::heard(question, reply, wall));
            }
            Err(trouble) if trouble.class == Class::Transient => {
                self.gate.heard(question.scope, Kind::of(question), Heard::Down(trouble.message.clone()));
            }
            Err(_) => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.known().budget.ended(&self.bucket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Access, Capability};

    #[test]
    fn a_wall_clock_that_is_set_neither_prolongs_a_rest_nor_ends_it() {
        const HOUR: i64 = 3_600_000_000;
        let scope = Scope::datadog(Capability::Teams, Access::Read);
        for step in [-24 * HOUR, -HOUR, HOUR, 24 * HOUR] {
            let clock = Clock::simulated(Time(1_767_225_600_000_000), 1);
            let gate = Gate::new(clock.clone());
            let question = Question {
                scope: &scope,
                operation: "list_teams",
                attempt: "list teams",
                needs: "",
                collection: true,
                renewable: false,
                account: 0,
                urgency: Urgency::Event,
            };
            gate.heard(&scope, Kind::of(&question), Heard::Refused("403".into()));
            clock.step(step);
            clock.take_over();
            assert!(matches!(gate.standing(&scope, Urgency::Event), Standing::Open(_)), "{step}");
            let stepped = Time(1_767_225_600_000_000 + step).to_string();
            assert!(gate.trouble(Upstream::Datadog).unwrap().contains(&stepped), "for people");
            clock.advance(Duration::from_secs(5));
            assert_eq!(gate.standing(&scope, Urgency::Event), Standing::Due, "{step}");
        }
    }
}
