//! Sequences that tables of the keyspaces use: found by what the cells serve, then how far each column is, then how far its sequence.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    limits,
    proto::vschema::SrvVSchema,
    sequences::{self, Place, Use, unescaped},
    sidecar::query::Query,
    traffic::{routing, sequences as told},
};

/// All that are looked at. Columns and sequences are known by their numbers.
#[derive(Default)]
pub(super) struct Sequences {
    pub(super) columns: Vec<Column>,
    pub(super) all: Vec<Sequence>,
    /// Why something is not known.
    unknown: BTreeSet<String>,
}

/// A column that takes values from a sequence.
pub(super) struct Column {
    pub(super) keyspace: String,
    table: String,
    name: String,
    sequence: usize,
    /// The value after the largest one, of those that were read.
    next: Option<i64>,
}

/// A sequence.
pub(super) struct Sequence {
    pub(super) keyspace: String,
    table: String,
    /// The shard, the primary's alias, and the next value: `None` if there is no such table.
    seen: Option<(String, String, Option<i64>)>,
}

impl Sequences {
    /// Finds those of some keyspaces, by what each cell serves: vtgates go by that. Tables whose writes go elsewhere use none.
    pub(super) fn located(served: &[(String, SrvVSchema)], is_wanted: impl Fn(&str) -> bool) -> Self {
        let mut this = Self::default();
        let mut places: BTreeMap<_, BTreeSet<(String, String, String)>> = BTreeMap::new();
        for (cell, served) in served {
            let rules = routing::served_rules(served).tables;
            let vschemas = served.keyspaces.iter().map(|(name, vschema)| (name.as_str(), vschema));
            let declared = match sequences::declared(vschemas.clone()) {
                Ok(declared) => declared,
                Err(why) => {
                    this.unknown.insert(format!("sequences, by what cell {cell} serves: {why}"));
                    continue;
                }
            };
            for (keyspace, vschema) in vschemas.filter(|(name, _)| is_wanted(name)) {
                for (key, known) in &vschema.tables {
                    let used = unescaped(key).and_then(|table| sequences::of_table(table, known));
                    let used = used.map_err(|why| format!("the sequence of {keyspace}.{key}: {why}"));
                    let Some(used) = this.or_unknown(used).flatten() else { continue };
                    let own = format!("{keyspace}.{}", used.table);
                    if rules.get(&own).is_some_and(|to| to.first() != Some(&own)) {
                        continue;
                    }
                    if let Some(place) = this.or_unknown(place(&own, &used, used.place(&rules, &declared))) {
                        places.entry(place).or_default().insert((keyspace.into(), used.table, used.column));
                    }
                }
            }
        }
        for ((keyspace, table), columns) in places {
            let sequence = this.all.len();
            this.all.push(Sequence { keyspace, table, seen: None });
            let column = |(keyspace, table, name)| Column { keyspace, table, name, sequence, next: None };
            this.columns.extend(columns.into_iter().map(column));
        }
        let more = this.columns.len().saturating_sub(limits::DIAGNOSED_COLUMNS);
        if more > 0 {
            this.unknown.insert(format!("sequences of {more} columns are left out: name a keyspace"));
            this.columns.truncate(limits::DIAGNOSED_COLUMNS);
        }
        this
    }

    fn or_unknown<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|why| self.unknown.insert(why)).ok()
    }

    /// The keyspaces that sequences are in.
    pub(super) fn keyspaces(&self) -> BTreeSet<String> {
        self.all.iter().map(|it| it.keyspace.clone()).collect()
    }

    /// Something is not known.
    pub(super) fn unread(&mut self, why: String) {
        self.unknown.insert(why);
    }

    /// A shard of a column's table has said what is after its largest value.
    pub(super) fn column_is(&mut self, number: usize, next: i64) {
        if let Some(column) = self.columns.get_mut(number) {
            column.next = Some(column.next.map_or(next, |before| before.max(next)));
        }
    }

    /// The primary of a sequence's only shard has said its next value; `None`: there is no such table.
    pub(super) fn sequence_is(&mut self, number: usize, shard: &str, tablet: &str, next: Option<i64>) {
        if let Some(sequence) = self.all.get_mut(number) {
            sequence.seen = Some((shard.to_owned(), tablet.to_owned(), next));
        }
    }

    /// What a column is called in a failure.
    pub(super) fn column_name(&self, number: usize) -> String {
        self.columns.get(number).map_or_else(String::new, |it| format!("{}.{} {}", it.keyspace, it.table, it.name))
    }

    /// The same of a sequence.
    pub(super) fn name(&self, number: usize) -> String {
        self.all.get(number).map_or_else(String::new, |it| format!("{}.{}", it.keyspace, it.table))
    }

    /// What was seen of them, and why of some nothing is known.
    pub(super) fn told(&self) -> (Vec<told::Sequence>, BTreeSet<String>) {
        let of = |(number, it): (usize, &Sequence)| {
            let (shard, tablet, next) = it.seen.clone()?;
            let columns = self.columns.iter().filter(|column| column.sequence == number);
            let columns = columns.filter_map(|it| {
                let table = format!("{}.{}", it.keyspace, it.table);
                Some(told::Column { table, column: it.name.clone(), next: it.next? })
            });
            let (keyspace, table) = (it.keyspace.clone(), it.table.clone());
            Some(told::Sequence { keyspace, shard, tablet, table, next, columns: columns.collect() })
        };
        (self.all.iter().enumerate().filter_map(of).collect(), self.unknown.clone())
    }
}

impl Column {
    /// What asks a primary for its largest value.
    pub(super) fn query(&self, db_name: &str) -> Query {
        sequences::highest(db_name, &self.table, &self.name)
    }
}

impl Sequence {
    /// What asks its primary for the next value.
    pub(super) fn query(&self, db_name: &str) -> Query {
        sequences::value(db_name, &self.table)
    }
}

/// Keyspace and name of a sequence.
fn place(own: &str, used: &Use, place: Place) -> Result<(String, String), String> {
    match place {
        Place::At(keyspace, name) => Ok((keyspace, name)),
        Place::Nowhere => Err(format!("the sequence of {own}: no vschema has {}", used.name)),
        Place::Several(several) => {
            Err(format!("the sequence of {own}: {} is in several keyspaces: {}", used.name, several.join(", ")))
        }
    }
}
