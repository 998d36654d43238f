//! What can be wrong with a workflow's traffic: each mechanism by its name, with what brings it about.
//!
//! Facts: `go/vt/vtctl/workflow/traffic_switcher.go`, `stream_migrator.go` and `server.go`, v24: what is left when a process that
//! performs one of their sequences ends in the middle of it, or when its undo fails.

use super::repair::Repair;

macro_rules! mechanisms {
    ($($(#[doc = $doc:literal])+ $name:ident $text:literal: $cause:literal,)*) => {
        /// What is wrong, by what it is. In brackets: the number of it in the list of half-done states.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mechanism {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Mechanism {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The one of this name; `None`: there is none, here.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().find(|it| it.name() == name).copied()
            }

            /// Its name in documents.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What brings it about, for people.
            pub fn cause(self) -> &'static str {
                match self { $(Self::$name => $cause,)* }
            }
        }
    };
}

mechanisms! {
    /// [H-T1] The source denies the tables, the target does not, and the rules still lead to the source; nothing else was done.
    WritesClosed "writes_closed": "a switch of writes ended right after it had closed the source",
    /// [H-T2] The same, and the forward streams were stopped.
    WritesClosedStreamsStopped "writes_closed_streams_stopped": "a switch of writes ended while it waited for the target, or after",
    /// [H-T3] The same, and reverse streams were created.
    WritesClosedReverseCreated "writes_closed_reverse_created": "a switch of writes ended right before its point of no return",
    /// Forward streams that a switch stopped, with nothing closed.
    StreamsStoppedForCutover "streams_stopped_for_cutover": "a switch of writes was undone in part",
    /// Reverse streams that no switch has got to the use of, with nothing closed.
    ReverseLeftByUndo "reverse_left_by_undo": "a switch of writes was undone in part",
    /// [H-T4, H-S4] The journal is on some of the sources.
    JournalOnSomeSources "journal_on_some_sources": "a switch of writes ended while it wrote its journal",
    /// [H-T5, H-S4] The journal is on all sources, and the rules still lead there.
    JournalWithoutRouting "journal_without_routing": "a switch of writes ended after its journal and before its routing",
    /// A journal of streams of the same ids, and no sign of a switch.
    JournalOfPreviousRun "journal_of_previous_run": "an earlier workflow had the same stream ids, as after the target was rebuilt",
    /// [H-T6] What a cell serves is not what the global rules say of writes.
    CellServesOldRouting "cell_serves_old_routing": "making what the cell serves failed or was not reached",
    /// [H-T7, H-S8] Writes are switched; no forward stream is frozen.
    ForwardNotFrozen "forward_not_frozen": "a switch of writes ended after its routing and before it was finished",
    /// [H-T8, H-S8] Writes are switched; some forward streams are frozen.
    ForwardPartlyFrozen "forward_partly_frozen": "a switch of writes ended in its last step",
    /// [H-T9] Writes are switched, and the target denies them.
    TargetDenied "target_denied": "records edited by hand, or the undo of a later attempt",
    /// Writes are switched, and the source does not deny them.
    SourceOpen "source_open": "records edited by hand",
    /// [H-T10] Rules of reads that no cell serves.
    ReadRulesNotServed "read_rules_not_served": "reads and writes were switched at once, and the writes failed",
    /// [H-T11] Rules of reads that some cells do not serve.
    ReadRulesServedInSomeCells "read_rules_served_in_some_cells": "reads were switched with --cells",
    /// Rules that lead some of the tables or shards here and some there.
    RoutedDifferentWays "routed_different_ways": "rules edited by hand, or two workflows that overwrote each other's",
    /// Writes are routed to the target, and no switch has been there.
    RoutedWithoutSwitch "routed_without_switch": "rules edited by hand",
    /// [H-T12] Routing rules of tables that no workflow moves.
    LeftoverRoutingRules "leftover_routing_rules": "a workflow ended without its rules: they were kept, or its streams were deleted by themselves",
    /// [H-T12] The same of shard and keyspace rules.
    LeftoverShardRules "leftover_shard_rules": "a workflow ended without its rules: they were kept, or it was cancelled",
    /// [H-T12] Denied tables that no workflow moves.
    LeftoverDeniedTables "leftover_denied_tables": "a workflow ended and kept its data, or its streams were deleted by themselves",
    /// [H-T13] Both directions run.
    BothDirectionsRunning "both_directions_running": "streams started by hand, or by the undo of a reshard",
    /// Both directions are frozen.
    BothDirectionsFrozen "both_directions_frozen": "streams edited by hand",
    /// [H-T14] The forward streams are frozen, and writes go to the source.
    FrozenButRoutedToSource "frozen_but_routed_to_source": "rules or records restored or edited by hand",
    /// [H-T15] Only the reverse direction is there.
    ReverseWithoutForward "reverse_without_forward": "the undo of a failed reversal deleted the forward streams",
    /// Reverse streams that are frozen, without forward ones.
    ReverseLeftFrozen "reverse_left_frozen": "a cancellation or completion that ended half-way",
    /// [H-T16] Mirror rules that no workflow has.
    LeftoverMirrorRules "leftover_mirror_rules": "a mirrored workflow ended: nothing removes its mirror rules",
    /// [H-T17] Denied tables that may be read, with nothing mirrored.
    DeniedTablesReadable "denied_tables_readable": "mirroring ended under an older release, or records were edited by hand",
    /// [H-T17] Reads are mirrored to a target that refuses them.
    MirroredReadsDenied "mirrored_reads_denied": "mirroring was set up under an older release, or by hand",
    /// [H-T18] A lock of which the process is gone.
    LockWithoutProcess "lock_without_process": "the process that held it ended without giving it back",
    /// [H-T19] Fewer reverse streams than forward ones.
    ReverseIncomplete "reverse_incomplete": "creating the reverse streams failed in part",
    /// [H-T20] Writes are switched, and the reverse streams stand still.
    ReverseStopped "reverse_stopped": "the switch ended before it started them, was told not to, or they were stopped",
    /// A way back has closed the target or stopped the reverse streams; the journal of it is not there.
    ReversalInterrupted "reversal_interrupted": "a switch back of writes ended before its point of no return",
    /// The journal of a way back is there, and the reverse streams are not all frozen.
    ReversalNotFinished "reversal_not_finished": "a switch back of writes ended after its journal and before its last step",
    /// [H-S1] The query service of source primaries is off before a journal.
    SourceShardsClosed "source_shards_closed": "a switch of writes ended right after it had closed the source shards",
    /// [H-S2] Streams of other workflows on the source shards that a switch has stopped.
    SourceStreamsStopped "source_streams_stopped": "a switch of writes ended between stopping the source's own streams and its journal",
    /// [H-S3] Their copies on the target shards, before a journal.
    StreamCopiesLeft "stream_copies_left": "a switch of writes ended right before its point of no return",
    /// [H-S5] Which primaries serve by their records: some of both sides, or none.
    ServingFlagsMixed "serving_flags_mixed": "a switch of writes ended while it changed the shards' records",
    /// [H-S6] Cells in which primaries of the other side are served.
    CellServesOldShards "cell_serves_old_shards": "a switch of writes ended while it changed what the cells serve",
    /// [H-S7] Copies of streams on the target shards that stand still after the switch.
    StreamCopiesStopped "stream_copies_stopped": "a switch of writes ended before it started the streams that it had taken along",
    /// [H-S9] A shard that is served for reads while its query service is off.
    ServedShardsClosed "served_shards_closed": "a switch of reads ended half-way",
    /// [H-S10] What a cell serves has a gap or an overlap, or there is nothing.
    PartitionInvalid "partition_invalid": "an edit that was lost, or made by hand",
    /// [H-S11] Records of source shards are gone; forward streams are not.
    SourceShardsGone "source_shards_gone": "completing ended after it had deleted the source shards",
    /// [H-S12] Streams as a deletion leaves them that ended half-way.
    DeletionInterrupted "deletion_interrupted": "a cancellation ended half-way; or an old client stopped the workflow, or created it (before v20)",
    /// Frozen streams without rules and without reverse streams.
    CompletionInterrupted "completion_interrupted": "completing ended after it had deleted the routing rules",
    /// Shards of the target without streams that all others have.
    StreamsOnSomeShards "streams_on_some_shards": "a deletion ended half-way, or shards were added",
    /// A stream that needs binary logs which its source has no more.
    BinlogsGone "binlogs_gone": "it stood still for longer than its source keeps binary logs",
    /// A stream that has failed.
    StreamFailed "stream_failed": "what the stream says: it goes on when that is mended",
    /// A sequence whose next value is not larger than those that its tables hold.
    SequenceBehind "sequence_behind": "rows came with values of their own, a move did not raise it, or it was restored from before",
}

/// Whether running the command again heals it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rerun {
    /// Yes.
    Heals,
    /// Yes, if the lag that the stop has brought about is allowed.
    HealsAtAnyLag,
    /// Not the first time: it is refused for its lag, or undoes what is there; the time after it does.
    HealsLater,
    /// No.
    No,
}

impl Rerun {
    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Heals => "heals",
            Self::HealsAtAnyLag => "heals_at_any_lag",
            Self::HealsLater => "heals_later",
            Self::No => "no",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Deviation {
    /// What.
    pub mechanism: Mechanism,
    /// Where it is seen: shards, tablets, records, keys.
    pub places: Vec<String>,
    /// Whom it hurts now, and how.
    pub hurts: String,
    /// Unix seconds since which, about; 0: nobody can tell.
    pub since: i64,
    /// Whether running the command again heals it.
    pub rerun: Rerun,
    /// The ways out, best first. None: somebody has to decide what `hurts` or the cause says.
    pub repairs: Vec<Repair>,
}

impl Deviation {
    pub(crate) fn new(mechanism: Mechanism, hurts: impl Into<String>) -> Self {
        Self { mechanism, places: Vec::new(), hurts: hurts.into(), since: 0, rerun: Rerun::No, repairs: Vec::new() }
    }

    #[must_use]
    pub(crate) fn at(mut self, places: impl IntoIterator<Item = String>) -> Self {
        self.places.extend(places);
        self
    }

    #[must_use]
    pub(crate) fn since(self, since: i64) -> Self {
        Self { since, ..self }
    }

    #[must_use]
    pub(crate) fn rerun(self, rerun: Rerun) -> Self {
        Self { rerun, ..self }
    }

    /// A way out; one without actions is none.
    #[must_use]
    pub(crate) fn by(mut self, repair: Repair) -> Self {
        if !repair.actions.is_empty() {
            self.repairs.push(repair);
        }
        self
    }
}
