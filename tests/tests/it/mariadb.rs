//! The planned statements on a real MariaDB: the server takes every one of them, and answers what the embedded tablets answer.
//!
//! Two shards whose databases live in one server, as on a development machine: the statements have to keep them apart.
//! MariaDB stands in for MySQL, which Debian does not carry.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, and what they share")]

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
        Cell, Cluster, Release, Snapshot, TableRows, TabletRows, Unreadable,
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
    Answer, Ask, Call, CallOptions, FailureKind, Flow, Mode, Record, Reply, What, limits,
    proto::{
        query::{Field, QueryResult, Row},
        tabletmanagerdata::{UpdateVReplicationWorkflowRequest, VReplicationExecRequest, VReplicationExecResponse},
        topodata::{CellInfo, Shard, Tablet, TabletAlias, TabletType},
        vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse, WorkflowUpdateRequest, workflow::Stream},
        vtflow::{VExecRequest, VExecResponse},
    },
    rpc,
    sidecar::literal::quote,
};
use vtflow_tests::{
    mariadb::{Connection, MariaDb, ServerError},
    sidecar_rows::{MANY, NOW, TABLETS, WORKFLOWS, many_rows, odd_rows},
};

const RELEASES: [u8; 5] = [10, 15, 18, 22, 24];

fn alias(uid: u32) -> String {
    format!("zone1-{uid:010}")
}

/// Keyspace `customer`, a primary for each of [`TABLETS`], all with the same rows.
fn snapshot(release: u8, sidecar: &BTreeMap<String, TableRows>) -> Snapshot {
    let record = |cell: &str, path: String, value| CellRecord { cell: cell.into(), path, version: 1, value };
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
    Snapshot { taken_at: NOW, note: String::new(), topo, tablets, unreadable: Unreadable::default() }
}

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
fn run(call: &Call, topo: &[CellRecord], mut perform: impl FnMut(&str, &str) -> Answer) -> (Reply, Vec<(String, String)>) {
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
                What::TopoRange { cell, prefix } | What::TopoList { cell, prefix } => Answer::Range(
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
                What::TabletPage { .. } => panic!("no page is asked for"),
                What::TopoLock { .. } | What::TopoUnlock { .. } | What::TopoPut { .. } | What::TopoDelete { .. } => {
                    panic!("reads change nothing")
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
            let columns = names(&real);
            for (index, (real, embedded)) in real.rows.iter().zip(&embedded.rows).enumerate() {
                assert_eq!(texts(&columns, real), texts(&columns, embedded), "row {index} of {sql}");
                assert!(values(&columns, real) == values(&columns, embedded), "bytes of row {index} of {sql}");
            }
            answered(alias, sql, Ok(real))
        }
        (Err(real), Err(embedded)) => {
            match &embedded {
                TabletError::Mysql { error: MysqlError { errno, .. }, .. } => assert_eq!(real.errno, *errno, "{sql}"),
                // A tablet of v10 does not let the name of the log table reach MySQL.
                other => assert_eq!(other.to_string(), "invalid table name: _vt.vreplication_log"),
            }
            answered(alias, sql, Err(real))
        }
        (real, embedded) => panic!("MariaDB: {real:?}\nembedded: {embedded:?}\n{sql}"),
    }
}

/// A server's answer as a tablet sends it.
fn answered(alias: &str, sql: &str, result: Result<QueryResult, ServerError>) -> Answer {
    match result {
        Ok(rows) => Answer::Called(VReplicationExecResponse { result: Some(rows) }.encode_to_vec()),
        Err(error) => {
            let said = format!("{} (errno {}) (sqlstate {}) during query: {sql}", error.text, error.errno, error.sqlstate);
            let message = format!("TabletManager.VReplicationExec on {alias} error: {said}: {said}");
            Answer::Failed { kind: FailureKind::Status(2), message }
        }
    }
}

/// Columns of rows that stand as JSON in a value: in any order, and written in any way.
const JSON: [&str; 2] = ["copy_states", "logs"];

/// The values of a row; of rows that stand as JSON in a value, these in order.
fn values(columns: &[String], row: &Row) -> Vec<Option<Vec<u8>>> {
    let mut rest = row.values.as_slice();
    let mut values = Vec::new();
    for (column, length) in columns.iter().zip(&row.lengths) {
        let Ok(length) = usize::try_from(*length) else {
            values.push(None);
            continue;
        };
        let (value, tail) = rest.split_at(length);
        rest = tail;
        values.push(Some(if JSON.contains(&column.as_str()) { in_order(value) } else { value.to_vec() }));
    }
    values
}

fn in_order(json: &[u8]) -> Vec<u8> {
    let (count, rows): (usize, Option<Vec<Vec<serde_json::Value>>>) = serde_json::from_slice(json).unwrap();
    let mut rows: Vec<String> = rows.into_iter().flatten().map(|row| serde_json::to_string(&row).unwrap()).collect();
    rows.sort();
    format!("{count} {rows:?}").into_bytes()
}

fn texts(columns: &[String], row: &Row) -> Vec<Option<String>> {
    values(columns, row).iter().map(|value| value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned())).collect()
}

fn names(result: &QueryResult) -> Vec<String> {
    result.fields.iter().map(|field| String::from_utf8_lossy(&field.name).into_owned()).collect()
}

/// MariaDB's JSON is a text with a check.
fn types(result: &QueryResult) -> Vec<i32> {
    let is_json = |field: &Field| field.r#type == 2_078 || JSON.iter().any(|name| field.name == name.as_bytes());
    result.fields.iter().map(|field| if is_json(field) { 6_163 } else { field.r#type }).collect()
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
    topo: Vec<CellRecord>,
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

#[test]
fn the_sidecar_tables_of_every_release_are_those_of_the_embedded_tablets() {
    let server = MariaDb::start();
    let mut mariadb = server.connect();
    for major in Release::OLDEST.major()..=Release::NEWEST.major() {
        let release = Release::new(major);
        let tables = schema::tables(release).into_iter().map(|table| (table.name.to_string(), table.without_rows()));
        let sidecar: BTreeMap<String, TableRows> = tables.collect();
        load(&mut mariadb, major, &sidecar);
        let rows = TabletRows { vitess_release: Some(format!("v{major}.0.0")), sidecar, ..TabletRows::default() };
        let mut engine = Engine::new(&rows, Clock::starting_at(NOW)).unwrap();
        for table in rows.sidecar.keys() {
            let sql = format!("select * from _vt.{table}");
            let (real, embedded) = (mariadb.query(&sql).unwrap(), engine.execute(&sql, None, 1).unwrap());
            assert_eq!(names(&real), names(&embedded), "v{major} {table}");
            assert_eq!(types(&real), types(&embedded), "v{major} {table}");
            assert!(!real.fields.is_empty());
        }
    }
}

#[tokio::test]
async fn every_release_reads_the_same_from_mariadb_and_from_an_embedded_tablet() {
    let server = MariaDb::start();
    for release in RELEASES {
        let mut pair = Pair::new(&server, release, odd_rows(release)).await;

        let (everything, statements) = pair.ask(all()).await;
        let falls_back = statements.iter().any(|(_, sql)| sql.contains("order by vrepl_id, table_name"));
        assert_eq!(falls_back, release < 16, "v{release}: copy states without id");
        assert_eq!(statements.len(), if release < 16 { 6 } else { 2 }, "v{release}: {statements:#?}");
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

        let (with_logs, statements) = pair.ask(GetWorkflowsRequest { include_logs: true, ..all() }).await;
        // v10 misses the log's table before the copy state's id.
        let sent = if release == 10 {
            10
        } else if release < 16 {
            8
        } else {
            2
        };
        assert_eq!(statements.len(), sent, "v{release}: {statements:#?}");
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

/// With few rows and with more than any page holds; and where the server cuts what `JSON_ARRAYAGG` makes, in the middle of anything.
#[tokio::test]
async fn one_statement_for_all_finds_what_one_for_each_finds() {
    let server = MariaDb::start();
    let few = RELEASES.map(|release| (release, odd_rows(release)));
    for (release, sidecar) in few.into_iter().chain([(18, many_rows(18))]) {
        let is_few = sidecar["vreplication"].rows.len() < limits::STREAM_PAGE_ROWS;
        let Pair { mut mariadb, topo, .. } = Pair::new(&server, release, sidecar).await;
        let whole = mariadb.query("select @@group_concat_max_len").unwrap();
        let whole = String::from_utf8(whole.rows[0].values.clone()).unwrap();
        let requests = [
            GetWorkflowsRequest { include_logs: true, ..all() },
            GetWorkflowsRequest { active_only: true, ..all() },
            GetWorkflowsRequest { workflow: "move".into(), include_logs: true, ..all() },
            GetWorkflowsRequest { workflow: "no such".into(), include_logs: true, ..all() },
        ];
        for request in requests.into_iter().take(if is_few { 4 } else { 1 }) {
            let what = format!("v{release}: {request:?}");
            let call =
                Call { path: rpc::GET_WORKFLOWS.into(), request: request.encode_to_vec(), options: CallOptions::default() };
            let is_fused = |sql: &str| sql.contains("json_arrayagg");
            let (separate, asked) = run(&call, &topo, |alias, sql| {
                let syntax = ServerError {
                    errno: 1305,
                    sqlstate: "42000".into(),
                    text: "FUNCTION _vt.json_arrayagg does not exist".into(),
                };
                answered(alias, sql, if is_fused(sql) { Err(syntax) } else { mariadb.query(sql) })
            });
            assert!(asked.iter().any(|(_, sql)| !is_fused(sql)), "{what}: {asked:#?}");
            let mut fused = |length: &str| {
                mariadb.run([format!("set session group_concat_max_len = {length}")]);
                let (reply, asked) = run(&call, &topo, |alias, sql| answered(alias, sql, mariadb.query(sql)));
                assert!(reply == separate, "{what}, {length} bytes: another reply");
                asked.iter().filter(|(_, sql)| !is_fused(sql)).count()
            };
            let more = fused(&whole);
            assert!(release < 16 || !is_few || more == 0, "{what}: {more} more statements");
            for length in ["4", "64", "300", "1000"].into_iter().take(if is_few { 4 } else { 0 }) {
                let cut = fused(length);
                let is_cut = length == "4" && request.workflow != "no such";
                assert!(!is_cut || cut >= 2 * TABLETS.len(), "{what}: {cut} more statements where the JSON is cut");
            }
        }
    }
}

/// What tablets before v18 get instead of the RPC that changes a workflow's streams.
#[tokio::test]
async fn the_statements_of_a_workflow_update_leave_the_same_rows_on_mariadb_and_on_an_embedded_tablet() {
    let server = MariaDb::start();
    let unchanged = || UpdateVReplicationWorkflowRequest {
        workflow: "move".into(),
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        tablet_selection_preference: Some(3),
        ..UpdateVReplicationWorkflowRequest::default()
    };
    let in_order =
        UpdateVReplicationWorkflowRequest { tablet_types: vec![2, 1], tablet_selection_preference: Some(1), ..unchanged() };
    for release in [10, 15, 17] {
        let mut pair = Pair::new(&server, release, odd_rows(release)).await;
        let mut sent = BTreeSet::new();
        for (what, wanted) in [
            ("stop", UpdateVReplicationWorkflowRequest { state: Some(2), ..unchanged() }),
            ("start", UpdateVReplicationWorkflowRequest { state: Some(4), ..unchanged() }),
            ("cells", UpdateVReplicationWorkflowRequest { cells: vec!["zone1".into(), "it's\\".into()], ..unchanged() }),
            ("no cells", UpdateVReplicationWorkflowRequest { cells: Vec::new(), ..unchanged() }),
            ("types in order", in_order.clone()),
            ("any order", UpdateVReplicationWorkflowRequest { tablet_selection_preference: Some(0), ..unchanged() }),
        ] {
            let request = WorkflowUpdateRequest { keyspace: "customer".into(), tablet_request: Some(wanted) }.encode_to_vec();
            let options = CallOptions { mode: Mode::Preview, ..CallOptions::default() };
            let reply = embedded_reply(&pair.cluster, &Call { path: rpc::WORKFLOW_UPDATE.into(), request, options }).await;
            let plan = reply.written.unwrap_or_else(|| panic!("v{release} {what}: {:?}", reply.result)).plan;
            assert_eq!(plan.tablets(), TABLETS.len(), "v{release} {what}");
            for write in &plan.writes {
                assert_eq!(write.rpc, rpc::VREPLICATION_EXEC, "v{release} {what}");
                let sql = VReplicationExecRequest::decode(write.request.as_slice()).unwrap().query;
                assert_eq!(sql, write.statement, "people read what is sent");
                pair.mariadb.run([&sql]);
                // All sources of this workflow can be read.
                pair.engines.get_mut(&write.tablet).unwrap().vreplication_exec(&sql).unwrap();
                sent.insert(sql);
            }
            for (alias, db_name) in TABLETS.map(|(_, uid, db_name)| (alias(uid), db_name)) {
                let sql = format!("select * from _vt.vreplication where db_name = {} order by id", quote(db_name));
                both(&mut pair.mariadb, pair.engines.get_mut(&alias).unwrap(), &alias, &sql);
            }
        }
        assert!(sent.len() >= 6 * TABLETS.len(), "v{release}: {sent:#?}");
    }
}

/// What people's statements become: read on both, changed on both.
#[tokio::test]
async fn the_statements_of_vexec_mean_the_same_on_mariadb_and_on_an_embedded_tablet() {
    let server = MariaDb::start();
    let request = |workflow: &str, sql: &str, dry_run| VExecRequest {
        keyspace: "customer".into(),
        workflow: workflow.into(),
        sql: sql.into(),
        dry_run,
        ..VExecRequest::default()
    };
    let call = |request: VExecRequest, mode| {
        let options = CallOptions { mode, ..CallOptions::default() };
        Call { path: rpc::VEXEC.into(), request: request.encode_to_vec(), options }
    };
    for release in RELEASES {
        let mut pair = Pair::new(&server, release, odd_rows(release)).await;
        let (mut read, mut changed) = (0, 0);
        for workflow in WORKFLOWS {
            for sql in [
                "select id, workflow, state, db_name from _vt.vreplication where id > 1 and state in ('Running', 'Error') order by id",
                "select count(*), max(id) from _vt.vreplication where not (state = 'Stopped' or message like '%it''s%')",
                "select vrepl_id, table_name from _vt.copy_state where vrepl_id >= 0 order by vrepl_id, table_name",
                "select id, vrepl_id, type from _vt.vreplication_log where vrepl_id in (select id from _vt.vreplication) order by id desc limit 3",
            ] {
                if release == 10 && sql.contains("_log") {
                    continue;
                }
                let reply = embedded_reply(&pair.cluster, &call(request(workflow, sql, true), Mode::Perform)).await;
                let bytes = reply.result.unwrap_or_else(|status| panic!("v{release} {workflow:?} {sql}: {}", status.message));
                for target in VExecResponse::decode(bytes.as_slice()).unwrap().targets {
                    let engine = pair.engines.get_mut(&target.tablet).unwrap();
                    both(&mut pair.mariadb, engine, &target.tablet, &target.statement);
                    read += 1;
                }
            }
        }
        // An embedded tablet does what a tablet does besides (log entries, copy states): only the streams are the same afterwards.
        for workflow in WORKFLOWS {
            for sql in [
                "update _vt.vreplication set state = 'Stopped', message = 'it''s \\\\ \"quoted\"' where state != 'Stopped'",
                "update _vt.vreplication set cell = concat('zone', '1'), max_tps = 7 where id > 0 and (id < 20 or id > 30)",
                "delete from _vt.vreplication where id % 2 = 0",
            ] {
                let reply = embedded_reply(&pair.cluster, &call(request(workflow, sql, false), Mode::Preview)).await;
                if workflow.is_empty() {
                    let refused = reply.result.unwrap_err().message;
                    assert!(refused.contains("names neither a workflow nor a stream"), "{refused}");
                    continue;
                }
                let plan = reply.written.unwrap_or_else(|| panic!("v{release} {workflow:?} {sql}: {:?}", reply.result)).plan;
                for write in plan.writes {
                    pair.mariadb.run([&write.statement]);
                    let embedded = pair.engines.get_mut(&write.tablet).unwrap().vreplication_exec(&write.statement);
                    let embedded = embedded.unwrap_or_else(|error| panic!("v{release} {}: {error}", write.statement));
                    changed += embedded.rows_affected;
                }
                for (alias, db_name) in TABLETS.map(|(_, uid, db_name)| (alias(uid), db_name)) {
                    let sql = format!("select * from _vt.vreplication where db_name = {} order by id", quote(db_name));
                    both(&mut pair.mariadb, pair.engines.get_mut(&alias).unwrap(), &alias, &sql);
                }
            }
        }
        assert!(read > 80 && changed > 20, "v{release}: {read} reads, {changed} rows changed");
    }
}
