//! How the demo speaks: short paragraphs, a mark for each finding, a table at the end. It can be read without
//! colour; colour goes to terminals only.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table, presets};

use super::{
    judge::{Finding, seconds},
    stage::Counts,
};
use crate::cli::output::bold;
use crate::cli::output::styled;
use crate::cli::print::{Block, Painted, out};

/// Columns of a line at most.
const WIDTH: usize = 90;

/// What stands before each line of a paragraph: as wide as the time of day and a gap.
const INDENT: &str = "       ";

/// One line of the table.
pub(super) struct Row {
    /// The time of day and the title.
    pub(super) step: String,
    /// What the step cost.
    pub(super) counts: Counts,
    /// When Datadog was right, if it was ever seen otherwise.
    pub(super) right_after: Option<Duration>,
    /// Everything was as expected.
    pub(super) good: bool,
}

/// What this is.
pub(super) fn opening(teams: usize) {
    out!("{}\n", bold(format!("A day at acme, an organisation of {teams} teams")));
    paragraph(
        "",
        "A sandbox that speaks the HTTP APIs of GitHub and Datadog, the webhook receiver, the ledger and the \
         worker run in this one process, on free local ports. Nothing outside is touched, and nothing is left behind.",
    );
}

/// What happened in GitHub, and what must follow.
pub(super) fn step(clock: &str, title: &str, happened: &str, must: &str) {
    out!("\n{}  {}", Painted(Style::new().dimmed(), clock), bold(title));
    paragraph(INDENT, happened);
    paragraph("     → ", must);
}

/// What was found.
pub(super) fn findings(findings: &[Finding]) {
    for Finding { good, text } in findings {
        let mark = if *good { styled("✓", AnsiColor::Green) } else { styled("✗", AnsiColor::Red) };
        let lines = Block::new(fill(text, WIDTH - INDENT.len()).join(&format!("\n{INDENT}")));
        out!("     {} {}", mark, lines);
    }
}

/// The table, and the last words.
pub(super) fn closing(rows: &[Row], took: Duration) {
    let mut table = Table::new();
    let header = ["STEP", "EVENTS", "REPEATED", "LOOKS", "GITHUB", "DATADOG", "RIGHT AFTER", ""];
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    let cells = |step: &str, counts: Counts, right: String, mark: &str| {
        let Counts { deliveries, repeated, looks, github, datadog } = counts;
        let numbers = [deliveries, repeated, looks, github, datadog].map(|number| number.to_string());
        [&[step.to_owned()], numbers.as_slice(), &[right, mark.to_owned()]].concat()
    };
    let mut sum = Counts::default();
    for Row { step, counts, right_after, good } in rows {
        let right = right_after.map_or_else(|| "always".to_owned(), seconds);
        table.add_row(cells(step, *counts, right, if *good { "✓" } else { "✗" }));
        sum = sum.plus(*counts);
    }
    let worst = rows.iter().filter_map(|row| row.right_after).max().unwrap_or_default();
    table.add_row(cells("all, and the worst", sum, seconds(worst), ""));
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if (1..=6).contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    out!("\n{}\n", Block::new(table.trim_fmt()));
    paragraph(
        "",
        "EVENTS: deliveries that teamlink took; REPEATED: those among them whose id it knew. LOOKS: at single teams, \
         among them the later ones that guard against a GitHub that lags behind its own webhooks. GITHUB, DATADOG: \
         requests. RIGHT AFTER: from the last change, or the end of the trouble, until Datadog was right for good.",
    );
    let bad = rows.iter().filter(|row| !row.good).count();
    if bad == 0 {
        let all = format!("All {} steps ended as expected", rows.len());
        out!("\n{}, in {}.", styled(&all, AnsiColor::Green), seconds(took));
        out!("Next: your own organisation, step by step, in README.md. `teamlink plan` only looks.");
    } else {
        let failed = styled("Not as expected", AnsiColor::Red);
        out!("\n{}: the step marked ✗; the day was ended there, after {}.", failed, seconds(took));
    }
}

fn paragraph(first: &str, text: &str) {
    let width = first.chars().count();
    let rest = " ".repeat(width);
    for (at, line) in fill(text, WIDTH - width).iter().enumerate() {
        out!("{}{}", if at == 0 { first } else { &rest }, line);
    }
}

/// Breaks a text into lines of at most this many columns; a longer word has a line of its own.
fn fill(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filled_and_no_word_is_lost() {
        assert_eq!(
            fill("one two  three extraordinarily ✓ ✗", 7),
            ["one two", "three", "extraordinarily", "✓ ✗"]
        );
    }
}
