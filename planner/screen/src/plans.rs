//! Plans of requests that write, in words: what people read before they say yes, and what has changed since.

use std::fmt::Write;

use vtflow_planner::contract::{PlannedRow, PlannedWrite, StepWay, WritePlan, shard_text};

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

/// The plan as people read it, every statement in full; a statement that several tablets get is printed once.
pub fn text(plan: &WritePlan) -> String {
    let mut out = format!("{}\n", plan.summary);
    if plan.steps.is_empty() {
        by_target(&plan.writes, &mut out);
    } else {
        by_step(plan, &mut out);
    }
    for (title, texts) in [("Locked meanwhile", &plan.locks), ("Kept", &plan.kept), ("Note", &plan.warnings)] {
        for text in texts {
            let _ = writeln!(out, "{title}: {text}");
        }
    }
    if let Some(refuses) = &plan.refuses {
        let when = if refuses.before.len() < refuses.shards.len() { "meanwhile" } else { "already" };
        let _ = writeln!(out, "Writes refused {when}: to {}", refuses.of_shards(&refuses.shards));
    }
    // Last, since it is what the answer is given to.
    out + &gone(plan)
}

/// What nobody can bring back afterwards; empty: nothing.
pub(crate) fn gone(plan: &WritePlan) -> String {
    let mut out = String::new();
    if !plan.gone.is_empty() {
        out.push_str("Gone for good afterwards:\n");
    }
    for text in &plan.gone {
        let _ = writeln!(out, "  {text}");
    }
    out
}

/// What stands in front of the first step that is not taken back.
pub(crate) const NO_RETURN: &str =
    "up to here a failure takes back what was done; from here it goes on, or is finished by the same command";

/// The same in front of the very first one.
pub(crate) const NO_WAY_BACK: &str = "nothing of this is taken back: what a failure leaves is finished by the same command";

/// A write of a step in a line: whom it goes to, and what it does.
pub fn write_line(write: &PlannedWrite) -> String {
    let PlannedWrite { keyspace, shard, tablet, address, rpc, statement, .. } = write;
    let method = rpc.rsplit('/').next().unwrap_or_default();
    let (what, space) = if rpc.is_empty() { (address.as_str(), "") } else { (method, shard.as_str()) };
    let place = if rpc.is_empty() { tablet.clone() } else { format!("{tablet}  {}", shard_text(keyspace, space)) };
    let statement = if statement.is_empty() { String::new() } else { format!(" {statement}") };
    format!("{place}  {what}{statement}")
}

/// Step after step, each call and each record of it in its order; where there is no way back any more is marked.
fn by_step(plan: &WritePlan, out: &mut String) {
    let mut writes = plan.writes.iter();
    let mut is_past = false;
    for (number, step) in (1..).zip(&plan.steps) {
        let is_forward = step.way != StepWay::Back;
        if is_forward && !is_past {
            let mark = if number > 1 { NO_RETURN } else { NO_WAY_BACK };
            let _ = writeln!(out, "  ---- {mark}");
        }
        is_past = is_forward;
        let _ = writeln!(out, "  {number}. {}", step.name);
        let own: Vec<&PlannedWrite> = writes.by_ref().take(step.writes).collect();
        for write in &own {
            let _ = writeln!(out, "     {}", write_line(write));
        }
        for read in &step.reads {
            let _ = writeln!(out, "     {read}");
        }
        if own.is_empty() && step.reads.is_empty() {
            let _ = writeln!(out, "     nothing to do");
        }
    }
}

/// Target after target.
fn by_target(writes: &[PlannedWrite], out: &mut String) {
    let mut last: Vec<&str> = Vec::new();
    for writes in writes.chunk_by(|a, b| (&a.tablet, &a.shard) == (&b.tablet, &b.shard)) {
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
}

/// Whether two writes are of one shard, or of one record.
fn is_same_target(a: &PlannedWrite, b: &PlannedWrite) -> bool {
    a.shard == b.shard && (!a.shard.is_empty() || a.tablet == b.tablet)
}

#[cfg(test)]
mod tests {
    use vtflow_planner::contract::Refuses;

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
