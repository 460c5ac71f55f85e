//! Sorts what an upstream answered into the five classes, and says it so that a person can act on it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::text;
use crate::model::{Class, Time, Trouble};

/// No wait that an upstream asks for is believed beyond this: both upstreams' longest documented period is an
/// hour, and asking once an hour costs nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

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
        self.headers.get(header)?.to_str().ok()?.trim().parse().ok()
    }
}

/// What a Datadog answer other than the hoped for one amounts to. `attempt` finishes the sentence "failed to …".
/// A `write` answered with 5xx is ambiguous: it may have been done. `needs` is what to check after a refusal.
pub fn datadog(attempt: &str, reply: &Reply, write: bool, needs: &str) -> Trouble {
    let class = class(reply.status);
    // `X-RateLimit-Reset` is a number of seconds from now, not a point in time.
    let retry_after = (class == Class::Throttled)
        .then(|| reply.number("retry-after").or_else(|| reply.number("x-ratelimit-reset")))
        .flatten();
    let advice = match class {
        Class::Auth => format!("; {needs}"),
        _ => String::new(),
    };
    Trouble {
        class,
        status: Some(reply.status.as_u16()),
        retry_after: retry_after.map(wait),
        ambiguous: write && reply.status.is_server_error(),
        message: format!(
            "failed to {attempt}: {}{advice}",
            said("Datadog", reply, text::datadog(&reply.body))
        ),
    }
}

/// What a GitHub answer other than the hoped for one amounts to. A 403 is a rate limit as often as it is a
/// missing permission; only headers and body tell. `now` turns `x-ratelimit-reset`, a point in time, into a wait.
pub fn github(attempt: &str, reply: &Reply, now: Time) -> Trouble {
    let advice =
        "; check the token or the app's installation, and its read access to the organisation's members";
    github_advising(attempt, reply, now, advice)
}

/// The same with other advice for a refused credential.
pub fn github_advising(attempt: &str, reply: &Reply, now: Time, advice: &str) -> Trouble {
    let limit = limited(reply, now);
    let class = if limit.is_some() { Class::Throttled } else { class(reply.status) };
    let advice = if class == Class::Auth { advice } else { "" };
    Trouble {
        class,
        status: Some(reply.status.as_u16()),
        retry_after: limit,
        ambiguous: false,
        message: format!("failed to {attempt}: {}{advice}", said("GitHub", reply, text::github(&reply.body))),
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

fn class(status: StatusCode) -> Class {
    match status.as_u16() {
        401 | 403 => Class::Auth,
        408 | 500..=599 => Class::Transient,
        429 => Class::Throttled,
        _ => Class::Permanent,
    }
}

/// GitHub: a limit is a 403 or a 429; `retry-after` comes first, then `x-ratelimit-reset` once nothing remains,
/// then a minute.
fn limited(reply: &Reply, now: Time) -> Option<Duration> {
    let status = reply.status.as_u16();
    if status != 403 && status != 429 {
        return None;
    }
    if let Some(seconds) = reply.number("retry-after") {
        return Some(wait(seconds));
    }
    if reply.number("x-ratelimit-remaining") == Some(0) {
        let now_seconds = u64::try_from(now.0 / 1_000_000).unwrap_or(0);
        // One second more, since the reset is cut to whole seconds.
        let left =
            reply.number("x-ratelimit-reset").map(|at| at.saturating_sub(now_seconds).saturating_add(1));
        return Some(left.map_or(SECONDARY_WAIT, wait));
    }
    let secondary = String::from_utf8_lossy(&reply.body).to_lowercase().contains("secondary rate limit");
    (status == 429 || secondary).then_some(SECONDARY_WAIT)
}

fn wait(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(LONGEST_WAIT)
}

fn said(who: &str, reply: &Reply, text: String) -> String {
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
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NOW: Time = Time(1_700_000_000_000_000);

    fn reply(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Reply {
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

    #[test]
    fn each_status_has_its_class() {
        for (status, class) in [
            (301, Class::Permanent),
            (400, Class::Permanent),
            (401, Class::Auth),
            (403, Class::Auth),
            (404, Class::Permanent),
            (408, Class::Transient),
            (409, Class::Permanent),
            (429, Class::Throttled),
            (500, Class::Transient),
            (503, Class::Transient),
        ] {
            assert_eq!(
                datadog("look", &reply(status, &[], ""), false, "check").class,
                class,
                "Datadog {status}"
            );
            assert_eq!(github("look", &reply(status, &[], ""), NOW).class, class, "GitHub {status}");
        }
    }

    #[test]
    fn datadog_waits_for_the_reset_which_is_a_number_of_seconds() {
        let limited =
            reply(429, &[("x-ratelimit-reset", "7"), ("x-ratelimit-remaining", "0")], r#"{"data":[]}"#);
        let trouble = datadog("list teams", &limited, false, "check");
        assert_eq!(trouble.retry_after, Some(Duration::from_secs(7)));
        let first = reply(429, &[("x-ratelimit-reset", "7"), ("retry-after", "3")], "");
        assert_eq!(datadog("list teams", &first, false, "check").retry_after, Some(Duration::from_secs(3)));
        // These headers come with every answer; elsewhere they ask for nothing.
        let refused = reply(403, &[("x-ratelimit-reset", "7")], "");
        assert_eq!(datadog("list teams", &refused, false, "check").retry_after, None);
        let absurd = reply(429, &[("x-ratelimit-reset", "18446744073709551615")], "");
        assert_eq!(datadog("list teams", &absurd, false, "check").retry_after, Some(LONGEST_WAIT));
    }

    #[test]
    fn only_a_write_answered_by_5xx_is_ambiguous() {
        assert!(datadog("create", &reply(502, &[], ""), true, "check").ambiguous);
        assert!(!datadog("create", &reply(429, &[], ""), true, "check").ambiguous);
        assert!(!datadog("create", &reply(409, &[], ""), true, "check").ambiguous);
        assert!(!datadog("list", &reply(502, &[], ""), false, "check").ambiguous);
    }

    #[test]
    fn a_github_403_is_a_limit_only_when_it_says_so() {
        let cases: [(Reply, Class, Option<u64>); 6] = [
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
        ];
        for (reply, class, seconds) in cases {
            let trouble = github("list teams", &reply, NOW);
            assert_eq!(
                (trouble.class, trouble.retry_after),
                (class, seconds.map(Duration::from_secs)),
                "{reply:?}"
            );
        }
    }

    #[test]
    fn messages_say_what_was_attempted_what_came_back_and_what_to_do() {
        let refused = reply(403, &[], r#"{"errors":[{"title":"Forbidden"}]}"#);
        insta::assert_snapshot!(
            datadog("list team connections", &refused, false, "check the keys"),
            @"failed to list team connections: Datadog answered 403 Forbidden: Forbidden; check the keys"
        );
        let moved = reply(301, &[("location", "https://ghe.example/api/v3")], "");
        insta::assert_snapshot!(
            github("read team 7", &moved, NOW),
            @"failed to read team 7: GitHub answered 301 Moved Permanently to https://ghe.example/api/v3; set its base URL to that"
        );
    }
}
