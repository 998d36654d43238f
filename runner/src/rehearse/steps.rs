//! Which step of the plan each ask was of: a flow does not say, but performs the plan's steps in their order.

use std::time::Duration;

use vtflow_planner::{
    What,
    contract::{PlannedStep, PlannedWrite, Refuses, StepWay, Turn, WritePlan},
};
use vtflow_screen::{
    self as screen, Asked, plans,
    rehearsal::{RefusedWrites, RehearsedCall, RehearsedStep},
};

use super::{
    copy::pause,
    run::{Done, Performed, micros},
};

/// The plan, its writes in a step if it has none: that of a request which does everything at once.
pub(super) fn in_steps(plan: &WritePlan) -> WritePlan {
    let mut plan = plan.clone();
    if plan.steps.is_empty() && !plan.writes.is_empty() {
        let (name, writes) = ("all at once".to_owned(), plan.writes.len());
        plan.steps.push(PlannedStep { name, way: StepWay::Forward, writes, reads: Vec::new(), turn: None });
    }
    plan
}

/// The steps of what was performed.
pub(super) struct Placed {
    /// Of each call: its step, and what the plan says of it.
    of: Vec<Option<(usize, String)>>,
}

/// A call of the plan that was not met yet.
struct Left<'a> {
    step: usize,
    write: Option<&'a PlannedWrite>,
    read: &'a str,
}

impl Left<'_> {
    /// Whether the ask is this call; `Some(true)`: to the letter. Values that are known only on the way are not in a plan.
    fn is(&self, what: &What) -> Option<bool> {
        match (self.write, what) {
            (Some(write), What::TabletCall { tablet, path, request, .. }) => {
                (write.rpc == *path && write.tablet == tablet.alias).then(|| write.request == *request)
            }
            (Some(write), What::TopoPut { cell, path, value, .. }) => {
                (write.rpc.is_empty() && write.tablet == *cell && write.address == *path).then(|| write.request == *value)
            }
            (Some(write), What::TopoDelete { cell, path, .. }) => {
                (write.rpc.is_empty() && write.tablet == *cell && write.address == *path).then_some(write.request.is_empty())
            }
            (None, What::TabletCall { tablet, path, about, .. }) => {
                let method = path.rsplit('/').next().unwrap_or_default();
                let begin = format!("{}  {}/{}  {method}", tablet.alias, about.keyspace, about.shard);
                let rest = self.read.strip_prefix(&begin)?;
                (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim_start() == about.statement)
            }
            (None, What::TopoRange { cell, prefix }) => (self.read == format!("{cell}  range {prefix}")).then_some(true),
            _ => None,
        }
    }

    fn text(&self) -> String {
        self.write.map_or_else(|| self.read.to_owned(), plans::write_line)
    }
}

impl Placed {
    /// Finds the steps.
    pub(super) fn of(plan: &WritePlan, done: &Performed) -> Self {
        let mut left: Vec<Left<'_>> = Vec::new();
        let mut writes = plan.writes.iter();
        for (step, planned) in plan.steps.iter().enumerate() {
            left.extend(writes.by_ref().take(planned.writes).map(|write| Left { step, write: Some(write), read: "" }));
            left.extend(planned.reads.iter().map(|read| Left { step, write: None, read }));
        }
        // What fails and is done all the same is no failure of the change: a table that is not there any more is dropped.
        let is_done = done.reply.as_ref().is_some_and(|reply| reply.result.is_ok());
        let (mut at, mut has_failed) = (None, false);
        let mut of = Vec::new();
        for call in &done.calls {
            let what = &call.ask.what;
            // What is looked at before the first step is no part of any.
            if call.number.is_none() && (at.is_none() || !matches!(what, What::TopoRange { .. })) {
                of.push(None);
                continue;
            }
            let find = |is_here: bool, is_exact: bool| {
                left.iter().position(|it| {
                    (Some(it.step) == at) == is_here && Some(it.step) >= at && it.is(what).is_some_and(|exact| exact || !is_exact)
                })
            };
            let later = |is_exact| if has_failed { None } else { find(false, is_exact) };
            let found = find(true, true).or_else(|| later(true)).or_else(|| find(true, false)).or_else(|| later(false));
            has_failed |= call.failed.is_some() && !is_done;
            of.push(found.map(|found| left.remove(found)).map(|found| {
                at = Some(found.step);
                (found.step, found.text())
            }));
        }
        Self { of }
    }

    /// The step of each call that belongs to the change, and what the plan says of the call; in the order of [`Done::number`].
    pub(super) fn calls(&self, plan: &WritePlan, done: &Performed) -> Vec<(String, String)> {
        let belonging = done.calls.iter().zip(&self.of).filter(|(call, _)| call.number.is_some());
        let name = |step: usize| plan.steps.get(step).map(|step| step.name.clone()).unwrap_or_default();
        belonging
            .map(|(call, place)| {
                place.as_ref().map_or_else(|| (String::new(), asked(call)), |(step, text)| (name(*step), text.clone()))
            })
            .collect()
    }

    /// The calls by step: what is done before the first, and after the last one, too.
    pub(super) fn told(&self, plan: &WritePlan, done: &Performed) -> Vec<RehearsedStep> {
        let around = |name: &str| RehearsedStep { name: name.into(), way: None, calls: Vec::new() };
        let (mut before, mut beside) =
            (around("look, lock, and look again under the locks"), around("look again, and give the locks back"));
        let mut steps: Vec<RehearsedStep> = plan
            .steps
            .iter()
            .map(|step| RehearsedStep { name: step.name.clone(), way: Some(step.way), calls: Vec::new() })
            .collect();
        let mut has_begun = false;
        for (call, place) in done.calls.iter().zip(&self.of) {
            has_begun |= place.is_some();
            let (step, text) = match place {
                Some((step, text)) => (steps.get_mut(*step), text.clone()),
                None => (None, asked(call)),
            };
            let of_none = if has_begun { &mut beside } else { &mut before };
            step.unwrap_or(of_none).calls.push(told(call, text));
        }
        std::iter::once(before).chain(steps).chain([beside]).filter(|step| step.way.is_some() || !step.calls.is_empty()).collect()
    }

    /// The writes that are refused meanwhile: by the planner's own marks on what it asks, as a change on the cluster is reported.
    pub(super) fn refused(&self, plan: &WritePlan, done: &Performed) -> Option<RefusedWrites> {
        let refuses = plan.refuses.as_ref()?;
        let turned = |wanted: Turn| {
            let is_it = move |call: &&Done| call.ask.gate.as_ref().is_some_and(|gate| gate.turn == wanted);
            done.calls.iter().filter(is_it)
        };
        // A change that has stopped has closed them before.
        let closes = turned(Turn::Closes).min_by_key(|call| call.begins).filter(|_| refuses.before.is_empty());
        let last = turned(Turn::Opens).max_by_key(|call| call.ends);
        let first = closes.or_else(|| self.placed(done).map(|(call, _)| call).next())?;
        let end = last.map_or(Duration::MAX, |call| call.ends);
        let within: Vec<&Done> = done
            .calls
            .iter()
            .filter(|call| call.begins >= first.begins && call.ends <= end && call.ask.round >= first.ask.round)
            .collect();
        let name = |of: &Done| {
            let (_, step) = self.placed(done).find(|(call, _)| call.ask.id == of.ask.id)?;
            plan.steps.get(step).map(|step| step.name.clone())
        };
        let rounds = |call: &Done| call.ask.round.saturating_sub(first.ask.round) + 1;
        let pauses = within.iter().map(|call| pause(&call.ask.what)).max().unwrap_or_default();
        Some(RefusedWrites {
            what: what(refuses),
            from: closes.and_then(name),
            to: last.map(|call| name(call).unwrap_or_else(|| "taking it back".into())),
            rounds: last.map_or_else(|| within.iter().map(|call| rounds(call)).max().unwrap_or(0), rounds),
            calls: within.len(),
            took_us: within.iter().map(|call| micros(call.took)).sum(),
            estimate_us: micros(last.map_or_else(|| done.took(), |call| call.ends).saturating_sub(first.begins)),
            pause_us: micros(pauses),
        })
    }

    /// The calls that the plan has, with their steps.
    fn placed<'a>(&'a self, done: &'a Performed) -> impl Iterator<Item = (&'a Done, usize)> {
        done.calls.iter().zip(&self.of).filter_map(|(call, place)| Some((call, place.as_ref()?.0)))
    }
}

/// Which writes these are.
fn what(refuses: &Refuses) -> String {
    if refuses.tables.is_empty() {
        let shards: Vec<String> = refuses.shards.iter().map(|shard| format!("{}/{shard}", refuses.keyspace)).collect();
        return format!("all writes to {}", shards.join(", "));
    }
    format!("writes to {}", refuses.tables.join(", "))
}

/// What an ask asks that is in no plan.
fn asked(call: &Done) -> String {
    let Asked { whom, place, what } = screen::asked(&call.ask.what);
    let statement = if let What::TabletCall { about, .. } = &call.ask.what { about.statement.as_str() } else { "" };
    let parts = [whom.as_str(), &place, &what, statement];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

fn told(call: &Done, text: String) -> RehearsedCall {
    RehearsedCall {
        text,
        writes: call.writes(),
        round: call.ask.round,
        begins_us: micros(call.begins),
        ends_us: micros(call.ends),
        took_us: micros(call.took),
        failed: call.failed.clone(),
    }
}
