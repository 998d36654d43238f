//! How each RPC begins: one table, which also says which RPCs, and which requests of them, vtflow answers itself.
//!
//! Only [`crate::flow`] begins anything with it; hosts look up what is served.

use prost::Message;

use crate::{
    contract::{Call, Code, Effect, Status, Timestamp},
    cutover::{
        engine::Switch,
        forward::{Deletion, Forward, Task},
        repair::Repair,
    },
    limits,
    operation::{Asks, Operation},
    ops::{
        diagnose::Diagnose, get_version::GetVersion, get_workflows::GetWorkflows, legacy, schema_migrations::SchemaMigrations,
        snapshot::Snapshot, topology, vdiff_show::VDiffShow, vexec::VExec, workflow_status::WorkflowStatus,
    },
    proto::{
        vtctldata::{
            CancelSchemaMigrationRequest, GetSchemaMigrationsRequest, GetTopologyPathRequest, MoveTablesCompleteRequest,
            VDiffCreateRequest, VDiffDeleteRequest, VDiffStopRequest, WorkflowDeleteRequest, WorkflowMirrorTrafficRequest,
            WorkflowSwitchTrafficRequest, WorkflowUpdateRequest,
        },
        vtflow::RepairRequest,
    },
    request::MigrationVerb,
    rpc,
    write::{Migration, Throttle, Unlock, VDiffWrite, VExecWrite, WorkflowUpdate, engine::Write, kind::TabletWrite, throttler},
};

/// One RPC that vtflow answers.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// The gRPC path. The request and response messages are named after the method: `vtctldata`'s, of our own RPCs `vtflow`'s.
    pub path: &'static str,
    /// Whether it changes anything. Equal reads that are under way at once may be one.
    pub effect: Effect,
    /// Whether it answers with a stream of messages; else with one.
    pub streams: bool,
    /// Which of its requests vtflow answers, for people; empty: all of them. [`serves`] tells of one request.
    pub part: &'static str,
    /// Whether vtflow answers the request of this message. True of bytes that are no message: that is the answer then.
    performs: fn(&[u8]) -> bool,
    begin: Begin,
}

/// Begins an operation.
///
/// # Errors
/// The status that the RPC fails with: a message that cannot be decoded, a name that cannot exist.
type Begin = fn(&Call, Timestamp, &mut Asks) -> Result<Box<dyn Operation>, Status>;

/// Every RPC that vtflow answers its clients itself, by path: of Vitess's services, and two of our own.
pub const SERVED: &[Served] = &[
    Served {
        streams: true,
        part: "Workflow show and listall, OnlineDDL show",
        performs: legacy::serves,
        ..read(rpc::EXECUTE_VTCTL_COMMAND, legacy::start)
    },
    read(rpc::FIND_ALL_SHARDS_IN_KEYSPACE, topology::find_all_shards_in_keyspace),
    read("/vtctlservice.Vtctld/GetCellInfo", topology::get_cell_info),
    read("/vtctlservice.Vtctld/GetCellInfoNames", topology::get_cell_info_names),
    read("/vtctlservice.Vtctld/GetCellsAliases", topology::get_cells_aliases),
    read("/vtctlservice.Vtctld/GetKeyspace", topology::get_keyspace),
    read("/vtctlservice.Vtctld/GetKeyspaceRoutingRules", topology::get_keyspace_routing_rules),
    read(rpc::GET_KEYSPACES, topology::get_keyspaces),
    read("/vtctlservice.Vtctld/GetMirrorRules", topology::get_mirror_rules),
    read("/vtctlservice.Vtctld/GetRoutingRules", topology::get_routing_rules),
    Served {
        part: "of one keyspace",
        performs: |request| GetSchemaMigrationsRequest::decode(request).map_or(true, |wanted| !wanted.keyspace.is_empty()),
        ..read(rpc::GET_SCHEMA_MIGRATIONS, |call, _, asks| boxed(SchemaMigrations::start(call, asks)))
    },
    read("/vtctlservice.Vtctld/GetShard", topology::get_shard),
    read("/vtctlservice.Vtctld/GetShardRoutingRules", topology::get_shard_routing_rules),
    read("/vtctlservice.Vtctld/GetSrvKeyspaceNames", topology::get_srv_keyspace_names),
    read("/vtctlservice.Vtctld/GetSrvKeyspaces", topology::get_srv_keyspaces),
    read("/vtctlservice.Vtctld/GetSrvVSchema", topology::get_srv_vschema),
    read("/vtctlservice.Vtctld/GetSrvVSchemas", topology::get_srv_vschemas),
    read("/vtctlservice.Vtctld/GetTablet", topology::get_tablet),
    read(rpc::GET_TABLETS, topology::get_tablets),
    Served {
        part: "the current version",
        performs: |request| GetTopologyPathRequest::decode(request).map_or(true, |wanted| wanted.version == 0),
        ..read(rpc::GET_TOPOLOGY_PATH, topology::get_topology_path)
    },
    read("/vtctlservice.Vtctld/GetVSchema", topology::get_vschema),
    read(rpc::GET_VERSION, |call, _, asks| boxed(GetVersion::start(call, asks))),
    read(rpc::GET_WORKFLOWS, |call, now, asks| boxed(GetWorkflows::start(call, now, asks))),
    read(rpc::DIAGNOSE, |call, now, asks| boxed(Diagnose::start(call, now, asks))),
    read(rpc::VDIFF_SHOW, |call, _, asks| boxed(VDiffShow::start(call, asks))),
    read(rpc::WORKFLOW_STATUS, |call, now, asks| boxed(WorkflowStatus::start(call, now, asks))),
    migration(rpc::CANCEL_SCHEMA_MIGRATION, |call, now, asks| {
        begun(Migration::new(MigrationVerb::Cancel, call)?, call, now, asks)
    }),
    migration(rpc::CLEANUP_SCHEMA_MIGRATION, |call, now, asks| {
        begun(Migration::new(MigrationVerb::Cleanup, call)?, call, now, asks)
    }),
    migration(rpc::COMPLETE_SCHEMA_MIGRATION, |call, now, asks| {
        begun(Migration::new(MigrationVerb::Complete, call)?, call, now, asks)
    }),
    migration(rpc::FORCE_CUT_OVER_SCHEMA_MIGRATION, |call, now, asks| {
        begun(Migration::new(MigrationVerb::ForceCutover, call)?, call, now, asks)
    }),
    migration(rpc::LAUNCH_SCHEMA_MIGRATION, |call, now, asks| {
        begun(Migration::new(MigrationVerb::Launch, call)?, call, now, asks)
    }),
    migration(rpc::RETRY_SCHEMA_MIGRATION, |call, now, asks| begun(Migration::new(MigrationVerb::Retry, call)?, call, now, asks)),
    Served {
        performs: |request| is_known::<VDiffCreateRequest>(request, |_| true),
        ..write(rpc::VDIFF_CREATE, |call, now, asks| begun(VDiffWrite::create(call, now)?, call, now, asks))
    },
    Served {
        performs: |request| is_known::<VDiffDeleteRequest>(request, |_| true),
        ..write(rpc::VDIFF_DELETE, |call, now, asks| begun(VDiffWrite::delete(call)?, call, now, asks))
    },
    Served {
        performs: |request| is_known::<VDiffStopRequest>(request, |_| true),
        ..write(rpc::VDIFF_RESUME, |call, now, asks| begun(VDiffWrite::resume(call)?, call, now, asks))
    },
    Served {
        performs: |request| is_known::<VDiffStopRequest>(request, |_| true),
        ..write(rpc::VDIFF_STOP, |call, now, asks| begun(VDiffWrite::stop(call)?, call, now, asks))
    },
    Served {
        part: "one application's throttling",
        // Its bytes are kept where its fields are not known.
        performs: throttler::throttles_an_app,
        ..write(rpc::UPDATE_THROTTLER_CONFIG, |call, now, asks| {
            Ok(Box::new(Write::of_records(Box::new(Throttle::new(call, now)?), call, asks)))
        })
    },
    Served {
        performs: |request| is_known::<MoveTablesCompleteRequest>(request, |_| true),
        ..write(rpc::MOVE_TABLES_COMPLETE, |call, now, asks| boxed(Forward::start(Task::of_complete(call)?, call, now, asks)))
    },
    Served {
        part: "of some shards, deletions that keep tables and routing rules",
        performs: |request| {
            is_known(request, |wanted: &WorkflowDeleteRequest| {
                wanted.shards.is_empty() || wanted.keep_data && wanted.keep_routing_rules
            })
        },
        ..write(rpc::WORKFLOW_DELETE, |call, now, asks| boxed(Deletion::start(call, now, asks)))
    },
    Served {
        performs: |request| is_known::<WorkflowMirrorTrafficRequest>(request, |_| true),
        ..write(rpc::WORKFLOW_MIRROR_TRAFFIC, |call, now, asks| boxed(Forward::start(Task::of_mirror(call)?, call, now, asks)))
    },
    Served {
        performs: |request| is_known::<RepairRequest>(request, |_| true),
        ..write(rpc::REPAIR, |call, now, asks| boxed(Repair::start(call, now, asks)))
    },
    Served {
        performs: |request| is_known::<WorkflowSwitchTrafficRequest>(request, |_| true),
        ..write(rpc::WORKFLOW_SWITCH_TRAFFIC, |call, now, asks| boxed(Switch::start(call, now, asks)))
    },
    Served {
        part: "all but messages and filter rules",
        performs: |request| {
            is_known(request, |wanted: &WorkflowUpdateRequest| {
                let tablet = wanted.tablet_request.as_ref();
                tablet.is_none_or(|wanted| wanted.message.is_none() && wanted.filter_rules.is_empty())
            })
        },
        ..write(rpc::WORKFLOW_UPDATE, |call, now, asks| begun(WorkflowUpdate::new(call)?, call, now, asks))
    },
];

/// Our own, which no server offers to its clients: one reads everything, one takes statements, one takes locks away.
const OWN: &[Served] = &[
    read(rpc::SNAPSHOT, |call, _, asks| boxed(Snapshot::start(call, asks))),
    write(rpc::VEXEC, |call, now, asks| match VExecWrite::new(call) {
        Some(kind) => begun(kind, call, now, asks),
        None => boxed(VExec::start(call, asks)),
    }),
    write(rpc::UNLOCK, |call, now, asks| Ok(Box::new(Write::of_locks(Unlock::new(call, now)?, call, asks)))),
];

const fn read(path: &'static str, begin: Begin) -> Served {
    Served { path, effect: Effect::Read, streams: false, part: "", performs: |_| true, begin }
}

const fn write(path: &'static str, begin: Begin) -> Served {
    Served { effect: Effect::Write, ..read(path, begin) }
}

/// One of the six verbs of schema migrations, whose messages are one.
const fn migration(path: &'static str, begin: Begin) -> Served {
    Served { performs: |request| is_known::<CancelSchemaMigrationRequest>(request, |_| true), ..write(path, begin) }
}

fn boxed(operation: Result<impl Operation + 'static, Status>) -> Result<Box<dyn Operation>, Status> {
    Ok(Box::new(operation?))
}

/// A kind of write, in the engine of all writes.
fn begun(kind: impl TabletWrite + 'static, call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Box<dyn Operation>, Status> {
    boxed(Write::of_tablets(Box::new(kind), call, now, asks))
}

/// What is served under a gRPC path; `None`: that is not vtflow's.
pub fn served(path: &str) -> Option<&'static Served> {
    SERVED.iter().find(|served| served.path == path)
}

/// Whether vtflow answers this very request. Where it does not, a vtctld may; a flow of it would only say so, with
/// [`Code::Unimplemented`] and nothing touched.
///
/// The message alone decides here. What only rows can tell (a workflow that reads another cluster, say) ends the flow with that
/// code, and a server hands the request on then. A request to change something that has fields which this build does not know
/// asks for more than vtflow would do, so it is not answered either. One that cannot be decoded is answered, with that.
pub fn serves(path: &str, request: &[u8]) -> bool {
    served(path).is_some_and(|served| (served.performs)(request))
}

/// Begins the operation that serves the call's path.
///
/// # Errors
/// The status that the RPC fails with: no such RPC, a message that cannot be decoded, a name that cannot exist.
pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Box<dyn Operation>, Status> {
    if call.request.len() > limits::REQUEST_BYTES {
        let (bytes, limit) = (call.request.len(), limits::REQUEST_BYTES);
        let message = format!("the request has {bytes} bytes, more than the {limit} of a message");
        return Err(Status { code: Code::InvalidArgument, message });
    }
    let path = call.path.as_str();
    let Some(served) = served(path).or_else(|| OWN.iter().find(|own| own.path == path)) else {
        return Err(Status { code: Code::Unimplemented, message: format!("vtflow does not serve {path}") });
    };
    (served.begin)(call, now, asks)
}

/// Whether a message has no fields but those that are known here, and is one that is wanted. True of what is no such message.
fn is_known<M: Message + Default>(request: &[u8], is_wanted: impl Fn(&M) -> bool) -> bool {
    // A field that is not known is not there when the message is encoded again.
    M::decode(request).map_or(true, |message| message.encoded_len() >= request.len() && is_wanted(&message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_says_whose_a_request_is() {
        let deletion = |keep_data, keep_routing_rules| {
            let workflow = "w".to_owned();
            WorkflowDeleteRequest { workflow, keep_data, keep_routing_rules, ..WorkflowDeleteRequest::default() }.encode_to_vec()
        };
        for (name, path, request, want) in [
            ("kept", rpc::WORKFLOW_DELETE, deletion(true, true), true),
            ("tables go", rpc::WORKFLOW_DELETE, deletion(false, true), true),
            ("tables go on some shards", rpc::WORKFLOW_DELETE, [deletion(false, true), vec![0x2a, 1, b'0']].concat(), false),
            ("streams go on some shards", rpc::WORKFLOW_DELETE, [deletion(true, true), vec![0x2a, 1, b'0']].concat(), true),
            ("a field of a later release", rpc::WORKFLOW_DELETE, [deletion(true, true), vec![0xf8, 0x07, 1]].concat(), false),
            ("no message", rpc::WORKFLOW_DELETE, vec![0x0a, 0x7f], true),
            ("a field of a later release", rpc::RETRY_SCHEMA_MIGRATION, vec![0xf8, 0x07, 1], false),
            ("none", rpc::RETRY_SCHEMA_MIGRATION, vec![], true),
            ("a read", rpc::GET_WORKFLOWS, vec![0xf8, 0x07, 1], true),
            ("all keyspaces", rpc::GET_SCHEMA_MIGRATIONS, vec![], false),
            ("one keyspace", rpc::GET_SCHEMA_MIGRATIONS, vec![0x0a, 1, b'k'], true),
            ("an old version", rpc::GET_TOPOLOGY_PATH, vec![0x10, 7], false),
            ("the current version", rpc::GET_TOPOLOGY_PATH, vec![0x0a, 1, b'/'], true),
            ("nobody's", "/vtctlservice.Vtctld/Backup", vec![], false),
        ] {
            assert_eq!(serves(path, &request), want, "{name} of {path}");
        }
    }

    /// Each asks for more than vtflow would do.
    #[test]
    fn no_write_with_a_field_of_a_later_release_is_vtflows() {
        let writes: Vec<&str> = SERVED.iter().filter(|one| one.effect == Effect::Write).map(|one| one.path).collect();
        assert_eq!(writes.len(), 17);
        for path in writes {
            assert!(!serves(path, &[0xf8, 0x07, 1]), "{path}");
        }
    }

    #[test]
    fn an_update_of_messages_or_filter_rules_is_a_vtctlds() {
        use crate::proto::tabletmanagerdata::UpdateVReplicationWorkflowRequest as Update;
        let serves = |update: Update| {
            let request = WorkflowUpdateRequest { keyspace: "ks".into(), tablet_request: Some(update) };
            serves(rpc::WORKFLOW_UPDATE, &request.encode_to_vec())
        };
        let update = || Update { workflow: "w".into(), ..Update::default() };
        assert!(serves(update()) && serves(Update { state: Some(1), ..update() }));
        assert!(!serves(Update { message: Some(String::new()), ..update() }));
        assert!(!serves(Update { filter_rules: vec![crate::proto::binlogdata::Rule::default()], ..update() }));
    }

    #[test]
    fn people_are_told_which_requests_of_an_rpc_are_served() {
        let part = |served: &Served| (!served.part.is_empty()).then_some((served.path, served.part));
        assert_eq!(
            SERVED.iter().filter_map(part).collect::<Vec<_>>(),
            [
                (rpc::EXECUTE_VTCTL_COMMAND, "Workflow show and listall, OnlineDDL show"),
                (rpc::GET_SCHEMA_MIGRATIONS, "of one keyspace"),
                (rpc::GET_TOPOLOGY_PATH, "the current version"),
                (rpc::UPDATE_THROTTLER_CONFIG, "one application's throttling"),
                (rpc::WORKFLOW_DELETE, "of some shards, deletions that keep tables and routing rules"),
                (rpc::WORKFLOW_UPDATE, "all but messages and filter rules"),
            ]
        );
        let streams: Vec<&str> = SERVED.iter().filter(|served| served.streams).map(|served| served.path).collect();
        assert_eq!(streams, [rpc::EXECUTE_VTCTL_COMMAND]);
    }
}
