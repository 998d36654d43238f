//! A cell: its name, its own record in the global topology, and what is answered when that is missing or is none.

use vtflow_planner::{Answer, FailureKind};

use super::{no_node, node};
use crate::net::grpc::code;

/// The path of a cell's own record in the global topology. Source: `go/vt/topo/cell_info.go:pathForCellInfo`.
pub(super) fn cell_info_path(cell: &str) -> String {
    format!("cells/{cell}/CellInfo")
}

/// Whether a cell's name may become part of a key. Vitess does not check: an alias with the cell `..` reads outside its root.
pub(super) fn is_cell_name(cell: &str) -> bool {
    !cell.is_empty()
        && cell != "."
        && cell != ".."
        && cell.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// The answer for any record of a cell that has no `CellInfo`.
pub(super) fn no_such_cell(global_root: &str, cell: &str) -> Answer {
    let node = node::join(&[global_root, &cell_info_path(cell)]);
    Answer::Failed { kind: FailureKind::Status(code::NOT_FOUND), message: no_node(&node) }
}

/// The answer for any record of a cell whose `CellInfo` is not one.
pub(super) fn unreadable_cell(global_root: &str, cell: &str, error: &prost::DecodeError) -> Answer {
    let node = node::join(&[global_root, &cell_info_path(cell)]);
    Answer::Failed { kind: FailureKind::Status(code::UNKNOWN), message: format!("{node} is not a CellInfo record: {error}") }
}
