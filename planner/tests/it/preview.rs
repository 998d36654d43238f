//! What a request would ask, over records that are only looked at.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use crate::support::{Cluster, NOW, SNAPSHOT_TABLES, alias, alias_text, all, ask_name, call};
use prost::Message;
use vtflow_planner::{
    Call, CallOptions, What,
    preview::{Records, preview},
    proto::{
        topodata::{Keyspace, SrvKeyspace, Tablet},
        vtctldata::{
            ExecuteVtctlCommandRequest, GetSchemaMigrationsRequest, GetTopologyPathRequest, GetTopologyPathResponse,
            VDiffShowRequest, WorkflowStatusRequest,
        },
        vtflow::{SnapshotRequest, VExecRequest},
    },
    rpc,
};

fn request(path: &str, request: &impl Message) -> Call {
    Call { path: path.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn records(cluster: &Cluster) -> Records {
    cluster.topo.iter().map(|(key, value)| (key.clone(), (value.clone(), 7))).collect()
}

/// Two shards; the primary of 80- has no port for RPCs.
fn half() -> Cluster {
    let mut cluster = Cluster::new(&["-80", "80-"]);
    cluster.cell("zone1");
    let record = Tablet {
        alias: Some(alias(200)),
        hostname: "127.0.0.1".into(),
        port_map: BTreeMap::from([("vt".into(), 15_200)]),
        keyspace: "ks".into(),
        shard: "80-".into(),
        r#type: 1,
        ..Tablet::default()
    };
    cluster.put("zone1", &format!("tablets/{}/Tablet", alias_text(200)), &record);
    cluster
}

/// Whatever asks tablets: the plan names the shard that has nobody to ask, and what the other one is asked.
#[test]
fn a_plan_names_the_shards_that_have_nobody_to_ask() {
    let command = |line: &str| {
        let args = line.split_whitespace().map(str::to_owned).collect();
        request(rpc::EXECUTE_VTCTL_COMMAND, &ExecuteVtctlCommandRequest { args, action_timeout: 0 })
    };
    let (keyspace, workflow) = ("ks".to_owned(), "wf".to_owned());
    for (name, call, subjects) in [
        ("GetWorkflows", call(&all()), vec!["streams, copy state and logs"]),
        ("Workflow listall", command("Workflow ks listall"), vec!["names"]),
        ("OnlineDDL show", command("OnlineDDL ks show"), vec!["migrations"]),
        (
            "GetSchemaMigrations",
            request(rpc::GET_SCHEMA_MIGRATIONS, &GetSchemaMigrationsRequest { keyspace: keyspace.clone(), ..Default::default() }),
            vec!["migrations"],
        ),
        (
            "VDiffShow",
            request(
                rpc::VDIFF_SHOW,
                &VDiffShowRequest { workflow: workflow.clone(), target_keyspace: keyspace.clone(), arg: "last".into() },
            ),
            vec!["names"],
        ),
        (
            "VExec",
            request(
                rpc::VEXEC,
                &VExecRequest {
                    keyspace: keyspace.clone(),
                    workflow: workflow.clone(),
                    sql: "select id from _vt.vreplication".into(),
                    ..Default::default()
                },
            ),
            vec!["vexec"],
        ),
        (
            "WorkflowStatus",
            request(rpc::WORKFLOW_STATUS, &WorkflowStatusRequest { keyspace: keyspace.clone(), workflow, shards: vec![] }),
            vec!["streams and copy state"],
        ),
        (
            "Snapshot",
            request(rpc::SNAPSHOT, &SnapshotRequest { keyspaces: vec![keyspace], routing: false }),
            SNAPSHOT_TABLES.to_vec(),
        ),
    ] {
        let plan = preview(&call, NOW, &records(&half()));
        let calls = plan.asks.iter().filter(|ask| matches!(ask.what, What::TabletCall { .. })).map(ask_name);
        let want = subjects.iter().map(|subject| format!("{} {subject}", alias_text(100)));
        assert_eq!(calls.collect::<Vec<_>>(), want.collect::<Vec<_>>(), "{name}");
        let failures: Vec<_> = plan
            .failures
            .iter()
            .map(|f| (f.keyspace.as_str(), f.shard.as_str(), f.tablet.as_str(), f.message.as_str()))
            .collect();
        assert_eq!(failures, [("ks", "80-", "zone1-0000000200", "invalid tablet grpc port: 0")], "{name}");
        assert_eq!(plan.reply, None, "{name}: a tablet is asked");
    }
}

#[test]
fn a_request_that_asks_no_tablet_has_its_reply() {
    let mut cluster = half();
    cluster.put("global", "keyspaces/other/Keyspace", &Keyspace::default());
    cluster.put("zone1", "keyspaces/ks/SrvKeyspace", &SrvKeyspace::default());
    let shown = |path: &str| {
        let call = request(rpc::GET_TOPOLOGY_PATH, &GetTopologyPathRequest { path: path.into(), ..Default::default() });
        let reply = preview(&call, NOW, &records(&cluster)).reply.expect("only records are asked for");
        reply.result.map(|bytes| GetTopologyPathResponse::decode(bytes.as_slice()).unwrap().cell.unwrap())
    };
    assert_eq!(shown("/zone1/keyspaces").unwrap().children, ["ks"], "of this cell only");
    assert_eq!(shown("/global/keyspaces").unwrap().children, ["ks", "other"]);
    assert_eq!(shown("/zone1/keyspaces/ks/SrvKeyspace").unwrap().version, 7);
    let text = "cell zone1 with path /zone1/no has no file contents and no children: node doesn't exist: zone1:no/";
    assert_eq!(shown("/zone1/no").unwrap_err().message, text);
}
