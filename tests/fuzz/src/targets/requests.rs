//! Any bytes as the request of any RPC that is served, over a recorded cluster.

use vtflow_planner::{Call, CallOptions, Flow, Mode, rpc, serve};

use crate::{
    flow::{self, Order},
    input::{Input, Output},
    world::{CALLS, WORLDS},
};

/// The paths that can be chosen. The last ones are our own, and one that is nobody's.
fn paths() -> Vec<&'static str> {
    let own = [rpc::SNAPSHOT, rpc::VEXEC, "/vtctlservice.Vtctld/Backup"];
    serve::SERVED.iter().map(|served| served.path).chain(own).collect()
}

/// `world`, `path`, `options`, `order`, and the request.
pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let worlds = &*WORLDS;
    let world = &worlds[input.below(worlds.len())];
    let paths = paths();
    let path = (*input.one(&paths)).to_owned();
    let options = options(&mut input);
    let order = Order::of(input.byte());
    let call = Call { path, request: input.rest().to_vec(), options };
    let _ = serve::serves(&call.path, &call.request);
    let mut driven = [Order::First, order].map(|order| {
        let driven = flow::drive(&mut Flow::start(&call, world.now), order, |ask, _, times| Some(world.answer(ask, times)));
        driven.check(&call);
        driven
    });
    let replies = driven.each_mut().map(|driven| driven.reply.take());
    assert_eq!(replies[0], replies[1], "{order:?}: another reply than in the order of asks");
}

/// What the caller wants besides, from two bytes.
pub(super) fn options(input: &mut Input<'_>) -> CallOptions {
    let bits = input.byte();
    let mode = match bits & 3 {
        0 | 1 => Mode::Perform,
        2 => Mode::Preview,
        _ => Mode::Planned("0".repeat(64)),
    };
    let shards = if bits & 16 == 0 { Vec::new() } else { vec!["-80".to_owned()] };
    let reply_bytes = u64::from(input.byte()) * 100;
    CallOptions { strict: bits & 4 != 0, mode, force: bits & 8 != 0, shards, reply_bytes }
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (at, (world, call)) in CALLS.iter().enumerate() {
        let mut path = paths().iter().position(|path| *path == call.path).unwrap_or(0);
        let name = call.path.rsplit('/').next().unwrap_or_default();
        let world = u8::try_from(*world).unwrap_or(0);
        let mut put = |path: usize, more: &str| {
            let Output(mut seed) = Output::default().byte(world).byte(u8::try_from(path).unwrap_or(0)).byte(0).byte(0).byte(1);
            seed.extend(&call.request);
            seeds.push((format!("{at:02}-{name}{more}"), seed));
        };
        put(path, "");
        // The sisters of a migration's RPC have the same request.
        if call.path == rpc::CANCEL_SCHEMA_MIGRATION {
            for _ in 0..5 {
                path += 1;
                put(path, &format!("-{path}"));
            }
        }
    }
    // Reads of records, whose requests are a name or two.
    for (at, path) in paths().iter().enumerate().filter(|(_, path)| path.contains("/Get") || path.contains("/Find")) {
        let name = path.rsplit('/').next().unwrap_or_default();
        for (number, request) in
            [&b""[..], b"\x0a\x08customer", b"\x0a\x08customer\x12\x03-80", b"\x0a\x05zone1"].iter().enumerate()
        {
            let Output(mut seed) = Output::default().byte(0).byte(u8::try_from(at).unwrap_or(0)).byte(0).byte(0).byte(1);
            seed.extend(*request);
            seeds.push((format!("read-{name}-{number}"), seed));
        }
    }
    for (number, args) in
        [["Workflow", "customer.move_big2", "show"], ["Workflow", "customer", "listall"], ["OnlineDDL", "customer", "show"]]
            .iter()
            .enumerate()
    {
        let at = paths().iter().position(|path| *path == rpc::EXECUTE_VTCTL_COMMAND).unwrap_or(0);
        let Output(mut seed) = Output::default().byte(0).byte(u8::try_from(at).unwrap_or(0)).byte(0).byte(0).byte(1);
        for arg in args {
            seed.push(0x0a);
            seed.push(u8::try_from(arg.len()).unwrap_or(0));
            seed.extend(arg.as_bytes());
        }
        seeds.push((format!("command-{number}"), seed));
    }
    seeds
}
