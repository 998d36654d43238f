//! One thing that goes wrong at one step of a change, or one and then another: what was thought of as a step is not left out by chance.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::Notify,
    time::{Duration, sleep},
};

use crate::{
    etcd::{Mood, store::Why},
    random::Random,
    strike::Strike,
    tablets::Shard,
    traffic::kinds::Step,
    world::World,
};

/// What goes wrong at a step: the kinds that issue 16 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The connection breaks before it is done, or it is refused.
    Fails,
    Hangs,
    AnswerLost,
    /// The server's process, before it is done or after it.
    Killed,
    LockLost,
    EtcdGone,
    PrimaryMoved,
}

/// All of them.
pub(crate) const FAULTS: [Fault; 7] =
    [Fault::Fails, Fault::Hangs, Fault::AnswerLost, Fault::Killed, Fault::LockLost, Fault::EtcdGone, Fault::PrimaryMoved];

impl Fault {
    /// As tables have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fails => "fails",
            Self::Hangs => "hangs",
            Self::AnswerLost => "answer lost",
            Self::Killed => "killed",
            Self::LockLost => "lock lost",
            Self::EtcdGone => "etcd gone",
            Self::PrimaryMoved => "primary moved",
        }
    }
}

/// What goes wrong, and when.
#[derive(Default)]
pub(crate) struct Mine {
    state: Mutex<State>,
    /// Who is told that the server's process ends.
    pub(crate) kill: Notify,
}

#[derive(Default)]
struct State {
    /// The kind of change that is asked for.
    change: String,
    laid: Option<Laid>,
    /// Steps that have come since this kind of change is asked for.
    came: BTreeMap<Step, u64>,
}

struct Laid {
    at: At,
    fault: Fault,
    /// After it something goes wrong at another step.
    is_followed: bool,
    random: Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The step of this kind after so many of them.
    Of(Step, u64),
    /// After so many steps of any kind.
    Any(u64),
}

/// Steps of the longest change, about.
const STEPS: u64 = 48;

/// How far behind the first thing that goes wrong the second one is, at most: in what takes back, or looks again.
const NEXT: u64 = 10;

impl Mine {
    /// From now on steps are those of this kind of change.
    pub(crate) fn begin(&self, change: String) {
        *self.state() = State { change, ..State::default() };
    }

    /// Something goes wrong at any step from now on.
    pub(crate) fn lay(&self, mut random: Random) {
        let fault = random.pick(&FAULTS).copied().unwrap_or(Fault::Killed);
        let (at, is_followed) = (At::Any(random.between(0, STEPS - 1)), random.percent(30));
        self.state().laid = Some(Laid { at, fault, is_followed, random });
    }

    /// This goes wrong at a step of this kind, the first one or a later one.
    pub(crate) fn lay_at(&self, step: Step, fault: Fault, is_followed: bool, mut random: Random) {
        let after = random.pick(&[0, 0, 0, 1, 1, 2]).copied().unwrap_or(0);
        self.state().laid = Some(Laid { at: At::Of(step, after), fault, is_followed, random });
    }

    /// Nothing goes wrong any more, and steps are nobody's.
    pub(crate) fn lift(&self) {
        *self.state() = State::default();
    }

    /// A step has come, to a host of this shard if it is a tablet's.
    pub(crate) fn step(&self, world: &Arc<World>, host: &str, shard: Option<&Arc<Shard>>, step: Step) -> Option<Strike> {
        let mut state = self.state();
        let change = state.change.clone();
        if step != Step::Look && !change.is_empty() {
            let came = state.came.entry(step).or_default();
            *came += 1;
            if *came == 1 {
                world.journal.count("came", format!("{change} | {}", step.name()));
            }
        }
        let laid = state.laid.as_mut()?;
        let left = match &mut laid.at {
            At::Of(of, _) if *of != step => return None,
            At::Of(_, left) | At::Any(left) => left,
        };
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let Laid { fault, is_followed, mut random, .. } = state.laid.take()?;
        if is_followed {
            let next = random.pick(&FAULTS).copied().unwrap_or(Fault::Fails);
            let at = At::Any(random.between(0, NEXT));
            state.laid = Some(Laid { at, fault: next, is_followed: false, random: random.of("next") });
        }
        drop(state);
        world.journal.event("faults", format_args!("at this step of {host}, {}: {fault:?}", step.name()));
        world.journal.count("step", format!("{change} | {} | {}", step.name(), fault.name()));
        Self::strike(world, fault, shard, random)
    }

    /// Does what does not happen to this call alone; else says what does.
    fn strike(world: &Arc<World>, fault: Fault, shard: Option<&Arc<Shard>>, mut random: Random) -> Option<Strike> {
        let is_first = random.percent(50);
        match fault {
            Fault::Fails if is_first => return Some(Strike::Before),
            Fault::Fails => return Some(Strike::Refuses),
            Fault::Hangs => return Some(Strike::Hangs),
            Fault::AnswerLost => return Some(Strike::After),
            Fault::Killed if is_first => return Some(Strike::KillsBefore),
            Fault::Killed => return Some(Strike::KillsAfter),
            Fault::LockLost => {
                let leases = world.global.store().clients_leases();
                for lease in leases {
                    let _ = world.global.store().revoke(lease, Why::Taken);
                }
            }
            Fault::PrimaryMoved => {
                let shard = shard.or_else(|| random.pick(&world.shards)).cloned()?;
                let world = Arc::clone(world);
                tokio::spawn(async move { world.reparent(shard, &mut random).await });
            }
            Fault::EtcdGone => {
                let (world, lasts) = (Arc::clone(world), random.millis(100, 40_000));
                tokio::spawn(async move { Self::without_etcd(&world, is_first, lasts).await });
            }
        }
        None
    }

    /// For so long etcd does not answer, or nobody is there.
    async fn without_etcd(world: &World, is_there: bool, lasts: Duration) {
        let etcd = &world.global;
        for (index, host) in etcd.members.iter().enumerate() {
            if is_there {
                etcd.set_mood(index, Mood::Alone);
            } else {
                world.network.kill(host);
            }
        }
        sleep(lasts).await;
        for (index, host) in etcd.members.iter().enumerate() {
            etcd.set_mood(index, Mood::Well);
            world.network.revive(host);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
