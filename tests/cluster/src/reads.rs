//! Every read that vtflow serves, as commands of vtctldclient.

/// A workflow that is there, with the command that is for its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workflow {
    pub(crate) keyspace: &'static str,
    pub(crate) name: &'static str,
    /// `MoveTables`, `Reshard`, `Materialize`.
    pub(crate) kind: &'static str,
}

/// Commands, each split into words.
pub(crate) fn commands(shards: &[(&str, &str)], aliases: &[String], workflows: &[Workflow]) -> Vec<Vec<String>> {
    let mut commands: Vec<String> = TOPOLOGY.iter().map(|line| (*line).to_owned()).collect();
    for keyspace in ["commerce", "customer"] {
        commands.extend(OF_KEYSPACE.iter().map(|line| line.replace("KEYSPACE", keyspace)));
    }
    for (keyspace, shard) in shards {
        commands.extend([format!("GetShard {keyspace}/{shard}"), format!("GetTablets --keyspace {keyspace} --shard {shard}")]);
        commands.push(format!("GetTopologyPath /global/keyspaces/{keyspace}/shards/{shard}/Shard"));
    }
    for alias in aliases {
        commands.extend([format!("GetTablet {alias}"), format!("GetVersion {alias}")]);
    }
    // Of one shard: primaries of several shards are a row of `docs/compat.md`.
    commands.push("GetTablets --tablet-alias zone1-0000000100,zone2-0000000101".to_owned());
    for Workflow { keyspace, name, kind } in workflows {
        let more =
            OF_WORKFLOW.iter().map(|line| line.replace("KEYSPACE", keyspace).replace("WORKFLOW", name).replace("KIND", kind));
        commands.extend(more);
    }
    commands.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

const TOPOLOGY: [&str; 34] = [
    "GetKeyspaces",
    "GetKeyspace nosuch",
    "FindAllShardsInKeyspace nosuch",
    "GetShard customer/nosuch",
    "GetTablet zone1-0000009999",
    "GetTablet zone9-0000000001",
    "GetTablets",
    "GetTablets --format json",
    "GetTablets --cell zone1",
    "GetTablets --cell zone1,zone2 --format json",
    "GetTablets --cell zone9",
    "GetTablets --tablet-type replica",
    "GetTablets --keyspace nosuch",
    "GetCellInfoNames",
    "GetCellInfo zone1",
    "GetCellInfo zone9",
    "GetCellsAliases",
    "GetSrvKeyspaceNames",
    "GetSrvKeyspaceNames zone2",
    "GetSrvVSchema zone1",
    "GetSrvVSchema zone9",
    "GetSrvVSchemas",
    "GetRoutingRules",
    "GetShardRoutingRules",
    "GetKeyspaceRoutingRules",
    "GetMirrorRules",
    "GetTopologyPath /",
    "GetTopologyPath /global",
    "GetTopologyPath /global/cells/zone2/CellInfo",
    "GetTopologyPath /zone1/tablets",
    "GetTopologyPath /nosuch",
    "GetWorkflows nosuch",
    "OnlineDDL show nosuch",
    "VDiff --workflow nosuch --target-keyspace customer show last",
];

const OF_KEYSPACE: [&str; 18] = [
    "GetKeyspace KEYSPACE",
    "FindAllShardsInKeyspace KEYSPACE",
    "GetTablets --keyspace KEYSPACE --format json",
    "GetSrvKeyspaces KEYSPACE",
    "GetVSchema KEYSPACE",
    "GetTopologyPath /global/keyspaces/KEYSPACE/Keyspace",
    "GetWorkflows KEYSPACE",
    "GetWorkflows KEYSPACE --show-all",
    "GetWorkflows KEYSPACE --show-all --include-logs=false",
    "Workflow --keyspace KEYSPACE list",
    "Workflow --keyspace KEYSPACE show --workflow nosuch",
    "MoveTables --workflow nosuch --target-keyspace KEYSPACE status",
    "OnlineDDL show KEYSPACE",
    "OnlineDDL show KEYSPACE all --json",
    "OnlineDDL show KEYSPACE recent",
    "OnlineDDL show KEYSPACE complete",
    "LegacyVtctlCommand -- Workflow KEYSPACE listall",
    "LegacyVtctlCommand -- OnlineDDL KEYSPACE show",
];

const OF_WORKFLOW: [&str; 10] = [
    "Workflow --keyspace KEYSPACE show --workflow WORKFLOW",
    "Workflow --keyspace KEYSPACE show --workflow WORKFLOW --include-logs=false",
    "KIND --workflow WORKFLOW --target-keyspace KEYSPACE show",
    "KIND --workflow WORKFLOW --target-keyspace KEYSPACE status",
    "KIND --workflow WORKFLOW --target-keyspace KEYSPACE status --format json",
    "VDiff --workflow WORKFLOW --target-keyspace KEYSPACE show last",
    "VDiff --workflow WORKFLOW --target-keyspace KEYSPACE show last --format json --verbose",
    "VDiff --workflow WORKFLOW --target-keyspace KEYSPACE show all",
    "VDiff --workflow WORKFLOW --target-keyspace KEYSPACE show 00000000-0000-1000-8000-000000000000",
    "LegacyVtctlCommand -- Workflow KEYSPACE.WORKFLOW show",
];
