//! Writing a demo cluster's records into etcd, so that other Vitess tools can be pointed at it.
//!
//! Never part of answering a request. It refuses to write over what is there unless told, since it may be somebody's cluster.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use tokio::time::Instant;
use vtflow_planner::Answer;

use super::{
    EtcdTopology,
    error::EtcdError,
    place::{Place, record_node},
    read::Values,
};
use crate::topo::{CellRecord, GLOBAL, node::is_plain_path};

/// Why records were not written. Chunks before the failed one may have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The topology has a keyspace of that name.
    #[error("keyspace {keyspace} exists already ({node}): choose another root, or allow overwriting")]
    KeyspaceExists {
        /// Its name.
        keyspace: String,
        /// Its directory.
        node: String,
    },
    /// The topology has a cell of that name that is somewhere else.
    #[error("cell {cell} exists already with another address or root ({node}): choose another root, or allow overwriting")]
    CellExists {
        /// Its name.
        cell: String,
        /// Its record.
        node: String,
    },
    /// A record appeared between the check and the write.
    #[error("one of the records from {node} on exists already: choose another root, or allow overwriting")]
    Exists {
        /// The first record of the chunk that was refused.
        node: String,
    },
    /// A record's path would lead elsewhere.
    #[error("{path:?} is not the path of a record")]
    Path {
        /// As given.
        path: String,
    },
    /// etcd could not be asked or did not do it.
    #[error("{0}")]
    Topology(String),
}

impl EtcdTopology {
    /// Writes records: the global ones first, `CellInfo` records among them, then those of the cells that these name.
    ///
    /// # Errors
    ///
    /// Without `overwrite`: a keyspace that exists, a cell that exists and differs, or any other record that exists. Always:
    /// a cell without a `CellInfo`, etcd's own refusals, and the deadline.
    pub async fn put_all(&self, records: &[CellRecord], overwrite: bool, deadline: Instant) -> Result<(), PutError> {
        if let Some(record) = records.iter().find(|record| !is_plain_path(&record.path)) {
            return Err(PutError::Path { path: record.path.clone() });
        }
        let mut by_cell: BTreeMap<&str, Vec<&CellRecord>> = BTreeMap::new();
        for record in records {
            by_cell.entry(&record.cell).or_default().push(record);
        }
        let mut global = by_cell.remove(GLOBAL).unwrap_or_default();
        if !overwrite {
            self.check_keyspaces(&global, deadline).await?;
            let kept = self.check_cells(&global, deadline).await?;
            global.retain(|record| !kept.contains(&record.path));
        }
        self.global.put(&global, overwrite, deadline).await?;
        for (cell, records) in by_cell {
            let record = self.cell_record(cell, deadline).await;
            let place = record.and_then(|record| self.place(cell, record)).map_err(|answer| failure(&answer))?;
            place.put(&records, overwrite, deadline).await?;
        }
        Ok(())
    }

    async fn check_keyspaces(&self, records: &[&CellRecord], deadline: Instant) -> Result<(), PutError> {
        let keyspaces: BTreeSet<&str> =
            records.iter().filter_map(|record| record.path.strip_prefix("keyspaces/")?.split('/').next()).collect();
        for keyspace in keyspaces {
            match self.global.read_range(&format!("keyspaces/{keyspace}/"), Values::Skipped, deadline).await {
                Answer::Missing { .. } => {}
                failed @ Answer::Failed { .. } => return Err(failure(&failed)),
                _ => {
                    let node = record_node(&self.global.root, &format!("keyspaces/{keyspace}"));
                    return Err(PutError::KeyspaceExists { keyspace: keyspace.to_owned(), node });
                }
            }
        }
        Ok(())
    }

    /// The paths of cells that are there already, just as they should be.
    async fn check_cells(&self, records: &[&CellRecord], deadline: Instant) -> Result<BTreeSet<String>, PutError> {
        let cells: Vec<(&str, &CellRecord)> = records
            .iter()
            .filter_map(|record| Some((record.path.strip_prefix("cells/")?.strip_suffix("/CellInfo")?, *record)))
            .collect();
        let paths: Vec<String> = cells.iter().map(|(_, record)| record.path.clone()).collect();
        let mut same = BTreeSet::new();
        for ((cell, record), there) in cells.into_iter().zip(self.global.read_records(&paths, deadline).await) {
            match there {
                Answer::Found { value, .. } if value == record.value => {
                    same.insert(record.path.clone());
                }
                Answer::Found { .. } => {
                    let node = record_node(&self.global.root, &record.path);
                    return Err(PutError::CellExists { cell: cell.to_owned(), node });
                }
                failed @ Answer::Failed { .. } => return Err(failure(&failed)),
                _ => {}
            }
        }
        Ok(same)
    }
}

impl Place {
    async fn put(&self, records: &[&CellRecord], overwrite: bool, deadline: Instant) -> Result<(), PutError> {
        let mut rest = records;
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(chunk_length(rest));
            rest = later;
            let nodes: Vec<String> = chunk.iter().map(|record| record_node(&self.root, &record.path)).collect();
            let puts: Vec<TxnOp> =
                nodes.iter().zip(chunk).map(|(node, record)| TxnOp::put(node.as_str(), record.value.clone(), None)).collect();
            let mut txn = Txn::new();
            if !overwrite {
                let absent: Vec<Compare> =
                    nodes.iter().map(|node| Compare::create_revision(node.as_str(), CompareOp::Equal, 0)).collect();
                txn = txn.when(absent);
            }
            let txn = txn.and_then(puts);
            let done = self.cluster.write(deadline, |mut etcd| async move { etcd.txn(txn).await }).await;
            let node = nodes.first().cloned().unwrap_or_default();
            match done {
                Ok(response) if response.succeeded() => {}
                Ok(_) => return Err(PutError::Exists { node }),
                Err(trouble) => return Err(put_failure(&trouble, &node, self)),
            }
        }
        Ok(())
    }
}

/// How many records from the start fit into one transaction: by count, and by bytes (etcd takes requests of 1.5 MiB).
fn chunk_length(records: &[&CellRecord]) -> usize {
    let mut bytes = 0;
    let fits = |record: &&&CellRecord| {
        bytes += record.path.len() + record.value.len() + 200;
        bytes <= TXN_BYTES
    };
    records.iter().take(TXN_OPS).take_while(fits).count().max(1)
}

fn put_failure(trouble: &EtcdError, node: &str, place: &Place) -> PutError {
    failure(&trouble.as_answer(node, &place.address, &place.root))
}

fn failure(answer: &Answer) -> PutError {
    PutError::Topology(match answer {
        Answer::Failed { message, .. } => message.clone(),
        Answer::Missing { node } => crate::topo::no_node(node),
        _ => "etcd gave an answer that fits no question".to_owned(),
    })
}

/// Writes in one transaction; etcd's default limit is 128.
const TXN_OPS: usize = 100;

/// Bytes of one transaction.
const TXN_BYTES: usize = 1 << 20;
