//! The simulated network: hosts by name, listeners by address, connections with latencies, and everything that goes wrong with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
    time::{Instant, Sleep, sleep, sleep_until},
};
use vtflow::network::{Dial, Dialed, Incoming, Listener};

use crate::{
    journal::Journal,
    pipe::{Found, Latency, Pipe},
    random::Random,
};

/// All hosts and what connects them.
pub(crate) struct Network {
    journal: Arc<Journal>,
    state: Mutex<State>,
}

struct State {
    random: Random,
    /// Hosts whose processes are not running.
    down: BTreeSet<String>,
    listeners: BTreeMap<String, Listening>,
    /// Pairs that hear nothing of each other.
    apart: BTreeSet<(String, String)>,
    /// Pairs between which everything takes longer by this factor.
    slow: BTreeMap<(String, String), u32>,
    connections: BTreeMap<u64, Arc<Connection>>,
    number: u64,
}

struct Listening {
    host: String,
    accepted: mpsc::UnboundedSender<End>,
}

/// One connection.
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) from: String,
    pub(crate) to: String,
    there: Pipe,
    back: Pipe,
    latency: Latency,
}

/// One end of a connection.
pub(crate) struct End {
    pub(crate) connection: Arc<Connection>,
    is_dialer: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

/// How long a system waits for a peer to confirm bytes; vtflow tells the kernel no more.
const UNCONFIRMED: Duration = Duration::from_secs(5);

fn pair(one: &str, other: &str) -> (String, String) {
    if one < other { (one.to_owned(), other.to_owned()) } else { (other.to_owned(), one.to_owned()) }
}

impl Network {
    pub(crate) fn new(journal: Arc<Journal>, random: Random) -> Arc<Self> {
        let state = State {
            random,
            down: BTreeSet::new(),
            listeners: BTreeMap::new(),
            apart: BTreeSet::new(),
            slow: BTreeMap::new(),
            connections: BTreeMap::new(),
            number: 0,
        };
        Arc::new(Self { journal, state: Mutex::new(state) })
    }

    /// Listens at an address of a host.
    pub(crate) fn listen(&self, host: &str, port: u16) -> Accepting {
        let (accepted, accepting) = mpsc::unbounded_channel();
        self.state().listeners.insert(format!("{host}:{port}"), Listening { host: host.to_owned(), accepted });
        Accepting(tokio::sync::Mutex::new(accepting))
    }

    /// Connects, as long as that takes: to a host that nobody hears of, for ever.
    pub(crate) async fn connect(self: &Arc<Self>, from: &str, address: &str) -> io::Result<End> {
        let to = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        while self.state().apart.contains(&pair(from, &to)) {
            sleep(Duration::from_millis(500)).await;
        }
        let latency = self.state().latency(from, &to);
        sleep(latency.least + latency.most).await;
        let mut state = self.state();
        if state.down.contains(&to) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        state.number += 1;
        let number = state.number;
        let random = state.random.of(&format!("{number} {from} {to}"));
        let connection = Arc::new(Connection {
            number,
            from: from.to_owned(),
            to: to.clone(),
            there: Pipe::new(latency, random.of("there")),
            back: Pipe::new(latency, random.of("back")),
            latency,
        });
        let end = |is_dialer| End { connection: Arc::clone(&connection), is_dialer, timer: None };
        let listening = state.listeners.get(address).filter(|listening| listening.host == to);
        if listening.is_none_or(|listening| listening.accepted.send(end(false)).is_err()) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        // Those that have no end any more.
        state.connections.retain(|_, connection| Arc::strong_count(connection) > 1);
        state.connections.insert(number, Arc::clone(&connection));
        drop(state);
        self.journal.event(from, format_args!("connection {number} to {to}"));
        Ok(end(true))
    }

    /// What is connected now.
    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        let mut state = self.state();
        state.connections.retain(|_, connection| Arc::strong_count(connection) > 1);
        state.connections.values().cloned().collect()
    }

    /// The process of a host ends: its connections are reset, and nobody listens.
    pub(crate) fn kill(&self, host: &str) {
        self.state().down.insert(host.to_owned());
        for connection in self.connections() {
            if connection.from == host || connection.to == host {
                connection.cut();
            }
        }
    }

    /// It listens again.
    pub(crate) fn revive(&self, host: &str) {
        self.state().down.remove(host);
    }

    pub(crate) fn is_up(&self, host: &str) -> bool {
        !self.state().down.contains(host)
    }

    /// Two hosts hear nothing of each other any more.
    pub(crate) fn part(self: &Arc<Self>, one: &str, other: &str) {
        self.state().apart.insert(pair(one, other));
        let frozen: Vec<_> = self.connections().into_iter().filter(|connection| connection.is_between(one, other)).collect();
        for connection in &frozen {
            connection.freeze(true);
        }
        let (network, pair_of) = (Arc::clone(self), pair(one, other));
        tokio::spawn(async move {
            sleep(UNCONFIRMED).await;
            if network.state().apart.contains(&pair_of) {
                // Of those that were asked something: whoever dialed gives up on what nobody confirms.
                for connection in frozen.iter().filter(|connection| connection.there.is_pending()) {
                    connection.there.break_off(io::ErrorKind::TimedOut);
                    connection.back.break_off(io::ErrorKind::TimedOut);
                }
            }
        });
    }

    /// They hear of each other again, and what was said meanwhile arrives.
    pub(crate) fn join(&self, one: &str, other: &str) {
        self.state().apart.remove(&pair(one, other));
        for connection in self.connections().into_iter().filter(|connection| connection.is_between(one, other)) {
            connection.freeze(false);
        }
    }

    /// Everything between two hosts takes so many times as long; 1 is as before.
    pub(crate) fn slow(&self, one: &str, other: &str, factor: u32) {
        self.state().slow.insert(pair(one, other), factor);
        for connection in self.connections().into_iter().filter(|connection| connection.is_between(one, other)) {
            let Latency { least, most } = connection.latency;
            let latency = Latency { least: least * factor, most: most * factor };
            connection.there.set_latency(latency);
            connection.back.set_latency(latency);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn latency(&self, one: &str, other: &str) -> Latency {
        let (one, other) = pair(one, other);
        let mut random = self.random.of(&format!("latency {one} {other}"));
        // Most are near, some are across a continent.
        let least = if random.percent(80) { random.between(100, 2_000) } else { random.between(5_000, 40_000) };
        let most = least + random.between(100, 3_000);
        let factor = self.slow.get(&(one, other)).copied().unwrap_or(1);
        let of = |micros| Duration::from_micros(micros) * factor;
        Latency { least: of(least), most: of(most) }
    }
}

impl Connection {
    pub(crate) fn is_between(&self, one: &str, other: &str) -> bool {
        (self.from == one && self.to == other) || (self.from == other && self.to == one)
    }

    /// It breaks, with all that is under way.
    pub(crate) fn cut(&self) {
        self.there.break_off(io::ErrorKind::ConnectionReset);
        self.back.break_off(io::ErrorKind::ConnectionReset);
    }

    /// Whoever dialed hears that it is broken; what was said before arrives all the same.
    pub(crate) fn cut_for_dialer(&self) {
        self.back.break_off(io::ErrorKind::ConnectionReset);
        self.there.refuse();
    }

    /// What is said on it is swallowed from now on, and nobody is told.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.there.freeze(is_frozen);
        self.back.freeze(is_frozen);
    }
}

impl End {
    fn reads(&self) -> &Pipe {
        if self.is_dialer { &self.connection.back } else { &self.connection.there }
    }

    fn writes(&self) -> &Pipe {
        if self.is_dialer { &self.connection.there } else { &self.connection.back }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.writes().end();
        self.reads().unread();
    }
}

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.reads().read(context, into)? {
                Found::Read => return Poll::Ready(Ok(())),
                Found::Nothing => return Poll::Pending,
                Found::Later(at) => {
                    let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
                    if timer.deadline() != at {
                        timer.as_mut().reset(at);
                    }
                    if timer.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    // Timers know whole milliseconds only.
                    if Instant::now() < at {
                        timer.as_mut().reset(Instant::now() + Duration::from_millis(1));
                    }
                }
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes().write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes().end();
        Poll::Ready(Ok(()))
    }
}

impl Incoming for End {
    fn greet(&self) -> io::Result<Option<SocketAddr>> {
        Ok(Some(ANYWHERE))
    }
}

/// Where an address is asked for and none is meant.
const ANYWHERE: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 15_999));

/// A listener.
pub(crate) struct Accepting(tokio::sync::Mutex<mpsc::UnboundedReceiver<End>>);

impl Listener for Accepting {
    type Incoming = End;

    async fn accept(&self) -> io::Result<End> {
        match self.0.lock().await.recv().await {
            Some(end) => Ok(end),
            None => std::future::pending().await,
        }
    }

    fn address(&self) -> io::Result<SocketAddr> {
        Ok(ANYWHERE)
    }
}

/// A process of a host as one that dials.
pub(crate) struct From {
    network: Arc<Network>,
    host: &'static str,
    is_dead: Arc<AtomicBool>,
}

impl From {
    pub(crate) fn new(network: &Arc<Network>, host: &'static str) -> Self {
        Self { network: Arc::clone(network), host, is_dead: Arc::default() }
    }

    /// What says that the process has been killed: from then on nobody hears of it.
    pub(crate) fn death(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_dead)
    }
}

impl Dial for From {
    fn dial<'a>(&'a self, address: &'a str) -> Dialed<'a> {
        Box::pin(async move {
            let end = self.network.connect(self.host, address).await?;
            if self.is_dead.load(Ordering::Relaxed) {
                drop(end);
                return std::future::pending().await;
            }
            Ok(Box::new(end) as Box<dyn vtflow::network::Stream>)
        })
    }
}
