//! Moving the traffic of a reshard: lines, records and rows, and that every death on the way is finished by the same request.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use prost::Message;
use vtflow_planner::{
    Call, CallOptions,
    proto::{
        topodata::{KeyRange, Shard, ShardReference, SrvKeyspace, TabletType, srv_keyspace::KeyspacePartition},
        vschema::{ColumnVindex, Keyspace, RoutingRules, SrvVSchema, Table, Vindex},
        vtctldata::{WorkflowSwitchTrafficRequest, WorkflowSwitchTrafficResponse},
    },
    rpc,
};

use crate::support::live::{Fault, Live};

const PRIMARY: TabletType = TabletType::Primary;
const REPLICA: TabletType = TabletType::Replica;
const RDONLY: TabletType = TabletType::Rdonly;
pub(crate) const ALL: [TabletType; 3] = [REPLICA, RDONLY, PRIMARY];

pub(crate) fn call(types: &[TabletType], direction: i32, dry_run: bool) -> Call {
    let request = WorkflowSwitchTrafficRequest {
        keyspace: "ks".into(),
        workflow: "r".into(),
        tablet_types: types.iter().map(|&of| of.into()).collect(),
        enable_reverse_replication: true,
        direction,
        dry_run,
        ..WorkflowSwitchTrafficRequest::default()
    };
    Call { path: rpc::WORKFLOW_SWITCH_TRAFFIC.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

pub(crate) fn done(live: &mut Live, types: &[TabletType], direction: i32, dry_run: bool) -> WorkflowSwitchTrafficResponse {
    let reply = live.run(&call(types, direction, dry_run)).unwrap();
    let bytes = reply.result.unwrap_or_else(|status| panic!("{status}\n{:#?}", live.log));
    WorkflowSwitchTrafficResponse::decode(bytes.as_slice()).unwrap()
}

fn reference(name: &str, start: &[u8], end: &[u8]) -> ShardReference {
    ShardReference { name: name.into(), key_range: Some(KeyRange { start: start.to_vec(), end: end.to_vec() }) }
}

/// `-80` is split into `-40` and `40-80`; `80-` stays as it is.
pub(crate) fn cluster() -> Live {
    let mut live = Live::default();
    let shards = [
        ("-80", &[][..], &[0x80][..], 200, true),
        ("80-", &[0x80], &[], 300, true),
        ("-40", &[], &[0x40], 400, false),
        ("40-80", &[0x40], &[0x80], 500, false),
    ];
    for (shard, start, end, uid, is_serving) in shards {
        let range = reference(shard, start, end).key_range;
        live.shard("ks", shard, "zone1", uid, &format!("uuid{uid}"), range);
        live.tablet("ks", shard, "zone1", uid + 1, REPLICA.into());
        let path = format!("keyspaces/ks/shards/{shard}/Shard");
        let record: Shard = live.record("global", &path);
        live.put("global", &path, Shard { is_primary_serving: is_serving, ..record }.encode_to_vec());
    }
    let vindex = ColumnVindex { column: "id".into(), name: "hash".into(), columns: vec![] };
    let vschema = Keyspace {
        sharded: true,
        vindexes: BTreeMap::from([("hash".into(), Vindex { r#type: "hash".into(), ..Vindex::default() })]),
        tables: BTreeMap::from([("t1".into(), Table { column_vindexes: vec![vindex], ..Table::default() })]),
        ..Keyspace::default()
    };
    live.put("global", "keyspaces/ks/VSchema", vschema.encode_to_vec());
    let part = |of: TabletType| KeyspacePartition {
        served_type: of.into(),
        shard_references: vec![reference("-80", &[], &[0x80]), reference("80-", &[0x80], &[])],
        shard_tablet_controls: Vec::new(),
    };
    let served = SrvKeyspace { partitions: [PRIMARY, REPLICA, RDONLY].map(part).to_vec(), ..SrvKeyspace::default() };
    for cell in ["zone1", "zone2"] {
        live.cell(cell);
        live.put(cell, "keyspaces/ks/SrvKeyspace", served.encode_to_vec());
        live.put(
            cell,
            "SrvVSchema",
            SrvVSchema { routing_rules: Some(RoutingRules::default()), ..SrvVSchema::default() }.encode_to_vec(),
        );
    }
    for (alias, range) in [("zone1-0000000400", "-40"), ("zone1-0000000500", "40-80")] {
        let source = format!(r#"keyspace:"ks" shard:"-80" filter:{{rules:{{match:"/.*" filter:"{range}"}}}}"#);
        live.stream(alias, "r", &source, 4);
    }
    live
}

/// Which shards each cell serves of a type, and whose query service is said to be off.
pub(crate) fn served(live: &Live, of: TabletType) -> Vec<String> {
    ["zone1", "zone2"]
        .map(|cell| {
            let record: SrvKeyspace = live.record(cell, "keyspaces/ks/SrvKeyspace");
            let part = record.partitions.into_iter().find(|part| part.served_type() == of).unwrap();
            let shards: Vec<&str> = part.shard_references.iter().map(|shard| shard.name.as_str()).collect();
            let off = part.shard_tablet_controls.iter().map(|it| format!("{} {}", it.name, it.query_service_disabled));
            format!("{} [{}]", shards.join(","), off.collect::<Vec<_>>().join(","))
        })
        .to_vec()
}

pub(crate) fn serving(live: &Live) -> Vec<bool> {
    let of = |shard: &&str| live.record::<Shard>("global", &format!("keyspaces/ks/shards/{shard}/Shard")).is_primary_serving;
    ["-80", "80-", "-40", "40-80"].iter().map(of).collect()
}

/// The lines that a vtctld of v24 printed for a reshard like this one, streams of others aside.
// TR-38, TR-104.
#[test]
fn a_dry_run_has_the_lines_of_the_reference() {
    let mut live = cluster();
    let reads = [
        "Lock keyspace ks",
        "Switch reads from keyspace ks to keyspace ks for shards [-80] to shards [-40,40-80]",
        "Unlock keyspace ks",
    ];
    let writes = [
        "Lock keyspace ks",
        "Stop writes on keyspace ks for tables [/.*]: [keyspace:ks;shard:-80;position:MySQL56/uuid200:1-100]",
        "Wait for vreplication on stopped streams to catchup for up to 30s",
        "Create reverse vreplication workflow r_reverse",
        "Create journal entries on source databases",
        "Enable writes on keyspace ks for tables [/.*]",
        "Switch routing from keyspace ks to keyspace ks",
        "IsPrimaryServing will be set to false for: [shard:-80;tablet:200]",
        "IsPrimaryServing will be set to true for: [shard:-40;tablet:400,shard:40-80;tablet:500]",
        "Switch writes completed, freeze and delete vreplication streams on: [tablet:400,tablet:500]",
        "Start reverse vreplication streams on: [tablet:200]",
        "Mark vreplication streams frozen on: [keyspace:ks;shard:-40;tablet:400;workflow:r;dbname:vt_ks,keyspace:ks;shard:40-80;tablet:500;workflow:r;dbname:vt_ks]",
        "Unlock keyspace ks",
    ];
    assert_eq!(done(&mut live, &ALL, 0, true).dry_run_results, [&reads[..], &writes].concat());
}

#[test]
fn reads_move_cell_by_cell_and_come_back() {
    let mut live = cluster();
    let before = live.clone();
    done(&mut live, &[REPLICA], 0, false);
    // No tablet is of the other type, so it moves along.
    for of in [REPLICA, RDONLY] {
        assert_eq!(served(&live, of), ["-40,40-80,80- [-40 false,40-80 false,-80 true]"; 2]);
    }
    assert_eq!(served(&live, PRIMARY), ["-80,80- []"; 2]);
    let reply = done(&mut live, &[REPLICA, RDONLY], 1, false);
    assert_eq!(reply.current_state, "Reads Not Switched. Writes Not Switched");
    for of in [REPLICA, RDONLY] {
        assert_eq!(served(&live, of), ["-80,80- [-40 true,40-80 true,-80 false]"; 2]);
    }
    assert_eq!(live.servers, before.servers);
}

// TR-165, TR-184.
#[test]
fn writes_move_and_come_back() {
    let mut live = cluster();
    let reply = done(&mut live, &ALL, 0, false);
    assert_eq!(reply.current_state, "All Reads Switched. Writes Switched");
    for of in ALL {
        assert_eq!(served(&live, of), ["-40,40-80,80- []"; 2], "{of:?}");
    }
    assert_eq!(serving(&live), [false, true, true, true]);
    let source = |shard: &str| format!(r#"keyspace:"ks" shard:"{shard}" filter:{{rules:{{match:"/.*" filter:"-80"}}}}"#);
    let rows = live.rows("zone1-0000000200", "r_reverse", &["source", "state", "workflow_type"]);
    assert_eq!(rows, ["-40", "40-80"].map(|shard| [source(shard), "Running".into(), "4".into()].to_vec()));
    let journals: Vec<&String> = live.servers["zone1-0000000200"].journals.values().collect();
    assert!(
        journals[0].contains(r#" migration_type:SHARDS tables:"/.*" local_position:"MySQL56/uuid200:1-100" "#),
        "{journals:?}"
    );
    assert!(live.log.iter().all(|line| !line.contains("LOCK TABLES")));

    let reply = done(&mut live, &ALL, 1, false);
    assert_eq!(reply.current_state, "Reads Not Switched. Writes Not Switched");
    for of in ALL {
        assert_eq!(served(&live, of), ["-80,80- []"; 2], "{of:?}");
    }
    assert_eq!(serving(&live), [true, true, false, false]);
    assert_eq!(live.rows("zone1-0000000400", "r", &["state", "message"]), [["Running", ""]]);
}

/// A cell that serves the other shards still, while the streams are frozen, would send its writes to shards that refuse them for ever.
#[test]
fn a_cell_that_was_left_behind_is_served_by_the_same_request_although_the_streams_are_frozen() {
    let mut live = cluster();
    let path = "keyspaces/ks/SrvKeyspace";
    for (direction, shards) in [(0, "-40,40-80,80- []"), (1, "-80,80- []")] {
        let behind: SrvKeyspace = live.record("zone2", path);
        done(&mut live, &[PRIMARY], direction, false);
        live.put("zone2", path, behind.encode_to_vec());
        assert_ne!(served(&live, PRIMARY)[1], shards);
        let before = live.servers.clone();
        done(&mut live, &[PRIMARY], direction, false);
        assert_eq!(served(&live, PRIMARY), [shards; 2]);
        assert_eq!(live.servers, before, "nothing else was left to do");
    }
}

#[test]
fn a_failure_before_the_journal_opens_the_source_again() {
    let mut live = cluster();
    live.broken.push(("VReplicationWaitForPos".into(), "too slow".into()));
    let text = live.run(&call(&[PRIMARY], 0, false)).unwrap().result.unwrap_err().message;
    assert_eq!(text, "failed to sync up replication between the source and target: too slow\ntoo slow");
    assert_eq!(served(&live, PRIMARY), ["-80,80- []"; 2]);
    let refreshed = live.log.iter().filter(|line| *line == "zone1-0000000200 RefreshState").count();
    assert_eq!(refreshed, 3, "before, closed, opened: {:#?}", live.log);
}

#[test]
fn whoever_dies_the_same_request_finishes() {
    let before = cluster();
    let mut whole = before.clone();
    done(&mut whole, &ALL, 0, false);
    let seen = |live: &Live| {
        let rows = |alias: &str, workflow: &str| live.rows(alias, workflow, &["source", "state", "message"]);
        let rows = [rows("zone1-0000000200", "r_reverse"), rows("zone1-0000000400", "r"), rows("zone1-0000000500", "r")];
        (ALL.map(|of| served(live, of)), serving(live), rows)
    };
    for at in 0..whole.writes {
        let mut live = before.clone();
        live.faults.insert(at, Fault::Killed);
        assert!(live.run(&call(&ALL, 0, false)).is_none(), "dead at {at}");
        live.faults.clear();
        done(&mut live, &ALL, 0, false);
        assert_eq!(seen(&live), seen(&whole), "dead at {at}");
    }
}

/// As where somebody has frozen the streams of a switch that died before it had served all cells.
#[test]
fn a_cell_that_serves_the_old_shards_is_served_the_new_ones_although_all_is_frozen() {
    let mut live = cluster();
    let (old, _) = live.topo[&("zone2".to_owned(), "keyspaces/ks/SrvKeyspace".to_owned())].clone();
    done(&mut live, &ALL, 0, false);
    live.put("zone2", "keyspaces/ks/SrvKeyspace", old);
    let lines = done(&mut live, &[PRIMARY], 0, true).dry_run_results;
    assert!(lines.contains(&"Switch routing from keyspace ks to keyspace ks".to_owned()), "{lines:?}");
    done(&mut live, &[PRIMARY], 0, false);
    assert_eq!(served(&live, PRIMARY), ["-40,40-80,80- []"; 2]);
    assert_eq!(done(&mut live, &[PRIMARY], 0, true).dry_run_results, ["No changes required"]);
}

/// A switch of everything that dies as soon as the source's primary has closed.
pub(crate) fn closed() -> Live {
    let before = cluster();
    for at in 0.. {
        let mut live = before.clone();
        live.faults.insert(at, Fault::Killed);
        assert!(live.run(&call(&ALL, 0, false)).is_none(), "it ends without having closed");
        live.faults.clear();
        if live.servers["zone1-0000000200"].is_off {
            return live;
        }
    }
    unreachable!()
}

/// As whoever asks it to read its cell's record once more would wait for its answer in vain.
#[test]
fn a_source_that_is_closed_is_opened_before_it_is_closed_again() {
    let mut live = closed();
    let reply = done(&mut live, &ALL, 0, false);
    assert_eq!(reply.current_state, "All Reads Switched. Writes Switched");

    let mut live = closed();
    live.broken.push(("VReplicationWaitForPos".into(), "too slow".into()));
    let text = live.run(&call(&ALL, 0, false)).unwrap().result.unwrap_err().message;
    assert_eq!(text, "failed to sync up replication between the source and target: too slow\ntoo slow");
    assert_eq!(served(&live, PRIMARY), ["-80,80- []"; 2], "it is open, and vtgates find nothing said of it");
    assert!(!live.servers["zone1-0000000200"].is_off, "and has read that");
}

#[test]
fn reads_alone_move_there_and_back_while_the_source_is_closed() {
    let mut live = closed();
    let reads = |live: &Live| [REPLICA, RDONLY].map(|of| served(live, of)[0].split(' ').next().unwrap().to_owned());
    done(&mut live, &[REPLICA, RDONLY], 1, false);
    assert_eq!(reads(&live), ["-80,80-"; 2]);
    assert!(live.servers["zone1-0000000200"].is_off, "its writes stay as they were");
}

#[test]
fn a_switch_that_died_before_its_journal_is_taken_back_wherever_it_was() {
    let before = cluster();
    let mut whole = before.clone();
    done(&mut whole, &ALL, 0, false);
    let mut taken_back = 0;
    for at in 0..whole.writes {
        let mut live = before.clone();
        live.faults.insert(at, Fault::Killed);
        assert!(live.run(&call(&ALL, 0, false)).is_none(), "dead at {at}");
        live.faults.clear();
        let has_begun =
            live.log.iter().any(|line| line.contains("stopped for cutover")) || live.servers["zone1-0000000200"].is_off;
        if !has_begun || !live.servers["zone1-0000000200"].journals.is_empty() {
            continue;
        }
        taken_back += 1;
        let reply = done(&mut live, &ALL, 1, false);
        assert_eq!(reply.current_state, "Reads Not Switched. Writes Not Switched", "dead at {at}");
        assert!(!live.servers["zone1-0000000200"].is_off, "dead at {at}");
        assert_eq!(served(&live, PRIMARY), ["-80,80- []"; 2], "dead at {at}");
        for alias in ["zone1-0000000400", "zone1-0000000500"] {
            assert_eq!(live.rows(alias, "r", &["state", "message"]), [["Running", ""]], "dead at {at}");
        }
        assert!(live.rows("zone1-0000000200", "r_reverse", &["id"]).is_empty(), "dead at {at}");
    }
    assert!(taken_back > 4, "{taken_back}");
}

/// As a vtctld that finishes the switch starts all streams of that name: those of an earlier one would read the journal that ended them.
#[test]
fn whoever_dies_after_the_journal_leaves_no_streams_of_an_earlier_switch() {
    let mut before = cluster();
    for direction in [0, 1] {
        done(&mut before, &ALL, direction, false);
    }
    assert_eq!(before.rows("zone1-0000000200", "r_reverse", &["message"]), [["FROZEN"], ["FROZEN"]]);
    let journals = |live: &Live| live.servers["zone1-0000000200"].journals.len();
    before.writes = 0;
    let mut whole = before.clone();
    done(&mut whole, &ALL, 0, false);
    let mut seen = 0;
    for at in 0..whole.writes {
        let mut live = before.clone();
        live.faults.insert(at, Fault::Killed);
        assert!(live.run(&call(&ALL, 0, false)).is_none(), "dead at {at}");
        if journals(&live) > journals(&before) {
            seen += 1;
            assert_eq!(live.rows("zone1-0000000200", "r_reverse", &["message"]), [[""], [""]], "dead at {at}");
        }
    }
    assert!(seen > 3, "{seen}");
}

#[test]
fn reads_that_had_moved_before_stay_where_they_are_if_a_switch_is_taken_back() {
    let mut live = cluster();
    done(&mut live, &[RDONLY], 0, false);
    let before = [REPLICA, RDONLY].map(|of| served(&live, of));
    live.broken.push(("VReplicationWaitForPos".into(), "too slow".into()));
    live.run(&call(&ALL, 0, false)).unwrap().result.unwrap_err();
    assert_eq!([REPLICA, RDONLY].map(|of| served(&live, of)), before);
}
