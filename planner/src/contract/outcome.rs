//! What became of a request that writes, target by target.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::contract::WritePlan;

/// A request that writes: what it was going to do, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// What was going to be done.
    pub plan: WritePlan,
    /// One for each write of the plan that counts, in its order; empty if none was begun. Of what only cleans up a note says if it
    /// failed.
    pub outcomes: Vec<Outcome>,
    /// What else is to be known: a lock that was lost on the way.
    pub notes: Vec<String>,
    /// Shards of [`WritePlan::refuses`] that refuse writes still, or may: what closed them was not undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// What became of one write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The target's keyspace.
    pub keyspace: String,
    /// The target's shard; empty: a record of the topology.
    pub shard: String,
    /// The tablet's alias, or the cell of the record.
    pub tablet: String,
    /// Whether the change is there.
    pub verdict: Verdict,
    /// Rows that the tablet says it changed; 0 if it did not say.
    pub rows: u64,
    /// What the tablet said instead of a result, and what the second look showed; empty if all went well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl fmt::Display for Outcome {
    /// One line: `customer/-80 zone1-0000000200: applied, 2 rows`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keyspace, shard, tablet, verdict, rows, message } = self;
        write!(f, "{} {tablet}: {verdict}", crate::contract::write_plan::shard_text(keyspace, shard))?;
        match (verdict, message.as_str()) {
            (Verdict::Applied, "") => {
                let things = if shard.is_empty() { "record" } else { "row" };
                write!(f, ", {rows} {things}{}", if *rows == 1 { "" } else { "s" })
            }
            (_, "") => Ok(()),
            (_, message) => write!(f, ": {message}"),
        }
    }
}

/// Whether a change is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is: the tablet said so, or a second look showed it.
    Applied,
    /// It is not: the tablet refused it, and a second look showed the rows as they were.
    NotApplied,
    /// Nobody can tell: the second look failed, showed a part of it, or came while the call may still have been at work.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Applied => "applied",
            Self::NotApplied => "not applied",
            Self::Unknown => "unknown",
        })
    }
}
