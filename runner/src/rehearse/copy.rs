//! A cluster in this process that somebody may change: the records of a snapshot in memory, and embedded tablets with its rows.
//!
//! It answers asks one after the other and waits for nothing. What a tablet is told to wait it does not wait: who counts times adds it
//! ([`pause`]).

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use prost::Message;
use tokio::time::Instant;
use vtflow_planner::{
    Answer, Ask, AskId, FailureKind, What, proto::tabletmanagerdata::ExecuteFetchAsDbaRequest, rpc, sequences::current,
};

use super::sequences::Sequences;
use crate::{
    embedded::{
        Snapshot,
        in_place::{InPlace, NoAnswer},
    },
    net::grpc::code,
    topo::{HeldLock, MemoryTopology, Topology},
};

/// The locks that a flow holds, by the ask that took each. Dropped, they are given back.
pub(super) type Held = BTreeMap<AskId, Arc<dyn HeldLock>>;

/// One cluster.
pub(super) struct Copy {
    topology: MemoryTopology,
    tablets: InPlace,
    sequences: Arc<Sequences>,
}

impl Copy {
    /// As it was when the snapshot was taken.
    pub(super) fn of(snapshot: &Arc<Snapshot>, sequences: &Arc<Sequences>) -> Self {
        let topology = MemoryTopology::new(snapshot.topo.clone()).with_unreadable(snapshot.unreadable.records.clone());
        Self { topology, tablets: InPlace::new(Arc::clone(snapshot)), sequences: Arc::clone(sequences) }
    }

    /// The next values of the sequences that the change looks at, by their names; `None`: there is none.
    pub(super) fn next_values(&mut self) -> BTreeMap<String, Option<i64>> {
        let sequences = Arc::clone(&self.sequences);
        let mut read = |what: &What| {
            let What::TabletCall { tablet, path, request, .. } = what else { return None };
            let Answer::Called(response) = self.called(&tablet.alias, path, request) else { return None };
            current(&response).ok().filter(|next| *next != 0)
        };
        sequences.next_values().map(|(name, what)| (name, read(what))).collect()
    }

    /// What is there, as far as a change of a workflow leaves it: records, and streams and tables of these tablets.
    pub(super) fn contents(&mut self, tablets: &BTreeSet<String>) -> Contents {
        let mut read = |alias: &String, query: &str| {
            let request =
                ExecuteFetchAsDbaRequest { query: query.into(), max_rows: u64::MAX, ..ExecuteFetchAsDbaRequest::default() };
            // One that does not answer says the same each time.
            self.tablets.answer(alias, rpc::EXECUTE_FETCH_AS_DBA, &request.encode_to_vec()).map(Vec::from).unwrap_or_default()
        };
        let rows = tablets.iter().map(|alias| (alias.clone(), CONTENTS.map(|query| read(alias, query))));
        let rows = rows.collect();
        Contents { records: self.topology.values(), rows }
    }

    /// What comes of an ask.
    pub(super) async fn answer(&mut self, ask: &Ask, held: &mut Held) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        match &ask.what {
            What::TopoGet { cell, path } => {
                let mut answers = self.topology.records(cell, std::slice::from_ref(path), deadline).await;
                answers.pop().unwrap_or_else(|| failed(FailureKind::NotSent, "no answer"))
            }
            What::TopoRange { cell, prefix } => self.topology.range(cell, prefix, deadline).await,
            What::TopoList { cell, prefix } => self.topology.list(cell, prefix, deadline).await,
            What::TopoPut { cell, path, value, version } => self.topology.put(cell, path, value, *version, deadline).await,
            What::TopoDelete { cell, path, version } => self.topology.delete(cell, path, *version, deadline).await,
            What::TopoLock { path, action, is_named } => match self.topology.lock(path, action, *is_named, deadline).await {
                Ok(lock) => {
                    held.insert(ask.id, lock);
                    Answer::Locked
                }
                Err(answer) => answer,
            },
            What::TopoUnlock { lock } => match held.remove(lock) {
                Some(lock) => lock.release(deadline).await,
                None => failed(FailureKind::Status(code::FAILED_PRECONDITION), "the lock to be given back is not held"),
            },
            What::TabletCall { tablet, path, request, .. } => {
                self.sequences.refusal(&ask.what).unwrap_or_else(|| self.called(&tablet.alias, path, request))
            }
            What::TabletPage { tablet, .. } => {
                failed(FailureKind::Unreachable, &format!("{}: the copy of a tablet has no pages", tablet.alias))
            }
        }
    }

    fn called(&mut self, alias: &str, path: &str, request: &[u8]) -> Answer {
        match self.tablets.answer(alias, path, &awake(path, request)) {
            Ok(response) => Answer::Called(response.into()),
            Err(NoAnswer::Status(status)) => failed(FailureKind::Status(status.code() as i32), status.message()),
            Err(NoAnswer::Down(why)) => failed(FailureKind::Unreachable, &why),
        }
    }
}

/// What is in a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    /// Values by cell and path.
    records: BTreeMap<(String, String), Vec<u8>>,
    /// Answers to [`CONTENTS`], by tablet.
    rows: BTreeMap<String, [Vec<u8>; 2]>,
}

/// Streams, and tables of the keyspace. Where a stream is and when that was written is different each time.
const CONTENTS: [&str; 2] = [
    "select id, workflow, source, state, message, db_name from _vt.vreplication order by id",
    "select table_schema, table_name from information_schema.tables order by 1, 2",
];

fn failed(kind: FailureKind, message: &str) -> Answer {
    Answer::Failed { kind, message: message.to_owned() }
}

/// How long a tablet is told to wait by an ask.
pub(super) fn pause(what: &What) -> Duration {
    let What::TabletCall { path, request, .. } = what else { return Duration::ZERO };
    sleeping(path, request).map_or(Duration::ZERO, |(_, pause)| pause)
}

/// The request, without the wait that it tells the tablet to make.
fn awake<'a>(path: &str, request: &'a [u8]) -> Cow<'a, [u8]> {
    match sleeping(path, request) {
        None => request.into(),
        Some((request, _)) => {
            ExecuteFetchAsDbaRequest { query: format!("{SLEEP}0)").into_bytes(), ..request }.encode_to_vec().into()
        }
    }
}

/// A statement that only waits, and how long.
fn sleeping(path: &str, request: &[u8]) -> Option<(ExecuteFetchAsDbaRequest, Duration)> {
    if path != rpc::EXECUTE_FETCH_AS_DBA {
        return None;
    }
    let request = ExecuteFetchAsDbaRequest::decode(request).ok()?;
    let seconds = std::str::from_utf8(&request.query).ok()?.strip_prefix(SLEEP)?.strip_suffix(')')?.parse().ok()?;
    Some((request, Duration::try_from_secs_f64(seconds).ok()?))
}

/// What the planner lets a tablet wait by.
const SLEEP: &str = "select sleep(";

/// Nothing of a copy takes long: who waits longer has found a defect.
const PATIENCE: Duration = Duration::from_secs(20);
