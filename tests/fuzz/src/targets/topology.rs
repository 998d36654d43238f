//! Records of the topology that hold anything, under any name: read by each request that reads records.

use vtflow_planner::{Answer, Ask, Call, CallOptions, Flow, Record, What, rpc, serve, topo::names};

use crate::{
    flow::{self, Order},
    input::{Input, Output},
    world::{WORLDS, World},
};

/// Requests that read records, with a message each.
const CALLS: &[(&str, &[u8])] = &[
    (rpc::GET_KEYSPACES, b""),
    (rpc::FIND_ALL_SHARDS_IN_KEYSPACE, b"\x0a\x08customer"),
    (rpc::GET_TABLETS, b""),
    ("/vtctlservice.Vtctld/GetTablets", b"\x0a\x08customer\x12\x03-80"),
    ("/vtctlservice.Vtctld/GetKeyspace", b"\x0a\x08customer"),
    ("/vtctlservice.Vtctld/GetShard", b"\x0a\x08customer\x12\x03-80"),
    ("/vtctlservice.Vtctld/GetCellInfoNames", b""),
    ("/vtctlservice.Vtctld/GetCellsAliases", b""),
    ("/vtctlservice.Vtctld/GetCellInfo", b"\x0a\x05zone1"),
    ("/vtctlservice.Vtctld/GetSrvVSchemas", b""),
    ("/vtctlservice.Vtctld/GetSrvKeyspaces", b"\x0a\x08customer"),
    ("/vtctlservice.Vtctld/GetVSchema", b"\x0a\x08customer"),
    ("/vtctlservice.Vtctld/GetRoutingRules", b""),
    ("/vtctlservice.Vtctld/GetShardRoutingRules", b""),
    ("/vtctlservice.Vtctld/GetKeyspaceRoutingRules", b""),
    ("/vtctlservice.Vtctld/GetMirrorRules", b""),
    ("/vtctlservice.Vtctld/GetTablet", b"\x0a\x09\x0a\x05zone1\x10\xc8\x01"),
    (rpc::GET_WORKFLOWS, b"\x0a\x08customer"),
    (rpc::WORKFLOW_STATUS, b"\x0a\x08customer\x12\x09move_big2"),
    (rpc::SNAPSHOT, b"\x0a\x08customer"),
    (rpc::GET_TOPOLOGY_PATH, b"\x0a\x01/"),
];

/// `call`, `order`; then records, each its path (the number of one that is there, or a new one) and its value.
pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let world = &WORLDS[0];
    let which = input.below(CALLS.len() + 1);
    let order = Order::of(input.byte());
    let strict = input.byte() & 1 == 1;
    let mut records: Vec<(String, String, Vec<u8>)> = Vec::new();
    for _ in 0..12 {
        if input.is_empty() {
            break;
        }
        let (cell, path) = match input.byte() {
            255 => (if input.byte() & 1 == 0 { "global" } else { "zone1" }.to_owned(), input.text()),
            number => world.record(usize::from(number)),
        };
        records.push((cell, path, input.bytes().to_vec()));
    }
    let (path, request) = CALLS.get(which).map_or_else(
        || {
            // The record itself, also as JSON.
            let of = records.last().map_or_else(String::new, |(cell, path, _)| format!("/{cell}/{path}"));
            let request =
                vtflow_planner::proto::vtctldata::GetTopologyPathRequest { path: of, as_json: true, ..Default::default() };
            (rpc::GET_TOPOLOGY_PATH, prost::Message::encode_to_vec(&request))
        },
        |(path, request)| (*path, request.to_vec()),
    );
    let call = Call { path: path.to_owned(), request, options: CallOptions { strict, ..CallOptions::default() } };
    let replies = [Order::First, order].map(|order| {
        let driven =
            flow::drive(&mut Flow::start(&call, world.now), order, |ask, _, times| Some(answer(world, ask, times, &records)));
        driven.check(&call);
        // Whatever records say, no ask leaves its directory.
        for (ask, _) in &driven.asks {
            let path = match &ask.what {
                What::TopoGet { path, .. }
                | What::TopoPut { path, .. }
                | What::TopoDelete { path, .. }
                | What::TopoLock { path, .. } => path,
                What::TopoRange { prefix, .. } | What::TopoList { prefix, .. } => prefix,
                What::TabletCall { tablet, .. } => {
                    assert!(names::parse_alias(&tablet.alias).is_ok(), "{tablet:?}");
                    continue;
                }
                _ => continue,
            };
            let is_plain = |element: &str| !matches!(element, "." | "..") && !element.chars().any(char::is_control);
            let is_ours = call.path != rpc::GET_TOPOLOGY_PATH;
            assert!(!is_ours || path.split('/').all(is_plain), "{path:?}");
        }
        driven.reply
    });
    assert_eq!(replies[0], replies[1], "{order:?}");
    let _ = serve::serves(&call.path, &call.request);
}

fn answer(world: &World, ask: &Ask, times: usize, records: &[(String, String, Vec<u8>)]) -> Answer {
    match (&ask.what, world.answer(ask, times)) {
        (What::TopoGet { cell, path }, answer) => {
            let found = records.iter().rfind(|(of, at, _)| of == cell && at == path);
            found.map_or(answer, |(_, _, value)| Answer::Found { value: value.clone(), version: 7 })
        }
        (What::TopoRange { cell, prefix } | What::TopoList { cell, prefix }, answer) => {
            let has_values = matches!(ask.what, What::TopoRange { .. });
            let mut all = if let Answer::Range(all) = &answer { all.clone() } else { Vec::new() };
            for (_, path, value) in records.iter().filter(|(of, path, _)| of == cell && path.starts_with(prefix)) {
                all.retain(|record| record.path != *path);
                all.push(Record { path: path.clone(), value: if has_values { value.clone() } else { Vec::new() }, version: 7 });
            }
            if all.is_empty() { answer } else { Answer::Range(all) }
        }
        (_, answer) => answer,
    }
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let world = &WORLDS[0];
    let mut seeds = Vec::new();
    for which in 0..=CALLS.len() {
        for number in 0..world.records_count() {
            let value = world.value(number);
            // One seed for each record, and one call for each, in turn.
            if number % (CALLS.len() + 1) == which && value.len() < 2_000 {
                let number = u8::try_from(number).unwrap_or(0);
                let seed = Output::default().byte(u8::try_from(which).unwrap_or(0)).byte(1).byte(0).byte(number).bytes(&value);
                seeds.push((format!("{which:02}-{number}"), seed.0));
            }
        }
        let seed = Output::default().byte(u8::try_from(which).unwrap_or(0)).byte(1).byte(0);
        let seed = seed.byte(255).byte(0).bytes(b"keyspaces/a b/shards/80-/Shard").bytes(b"\x12\x09\x0a\x05zone1\x10\x64");
        seeds.push((format!("{which:02}-new"), seed.0));
    }
    seeds
}
