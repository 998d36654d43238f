//! What one could do next with a workflow, and why: a command only where it can work.
//!
//! One table: by what the workflow is for, how its streams stand, where its traffic goes and whether its source is there. What vtctld refuses
//! is never offered. Facts: `go/vt/vtctl/workflow/server.go` (`WorkflowSwitchTraffic`, `MoveTablesComplete`, `WorkflowDelete`),
//! `vdiff.go:VDiffCreate`, `lookup_vindex.go`, `go/vt/vttablet/tabletmanager/rpc_vreplication.go`, v24.

mod commands;
mod facts;
mod kind;
mod moves;

use commands::{Do, command};
use facts::{Case, Phase, Source, case};
pub(super) use facts::{lost_source, sources_here, splits, traffic};
use kind::Kind;
pub(super) use moves::against_traffic;
use moves::{reverse, switched_already};

use serde::{Deserialize, Serialize};

use super::{
    around::Surroundings,
    health::{Whole, is_throttled},
    text::Command,
    words::duration,
};
use vtflow_planner::{contract::Timestamp, ops::workflow_status::traffic::Traffic, proto::vtctldata::Workflow};

/// Something that one could do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What for.
    pub why: String,
    /// The command; empty where there is none.
    pub command: String,
}

/// The table.
fn advise(case: &Case) -> Vec<(Do, &'static str)> {
    let moves = matches!(case.kind, Kind::MoveTables | Kind::Reshard);
    match (case.phase, case.source) {
        (Phase::Unreached, _) => {
            return vec![(Do::GetTablets, "see who should answer: until all shards have, nothing else can be said")];
        }
        // Of what kind it is, and what it reads, is then said of some of its streams only.
        _ if case.is_contradictory => return vec![(Do::Nothing, CONTRADICTORY)],
        _ if case.kind == Kind::OnlineDdl => return vec![(Do::GetMigrations, "see its migration")],
        (_, Source::Gone) => {
            return vec![(
                Do::DeleteIgnoringSource,
                "its source is gone, so that it can be neither started, switched nor completed: delete its streams (tables and routing rules are kept)",
            )];
        }
        (Phase::Copying, Source::Unknown | Source::Unreadable) => return vec![(Do::Watch, "see how fast it is")],
        (_, Source::Unknown) => return vec![(Do::Describe, "see whether its source is there and where its traffic goes")],
        (_, Source::Unreadable) => {
            return vec![(
                Do::GetSource,
                "what it reads could not be looked at: what can be done depends on whether that is there",
            )];
        }
        (Phase::NoState, _) => {
            let why = "a stream's stored state is none that there is: what wrote it there is to be found out first";
            return vec![(Do::Nothing, why)];
        }
        _ => {}
    }
    if moves && case.traffic == Traffic::Split {
        return vec![(Do::Nothing, SPLIT)];
    }
    let is_reverse = case.is_reverse && case.source == Source::Present;
    if moves && let Some(steps) = if is_reverse { reverse(case) } else { switched_already(case) } {
        return steps;
    }
    let start = |why| if case.is_atomic_copy { atomic(case) } else { vec![(Do::Start, why)] };
    match case.phase {
        Phase::Failed => start("once the cause of the error is gone"),
        Phase::Retrying => vec![(Do::Nothing, "its tablet tries again every few seconds: only the cause has to go")],
        Phase::Waiting => start("begin"),
        Phase::Mixed => start("let those that stand go on, too"),
        Phase::Stopped => start("go on"),
        Phase::Ddl => start("once the schema change that stopped it is made on the target, too"),
        Phase::StopPosition => vec![
            (
                Do::GetVDiff,
                "a VDiff that is under way makes streams stop at a position, and starts them itself: see whether one is",
            ),
            (
                Do::ClearStopPosition,
                "if none is: started as it is it would stop there again; take the position away and let it run",
            ),
        ],
        Phase::Nothing => vec![(Do::Nothing, "started, it would stop again: its message says what is wrong with what it reads")],
        Phase::Cutover if moves => vec![(
            case.is_elsewhere(Do::SwitchTraffic),
            "a switch of its traffic stopped it: if none is under way any more, see what another one would do",
        )],
        Phase::Cutover => vec![(Do::Nothing, "a switch of traffic stopped it, and has not ended: it has to be run again")],
        Phase::AfterCopy if case.kind == Kind::Lookup => {
            vec![(Do::Externalize, "the lookup table is filled: let the vindex be used")]
        }
        Phase::AfterCopy => {
            vec![(
                Do::Nothing,
                "nothing: it was made to stop after its copy, which is done; started, it would stop again at once",
            )]
        }
        Phase::PartlyAfterCopy => {
            vec![(Do::Nothing, "some of its streams have stopped after their copy, the others stand before its end")]
        }
        Phase::Silent => vec![(Do::Nothing, "its streams are silent: the logs of their tablets say why")],
        Phase::Copying => vec![(Do::Watch, "see how fast it is")],
        Phase::PartlyFrozen if moves && case.is_to_be_frozen() => vec![match (case.can_freeze, case.is_reverse) {
            (true, false) => {
                (Do::Freeze, "its traffic was switched, and the switch did not get to freeze all of its streams: freeze the rest")
            }
            (true, true) => (
                Do::Freeze,
                "its traffic was switched back, and the switch did not get to freeze all of its streams: freeze the rest",
            ),
            (false, false) => (
                Do::Nothing,
                "its traffic was switched, and yet some of its streams are not at the end of what they read: frozen as they are, they would leave rows behind",
            ),
            (false, true) => (
                Do::Nothing,
                "its traffic was switched back, and yet some of its streams are not at the end of what they read: frozen as they are, they would leave rows behind",
            ),
        }],
        Phase::PartlyFrozen => vec![(
            Do::Nothing,
            "streams that are frozen cannot be started, and it cannot be completed while others are not: find out first which side is written to",
        )],
        Phase::Frozen => frozen(case),
        Phase::Running => running(case),
        // Above.
        Phase::Unreached | Phase::NoState => Vec::new(),
    }
}

fn atomic(case: &Case) -> Vec<(Do, &'static str)> {
    let can_cancel = case.kind == Kind::MoveTables && case.source == Source::Present && case.traffic == Traffic::NotSwitched;
    let what = if can_cancel { Do::Cancel } else { Do::Nothing };
    vec![(
        what,
        "an atomic copy that has stopped cannot be taken up again: cancel it, which drops what was copied, and create it anew",
    )]
}

const CONTRADICTORY: &str = "its streams contradict each other about what it is: find out which of them are right before anything is started, switched, completed or deleted";
const SPLIT: &str = "the traffic of its tables goes different ways: find out which rules are right, and mend them, before it is started, switched or completed";
const FINISH: &str =
    "see what finishing would do: it drops the tables on the source, and there is no way back (without --dry-run it is done)";
const FINISH_SHARDS: &str =
    "see what finishing would do: it deletes the shards of the source, and there is no way back (without --dry-run it is done)";

fn frozen(case: &Case) -> Vec<(Do, &'static str)> {
    match case.kind {
        Kind::Lookup => {
            vec![(Do::CompleteLookup, "finish: the vindex stays, its streams go"), (Do::Internalize, "take the vindex back")]
        }
        Kind::MoveTables | Kind::Reshard if case.source == Source::Present => match case.traffic {
            Traffic::Switched if case.is_partial => {
                vec![(
                    Do::ReverseTraffic,
                    "see what going back would do (a move of single shards is completed with --keep-routing-rules until all shards have moved)",
                )]
            }
            Traffic::Switched if case.is_multi_tenant => vec![(Do::Complete, FINISH)],
            Traffic::Switched if case.kind == Kind::Reshard => {
                vec![(Do::Complete, FINISH_SHARDS), (Do::ReverseTraffic, "see what going back would do")]
            }
            Traffic::Switched => vec![(Do::Complete, FINISH), (Do::ReverseTraffic, "see what going back would do")],
            Traffic::SomeShards => vec![(Do::ReverseTraffic, "see what going back would do")],
            Traffic::Writes => vec![(Do::SwitchReads, "not all reads are switched: see what switching them would do")],
            Traffic::NotSwitched | Traffic::Reads => vec![(
                Do::Nothing,
                "it is frozen, and yet its writes are not switched: find out which side is written to before anything is started",
            )],
            Traffic::Unknown | Traffic::Split => {
                vec![(Do::Nothing, "where its traffic goes is not known: until it is, neither completing nor going back is safe")]
            }
        },
        _ => vec![(Do::Nothing, "it is frozen: it cannot be started")],
    }
}

fn running(case: &Case) -> Vec<(Do, &'static str)> {
    const COMPARE: (Do, &str) = (Do::VDiff, "compare the rows");
    match (case.kind, case.source) {
        (Kind::MoveTables | Kind::Reshard, Source::Present) => match case.traffic {
            Traffic::Unknown | Traffic::Split => vec![COMPARE],
            Traffic::NotSwitched | Traffic::SomeShards => vec![COMPARE, (Do::SwitchTraffic, "see what switching would do")],
            Traffic::Reads => {
                vec![COMPARE, (Do::SwitchTraffic, "its reads are switched, at least in part: see what switching all would do")]
            }
            // Above.
            Traffic::Writes | Traffic::Switched => Vec::new(),
        },
        (Kind::Migrate, _) if case.has_sharded_target => {
            vec![
                COMPARE,
                (Do::DeleteIgnoringSource, "once nothing writes to the other cluster any more: end it (the tables are kept)"),
            ]
        }
        (Kind::Migrate, _) => vec![COMPARE, (Do::CompleteMigrate, "once nothing writes to the other cluster any more: finish")],
        (Kind::MoveTables | Kind::Reshard, _) => {
            vec![(
                Do::DeleteIgnoringSource,
                "it reads from outside of this cluster: once it is not needed any more, end it (the tables are kept)",
            )]
        }
        (Kind::Lookup, _) if !case.stops_after_copy => {
            vec![(Do::Externalize, "the lookup table is filled: let the vindex be used")]
        }
        _ => Vec::new(),
    }
}

/// vtctld switches no traffic of a workflow that is further behind. Source: the default of `--max-replication-lag-allowed` of
/// `go/cmd/vtctldclient/command/vreplication/common/switchtraffic.go`.
const SWITCH_LAG_SECONDS: i64 = 30;

/// What one could do next, the most pressing first.
pub(super) fn next(
    workflow: &Workflow,
    whole: &Whole<'_>,
    traffic: Option<&str>,
    around: &Surroundings,
    now: Timestamp,
) -> Vec<Step> {
    let case = case(workflow, whole, traffic, around);
    let mut steps = Vec::new();
    if let Some((_, tablet, _)) = whole.streams.iter().find(|(_, _, stream)| is_throttled(stream, now)) {
        let command = Command::new("vtctldclient GetThrottlerStatus").names(&[tablet], "");
        steps.push(Step { why: "see what throttles it".into(), command });
    }
    let there = |what: Do| match what {
        Do::DescribeForward if around.has_forward == Some(false) => Do::GetForward,
        what => what,
    };
    // Once writes are switched vtctld looks at no lag; and what stands does not catch up.
    let has_to_catch_up =
        case.phase == Phase::Running && matches!(case.traffic, Traffic::NotSwitched | Traffic::Reads | Traffic::SomeShards);
    let far_behind = whole.lag_seconds.filter(|lag| has_to_catch_up && *lag > SWITCH_LAG_SECONDS);
    let step = |(what, why): (Do, &str)| {
        let what = there(what);
        if let (Do::SwitchTraffic, Some(lag)) = (what, far_behind) {
            let why = format!("it is {} behind: its traffic cannot be switched until it has caught up", duration(lag));
            return Step { why, command: String::new() };
        }
        let none = if what == Do::GetForward { " (there is none of that name)" } else { "" };
        Step { why: format!("{why}{none}"), command: command(what, workflow, whole) }
    };
    steps.extend(advise(&case).into_iter().map(step));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 7] =
        [Kind::MoveTables, Kind::Reshard, Kind::Migrate, Kind::Materialize, Kind::Lookup, Kind::OnlineDdl, Kind::Other];
    const PHASES: [Phase; 18] = [
        Phase::Unreached,
        Phase::NoState,
        Phase::Failed,
        Phase::Retrying,
        Phase::Waiting,
        Phase::Mixed,
        Phase::Stopped,
        Phase::StopPosition,
        Phase::Ddl,
        Phase::Cutover,
        Phase::Nothing,
        Phase::AfterCopy,
        Phase::PartlyAfterCopy,
        Phase::Silent,
        Phase::Copying,
        Phase::Running,
        Phase::PartlyFrozen,
        Phase::Frozen,
    ];
    const TRAFFIC: [Traffic; 7] = [
        Traffic::Unknown,
        Traffic::Split,
        Traffic::NotSwitched,
        Traffic::Reads,
        Traffic::Writes,
        Traffic::SomeShards,
        Traffic::Switched,
    ];
    const SOURCES: [Source; 5] = [Source::Unknown, Source::Unreadable, Source::Present, Source::Elsewhere, Source::Gone];

    /// What vtctld, the tablets and vtflow take: written down apart from the table.
    fn is_taken(what: Do, case: &Case) -> bool {
        let Case { kind, phase, traffic, source, .. } = *case;
        let moves = matches!(kind, Kind::MoveTables | Kind::Reshard);
        let is_here = source == Source::Present;
        let is_live = matches!(traffic, Traffic::Writes | Traffic::Switched);
        let is_untouched = matches!(traffic, Traffic::NotSwitched | Traffic::Reads);
        // Of two directions only one may write, and only to the side that is not live.
        let may_run = matches!(source, Source::Present | Source::Elsewhere)
            && (!moves || if case.is_reverse && is_here { is_live } else { is_untouched });
        match what {
            Do::Nothing | Do::GetTablets => true,
            // Nobody knows what it is.
            _ if case.is_contradictory => false,
            Do::Watch => true,
            // Not to be told by who has just looked.
            Do::Describe => source == Source::Unknown,
            Do::GetSource => source == Source::Unreadable,
            Do::GetForward => false,
            Do::GetMigrations => kind == Kind::OnlineDdl,
            Do::DescribeForward => is_here && case.is_reverse,
            // A frozen stream, an atomic copy that stopped: refused. After its copy or at its stop position it would stop again.
            Do::Start => {
                let stands = [Phase::Failed, Phase::Waiting, Phase::Mixed, Phase::Stopped, Phase::Ddl];
                stands.contains(&phase) && !case.is_atomic_copy && may_run
            }
            Do::GetVDiff => phase == Phase::StopPosition,
            Do::ClearStopPosition => phase == Phase::StopPosition && may_run,
            Do::Freeze => {
                let done = if case.is_reverse { Traffic::NotSwitched } else { Traffic::Switched };
                moves && is_here && phase == Phase::PartlyFrozen && traffic == done && case.can_freeze
            }
            Do::VDiff => {
                phase == Phase::Running && (moves && is_here || kind == Kind::Migrate && !matches!(source, Source::Gone))
            }
            Do::SwitchTraffic => {
                let is_first = matches!(phase, Phase::Running | Phase::Cutover);
                moves
                    && is_here
                    && !case.is_reverse
                    && phase != Phase::Frozen
                    && traffic != Traffic::Split
                    && (is_first || !is_untouched)
            }
            Do::SwitchReads => moves && is_here && !case.is_reverse && phase == Phase::Frozen && traffic == Traffic::Writes,
            Do::ReverseTraffic => {
                let is_switched = matches!(traffic, Traffic::Switched | Traffic::SomeShards);
                moves
                    && is_here
                    && !case.is_reverse
                    && phase == Phase::Frozen
                    && is_switched
                    && (!case.is_multi_tenant || case.is_partial || traffic == Traffic::SomeShards)
            }
            Do::Complete => {
                let is_ended = phase == Phase::Frozen && traffic == Traffic::Switched;
                moves && is_here && is_ended && !case.is_partial && !case.is_reverse
            }
            Do::Cancel => kind == Kind::MoveTables && is_here && traffic == Traffic::NotSwitched && case.is_atomic_copy,
            Do::Externalize => {
                let is_filled = phase == Phase::AfterCopy || phase == Phase::Running && !case.stops_after_copy;
                kind == Kind::Lookup && is_filled && !matches!(source, Source::Gone | Source::Unknown | Source::Unreadable)
            }
            Do::Internalize | Do::CompleteLookup => kind == Kind::Lookup && phase == Phase::Frozen && source != Source::Gone,
            Do::CompleteMigrate => {
                kind == Kind::Migrate && phase == Phase::Running && !case.has_sharded_target && source != Source::Gone
            }
            Do::DeleteIgnoringSource => matches!(source, Source::Gone | Source::Elsewhere) || kind == Kind::Migrate,
        }
    }

    #[test]
    fn nothing_is_advised_that_would_be_refused() {
        for kind in KINDS {
            for phase in PHASES {
                for traffic in TRAFFIC {
                    for source in SOURCES {
                        for bits in 0_u8..=255 {
                            let bit = |n: u8| bits >> n & 1 == 1;
                            let case = Case {
                                kind,
                                phase,
                                traffic,
                                source,
                                is_partial: bit(0),
                                is_multi_tenant: bit(1),
                                is_atomic_copy: bit(2),
                                is_reverse: bit(3),
                                stops_after_copy: bit(4),
                                has_sharded_target: bit(5),
                                can_freeze: bit(6),
                                is_contradictory: bit(7),
                            };
                            let steps = advise(&case);
                            assert!(
                                steps.iter().all(|(what, why)| is_taken(*what, &case) && !why.is_empty()),
                                "{case:?}: {steps:?}"
                            );
                            // Whoever is in trouble is told something.
                            assert!(!steps.is_empty() || phase == Phase::Running, "{case:?}");
                            let is_only_gone = steps.iter().all(|(what, _)| *what == Do::DeleteIgnoringSource);
                            let is_gone = source == Source::Gone
                                && !case.is_contradictory
                                && kind != Kind::OnlineDdl
                                && phase != Phase::Unreached;
                            assert!(is_only_gone || !is_gone, "{case:?}: {steps:?}");
                        }
                    }
                }
            }
        }
    }
}
