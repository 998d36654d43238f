//! The gRPC paths that vtflow serves or calls, by name. How each begins: [`crate::serve`].

/// `vtctlservice.Vtctld/GetWorkflows`: [`crate::ops::get_workflows`].
pub const GET_WORKFLOWS: &str = "/vtctlservice.Vtctld/GetWorkflows";

/// `vtctlservice.Vtctld/GetSchemaMigrations`: [`crate::ops`], `schema_migrations`.
pub const GET_SCHEMA_MIGRATIONS: &str = "/vtctlservice.Vtctld/GetSchemaMigrations";

/// `vtctlservice.Vtctld/GetKeyspaces`: [`crate::ops`], `topology`.
pub const GET_KEYSPACES: &str = "/vtctlservice.Vtctld/GetKeyspaces";

/// `vtctlservice.Vtctld/GetTablets`: [`crate::ops`], `topology`.
pub const GET_TABLETS: &str = "/vtctlservice.Vtctld/GetTablets";

/// `vtctlservice.Vtctld/FindAllShardsInKeyspace`: [`crate::ops`], `topology`.
pub const FIND_ALL_SHARDS_IN_KEYSPACE: &str = "/vtctlservice.Vtctld/FindAllShardsInKeyspace";

/// `vtctlservice.Vtctld/GetTopologyPath`: [`crate::ops`], `topology`.
pub const GET_TOPOLOGY_PATH: &str = "/vtctlservice.Vtctld/GetTopologyPath";

/// `vtctlservice.Vtctld/VDiffShow`: [`crate::ops`], `vdiff_show`.
pub const VDIFF_SHOW: &str = "/vtctlservice.Vtctld/VDiffShow";

/// `vtctlservice.Vtctld/VDiffCreate`, and its three sisters that change one: [`crate::write`], `vdiff`.
pub const VDIFF_CREATE: &str = "/vtctlservice.Vtctld/VDiffCreate";
/// See [`VDIFF_CREATE`].
pub const VDIFF_DELETE: &str = "/vtctlservice.Vtctld/VDiffDelete";
/// See [`VDIFF_CREATE`].
pub const VDIFF_RESUME: &str = "/vtctlservice.Vtctld/VDiffResume";
/// See [`VDIFF_CREATE`].
pub const VDIFF_STOP: &str = "/vtctlservice.Vtctld/VDiffStop";

/// `vtctlservice.Vtctld/WorkflowStatus`: [`crate::ops`], `workflow_status`.
pub const WORKFLOW_STATUS: &str = "/vtctlservice.Vtctld/WorkflowStatus";

/// `vtctlservice.Vtctld/GetVersion`: [`crate::ops`], `get_version`.
pub const GET_VERSION: &str = "/vtctlservice.Vtctld/GetVersion";

/// `vtctlservice.Vtctl/ExecuteVtctlCommand`: [`crate::ops`], `legacy`. Which of its commands are served says [`crate::serve::serves`].
pub const EXECUTE_VTCTL_COMMAND: &str = "/vtctlservice.Vtctl/ExecuteVtctlCommand";

/// `vtctlservice.Vtctld/WorkflowUpdate`: [`crate::write`], `workflow_update`.
pub const WORKFLOW_UPDATE: &str = "/vtctlservice.Vtctld/WorkflowUpdate";
/// `vtctlservice.Vtctld/WorkflowDelete`: [`crate::write`], `workflow_delete`.
pub const WORKFLOW_DELETE: &str = "/vtctlservice.Vtctld/WorkflowDelete";
/// `vtctlservice.Vtctld/UpdateThrottlerConfig`: [`crate::write`], `throttler`. Only requests that throttle an application.
pub const UPDATE_THROTTLER_CONFIG: &str = "/vtctlservice.Vtctld/UpdateThrottlerConfig";
/// `vtctlservice.Vtctld/CancelSchemaMigration`, and its five sisters: [`crate::write`], `migration`.
pub const CANCEL_SCHEMA_MIGRATION: &str = "/vtctlservice.Vtctld/CancelSchemaMigration";
/// See [`CANCEL_SCHEMA_MIGRATION`].
pub const CLEANUP_SCHEMA_MIGRATION: &str = "/vtctlservice.Vtctld/CleanupSchemaMigration";
/// See [`CANCEL_SCHEMA_MIGRATION`].
pub const COMPLETE_SCHEMA_MIGRATION: &str = "/vtctlservice.Vtctld/CompleteSchemaMigration";
/// See [`CANCEL_SCHEMA_MIGRATION`].
pub const FORCE_CUT_OVER_SCHEMA_MIGRATION: &str = "/vtctlservice.Vtctld/ForceCutOverSchemaMigration";
/// See [`CANCEL_SCHEMA_MIGRATION`].
pub const LAUNCH_SCHEMA_MIGRATION: &str = "/vtctlservice.Vtctld/LaunchSchemaMigration";
/// See [`CANCEL_SCHEMA_MIGRATION`].
pub const RETRY_SCHEMA_MIGRATION: &str = "/vtctlservice.Vtctld/RetrySchemaMigration";

/// `vtctlservice.Vtctld/WorkflowSwitchTraffic`, both directions: [`crate::cutover`].
pub const WORKFLOW_SWITCH_TRAFFIC: &str = "/vtctlservice.Vtctld/WorkflowSwitchTraffic";

/// `vtctlservice.Vtctld/WorkflowMirrorTraffic`: [`crate::cutover`].
pub const WORKFLOW_MIRROR_TRAFFIC: &str = "/vtctlservice.Vtctld/WorkflowMirrorTraffic";

/// `vtctlservice.Vtctld/MoveTablesComplete`, of a Reshard and a Migrate, too: [`crate::cutover`].
pub const MOVE_TABLES_COMPLETE: &str = "/vtctlservice.Vtctld/MoveTablesComplete";

/// Our own, and served to clients: what changes of traffic have left behind. [`crate::ops`], `diagnose`.
pub const DIAGNOSE: &str = "/vtflow.Vtflow/Diagnose";

/// Our own: takes away locks of a workflow whose holder is gone. [`crate::write`], `unlock`. Not offered to clients.
pub const UNLOCK: &str = "/vtflow.Unlock/Execute";

/// Our own: records keyspaces for `--snapshot`. [`crate::ops`], `snapshot`.
pub const SNAPSHOT: &str = "/vtflow.Snapshot/Read";

/// Our own: one statement on the sidecar tables of a keyspace. [`crate::ops`], `vexec`. Not offered to clients.
pub const VEXEC: &str = "/vtflow.VExec/Execute";

/// The tablet RPC that runs one statement on the vreplication tables, on every release. Source:
/// `go/vt/vttablet/tabletmanager/rpc_vreplication.go:VReplicationExec`.
pub const VREPLICATION_EXEC: &str = "/tabletmanagerservice.TabletManager/VReplicationExec";

/// The tablet RPC that runs any statement as the DBA user, on tablets of every type and release. Source:
/// `go/vt/vttablet/tabletmanager/rpc_query.go:ExecuteFetchAsDba`.
pub const EXECUTE_FETCH_AS_DBA: &str = "/tabletmanagerservice.TabletManager/ExecuteFetchAsDba";

/// The tablet RPC that creates, shows and controls `VDiffs`, on tablets of v14 on. Source:
/// `go/vt/vttablet/tabletmanager/rpc_vreplication.go`, `vdiff/action.go`.
pub const VDIFF: &str = "/tabletmanagerservice.TabletManager/VDiff";

/// The tablet RPC that reads one workflow; asked to learn whether the tablet is of v18 or later. Source:
/// `go/vt/vttablet/tabletmanager/rpc_vreplication.go:ReadVReplicationWorkflow`.
pub const READ_VREPLICATION_WORKFLOW: &str = "/tabletmanagerservice.TabletManager/ReadVReplicationWorkflow";

/// The tablet RPC that checks the database user's rights; asked to learn whether the tablet is of v21 or later.
pub const VALIDATE_VREPLICATION_PERMISSIONS: &str = "/tabletmanagerservice.TabletManager/ValidateVReplicationPermissions";

/// The tablet RPC that changes the streams of one workflow, v18 on. Source:
/// `go/vt/vttablet/tabletmanager/rpc_vreplication.go:UpdateVReplicationWorkflow`.
pub const UPDATE_VREPLICATION_WORKFLOW: &str = "/tabletmanagerservice.TabletManager/UpdateVReplicationWorkflow";

/// The tablet RPC that runs a statement through the tablet's own query service, where `alter vitess_migration` is known. Source:
/// `go/vt/vttablet/tabletmanager/rpc_query.go:ExecuteQuery`.
pub const EXECUTE_QUERY: &str = "/tabletmanagerservice.TabletManager/ExecuteQuery";

/// The tablet RPC that deletes the streams of one workflow, v18 on. Source:
/// `go/vt/vttablet/tabletmanager/rpc_vreplication.go:DeleteVReplicationWorkflow`.
pub const DELETE_VREPLICATION_WORKFLOW: &str = "/tabletmanagerservice.TabletManager/DeleteVReplicationWorkflow";

/// The tablet RPC that deletes rows of tables in batches, v22 on. Source:
/// `go/vt/vttablet/tabletmanager/rpc_vreplication.go:DeleteTableData`.
pub const DELETE_TABLE_DATA: &str = "/tabletmanagerservice.TabletManager/DeleteTableData";

/// The tablet RPC that makes a tablet read its shard's record and what its cell serves. Source:
/// `go/vt/vttablet/tabletmanager/rpc_actions.go:RefreshState`.
pub const REFRESH_STATE: &str = "/tabletmanagerservice.TabletManager/RefreshState";

/// The tablet RPC that tells where a primary is. Source: `go/vt/vttablet/tabletmanager/rpc_replication.go:PrimaryPosition`.
pub const PRIMARY_POSITION: &str = "/tabletmanagerservice.TabletManager/PrimaryPosition";

/// The tablet RPC that waits until a stream has come to a position. Source:
/// `go/vt/vttablet/tabletmanager/rpc_vreplication.go:VReplicationWaitForPos`.
pub const VREPLICATION_WAIT_FOR_POS: &str = "/tabletmanagerservice.TabletManager/VReplicationWaitForPos";
