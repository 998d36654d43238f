//! Runs in which traffic is moved, by the same server, network, etcd and tablets, while applications write and everything goes wrong.
//!
//! What these requests ask of tablets names neither them nor their workflow. So it is not calls that are accounted for, but what the
//! cluster comes to: `ground/` says what is checked at every moment, `rest.rs` what when nobody asks anything.

mod aims;
mod apps;
mod asks;
mod beside;
mod case;
mod ground;
mod kinds;
mod mine;
mod others;
mod positions;
mod rest;
mod shapes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use vtflow::server::Load;

pub use self::aims::Coverage;
use self::{aims::Aim, asks::Ask, ground::Ground, kinds::Step, mine::Fault, rest::Before};
use crate::{
    checks::Checks,
    faults,
    journal::{Journal, Record},
    random::Random,
    run::{self, Running, Settings},
    wire::{Client, Ended},
    world::{CELLS, SERVER, World},
};

/// What goes wrong in the first round of a seed's run: kind of change, kind of step, kind of fault.
pub fn aim_of(seed: u64) -> (&'static str, &'static str, &'static str) {
    let Aim { change, step, fault } = Aim::of(seed);
    (change.name, step.name(), fault.name())
}

/// A run under way.
struct Run {
    world: Arc<World>,
    checks: Arc<Checks>,
    ground: Arc<Ground>,
    request_time: Duration,
    choices: Random,
    settings: Settings,
    server: Option<Running>,
}

/// How long locks of a process that is gone stand at most, and what else ends by itself.
const LEASES: Duration = Duration::from_secs(45);

/// Between two things that go wrong, in milliseconds at most.
const PAUSES: [u64; 5] = [60_000, 30_000, 10_000, 4_000, 1_000];

/// Longer than any run.
const NEVER: Duration = Duration::from_secs(86_400);

/// What a server keeps of answers at least: one with less refuses every change, and says so.
const ANSWER_BYTES: usize = 4 << 20;

/// Runs what a seed decides, to the end; `settings.requests` are rounds at most, of one to three requests each.
pub async fn simulate(seed: u64, settings: Settings) -> Record {
    let journal = Arc::new(Journal::new(settings.keeps_lines));
    let random = Random::new(seed).of("traffic");
    let checks = Checks::new(Arc::clone(&journal));
    let mut choices = random.of("run");
    let aim = Aim::of(seed);
    let case = aim.change.case;
    journal.event("world", format_args!("{case:?}"));
    journal.event("world", format_args!("aimed at: {}, {}, {}", aim.change.name, aim.step.name(), aim.fault.name()));
    journal.count("case", format!("{} from the {:?}", case.workflow, case.owner));
    let snapshot = match shapes::load(&case) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            journal.violation("a run begins", error);
            return journal.record();
        }
    };
    // A primary moves to somebody.
    let replicas = if aim.fault == Fault::PrimaryMoved { 100 } else { 70 };
    let world = World::of(snapshot, replicas, random.of("world"), &journal, &checks, &random);
    checks.set_traffic(case.locked());
    let lag = choices.pick(&[0, 20, 400, 2_000]).copied().unwrap_or(0);
    let aimed = choices.pick(&[0, 0, 2, 5, 12]).copied().unwrap_or(0);
    let ground = Ground::new(&world, case, lag, aimed);
    let by_chance = choices.pick(&[0, 0, 2, 5, 12]).copied().unwrap_or(0);
    for etcd in [&world.global, &world.second] {
        etcd.aim(by_chance);
        etcd.set_acts(Arc::clone(&ground) as _);
    }
    let request_time = choices.millis(20_000, 120_000);
    let rounds = choices.between(settings.requests.div_ceil(4), settings.requests);

    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for cell in CELLS {
        writers.spawn(apps::write(Arc::clone(&ground), cell, random.of(&format!("apps of {cell}")), Arc::clone(&is_over)));
    }
    writers.spawn(beside::run(Arc::clone(&ground), random.of("streams of others"), Arc::clone(&is_over)));
    let mut run = Run { world, checks, ground, request_time, choices: random.of("rounds"), settings, server: None };
    if run.start() {
        run.rounds(rounds, &aim, &random).await;
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        if let Err(error) = ended {
            journal.violation("nothing panics", error);
        }
    }
    if let Some(Running { server, .. }) = run.server.take() {
        run::rest(&run.world, &server, request_time).await;
        if !server.shut_down().await {
            journal.violation("the server ends", "not within its grace");
        }
    }
    journal.event("checks", format_args!("{} writes of applications", run.ground.written()));
    journal.record()
}

impl Run {
    fn start(&mut self) -> bool {
        let choices = &mut self.choices;
        match run::start(&self.world, &self.checks, choices, self.request_time, ANSWER_BYTES, self.settings.sabotage) {
            Ok(running) => self.server = Some(running),
            Err(error) => self.world.journal.violation("the server starts", error),
        }
        self.server.is_some()
    }

    /// How long a request may take, and what it has begun may go on.
    fn longest(&self) -> Duration {
        self.request_time + self.ground.case.change_time()
    }

    async fn rounds(&mut self, rounds: u64, aim: &Aim, random: &Random) {
        let (mut is_healthy, mut pending) = (true, Vec::new());
        if let Some(before) = aim.change.before {
            let (kind, stops_at) = match before {
                aims::Before::Done(kind) => (kind, None),
                aims::Before::Stopped(kind, step) => (kind, Some(step)),
            };
            let ask = Ask::of(&self.ground.case, kind(), 30);
            let was = Before { is_healthy, owner: self.ground.owner() };
            let asked = self.aimed("before", ask, stops_at.map(|step| (step, Fault::Killed, false)), random).await;
            if !self.is_at_rest().await {
                return;
            }
            is_healthy = rest::check(&self.ground, &was, &asked).await;
            pending.extend(asked.into_iter().map(|(ask, _)| ask));
        }
        for round in 1..=rounds {
            let before = Before { is_healthy, owner: self.ground.owner() };
            let asked = if round == 1 {
                let ask = Ask::of(&self.ground.case, (aim.change.kind)(), 30);
                let is_followed = self.choices.percent(30);
                self.aimed(aim.change.name, ask, Some((aim.step, aim.fault, is_followed)), random).await
            } else {
                self.round(round, random).await
            };
            if !self.is_at_rest().await {
                return;
            }
            is_healthy = rest::check(&self.ground, &before, &asked).await;
            pending.extend(asked.into_iter().map(|(ask, _)| ask.again(&self.ground.case)));
            // Now and then somebody goes on with it as it is.
            if !is_healthy && (round == rounds || self.choices.percent(80)) {
                is_healthy = rest::mend(&self.ground, &pending, &mut self.choices).await;
                if !is_healthy {
                    return;
                }
            }
            if is_healthy {
                pending.clear();
            }
        }
    }

    /// One request, of which nobody takes leave, while one thing goes wrong at this kind of step, perhaps followed by another.
    async fn aimed(
        &mut self,
        change: &'static str,
        ask: Ask,
        what: Option<(Step, Fault, bool)>,
        random: &Random,
    ) -> Vec<(Ask, Option<Ended>)> {
        let mine = &self.ground.mine;
        mine.begin(change.to_owned());
        if let Some((step, fault, is_followed)) = what {
            mine.lay_at(step, fault, is_followed, random.of(change));
        }
        let (world, asked, most) = (Arc::clone(&self.world), ask.clone(), self.longest());
        let patient = async move { (0, send(&world, "caller-0", &asked, None, None, most).await) };
        let mut callers = JoinSet::new();
        callers.spawn(patient);
        let ends = self.ends(callers, 1, NEVER).await;
        self.ground.mine.lift();
        vec![ask].into_iter().zip(ends).collect()
    }

    /// Some requests at once, while things go wrong; then all is well again, and there is a server.
    async fn round(&mut self, round: u64, random: &Random) -> Vec<(Ask, Option<Ended>)> {
        let count = if self.choices.percent(75) { 1 } else { self.choices.between(2, 3) };
        let asks: Vec<Ask> = (0..count).map(|_| Ask::make(&self.ground.case, self.ground.owner(), &mut self.choices)).collect();
        self.world.journal.event("round", format_args!("{round}: {} requests", asks.len()));
        let is_over = Arc::new(AtomicBool::new(false));
        let mut troubles = JoinSet::new();
        // One thing at one step, anything at any time, both, or nothing.
        let kind = self.choices.below(100);
        self.ground.mine.begin(match asks.as_slice() {
            [ask] => ask.kind.name(&self.ground.case),
            _ => "several at once".to_owned(),
        });
        if kind < 55 {
            self.ground.mine.lay(random.of(&format!("mine {round}")));
        }
        self.ground.set_well(false);
        if (45..85).contains(&kind) {
            let (world, is_over) = (Arc::clone(&self.world), Arc::clone(&is_over));
            let (own, until) = (random.of(&format!("faults {round}")), Instant::now() + Duration::from_secs(240));
            troubles.spawn(async move { faults::happen(world, own, until, &PAUSES, || is_over.load(Ordering::Relaxed)).await });
            sleep(self.choices.millis(0, 2_000)).await;
        }
        let mut callers = JoinSet::new();
        for (index, ask) in asks.iter().enumerate() {
            let (world, ask, own) = (Arc::clone(&self.world), ask.clone(), random.of(&format!("caller {round} {index}")));
            let most = self.longest();
            callers.spawn(async move { (index, call(&world, index, &ask, own, most).await) });
        }
        let killed_after = if self.choices.percent(8) { self.choices.millis(0, 6_000) } else { NEVER };
        let ends = self.ends(callers, asks.len(), killed_after).await;
        self.ground.mine.lift();
        self.ground.set_well(true);
        is_over.store(true, Ordering::Relaxed);
        while troubles.join_next().await.is_some() {}
        asks.into_iter().zip(ends).collect()
    }

    /// How each of so many requests ends, as far as its caller hears of it. The process may be killed meanwhile.
    async fn ends(
        &mut self,
        mut callers: JoinSet<(usize, Option<Ended>)>,
        count: usize,
        killed_after: Duration,
    ) -> Vec<Option<Ended>> {
        let killed = Instant::now() + killed_after;
        let mut ends: Vec<Option<Ended>> = vec![None; count];
        loop {
            let ground = Arc::clone(&self.ground);
            let ended = tokio::select! {
                biased;
                () = ground.mine.kill.notified() => {
                    self.kill().await;
                    continue;
                }
                ended = callers.join_next() => ended,
                () = sleep_until(killed), if self.server.is_some() && killed > Instant::now() => {
                    self.kill().await;
                    continue;
                }
            };
            let Some(ended) = ended else { break };
            match ended {
                Ok((index, ended)) => {
                    if let Some(place) = ends.get_mut(index) {
                        *place = ended;
                    }
                }
                Err(error) => self.world.journal.violation("nothing panics", error),
            }
        }
        ends
    }

    /// The server's process ends without a word, and another one begins after a while.
    async fn kill(&mut self) {
        let Some(running) = self.server.take() else { return };
        self.world.journal.event("faults", "the server is killed");
        self.world.journal.count("fault", "server killed");
        running.kill(&self.world);
        sleep(self.choices.millis(0, 40_000)).await;
        self.world.network.revive(SERVER);
        self.start();
    }

    /// Waits until nothing is under way; whether there is a server with nothing under way.
    async fn is_at_rest(&self) -> bool {
        let Some(Running { server, .. }) = &self.server else { return false };
        let until = Instant::now() + self.longest();
        while server.load() != Load::default() && Instant::now() < until {
            sleep(Duration::from_millis(500)).await;
        }
        let load = server.load();
        if load != Load::default() {
            self.world.journal.violation("all is given back", format_args!("{load:?}"));
            return false;
        }
        self.ground.set_quiet(true);
        sleep(LEASES).await;
        self.ground.set_quiet(false);
        true
    }
}

/// One request of a caller, who may leave; how it ended, if the caller has heard of it.
async fn call(world: &World, index: usize, ask: &Ask, mut random: Random, most: Duration) -> Option<Ended> {
    let host = format!("caller-{index}");
    sleep(random.millis(0, 1_500)).await;
    let wait = match random.below(10) {
        0 => Some(random.millis(20, 2_000)),
        1 | 2 => Some(random.millis(2_000, 30_000)),
        _ => None,
    };
    let leaves = random.percent(20).then(|| random.millis(0, 4_000));
    send(world, &host, ask, wait, leaves, most).await
}

/// One request of a caller.
async fn send(
    world: &World,
    host: &str,
    ask: &Ask,
    wait: Option<Duration>,
    leaves: Option<Duration>,
    most: Duration,
) -> Option<Ended> {
    world.journal.event(host, format_args!("{:?}, waits {wait:?}, leaves after {leaves:?}", ask.kind));
    world.journal.count("request", ask.method());
    let end = world.network.connect(host, &format!("{SERVER}:15999")).await.ok()?;
    let client = Client::new(end).await.ok()?;
    let begun = Instant::now();
    let most = wait.map_or(most, |wait| wait.min(most)) + Duration::from_millis(500);
    let limit = leaves.map_or(most, |leaves| leaves.min(most));
    let Ok(outcome) = timeout(limit, client.call(ask.path, &ask.bytes, wait)).await else {
        if limit == most {
            let text = format_args!("{:?} has no answer after {:?}, it waits {wait:?}", ask.kind, begun.elapsed());
            world.journal.violation("nothing hangs", text);
        }
        world.journal.event(host, "goes away");
        world.journal.count("reply", "caller gone");
        return None;
    };
    match outcome {
        Ok(ended) => {
            world.journal.count("reply", format!("{} code {}", ask.method(), ended.code));
            world.journal.event(host, format_args!("code {} after {:?}: {}", ended.code, begun.elapsed(), first_words(&ended)));
            Some(ended)
        }
        Err(error) => {
            world.journal.event(host, format_args!("broken off: {error}"));
            world.journal.count("reply", "broken off");
            None
        }
    }
}

/// The beginning of what an error says, without the hour of this machine that may be in a lock's holder.
fn first_words(ended: &Ended) -> String {
    let line = ended.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if line.contains("lock") { "about a lock".to_owned() } else { line.chars().take(400).collect() }
}
