//! The lanes of changes that only go forward: tables, vschemas, denied tables, streams, shards.

use std::collections::BTreeSet;

use crate::{
    cutover::{
        act::{self, Act, Call, Deletion, Lane, RecordEdit, Sign, statement},
        edit::{self, Edit},
        leaving::{Leaving, Versioned},
        scene::{Member, Scene, Stream},
        stored::Stored,
    },
    proto::tabletmanagerdata::DeleteTableDataRequest,
    rpc,
    sidecar::{literal::quote, query::Query},
    topo::names::{GLOBAL, KeyspaceName},
};

/// MySQL's numbers for a table that is not there: `ER_BAD_TABLE_ERROR`, `ER_NO_SUCH_TABLE`.
const NO_TABLE: &[u16] = &[1051, 1146];

/// How long a tablet may take to drop a table, in milliseconds: a large one takes long.
const DROP_LIMIT_MS: u32 = 310_000;

/// How long a tablet may take to delete the rows of a tenant, in milliseconds.
const ROWS_LIMIT_MS: u32 = 3_610_000;

/// Letters of a table's name that are kept in its new one.
const KEPT_LETTERS: usize = 59;

/// What becomes of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Drop,
    DropView,
    Rename,
}

fn backquoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The name that a table has instead.
pub(super) fn renamed(table: &str) -> String {
    format!("_{}_old", table.chars().take(KEPT_LETTERS).collect::<String>())
}

/// Tables of one shard, one after the other. One that is not there any more is done.
pub(super) fn tables<'a>(on: &Member, tables: impl IntoIterator<Item = (&'a str, Fate)>) -> Lane {
    tables.into_iter().map(|(table, fate)| vec![drop_table(on, table, fate)]).collect()
}

fn drop_table(on: &Member, table: &str, fate: Fate) -> Act {
    let (db, name) = (backquoted(&on.db_name), backquoted(table));
    let text = match fate {
        Fate::Drop => format!("drop table {db}.{name}"),
        Fate::DropView => format!("drop view {db}.{name}"),
        Fate::Rename => format!("rename table {db}.{name} TO {db}.{}", backquoted(&renamed(table))),
    };
    let query = Query::dba_tables("tables", text, &on.db_name, true);
    let (db, table) = (quote(&on.db_name), quote(table));
    let look = format!("select table_name from information_schema.tables where table_schema = {db} and table_name = {table}");
    let shown_by = Some((Query::dba("look again", look, &on.db_name), Sign::None));
    Call { shown_by, limit_ms: DROP_LIMIT_MS, done_by: NO_TABLE, ..Call::new(on, query) }.boxed()
}

/// The question which tables a shard has, views among them.
pub(super) fn all_tables(on: &Member) -> Query {
    let text =
        format!("select table_name, table_type from information_schema.tables where table_schema = {}", quote(&on.db_name));
    Query::dba("tables", text, &on.db_name)
}

/// Whether Vitess, or a tool that changes schemas, has made the table for itself. Source: `go/vt/schema/name.go`, `gh-ost` and
/// `pt-online-schema-change` in `go/vt/schema/online_ddl.go:IsOnlineDDLTableName`.
pub(super) fn is_internal(table: &str) -> bool {
    let ends = ["_gho", "_ghc", "_del", "_new", "_old", "_vrepl"];
    table.starts_with("_vt_") || table.starts_with('_') && ends.iter().any(|end| table.ends_with(end))
}

/// The rows of a tenant in each table.
pub(super) fn tenant_rows(on: &Member, tables: &[String], condition: &str, batch: i64) -> Lane {
    let filter = format!(" where {condition}");
    let request = DeleteTableDataRequest {
        table_filters: tables.iter().map(|table| (table.clone(), filter.clone())).collect(),
        batch_size: batch,
    };
    let text = format!("delete from {}{filter}, in batches", tables.join(", "));
    let query = Query { statement: text, ..Query::typed(rpc::DELETE_TABLE_DATA, &request, "rows") }.that_writes();
    vec![vec![Call { limit_ms: ROWS_LIMIT_MS, ..Call::new(on, query) }.boxed()]]
}

/// Tables of a keyspace's vschema go, or are there. Nothing where that changes nothing.
pub(super) fn vschema(scene: &Scene, keyspace: &str, gone: &[String], there: &[String]) -> Option<Lane> {
    let (value, version) = (scene.vschemas.get(keyspace)?, scene.vschema_versions.get(keyspace)?);
    let path = KeyspaceName::of_request(keyspace).ok()?.vschema_path();
    let set = |tables: &[String]| tables.iter().cloned().collect::<BTreeSet<_>>();
    let edit = Edit::VSchema { gone: set(gone), there: set(there) };
    if edit.apply(value).is_ok_and(|after| after == *value) {
        return None;
    }
    let base = Stored { value: value.clone(), version: *version };
    let (cell, keyspace, shard) = (GLOBAL.into(), keyspace.to_owned(), String::new());
    Some(vec![vec![Act::Edit(Box::new(RecordEdit { cell, path, keyspace, shard, edit, base, back: None }))]])
}

/// The tables are denied no more on a shard, and its tablets are told: also where the record says so already, for whoever wrote it may
/// have told nobody.
pub(super) fn allow(on: &Member, tables: &[String]) -> Lane {
    let control = edit::control(&on.record.value).ok().flatten().unwrap_or_default();
    let is_denied = tables.iter().any(|table| control.denied_tables.contains(table));
    // What is left in the control is another workflow's.
    let edit = Edit::Deny { tables: tables.to_vec(), is_denied: false, allow_reads: control.allow_reads };
    let lane = act::edit_shard(on, edit, None);
    if is_denied { lane } else { lane.into_iter().skip(1).collect() }
}

/// Tablets that have come to shards which denied tables until now are told, too.
pub(super) fn tell(scene: &Scene) -> [Lane; 1] {
    let denies = |on: &&Member| scene.tables.iter().any(|table| on.denied().contains(table));
    [act::newcomers(scene.served.keys(), scene.members().filter(denies))]
}

/// Streams of a workflow on one shard stop where they are.
pub(super) fn stop(on: &Member, workflow: &str) -> Lane {
    let of = format!("db_name = {} and workflow = {}", quote(&on.db_name), quote(workflow));
    let text = format!("update _vt.vreplication set state = 'Stopped' where {of}");
    let look = format!("select state from _vt.vreplication where {of}");
    let sign = Sign::Every(vec![("state", "Stopped".to_owned())]);
    vec![vec![statement(on, "stop", text, (look, sign), None)]]
}

/// Streams of a workflow on one shard go, with their copy states, which the tablet deletes itself, their comparisons and their log.
/// `streams` are those of all shards.
pub(super) fn delete(on: &Member, workflow: &str, streams: &[Stream], is_best_effort: bool) -> Lane {
    let of = format!("db_name = {} and workflow = {}", quote(&on.db_name), quote(workflow));
    let (text, look) =
        (format!("delete from _vt.vreplication where {of}"), format!("select id from _vt.vreplication where {of}"));
    let act = match statement(on, "delete streams", text, (look, Sign::None), None) {
        Act::Call(call) => Call { is_best_effort, ..*call }.boxed(),
        other => other,
    };
    let own = streams.iter().filter(|stream| stream.shard == on.shard).map(|stream| stream.id.to_string());
    let ids = own.collect::<Vec<_>>().join(", ");
    let mut lane = vec![vec![act], vec![act::forget_vdiffs(on, workflow)]];
    lane.extend((!ids.is_empty()).then(|| vec![forget_log(on, &ids)]));
    lane
}

/// The log of streams that are gone: tablets keep it. The second condition: no stream that is there can lose its own.
fn forget_log(on: &Member, ids: &str) -> Act {
    let scope = format!("vrepl_id in ({ids}) and vrepl_id not in (select id from _vt.vreplication)");
    let query = Query::dba("log", format!("delete from _vt.vreplication_log where {scope}"), &on.db_name).that_writes();
    Call { is_best_effort: true, ..Call::new(on, query) }.boxed()
}

/// Every record of a shard: what the cells say of its replication, its own, then its tablets'. The other way around, as the reference
/// does, a shard would name a primary that is not there if this ends in the middle, and nobody could read the keyspace's workflows.
pub(super) fn delete_shard(keyspace: &str, shard: &str, leaving: &Leaving) -> Lane {
    let record = |(cell, path, version): &Versioned| {
        let (cell, path, version) = (cell.clone(), path.clone(), *version);
        Act::Delete(Box::new(Deletion { cell, path, keyspace: keyspace.to_owned(), shard: shard.to_owned(), version }))
    };
    let own = |version| record(&(GLOBAL.to_owned(), format!("keyspaces/{keyspace}/shards/{shard}/Shard"), version));
    vec![
        leaving.replications.iter().map(record).collect(),
        leaving.record.map(own).into_iter().collect(),
        leaving.tablets.iter().map(record).collect(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    // TR-63.
    #[test]
    fn a_renamed_table_has_a_name_that_mysql_takes() {
        assert_eq!(renamed("t1"), "_t1_old");
        let new = renamed(&"x".repeat(62));
        assert_eq!((new.len(), new), (64, format!("_{}_old", "x".repeat(59))));
    }

    #[test]
    fn what_others_made_for_themselves_is_told_by_its_name() {
        for name in ["_vt_hld_6ace8bcef73211ea87e9f875a4d24e90_20200915120410_", "_t1_gho", "_a_20200915120410_vrepl"] {
            assert!(is_internal(name), "{name}");
        }
        for name in ["t1", "t1_old", "vt_x", "corder", "_private"] {
            assert!(!is_internal(name), "{name}");
        }
    }
}
