//! What creating, resuming, stopping and deleting a `VDiff` does to the rows of `_vt.vdiff`, `_vt.vdiff_table` and `_vt.vdiff_log`.
//!
//! No row of a table is compared: there are none. A comparison that was begun here gets on by one table each time it is shown, and finds
//! as many equal rows as the tablet's statistics have; one that was recorded while it compared stays as it was. Facts:
//! `go/vt/vttablet/tabletmanager/vdiff/action.go`, `controller.go` and `schema.go`; what the rows look like after each was recorded on
//! v24 (`tests/recordings/vdiff.json`).

use rusqlite::types::Value as SqliteValue;
use serde_json::{Map, Value, json};
use vtflow_planner::{
    formats::{binlog_source, uuid},
    proto::tabletmanagerdata::{VDiffOptions, VDiffPickerOptions, VDiffRequest, VDiffResponse},
};

use super::{
    streams::as_bytes,
    vdiff::{Place, argument_not_supported},
};
use crate::{
    mysql::{
        engine::{Engine, mysql},
        error::TabletError,
        rewrite::Translated,
        schema::{INFORMATION_SCHEMA, SIDECAR},
    },
    release::Release,
};

/// States in which one has come to an end that is not a failure.
const ENDED: &str = "('completed', 'stopped')";

impl Engine {
    /// Makes the row, and begins unless the request says not to (which tablets before v21 do not know).
    pub(super) fn create_vdiff(&mut self, place: &Place<'_>, request: &VDiffRequest) -> Result<VDiffResponse, TabletError> {
        if self.vdiff_id(place, &request.vdiff_uuid)?.is_some() {
            let (uuid, name) = (&request.vdiff_uuid, place.name(self.release));
            return Err(TabletError::plain(format!("vdiff with UUID {uuid} already exists on tablet {name}")));
        }
        let mut options = request.options.clone().unwrap_or_default();
        let picker = options.picker_options.get_or_insert_default();
        for cell in [&mut picker.source_cell, &mut picker.target_cell] {
            if cell.is_empty() {
                place.cells.clone_into(cell);
            }
        }
        let is_late =
            self.release >= Release::new(21) && options.core_options.as_ref().is_some_and(|core| core.auto_start == Some(false));
        let state = if is_late { "stopped" } else { "pending" };
        let texts = [
            &request.keyspace,
            &request.workflow,
            state,
            &stored(&options, self.release),
            place.shard,
            place.db_name,
            &request.vdiff_uuid,
        ];
        self.atomically(|engine| {
            engine.write(
                &format!(
                    "INSERT INTO {SIDECAR}.vdiff (keyspace, workflow, state, options, shard, db_name, vdiff_uuid) \
                     VALUES (?1, ?2, ?3, vt_json(?4), ?5, ?6, ?7)"
                ),
                texts.map(text).to_vec(),
            )?;
            let id = engine.connection.last_insert_rowid();
            if !is_late {
                engine.begin(id, place, request)?;
            }
            Ok(VDiffResponse { id, vdiff_uuid: request.vdiff_uuid.clone(), output: None })
        })
    }

    /// Goes on where it ended, table by table; one that never began begins, on v21 and later.
    pub(super) fn resume_vdiff(&mut self, place: &Place<'_>, request: &VDiffRequest) -> Result<VDiffResponse, TabletError> {
        let uuid = &request.vdiff_uuid;
        let name = place.name(self.release);
        let Some(id) = self.vdiff_id(place, uuid)? else {
            return Err(TabletError::plain(format!("vdiff with UUID {uuid} not found on tablet {name}")));
        };
        let tables = format!("SELECT 1 FROM {SIDECAR}.vdiff_table WHERE vdiff_id = ?1");
        let ended = format!(
            "SELECT 1 FROM {SIDECAR}.vdiff WHERE id = ?1 AND state IN {ENDED} AND EXISTS ({tables} AND state IN {ENDED})"
        );
        let untouched = format!(
            "SELECT 1 FROM {SIDECAR}.vdiff WHERE id = ?1 AND state = 'stopped' AND started_at IS NULL AND completed_at IS NULL \
             AND NOT EXISTS ({tables})"
        );
        let can_begin = self.release >= Release::new(21) && !self.ids_of(&untouched, id)?.is_empty();
        if self.ids_of(&ended, id)?.is_empty() && !can_begin {
            let text = format!("no completed or stopped vdiff found for UUID {uuid} on tablet {name}");
            return Err(TabletError::plain(text));
        }
        self.atomically(|engine| {
            let set = "state = 'pending', started_at = NULL, completed_at = NULL";
            engine.write(&format!("UPDATE {SIDECAR}.vdiff SET {set} WHERE id = ?1"), vec![id.into()])?;
            let of_it = format!("WHERE vdiff_id = ?1 AND state IN {ENDED}");
            engine.write(&format!("UPDATE {SIDECAR}.vdiff_table SET state = 'pending' {of_it}"), vec![id.into()])?;
            engine.begin(id, place, request)?;
            Ok(VDiffResponse { id, vdiff_uuid: uuid.clone(), output: None })
        })
    }

    /// One that is not there, or has completed, or has no table yet, is left as it is, and nobody is told.
    pub(super) fn stop_vdiff(&mut self, place: &Place<'_>, request: &VDiffRequest) -> Result<VDiffResponse, TabletError> {
        let Some(id) = self.vdiff_id(place, &request.vdiff_uuid)? else { return Ok(VDiffResponse::default()) };
        self.comparing.remove(&id);
        let tables = format!("EXISTS (SELECT 1 FROM {SIDECAR}.vdiff_table WHERE vdiff_id = ?1)");
        let open = format!("SELECT 1 FROM {SIDECAR}.vdiff WHERE id = ?1 AND state != 'completed' AND {tables}");
        if !self.ids_of(&open, id)?.is_empty() {
            self.atomically(|engine| {
                engine.set_state(id, "stopped", "")?;
                engine.write(&format!("UPDATE {SIDECAR}.vdiff_table SET state = 'stopped' WHERE vdiff_id = ?1"), vec![id.into()])
            })?;
        }
        Ok(VDiffResponse::default())
    }

    /// `all` of a workflow, with their log; or one, whose log stays.
    pub(super) fn delete_vdiffs(&mut self, place: &Place<'_>, request: &VDiffRequest) -> Result<VDiffResponse, TabletError> {
        let ids = if request.action_arg == "all" {
            let of_it = "keyspace = ?1 AND workflow = ?2 AND db_name = ?3";
            let texts = [request.keyspace.as_str(), &request.workflow, place.db_name].map(text).to_vec();
            self.numbers(&format!("SELECT id FROM {SIDECAR}.vdiff WHERE {of_it}"), texts)?
        } else {
            let uuid = uuid::parse(&request.action_arg).map_err(|_| argument_not_supported(&request.action_arg))?;
            let none = || format!("no vdiff found for UUID {uuid} on tablet {}", place.name(self.release));
            vec![self.vdiff_id(place, &uuid)?.ok_or_else(|| TabletError::plain(none()))?]
        };
        let tables: &[(&str, &str)] = match request.action_arg.as_str() {
            "all" => &[("vdiff_log", "vdiff_id"), ("vdiff_table", "vdiff_id"), ("vdiff", "id")],
            _ => &[("vdiff_table", "vdiff_id"), ("vdiff", "id")],
        };
        self.atomically(|engine| {
            for id in ids {
                engine.comparing.remove(&id);
                for (table, column) in tables {
                    engine.write(&format!("DELETE FROM {SIDECAR}.{table} WHERE {column} = ?1"), vec![id.into()])?;
                }
            }
            Ok(VDiffResponse::default())
        })
    }

    /// The comparisons of a workflow that were begun here get on by a table.
    pub(super) fn compare_on(&mut self, keyspace: &str, workflow: &str) -> Result<(), TabletError> {
        for id in self.comparing.clone() {
            let of_it = format!("SELECT id FROM {SIDECAR}.vdiff WHERE id = {id} AND keyspace = ?1 AND workflow = ?2");
            if !self.numbers(&of_it, vec![text(keyspace), text(workflow)])?.is_empty() {
                self.atomically(|engine| engine.compare_table(id))?;
            }
        }
        Ok(())
    }

    /// The controller starts: every table has its row, and the first one is compared.
    fn begin(&mut self, id: i64, place: &Place<'_>, request: &VDiffRequest) -> Result<(), TabletError> {
        self.set_state(id, "started", ", started_at = vt_now(0)")?;
        self.log_vdiff(id, "State changed to: started")?;
        for table in self.tables_of(id, place, request)? {
            let known = format!("SELECT 1 FROM {SIDECAR}.vdiff_table WHERE vdiff_id = ?1 AND table_name = ?2");
            if self.numbers(&known, vec![id.into(), text(&table)])?.is_empty() {
                let rows = self.statistics(place.db_name, &table)?;
                self.write(
                    &format!(
                        "INSERT INTO {SIDECAR}.vdiff_table (vdiff_id, table_name, state, table_rows) VALUES (?1, ?2, 'pending', ?3)"
                    ),
                    vec![id.into(), text(&table), rows.into()],
                )?;
            }
        }
        self.comparing.insert(id);
        self.begin_table(id).map(|_| ())
    }

    /// The next table is compared; false if there is none.
    fn begin_table(&mut self, id: i64) -> Result<bool, TabletError> {
        let Some(table) = self.table_in(id, "pending")? else { return Ok(false) };
        self.set_table(id, &table, "state = 'started'", Vec::new())?;
        self.log_vdiff(id, &format!("started: table '{table}'"))?;
        Ok(true)
    }

    /// The table under way is done, and the next one begins.
    fn compare_table(&mut self, id: i64) -> Result<(), TabletError> {
        if let Some(table) = self.table_in(id, "started")? {
            let rows = format!(
                "SELECT max(table_rows, rows_compared) FROM {SIDECAR}.vdiff_table WHERE vdiff_id = ?1 AND table_name = ?2"
            );
            let rows = self.numbers(&rows, vec![id.into(), text(&table)])?.pop().unwrap_or_default();
            let report = json!({
                "TableName": table, "ProcessedRows": rows, "MatchingRows": rows, "MismatchedRows": 0, "ExtraRowsSource": 0,
                "ExtraRowsTarget": 0
            });
            let set = "state = 'completed', rows_compared = ?3, report = vt_json(?4)";
            self.set_table(id, &table, set, vec![rows.into(), text(&report.to_string())])?;
            // Twice, as tablets have it.
            for _ in 0..2 {
                self.log_vdiff(id, &format!("completed: table '{table}'"))?;
            }
        }
        if !self.begin_table(id)? {
            self.comparing.remove(&id);
            self.set_state(id, "completed", ", completed_at = vt_now(0)")?;
            self.log_vdiff(id, "State changed to: completed")?;
        }
        Ok(())
    }

    /// The tables of the workflow's streams, or those of them that the stored options name.
    fn tables_of(&self, id: i64, place: &Place<'_>, request: &VDiffRequest) -> Result<Vec<String>, TabletError> {
        let sources = self.texts(
            &format!("SELECT source FROM {SIDECAR}.vreplication WHERE workflow = ?1 AND db_name = ?2"),
            vec![text(&request.workflow), text(place.db_name)],
        )?;
        let mut tables = Vec::new();
        for source in sources.iter().filter_map(|source| binlog_source::parse(source.as_bytes()).ok()) {
            for rule in source.filter.into_iter().flat_map(|filter| filter.rules) {
                match rule.r#match.strip_prefix('/') {
                    None => tables.push(rule.r#match),
                    // Which tables a pattern names is not known here: all.
                    Some(_) => tables.extend(self.texts(
                        &format!("SELECT TABLE_NAME FROM {INFORMATION_SCHEMA}.tables WHERE TABLE_SCHEMA = ?1"),
                        vec![text(place.db_name)],
                    )?),
                }
            }
        }
        tables.sort();
        tables.dedup();
        let options = self.texts(&format!("SELECT options FROM {SIDECAR}.vdiff WHERE id = ?1"), vec![id.into()])?.pop();
        let options: Value = serde_json::from_str(&options.unwrap_or_default()).unwrap_or_default();
        let wanted: Vec<&str> =
            options["core_options"]["tables"].as_str().into_iter().flat_map(|tables| tables.split(',')).collect();
        tables.retain(|table| wanted.is_empty() || wanted.contains(&table.as_str()));
        Ok(tables)
    }

    fn statistics(&self, db_name: &str, table: &str) -> Result<i64, TabletError> {
        let of_it = "TABLE_SCHEMA = ?1 AND TABLE_NAME = ?2";
        let sql = format!("SELECT TABLE_ROWS FROM {INFORMATION_SCHEMA}.tables WHERE {of_it}");
        Ok(self.numbers(&sql, vec![text(db_name), text(table)])?.pop().unwrap_or_default())
    }

    fn vdiff_id(&self, place: &Place<'_>, uuid: &str) -> Result<Option<i64>, TabletError> {
        let sql = format!("SELECT id FROM {SIDECAR}.vdiff WHERE vdiff_uuid = ?1 AND db_name = ?2");
        Ok(self.numbers(&sql, vec![text(uuid), text(place.db_name)])?.pop())
    }

    fn table_in(&self, id: i64, state: &str) -> Result<Option<String>, TabletError> {
        let of_it = "vdiff_id = ?1 AND state = ?2 ORDER BY table_name LIMIT 1";
        let sql = format!("SELECT table_name FROM {SIDECAR}.vdiff_table WHERE {of_it}");
        Ok(self.texts(&sql, vec![id.into(), text(state)])?.pop())
    }

    fn set_state(&self, id: i64, state: &str, more: &str) -> Result<(), TabletError> {
        let has_error = self.catalog.get("vdiff").is_some_and(|table| table.columns.iter().any(|c| *c.name == *"last_error"));
        let error = if has_error { ", last_error = ''" } else { "" };
        let sql = format!("UPDATE {SIDECAR}.vdiff SET state = ?2{error}{more} WHERE id = ?1");
        self.write(&sql, vec![id.into(), text(state)])
    }

    fn set_table(&self, id: i64, table: &str, set: &str, values: Vec<SqliteValue>) -> Result<(), TabletError> {
        let sql =
            format!("UPDATE {SIDECAR}.vdiff_table SET {set}, updated_at = vt_now(0) WHERE vdiff_id = ?1 AND table_name = ?2");
        self.write(&sql, [vec![id.into(), text(table)], values].concat())
    }

    fn log_vdiff(&self, id: i64, message: &str) -> Result<(), TabletError> {
        self.write(
            &format!("INSERT INTO {SIDECAR}.vdiff_log (vdiff_id, message) VALUES (?1, ?2)"),
            vec![id.into(), text(message)],
        )
    }

    fn write(&self, sql: &str, params: Vec<SqliteValue>) -> Result<(), TabletError> {
        self.change(sql, params).map_err(|error| mysql(error, sql))
    }

    fn ids_of(&self, sql: &str, id: i64) -> Result<Vec<i64>, TabletError> {
        self.numbers(sql, vec![id.into()])
    }

    fn numbers(&self, sql: &str, params: Vec<SqliteValue>) -> Result<Vec<i64>, TabletError> {
        let number = |value: SqliteValue| if let SqliteValue::Integer(number) = value { Some(number) } else { None };
        Ok(self.firsts(sql, params)?.into_iter().filter_map(number).collect())
    }

    fn texts(&self, sql: &str, params: Vec<SqliteValue>) -> Result<Vec<String>, TabletError> {
        let values = self.firsts(sql, params)?;
        Ok(values.iter().map(|value| String::from_utf8_lossy(&as_bytes(value)).into_owned()).collect())
    }

    /// The first column of a query.
    fn firsts(&self, sql: &str, params: Vec<SqliteValue>) -> Result<Vec<SqliteValue>, TabletError> {
        let rows = self.run(&Translated { sql: sql.to_owned(), params });
        let rows = rows.map_err(|error| TabletError::plain(error.to_string()))?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next()).collect())
    }
}

fn text(text: &str) -> SqliteValue {
    SqliteValue::Text(text.to_owned())
}

/// The options as a tablet of a release stores them: fields that it does not know are lost, zero values left out.
fn stored(options: &VDiffOptions, release: Release) -> String {
    let knows = |since: u8| release >= Release::new(since);
    let object = |fields: Vec<(&str, Value, u8)>| {
        let is_zero = |value: &Value| *value == json!(0) || *value == json!("") || value.is_null();
        let kept = fields.into_iter().filter(|(_, value, since)| knows(*since) && !is_zero(value));
        Value::Object(kept.map(|(name, value, _)| (name.to_owned(), value)).collect())
    };
    let flag = |is_set: bool| if is_set { json!(true) } else { Value::Null };
    let mut all = Map::new();
    if let Some(VDiffPickerOptions { tablet_types, source_cell, target_cell }) = &options.picker_options {
        let fields = vec![
            ("tablet_types", json!(tablet_types), 14),
            ("source_cell", json!(source_cell), 14),
            ("target_cell", json!(target_cell), 14),
        ];
        all.insert("picker_options".into(), object(fields));
    }
    if let Some(core) = &options.core_options {
        let fields = vec![
            ("tables", json!(core.tables), 14),
            ("auto_retry", flag(core.auto_retry), 15),
            ("max_rows", json!(core.max_rows), 14),
            ("checksum", flag(core.checksum), 14),
            ("sample_pct", json!(core.sample_pct), 14),
            ("timeout_seconds", json!(core.timeout_seconds), 14),
            ("max_extra_rows_to_compare", json!(core.max_extra_rows_to_compare), 14),
            ("update_table_stats", flag(core.update_table_stats), 17),
            ("max_diff_seconds", json!(core.max_diff_seconds), 19),
            ("auto_start", json!(core.auto_start), 21),
        ];
        all.insert("core_options".into(), object(fields));
    }
    if let Some(report) = &options.report_options {
        let fields = vec![
            ("only_pks", flag(report.only_pks), 16),
            ("debug_query", flag(report.debug_query), 14),
            ("format", json!(report.format), 14),
            ("max_sample_rows", json!(report.max_sample_rows), 19),
            ("row_diff_column_truncate_at", json!(report.row_diff_column_truncate_at), 21),
        ];
        all.insert("report_options".into(), object(fields));
    }
    Value::Object(all).to_string()
}
