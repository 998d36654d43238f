//! The statements on the sidecar tables, in the form that tablets of v10 to v24 accept.
//!
//! What every text here keeps to (Source: `go/vt/vttablet/tabletmanager/vreplication/controller_plan.go`, v10 to v24):
//! one table in FROM, written `_vt.<table>` without alias; no join, no union; subqueries only in WHERE and in the select list;
//! `select *`, because no column list is valid on every release; always the tablet's own database, because several may share one
//! MySQL; always a LIMIT, because row 10,001 is an error.

use crate::sidecar::literal::{quote, quote_bytes};

/// Which streams of one tablet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The tablet's own database.
    pub(crate) db_name: String,
    /// Only streams of this workflow; empty means all.
    pub(crate) workflow: String,
    /// Leave out streams whose stored state is exactly `Stopped`.
    pub(crate) active_only: bool,
}

impl Scope {
    fn predicates(&self) -> String {
        let mut text = format!("db_name = {}", quote(&self.db_name));
        if !self.workflow.is_empty() {
            text.push_str(" and workflow = ");
            text.push_str(&quote(&self.workflow));
        }
        if self.active_only {
            text.push_str(" and state != 'Stopped'");
        }
        text
    }

    fn ids(&self) -> String {
        format!("select id from _vt.vreplication where {}", self.predicates())
    }
}

/// Streams with an id above `after`, ascending.
pub(crate) fn streams(scope: &Scope, after: Option<i64>, limit: usize) -> String {
    let page = after.map_or_else(String::new, |id| format!(" and id > {id}"));
    format!("select * from _vt.vreplication where {}{page} order by id limit {limit}", scope.predicates())
}

/// The first page of streams with, beside each, its current copy states in column [`COPY_STATES`]; beside the first of them also the
/// newest `logs` log rows of all of them in column [`LOGS`], if that many are wanted. Both columns are JSON, `[<count>, [<row>, …]]`
/// with the rows as arrays, in any order, and `null` where there are none: without the count a server that cuts what is too long
/// (MariaDB), or makes NULL of it, could not be told from one that has no more.
///
/// Binary columns travel as hexadecimal, for JSON has no bytes; times as texts, for JSON gives them microseconds. `copy_state.id` is
/// named in full: before v16 there is none, and `id` alone might be found elsewhere instead of being error 1054. A table's newest rows
/// are found once for all streams, in a derived table, which servers index by stream: a condition on each row costs the square of a
/// history of thousands of rows. The log is read once, too, not for each stream: before v18 it has no index on the stream.
pub(crate) fn fused(scope: &Scope, limit: usize, logs: Option<usize>) -> String {
    let (streams, ids) = (scope.predicates(), scope.ids());
    let copy_states = format!(
        "select json_array(count(*), json_arrayagg(json_array(_vt.copy_state.id, hex(_vt.copy_state.table_name), \
         hex(_vt.copy_state.lastpk)))) from (select vrepl_id, max(_vt.copy_state.id) as id from _vt.copy_state \
         where vrepl_id in ({ids}) group by vrepl_id, table_name) as newest \
         join _vt.copy_state on _vt.copy_state.id = newest.id where newest.vrepl_id = _vt.vreplication.id"
    );
    let logs = logs.map_or_else(String::new, |rows| {
        let newest = self::logs(scope, None, &[], rows);
        format!(
            ", if(_vt.vreplication.id = (select min(id) from _vt.vreplication where {streams}), (select json_array(count(*), \
             json_arrayagg(json_array(newest.id, newest.vrepl_id, hex(newest.type), hex(newest.state), \
             cast(newest.created_at as char), cast(newest.updated_at as char), newest.message, newest.count))) \
             from ({newest}) as newest), null) as {LOGS}"
        )
    });
    format!("select *, ({copy_states}) as {COPY_STATES}{logs} from _vt.vreplication where {streams} order by id limit {limit}")
}

/// The column of [`fused`] with a stream's copy states.
pub(crate) const COPY_STATES: &str = "copy_states";
/// The column of [`fused`] with the newest log rows.
pub(crate) const LOGS: &str = "logs";

/// The names of workflows above `after`, each once, ascending.
pub(crate) fn names(scope: &Scope, after: Option<&[u8]>, limit: usize) -> String {
    let page = after.map_or_else(String::new, |name| format!(" and workflow > {}", quote_bytes(name)));
    let scope = scope.predicates();
    format!("select distinct workflow from _vt.vreplication where {scope}{page} order by workflow limit {limit}")
}

/// The newest copy state of each stream and table, by `id`: v16 and later, where the table is a history.
pub(crate) fn newest_copy_states(scope: &Scope, after: Option<i64>, limit: usize) -> String {
    let ids = scope.ids();
    let page = after.map_or_else(String::new, |id| format!(" and id > {id}"));
    format!(
        "select * from _vt.copy_state where vrepl_id in ({ids}) and id in (select max(id) from _vt.copy_state \
         where vrepl_id in ({ids}) group by vrepl_id, table_name){page} order by id limit {limit}"
    )
}

/// The copy states of a tablet of v10 to v15: one row per stream and table, no `id` column.
pub(crate) fn all_copy_states(scope: &Scope, after: Option<(i64, &[u8])>, limit: usize) -> String {
    let page = after.map_or_else(String::new, |(stream, table)| {
        format!(" and (vrepl_id > {stream} or vrepl_id = {stream} and table_name > {})", quote_bytes(table))
    });
    let ids = scope.ids();
    format!("select * from _vt.copy_state where vrepl_id in ({ids}){page} order by vrepl_id, table_name limit {limit}")
}

/// Log rows below `below`, newest first, leaving out the streams in `enough`.
pub(crate) fn logs(scope: &Scope, below: Option<i64>, enough: &[i64], limit: usize) -> String {
    let mut page = below.map_or_else(String::new, |id| format!(" and id < {id}"));
    if !enough.is_empty() {
        let list: Vec<String> = enough.iter().map(ToString::to_string).collect();
        page.push_str(" and vrepl_id not in (");
        page.push_str(&list.join(", "));
        page.push(')');
    }
    format!("select * from _vt.vreplication_log where vrepl_id in ({}){page} order by id desc limit {limit}", scope.ids())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: &str = r"db_name = 'vt_customer' and workflow = 'it\'s' and state != 'Stopped'";

    fn scope() -> Scope {
        Scope { db_name: "vt_customer".into(), workflow: String::new(), active_only: false }
    }

    #[test]
    fn the_texts_are_these() {
        assert_eq!(
            streams(&scope(), None, 5),
            "select * from _vt.vreplication where db_name = 'vt_customer' order by id limit 5"
        );
        let narrow = Scope { workflow: "it's".into(), active_only: true, ..scope() };
        assert_eq!(
            streams(&narrow, Some(7), 5),
            r"select * from _vt.vreplication where db_name = 'vt_customer' and workflow = 'it\'s' and state != 'Stopped' and id > 7 order by id limit 5"
        );
        let copy_states = |scope: &str| {
            format!(
                "select *, (select json_array(count(*), json_arrayagg(json_array(_vt.copy_state.id, hex(_vt.copy_state.table_name), \
                 hex(_vt.copy_state.lastpk)))) from (select vrepl_id, max(_vt.copy_state.id) as id from _vt.copy_state \
                 where vrepl_id in (select id from _vt.vreplication where {scope}) group by vrepl_id, table_name) as newest \
                 join _vt.copy_state on _vt.copy_state.id = newest.id where newest.vrepl_id = _vt.vreplication.id) as copy_states"
            )
        };
        let all = "db_name = 'vt_customer'";
        assert_eq!(
            fused(&scope(), 5, None),
            format!("{} from _vt.vreplication where {all} order by id limit 5", copy_states(all))
        );
        assert_eq!(
            fused(&narrow, 5, Some(7)),
            format!(
                "{}, if(_vt.vreplication.id = (select min(id) from _vt.vreplication where {NARROW}), \
                 (select json_array(count(*), json_arrayagg(json_array(newest.id, newest.vrepl_id, hex(newest.type), hex(newest.state), \
                 cast(newest.created_at as char), cast(newest.updated_at as char), newest.message, newest.count))) from \
                 (select * from _vt.vreplication_log where vrepl_id in (select id from _vt.vreplication where {NARROW}) order by id desc limit 7) \
                 as newest), null) as logs from _vt.vreplication where {NARROW} order by id limit 5",
                copy_states(NARROW)
            )
        );
        assert_eq!(
            names(&scope(), Some(b"a"), 5),
            "select distinct workflow from _vt.vreplication where db_name = 'vt_customer' and workflow > 'a' order by workflow limit 5"
        );
        assert_eq!(
            newest_copy_states(&scope(), Some(9), 5),
            "select * from _vt.copy_state where vrepl_id in (select id from _vt.vreplication where db_name = 'vt_customer') \
             and id in (select max(id) from _vt.copy_state where vrepl_id in (select id from _vt.vreplication where db_name = 'vt_customer') \
             group by vrepl_id, table_name) and id > 9 order by id limit 5"
        );
        assert_eq!(
            all_copy_states(&scope(), Some((3, b"t1")), 5),
            "select * from _vt.copy_state where vrepl_id in (select id from _vt.vreplication where db_name = 'vt_customer') \
             and (vrepl_id > 3 or vrepl_id = 3 and table_name > 't1') order by vrepl_id, table_name limit 5"
        );
        assert_eq!(
            logs(&scope(), Some(100), &[1, 2], 5),
            "select * from _vt.vreplication_log where vrepl_id in (select id from _vt.vreplication where db_name = 'vt_customer') \
             and id < 100 and vrepl_id not in (1, 2) order by id desc limit 5"
        );
    }
}
