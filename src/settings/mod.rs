//! Raw settings → validated settings, every problem collected. The only reader of environment and files.
//!
//! `layers` finds one value a key, `reader` gives it a type, `build` and `documents` make the sections. A setting exists when
//! `build` asks for it: whatever is left over is unknown, and told with what was likely meant.

mod build;
mod documents;
mod layers;
mod plaintext;
mod problem;
mod reader;
mod types;

use std::{collections::BTreeMap, path::PathBuf};

pub use problem::{Problem, Problems};
pub use types::*;

/// Settings, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Every setting as `check` shows it; secrets are hidden.
    pub effective: Vec<Effective>,
}

/// One setting as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Effective {
    /// `section.key`
    pub key: String,
    /// Its value as it was written, unless it is a secret.
    pub value: String,
    /// `default`, a file, or the name of a variable.
    pub source: String,
}

impl Settings {
    /// Reads the embedded defaults, then the files in order, then the environment; later ones win.
    ///
    /// # Errors
    /// All mistakes at once; the program ends with exit code 78.
    pub fn load(files: &[PathBuf], env: &BTreeMap<String, String>) -> Result<Loaded, Problems> {
        let mut problems = Vec::new();
        let values = layers::read(files, env, &mut problems);
        build::build(reader::Reader::new(values, problems), env)
    }
}

#[cfg(test)]
mod tests;
