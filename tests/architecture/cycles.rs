//! Forbids cycles between files of different modules. Files of one module may name each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    names::{Arrows, arrows},
    source::{code_of, files},
};

/// The arrows that are part of a cycle.
#[derive(Clone)]
struct Cycles {
    arrows: Arrows,
    /// How many files name an item, by the file that defines it and its name. These need not be part of a cycle.
    uses: BTreeMap<(String, String), usize>,
    /// The module of each file.
    modules: BTreeMap<String, String>,
}

/// Returns the module that a file belongs to: its folder. A `foo.rs` next to the folder `foo` belongs to `foo`, and a
/// file of the topmost folder is a module of its own.
fn module_of(file: &str, folders: &BTreeSet<&str>) -> String {
    let own = file.trim_end_matches(".rs");
    let folder = folder_of(file).filter(|_| !folders.contains(own));
    folder.unwrap_or(own).to_owned()
}

fn folder_of(file: &str) -> Option<&str> {
    Some(file.rsplit_once('/')?.0)
}

impl Cycles {
    /// Finds the cycles between files, given as path below `src` and code.
    fn of(files: &[(&str, &str)]) -> Self {
        let folders: BTreeSet<&str> = files.iter().filter_map(|(name, _)| folder_of(name)).collect();
        let modules = files.iter().map(|(name, _)| ((*name).to_owned(), module_of(name, &folders))).collect();
        let arrows = arrows(files);
        let mut uses = BTreeMap::new();
        for (file, names) in arrows.values().flatten() {
            for name in names.keys() {
                *uses.entry((file.clone(), name.clone())).or_default() += 1;
            }
        }
        let mut cycles = Self { arrows, uses, modules };
        cycles.keep_cycles();
        cycles
    }

    /// Removes the arrows that are not part of a cycle.
    fn keep_cycles(&mut self) {
        self.arrows.values_mut().for_each(|targets| targets.retain(|_, names| !names.is_empty()));
        let reached: BTreeMap<_, _> =
            self.arrows.keys().map(|from| (from.clone(), self.reached(from))).collect();
        for (from, targets) in &mut self.arrows {
            targets.retain(|to, _| reached.get(to).is_some_and(|all| all.contains(from)));
        }
    }

    /// Returns all files to which arrows lead from a file.
    fn reached(&self, from: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut ends = vec![from];
        while let Some(end) = ends.pop() {
            for to in self.arrows.get(end).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(to.clone()) {
                    ends.push(to);
                }
            }
        }
        reached
    }

    fn crosses(&self, from: &str, to: &str) -> bool {
        self.modules[from] != self.modules[to]
    }

    /// Returns how many names the files in cycles use of other modules.
    fn names_across(&self) -> usize {
        let arrows =
            self.arrows.iter().flat_map(|(from, to)| to.iter().map(move |(to, names)| (from, to, names)));
        arrows.filter(|(from, to, _)| self.crosses(from, to)).map(|(.., names)| names.len()).sum()
    }

    /// Returns the cycles that remain when no file names this item any more.
    fn without(&self, file: &str, name: &str) -> Self {
        let mut rest = self.clone();
        for names in rest.arrows.values_mut().filter_map(|targets| targets.get_mut(file)) {
            names.remove(name);
        }
        rest.keep_cycles();
        rest
    }

    /// Returns the files that name an item, each with its line.
    fn namers(&self, file: &str, name: &str) -> Vec<(&str, usize)> {
        let lines =
            self.arrows.iter().filter_map(|(from, to)| Some((from.as_str(), *to.get(file)?.get(name)?)));
        lines.collect()
    }

    /// Returns the shortest way from the end of an arrow back to its start, among those that touch several modules.
    fn way_back<'a>(&'a self, from: &str, to: &'a str) -> Option<Vec<&'a str>> {
        let mut ways = VecDeque::from([(vec![to], self.crosses(from, to))]);
        let mut seen = BTreeSet::new();
        while let Some((way, crosses)) = ways.pop_front() {
            let end = way[way.len() - 1];
            if end == from && crosses {
                return Some(way);
            }
            for next in self.arrows.get(end).into_iter().flat_map(BTreeMap::keys) {
                let crosses = crosses || self.crosses(end, next);
                if seen.insert((next, crosses)) {
                    ways.push_back(([way.as_slice(), &[next]].concat(), crosses));
                }
            }
        }
        None
    }

    /// Tells what to move, so that no cycle between modules remains.
    fn cuts(mut self) -> Vec<String> {
        let mut cuts = Vec::new();
        while self.names_across() > 0 {
            let items = self
                .arrows
                .values()
                .flatten()
                .flat_map(|(to, names)| names.keys().map(move |name| (to, name)));
            let items: BTreeSet<(&String, &String)> = items.collect();
            // The item that leaves the least to do, and among those the one that the fewest files name.
            let best = items.into_iter().min_by_key(|(file, name)| {
                let uses = self.uses[&((*file).clone(), (*name).clone())];
                (self.without(file, name).names_across(), uses)
            });
            let (file, name) = best.unwrap();
            cuts.push(self.cut(file, name));
            self = self.without(file, name);
        }
        cuts
    }

    /// Tells what to move to cut this item off, and the shortest cycle that it closes.
    fn cut(&self, file: &str, name: &str) -> String {
        let namers = self.namers(file, name);
        let ways = namers.iter().filter_map(|(from, line)| Some((from, line, self.way_back(from, file)?)));
        let (from, line, way) = ways.min_by_key(|(.., way)| way.len()).unwrap();
        let mut told = format!("src/{from}:{line} names `{name}` of src/{file}");
        for step in way.windows(2) {
            let names = &self.arrows[step[0]][step[1]];
            let line = names.values().min().unwrap();
            let names: Vec<String> = names.keys().map(|name| format!("`{name}`")).collect();
            told += &format!("\n  src/{}:{line} names {} of src/{}", step[0], names.join(", "), step[1]);
        }
        told += &format!(
            "\n  -> cut the first arrow; for instance, move `{name}` to a file that names none of these"
        );
        if namers.len() > 1 {
            told += &format!(" ({} files name it)", namers.len());
        }
        told
    }
}

#[test]
fn no_cycle_joins_files_of_different_modules() {
    let files = files();
    let files: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.code.as_str())).collect();
    let cuts = Cycles::of(&files).cuts();
    assert!(cuts.is_empty(), "\nfiles of different modules name each other:\n{}\n", cuts.join("\n"));
}

/// Returns the cuts among files, given as path below `src` and source.
fn cuts(files: &[(&str, &str)]) -> Vec<String> {
    let code: Vec<_> = files.iter().map(|(name, source)| (*name, code_of(source))).collect();
    let code: Vec<_> = code.iter().map(|(name, code)| (*name, code.as_str())).collect();
    Cycles::of(&code).cuts()
}

#[test]
fn a_cycle_is_caught_however_its_arrows_are_written() {
    // In each of these, a/x.rs names `Y` of b/y.rs, which names `X` of a/x.rs.
    for x in [
        "use crate::b::y::Y;",
        "use crate::b::Y;",
        "use crate::b::{self, Y};",
        "use crate::{\n    a::Other,\n    b::{y::{self, Y as Z}, Other as O},\n};",
        "use super::super::b::Y;",
        "use super::y::Y;",
        "use super::Renamed;",
        "use super::*;\nfn f(y: Renamed) {}",
        "use crate::b;\nfn f(y: &b::Y) {}",
        "use crate::b as c;\nfn f() -> c::y::Y { c::Y::new() }",
        "fn f() { crate::b::Y::new(); }",
        "fn f() -> Option<super::super::b::Y> { None }",
        "fn f() { let y = self::super::y::Y { ..Default::default() }; }",
        "fn f() { g(0..crate::b::Y) }",
        "fn f() { use crate::b::Y; }",
        "mod inside { use super::super::super::b::Y; }",
        "mod inside { fn f(y: super::inside::super::super::Renamed) {} }",
        "#[cfg(test)]\nmod tests;\nuse crate::b::Y;",
        "pub use crate::b::Y;\nfn f(y: Y) {}",
        "#[derive(crate::b::Y)] struct S;",
    ] {
        let x = format!("{x}\npub struct X;\n");
        for (b, y) in [
            ("mod y; pub use y::Y;", "pub struct Y;"),
            ("pub mod y; pub use self::y::*;", "pub enum Y { One }"),
            ("pub(crate) mod y; pub(crate) use {y::Y};", "id! { Y }"),
            ("mod y; pub use y::{Inner as Y};", "pub type Inner = u8; pub type Y = Inner;"),
        ] {
            let files = [
                ("lib.rs", "pub mod a; pub mod b;"),
                ("a/mod.rs", "mod x; mod y { pub use crate::b::Y; } use y::Y as Renamed; pub use x::X;"),
                ("a/x.rs", &x),
                ("b/mod.rs", b),
                ("b/y.rs", &format!("use crate::a::X; {y}")),
            ];
            let cuts = cuts(&files);
            assert_eq!(cuts.len(), 1, "{files:#?}: {cuts:#?}");
            assert!(cuts[0].contains("src/a/x.rs") && cuts[0].contains("src/b/y.rs"), "{cuts:#?}");
        }
    }
}

#[test]
fn a_cycle_is_caught_between_a_folder_and_what_lies_above_it_or_next_to_it() {
    let folder = ("a/mod.rs", "mod sub; pub struct T; fn f() { sub::g() }");
    let caught = [
        vec![folder, ("a/sub/mod.rs", "use super::T; pub fn g() {}")],
        vec![
            folder,
            ("a/sub/mod.rs", "mod x; pub use x::g;"),
            ("a/sub/x.rs", "use crate::a::T; pub fn g() {}"),
        ],
        // sub.rs and sub/ are one module.
        vec![folder, ("a/sub.rs", "mod x; pub fn g() {}\nuse super::T;"), ("a/sub/x.rs", "")],
        // Files of the topmost folder are modules of their own.
        vec![("a.rs", "use crate::b::B; pub struct A;"), ("b.rs", "use crate::a::A; pub struct B;")],
        // The way leads through a second file of the module.
        vec![
            ("a/mod.rs", "pub mod x; pub mod z;"),
            ("a/x.rs", "use crate::b::B; pub struct X;"),
            ("a/z.rs", "use super::x::X; pub struct Z;"),
            ("b/mod.rs", "use crate::a::z::Z; pub struct B;"),
        ],
    ];
    for files in caught {
        assert_eq!(cuts(&files).len(), 1, "{files:#?}");
    }
}

#[test]
fn what_is_not_a_cycle_between_modules_is_not_caught() {
    let allowed = [
        // Two files of one module.
        vec![
            ("a/mod.rs", "mod x; mod y;"),
            ("a/x.rs", "use super::y::Y; pub struct X;"),
            ("a/y.rs", "use super::x::X; pub struct Y;"),
        ],
        vec![("a.rs", "mod x; pub struct A; use x::X;"), ("a/x.rs", "use super::A; pub struct X;")],
        // A parent that declares and re-exports its children, which use its types and each other.
        vec![
            (
                "a/mod.rs",
                "mod sub; mod worker; pub use sub::{go, Sub}; pub use worker::*; pub struct Options;",
            ),
            ("a/worker.rs", "use super::Options; fn f(o: Options) { super::sub::go(o); super::go(o) }"),
            ("a/sub/mod.rs", "use super::Options; pub struct Sub; pub fn go(o: Options) {}"),
        ],
        // A variable called like a re-exported function, and methods.
        vec![
            (
                "a/mod.rs",
                "mod sub; pub use sub::go; pub struct T; fn f(go: u8) { let x = go; x.go(); S { go } }",
            ),
            ("a/sub/mod.rs", "use super::T; pub fn go() {}"),
        ],
        // Arrows that meet, but lead back nowhere.
        vec![
            ("a/mod.rs", "use crate::b::B; use crate::c::C;"),
            ("b/mod.rs", "use crate::c::C; pub struct B;"),
            ("c/mod.rs", "pub struct C;"),
        ],
    ];
    for files in allowed {
        assert_eq!(cuts(&files), <[String; 0]>::default(), "{files:#?}");
    }
    for x in [
        "// use crate::b::Y;",
        "/// [`crate::b::Y`]",
        "const T: &str = \"crate::b::Y\";",
        "#[cfg(test)]\nmod tests {\n    use crate::b::Y;\n}",
        "#[cfg(test)]\nuse crate::b::Y;",
        "use ::b::Y; fn f() { ::b::Y::new() }",
        "use b::Y;",
        "use crate::b;",
        "use crate::{b::{self as c}};",
        "pub use crate::b::Y;",
        "pub(in crate::b) fn f() {}",
        "fn b() -> impl Sized + use<> {}",
    ] {
        let x = format!("{x}\npub struct X;\n");
        let files = [("a/mod.rs", x.as_str()), ("b/mod.rs", "use crate::a::X; pub struct Y;")];
        assert_eq!(cuts(&files), <[String; 0]>::default(), "{x}");
    }
}

#[test]
fn the_cut_is_what_the_fewest_files_name() {
    let cuts = cuts(&[
        ("a/mod.rs", "pub mod eyes; pub mod look;"),
        ("a/eyes.rs", "\nuse crate::b::by_key;\npub struct Eyes;"),
        ("a/look.rs", "use super::eyes::Eyes;\nuse crate::b::{apply, by_key};"),
        ("b/mod.rs", "\n\nuse crate::a::eyes::Eyes;\npub fn by_key() {}\npub fn apply() {}"),
        ("b/more.rs", "use crate::a::eyes::Eyes;"),
    ]);
    assert_eq!(
        cuts,
        ["\
src/a/eyes.rs:2 names `by_key` of src/b/mod.rs
  src/b/mod.rs:3 names `Eyes` of src/a/eyes.rs
  -> cut the first arrow; for instance, move `by_key` to a file that names none of these"]
    );
}
