//! The records that a change of traffic goes by, as they were read.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    contract::Answer,
    cutover::{leaving::Left, stored::Stored},
    proto::topodata::Tablet,
    sidecar::{query::Query, result::RowSet},
    topo::targets::unexpected,
};

/// What was read of the topology.
#[derive(Default)]
pub(super) struct Records {
    /// Names of all keyspaces.
    pub(super) keyspaces: BTreeSet<String>,
    pub(super) cells: BTreeSet<String>,
    /// By alias, its cells.
    pub(super) aliases: BTreeMap<String, Vec<String>>,
    /// By path.
    pub(super) rules: BTreeMap<&'static str, Stored>,
    /// By keyspace and shard.
    pub(super) shards: BTreeMap<(String, String), Stored>,
    /// By keyspace.
    pub(super) vschemas: BTreeMap<String, Stored>,
    /// By cell, `SrvVSchema`.
    pub(super) served: BTreeMap<String, Stored>,
    /// By cell, what it serves of the target's keyspace.
    pub(super) srv_keyspaces: BTreeMap<String, Stored>,
    /// By alias.
    pub(super) tablets: BTreeMap<String, Tablet>,
    /// What goes with a shard that is left behind.
    pub(super) left: Left,
}

/// What asks for a journal.
pub(crate) fn journal_query(id: i64) -> Query {
    Query::vreplication("journal", format!("select val from _vt.resharding_journal where id={id}"))
}

/// The journal in an answer; `None`: there is none.
pub(crate) fn journal(answer: Answer) -> Result<Option<Vec<u8>>, String> {
    match answer {
        Answer::Called(response) => {
            let rows = RowSet::from_vreplication_exec(&response).map_err(|error| error.to_string())?;
            let value = rows.rows().next().and_then(|row| row.value("val")).flatten().map(<[u8]>::to_vec);
            Ok(value)
        }
        Answer::Failed { message, .. } => Err(message),
        other => Err(unexpected("a read of a journal", &other)),
    }
}
