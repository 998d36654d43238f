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
mod run;
pub mod sabotage;
pub mod scene;
mod strike;
mod tablets;
pub mod traffic;
mod wire;
mod world;

use std::sync::{Arc, atomic::AtomicU64};

use tokio::{task::JoinSet, time::Instant};

pub use run::Settings;

use self::{
    callers::Callers,
    checks::Checks,
    journal::{Journal, Record},
    random::Random,
    world::World,
};

/// Runs what a seed decides, to the end, on a runtime of one thread whose clock stands still while there is something to do and jumps
/// when there is nothing.
pub async fn simulate(seed: u64, settings: Settings) -> Record {
    let journal = Arc::new(Journal::new(settings.keeps_lines));
    let random = Random::new(seed);
    let checks = Checks::new(Arc::clone(&journal));
    let world = World::start(&journal, &checks, &random);
    let mut choices = random.of("run");
    let request_time = choices.millis(20_000, 120_000);
    let run::Running { server, .. } = match run::start(&world, &checks, &mut choices, request_time, 0, settings.sabotage) {
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
    all.spawn(async move { faults::happen(asking, random.of("faults"), until, &faults::PAUSES, || of.is_over()).await });
    while let Some(ended) = all.join_next().await {
        if let Err(error) = ended {
            journal.violation("nothing panics", error);
        }
    }
    run::rest(&world, &server, request_time).await;
    if !server.shut_down().await {
        journal.violation("the server ends", "not within its grace");
    }
    let (sent, arrived) = checks.writes();
    journal.event("checks", format_args!("{sent} calls that write left, {arrived} arrived"));
    journal.record()
}
