//! Streams of other workflows that write the shards of a reshard: they run on their own, wherever they are, and what they have brought is
//! known, so that nothing of it is lost or brought twice.
//!
//! Facts: `go/vt/vttablet/tabletmanager/vreplication/vplayer.go`: a stream stops where it was told to, and says so in its message; the query
//! service of its tablet is no matter of its.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::time::sleep;

use crate::{
    random::Random,
    traffic::{
        case::{Shape, Side},
        ground::Ground,
        others::{INNER, MATERIALIZE, OUTSIDE},
        positions::{BEFORE, last_transaction, server},
    },
};

/// A stream's row.
struct Row {
    id: String,
    source: String,
    position: String,
    stop_position: String,
    state: String,
    message: String,
}

impl Ground {
    /// The streams of one of these workflows on a side, with their shards.
    fn beside(&self, side: Side, workflow: &str) -> Vec<(&'static str, Row)> {
        let columns = "id, source, pos, ifnull(stop_pos, ''), state, ifnull(message, '')";
        let sql = format!("select {columns} from _vt.vreplication where workflow = '{workflow}' order by id");
        let mut found = Vec::new();
        for name in self.case.shards(side) {
            let shard = self.world.shards.iter().find(|it| it.keyspace == self.case.keyspace(side) && it.name == *name);
            for row in shard.iter().flat_map(|shard| shard.rows(&sql)) {
                if let Ok([id, source, position, stop_position, state, message]) = <[String; 6]>::try_from(row) {
                    found.push((*name, Row { id, source, position, stop_position, state, message }));
                }
            }
        }
        found
    }

    /// The parts of the key range that a shard has.
    fn parts(&self, side: Side, shard: &'static str) -> Vec<&'static str> {
        match side {
            Side::Source => self.case.target_shards.to_vec(),
            Side::Target => vec![shard],
        }
    }

    /// What runs goes on, as far as there is something to bring.
    pub(crate) fn bring(&self) {
        if self.case.shape != Shape::Beside {
            return;
        }
        let origin = server(OUTSIDE.0, OUTSIDE.1);
        for side in [Side::Source, Side::Target] {
            for (shard, row) in self.beside(side, MATERIALIZE).into_iter().filter(|(_, row)| row.state == "Running") {
                let at = last_transaction(&row.position, &origin).unwrap_or(0);
                let stop = last_transaction(&row.stop_position, &origin);
                let until = (BEFORE + self.brought().written).min(stop.unwrap_or(u64::MAX));
                for part in self.parts(side, shard).into_iter().filter(|_| until > at) {
                    let had = self.brought().applied.insert(part, until).unwrap_or(BEFORE);
                    if had != at {
                        let what = if at < had { "twice" } else { "not at all" };
                        let text =
                            format!("{shard} brings {part} what is after {at}, which had all up to {had}: rows come {what}");
                        self.journal.violation("others' streams bring each row once", text);
                    }
                }
                if until > at {
                    self.advance(side, shard, &row, &format!("MySQL56/{origin}:1-{until}"));
                    self.take(side, shard);
                }
                if stop.is_some_and(|stop| until >= stop) {
                    let message = format!("Stopped at position {}", row.stop_position);
                    self.set(side, shard, &row.id, &format!("state = 'Stopped', message = '{message}'"));
                }
            }
            for (shard, row) in self.beside(side, INNER).into_iter().filter(|(_, row)| row.state == "Running") {
                let Some(read) = self.read_by(side, &row) else { continue };
                let origin = server(self.case.target, read);
                let (at, until) = (last_transaction(&row.position, &origin).unwrap_or(0), self.last_app_write(side, read));
                if until > at {
                    self.advance(side, shard, &row, &format!("MySQL56/{origin}:1-{until}"));
                    self.take(side, shard);
                }
            }
        }
    }

    /// Which shard of a side a stream within the keyspace reads.
    fn read_by(&self, side: Side, row: &Row) -> Option<&'static str> {
        self.case.shards(side).iter().find(|shard| row.source.contains(&format!("shard:\"{shard}\""))).copied()
    }

    fn advance(&self, side: Side, shard: &str, row: &Row, position: &str) {
        self.set(side, shard, &row.id, &format!("pos = '{position}'"));
    }

    fn set(&self, side: Side, shard: &str, id: &str, values: &str) {
        let of_shard = self.world.of_keyspace(self.case.keyspace(side)).find(|it| it.name == shard);
        if let Some(shard) = of_shard {
            shard.change(&format!("update _vt.vreplication set {values} where id = {id}"));
        }
    }

    /// What others' streams were to have come to when a side's journal is written.
    pub(crate) fn beside_at_journal(&self, side: Side) {
        if self.case.shape != Shape::Beside {
            return;
        }
        let violation = |text: String| self.journal.violation("others' streams bring each row once", text);
        let origin = server(OUTSIDE.0, OUTSIDE.1);
        for (of, what) in [(side, "on the old side"), (side.other(), "on the new side")] {
            for (shard, row) in self.beside(of, MATERIALIZE).into_iter().chain(self.beside(of, INNER)) {
                if row.state != "Stopped" {
                    violation(format!("a stream {what} on {shard} is {} when the journal is written: {}", row.state, row.source));
                }
            }
            for (shard, row) in self.beside(of, MATERIALIZE) {
                let at = last_transaction(&row.position, &origin).unwrap_or(0);
                let had: Vec<u64> = self
                    .parts(of, shard)
                    .into_iter()
                    .map(|part| self.brought().applied.get(part).copied().unwrap_or(BEFORE))
                    .collect();
                if of != side && had.iter().any(|had| *had != at) {
                    violation(format!("the copy on {shard} begins at {at}, and its rows have all up to {had:?}"));
                }
            }
            for (shard, row) in self.beside(of, INNER) {
                let Some(read) = self.read_by(of, &row) else {
                    violation(format!("the stream {what} on {shard} reads {}", row.source));
                    continue;
                };
                let at = last_transaction(&row.position, &server(self.case.target, read)).unwrap_or(0);
                let (app, all) = (self.last_app_write(of, read), self.transactions(self.case.target, read));
                if of == side && at < app || of != side && at != all {
                    violation(format!(
                        "the stream {what} on {shard} is at {at} of {read}, which has {all}, the last of an application {app}"
                    ));
                }
            }
        }
        for workflow in [MATERIALIZE, INNER] {
            let of = |side| self.beside(side, workflow);
            let there: Vec<&str> = of(side.other()).iter().map(|(shard, _)| *shard).collect();
            if !of(side).is_empty() && self.case.shards(side.other()).iter().any(|shard| !there.contains(shard)) {
                violation(format!("{workflow} has no copy on some of the new shards: {there:?}"));
            }
        }
    }

    /// Why they are not as they are to be while nothing is under way; empty: they are.
    pub(crate) fn beside_wrong(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if self.case.shape != Shape::Beside {
            return texts;
        }
        let owner = self.owner();
        for workflow in [MATERIALIZE, INNER] {
            let own = self.beside(owner, workflow);
            for shard in self.case.shards(owner) {
                let reads = if workflow == INNER { self.case.shards(owner).len() } else { 1 };
                let count = own.iter().filter(|(on, _)| on == shard).count();
                if count != reads {
                    texts.push(format!("{workflow} has {count} streams on {shard}"));
                }
            }
            let still = own.iter().filter(|(_, row)| row.state != "Running" || !row.stop_position.is_empty());
            texts.extend(still.map(|(shard, row)| format!("{workflow} on {shard} is {} ({})", row.state, row.message)));
            let others = self.beside(owner.other(), workflow);
            texts.extend(others.iter().map(|(shard, row)| format!("{workflow} is on {shard}, too, and is {}", row.state)));
        }
        texts
    }

    /// Somebody writes outside.
    pub(crate) fn write_outside(&self) {
        self.brought().written += 1;
    }
}

/// What is read outside is written all the time, and is brought a little later.
pub(crate) async fn run(ground: Arc<Ground>, mut random: Random, is_over: Arc<AtomicBool>) {
    if ground.case.shape != Shape::Beside {
        return;
    }
    while !is_over.load(Ordering::Relaxed) {
        sleep(random.millis(50, if ground.is_quiet() { 10_000 } else { 700 })).await;
        if random.percent(60) {
            ground.write_outside();
        }
        ground.bring();
    }
}
