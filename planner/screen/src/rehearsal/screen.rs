//! A rehearsal as lines, in their order, with the times of a picture beside them: what [`super::text`] prints, and what the page draws.

use serde::Serialize;
use vtflow_planner::{
    contract::{Failure, StepWay},
    formats::time::ansic,
};

use super::{
    FaultTable, RefusedWrites, Rehearsal, RehearsalVerdict, RehearsedCall, RehearsedSequence, RehearsedStep, RoundTrips,
    fault_summary, fault_table,
};
use crate::{
    diagnose::DiagnosisScreen,
    plans::{GONE, NO_RETURN, NO_WAY_BACK, TAKEN_AGAIN},
    table::Table,
    words::plural,
};

/// A rehearsal as lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RehearsalScreen {
    /// How it went.
    pub verdict: RehearsalVerdict,
    /// The same in a sentence.
    pub summary: &'static str,
    /// Of what it is, what could not be copied, what would be done.
    pub head: Vec<String>,
    /// What was done, in its order.
    pub steps: Vec<TimedStep>,
    /// What it ended with, if not well: a line each.
    pub error: Vec<String>,
    /// What is to be known besides.
    pub notes: Vec<String>,
    /// Which writes are refused, how long, and how long all of it takes. Empty: nothing was done.
    pub times: Vec<String>,
    /// Estimated microseconds after the first call between which writes are refused.
    pub refused_us: Option<(u64, u64)>,
    /// Estimated microseconds of all of it.
    pub estimate_us: u64,
    /// What stands above what is not known.
    pub not_known_heading: &'static str,
    /// What a copy cannot tell. Empty: nothing was done.
    pub not_known: Vec<String>,
    /// What stands above what is gone.
    pub gone_heading: &'static str,
    /// What nobody can bring back afterwards. Empty: nothing, or nothing was done.
    pub gone: Vec<String>,
    /// How the workflow is then, in a line; empty: nobody has looked.
    pub after: String,
    /// What is wrong then; `None`: nothing, or nobody has looked.
    pub diagnosis: Option<DiagnosisScreen>,
    /// The same with one thing going wrong, once for each, and what there is to say of all of them.
    pub faults: Option<(Table, Vec<String>)>,
}

/// One step, or what comes before the first and after the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimedStep {
    /// What is otherwise from here on: there is no way back, writes are refused.
    pub before: Vec<String>,
    /// Its number among the steps of the plan; `None`: it is none of them.
    pub number: Option<usize>,
    /// What it does.
    pub name: String,
    /// Its calls, rounds and times in words.
    pub counted: String,
    /// Its calls.
    pub calls: Vec<TimedCall>,
    /// What is otherwise after it: writes are taken again.
    pub after: Option<&'static str>,
    /// Whether writes are refused while it is done.
    pub is_refusing: bool,
    /// Whether it stays when a later one fails.
    pub is_past: bool,
    /// Estimated microseconds after the first call: when it begins and when it has ended. `None`: it has no calls.
    pub span_us: Option<(u64, u64)>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimedCall {
    /// Whom it goes to, and what it does.
    pub text: String,
    /// Whether it changes something.
    pub writes: bool,
    /// How many answers deep it is.
    pub round: u32,
    /// Estimated microseconds after the first call.
    pub begins_us: u64,
    /// Likewise.
    pub ends_us: u64,
    /// Its times in words.
    pub told: String,
    /// What was said instead of an answer; empty: it was answered.
    pub failed: String,
}

/// The rehearsal as lines.
pub fn screen(of: &Rehearsal) -> RehearsalScreen {
    let has_begun = !of.steps.is_empty();
    let mut times = Vec::new();
    if has_begun {
        times.push(of.refused.as_ref().map_or_else(|| "No write is refused that was not before.".into(), outage));
        times.push(format!("All of it: {} on the copy; {}", time(of.took_us), estimate(of.estimate_us, of.round_trips)));
    }
    let after = of.after.as_ref().filter(|_| has_begun);
    RehearsalScreen {
        verdict: of.verdict,
        summary: summary(of),
        head: head(of),
        steps: steps(of),
        error: error(of),
        notes: of.sequences.iter().map(sequence).chain(of.notes.iter().cloned()).collect(),
        times,
        refused_us: refused(of),
        estimate_us: of.estimate_us,
        not_known_heading: "A copy does not know",
        not_known: if has_begun { of.not_known.clone() } else { Vec::new() },
        gone_heading: GONE,
        gone: of.plan.iter().filter(|_| has_begun).flat_map(|plan| plan.gone.clone()).collect(),
        after: after.map(phase).unwrap_or_default(),
        diagnosis: of.after.clone().filter(|after| after.verdict != crate::diagnose::Verdict::Healthy),
        faults: of.faults.as_ref().map(|faults: &FaultTable| (fault_table(faults), fault_summary(faults))),
    }
}

fn summary(of: &Rehearsal) -> &'static str {
    match of.verdict {
        RehearsalVerdict::Healthy if of.faults.is_some() => {
            "It goes to its end, nothing is wrong afterwards, and each fault heals."
        }
        RehearsalVerdict::Healthy => "It goes to its end, and nothing is wrong afterwards.",
        RehearsalVerdict::Refused => "It is refused before anything is changed.",
        RehearsalVerdict::NotHealthy => "It does not end well.",
        RehearsalVerdict::CouldNotLook => "Not all could be looked at.",
    }
}

fn head(of: &Rehearsal) -> Vec<String> {
    let copy = &of.copy;
    let mut lines = vec![format!(
        "Rehearsed on a copy of {}, taken {} UTC: {}, the sidecar rows of {}. The cluster itself was only read.",
        copy.keyspaces.join(", "),
        ansic(copy.taken_at),
        plural(copy.records, "record"),
        plural(copy.tablets, "tablet"),
    )];
    lines.extend(copy.missing.iter().map(|missing| format!("Not read: {}", lost(missing))));
    lines.extend(of.differs.iter().map(|line| format!("Unlike on the cluster: {line}")));
    lines.extend(of.plan.as_ref().map(|plan| plan.summary.clone()));
    lines
}

fn error(of: &Rehearsal) -> Vec<String> {
    let verb = match of.verdict {
        RehearsalVerdict::NotHealthy => "It fails",
        RehearsalVerdict::CouldNotLook => "Nobody can tell",
        RehearsalVerdict::Refused | RehearsalVerdict::Healthy => "It is refused",
    };
    let lines = of.error.iter().flat_map(|error| error.lines()).enumerate();
    lines.map(|(at, line)| if at == 0 { format!("{verb}: {line}") } else { line.to_owned() }).collect()
}

/// From what to what it goes.
fn sequence(of: &RehearsedSequence) -> String {
    let next = |value: Option<i64>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
    let (name, before, after) = (&of.name, next(of.before), next(of.after));
    if before == after {
        format!("sequence {name} stays at {before}")
    } else {
        format!("sequence {name} goes from {before} to {after}")
    }
}

/// Where the workflow is then, and how it is.
fn phase(after: &DiagnosisScreen) -> String {
    let headings = after.parts.iter().map(|part| part.heading.as_str()).chain(after.well.iter().map(String::as_str));
    let headings: Vec<&str> = headings.collect();
    format!("After it: {}: {}", after.summary, headings.join("; "))
}

fn steps(of: &Rehearsal) -> Vec<TimedStep> {
    let mut number = 0;
    let mut is_past = false;
    let mut is_refusing = of.refused.as_ref().is_some_and(|refused| refused.from.is_none());
    let mut lines = Vec::new();
    for step in &of.steps {
        let is = |name: &Option<String>| name.as_ref() == Some(&step.name);
        let mut before = Vec::new();
        if let Some(refused) = of.refused.as_ref().filter(|refused| is(&refused.from)) {
            before.push(format!("from here {} are refused", refused.what));
            is_refusing = true;
        }
        if let Some(way) = step.way {
            number += 1;
            if way != StepWay::Back && !is_past {
                before.push(if number > 1 { NO_RETURN } else { NO_WAY_BACK }.to_owned());
            }
            is_past = way != StepWay::Back;
        }
        let opens = of.refused.as_ref().is_some_and(|refused| is(&refused.to));
        lines.push(TimedStep {
            before,
            number: step.way.map(|_| number),
            name: step.name.clone(),
            counted: counted(step),
            calls: step.calls.iter().map(call).collect(),
            after: opens.then_some(TAKEN_AGAIN),
            is_refusing,
            is_past: is_past && step.way.is_some(),
            span_us: span(step),
        });
        is_refusing &= !opens;
    }
    lines
}

fn call(of: &RehearsedCall) -> TimedCall {
    let estimate = time(of.ends_us.saturating_sub(of.begins_us));
    TimedCall {
        text: of.text.clone(),
        writes: of.writes,
        round: of.round,
        begins_us: of.begins_us,
        ends_us: of.ends_us,
        told: format!("round {}, {} on the copy, estimate {estimate}", of.round, time(of.took_us)),
        failed: of.failed.clone().unwrap_or_default(),
    }
}

/// When a step begins and when it has ended, estimated.
fn span(step: &RehearsedStep) -> Option<(u64, u64)> {
    let first = step.calls.iter().map(|call| call.begins_us).min()?;
    let last = step.calls.iter().map(|call| call.ends_us).max()?;
    Some((first, last.max(first)))
}

/// Between which times writes are refused: from the first call of the step that closes to the last one of the step that opens.
fn refused(of: &Rehearsal) -> Option<(u64, u64)> {
    let refused = of.refused.as_ref()?;
    let of_step = |name: &String| of.steps.iter().find(|step| step.name == *name).and_then(span);
    let from = refused.from.as_ref().map_or(Some(0), |name| of_step(name).map(|(from, _)| from))?;
    let to = refused.to.as_ref().map_or(Some(of.estimate_us), |name| of_step(name).map(|(_, to)| to))?;
    Some((from, to.max(from)))
}

/// Calls, rounds and times of a step.
fn counted(step: &RehearsedStep) -> String {
    let Some((first, last)) = span(step) else { return "nothing to do".into() };
    let mut rounds: Vec<u32> = step.calls.iter().map(|call| call.round).collect();
    rounds.sort_unstable();
    rounds.dedup();
    let took: u64 = step.calls.iter().map(|call| call.took_us).sum();
    format!(
        "{} in {}, {} on the copy, estimate {}",
        plural(step.calls.len(), "call"),
        plural(rounds.len(), "round"),
        time(took),
        time(last - first)
    )
}

fn outage(of: &RefusedWrites) -> String {
    let from = match &of.from {
        Some(step) => format!("from \"{step}\""),
        None => "from before it".into(),
    };
    let Some(to) = &of.to else { return format!("{} are refused {from}, and nothing lets them through.", capital(&of.what)) };
    let pause = if of.pause_us > 0 {
        format!(", of which {} are a pause that tablets are told to make", time(of.pause_us))
    } else {
        String::new()
    };
    format!(
        "{} are refused {from} to \"{to}\": {} of {}, {} on the copy, estimate {}{pause}.",
        capital(&of.what),
        plural(usize::try_from(of.rounds).unwrap_or(usize::MAX), "round"),
        plural(of.calls, "call"),
        time(of.took_us),
        time(of.estimate_us),
    )
}

fn estimate(estimate_us: u64, trips: RoundTrips) -> String {
    if trips.tablets == 0 {
        return format!("estimate {}, without the way to any tablet: none answered", time(estimate_us));
    }
    format!(
        "estimate {} as the cluster answered while it was copied ({}: {} in the middle, {} at most; topology {})",
        time(estimate_us),
        plural(trips.tablets, "tablet"),
        time(trips.middle_us),
        time(trips.most_us),
        time(trips.topology_us)
    )
}

fn lost(failure: &Failure) -> String {
    let place = failure.place();
    if place.is_empty() { failure.message.clone() } else { format!("{place}: {}", failure.message) }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A time that is short: `0.4 ms`, `12 ms`, `1.3 s`.
fn time(us: u64) -> String {
    match us {
        ..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_have_a_unit() {
        assert_eq!(
            [0, 420, 9_999, 12_345, 999_999, 1_300_000].map(time),
            ["0.0 ms", "0.4 ms", "9.9 ms", "12 ms", "999 ms", "1.3 s"]
        );
    }

    fn rehearsed() -> Rehearsal {
        let call = |round: u32, begins_us: u64, ends_us: u64| {
            serde_json::json!({
                "text": format!("call {begins_us}"), "writes": true, "round": round, "begins_us": begins_us, "ends_us": ends_us,
                "took_us": 100, "failed": null
            })
        };
        serde_json::from_value(serde_json::json!({
            "verdict": "healthy",
            "copy": { "taken_at": 0, "keyspaces": ["ks"], "records": 3, "tablets": 2, "missing": [] },
            "plan": null, "differs": [], "error": null, "notes": [], "estimate_us": 9_000, "took_us": 500,
            "steps": [
                { "name": "lock", "way": null, "calls": [call(1, 0, 1_000)] },
                { "name": "close", "way": "back", "calls": [call(2, 1_000, 2_000), call(3, 2_000, 4_000)] },
                { "name": "journal", "way": "point_of_no_return", "calls": [] },
                { "name": "route", "way": "forward", "calls": [call(4, 4_000, 6_000)] },
                { "name": "unlock", "way": null, "calls": [call(5, 6_000, 9_000)] },
            ],
            "refused": {
                "what": "writes to t", "from": "close", "to": "route", "rounds": 3, "calls": 3, "took_us": 300, "estimate_us": 5_000,
                "pause_us": 0
            },
            "round_trips": { "tablets": 0, "middle_us": 0, "most_us": 0, "topology_us": 0 },
            "after": null, "not_known": ["load"], "faults": null
        }))
        .unwrap()
    }

    #[test]
    fn a_picture_has_when_each_step_is_done_and_between_which_times_writes_are_refused() {
        let of = screen(&rehearsed());
        let told: Vec<_> = of
            .steps
            .iter()
            .map(|it| (it.number, it.span_us, it.is_refusing, it.is_past, it.before.len(), it.after.is_some()))
            .collect();
        let want = [
            (None, Some((0, 1_000)), false, false, 0, false),
            (Some(1), Some((1_000, 4_000)), true, false, 1, false),
            (Some(2), None, true, true, 1, false),
            (Some(3), Some((4_000, 6_000)), true, true, 0, true),
            (None, Some((6_000, 9_000)), false, false, 0, false),
        ];
        assert_eq!(told, want);
        assert_eq!(of.refused_us, Some((1_000, 6_000)));
        assert_eq!(of.steps[1].calls[1].told, "round 3, 0.1 ms on the copy, estimate 2.0 ms");
    }

    #[test]
    fn writes_that_were_refused_before_or_are_for_ever_are_so_to_the_ends_of_the_picture() {
        let mut of = rehearsed();
        let refused = of.refused.as_mut().unwrap();
        (refused.from, refused.to) = (None, None);
        let shown = screen(&of);
        assert_eq!(shown.refused_us, Some((0, 9_000)));
        assert!(shown.steps.iter().all(|step| step.is_refusing && step.after.is_none()));
        of.refused = None;
        assert_eq!(screen(&of).refused_us, None);
    }

    #[test]
    fn a_sequence_is_told_with_where_it_goes_before_all_other_notes() {
        let mut of = rehearsed();
        of.notes = vec!["locks".into()];
        let sequence = |name: &str, before, after| RehearsedSequence { name: name.into(), before, after };
        of.sequences =
            vec![sequence("ks.a", Some(10), Some(56)), sequence("ks.b", None, Some(1)), sequence("ks.c", Some(7), Some(7))];
        let want = ["sequence ks.a goes from 10 to 56", "sequence ks.b goes from none to 1", "sequence ks.c stays at 7", "locks"];
        assert_eq!(screen(&of).notes, want);
    }

    #[test]
    fn what_was_refused_has_no_times() {
        let mut of = rehearsed();
        of.steps.clear();
        (of.verdict, of.error) = (RehearsalVerdict::Refused, Some("lag\nmore".into()));
        let shown = screen(&of);
        assert_eq!((shown.times, shown.not_known), (Vec::new(), Vec::new()));
        assert_eq!(shown.error, ["It is refused: lag", "more"]);
    }
}
