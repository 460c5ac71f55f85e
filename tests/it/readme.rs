//! What the README tells people to type exists: commands with their flags, and settings with their defaults.

use std::collections::BTreeMap;

use clap::Parser as _;
use teamlink::{cli::Cli, settings::Settings};

const README: &str = include_str!("../../README.md");

/// The lines between ```` ```sh ```` and the closing fence.
fn shell_lines() -> impl Iterator<Item = &'static str> {
    let mut inside = false;
    README.lines().filter(move |line| {
        let fence = line.starts_with("```");
        if fence {
            inside = *line == "```sh";
        }
        inside && !fence
    })
}

#[test]
fn every_command_of_the_readme_is_understood() {
    let commands: Vec<&str> = shell_lines()
        .filter_map(|line| {
            let command = line.strip_prefix("cargo run --release --").or(line.strip_prefix("teamlink"))?;
            // What follows belongs to the shell.
            command.split(['#', '>', '|', '&']).next()
        })
        .collect();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        let words = std::iter::once("teamlink").chain(command.split_whitespace());
        if let Err(error) = Cli::try_parse_from(words) {
            panic!("README.md has `teamlink{command}`: {error}");
        }
    }
}

#[test]
fn every_setting_of_the_readme_exists_and_has_that_default() {
    let loaded = Settings::load(&[], &BTreeMap::new()).unwrap();
    let defaults: BTreeMap<&str, &str> =
        loaded.effective.iter().map(|it| (it.key.as_str(), it.value.as_str())).collect();
    let table = README.split_once("| setting | default | |").unwrap().1;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        assert_eq!(defaults.get(row[1]), Some(&row[2]), "README.md has `{}`", row[1]);
    }
}
