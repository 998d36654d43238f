//! Lines that anybody can cause any number of.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::queue::Room;

/// Lines about what strangers cause, such as failed logins: a few at a time, the others are counted.
pub(crate) struct Sparing {
    state: Mutex<Said>,
}

struct Said {
    since: Option<Instant>,
    lines: u32,
    held_back: u64,
}

/// Lines of one kind within [`SPARING_TIME`].
const SPARING_LINES: u32 = 10;
const SPARING_TIME: Duration = Duration::from_secs(10);

impl Sparing {
    pub(crate) const fn new() -> Self {
        Self { state: Mutex::new(Said { since: None, lines: 0, held_back: 0 }) }
    }

    /// Writes a line, unless there were many already.
    pub(crate) fn warn(&self, message: &str, fields: &[(&str, String)]) {
        self.say(fields, |fields| super::line("warn", message, fields));
    }

    /// The same with the line of a change that is refused.
    pub(crate) fn audit(&self, fields: &[(&str, String)]) {
        self.say(fields, |fields| super::audit("warn", fields, Room::Common));
    }

    fn say(&self, fields: &[(&str, String)], write: impl FnOnce(&[(&str, String)])) {
        let mut said = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if said.since.is_none_or(|since| since.elapsed() >= SPARING_TIME) {
            said.since = Some(Instant::now());
            said.lines = 0;
        }
        if said.lines >= SPARING_LINES {
            said.held_back += 1;
            return;
        }
        said.lines += 1;
        let mut fields = fields.to_vec();
        if said.held_back > 0 {
            fields.push(("lines_like_this_held_back", said.held_back.to_string()));
            said.held_back = 0;
        }
        write(&fields);
    }
}
