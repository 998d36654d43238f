//! Sequences that the target's tables take their values from: raised above what the tables hold, before anybody writes to the target.
//!
//! A value is read when the last row has been copied and before the journal is written: then nobody writes the column, so that the value is
//! exact and needs no margin. That costs a read and two short calls while writes are refused. All else is done before: the sequences are
//! found, missing ones are created, their primaries are called once, and the same values are read once, so that what is slow or impossible
//! is refused while it harms nobody. A sequence is never lowered; one that was raised stays so when the switch is taken back.
//!
//! The statements are `crate::sequences`'. Facts: `go/vt/vtctl/workflow/sequences.go`, v24.

mod locate;
mod look;
mod raising;
mod sequence;

pub(crate) use self::{
    locate::{are_wanted, moved},
    look::{SequenceLook, SequenceWanted},
    raising::{raise, reset},
    sequence::{Sequence, lines, planned_values},
};
