//! Requests of every RPC that is served, made up from a seed.

use prost::Message;
use vtflow_planner::{
    proto::{
        binlogdata::VReplicationWorkflowState, tabletmanagerdata::UpdateVReplicationWorkflowRequest, topodata::ThrottledAppRule,
        vtctldata as data, vttime::Time,
    },
    rpc,
    serve::{SERVED, Served},
};

use crate::{
    random::Random,
    world::{CELLS, KEYSPACES, NOW, World, alias_of},
};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) served: &'static Served,
    pub(crate) bytes: Vec<u8>,
    /// The keyspace that it is about; empty if none.
    pub(crate) keyspace: String,
    /// The workflow or migration that it is about; empty: all.
    pub(crate) name: String,
    /// Of a change: a word that is in all it writes, and in nothing else.
    pub(crate) mark: Option<String>,
    /// Whether the reply has everything that there is.
    pub(crate) is_whole: bool,
}

/// Changes that are made elsewhere (`traffic/`): what they ask of tablets names neither the request nor the workflow, so that the checks
/// here would not know whose it is.
const LEFT_OUT: [&str; 4] = [rpc::MOVE_TABLES_COMPLETE, rpc::REPAIR, rpc::WORKFLOW_MIRROR_TRAFFIC, rpc::WORKFLOW_SWITCH_TRAFFIC];

/// Makes one up. `number` is its own.
pub(crate) fn make(world: &World, random: &mut Random, number: u64, writes_percent: u64) -> Request {
    use vtflow_planner::Effect;
    let effect = if random.percent(writes_percent) { Effect::Write } else { Effect::Read };
    let of_effect: Vec<&'static Served> =
        SERVED.iter().filter(|served| served.effect == effect && !LEFT_OUT.contains(&served.path)).collect();
    // Half of them are what people look at all day, or the change that is known by a mark; now and then one that writes a record.
    let usual = match effect {
        Effect::Read => random.pick(&[rpc::GET_WORKFLOWS, rpc::GET_WORKFLOWS, rpc::GET_SCHEMA_MIGRATIONS]),
        Effect::Write => random.pick(&[rpc::WORKFLOW_UPDATE, rpc::WORKFLOW_UPDATE, rpc::UPDATE_THROTTLER_CONFIG]),
    };
    let usual = usual.and_then(|path| SERVED.iter().find(|served| served.path == *path)).filter(|_| random.percent(50));
    let served = usual.or_else(|| random.pick(&of_effect).copied()).unwrap_or(&SERVED[0]);
    let keyspace = match random.below(20) {
        0 => "nope".to_owned(),
        1..=3 => KEYSPACES[1].to_owned(),
        _ => KEYSPACES[0].to_owned(),
    };
    let workflow = random.pick(&world.workflows).cloned().unwrap_or_else(|| "none".to_owned());
    let uuid = random.pick(&world.migrations).cloned().unwrap_or_else(|| "none".to_owned());
    let shard = random.pick(&world.shards).map(|shard| shard.name.clone()).unwrap_or_default();
    let aliases: Vec<&String> = world.tablets.keys().collect();
    let alias = random.pick(&aliases).and_then(|alias| alias_of(alias));
    let cell = random.pick(&CELLS).copied().unwrap_or_default().to_owned();
    let cells = if random.percent(50) { Vec::new() } else { vec![cell.clone()] };
    let mut request =
        Request { served, bytes: Vec::new(), keyspace: keyspace.clone(), name: String::new(), mark: None, is_whole: false };
    request.bytes = match served.path {
        rpc::GET_WORKFLOWS => {
            let one = random.percent(30);
            request.name = if one { workflow } else { String::new() };
            let (active_only, name_only) = (random.percent(10), random.percent(10));
            request.is_whole = !active_only && !name_only;
            let (workflow, include_logs) = (request.name.clone(), random.percent(50));
            data::GetWorkflowsRequest { keyspace, active_only, name_only, workflow, include_logs, shards: Vec::new() }
                .encode_to_vec()
        }
        rpc::GET_SCHEMA_MIGRATIONS => {
            request.is_whole = true;
            data::GetSchemaMigrationsRequest { keyspace, ..Default::default() }.encode_to_vec()
        }
        rpc::WORKFLOW_STATUS => {
            request.name.clone_from(&workflow);
            data::WorkflowStatusRequest { keyspace, workflow, shards: Vec::new() }.encode_to_vec()
        }
        rpc::VDIFF_SHOW => data::VDiffShowRequest { workflow, target_keyspace: keyspace, arg: "all".to_owned() }.encode_to_vec(),
        rpc::GET_VERSION => data::GetVersionRequest { tablet_alias: alias }.encode_to_vec(),
        rpc::FIND_ALL_SHARDS_IN_KEYSPACE => data::FindAllShardsInKeyspaceRequest { keyspace }.encode_to_vec(),
        rpc::GET_TABLETS => {
            let keyspace = if random.percent(50) { keyspace } else { String::new() };
            request.is_whole = true;
            request.keyspace.clone_from(&keyspace);
            data::GetTabletsRequest { keyspace, ..Default::default() }.encode_to_vec()
        }
        rpc::GET_TOPOLOGY_PATH => {
            let paths = ["/", "/global", "/global/keyspaces", "/zone1/tablets", "/global/keyspaces/customer/Keyspace", "/zone2"];
            let path = random.pick(&paths).copied().unwrap_or("/").to_owned();
            data::GetTopologyPathRequest { path, ..Default::default() }.encode_to_vec()
        }
        rpc::EXECUTE_VTCTL_COMMAND => {
            let args: Vec<String> = if random.percent(50) {
                vec!["Workflow".into(), "--".into(), format!("{keyspace}.{workflow}"), "show".into()]
            } else {
                vec!["OnlineDDL".into(), keyspace, "show".into()]
            };
            data::ExecuteVtctlCommandRequest { args, action_timeout: 0 }.encode_to_vec()
        }
        rpc::WORKFLOW_UPDATE => {
            let mark = format!("mark{number}x");
            request.name.clone_from(&workflow);
            request.mark = Some(mark.clone());
            let states = [VReplicationWorkflowState::Stopped, VReplicationWorkflowState::Running];
            let state = random.pick(&states).copied().filter(|_| random.percent(60)).map(i32::from);
            let tablet_request = UpdateVReplicationWorkflowRequest { workflow, cells: vec![mark], state, ..Default::default() };
            data::WorkflowUpdateRequest { keyspace, tablet_request: Some(tablet_request) }.encode_to_vec()
        }
        rpc::WORKFLOW_DELETE => {
            request.name.clone_from(&workflow);
            let ignore_source_keyspace = random.percent(30);
            data::WorkflowDeleteRequest {
                keyspace,
                workflow,
                keep_data: true,
                keep_routing_rules: true,
                ignore_source_keyspace,
                ..Default::default()
            }
            .encode_to_vec()
        }
        rpc::UPDATE_THROTTLER_CONFIG => {
            let rule = ThrottledAppRule {
                name: format!("app{number}"),
                ratio: 0.5,
                expires_at: Some(Time { seconds: NOW.seconds + 3_600, nanoseconds: 0 }),
                exempt: false,
            };
            data::UpdateThrottlerConfigRequest { keyspace, throttled_app: Some(rule), ..Default::default() }.encode_to_vec()
        }
        rpc::VDIFF_CREATE => {
            let uuid = vdiff(number);
            request.name.clone_from(&uuid);
            let auto_start = Some(random.percent(80));
            data::VDiffCreateRequest { workflow, target_keyspace: keyspace, uuid, auto_start, ..Default::default() }
                .encode_to_vec()
        }
        rpc::VDIFF_STOP | rpc::VDIFF_RESUME | rpc::VDIFF_DELETE => {
            // Of one that may have been made not long ago.
            let uuid = vdiff(number.saturating_sub(random.between(1, 8)));
            request.name.clone_from(&uuid);
            let target_keyspace = keyspace;
            match served.path {
                rpc::VDIFF_STOP => {
                    data::VDiffStopRequest { workflow, target_keyspace, uuid, ..Default::default() }.encode_to_vec()
                }
                rpc::VDIFF_RESUME => {
                    data::VDiffResumeRequest { workflow, target_keyspace, uuid, ..Default::default() }.encode_to_vec()
                }
                _ => {
                    let arg = if random.percent(20) { "all".to_owned() } else { uuid };
                    if arg == "all" {
                        request.name.clone_from(&workflow);
                    }
                    data::VDiffDeleteRequest { workflow, target_keyspace, arg }.encode_to_vec()
                }
            }
        }
        path if served.effect == Effect::Write => {
            debug_assert!(path.ends_with("SchemaMigration"), "{path}");
            let uuid = if random.percent(20) { "all".to_owned() } else { uuid };
            request.name.clone_from(&uuid);
            data::CancelSchemaMigrationRequest { keyspace, uuid, caller_id: None }.encode_to_vec()
        }
        path => topology(path, keyspace, shard, alias, cell, cells),
    };
    request
}

/// The name of the `VDiff` that a request with this number makes.
fn vdiff(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// A request for records alone.
fn topology(
    path: &str,
    keyspace: String,
    shard_name: String,
    tablet_alias: Option<vtflow_planner::proto::topodata::TabletAlias>,
    cell: String,
    cells: Vec<String>,
) -> Vec<u8> {
    match path.rsplit('/').next().unwrap_or_default() {
        "GetCellInfo" => data::GetCellInfoRequest { cell }.encode_to_vec(),
        "GetSrvVSchema" => data::GetSrvVSchemaRequest { cell }.encode_to_vec(),
        "GetKeyspace" => data::GetKeyspaceRequest { keyspace }.encode_to_vec(),
        "GetVSchema" => data::GetVSchemaRequest { keyspace }.encode_to_vec(),
        "GetShard" => data::GetShardRequest { keyspace, shard_name }.encode_to_vec(),
        "GetSrvKeyspaceNames" => data::GetSrvKeyspaceNamesRequest { cells }.encode_to_vec(),
        "GetSrvKeyspaces" => data::GetSrvKeyspacesRequest { keyspace, cells }.encode_to_vec(),
        "GetSrvVSchemas" => data::GetSrvVSchemasRequest { cells }.encode_to_vec(),
        "GetTablet" => data::GetTabletRequest { tablet_alias }.encode_to_vec(),
        // The others have no fields.
        _ => Vec::new(),
    }
}
