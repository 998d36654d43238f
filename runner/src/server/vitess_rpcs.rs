//! The names of Vitess's RPCs, those that vtflow serves and those that it does not: to say what is forwarded, to tell a known
//! method from a mistyped one, and to keep metrics' labels few.
//!
//! Source: `proto/vtctlservice.proto` of v10 to v24.

use vtflow_planner::{Effect, serve};

/// The service that `vtctldclient` and `VTAdmin` call.
pub const VTCTLD: &str = "vtctlservice.Vtctld";
/// The service that `vtctlclient` calls, with one streaming method.
pub const VTCTL: &str = "vtctlservice.Vtctl";

/// Who answers a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answerer {
    /// vtflow itself.
    Vtflow,
    /// vtflow itself, if the server may change the cluster; as [`Answerer::Forwarded`] if not.
    VtflowIfAllowed,
    /// A vtctld, if `--forward-to` names one.
    Forwarded,
}

/// Every method of both services with who answers it, sorted by path.
pub fn all() -> Vec<(String, Answerer)> {
    let mut all: Vec<(String, Answerer)> = METHODS
        .iter()
        .map(|method| format!("/{VTCTLD}/{method}"))
        .chain([format!("/{VTCTL}/{LEGACY}")])
        .chain(own().map(|served| served.path.to_owned()))
        .map(with_answerer)
        .collect();
    all.sort();
    all
}

/// The RPCs of our own that are offered to clients.
fn own() -> impl Iterator<Item = &'static serve::Served> {
    serve::SERVED.iter().filter(|served| served.path.starts_with("/vtflow."))
}

fn with_answerer(path: String) -> (String, Answerer) {
    let answerer = match serve::served(&path).map(|served| served.effect) {
        Some(Effect::Read) => Answerer::Vtflow,
        Some(Effect::Write) => Answerer::VtflowIfAllowed,
        None => Answerer::Forwarded,
    };
    (path, answerer)
}

/// A path as a label or a log shows it: without the slash; `None` for one that nobody knows.
pub(super) fn known(path: &str) -> Option<&str> {
    let name = path.strip_prefix('/')?;
    let (service, method) = name.split_once('/')?;
    let is_known = match service {
        VTCTLD => METHODS.binary_search(&method).is_ok(),
        VTCTL => method == LEGACY,
        "grpc.health.v1.Health" => matches!(method, "Check" | "Watch"),
        "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection" => method == "ServerReflectionInfo",
        _ => own().any(|served| served.path == path),
    };
    is_known.then_some(name)
}

/// Whether an RPC that vtflow does not serve only reads, by its name: who changes something is written down, and so is what nobody
/// here knows. A command line may be anything.
pub(super) fn only_reads(path: &str) -> bool {
    let Some((VTCTLD, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
        return path.starts_with("/grpc.") || own().any(|served| served.path == path && served.effect == Effect::Read);
    };
    ["Get", "Find", "Validate", "Ping", "Check"].iter().any(|prefix| method.starts_with(prefix))
        || matches!(
            method,
            "MountList" | "MountShow" | "VDiffShow" | "WorkflowStatus" | "ShardReplicationPositions" | "RunHealthCheck"
        )
}

/// What a server without `--forward-to` says of an RPC that vtflow does not serve: a Go server's text, then what would help.
pub(super) fn unknown(path: &str) -> String {
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.rsplit_once('/')) else {
        return format!("malformed method name: {path:?}");
    };
    let go = match service {
        VTCTLD | VTCTL | "grpc.health.v1.Health" => format!("unknown method {method} for service {service}"),
        _ => format!("unknown service {service}"),
    };
    format!("{go}: vtflow does not serve it; with --forward-to HOST:PORT it would be forwarded to a vtctld")
}

const LEGACY: &str = "ExecuteVtctlCommand";

/// The methods of [`VTCTLD`], sorted.
const METHODS: &[&str] = &[
    "AddCellInfo",
    "AddCellsAlias",
    "ApplyKeyspaceRoutingRules",
    "ApplyRoutingRules",
    "ApplySchema",
    "ApplyShardRoutingRules",
    "ApplyVSchema",
    "Backup",
    "BackupShard",
    "CancelSchemaMigration",
    "ChangeTabletTags",
    "ChangeTabletType",
    "CheckThrottler",
    "CleanupSchemaMigration",
    "CompleteSchemaMigration",
    "ConcludeTransaction",
    "CopySchemaShard",
    "CreateKeyspace",
    "CreateShard",
    "DeleteCellInfo",
    "DeleteCellsAlias",
    "DeleteKeyspace",
    "DeleteShards",
    "DeleteSrvVSchema",
    "DeleteTablets",
    "EmergencyReparentShard",
    "ExecuteFetchAsApp",
    "ExecuteFetchAsDBA",
    "ExecuteHook",
    "ExecuteMultiFetchAsDBA",
    "FindAllShardsInKeyspace",
    "ForceCutOverSchemaMigration",
    "GetBackups",
    "GetCellInfo",
    "GetCellInfoNames",
    "GetCellsAliases",
    "GetFullStatus",
    "GetKeyspace",
    "GetKeyspaceRoutingRules",
    "GetKeyspaces",
    "GetMirrorRules",
    "GetPermissions",
    "GetRoutingRules",
    "GetSchema",
    "GetSchemaMigrations",
    "GetShard",
    "GetShardReplication",
    "GetShardRoutingRules",
    "GetSrvKeyspaceNames",
    "GetSrvKeyspaces",
    "GetSrvVSchema",
    "GetSrvVSchemas",
    "GetTablet",
    "GetTablets",
    "GetThrottlerStatus",
    "GetTopologyPath",
    "GetTransactionInfo",
    "GetUnresolvedTransactions",
    "GetVSchema",
    "GetVersion",
    "GetWorkflows",
    "InitShardPrimary",
    "LaunchSchemaMigration",
    "LookupVindexComplete",
    "LookupVindexCreate",
    "LookupVindexExternalize",
    "LookupVindexInternalize",
    "MaterializeCreate",
    "MigrateCreate",
    "MountList",
    "MountRegister",
    "MountShow",
    "MountUnregister",
    "MoveTablesComplete",
    "MoveTablesCreate",
    "PingTablet",
    "PlannedReparentShard",
    "RebuildKeyspaceGraph",
    "RebuildVSchemaGraph",
    "RefreshState",
    "RefreshStateByShard",
    "ReloadSchema",
    "ReloadSchemaKeyspace",
    "ReloadSchemaShard",
    "RemoveBackup",
    "RemoveKeyspaceCell",
    "RemoveShardCell",
    "ReparentTablet",
    "ReshardCreate",
    "RestoreFromBackup",
    "RetrySchemaMigration",
    "RunHealthCheck",
    "SetKeyspaceDurabilityPolicy",
    "SetKeyspaceServedFrom",
    "SetKeyspaceShardingInfo",
    "SetShardIsPrimaryServing",
    "SetShardTabletControl",
    "SetVtorcEmergencyReparent",
    "SetWritable",
    "ShardReplicationAdd",
    "ShardReplicationFix",
    "ShardReplicationPositions",
    "ShardReplicationRemove",
    "SleepTablet",
    "SourceShardAdd",
    "SourceShardDelete",
    "StartReplication",
    "StopReplication",
    "TabletExternallyReparented",
    "UpdateCellInfo",
    "UpdateCellsAlias",
    "UpdateThrottlerConfig",
    "VDiffCreate",
    "VDiffDelete",
    "VDiffResume",
    "VDiffShow",
    "VDiffStop",
    "Validate",
    "ValidateKeyspace",
    "ValidatePermissionsKeyspace",
    "ValidateSchemaKeyspace",
    "ValidateShard",
    "ValidateVSchema",
    "ValidateVersionKeyspace",
    "ValidateVersionShard",
    "WorkflowAddTables",
    "WorkflowDelete",
    "WorkflowMirrorTraffic",
    "WorkflowStatus",
    "WorkflowSwitchTraffic",
    "WorkflowUpdate",
];

#[cfg(test)]
mod tests {
    use vtflow_planner::rpc;

    use super::*;

    #[test]
    fn the_methods_are_sorted_and_hold_all_that_is_served() {
        assert!(METHODS.is_sorted());
        for served in serve::SERVED {
            assert!(known(served.path).is_some(), "{}", served.path);
        }
        let all = all();
        assert!(all.contains(&(rpc::GET_WORKFLOWS.to_owned(), Answerer::Vtflow)));
        assert!(all.contains(&("/vtctlservice.Vtctld/Backup".to_owned(), Answerer::Forwarded)));
    }

    #[test]
    fn what_reads_is_told_from_what_may_change_something() {
        for (path, want) in [
            ("/vtctlservice.Vtctld/GetBackups", true),
            ("/vtctlservice.Vtctld/ValidateKeyspace", true),
            ("/vtctlservice.Vtctld/MoveTablesCreate", false),
            ("/vtctlservice.Vtctld/ExecuteFetchAsDBA", false),
            ("/vtctlservice.Vtctld/NotYetInvented", false),
            ("/vtctlservice.Vtctl/ExecuteVtctlCommand", false),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true),
        ] {
            assert_eq!(only_reads(path), want, "{path}");
        }
        for served in serve::SERVED.iter().filter(|served| served.effect == Effect::Write) {
            assert!(!only_reads(served.path), "{}", served.path);
        }
    }

    #[test]
    fn what_is_not_served_is_named_as_a_go_server_names_it() {
        for (path, want) in [
            ("/vtctlservice.Vtctld/Nope", "unknown method Nope for service vtctlservice.Vtctld: "),
            ("/a.B/Nope", "unknown service a.B: "),
            ("/nope", "malformed method name: \"/nope\""),
        ] {
            assert!(unknown(path).starts_with(want), "{}", unknown(path));
        }
    }
}
