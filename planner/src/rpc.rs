//! The RPCs served, each with its operation. A path that is not here is not vtflow's.

/// `vtctlservice.Vtctld/GetWorkflows`: [`crate::ops::get_workflows`].
pub const GET_WORKFLOWS: &str = "/vtctlservice.Vtctld/GetWorkflows";

/// `vtctlservice.Vtctld/GetSchemaMigrations`: [`crate::ops`], `schema_migrations`.
pub const GET_SCHEMA_MIGRATIONS: &str = "/vtctlservice.Vtctld/GetSchemaMigrations";

/// `vtctlservice.Vtctld/VDiffShow`: [`crate::ops`], `vdiff_show`.
pub const VDIFF_SHOW: &str = "/vtctlservice.Vtctld/VDiffShow";

/// `vtctlservice.Vtctld/WorkflowStatus`: [`crate::ops`], `workflow_status`.
pub const WORKFLOW_STATUS: &str = "/vtctlservice.Vtctld/WorkflowStatus";

/// The RPCs of Vitess that vtflow serves, by path.
pub const SERVED: &[&str] = &[
    "/vtctlservice.Vtctld/FindAllShardsInKeyspace",
    "/vtctlservice.Vtctld/GetCellInfo",
    "/vtctlservice.Vtctld/GetCellInfoNames",
    "/vtctlservice.Vtctld/GetCellsAliases",
    "/vtctlservice.Vtctld/GetKeyspace",
    "/vtctlservice.Vtctld/GetKeyspaceRoutingRules",
    "/vtctlservice.Vtctld/GetKeyspaces",
    "/vtctlservice.Vtctld/GetMirrorRules",
    "/vtctlservice.Vtctld/GetRoutingRules",
    GET_SCHEMA_MIGRATIONS,
    "/vtctlservice.Vtctld/GetShard",
    "/vtctlservice.Vtctld/GetShardRoutingRules",
    "/vtctlservice.Vtctld/GetSrvKeyspaceNames",
    "/vtctlservice.Vtctld/GetSrvKeyspaces",
    "/vtctlservice.Vtctld/GetSrvVSchema",
    "/vtctlservice.Vtctld/GetSrvVSchemas",
    "/vtctlservice.Vtctld/GetTablet",
    "/vtctlservice.Vtctld/GetTablets",
    "/vtctlservice.Vtctld/GetTopologyPath",
    "/vtctlservice.Vtctld/GetVSchema",
    GET_WORKFLOWS,
    VDIFF_SHOW,
    WORKFLOW_STATUS,
];

/// Our own: records keyspaces for `--snapshot`. [`crate::ops`], `snapshot`.
pub const SNAPSHOT: &str = "/vtflow.Snapshot/Read";

/// The tablet RPC that runs one statement on the vreplication tables, on every release. Source:
/// `go/vt/vttablet/tabletmanager/rpc_vreplication.go:VReplicationExec`.
pub const VREPLICATION_EXEC: &str = "/tabletmanagerservice.TabletManager/VReplicationExec";

/// The tablet RPC that runs any statement as the DBA user, on tablets of every type and release. Source:
/// `go/vt/vttablet/tabletmanager/rpc_query.go:ExecuteFetchAsDba`.
pub const EXECUTE_FETCH_AS_DBA: &str = "/tabletmanagerservice.TabletManager/ExecuteFetchAsDba";

/// The tablet RPC that creates, shows and controls `VDiffs`, on tablets of v14 on. Source:
/// `go/vt/vttablet/tabletmanager/rpc_vreplication.go`, `vdiff/action.go`.
pub const VDIFF: &str = "/tabletmanagerservice.TabletManager/VDiff";
