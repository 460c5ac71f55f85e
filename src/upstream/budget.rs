//! How much may still be asked. What the headers of every answer say is remembered for each bucket of requests, so
//! that whoever shares it stops before the limit is hit, and all of them at once where it was.
//!
//! Datadog names the bucket of an endpoint in `X-RateLimit-Name`, and counts within `X-RateLimit-Period`; GitHub
//! names a resource, for each installation of an App or for the whole token. Which bucket an operation counts
//! towards is learnt from its answers. All times are those of the monotonic clock.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Question, Reply, Scope, Upstream, Urgency,
    classify::{self, Verdict},
};
use crate::model::{Class, Time};

/// The share of a limit that full passes leave to events: one in this many.
const RESERVE: u64 = 10;

/// How long a bucket rests after a 429 that names no wait.
const UNSAID: Duration = Duration::from_secs(5);

/// Two answers whose windows end this close together speak of one window.
const SAME_WINDOW: Duration = Duration::from_millis(1500);

/// Upstream, account and name.
type Key = (Upstream, u64, String);

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    limit: u64,
    /// What was left when the last answer came; `None` when no answer has said so.
    remaining: Option<u64>,
    /// Requests whose answers are not there yet.
    under_way: u64,
    resets_at: Duration,
    /// Nothing is sent before this.
    stopped_until: Duration,
}

impl Bucket {
    /// Until when a request has to wait.
    fn waits_until(&self, urgency: Urgency, now: Duration) -> Option<Duration> {
        let reserve = match urgency {
            Urgency::Event => 0,
            Urgency::Pass => self.limit / RESERVE,
        };
        let used_up = self.resets_at > now
            && self.remaining.is_some_and(|left| left.saturating_sub(self.under_way) <= reserve);
        let until = if used_up { self.stopped_until.max(self.resets_at) } else { self.stopped_until };
        (until > now).then_some(until)
    }
}

/// What an answer says is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The bucket's name in metrics.
    pub bucket: String,
    /// Requests.
    pub requests: u64,
}

/// The rate limits of both upstreams.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    /// Which bucket each operation counts towards.
    routes: BTreeMap<(Scope, u64, &'static str), Key>,
    buckets: BTreeMap<Key, Bucket>,
}

impl Budget {
    /// Until when requests of a scope have to wait, if they do.
    pub fn waits_until(&self, scope: &Scope, urgency: Urgency, now: Duration) -> Option<Duration> {
        let routes = self.routes.iter().filter(|((of, ..), _)| of == scope);
        routes.filter_map(|(_, key)| self.buckets.get(key)?.waits_until(urgency, now)).max()
    }

    /// Counts a request that is about to be sent, towards the bucket that is answered.
    ///
    /// # Errors
    /// The bucket's name and when it may be sent, when nothing is left now.
    pub fn take(&mut self, question: &Question<'_>, now: Duration) -> Result<Key, (String, Duration)> {
        let key = self.key(question);
        let bucket = self.buckets.entry(key.clone()).or_default();
        match bucket.waits_until(question.urgency, now) {
            Some(until) => Err((label(&key), until)),
            None => {
                bucket.under_way += 1;
                Ok(key)
            }
        }
    }

    /// The request ended, with or without an answer.
    pub fn ended(&mut self, key: &Key) {
        if let Some(bucket) = self.buckets.get_mut(key) {
            bucket.under_way = bucket.under_way.saturating_sub(1);
        }
    }

    /// Takes in what an answer says of its bucket. `wall` serves where the answer says no date of its own.
    pub fn heard(
        &mut self,
        question: &Question<'_>,
        reply: &Reply,
        now: Duration,
        wall: Time,
    ) -> Option<Left> {
        let name = reply.text(match question.scope.upstream {
            Upstream::Github => "x-ratelimit-resource",
            Upstream::Datadog => "x-ratelimit-name",
        });
        if let Some(name) = name {
            let route = (question.scope.clone(), question.account, question.operation);
            self.routes.insert(route, (question.scope.upstream, question.account, name.to_owned()));
        }
        let key = self.key(question);
        let bucket = self.buckets.entry(key.clone()).or_default();
        if let Some(Verdict { class: Class::Throttled, wait }) = classify::verdict(question, reply, wall) {
            bucket.stopped_until = bucket.stopped_until.max(now + wait.unwrap_or(UNSAID));
        }
        let remaining = reply.number("x-ratelimit-remaining")?;
        bucket.limit = reply.number("x-ratelimit-limit").unwrap_or(remaining);
        if let Some(wait) = classify::resets_in(question.scope.upstream, reply, wall) {
            let resets_at = now + wait;
            let same = resets_at.abs_diff(bucket.resets_at) < SAME_WINDOW;
            // Answers may overtake each other: within a window less is left, never more.
            let known = bucket.remaining.filter(|_| same).unwrap_or(u64::MAX);
            bucket.remaining = Some(remaining.min(known));
            bucket.resets_at = resets_at;
        }
        Some(Left { bucket: label(&key), requests: remaining })
    }

    fn key(&self, question: &Question<'_>) -> Key {
        let route = (question.scope.clone(), question.account, question.operation);
        self.routes.get(&route).cloned().unwrap_or_else(|| {
            let name = match question.scope.upstream {
                Upstream::Github => "core",
                Upstream::Datadog => question.operation,
            };
            (question.scope.upstream, question.account, name.to_owned())
        })
    }
}

fn label((_, account, name): &Key) -> String {
    match account {
        0 => name.clone(),
        installation => format!("{name} of installation {installation}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Access, Capability, Whose, classify::tests::reply},
        *,
    };
    use crate::model::OrgId;

    const NOW: Duration = Duration::from_secs(1_000);
    const WALL: Time = Time(1_700_000_000_000_000);
    static LIST: Scope = Scope::datadog(Capability::Connections, Access::Read);
    static WRITE: Scope = Scope::datadog(Capability::Connections, Access::Write);

    fn of<'a>(scope: &'a Scope, operation: &'static str, urgency: Urgency) -> Question<'a> {
        let (attempt, needs, collection, renewable, account) = ("ask", "", true, false, 0);
        Question { scope, operation, attempt, needs, collection, renewable, account, urgency }
    }

    fn list(urgency: Urgency) -> Question<'static> {
        of(&LIST, "list_connections", urgency)
    }

    fn left(remaining: &'static str) -> Reply {
        let headers = [
            ("x-ratelimit-name", "teams"),
            ("x-ratelimit-limit", "100"),
            ("x-ratelimit-period", "60"),
            ("x-ratelimit-reset", "20"),
            ("x-ratelimit-remaining", remaining),
        ];
        reply(200, &headers, "")
    }

    #[test]
    fn nothing_is_known_before_the_first_answer_and_nothing_waits() {
        let mut budget = Budget::default();
        assert!((0..1000).all(|_| budget.take(&list(Urgency::Pass), NOW).is_ok()));
        assert_eq!(budget.waits_until(&LIST, Urgency::Pass, NOW), None);
    }

    #[test]
    fn passes_stop_before_events_and_events_before_the_limit() {
        let mut budget = Budget::default();
        budget.heard(&list(Urgency::Event), &left("11"), NOW, WALL);
        let reset = NOW + Duration::from_secs(20);
        assert!(budget.take(&list(Urgency::Pass), NOW).is_ok());
        assert_eq!(budget.take(&list(Urgency::Pass), NOW), Err(("teams".to_owned(), reset)));
        assert!((0..10).all(|_| budget.take(&list(Urgency::Event), NOW).is_ok()));
        assert_eq!(budget.take(&list(Urgency::Event), NOW), Err(("teams".to_owned(), reset)));
        assert_eq!(budget.waits_until(&LIST, Urgency::Event, NOW), Some(reset));
        assert!(budget.take(&list(Urgency::Pass), reset).is_ok(), "a new window");
    }

    #[test]
    fn a_request_that_ended_without_an_answer_is_not_counted_for_ever() {
        let mut budget = Budget::default();
        budget.heard(&list(Urgency::Event), &left("1"), NOW, WALL);
        for _ in 0..5 {
            let key = budget.take(&list(Urgency::Event), NOW).unwrap();
            budget.ended(&key);
        }
    }

    #[test]
    fn an_answer_that_was_overtaken_gives_nothing_back_within_its_window() {
        let mut budget = Budget::default();
        budget.heard(&list(Urgency::Event), &left("0"), NOW, WALL);
        budget.heard(&list(Urgency::Event), &left("7"), NOW + Duration::from_millis(300), WALL);
        assert!(budget.take(&list(Urgency::Event), NOW + Duration::from_secs(1)).is_err());
        budget.heard(&list(Urgency::Event), &left("7"), NOW + Duration::from_secs(60), WALL);
        assert!(budget.take(&list(Urgency::Event), NOW + Duration::from_secs(61)).is_ok());
    }

    #[test]
    fn a_429_stops_everything_of_its_bucket_and_nothing_else() {
        let mut budget = Budget::default();
        for (scope, operation) in [(&LIST, "list_connections"), (&WRITE, "create_connections")] {
            budget.heard(&of(scope, operation, Urgency::Event), &left("90"), NOW, WALL);
        }
        let other = of(&LIST, "list_teams", Urgency::Event);
        budget.heard(&list(Urgency::Event), &reply(429, &[("x-ratelimit-name", "teams")], ""), NOW, WALL);
        let until = NOW + UNSAID;
        assert_eq!(budget.waits_until(&WRITE, Urgency::Event, NOW), Some(until));
        assert_eq!(
            budget.take(&of(&WRITE, "create_connections", Urgency::Event), NOW),
            Err(("teams".to_owned(), until))
        );
        assert!(budget.take(&other, NOW).is_ok());
        assert_eq!(budget.waits_until(&WRITE, Urgency::Event, until), None);
    }

    #[test]
    fn each_installation_of_an_app_has_a_limit_of_its_own_over_all_operations() {
        let scope = Scope::github(Whose::Org(OrgId(1)), Capability::Teams);
        let question = |operation, account| Question { account, ..of(&scope, operation, Urgency::Event) };
        let mut budget = Budget::default();
        let secondary = reply(403, &[("retry-after", "30"), ("x-ratelimit-resource", "core")], "");
        budget.heard(&question("get_team", 5), &secondary, NOW, WALL);
        assert!(budget.take(&question("list_teams", 5), NOW).is_err());
        assert!(budget.take(&question("list_teams", 6), NOW).is_ok());
    }
}
