//! The parts of taking the streams of other workflows along, by name: which of them are left, and what each does, is said elsewhere.

/// A part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Those that a switch had stopped that did not come to its journal run again.
    Resume,
    /// Those that read other shards stop.
    Stop,
    /// Where they have stopped.
    Positions,
    /// Those that read the same come to the same position.
    Align,
    /// Their copies are there, and stand still.
    Copy,
    /// Those that read the shards that are split have all of it, and stop.
    EndInner,
    /// Their copies, from where the target is.
    CopyInner,
    /// Copies that a switch has left go.
    DropCopies,
    /// The copies run.
    Start,
    /// Those that have gone along are gone from the source.
    Drop,
}

impl Part {
    /// Its name in plans.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Resume => "start stopped streams of other workflows",
            Self::Stop => "stop streams of other workflows",
            Self::Positions => "read where the streams of other workflows are",
            Self::Align => "bring the streams of other workflows to the same position",
            Self::Copy => "copy the streams of other workflows",
            Self::EndInner => "wait for the streams within the keyspace and stop them",
            Self::CopyInner => "copy the streams within the keyspace",
            Self::DropCopies => "delete the copies of other workflows' streams",
            Self::Start => "start the streams of other workflows on the target",
            Self::Drop => "delete the streams of other workflows on the source",
        }
    }

    /// In front of what has failed, as clients know it.
    pub(crate) fn failure(self, source: &str) -> String {
        match self {
            Self::Resume => "failed to start the streams of other workflows that an interrupted switch has stopped: ".into(),
            Self::Stop | Self::Positions | Self::Align | Self::EndInner => {
                format!("failed to stop the workflow streams in the {source} keyspace: ")
            }
            Self::Copy | Self::CopyInner => "failed to migrate the workflow streams: ".into(),
            Self::DropCopies => "failed to delete the copies of other workflows' streams: ".into(),
            Self::Start | Self::Drop => "failed to finalize the traffic switch: ".into(),
        }
    }
}
