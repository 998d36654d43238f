//! Typed rows of all targets -> the reply's messages.
//!
//! Everything here sees the targets in ascending order of shard and their rows in ascending order of id, whatever order the
//! answers came in: that is what makes replies order-free.

pub(crate) mod copy_progress;
pub(crate) mod lag;
mod stand_ins;
mod stream_message;
pub(crate) mod tablet_rows;
pub(crate) mod traffic;
pub(crate) mod workflows;
