//! Every bound of the embedded tablets in one place: what a snapshot may hold, and what a statement may be. Each with its unit, and why
//! at that size.

use sqlparser::{dialect::MySqlDialect, tokenizer::Token, tokenizer::Tokenizer};
use vtflow_planner::limits;

use crate::mysql::error::MysqlError;

/// Bytes of one file of a snapshot. A tablet with 55 streams and their logs has some megabytes.
pub(crate) const FILE_BYTES: u64 = 256 << 20;
/// Values of a snapshot, with its rows, columns, records and table sizes: two bytes of a file can be one of them, which takes some 40 of
/// memory. A keyspace of 256 shards with 55 streams each, and 100 log rows of each stream, has 15 million.
pub(crate) const VALUES: usize = 20_000_000;
/// Bytes of all files of a snapshot: all of it is in memory.
pub(crate) const SNAPSHOT_BYTES: u64 = 2 << 30;
/// Tablets of a snapshot: as many as one that is taken has at most.
pub(crate) const TABLETS: usize = limits::SNAPSHOT_TABLETS;
/// Records of a snapshot's topology.
pub(crate) const RECORDS: usize = 1_000_000;
/// Tables of a tablet. Releases have up to 9 of them.
pub(crate) const TABLES: usize = 64;
/// Tables of a tablet's own database whose rows are known: those whose columns take values from sequences. Real clusters have a few hundred
/// such columns.
pub const OWN_TABLES: usize = 1_000;
/// Columns of a table.
pub(crate) const COLUMNS: usize = limits::SNAPSHOT_COLUMNS;
/// Rows of a table: twice what a snapshot takes, which may have one more page.
pub(crate) const ROWS: usize = 2 * limits::SNAPSHOT_TABLE_ROWS;
/// Tables of a tablet's own database, with their sizes: as the rows of a table.
pub(crate) const TABLE_SIZES: usize = ROWS;

/// Bytes of a statement: room for an `in` list of 10,000 ids of a `bigint`, twice.
pub(crate) const STATEMENT_BYTES: usize = 512 << 10;
/// Words and signs of a statement, values and commas not counted: twice what `VExec` takes from people, for what is added to it. A chain
/// of them (`a or b or c`) is as deep a tree as it is long, and each level costs stack wherever the tree is walked.
pub(crate) const STATEMENT_PARTS: usize = 2 * limits::STATEMENT_PARTS;
/// Columns of a result, or of what it is made of: a few common tables of each other's columns would have any number. As MySQL.
pub(crate) const RESULT_COLUMNS: usize = 4_096;
/// Bytes of a result's rows.
pub(crate) const RESULT_BYTES: usize = 128 << 20;

/// The bytes of stack of a thread that reads a statement: room for [`STATEMENT_PARTS`] levels in a build that is not optimised.
pub(crate) const STACK_BYTES: usize = 64 << 20;

/// Refuses a statement that is too long to be read at all.
pub(crate) fn check_length(sql: &str) -> Result<(), MysqlError> {
    if sql.len() <= STATEMENT_BYTES {
        return Ok(());
    }
    let text = format!(
        "Got a packet bigger than 'max_allowed_packet' bytes: the statement has {}, more than the {STATEMENT_BYTES} that an embedded \
         tablet reads",
        sql.len()
    );
    Err(MysqlError { errno: 1153, sqlstate: "08S01", text })
}

/// Refuses a statement that would cost too much to be read: too long, or of too many parts. What cannot be told apart into parts is left
/// to whoever reads it: it has no depth.
pub(crate) fn check(sql: &str) -> Result<(), MysqlError> {
    check_length(sql)?;
    let Ok(tokens) = Tokenizer::new(&MySqlDialect {}, sql).with_unescape(false).tokenize() else { return Ok(()) };
    let is_simple = |token: &Token| {
        matches!(
            token,
            Token::Comma | Token::Number(..) | Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) | Token::Whitespace(_)
        )
    };
    let parts = tokens.iter().filter(|token| !is_simple(token)).count();
    if parts <= STATEMENT_PARTS {
        return Ok(());
    }
    let text = format!(
        "Thread stack overrun: the statement has {parts} words and signs, more than the {STATEMENT_PARTS} that an embedded tablet reads"
    );
    Err(MysqlError { errno: 1436, sqlstate: "HY000", text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_read_and_deep_statements_are_not() {
        let ids = vec!["18446744073709551615"; 10_000].join(", ");
        assert_eq!(check(&format!("select * from _vt.vreplication where id in ({ids}) or id in ({ids})")), Ok(()));
        assert_eq!(check(&format!("select 'x{}'", "(".repeat(100_000))), Ok(()));
        for deep in ["not ", "(", "1 or ", "select 1 union ", "a.", "- ", "x = 1 and "] {
            let error = check(&format!("select {}1", deep.repeat(50_000))).unwrap_err();
            assert!(error.errno == 1436 || error.errno == 1153, "{deep}: {error}");
        }
        assert_eq!(check(&"x".repeat(STATEMENT_BYTES + 1)).unwrap_err().errno, 1153);
    }
}
