//! The row readers as others use them: real answers of real tablets, made-up rows for every rule, and random ones.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]
#![allow(clippy::disallowed_types, reason = "how long reading takes is measured here, not in the planner")]
#![allow(clippy::unused_self, clippy::format_collect, reason = "the writer of text format reads better so")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use miniz_oxide::deflate::compress_to_vec_zlib;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use prost::Message as _;
use vtflow_planner::limits::TABLET_ROWS;
use vtflow_planner::proto::binlogdata::{BinlogSource, CharsetConversion, Filter, Rule};
use vtflow_planner::proto::query::{Field, QueryResult, Row as WireRow};
use vtflow_planner::proto::tabletmanagerdata::VReplicationExecResponse;
use vtflow_planner::proto::topodata::KeyRange;
use vtflow_planner::{
    formats::{binlog_source, options, position, source::Source, tablet_types, text_format, time},
    sidecar::{CopyStateRow, LogRow, RowSet, StreamRow, copy_state},
};

const INT64: i32 = 265;
const VARBINARY: i32 = 10262;

/// A column's name, its type, and its value in the one row.
type Cell<'a> = (&'a str, i32, Option<&'a [u8]>);

fn one_row(cells: &[Cell<'_>]) -> RowSet {
    let field = |(name, kind, _): &Cell<'_>| Field { name: name.as_bytes().to_vec(), r#type: *kind, ..Field::default() };
    let lengths = cells.iter().map(|(_, _, value)| value.map_or(-1, |value| i64::try_from(value.len()).unwrap())).collect();
    let values = cells.iter().flat_map(|(_, _, value)| value.unwrap_or_default()).copied().collect();
    let fields = cells.iter().map(field).collect();
    answered(QueryResult { fields, rows: vec![WireRow { lengths, values }], ..QueryResult::default() })
}

fn answered(result: QueryResult) -> RowSet {
    RowSet::from_vreplication_exec(&VReplicationExecResponse { result: Some(result) }.encode_to_vec()).unwrap()
}

/// A stream's row with the 14 columns of v10, then changed.
fn stream(changes: &[Cell<'static>]) -> StreamRow<'static> {
    let source: &[u8] = br#"keyspace:"s" shard:"0" filter:<rules:<match:"t1" filter:"select 1" > > "#;
    let mut cells: Vec<Cell<'static>> = vec![
        ("id", INT64, Some(b"7")),
        ("workflow", VARBINARY, Some(b"wf")),
        ("source", VARBINARY, Some(source)),
        ("pos", VARBINARY, Some(b"MySQL56/14b68925-696a-11ea-aee7-fec597a91f5e:1-3")),
        ("stop_pos", VARBINARY, None),
        ("max_tps", INT64, Some(b"9223372036854775807")),
        ("max_replication_lag", INT64, Some(b"1")),
        ("cell", VARBINARY, None),
        ("tablet_types", VARBINARY, None),
        ("time_updated", INT64, Some(b"20251123073112")),
        ("transaction_timestamp", INT64, Some(b"0")),
        ("state", VARBINARY, Some(b"Running")),
        ("message", VARBINARY, None),
        ("db_name", VARBINARY, Some(b"vt_ks")),
    ];
    for change in changes {
        match cells.iter_mut().find(|cell| cell.0 == change.0) {
            Some(cell) => *cell = *change,
            None => cells.push(*change),
        }
    }
    StreamRow::read(&leaked(one_row(&cells)).rows().next().unwrap())
}

/// Rows point into their result, and tests pass them on.
fn leaked(set: RowSet) -> &'static RowSet {
    Box::leak(Box::new(set))
}

fn text(column: &'static str, value: &'static str) -> Cell<'static> {
    (column, VARBINARY, Some(value.as_bytes()))
}

fn number(column: &'static str, value: &'static str) -> Cell<'static> {
    (column, INT64, Some(value.as_bytes()))
}

#[test]
fn columns_that_v10_lacks_have_their_defaults() {
    let row = stream(&[]);
    assert_eq!((row.id, &*row.workflow, &*row.db_name), (7, "wf", "vt_ks"));
    assert_eq!(row.source.message().filter.unwrap().rules[0].r#match, "t1");
    assert_eq!((row.max_tps, row.max_replication_lag, row.time_updated), (i64::MAX, 1, 20_251_123_073_112));
    assert_eq!((&*row.position, &*row.stop_position), ("14b68925-696a-11ea-aee7-fec597a91f5e:1-3", ""));
    assert_eq!((row.time_heartbeat, row.time_throttled, row.rows_copied), (0, 0, 0));
    assert_eq!((&*row.workflow_type, &*row.workflow_sub_type, row.defer_secondary_keys), ("Materialize", "None", false));
    assert_eq!([&*row.component_throttled, &*row.reason_throttled, &*row.options, &*row.message], [""; 4]);
    let (cells, tags): (Vec<_>, Vec<_>) = (row.cells().collect(), row.tags().collect());
    assert_eq!((row.state, cells, tags, row.tablet_types.as_slice()), (4, vec![""], vec![""], &[][..]));
}

/// Cases GW-10 to GW-13, GW-18, MX-3 and MX-6.
#[test]
fn every_column_is_read_by_its_rule() {
    let row = stream(&[text("tags", ""), text("cell", ""), text("tablet_types", "")]);
    assert_eq!(
        (row.tags().collect(), row.cells().collect(), row.tablet_types.as_slice(), row.tablet_selection_preference),
        (vec![""], vec![""], &[][..], 0)
    );
    let row =
        stream(&[text("cell", " zone1 ,\u{2003}zone2"), text("tablet_types", "in_order:REPLICA,primary"), text("tags", "a, b")]);
    assert_eq!((row.cells().collect(), row.tags().collect()), (vec!["zone1", "zone2"], vec!["a", " b"]));
    assert_eq!((row.tablet_types, row.tablet_selection_preference), (vec![2, 1], 1));
    assert_eq!(stream(&[text("tablet_types", "MASTER,BATCH")]).tablet_types, [1, 3]);
    let stop = "MySQL56/14b68925-696a-11ea-aee7-fec597a91f5e:1-3";
    assert_eq!(stream(&[text("stop_pos", stop)]).stop_position, stop);
    let plain = stop.as_bytes();
    let packed = [&u32::try_from(plain.len()).unwrap().to_le_bytes()[..], &compress_to_vec_zlib(plain, 6)].concat();
    let packed: Cell<'static> = ("pos", VARBINARY, Some(Box::leak(packed.into_boxed_slice())));
    assert_eq!(stream(&[packed]).position, "14b68925-696a-11ea-aee7-fec597a91f5e:1-3");
    let row = stream(&[number("workflow_type", "99"), number("workflow_sub_type", "1"), number("defer_secondary_keys", "1")]);
    assert_eq!((&*row.workflow_type, &*row.workflow_sub_type, row.defer_secondary_keys), ("99", "Partial", true));
    assert!(!stream(&[number("defer_secondary_keys", "2")]).defer_secondary_keys);
    for (state, want) in [
        ("Unknown", 0),
        ("Init", 1),
        ("Stopped", 2),
        ("Copying", 3),
        ("Error", 5),
        ("Lagging", 6),
        ("running", 0),
        ("Frobnicate", 0),
        ("", 0),
    ] {
        assert_eq!(stream(&[("state", VARBINARY, Some(state.as_bytes()))]).state, want, "{state}");
    }
    let row = stream(&[("message", VARBINARY, Some(b"caf\xe9")), ("workflow", VARBINARY, None)]);
    assert_eq!((&*row.message, &*row.workflow), ("caf\u{fffd}", ""));
}

/// Whatever one column holds: the row is there, the column is named, and all others are as they were.
#[test]
fn a_column_that_cannot_be_read_takes_nothing_else_away() {
    let refused = "Cannot convert value to desired type";
    let whole = stream(&[]);
    assert_eq!(whole.faults, []);
    let tagged = "MySQL56/14b68925-696a-11ea-aee7-fec597a91f5e:1-12045:mysqlsh:1-3";
    for (change, column, reason, shown) in [
        (text("id", "7"), "id", refused, StreamRow { id: 0, ..whole.clone() }),
        (
            number("id", "2147483648"),
            "id",
            "strconv.ParseInt: parsing \"2147483648\": value out of range",
            StreamRow { id: 0, ..whole.clone() },
        ),
        (
            text("source", "garbage"),
            "source",
            "proto: (line 1:1): unknown field: garbage",
            StreamRow { source: Source::default(), ..whole.clone() },
        ),
        (
            text("pos", "pos"),
            "pos",
            "parse error: unknown GTIDSet flavor \"\"",
            StreamRow { position: "pos".into(), ..whole.clone() },
        ),
        (
            text("pos", tagged),
            "pos",
            "invalid MySQL 5.6 GTID set (\"14b68925-696a-11ea-aee7-fec597a91f5e:1-12045:mysqlsh:1-3\"): invalid interval (\"mysqlsh\"): \
             strconv.ParseUint: parsing \"mysqlsh\": invalid syntax",
            StreamRow { position: tagged.into(), ..whole.clone() },
        ),
        (("max_tps", INT64, None), "max_tps", refused, StreamRow { max_tps: 0, ..whole.clone() }),
        (text("time_updated", "1"), "time_updated", refused, StreamRow { time_updated: 0, ..whole.clone() }),
        (number("time_heartbeat", "x"), "time_heartbeat", "strconv.ParseInt: parsing \"x\": invalid syntax", whole.clone()),
        (
            text("tablet_types", "in_order:replica,x"),
            "tablet_types",
            "unknown TabletType x",
            StreamRow { tablet_types: vec![2, 0], tablet_selection_preference: 1, ..whole.clone() },
        ),
        (("workflow_type", INT64, None), "workflow_type", refused, StreamRow { workflow_type: "".into(), ..whole.clone() }),
        (
            number("workflow_sub_type", "4294967296"),
            "workflow_sub_type",
            "strconv.ParseInt: parsing \"4294967296\": value out of range",
            StreamRow { workflow_sub_type: "4294967296".into(), ..whole.clone() },
        ),
        (text("state", "running"), "state", "no state of a stream has this name", StreamRow { state: 0, ..whole.clone() }),
        (number("rows_copied", ""), "rows_copied", "strconv.ParseInt: parsing \"\": invalid syntax", whole.clone()),
    ] {
        let mut row = stream(&[change]);
        let faults = std::mem::take(&mut row.faults);
        let found: Vec<_> = faults.iter().map(|fault| (fault.column, fault.reason.as_str())).collect();
        assert_eq!(found, [(column, reason)]);
        assert_eq!(row, shown, "{column}");
    }
    let bad = stream(&[text("pos", "x"), text("source", "y"), number("rows_copied", "z")]);
    assert!(bad.lacks("pos") && bad.lacks("source") && bad.lacks("rows_copied") && !bad.lacks("id"), "{:?}", bad.faults);
    let set = one_row(&[("workflow", VARBINARY, Some(b"wf"))]);
    let bad = StreamRow::read(&set.rows().next().unwrap());
    let texts: Vec<_> = bad.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        (&*bad.workflow, texts),
        ("wf", vec!["column id: no such column".into(), "column source: no such column".to_owned()])
    );
}

#[test]
fn log_rows_say_the_first_mistake_in_vtctlds_order_and_keep_the_rest() {
    let good = ["1", "7", "Message", "Running", "2025-01-02 03:04:05", "2025-01-02 03:04:06.5", "hello", "3"];
    let names = ["id", "vrepl_id", "type", "state", "created_at", "updated_at", "message", "count"];
    let read = |changes: &[(usize, Option<&str>)]| {
        let mut values = good.map(Some);
        for (place, value) in changes {
            values[*place] = *value;
        }
        let cells: Vec<_> = names.iter().zip(values).map(|(name, value)| (*name, VARBINARY, value.map(str::as_bytes))).collect();
        LogRow::read(&leaked(one_row(&cells)).rows().next().unwrap())
    };
    let row = read(&[]);
    assert_eq!((row.id, row.stream, row.created_at, row.updated_at, row.count), (1, Some(7), 1_735_787_045, 1_735_787_046, 3));
    assert_eq!([&*row.kind, &*row.state, &*row.message, &row.fault], ["Message", "Running", "hello", ""]);
    let empty_time = "parsing time \"\" as \"2006-01-02 15:04:05\": cannot parse \"\" as \"2006\"";
    for (name, changes, stream, text) in [
        ("id first", &[(0, Some("x")), (1, Some("")), (4, None)][..], None, "cannot parse int64 from \"x\""),
        ("id, stream known", &[(0, None)], Some(7), "cannot parse int64 from empty string"),
        ("then the stream", &[(1, Some("7a")), (4, None)], None, "unparsed tail left after parsing int64 from \"7a\": \"a\""),
        ("then created_at", &[(4, None), (5, Some("x")), (7, None)], Some(7), empty_time),
        ("then updated_at", &[(5, Some("")), (7, None)], Some(7), empty_time),
        ("then count", &[(7, None)], Some(7), "cannot parse int64 from empty string"),
    ] {
        let row = read(changes);
        assert_eq!((row.stream, row.fault.as_str(), &*row.message), (stream, text, "hello"), "{name}");
    }
    let row = read(&[(5, Some("never"))]);
    assert_eq!((row.created_at, row.updated_at, row.count), (1_735_787_045, 0, 3));
}

#[test]
fn copy_state_needs_an_integer_stream() {
    let cells: [Cell<'_>; 3] =
        [("vrepl_id", INT64, Some(b"7")), ("table_name", VARBINARY, Some(b"t")), ("lastpk", VARBINARY, None)];
    let set = one_row(&cells);
    let row = CopyStateRow::read(&set.rows().next().unwrap()).unwrap();
    assert_eq!(row, CopyStateRow { id: None, stream: 7, table: "t".into(), last_pk: "".into(), fault: None });
    let odd = [("id", INT64, Some(&b"x"[..])), cells[0], cells[1], cells[2]];
    let set = one_row(&odd);
    let row = CopyStateRow::read(&set.rows().next().unwrap()).unwrap();
    assert_eq!((row.id, row.stream, row.fault.map(|fault| fault.column)), (None, 7, Some("id")), "the row is there");
    let mut text = cells;
    text[0].1 = VARBINARY;
    let error = CopyStateRow::read(&one_row(&text).rows().next().unwrap()).unwrap_err();
    assert_eq!((error.column, error.reason.as_str()), ("vrepl_id", "Cannot convert value to desired type"));
    let error = CopyStateRow::read(&one_row(&cells[1..]).rows().next().unwrap()).unwrap_err();
    assert_eq!((error.column, error.reason.as_str()), ("vrepl_id", "no such column"));
}

#[test]
fn streams_of_a_v16_tablet() {
    let set = RowSet::from_vreplication_exec(&from_base64(V16_STREAMS)).unwrap();
    assert_eq!((set.fields().len(), set.has_column("options"), set.has_column("defer_secondary_keys")), (22, false, true));
    let rows: Vec<_> = set.rows().map(|row| StreamRow::read(&row)).collect();
    let names: Vec<_> = rows.iter().map(|row| (row.id, &*row.workflow, row.state, &*row.message)).collect();
    let error = "vttablet: rpc error: code = FailedPrecondition desc = column nosuchcol not found in table product";
    assert_eq!(
        names,
        [
            (1, "mix_mt", 4, ""),
            (2, "mix_copy", 2, "stopped by hand"),
            (3, "mix_err", 3, error),
            (4, "mix_frozen", 2, "FROZEN"),
            (5, "614db757_e71b_11f1_8dda_0a4aad2ccf4f", 2, "stopped for online DDL cutover"),
        ]
    );
    assert_eq!((&*rows[0].position, &*rows[2].position), ("6ca9b5b3-e710-11f1-ac9e-02fc00000001:1-843", ""));
    assert_eq!((rows[0].time_updated, rows[0].time_heartbeat), (1_795_424_042, 1_795_424_042));
    assert_eq!((rows[0].tablet_types.as_slice(), rows[0].tablet_selection_preference), (&[2, 1][..], 1));
    assert_eq!((rows[0].tags().collect(), rows[1].cells().collect()), (vec!["blue", "v16"], vec!["zone1"]));
    let rules = rows[1].source.message().filter.unwrap().rules;
    assert_eq!(rules.iter().map(|rule| rule.r#match.as_str()).collect::<Vec<_>>(), ["big", "product"]);
    assert_eq!(rules[0].filter, "select id, pad from big where in_keyrange(id, 'mixed.hash', 'c0-e0')");
    let Some(last) = rows.last() else { panic!("no rows") };
    assert_eq!([&*last.workflow_type, last.source.keyspace(), last.source.shard()], ["OnlineDDL", "mixed", "c0-e0"]);
}

#[test]
fn streams_of_a_v24_tablet() {
    let set = RowSet::from_vreplication_exec(&from_base64(V24_STREAMS)).unwrap();
    let rows: Vec<_> = set.rows().map(|row| StreamRow::read(&row)).collect();
    assert_eq!((set.fields().len(), rows.len()), (24, 6));
    assert_eq!((rows[0].rows_copied, rows[0].transaction_timestamp, &*rows[0].options), (213, 1_795_423_522, "{}"));
    assert_eq!((rows[2].state, rows[5].id), (5, 7));
    let rule = &rows[4].source.message().filter.unwrap().rules[0];
    assert_eq!((rule.force_unique_key.as_str(), rule.source_unique_key_columns.as_str()), ("PRIMARY", "customer_id"));
}

#[test]
fn copy_state_and_logs_of_real_tablets() {
    let set = RowSet::from_vreplication_exec(&from_base64(COPY_STATE)).unwrap();
    let rows: Vec<_> = set.rows().map(|row| CopyStateRow::read(&row).unwrap()).collect();
    assert_eq!(rows.len(), 5);
    let newest = copy_state::newest(rows);
    let seen: Vec<_> = newest.iter().map(|row| (row.id, row.stream, &*row.table)).collect();
    assert_eq!(seen, [(Some(5), 7, "t1"), (Some(4), 13, "t1"), (Some(7), 13, "t2 with space")]);
    assert_eq!(newest[2].last_pk, r#"fields:{name:"a" type:VARCHAR} rows:{lengths:5 values:"it\\'s"}"#);

    let set = RowSet::from_vreplication_exec(&from_base64(V16_LOG)).unwrap();
    let rows: Vec<_> = set.rows().map(|row| LogRow::read(&row)).collect();
    assert_eq!(
        rows.iter().map(|row| (row.id, row.stream, row.count)).collect::<Vec<_>>(),
        [(19, Some(5), 2), (18, Some(5), 1), (17, Some(5), 1)]
    );
    assert_eq!((rows[0].created_at, rows[0].updated_at), (1_795_424_022, 1_795_424_029));
    assert_eq!((&*rows[2].kind, &*rows[2].message), ("Started Copy Phase", "Copy phase started for 1 table(s)"));
}

#[test]
fn big_values_are_read_in_time() {
    let within = |name: &str, limit: Duration, work: &mut dyn FnMut()| {
        let begun = Instant::now();
        work();
        assert!(begun.elapsed() < limit, "{name} took {:?}", begun.elapsed());
    };
    // 1,000 servers of 100 intervals each, both from the last to the first.
    let mut set = String::from("MySQL56/");
    for server in (0..1000).rev() {
        write!(set, "{server:08x}-696a-11ea-aee7-fec597a91f5e").unwrap();
        (0..100).rev().for_each(|interval| write!(set, ":{}-{}", interval * 10 + 1, interval * 10 + 5).unwrap());
        set.push(',');
    }
    within("1,000 servers", Duration::from_secs(2), &mut || {
        let decoded = position::decode(set.as_bytes()).unwrap();
        assert!(decoded.starts_with("00000000-696a-11ea-aee7-fec597a91f5e:1-5:11-15:21-25:"), "{}", &decoded[..100]);
        assert_eq!(decoded.len(), set.len() - "MySQL56/".len() - 1);
    });
    // One server, named again for each of 100,000 transactions: quadratic if every name sorted again.
    let again = format!(
        "MySQL56/{}",
        (1..100_001).rev().map(|id| format!("00000000-696a-11ea-aee7-fec597a91f5e:{},", id * 2)).collect::<String>()
    );
    within("one server again and again", Duration::from_secs(5), &mut || assert!(position::decode(again.as_bytes()).is_ok()));
    for (name, text) in
        [("braces", "filter:{"), ("angles", "filter:<"), ("lists", "tables:["), ("unknown", "x{"), ("words", "a ")]
    {
        let text = text.repeat(100_000);
        within(name, Duration::from_secs(2), &mut || assert!(binlog_source::parse(text.as_bytes()).is_err(), "{name}"));
    }
    let rules = "rules:{match:\"t\" filter:\"select 1\"} ".repeat(TABLET_ROWS);
    let source = format!("filter:{{{rules}}}");
    within("10,000 rules", Duration::from_secs(2), &mut || {
        assert_eq!(binlog_source::parse(source.as_bytes()).unwrap().filter.unwrap().rules.len(), TABLET_ROWS);
    });
}

/// Runs a property on made-up values, always the same ones; a failure names the seed.
fn holds<S: Strategy>(seed: u8, strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    if let Err(error) = TestRunner::new_with_rng(config, rng).run(strategy, property) {
        panic!("seed {seed}: {error}");
    }
}

/// Pieces of what the columns hold, in any order: nearer to real texts than random bytes.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"keyspace",
        b"filter",
        b"rules",
        b"match",
        b"on_ddl",
        b"key",
        b"value",
        b":",
        b"{",
        b"}",
        b"<",
        b">",
        b"[",
        b"]",
        b"\"",
        b"'",
        b"\\",
        b"\\x",
        b"\\u",
        b"\\ud83d",
        b" ",
        b",",
        b";",
        b"#",
        b"\n",
        b"-",
        b"0x",
        b"1",
        b"7-9",
        b".",
        b"e",
        b"true",
        b"EXEC",
        b"MySQL56/",
        b"MariaDB/",
        b"FilePos/",
        b"14b68925-696a-11ea-aee7-fec597a91f5e",
        b"null",
        b"\"tenant_id\"",
        b"\"config\"",
        b"\"shards\"",
        b"2025-01-02",
        b"03:04:05",
        b"in_order:",
        b"replica",
        b"\xff",
        b"\xc3",
        b"\0",
        b"\x78\x9c",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..24).prop_map(|pieces| pieces.concat())
}

#[test]
fn no_bytes_panic() {
    let anything = prop_oneof![prop::collection::vec(any::<u8>(), 0..200), soup()];
    holds(1, &anything, |bytes| {
        let text = String::from_utf8_lossy(&bytes);
        let _ = binlog_source::parse(&bytes);
        let _ = text_format::parse(&bytes);
        let _ = position::decode(&bytes);
        let _ = tablet_types::parse(&text);
        let _ = time::parse_datetime(&text);
        let mut into = None;
        let _ = options::apply(&mut into, &text);
        for read in [RowSet::from_vreplication_exec(&bytes), RowSet::from_execute_fetch(&bytes)] {
            match read {
                Ok(set) => prop_assert_eq!(set.rows().count(), set.len()),
                Err(error) => prop_assert!(!error.to_string().contains(['\n', '\0']), "{}", error),
            }
        }
        Ok(())
    });
}

#[test]
fn no_result_panics() {
    let names = ["id", "vrepl_id", "source", "pos", "count", "created_at", "tablet_types", "workflow_type", "lastpk"];
    let field = (prop::sample::select(names.to_vec()), prop_oneof![Just(INT64), Just(VARBINARY), any::<i32>()]);
    let row = (prop::collection::vec(-2_i64..9, 0..6), prop::collection::vec(any::<u8>(), 0..20));
    let result = (prop::collection::vec(field, 0..6), prop::collection::vec(row, 0..3));
    holds(2, &result, |(fields, rows)| {
        let fields: Vec<_> =
            fields.into_iter().map(|(name, kind)| Field { name: name.into(), r#type: kind, ..Field::default() }).collect();
        let fits = |(lengths, values): &(Vec<i64>, Vec<u8>)| {
            lengths.len() == fields.len()
                && lengths.iter().map(|length| usize::try_from(*length).unwrap_or(0)).sum::<usize>() == values.len()
        };
        let all_fit = !fields.is_empty() && rows.iter().all(fits);
        let rows = rows.into_iter().map(|(lengths, values)| WireRow { lengths, values }).collect();
        let result = VReplicationExecResponse { result: Some(QueryResult { fields, rows, ..QueryResult::default() }) };
        let set = RowSet::from_vreplication_exec(&result.encode_to_vec());
        prop_assert_eq!(set.is_ok(), all_fit);
        for row in set.unwrap_or_default().rows() {
            let _ = (StreamRow::read(&row), CopyStateRow::read(&row).is_ok(), LogRow::read(&row));
        }
        Ok(())
    });
}

#[test]
fn a_source_written_in_either_dialect_is_read_back() {
    holds(3, &(a_source(), any::<bool>()), |(source, two_spaces)| {
        for old in [false, true] {
            let text = Writer { old, gap: if two_spaces { "  " } else { " " } }.source(&source);
            let parsed = binlog_source::parse(text.as_bytes());
            prop_assert_eq!(parsed.as_ref(), Ok(&source), "{}", text);
        }
        Ok(())
    });
}

#[test]
fn positions_have_one_normal_form() {
    let interval = (1_u64..60, 0_u64..70)
        .prop_map(|(first, last)| if last % 3 == 0 { format!("{first}") } else { format!("{first}-{last}") });
    let server = (0_u8..4, prop::collection::vec(interval, 1..6))
        .prop_map(|(server, list)| format!("0000000{server}-696A-11ea-aee7-fec597a91f5e:{}", list.join(":")));
    let set = prop::collection::vec(server, 0..6).prop_map(|servers| format!("MySQL56/{}", servers.join(", ")));
    holds(4, &set, |pos| {
        let once = position::decode(pos.as_bytes()).unwrap();
        prop_assert_eq!(position::decode(format!("MySQL56/{once}").as_bytes()), Ok(once.clone()), "normalised twice");
        let packed = [&u32::try_from(pos.len()).unwrap().to_le_bytes()[..], &compress_to_vec_zlib(pos.as_bytes(), 6)].concat();
        prop_assert_eq!(position::decode(&packed), Ok(once.clone()), "compressed");
        let servers: Vec<_> = once.split(',').map(|server| server.split(':').next().unwrap_or_default()).collect();
        prop_assert!(servers.is_sorted_by(|one, next| one < next), "{}", once);
        Ok(())
    });
}

fn a_text() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![3 => prop::char::range(' ', '~'), 1 => any::<char>(), 1 => prop::char::range('\0', '\u{9f}')],
        0..12,
    )
    .prop_map(|characters| characters.into_iter().collect())
}

fn a_rule() -> impl Strategy<Value = Rule> {
    let charset = (a_text(), a_text()).prop_map(|(from_charset, to_charset)| CharsetConversion { from_charset, to_charset });
    let texts = prop::collection::btree_map(a_text(), a_text(), 0..3);
    let charsets = prop::collection::btree_map(a_text(), charset, 0..3);
    let flags = prop::collection::btree_map(a_text(), any::<bool>(), 0..3);
    (prop::array::uniform6(a_text()), texts, charsets, flags).prop_map(|(six, texts, charsets, flags)| {
        let [table, query, source_keys, target_keys, both_keys, forced] = six;
        Rule {
            r#match: table,
            filter: query,
            convert_enum_to_text: texts,
            convert_charset: charsets,
            source_unique_key_columns: source_keys,
            target_unique_key_columns: target_keys,
            source_unique_key_target_columns: both_keys,
            convert_int_to_enum: flags,
            force_unique_key: forced,
        }
    })
}

fn a_source() -> impl Strategy<Value = BinlogSource> {
    let filter = (prop::collection::vec(a_rule(), 0..3), 0..2_i32, any::<i64>(), a_text()).prop_map(
        |(rules, field_event_mode, workflow_type, workflow_name)| Filter {
            rules,
            field_event_mode,
            workflow_type,
            workflow_name,
        },
    );
    let bytes = || prop::collection::vec(any::<u8>(), 0..9);
    let range = (bytes(), bytes()).prop_map(|(start, end)| KeyRange { start, end });
    let enums = (0..9_i32, 0..4_i32, any::<bool>());
    let (range, filter) = (prop::option::of(range), prop::option::of(filter));
    (prop::array::uniform6(a_text()), enums, range, prop::collection::vec(a_text(), 0..3), filter).prop_map(
        |(six, (tablet_type, on_ddl, stop_after_copy), key_range, tables, filter)| {
            let [keyspace, shard, external_mysql, external_cluster, source_time_zone, target_time_zone] = six;
            BinlogSource {
                keyspace,
                shard,
                tablet_type,
                key_range,
                tables,
                filter,
                on_ddl,
                external_mysql,
                stop_after_copy,
                external_cluster,
                source_time_zone,
                target_time_zone,
            }
        },
    )
}

/// Writes text format as v10 (`old`) or as v11 and later do.
struct Writer {
    old: bool,
    gap: &'static str,
}

impl Writer {
    fn source(&self, source: &BinlogSource) -> String {
        let mut fields = vec![self.text("keyspace", &source.keyspace), self.text("shard", &source.shard)];
        let types = ["", "PRIMARY", "REPLICA", "RDONLY", "SPARE", "EXPERIMENTAL", "BACKUP", "RESTORE", "DRAINED"];
        fields.push(self.name("tablet_type", types[usize::try_from(source.tablet_type).unwrap()]));
        if let Some(range) = &source.key_range {
            fields.push(self.message("key_range", vec![self.quoted("start", &range.start), self.quoted("end", &range.end)]));
        }
        fields.extend(source.tables.iter().map(|table| self.quoted("tables", table.as_bytes())));
        if let Some(filter) = &source.filter {
            let mut inner: Vec<_> = filter.rules.iter().map(|rule| self.rule(rule)).collect();
            let mode = if self.old { "fieldEventMode" } else { "field_event_mode" };
            inner.push(self.name(mode, if filter.field_event_mode == 1 { "BEST_EFFORT" } else { "" }));
            inner.push(format!("workflow_type:{}", filter.workflow_type));
            inner.push(self.text("workflow_name", &filter.workflow_name));
            fields.push(self.message("filter", inner));
        }
        fields.push(self.name("on_ddl", ["", "STOP", "EXEC", "EXEC_IGNORE"][usize::try_from(source.on_ddl).unwrap()]));
        fields.push(self.text("external_mysql", &source.external_mysql));
        fields.push(self.name("stop_after_copy", if source.stop_after_copy { "true" } else { "" }));
        fields.push(self.text("external_cluster", &source.external_cluster));
        fields.push(self.text("source_time_zone", &source.source_time_zone));
        fields.push(self.text("target_time_zone", &source.target_time_zone));
        self.join(fields)
    }

    fn rule(&self, rule: &Rule) -> String {
        let mut fields = vec![self.text("match", &rule.r#match), self.text("filter", &rule.filter)];
        fields.extend(self.map("convert_enum_to_text", &rule.convert_enum_to_text, |text| self.quoted("value", text.as_bytes())));
        fields.extend(self.map("convert_charset", &rule.convert_charset, |charset| {
            self.message(
                "value",
                vec![self.text("from_charset", &charset.from_charset), self.text("to_charset", &charset.to_charset)],
            )
        }));
        fields.push(self.text("source_unique_key_columns", &rule.source_unique_key_columns));
        fields.push(self.text("target_unique_key_columns", &rule.target_unique_key_columns));
        fields.push(self.text("source_unique_key_target_columns", &rule.source_unique_key_target_columns));
        fields.extend(self.map("convert_int_to_enum", &rule.convert_int_to_enum, |flag| format!("value:{flag}")));
        fields.push(self.text("force_unique_key", &rule.force_unique_key));
        self.message("rules", fields)
    }

    fn map<T>(&self, name: &str, map: &BTreeMap<String, T>, value: impl Fn(&T) -> String) -> Vec<String> {
        map.iter().map(|(key, one)| self.message(name, vec![self.quoted("key", key.as_bytes()), value(one)])).collect()
    }

    fn message(&self, name: &str, fields: Vec<String>) -> String {
        let inner = self.join(fields);
        if self.old { format!("{name}:<{inner}>") } else { format!("{name}:{{{inner}}}") }
    }

    fn join(&self, fields: Vec<String>) -> String {
        let fields = fields.into_iter().filter(|field| !field.is_empty());
        if self.old { fields.map(|field| field + " ").collect() } else { fields.collect::<Vec<_>>().join(self.gap) }
    }

    fn text(&self, name: &str, value: &str) -> String {
        if value.is_empty() { String::new() } else { self.quoted(name, value.as_bytes()) }
    }

    fn name(&self, name: &str, value: &str) -> String {
        if value.is_empty() { String::new() } else { format!("{name}:{value}") }
    }

    fn quoted(&self, name: &str, value: &[u8]) -> String {
        let mut out = format!("{name}:\"");
        for chunk in value.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    '"' => out.push_str("\\\""),
                    '\\' => out.push_str("\\\\"),
                    // v10 wrote every byte that is not printable ASCII in octal.
                    _ if self.old && !(' '..='~').contains(&character) => {
                        character.to_string().bytes().for_each(|byte| write!(out, "\\{byte:03o}").unwrap());
                    }
                    '\0'..='\x1f' | '\x7f' => write!(out, "\\x{:02x}", u32::from(character)).unwrap(),
                    '\u{80}'..='\u{9f}' => write!(out, "\\u{:04x}", u32::from(character)).unwrap(),
                    _ => out.push(character),
                }
            }
            for byte in chunk.invalid() {
                if self.old { write!(out, "\\{byte:03o}") } else { write!(out, "\\x{byte:02x}") }.unwrap();
            }
        }
        out + "\""
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut value) = (Vec::new(), 0, 0_u32);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        value = value << 6 | u32::try_from(digits.iter().position(|digit| *digit == byte).unwrap()).unwrap();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(value >> bits & 0xff).unwrap());
        }
    }
    out
}

/// `select * from _vt.vreplication where …`, v16.0.7.
const V16_STREAMS: &str = "\
    CsIbCjQKAmlkEIcCGgx2cmVwbGljYXRpb24iDHZyZXBsaWNhdGlvbioDX3Z0MgJpZDgLQD9Qg4QDCkEKCHdvcmtmbG93EJZQGgx2cmVwbGljYXRpb24i\
    DHZyZXBsaWNhdGlvbioDX3Z0Mgh3b3JrZmxvdzjoB0A/UIiBAQo+CgZzb3VyY2UQlFAaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyBnNv\
    dXJjZTj///8HQD9QkSEKNgoDcG9zEJZQGgx2cmVwbGljYXRpb24iDHZyZXBsaWNhdGlvbioDX3Z0MgNwb3M4kE5AP1CBIQpACghzdG9wX3BvcxCWUBoM\
    dnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24qA192dDIIc3RvcF9wb3M4kE5AP1CAAQo+CgdtYXhfdHBzEIkCGgx2cmVwbGljYXRpb24iDHZyZXBsaWNh\
    dGlvbioDX3Z0MgdtYXhfdHBzOBRAP1CBoAIKVgoTbWF4X3JlcGxpY2F0aW9uX2xhZxCJAhoMdnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24qA192dDIT\
    bWF4X3JlcGxpY2F0aW9uX2xhZzgUQD9QgaACCjgKBGNlbGwQllAaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyBGNlbGw46AdAP1CAAQpH\
    Cgx0YWJsZXRfdHlwZXMQllAaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyDHRhYmxldF90eXBlczhkQD9QgAEKSAoMdGltZV91cGRhdGVk\
    EIkCGgx2cmVwbGljYXRpb24iDHZyZXBsaWNhdGlvbioDX3Z0Mgx0aW1lX3VwZGF0ZWQ4FEA/UIGgAgpaChV0cmFuc2FjdGlvbl90aW1lc3RhbXAQiQIa\
    DHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyFXRyYW5zYWN0aW9uX3RpbWVzdGFtcDgUQD9QgaACCjkKBXN0YXRlEJZQGgx2cmVwbGljYXRp\
    b24iDHZyZXBsaWNhdGlvbioDX3Z0MgVzdGF0ZThkQD9QgSEKPgoHbWVzc2FnZRCWUBoMdnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24qA192dDIHbWVz\
    c2FnZTjoB0A/UIABCj4KB2RiX25hbWUQllAaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyB2RiX25hbWU4/wFAP1CBIQpGCgtyb3dzX2Nv\
    cGllZBCJAhoMdnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24qA192dDILcm93c19jb3BpZWQ4FEA/UIGAAgo4CgR0YWdzEJZQGgx2cmVwbGljYXRpb24i\
    DHZyZXBsaWNhdGlvbioDX3Z0MgR0YWdzOIAIQD9QgQEKTAoOdGltZV9oZWFydGJlYXQQiQIaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQy\
    DnRpbWVfaGVhcnRiZWF0OBRAP1CBgAIKSgoNd29ya2Zsb3dfdHlwZRCHAhoMdnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24qA192dDINd29ya2Zsb3df\
    dHlwZTgLQD9QgYACCkwKDnRpbWVfdGhyb3R0bGVkEIkCGgx2cmVwbGljYXRpb24iDHZyZXBsaWNhdGlvbioDX3Z0Mg50aW1lX3Rocm90dGxlZDgUQD9Q\
    gYACClYKE2NvbXBvbmVudF90aHJvdHRsZWQQlTAaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyE2NvbXBvbmVudF90aHJvdHRsZWQ4/AdA\
    /wFQAQpSChF3b3JrZmxvd19zdWJfdHlwZRCHAhoMdnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24qA192dDIRd29ya2Zsb3dfc3ViX3R5cGU4C0A/UIGA\
    AgpYChRkZWZlcl9zZWNvbmRhcnlfa2V5cxCBAhoMdnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24qA192dDIUZGVmZXJfc2Vjb25kYXJ5X2tleXM4AUA/\
    UIGAAiLZAgoXAgyqAmQBJiYAMBQCDgAQAhAUAgIAAgISvQIxbWl4X210a2V5c3BhY2U6ImNvbW1lcmNlIiBzaGFyZDoiMCIgZmlsdGVyOntydWxlczp7\
    bWF0Y2g6ImN1c3RvbWVyIiBmaWx0ZXI6InNlbGVjdCAqIGZyb20gY3VzdG9tZXIgd2hlcmUgaW5fa2V5cmFuZ2UoY3VzdG9tZXJfaWQsICdtaXhlZC5o\
    YXNoJywgJ2MwLWUwJykifX1NeVNRTDU2LzZjYTliNWIzLWU3MTAtMTFmMS1hYzllLTAyZmMwMDAwMDAwMToxLTg0MzkyMjMzNzIwMzY4NTQ3NzU4MDc5\
    MjIzMzcyMDM2ODU0Nzc1ODA3aW5fb3JkZXI6UkVQTElDQSxQUklNQVJZMTc5NTQyNDA0MjBSdW5uaW5ndnRfbWl4ZWQwYmx1ZSx2MTYxNzk1NDI0MDQy\
    MTAwMCKIAwoXAhD+AmQBJiYKMBQCDh4QAgACAgIAAgIS7AIybWl4X2NvcHlrZXlzcGFjZToiY29tbWVyY2UiIHNoYXJkOiIwIiBmaWx0ZXI6e3J1bGVz\
    OnttYXRjaDoiYmlnIiBmaWx0ZXI6InNlbGVjdCBpZCwgcGFkIGZyb20gYmlnIHdoZXJlIGluX2tleXJhbmdlKGlkLCAnbWl4ZWQuaGFzaCcsICdjMC1l\
    MCcpIn0gcnVsZXM6e21hdGNoOiJwcm9kdWN0IiBmaWx0ZXI6InNlbGVjdCAqIGZyb20gcHJvZHVjdCJ9fU15U1FMNTYvNmNhOWI1YjMtZTcxMC0xMWYx\
    LWFjOWUtMDJmYzAwMDAwMDAxOjEtODQzOTIyMzM3MjAzNjg1NDc3NTgwNzkyMjMzNzIwMzY4NTQ3NzU4MDd6b25lMWluX29yZGVyOlJFUExJQ0EsUFJJ\
    TUFSWTE3OTU0MjM5ODUwU3RvcHBlZHN0b3BwZWQgYnkgaGFuZHZ0X21peGVkMDAxMDAwIt0CChgCDvIBAAEmJgAwFAIOwgEQAgACAgIAAgISwAIzbWl4\
    X2VycmtleXNwYWNlOiJjb21tZXJjZSIgc2hhcmQ6IjAiIGZpbHRlcjp7cnVsZXM6e21hdGNoOiJwcm9kdWN0IiBmaWx0ZXI6InNlbGVjdCBza3UsIG5v\
    c3VjaGNvbCBhcyBkZXNjcmlwdGlvbiBmcm9tIHByb2R1Y3QifX05MjIzMzcyMDM2ODU0Nzc1ODA3OTIyMzM3MjAzNjg1NDc3NTgwN2luX29yZGVyOlJF\
    UExJQ0EsUFJJTUFSWTE3OTU0MjM5ODUwQ29weWluZ3Z0dGFibGV0OiBycGMgZXJyb3I6IGNvZGUgPSBGYWlsZWRQcmVjb25kaXRpb24gZGVzYyA9IGNv\
    bHVtbiBub3N1Y2hjb2wgbm90IGZvdW5kIGluIHRhYmxlIHByb2R1Y3R2dF9taXhlZDAwMTAwMCKaAgoXAhS+AWABJiYAMBQCDgwQAgACAgIAAgIS/gE0\
    bWl4X2Zyb3plbmtleXNwYWNlOiJjb21tZXJjZSIgc2hhcmQ6IjAiIGZpbHRlcjp7cnVsZXM6e21hdGNoOiJjdXN0b21lciIgZmlsdGVyOiJzZWxlY3Qg\
    KiBmcm9tIGN1c3RvbWVyIn19TXlTUUw1Ni8wMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDE6MS05OTIyMzM3MjAzNjg1NDc3NTgwNzky\
    MjMzNzIwMzY4NTQ3NzU4MDdpbl9vcmRlcjpSRVBMSUNBLFBSSU1BUlkxNzk1NDIzOTg3MFN0b3BwZWRGUk9aRU52dF9taXhlZDAwMTAwMCK8BAoXAkj2\
    BGQBJiYAMBQUDjwQAgAUAgIAAgISoAQ1NjE0ZGI3NTdfZTcxYl8xMWYxXzhkZGFfMGE0YWFkMmNjZjRma2V5c3BhY2U6Im1peGVkIiBzaGFyZDoiYzAt\
    ZTAiIGZpbHRlcjp7cnVsZXM6e21hdGNoOiJfNjE0ZGI3NTdfZTcxYl8xMWYxXzhkZGFfMGE0YWFkMmNjZjRmXzIwMjYxMTIzMDg1MzQxX3ZyZXBsIiBm\
    aWx0ZXI6InNlbGVjdCBgc2t1YCBhcyBgc2t1YCwgYGRlc2NyaXB0aW9uYCBhcyBgZGVzY3JpcHRpb25gLCBgcHJpY2VgIGFzIGBwcmljZWAgZnJvbSBg\
    cHJvZHVjdGAiIHNvdXJjZV91bmlxdWVfa2V5X2NvbHVtbnM6InNrdSIgdGFyZ2V0X3VuaXF1ZV9rZXlfY29sdW1uczoic2t1IiBzb3VyY2VfdW5pcXVl\
    X2tleV90YXJnZXRfY29sdW1uczoic2t1In19TXlTUUw1Ni9hZDM5Y2UxNy1lNzFhLTExZjEtODQ2MC0wMmZjMDAwMDAwMDE6MS0yNDU5MjIzMzcyMDM2\
    ODU0Nzc1ODA3OTIyMzM3MjAzNjg1NDc3NTgwN2luX29yZGVyOlJFUExJQ0EsUFJJTUFSWTE3OTU0MjQwMjkxNzk1NDI0MDI4U3RvcHBlZHN0b3BwZWQg\
    Zm9yIG9ubGluZSBEREwgY3V0b3ZlcnZ0X21peGVkMDE3OTU0MjQwMjk1MDAw";

/// `select * from _vt.copy_state where …`, v24.
const COPY_STATE: &str = "\
    CqYECjAKAmlkEIoGGgpjb3B5X3N0YXRlIgpjb3B5X3N0YXRlKgNfdnQyAmlkOBRAP1CjhAMKPAoIdnJlcGxfaWQQhwIaCmNvcHlfc3RhdGUiCmNvcHlf\
    c3RhdGUqA192dDIIdnJlcGxfaWQ4C0A/UImgAwpBCgp0YWJsZV9uYW1lEJZQGgpjb3B5X3N0YXRlIgpjb3B5X3N0YXRlKgNfdnQyCnRhYmxlX25hbWU4\
    gAFAP1CBoQEKOgoGbGFzdHBrEJRQGgpjb3B5X3N0YXRlIgpjb3B5X3N0YXRlKgNfdnQyBmxhc3Rwazj///8HQD9QkAEiDAoEAgIEARIEMjd0MSJeCgUC\
    AgSiARJVNTd0MWZpZWxkczp7bmFtZToiaWQiIHR5cGU6SU5UNjQgY2hhcnNldDo2MyBmbGFnczo1MzI1MX0gcm93czp7bGVuZ3RoczoyIHZhbHVlczoi\
    NDIifSINCgQCBAQBEgUxMTN0MSJfCgUCBASiARJWNDEzdDFmaWVsZHM6e25hbWU6ImlkIiB0eXBlOklOVDY0IGNoYXJzZXQ6NjMgZmxhZ3M6NTMyNTF9\
    IHJvd3M6e2xlbmd0aHM6MiB2YWx1ZXM6IjQyIn0iVwoEAgQafhJPNzEzdDIgd2l0aCBzcGFjZWZpZWxkczp7bmFtZToiYSIgdHlwZTpWQVJDSEFSfSBy\
    b3dzOntsZW5ndGhzOjUgdmFsdWVzOiJpdFxcJ3MifQ==";

/// `select * from _vt.vreplication_log … order by id desc limit 3`, v16.0.7.
const V16_LOG: &str = "\
    CowHCjwKAmlkEIkCGhB2cmVwbGljYXRpb25fbG9nIhB2cmVwbGljYXRpb25fbG9nKgNfdnQyAmlkOBRAP1CBgAIKSAoIdnJlcGxfaWQQhwIaEHZyZXBs\
    aWNhdGlvbl9sb2ciEHZyZXBsaWNhdGlvbl9sb2cqA192dDIIdnJlcGxfaWQ4C0A/UIGgAgpACgR0eXBlEJZQGhB2cmVwbGljYXRpb25fbG9nIhB2cmVw\
    bGljYXRpb25fbG9nKgNfdnQyBHR5cGU4gAJAP1CBIQpBCgVzdGF0ZRCWUBoQdnJlcGxpY2F0aW9uX2xvZyIQdnJlcGxpY2F0aW9uX2xvZyoDX3Z0MgVz\
    dGF0ZThkQD9QgSEKSwoKY3JlYXRlZF9hdBCNEBoQdnJlcGxpY2F0aW9uX2xvZyIQdnJlcGxpY2F0aW9uX2xvZyoDX3Z0MgpjcmVhdGVkX2F0OBNAP1CA\
    AQpLCgp1cGRhdGVkX2F0EI0QGhB2cmVwbGljYXRpb25fbG9nIhB2cmVwbGljYXRpb25fbG9nKgNfdnQyCnVwZGF0ZWRfYXQ4E0A/UIABCkgKB21lc3Nh\
    Z2UQkzAaEHZyZXBsaWNhdGlvbl9sb2ciEHZyZXBsaWNhdGlvbl9sb2cqA192dDIHbWVzc2FnZTj8/w9A/wFQkSAKQgoFY291bnQQiQIaEHZyZXBsaWNh\
    dGlvbl9sb2ciEHZyZXBsaWNhdGlvbl9sb2cqA192dDIFY291bnQ4FEA/UIGAAiJKCggEAhoOJiYAAhI+MTk1U3RhdGUgQ2hhbmdlZFJ1bm5pbmcyMDI2\
    LTExLTIzIDA4OjUzOjQyMjAyNi0xMS0yMyAwODo1Mzo0OTIilgEKCQQCIA4mJo4BAhKIATE4NUVuZGVkIENvcHkgUGhhc2VDb3B5aW5nMjAyNi0xMS0y\
    MyAwODo1Mzo0MjIwMjYtMTEtMjMgMDg6NTM6NDJDb3B5IHBoYXNlIGNvbXBsZXRlZCBhdCBndGlkIGFkMzljZTE3LWU3MWEtMTFmMS04NDYwLTAyZmMw\
    MDAwMDAwMToxLTIwMDEicAoIBAIkDiYmQgISZDE3NVN0YXJ0ZWQgQ29weSBQaGFzZUNvcHlpbmcyMDI2LTExLTIzIDA4OjUzOjQyMjAyNi0xMS0yMyAw\
    ODo1Mzo0MkNvcHkgcGhhc2Ugc3RhcnRlZCBmb3IgMSB0YWJsZShzKTE=";

/// `select * from _vt.vreplication where …`, v24.
const V24_STREAMS: &str = "\
    CoMiCjQKAmlkEIcCGgx2cmVwbGljYXRpb24iDHZyZXBsaWNhdGlvbioDX3Z0MgJpZDgLQD9Qg4QDCkEKCHdvcmtmbG93EJZQGgx2cmVwbGljYXRpb24i\
    DHZyZXBsaWNhdGlvbioDX3Z0Mgh3b3JrZmxvdzjoB0A/UIiBAQo+CgZzb3VyY2UQlFAaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyBnNv\
    dXJjZTj///8HQD9QkSEKOQoDcG9zEJRQGgx2cmVwbGljYXRpb24iDHZyZXBsaWNhdGlvbioDX3Z0MgNwb3M4/////w9AP1CRIQpDCghzdG9wX3BvcxCU\
    UBoMdnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24qA192dDIIc3RvcF9wb3M4/////w9AP1CQAQo+CgdtYXhfdHBzEIkCGgx2cmVwbGljYXRpb24iDHZy\
    ZXBsaWNhdGlvbioDX3Z0MgdtYXhfdHBzOBRAP1CBoAIKVgoTbWF4X3JlcGxpY2F0aW9uX2xhZxCJAhoMdnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24q\
    A192dDITbWF4X3JlcGxpY2F0aW9uX2xhZzgUQD9QgaACCjgKBGNlbGwQllAaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyBGNlbGw46AdA\
    P1CAAQpHCgx0YWJsZXRfdHlwZXMQllAaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyDHRhYmxldF90eXBlczhkQD9QgAEKSAoMdGltZV91\
    cGRhdGVkEIkCGgx2cmVwbGljYXRpb24iDHZyZXBsaWNhdGlvbioDX3Z0Mgx0aW1lX3VwZGF0ZWQ4FEA/UIGgAgpaChV0cmFuc2FjdGlvbl90aW1lc3Rh\
    bXAQiQIaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyFXRyYW5zYWN0aW9uX3RpbWVzdGFtcDgUQD9QgaACCjkKBXN0YXRlEJZQGgx2cmVw\
    bGljYXRpb24iDHZyZXBsaWNhdGlvbioDX3Z0MgVzdGF0ZThkQD9QgSEKPgoHbWVzc2FnZRCWUBoMdnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24qA192\
    dDIHbWVzc2FnZTjoB0A/UIABCj4KB2RiX25hbWUQllAaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyB2RiX25hbWU4/wFAP1CBIQpGCgty\
    b3dzX2NvcGllZBCJAhoMdnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24qA192dDILcm93c19jb3BpZWQ4FEA/UIGAAgo4CgR0YWdzEJZQGgx2cmVwbGlj\
    YXRpb24iDHZyZXBsaWNhdGlvbioDX3Z0MgR0YWdzOIAIQD9QgQEKTAoOdGltZV9oZWFydGJlYXQQiQIaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9u\
    KgNfdnQyDnRpbWVfaGVhcnRiZWF0OBRAP1CBgAIKSgoNd29ya2Zsb3dfdHlwZRCHAhoMdnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24qA192dDINd29y\
    a2Zsb3dfdHlwZTgLQD9QgYACCkwKDnRpbWVfdGhyb3R0bGVkEIkCGgx2cmVwbGljYXRpb24iDHZyZXBsaWNhdGlvbioDX3Z0Mg50aW1lX3Rocm90dGxl\
    ZDgUQD9QgYACClYKE2NvbXBvbmVudF90aHJvdHRsZWQQlTAaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyE2NvbXBvbmVudF90aHJvdHRs\
    ZWQ4/AdA/wFQAQpQChByZWFzb25fdGhyb3R0bGVkEJUwGgx2cmVwbGljYXRpb24iDHZyZXBsaWNhdGlvbioDX3Z0MhByZWFzb25fdGhyb3R0bGVkOKAf\
    QP8BUAEKUgoRd29ya2Zsb3dfc3ViX3R5cGUQhwIaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyEXdvcmtmbG93X3N1Yl90eXBlOAtAP1CB\
    gAIKWAoUZGVmZXJfc2Vjb25kYXJ5X2tleXMQgQIaDHZyZXBsaWNhdGlvbiIMdnJlcGxpY2F0aW9uKgNfdnQyFGRlZmVyX3NlY29uZGFyeV9rZXlzOAFA\
    P1CBgAIKQQoHb3B0aW9ucxCeEBoMdnJlcGxpY2F0aW9uIgx2cmVwbGljYXRpb24qA192dDIHb3B0aW9uczj/////D0A/UJEhIuYCChkCDKYCZAEmJgAw\
    FBQOABAGEBQCAgAAAgIEEsgCMW1peF9tdGtleXNwYWNlOiJjb21tZXJjZSIgc2hhcmQ6IjAiIGZpbHRlcjp7cnVsZXM6e21hdGNoOiJjdXN0b21lciIg\
    ZmlsdGVyOiJzZWxlY3QgKiBmcm9tIGN1c3RvbWVyIHdoZXJlIGluX2tleXJhbmdlKGN1c3RvbWVyX2lkLCAnbWl4ZWQuaGFzaCcsICctNDAnKSJ9fU15\
    U1FMNTYvNmNhOWI1YjMtZTcxMC0xMWYxLWFjOWUtMDJmYzAwMDAwMDAxOjEtODQzOTIyMzM3MjAzNjg1NDc3NTgwNzkyMjMzNzIwMzY4NTQ3NzU4MDdp\
    bl9vcmRlcjpSRVBMSUNBLFBSSU1BUlkxNzk1NDI0MDQyMTc5NTQyMzUyMlJ1bm5pbmd2dF9taXhlZDIxM2JsdWUsdjI0MTc5NTQyNDA0MjEwMDB7fSKK\
    AwoZAhD6AmQBJiYKMBQCDh4QAgACAgIAAAICBBLsAjJtaXhfY29weWtleXNwYWNlOiJjb21tZXJjZSIgc2hhcmQ6IjAiIGZpbHRlcjp7cnVsZXM6e21h\
    dGNoOiJiaWciIGZpbHRlcjoic2VsZWN0IGlkLCBwYWQgZnJvbSBiaWcgd2hlcmUgaW5fa2V5cmFuZ2UoaWQsICdtaXhlZC5oYXNoJywgJy00MCcpIn0g\
    cnVsZXM6e21hdGNoOiJwcm9kdWN0IiBmaWx0ZXI6InNlbGVjdCAqIGZyb20gcHJvZHVjdCJ9fU15U1FMNTYvNmNhOWI1YjMtZTcxMC0xMWYxLWFjOWUt\
    MDJmYzAwMDAwMDAxOjEtNTU5OTIyMzM3MjAzNjg1NDc3NTgwNzkyMjMzNzIwMzY4NTQ3NzU4MDd6b25lMWluX29yZGVyOlJFUExJQ0EsUFJJTUFSWTE3\
    OTU0MjMyNTcwU3RvcHBlZHN0b3BwZWQgYnkgaGFuZHZ0X21peGVkMDAxMDAwe30i7wIKGgIO8gEAASYmADAUAgriARACAAICAgAAAgIEEtACM21peF9l\
    cnJrZXlzcGFjZToiY29tbWVyY2UiIHNoYXJkOiIwIiBmaWx0ZXI6e3J1bGVzOnttYXRjaDoicHJvZHVjdCIgZmlsdGVyOiJzZWxlY3Qgc2t1LCBub3N1\
    Y2hjb2wgYXMgZGVzY3JpcHRpb24gZnJvbSBwcm9kdWN0In19OTIyMzM3MjAzNjg1NDc3NTgwNzkyMjMzNzIwMzY4NTQ3NzU4MDdpbl9vcmRlcjpSRVBM\
    SUNBLFBSSU1BUlkxNzk1NDIzMjU3MEVycm9ydGVybWluYWwgZXJyb3I6IHZ0dGFibGV0OiBycGMgZXJyb3I6IGNvZGUgPSBGYWlsZWRQcmVjb25kaXRp\
    b24gZGVzYyA9IGNvbHVtbiBub3N1Y2hjb2wgbm90IGZvdW5kIGluIHRhYmxlIHByb2R1Y3R2dF9taXhlZDAwMTAwMHt9Ip4CChkCFL4BYAEmJgAwFAIO\
    DBACAAICAgAAAgIEEoACNG1peF9mcm96ZW5rZXlzcGFjZToiY29tbWVyY2UiIHNoYXJkOiIwIiBmaWx0ZXI6e3J1bGVzOnttYXRjaDoiY3VzdG9tZXIi\
    IGZpbHRlcjoic2VsZWN0ICogZnJvbSBjdXN0b21lciJ9fU15U1FMNTYvMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAxOjEtOTkyMjMz\
    NzIwMzY4NTQ3NzU4MDc5MjIzMzcyMDM2ODU0Nzc1ODA3aW5fb3JkZXI6UkVQTElDQSxQUklNQVJZMTc5NTQyMzI2MDBTdG9wcGVkRlJPWkVOdnRfbWl4\
    ZWQwMDEwMDB7fSLiBAoZAki2BWQBJiYAMBQUDjwQBgAUAgIAAAICBBLEBDVhZjkwN2ViMF9lNzFhXzExZjFfOGRkYV8wYTRhYWQyY2NmNGZrZXlzcGFj\
    ZToibWl4ZWQiIHNoYXJkOiItNDAiIGZpbHRlcjp7cnVsZXM6e21hdGNoOiJfdnRfdnJwX2FmOTA3ZWIwZTcxYTExZjE4ZGRhMGE0YWFkMmNjZjRmXzIw\
    MjYxMTIzMDg0ODQzXyIgZmlsdGVyOiJzZWxlY3QgYGN1c3RvbWVyX2lkYCBhcyBgY3VzdG9tZXJfaWRgLCBgZW1haWxgIGFzIGBlbWFpbGAgZnJvbSBg\
    Y3VzdG9tZXJgIiBzb3VyY2VfdW5pcXVlX2tleV9jb2x1bW5zOiJjdXN0b21lcl9pZCIgdGFyZ2V0X3VuaXF1ZV9rZXlfY29sdW1uczoiY3VzdG9tZXJf\
    aWQiIHNvdXJjZV91bmlxdWVfa2V5X3RhcmdldF9jb2x1bW5zOiJjdXN0b21lcl9pZCIgZm9yY2VfdW5pcXVlX2tleToiUFJJTUFSWSJ9fU15U1FMNTYv\
    Mjc5N2M0YjYtZTcxOS0xMWYxLTlmMDMtMDJmYzAwMDAwMDAxOjEtODQ3OTIyMzM3MjAzNjg1NDc3NTgwNzkyMjMzNzIwMzY4NTQ3NzU4MDdpbl9vcmRl\
    cjpSRVBMSUNBLFBSSU1BUlkxNzk1NDIzNzMwMTc5NTQyMzcyOVN0b3BwZWRzdG9wcGVkIGZvciBvbmxpbmUgRERMIGN1dG92ZXJ2dF9taXhlZDIxMzE3\
    OTU0MjM3MzA1MDAwe30i2AQKGQJIpAVmASYmADAUFA48EAIAFAICAAACAgQSugQ3NjE0ZGI3NTdfZTcxYl8xMWYxXzhkZGFfMGE0YWFkMmNjZjRma2V5\
    c3BhY2U6Im1peGVkIiBzaGFyZDoiLTQwIiBmaWx0ZXI6e3J1bGVzOnttYXRjaDoiX3Z0X3ZycF82MTRkYjc1N2U3MWIxMWYxOGRkYTBhNGFhZDJjY2Y0\
    Zl8yMDI2MTEyMzA4NTM0MV8iIGZpbHRlcjoic2VsZWN0IGBza3VgIGFzIGBza3VgLCBgZGVzY3JpcHRpb25gIGFzIGBkZXNjcmlwdGlvbmAsIGBwcmlj\
    ZWAgYXMgYHByaWNlYCBmcm9tIGBwcm9kdWN0YCIgc291cmNlX3VuaXF1ZV9rZXlfY29sdW1uczoic2t1IiB0YXJnZXRfdW5pcXVlX2tleV9jb2x1bW5z\
    OiJza3UiIHNvdXJjZV91bmlxdWVfa2V5X3RhcmdldF9jb2x1bW5zOiJza3UiIGZvcmNlX3VuaXF1ZV9rZXk6IlBSSU1BUlkifX1NeVNRTDU2LzI3OTdj\
    NGI2LWU3MTktMTFmMS05ZjAzLTAyZmMwMDAwMDAwMToxLTEwOTQ5MjIzMzcyMDM2ODU0Nzc1ODA3OTIyMzM3MjAzNjg1NDc3NTgwN2luX29yZGVyOlJF\
    UExJQ0EsUFJJTUFSWTE3OTU0MjQwMjgxNzk1NDI0MDI3U3RvcHBlZHN0b3BwZWQgZm9yIG9ubGluZSBEREwgY3V0b3ZlcnZ0X21peGVkMDE3OTU0MjQw\
    MjU1MDAwe30=";
