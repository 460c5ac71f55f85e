//! Whether a request may be sent now: the breakers and the rate limits of this process, asked before each request
//! and told of each answer. Whoever shares a [`Gate`] stops together, without asking the upstream again.
//!
//! It is memory of this process alone: another one finds out for itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    clock::Clock,
    model::{Class, Time, Trouble},
    telemetry::upstreams,
    upstream::{
        self, Admission, Breakers, Budget, Change, Heard, Question, Reply, Scope, Standing, Upstream, Urgency,
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
}

impl Gate {
    /// A gate that goes by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, known: Arc::default() }
    }

    /// What time it is here.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// How a scope stands: its breaker, or for how long nothing of its rate limit is left.
    pub fn standing(&self, scope: &Scope, urgency: Urgency) -> Standing {
        let now = self.clock.now();
        let known = self.known();
        match (known.breakers.standing(scope, now), known.budget.waits_until(scope, urgency, now)) {
            (Standing::Open(wait), Some(until)) => Standing::Open(wait.max(until.since(now))),
            (_, Some(until)) => Standing::Open(until.since(now)),
            (standing, None) => standing,
        }
    }

    /// The scopes that work again since this was last asked, by their names.
    pub fn take_healed(&self) -> Vec<String> {
        std::mem::take(&mut self.known().healed)
    }

    /// What of an upstream is given a rest, and why; for people.
    pub fn trouble(&self, upstream: Upstream) -> Option<String> {
        let known = self.known();
        let open = known.breakers.all_open().filter(|(scope, _)| scope.upstream == upstream);
        let said: Vec<String> =
            open.map(|(scope, open)| format!("{scope} since {}: {}", open.since, open.why)).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// What was refused is tried at once, since the credential is another now.
    pub fn credential_changed(&self, upstream: Upstream) {
        self.known().breakers.credential_changed(upstream, self.clock.now());
    }

    /// Lets a request through, or says why not.
    ///
    /// # Errors
    /// Throttled when nothing is left of a rate limit; otherwise the class of the answer that opened the scope.
    pub(super) fn admit(&self, question: &Question<'_>) -> Result<Pass, Trouble> {
        let now = self.clock.now();
        let mut known = self.known();
        let attempt = question.attempt;
        // First the budget: a probe that is not sent would be no probe.
        let bucket = known.budget.take(question, now).map_err(|(bucket, until)| {
            let who = question.scope.upstream;
            let why = format!("failed to {attempt}: {who}'s rate limit `{bucket}` is used up until {until}");
            Trouble { retry_after: Some(until.since(now)), ..Trouble::new(Class::Throttled, why) }
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

    fn heard(&self, scope: &Scope, heard: Heard, now: Time) {
        let changes = {
            let mut known = self.known();
            let changes = known.breakers.heard(scope, heard, now);
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
        let now = self.gate.clock.now();
        match outcome {
            Ok(reply) => {
                let left = self.gate.known().budget.heard(question, reply, now);
                if let Some(left) = left {
                    upstreams::remaining(question.scope.upstream.as_str(), &left.bucket, left.requests);
                }
                self.gate.heard(question.scope, upstream::heard(question, reply, now), now);
            }
            Err(trouble) if trouble.class == Class::Transient => {
                self.gate.heard(question.scope, Heard::Down(trouble.message.clone()), now);
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
