//! What is made of files, such as certificates and passwords: made again when the files change, or when the process is told to
//! look again (SIGHUP). Files that cannot be used leave what was there before, and a line in the log.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::{error::OptionError, log};

/// A value made of files. Whoever needs it asks for it each time, and holds it no longer than that.
pub(crate) struct Reloaded<T> {
    /// For the log: what it is.
    what: &'static str,
    paths: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<T, OptionError> + Send + Sync>,
    state: Mutex<State<T>>,
}

struct State<T> {
    current: Arc<T>,
    /// The files when they were read the last time, well or not.
    read: Vec<Stamp>,
    next_look: Instant,
    /// [`WISHES`] at the last look.
    wishes: u64,
    /// Somebody looks just now: the others go on with what there is.
    is_looking: bool,
}

/// What changes when a file is written, or another one takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp(Result<(SystemTime, u64, u64), io::ErrorKind>);

impl<T> Reloaded<T> {
    /// Makes it for the first time. `make` reads the files at `paths`, and no others.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn new(
        what: &'static str,
        paths: Vec<PathBuf>,
        make: impl Fn() -> Result<T, OptionError> + Send + Sync + 'static,
    ) -> Result<Self, OptionError> {
        // Before they are read: what changes meanwhile is seen as a change.
        let read = stamps(&paths);
        let current = Arc::new(make()?);
        let wishes = WISHES.load(Ordering::Relaxed);
        let state = State { current, read, next_look: Instant::now() + POLL_EVERY, wishes, is_looking: false };
        Ok(Self { what, paths, make: Box::new(make), state: Mutex::new(state) })
    }

    /// As the files are now: at most [`POLL_EVERY`] old, or made of the last files that were good.
    pub(crate) fn current(&self) -> Arc<T> {
        let wishes = WISHES.load(Ordering::Relaxed);
        let is_wished = {
            let mut state = self.state();
            let is_wished = state.wishes != wishes;
            if self.paths.is_empty() || state.is_looking || !(is_wished || Instant::now() >= state.next_look) {
                return Arc::clone(&state.current);
            }
            state.is_looking = true;
            state.wishes = wishes;
            is_wished
        };
        let stamps = stamps(&self.paths);
        let is_changed = is_wished || self.state().read != stamps;
        let made = is_changed.then(&self.make);
        let mut state = self.state();
        state.is_looking = false;
        state.next_look = Instant::now() + POLL_EVERY;
        match made {
            None => {}
            Some(Ok(made)) => {
                state.read = stamps;
                state.current = Arc::new(made);
                log::message("info", &format!("{} read again", self.what));
            }
            Some(Err(error)) => {
                state.read = stamps;
                log::message(
                    "warn",
                    &format!("{} could not be read again, what was read before stays in use: {error}", self.what),
                );
            }
        }
        Arc::clone(&state.current)
    }

    /// Held for a moment only, never while files are read.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that is made of files is made again when it is needed next, changed or not.
pub(crate) fn look_again() {
    WISHES.fetch_add(1, Ordering::Relaxed);
}

/// Of files that are there or not.
fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let stamp = |path: &PathBuf| {
        let metadata = fs::metadata(path).map_err(|error| error.kind())?;
        // A file that is renamed over another has another number; one that is written in place another time or length.
        Ok((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.ino(), metadata.len()))
    };
    paths.iter().map(|path| Stamp(stamp(path))).collect()
}

/// How often somebody has asked to look again.
static WISHES: AtomicU64 = AtomicU64::new(0);

/// Between two looks at the files.
const POLL_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn number(path: &std::path::Path) -> Reloaded<u32> {
        let of = path.to_owned();
        Reloaded::new("the number", vec![path.to_owned()], move || {
            let text = fs::read_to_string(&of).map_err(|cause| OptionError::File { path: of.clone(), cause })?;
            text.trim().parse().map_err(|_| OptionError::Tls { cause: "no number".to_owned() })
        })
        .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_changes_is_read_again_and_a_bad_one_is_not_used() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("number");
        fs::write(&path, "1").unwrap();
        let number = number(&path);
        assert_eq!(*number.current(), 1);
        for (text, want) in [("22", 22), ("not yet", 22), ("4444", 4444)] {
            fs::write(&path, text).unwrap();
            tokio::time::advance(POLL_EVERY).await;
            assert_eq!(*number.current(), want, "{text}");
        }
        fs::remove_file(&path).unwrap();
        tokio::time::advance(POLL_EVERY).await;
        assert_eq!(*number.current(), 4444, "a file that is gone is a bad file");
        // Another file in its place, of the same length and age.
        fs::write(directory.path().join("next"), "5555").unwrap();
        fs::rename(directory.path().join("next"), &path).unwrap();
        tokio::time::advance(POLL_EVERY).await;
        assert_eq!(*number.current(), 5555);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_to_look_again_need_not_wait() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("number");
        fs::write(&path, "1").unwrap();
        let number = number(&path);
        fs::write(&path, "22").unwrap();
        look_again();
        assert_eq!(*number.current(), 22);
    }
}
