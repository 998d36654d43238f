//! What a tablet of a given Vitess release knows and how it words its errors.
//!
//! Only facts that differ between releases live here, as methods of [`Release`]; nothing is executed. Facts: measured on v16.0.7,
//! v18.0.8, v20.0.8, v22.0.3 and v24, the rest read from the sources of the tags v10 to v22.

use std::collections::BTreeSet;

use crate::snapshot::TabletRows;

/// A major release of Vitess, 10 to 24. What is newer than 24 counts as 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(u8);

impl Release {
    /// The oldest release that an embedded tablet can imitate.
    pub const OLDEST: Self = Self(10);
    /// The newest one.
    pub const NEWEST: Self = Self(24);

    /// From a major version; what lies outside 10 to 24 becomes the nearest one within.
    pub fn new(major: u8) -> Self {
        Self(major.clamp(Self::OLDEST.0, Self::NEWEST.0))
    }

    /// The major version.
    pub fn major(self) -> u8 {
        self.0
    }

    /// What a tablet of this release shows of its build at `/debug/vars`. Source: `go/vt/servenv/buildinfo.go`.
    pub fn variables(self) -> serde_json::Value {
        serde_json::json!({
            "BuildHost": "embedded",
            "BuildUser": "vtflow",
            "BuildTimestamp": 0,
            "BuildGitRev": format!("v{}", self.0),
            "BuildVersion": format!("{}.0.0", self.0),
        })
    }

    /// From a text such as `v18.0.8`, `24.0.0-SNAPSHOT`; `None` when it does not begin with a number.
    pub fn from_text(text: &str) -> Option<Self> {
        let digits: String = text.trim_start_matches('v').chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().map(Self::new)
    }

    /// The release of a tablet in a snapshot: as written there, or else the oldest that has all its sidecar columns.
    pub fn of(rows: &TabletRows) -> Self {
        if let Some(release) = rows.vitess_release.as_deref().and_then(Self::from_text) {
            return release;
        }
        let columns: BTreeSet<(&str, &str)> = rows
            .sidecar
            .iter()
            .flat_map(|(table, content)| content.columns.iter().map(move |column| (table.as_str(), column.name.as_str())))
            .collect();
        let newest = SIGNS.iter().find(|(_, table, column)| columns.contains(&(table, column)));
        newest.map_or(Self::OLDEST, |(major, _, _)| Self::new(*major))
    }

    /// Whether the `TabletManager` service has the method.
    pub fn has_rpc(self, method: &str) -> bool {
        RPCS.iter().any(|(name, since, until)| *name == method && (*since..=*until).contains(&self.0))
    }

    /// Whether the text of an error stands twice in the status (`<rpc> on <alias> error: <e>: <e>`).
    pub fn wraps_twice(self) -> bool {
        self.0 <= 18
    }

    /// Whether a status has the code of its error; older tablets say UNKNOWN for nearly everything.
    pub fn maps_codes(self) -> bool {
        self.0 >= 23
    }

    /// Whether UPDATE and DELETE need `id` or `workflow` in WHERE.
    pub fn selective_where(self) -> bool {
        self.0 >= 19
    }

    /// Whether a plan looks at the first FROM item only. Older tablets compare the text of the whole FROM clause.
    pub fn checks_first_table_only(self) -> bool {
        self.0 >= 17
    }

    /// Whether `vreplication_log` exists and is readable.
    pub fn has_log(self) -> bool {
        self.0 >= 11
    }

    /// Whether a second statement is named as such. Older parsers stumble over it.
    pub fn counts_statements(self) -> bool {
        self.0 >= 22
    }

    /// Whether `ExecuteFetchAsDba` runs several statements and answers the first one's result.
    pub fn runs_many_as_dba(self) -> bool {
        self.0 <= 16
    }

    /// Whether an INSERT's result says that the insert id changed.
    pub fn reports_insert_id_changed(self) -> bool {
        self.0 >= 22
    }

    /// Whether a deleted stream without a running controller leaves a log row.
    pub fn logs_deletion_of_idle_streams(self) -> bool {
        self.0 <= 20
    }

    /// Whether the source of a stream that is not going to run is read all the same.
    pub fn reads_sources_of_stopped_streams(self) -> bool {
        self.0 >= 18
    }

    /// Whether `UpdateVReplicationWorkflow` leaves streams of other databases alone that have the workflow's name.
    pub fn updates_own_database_only(self) -> bool {
        self.0 >= 24
    }

    /// Whether `UpdateVReplicationWorkflow` tells what a request leaves out from the first value of an enum.
    pub fn tells_absent_from_zero(self) -> bool {
        self.0 >= 21
    }

    /// Whether `UpdateVReplicationWorkflow` knows `config_overrides`.
    pub fn overrides_config(self) -> bool {
        self.0 >= 21
    }

    /// Whether `UpdateVReplicationWorkflow` writes the column `message`.
    pub fn updates_messages(self) -> bool {
        self.0 >= 22
    }

    /// Whether `UpdateVReplicationWorkflow` knows `filter_rules`.
    pub fn adds_filter_rules(self) -> bool {
        self.0 >= 23
    }

    /// Whether too many rows are a MySQL error (with errno) instead of one of the tablet.
    pub fn row_limit_is_sql_error(self) -> bool {
        self.0 <= 14
    }
}

/// Columns that tell a release, newest first: `(since, table, column)`.
const SIGNS: &[(u8, &str, &str)] = &[
    (24, "schema_migrations", "in_order_completion_pending_count"),
    (22, "schema_migrations", "cutover_threshold_seconds"),
    (21, "vreplication", "reason_throttled"),
    (20, "vreplication", "options"),
    (19, "schema_migrations", "force_cutover"),
    (17, "schema_migrations", "ready_to_complete_timestamp"),
    (16, "vreplication", "defer_secondary_keys"),
    (15, "vreplication", "workflow_sub_type"),
    (14, "vreplication", "workflow_type"),
    (13, "vreplication", "time_heartbeat"),
    (12, "vreplication", "tags"),
    (11, "vreplication", "rows_copied"),
];

/// Methods of the `TabletManager` service: name, first and last release. Those that change a tablet's role are left out.
const RPCS: &[(&str, u8, u8)] = &[
    ("Ping", 10, 24),
    ("VReplicationExec", 10, 24),
    ("VReplicationWaitForPos", 10, 24),
    ("RefreshState", 10, 24),
    ("GetSchema", 10, 24),
    ("ExecuteFetchAsDba", 10, 24),
    ("ExecuteFetchAsAllPrivs", 10, 24),
    ("ExecuteFetchAsApp", 10, 24),
    ("ExecuteMultiFetchAsDba", 20, 24),
    ("ExecuteQuery", 11, 24),
    ("VExec", 10, 16),
    ("VDiff", 14, 24),
    ("MasterPosition", 10, 13),
    ("PrimaryPosition", 12, 24),
    ("UpdateVRWorkflow", 17, 17),
    ("CreateVReplicationWorkflow", 18, 24),
    ("DeleteVReplicationWorkflow", 18, 24),
    ("ReadVReplicationWorkflow", 18, 24),
    ("UpdateVReplicationWorkflow", 18, 24),
    ("HasVReplicationWorkflows", 20, 24),
    ("ReadVReplicationWorkflows", 20, 24),
    ("UpdateVReplicationWorkflows", 20, 24),
    ("ValidateVReplicationPermissions", 21, 24),
    ("CheckThrottler", 18, 24),
    ("GetThrottlerStatus", 21, 24),
    ("DeleteTableData", 22, 24),
    ("ResetSequences", 18, 24),
    ("GetMaxValueForSequences", 23, 24),
    ("UpdateSequenceTables", 23, 24),
];
