//! The embedded cluster as a whole: where its topology leads, what its faults look like from outside, how it carries load.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use base64::Engine as _;
use bytes::Bytes;
use prost::Message;
use tonic::{Code, Request, Status, transport::Channel};
use vtflow_embedded::{
    Cell, Cluster, ClusterError, Fault, Release, Shape, Snapshot, SnapshotError, demo, generate, raw::RawCodec as Raw,
};
use vtflow_planner::{
    Timestamp,
    proto::{query::QueryResult, tabletmanagerdata as data, topodata},
    topo::record::CellRecord,
};

const NOW: Timestamp = Timestamp { seconds: 1_795_424_044, nanos: 0 };
const EXEC: &str = "/tabletmanagerservice.TabletManager/VReplicationExec";

async fn start(snapshot: Snapshot, faults: &[(&str, Fault)]) -> Cluster {
    let faults: BTreeMap<String, Fault> = faults.iter().map(|(alias, fault)| ((*alias).to_owned(), *fault)).collect();
    Cluster::start(snapshot, faults, Duration::ZERO).await.unwrap()
}

fn small() -> Snapshot {
    generate(Shape { shards: 2, streams: 12, ..Shape::default() }, NOW)
}

pub(crate) async fn call(port: u16, path: &'static str, request: impl Message, deadline: Duration) -> Result<Bytes, Status> {
    let work = async {
        let channel = Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await;
        let channel = channel.map_err(|error| Status::unavailable(format!("no connection: {error:?}")))?;
        let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(16 << 20);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let request = Bytes::from(request.encode_to_vec());
        grpc.unary(Request::new(request), http::uri::PathAndQuery::from_static(path), Raw).await.map(tonic::Response::into_inner)
    };
    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
}

async fn exec(cluster: &Cluster, alias: &str, query: &str) -> Result<QueryResult, Status> {
    let request = data::VReplicationExecRequest { query: query.to_owned() };
    let answer = call(cluster.port(alias).unwrap(), EXEC, request, Duration::from_secs(20)).await?;
    Ok(data::VReplicationExecResponse::decode(answer).unwrap().result.unwrap())
}

/// The values of a result's rows, NULL as `NULL`.
pub(crate) fn values(result: &QueryResult) -> Vec<Vec<String>> {
    let row = |row: &vtflow_planner::proto::query::Row| {
        let mut at = 0;
        let value = |length: &i64| match usize::try_from(*length) {
            Ok(length) => {
                at += length;
                String::from_utf8_lossy(&row.values[at - length..at]).into_owned()
            }
            Err(_) => "NULL".to_owned(),
        };
        row.lengths.iter().map(value).collect()
    };
    result.rows.iter().map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topology_leads_to_the_running_tablets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/snapshots/mixed-releases");
    let snapshot = Snapshot::load(&folder).unwrap();
    let before = snapshot.topo.clone();
    let cluster = start(snapshot, &[]).await;
    let after = cluster.topo();
    assert_eq!(before.len(), after.len());
    let mut tablets = 0;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&before.cell, &before.path, before.version), (&after.cell, &after.path, after.version));
        let Some(alias) = before.path.strip_prefix("tablets/").and_then(|rest| rest.strip_suffix("/Tablet")) else {
            assert_eq!(before.value, after.value, "{}", before.path);
            continue;
        };
        tablets += 1;
        assert!(after.value.starts_with(&before.value), "unknown fields survive");
        let mut want = topodata::Tablet::decode(before.value.as_slice()).unwrap();
        want.hostname = "127.0.0.1".to_owned();
        // Calls and pages on one port.
        for port in ["grpc", "vt"] {
            want.port_map.entry(port.to_owned()).and_modify(|port| *port = i32::from(cluster.port(alias).unwrap()));
        }
        assert_eq!(topodata::Tablet::decode(after.value.as_slice()).unwrap(), want);
    }
    assert_eq!(tablets, 13);
    let request = data::PingRequest { payload: "hello".to_owned() };
    let port = cluster.port("zone1-0000000600").unwrap();
    let ping = "/tabletmanagerservice.TabletManager/Ping";
    let answer = call(port, ping, request.clone(), Duration::from_secs(5)).await.unwrap();
    assert_eq!(data::PingResponse::decode(answer).unwrap().payload, "hello");
    drop(cluster);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stopped = call(port, ping, request, Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(stopped.code(), Code::Unavailable, "nothing runs on after the cluster is dropped: {stopped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_without_an_address_does_not_get_one() {
    type Change = fn(&mut topodata::Tablet);
    let cases: [(&str, Change, bool); 5] = [
        ("as it is", |_| (), true),
        ("shut down: neither host nor ports", |tablet| (tablet.hostname, tablet.port_map) = Default::default(), false),
        ("no host", |tablet| tablet.hostname.clear(), false),
        ("no gRPC port", |tablet| tablet.port_map.retain(|name, _| name != "grpc"), false),
        ("gRPC port 0", |tablet| tablet.port_map.extend([("grpc".to_owned(), 0)]), false),
    ];
    for (name, change, leads) in cases {
        let mut snapshot = small();
        let record = snapshot.topo.iter_mut().find(|record| record.path == "tablets/zone1-0000000200/Tablet").unwrap();
        let mut tablet = topodata::Tablet::decode(record.value.as_slice()).unwrap();
        change(&mut tablet);
        record.value = tablet.encode_to_vec();
        let before = record.clone();
        let cluster = start(snapshot, &[]).await;
        assert_eq!(!cluster.topo().contains(&before), leads, "{name}");
        assert_eq!(cluster.port("zone1-0000000200").is_some(), leads, "{name}");
        assert!(cluster.port("zone2-0000000300").is_some() && cluster.warnings().is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_tablet_is_served_as_it_is_with_nobody_behind_it() {
    let mut snapshot = small();
    let broken = |record: &&mut CellRecord| record.path == "tablets/zone1-0000000200/Tablet";
    let record = snapshot.topo.iter_mut().find(broken).unwrap();
    record.value = b"\x00\xff\xfe\xff".to_vec();
    let before = record.clone();
    let cluster = start(snapshot, &[]).await;
    assert!(cluster.topo().contains(&before));
    assert_eq!(cluster.port("zone1-0000000200"), None);
    let [warning] = cluster.warnings() else { panic!("{:?}", cluster.warnings()) };
    assert!(
        warning.starts_with("the topology record tablets/zone1-0000000200/Tablet of cell zone1 is not a tablet: "),
        "{warning}"
    );
    for alias in ["zone1-0000000100", "zone2-0000000300"] {
        exec(&cluster, alias, "select id from _vt.vreplication").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_whose_rows_cannot_be_loaded_is_down() {
    let mut snapshot = small();
    let sidecar = &mut snapshot.tablets.get_mut("zone1-0000000200").unwrap().sidecar;
    let streams = &mut sidecar.get_mut("vreplication").unwrap().rows;
    streams.push(streams[0].clone());
    let cluster = start(snapshot, &[]).await;
    let [warning] = cluster.warnings() else { panic!("{:?}", cluster.warnings()) };
    assert!(
        warning.starts_with("tablet zone1-0000000200 is down, since its rows cannot be loaded: table vreplication: UNIQUE"),
        "{warning}"
    );
    let refused = exec(&cluster, "zone1-0000000200", "select id from _vt.vreplication").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    exec(&cluster, "zone2-0000000300", "select id from _vt.vreplication").await.unwrap();
    assert_eq!(start(small(), &[]).await.warnings(), [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_looks_like_itself() {
    let healthy = "zone1-0000000100";
    for (fault, code) in
        [(Fault::Down, Code::Unavailable), (Fault::Hang, Code::DeadlineExceeded), (Fault::CloseConnection, Code::Unavailable)]
    {
        let cluster = start(small(), &[("zone1-0000000200", fault)]).await;
        let request = data::VReplicationExecRequest { query: "select id from _vt.vreplication".to_owned() };
        let port = cluster.port("zone1-0000000200").unwrap();
        let failed = call(port, EXEC, request, Duration::from_secs(1)).await.expect_err("a fault");
        let broke = matches!(failed.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled);
        assert!(failed.code() == code || fault == Fault::CloseConnection && broke, "{fault:?}: {failed:?}");
        exec(&cluster, healthy, "select id from _vt.vreplication").await.unwrap();
    }
    let cluster = start(small(), &[("zone1-0000000200", Fault::Garbage)]).await;
    let request = data::VReplicationExecRequest { query: "select id from _vt.vreplication".to_owned() };
    let answer = call(cluster.port("zone1-0000000200").unwrap(), EXEC, request, Duration::from_secs(5)).await.unwrap();
    assert!(data::VReplicationExecResponse::decode(answer).is_err(), "garbage is no message");
    let cluster = start(small(), &[("zone1-0000000200", Fault::Delay(Duration::from_millis(300)))]).await;
    let begun = Instant::now();
    exec(&cluster, "zone1-0000000200", "select id from _vt.vreplication").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let unknown = Cluster::start(small(), [("zone9-0000000001".to_owned(), Fault::Down)].into(), Duration::ZERO).await;
    assert!(matches!(unknown, Err(ClusterError::UnknownTablet { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_holds_no_thread() {
    let shape = Shape { shards: 256, streams: 3, log_rows: 1, ..Shape::default() };
    let begun = Instant::now();
    let cluster = Cluster::start(generate(shape, NOW), BTreeMap::new(), Duration::from_millis(20)).await.unwrap();
    let started = begun.elapsed();
    let mut calls = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for index in 0..256_u32 {
        let alias = format!("zone{}-{:010}", index % 2 + 1, 200 + index * 100);
        let port = cluster.port(&alias).unwrap();
        for table in ["vreplication", "copy_state", "vreplication_log"] {
            let query = format!("select * from _vt.{table}");
            let request = data::VReplicationExecRequest { query };
            calls.spawn(async move { call(port, EXEC, request, Duration::from_secs(60)).await });
        }
    }
    while let Some(answer) = calls.join_next().await {
        answer.unwrap().unwrap();
    }
    // 768 delays of 20 ms, one after the other, would be 15 s.
    println!("started in {started:?}, 768 calls in {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_cluster_starts_in_seconds() {
    let shape = Shape { shards: 256, streams: 55, copy_states: 3, log_rows: 6, ..Shape::default() };
    let begun = Instant::now();
    let snapshot = generate(shape, NOW);
    let generated = begun.elapsed();
    let cluster = start(snapshot, &[]).await;
    println!("14,080 streams: generated in {generated:?}, running after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let counted = exec(&cluster, "zone2-0000025700", "select count(*) from _vt.vreplication").await.unwrap();
    assert_eq!(values(&counted), [["55"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_generated_source_and_state_is_readable() {
    for snapshot in [demo(NOW), generate(Shape { streams: 24, ..Shape::default() }, NOW)] {
        let cluster = start(snapshot, &[]).await;
        let request = data::ReadVReplicationWorkflowsRequest::default();
        let path = "/tabletmanagerservice.TabletManager/ReadVReplicationWorkflows";
        let answer = call(cluster.port("zone1-0000000200").unwrap(), path, request, Duration::from_secs(10)).await.unwrap();
        let workflows = data::ReadVReplicationWorkflowsResponse::decode(answer).unwrap().workflows;
        assert!(workflows.len() >= 6, "{}", workflows.len());
        for stream in workflows.iter().flat_map(|workflow| &workflow.streams) {
            let source = stream.bls.as_ref().unwrap();
            assert!(!source.keyspace.is_empty() && !source.filter.as_ref().unwrap().rules.is_empty());
            assert_ne!(stream.state, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_count_what_really_changed() {
    let cluster = start(small(), &[]).await;
    let alias = "zone1-0000000200";
    let update = "update _vt.vreplication set tags = 'it\\'s \\\"blue\\\"' where workflow = 'move_orders_1'";
    assert_eq!(exec(&cluster, alias, update).await.unwrap().rows_affected, 1);
    assert_eq!(exec(&cluster, alias, update).await.unwrap().rows_affected, 0, "the same again changes nothing");
    let read = "select tags from _vt.vreplication where workflow = 'move_orders_1'";
    assert_eq!(values(&exec(&cluster, alias, read).await.unwrap()), [["it's \"blue\""]]);
    let upper = exec(&cluster, alias, "select id from _vt.vreplication where workflow = 'MOVE_ORDERS_1'").await.unwrap();
    assert_eq!(upper.rows.len(), 0, "varbinary columns compare bytewise");

    let insert = "insert into _vt.vreplication (workflow, source, pos, max_tps, max_replication_lag, cell, tablet_types, \
                  time_updated, transaction_timestamp, state, db_name, options) values ('new', \
                  'keyspace:\"commerce\" shard:\"0\"', '', 0, 0, '', '', now(), 0, 'Stopped', 'vt_customer', '{\"b\":1,\"a\":{}}')";
    let inserted = exec(&cluster, alias, insert).await.unwrap();
    assert_eq!((inserted.rows_affected, inserted.insert_id, inserted.insert_id_changed), (1, 13, true));
    let read = "select time_updated div 1000000, options, rows_copied, stop_pos from _vt.vreplication where id = 13";
    let got = values(&exec(&cluster, alias, read).await.unwrap());
    assert_eq!(got, [["20261123", r#"{"a": {}, "b": 1}"#, "0", "NULL"]], "now() in a number column, JSON normalised");
    let log = "select type, state, count from _vt.vreplication_log where vrepl_id = 13";
    assert_eq!(values(&exec(&cluster, alias, log).await.unwrap()), [["Stream Created", "Stopped", "1"]]);

    let row = "('twice', 'keyspace:\"commerce\"', '', 0, 0, 0, 0, 'Stopped', 'vt_customer', '{}')";
    let broken = format!(
        "insert into _vt.vreplication (workflow, source, pos, max_tps, max_replication_lag, time_updated, transaction_timestamp, \
         state, db_name, options) values {row}, {}",
        row.replace("'keyspace:\"commerce\"'", "null")
    );
    let refused = exec(&cluster, alias, &broken).await.unwrap_err();
    assert!(refused.message().contains("Column 'source' cannot be null (errno 1048)"), "{}", refused.message());
    let count = "select count(*) from _vt.vreplication where workflow = 'twice'";
    assert_eq!(values(&exec(&cluster, alias, count).await.unwrap()), [["0"]], "a failed write leaves nothing behind");

    let copying = "select id from _vt.vreplication where workflow = 'move_events_1'";
    let id = values(&exec(&cluster, alias, copying).await.unwrap())[0][0].clone();
    let states = format!("select count(*) from _vt.copy_state where vrepl_id = {id}");
    assert_eq!(values(&exec(&cluster, alias, &states).await.unwrap()), [["3"]]);
    let delete = "delete from _vt.vreplication where workflow = 'move_events_1'";
    assert_eq!(exec(&cluster, alias, delete).await.unwrap().rows_affected, 1);
    assert_eq!(values(&exec(&cluster, alias, &states).await.unwrap()), [["0"]], "copy state goes with its stream");
    assert_eq!(exec(&cluster, alias, delete).await.unwrap(), QueryResult::default());
    let again = exec(&cluster, alias, insert).await.unwrap();
    assert_eq!(again.insert_id, 14, "ids are not used twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_are_selected_as_mysql_does() {
    let cluster = start(demo(NOW), &[]).await;
    for (condition, want) in [
        ("requested_timestamp > now() - interval 1600 second", "3"),
        ("requested_timestamp > date_sub(now(), interval 10 minute)", "0"),
        ("migration_uuid like '%'", "3"),
        ("migration_status = 'RUNNING'", "1"),
        ("migration_uuid like 'E21F4478%'", "1"),
        ("migration_context = 'release:42' and not (migration_status <=> 'queued')", "1"),
        ("unix_timestamp(requested_timestamp) = unix_timestamp(from_unixtime(1795422545))", "3"),
        ("concat(left(strategy, 3), null) is null && progress > 99.5", "2"),
    ] {
        let query = format!("select count(*) from _vt.schema_migrations where {condition}").into_bytes();
        let request = data::ExecuteFetchAsDbaRequest { query, max_rows: 10, ..data::ExecuteFetchAsDbaRequest::default() };
        let path = "/tabletmanagerservice.TabletManager/ExecuteFetchAsDba";
        let port = cluster.port("zone1-0000000200").unwrap();
        let answer = call(port, path, request, Duration::from_secs(5)).await.expect(condition);
        let result = data::ExecuteFetchAsDbaResponse::decode(answer).unwrap().result.unwrap();
        assert_eq!(values(&result), [[want]], "{condition}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_without_end_is_ended() {
    let cluster = start(small(), &[]).await;
    let endless = "with recursive n as (select 1 as i union all select i + 1 from n) select id from _vt.vreplication where id in \
                   (select count(*) from n)";
    let ended = exec(&cluster, "zone1-0000000200", endless).await.unwrap_err();
    assert!(ended.message().contains("maximum statement execution time exceeded"), "{}", ended.message());
    exec(&cluster, "zone1-0000000200", "select id from _vt.vreplication").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_ten_thousand_rows_are_an_error() {
    let shape = Shape { shards: 1, streams: 2, log_rows: 5_001, ..Shape::default() };
    let cluster = start(generate(shape, NOW), &[]).await;
    let alias = "zone1-0000000200";
    let refused = exec(&cluster, alias, "select * from _vt.vreplication_log").await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().ends_with("Row count exceeded 10000"), "{}", refused.message());
    let most = exec(&cluster, alias, "select * from _vt.vreplication_log limit 10000").await.unwrap();
    assert_eq!(most.rows.len(), 10_000);
}

#[test]
fn a_snapshot_survives_being_saved_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let mut snapshot = small();
    let rows = snapshot.tablets.get_mut("zone1-0000000200").unwrap().sidecar.get_mut("vreplication").unwrap();
    let pos = rows.column("pos").unwrap();
    rows.rows[0][pos] = Cell::Bytes(vec![0, 255, 1]);
    snapshot.save(folder.path()).unwrap();
    assert_eq!(Snapshot::load(folder.path()).unwrap(), snapshot);
    for recorded in ["odd-rows", "mixed-releases"] {
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/snapshots").join(recorded);
        let snapshot = Snapshot::load(&recorded).unwrap();
        let folder = tempfile::tempdir().unwrap();
        snapshot.save(folder.path()).unwrap();
        assert_eq!(Snapshot::load(folder.path()).unwrap(), snapshot);
    }
}

#[test]
fn a_broken_snapshot_names_the_file_and_what_to_do() {
    let broken = |file: &str, content: &str| {
        let folder = tempfile::tempdir().unwrap();
        small().save(folder.path()).unwrap();
        std::fs::write(folder.path().join(file), content).unwrap();
        Snapshot::load(folder.path()).unwrap_err()
    };
    let head = r#"{"format": "vtflow-snapshot/9", "taken_at_unix_ns": 1}"#;
    assert!(matches!(broken("snapshot.json", head), SnapshotError::UnknownFormat { .. }));
    assert!(matches!(broken("snapshot.json", "{"), SnapshotError::Malformed { .. }));
    let value = r#"[{"cell": "global", "path": "x", "version": 1, "value": "?"}]"#;
    let damaged = |file: &str, content: &str| {
        let folder = tempfile::tempdir().unwrap();
        small().save(folder.path()).unwrap();
        std::fs::write(folder.path().join(file), content).unwrap();
        let Snapshot { tablets, unreadable, topo, .. } = Snapshot::load(folder.path()).unwrap();
        let mut texts: Vec<String> = unreadable.tablets.values().chain(unreadable.records.values()).cloned().collect();
        assert!(texts.len() == 1 && unreadable.tablets.keys().all(|alias| !tablets.contains_key(alias)), "{texts:?}");
        assert!(topo.iter().all(|record| topodata::CellInfo::decode(record.value.as_slice()).is_err() || file != "topo.json"));
        texts.remove(0)
    };
    let error = damaged("topo.json", value);
    assert!(error.contains("topo.json: the value of global x is not base64"), "{error}");
    let short = r#"{"alias": "zone1-0000000200", "sidecar": {"vreplication": {"columns": [{"name": "id", "type": "int", "nullable": false}], "rows": [[1], []]}}}"#;
    let error = damaged("tablets/zone1-0000000200.json", short);
    assert!(error.contains("zone1-0000000200.json: table vreplication, row 2 (from 1) has 0 values for 1 columns"), "{error}");
    let other = r#"{"alias": "zone1-0000000999", "sidecar": {}}"#;
    let error = damaged("tablets/zone1-0000000200.json", other);
    assert!(error.contains("zone1-0000000200.json holds the rows of tablet \"zone1-0000000999\""), "{error}");
    let cell = r#"{"alias": "zone1-0000000200", "sidecar": {"t": {"columns": [], "rows": [[{"hex": "00"}]]}}}"#;
    let error = damaged("tablets/zone1-0000000200.json", cell);
    assert!(error.contains("zone1-0000000200.json is not a snapshot file: ") && error.contains("line 1 column"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    assert!(Snapshot::load(folder.path()).unwrap_err().to_string().contains("snapshot.json"));
    // What the encoder writes is what the decoder reads, whatever the bytes.
    assert_eq!(base64::engine::general_purpose::STANDARD.encode([0, 255]), "AP8=");
}

#[test]
fn sidecar_tables_can_be_declared_for_every_release() {
    for major in 10..=24 {
        let statements = vtflow_embedded::schema::mysql_ddl(Release::new(major));
        let has = |table: &str| statements.iter().any(|statement| statement.contains(&format!("CREATE TABLE _vt.{table} ")));
        assert!(has("vreplication") && has("copy_state") && has("schema_migrations"));
        assert_eq!(has("vreplication_log"), major >= 11);
        assert_eq!(has("vdiff"), major >= 14);
        assert_eq!(has("post_copy_action"), major >= 16);
    }
}

/// What vtctld of v10 to v24 sends for GetWorkflows, besides what this project plans: other tools are pointed at this cluster.
#[tokio::test(flavor = "multi_thread")]
async fn the_statements_of_vtctld_run() {
    let cluster = start(small(), &[]).await;
    let alias = "zone1-0000000200";
    let ids = "select id from _vt.vreplication where db_name = 'vt_customer' and workflow = 'move_events_1'";
    let stream = values(&exec(&cluster, alias, ids).await.unwrap())[0][0].clone();
    for (statement, at_least) in [
        (
            format!(
                "select vrepl_id, table_name, lastpk from _vt.copy_state where vrepl_id in ({stream}) and id in (select max(id) from _vt.copy_state where vrepl_id in ({stream}) group by vrepl_id, table_name)"
            ),
            1,
        ),
        (
            format!(
                "select id, vrepl_id, type, state, message, created_at, updated_at, `count` from _vt.vreplication_log where vrepl_id in ({stream}, {stream}) order by vrepl_id asc, id asc"
            ),
            1,
        ),
        (format!("select table_name, lastpk from _vt.copy_state where vrepl_id = {stream}"), 1),
        ("select distinct workflow from _vt.vreplication where state != 'Stopped' and db_name = 'vt_customer'".to_owned(), 2),
        ("select id, workflow, source, pos, stop_pos, max_replication_lag, state, db_name, time_updated, transaction_timestamp, message, tags, workflow_type, workflow_sub_type from _vt.vreplication where db_name = 'vt_customer'".to_owned(), 12),
    ] {
        let result = exec(&cluster, alias, &statement).await.unwrap_or_else(|status| panic!("{statement}: {status}"));
        assert!(result.rows.len() >= at_least, "{statement}: {} rows", result.rows.len());
    }
    let request = data::ReadVReplicationWorkflowsRequest {
        include_workflows: vec!["move_events_1".into()],
        exclude_states: vec![2],
        ..data::ReadVReplicationWorkflowsRequest::default()
    };
    let path = "/tabletmanagerservice.TabletManager/ReadVReplicationWorkflows";
    let answer = call(cluster.port(alias).unwrap(), path, request, Duration::from_secs(20)).await.unwrap();
    let workflows = data::ReadVReplicationWorkflowsResponse::decode(answer).unwrap().workflows;
    assert_eq!((workflows.len(), workflows[0].streams.len()), (1, 1));
}
