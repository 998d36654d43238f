//! Moving the traffic of a MoveTables: the lines of dry runs, the records and rows afterwards, the order of what is done, and that every
//! failure at every place leaves what was there or can be finished by the same request.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use prost::Message;
use vtflow_planner::{
    Call, CallOptions, Mode, Reply,
    contract::Verdict,
    proto::{
        topodata::{KeyRange, Shard, TabletType, shard::TabletControl},
        vschema::{ColumnVindex, Keyspace, MirrorRule, MirrorRules, RoutingRule, RoutingRules, SrvVSchema, Table, Vindex},
        vtctldata::{WorkflowSwitchTrafficRequest, WorkflowSwitchTrafficResponse},
        vttime::Duration,
    },
    rpc,
};

use crate::support::live::{Fault, Live};

pub(crate) const PRIMARY: i32 = TabletType::Primary as i32;
pub(crate) const REPLICA: i32 = TabletType::Replica as i32;
pub(crate) const RDONLY: i32 = TabletType::Rdonly as i32;
pub(crate) const ALL: [i32; 3] = [PRIMARY, REPLICA, RDONLY];

pub(crate) const COMMERCE: &str = "zone1-0000000100";
pub(crate) const LEFT: &str = "zone1-0000000200";
pub(crate) const RIGHT: &str = "zone2-0000000300";

const COMMERCE_UUID: &str = "65b309ae-eb92-11f1-97ea-02fc00000001";
const LEFT_UUID: &str = "6e3175aa-eb92-11f1-84af-02fc00000001";
const RIGHT_UUID: &str = "72fd47cd-eb92-11f1-b48a-02fc00000001";

/// `corder` and `customer` move from commerce/0 to customer/-80,80-: the cluster of the recordings.
pub(crate) fn cluster() -> Live {
    let mut live = Live::default();
    live.cell("zone1");
    live.cell("zone2");
    let range = |start: &[u8], end: &[u8]| Some(KeyRange { start: start.to_vec(), end: end.to_vec() });
    live.shard("commerce", "0", "zone1", 100, COMMERCE_UUID, None);
    live.tablet("commerce", "0", "zone1", 101, REPLICA);
    live.shard("customer", "-80", "zone1", 200, LEFT_UUID, range(&[], &[0x80]));
    live.shard("customer", "80-", "zone2", 300, RIGHT_UUID, range(&[0x80], &[]));
    let table = |column: &str| Table {
        column_vindexes: vec![ColumnVindex { column: column.into(), name: "hash".into(), columns: vec![] }],
        ..Table::default()
    };
    let plain = ["corder", "customer", "product"].map(|name| (name.to_owned(), Table::default()));
    let commerce = Keyspace { tables: BTreeMap::from(plain), ..Keyspace::default() };
    let customer = Keyspace {
        sharded: true,
        vindexes: BTreeMap::from([("hash".into(), Vindex { r#type: "hash".into(), ..Vindex::default() })]),
        tables: BTreeMap::from([("corder".into(), table("customer_id")), ("customer".into(), table("id"))]),
        ..Keyspace::default()
    };
    live.put("global", "keyspaces/commerce/VSchema", commerce.encode_to_vec());
    live.put("global", "keyspaces/customer/VSchema", customer.encode_to_vec());
    for (alias, range) in [(LEFT, "-80"), (RIGHT, "80-")] {
        let rule = |table: &str, column: &str| {
            let filter = format!("select * from {table} where in_keyrange({column}, 'customer.hash', '{range}')");
            format!("rules:{{match:\"{table}\" filter:\"{filter}\"}}")
        };
        let rules = [rule("corder", "customer_id"), rule("customer", "id")].join(" ");
        live.stream(alias, "c2c", &format!("keyspace:\"commerce\" shard:\"0\" filter:{{{rules}}}"), 1);
    }
    for (shard, alias) in [("-80", LEFT), ("80-", RIGHT)] {
        deny(&mut live, "customer", shard, alias, &["corder", "customer"]);
    }
    let mut rules = Vec::new();
    for table in ["corder", "customer"] {
        for of in ["", "@replica", "@rdonly"] {
            for from in ["", "commerce.", "customer."] {
                rules.push((format!("{from}{table}{of}"), format!("commerce.{table}")));
            }
        }
    }
    route(&mut live, &rules);
    live
}

fn deny(live: &mut Live, keyspace: &str, shard: &str, alias: &str, tables: &[&str]) {
    let path = format!("keyspaces/{keyspace}/shards/{shard}/Shard");
    let denied_tables: Vec<String> = tables.iter().map(|&table| table.to_owned()).collect();
    live.servers.get_mut(alias).unwrap().denied.clone_from(&denied_tables);
    let control = TabletControl { tablet_type: PRIMARY, denied_tables, ..TabletControl::default() };
    let record: Shard = live.record("global", &path);
    live.put("global", &path, Shard { tablet_controls: vec![control], ..record }.encode_to_vec());
}

/// The rules in the global record and in what both cells serve.
fn route(live: &mut Live, rules: &[(String, String)]) {
    let rule = |(from, to): &(String, String)| RoutingRule { from_table: from.clone(), to_tables: vec![to.clone()] };
    let rules = RoutingRules { rules: rules.iter().map(rule).collect() };
    live.put("global", "RoutingRules", rules.encode_to_vec());
    for cell in ["zone1", "zone2"] {
        let served = SrvVSchema { routing_rules: Some(rules.clone()), ..SrvVSchema::default() };
        live.put(cell, "SrvVSchema", served.encode_to_vec());
    }
}

pub(crate) fn request(types: &[i32]) -> WorkflowSwitchTrafficRequest {
    WorkflowSwitchTrafficRequest {
        keyspace: "customer".into(),
        workflow: "c2c".into(),
        tablet_types: types.to_vec(),
        enable_reverse_replication: true,
        timeout: Some(Duration { seconds: 30, nanos: 0 }),
        max_replication_lag_allowed: Some(Duration { seconds: 30, nanos: 0 }),
        ..WorkflowSwitchTrafficRequest::default()
    }
}

pub(crate) fn back(types: &[i32]) -> WorkflowSwitchTrafficRequest {
    WorkflowSwitchTrafficRequest { direction: 1, ..request(types) }
}

pub(crate) fn call(request: &WorkflowSwitchTrafficRequest) -> Call {
    Call { path: rpc::WORKFLOW_SWITCH_TRAFFIC.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn response(reply: &Reply) -> WorkflowSwitchTrafficResponse {
    let bytes = reply.result.as_ref().unwrap_or_else(|status| panic!("{status}"));
    WorkflowSwitchTrafficResponse::decode(bytes.as_slice()).unwrap()
}

pub(crate) fn done(live: &mut Live, request: &WorkflowSwitchTrafficRequest) -> WorkflowSwitchTrafficResponse {
    response(&live.run(&call(request)).unwrap())
}

pub(crate) fn refused(live: &mut Live, request: &WorkflowSwitchTrafficRequest) -> String {
    let status = live.run(&call(request)).unwrap().result.unwrap_err();
    // Clients print the code, too.
    assert!(!status.message.starts_with("cannot ") || status.code == vtflow_planner::Code::Unknown, "{status:?}");
    status.message
}

pub(crate) fn lines(live: &mut Live, request: WorkflowSwitchTrafficRequest) -> Vec<String> {
    let before = live.clone();
    let lines = done(live, &WorkflowSwitchTrafficRequest { dry_run: true, ..request }).dry_run_results;
    assert_eq!(live.topo, before.topo, "a dry run writes nothing");
    assert_eq!(live.servers, before.servers, "a dry run changes nothing");
    assert!(live.log.iter().skip(before.log.len()).all(|line| line.contains("PrimaryPosition")), "{:?}", live.log);
    lines
}

/// Where the rules lead, by key: in the global record, and the same in both cells.
pub(crate) fn rules(live: &Live) -> BTreeMap<String, String> {
    let keys = |rules: RoutingRules| -> BTreeMap<String, String> {
        rules.rules.into_iter().map(|rule| (rule.from_table, rule.to_tables.join(","))).collect()
    };
    let global = keys(live.record("global", "RoutingRules"));
    for cell in ["zone1", "zone2"] {
        let served: SrvVSchema = live.record(cell, "SrvVSchema");
        assert_eq!(keys(served.routing_rules.unwrap_or_default()), global, "cell {cell} serves the global rules");
    }
    global
}

fn denied(live: &Live) -> [Vec<String>; 3] {
    [("commerce/shards/0", COMMERCE), ("customer/shards/-80", LEFT), ("customer/shards/80-", RIGHT)].map(|(shard, alias)| {
        let record: Shard = live.record("global", &format!("keyspaces/{shard}/Shard"));
        let mut tables: Vec<String> = record.tablet_controls.into_iter().flat_map(|control| control.denied_tables).collect();
        tables.sort();
        let mut told = live.servers[alias].denied.clone();
        told.sort();
        assert_eq!(told, tables, "{alias} has been told");
        tables
    })
}

/// What a client would notice: rules, denied tables, and the streams without their ids, positions and times.
pub(crate) type Seen = (BTreeMap<String, String>, [Vec<String>; 3], BTreeMap<&'static str, Vec<Vec<String>>>, usize);

pub(crate) fn seen(live: &Live) -> Seen {
    let columns = ["workflow", "source", "state", "message", "cell", "tablet_types", "workflow_type", "options"];
    let streams = |alias: &'static str| {
        let mut rows = [live.rows(alias, "c2c", &columns), live.rows(alias, "c2c_reverse", &columns)].concat();
        rows.sort();
        (alias, rows)
    };
    let journals = live.servers.values().map(|server| server.journals.len()).sum();
    (rules(live), denied(live), [COMMERCE, LEFT, RIGHT].map(streams).into(), journals)
}

pub(crate) fn switched() -> Live {
    let mut live = cluster();
    done(&mut live, &request(&ALL));
    live.log.clear();
    live.writes = 0;
    live
}

const READS: [&str; 6] = [
    "Lock keyspace commerce",
    "Lock keyspace customer",
    "Switch reads for tables [corder,customer] to keyspace customer for tablet types [REPLICA,RDONLY]",
    "Routing rules for tables [corder,customer] will be updated",
    "Unlock keyspace customer",
    "Unlock keyspace commerce",
];

const WRITES: [&str; 14] = [
    "Lock keyspace commerce",
    "Lock keyspace customer",
    "Stop writes on keyspace commerce for tables [corder,customer]: [keyspace:commerce;shard:0;position:MySQL56/65b309ae-eb92-11f1-97ea-02fc00000001:1-100]",
    "Wait for vreplication on stopped streams to catchup for up to 30s",
    "Create reverse vreplication workflow c2c_reverse",
    "Create journal entries on source databases",
    "Enable writes on keyspace customer for tables [corder,customer]",
    "Switch routing from keyspace commerce to keyspace customer",
    "Routing rules for tables [corder,customer] will be updated",
    "Switch writes completed, freeze and delete vreplication streams on: [tablet:200,tablet:300]",
    "Start reverse vreplication streams on: [tablet:100]",
    "Mark vreplication streams frozen on: [keyspace:customer;shard:-80;tablet:200;workflow:c2c;dbname:vt_customer,keyspace:customer;shard:80-;tablet:300;workflow:c2c;dbname:vt_customer]",
    "Unlock keyspace customer",
    "Unlock keyspace commerce",
];

/// The lines that a vtctld of v24 printed on a cluster like this one, positions aside.
// TR-33, TR-36, TR-37, TR-103.
#[test]
fn a_dry_run_has_the_lines_of_the_reference() {
    let mut live = cluster();
    assert_eq!(lines(&mut live, request(&ALL)), [&READS[..], &WRITES].concat());
    assert_eq!(lines(&mut live, request(&[PRIMARY])), WRITES);
    let reads = lines(&mut live, request(&[REPLICA, RDONLY]));
    let mut want: Vec<&str> = READS.to_vec();
    want.insert(4, "Serving VSchema will be rebuilt for the customer keyspace");
    assert_eq!(reads, want);
    let longer = WorkflowSwitchTrafficRequest { timeout: Some(Duration { seconds: 90, nanos: 0 }), ..request(&[PRIMARY]) };
    let text = lines(&mut live, longer)[3].clone();
    assert_eq!(text, "Wait for vreplication on stopped streams to catchup for up to 1m30s");
    let summary = done(&mut live, &WorkflowSwitchTrafficRequest { dry_run: true, ..request(&ALL) }).summary;
    assert_eq!(summary, "SwitchTraffic dry run results for workflow customer.c2c at 12 Jan 70 13:46 UTC");
}

// TR-34.
#[test]
fn a_dry_run_back_has_the_lines_of_the_reference() {
    let mut live = switched();
    let wanted = WorkflowSwitchTrafficRequest { enable_reverse_replication: false, ..back(&ALL) };
    let position = |shard: &str, uuid: &str| format!("keyspace:customer;shard:{shard};position:MySQL56/{uuid}:1-100");
    let stop = format!(
        "Stop writes on keyspace customer for tables [corder,customer]: [{},{}]",
        position("-80", LEFT_UUID),
        position("80-", RIGHT_UUID)
    );
    let want = [
        "Lock keyspace customer",
        "Lock keyspace commerce",
        "Switch reads for tables [corder,customer] to keyspace commerce for tablet types [REPLICA,RDONLY]",
        "Routing rules for tables [corder,customer] will be updated",
        "Unlock keyspace commerce",
        "Unlock keyspace customer",
        "Lock keyspace customer",
        "Lock keyspace commerce",
        &stop,
        "Wait for vreplication on stopped streams to catchup for up to 30s",
        "Create reverse vreplication workflow c2c",
        "Create journal entries on source databases",
        "Enable writes on keyspace commerce for tables [corder,customer]",
        "Switch routing from keyspace customer to keyspace commerce",
        "Routing rules for tables [corder,customer] will be updated",
        "Switch writes completed, freeze and delete vreplication streams on: [tablet:100]",
        "Mark vreplication streams frozen on: [keyspace:commerce;shard:0;tablet:100;workflow:c2c_reverse;dbname:vt_commerce]",
        "Unlock keyspace commerce",
        "Unlock keyspace customer",
    ];
    assert_eq!(lines(&mut live, wanted), want);
    assert_eq!(lines(&mut live, request(&[PRIMARY])), ["No changes required"]);
}

fn all_to(keyspace: &str, of: &[&str], from: &[&str]) -> Vec<(String, String)> {
    let mut rules = Vec::new();
    for table in ["corder", "customer"] {
        for of in of {
            rules.extend(from.iter().map(|from| (format!("{from}{table}{of}"), format!("{keyspace}.{table}"))));
        }
    }
    rules
}

const ANY: [&str; 3] = ["", "commerce.", "customer."];

// TR-16, TR-25, B21.
#[test]
fn reads_move_and_come_back() {
    let mut live = cluster();
    let before = seen(&live);
    let reply = done(&mut live, &request(&[REPLICA, RDONLY]));
    assert_eq!(reply.summary, "SwitchTraffic was successful for workflow customer.c2c");
    assert_eq!(reply.start_state, "Reads Not Switched. Writes Not Switched");
    assert_eq!(reply.current_state, "All Reads Switched. Writes Not Switched");
    let reads = all_to("customer", &["@replica", "@rdonly"], &ANY);
    let want: BTreeMap<_, _> = [reads, all_to("commerce", &[""], &ANY)].concat().into_iter().collect();
    assert_eq!(rules(&live), want);
    let served: SrvVSchema = live.record("zone1", "SrvVSchema");
    assert_eq!(served.keyspaces.keys().collect::<Vec<_>>(), ["commerce", "customer"], "made of all vschemas");

    let mut only_reads = live.clone();
    let reply = done(&mut only_reads, &back(&[REPLICA, RDONLY]));
    assert_eq!(reply.summary, "ReverseTraffic was successful for workflow customer.c2c");
    assert_eq!(seen(&only_reads), before);
    let text = "invalid request: requesting reversal of read traffic for REPLICAs but REPLICA reads have not been switched";
    assert_eq!(refused(&mut only_reads, &back(&[REPLICA])), text);

    // A target that is far behind, or has failed, is a reason to leave it.
    let failed = |live: &mut Live, alias: &str, column: &'static str, value: &str| {
        live.servers.get_mut(alias).unwrap().streams[0].insert(column, value.into());
    };
    for column in ["transaction_timestamp", "time_updated", "time_heartbeat"] {
        failed(&mut live, LEFT, column, "999900");
    }
    failed(&mut live, RIGHT, "state", "Error");
    let before = (before.0, before.1, seen(&live).2, before.3);
    let mut of_one_type = live.clone();
    done(&mut of_one_type, &back(&[RDONLY]));

    // The reference looks for a workflow that is not there yet.
    let reply = done(&mut live, &back(&ALL));
    assert_eq!(reply.current_state, "Reads Not Switched. Writes Not Switched");
    assert_eq!(seen(&live), before);
}

// TR-26.
#[test]
fn one_type_brings_the_other_where_no_tablet_is_of_it() {
    let mut live = cluster();
    done(&mut live, &request(&[REPLICA]));
    let mut with_rdonly = cluster();
    with_rdonly.tablet("elsewhere", "0", "zone2", 900, RDONLY);
    done(&mut with_rdonly, &request(&[REPLICA]));
    for (live, want) in [(live, "customer.corder"), (with_rdonly, "commerce.corder")] {
        let rules = rules(&live);
        assert_eq!((rules["corder@replica"].as_str(), rules["corder@rdonly"].as_str()), ("customer.corder", want));
    }
}

fn reverse_source(shard: &str) -> String {
    format!(
        "keyspace:\"customer\" shard:\"{shard}\" filter:{{rules:{{match:\"corder\" filter:\"select * from `corder`\"}} \
         rules:{{match:\"customer\" filter:\"select * from `customer`\"}}}}"
    )
}

/// Records and rows as a vtctld of v24 left them on a cluster like this one.
// TR-186.
#[test]
fn a_stream_of_the_other_direction_reads_from_the_cells_of_its_own_stream() {
    let mut live = cluster();
    for (alias, cells) in [(LEFT, "zone1,zone9"), (RIGHT, "zone2,zone8")] {
        let server = live.servers.get_mut(alias).expect("a primary");
        server.streams[0].insert("cell", cells.to_owned());
    }
    done(&mut live, &request(&ALL));
    // The target's own cell becomes the source's, where that is none of them.
    assert_eq!(live.rows(COMMERCE, "c2c_reverse", &["cell"]), [["zone1,zone9"], ["zone1,zone8"]]);
}

// TR-2, TR-14, TR-175, TR-183, TR-187.
#[test]
fn writes_move() {
    let mut live = cluster();
    let reply = done(&mut live, &request(&ALL));
    assert_eq!(reply.current_state, "All Reads Switched. Writes Switched");
    let reads = all_to("customer", &["@replica", "@rdonly"], &ANY);
    let want: BTreeMap<_, _> = [reads, all_to("customer", &[""], &["", "commerce."])].concat().into_iter().collect();
    assert_eq!(rules(&live), want);
    let tables = ["corder", "customer"].map(str::to_owned).to_vec();
    assert_eq!(denied(&live), [tables, vec![], vec![]]);
    let columns = ["id", "source", "pos", "state", "message", "cell", "tablet_types", "workflow_type", "options", "max_tps"];
    let options = r#"{"sharded_auto_increment_handling":1}"#;
    let reverse = |id: &str, shard: &str, uuid: &str| {
        let (source, pos) = (reverse_source(shard), format!("MySQL56/{uuid}:1-100"));
        [id, &source, &pos, "Running", "", "zone1", "primary", "1", options, "9223372036854775807"].map(str::to_owned).to_vec()
    };
    let want = [reverse("1", "-80", LEFT_UUID), reverse("2", "80-", RIGHT_UUID)];
    assert_eq!(live.rows(COMMERCE, "c2c_reverse", &columns), want);
    for alias in [LEFT, RIGHT] {
        assert_eq!(live.rows(alias, "c2c", &["state", "message"]), [["Stopped", "FROZEN"]]);
    }
    let id = 8_200_191_490_597_391_617_i64;
    let journal = &live.servers[COMMERCE].journals[&id];
    let want = format!(
        "id:{id} tables:\"corder\" tables:\"customer\" local_position:\"MySQL56/{COMMERCE_UUID}:1-100\" \
         shard_gtids:{{keyspace:\"customer\" shard:\"-80\" gtid:\"MySQL56/{LEFT_UUID}:1-100\"}} \
         shard_gtids:{{keyspace:\"customer\" shard:\"80-\" gtid:\"MySQL56/{RIGHT_UUID}:1-100\"}} \
         participants:{{keyspace:\"commerce\" shard:\"0\"}}"
    );
    assert_eq!(*journal, want);
}

// TR-15, TR-176.
#[test]
fn writes_come_back_and_move_again() {
    let mut live = switched();
    let first = seen(&live);
    let reply = done(&mut live, &back(&ALL));
    assert_eq!(reply.start_state, "All Reads Switched. Writes Switched");
    assert_eq!(reply.current_state, "Reads Not Switched. Writes Not Switched");
    let reads = all_to("commerce", &["@replica", "@rdonly"], &ANY);
    let want: BTreeMap<_, _> = [reads, all_to("commerce", &[""], &["", "customer."])].concat().into_iter().collect();
    assert_eq!(rules(&live), want);
    let tables = ["corder", "customer"].map(str::to_owned).to_vec();
    assert_eq!(denied(&live), [vec![], tables.clone(), tables]);
    assert_eq!(live.rows(COMMERCE, "c2c_reverse", &["state", "message"]), [["Stopped", "FROZEN"], ["Stopped", "FROZEN"]]);
    let source = |range: &str| {
        format!(
            "keyspace:\"commerce\" shard:\"0\" filter:{{rules:{{match:\"corder\" filter:\"select * from `corder` where \
             in_keyrange(customer_id, 'customer.hash', '{range}')\"}} rules:{{match:\"customer\" filter:\"select * from `customer` where \
             in_keyrange(id, 'customer.hash', '{range}')\"}}}}"
        )
    };
    let columns = ["id", "source", "pos", "state", "message", "cell"];
    let pos = format!("MySQL56/{COMMERCE_UUID}:1-100");
    // The one that had done its work is gone; the new one reads in the cell of its own tablet.
    assert_eq!(live.rows(LEFT, "c2c", &columns), [["2", &source("-80"), &pos, "Running", "", "zone1"]]);
    assert_eq!(live.rows(RIGHT, "c2c", &columns), [["2", &source("80-"), &pos, "Running", "", "zone2"]]);

    done(&mut live, &request(&ALL));
    let mut again = seen(&live);
    assert_eq!(again.3, 4, "a journal of each source of each switch");
    again.3 = first.3;
    // The filters are those that were made for the way back.
    for alias in [LEFT, RIGHT] {
        again.2.insert(alias, first.2[alias].clone());
    }
    assert_eq!(again.0, first.0);
    assert_eq!(again.1, first.1);
}

// B14.
#[test]
fn what_is_not_enabled_stands_still() {
    let mut live = cluster();
    done(&mut live, &WorkflowSwitchTrafficRequest { enable_reverse_replication: false, ..request(&ALL) });
    assert_eq!(live.rows(COMMERCE, "c2c_reverse", &["state", "message"]), [["Stopped", ""], ["Stopped", ""]]);
}

/// Everything in its order, and no write refused before all that could be prepared was.
// TR-84.
#[test]
fn steps_are_in_order() {
    let mut live = cluster();
    done(&mut live, &request(&[PRIMARY]));
    let steps = [
        "lock internal/named_locks/customer/c2c",
        "lock keyspaces/commerce",
        "lock keyspaces/customer",
        "zone1-0000000101 RefreshState",
        "ValidateVReplicationPermissions",
        "put global keyspaces/commerce/shards/0/Shard",
        "zone1-0000000101 RefreshState",
        "LOCK TABLES `corder` READ,`customer` READ",
        "LOCK TABLES `corder` READ,`customer` READ",
        "FLUSH OPTIMIZER_COSTS",
        "zone1-0000000100 PrimaryPosition",
        "zone1-0000000200 waits with 1 for MySQL56/65b309ae-eb92-11f1-97ea-02fc00000001:1-100",
        "update _vt.vreplication set state='Stopped', message='stopped for cutover' where id=1",
        "zone1-0000000200 PrimaryPosition",
        "insert into _vt.vreplication (workflow, source, pos, max_tps, max_replication_lag, cell, tablet_types",
        "insert into _vt.resharding_journal (id, db_name, val) values (8200191490597391617, 'vt_commerce', ",
        "put global RoutingRules",
        "put zone1 SrvVSchema",
        "VDiff",
        "update _vt.vreplication set state='Running', message='' where db_name='vt_commerce' and workflow='c2c_reverse'",
        "update _vt.vreplication set message = 'FROZEN' where db_name='vt_customer' and workflow='c2c'",
        "unlock",
    ];
    let mut log = live.log.iter();
    for step in steps {
        assert!(log.any(|line| line.contains(step)), "{step} in its place of {:#?}", live.log);
    }
    // Opened with the source's closing: no write is lost to it later.
    assert_eq!(live.log.iter().filter(|line| line.contains("customer/shards/-80/Shard")).count(), 1);
}

/// The number of the first write after which there is a journal.
pub(crate) fn journal_at(before: &Live, request: &WorkflowSwitchTrafficRequest) -> usize {
    for at in 0.. {
        let mut live = before.clone();
        live.faults.insert(at, Fault::Killed);
        let has = |live: &Live| live.servers.values().map(|server| server.journals.len()).sum::<usize>();
        let was = has(&live);
        live.run(&call(request));
        if has(&live) > was {
            return at - 1;
        }
    }
    unreachable!()
}

pub(crate) fn writes_of(before: &Live, request: &WorkflowSwitchTrafficRequest) -> usize {
    let mut live = before.clone();
    live.writes = 0;
    done(&mut live, request);
    live.writes
}

// TR-89, B3, B4.
#[test]
fn a_failure_before_the_journal_takes_everything_back_and_one_after_it_is_finished_by_the_same_request() {
    for (name, before, wanted) in
        [("forward", cluster(), request(&ALL)), ("back", switched(), back(&ALL)), ("writes", cluster(), request(&[PRIMARY]))]
    {
        let (was, journal, count) = (seen(&before), journal_at(&before, &wanted), writes_of(&before, &wanted));
        let sources = if wanted.direction == 0 { 1 } else { 2 };
        let mut whole = before.clone();
        done(&mut whole, &wanted);
        let after = seen(&whole);
        assert!(journal > 5 && count > journal + 5, "{name}: {journal} of {count}");
        for at in 0..count {
            for fault in [Fault::Refused, Fault::NotSent, Fault::LostBefore, Fault::LostAfter] {
                let mut live = before.clone();
                live.writes = 0;
                live.faults.insert(at, fault);
                let reply = live.run(&call(&wanted)).unwrap();
                let context = || {
                    format!(
                        "{name}: write {at} of {count} {fault:?}, the journal is {journal}: {:?}\n{:#?}",
                        reply.result, live.log
                    )
                };
                assert_eq!(
                    live.log.iter().filter(|line| line.starts_with("lock ")).count(),
                    live.log.iter().filter(|line| *line == "unlock").count(),
                    "{}",
                    context()
                );
                let journals = |live: &Live| live.servers.values().map(|server| server.journals.len()).sum::<usize>();
                // Whether nobody can tell if the first one will still come.
                let is_unclear = at == journal && fault == Fault::LostBefore;
                match &reply.result {
                    Ok(_) => assert_eq!(seen(&live), after, "{}", context()),
                    Err(_) if journals(&live) == journals(&before) && !is_unclear => {
                        assert!(at <= journal + sources, "{}", context());
                        assert_eq!(seen(&live), was, "{}", context());
                    }
                    Err(status) => {
                        assert!(at >= journal, "{}", context());
                        assert!(status.message.contains("make the same request again"), "{}", context());
                    }
                }
                live.faults.clear();
                live.log.clear();
                let reply = live.run(&call(&wanted)).unwrap();
                assert!(reply.result.is_ok(), "again: {name}: write {at} {fault:?}: {:?}", reply.result);
                assert_eq!(seen(&live), after, "again: {name}: write {at} {fault:?}");
            }
        }
    }
}

#[test]
fn whoever_dies_the_same_request_finishes() {
    for (name, before, wanted) in [("forward", cluster(), request(&ALL)), ("back", switched(), back(&ALL))] {
        let count = writes_of(&before, &wanted);
        let mut whole = before.clone();
        done(&mut whole, &wanted);
        let mut after = seen(&whole);
        after.2.clear();
        for at in 0..count {
            let mut live = before.clone();
            live.writes = 0;
            live.faults.insert(at, Fault::Killed);
            assert!(live.run(&call(&wanted)).is_none(), "{name}: write {at}");
            live.faults.clear();
            let reply = live.run(&call(&wanted)).unwrap();
            assert!(reply.result.is_ok(), "{name}: dead at {at} of {count}: {:?}\n{:#?}", reply.result, live.log);
            let mut now = seen(&live);
            let streams = std::mem::take(&mut now.2);
            assert_eq!(now, after, "{name}: dead at {at}");
            for (alias, rows) in streams {
                assert_eq!(rows, seen(&whole).2[alias], "{name}: dead at {at}: {alias}");
            }
        }
    }
}

/// Whatever answer comes first, also where tablets fail: the same reply, records and rows.
#[test]
fn answers_may_come_in_any_order() {
    for (name, before, wanted) in [("forward", cluster(), request(&ALL)), ("back", switched(), back(&ALL))] {
        for broken in
            ["", "RefreshState", "LOCK TABLES", "zone1-0000000200", "insert into _vt.vreplication", "insert into _vt.resh"]
        {
            let mut first = before.clone();
            if !broken.is_empty() {
                first.broken.push((broken.into(), "broken".into()));
            }
            let run = |pick: &mut dyn FnMut(usize) -> usize| {
                let mut live = first.clone();
                let reply = live.run_choosing(&call(&wanted), pick).unwrap();
                (reply, live)
            };
            let (want, after) = run(&mut |_| 0);
            for seed in 0..12 {
                let mut state = seed;
                let mut pick = |count: usize| usize::try_from(crate::support::scattered(&mut state) % count as u64).unwrap();
                let (reply, live) = run(&mut pick);
                assert_eq!(reply, want, "{name}, {broken}, seed {seed}");
                assert_eq!(seen(&live), seen(&after), "{name}, {broken}, seed {seed}");
            }
        }
    }
}

/// Half of a switch that failed again is not left half: nobody could write.
#[test]
fn a_second_failure_takes_back_what_the_first_has_left() {
    let before = cluster();
    let (was, wanted) = (seen(&before), request(&ALL));
    let journal = journal_at(&before, &wanted);
    for at in 0..=journal {
        let mut live = before.clone();
        live.faults.insert(at, Fault::Killed);
        assert!(live.run(&call(&wanted)).is_none());
        live.faults.clear();
        live.broken.push(("VReplicationWaitForPos".into(), "too slow".into()));
        let text = refused(&mut live, &wanted);
        assert_eq!(text, "failed to sync up replication between the source and target: too slow\ntoo slow", "dead at {at}");
        let mut now = seen(&live);
        // The first one's rows for the way back are the next switch's to delete.
        now.2.insert(COMMERCE, was.2[COMMERCE].clone());
        now.0 = was.0.clone();
        assert_eq!(now, was, "dead at {at}");
    }
}

/// Changes a cluster, with what sets a column of a tablet's first stream.
type Break = fn(&mut Live, &dyn Fn(&mut Live, &str, &'static str, &str));

// TR-23, TR-24, TR-28, TR-30, TR-31, B13, B33.
#[test]
fn what_speaks_against_it_is_refused_before_anything_is_touched() {
    let set = |live: &mut Live, alias: &str, column: &'static str, value: &str| {
        live.servers.get_mut(alias).unwrap().streams[0].insert(column, value.into());
    };
    let cases: [(Break, WorkflowSwitchTrafficRequest, &str); 12] = [
        (
            |live, set| set(live, LEFT, "message", "FROZEN"),
            request(&ALL),
            "cannot switch traffic for workflow c2c at this time: workflow is frozen",
        ),
        (
            |live, set| set(live, LEFT, "message", "Error: x"),
            request(&ALL),
            "cannot switch traffic for workflow c2c at this time: workflow has errors",
        ),
        (
            |live, set| set(live, LEFT, "state", "Stopped"),
            request(&ALL),
            "cannot switch traffic for workflow c2c at this time: stream 1 of customer/-80 is Stopped; start the workflow first",
        ),
        (
            |live, set| {
                for column in ["transaction_timestamp", "time_updated", "time_heartbeat"] {
                    set(live, LEFT, column, "999900");
                }
            },
            request(&ALL),
            "cannot switch traffic for workflow c2c at this time: replication lag 100s is higher than allowed lag 30s",
        ),
        (
            |live, _| live.shard("customer", "c0-", "zone1", 400, LEFT_UUID, None),
            request(&ALL),
            "workflow validation failed: mismatched shards for keyspace customer: topo shards not in switch command: [c0-]",
        ),
        (
            |live, _| live.shard("customer", "c0-", "zone1", 400, LEFT_UUID, None),
            request(&[REPLICA]),
            "workflow validation failed: mismatched shards for keyspace customer: topo shards not in switch command: [c0-]",
        ),
        (|_, _| (), back(&ALL), "no streams found in keyspace commerce for c2c_reverse"),
        (
            |_, _| (),
            back(&[RDONLY]),
            "invalid request: requesting reversal of read traffic for RDONLYs but RDONLY reads have not been switched",
        ),
        (
            |live, set| {
                set(live, LEFT, "workflow_type", "0");
                set(live, RIGHT, "workflow_type", "0");
            },
            request(&ALL),
            "workflow customer.c2c is of type Materialize, whose traffic cannot be switched",
        ),
        (
            |live, set| {
                set(live, LEFT, "workflow_type", "3");
                set(live, RIGHT, "workflow_type", "3");
            },
            request(&ALL),
            "invalid action for Migrate workflow: SwitchTraffic",
        ),
        (
            |_, _| (),
            WorkflowSwitchTrafficRequest { cells: vec!["zone9".into()], ..request(&[REPLICA]) },
            "zone9 is neither a cell nor an alias of cells; nothing was changed",
        ),
        (
            |_, _| (),
            WorkflowSwitchTrafficRequest { workflow: "c3c".into(), ..request(&ALL) },
            "no streams found in keyspace customer for c3c",
        ),
    ];
    for (damage, wanted, want) in cases {
        let mut live = cluster();
        damage(&mut live, &set);
        let before = live.clone();
        assert_eq!(refused(&mut live, &wanted), want);
        assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers), "{want}");
        let dry = WorkflowSwitchTrafficRequest { dry_run: true, ..wanted };
        assert_eq!(refused(&mut live, &dry), want, "a dry run refuses alike");
    }
}

// TR-18, B15.
#[test]
fn tablets_that_cannot_be_told_are_a_reason_to_stop_unless_forced() {
    let mut live = cluster();
    live.broken.push(("zone1-0000000101 RefreshState".into(), "tablet refresh error".into()));
    let before = live.clone();
    let text = "cannot switch traffic for workflow c2c at this time: could not refresh all of the tablets involved in the operation:\n\
                failed to successfully refresh all tablets in the commerce/0 source shard (<nil>):\n  \
                failed to refresh tablet zone1-0000000101: tablet refresh error\n";
    assert_eq!(refused(&mut live, &request(&ALL)), text);
    assert_eq!(live.topo, before.topo);
    let reply = done(&mut live, &WorkflowSwitchTrafficRequest { force: true, ..request(&ALL) });
    assert_eq!(reply.current_state, "All Reads Switched. Writes Switched");
}

// TR-55, B6.
#[test]
fn mirroring_ends_where_traffic_moves() {
    let mut live = cluster();
    let rule = |from: &str, to: &str| MirrorRule { from_table: from.into(), to_table: to.into(), percent: 10.0 };
    let other = rule("commerce.product", "elsewhere.product");
    // Of one type only, and of one table: enough for the reference to refuse.
    let mirrored =
        [rule("commerce.corder@replica", "customer.corder"), rule("commerce.customer", "customer.customer"), other.clone()];
    live.put("global", "MirrorRules", MirrorRules { rules: mirrored.to_vec() }.encode_to_vec());
    let was = live.record::<MirrorRules>("global", "MirrorRules");
    let mut failing = live.clone();
    failing.broken.push(("VReplicationWaitForPos".into(), "too slow".into()));
    refused(&mut failing, &request(&ALL));
    let mut rules = failing.record::<MirrorRules>("global", "MirrorRules").rules;
    rules.sort_by(|a, b| a.from_table.cmp(&b.from_table));
    let mut want = was.rules;
    want.sort_by(|a, b| a.from_table.cmp(&b.from_table));
    assert_eq!(rules, want, "taken back");
    done(&mut live, &request(&ALL));
    assert_eq!(live.record::<MirrorRules>("global", "MirrorRules").rules, std::slice::from_ref(&other));
    let served: SrvVSchema = live.record("zone2", "SrvVSchema");
    assert_eq!(served.mirror_rules.unwrap().rules, [other]);
}

// TR-138, B25.
#[test]
fn others_changes_are_kept() {
    let mut live = cluster();
    // Somebody writes the rules between the look and the change.
    let mut flow = vtflow_planner::Flow::start(&call(&request(&[REPLICA, RDONLY])), crate::support::NOW);
    let mut waiting = flow.asks();
    let mut is_changed = false;
    while !waiting.is_empty() {
        let ask = waiting.remove(0);
        if let vtflow_planner::What::TopoPut { path, .. } = &ask.what
            && path == "RoutingRules"
            && !std::mem::replace(&mut is_changed, true)
        {
            let mut rules: RoutingRules = live.record("global", "RoutingRules");
            rules.rules.push(RoutingRule { from_table: "other".into(), to_tables: vec!["commerce.other".into()] });
            live.put("global", "RoutingRules", rules.encode_to_vec());
        }
        let answer = live.perform(&ask).unwrap();
        flow.answer(ask.id, answer);
        waiting.extend(flow.asks());
    }
    assert!(is_changed);
    let rules = rules(&live);
    assert_eq!((rules["other"].as_str(), rules["corder@replica"].as_str()), ("commerce.other", "customer.corder"));
}

#[test]
fn a_plan_says_what_is_done_and_holds_it_to_that() {
    let mut live = cluster();
    let with = |mode| Call { options: CallOptions { mode, ..CallOptions::default() }, ..call(&request(&ALL)) };
    let before = live.clone();
    let reply = live.run(&with(Mode::Preview)).unwrap();
    assert_eq!(live.topo, before.topo);
    assert_eq!(reply.result, Ok(vec![]));
    let plan = reply.written.unwrap().plan;
    let writes: Vec<String> = plan.writes.iter().map(|write| format!("{}: {}", write.rows[0].name, write.statement)).collect();
    let has = |part: &str| writes.iter().any(|write| write.contains(part));
    assert!(has("stop writes on the source: deny tables corder, customer"), "{writes:#?}");
    assert!(has("create the reverse streams: insert into _vt.vreplication"), "{writes:#?}");
    assert!(has("<position of customer/-80>") && has("switch writes: commerce.corder -> customer.corder"), "{writes:#?}");
    let mut other = live.clone();
    done(&mut other, &request(&[REPLICA, RDONLY]));
    let text = other.run(&with(Mode::Planned(plan.digest.clone()))).unwrap().result.unwrap_err().message;
    assert_eq!(text, "the plan is not the one any more: nothing was changed");
    let reply = live.run(&with(Mode::Planned(plan.digest.clone()))).unwrap();
    assert_eq!(response(&reply).current_state, "All Reads Switched. Writes Switched");
    let written = reply.written.unwrap();
    assert_eq!(written.outcomes.len(), written.plan.writes.len());
    assert!(written.outcomes.iter().all(|outcome| outcome.verdict == Verdict::Applied), "{:#?}", written.outcomes);
}

#[test]
fn what_vtflow_does_not_switch_is_for_a_vtctld() {
    let mut live = cluster();
    for alias in [LEFT, RIGHT] {
        let source = r#"keyspace:"commerce" shard:"0" filter:{rules:{match:"t" filter:"select * from t"}} external_cluster:"x""#;
        live.servers.get_mut(alias).unwrap().streams[0].insert("source", source.into());
    }
    let status = live.run(&call(&request(&ALL))).unwrap().result.unwrap_err();
    assert_eq!(status.code, vtflow_planner::Code::Unimplemented);
    assert!(live.log.is_empty(), "nothing was locked: {:?}", live.log);
}
