//! What the MySQL of a tablet would do: statements rewritten for SQLite and run on the sidecar tables, fields, values and errors as
//! MySQL sends them.

pub mod clock;
pub mod engine;
pub mod error;
mod execute;
mod fence;
pub mod fields;
pub(crate) mod functions;
mod json;
pub(crate) mod parser;
pub(crate) mod rewrite;
pub mod schema;
pub(crate) mod scope;
pub(crate) mod sqlite_error;
mod tables;
mod variables;
pub(crate) mod writes;
