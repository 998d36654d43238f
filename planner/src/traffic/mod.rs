//! Where the traffic of a workflow stands, what is wrong with it, and what would put it right: from everything that was read, without
//! asking for anything.
//!
//! [`evidence`] is what was read, each piece known, missing or unknown. [`phase()`] and [`diagnose`] conclude from it, and say what they
//! cannot tell. [`leftovers`] is the same of what belongs to no workflow. Whoever performs a repair performs its [`repair::Action`]s.

mod back;
pub mod commands;
pub mod deviation;
pub mod evidence;
pub mod journal;
pub mod kind;
pub mod leftovers;
pub mod locks;
pub mod names;
mod partition;
pub mod phase;
pub mod repair;
pub(crate) mod routing;
pub mod sequences;
mod shards;
mod switch;
mod tables;
mod text;

use std::collections::BTreeSet;

pub use phase::{Phase, phase};

use deviation::Deviation;
use evidence::Evidence;
use phase::Facts;
use repair::Direction;

/// What there is to say of one workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// Where it stands.
    pub phase: Phase,
    /// What is wrong, in the order of mechanisms.
    pub deviations: Vec<Deviation>,
    /// What could not be told, and why; empty: all was.
    pub unknown: BTreeSet<String>,
}

/// Looks at one workflow. `now`: Unix seconds.
pub fn diagnose(evidence: &Evidence, now: i64) -> Diagnosis {
    let facts = Facts::new(evidence);
    let phase = facts.phase();
    let mut unknown = facts.unknown.clone();
    if let Phase::Unknown(why) = &phase {
        unknown.0.extend(why.iter().cloned());
    }
    // What looks undone of the switch forth is a half way back's: nothing of it may be finished.
    let mut deviations = match facts.half_back() {
        Some(half) => vec![back::deviation(&facts, half)],
        None => switch::deviations(&facts),
    };
    deviations.extend(tables::deviations(&facts, &mut unknown));
    deviations.extend(shards::deviations(&facts, &mut unknown));
    deviations.extend(locks::deviations(&facts, now, &mut unknown));
    // Where a journal is, or may be, nothing leads back: the other side may have been told of it.
    if !facts.knows_no_journal() {
        for deviation in &mut deviations {
            deviation.repairs.retain(|repair| repair.direction != Direction::Back);
        }
    }
    deviations.sort_by(|a, b| (a.mechanism, &a.places).cmp(&(b.mechanism, &b.places)));
    Diagnosis { phase, deviations, unknown: unknown.0 }
}
