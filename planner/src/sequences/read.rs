//! What a call of a tablet reads of a sequence, told from its statement: for whoever keeps the answers.

use super::statement::{NO_TABLE, highest, value};
use crate::{
    contract::{Effect, What},
    topo::said::errno,
};

/// What one of the statements reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The database, such as `vt_customer`.
    pub database: String,
    /// Its name.
    pub table: String,
    /// The column whose largest value it is; `None`: it is the next value of a sequence, which the table is.
    pub column: Option<String>,
}

impl Read {
    /// What a call reads; `None`: nothing of a sequence.
    pub fn of(what: &What) -> Option<Self> {
        let What::TabletCall { effect: Effect::Read, about, .. } = what else { return None };
        let mut names = about.statement.split('`').skip(1).step_by(2).map(str::to_owned);
        let names = [names.next()?, names.next()?, names.next().unwrap_or_default()];
        let (read, query) = match names {
            [database, table, rest] if rest.is_empty() => {
                let query = value(&database, &table);
                (Self { database, table, column: None }, query)
            }
            [column, database, table] => {
                let query = highest(&database, &table, &column);
                (Self { database, table, column: Some(column) }, query)
            }
        };
        (query.statement == about.statement).then_some(read)
    }

    /// Whether a tablet says that there is no such table.
    pub fn is_without_table(message: &str) -> bool {
        errno(message) == Some(NO_TABLE)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::statement::raise, *};
    use crate::{contract::TabletAddress, sidecar::query::Query};

    fn call(query: &Query) -> What {
        let tablet = TabletAddress { alias: "zone1-1".into(), cell: "zone1".into(), host: "h".into(), grpc_port: 1 };
        query.call(&tablet, "ks", "0", "vt_ks")
    }

    #[test]
    fn the_statements_are_known_by_what_they_say_and_nothing_else_is() {
        let read = |table: &str, column: Option<&str>| {
            Some(Read { database: "vt_ks".into(), table: table.into(), column: column.map(str::to_owned) })
        };
        assert_eq!(Read::of(&call(&highest("vt_ks", "corder", "id"))), read("corder", Some("id")));
        assert_eq!(Read::of(&call(&highest("vt_ks", "my-t", "a b"))), read("my-t", Some("a b")));
        assert_eq!(Read::of(&call(&value("vt_ks", "seq"))), read("seq", None));
        let (raise, look) = raise("vt_ks", "seq", "7");
        for other in [
            raise,
            look,
            value("vt_ks", "seq").that_writes(),
            Query::dba_row("sequence", "select next_id from `vt_ks`.`seq` where id = 1".into(), "vt_ks"),
            Query::dba_row("sequence", "select 1".into(), "vt_ks"),
            // A name that closes its quotes is none that a copy could have.
            value("vt_ks", "a`.`b"),
        ] {
            assert_eq!(Read::of(&call(&other)), None, "{}", other.statement);
        }
        assert!(Read::is_without_table("Table 'vt_ks.seq' doesn't exist (errno 1146) (sqlstate 42S02)"));
        assert!(!Read::is_without_table("denied (errno 1142) (sqlstate 42000) during query: select 1 /* (errno 1146) */"));
    }
}
