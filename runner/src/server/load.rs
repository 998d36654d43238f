//! What a server has under way at a moment, and what that holds: to see that nothing is left of requests that have ended.

use super::{admission::Occupied, connections::Connections, perform::Performer};

/// What is under way, and what it holds. All zero when nobody is connected and no change is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections of the gRPC port.
    pub connections: usize,
    /// Requests that have their turn.
    pub flows: usize,
    /// Requests that wait for their turn.
    pub waiting: usize,
    /// Reads that could be joined.
    pub flights: usize,
    /// Changes, also those whose callers have gone.
    pub changes: usize,
    /// Bytes of tablets' answers that requests keep.
    pub answer_bytes: usize,
    /// KiB of requests that are here.
    pub request_kib: usize,
    /// KiB of replies that nobody has taken yet.
    pub reply_kib: usize,
}

impl Load {
    pub(super) fn of(performer: &Performer, connections: &Connections) -> Self {
        let Occupied { flows, waiting, request_kib, reply_kib } = performer.admission.occupied();
        Self {
            connections: connections.count(),
            flows,
            waiting,
            flights: performer.flights.len(),
            changes: *performer.writing.borrow(),
            answer_bytes: performer.io.tablets.answer_bytes(),
            request_kib,
            reply_kib,
        }
    }
}
