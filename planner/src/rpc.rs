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

/// Every RPC of Vitess's services that vtflow answers itself. [`SNAPSHOT`] is not offered to clients: it reads everything.
pub const SERVED: &[Served] = &[Served { path: GET_WORKFLOWS, effect: Effect::Read }];

/// `vtctlservice.Vtctld/GetWorkflows`: [`crate::ops::get_workflows`].
pub const GET_WORKFLOWS: &str = "/vtctlservice.Vtctld/GetWorkflows";

/// Our own: records keyspaces for `--snapshot`. [`crate::ops`], `snapshot`.
pub const SNAPSHOT: &str = "/vtflow.Snapshot/Read";

/// The tablet RPC that runs one statement on the vreplication tables, on every release. Source:
/// `go/vt/vttablet/tabletmanager/rpc_vreplication.go:VReplicationExec`.
pub const VREPLICATION_EXEC: &str = "/tabletmanagerservice.TabletManager/VReplicationExec";

/// The tablet RPC that runs any statement as the DBA user, on tablets of every type and release. Source:
/// `go/vt/vttablet/tabletmanager/rpc_query.go:ExecuteFetchAsDba`.
pub const EXECUTE_FETCH_AS_DBA: &str = "/tabletmanagerservice.TabletManager/ExecuteFetchAsDba";
