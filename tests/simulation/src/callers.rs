//! Those who ask: each on a host of its own with a connection to the server, some with deadlines, some who leave, some who repeat.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use vtflow_planner::{Effect, rpc};

use crate::{
    checks::Checks,
    random::Random,
    replies,
    requests::{self, Request},
    wire::{Client, Ended},
    world::{SERVER, World},
};

/// What all callers have in common.
pub(crate) struct Callers {
    pub(crate) world: Arc<World>,
    pub(crate) checks: Arc<Checks>,
    /// `--request-timeout` of the server.
    pub(crate) request_time: Duration,
    pub(crate) writes_percent: u64,
    /// Requests that are still to be made.
    pub(crate) left: AtomicU64,
}

/// What a caller does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stays {
    ToTheEnd,
    /// It takes its request back after a while.
    Cancels(Duration),
    /// It closes its connection.
    Closes(Duration),
    /// It is gone, and nobody says so.
    Vanishes(Duration),
}

/// A server that is at its deadline has what is known then on the way; the network takes up to 43 ms each way.
const LATE: Duration = Duration::from_millis(500);
/// A change that has been begun goes on after the request's time: what is under way, the look at what became of it, its locks.
const CHANGE: Duration = Duration::from_secs(180);

impl Callers {
    /// Whether there is nothing more to ask.
    pub(crate) fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// One caller, until that moment, and until its last request has ended.
    pub(crate) async fn call(self: Arc<Self>, index: u64, mut random: Random, until: Instant) {
        let host = format!("caller-{index}");
        let pause = random.pick(&[500, 5_000, 30_000]).copied().unwrap_or(5_000);
        let mut client: Option<Client> = None;
        let mut number = index * 100_000;
        loop {
            sleep(random.millis(0, pause)).await;
            let takes_one = |left: u64| left.checked_sub(1);
            if Instant::now() >= until || self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes_one).is_err() {
                return;
            }
            number += 1;
            let connected = match client.take() {
                Some(client) => Some(client),
                None => match self.world.network.connect(&host, &format!("{SERVER}:15999")).await {
                    Ok(end) => Client::new(end).await.ok(),
                    Err(_) => None,
                },
            };
            let Some(connected) = connected else { continue };
            let request = requests::make(&self.world, &mut random, number, self.writes_percent);
            if self.ask(&host, &connected, &request, &mut random).await {
                client = Some(connected);
            }
        }
    }

    /// One request; whether the connection is still good.
    async fn ask(&self, host: &str, client: &Client, request: &Request, random: &mut Random) -> bool {
        let method = request.served.path.rsplit('/').next().unwrap_or_default();
        let wait = match random.below(10) {
            0 | 1 => None,
            2 | 3 => Some(random.millis(20, 2_000)),
            4..=7 => Some(random.millis(2_000, 30_000)),
            _ => Some(random.millis(60_000, 120_000)),
        };
        let stays = match random.below(100) {
            0..=11 => Stays::Cancels(random.millis(0, 8_000)),
            12..=16 => Stays::Closes(random.millis(0, 8_000)),
            17..=19 => Stays::Vanishes(random.millis(0, 8_000)),
            _ => Stays::ToTheEnd,
        };
        let times = if random.percent(15) { random.between(2, 4) } else { 1 };
        for _ in 0..times {
            self.world.journal.count("request", method);
            if request.served.effect == Effect::Write {
                self.checks.change_asked(request.mark.as_deref(), if request.name.is_empty() { "all" } else { &request.name });
            }
            if request.served.path == rpc::WORKFLOW_DELETE {
                self.checks.deletion_asked();
            }
        }
        self.world.journal.event(
            host,
            format_args!("{method} {} {} {} times, waits {wait:?}, {stays:?}", request.keyspace, request.name, times),
        );
        let asked = Instant::now();
        let calls = join_all((0..times).map(|_| self.one(host, client, request, times > 1, wait, asked)));
        match stays {
            Stays::ToTheEnd => calls.await.into_iter().all(|is_good| is_good),
            Stays::Cancels(after) => {
                if timeout(after, calls).await.is_err() {
                    self.world.journal.event(host, "takes it back");
                    self.world.journal.count("reply", "taken back by its caller");
                }
                true
            }
            Stays::Closes(after) => {
                if timeout(after, calls).await.is_err() {
                    self.world.journal.event(host, "goes away");
                    self.world.journal.count("reply", "caller gone");
                }
                client.close();
                false
            }
            Stays::Vanishes(after) => {
                if timeout(after, calls).await.is_err() {
                    self.world.journal.event(host, "vanishes");
                    self.world.journal.count("reply", "caller vanished");
                }
                client.connection.freeze(true);
                false
            }
        }
    }

    async fn one(
        &self,
        host: &str,
        client: &Client,
        request: &Request,
        is_repeated: bool,
        wait: Option<Duration>,
        asked: Instant,
    ) -> bool {
        let method = request.served.path.rsplit('/').next().unwrap_or_default();
        let own = if request.served.effect == Effect::Write { self.request_time + CHANGE } else { self.request_time };
        let most = wait.map_or(own, |wait| wait.min(own)) + LATE;
        let journal = &self.world.journal;
        let outcome = timeout(most, client.call(request.served.path, &request.bytes, wait)).await;
        let took = asked.elapsed();
        match outcome {
            Ok(Ok(ended)) => {
                journal.count("reply", format!("code {}", ended.code));
                journal.event(host, format_args!("{method}: code {} after {took:?}, {}", ended.code, sizes(&ended)));
                replies::check(&self.world, request, is_repeated, &ended, asked);
                true
            }
            Ok(Err(error)) => {
                journal.count("reply", "broken off");
                journal.violation("the server answers", format_args!("{method} of {host} broke off: {error}"));
                false
            }
            Err(_) => {
                journal.violation(
                    "nothing hangs",
                    format_args!("{method} of {host} has no answer after {took:?}, it waits {wait:?}"),
                );
                false
            }
        }
    }
}

/// What a reply comes to, without the hour of this machine that may be in a lock's holder.
fn sizes(ended: &Ended) -> String {
    let bytes: usize = ended.messages.iter().map(bytes::Bytes::len).sum();
    let failures = ended.trailers.get("vtflow-failures").map_or(0, http::HeaderValue::len);
    format!("{} messages of {bytes} bytes, failures of {failures}", ended.messages.len())
}
