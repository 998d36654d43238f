//! The tables of a tablet's sidecar database (`_vt`): the statements that read them, the one way to send any statement, and their rows.
//!
//! Names become literals in one place ([`literal`]); identifiers never come from a request, and those of a tablet or a file are
//! read into [`name::SqlName`]. Rows are read by column *name*: the order and the number of columns differ between releases, and
//! a release that lacks a column has the column's default. A column that cannot be read never takes its row away: the row has it
//! as it is stored, or empty. Nothing here knows what a workflow does; that is [`crate::ops`].
//!
//! Facts: the sidecar schema `go/vt/sidecardb/schema/vreplication/*.sql`, the reader of the rows
//! `go/vt/vttablet/tabletmanager/rpc_vreplication.go:ReadVReplicationWorkflows`, and vtctld's
//! `go/vt/vtctl/workflow/workflow_fetcher.go`, of Vitess.

pub mod copy_state;
pub(crate) mod fused;
pub(crate) mod json_rows;
pub mod literal;
pub mod log;
pub mod migration;
pub(crate) mod migration_read;
pub(crate) mod migration_statement;
pub mod name;
pub(crate) mod paging;
pub(crate) mod query;
pub(crate) mod read;
pub mod result;
mod result_layout;
pub(crate) mod statement;
pub mod stream;
pub(crate) mod survey;

pub use copy_state::CopyStateRow;
pub use log::LogRow;
pub use migration_statement::is_uuid;
pub use result::{Row, RowSet};
pub use stream::StreamRow;
