//! Reads source files as the rules see them: without comments, texts, and tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A source file without comments, texts, and tests.
pub(crate) struct File {
    /// Path below `src`.
    pub(crate) name: String,
    /// The topmost module that the file belongs to.
    pub(crate) room: String,
    pub(crate) code: String,
    /// The number of modules from the crate's root down to this file.
    pub(crate) depth: usize,
}

/// Returns every source file below a folder of the project.
pub(crate) fn sources(folder: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut paths);
    paths.sort();
    paths
}

/// Returns the files of `src`, except those that hold only tests.
pub(crate) fn files() -> Vec<File> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for path in sources("src") {
        let parts: Vec<String> =
            path.strip_prefix(&src).unwrap().iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        let name = parts.join("/");
        let in_tests = parts.iter().any(|part| ["tests", "tests.rs"].contains(&part.as_str()));
        if in_tests {
            continue;
        }
        // A module is one deeper than its directory, except for `mod.rs`.
        let depth = if parts.last().unwrap() == "mod.rs" { parts.len() - 1 } else { parts.len() };
        let room = parts[0].trim_end_matches(".rs").to_owned();
        files.push(File { name, room, code: code_of(&fs::read_to_string(&path).unwrap()), depth });
    }
    assert!(files.len() > 40, "only {} files were found", files.len());
    files
}

/// Returns the code without comments, texts, and tests, line for line.
pub(crate) fn code_of(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut code = String::new();
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if next == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        code.extend(rest[..skip].chars().filter(|c| *c == '\n'));
        rest = &rest[skip..];
    }
    code
}
