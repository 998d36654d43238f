//! Whatever is refused, in whatever phase, means something that can be done next, and that is done in that phase.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use vtflow_planner::{Call, proto::topodata::TabletType};

use crate::{
    forward::{cancelled, completed, mirrored, stocked, with_tables},
    repair::cases::diagnosis,
    support::live::{Fault, Live},
    switch, switch_shards,
};

/// The commands, by their names.
type Commands = BTreeMap<&'static str, Call>;

/// What a refusal says, and which commands that means: one of them is accepted. None: it can never be done.
const MEANT: &[(&str, &[&str])] = &[
    ("switch its traffic again to finish that", &["switch"]),
    ("switch the traffic, which finishes it", &["switch"]),
    ("switch the traffic first", &["switch"]),
    ("reverse its traffic again", &["reverse"]),
    ("reverse the traffic first", &["reverse"]),
    ("switch them back first", &["reverse"]),
    ("you have not yet switched all read and write traffic", &["switch"]),
    ("you have already switched write traffic", &["complete", "reverse"]),
    ("there is nothing to bring back", &["switch"]),
    // Of the streams of the way back: traffic was not switched, or its workflow is being ended.
    ("no streams found in keyspace", &["switch", "cancel", "complete"]),
    // Nobody tells these from streams that somebody has stopped.
    ("Stopped; start the workflow first", &["cancel"]),
    ("its traffic has been switched at some time", &["switch", "reverse", "complete"]),
    ("traffic for those tablet types is switched", &["reverse", "complete", "switch"]),
    ("streams are not frozen on tablet", &["switch", "reverse"]),
    ("workflow is frozen", &["complete", "reverse"]),
    ("being cancelled: cancel it again", &["cancel"]),
    ("complete it again", &["complete"]),
    ("invalid action for Reshard workflow: MirrorTraffic", &[]),
];

/// A state by its phase, one of each: those that whole commands leave, and those that one leaves that dies.
fn phases(start: &Live, of: (&str, &str), commands: &Commands, whole: &[&[&'static str]]) -> BTreeMap<String, Live> {
    let mut found: BTreeMap<String, Live> = BTreeMap::new();
    let phase = |live: &Live| diagnosis(live, of.0, of.1).workflows[0].phase.clone();
    for way in whole {
        let mut live = start.clone();
        for name in way.split_last().unwrap().1 {
            live.run(&commands[name]).unwrap().result.unwrap();
        }
        (live.writes, live.log) = (0, Vec::new());
        found.entry(phase(&live)).or_insert_with(|| live.clone());
        let last = &commands[way.last().unwrap()];
        let mut done = live.clone();
        done.run(last).unwrap().result.unwrap();
        // Every other call, and the last ones: no phase is as short as one.
        for at in (0..done.writes).filter(|at| at % 2 == 0 || at + 4 > done.writes) {
            let mut half = live.clone();
            half.faults.insert(at, Fault::Killed);
            assert!(half.run(last).is_none());
            half.faults.clear();
            found.entry(phase(&half)).or_insert(half);
        }
        found.entry(phase(&done)).or_insert(done);
    }
    found
}

fn tables() -> (Live, Commands) {
    let commands = [
        ("switch", switch::call(&switch::request(&switch::ALL))),
        ("switch reads", switch::call(&switch::request(&[switch::REPLICA, switch::RDONLY]))),
        ("reverse", switch::call(&switch::back(&switch::ALL))),
        ("complete", completed("customer", "c2c", |_| ()).call()),
        ("cancel", cancelled("customer", "c2c", |_| ()).call()),
        ("mirror", mirrored(&switch::ALL, 5.0).call()),
    ];
    (stocked(switch::cluster()), commands.into())
}

fn shards() -> (Live, Commands) {
    let all = [TabletType::Replica, TabletType::Rdonly, TabletType::Primary];
    let mirror = vtflow_planner::proto::vtctldata::WorkflowMirrorTrafficRequest {
        keyspace: "ks".into(),
        workflow: "r".into(),
        tablet_types: switch::ALL.to_vec(),
        percent: 5.0,
    };
    let mirror = Call { request: prost::Message::encode_to_vec(&mirror), ..mirrored(&switch::ALL, 5.0).call() };
    let commands = [
        ("switch", switch_shards::call(&all, 0, false)),
        ("switch reads", switch_shards::call(&all[..2], 0, false)),
        ("reverse", switch_shards::call(&all, 1, false)),
        ("complete", completed("ks", "r", |_| ()).call()),
        ("cancel", cancelled("ks", "r", |_| ()).call()),
        ("mirror", mirror),
    ];
    let mut live = switch_shards::cluster();
    with_tables(&mut live, &["zone1-0000000200", "zone1-0000000400", "zone1-0000000500"], &["t1"]);
    (live, commands.into())
}

#[test]
fn every_refusal_means_something_that_can_be_done() {
    let whole: [&[&str]; 5] =
        [&["switch"], &["switch reads", "switch"], &["switch", "reverse"], &["switch", "complete"], &["switch reads", "reverse"]];
    let mut wrong = Vec::new();
    for ((start, commands), of, wanted) in [(tables(), ("customer", "c2c"), 10), (shards(), ("ks", "r"), 8)] {
        let mut states = phases(&start, of, &commands, &whole);
        let cancelling = phases(&start, of, &commands, &[&["cancel"]]).into_iter().filter(|(phase, _)| phase == "ending");
        states.extend(cancelling.map(|(phase, live)| (format!("{phase} by a cancellation"), live)));
        let names: BTreeSet<&String> = states.keys().collect();
        assert!(names.len() >= wanted, "{names:?}");
        for (phase, live) in &states {
            if phase == "ended" {
                continue;
            }
            for (name, call) in commands.iter().filter(|(name, _)| **name != "switch reads") {
                let mut tried = live.clone();
                let Err(status) = tried.run(call).unwrap().result else { continue };
                let context = format!("{} {phase}: {name}: {}", of.1, status.message);
                if (&tried.topo, &tried.servers) != (&live.topo, &live.servers) {
                    wrong.push(format!("something was changed: {context}"));
                }
                let Some((_, meant)) = MEANT.iter().find(|(text, _)| status.message.contains(text)) else {
                    wrong.push(format!("nobody knows what to do: {context}"));
                    continue;
                };
                let is_accepted = |next: &&str| {
                    let mut after = live.clone();
                    let is_done = after.run(&commands[*next]).unwrap().result.is_ok();
                    is_done && (&after.topo, &after.servers) != (&live.topo, &live.servers)
                };
                if !meant.is_empty() && !meant.iter().any(is_accepted) {
                    wrong.push(format!("none of {meant:?} is accepted: {context}"));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "{wrong:#?}");
}
