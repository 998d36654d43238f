//! What the advice rests on: what a workflow is for, how its streams stand, where its traffic goes and whether its source is there.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    commands::Do,
    kind::{Kind, kind},
};
use crate::{
    around::{SourceShards, Surroundings},
    health::{Health, Stop, Whole},
    words::some,
};
use vtflow_planner::{
    ops::workflow_status::traffic::{Traffic, forward_of},
    proto::{
        binlogdata::BinlogSource,
        vtctldata::{Workflow, WorkflowStatusResponse, workflow::Stream},
    },
};

/// How its streams stand, all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Of some nothing is known.
    Unreached,
    /// A stream's stored state is none.
    NoState,
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

/// Whether what it reads is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
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
pub(super) struct Case {
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    pub(super) traffic: Traffic,
    pub(super) source: Source,
    /// It moves single shards.
    pub(super) is_partial: bool,
    pub(super) is_multi_tenant: bool,
    /// An atomic copy that is not done.
    pub(super) is_atomic_copy: bool,
    pub(super) is_reverse: bool,
    pub(super) stops_after_copy: bool,
    pub(super) has_sharded_target: bool,
    /// None of its streams is known to lack anything of what it reads.
    pub(super) can_freeze: bool,
    /// Its streams contradict each other about what it is.
    pub(super) is_contradictory: bool,
}

impl Case {
    /// What only works on a source in this cluster.
    pub(super) fn is_elsewhere(&self, what: Do) -> Do {
        if self.source == Source::Present { what } else { Do::Nothing }
    }

    /// Whether its work is done: a move's when its traffic is switched, that of the other direction when it is switched back.
    pub(super) fn is_to_be_frozen(&self) -> bool {
        let done = if self.is_reverse { Traffic::NotSwitched } else { Traffic::Switched };
        self.source == Source::Present && self.traffic == done
    }
}

/// Where the traffic of a workflow goes, in words; `None` when it is not known. A workflow that moves none says so, whatever the reply says.
pub(crate) fn traffic(workflow: &Workflow, status: Option<&WorkflowStatusResponse>) -> Option<String> {
    match kind(workflow) {
        Kind::MoveTables | Kind::Reshard => {
            status.map(|status| status.traffic_state.clone()).filter(|text| !text.is_empty() && !text.starts_with("Unknown"))
        }
        Kind::Migrate => Some("switched by hand, outside of Vitess".into()),
        _ => Some("moves none".into()),
    }
}

/// How its tables' traffic goes different ways. The tables of one that moves none go where others have moved them.
pub(crate) fn splits<'a>(workflow: &Workflow, around: &'a Surroundings) -> &'a [String] {
    if matches!(kind(workflow), Kind::MoveTables | Kind::Reshard) { &around.splits } else { &[] }
}

pub(super) fn phase(streams: &[(Health, &str, &Stream)]) -> Phase {
    let any = |is: &dyn Fn(Health) -> bool| streams.iter().any(|(health, ..)| is(*health));
    let all = |is: &dyn Fn(Health) -> bool| streams.iter().all(|(health, ..)| is(*health));
    let stopped = |stop: Stop| any(&|health| health == Health::Stopped(stop));
    let is_still = |health: Health| matches!(health, Health::Stopped(_) | Health::Waiting);
    let stands_at_position = |(health, _, stream): &(Health, &str, &Stream)| {
        matches!(health, Health::Stopped(Stop::Position | Stop::VDiff | Stop::Hand)) && !stream.stop_position.is_empty()
    };
    if streams.is_empty() || any(&|health| health == Health::Missing) {
        Phase::Unreached
    } else if any(&|health| health == Health::Unknown) {
        Phase::NoState
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

/// Which sources of a workflow are not there, as a text; `None` when all are, or it is not known. `known`: by keyspace.
pub(crate) fn lost_source(workflow: &Workflow, known: &BTreeMap<String, SourceShards>) -> Option<String> {
    if workflow.workflow_type == "OnlineDDL" {
        return None;
    }
    let lost: BTreeSet<String> = sources_here(workflow)
        .filter(|source| match known.get(&source.keyspace) {
            None | Some(SourceShards::Unknown) => false,
            Some(SourceShards::Gone) => !source.keyspace.is_empty(),
            Some(SourceShards::Known(shards)) => !shards.contains(&source.shard),
        })
        .map(|source| match source.shard.as_str() {
            "" => format!("{}, of which no shard is named", source.keyspace),
            shard => format!("{}/{shard}", source.keyspace),
        })
        .collect();
    let names: Vec<&str> = lost.iter().map(String::as_str).collect();
    (!names.is_empty()).then(|| format!("its source is gone: {}", some(&names, 3)))
}

/// What streams with a row read of this cluster.
pub(crate) fn sources_here(workflow: &Workflow) -> impl Iterator<Item = &BinlogSource> {
    let streams = workflow.shard_streams.values().flat_map(|shard| &shard.streams).filter(|stream| stream.id != 0);
    let sources = streams.filter_map(|stream| stream.binlog_source.as_ref());
    sources.filter(|source| source.external_cluster.is_empty() && source.external_mysql.is_empty())
}

pub(super) fn case(workflow: &Workflow, whole: &Whole<'_>, traffic: Option<&str>, around: &Surroundings) -> Case {
    let options = workflow.options.clone().unwrap_or_default();
    let of = |is: &dyn Fn(&BinlogSource) -> bool| {
        whole.streams.iter().filter_map(|(_, _, stream)| stream.binlog_source.as_ref()).any(is)
    };
    let kind = kind(workflow);
    let source = if of(&|source| !source.external_cluster.is_empty() || !source.external_mysql.is_empty()) {
        Source::Elsewhere
    } else if lost_source(workflow, &around.sources).is_some() {
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
        traffic: Traffic::of(
            traffic,
            workflow.target.as_ref().map_or(&[][..], |target| &target.shards),
            !splits(workflow, around).is_empty(),
        ),
        source,
        is_partial: workflow.workflow_sub_type == "Partial",
        is_multi_tenant: !options.tenant_id.is_empty(),
        is_atomic_copy: workflow.workflow_sub_type == "AtomicCopy"
            && whole.streams.iter().any(|(_, _, stream)| !stream.copy_states.is_empty()),
        is_reverse: forward_of(&workflow.name).is_some_and(|forward| !forward.is_empty()),
        stops_after_copy: of(&|source| source.stop_after_copy),
        has_sharded_target: workflow.target.as_ref().is_some_and(|target| target.shards.len() > 1),
        can_freeze: whole.streams.iter().all(|(health, _, stream)| is_at_end(*health, stream)),
        is_contradictory: !around.contradictions.is_empty(),
    }
}

/// Whether a stream may be put away: it runs and does not lag, or was stopped by a switch of traffic or by somebody. One that a schema
/// change, a comparison or the end of its copy stopped has not read on since.
pub(super) fn is_at_end(health: Health, stream: &Stream) -> bool {
    let is_whole = stream.copy_states.is_empty() && !stream.position.is_empty();
    match health {
        Health::Frozen => true,
        Health::Running | Health::Stopped(Stop::Cutover | Stop::Hand) => is_whole,
        _ => false,
    }
}
