//! While writes are refused: which asks refuse them and which end it, what is said when nothing ends it, and how many asks in a row it takes.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use vtflow_planner::{
    Ask, Call, CallOptions, Flow, Reply, What,
    contract::{Refuses, Turn},
    proto::{
        topodata::{KeyRange, ShardReference, SrvKeyspace, TabletType, srv_keyspace::KeyspacePartition},
        vschema::{ColumnVindex, Keyspace, RoutingRule, RoutingRules, SrvVSchema, Table, Vindex},
        vtctldata::WorkflowSwitchTrafficRequest,
    },
    rpc,
};

use crate::{
    forward::{self, completed, mirrored},
    support::{
        NOW,
        live::{Fault, Live},
    },
    switch::{self, ALL, COMMERCE, PRIMARY, RDONLY, REPLICA, back, call, done, journal_at, request, switched, writes_of},
    switch_shards,
};

/// Runs a request to its end; also gives every ask in the order in which they were released.
fn asked(live: &mut Live, call: &Call) -> (Vec<Ask>, Reply) {
    let mut flow = Flow::start(call, NOW);
    let (mut all, mut at) = (flow.asks(), 0);
    while let Some(ask) = all.get(at).cloned() {
        let answer = live.perform(&ask).expect("nobody dies");
        assert!(flow.answer(ask.id, answer));
        all.extend(flow.asks());
        at += 1;
    }
    (all, flow.into_reply().unwrap())
}

/// What an ask is, without what is long.
fn subject(ask: &Ask) -> String {
    match &ask.what {
        What::TopoPut { path, .. } => format!("put {}", path.rsplit('/').next().unwrap()),
        What::TabletCall { path, about, .. } => {
            let method = path.rsplit('/').next().unwrap();
            let words: Vec<&str> = about.statement.split([' ', '(']).take(2).collect();
            if words == [""] { method.to_owned() } else { words.join(" ") }
        }
        other => format!("{other:?}"),
    }
}

/// Of each ask that refuses writes or ends that: which, whose shard, and what it is.
fn gates(asks: &[Ask]) -> Vec<(Turn, String, String)> {
    let gate = |ask: &Ask| ask.gate.as_ref().map(|gate| (gate.turn, format!("{}/{}", gate.keyspace, gate.shard), subject(ask)));
    asks.iter().filter_map(gate).collect()
}

fn gate(turn: Turn, place: &str, subject: &str) -> (Turn, String, String) {
    (turn, place.into(), subject.into())
}

fn refuses(reply: &Reply) -> Option<Refuses> {
    reply.written.as_ref().unwrap().plan.refuses.clone()
}

/// Shards that refuse writes in the end, as the reply says.
fn refused(reply: &Reply) -> Vec<String> {
    reply.written.as_ref().map(|written| written.refused.clone()).unwrap_or_default()
}

#[test]
fn writes_are_refused_when_the_sources_primary_knows_and_taken_when_the_cells_serve_the_rules() {
    let mut live = switch::cluster();
    let (asks, reply) = asked(&mut live, &call(&request(&ALL)));
    let closed = gate(Turn::Closes, "commerce/0", "RefreshState");
    let opened = gate(Turn::Opens, "commerce/", "put SrvVSchema");
    assert_eq!(gates(&asks), [closed, opened.clone(), opened], "of two cells");
    let tables = vec!["corder".to_owned(), "customer".to_owned()];
    let want = Refuses { keyspace: "commerce".into(), shards: vec!["0".into()], tables: tables.clone(), before: vec![] };
    assert_eq!((refuses(&reply), refused(&reply)), (Some(want), vec![]));

    // Back: the two shards that have taken them are closed, each by itself.
    let (asks, reply) = asked(&mut live, &call(&back(&ALL)));
    let closed = ["customer/-80", "customer/80-"].map(|shard| gate(Turn::Closes, shard, "RefreshState"));
    let opened = gate(Turn::Opens, "customer/", "put SrvVSchema");
    assert_eq!(gates(&asks), [&closed[..], &[opened.clone(), opened]].concat());
    let shards = vec!["-80".to_owned(), "80-".to_owned()];
    assert_eq!(refuses(&reply), Some(Refuses { keyspace: "customer".into(), shards, tables, before: vec![] }));
}

#[test]
fn a_shard_that_is_split_refuses_all_writes_until_the_cells_serve_its_parts() {
    let mut live = switch_shards::cluster();
    let (asks, reply) = asked(&mut live, &switch_shards::call(&[TabletType::Primary], 0, false));
    let opened = gate(Turn::Opens, "ks/", "put SrvKeyspace");
    assert_eq!(gates(&asks), [gate(Turn::Closes, "ks/-80", "RefreshState"), opened.clone(), opened]);
    let want = Refuses { keyspace: "ks".into(), shards: vec!["-80".into()], tables: vec![], before: vec![] };
    assert_eq!((refuses(&reply), refused(&reply)), (Some(want), vec![]));
}

#[test]
fn what_refuses_no_writes_says_so() {
    let quiet = |live: &mut Live, call: &Call| {
        let (asks, reply) = asked(live, call);
        assert!(reply.result.is_ok(), "{reply:?}");
        assert_eq!((gates(&asks), refuses(&reply), refused(&reply)), (vec![], None, vec![]));
    };
    let mut live = forward::stocked(switch::cluster());
    quiet(&mut live, &mirrored(&[PRIMARY], 5.0).call());
    quiet(&mut live, &call(&request(&[REPLICA, RDONLY])));
    done(&mut live, &request(&[PRIMARY]));
    quiet(&mut live, &call(&request(&[PRIMARY])));
    quiet(&mut live, &completed("customer", "c2c", |_| {}).call());
}

/// Whether the source's primary refuses the tables, and some cell sends writes to it.
fn is_refusing(live: &Live) -> bool {
    let leads_there = |cell: &str| {
        let served: SrvVSchema = live.record(cell, "SrvVSchema");
        let rules = served.routing_rules.unwrap_or_default().rules;
        rules.iter().any(|rule| rule.from_table == "corder" && rule.to_tables == ["commerce.corder"])
    };
    !live.servers[COMMERCE].denied.is_empty() && ["zone1", "zone2"].into_iter().any(leads_there)
}

#[test]
fn whatever_fails_a_source_that_refuses_writes_in_the_end_is_named() {
    let before = switch::cluster();
    let wanted = request(&[PRIMARY]);
    let (mut shut, mut open) = (0, 0);
    for at in 0..writes_of(&before, &wanted) + 3 {
        let alone = [Fault::Refused, Fault::LostAfter, Fault::LostBefore, Fault::NotSent].map(|fault| (fault, 0));
        // With everything after it refused: nothing can be taken back then.
        for (fault, after) in alone.into_iter().chain([(Fault::Refused, 40)]) {
            let mut live = before.clone();
            live.faults.insert(at, fault);
            live.faults.extend((at + 1..at + 1 + after).map(|at| (at, Fault::Refused)));
            let reply = live.run(&call(&wanted)).unwrap();
            let said = refused(&reply);
            let text = reply.result.map_err(|status| status.message);
            if is_refusing(&live) {
                shut += 1;
                assert_eq!(said, ["0"], "{fault:?} at {at}, {after} more: {text:?}");
            } else if after == 0 && fault != Fault::LostBefore {
                // Where nothing could be looked at again, or taken back, it may be: nobody knows.
                open += 1;
                assert!(said.is_empty(), "{fault:?} at {at}: {text:?}");
            }
        }
    }
    assert!(shut > 10 && open > 20, "{shut} {open}");
}

#[test]
fn who_goes_on_with_a_switch_that_died_says_that_writes_were_refused_before() {
    let before = switch::cluster();
    let wanted = request(&[PRIMARY]);
    let mut live = before.clone();
    live.faults.insert(journal_at(&before, &wanted) + 1, Fault::Killed);
    assert!(live.run(&call(&wanted)).is_none());
    assert!(is_refusing(&live));
    live.faults.clear();
    let mut broken = live.clone();
    broken.faults.insert(broken.writes, Fault::Refused);
    let (asks, reply) = asked(&mut live, &call(&wanted));
    let opened = gate(Turn::Opens, "commerce/", "put SrvVSchema");
    assert_eq!(gates(&asks), [opened.clone(), opened]);
    assert_eq!((refuses(&reply).unwrap().before, refused(&reply)), (vec!["0".to_owned()], vec![]));
    let (_, reply) = asked(&mut broken, &call(&wanted));
    assert!(reply.result.is_err() && is_refusing(&broken));
    assert_eq!(refused(&reply), ["0"]);

    // Before the journal, back: the source is opened, and nothing is closed.
    let mut live = before.clone();
    live.faults.insert(journal_at(&before, &wanted), Fault::Killed);
    assert!(live.run(&call(&wanted)).is_none());
    live.faults.clear();
    let (asks, reply) = asked(&mut live, &call(&back(&[PRIMARY])));
    assert_eq!(gates(&asks), [gate(Turn::Opens, "commerce/0", "RefreshState")]);
    assert_eq!((refuses(&reply).unwrap().before, refused(&reply)), (vec!["0".to_owned()], vec![]));
    assert!(!is_refusing(&live));
}

#[test]
fn denied_tables_behind_a_switch_keep_nobody_out() {
    let mut live = switched();
    let (asks, reply) = asked(&mut live, &call(&request(&ALL)));
    assert!(reply.result.is_ok());
    assert_eq!((gates(&asks), refuses(&reply)), (vec![], None));
}

/// Names of `count` shards of equal parts, with their ranges.
fn shards(count: usize) -> Vec<(String, KeyRange)> {
    let bytes = |part: usize| if part.is_multiple_of(count) { vec![] } else { vec![u8::try_from(part * 256 / count).unwrap()] };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let shard = |part: usize| {
        let (start, end) = (bytes(part), bytes(part + 1));
        (format!("{}-{}", hex(&start), hex(&end)), KeyRange { start, end })
    };
    (0..count).map(shard).collect()
}

fn vschema() -> Vec<u8> {
    let vindex = ColumnVindex { column: "id".into(), name: "hash".into(), columns: vec![] };
    let keyspace = Keyspace {
        sharded: true,
        vindexes: BTreeMap::from([("hash".into(), Vindex { r#type: "hash".into(), ..Vindex::default() })]),
        tables: BTreeMap::from([("t1".into(), Table { column_vindexes: vec![vindex], ..Table::default() })]),
        ..Keyspace::default()
    };
    keyspace.encode_to_vec()
}

/// `t1` moves from 64 shards to 64 others.
fn wide_move() -> Live {
    let mut live = Live::default();
    for (keyspace, first) in [("from", 100), ("to", 300)] {
        for (uid, (shard, range)) in (first..).zip(shards(64)) {
            live.shard(keyspace, &shard, "zone1", uid, &format!("uuid{uid}"), Some(range));
        }
        live.put("global", &format!("keyspaces/{keyspace}/VSchema"), vschema());
    }
    let rules: Vec<RoutingRule> = ["", "@replica", "@rdonly"]
        .into_iter()
        .flat_map(|of| ["", "from.", "to."].map(|from| format!("{from}t1{of}")))
        .map(|from_table| RoutingRule { from_table, to_tables: vec!["from.t1".into()] })
        .collect();
    let rules = RoutingRules { rules };
    live.put("global", "RoutingRules", rules.encode_to_vec());
    for cell in ["zone1", "zone2"] {
        live.cell(cell);
        let served = SrvVSchema { routing_rules: Some(rules.clone()), ..SrvVSchema::default() };
        live.put(cell, "SrvVSchema", served.encode_to_vec());
    }
    for (uid, (shard, _)) in (300..).zip(shards(64)) {
        let filter = format!("select * from t1 where in_keyrange(id, 'to.hash', '{shard}')");
        let source = format!(r#"keyspace:"from" shard:"{shard}" filter:{{rules:{{match:"t1" filter:"{filter}"}}}}"#);
        live.stream(&format!("zone1-{uid:010}"), "c2c", &source, 1);
    }
    live
}

/// 64 shards are split into two each.
fn wide_split() -> Live {
    let mut live = Live::default();
    let (old, new) = (shards(64), shards(128));
    for (uid, (shard, range)) in (100..).zip(old.iter().chain(&new)) {
        live.shard("ks", shard, "zone1", uid, &format!("uuid{uid}"), Some(range.clone()));
    }
    for (shard, _) in &new {
        let path = format!("keyspaces/ks/shards/{shard}/Shard");
        let record: vtflow_planner::proto::topodata::Shard = live.record("global", &path);
        let record = vtflow_planner::proto::topodata::Shard { is_primary_serving: false, ..record };
        live.put("global", &path, record.encode_to_vec());
    }
    live.put("global", "keyspaces/ks/VSchema", vschema());
    let reference = |(name, range): &(String, KeyRange)| ShardReference { name: name.clone(), key_range: Some(range.clone()) };
    let part = |of: i32| KeyspacePartition {
        served_type: of,
        shard_references: old.iter().map(reference).collect(),
        shard_tablet_controls: Vec::new(),
    };
    let served = SrvKeyspace { partitions: ALL.map(part).to_vec(), ..SrvKeyspace::default() };
    for cell in ["zone1", "zone2"] {
        live.cell(cell);
        live.put(cell, "keyspaces/ks/SrvKeyspace", served.encode_to_vec());
        let served = SrvVSchema { routing_rules: Some(RoutingRules::default()), ..SrvVSchema::default() };
        live.put(cell, "SrvVSchema", served.encode_to_vec());
    }
    for (place, (uid, (shard, _))) in (164..).zip(&new).enumerate() {
        let source = &old[place / 2].0;
        let source = format!(r#"keyspace:"ks" shard:"{source}" filter:{{rules:{{match:"/.*" filter:"{shard}"}}}}"#);
        live.stream(&format!("zone1-{uid:010}"), "r", &source, 4);
    }
    live
}

/// What is asked in each round from the one in which writes are first refused to the one after which they are taken: each thing once,
/// with how many shards, streams or cells it is asked of.
fn rounds(asks: &[Ask]) -> Vec<String> {
    let of = |turn: Turn| asks.iter().filter(move |ask| ask.gate.as_ref().is_some_and(|gate| gate.turn == turn));
    let first = of(Turn::Closes).map(|ask| ask.round).min().expect("it is closed");
    let last = of(Turn::Opens).map(|ask| ask.round).max().expect("it is opened");
    let mut rounds: BTreeMap<u32, BTreeMap<String, usize>> = BTreeMap::new();
    for ask in asks.iter().filter(|ask| (first..=last).contains(&ask.round)) {
        *rounds.entry(ask.round).or_default().entry(subject(ask)).or_default() += 1;
    }
    let line = |asked: BTreeMap<String, usize>| asked.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>();
    rounds.into_values().map(|asked| line(asked).join(", ")).collect()
}

/// Each needs what the one before has brought. No shard waits for another but where the streams of all of them must have ended; and
/// however many there are, it is no more rounds than of one.
#[test]
fn writes_of_64_shards_are_refused_for_as_few_asks_in_a_row_as_those_of_one() {
    let request = WorkflowSwitchTrafficRequest { keyspace: "to".into(), ..request(&ALL) };
    let (asks, reply) = asked(&mut wide_move(), &call(&request));
    assert!(reply.result.is_ok(), "{reply:?}");
    let want = [
        "64 RefreshState",
        "64 LOCK TABLES, 64 select sleep",
        "64 LOCK TABLES",
        // Where the source is, once every statement has ended.
        "64 FLUSH OPTIMIZER_COSTS, 64 PrimaryPosition",
        "64 VReplicationWaitForPos",
        "64 update _vt.vreplication",
        // Where the target is, once the streams write nothing more.
        "64 PrimaryPosition",
        "64 insert into",
        // No way back: everything before has to be there.
        "64 insert into",
        "1 put RoutingRules",
        "2 put SrvVSchema",
    ];
    assert_eq!(rounds(&asks), want);
    let few: Vec<usize> = rounds(&asked(&mut switch::cluster(), &call(&switch::request(&ALL))).0)
        .iter()
        .map(|round| round.split(", ").count())
        .collect();
    assert_eq!(few, want.map(|round| round.split(", ").count()), "one shard is moved to two in the same rounds");
}

#[test]
fn writes_of_64_shards_that_are_split_are_refused_for_fewer() {
    let request = switch_shards::call(&[TabletType::Primary], 0, false);
    let (asks, reply) = asked(&mut wide_split(), &request);
    assert!(reply.result.is_ok(), "{reply:?}");
    let want = [
        "64 RefreshState",
        "64 FLUSH OPTIMIZER_COSTS, 64 PrimaryPosition",
        "128 VReplicationWaitForPos",
        "128 update _vt.vreplication",
        "128 PrimaryPosition",
        "128 insert into",
        "64 insert into",
        "192 put Shard, 2 put SrvKeyspace",
    ];
    assert_eq!(rounds(&asks), want);
}

#[test]
fn nothing_that_could_be_prepared_is_asked_while_writes_are_refused() {
    let (asks, _) = asked(&mut switch::cluster(), &call(&request(&ALL)));
    let closed = asks.iter().find(|ask| ask.gate.is_some()).unwrap().round;
    let last = asks.iter().filter(|ask| ask.gate.is_some()).map(|ask| ask.round).max().unwrap();
    let meanwhile: BTreeSet<String> = asks.iter().filter(|ask| (closed..=last).contains(&ask.round)).map(subject).collect();
    for prepared in ["ValidateVReplicationPermissions", "ReadVReplicationWorkflow"] {
        assert!(!meanwhile.contains(prepared), "{meanwhile:?}");
    }
    let reads = asks.iter().filter(|ask| matches!(ask.what, What::TopoGet { .. } | What::TopoRange { .. }));
    assert!(reads.clone().count() > 5);
    for read in reads {
        assert!(!(closed..=last).contains(&read.round), "{read:?}");
    }
}

#[test]
fn a_call_that_is_made_from_the_options_marks_nothing_in_a_preview() {
    let options = CallOptions { mode: vtflow_planner::Mode::Preview, ..CallOptions::default() };
    let preview = Call { options, ..call(&request(&ALL)) };
    assert_eq!(preview.path, rpc::WORKFLOW_SWITCH_TRAFFIC);
    let (asks, reply) = asked(&mut switch::cluster(), &preview);
    assert_eq!(gates(&asks), []);
    assert_eq!(refuses(&reply).unwrap().shards, ["0"], "it says what would be refused");
}
