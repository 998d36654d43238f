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
    steps: &'static [&'static [Step]],
}

impl Change {
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step> + use<> {
        self.steps.iter().flat_map(|steps| steps.iter().copied())
    }
}

/// What has been done before.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Before {
    /// This, wholly.
    Done(fn() -> Kind),
    /// This, until the server's process ended when a step of this kind was done.
    Stopped(fn() -> Kind, Step),
}

use Before::{Done, Stopped};

/// What goes wrong in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    pub(crate) change: Change,
    pub(crate) step: Step,
    pub(crate) fault: Fault,
}

const fn of(name: &'static str, case: Case, kind: fn() -> Kind, steps: &'static [&'static [Step]]) -> Change {
    Change { name, case, before: None, kind, steps }
}

const fn after(name: &'static str, case: Case, before: Before, kind: fn() -> Kind, steps: &'static [&'static [Step]]) -> Change {
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

const FRAME: &[Step] = steps!(Lock Unlock);
const PREPARE: &[Step] = steps!(Refresh Permissions);
const RULES: &[Step] = steps!(Rules ServeRules);
const TABLES: &[Step] = steps!(DenyTables AllowTables);
const CLOSE_TABLES: &[Step] = steps!(DenyTables AllowTables LockTables Pause);
const CLOSE_SHARDS: &[Step] = steps!(CloseShards OpenShards);
const SHARDS: &[Step] = steps!(ServeWrites Serving);
const COPY: &[Step] = steps!(
    Nudge Position WaitForPosition StopStreams CreateStream WriteJournal StartStreams Freeze ForgetDiffs
);
/// What ends with the streams.
const FORGET: &[Step] = steps!(DeleteStreams ForgetDiffs ForgetLog);
const DROP: &[Step] = steps!(ListTables DropTables);
/// Streams of an earlier switch, or what one has made that is taken back.
const OLD: &[Step] = steps!(DeleteStreams);
const READS_ALONE: &[&[Step]] = &[FRAME, RULES, steps!(Refresh)];

const SWITCH: &[&[Step]] = &[FRAME, PREPARE, RULES, CLOSE_TABLES, COPY];
const SWITCH_ANEW: &[&[Step]] = &[FRAME, PREPARE, RULES, CLOSE_TABLES, COPY, OLD];
const MIRROR: &[&[Step]] = &[FRAME, TABLES, steps!(MirrorRules ServeRules Refresh)];
const MIRRORED: &[&[Step]] = &[FRAME, PREPARE, steps!(MirrorRules), RULES, CLOSE_TABLES, COPY];
const CANCEL: &[&[Step]] = &[FRAME, steps!(StopStreams VSchema AllowTables Refresh), DROP, RULES, FORGET];
const COMPLETE: &[&[Step]] = &[FRAME, steps!(VSchema AllowTables Refresh), DROP, RULES, FORGET];
const FINISH: &[&[Step]] = &[FRAME, RULES, steps!(Refresh StartStreams Freeze ForgetDiffs)];
const FINISH_BACK: &[&[Step]] = &[FRAME, RULES, OLD, steps!(Refresh Position WriteJournal StartStreams Freeze ForgetDiffs)];
const TAKE_BACK: &[&[Step]] = &[FRAME, RULES, TABLES, OLD, steps!(Refresh StartStreams)];
const REPAIR: &[&[Step]] = &[FRAME, TABLES, OLD, steps!(Refresh StartStreams)];

// Where the target denies nothing before its first switch.
const RESUME: &[&[Step]] = &[FRAME, PREPARE, RULES, OLD, steps!(AllowTables LockTables Pause), COPY];
const OPEN: &[&[Step]] = &[FRAME, RULES, OLD, steps!(AllowTables Refresh StartStreams)];
const REPAIR_OPEN: &[&[Step]] = &[FRAME, OLD, steps!(AllowTables Refresh StartStreams)];
const CANCEL_OPEN: &[&[Step]] = &[FRAME, RULES, FORGET, steps!(StopStreams DropTables Refresh)];

const SERVE_READS: &[Step] = steps!(ServeReads);
const SPLIT: &[&[Step]] = &[FRAME, PREPARE, CLOSE_SHARDS, COPY, SHARDS];
const SPLIT_ALL: &[&[Step]] = &[FRAME, PREPARE, SERVE_READS, CLOSE_SHARDS, COPY, SHARDS];
const SPLIT_ANEW: &[&[Step]] = &[FRAME, PREPARE, CLOSE_SHARDS, COPY, SHARDS, OLD];
const SPLIT_ALL_ANEW: &[&[Step]] = &[FRAME, PREPARE, SERVE_READS, CLOSE_SHARDS, COPY, SHARDS, OLD];
const SPLIT_READS: &[&[Step]] = &[FRAME, SERVE_READS, steps!(Refresh)];
const SPLIT_CANCEL: &[&[Step]] = &[FRAME, steps!(StopStreams ServeRules), DROP, FORGET];
const SPLIT_COMPLETE: &[&[Step]] = &[FRAME, steps!(ServeRules ShardRecords), FORGET];
const SPLIT_FINISH: &[&[Step]] = &[FRAME, SHARDS, steps!(StartStreams Freeze ForgetDiffs)];
const SPLIT_FINISH_BACK: &[&[Step]] = &[FRAME, SHARDS, OLD, steps!(Position WriteJournal StartStreams Freeze ForgetDiffs)];
const SPLIT_TAKE_BACK: &[&[Step]] = &[FRAME, SERVE_READS, OLD, steps!(OpenShards Refresh StartStreams)];
const SPLIT_REPAIR: &[&[Step]] = &[FRAME, OLD, steps!(OpenShards Refresh StartStreams)];
const SPLIT_REPAIR_FORWARD: &[&[Step]] = &[FRAME, steps!(Freeze StartStreams)];

/// Streams of others are stopped and copied; that they are on their way again, or have gone, looks like what is done with its own.
const OTHERS: &[Step] = steps!(HoldOthers CopyOthers StartOthers);
const BESIDE: &[&[Step]] = &[FRAME, PREPARE, CLOSE_SHARDS, COPY, SHARDS, OTHERS, OLD];
const BESIDE_BACK: &[&[Step]] = &[FRAME, PREPARE, CLOSE_SHARDS, COPY, SHARDS, OTHERS, OLD, steps!(SendOthersOn)];
const BESIDE_FINISH: &[&[Step]] = &[FRAME, SHARDS, OLD, steps!(StartStreams StartOthers Freeze ForgetDiffs)];
const BESIDE_TAKE_BACK: &[&[Step]] = &[FRAME, OLD, steps!(OpenShards Refresh StartStreams)];
const BESIDE_RELEASE: &[&[Step]] = &[FRAME, OLD, steps!(StartStreams)];

/// All kinds of changes.
pub(crate) const CHANGES: &[Change] = &[
    of("move: switch", case::MOVES, all, SWITCH),
    of("move: reads", case::MOVES, reads, READS_ALONE),
    of("move: writes", case::MOVE_READS_SWITCHED, writes, SWITCH),
    of("move: mirror", case::MOVES, mirror, MIRROR),
    after("move: mirror no more", case::MOVES, Done(mirror), no_mirror, MIRROR),
    after("move: switch of what is mirrored", case::MOVES, Done(mirror), all, MIRRORED),
    of("move: cancel", case::MOVES, cancel, CANCEL),
    after("move: cancel again", case::MOVES, Stopped(cancel, Step::DropTables), cancel, CANCEL),
    of("move: back", case::MOVE_SWITCHED, all_back, SWITCH_ANEW),
    of("move: reads back", case::MOVE_SWITCHED, reads_back, READS_ALONE),
    of("move: writes back", case::MOVE_SWITCHED, writes_back, SWITCH_ANEW),
    of("move: complete", case::MOVE_SWITCHED, complete, COMPLETE),
    after("move: complete again", case::MOVE_SWITCHED, Stopped(complete, Step::DropTables), complete, COMPLETE),
    after("move: switch after a way back", case::MOVE_SWITCHED, Done(all_back), all, SWITCH_ANEW),
    after("move: go on before the journal", case::MOVES, Stopped(all, Step::CreateStream), all, SWITCH_ANEW),
    after("move: go on behind the journal", case::MOVES, Stopped(all, Step::WriteJournal), all, FINISH),
    after("move: take back", case::MOVES, Stopped(all, Step::CreateStream), all_back, TAKE_BACK),
    after("move: repair back", case::MOVES, Stopped(all, Step::CreateStream), repair_back, REPAIR),
    after("move: repair what is half closed", case::MOVES, Stopped(all, Step::DenyTables), repair_back, REPAIR),
    after("move: way back again", case::MOVE_SWITCHED, Stopped(all_back, Step::StopStreams), all_back, SWITCH_ANEW),
    after("move: way back behind its journal", case::MOVE_SWITCHED, Stopped(all_back, Step::WriteJournal), all_back, FINISH_BACK),
    of("reshard: switch", case::RESHARDS, all, SPLIT_ALL),
    of("reshard: reads", case::RESHARDS, reads, SPLIT_READS),
    of("reshard: writes", case::RESHARDS, writes, SPLIT),
    of("reshard: cancel", case::RESHARDS, cancel, SPLIT_CANCEL),
    of("reshard: back", case::RESHARD_SWITCHED, all_back, SPLIT_ALL_ANEW),
    of("reshard: reads back", case::RESHARD_SWITCHED, reads_back, SPLIT_READS),
    of("reshard: writes back", case::RESHARD_SWITCHED, writes_back, SPLIT_ANEW),
    of("reshard: complete", case::RESHARD_SWITCHED, complete, SPLIT_COMPLETE),
    after("reshard: complete again", case::RESHARD_SWITCHED, Stopped(complete, Step::ShardRecords), complete, SPLIT_COMPLETE),
    after("reshard: switch after a way back", case::RESHARD_SWITCHED, Done(all_back), all, SPLIT_ALL_ANEW),
    after("reshard: go on before the journal", case::RESHARDS, Stopped(all, Step::CreateStream), all, SPLIT_ANEW),
    after("reshard: go on behind the journal", case::RESHARDS, Stopped(all, Step::WriteJournal), all, SPLIT_FINISH),
    after("reshard: take back", case::RESHARDS, Stopped(all, Step::CreateStream), all_back, SPLIT_TAKE_BACK),
    after("reshard: repair back", case::RESHARDS, Stopped(all, Step::CreateStream), repair_back, SPLIT_REPAIR),
    after("reshard: repair forward", case::RESHARDS, Stopped(all, Step::Freeze), repair_forward, SPLIT_REPAIR_FORWARD),
    after("reshard: way back again", case::RESHARD_SWITCHED, Stopped(all_back, Step::StopStreams), all_back, SPLIT_ANEW),
    after(
        "reshard: way back behind its journal",
        case::RESHARD_SWITCHED,
        Stopped(all_back, Step::WriteJournal),
        all_back,
        SPLIT_FINISH_BACK,
    ),
    of("partial: switch", case::PARTIAL, all, SWITCH),
    of("partial: cancel", case::PARTIAL, cancel, CANCEL_OPEN),
    after("partial: back", case::PARTIAL, Done(all), all_back, SWITCH_ANEW),
    after("partial: go on before the journal", case::PARTIAL, Stopped(all, Step::CreateStream), all, RESUME),
    after("partial: go on behind the journal", case::PARTIAL, Stopped(all, Step::WriteJournal), all, FINISH),
    after("partial: take back", case::PARTIAL, Stopped(all, Step::CreateStream), all_back, OPEN),
    after("partial: repair back", case::PARTIAL, Stopped(all, Step::CreateStream), repair_back, REPAIR_OPEN),
    of("tenant: switch", case::TENANT, all, SWITCH),
    of("tenant: reads", case::TENANT, reads, READS_ALONE),
    after("tenant: reads back", case::TENANT, Done(reads), reads_back, READS_ALONE),
    of("tenant: cancel", case::TENANT, cancel, CANCEL_OPEN),
    after("tenant: complete", case::TENANT, Done(all), complete, COMPLETE),
    after("tenant: go on before the journal", case::TENANT, Stopped(all, Step::CreateStream), all, RESUME),
    after("tenant: go on behind the journal", case::TENANT, Stopped(all, Step::WriteJournal), all, FINISH),
    after("tenant: take back", case::TENANT, Stopped(all, Step::CreateStream), all_back, OPEN),
    after("tenant: repair back", case::TENANT, Stopped(all, Step::CreateStream), repair_back, REPAIR_OPEN),
    of("beside: writes", case::BESIDE, writes, BESIDE),
    of("beside: writes back", case::BESIDE_SWITCHED, writes_back, BESIDE_BACK),
    after("beside: switch after a way back", case::BESIDE_SWITCHED, Done(writes_back), writes, BESIDE),
    after("beside: go on where others' stand", case::BESIDE, Stopped(writes, Step::CopyOthers), writes, BESIDE),
    after("beside: go on before the journal", case::BESIDE, Stopped(writes, Step::CreateStream), writes, BESIDE),
    after("beside: go on behind the journal", case::BESIDE, Stopped(writes, Step::WriteJournal), writes, BESIDE_FINISH),
    after("beside: take back", case::BESIDE, Stopped(writes, Step::CreateStream), writes_back, BESIDE_TAKE_BACK),
    after("beside: take back where others' stand", case::BESIDE, Stopped(writes, Step::HoldOthers), writes_back, BESIDE_RELEASE),
    after("beside: repair back", case::BESIDE, Stopped(writes, Step::CreateStream), repair_back, BESIDE_TAKE_BACK),
    after(
        "beside: way back again where others' were sent on",
        case::BESIDE_SWITCHED,
        Stopped(writes_back, Step::SendOthersOn),
        writes_back,
        BESIDE_BACK,
    ),
    after(
        "beside: way back given up where others' were sent on",
        case::BESIDE_SWITCHED,
        Stopped(writes_back, Step::SendOthersOn),
        writes,
        BESIDE_RELEASE,
    ),
    after(
        "beside: way back repaired where others' were sent on",
        case::BESIDE_SWITCHED,
        Stopped(writes_back, Step::SendOthersOn),
        repair_back,
        BESIDE_RELEASE,
    ),
];

/// All that can be aimed at, each once.
pub(crate) fn all_aims() -> Vec<Aim> {
    let steps = CHANGES.iter().flat_map(|change| change.steps().map(move |step| (*change, step)));
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
        let of =
            |change: &Change| change.steps().map(|step| (change.name.to_owned(), step.name().to_owned())).collect::<Vec<_>>();
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
        // As docs/design/0012-simulation.md has it.
        assert_eq!(count, 5_663);
    }
}
