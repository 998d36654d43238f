//! What moves: nothing is started against the way that its traffic goes, and the two directions of a move are told apart.

use super::{
    commands::Do,
    facts::{Case, Phase, Source, case},
    kind::Kind,
};
use crate::{around::Surroundings, health::Whole};
use vtflow_planner::{ops::workflow_status::traffic::Traffic, proto::vtctldata::Workflow};

/// A move in its own direction, unless nothing of its writes is switched. Where they are, its source stands still and its target is live:
/// started again, it would write old rows over new ones.
pub(super) fn switched_already(case: &Case) -> Option<Vec<(Do, &'static str)>> {
    let stands = !matches!(case.phase, Phase::Running | Phase::Retrying | Phase::Silent | Phase::Copying);
    match (case.phase, case.traffic) {
        (Phase::Frozen | Phase::PartlyFrozen, _)
        | (_, Traffic::NotSwitched | Traffic::Reads)
        | (Phase::Nothing | Phase::AfterCopy | Phase::PartlyAfterCopy, Traffic::Unknown | Traffic::Split) => None,
        (Phase::Running, _) if case.source != Source::Present => None,
        (_, Traffic::Unknown | Traffic::Split) if stands => {
            let why = "where its traffic goes is not known: were its writes switched, it would write old rows over new ones if it were started";
            Some(vec![(Do::Nothing, why)])
        }
        (_, Traffic::Unknown | Traffic::Split) => None,
        (_, Traffic::SomeShards) if !stands => None,
        (_, Traffic::SomeShards) => Some(vec![(
            case.is_elsewhere(Do::SwitchTraffic),
            "writes of some shards are switched: started, it would write old rows over new ones there; see what it would take to end the switch",
        )]),
        (_, Traffic::Writes | Traffic::Switched) if stands => Some(vec![(
            case.is_elsewhere(Do::SwitchTraffic),
            "its writes are switched, so that it must not be started: it would write old rows over new ones; see what it would take to end the switch",
        )]),
        (_, Traffic::Writes | Traffic::Switched) => Some(vec![(
            case.is_elsewhere(Do::SwitchTraffic),
            "its writes are switched, and yet its streams run: see what it would take to end the switch",
        )]),
    }
}

/// The other direction of a move. Its traffic is told as that of the move itself: it has work to do only while writes are switched.
/// What is done with both is up to the other one: it is never completed, and nothing is switched back by its name.
pub(super) fn reverse(case: &Case) -> Option<Vec<(Do, &'static str)>> {
    let forward = |why| Some(vec![(Do::DescribeForward, why)]);
    let is_live = matches!(case.traffic, Traffic::Writes | Traffic::Switched);
    match (case.phase, case.traffic) {
        (Phase::Cutover, _) => {
            forward("switching traffic back stopped it, and has not ended: see how the workflow of the other direction stands")
        }
        (Phase::Frozen, Traffic::NotSwitched | Traffic::Reads) => forward(
            "its traffic was switched back, and it was put away: what is next is up to the workflow of the other direction",
        ),
        (Phase::Frozen, _) => forward("it is frozen, and cannot be started: see how the workflow of the other direction stands"),
        (Phase::Running | Phase::Copying, Traffic::NotSwitched | Traffic::Reads) => forward(
            "writes are not switched, and yet it runs, and writes to the side that is live: see how the workflow of the other direction stands",
        ),
        (Phase::Running, _) => {
            forward("it keeps the former source current: what is next is up to the workflow of the other direction")
        }
        (Phase::PartlyFrozen | Phase::Retrying | Phase::Silent | Phase::Copying, _) => None,
        _ if is_live => None,
        (_, Traffic::NotSwitched | Traffic::Reads) => forward(
            "writes are not switched: started, it would write to the side that is live; see how the workflow of the other direction stands",
        ),
        _ => forward(
            "it is not known that all writes are switched, and until then it must not be started: see how the workflow of the other direction stands",
        ),
    }
}

/// How streams of a move do what they must not do as its traffic stands, if they do.
pub(crate) fn against_traffic(
    workflow: &Workflow,
    whole: &Whole<'_>,
    traffic: Option<&str>,
    around: &Surroundings,
) -> Option<&'static str> {
    let case = case(workflow, whole, traffic, around);
    let is_move = matches!(case.kind, Kind::MoveTables | Kind::Reshard) && !case.is_contradictory;
    if !is_move || matches!(case.source, Source::Elsewhere | Source::Gone) {
        return None;
    }
    let runs = matches!(case.phase, Phase::Running | Phase::Silent | Phase::Retrying | Phase::Copying);
    match (case.is_reverse, case.phase, case.traffic) {
        (false, Phase::Frozen, Traffic::NotSwitched | Traffic::Reads) => {
            Some("it is frozen, and yet its writes are not switched")
        }
        (false, _, Traffic::Writes | Traffic::Switched) if runs => Some("it runs, and yet its writes are switched"),
        (true, _, Traffic::NotSwitched | Traffic::Reads) if runs => {
            Some("it runs, and yet writes are not switched: it writes to the side that is live")
        }
        (true, Phase::Frozen, Traffic::Writes | Traffic::Switched) => {
            Some("it is frozen, and yet writes are switched: the former source is not kept current")
        }
        _ => None,
    }
}
