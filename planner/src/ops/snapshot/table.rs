//! One sidecar table of one tablet on its way into a snapshot, or what the tablet's server says of its own tables: page by page, within
//! bounds, with the columns whose names are names.

use std::collections::BTreeSet;

use crate::{
    contract::Answer,
    limits,
    ops::snapshot::declared,
    proto::{
        query::{Field, Row},
        vtflow::snapshot_response as saved,
    },
    sidecar::{
        literal::quote,
        name::SqlName,
        paging::{Paging, Taken},
        result::RowSet,
    },
    topo::said,
};

/// What the server says of the tables of its keyspace.
pub(super) const DESCRIPTION: &str = "information_schema.tables";

/// The tables of a snapshot: those of the sidecar (`go/vt/sidecardb/schema`) that workflows and schema migrations live in, and the names of the
/// keyspace's own, which a completed or cancelled workflow drops.
pub(super) const TABLES: [&str; 10] = [
    "vreplication",
    "copy_state",
    "vreplication_log",
    "post_copy_action",
    "resharding_journal",
    "schema_migrations",
    "vdiff",
    "vdiff_table",
    "vdiff_log",
    DESCRIPTION,
];

/// A table's name as people know it.
pub(super) fn full_name(table: &str) -> String {
    if table == DESCRIPTION { table.to_owned() } else { format!("_vt.{table}") }
}

/// A table that is being read.
pub(super) struct TableRead {
    name: &'static str,
    paging: Paging,
    /// Rows that came, and bytes of their values.
    rows: usize,
    bytes: usize,
    /// `None` until the first page is here, and if no column can be kept.
    kept: Option<Kept>,
    failures: Vec<String>,
}

/// What is kept of a table.
struct Kept {
    /// All columns of the first page, which those of every later one must be.
    names: Vec<Vec<u8>>,
    /// The places of the columns that are kept.
    places: Vec<usize>,
    table: saved::Table,
}

/// What comes after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another statement: [`TableRead::statement`] has it.
    Again,
    Done,
}

impl TableRead {
    pub(super) fn new(name: &'static str) -> Self {
        // Its bytes are counted by values: see [`TableRead::page`].
        let paging = Paging::new(limits::SNAPSHOT_PAGE_ROWS, limits::SNAPSHOT_TABLE_STATEMENTS, usize::MAX);
        Self { name, paging, rows: 0, bytes: 0, kept: None, failures: Vec::new() }
    }

    /// The statement to send now, to a tablet with this database.
    pub(super) fn statement(&self, db_name: &str) -> String {
        let (rows, page, table) = (self.rows, self.paging.rows, full_name(self.name));
        if self.name == DESCRIPTION {
            let columns = "table_name, table_type, table_rows, data_length";
            return format!(
                "select {columns} from {table} where table_schema = {} order by 1 limit {rows}, {page}",
                quote(db_name)
            );
        }
        format!("select * from {table} order by 1, 2 limit {rows}, {page}")
    }

    /// What is missing of the table, each text once.
    pub(super) fn failures(&self) -> impl Iterator<Item = &str> {
        self.failures.iter().map(String::as_str)
    }

    /// The rows that came; `None` if the tablet has no such table.
    pub(super) fn into_table(self) -> Option<saved::Table> {
        self.kept.map(|kept| kept.table)
    }

    /// Takes the answer to the statement.
    pub(super) fn answered(&mut self, answer: Answer) -> Next {
        let page = match self.paging.take(answer) {
            Taken::Response(response) => RowSet::from_execute_fetch(&response).map_err(|error| error.to_string()),
            Taken::Smaller(_) if self.paging.may_ask() => return Next::Again,
            // Not on this release (1146), or no sidecar database at all (1049).
            Taken::Failed(message) if matches!(said::errno(&message), Some(1146 | 1049)) => return Next::Done,
            Taken::Smaller(message) | Taken::Failed(message) => Err(message),
            Taken::TooMuch(_) | Taken::NoCall => Err("the tablet call was answered with a topology record".into()),
        };
        match page.and_then(|page| self.page(&page)) {
            Ok(next) => next,
            Err(message) => {
                let part = if self.rows == 0 { String::new() } else { format!("only the first {} rows are kept: ", self.rows) };
                self.failures.push(format!("{part}{message}"));
                Next::Done
            }
        }
    }

    fn page(&mut self, page: &RowSet) -> Result<Next, String> {
        let fields = page.fields();
        let names: Vec<Vec<u8>> = fields.iter().map(|field| field.name.clone()).collect();
        if self.kept.is_none() {
            self.kept = Some(self.columns(&fields, names)?);
        } else if self.kept.as_ref().is_some_and(|kept| kept.names != names) {
            return Err("a later page has other columns than the first one".into());
        }
        let Some(kept) = &mut self.kept else { return Ok(Next::Done) };
        for row in page.rows() {
            let mut raw = Row::default();
            for value in kept.places.iter().map(|place| row.at(*place)) {
                raw.lengths.push(value.map_or(-1, |value| i64::try_from(value.len()).unwrap_or(i64::MAX)));
                raw.values.extend_from_slice(value.unwrap_or_default());
            }
            self.bytes += raw.values.len();
            kept.table.rows.push(raw);
        }
        self.rows += page.len();
        if page.len() < self.paging.rows {
            return Ok(Next::Done);
        }
        let is_within =
            self.rows < limits::SNAPSHOT_TABLE_ROWS && self.bytes < limits::SNAPSHOT_TABLE_BYTES && self.paging.may_ask();
        if is_within { Ok(Next::Again) } else { Err("that is all that a snapshot takes of one table".into()) }
    }

    /// The columns to keep. One whose name is none is left out, since it would become part of a statement wherever the snapshot is
    /// looked at; of two with one name the last one counts, as for every reader of Vitess.
    fn columns(&mut self, fields: &[Field], names: Vec<Vec<u8>>) -> Result<Kept, String> {
        if fields.len() > limits::SNAPSHOT_COLUMNS {
            return Err(format!(
                "it has {} columns, more than the {} that a snapshot takes",
                fields.len(),
                limits::SNAPSHOT_COLUMNS
            ));
        }
        let (mut places, mut columns, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (place, field) in fields.iter().enumerate().rev() {
            let text = String::from_utf8_lossy(&field.name);
            let failure = match SqlName::parse(&text) {
                // Names of columns that differ in case only are one name.
                Ok(name) if seen.insert(name.to_ascii_lowercase()) => {
                    places.push(place);
                    columns.push(saved::Column {
                        name: name.to_string(),
                        r#type: declared::declared_type(field),
                        nullable: declared::is_nullable(field),
                        integral: declared::is_integral(field),
                    });
                    continue;
                }
                Ok(name) => format!("of the columns {name} only the last one is kept"),
                Err(bad) => format!("a column is left out: {bad}"),
            };
            self.failures.push(failure);
        }
        places.reverse();
        columns.reverse();
        self.failures.sort();
        self.failures.dedup();
        if columns.is_empty() {
            return Err("the tablet's answer has no column that can be kept".into());
        }
        Ok(Kept { names, places, table: saved::Table { name: self.name.into(), columns, rows: Vec::new() } })
    }
}
