//! What a document's world begins with, what happens in it, and which lies are told.

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use teamlink::{
    model::{DocumentMode, Mode},
    plan::Limits,
};

pub use crate::script::one_of;

/// Keys of the projects that anybody may want; few, so that wishes meet.
pub const KEYS: [&str; 8] = ["API", "BILL", "CORE", "DATA", "ENG", "OPS", "SEC", "WEB"];

/// What an operator has set for one teamlink.
#[derive(Clone, Debug)]
pub struct DocumentSetup {
    pub mode: Mode,
    pub document: DocumentMode,
    pub wanted: Vec<&'static str>,
    pub limits: Limits,
    pub max_per_window: usize,
}

/// How a world begins.
#[derive(Debug)]
pub struct Beginning {
    /// One for each teamlink.
    pub setups: Vec<DocumentSetup>,
    /// The entries that a person put there before. `None` stands for no document.
    pub before: Option<Vec<&'static str>>,
    /// What every PUT meets that has a certain entry, to the end of the world.
    pub standing: Option<Lie>,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A person reads the document and keeps it open.
    Opens,
    /// A person saves what was opened, with these added and removed.
    Saves { adds: Vec<&'static str>, removes: Vec<&'static str> },
    /// A person adds and removes at once.
    Edits { adds: Vec<&'static str>, removes: Vec<&'static str> },
    /// An operator sets other wishes and restarts a teamlink.
    Wants { which: usize, wanted: Vec<&'static str> },
    /// A process is killed and started again.
    Restarts { which: usize },
    /// A person approves what a teamlink holds.
    Approves { which: usize },
    /// The daemons make a pass.
    Passes,
    /// Time passes.
    Waits { seconds: u64 },
}

/// A wrong answer to a teamlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// 404 in JSON, as Datadog answers before the first PUT.
    NotFound,
    /// 404 of something between, in HTML.
    NotFoundElsewhere,
    /// An empty JSON object.
    EmptyObject,
    /// A configuration without its list.
    NoList,
    /// The list is null.
    NullList,
    /// The list is empty.
    EmptyList,
    /// Every other entry is missing.
    Half,
    /// The document as it was this many seconds ago.
    Stale(u64),
    /// 500.
    Fails,
    /// A PUT is carried out, and its answer is lost.
    PutCut,
    /// A PUT is answered 500 and not carried out.
    PutFails,
    /// A PUT with this entry is answered 400.
    Rejects(&'static str),
    /// A PUT with this entry is carried out without it, and answered with what is there.
    Drops(&'static str),
    /// A PUT with this entry is carried out without it, and answered as if it were there.
    DropsUnsaid(&'static str),
}

impl Lie {
    pub fn is_about_writes(self) -> bool {
        matches!(self, Self::PutCut | Self::PutFails) || self.names().is_some()
    }

    /// The entry that a PUT must have to meet this lie.
    pub fn names(self) -> Option<&'static str> {
        match self {
            Self::Rejects(key) | Self::Drops(key) | Self::DropsUnsaid(key) => Some(key),
            _ => None,
        }
    }
}

/// A lie, the share of the requests that meet it, and how many do at most.
#[derive(Clone, Debug)]
pub struct Told {
    pub lie: Lie,
    pub share: f64,
    pub times: usize,
}

fn some(dice: &mut StdRng, most: usize) -> Vec<&'static str> {
    let count = dice.random_range(0..=most);
    KEYS.sample(dice, count).copied().collect()
}

pub fn beginning(dice: &mut StdRng) -> Beginning {
    let teamlinks = one_of(dice, &[1, 1, 2]);
    let mut setups: Vec<DocumentSetup> = (0..teamlinks).map(|_| setup(dice)).collect();
    // Two that are exclusive fight for ever, and say so.
    if let [_, second] = &mut setups[..] {
        second.document = DocumentMode::Additive;
    }
    let mut before = dice.random_bool(0.7).then(|| some(dice, 5));
    let standing = dice.random_bool(0.3).then(|| poison(dice));
    if let (Some(before), Some(poison)) = (&mut before, standing.and_then(Lie::names)) {
        before.retain(|key| *key != poison);
    }
    Beginning { setups, before, standing }
}

/// An entry that Datadog does not take.
fn poison(dice: &mut StdRng) -> Lie {
    let key = one_of(dice, &KEYS);
    one_of(dice, &[Lie::Rejects(key), Lie::Drops(key), Lie::DropsUnsaid(key)])
}

fn setup(dice: &mut StdRng) -> DocumentSetup {
    DocumentSetup {
        mode: one_of(dice, &[Mode::Sync, Mode::Sync, Mode::Sync, Mode::Sync, Mode::Upsert]),
        document: one_of(dice, &[DocumentMode::Additive, DocumentMode::Additive, DocumentMode::Exclusive]),
        wanted: some(dice, 5),
        limits: Limits {
            max_share: one_of(dice, &[0.3, 1.0, 1.0]),
            above: one_of(dice, &[0, 2, 10]),
            max_removals: one_of(dice, &[1, 2, 50]),
        },
        max_per_window: one_of(dice, &[1, 2, 100]),
    }
}

pub fn lies(dice: &mut StdRng) -> Vec<Told> {
    if dice.random_bool(0.4) {
        return Vec::new();
    }
    let lies = [
        Lie::NotFound,
        Lie::NotFoundElsewhere,
        Lie::EmptyObject,
        Lie::NoList,
        Lie::NullList,
        Lie::EmptyList,
        Lie::Half,
        Lie::Stale(one_of(dice, &[5, 60, 4_000])),
        Lie::Fails,
        Lie::PutCut,
        Lie::PutFails,
        poison(dice),
    ];
    let count = dice.random_range(1..3);
    lies.sample(dice, count)
        .map(|lie| (*lie, [0.3, 1.0], [1, 2, 1_000]))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|(lie, share, times)| Told { lie, share: one_of(dice, &share), times: one_of(dice, &times) })
        .collect()
}

pub fn happening(dice: &mut StdRng) -> Happening {
    let which = dice.random_range(0..2);
    match dice.random_range(0..14) {
        0 | 1 => Happening::Opens,
        2 | 3 => Happening::Saves { adds: some(dice, 2), removes: some(dice, 2) },
        4 | 5 => Happening::Edits { adds: some(dice, 2), removes: some(dice, 2) },
        6 | 7 => Happening::Wants { which, wanted: some(dice, 5) },
        8 => Happening::Restarts { which },
        9 => Happening::Approves { which },
        10 | 11 => Happening::Passes,
        _ => Happening::Waits { seconds: one_of(dice, &[1, 10, 100, 4_000]) },
    }
}
