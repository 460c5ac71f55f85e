//! Keeps functions short enough to be read at once.

use crate::source::{code_of, files, tokens};

/// The most lines of a function, from its signature to the brace that closes it.
const MOST: usize = 70;

/// The functions that are longer. This list may only shrink: split a function instead of adding it here.
const LONG: &[(&str, &str)] = &[
    ("app/daemon.rs", "start"),
    ("ledger/settle.rs", "settle"),
    ("operate/blocks.rs", "of"),
    ("reconcile/adopt.rs", "begin"),
    ("reconcile/apply/mod.rs", "create"),
    ("reconcile/look/settlement.rs", "settlement"),
    ("sandbox/pipeline.rs", "around"),
];

/// A function, the line of its signature, and the number of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// Returns the functions of code that have a body.
///
/// The count includes the signature, blank lines, comments, and functions inside. It leaves out what stands above
/// the signature: documentation and attributes.
fn functions(code: &str) -> Vec<Function> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    // The signatures whose body has not begun, and those whose body has not ended: the number of brackets that are
    // open around each, its name, and its line.
    let mut signatures: Vec<(usize, &str, usize)> = Vec::new();
    let mut bodies: Vec<(usize, &str, usize)> = Vec::new();
    let mut open = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "fn" => {
                // The type `fn(u8)` has no name.
                let name = tokens.get(at + 1).filter(|next| next.is_word());
                signatures.extend(name.map(|name| (open, name.text.as_str(), token.line)));
            }
            ";" => drop(signatures.pop_if(|(around, ..)| *around == open)),
            "{" => {
                bodies.extend(signatures.pop_if(|(around, ..)| *around == open));
                open += 1;
            }
            "(" | "[" => open += 1,
            ")" | "]" => open -= 1,
            "}" => {
                open -= 1;
                if let Some((_, name, line)) = bodies.pop_if(|(around, ..)| *around == open) {
                    found.push(Function { name: name.to_owned(), line, lines: token.line - line + 1 });
                }
            }
            _ => {}
        }
    }
    found
}

/// Returns what is wrong with the functions of these files: path below `src` and code.
fn broken<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>, allowed: &[(&str, &str)]) -> Vec<String> {
    let mut unused = allowed.to_vec();
    let mut broken = Vec::new();
    for (file, code) in files {
        for Function { name, line, lines } in functions(code) {
            if lines <= MOST {
                continue;
            }
            match unused.iter().position(|listed| *listed == (file, name.as_str())) {
                Some(at) => drop(unused.remove(at)),
                None => broken.push(format!(
                    "src/{file}:{line}: `{name}` has {lines} lines, which is more than {MOST}: split it"
                )),
            }
        }
    }
    broken.extend(unused.iter().map(|(file, name)| {
        format!("src/{file}: no function `{name}` has more than {MOST} lines: take it off the list LONG")
    }));
    broken
}

#[test]
fn no_function_is_longer_than_one_screen() {
    let files = files();
    let broken = broken(files.iter().map(|file| (file.name.as_str(), file.code.as_str())), LONG);
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn a_function_has_the_lines_from_its_signature_to_its_last_brace() {
    let counted = |source: &str| -> Vec<(String, usize, usize)> {
        let all = functions(&code_of(source)).into_iter();
        all.map(|Function { name, line, lines }| (name, line, lines)).collect()
    };
    let f = |line, lines| vec![("f".to_owned(), line, lines)];
    for (source, expected) in [
        ("fn f() {}", f(1, 1)),
        ("/// Text.\n#[must_use]\npub(super) async fn f(\n    a: u8,\n) -> u8 {\n    a\n}\n", f(3, 5)),
        (
            "fn f<T>() -> [u8; 2]\nwhere\n    T: Fn(u8) -> fn(u8) -> u8,\n{\n    // }\n\n    [0; 2]\n}\n",
            f(1, 8),
        ),
        ("fn f() {\n    let close = |a| {\n        a\n    };\n}\n", f(1, 5)),
        ("fn f() {\n    /* } /* } */ */\n    g(\"}\\\"}\", r#\"}\"}\"#, b\"}\");\n}\n", f(1, 4)),
        ("fn f() {\n    g(\"{\n  {\");\n}\n", f(1, 4)),
        (
            "fn f<'a>(a: &'a str) -> &'a str {\n    a.trim_matches(['{', '\\'', '\"', '\\u{7b}', b'{'])\n}\n",
            f(1, 3),
        ),
        ("type F = fn(u8);\ntrait T {\n    fn g();\n    fn f() {\n    }\n}\n", f(4, 2)),
        ("#[cfg(test)]\nmod tests {\n    fn g() {}\n}\nfn f() {}\n", f(5, 1)),
        ("#[cfg(test)]\nmod tests;\n\nfn f() {}\n", f(4, 1)),
        ("#[cfg(test)]\n#[expect(unused)]\npub(super) mod tests {\n    fn g() {}\n}\n\nfn f() {}\n", f(7, 1)),
    ] {
        assert_eq!(counted(source), expected, "{source}");
    }
    let nested =
        counted("fn outer() {\n    fn inner() {\n    }\n    inner();\n}\nimpl S {\n    fn last() {}\n}\n");
    assert_eq!(nested, [("inner".to_owned(), 2, 2), ("outer".to_owned(), 1, 5), ("last".to_owned(), 7, 1)]);
}

#[test]
fn a_long_function_must_be_listed_and_a_short_one_must_not() {
    let of = |lines: usize| format!("fn f() {{{}}}\n", "\n".repeat(lines - 1));
    let told = |code: &str, allowed: &[(&str, &str)]| broken([("a.rs", code)], allowed);
    let (short, long) = (of(MOST), of(MOST + 1));
    let listed = [("a.rs", "f")];

    assert!(told(&short, &[]).is_empty());
    assert!(told(&long, &listed).is_empty());
    assert_eq!(told(&long, &[]), ["src/a.rs:1: `f` has 71 lines, which is more than 70: split it"]);
    let stale = "src/a.rs: no function `f` has more than 70 lines: take it off the list LONG";
    assert_eq!(told(&short, &listed), [stale]);
    assert_eq!(told("", &listed), [stale]);
    // One entry stands for one function, and its file is a part of it.
    assert_eq!(told(&format!("{long}{long}"), &listed).len(), 1);
    assert_eq!(told(&long, &[("b.rs", "f")]).len(), 2);
}
