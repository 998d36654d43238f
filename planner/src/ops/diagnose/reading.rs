//! One reading of all that a diagnosis goes by, stage after stage.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    records::{Asked, Records},
    rows::{self, StreamOf},
    sequences::Sequences,
};
use crate::{
    contract::{AskId, Failure, Lost, What},
    formats::{gtids, position},
    limits,
    operation::Asks,
    sequences::{NO_TABLE, current, next_value},
    sidecar::{
        query::Query,
        read::{Read, Subject},
        result::RowSet,
        statement::Scope,
        survey::{Found, Look, Looked, Survey},
    },
    topo::{
        names::{self, GLOBAL, KeyspaceName},
        said::errno,
        targets::{Target, Unreached},
    },
    traffic::{evidence::Journal, journal},
};

/// One reading of all of it.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) stage: Stage,
    pub(super) waiting: BTreeMap<AskId, Asked>,
    pub(super) records: Records,
    /// The records as they are at the end.
    pub(super) later: Records,
    /// The locks, as they are at the end.
    pub(super) locks: Records,
    /// Those that are read.
    pub(super) keyspaces: BTreeSet<KeyspaceName>,
    pub(super) surveys: BTreeMap<KeyspaceName, Survey>,
    /// By keyspace and shard: the primary, and what it has.
    pub(super) seen: BTreeMap<(KeyspaceName, String), Primary>,
    pub(super) failures: Vec<Failure>,
    /// Those that are looked at; `None`: none.
    pub(super) sequences: Option<Sequences>,
}

/// What is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Rules, names, cells, locks.
    #[default]
    Cluster,
    /// Shards, what the cells serve.
    Keyspaces,
    Streams,
    /// And what the primaries have purged that streams read from.
    Journals,
    /// Of streams that lack something of it: where they are by now.
    Positions,
    Versions,
    Done,
}

/// A shard's primary, as far as it was reached.
pub(super) struct Primary {
    pub(super) tablet: String,
    pub(super) db_name: String,
    pub(super) streams: Result<Vec<StreamOf>, String>,
    pub(super) journals: Result<BTreeMap<i64, Journal>, String>,
    /// The transactions of which it has no binary logs any more, without flavor; `None`: nobody needs to know.
    pub(super) purged: Option<Result<String, String>>,
    /// Whether it was not to be expected that it answers: nothing serves there.
    pub(super) is_idle: bool,
}

/// The numbers of the looks at a target.
const STREAMS: usize = 0;
const JOURNALS: usize = 1;
const PURGED: usize = 2;
const POSITIONS: usize = 3;
/// From here on: the largest values of columns, then values of sequences, each by its number.
const COLUMNS: usize = 4;
const SEQUENCES: usize = COLUMNS + limits::DIAGNOSED_COLUMNS;

impl Reading {
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.surveys.values().all(Survey::is_done)
    }

    /// All streams that were read.
    pub(super) fn streams(&self) -> impl Iterator<Item = &StreamOf> {
        self.seen.values().filter_map(|primary| primary.streams.as_ref().ok()).flatten()
    }

    pub(super) fn ask(&mut self, asked: Asked, asks: &mut Asks) {
        let (cell, path) = asked.place();
        let cell = if cell.is_empty() { GLOBAL } else { cell }.to_owned();
        let is_list = matches!(asked, Asked::Names) || self.stage == Stage::Versions && !asked.is_of_locks();
        let what = match (path.ends_with('/'), is_list) {
            (true, true) => What::TopoList { cell, prefix: path },
            (true, false) => What::TopoRange { cell, prefix: path },
            (false, _) => What::TopoGet { cell, path },
        };
        self.waiting.insert(asks.release(what), asked);
    }

    pub(super) fn fail(&mut self, keyspace: &str, shard: &str, tablet: &str, lost: Lost, message: String) {
        let (keyspace, shard, tablet) = (keyspace.into(), shard.into(), tablet.into());
        self.failures.push(Failure { keyspace, shard, tablet, workflow: String::new(), lost, message });
    }

    /// The name of a keyspace, if it can be one.
    pub(super) fn name(&mut self, name: &str) -> Option<KeyspaceName> {
        let parsed = KeyspaceName::parse(name);
        if let Err(bad) = &parsed {
            self.fail(name, "", "", Lost::Record, names::no_keyspace_can_be(name, bad));
        }
        parsed.ok()
    }

    pub(super) fn look_at_streams(&mut self, asks: &mut Asks) {
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

    pub(super) fn look_at_journals(&mut self, asks: &mut Asks) {
        self.stage = Stage::Journals;
        // By keyspace and shard, which migration ids.
        let mut wanted: BTreeMap<(String, String), BTreeSet<i64>> = BTreeMap::new();
        for (key, of) in rows::workflows(self.streams()) {
            let id = journal::migration_id(&key.target, of.forward.iter().map(|it| (it.shard.as_str(), it.stream.id)));
            let (sources, targets) = of.shards();
            for shard in sources {
                wanted.entry((key.source.clone(), shard)).or_default().insert(id);
            }
            // Only a way back that was begun can have written one.
            if of.reverse.iter().all(|it| it.stream.is_frozen()) {
                continue;
            }
            let back = journal::migration_id(&key.source, of.reverse.iter().map(|it| (it.shard.as_str(), it.stream.id)));
            for shard in targets {
                wanted.entry((key.target.clone(), shard)).or_default().insert(back);
            }
        }
        for (keyspace, survey) in &mut self.surveys {
            let targets: Vec<(usize, String)> = survey.targets().map(|(index, it)| (index, it.place.shard.clone())).collect();
            for (index, shard) in targets {
                let Some(ids) = wanted.get(&(keyspace.to_string(), shard)) else { continue };
                let ids: Vec<String> = ids.iter().take(limits::JOURNALS).map(ToString::to_string).collect();
                let (ids, limit) = (ids.join(", "), limits::JOURNALS);
                let statement = format!("select * from _vt.resharding_journal where id in ({ids}) limit {limit}");
                survey.look(index, JOURNALS, vec![Look::One(Query::vreplication("journals", statement))], asks);
            }
        }
        self.look_at_logs(asks);
        self.look_at_columns(asks);
    }

    /// The largest values of columns that take theirs from sequences, on every shard that serves.
    fn look_at_columns(&mut self, asks: &mut Asks) {
        let Some(sequences) = &mut self.sequences else { return };
        let mut unread = BTreeSet::new();
        for (number, column) in sequences.columns.iter().enumerate() {
            let Ok(keyspace) = KeyspaceName::parse(&column.keyspace) else { continue };
            let shards = self.records.shards(&keyspace).unwrap_or_default();
            let serving = shards.iter().filter(|(_, record)| record.known().is_none_or(|it| it.is_primary_serving));
            for (shard, _) in serving {
                let survey = self.surveys.get_mut(&keyspace);
                let target = survey.as_ref().and_then(|it| it.targets().find(|(_, target)| target.place.shard == *shard));
                let target = target.map(|(index, target)| (index, target.db_name.clone()));
                match (survey, target) {
                    (Some(survey), Some((index, db_name))) => {
                        survey.look(index, COLUMNS + number, vec![Look::One(column.query(&db_name))], asks);
                    }
                    _ => drop(unread.insert(format!("the largest values of {keyspace}/{shard} were not read"))),
                }
            }
        }
        for why in unread {
            sequences.unread(why);
        }
    }

    /// The sequences, once their columns are known: what a column has then its sequence had given away before.
    fn look_at_sequences(&mut self, asks: &mut Asks) {
        let Some(sequences) = &mut self.sequences else { return };
        let mut unread = BTreeSet::new();
        for (number, sequence) in sequences.all.iter().enumerate() {
            let survey = KeyspaceName::parse(&sequence.keyspace).ok().and_then(|keyspace| self.surveys.get_mut(&keyspace));
            let targets =
                survey.as_ref().map(|it| it.targets().map(|(index, it)| (index, it.db_name.clone())).collect::<Vec<_>>());
            match (survey, targets.as_deref()) {
                (Some(survey), Some([(index, db_name)])) => {
                    survey.look(*index, SEQUENCES + number, vec![Look::One(sequence.query(db_name))], asks);
                }
                _ => drop(unread.insert(format!("{}: a sequence's keyspace has one shard, with a primary", sequence.keyspace))),
            }
        }
        for why in unread {
            sequences.unread(why);
        }
    }

    /// What primaries say of columns and sequences.
    fn sequences_are(&mut self, keyspace: &KeyspaceName, target: &Target, looked: BTreeMap<usize, Looked>) {
        let tablet = target.place.alias_text();
        for (number, looked) in looked {
            let Some(sequences) = &mut self.sequences else { return };
            let failed = if let Some(number) = number.checked_sub(SEQUENCES) {
                let next = match looked {
                    Looked::Refused(_, message) if errno(&message) == Some(NO_TABLE) => Ok(None),
                    looked => looked.response().and_then(|response| current(&response)).map(Some),
                };
                let next = next.map(|next| sequences.sequence_is(number, &target.place.shard, &tablet, next));
                next.map_err(|why| format!("sequence {}: {why}", sequences.name(number)))
            } else if let Some(number) = number.checked_sub(COLUMNS) {
                let next = looked.response().and_then(|response| next_value(&response));
                let next = next.map(|next| sequences.column_is(number, next));
                next.map_err(|why| format!("the largest value of {}: {why}", sequences.column_name(number)))
            } else {
                Ok(())
            };
            if let Err(why) = failed {
                let why = self.failed(keyspace, target, &why);
                self.sequences.iter_mut().for_each(|it| it.unread(why.clone()));
            }
        }
    }

    /// What the primaries have purged of the binary logs that streams read.
    fn look_at_logs(&mut self, asks: &mut Asks) {
        let sources = self.streams().filter_map(StreamOf::reads_logs_of);
        let sources: BTreeSet<(String, String)> = sources.map(|(keyspace, shard)| (keyspace.into(), shard.into())).collect();
        for (keyspace, survey) in &mut self.surveys {
            let targets = survey.targets().map(|(index, it)| (index, it.place.shard.clone(), it.db_name.clone()));
            for (index, shard, db_name) in targets.collect::<Vec<_>>() {
                if sources.contains(&(keyspace.to_string(), shard)) {
                    let query = Query::dba("purged binary logs", "select @@global.gtid_purged".into(), &db_name);
                    survey.look(index, PURGED, vec![Look::One(query)], asks);
                }
            }
        }
    }

    /// What a stream needs that the primary of its source has purged, by that primary's name.
    pub(super) fn lacks(&self, of: &StreamOf) -> Option<(String, String)> {
        let (keyspace, shard) = of.reads_logs_of()?;
        let primary = self.seen.get(&(KeyspaceName::parse(keyspace).ok()?, shard.to_owned()))?;
        let lacks = gtids::missing(&of.position, primary.purged.as_ref()?.as_ref().ok()?).filter(|lacks| !lacks.is_empty())?;
        Some((format!("{keyspace}/{shard} {}", primary.tablet), lacks))
    }

    /// Looks once more where streams are that lack something: they were read before that was purged, and may have had it by then.
    pub(super) fn look_at_positions(&mut self, asks: &mut Asks) {
        self.stage = Stage::Positions;
        self.look_at_sequences(asks);
        let mut doubtful: BTreeMap<(String, String), BTreeSet<i64>> = BTreeMap::new();
        for of in self.streams().filter(|of| self.lacks(of).is_some()) {
            doubtful.entry((of.keyspace.clone(), of.shard.clone())).or_default().insert(of.stream.id);
        }
        for ((keyspace, shard), ids) in doubtful {
            let Ok(keyspace) = KeyspaceName::parse(&keyspace) else { continue };
            let of_primary = self.seen.get_mut(&(keyspace.clone(), shard.clone()));
            for of in
                of_primary.into_iter().flat_map(|it| it.streams.iter_mut().flatten()).filter(|of| ids.contains(&of.stream.id))
            {
                // Nothing is said of it until it is known.
                of.position.clear();
            }
            let Some(survey) = self.surveys.get_mut(&keyspace) else { continue };
            let Some(index) = survey.targets().find(|(_, it)| it.place.shard == shard).map(|(index, _)| index) else { continue };
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let statement = format!("select id, pos from _vt.vreplication where id in ({})", ids.join(", "));
            survey.look(index, POSITIONS, vec![Look::One(Query::vreplication("positions", statement))], asks);
        }
    }

    pub(super) fn look_at_versions(&mut self, asks: &mut Asks) {
        self.stage = Stage::Versions;
        let locks = self.keyspaces.iter().cloned().map(Asked::Locks).chain([Asked::NamedLocks]).collect::<Vec<_>>();
        for asked in self.records.deciding().into_iter().chain(locks) {
            self.ask(asked, asks);
        }
    }

    pub(super) fn found(&mut self, keyspace: &KeyspaceName, found: Found, asks: &mut Asks) {
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
        let primary = Primary { tablet, db_name: String::new(), streams, journals, purged: None, is_idle };
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
            self.seen.insert(key.clone(), Primary { tablet, db_name, streams, journals, purged: None, is_idle: false });
        }
        let rows = |looked: Looked, what| {
            let rows = looked.response().and_then(|it| RowSet::from_vreplication_exec(&it).map_err(|error| error.to_string()));
            rows.map_err(|error| format!("{what}: {error}"))
        };
        let journals = looked.remove(&JOURNALS).map(|journals| rows(journals, "journals").and_then(|it| read_journals(&it)));
        let journals = journals.map(|journals| journals.map_err(|why| self.failed(keyspace, target, &why)));
        let purged = looked.remove(&PURGED).map(|purged| {
            let text = purged.response().and_then(|response| read_purged(&response));
            text.map_err(|why| self.failed(keyspace, target, &format!("purged binary logs: {why}")))
        });
        let positions =
            looked.remove(&POSITIONS).map(|positions| rows(positions, "positions").and_then(|it| read_positions(&it)));
        let positions = positions.map(|positions| positions.map_err(|why| self.failed(keyspace, target, &why)));
        self.sequences_are(keyspace, target, looked);
        let Some(primary) = self.seen.get_mut(&key) else { return };
        if let Some(journals) = journals {
            primary.journals = journals;
        }
        primary.purged = purged.or_else(|| primary.purged.take());
        for of in primary.streams.iter_mut().flatten() {
            if let Some(position) = positions.iter().flatten().find_map(|it| it.get(&of.stream.id)) {
                of.position.clone_from(position);
            }
        }
    }

    fn failed(&mut self, keyspace: &KeyspaceName, target: &Target, why: &str) -> String {
        self.failures.push(target.place.failure(keyspace, Lost::Shard, why));
        format!("{keyspace}/{} {}: {why}", target.place.shard, target.place.alias_text())
    }
}

/// `@@global.gtid_purged`, in normal form.
fn read_purged(response: &[u8]) -> Result<String, String> {
    let rows = RowSet::from_execute_fetch(response).map_err(|error| error.to_string())?;
    let value = rows.rows().next().and_then(|row| row.at(0)).ok_or("they are not told")?;
    position::decode(&[b"MySQL56/", value].concat()).map_err(|error| error.to_string())
}

/// Positions of streams, without flavor, by id.
fn read_positions(rows: &RowSet) -> Result<BTreeMap<i64, String>, String> {
    let mut positions = BTreeMap::new();
    for row in rows.rows() {
        let id = row.integer("id").map_err(|error| format!("positions: {error}"))?.ok_or("positions: they have no id")?;
        let position = position::decode(row.value("pos").flatten().unwrap_or_default()).map_err(|error| error.to_string())?;
        positions.insert(id, position);
    }
    Ok(positions)
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
