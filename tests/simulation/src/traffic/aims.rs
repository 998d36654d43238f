//! What is aimed at: each kind of change, at each kind of its steps, each kind of fault, all as often.

use std::collections::{BTreeMap, BTreeSet};

use vtflow_planner::proto::topodata::TabletType;

use crate::traffic::{
    asks::{ALL, Kind, READS, WRITES},
    case::{self, Case},
    kinds::Step,
    mine::{FAULTS, Fault},
};

/// A kind of change: what is asked for, of what there is then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) name: &'static str,
    pub(crate) case: Case,
    /// What is done before.
    pub(crate) before: Option<Before>,
    pub(crate) kind: fn() -> Kind,
    /// Its steps, when nothing goes wrong.
    pub(crate) steps: &'static [Step],
}

/// What has been done before.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Before {
    /// This, wholly.
    Done(fn() -> Kind),
    /// This, until the server's process ended when a step of this kind was done.
    Stopped(fn() -> Kind, Step),
}

/// What goes wrong in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    pub(crate) change: Change,
    pub(crate) step: Step,
    pub(crate) fault: Fault,
}

const fn of(name: &'static str, case: Case, kind: fn() -> Kind, steps: &'static [Step]) -> Change {
    Change { name, case, before: None, kind, steps }
}

const fn after(name: &'static str, case: Case, before: Before, kind: fn() -> Kind, steps: &'static [Step]) -> Change {
    Change { name, case, before: Some(before), kind, steps }
}

fn switched(types: &[TabletType], is_back: bool) -> Kind {
    Kind::Switch { types: types.to_vec(), is_back, has_reverse: true, cells: Vec::new() }
}

fn all() -> Kind {
    switched(&ALL, false)
}

fn writes() -> Kind {
    switched(&WRITES, false)
}

fn reads() -> Kind {
    switched(&READS, false)
}

fn all_back() -> Kind {
    switched(&ALL, true)
}

fn writes_back() -> Kind {
    switched(&WRITES, true)
}

fn reads_back() -> Kind {
    switched(&READS, true)
}

fn mirror() -> Kind {
    Kind::Mirror { percent: 10 }
}

fn no_mirror() -> Kind {
    Kind::Mirror { percent: 0 }
}

fn complete() -> Kind {
    Kind::Complete { keeps_data: false }
}

fn cancel() -> Kind {
    Kind::Cancel { keeps_data: false }
}

fn repair_back() -> Kind {
    Kind::Repair { direction: "back", refreshes: false }
}

fn repair_forward() -> Kind {
    Kind::Repair { direction: "forward", refreshes: false }
}

/// Steps by their names.
macro_rules! steps {
    ($($name:ident)*) => { &[$(Step::$name),*] };
}

const MOVE_ALL: &[Step] = steps!(
    Lock Refresh Permissions Rules ServeRules DenyTables AllowTables LockTables Pause Nudge Position WaitForPosition
    StopStreams CreateStream WriteJournal StartStreams Freeze ForgetDiffs Unlock
);

const MOVE_READS: &[Step] = steps!(
    Lock Refresh Rules ServeRules Unlock
);

const MOVE_WRITES: &[Step] = steps!(
    Lock Refresh Permissions Rules ServeRules DenyTables AllowTables LockTables Pause Nudge Position WaitForPosition
    StopStreams CreateStream WriteJournal StartStreams Freeze ForgetDiffs Unlock
);

const MOVE_MIRROR: &[Step] =
    &[Step::Lock, Step::MirrorRules, Step::ServeRules, Step::DenyTables, Step::AllowTables, Step::Refresh, Step::Unlock];

const MOVE_MIRRORED: &[Step] = steps!(
    Lock Refresh Permissions MirrorRules Rules ServeRules DenyTables AllowTables LockTables Pause Nudge Position
    WaitForPosition StopStreams CreateStream WriteJournal StartStreams Freeze ForgetDiffs Unlock
);

const MOVE_CANCEL: &[Step] = steps!(
    Lock StopStreams ListTables DropTables VSchema AllowTables Refresh Rules ServeRules DeleteStreams ForgetDiffs
    ForgetLog Unlock
);

const MOVE_COMPLETE: &[Step] = steps!(
    Lock ListTables DropTables VSchema AllowTables Refresh DeleteStreams ForgetDiffs ForgetLog Rules ServeRules Unlock
);

const MOVE_ALL_BACK: &[Step] = steps!(
    Lock Refresh Permissions Rules ServeRules DenyTables AllowTables LockTables Pause Nudge Position WaitForPosition
    StopStreams CreateStream WriteJournal DeleteStreams StartStreams Freeze ForgetDiffs Unlock
);

const MOVE_WRITES_BACK: &[Step] = steps!(
    Lock Refresh Permissions Rules ServeRules DenyTables AllowTables LockTables Pause Nudge Position WaitForPosition
    StopStreams CreateStream WriteJournal DeleteStreams StartStreams Freeze ForgetDiffs Unlock
);

const MOVE_ALL_AGAIN: &[Step] = steps!(
    Lock Refresh Permissions Rules ServeRules DenyTables AllowTables LockTables Pause Nudge Position WaitForPosition
    StopStreams CreateStream WriteJournal DeleteStreams StartStreams Freeze ForgetDiffs Unlock
);

const MOVE_GO_ON: &[Step] = steps!(
    Lock Refresh Permissions Rules ServeRules DenyTables AllowTables LockTables Pause Nudge Position WaitForPosition
    StopStreams CreateStream WriteJournal DeleteStreams StartStreams Freeze ForgetDiffs Unlock
);

const MOVE_GO_ON_BACK: &[Step] = steps!(
    Lock Refresh Permissions Rules ServeRules DenyTables AllowTables LockTables Pause Nudge Position WaitForPosition
    StopStreams CreateStream WriteJournal DeleteStreams StartStreams Freeze ForgetDiffs Unlock
);

const MOVE_FINISH: &[Step] = steps!(
    Lock Refresh Rules ServeRules StartStreams Freeze ForgetDiffs Unlock
);

const MOVE_FINISH_BACK: &[Step] = steps!(
    Lock Refresh Position WriteJournal Rules ServeRules DeleteStreams StartStreams Freeze ForgetDiffs Unlock
);

const MOVE_TAKE_BACK: &[Step] = steps!(
    Lock Rules ServeRules AllowTables DenyTables Refresh StartStreams DeleteStreams Unlock
);

const MOVE_REPAIR: &[Step] =
    &[Step::Lock, Step::AllowTables, Step::DenyTables, Step::Refresh, Step::StartStreams, Step::DeleteStreams, Step::Unlock];

const RESHARD_ALL: &[Step] = steps!(
    Lock Refresh Permissions ServeReads CloseShards OpenShards Nudge Position WaitForPosition StopStreams CreateStream
    WriteJournal ServeWrites Serving StartStreams Freeze ForgetDiffs Unlock
);

const RESHARD_READS: &[Step] = steps!(
    Lock Refresh ServeReads Unlock
);

const RESHARD_WRITES: &[Step] = steps!(
    Lock Refresh Permissions CloseShards OpenShards Nudge Position WaitForPosition StopStreams CreateStream WriteJournal
    ServeWrites Serving StartStreams Freeze ForgetDiffs Unlock
);

const RESHARD_CANCEL: &[Step] = steps!(
    Lock StopStreams ListTables DropTables ServeRules DeleteStreams ForgetDiffs ForgetLog Unlock
);

const RESHARD_COMPLETE: &[Step] =
    &[Step::Lock, Step::ServeRules, Step::DeleteStreams, Step::ForgetDiffs, Step::ForgetLog, Step::ShardRecords, Step::Unlock];

const RESHARD_ALL_BACK: &[Step] = steps!(
    Lock Refresh Permissions ServeReads CloseShards OpenShards Nudge Position WaitForPosition StopStreams CreateStream
    WriteJournal DeleteStreams ServeWrites Serving StartStreams Freeze ForgetDiffs Unlock
);

const RESHARD_WRITES_BACK: &[Step] = steps!(
    Lock Refresh Permissions CloseShards OpenShards Nudge Position WaitForPosition StopStreams CreateStream WriteJournal
    DeleteStreams ServeWrites Serving StartStreams Freeze ForgetDiffs Unlock
);

const RESHARD_ALL_AGAIN: &[Step] = steps!(
    Lock Refresh Permissions ServeReads CloseShards OpenShards Nudge Position WaitForPosition StopStreams CreateStream
    WriteJournal DeleteStreams ServeWrites Serving StartStreams Freeze ForgetDiffs Unlock
);

const RESHARD_GO_ON: &[Step] = steps!(
    Lock Refresh Permissions CloseShards OpenShards Nudge Position WaitForPosition StopStreams CreateStream WriteJournal
    DeleteStreams ServeWrites Serving StartStreams Freeze ForgetDiffs Unlock
);

const RESHARD_GO_ON_BACK: &[Step] = steps!(
    Lock Refresh Permissions CloseShards OpenShards Nudge Position WaitForPosition StopStreams CreateStream WriteJournal
    DeleteStreams ServeWrites Serving StartStreams Freeze ForgetDiffs Unlock
);

const RESHARD_FINISH: &[Step] =
    &[Step::Lock, Step::ServeWrites, Step::Serving, Step::StartStreams, Step::Freeze, Step::ForgetDiffs, Step::Unlock];

const RESHARD_FINISH_BACK: &[Step] = steps!(
    Lock Position WriteJournal DeleteStreams ServeWrites Serving StartStreams Freeze ForgetDiffs Unlock
);

const RESHARD_TAKE_BACK: &[Step] =
    &[Step::Lock, Step::OpenShards, Step::Refresh, Step::ServeReads, Step::StartStreams, Step::DeleteStreams, Step::Unlock];

const RESHARD_REPAIR: &[Step] =
    &[Step::Lock, Step::OpenShards, Step::Refresh, Step::StartStreams, Step::DeleteStreams, Step::Unlock];

const RESHARD_REPAIR_FORWARD: &[Step] = steps!(
    Lock Freeze StartStreams Unlock
);

/// All kinds of changes.
pub(crate) const CHANGES: &[Change] = &[
    of("move: switch", case::MOVES, all, MOVE_ALL),
    of("move: reads", case::MOVES, reads, MOVE_READS),
    of("move: writes", case::MOVE_READS_SWITCHED, writes, MOVE_WRITES),
    of("move: mirror", case::MOVES, mirror, MOVE_MIRROR),
    after("move: mirror no more", case::MOVES, Before::Done(mirror), no_mirror, MOVE_MIRROR),
    after("move: switch of what is mirrored", case::MOVES, Before::Done(mirror), all, MOVE_MIRRORED),
    of("move: cancel", case::MOVES, cancel, MOVE_CANCEL),
    after("move: cancel again", case::MOVES, Before::Stopped(cancel, Step::DropTables), cancel, MOVE_CANCEL),
    of("move: back", case::MOVE_SWITCHED, all_back, MOVE_ALL_BACK),
    of("move: reads back", case::MOVE_SWITCHED, reads_back, MOVE_READS),
    of("move: writes back", case::MOVE_SWITCHED, writes_back, MOVE_WRITES_BACK),
    of("move: complete", case::MOVE_SWITCHED, complete, MOVE_COMPLETE),
    after("move: complete again", case::MOVE_SWITCHED, Before::Stopped(complete, Step::DropTables), complete, MOVE_COMPLETE),
    after("move: switch after a way back", case::MOVE_SWITCHED, Before::Done(all_back), all, MOVE_ALL_AGAIN),
    after("move: go on before the journal", case::MOVES, Before::Stopped(all, Step::CreateStream), all, MOVE_GO_ON),
    after("move: go on behind the journal", case::MOVES, Before::Stopped(all, Step::WriteJournal), all, MOVE_FINISH),
    after("move: take back", case::MOVES, Before::Stopped(all, Step::CreateStream), all_back, MOVE_TAKE_BACK),
    after("move: repair back", case::MOVES, Before::Stopped(all, Step::CreateStream), repair_back, MOVE_REPAIR),
    after("move: repair what is half closed", case::MOVES, Before::Stopped(all, Step::DenyTables), repair_back, MOVE_REPAIR),
    after("move: way back again", case::MOVE_SWITCHED, Before::Stopped(all_back, Step::StopStreams), all_back, MOVE_GO_ON_BACK),
    after(
        "move: way back behind its journal",
        case::MOVE_SWITCHED,
        Before::Stopped(all_back, Step::WriteJournal),
        all_back,
        MOVE_FINISH_BACK,
    ),
    of("reshard: switch", case::RESHARDS, all, RESHARD_ALL),
    of("reshard: reads", case::RESHARDS, reads, RESHARD_READS),
    of("reshard: writes", case::RESHARDS, writes, RESHARD_WRITES),
    of("reshard: cancel", case::RESHARDS, cancel, RESHARD_CANCEL),
    of("reshard: back", case::RESHARD_SWITCHED, all_back, RESHARD_ALL_BACK),
    of("reshard: reads back", case::RESHARD_SWITCHED, reads_back, RESHARD_READS),
    of("reshard: writes back", case::RESHARD_SWITCHED, writes_back, RESHARD_WRITES_BACK),
    of("reshard: complete", case::RESHARD_SWITCHED, complete, RESHARD_COMPLETE),
    after(
        "reshard: complete again",
        case::RESHARD_SWITCHED,
        Before::Stopped(complete, Step::ShardRecords),
        complete,
        RESHARD_COMPLETE,
    ),
    after("reshard: switch after a way back", case::RESHARD_SWITCHED, Before::Done(all_back), all, RESHARD_ALL_AGAIN),
    after("reshard: go on before the journal", case::RESHARDS, Before::Stopped(all, Step::CreateStream), all, RESHARD_GO_ON),
    after("reshard: go on behind the journal", case::RESHARDS, Before::Stopped(all, Step::WriteJournal), all, RESHARD_FINISH),
    after("reshard: take back", case::RESHARDS, Before::Stopped(all, Step::CreateStream), all_back, RESHARD_TAKE_BACK),
    after("reshard: repair back", case::RESHARDS, Before::Stopped(all, Step::CreateStream), repair_back, RESHARD_REPAIR),
    after("reshard: repair forward", case::RESHARDS, Before::Stopped(all, Step::Freeze), repair_forward, RESHARD_REPAIR_FORWARD),
    after(
        "reshard: way back again",
        case::RESHARD_SWITCHED,
        Before::Stopped(all_back, Step::StopStreams),
        all_back,
        RESHARD_GO_ON_BACK,
    ),
    after(
        "reshard: way back behind its journal",
        case::RESHARD_SWITCHED,
        Before::Stopped(all_back, Step::WriteJournal),
        all_back,
        RESHARD_FINISH_BACK,
    ),
];

/// All that can be aimed at, each once.
pub(crate) fn all_aims() -> Vec<Aim> {
    let steps = CHANGES.iter().flat_map(|change| change.steps.iter().map(move |step| (*change, *step)));
    steps.flat_map(|(change, step)| FAULTS.map(|fault| Aim { change, step, fault })).collect()
}

impl Aim {
    /// What a seed aims at: of so many seeds in a row as there are aims, each at another one.
    pub(crate) fn of(seed: u64) -> Self {
        // No prime as large divides their number.
        const STRIDE: u64 = 1_000_003;
        let aims = all_aims();
        let count = aims.len() as u64;
        let place = usize::try_from(seed.wrapping_mul(STRIDE) % count.max(1)).unwrap_or(0);
        aims.get(place).copied().unwrap_or(Self { change: CHANGES[0], step: Step::Lock, fault: Fault::Killed })
    }
}

/// What was aimed at, hit, or never: made of a run's counts, or of those of many.
pub struct Coverage<'a>(pub &'a BTreeMap<(&'static str, String), u64>);

impl Coverage<'_> {
    fn count(&self, kind: &'static str, name: String) -> u64 {
        self.0.get(&(kind, name)).copied().unwrap_or(0)
    }

    /// A line for each kind of step of each kind of change, with how often each kind of fault met it; then what is amiss.
    pub fn lines(&self) -> Vec<String> {
        let heading: Vec<String> = FAULTS.iter().map(|fault| format!("{:>14}", fault.name())).collect();
        let mut lines = vec![format!("{:<44} {:<28}{}", "change", "step", heading.concat())];
        let (mut never, mut total) = (0, 0);
        for (change, step) in Self::pairs() {
            let met = FAULTS.map(|fault| self.count("step", format!("{change} | {step} | {}", fault.name())));
            never += met.iter().filter(|met| **met == 0).count();
            total += met.len();
            let cells: Vec<String> = met.iter().map(|met| format!("{met:>14}")).collect();
            lines.push(format!("{change:<44} {step:<28}{}", cells.concat()));
        }
        lines.push(format!("{} of {total} were met", total - never));
        let known: BTreeSet<(String, String)> = Self::pairs().into_iter().collect();
        let unknown = self.of_kind("came").filter(|pair| !known.contains(pair));
        let unknown = unknown.filter(|(change, _)| CHANGES.iter().any(|it| it.name == change));
        lines.extend(unknown.map(|(change, step)| format!("came, and is not aimed at: {change}: {step}")));
        let came: BTreeSet<(String, String)> = self.of_kind("came").collect();
        lines.extend(known.difference(&came).map(|(change, step)| format!("never came: {change}: {step}")));
        lines
    }

    fn pairs() -> Vec<(String, String)> {
        let of = |change: &Change| {
            change.steps.iter().map(|step| (change.name.to_owned(), step.name().to_owned())).collect::<Vec<_>>()
        };
        CHANGES.iter().flat_map(of).collect()
    }

    fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = (String, String)> {
        let of_kind = self.0.keys().filter(move |(of, _)| *of == kind);
        of_kind.filter_map(|(_, name)| name.split_once(" | ").map(|(change, step)| (change.to_owned(), step.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_seeds_as_there_are_aims_have_each_of_them_once() {
        let count = all_aims().len() as u64;
        let of = |seed| {
            let Aim { change, step, fault } = Aim::of(seed);
            (change.name, step, fault)
        };
        let aims: BTreeSet<_> = (0..count).map(of).collect();
        assert_eq!(aims.len() as u64, count);
    }
}
