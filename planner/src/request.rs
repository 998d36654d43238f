//! What a person can ask, as plain data, and the call that each makes: one place for the command line and the page.
//!
//! Source of the messages: `go/cmd/vtctldclient/command` (`vreplication/common/update.go`, `workflow/state.go`, `onlineddl.go`).

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::{
    contract::{Call, CallOptions},
    proto::{
        binlogdata::VReplicationWorkflowState,
        tabletmanagerdata::UpdateVReplicationWorkflowRequest,
        topodata::TabletType,
        vtctldata::{
            CancelSchemaMigrationRequest, FindAllShardsInKeyspaceRequest, GetSchemaMigrationsRequest, GetWorkflowsRequest,
            MoveTablesCompleteRequest, WorkflowDeleteRequest, WorkflowSwitchTrafficRequest, WorkflowUpdateRequest,
        },
        vtflow::{DiagnoseRequest, VExecRequest},
        vttime,
    },
    rpc,
};

/// A request. Texts and lists that are left out are empty; empty shards are all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the messages")]
pub enum Request {
    /// The workflows of a keyspace.
    Workflows {
        keyspace: String,
        #[serde(default)]
        workflow: String,
        #[serde(default)]
        logs: bool,
        #[serde(default)]
        active_only: bool,
        #[serde(default)]
        shards: Vec<String>,
    },
    /// The schema migrations of a keyspace.
    Migrations {
        keyspace: String,
        #[serde(default)]
        uuid: String,
    },
    /// The shards of a keyspace.
    Shards { keyspace: String },
    /// What is wrong with the traffic of workflows.
    Diagnosis {
        /// Empty: all.
        #[serde(default)]
        keyspace: String,
        /// Empty: all of the keyspace.
        #[serde(default)]
        workflow: String,
    },
    /// A statement on the sidecar tables: what each target would be sent.
    Vexec {
        keyspace: String,
        #[serde(default)]
        workflow: String,
        sql: String,
        #[serde(default)]
        shards: Vec<String>,
    },
    /// Starts or stops the streams of a workflow.
    Update {
        keyspace: String,
        workflow: String,
        action: StateChange,
        #[serde(default)]
        shards: Vec<String>,
    },
    /// Deletes the streams of a workflow; tables and routing rules are kept.
    Delete {
        keyspace: String,
        workflow: String,
        #[serde(default)]
        ignore_source: bool,
        #[serde(default)]
        shards: Vec<String>,
    },
    /// Moves the traffic of a workflow, or ends the workflow: what the command of that name does without flags.
    Traffic {
        /// The target's.
        keyspace: String,
        workflow: String,
        change: TrafficChange,
        /// Whose traffic is moved.
        #[serde(default)]
        whose: Whose,
    },
    /// Changes a schema migration, or all of them.
    Migration {
        keyspace: String,
        /// A UUID, or `all`.
        uuid: String,
        verb: MigrationVerb,
        #[serde(default)]
        shards: Vec<String>,
    },
}

/// The state that streams are brought into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateChange {
    /// They run.
    Start,
    /// They stop.
    Stop,
}

/// What becomes of the traffic of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrafficChange {
    /// It goes to the target.
    Switch,
    /// It goes back to the source.
    Reverse,
    /// The workflow ends, and what was the source's goes.
    Complete,
    /// The workflow ends, and what was copied goes.
    Cancel,
}

/// Whose traffic it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// All of it.
    #[default]
    All,
    /// Of reads on replicas.
    Reads,
    /// Of writes, and of reads on primaries.
    Writes,
}

impl Whose {
    fn tablet_types(self) -> Vec<i32> {
        let (primary, reads) = ([TabletType::Primary], [TabletType::Replica, TabletType::Rdonly]);
        let types: &[&[TabletType]] = match self {
            Self::All => &[&primary, &reads],
            Self::Reads => &[&reads],
            Self::Writes => &[&primary],
        };
        types.concat().into_iter().map(i32::from).collect()
    }
}

/// What is done to schema migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationVerb {
    /// Those that are queued, ready or running are given up.
    Cancel,
    /// What finished ones have left behind may go.
    Cleanup,
    /// Those that wait with their cut-over cut over.
    Complete,
    /// They cut over although transactions or locks are in the way.
    ForceCutover,
    /// Those that wait with their launch begin.
    Launch,
    /// A failed or cancelled one begins again.
    Retry,
}

impl MigrationVerb {
    /// The gRPC path of its RPC.
    pub fn path(self) -> &'static str {
        match self {
            Self::Cancel => rpc::CANCEL_SCHEMA_MIGRATION,
            Self::Cleanup => rpc::CLEANUP_SCHEMA_MIGRATION,
            Self::Complete => rpc::COMPLETE_SCHEMA_MIGRATION,
            Self::ForceCutover => rpc::FORCE_CUT_OVER_SCHEMA_MIGRATION,
            Self::Launch => rpc::LAUNCH_SCHEMA_MIGRATION,
            Self::Retry => rpc::RETRY_SCHEMA_MIGRATION,
        }
    }
}

impl Request {
    /// The call that asks this. Shards for which the message has no field go into the options.
    pub fn call(self, options: CallOptions) -> Call {
        let (path, request, shards) = match self {
            Self::Workflows { keyspace, workflow, logs, active_only, shards } => {
                let include_logs = logs;
                let request = GetWorkflowsRequest {
                    keyspace,
                    workflow,
                    include_logs,
                    active_only,
                    shards,
                    ..GetWorkflowsRequest::default()
                };
                (rpc::GET_WORKFLOWS, request.encode_to_vec(), Vec::new())
            }
            Self::Migrations { keyspace, uuid } => {
                let request = GetSchemaMigrationsRequest { keyspace, uuid, ..GetSchemaMigrationsRequest::default() };
                (rpc::GET_SCHEMA_MIGRATIONS, request.encode_to_vec(), Vec::new())
            }
            Self::Shards { keyspace } => {
                (rpc::FIND_ALL_SHARDS_IN_KEYSPACE, FindAllShardsInKeyspaceRequest { keyspace }.encode_to_vec(), Vec::new())
            }
            Self::Diagnosis { keyspace, workflow } => {
                (rpc::DIAGNOSE, DiagnoseRequest { keyspace, workflow, sequences: false }.encode_to_vec(), Vec::new())
            }
            Self::Vexec { keyspace, workflow, sql, shards } => {
                let request = VExecRequest { keyspace, workflow, sql, shards, dry_run: true };
                (rpc::VEXEC, request.encode_to_vec(), Vec::new())
            }
            Self::Update { keyspace, workflow, action, shards } => {
                let state = match action {
                    StateChange::Start => VReplicationWorkflowState::Running,
                    StateChange::Stop => VReplicationWorkflowState::Stopped,
                };
                let wanted = UpdateVReplicationWorkflowRequest { workflow, state: Some(state.into()), shards, ..unchanged() };
                let request = WorkflowUpdateRequest { keyspace, tablet_request: Some(wanted) };
                (rpc::WORKFLOW_UPDATE, request.encode_to_vec(), Vec::new())
            }
            Self::Delete { keyspace, workflow, ignore_source, shards } => {
                let request = WorkflowDeleteRequest {
                    keyspace,
                    workflow,
                    keep_data: true,
                    keep_routing_rules: true,
                    ignore_source_keyspace: ignore_source,
                    shards,
                    ..WorkflowDeleteRequest::default()
                };
                (rpc::WORKFLOW_DELETE, request.encode_to_vec(), Vec::new())
            }
            Self::Traffic { keyspace, workflow, change, whose } => {
                let (path, request) = traffic(keyspace, workflow, change, whose);
                (path, request, Vec::new())
            }
            Self::Migration { keyspace, uuid, verb, shards } => {
                // The six messages are one.
                let request = CancelSchemaMigrationRequest { keyspace, uuid, caller_id: None };
                (verb.path(), request.encode_to_vec(), shards)
            }
        };
        Call { path: path.into(), request, options: CallOptions { shards: [options.shards, shards].concat(), ..options } }
    }
}

/// The path and the message of a change of traffic, with the defaults of `vtctldclient`.
fn traffic(keyspace: String, workflow: String, change: TrafficChange, whose: Whose) -> (&'static str, Vec<u8>) {
    let thirty = Some(vttime::Duration { seconds: 30, nanos: 0 });
    let moved = |keyspace, workflow, direction| {
        let request = WorkflowSwitchTrafficRequest {
            keyspace,
            workflow,
            tablet_types: whose.tablet_types(),
            max_replication_lag_allowed: thirty,
            enable_reverse_replication: true,
            direction,
            timeout: thirty,
            ..WorkflowSwitchTrafficRequest::default()
        };
        (rpc::WORKFLOW_SWITCH_TRAFFIC, request.encode_to_vec())
    };
    match change {
        TrafficChange::Switch => moved(keyspace, workflow, 0),
        TrafficChange::Reverse => moved(keyspace, workflow, 1),
        TrafficChange::Complete => {
            let request =
                MoveTablesCompleteRequest { workflow, target_keyspace: keyspace, ..MoveTablesCompleteRequest::default() };
            (rpc::MOVE_TABLES_COMPLETE, request.encode_to_vec())
        }
        TrafficChange::Cancel => {
            let request =
                WorkflowDeleteRequest { keyspace, workflow, delete_batch_size: 1000, ..WorkflowDeleteRequest::default() };
            (rpc::WORKFLOW_DELETE, request.encode_to_vec())
        }
    }
}

/// A change of a workflow's streams that leaves them as they are. `NULL` and -1 keep cells and tablet types: what is left out would be
/// emptied by some releases.
pub fn unchanged() -> UpdateVReplicationWorkflowRequest {
    UpdateVReplicationWorkflowRequest {
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        ..UpdateVReplicationWorkflowRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called<M: Message + Default>(request: Request) -> (String, M, Vec<String>) {
        let options = CallOptions { strict: true, shards: vec!["option".into()], ..CallOptions::default() };
        let Call { path, request, options } = request.call(options);
        assert!(options.strict, "{path}: the options are kept");
        (path, M::decode(request.as_slice()).unwrap(), options.shards)
    }

    fn asked<M: Message + Default + PartialEq + std::fmt::Debug>(request: Request, path: &str, want: &M) {
        let (got, message, shards) = called::<M>(request);
        assert_eq!((got.as_str(), &message, shards), (path, want, vec!["option".to_owned()]));
    }

    /// Every field that a person fills in is in the message.
    #[test]
    fn a_request_is_the_message_of_its_rpc() {
        let (keyspace, workflow, shards) = ("ks".to_owned(), "wf".to_owned(), vec!["-80".to_owned(), "80-".to_owned()]);
        asked(
            Request::Workflows {
                keyspace: keyspace.clone(),
                workflow: workflow.clone(),
                logs: true,
                active_only: true,
                shards: shards.clone(),
            },
            "/vtctlservice.Vtctld/GetWorkflows",
            &GetWorkflowsRequest {
                keyspace: keyspace.clone(),
                active_only: true,
                name_only: false,
                workflow: workflow.clone(),
                include_logs: true,
                shards: shards.clone(),
            },
        );
        asked(
            Request::Migrations { keyspace: keyspace.clone(), uuid: "u".into() },
            "/vtctlservice.Vtctld/GetSchemaMigrations",
            &GetSchemaMigrationsRequest { keyspace: keyspace.clone(), uuid: "u".into(), ..GetSchemaMigrationsRequest::default() },
        );
        asked(
            Request::Shards { keyspace: keyspace.clone() },
            "/vtctlservice.Vtctld/FindAllShardsInKeyspace",
            &FindAllShardsInKeyspaceRequest { keyspace: keyspace.clone() },
        );
        asked(
            Request::Diagnosis { keyspace: keyspace.clone(), workflow: workflow.clone() },
            "/vtflow.Vtflow/Diagnose",
            &DiagnoseRequest { keyspace: keyspace.clone(), workflow: workflow.clone(), sequences: false },
        );
        let sql = "select 1".to_owned();
        asked(
            Request::Vexec { keyspace: keyspace.clone(), workflow: workflow.clone(), sql: sql.clone(), shards: shards.clone() },
            "/vtflow.VExec/Execute",
            &VExecRequest { keyspace: keyspace.clone(), workflow: workflow.clone(), sql, shards: shards.clone(), dry_run: true },
        );
        for (action, state) in
            [(StateChange::Start, VReplicationWorkflowState::Running), (StateChange::Stop, VReplicationWorkflowState::Stopped)]
        {
            let wanted = UpdateVReplicationWorkflowRequest {
                workflow: workflow.clone(),
                state: Some(state.into()),
                shards: shards.clone(),
                // As Vitess's clients say that these stay as they are.
                cells: vec!["NULL".into()],
                tablet_types: vec![-1],
                ..UpdateVReplicationWorkflowRequest::default()
            };
            asked(
                Request::Update { keyspace: keyspace.clone(), workflow: workflow.clone(), action, shards: shards.clone() },
                "/vtctlservice.Vtctld/WorkflowUpdate",
                &WorkflowUpdateRequest { keyspace: keyspace.clone(), tablet_request: Some(wanted) },
            );
        }
        asked(
            Request::Delete {
                keyspace: keyspace.clone(),
                workflow: workflow.clone(),
                ignore_source: true,
                shards: shards.clone(),
            },
            "/vtctlservice.Vtctld/WorkflowDelete",
            &WorkflowDeleteRequest {
                keyspace,
                workflow,
                keep_data: true,
                keep_routing_rules: true,
                ignore_source_keyspace: true,
                shards,
                ..WorkflowDeleteRequest::default()
            },
        );
    }

    /// Its message has no field for shards: they are an option.
    #[test]
    fn each_verb_of_migrations_is_an_rpc_of_its_own() {
        for (verb, method) in [
            (MigrationVerb::Cancel, "CancelSchemaMigration"),
            (MigrationVerb::Cleanup, "CleanupSchemaMigration"),
            (MigrationVerb::Complete, "CompleteSchemaMigration"),
            (MigrationVerb::ForceCutover, "ForceCutOverSchemaMigration"),
            (MigrationVerb::Launch, "LaunchSchemaMigration"),
            (MigrationVerb::Retry, "RetrySchemaMigration"),
        ] {
            let request = Request::Migration { keyspace: "ks".into(), uuid: "u".into(), verb, shards: vec!["-80".into()] };
            let (path, message, shards) = called::<CancelSchemaMigrationRequest>(request);
            assert_eq!(path, format!("/vtctlservice.Vtctld/{method}"));
            assert_eq!(message, CancelSchemaMigrationRequest { keyspace: "ks".into(), uuid: "u".into(), caller_id: None });
            assert_eq!(shards, ["option", "-80"]);
        }
    }
}
