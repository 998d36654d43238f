//! A tablet and what it shows before it is changed, or after.

use crate::{
    contract::{FailureKind, Status},
    sidecar::{result::RowSet, survey::Looked},
    topo::{said, targets::Target},
};

/// A target and what it shows, in the order of its looks.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) target: Target,
    pub(crate) looked: Vec<Looked>,
}

impl Seen {
    /// The rows of one look; none if it was not a look at rows.
    pub(crate) fn rows(&self, look: usize) -> &[RowSet] {
        match self.looked.get(look) {
            Some(Looked::Rows(pages, _)) => pages,
            _ => &[],
        }
    }

    /// Whether the tablet does not have the RPC that one look called to learn of it. One that has it and refuses this use of it
    /// has it.
    ///
    /// # Errors
    /// The tablet has not said: it did not answer.
    pub(crate) fn lacks(&self, look: usize) -> Result<bool, Status> {
        match self.looked.get(look) {
            Some(Looked::Refused(FailureKind::Status(code), text)) => Ok(said::knows_no_method(*code, text)),
            Some(Looked::Refused(_, text)) => Err(unread(text)),
            _ => Ok(false),
        }
    }
}

/// The end of a write of which nothing is done, since what its decision rests on cannot be read.
pub(super) fn unread(text: &str) -> Status {
    Status::unknown(format!("{text}; nothing was changed"))
}
