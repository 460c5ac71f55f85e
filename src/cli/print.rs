//! The one way out of a command: whatever is printed comes from here, and whatever was put into it is escaped by
//! `printable`. The macros take no names from around them, so that no value passes by. Nothing here may decide what is
//! said.

use std::fmt;

use anstyle::Style;

use crate::printable;

/// Prints a line on stdout; each value in it becomes one that a terminal cannot obey.
macro_rules! out {
    () => { $crate::cli::print::stdout(format_args!("\n")) };
    ($format:literal $(, $value:expr)* $(,)?) => {
        $crate::cli::print::stdout(format_args!(concat!($format, "\n") $(, $crate::cli::print::Safe(&$value))*))
    };
}

/// Prints a line on stderr, in the same way.
macro_rules! err {
    ($format:literal $(, $value:expr)* $(,)?) => {
        $crate::cli::print::stderr(format_args!(concat!($format, "\n") $(, $crate::cli::print::Safe(&$value))*))
    };
}

pub(super) use {err, out};

/// What may be put into a line.
pub(super) trait Shown {
    /// How it is shown: with nothing in it that a terminal could obey, but for styles of ours.
    fn shown(&self) -> String;
}

impl<T: fmt::Display + ?Sized> Shown for T {
    fn shown(&self) -> String {
        printable::line(&self.to_string()).into_owned()
    }
}

/// Something in a style.
pub(super) struct Painted<T>(pub(super) Style, pub(super) T);

impl<T: Shown> Shown for Painted<T> {
    fn shown(&self) -> String {
        let Self(style, inner) = self;
        format!("{style}{}{style:#}", inner.shown())
    }
}

/// Text of several lines, whose line breaks are ours.
pub(super) struct Block(String);

impl Block {
    /// Takes text whose line breaks are meant.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Takes text that something outside may have broken into lines: each but the first is indented, so that none looks
    /// like a line of ours.
    pub(super) fn indented(text: &str) -> Self {
        let lines = text.split('\n').enumerate();
        let lines = lines.map(|(at, line)| {
            let gap = if at == 0 || line.is_empty() || line.starts_with("  ") { "" } else { "  " };
            format!("{gap}{line}")
        });
        Self(lines.collect::<Vec<_>>().join("\n"))
    }

    /// Its lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }
}

impl Shown for Block {
    fn shown(&self) -> String {
        printable::lines(&self.0).into_owned()
    }
}

/// A value of a line, as the macros wrap it.
pub(super) struct Safe<'a, T: ?Sized>(pub(super) &'a T);

impl<T: Shown + ?Sized> fmt::Display for Safe<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.shown())
    }
}

/// Prints text on stdout as it is, but for what a terminal could obey.
pub(super) fn raw(text: &Block) {
    stdout(format_args!("{}", Safe(text)));
}

/// Writes to stdout; styles are dropped where it is no terminal.
#[expect(clippy::disallowed_macros, reason = "the one place that writes to stdout")]
pub(super) fn stdout(text: fmt::Arguments<'_>) {
    anstream::print!("{text}");
}

/// Writes to stderr, in the same way.
#[expect(clippy::disallowed_macros, reason = "the one place that writes to stderr")]
pub(super) fn stderr(text: fmt::Arguments<'_>) {
    anstream::eprint!("{text}");
}
