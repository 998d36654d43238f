//! The clusters that runs begin with: recorded ones in which traffic is about to be moved, or has been.

use std::time::Duration;

/// Which side of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Source,
    Target,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }
}

/// What decides where the traffic of a workflow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Rules of tables.
    Tables,
    /// Rules of shards.
    Partial,
    /// Rules of keyspaces.
    Tenant,
    /// Shards that serve.
    Reshard,
    /// The same, and streams of other workflows go along.
    Beside,
}

impl Shape {
    /// In front of the names of its changes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tables => "move",
            Self::Partial => "partial",
            Self::Tenant => "tenant",
            Self::Reshard => "reshard",
            Self::Beside => "beside",
        }
    }
}

/// A workflow in a recorded cluster, or one that was made of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Its folder in `tests/snapshots`.
    pub(super) snapshot: &'static str,
    pub(crate) shape: Shape,
    pub(crate) workflow: &'static str,
    /// Its name in the other direction.
    pub(crate) reverse: &'static str,
    pub(crate) source: &'static str,
    pub(crate) target: &'static str,
    /// Those that are moved; of a reshard, some of all.
    pub(crate) tables: &'static [&'static str],
    pub(crate) source_shards: &'static [&'static str],
    pub(crate) target_shards: &'static [&'static str],
    /// Where writes go.
    pub(crate) owner: Side,
}

pub(crate) const MOVES: Case = Case {
    snapshot: "movetables-running",
    shape: Shape::Tables,
    workflow: "move_big2",
    reverse: "move_big2_reverse",
    source: "commerce",
    target: "customer",
    tables: &["big2", "orders2"],
    source_shards: &["0"],
    target_shards: &["-80", "80-"],
    owner: Side::Source,
};

pub(crate) const RESHARDS: Case = Case {
    snapshot: "reshard-running",
    shape: Shape::Reshard,
    workflow: "cust2cust",
    reverse: "cust2cust_reverse",
    source: "customer",
    target: "customer",
    tables: &["corder", "customer"],
    source_shards: &["80-"],
    target_shards: &["80-c0", "c0-"],
    owner: Side::Source,
};

const MOVE1: Case = Case { workflow: "move1", reverse: "move1_reverse", tables: &["corder", "customer"], ..MOVES };

pub(crate) const MOVE_READS_SWITCHED: Case = Case { snapshot: "movetables-reads-switched", ..MOVE1 };

pub(crate) const MOVE_SWITCHED: Case = Case { snapshot: "movetables-switched", owner: Side::Target, ..MOVE1 };

pub(crate) const RESHARD_SWITCHED: Case =
    Case { snapshot: "reshard-switched", workflow: "split1", reverse: "split1_reverse", owner: Side::Target, ..RESHARDS };

/// Shards of one keyspace go to another one.
pub(crate) const PARTIAL: Case = Case {
    shape: Shape::Partial,
    source: "customer",
    target: "commerce",
    source_shards: &["-80"],
    target_shards: &["-80"],
    ..MOVES
};

pub(crate) const TENANT: Case = Case { shape: Shape::Tenant, ..MOVES };

pub(crate) const BESIDE: Case = Case { shape: Shape::Beside, ..RESHARDS };

pub(crate) const BESIDE_SWITCHED: Case = Case { shape: Shape::Beside, ..RESHARD_SWITCHED };

impl Case {
    pub(crate) fn is_reshard(&self) -> bool {
        self.source == self.target
    }

    /// Whose a shard is; `None`: the workflow has nothing to do with it.
    pub(crate) fn side(&self, keyspace: &str, shard: &str) -> Option<Side> {
        if keyspace == self.source && self.source_shards.contains(&shard) {
            Some(Side::Source)
        } else if keyspace == self.target && self.target_shards.contains(&shard) {
            Some(Side::Target)
        } else {
            None
        }
    }

    pub(crate) fn keyspace(&self, side: Side) -> &'static str {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
        }
    }

    pub(crate) fn shards(&self, side: Side) -> &'static [&'static str] {
        match side {
            Side::Source => self.source_shards,
            Side::Target => self.target_shards,
        }
    }

    /// How long a change may go on after its request's time: a tablet may take so long to drop a table, or to delete a tenant's rows.
    pub(crate) fn change_time(&self) -> Duration {
        Duration::from_secs(if self.shape == Shape::Tenant { 3_610 } else { 310 }) + Duration::from_secs(180)
    }

    /// What has to be locked for every write of a change of its traffic: not all that is, for some take the source's keyspace as well.
    pub(crate) fn locked(&self) -> Vec<String> {
        vec![format!("internal/named_locks/{}/{}", self.target, self.workflow), format!("keyspaces/{}", self.target)]
    }
}
