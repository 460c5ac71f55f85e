//! What an error body says, in one short line that is safe to log, to store and to print.

use serde_json::Value;

/// Longest text taken from an upstream's body, in characters.
const SNIPPET: usize = 300;

/// One line without control characters (`\0` included, which PostgreSQL cannot store), runs of white space made
/// one space, cut at 300 characters.
pub fn sanitise(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let line = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SNIPPET) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// The text of a Datadog error: `{"errors": […]}` with strings (as the contract says) or JSON:API objects (as
/// the server sends); whatever else the body is, its beginning.
pub(super) fn datadog(body: &[u8]) -> String {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    let errors = document.as_ref().and_then(|d| d.get("errors")).and_then(Value::as_array);
    let said: Vec<String> = errors
        .into_iter()
        .flatten()
        .filter_map(|error| match error {
            Value::String(text) => Some(text.clone()),
            Value::Object(_) => {
                ["detail", "title"].iter().find_map(|key| Some(error.get(key)?.as_str()?.to_owned()))
            }
            _ => None,
        })
        .collect();
    if said.is_empty() { sanitise(&String::from_utf8_lossy(body)) } else { sanitise(&said.join("; ")) }
}

/// Whether this is a Datadog error as the contract has it.
pub(super) fn is_datadog_error(body: &[u8]) -> bool {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    document.is_some_and(|document| document.get("errors").is_some_and(Value::is_array))
}

/// The text of a GitHub error: `{"message": …}`; whatever else the body is, its beginning.
pub(super) fn github(body: &[u8]) -> String {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    match document.as_ref().and_then(|d| d.get("message")).and_then(Value::as_str) {
        Some(message) => sanitise(message),
        None => sanitise(&String::from_utf8_lossy(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_datadog_error_shapes_are_read() {
        let strings = br#"{"errors":["Team name and handle must be unique"]}"#;
        assert_eq!(datadog(strings), "Team name and handle must be unique");
        let objects = br#"{"errors":[{"status":"409","title":"Conflict","detail":"failed to add team connections: one or more team attributes already exist"},{"title":"Forbidden"}]}"#;
        assert_eq!(
            datadog(objects),
            "failed to add team connections: one or more team attributes already exist; Forbidden"
        );
    }

    #[test]
    fn a_body_that_is_no_error_document_is_shown_by_its_beginning() {
        assert_eq!(datadog(b"<html>\n  <b>502</b>\n</html>"), "<html> <b>502</b> </html>");
        assert_eq!(datadog(br#"{"data":[]}"#), r#"{"data":[]}"#);
        assert_eq!(datadog(br#"{"errors":[{"status":"400"}, 7]}"#), r#"{"errors":[{"status":"400"}, 7]}"#);
        assert_eq!(datadog(b""), "");
        assert_eq!(github(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_snippet_holds_no_control_characters_and_is_cut_between_characters() {
        assert_eq!(sanitise("a\0b\r\n\u{1b}[31mc"), "a b [31mc");
        let long = sanitise(&"ü".repeat(400));
        assert_eq!(long.chars().count(), 301);
        assert!(long.ends_with('…'));
    }
}
