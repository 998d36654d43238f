//! Simulated tablets: an embedded tablet's answers and rows, on hosts that may be down, slow, cut off, or lie.
//!
//! A shard has one database, whoever of its tablets is primary. What its rows are at every moment is kept, so that what a reply says
//! can be held against what there was.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::Incoming;
use prost::Message;
use tokio::time::{Instant, sleep};
use tonic::Status;
use vtflow_embedded::{
    engine::Engine,
    tablet::local::{self, Identity},
};
use vtflow_planner::proto::query::QueryResult;

use crate::{
    checks::Checks,
    journal::Journal,
    network::{Connection, Network},
    random::Random,
    strike::Strike,
    wire::{self, Answer, Doing, Peer, Speaks},
};

/// Streams by number.
pub(crate) type Streams = BTreeMap<i64, Stream>;

/// What is kept of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) workflow: String,
    pub(crate) state: String,
    /// What changes of the caller's leave their mark in.
    pub(crate) cell: String,
}

/// A shard and its database.
pub(crate) struct Shard {
    pub(crate) keyspace: String,
    pub(crate) name: String,
    pub(crate) tablets: Vec<String>,
    data: Mutex<Data>,
}

struct Data {
    engine: Engine,
    /// What streams there were from each moment on.
    history: Vec<(Instant, Streams)>,
    migrations: BTreeSet<String>,
}

/// What is the matter with a tablet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Every answer takes up to so many milliseconds.
    Slow(u64),
    /// It takes calls and never answers.
    Hangs,
    /// Now and then the connection breaks before a call is done, or after it.
    Breaks,
    /// Now and then an answer is cut short, or no message, or has an odd status.
    Garbles,
    /// Now and then an answer is larger than any message may be.
    Swells,
    /// It answers reads with the rows of another shard.
    Lies,
    /// It changes nothing.
    ReadOnly,
}

/// What a tablet does besides what its rows answer.
pub(crate) trait Acts: Send + Sync {
    /// Does what a call asks for, if it is its part; `None`: the rows have the answer.
    fn perform<'a>(&'a self, tablet: &'a Tablet, method: &'a str, request: &'a [u8]) -> Doing<'a, Option<Result<Bytes, Status>>>;

    /// Whether a call is one in which things are to go wrong, though it changes no row.
    fn is_step(&self, method: &str, request: &[u8]) -> bool;

    /// Whether a call is sent as one that writes.
    fn is_write(&self, method: &str, request: &[u8]) -> bool;

    /// What goes wrong with a call that has come to this tablet, if it is this one.
    fn strikes(&self, tablet: &Tablet, method: &str, request: &[u8]) -> Option<Strike>;

    /// Whether nothing goes wrong by chance now.
    fn is_well(&self) -> bool;

    /// The process that asked ends.
    fn kill(&self);

    /// A call that changes rows has succeeded.
    fn has_changed(&self, tablet: &Tablet, request: &[u8]);

    /// Its process has begun anew.
    fn has_begun(&self, tablet: &Tablet);

    /// It is primary now, or no longer.
    fn primary_moved(&self, tablet: &Tablet);
}

/// One tablet.
pub(crate) struct Tablet {
    pub(crate) alias: String,
    pub(crate) host: String,
    pub(crate) shard: Arc<Shard>,
    /// Whose rows it shows when it lies.
    other: Arc<Shard>,
    /// In so many of a hundred cases something goes wrong with a change, whatever its mood.
    aimed: u64,
    journal: Arc<Journal>,
    checks: Arc<Checks>,
    /// Where traffic is moved: then it never says what is well formed and untrue.
    acts: OnceLock<(Arc<dyn Acts>, u64)>,
    state: Mutex<State>,
}

struct State {
    is_primary: bool,
    /// How often it became primary, or no longer was.
    terms: u64,
    db_name: String,
    mood: Mood,
    random: Random,
    /// When it gave an answer to a read.
    answered: Vec<Instant>,
    /// When it lied.
    lied: Vec<Instant>,
}

/// The ports of all tablets: calls, and pages.
pub(crate) const PORTS: (u16, u16) = (16_000, 15_000);

impl Shard {
    pub(crate) fn new(keyspace: &str, name: &str, tablets: Vec<String>, engine: Engine) -> Arc<Self> {
        let data = Data { engine, history: Vec::new(), migrations: BTreeSet::new() };
        let shard = Arc::new(Self { keyspace: keyspace.to_owned(), name: name.to_owned(), tablets, data: Mutex::new(data) });
        shard.data().remember();
        shard
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The streams that there were at some moment of these, in any of their states.
    pub(crate) fn streams_within(&self, from: Instant, until: Instant) -> Vec<Streams> {
        let data = self.data();
        let later = data.history.iter().position(|(at, _)| *at > from).unwrap_or(data.history.len());
        let first = later.saturating_sub(1);
        data.history.iter().skip(first).take_while(|(at, _)| *at <= until).map(|(_, streams)| streams.clone()).collect()
    }

    /// Whether a change ever left its mark here.
    pub(crate) fn was_marked(&self, mark: &str) -> bool {
        self.data().history.iter().any(|(_, streams)| streams.values().any(|stream| stream.cell == mark))
    }

    /// What a statement on the sidecar tables finds, as texts.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let mut data = self.data();
        data.engine.execute(sql, Some("_vt"), 100_000).map(|result| texts(&result)).unwrap_or_default()
    }

    /// A statement that changes rows, as a stream itself does.
    pub(crate) fn change(&self, sql: &str) {
        let mut data = self.data();
        let _ = data.engine.execute(sql, Some("_vt"), 100_000);
        data.remember();
    }

    /// The names of its migrations. They are never deleted.
    pub(crate) fn migrations(&self) -> BTreeSet<String> {
        self.data().migrations.clone()
    }
}

impl Data {
    /// Notes what there is now.
    fn remember(&mut self) {
        let mut rows =
            |sql: &str| self.engine.execute(sql, Some("_vt"), 100_000).map(|result| texts(&result)).unwrap_or_default();
        let streams = rows("select id, workflow, state, cell from _vt.vreplication");
        self.migrations = rows("select migration_uuid from _vt.schema_migrations").into_iter().flatten().collect();
        let streams: Streams = streams
            .into_iter()
            .filter_map(|row| match row.as_slice() {
                [id, workflow, state, cell] => {
                    let (workflow, state, cell) = (workflow.clone(), state.clone(), cell.clone());
                    Some((id.parse().ok()?, Stream { workflow, state, cell }))
                }
                _ => None,
            })
            .collect();
        if self.history.last().is_none_or(|(_, last)| *last != streams) {
            self.history.push((Instant::now(), streams));
        }
    }
}

fn texts(result: &QueryResult) -> Vec<Vec<String>> {
    let row = |row: &vtflow_planner::proto::query::Row| {
        let mut at = 0;
        let value = |length: &i64| {
            let length = usize::try_from(*length).unwrap_or(0);
            let value = row.values.get(at..at + length).unwrap_or_default();
            at += length;
            String::from_utf8_lossy(value).into_owned()
        };
        row.lengths.iter().map(value).collect()
    };
    result.rows.iter().map(row).collect()
}

impl Tablet {
    #[expect(clippy::too_many_arguments, reason = "what a tablet is made of")]
    pub(crate) fn start(
        alias: &str,
        host: &str,
        db_name: &str,
        is_primary: bool,
        shard: &Arc<Shard>,
        other: &Arc<Shard>,
        network: &Network,
        journal: &Arc<Journal>,
        checks: &Arc<Checks>,
        random: &Random,
    ) -> Arc<Self> {
        let state = State {
            is_primary,
            terms: 0,
            db_name: db_name.to_owned(),
            mood: Mood::Well,
            random: random.of(alias),
            answered: Vec::new(),
            lied: Vec::new(),
        };
        let tablet = Arc::new(Self {
            alias: alias.to_owned(),
            host: host.to_owned(),
            shard: Arc::clone(shard),
            other: Arc::clone(other),
            aimed: random.of("aimed").pick(&[0, 0, 5, 25]).copied().unwrap_or(0),
            journal: Arc::clone(journal),
            checks: Arc::clone(checks),
            acts: OnceLock::new(),
            state: Mutex::new(state),
        });
        wire::serve(network.listen(host, PORTS.0), Arc::clone(&tablet), Speaks::Http2);
        wire::serve(network.listen(host, PORTS.1), Arc::new(Pages(Arc::clone(&tablet))), Speaks::Http1);
        tablet
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        let is_truthful = self.acts.get().is_some();
        self.state().mood = if mood == Mood::Lies && is_truthful { Mood::Breaks } else { mood };
    }

    /// From now on it does this, too, and something goes wrong with so many steps of a hundred.
    pub(crate) fn set_acts(&self, acts: Arc<dyn Acts>, aimed: u64) {
        let _ = self.acts.set((acts, aimed));
    }

    pub(crate) fn set_primary(&self, is_primary: bool) {
        {
            let mut state = self.state();
            state.is_primary = is_primary;
            state.terms += 1;
        }
        if let Some((acts, _)) = self.acts.get() {
            acts.primary_moved(self);
        }
    }

    /// Its process has begun anew.
    pub(crate) fn has_begun(&self) {
        if let Some((acts, _)) = self.acts.get() {
            acts.has_begun(self);
        }
    }

    pub(crate) fn terms(&self) -> u64 {
        self.state().terms
    }

    /// The cell that it is in.
    pub(crate) fn cell(&self) -> &str {
        self.alias.split('-').next().unwrap_or_default()
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.state().is_primary
    }

    /// Whether it gave an answer to a read between these moments.
    pub(crate) fn has_answered(&self, from: Instant, until: Instant) -> bool {
        self.state().answered.iter().any(|at| (from..=until).contains(at))
    }

    /// Whether it lied between these moments.
    pub(crate) fn has_lied(&self, from: Instant, until: Instant) -> bool {
        self.state().lied.iter().any(|at| (from..=until).contains(at))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perform(&self, shard: &Shard, path: &str, request: &[u8]) -> Result<Bytes, Status> {
        let (is_primary, db_name) = {
            let state = self.state();
            (state.is_primary, state.db_name.clone())
        };
        let cells: BTreeSet<&str> = self.shard.tablets.iter().filter_map(|it| Some(it.rsplit_once('-')?.0)).collect();
        let cells = cells.into_iter().collect::<Vec<_>>().join(",").into();
        let whom = Identity { alias: self.alias.clone(), shard: self.shard.name.clone(), db_name, cells, is_primary };
        let mut data = shard.data();
        let answer = local::answer(&mut data.engine, &whom, path, request);
        if local::changes(path, request) {
            data.remember();
        }
        answer
    }

    async fn call(self: Arc<Self>, path: String, mut body: Incoming, connection: Arc<Connection>) -> Answer {
        let Some(request) = wire::message_of(&mut body, &mut BytesMut::new()).await else {
            return wire::status(13, "no message");
        };
        let method = path.rsplit('/').next().unwrap_or_default().to_owned();
        let (acts, aimed_at) = match self.acts.get() {
            Some((acts, aimed)) => (Some(Arc::clone(acts)), if acts.is_well() { 0 } else { *aimed }),
            None => (None, self.aimed),
        };
        let is_write = local::changes(&path, &request) || acts.as_ref().is_some_and(|acts| acts.is_write(&method, &request));
        let is_aim = is_write || acts.as_ref().is_some_and(|acts| acts.is_step(&method, &request));
        let (mood, took, luck) = {
            let mut state = self.state();
            let took = match state.mood {
                Mood::Slow(millis) => state.random.millis(0, millis),
                _ => state.random.millis(0, 8),
            };
            // What goes wrong in the middle of a change is what this is about.
            let aimed = [Mood::Breaks, Mood::Breaks, Mood::Garbles, Mood::Hangs];
            let is_hit = is_aim && state.random.percent(aimed_at);
            let mood = state.random.pick(&aimed).copied().filter(|_| is_hit).unwrap_or(state.mood);
            let luck = state.random.below(100);
            // In the middle nothing would happen.
            (mood, took, if is_hit && (25..75).contains(&luck) { luck.wrapping_mul(2) % 25 + 75 * (luck % 2) } else { luck })
        };
        if is_write {
            self.journal.event(&self.host, format_args!("{method} arrives, which writes"));
            self.checks.write_arrives(&self.alias, &path, &request);
        }
        let strike = acts.as_ref().and_then(|acts| acts.strikes(&self, &method, &request));
        let (mood, luck) = match strike {
            Some(Strike::Before) => (Mood::Breaks, 0),
            Some(Strike::After) => (Mood::Breaks, 99),
            Some(Strike::Hangs | Strike::KillsBefore) => (Mood::Hangs, 0),
            Some(Strike::Refuses | Strike::KillsAfter) => (Mood::Well, 50),
            None => (mood, luck),
        };
        let kill = |at: Strike| acts.iter().filter(|_| strike == Some(at)).for_each(|acts| acts.kill());
        kill(Strike::KillsBefore);
        let fault = |what: &'static str| {
            self.journal.event(&self.host, format_args!("{method}: {what}"));
            self.journal.count("fault", format!("tablet: {what}"));
        };
        sleep(took).await;
        if strike == Some(Strike::Refuses) {
            fault("refuses");
            return wire::status(2, "Lost connection to MySQL server during query (errno 2013) (sqlstate HY000)");
        }
        match mood {
            Mood::Hangs => {
                fault("hangs");
                return std::future::pending().await;
            }
            Mood::Breaks if luck < 25 => {
                fault("connection cut before the call was done");
                connection.cut();
                return std::future::pending().await;
            }
            Mood::ReadOnly if is_write => {
                fault("read only");
                return wire::status(
                    2,
                    "The MySQL server is running with the --super-read-only option (errno 1290) (sqlstate HY000)",
                );
            }
            _ => {}
        }
        let is_lie = mood == Mood::Lies && !is_write;
        let own = match &acts {
            Some(acts) => acts.perform(&self, &method, &request).await,
            None => None,
        };
        let answer = match own {
            Some(answer) => answer,
            None => self.perform(if is_lie { &self.other } else { &self.shard }, &path, &request),
        };
        if let Some(acts) = acts.as_ref().filter(|_| answer.is_ok() && local::changes(&path, &request)) {
            acts.has_changed(&self, &request);
        }
        if strike == Some(Strike::KillsAfter) {
            kill(Strike::KillsAfter);
            return std::future::pending().await;
        }
        if is_lie {
            fault("rows of another shard");
            self.state().lied.push(Instant::now());
        }
        match &answer {
            Ok(answer) => self.journal.event(&self.host, format_args!("{method} {}: {} bytes", request.len(), answer.len())),
            Err(status) => self.journal.event(&self.host, format_args!("{method}: {}", status.message())),
        }
        match mood {
            Mood::Breaks if luck >= 75 => {
                fault("answer lost");
                connection.cut();
                return std::future::pending().await;
            }
            Mood::Garbles if luck < 60 => {
                fault("an answer that is none");
                let whole = answer.unwrap_or_default();
                self.state().lied.push(Instant::now());
                let kind = if acts.is_some() { [0, 1, 2, 4, 5, 7].get(usize::try_from(luck % 6).unwrap_or(0)) } else { None };
                return match kind.copied().unwrap_or(luck % 8) {
                    0 => wire::raw(wire::framed(&whole).slice(..whole.len().div_ceil(2)), Some(0)),
                    1 => wire::raw(wire::framed(&whole), None),
                    2 => wire::raw(wire::framed(&[0xff, 0, 0x7f, 3, 9]), Some(0)),
                    3 => wire::raw(Bytes::new(), Some(0)),
                    4 => wire::status(i32::try_from(luck).unwrap_or(2) / 3, "no such luck"),
                    5 => wire::page(502, "<html>bad gateway</html>".to_owned()),
                    // Well formed, and half of it: the last field is cut off.
                    6 => wire::raw(wire::framed(whole.get(..whole.len() / 2).unwrap_or_default()), Some(0)),
                    _ => wire::raw([wire::framed(&whole), wire::framed(&whole)].concat().into(), Some(0)),
                };
            }
            Mood::Swells if luck < 30 => {
                fault("an answer without end");
                let mut huge = BytesMut::new();
                huge.put_u8(0);
                huge.put_u32(64 << 20);
                huge.put_bytes(b'x', 4 << 20);
                return wire::raw(huge.freeze(), Some(0));
            }
            _ => {}
        }
        match answer {
            Ok(answer) => {
                if !is_write {
                    self.state().answered.push(Instant::now());
                }
                wire::raw(wire::framed(&answer), Some(0))
            }
            Err(status) => wire::status(status.code() as i32, status.message()),
        }
    }
}

impl Peer for Tablet {
    fn answer(self: Arc<Self>, path: String, body: Incoming, connection: Arc<Connection>) -> Doing<'static, Answer> {
        if path == "/grpc.health.v1.Health/Check" {
            return Box::pin(async { wire::raw(wire::framed(&[8, 1]), Some(0)) });
        }
        Box::pin(self.call(path, body, connection))
    }
}

/// A tablet's pages.
struct Pages(Arc<Tablet>);

impl Peer for Pages {
    fn answer(self: Arc<Self>, _: String, _: Incoming, _: Arc<Connection>) -> Doing<'static, Answer> {
        Box::pin(async move {
            let (mood, took) = {
                let mut state = self.0.state();
                (state.mood, state.random.millis(0, 8))
            };
            sleep(took).await;
            match mood {
                Mood::Hangs => std::future::pending().await,
                Mood::Garbles => wire::page(200, "\u{0} garbage".to_owned()),
                _ => wire::page(200, self.0.shard.data().engine.release().variables().to_string()),
            }
        })
    }
}

/// How long a tablet that is demoted is without successor, at most.
pub(crate) const REPARENT: Duration = Duration::from_secs(5);

/// A message's bytes with something changed.
pub(crate) fn changed<M: Message + Default>(value: &[u8], change: impl FnOnce(&mut M)) -> Vec<u8> {
    let mut message = M::decode(value).unwrap_or_default();
    change(&mut message);
    message.encode_to_vec()
}
