//! Which cluster a command is about, and the way to it.

pub(crate) mod open;
