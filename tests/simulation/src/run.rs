//! The server of a run, and what must be left when all have gone.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use vtflow::{
    deadline::Deadlines,
    drive::ClusterIo,
    network::Network,
    observe::Observer,
    server::{Load, Server, ServerOptions},
    tablet::{TabletOptions, Tablets},
    topo::{EtcdConfig, EtcdTopology, Topology},
};
use vtflow_embedded::clock::Clock;
use vtflow_planner::{Answer, Ask, Effect, FailureKind, What};

use crate::{
    checks::{Checks, ROOT},
    network::From,
    random::Random,
    sabotage::Sabotage,
    world::{SERVER, World},
};

/// What a run is besides its seed.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Requests at most; how many there are within that, the seed decides.
    pub requests: u64,
    /// Whether the journal keeps its lines, to be read.
    pub keeps_lines: bool,
    /// What is broken on purpose.
    pub sabotage: Sabotage,
}

/// A server, and what says that its process has been killed.
pub(crate) struct Running {
    pub(crate) server: Server,
    death: Arc<AtomicBool>,
}

impl Running {
    /// Its process is gone: nobody hears of it again, and it hears of nobody.
    pub(crate) fn kill(self, world: &World) {
        self.death.store(true, Ordering::Relaxed);
        world.network.kill(SERVER);
    }
}

/// What a process that is alive tells.
struct Alive {
    checks: Arc<Checks>,
    death: Arc<AtomicBool>,
    /// Broken on purpose: it tells twice.
    is_twice: bool,
}

impl Alive {
    fn checks(&self) -> Option<&Checks> {
        (!self.death.load(Ordering::Relaxed)).then_some(&*self.checks)
    }
}

/// Whether an ask is one that writes.
fn is_write(ask: &Ask) -> bool {
    matches!(ask.what, What::TabletCall { effect: Effect::Write, .. } | What::TopoPut { .. } | What::TopoDelete { .. })
}

impl Observer for Alive {
    fn asked(&self, ask: &Ask) {
        if let Some(checks) = self.checks() {
            checks.asked(ask);
        }
    }

    fn sent(&self, ask: &Ask) {
        if let Some(checks) = self.checks() {
            checks.sent(ask);
        }
    }

    fn answered(&self, ask: &Ask, answer: &Answer, took: Duration) {
        if let Some(checks) = self.checks() {
            checks.answered(ask, answer, took);
            if self.is_twice && is_write(ask) {
                checks.answered(ask, answer, took);
            }
        }
    }

    fn failed(&self, ask: &Ask, kind: FailureKind, message: &str, took: Duration) {
        if let Some(checks) = self.checks() {
            checks.failed(ask, kind, message, took);
        }
    }
}

/// The server over the simulated network.
pub(crate) fn start(
    world: &World,
    checks: &Arc<Checks>,
    choices: &mut Random,
    request_time: Duration,
    least_answer_bytes: usize,
    sabotage: Sabotage,
) -> Result<Running, String> {
    let from = From::new(&world.network, SERVER);
    let death = from.death();
    let network = Network::of(Arc::new(from));
    let config = EtcdConfig {
        // What is larger is read in parts.
        answer_bytes: choices.pick(&[2 << 10, 64 << 10, 64 << 20]).copied().unwrap_or(64 << 20),
        read_concurrency: choices.pick(&[1, 4, 32]).copied().unwrap_or(32),
        lease_ttl: Duration::from_secs(choices.between(3, 30)),
        ..EtcdConfig::new(world.global.addresses(), ROOT)
    };
    let topology = EtcdTopology::over(network.clone(), &config).map_err(|error| error.to_string())?;
    let options = TabletOptions {
        concurrency: choices.pick(&[2, 16, 2048]).copied().unwrap_or(2048),
        concurrency_per_cell: choices.pick(&[1, 8, 1024]).copied().unwrap_or(1024),
        concurrency_per_tablet: choices.pick(&[1, 4]).copied().unwrap_or(4),
        ..TabletOptions::default()
    };
    let tablets = Tablets::over(network, options).map_err(|error| error.to_string())?;
    let topology: Arc<dyn Topology> = sabotage.topology(Arc::new(topology));
    let io = ClusterIo { topology, tablets: Arc::new(tablets), deadlines: Deadlines::default() };
    let options = ServerOptions {
        flows: choices.pick(&[1, 3, 32]).copied().unwrap_or(32),
        request_time,
        answer_bytes: choices.pick(&[64 << 10, 4 << 20, 512 << 20]).copied().unwrap_or(4 << 20).max(least_answer_bytes),
        allow_writes: true,
        has_log: false,
        grace: Duration::from_secs(30),
        ..ServerOptions::default()
    };
    world.journal.event(
        "world",
        format_args!(
            "{} flows, {request_time:?}, {} bytes of answers, etcd: {} bytes, {} reads, leases of {:?}",
            options.flows, options.answer_bytes, config.answer_bytes, config.read_concurrency, config.lease_ttl
        ),
    );
    let clock = Clock::starting_at(world.now);
    let listener = world.network.listen(SERVER, 15_999);
    let observer: Arc<dyn Observer> =
        Arc::new(Alive { checks: Arc::clone(checks), death: Arc::clone(&death), is_twice: sabotage == Sabotage::AnswersTwice });
    let server = Server::start_on(listener, options, io, Arc::new(move || clock.now()), Some(observer));
    server.map(|server| Running { server, death }).map_err(|error| error.to_string())
}

/// All callers have gone and everything is well: whatever was kept for them must be given back.
pub(crate) async fn rest(world: &World, server: &Server, request_time: Duration) {
    let journal = &world.journal;
    // As long as a change may go on, and connections of callers that have vanished are kept.
    let until = Instant::now() + request_time + Duration::from_secs(180);
    while server.load() != Load::default() && Instant::now() < until {
        sleep(Duration::from_secs(1)).await;
    }
    let load = server.load();
    journal.event("checks", format_args!("at rest: {load:?}"));
    if load != Load::default() {
        journal.violation("all is given back", format_args!("{load:?}"));
    }
    // A lease that nobody keeps alive ends by itself.
    sleep(Duration::from_secs(60)).await;
    let (leases, locks) = {
        let mut store = world.global.store();
        (store.clients_leases(), store.locks())
    };
    if !leases.is_empty() || !locks.is_empty() {
        journal.violation("all is given back", format_args!("leases {leases:?}, locks {locks:?}"));
    }
    for (shard, mark) in world.denied.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if shard.was_marked(mark) {
            let text = format!("{}/{} was said not to have {mark}, and has it now", shard.keyspace, shard.name);
            journal.violation("a change is what its caller is told", text);
        }
    }
    let connections = world.network.connections();
    let mut to: Vec<&str> =
        connections.iter().filter(|connection| connection.from == SERVER).map(|connection| connection.to.as_str()).collect();
    to.sort_unstable();
    let all = to.len();
    to.dedup();
    journal.event("checks", format_args!("{all} connections to {} peers", to.len()));
}
