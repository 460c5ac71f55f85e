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
    pub(crate) module: String,
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
        let module = parts[0].trim_end_matches(".rs").to_owned();
        files.push(File { name, module, code: code_of(&fs::read_to_string(&path).unwrap()), depth });
    }
    assert!(files.len() > 40, "only {} files were found", files.len());
    files
}

/// Returns the code without comments, texts, and tests, line for line.
pub(crate) fn code_of(source: &str) -> String {
    without_tests(&without_texts(source))
}

/// Removes comments, texts, and characters in quotes, and keeps the line breaks in them.
fn without_texts(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let in_word = code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = (!in_word).then(|| text(rest)).flatten() {
            length
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

/// Returns the length of the comment that `code` starts with. Such comments nest.
fn block_comment(code: &str) -> usize {
    let (mut nesting, mut at) = (0_usize, 0);
    while at < code.len() {
        if code[at..].starts_with("/*") {
            (nesting, at) = (nesting + 1, at + 2);
        } else if code[at..].starts_with("*/") {
            (nesting, at) = (nesting - 1, at + 2);
        } else {
            at += code[at..].chars().next().map_or(1, char::len_utf8);
        }
        if nesting == 0 {
            return at;
        }
    }
    code.len()
}

/// Returns the length of the text or character that `code` starts with. A lifetime is neither.
fn text(code: &str) -> Option<usize> {
    let open = code.trim_start_matches(['b', 'c']);
    if let Some(raw) = open.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let start = code.len() - raw.len() + hashes + 1;
        let end = format!("\"{}", &raw[..hashes]);
        return raw[hashes..]
            .starts_with('"')
            .then(|| code[start..].find(&end).map_or(code.len(), |at| start + at + end.len()));
    }
    let quote = open.chars().next().filter(|c| *c == '"' || *c == '\'')?;
    let start = code.len() - open.len() + 1;
    if quote == '\'' {
        let mut inside = open[1..].chars();
        if inside.next()? != '\\' && inside.next()? != '\'' {
            return None;
        }
    }
    let mut escaped = false;
    let end = code[start..].find(|c| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(end.map_or(code.len(), |end| start + end + 1))
}

/// Removes each item under `#[cfg(test)]`, and keeps the line breaks in it.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        let item = &rest[at + MARK.len()..];
        let length = item_length(item);
        kept.extend(item[..length].chars().filter(|c| *c == '\n'));
        rest = &item[length..];
    }
    kept + rest
}

/// Returns where the item ends that `code` starts with: at its `;`, or at the brace that closes it.
fn item_length(code: &str) -> usize {
    let mut nesting = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => nesting += 1,
            ')' | ']' | '}' if nesting == 0 => return at,
            ')' | ']' | '}' => nesting -= 1,
            _ => {}
        }
        if nesting == 0 && (c == ';' || c == '}') {
            return at + 1;
        }
    }
    code.len()
}

/// A word, a lifetime, `::`, `..`, or one other character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Token {
    /// Returns whether this is a name or a keyword.
    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Splits code into tokens.
pub(crate) fn tokens(code: &str) -> Vec<Token> {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (code, 1);
    while let Some(next) = rest.chars().next() {
        let length = if in_word(next) {
            rest.find(|c| !in_word(c)).unwrap_or(rest.len())
        } else if next == '\'' {
            1 + rest[1..].find(|c| !in_word(c)).unwrap_or(rest.len() - 1)
        } else if rest.starts_with("::") || rest.starts_with("..") {
            2
        } else {
            next.len_utf8()
        };
        if next == '\n' {
            line += 1;
        } else if !next.is_whitespace() {
            tokens.push(Token { text: rest[..length].to_owned(), line });
        }
        rest = &rest[length..];
    }
    tokens
}
