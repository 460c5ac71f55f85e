//! Text of unknown origin, made safe to show. Names of teams, handles, ids and bodies come from outside: whoever chose them
//! may want a terminal or a page to obey them. What could be obeyed becomes a visible escape here, in the manner of
//! whatever it is shown in.
//!
//! Pure. It changes what is shown, never what is stored, compared or sent.

use std::{borrow::Cow, fmt::Write as _};

/// Whether a terminal, a browser or a person may take this character for more than a letter: control characters (C0, DEL,
/// C1), line separators, marks of direction, and characters that nobody sees.
pub fn is_live(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line: live characters become escapes, line breaks among them.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_live, |out, c| out.extend(c.escape_default()))
}

/// Text that may have several lines: line breaks and tabs stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_live(c) && !matches!(c, '\n' | '\t'), |out, c| out.extend(c.escape_default()))
}

/// JSON, as it was serialised: its strings get the escapes of JSON, so that a parser finds what was meant.
pub fn json(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |c| is_live(c) && c != '\n',
        |out, c| {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                push(out, format_args!("\\u{unit:04x}"));
            }
        },
    )
}

/// A basic string of TOML.
pub fn toml(text: &str) -> String {
    let live = |c: char| is_live(c) || matches!(c, '"' | '\\');
    let inner = escaped(text, live, |out, c| match c {
        '"' | '\\' => out.extend(['\\', c]),
        c => push(out, format_args!("\\U{:08x}", u32::from(c))),
    });
    format!("\"{inner}\"")
}

/// Code in Markdown, also within the cell of a table: there no character opens anything, and nobody is mentioned. A bar
/// would end the cell before the code is read, so it becomes an escape.
pub fn code(text: &str) -> String {
    let inner = escaped(
        text,
        |c| is_live(c) || c == '|',
        |out, c| match c {
            '|' => push(out, format_args!("\\u{{7c}}")),
            c => out.extend(c.escape_default()),
        },
    );
    if inner.trim().is_empty() {
        return String::new();
    }
    let longest = inner.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if inner.starts_with('`') || inner.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{inner}{space}{fence}")
}

/// The text with the characters that are `live` written otherwise.
fn escaped(text: &str, live: impl Fn(char) -> bool, write: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(&live) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if live(c) { write(&mut out, c) } else { out.push(c) }
    }
    Cow::Owned(out)
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A title, a bell, C1, a mark of direction, a line break and a letter that nobody sees.
    const HOSTILE: &str = "a\u{1b}]0;x\u{7}\u{9b}31m\u{202e}b\r\n\u{e0041}c";

    #[test]
    fn live_characters_become_visible() {
        assert_eq!(line(HOSTILE), r"a\u{1b}]0;x\u{7}\u{9b}31m\u{202e}b\r\n\u{e0041}c");
        assert_eq!(lines("a\tb\n\u{85}"), "a\tb\n\\u{85}");
        assert!(matches!(line("Zoë’s team – 日本 👩‍💻"), Cow::Borrowed(_)));
    }

    #[test]
    fn code_holds_what_would_open_something() {
        assert_eq!(code("a|b"), r"`a\u{7c}b`");
        assert_eq!(code("`x``y"), "``` `x``y ```");
        assert_eq!(code("\n# x"), r"`\n# x`");
        assert_eq!(code(""), "");
    }

    proptest! {
        #[test]
        fn whatever_is_shown_has_no_live_character(text in any::<String>()) {
            prop_assert!(!line(&text).contains(is_live));
            prop_assert!(!code(&text).contains(is_live));
            prop_assert!(!lines(&text).contains(|c| is_live(c) && c != '\n' && c != '\t'));
            let once = line(&text);
            prop_assert_eq!(line(&once), once.clone());
        }

        #[test]
        fn parsers_find_what_was_meant(text in any::<String>()) {
            let shown = serde_json::to_string(&text).unwrap();
            let shown = json(&shown);
            prop_assert!(!shown.contains(is_live));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text.clone());
            let parsed: toml::Table = format!("a = {}", toml(&text)).parse().unwrap();
            prop_assert_eq!(parsed["a"].as_str(), Some(text.as_str()));
        }
    }
}
