//! A read that is like one before asks its tablets at once, and never says what a read from the start would not say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use prost::Message;
use tokio::{sync::watch, time::Instant};
use tonic::Request;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, LastRecords, drive, drive_assuming},
    embedded::{Cluster, demo},
    observe::{Counts, Nobody, Observer},
    server::{Server, ServerOptions},
    tablet::{TabletOptions, Tablets},
    topo::{Answering, CellRecord, MemoryTopology, Topology},
};
use vtflow_planner::{
    Answer, Ask, AskId, Call, CallOptions, Failure, FailureKind, Flow, FlowHandle, PageAddress, Reply, Timestamp, What,
    proto::{
        topodata::{Shard, Tablet, TabletAlias},
        vtctldata::GetWorkflowsRequest,
    },
    rpc,
};

use crate::support::serving::{channel, unary, workflows_of};

const NOW: Timestamp = Timestamp { seconds: 1_790_000_000, nanos: 0 };

/// A topology that changes, or keeps its answers back, when it is told to.
struct Stage {
    records: Mutex<Vec<CellRecord>>,
    is_open: watch::Sender<bool>,
    /// Answers to reads of directories, while it does not work.
    failing: Mutex<Option<Answer>>,
    reads: AtomicUsize,
    ranges: AtomicUsize,
}

impl Stage {
    fn new(records: Vec<CellRecord>) -> Arc<Self> {
        Arc::new(Self {
            records: Mutex::new(records),
            is_open: watch::channel(true).0,
            failing: Mutex::default(),
            reads: AtomicUsize::new(0),
            ranges: AtomicUsize::new(0),
        })
    }

    async fn memory(&self) -> MemoryTopology {
        self.is_open.subscribe().wait_for(|is_open| *is_open).await.unwrap();
        MemoryTopology::new(self.records.lock().unwrap().clone())
    }

    /// Changes the one record of this path.
    fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut records = self.records.lock().unwrap();
        change(&mut records.iter_mut().find(|record| record.path == path).expect("a record").value);
    }

    fn counts(&self) -> (usize, usize) {
        (self.reads.swap(0, Ordering::SeqCst), self.ranges.swap(0, Ordering::SeqCst))
    }
}

impl Topology for Stage {
    fn records<'a>(&'a self, cell: &'a str, paths: &'a [String], deadline: Instant) -> Answering<'a, Vec<Answer>> {
        self.reads.fetch_add(paths.len(), Ordering::SeqCst);
        Box::pin(async move { self.memory().await.records(cell, paths, deadline).await })
    }

    fn range<'a>(&'a self, cell: &'a str, prefix: &'a str, deadline: Instant) -> Answering<'a, Answer> {
        self.ranges.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let failing = self.failing.lock().unwrap().clone();
            let memory = self.memory().await;
            if let Some(answer) = failing { answer } else { memory.range(cell, prefix, deadline).await }
        })
    }
}

/// The built-in cluster on a stage.
struct Theatre {
    stage: Arc<Stage>,
    io: ClusterIo,
    last: LastRecords,
    _cluster: Cluster,
}

impl Theatre {
    async fn open() -> Self {
        let cluster = Cluster::start(demo(NOW), BTreeMap::new(), Duration::ZERO).await.unwrap();
        let stage = Stage::new(cluster.topo());
        let tablets = Arc::new(Tablets::new(TabletOptions::default()).unwrap());
        let io = ClusterIo { topology: Arc::clone(&stage) as _, tablets, deadlines: Deadlines::default() };
        Self { stage, io, last: LastRecords::default(), _cluster: cluster }
    }

    async fn assuming(&self, observer: &dyn Observer) -> Reply {
        drive_assuming(|| Flow::start(&call(), NOW), &self.io, None, observer, &self.last).await
    }

    async fn begun_anew(&self) -> Reply {
        drive(Flow::start(&call(), NOW), &self.io, None, &Nobody).await
    }
}

fn call() -> Call {
    let request = GetWorkflowsRequest { keyspace: "customer".into(), ..GetWorkflowsRequest::default() };
    Call { path: rpc::GET_WORKFLOWS.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn shard(records: &[CellRecord]) -> (String, Shard) {
    let is_shard =
        |record: &&CellRecord| record.path.starts_with("keyspaces/customer/shards/") && record.path.ends_with("/Shard");
    let record = records.iter().find(is_shard).expect("a shard");
    (record.path.clone(), Shard::decode(&record.value[..]).unwrap())
}

type Change<'a> = Box<dyn Fn(&mut Vec<u8>) + 'a>;

/// Tells how many tablet calls have been answered.
#[derive(Clone)]
struct TabletAnswers(watch::Sender<usize>);

impl Observer for TabletAnswers {
    fn answered(&self, ask: &Ask, _: &Answer, _: Duration) {
        if matches!(ask.what, What::TabletCall { .. }) {
            self.0.send_modify(|count| *count += 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tablets_have_answered_before_the_topology_has() {
    let theatre = Arc::new(Theatre::open().await);
    let counts = Counts::default();
    let first = theatre.assuming(&counts).await;
    assert_eq!(first, theatre.begun_anew().await);
    let calls = usize::try_from(counts.sums().tablet_calls).unwrap();
    let (reads, ranges) = theatre.stage.counts();
    assert!(calls > 1 && first.failures.is_empty(), "{:?}", first.failures);

    theatre.stage.is_open.send_replace(false);
    let answers = TabletAnswers(watch::channel(0).0);
    let mut answered = answers.0.subscribe();
    let again = tokio::spawn({
        let (theatre, answers) = (Arc::clone(&theatre), answers.clone());
        async move { theatre.assuming(&answers).await }
    });
    tokio::time::timeout(Duration::from_secs(20), answered.wait_for(|count| *count == calls)).await.expect("at once").unwrap();
    assert!(!again.is_finished(), "nothing is told that was only assumed");
    theatre.stage.is_open.send_replace(true);
    assert_eq!(again.await.unwrap(), first);
    // Two reads from the start had twice as many.
    assert_eq!(theatre.stage.counts(), (reads / 2, ranges / 2), "everything was read again, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_caller_of_a_server_waits_no_longer_when_the_topology_was_read_before() {
    let theatre = Theatre::open().await;
    let answers = TabletAnswers(watch::channel(0).0);
    let mut answered = answers.0.subscribe();
    let options = ServerOptions {
        bind_address: "127.0.0.1".to_owned(),
        grpc_port: 0,
        http_port: None,
        has_log: false,
        ..ServerOptions::default()
    };
    let server = Server::start(options, theatre.io.clone(), Arc::new(|| NOW), Some(Arc::new(answers.clone()))).await.unwrap();
    // The same records as for the streams: what `--warm` reads.
    let names = GetWorkflowsRequest { keyspace: "customer".into(), name_only: true, ..GetWorkflowsRequest::default() };
    let names = Call { request: names.encode_to_vec(), ..call() };
    let warmed = drive_assuming(|| Flow::start(&names, NOW), &theatre.io, None, &Nobody, &server.last_records()).await;
    assert!(warmed.failures.is_empty());

    let counts = Counts::default();
    let want = theatre.assuming(&counts).await;
    let calls = usize::try_from(counts.sums().tablet_calls).unwrap();
    theatre.stage.is_open.send_replace(false);
    let channel = channel(server.grpc_address()).await;
    let asked = tokio::spawn(async move { unary(channel, rpc::GET_WORKFLOWS, Request::new(workflows_of("customer"))).await });
    tokio::time::timeout(Duration::from_secs(20), answered.wait_for(|count| *count == calls)).await.expect("at once").unwrap();
    assert!(!asked.is_finished(), "nothing is told that was only assumed");
    theatre.stage.is_open.send_replace(true);
    assert_eq!(asked.await.unwrap().unwrap().into_inner(), want.result.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_has_changed_the_reply_is_that_of_a_read_begun_anew() {
    let theatre = Theatre::open().await;
    let records = theatre.stage.records.lock().unwrap().clone();
    let (path, record) = shard(&records);
    let primary = record.primary_alias.clone().expect("a primary");
    let tablet = format!("tablets/{}-{:010}/Tablet", primary.cell, primary.uid);
    let other = records.iter().filter_map(|record| Tablet::decode(&record.value[..]).ok()?.alias).find(|alias| *alias != primary);
    let with = |primary_alias: Option<TabletAlias>| Shard { primary_alias, ..record.clone() }.encode_to_vec();
    let elsewhere = |value: &mut Vec<u8>| {
        let mut tablet = Tablet::decode(&value[..]).unwrap();
        tablet.port_map.insert("grpc".to_owned(), 1);
        *value = tablet.encode_to_vec();
    };
    let changes: [(&str, &str, Change<'_>); 4] = [
        ("another primary", &path, Box::new(|value| *value = with(other.clone()))),
        ("no primary", &path, Box::new(|value| *value = with(None))),
        ("another address", &tablet, Box::new(elsewhere)),
        ("nothing that can be read", &tablet, Box::new(|value| *value = b"\xff".to_vec())),
    ];
    let before = theatre.assuming(&Nobody).await;
    for (name, path, change) in changes {
        theatre.stage.change(path, change);
        let got = theatre.assuming(&Nobody).await;
        assert_eq!(got, theatre.begun_anew().await, "{name}");
        assert_ne!(got, before, "{name}");
        *theatre.stage.records.lock().unwrap() = records.clone();
        assert_eq!(theatre.assuming(&Nobody).await, before, "back from {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_that_does_not_answer_is_waited_for_once() {
    let theatre = Theatre::open().await;
    theatre.assuming(&Nobody).await;
    let message = "etcd does not answer".to_owned();
    *theatre.stage.failing.lock().unwrap() = Some(Answer::Failed { kind: FailureKind::TimedOut, message });
    theatre.stage.counts();
    let got = theatre.assuming(&Nobody).await;
    assert_eq!(theatre.stage.counts().1, 1, "one read of the shards");
    assert_eq!(got, theatre.begun_anew().await);
    assert!(got.result.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_assumed_once() {
    let theatre = Theatre::open().await;
    theatre.assuming(&Nobody).await;
    theatre.stage.records.lock().unwrap().retain(|record| !record.path.starts_with("keyspaces/customer/"));
    for (name, is_asked) in [("the first read after it", true), ("the second", false)] {
        let counts = Counts::default();
        let got = theatre.assuming(&counts).await;
        assert_eq!(got, theatre.begun_anew().await, "{name}");
        assert_eq!(counts.sums().tablet_calls > 0, is_asked, "{name}");
    }
}

/// Reads a record, then another one, which has been read before, because of what a tablet says.
struct TwoReads {
    asks: Vec<Ask>,
    next: u32,
    said: Arc<Mutex<Vec<Answer>>>,
    tablet: PageAddress,
}

impl TwoReads {
    fn ask(&mut self, what: What) {
        self.next += 1;
        self.asks.push(Ask { id: AskId(self.next), round: self.next, what, gate: None });
    }
}

impl FlowHandle for TwoReads {
    fn asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asks)
    }

    fn answer(&mut self, id: AskId, answer: Answer) -> bool {
        self.said.lock().unwrap().push(answer);
        match id.0 {
            1 => {
                let tablet = self.tablet.clone();
                self.ask(What::TabletPage { tablet, path: "/debug/vars".into() });
            }
            2 => self.ask(What::TopoGet { cell: "global".into(), path: "keyspaces/customer/Keyspace".into() }),
            _ => {}
        }
        true
    }

    fn failures(&mut self) -> Vec<Failure> {
        Vec::new()
    }

    fn end(&mut self) -> Option<Reply> {
        Some(Reply::new(Ok(Vec::new()), Vec::new()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_because_of_a_tablet_is_never_assumed() {
    let theatre = Theatre::open().await;
    let (path, _) = shard(&theatre.stage.records.lock().unwrap());
    let said = Arc::new(Mutex::new(Vec::new()));
    // Nobody is there: a failure is an answer, too.
    let tablet = PageAddress { alias: "z-1".into(), cell: "z".into(), host: "127.0.0.1".into(), port: 1 };
    let starts = AtomicUsize::new(0);
    let start = || {
        starts.fetch_add(1, Ordering::SeqCst);
        let mut flow = TwoReads { asks: Vec::new(), next: 0, said: Arc::clone(&said), tablet: tablet.clone() };
        flow.ask(What::TopoGet { cell: "global".into(), path: path.clone() });
        flow
    };
    drive_assuming(start, &theatre.io, None, &Nobody, &theatre.last).await;
    said.lock().unwrap().clear();
    theatre.stage.change("keyspaces/customer/Keyspace", |value| *value = b"changed".to_vec());
    drive_assuming(start, &theatre.io, None, &Nobody, &theatre.last).await;
    let said = said.lock().unwrap();
    assert!(matches!(&said[..], [_, _, Answer::Found { value, .. }] if value == b"changed"), "{said:?}");
    assert_eq!(starts.load(Ordering::SeqCst), 2, "it is no reason to begin anew");
}
