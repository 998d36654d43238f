//! Wherever a way back of writes dies: what is told, whom it hurts, and that each way out ends it.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use vtflow_planner::{
    Call,
    proto::{
        topodata::{Shard, SrvKeyspace, TabletType},
        vtflow::{DiagnosedWorkflow, RepairRequest, repair_action::Action},
    },
};

use super::cases::{diagnosis, differs, repair, request, wrong};
use crate::{
    support::live::{Fault, Live},
    switch, switch_kinds, switch_shards,
};

/// A workflow whose writes are switched, and the requests that take them back and there.
struct Case {
    name: &'static str,
    switched: Live,
    back: Call,
    there: Call,
    of: (&'static str, &'static str),
    /// Primaries of the keyspace that writes come from at first, and of the one that they went to.
    source: Vec<&'static str>,
    target: Vec<&'static str>,
}

fn cases() -> Vec<Case> {
    let settled = |mut live: Live| {
        live.log.clear();
        live.writes = 0;
        live
    };
    let mut partial = switch_kinds::partial();
    partial.run(&switch_kinds::call(&[switch::PRIMARY], 0, false)).unwrap().result.unwrap();
    let mut resharded = switch_shards::cluster();
    resharded.run(&switch_shards::call(&[TabletType::Primary], 0, false)).unwrap().result.unwrap();
    let tables = |name, types: &[i32]| Case {
        name,
        switched: settled(switch::switched()),
        back: switch::call(&switch::back(types)),
        there: switch::call(&switch::request(types)),
        of: ("customer", "c2c"),
        source: vec![switch::COMMERCE],
        target: vec![switch::LEFT, switch::RIGHT],
    };
    vec![
        tables("writes", &[switch::PRIMARY]),
        tables("reads and writes", &switch::ALL),
        Case {
            name: "some shards",
            switched: settled(partial),
            back: switch_kinds::call(&[switch::PRIMARY], 1, false),
            there: switch_kinds::call(&[switch::PRIMARY], 0, false),
            of: ("tgt", "w"),
            source: vec!["zone1-0000000100"],
            target: vec!["zone1-0000000200"],
        },
        Case {
            name: "reshard",
            switched: settled(resharded),
            back: switch_shards::call(&[TabletType::Primary], 1, false),
            there: switch_shards::call(&[TabletType::Primary], 0, false),
            of: ("ks", "r"),
            source: vec!["zone1-0000000200"],
            target: vec!["zone1-0000000400", "zone1-0000000500"],
        },
    ]
}

impl Case {
    fn told(&self, live: &Live) -> DiagnosedWorkflow {
        diagnosis(live, self.of.0, self.of.1).workflows.remove(0)
    }

    fn messages(&self, live: &Live, is_reverse: bool) -> Vec<[String; 2]> {
        let name = if is_reverse { format!("{}_reverse", self.of.1) } else { self.of.1.to_owned() };
        let on = if is_reverse { &self.source } else { &self.target };
        let rows = on.iter().flat_map(|alias| live.rows(alias, &name, &["state", "message"]));
        rows.map(|row| [row[0].clone(), row[1].clone()]).collect()
    }

    fn is_journaled(&self, live: &Live) -> bool {
        self.target.iter().any(|alias| live.servers[*alias].journals.len() > self.switched.servers[*alias].journals.len())
    }

    /// Whether a record says that a shard of the target takes no writes.
    fn is_closed(&self, live: &Live) -> bool {
        let is_denied = |alias: &&str| {
            let server = &live.servers[*alias];
            let record: Shard = live.record("global", &format!("keyspaces/{}/shards/{}/Shard", server.keyspace, server.shard));
            record.tablet_controls.iter().any(|it| !it.denied_tables.is_empty())
        };
        let is_off = |(cell, path): &(String, String)| {
            let shards: Vec<&str> = self.target.iter().map(|alias| live.servers[*alias].shard.as_str()).collect();
            let served = if path.ends_with("/SrvKeyspace") { live.record(cell, path) } else { SrvKeyspace::default() };
            let of_primary = served.partitions.iter().filter(|part| part.served_type() == TabletType::Primary);
            let mut controls = of_primary.flat_map(|part| &part.shard_tablet_controls);
            controls.any(|it| it.query_service_disabled && shards.contains(&it.name.as_str()))
        };
        self.target.iter().any(is_denied) || live.topo.keys().any(is_off)
    }

    /// The half that a death before write `at` leaves; `None`: it is done by then.
    fn half(&self, at: usize) -> Option<Live> {
        let mut live = self.switched.clone();
        live.faults.insert(at, Fault::Killed);
        let is_dead = live.run(&self.back).is_none();
        live.faults.clear();
        is_dead.then_some(live)
    }
}

/// All but those of reads, which are moved before writes are, and are as told as ever.
fn mechanisms(of: &DiagnosedWorkflow) -> Vec<&str> {
    of.deviations.iter().map(|it| it.mechanism.as_str()).filter(|it| !it.starts_with("read_rules_")).collect()
}

#[test]
fn wherever_a_way_back_dies_it_is_told_and_each_way_out_ends_it() {
    for case in cases() {
        assert_eq!(wrong(&case.switched, case.of.0, case.of.1), Vec::<String>::new(), "{}", case.name);
        let (mut before, mut after) = (0, 0);
        for (at, live) in (0..).map_while(|at| Some((at, case.half(at)?))) {
            let found = case.told(&live);
            let context = format!("{}, dead at {at}: {found:#?}\n{:#?}", case.name, live.log);
            assert_eq!(found.unknown, Vec::<String>::new(), "{context}");
            let (forward, reverse) = (case.messages(&live, false), case.messages(&live, true));
            let is_frozen = |it: &[String; 2]| it[1] == "FROZEN";
            let is_new = |it: &[String; 2]| it[0] == "Stopped" && it[1].is_empty();
            let is_held = reverse.iter().any(|it| it[1] == "stopped for cutover");
            let mut again = live.clone();
            let said = again.run(&case.back).unwrap().result;
            if reverse.iter().all(is_frozen) {
                assert_eq!((found.phase.as_str(), mechanisms(&found)), ("reversed", vec![]), "{context}");
                continue;
            }
            assert!(said.is_ok(), "{said:?} {context}");
            assert_eq!(
                (case.told(&again).phase.as_str(), wrong(&again, case.of.0, case.of.1)),
                ("reversed", vec![]),
                "{context}"
            );
            if case.is_journaled(&live) {
                after += 1;
                assert_eq!(found.phase, "back_stopped_after_journal", "{context}");
                assert!(mechanisms(&found).contains(&"reversal_not_finished"), "{context}");
                case.ends_after_the_journal(&live, &context);
            } else if case.is_closed(&live) || is_held || forward.iter().any(is_new) {
                before += 1;
                assert_eq!(found.phase, "back_stopped_before_journal", "{context}");
                assert_eq!(mechanisms(&found), ["reversal_interrupted"], "{context}");
                let hurts = found.deviations.iter().find(|it| it.mechanism == "reversal_interrupted").unwrap().hurts.clone();
                assert_eq!(hurts.contains("are refused"), case.is_closed(&live), "{context}");
                case.is_given_up(&live, &context);
            } else {
                assert_eq!(found.phase, "writes_switched", "{context}");
                assert!(mechanisms(&found).iter().all(|it| *it == "source_open"), "{context}");
            }
        }
        assert!(before > 3 && after > 3, "{}: {before} {after}", case.name);
    }
}

impl Case {
    /// Before the journal: the switch, or a repair, makes it as it was.
    fn is_given_up(&self, live: &Live, context: &str) {
        for direction in ["switch", "back"] {
            let mut live = live.clone();
            let said = match direction {
                "switch" => live.run(&self.there).unwrap().result.map(drop),
                _ => repair(&mut live, &request((self.of.0, self.of.1, direction))).unwrap().result.map(drop),
            };
            assert!(said.is_ok(), "{direction}: {said:?} {context}");
            assert_eq!(wrong(&live, self.of.0, self.of.1), Vec::<String>::new(), "{direction}: {context}");
            let is_of_reads = |text: &String| text.contains("RoutingRules") || text.contains("SrvVSchema");
            let other: Vec<String> = differs(&live, &self.switched);
            // A repair leaves reads that have come back already.
            let other: Vec<String> = other.into_iter().filter(|it| direction == "switch" || !is_of_reads(it)).collect();
            assert_eq!(other, Vec::<String>::new(), "{direction}: {context}");
            assert!(live.servers.values().all(|server| !server.is_off || server.shard == "-80"), "{direction}: {context}");
            // And nothing is left that would speak against another way back.
            live.run(&self.back).unwrap().result.unwrap();
            assert_eq!(wrong(&live, self.of.0, self.of.1), Vec::<String>::new(), "{direction}: {context}");
        }
    }

    /// After it nothing leads to where it was, and a repair does only what is left once writes have come back.
    fn ends_after_the_journal(&self, live: &Live, context: &str) {
        let found = self.told(live);
        let ways = found.deviations.iter().flat_map(|it| &it.repairs);
        assert!(ways.clone().all(|it| it.direction != "back"), "{context}");
        let mut actions = ways.flat_map(|it| &it.actions);
        assert!(actions.any(|it| matches!(it.action, Some(Action::RunAgain(_)))), "{context}");
        let mut wanted = request((self.of.0, self.of.1, "back"));
        wanted.only = vec!["reversal_not_finished".into()];
        let mut still = live.clone();
        let text = repair(&mut still, &wanted).unwrap().result.unwrap_err().message;
        assert!(text.contains("the only way leads forward"), "{text}: {context}");
        let mut mended = live.clone();
        wanted.direction = "forward".into();
        let reply = repair(&mut mended, &wanted).unwrap();
        match reply.result {
            Ok(_) => assert!(mechanisms(&self.told(&mended)).iter().all(|it| it.starts_with("cell_serves_old_")), "{context}"),
            Err(status) => {
                let command = format!("vtflow workflow reverse {} {} --tablet-types=primary", self.of.0, self.of.1);
                assert!(status.message.contains(&command), "{status}: {context}");
                assert_eq!((&mended.topo, &mended.servers), (&live.topo, &live.servers), "{context}");
            }
        }
        if mechanisms(&found).contains(&"cell_serves_old_shards") {
            // One of the target that read what its cell serves now would take the writes that other cells still send it.
            let mut asked = live.clone();
            let refresh = RepairRequest { refresh: true, ..request((self.of.0, self.of.1, "forward")) };
            let text = format!("{:?}", repair(&mut asked, &refresh).unwrap().result);
            assert!(
                text.contains("its tablets are not refreshed before reversal_not_finished is put right"),
                "{text}: {context}"
            );
            assert_eq!((&asked.topo, &asked.servers), (&live.topo, &live.servers), "{context}");
        }
        // Whoever would go forward now, or end it, is refused until it is finished, or does not mind.
        let mut other = live.clone();
        if let Err(status) = other.run(&self.there).unwrap().result {
            assert_eq!((&other.topo, &other.servers), (&live.topo, &live.servers), "{status}: {context}");
        }
    }
}
