//! Many clients at once on one server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::Mutex;
use vtflow_planner::rpc;

use crate::{
    client::{connect, unary_within},
    server::Server,
};

/// How many there are.
const CLIENTS: u32 = 200;

/// What they saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How long each answer took, ascending.
    pub(crate) times: Vec<Duration>,
    pub(crate) errors: Vec<String>,
    /// Processor time of the server.
    pub(crate) cpu: Duration,
    /// Its memory before and after, in bytes.
    pub(crate) memory: (u64, u64),
}

impl Seen {
    /// Answers for each second of a core's time.
    pub(crate) fn per_core_second(&self) -> f64 {
        let answers = u32::try_from(self.times.len()).unwrap_or(u32::MAX);
        f64::from(answers) / self.cpu.as_secs_f64().max(1e-9)
    }

    /// What so many of a hundred took at most.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let at = (self.times.len() * percent / 100).min(self.times.len().saturating_sub(1));
        self.times.get(at).copied().unwrap_or_default()
    }
}

/// What the clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All the same, every other one with half a minute of patience: equal reads may be one, as those of a page that many have open.
    TheSame,
    /// The same things in other bytes, by a field that no server knows: each is a read of its own.
    EachItsOwn,
}

/// 200 clients that ask again as soon as they have an answer.
pub(crate) async fn ask(server: &Server, request: &Bytes, asked: Asked, how_long: Duration) -> anyhow::Result<Seen> {
    let until = Instant::now() + how_long;
    let (watched, seen) = (server.watched(), Arc::new(Mutex::new(Seen::default())));
    let (before, (_, memory)) = (watched.cpu()?, watched.memory()?);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (address, seen) = (server.address.clone(), Arc::clone(&seen));
            let request = match asked {
                Asked::TheSame => request.clone(),
                Asked::EachItsOwn => with_unknown_field(request, number),
            };
            let wait = number.is_multiple_of(2).then_some(Duration::from_secs(30));
            tokio::spawn(async move {
                let channel = connect(&address).await?;
                while Instant::now() < until {
                    let started = Instant::now();
                    let outcome = unary_within(&channel, rpc::GET_WORKFLOWS, request.clone(), wait).await;
                    let took = started.elapsed();
                    let mut seen = seen.lock().await;
                    match outcome {
                        Ok(_) => seen.times.push(took),
                        Err(error) => seen.errors.push(error.to_string()),
                    }
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    let mut seen = std::mem::take(&mut *seen.lock().await);
    seen.times.sort_unstable();
    seen.cpu = watched.cpu()?.saturating_sub(before);
    seen.memory = (memory, watched.memory()?.1);
    Ok(seen)
}

/// A message with a field of the number 1,000 behind it, which Vitess's requests do not have.
fn with_unknown_field(message: &[u8], value: u32) -> Bytes {
    let mut bytes = BytesMut::from(message);
    prost::encoding::uint32::encode(1_000, &value, &mut bytes);
    bytes.freeze()
}
