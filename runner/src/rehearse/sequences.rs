//! What a change reads of sequences while the cluster is read for its rehearsal: kept with its answers, so that a copy has the tables that
//! these came from, with the one row that decides. Nothing is read for it besides.
//!
//! The planner tells its own statements ([`Read`]). Names and values are a tablet's: they become names ([`SqlName`]) and values of rows
//! before they come into a copy, and are part of no statement.

use std::collections::{BTreeMap, BTreeSet};

use vtflow_planner::{
    Answer, Ask, Failure, Lost, What,
    sequences::Read,
    sidecar::{name::SqlName, result::RowSet},
};

use crate::embedded::{Cell, ColumnDecl, OWN_TABLES, OwnTables, Snapshot, TableRows};

/// What was read of sequences.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequences {
    /// By tablet and statement: what the last answer said.
    reads: BTreeMap<(String, String), Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    what: What,
    read: Read,
    said: Said,
}

/// What an answer says, of which only a value is kept, however long it is.
#[derive(Clone, Debug)]
enum Said {
    /// The first value of the first row; `None`: there is no row.
    Value(Option<Cell>),
    /// Rows that cannot be read, or a value that is too long: why.
    Unread(String),
    /// No rows: what came instead.
    Refused(Answer),
}

/// Bytes of a value that is no number. The columns of sequences have numbers.
const VALUE_BYTES: usize = 1_024;

impl Said {
    fn of(answer: &Answer) -> Self {
        let Answer::Called(response) = answer else { return Self::Refused(answer.clone()) };
        let rows = match RowSet::from_execute_fetch(response) {
            Ok(rows) => rows,
            Err(error) => return Self::Unread(error.to_string()),
        };
        let value = rows.rows().next().map(|row| row.at(0).map(<[u8]>::to_vec));
        match value {
            Some(Some(value)) if value.len() > VALUE_BYTES => Self::Unread(format!("a value of {} bytes", value.len())),
            value => Self::Value(value.map(|value| value.map_or(Cell::Null, |value| cell(&value)))),
        }
    }
}

impl Sequences {
    /// Keeps an answer, if it is one about a sequence.
    pub(super) fn keep(&mut self, ask: &Ask, answer: &Answer) {
        if let (Some(key), Some(read)) = (key(&ask.what), Read::of(&ask.what)) {
            self.reads.insert(key, Kept { what: ask.what.clone(), read, said: Said::of(answer) });
        }
    }

    /// Puts their tables into a snapshot. What a copy cannot have comes back.
    pub(super) fn put_into(&self, snapshot: &mut Snapshot) -> Vec<Failure> {
        let mut left_out = BTreeSet::new();
        for ((alias, _), Kept { what, read, said }) in &self.reads {
            // A tablet that has told nothing is not in it, and named.
            let (Some(rows), What::TabletCall { about, .. }) = (snapshot.tablets.get_mut(alias), what) else { continue };
            if let Err(why) = put(&mut rows.own, read, said) {
                left_out.insert((about.keyspace.as_str(), about.shard.as_str(), alias.as_str(), why));
            }
        }
        let failure = |(keyspace, shard, alias, message): (&str, &str, &str, String)| {
            let [keyspace, shard, tablet] = [keyspace, shard, alias].map(str::to_owned);
            Failure { keyspace, shard, tablet, workflow: String::new(), lost: Lost::Shard, message }
        };
        left_out.into_iter().map(failure).collect()
    }

    /// What the cluster said instead of rows, where a copy has to say the same. That there is no such table it says by itself, as long as
    /// there is none.
    pub(super) fn refusal(&self, what: &What) -> Option<Answer> {
        let Kept { said: Said::Refused(answer), .. } = self.reads.get(&key(what)?)? else { return None };
        let is_refusal = matches!(answer, Answer::Failed { message, .. } if !Read::is_without_table(message));
        is_refusal.then(|| answer.clone())
    }

    /// The asks for the next values of sequences, with the names of these.
    pub(super) fn next_values(&self) -> impl Iterator<Item = (String, &What)> {
        self.reads.values().filter(|kept| kept.read.column.is_none()).filter_map(|Kept { what, read, .. }| {
            let What::TabletCall { about, .. } = what else { return None };
            Some((format!("{}.{}", about.keyspace, read.table), what))
        })
    }
}

fn key(what: &What) -> Option<(String, String)> {
    let What::TabletCall { tablet, about, .. } = what else { return None };
    Some((tablet.alias.clone(), about.statement.clone()))
}

/// Puts the table of an answer among those of its tablet.
fn put(own: &mut Option<OwnTables>, read: &Read, said: &Said) -> Result<(), String> {
    let Read { database, table, column } = read;
    for name in [Some(database), Some(table), column.as_ref()].into_iter().flatten() {
        SqlName::parse(name).map_err(|error| format!("{database}.{table} is not copied: {error}"))?;
    }
    let own = own.get_or_insert_with(|| OwnTables { database: database.clone(), tables: BTreeMap::new() });
    let first = match said {
        Said::Value(value) => value,
        Said::Unread(why) => return Err(format!("{database}.{table} is not copied: {why}")),
        Said::Refused(_) => return Ok(()),
    };
    // SQLite's names do not differ by case.
    let is_same = |other: &&String| other.eq_ignore_ascii_case(table) && *other != table;
    if let Some(other) = own.tables.keys().find(is_same) {
        return Err(format!("{database}.{table} is not copied: {other} is copied, and differs in case only"));
    }
    if own.tables.len() >= OWN_TABLES && !own.tables.contains_key(table) {
        return Err(format!("{database}.{table} is not copied: a copy of a tablet has the rows of {OWN_TABLES} tables at most"));
    }
    let Some(name) = column else {
        let columns = [("id", "int"), ("next_id", "bigint"), ("cache", "bigint")].map(|(name, of)| declared(name, of));
        // How many values are taken at once no change reads.
        let rows = first.iter().map(|next| vec![Cell::Int(0), next.clone(), Cell::Null]).collect();
        own.tables.insert(table.clone(), TableRows { columns: columns.to_vec(), rows });
        return Ok(());
    };
    let content = own.tables.entry(table.clone()).or_insert_with(|| TableRows { rows: vec![Vec::new()], ..TableRows::default() });
    if !content.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name)) {
        let value = first.clone().unwrap_or(Cell::Null);
        content.columns.push(declared(name, if matches!(value, Cell::Text(_) | Cell::Bytes(_)) { "text" } else { "bigint" }));
        content.rows.iter_mut().for_each(|row| row.push(value.clone()));
    }
    Ok(())
}

fn declared(name: &str, mysql_type: &str) -> ColumnDecl {
    ColumnDecl { name: name.to_owned(), mysql_type: mysql_type.to_owned(), nullable: true }
}

/// A number, or what is none as it is: the change says what is wrong with it.
fn cell(value: &[u8]) -> Cell {
    match std::str::from_utf8(value) {
        Ok(text) => text.parse().map_or_else(|_| Cell::Text(text.to_owned()), Cell::Int),
        Err(_) => Cell::Bytes(value.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use vtflow_planner::{
        About, AskId, Effect, FailureKind, TabletAddress, Timestamp,
        proto::{
            query::{Field, QueryResult, Row},
            tabletmanagerdata::ExecuteFetchAsDbaResponse,
        },
        rpc,
    };

    use super::*;
    use crate::embedded::{TabletRows, Unreadable};

    fn ask(alias: &str, statement: &str) -> Ask {
        let tablet = TabletAddress { alias: alias.into(), cell: "zone1".into(), host: "h".into(), grpc_port: 1 };
        let about = About {
            keyspace: "ks".into(),
            shard: "0".into(),
            db_name: "vt_ks".into(),
            subject: "largest value".into(),
            statement: statement.into(),
        };
        let path = rpc::EXECUTE_FETCH_AS_DBA.into();
        let what = What::TabletCall { tablet, path, request: Vec::new(), effect: Effect::Read, limit_ms: 0, about };
        Ask { id: AskId(1), round: 1, what, gate: None }
    }

    fn says(value: Option<&str>) -> Answer {
        let row = Row {
            lengths: vec![value.map_or(-1, |value| i64::try_from(value.len()).unwrap())],
            values: value.unwrap_or_default().into(),
        };
        let fields = vec![Field { name: "maxval".into(), r#type: 265, ..Field::default() }];
        let result = QueryResult { fields, rows: vec![row], ..QueryResult::default() };
        Answer::Called(ExecuteFetchAsDbaResponse { result: Some(result) }.encode_to_vec())
    }

    fn refuses(message: &str) -> Answer {
        Answer::Failed { kind: FailureKind::Status(2), message: message.into() }
    }

    fn largest(column: &str, table: &str) -> String {
        format!("select max(`{column}`) as maxval from `vt_ks`.`{table}`")
    }

    /// One tablet, after these answers: its tables, and what is not copied.
    fn copied(answers: &[(String, Answer)]) -> (Option<OwnTables>, Vec<String>) {
        let mut sequences = Sequences::default();
        for (statement, answer) in answers {
            sequences.keep(&ask("zone1-1", statement), answer);
            sequences.keep(&ask("zone1-2", statement), answer);
        }
        let mut snapshot = Snapshot {
            taken_at: Timestamp::default(),
            note: String::new(),
            topo: Vec::new(),
            tablets: BTreeMap::from([("zone1-1".to_owned(), TabletRows::default())]),
            unreadable: Unreadable::default(),
        };
        let left_out = sequences.put_into(&mut snapshot);
        let texts = left_out.iter().map(|it| format!("{}: {}", it.place(), it.message)).collect();
        assert_eq!(snapshot.tablets.len(), 1, "a tablet that has told nothing is not made up");
        (snapshot.tablets.remove("zone1-1").unwrap().own, texts)
    }

    #[test]
    fn a_table_has_the_columns_that_were_read_and_one_row() {
        let (own, left_out) = copied(&[
            (largest("id", "t"), says(Some("9223372036854775807"))),
            (largest("other", "t"), says(None)),
            (largest("unsigned", "t"), says(Some("18446744073709551615"))),
            (largest("ID", "u"), says(Some("-3"))),
            (largest("id", "u"), says(Some("4"))),
            ("select next_id from `vt_ks`.`seq` where id = 0".into(), says(Some("7"))),
            ("select next_id from `vt_ks`.`none` where id = 0".into(), refuses("no (errno 1146)")),
            ("select version()".into(), says(Some("8"))),
        ]);
        let own = own.unwrap();
        assert_eq!((own.database.as_str(), left_out), ("vt_ks", Vec::new()));
        let told = |name: &str| {
            let table = &own.tables[name];
            let columns: Vec<_> = table.columns.iter().map(|it| (it.name.as_str(), it.mysql_type.as_str())).collect();
            (columns, table.rows.clone())
        };
        let large = Cell::Text("18446744073709551615".into());
        assert_eq!(
            told("t"),
            (
                vec![("id", "bigint"), ("other", "bigint"), ("unsigned", "text")],
                vec![vec![Cell::Int(i64::MAX), Cell::Null, large]]
            )
        );
        assert_eq!(told("u"), (vec![("ID", "bigint")], vec![vec![Cell::Int(-3)]]), "columns do not differ by case");
        let columns = vec![("id", "int"), ("next_id", "bigint"), ("cache", "bigint")];
        assert_eq!(told("seq"), (columns, vec![vec![Cell::Int(0), Cell::Int(7), Cell::Null]]));
        assert_eq!(own.tables.len(), 3);
    }

    #[test]
    fn what_a_copy_cannot_have_is_named() {
        let (own, left_out) = copied(&[
            (largest("id", "my-table"), says(Some("1"))),
            (largest("a b", "t"), says(Some("1"))),
            (largest("id", "Same"), says(Some("1"))),
            (largest("id", "same"), says(Some("1"))),
            (largest("id", "odd"), Answer::Called(vec![0xff])),
            (largest("id", "long"), says(Some(&"x".repeat(2_000)))),
        ]);
        assert_eq!(own.unwrap().tables.keys().collect::<Vec<_>>(), ["Same"]);
        for (text, want) in left_out.iter().zip([
            "vt_ks.long is not copied: a value of 2000 bytes",
            "vt_ks.my-table is not copied: \"my-table\" is no name of a table",
            "vt_ks.odd is not copied: ",
            "vt_ks.same is not copied: Same is copied, and differs in case only",
            "vt_ks.t is not copied: \"a b\" is no name of a table",
        ]) {
            assert!(text.starts_with(&format!("ks/0 zone1-1: {want}")), "{text}");
        }
        assert_eq!(left_out.len(), 5, "{left_out:?}");
    }

    /// As many as a snapshot's file may have.
    #[test]
    fn tables_are_bounded() {
        let answers = |first| (first..first + OWN_TABLES).map(|n| (largest("id", &format!("t{n}")), says(Some("1"))));
        let (own, left_out) = copied(&answers(0).chain([(largest("other", "t0"), says(Some("2")))]).collect::<Vec<_>>());
        assert_eq!((own.unwrap().tables.len(), left_out), (OWN_TABLES, Vec::new()));
        let (own, left_out) = copied(&answers(0).chain(answers(3)).collect::<Vec<_>>());
        assert_eq!((own.unwrap().tables.len(), left_out.len()), (OWN_TABLES, 3));
        assert!(left_out[0].ends_with("a copy of a tablet has the rows of 1000 tables at most"), "{}", left_out[0]);
    }

    #[test]
    fn a_copy_refuses_what_the_cluster_has_refused_and_only_that() {
        let mut sequences = Sequences::default();
        let denied = refuses("denied (errno 1142)");
        for (table, answer) in [("a", denied.clone()), ("b", refuses("no (errno 1146)")), ("c", says(Some("1")))] {
            sequences.keep(&ask("zone1-1", &largest("id", table)), &answer);
        }
        let refusal = |alias: &str, table: &str| sequences.refusal(&ask(alias, &largest("id", table)).what);
        assert_eq!(refusal("zone1-1", "a"), Some(denied));
        for (alias, table) in [("zone1-2", "a"), ("zone1-1", "b"), ("zone1-1", "c"), ("zone1-1", "d")] {
            assert_eq!(refusal(alias, table), None, "{alias} {table}");
        }
    }
}
