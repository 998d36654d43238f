//! Files that hold what a cluster holds (traces, snapshots), and files that somebody else may have made (a snapshot to look at).
//!
//! What this program writes only its owner may read, and it writes over nothing that it did not make: no symbolic link is followed, no
//! file that is there is opened. What it reads of others is a plain file of a size that was chosen, never a device or a pipe that has no
//! end.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

/// Makes a file that is not there yet, for its owner alone.
///
/// # Errors
/// Something of that name is there, whatever it is, or the system refuses.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // With `create_new` the name must be free: a symbolic link is something of that name, wherever it leads.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a file anew, for its owner alone. A plain file of that name is taken away first: who has it open, or may read it, sees nothing of
/// the new one.
///
/// # Errors
/// A symbolic link, a device, a directory is there, or the system refuses.
pub fn create_anew(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => fs::remove_file(path)?,
        Ok(found) if found.is_symlink() => {
            return Err(io::Error::other("it is a symbolic link, which is not followed: name the file itself, or another one"));
        }
        Ok(_) => return Err(io::Error::other("what is there is no plain file: name another one")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    create(path)
}

/// Makes a directory that is not there yet, for its owner alone; `with_parents`: those that it is in, too.
///
/// # Errors
/// Something of that name is there (with parents: something else than a directory), or the system refuses.
pub fn create_directory(path: &Path, with_parents: bool) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(with_parents);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens a plain file of at most `bytes` bytes for reading, and says how many it has.
///
/// # Errors
/// It is a symbolic link, a pipe, a device, a directory or larger, or the system refuses.
pub fn open(path: &Path, bytes: u64) -> io::Result<(File, u64)> {
    // Before it is opened: opening a pipe waits for whoever writes to it.
    check(&fs::symlink_metadata(path)?, bytes)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path)?;
    // And of what was opened: it may have been put there in between.
    let length = check(&file.metadata()?, bytes)?;
    Ok((file, length))
}

fn check(found: &fs::Metadata, bytes: u64) -> io::Result<u64> {
    if found.is_symlink() {
        return Err(io::Error::other("it is a symbolic link, which is not followed"));
    }
    if !found.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    if found.len() > bytes {
        return Err(io::Error::other(format!("it has {} bytes, more than the {bytes} that are read", found.len())));
    }
    Ok(found.len())
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use std::{io::Write as _, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_may_read_what_is_written_and_nothing_is_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link, other) = (directory.path().join("file"), directory.path().join("link"), directory.path().join("other"));
        create(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        assert_eq!(create(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        // One that others may read, and that somebody has open.
        fs::write(&other, "old").unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
        let mut opened = File::open(&other).unwrap();
        create_anew(&other).unwrap().write_all(b"new").unwrap();
        assert_eq!((mode(&other), io::read_to_string(&mut opened).unwrap().as_str()), (0o600, "old"));
        // A link, to a file and to none.
        for target in [&other, &directory.path().join("nothing")] {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(target, &link).unwrap();
            assert_eq!(create(&link).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            let text = create_anew(&link).unwrap_err().to_string();
            assert!(text.contains("a symbolic link, which is not followed"), "{text}");
        }
        assert_eq!(fs::read_to_string(&other).unwrap(), "new");
        assert!(!directory.path().join("nothing").exists());
        assert!(create_anew(directory.path()).unwrap_err().to_string().contains("no plain file"));
        create_directory(&directory.path().join("a/b"), true).unwrap();
        assert_eq!((mode(&directory.path().join("a")), mode(&directory.path().join("a/b"))), (0o700, 0o700));
        assert!(create_directory(&link, false).is_err() && create_directory(&directory.path().join("a"), false).is_err());
    }

    #[test]
    fn only_plain_files_of_some_size_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "1234").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(open(&file, 4).unwrap().1, 4);
        for (path, bytes, want) in [
            (file.as_path(), 3, "it has 4 bytes, more than the 3 that are read"),
            (&link, 4, "a symbolic link"),
            (Path::new("/dev/zero"), 4, "no plain file"),
            (directory.path(), 4096, "no plain file"),
        ] {
            let text = open(path, bytes).unwrap_err().to_string();
            assert!(text.contains(want), "{}: {text}", path.display());
        }
    }
}
