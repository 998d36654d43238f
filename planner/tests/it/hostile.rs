//! Texts that nest or repeat without end, in a thread with little stack: each is read within bounds, or refused with what is wrong.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the planner has no threads: its tests give it a small stack"
)]

use prost::Message;
use vtflow_planner::{
    Call, CallOptions, Mode,
    formats::{binlog_source, options, position},
    limits,
    proto::{
        topodata::{Keyspace, Shard, SrvKeyspace, Tablet},
        vschema::{KeyspaceRoutingRules, MirrorRules, RoutingRules, ShardRoutingRules, SrvVSchema},
        vtctldata::{
            ExecuteVtctlCommandRequest, GetRoutingRulesRequest, GetSrvVSchemaRequest, GetTopologyPathRequest, GetVersionRequest,
            GetWorkflowsRequest, WorkflowStatusRequest,
        },
        vtflow::VExecRequest,
    },
    rpc, serve,
    vexec::{Scope, Statement},
};

use crate::support::{Cluster, StreamOf, stream, streams};

/// Repetitions of every text.
const MANY: usize = 50_000;

/// Stack of the thread: half of what a thread of the runtime has.
const STACK: usize = 1 << 20;

fn with_little_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(STACK).spawn(test).unwrap().join().unwrap();
}

/// Statements that are too much of something, by name.
fn statements(count: usize) -> Vec<(&'static str, String)> {
    let select = |condition: &str| format!("select id from _vt.vreplication where {condition}");
    let many = |part: &str, joint: &str| vec![part; count].join(joint);
    let around = |open: &str, inside: &str, close: &str| format!("{}{inside}{}", open.repeat(count), close.repeat(count));
    vec![
        ("a chain of and", select(&many("id = 1", " and "))),
        ("a chain of or", select(&many("id = 1", " or "))),
        ("a chain of xor", select(&many("id = 1", " xor "))),
        ("and and or in turn", select(&many("id = 1 and id = 2", " or "))),
        ("comparisons", select(&many("id", " = "))),
        ("sums", select(&many("id", " + "))),
        ("products", select(&many("id", " * "))),
        ("differences", select(&many("id", " - "))),
        ("paths", select(&format!("options{}", "->'$.a'".repeat(count)))),
        ("is null", select(&format!("id{}", " is null".repeat(count)))),
        ("like", select(&format!("id{}", " like 'x'".repeat(count)))),
        ("between", select(&format!("id{}", " between 1 and 2".repeat(count)))),
        ("in", select(&format!("id{}", " in (1)".repeat(count)))),
        ("parentheses", select(&around("(", "id = 1", ")"))),
        ("open parentheses", select(&"(".repeat(count))),
        ("closed parentheses", select(&")".repeat(count))),
        ("an in list of numbers", select(&format!("id in ({})", many("1", ", ")))),
        ("an in list of texts", select(&format!("workflow in ({})", many("'a'", ", ")))),
        ("an in list of columns", select(&format!("id in ({})", many("id", ", ")))),
        ("an in list of lists", select(&format!("id in {}", around("(", "1", ")")))),
        ("not", select(&format!("{}id", "not ".repeat(count)))),
        ("minus", select(&format!("{}1", "- ".repeat(count)))),
        ("plus", select(&format!("{}1", "+ ".repeat(count)))),
        ("minus without gaps, a comment", select(&format!("{}1", "-".repeat(count)))),
        ("exclamation marks", select(&format!("{}1", "!".repeat(count)))),
        ("tildes", select(&format!("{}1", "~".repeat(count)))),
        ("functions", select(&around("lower(", "'a'", ")"))),
        ("functions without end", select(&"lower(".repeat(count))),
        ("arguments", select(&format!("concat({})", many("'a'", ", ")))),
        ("casts", select(&around("cast(", "1", " as char)"))),
        ("conversions", select(&around("convert(", "1", ", char)"))),
        ("cases", select(&around("case when ", "1", " then 1 end"))),
        ("arms of a case", select(&format!("case {} end", many("when 1 then 2", " ")))),
        ("subqueries", around("select id from _vt.vreplication where id in (", "1", ")")),
        ("exists", select(&around("exists (select id from _vt.vreplication where ", "1", ")"))),
        ("subqueries as values", select(&around("(select id from _vt.vreplication where ", "1", ")"))),
        ("columns in front of no table", format!("select {}", many("(select id", ", "))),
        ("items", format!("select {} from _vt.vreplication", many("id", ", "))),
        ("orders", format!("select id from _vt.vreplication order by {}", many("id", ", "))),
        ("groups", format!("select id from _vt.vreplication group by {}", many("id", ", "))),
        ("intervals", select(&format!("now(){}", " - interval 1 day".repeat(count)))),
        ("intervals within", select(&format!("now() - {} 1 {}", "interval ".repeat(count), "day ".repeat(count)))),
        ("comments", select(&format!("{} id = 1", "/* a */ ".repeat(count)))),
        ("nested comments", select(&format!("{} id = 1", "/* ".repeat(count)))),
        ("comments closed often", select(&format!("{} id = 1 {}", "/* ".repeat(count), "*/ ".repeat(count)))),
        ("comments of a line", select(&format!("{} id = 1", "-- a\n".repeat(count)))),
        ("comments with a sign", select(&format!("{} id = 1", "# a\n".repeat(count)))),
        ("one text in parts", select(&format!("workflow = {}", many("'a'", " ")))),
        ("quotes", select(&format!("workflow = {}", "'".repeat(count)))),
        ("back-quotes", format!("select {}", "`".repeat(count))),
        ("qualifiers", select(&many("a", "."))),
        ("semicolons", format!("select id from _vt.vreplication{}", ";".repeat(count))),
        ("statements", many("select id from _vt.vreplication", ";")),
        ("unions", many("select id from _vt.vreplication", " union ")),
        ("withs", "with ".repeat(count)),
        ("assignments", format!("update _vt.vreplication set {}", many("message = 'a'", ", "))),
        ("values of an assignment", format!("update _vt.vreplication set message = {}", around("lower(", "'a'", ")"))),
        ("conditions of a delete", format!("delete from _vt.vreplication where {}", many("id = 1", " and "))),
        ("deletes", "delete ".repeat(count)),
    ]
}

#[test]
fn statements_without_end_are_refused_or_read_within_bounds() {
    with_little_stack(|| {
        for count in [MANY, 5_000, 1_500, limits::STATEMENT_PARTS / 5, 100, limits::STATEMENT_DEPTH, limits::STATEMENT_DEPTH - 2]
        {
            for (name, sql) in statements(count) {
                let begun = std::time::Instant::now();
                match Statement::parse(&sql, Scope { workflow: "wf".into() }) {
                    Ok(statement) => {
                        assert!(sql.len() <= limits::STATEMENT_BYTES, "{name}");
                        // What is accepted can be copied, printed for a target, compared and read again.
                        let text = statement.for_target("vt_ks");
                        assert!(text.len() <= 64 * sql.len() + 1_000, "{count} {name}: {} of {}", text.len(), sql.len());
                        assert!(statement == statement.clone());
                        let _ = Statement::parse(&text, Scope { workflow: "wf".into() });
                        let _ = statement.rows_expected("vt_ks");
                    }
                    Err(refusal) => {
                        let text = refusal.with_caret(&sql);
                        assert!(text.contains('^') && text.len() < 4_000, "{count} {name}: {text}");
                        assert!(!refusal.message.is_empty() && !refusal.accepted.is_empty(), "{count} {name}: {text}");
                    }
                }
                assert!(begun.elapsed().as_secs() < 20, "{count} {name}");
            }
        }
    });
}

/// The same through a request, and its end.
#[test]
fn requests_with_statements_without_end_have_a_reply() {
    with_little_stack(|| {
        let mut cluster = Cluster::new(&["0"]);
        cluster.answer(100, "vexec", crate::support::rows(&["#id"], &[])).answer(100, "streams", streams(&[]));
        for count in [MANY, 300, limits::STATEMENT_DEPTH - 2] {
            for (name, sql) in statements(count) {
                let request = VExecRequest { keyspace: "ks".into(), workflow: "wf".into(), sql, ..VExecRequest::default() };
                let options = CallOptions { mode: Mode::Preview, ..CallOptions::default() };
                let (reply, asks) = cluster.run(&Call { path: rpc::VEXEC.into(), request: request.encode_to_vec(), options });
                if let Err(status) = &reply.result {
                    assert!(asks.is_empty() && status.message.len() < 4_000, "{count} {name}: {status}");
                }
            }
        }
    });
}

#[test]
fn columns_without_end_are_refused_or_read_within_bounds() {
    with_little_stack(|| {
        let around = |open: &str, inside: &str, close: &str| format!("{}{inside}{}", open.repeat(MANY), close.repeat(MANY));
        for source in [
            around("filter:{", "", "}"),
            around("filter:<", "", ">"),
            "filter {".repeat(MANY),
            around("filter:{rules:{", "", "}}"),
            format!("filter:{{rules:{}}}", around("[", "", "]")),
            around("nosuch:{", "", "}"),
            format!("filter:{{{}}}", r#"rules:{match:"t" filter:"select * from t"}"#.repeat(MANY)),
            format!("keyspace:{}", "\"a\" ".repeat(MANY)),
            format!("keyspace:\"{}\"", "\\n".repeat(MANY)),
            "keyspace:\"a\" ".repeat(MANY),
            "# comment\n".repeat(MANY),
            ";".repeat(MANY),
            "[".repeat(MANY),
        ] {
            let _ = binlog_source::parse(source.as_bytes());
        }
        for json in [
            around("[", "", "]"),
            around("{\"a\":", "1", "}"),
            "[".repeat(MANY),
            "{\"config\":".repeat(MANY),
            format!("{{{}}}", vec!["\"a\":1"; MANY].join(",")),
            format!("{{\"config\":{{{}}}}}", (0..MANY).map(|i| format!("\"k{i}\":\"v\"")).collect::<Vec<_>>().join(",")),
            format!("\"{}\"", "\\u0041".repeat(MANY)),
        ] {
            let mut read = None;
            let _ = options::apply(&mut read, &json);
        }
        let server = "14b68925-696a-11ea-aee7-fec597a91f5e";
        for position in [
            format!("MySQL56/{server}{}", ":1-2".repeat(MANY)),
            format!("MySQL56/{}", format!("{server}:1,").repeat(MANY)),
            format!("MySQL56/{}", ":".repeat(MANY)),
            format!("MySQL56/{}", ",".repeat(MANY)),
            format!("MariaDB/{}", "0-1-2,".repeat(MANY)),
            "MySQL56/".repeat(MANY),
            format!("FilePos/{}", "a:".repeat(MANY)),
            "/".repeat(MANY),
        ] {
            let _ = position::decode(position.as_bytes());
        }
        // The same in rows of a tablet.
        let deep = around("filter:{", "", "}");
        let json: &'static str = Box::leak(around("[", "", "]").into_boxed_str());
        let mut cluster = Cluster::new(&["0"]);
        cluster.answer(100, "streams", streams(&[StreamOf { source: deep, options: json, ..stream(1, "wf") }]));
        let all = GetWorkflowsRequest { keyspace: "ks".into(), ..GetWorkflowsRequest::default() };
        assert!(cluster.run(&crate::support::call(&all)).0.result.is_ok());
    });
}

/// Nested fields of the same number: on the wire a message within a message, whatever it is taken for.
fn nested(number: u8, depth: usize) -> Vec<u8> {
    let mut lengths = vec![0_usize];
    for _ in 0..depth {
        let inside = *lengths.last().unwrap();
        let digits = (1..9).take_while(|i| inside >> (7 * i) > 0).count() + 1;
        lengths.push(inside + 1 + digits);
    }
    let mut out = Vec::new();
    for inside in lengths.into_iter().rev().skip(1) {
        out.push(number << 3 | 2);
        let mut rest = inside;
        while rest >= 0x80 {
            out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        out.push(u8::try_from(rest).unwrap());
    }
    out
}

#[test]
fn records_that_nest_without_end_are_refused_or_read_within_bounds() {
    with_little_stack(|| {
        for number in 1..=12 {
            let bytes = nested(number, MANY);
            let _ = RoutingRules::decode(bytes.as_slice());
            let _ = ShardRoutingRules::decode(bytes.as_slice());
            let _ = KeyspaceRoutingRules::decode(bytes.as_slice());
            let _ = MirrorRules::decode(bytes.as_slice());
            let _ = SrvVSchema::decode(bytes.as_slice());
            let _ = (Keyspace::decode(bytes.as_slice()), Shard::decode(bytes.as_slice()));
            let _ = (SrvKeyspace::decode(bytes.as_slice()), Tablet::decode(bytes.as_slice()));
            let mut cluster = Cluster::new(&["0"]);
            cluster.cell("zone1");
            let records = [
                "RoutingRules",
                "ShardRoutingRules",
                "routing_rules/keyspace/Rules",
                "MirrorRules",
                "keyspaces/ks/VSchema",
                "keyspaces/ks/Keyspace",
                "cells_aliases/a/CellsAlias",
            ];
            for path in records {
                cluster.global(path, bytes.clone());
            }
            cluster.topo.insert(("zone1".into(), "SrvVSchema".into()), bytes.clone());
            cluster.topo.insert(("zone1".into(), "keyspaces/ks/SrvKeyspace".into()), bytes.clone());
            let rpc = |name: &str, request: Vec<u8>| Call {
                path: format!("/vtctlservice.Vtctld/{name}"),
                request,
                options: CallOptions::default(),
            };
            let mut calls = vec![
                rpc("GetRoutingRules", GetRoutingRulesRequest {}.encode_to_vec()),
                rpc("GetSrvVSchema", GetSrvVSchemaRequest { cell: "zone1".into() }.encode_to_vec()),
                rpc("GetSrvVSchemas", vec![]),
                rpc("GetKeyspaces", vec![]),
                rpc("GetCellsAliases", vec![]),
                rpc(
                    "WorkflowStatus",
                    WorkflowStatusRequest { keyspace: "ks".into(), workflow: "wf".into(), shards: vec![] }.encode_to_vec(),
                ),
            ];
            for path in records.into_iter().map(|path| format!("/global/{path}")).chain(["/zone1/SrvVSchema".to_owned()]) {
                for as_json in [false, true] {
                    let request = GetTopologyPathRequest { path: path.clone(), as_json, ..Default::default() };
                    calls.push(rpc("GetTopologyPath", request.encode_to_vec()));
                }
            }
            // And requests themselves.
            for served in serve::SERVED {
                calls.push(Call { path: served.path.into(), request: bytes.clone(), options: CallOptions::default() });
            }
            for call in calls {
                let _ = serve::serves(&call.path, &call.request);
                let _ = cluster.run(&call);
            }
        }
    });
}

#[test]
fn pages_and_command_lines_without_end_have_a_reply() {
    with_little_stack(|| {
        let mut cluster = Cluster::new(&["0"]);
        let path = "tablets/zone1-0000000100/Tablet";
        let record = cluster.topo[&("zone1".to_owned(), path.to_owned())].clone();
        let port_map = [("vt".to_owned(), 15_100)].into();
        cluster.put("zone1", path, &Tablet { port_map, ..Tablet::decode(record.as_slice()).unwrap() });
        for page in ["[".repeat(MANY), "{\"a\":".repeat(MANY), format!("{}{}", "[".repeat(MANY), "]".repeat(MANY))] {
            cluster.answer(100, "/debug/vars", vtflow_planner::Answer::Called(page.into_bytes()));
            let request = GetVersionRequest { tablet_alias: Some(crate::support::alias(100)) }.encode_to_vec();
            let (reply, _) = cluster.run(&Call { path: rpc::GET_VERSION.into(), request, options: CallOptions::default() });
            let text = reply.result.expect_err("no version").message;
            assert!(text.contains("cannot be read: ") && text.len() < 1_000, "{text}");
        }
        for args in [vec!["Help".to_owned(); MANY], vec!["--".to_owned(); MANY], {
            let mut args = vec!["Workflow".to_owned()];
            args.extend(vec!["--shards".to_owned(); MANY]);
            args
        }] {
            let request = ExecuteVtctlCommandRequest { args, action_timeout: 0 }.encode_to_vec();
            let path = rpc::EXECUTE_VTCTL_COMMAND.to_owned();
            assert!(cluster.run(&Call { path, request, options: CallOptions::default() }).0.result.is_err());
        }
    });
}
