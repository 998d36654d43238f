//! What one could do next with a workflow, and why: a command only where it can work.
//!
//! One table: by what the workflow is for, how its streams stand, where its traffic goes and whether its source is there. What vtctld refuses
//! is never offered. Facts: `go/vt/vtctl/workflow/server.go` (`WorkflowSwitchTraffic`, `MoveTablesComplete`, `WorkflowDelete`),
//! `vdiff.go:VDiffCreate`, `lookup_vindex.go`, `go/vt/vttablet/tabletmanager/rpc_vreplication.go`, v24.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    describe::Step,
    health::{Health, Stop, Whole, is_throttled},
    text::Command,
};
use crate::{
    flow::Timestamp,
    proto::{
        binlogdata::BinlogSource,
        vtctldata::{Workflow, WorkflowStatusResponse, workflow::Stream},
    },
};

/// What is known of a workflow beside the replies about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The keyspaces that it reads, by name. Empty: nobody looked.
    pub sources: BTreeMap<String, SourceShards>,
    /// Why it is not one thing as a whole, a text each: its streams contradict each other, or its tables' traffic goes different ways.
    pub contradictions: Vec<String>,
    /// Of a reverse workflow, whether the one of the other direction is there; `None`: not known.
    pub has_forward: Option<bool>,
}

/// The shards of a keyspace that a workflow reads, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceShards {
    /// Nobody looked, or it could not be read.
    #[default]
    Unknown,
    /// There is no such keyspace.
    Gone,
    /// These.
    Known(BTreeSet<String>),
}

/// What a workflow is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    MoveTables,
    Reshard,
    Migrate,
    Materialize,
    Lookup,
    OnlineDdl,
    Other,
}

/// How its streams stand, all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Of some nothing is known.
    Unreached,
    Failed,
    Retrying,
    Waiting,
    /// Some stand, some go.
    Mixed,
    Stopped,
    /// At a stop position, which is still there.
    StopPosition,
    Ddl,
    Cutover,
    Nothing,
    AfterCopy,
    /// Some have stopped after their copy, some stand for another reason.
    PartlyAfterCopy,
    Silent,
    Copying,
    Running,
    PartlyFrozen,
    Frozen,
}

/// Where its traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    Unknown,
    /// That of its tables goes different ways.
    Split,
    NotSwitched,
    /// Reads, at least some.
    Reads,
    /// Writes, and not all reads.
    Writes,
    /// That of some shards.
    SomeShards,
    Switched,
}

/// Whether what it reads is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Nobody looked.
    Unknown,
    /// Its streams do not say what they read, or that gave no answer.
    Unreadable,
    Present,
    /// In another cluster, or on a server that is no tablet.
    Elsewhere,
    Gone,
}

/// A workflow, as far as the next step depends on it.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
struct Case {
    kind: Kind,
    phase: Phase,
    traffic: Traffic,
    source: Source,
    /// It moves single shards.
    is_partial: bool,
    is_multi_tenant: bool,
    /// An atomic copy that is not done.
    is_atomic_copy: bool,
    is_reverse: bool,
    stops_after_copy: bool,
    has_sharded_target: bool,
    /// None of its streams is known to lack anything of what it reads.
    can_freeze: bool,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Do {
    /// There is no command for it.
    Nothing,
    GetTablets,
    GetMigrations,
    Describe,
    GetSource,
    DescribeForward,
    /// There is no workflow of the other direction to be described.
    GetForward,
    Watch,
    Start,
    ClearStopPosition,
    Freeze,
    VDiff,
    SwitchTraffic,
    SwitchReads,
    ReverseTraffic,
    Complete,
    Cancel,
    Externalize,
    Internalize,
    CompleteLookup,
    CompleteMigrate,
    DeleteIgnoringSource,
}

/// The table.
fn advise(case: &Case) -> Vec<(Do, &'static str)> {
    let moves = matches!(case.kind, Kind::MoveTables | Kind::Reshard);
    match (case.phase, case.source) {
        (Phase::Unreached, _) => {
            return vec![(Do::GetTablets, "see who should answer: until all shards have, nothing else can be said")];
        }
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
        Phase::StopPosition => vec![(
            Do::ClearStopPosition,
            "it has a stop position, and started as it is it would stop there again: take the position away and let it run",
        )],
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
        Phase::PartlyFrozen if moves && case.is_to_be_frozen() && case.can_freeze => {
            vec![(
                Do::Freeze,
                "its traffic was switched, and the switch did not get to freeze all of its streams: freeze the rest",
            )]
        }
        Phase::PartlyFrozen if moves && case.is_to_be_frozen() => vec![(
            Do::Nothing,
            "its traffic was switched, and yet some of its streams are not at the end of what they read: frozen as they are, they would leave rows behind",
        )],
        Phase::PartlyFrozen => vec![(
            Do::Nothing,
            "streams that are frozen cannot be started, and it cannot be completed while others are not: find out first which side is written to",
        )],
        Phase::Frozen => frozen(case),
        Phase::Running => running(case),
        // Above.
        Phase::Unreached => Vec::new(),
    }
}

impl Case {
    /// What only works on a source in this cluster.
    fn is_elsewhere(&self, what: Do) -> Do {
        if self.source == Source::Present { what } else { Do::Nothing }
    }

    /// Whether its work is done: a move's when its traffic is switched, that of the other direction when it is switched back.
    fn is_to_be_frozen(&self) -> bool {
        let done = if self.is_reverse { Traffic::NotSwitched } else { Traffic::Switched };
        self.source == Source::Present && self.traffic == done
    }
}

/// A move in its own direction, unless nothing of its writes is switched. Where they are, its source stands still and its target is live:
/// started again, it would write old rows over new ones.
fn switched_already(case: &Case) -> Option<Vec<(Do, &'static str)>> {
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
fn reverse(case: &Case) -> Option<Vec<(Do, &'static str)>> {
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

fn atomic(case: &Case) -> Vec<(Do, &'static str)> {
    let can_cancel = case.kind == Kind::MoveTables && case.source == Source::Present && case.traffic == Traffic::NotSwitched;
    let what = if can_cancel { Do::Cancel } else { Do::Nothing };
    vec![(
        what,
        "an atomic copy that has stopped cannot be taken up again: cancel it, which drops what was copied, and create it anew",
    )]
}

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
                vec![(Do::ReverseTraffic, "see what going back would do (a move of single shards cannot be completed by vtctld)")]
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

/// Where the traffic of a workflow goes, in words; `None` when it is not known. A workflow that moves none says so, whatever the reply says.
pub(super) fn traffic(workflow: &Workflow, status: Option<&WorkflowStatusResponse>) -> Option<String> {
    match kind(workflow) {
        Kind::MoveTables | Kind::Reshard => {
            status.map(|status| status.traffic_state.clone()).filter(|text| !text.is_empty() && !text.starts_with("Unknown"))
        }
        Kind::Migrate => Some("switched by hand, outside of Vitess".into()),
        _ => Some("moves none".into()),
    }
}

fn kind(workflow: &Workflow) -> Kind {
    match workflow.workflow_type.as_str() {
        "MoveTables" => Kind::MoveTables,
        "Reshard" => Kind::Reshard,
        "Migrate" => Kind::Migrate,
        "Materialize" => Kind::Materialize,
        "CreateLookupIndex" => Kind::Lookup,
        "OnlineDDL" => Kind::OnlineDdl,
        _ => Kind::Other,
    }
}

fn phase(streams: &[(Health, &str, &Stream)]) -> Phase {
    let any = |is: &dyn Fn(Health) -> bool| streams.iter().any(|(health, ..)| is(*health));
    let all = |is: &dyn Fn(Health) -> bool| streams.iter().all(|(health, ..)| is(*health));
    let stopped = |stop: Stop| any(&|health| health == Health::Stopped(stop));
    let is_still = |health: Health| matches!(health, Health::Stopped(_) | Health::Waiting);
    let stands_at_position = |(health, _, stream): &(Health, &str, &Stream)| {
        matches!(health, Health::Stopped(Stop::Position | Stop::VDiff | Stop::Hand)) && !stream.stop_position.is_empty()
    };
    if streams.is_empty() || any(&|health| matches!(health, Health::Missing | Health::Unknown)) {
        Phase::Unreached
    } else if any(&|health| health == Health::Frozen) {
        if all(&|health| health == Health::Frozen) { Phase::Frozen } else { Phase::PartlyFrozen }
    } else if any(&|health| health == Health::Error) {
        Phase::Failed
    } else if stopped(Stop::Cutover) {
        Phase::Cutover
    } else if stopped(Stop::Nothing) {
        Phase::Nothing
    } else if stopped(Stop::Ddl) {
        Phase::Ddl
    } else if streams.iter().any(stands_at_position) {
        Phase::StopPosition
    } else if stopped(Stop::AfterCopy) && all(&|health| health == Health::Stopped(Stop::AfterCopy)) {
        Phase::AfterCopy
    } else if stopped(Stop::AfterCopy) && any(&|health| is_still(health) && health != Health::Stopped(Stop::AfterCopy)) {
        Phase::PartlyAfterCopy
    } else if any(&|health| health == Health::Retrying) {
        Phase::Retrying
    } else if all(&|health| health == Health::Waiting) {
        Phase::Waiting
    } else if any(&|health| is_still(health) && health != Health::Stopped(Stop::AfterCopy)) {
        if all(&is_still) { Phase::Stopped } else { Phase::Mixed }
    } else if any(&|health| health == Health::Lagging) {
        Phase::Silent
    } else if stopped(Stop::AfterCopy) || any(&|health| matches!(health, Health::Copying | Health::Init)) {
        Phase::Copying
    } else {
        Phase::Running
    }
}

/// `shards`: those of the workflow, which may be none of those that the text names.
fn switched(text: Option<&str>, shards: &[String]) -> Traffic {
    let Some(text) = text else { return Traffic::Unknown };
    let has = |part: &str| text.contains(part);
    if let Some((_, list)) = text.split_once("Writes partially switched, for shards: ") {
        let named: BTreeSet<&str> = list.split(',').map(str::trim).collect();
        let own = shards.iter().filter(|shard| named.contains(shard.as_str())).count();
        if shards.is_empty() || own > 0 && own < shards.len() {
            Traffic::SomeShards
        } else if own == 0 {
            Traffic::NotSwitched
        } else {
            Traffic::Switched
        }
    } else if has("Writes Switched") || has("All Writes Switched") {
        if has("All Reads Switched") { Traffic::Switched } else { Traffic::Writes }
    } else if !has("Writes Not Switched") {
        Traffic::Unknown
    } else if has("Reads Not Switched") {
        Traffic::NotSwitched
    } else {
        Traffic::Reads
    }
}

/// The sources of a workflow that are not there, as `keyspace/shard`. Empty when all are, or it is not known.
pub(super) fn lost_sources(workflow: &Workflow, known: &Surroundings) -> Vec<String> {
    let lost: BTreeSet<String> = sources_here(workflow)
        .filter(|source| match known.sources.get(&source.keyspace) {
            None | Some(SourceShards::Unknown) => false,
            Some(SourceShards::Gone) => !source.keyspace.is_empty(),
            Some(SourceShards::Known(shards)) => !shards.contains(&source.shard),
        })
        .map(|source| match source.shard.as_str() {
            "" => format!("{}, of which no shard is named", source.keyspace),
            shard => format!("{}/{shard}", source.keyspace),
        })
        .collect();
    lost.into_iter().collect()
}

/// What streams with a row read of this cluster.
fn sources_here(workflow: &Workflow) -> impl Iterator<Item = &BinlogSource> {
    let streams = workflow.shard_streams.values().flat_map(|shard| &shard.streams).filter(|stream| stream.id != 0);
    let sources = streams.filter_map(|stream| stream.binlog_source.as_ref());
    sources.filter(|source| source.external_cluster.is_empty() && source.external_mysql.is_empty())
}

fn case(workflow: &Workflow, whole: &Whole<'_>, traffic: Option<&str>, around: &Surroundings) -> Case {
    let options = workflow.options.clone().unwrap_or_default();
    let of = |is: &dyn Fn(&BinlogSource) -> bool| {
        whole.streams.iter().filter_map(|(_, _, stream)| stream.binlog_source.as_ref()).any(is)
    };
    let kind = kind(workflow);
    let source = if of(&|source| !source.external_cluster.is_empty() || !source.external_mysql.is_empty()) {
        Source::Elsewhere
    } else if !lost_sources(workflow, around).is_empty() {
        Source::Gone
    } else if around.sources.is_empty() {
        Source::Unknown
    } else if sources_here(workflow)
        .any(|source| matches!(around.sources.get(&source.keyspace), None | Some(SourceShards::Unknown)))
    {
        Source::Unreadable
    } else {
        Source::Present
    };
    Case {
        kind,
        phase: phase(&whole.streams),
        traffic: match switched(traffic, workflow.target.as_ref().map_or(&[], |target| &target.shards)) {
            Traffic::Unknown => Traffic::Unknown,
            _ if !around.contradictions.is_empty() => Traffic::Split,
            known => known,
        },
        source,
        is_partial: workflow.workflow_sub_type == "Partial",
        is_multi_tenant: !options.tenant_id.is_empty(),
        is_atomic_copy: workflow.workflow_sub_type == "AtomicCopy"
            && whole.streams.iter().any(|(_, _, stream)| !stream.copy_states.is_empty()),
        is_reverse: workflow.name.ends_with("_reverse"),
        stops_after_copy: of(&|source| source.stop_after_copy),
        has_sharded_target: workflow.target.as_ref().is_some_and(|target| target.shards.len() > 1),
        can_freeze: whole.streams.iter().all(|(health, _, stream)| is_at_end(*health, stream)),
    }
}

/// Whether a stream may be put away: it runs and does not lag, or was stopped by a switch of traffic or by somebody. One that a schema
/// change, a comparison or the end of its copy stopped has not read on since.
fn is_at_end(health: Health, stream: &Stream) -> bool {
    let is_whole = stream.copy_states.is_empty() && !stream.position.is_empty();
    match health {
        Health::Frozen => true,
        Health::Running | Health::Stopped(Stop::Cutover | Stop::Hand) => is_whole,
        _ => false,
    }
}

/// How streams of a move do what they must not do as its traffic stands, if they do.
pub(super) fn against_traffic(
    workflow: &Workflow,
    whole: &Whole<'_>,
    traffic: Option<&str>,
    around: &Surroundings,
) -> Option<&'static str> {
    let case = case(workflow, whole, traffic, around);
    if !matches!(case.kind, Kind::MoveTables | Kind::Reshard) || matches!(case.source, Source::Elsewhere | Source::Gone) {
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
    let step = |(what, why): (Do, &str)| {
        let what = there(what);
        let none = if what == Do::GetForward { " (there is none of that name)" } else { "" };
        Step { why: format!("{why}{none}"), command: command(what, workflow, whole, case.kind) }
    };
    steps.extend(advise(&case).into_iter().map(step));
    steps
}

fn command(what: Do, workflow: &Workflow, whole: &Whole<'_>, kind: Kind) -> String {
    let side = |location: &Option<crate::proto::vtctldata::workflow::ReplicationLocation>| {
        location.as_ref().map_or_else(String::new, |location| location.keyspace.clone())
    };
    let (target, source, name) = (side(&workflow.target), side(&workflow.source), workflow.name.as_str());
    let ours = |words: &str, flags: &str| Command::new(words).names(&[&target, name], flags);
    let theirs = |verb: &str| {
        let family = match kind {
            Kind::Reshard => "Reshard",
            Kind::Migrate => "Migrate",
            _ => "MoveTables",
        };
        let family = if verb == "create" { "VDiff" } else { family };
        let command = Command::new(&format!("vtctldclient {family}")).flag("--target-keyspace", &target).flag("--workflow", name);
        command.words(verb).text()
    };
    let lookup = |verb: &str| {
        let command = Command::new("vtctldclient LookupVindex").flag("--name", name).flag("--table-keyspace", &target);
        command.words(verb).flag("--keyspace", &source).text()
    };
    let vexec = |sql: &str| Command::new("vtflow vexec").names(&[&format!("{target}.{name}"), sql], "");
    let forward = name.strip_suffix("_reverse").unwrap_or(name);
    match what {
        Do::Nothing => String::new(),
        Do::GetTablets => {
            let unreached = whole.streams.iter().find(|(health, ..)| matches!(health, Health::Missing | Health::Unknown));
            let shard = unreached.map_or_else(|| target.clone(), |(_, _, stream)| format!("{target}/{}", stream.shard));
            Command::new("vtflow get tablets").names(&[&shard], "")
        }
        Do::GetMigrations => Command::new("vtflow get migrations").flag("--uuid", name).names(&[&target], ""),
        Do::Describe => ours("vtflow describe workflow", ""),
        Do::GetSource if source.is_empty() => String::new(),
        Do::GetSource => Command::new("vtflow get shards").names(&[&source], ""),
        Do::GetForward => Command::new("vtflow get workflows").names(&[&source], ""),
        Do::DescribeForward => Command::new("vtflow describe workflow").names(&[&source, forward], ""),
        Do::Watch => ours("vtflow describe workflow", "--watch"),
        Do::Start => ours("vtflow workflow start", ""),
        Do::ClearStopPosition => {
            vexec("update _vt.vreplication set state = 'Running', message = '', stop_pos = null where stop_pos is not null")
        }
        Do::Freeze => vexec("update _vt.vreplication set state = 'Stopped', message = 'FROZEN' where message != 'FROZEN'"),
        Do::VDiff => theirs("create"),
        Do::SwitchTraffic => theirs("SwitchTraffic --dry-run"),
        Do::SwitchReads => theirs("SwitchTraffic --tablet-types rdonly,replica --dry-run"),
        Do::ReverseTraffic => theirs("ReverseTraffic --dry-run"),
        Do::Complete => theirs("complete --dry-run"),
        Do::CompleteMigrate => theirs("complete"),
        Do::Cancel => theirs("cancel"),
        Do::Externalize => lookup("externalize"),
        Do::Internalize => lookup("internalize"),
        Do::CompleteLookup => lookup("complete"),
        Do::DeleteIgnoringSource => ours("vtflow workflow delete", "--ignore-source"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 7] =
        [Kind::MoveTables, Kind::Reshard, Kind::Migrate, Kind::Materialize, Kind::Lookup, Kind::OnlineDdl, Kind::Other];
    const PHASES: [Phase; 17] = [
        Phase::Unreached,
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
            Do::Nothing | Do::GetTablets | Do::Watch => true,
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
        let mut n = 0;
        for kind in KINDS {
            for phase in PHASES {
                for traffic in TRAFFIC {
                    for source in SOURCES {
                        for bits in 0_u8..128 {
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
                            };
                            let steps = advise(&case);
                            assert!(
                                steps.iter().all(|(what, why)| is_taken(*what, &case) && !why.is_empty()),
                                "{case:?}: {steps:?}"
                            );
                            // Whoever is in trouble is told something.
                            assert!(!steps.is_empty() || phase == Phase::Running, "{case:?}");
                            let is_only_gone = steps.iter().all(|(what, _)| *what == Do::DeleteIgnoringSource);
                            let is_gone = source == Source::Gone && kind != Kind::OnlineDdl && phase != Phase::Unreached;
                            assert!(is_only_gone || !is_gone, "{case:?}: {steps:?}");
                            n += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(n, 7 * 17 * 7 * 5 * 128);
    }

    #[test]
    fn traffic_is_read_from_the_text() {
        for (text, want) in [
            ("Reads Not Switched. Writes Not Switched", Traffic::NotSwitched),
            ("All Reads Switched. Writes Not Switched", Traffic::Reads),
            ("Reads partially switched. Replica not switched. All Rdonly Reads Switched. Writes Not Switched", Traffic::Reads),
            ("Reads Not Switched. Writes Switched", Traffic::Writes),
            ("All Reads Switched. Writes Switched", Traffic::Switched),
            ("All Reads Switched. All Writes Switched", Traffic::Switched),
            ("Reads partially switched, for shards: -80. Writes partially switched, for shards: -80", Traffic::SomeShards),
            ("", Traffic::Unknown),
            ("Unknown: etcd", Traffic::Unknown),
        ] {
            assert_eq!(switched(Some(text), &[]), want, "{text}");
        }
        assert_eq!(switched(None, &[]), Traffic::Unknown);
        let text = "Reads partially switched, for shards: -40,40-80. Writes partially switched, for shards: -40,40-80";
        for (own, want) in [
            (&["80-"][..], Traffic::NotSwitched),
            (&["-40"], Traffic::Switched),
            (&["-40", "40-80"], Traffic::Switched),
            (&["-40", "80-"], Traffic::SomeShards),
        ] {
            let own: Vec<String> = own.iter().map(|&shard| shard.to_owned()).collect();
            assert_eq!(switched(Some(text), &own), want, "{own:?}");
        }
    }
}
