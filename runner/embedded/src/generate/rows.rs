//! Sidecar rows for generated tablets: streams in every state, their copy state, their log, schema migrations.
//!
//! It builds rows and knows no topology. What stands in the columns follows what real tablets wrote (`tests/snapshots`).

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    mysql::{
        clock,
        schema::{self, Table},
    },
    release::Release,
    snapshot::{Cell, TableSize, TabletRows},
};
use vtflow_planner::Timestamp;

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Copying,
    Running,
    Idle,
    Lagging,
    Throttled,
    Failed,
    Retrying,
    Stopped,
    Frozen,
    NeverStarted,
    /// Copied and stopped on its own: a lookup vindex.
    Done,
}

/// One stream to add.
pub(super) struct NewStream<'a> {
    pub(super) workflow: &'a str,
    pub(super) case: Case,
    /// Column `workflow_type`.
    pub(super) kind: i64,
    pub(super) source_keyspace: &'a str,
    pub(super) source_shard: &'a str,
    /// Tables with the statement that fills each.
    pub(super) rules: Vec<(String, String)>,
    pub(super) cell: &'a str,
    /// Copy-state rows, if it copies.
    pub(super) copy_states: u32,
    pub(super) log_rows: u32,
}

/// One schema migration to add.
pub(super) struct NewMigration<'a> {
    pub(super) uuid: &'a str,
    pub(super) shard: &'a str,
    pub(super) table: &'a str,
    pub(super) statement: &'a str,
    pub(super) context: &'a str,
    pub(super) status: &'a str,
    pub(super) options: &'a str,
}

/// One comparison of a workflow's source and target rows to add.
pub(super) struct NewVDiff<'a> {
    pub(super) uuid: &'a str,
    pub(super) workflow: &'a str,
    pub(super) shard: &'a str,
    pub(super) tables: &'a [&'a str],
    /// Otherwise it is still comparing the first table.
    pub(super) is_finished: bool,
}

/// The rows of one tablet while they are made.
pub(super) struct TabletBuilder {
    alias: String,
    keyspace: String,
    db_name: String,
    release: Release,
    now: i64,
    rows: TabletRows,
    tables: BTreeMap<String, Table>,
    next_stream: i64,
}

/// As `vtctldclient VDiff create` without flags leaves them.
const VDIFF_OPTIONS: &str = "{\"core_options\": {\"max_rows\": 9223372036854775807, \"checksum\": true, \"sample_pct\": 100}, \
    \"picker_options\": {\"tablet_types\": \"in_order:RDONLY,REPLICA,PRIMARY\"}, \"report_options\": {\"format\": \"text\"}}";

const UNLIMITED: i64 = i64::MAX;

impl TabletBuilder {
    pub(super) fn new(alias: &str, keyspace: &str, release: Release, taken_at: Timestamp) -> Self {
        let tables: BTreeMap<String, Table> =
            schema::tables(release).into_iter().map(|table| (table.name.to_string(), table)).collect();
        let sidecar = tables.iter().map(|(name, table)| (name.clone(), table.without_rows())).collect();
        Self {
            alias: alias.to_owned(),
            keyspace: keyspace.to_owned(),
            db_name: format!("vt_{keyspace}"),
            release,
            now: taken_at.seconds,
            rows: TabletRows {
                mysql_version: "8.4.6".to_owned(),
                vitess_release: Some(format!("v{}.0.0", release.major())),
                sidecar,
                ..TabletRows::default()
            },
            tables,
            next_stream: 1,
        }
    }

    pub(super) fn finish(self) -> TabletRows {
        self.rows
    }

    /// Adds a row; columns that the release lacks are left out, those not named get the table's default, 0, '' or NULL.
    fn add(&mut self, table: &str, values: &[(&str, Cell)]) {
        let (Some(content), Some(known)) = (self.rows.sidecar.get_mut(table), self.tables.get(table)) else { return };
        let row = known
            .columns
            .iter()
            .map(|column| {
                let given = values.iter().find(|(name, _)| column.name == *name).map(|(_, value)| value.clone());
                given.unwrap_or_else(|| match (column.default.as_deref(), column.nullable) {
                    (Some(number), _) if number.parse::<i64>().is_ok() => Cell::Int(number.parse().unwrap_or(0)),
                    (None, true) => Cell::Null,
                    _ => text(""),
                })
            })
            .collect();
        content.rows.push(row);
    }

    fn count(&self, table: &str) -> i64 {
        self.rows.sidecar.get(table).map_or(0, |content| i64::try_from(content.rows.len()).unwrap_or(0))
    }

    /// Adds a stream with its copy state and log.
    pub(super) fn stream(&mut self, new: &NewStream<'_>) {
        let id = self.next_stream;
        self.next_stream += 1;
        let now = self.now;
        let source = source_text(self.release, new);
        let uuid = format!("6ca9b5b3-e710-11f1-ac9e-{:012x}", 0x02fc_0000_0000_u64 + u64::from(position_seed(new.source_shard)));
        let position = format!("MySQL56/{uuid}:1-{}", 1000 + id * 37);
        let error = "Unknown column 'price' in 'field list' (errno 1054) (sqlstate 42S22) during query: insert into big2(id,pad,price) \
                     values (32477,'x',12)";
        let error = if self.release >= Release::new(22) { format!("terminal error: {error}") } else { error.to_owned() };
        // (state, message, position, updated, transaction, heartbeat)
        let (state, message, position, updated, transaction, heartbeat) = match new.case {
            Case::Copying => ("Copying", text(""), position, now - 1, 0, now - 1),
            Case::Running => ("Running", text(""), position, now - 1, now - 2, now - 1),
            Case::Idle => ("Running", text(""), position, now - 1, now - 3900, now - 1),
            Case::Lagging => ("Running", text(""), position, now - 600, now - 600, now - 600),
            Case::Throttled => ("Running", text(""), position, now - 1, now - 300, now - 300),
            Case::Failed => ("Error", text(&error), position, now - 420, now - 421, now - 420),
            Case::Retrying => {
                let error = "vttablet: rpc error: code = Unavailable desc = error reading from server: EOF";
                ("Running", text(error), position, now - 90, now - 91, now - 90)
            }
            Case::Stopped => ("Stopped", text("stopped by hand"), position, now - 7200, now - 7201, now - 7200),
            Case::Frozen => ("Stopped", text("FROZEN"), position, now - 86_400, now - 86_401, now - 86_400),
            Case::NeverStarted => {
                let digits: String =
                    clock::to_text(Timestamp { seconds: now - 1800, nanos: 0 }, 0).chars().filter(char::is_ascii_digit).collect();
                let error = "Error picking tablet: context has expired";
                ("Running", text(error), String::new(), digits.parse().unwrap_or(0), 0, 0)
            }
            Case::Done if new.kind == 5 => {
                ("Stopped", text("stopped for online DDL cutover"), position, now - 720, now - 721, now - 720)
            }
            Case::Done => ("Stopped", text("Stopped after copy."), position, now - 5400, 0, 0),
        };
        let copied = match new.case {
            Case::NeverStarted => 0,
            Case::Copying => 32_477 + id * 1000,
            _ => 800_516 + id,
        };
        let throttled = new.case == Case::Throttled;
        let by_rpc = new.kind == 1 || new.kind == 0;
        let limit = if by_rpc { 0 } else { UNLIMITED };
        let types = if by_rpc { "in_order:replica,primary" } else { "in_order:REPLICA,PRIMARY" };
        let row = [
            ("id", Cell::Int(id)),
            ("workflow", text(new.workflow)),
            ("source", text(&source)),
            ("pos", text(&position)),
            ("max_tps", Cell::Int(limit)),
            ("max_replication_lag", Cell::Int(limit)),
            ("cell", text(if new.kind == 5 { "" } else { new.cell })),
            ("tablet_types", text(types)),
            ("time_updated", Cell::Int(updated)),
            ("transaction_timestamp", Cell::Int(transaction)),
            ("state", text(state)),
            ("message", message.clone()),
            ("db_name", text(&self.db_name.clone())),
            ("rows_copied", Cell::Int(copied)),
            ("time_heartbeat", Cell::Int(heartbeat)),
            ("workflow_type", Cell::Int(new.kind)),
            ("time_throttled", Cell::Int(if throttled { now - 1 } else { 0 })),
            ("component_throttled", text(if throttled { "vplayer" } else { "" })),
            (
                "reason_throttled",
                text(if throttled {
                    "vplayer is denied access due to self/lag metric value 12.3 exceeding threshold 5"
                } else {
                    ""
                }),
            ),
            ("options", text("{}")),
        ];
        self.add("vreplication", &row);
        for (index, (table, _)) in new.rules.iter().enumerate().filter(|(_, (table, _))| !table.starts_with('/')) {
            let rows = if new.case == Case::Copying && index > 0 { 0 } else { copied };
            self.size(table, rows);
        }
        if new.case == Case::Copying {
            self.copy_states(id, new);
        }
        self.log(id, new, state, &message, &position, &source);
    }

    /// What the server believes of a table's size; of a table that has one already, its rows are added.
    pub(super) fn size(&mut self, table: &str, rows: i64) {
        const ROW_BYTES: i64 = 96;
        let sizes = &mut self.rows.table_sizes;
        if let Some(known) = sizes.iter_mut().find(|known| known.table == table) {
            known.rows += rows;
            known.bytes += rows * ROW_BYTES;
        } else {
            let (database, table, bytes) = (self.db_name.clone(), table.to_owned(), rows * ROW_BYTES);
            sizes.push(TableSize { database, table, rows, bytes, is_view: false });
        }
    }

    /// Adds a `VDiff` with its tables.
    pub(super) fn vdiff(&mut self, new: &NewVDiff<'_>) {
        const ROWS: i64 = 800_516;
        let at = |before: i64| text(&clock::to_text(Timestamp { seconds: self.now - before, nanos: 0 }, 0));
        let (created, begun, ended) = (at(5400), at(5399), if new.is_finished { at(5100) } else { Cell::Null });
        let alive = if new.is_finished { at(5100) } else { at(2) };
        let id = self.count("vdiff") + 1;
        let row = [
            ("id", Cell::Int(id)),
            ("vdiff_uuid", text(new.uuid)),
            ("workflow", text(new.workflow)),
            ("keyspace", text(&self.keyspace.clone())),
            ("shard", text(new.shard)),
            ("db_name", text(&self.db_name.clone())),
            ("state", text(if new.is_finished { "completed" } else { "started" })),
            ("options", text(VDIFF_OPTIONS)),
            ("created_at", created.clone()),
            ("started_at", begun),
            ("liveness_timestamp", alive.clone()),
            ("completed_at", ended),
            ("last_error", text("")),
        ];
        self.add("vdiff", &row);
        for (index, table) in new.tables.iter().enumerate() {
            let (state, compared) = match (new.is_finished, index) {
                (true, _) => ("completed", ROWS),
                (false, 0) => ("started", ROWS / 3),
                (false, _) => ("pending", 0),
            };
            let report = format!(
                "{{\"TableName\": \"{table}\", \"MatchingRows\": {compared}, \"ProcessedRows\": {compared}, \"MismatchedRows\": 0, \
                 \"ExtraRowsSource\": 0, \"ExtraRowsTarget\": 0}}"
            );
            let row = [
                ("vdiff_id", Cell::Int(id)),
                ("table_name", text(table)),
                ("state", text(state)),
                ("table_rows", Cell::Int(ROWS)),
                ("rows_compared", Cell::Int(compared)),
                ("report", text(if compared == 0 { "{}" } else { &report })),
                ("created_at", created.clone()),
                ("updated_at", alive.clone()),
            ];
            self.add("vdiff_table", &row);
        }
    }

    /// The table in progress first, with how far it got; the others wait.
    fn copy_states(&mut self, stream: i64, new: &NewStream<'_>) {
        for index in 0..new.copy_states {
            let table = new.rules.get(index as usize).map_or_else(|| format!("table_{index:03}"), |(table, _)| table.clone());
            let key = 100_000 + stream * 1000;
            let lastpk = format!(
                "fields:{{name:\"id\" type:INT64 charset:63 flags:49667}} rows:{{lengths:{} values:\"{key}\"}}",
                key.to_string().len()
            );
            let row = [
                ("id", Cell::Int(self.count("copy_state") + 1)),
                ("vrepl_id", Cell::Int(stream)),
                ("table_name", text(&table)),
                ("lastpk", if index == 0 { text(&lastpk) } else { Cell::Null }),
            ];
            self.add("copy_state", &row);
        }
    }

    fn log(&mut self, stream: i64, new: &NewStream<'_>, state: &str, message: &Cell, position: &str, source: &str) {
        let begun = self.now - 90_000;
        let created = format!(
            "{{\"db_name\":\"{}\",\"id\":\"{stream}\",\"pos\":\"\",\"source\":{},\"state\":\"Stopped\",\"workflow\":\"{}\"}}",
            self.db_name,
            serde_json::Value::String(source.to_owned()),
            new.workflow
        );
        let tables = new.rules.len().max(1);
        let gtid = position.trim_start_matches("MySQL56/");
        let mut entries = vec![
            ("Stream Created", "Stopped".to_owned(), created, 0),
            ("State Changed", "Copying".to_owned(), String::new(), 1),
            ("Started Copy Phase", "Copying".to_owned(), format!("Copy phase started for {tables} table(s)"), 2),
        ];
        if new.case == Case::NeverStarted {
            entries.truncate(1);
        } else if new.case != Case::Copying {
            entries.push(("Ended Copy Phase", "Copying".to_owned(), format!("Copy phase completed at gtid {gtid}"), 300));
            entries.push(("State Changed", "Running".to_owned(), String::new(), 301));
        }
        let last = match message {
            Cell::Text(message) => message.clone(),
            _ => String::new(),
        };
        if !last.is_empty() {
            let kind = if state == "Running" { "Message" } else { "State Changed" };
            entries.push((kind, state.to_owned(), last, 89_000));
        }
        let wanted = new.log_rows as usize;
        // Real logs of old streams are full of texts that came and went.
        let missing = wanted.saturating_sub(entries.len());
        for index in 0..missing {
            let at = 400 + i64::try_from(index * 80_000 / missing).unwrap_or(0);
            let text = format!("vttablet: rpc error: code = Unavailable desc = try {index}: connection error");
            let place = entries.iter().position(|(_, _, _, later)| *later > at).unwrap_or(entries.len());
            entries.insert(place, ("Message", "Running".to_owned(), text, at));
        }
        // The newest ones are kept when fewer are wanted.
        let skipped = entries.len().saturating_sub(wanted);
        for (kind, state, message, after) in entries.into_iter().skip(skipped) {
            let at = clock::to_text(Timestamp { seconds: begun + after, nanos: 0 }, 0);
            let count = if kind == "Message" { 17 } else { 1 };
            let row = [
                ("id", Cell::Int(self.count("vreplication_log") + 1)),
                ("vrepl_id", Cell::Int(stream)),
                ("type", text(kind)),
                ("state", text(&state)),
                ("created_at", text(&at)),
                ("updated_at", text(&at)),
                ("message", text(&message)),
                ("count", Cell::Int(count)),
            ];
            self.add("vreplication_log", &row);
        }
    }

    /// Adds a schema migration.
    pub(super) fn migration(&mut self, new: &NewMigration<'_>) {
        let time = |ago: i64| text(&clock::to_text(Timestamp { seconds: self.now - ago, nanos: 0 }, 0));
        let (started, done, running) = (new.status != "queued", new.status == "complete", new.status == "running");
        let when = |happened: bool, ago: i64| if happened { time(ago) } else { Cell::Null };
        let completed = if done {
            text(&format!("{}.250000", clock::to_text(Timestamp { seconds: self.now - 720, nanos: 0 }, 0)))
        } else {
            Cell::Null
        };
        let flag = |set: bool| Cell::Int(i64::from(set));
        let row = [
            ("id", Cell::Int(self.count("schema_migrations") + 1)),
            ("migration_uuid", text(new.uuid)),
            ("keyspace", text(&self.keyspace)),
            ("shard", text(new.shard)),
            ("mysql_schema", text(&self.db_name)),
            ("mysql_table", text(new.table)),
            ("migration_statement", text(new.statement)),
            ("strategy", text("vitess")),
            ("options", text(new.options)),
            ("added_timestamp", time(1500)),
            ("requested_timestamp", time(1499)),
            ("ready_timestamp", when(started, 1490)),
            ("started_timestamp", when(started, 1480)),
            ("liveness_timestamp", when(started, if running { 1 } else { 720 })),
            ("completed_timestamp", completed),
            ("migration_status", text(new.status)),
            ("artifacts", text(&format!("_vt_vrp_{}_20261123075252_,", new.uuid.replace('_', "")))),
            ("tablet", text(&self.alias)),
            ("progress", text(if started { "100" } else { "0" })),
            ("migration_context", text(new.context)),
            ("ddl_action", text("alter")),
            ("eta_seconds", Cell::Int(if started { 0 } else { -1 })),
            ("rows_copied", Cell::Int(if started { 443 } else { 0 })),
            ("table_rows", Cell::Int(443)),
            ("retain_artifacts_seconds", Cell::Int(86_400)),
            ("postpone_completion", flag(new.options.contains("--postpone-completion"))),
            ("postpone_launch", flag(new.options.contains("--postpone-launch"))),
            ("ready_to_complete", flag(started)),
            ("vitess_liveness_indicator", Cell::Int(if running { self.now - 1 } else { 0 })),
            ("user_throttle_ratio", text("0")),
            ("stage", text(if done { "re-enabling writes" } else { "" })),
        ];
        self.add("schema_migrations", &row);
    }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

/// A number of its own for each source shard, so that every source has its own server in positions.
fn position_seed(shard: &str) -> u16 {
    shard.bytes().fold(1, |seed, byte| seed.wrapping_mul(31).wrapping_add(u16::from(byte)))
}

/// The `source` column, in the dialect of the release.
fn source_text(release: Release, new: &NewStream<'_>) -> String {
    let quoted = |text: &str| serde_json::Value::String(text.to_owned()).to_string();
    let (keyspace, shard) = (quoted(new.source_keyspace), quoted(new.source_shard));
    let mut rules = String::new();
    if release.major() == 10 {
        for (table, filter) in &new.rules {
            let _ = write!(rules, "rules:<match:{} filter:{} > ", quoted(table), quoted(filter));
        }
        return format!("keyspace:{keyspace} shard:{shard} filter:<{rules}> ");
    }
    for (index, (table, filter)) in new.rules.iter().enumerate() {
        let space = if index > 0 { " " } else { "" };
        let _ = write!(rules, "{space}rules:{{match:{} filter:{}}}", quoted(table), quoted(filter));
    }
    let after = if new.kind == 2 { " stop_after_copy:true" } else { "" };
    format!("keyspace:{keyspace} shard:{shard} filter:{{{rules}}}{after}")
}
