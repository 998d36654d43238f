//! A trace that can be shown to others: it holds no text of a row or a page, and its replay goes the same way to the same outcome.
//!
//! Texts are replaced by numbered ones, equal by equal, so that what the planner compares stays equal or different. Numbers, times, states,
//! positions and names stay ([`columns`]). Then the planner runs over what is left: what it asks (a statement may have been made of a row)
//! and what it replies take the place of what was recorded. A plan that a request was held to is replaced by the one that the remaining
//! values give.
//!
//! Topology records and what a person gave as names and flags stay: `docs/traces.md`.

mod columns;
mod hidden;
mod messages;
mod sql;

use hidden::Hidden;

use super::{Trace, Traced, name};
use crate::{
    contract::{Answer, AskId, Call, FailureKind, Mode, Reply, Timestamp, What},
    flow::FlowHandle,
};

impl Trace {
    /// The trace without the texts of rows and pages. `start` begins a flow of the planner that is to have the last word: the asks and the
    /// reply become those that the remaining values give. It is called up to two times.
    #[must_use]
    pub fn redacted(mut self, start: impl Fn(&Call, Timestamp) -> Box<dyn FlowHandle>) -> Self {
        let mut hidden = Hidden::default();
        messages::request(&mut self.call, &mut hidden);
        self.asks.sort_by_key(|traced| traced.ask.id);
        for traced in &mut self.asks {
            if let Some(answer) = traced.answer.take() {
                traced.answer = Some(redacted_answer(&traced.ask.what, answer, &mut hidden));
            }
        }
        let (mut asks, mut reply) = again(&mut *start(&self.call, self.now), &self.asks);
        if let Mode::Planned(digest) = &self.call.options.mode {
            // It is made of what rows said. If it was the plan's, the plan's it stays.
            let held = self.reply.as_ref().and_then(digest_of).is_some_and(|then| then == digest);
            let now = reply.as_ref().and_then(digest_of).filter(|_| held).unwrap_or("(redacted)").to_owned();
            self.call.options.mode = Mode::Planned(now);
            (asks, reply) = again(&mut *start(&self.call, self.now), &self.asks);
        }
        Self { redacted: true, asks, reply, ..self }
    }
}

fn digest_of(reply: &Reply) -> Option<&str> {
    reply.written.as_ref().map(|written| written.plan.digest.as_str())
}

fn redacted_answer(what: &What, answer: Answer, hidden: &mut Hidden) -> Answer {
    match (what, answer) {
        (What::TabletCall { path, about, .. }, Answer::Called(bytes)) => {
            // What a person's statement calls a column need not be one.
            let is_persons = about.subject == "vexec";
            Answer::Called(messages::response(path, &bytes, is_persons, hidden))
        }
        (What::TabletPage { .. }, Answer::Called(page)) => Answer::Called(messages::page(&page, hidden)),
        // What a tablet says may quote a row; that there was no answer are our own words.
        (What::TabletCall { .. }, Answer::Failed { kind: kind @ FailureKind::Status(_), message })
        | (What::TabletPage { .. }, Answer::Failed { kind, message }) => {
            Answer::Failed { kind, message: messages::failure(&message, hidden) }
        }
        (_, answer) => messages::topology(what, answer),
    }
}

/// Runs a flow over what was recorded, and gives it with what is asked now. What is not asked any more is left out.
fn again(flow: &mut dyn FlowHandle, recorded: &[Traced]) -> (Vec<Traced>, Option<Reply>) {
    let mut is_used = vec![false; recorded.len()];
    let mut asks: Vec<Traced> = Vec::new();
    // As in a replay: in the order of the answers then.
    let mut waiting: Vec<(u32, AskId, Answer)> = Vec::new();
    loop {
        for ask in flow.asks() {
            let hint = usize::try_from(ask.id.0).unwrap_or(usize::MAX);
            let fits = |at: &usize| {
                is_used.get(*at).is_some_and(|is_used| !is_used)
                    && recorded.get(*at).is_some_and(|traced| is_same_place(&traced.ask.what, &ask.what))
            };
            let found = Some(hint).filter(fits).or_else(|| (0..recorded.len()).find(fits));
            let traced = found.and_then(|at| recorded.get(at));
            if let Some(is_used) = found.and_then(|at| is_used.get_mut(at)) {
                *is_used = true;
            }
            let answer = traced.and_then(|traced| Some((traced.order?, traced.answer.clone()?)));
            let (order, answer) = answer.unwrap_or_else(|| {
                // The words of a replay, which will come to the same.
                let why = if traced.is_some() { "got no answer in the trace" } else { "is not in the trace" };
                let message = format!("{} {why}", name(&ask.what));
                (u32::MAX, Answer::Failed { kind: FailureKind::Unreachable, message })
            });
            waiting.push((order, ask.id, answer));
            if let Some(traced) = traced {
                asks.push(Traced { ask, ..traced.clone() });
            }
        }
        let next = waiting.iter().enumerate().min_by_key(|(_, (order, id, _))| (*order, *id)).map(|(at, _)| at);
        let Some(next) = next else { break };
        let (_, id, answer) = waiting.swap_remove(next);
        flow.answer(id, answer);
    }
    asks.sort_by_key(|traced| traced.ask.id);
    (asks, flow.end())
}

/// Whether two asks are the same but for what rows say.
fn is_same_place(a: &What, b: &What) -> bool {
    match (a, b) {
        (What::TabletCall { tablet, path, about, .. }, What::TabletCall { tablet: t, path: p, about: other, .. }) => {
            tablet.alias == t.alias && path == p && about.subject == other.subject
        }
        (What::TopoPut { cell, path, .. }, What::TopoPut { cell: c, path: p, .. })
        | (What::TopoDelete { cell, path, .. }, What::TopoDelete { cell: c, path: p, .. }) => cell == c && path == p,
        (What::TopoUnlock { .. }, What::TopoUnlock { .. }) => true,
        (What::TopoLock { path, .. }, What::TopoLock { path: p, .. }) => path == p,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{About, Effect, TabletAddress};

    fn call(alias: &str, path: &'static str, subject: &'static str, statement: &str) -> What {
        let tablet = TabletAddress { alias: alias.into(), cell: "z".into(), host: "h".into(), grpc_port: 1 };
        let about = About {
            keyspace: "ks".into(),
            shard: "0".into(),
            db_name: "d".into(),
            subject: subject.into(),
            statement: statement.into(),
        };
        What::TabletCall { tablet, path: path.into(), request: statement.into(), effect: Effect::Write, limit_ms: 0, about }
    }

    fn put(cell: &str, path: &str, value: &[u8]) -> What {
        What::TopoPut { cell: cell.into(), path: path.into(), value: value.to_vec(), version: 1 }
    }

    fn lock(path: &str, action: &str) -> What {
        What::TopoLock { path: path.into(), action: action.into(), is_named: false }
    }

    /// An ask of the planner that runs over the redacted rows is the one of then, whatever it says of rows.
    #[test]
    fn asks_are_known_again_by_where_they_go_and_not_by_what_they_say() {
        let get = |cell: &str, path: &str| What::TopoGet { cell: cell.into(), path: path.into() };
        // Those of one line are at one place.
        let places = [
            vec![call("z-1", "/a", "x", "bob"), call("z-1", "/a", "x", "(redacted 1)")],
            vec![call("z-2", "/a", "x", "bob")],
            vec![call("z-1", "/b", "x", "bob")],
            vec![call("z-1", "/a", "y", "bob")],
            vec![put("z", "a", b"bob"), put("z", "a", b"(redacted 1)")],
            vec![put("y", "a", b"bob")],
            vec![put("z", "b", b"bob")],
            vec![What::TopoUnlock { lock: AskId(1) }, What::TopoUnlock { lock: AskId(2) }],
            vec![lock("a", "bob"), lock("a", "(redacted 1)")],
            vec![lock("b", "bob")],
            vec![get("z", "a")],
            vec![get("y", "a")],
            vec![get("z", "b")],
        ];
        for (place, asks) in places.iter().enumerate() {
            for (other_place, others) in places.iter().enumerate() {
                for (ask, other) in asks.iter().flat_map(|ask| others.iter().map(move |other| (ask, other))) {
                    assert_eq!(is_same_place(ask, other), place == other_place, "{ask:?} {other:?}");
                }
            }
        }
    }
}
