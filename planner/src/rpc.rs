//! The RPCs served, each with its operation. A path that is not here is not vtflow's.

use prost::Message;

use crate::{
    flow::Effect,
    ops,
    proto::vtctldata::{GetSchemaMigrationsRequest, GetTopologyPathRequest},
    write,
};

/// One RPC that a server offers to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The gRPC path. The request and response messages are `vtctldata`'s, named after the method.
    pub path: &'static str,
    /// Whether it changes anything. Equal reads that are under way at once may be one.
    pub effect: Effect,
    /// Whether it answers with a stream of messages; else with one.
    pub streams: bool,
    /// Which of its requests vtflow answers, for people; empty: all of them. [`serves`] tells of one request.
    pub part: &'static str,
}

/// `vtctlservice.Vtctld/GetWorkflows`: [`crate::ops::get_workflows`].
pub const GET_WORKFLOWS: &str = "/vtctlservice.Vtctld/GetWorkflows";

/// `vtctlservice.Vtctld/GetSchemaMigrations`: [`crate::ops`], `schema_migrations`.
pub const GET_SCHEMA_MIGRATIONS: &str = "/vtctlservice.Vtctld/GetSchemaMigrations";

/// `vtctlservice.Vtctld/GetTopologyPath`: [`crate::ops`], `topology`.
pub const GET_TOPOLOGY_PATH: &str = "/vtctlservice.Vtctld/GetTopologyPath";

/// `vtctlservice.Vtctld/VDiffShow`: [`crate::ops`], `vdiff_show`.
pub const VDIFF_SHOW: &str = "/vtctlservice.Vtctld/VDiffShow";

/// `vtctlservice.Vtctld/WorkflowStatus`: [`crate::ops`], `workflow_status`.
pub const WORKFLOW_STATUS: &str = "/vtctlservice.Vtctld/WorkflowStatus";

/// `vtctlservice.Vtctld/GetVersion`: [`crate::ops`], `get_version`.
pub const GET_VERSION: &str = "/vtctlservice.Vtctld/GetVersion";

/// `vtctlservice.Vtctl/ExecuteVtctlCommand`: [`crate::ops`], `legacy`. Which of its commands are served says [`serves`].
pub const EXECUTE_VTCTL_COMMAND: &str = "/vtctlservice.Vtctl/ExecuteVtctlCommand";

/// Every RPC of Vitess's services that vtflow answers itself, by path. [`SNAPSHOT`] is not offered to clients: it reads
/// everything.
pub const SERVED: &[Served] = &[
    Served {
        path: EXECUTE_VTCTL_COMMAND,
        effect: Effect::Read,
        streams: true,
        part: "Workflow show and listall, OnlineDDL show",
    },
    read("/vtctlservice.Vtctld/FindAllShardsInKeyspace"),
    read("/vtctlservice.Vtctld/GetCellInfo"),
    read("/vtctlservice.Vtctld/GetCellInfoNames"),
    read("/vtctlservice.Vtctld/GetCellsAliases"),
    read("/vtctlservice.Vtctld/GetKeyspace"),
    read("/vtctlservice.Vtctld/GetKeyspaceRoutingRules"),
    read("/vtctlservice.Vtctld/GetKeyspaces"),
    read("/vtctlservice.Vtctld/GetMirrorRules"),
    read("/vtctlservice.Vtctld/GetRoutingRules"),
    Served { part: "of one keyspace", ..read(GET_SCHEMA_MIGRATIONS) },
    read("/vtctlservice.Vtctld/GetShard"),
    read("/vtctlservice.Vtctld/GetShardRoutingRules"),
    read("/vtctlservice.Vtctld/GetSrvKeyspaceNames"),
    read("/vtctlservice.Vtctld/GetSrvKeyspaces"),
    read("/vtctlservice.Vtctld/GetSrvVSchema"),
    read("/vtctlservice.Vtctld/GetSrvVSchemas"),
    read("/vtctlservice.Vtctld/GetTablet"),
    read("/vtctlservice.Vtctld/GetTablets"),
    Served { part: "the current version", ..read(GET_TOPOLOGY_PATH) },
    read("/vtctlservice.Vtctld/GetVSchema"),
    read(GET_VERSION),
    read(GET_WORKFLOWS),
    read(VDIFF_SHOW),
    read(WORKFLOW_STATUS),
    write(CANCEL_SCHEMA_MIGRATION),
    write(CLEANUP_SCHEMA_MIGRATION),
    write(COMPLETE_SCHEMA_MIGRATION),
    write(FORCE_CUT_OVER_SCHEMA_MIGRATION),
    write(LAUNCH_SCHEMA_MIGRATION),
    write(RETRY_SCHEMA_MIGRATION),
    partly(UPDATE_THROTTLER_CONFIG, "one application's throttling"),
    partly(WORKFLOW_DELETE, "deletions that keep tables and routing rules"),
    partly(WORKFLOW_UPDATE, "all but messages and filter rules"),
];

const fn write(path: &'static str) -> Served {
    partly(path, "")
}

const fn partly(path: &'static str, part: &'static str) -> Served {
    Served { path, effect: Effect::Write, streams: false, part }
}

const fn read(path: &'static str) -> Served {
    Served { path, effect: Effect::Read, streams: false, part: "" }
}

/// What is served under a gRPC path; `None`: that is not vtflow's.
pub fn served(path: &str) -> Option<&'static Served> {
    SERVED.iter().find(|served| served.path == path)
}

/// Whether vtflow answers this very request. Where it does not, a vtctld may; a flow of it would only say so, with
/// [`Code::Unimplemented`](crate::Code::Unimplemented) and nothing touched.
///
/// The message alone decides here. What only rows can tell (a workflow that reads another cluster, say) ends the flow with that
/// code, and a server hands the request on then. A request to change something that has fields which this build does not know
/// asks for more than vtflow would do, so it is not answered either. One that cannot be decoded is answered, with that.
pub fn serves(path: &str, request: &[u8]) -> bool {
    if path == EXECUTE_VTCTL_COMMAND {
        return ops::serves_command(request);
    }
    match served(path).map(|served| (served.effect, path)) {
        Some((Effect::Write, _)) => write::serves(path, request),
        Some((Effect::Read, GET_SCHEMA_MIGRATIONS)) => {
            GetSchemaMigrationsRequest::decode(request).map_or(true, |wanted| !wanted.keyspace.is_empty())
        }
        Some((Effect::Read, GET_TOPOLOGY_PATH)) => {
            GetTopologyPathRequest::decode(request).map_or(true, |wanted| wanted.version == 0)
        }
        Some((Effect::Read, _)) => true,
        None => false,
    }
}

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
