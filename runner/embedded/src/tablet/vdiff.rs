//! The `VDiff` RPC: what a tablet says of its `VDiff`s, the rows of `_vt.vdiff` and `_vt.vdiff_table`.
//!
//! Those that change one are `vdiff_writes.rs`. Facts: `go/vt/vttablet/tabletmanager/vdiff/action.go`; result shapes as recorded
//! (`tests/recordings`). The refusals of other arguments were not recorded.

use tonic::Code;
use vtflow_planner::{
    formats::uuid,
    proto::tabletmanagerdata::{VDiffRequest, VDiffResponse},
};

use super::streams::{literal, parse_query};
use crate::{
    mysql::{
        engine::{Engine, MAX_ROWS},
        error::TabletError,
        schema::SIDECAR,
    },
    release::Release,
};

/// The tablet that is asked.
pub(crate) struct Place<'a> {
    /// Such as `zone1-0000000200`.
    pub(crate) alias: &'a str,
    /// Its shard.
    pub(crate) shard: &'a str,
    /// Its database.
    pub(crate) db_name: &'a str,
    /// The cluster's cells, with commas.
    pub(crate) cells: &'a str,
}

impl Place<'_> {
    /// The alias as errors have it: a message's text before v21.
    pub(super) fn name(&self, release: Release) -> String {
        match self.alias.rsplit_once('-') {
            Some((cell, uid)) if release < Release::new(21) => {
                format!("cell:\"{cell}\" uid:{}", uid.trim_start_matches('0'))
            }
            _ => self.alias.to_owned(),
        }
    }
}

/// A `VDiff` with its tables, one row each.
const SUMMARY: &str = "select vd.state as vdiff_state, vd.last_error as last_error, vdt.table_name as table_name, \
    vd.vdiff_uuid as uuid, vdt.state as table_state, vdt.table_rows as table_rows, vd.started_at as started_at, \
    vdt.rows_compared as rows_compared, vd.completed_at as completed_at, if(vdt.mismatch = 1, 1, 0) as has_mismatch, \
    vdt.report as report";

impl Engine {
    /// The answer to the RPC.
    ///
    /// # Errors
    ///
    /// What the tablet refuses, or MySQL's error.
    pub(crate) fn vdiff(&mut self, place: &Place<'_>, request: &VDiffRequest) -> Result<VDiffResponse, TabletError> {
        match request.action.as_str() {
            "show" => {
                self.compare_on(&request.keyspace, &request.workflow)?;
                self.vdiff_show(place, request)
            }
            "create" => self.create_vdiff(place, request),
            "resume" => self.resume_vdiff(place, request),
            "stop" => self.stop_vdiff(place, request),
            "delete" => self.delete_vdiffs(place, request),
            other => Err(TabletError::coded(Code::InvalidArgument, format!("action {other} not supported"))),
        }
    }

    /// The answer to `show` of `all`, `last` or a UUID. `last` where there is none is an empty message.
    ///
    /// # Errors
    ///
    /// Another argument, or MySQL's error.
    fn vdiff_show(&self, place: &Place<'_>, request: &VDiffRequest) -> Result<VDiffResponse, TabletError> {
        // Only one table of either statement has these columns.
        let condition = format!(
            "keyspace = {} and workflow = {} and db_name = {}",
            literal(&request.keyspace),
            literal(&request.workflow),
            literal(place.db_name)
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
            text => uuid::parse(text).map_err(|_| argument_not_supported(text))?,
        };
        let output = query(format!(
            "{SUMMARY} from {SIDECAR}.vdiff as vd left join {SIDECAR}.vdiff_table as vdt on vd.id = vdt.vdiff_id where {condition} and \
             vd.vdiff_uuid = {}",
            literal(&uuid)
        ))?;
        if output.rows.is_empty() {
            let VDiffRequest { keyspace, workflow, .. } = request;
            let name = place.name(self.release);
            let text = format!("no vdiff found for UUID {uuid} keyspace {keyspace} and workflow {workflow} on tablet {name}");
            return Err(TabletError::plain(text));
        }
        Ok(VDiffResponse { output: Some(output), vdiff_uuid: uuid, ..VDiffResponse::default() })
    }
}

/// What is neither a word that is known nor a UUID.
pub(super) fn argument_not_supported(argument: &str) -> TabletError {
    TabletError::coded(Code::InvalidArgument, format!("action argument {argument} not supported"))
}
