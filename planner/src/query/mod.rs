//! The text of every statement, and the reads that send them: which rows of which sidecar table, page by page.
//!
//! Names become literals in one place ([`literal`]); identifiers never come from a request, and those of a tablet or a file are read into
//! [`name::SqlName`]. What the rows mean is not known here.

pub mod literal;
pub(crate) mod migrations;
pub mod name;
pub(crate) mod read;
pub(crate) mod statement;
pub(crate) mod table_sizes;

pub use migrations::is_uuid;
