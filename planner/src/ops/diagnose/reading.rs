//! One reading of all that a diagnosis goes by, stage after stage.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    records::{Asked, Records},
    rows::{self, StreamOf},
};
use crate::{
    contract::{AskId, Failure, Lost, What},
    limits,
    operation::Asks,
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
    /// Those that are read.
    pub(super) keyspaces: BTreeSet<KeyspaceName>,
    pub(super) surveys: BTreeMap<KeyspaceName, Survey>,
    /// By keyspace and shard: the primary, and what it has.
    pub(super) seen: BTreeMap<(KeyspaceName, String), Primary>,
    pub(super) failures: Vec<Failure>,
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
    Journals,
    Versions,
    Done,
}

/// A shard's primary, as far as it was reached.
pub(super) struct Primary {
    pub(super) tablet: String,
    pub(super) db_name: String,
    pub(super) streams: Result<Vec<StreamOf>, String>,
    pub(super) journals: Result<BTreeMap<i64, Journal>, String>,
    /// Whether it was not to be expected that it answers: nothing serves there.
    pub(super) is_idle: bool,
}

/// The numbers of the looks at a target.
const STREAMS: usize = 0;
const JOURNALS: usize = 1;

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
        let is_list = matches!(asked, Asked::Names) || self.stage == Stage::Versions;
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
    }

    pub(super) fn look_at_versions(&mut self, asks: &mut Asks) {
        self.stage = Stage::Versions;
        for asked in self.records.deciding() {
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
