//! Raw settings → validated settings, every problem collected. The only reader of environment and files.

mod problem;
mod types;

use std::{collections::BTreeMap, path::PathBuf};

pub use problem::{Problem, Problems};
pub use types::*;

/// Settings, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
}

impl Settings {
    /// Reads the embedded defaults, then the files in order, then the environment; later ones win.
    pub fn load(files: &[PathBuf], env: &BTreeMap<String, String>) -> Result<Loaded, Problems> {
        let _ = (files, env);
        Err(Problems(vec![Problem::new("settings", "not built yet", "wait")]))
    }
}
