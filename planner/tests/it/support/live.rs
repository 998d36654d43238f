//! A cluster that changes: records with versions, streams and journals on tablets. It performs what it is asked to write, one ask at a
//! time, and can fail, forget to answer, or stop to be asked at any of them.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use vtflow_planner::{
    Answer, Ask, Call, Effect, FailureKind, Flow, Record, Reply, What,
    proto::{
        query::{Field, QueryResult, Row},
        tabletmanagerdata::{
            DeleteVReplicationWorkflowRequest, ExecuteFetchAsDbaRequest, ExecuteFetchAsDbaResponse, PrimaryPositionResponse,
            ResetSequencesRequest, VReplicationExecRequest, VReplicationExecResponse, VReplicationWaitForPosRequest,
            ValidateVReplicationPermissionsResponse,
        },
        topodata::{CellInfo, KeyRange, Shard, SrvKeyspace, Tablet, TabletAlias, TabletType},
    },
    rpc,
};

use super::{NOW, sequences, tables};

/// What becomes of one write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused.
    Refused,
    /// It is done, and the answer is lost.
    LostAfter,
    /// It is not done, and nobody says so.
    LostBefore,
    /// It is never sent.
    NotSent,
    /// Whoever asks dies before it.
    Killed,
}

/// A row, by column.
pub(crate) type Stored = BTreeMap<&'static str, String>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Server {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) position: String,
    pub(crate) streams: Vec<Stored>,
    /// Ids of streams that are copying.
    pub(crate) copying: Vec<i64>,
    pub(crate) journals: BTreeMap<i64, String>,
    pub(crate) denied: Vec<String>,
    /// Whether its query service was switched off when it last read its cell's record.
    pub(crate) is_off: bool,
    /// Tables and views of its database, and whether each is a view.
    pub(crate) tables: BTreeMap<String, bool>,
    pub(crate) next_id: i64,
    /// Its sequences by table, with their next values; `None`: there is no row.
    pub(crate) sequences: BTreeMap<String, Option<i64>>,
    /// Sequences of which it has taken values in advance.
    pub(crate) cached: BTreeSet<String>,
    /// The largest value of a column, as `table.column`.
    pub(crate) highest: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    pub(crate) topo: BTreeMap<(String, String), (Vec<u8>, i64)>,
    pub(crate) servers: BTreeMap<String, Server>,
    /// Everything that was written or that holds writes up, in its order.
    pub(crate) log: Vec<String>,
    /// By number of write, from 0.
    pub(crate) faults: BTreeMap<usize, Fault>,
    /// Calls that fail: a part of their log line, and what they say.
    pub(crate) broken: Vec<(String, String)>,
    pub(crate) writes: usize,
    revision: i64,
}

pub(crate) const COLUMNS: [&str; 23] = [
    "id",
    "workflow",
    "source",
    "pos",
    "stop_pos",
    "max_tps",
    "max_replication_lag",
    "cell",
    "tablet_types",
    "time_updated",
    "transaction_timestamp",
    "state",
    "message",
    "db_name",
    "rows_copied",
    "tags",
    "time_heartbeat",
    "workflow_type",
    "time_throttled",
    "component_throttled",
    "workflow_sub_type",
    "defer_secondary_keys",
    "options",
];

const NUMBERS: [&str; 11] = [
    "id",
    "max_tps",
    "max_replication_lag",
    "time_updated",
    "transaction_timestamp",
    "rows_copied",
    "time_heartbeat",
    "workflow_type",
    "time_throttled",
    "workflow_sub_type",
    "defer_secondary_keys",
];

impl Live {
    pub(crate) fn put(&mut self, cell: &str, path: &str, value: Vec<u8>) {
        self.revision += 1;
        self.topo.insert((cell.into(), path.into()), (value, self.revision));
    }

    pub(crate) fn cell(&mut self, cell: &str) {
        let record = CellInfo { server_address: "etcd:2379".into(), root: format!("/vitess/{cell}") };
        self.put("global", &format!("cells/{cell}/CellInfo"), record.encode_to_vec());
    }

    /// A shard with its primary.
    pub(crate) fn shard(&mut self, keyspace: &str, shard: &str, cell: &str, uid: u32, uuid: &str, key_range: Option<KeyRange>) {
        let primary_alias = Some(TabletAlias { cell: cell.into(), uid });
        let record = Shard { primary_alias, is_primary_serving: true, key_range, ..Shard::default() };
        self.put("global", &format!("keyspaces/{keyspace}/Keyspace"), vec![]);
        self.put("global", &format!("keyspaces/{keyspace}/shards/{shard}/Shard"), record.encode_to_vec());
        self.tablet(keyspace, shard, cell, uid, 1);
        let server = Server {
            keyspace: keyspace.into(),
            shard: shard.into(),
            position: format!("MySQL56/{uuid}:1-100"),
            next_id: 1,
            ..Server::default()
        };
        self.servers.insert(format!("{cell}-{uid:010}"), server);
    }

    pub(crate) fn tablet(&mut self, keyspace: &str, shard: &str, cell: &str, uid: u32, of_type: i32) {
        let record = Tablet {
            alias: Some(TabletAlias { cell: cell.into(), uid }),
            hostname: "127.0.0.1".into(),
            port_map: BTreeMap::from([("grpc".into(), 16_000 + uid.cast_signed())]),
            keyspace: keyspace.into(),
            shard: shard.into(),
            r#type: of_type,
            ..Tablet::default()
        };
        self.put(cell, &format!("tablets/{cell}-{uid:010}/Tablet"), record.encode_to_vec());
    }

    pub(crate) fn stream(&mut self, alias: &str, workflow: &str, source: &str, of_type: i32) {
        let server = self.servers.get_mut(alias).expect("a tablet");
        let mut row: Stored = COLUMNS.iter().map(|&name| (name, String::new())).collect();
        for name in NUMBERS {
            row.insert(name, "0".into());
        }
        let recently = (NOW.seconds - 1).to_string();
        for (column, value) in [
            ("id", server.next_id.to_string()),
            ("workflow", workflow.to_owned()),
            ("source", source.to_owned()),
            ("pos", "MySQL56/65b309ae-eb92-11f1-97ea-02fc00000001:1-99".into()),
            ("cell", "zone1".into()),
            ("tablet_types", "PRIMARY".into()),
            ("time_updated", recently.clone()),
            ("transaction_timestamp", recently.clone()),
            ("time_heartbeat", recently),
            ("state", "Running".into()),
            ("db_name", format!("vt_{}", server.keyspace)),
            ("workflow_type", of_type.to_string()),
            ("options", r#"{"sharded_auto_increment_handling":1}"#.into()),
        ] {
            row.insert(column, value);
        }
        server.next_id += 1;
        server.streams.push(row);
    }

    pub(crate) fn record<M: Message + Default>(&self, cell: &str, path: &str) -> M {
        let (value, _) = &self.topo[&(cell.to_owned(), path.to_owned())];
        M::decode(value.as_slice()).expect("a record")
    }

    /// Columns of the streams of a workflow on a tablet, by id.
    pub(crate) fn rows(&self, alias: &str, workflow: &str, columns: &[&str]) -> Vec<Vec<String>> {
        let rows = self.servers[alias].streams.iter().filter(|row| row["workflow"] == workflow);
        rows.map(|row| columns.iter().map(|column| row[column].clone()).collect()).collect()
    }

    /// Runs a request to its end; `None`: it died on the way.
    pub(crate) fn run(&mut self, call: &Call) -> Option<Reply> {
        self.run_choosing(call, |_| 0)
    }

    /// The same, performing and answering one of the asks under way at a time, chosen by `pick` (given how many there are).
    pub(crate) fn run_choosing(&mut self, call: &Call, mut pick: impl FnMut(usize) -> usize) -> Option<Reply> {
        let mut flow = Flow::start(call, NOW);
        let mut waiting = flow.asks();
        while !waiting.is_empty() {
            let ask = waiting.remove(pick(waiting.len()));
            let answer = self.perform(&ask)?;
            assert!(flow.answer(ask.id, answer), "an outstanding ask is taken");
            waiting.extend(flow.asks());
        }
        Some(flow.into_reply().expect("nothing is outstanding"))
    }

    /// Performs one ask; `None`: whoever asks dies before it.
    pub(crate) fn perform(&mut self, ask: &Ask) -> Option<Answer> {
        let is_write =
            matches!(ask.what, What::TopoPut { .. } | What::TopoDelete { .. } | What::TabletCall { effect: Effect::Write, .. });
        if !is_write {
            return Some(self.answer(ask));
        }
        let fault = self.faults.get(&self.writes).copied();
        self.writes += 1;
        let failed = |kind, message: &str| Some(Answer::Failed { kind, message: message.into() });
        match fault {
            None => Some(self.answer(ask)),
            Some(Fault::Refused) => failed(FailureKind::Status(2), "refused"),
            Some(Fault::LostBefore) => failed(FailureKind::TimedOut, "no answer in 10s"),
            Some(Fault::NotSent) => failed(FailureKind::NotSent, "the lock was lost: nothing was sent"),
            Some(Fault::Killed) => None,
            Some(Fault::LostAfter) => {
                self.answer(ask);
                failed(FailureKind::Unreachable, "the connection broke")
            }
        }
    }

    fn answer(&mut self, ask: &Ask) -> Answer {
        match &ask.what {
            What::TopoGet { cell, path } => match self.topo.get(&(cell.clone(), path.clone())) {
                Some((value, version)) => Answer::Found { value: value.clone(), version: *version },
                None => Answer::Missing { node: format!("/vitess/{cell}/{path}") },
            },
            What::TopoRange { cell, prefix } | What::TopoList { cell, prefix } => {
                let below = self.topo.iter().filter(|((of, path), _)| of == cell && path.starts_with(prefix.as_str()));
                let record = |((_, path), (value, version)): (&(String, String), &(Vec<u8>, i64))| Record {
                    path: path.clone(),
                    value: value.clone(),
                    version: *version,
                };
                let records: Vec<Record> = below.map(record).collect();
                if records.is_empty() { Answer::Missing { node: prefix.clone() } } else { Answer::Range(records) }
            }
            What::TopoLock { path, .. } => {
                self.log.push(format!("lock {path}"));
                Answer::Locked
            }
            What::TopoUnlock { .. } => {
                self.log.push("unlock".into());
                Answer::Unlocked
            }
            What::TopoPut { cell, path, value, version } => {
                let now = self.topo.get(&(cell.clone(), path.clone())).map_or(0, |(_, version)| *version);
                if now != *version {
                    return Answer::Failed { kind: FailureKind::Status(9), message: format!("bad node version: {path}") };
                }
                self.log.push(format!("put {cell} {path}"));
                self.put(cell, path, value.clone());
                Answer::Stored { version: self.revision }
            }
            What::TopoDelete { cell, path, version } => {
                let key = (cell.clone(), path.clone());
                match self.topo.get(&key) {
                    None => Answer::Missing { node: format!("/vitess/{cell}/{path}") },
                    Some((_, now)) if now != version => {
                        Answer::Failed { kind: FailureKind::Status(9), message: format!("bad node version: {path}") }
                    }
                    Some(_) => {
                        self.log.push(format!("delete {cell} {path}"));
                        self.topo.remove(&key);
                        Answer::Deleted
                    }
                }
            }
            What::TabletCall { tablet, path, request, about, .. } => {
                self.call(&tablet.alias, path.rsplit('/').next().unwrap_or(path), request, &about.statement)
            }
            What::TabletPage { .. } => Answer::Failed { kind: FailureKind::Unreachable, message: "no pages".into() },
        }
    }

    /// Whether a primary's cell says that its query service is off.
    fn is_off(&self, alias: &str, keyspace: &str, shard: &str) -> bool {
        let cell = alias.rsplit_once('-').expect("an alias").0;
        let path = format!("keyspaces/{keyspace}/SrvKeyspace");
        let Some((record, _)) = self.topo.get(&(cell.to_owned(), path)) else { return false };
        let served = SrvKeyspace::decode(record.as_slice()).expect("a record");
        let of_primary = served.partitions.iter().filter(|part| part.served_type() == TabletType::Primary);
        of_primary.flat_map(|part| &part.shard_tablet_controls).any(|it| it.name == shard && it.query_service_disabled)
    }

    fn call(&mut self, alias: &str, method: &str, request: &[u8], statement: &str) -> Answer {
        let line = format!("{alias} {method} {statement}").trim_end().to_owned();
        if let Some((_, said)) = self.broken.iter().find(|(part, _)| line.contains(part)) {
            return Answer::Failed { kind: FailureKind::Status(2), message: said.clone() };
        }
        let is_select = statement.starts_with("select ");
        if !is_select {
            self.log.push(line);
        }
        let done = || Answer::Called(Vec::new());
        match format!("/tabletmanagerservice.TabletManager/{method}").as_str() {
            rpc::VREPLICATION_EXEC => {
                let query = VReplicationExecRequest::decode(request).expect("a request").query;
                let result = self.servers.get_mut(alias).expect("a primary").execute(&query);
                Answer::Called(VReplicationExecResponse { result: Some(result) }.encode_to_vec())
            }
            rpc::REFRESH_STATE => {
                if let Some(Server { keyspace, shard, .. }) = self.servers.get(alias).cloned() {
                    let record: Shard = self.record("global", &format!("keyspaces/{keyspace}/shards/{shard}/Shard"));
                    let denied = record.tablet_controls.into_iter().flat_map(|control| control.denied_tables).collect();
                    let is_off = self.is_off(alias, &keyspace, &shard);
                    let server = self.servers.get_mut(alias).expect("a primary");
                    if is_off && server.is_off {
                        // It waits for prepared transactions, of which a primary that is off has no count: v22 to v24,
                        // `go/vt/vttablet/tabletserver/tx_prep_pool.go:IsEmpty`.
                        return Answer::Failed { kind: FailureKind::TimedOut, message: format!("{alias} did not answer in 10s") };
                    }
                    server.denied = denied;
                    server.is_off = is_off;
                }
                done()
            }
            rpc::PRIMARY_POSITION => {
                let position = self.servers[alias].position.clone();
                Answer::Called(PrimaryPositionResponse { position }.encode_to_vec())
            }
            rpc::VREPLICATION_WAIT_FOR_POS => {
                let wanted = VReplicationWaitForPosRequest::decode(request).expect("a request");
                self.log.push(format!("{alias} waits with {} for {}", wanted.id, wanted.position));
                let id = wanted.id.to_string();
                let streams = &mut self.servers.get_mut(alias).expect("a primary").streams;
                let mut row = streams.iter_mut().find(|row| row["id"] == id);
                match row.as_ref().map(|row| row["state"].as_str()) {
                    Some("Running") => {
                        // One that is to stop stops there, and says so: `go/vt/vttablet/tabletmanager/vreplication/vplayer.go`.
                        if let Some(row) = row.as_mut().filter(|row| !row["stop_pos"].is_empty()) {
                            let at = row["stop_pos"].clone();
                            row.insert("message", format!("Stopped at position {at}"));
                            row.insert("pos", at);
                            row.insert("state", "Stopped".into());
                        }
                        done()
                    }
                    _ => Answer::Failed { kind: FailureKind::Status(2), message: "replication has stopped at x".into() },
                }
            }
            rpc::EXECUTE_FETCH_AS_DBA => {
                let wanted = ExecuteFetchAsDbaRequest::decode(request).expect("a request");
                let query = String::from_utf8(wanted.query).expect("text");
                let is_named = wanted.db_name.starts_with("vt_") || query.contains("_vt.");
                assert!(is_named, "tables are named without their database");
                let server = self.servers.get_mut(alias).expect("a primary");
                if query == "select @@global.gtid_purged" {
                    // It has all of its binary logs.
                    let result = Some(result(&["@@global.gtid_purged"], vec![vec![String::new()]]));
                    return Answer::Called(ExecuteFetchAsDbaResponse { result }.encode_to_vec());
                }
                if let Some(done) = sequences::execute(server, &query) {
                    return match done {
                        Ok(result) => Answer::Called(ExecuteFetchAsDbaResponse { result: Some(result) }.encode_to_vec()),
                        Err(message) => Answer::Failed { kind: FailureKind::Status(2), message },
                    };
                }
                match tables::execute(&mut server.tables, &query) {
                    Ok(rows) => {
                        let result = rows.map(|(columns, rows)| result(&columns, rows));
                        Answer::Called(ExecuteFetchAsDbaResponse { result }.encode_to_vec())
                    }
                    Err(message) => Answer::Failed { kind: FailureKind::Status(2), message },
                }
            }
            rpc::DELETE_TABLE_DATA | rpc::READ_VREPLICATION_WORKFLOW | rpc::VDIFF => done(),
            rpc::RESET_SEQUENCES => {
                let wanted = ResetSequencesRequest::decode(request).expect("a request");
                let server = self.servers.get_mut(alias).expect("a primary");
                for table in &wanted.tables {
                    assert!(server.sequences.contains_key(table), "{table} is no table of {alias}");
                    server.cached.remove(table);
                }
                done()
            }
            rpc::DELETE_VREPLICATION_WORKFLOW => {
                let wanted = DeleteVReplicationWorkflowRequest::decode(request).expect("a request");
                self.servers.get_mut(alias).expect("a primary").streams.retain(|row| row["workflow"] != wanted.workflow);
                done()
            }
            rpc::VALIDATE_VREPLICATION_PERMISSIONS => {
                let said = ValidateVReplicationPermissionsResponse { user: "vt".into(), ok: true, error: String::new() };
                Answer::Called(said.encode_to_vec())
            }
            other => panic!("nobody asks for {other}"),
        }
    }
}

impl Server {
    fn execute(&mut self, query: &str) -> QueryResult {
        if let Some(rest) = query.strip_prefix("insert into _vt.resharding_journal (id, db_name, val) values ") {
            let values = values(rest);
            self.journals.insert(values[0].parse().expect("an id"), values[2].clone());
            return changed(1, 0);
        }
        if let Some(id) = query.strip_prefix("select val from _vt.resharding_journal where id=") {
            let found = self.journals.get(&id.parse().expect("an id"));
            return result(&["val"], found.map(|val| vec![val.clone()]).into_iter().collect());
        }
        if let Some(rest) = query.strip_prefix("select * from _vt.resharding_journal where id in (") {
            let ids: Vec<&str> = rest.split_once(')').expect("a list").0.split(", ").collect();
            let found = self.journals.iter().filter(|(id, _)| ids.contains(&id.to_string().as_str()));
            return result(&["id", "val"], found.map(|(id, val)| vec![id.to_string(), val.clone()]).collect());
        }
        if query.contains("_vt.copy_state") {
            let rows = if query.starts_with("select distinct vrepl_id ") { self.copying.clone() } else { Vec::new() };
            let rows = rows.iter().map(|id| [&id.to_string(), &id.to_string(), "t", ""].map(str::to_owned).to_vec()).collect();
            return result(&["id", "vrepl_id", "table_name", "lastpk"], rows);
        }
        if let Some(rest) = query.strip_prefix("insert into _vt.vreplication (") {
            let (columns, rest) = rest.split_once(") values ").expect("values");
            let mut row: Stored = COLUMNS.iter().map(|&name| (name, String::new())).collect();
            for name in NUMBERS {
                row.insert(name, "0".into());
            }
            for (column, value) in columns.split(", ").zip(values(rest)) {
                let name = COLUMNS.iter().find(|name| **name == column).expect("a column");
                row.insert(name, value);
            }
            row.insert("id", self.next_id.to_string());
            self.next_id += 1;
            self.streams.push(row);
            return changed(1, self.next_id - 1);
        }
        let (head, condition) = query.split_once(" where ").expect("a condition");
        let condition = condition.split(" order by ").next().unwrap_or_default();
        let fits = |row: &Stored| holds(row, condition);
        if let Some(columns) = head.strip_prefix("select ").and_then(|rest| rest.strip_suffix(" from _vt.vreplication")) {
            let columns: Vec<&str> = if columns == "*" { COLUMNS.to_vec() } else { columns.split(", ").collect() };
            let rows = self.streams.iter().filter(|row| fits(row));
            let rows = rows.map(|row| columns.iter().map(|column| row[column].clone()).collect()).collect();
            return result(&columns, rows);
        }
        if head == "delete from _vt.vreplication" {
            let before = self.streams.len();
            self.streams.retain(|row| !fits(row));
            return changed(before - self.streams.len(), 0);
        }
        let sets = head.strip_prefix("update _vt.vreplication set ").unwrap_or_else(|| panic!("nobody asks {query}"));
        let mut count = 0;
        for row in self.streams.iter_mut().filter(|row| holds(row, condition)) {
            count += 1;
            for set in sets.split(", ") {
                let (column, value) = set.split_once('=').expect("an assignment");
                let name = COLUMNS.iter().find(|name| **name == column.trim()).expect("a column");
                row.insert(name, unquoted(value.trim()));
            }
        }
        changed(count, 0)
    }
}

/// Whether a row fulfils `a = 'b' and c in (1, 2) and d != 3`.
fn holds(row: &Stored, condition: &str) -> bool {
    // A source holds ` and ` in no test.
    condition.split(" and ").all(|term| {
        if let Some((column, list)) = term.split_once(" in (") {
            return list.trim_end_matches(')').split(", ").any(|value| row[column.trim()] == unquoted(value));
        }
        if let Some((column, value)) = term.split_once(" != ") {
            return row[column.trim()] != unquoted(value);
        }
        let (column, value) = term.split_once('=').unwrap_or_else(|| panic!("a term: {term}"));
        row[column.trim()] == unquoted(value.trim())
    })
}

fn unquoted(value: &str) -> String {
    if value == "null" {
        return String::new();
    }
    let inside = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    inside.map_or_else(|| value.to_owned(), |inside| inside.replace("\\'", "'").replace("\\\\", "\\"))
}

/// The values of `('a', 1, 'it\'s')`.
fn values(text: &str) -> Vec<String> {
    let inside = text.trim().trim_start_matches('(').trim_end_matches(')');
    let (mut all, mut value, mut is_quoted, mut is_escaped) = (Vec::new(), String::new(), false, false);
    for c in inside.chars() {
        match c {
            _ if is_escaped => {
                is_escaped = false;
                value.push(c);
            }
            '\\' if is_quoted => is_escaped = true,
            '\'' => is_quoted = !is_quoted,
            ',' if !is_quoted => all.push(std::mem::take(&mut value)),
            ' ' if !is_quoted => {}
            c => value.push(c),
        }
    }
    all.push(value);
    all
}

fn changed(rows: usize, id: i64) -> QueryResult {
    QueryResult { rows_affected: rows as u64, insert_id: id.cast_unsigned(), ..QueryResult::default() }
}

fn result(columns: &[&str], rows: Vec<Vec<String>>) -> QueryResult {
    let of_type = |name: &str| if NUMBERS.contains(&name) || name == "vrepl_id" { 265 } else { 10_262 };
    let field = |name: &&str| Field { name: name.as_bytes().to_vec(), r#type: of_type(name), ..Field::default() };
    let row = |values: Vec<String>| Row {
        lengths: values.iter().map(|value| i64::try_from(value.len()).expect("short")).collect(),
        values: values.concat().into_bytes(),
    };
    QueryResult {
        fields: columns.iter().map(field).collect(),
        rows: rows.into_iter().map(row).collect(),
        ..QueryResult::default()
    }
}
