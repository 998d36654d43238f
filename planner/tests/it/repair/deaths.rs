//! Wherever a switch of writes dies, a repair brings the traffic back, as long as nothing is final.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use prost::Message;
use vtflow_planner::proto::topodata::Shard;

use super::cases::{diagnosis, differs, repair, request, response, unswitched, wrong};
use crate::{
    forward::{cancelled, stocked},
    support::{live::Fault, recorded::moment},
    switch,
};

#[test]
fn wherever_a_switch_of_writes_dies_before_its_journal_a_repair_takes_it_back() {
    let wanted = switch::call(&switch::request(&[switch::PRIMARY]));
    let before = unswitched();
    let mut whole = before.clone();
    whole.run(&wanted).unwrap().result.unwrap();
    let (mut back, mut past) = (0, 0);
    for at in 0..whole.writes {
        let mut live = before.clone();
        live.faults.insert(at, Fault::Killed);
        assert!(live.run(&wanted).is_none());
        live.faults.clear();
        let phase = diagnosis(&live, "customer", "c2c").workflows[0].phase.clone();
        let reply = repair(&mut live, &request(("customer", "c2c", "back"))).unwrap();
        let context = format!("write {at}, {phase}: {reply:#?}");
        if live.servers[switch::COMMERCE].journals.is_empty() {
            back += 1;
            assert!(reply.result.is_ok(), "{context}");
            assert_eq!(wrong(&live, "customer", "c2c"), Vec::<String>::new(), "{context}");
            // Stored text of a rule of the other direction and ids of streams aside, it is as it was.
            assert_eq!(differs(&live, &before), Vec::<String>::new(), "{context}");
        } else if phase == "stopped_after_journal" {
            past += 1;
            assert!(wrong(&live, "customer", "c2c").iter().all(|it| it != "writes_closed"), "{context}");
        }
    }
    assert!(back > 8 && past > 2, "{back} {past}");
}

/// The crashes of a vtctld that were recorded.
#[test]
fn recorded_crashes_before_the_journal_are_taken_back() {
    for step in ["20-mt-crash-after-denied", "31-mt-crash-waitpos"] {
        let mut live = moment(step, "after");
        let reply = repair(&mut live, &request(("customer", "c2c", "back"))).unwrap();
        let said = response(&reply);
        assert_eq!(wrong(&live, "customer", "c2c"), Vec::<String>::new(), "{step}: {said:#?}");
        let phase = diagnosis(&live, "customer", "c2c").workflows[0].phase.clone();
        assert!(["not_switched", "reversed"].contains(&phase.as_str()), "{step}: {phase}");
        assert!(live.servers[switch::COMMERCE].denied.is_empty(), "{step}");
    }
}

#[test]
fn after_the_journal_a_repair_leads_nowhere_but_to_the_command() {
    let mut live = moment("34-mt-crash-journal", "after");
    for (direction, want) in [
        ("", "vtflow workflow switch customer c2c --tablet-types=primary"),
        ("forward", "vtflow workflow switch customer c2c --tablet-types=primary"),
        ("back", "the only way leads forward"),
    ] {
        let before = live.clone();
        let mut wanted = request(("customer", "c2c", direction));
        wanted.only = vec!["journal_without_routing".into()];
        let text = repair(&mut live, &wanted).unwrap().result.unwrap_err().message;
        assert!(text.contains(want), "{direction}: {text}");
        assert_eq!((&live.topo, &live.servers), (&before.topo, &before.servers), "{direction}");
    }
}

/// Until the target is open, streams that stand still may be anybody's.
#[test]
fn a_cancellation_that_has_opened_the_target_is_told_until_it_has_ended() {
    let wanted = cancelled("customer", "c2c", |_| ()).call();
    let before = stocked(unswitched());
    let mut whole = before.clone();
    whole.run(&wanted).unwrap().result.unwrap();
    let mut told = 0;
    for at in 0..whole.writes {
        let mut live = before.clone();
        live.faults.insert(at, Fault::Killed);
        assert!(live.run(&wanted).is_none());
        live.faults.clear();
        let is_open = |shard: &&str| {
            let (record, _) = &live.topo[&("global".to_owned(), format!("keyspaces/customer/shards/{shard}/Shard"))];
            Shard::decode(record.as_slice()).unwrap().tablet_controls.is_empty()
        };
        let has_streams = live.servers.values().any(|server| !server.streams.is_empty());
        if !has_streams || !["-80", "80-"].iter().any(is_open) {
            continue;
        }
        told += 1;
        let found = diagnosis(&live, "customer", "c2c").workflows.remove(0);
        let mechanisms: Vec<&str> = found.deviations.iter().map(|it| it.mechanism.as_str()).collect();
        assert_eq!((found.phase.as_str(), mechanisms.contains(&"deletion_interrupted")), ("ending", true), "{at}: {found:#?}");
        let text = repair(&mut live, &request(("customer", "c2c", ""))).unwrap();
        let left = format!("{:?} {:?}", text.result, text.written);
        assert!(left.contains("vtflow workflow cancel customer c2c"), "{at}: {left}");
        live.run(&wanted).unwrap().result.unwrap();
        assert_eq!(wrong(&live, "customer", "c2c"), Vec::<String>::new(), "{at}");
    }
    assert!(told > 6, "{told}");
}
