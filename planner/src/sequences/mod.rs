//! Sequences, from which columns of tables take their values: which column uses which one, where that is by vschemas and rules, and the
//! statements that tell how far a column and its sequence are, and that raise the sequence.
//!
//! A sequence is right as long as its next value is larger than every value of its columns. It is never lowered. The statements are
//! those that a tablet of v23 on runs for `GetMaxValueForSequences` and `UpdateSequenceTables`: older tablets run them as well.
//! Facts: `go/vt/vtctl/workflow/sequences.go`, `go/vt/vttablet/tabletmanager/rpc_vreplication.go`, v24.

mod name;
mod read;
mod statement;
mod used;

pub(crate) use self::{
    name::{escaped, unescaped},
    statement::{NO_TABLE, highest, next_value, raise, value},
    used::{Place, SEQUENCE, Use, declared, find, of_table},
};
pub use self::{read::Read, statement::current};
