//! Files that a person names: certificates, passwords, plans, traces, a planner. All of them are read here.
//!
//! Links are followed, for where secrets are mounted they are links, and a pipe is read as far as somebody writes into it
//! (`vtflow replay <(zcat …)`). But nothing is read without an end, and nobody is waited for without one. What a snapshot has is read
//! more strictly, in `private_file.rs`: its files come together, from somebody else.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::Path,
    time::{Duration, Instant},
};

/// Bytes of certificates, keys and passwords: many times of what a system's authorities take.
pub const SETTINGS_BYTES: u64 = 4 << 20;
/// Bytes of a plan: many times of what one has for a thousand shards.
pub const PLAN_BYTES: u64 = 64 << 20;
/// Bytes of a planner that was built elsewhere.
pub const PLANNER_BYTES: u64 = 64 << 20;

/// How long nothing may come out of a pipe.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks into a pipe that has nothing.
const PAUSE: Duration = Duration::from_millis(10);

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// As [`open`], and those of reading: there are more bytes, or nobody writes into the pipe.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path, most)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a plain file or a pipe, to read at most `most` bytes; more of them are an error.
///
/// # Errors
/// It is a directory, a device or a socket, it is larger, or the system refuses.
pub fn open(path: &Path, most: u64) -> io::Result<Given> {
    // Before it is opened: to open a device may do something.
    check(&fs::metadata(path)?, most)?;
    let mut options = OpenOptions::new();
    options.read(true);
    // To open a pipe waits for whoever writes to it, without this.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    // And of what was opened: it may have been put there in between.
    let is_pipe = check(&file.metadata()?, most)?;
    Ok(Given { file, is_pipe, patience: PATIENCE, was_heard: false, most, left: most })
}

/// Whether it is a pipe.
fn check(found: &fs::Metadata, most: u64) -> io::Result<bool> {
    let kind = found.file_type();
    if kind.is_file() {
        return if found.len() > most { Err(too_large(most)) } else { Ok(false) };
    }
    #[cfg(unix)]
    if std::os::unix::fs::FileTypeExt::is_fifo(&kind) {
        return Ok(true);
    }
    let what = if kind.is_dir() { "it is a directory" } else { "it is a device or a socket" };
    Err(io::Error::other(format!("{what}: name a file")))
}

fn too_large(most: u64) -> io::Error {
    io::Error::other(format!("it has more than the {most} bytes that are read of such a file"))
}

/// A file that is read up to its bound.
pub struct Given {
    file: File,
    is_pipe: bool,
    patience: Duration,
    /// Something came out of the pipe.
    was_heard: bool,
    most: u64,
    left: u64,
}

impl Given {
    /// What comes out of a pipe next; nothing is its end.
    fn next(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            match self.file.read(buffer) {
                // Without a writer a pipe has ended, also before the first one came.
                Ok(0) if !self.was_heard && begun.elapsed() >= self.patience => {
                    return Err(io::Error::other("nobody writes into this pipe: name a file, or write into it"));
                }
                Ok(0) if !self.was_heard => {}
                Ok(read) => {
                    self.was_heard = true;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if begun.elapsed() >= self.patience {
                        let patience = self.patience.as_secs();
                        let text = format!("nothing came out of this pipe for {patience} s: write it into a file first");
                        return Err(io::Error::other(text));
                    }
                }
                Err(error) => return Err(error),
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Read for Given {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = if self.is_pipe { self.next(buffer)? } else { self.file.read(buffer)? };
        // A file may grow while it is read.
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| too_large(self.most))?;
        Ok(read)
    }
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use std::{io::Write as _, process::Command};

    use super::*;

    fn pipe(directory: &Path) -> std::path::PathBuf {
        let path = directory.join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_through_links() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "1234").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!((read(&file, 4).unwrap(), read(&link, 4).unwrap()), (b"1234".to_vec(), b"1234".to_vec()));
        for (path, want) in [
            (file.as_path(), "it has more than the 3 bytes that are read of such a file"),
            (&link, "it has more than the 3 bytes"),
            (Path::new("/dev/zero"), "it is a device"),
            (directory.path(), "it is a directory"),
        ] {
            let text = read(path, 3).unwrap_err().to_string();
            assert!(text.contains(want), "{}: {text}", path.display());
        }
        assert_eq!(read(&directory.path().join("none"), 3).unwrap_err().kind(), io::ErrorKind::NotFound);
        // One that grows while it is read.
        let mut given = open(&file, 6).unwrap();
        given.read_exact(&mut [0; 4]).unwrap();
        OpenOptions::new().append(true).open(&file).unwrap().write_all(b"567").unwrap();
        assert!(given.read(&mut [0; 4]).unwrap_err().to_string().contains("more than the 6 bytes"));
    }

    #[test]
    fn a_pipe_is_read_as_far_as_somebody_writes_and_waited_for_as_long_as_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = pipe(directory.path());
        let write = |text: &'static [u8], pause: Duration| {
            let path = path.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                let mut file = OpenOptions::new().write(true).open(path).unwrap();
                file.write_all(text).unwrap();
                std::thread::sleep(pause);
            })
        };
        let read = |most: u64, patience: Duration| {
            let mut bytes = Vec::new();
            Given { patience, ..open(&path, most).unwrap() }.read_to_end(&mut bytes).map(|_| bytes)
        };
        let (long, short) = (Duration::from_secs(60), Duration::from_millis(300));
        let writing = write(b"1234", Duration::ZERO);
        assert_eq!(read(4, long).unwrap(), b"1234");
        writing.join().unwrap();
        let writing = write(b"12345", Duration::ZERO);
        assert!(read(4, long).unwrap_err().to_string().contains("more than the 4 bytes"));
        writing.join().unwrap();
        assert!(read(4, short).unwrap_err().to_string().contains("nobody writes into this pipe"));
        // Somebody does, and then stands still.
        let writing = write(b"12", Duration::from_secs(2));
        let text = read(4, Duration::from_secs(1)).unwrap_err().to_string();
        assert!(text.contains("nothing came out of this pipe for 1 s"), "{text}");
        writing.join().unwrap();
    }
}
