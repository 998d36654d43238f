//! The planned statements on a real MariaDB: the server takes every one of them, and answers what the embedded tablets answer.
//!
//! Two shards whose databases live in one server, as on a development machine: the statements have to keep them apart.
//! MariaDB stands in for MySQL, which Debian does not carry.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests and their helpers")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use prost::Message;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{
        Cell, Cluster, Release, Snapshot, TableRows, TabletRows, TopoRecord,
        clock::Clock,
        engine::Engine,
        error::{MysqlError, TabletError},
        schema,
    },
    observe::Nobody,
    tablet::{TabletOptions, Tablets},
    topo::{CellRecord, MemoryTopology},
};
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, FailureKind, Flow, Record, Reply, Timestamp, What, limits,
    proto::{
        query::QueryResult,
        tabletmanagerdata::{VReplicationExecRequest, VReplicationExecResponse},
        topodata::{CellInfo, Shard, Tablet, TabletAlias, TabletType},
        vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse, workflow::Stream},
    },
    rpc,
};
use vtflow_tests::mariadb::{Connection, MariaDb};

const NOW: Timestamp = Timestamp { seconds: 1_800_000_000, nanos: 0 };
const RELEASES: [u8; 5] = [10, 15, 18, 22, 24];

/// Shard, uid and database. The second name needs every escape that there is.
const TABLETS: [(&str, u32, &str); 2] = [("-80", 100, "vt_customer"), ("80-", 200, "vt_it's \"odd\"\\ ü`;--")];

/// Names that would end a literal, differ in case or trailing space only, or are no plain text.
const WORKFLOWS: [&str; 14] = [
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

fn alias(uid: u32) -> String {
    format!("zone1-{uid:010}")
}

/// Keyspace `customer`, a primary for each of [`TABLETS`], all with the same rows.
fn snapshot(release: u8, sidecar: &BTreeMap<String, TableRows>) -> Snapshot {
    let record = |cell: &str, path: String, value| TopoRecord { cell: cell.into(), path, version: 1, value };
    let mut topo = vec![
        record("global", "cells/zone1/CellInfo".into(), CellInfo::default().encode_to_vec()),
        record("global", "keyspaces/customer/Keyspace".into(), Vec::new()),
    ];
    let mut tablets = BTreeMap::new();
    for (shard, uid, db_name) in TABLETS {
        let primary_alias = Some(TabletAlias { cell: "zone1".into(), uid });
        let tablet = Tablet {
            alias: primary_alias.clone(),
            hostname: "127.0.0.1".into(),
            port_map: [("grpc".into(), 1)].into(),
            keyspace: "customer".into(),
            shard: shard.into(),
            r#type: TabletType::Primary.into(),
            db_name_override: if db_name == "vt_customer" { String::new() } else { db_name.into() },
            ..Tablet::default()
        };
        let shard_record = Shard { primary_alias, is_primary_serving: true, ..Shard::default() };
        topo.push(record("global", format!("keyspaces/customer/shards/{shard}/Shard"), shard_record.encode_to_vec()));
        topo.push(record("zone1", format!("tablets/{}/Tablet", alias(uid)), tablet.encode_to_vec()));
        let vitess_release = Some(format!("v{release}.0.0"));
        tablets.insert(alias(uid), TabletRows { vitess_release, sidecar: sidecar.clone(), ..TabletRows::default() });
    }
    Snapshot { taken_at: NOW, note: String::new(), topo, tablets }
}

/// A table of a release, being filled.
struct Filling {
    release: Release,
    table: &'static str,
    rows: TableRows,
}

impl Filling {
    fn new(release: u8, table: &'static str) -> Self {
        let release = Release::new(release);
        let rows = TableRows { columns: schema::declared_columns(release, table), rows: Vec::new() };
        Self { release, table, rows }
    }

    /// A row of these values; a column that is not named gets NULL, or else 0, a time or the empty text. A value for a column
    /// that the release lacks is dropped.
    fn row(&mut self, values: &[(&str, Cell)]) {
        let newest = schema::declared_columns(Release::NEWEST, self.table);
        for (name, _) in values {
            assert!(newest.iter().any(|column| column.name == *name), "no column {name} in {} at all", self.table);
        }
        let cell = |column: &vtflow::embedded::ColumnDecl| {
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
fn odd_rows(release: u8) -> BTreeMap<String, TableRows> {
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
        logs.row(&log(id, stream, &format!("entry {id}: it's \"ü\" 🦀\t<&>\\")));
    }
    logs.row(&[("id", Cell::Int(9)), ("vrepl_id", Cell::Int(1)), ("type", text("Message"))]);

    [streams, copy_states, logs].into_iter().filter_map(Filling::into_table).collect()
}

/// More rows than any page holds.
fn many_rows(release: u8) -> BTreeMap<String, TableRows> {
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

const MANY: i64 = 10_500;

/// Makes the sidecar database of a release anew and puts rows in. Values go in as hexadecimal, so that what is under test does
/// not write what it reads.
fn load(mariadb: &mut Connection, release: u8, sidecar: &BTreeMap<String, TableRows>) {
    mariadb.run(["drop database if exists _vt"]);
    mariadb.run(schema::mysql_ddl(Release::new(release)));
    let literal = |cell: &Cell| {
        let hex = |bytes: &[u8]| {
            let mut out = String::from("x'");
            for byte in bytes {
                write!(out, "{byte:02x}").unwrap();
            }
            out + "'"
        };
        match cell {
            Cell::Null => "null".to_owned(),
            Cell::Int(number) => number.to_string(),
            Cell::Uint(number) => number.to_string(),
            Cell::Text(text) => hex(text.as_bytes()),
            Cell::Bytes(bytes) => hex(bytes),
        }
    };
    for (name, table) in sidecar {
        let columns: Vec<String> = table.columns.iter().map(|column| format!("`{}`", column.name)).collect();
        for rows in table.rows.chunks(500) {
            let rows: Vec<String> =
                rows.iter().map(|row| format!("({})", row.iter().map(literal).collect::<Vec<_>>().join(", "))).collect();
            mariadb.run([format!("insert into _vt.{name} ({}) values {}", columns.join(", "), rows.join(", "))]);
        }
    }
}

/// Runs a request, its topology from records, its tablet calls by `call`. Gives the reply and the statements sent to each tablet.
fn run(call: &Call, topo: &[TopoRecord], mut perform: impl FnMut(&str, &str) -> Answer) -> (Reply, Vec<(String, String)>) {
    let mut flow = Flow::start(call, NOW);
    let mut statements = Vec::new();
    loop {
        let asks = flow.asks();
        if asks.is_empty() {
            return (flow.into_reply().expect("nothing is outstanding"), statements);
        }
        for Ask { id, what, .. } in asks {
            let answer = match what {
                What::TopoGet { cell, path } => match topo.iter().find(|record| record.cell == cell && record.path == path) {
                    Some(record) => Answer::Found { value: record.value.clone(), version: 1 },
                    None => Answer::Missing { node: path },
                },
                What::TopoRange { cell, prefix } => Answer::Range(
                    topo.iter()
                        .filter(|record| record.cell == cell && record.path.starts_with(&prefix))
                        .map(|record| Record { path: record.path.clone(), value: record.value.clone(), version: 1 })
                        .collect(),
                ),
                What::TabletCall { tablet, path, request, about, .. } => {
                    assert_eq!(path, rpc::VREPLICATION_EXEC);
                    let sql = VReplicationExecRequest::decode(request.as_slice()).unwrap().query;
                    assert_eq!(sql, about.statement, "people read what is sent");
                    statements.push((tablet.alias.clone(), sql.clone()));
                    perform(&tablet.alias, &sql)
                }
            };
            assert!(flow.answer(id, answer));
        }
    }
}

/// MariaDB's answer to a statement as a tablet sends it, once it is the same as the embedded tablet's.
fn both(mariadb: &mut Connection, engine: &mut Engine, alias: &str, sql: &str) -> Answer {
    match (mariadb.query(sql), engine.vreplication_exec(sql)) {
        (Ok(real), Ok(embedded)) => {
            assert_eq!(names(&real), names(&embedded), "{sql}");
            assert_eq!(types(&real), types(&embedded), "{sql}");
            assert_eq!(real.rows.len(), embedded.rows.len(), "{sql}");
            for (index, (real, embedded)) in real.rows.iter().zip(&embedded.rows).enumerate() {
                let texts = |row: &vtflow_planner::proto::query::Row| {
                    (row.lengths.clone(), String::from_utf8_lossy(&row.values).into_owned())
                };
                assert_eq!(texts(real), texts(embedded), "row {index} of {sql}");
                assert_eq!(real, embedded, "bytes of row {index} of {sql}");
            }
            Answer::Called(VReplicationExecResponse { result: Some(real) }.encode_to_vec())
        }
        (Err(real), Err(embedded)) => {
            match &embedded {
                TabletError::Mysql { error: MysqlError { errno, .. }, .. } => assert_eq!(real.errno, *errno, "{sql}"),
                // A tablet of v10 does not let the name of the log table reach MySQL.
                other => assert_eq!(other.to_string(), "invalid table name: _vt.vreplication_log"),
            }
            let said = format!("{} (errno {}) (sqlstate {}) during query: {sql}", real.text, real.errno, real.sqlstate);
            let message = format!("TabletManager.VReplicationExec on {alias} error: {said}: {said}");
            Answer::Failed { kind: FailureKind::Status(2), message }
        }
        (real, embedded) => panic!("MariaDB: {real:?}\nembedded: {embedded:?}\n{sql}"),
    }
}

fn names(result: &QueryResult) -> Vec<String> {
    result.fields.iter().map(|field| String::from_utf8_lossy(&field.name).into_owned()).collect()
}

/// MariaDB's JSON is a text with a check.
fn types(result: &QueryResult) -> Vec<i32> {
    result.fields.iter().map(|field| field.r#type).map(|kind| if matches!(kind, 2_078 | 6_163) { 6_163 } else { kind }).collect()
}

/// A request from its first ask to its reply, by the runner on embedded tablets.
async fn embedded_reply(cluster: &Cluster, call: &Call) -> Reply {
    let records = cluster.topo().into_iter().map(|record| CellRecord {
        cell: record.cell,
        path: record.path,
        version: record.version,
        value: record.value,
    });
    let io = ClusterIo {
        topology: Arc::new(MemoryTopology::new(records)),
        tablets: Arc::new(Tablets::new(TabletOptions::default()).unwrap()),
        deadlines: Deadlines { tablet: Duration::from_secs(120), ..Deadlines::default() },
    };
    drive(Flow::start(call, NOW), &io, None, &Nobody).await
}

struct Pair {
    release: u8,
    mariadb: Connection,
    engines: BTreeMap<String, Engine>,
    cluster: Cluster,
    topo: Vec<TopoRecord>,
}

impl Pair {
    async fn new(server: &MariaDb, release: u8, sidecar: BTreeMap<String, TableRows>) -> Self {
        let mut mariadb = server.connect();
        load(&mut mariadb, release, &sidecar);
        // As a tablet's own connection.
        mariadb.run(["use _vt", "set names utf8mb4"]);
        let snapshot = snapshot(release, &sidecar);
        let engine = |rows| Engine::new(rows, Clock::starting_at(NOW)).unwrap();
        let engines = snapshot.tablets.iter().map(|(alias, rows)| (alias.clone(), engine(rows))).collect();
        let topo = snapshot.topo.clone();
        let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.unwrap();
        Self { release, mariadb, engines, cluster, topo }
    }

    /// The reply, the same from MariaDB's rows and from the embedded tablets, and the statements behind it.
    async fn ask(&mut self, request: GetWorkflowsRequest) -> (GetWorkflowsResponse, Vec<(String, String)>) {
        let call = Call { path: rpc::GET_WORKFLOWS.into(), request: request.encode_to_vec(), options: CallOptions::default() };
        let Self { mariadb, engines, .. } = self;
        let (reply, statements) = run(&call, &self.topo, |alias, sql| {
            both(mariadb, engines.get_mut(alias).expect("a tablet of the fixture"), alias, sql)
        });
        let embedded = embedded_reply(&self.cluster, &call).await;
        let what = format!("v{} {request:?}", self.release);
        assert_eq!(reply.failures, embedded.failures, "{what}");
        let bytes = reply.result.clone().unwrap_or_else(|status| panic!("{what}: {status:?}"));
        assert!(Ok(&bytes) == embedded.result.as_ref(), "{what}: the replies differ");
        (GetWorkflowsResponse::decode(bytes.as_slice()).unwrap(), statements)
    }
}

fn all() -> GetWorkflowsRequest {
    GetWorkflowsRequest { keyspace: "customer".into(), ..GetWorkflowsRequest::default() }
}

fn streams(reply: &GetWorkflowsResponse) -> Vec<&Stream> {
    reply.workflows.iter().flat_map(|workflow| workflow.shard_streams.values()).flat_map(|shard| &shard.streams).collect()
}

fn ids(reply: &GetWorkflowsResponse) -> BTreeSet<i64> {
    streams(reply).iter().map(|stream| stream.id).collect()
}

#[tokio::test]
async fn every_release_reads_the_same_from_mariadb_and_from_an_embedded_tablet() {
    let server = MariaDb::start();
    for release in RELEASES {
        let mut pair = Pair::new(&server, release, odd_rows(release)).await;

        let (everything, statements) = pair.ask(all()).await;
        let falls_back = statements.iter().any(|(_, sql)| sql.contains("order by vrepl_id, table_name"));
        assert_eq!(falls_back, release < 16, "v{release}: copy states without id");
        assert_eq!(statements.len(), if release < 16 { 6 } else { 4 }, "v{release}: {statements:#?}");
        let found = ids(&everything);
        assert!(found.is_superset(&(1..=28).collect()), "v{release}: {found:?}");
        assert!(!found.contains(&102) && !found.contains(&103), "v{release}: rows of other databases: {found:?}");
        let tables = |id| {
            let stream = streams(&everything).into_iter().find(|stream| stream.id == id).unwrap();
            let mut tables: Vec<_> = stream.copy_states.iter().map(|state| state.table.as_str()).collect();
            tables.sort_unstable();
            tables
        };
        assert_eq!(tables(1), ["T1", "t1", "t2"], "v{release}");
        assert_eq!(tables(2), ["it's ü\\", "t1"], "v{release}");

        let (with_logs, _) = pair.ask(GetWorkflowsRequest { include_logs: true, ..all() }).await;
        let logs: BTreeSet<i64> = streams(&with_logs).iter().flat_map(|stream| &stream.logs).map(|log| log.id).collect();
        let of_these_databases = [1, 2, 3, 6, 7, 8].into();
        assert!(release < 11 && logs.is_empty() || logs.is_superset(&of_these_databases), "v{release}: {logs:?}");
        assert!(!logs.contains(&4) && !logs.contains(&5), "v{release}: logs of others: {logs:?}");

        let (active, _) = pair.ask(GetWorkflowsRequest { active_only: true, include_logs: true, ..all() }).await;
        let stopped: BTreeSet<i64> = (1..=28).filter(|id| id % 7 == 1).collect();
        assert_eq!(ids(&active), found.difference(&stopped).copied().collect(), "v{release}: exactly Stopped is left out");

        let (names, statements) = pair.ask(GetWorkflowsRequest { name_only: true, ..all() }).await;
        let names: BTreeSet<&str> = names.workflows.iter().map(|workflow| workflow.name.as_str()).collect();
        for workflow in WORKFLOWS.iter().filter(|name| !name.is_empty()) {
            assert!(names.contains(workflow), "v{release}: {workflow:?} in {names:?}");
        }
        assert_eq!(statements.len(), 2);

        for (index, workflow) in WORKFLOWS.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            for active_only in [false, true] {
                let workflow = (*workflow).to_owned();
                let request = GetWorkflowsRequest { workflow: workflow.clone(), active_only, include_logs: true, ..all() };
                let (reply, _) = pair.ask(request).await;
                let first = i64::try_from(index).unwrap() * 2 + 1;
                let mut want: BTreeSet<i64> = [first, first + 1].into();
                if workflow == "move" {
                    want.insert(104);
                }
                if active_only {
                    want.retain(|id| *id == 104 || id % 7 != 1);
                }
                assert_eq!(ids(&reply), want, "v{release}: {workflow:?}, active only: {active_only}");
            }
        }
        let (nothing, _) = pair.ask(GetWorkflowsRequest { workflow: "no such".into(), include_logs: true, ..all() }).await;
        assert_eq!(nothing.workflows, []);
    }
}

#[tokio::test]
async fn pages_reach_every_row() {
    let server = MariaDb::start();
    for release in [15, 24] {
        let sidecar = many_rows(release);
        let logged: BTreeMap<i64, usize> = sidecar["vreplication_log"].rows.iter().fold(BTreeMap::new(), |mut counts, row| {
            let Cell::Int(stream) = row[1] else { panic!("{row:?}") };
            *counts.entry(stream).or_default() += 1;
            counts
        });
        let mut pair = Pair::new(&server, release, sidecar).await;
        let (reply, statements) = pair.ask(GetWorkflowsRequest { include_logs: true, ..all() }).await;

        let found = streams(&reply);
        assert_eq!(found.len(), usize::try_from(MANY).unwrap(), "v{release}: every stream, and each once");
        assert_eq!(ids(&reply), (1..=MANY).collect(), "v{release}");
        for stream in &found {
            let newest: BTreeMap<&str, &str> =
                stream.copy_states.iter().map(|state| (state.table.as_str(), state.last_pk.as_str())).collect();
            let t1 = if stream.id <= MANY / 2 { "new" } else { "old" };
            assert_eq!(newest, [("t1", t1), ("t2", "only")].into(), "v{release}: stream {}", stream.id);
            assert_eq!(stream.copy_states.len(), 2, "v{release}: stream {}", stream.id);
            let want = logged.get(&stream.id).copied().unwrap_or(0).min(limits::LOG_ROWS_PER_STREAM);
            assert_eq!(stream.logs.len(), want, "v{release}: logs of stream {}", stream.id);
        }

        let sent = |marks: &[&str]| statements.iter().filter(|(_, sql)| marks.iter().all(|mark| sql.contains(mark))).count();
        assert!(sent(&["from _vt.vreplication where", " and id > ", "order by id limit 2000"]) >= 5, "v{release}");
        if release < 16 {
            assert!(sent(&["_vt.copy_state", "vrepl_id > ", "table_name > "]) >= 4, "v{release}");
        } else {
            assert!(sent(&["max(id) from _vt.copy_state", "table_name) and id > "]) >= 4, "v{release}");
        }
        assert!(sent(&["_vt.vreplication_log", " and id < ", "vrepl_id not in ("]) >= 2, "v{release}");

        let (names, statements) = pair.ask(GetWorkflowsRequest { name_only: true, ..all() }).await;
        assert_eq!(names.workflows.len(), usize::try_from(MANY).unwrap(), "v{release}: every name, and each once");
        assert_eq!(statements.iter().filter(|(_, sql)| sql.contains("and workflow > ")).count(), 1, "v{release}");
    }
}
