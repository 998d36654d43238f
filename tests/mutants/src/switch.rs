//! Becomes a module of the code under test: which mutant is switched on, by the environment, read once.

use std::{
    fs::File,
    io::Write,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// More than there are mutants.
const MOST: usize = 1 << 16;

/// Which mutants have been passed.
static PASSED: [AtomicBool; MOST] = [const { AtomicBool::new(false) }; MOST];

enum Mode {
    Off,
    One(u32),
    Record(File),
}

/// Whether the mutant is switched on. Where passing is recorded, writes down at its first call that the test came by.
pub(crate) fn on(id: u32) -> bool {
    static MODE: OnceLock<Mode> = OnceLock::new();
    match MODE.get_or_init(mode) {
        Mode::Off => false,
        Mode::One(one) => *one == id,
        Mode::Record(file) => {
            if PASSED.get(id as usize).is_some_and(|passed| !passed.swap(true, Ordering::Relaxed)) {
                let mut file = file;
                let _ = file.write_all(format!("{id}\n").as_bytes());
            }
            false
        }
    }
}

fn mode() -> Mode {
    if let Some(id) = std::env::var("MUTANT_ON").ok().and_then(|id| id.parse().ok()) {
        return Mode::One(id);
    }
    match std::env::var_os("MUTANTS_PASSED").map(|path| File::options().append(true).create(true).open(path)) {
        Some(Ok(file)) => Mode::Record(file),
        _ => Mode::Off,
    }
}
