//! What a stranger's rows and statements cannot do: reach files, take the stack, look like an empty tablet.

use std::{collections::BTreeMap, time::Duration};

use prost::Message;
use tempfile::TempDir;
use vtflow_embedded::{Cell, Cluster, ColumnDecl, Shape, TableRows, generate};
use vtflow_planner::{
    Timestamp,
    proto::tabletmanagerdata::{
        ExecuteFetchAsDbaRequest, ExecuteFetchAsDbaResponse, VReplicationExecRequest, VReplicationExecResponse,
    },
    rpc,
};

use super::cluster::call;

async fn cluster() -> Cluster {
    let shape = Shape { shards: 1, streams: 2, ..Shape::default() };
    Cluster::start(generate(shape, Timestamp { seconds: 1_700_000_000, nanos: 0 }), BTreeMap::new(), Duration::ZERO)
        .await
        .unwrap()
}

async fn exec(cluster: &Cluster, sql: &str) -> Result<usize, tonic::Status> {
    let port = cluster.port("zone1-0000000200").unwrap();
    let limit = Duration::from_secs(30);
    let answer = call(port, rpc::VREPLICATION_EXEC, VReplicationExecRequest { query: sql.into() }, limit).await?;
    Ok(VReplicationExecResponse::decode(answer).unwrap().result.unwrap_or_default().rows.len())
}

async fn fetch(cluster: &Cluster, sql: &str) -> Result<usize, tonic::Status> {
    let port = cluster.port("zone1-0000000200").unwrap();
    let request = ExecuteFetchAsDbaRequest { query: sql.into(), max_rows: 10_000, ..ExecuteFetchAsDbaRequest::default() };
    let answer = call(port, rpc::EXECUTE_FETCH_AS_DBA, request, Duration::from_secs(30)).await?;
    Ok(ExecuteFetchAsDbaResponse::decode(answer).unwrap().result.unwrap_or_default().rows.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_is_too_deep_or_too_long_for_the_process() {
    let cluster = cluster().await;
    let select = |condition: &str| format!("select id from _vt.vreplication where {condition}");
    for count in [50_000, 900] {
        for (name, sql) in [
            ("or", select(&vec!["id = 1"; count].join(" or "))),
            ("plus", select(&vec!["1"; count].join(" + "))),
            ("not", select(&format!("{}id = 1", "not ".repeat(count)))),
            ("minus", select(&format!("{}1", "- ".repeat(count)))),
            ("is null", select(&format!("id {}", "is null ".repeat(count)))),
            ("parens", select(&format!("{}1{}", "(".repeat(count), ")".repeat(count)))),
            ("calls", select(&format!("{}1{}", "abs(".repeat(count), ")".repeat(count)))),
            ("union", vec!["select id from _vt.vreplication"; count].join(" union ")),
            ("subqueries", format!("{}select 1{}", "select (".repeat(count), ")".repeat(count))),
            ("derived", format!("{}select id from _vt.vreplication{}", "select id from (".repeat(count), ") as t".repeat(count))),
            ("case", select(&format!("{}1{}", "case when 1 then ".repeat(count), " end".repeat(count)))),
            ("write", format!("update _vt.vreplication set tags = 'x' where id = 1 and ({})", vec!["1"; count].join(" or "))),
        ] {
            for answer in [exec(&cluster, &sql).await, fetch(&cluster, &sql).await] {
                let is_deep = |text: &str| text.contains("Thread stack overrun") || text.contains("max_allowed_packet");
                match answer {
                    Ok(_) => assert_eq!(count, 900, "{name}"),
                    Err(status) => assert!(count == 900 || is_deep(status.message()), "{name}: {}", status.message()),
                }
            }
        }
    }
    // A list is long and not deep.
    let ids = (0..10_000).map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
    assert_eq!(exec(&cluster, &select(&format!("id in ({ids})"))).await.unwrap(), 2);
    let text = fetch(&cluster, &format!("select '{}'", "x".repeat(600_000))).await.unwrap_err();
    assert!(text.message().contains("max_allowed_packet"), "{}", text.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_reaches_nothing_but_the_tablets_tables() {
    let cluster = cluster().await;
    let directory = TempDir::new().unwrap();
    let made = directory.path().join("made");
    let attach = format!("attach '{}' as y", made.display());
    // A name whose quote the printer would take for an escaped one.
    let broken = format!("select 1 as `x\\``; {attach}; --` from _vt.vreplication");
    for sql in [
        attach.as_str(),
        &broken,
        "pragma database_list",
        "select load_extension('x')",
        "select * from pragma_database_list",
        "select * from sqlite_master",
        "select * from _vt.sqlite_master",
        "select id as `a\\`` from _vt.vreplication",
        "select `a\\``, 1 from _vt.vreplication",
        "create trigger x after insert on _vt.vreplication begin select 1; end",
        "drop table _vt.vreplication",
        "update _vt.sqlite_sequence set seq = 1 where id = 1",
        "vacuum into 'x'",
    ] {
        let refused = fetch(&cluster, sql).await.expect_err(sql);
        assert!(!refused.message().is_empty() && !made.exists(), "{sql}");
    }
    // Columns of common tables that are made of each other.
    let wide = "with a as (select * from _vt.vreplication x, _vt.vreplication y, _vt.vreplication z), \
                b as (select * from a a1, a a2, a a3, a a4, a a5 limit 1), c as (select * from b b1, b b2, b b3, b b4, b b5 limit 1) \
                select * from c c1, c c2, c c3, c c4, c c5";
    let refused = fetch(&cluster, wide).await.unwrap_err();
    assert!(refused.message().contains("Too many columns"), "{}", refused.message());
    assert_eq!(exec(&cluster, "select id from _vt.vreplication").await.unwrap(), 2, "and it lives on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_whose_rows_cannot_be_loaded_names_table_and_reason() {
    let mut snapshot =
        generate(Shape { shards: 1, streams: 1, ..Shape::default() }, Timestamp { seconds: 1_700_000_000, nanos: 0 });
    let tablet = snapshot.tablets.get_mut("zone1-0000000200").unwrap();
    let column = |name: &str| ColumnDecl { name: name.into(), mysql_type: "int".into(), nullable: true };
    let table = TableRows { columns: vec![column("a"), column("A")], rows: vec![vec![Cell::Null, Cell::Null]] };
    tablet.sidecar.insert("odd".into(), table);
    let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.unwrap();
    let warnings = cluster.warnings().join("\n");
    assert!(
        warnings.contains("table odd: duplicate column name: A") && warnings.contains("tablets/zone1-0000000200.json"),
        "{warnings}"
    );
}
