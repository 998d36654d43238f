//! What a tablet says of its `VDiff`s: the rows of `_vt.vdiff` and `_vt.vdiff_table`, as the `VDiff` RPC shows them.
//!
//! It reads and never compares anything: no `VDiff` is created, stopped or deleted here. Facts:
//! `go/vt/vttablet/tabletmanager/vdiff/action.go`; result shapes as recorded (`tests/recordings`). The
//! refusal of another argument was not recorded.

use tonic::Code;
use vtflow_planner::proto::tabletmanagerdata::{VDiffRequest, VDiffResponse};

use super::streams::{literal, parse_query};
use crate::mysql::{
    engine::{Engine, MAX_ROWS},
    error::TabletError,
    schema::SIDECAR,
};

/// A `VDiff` with its tables, one row each.
const SUMMARY: &str = "select vd.state as vdiff_state, vd.last_error as last_error, vdt.table_name as table_name, \
    vd.vdiff_uuid as uuid, vdt.state as table_state, vdt.table_rows as table_rows, vd.started_at as started_at, \
    vdt.rows_compared as rows_compared, vd.completed_at as completed_at, if(vdt.mismatch = 1, 1, 0) as has_mismatch, \
    vdt.report as report";

impl Engine {
    /// The answer to `show` of `all`, `last` or a UUID. `last` where there is none is an empty message.
    ///
    /// # Errors
    ///
    /// Another argument, or MySQL's error.
    pub fn vdiff_show(&self, db_name: &str, request: &VDiffRequest) -> Result<VDiffResponse, TabletError> {
        // Only one table of either statement has these columns.
        let condition = format!(
            "keyspace = {} and workflow = {} and db_name = {}",
            literal(&request.keyspace),
            literal(&request.workflow),
            literal(db_name)
        );
        let query = |sql: String| self.select(&parse_query(&sql)?, &sql, Some(SIDECAR), MAX_ROWS);
        let uuid = match request.action_arg.as_str() {
            "all" => {
                let output = query(format!("select * from {SIDECAR}.vdiff where {condition} order by id desc"))?;
                return Ok(VDiffResponse { output: Some(output), ..VDiffResponse::default() });
            }
            "last" => {
                let newest = query(format!("select vdiff_uuid from {SIDECAR}.vdiff where {condition} order by id desc limit 1"))?;
                let Some(row) = newest.rows.first() else { return Ok(VDiffResponse::default()) };
                String::from_utf8_lossy(&row.values).into_owned()
            }
            text if is_uuid(text) => text.to_owned(),
            other => {
                return Err(TabletError::coded(Code::InvalidArgument, format!("action argument {other} not supported")));
            }
        };
        let output = query(format!(
            "{SUMMARY} from {SIDECAR}.vdiff as vd left join {SIDECAR}.vdiff_table as vdt on vd.id = vdt.vdiff_id where {condition} and \
             vd.vdiff_uuid = {}",
            literal(&uuid)
        ))?;
        Ok(VDiffResponse { output: Some(output), vdiff_uuid: uuid, ..VDiffResponse::default() })
    }
}

/// As Vitess makes them: 8, 4, 4, 4 and 12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.concat().bytes().all(|digit| digit.is_ascii_hexdigit())
}
