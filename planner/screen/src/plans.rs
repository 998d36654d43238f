//! Plans of requests that write, in words: what people read before they say yes, and what has changed since.

use std::fmt::Write;

use vtflow_planner::contract::{PlannedRow, PlannedWrite, WritePlan, shard_text};

use crate::words::plural;

/// How the cluster has changed between an earlier plan of the same request and this one, a line each; empty if in nothing
/// that counts.
pub fn changes_since(plan: &WritePlan, earlier: &WritePlan) -> Vec<String> {
    let mut lines = Vec::new();
    if plan.planner != earlier.planner {
        lines.push(format!("the plan was made by planner {}, this is {}", earlier.planner, plan.planner));
    }
    let place = |write: &PlannedWrite| format!("{} {}", shard_text(&write.keyspace, &write.shard), write.tablet);
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

/// The plan as people read it, every statement in full; a statement that several tablets get is printed once.
pub fn text(plan: &WritePlan) -> String {
    let mut out = format!("{}\n", plan.summary);
    let mut last: Vec<&str> = Vec::new();
    for writes in plan.writes.chunk_by(|a, b| (&a.tablet, &a.shard) == (&b.tablet, &b.shard)) {
        let Some(PlannedWrite { keyspace, shard, tablet, .. }) = writes.first() else { continue };
        let rows: Vec<&PlannedRow> = writes.iter().flat_map(|write| &write.rows).collect();
        let things = if shard.is_empty() { "record" } else { "row" };
        let _ = writeln!(out, "  {tablet}  {}  {}", shard_text(keyspace, shard), plural(rows.len(), things));
        for row in rows {
            let _ = writeln!(out, "    {:<12}  {}", row.name, row.about);
        }
        let statements: Vec<&str> = writes.iter().map(|write| write.statement.as_str()).collect();
        if statements == last {
            let _ = writeln!(out, "    same {}", if last.len() == 1 { "statement" } else { "statements" });
        } else {
            for statement in &statements {
                let _ = writeln!(out, "    {statement}");
            }
        }
        last = statements;
    }
    for (title, texts) in [("Locked meanwhile", &plan.locks), ("Kept", &plan.kept), ("Note", &plan.warnings)] {
        for text in texts {
            let _ = writeln!(out, "{title}: {text}");
        }
    }
    out
}

/// Whether two writes are of one shard, or of one record.
fn is_same_target(a: &PlannedWrite, b: &PlannedWrite) -> bool {
    a.shard == b.shard && (!a.shard.is_empty() || a.tablet == b.tablet)
}
