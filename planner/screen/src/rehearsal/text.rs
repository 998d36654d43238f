//! A rehearsal in words.

use std::fmt::Write;

use vtflow_planner::{
    contract::{Failure, StepWay},
    formats::time::ansic,
};

use super::{RefusedWrites, Rehearsal, RehearsalVerdict, RehearsedStep, RoundTrips};
use crate::{
    diagnose::DiagnosisScreen,
    plans::{self, NO_RETURN, NO_WAY_BACK},
    words::plural,
};

/// The rehearsal as people read it, a line of text each line; what is wrong afterwards is in [`Rehearsal::after`].
pub fn text(of: &Rehearsal) -> String {
    let mut out = String::new();
    let copy = &of.copy;
    let _ = writeln!(
        out,
        "Rehearsed on a copy of {}, taken {} UTC: {}, the sidecar rows of {}. The cluster itself was only read.",
        copy.keyspaces.join(", "),
        ansic(copy.taken_at),
        plural(copy.records, "record"),
        plural(copy.tablets, "tablet"),
    );
    for missing in &copy.missing {
        let _ = writeln!(out, "Not read: {}", lost(missing));
    }
    for line in &of.differs {
        let _ = writeln!(out, "Unlike on the cluster: {line}");
    }
    if let Some(plan) = &of.plan {
        let _ = writeln!(out, "{}", plan.summary);
    }
    steps(of, &mut out);
    if let Some(error) = &of.error {
        let verb = match of.verdict {
            RehearsalVerdict::NotHealthy => "It fails",
            RehearsalVerdict::CouldNotLook => "Nobody can tell",
            RehearsalVerdict::Refused | RehearsalVerdict::Healthy => "It is refused",
        };
        for (at, line) in error.lines().enumerate() {
            let _ = if at == 0 { writeln!(out, "{verb}: {line}") } else { writeln!(out, "  {line}") };
        }
    }
    for note in &of.notes {
        let _ = writeln!(out, "Note: {note}");
    }
    if of.steps.is_empty() {
        return out;
    }
    match &of.refused {
        Some(refused) => {
            let _ = writeln!(out, "{}", outage(refused));
        }
        None => out.push_str("No write is refused that was not before.\n"),
    }
    let _ = writeln!(out, "All of it: {} on the copy; {}", time(of.took_us), estimate(of.estimate_us, of.round_trips));
    out.push_str("A copy does not know:\n");
    for what in &of.not_known {
        let _ = writeln!(out, "  {what}");
    }
    if let Some(plan) = &of.plan {
        out += &plans::gone(plan);
    }
    if let Some(after) = &of.after {
        let _ = writeln!(out, "After it: {}", phase(after));
    }
    out
}

/// Where the workflow is then, and how it is.
fn phase(after: &DiagnosisScreen) -> String {
    let headings = after.parts.iter().map(|part| part.heading.as_str()).chain(after.well.iter().map(String::as_str));
    let headings: Vec<&str> = headings.collect();
    format!("{}: {}", after.summary, headings.join("; "))
}

fn steps(of: &Rehearsal, out: &mut String) {
    let mut number = 0;
    let mut is_past = false;
    for step in &of.steps {
        let marks = of.refused.as_ref();
        if marks.is_some_and(|refused| refused.from.as_ref() == Some(&step.name)) {
            let what = marks.map(|refused| refused.what.as_str()).unwrap_or_default();
            let _ = writeln!(out, "  ---- from here {what} are refused");
        }
        match step.way {
            None => {
                let _ = writeln!(out, "  {}: {}", step.name, counted(step));
            }
            Some(way) => {
                number += 1;
                if way != StepWay::Back && !is_past {
                    let _ = writeln!(out, "  ---- {}", if number > 1 { NO_RETURN } else { NO_WAY_BACK });
                }
                is_past = way != StepWay::Back;
                let _ = writeln!(out, "  {number}. {}: {}", step.name, counted(step));
                for call in &step.calls {
                    let _ = writeln!(out, "     {}", call.text);
                    if let Some(failed) = &call.failed {
                        let _ = writeln!(out, "       failed: {failed}");
                    }
                }
            }
        }
        if marks.is_some_and(|refused| refused.to.as_ref() == Some(&step.name)) {
            out.push_str("  ---- from here they are taken again\n");
        }
    }
}

/// Calls, rounds and times of a step.
fn counted(step: &RehearsedStep) -> String {
    let (Some(first), Some(last)) =
        (step.calls.iter().map(|call| call.begins_us).min(), step.calls.iter().map(|call| call.ends_us).max())
    else {
        return "nothing to do".into();
    };
    let mut rounds: Vec<u32> = step.calls.iter().map(|call| call.round).collect();
    rounds.sort_unstable();
    rounds.dedup();
    let took: u64 = step.calls.iter().map(|call| call.took_us).sum();
    format!(
        "{} in {}, {} on the copy, estimate {}",
        plural(step.calls.len(), "call"),
        plural(rounds.len(), "round"),
        time(took),
        time(last.saturating_sub(first))
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
pub(super) fn time(us: u64) -> String {
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
}
