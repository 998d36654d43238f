//! One row of `_vt.schema_migrations`: a schema migration as one shard knows it.
//!
//! Columns are found by name, so that rows of every release and of mixed clusters are right. A column that a release lacks, and
//! a number that is none, has its default, as in vtctld. It does not choose rows and does not merge shards.
//!
//! Facts: `go/vt/vtctl/grpcvtctldserver/query.go:rowToSchemaMigration`, `go/vt/sidecardb/schema/onlineddl/schema_migrations.sql`.

use std::str::FromStr;

use crate::{
    formats::{RowError, time::parse_datetime},
    proto::{
        topodata::TabletAlias,
        vtctldata::{
            SchemaMigration,
            schema_migration::{Status, Strategy},
        },
        vttime::{Duration, Time},
    },
    sidecar::Row,
    topo::names,
};

/// Reads one row of `select * from _vt.schema_migrations`, of any release.
///
/// Times are read as UTC. `0000-00-00` is no time. A status that nobody knows is `UNKNOWN`, a strategy that nobody knows has the
/// number -1: neither hides the migration. Those that v22 dropped, `gh-ost` and `pt-osc`, keep their old numbers.
///
/// A time, a number, a retention or a tablet's alias that cannot be read is left empty, and named in the list: it does not hide the
/// migration either.
pub fn read(row: &Row<'_>) -> (SchemaMigration, Vec<RowError>) {
    let mut faults = Vec::new();
    let mut time = |column| noted(time(row, column), &mut faults);
    let (added_at, requested_at) = (time("added_timestamp"), time("requested_timestamp"));
    let (ready_at, started_at) = (time("ready_timestamp"), time("started_timestamp"));
    let (liveness_timestamp, completed_at) = (time("liveness_timestamp"), time("completed_timestamp"));
    let (cleaned_up_at, last_throttled_at) = (time("cleanup_timestamp"), time("last_throttled_timestamp"));
    let cancelled_at = time(if row.value("cancelled_at").is_some() { "cancelled_at" } else { "cancelled_timestamp" });
    let (reviewed_at, ready_to_complete_at) = (time("reviewed_timestamp"), time("ready_to_complete_timestamp"));
    let tablet = noted(tablet(row), &mut faults);
    let artifact_retention = noted(seconds(row, "retain_artifacts_seconds"), &mut faults);
    let migration = SchemaMigration {
        uuid: row.text("migration_uuid"),
        keyspace: row.text("keyspace"),
        shard: row.text("shard"),
        schema: row.text("mysql_schema"),
        table: row.text("mysql_table"),
        migration_statement: row.text("migration_statement"),
        strategy: strategy(&row.text("strategy")),
        options: row.text("options"),
        added_at,
        requested_at,
        ready_at,
        started_at,
        liveness_timestamp,
        completed_at,
        cleaned_up_at,
        status: status(&row.text("migration_status")),
        log_path: row.text("log_path"),
        artifacts: row.text("artifacts"),
        retries: number(row, "retries", &mut faults).unwrap_or_default(),
        tablet,
        tablet_failure: number(row, "tablet_failure", &mut faults) == Some(1_u8),
        progress: number(row, "progress", &mut faults).unwrap_or_default(),
        migration_context: row.text("migration_context"),
        ddl_action: row.text("ddl_action"),
        message: row.text("message"),
        eta_seconds: number(row, "eta_seconds", &mut faults).unwrap_or(-1),
        rows_copied: number(row, "rows_copied", &mut faults).unwrap_or_default(),
        table_rows: number(row, "table_rows", &mut faults).unwrap_or_default(),
        added_unique_keys: number(row, "added_unique_keys", &mut faults).unwrap_or_default(),
        removed_unique_keys: number(row, "removed_unique_keys", &mut faults).unwrap_or_default(),
        log_file: row.text("log_file"),
        artifact_retention,
        postpone_completion: number(row, "postpone_completion", &mut faults) == Some(1_u8),
        removed_unique_key_names: row.text("removed_unique_key_names"),
        dropped_no_default_column_names: row.text("dropped_no_default_column_names"),
        expanded_column_names: row.text("expanded_column_names"),
        revertible_notes: row.text("revertible_notes"),
        allow_concurrent: number(row, "allow_concurrent", &mut faults) == Some(1_u8),
        reverted_uuid: row.text("reverted_uuid"),
        is_view: number(row, "is_view", &mut faults) == Some(1_u8),
        ready_to_complete: number(row, "ready_to_complete", &mut faults) == Some(1_u8),
        vitess_liveness_indicator: number(row, "vitess_liveness_indicator", &mut faults).unwrap_or_default(),
        user_throttle_ratio: number(row, "user_throttle_ratio", &mut faults).unwrap_or_default(),
        special_plan: row.text("special_plan"),
        last_throttled_at,
        component_throttled: row.text("component_throttled"),
        cancelled_at,
        postpone_launch: number(row, "postpone_launch", &mut faults) == Some(1_u8),
        stage: row.text("stage"),
        cutover_attempts: number(row, "cutover_attempts", &mut faults).unwrap_or_default(),
        is_immediate_operation: number(row, "is_immediate_operation", &mut faults) == Some(1_u8),
        reviewed_at,
        ready_to_complete_at,
        removed_foreign_key_names: row.text("removed_foreign_key_names"),
        in_order_completion_pending_count: number(row, "in_order_completion_pending_count", &mut faults).unwrap_or_default(),
    };
    (migration, faults)
}

/// The value, or nothing and a word about it.
fn noted<T>(read: Result<Option<T>, RowError>, faults: &mut Vec<RowError>) -> Option<T> {
    read.unwrap_or_else(|error| {
        faults.push(error);
        None
    })
}

fn status(text: &str) -> i32 {
    Status::from_str_name(&text.to_uppercase()).unwrap_or(Status::Unknown).into()
}

fn strategy(text: &str) -> i32 {
    if text.is_empty() {
        return Strategy::Direct.into();
    }
    match text.to_uppercase().replace('-', "").as_str() {
        // The older name of the same strategy.
        "ONLINE" => Strategy::Vitess.into(),
        name => Strategy::from_str_name(name).map_or(NO_STRATEGY, Into::into),
    }
}

/// A number; `None` if it is NULL, or there is no such column. What is stored and is none is named.
fn number<N: FromStr<Err: ToString>>(row: &Row<'_>, column: &'static str, faults: &mut Vec<RowError>) -> Option<N> {
    let stored = row.value(column).flatten().filter(|stored| !stored.is_empty())?;
    let read = std::str::from_utf8(stored).map_err(|error| error.to_string());
    let read = read.and_then(|text| text.parse().map_err(|error: N::Err| error.to_string()));
    noted(read.map(Some).map_err(|why| RowError::new(column, why, stored)), faults)
}

fn time(row: &Row<'_>, column: &'static str) -> Result<Option<Time>, RowError> {
    let text = row.text(column);
    if text.is_empty() || text.starts_with("0000-00-00") {
        return Ok(None);
    }
    let seconds = parse_datetime(&text).map_err(|why| RowError::new(column, why, text.as_bytes()))?;
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let nanoseconds = format!("{fraction:0<9}").get(..9).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    Ok(Some(Time { seconds, nanoseconds }))
}

fn seconds(row: &Row<'_>, column: &'static str) -> Result<Option<Duration>, RowError> {
    let text = row.text(column);
    if text.is_empty() {
        return Ok(None);
    }
    let seconds = text.parse().map_err(|_| RowError::new(column, "invalid duration", text.as_bytes()))?;
    Ok(Some(Duration { seconds, nanos: 0 }))
}

fn tablet(row: &Row<'_>) -> Result<Option<TabletAlias>, RowError> {
    let text = row.text("tablet");
    if text.is_empty() {
        return Ok(None);
    }
    names::parse_alias(&text).map(Some).map_err(|why| RowError::new("tablet", why, b""))
}

/// The number of a strategy that has no name.
const NO_STRATEGY: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proto::query::{Field, QueryResult, Row as WireRow},
        sidecar::RowSet,
    };

    /// Reads a row with these columns; `None` is NULL.
    fn read_row(columns: &[(&str, Option<&str>)]) -> (SchemaMigration, Vec<RowError>) {
        let field = |name: &str| Field { name: name.as_bytes().to_vec(), r#type: 10_262, ..Field::default() };
        let row = WireRow {
            lengths: columns.iter().map(|(_, value)| value.map_or(-1, |text| i64::try_from(text.len()).unwrap())).collect(),
            values: columns.iter().filter_map(|(_, value)| *value).collect::<String>().into_bytes(),
        };
        let fields = columns.iter().map(|(name, _)| field(name)).collect();
        let result = QueryResult { fields, rows: vec![row], ..QueryResult::default() };
        let set = RowSet::new(result).unwrap();
        read(&set.rows().next().unwrap())
    }

    fn one(column: &str, value: &str) -> SchemaMigration {
        let (migration, faults) = read_row(&[(column, Some(value))]);
        assert!(faults.is_empty(), "{column} {value}: {faults:?}");
        migration
    }

    #[test]
    fn a_column_that_cannot_be_read_is_empty_and_named() {
        let row =
            [("migration_uuid", Some("u1")), ("added_timestamp", Some("0")), ("ready_timestamp", Some("2024-00-00 00:00:00"))];
        let more =
            [("tablet", Some("nowhere")), ("retain_artifacts_seconds", Some("long")), ("migration_status", Some("running"))];
        let (migration, faults) = read_row(&[&row[..], &more[..]].concat());
        assert_eq!((migration.uuid.as_str(), migration.status), ("u1", 5));
        let empty = (migration.added_at, migration.ready_at, migration.tablet, migration.artifact_retention);
        assert_eq!(empty, (None, None, None, None));
        let columns: Vec<_> = faults.iter().map(|fault| fault.column).collect();
        assert_eq!(columns, ["added_timestamp", "ready_timestamp", "tablet", "retain_artifacts_seconds"]);
        assert!(faults.iter().any(|fault| fault.reason.contains("cannot parse \"0\" as \"2006\"")), "{faults:?}");
    }

    #[test]
    fn a_column_that_is_not_there_has_its_default() {
        let none = read_row(&[]);
        assert_eq!(none, (SchemaMigration { eta_seconds: -1, strategy: 3, ..SchemaMigration::default() }, vec![]));
        assert_eq!(read_row(&[("eta_seconds", None), ("strategy", None), ("progress", None)]), none);
        let numbers = [("retries", Some("many")), ("eta_seconds", Some("")), ("is_view", Some("2"))];
        let (migration, faults) = read_row(&numbers);
        assert_eq!(migration, none.0, "numbers that are none");
        assert_eq!(
            faults.iter().map(|fault| fault.column).collect::<Vec<_>>(),
            ["retries"],
            "what is there and is none is named"
        );
    }

    #[test]
    fn times_are_utc_with_their_fraction() {
        let completed = |text: &str| one("completed_timestamp", text).completed_at;
        let want = Some(Time { seconds: 1_704_164_645, nanoseconds: 678_901_000 });
        assert_eq!(completed("2024-01-02 03:04:05.678901"), want);
        assert_eq!(completed("2024-01-02 03:04:05"), Some(Time { seconds: 1_704_164_645, nanoseconds: 0 }));
        assert_eq!(completed("2024-01-02 03:04:05.1234567890123").unwrap().nanoseconds, 123_456_789);
        assert_eq!((completed("0000-00-00 00:00:00.000000"), completed("")), (None, None));
    }

    #[test]
    fn cancelled_at_is_filled_from_the_column_that_exists() {
        let time = "2024-01-02 03:04:05";
        let want = Some(Time { seconds: 1_704_164_645, nanoseconds: 0 });
        assert_eq!(one("cancelled_timestamp", time).cancelled_at, want);
        assert_eq!(one("cancelled_at", time).cancelled_at, want);
    }

    #[test]
    fn names_of_every_release_are_known() {
        for (text, want) in
            [("online", 0), ("VITESS", 0), ("", 3), ("direct", 3), ("mysql", 4), ("gh-ost", 1), ("pt-osc", 2), ("new", -1)]
        {
            assert_eq!(one("strategy", text).strategy, want, "{text:?}");
        }
        for (text, want) in [("requested", 1), ("cancelled", 2), ("Complete", 6), ("failed", 7), ("", 0), ("thinking", 0)] {
            assert_eq!(one("migration_status", text).status, want, "{text:?}");
        }
        assert_eq!(one("tablet", "us-east-1-0000000100").tablet, Some(TabletAlias { cell: "us-east-1".into(), uid: 100 }));
        let kept = |text: &str| one("retain_artifacts_seconds", text).artifact_retention;
        assert_eq!((kept("-1").unwrap().seconds, kept("0").unwrap().seconds, kept("")), (-1, 0, None));
        let large = one("rows_copied", "18446744073709551615");
        assert_eq!((large.rows_copied, one("progress", "99.5").progress.to_bits()), (u64::MAX, 99.5_f32.to_bits()));
        assert!(one("is_view", "1").is_view && one("postpone_launch", "1").postpone_launch);
    }
}
