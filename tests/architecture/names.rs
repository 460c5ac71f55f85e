//! Finds out which file defines what another file names.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Token, tokens};

/// A path of names as it is written, such as `super::apply::by_key`.
type Path = Vec<String>;

/// The arrows between files: from, to, the names on the arrow, and the line that first uses each name.
pub(crate) type Arrows = BTreeMap<String, BTreeMap<String, BTreeMap<String, usize>>>;

/// The keywords in front of the name of what they define.
const DEFINES: &[&str] = &["fn", "struct", "enum", "trait", "type", "const", "static"];

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    Module(Path),
    Item { file: String, name: String },
}

/// A module: the file that holds it, and the names that have a meaning in it.
#[derive(Default)]
struct Module {
    file: String,
    items: BTreeSet<String>,
    imports: Vec<(String, Path)>,
    globs: Vec<Path>,
}

/// One path of a `use`, and the name that it gives to what the path means.
struct Import {
    name: String,
    path: Path,
    line: usize,
}

/// A path in the code of a module.
struct Mention {
    module: Path,
    path: Path,
    line: usize,
}

#[derive(Default)]
struct Crate {
    modules: BTreeMap<Path, Module>,
    mentions: Vec<Mention>,
}

/// Returns the arrows between files, given as path below `src` and code.
///
/// An arrow leads to the file that defines what is named, however many re-exports lie between. Neither `mod child;` nor
/// `pub use` nor the import of a module is an arrow by itself. An arrow is missed where only a method or a text such as
/// serde's `with = "path"` names something.
pub(crate) fn arrows(files: &[(&str, &str)]) -> Arrows {
    let mut all = Crate::default();
    all.enter(&Path::new(), "lib.rs");
    for (name, code) in files {
        all.read(name, code);
    }
    let mut arrows = Arrows::new();
    for Mention { module, path, line } in &all.mentions {
        let from = &all.modules[module].file;
        for meaning in all.meanings(module, path, &mut Vec::new()) {
            let Meaning::Item { file, name } = meaning else { continue };
            if file != *from {
                let names = arrows.entry(from.clone()).or_default().entry(file).or_default();
                names.entry(name).or_insert(*line);
            }
        }
    }
    arrows
}

/// Returns the path of the module that a file holds.
fn path_of(file: &str) -> Path {
    let path = file.trim_end_matches(".rs").split('/').map(str::to_owned);
    path.filter(|part| !["mod", "lib"].contains(&part.as_str())).collect()
}

impl Crate {
    /// Reads what a file defines, imports, and names.
    fn read(&mut self, file: &str, code: &str) {
        let tokens = tokens(code);
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        let is_word = |at: usize| tokens.get(at).is_some_and(Token::is_word);
        let mut module = path_of(file);
        self.enter(&module, file);
        // How many brackets are open where each of the modules begins that this file writes out.
        let mut inside = Vec::new();
        let (mut open, mut at) = (0_usize, 0);
        while at < tokens.len() {
            let before = at.checked_sub(1).map_or("", text);
            if DEFINES.contains(&text(at)) && open == inside.last().copied().unwrap_or(0) {
                self.enter(&module, file).items.insert(text(at + 1).to_owned());
            }
            let start = at;
            at += 1;
            match text(start) {
                "use" if text(at) != "<" => {
                    let re_exports = ["pub", ")"].contains(&before);
                    let mut imports = Vec::new();
                    read_use(&tokens, &mut at, Vec::new(), &mut imports);
                    self.import(&module, imports, re_exports);
                }
                "mod" if text(at + 1) == "{" => {
                    module.push(text(at).to_owned());
                    self.enter(&module, file);
                    open += 1;
                    inside.push(open);
                    at += 2;
                }
                "fn" | "mod" if is_word(at) => at += 1,
                "(" | "[" | "{" => open += 1,
                ")" | "]" | "}" => {
                    if inside.last() == Some(&open) {
                        inside.pop();
                        module.pop();
                    }
                    open -= 1;
                }
                first if is_word(start) && ![".", "::"].contains(&before) => {
                    let mut path = vec![first.to_owned()];
                    while text(at) == "::" && is_word(at + 1) {
                        path.push(text(at + 1).to_owned());
                        at += 2;
                    }
                    // A lower-case word by itself may be a variable, unless it is called.
                    let alone = path.len() == 1 && first.starts_with(char::is_lowercase);
                    if !alone || ["(", "!"].contains(&text(at)) {
                        self.mentions.push(Mention {
                            module: module.clone(),
                            path,
                            line: tokens[start].line,
                        });
                    }
                }
                _ => {}
            }
        }
    }

    /// Returns a module, which this makes known as one of this file.
    fn enter(&mut self, module: &Path, file: &str) -> &mut Module {
        let entry = self.modules.entry(module.clone()).or_default();
        file.clone_into(&mut entry.file);
        entry
    }

    fn import(&mut self, module: &Path, imports: Vec<Import>, re_exports: bool) {
        for Import { name, mut path, line } in imports {
            let entry = self.modules.get_mut(module).unwrap();
            if path.last().is_some_and(|last| last == "*") {
                path.pop();
                entry.globs.push(path);
                continue;
            }
            entry.imports.push((name, path.clone()));
            if !re_exports {
                self.mentions.push(Mention { module: module.clone(), path, line });
            }
        }
    }

    /// Returns everything that a path means in a module: one name can mean a module and a function at once.
    fn meanings(&self, module: &[String], path: &[String], seen: &mut Vec<(Path, String)>) -> Vec<Meaning> {
        let up = |from: &[String]| Meaning::Module(from[..from.len().saturating_sub(1)].to_vec());
        let mut found = match path[0].as_str() {
            "crate" | "teamlink" => vec![Meaning::Module(Vec::new())],
            "self" => vec![Meaning::Module(module.to_vec())],
            "super" => vec![up(module)],
            name => self.look_up(module, name, seen).unwrap_or_default(),
        };
        for name in &path[1..] {
            if found.iter().any(|meaning| matches!(meaning, Meaning::Module(_))) {
                found.retain(|meaning| matches!(meaning, Meaning::Module(_)));
            }
            let next = found.into_iter().flat_map(|meaning| match (meaning, name.as_str()) {
                (Meaning::Module(module), "self") => vec![Meaning::Module(module)],
                (Meaning::Module(module), "super") => vec![up(&module)],
                (Meaning::Module(module), name) => self.look_up(&module, name, seen).unwrap_or_else(|| {
                    // A macro may define it.
                    let file = self.modules.get(&module).map(|module| module.file.clone());
                    file.into_iter().map(|file| Meaning::Item { file, name: name.to_owned() }).collect()
                }),
                // The file that defines a type defines its variants.
                (item, _) => vec![item],
            });
            found = next.collect();
        }
        found
    }

    /// Returns what a name means in a module, and `None` if the module doesn't know it.
    fn look_up(&self, module: &[String], name: &str, seen: &mut Vec<(Path, String)>) -> Option<Vec<Meaning>> {
        let Module { file, items, imports, globs } = self.modules.get(module)?;
        let mut found = Vec::new();
        let child = [module, &[name.to_owned()]].concat();
        if self.modules.contains_key(&child) {
            found.push(vec![Meaning::Module(child)]);
        }
        if items.contains(name) {
            found.push(vec![Meaning::Item { file: file.clone(), name: name.to_owned() }]);
        }
        // `use retry::retry` leads here again, to find the module in front of the function.
        let key = (module.to_vec(), name.to_owned());
        if !seen.contains(&key) {
            seen.push(key);
            let imports = imports.iter().filter(|(import, _)| import == name);
            found.extend(imports.map(|(_, path)| self.meanings(module, path, seen)));
            if found.is_empty() {
                found.extend(globs.iter().find_map(|glob| self.look_up_in(module, glob, name, seen)));
            }
            seen.pop();
        }
        (!found.is_empty()).then(|| found.concat())
    }

    /// Returns what a name means in the module that `use path::*` opens.
    fn look_up_in(
        &self,
        module: &[String],
        path: &[String],
        name: &str,
        seen: &mut Vec<(Path, String)>,
    ) -> Option<Vec<Meaning>> {
        self.meanings(module, path, seen).iter().find_map(|opened| match opened {
            Meaning::Module(opened) => self.look_up(opened, name, seen),
            Meaning::Item { .. } => None,
        })
    }
}

/// Reads the paths of a `use` that begin with `path`. Stops behind them, at a `,`, `}`, or `;`.
fn read_use(tokens: &[Token], at: &mut usize, mut path: Path, imports: &mut Vec<Import>) {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    while let Some(Token { text, line }) = tokens.get(*at) {
        *at += 1;
        match text.as_str() {
            // The name of another crate follows.
            "::" if path.is_empty() => path.push("::".to_owned()),
            "::" => {}
            "{" => {
                while *at < tokens.len() && !is(*at, "}") {
                    read_use(tokens, at, path.clone(), imports);
                    *at += usize::from(is(*at, ","));
                }
                *at += 1;
                return;
            }
            word => {
                path.push(word.to_owned());
                if is(*at, "::") {
                    continue;
                }
                let mut name = path.iter().rfind(|name| *name != "self").cloned().unwrap_or_default();
                if is(*at, "as") {
                    tokens[*at + 1].text.clone_into(&mut name);
                    *at += 2;
                }
                imports.push(Import { name, path, line: *line });
                return;
            }
        }
    }
}
