//! The RPCs served, each with its operation. A path that is not here is not vtflow's.

use crate::flow::Effect;

/// One RPC that a server offers to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The gRPC path. The request and response messages are `vtctldata`'s, named after the method.
    pub path: &'static str,
    /// Whether it changes anything. Equal reads that are under way at once may be one.
    pub effect: Effect,
}

/// `vtctlservice.Vtctld/GetWorkflows`: [`crate::ops::get_workflows`].
pub const GET_WORKFLOWS: &str = "/vtctlservice.Vtctld/GetWorkflows";

/// `vtctlservice.Vtctld/GetSchemaMigrations`: [`crate::ops`], `schema_migrations`.
pub const GET_SCHEMA_MIGRATIONS: &str = "/vtctlservice.Vtctld/GetSchemaMigrations";

/// `vtctlservice.Vtctld/VDiffShow`: [`crate::ops`], `vdiff_show`.
pub const VDIFF_SHOW: &str = "/vtctlservice.Vtctld/VDiffShow";

/// `vtctlservice.Vtctld/WorkflowStatus`: [`crate::ops`], `workflow_status`.
pub const WORKFLOW_STATUS: &str = "/vtctlservice.Vtctld/WorkflowStatus";

/// Every RPC of Vitess's services that vtflow answers itself, by path. [`SNAPSHOT`] is not offered to clients: it reads
/// everything.
pub const SERVED: &[Served] = &[
    read("/vtctlservice.Vtctld/FindAllShardsInKeyspace"),
    read("/vtctlservice.Vtctld/GetCellInfo"),
    read("/vtctlservice.Vtctld/GetCellInfoNames"),
    read("/vtctlservice.Vtctld/GetCellsAliases"),
    read("/vtctlservice.Vtctld/GetKeyspace"),
    read("/vtctlservice.Vtctld/GetKeyspaceRoutingRules"),
    read("/vtctlservice.Vtctld/GetKeyspaces"),
    read("/vtctlservice.Vtctld/GetMirrorRules"),
    read("/vtctlservice.Vtctld/GetRoutingRules"),
    read(GET_SCHEMA_MIGRATIONS),
    read("/vtctlservice.Vtctld/GetShard"),
    read("/vtctlservice.Vtctld/GetShardRoutingRules"),
    read("/vtctlservice.Vtctld/GetSrvKeyspaceNames"),
    read("/vtctlservice.Vtctld/GetSrvKeyspaces"),
    read("/vtctlservice.Vtctld/GetSrvVSchema"),
    read("/vtctlservice.Vtctld/GetSrvVSchemas"),
    read("/vtctlservice.Vtctld/GetTablet"),
    read("/vtctlservice.Vtctld/GetTablets"),
    read("/vtctlservice.Vtctld/GetTopologyPath"),
    read("/vtctlservice.Vtctld/GetVSchema"),
    read(GET_WORKFLOWS),
    read(VDIFF_SHOW),
    read(WORKFLOW_STATUS),
];

const fn read(path: &'static str) -> Served {
    Served { path, effect: Effect::Read }
}

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
