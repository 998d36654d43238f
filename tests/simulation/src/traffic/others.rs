//! Workflows of others beside a reshard: what they are called, and what their streams have brought.

use std::collections::BTreeMap;

/// One that reads another keyspace.
pub(crate) const MATERIALIZE: &str = "beside_outer";

/// One that reads the shards that are split.
pub(crate) const INNER: &str = "beside_inner";

/// What the first of them reads.
pub(crate) const OUTSIDE: (&str, &str) = ("commerce", "0");

/// What there is to be brought, and what was.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    /// Transactions outside.
    pub(super) written: u64,
    /// By shard of the target, for its part of the key range: up to which of them its rows have it, wherever they are served.
    pub(super) applied: BTreeMap<&'static str, u64>,
}
