//! Sorts what an upstream answered into the five classes, and says it so that a person can act on it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{Heard, Question, Upstream, date, text};
use crate::model::{Class, Time, Trouble};

/// No wait that an upstream asks for is believed beyond this: both upstreams' longest documented period is an
/// hour, and asking once an hour costs nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A number of seconds from here on is a moment: 2001-09-09.
const MOMENTS: u64 = 1_000_000_000;

/// GitHub: after a secondary rate limit without a header, wait at least one minute.
const SECONDARY_WAIT: Duration = Duration::from_secs(60);

/// An HTTP answer, read to its end.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, decompressed.
    pub body: Bytes,
}

impl Reply {
    /// A header that holds a whole number.
    pub fn number(&self, header: &str) -> Option<u64> {
        self.text(header)?.trim().parse().ok()
    }

    /// When the server says it answered, by its own clock.
    pub fn date(&self) -> Option<Time> {
        date::parse(self.text("date")?)
    }

    /// A header that holds text.
    pub fn text(&self, header: &str) -> Option<&str> {
        self.headers.get(header)?.to_str().ok()
    }
}

/// What an answer amounts to, besides success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How to handle it.
    pub class: Class,
    /// How long the upstream asks us to wait.
    pub wait: Option<Duration>,
}

/// The one decision which class an answer belongs to; `None` for success, and for a token that has only ended.
///
/// A GitHub 403 is a rate limit as often as it is a missing permission; only headers and body tell. A 404 on what
/// always exists is a closed door. Datadog's own 404 is a JSON document of errors. A moment in a header becomes a wait
/// by the answer's own `Date`; `wall` serves only where there is none.
pub fn verdict(question: &Question<'_>, reply: &Reply, wall: Time) -> Option<Verdict> {
    let status = reply.status.as_u16();
    let limit = match question.scope.upstream {
        Upstream::Github => limited(reply, wall),
        Upstream::Datadog => None,
    };
    if limit.is_some() {
        return Some(Verdict { class: Class::Throttled, wait: limit });
    }
    let class = match status {
        200..=299 | 304 => return None,
        401 if question.renewable => return None,
        401 | 403 => Class::Auth,
        404 if question.collection => Class::Auth,
        // The page of something between, or of a route that does not exist, says nothing of what was asked for.
        404 if question.scope.upstream == Upstream::Datadog && !text::is_datadog_error(&reply.body) => {
            Class::Transient
        }
        408 | 500..=599 => Class::Transient,
        429 => Class::Throttled,
        _ => Class::Permanent,
    };
    let asked = || retry_after(reply, wall).or_else(|| resets_in(Upstream::Datadog, reply, wall));
    Some(Verdict { class, wait: (class == Class::Throttled).then(asked).flatten() })
}

/// What an answer says about its scope, for the breakers.
pub fn heard(question: &Question<'_>, reply: &Reply, wall: Time) -> Heard {
    let Some(Verdict { class, .. }) = verdict(question, reply, wall) else {
        return if reply.status == StatusCode::UNAUTHORIZED { Heard::Nothing } else { Heard::Alive };
    };
    match class {
        Class::Auth if question.scope.refusal_spreads() => {
            Heard::Refused(format!("{}; {}", said(question.scope.upstream, reply), question.needs))
        }
        Class::Transient => Heard::Down(said(question.scope.upstream, reply)),
        Class::Throttled => Heard::Nothing,
        Class::Auth | Class::Permanent | Class::Invalid => Heard::Alive,
    }
}

/// What an answer other than the hoped for one amounts to, for people too. A write answered with 5xx is ambiguous:
/// it may have been done.
pub fn trouble(question: &Question<'_>, reply: &Reply, wall: Time) -> Trouble {
    let unexpected = Verdict { class: Class::Permanent, wait: None };
    let Verdict { class, wait } = verdict(question, reply, wall).unwrap_or(unexpected);
    let advice = match class {
        Class::Auth => format!("; {}", question.needs),
        _ => String::new(),
    };
    let scope = match class {
        Class::Auth if question.scope.refusal_spreads() => Some(question.scope.to_string()),
        Class::Transient => Some(question.scope.outage().to_string()),
        _ => None,
    };
    Trouble {
        class,
        status: Some(reply.status.as_u16()),
        retry_after: wait,
        ambiguous: question.writes() && reply.status.is_server_error(),
        scope,
        blocked: false,
        message: format!("failed to {}: {}{advice}", question.attempt, said(question.scope.upstream, reply)),
    }
}

/// An answer with a good status that cannot be understood.
pub fn invalid(attempt: &str, reply: &Reply, why: &dyn std::fmt::Display) -> Trouble {
    let body = text::sanitise(&String::from_utf8_lossy(&reply.body));
    Trouble {
        status: Some(reply.status.as_u16()),
        ..Trouble::new(
            Class::Invalid,
            format!("failed to {attempt}: the answer makes no sense ({why}): {body}"),
        )
    }
}

/// GitHub: a limit is a 403 or a 429; `retry-after` comes first, then `x-ratelimit-reset` once nothing remains,
/// then a minute.
fn limited(reply: &Reply, wall: Time) -> Option<Duration> {
    let status = reply.status.as_u16();
    if status != 403 && status != 429 {
        return None;
    }
    if let Some(wait) = retry_after(reply, wall) {
        return Some(wait);
    }
    if reply.number("x-ratelimit-remaining") == Some(0) {
        return Some(resets_in(Upstream::Github, reply, wall).unwrap_or(SECONDARY_WAIT));
    }
    let secondary = String::from_utf8_lossy(&reply.body).to_lowercase().contains("secondary rate limit");
    (status == 429 || secondary).then_some(SECONDARY_WAIT)
}

/// Returns what `Retry-After` asks for: a number of seconds, or a date.
fn retry_after(reply: &Reply, wall: Time) -> Option<Duration> {
    let seconds = reply.number("retry-after").map(wait);
    seconds.or_else(|| Some(until(date::parse(reply.text("retry-after")?)?, reply, wall)))
}

/// Returns how long it is until the limit's window ends. GitHub gives a moment, cut to whole seconds. Datadog gives a
/// number of seconds from now; one that is too large for that is taken for a moment.
pub(super) fn resets_in(upstream: Upstream, reply: &Reply, wall: Time) -> Option<Duration> {
    let reset = reply.number("x-ratelimit-reset")?;
    if upstream == Upstream::Datadog && reset < MOMENTS {
        return Some(wait(reset));
    }
    let moment = Time(i64::try_from(reset.saturating_mul(1_000_000)).unwrap_or(i64::MAX));
    Some(until(moment, reply, wall))
}

/// Returns how long it is until a moment of the server's clock, to the end of its second.
fn until(moment: Time, reply: &Reply, wall: Time) -> Duration {
    let now = reply.date().unwrap_or(wall).0.div_euclid(1_000_000);
    let seconds = moment.0.div_euclid(1_000_000).saturating_sub(now).saturating_add(1);
    wait(u64::try_from(seconds).unwrap_or(1))
}

fn wait(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(LONGEST_WAIT)
}

fn said(who: Upstream, reply: &Reply) -> String {
    let text = match who {
        Upstream::Github => text::github(&reply.body),
        Upstream::Datadog => text::datadog(&reply.body),
    };
    let location = reply.headers.get(http::header::LOCATION).map(|l| String::from_utf8_lossy(l.as_bytes()));
    match (location, text.is_empty()) {
        (Some(to), _) if reply.status.is_redirection() => {
            format!("{who} answered {} to {}; set its base URL to that", reply.status, text::sanitise(&to))
        }
        (_, true) => format!("{who} answered {}", reply.status),
        (_, false) => format!("{who} answered {}: {text}", reply.status),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use http::{HeaderName, HeaderValue};

    use super::{
        super::{Access, Capability, Scope, Urgency, Whose},
        *,
    };
    use crate::model::OrgId;

    const NOW: Time = Time(1_700_000_000_000_000);

    static CONNECTIONS: Scope = Scope::datadog(Capability::Connections, Access::Read);
    static CREATES: Scope = Scope::datadog(Capability::Connections, Access::Write);
    static INTEGRATIONS: Scope = Scope::datadog(Capability::Integrations, Access::Write);
    static TEAMS: Scope = Scope::github(Whose::Org(OrgId(7)), Capability::Teams);
    static REPOSITORIES: Scope = Scope::github(Whose::Org(OrgId(7)), Capability::Repositories);

    pub(in super::super) fn reply(
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &'static str,
    ) -> Reply {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn of(scope: &Scope) -> Question<'_> {
        Question {
            scope,
            operation: "look",
            attempt: "look",
            needs: "check the keys",
            collection: false,
            renewable: false,
            account: 0,
            urgency: Urgency::Event,
        }
    }

    fn collection(scope: &Scope) -> Question<'_> {
        Question { collection: true, ..of(scope) }
    }

    fn wait_of(question: &Question<'_>, reply: &Reply) -> Option<u64> {
        verdict(question, reply, NOW).and_then(|verdict| verdict.wait).map(|wait| wait.as_secs())
    }

    #[test]
    fn each_answer_has_its_class_and_stops_its_scope_or_does_not() {
        let (down, refused) = (Some("down"), Some("refused"));
        let (alive, nothing) = (Some("alive"), None);
        for (question, status, class, stops) in [
            (of(&CONNECTIONS), 200, None, alive),
            (of(&CONNECTIONS), 301, Some(Class::Permanent), alive),
            (of(&CREATES), 400, Some(Class::Permanent), alive),
            (of(&CONNECTIONS), 401, Some(Class::Auth), refused),
            (of(&CREATES), 403, Some(Class::Auth), refused),
            (of(&CREATES), 404, Some(Class::Permanent), alive),
            (collection(&CONNECTIONS), 404, Some(Class::Auth), refused),
            (collection(&INTEGRATIONS), 404, Some(Class::Auth), refused),
            (of(&CONNECTIONS), 408, Some(Class::Transient), down),
            (of(&CREATES), 409, Some(Class::Permanent), alive),
            (of(&CONNECTIONS), 429, Some(Class::Throttled), nothing),
            (of(&CONNECTIONS), 500, Some(Class::Transient), down),
            (of(&CREATES), 503, Some(Class::Transient), down),
            (of(&TEAMS), 304, None, alive),
            (of(&TEAMS), 401, Some(Class::Auth), refused),
            (Question { renewable: true, ..of(&TEAMS) }, 401, None, nothing),
            (of(&TEAMS), 403, Some(Class::Auth), refused),
            (of(&TEAMS), 404, Some(Class::Permanent), alive),
            (collection(&TEAMS), 404, Some(Class::Auth), refused),
            (of(&TEAMS), 429, Some(Class::Throttled), nothing),
            (of(&TEAMS), 502, Some(Class::Transient), down),
            (of(&REPOSITORIES), 403, Some(Class::Auth), alive),
            (collection(&REPOSITORIES), 404, Some(Class::Auth), alive),
            (of(&REPOSITORIES), 502, Some(Class::Transient), down),
        ] {
            let reply = reply(status, &[], r#"{"errors": []}"#);
            let decided = verdict(&question, &reply, NOW).map(|verdict| verdict.class);
            assert_eq!(decided, class, "{} {status}", question.scope);
            let heard = match heard(&question, &reply, NOW) {
                Heard::Alive => alive,
                Heard::Nothing => nothing,
                Heard::Down(_) => down,
                Heard::Refused(_) => refused,
            };
            assert_eq!(heard, stops, "{} {status}", question.scope);
        }
    }

    #[test]
    fn a_404_that_datadog_did_not_answer_itself_is_an_outage_and_no_absence() {
        for body in ["", "<html>404 Not Found</html>", r#"{"message": "no Route matched"}"#, "[]"] {
            let decided =
                verdict(&of(&INTEGRATIONS), &reply(404, &[], body), NOW).map(|verdict| verdict.class);
            assert_eq!(decided, Some(Class::Transient), "{body}");
            let list = verdict(&collection(&CONNECTIONS), &reply(404, &[], body), NOW);
            assert_eq!(
                list.map(|verdict| verdict.class),
                Some(Class::Auth),
                "{body}: a list that is not granted"
            );
        }
    }

    #[test]
    fn datadog_waits_for_the_reset_which_is_a_number_of_seconds_or_a_moment() {
        let list = of(&CONNECTIONS);
        let limited =
            reply(429, &[("x-ratelimit-reset", "7"), ("x-ratelimit-remaining", "0")], r#"{"data":[]}"#);
        assert_eq!(wait_of(&list, &limited), Some(7));
        let first = reply(429, &[("x-ratelimit-reset", "7"), ("retry-after", "3")], "");
        assert_eq!(wait_of(&list, &first), Some(3));
        // These headers come with every answer; elsewhere they ask for nothing.
        assert_eq!(wait_of(&list, &reply(403, &[("x-ratelimit-reset", "7")], "")), None);
        let moment = reply(429, &[("x-ratelimit-reset", "1700000041")], "");
        assert_eq!(wait_of(&list, &moment), Some(42));
        let dated = [("x-ratelimit-reset", "1700000041"), ("date", "Tue, 14 Nov 2023 22:14:00 GMT")];
        assert_eq!(wait_of(&list, &reply(429, &dated, "")), Some(2), "by the server's clock");
        let absurd = reply(429, &[("x-ratelimit-reset", "18446744073709551615")], "");
        assert_eq!(wait_of(&list, &absurd), Some(3600));
        assert_eq!(wait_of(&list, &reply(429, &[("x-ratelimit-reset", "86400")], "")), Some(3600));
    }

    #[test]
    fn only_a_write_answered_by_5xx_is_ambiguous() {
        let ambiguous = |scope, status| trouble(&of(scope), &reply(status, &[], ""), NOW).ambiguous;
        assert!(ambiguous(&CREATES, 502));
        assert!(!ambiguous(&CREATES, 429));
        assert!(!ambiguous(&CREATES, 409));
        assert!(!ambiguous(&CONNECTIONS, 502));
    }

    #[test]
    fn a_github_403_is_a_limit_only_when_it_says_so() {
        let cases: [(Reply, Class, Option<u64>); 8] = [
            (
                reply(
                    403,
                    &[("x-ratelimit-remaining", "41")],
                    r#"{"message":"Resource not accessible by integration"}"#,
                ),
                Class::Auth,
                None,
            ),
            (reply(403, &[("retry-after", "30")], ""), Class::Throttled, Some(30)),
            (
                reply(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000090")], ""),
                Class::Throttled,
                Some(91),
            ),
            (
                reply(429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1600000000")], ""),
                Class::Throttled,
                Some(1),
            ),
            (
                reply(403, &[], r#"{"message":"You have exceeded a secondary rate limit."}"#),
                Class::Throttled,
                Some(60),
            ),
            (reply(429, &[], "slow down"), Class::Throttled, Some(60)),
            // A clock of ours that is an hour wrong changes nothing where GitHub says what time it is.
            (
                reply(
                    403,
                    &[
                        ("x-ratelimit-remaining", "0"),
                        ("x-ratelimit-reset", "1700003690"),
                        ("date", "Tue, 14 Nov 2023 23:13:20 GMT"),
                    ],
                    "",
                ),
                Class::Throttled,
                Some(91),
            ),
            (
                reply(
                    429,
                    &[
                        ("retry-after", "Tue, 14 Nov 2023 23:13:40 GMT"),
                        ("date", "Tue, 14 Nov 2023 23:13:20 GMT"),
                    ],
                    "",
                ),
                Class::Throttled,
                Some(21),
            ),
        ];
        for (reply, class, seconds) in cases {
            let verdict = verdict(&of(&TEAMS), &reply, NOW).unwrap();
            assert_eq!((verdict.class, verdict.wait), (class, seconds.map(Duration::from_secs)), "{reply:?}");
        }
    }

    #[test]
    fn messages_say_what_was_attempted_what_came_back_and_what_to_do() {
        let said = |question: Question<'_>, attempt, reply| {
            trouble(&Question { attempt, ..question }, &reply, NOW).to_string()
        };
        let refused = reply(403, &[], r#"{"errors":[{"title":"Forbidden"}]}"#);
        insta::assert_snapshot!(
            said(of(&CONNECTIONS), "list team connections", refused),
            @"failed to list team connections: Datadog answered 403 Forbidden: Forbidden; check the keys"
        );
        let moved = reply(301, &[("location", "https://ghe.example/api/v3")], "");
        insta::assert_snapshot!(
            said(of(&TEAMS), "read team 7", moved),
            @"failed to read team 7: GitHub answered 301 Moved Permanently to https://ghe.example/api/v3; set its base URL to that"
        );
    }
}
