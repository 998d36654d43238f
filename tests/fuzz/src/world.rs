//! Clusters that answer from memory: the records of a recorded topology, and what its tablets said in recorded flows.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use vtflow_embedded::Snapshot;
use vtflow_planner::{Answer, Ask, Call, FailureKind, Record, Timestamp, What, trace::Trace};

/// One recorded cluster.
pub struct World {
    /// Its name: that of the file in `flows/`.
    pub name: &'static str,
    /// What the clock says.
    pub now: Timestamp,
    /// By cell and path.
    records: BTreeMap<(String, String), (Vec<u8>, i64)>,
    /// Every call of a tablet with its answer, by alias, path of the RPC and subject.
    calls: BTreeMap<(String, String, String), Vec<Recorded>>,
    /// The flows that were recorded.
    pub traces: Vec<Trace>,
}

/// A request to a tablet, and its answer.
type Recorded = (Vec<u8>, Answer);

/// All of them. Which is which must not change: inputs choose by number.
pub static WORLDS: LazyLock<Vec<World>> = LazyLock::new(|| {
    [
        ("copying", "snapshots/movetables-copying"),
        ("odd", "snapshots/odd-rows"),
        ("mixed", "snapshots/mixed-releases"),
        ("ddl", "snapshots/onlineddl-mixed"),
        ("vdiff", "cases/09-vdiff"),
    ]
    .map(|(name, cluster)| World::load(name, cluster))
    .into()
});

/// Every call that was recorded, and its world.
pub static CALLS: LazyLock<Vec<(usize, Call)>> = LazyLock::new(|| {
    let of = |(at, world): (usize, &World)| world.traces.iter().map(move |trace| (at, trace.call.clone())).collect::<Vec<_>>();
    WORLDS.iter().enumerate().flat_map(of).collect()
});

/// The folder of this crate.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

impl World {
    fn load(name: &'static str, cluster: &str) -> Self {
        let snapshot = Snapshot::load(&folder().join("..").join(cluster)).expect("a recorded cluster");
        let records =
            snapshot.topo.into_iter().map(|record| ((record.cell, record.path), (record.value, record.version))).collect();
        let flows = std::fs::read_to_string(folder().join("flows").join(format!("{name}.jsonl"))).expect("recorded flows");
        let traces: Vec<Trace> = flows.lines().map(|line| serde_json::from_str(line).expect("a trace")).collect();
        let mut calls: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for traced in traces.iter().flat_map(|trace| &trace.asks) {
            if let (What::TabletCall { tablet, path, request, about, .. }, Some(answer)) = (&traced.ask.what, &traced.answer) {
                let key = (tablet.alias.clone(), path.to_string(), about.subject.to_string());
                calls.entry(key).or_default().push((request.clone(), answer.clone()));
            }
        }
        Self { name, now: snapshot.taken_at, records, calls, traces }
    }

    /// What an ask is answered when nothing is wrong. `times`: how often the same was asked before.
    pub fn answer(&self, ask: &Ask, times: usize) -> Answer {
        match &ask.what {
            What::TopoGet { cell, path } => match self.records.get(&(cell.clone(), path.clone())) {
                Some((value, version)) => Answer::Found { value: value.clone(), version: *version },
                None => Answer::Missing { node: format!("/vitess/{cell}/{path}") },
            },
            What::TopoRange { cell, prefix } => self.below(cell, prefix, true),
            What::TopoList { cell, prefix } => self.below(cell, prefix, false),
            What::TopoLock { .. } => Answer::Locked,
            What::TopoUnlock { .. } => Answer::Unlocked,
            What::TopoDelete { .. } => Answer::Deleted,
            What::TopoPut { version, .. } => Answer::Stored { version: version.wrapping_add(1) },
            What::TabletCall { tablet, path, request, about, .. } => {
                let key = (tablet.alias.clone(), path.to_string(), about.subject.to_string());
                let recorded = self.calls.get(&key).map_or(&[][..], Vec::as_slice);
                let same: Vec<&Answer> =
                    recorded.iter().filter(|(asked, _)| asked == request).map(|(_, answer)| answer).collect();
                let found = same.get(times).or(same.last()).copied().or_else(|| recorded.first().map(|(_, answer)| answer));
                // What was not recorded of a tablet that is there, it does not know: then it is asked in another way.
                let is_there = self.calls.keys().any(|(alias, _, _)| *alias == tablet.alias);
                found.cloned().unwrap_or_else(|| Answer::Failed {
                    kind: if is_there { FailureKind::Status(2) } else { FailureKind::Unreachable },
                    message: format!("{} does not know {}", tablet.alias, about.subject),
                })
            }
            What::TabletPage { .. } => Answer::Called(br#"{"BuildHost":"h","BuildTimestamp":17,"BuildGitRev":"abc"}"#.to_vec()),
        }
    }

    /// How many records its topology has.
    pub fn records_count(&self) -> usize {
        self.records.len()
    }

    /// The cell and the path of a record, whichever.
    pub fn record(&self, which: usize) -> (String, String) {
        let at = which % self.records.len().max(1);
        self.records.keys().nth(at).cloned().unwrap_or_default()
    }

    /// The value of a record, whichever.
    pub fn value(&self, which: usize) -> Vec<u8> {
        self.records.values().nth(which).map(|(value, _)| value.clone()).unwrap_or_default()
    }

    fn below(&self, cell: &str, prefix: &str, has_values: bool) -> Answer {
        let record = |((_, path), (value, version)): (&(String, String), &(Vec<u8>, i64))| Record {
            path: path.clone(),
            value: if has_values { value.clone() } else { Vec::new() },
            version: *version,
        };
        let is_below = |((of, path), _): &(&(String, String), &(Vec<u8>, i64))| of == cell && path.starts_with(prefix);
        let found: Vec<Record> = self.records.iter().filter(is_below).map(record).collect();
        if found.is_empty() { Answer::Missing { node: format!("/vitess/{cell}/{prefix}") } } else { Answer::Range(found) }
    }

    /// An answer that some tablet gave to something, whichever; `None` without any.
    pub fn any_answer(&self, which: usize) -> Option<Answer> {
        let all: Vec<&Answer> = self.calls.values().flatten().map(|(_, answer)| answer).collect();
        which.checked_rem(all.len()).map(|at| all[at].clone())
    }
}
