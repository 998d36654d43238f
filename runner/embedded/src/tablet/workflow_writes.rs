//! The RPCs that change the streams of one workflow: `UpdateVReplicationWorkflow` and `DeleteVReplicationWorkflow`.
//!
//! They make statements and give them to the vreplication engine (`streams.rs`), as tablets do; no stream moves afterwards. Facts:
//! `go/vt/vttablet/tabletmanager/rpc_vreplication.go`, v18 to v24; what each release does with what a request leaves out was
//! measured on v18.0.8, v20.0.8, v22.0.3 and v24.

use std::{collections::BTreeMap, fmt::Write as _};

use rusqlite::types::Value as SqliteValue;
use tonic::Code;
use vtflow_planner::{
    formats::binlog_source,
    proto::{
        binlogdata::{OnDdlAction, VReplicationWorkflowState},
        query::QueryResult,
        tabletmanagerdata::{TabletSelectionPreference, UpdateVReplicationWorkflowRequest},
        topodata::TabletType,
    },
};

use super::{
    source_text,
    streams::{NamedRow, literal, parse_query},
};
use crate::mysql::{
    engine::{Engine, mysql},
    error::TabletError,
    rewrite::Translated,
    schema::SIDECAR,
};

/// What clients send to leave a field as it is. Source: `go/textutil/strings.go:SimulatedNullStringSlice`, `SimulatedNullInt`.
const UNCHANGED: (&str, i32) = ("NULL", -1);

impl Engine {
    /// `UpdateVReplicationWorkflow`; `None` when there is no such workflow.
    ///
    /// # Errors
    ///
    /// A frozen workflow that is to run, a row that cannot be read (those before it are changed then), MySQL's.
    pub fn update_workflow(
        &mut self,
        db_name: &str,
        request: &UpdateVReplicationWorkflowRequest,
    ) -> Result<Option<QueryResult>, TabletError> {
        let mut sql = format!(
            "select id, source, cell, tablet_types, state, message from {SIDECAR}.vreplication where workflow = {}",
            literal(&request.workflow)
        );
        if self.release.updates_own_database_only() {
            let _ = write!(sql, " and db_name = {}", literal(db_name));
        }
        let (fields, rows) = self.rows(&parse_query(&sql)?, &sql, Some(SIDECAR)).map_err(|error| mysql(error, &sql))?;
        if rows.is_empty() {
            return Ok(None);
        }
        let names: Vec<String> = fields.iter().map(|field| String::from_utf8_lossy(&field.name).into_owned()).collect();
        let mut rows_affected = 0;
        for values in &rows {
            let update = self.update_of(&NamedRow { names: &names, values }, request)?;
            rows_affected += self.vreplication_exec(&update)?.rows_affected;
        }
        Ok(Some(QueryResult { rows_affected, ..QueryResult::default() }))
    }

    /// `DeleteVReplicationWorkflow`.
    ///
    /// # Errors
    ///
    /// MySQL's.
    pub fn delete_workflow(&mut self, db_name: &str, workflow: &str) -> Result<QueryResult, TabletError> {
        let (workflow, db_name) = (literal(workflow), literal(db_name));
        self.vreplication_exec(&format!("delete from {SIDECAR}.vreplication where workflow = {workflow} and db_name = {db_name}"))
    }

    /// The statement for one stream.
    fn update_of(&self, row: &NamedRow<'_>, request: &UpdateVReplicationWorkflowRequest) -> Result<String, TabletError> {
        let id = row.number("id");
        let message = row.text("message");
        let mut source = binlog_source::parse(&row.bytes("source")).map_err(|error| TabletError::Plain(error.reason))?;
        if let Some(action) = self.wanted(request.on_ddl, OnDdlAction::Ignore as i32) {
            source.on_ddl = action;
        }
        if self.release.adds_filter_rules() && !request.filter_rules.is_empty() {
            source.filter.get_or_insert_default().rules.extend(request.filter_rules.iter().cloned());
        }
        let wanted_state = self.wanted(request.state, VReplicationWorkflowState::Unknown as i32);
        let running = VReplicationWorkflowState::Running;
        if wanted_state == Some(running as i32) && message.to_uppercase() == "FROZEN" {
            return Err(TabletError::coded(Code::FailedPrecondition, "cannot start a workflow when it is frozen"));
        }
        let mut state = wanted_state.map_or_else(
            || row.text("state"),
            |number| VReplicationWorkflowState::try_from(number).map_or_else(|_| number.to_string(), |s| s.as_str_name().into()),
        );
        if state == running.as_str_name() && self.is_copying(id)? {
            VReplicationWorkflowState::Copying.as_str_name().clone_into(&mut state);
        }
        let cells = if request.cells == [UNCHANGED.0] { row.text("cell") } else { request.cells.join(",") };
        let mut sql = format!(
            "update {SIDECAR}.vreplication set state = {}, source = {}, cell = {}, tablet_types = {}",
            literal(&state),
            literal(&source_text::print(&source)),
            literal(&cells),
            literal(&tablet_types(&row.text("tablet_types"), request)?)
        );
        if self.release.updates_messages() {
            let _ = write!(sql, ", message = {}", literal(request.message.as_deref().unwrap_or(&message)));
        }
        if self.release.overrides_config() && !request.config_overrides.is_empty() {
            let _ = write!(sql, ", options = {}", overrides(&request.config_overrides));
        }
        Ok(format!("{sql} where id = {id}"))
    }

    /// A number that the request asks for; `None` keeps what is stored. Before v21 what is left out is the enum's first value.
    fn wanted(&self, number: Option<i32>, first: i32) -> Option<i32> {
        let number = if self.release.tells_absent_from_zero() { number } else { Some(number.unwrap_or(first)) };
        number.filter(|&number| number != UNCHANGED.1)
    }

    fn is_copying(&self, id: i64) -> Result<bool, TabletError> {
        let sql = format!("SELECT 1 FROM {SIDECAR}.copy_state WHERE vrepl_id = ?1 LIMIT 1");
        let found = self.run(&Translated { sql, params: vec![SqliteValue::Integer(id)] });
        found.map(|rows| !rows.is_empty()).map_err(|error| TabletError::plain(error.to_string()))
    }
}

/// The column's new text: lower case, the order's prefix only if the request says so.
fn tablet_types(stored: &str, request: &UpdateVReplicationWorkflowRequest) -> Result<String, TabletError> {
    let (was_in_order, stored) = match stored.strip_prefix("in_order:") {
        Some(list) => (true, list),
        None => (false, stored),
    };
    let name = |kind: TabletType| kind.as_str_name().to_lowercase();
    let names: Vec<String> = if request.tablet_types == [UNCHANGED.1] {
        let known = |text: &str| match text.to_uppercase().as_str() {
            // Names of earlier releases.
            "MASTER" => Some(TabletType::Primary),
            "BATCH" => Some(TabletType::Rdonly),
            upper => TabletType::from_str_name(upper),
        };
        let read = |text: &str| known(text).map(name).ok_or_else(|| TabletError::plain(format!("unknown TabletType {text}")));
        stored.split(',').map(str::trim).filter(|text| !text.is_empty()).map(read).collect::<Result<_, _>>()?
    } else {
        let name = |&number: &i32| TabletType::try_from(number).map_or_else(|_| number.to_string(), name);
        request.tablet_types.iter().map(name).collect()
    };
    let preference = request.tablet_selection_preference.unwrap_or_default();
    let in_order = preference == TabletSelectionPreference::Inorder as i32
        || preference == TabletSelectionPreference::Unknown as i32 && was_in_order;
    Ok(format!("{}{}", if in_order { "in_order:" } else { "" }, names.join(",")))
}

/// The expression of the column `options`: an empty value takes the key away, any other first takes all of them away. Tablets
/// put keys and values into the statement as they are.
fn overrides(wanted: &BTreeMap<String, String>) -> String {
    let (removed, set): (Vec<_>, Vec<_>) = wanted.iter().partition(|(_, value)| value.trim().is_empty());
    let mut text = "options".to_owned();
    if !removed.is_empty() {
        let paths: Vec<String> = removed.iter().map(|(key, _)| format!("'$.config.\"{key}\"'")).collect();
        text = format!("json_remove({text}, {})", paths.join(", "));
    }
    if !set.is_empty() {
        let pairs: Vec<String> = set.iter().map(|(key, value)| format!("'$.config.\"{key}\"', '{value}'")).collect();
        text = format!("json_set({text}, '$.config', json_object(), {})", pairs.join(", "));
    }
    text
}
