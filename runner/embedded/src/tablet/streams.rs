//! What a tablet's vreplication engine does with the `vreplication` table: `VReplicationExec` by plan, the typed reads, the log.
//!
//! There are no controllers behind it: no stream ever moves. Facts: `go/vt/vttablet/tabletmanager/vreplication/engine.go`,
//! `utils.go` and `go/vt/vttablet/tabletmanager/rpc_vreplication.go`.

use std::fmt::Write as _;

use rusqlite::types::Value as SqliteValue;
use sqlparser::ast::{Expr, FromTable, Query, Statement, TableFactor, Value};
use tonic::Code;
use vtflow_planner::formats::binlog_source;
use vtflow_planner::proto::{
    binlogdata::VReplicationWorkflowState,
    query::QueryResult,
    tabletmanagerdata::{
        ReadVReplicationWorkflowResponse, ReadVReplicationWorkflowsRequest, TabletSelectionPreference,
        read_v_replication_workflow_response::Stream,
    },
    topodata::TabletType,
    vttime::Time,
};

use super::controller_plan::{Plan, plan};
use crate::{
    mysql::{
        engine::{Engine, MAX_ROWS, mysql},
        error::{MysqlError, TabletError},
        functions::text_or_blob,
        parser::parse_one,
        rewrite::Translated,
        schema::SIDECAR,
        sqlite_error::from_sqlite,
        writes,
    },
    release::Release,
};

/// The columns of a stream and their values.
type StreamRow = (Vec<String>, Vec<SqliteValue>);

/// One row by column name.
pub(crate) struct NamedRow<'a> {
    pub(crate) names: &'a [String],
    pub(crate) values: &'a [SqliteValue],
}

impl Engine {
    /// Runs the statement of a `VReplicationExec` request.
    ///
    /// # Errors
    ///
    /// The tablet's refusal, or MySQL's error.
    pub fn vreplication_exec(&mut self, sql: &str) -> Result<QueryResult, TabletError> {
        match plan(sql, self.release)? {
            Plan::Select(query) => self.select(&query, sql, Some(SIDECAR), MAX_ROWS),
            Plan::Journal(statement) => writes::execute(self, *statement, Some(SIDECAR)).map_err(|error| mysql(error, sql)),
            Plan::InsertStreams(insert) => {
                let result = self.atomically(|engine| {
                    let result =
                        writes::execute(engine, Statement::Insert(*insert), Some(SIDECAR)).map_err(|error| mysql(error, sql))?;
                    for id in new_ids(&result) {
                        engine.log_creation(id).map_err(|error| mysql(error, sql))?;
                    }
                    Ok(result)
                })?;
                self.start(new_ids(&result))?;
                Ok(result)
            }
            Plan::UpdateStreams(mut update) => {
                let ids = self.ids(update.selection.as_ref())?;
                if ids.is_empty() {
                    return Ok(QueryResult::default());
                }
                update.selection = Some(id_in(&ids));
                let result = self.atomically(|engine| {
                    let result =
                        writes::execute(engine, Statement::Update(*update), Some(SIDECAR)).map_err(|error| mysql(error, sql))?;
                    for id in &ids {
                        engine.log_state(*id).map_err(|error| mysql(error, sql))?;
                    }
                    Ok(result)
                })?;
                self.start(ids)?;
                Ok(result)
            }
            Plan::DeleteStreams(mut delete) => {
                let ids = self.ids(delete.selection.as_ref())?;
                if ids.is_empty() {
                    return Ok(QueryResult::default());
                }
                delete.selection = Some(id_in(&ids));
                // The alias-free, qualified form, whatever the request wrote.
                if let FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from) = &mut delete.from
                    && let Some(TableFactor::Table { name, .. }) = from.first_mut().map(|table| &mut table.relation)
                {
                    *name = crate::mysql::engine::sidecar_name("vreplication");
                }
                self.atomically(|engine| {
                    let failed = |error| mysql(error, sql);
                    for id in &ids {
                        engine.log_deletion(*id).map_err(failed)?;
                    }
                    let result = writes::execute(engine, Statement::Delete(*delete), Some(SIDECAR)).map_err(failed)?;
                    let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
                    for table in ["copy_state", "post_copy_action"] {
                        if engine.catalog.contains_key(table) {
                            engine
                                .change(&format!("DELETE FROM {SIDECAR}.{table} WHERE vrepl_id IN ({list})"), vec![])
                                .map_err(failed)?;
                        }
                    }
                    Ok(result)
                })
            }
        }
    }

    /// What is left of starting streams: their sources must be readable. The rows stay as they are either way.
    fn start(&self, ids: impl IntoIterator<Item = i64>) -> Result<(), TabletError> {
        for id in ids {
            let row = self.stream_row(id).map_err(|error| TabletError::plain(error.to_string()))?;
            let Some((names, values)) = row else { continue };
            let row = NamedRow { names: &names, values: &values };
            if self.release.reads_sources_of_stopped_streams() || row.text("state") != "Stopped" {
                binlog_source::parse(&row.bytes("source")).map_err(|error| TabletError::Plain(error.reason))?;
            }
        }
        Ok(())
    }

    /// All or nothing.
    pub(super) fn atomically<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, TabletError>) -> Result<T, TabletError> {
        let failed = |error: rusqlite::Error| TabletError::plain(error.to_string());
        self.connection.execute_batch("BEGIN").map_err(failed)?;
        let result = work(self);
        self.connection.execute_batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" }).map_err(failed)?;
        result
    }

    /// The ids that a condition selects.
    fn ids(&self, selection: Option<&Expr>) -> Result<Vec<i64>, TabletError> {
        let mut text = format!("select id from {SIDECAR}.vreplication");
        if let Some(selection) = selection {
            let _ = write!(text, " where {selection}");
        }
        let mut query = parse_query(&format!("select id from {SIDECAR}.vreplication"))?;
        if let sqlparser::ast::SetExpr::Select(select) = &mut *query.body {
            // The parsed condition itself: printing and reading it again could change a literal.
            select.selection = selection.cloned();
        }
        let (_, rows) = self.rows(&query, &text, Some(SIDECAR)).map_err(|error| mysql(error, &text))?;
        if u64::try_from(rows.len()).unwrap_or(u64::MAX) > MAX_ROWS {
            return Err(self.too_many(MAX_ROWS));
        }
        Ok(rows
            .iter()
            .filter_map(|row| if let Some(SqliteValue::Integer(id)) = row.first() { Some(*id) } else { None })
            .collect())
    }

    pub(super) fn change(&self, sql: &str, params: Vec<SqliteValue>) -> Result<(), MysqlError> {
        let done = self.check_stop().and_then(|()| self.connection.execute(sql, rusqlite::params_from_iter(params)));
        done.map(|_| ()).map_err(|error| from_sqlite(&error, None))
    }

    /// The row of a stream, with its column names.
    fn stream_row(&self, id: i64) -> Result<Option<StreamRow>, MysqlError> {
        let Some(table) = self.catalog.get("vreplication") else { return Ok(None) };
        let names = table.columns.iter().map(|column| column.name.to_string()).collect();
        let statement = Translated {
            sql: format!("SELECT * FROM {SIDECAR}.vreplication WHERE id = ?1"),
            params: vec![SqliteValue::Integer(id)],
        };
        let mut rows = self.run(&statement).map_err(|error| from_sqlite(&error, None))?;
        Ok(rows.pop().map(|row| (names, row)))
    }

    fn log_creation(&self, id: i64) -> Result<(), MysqlError> {
        let Some((names, values)) = self.stream_row(id)? else { return Ok(()) };
        let row = NamedRow { names: &names, values: &values };
        self.log(id, "Stream Created", &row.text("state"), &go_json(&row))
    }

    fn log_state(&self, id: i64) -> Result<(), MysqlError> {
        let Some((names, values)) = self.stream_row(id)? else { return Ok(()) };
        let row = NamedRow { names: &names, values: &values };
        self.log(id, "State Changed", &row.text("state"), &row.text("message"))
    }

    fn log_deletion(&self, id: i64) -> Result<(), MysqlError> {
        let Some((names, values)) = self.stream_row(id)? else { return Ok(()) };
        let state = NamedRow { names: &names, values: &values }.text("state");
        if self.release.logs_deletion_of_idle_streams() || !matches!(state.as_str(), "Stopped" | "Error") {
            self.log(id, "Stream Deleted", "", "")?;
        }
        Ok(())
    }

    /// Adds to a stream's log as tablets do: a state that is not new is not written, a text that is not new is counted.
    fn log(&self, id: i64, kind: &str, state: &str, message: &str) -> Result<(), MysqlError> {
        if !self.catalog.contains_key("vreplication_log") {
            return Ok(());
        }
        let newest = Translated {
            sql: format!(
                "SELECT id, state, message FROM {SIDECAR}.vreplication_log WHERE vrepl_id = ?1 ORDER BY id DESC LIMIT 1"
            ),
            params: vec![SqliteValue::Integer(id)],
        };
        let newest = self.run(&newest).map_err(|error| from_sqlite(&error, None))?.pop();
        let same = |value: Option<&SqliteValue>, wanted: &str| value.is_some_and(|value| as_bytes(value) == wanted.as_bytes());
        if let Some(newest) = newest {
            if kind == "State Changed" && same(newest.get(1), state) {
                return Ok(());
            }
            if same(newest.get(2), message) {
                let id = newest.into_iter().next().unwrap_or(SqliteValue::Null);
                let sql =
                    format!("UPDATE {SIDECAR}.vreplication_log SET count = count + 1, updated_at = vt_now(0) WHERE id = ?1");
                return self.change(&sql, vec![id]);
            }
        }
        let sql = format!("INSERT INTO {SIDECAR}.vreplication_log (vrepl_id, type, state, message) VALUES (?1, ?2, ?3, ?4)");
        let text = |text: &str| text_or_blob(text.as_bytes().to_vec());
        self.change(&sql, vec![SqliteValue::Integer(id), text(kind), text(state), text(message)])
    }

    /// `HasVReplicationWorkflows`.
    ///
    /// # Errors
    ///
    /// MySQL's.
    pub fn has_workflows(&self, db_name: &str) -> Result<bool, TabletError> {
        let sql = format!(
            "select if(count(*) > 0, 1, 0) as has_workflows from {SIDECAR}.vreplication where db_name = {}",
            literal(db_name)
        );
        let (_, rows) = self.rows(&parse_query(&sql)?, &sql, Some(SIDECAR)).map_err(|error| mysql(error, &sql))?;
        Ok(rows.first().and_then(|row| row.first()) == Some(&SqliteValue::Integer(1)))
    }

    /// `ReadVReplicationWorkflow`: an empty message when there is no such workflow.
    ///
    /// # Errors
    ///
    /// MySQL's, or that a row cannot be read.
    pub fn read_workflow(&self, db_name: &str, workflow: &str) -> Result<ReadVReplicationWorkflowResponse, TabletError> {
        let condition = format!("workflow = {} and db_name = {}", literal(workflow), literal(db_name));
        let mut workflows = self.read(db_name, &condition, "")?;
        // All rows are of one workflow; its own fields come from the first one.
        Ok(workflows.pop().unwrap_or_default())
    }

    /// `ReadVReplicationWorkflows`, the workflows by name (a real tablet's order is random).
    ///
    /// # Errors
    ///
    /// MySQL's, or that a row cannot be read.
    pub fn read_workflows(
        &self,
        db_name: &str,
        request: &ReadVReplicationWorkflowsRequest,
    ) -> Result<Vec<ReadVReplicationWorkflowResponse>, TabletError> {
        let mut condition = format!("db_name = {}", literal(db_name));
        if request.exclude_frozen {
            condition.push_str(" and message != 'FROZEN'");
        }
        let texts = |texts: &[String]| texts.iter().map(|text| literal(text)).collect::<Vec<_>>().join(",");
        let states = |states: &[i32]| {
            let name = |state: &i32| VReplicationWorkflowState::try_from(*state).map_or("Unknown", |state| state.as_str_name());
            states.iter().map(|state| literal(name(state))).collect::<Vec<_>>().join(",")
        };
        let ids = request.include_ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        for (front, list) in [
            ("id in", ids),
            ("workflow in", texts(&request.include_workflows)),
            ("workflow not in", texts(&request.exclude_workflows)),
            ("state in", states(&request.include_states)),
            ("state not in", states(&request.exclude_states)),
        ] {
            if !list.is_empty() {
                let _ = write!(condition, " and {front} ({list})");
            }
        }
        self.read(db_name, &condition, " order by workflow, id")
    }

    fn read(&self, db_name: &str, condition: &str, order: &str) -> Result<Vec<ReadVReplicationWorkflowResponse>, TabletError> {
        let options = if self.release >= Release::new(20) { ", options" } else { "" };
        let sql = format!("select {READ_COLUMNS}{options} from {SIDECAR}.vreplication where {condition}{order}");
        let (fields, rows) = self.rows(&parse_query(&sql)?, &sql, Some(SIDECAR)).map_err(|error| mysql(error, &sql))?;
        if u64::try_from(rows.len()).unwrap_or(u64::MAX) > MAX_ROWS {
            return Err(self.too_many(MAX_ROWS));
        }
        let names: Vec<String> = fields.iter().map(|field| String::from_utf8_lossy(&field.name).into_owned()).collect();
        let last_wins = !order.is_empty();
        let mut workflows: Vec<ReadVReplicationWorkflowResponse> = Vec::new();
        for values in &rows {
            let row = NamedRow { names: &names, values };
            let mut read = row.workflow(db_name)?;
            let stream = row.stream()?;
            if let Some(known) = workflows.iter_mut().find(|known| known.workflow == read.workflow) {
                if last_wins {
                    read.streams = std::mem::take(&mut known.streams);
                    *known = read;
                }
                known.streams.push(stream);
            } else {
                read.streams.push(stream);
                workflows.push(read);
            }
        }
        Ok(workflows)
    }
}

/// What the typed reads select on every release that has them.
const READ_COLUMNS: &str = "workflow, id, source, pos, stop_pos, max_tps, max_replication_lag, cell, tablet_types, time_updated, \
    transaction_timestamp, state, message, db_name, rows_copied, tags, time_heartbeat, workflow_type, time_throttled, \
    component_throttled, workflow_sub_type, defer_secondary_keys";

impl NamedRow<'_> {
    fn value(&self, name: &str) -> Option<&SqliteValue> {
        self.names.iter().position(|known| known == name).and_then(|index| self.values.get(index))
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.value(name).map(as_bytes).unwrap_or_default()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.bytes(name)).into_owned()
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(SqliteValue::Integer(number)) => *number,
            _ => 0,
        }
    }

    fn small(&self, name: &str) -> i32 {
        i32::try_from(self.number(name)).unwrap_or(0)
    }

    fn workflow(&self, db_name: &str) -> Result<ReadVReplicationWorkflowResponse, TabletError> {
        let types = self.text("tablet_types");
        let (names, preference) = match types.strip_prefix("in_order:") {
            Some(names) => (names, TabletSelectionPreference::Inorder),
            None => (types.as_str(), TabletSelectionPreference::Any),
        };
        let mut tablet_types = Vec::new();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let known = TabletType::from_str_name(&name.to_ascii_uppercase()).ok_or_else(|| {
                TabletError::plain(format!(
                    "error parsing the tablet_types field from vreplication table record: unknown TabletType {name}"
                ))
            })?;
            tablet_types.push(known as i32);
        }
        Ok(ReadVReplicationWorkflowResponse {
            workflow: self.bytes("workflow"),
            cells: self.bytes("cell"),
            tablet_types,
            tablet_selection_preference: preference as i32,
            db_name: db_name.to_owned(),
            tags: self.bytes("tags"),
            workflow_type: self.small("workflow_type"),
            workflow_sub_type: self.small("workflow_sub_type"),
            defer_secondary_keys: self.number("defer_secondary_keys") != 0,
            streams: Vec::new(),
            options: self.bytes("options"),
        })
    }

    fn stream(&self) -> Result<Stream, TabletError> {
        let source = binlog_source::parse(&self.bytes("source")).map_err(|error| {
            let error = error.reason;
            TabletError::plain(format!("error unmarshaling binlog_source field from vreplication table record: {error}"))
        })?;
        let time = |name| Some(Time { seconds: self.number(name), nanoseconds: 0 });
        let state = VReplicationWorkflowState::from_str_name(&self.text("state")).unwrap_or(VReplicationWorkflowState::Unknown);
        Ok(Stream {
            id: self.small("id"),
            bls: Some(source),
            pos: self.bytes("pos"),
            stop_pos: self.bytes("stop_pos"),
            max_tps: self.number("max_tps"),
            max_replication_lag: self.number("max_replication_lag"),
            time_updated: time("time_updated"),
            transaction_timestamp: time("transaction_timestamp"),
            state: state as i32,
            message: self.bytes("message"),
            rows_copied: self.number("rows_copied"),
            time_heartbeat: time("time_heartbeat"),
            time_throttled: time("time_throttled"),
            component_throttled: self.bytes("component_throttled"),
        })
    }
}

pub(super) fn as_bytes(value: &SqliteValue) -> Vec<u8> {
    match value {
        SqliteValue::Null => Vec::new(),
        SqliteValue::Integer(number) => number.to_string().into_bytes(),
        SqliteValue::Real(number) => number.to_string().into_bytes(),
        SqliteValue::Text(text) => text.clone().into_bytes(),
        SqliteValue::Blob(raw) => raw.clone(),
    }
}

/// A row as Go prints a map of its texts: keys sorted, NULL left out, `<`, `>` and `&` escaped.
fn go_json(row: &NamedRow<'_>) -> String {
    let mut entries: Vec<(&String, &SqliteValue)> = row.names.iter().zip(row.values).collect();
    entries.retain(|(_, value)| !matches!(value, SqliteValue::Null));
    entries.sort_by_key(|(name, _)| *name);
    let mut out = String::from("{");
    for (index, (name, value)) in entries.into_iter().enumerate() {
        let text = String::from_utf8_lossy(&as_bytes(value)).into_owned();
        let quoted = serde_json::Value::String(text).to_string();
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(out, "{comma}\"{name}\":{quoted}");
    }
    out.push('}');
    let mut escaped = String::with_capacity(out.len());
    for character in out.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(escaped, "\\u{:04x}", character as u32);
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// The ids that an INSERT generated.
fn new_ids(result: &QueryResult) -> std::ops::Range<i64> {
    let first = i64::try_from(result.insert_id).unwrap_or(0);
    first..first.saturating_add(i64::try_from(result.rows_affected).unwrap_or(0))
}

fn id_in(ids: &[i64]) -> Expr {
    let list = ids.iter().map(|id| Expr::Value(Value::Number(id.to_string(), false).into())).collect();
    Expr::InList { expr: Box::new(Expr::Identifier(sqlparser::ast::Ident::new("id"))), list, negated: false }
}

/// A text as a literal of MySQL.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

pub(crate) fn parse_query(sql: &str) -> Result<Query, TabletError> {
    match parse_one(sql, Release::NEWEST)? {
        Statement::Query(query) => Ok(*query),
        _ => Err(TabletError::coded(Code::Internal, format!("not a query: {sql}"))),
    }
}
