//! A diagnosis as people read it: what is wrong first, with whom it hurts, why, and what would put it right; then what nobody can tell; then
//! what is well, a line each.

mod actions;
mod ways;

use serde::{Deserialize, Serialize};

use self::actions::action;
use crate::{
    advice::Step,
    words::{duration, plural, visible_name},
};
use vtflow_planner::{
    contract::{Failure, Timestamp},
    formats::time::ansic,
    proto::vtflow::{Deviation, DiagnoseResponse, DiagnosedWorkflow, HeldLock, Repair},
};

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All was looked at, and nothing is wrong.
    Healthy,
    /// Something is wrong.
    Deviations,
    /// Nothing is known to be wrong, and not all could be looked at.
    CouldNotLook,
}

/// A diagnosis as lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnosisScreen {
    /// How it went.
    pub verdict: Verdict,
    /// The same in words: `2 deviations in 1 workflow`.
    pub summary: String,
    /// Workflows in which something is wrong or cannot be told, and what is no workflow's.
    pub parts: Vec<DiagnosedPart>,
    /// Workflows in which all is well: name, kind, sides, phase.
    pub well: Vec<String>,
    /// What was not looked at, and what was changed meanwhile.
    pub notes: Vec<String>,
}

/// One workflow, or what is no workflow's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnosedPart {
    /// Name, kind, sides, phase.
    pub heading: String,
    /// Of the target; empty: it is no workflow's.
    #[serde(default)]
    pub keyspace: String,
    /// Its name; empty: it is no workflow's.
    #[serde(default)]
    pub workflow: String,
    /// What is wrong.
    pub deviations: Vec<DeviationLines>,
    /// What there is to say besides: locks, what cannot be told.
    pub lines: Vec<(String, String)>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviationLines {
    /// Whom it hurts, since when.
    pub heading: String,
    /// Each with its label: cause, where, rerun, the ways out.
    pub lines: Vec<(String, String)>,
    /// The ways out as commands to copy, each with where it leads; those that are none are only among the lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Step>,
}

/// A diagnosis as people read it. `failures`: what could not be read.
pub fn diagnosis(found: &DiagnoseResponse, failures: &[Failure], now: Timestamp) -> DiagnosisScreen {
    let mut parts = Vec::new();
    let mut well = Vec::new();
    let mut count = found.leftovers.len();
    // Trouble first, then what is not known.
    let mut workflows: Vec<&DiagnosedWorkflow> = found.workflows.iter().collect();
    workflows.sort_by_key(|it| (it.deviations.is_empty(), it.unknown.is_empty()));
    let mut troubled = 0;
    for it in workflows {
        if it.deviations.is_empty() && it.unknown.is_empty() {
            let locks =
                it.locks.iter().filter(|lock| lock.path.starts_with("internal/")).map(|lock| format!("; {}", held(lock, now)));
            well.push(heading(it) + &locks.collect::<String>());
            continue;
        }
        troubled += usize::from(!it.deviations.is_empty());
        count += it.deviations.len();
        parts.push(part(it, now));
    }
    if !found.leftovers.is_empty() || !found.unknown.is_empty() {
        let deviations = found.leftovers.iter().map(|it| deviation(it, None, now)).collect();
        let heading = "of no workflow in particular".into();
        let (keyspace, workflow) = (String::new(), String::new());
        parts.push(DiagnosedPart { heading, keyspace, workflow, deviations, lines: not_known(&found.unknown) });
    }
    let is_known = parts.iter().all(|part| part.lines.iter().all(|(label, _)| label != NOT_KNOWN));
    let verdict = match (count, is_known && failures.is_empty()) {
        (1.., _) => Verdict::Deviations,
        (0, true) => Verdict::Healthy,
        (0, false) => Verdict::CouldNotLook,
    };
    let workflows = plural(found.workflows.len(), "workflow");
    let summary = match verdict {
        Verdict::Healthy => format!("healthy: {workflows}, nothing wrong"),
        Verdict::CouldNotLook => format!("not known: {workflows}, nothing wrong in what could be read"),
        Verdict::Deviations => {
            let of = if troubled > 0 { format!(", {troubled} of {workflows} affected") } else { String::new() };
            format!("{}{of}", plural(count, "deviation"))
        }
    };
    let mut notes: Vec<String> = found
        .changed
        .iter()
        .map(|record| format!("{record} was changed while it was read, twice: somebody is at work"))
        .collect();
    notes.extend(found.not_looked_at.iter().map(|what| format!("not looked at: {what}")));
    DiagnosisScreen { verdict, summary, parts, well, notes }
}

const NOT_KNOWN: &str = "not known";

fn not_known(unknown: &[String]) -> Vec<(String, String)> {
    unknown.iter().map(|why| (NOT_KNOWN.to_owned(), why.clone())).collect()
}

fn part(of: &DiagnosedWorkflow, now: Timestamp) -> DiagnosedPart {
    let mut lines = Vec::new();
    if of.may_be_at_work && !of.deviations.is_empty() {
        let text = "somebody may be at work on it right now: look again in a minute before anything is repaired";
        lines.push(("under way".to_owned(), text.to_owned()));
    }
    lines.extend(of.locks.iter().map(|lock| ("locked".to_owned(), held(lock, now))));
    lines.extend(not_known(&of.unknown));
    let deviations = of.deviations.iter().map(|it| deviation(it, Some(of), now)).collect();
    DiagnosedPart { heading: heading(of), keyspace: of.keyspace.clone(), workflow: of.workflow.clone(), deviations, lines }
}

/// Whether it is a way back that goes on.
fn is_back(of: &DiagnosedWorkflow) -> bool {
    of.phase.starts_with("back_stopped_")
}

fn heading(of: &DiagnosedWorkflow) -> String {
    let name = format!("{}.{}", of.keyspace, visible_name(&of.workflow));
    if of.kind.is_empty() {
        return format!("{name}  {}", phase(of));
    }
    let side = |keyspace: &str, shards: &[String]| match shards {
        [one] => format!("{keyspace}/{one}"),
        many => format!("{keyspace} ({})", plural(many.len(), "shard")),
    };
    let sides = format!("{} -> {}", side(&of.source_keyspace, &of.source_shards), side(&of.keyspace, &of.target_shards));
    format!("{name}  {}  {sides}  {}", of.kind.replace('_', "-"), phase(of))
}

/// Where it stands, in words.
fn phase(of: &DiagnosedWorkflow) -> String {
    let reads = match of.reads_switched.as_slice() {
        [] => "not switched".to_owned(),
        some => format!("switched: {}", some.join(", ")),
    };
    match of.phase.as_str() {
        "not_switched" => "not switched".into(),
        "reads_switched" => format!("reads {reads}; writes not switched"),
        "writes_switched" => format!("writes switched; reads {reads}"),
        "reversed" => "writes switched back".into(),
        "stopped_before_journal" => {
            "a switch of writes stopped half-way, before its journal: forward and back are both open".into()
        }
        "stopped_after_journal" => "a switch of writes stopped half-way, after its journal: only forward".into(),
        "back_stopped_before_journal" => {
            "a switch back of writes stopped half-way, before its journal: going on and giving it up are both open".into()
        }
        "back_stopped_after_journal" => "a switch back of writes stopped half-way, after its journal: it can only go on".into(),
        "ending" => "completed or cancelled, by halves".into(),
        "ended" => "no streams: completed, cancelled, or never created".into(),
        "contradictory" => "contradicts itself".into(),
        _ => "not known".into(),
    }
}

/// `02:28:28 UTC (15h ago)`, with the date if it was another day.
fn since(at: i64, now: Timestamp) -> String {
    let ago = now.seconds.saturating_sub(at).max(0);
    let text = ansic(at);
    let shown = if ago < 86_400 { text.get(11..19).unwrap_or(&text) } else { &text };
    format!("{shown} UTC ({} ago)", duration(ago))
}

fn held(lock: &HeldLock, now: Timestamp) -> String {
    let at = if lock.since > 0 { format!(" since {}", since(lock.since, now)) } else { String::new() };
    let process = match lock.process.as_str() {
        "gone" => "its process is gone",
        "alive" => "its process is alive",
        _ => "its process may be alive",
    };
    let unlock = match actions::unlock(&lock.path) {
        Some(command) if lock.process == "may_be_alive" => format!("; if it is not: {command}"),
        _ => String::new(),
    };
    let until = if lock.until > now.seconds && lock.process != "alive" {
        format!(", its lease ends in {} at the latest", duration(lock.until - now.seconds))
    } else {
        String::new()
    };
    let what = if lock.action.is_empty() { String::new() } else { format!(" for {}", lock.action) };
    format!("{} by {}{what}{at}: {process}{until}{unlock}", lock.path, lock.holder)
}

fn deviation(of: &Deviation, whose: Option<&DiagnosedWorkflow>, now: Timestamp) -> DeviationLines {
    let is_back = whose.is_some_and(is_back);
    let at = if of.since > 0 { format!(", since {}", since(of.since, now)) } else { String::new() };
    let mut lines = vec![("what".to_owned(), of.mechanism.replace('_', " "))];
    lines.extend(of.places.iter().map(|place| ("where".to_owned(), place.clone())));
    lines.push(("cause".into(), of.cause.clone()));
    let again = match of.rerun.as_str() {
        "heals" => "running the command again puts it right",
        "heals_at_any_lag" => {
            "running the command again puts it right, with --max-replication-lag-allowed above the time since it stopped"
        }
        "heals_later" => {
            "running the command again is refused for its lag, or undoes this first; the time after it puts it right"
        }
        _ => "running a command again does not put it right",
    };
    let again =
        if is_back { again.replace("running the command again", "reversing the traffic again") } else { again.to_owned() };
    lines.push(("again".into(), again));
    if of.repairs.is_empty() {
        lines.push(("repair".into(), "by hand: somebody has to decide".into()));
    }
    lines.extend(of.repairs.iter().flat_map(|repair| way_out(repair, is_back)));
    let commands = whose.map(|whose| ways::commands(of, whose)).unwrap_or_default();
    DeviationLines { heading: format!("{}{at}", of.hurts), lines, commands }
}

fn way_out(of: &Repair, is_back: bool) -> Vec<(String, String)> {
    let label = ways::label(of);
    let several = of.actions.len() > 1;
    let number = |(index, text): (usize, String)| if several { format!("{}. {text}", index + 1) } else { text };
    of.actions.iter().map(|of| action(of, is_back)).enumerate().map(number).map(|text| (label.to_owned(), text)).collect()
}

#[cfg(test)]
mod tests;
