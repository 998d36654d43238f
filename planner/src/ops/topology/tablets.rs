//! `GetTablets`: by alias, by shard, or every tablet of some cells.
//!
//! Three ways to the same list. By alias: the records. By shard: the shard's record and its replication record in every cell
//! name the tablets. Otherwise: every tablet record of the cells. What cannot be read is left out and named, unless the
//! request is strict.
//!
//! A tablet whose record still says PRIMARY though another of its shard became primary later is reported as UNKNOWN. Where not
//! all tablets of its shard are at hand to tell, the shard's record does; one that cannot be read leaves the type unknown.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::records::{NoRecords, Read, all_cells, check_cell, children, lost, records};
use crate::{
    contract::{Answer, AskId, Call, Code, Failure, Reply, Status, What},
    limits,
    operation::{Asks, Operation, conclude, decode},
    proto::{
        topodata::{Shard, ShardReplication, Tablet, TabletAlias, TabletType},
        vtctldata::GetTabletsRequest,
        vttime::Time,
    },
    topo::names::{self, GLOBAL, KeyspaceName, ShardName},
    wire::Message,
};

/// The tablets on their way into a reply.
pub(super) struct Tablets {
    request: GetTabletsRequest,
    strict: bool,
    /// The one shard whose tablets are wanted, if so.
    of_shard: Option<(KeyspaceName, ShardName)>,
    waiting: BTreeMap<AskId, Waiting>,
    /// By alias. `None`: asked for.
    found: BTreeMap<String, Option<Found>>,
    /// What the records of the primaries' shards say, by keyspace and shard. `None`: not asked for.
    shards: Option<BTreeMap<(String, String), Result<Primary, String>>>,
    failures: Vec<Failure>,
    fatal: Option<Status>,
}

/// The primary that a shard's record names, and since when. Without one: nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Primary {
    alias: Option<TabletAlias>,
    since: Term,
}

struct Found {
    record: Tablet,
    /// As stored.
    value: Vec<u8>,
}

enum Waiting {
    /// All cells: for their tablets, or for the shard's tablets in them.
    Cells,
    Shard,
    ShardReplication(String),
    Tablet(String),
    CellTablets(String),
    /// The record of a primary's shard.
    Term((String, String)),
}

impl Tablets {
    pub(super) fn start(call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        let request: GetTabletsRequest = decode(call)?;
        let named = request.tablet_aliases.len().max(request.cells.len());
        if named > limits::TARGETS {
            let message = format!("{named} tablets or cells are more than the {} of one request", limits::TARGETS);
            return Err(Status { code: Code::InvalidArgument, message });
        }
        let strict = request.strict || call.options.strict;
        let mut this = Self {
            request,
            strict,
            of_shard: None,
            waiting: BTreeMap::new(),
            found: BTreeMap::new(),
            shards: None,
            failures: Vec::new(),
            fatal: None,
        };
        let cells: BTreeSet<String> = this.request.cells.iter().cloned().collect();
        if !this.request.tablet_aliases.is_empty() {
            for alias in this.request.tablet_aliases.clone() {
                check_cell(&alias.cell)?;
                this.tablet(&alias, asks);
            }
        } else if this.is_by_shard() {
            let (keyspace, shard) = (&this.request.keyspace, &this.request.shard);
            let refused = |bad: String| Status::unknown(format!("GetTabletMapForShard({keyspace}, {shard}) failed: {bad}"));
            let keyspace = KeyspaceName::parse(keyspace).map_err(|bad| refused(bad.to_string()))?;
            let shard = ShardName::of_request(shard).map_err(refused)?;
            let path = keyspace.shard_path(&shard);
            this.waiting.insert(asks.release(What::TopoGet { cell: GLOBAL.into(), path }), Waiting::Shard);
            this.of_shard = Some((keyspace, shard));
            this.all_cells(asks);
        } else if cells.is_empty() {
            this.all_cells(asks);
        } else {
            for cell in cells {
                check_cell(&cell)?;
                this.cell(cell, asks);
            }
        }
        Ok(this)
    }

    fn is_by_shard(&self) -> bool {
        !self.request.keyspace.is_empty() && !self.request.shard.is_empty()
    }

    fn all_cells(&mut self, asks: &mut Asks) {
        let id = asks.release(What::TopoRange { cell: GLOBAL.into(), prefix: names::CELLS_PREFIX.into() });
        self.waiting.insert(id, Waiting::Cells);
    }

    fn cell(&mut self, cell: String, asks: &mut Asks) {
        if let Some((keyspace, shard)) = &self.of_shard {
            let path = keyspace.shard_replication_path(shard);
            let id = asks.release(What::TopoGet { cell: cell.clone(), path });
            self.waiting.insert(id, Waiting::ShardReplication(cell));
        } else {
            let id = asks.release(What::TopoRange { cell: cell.clone(), prefix: names::TABLETS_PREFIX.into() });
            self.waiting.insert(id, Waiting::CellTablets(cell));
        }
    }

    /// Asks for a tablet's record, once. An alias of nothing is none.
    fn tablet(&mut self, alias: &TabletAlias, asks: &mut Asks) {
        let text = names::alias_text(Some(alias));
        if alias.cell.is_empty() && alias.uid == 0 || self.found.contains_key(&text) {
            return;
        }
        if let Err(bad) = names::check_cell(&alias.cell) {
            let message = format!("tablet {text:?}, which a record of the shard names, is in an impossible cell: {bad}");
            return self.fail("", message);
        }
        let id = asks.release(What::TopoGet { cell: alias.cell.clone(), path: names::tablet_path(&text) });
        self.found.insert(text.clone(), None);
        self.waiting.insert(id, Waiting::Tablet(text));
    }

    fn fail(&mut self, alias: &str, message: String) {
        let failure = lost(&self.request.keyspace, message);
        self.failures.push(Failure { tablet: alias.into(), shard: self.request.shard.clone(), ..failure });
    }

    /// Fails the request. Of two reasons the same one counts, whichever came first.
    fn end(&mut self, text: String) {
        let first = match self.fatal.take() {
            Some(status) => status.message.min(text),
            None => text,
        };
        self.fatal = Some(Status::unknown(first));
    }

    fn record(&mut self, alias: &str, value: Vec<u8>) {
        match Tablet::decode(value.as_slice()) {
            Ok(record) => {
                self.found.insert(alias.into(), Some(Found { record, value }));
            }
            Err(error) => self.fail(alias, format!("the record of tablet {alias} cannot be read: {error}")),
        }
    }

    fn shard(&mut self, answer: Answer, asks: &mut Asks) {
        let (keyspace, shard) = (&self.request.keyspace, &self.request.shard);
        let text = match Read::from(answer) {
            Read::Found(value) => match Shard::decode(value.as_slice()) {
                Ok(Shard { primary_alias: Some(alias), .. }) => return self.tablet(&alias, asks),
                Ok(_) => return,
                Err(error) => format!("GetShard({keyspace},{shard}): bad shard data: {error}"),
            },
            Read::Missing(text) | Read::Failed(text) => text,
        };
        self.end(format!("GetTabletMapForShard({keyspace}, {shard}) failed: {text}"));
    }

    fn shard_replication(&mut self, cell: &str, answer: Answer, asks: &mut Asks) {
        let text = match Read::from(answer) {
            Read::Found(value) => match ShardReplication::decode(value.as_slice()) {
                Ok(record) => {
                    for alias in record.nodes.iter().filter_map(|node| node.tablet_alias.as_ref()) {
                        self.tablet(alias, asks);
                    }
                    return;
                }
                Err(error) => error.to_string(),
            },
            Read::Missing(_) => return,
            Read::Failed(text) => text,
        };
        let (keyspace, shard) = (&self.request.keyspace, &self.request.shard);
        self.fail("", format!("GetShardReplication({cell}, {keyspace}, {shard}) failed: {text}"));
    }

    fn cell_tablets(&mut self, cell: &str, answer: Answer) {
        match records(answer) {
            Ok(records) => {
                for (alias, value) in children(names::TABLETS_PREFIX, "Tablet", records) {
                    if let Some(value) = value {
                        self.record(&alias, value);
                    }
                }
            }
            // A cell without tablets; but a cell that does not exist is an error.
            Err(NoRecords::Directory(_)) => {}
            Err(NoRecords::Cell(text) | NoRecords::Failed(text)) => {
                self.fail("", format!("GetTabletsByCell({cell}) failed: {text}"));
            }
        }
    }

    /// Asks for the records of the shards that have a tablet which says that it is primary, unless every tablet is at hand: then
    /// the newest term tells.
    fn ask_terms(&mut self, asks: &mut Asks) {
        let has_all = self.request.tablet_aliases.is_empty() && self.request.cells.is_empty() && self.failures.is_empty();
        let said: Vec<(String, String)> = if has_all { Vec::new() } else { self.primaries().into_iter().collect() };
        let mut shards = BTreeMap::new();
        for (keyspace, shard) in said {
            let path =
                match KeyspaceName::parse(&keyspace).and_then(|keyspace| Ok(keyspace.shard_path(&ShardName::parse(&shard)?))) {
                    Ok(path) => path,
                    Err(bad) => {
                        shards.insert((keyspace, shard), Err(bad.to_string()));
                        continue;
                    }
                };
            let id = asks.release(What::TopoGet { cell: GLOBAL.into(), path });
            self.waiting.insert(id, Waiting::Term((keyspace, shard)));
        }
        self.shards = Some(shards);
    }

    /// The shards of the wanted tablets that say PRIMARY.
    fn primaries(&self) -> BTreeSet<(String, String)> {
        let is_primary = |found: &&&Found| found.record.r#type == i32::from(TabletType::Primary);
        let wanted = self.wanted();
        wanted.iter().filter(is_primary).map(|found| (found.record.keyspace.clone(), found.record.shard.clone())).collect()
    }

    fn term(&mut self, shard: (String, String), answer: Answer) {
        let said = match Read::from(answer) {
            Read::Found(value) => Shard::decode(value.as_slice()).map_err(|error| format!("bad shard data: {error}")),
            Read::Missing(text) | Read::Failed(text) => Err(text),
        };
        let primary =
            said.map(|record| Primary { alias: record.primary_alias, since: moment(record.primary_term_start_time.as_ref()) });
        self.shards.get_or_insert_default().insert(shard, primary);
    }

    /// What is wrong with a tablet's word that it is primary; `Ok`: nothing that is known of.
    fn doubt(&self, record: &Tablet) -> Result<(), Doubt> {
        let shard = (record.keyspace.clone(), record.shard.clone());
        match self.shards.as_ref().and_then(|shards| shards.get(&shard)) {
            Some(Err(text)) => Err(Doubt::Unread(text.clone())),
            // A tablet says so before its shard's record does; a record that does not say since when is no older.
            None | Some(Ok(Primary { alias: None, .. })) => Ok(()),
            Some(Ok(primary)) if primary.alias == record.alias => Ok(()),
            Some(Ok(primary)) if primary.since != moment(None) && term(record) > primary.since => Ok(()),
            Some(Ok(_)) => Err(Doubt::Outdated),
        }
    }

    /// The tablets that were asked for, by alias, as stored.
    fn wanted(&self) -> Vec<&Found> {
        let GetTabletsRequest { keyspace, tablet_type, .. } = &self.request;
        let is_scan = self.request.tablet_aliases.is_empty() && !self.is_by_shard();
        let all = self.found.values().flatten();
        all.filter(|found| !is_scan || keyspace.is_empty() || found.record.keyspace == *keyspace)
            .filter(|found| *tablet_type == 0 || found.record.r#type == *tablet_type)
            .collect()
    }
}

impl Operation for Tablets {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        match self.waiting.remove(&id) {
            Some(Waiting::Cells) => match records(answer) {
                Ok(records) => {
                    let (cells, more) = all_cells(&self.request.keyspace, records);
                    for cell in cells {
                        self.cell(cell, asks);
                    }
                    self.failures.extend(more);
                }
                Err(NoRecords::Directory(text) | NoRecords::Cell(text) | NoRecords::Failed(text)) => self.end(text),
            },
            Some(Waiting::Shard) => self.shard(answer, asks),
            Some(Waiting::ShardReplication(cell)) => self.shard_replication(&cell, answer, asks),
            Some(Waiting::CellTablets(cell)) => self.cell_tablets(&cell, answer),
            Some(Waiting::Tablet(alias)) => match Read::from(answer) {
                Read::Found(value) => self.record(&alias, value),
                Read::Missing(_) => {}
                Read::Failed(text) => self.fail(&alias, text),
            },
            Some(Waiting::Term(shard)) => self.term(shard, answer),
            None => {}
        }
        if self.waiting.is_empty() && self.shards.is_none() && self.fatal.is_none() {
            self.ask_terms(asks);
        }
    }

    fn failures(&self) -> Vec<Failure> {
        self.failures.clone()
    }

    fn finish(&mut self) -> Reply {
        if let Some(status) = self.fatal.take() {
            return Reply::new(Err(status), Vec::new());
        }
        let wanted = self.wanted();
        let primaries = newest_terms(&wanted);
        let mut unread = BTreeMap::new();
        let reply = wanted.iter().fold(Message::new(), |reply, found| {
            let is_primary = found.record.r#type == i32::from(TabletType::Primary);
            let doubt = if is_primary { self.doubt(&found.record) } else { Ok(()) };
            if let Err(Doubt::Unread(text)) = &doubt {
                unread.insert((found.record.keyspace.clone(), found.record.shard.clone()), text.clone());
            }
            if doubt.is_err() || is_stale(&found.record, &primaries) {
                // Of a field that is there twice, the last one counts.
                reply.message(1, &[found.value.as_slice(), &TYPE_UNKNOWN].concat())
            } else {
                reply.message(1, &found.value)
            }
        });
        let is_empty = wanted.is_empty();
        for ((keyspace, shard), text) in unread {
            let message = format!("which tablet is its primary is not known: {text}");
            self.failures.push(Failure { shard, ..lost(&keyspace, message) });
        }
        conclude(reply.into_bytes(), is_empty, self.strict, std::mem::take(&mut self.failures))
    }
}

/// Why a tablet that says PRIMARY is not taken at its word.
enum Doubt {
    /// Its shard's record names another one, and has done so since its own term began.
    Outdated,
    /// Its shard's record cannot be read.
    Unread(String),
}

/// A moment, as records have it: seconds and nanoseconds. A tablet without one has never been primary.
type Term = (i64, i32);

/// When each shard's newest primary became primary, by keyspace and shard.
fn newest_terms<'a>(tablets: &[&'a Found]) -> BTreeMap<(&'a str, &'a str), Term> {
    let mut newest = BTreeMap::new();
    for Found { record, .. } in tablets.iter().filter(|found| found.record.r#type == i32::from(TabletType::Primary)) {
        let term = newest.entry((record.keyspace.as_str(), record.shard.as_str())).or_insert_with(|| term(record));
        *term = self::term(record).max(*term);
    }
    newest
}

fn is_stale(record: &Tablet, newest: &BTreeMap<(&str, &str), Term>) -> bool {
    let shards_newest = newest.get(&(record.keyspace.as_str(), record.shard.as_str()));
    record.r#type == i32::from(TabletType::Primary) && shards_newest.is_some_and(|newest| term(record) < *newest)
}

fn term(record: &Tablet) -> Term {
    moment(record.primary_term_start_time.as_ref())
}

fn moment(time: Option<&Time>) -> Term {
    time.map_or((i64::MIN, 0), |time| (time.seconds, time.nanoseconds))
}

/// Field 8 of a tablet's record, `type`, as UNKNOWN.
const TYPE_UNKNOWN: [u8; 2] = [8 << 3, 0];
