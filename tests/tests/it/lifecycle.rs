//! The recorded moments of `recordings/lifecycle.json` as embedded clusters, and what is to be seen of a cluster, recorded or running.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use serde_json::Value;
use tokio::time::Instant;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{Cell, Cluster, OwnTables, Snapshot, TableSize},
    observe::Nobody,
    tablet::{TabletOptions, Tablets},
    topo::{CellRecord, MemoryTopology},
};
use vtflow_planner::{
    Answer, Call, CallOptions, Effect, Flow, Reply, TabletAddress, Timestamp,
    proto::{
        tabletmanagerdata::ExecuteFetchAsDbaRequest,
        topodata::{Shard, SrvKeyspace},
        vschema::{MirrorRules, RoutingRules, SrvVSchema},
    },
    rpc,
    sidecar::result::RowSet,
};

/// A replica has the rows of its primary there; here it has none.
const REPLICA: &str = "zone1-0000000101";

/// The primary of commerce; all others are of customer.
const SOURCE: &str = "zone1-0000000100";

/// Columns of streams that are compared.
const COMPARED: [&str; 11] = [
    "workflow",
    "source",
    "state",
    "message",
    "cell",
    "tablet_types",
    "db_name",
    "workflow_type",
    "workflow_sub_type",
    "defer_secondary_keys",
    "options",
];

fn read(name: &str) -> Value {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recordings").join(name);
    serde_json::from_str(&fs::read_to_string(file).expect("a recording")).expect("JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().expect("base64")).expect("base64")
}

/// What was there at one moment.
#[derive(Clone)]
pub(crate) struct Moment {
    now: Timestamp,
    topo: Vec<CellRecord>,
    /// By tablet and table.
    rows: BTreeMap<String, BTreeMap<String, Vec<Vec<Value>>>>,
    /// Names of a table's columns.
    columns: BTreeMap<String, Vec<String>>,
    /// Of the keyspace, by tablet.
    tables: BTreeMap<String, Vec<String>>,
    /// Those with rows, by tablet.
    own: BTreeMap<String, OwnTables>,
}

/// Tables of a tablet's database that a moment is given: no recording has them.
pub(crate) type Tables<'a> = &'a [(&'a str, &'a [&'a str])];

/// A recorded call, with what was there before and after it.
pub(crate) struct Recorded {
    pub(crate) before: Moment,
    /// `None`: nothing had changed.
    pub(crate) after: Option<Moment>,
    pub(crate) request: Vec<u8>,
    pub(crate) response: Option<Vec<u8>>,
    pub(crate) error: Option<String>,
}

impl Recorded {
    pub(crate) fn step(name: &str) -> Self {
        let all = read("lifecycle.json");
        let calls = read("switches.json");
        let call = calls.as_array().expect("calls").iter().find(|call| call["step"] == name).expect("a call");
        let moment = |side: &str| {
            let states = all["states"].as_array().expect("states");
            states.iter().find(|state| state["step"] == name && state["side"] == side).map(|state| Moment::read(&all, state))
        };
        Self {
            before: moment("before").expect("a moment"),
            after: moment("after"),
            request: bytes(&call["request"]),
            response: call.get("response").map(bytes),
            error: call["error"].as_str().map(str::to_owned),
        }
    }

    /// Without the streams of this workflow, before and after, and without its name in journals.
    pub(crate) fn without(mut self, workflow: &str) -> Self {
        for moment in [Some(&mut self.before), self.after.as_mut()].into_iter().flatten() {
            let at = moment.columns["vreplication"].iter().position(|column| column == "workflow").expect("a column");
            for tables in moment.rows.values_mut() {
                tables.get_mut("vreplication").expect("a table").retain(|row| row[at] != workflow);
                let named = format!(" source_workflows:\"{workflow}\"");
                for value in tables.get_mut("resharding_journal").expect("a table").iter_mut().flatten() {
                    if let Value::String(text) = value {
                        *text = text.replace(&named, "");
                    }
                }
            }
        }
        self
    }
}

impl Moment {
    /// A recorded moment of any step.
    pub(crate) fn of(step: &str, side: &str) -> Self {
        let all = read("lifecycle.json");
        let states = all["states"].as_array().expect("states");
        let state = states.iter().find(|state| state["step"] == step && state["side"] == side).expect("a moment");
        Self::read(&all, state)
    }

    /// The same, with tables on some tablets.
    pub(crate) fn with_tables(mut self, tables: Tables<'_>) -> Self {
        let owned = |(alias, names): &(&str, &[&str])| ((*alias).to_owned(), names.iter().map(|&name| name.to_owned()).collect());
        self.tables = tables.iter().map(owned).collect();
        self
    }

    fn read(all: &Value, state: &Value) -> Self {
        let number = |value: &Value| usize::try_from(value.as_u64().expect("a number")).expect("a number");
        let record = |(place, at): (&String, &Value)| {
            let (cell, path) = place.split_once('/').expect("a place");
            let value = bytes(&all["values"][number(&at[1])]);
            CellRecord { cell: cell.into(), path: path.into(), version: at[0].as_i64().expect("a version"), value }
        };
        let row = |id: &Value| all["rows"][number(id)].as_array().expect("a row").clone();
        let table = |(name, ids): (&String, &Value)| (name.clone(), ids.as_array().expect("rows").iter().map(row).collect());
        let tablet =
            |(alias, tables): (&String, &Value)| (alias.clone(), tables.as_object().expect("tables").iter().map(table).collect());
        let names = |(table, columns): (&String, &Value)| {
            let columns = columns.as_array().expect("columns").iter();
            (table.clone(), columns.map(|column| column[0].as_str().expect("a name").to_owned()).collect())
        };
        Self {
            now: Timestamp { seconds: state["now"].as_i64().expect("a time"), nanos: 0 },
            topo: state["topo"].as_object().expect("records").iter().map(record).collect(),
            rows: state["tablets"].as_object().expect("tablets").iter().map(tablet).collect(),
            columns: all["columns"].as_object().expect("tables").iter().map(names).collect(),
            tables: BTreeMap::new(),
            own: BTreeMap::new(),
        }
    }

    /// The same, with tables of a tablet's keyspace that have rows.
    pub(crate) fn with_own(mut self, alias: &str, own: OwnTables) -> Self {
        self.own.insert(alias.to_owned(), own);
        self
    }

    /// The same, with a record that was changed, or that is there from now on.
    pub(crate) fn with_record(mut self, cell: &str, path: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        match self.topo.iter_mut().find(|record| record.cell == cell && record.path == path) {
            Some(record) => record.value = change(std::mem::take(&mut record.value)),
            None => self.topo.push(CellRecord { cell: cell.into(), path: path.into(), version: 1, value: change(Vec::new()) }),
        }
        self
    }

    /// As a snapshot: tables that were not recorded are empty.
    fn snapshot(&self) -> Snapshot {
        let cluster = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recordings/vdiff/before");
        let mut snapshot = Snapshot::load(&cluster).expect("a snapshot of the same cluster");
        let mut empty = snapshot.tablets["zone1-0000000200"].clone();
        empty.sidecar.values_mut().for_each(|table| table.rows.clear());
        let cell = |value: &Value| match value {
            Value::Null => Cell::Null,
            Value::Number(number) => Cell::Int(number.as_i64().expect("a number")),
            other => Cell::Text(other.as_str().expect("a text").to_owned()),
        };
        snapshot.tablets.clear();
        for (alias, tables) in &self.rows {
            let mut tablet = empty.clone();
            for (name, rows) in tables {
                let table = tablet.sidecar.get_mut(name).expect("a table");
                let names: Vec<&String> = table.columns.iter().map(|column| &column.name).collect();
                assert_eq!(names, self.columns[name].iter().collect::<Vec<_>>(), "{name}");
                table.rows = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
            }
            let database = if alias == SOURCE { "vt_commerce" } else { "vt_customer" };
            let size = |table: &String| TableSize { database: database.into(), table: table.clone(), ..TableSize::default() };
            tablet.table_sizes = self.tables.get(alias).into_iter().flatten().map(size).collect();
            tablet.own = self.own.get(alias).cloned();
            snapshot.tablets.insert(alias.clone(), tablet);
        }
        snapshot.topo.clone_from(&self.topo);
        snapshot.taken_at = self.now;
        snapshot
    }
}

/// An embedded cluster.
pub(crate) struct Running {
    pub(crate) cluster: Cluster,
    pub(crate) io: ClusterIo,
    pub(crate) now: Timestamp,
    /// Of its tablets.
    aliases: Vec<String>,
    /// Of its records, and of those that may come: cell and path.
    places: BTreeSet<(String, String)>,
}

impl Running {
    pub(crate) async fn start(moment: &Moment) -> Self {
        let snapshot = moment.snapshot();
        let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.expect("tablets start");
        let io = ClusterIo {
            topology: Arc::new(MemoryTopology::new(cluster.topo())),
            tablets: Arc::new(Tablets::new(TabletOptions::default()).expect("no files to read")),
            deadlines: Deadlines::default(),
        };
        let aliases = moment.rows.keys().cloned().collect();
        let rules = ["RoutingRules", "MirrorRules"].map(|path| ("global".to_owned(), path.to_owned()));
        let places: BTreeSet<_> =
            moment.topo.iter().map(|record| (record.cell.clone(), record.path.clone())).chain(rules).collect();
        Self { cluster, io, now: moment.now, aliases, places }
    }

    pub(crate) fn flow(&self, request: &[u8]) -> Flow {
        let (path, options) = (rpc::WORKFLOW_SWITCH_TRAFFIC.into(), CallOptions::default());
        Flow::start(&Call { path, request: request.to_vec(), options }, self.now)
    }

    pub(crate) async fn perform(&self, request: &[u8]) -> Reply {
        drive(self.flow(request), &self.io, None, &Nobody).await
    }

    /// Any request.
    pub(crate) async fn ask(&self, call: &Call) -> Reply {
        drive(Flow::start(call, self.now), &self.io, None, &Nobody).await
    }

    /// Tables of the keyspaces, by tablet.
    pub(crate) async fn tables(&self) -> BTreeMap<String, Vec<String>> {
        let mut all = BTreeMap::new();
        for alias in self.aliases.iter().filter(|alias| *alias != REPLICA) {
            let rows = self.rows(alias, "select table_name from information_schema.tables order by 1").await;
            all.insert(alias.clone(), rows.rows().map(|row| row.text("TABLE_NAME")).collect());
        }
        all
    }

    /// Calls of tablets that would change something.
    pub(crate) fn writes(&self) -> usize {
        self.aliases.iter().map(|alias| self.cluster.writes(alias)).sum()
    }

    pub(crate) async fn seen(&self) -> Seen {
        let mut records = BTreeMap::new();
        for (cell, path) in &self.places {
            let deadline = Instant::now() + Duration::from_secs(20);
            let answer = self.io.topology.records(cell, std::slice::from_ref(path), deadline).await.pop();
            match answer {
                Some(Answer::Found { value, .. }) => drop(records.insert(format!("{cell}/{path}"), value)),
                Some(Answer::Missing { .. }) => {}
                other => panic!("{cell}/{path}: {other:?}"),
            }
        }
        let (mut streams, mut journals) = (BTreeMap::new(), BTreeMap::new());
        for alias in self.aliases.iter().filter(|alias| *alias != REPLICA) {
            let table = async |name: &str, columns: &[&str]| -> Vec<Vec<String>> {
                let rows = self.table(alias, name).await;
                let value = |row: &vtflow_planner::sidecar::Row<'_>, column: &str| row.text(column);
                rows.rows().map(|row| columns.iter().map(|column| value(&row, column)).collect()).collect()
            };
            streams.insert(alias.clone(), table("vreplication", &COMPARED).await);
            let values = table("resharding_journal", &["val"]).await;
            journals.insert(alias.clone(), values.into_iter().flatten().collect());
        }
        Seen::new(records, streams, journals)
    }

    async fn table(&self, alias: &str, name: &str) -> RowSet {
        self.rows(alias, &format!("select * from _vt.{name}")).await
    }

    pub(crate) async fn rows(&self, alias: &str, query: &str) -> RowSet {
        let tablet = TabletAddress {
            alias: alias.into(),
            cell: "zone1".into(),
            host: "127.0.0.1".into(),
            grpc_port: self.cluster.port(alias).expect("a tablet"),
        };
        let query = query.as_bytes().to_vec();
        let request = ExecuteFetchAsDbaRequest { query, max_rows: 100, ..ExecuteFetchAsDbaRequest::default() };
        let (request, wait) = (request.encode_to_vec(), Duration::from_secs(20));
        let answer = self.io.tablets.call(&tablet, rpc::EXECUTE_FETCH_AS_DBA, &request, Effect::Read, wait, None).await;
        let Answer::Called(bytes) = answer else { panic!("{answer:?}") };
        RowSet::from_execute_fetch(&bytes).expect("rows")
    }
}

/// What is to be seen of a cluster, as texts that say the same of the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    records: BTreeMap<String, String>,
    /// By tablet, each stream's columns, in order.
    streams: BTreeMap<String, Vec<Vec<String>>>,
    /// By tablet.
    journals: BTreeMap<String, Vec<String>>,
}

impl Seen {
    fn new(
        records: BTreeMap<String, Vec<u8>>,
        mut streams: BTreeMap<String, Vec<Vec<String>>>,
        journals: BTreeMap<String, Vec<String>>,
    ) -> Self {
        // Ports are other ones, and nothing here writes these.
        let records = records.into_iter().filter(|(place, _)| !place.ends_with("/Tablet"));
        for rows in streams.values_mut() {
            rows.sort();
        }
        let journals = journals.into_iter().map(|(alias, texts)| {
            let mut texts: Vec<String> = texts.iter().map(|text| journal(text)).collect();
            texts.sort();
            (alias, texts)
        });
        Self {
            records: records.map(|(place, value)| (place.clone(), record(&place, &value))).collect(),
            streams,
            journals: journals.collect(),
        }
    }

    /// Of a recorded moment.
    pub(crate) fn recorded(moment: &Moment) -> Self {
        let records = moment.topo.iter().map(|it| (format!("{}/{}", it.cell, it.path), it.value.clone())).collect();
        let tablets = || moment.rows.iter().filter(|(alias, _)| *alias != REPLICA);
        let table = |tables: &BTreeMap<String, Vec<Vec<Value>>>, name: &str, columns: &[&str]| -> Vec<Vec<String>> {
            let at = |column: &&str| moment.columns[name].iter().position(|known| known == column).expect("a column");
            let text = |value: &Value| match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            tables[name].iter().map(|row| columns.iter().map(|column| text(&row[at(column)])).collect()).collect()
        };
        let streams = tablets().map(|(alias, tables)| (alias.clone(), table(tables, "vreplication", &COMPARED)));
        let journals = tablets().map(|(alias, tables)| {
            (alias.clone(), table(tables, "resharding_journal", &["val"]).into_iter().flatten().collect())
        });
        Self::new(records, streams.collect(), journals.collect())
    }

    /// Of streams only those of this workflow's two directions: others follow the journal there, which nothing does here.
    pub(crate) fn of(mut self, workflow: &str) -> Self {
        let reverse = format!("{workflow}_reverse");
        self.streams.values_mut().for_each(|rows| rows.retain(|row| [workflow, &reverse].contains(&row[0].as_str())));
        self
    }

    /// What a workflow's streams read on each tablet, and what they do.
    pub(crate) fn read(&self, workflow: &str) -> Vec<(String, Vec<String>)> {
        let at = ["source", "state", "message"].map(|name| COMPARED.iter().position(|known| *known == name).expect("a column"));
        let rows = self.streams.iter().flat_map(|(alias, rows)| rows.iter().map(move |row| (alias, row)));
        let own = rows.filter(|(_, row)| row[0] == workflow);
        own.map(|(alias, row)| (alias.clone(), at.map(|at| row[at].clone()).to_vec())).collect()
    }

    /// Without the cells from which streams read.
    pub(crate) fn without_cells(mut self) -> Self {
        let at = COMPARED.iter().position(|column| *column == "cell").expect("a column");
        self.streams.values_mut().flatten().for_each(|row| row[at].clear());
        self
    }

    /// Records, streams and journals.
    pub(crate) fn assert_is(&self, other: &Self, context: &str) {
        self.assert_traffic_is(other, context);
        for (alias, rows) in &self.streams {
            assert_eq!(rows, &other.streams[alias], "{context}: streams of {alias}");
        }
        assert_eq!(self.journals, other.journals, "{context}: journals");
    }

    /// Records alone: where reads and writes go, and who takes them.
    pub(crate) fn assert_traffic_is(&self, other: &Self, context: &str) {
        assert_eq!(self.records.keys().collect::<Vec<_>>(), other.records.keys().collect::<Vec<_>>(), "{context}");
        for (place, text) in &self.records {
            assert_eq!(text, &other.records[place], "{context}: {place}");
        }
    }

    /// Whether there is a journal that was not there.
    pub(crate) fn has_journal_since(&self, before: &Self) -> bool {
        self.journals != before.journals
    }

    /// Name, state and message of these workflows' streams on all tablets.
    pub(crate) fn states(&self, workflows: &[&str]) -> Vec<String> {
        let rows = self.streams.values().flatten().filter(|row| workflows.contains(&row[0].as_str()));
        let mut states: Vec<String> = rows.map(|row| format!("{} {} {}", row[0], row[2], row[3])).collect();
        states.sort();
        states
    }
}

/// A record, its rules in order.
fn record(place: &str, value: &[u8]) -> String {
    let name = place.rsplit('/').next().unwrap_or_default();
    match name {
        "RoutingRules" => rules(&RoutingRules::decode(value).expect("rules")),
        "MirrorRules" => mirrors(MirrorRules::decode(value).expect("rules")),
        "Shard" => {
            let mut shard = Shard::decode(value).expect("a shard");
            // In the order in which they were denied.
            shard.tablet_controls.iter_mut().for_each(|control| control.denied_tables.sort());
            format!("{shard:#?}")
        }
        "SrvKeyspace" => {
            let mut served = SrvKeyspace::decode(value).expect("a record");
            served.partitions.sort_by_key(|partition| partition.served_type);
            format!("{served:#?}")
        }
        "SrvVSchema" => {
            let mut served = SrvVSchema::decode(value).expect("a record");
            let of_tables = served.routing_rules.take().unwrap_or_default();
            let mirrored = served.mirror_rules.take().unwrap_or_default();
            format!("{}\n{}\n{served:#?}", rules(&of_tables), mirrors(mirrored))
        }
        _ => BASE64_STANDARD.encode(value),
    }
}

fn mirrors(mut rules: MirrorRules) -> String {
    rules.rules.sort_by(|a, b| a.from_table.cmp(&b.from_table));
    format!("{rules:#?}")
}

fn rules(rules: &RoutingRules) -> String {
    let mut lines: Vec<String> =
        rules.rules.iter().map(|rule| format!("{} -> {}", rule.from_table, rule.to_tables.join(","))).collect();
    lines.sort();
    lines.join("\n")
}

/// A journal without what is different each time: its parts in order.
fn journal(text: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split(' ') {
        let (name, _) = part.split_once(':').unwrap_or((part, ""));
        match name {
            "id" | "local_position" => parts.push(name.to_owned()),
            // The shard that it is of stands in front of it.
            "gtid" => parts.last_mut().expect("a shard").push_str(" gtid"),
            "shard" => parts.last_mut().expect("a keyspace").extend([" ", part.trim_end_matches('}')]),
            _ => parts.push(part.trim_end_matches('}').to_owned()),
        }
    }
    parts.sort();
    parts.join(" ")
}
