//! The real server, drive loop, planner and etcd client in one thread, with a simulated network, etcd and tablets: one seed decides what
//! is there, who asks what, and what goes wrong, and checkers watch.
//!
//! Nothing here knows what a request comes to; that is what runs for real. `docs/design/0012-simulation.md` says how it is built and
//! what it can find.

mod callers;
mod checks;
mod etcd;
mod faults;
pub mod journal;
mod network;
mod pipe;
mod random;
mod replies;
mod requests;
pub mod sabotage;
pub mod scene;
mod tablets;
mod wire;
mod world;

use std::{
    sync::{Arc, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use vtflow::{
    deadline::Deadlines,
    drive::ClusterIo,
    network::Network,
    server::{Load, Server, ServerOptions},
    tablet::{TabletOptions, Tablets},
    topo::{EtcdConfig, EtcdTopology, Topology},
};
use vtflow_embedded::clock::Clock;

use self::{
    callers::Callers,
    checks::{Checks, ROOT},
    journal::{Journal, Record},
    network::From,
    random::Random,
    sabotage::Sabotage,
    world::{NOW, SERVER, World},
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

/// Runs what a seed decides, to the end, on a runtime of one thread whose clock stands still while there is something to do and jumps
/// when there is nothing.
pub async fn simulate(seed: u64, settings: Settings) -> Record {
    let journal = Arc::new(Journal::new(settings.keeps_lines));
    let random = Random::new(seed);
    let checks = Checks::new(Arc::clone(&journal));
    let world = World::start(&journal, &checks, &random);
    let mut choices = random.of("run");
    let request_time = choices.millis(20_000, 120_000);
    let server = match start(&world, &checks, &mut choices, request_time, settings.sabotage) {
        Ok(server) => server,
        Err(error) => {
            journal.violation("the server starts", error);
            return journal.record();
        }
    };

    let until = Instant::now() + choices.millis(20_000, 600_000);
    let budget = choices.between(settings.requests.div_ceil(4), settings.requests);
    let callers = Arc::new(Callers {
        left: AtomicU64::new(budget),
        world: Arc::clone(&world),
        checks: Arc::clone(&checks),
        request_time,
        writes_percent: choices.pick(&[0, 10, 30, 60]).copied().unwrap_or(10),
    });
    let mut all = JoinSet::new();
    for index in 1..=choices.between(1, 6) {
        all.spawn(Arc::clone(&callers).call(index, random.of(&format!("caller {index}")), until));
    }
    let (of, asking) = (Arc::clone(&callers), Arc::clone(&world));
    all.spawn(async move { faults::happen(asking, random.of("faults"), until, || of.is_over()).await });
    while let Some(ended) = all.join_next().await {
        if let Err(error) = ended {
            journal.violation("nothing panics", error);
        }
    }
    rest(&world, &server, request_time).await;
    if !server.shut_down().await {
        journal.violation("the server ends", "not within its grace");
    }
    let (sent, arrived) = checks.writes();
    journal.event("checks", format_args!("{sent} calls that write left, {arrived} arrived"));
    journal.record()
}

/// The server over the simulated network.
fn start(
    world: &World,
    checks: &Arc<Checks>,
    choices: &mut Random,
    request_time: Duration,
    sabotage: Sabotage,
) -> Result<Server, String> {
    let network = Network::of(Arc::new(From { network: Arc::clone(&world.network), host: SERVER }));
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
        answer_bytes: choices.pick(&[64 << 10, 4 << 20, 512 << 20]).copied().unwrap_or(4 << 20),
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
    let clock = Clock::starting_at(NOW);
    let listener = world.network.listen(SERVER, 15_999);
    let observer: Arc<dyn vtflow::observe::Observer> = Arc::clone(checks) as _;
    Server::start_on(listener, options, io, Arc::new(move || clock.now()), Some(observer)).map_err(|error| error.to_string())
}

/// All callers have gone and everything is well: whatever was kept for them must be given back.
async fn rest(world: &World, server: &Server, request_time: Duration) {
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
