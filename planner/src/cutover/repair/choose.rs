//! Which way out is taken of each deviation, and what is left to people.

use std::{collections::BTreeSet, fmt::Write};

use super::{request::Wanted, words};
use crate::{
    contract::{Code, Status},
    cutover::edit::{KEYSPACE_RULES, MIRROR_RULES, SHARD_RULES, TABLE_RULES},
    ops::diagnose::Looked,
    proto::topodata::TabletType,
    topo::names::check_object,
    traffic::{
        deviation::{Deviation, Mechanism as M},
        evidence::Evidence,
        names::reverse_of,
        repair::{Action, Direction, Repair},
    },
    write::kind::Lock,
};

/// What is going to be done.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    /// Each once, in the order of the deviations.
    pub(super) actions: Vec<Action>,
    /// Locks of others that go, by path and version.
    pub(super) unlocks: Vec<(String, i64)>,
    /// Shards whose tablets read their records again at the end, by keyspace.
    pub(super) refreshed: BTreeSet<(String, String)>,
    /// Deviations that are put right.
    pub(super) count: usize,
    /// What is not done, and why.
    pub(super) left_alone: Vec<String>,
    /// Keys of rules that this is about: that cells serve others of them is what is wanted.
    pub(super) own_keys: BTreeSet<String>,
    /// Workflows by target and name, each direction.
    named: Vec<(String, String)>,
    keyspaces: Vec<String>,
}

/// What becomes of one deviation.
enum Pick<'a> {
    Take(&'a Repair),
    /// Nothing, for this reason.
    Leave(String),
    /// Two ways are open, and none was named.
    Undecided,
}

impl Chosen {
    /// Chooses.
    ///
    /// # Errors
    /// Somebody has to say which way, or not all that decides is known.
    pub(super) fn of(wanted: &Wanted, looked: &Looked) -> Result<Self, Status> {
        let mut chosen = Self::default();
        let mut undecided = Vec::new();
        for (evidence, diagnosis) in &looked.workflows {
            let place = format!("{}.{}", evidence.target.keyspace, evidence.workflow);
            let before = chosen.count;
            let mut half = None;
            for deviation in &diagnosis.deviations {
                let is_taken =
                    wanted.has(deviation.mechanism) && chosen.take(wanted, deviation, Some(evidence), looked, &mut undecided);
                let is_half = deviation.repairs.iter().any(|it| it.actions.iter().any(is_command));
                if is_half && !is_taken {
                    half.get_or_insert(deviation.mechanism);
                }
            }
            let has_more = chosen.count > before;
            if has_more && !diagnosis.unknown.is_empty() {
                let why: Vec<&str> = diagnosis.unknown.iter().map(String::as_str).collect();
                let message = format!("not all of {place} is known: {}; nothing was changed", why.join("; "));
                return Err(Status { code: Code::FailedPrecondition, message });
            }
            chosen.left_alone.extend(diagnosis.unknown.iter().map(|why| format!("{place}: not known: {why}")));
            if let (true, Some(half)) = (wanted.refresh, half) {
                let why = "a primary that is closed would serve where a cell still leads to it";
                let before = half.name();
                chosen.left_alone.push(format!("{place}: its tablets are not refreshed before {before} is put right: {why}"));
            } else if wanted.refresh {
                let shards = [&evidence.source, &evidence.target].into_iter();
                let shards = shards.flat_map(|side| side.shards.iter().map(|(name, shard)| (&side.keyspace, name, shard)));
                let there = shards.filter(|(.., shard)| !shard.record.is_missing());
                chosen.refreshed.extend(there.map(|(keyspace, name, _)| (keyspace.clone(), name.clone())));
            }
            if has_more || wanted.refresh && half.is_none() {
                chosen.of_workflow(evidence);
            }
        }
        for deviation in looked.leftovers.iter().filter(|it| wanted.has(it.mechanism)) {
            chosen.take(wanted, deviation, None, looked, &mut undecided);
        }
        chosen.left_alone.extend(looked.unknown.iter().map(|why| format!("not known: {why}")));
        if !undecided.is_empty() {
            let text = "two ways are open: say --forward or --back; nothing was changed";
            return Err(Status { code: Code::FailedPrecondition, message: format!("{}\n{text}", undecided.join("\n")) });
        }
        chosen.of_actions(looked);
        Ok(chosen)
    }

    /// Whether it is going to be put right.
    fn take(
        &mut self,
        wanted: &Wanted,
        deviation: &Deviation,
        evidence: Option<&Evidence>,
        looked: &Looked,
        undecided: &mut Vec<String>,
    ) -> bool {
        let name = match evidence {
            Some(of) => format!("{}.{}: {}", of.target.keyspace, of.workflow, deviation.mechanism.name()),
            None => deviation.mechanism.name().to_owned(),
        };
        match pick(wanted, deviation, evidence) {
            Pick::Leave(why) => {
                self.left_alone.push(format!("{name}: {why}"));
                false
            }
            Pick::Undecided => {
                undecided.push(both(&name, deviation, evidence));
                false
            }
            Pick::Take(repair) => {
                self.count += 1;
                for action in &repair.actions {
                    match action {
                        Action::Unlock { path } => {
                            let version = looked.locks.get(path).copied().filter(|version| *version != 0);
                            self.unlocks.extend(version.map(|version| (path.clone(), version)));
                        }
                        other if self.actions.contains(other) => {}
                        other => self.actions.push(other.clone()),
                    }
                }
                true
            }
        }
    }

    fn of_workflow(&mut self, evidence: &Evidence) {
        let (source, target) = (&evidence.source.keyspace, &evidence.target.keyspace);
        self.named.push((target.clone(), evidence.workflow.clone()));
        self.named.push((source.clone(), reverse_of(&evidence.workflow)));
        for keyspace in [source, target] {
            self.keyspace(keyspace);
        }
        for of in [TabletType::Primary, TabletType::Replica, TabletType::Rdonly] {
            self.own_keys.extend(evidence.own_keys(of));
        }
    }

    fn keyspace(&mut self, keyspace: &str) {
        if !keyspace.is_empty() && !self.keyspaces.iter().any(|it| it == keyspace) {
            self.keyspaces.push(keyspace.into());
        }
    }

    /// The keyspaces that the actions are about, beside those of the workflows.
    fn of_actions(&mut self, looked: &Looked) {
        for action in self.actions.clone() {
            match action {
                Action::DenyTables { keyspace, .. }
                | Action::Statement { keyspace, .. }
                | Action::CreateReverseStream { keyspace, .. }
                | Action::QueryService { keyspace, .. }
                | Action::RaiseSequence { keyspace, .. } => self.keyspace(&keyspace),
                Action::PutRules { record, rules } => {
                    let mut ends = BTreeSet::new();
                    for (key, to) in &rules {
                        let leads = leads(looked, record, key);
                        ends.extend([key].into_iter().chain(to).chain(leads).filter_map(|name| front(record, name)));
                        self.own_keys.insert(key.clone());
                    }
                    // One that is not there has nothing to be locked.
                    for name in ends.into_iter().filter(|name| looked.keyspaces.contains(name)) {
                        self.keyspace(&name);
                    }
                }
                Action::RebuildVSchemas { .. } | Action::RunAgain { .. } | Action::Unlock { .. } => {}
            }
        }
    }

    /// Whether nothing is done but what may be left of others' locks.
    pub(super) fn is_of_locks_alone(&self) -> bool {
        self.actions.is_empty() && self.refreshed.is_empty()
    }

    /// Whether nothing is done at all.
    pub(super) fn is_nothing(&self) -> bool {
        self.is_of_locks_alone() && self.unlocks.is_empty()
    }

    /// All locks of it, in the order of a switch.
    pub(super) fn locks(&self) -> Vec<Lock> {
        if self.is_of_locks_alone() {
            return Vec::new();
        }
        let lock = |path: String, is_named, failure: String| Lock { path, action: "Repair", is_named, is_patient: true, failure };
        // A workflow's name may be anything; one that would leave the directory has no lock there.
        let named = self.named.iter().filter(|(_, workflow)| check_object(workflow).is_ok());
        let named = named.map(|(keyspace, workflow)| {
            let failure = format!("failed to lock the {keyspace}/{workflow} workflow: ");
            lock(format!("internal/named_locks/{keyspace}/{workflow}"), true, failure)
        });
        let keyspaces = self.keyspaces.iter();
        let keyspaces =
            keyspaces.map(|name| lock(format!("keyspaces/{name}"), false, format!("failed to lock the {name} keyspace: ")));
        let has_tenants =
            self.actions.iter().any(|it| matches!(it, Action::PutRules { record, .. } if *record == KEYSPACE_RULES));
        let tenants =
            has_tenants.then(|| lock("routing_rules".into(), false, "failed to lock the keyspace routing rules: ".into()));
        named.chain(keyspaces).chain(tenants).collect()
    }
}

/// Where a rule leads now.
fn leads<'a>(looked: &'a Looked, record: &str, key: &str) -> &'a [String] {
    let rules = &looked.leads;
    let keys = match record {
        TABLE_RULES => &rules.tables,
        SHARD_RULES => &rules.shards,
        MIRROR_RULES => &rules.mirror,
        _ => &rules.keyspaces,
    };
    keys.known().and_then(|keys| keys.get(key)).map(Vec::as_slice).unwrap_or_default()
}

/// The keyspace in front of a rule's key, or of where it leads; `None`: none is named.
fn front(record: &str, name: &str) -> Option<String> {
    let front = name.split(['.', '@']).next().filter(|front| !front.is_empty())?;
    let is_table = matches!(record, TABLE_RULES | MIRROR_RULES);
    (!is_table || name.split('@').next().is_some_and(|name| name.contains('.'))).then(|| front.to_owned())
}

fn pick<'a>(wanted: &Wanted, deviation: &'a Deviation, evidence: Option<&Evidence>) -> Pick<'a> {
    let leads = |direction| deviation.repairs.iter().any(|it| it.direction == direction);
    if deviation.repairs.is_empty() {
        return Pick::Leave(format!("somebody has to decide: {}", deviation.hurts));
    }
    if let (M::DeletionInterrupted, Some(of)) = (deviation.mechanism, evidence) {
        // Nothing tells it from streams that somebody has stopped, once some of them run.
        let (end, start) = (words::again(deviation.mechanism, of, false), words::start(of));
        return Pick::Leave(format!("each way is a command: to its end {end}; back {start}"));
    }
    if wanted.way.is_none() && leads(Direction::Forward) && leads(Direction::Back) {
        return Pick::Undecided;
    }
    let fits = |it: &&Repair| it.direction == Direction::InPlace || wanted.way.is_none_or(|way| way == it.direction);
    let fitting = || deviation.repairs.iter().filter(fits);
    match (fitting().find(|it| it.actions.iter().all(can_be_done)), fitting().next()) {
        (Some(repair), _) => Pick::Take(repair),
        (None, Some(repair)) => Pick::Leave(why_not(repair, deviation, evidence)),
        (None, None) => {
            let ways: Vec<&str> = deviation.repairs.iter().map(|it| it.direction.name()).collect();
            Pick::Leave(format!("the only way leads {}", ways.join(", ")))
        }
    }
}

/// Whether a repair does it. Where the other direction is to begin, and with which filter, the steps of a switch alone know.
fn can_be_done(action: &Action) -> bool {
    !is_command(action) && !matches!(action, Action::CreateReverseStream { .. })
}

fn is_command(action: &Action) -> bool {
    matches!(action, Action::RunAgain { .. })
}

fn why_not(repair: &Repair, deviation: &Deviation, evidence: Option<&Evidence>) -> String {
    let lines = words::lines(repair, deviation.mechanism, evidence);
    match repair.actions.iter().find(|it| !can_be_done(it)) {
        Some(Action::CreateReverseStream { position, .. }) if position.is_empty() => {
            format!("where the stream has to begin is not known, for no journal says it: {}", lines.join("; "))
        }
        Some(Action::CreateReverseStream { .. }) => format!("a repair does not create streams: {}", lines.join("; ")),
        _ => format!("the way is the command itself: {}", lines.join("; ")),
    }
}

/// Both ways out, for whoever has to choose.
fn both(name: &str, deviation: &Deviation, evidence: Option<&Evidence>) -> String {
    let mut text = format!("{name}: {}", deviation.hurts);
    for repair in &deviation.repairs {
        let _ = write!(text, "\n  --{}:", repair.direction.name());
        for line in words::lines(repair, deviation.mechanism, evidence) {
            let _ = write!(text, "\n    {line}");
        }
    }
    text
}
