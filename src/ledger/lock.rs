//! The OS lock that keeps a second daemon off one SQLite file. Commands do not take it; PostgreSQL needs none.

use std::{
    fs::{File, TryLockError},
    path::PathBuf,
};

use anyhow::{Context as _, bail};

use super::{database, schema::Engine};
use crate::files;

/// Held as long as the daemon lives; the OS lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DaemonLock {
    file: File,
}

impl DaemonLock {
    /// Takes the lock beside the ledger's file; answers `None` for a ledger that any number of daemons share.
    pub fn take(url: &str) -> anyhow::Result<Option<Self>> {
        if Engine::of(url) == Engine::Postgres {
            return Ok(None);
        }
        let options = database::sqlite_file(url)?;
        let mut name = options.get_filename().as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let file = files::open_private(&path)
            .with_context(|| format!("failed to create the lock file {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => bail!(
                "another teamlink daemon runs on the ledger {}; stop it, or give this one its own `ledger.url`",
                options.get_filename().display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("failed to lock {}", path.display()))
            }
        }
    }
}

impl Drop for DaemonLock {
    fn drop(&mut self) {
        // Closing is not enough while a process that was forked a moment ago still has the file open. Where this
        // fails, the lock ends with that process.
        drop(self.file.unlock());
    }
}
