//! What is said of a change of traffic afterwards: what became of each write of its plan, and the texts of what has failed.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    contract::{Outcome, PlannedWrite, StepWay as Way, Verdict, WritePlan},
    cutover::{
        perform::Failed,
        scene::Scene,
        steps::{Planned, Step},
    },
};

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    NotBegun,
    Done,
    Failed(BTreeSet<Failed>),
}

/// What became of each write of the plan.
///
/// `step_of`: the step of each; `undone`: whether all that could be taken back was; `None`: nothing had to be.
pub(super) fn outcomes(
    plan: &WritePlan,
    step_of: &[usize],
    steps: &[Planned],
    ended: &[Ended],
    undone: Option<bool>,
) -> Vec<Outcome> {
    if ended.iter().all(|ended| *ended == Ended::NotBegun) {
        return Vec::new();
    }
    let taken_back = match undone {
        Some(true) => (Verdict::NotApplied, "taken back".to_owned()),
        _ => (Verdict::Unknown, "taking back what had been done has failed in part".to_owned()),
    };
    let of = |(write, step): (&PlannedWrite, &usize)| {
        let way = steps.get(*step).map_or(Way::Forward, |planned| planned.way);
        let place = (write.keyspace.as_str(), write.shard.as_str(), write.tablet.as_str());
        let is_here = |failed: &&Failed| {
            let (keyspace, shard, tablet) = &failed.place;
            place == (keyspace.as_str(), shard.as_str(), tablet.as_str())
        };
        let (verdict, message) = match ended.get(*step) {
            Some(Ended::Done) if undone.is_some() && way == Way::Back => taken_back.clone(),
            Some(Ended::Done) => (Verdict::Applied, String::new()),
            Some(Ended::Failed(failures)) => match failures.iter().find(is_here) {
                Some(failed) if failed.is_unclear => (Verdict::Unknown, failed.text.clone()),
                Some(failed) => (Verdict::NotApplied, failed.text.clone()),
                None if undone.is_some() && way == Way::Back => taken_back.clone(),
                None => (Verdict::Unknown, "another part of the step has failed".to_owned()),
            },
            Some(Ended::NotBegun) | None => (Verdict::NotApplied, "not begun".to_owned()),
        };
        let rows = u64::from(verdict == Verdict::Applied);
        let (keyspace, shard, tablet) = (write.keyspace.clone(), write.shard.clone(), write.tablet.clone());
        Outcome { keyspace, shard, tablet, verdict, rows, message }
    };
    plan.writes.iter().zip(step_of).map(of).collect()
}

/// The texts of what has failed, joined as the reference does.
pub(super) fn texts(step: &Step, failures: &BTreeSet<Failed>, scene: &Scene) -> String {
    let is_checked = matches!(step, Step::Refresh | Step::Close);
    let end = if *step == Step::Refresh { "\n" } else { "" };
    let texts = grouped(failures, scene, is_checked, end);
    texts.join(if *step == Step::Refresh { "" } else { "\n" })
}

/// The texts of what has failed, each once. `is_checked`: tablets that could not be told are those of a shard, which is named; `end`:
/// what is behind each of these.
pub(super) fn grouped(failures: &BTreeSet<Failed>, scene: &Scene, is_checked: bool, end: &str) -> Vec<String> {
    let is_source = |keyspace: &str| keyspace == scene.source_keyspace;
    let mut by_shard: BTreeMap<(&str, &str), String> = BTreeMap::new();
    let mut texts = Vec::new();
    for failed in failures {
        if failed.is_refresh && is_checked {
            let (keyspace, shard, _) = &failed.place;
            by_shard.entry((keyspace, shard)).or_default().push_str(&failed.text);
        } else {
            texts.push(failed.text.clone());
        }
    }
    for ((keyspace, shard), details) in by_shard {
        let side = if is_source(keyspace) { "source" } else { "target" };
        let text = format!(
            "failed to successfully refresh all tablets in the {keyspace}/{shard} {side} shard (<nil>):\n  {details}{end}"
        );
        texts.push(text);
    }
    texts.sort();
    texts
}
