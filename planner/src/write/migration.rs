//! The six verbs of schema migrations: cancel, cleanup, complete, launch, retry, force cut-over.
//!
//! A shard that does not know a migration, or on which the verb would find nothing to do, is left alone: tablets answer the
//! first with an error after other shards have been changed. `all` is what the rows say it is, counted before anything is done.
//!
//! Facts: `go/vt/vtctl/grpcvtctldserver/query.go:alterSchemaMigrationQuery`, `go/vt/vttablet/onlineddl/executor.go`,
//! `go/vt/schemamanager/tablet_executor.go`.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use serde::Serialize;

use crate::{
    contract::{Call, Code, FailureKind, PlannedRow, Status, Verdict},
    proto::{
        vtctldata::{CancelSchemaMigrationRequest, CancelSchemaMigrationResponse},
        vtrpc::CallerId,
    },
    request::MigrationVerb,
    sidecar::{
        literal::quote,
        migration_statement::is_uuid,
        query::{How, Query},
        result::{Row, RowSet},
        survey::{Look, Looked},
    },
    topo::{said, targets::Target},
    words::plural,
    write::{
        change::{Change, Prepared},
        inquiry::Inquired,
        judge::{Done, Shown},
        kind::{Lock, NoTargets, TabletWrite},
        seen::Seen,
    },
};

impl MigrationVerb {
    /// As the statement has it.
    fn word(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Cleanup => "cleanup",
            Self::Complete => "complete",
            Self::ForceCutover => "force_cutover",
            Self::Launch => "launch",
            Self::Retry => "retry",
        }
    }

    /// As a plan's first line has it.
    fn verb(self) -> &'static str {
        match self {
            Self::Cancel => "cancels",
            Self::Cleanup => "gives up the artifacts of",
            Self::Complete => "completes",
            Self::ForceCutover => "forces the cut-over of",
            Self::Launch => "launches",
            Self::Retry => "retries",
        }
    }

    /// The rows that `all` means.
    fn all(self) -> &'static str {
        match self {
            Self::Cancel | Self::Complete | Self::ForceCutover => "migration_status in ('queued', 'ready', 'running')",
            Self::Launch => "migration_status = 'queued' and reviewed_timestamp is not null",
            Self::Cleanup => {
                "migration_status in ('complete', 'cancelled', 'failed') and cleanup_timestamp is null and retain_artifacts_seconds > 0"
            }
            Self::Retry => "migration_status in ('failed', 'cancelled')",
        }
    }

    /// Whether the tablet would find something to do.
    fn has_work(self, row: &Row<'_>) -> bool {
        let status = row.text("migration_status");
        let is_pending = matches!(status.as_str(), "queued" | "ready" | "running");
        match self {
            Self::Cancel => is_pending,
            Self::Cleanup => row.text("retain_artifacts_seconds") != "-1",
            Self::Complete => row.text("postpone_completion") != "0",
            Self::Launch => row.text("postpone_launch") != "0",
            Self::ForceCutover => row.text("force_cutover") != "1",
            Self::Retry => matches!(status.as_str(), "failed" | "cancelled"),
        }
    }

    /// Whether a row shows that it has been done.
    fn is_done(self, row: &Row<'_>) -> bool {
        match self {
            Self::Cancel => row.text("migration_status") == "cancelled" || !row.text("cancelled_timestamp").is_empty(),
            _ => !self.has_work(row),
        }
    }
}

pub(crate) struct Migration {
    action: MigrationVerb,
    keyspace: String,
    /// Lower-case `all`, or as sent.
    uuid: String,
    caller_id: Option<CallerId>,
    shards: Vec<String>,
}

impl Migration {
    /// Reads the request; `None` if the path is another RPC's.
    ///
    /// # Errors
    /// No keyspace, a uuid that is none, or a verb that has no `all`.
    pub(crate) fn new(action: MigrationVerb, call: &Call) -> Result<Self, Status> {
        // The six messages are one.
        let CancelSchemaMigrationRequest { keyspace, uuid, caller_id } = crate::operation::decode(call)?;
        let invalid = |message: String| Err(Status { code: Code::InvalidArgument, message });
        if keyspace.is_empty() {
            return invalid("keyspace is required".into());
        }
        let is_all = uuid.eq_ignore_ascii_case("all");
        if !is_all && !is_uuid(&uuid) {
            return invalid(format!("{uuid} is not a valid UUID"));
        }
        if is_all && action == MigrationVerb::Retry {
            return invalid(format!("{uuid} is not a valid UUID: there is no retry of all migrations, name one"));
        }
        let uuid = if is_all { "all".into() } else { uuid };
        Ok(Self { action, keyspace, uuid, caller_id, shards: call.options.shards.clone() })
    }

    fn is_all(&self) -> bool {
        self.uuid == "all"
    }

    fn change(&self, target: usize, seen: &Seen, argument: &str, rows: Vec<PlannedRow>) -> Change {
        let word = self.action.word();
        let statement = match argument {
            "all" => format!("alter vitess_migration {word} all"),
            uuid => format!("alter vitess_migration {} {word}", quote(uuid)),
        };
        let (db_name, caller_id) = (seen.target.db_name.clone(), self.caller_id.clone());
        let how = How::ExecuteQuery { db_name, max_rows: 10, caller_id };
        let query = Query::by(how, "migration", statement);
        Change::call(target, seen, query, rows)
    }

    fn rows_by_shard(seen: &[Seen], done: &[Done]) -> BTreeMap<String, u64> {
        let mut rows: BTreeMap<String, u64> = seen.iter().map(|seen| (seen.target.place.shard.clone(), 0)).collect();
        for done in done {
            if let Some(sum) = seen.get(done.change.target).and_then(|seen| rows.get_mut(&seen.target.place.shard)) {
                *sum += if done.error.is_empty() { done.rows.unwrap_or_default() } else { done.change.planned.rows.len() as u64 };
            }
        }
        rows
    }
}

/// The migrations that a condition means, as the DBA.
fn look(target: &Target, condition: &str) -> Look {
    let statement = format!("select * from _vt.schema_migrations where {condition} order by id");
    Look::One(Query::dba("migrations", statement, &target.db_name))
}

/// The rows of a target's only look. Each says which migration it is and in which state: without those nobody can tell whether there
/// is anything to do, or whether it has been done. Each is there once: the table has no two of one name, and a change of one that is
/// read twice would be sent twice.
fn rows(seen: &Seen) -> Result<RowSet, String> {
    let set = stored(seen)?;
    let mut names = BTreeSet::new();
    for row in set.rows() {
        for column in ["migration_uuid", "migration_status"] {
            if row.value(column).flatten().is_none_or(<[u8]>::is_empty) {
                return Err(format!("a migration without {column}: what is to be done about it is not known"));
            }
        }
        let name = row.text("migration_uuid");
        if names.contains(&name) {
            return Err(format!("migration {name} is in the rows twice"));
        }
        names.insert(name);
    }
    Ok(set)
}

fn stored(seen: &Seen) -> Result<RowSet, String> {
    match seen.looked.first() {
        Some(Looked::Called(bytes)) => {
            RowSet::from_execute_fetch(bytes).map_err(|error| format!("the tablet's answer cannot be read: {error}"))
        }
        // No migration has ever run there: v10 to v15 make the table with the first one.
        Some(Looked::Refused(FailureKind::Status(_), text)) if said::errno(text) == Some(1146) => Ok(RowSet::default()),
        Some(Looked::Refused(_, text)) => Err(text.clone()),
        _ => Err("the tablet call was answered with something else".into()),
    }
}

fn planned(action: MigrationVerb, row: &Row<'_>) -> PlannedRow {
    let text = |column| row.text(column);
    let about = format!("{}, {} {}.{}", text("migration_status"), text("ddl_action"), text("mysql_schema"), text("mysql_table"));
    let columns =
        ["migration_status", "postpone_launch", "postpone_completion", "force_cutover", "retain_artifacts_seconds", "retries"];
    // The scheduler moves pending migrations on while somebody reads the plan; these verbs do not care.
    let is_pending =
        matches!(action, MigrationVerb::Cancel | MigrationVerb::Complete | MigrationVerb::ForceCutover | MigrationVerb::Launch)
            && matches!(text("migration_status").as_str(), "queued" | "ready" | "running");
    let value = |column: &'static str| {
        if is_pending && column == "migration_status" { "pending".into() } else { text(column) }
    };
    let basis: Vec<String> = columns.iter().map(|column| format!("{column}={}", value(column))).collect();
    PlannedRow { name: format!("migration {}", text("migration_uuid")), about, basis: basis.join(" ") }
}

impl TabletWrite for Migration {
    fn keyspace(&self) -> &str {
        &self.keyspace
    }

    fn shards(&self) -> &[String] {
        &self.shards
    }

    /// Waited for, as vtctld does: migrations are often changed one after the other.
    fn locks(&self) -> Vec<Lock> {
        let keyspace = &self.keyspace;
        let action = "ApplySchemaKeyspace";
        vec![Lock {
            path: format!("keyspaces/{keyspace}"),
            action,
            is_named: false,
            is_patient: true,
            failure: format!("lockErr in {action} {keyspace}: "),
        }]
    }

    fn no_targets(&self, why: NoTargets) -> Status {
        let keyspace = &self.keyspace;
        match why {
            NoTargets::NoKeyspace { node } => {
                let node = node.trim_end_matches('/');
                let text = format!("unable to get shards for keyspace: {keyspace}, error: node doesn't exist: {node}");
                Status::unknown(format!("{text}\nFindAllShardsInKeyspace({keyspace}): List"))
            }
            NoTargets::NoShards(_) => Status::unknown(format!("keyspace: {keyspace} does not contain any primary tablets")),
        }
    }

    fn looks(&self, target: &Target) -> Vec<Look> {
        let condition =
            if self.is_all() { self.action.all().to_owned() } else { format!("migration_uuid = {}", quote(&self.uuid)) };
        vec![look(target, &condition)]
    }

    /// `all` means other rows by now: the ones that were meant are looked for by their names.
    fn looks_again(&self, before: &Seen) -> Vec<Look> {
        let uuids: Vec<String> = match rows(before) {
            Ok(set) if self.is_all() => set.rows().map(|row| quote(&row.text("migration_uuid"))).collect(),
            _ => return self.looks(&before.target),
        };
        vec![look(&before.target, &format!("migration_uuid in ({})", uuids.join(", ")))]
    }

    fn prepare(&self, seen: &[Seen], _replies: &[Inquired], _force: bool) -> Result<Prepared, Status> {
        let (mut changes, mut migrations, mut is_known, mut kept) = (Vec::new(), Vec::new(), false, Vec::new());
        for (index, target) in seen.iter().enumerate() {
            let place = &target.target.place;
            let set = rows(target)
                .map_err(|text| Status::unknown(format!("{}/{}: {text}\nnothing was changed", self.keyspace, place.shard)))?;
            is_known |= !set.is_empty();
            if self.action == MigrationVerb::ForceCutover && !set.is_empty() && !set.has_column("force_cutover") {
                let text =
                    format!("tablet {} is older than v19 and cannot force a cut-over; nothing was changed", place.alias_text());
                return Err(Status { code: Code::FailedPrecondition, message: text });
            }
            let working: Vec<Row<'_>> = set.rows().filter(|row| self.action.has_work(row)).collect();
            for row in set.rows().filter(|row| !self.action.has_work(row)) {
                let (uuid, status) = (row.text("migration_uuid"), row.text("migration_status"));
                kept.push(format!(
                    "{}/{}: migration {uuid} is {status}, nothing to {}",
                    self.keyspace,
                    place.shard,
                    self.action.word()
                ));
            }
            migrations.extend(working.iter().map(|row| row.text("migration_uuid")));
            // Only v21 on knows `cleanup all`; one by one says the same to every release.
            if self.is_all() && self.action != MigrationVerb::Cleanup {
                if !working.is_empty() {
                    changes.push(self.change(
                        index,
                        target,
                        "all",
                        working.iter().map(|row| planned(self.action, row)).collect(),
                    ));
                }
            } else {
                let one =
                    |row: &Row<'_>| self.change(index, target, &row.text("migration_uuid"), vec![planned(self.action, row)]);
                changes.extend(working.iter().map(one));
            }
        }
        if !is_known && !self.is_all() && self.action == MigrationVerb::Cancel {
            return Err(Status::unknown(format!("migration not found: no shard of {} knows {}", self.keyspace, self.uuid)));
        }
        migrations.sort();
        migrations.dedup();
        let shards = changes.iter().map(|change| change.target).collect::<BTreeSet<_>>().len();
        let summary =
            format!("This {} {} on {}:", self.action.verb(), plural(migrations.len(), "migration"), plural(shards, "shard"));
        let warnings = if is_known || self.is_all() {
            Vec::new()
        } else {
            vec![format!("no shard of {} knows migration {}", self.keyspace, self.uuid)]
        };
        Ok(Prepared { summary, kept, warnings, changes })
    }

    fn judge(&self, change: &Change, before: &Seen, after: &Seen) -> Shown {
        let (before, after) = match (rows(before), rows(after)) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(text), _) | (_, Err(text)) => return Shown::Part(format!("rows that cannot be read: {text}")),
        };
        let find = |set: &RowSet, name: &str| {
            set.rows()
                .find(|row| format!("migration {}", row.text("migration_uuid")) == name)
                .map(|row| (self.action.is_done(&row), planned(self.action, &row).basis))
        };
        let shown: Vec<(bool, bool)> = change
            .planned
            .rows
            .iter()
            .map(|row| match (find(&before, &row.name), find(&after, &row.name)) {
                (Some((_, was)), Some((is_done, now))) => (is_done, was == now),
                _ => (false, false),
            })
            .collect();
        let done = shown.iter().filter(|(is_done, _)| *is_done).count();
        if done == shown.len() {
            Shown::All
        } else if shown.iter().all(|(is_done, is_same)| !is_done && *is_same) {
            Shown::Nothing
        } else {
            Shown::Part(format!("{done} of {} as asked for", plural(shown.len(), "migration")))
        }
    }

    fn reply(&self, seen: &[Seen], done: &[Done]) -> Result<Vec<u8>, Status> {
        let rows_affected_by_shard = Self::rows_by_shard(seen, done);
        Ok(CancelSchemaMigrationResponse { rows_affected_by_shard }.encode_to_vec())
    }

    /// In the form that clients of vtctld take apart, then a line for each target.
    fn failure(&self, seen: &[Seen], done: &[Done], lines: String) -> Status {
        let shard = |done: &Done| seen.get(done.change.target).map_or_else(String::new, |seen| seen.target.place.shard.clone());
        let failed = |done: &&Done| done.verdict != Verdict::Applied;
        let mut sqls: Vec<&str> = done.iter().map(|done| done.change.planned.statement.as_str()).collect();
        sqls.dedup();
        let result = ExecuteResult {
            failed_shards: done.iter().filter(failed).map(|done| FailedShard { shard: shard(done), err: &done.error }).collect(),
            success_shards: done.iter().filter(|done| !failed(done)).map(|done| SuccessShard { shard: shard(done) }).collect(),
            cur_sql_index: 0,
            sqls,
            uuids: None,
            executor_err: "",
            total_time_spent: 0,
        };
        let json = serde_json::to_string_pretty(&result).unwrap_or_default();
        Status::unknown(format!("schema change failed, ExecuteResult: {json}\n{lines}"))
    }
}

/// Source: `go/vt/schemamanager/schemamanager.go:ExecuteResult`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ExecuteResult<'a> {
    failed_shards: Vec<FailedShard<'a>>,
    success_shards: Vec<SuccessShard>,
    cur_sql_index: u32,
    sqls: Vec<&'a str>,
    #[serde(rename = "UUIDs")]
    uuids: Option<Vec<String>>,
    executor_err: &'static str,
    total_time_spent: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailedShard<'a> {
    shard: String,
    err: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SuccessShard {
    shard: String,
}
