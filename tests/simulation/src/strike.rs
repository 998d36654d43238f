//! What goes wrong with one call, at whichever peer.

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// The connection breaks before it is done.
    Before,
    /// It is not done, and the peer says so.
    Refuses,
    /// It is done, and its answer is lost.
    After,
    /// It is not done, and there is no answer.
    Hangs,
    /// The process that asked ends before it is done.
    KillsBefore,
    /// It is done, and the process that asked ends before it has the answer.
    KillsAfter,
}
