//! A rehearsal in which one thing goes wrong, once for each: what it comes to, and what puts it right.

use serde::{Deserialize, Serialize};

use crate::{
    table::{Kind, Line, Table},
    words::plural,
};

/// All that was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultTable {
    /// What came of each, in the order of calls.
    pub lines: Vec<FaultLine>,
    /// How many there were to try.
    pub all: usize,
    /// Changes that were performed, with those that put things right; each fault has a fresh copy.
    pub runs: usize,
    /// Milliseconds that it took.
    pub took_ms: u64,
    /// Milliseconds after which no more is begun.
    pub limit_ms: u64,
}

/// What came of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultLine {
    /// The step of the call, as the plan has it.
    pub step: String,
    /// Whom the call goes to, and what it does.
    pub call: String,
    /// What goes wrong with it.
    pub fault: Fault,
    /// What the change ended with; empty: well, or not at all.
    pub said: String,
    /// What it came to.
    pub end: FaultEnd,
    /// The phase that diagnose sees then: `stopped_before_journal`.
    pub phase: String,
    /// What is wrong then, and whom it hurts; empty: nothing.
    pub hurts: Vec<String>,
    /// What was tried to put it right, on a copy.
    pub ways: Vec<WayOut>,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It fails, and is not done.
    Fails,
    /// It is done, and nobody hears of it.
    AnswerLost,
    /// It is done, and then the process dies.
    Dies,
}

/// What a change with a fault comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultEnd {
    /// It is done as if nothing had gone wrong.
    Done,
    /// Everything is as it was before: what was done is taken back, or nothing was.
    AsBefore,
    /// It is half done.
    HalfWay,
    /// Nobody can tell: diagnose could not look.
    NotKnown,
}

/// What was tried to put it right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayOut {
    /// `same command`, `reverse`, `switch`, `mirror --percent 0`.
    pub command: String,
    /// Whether all is well after it.
    pub heals: bool,
    /// What it ended with, if not well.
    pub said: String,
}

impl FaultLine {
    /// Whether it is well, or something puts it right.
    pub fn heals(&self) -> bool {
        self.end == FaultEnd::Done || self.ways.iter().any(|way| way.heals)
    }
}

impl FaultTable {
    /// Faults that nothing puts right.
    pub fn unhealed(&self) -> usize {
        self.lines.iter().filter(|line| !line.heals()).count()
    }

    /// Whether all were tried.
    pub fn is_whole(&self) -> bool {
        self.lines.len() == self.all
    }
}

impl Line for FaultLine {
    fn has_trouble(&self) -> bool {
        !self.heals()
    }
}

/// The faults as a table.
pub fn fault_table(of: &FaultTable) -> Table {
    Table::of(&of.lines)
        .column("Step", Kind::Text(12), |line| line.step.clone())
        .column("Call", Kind::Text(16), |line| short(&line.call))
        .column("Fault", Kind::Word, |line| fault(line.fault).into())
        .column("After", Kind::Word, after)
        .column("Healed by", Kind::Word, healed_by)
        .column("Note", Kind::Note, note)
        .table()
}

/// The same in a few lines.
pub fn fault_summary(of: &FaultTable) -> Vec<String> {
    let count = |end: FaultEnd| of.lines.iter().filter(|line| line.end == end).count();
    let mut calls: Vec<(&str, &str)> = of.lines.iter().map(|line| (line.step.as_str(), line.call.as_str())).collect();
    calls.dedup();
    let mut lines = vec![format!(
        "{} at {}, each on a fresh copy: {} done all the same, {} as before, {} half-way{}",
        plural(of.lines.len(), "fault"),
        plural(calls.len(), "call"),
        count(FaultEnd::Done),
        count(FaultEnd::AsBefore),
        count(FaultEnd::HalfWay),
        match count(FaultEnd::NotKnown) {
            0 => String::new(),
            unknown => format!(", of {unknown} nobody can tell"),
        }
    )];
    let half = || of.lines.iter().filter(|line| matches!(line.end, FaultEnd::HalfWay | FaultEnd::NotKnown));
    let both = half().filter(|line| line.ways.iter().filter(|way| way.heals).count() > 1).count();
    lines.push(match of.unhealed() {
        0 if half().next().is_none() => "each of them heals".into(),
        0 => format!("each of them heals; of those half-way {both} in both directions, the others in one"),
        1 => "1 of them does not heal".into(),
        some => format!("{some} of them do not heal"),
    });
    if !of.is_whole() {
        let left = of.all.saturating_sub(of.lines.len());
        lines.push(format!("{} not tried: the time was over", plural(left, "fault") + if left == 1 { " was" } else { " were" }));
    }
    lines.push(format!("{} in {} s, of {} s at most", plural(of.runs, "run"), seconds(of.took_ms), seconds(of.limit_ms)));
    lines
}

fn seconds(ms: u64) -> String {
    format!("{}.{}", ms / 1_000, ms % 1_000 / 100)
}

fn fault(of: Fault) -> &'static str {
    match of {
        Fault::Fails => "fails",
        Fault::AnswerLost => "answer lost",
        Fault::Dies => "process dies",
    }
}

fn after(line: &FaultLine) -> String {
    match line.end {
        FaultEnd::Done => "done".into(),
        FaultEnd::AsBefore => "as before".into(),
        FaultEnd::HalfWay if is_half(&line.phase) => line.phase.replace('_', " "),
        FaultEnd::HalfWay => format!("half done, {}", line.phase.replace('_', " ")),
        FaultEnd::NotKnown => "not known".into(),
    }
}

/// Whether the phase itself says that something has stopped half-way.
fn is_half(phase: &str) -> bool {
    ["stopped", "ending", "contradictory", "unknown"].iter().any(|half| phase.contains(half))
}

fn healed_by(line: &FaultLine) -> String {
    let ways: Vec<&str> = line.ways.iter().filter(|way| way.heals).map(|way| way.command.as_str()).collect();
    match (line.end, ways.as_slice()) {
        (FaultEnd::Done, []) => "not needed".into(),
        (_, []) => "NOTHING".into(),
        (_, ways) => ways.join(", "),
    }
}

/// What there is to say besides: whom it hurts, what the change said, what does not help.
fn note(line: &FaultLine) -> String {
    let mut parts = line.hurts.clone();
    parts.extend((!line.said.is_empty()).then(|| format!("said: {}", one_line(&line.said))));
    let vain = |way: &&WayOut| !way.heals;
    parts.extend(line.ways.iter().filter(vain).map(|way| format!("{} does not: {}", way.command, one_line(&way.said))));
    parts.join("; ")
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ")
}

/// The call without most of a long statement: it is above.
fn short(call: &str) -> String {
    const SHOWN: usize = 72;
    match call.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", call.get(..end).unwrap_or_default()),
        None => call.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fault: Fault, end: FaultEnd, ways: &[(&str, bool)]) -> FaultLine {
        let way = |(command, heals): &(&str, bool)| {
            let said = if *heals { String::new() } else { "refused:\n  why".to_owned() };
            WayOut { command: (*command).to_owned(), heals: *heals, said }
        };
        let (phase, hurts) = match end {
            FaultEnd::HalfWay => ("stopped_before_journal", vec!["writes to t are refused".to_owned()]),
            _ => ("not_switched", Vec::new()),
        };
        FaultLine {
            step: "close".into(),
            call: "global  keyspaces/ks/shards/0/Shard deny tables t".into(),
            fault,
            said: String::new(),
            end,
            phase: phase.into(),
            hurts,
            ways: ways.iter().map(way).collect(),
        }
    }

    fn tried(lines: Vec<FaultLine>) -> FaultTable {
        FaultTable { all: lines.len(), lines, runs: 5, took_ms: 1_234, limit_ms: 60_000 }
    }

    fn cells(of: &FaultTable) -> Vec<Vec<String>> {
        fault_table(of).rows.into_iter().map(|row| row.cells.into_iter().skip(2).collect()).collect()
    }

    #[test]
    fn each_fault_says_what_it_comes_to_and_what_heals_it() {
        let table = tried(vec![
            line(Fault::AnswerLost, FaultEnd::Done, &[]),
            line(Fault::Fails, FaultEnd::AsBefore, &[("same command", true)]),
            line(Fault::Dies, FaultEnd::HalfWay, &[("same command", true), ("reverse", true)]),
        ]);
        let want = [
            ["answer lost", "done", "not needed", ""],
            ["fails", "as before", "same command", ""],
            ["process dies", "stopped before journal", "same command, reverse", "writes to t are refused"],
        ];
        assert_eq!(cells(&table), want);
        assert_eq!(
            fault_summary(&table),
            [
                "3 faults at 1 call, each on a fresh copy: 1 done all the same, 1 as before, 1 half-way",
                "each of them heals; of those half-way 1 in both directions, the others in one",
                "5 runs in 1.2 s, of 60.0 s at most",
            ]
        );
        assert!(fault_table(&table).rows.iter().all(|row| !row.has_trouble));
        let half = FaultLine { phase: "not_switched".into(), ..line(Fault::Dies, FaultEnd::HalfWay, &[]) };
        assert_eq!(after(&half), "half done, not switched", "a phase that does not say so");
    }

    #[test]
    fn what_nothing_heals_and_what_was_not_tried_is_trouble() {
        let mut table = tried(vec![line(Fault::Dies, FaultEnd::HalfWay, &[("same command", false), ("reverse", false)])]);
        table.all = 3;
        let note = "writes to t are refused; same command does not: refused: / why; reverse does not: refused: / why";
        assert_eq!(cells(&table), [["process dies", "stopped before journal", "NOTHING", note]]);
        assert!(fault_table(&table).rows[0].has_trouble);
        assert_eq!((table.unhealed(), table.is_whole()), (1, false));
        let summary = fault_summary(&table);
        assert!(summary.contains(&"1 of them does not heal".to_owned()), "{summary:?}");
        assert!(summary.contains(&"2 faults were not tried: the time was over".to_owned()), "{summary:?}");
    }
}
