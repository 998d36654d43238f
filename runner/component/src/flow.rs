//! One flow in a store of its own.

use vtflow_planner::{Answer, Ask, AskId, Call, Code, Effect, Failure, FlowHandle, Reply, Status, Timestamp, What};
use wasmtime::{Store, StoreLimits, component::ResourceAny};

use crate::{Planner, wit};

/// A flow that runs in wasmtime, or one that has been stopped by a trap.
pub(crate) struct Flow {
    planner: Planner,
    running: Result<Running, String>,
    /// Asks that are out: a flow that has been stopped ends when the last of them is answered, as every flow does.
    outstanding: usize,
    /// Whether it asked for a change: what became of that, a flow that has been stopped cannot say.
    has_written: bool,
}

struct Running {
    store: Store<StoreLimits>,
    instance: wit::Planner,
    flow: ResourceAny,
}

impl Planner {
    /// Begins a request, in a store of its own. Never fails: what goes wrong becomes the reply.
    pub fn start(&self, call: &Call, now: Timestamp) -> impl FlowHandle + use<> {
        Flow::start(self, call, now)
    }
}

impl Flow {
    fn start(planner: &Planner, call: &Call, now: Timestamp) -> Self {
        let begin = || -> wasmtime::Result<Running> {
            let (mut store, instance) = planner.instance()?;
            let now = wit::exports::vtflow::planner::planning::Timestamp { seconds: now.seconds, nanos: now.nanos };
            let flow = instance.vtflow_planner_planning().flow().call_constructor(&mut store, &call.clone().into(), now)?;
            Ok(Running { store, instance, flow })
        };
        Self {
            planner: planner.clone(),
            running: begin().map_err(|error| planner.trapped(&error)),
            outstanding: 0,
            has_written: false,
        }
    }

    /// Runs a step. A trap ends the flow: a component is in no state to go on after it.
    fn step<T>(&mut self, step: impl FnOnce(&mut Running) -> wasmtime::Result<T>) -> Option<T> {
        let Ok(running) = &mut self.running else { return None };
        match step(running) {
            Ok(value) => Some(value),
            Err(error) => {
                self.running = Err(self.planner.trapped(&error));
                None
            }
        }
    }
}

impl FlowHandle for Flow {
    fn asks(&mut self) -> Vec<Ask> {
        let asks =
            self.step(|running| running.instance.vtflow_planner_planning().flow().call_asks(&mut running.store, running.flow));
        let asks: Vec<Ask> = asks.unwrap_or_default().into_iter().map(Into::into).collect();
        self.outstanding += asks.len();
        self.has_written |= asks.iter().any(is_write);
        asks
    }

    fn answer(&mut self, id: AskId, answer: Answer) -> bool {
        let taken = self.step(|running| {
            let answer = answer.into();
            running.instance.vtflow_planner_planning().flow().call_answer(&mut running.store, running.flow, id.0, &answer)
        });
        if taken != Some(false) {
            self.outstanding = self.outstanding.saturating_sub(1);
        }
        taken.unwrap_or(false)
    }

    fn failures(&mut self) -> Vec<Failure> {
        let failures = self
            .step(|running| running.instance.vtflow_planner_planning().flow().call_failures(&mut running.store, running.flow));
        failures.unwrap_or_default().into_iter().map(Into::into).collect()
    }

    fn end(&mut self) -> Option<Reply> {
        let reply =
            self.step(|running| running.instance.vtflow_planner_planning().flow().call_end(&mut running.store, running.flow));
        let internal = |message: String| Reply::new(Err(Status { code: Code::Internal, message }), Vec::new());
        match (reply, &self.running) {
            (Some(reply), _) => reply.map(|reply| reply.try_into().unwrap_or_else(internal)),
            (None, Err(stopped)) if self.outstanding == 0 => {
                let look = "; changes had been asked for before: look at what became of them before you repeat it";
                Some(internal(format!("{stopped}{}", if self.has_written { look } else { "" })))
            }
            (None, _) => None,
        }
    }
}

fn is_write(ask: &Ask) -> bool {
    matches!(ask.what, What::TopoPut { .. } | What::TopoDelete { .. } | What::TabletCall { effect: Effect::Write, .. })
}
