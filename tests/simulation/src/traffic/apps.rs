//! Applications: in each cell somebody writes to the tables all the time, wherever the cell's vtgates would send it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{task::JoinSet, time::sleep};

use crate::{random::Random, traffic::ground::Ground};

/// Between being let in by the list of denied tables and having the lock of its table, in milliseconds.
const PLANNING_MS: u64 = 90;
/// From then until it is committed.
const WRITING_MS: u64 = 250;

/// Writes in one cell until that is over.
pub(crate) async fn write(ground: Arc<Ground>, cell: &'static str, mut random: Random, is_over: Arc<AtomicBool>) {
    let pause = random.pick(&[60, 200, 800]).copied().unwrap_or(100);
    let mut writes = JoinSet::new();
    while !is_over.load(Ordering::Relaxed) {
        let pause = if ground.is_quiet() { 10_000 } else { pause };
        sleep(random.millis(1, pause)).await;
        let Some(table) = random.pick(ground.case.tables).copied() else { return };
        let choice = usize::try_from(random.below(8)).unwrap_or(0);
        let (planning, writing) = (random.millis(0, PLANNING_MS), random.millis(0, WRITING_MS));
        let ground = Arc::clone(&ground);
        writes.spawn(async move {
            let journal = &ground.world.journal;
            let Ok(mut entry) = ground.enter(cell, table, choice) else {
                return journal.count("write", "refused");
            };
            sleep(planning).await;
            if !ground.hold(&mut entry) {
                return journal.count("write", "ended before it had its lock");
            }
            sleep(writing).await;
            journal.count("write", if ground.commit(&entry) { "taken" } else { "ended before it was committed" });
        });
        while writes.try_join_next().is_some() {}
    }
    while writes.join_next().await.is_some() {}
}
