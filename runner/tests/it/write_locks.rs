//! Changes of workflows beside others who lock the same keyspace in a real etcd: who has the lock goes on, the others leave everything as it
//! is and say whose it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::{
    live::{Live, ROOT},
    program::{at_terminal, recorded, vtflow},
};
use prost::Message;
use tokio::time::Instant;
use vtflow::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::Snapshot,
    observe::{Nobody, Observer},
    tablet::{TabletOptions, Tablets},
    topo::{EtcdConfig, EtcdTopology},
};
use vtflow_planner::{
    Answer, Ask, Call, CallOptions, Effect, FailureKind, Flow, Mode, Reply, TabletAddress, Timestamp, What,
    contract::Verdict,
    proto::{
        binlogdata::VReplicationWorkflowState,
        tabletmanagerdata::{ExecuteFetchAsDbaRequest, ExecuteFetchAsDbaResponse, UpdateVReplicationWorkflowRequest},
        vtctldata::{CancelSchemaMigrationRequest, WorkflowDeleteRequest, WorkflowUpdateRequest},
        vtflow::VExecRequest,
    },
    rpc,
};

const NAMED: &str = "internal/named_locks/mixed/mix_mt";
const WHOLE: &str = "keyspaces/mixed";

/// Of v24, v22, v20 and, by a statement, v18.
const SHARDS: [&str; 4] = ["-40", "40-80", "80-c0", "c0-"];
const TABLETS: [&str; 4] = ["zone1-0000000600", "zone1-0000000610", "zone1-0000000620", "zone1-0000000630"];

const STATE: &str = "select state from _vt.vreplication where workflow = 'mix_mt'";
const CELL: &str = "select cell from _vt.vreplication where workflow = 'mix_mt'";

fn shards() -> Vec<String> {
    SHARDS.map(str::to_owned).to_vec()
}

fn call(path: &str, request: &impl Message) -> Call {
    Call { path: path.into(), request: request.encode_to_vec(), options: CallOptions::default() }
}

fn update(state: Option<i32>, cells: &str) -> Call {
    let tablet_request = Some(UpdateVReplicationWorkflowRequest {
        workflow: "mix_mt".into(),
        cells: vec![cells.into()],
        tablet_types: vec![-1],
        state,
        shards: shards(),
        ..UpdateVReplicationWorkflowRequest::default()
    });
    call(rpc::WORKFLOW_UPDATE, &WorkflowUpdateRequest { keyspace: "mixed".into(), tablet_request })
}

fn stop() -> Call {
    update(Some(VReplicationWorkflowState::Stopped.into()), "NULL")
}

fn delete() -> Call {
    let (keyspace, workflow, shards) = ("mixed".into(), "mix_mt".into(), shards());
    let (keep_data, keep_routing_rules) = (true, true);
    let request =
        WorkflowDeleteRequest { keyspace, workflow, keep_data, keep_routing_rules, shards, ..WorkflowDeleteRequest::default() };
    call(rpc::WORKFLOW_DELETE, &request)
}

fn vexec() -> Call {
    let (keyspace, workflow, sql) = ("mixed".into(), "mix_mt".into(), "update _vt.vreplication set state = 'Stopped'".into());
    call(rpc::VEXEC, &VExecRequest { keyspace, workflow, sql, shards: shards(), ..VExecRequest::default() })
}

fn cancel() -> Call {
    let mut call = call(
        rpc::CANCEL_SCHEMA_MIGRATION,
        &CancelSchemaMigrationRequest { keyspace: "mixed".into(), uuid: "all".into(), caller_id: None },
    );
    call.options.shards = SHARDS[..3].iter().map(|shard| (*shard).to_owned()).collect();
    call
}

/// A recorded cluster, alive, with a real etcd.
struct Stage {
    live: Live,
    io: ClusterIo,
    now: Timestamp,
}

impl Stage {
    async fn start(lock: Duration, delay: Duration) -> Arc<Self> {
        let mut live = Live::empty();
        let snapshot = Snapshot::load(&recorded("mixed-releases")).unwrap();
        let now = snapshot.taken_at;
        live.become_slow(snapshot, BTreeMap::new(), delay).await;
        let mut config = EtcdConfig::new(live.etcd.address(), ROOT);
        config.lease_ttl = Duration::from_secs(30);
        let deadlines = Deadlines { lock, topology: Duration::from_secs(2), ..Deadlines::default() };
        let tablets = Arc::new(Tablets::new(TabletOptions::default()).unwrap());
        let io = ClusterIo { topology: Arc::new(EtcdTopology::new(&config).unwrap()), tablets, deadlines };
        Arc::new(Self { live, io, now })
    }

    async fn drive(&self, call: &Call, observer: &dyn Observer) -> Reply {
        drive(Flow::start(call, self.now), &self.io, None, observer).await
    }

    async fn drive_as(&self, call: &Call, mode: Mode) -> Reply {
        let mut call = call.clone();
        call.options.mode = mode;
        self.drive(&call, &Nobody).await
    }

    /// A value of each tablet, empty without a row.
    async fn values(&self, query: &str) -> Vec<String> {
        let mut values = Vec::new();
        for alias in TABLETS {
            let grpc_port = self.live.cluster().port(alias).unwrap();
            let tablet = TabletAddress { alias: alias.into(), cell: "zone1".into(), host: "127.0.0.1".into(), grpc_port };
            let request = ExecuteFetchAsDbaRequest { query: query.into(), max_rows: 10, ..ExecuteFetchAsDbaRequest::default() };
            let (path, request, wait) = (rpc::EXECUTE_FETCH_AS_DBA, request.encode_to_vec(), Duration::from_secs(5));
            let answer = self.io.tablets.call(&tablet, path, &request, Effect::Read, wait, None).await;
            let Answer::Called(bytes) = answer else { panic!("{alias}: {answer:?}") };
            let rows = ExecuteFetchAsDbaResponse::decode(bytes.as_slice()).unwrap().result.unwrap().rows;
            values.push(rows.first().map_or_else(String::new, |row| String::from_utf8(row.values.clone()).unwrap()));
        }
        values
    }

    /// How often each tablet was told to change something.
    fn writes(&self) -> Vec<usize> {
        TABLETS.iter().map(|alias| self.live.cluster().writes(alias)).collect()
    }

    async fn lock(&self, path: &str) -> i64 {
        self.live.etcd.lock_as_a_vtctld(&format!("{ROOT}/{path}")).await
    }

    async fn locks(&self, path: &str) -> Vec<i64> {
        self.live.etcd.locks(&format!("{ROOT}/{path}")).await
    }

    /// Nothing has changed, and no tablet was told to change anything.
    async fn is_untouched(&self, what: &str) {
        assert_eq!(self.values(STATE).await, ["Running"; 4], "{what}");
        assert_eq!(self.writes(), [0; 4], "{what}");
    }
}

/// Performs something to its end where nothing can be awaited.
fn at_once(what: impl Future<Output = ()> + Send) {
    std::thread::scope(|scope| {
        let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what);
        scope.spawn(run).join().unwrap();
    });
}

/// Does something when an ask comes to a point, once.
struct At<F> {
    point: Point,
    /// Which asks.
    is_it: fn(&Ask) -> bool,
    run: Mutex<Option<F>>,
    /// Calls of tablets that were begun.
    calls: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Point {
    Asked,
    Sent,
    Answered,
}

impl<F: FnOnce() + Send> At<F> {
    fn new(point: Point, is_it: fn(&Ask) -> bool, run: F) -> Self {
        Self { point, is_it, run: Mutex::new(Some(run)), calls: AtomicUsize::new(0) }
    }

    fn reach(&self, point: Point, ask: &Ask) {
        if point == self.point && (self.is_it)(ask) {
            let run = self.run.lock().unwrap().take();
            if let Some(run) = run {
                run();
            }
        }
    }
}

impl<F: FnOnce() + Send> Observer for At<F> {
    fn asked(&self, ask: &Ask) {
        if matches!(ask.what, What::TabletCall { .. } | What::TabletPage { .. }) {
            self.calls.fetch_add(1, Ordering::SeqCst);
        }
        self.reach(Point::Asked, ask);
    }

    fn sent(&self, ask: &Ask) {
        self.reach(Point::Sent, ask);
    }

    fn answered(&self, ask: &Ask, _: &Answer, _: Duration) {
        self.reach(Point::Answered, ask);
    }

    fn failed(&self, ask: &Ask, _: FailureKind, _: &str, _: Duration) {
        self.reach(Point::Answered, ask);
    }
}

fn is_write(ask: &Ask) -> bool {
    matches!(ask.what, What::TabletCall { effect: Effect::Write, .. })
}

/// The look at who holds the keyspace's lock.
fn is_look(ask: &Ask) -> bool {
    matches!(&ask.what, What::TopoRange { prefix, .. } if prefix.starts_with(WHOLE) && prefix.ends_with("/locks/"))
}

fn message(reply: &Reply) -> &str {
    &reply.result.as_ref().unwrap_err().message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_somebody_else_refuses_a_write_before_a_tablet_is_asked_anything() {
    let stage = Stage::start(Duration::from_millis(500), Duration::ZERO).await;
    for (call, paths) in [
        (stop(), &[NAMED, WHOLE][..]),
        (delete(), &[NAMED, WHOLE]),
        (vexec(), &[NAMED, WHOLE]),
        // Migrations know the keyspace's lock only, and wait for it.
        (cancel(), &[WHOLE]),
    ] {
        for path in paths {
            let what = format!("{} and {path}", call.path);
            let lease = stage.lock(path).await;
            let watch = At::new(Point::Asked, |_| false, || ());
            let begun = Instant::now();
            let reply = stage.drive(&call, &watch).await;
            assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
            let text = message(&reply);
            assert!(text.contains(&format!("{path}/locks")) && text.contains("\"HostName\": \"vtctld-7\""), "{what}: {text}");
            assert!(call.path == rpc::CANCEL_SCHEMA_MIGRATION || text.contains("nothing was changed"), "{what}: {text}");
            assert!(reply.written.is_none_or(|written| written.outcomes.is_empty()), "{what}");
            assert_eq!(watch.calls.load(Ordering::SeqCst), 0, "{what}: tablets were asked");
            // Whoever waited leaves the queue in the background.
            while stage.locks(path).await != [lease] {
                assert!(
                    begun.elapsed() < Duration::from_secs(30),
                    "{what}: the lock is its holder's, and nobody is left in the queue"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stage.live.etcd.revoke(lease).await;
        }
    }
    stage.is_untouched("refused").await;

    // Forced, it goes on beside the holder and says so.
    let lease = stage.lock(WHOLE).await;
    let mut forced = stop();
    forced.options.force = true;
    let written = stage.drive(&forced, &Nobody).await.written.unwrap();
    let warning = written.plan.warnings.iter().find(|text| text.contains("vtctld-7")).expect("a warning");
    assert!(warning.starts_with("forced although keyspaces/mixed/locks/"), "{warning}");
    assert_eq!(stage.values(STATE).await, ["Stopped"; 4]);
    assert_eq!((stage.locks(WHOLE).await, stage.locks(NAMED).await), (vec![lease], Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_taken_after_the_plan_was_read_keeps_the_write_from_being_made() {
    let stage = Stage::start(Duration::from_millis(500), Duration::ZERO).await;
    let plan = stage.drive_as(&stop(), Mode::Preview).await.written.unwrap().plan;
    assert_eq!(plan.locks, [NAMED, WHOLE]);
    assert_eq!((stage.locks(WHOLE).await, stage.locks(NAMED).await), (Vec::new(), Vec::new()), "a plan leaves no lock");
    for path in [WHOLE, NAMED] {
        let lease = stage.lock(path).await;
        let reply = stage.drive_as(&stop(), Mode::Planned(plan.digest.clone())).await;
        assert!(message(&reply).contains("vtctld-7") && message(&reply).contains("nothing was changed"), "{}", message(&reply));
        stage.is_untouched(path).await;
        stage.live.etcd.revoke(lease).await;
    }

    // Between the look at who holds the lock and the taking of it.
    let (at, etcd) = (Arc::clone(&stage), format!("{ROOT}/{WHOLE}"));
    let grab = move || {
        at_once(async move {
            at.live.etcd.lock_as_a_vtctld(&etcd).await;
        });
    };
    let watch = At::new(Point::Answered, is_look, grab);
    let reply = stage.drive(&stop(), &watch).await;
    let text = message(&reply);
    assert!(text.starts_with("failed to lock the mixed keyspace: deadline exceeded: "), "{text}");
    assert!(text.contains("it is held by { \"Action\": \"SwitchTraffic\", \"HostName\": \"vtctld-7\" }"), "{text}");
    assert!(text.contains("nothing was changed"), "{text}");
    assert_eq!(watch.calls.load(Ordering::SeqCst), 0, "tablets were asked");
    stage.is_untouched("between look and lock").await;
    let left = stage.locks(WHOLE).await;
    assert_eq!((left.len(), stage.locks(NAMED).await), (1, Vec::new()), "what was taken by then is given back");

    stage.live.etcd.revoke(left[0]).await;
    let reply = stage.drive_as(&stop(), Mode::Planned(plan.digest)).await;
    assert!(reply.result.is_ok(), "{:?}", reply.result);
    assert_eq!((stage.values(STATE).await, stage.writes()), (vec!["Stopped".to_owned(); 4], vec![1; 4]));
    assert_eq!((stage.locks(WHOLE).await, stage.locks(NAMED).await), (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_taken_while_a_person_reads_the_plan_is_seen() {
    let stage = Stage::start(Duration::from_millis(500), Duration::ZERO).await;
    let command = ["workflow", "stop", "mixed", "mix_mt", "--shards", "-40,40-80,80-c0,c0-"].map(str::to_owned);
    let mut script = at_terminal(&[stage.live.flags(), command.to_vec()].concat());
    let (mut stdout, mut said, mut piece) = (script.stdout.take().unwrap(), Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&said).contains("Type yes to go on") {
        let read = stdout.read(&mut piece).unwrap();
        assert!(read > 0, "it has ended: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&piece[..read]);
    }
    let lease = stage.lock(WHOLE).await;
    script.stdin.take().unwrap().write_all(b"yes\n").unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(script.wait().unwrap().code(), Some(2), "{rest}");
    assert!(
        rest.contains("keyspaces/mixed/locks/") && rest.contains("vtctld-7") && rest.contains("nothing was changed"),
        "{rest}"
    );
    stage.is_untouched("at the terminal").await;

    // A plan in a file is no different.
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("plan.json");
    stage.live.etcd.revoke(lease).await;
    let flags = stage.live.flags();
    let run = |more: &[&str]| {
        let more: Vec<String> = more.iter().map(|word| (*word).to_owned()).collect();
        vtflow(&[flags.clone(), more].concat())
    };
    let plan = run(&["workflow", "stop", "mixed", "mix_mt", "--shards", "-40,40-80,80-c0,c0-", "--dry-run", "-o", "json"]);
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    std::fs::write(&file, &plan.stdout).unwrap();
    let lease = stage.lock(NAMED).await;
    let ran = run(&["apply", file.to_str().unwrap(), "--yes"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("vtctld-7") && ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    stage.is_untouched("apply").await;
    stage.live.etcd.revoke(lease).await;
    let ran = run(&["apply", file.to_str().unwrap(), "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(stage.values(STATE).await, ["Stopped"; 4]);
}

/// Where some wait until so many have come. Nobody waits for ever: one that fails before does not come.
struct Gate {
    wanted: usize,
    come: Mutex<usize>,
    opened: Condvar,
}

impl Gate {
    fn of(wanted: usize) -> Arc<Self> {
        Arc::new(Self { wanted, come: Mutex::new(0), opened: Condvar::new() })
    }

    fn come(&self) {
        *self.come.lock().unwrap() += 1;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let come = self.come.lock().unwrap();
        let (come, _) = self.opened.wait_timeout_while(come, Duration::from_secs(30), |come| *come < self.wanted).unwrap();
        assert!(*come >= self.wanted, "{} of {} have come", *come, self.wanted);
    }
}

/// When a request had the keyspace's lock: from when it was told to when it gave it back.
struct Having {
    /// Passed after the look at who holds the lock, by all together.
    seen: Option<Arc<Gate>>,
    /// Passed before the first write, by who has the lock.
    write: Option<Arc<Gate>>,
    from: Mutex<Option<Instant>>,
    to: Mutex<Option<Instant>>,
}

impl Having {
    fn new(seen: Option<&Arc<Gate>>, write: Option<&Arc<Gate>>) -> Arc<Self> {
        let (seen, write) = (seen.cloned(), write.cloned());
        Arc::new(Self { seen, write, from: Mutex::default(), to: Mutex::default() })
    }

    fn span(&self) -> (Instant, Instant) {
        (self.from.lock().unwrap().expect("it had the lock"), self.to.lock().unwrap().expect("it gave the lock back"))
    }
}

impl Observer for Having {
    fn asked(&self, ask: &Ask) {
        if matches!(ask.what, What::TopoUnlock { .. }) {
            self.to.lock().unwrap().get_or_insert_with(Instant::now);
        }
        if let Some(gate) = self.write.as_ref().filter(|_| is_write(ask)) {
            tokio::task::block_in_place(|| gate.wait());
        }
    }

    fn answered(&self, ask: &Ask, answer: &Answer, _: Duration) {
        if let (What::TopoLock { path, .. }, Answer::Locked) = (&ask.what, answer)
            && path == WHOLE
        {
            *self.from.lock().unwrap() = Some(Instant::now());
        }
        if let Some(gate) = self.seen.as_ref().filter(|_| is_look(ask)) {
            // Nobody takes the lock before both have seen that it is free.
            gate.come();
            tokio::task::block_in_place(|| gate.wait());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_writes_at_once_go_one_after_the_other_and_neither_is_lost() {
    let stage = Stage::start(Duration::from_secs(30), Duration::from_millis(50)).await;
    let seen = Gate::of(2);
    let run = |call: Call, having: &Arc<Having>| {
        let (stage, having) = (Arc::clone(&stage), Arc::clone(having));
        tokio::spawn(async move { stage.drive(&call, &*having).await })
    };
    let (one, other) = (Having::new(Some(&seen), None), Having::new(Some(&seen), None));
    let (first, second) = (run(stop(), &one), run(update(None, "zone2"), &other));
    for reply in [first.await.unwrap(), second.await.unwrap()] {
        assert!(reply.result.is_ok(), "{:?}", reply.result);
        let written = reply.written.unwrap();
        assert_eq!(written.outcomes.len(), 4);
        assert!(written.outcomes.iter().all(|outcome| outcome.verdict == Verdict::Applied), "{:?}", written.outcomes);
        assert!(written.notes.is_empty(), "{:?}", written.notes);
    }
    let ((a, b), (c, d)) = (one.span(), other.span());
    assert!(b <= c || d <= a, "both had the lock at once");
    assert_eq!((stage.values(STATE).await, stage.values(CELL).await), (vec!["Stopped".into(); 4], vec!["zone2".into(); 4]));
    assert_eq!(stage.writes(), [2; 4]);

    // Who comes while the other has the lock is told so at once, and may come again.
    let refused = Gate::of(1);
    let (one, other) = (Having::new(None, Some(&refused)), Having::new(None, None));
    let first = run(update(Some(VReplicationWorkflowState::Running.into()), "NULL"), &one);
    while one.from.lock().unwrap().is_none() {
        assert!(!first.is_finished(), "it has ended without the lock");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let reply = run(update(None, "zone1"), &other).await.unwrap();
    refused.come();
    assert!(message(&reply).contains("is locked by { \"Action\": ") && message(&reply).contains("nothing was changed"));
    assert!(first.await.unwrap().result.is_ok());
    assert!(run(update(None, "zone1"), &other).await.unwrap().result.is_ok());
    assert_eq!(stage.values(CELL).await, ["zone1"; 4]);
    assert_eq!(stage.writes(), [4; 4]);
    assert_eq!((stage.locks(WHOLE).await, stage.locks(NAMED).await), (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_lost_before_the_first_write_leaves_everything_as_it_is() {
    for path in [WHOLE, NAMED] {
        let stage = Stage::start(Duration::from_secs(5), Duration::ZERO).await;
        let at = Arc::clone(&stage);
        let lose = move || {
            at_once(async move {
                let leases = at.locks(path).await;
                at.live.etcd.revoke(leases[0]).await;
            });
        };
        let reply = stage.drive(&stop(), &At::new(Point::Asked, is_write, lose)).await;
        let written = reply.written.as_ref().unwrap();
        assert_eq!(written.outcomes.len(), 4, "{path}: {:?}", reply.result);
        for outcome in &written.outcomes {
            assert_eq!(outcome.verdict, Verdict::NotApplied, "{path}: {outcome}");
            let text = format!("the lock of {path} was lost: nothing was sent (node doesn't exist: lease)");
            assert!(outcome.message.starts_with(&text), "{path}: {outcome}");
        }
        assert_eq!(written.notes, [format!("the lock of {path} was lost on the way: node doesn't exist: lease")]);
        assert!(reply.result.is_err());
        stage.is_untouched(path).await;
        assert_eq!((stage.locks(WHOLE).await, stage.locks(NAMED).await), (Vec::new(), Vec::new()), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_lost_after_the_writes_were_sent_is_told() {
    let stage = Stage::start(Duration::from_secs(5), Duration::from_millis(100)).await;
    let at = Arc::clone(&stage);
    let lose = move || {
        at_once(async move {
            let leases = at.locks(WHOLE).await;
            at.live.etcd.revoke(leases[0]).await;
        });
    };
    let reply = stage.drive(&stop(), &At::new(Point::Sent, is_write, lose)).await;
    let written = reply.written.unwrap();
    assert!(written.outcomes.iter().all(|outcome| outcome.verdict == Verdict::Applied), "{:?}", written.outcomes);
    assert_eq!(written.notes, [format!("the lock of {WHOLE} was lost on the way: node doesn't exist: lease")]);
    assert_eq!((stage.values(STATE).await, stage.writes()), (vec!["Stopped".to_owned(); 4], vec![1; 4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_while_nobody_can_tell_whether_the_lock_is_held() {
    let stage = Stage::start(Duration::from_secs(5), Duration::ZERO).await;
    let at = Arc::clone(&stage);
    let begun = Instant::now();
    let reply = stage.drive(&stop(), &At::new(Point::Asked, is_write, move || at.live.etcd.pause())).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    stage.live.etcd.resume();
    for outcome in &reply.written.unwrap().outcomes {
        assert_eq!(outcome.verdict, Verdict::NotApplied, "{outcome}");
        assert!(outcome.message.contains("nothing was sent"), "{outcome}");
    }
    stage.is_untouched("etcd stands still").await;
}
