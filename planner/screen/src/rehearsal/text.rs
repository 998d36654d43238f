//! A rehearsal in words.

use std::fmt::Write;

use super::{Rehearsal, RehearsalScreen, screen};

/// The rehearsal as people read it, a line of text each line; what is wrong afterwards is in [`Rehearsal::after`].
pub fn text(of: &Rehearsal) -> String {
    let RehearsalScreen { head, steps, error, notes, times, not_known_heading, not_known, gone_heading, gone, after, .. } =
        screen(of);
    let mut out = String::new();
    for line in &head {
        let _ = writeln!(out, "{line}");
    }
    for step in &steps {
        for mark in &step.before {
            let _ = writeln!(out, "  ---- {mark}");
        }
        match step.number {
            // What is done around the steps is counted, no more.
            None => {
                let _ = writeln!(out, "  {}: {}", step.name, step.counted);
            }
            Some(number) => {
                let _ = writeln!(out, "  {number}. {}: {}", step.name, step.counted);
                for call in &step.calls {
                    let _ = writeln!(out, "     {}", call.text);
                    if !call.failed.is_empty() {
                        let _ = writeln!(out, "       failed: {}", call.failed);
                    }
                }
            }
        }
        if let Some(mark) = step.after {
            let _ = writeln!(out, "  ---- {mark}");
        }
    }
    for (at, line) in error.iter().enumerate() {
        let _ = if at == 0 { writeln!(out, "{line}") } else { writeln!(out, "  {line}") };
    }
    for note in &notes {
        let _ = writeln!(out, "Note: {note}");
    }
    for line in &times {
        let _ = writeln!(out, "{line}");
    }
    if !not_known.is_empty() {
        let _ = writeln!(out, "{not_known_heading}:");
        for what in &not_known {
            let _ = writeln!(out, "  {what}");
        }
    }
    if !gone.is_empty() {
        let _ = writeln!(out, "{gone_heading}:");
        for what in &gone {
            let _ = writeln!(out, "  {what}");
        }
    }
    if !after.is_empty() {
        let _ = writeln!(out, "{after}");
    }
    out
}
