//! Sidecar rows of any release for two databases in one server: a few with everything odd, or more than any page holds.
//!
//! Plain data, made the same way every time. A release gets the columns that it has; what it lacks is left out.

use std::collections::BTreeMap;

use vtflow::embedded::{Cell, ColumnDecl, Release, TableRows, schema};
use vtflow_planner::Timestamp;

/// When the rows were read.
pub const NOW: Timestamp = Timestamp { seconds: 1_800_000_000, nanos: 0 };

/// Streams of [`many_rows`]: more than a page of names.
pub const MANY: i64 = 10_500;

/// Shard, uid and database. The second name needs every escape that there is.
pub const TABLETS: [(&str, u32, &str); 2] = [("-80", 100, "vt_customer"), ("80-", 200, "vt_it's \"odd\"\\ ü`;--")];

/// Names that would end a literal, differ in case or trailing space only, or are no plain text.
pub const WORKFLOWS: [&str; 14] = [
    "move",
    "Move",
    "move ",
    "it's",
    "quo\"te`s",
    "back\\slash\\",
    "\\'; delete from _vt.vreplication; -- ",
    "' or '1' = '1",
    "per%cent_under",
    "日本 ü 🦀",
    "tab\tline\nreturn\rbell\u{8}",
    "nul\0and\u{1a}",
    "",
    "NULL",
];

/// A table of a release, being filled.
struct Filling {
    release: Release,
    table: &'static str,
    rows: TableRows,
}

/// A table without rows, as a snapshot of such a tablet declares it; without columns when the release has no such table.
fn declared(release: Release, name: &str) -> TableRows {
    let table = schema::tables(release).into_iter().find(|table| table.name == name);
    table.map(|table| table.without_rows()).unwrap_or_default()
}

impl Filling {
    fn new(release: u8, table: &'static str) -> Self {
        let release = Release::new(release);
        Self { release, table, rows: declared(release, table) }
    }

    /// A row of these values; a column that is not named gets NULL, or else 0, a time or the empty text. A value for a column
    /// that the release lacks is dropped.
    fn row(&mut self, values: &[(&str, Cell)]) {
        let newest = declared(Release::NEWEST, self.table);
        for (name, _) in values {
            assert!(newest.columns.iter().any(|column| column.name == *name), "no column {name} in {} at all", self.table);
        }
        let cell = |column: &ColumnDecl| {
            let kind = column.mysql_type.as_str();
            match values.iter().find(|(name, _)| *name == column.name) {
                Some((_, cell)) => cell.clone(),
                None if column.nullable => Cell::Null,
                None if kind.contains("int") => Cell::Int(0),
                None if kind == "json" => text("{}"),
                None => text(""),
            }
        };
        self.rows.rows.push(self.rows.columns.iter().map(cell).collect());
    }

    fn into_table(self) -> Option<(String, TableRows)> {
        let exists = schema::tables(self.release).iter().any(|table| table.name == self.table);
        exists.then(|| (self.table.to_owned(), self.rows))
    }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.into())
}

fn stream(id: i64, db_name: &str, workflow: Cell, state: &str) -> Vec<(&'static str, Cell)> {
    let source = r#"keyspace:"commerce" shard:"0" filter:{rules:{match:"it's ü" filter:"select * from `a\\b` where x = '1'"}}"#;
    vec![
        ("id", Cell::Int(id)),
        ("workflow", workflow),
        ("source", text(source)),
        ("pos", text("MySQL56/14b68925-696a-11ea-aee7-fec597a91f5e:1-3")),
        ("max_tps", Cell::Int(i64::MAX)),
        ("max_replication_lag", Cell::Int(i64::MAX)),
        ("time_updated", Cell::Int(NOW.seconds - id % 50)),
        ("transaction_timestamp", Cell::Int(NOW.seconds - id % 70)),
        ("state", text(state)),
        ("db_name", text(db_name)),
        ("rows_copied", Cell::Int(id * 1_000)),
        ("options", text(r#"{"config": {"a": "it's"}}"#)),
    ]
}

/// The copy states of a release: a history from v16 on, one row a table before that.
fn copy_states(release: u8, list: &[(i64, i64, &str, Cell)]) -> Filling {
    let mut filling = Filling::new(release, "copy_state");
    let newest: BTreeMap<(i64, &str), i64> = list.iter().map(|(id, stream, table, _)| ((*stream, *table), *id)).collect();
    for (id, stream, table, lastpk) in list {
        if release >= 16 || newest[&(*stream, *table)] == *id {
            let (stream, lastpk) = (Cell::Int(*stream), lastpk.clone());
            filling.row(&[("id", Cell::Int(*id)), ("vrepl_id", stream), ("table_name", text(table)), ("lastpk", lastpk)]);
        }
    }
    filling
}

fn log(id: i64, stream: i64, message: &str) -> Vec<(&'static str, Cell)> {
    vec![
        ("id", Cell::Int(id)),
        ("vrepl_id", Cell::Int(stream)),
        ("type", text("Stream Created")),
        ("state", text("Running")),
        ("created_at", text("2026-01-02 03:04:05")),
        ("updated_at", text("2026-02-03 04:05:06")),
        ("message", text(message)),
        ("count", Cell::Int(id)),
    ]
}

/// Rows with everything that could be read differently.
pub fn odd_rows(release: u8) -> BTreeMap<String, TableRows> {
    let mut streams = Filling::new(release, "vreplication");
    let states = ["Running", "Stopped", "Copying", "Error", "stopped", "Stopped ", "Init"];
    let mut id = 0;
    for workflow in WORKFLOWS {
        for (_, _, db_name) in TABLETS {
            id += 1;
            let state = states[usize::try_from(id).unwrap() % states.len()];
            streams.row(&stream(id, db_name, text(workflow), state));
        }
    }
    let [(_, _, db_name), (_, _, other)] = TABLETS;
    streams.row(&stream(100, db_name, Cell::Null, "Running"));
    streams.row(&stream(101, db_name, Cell::Bytes(vec![0xff, 0xfe, b'x']), "Running"));
    streams.row(&stream(102, "vt_CUSTOMER", text("move"), "Running"));
    streams.row(&stream(103, "vt_customer ", text("move"), "Running"));
    let mut wordy = stream(104, other, text("move"), "Error");
    wordy.extend([
        ("stop_pos", text("")),
        ("cell", text("zone1,zone2")),
        ("tablet_types", text("in_order:REPLICA,PRIMARY")),
        ("message", text("Unknown column 'ü' in \"x\"\n<&>\\")),
        ("tags", text("a,b")),
        ("component_throttled", text("vcopier:'x'")),
    ]);
    streams.row(&wordy);

    let (none, empty, bytes) = (Cell::Null, text(""), Cell::Bytes(vec![0, 0xff, b'\'', b'\\', 0x1a]));
    let key = |key: &str| text(&format!("fields:{{name:\"id\" type:INT64}} rows:{{lengths:1 values:\"{key}\"}}"));
    let copy_states = copy_states(
        release,
        &[
            (1, 1, "t1", key("1")),
            (2, 1, "t2", none.clone()),
            (3, 1, "t2", key("3")),
            (4, 1, "t1", key("4")),
            (5, 1, "T1", empty),
            (6, 2, "t1", key("6")),
            (7, 1, "t1", bytes.clone()),
            (8, 2, "it's ü\\", none),
            (9, 999, "orphan", key("9")),
            (10, 5, "t1", bytes),
            (11, 102, "t1", key("11")),
            (12, 2, "t1", key("12")),
        ],
    );

    let mut logs = Filling::new(release, "vreplication_log");
    for (id, stream) in [(1, 1), (2, 2), (3, 1), (4, 999), (5, 102), (6, 100), (7, 104), (8, 1)] {
        logs.row(&log(id, stream, &format!("entry {id}: it's \"ü\" 🦀\t\r\n\u{8}\0\u{1f}\u{7f}/<&>\\")));
    }
    logs.row(&[("id", Cell::Int(9)), ("vrepl_id", Cell::Int(1)), ("type", text("Message"))]);

    [streams, copy_states, logs].into_iter().filter_map(Filling::into_table).collect()
}

/// More rows than any page holds.
pub fn many_rows(release: u8) -> BTreeMap<String, TableRows> {
    let [(_, _, db_name), (_, _, other)] = TABLETS;
    let mut streams = Filling::new(release, "vreplication");
    let mut list = Vec::new();
    let mut logs = Filling::new(release, "vreplication_log");
    for id in 1..=MANY {
        // A stream of the other database now and then, names in another order than ids.
        let db_name = if id % 100 == 7 { other } else { db_name };
        streams.row(&stream(id, db_name, text(&format!("w{:05}", id * 7919 % MANY)), "Running"));
        list.push((3 * id, id, "t1", text("old")));
        list.push((3 * id + 1, id, "t2", text("only")));
    }
    for id in 1..=MANY / 2 {
        list.push((4 * MANY + id, id, "t1", text("new")));
    }
    for id in 1..=7_000 {
        // Streams 1 to 3 have more than may be kept, and take turns with the many that have one or two.
        let stream = if id % 2 == 0 { id / 2 % 3 + 1 } else { id };
        logs.row(&log(id, stream, &format!("entry {id}")));
    }
    let copy_states = copy_states(release, &list);
    [streams, copy_states, logs].into_iter().filter_map(Filling::into_table).collect()
}
