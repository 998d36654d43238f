//! A cluster made of plain data: what the topology holds and what each tablet answers to which read.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

mod fused;
pub(crate) mod live;
mod order;
pub(crate) mod recorded;
mod sequences;
mod tables;

pub(crate) use order::{place, same_in_every_order, same_in_some_orders, scattered};

use prost::Message;
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, FailureKind, Flow, Record, Reply, Timestamp, What,
    proto::{
        query::{Field, QueryResult, Row},
        tabletmanagerdata::VReplicationExecResponse,
        topodata::{CellInfo, Shard, Tablet, TabletAlias},
        vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse, Workflow},
    },
    rpc,
};

pub(crate) const NOW: Timestamp = Timestamp { seconds: 1_000_000, nanos: 500_000_000 };

/// What a snapshot reads of each tablet, in its order: tables of the sidecar, and the server's description of its own.
pub(crate) const SNAPSHOT_TABLES: [&str; 10] = [
    "vreplication",
    "copy_state",
    "vreplication_log",
    "post_copy_action",
    "resharding_journal",
    "schema_migrations",
    "vdiff",
    "vdiff_table",
    "vdiff_log",
    "information_schema.tables",
];

/// One cluster.
#[derive(Clone, Default)]
pub(crate) struct Cluster {
    /// By cell and path.
    pub(crate) topo: BTreeMap<(String, String), Vec<u8>>,
    /// By tablet alias and subject; the last page is given for all that follow.
    pub(crate) tablets: BTreeMap<(String, String), Vec<Answer>>,
    /// Global records as they are when read alone, later: a primary moves in between.
    pub(crate) later: BTreeMap<String, Vec<u8>>,
    /// Asks answered with this instead.
    pub(crate) broken: BTreeMap<usize, Answer>,
    /// Topology asks answered with this instead, by cell and path.
    pub(crate) broken_topo: BTreeMap<(String, String), Answer>,
    /// Asks answered with this instead, by [`place`] and how often the same was asked before.
    pub(crate) faults: BTreeMap<(String, usize), Answer>,
}

pub(crate) fn alias(uid: u32) -> TabletAlias {
    TabletAlias { cell: "zone1".into(), uid }
}

pub(crate) fn alias_text(uid: u32) -> String {
    format!("zone1-{uid:010}")
}

impl Cluster {
    /// A keyspace `ks` whose shards have primaries 100, 200, … without rows.
    pub(crate) fn new(shards: &[&str]) -> Self {
        let mut cluster = Self::default();
        cluster.global("keyspaces/ks/Keyspace", vec![]);
        for (shard, uid) in shards.iter().zip((100..).step_by(100)) {
            let record = Shard { primary_alias: Some(alias(uid)), is_primary_serving: true, ..Shard::default() };
            cluster.global(&format!("keyspaces/ks/shards/{shard}/Shard"), record.encode_to_vec());
            cluster.tablet(uid, shard);
            for subject in ["streams", "copy state", "logs", "names"] {
                cluster.answer(uid, subject, rows(&[], &[]));
            }
        }
        cluster
    }

    pub(crate) fn global(&mut self, path: &str, value: Vec<u8>) {
        self.topo.insert(("global".into(), path.into()), value);
    }

    pub(crate) fn tablet(&mut self, uid: u32, shard: &str) {
        let record = Tablet {
            alias: Some(alias(uid)),
            hostname: "127.0.0.1".into(),
            port_map: BTreeMap::from([("grpc".into(), 16_000 + uid.cast_signed())]),
            keyspace: "ks".into(),
            shard: shard.into(),
            r#type: 1,
            ..Tablet::default()
        };
        self.topo.insert(("zone1".into(), format!("tablets/{}/Tablet", alias_text(uid))), record.encode_to_vec());
    }

    /// What a tablet answers to a read; several calls make several pages.
    pub(crate) fn answer(&mut self, uid: u32, subject: &str, answer: Answer) -> &mut Self {
        self.tablets.insert((alias_text(uid), subject.into()), vec![answer]);
        self
    }

    pub(crate) fn pages(&mut self, uid: u32, subject: &str, answers: Vec<Answer>) -> &mut Self {
        self.tablets.insert((alias_text(uid), subject.into()), answers);
        self
    }

    /// A cell that exists, with its own record.
    pub(crate) fn cell(&mut self, cell: &str) -> &mut Self {
        let record = CellInfo { server_address: "etcd:2379".into(), root: format!("/vitess/{cell}") };
        self.global(&format!("cells/{cell}/CellInfo"), record.encode_to_vec());
        self
    }

    pub(crate) fn put(&mut self, cell: &str, path: &str, record: &impl Message) -> &mut Self {
        self.topo.insert((cell.into(), path.into()), record.encode_to_vec());
        self
    }

    /// The topology does not answer this ask.
    pub(crate) fn break_topo(&mut self, cell: &str, path: &str, message: &str) -> &mut Self {
        let answer = Answer::Failed { kind: FailureKind::TimedOut, message: message.into() };
        self.broken_topo.insert((cell.into(), path.into()), answer);
        self
    }

    /// What the runner answers for a cell that has no record; only clusters with cell records have such cells.
    fn no_such_cell(&self, cell: &str) -> Option<Answer> {
        let has_cells = self.topo.keys().any(|(_, path)| path.starts_with("cells/"));
        let path = format!("cells/{cell}/CellInfo");
        let is_known = cell == "global" || !has_cells || self.topo.contains_key(&("global".into(), path.clone()));
        let message = format!("node doesn't exist: /vitess/global/{path}");
        (!is_known).then_some(Answer::Failed { kind: FailureKind::Status(5), message })
    }

    pub(crate) fn perform(&self, ask: &Ask, page: usize) -> Answer {
        if let What::TopoGet { cell, path } | What::TopoRange { cell, prefix: path } | What::TopoList { cell, prefix: path } =
            &ask.what
            && let Some(answer) = self.broken_topo.get(&(cell.clone(), path.clone())).cloned().or_else(|| self.no_such_cell(cell))
        {
            return answer;
        }
        match &ask.what {
            What::TopoGet { cell, path } => match self.later.get(path).or_else(|| self.topo.get(&(cell.clone(), path.clone()))) {
                Some(value) => Answer::Found { value: value.clone(), version: 1 },
                None => Answer::Missing { node: format!("/vitess/{cell}/{path}") },
            },
            What::TopoRange { cell, prefix } | What::TopoList { cell, prefix } => {
                let has_values = matches!(ask.what, What::TopoRange { .. });
                let records: Vec<Record> = self
                    .topo
                    .iter()
                    .filter(|((c, path), _)| c == cell && path.starts_with(prefix))
                    .map(|((_, path), value)| {
                        let value = if has_values { value.clone() } else { Vec::new() };
                        Record { path: path.clone(), value, version: 1 }
                    })
                    .collect();
                if records.is_empty() {
                    Answer::Missing { node: format!("/vitess/{cell}/{prefix}") }
                } else {
                    Answer::Range(records)
                }
            }
            What::TopoLock { path, .. } => match self.broken_topo.get(&("lock".into(), path.clone())) {
                Some(answer) => answer.clone(),
                None => Answer::Locked,
            },
            What::TopoUnlock { .. } => Answer::Unlocked,
            What::TopoDelete { .. } => Answer::Deleted,
            What::TopoPut { version, .. } => Answer::Stored { version: version + 1 },
            What::TabletCall { tablet, about, .. } => match fused::parts(&about.subject) {
                Some(parts) => fused::answer(&parts.iter().map(|part| self.page(&tablet.alias, part, page)).collect::<Vec<_>>()),
                None if about.subject == PURGED && !self.tablets.contains_key(&(tablet.alias.clone(), PURGED.to_owned())) => {
                    purged("")
                }
                None => self.page(&tablet.alias, &about.subject, page).clone(),
            },
            What::TabletPage { tablet, path } => self.tablets[&(tablet.alias.clone(), path.to_string())][0].clone(),
        }
    }

    /// What a tablet answers to a read the nth time.
    fn page(&self, alias: &str, subject: &str, page: usize) -> &Answer {
        let pages = &self.tablets[&(alias.to_owned(), subject.to_owned())];
        &pages[page.min(pages.len() - 1)]
    }

    /// Runs a request to its end, taking one of the asks under way at a time, chosen by `pick` (given how many there are).
    pub(crate) fn run_in_order(&self, call: &Call, mut pick: impl FnMut(usize) -> usize) -> (Reply, Vec<Ask>) {
        self.run_choosing(call, |waiting| pick(waiting.len()))
    }

    /// The same, chosen by what the asks under way are.
    pub(crate) fn run_choosing(&self, call: &Call, mut pick: impl FnMut(&[Ask]) -> usize) -> (Reply, Vec<Ask>) {
        let mut flow = Flow::start(call, NOW);
        let mut waiting = flow.asks();
        let mut all = waiting.clone();
        let mut sent: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut asked: BTreeMap<String, usize> = BTreeMap::new();
        while !waiting.is_empty() {
            let ask = waiting.remove(pick(&waiting));
            let times = asked.entry(place(&ask)).or_default();
            let fault = self.faults.get(&(place(&ask), *times)).cloned();
            *times += 1;
            let answer = fault.or_else(|| self.broken_key(&ask).and_then(|i| self.broken.get(&i).cloned()));
            let answer = match &ask.what {
                What::TabletCall { tablet, about, .. } => {
                    let parts = fused::parts(&about.subject).unwrap_or(vec![&about.subject]);
                    let counts = |subject: &&str| (tablet.alias.clone(), (*subject).to_owned());
                    let page = parts.iter().map(|part| sent.get(&counts(part)).copied().unwrap_or_default()).max();
                    let answer = answer.or_else(|| self.broken_part(&tablet.alias, &parts));
                    let answer = answer.unwrap_or_else(|| self.perform(&ask, page.unwrap_or_default()));
                    // What does not take the statement that has all in one answers the others from their first page on.
                    if parts.len() == 1 || !fused::is_asked_again(&answer) {
                        for part in parts.iter().filter(|part| !fused::is_read_anew(part, &answer)) {
                            *sent.entry(counts(part)).or_default() += 1;
                        }
                    }
                    answer
                }
                _ => answer.unwrap_or_else(|| self.perform(&ask, 0)),
            };
            assert!(flow.answer(ask.id, answer.clone()), "an outstanding ask is taken");
            assert!(!flow.answer(ask.id, answer), "and only once");
            let released = flow.asks();
            all.extend(released.clone());
            waiting.extend(released);
        }
        (flow.into_reply().expect("nothing is outstanding"), all)
    }

    /// A number for each ask that does not depend on the order of answers: topology asks by path, calls by tablet and subject.
    fn broken_key(&self, ask: &Ask) -> Option<usize> {
        if self.broken.is_empty() {
            return None;
        }
        self.ask_names().iter().position(|name| *name == ask_name(ask))
    }

    /// The answer to a statement that has several in one, if one of them is to fail: it is not taken, so that the other is asked for.
    fn broken_part(&self, alias: &str, parts: &[&str]) -> Option<Answer> {
        let names = self.ask_names();
        let is_broken = |part: &&str| {
            names.iter().position(|name| *name == format!("{alias} {part}")).is_some_and(|i| self.broken.contains_key(&i))
        };
        (parts.len() > 1 && parts.iter().any(is_broken)).then(fused::not_taken)
    }

    /// The names of all asks of a whole request.
    pub(crate) fn ask_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.topo.keys().filter(|(_, path)| path.starts_with("tablets/")).map(|(_, path)| path.clone()).collect();
        names.insert(0, "keyspaces/ks/shards/".into());
        names.extend(self.tablets.keys().map(|(alias, subject)| format!("{alias} {subject}")));
        names
    }

    pub(crate) fn run(&self, call: &Call) -> (Reply, Vec<Ask>) {
        self.run_in_order(call, |_| 0)
    }

    /// The reply at another moment.
    pub(crate) fn run_at(&self, call: &Call, now: Timestamp) -> Reply {
        let mut flow = Flow::start(call, now);
        let mut waiting = flow.asks();
        while let Some(ask) = waiting.pop() {
            assert!(flow.answer(ask.id, self.perform(&ask, 0)));
            waiting.extend(flow.asks());
        }
        flow.into_reply().expect("nothing is outstanding")
    }

    /// Runs GetWorkflows and expects a reply.
    pub(crate) fn workflows(&self, request: &GetWorkflowsRequest) -> (Vec<Workflow>, Reply) {
        let (reply, _) = self.run(&call(request));
        let bytes = reply.result.as_ref().expect("a reply");
        (GetWorkflowsResponse::decode(bytes.as_slice()).expect("a GetWorkflowsResponse").workflows, reply)
    }

    /// Runs GetWorkflows and expects an error text.
    pub(crate) fn error(&self, request: &GetWorkflowsRequest) -> String {
        self.run(&call(request)).0.result.expect_err("an error").message
    }
}

/// What is asked of a primary whose binary logs streams read.
pub(crate) const PURGED: &str = "purged binary logs";

/// That it has those of these transactions no more.
pub(crate) fn purged(transactions: &str) -> Answer {
    rows(&["@@global.gtid_purged"], &[vec![Some(transactions.into())]])
}

pub(crate) fn ask_name(ask: &Ask) -> String {
    match &ask.what {
        What::TopoGet { path, .. } | What::TopoRange { prefix: path, .. } | What::TopoList { prefix: path, .. } => path.clone(),
        What::TopoPut { cell, path, .. } => format!("put {cell} {path}"),
        What::TopoDelete { cell, path, .. } => format!("delete {cell} {path}"),
        What::TopoLock { path, .. } => format!("lock {path}"),
        What::TopoUnlock { .. } => "unlock".into(),
        What::TabletCall { tablet, about, .. } => format!("{} {}", tablet.alias, about.subject),
        What::TabletPage { tablet, path } => format!("{} {path}", tablet.alias),
    }
}

pub(crate) fn call(request: &GetWorkflowsRequest) -> Call {
    Call { path: rpc::GET_WORKFLOWS.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

pub(crate) fn all() -> GetWorkflowsRequest {
    GetWorkflowsRequest { keyspace: "ks".into(), include_logs: true, ..GetWorkflowsRequest::default() }
}

/// A result: columns with `#` in front are integers. Values: `None` is NULL. Without columns: those that any read needs.
pub(crate) fn rows(columns: &[&str], values: &[Vec<Option<String>>]) -> Answer {
    let columns = if columns.is_empty() { &["#id", "workflow", "#vrepl_id", "table_name"] } else { columns };
    let fields = columns.iter().map(|name| match name.strip_prefix('#') {
        Some(name) => Field { name: name.as_bytes().to_vec(), r#type: 265, ..Field::default() },
        None => Field { name: name.as_bytes().to_vec(), r#type: 10_262, ..Field::default() },
    });
    let row = |values: &Vec<Option<String>>| Row {
        lengths: values.iter().map(|value| value.as_ref().map_or(-1, |text| i64::try_from(text.len()).expect("short"))).collect(),
        values: values.iter().flatten().flat_map(|text| text.bytes()).collect(),
    };
    let result = QueryResult { fields: fields.collect(), rows: values.iter().map(row).collect(), ..QueryResult::default() };
    Answer::Called(VReplicationExecResponse { result: Some(result) }.encode_to_vec())
}

/// One stream's row.
#[derive(Clone)]
pub(crate) struct StreamOf {
    pub(crate) id: i64,
    pub(crate) workflow: &'static str,
    pub(crate) source: String,
    pub(crate) state: &'static str,
    pub(crate) message: &'static str,
    pub(crate) time_updated: i64,
    pub(crate) pos: &'static str,
    pub(crate) options: &'static str,
    pub(crate) workflow_type: &'static str,
}

pub(crate) fn stream(id: i64, workflow: &'static str) -> StreamOf {
    StreamOf {
        id,
        workflow,
        source: r#"keyspace:"src" shard:"0" filter:{rules:{match:"t1" filter:"select * from t1"}}"#.into(),
        state: "Running",
        message: "",
        time_updated: NOW.seconds - 1,
        pos: "MySQL56/14b68925-696a-11ea-aee7-fec597a91f5e:1-3",
        options: "{}",
        workflow_type: "1",
    }
}

pub(crate) fn streams(list: &[StreamOf]) -> Answer {
    let columns = [
        "#id",
        "workflow",
        "source",
        "pos",
        "stop_pos",
        "#max_tps",
        "#max_replication_lag",
        "cell",
        "tablet_types",
        "#time_updated",
        "#transaction_timestamp",
        "state",
        "message",
        "db_name",
        "#rows_copied",
        "tags",
        "#time_heartbeat",
        "#workflow_type",
        "#time_throttled",
        "component_throttled",
        "#workflow_sub_type",
        "#defer_secondary_keys",
        "options",
    ];
    let values: Vec<Vec<Option<String>>> = list
        .iter()
        .map(|s| {
            [
                s.id.to_string(),
                s.workflow.into(),
                s.source.clone(),
                s.pos.into(),
                String::new(),
                "0".into(),
                "0".into(),
                "zone1".into(),
                "in_order:REPLICA,PRIMARY".into(),
                s.time_updated.to_string(),
                s.time_updated.to_string(),
                s.state.into(),
                s.message.into(),
                "vt_ks".into(),
                "5".into(),
                String::new(),
                s.time_updated.to_string(),
                s.workflow_type.into(),
                "0".into(),
                String::new(),
                "0".into(),
                "1".into(),
                s.options.into(),
            ]
            .map(Some)
            .to_vec()
        })
        .collect();
    rows(&columns, &values)
}

pub(crate) fn copy_states(list: &[(i64, i64, &str)]) -> Answer {
    let values: Vec<_> = list
        .iter()
        .map(|(id, stream, table)| {
            [id.to_string(), stream.to_string(), (*table).to_string(), "pk".to_string()].map(Some).to_vec()
        })
        .collect();
    rows(&["#id", "#vrepl_id", "table_name", "lastpk"], &values)
}

/// Log rows: id, stream, `created_at`.
pub(crate) fn logs(list: &[(i64, i64, &str)]) -> Answer {
    let values: Vec<_> = list
        .iter()
        .map(|(id, stream, at)| {
            [
                id.to_string(),
                stream.to_string(),
                "Message".into(),
                "Running".into(),
                (*at).to_string(),
                "2006-01-02 15:04:05".into(),
                format!("entry {id}"),
                "1".into(),
            ]
            .map(Some)
            .to_vec()
        })
        .collect();
    rows(&["#id", "#vrepl_id", "type", "state", "created_at", "updated_at", "message", "#count"], &values)
}

/// The columns of a `VDiff` that writes look at.
pub(crate) const VDIFF_COLUMNS: [&str; 6] = ["vdiff_uuid", "keyspace", "workflow", "state", "started_at", "completed_at"];

/// One of `ks.wf`.
pub(crate) fn vdiff_row(uuid: &str, state: &str) -> Vec<Option<String>> {
    let ended = if state == "completed" { Some(THEN.to_owned()) } else { None };
    let started = if state == "pending" { None } else { Some(THEN.to_owned()) };
    vec![Some(uuid.into()), Some("ks".into()), Some("wf".into()), Some(state.into()), started, ended]
}

pub(crate) const THEN: &str = "2006-01-02 15:04:05";

pub(crate) fn refused(message: &str) -> Answer {
    Answer::Failed { kind: FailureKind::Status(2), message: message.into() }
}

pub(crate) fn silent(uid: u32) -> Answer {
    Answer::Failed { kind: FailureKind::TimedOut, message: format!("{} did not answer in 10s", alias_text(uid)) }
}
