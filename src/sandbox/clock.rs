//! The sandbox's clock: microseconds since the unix epoch that never go backwards, and how the two APIs and
//! HTTP print them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds in a day.
const DAY_US: u64 = 86_400_000_000;

/// Microseconds since the unix epoch.
pub(crate) struct Clock(Box<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// Wall time at the start, so many seconds ahead of this machine's, advanced by the monotonic clock.
    pub(crate) fn start(ahead_s: i64) -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch_us = (epoch.as_micros() as u64).saturating_add_signed(ahead_s.saturating_mul(1_000_000));
        let started = Instant::now();
        Self(Box::new(move || epoch_us + started.elapsed().as_micros() as u64))
    }

    /// The time that `now` says.
    pub(crate) fn told(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Box::new(now))
    }

    pub(crate) fn now(&self) -> u64 {
        (self.0)()
    }
}

/// `2026-03-27T09:28:24`, in UTC; each API adds its own end.
fn seconds(at_us: u64) -> String {
    let ((year, month, mday), second) = (date(at_us), at_us / 1_000_000 % 86_400);
    format!("{year:04}-{month:02}-{mday:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// The year, the month and the day, in UTC.
fn date(at_us: u64) -> (i64, i64, i64) {
    let day = (at_us / DAY_US) as i64;
    // Howard Hinnant's civil_from_days, for days after 1970.
    let z = day + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (month, mday) = (if mp < 10 { mp + 3 } else { mp - 9 }, doy - (153 * mp + 2) / 5 + 1);
    (yoe + era * 400 + i64::from(month <= 2), month, mday)
}

/// As HTTP prints times: `Fri, 27 Mar 2026 09:28:24 GMT`.
pub(crate) fn http_time(at_us: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let ((year, month, mday), second) = (date(at_us), at_us / 1_000_000 % 86_400);
    let (day, month) = (DAYS[(at_us / DAY_US % 7) as usize], MONTHS[(month - 1) as usize]);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{day}, {mday:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// As GitHub prints times: `2026-03-27T09:28:24Z`.
pub(crate) fn github_time(at_us: u64) -> String {
    seconds(at_us) + "Z"
}

/// As Datadog prints times: `2026-03-27T09:28:24.862516+00:00`.
pub(crate) fn datadog_time(at_us: u64) -> String {
    format!("{}.{:06}+00:00", seconds(at_us), at_us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_times_as_the_two_apis_do() {
        assert_eq!(github_time(1_774_603_704_862_516), "2026-03-27T09:28:24Z");
        assert_eq!(datadog_time(1_774_603_704_862_516), "2026-03-27T09:28:24.862516+00:00");
        assert_eq!(http_time(1_774_603_704_862_516), "Fri, 27 Mar 2026 09:28:24 GMT");
        assert_eq!(http_time(784_111_777_000_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(github_time(951_782_400_000_000), "2000-02-29T00:00:00Z");
        assert_eq!(github_time(1_735_689_599_000_000), "2024-12-31T23:59:59Z");
    }
}
