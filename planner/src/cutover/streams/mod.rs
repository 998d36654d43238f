//! Streams of other workflows on the shards that a reshard splits or joins: they stop where they are, get copies on the target's shards
//! that stand still, and with the journal go on there.
//!
//! A stream that reads another keyspace, or a shard that stays, has nothing to do with the writes that are refused: it is stopped, and its
//! copies are made, before the first of them is. One that reads a shard that is split ([`taken::Moved`]) has to come to its end, so it is
//! waited for after that, and what it wrote is copied with the rest.
//!
//! Facts: `go/vt/vtctl/workflow/stream_migrator.go`, v24; rows and statements are such that a vtctld finishes what was begun here, and the
//! other way round.

mod acts;
mod lines;
mod look;
mod part;
mod row;
mod select;
mod taken;
mod template;

pub(crate) use self::{
    lines::{copied, found, stopped},
    look::{OthersLook, OthersWanted},
    part::Part,
    row::{OtherStream, stream_positions},
    taken::Others,
};
