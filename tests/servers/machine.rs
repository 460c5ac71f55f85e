//! A machine whose wall clock a test sets while a process runs on it. Its monotonic clock goes on undisturbed, as on a
//! real machine.

use std::{fs, path::PathBuf, time::SystemTime};

use tokio::process::Command;

/// The name under which Debian's `libfaketime` is found; the loader replaces `$LIB` by the folder of this machine's kind.
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";

/// The machine, which shows the time of this one until its clock is set.
pub struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    pub fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        machine.write(0);
        machine
    }

    /// What a process that runs on it finds in its environment.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", FAKETIME.into()),
            ("FAKETIME_TIMESTAMP_FILE", self.offset().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// Sets its clock so many seconds ahead of the true time, or behind it.
    pub async fn set(&self, seconds: i64) {
        self.write(seconds);
        let said = Command::new("date").arg("+%s").env_clear().envs(self.env()).output().await.unwrap();
        let now: i64 = String::from_utf8(said.stdout).unwrap().trim().parse().unwrap();
        let ahead = now - true_time();
        assert!(
            (ahead - seconds).abs() < 5,
            "{ahead} s ahead: is libfaketime installed? tests/run does that"
        );
    }

    /// The file is replaced as a whole, so that no process reads half of it.
    fn write(&self, seconds: i64) {
        let new = self.dir.path().join("new");
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        fs::rename(new, self.offset()).unwrap();
    }

    fn offset(&self) -> PathBuf {
        self.dir.path().join("offset")
    }
}

fn true_time() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}
