//! The plan of a request that writes, as data: what people read before they say yes, and what `vtflow apply` holds it to.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Everything that a request would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WritePlan {
    /// The planner that made it: its version and its digest ([`crate::DIGEST`]). Another planner may make another plan of the same request.
    pub planner: String,
    /// The gRPC path.
    pub rpc: String,
    /// The request message, protobuf; in JSON base64.
    #[serde(with = "base64_text")]
    pub request: Vec<u8>,
    /// As [`crate::CallOptions::force`].
    #[serde(default)]
    pub force: bool,
    /// As [`crate::CallOptions::shards`].
    #[serde(default)]
    pub shards: Vec<String>,
    /// One line: `This stops 2 streams on 2 tablets`.
    pub summary: String,
    /// Directories of the global topology that are locked meanwhile.
    pub locks: Vec<String>,
    /// In the order of shards. Empty: nothing would be changed.
    pub writes: Vec<PlannedWrite>,
    /// What one might think is changed, too, and is not.
    pub kept: Vec<String>,
    /// What one should know before.
    pub warnings: Vec<String>,
    /// What is not there any more afterwards and cannot be brought back, by name and side: tables, rows, shards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
    /// The writes of applications that are refused on the way; `None`: none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuses: Option<Refuses>,
    /// Of a change that has to be made in steps: each, in their order, with its part of the writes. Empty: all writes are one step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<PlannedStep>,
    /// SHA-256 over all of the above but what is only for people (summary, kept, gone, refuses, steps, what is told of rows), in hex.
    pub digest: String,
}

/// Writes of applications that are refused while a change is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuses {
    /// The keyspace that they went to before.
    pub keyspace: String,
    /// Its shards that refuse them.
    pub shards: Vec<String>,
    /// The tables; empty: every table of the shards.
    pub tables: Vec<String>,
    /// Those of the shards that refused them before the change was begun: since when is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
}

impl Refuses {
    /// What is refused on some of the shards: `corder, customer on commerce/0`, `all tables on 64 shards of customer`.
    pub fn of_shards(&self, shards: &[String]) -> String {
        let Self { keyspace, tables, .. } = self;
        let tables = if tables.is_empty() { "all tables".to_owned() } else { tables.join(", ") };
        let places = match shards {
            few if few.len() <= NAMED_SHARDS => {
                few.iter().map(|shard| shard_text(keyspace, shard)).collect::<Vec<_>>().join(", ")
            }
            many => format!("{} shards of {keyspace}", many.len()),
        };
        format!("{tables} on {places}")
    }
}

/// In the path of a lock: the directory of those who wait for it. Source: `go/vt/topo/etcd2topo/lock.go`.
const LOCKS: &str = "/locks/";

/// Shards that are named one by one; more are counted.
const NAMED_SHARDS: usize = 8;

/// One call that writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedWrite {
    /// The target's keyspace.
    pub keyspace: String,
    /// The target's shard; empty: a record of the topology is written.
    pub shard: String,
    /// The tablet's alias, or the cell of the record.
    pub tablet: String,
    /// Its host and gRPC port, or the path of the record.
    pub address: String,
    /// Its database.
    pub db_name: String,
    /// The gRPC path; empty for a record.
    pub rpc: String,
    /// The request message, protobuf, or the record's new value; in JSON base64.
    #[serde(with = "base64_text")]
    pub request: Vec<u8>,
    /// The statement; of a call that carries none, one that does the same; of a record, what changes in it.
    pub statement: String,
    /// The rows that it touches.
    pub rows: Vec<PlannedRow>,
}

/// One step: begun when the one before has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// What it does: `stop writes on the source`.
    pub name: String,
    /// What becomes of it when a later one fails.
    pub way: StepWay,
    /// How many of the plan's writes it has; they follow those of the step before.
    pub writes: usize,
    /// Its calls that change nothing: what is waited for, and what is asked.
    #[serde(default)]
    pub reads: Vec<String>,
    /// What becomes of the writes of [`WritePlan::refuses`] by it; `None`: what was so before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
}

/// What becomes of a step when a later one fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepWay {
    /// It is taken back.
    Back,
    /// As long as nothing of it is there, everything before is taken back.
    PointOfNoReturn,
    /// It stays, and so does everything before.
    Forward,
}

/// What becomes of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// They are refused.
    Closes,
    /// They are taken again, there or elsewhere, once all asks of a change that open are done.
    Opens,
}

/// One row that a write touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRow {
    /// Which: `stream 7`, `migration 82fa…`.
    pub name: String,
    /// What people want to know of it: `Running, 32477 rows copied`. Changes by itself; not in the digest.
    pub about: String,
    /// What the plan rests on: the columns that the write changes or that decide whether it may.
    pub basis: String,
}

impl WritePlan {
    /// The plan as it is where nobody holds a lock: without the locks of others that it removes before all else, and how many these are.
    /// Its digest stays as it was.
    #[must_use]
    pub fn without_lock_removals(&self) -> (Self, usize) {
        let mut plan = self.clone();
        let is_lock = |write: &&PlannedWrite| write.rpc.is_empty() && write.address.contains(LOCKS);
        let count = plan.writes.iter().take_while(is_lock).count();
        plan.writes.drain(..count);
        if count > 0 {
            // They are a step of their own.
            plan.steps.drain(..1.min(plan.steps.len()));
        }
        (plan, count)
    }

    /// The plan with its digest.
    #[must_use]
    pub(crate) fn sealed(mut self) -> Self {
        let mut hash = Sha256::new();
        let mut put = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        put(self.planner.as_bytes());
        put(self.rpc.as_bytes());
        put(&self.request);
        put(&[u8::from(self.force)]);
        for texts in [&self.shards, &self.locks, &self.warnings] {
            put(&(texts.len() as u64).to_le_bytes());
            for text in texts {
                put(text.as_bytes());
            }
        }
        for write in &self.writes {
            let PlannedWrite { keyspace, shard, tablet, address, db_name, rpc, request, statement, rows } = write;
            for text in [keyspace, shard, tablet, address, db_name, rpc, statement] {
                put(text.as_bytes());
            }
            put(request);
            put(&(rows.len() as u64).to_le_bytes());
            for row in rows {
                put(row.name.as_bytes());
                put(row.basis.as_bytes());
            }
        }
        self.digest = hash.finalize().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        self
    }

    /// How many tablets would be changed.
    pub fn tablets(&self) -> usize {
        let mut tablets: Vec<&str> = self.writes.iter().map(|write| write.tablet.as_str()).collect();
        tablets.sort_unstable();
        tablets.dedup();
        tablets.len()
    }
}

/// A keyspace and its shard, if it is about one.
pub fn shard_text(keyspace: &str, shard: &str) -> String {
    if shard.is_empty() { keyspace.to_owned() } else { format!("{keyspace}/{shard}") }
}

/// Bytes as base64 text.
mod base64_text {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        BASE64_STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tablet_that_gets_several_writes_is_one_tablet() {
        let write = |tablet: &str| PlannedWrite {
            keyspace: "ks".into(),
            shard: "0".into(),
            tablet: tablet.into(),
            address: String::new(),
            db_name: String::new(),
            rpc: String::new(),
            request: Vec::new(),
            statement: String::new(),
            rows: Vec::new(),
        };
        let plan = |tablets: &[&str]| WritePlan {
            planner: String::new(),
            rpc: String::new(),
            request: Vec::new(),
            force: false,
            shards: Vec::new(),
            summary: String::new(),
            steps: Vec::new(),
            locks: Vec::new(),
            writes: tablets.iter().map(|tablet| write(tablet)).collect(),
            kept: Vec::new(),
            warnings: Vec::new(),
            gone: Vec::new(),
            refuses: None,
            digest: String::new(),
        };
        assert_eq!((plan(&[]).tablets(), plan(&["b"]).tablets(), plan(&["b", "a", "b"]).tablets()), (0, 1, 2));
    }
}
