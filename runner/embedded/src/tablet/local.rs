//! A tablet without port, thread or runtime: what it answers to a call, for whoever brings calls to it in another way.
//!
//! The answers are those of `service.rs`. One database may be several tablets', as that of a shard is its primary's and its replicas'.

use std::sync::Arc;

use bytes::Bytes;
use tonic::Status;

use super::service::{Call, is_write, method_of};
use crate::mysql::engine::Engine;

/// Whom a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Such as `zone1-0000000100`.
    pub alias: String,
    /// Its shard.
    pub shard: String,
    /// The database of its keyspace.
    pub db_name: String,
    /// The cluster's cells, with commas.
    pub cells: Arc<str>,
    /// Whether its type is PRIMARY: only then its vreplication engine is open.
    pub is_primary: bool,
}

/// What a tablet answers. Blocks for as long as the statement takes.
///
/// # Errors
/// The tablet's status.
pub fn answer(engine: &mut Engine, whom: &Identity, path: &str, request: &[u8]) -> Result<Bytes, Status> {
    let release = engine.release();
    let method = method_of(path, release)?;
    let Identity { alias, shard, db_name, cells, is_primary } = whom.clone();
    engine.stop().clear();
    Call { alias, shard, db_name, is_primary, release, cells, method }.perform(engine, request)
}

/// Whether a call would change something.
pub fn changes(path: &str, request: &[u8]) -> bool {
    path.rsplit('/').next().is_some_and(|method| is_write(method, request))
}
