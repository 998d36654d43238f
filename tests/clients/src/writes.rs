//! Every command of a client that changes something which vtflow serves, in an order in which each has something to do: once through
//! vtflow and once through a real vtctld, each before a cluster of its own that held the same rows. After each command both print the
//! same, and both clusters hold the same.

use std::time::SystemTime;

use anyhow::Context;
use serde_json::Value;
use vtflow_embedded::{Snapshot, generate};
use vtflow_planner::Timestamp;

use crate::{
    client::Client,
    etcd::Etcd,
    live::{Live, Programs, Served},
    output::{Body, Output},
    report::{Report, Verdict},
};

/// Of the workflows of a keyspace: `{K}`, the keyspace; `{W}`, a workflow that moves tables; `{M}`, another.
const OF_WORKFLOWS: &[&str] = &[
    "Workflow --keyspace {K} stop --workflow {W}",
    "Workflow --keyspace {K} stop --workflow {W}",
    "Workflow --keyspace {K} start --workflow {W} --shards 80-",
    "Workflow --keyspace {K} start --workflow {W}",
    "MoveTables --workflow {W} --target-keyspace {K} stop",
    "MoveTables --workflow {W} --target-keyspace {K} start",
    "Workflow --keyspace {K} update --workflow {W} --cells zone1,zone2",
    "Workflow --keyspace {K} update --workflow {W} --cells nosuchcell",
    "Workflow --keyspace {K} update --workflow {W} --tablet-types replica,primary",
    "Workflow --keyspace {K} update --workflow {W} --tablet-types replica,primary --tablet-types-in-order=false",
    "Workflow --keyspace {K} update --workflow {W} --on-ddl EXEC_IGNORE",
    "Workflow --keyspace {K} update --workflow {W} --on-ddl IGNORE",
    "Workflow --keyspace {K} update --workflow {W} --config-overrides vreplication-parallel-insert-workers=2",
    "Workflow --keyspace {K} update --workflow {W} --config-overrides vreplication-parallel-insert-workers=",
    "Workflow --keyspace {K} update --workflow nosuch --cells zone1",
    "Workflow --keyspace {K} start --workflow nosuch",
    "Workflow --keyspace {K} stop --workflow nosuch",
    "Materialize --workflow {M} --target-keyspace {K} stop",
    "Materialize --workflow {M} --target-keyspace {K} start",
    "Workflow --keyspace {K} delete --workflow nosuch --keep-data --keep-routing-rules",
    "Workflow --keyspace nosuch delete --workflow {M} --keep-data --keep-routing-rules",
    "Workflow --keyspace {K} delete --workflow {M} --keep-data --keep-routing-rules",
    "Workflow --keyspace {K} delete --workflow {M} --keep-data --keep-routing-rules",
    "MoveTables --workflow {W} --target-keyspace {K} cancel --keep-data --keep-routing-rules",
    "LegacyVtctlCommand -- Workflow {K}.{W} stop",
];

/// Of the schema migrations of a keyspace: `{0}`, `{1}`, `{2}`, those that are not complete.
const OF_MIGRATIONS: &[&str] = &[
    "OnlineDDL throttle {K} {0}",
    "OnlineDDL unthrottle {K} {0}",
    "OnlineDDL throttle {K} all",
    "OnlineDDL unthrottle {K} all",
    "OnlineDDL launch {K} {1}",
    "OnlineDDL complete {K} {0}",
    "OnlineDDL force-cutover {K} {0}",
    "OnlineDDL cancel {K} {1}",
    "OnlineDDL cancel {K} {1}",
    "OnlineDDL retry {K} {1}",
    "OnlineDDL cancel {K} 00000000_0000_0000_0000_000000000001",
    "OnlineDDL cancel nosuch all",
    "OnlineDDL launch {K} all",
    "OnlineDDL cancel {K} all",
    "OnlineDDL retry {K} {2}",
    "OnlineDDL cancel {K} {2}",
    "OnlineDDL cleanup {K} {2}",
    "OnlineDDL complete {K} all",
    "OnlineDDL cleanup {K} all",
    "LegacyVtctlCommand -- OnlineDDL {K} cancel {0}",
];

/// Of the traffic of a workflow: `{C}`, the command for workflows of its kind; `{L}`, a lag that a recorded cluster has not.
const OF_TRAFFIC: &[&str] = &[
    "{C} --workflow nosuch --target-keyspace {K} switchtraffic",
    "{C} --workflow {W} --target-keyspace nosuch switchtraffic",
    "{C} --workflow {W} --target-keyspace {K} switchtraffic --tablet-types nosuch",
    "{C} --workflow {W} --target-keyspace {K} switchtraffic --timeout 1ms",
    "{C} --workflow {W} --target-keyspace {K} complete",
    "{C} --workflow {W} --target-keyspace {K} mirrortraffic --percent 5",
    "{C} --workflow {W} --target-keyspace {K} mirrortraffic --percent 0",
    "{C} --workflow {W} --target-keyspace {K} switchtraffic --tablet-types replica,rdonly",
    "{C} --workflow {W} --target-keyspace {K} reversetraffic --tablet-types rdonly --dry-run",
    "{C} --workflow {W} --target-keyspace {K} reversetraffic --tablet-types rdonly",
    "{C} --workflow {W} --target-keyspace {K} reversetraffic --tablet-types replica",
    "{C} --workflow {W} --target-keyspace {K} reversetraffic",
    "{C} --workflow {W} --target-keyspace {K} switchtraffic {L} --tablet-types replica,rdonly --dry-run",
    "{C} --workflow {W} --target-keyspace {K} switchtraffic {L} --tablet-types replica --cells zone1",
    "{C} --workflow {W} --target-keyspace {K} switchtraffic {L} --tablet-types replica,rdonly",
    "{C} --workflow {W} --target-keyspace {K} switchtraffic {L} --dry-run",
    "{C} --workflow {W} --target-keyspace {K} switchtraffic {L} --initialize-target-sequences --dry-run",
    "{C} --workflow {W} --target-keyspace {K} switchtraffic {L}",
    "{C} --workflow {W} --target-keyspace {K} switchtraffic {L}",
    "{C} --workflow {W} --target-keyspace {K} cancel",
    "{C} --workflow {W} --target-keyspace {K} reversetraffic {L} --dry-run",
    "{C} --workflow {W} --target-keyspace {K} reversetraffic {L}",
    "{C} --workflow {W} --target-keyspace {K} switchtraffic {L} --enable-reverse-replication=false",
    "{C} --workflow {W} --target-keyspace {K} complete --keep-data --dry-run",
];

/// What ends it. The tables stay: an embedded tablet has none to drop.
const OF_COMPLETION: &[&str] = &[
    "{C} --workflow {W} --target-keyspace {K} complete --keep-data",
    "{C} --workflow {W} --target-keyspace {K} complete --keep-data",
];

/// What is read of both clusters after each command.
const WORKFLOW_STATE: &[&str] = &["GetWorkflows --show-all --include-logs=false {K}"];
/// Of a completion that keeps tables, vtctld leaves them denied here: `MoveTablesComplete` in `docs/compat.md`.
const SOURCE_SHARDS: &str = "FindAllShardsInKeyspace commerce";
const TRAFFIC_STATE: &[&str] = &[
    "GetWorkflows --show-all --include-logs=false customer",
    "GetWorkflows --show-all --include-logs=false commerce",
    "FindAllShardsInKeyspace customer",
    SOURCE_SHARDS,
    "GetSrvKeyspaces customer",
    "GetSrvVSchemas",
    "GetRoutingRules",
    "GetShardRoutingRules",
    "GetKeyspaceRoutingRules",
    "GetMirrorRules",
    "GetVSchema customer",
    "GetVSchema commerce",
];
const MIGRATION_STATE: &[&str] = &["OnlineDDL show --json {K} all", "GetKeyspace {K}", "GetSrvKeyspaces {K}"];

/// A server to write through, and one to read the same cluster with.
struct Side<'a> {
    writes: &'a Served,
    reads: &'a Served,
    /// Where in etcd the topology is: a part of texts.
    root: String,
}

impl Side<'_> {
    fn run(&self, client: &Client, args: &[String], served: &Served) -> anyhow::Result<Output> {
        let mut ran = client.run(Some(&served.address), args)?;
        for text in [&mut ran.stdout, &mut ran.stderr] {
            *text = text.replace(&self.root, "/vitess");
        }
        Ok(Output::of(&ran))
    }
}

/// Runs all of it with one client. `reader`, v24, reads the states.
///
/// # Errors
///
/// Something does not run.
pub fn compare(
    programs: &Programs,
    runtime: &tokio::runtime::Runtime,
    etcd: &Etcd,
    (client, reader): (&Client, &Client),
    report: &mut Report,
) -> anyhow::Result<()> {
    let root = |side: &str, name: &str| format!("/writes/{}/{name}/{side}", client.version);
    let start = |side: &str, name: &str, snapshot: Snapshot| Live::start(programs, runtime, etcd, &root(side, name), snapshot);
    for (name, commands, state) in
        [("movetables-running", OF_WORKFLOWS, WORKFLOW_STATE), ("onlineddl-mixed", OF_MIGRATIONS, MIGRATION_STATE)]
    {
        let snapshot = Snapshot::load(&crate::live::snapshots().join(name))?;
        let (ours, theirs) = (start("vtflow", name, snapshot.clone())?, start("vtctld", name, snapshot)?);
        let names = names(reader, &ours.vtctld, "customer", ["move_big2", "sales_mat"])?;
        let ours = Side { writes: &ours.vtflow, reads: &ours.vtctld, root: root("vtflow", name) };
        let theirs = Side { writes: &theirs.vtctld, reads: &theirs.vtctld, root: root("vtctld", name) };
        perform((client, reader), &ours, &theirs, (commands, state), &names, (&format!("writes, {name}"), report))?;
    }

    for (name, command, workflow) in
        [("movetables-reads-switched", "MoveTables", "move1"), ("reshard-switched", "Reshard", "split1")]
    {
        let snapshot = Snapshot::load(&crate::live::snapshots().join(name))?;
        let (ours, theirs) = (start("vtflow", name, snapshot.clone())?, start("vtctld", name, snapshot)?);
        let lag = "--max-replication-lag-allowed=100000h";
        let names = [("{C}", command), ("{K}", "customer"), ("{W}", workflow), ("{L}", lag)];
        let names = names.map(|(key, name)| (key.to_owned(), name.to_owned()));
        let ours = Side { writes: &ours.vtflow, reads: &ours.vtctld, root: root("vtflow", name) };
        let theirs = Side { writes: &theirs.vtctld, reads: &theirs.vtctld, root: root("vtctld", name) };
        let place = format!("traffic, {name}");
        perform((client, reader), &ours, &theirs, (OF_TRAFFIC, TRAFFIC_STATE), &names, (&place, report))?;
        let state: Vec<&str> = TRAFFIC_STATE.iter().copied().filter(|state| *state != SOURCE_SHARDS).collect();
        perform((client, reader), &ours, &theirs, (OF_COMPLETION, &state), &names, (&place, report))?;
    }

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock")?;
    let now = Timestamp { seconds: i64::try_from(now.as_secs())?, nanos: 0 };
    let theirs = start("vtctld", "demo", generate::demo(now))?;
    let demo = Served::vtflow(programs, &["demo", "--serve", "--allow-writes"])?;
    let ours = Side { writes: &demo, reads: &demo, root: "/vitess".to_owned() };
    let names = names(reader, &demo, "customer", ["move_big2", "sales_mat"])?;
    let theirs = Side { writes: &theirs.vtctld, reads: &theirs.vtctld, root: root("vtctld", "demo") };
    perform((client, reader), &ours, &theirs, (OF_WORKFLOWS, WORKFLOW_STATE), &names, ("writes, demo --serve", report))?;
    perform((client, reader), &ours, &theirs, (OF_MIGRATIONS, MIGRATION_STATE), &names, ("writes, demo --serve", report))
}

/// What stands for the names in braces.
fn names(reader: &Client, served: &Served, keyspace: &str, [moves, other]: [&str; 2]) -> anyhow::Result<Vec<(String, String)>> {
    let shown = reader.run(Some(&served.address), &["OnlineDDL", "show", "--json", keyspace, "all"])?;
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap_or_default();
    let pending = shown["migrations"].as_array().into_iter().flatten().filter(|migration| migration["status"] != "COMPLETE");
    let mut uuids: Vec<&str> = pending.filter_map(|migration| migration["uuid"].as_str()).collect();
    uuids.sort_unstable();
    uuids.dedup();
    let mut names: Vec<(String, String)> =
        [("{K}", keyspace), ("{W}", moves), ("{M}", other)].map(|(key, name)| (key.to_owned(), name.to_owned())).into();
    names.extend(uuids.iter().cycle().take(3).enumerate().map(|(index, uuid)| (format!("{{{index}}}"), (*uuid).to_owned())));
    Ok(names)
}

fn perform(
    (client, reader): (&Client, &Client),
    ours: &Side<'_>,
    theirs: &Side<'_>,
    (commands, state): (&[&str], &[&str]),
    names: &[(String, String)],
    (place, report): (&str, &mut Report),
) -> anyhow::Result<()> {
    let words = |line: &str| -> Vec<String> {
        let line = names.iter().fold(line.to_owned(), |line, (key, name)| line.replace(key, name));
        line.split(' ').map(str::to_owned).collect()
    };
    for command in commands.iter().filter(|command| !command.contains("{0}") || names.iter().any(|(key, _)| key == "{0}")) {
        let args = words(command);
        if client.version == "v20" && place.contains("demo") && args.contains(&"unthrottle".to_owned()) {
            // Clients up to v20 send the present moment as the end, which a demo, whose clock stands still, has yet to come to.
            continue;
        }
        let mark = ours.writes.mark();
        let our_output = ours.run(client, &args, ours.writes)?;
        if our_output.exit != 0 && ours.writes.logged(mark, 0).is_empty() {
            // The client has no such command or flag.
            continue;
        }
        if ours.writes.logged(mark, 1).iter().any(|rpc| rpc.code == UNIMPLEMENTED) {
            report.add(&client.version, place, &args, Verdict::Refused);
            continue;
        }
        let their_output = theirs.run(client, &args, theirs.writes)?;
        report.add(&client.version, place, &args, report.judge(our_output, their_output));
        for state in state {
            let state_args = words(state);
            let [ours, theirs] = [ours, theirs].map(|side| side.run(reader, &state_args, side.reads));
            let [mut ours, mut theirs] = [ours?, theirs?];
            [&mut ours, &mut theirs].into_iter().for_each(without_times);
            let verdict = report.judge(ours, theirs);
            report.add(&client.version, &format!("{place}: rows ({})", args.join(" ")), &state_args, verdict);
        }
    }
    Ok(())
}

/// gRPC's code.
const UNIMPLEMENTED: u32 = 12;

/// Both clusters were written at moments of their own: that there is a time is compared.
fn without_times(output: &mut Output) {
    fn walk(value: &mut Value) {
        if value["seconds"].is_string() || value["seconds"].is_number() {
            *value = Value::from("a time");
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, field) in fields.iter_mut() {
                    if name == "vitess_liveness_indicator" && *field != "0" {
                        *field = Value::from("a time");
                    } else {
                        walk(field);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    if let Body::Json(value) = &mut output.body {
        walk(value);
    }
}
