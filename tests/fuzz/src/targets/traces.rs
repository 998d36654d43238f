//! The file of a trace: read, replayed, redacted, explained; whatever is in it.

use vtflow::trace_file;
use vtflow_planner::{
    Flow, explain,
    trace::{Trace, replay},
};
use vtflow_screen as screen;

use crate::{flow, world::WORLDS};

/// A line of the file.
pub(super) fn run(data: &[u8]) {
    let line = String::from_utf8_lossy(data);
    let trace = match trace_file::parse(&line) {
        Ok(trace) => trace,
        Err(error) => {
            assert!(!error.is_empty(), "{error}");
            return;
        }
    };
    let json = serde_json::to_string(&trace).expect("a trace is data");
    assert_eq!(trace_file::parse(&json), Ok(trace.clone()), "what was written is read");
    for traced in &trace.asks {
        let words = screen::asked(&traced.ask.what);
        let _ = (words, screen::waited_for(&traced.ask.what), screen::answered(traced.answer.as_ref()));
        if let Some(answer) = &traced.answer {
            let _ = screen::answer_rows(&traced.ask.what, answer);
        }
    }
    let asks: Vec<_> = trace.asks.iter().map(|traced| traced.ask.clone()).collect();
    let _ = explain::Plan::new(&trace.call.path, &asks, Vec::new()).text();
    let replayed = replay(&mut Flow::start(&trace.call, trace.now), &trace);
    let reply = replayed.reply.expect("a replay ends");
    flow::check_reply(&trace.call, &reply);
    // Redacted, it comes to its own reply, whatever it lacks.
    let redacted = trace.redacted(|call, now| Box::new(Flow::start(call, now)));
    let replayed = replay(&mut Flow::start(&redacted.call, redacted.now), &redacted);
    assert_eq!(replayed.reply, redacted.reply, "of a redacted trace");
    assert!(redacted.redacted);
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for world in WORLDS.iter() {
        for (number, trace) in world.traces.iter().enumerate() {
            let mut trace: Trace = trace.clone();
            let name = trace.call.path.rsplit('/').next().unwrap_or_default().to_owned();
            let json = serde_json::to_vec(&trace).expect("a trace is data");
            if json.len() < 10_000 {
                seeds.push((format!("{}-{number}-{name}", world.name), json));
            }
            // Cut after a few asks: the same forms in less.
            trace.asks.truncate(4);
            let json = serde_json::to_vec(&trace).expect("a trace is data");
            if json.len() < 6_000 {
                seeds.push((format!("{}-{number}-{name}-cut", world.name), json));
            }
        }
    }
    seeds
}
