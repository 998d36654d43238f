//! The requests that the page builds: plain fields in, a call of the planner out.

use prost::Message;
use serde::Deserialize;
use vtflow_planner::{
    Call, CallOptions, Mode,
    proto::{
        tabletmanagerdata::UpdateVReplicationWorkflowRequest,
        vtctldata::{
            CancelSchemaMigrationRequest, FindAllShardsInKeyspaceRequest, GetSchemaMigrationsRequest, GetWorkflowsRequest,
            WorkflowDeleteRequest, WorkflowUpdateRequest,
        },
        vtflow::VExecRequest,
    },
    rpc,
};
use wasm_bindgen::prelude::*;

use crate::{read, write};

/// A request as the page has it.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Wanted {
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
    Migrations {
        keyspace: String,
        #[serde(default)]
        uuid: String,
    },
    Shards {
        keyspace: String,
    },
    Vexec {
        keyspace: String,
        #[serde(default)]
        workflow: String,
        sql: String,
        #[serde(default)]
        shards: Vec<String>,
    },
    Update {
        keyspace: String,
        workflow: String,
        /// `start` or `stop`.
        action: Action,
        #[serde(default)]
        shards: Vec<String>,
    },
    Delete {
        keyspace: String,
        workflow: String,
        #[serde(default)]
        shards: Vec<String>,
    },
    Migration {
        keyspace: String,
        uuid: String,
        verb: Verb,
        #[serde(default)]
        shards: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Start,
    Stop,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verb {
    Cancel,
    Cleanup,
    Complete,
    ForceCutover,
    Launch,
    Retry,
}

/// The planner's call for a request of the page. Writes are previews: a page changes nothing.
///
/// # Errors
/// A request of another form: which field is wrong.
#[wasm_bindgen(unchecked_return_type = "Call")]
pub fn call(#[wasm_bindgen(unchecked_param_type = "Request")] request: JsValue) -> Result<JsValue, JsError> {
    write(&of(read("request", request)?))
}

fn of(wanted: Wanted) -> Call {
    let call = |path: &str, request: Vec<u8>, mode, shards| {
        let options = CallOptions { mode, shards, ..CallOptions::default() };
        Call { path: path.into(), request, options }
    };
    match wanted {
        Wanted::Workflows { keyspace, workflow, logs, active_only, shards } => {
            let include_logs = logs;
            let request =
                GetWorkflowsRequest { keyspace, workflow, include_logs, active_only, shards, ..GetWorkflowsRequest::default() };
            call(rpc::GET_WORKFLOWS, request.encode_to_vec(), Mode::Perform, Vec::new())
        }
        Wanted::Migrations { keyspace, uuid } => {
            let request = GetSchemaMigrationsRequest { keyspace, uuid, ..GetSchemaMigrationsRequest::default() };
            call(rpc::GET_SCHEMA_MIGRATIONS, request.encode_to_vec(), Mode::Perform, Vec::new())
        }
        Wanted::Shards { keyspace } => {
            let request = FindAllShardsInKeyspaceRequest { keyspace };
            call(vtflow_screen::FIND_SHARDS, request.encode_to_vec(), Mode::Perform, Vec::new())
        }
        Wanted::Vexec { keyspace, workflow, sql, shards } => {
            let request = VExecRequest { keyspace, workflow, sql, shards, dry_run: true };
            call(rpc::VEXEC, request.encode_to_vec(), Mode::Perform, Vec::new())
        }
        Wanted::Update { keyspace, workflow, action, shards } => {
            // As vtctldclient's `Workflow start|stop`: `NULL` and -1 leave cells and tablet types as they are.
            let request = UpdateVReplicationWorkflowRequest {
                workflow,
                cells: vec!["NULL".into()],
                tablet_types: vec![-1],
                state: Some(match action {
                    Action::Stop => 2,
                    Action::Start => 4,
                }),
                shards,
                ..UpdateVReplicationWorkflowRequest::default()
            };
            let request = WorkflowUpdateRequest { keyspace, tablet_request: Some(request) };
            call(rpc::WORKFLOW_UPDATE, request.encode_to_vec(), Mode::Preview, Vec::new())
        }
        Wanted::Delete { keyspace, workflow, shards } => {
            let request = WorkflowDeleteRequest {
                keyspace,
                workflow,
                keep_data: true,
                keep_routing_rules: true,
                shards,
                ..WorkflowDeleteRequest::default()
            };
            call(rpc::WORKFLOW_DELETE, request.encode_to_vec(), Mode::Preview, Vec::new())
        }
        Wanted::Migration { keyspace, uuid, verb, shards } => {
            let path = match verb {
                Verb::Cancel => rpc::CANCEL_SCHEMA_MIGRATION,
                Verb::Cleanup => rpc::CLEANUP_SCHEMA_MIGRATION,
                Verb::Complete => rpc::COMPLETE_SCHEMA_MIGRATION,
                Verb::ForceCutover => rpc::FORCE_CUT_OVER_SCHEMA_MIGRATION,
                Verb::Launch => rpc::LAUNCH_SCHEMA_MIGRATION,
                Verb::Retry => rpc::RETRY_SCHEMA_MIGRATION,
            };
            // The six messages are one.
            let request = CancelSchemaMigrationRequest { keyspace, uuid, caller_id: None };
            call(path, request.encode_to_vec(), Mode::Preview, shards)
        }
    }
}
