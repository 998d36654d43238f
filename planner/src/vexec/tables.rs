//! The sidecar tables that `VExec` knows: their columns over all releases, what may be done to them, and how each is scoped.
//!
//! Columns are the union of v10 to v24: a tablet that lacks one says so itself. Facts: `go/vt/sidecardb/schema/vreplication/*.sql`,
//! `go/vt/sidecardb/schema/onlineddl/schema_migrations.sql` (v16 on), `binlog_player.go`, `onlineddl/schema.go` (before).

/// A sidecar table of `VExec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// `_vt.vreplication`: one row per stream. The only one that `VExec` writes.
    Vreplication,
    /// `_vt.vreplication_log`: what happened to streams. v11 on.
    VreplicationLog,
    /// `_vt.copy_state`: how far the copy of each table is.
    CopyState,
    /// `_vt.schema_migrations`: Online DDL.
    SchemaMigrations,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Vreplication, Self::VreplicationLog, Self::CopyState, Self::SchemaMigrations];

    /// Its name without the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vreplication => "vreplication",
            Self::VreplicationLog => "vreplication_log",
            Self::CopyState => "copy_state",
            Self::SchemaMigrations => "schema_migrations",
        }
    }

    /// The columns, in the order of the newest release.
    pub(super) fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Vreplication => VREPLICATION,
            Self::VreplicationLog => &["id", "vrepl_id", "type", "state", "created_at", "updated_at", "message", "count"],
            Self::CopyState => &["id", "vrepl_id", "table_name", "lastpk"],
            Self::SchemaMigrations => SCHEMA_MIGRATIONS,
        }
    }

    /// The column of that name, whatever the case of its letters.
    pub(super) fn column(self, name: &str) -> Option<&'static str> {
        self.columns().iter().find(|column| column.eq_ignore_ascii_case(name)).copied()
    }

    /// The columns that say whose a row is: database and workflow. `None`: a row belongs to the stream in `vrepl_id`.
    pub(super) fn owner_columns(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Vreplication => Some(("db_name", "workflow")),
            // The workflow of a migration is called by the migration's UUID.
            Self::SchemaMigrations => Some(("mysql_schema", "migration_uuid")),
            Self::VreplicationLog | Self::CopyState => None,
        }
    }
}

/// Columns that an update may not change: they say whose the row is.
pub(super) const IMMUTABLE: &[&str] = &["id", "workflow", "db_name"];

/// What `state` may be set to. Any other text than `Stopped` and `Error` starts a stream. Source:
/// `go/vt/proto/binlogdata`, `VReplicationWorkflowState`.
pub(super) const STATES: &[&str] = &["Init", "Stopped", "Copying", "Running", "Error"];

/// Of some names the one that was probably meant: at most [`FURTHEST`] letters off. Names are ASCII.
pub(super) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_ascii_lowercase();
    let letters = wanted.chars().count();
    // Names of another length need not be compared: a statement may have a very long one.
    let alike = names.into_iter().filter(|name| name.len().abs_diff(letters) <= FURTHEST);
    let near = alike.map(|name| (distance(&wanted, &name.to_ascii_lowercase()), name));
    near.filter(|(distance, name)| *distance <= FURTHEST && *distance < name.len()).min().map(|(_, name)| name)
}

/// How many letters off a name may be.
const FURTHEST: usize = 2;

/// Letters to put in, take out or change.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in (1..).zip(a.chars()) {
        let mut diagonal = i - 1;
        let mut left = i;
        let mut next = vec![left];
        for (above, to) in row.iter().skip(1).zip(&b) {
            left = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

const VREPLICATION: &[&str] = &[
    "id",
    "workflow",
    "source",
    "pos",
    "stop_pos",
    "max_tps",
    "max_replication_lag",
    "cell",
    "tablet_types",
    "time_updated",
    "transaction_timestamp",
    "state",
    "message",
    "db_name",
    "rows_copied",
    "tags",
    "time_heartbeat",
    "workflow_type",
    "time_throttled",
    "component_throttled",
    "reason_throttled",
    "workflow_sub_type",
    "defer_secondary_keys",
    "options",
];

const SCHEMA_MIGRATIONS: &[&str] = &[
    "id",
    "migration_uuid",
    "keyspace",
    "shard",
    "mysql_schema",
    "mysql_table",
    "migration_statement",
    "strategy",
    "options",
    "added_timestamp",
    "requested_timestamp",
    "ready_timestamp",
    "started_timestamp",
    "liveness_timestamp",
    "completed_timestamp",
    "cleanup_timestamp",
    "migration_status",
    "log_path",
    "artifacts",
    "retries",
    "tablet",
    "tablet_failure",
    "progress",
    "migration_context",
    "ddl_action",
    "message",
    "message_timestamp",
    "eta_seconds",
    "rows_copied",
    "vreplication_lag_seconds",
    "table_rows",
    "added_unique_keys",
    "removed_unique_keys",
    "log_file",
    "retain_artifacts_seconds",
    "postpone_completion",
    "removed_unique_key_names",
    "dropped_no_default_column_names",
    "expanded_column_names",
    "removed_foreign_key_names",
    "revertible_notes",
    "allow_concurrent",
    "reverted_uuid",
    "is_view",
    "ready_to_complete",
    "ready_to_complete_timestamp",
    "stowaway_table",
    "vitess_liveness_indicator",
    "user_throttle_ratio",
    "special_plan",
    "last_throttled_timestamp",
    "component_throttled",
    "reason_throttled",
    "cancelled_timestamp",
    "postpone_launch",
    "stage",
    "cutover_attempts",
    "last_cutover_attempt_timestamp",
    "force_cutover",
    "cutover_threshold_seconds",
    "is_immediate_operation",
    "in_order_completion_pending_count",
    "reviewed_timestamp",
    "shadow_analyzed_timestamp",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_near() {
        for (given, want) in [
            ("stete", Some("state")),
            ("STATE", Some("state")),
            ("wrkflow", Some("workflow")),
            ("wrkflw", Some("workflow")),
            ("xxstate", Some("state")),
            ("stäte", Some("state")),
            ("xxxstate", None),
            ("xsta", None),
            ("stxyz", None),
            ("di", None),
            ("nothing_like_it", None),
        ] {
            assert_eq!(nearest(given, ["state", "workflow", "id"]), want, "{given}");
        }
    }
}
