//! How much of each table is copied: statistics of both sides, and the streams' own counts where those lag behind.
//!
//! Facts: `go/vt/vtctl/workflow/server.go:GetCopyProgress`, v24. MySQL's statistics are estimates and refreshed now and then: at the
//! beginning of a copy they say 0. What a stream has counted is exact. What cannot be known is never made up: such a total is 0
//! and its percentage 0, which no table that is known has (of an empty one that is copied, 100 % are).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    proto::vtctldata::{TableCopyPhase, Workflow, workflow::ShardStream, workflow_status_response::TableCopyState},
    sidecar::RowSet,
};

/// Rows and bytes of one table on one tablet, as `information_schema` has them; `None`: it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    rows: Option<i64>,
    bytes: Option<i64>,
}

/// The sizes of tables on one tablet.
pub(crate) type Sizes = BTreeMap<String, Size>;

/// The sizes that a tablet answered. A NULL (a view, a table without statistics) is not known.
pub(crate) fn sizes(rows: &RowSet) -> Sizes {
    let number = |row: &crate::sidecar::Row<'_>, columns: [&str; 2]| {
        let value = columns.iter().find_map(|column| row.value(column)).flatten()?;
        i64::try_from(std::str::from_utf8(value).ok()?.parse::<u64>().ok()?).ok()
    };
    let name = |row: &crate::sidecar::Row<'_>| {
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

/// Whose statistics are there.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    /// Of the targets, by the key of `shard_streams`. A target without an entry did not say.
    pub(crate) targets: BTreeMap<String, Sizes>,
    /// Of the sources, in any order.
    pub(crate) sources: Vec<Sizes>,
    /// Whether every source is among `sources`.
    pub(crate) has_all_sources: bool,
    /// Whether all that the workflow copies is known: the streams of every shard, and their copy states.
    pub(crate) has_all_streams: bool,
}

/// The progress of each table.
pub(crate) fn merge(workflow: &Workflow, statistics: &Statistics) -> BTreeMap<String, TableCopyState> {
    let Statistics { targets, sources, has_all_sources, has_all_streams } = statistics;
    let in_progress = in_progress(workflow);
    let has_all_targets = *has_all_streams && workflow.shard_streams.keys().all(|key| targets.contains_key(key));
    let mut copied: BTreeMap<String, Sum> = in_progress.iter().map(|table| (table.clone(), Sum::default())).collect();
    for (table, size) in targets.values().flatten() {
        copied.entry(table.clone()).or_default().add(size);
    }
    for (key, shard) in &workflow.shard_streams {
        let counted = targets.get(key).into_iter().flat_map(BTreeMap::values).filter_map(|size| size.rows);
        if let Some((table, rows)) = uncounted(shard, counted.fold(0, i64::saturating_add)) {
            let sum = copied.entry(table).or_default();
            sum.rows = sum.rows.saturating_add(rows);
        }
    }
    let mut totals: BTreeMap<&str, Sum> = BTreeMap::new();
    for (table, size) in sources.iter().flatten() {
        totals.entry(table).or_default().add(size);
    }
    let state = |(table, copied): (String, Sum)| {
        let is_complete = !in_progress.contains(&table);
        let total = totals.get(table.as_str()).copied().unwrap_or_default();
        let has_total = *has_all_sources && total.tablets == sources.len();
        let of = |copied: i64, has_copied: bool, whole: i64, has_whole: bool| {
            let is_known = has_all_targets && has_copied && has_total && has_whole && (whole > 0 || is_complete);
            if is_known { (whole, percentage(copied, whole)) } else { (0, 0.0) }
        };
        let (rows_total, rows_percentage) = of(copied.rows, copied.has_rows, total.rows, total.has_rows);
        let (bytes_total, bytes_percentage) = of(copied.bytes, copied.has_bytes, total.bytes, total.has_bytes);
        let phase = if is_complete && *has_all_streams {
            TableCopyPhase::Complete
        } else if !is_complete && copied.rows > 0 {
            TableCopyPhase::InProgress
        } else if !is_complete && has_all_targets && copied.has_rows {
            TableCopyPhase::NotStarted
        } else {
            TableCopyPhase::Unknown
        };
        let state = TableCopyState {
            rows_copied: copied.rows,
            rows_total,
            rows_percentage,
            bytes_copied: copied.bytes,
            bytes_total,
            bytes_percentage,
            phase: phase.into(),
        };
        (table, state)
    };
    copied.into_iter().map(state).collect()
}

/// What tablets say of one table, together.
#[derive(Clone, Copy)]
struct Sum {
    rows: i64,
    /// Whether every tablet that knows the table says how many.
    has_rows: bool,
    bytes: i64,
    has_bytes: bool,
    /// How many know the table.
    tablets: usize,
}

impl Default for Sum {
    fn default() -> Self {
        Self { rows: 0, has_rows: true, bytes: 0, has_bytes: true, tablets: 0 }
    }
}

impl Sum {
    fn add(&mut self, size: &Size) {
        self.rows = self.rows.saturating_add(size.rows.unwrap_or(0));
        self.bytes = self.bytes.saturating_add(size.bytes.unwrap_or(0));
        self.has_rows &= size.rows.is_some();
        self.has_bytes &= size.bytes.is_some();
        self.tablets += 1;
    }
}

/// The table that is being copied on a shard, and the rows of it that the streams have copied and the statistics do not show.
/// `None`: it cannot be told to which table they belong.
fn uncounted(shard: &ShardStream, counted: i64) -> Option<(String, i64)> {
    let copied: i64 = shard.streams.iter().map(|stream| stream.rows_copied).fold(0, i64::saturating_add);
    let states = shard.streams.iter().flat_map(|stream| &stream.copy_states);
    let mut under_way: BTreeSet<&str> =
        states.filter(|state| !state.last_pk.is_empty()).map(|state| state.table.as_str()).collect();
    let table = under_way.pop_first()?;
    under_way.is_empty().then(|| (table.to_owned(), copied.saturating_sub(counted).max(0)))
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
        Size { rows: Some(rows), bytes: Some(bytes) }
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

    /// The one target of [`copying`] and these sources, all of them read.
    fn read(target: &[(&str, i64, i64)], sources: &[Sizes]) -> Statistics {
        Statistics {
            targets: BTreeMap::from([("-/a".to_owned(), sizes_of(target))]),
            sources: sources.to_vec(),
            has_all_sources: true,
            has_all_streams: true,
        }
    }

    #[test]
    fn statistics_of_both_sides_are_summed() {
        let workflow = copying(200, &[("table2", ""), ("table3", "")]);
        let half = sizes_of(&[("table1", 50, 500), ("table2", 100, 250), ("table3", 2500, 16_000)]);
        let statistics = read(&[("table1", 100, 1000), ("table2", 100, 250), ("table3", 0, 16)], &[half.clone(), half]);
        let states = merge(&workflow, &statistics);
        let want = [("table1", 100, 100, 100.0, 3), ("table2", 100, 200, 50.0, 2), ("table3", 0, 5000, 0.0, 1)];
        assert_eq!(shown(&states), want);
        assert_eq!((states["table3"].bytes_total, states["table3"].bytes_percentage), (32_000, 0.05));
    }

    #[test]
    fn streams_know_of_rows_that_statistics_do_not_show() {
        let sources = [sizes_of(&[("big", 1000, 10), ("next", 7, 1)])];
        // Statistics still say 0; the stream has copied 250 rows of the one table under way.
        let states = merge(&copying(250, &[("big", "pk"), ("next", "")]), &read(&[("big", 0, 16_384)], &sources));
        assert_eq!(shown(&states), [("big", 250, 1000, 25.0, 2), ("next", 0, 7, 0.0, 1)]);
        // Tables that are done have their share; statistics that say more are left alone.
        let done = [("done", 200, 1), ("big", 0, 1)];
        assert_eq!(merge(&copying(250, &[("big", "pk")]), &read(&done, &sources))["big"].rows_copied, 50);
        assert_eq!(merge(&copying(150, &[("big", "pk")]), &read(&done, &sources))["big"].rows_copied, 0);
        // Two tables at once: nobody knows whose rows they are.
        let states = merge(&copying(250, &[("a", "pk"), ("b", "pk")]), &read(&[], &sources));
        assert!(states.values().all(|state| state.rows_copied == 0));
    }

    /// Total and percentage 0 say so; nothing else does.
    #[test]
    fn what_is_not_known_is_no_percentage() {
        let workflow = copying(250, &[("big", "pk"), ("next", "")]);
        let target = [("big", 0, 10), ("done", 0, 0), ("next", 0, 0)];
        let source = sizes_of(&[("big", 1000, 10), ("done", 0, 0), ("next", 7, 1)]);
        let known = || read(&target, std::slice::from_ref(&source));
        let want = [("big", 250, 1000, 25.0, 2), ("done", 0, 0, 100.0, 3), ("next", 0, 7, 0.0, 1)];
        assert_eq!(shown(&merge(&workflow, &known())), want, "all is known");
        let nothing = |phases: [i32; 3]| {
            let [big, done, next] = phases;
            [("big", 250, 0, 0.0, big), ("done", 0, 0, 0.0, done), ("next", 0, 0, 0.0, next)]
        };
        for (name, statistics, want) in [
            ("no source", Statistics { sources: vec![], has_all_sources: false, ..known() }, nothing([2, 3, 1])),
            ("one source of two", Statistics { has_all_sources: false, ..known() }, nothing([2, 3, 1])),
            (
                "a source that lacks the tables",
                Statistics { sources: vec![source.clone(), Sizes::new()], ..known() },
                nothing([2, 3, 1]),
            ),
            ("a shard whose streams are not known", Statistics { has_all_streams: false, ..known() }, nothing([2, 0, 0])),
        ] {
            let states = merge(&workflow, &statistics);
            assert_eq!(shown(&states), want, "{name}");
            assert!(states.values().all(|state| state.bytes_total == 0 && state.bytes_percentage == 0.0), "{name}");
        }
        let silent = Statistics { targets: BTreeMap::new(), ..known() };
        assert_eq!(
            shown(&merge(&workflow, &silent)),
            [("big", 250, 0, 0.0, 2), ("next", 0, 0, 0.0, 0)],
            "a target that does not say"
        );
        // An estimate of 0 for a table that is not copied yet is none; a view has no rows at all.
        let view = Sizes::from([("big".into(), Size { rows: Some(0), bytes: None }), ("next".into(), Size::default())]);
        let states = merge(&workflow, &read(&target, &[view]));
        assert_eq!((states["big"].rows_total, states["big"].rows_percentage, states["big"].bytes_percentage), (0, 0.0, 0.0));
        assert_eq!((states["next"].rows_total, states["next"].rows_percentage), (0, 0.0));
    }

    /// One tablet of two that does not say: the sum of the others is not the total.
    #[test]
    fn a_total_is_known_when_every_tablet_says_its_part() {
        let workflow = copying(250, &[("big", "pk")]);
        let whole = sizes_of(&[("big", 1000, 80)]);
        let without = |rows, bytes| Sizes::from([("big".to_owned(), Size { rows, bytes })]);
        let big = |sources: &[Sizes]| {
            let state = merge(&workflow, &read(&[("big", 100, 20)], sources)).remove("big").unwrap();
            (state.rows_total, state.rows_percentage, state.bytes_total, state.bytes_percentage)
        };
        assert_eq!(big(&[whole.clone(), whole.clone()]), (2000, 12.5, 160, 12.5));
        for sources in [[whole.clone(), without(None, Some(80))], [without(None, Some(80)), whole.clone()]] {
            assert_eq!(big(&sources), (0, 0.0, 160, 12.5), "rows");
        }
        for sources in [[whole.clone(), without(Some(1000), None)], [without(Some(1000), None), whole]] {
            assert_eq!(big(&sources), (2000, 12.5, 0, 0.0), "bytes");
        }
    }

    #[test]
    fn numbers_of_any_size_are_summed() {
        let huge = || sizes_of(&[("big", i64::MAX, i64::MAX)]);
        let target = [("big", i64::MAX, i64::MAX), ("more", i64::MAX, 1)];
        let states = merge(&copying(i64::MAX, &[("big", "pk")]), &read(&target, &[huge(), huge()]));
        assert_eq!((states["big"].rows_copied, states["big"].rows_total), (i64::MAX, i64::MAX));
        let negative = merge(&copying(i64::MIN, &[("big", "pk")]), &read(&[("big", 1, 1)], &[huge()]));
        assert_eq!(negative["big"].rows_copied, 1);
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
