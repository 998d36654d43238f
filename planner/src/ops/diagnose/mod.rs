//! `Diagnose`: where every workflow's traffic stands and what is wrong, also with what belongs to no workflow. It never writes.
//!
//! In this order, because nothing locks what is read: the topology; then the streams on the primaries of all keyspaces that have to do
//! with each other; then their journals, and which binary logs their sources have no more; then the versions of the records again, and the locks. If one has changed, all is read once more; if it happens
//! again, somebody is at work, which is said. Of one keyspace, those are read, too, to which rules and streams lead from it.
//!
//! What could not be read is a failure, and makes unknown what depends on it: [`crate::traffic`] concludes.

mod assemble;
mod looked;
mod reading;
mod records;
mod reply;
mod rows;
mod sequences;

use std::collections::BTreeSet;

use prost::Message;

pub(crate) use self::{looked::Looked, records::Versioned};
use self::{
    reading::{Reading, Stage},
    records::{Asked, Records},
    sequences::Sequences,
};
use crate::{
    contract::{Answer, AskId, Call, Code, Failure, Lost, Reply, Status, Timestamp},
    limits,
    operation::{Asks, Operation, conclude, decode},
    proto::vtflow::{DiagnoseRequest, DiagnoseResponse},
    topo::names::{self, KeyspaceName},
    traffic::{deviation::Deviation, evidence::Evidence, leftovers::Cluster},
};

/// What is never looked at, so that nobody takes silence for an answer.
const NOT_LOOKED_AT: [&str; 2] = [
    "binary logs that replicas have purged, unless a stream has complained of it",
    "whether old primaries of a resharded keyspace serve again: no record says it",
];

/// Likewise, unless it is asked for.
const SEQUENCES_NOT_LOOKED_AT: &str =
    "sequences behind their tables: that takes the largest value of each table, and is asked for with --sequences";

pub(crate) struct Diagnose {
    request: DiagnoseRequest,
    strict: bool,
    now: Timestamp,
    /// Of the request; `None`: all.
    keyspace: Option<KeyspaceName>,
    /// Found in an earlier reading to have to do with it.
    related: BTreeSet<KeyspaceName>,
    /// How often all was read because it had changed, and because there was more to read.
    changes: usize,
    growths: usize,
    reading: Reading,
    fatal: Option<Status>,
}

impl Diagnose {
    pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        Self::of(decode(call)?, call.options.strict, now, asks)
    }

    /// Begins to look.
    ///
    /// # Errors
    /// Names that cannot exist.
    pub(crate) fn of(request: DiagnoseRequest, strict: bool, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        let invalid = |message: String| Status { code: Code::InvalidArgument, message };
        if request.workflow.len() > limits::WORKFLOW_NAME_BYTES {
            return Err(invalid(format!("no workflow can have a name of {} bytes", request.workflow.len())));
        }
        if request.keyspace.is_empty() && !request.workflow.is_empty() {
            return Err(invalid("a workflow is one of a keyspace: name it, too".into()));
        }
        if request.sequences && !request.workflow.is_empty() {
            return Err(invalid("sequences are looked at of whole keyspaces: name no workflow".into()));
        }
        let keyspace = if request.keyspace.is_empty() { None } else { Some(KeyspaceName::of_request(&request.keyspace)?) };
        let mut this = Self {
            request,
            strict,
            now,
            keyspace,
            related: BTreeSet::new(),
            changes: 0,
            growths: 0,
            reading: Reading::default(),
            fatal: None,
        };
        this.begin(asks);
        Ok(this)
    }

    /// Begins to read, for the first time or again.
    fn begin(&mut self, asks: &mut Asks) {
        self.reading = Reading::default();
        for asked in Asked::RULES.into_iter().chain([Asked::Cells, Asked::Names]) {
            self.reading.ask(asked, asks);
        }
    }

    fn next_stage(&mut self, asks: &mut Asks) {
        while self.fatal.is_none() && self.reading.is_idle() {
            match self.reading.stage {
                Stage::Cluster => self.cluster_is_read(asks),
                Stage::Keyspaces => self.reading.look_at_streams(asks),
                Stage::Streams => {
                    self.locate_sequences();
                    if self.grows() {
                        self.begin(asks);
                    } else {
                        self.reading.look_at_journals(asks);
                    }
                }
                Stage::Journals => self.reading.look_at_positions(asks),
                Stage::Positions => self.reading.look_at_versions(asks),
                Stage::Versions => {
                    let changed = self.reading.records.changed(&self.reading.later);
                    if !changed.is_empty() && self.changes == 0 {
                        self.changes += 1;
                        self.begin(asks);
                    } else {
                        self.reading.stage = Stage::Done;
                    }
                }
                Stage::Done => return,
            }
        }
    }

    fn cluster_is_read(&mut self, asks: &mut Asks) {
        let names = match self.reading.records.keyspace_names() {
            Ok(names) => names,
            Err(why) => return self.fatal = Some(Status::unknown(why)),
        };
        let cells = self.reading.records.cell_names();
        let wanted: BTreeSet<KeyspaceName> = match &self.keyspace {
            Some(keyspace) if !names.contains(&**keyspace) => {
                return self.fatal = Some(Status::unknown(format!("node doesn't exist: {}", keyspace.record_path())));
            }
            Some(keyspace) => {
                let rules = assemble::related(&self.reading.records.rules(), keyspace);
                let related = rules.iter().filter_map(|name| KeyspaceName::parse(name).ok()).chain(self.related.iter().cloned());
                related.chain([keyspace.clone()]).filter(|it| names.contains(&**it)).collect()
            }
            None => names.iter().filter_map(|name| self.reading.name(name)).collect(),
        };
        self.reading.stage = Stage::Keyspaces;
        let more = wanted.len().saturating_sub(limits::DIAGNOSED_KEYSPACES);
        if more > 0 {
            self.reading.fail("", "", "", Lost::Record, format!("{more} keyspaces are left out: name one"));
        }
        self.reading.keyspaces = wanted.into_iter().take(limits::DIAGNOSED_KEYSPACES).collect();
        let mut cells: Vec<String> =
            cells.unwrap_or_default().into_iter().filter(|cell| names::check_cell(cell).is_ok()).collect();
        let most = limits::DIAGNOSED_RECORDS / self.reading.keyspaces.len().max(1);
        let more = cells.len().saturating_sub(most);
        if more > 0 {
            self.reading.fail("", "", "", Lost::Record, format!("{more} cells are left out: name a keyspace"));
            cells.truncate(most);
        }
        for keyspace in self.reading.keyspaces.clone() {
            self.reading.ask(Asked::Shards(keyspace.clone()), asks);
            for cell in &cells {
                self.reading.ask(Asked::Served(cell.clone(), keyspace.clone()), asks);
            }
        }
        for cell in cells {
            self.reading.ask(Asked::VSchema(cell), asks);
        }
    }

    fn locate_sequences(&mut self) {
        if !self.request.sequences {
            return;
        }
        let (served, unknown) = self.reading.records.served_vschemas();
        let is_wanted = |name: &str| {
            let is_read = self.reading.keyspaces.iter().any(|it| **it == *name);
            is_read && self.keyspace.as_ref().is_none_or(|keyspace| **keyspace == *name)
        };
        let mut sequences = Sequences::located(&served, is_wanted);
        for why in unknown {
            sequences.unread(why);
        }
        self.reading.sequences = Some(sequences);
    }

    /// Whether streams or sequences lead to keyspaces that were not read: then all is read again, so that all is of one moment.
    fn grows(&mut self) -> bool {
        let Some(keyspace) = &self.keyspace else { return false };
        let names = self.reading.records.keyspace_names().unwrap_or_default();
        let own = rows::workflows(self.reading.streams())
            .into_keys()
            .filter(|key| key.source == **keyspace || key.target == **keyspace);
        let of_sequences = self.reading.sequences.iter().flat_map(Sequences::keyspaces);
        let ends = own.flat_map(|key| [key.source, key.target]).chain(of_sequences);
        let ends = ends.filter_map(|name| KeyspaceName::parse(&name).ok());
        let new: BTreeSet<KeyspaceName> =
            ends.filter(|it| names.contains(&**it) && !self.reading.keyspaces.contains(it)).collect();
        let grows = !new.is_empty() && self.growths < limits::DIAGNOSE_GROWTHS;
        self.related.extend(new);
        self.growths += usize::from(grows);
        grows
    }
}

impl Operation for Diagnose {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        let reading = &mut self.reading;
        if let Some(asked) = reading.waiting.remove(&id) {
            let records = match reading.stage {
                _ if asked.is_of_locks() => &mut reading.locks,
                Stage::Versions => &mut reading.later,
                _ => &mut reading.records,
            };
            records.take(asked, answer);
        } else if let Some(keyspace) = reading.surveys.iter().find(|(_, survey)| survey.waits_for(id)).map(|(it, _)| it.clone()) {
            let found = reading.surveys.get_mut(&keyspace).map(|survey| survey.answered(id, answer, asks)).unwrap_or_default();
            for found in found {
                reading.found(&keyspace, found, asks);
            }
        }
        self.next_stage(asks);
    }

    fn failures(&self) -> Vec<Failure> {
        self.all_failures()
    }

    fn finish(&mut self) -> Reply {
        let failures = self.all_failures();
        if let Some(status) = self.fatal.take() {
            return Reply::new(Err(status), failures);
        }
        let reply = self.concluded();
        conclude(reply.encode_to_vec(), false, self.strict, failures)
    }
}

impl Diagnose {
    fn all_failures(&self) -> Vec<Failure> {
        let of_records =
            [&self.reading.records, &self.reading.later, &self.reading.locks].into_iter().flat_map(Records::failures);
        let of_records = of_records.map(|(keyspace, message)| Failure {
            keyspace,
            shard: String::new(),
            tablet: String::new(),
            workflow: String::new(),
            lost: Lost::Record,
            message,
        });
        let mut failures: Vec<Failure> = of_records.chain(self.reading.failures.iter().cloned()).collect();
        failures.sort();
        failures.dedup();
        failures
    }

    fn concluded(&self) -> DiagnoseResponse {
        let assembled = assemble::Assembled::new(&self.reading, self.keyspace.as_ref());
        let now = self.now.seconds;
        let cluster = assembled.cluster();
        let wanted = assembled.workflows.iter().filter(|it| self.is_wanted(it));
        let mut workflows: Vec<_> = wanted.map(|it| reply::workflow(it, cluster.of_streams(&both(it).into()).0, now)).collect();
        if let Some(keyspace) = self.keyspace.as_ref().filter(|_| workflows.is_empty() && !self.request.workflow.is_empty()) {
            workflows.push(reply::workflow(&assembled.without_streams(keyspace, &self.request.workflow), Vec::new(), now));
        }
        let changed = assembled.changed.iter().map(|(asked, path)| if path.is_empty() { asked.name() } else { path.clone() });
        let changed = changed.collect();
        let not_looked_at = NOT_LOOKED_AT.into_iter().chain((!self.request.sequences).then_some(SEQUENCES_NOT_LOOKED_AT));
        let not_looked_at = not_looked_at.map(str::to_owned).chain(assembled.logs_elsewhere.clone()).collect();
        let (leftovers, unknown) = self.leftovers(&assembled, &cluster);
        let leftovers = leftovers.into_iter().map(reply::deviation).collect();
        DiagnoseResponse { workflows, leftovers, unknown: unknown.into_iter().collect(), not_looked_at, changed }
    }

    /// Whether a workflow is asked about.
    fn is_wanted(&self, evidence: &Evidence) -> bool {
        let is_of = |name: &str| self.keyspace.as_ref().is_none_or(|keyspace| **keyspace == *name);
        let is_it = self.request.workflow.is_empty()
            || self.request.workflow == evidence.workflow
            || self.request.workflow == evidence.reverse();
        (is_of(&evidence.source.keyspace) || is_of(&evidence.target.keyspace)) && is_it
    }

    /// What belongs to no workflow that moves traffic, and why it is not known whether there is more; of one that is named, of its streams
    /// alone.
    fn leftovers(&self, assembled: &assemble::Assembled, cluster: &Cluster) -> (Vec<Deviation>, BTreeSet<String>) {
        if !self.request.workflow.is_empty() {
            let wanted: BTreeSet<_> = assembled.workflows.iter().filter(|it| self.is_wanted(it)).flat_map(both).collect();
            let asked = BTreeSet::from([(self.request.keyspace.clone(), self.request.workflow.clone())]);
            let (found, mut unknown) = cluster.of_streams(&asked);
            unknown.extend(cluster.of_streams(&wanted).1);
            return (if wanted.is_empty() { found } else { Vec::new() }, unknown);
        }
        let (found, mut unknown) = cluster.leftovers();
        unknown.extend(assembled.unread.iter().cloned());
        unknown.extend(self.reading.sequences.iter().flat_map(|it| it.told().1));
        (found, unknown)
    }
}

/// The streams of a workflow and of its reverse, by keyspace and workflow.
fn both(of: &Evidence) -> [(String, String); 2] {
    [(of.target.keyspace.clone(), of.workflow.clone()), (of.source.keyspace.clone(), of.reverse())]
}
