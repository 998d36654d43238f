//! One thing that goes wrong at one step of a change, whichever it is: what was thought of as a step is not left out by chance.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{sync::Notify, time::Duration};

use crate::{
    etcd::{Mood, store::Why},
    random::Random,
    tablets::{Strike, Tablet},
    world::World,
};

/// What goes wrong, and when.
#[derive(Default)]
pub(crate) struct Mine {
    laid: Mutex<Option<Laid>>,
    /// Who is told that the server's process ends.
    pub(crate) kill: Notify,
}

struct Laid {
    /// Steps until then.
    left: u64,
    what: Trouble,
    random: Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Call(Strike),
    Kill,
    LeasesTaken,
    PrimaryMoves,
    EtcdGone,
}

/// Steps of the longest change, about.
const STEPS: u64 = 48;

impl Mine {
    /// Something goes wrong at a step from now on.
    pub(crate) fn lay(&self, mut random: Random) {
        let troubles = [
            Trouble::Call(Strike::Before),
            Trouble::Call(Strike::After),
            Trouble::Call(Strike::After),
            Trouble::Call(Strike::Hangs),
            Trouble::Kill,
            Trouble::Kill,
            Trouble::LeasesTaken,
            Trouble::PrimaryMoves,
            Trouble::EtcdGone,
        ];
        let what = random.pick(&troubles).copied().unwrap_or(Trouble::Kill);
        let left = random.between(1, STEPS);
        *self.laid.lock().unwrap_or_else(PoisonError::into_inner) = Some(Laid { left, what, random });
    }

    /// Nothing goes wrong any more.
    pub(crate) fn lift(&self) {
        *self.laid.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A step has come to a tablet.
    pub(crate) fn step(&self, world: &Arc<World>, tablet: &Tablet) -> Option<Strike> {
        let mut laid = self.laid.lock().unwrap_or_else(PoisonError::into_inner);
        let left = laid.as_mut().map(|laid| {
            laid.left = laid.left.saturating_sub(1);
            laid.left
        })?;
        if left > 0 {
            return None;
        }
        let Laid { what, mut random, .. } = laid.take()?;
        drop(laid);
        world.journal.event("faults", format_args!("at this step of {}: {what:?}", tablet.alias));
        world.journal.count("fault", format!("at a step: {what:?}"));
        match what {
            Trouble::Call(strike) => return Some(strike),
            Trouble::Kill => self.kill.notify_one(),
            Trouble::LeasesTaken => {
                let leases = world.global.store().clients_leases();
                for lease in leases {
                    let _ = world.global.store().revoke(lease, Why::Taken);
                }
            }
            Trouble::PrimaryMoves => {
                let (world, shard) = (Arc::clone(world), Arc::clone(&tablet.shard));
                tokio::spawn(async move { world.reparent(shard, &mut random).await });
            }
            Trouble::EtcdGone => {
                let (etcd, lasts) = (Arc::clone(&world.global), random.millis(100, 40_000));
                let all = 0..etcd.members.len();
                all.clone().for_each(|member| etcd.set_mood(member, Mood::Alone));
                tokio::spawn(async move {
                    tokio::time::sleep(lasts.max(Duration::from_millis(1))).await;
                    all.for_each(|member| etcd.set_mood(member, Mood::Well));
                });
            }
        }
        None
    }
}
