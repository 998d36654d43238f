//! Every reading command of a client on every recorded cluster: what it prints of vtflow beside what it prints of a real vtctld that
//! has the same topology and the same tablets, and beside what was recorded.

use std::{collections::BTreeSet, path::Path, thread};

use anyhow::{Context, bail};
use serde_json::Value;
use vtflow_embedded::Snapshot;

use crate::{
    client::{Client, Ran},
    etcd::Etcd,
    known::NOT_RECORDED,
    live::{Live, Programs, Served},
    output::Output,
    report::Report,
};

/// Clusters that were saved while their streams ran. In the others no stream could write its rows.
const SAVED_WHILE_RUNNING: [&str; 3] = ["movetables-reads-switched", "movetables-switched", "reshard-switched"];

/// The recorded clusters, by the names of their folders.
///
/// # Errors
///
/// The folder cannot be read.
pub fn names(tests: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(tests.join("snapshots"))? {
        let entry = entry?;
        if entry.path().join("topo.json").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Compares with what was recorded on a cluster, which v24 alone was asked.
///
/// # Errors
///
/// Something does not run.
pub fn compare_recorded(
    programs: &Programs,
    tests: &Path,
    name: &str,
    client: &Client,
    report: &mut Report,
) -> anyhow::Result<()> {
    let dir = tests.join("snapshots").join(name);
    let file = std::fs::read_to_string(dir.join("expect/vtctldclient.json")).with_context(|| name.to_owned())?;
    let commands: Vec<Value> = serde_json::from_str(&file).with_context(|| name.to_owned())?;
    let served = Served::vtflow(programs, &["serve", "--snapshot", &dir.display().to_string()])?;
    for command in &commands {
        let args: Vec<String> =
            command["args"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let stdout = command["stdout"].as_str().unwrap_or_default().to_owned();
        let stderr = command["stderr"].as_str().map(str::to_owned);
        // Only some recordings have the exit code: of the others, those that failed printed nothing.
        let exit = command["exit"].as_i64().map_or(i32::from(stdout.is_empty()), |code| i32::try_from(code).unwrap_or(-1));
        let mut ours = Output::of(&client.run(Some(&served.address), &args)?);
        let mut theirs = Output::of(&Ran { exit, stdout, stderr: stderr.clone().unwrap_or_default() });
        if stderr.is_none() && exit != 0 {
            NOT_RECORDED.clone_into(&mut theirs.stderr);
        }
        for output in [&mut ours, &mut theirs] {
            output.without_place();
            if SAVED_WHILE_RUNNING.contains(&name) {
                output.without_heartbeats();
            }
        }
        if stderr.is_none() && ours.exit == theirs.exit {
            ours.stderr.clone_from(&theirs.stderr);
        }
        let verdict = report.judge(ours, theirs);
        report.add(&client.version, &format!("recorded ({name})"), &args, verdict);
    }
    Ok(())
}

/// A cluster with what there is to ask of it.
pub struct Subject {
    /// The snapshot's name.
    pub name: String,
    /// The cluster behind both servers.
    pub live: Live,
    /// Its keyspaces.
    pub keyspaces: Vec<String>,
    /// Its workflows, each behind its keyspace.
    pub workflows: Vec<(String, String)>,
    commands: Vec<Vec<String>>,
}

impl Subject {
    /// Starts a recorded cluster behind vtflow and vtctld. `asker` lists its workflows and migrations.
    ///
    /// # Errors
    ///
    /// Something does not start.
    pub fn start(
        programs: &Programs,
        tests: &Path,
        runtime: &tokio::runtime::Runtime,
        etcd: &Etcd,
        name: &str,
        asker: &Client,
    ) -> anyhow::Result<Self> {
        let snapshot = Snapshot::load(&tests.join("snapshots").join(name))?;
        let places = Places::of(&snapshot);
        let live = Live::start(programs, runtime, etcd, &format!("/reads/{name}"), snapshot)?;
        let mut workflows = Vec::new();
        for keyspace in &places.keyspaces {
            let listed = asker.run(Some(&live.vtflow.address), &["Workflow", "--keyspace", keyspace, "list"])?;
            let listed: Vec<String> = serde_json::from_str(&listed.stdout).unwrap_or_default();
            let usable = listed.into_iter().filter(|name| !name.is_empty() && !name.contains([' ', '/', '?', '%']));
            workflows.extend(usable.map(|name| (keyspace.clone(), name)));
        }
        let commands = places.commands(&workflows, asker, &live.vtflow.address)?;
        let keyspaces = places.keyspaces.into_iter().collect();
        Ok(Self { name: name.to_owned(), live, keyspaces, workflows, commands })
    }

    /// Asks both servers, with one client.
    ///
    /// # Errors
    ///
    /// Something does not run.
    pub fn compare(&self, client: &Client, report: &mut Report) -> anyhow::Result<()> {
        for args in &self.commands {
            let Some((ours, theirs)) = both(client, &self.live, args)? else { continue };
            let verdict = report.judge(ours, theirs);
            report.add(&client.version, &format!("vtctld, {}", self.name), args, verdict);
        }
        Ok(())
    }
}

/// One command, asked of both servers at once. `None` if the client does not send it: it has no such command or flag.
///
/// # Errors
///
/// The client does not run.
pub fn both(client: &Client, live: &Live, args: &[String]) -> anyhow::Result<Option<(Output, Output)>> {
    let mark = live.vtflow.mark();
    let (ours, theirs) = thread::scope(|scope| {
        let theirs = scope.spawn(|| client.run(Some(&live.vtctld.address), args));
        let ours = client.run(Some(&live.vtflow.address), args);
        (ours, theirs.join())
    });
    let Ok(theirs) = theirs else { bail!("{args:?}: the client could not be waited for") };
    let (ours, theirs) = (ours?, theirs?);
    let is_silent = ours.exit != 0 && ours == theirs && live.vtflow.logged(mark, 0).is_empty();
    Ok((!is_silent).then(|| (Output::of(&ours), Output::of(&theirs))))
}

/// The names in a topology.
#[derive(Debug, Default)]
struct Places {
    keyspaces: BTreeSet<String>,
    shards: BTreeSet<String>,
    tablets: BTreeSet<String>,
    cells: BTreeSet<String>,
}

impl Places {
    fn of(snapshot: &Snapshot) -> Self {
        let mut places = Self::default();
        for record in &snapshot.topo {
            match record.path.split('/').collect::<Vec<_>>()[..] {
                ["keyspaces", keyspace, "Keyspace"] => places.keyspaces.insert(keyspace.to_owned()),
                ["keyspaces", keyspace, "shards", shard, "Shard"] => places.shards.insert(format!("{keyspace}/{shard}")),
                ["tablets", alias, "Tablet"] => places.tablets.insert(alias.to_owned()),
                ["cells", cell, "CellInfo"] => places.cells.insert(cell.to_owned()),
                _ => false,
            };
        }
        places
    }

    /// Every reading command that vtflow serves, of everything that there is, and of something that there is not.
    fn commands(&self, workflows: &[(String, String)], asker: &Client, address: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let mut lines: Vec<String> = [
            "GetKeyspaces",
            "GetTablets",
            "GetTablets --format json",
            "GetTablets --tablet-type primary",
            "GetCellInfoNames",
            "GetCellsAliases",
            "GetSrvKeyspaceNames",
            "GetSrvVSchemas",
            "GetRoutingRules",
            "GetShardRoutingRules",
            "GetKeyspaceRoutingRules",
            "GetMirrorRules",
            "GetTopologyPath /",
            "GetTopologyPath /global",
            "GetTopologyPath /global/keyspaces",
            "GetTopologyPath /global/nosuch",
            "GetKeyspace nosuch",
            "GetShard nosuch/0",
            "GetWorkflows nosuch",
            "OnlineDDL show nosuch all",
            "GetVSchema nosuch",
            "GetCellInfo nosuch",
            "GetTablet zone1-999",
        ]
        .map(str::to_owned)
        .into();
        lines.extend(self.cells.iter().flat_map(|cell| {
            [
                format!("GetCellInfo {cell}"),
                format!("GetSrvVSchema {cell}"),
                format!("GetTablets --cell {cell}"),
                format!("GetTopologyPath /{cell}"),
            ]
        }));
        lines.extend(self.shards.iter().flat_map(|shard| {
            [
                format!("GetShard {shard}"),
                format!("GetTopologyPath --data-as-json /global/keyspaces/{}/Shard", shard.replace('/', "/shards/")),
            ]
        }));
        lines.extend(self.tablets.iter().flat_map(|alias| {
            [format!("GetTablet {alias}"), format!("GetTablets --tablet-alias {alias}"), format!("GetTabletVersion {alias}")]
        }));
        for keyspace in &self.keyspaces {
            lines.extend(self.of_keyspace(keyspace, workflows, asker, address)?);
        }
        Ok(lines.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect())
    }

    fn of_keyspace(
        &self,
        keyspace: &str,
        workflows: &[(String, String)],
        asker: &Client,
        address: &str,
    ) -> anyhow::Result<Vec<String>> {
        let plain = [
            "GetKeyspace {K}",
            "FindAllShardsInKeyspace {K}",
            "GetTablets --keyspace {K}",
            "GetSrvKeyspaces {K}",
            "GetVSchema {K}",
            "GetTopologyPath /global/keyspaces/{K}/Keyspace",
            "GetTopologyPath --data-as-json /global/keyspaces/{K}/VSchema",
            "GetWorkflows {K}",
            "GetWorkflows --show-all {K}",
            "GetWorkflows --include-logs=false --show-all {K}",
            "--compact GetWorkflows --show-all {K}",
            "Workflow --keyspace {K} list",
            "Workflow --keyspace {K} show --workflow nosuch",
            "MoveTables --workflow nosuch --target-keyspace {K} status",
            "OnlineDDL show {K} all",
            "OnlineDDL show --json {K} all",
            "OnlineDDL show --json --order descending {K} all",
            "OnlineDDL show --json --skip 1 --limit 2 {K} all",
            "OnlineDDL show --json {K} recent",
            "OnlineDDL show --json {K} complete",
            "OnlineDDL show --json {K} running",
            "OnlineDDL show --json {K} queued",
            "OnlineDDL show --json {K} cancelled",
            "OnlineDDL show --json {K} not-a-uuid",
            "VDiff --workflow nosuch --target-keyspace {K} show all",
            "LegacyVtctlCommand -- Workflow {K} listall",
            "LegacyVtctlCommand -- OnlineDDL {K} show all",
        ];
        let mut lines: Vec<String> = plain.iter().map(|line| line.replace("{K}", keyspace)).collect();
        lines.extend(self.shards.iter().filter(|shard| shard.starts_with(&format!("{keyspace}/"))).map(|shard| {
            format!("Workflow --keyspace {keyspace} list --shards {}", shard.rsplit('/').next().unwrap_or_default())
        }));
        for (_, workflow) in workflows.iter().filter(|(of, _)| of == keyspace) {
            let of_target = format!("--workflow {workflow} --target-keyspace {keyspace}");
            lines.extend([
                format!("Workflow --keyspace {keyspace} show --workflow {workflow}"),
                format!("MoveTables {of_target} show"),
                format!("MoveTables {of_target} status"),
                format!("Reshard {of_target} --format json status"),
                format!("VDiff {of_target} show all"),
                format!("VDiff {of_target} --format json show last"),
                format!("LegacyVtctlCommand -- Workflow {keyspace}.{workflow} show"),
            ]);
        }
        let shown = asker.run(Some(address), &["OnlineDDL", "show", "--json", keyspace, "all"])?;
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap_or_default();
        let uuids: BTreeSet<&str> =
            shown["migrations"].as_array().into_iter().flatten().filter_map(|migration| migration["uuid"].as_str()).collect();
        lines.extend(uuids.iter().map(|uuid| format!("OnlineDDL show --json {keyspace} {uuid}")));
        Ok(lines)
    }
}
