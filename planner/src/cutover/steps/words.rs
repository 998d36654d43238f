//! Steps in words: their names in plans, and what is in front of their failures.

use super::Step;
use crate::{contract::StepWay as Way, cutover::scene::Scene, proto::topodata::TabletType, traffic::kind::Kind};

impl Step {
    /// Its name in plans.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Refresh => "refresh tablets",
            Self::Permissions => "check permissions",
            Self::Resume => "start stopped streams",
            Self::PrepareSequences => "prepare the sequences",
            Self::ResetMoved => "reset the moved sequences",
            Self::HighestValues => "read the largest values",
            Self::RaiseSequences => "raise the sequences",
            Self::Unmirror(_) => "stop mirroring",
            Self::Reads => "switch reads",
            Self::Close => "stop writes on the source",
            Self::Drain => "wait for running statements",
            Self::CatchUp => "wait for the streams and stop them",
            Self::Reopen => "let the source take writes again",
            Self::DropReverse => "delete the reverse streams",
            Self::TargetPositions => "read the target's positions",
            Self::SourcePositions => "read the source's positions",
            Self::CreateReverse => "create the reverse streams",
            Self::Journal => "write the journal",
            Self::Route => "switch writes",
            Self::DropOldReverse => "delete old reverse streams",
            Self::StartReverse => "start the reverse streams",
            Self::Freeze => "freeze the streams",
            Self::Others(part) => part.name(),
            Self::Tell => "tell the other tablets",
        }
    }

    /// In front of what has failed, as clients know it.
    pub(crate) fn failure(&self, way: Way, scene: &Scene) -> String {
        let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
        match self {
            Self::Refresh => format!(
                "cannot switch traffic for workflow {} at this time: could not refresh all of the tablets involved in the operation:\n",
                scene.workflow
            ),
            Self::Permissions => {
                format!(
                    "primary tablets are not able to fully manage the reverse vreplication workflow in the {source} keyspace: "
                )
            }
            Self::Resume => "failed to start the streams that an interrupted switch has stopped: ".into(),
            Self::PrepareSequences => format!("failed to get the sequence information in the {target} keyspace: "),
            Self::ResetMoved => "failed to reset the sequences: ".into(),
            Self::HighestValues | Self::RaiseSequences => {
                format!("failed to initialize the sequences used in the {target} keyspace: ")
            }
            Self::Unmirror(types) => {
                let of = if types.contains(&TabletType::Primary) { "primary tablet type" } else { "read-only tablet types" };
                format!(
                    "failed to remove mirror rules from source keyspace {source} to target keyspace {target}, workflow {}, for {of}: ",
                    scene.workflow
                )
            }
            Self::Reads if scene.kind == Kind::Reshard => "failed to switch read traffic for the shards: ".into(),
            Self::Reads => "failed to switch read traffic for the tables: ".into(),
            Self::Close if way == Way::Forward => format!("failed to allow writes in the {target} keyspace: "),
            Self::Close => format!("failed to stop writes in the {source} keyspace: "),
            Self::Reopen => format!("failed to allow writes in the {source} keyspace: "),
            Self::DropReverse => format!("failed to delete the streams of {}: ", scene.reverse),
            // The acts say it.
            Self::Drain => String::new(),
            Self::SourcePositions => "failed to gather replication positions: ".into(),
            Self::CatchUp | Self::TargetPositions => "failed to sync up replication between the source and target: ".into(),
            Self::CreateReverse => "failed to create the reverse vreplication streams: ".into(),
            Self::Journal => "failed to create the journal: ".into(),
            Self::Route => "failed to update the routing rules: ".into(),
            Self::DropOldReverse => format!("failed to delete the old streams of {}: ", scene.reverse),
            Self::StartReverse => "failed to start the reverse workflow: ".into(),
            Self::Freeze => format!("failed to freeze the workflow in the {target} keyspace: "),
            Self::Others(part) => part.failure(source),
            Self::Tell => {
                "failed to tell primaries of shards that are open again (repair it with --refresh once they can be told): ".into()
            }
        }
    }
}
