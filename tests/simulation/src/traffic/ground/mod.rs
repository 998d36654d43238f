//! What is so, whoever says what: which tablet takes writes, where applications send them, and which were taken.
//!
//! A switch of writes is right if no write that was taken is lost. A write is lost where the side that took it is not the one that the
//! journal names, or where the journal names a position before it: who follows streams never sees it then.
//!
//! Facts: `go/vt/vttablet/tabletmanager/tm_state.go` (denied tables and query service follow the topology as it was when the state was
//! refreshed), `go/vt/vtgate/executor.go` (a routing rule of the cell's `SrvVSchema` says where a table is). A tablet that is promoted reads
//! its records here, like one that is started just then: a real one goes by what it has read last. Reading and being promoted take turns
//! there (`rpc_actions.go`: both hold the tablet's action lock), here each is one moment.

mod acts;
mod routes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use vtflow_planner::proto::{
    topodata::{self, SrvKeyspace, TabletType},
    vschema::SrvVSchema,
};

use crate::{
    journal::Journal,
    tablets::Tablet,
    traffic::{
        case::{Case, Shape, Side},
        mine::Mine,
        others::Brought,
        positions::{BEFORE, last_transaction, server},
    },
    world::{CELLS, World},
};

/// The truth of a run.
pub(crate) struct Ground {
    pub(crate) world: Arc<World>,
    pub(crate) case: Case,
    pub(crate) journal: Arc<Journal>,
    /// How long a stream may take to note its position, in milliseconds.
    lag: u64,
    /// What is to go wrong at a step.
    pub(crate) mine: Mine,
    /// Nothing goes wrong with calls by chance.
    is_well: AtomicBool,
    /// Somebody has asked for streams back that stand still, and none have run since.
    pub(crate) may_stand: AtomicBool,
    /// What others' streams bring.
    brought: Mutex<Brought>,
    state: Mutex<State>,
}

struct State {
    /// Who has the writes, as the journals say.
    owner: Side,
    /// What each tablet has read of its shard when it read its state the last time: whether it takes no writes to these tables.
    views: BTreeMap<String, View>,
    /// By keyspace and shard.
    ledgers: BTreeMap<(String, String), Ledger>,
    /// By cell, with the record's revision.
    served: BTreeMap<String, (i64, Arc<SrvVSchema>)>,
    /// The same of the target's keyspace.
    shards: BTreeMap<String, (i64, Arc<SrvKeyspace>)>,
    /// Applications hardly write.
    is_quiet: bool,
    lag_number: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct View {
    denied: BTreeSet<String>,
    is_off: bool,
}

/// What was written on a shard.
#[derive(Debug, Default)]
struct Ledger {
    /// Transactions.
    written: u64,
    /// The last of them that was an application's.
    last_app: u64,
    /// Writes that hold the locks of their tables, by number.
    holding: BTreeSet<u64>,
    next: u64,
    /// How often everything under way was ended: by a primary that is none any more, or by a query service that was turned off.
    ended: u64,
    tables: BTreeSet<String>,
}

/// A write that has been let in.
pub(crate) struct Entry {
    shard: (String, String),
    tablet: Arc<Tablet>,
    terms: u64,
    ended: u64,
    number: Option<u64>,
}

impl Ground {
    pub(crate) fn new(world: &Arc<World>, case: Case, lag: u64, aimed: u64) -> Arc<Self> {
        let mut ledgers: BTreeMap<(String, String), Ledger> = BTreeMap::new();
        for side in [Side::Source, Side::Target] {
            for shard in case.shards(side) {
                let tables = case.tables.iter().map(|table| (*table).to_owned()).collect();
                ledgers.insert((case.keyspace(side).to_owned(), (*shard).to_owned()), Ledger { tables, ..Ledger::default() });
            }
        }
        let state = State {
            owner: case.owner,
            views: BTreeMap::new(),
            ledgers,
            served: BTreeMap::new(),
            shards: BTreeMap::new(),
            is_quiet: false,
            lag_number: 0,
        };
        let ground = Arc::new(Self {
            world: Arc::clone(world),
            case,
            journal: Arc::clone(&world.journal),
            lag,
            mine: Mine::default(),
            is_well: AtomicBool::new(true),
            may_stand: AtomicBool::new(false),
            brought: Mutex::default(),
            state: Mutex::new(state),
        });
        for tablet in world.tablets.values() {
            ground.refresh(tablet);
            tablet.set_acts(Arc::clone(&ground) as _, aimed);
        }
        ground
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn brought(&self) -> MutexGuard<'_, Brought> {
        self.brought.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn owner(&self) -> Side {
        self.state().owner
    }

    /// Whether applications hardly write: for as long as nothing happens.
    pub(crate) fn is_quiet(&self) -> bool {
        self.state().is_quiet
    }

    pub(crate) fn set_quiet(&self, is_quiet: bool) {
        self.state().is_quiet = is_quiet;
    }

    /// Whether calls go wrong by chance.
    pub(crate) fn set_well(&self, is_well: bool) {
        self.is_well.store(is_well, Ordering::Relaxed);
    }

    /// How many writes were taken.
    pub(crate) fn written(&self) -> u64 {
        self.state().ledgers.values().map(|ledger| ledger.written).sum()
    }

    /// A tablet reads its state.
    fn refresh(&self, tablet: &Tablet) {
        let shard = &tablet.shard;
        let path = format!("keyspaces/{}/shards/{}/Shard", shard.keyspace, shard.name);
        let record: topodata::Shard = self.world.record("global", &path).unwrap_or_default();
        let controls = record.tablet_controls.iter().filter(|control| control.tablet_type() == TabletType::Primary);
        let denied = controls.flat_map(|control| control.denied_tables.iter().cloned()).collect();
        let served: SrvKeyspace =
            self.world.record(tablet.cell(), &format!("keyspaces/{}/SrvKeyspace", shard.keyspace)).unwrap_or_default();
        let of_primary = served.partitions.iter().filter(|partition| partition.served_type() == TabletType::Primary);
        let is_off = of_primary
            .flat_map(|partition| &partition.shard_tablet_controls)
            .any(|control| control.query_service_disabled && control.name == shard.name);
        let mut state = self.state();
        if is_off && let Some(ledger) = state.ledgers.get_mut(&(shard.keyspace.clone(), shard.name.clone())) {
            ledger.ended += 1;
            ledger.holding.clear();
        }
        let view = View { denied, is_off };
        if state.views.get(&tablet.alias) != Some(&view) {
            self.journal.event(&tablet.host, format_args!("reads its state: {view:?}"));
            state.views.insert(tablet.alias.clone(), view);
            drop(state);
            self.sides();
        }
    }

    /// At no moment do both sides take what somebody sends there.
    fn sides(&self) {
        let tries = self.tries().filter_map(|(cell, table, choice)| self.enter(cell, table, choice).ok());
        let taken: BTreeSet<Option<Side>> = tries.map(|entry| self.case.side(&entry.shard.0, &entry.shard.1)).collect();
        if taken.len() > 1 {
            self.journal.violation("never do both sides take writes", "applications of some cell reach each of them");
        }
    }

    /// Writes of each kind: cells, tables, and two rows.
    fn tries(&self) -> impl Iterator<Item = (&'static str, &'static str, usize)> {
        let cells = CELLS.iter().filter(|cell| self.world.revision(cell, "SrvVSchema").is_some());
        let tables = cells.flat_map(|cell| self.case.tables.iter().map(move |table| (*cell, *table)));
        tables.flat_map(|(cell, table)| [0, 1].map(|choice| (cell, table, choice)))
    }

    /// What is under way on a tablet's shard is ended.
    fn end_all(&self, tablet: &Tablet) {
        let place = (tablet.shard.keyspace.clone(), tablet.shard.name.clone());
        if let Some(ledger) = self.state().ledgers.get_mut(&place) {
            ledger.ended += 1;
            ledger.holding.clear();
        }
    }

    /// Lets a write in, or says why not.
    pub(crate) fn enter(&self, cell: &str, table: &str, choice: usize) -> Result<Entry, String> {
        let (side, shard) = if self.case.is_reshard() {
            self.shard_of(cell, TabletType::Primary, choice)?
        } else {
            let asked = if choice.is_multiple_of(2) { Side::Source } else { Side::Target };
            let is_of_shards = self.case.shape == Shape::Partial;
            let side = if is_of_shards { self.routed_shard(cell, asked) } else { self.routed(cell, table, "") };
            let side = side.ok_or("no rule leads to either side")?;
            let shards = self.case.shards(side);
            (side, shards.get(choice % shards.len()).copied().unwrap_or_default())
        };
        let keyspace = self.case.keyspace(side);
        let found = self.world.of_keyspace(keyspace).find(|it| it.name == shard);
        let aliases = found.map(|shard| shard.tablets.as_slice()).unwrap_or_default();
        let mut tablets = aliases.iter().filter_map(|alias| self.world.tablets.get(alias));
        let tablet = tablets.find(|tablet| tablet.is_primary()).ok_or("no primary")?;
        if !self.world.network.is_up(&tablet.host) {
            return Err("the primary is down".to_owned());
        }
        let state = self.state();
        let view = state.views.get(&tablet.alias).cloned().unwrap_or_default();
        if view.denied.contains(table) {
            return Err(format!("{keyspace}/{shard} denies the table"));
        }
        if view.is_off {
            return Err(format!("{keyspace}/{shard} serves no queries"));
        }
        let shard = (keyspace.to_owned(), shard.to_owned());
        let Some(ledger) = state.ledgers.get(&shard) else { return Err("no such shard".to_owned()) };
        if !ledger.tables.contains(table) {
            return Err(format!("{keyspace} has no table {table}"));
        }
        Ok(Entry { shard, tablet: Arc::clone(tablet), terms: tablet.terms(), ended: ledger.ended, number: None })
    }

    fn is_alive(entry: &Entry, ledger: &Ledger) -> bool {
        entry.terms == entry.tablet.terms() && entry.ended == ledger.ended
    }

    /// It takes the lock of its table. Whether it still may.
    pub(crate) fn hold(&self, entry: &mut Entry) -> bool {
        let mut state = self.state();
        let Some(ledger) = state.ledgers.get_mut(&entry.shard) else { return false };
        if !Self::is_alive(entry, ledger) {
            return false;
        }
        ledger.next += 1;
        entry.number = Some(ledger.next);
        ledger.holding.insert(ledger.next);
        true
    }

    /// It is committed, unless it was ended before. Whether it was.
    pub(crate) fn commit(&self, entry: &Entry) -> bool {
        let mut state = self.state();
        let owner = state.owner;
        let Some(ledger) = state.ledgers.get_mut(&entry.shard) else { return false };
        if let Some(number) = entry.number {
            ledger.holding.remove(&number);
        }
        if !Self::is_alive(entry, ledger) {
            return false;
        }
        ledger.written += 1;
        ledger.last_app = ledger.written;
        drop(state);
        let (keyspace, shard) = &entry.shard;
        self.taken(self.case.side(keyspace, shard), owner, &format!("{keyspace}/{shard}"));
        true
    }

    fn taken(&self, side: Option<Side>, owner: Side, place: &str) {
        if side != Some(owner) {
            let text = format!("{place} has taken one while the journals say that writes are the {owner:?}'s");
            self.journal.violation("no write that was taken is lost", text);
        }
    }

    /// A stream of another workflow writes a shard, whatever its primary says to applications.
    pub(crate) fn take(&self, side: Side, shard: &str) {
        let keyspace = self.case.keyspace(side);
        let mut state = self.state();
        if let Some(ledger) = state.ledgers.get_mut(&(keyspace.to_owned(), shard.to_owned())) {
            ledger.written += 1;
        }
        let owner = state.owner;
        drop(state);
        self.taken(Some(side), owner, &format!("{keyspace}/{shard}"));
    }

    /// The last transaction on a shard that is an application's.
    pub(crate) fn last_app_write(&self, side: Side, shard: &str) -> u64 {
        let place = (self.case.keyspace(side).to_owned(), shard.to_owned());
        BEFORE + self.state().ledgers.get(&place).map_or(0, |ledger| ledger.last_app)
    }

    /// How many there are on it.
    pub(crate) fn transactions(&self, keyspace: &str, shard: &str) -> u64 {
        let place = (keyspace.to_owned(), shard.to_owned());
        BEFORE + self.state().ledgers.get(&place).map_or(0, |ledger| ledger.written)
    }

    /// Why writes are refused somewhere; empty: they are taken everywhere. When all is well otherwise.
    pub(crate) fn refused(&self) -> BTreeSet<String> {
        self.tries().filter_map(|(cell, table, choice)| self.enter(cell, table, choice).err()).collect()
    }

    /// Which sides take writes to some table, whether anybody sends any there or not.
    pub(crate) fn open(&self) -> BTreeSet<(Side, &'static str)> {
        let state = self.state();
        let mut open = BTreeSet::new();
        for tablet in self.world.tablets.values().filter(|tablet| tablet.is_primary()) {
            let Some(side) = self.case.side(&tablet.shard.keyspace, &tablet.shard.name) else { continue };
            let view = state.views.get(&tablet.alias).cloned().unwrap_or_default();
            let tables = self.case.tables.iter().filter(|table| !view.is_off && !view.denied.contains(**table));
            open.extend(tables.map(|table| (side, *table)));
        }
        open
    }

    /// States and messages of a workflow's streams on one side's shards.
    pub(crate) fn streams(&self, side: Side, workflow: &str) -> Vec<(String, String)> {
        let sql = format!("select state, message from _vt.vreplication where workflow = '{workflow}'");
        let shards = self.world.shards.iter().filter(|shard| self.case.side(&shard.keyspace, &shard.name) == Some(side));
        shards.flat_map(|shard| shard.rows(&sql)).filter_map(|row| Some((row.first()?.clone(), row.get(1)?.clone()))).collect()
    }

    /// Whether a side has its tables still.
    pub(crate) fn has_tables(&self, side: Side) -> bool {
        let state = self.state();
        let mut of_side = state.ledgers.iter().filter(|((keyspace, shard), _)| self.case.side(keyspace, shard) == Some(side));
        of_side.all(|(_, ledger)| self.case.tables.iter().all(|table| ledger.tables.contains(*table)))
    }

    fn position(&self, keyspace: &str, shard: &str) -> String {
        format!("MySQL56/{}:1-{}", server(keyspace, shard), self.transactions(keyspace, shard))
    }

    fn directions(&self) {
        let runs = |side, workflow| self.streams(side, workflow).iter().any(|(state, _)| state == "Running");
        if runs(Side::Target, self.case.workflow) && runs(Side::Source, self.case.reverse) {
            self.journal.violation("at most one direction runs", "streams of both directions run");
        }
    }

    fn journal_written(&self, tablet: &Tablet, statement: &str) {
        let (keyspace, shard) = (&tablet.shard.keyspace, &tablet.shard.name);
        let Some(side) = self.case.side(keyspace, shard) else {
            self.journal.violation("a journal is its workflow's", format!("{keyspace}/{shard}: {statement}"));
            return;
        };
        let local = statement.split("local_position:").nth(1).unwrap_or_default();
        let end = last_transaction(local, &server(keyspace, shard)).unwrap_or(0);
        let written = self.transactions(keyspace, shard);
        self.journal.event(&tablet.host, format_args!("journal of {keyspace}/{shard}: {end} of {written}"));
        if end != written {
            let text = format!("the journal of {keyspace}/{shard} ends with {end}, and {written} were taken");
            self.journal.violation("no write that was taken is lost", text);
        }
        let open: Vec<_> = self.open().into_iter().filter(|(open, _)| *open == side).collect();
        if !open.is_empty() {
            self.journal.violation("a side is closed before its journal is written", format!("{open:?} take writes"));
        }
        let workflow = if side == Side::Source { self.case.workflow } else { self.case.reverse };
        let sql = format!("select state, pos, source from _vt.vreplication where workflow = '{workflow}'");
        let others = self.world.shards.iter().filter(|it| self.case.side(&it.keyspace, &it.name) == Some(side.other()));
        for (place, row) in others.flat_map(|it| it.rows(&sql).into_iter().map(move |row| (&it.name, row))) {
            let [state, pos, source] = row.as_slice() else { continue };
            if !source.contains(&format!("shard:\"{shard}\"")) {
                continue;
            }
            if last_transaction(pos, &server(keyspace, shard)).unwrap_or(0) < end || state != "Stopped" {
                let text = format!("the stream of {keyspace}/{shard} on {place} is {state} at {pos}, and {end} were taken");
                self.journal.violation("no write that was taken is lost", text);
            }
        }
        self.beside_at_journal(side);
        self.journal.count("switch", format!("journal of the {side:?}"));
        self.state().owner = side.other();
    }
}
