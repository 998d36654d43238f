//! Sequences that the target's tables take their values from: raised above what the tables hold, before anybody writes to the target.
//!
//! A value is read when the last row has been copied and before the journal is written: then nobody writes the column, so that the value is
//! exact and needs no margin. That costs a read and two short calls while writes are refused. All else is done before: the sequences are
//! found, missing ones are created, their primaries are called once, and the same values are read once, so that what is slow or impossible
//! is refused while it harms nobody. A sequence is never lowered; one that was raised stays so when the switch is taken back.
//!
//! The statements are those that a tablet of v23 on runs for `GetMaxValueForSequences` and `UpdateSequenceTables`: older tablets run them as
//! well. Facts: `go/vt/vtctl/workflow/sequences.go`, `go/vt/vttablet/tabletmanager/rpc_vreplication.go`, v24.

mod locate;
mod look;
mod name;

use std::collections::{BTreeMap, BTreeSet};

use self::name::escaped;
pub(crate) use self::{
    locate::{SEQUENCE, moved},
    look::{SequenceLook, SequenceWanted},
};
use crate::{
    cutover::{
        act::{self, Act, Call, Lane, Run, Sign, Then},
        edit::Edit,
        scene::{Member, Scene},
        steps::Basis,
    },
    proto::tabletmanagerdata::{ExecuteFetchAsDbaRequest, ResetSequencesRequest},
    rpc,
    sidecar::{
        literal::quote,
        query::{How, Query},
        result::RowSet,
    },
    traffic::kind::Kind,
};

/// A sequence, and what takes values from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence {
    pub(crate) keyspace: String,
    /// Of its backing table.
    pub(crate) name: String,
    /// No vschema has it: it is created in the keyspace for such.
    is_new: bool,
    users: Vec<User>,
    /// The only shard of its keyspace; `None` before it was looked at.
    on: Option<Member>,
    is_table_there: bool,
    /// Its next value; 0: it has no row.
    pub(crate) current: i64,
    /// What it has to be at least, as of the look.
    pub(crate) next: i64,
}

/// A column that is filled from a sequence.
#[derive(Clone, Debug)]
struct User {
    table: String,
    column: String,
}

impl Sequence {
    fn key(&self) -> String {
        format!("{}.{}", self.keyspace, self.name)
    }

    /// The largest value that a shard of the target has.
    fn highest(user: &User, on: &Member) -> Query {
        let (column, table) = (escaped(&user.column), escaped(&user.table));
        fetch(on, "largest value", format!("select max({column}) as maxval from {}.{table}", escaped(&on.db_name)))
    }

    fn backing_table(&self, on: &Member) -> String {
        format!("{}.{}", escaped(&on.db_name), escaped(&self.name))
    }

    fn value(&self, on: &Member) -> Query {
        fetch(on, "sequence", format!("select next_id from {} where id = 0", self.backing_table(on)))
    }

    fn create(&self, on: &Member) -> Act {
        let name = escaped(&self.name);
        let columns = "(id int, next_id bigint, cache bigint, primary key(id))";
        let statement = format!("create table if not exists {name} {columns} comment 'vitess_sequence'");
        let request = ExecuteFetchAsDbaRequest {
            query: statement.clone().into_bytes(),
            db_name: on.db_name.clone(),
            max_rows: 1,
            reload_schema: true,
            ..ExecuteFetchAsDbaRequest::default()
        };
        let query = Query { statement, ..Query::typed(rpc::EXECUTE_FETCH_AS_DBA, &request, "create sequence") }.that_writes();
        let of = if self.is_new { "global-keyspace" } else { "keyspace" };
        let failure = format!("failed to create the backing sequence table {} in the {of} {}: ", self.name, self.keyspace);
        let look = "select table_name from information_schema.tables";
        let (db_name, table) = (quote(&on.db_name), quote(&self.name));
        let look = format!("{look} where table_schema = {db_name} and table_name = {table}");
        let shown_by = Some((fetch(on, "look again", look), Sign::Any));
        Call { shown_by, failure, ..Call::new(on, query) }.boxed()
    }

    fn raise(&self, on: &Member, next: &str) -> Act {
        let table = self.backing_table(on);
        let statement = format!(
            "insert into {table} (id, next_id, cache) values (0, {next}, 1000) on duplicate key update next_id = if(next_id < {next}, \
             {next}, next_id)"
        );
        let query = fetch(on, "raise sequence", statement).that_writes();
        let look = fetch(on, "look again", format!("select next_id from {table} where id = 0 and next_id >= {next}"));
        Call { shown_by: Some((look, Sign::Any)), failure: initialize_failure(on), ..Call::new(on, query) }.boxed()
    }
}

fn initialize_failure(on: &Member) -> String {
    format!("failed to initialize the backing sequence tables on tablet {}: ", on.primary.alias)
}

fn highest_failure(on: &Member) -> String {
    let alias = &on.primary.alias;
    format!("failed to get the max used sequence values on tablet {alias} in order to initialize the backing sequence table: ")
}

fn fetch(on: &Member, subject: &'static str, statement: String) -> Query {
    Query::by(How::ExecuteFetchAsDba { db_name: on.db_name.clone(), max_rows: 1 }, subject, statement)
}

/// A primary forgets the values that it has taken in advance, and takes the next ones from the table.
fn reset(on: &Member, tables: Vec<String>, failure: String) -> Act {
    let statement = format!("reset sequences {}", tables.join(", "));
    let request = ResetSequencesRequest { tables };
    let query = Query { statement, ..Query::typed(rpc::RESET_SEQUENCES, &request, "reset sequences") }.that_writes();
    Call { failure, ..Call::new(on, query) }.boxed()
}

/// The value after the largest one: of an answer to [`Sequence::highest`].
///
/// # Errors
/// There is none after it, or the column holds no whole numbers.
pub(crate) fn next_value(response: &[u8]) -> Result<i64, String> {
    let rows = RowSet::from_execute_fetch(response).map_err(|error| error.to_string())?;
    let Some(largest) = rows.rows().next().and_then(|row| row.at(0)) else { return Ok(1) };
    let text = String::from_utf8_lossy(largest);
    let largest: i128 = text.parse().map_err(|_| format!("the largest value is no whole number: {text:?}"))?;
    i64::try_from(largest.max(0) + 1).map_err(|_| format!("no sequence can go on after {largest}"))
}

/// Whether sequences are looked for: of tables that leave an unsharded keyspace, as in the reference. A sharded one has them already.
pub(crate) fn are_wanted(wanted: bool, scene: &Scene) -> bool {
    /// Number of the type.
    const MOVE_TABLES: i32 = 1;
    let is_sharded = scene.vschema(&scene.source_keyspace).is_ok_and(|it| it.sharded);
    wanted && scene.kind != Kind::Reshard && scene.workflow_type == MOVE_TABLES && !is_sharded
}

/// Sequences by their keyspaces, each of which has one shard.
fn by_keyspace(sequences: &[Sequence]) -> BTreeMap<&str, (&Member, Vec<&Sequence>)> {
    let mut all: BTreeMap<&str, (&Member, Vec<&Sequence>)> = BTreeMap::new();
    for sequence in sequences {
        if let Some(on) = &sequence.on {
            all.entry(&sequence.keyspace).or_insert((on, Vec::new())).1.push(sequence);
        }
    }
    all
}

impl Basis<'_> {
    /// Missing sequences are there, and every one can be told to start anew: a tablet that knows no such call says so now.
    pub(super) fn prepare_sequences(&self) -> Vec<Lane> {
        let lane = |(keyspace, (on, all)): (&str, (&Member, Vec<&Sequence>))| {
            let missing = all.iter().filter(|it| !it.is_table_there).map(|it| it.create(on));
            let new: BTreeSet<String> = all.iter().filter(|it| it.is_new).map(|it| it.name.clone()).collect();
            let entry = (!new.is_empty()).then(|| act::edit_vschema(self.scene, keyspace, Edit::Sequences(new)));
            let names = all.iter().map(|it| it.name.clone()).collect();
            vec![missing.collect(), entry.into_iter().collect(), vec![reset(on, names, initialize_failure(on))]]
        };
        by_keyspace(self.sequences()).into_iter().map(lane).collect()
    }

    /// The largest values, now that nobody writes any more.
    pub(super) fn highest_values(&self) -> Vec<Lane> {
        let limit_ms = u32::try_from(self.goal.timeout.saturating_mul(500)).unwrap_or(u32::MAX);
        let mut lanes = Vec::new();
        for sequence in self.sequences() {
            for (user, on) in sequence.users.iter().flat_map(|user| self.scene.targets.values().map(move |on| (user, on))) {
                let then = Then::Highest(sequence.key());
                let call = Call::new(on, Sequence::highest(user, on));
                lanes.push(vec![vec![Call { limit_ms, then, failure: highest_failure(on), ..call }.boxed()]]);
            }
        }
        lanes
    }

    /// The sequences go on above them.
    pub(super) fn raise_sequences(&self, run: &Run) -> Result<Vec<Lane>, String> {
        let mut lanes = Vec::new();
        for (on, all) in by_keyspace(self.sequences()).into_values() {
            let mut raised = Vec::new();
            for sequence in &all {
                let key = sequence.key();
                let next = run.next_values.get(&key).ok_or_else(|| format!("the largest value for {key} is not known"))?;
                raised.push(sequence.raise(on, next));
            }
            let names = all.iter().map(|it| it.name.clone()).collect();
            lanes.push(vec![raised, vec![reset(on, names, initialize_failure(on))]]);
        }
        Ok(lanes)
    }

    /// The source's primaries forget the values of the sequences that move.
    pub(super) fn reset_moved(&self) -> Vec<Lane> {
        let moved = moved(self.scene);
        self.scene.sources.values().map(|on| vec![vec![reset(on, moved.clone(), String::new())]]).collect()
    }

    fn sequences(&self) -> &[Sequence] {
        &self.scene.sequences
    }
}

/// What stands for each sequence's next value in a plan.
pub(crate) fn planned_values(scene: &Scene) -> BTreeMap<String, String> {
    let sequences = &scene.sequences;
    sequences.iter().map(|it| (it.key(), format!("<next value of {}>", it.key()))).collect()
}

/// The lines of a dry run. Source: `switcher_dry_run.go:initializeTargetSequences`, v22 on.
pub(crate) fn lines(scene: &Scene) -> Vec<String> {
    let mut sequences: Vec<&Sequence> = scene.sequences.iter().collect();
    sequences.sort_by(|a, b| (&a.name, &a.keyspace).cmp(&(&b.name, &b.keyspace)));
    let line = |it: &Sequence| format!("\tBacking table: {}, current value {}, new value {}", it.name, it.current, it.next);
    let head = "The following sequence backing tables used by tables being moved will be initialized:".to_owned();
    if sequences.is_empty() {
        return Vec::new();
    }
    std::iter::once(head).chain(sequences.into_iter().map(line)).collect()
}
