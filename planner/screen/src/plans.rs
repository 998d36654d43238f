//! Plans of requests that write, in words: what people read before they say yes, and what has changed since.

use std::fmt::Write;

use serde::Serialize;
use vtflow_planner::contract::{PlannedRow, PlannedWrite, Refuses, StepWay, Turn, WritePlan, shard_text};

use crate::words::plural;

/// How the cluster has changed between an earlier plan of the same request and this one, a line each; empty if in nothing
/// that counts.
pub fn changes_since(plan: &WritePlan, earlier: &WritePlan) -> Vec<String> {
    let mut lines = Vec::new();
    if plan.planner != earlier.planner {
        lines.push(format!("the plan was made by planner {}, this is {}", earlier.planner, plan.planner));
    }
    let place = |write: &PlannedWrite| format!("{} {}", shard_text(&write.keyspace, &write.shard), write.tablet);
    if !plan.steps.is_empty() || !earlier.steps.is_empty() {
        changes_in_steps(plan, earlier, &mut lines);
        return lines;
    }
    for was in &earlier.writes {
        let place = place(was);
        // The same statement, or what has come in its place.
        let here = || plan.writes.iter().filter(|now| is_same_target(now, was));
        let in_place =
            || here().find(|now| !earlier.writes.iter().any(|was| is_same_target(was, now) && was.statement == now.statement));
        let Some(now) = here().find(|now| now.statement == was.statement).or_else(in_place) else {
            lines.push(format!("{place} would not be changed any more"));
            continue;
        };
        let before = lines.len();
        if now.tablet != was.tablet || now.address != was.address {
            lines.push(format!("{place}: the primary is {} at {} now", now.tablet, now.address));
        }
        for row in &was.rows {
            match now.rows.iter().find(|other| other.name == row.name) {
                Some(other) if other.basis == row.basis => {}
                Some(other) => lines.push(format!("{place}: {} was {}, is {}", row.name, row.basis, other.basis)),
                None => lines.push(format!("{place}: {} is gone", row.name)),
            }
        }
        let is_new = |row: &&PlannedRow| !was.rows.iter().any(|other| other.name == row.name);
        lines.extend(now.rows.iter().filter(is_new).map(|row| format!("{place}: {} is new", row.name)));
        if now.statement != was.statement && lines.len() == before {
            lines.push(format!("{place} would get another statement"));
        }
    }
    let is_new = |now: &&PlannedWrite| !earlier.writes.iter().any(|was| is_same_target(was, now));
    lines.extend(plan.writes.iter().filter(is_new).map(|now| format!("{} would be changed, too", place(now))));
    lines
}

/// The same of changes that are made in steps: one tablet or record may be in several of them, with the same call.
fn changes_in_steps(plan: &WritePlan, earlier: &WritePlan, lines: &mut Vec<String>) {
    let step = |write: &PlannedWrite| write.rows.first().map(|row| row.name.clone()).unwrap_or_default();
    let place = |write: &PlannedWrite| {
        let at = if write.shard.is_empty() { &write.address } else { &write.shard };
        format!("{}: {} {at} {}", step(write), write.tablet, write.statement)
    };
    let is_same = |a: &PlannedWrite, b: &PlannedWrite| {
        (&a.keyspace, &a.shard, &a.tablet, &a.address, &a.rpc, &a.statement, step(a))
            == (&b.keyspace, &b.shard, &b.tablet, &b.address, &b.rpc, &b.statement, step(b))
    };
    for was in &earlier.writes {
        match plan.writes.iter().find(|now| is_same(now, was)) {
            None => lines.push(format!("{}: would not be done any more", place(was).trim_end())),
            Some(now) if now.rows != was.rows => {
                let basis = |write: &PlannedWrite| write.rows.first().map(|row| row.basis.clone()).unwrap_or_default();
                lines.push(format!("{}: was {}, is {}", place(was).trim_end(), basis(was), basis(now)));
            }
            Some(_) => {}
        }
    }
    let is_new = |now: &&PlannedWrite| !earlier.writes.iter().any(|was| is_same(now, was));
    lines.extend(plan.writes.iter().filter(is_new).map(|now| format!("{}: would be done, too", place(now).trim_end())));
}

/// A plan as lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanScreen {
    /// One line.
    pub summary: String,
    /// Of a change that is made in steps: each, in their order.
    pub steps: Vec<StepLines>,
    /// Of any other: each target.
    pub targets: Vec<TargetLines>,
    /// What else there is to know, each with its label: locks, what is kept, which writes are refused.
    pub besides: Vec<(&'static str, String)>,
    /// What stands above what is gone.
    pub gone_heading: &'static str,
    /// What is not there any more afterwards and cannot be brought back.
    pub gone: Vec<String>,
}

/// One step of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepLines {
    /// What is otherwise from here on: there is no way back, writes are refused.
    pub before: Vec<String>,
    /// What it does.
    pub name: String,
    /// Its calls, those that write first. None: there is nothing to do.
    pub calls: Vec<CallLine>,
    /// What is otherwise after it: writes are taken again.
    pub after: Option<&'static str>,
    /// Whether writes are refused while it is done.
    pub is_refusing: bool,
    /// Whether it stays when a later one fails.
    pub is_past: bool,
}

/// One call of a step, or one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallLine {
    /// Whom it goes to, and what it does.
    pub text: String,
    /// Whether it changes something.
    pub writes: bool,
}

/// One target of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetLines {
    /// Who it is, and how many rows or records it is about.
    pub heading: String,
    /// The rows, and what there is to know of each.
    pub rows: Vec<(String, String)>,
    /// In full.
    pub statements: Vec<String>,
}

/// The plan as lines, every statement in full.
pub fn screen(plan: &WritePlan) -> PlanScreen {
    let mut besides = Vec::new();
    for (title, texts) in [("Locked meanwhile", &plan.locks), ("Kept", &plan.kept), ("Note", &plan.warnings)] {
        besides.extend(texts.iter().map(|text| (title, text.clone())));
    }
    if let Some(refuses) = &plan.refuses {
        let title = if is_refused_before(refuses) { "Writes refused already" } else { "Writes refused meanwhile" };
        besides.push((title, format!("to {}", refuses.of_shards(&refuses.shards))));
    }
    let (steps, targets) =
        if plan.steps.is_empty() { (Vec::new(), by_target(&plan.writes)) } else { (by_step(plan), Vec::new()) };
    PlanScreen { summary: plan.summary.clone(), steps, targets, besides, gone_heading: GONE, gone: plan.gone.clone() }
}

/// Whether all of it is refused before anything is done.
fn is_refused_before(refuses: &Refuses) -> bool {
    refuses.before.len() >= refuses.shards.len()
}

/// The plan as people read it; a statement that several tablets get is printed once.
pub fn text(plan: &WritePlan) -> String {
    let PlanScreen { summary, steps, targets, besides, gone_heading, gone } = screen(plan);
    let mut out = format!("{summary}\n");
    for (number, step) in (1..).zip(&steps) {
        for mark in &step.before {
            let _ = writeln!(out, "  ---- {mark}");
        }
        let _ = writeln!(out, "  {number}. {}", step.name);
        for call in &step.calls {
            let _ = writeln!(out, "     {}", call.text);
        }
        if step.calls.is_empty() {
            let _ = writeln!(out, "     {NOTHING}");
        }
        if let Some(mark) = step.after {
            let _ = writeln!(out, "  ---- {mark}");
        }
    }
    let mut last: &[String] = &[];
    for target in &targets {
        let _ = writeln!(out, "  {}", target.heading);
        for (name, about) in &target.rows {
            let _ = writeln!(out, "    {name:<12}  {about}");
        }
        if target.statements == last {
            let _ = writeln!(out, "    same {}", if last.len() == 1 { "statement" } else { "statements" });
        } else {
            for statement in &target.statements {
                let _ = writeln!(out, "    {statement}");
            }
        }
        last = &target.statements;
    }
    for (title, text) in &besides {
        let _ = writeln!(out, "{title}: {text}");
    }
    if !gone.is_empty() {
        // Last, since it is what the answer is given to.
        let _ = writeln!(out, "{gone_heading}:");
        for text in &gone {
            let _ = writeln!(out, "  {text}");
        }
    }
    out
}

/// As [`PlanScreen::gone_heading`].
pub(crate) const GONE: &str = "Gone for good afterwards";
/// What stands in a step without calls.
const NOTHING: &str = "nothing to do";
/// What stands behind the step by which writes are taken again.
pub(crate) const TAKEN_AGAIN: &str = "from here they are taken again";
/// What stands in front of the first step of a change of which nothing is taken back.
pub(crate) const NO_WAY_BACK: &str = "nothing of this is taken back: what a failure leaves is finished by the same command";

/// What stands in front of the first step that is not taken back.
pub(crate) const NO_RETURN: &str =
    "up to here a failure takes back what was done; from here it goes on, or is finished by the same command";

/// A write of a step in a line: whom it goes to, and what it does.
pub fn write_line(write: &PlannedWrite) -> String {
    let PlannedWrite { keyspace, shard, tablet, address, rpc, statement, .. } = write;
    let method = rpc.rsplit('/').next().unwrap_or_default();
    let (what, space) = if rpc.is_empty() { (address.as_str(), "") } else { (method, shard.as_str()) };
    let place = if rpc.is_empty() { tablet.clone() } else { format!("{tablet}  {}", shard_text(keyspace, space)) };
    let statement = if statement.is_empty() { String::new() } else { format!(" {statement}") };
    format!("{place}  {what}{statement}")
}

/// Step after step, each call and each record of it in its order; where there is no way back any more is marked, and where writes are refused.
fn by_step(plan: &WritePlan) -> Vec<StepLines> {
    let mut writes = plan.writes.iter();
    let mut is_past = false;
    let mut is_refusing = plan.refuses.as_ref().is_some_and(is_refused_before);
    let mut lines = Vec::new();
    for (number, step) in (1..).zip(&plan.steps) {
        let mut before = Vec::new();
        if let (Some(Turn::Closes), false, Some(refuses)) = (step.turn, is_refusing, &plan.refuses) {
            before.push(format!("from here writes to {} are refused", refuses.of_shards(&refuses.shards)));
            is_refusing = true;
        }
        let is_forward = step.way != StepWay::Back;
        if is_forward && !is_past {
            before.push(if number > 1 { NO_RETURN } else { NO_WAY_BACK }.to_owned());
        }
        is_past = is_forward;
        let own = writes.by_ref().take(step.writes).map(|write| CallLine { text: write_line(write), writes: true });
        let mut calls: Vec<CallLine> = own.collect();
        calls.extend(step.reads.iter().map(|read| CallLine { text: read.clone(), writes: false }));
        let opens = step.turn == Some(Turn::Opens) && is_refusing;
        let after = opens.then_some(TAKEN_AGAIN);
        lines.push(StepLines { before, name: step.name.clone(), calls, after, is_refusing, is_past });
        is_refusing &= !opens;
    }
    lines
}

/// Target after target.
fn by_target(writes: &[PlannedWrite]) -> Vec<TargetLines> {
    let of = |writes: &[PlannedWrite]| {
        let PlannedWrite { keyspace, shard, tablet, .. } = writes.first()?;
        let rows: Vec<&PlannedRow> = writes.iter().flat_map(|write| &write.rows).collect();
        let things = if shard.is_empty() { "record" } else { "row" };
        Some(TargetLines {
            heading: format!("{tablet}  {}  {}", shard_text(keyspace, shard), plural(rows.len(), things)),
            rows: rows.iter().map(|row| (row.name.clone(), row.about.clone())).collect(),
            statements: writes.iter().map(|write| write.statement.clone()).collect(),
        })
    };
    writes.chunk_by(|a, b| (&a.tablet, &a.shard) == (&b.tablet, &b.shard)).filter_map(of).collect()
}

/// Whether two writes are of one shard, or of one record.
fn is_same_target(a: &PlannedWrite, b: &PlannedWrite) -> bool {
    a.shard == b.shard && (!a.shard.is_empty() || a.tablet == b.tablet)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tablet and a record, told and written in two steps.
    fn in_steps() -> WritePlan {
        let write = |tablet: &str, shard: &str, address: &str, rpc: &str, statement: &str, step: &str, basis: &str| {
            serde_json::json!({
                "keyspace": "commerce", "shard": shard, "tablet": tablet, "address": address, "db_name": "", "rpc": rpc, "request": "",
                "statement": statement, "rows": [{ "name": step, "about": "", "basis": basis }]
            })
        };
        serde_json::from_value(serde_json::json!({
            "planner": "", "rpc": "", "request": "", "summary": "This moves writes", "locks": ["keyspaces/commerce"], "kept": [],
            "warnings": [], "digest": "",
            "writes": [
                write("zone1-100", "0", "h:1", "/t.TabletManager/RefreshState", "", "refresh", ""),
                write("global", "0", "keyspaces/commerce/shards/0/Shard", "", "deny tables t", "close", "version 7"),
                write("zone1-100", "0", "h:1", "/t.TabletManager/RefreshState", "", "close", ""),
                write("zone1-100", "0", "h:1", "/t.TabletManager/VReplicationExec", "insert", "journal", ""),
            ],
            "steps": [
                { "name": "refresh", "way": "back", "writes": 1, "reads": [] },
                { "name": "close", "way": "back", "writes": 2, "reads": ["zone2-200  customer/-80  VReplicationWaitForPos of stream 1"] },
                { "name": "journal", "way": "point_of_no_return", "writes": 1, "reads": [] },
                { "name": "drop", "way": "forward", "writes": 0, "reads": [] },
            ]
        }))
        .unwrap()
    }

    #[test]
    fn a_plan_in_steps_shows_each_call_at_its_step_and_from_where_there_is_no_way_back() {
        let want = "\
This moves writes
  1. refresh
     zone1-100  commerce/0  RefreshState
  2. close
     global  keyspaces/commerce/shards/0/Shard deny tables t
     zone1-100  commerce/0  RefreshState
     zone2-200  customer/-80  VReplicationWaitForPos of stream 1
  ---- up to here a failure takes back what was done; from here it goes on, or is finished by the same command
  3. journal
     zone1-100  commerce/0  VReplicationExec insert
  4. drop
     nothing to do
Locked meanwhile: keyspaces/commerce
";
        assert_eq!(text(&in_steps()), want);
    }

    #[test]
    fn what_is_refused_meanwhile_and_what_is_gone_afterwards_are_the_last_things_said() {
        let refuses = |tables: &[&str], before: &[&str]| {
            let of = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
            Some(Refuses { keyspace: "ks".into(), shards: of(&["-80", "80-"]), tables: of(tables), before: of(before) })
        };
        let said = |plan: &WritePlan| text(plan).split_once("Locked meanwhile: keyspaces/commerce\n").unwrap().1.to_owned();
        let plan = WritePlan { refuses: refuses(&["t", "u"], &[]), gone: vec!["table t, dropped on x".into()], ..in_steps() };
        let want = "Writes refused meanwhile: to t, u on ks/-80, ks/80-\nGone for good afterwards:\n  table t, dropped on x\n";
        assert_eq!(said(&plan), want);
        let already = WritePlan { refuses: refuses(&[], &["-80", "80-"]), ..in_steps() };
        assert_eq!(said(&already), "Writes refused already: to all tables on ks/-80, ks/80-\n");
        let mut forward = in_steps();
        forward.steps.truncate(1);
        forward.steps[0].way = StepWay::Forward;
        let mark = "  ---- nothing of this is taken back: what a failure leaves is finished by the same command\n  1. refresh\n";
        assert!(text(&forward).contains(mark), "{}", text(&forward));
    }

    #[test]
    fn where_writes_are_refused_is_marked_from_the_step_that_closes_to_the_one_that_opens() {
        let refuses = |before: &[&str]| {
            let before = before.iter().map(|&name| name.to_owned()).collect();
            Some(Refuses { keyspace: "ks".into(), shards: vec!["0".into()], tables: vec!["t".into()], before })
        };
        let mut plan = WritePlan { refuses: refuses(&[]), ..in_steps() };
        plan.steps[1].turn = Some(Turn::Closes);
        plan.steps[2].turn = Some(Turn::Opens);
        let told = |plan: &WritePlan| {
            let of = |it: &StepLines| (it.before.len(), it.after.is_some(), it.is_refusing, it.is_past);
            screen(plan).steps.iter().map(of).collect::<Vec<_>>()
        };
        let (none, past) = ((0, false, false, false), (0, false, false, true));
        assert_eq!(told(&plan), [none, (1, false, true, false), (1, true, true, true), past]);
        let said = text(&plan);
        assert!(said.contains("  1. refresh\n     zone1-100  commerce/0  RefreshState\n  ---- from here writes to t on ks/0 are refused\n  2. close\n"), "{said}");
        assert!(said.contains("  ---- from here they are taken again\n  4. drop\n"), "{said}");
        // Closed by somebody else before.
        plan.refuses = refuses(&["0"]);
        let closed = (0, false, true, false);
        assert_eq!(told(&plan), [closed, closed, (1, true, true, true), past]);
    }

    #[test]
    fn what_has_changed_of_a_plan_in_steps_is_told_step_by_step() {
        let (plan, earlier) = (in_steps(), in_steps());
        assert_eq!(changes_since(&plan, &earlier), Vec::<String>::new());
        let mut written = in_steps();
        written.writes[1].rows[0].basis = "version 8".into();
        let line = "close: global 0 deny tables t: was version 7, is version 8";
        assert_eq!(changes_since(&written, &earlier), [line]);
        let mut shorter = in_steps();
        shorter.writes.remove(0);
        assert_eq!(changes_since(&shorter, &earlier), ["refresh: zone1-100 0: would not be done any more"]);
        assert_eq!(changes_since(&earlier, &shorter), ["refresh: zone1-100 0: would be done, too"]);
    }
}
