//! What a line of the log quotes from outside becomes harmless here: as text field by field, as JSON the whole line. It may
//! not change what is logged, nor when.

use std::{
    fmt,
    io::{self, Write},
};

use anstyle::Style;
use tracing::field::Field;
use tracing_subscriber::{
    field::MakeExt as _,
    fmt::{
        FormatFields,
        format::{self, Writer},
    },
};

use crate::printable;

/// Fields as text, in the formatter's own style.
pub(super) fn fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    format::debug_fn(|to: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let value = format!("{value:?}");
        let value = printable::line(&value);
        if field.name() == "message" {
            return write!(to, "{value}");
        }
        let styled = |style: Style| if to.has_ansi_escapes() { style } else { Style::new() };
        let (name, equals) = (styled(Style::new().italic()), styled(Style::new().dimmed()));
        write!(to, "{name}{}{name:#}{equals}={equals:#}{value}", field.name())
    })
    .delimited(" ")
}

/// Where lines of JSON go. The formatter hands over one at a time, whole.
pub(super) struct Json<W>(pub(super) W);

impl<W: Write> Write for Json<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.0.write_all(printable::json(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal title, C1, a mark of direction and a line that looks like one of ours.
    const HOSTILE: &str = "a\u{1b}]0;x\u{7}\u{9b}31m\u{202e}b\n2026-01-01T00:00:00Z ERROR forged";

    #[derive(Clone, Default)]
    struct Buffer(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, event: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(event)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Buffer {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn logged(subscriber: impl tracing::Subscriber + Send + Sync + 'static, buffer: &Buffer) -> String {
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("look", login = HOSTILE).entered();
            tracing::warn!(display = %HOSTILE, debug = ?HOSTILE, field = HOSTILE, "{HOSTILE}");
            drop(span);
        });
        buffer.text()
    }

    #[test]
    fn a_log_line_is_one_line_and_commands_no_terminal() {
        for colour in [false, true] {
            let buffer = Buffer::default();
            let to = buffer.clone();
            let text = tracing_subscriber::fmt().with_ansi(colour).fmt_fields(fields());
            let text = logged(text.with_writer(move || to.clone()).finish(), &buffer);
            assert_eq!(text.lines().count(), 1, "{text}");
            assert_eq!(text.contains("\u{1b}[3mdisplay"), colour, "{text:?}");
            let commands = text.split('\u{1b}').skip(1);
            assert!(commands.clone().all(|it| it.starts_with('[') && it.contains('m')), "{text:?}");
            assert!(!text.trim_end().replace('\u{1b}', "").contains(printable::is_live), "{text:?}");
            assert!(!text.contains("\u{1b}]"), "{text:?}");
        }
        let buffer = Buffer::default();
        let to = buffer.clone();
        let json = tracing_subscriber::fmt().json().with_writer(move || Json(to.clone())).finish();
        let json = logged(json, &buffer);
        assert!(!json.trim_end().contains(printable::is_live), "{json:?}");
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed["fields"]["field"], HOSTILE);
    }
}
