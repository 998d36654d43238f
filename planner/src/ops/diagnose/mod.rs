//! `Diagnose`: where every workflow's traffic stands and what is wrong, also with what belongs to no workflow. It never writes.
//!
//! In this order, because nothing locks what is read: the topology; then the streams on the primaries of all keyspaces that have to do
//! with each other; then their journals; then the versions of the records again. If one has changed, all is read once more; if it happens
//! again, somebody is at work, which is said. Of one keyspace, those are read, too, to which rules and streams lead from it.
//!
//! What could not be read is a failure, and makes unknown what depends on it: [`crate::traffic`] concludes.

mod assemble;
mod records;
mod reply;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use self::{
    records::{Asked, Records},
    rows::StreamOf,
};
use crate::{
    contract::{Answer, AskId, Call, Code, Failure, Lost, Reply, Status, Timestamp, What},
    limits,
    operation::{Asks, Operation, conclude, decode},
    proto::vtflow::{DiagnoseRequest, DiagnoseResponse},
    sidecar::{
        query::Query,
        read::{Read, Subject},
        result::RowSet,
        statement::Scope,
        survey::{Found, Look, Looked, Survey},
    },
    topo::{
        names::{self, GLOBAL, KeyspaceName},
        targets::{Target, Unreached},
    },
    traffic::{evidence::Journal, journal, leftovers},
};

/// What is never looked at, so that nobody takes silence for an answer.
const NOT_LOOKED_AT: [&str; 3] = [
    "sequences behind their tables: that takes the largest value of each table",
    "binary logs that were purged, unless a stream has complained of it",
    "whether old primaries of a resharded keyspace serve again: no record says it",
];

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

/// One reading of all of it.
#[derive(Default)]
struct Reading {
    stage: Stage,
    waiting: BTreeMap<AskId, Asked>,
    records: Records,
    /// The records as they are at the end.
    later: Records,
    /// Those that are read.
    keyspaces: BTreeSet<KeyspaceName>,
    surveys: BTreeMap<KeyspaceName, Survey>,
    /// By keyspace and shard: the primary, and what it has.
    seen: BTreeMap<(KeyspaceName, String), Primary>,
    failures: Vec<Failure>,
}

/// What is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Rules, names, cells, locks.
    #[default]
    Cluster,
    /// Shards, what the cells serve.
    Keyspaces,
    Streams,
    Journals,
    Versions,
    Done,
}

/// A shard's primary, as far as it was reached.
struct Primary {
    tablet: String,
    db_name: String,
    streams: Result<Vec<StreamOf>, String>,
    journals: Result<BTreeMap<i64, Journal>, String>,
    /// Whether it was not to be expected that it answers: nothing serves there.
    is_idle: bool,
}

/// The numbers of the looks at a target.
const STREAMS: usize = 0;
const JOURNALS: usize = 1;

impl Diagnose {
    pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        let request: DiagnoseRequest = decode(call)?;
        let invalid = |message: String| Status { code: Code::InvalidArgument, message };
        if request.workflow.len() > limits::WORKFLOW_NAME_BYTES {
            return Err(invalid(format!("no workflow can have a name of {} bytes", request.workflow.len())));
        }
        if request.keyspace.is_empty() && !request.workflow.is_empty() {
            return Err(invalid("a workflow is one of a keyspace: name it, too".into()));
        }
        let keyspace = if request.keyspace.is_empty() { None } else { Some(KeyspaceName::of_request(&request.keyspace)?) };
        let mut this = Self {
            request,
            strict: call.options.strict,
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
        for asked in Asked::RULES.into_iter().chain([Asked::Cells, Asked::Names, Asked::NamedLocks]) {
            self.reading.ask(asked, asks);
        }
    }

    fn next_stage(&mut self, asks: &mut Asks) {
        while self.fatal.is_none() && self.reading.is_idle() {
            match self.reading.stage {
                Stage::Cluster => self.cluster_is_read(asks),
                Stage::Keyspaces => self.reading.look_at_streams(asks),
                Stage::Streams => {
                    if self.grows() {
                        self.begin(asks);
                    } else {
                        self.look_at_journals(asks);
                    }
                }
                Stage::Journals => self.reading.look_at_versions(asks),
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
        cells.truncate(limits::DIAGNOSED_RECORDS / self.reading.keyspaces.len().max(1));
        for keyspace in self.reading.keyspaces.clone() {
            self.reading.ask(Asked::Shards(keyspace.clone()), asks);
            self.reading.ask(Asked::Locks(keyspace.clone()), asks);
            for cell in &cells {
                self.reading.ask(Asked::Served(cell.clone(), keyspace.clone()), asks);
            }
        }
        for cell in cells {
            self.reading.ask(Asked::VSchema(cell), asks);
        }
    }

    /// Whether streams lead to keyspaces that were not read: then all is read again, so that all is of one moment.
    fn grows(&mut self) -> bool {
        let Some(keyspace) = &self.keyspace else { return false };
        let names = self.reading.records.keyspace_names().unwrap_or_default();
        let own = rows::workflows(self.reading.streams())
            .into_keys()
            .filter(|key| key.source == **keyspace || key.target == **keyspace);
        let ends = own.flat_map(|key| [key.source, key.target]).filter_map(|name| KeyspaceName::parse(&name).ok());
        let new: BTreeSet<KeyspaceName> =
            ends.filter(|it| names.contains(&**it) && !self.reading.keyspaces.contains(it)).collect();
        let grows = !new.is_empty() && self.growths < limits::DIAGNOSE_GROWTHS;
        self.related.extend(new);
        self.growths += usize::from(grows);
        grows
    }

    fn look_at_journals(&mut self, asks: &mut Asks) {
        let reading = &mut self.reading;
        reading.stage = Stage::Journals;
        // By keyspace and shard, which migration ids.
        let mut wanted: BTreeMap<(String, String), BTreeSet<i64>> = BTreeMap::new();
        for (key, of) in rows::workflows(reading.streams()) {
            let id = journal::migration_id(&key.target, of.forward.iter().map(|it| (it.shard.as_str(), it.stream.id)));
            for shard in of.shards().0 {
                wanted.entry((key.source.clone(), shard)).or_default().insert(id);
            }
        }
        for (keyspace, survey) in &mut reading.surveys {
            let targets: Vec<(usize, String)> = survey.targets().map(|(index, it)| (index, it.place.shard.clone())).collect();
            for (index, shard) in targets {
                let Some(ids) = wanted.get(&(keyspace.to_string(), shard)) else { continue };
                let ids: Vec<String> = ids.iter().take(limits::JOURNALS).map(ToString::to_string).collect();
                let (ids, limit) = (ids.join(", "), limits::JOURNALS);
                let statement = format!("select * from _vt.resharding_journal where id in ({ids}) limit {limit}");
                survey.look(index, JOURNALS, vec![Look::One(Query::vreplication("journals", statement))], asks);
            }
        }
    }
}

impl Reading {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.surveys.values().all(Survey::is_done)
    }

    /// All streams that were read.
    fn streams(&self) -> impl Iterator<Item = &StreamOf> {
        self.seen.values().filter_map(|primary| primary.streams.as_ref().ok()).flatten()
    }

    fn ask(&mut self, asked: Asked, asks: &mut Asks) {
        let (cell, path) = asked.place();
        let cell = if cell.is_empty() { GLOBAL } else { cell }.to_owned();
        let is_list = matches!(asked, Asked::Names) || self.stage == Stage::Versions;
        let what = match (path.ends_with('/'), is_list) {
            (true, true) => What::TopoList { cell, prefix: path },
            (true, false) => What::TopoRange { cell, prefix: path },
            (false, _) => What::TopoGet { cell, path },
        };
        self.waiting.insert(asks.release(what), asked);
    }

    fn fail(&mut self, keyspace: &str, shard: &str, tablet: &str, lost: Lost, message: String) {
        let (keyspace, shard, tablet) = (keyspace.into(), shard.into(), tablet.into());
        self.failures.push(Failure { keyspace, shard, tablet, workflow: String::new(), lost, message });
    }

    /// The name of a keyspace, if it can be one.
    fn name(&mut self, name: &str) -> Option<KeyspaceName> {
        let parsed = KeyspaceName::parse(name);
        if let Err(bad) = &parsed {
            self.fail(name, "", "", Lost::Record, names::no_keyspace_can_be(name, bad));
        }
        parsed.ok()
    }

    fn look_at_streams(&mut self, asks: &mut Asks) {
        self.stage = Stage::Streams;
        for keyspace in self.keyspaces.clone() {
            // One without shards has nothing to look at, and that they cannot be read is said already.
            if !self.records.shards(&keyspace).is_ok_and(|shards| !shards.is_empty()) {
                continue;
            }
            match Survey::start(&keyspace, &[], asks) {
                Ok(survey) => drop(self.surveys.insert(keyspace, survey)),
                Err(status) => self.fail(&keyspace, "", "", Lost::Record, status.message),
            }
        }
    }

    fn look_at_versions(&mut self, asks: &mut Asks) {
        self.stage = Stage::Versions;
        for asked in self.records.deciding() {
            self.ask(asked, asks);
        }
    }

    fn found(&mut self, keyspace: &KeyspaceName, found: Found, asks: &mut Asks) {
        let count = self.surveys.len();
        let Some(survey) = self.surveys.get_mut(keyspace) else { return };
        match found {
            Found::Target(index) => {
                let Some(target) = survey.target(index) else { return };
                let scope = Scope { db_name: target.db_name.clone(), workflow: String::new(), active_only: false };
                let bytes = limits::READS_BYTES / (count * survey.count()).max(1);
                let look = Look::Rows(Read::new(&target.address.alias, Subject::Streams, scope).within(bytes));
                survey.look(index, STREAMS, vec![look], asks);
            }
            Found::Seen(index) => {
                let looked = survey.take(index);
                let Some(target) = survey.target(index).cloned() else { return };
                self.seen(keyspace, &target, looked);
            }
            Found::Unreached(unreached) => self.unreached(keyspace, unreached),
            Found::Nobody(why) => {
                let message = why.status().map_or_else(String::new, |status| status.message);
                self.fail(keyspace, "", "", Lost::Record, message);
            }
        }
    }

    fn unreached(&mut self, keyspace: &KeyspaceName, Unreached { place, lost, message }: Unreached) {
        let is_idle = lost == Lost::NoPrimary && !place.is_primary_serving;
        self.failures.push(place.failure(keyspace, lost, message.clone()));
        let tablet = place.alias.as_ref().map_or_else(String::new, |_| place.alias_text());
        let (streams, journals) = (Err(message.clone()), Err(message));
        let primary = Primary { tablet, db_name: String::new(), streams, journals, is_idle };
        self.seen.insert((keyspace.clone(), place.shard), primary);
    }

    fn seen(&mut self, keyspace: &KeyspaceName, target: &Target, mut looked: BTreeMap<usize, Looked>) {
        let shard = target.place.shard.clone();
        let key = (keyspace.clone(), shard.clone());
        if let Some(streams) = looked.remove(&STREAMS) {
            let streams = streams.whole().map(|pages| rows::read(&pages, keyspace, &shard));
            let streams = streams.map_err(|why| self.failed(keyspace, target, &why));
            let (tablet, db_name) = (target.place.alias_text(), target.db_name.clone());
            let journals = Err(format!("the journals of {keyspace}/{shard} were not read"));
            self.seen.insert(key.clone(), Primary { tablet, db_name, streams, journals, is_idle: false });
        }
        let Some(journals) = looked.remove(&JOURNALS) else { return };
        let rows = journals
            .response()
            .and_then(|response| RowSet::from_vreplication_exec(&response).map_err(|error| format!("journals: {error}")));
        let journals = rows.and_then(|rows| read_journals(&rows)).map_err(|why| self.failed(keyspace, target, &why));
        if let Some(primary) = self.seen.get_mut(&key) {
            primary.journals = journals;
        }
    }

    fn failed(&mut self, keyspace: &KeyspaceName, target: &Target, why: &str) -> String {
        self.failures.push(target.place.failure(keyspace, Lost::Shard, why));
        format!("{keyspace}/{} {}: {why}", target.place.shard, target.place.alias_text())
    }
}

fn read_journals(rows: &RowSet) -> Result<BTreeMap<i64, Journal>, String> {
    let mut journals = BTreeMap::new();
    for row in rows.rows() {
        let id = row.integer("id").map_err(|error| format!("journals: {error}"))?;
        let text = row.value("val").flatten().unwrap_or_default();
        journals.insert(id.ok_or("journals: they have no id")?, journal::read(text));
    }
    Ok(journals)
}

impl Operation for Diagnose {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        let reading = &mut self.reading;
        if let Some(asked) = reading.waiting.remove(&id) {
            let records = if reading.stage == Stage::Versions { &mut reading.later } else { &mut reading.records };
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
        let of_records = self.reading.records.failures().into_iter().chain(self.reading.later.failures());
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
        let assembled = assemble::Assembled::new(self);
        let is_wanted = |evidence: &&crate::traffic::evidence::Evidence| {
            let is_of = |name: &str| self.keyspace.as_ref().is_none_or(|keyspace| **keyspace == *name);
            let is_it = self.request.workflow.is_empty()
                || self.request.workflow == evidence.workflow
                || self.request.workflow == evidence.reverse();
            (is_of(&evidence.source.keyspace) || is_of(&evidence.target.keyspace)) && is_it
        };
        let now = self.now.seconds;
        let mut workflows: Vec<_> = assembled.workflows.iter().filter(is_wanted).map(|it| reply::workflow(it, now)).collect();
        if let Some(keyspace) = self.keyspace.as_ref().filter(|_| workflows.is_empty() && !self.request.workflow.is_empty()) {
            workflows.push(reply::workflow(&assembled.without_streams(keyspace, &self.request.workflow), now));
        }
        let changed = assembled.changed.iter().map(|(asked, path)| if path.is_empty() { asked.name() } else { path.clone() });
        let changed = changed.collect();
        let not_looked_at = NOT_LOOKED_AT.map(str::to_owned).to_vec();
        let (mut leftovers, mut unknown) = (Vec::new(), BTreeSet::new());
        if self.request.workflow.is_empty() {
            let cluster: leftovers::Cluster = assembled.cluster();
            (leftovers, unknown) = cluster.leftovers();
            unknown.extend(assembled.unread);
        }
        let leftovers = leftovers.into_iter().map(reply::deviation).collect();
        DiagnoseResponse { workflows, leftovers, unknown: unknown.into_iter().collect(), not_looked_at, changed }
    }
}
