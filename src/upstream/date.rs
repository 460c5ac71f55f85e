//! Dates as HTTP writes them.

use crate::model::Time;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that servers may send.
pub(super) fn parse(text: &str) -> Option<Time> {
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = parts.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    let at = humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()?;
    Some(Time::from(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_and_anything_else_is_none() {
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Time(784_111_777_000_000)));
        for text in ["", "7", "Sun, 06 Nov 1994 08:49:37", "Sun, 6 Noon 1994 08:49:37 GMT", "a b c d e GMT"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
