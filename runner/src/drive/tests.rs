//! The loop with a scripted flow: what is asked together, what is released at once, and when it ends.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use vtflow_planner::{
    About, Answer, Ask, AskId, Call, CallOptions, Effect, Failure, FailureKind, Flow, FlowHandle, Lost, Record, Reply,
    TabletAddress, Timestamp, What,
};

use super::*;
use crate::{
    deadline::Deadlines,
    observe::{Counts, Nobody, Sums},
    tablet::{TabletOptions, Tablets},
    topo::{Answering, CellRecord, MemoryTopology, Topology},
};

/// A flow as a table: each answered ask releases those that are written under its name.
#[derive(Default)]
struct Script {
    releases: BTreeMap<String, Vec<What>>,
    released: Vec<Ask>,
    names: Vec<(String, u32)>,
    answers: Arc<Mutex<Vec<(String, Answer, Instant)>>>,
    unanswered: usize,
}

impl Script {
    fn new(start: Vec<What>, releases: Vec<(&str, Vec<What>)>) -> Self {
        let releases = releases.into_iter().map(|(name, whats)| (name.to_owned(), whats)).collect();
        let mut script = Self { releases, ..Self::default() };
        script.release(start, 1);
        script
    }

    fn release(&mut self, whats: Vec<What>, round: u32) {
        for what in whats {
            let id = AskId(u32::try_from(self.names.len()).unwrap());
            self.names.push((name(&what), round));
            self.unanswered += 1;
            self.released.push(Ask { id, round, what, gate: None });
        }
    }
}

impl FlowHandle for Script {
    fn asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.released)
    }

    fn answer(&mut self, id: AskId, answer: Answer) -> bool {
        let (name, round) = self.names[id.0 as usize].clone();
        self.unanswered -= 1;
        self.answers.lock().unwrap().push((name.clone(), answer, Instant::now()));
        let next = self.releases.remove(&name).unwrap_or_default();
        self.release(next, round + 1);
        true
    }

    fn failures(&mut self) -> Vec<Failure> {
        let answers = self.answers.lock().unwrap();
        let failed = answers.iter().filter_map(|(name, answer, _)| match answer {
            Answer::Failed { message, .. } => Some((name, message)),
            _ => None,
        });
        let failure = |(name, message): (&String, &String)| Failure {
            keyspace: name.clone(),
            shard: String::new(),
            tablet: String::new(),
            workflow: String::new(),
            lost: Lost::Shard,
            message: message.clone(),
        };
        failed.map(failure).collect()
    }

    fn end(&mut self) -> Option<Reply> {
        (self.unanswered == 0).then(|| Reply::new(Ok(b"reply".to_vec()), Vec::new()))
    }
}

fn name(what: &What) -> String {
    match what {
        What::TopoGet { cell, path } => format!("{cell}:{path}"),
        What::TopoRange { cell, prefix } | What::TopoList { cell, prefix } => format!("{cell}:{prefix}"),
        What::TopoPut { cell, path, .. } => format!("put:{cell}:{path}"),
        What::TopoDelete { cell, path, .. } => format!("delete:{cell}:{path}"),
        What::TopoLock { path, .. } => format!("lock:{path}"),
        What::TopoUnlock { .. } => "unlock".to_owned(),
        What::TabletCall { tablet, .. } => tablet.alias.clone(),
        What::TabletPage { tablet, .. } => tablet.alias.clone(),
    }
}

fn get(cell: &str, path: &str) -> What {
    What::TopoGet { cell: cell.to_owned(), path: path.to_owned() }
}

fn range(prefix: &str) -> What {
    What::TopoRange { cell: "global".to_owned(), prefix: prefix.to_owned() }
}

fn call(alias: &str, grpc_port: u16) -> What {
    What::TabletCall {
        tablet: TabletAddress { alias: alias.to_owned(), cell: "zone1".to_owned(), host: "127.0.0.1".to_owned(), grpc_port },
        path: "/tabletmanagerservice.TabletManager/VReplicationExec".into(),
        request: vec![1, 2, 3],
        effect: Effect::Read,
        limit_ms: 0,
        about: About {
            keyspace: String::new(),
            shard: String::new(),
            db_name: String::new(),
            subject: "streams".into(),
            statement: String::new(),
        },
    }
}

fn memory() -> MemoryTopology {
    MemoryTopology::new(["a", "b", "c", "dir/d"].map(|path| CellRecord {
        cell: "global".to_owned(),
        path: path.to_owned(),
        version: 3,
        value: path.as_bytes().to_vec(),
    }))
}

fn cluster(topology: impl Topology + 'static, tablet_wait: Duration) -> ClusterIo {
    ClusterIo {
        topology: Arc::new(topology),
        tablets: Arc::new(Tablets::new(TabletOptions::default()).unwrap()),
        deadlines: Deadlines { tablet: tablet_wait, ..Deadlines::default() },
    }
}

/// Counts how often it is asked for records, and for how many.
struct Counting {
    inner: MemoryTopology,
    batches: Arc<Mutex<Vec<(String, usize)>>>,
}

impl Topology for Counting {
    fn records<'a>(&'a self, cell: &'a str, paths: &'a [String], deadline: Instant) -> Answering<'a, Vec<Answer>> {
        self.batches.lock().unwrap().push((cell.to_owned(), paths.len()));
        self.inner.records(cell, paths, deadline)
    }

    fn range<'a>(&'a self, cell: &'a str, prefix: &'a str, deadline: Instant) -> Answering<'a, Answer> {
        self.inner.range(cell, prefix, deadline)
    }
}

#[tokio::test]
async fn every_ask_gets_its_own_answer_and_records_of_a_cell_are_read_together() {
    let batches = Arc::new(Mutex::new(Vec::new()));
    let topology = Counting { inner: memory(), batches: Arc::clone(&batches) };
    let script = Script::new(
        vec![get("global", "a"), get("zone9", "x"), get("global", "nope"), range("dir/"), get("global", "b")],
        vec![("global:dir/", vec![get("global", "c")])],
    );
    let answers = Arc::clone(&script.answers);
    let counts = Counts::default();
    let reply = drive(script, &cluster(topology, Duration::from_secs(1)), None, &counts).await;
    assert_eq!(reply.result, Ok(b"reply".to_vec()));
    let answers: BTreeMap<String, Answer> =
        answers.lock().unwrap().iter().map(|(name, answer, _)| (name.clone(), answer.clone())).collect();
    let found = |value: &str| Answer::Found { value: value.as_bytes().to_vec(), version: 3 };
    let record = Record { path: "dir/d".to_owned(), value: b"dir/d".to_vec(), version: 3 };
    let no_cell = Answer::Failed {
        kind: FailureKind::Status(5),
        message: "node doesn't exist: /vitess/global/cells/zone9/CellInfo".to_owned(),
    };
    let missing = Answer::Missing { node: "/vitess/global/nope".to_owned() };
    let want = [
        ("global:a", found("a")),
        ("global:b", found("b")),
        ("global:c", found("c")),
        ("global:dir/", Answer::Range(vec![record])),
        ("global:nope", missing),
        ("zone9:x", no_cell),
    ];
    assert_eq!(answers, want.map(|(name, answer)| (name.to_owned(), answer)).into());
    let mut batches = batches.lock().unwrap().clone();
    batches.sort();
    assert_eq!(batches, [("global".to_owned(), 1), ("global".to_owned(), 3), ("zone9".to_owned(), 1)]);
    let sums = Sums { topology_gets: 5, topology_ranges: 1, failures: 1, rounds: 2, answer_bytes: 8, ..Sums::default() };
    assert_eq!(counts.sums(), sums);
}

#[tokio::test]
async fn a_slow_ask_holds_nobody_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let script = Script::new(
        vec![call("slow", port), range("dir/")],
        vec![
            ("global:dir/", vec![get("global", "a")]),
            ("global:a", vec![call("refused", 1)]),
            ("refused", vec![get("global", "b")]),
        ],
    );
    let answers = Arc::clone(&script.answers);
    let started = Instant::now();
    let counts = Counts::default();
    let reply = drive(script, &cluster(memory(), Duration::from_millis(600)), None, &counts).await;
    assert!(reply.result.is_ok());
    let answers = answers.lock().unwrap();
    let order: Vec<&str> = answers.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(order, ["global:dir/", "global:a", "refused", "global:b", "slow"]);
    assert!(answers[3].2.duration_since(started) < Duration::from_millis(300), "round 4 waits for a round 1");
    assert!(matches!(answers[4].1, Answer::Failed { kind: FailureKind::TimedOut, .. }));
    let sums = counts.sums();
    assert_eq!((sums.rounds, sums.tablet_calls, sums.request_bytes, sums.failures), (4, 2, 6, 2));
}

/// The same call, which may take so long.
fn limited(what: What, limit_ms: u32) -> What {
    match what {
        What::TabletCall { tablet, path, request, effect, about, .. } => {
            What::TabletCall { tablet, path, request, effect, limit_ms, about }
        }
        other => other,
    }
}

/// On a clock that stands still while anything can happen: no tablet answers, so that each call ends with its time; all of them before a
/// ping that nobody answers ends the connection.
#[tokio::test(start_paused = true)]
async fn a_call_may_take_as_long_as_its_own_limit_says_be_it_shorter_or_longer_than_that_of_all() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let calls = [("short", 25), ("any", 0), ("long", 12_000)];
    let script = Script::new(calls.map(|(alias, limit_ms)| limited(call(alias, port), limit_ms)).to_vec(), vec![]);
    let answers = Arc::clone(&script.answers);
    let started = Instant::now();
    let reply = drive(script, &cluster(memory(), Duration::from_secs(3)), None, &Nobody).await;
    assert!(reply.result.is_ok());
    let answers = answers.lock().unwrap();
    let took = |at: &Instant| at.duration_since(started).as_millis();
    let ended: Vec<(&str, u128)> = answers.iter().map(|(alias, _, at)| (alias.as_str(), took(at))).collect();
    let [("short", short), ("any", any), ("long", long)] = ended.as_slice() else { panic!("{ended:?}") };
    // A millisecond or two are the timer's.
    assert!((25..30).contains(short) && (3_000..3_005).contains(any) && (12_000..12_005).contains(long), "{ended:?}");
    assert!(answers.iter().all(|(_, answer, _)| matches!(answer, Answer::Failed { kind: FailureKind::TimedOut, .. })));
}

#[tokio::test]
async fn the_callers_deadline_ends_everything() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let cluster = cluster(memory().with_delay(Duration::from_secs(60)), Duration::from_secs(60));
    // Twenty calls of one tablet: most of them wait for their turn.
    let start: Vec<What> = (0..20).map(|_| call("slow", port)).chain([get("global", "a"), range("dir/")]).collect();
    let started = Instant::now();
    let until = Some(started + Duration::from_millis(300));
    let counts = Counts::default();
    let reply = drive(Script::new(start, vec![]), &cluster, until, &counts).await;
    assert!(reply.result.is_ok());
    assert!((250..1500).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert_eq!(counts.sums().failures, 22);
}

fn write(alias: &str, grpc_port: u16) -> What {
    match call(alias, grpc_port) {
        What::TabletCall { tablet, path, request, limit_ms, about, .. } => {
            What::TabletCall { tablet, path, request, effect: Effect::Write, limit_ms, about }
        }
        other => other,
    }
}

#[tokio::test]
async fn a_write_is_not_begun_after_the_callers_deadline_and_not_cut_off_by_it() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let cluster = cluster(memory().with_delay(Duration::from_millis(200)), Duration::from_millis(600));
    for (wait, begun) in [(100, false), (400, true)] {
        let script = Script::new(vec![get("global", "a")], vec![("global:a", vec![write("w", port)])]);
        let answers = Arc::clone(&script.answers);
        let started = Instant::now();
        drive(script, &cluster, Some(started + Duration::from_millis(wait)), &Counts::default()).await;
        let answers = answers.lock().unwrap();
        let (_, Answer::Failed { kind, message }, at) = &answers[1] else { panic!("{answers:?}") };
        if begun {
            assert_eq!(*kind, FailureKind::TimedOut, "{message}");
            assert!(at.duration_since(started) >= Duration::from_millis(700), "{:?}", at.duration_since(started));
        } else {
            assert_eq!(message, "the caller's time was over before: nothing was sent");
        }
    }
}

#[tokio::test]
async fn a_plan_locks_nothing() {
    let lock = What::TopoLock { path: "dir".into(), action: "Test".into(), is_named: false };
    let script = Script::new(vec![lock.clone()], vec![]);
    let topology = memory();
    let planned = plan(script, &cluster(topology.clone(), Duration::from_secs(1)), None, &Counts::default()).await;
    assert_eq!(planned.asks.into_iter().map(|ask| ask.what).collect::<Vec<_>>(), [lock]);
    assert!(matches!(topology.range("global", "dir/locks/", Instant::now()).await, Answer::Missing { .. }));
}

#[tokio::test]
async fn dropping_the_future_cancels_what_is_under_way() {
    struct Never(Arc<AtomicU32>);
    struct UnderWay(Arc<AtomicU32>);
    impl Drop for UnderWay {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    impl Topology for Never {
        fn records<'a>(&'a self, _: &'a str, _: &'a [String], _: Instant) -> Answering<'a, Vec<Answer>> {
            Box::pin(async move {
                self.0.fetch_add(1, Ordering::SeqCst);
                let _under_way = UnderWay(Arc::clone(&self.0));
                std::future::pending().await
            })
        }

        fn range<'a>(&'a self, _: &'a str, _: &'a str, _: Instant) -> Answering<'a, Answer> {
            Box::pin(std::future::pending())
        }
    }
    let under_way = Arc::new(AtomicU32::new(0));
    let cluster = cluster(Never(Arc::clone(&under_way)), Duration::from_secs(1));
    let script = Script::new(vec![get("global", "a"), get("zone1", "b")], vec![]);
    let mut driving = Box::pin(drive(script, &cluster, None, &Nobody));
    assert!(tokio::time::timeout(Duration::from_millis(30), driving.as_mut()).await.is_err());
    assert_eq!(under_way.load(Ordering::SeqCst), 2);
    drop(driving);
    assert_eq!(under_way.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_plan_reads_the_topology_calls_nobody_and_is_the_same_every_time() {
    let script = || {
        Script::new(
            vec![get("zone9", "x"), range("dir/"), get("global", "a")],
            vec![
                ("global:a", vec![call("third", 1), get("global", "b")]),
                ("global:dir/", vec![call("first", 1), call("second", 1)]),
                ("global:b", vec![call("fourth", 1)]),
                ("first", vec![call("never", 1)]),
            ],
        )
    };
    let cluster = cluster(memory().with_delay(Duration::from_millis(2)), Duration::from_secs(1));
    let counts = Counts::default();
    let planned = plan(script(), &cluster, None, &counts).await;
    let listed: Vec<(String, u32)> = planned.asks.iter().map(|ask| (name(&ask.what), ask.round)).collect();
    let want = [
        ("zone9:x", 1),
        ("global:dir/", 1),
        ("global:a", 1),
        ("first", 2),
        ("second", 2),
        ("third", 2),
        ("global:b", 2),
        ("fourth", 3),
    ];
    assert_eq!(listed, want.map(|(name, round)| (name.to_owned(), round)));
    let texts: Vec<_> = planned.failures.iter().map(|failure| failure.message.as_str()).collect();
    assert_eq!(texts, ["node doesn't exist: /vitess/global/cells/zone9/CellInfo"]);
    assert_eq!(planned.reply, None);
    assert_eq!(counts.sums().tablet_calls, 0);
    for _ in 0..5 {
        assert_eq!(plan(script(), &cluster, None, &Nobody).await, planned);
    }
}

#[tokio::test]
async fn a_plan_of_hundreds_of_records_has_them_all_in_order() {
    const RECORDS: usize = 250;
    let record = |index: usize| format!("r{index:03}");
    let inner = MemoryTopology::new((0..RECORDS).map(|index| CellRecord {
        cell: "global".to_owned(),
        path: record(index),
        version: 3,
        value: record(index).into_bytes(),
    }));
    let batches = Arc::new(Mutex::new(Vec::new()));
    let topology = Counting { inner, batches: Arc::clone(&batches) };
    // Asked for backwards, so that the order is that of the asks and not of the paths.
    let asked: Vec<String> = (0..RECORDS).rev().map(record).collect();
    let paths: Vec<String> = asked.iter().map(|path| format!("global:{path}")).collect();
    let releases = paths.iter().zip(&asked).map(|(name, path)| (name.as_str(), vec![call(path, 1)])).collect();
    let script = Script::new(asked.iter().map(|path| get("global", path)).collect(), releases);
    let answers = Arc::clone(&script.answers);
    let counts = Counts::default();
    let planned = plan(script, &cluster(topology, Duration::from_secs(1)), None, &counts).await;
    assert_eq!(*batches.lock().unwrap(), [("global".to_owned(), RECORDS)]);
    let listed: Vec<String> = planned.asks.iter().map(|ask| name(&ask.what)).collect();
    assert_eq!(listed, [&paths[..], &asked[..]].concat(), "the records, then the calls they released");
    let answers = answers.lock().unwrap();
    assert_eq!(answers.len(), RECORDS);
    for ((name, answer, _), path) in answers.iter().zip(&asked) {
        assert_eq!(*name, format!("global:{path}"));
        assert_eq!(*answer, Answer::Found { value: path.clone().into_bytes(), version: 3 }, "{name}");
    }
    let sums = counts.sums();
    assert_eq!((sums.topology_gets, sums.tablet_calls, sums.failures), (RECORDS as u64, 0, 0));
}

#[tokio::test]
async fn a_flow_that_ends_at_once_has_its_reply_and_no_asks() {
    let unknown = Call { path: "/nobody.Serves/This".to_owned(), request: Vec::new(), options: CallOptions::default() };
    let cluster = cluster(memory(), Duration::from_secs(1));
    let counts = Counts::default();
    let reply = drive(Flow::start(&unknown, Timestamp::default()), &cluster, None, &counts).await;
    assert!(reply.result.is_err());
    let planned = plan(Flow::start(&unknown, Timestamp::default()), &cluster, None, &counts).await;
    assert_eq!((planned.asks, planned.failures, planned.reply), (vec![], vec![], Some(reply)));
    assert_eq!(counts.sums(), Sums::default());
}

#[tokio::test]
async fn a_flow_without_asks_or_reply_is_a_named_defect() {
    let mut stuck = Script::new(vec![], vec![]);
    stuck.unanswered = 1;
    let reply = drive(stuck, &cluster(memory(), Duration::from_secs(1)), None, &Nobody).await;
    assert!(reply.result.unwrap_err().message.contains("defect"));
}
