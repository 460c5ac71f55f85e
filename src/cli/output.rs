//! How results and errors are shown: tables that line up, JSON, and errors with a hint. Styles are written
//! through `anstream`, which drops them where stdout or stderr is no terminal.

use std::{
    borrow::Cow,
    error::Error,
    fmt,
    io::{self, BufRead as _, IsTerminal as _},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use anyhow::ensure;
use comfy_table::{Table, presets};
use indicatif::ProgressBar;
use serde::Serialize;

use super::print::{self, Block, Painted, Safe, Shown, err, out};
use crate::{printable, settings::Problem};

/// The forms in which data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For scripts
    Json,
}

/// A table without lines, whose columns line up.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Block {
    let rows = rows.into_iter().map(|row| row.iter().map(Shown::shown).collect::<Vec<_>>());
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec()).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    Block::new(table.trim_fmt())
}

/// Prints a value as JSON on stdout.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    out!("{}", Block::new(printable::json(&text)));
    Ok(())
}

/// An error that comes with what to do about it.
#[derive(Debug)]
pub struct Hinted {
    /// What went wrong.
    pub error: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl Error for Hinted {}

/// Prints an error with its causes on stderr, and a hint when one of them brings one.
pub fn print_error(error: &anyhow::Error) {
    err!("{}: {}", styled("error", AnsiColor::Red), Block::indented(&format!("{error:#}")));
    let hint = error.chain().find_map(|cause| {
        let hinted = cause.downcast_ref::<Hinted>().map(|hinted| &hinted.hint);
        hinted.or_else(|| cause.downcast_ref::<Problem>().map(|problem| &problem.remedy))
    });
    if let Some(hint) = hint {
        err!("{}: {}", styled("hint", AnsiColor::Cyan), hint);
    }
}

/// A word in bold and in a colour.
pub(super) fn styled(word: &str, color: AnsiColor) -> Painted<&str> {
    Painted(Style::new().bold().fg_color(Some(color.into())), word)
}

/// Something in bold.
pub(super) fn bold<T>(what: T) -> Painted<T> {
    Painted(Style::new().bold(), what)
}

/// Asks on the terminal; elsewhere nobody can answer, and `--yes` must have been given.
///
/// # Errors
/// When nobody can be asked, or the answer is no.
pub fn confirm(yes: bool, what: &str) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        let hint = format!("give --yes to {what}");
        return Err(Hinted { error: "stdin is no terminal, so nobody can confirm".to_owned(), hint }.into());
    }
    print::stderr(format_args!("{}? [y/N] ", Safe(what)));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    ensure!(matches!(answer.trim(), "y" | "Y" | "yes"), "not confirmed; nothing was changed");
    Ok(())
}

/// Shows on stderr that a command waits for something; only on a terminal.
pub fn spinner(what: impl Into<Cow<'static, str>>) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
