//! A reshard beside streams of other workflows: what goes along, what is refused before anything is touched, and that every death, fault
//! and half is gone on from, or taken back.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

use prost::Message;
use vtflow_planner::{
    What,
    contract::StepWay,
    proto::{
        topodata::TabletType,
        vschema::{Keyspace, Table},
        vtctldata::WorkflowSwitchTrafficResponse,
        vtflow::RepairRequest,
    },
};

use crate::{
    repair::cases::{repair, request, wrong},
    support::live::{Fault, Live},
    switch_faults::run,
    switch_shards::{ALL, call, cluster, done, served, serving},
};

pub(crate) const OLD: &str = "zone1-0000000200";
pub(crate) const LEFT: &str = "zone1-0000000400";
pub(crate) const RIGHT: &str = "zone1-0000000500";
const PRIMARIES: [&str; 3] = [OLD, LEFT, RIGHT];
pub(crate) const UUID: &str = "65b309ae-eb92-11f1-97ea-02fc00000001";

pub(crate) fn reads(keyspace: &str, shard: &str, table: &str, filter: &str) -> String {
    format!(r#"keyspace:"{keyspace}" shard:"{shard}" filter:{{rules:{{match:"{table}" filter:"{filter}"}}}}"#)
}

pub(crate) fn set(live: &mut Live, alias: &str, workflow: &str, columns: &[(&'static str, &str)]) {
    let streams = &mut live.servers.get_mut(alias).unwrap().streams;
    for row in streams.iter_mut().filter(|row| row["workflow"] == workflow) {
        row.extend(columns.iter().map(|(column, value)| (*column, (*value).to_owned())));
    }
}

pub(crate) fn with_references(mut live: Live) -> Live {
    let mut record: Keyspace = live.record("global", "keyspaces/ks/VSchema");
    record.tables.insert("ref".into(), Table { r#type: "reference".into(), ..Table::default() });
    live.put("global", "keyspaces/ks/VSchema", record.encode_to_vec());
    live
}

/// On the shard that is split: a stream of a Materialize from elsewhere, one of it within the keyspace, one whose writes were switched away,
/// and one of a table that every shard has whole.
pub(crate) fn beside() -> Live {
    let mut live = with_references(cluster());
    live.stream(OLD, "m", &reads("commerce", "0", "t1", "select * from t1"), 0);
    live.stream(OLD, "inner", &reads("ks", "-80", "t1", "select * from t1 where in_keyrange(id, 'hash', '-80')"), 0);
    live.stream(OLD, "f", &reads("commerce", "0", "t1", "select * from t1 where in_keyrange(id, 'ks.hash', '-80')"), 1);
    live.stream(OLD, "whole", &reads("commerce", "0", "ref", "select * from ref"), 0);
    set(&mut live, OLD, "f", &[("state", "Stopped"), ("message", "FROZEN"), ("pos", &format!("MySQL56/{UUID}:1-50"))]);
    live
}

fn outside() -> Live {
    let mut live = with_references(cluster());
    live.stream(OLD, "m", &reads("commerce", "0", "t1", "select * from t1"), 0);
    live
}

/// Streams of each primary, what the cells serve, and which shards serve.
pub(crate) type Seen = (Vec<Vec<Vec<String>>>, Vec<Vec<String>>, Vec<bool>);

/// Streams of other workflows and of this one, and where the traffic is. Not their ids, nor when they were made.
pub(crate) fn seen(live: &Live) -> Seen {
    let names = ["m", "inner", "f", "whole", "r", "r_reverse"];
    let of = |alias: &&str| {
        let rows = names.iter().flat_map(|name| live.rows(alias, name, &["workflow", "source", "state", "message", "stop_pos"]));
        rows.collect::<Vec<_>>()
    };
    (PRIMARIES.iter().map(of).collect(), ALL.map(|of| served(live, of)).to_vec(), serving(live))
}

fn refused(live: &mut Live, types: &[TabletType], direction: i32) -> String {
    live.run(&call(types, direction, false)).unwrap().result.unwrap_err().message
}

fn is_refused(live: &mut Live) -> String {
    let before = live.clone();
    let text = refused(live, &ALL, 0);
    assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers), "{text}");
    text
}

fn at(live: &Live, part: &str) -> usize {
    live.log.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part}: {:#?}", live.log))
}

const STATE: [&str; 3] = ["source", "state", "message"];

// TR-127, B16.
#[test]
fn streams_of_others_go_on_where_the_rows_are() {
    let mut live = beside();
    done(&mut live, &ALL, 0, false);
    for name in ["m", "inner", "f"] {
        assert!(live.rows(OLD, name, &STATE).is_empty(), "{name}");
    }
    for (alias, range) in [(LEFT, "-40"), (RIGHT, "40-80")] {
        let filter = format!("select * from t1 where in_keyrange(id, 'hash', '{range}')");
        let running = |source: String| vec![source, "Running".to_owned(), String::new()];
        assert_eq!(live.rows(alias, "m", &STATE), [running(reads("commerce", "0", "t1", &filter))]);
        // Of one that reads the shards that are split: from both new ones, from where they are.
        let inner = ["-40", "40-80"].map(|shard| running(reads("ks", shard, "t1", &filter)));
        assert_eq!(live.rows(alias, "inner", &STATE), inner);
        let begin = ["MySQL56/uuid400:1-100", "MySQL56/uuid500:1-100"];
        assert_eq!(live.rows(alias, "inner", &["pos"]), begin.map(|at| [at]));
        // What was frozen is so still.
        let frozen = reads("commerce", "0", "t1", &format!("select * from t1 where in_keyrange(id, 'ks.hash', '{range}')"));
        assert_eq!(live.rows(alias, "f", &STATE), [[frozen, "Stopped".into(), "FROZEN".into()]]);
        assert_eq!(live.rows(alias, "f", &["pos"]), [[format!("MySQL56/{UUID}:1-50")]]);
        assert!(live.rows(alias, "whole", &STATE).is_empty(), "it is on each shard for itself");
    }
    assert_eq!(live.rows(OLD, "whole", &["state"]), [["Running"]]);
    // Consumers of the journal are told whose streams were moved; whoever finishes the switch starts those, so not the frozen ones.
    let journal = live.servers[OLD].journals.values().next().unwrap();
    assert!(journal.ends_with(r#"source_workflows:"inner" source_workflows:"m""#), "{journal}");

    // Before writes are refused: those that do not depend on them. The others when their source takes none.
    let closed = at(&live, "FLUSH OPTIMIZER_COSTS") - 1;
    assert_eq!(live.log[closed], format!("{OLD} RefreshState"));
    let (of_m, of_inner) =
        (at(&live, "message='for cutover' where id in (1)"), at(&live, "message='for cutover' where id in (2)"));
    let waited = at(&live, &format!("{OLD} waits with 2 for MySQL56/uuid200:1-100"));
    let copied = at(
        &live,
        "insert into _vt.vreplication (workflow, source, pos, time_updated, transaction_timestamp, state, message, db_name, max_tps",
    );
    let reads_back = at(&live, "waits with 1 for MySQL56/uuid200:1-100");
    let journal = at(&live, "resharding_journal");
    let starts = at(&live, "set state='Running' where db_name='vt_ks' and workflow in ('inner', 'm')");
    let deleted = at(&live, "delete from _vt.vreplication where id in (1, 2, 3)");
    let order = [of_m, copied, closed, waited, of_inner, reads_back, journal, starts, deleted];
    assert!(order.is_sorted(), "{order:?}: {:#?}", live.log);
}

// B7.
#[test]
fn a_copy_has_every_column_of_its_stream() {
    let columns = [
        ("workflow_type", "1"),
        ("workflow_sub_type", "2"),
        ("defer_secondary_keys", "1"),
        ("cell", "zone1,zone2"),
        ("tablet_types", "in_order:REPLICA,PRIMARY"),
        ("options", r#"{"config":{"vreplication-parallel-insert-workers":"4"}}"#),
        ("max_tps", "500"),
        ("max_replication_lag", "20"),
        ("tags", "a,b"),
        ("stop_pos", "MySQL56/65b309ae-eb92-11f1-97ea-02fc00000001:1-5000"),
    ];
    let mut live = outside();
    let source = r#"keyspace:"commerce" shard:"0" tablet_type:REPLICA filter:{rules:{match:"t1" filter:"-80" convert_charset:{key:"c" value:{from_charset:"latin1" to_charset:"utf8mb4"}} force_unique_key:"PRIMARY"} field_event_mode:BEST_EFFORT} on_ddl:EXEC stop_after_copy:true source_time_zone:"US/Pacific" target_time_zone:"UTC""#;
    set(&mut live, OLD, "m", &columns);
    set(&mut live, OLD, "m", &[("source", source)]);
    done(&mut live, &ALL, 0, false);
    for (alias, range) in [(LEFT, "-40"), (RIGHT, "40-80")] {
        let names = columns.map(|(name, _)| name);
        assert_eq!(live.rows(alias, "m", &names), [columns.map(|(_, value)| value)]);
        assert_eq!(live.rows(alias, "m", &["source"]), [[source.replace("-80", range)]]);
    }
}

// TR-128.
#[test]
fn tables_that_every_shard_has_whole_are_no_matter_of_a_reshard() {
    let mut live = with_references(cluster());
    live.stream(OLD, "whole", &reads("commerce", "0", "ref", "select * from ref"), 0);
    done(&mut live, &ALL, 0, false);
    assert_eq!(live.rows(OLD, "whole", &["state", "message"]), [["Running", ""]]);
    let mut plain = with_references(cluster());
    done(&mut plain, &ALL, 0, false);
    assert_eq!(live.log, plain.log);
}

// TR-129, TR-130, TR-117, TR-123.
#[test]
fn what_cannot_go_along_is_refused_before_anything_is_touched() {
    type Broken = (&'static [(&'static str, &'static str)], &'static str);
    let cases: [Broken; 11] = [
        (&[("state", "Stopped")], "cannot migrate until all streams are running: -80: 200"),
        (&[("state", "Error"), ("message", "no such table")], "cannot migrate until all streams are running: -80: 200"),
        (&[("state", "Copying")], "cannot migrate until all streams are running: -80: 200"),
        (&[("workflow", "")], "VReplication streams must have named workflows for migration: shard: ks:-80"),
        (&[("workflow_type", "5"), ("state", "Stopped")], "cannot migrate until all streams are running: -80: 200"),
        (&[("workflow_type", "5")], "a schema migration is at work on ks/-80: let m end, or cancel it"),
        (
            &[("source", r#"keyspace:"c" shard:"0" filter:{rules:{match:"t3" filter:"-80"}}"#)],
            "blsIsReference: table t3 not found in vschema",
        ),
        (
            &[("source", r#"keyspace:"c" shard:"0" filter:{rules:{match:"t1" filter:"-80"} rules:{match:"ref"}}"#)],
            "blsIsReference: cannot reshard streams with a mix of reference and sharded tables: keyspace:\"c\" shard:\"0\" filter:{rules:{match:\"t1\" filter:\"-80\"} rules:{match:\"ref\"}}",
        ),
        (
            &[("source", r#"keyspace:"c" shard:"0" filter:{rules:{match:"t1" filter:"update t set a=1"}}"#)],
            "unexpected query: update t set a=1",
        ),
        (
            &[("source", r#"keyspace:"c" shard:"0" filter:{rules:{match:"t1" filter:"-80" later:1}}"#)],
            "the source of stream 1 of m cannot be read: -80: it has fields that this build does not know",
        ),
        (&[("source", "what?")], "the source of stream 1 of m cannot be read: -80: column source: "),
    ];
    for (columns, want) in cases {
        let mut live = outside();
        set(&mut live, OLD, "m", columns);
        let text = is_refused(&mut live);
        let want = format!("failed to migrate the workflow streams: {want}");
        assert!(text == want || want.ends_with(": ") && text.starts_with(&want), "{text}");
        // Reads alone are no matter of theirs.
        done(&mut live, &[TabletType::Replica], 0, false);
    }
    let mut live = outside();
    live.servers.get_mut(OLD).unwrap().copying = vec![1];
    let want = "failed to migrate the workflow streams: cannot migrate while vreplication streams in source shards are still copying: -80";
    assert_eq!(is_refused(&mut live), want);
}

/// The second would have been waited for before the first has written its last rows.
#[test]
fn streams_within_the_keyspace_of_which_one_reads_what_the_other_writes_are_refused() {
    let mut live = with_references(cluster());
    let mut record: Keyspace = live.record("global", "keyspaces/ks/VSchema");
    for table in ["t2", "t3"] {
        record.tables.insert(table.into(), record.tables["t1"].clone());
    }
    live.put("global", "keyspaces/ks/VSchema", record.encode_to_vec());
    live.stream(OLD, "first", &reads("ks", "-80", "t2", "select * from t1"), 0);
    let mut apart = live.clone();
    live.stream(OLD, "second", &reads("ks", "-80", "t3", "select * from t2"), 0);
    let text = is_refused(&mut live);
    assert!(
        text.ends_with(
            "workflow second reads table t2, which first writes on the same shards: stop and delete one of them first"
        ),
        "{text}"
    );
    apart.stream(OLD, "second", &reads("commerce", "0", "t3", "select * from t2"), 0);
    done(&mut apart, &ALL, 0, false);
}

#[test]
fn a_stream_on_the_target_that_no_switch_has_made_is_not_written_over() {
    let mut live = outside();
    live.stream(LEFT, "m", &reads("commerce", "0", "t1", "-40"), 0);
    let text = is_refused(&mut live);
    let want = "failed to migrate the workflow streams: workflow m has a stream on the target already, which no switch has made: -40: 2 (Running)";
    assert_eq!(text, want);
}

#[test]
fn what_is_not_known_of_them_is_a_reason_not_to_begin() {
    let mut live = outside();
    live.broken.push((format!("{OLD} VReplicationExec select distinct vrepl_id"), "no answer".into()));
    let text = is_refused(&mut live);
    assert!(text.contains("no answer") && text.contains("nothing was changed"), "{text}");
}

fn lines(live: &mut Live) -> Vec<String> {
    let reply = live.run(&call(&[TabletType::Primary], 0, true)).unwrap();
    WorkflowSwitchTrafficResponse::decode(reply.result.unwrap().as_slice()).unwrap().dry_run_results
}

// B22, TR-38.
#[test]
fn a_dry_run_has_the_lines_of_the_reference_and_those_that_it_does_not_come_to_print() {
    let mut live = outside();
    let before = live.clone();
    let lines = lines(&mut live);
    let source = reads("commerce", "0", "t1", "select * from t1");
    let made = |range| reads("commerce", "0", "t1", &format!("select * from t1 where in_keyrange(id, 'hash', '{range}')"));
    let position = format!("{UUID}:1-99");
    let (left, right) = (made("-40"), made("40-80"));
    let want = [
        format!(
            r#"Stop streams on keyspace ks: [id:1;keyspace:commerce;shard:0;rules:rules:{{match:"t1" filter:"select * from t1"}};position:{position}]"#
        ),
        "Wait for vreplication on stopped streams to catchup for up to 30s".into(),
        "Migrate streams to ks:".into(),
        format!("Migrate source streams: [shard:-80;id:1;workflow:m;position:{position};binlogsource:{source}]"),
        format!(
            "Create target streams (as stopped): [keyspace:ks;shard:-40;tablet:400;workflow:m;id:1,position:{position};binlogsource:{left},keyspace:ks;shard:40-80;tablet:500;workflow:m;id:1,position:{position};binlogsource:{right}]"
        ),
        "Create reverse vreplication workflow r_reverse".into(),
    ];
    assert_eq!(lines[2..8], want, "{lines:#?}");
    assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers));
    // What stands still already is not stopped.
    set(&mut live, OLD, "m", &[("state", "Stopped"), ("message", "FROZEN")]);
    assert!(self::lines(&mut live).iter().all(|line| !line.starts_with("Stop streams")));
}

#[test]
fn the_plan_has_every_call_and_is_the_same_wherever_the_streams_are() {
    use StepWay::{Back, Forward};
    let preview = |live: &mut Live| {
        let mut wanted = call(&ALL, 0, false);
        wanted.options.mode = vtflow_planner::Mode::Preview;
        live.run(&wanted).unwrap().written.unwrap().plan
    };
    let plan = preview(&mut beside());
    let steps: Vec<(&str, StepWay, usize)> = plan
        .steps
        .iter()
        .map(|step| (step.name.as_str(), step.way, step.writes))
        .filter(|(name, ..)| name.contains("streams of other") || name.contains("within"))
        .collect();
    let want = [
        ("stop streams of other workflows", Back, 1),
        ("read where the streams of other workflows are", Back, 0),
        ("copy the streams of other workflows", Back, 4),
        ("wait for the streams within the keyspace and stop them", Back, 1),
        ("copy the streams within the keyspace", Back, 4),
        ("start the streams of other workflows on the target", Forward, 2),
        ("delete the streams of other workflows on the source", Forward, 1),
    ];
    assert_eq!(steps, want);
    let mut moved = beside();
    set(&mut moved, OLD, "m", &[("pos", &format!("MySQL56/{UUID}:1-120"))]);
    assert_eq!(preview(&mut moved), plan);
    let begins = "'<position of stream 1 of ks/-80>'";
    assert_eq!(plan.writes.iter().filter(|write| write.statement.contains(begins)).count(), 2);
}

/// Whoever starts the copies of a switch that died.
#[test]
fn a_repair_leaves_copies_the_place_where_they_are_to_stop() {
    let mut before = outside();
    let stop = format!("MySQL56/{UUID}:1-5000");
    set(&mut before, OLD, "m", &[("stop_pos", &stop)]);
    let mut started = 0;
    for number in before_journal(&before, 0) + 1..writes_of(&before, 0) {
        let mut live = dead_at(&before, number, 0);
        if !wrong(&live, "ks", "r").contains(&"stream_copies_stopped".to_owned()) {
            continue;
        }
        started += 1;
        let only = vec!["stream_copies_stopped".into()];
        let wanted = RepairRequest { only, ..request(("ks", "r", "forward")) };
        repair(&mut live, &wanted).unwrap().result.unwrap();
        for alias in [LEFT, RIGHT] {
            assert_eq!(live.rows(alias, "m", &["state", "stop_pos"]), [["Running", &stop]], "dead at {number}");
        }
        assert!(live.rows(OLD, "m", &["id"]).is_empty());
    }
    assert!(started > 0);
}

/// The numbers of a switch's writes that are before its journal.
pub(crate) fn before_journal(live: &Live, direction: i32) -> usize {
    let (mut whole, mut found) = (live.clone(), None);
    whole.writes = 0;
    run(&mut whole, &call(&ALL, direction, false), |live, ask| {
        if matches!(&ask.what, What::TabletCall { about, .. } if about.statement.contains("insert into _vt.resharding_journal")) {
            found.get_or_insert(live.writes);
        }
        None
    });
    found.unwrap()
}

pub(crate) fn writes_of(live: &Live, direction: i32) -> usize {
    let mut whole = live.clone();
    whole.writes = 0;
    done(&mut whole, &ALL, direction, false);
    whole.writes
}

pub(crate) fn dead_at(before: &Live, number: usize, direction: i32) -> Live {
    let mut live = before.clone();
    live.writes = 0;
    live.faults.insert(number, Fault::Killed);
    assert!(live.run(&call(&ALL, direction, false)).is_none(), "write {number}");
    live.faults.clear();
    live
}

#[test]
fn whatever_fails_before_the_journal_is_taken_back_and_after_it_is_gone_on_from() {
    let before = beside();
    let was = seen(&before);
    let mut whole = before.clone();
    done(&mut whole, &ALL, 0, false);
    let last = before_journal(&before, 0);
    for fault in [Fault::Refused, Fault::LostBefore, Fault::LostAfter, Fault::NotSent] {
        for number in 0..writes_of(&before, 0) {
            let mut live = before.clone();
            live.faults.insert(number, fault);
            let result = live.run(&call(&ALL, 0, false)).unwrap().result;
            live.faults.clear();
            let now = seen(&live);
            if let Err(status) = result {
                let is_whole = now.0 == was.0 && now.2 == was.2;
                assert!(is_whole || number >= last, "{fault:?} at {number}: {status}\n{now:#?}");
                done(&mut live, &ALL, 0, false);
            }
            assert_eq!(seen(&live), seen(&whole), "{fault:?} at {number}");
        }
    }
}

#[test]
fn streams_that_do_not_come_to_their_end_keep_nobody_from_writing() {
    let mut live = beside();
    let was = seen(&live);
    live.broken.push((format!("{OLD} VReplicationWaitForPos"), "context deadline exceeded".into()));
    let text = refused(&mut live, &ALL, 0);
    let want = "failed to stop the workflow streams in the ks keyspace: error waiting for intra-keyspace materialization workflow inner \
                to catch up: context deadline exceeded";
    assert_eq!(text, want);
    assert_eq!((seen(&live).0, seen(&live).2), (was.0, was.2));
    assert!(!live.servers[OLD].is_off);
}

// B16.
#[test]
fn what_is_taken_back_starts_only_what_was_stopped_for_it() {
    let mut live = beside();
    let before = live.rows(OLD, "f", &["id", "source", "pos", "state", "message"]);
    live.broken.push((format!("{LEFT} VReplicationWaitForPos"), "too slow".into()));
    refused(&mut live, &ALL, 0);
    assert_eq!(live.rows(OLD, "f", &["id", "source", "pos", "state", "message"]), before);
    assert_eq!(live.rows(OLD, "m", &["state", "message"]), [["Running", ""]]);
    for alias in [LEFT, RIGHT] {
        for name in ["m", "inner", "f"] {
            assert!(live.rows(alias, name, &["id"]).is_empty(), "{alias} {name}");
        }
    }
}

/// What joins the two shards again.
pub(crate) fn switched() -> Live {
    let mut live = beside();
    done(&mut live, &ALL, 0, false);
    live.writes = 0;
    live.log.clear();
    live
}

#[test]
fn what_was_split_is_joined_with_its_streams_at_one_position() {
    let mut live = switched();
    let position = |last: u32| format!("MySQL56/{UUID}:1-{last}");
    set(&mut live, LEFT, "m", &[("pos", &position(130))]);
    set(&mut live, RIGHT, "m", &[("pos", &position(127))]);
    done(&mut live, &ALL, 1, false);
    let mut was = beside();
    // Each has its condition by now.
    let own = "select * from t1 where in_keyrange(id, 'hash', '-80')";
    set(&mut was, OLD, "m", &[("source", &reads("commerce", "0", "t1", own))]);
    let sorted = |mut rows: Vec<Vec<String>>| {
        rows.sort();
        rows
    };
    let of = |live: &Live, name: &str| sorted(live.rows(OLD, name, &STATE));
    for name in ["m", "inner", "f", "whole"] {
        assert_eq!(of(&live, name), of(&was, name), "{name}");
    }
    assert_eq!(live.rows(OLD, "m", &["pos"]), [[position(130)]]);
    assert_eq!(live.rows(OLD, "inner", &["pos"]), [["MySQL56/uuid200:1-100"]]);
    for alias in [LEFT, RIGHT] {
        for name in ["m", "inner", "f"] {
            assert!(live.rows(alias, name, &["id"]).is_empty(), "{alias} {name}");
        }
    }
    let run_on: Vec<&String> = live.log.iter().filter(|line| line.contains("synchronizing for cutover")).collect();
    let want = format!(
        "{RIGHT} VReplicationExec update _vt.vreplication set state='Running', stop_pos='{}', message='synchronizing for cutover' where id=2",
        position(130)
    );
    assert_eq!(run_on, [&want], "only what is behind runs on");
}

#[test]
fn streams_that_have_no_common_position_are_not_joined() {
    let mut live = switched();
    let was = seen(&live);
    set(&mut live, LEFT, "m", &[("pos", "MySQL56/65b309ae-eb92-11f1-97ea-02fc00000001:1-130")]);
    set(&mut live, RIGHT, "m", &[("pos", "MySQL56/75b309ae-eb92-11f1-97ea-02fc00000001:1-130")]);
    let text = refused(&mut live, &ALL, 1);
    assert!(text.contains("commerce:0: streams of m stand where none has all of the others: "), "{text}");
    assert_eq!(seen(&live), was);
}

#[test]
fn streams_that_differ_between_the_shards_are_not_joined() {
    let mut live = switched();
    set(&mut live, RIGHT, "m", &[("source", &reads("commerce", "0", "t1", "select id from t1"))]);
    let before = live.clone();
    let text = refused(&mut live, &ALL, 1);
    assert_eq!(text, "failed to migrate the workflow streams: streams are mismatched across source shards: -40 vs 40-80");
    assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers));
    // TR-131: a shard without any is not compared.
    live.servers.get_mut(RIGHT).unwrap().streams.retain(|row| row["workflow"] == "r");
    done(&mut live, &ALL, 1, false);
    assert_eq!(live.rows(OLD, "m", &["state"]), [["Running"]]);
}

/// As a vtctld leaves them: between its steps, with its own rows.
#[test]
fn what_a_vtctld_has_left_half_way_is_finished() {
    let mut whole = outside();
    done(&mut whole, &ALL, 0, false);
    // Stopped, or running up to a position only; and copies of an earlier try.
    for (state, message, stop) in [("Stopped", "for cutover", ""), ("Running", "synchronizing for cutover", "MySQL56/a:1-3")] {
        let mut live = outside();
        set(&mut live, OLD, "m", &[("state", state), ("message", message), ("stop_pos", stop)]);
        live.stream(LEFT, "m", &reads("commerce", "0", "t1", "-40"), 0);
        set(&mut live, LEFT, "m", &[("state", "Stopped")]);
        let mut back = live.clone();
        done(&mut live, &ALL, 0, false);
        assert_eq!(seen(&live), seen(&whole), "{message}");
        done(&mut back, &ALL, 1, false);
        assert_eq!(seen(&back), seen(&outside()), "{message}");
    }
    // Behind the journal: its copies stand still, its originals are there.
    let journal = before_journal(&outside(), 0) + 1;
    for number in journal..writes_of(&outside(), 0) {
        let mut live = dead_at(&outside(), number, 0);
        for alias in [LEFT, RIGHT] {
            set(&mut live, alias, "m", &[("workflow_type", "0"), ("options", "{}"), ("cell", "")]);
        }
        done(&mut live, &ALL, 0, false);
        assert_eq!(seen(&live), seen(&whole), "dead at {number}");
    }
}

// TR-132.
#[test]
fn a_stream_of_the_reshard_itself_on_a_shard_that_it_splits_is_refused() {
    let mut live = cluster();
    live.stream(OLD, "r", r#"keyspace:"ks" shard:"-80" filter:{rules:{match:"/.*" filter:"-80"}}"#, 4);
    is_refused(&mut live);
}
