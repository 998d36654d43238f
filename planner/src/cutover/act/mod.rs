//! The smallest parts of a change of traffic: a call, a record that is edited, a cell's copy that is made anew; each with how one sees that
//! it is done when its answer was lost, and what takes it back.

mod calls;
mod planned;
mod records;
mod run;

pub(crate) use self::{
    calls::{
        close_primary, forget_vdiffs, lock_tables, nudge, pause, permissions, position, refresh, statement, tell, tell_newcomer,
        tell_others, wait_for_position,
    },
    records::{close_shard, edit_rules, edit_served, edit_shard, edit_shard_alone, edit_vschema},
    run::Run,
};
use std::collections::BTreeSet;

use crate::{
    contract::{FailureKind, TabletAddress},
    cutover::{edit::Edit, member::Member, stored::Stored},
    sidecar::{query::Query, result::RowSet},
    topo::names::{GLOBAL, TABLETS_PREFIX, shards_prefix},
};

/// Acts of one shard, stream or record: each group waits for the one before, acts of one group for none.
pub(crate) type Lane = Vec<Vec<Act>>;

/// One act.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Call(Box<Call>),
    /// A record becomes another.
    Edit(Box<RecordEdit>),
    /// A record goes.
    Delete(Box<Deletion>),
    /// What a cell serves to vtgates is made anew from the vschemas and the rules as they are by then.
    Rebuild {
        cell: String,
    },
    /// Of shards that are open again, primaries and tablets are listed anew: those that came meanwhile are told.
    Newcomers(Box<Newcomers>),
}

/// Shards that are open again, and where their tablets are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Newcomers {
    pub(crate) cells: Vec<String>,
    /// As they were seen: whoever they name has been told, or is.
    pub(crate) opened: Vec<Member>,
}

impl Newcomers {
    /// What is listed: cells, and prefixes in them.
    pub(crate) fn ranges(&self) -> Vec<(String, String)> {
        let keyspaces: BTreeSet<&String> = self.opened.iter().map(|on| &on.keyspace).collect();
        let shards = keyspaces.into_iter().map(|keyspace| (GLOBAL.to_owned(), shards_prefix(keyspace)));
        shards.chain(self.cells.iter().map(|cell| (cell.clone(), TABLETS_PREFIX.to_owned()))).collect()
    }
}

/// What tells those that came meanwhile.
pub(crate) fn newcomers<'a>(cells: impl Iterator<Item = &'a String>, opened: impl Iterator<Item = &'a Member>) -> Lane {
    let of = Newcomers { cells: cells.cloned().collect(), opened: opened.cloned().collect() };
    if of.opened.is_empty() { Vec::new() } else { vec![vec![Act::Newcomers(Box::new(of))]] }
}

/// A call of a tablet.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) db_name: String,
    pub(crate) tablet: TabletAddress,
    pub(crate) query: Query,
    /// How long it may take, in milliseconds; 0: as long as any call.
    pub(crate) limit_ms: u32,
    /// What its answer is for.
    pub(crate) then: Then,
    /// What shows that it is done; `None`: nothing has to be shown, or nothing can.
    pub(crate) shown_by: Option<(Query, Sign)>,
    /// What takes it back.
    pub(crate) undo: Option<Undo>,
    /// A failure is only noted.
    pub(crate) is_best_effort: bool,
    /// A failure counts also where others of its kind are excused.
    pub(crate) is_vital: bool,
    /// In front of what the tablet says of a failure.
    pub(crate) failure: String,
    /// Numbers of MySQL's with which a refusal says that there is nothing left to do.
    pub(crate) done_by: &'static [u16],
}

/// What an answer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// The position of a shard of the source.
    SourcePosition(String),
    /// The position of a shard of the target.
    TargetPosition(String),
    /// The rights of the tablet's user.
    Permissions,
    /// The largest value of a column that a sequence fills, by keyspace and name.
    Highest(String),
    /// Where streams of a shard of the source are.
    StreamPositions(String),
    /// That a stream has come to a position, for which so many seconds are allowed; so often was a wait too short before.
    Reached {
        seconds: u32,
        waits: usize,
    },
}

/// What rows show that a call has done its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// There are rows, and each has these texts in these columns.
    Every(Vec<(&'static str, String)>),
    /// A row of this source whose id is none of these.
    NewSource(String, Vec<i64>),
    /// There is a row.
    Any,
    /// There is none.
    None,
}

impl Sign {
    /// Whether the rows are this sign.
    pub(crate) fn is_in(&self, rows: &RowSet) -> bool {
        match self {
            Self::Every(values) => {
                !rows.is_empty() && rows.rows().all(|row| values.iter().all(|(column, value)| row.text(column) == *value))
            }
            Self::NewSource(..) => self.new_id(rows).is_some(),
            Self::Any => !rows.is_empty(),
            Self::None => rows.is_empty(),
        }
    }

    /// The id of a row that is new.
    pub(crate) fn new_id(&self, rows: &RowSet) -> Option<i64> {
        let Self::NewSource(source, known) = self else { return None };
        let ids = rows.rows().filter(|row| row.text("source") == *source).filter_map(|row| row.integer("id").ok().flatten());
        ids.filter(|id| !known.contains(id)).max()
    }
}

/// What takes a call back.
#[derive(Clone, Debug)]
pub(crate) enum Undo {
    /// This statement.
    Statement(String),
    /// The row that was inserted goes.
    Inserted,
}

/// A record that becomes another.
#[derive(Clone, Debug)]
pub(crate) struct RecordEdit {
    pub(crate) cell: String,
    pub(crate) path: String,
    /// Whose it is: of a shard's record.
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) edit: Edit,
    /// As it was read.
    pub(crate) base: Stored,
    /// What takes it back whatever it was before: of an edit that finishes what another process has begun.
    pub(crate) back: Option<Edit>,
}

/// A record that goes.
#[derive(Clone, Debug)]
pub(crate) struct Deletion {
    pub(crate) cell: String,
    pub(crate) path: String,
    /// Whose it is.
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    /// As it was read.
    pub(crate) version: i64,
}

/// Whether a call that failed like this may be at work still, or have done its work.
pub(crate) fn may_be_done(kind: FailureKind) -> bool {
    !matches!(kind, FailureKind::NotSent)
}
