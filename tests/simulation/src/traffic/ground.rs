//! What is so, whoever says what: which tablet takes writes, where applications send them, and which were taken.
//!
//! A switch of writes is right if no write that was taken is lost. A write is lost where the side that took it is not the one that the
//! journal names, or where the journal names a position before it: who follows streams never sees it then.
//!
//! Facts: `go/vt/vttablet/tabletmanager/tm_state.go` (denied tables and query service follow the topology as it was when the state was
//! refreshed), `go/vt/vtgate/executor.go` (a routing rule of the cell's `SrvVSchema` says where a table is).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use prost::Message;
use tokio::time::{Duration, Instant, sleep};
use tonic::Status;
use vtflow_planner::proto::{
    query::{Field, QueryResult, Row},
    tabletmanagerdata as data,
    topodata::{self, SrvKeyspace, TabletType},
    vschema::SrvVSchema,
};

use crate::{
    etcd::{self, Etcd},
    journal::Journal,
    strike::Strike,
    tablets::{Acts, Tablet},
    traffic::{
        case::{Case, Side},
        kinds::{self, Step, statement_of},
        mine::Mine,
    },
    wire::Doing,
    world::{CELLS, World},
};

/// The truth of a run.
pub(crate) struct Ground {
    pub(crate) world: Arc<World>,
    pub(crate) case: Case,
    journal: Arc<Journal>,
    /// How long a stream may take to note its position, in milliseconds.
    lag: u64,
    /// What is to go wrong at a step.
    pub(crate) mine: Mine,
    /// Nothing goes wrong with calls by chance.
    is_well: AtomicBool,
    /// Somebody has asked for streams back that stand still, and none have run since.
    pub(crate) may_stand: AtomicBool,
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
    /// Writes that hold the locks of their tables, by number.
    holding: BTreeSet<u64>,
    next: u64,
    /// How often everything under way was ended: by a primary that is none any more, or by a query service that was turned off.
    ended: u64,
    tables: BTreeSet<String>,
}

/// Transactions that were there before the run.
const BEFORE: u64 = 1_000;

/// How long `LOCK TABLES` waits at most: `lock_wait_timeout` of the tablets' sessions is longer than any call.
const LOCK_WAIT: Duration = Duration::from_secs(30);

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

    /// What a cell serves to vtgates.
    fn served(&self, cell: &str) -> Option<Arc<SrvVSchema>> {
        let known = self.state().served.get(cell).cloned();
        let read = self.kept(cell, "SrvVSchema", known)?;
        self.state().served.insert(cell.to_owned(), read.clone());
        Some(read.1)
    }

    /// Which shards a cell serves of the target's keyspace.
    fn shards(&self, cell: &str) -> Option<Arc<SrvKeyspace>> {
        let known = self.state().shards.get(cell).cloned();
        let read = self.kept(cell, &format!("keyspaces/{}/SrvKeyspace", self.case.target), known)?;
        self.state().shards.insert(cell.to_owned(), read.clone());
        Some(read.1)
    }

    /// A record as it is; what is known of it if that is the same.
    fn kept<M: Message + Default>(&self, cell: &str, path: &str, known: Option<(i64, Arc<M>)>) -> Option<(i64, Arc<M>)> {
        let revision = self.world.revision(cell, path)?;
        if let Some(known) = known.filter(|(of, _)| *of == revision) {
            return Some(known);
        }
        Some((revision, Arc::new(self.world.record(cell, path)?)))
    }

    /// Where a cell sends what is asked of a table on tablets of one type: `@replica`, or nothing for writes.
    pub(crate) fn routed(&self, cell: &str, table: &str, suffix: &str) -> Option<Side> {
        let served = self.served(cell)?;
        let rules = served.routing_rules.as_ref().map(|rules| rules.rules.as_slice()).unwrap_or_default();
        let from = format!("{table}{suffix}");
        let keyspace = match rules.iter().find(|rule| rule.from_table == from) {
            Some(rule) => rule.to_tables.first()?.split('.').next()?.to_owned(),
            // Without a rule whoever asks names the keyspace: a cancellation leaves the table in a sharded target's vschema.
            None if suffix.is_empty() => return Some(self.owner()),
            None => return self.routed(cell, table, ""),
        };
        [Side::Source, Side::Target].into_iter().find(|side| self.case.keyspace(*side) == keyspace)
    }

    /// Which of a reshard's shards a cell sends what to, for one type of tablet. `choice`: which row.
    fn shard_of(&self, cell: &str, of: TabletType, choice: usize) -> Result<(Side, &'static str), &'static str> {
        let served = self.shards(cell).ok_or("nothing is served")?;
        let references: Vec<&str> = served
            .partitions
            .iter()
            .filter(|partition| partition.served_type() == of)
            .flat_map(|partition| &partition.shard_references)
            .map(|reference| reference.name.as_str())
            .collect();
        let pick = |side: Side, choice: usize| {
            let shards = self.case.shards(side);
            shards.get(choice % shards.len()).copied().filter(|shard| references.contains(shard)).map(|shard| (side, shard))
        };
        match (pick(Side::Source, 0), pick(Side::Target, choice)) {
            (Some(_), Some(_)) => Err("two shards have the row"),
            (Some(found), None) | (None, Some(found)) => Ok(found),
            (None, None) => Err("no shard has the row"),
        }
    }

    /// Which side reads of one type go to in a cell; `None`: nobody can tell, or it depends on the table.
    pub(crate) fn reads(&self, cell: &str, of: TabletType) -> Option<Side> {
        if self.case.is_reshard() {
            return self.shard_of(cell, of, 0).ok().map(|(side, _)| side);
        }
        let suffix = format!("@{}", of.as_str_name().to_lowercase());
        let mut sides = self.case.tables.iter().map(|table| self.routed(cell, table, &suffix));
        let first = sides.next()??;
        sides.all(|side| side == Some(first)).then_some(first)
    }

    /// Lets a write in, or says why not.
    pub(crate) fn enter(&self, cell: &str, table: &str, choice: usize) -> Result<Entry, String> {
        let (side, shard) = if self.case.is_reshard() {
            self.shard_of(cell, TabletType::Primary, choice)?
        } else {
            let side = self.routed(cell, table, "").ok_or("no rule leads to either side")?;
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
        drop(state);
        let (keyspace, shard) = &entry.shard;
        if self.case.side(keyspace, shard) != Some(owner) {
            let text = format!("{keyspace}/{shard} has taken one while the journals say that writes are the {owner:?}'s");
            self.journal.violation("no write that was taken is lost", text);
        }
        true
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
        let written = self.state().ledgers.get(&(keyspace.to_owned(), shard.to_owned())).map_or(0, |ledger| ledger.written);
        format!("MySQL56/{}:1-{}", server(keyspace, shard), BEFORE + written)
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
        let written = BEFORE + self.state().ledgers.get(&(keyspace.clone(), shard.clone())).map_or(0, |ledger| ledger.written);
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
        self.journal.count("switch", format!("journal of the {side:?}"));
        self.state().owner = side.other();
    }

    /// A statement that is not of the sidecar tables.
    async fn statement(&self, tablet: &Tablet, text: &str) -> Option<Result<QueryResult, Status>> {
        let lower = text.to_lowercase();
        let place = (tablet.shard.keyspace.clone(), tablet.shard.name.clone());
        if lower.starts_with("lock tables") {
            let until = Instant::now() + LOCK_WAIT;
            let before: BTreeSet<u64> = self.state().ledgers.get(&place).map(|ledger| ledger.holding.clone()).unwrap_or_default();
            let is_held = || self.state().ledgers.get(&place).is_some_and(|it| !it.holding.is_disjoint(&before));
            while is_held() && Instant::now() < until {
                sleep(Duration::from_millis(5)).await;
            }
            return Some(Ok(QueryResult::default()));
        }
        if lower.starts_with("select sleep(") {
            sleep(Duration::from_millis(100)).await;
            return Some(Ok(QueryResult::default()));
        }
        if lower.contains("information_schema.tables") {
            let state = self.state();
            let tables = state.ledgers.get(&place).map(|ledger| ledger.tables.clone()).unwrap_or_default();
            let wanted = text.split("table_name = '").nth(1).and_then(|rest| rest.split('\'').next());
            let found: Vec<&String> = tables.iter().filter(|table| wanted.is_none_or(|wanted| wanted == **table)).collect();
            let has_types = lower.contains("table_type");
            return Some(Ok(table_rows(&found, has_types)));
        }
        if lower.starts_with("drop table") || lower.starts_with("rename table") {
            let name = text.split('`').nth(3).unwrap_or_default().to_owned();
            let mut state = self.state();
            let tables = &mut state.ledgers.get_mut(&place)?.tables;
            if tables.remove(&name) {
                self.journal.event(&tablet.host, format_args!("table {name} is gone"));
                return Some(Ok(QueryResult::default()));
            }
            let text = format!("Unknown table 'vt_{}.{name}' (errno 1051) (sqlstate 42S02) during query: {text}", place.0);
            return Some(Err(Status::unknown(text)));
        }
        None
    }

    fn took(&self) -> Duration {
        let mut state = self.state();
        state.lag_number = state.lag_number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis((state.lag_number >> 33).checked_rem(self.lag + 1).unwrap_or(0))
    }
}

/// The server that a shard's transactions are of.
fn server(keyspace: &str, shard: &str) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in keyspace.bytes().chain([b'/']).chain(shard.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{:08x}-0000-4000-8000-{:012x}", hash >> 32, hash & 0xffff_ffff_ffff)
}

/// The last transaction of a server in a text with a position; `None`: it has none of them.
fn last_transaction(text: &str, server: &str) -> Option<u64> {
    let is_range = |letter: char| letter.is_ascii_digit() || letter == ':' || letter == '-';
    let after = text.split(server).nth(1)?;
    let ranges = after.split(|letter| !is_range(letter)).next()?;
    ranges.rsplit(['-', ':']).next()?.parse().ok()
}

fn table_rows(tables: &[&String], has_types: bool) -> QueryResult {
    const VARCHAR: i32 = 6165;
    let names: &[&str] = if has_types { &["TABLE_NAME", "TABLE_TYPE"] } else { &["TABLE_NAME"] };
    let field = |name: &&str| Field { name: name.as_bytes().to_vec(), r#type: VARCHAR, ..Field::default() };
    let row = |table: &&String| {
        let kind = if has_types { "BASE TABLE" } else { "" };
        let mut lengths = vec![i64::try_from(table.len()).unwrap_or(0)];
        lengths.extend(has_types.then(|| i64::try_from(kind.len()).unwrap_or(0)));
        Row { lengths, values: format!("{table}{kind}").into_bytes() }
    };
    QueryResult { fields: names.iter().map(field).collect(), rows: tables.iter().map(row).collect(), ..QueryResult::default() }
}

impl Acts for Ground {
    fn perform<'a>(&'a self, tablet: &'a Tablet, method: &'a str, request: &'a [u8]) -> Doing<'a, Option<Result<Bytes, Status>>> {
        Box::pin(async move {
            match method {
                "RefreshState" => {
                    self.refresh(tablet);
                    Some(Ok(Bytes::new()))
                }
                "PrimaryPosition" => {
                    let position = self.position(&tablet.shard.keyspace, &tablet.shard.name);
                    Some(Ok(data::PrimaryPositionResponse { position }.encode_to_vec().into()))
                }
                "VReplicationWaitForPos" => {
                    sleep(self.took()).await;
                    None
                }
                "ExecuteFetchAsDba" => {
                    let result = self.statement(tablet, &statement_of(method, request)).await?;
                    let encoded = |result| data::ExecuteFetchAsDbaResponse { result: Some(result) }.encode_to_vec().into();
                    Some(result.map(encoded))
                }
                _ => None,
            }
        })
    }

    fn is_step(&self, method: &str, _: &[u8]) -> bool {
        matches!(method, "PrimaryPosition" | "VReplicationWaitForPos" | "ValidateVReplicationPermissions")
    }

    fn is_write(&self, method: &str, request: &[u8]) -> bool {
        let text = statement_of(method, request).to_lowercase();
        method == "ExecuteFetchAsDba" && !text.trim_start().starts_with("select")
    }

    fn strikes(&self, tablet: &Tablet, method: &str, request: &[u8]) -> Option<Strike> {
        let step = kinds::of_call(method, request)?;
        self.mine.step(&self.world, &tablet.host, Some(&tablet.shard), step)
    }

    fn is_well(&self) -> bool {
        self.is_well.load(Ordering::Relaxed)
    }

    fn kill(&self) {
        self.mine.kill.notify_one();
    }

    fn has_changed(&self, tablet: &Tablet, request: &[u8]) {
        self.directions();
        let statement = statement_of("VReplicationExec", request);
        if statement.to_lowercase().starts_with("insert into _vt.resharding_journal") {
            self.journal_written(tablet, &statement);
        }
    }

    fn has_begun(&self, tablet: &Tablet) {
        self.refresh(tablet);
        if tablet.is_primary() {
            self.end_all(tablet);
        }
    }

    fn primary_moved(&self, tablet: &Tablet) {
        self.refresh(tablet);
        self.end_all(tablet);
    }
}

impl etcd::Acts for Ground {
    fn strikes(&self, host: &str, etcd: &Etcd, path: &str, request: &[u8]) -> Option<Strike> {
        let step = if path == "/etcdserverpb.Lease/LeaseRevoke" {
            Step::Unlock
        } else if etcd::takes_lock(path, request) {
            Step::Lock
        } else {
            let written = etcd::written(etcd, path, request);
            let (key, before, after) = written.first()?;
            kinds::of_record(below_root(key), before.as_deref(), after.as_deref())?
        };
        self.mine.step(&self.world, host, None, step)
    }

    fn has_changed(&self) {
        self.sides();
    }

    fn is_well(&self) -> bool {
        self.is_well.load(Ordering::Relaxed)
    }

    fn kill(&self) {
        self.mine.kill.notify_one();
    }
}

/// A record's path below the root of its cell.
fn below_root(key: &str) -> &str {
    key.splitn(4, '/').nth(3).unwrap_or(key)
}
