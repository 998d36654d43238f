//! A trace: one flow as it went, as plain data. The call, each ask with its answer and when both happened, and the reply.
//!
//! A host that performs a flow records one; [`replay`] runs a planner over it again, without a cluster. Same planner, same
//! reply, byte for byte; another planner is told apart by what it asks and answers differently. The form is JSON through serde
//! (`docs/traces.md`). Times are the recording host's: the planner never looks at them.

mod redact;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    contract::{Answer, Ask, AskId, Call, FailureKind, Reply, Timestamp, What},
    flow::FlowHandle,
};

/// The version of the form, in [`Trace::vtflow_trace`]. Changes when an older reader would misread a newer trace.
pub const FORMAT: u32 = 1;

/// One flow as it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// [`FORMAT`]; its name is what tells a trace from other JSON.
    pub vtflow_trace: u32,
    /// Who decided.
    pub planner: Planner,
    /// The request.
    pub call: Call,
    /// The moment that the flow took for now.
    pub now: Timestamp,
    /// Whether row values were taken out of it. The reply is then the one that the remaining values give.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// In the order in which they were released.
    pub asks: Vec<Traced>,
    /// How it ended; `None` if it was stopped before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// Microseconds from the start to the reply.
    pub took_us: u64,
}

/// Which planner decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planner {
    /// [`crate::VERSION`].
    pub version: String,
    /// [`crate::DIGEST`].
    pub digest: String,
}

impl Planner {
    /// This one.
    pub fn this() -> Self {
        Self { version: crate::VERSION.into(), digest: crate::DIGEST.into() }
    }
}

/// One ask and what came of it. Times are microseconds since the flow's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// What was asked.
    #[serde(flatten)]
    pub ask: Ask,
    /// When the planner released it.
    pub asked_us: u64,
    /// When it was sent, its turn having come; `None` if it never was, or nobody saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_us: Option<u64>,
    /// When the planner was told the answer; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_us: Option<u64>,
    /// Its place in the order in which the planner was told answers, from 0: times alone may be equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u32>,
    /// What the planner was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// What a planner made of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Its reply; `None` if it had none, which is a defect.
    pub reply: Option<Reply>,
    /// In which ways it went another way than the trace; empty if in none. Sentences for people.
    pub differences: Vec<String>,
}

/// Runs a flow over a trace: its asks get the answers that the same asks got then, in the order in which they got them.
///
/// `flow` is fresh, started with [`Trace::call`] and [`Trace::now`]. An ask that the trace has no answer to gets a failure.
pub fn replay(flow: &mut dyn FlowHandle, trace: &Trace) -> Replayed {
    let mut replay = Replay { trace, is_used: vec![false; trace.asks.len()], differences: Vec::new() };
    // Sorted by the order of the answers then; asks without one come last, in the order of their release.
    let mut waiting: BTreeMap<(u32, AskId), Answer> = BTreeMap::new();
    loop {
        for ask in flow.asks() {
            let (order, answer) = replay.answer(&ask);
            waiting.insert((order, ask.id), answer);
        }
        let Some(((_, id), answer)) = waiting.pop_first() else { break };
        flow.answer(id, answer);
    }
    replay.finish(flow.end())
}

struct Replay<'a> {
    trace: &'a Trace,
    is_used: Vec<bool>,
    differences: Vec<String>,
}

impl Replay<'_> {
    /// The answer that this ask got, and when in their order.
    fn answer(&mut self, ask: &Ask) -> (u32, Answer) {
        let asks = &self.trace.asks;
        // Nearly always the same planner: then the ask has the same id.
        let hint = usize::try_from(ask.id.0).unwrap_or(usize::MAX);
        let fits = |at: &usize| {
            let is_free = self.is_used.get(*at).is_some_and(|is_used| !is_used);
            is_free && asks.get(*at).is_some_and(|traced| is_same(&traced.ask.what, &ask.what))
        };
        let found = Some(hint).filter(fits).or_else(|| (0..asks.len()).find(fits));
        if let Some(is_used) = found.and_then(|at| self.is_used.get_mut(at)) {
            *is_used = true;
        }
        let traced = found.and_then(|at| asks.get(at));
        let recorded = traced.and_then(|traced| Some((traced.order?, traced.answer.clone()?)));
        recorded.unwrap_or_else(|| {
            let why = if traced.is_some() { "got no answer in the trace" } else { "is not in the trace" };
            let message = format!("{} {why}", name(&ask.what));
            self.differences.push(message.clone());
            (u32::MAX, Answer::Failed { kind: FailureKind::Unreachable, message })
        })
    }

    fn finish(mut self, reply: Option<Reply>) -> Replayed {
        for (traced, is_used) in self.trace.asks.iter().zip(&self.is_used) {
            if !is_used {
                self.differences.push(format!("{} was asked then, and is not now", name(&traced.ask.what)));
            }
        }
        if self.trace.reply.is_some() && self.trace.reply != reply {
            self.differences.push("the reply is another one than then".into());
        }
        Replayed { reply, differences: self.differences }
    }
}

/// Whether two asks ask the same. The lock that is given back has the id of its ask, which another planner counts otherwise.
fn is_same(a: &What, b: &What) -> bool {
    a == b || matches!((a, b), (What::TopoUnlock { .. }, What::TopoUnlock { .. }))
}

/// An ask in a few words.
fn name(what: &What) -> String {
    match what {
        What::TopoGet { cell, path } | What::TopoRange { cell, prefix: path } | What::TopoList { cell, prefix: path } => {
            format!("the read of {cell}:{path}")
        }
        What::TopoPut { cell, path, .. } => format!("the write of {cell}:{path}"),
        What::TopoDelete { cell, path, .. } => format!("the deletion of {cell}:{path}"),
        What::TopoLock { path, .. } => format!("the lock of {path}"),
        What::TopoUnlock { .. } => "a lock that is given back".into(),
        What::TabletCall { tablet, path, about, .. } => {
            let method = path.rsplit_once('/').map_or(&**path, |(_, method)| method);
            format!("the call of {method} at {} for {}", tablet.alias, about.subject)
        }
        What::TabletPage { tablet, path } => format!("the page {path} of {}", tablet.alias),
    }
}
