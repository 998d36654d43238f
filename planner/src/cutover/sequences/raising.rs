//! The acts by which sequences come to be there, and go on above what the tables hold.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    locate::moved,
    sequence::{Sequence, highest_failure, initialize_failure},
};
use crate::{
    cutover::{
        act::{self, Act, Call, Lane, Run, Sign, Then},
        edit::Edit,
        member::Member,
        steps::Basis,
    },
    proto::tabletmanagerdata::ResetSequencesRequest,
    rpc,
    sequences::{self, escaped},
    sidecar::{literal::quote, query::Query},
};

impl Sequence {
    fn create(&self, on: &Member) -> Act {
        let name = escaped(&self.name);
        let columns = "(id int, next_id bigint, cache bigint, primary key(id))";
        let statement = format!("create table if not exists {name} {columns} comment 'vitess_sequence'");
        let query = Query::dba_tables("create sequence", statement, &on.db_name, false);
        let of = if self.is_new { "global-keyspace" } else { "keyspace" };
        let failure = format!("failed to create the backing sequence table {} in the {of} {}: ", self.name, self.keyspace);
        let look = "select table_name from information_schema.tables";
        let (db_name, table) = (quote(&on.db_name), quote(&self.name));
        let look = format!("{look} where table_schema = {db_name} and table_name = {table}");
        let shown_by = Some((Query::dba_row("look again", look, &on.db_name), Sign::Any));
        Call { shown_by, failure, ..Call::new(on, query) }.boxed()
    }
}

/// A sequence goes on with a value at least.
pub(crate) fn raise(on: &Member, table: &str, next: &str, failure: String) -> Act {
    let (query, look) = sequences::raise(&on.db_name, table, next);
    Call { shown_by: Some((look, Sign::Any)), failure, ..Call::new(on, query) }.boxed()
}

/// A primary forgets the values that it has taken in advance, and takes the next ones from the table.
pub(crate) fn reset(on: &Member, tables: Vec<String>, failure: String) -> Act {
    let statement = format!("reset sequences {}", tables.join(", "));
    let request = ResetSequencesRequest { tables };
    let query = Query { statement, ..Query::typed(rpc::RESET_SEQUENCES, &request, "reset sequences") }.that_writes();
    Call { failure, ..Call::new(on, query) }.boxed()
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
    pub(in crate::cutover) fn prepare_sequences(&self) -> Vec<Lane> {
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
    pub(in crate::cutover) fn highest_values(&self) -> Vec<Lane> {
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
    pub(in crate::cutover) fn raise_sequences(&self, run: &Run) -> Result<Vec<Lane>, String> {
        let mut lanes = Vec::new();
        for (on, all) in by_keyspace(self.sequences()).into_values() {
            let mut raised = Vec::new();
            for sequence in &all {
                let key = sequence.key();
                let next = run.next_values.get(&key).ok_or_else(|| format!("the largest value for {key} is not known"))?;
                raised.push(raise(on, &sequence.name, next, initialize_failure(on)));
            }
            let names = all.iter().map(|it| it.name.clone()).collect();
            lanes.push(vec![raised, vec![reset(on, names, initialize_failure(on))]]);
        }
        Ok(lanes)
    }

    /// The source's primaries forget the values of the sequences that move.
    pub(in crate::cutover) fn reset_moved(&self) -> Vec<Lane> {
        let moved = moved(self.scene);
        self.scene.sources.values().map(|on| vec![vec![reset(on, moved.clone(), String::new())]]).collect()
    }

    fn sequences(&self) -> &[Sequence] {
        &self.scene.sequences
    }
}
