//! A secret that may become another while we run, because the file that holds it was changed. Whoever signs
//! requests with it asks for its present text each time.
//!
//! The settings read it first; [`Secret::reread`] is called by one task of the daemon. It prints itself never.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use secrecy::{ExposeSecret as _, SecretString};

use crate::files;

/// A secret, and the file that it is from if it is from one. Clones change together.
#[derive(Clone, Debug)]
pub struct Secret {
    now: Arc<RwLock<(SecretString, u64)>>,
    file: Option<PathBuf>,
}

impl Secret {
    /// A secret that was read from this file.
    pub fn from_file(text: SecretString, file: PathBuf) -> Self {
        Self { now: Arc::new(RwLock::new((text, 0))), file: Some(file) }
    }

    /// Its present text.
    pub fn get(&self) -> SecretString {
        self.read().0.clone()
    }

    /// Its present text as PEM: a variable that cannot hold line breaks may write them as `\n`.
    pub fn pem(&self) -> SecretString {
        self.get().expose_secret().replace("\\n", "\n").into()
    }

    /// A number that is another one after each change.
    pub fn version(&self) -> u64 {
        self.read().1
    }

    /// Reads its file again. Says whether it is another now; an empty file, as there is one while it is being
    /// written, is no secret.
    ///
    /// # Errors
    /// Those of [`files::read_secret`]; the secret stays what it was.
    pub fn reread(&self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let text = files::read_secret(file)?;
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if text.is_empty() || text == now.0.expose_secret() {
            return Ok(false);
        }
        *now = (text.into(), now.1 + 1);
        Ok(true)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, (SecretString, u64)> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<SecretString> for Secret {
    /// One that never changes.
    fn from(text: SecretString) -> Self {
        Self { now: Arc::new(RwLock::new((text, 0))), file: None }
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        SecretString::from(text).into()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_clones_see_what_the_file_holds_now() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        fs::write(&file, "one\n").unwrap();
        let secret = Secret::from_file("one".into(), file.clone());
        let clone = secret.clone();
        assert!(!secret.reread().unwrap());
        fs::write(&file, "").unwrap();
        assert!(!secret.reread().unwrap(), "a file that is being written");
        fs::write(&file, "two\n").unwrap();
        assert!(secret.reread().unwrap());
        assert_eq!((clone.get().expose_secret(), clone.version()), ("two", 1));
        fs::remove_file(&file).unwrap();
        assert!(secret.reread().is_err());
        assert_eq!(clone.get().expose_secret(), "two");
        assert!(!format!("{clone:?}").contains("two"));
    }
}
