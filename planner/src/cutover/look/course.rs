//! Which of the two directions a request is about: whether its steps are the workflow's own, or those of the streams that copy back.
//!
//! A switch and a way back each close the side that writes leave, stop streams and create others before they are final; and streams of the
//! last way back are frozen still while the next switch is under way. So no one sign decides: all of them are weighed here, and nowhere else.

use crate::{
    cutover::{
        begun::is_left,
        request::Direction,
        scene::{Story, Stream},
    },
    traffic::kind::Kind,
};

/// Whose streams the steps are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// The workflow's: it is switched, its reads come back, or a switch of it that was begun is taken back.
    Forth,
    /// Those of the other direction: traffic goes back, or a way back that was begun is taken back.
    Back,
}

/// What a change that has begun leaves on the side that writes are to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Side {
    /// Shards take no writes, as far as that is known.
    pub(super) is_closed: bool,
    /// Streams of other workflows stand still for it.
    pub(super) holds_others: bool,
}

impl Side {
    fn is_begun(self) -> bool {
        self.is_closed || self.holds_others
    }
}

/// What it is decided by. Source and target are those of the way forth.
pub(super) struct Signs<'a> {
    /// Where the request wants the traffic.
    pub(super) wants: Direction,
    /// Whether it is about writes.
    pub(super) has_writes: bool,
    /// Whether traffic is to be moved, and not a workflow to be ended.
    pub(super) moves: bool,
    pub(super) forward: &'a Story,
    /// The other direction; `None`: it has no streams.
    pub(super) other: Option<&'a Story>,
    /// Whether writes go to the target.
    pub(super) are_writes_switched: bool,
    pub(super) source: Side,
    pub(super) target: Side,
}

impl Signs<'_> {
    /// Whether a way back could have been begun that the request would take back.
    pub(super) fn may_be_taken_back(&self) -> bool {
        self.wants == Direction::Forward && self.moves && self.has_writes && self.are_writes_switched && self.other.is_some()
    }

    /// The direction.
    pub(super) fn course(&self) -> Course {
        let is_back = match self.wants {
            Direction::Backward if self.are_writes_switched => true,
            Direction::Backward => self.has_writes && self.is_back_left() && !self.is_forth_begun(),
            // A tenant's writes do not come back.
            Direction::Forward => self.may_be_taken_back() && self.forward.kind != Kind::MultiTenant && self.is_back_begun(),
        };
        if is_back { Course::Back } else { Course::Forth }
    }

    /// Whether a way back is unfinished or done.
    fn is_back_left(&self) -> bool {
        let has_begun = |it: &Stream| it.is_frozen() || it.is_stopped_for_cutover();
        self.other.is_some_and(|story| story.streams.iter().any(has_begun))
    }

    /// Whether a switch was begun, after the last way back if there was one.
    fn is_forth_begun(&self) -> bool {
        self.source.is_begun() || self.forward.streams.iter().any(Stream::is_stopped_for_cutover)
    }

    /// Whether a way back was begun, and not finished.
    fn is_back_begun(&self) -> bool {
        let Some(other) = self.other else { return false };
        let is_held = other.streams.iter().any(Stream::is_stopped_for_cutover);
        let has_new = self.forward.streams.iter().any(Stream::is_frozen) && self.forward.streams.iter().any(is_left);
        (is_held || has_new || self.target.is_begun()) && !other.streams.iter().all(Stream::is_frozen)
    }
}
