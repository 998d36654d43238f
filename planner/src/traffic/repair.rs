//! What a repair consists of, as data: which record becomes what, which statement goes to which tablet. Whoever performs a repair does
//! exactly these, in this order, each under the locks that a switch takes.

use super::evidence::{Evidence, FROZEN, Side, Stream};
use crate::sidecar::literal::quote;

/// Where a repair leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the end of what was begun.
    Forward,
    /// To where it was before.
    Back,
    /// Nowhere else: what is left over goes, what is missing comes.
    InPlace,
}

impl Direction {
    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Back => "back",
            Self::InPlace => "in_place",
        }
    }
}

/// One way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Repair {
    /// Where it leads.
    pub direction: Direction,
    /// What is done, in this order.
    pub actions: Vec<Action>,
}

/// One thing that is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Tables are denied on a shard's primary, or are not any more; then all tablets of the shard read their records again.
    DenyTables {
        /// Of the shard.
        keyspace: String,
        /// Its name.
        shard: String,
        /// Those and no others.
        tables: Vec<String>,
        /// Whether they are denied.
        deny: bool,
        /// Whether they may be read all the same.
        allow_reads: bool,
    },
    /// Keys of a global rule record.
    PutRules {
        /// Its path.
        record: &'static str,
        /// With where they lead; nowhere: the key goes.
        rules: Vec<(String, Vec<String>)>,
    },
    /// What these cells serve is made anew from the global records.
    RebuildVSchemas {
        /// Their names.
        cells: Vec<String>,
    },
    /// A statement on a tablet.
    Statement {
        /// Of the tablet.
        keyspace: String,
        /// Of the tablet.
        shard: String,
        /// Its alias.
        tablet: String,
        /// Whole.
        statement: String,
    },
    /// A stream of the reverse direction is made that should have been there.
    CreateReverseStream {
        /// Where it runs.
        keyspace: String,
        /// Where it runs.
        shard: String,
        /// The shard that it reads.
        reads: String,
        /// Where it begins; empty: no journal says it.
        position: String,
    },
    /// The query service of a shard's tablets of one type is switched on or off in what the cells serve; then they read it.
    QueryService {
        /// Of the shard.
        keyspace: String,
        /// Its name.
        shard: String,
        /// `primary`, `replica`, `rdonly`.
        tablet_type: String,
        /// Whether it is on.
        enabled: bool,
    },
    /// The command is run again, as far as it was not done.
    RunAgain {
        /// Whether the lag that the stop has brought about must be allowed.
        at_any_lag: bool,
    },
    /// A lock that nobody holds any more goes.
    Unlock {
        /// Its node.
        path: String,
    },
    /// A sequence goes on with a larger value, and its primary forgets what it took in advance.
    RaiseSequence {
        /// Of the sequence.
        keyspace: String,
        /// Its only one.
        shard: String,
        /// The primary's alias.
        tablet: String,
        /// The backing table.
        table: String,
        /// The next value, at least.
        next: i64,
    },
}

/// What becomes of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    Run,
    /// The same of streams of other workflows, which may have a place where they are to stop: they keep it.
    Release,
    /// Of those that were sent to a position by it: they run on.
    RunOn,
    Stop,
    Freeze,
    /// Stopped, and for good.
    StopAndFreeze,
    Delete,
}

impl Change {
    const ALL: [Self; 7] = [Self::Run, Self::Release, Self::RunOn, Self::Stop, Self::Freeze, Self::StopAndFreeze, Self::Delete];

    /// The change that a statement made here is, and the condition by which it is narrowed.
    pub(crate) fn of(statement: &str) -> Option<(Self, &str)> {
        let (head, condition) = statement.split_once(" where ")?;
        let change = Self::ALL.into_iter().find(|change| change.head() == head)?;
        Some((change, condition))
    }

    /// The statement up to its condition.
    fn head(self) -> String {
        match self {
            Self::Run => "update _vt.vreplication set state = 'Running', stop_pos = null, message = ''".into(),
            Self::Release => "update _vt.vreplication set state = 'Running', message = ''".into(),
            Self::RunOn => "update _vt.vreplication set stop_pos = null, state = 'Running', message = ''".into(),
            Self::Stop => "update _vt.vreplication set state = 'Stopped'".into(),
            Self::Freeze => format!("update _vt.vreplication set message = '{FROZEN}'"),
            Self::StopAndFreeze => format!("update _vt.vreplication set state = 'Stopped', message = '{FROZEN}'"),
            Self::Delete => "delete from _vt.vreplication".to_owned(),
        }
    }

    /// The statement for these streams of one tablet. The texts are those of Vitess, narrowed to what was seen.
    fn statement(self, ids: &[i64], db_name: &str, workflow: &str) -> String {
        let set = self.head();
        let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("{set} where id in ({ids}) and db_name = {} and workflow = {}", quote(db_name), quote(workflow))
    }
}

/// A change of the streams of a side that are wanted, a statement for each tablet and workflow.
pub(crate) fn streams(side: &Side, change: Change, wanted: impl Fn(&str, &Stream) -> bool) -> Vec<Action> {
    let mut actions = Vec::new();
    for (name, shard) in &side.shards {
        let mut found: Vec<&Stream> = shard.streams.known().into_iter().flatten().filter(|it| wanted(name, it)).collect();
        found.sort_by(|a, b| (&a.workflow, a.id).cmp(&(&b.workflow, b.id)));
        for of_one in found.chunk_by(|a, b| a.workflow == b.workflow) {
            let Some(first) = of_one.first() else { continue };
            let ids: Vec<i64> = of_one.iter().map(|it| it.id).collect();
            actions.push(Action::Statement {
                keyspace: side.keyspace.clone(),
                shard: name.clone(),
                tablet: shard.tablet.clone(),
                statement: change.statement(&ids, &shard.db_name, &first.workflow),
            });
        }
    }
    actions
}

/// The tables of a workflow are denied on all shards of a side, or are not.
pub(crate) fn deny(evidence: &Evidence, side: &Side, deny: bool, allow_reads: bool) -> Vec<Action> {
    let of_shard = |shard: &String| Action::DenyTables {
        keyspace: side.keyspace.clone(),
        shard: shard.clone(),
        tables: evidence.tables.iter().cloned().collect(),
        deny,
        allow_reads,
    };
    side.shards.keys().map(of_shard).collect()
}

/// The query service of all shards of a side.
pub(crate) fn query_service(side: &Side, tablet_type: &str, enabled: bool) -> Vec<Action> {
    let of_shard = |shard: &String| Action::QueryService {
        keyspace: side.keyspace.clone(),
        shard: shard.clone(),
        tablet_type: tablet_type.into(),
        enabled,
    };
    side.shards.keys().map(of_shard).collect()
}

/// Forward by the command itself.
pub(crate) fn rerun(at_any_lag: bool) -> Repair {
    Repair { direction: Direction::Forward, actions: vec![Action::RunAgain { at_any_lag }] }
}

/// Back, by these.
pub(crate) fn back(actions: impl IntoIterator<Item = Vec<Action>>) -> Repair {
    Repair { direction: Direction::Back, actions: actions.into_iter().flatten().collect() }
}

/// Where it is, by these.
pub(crate) fn in_place(actions: Vec<Action>) -> Repair {
    Repair { direction: Direction::InPlace, actions }
}
