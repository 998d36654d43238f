//! Everything that was read about one workflow and the two sides between which it moves traffic, and nothing that was concluded.
//!
//! Each piece says whether it is known, known not to be there, or not known and why. Whoever concludes from it must say the third.
//! Facts: `go/vt/vtctl/workflow/server.go:buildTrafficSwitcher` and `traffic_switcher.go`, v24, for what a switch looks at.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{kind::Kind, names::reverse_of};
use crate::proto::topodata::{Shard, SrvKeyspace};

/// One thing that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece<T> {
    /// It was read.
    Known(T),
    /// It is not there.
    Missing,
    /// Nobody can tell; why.
    Unknown(String),
}

impl<T> Piece<T> {
    /// What was read, if it was.
    pub fn known(&self) -> Option<&T> {
        if let Self::Known(value) = self { Some(value) } else { None }
    }

    /// Why it is not known whether it is there.
    pub fn unknown(&self) -> Option<&str> {
        if let Self::Unknown(why) = self { Some(why) } else { None }
    }

    /// Whether it is known not to be there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

/// Rules of one kind: where each key leads. Of two rules with one key the first counts, as for vtctld.
pub type Keys = BTreeMap<String, Vec<String>>;

/// The rule records of the whole cluster. One that is missing has no rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Record `RoutingRules`. Keys are tables, with a keyspace or a tablet type or both: `commerce.corder@replica`.
    pub tables: Piece<Keys>,
    /// Record `ShardRoutingRules`. Keys are shards, `commerce.-80`; they lead to keyspaces.
    pub shards: Piece<Keys>,
    /// Record `routing_rules/keyspace/Rules`. Keys are keyspaces, with a tablet type or none.
    pub keyspaces: Piece<Keys>,
    /// Record `MirrorRules`. Keys are as those of `tables`.
    pub mirror: Piece<Keys>,
}

/// What one cell serves to its vtgates.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The rules in its record `SrvVSchema`, which are what vtgates go by.
    pub rules: Piece<ServedRules>,
    /// By keyspace, its record `SrvKeyspace`: which shards serve.
    pub keyspaces: BTreeMap<String, Piece<SrvKeyspace>>,
}

/// Copies of the rules, as [`Rules`] has them.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the rules")]
pub struct ServedRules {
    pub tables: Keys,
    pub shards: Keys,
    pub keyspaces: Keys,
}

/// By name, what every cell serves.
pub type Cells = BTreeMap<String, Cell>;

/// One side: the keyspace that traffic leaves, or the one that it goes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Side {
    /// Its name.
    pub keyspace: String,
    /// The shards that take part, by name.
    pub shards: BTreeMap<String, ShardEvidence>,
}

/// One shard that takes part.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardEvidence {
    /// Its record: who may be asked for its tables, and whether its primary serves.
    pub record: Piece<Shard>,
    /// Its primary's alias as text; empty: there is none.
    pub tablet: String,
    /// Its primary's database.
    pub db_name: String,
    /// The streams on its primary: those of the workflow in both directions; of a reshard all others, too.
    pub streams: Piece<Vec<Stream>>,
    /// The journals that its primary has of this workflow, by migration id.
    pub journals: Piece<BTreeMap<i64, Journal>>,
}

/// What a stream's row says, as far as a change of traffic goes by it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// Unique on its tablet.
    pub id: i64,
    /// The workflow's name.
    pub workflow: String,
    /// What it is doing.
    pub state: StreamState,
    /// What it last said.
    pub message: String,
    /// Where it stops; empty: nowhere.
    pub stop_position: String,
    /// Cells to read from, as stored.
    pub cells: String,
    /// Tablet types to read from: whether any are named.
    pub has_tablet_types: bool,
    /// The keyspace that it reads.
    pub source_keyspace: String,
    /// The shard that it reads.
    pub source_shard: String,
    /// Unix seconds of the last write to the row.
    pub time_updated: i64,
}

/// Number of `binlogdata.VReplicationWorkflowState` in words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamState {
    /// It stands still.
    #[default]
    Stopped,
    /// It is at work: copying, running, lagging, or about to.
    Working,
    /// It gave up.
    Error,
}

impl Stream {
    /// Whether its side of the switch is done for good. Source: `go/vt/vtctl/workflow/server.go`, `Frozen`.
    pub fn is_frozen(&self) -> bool {
        self.message == FROZEN
    }

    /// Whether a switch of writes stopped it, having waited for it. Source: `traffic_switcher.go:waitForCatchup`.
    pub fn is_stopped_for_cutover(&self) -> bool {
        self.state == StreamState::Stopped && self.message == "stopped for cutover"
    }

    /// Whether a switch of a reshard stopped it, or lets it run up to a position only. Source: `stream_migrator.go`.
    pub fn is_held_for_cutover(&self) -> bool {
        matches!(self.message.as_str(), HELD | SYNCHRONIZING)
    }

    /// Whether it was sent to a position, and is on its way there or has come to it. Of one that has come, nothing but a held stream of its
    /// workflow tells that a switch was it.
    pub(crate) fn is_sent_on(&self) -> bool {
        let is_there = self.state == StreamState::Stopped && self.message.starts_with(AT_POSITION);
        self.message == SYNCHRONIZING || is_there && !self.stop_position.is_empty()
    }
}

/// What a switch writes into the message of another workflow's stream that it stops, until it is done with it.
pub(crate) const HELD: &str = "for cutover";

/// The same of one that runs up to where another has stopped.
pub(crate) const SYNCHRONIZING: &str = "synchronizing for cutover";

/// What a tablet writes into the message of a stream that has come to where it was to stop.
/// Source: `go/vt/vttablet/tabletmanager/vreplication/vplayer.go`.
pub(crate) const AT_POSITION: &str = "Stopped at position";

/// The message of a stream whose writes have been switched away.
pub(crate) const FROZEN: &str = "FROZEN";

/// An entry of `_vt.resharding_journal`, after which a switch cannot be undone. Source: `traffic_switcher.go:createJournals`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journal {
    /// By shard of the target: its position when the journal was written, where a reverse stream begins.
    pub positions: BTreeMap<String, String>,
    /// Workflows whose streams a reshard takes along.
    pub workflows: BTreeSet<String>,
}

/// A lock that somebody holds or waits for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lock {
    /// Its node, relative to the global root, such as `keyspaces/customer/locks/7587`.
    pub path: String,
    /// What for: `WorkflowSwitchTraffic`; empty: its content cannot be read.
    pub action: String,
    /// Who: `user@host`.
    pub holder: String,
    /// Unix seconds at which it was asked for; 0: not known.
    pub since: i64,
    /// Whether its holder renews its lease for as long as it lives: a vtflow.
    pub is_kept_alive: bool,
}

impl Lock {
    /// Whether it is a workflow's own, not a keyspace's.
    pub fn is_named(&self) -> bool {
        self.path.starts_with(NAMED_LOCKS)
    }

    /// The directory that it locks: `internal/named_locks/customer/c2c`.
    pub fn directory(&self) -> &str {
        self.path.rsplit_once("/locks/").map_or(self.path.as_str(), |(directory, _)| directory)
    }
}

/// Where the locks of workflows are. Source: `go/vt/topo/named_lock.go`, v21 on.
pub(crate) const NAMED_LOCKS: &str = "internal/named_locks/";

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The name of the direction that moved the data first.
    pub workflow: String,
    /// What is moved, and how.
    pub kind: Kind,
    /// Where the traffic was at first.
    pub source: Side,
    /// Where it goes.
    pub target: Side,
    /// Tables that it moves, by full name; a pattern (`/.*`) is none.
    pub tables: BTreeSet<String>,
    /// Shards of the target that serve and have no stream of a workflow that must be on all of them.
    pub without_streams: BTreeSet<String>,
    /// Global rules.
    pub rules: Arc<Rules>,
    /// By cell.
    pub cells: Arc<Piece<Cells>>,
    /// Those on the workflow in either direction and on both keyspaces.
    pub locks: Piece<Vec<Lock>>,
    /// Records that were changed while all this was read, twice: somebody is at work.
    pub changed: BTreeSet<String>,
    /// Why something else is not known: streams whose source cannot be read, more than is looked at.
    pub unclear: BTreeSet<String>,
}

impl Evidence {
    /// The name of the other direction.
    pub fn reverse(&self) -> String {
        reverse_of(&self.workflow)
    }

    /// Whether the streams of this name in this keyspace are its own, of one direction or the other.
    pub(crate) fn has_streams(&self, keyspace: &str, workflow: &str) -> bool {
        (keyspace, workflow) == (self.target.keyspace.as_str(), self.workflow.as_str())
            || keyspace == self.source.keyspace && workflow == self.reverse()
    }

    /// The streams of the forward direction that are known, with their shards.
    pub fn forward_streams(&self) -> Vec<(&str, &Stream)> {
        self.target.streams_of(&self.workflow)
    }

    /// The same of the reverse direction.
    pub fn reverse_streams(&self) -> Vec<(&str, &Stream)> {
        self.source.streams_of(&self.reverse())
    }
}

impl Side {
    /// The streams of a workflow that are known, in the order of shards.
    pub fn streams_of(&self, workflow: &str) -> Vec<(&str, &Stream)> {
        let known = self.shards.iter().filter_map(|(name, shard)| Some((name.as_str(), shard.streams.known()?)));
        known
            .flat_map(|(name, streams)| streams.iter().map(move |it| (name, it)))
            .filter(|(_, it)| it.workflow == workflow)
            .collect()
    }
}
