//! Reads of one place in etcd: point reads many at a time, and directories of any size.
//!
//! All reads are linearizable, as Vitess's are. etcd takes at most 128 operations in a transaction by default
//! (`--max-txn-ops`); an answer may be larger than we accept, then less is asked for at a time.

use std::future::Future;

use etcd_client::{GetOptions, GetResponse, KeyValue, KvClient, Txn, TxnOp, TxnOpResponse};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};
use vtflow_planner::{Answer, Record};

use super::{
    cluster::Headed,
    error::{EtcdError, NO_ETCD},
    place::{Place, readable, record_node},
};
use crate::topo::node;

/// What is read of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// Everything.
    Read,
    /// Names and versions; the values are empty.
    Skipped,
}

impl Values {
    fn of(self, options: GetOptions) -> GetOptions {
        match self {
            Self::Read => options,
            Self::Skipped => options.with_keys_only(),
        }
    }
}

impl Place {
    /// One answer per path, in their order.
    pub(super) async fn read_records(&self, paths: &[String], deadline: Instant) -> Vec<Answer> {
        let nodes: Vec<String> = paths.iter().filter(|path| readable(path)).map(|path| record_node(&self.root, path)).collect();
        // Futures that borrow from a closure's argument are not general enough to be sent; these own what they read.
        let chunks: Vec<_> = nodes.chunks(TXN_OPS).map(|chunk| self.read_chunk(chunk.to_vec(), deadline)).collect();
        let mut read = stream::iter(chunks).buffered(CHUNKS_AT_ONCE).concat().await.into_iter();
        let answer = |path: &String| {
            let missing = || Answer::Missing { node: record_node(&self.root, path) };
            if readable(path) { read.next().unwrap_or_else(missing) } else { missing() }
        };
        paths.iter().map(answer).collect()
    }

    /// All records below a directory, or their names alone.
    pub(super) async fn read_range(&self, prefix: &str, values: Values, deadline: Instant) -> Answer {
        let directory = node::directory(&self.root, prefix);
        if !readable(prefix) {
            return Answer::Missing { node: directory };
        }
        let whole = self
            .read(deadline, |mut etcd| {
                let key = directory.clone();
                async move { etcd.get(key, Some(values.of(GetOptions::new().with_prefix()))).await }
            })
            .await;
        let found = match whole {
            // There is no more than all.
            Ok(response) if response.more() => Err(EtcdError::Broken(NO_ETCD.to_owned())),
            Ok(mut response) => Ok(response.take_kvs()),
            Err(EtcdError::TooLarge) => self.read_pages(&directory, values, deadline).await,
            Err(trouble) => Err(trouble),
        };
        match found {
            Ok(found) if found.is_empty() => Answer::Missing { node: directory },
            Ok(found) => {
                let within = node::directory("", prefix);
                let record = |pair: KeyValue| {
                    let (key, value) = pair.into_key_value();
                    let below = key.get(directory.len()..).unwrap_or_default();
                    (format!("{within}{}", String::from_utf8_lossy(below)), value)
                };
                Answer::Range(
                    found
                        .into_iter()
                        .map(|pair| {
                            let version = pair.mod_revision();
                            let (path, value) = record(pair);
                            Record { path, value, version }
                        })
                        .collect(),
                )
            }
            Err(trouble) => trouble.as_answer(&directory, &self.address, &self.root),
        }
    }

    /// A directory page by page, all pages of one revision.
    async fn read_pages(&self, directory: &str, values: Values, deadline: Instant) -> Result<Vec<KeyValue>, EtcdError> {
        let mut found: Vec<KeyValue> = Vec::new();
        let mut from = directory.as_bytes().to_vec();
        let end = end_of(directory);
        let mut limit = PAGE_KEYS;
        let mut revision = 0;
        loop {
            let page = self
                .read(deadline, |mut etcd| {
                    let options = GetOptions::new().with_range(end.clone()).with_limit(limit).with_revision(revision);
                    let options = values.of(options);
                    let from = from.clone();
                    async move { etcd.get(from, Some(options)).await }
                })
                .await;
            let mut page = match page {
                Ok(page) => page,
                Err(EtcdError::TooLarge) if limit > 1 => {
                    limit /= 2;
                    continue;
                }
                Err(trouble) => return Err(trouble),
            };
            if revision == 0 {
                revision = page.header().map_or(0, etcd_client::ResponseHeader::revision);
            }
            let (more, keys) = (page.more(), page.take_kvs());
            if more && keys.is_empty() {
                return Err(EtcdError::Broken(NO_ETCD.to_owned()));
            }
            found.extend(keys);
            let Some(last) = found.last().filter(|_| more) else { return Ok(found) };
            from = last.key().to_vec();
            from.push(0);
        }
    }

    /// At most [`TXN_OPS`] records, in one transaction; in halves if the answer is too large.
    async fn read_chunk(&self, nodes: Vec<String>, deadline: Instant) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(nodes.len());
        let mut left = vec![nodes];
        while let Some(mut nodes) = left.pop() {
            match self.read_nodes(&nodes, deadline).await {
                Ok(found) => answers.extend(found.into_iter().zip(nodes).map(|(pair, node)| match pair {
                    Some(pair) => {
                        let version = pair.mod_revision();
                        Answer::Found { value: pair.into_key_value().1, version }
                    }
                    None => Answer::Missing { node },
                })),
                Err(EtcdError::TooLarge) if nodes.len() > 1 => {
                    let second = nodes.split_off(nodes.len() / 2);
                    left.extend([second, nodes]);
                }
                Err(trouble) => {
                    // One trouble for all of these; each text names its own node.
                    answers.extend(nodes.iter().map(|node| trouble.as_answer(node, &self.address, &self.root)));
                }
            }
        }
        answers
    }

    /// A read of its cluster, when its turn comes. Only here, so that nobody who holds a turn waits for another.
    async fn read<T: Headed, F>(&self, deadline: Instant, ask: impl Fn(KvClient) -> F) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let Ok(Ok(_turn)) = timeout_at(deadline, self.turns.acquire()).await else { return Err(EtcdError::Crowded) };
        self.cluster.read(deadline, ask).await
    }

    async fn read_nodes(&self, nodes: &[String], deadline: Instant) -> Result<Vec<Option<KeyValue>>, EtcdError> {
        if let [node] = nodes {
            let response = self.read(deadline, |mut etcd| {
                let node = node.clone();
                async move { etcd.get(node, None).await }
            });
            return Ok(vec![only(response.await?)]);
        }
        let response = self
            .read(deadline, |mut etcd| {
                let reads: Vec<TxnOp> = nodes.iter().map(|node| TxnOp::get(node.as_str(), None)).collect();
                async move { etcd.txn(Txn::new().and_then(reads)).await }
            })
            .await?;
        let found = response.op_responses().into_iter().map(|response| match response {
            TxnOpResponse::Get(response) => Some(only(response)),
            _ => None,
        });
        found
            .collect::<Option<Vec<_>>>()
            .filter(|found| found.len() == nodes.len())
            .ok_or_else(|| EtcdError::Broken(NO_ETCD.to_owned()))
    }
}

fn only(mut response: GetResponse) -> Option<KeyValue> {
    response.take_kvs().into_iter().next()
}

/// The key just behind all keys below a directory, whose name ends in a slash.
fn end_of(directory: &str) -> Vec<u8> {
    let mut end = directory.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// Reads in one transaction: etcd's default limit.
const TXN_OPS: usize = 128;

/// Transactions under way at once for one ask.
const CHUNKS_AT_ONCE: usize = 16;

/// Keys of a page, at first.
const PAGE_KEYS: i64 = 1000;
