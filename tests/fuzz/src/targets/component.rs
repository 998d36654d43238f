//! The component's boundary: every value that crosses it comes out as it went in. A planner in the sandbox and the one that is linked in
//! are asked the same and must say the same, whatever the answers hold.

use std::{fs, sync::LazyLock};

use vtflow_component::{Limits, Planner};
use vtflow_planner::{Answer, Ask, AskId, Call, DIGEST, Failure, Flow, FlowHandle, Reply, Timestamp};

use super::{
    answers::{self, Scenario},
    stranger,
};
use crate::{flow, input::Input, world::folder};

/// The planner that `cargo xtask component` made; `None`: there is none, or it was made of other sources, and so need not say the same.
pub(super) static PLANNER: LazyLock<Option<Planner>> = LazyLock::new(|| {
    let bytes = fs::read(folder().join("../../dist/planner.wasm")).ok()?;
    let limits = Limits { fuel: 2_000_000_000, memory: 64 << 20 };
    let planner = Planner::new("planner.wasm", &bytes, limits).expect("our own component");
    Some(planner).filter(|planner| planner.build().digest == DIGEST)
});

/// Two planners that are told the same.
struct Twins<'a> {
    linked: Flow,
    sandboxed: &'a mut dyn FlowHandle,
}

impl FlowHandle for Twins<'_> {
    fn asks(&mut self) -> Vec<Ask> {
        let asks = self.linked.asks();
        assert_eq!(self.sandboxed.asks(), asks);
        asks
    }

    fn answer(&mut self, id: AskId, answer: Answer) -> bool {
        let is_taken = self.sandboxed.answer(id, answer.clone());
        assert_eq!(self.linked.answer(id, answer), is_taken);
        is_taken
    }

    fn failures(&mut self) -> Vec<Failure> {
        let failures = self.linked.failures();
        assert_eq!(self.sandboxed.failures(), failures);
        failures
    }

    fn end(&mut self) -> Option<Reply> {
        let reply = self.linked.end();
        assert_eq!(self.sandboxed.end(), reply);
        reply
    }
}

/// A planner that says what stands in the input, or two planners with the input of the target `answers`.
pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() % 4 == 3 { stranger::run(input.rest()) } else { twins(input) }
}

fn twins(input: Input<'_>) {
    let Some(planner) = &*PLANNER else { return };
    let scenario = Scenario::of(input);
    let start = |call: &Call, now: Timestamp| planner.start(call, now);
    let mut sandboxed = start(&scenario.call, scenario.world.now);
    let mut twins = Twins { linked: Flow::start(&scenario.call, scenario.world.now), sandboxed: &mut sandboxed };
    let mut number = 0;
    flow::drive(&mut twins, scenario.order, |ask, _, times| {
        number += 1;
        scenario.answer(number - 1, ask, times)
    });
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let with = |first: u8, seeds: Vec<(String, Vec<u8>)>| {
        seeds.into_iter().map(move |(name, seed)| (format!("{first}-{name}"), [vec![first], seed].concat()))
    };
    with(0, answers::seeds()).chain(with(3, stranger::seeds())).collect()
}
