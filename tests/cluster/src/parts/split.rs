//! The Reshard of the suite: shard `80-` of customer becomes `80-c0` and `c0-`.

use crate::reads::Workflow;

pub(super) const SPLIT: Workflow = Workflow { keyspace: "customer", name: "split1", kind: "Reshard" };
pub(super) const REVERSE: Workflow = Workflow { keyspace: "customer", name: "split1_reverse", kind: "Reshard" };

pub(super) const CREATE: &str = "Reshard --workflow split1 --target-keyspace customer create --source-shards 80- --target-shards 80-c0,c0- --tablet-types primary";
