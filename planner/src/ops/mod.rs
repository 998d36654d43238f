//! The requests that read, one operation a file or folder: what each asks and how its answers become the reply.
//!
//! Every operation sees the targets in ascending order of shard and their rows in ascending order of id when it makes its reply,
//! whatever order the answers came in: that is what makes replies order-free.

pub(crate) mod diagnose;
pub(crate) mod get_version;
pub(crate) mod get_workflows;
pub(crate) mod legacy;
pub(crate) mod schema_migrations;
pub(crate) mod snapshot;
pub mod topology;
pub(crate) mod vdiff_show;
pub(crate) mod vexec;
pub mod workflow_status;
