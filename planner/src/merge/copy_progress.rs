//! How much of each table is copied: statistics of both sides, and the streams' own counts where those lag behind.
//!
//! Facts: `go/vt/vtctl/workflow/server.go:GetCopyProgress`, v24. MySQL's statistics are estimates and refreshed now and then: at the
//! beginning of a copy they say 0. What a stream has counted is exact.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    proto::vtctldata::{TableCopyPhase, Workflow, workflow::ShardStream, workflow_status_response::TableCopyState},
    rows::RowSet,
};

/// Rows and bytes of one table on one tablet, as `information_schema` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    rows: i64,
    bytes: i64,
}

/// The sizes of tables on one tablet.
pub(crate) type Sizes = BTreeMap<String, Size>;

/// The sizes that a tablet answered. A NULL (a view, a table without statistics) counts as 0.
pub(crate) fn sizes(rows: &RowSet) -> Sizes {
    let number = |row: &crate::rows::Row<'_>, columns: [&str; 2]| {
        let value = columns.iter().find_map(|column| row.value(column)).flatten();
        value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
    };
    let name = |row: &crate::rows::Row<'_>| {
        // MySQL 8 prints the names of these columns in capitals unless asked for by alias.
        if rows.has_column("table_name") { row.text("table_name") } else { row.text("TABLE_NAME") }
    };
    rows.rows()
        .map(|row| {
            let size =
                Size { rows: number(&row, ["table_rows", "TABLE_ROWS"]), bytes: number(&row, ["data_length", "DATA_LENGTH"]) };
            (name(&row), size)
        })
        .collect()
}

/// The tables that the workflow names. A rule that is a pattern (`/.*`) names none.
pub(crate) fn tables(workflow: &Workflow) -> BTreeSet<String> {
    let streams = workflow.shard_streams.values().flat_map(|shard| &shard.streams);
    let rules = streams.filter_map(|stream| Some(&stream.binlog_source.as_ref()?.filter.as_ref()?.rules)).flatten();
    rules.map(|rule| rule.r#match.clone()).filter(|table| !table.is_empty() && !table.starts_with('/')).collect()
}

/// The tables whose copy has not ended on every shard.
pub(crate) fn in_progress(workflow: &Workflow) -> BTreeSet<String> {
    let streams = workflow.shard_streams.values().flat_map(|shard| &shard.streams);
    streams.flat_map(|stream| &stream.copy_states).map(|state| state.table.clone()).collect()
}

/// The progress of each table. `targets` by the key of `shard_streams`; `sources` in any order.
pub(crate) fn merge(
    workflow: &Workflow,
    targets: &BTreeMap<String, Sizes>,
    sources: &[Sizes],
) -> BTreeMap<String, TableCopyState> {
    let in_progress = in_progress(workflow);
    let mut copied: Sizes = in_progress.iter().map(|table| (table.clone(), Size::default())).collect();
    for sizes in targets.values() {
        add(&mut copied, sizes);
    }
    for (key, shard) in &workflow.shard_streams {
        let counted = targets.get(key).map_or(0, |sizes| sizes.values().map(|size| size.rows).sum());
        if let Some((table, rows)) = uncounted(shard, counted) {
            copied.entry(table).or_default().rows += rows;
        }
    }
    let mut total = Sizes::new();
    for sizes in sources {
        add(&mut total, sizes);
    }
    let state = |(table, copied): (String, Size)| {
        let total = total.get(&table).copied().unwrap_or_default();
        let phase = if !in_progress.contains(&table) {
            TableCopyPhase::Complete
        } else if copied.rows > 0 {
            TableCopyPhase::InProgress
        } else {
            TableCopyPhase::NotStarted
        };
        let state = TableCopyState {
            rows_copied: copied.rows,
            rows_total: total.rows,
            rows_percentage: percentage(copied.rows, total.rows),
            bytes_copied: copied.bytes,
            bytes_total: total.bytes,
            bytes_percentage: percentage(copied.bytes, total.bytes),
            phase: phase.into(),
        };
        (table, state)
    };
    copied.into_iter().map(state).collect()
}

/// The table that is being copied on a shard, and the rows of it that the streams have copied and the statistics do not show.
/// `None`: nothing is missing, or it cannot be told to which table it belongs.
fn uncounted(shard: &ShardStream, counted: i64) -> Option<(String, i64)> {
    let copied: i64 = shard.streams.iter().map(|stream| stream.rows_copied).fold(0, i64::saturating_add);
    let states = shard.streams.iter().flat_map(|stream| &stream.copy_states);
    let mut under_way: BTreeSet<&str> =
        states.filter(|state| !state.last_pk.is_empty()).map(|state| state.table.as_str()).collect();
    let table = under_way.pop_first()?;
    let missing = copied.saturating_sub(counted);
    (under_way.is_empty() && missing > 0).then(|| (table.to_owned(), missing))
}

fn add(sums: &mut Sizes, sizes: &Sizes) {
    for (table, size) in sizes {
        let sum = sums.entry(table.clone()).or_default();
        sum.rows = sum.rows.saturating_add(size.rows);
        sum.bytes = sum.bytes.saturating_add(size.bytes);
    }
}

/// Of an empty table everything is copied.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a percentage of a float field")]
fn percentage(part: i64, whole: i64) -> f32 {
    if whole <= 0 { 100.0 } else { (100.0 * part as f64 / whole as f64) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::vtctldata::workflow::{Stream, stream::CopyState};

    fn size(rows: i64, bytes: i64) -> Size {
        Size { rows, bytes }
    }

    fn sizes_of(list: &[(&str, i64, i64)]) -> Sizes {
        list.iter().map(|&(table, rows, bytes)| (table.to_owned(), size(rows, bytes))).collect()
    }

    /// One shard with one stream: rows copied, and the tables not copied yet with their last keys.
    fn copying(rows_copied: i64, tables: &[(&str, &str)]) -> Workflow {
        let state = |&(table, last_pk): &(&str, &str)| CopyState { table: table.into(), last_pk: last_pk.into(), stream_id: 1 };
        let stream = Stream { rows_copied, copy_states: tables.iter().map(state).collect(), ..Stream::default() };
        let shard = ShardStream { streams: vec![stream], ..ShardStream::default() };
        Workflow { shard_streams: BTreeMap::from([("-/a".into(), shard)]), ..Workflow::default() }
    }

    fn shown(states: &BTreeMap<String, TableCopyState>) -> Vec<(&str, i64, i64, f32, i32)> {
        states.iter().map(|(name, s)| (name.as_str(), s.rows_copied, s.rows_total, s.rows_percentage, s.phase)).collect()
    }

    #[test]
    fn statistics_of_both_sides_are_summed() {
        let workflow = copying(200, &[("table2", ""), ("table3", "")]);
        let targets =
            BTreeMap::from([("-/a".to_owned(), sizes_of(&[("table1", 100, 1000), ("table2", 100, 250), ("table3", 0, 16)]))]);
        let half = [sizes_of(&[("table1", 50, 500), ("table2", 100, 250), ("table3", 2500, 16_000)])];
        let states = merge(&workflow, &targets, &[half.clone(), half].concat());
        let want = [("table1", 100, 100, 100.0, 3), ("table2", 100, 200, 50.0, 2), ("table3", 0, 5000, 0.0, 1)];
        assert_eq!(shown(&states), want);
        assert_eq!((states["table3"].bytes_total, states["table3"].bytes_percentage), (32_000, 0.05));
    }

    #[test]
    fn streams_know_of_rows_that_statistics_do_not_show() {
        let sources = [sizes_of(&[("big", 1000, 10)])];
        // Statistics still say 0; the stream has copied 250 rows of the one table under way.
        let targets = BTreeMap::from([("-/a".to_owned(), sizes_of(&[("big", 0, 16_384)]))]);
        let states = merge(&copying(250, &[("big", "pk"), ("next", "")]), &targets, &sources);
        assert_eq!(shown(&states), [("big", 250, 1000, 25.0, 2), ("next", 0, 0, 100.0, 1)]);
        // Without any statistics of the target, too.
        let states = merge(&copying(250, &[("big", "pk")]), &BTreeMap::new(), &sources);
        assert_eq!(shown(&states), [("big", 250, 1000, 25.0, 2)]);
        // Tables that are done have their share; statistics that say more are left alone.
        let done = BTreeMap::from([("-/a".to_owned(), sizes_of(&[("done", 200, 1), ("big", 0, 1)]))]);
        assert_eq!(merge(&copying(250, &[("big", "pk")]), &done, &sources)["big"].rows_copied, 50);
        assert_eq!(merge(&copying(150, &[("big", "pk")]), &done, &sources)["big"].rows_copied, 0);
        // Two tables at once: nobody knows whose rows they are.
        let states = merge(&copying(250, &[("a", "pk"), ("b", "pk")]), &BTreeMap::new(), &sources);
        assert!(states.values().all(|state| state.rows_copied == 0));
    }

    #[test]
    fn tables_are_those_named_in_full() {
        use crate::proto::binlogdata::{BinlogSource, Filter, Rule};
        let rule = |table: &str| Rule { r#match: table.into(), ..Rule::default() };
        let filter = Filter { rules: vec![rule("t2"), rule("/.*"), rule("t1"), rule("t2")], ..Filter::default() };
        let source = BinlogSource { filter: Some(filter), ..BinlogSource::default() };
        let stream = Stream { binlog_source: Some(source), ..Stream::default() };
        let shard = ShardStream { streams: vec![stream], ..ShardStream::default() };
        let workflow = Workflow { shard_streams: BTreeMap::from([("x".into(), shard)]), ..Workflow::default() };
        assert_eq!(tables(&workflow).into_iter().collect::<Vec<_>>(), ["t1", "t2"]);
    }
}
