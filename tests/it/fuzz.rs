//! Whatever comes in from outside brings nothing down: bodies, messages of the queue, signatures, error bodies of the
//! upstreams, settings, names that are printed. `tests/fuzz` states what holds. Here the inputs are real ones that were spoiled,
//! the same each time; `TEAMLINK_FUZZ=1000000` tries so many instead of the few thousand that CI has time for. A failure
//! prints the seed and the input, and `TEAMLINK_FUZZ_SEED=N` tries that one alone.

use std::{fs, ops::Range, panic, path::Path};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use teamlink::signature;

#[path = "../fuzz/src/lib.rs"]
mod properties;

/// Tries `property` on many inputs that are made from these.
fn fuzz(corpus: &[Vec<u8>], fewest: u64, property: impl Fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds: Range<u64> = match (number("TEAMLINK_FUZZ_SEED"), number("TEAMLINK_FUZZ")) {
        (Some(seed), _) => seed..seed + 1,
        (None, many) => 0..many.unwrap_or(fewest),
    };
    for seed in seeds {
        let input = spoil(corpus, &mut StdRng::seed_from_u64(seed));
        let tried = panic::catch_unwind(panic::AssertUnwindSafe(|| property(&input)));
        assert!(tried.is_ok(), "TEAMLINK_FUZZ_SEED={seed}: {:?}", String::from_utf8_lossy(&input));
    }
}

/// What means something to JSON, TOML, CloudEvents or a database, where it is not expected.
const ODD: [&str; 27] = [
    "null",
    "{}",
    "[]",
    "\"\"",
    "1e999",
    "-1",
    "9223372036854775808",
    "0.5",
    "true",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
    "\"data\":",
    "\"data_base64\":\"!\"",
    "\"team\":null",
    "\"organization\":{\"id\":\"1\"}",
    "[[[[[[[[",
    "{\"a\":",
    "\"",
    "\n",
    "\r\n[",
    "[[mapping]]",
    "=",
    "sha256=",
    "X-GitHub-Event",
];

/// One of the corpus, changed in a few places.
fn spoil(corpus: &[Vec<u8>], dice: &mut StdRng) -> Vec<u8> {
    let mut input = corpus[dice.random_range(0..corpus.len())].clone();
    // Some stay whole: what is right must work too.
    for _ in 0..dice.random_range(0..6) {
        let at = dice.random_range(0..=input.len());
        let end = dice.random_range(at..=input.len().min(at + 64));
        match dice.random_range(0..8) {
            0 if at < input.len() => input[at] ^= 1 << dice.random_range(0..8),
            1 => input.insert(at, dice.random()),
            2 => drop(input.drain(at..end)),
            3 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            4 => input.truncate(at),
            5 => {
                let other = &corpus[dice.random_range(0..corpus.len())];
                let from = dice.random_range(0..=other.len());
                input.splice(at..end, other[from..].iter().take(200).copied());
            }
            6 => {
                // Deeper than any parser should follow.
                let deep = dice.random_range(1..3000);
                input.splice(at..at, std::iter::repeat_n(b'[', deep));
            }
            _ => {
                let odd = ODD[dice.random_range(0..ODD.len())];
                input.splice(at..end, odd.bytes());
            }
        }
    }
    input
}

/// Every file below a folder.
fn files(folder: &str) -> Vec<Vec<u8>> {
    let (mut found, mut folders) = (Vec::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(fs::read(path).unwrap()) }
        }
    }
    found.sort();
    found
}

/// The seeds of a target, and the recorded bodies of GitHub behind each of these beginnings.
fn corpus(target: &str, beginnings: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut corpus = files(&format!("tests/fuzz/corpus/{target}"));
    let payloads = files("tests/payloads");
    assert!(!corpus.is_empty() && payloads.len() > 10);
    let begun = |beginning: &&[u8]| {
        let beginning = beginning.to_vec();
        payloads.iter().map(move |body| [&beginning[..], body].concat()).collect::<Vec<_>>()
    };
    corpus.extend(beginnings.iter().flat_map(begun));
    corpus
}

#[test]
fn no_delivery_brings_decoding_down() {
    let events: Vec<[u8; 1]> = (0..8).map(|event| [event]).collect();
    let events: Vec<&[u8]> = events.iter().map(|event| &event[..]).collect();
    fuzz(&corpus("delivery", &events), 6_000, properties::delivery);
}

#[test]
fn no_message_of_the_queue_brings_its_reading_down() {
    fuzz(&corpus("message", &[&[0, 1], &[1, 0x70], &[2, 0x0f], &[3, 0]]), 6_000, properties::message);
    fuzz(&corpus("properties", &[]), 6_000, properties::properties);
}

#[test]
fn no_signature_but_the_right_one_is_believed() {
    const BODY: &[u8] = b"Hello, World!";
    let secrets = ["It's a Secret to Everybody".into()];
    let right = signature::sign(BODY, &secrets).unwrap();
    fuzz(&[right.clone().into_bytes(), b"sha256=".to_vec(), b"sha1=00".to_vec()], 20_000, |sent| {
        let sent = String::from_utf8_lossy(sent);
        let believed = signature::matches(&sent, BODY, &secrets);
        // Digits may be written large.
        assert_eq!(believed, sent.starts_with("sha256=") && sent.eq_ignore_ascii_case(&right), "{sent}");
    });
}

#[test]
fn no_error_body_is_told_at_length_or_with_control_characters() {
    fuzz(&corpus("error_body", &[]), 10_000, properties::error_body);
}

#[test]
fn no_settings_file_brings_its_reading_down() {
    let mut corpus = corpus("settings", &[]);
    corpus.push(fs::read("config/default.toml").unwrap());
    fuzz(&corpus, 1_500, properties::settings);
}

#[test]
fn no_name_leaves_its_place_where_it_is_printed() {
    fuzz(&corpus("printed", &[]), 3_000, properties::printed);
}
