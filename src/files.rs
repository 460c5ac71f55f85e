//! Files of this machine: those that teamlink makes are their owner's alone, and those that hold secrets are read with
//! bounds. It must not know what is in them.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;

/// Reading and writing for the owner.
const PRIVATE: u32 = 0o600;

/// What anybody but the owner may do.
const OTHERS: u32 = 0o077;

/// The most bytes of a secret.
const LARGEST_SECRET: u64 = 64 << 10;

/// Opens a file for writing, and creates it if it isn't there. Only its owner can read it. It follows no symbolic link,
/// because whoever can write to the folder would choose the file. In `/dev` it does: `/dev/stdout` is a link.
///
/// # Errors
/// When it cannot be opened or its permissions cannot be changed, or when it is a symbolic link.
pub fn open_private(path: &Path) -> io::Result<File> {
    let follows = path.parent() == Some(Path::new("/dev"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(PRIVATE);
    if !follows {
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    }
    let file = options.open(path).map_err(|error| {
        if is_link(path) && !follows {
            let why = "it is a symbolic link, which may lead anywhere; name the file that it leads to";
            return io::Error::new(error.kind(), why);
        }
        error
    })?;
    let found = file.metadata()?;
    if found.is_file() && found.permissions().mode() & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(PRIVATE))?;
    }
    Ok(file)
}

/// Replaces what a file holds. Only its owner can read it then.
///
/// # Errors
/// Those of [`open_private`], and when it cannot be written.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = open_private(path)?;
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}

/// Takes what others may do with a file from them, if it is there.
///
/// # Errors
/// When its permissions cannot be changed, for example because it is another user's.
pub fn tighten(path: &Path) -> io::Result<()> {
    let mode = match fs::metadata(path) {
        Ok(found) => found.permissions().mode(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if mode & OTHERS == 0 { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(PRIVATE)) }
}

/// Whether a path names a symbolic link.
fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_symlink())
}

/// Reads a secret, without the white space at its end. Symbolic links are followed, because Kubernetes mounts secrets as such.
///
/// # Errors
/// When it cannot be read, is no regular file (a pipe would never end), no UTF-8, or larger than 64 KiB.
pub fn read_secret(path: &Path) -> io::Result<String> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    // Opening a pipe waits for its writer otherwise.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(wrong("it is no regular file"));
    }
    let mut text = String::new();
    file.take(LARGEST_SECRET + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_SECRET {
        return Err(wrong("it is larger than 64 KiB"));
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, time::Duration};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_that_is_made_or_found_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (new, old) = (dir.path().join("new"), dir.path().join("old"));
        fs::write(&old, "something longer").unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o644)).unwrap();
        for path in [&new, &old] {
            write_private(path, "text").unwrap();
            assert_eq!((fs::read_to_string(path).unwrap().as_str(), mode(path)), ("text", 0o600));
        }
        fs::set_permissions(&old, Permissions::from_mode(0o664)).unwrap();
        tighten(&old).unwrap();
        assert_eq!(mode(&old), 0o600);
        tighten(&dir.path().join("nowhere")).unwrap();
    }

    #[test]
    fn no_link_is_written_through_but_those_of_dev() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "theirs").unwrap();
        symlink(&target, &link).unwrap();
        let error = write_private(&link, "ours").unwrap_err().to_string();
        assert!(error.contains("it is a symbolic link"), "{error}");
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
        assert!(open_private(Path::new("/dev/stdout")).is_ok());
    }

    #[test]
    fn a_secret_is_a_small_regular_file() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, pipe) = (dir.path().join("file"), dir.path().join("link"), dir.path().join("pipe"));
        symlink(&file, &link).unwrap();
        fs::write(&file, "secret \n\n").unwrap();
        assert_eq!(read_secret(&link).unwrap(), "secret");
        fs::write(&file, "x".repeat(64 << 10)).unwrap();
        assert_eq!(read_secret(&file).unwrap().len(), 64 << 10);
        fs::write(&file, "x".repeat((64 << 10) + 1)).unwrap();
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for (path, why) in
            [(&file, "64 KiB"), (&pipe, "no regular file"), (&"/dev/zero".into(), "no regular file")]
        {
            let (path, why) = (path.clone(), why.to_owned());
            let (done, read) = std::sync::mpsc::channel();
            std::thread::spawn(move || done.send(read_secret(&path).unwrap_err().to_string()));
            let error = read.recv_timeout(Duration::from_secs(10)).expect("it comes back");
            assert!(error.contains(&why), "{error}");
        }
    }
}
