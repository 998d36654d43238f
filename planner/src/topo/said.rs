//! What a tablet says when it refuses: the one place where its texts are read, because RPCs of tablets carry no code of MySQL's.
//!
//! A text often ends in the statement that failed, and a statement has names from outside: nothing behind ` during query: ` counts.

use crate::contract::{Answer, FailureKind};

/// MySQL's number in what a tablet said, such as 1146 for a table that does not exist. Source: `go/mysql/sqlerror/sql_error.go:Error`,
/// v10 to v24: `<text> (errno <number>) (sqlstate <state>) during query: <statement>`.
pub(crate) fn errno(message: &str) -> Option<u16> {
    let (_, number) = said(message).rsplit_once("(errno ")?;
    number.split_once(')')?.0.parse().ok()
}

/// Whether the tablet says that it is no primary: its shard's record may name another one by now. Source:
/// `go/vt/vttablet/tabletmanager/vreplication/engine.go:errClosed`; the code is UNKNOWN up to v22 and UNAVAILABLE later.
pub(crate) fn says_not_primary(answer: &Answer) -> bool {
    matches!(answer, Answer::Failed { kind: FailureKind::Status(_), message } if said(message).contains("vreplication engine is closed"))
}

/// Whether the tablet knows no such table in `VReplicationExec`. Source:
/// `go/vt/vttablet/tabletmanager/vreplication/controller_plan.go`, v10 to v24.
pub(crate) fn knows_no_table(message: &str, table: &str) -> bool {
    said(message).ends_with(&format!("invalid table name: _vt.{table}"))
}

/// Whether MySQL says that `copy_state` has no `id`: it is of v10 to v15. The name stands there in full, in whatever place of the statement.
pub(crate) fn knows_no_id_of_copy_state(message: &str) -> bool {
    errno(message) == Some(1054) && said(message).contains(".copy_state.id'")
}

/// Whether the tablet is of a release without the RPC. Its code alone does not tell: tablets of v23 on have it for SQL, too. Source:
/// grpc-go's texts, the same on every release.
pub(crate) fn knows_no_method(code: i32, message: &str) -> bool {
    const UNIMPLEMENTED: i32 = 12;
    let said = said(message);
    let is_of_grpc = said.contains("unknown method ") || said.contains("unknown service ") || said.ends_with(" not implemented");
    code == UNIMPLEMENTED && is_of_grpc
}

/// The text without the statement that it repeats.
fn said(message: &str) -> &str {
    message.split_once(" during query: ").map_or(message, |(said, _)| said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_statement_say_nothing() {
        let text = "rpc error: code = Unknown desc = Table '_vt.nosuch' doesn't exist (errno 1146) (sqlstate 42S02) during query: select 1";
        assert_eq!(errno(text), Some(1146));
        let named =
            "Lost connection (errno 2013) (sqlstate HY000) during query: select 1 where workflow = '(errno 1146) (sqlstate'";
        assert_eq!(errno(named), Some(2013));
        assert_eq!(errno("vttablet: no errno at all"), None);
        assert!(knows_no_table("error: invalid table name: _vt.vreplication_log", "vreplication_log"));
        assert!(!knows_no_table("boom during query: select 'invalid table name: _vt.vreplication_log", "vreplication_log"));
        let no_id = "Unknown column '_vt.copy_state.id' in 'field list' (errno 1054) (sqlstate 42S22)";
        assert!(knows_no_id_of_copy_state(no_id) && knows_no_id_of_copy_state(&format!("{no_id} during query: select 1")));
        assert!(!knows_no_id_of_copy_state("Unknown column 'lastpk' (errno 1054) during query: select '.copy_state.id'"));
        assert!(!knows_no_id_of_copy_state("no '_vt.copy_state.id' (errno 1146)"));
        assert!(knows_no_method(12, "unknown method X for service tabletmanagerservice.TabletManager"));
        assert!(knows_no_method(12, "method X not implemented") && !knows_no_method(2, "method X not implemented"));
        assert!(!knows_no_method(12, "no window functions (errno 1235) during query: select 'unknown method X not implemented"));
        let failed = |message: &str| Answer::Failed { kind: FailureKind::Status(2), message: message.into() };
        assert!(says_not_primary(&failed("vreplication engine is closed")));
        assert!(!says_not_primary(&failed("boom during query: select 'vreplication engine is closed'")));
    }
}
