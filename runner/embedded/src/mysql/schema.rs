//! The sidecar tables of every Vitess release: columns, MySQL types, defaults and keys, from one table of facts.
//!
//! It says how a table is declared and how MySQL describes its columns in a result; it holds no rows and runs nothing. Facts:
//! `go/vt/binlog/binlogplayer`, `go/vt/vttablet/onlineddl/schema.go` and `go/vt/vttablet/tabletmanager/vdiff/schema.go` up to v15,
//! `go/vt/sidecardb/schema/**` from v16; the column flags were measured on MySQL 9.7.4.

use vtflow_planner::sidecar::name::{BadSqlName, SqlName};

use crate::{
    release::Release,
    snapshot::{ColumnDecl, TableRows},
};

/// The name of the sidecar database, unless the keyspace sets another.
pub const SIDECAR: &str = "_vt";

/// The database in which a server describes its own tables.
pub const INFORMATION_SCHEMA: &str = "information_schema";

/// `TABLE_TYPE` of a table.
pub const BASE_TABLE: &str = "BASE TABLE";

/// `TABLE_TYPE` of a view.
pub const VIEW: &str = "VIEW";

/// `information_schema.tables`, as far as Vitess reads it. MySQL 8 and later name these columns in capitals, however they are asked
/// for.
pub fn table_statistics() -> Table {
    let columns = [
        "TABLE_SCHEMA varchar(64) NN",
        "TABLE_NAME varchar(64) NN",
        "TABLE_TYPE varchar(11) NN",
        "TABLE_ROWS bigint_unsigned",
        "DATA_LENGTH bigint_unsigned",
    ];
    let columns = columns.into_iter().filter_map(column).collect();
    Table { name: known("tables"), columns, primary_key: Vec::new() }
}

/// A column as an embedded tablet needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: SqlName,
    /// Its MySQL type, such as `varbinary(1000)`.
    pub mysql_type: String,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// The default as SQL text (`0`, `''`, `CURRENT_TIMESTAMP`); `None`: an INSERT must name the column.
    pub default: Option<String>,
    /// Whether the server counts it up.
    pub auto_increment: bool,
    /// Whether an UPDATE sets it to the present time.
    pub on_update_now: bool,
    /// Its part in the table's keys.
    pub key: Key,
}

/// A column's part in its table's keys, as MySQL's flags tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is one of MySQL's flags")]
pub struct Key {
    /// Part of the primary key.
    pub primary: bool,
    /// The only column of a unique key.
    pub unique: bool,
    /// First column of a key that allows duplicates, or of a unique key of several columns.
    pub multiple: bool,
    /// Part of any key.
    pub part: bool,
}

/// A table as an embedded tablet needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, without the database.
    pub name: SqlName,
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// The columns of the primary key.
    pub primary_key: Vec<SqlName>,
}

impl Table {
    /// The table as a snapshot declares it, empty.
    pub fn without_rows(&self) -> TableRows {
        let declared = |column: &Column| ColumnDecl {
            name: column.name.to_string(),
            mysql_type: column.mysql_type.clone(),
            nullable: column.nullable,
        };
        TableRows { columns: self.columns.iter().map(declared).collect(), rows: Vec::new() }
    }
}

/// The sidecar tables of a release, in alphabetic order. Tables that hold nothing of streams or migrations are left out.
pub fn tables(release: Release) -> Vec<Table> {
    FACTS.iter().filter_map(|(name, facts)| table(release, name, facts)).collect()
}

/// A table with the columns that a snapshot declares, and what the facts know about them besides.
///
/// A tablet's tables may be newer or older than its binary: the snapshot is right about names, types and NULL. Keys are those of
/// the release. An unknown table has no keys; an unknown column no default unless NULL is allowed.
///
/// # Errors
///
/// A name that is none: names of a snapshot are a stranger's.
pub fn table_of_snapshot(release: Release, name: &str, content: &TableRows) -> Result<Table, BadSqlName> {
    let table_name = SqlName::parse(name)?;
    let fact = |release| FACTS.iter().find(|(table, _)| *table == name).and_then(|(_, facts)| table(release, name, facts));
    let known = fact(release);
    let newest = fact(Release::NEWEST);
    let find = |table: &Option<Table>, column: &str| {
        table.as_ref().and_then(|table| table.columns.iter().find(|known| known.name == column).cloned())
    };
    let columns = content
        .columns
        .iter()
        .map(|declared| {
            let name = SqlName::parse(&declared.name)?;
            let mut column = find(&known, &name).or_else(|| find(&newest, &name)).unwrap_or_else(|| Column {
                name,
                mysql_type: String::new(),
                nullable: false,
                default: None,
                auto_increment: false,
                on_update_now: false,
                key: Key::default(),
            });
            column.mysql_type.clone_from(&declared.mysql_type);
            column.nullable = declared.nullable;
            Ok(column)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let primary_key = known
        .or(newest)
        .map(|table| table.primary_key)
        .filter(|key| key.iter().all(|part| columns.iter().any(|column| column.name == *part)))
        .unwrap_or_default();
    Ok(Table { name: table_name, columns, primary_key })
}

/// A table of a keyspace's own, as a snapshot declares it. Keys are not declared: a sequence's is known, and all others have none.
///
/// # Errors
///
/// A name that is none.
pub fn own_table(name: &str, content: &TableRows) -> Result<Table, BadSqlName> {
    /// Its columns, as a switch creates one.
    const SEQUENCE: [&str; 3] = ["id", "next_id", "cache"];
    let is_sequence = content.columns.iter().map(|column| column.name.as_str()).eq(SEQUENCE);
    let columns = content.columns.iter().map(|declared| {
        let is_key = is_sequence && declared.name == SEQUENCE[0];
        let key = Key { primary: is_key, part: is_key, ..Key::default() };
        let (name, mysql_type) = (SqlName::parse(&declared.name)?, declared.mysql_type.clone());
        let nullable = declared.nullable && !is_key;
        Ok(Column { name, mysql_type, nullable, default: None, auto_increment: false, on_update_now: false, key })
    });
    let columns = columns.collect::<Result<Vec<Column>, BadSqlName>>()?;
    let primary_key = columns.iter().filter(|column| column.key.primary).map(|column| column.name.clone()).collect();
    Ok(Table { name: SqlName::parse(name)?, columns, primary_key })
}

/// A name of our own facts.
#[allow(clippy::expect_used, reason = "a constant, which every test of the facts parses")]
fn known(name: &str) -> SqlName {
    SqlName::parse(name).expect("a name of our own")
}

/// The statements that make the sidecar database of a release on a real MySQL or MariaDB: the database, then each table.
pub fn mysql_ddl(release: Release) -> Vec<String> {
    let mut statements = vec![format!("CREATE DATABASE IF NOT EXISTS {SIDECAR}")];
    for (name, facts) in FACTS {
        let Some(table) = table(release, name, facts) else { continue };
        let mut parts: Vec<String> = table.columns.iter().map(mysql_column).collect();
        parts.extend(keys(release, facts).map(str::to_owned));
        statements
            .push(format!("CREATE TABLE {SIDECAR}.{name} (\n  {}\n) ENGINE = InnoDB CHARSET = utf8mb4", parts.join(",\n  ")));
    }
    statements
}

fn mysql_column(column: &Column) -> String {
    use std::fmt::Write as _;
    let mut text = format!("`{}` {}", column.name, column.mysql_type);
    let is_time = column.mysql_type.starts_with("timestamp");
    // Without the word NULL an old server gives a timestamp column a default of its own.
    text.push_str(if column.nullable { if is_time { " NULL" } else { "" } } else { " NOT NULL" });
    match &column.default {
        _ if column.auto_increment => text.push_str(" AUTO_INCREMENT"),
        Some(default) => {
            let _ = write!(text, " DEFAULT {default}");
        }
        None if column.nullable => text.push_str(" DEFAULT NULL"),
        None => {}
    }
    if column.on_update_now {
        text.push_str(" ON UPDATE CURRENT_TIMESTAMP");
    }
    text
}

fn applies(release: Release, line: &str) -> Option<&str> {
    let (span, rest) = line.trim().split_once(' ')?;
    let (since, until) = span.split_once('-').unwrap_or((span, "24"));
    let span = since.parse::<u8>().ok()?..=until.parse::<u8>().ok()?;
    span.contains(&release.major()).then_some(rest.trim())
}

fn keys(release: Release, facts: &'static str) -> impl Iterator<Item = &'static str> {
    facts.lines().filter_map(move |line| applies(release, line)).filter_map(|rest| rest.strip_prefix('!'))
}

fn table(release: Release, name: &str, facts: &'static str) -> Option<Table> {
    let mut columns: Vec<Column> = facts
        .lines()
        .filter_map(|line| applies(release, line))
        .filter(|rest| !rest.starts_with('!'))
        .filter_map(column)
        .collect();
    if columns.is_empty() {
        return None;
    }
    let mut primary_key = Vec::new();
    for key in keys(release, facts) {
        let parts: Vec<&str> = key_parts(key).collect();
        for (position, part) in parts.iter().enumerate() {
            let Some(column) = columns.iter_mut().find(|column| column.name == *part) else { continue };
            column.key.part = true;
            if key.starts_with("PRIMARY") {
                column.key.primary = true;
                primary_key.push(column.name.clone());
            } else if key.starts_with("UNIQUE") && parts.len() == 1 {
                column.key.unique = true;
            } else if position == 0 {
                column.key.multiple = true;
            }
        }
    }
    Some(Table { name: SqlName::parse(name).ok()?, columns, primary_key })
}

/// The column names in `KEY name (a, b(64))`.
fn key_parts(key: &str) -> impl Iterator<Item = &str> {
    let inside = key.split_once('(').map_or("", |(_, rest)| rest);
    inside.split(',').map(|part| part.trim().split(['(', ')']).next().unwrap_or(""))
}

/// A line of facts: `name type [NN] [AI] [= default] [UPD]`, the type with `_` for spaces.
fn column(fact: &str) -> Option<Column> {
    let mut words = fact.split_whitespace();
    let name = SqlName::parse(words.next()?).ok()?;
    let mysql_type = words.next()?.replace('_', " ");
    let mut column = Column {
        name,
        mysql_type,
        nullable: true,
        default: None,
        auto_increment: false,
        on_update_now: false,
        key: Key::default(),
    };
    while let Some(word) = words.next() {
        match word {
            "NN" => column.nullable = false,
            "AI" => column.auto_increment = true,
            "UPD" => column.on_update_now = true,
            "=" => {
                column.default =
                    words.next().map(|word| if word == "NOW" { "CURRENT_TIMESTAMP".to_owned() } else { word.to_owned() });
            }
            _ => {}
        }
    }
    Some(column)
}

/// The facts: per table, lines of `since[-until] column type …` and `since[-until] !key`.
const FACTS: &[(&str, &str)] = &[
    ("copy_state", COPY_STATE),
    ("post_copy_action", POST_COPY_ACTION),
    ("resharding_journal", RESHARDING_JOURNAL),
    ("schema_migrations", SCHEMA_MIGRATIONS),
    ("vdiff", VDIFF),
    ("vdiff_log", VDIFF_LOG),
    ("vdiff_table", VDIFF_TABLE),
    ("vreplication", VREPLICATION),
    ("vreplication_log", VREPLICATION_LOG),
];

const VREPLICATION: &str = "
    10 id int NN AI
    10 workflow varbinary(1000)
    10-13 source blob NN
    14 source mediumblob NN
    10-22 pos varbinary(10000) NN
    23 pos longblob NN
    10-22 stop_pos varbinary(10000)
    23 stop_pos longblob
    10 max_tps bigint NN
    10 max_replication_lag bigint NN
    10 cell varbinary(1000)
    10 tablet_types varbinary(100)
    10 time_updated bigint NN
    10 transaction_timestamp bigint NN
    10 state varbinary(100) NN
    10 message varbinary(1000)
    10 db_name varbinary(255) NN
    11 rows_copied bigint NN = 0
    12 tags varbinary(1024) NN = ''
    13 time_heartbeat bigint NN = 0
    14 workflow_type int NN = 0
    15 time_throttled bigint NN = 0
    15 component_throttled varchar(255) NN = ''
    21 reason_throttled varchar(1000) NN = ''
    15 workflow_sub_type int NN = 0
    16 defer_secondary_keys tinyint(1) NN = 0
    20 options json NN
    10 !PRIMARY KEY (id)
    10 !KEY workflow_idx (workflow(64))";

const COPY_STATE: &str = "
    16 id bigint_unsigned NN AI
    10 vrepl_id int NN
    10 table_name varbinary(128) NN
    10-21 lastpk varbinary(2000)
    22 lastpk mediumblob
    10-15 !PRIMARY KEY (vrepl_id, table_name)
    16 !PRIMARY KEY (id)
    16 !KEY vrepl_id (vrepl_id, table_name)";

const VREPLICATION_LOG: &str = "
    11 id bigint NN AI
    11 vrepl_id int NN
    11 type varbinary(256) NN
    11 state varbinary(100) NN
    11 created_at timestamp = NOW
    11 updated_at timestamp = NOW UPD
    11 message text NN
    11 count bigint NN = 1
    11 !PRIMARY KEY (id)
    18 !KEY vrepl_id_idx (vrepl_id)";

const POST_COPY_ACTION: &str = "
    16 id bigint NN AI
    16 vrepl_id int NN
    16 table_name varbinary(128) NN
    16 action json NN
    16 !PRIMARY KEY (id)
    16 !UNIQUE KEY vrepl_id (vrepl_id, table_name)";

const RESHARDING_JOURNAL: &str = "
    10 id bigint NN
    10 db_name varbinary(255)
    10-22 val blob
    23 val longblob
    10 !PRIMARY KEY (id)";

const VDIFF: &str = "
    14 id bigint NN AI
    14 vdiff_uuid varchar(64) NN
    14 workflow varbinary(1024)
    14 keyspace varbinary(256)
    14 shard varchar(255) NN
    14 db_name varbinary(1024)
    14 state varbinary(64)
    14 options json
    14 created_at timestamp NN = NOW
    14 started_at timestamp
    14 liveness_timestamp timestamp
    14 completed_at timestamp
    15-15 last_error varbinary(512)
    16 last_error varbinary(1024)
    14 !PRIMARY KEY (id)
    14-22 !UNIQUE KEY uuid_idx (vdiff_uuid)
    23 !UNIQUE KEY uuid_idx (vdiff_uuid, db_name)
    15 !KEY state (state)
    15 !KEY ks_wf_idx (keyspace(64), workflow(64))";

const VDIFF_TABLE: &str = "
    14-21 vdiff_id varchar(64) NN
    22 vdiff_id bigint NN
    14 table_name varbinary(128) NN
    14 state varbinary(64)
    14 lastpk varbinary(2000)
    14-14 table_rows int NN = 0
    15 table_rows bigint NN = 0
    14-14 rows_compared int NN = 0
    15 rows_compared bigint NN = 0
    14 mismatch tinyint(1) NN = 0
    14 report json
    14 created_at timestamp NN = NOW
    14 updated_at timestamp NN = NOW UPD
    14 !PRIMARY KEY (vdiff_id, table_name)";

const VDIFF_LOG: &str = "
    14-21 id int NN AI
    22 id bigint NN AI
    14-21 vdiff_id int NN
    22 vdiff_id bigint NN
    14 created_at timestamp NN = NOW
    14 message text NN
    14 !PRIMARY KEY (id)
    22 !KEY vdiff_id_idx (vdiff_id)";

const SCHEMA_MIGRATIONS: &str = "
    10 id bigint_unsigned NN AI
    10 migration_uuid varchar(64) NN
    10 keyspace varchar(256) NN
    10 shard varchar(255) NN
    10 mysql_schema varchar(128) NN
    10 mysql_table varchar(128) NN
    10 migration_statement text NN
    10 strategy varchar(128) NN
    10 options varchar(8192) NN
    10 added_timestamp timestamp NN = NOW
    10 requested_timestamp timestamp NN = NOW
    10 ready_timestamp timestamp
    10 started_timestamp timestamp
    10 liveness_timestamp timestamp
    10-15 completed_timestamp timestamp
    16 completed_timestamp timestamp(6)
    10 cleanup_timestamp timestamp
    10 migration_status varchar(128) NN
    10 log_path varchar(1024) NN
    10 artifacts text NN
    10 retries int_unsigned NN = 0
    10 tablet varchar(128) NN = ''
    10 tablet_failure tinyint_unsigned NN = 0
    10 progress float NN = 0
    10 migration_context varchar(1024) NN = ''
    10 ddl_action varchar(16) NN = ''
    10 message text NN
    21 message_timestamp timestamp(6)
    10 eta_seconds bigint NN = -1
    11 rows_copied bigint_unsigned NN = 0
    22 vreplication_lag_seconds bigint_unsigned NN = 0
    11 table_rows bigint NN = 0
    12 added_unique_keys int_unsigned NN = 0
    12 removed_unique_keys int_unsigned NN = 0
    11 log_file varchar(1024) NN = ''
    13 retain_artifacts_seconds bigint NN = 0
    13 postpone_completion tinyint_unsigned NN = 0
    13 removed_unique_key_names text NN
    13 dropped_no_default_column_names text NN
    13 expanded_column_names text NN
    13 revertible_notes text NN
    13 allow_concurrent tinyint_unsigned NN = 0
    13 reverted_uuid varchar(64) NN = ''
    14 is_view tinyint_unsigned NN = 0
    14 ready_to_complete tinyint_unsigned NN = 0
    14-16 stowaway_table tinytext NN
    14 vitess_liveness_indicator bigint NN = 0
    14 user_throttle_ratio float NN = 0
    14 special_plan text NN
    15 last_throttled_timestamp timestamp
    15 component_throttled tinytext NN
    21 reason_throttled text NN
    15 cancelled_timestamp timestamp
    15 postpone_launch tinyint_unsigned NN = 0
    16 stage text NN
    16 cutover_attempts int_unsigned NN = 0
    16 is_immediate_operation tinyint_unsigned NN = 0
    16 reviewed_timestamp timestamp
    17 ready_to_complete_timestamp timestamp
    22 shadow_analyzed_timestamp timestamp
    19 removed_foreign_key_names text NN
    19 last_cutover_attempt_timestamp timestamp
    19 force_cutover tinyint_unsigned NN = 0
    22 cutover_threshold_seconds int_unsigned NN = 0
    23 in_order_completion_pending_count int_unsigned NN = 0
    10 !PRIMARY KEY (id)
    10 !UNIQUE KEY uuid_idx (migration_uuid)
    10 !KEY keyspace_shard_idx (keyspace(64), shard(64))
    10 !KEY status_idx (migration_status, liveness_timestamp)
    10 !KEY cleanup_status_idx (cleanup_timestamp, migration_status)
    10 !KEY tablet_failure_idx (tablet_failure, migration_status, retries)
    10 !KEY table_complete_idx (migration_status, keyspace(64), mysql_table(64), completed_timestamp)
    13 !KEY migration_context_idx (migration_context(64))
    13 !KEY reverted_uuid_idx (reverted_uuid)";
