//! Sequences that are not ahead of their tables: told where tables use them, never wrongly, and raised by a repair.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

use prost::Message;
use vtflow_planner::{
    Ask, Call, CallOptions, Flow, Reply, What,
    proto::{
        vschema::SrvVSchema,
        vtflow::{DiagnoseRequest, DiagnoseResponse, RepairRequest, RepairResponse, repair_action::Action},
    },
    rpc,
};

use crate::{
    support::{
        NOW,
        live::{Fault, Live},
    },
    switch::{ALL, COMMERCE, LEFT, RIGHT, back, done, request},
    switch_sequences::{UUID, holds, raised, sequence, uses, values, vschema, with_sequences},
};

fn call(keyspace: &str, workflow: &str, sequences: bool) -> Call {
    let request = DiagnoseRequest { keyspace: keyspace.into(), workflow: workflow.into(), sequences };
    Call { path: rpc::DIAGNOSE.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn diagnosed(reply: Reply) -> DiagnoseResponse {
    DiagnoseResponse::decode(reply.result.unwrap().as_slice()).unwrap()
}

fn diagnose(live: &mut Live, keyspace: &str) -> (DiagnoseResponse, usize) {
    let before = live.clone();
    let reply = live.run(&call(keyspace, "", true)).unwrap();
    assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers), "it never writes");
    let failures = reply.failures.len();
    (diagnosed(reply), failures)
}

/// What is wrong with sequences: how it is put, and where it is seen.
fn told(found: &DiagnoseResponse) -> Vec<(&str, Vec<&str>)> {
    let behind = found.leftovers.iter().filter(|it| it.mechanism == "sequence_behind");
    behind.map(|it| (it.hurts.as_str(), it.places.iter().map(String::as_str).collect())).collect()
}

/// Writes go to the target, whose orders go up to 55 and whose customers up to 7, and nobody has raised the sequence of orders.
fn switched(orders: Option<i64>) -> Live {
    let mut live = with_sequences();
    done(&mut live, &request(&ALL));
    live.servers.get_mut(COMMERCE).unwrap().sequences.insert("corder_seq".into(), orders);
    live
}

const FAIL_AS_DUPLICATES: &str =
    "inserts into customer.corder fail as duplicates, or give a row the value of another: commerce.corder_seq goes on with 55";

#[test]
fn a_sequence_that_is_not_ahead_of_its_columns_is_told_with_what_raises_it() {
    for keyspace in ["", "customer"] {
        let (found, failures) = diagnose(&mut switched(Some(55)), keyspace);
        let places = vec!["commerce/0 zone1-0000000100 corder_seq goes on with 55", "customer.corder has order_id up to 55"];
        assert_eq!(told(&found), [(FAIL_AS_DUPLICATES, places)]);
        assert_eq!((failures, found.unknown.as_slice()), (0, &[][..]));
        let deviation = found.leftovers.iter().find(|it| it.mechanism == "sequence_behind").unwrap();
        let [repair] = deviation.repairs.as_slice() else { panic!("{deviation:?}") };
        let [action] = repair.actions.as_slice() else { panic!("{repair:?}") };
        let Some(Action::RaiseSequence(raise)) = &action.action else { panic!("{action:?}") };
        assert_eq!(
            (raise.keyspace.as_str(), raise.shard.as_str(), raise.table.as_str(), raise.next),
            ("commerce", "0", "corder_seq", 56)
        );
    }
    let (found, _) = diagnose(&mut switched(None), "");
    let no_row = "inserts into customer.corder that take a value from commerce.corder_seq fail: it has no row";
    assert_eq!(told(&found)[0].0, no_row);
    // The tables are the target's.
    assert_eq!(told(&diagnose(&mut switched(Some(55)), "commerce").0), []);
}

#[test]
fn a_sequence_that_is_ahead_is_well() {
    for next in [56, 57, 10_000] {
        let (found, failures) = diagnose(&mut switched(Some(next)), "");
        assert_eq!((told(&found), failures), (vec![], 0), "{next}");
    }
    // Nobody has a value yet, and it begins with one.
    let mut empty = switched(Some(1));
    for alias in [LEFT, RIGHT] {
        empty.servers.get_mut(alias).unwrap().highest.clear();
    }
    assert_eq!(told(&diagnose(&mut empty, "").0), []);
}

#[test]
fn tables_whose_writes_go_elsewhere_take_no_values() {
    let mut live = switched(Some(55));
    done(&mut live, &back(&ALL));
    assert_eq!(told(&diagnose(&mut live, "").0), []);
}

fn statement(ask: &Ask) -> String {
    if let What::TabletCall { about, .. } = &ask.what { about.statement.clone() } else { String::new() }
}

/// The largest value is read first: what a column has by then its sequence had given away.
#[test]
fn values_that_are_taken_meanwhile_are_no_reason_for_an_alarm() {
    let mut live = switched(Some(56));
    let mut flow = Flow::start(&call("customer", "", true), NOW);
    let mut waiting = flow.asks();
    let (mut highest, mut next) = (56, 57);
    while !waiting.is_empty() {
        // Who could be asked too early is answered first.
        let early = waiting.iter().position(|ask| statement(ask).starts_with("select next_id from"));
        let ask = waiting.remove(early.unwrap_or_default());
        let statement = statement(&ask);
        if statement.starts_with("select max(`order_id`)") || statement.starts_with("select next_id from") {
            // An application has taken a value and written a row with it.
            holds(&mut live, RIGHT, "corder.order_id", &highest.to_string());
            live.servers.get_mut(COMMERCE).unwrap().sequences.insert("corder_seq".into(), Some(next));
            (highest, next) = (highest + 1, next + 1);
        }
        let answer = live.perform(&ask).unwrap();
        assert!(flow.answer(ask.id, answer));
        waiting.extend(flow.asks());
    }
    assert!(highest > 57, "it was asked for both");
    assert_eq!(told(&diagnosed(flow.into_reply().unwrap())), []);
}

#[test]
fn they_are_looked_at_only_where_that_is_asked_for() {
    let mut live = switched(Some(55));
    let is_named =
        |found: &DiagnoseResponse| found.not_looked_at.iter().any(|it| it.starts_with("sequences behind their tables"));
    let (found, _) = diagnose(&mut live, "");
    assert!(!is_named(&found));
    let mut flow = Flow::start(&call("", "", false), NOW);
    let (mut waiting, mut all) = (flow.asks(), Vec::<Ask>::new());
    while let Some(ask) = waiting.pop() {
        assert!(flow.answer(ask.id, live.perform(&ask).unwrap()));
        all.push(ask);
        waiting.extend(flow.asks());
    }
    let found = diagnosed(flow.into_reply().unwrap());
    assert!(is_named(&found) && told(&found).is_empty(), "{found:?}");
    assert!(all.iter().map(statement).all(|it| !it.contains("select max(") && !it.contains("next_id")));
    let refused = live.run(&call("customer", "c2c", true)).unwrap().result.unwrap_err();
    assert_eq!(refused.message, "sequences are looked at of whole keyspaces: name no workflow");
}

#[test]
fn what_cannot_be_read_is_not_known_and_all_else_is_told() {
    let mut live = switched(Some(55));
    holds(&mut live, LEFT, "customer.id", "seven");
    let (found, failures) = diagnose(&mut live, "");
    assert_eq!((told(&found).len(), failures), (1, 1), "{found:?}");
    let [unknown] = found.unknown.as_slice() else { panic!("{found:?}") };
    assert!(
        unknown.contains("the largest value of customer.customer id: the largest value is no whole number: \"seven\""),
        "{unknown}"
    );

    let mut live = switched(Some(55));
    live.broken.push((format!("{COMMERCE} ExecuteFetchAsDba select next_id from `vt_commerce`.`corder_seq`"), "down".into()));
    let (found, failures) = diagnose(&mut live, "");
    assert_eq!((told(&found), failures), (vec![], 1), "{found:?}");
    assert!(found.unknown.iter().any(|why| why.contains("sequence commerce.corder_seq: down")), "{:?}", found.unknown);

    // In no keyspace, and in one of two shards.
    let mut live = switched(Some(55));
    serve(&mut live, |it| {
        let uses = &mut it.keyspaces.get_mut("customer").unwrap().tables.get_mut("corder").unwrap().auto_increment;
        uses.as_mut().unwrap().sequence = "nosuch_seq".into();
    });
    let (found, _) = diagnose(&mut live, "customer");
    assert!(
        found.unknown.contains(&"the sequence of customer.corder: no vschema has nosuch_seq".to_owned()),
        "{:?}",
        found.unknown
    );
    serve(&mut live, |it| {
        let uses = &mut it.keyspaces.get_mut("customer").unwrap().tables.get_mut("corder").unwrap().auto_increment;
        uses.as_mut().unwrap().sequence = "customer.corder_seq".into();
    });
    let (found, _) = diagnose(&mut live, "customer");
    assert!(
        found.unknown.contains(&"customer: a sequence's keyspace has one shard, with a primary".to_owned()),
        "{:?}",
        found.unknown
    );
}

/// Changes what all cells serve.
fn serve(live: &mut Live, change: impl Fn(&mut SrvVSchema)) {
    for cell in ["zone1", "zone2"] {
        let mut served: SrvVSchema = live.record(cell, "SrvVSchema");
        change(&mut served);
        live.put(cell, "SrvVSchema", served.encode_to_vec());
    }
}

#[test]
fn a_sequence_that_is_not_there_is_told_and_not_raised() {
    let mut live = switched(Some(55));
    live.servers.get_mut(COMMERCE).unwrap().sequences.remove("corder_seq");
    let (found, failures) = diagnose(&mut live, "");
    let gone = "inserts into customer.corder that take a value from commerce.corder_seq fail: it is not there";
    assert_eq!((told(&found)[0].0, failures), (gone, 0));
    assert!(found.leftovers.iter().all(|it| it.mechanism != "sequence_behind" || it.repairs.is_empty()), "{found:?}");
}

/// A keyspace that has nothing else to do with the one that is asked about.
fn with_lookup() -> Live {
    let mut live = with_sequences();
    live.shard("lookup", "0", "zone1", 700, UUID, None);
    sequence(&mut live, "lookup", "zone1-0000000700", "ids", Some(3));
    uses(&mut live, "corder", "order_id", "lookup.ids");
    vschema(&mut live, "lookup", |it| it.sharded = false);
    done(&mut live, &request(&ALL));
    live
}

#[test]
fn a_sequence_is_looked_at_in_whatever_keyspace_it_is() {
    let (found, failures) = diagnose(&mut with_lookup(), "customer");
    assert_eq!(failures, 0);
    let places = ["lookup/0 zone1-0000000700 ids goes on with 3", "customer.corder has order_id up to 55"];
    assert_eq!(told(&found)[0].1, places);
}

fn repair(live: &mut Live) -> Option<Reply> {
    let only = vec!["sequence_behind".to_owned()];
    let request = RepairRequest { keyspace: "customer".into(), sequences: true, only, ..RepairRequest::default() };
    let call = Call { path: rpc::REPAIR.into(), request: request.encode_to_vec(), options: CallOptions::default() };
    live.run(&call)
}

/// All but the sequences.
fn besides(live: &Live) -> Live {
    let mut live = live.clone();
    for server in live.servers.values_mut() {
        (server.sequences, server.cached) = Default::default();
    }
    (live.log, live.writes, live.faults) = Default::default();
    live
}

#[test]
fn a_repair_raises_it_and_its_primary_forgets_what_it_took() {
    for orders in [Some(55), None] {
        let mut live = switched(orders);
        live.servers.get_mut(COMMERCE).unwrap().cached.insert("corder_seq".into());
        let before = besides(&live);
        let reply = repair(&mut live).unwrap();
        let said = RepairResponse::decode(reply.result.unwrap().as_slice()).unwrap();
        assert_eq!(said.summary, "customer was repaired");
        assert_eq!(values(&live, COMMERCE), raised());
        assert!(!live.servers[COMMERCE].cached.contains("corder_seq"), "{:?}", live.servers[COMMERCE].cached);
        let after = besides(&live);
        assert_eq!((&after.topo, &after.servers), (&before.topo, &before.servers));
        assert_eq!(told(&said.diagnosis.unwrap()), []);
    }
}

#[test]
fn a_primary_that_cannot_forget_is_found_before_anything_is_raised() {
    let mut live = switched(Some(55));
    live.broken.push(("ResetSequences".into(), "unknown method ResetSequences".into()));
    let refused = repair(&mut live).unwrap().result.unwrap_err();
    let want = "the primary of commerce.corder_seq cannot be told to forget values: ";
    assert!(refused.message.contains(want) && refused.message.contains("unknown method"), "{}", refused.message);
    assert_eq!(values(&live, COMMERCE)[0], ("corder_seq".into(), Some(55)));
}

#[test]
fn a_repair_that_stops_anywhere_is_finished_by_the_same() {
    for write in 0..3 {
        for fault in [Fault::Refused, Fault::NotSent, Fault::LostBefore, Fault::LostAfter, Fault::Killed] {
            let mut live = switched(Some(55));
            let first = live.writes;
            live.faults.insert(first + write, fault);
            let _ = repair(&mut live);
            live.faults.clear();
            let (before, _) = diagnose(&mut live, "customer");
            if !told(&before).is_empty() {
                repair(&mut live).unwrap().result.unwrap_or_else(|status| panic!("{write} {fault:?}: {status}"));
            }
            assert_eq!(values(&live, COMMERCE), raised(), "{write} {fault:?}");
        }
    }
}
