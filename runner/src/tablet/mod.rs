//! Calls to tablets: unary gRPC on raw bytes, with connections kept, deadlines, and bounds on how much happens at once.
//!
//! What is called and what the bytes mean is the planner's business. Facts of the transport (16 MiB messages, keepalive that
//! Go servers punish while idle, static credentials as metadata) are from Vitess `go/vt/grpcclient/client.go`,
//! `go/vt/servenv/grpc_server.go` and `go/vt/vttablet/grpctmclient/client.go`.

mod debug_vars;
mod options;

use std::{
    collections::BTreeMap,
    net::Ipv6Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::HeaderMap;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};
use tonic::transport::ClientTlsConfig;
use vtflow_planner::{Answer, Effect, FailureKind, PageAddress, TabletAddress};

use self::options::static_credentials;
use crate::{
    deadline::{bounded, text},
    error::OptionError,
    net::{
        call::{CallError, Terms, unary},
        cause::root_cause,
        connection::{Leased, SharedConnection},
        endpoint::{Pace, endpoint, with_tls},
        grpc::code,
        link::{GONE, Link, Patience},
        network::Network,
        room::{Room, Share},
    },
    reloaded::Reloaded,
};

pub use options::{DEFAULT_CONCURRENCY, DEFAULT_CONCURRENCY_PER_CELL, TabletOptions};

/// The connections to tablets.
pub struct Tablets {
    options: TabletOptions,
    network: Network,
    tls: Option<Reloaded<ClientTlsConfig>>,
    credentials: Option<Reloaded<HeaderMap>>,
    turns: Semaphore,
    cells: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    peers: Mutex<BTreeMap<(String, u16), Arc<Peer>>>,
    room: Room,
}

/// One tablet's address: its connection, and the turns of those who want it.
struct Peer {
    connection: SharedConnection<Link>,
    turns: Semaphore,
}

impl Tablets {
    /// Reads the files that the options name. Connects to nobody yet.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or understood.
    pub fn new(options: TabletOptions) -> Result<Self, OptionError> {
        Self::over(Network::default(), options)
    }

    /// The same over a network that may be another than the kernel's.
    ///
    /// # Errors
    /// As [`Tablets::new`].
    pub fn over(network: Network, options: TabletOptions) -> Result<Self, OptionError> {
        let tls = options.tls.is_given()?.then(|| options.tls.reloaded("the certificates for tablets")).transpose()?;
        let credentials = options
            .credentials
            .clone()
            .map(|path| Reloaded::new("the credentials for tablets", vec![path.clone()], move || static_credentials(&path)));
        let credentials = credentials.transpose()?;
        let turns = Semaphore::new(options.concurrency.clamp(1, Semaphore::MAX_PERMITS));
        let (cells, peers, room) = (Mutex::default(), Mutex::default(), Room::default());
        Ok(Self { options, network, tls, credentials, turns, cells, peers, room })
    }

    /// Bounds the bytes of answers that all requests together may have; `refused` is told of every read that finds no room.
    pub(crate) fn bound_answers(&self, bytes: usize, refused: impl Fn() + Send + Sync + 'static) {
        self.room.bound(bytes, refused);
    }

    /// The bytes of answers that all requests together have now.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.room.taken()
    }

    /// What one request has of that.
    pub(crate) fn share(&self) -> Share<'_> {
        self.room.share()
    }

    /// Performs one call and never fails: a failure is an [`Answer::Failed`] that names the tablet and the cause.
    ///
    /// The `wait` counts from now: waiting for this tablet's other calls is in it, and so is connecting. Only the wait for a turn
    /// among all tablets is not; it may take as long again, so that a call never takes longer than twice its `wait`. `until` is
    /// never passed, turn or no turn.
    /// A read whose kept connection turns out to be gone, or dead without a word, is sent once more on a new one; a write is sent
    /// once, on a connection that is alive. Dropping the future cancels the call.
    pub async fn call(
        &self,
        tablet: &TabletAddress,
        path: &str,
        request: &[u8],
        effect: Effect,
        wait: Duration,
        until: Option<Instant>,
    ) -> Answer {
        self.call_in_turn(tablet, path, request, effect, wait, until, None, || {}).await
    }

    /// As [`Tablets::call`]; the bytes of the answer to a read are counted in `room`, and `sent` is called when the call's turn has
    /// come.
    #[allow(clippy::too_many_arguments, reason = "those of a call")]
    pub(crate) async fn call_in_turn(
        &self,
        tablet: &TabletAddress,
        path: &str,
        request: &[u8],
        effect: Effect,
        wait: Duration,
        until: Option<Instant>,
        room: Option<&Share<'_>>,
        sent: impl FnOnce(),
    ) -> Answer {
        let host_port = tablet.address();
        let (peer, cell) = (self.peer(tablet), self.cell(&tablet.cell));
        let handed_over = Instant::now();
        let not_called = |waited_until: Instant, cause: &str| {
            let why = if until.is_some_and(deadline_is_here) {
                ": the request's own deadline passed before its turn came".to_owned()
            } else {
                format!(" in {}: {cause}", text(waited_until.duration_since(handed_over)))
            };
            failed(FailureKind::NotSent, format!("{} at {host_port} was not called{why}", tablet.alias))
        };
        // The tablet's own turn first, then the cell's: who waits for a slow one must not take a turn from the others.
        let own_until = bounded(handed_over, wait, until);
        let Some((_own, ready)) = turn(&peer.turns, handed_over, own_until).await else {
            return not_called(own_until, &under_way(self.options.concurrency_per_tablet, "to it"));
        };
        let overall_until = bounded(ready, wait, until);
        let Some(_of_cell) = turn(&cell, ready, overall_until).await else {
            return not_called(overall_until, &under_way(self.options.concurrency_per_cell, "in its cell"));
        };
        let Some(_overall) = turn(&self.turns, ready, overall_until).await else {
            return not_called(overall_until, &under_way(self.options.concurrency, "to tablets"));
        };
        sent();
        // The time that the others took is given back.
        let counted_from = handed_over + ready.elapsed();
        let deadline = bounded(counted_from, wait, until);
        let timed_out = || {
            let waited = text(deadline.saturating_duration_since(counted_from));
            let queued = ready.duration_since(handed_over);
            let queued =
                if queued < TIMER_SLACK { String::new() } else { format!(", {} of it behind other calls to it", text(queued)) };
            failed(FailureKind::TimedOut, format!("{} at {host_port} did not answer in {waited}{queued}", tablet.alias))
        };
        let mut last = None;
        let outcome = timeout_at(deadline, self.attempt(&peer, tablet, path, request, effect, deadline, room, &mut last)).await;
        match outcome {
            Ok(Ok(response)) => Answer::Called(response),
            Ok(Err(CallError::Status { code: code::DEADLINE_EXCEEDED, .. } | CallError::Broken(_)))
                if deadline_is_here(deadline) =>
            {
                // We told the tablet how long we wait, and it, or our own channel, was a moment faster than our timer.
                timed_out()
            }
            Ok(Err(CallError::Status { code, message })) => failed(FailureKind::Status(code), message),
            Ok(Err(CallError::TooLarge(cause))) => {
                failed(FailureKind::TooLarge, format!("{} at {host_port}: {cause}", tablet.alias))
            }
            Ok(Err(CallError::NoRoom(cause))) => {
                failed(FailureKind::Status(code::RESOURCE_EXHAUSTED), format!("{} at {host_port}: {cause}", tablet.alias))
            }
            Ok(Err(CallError::Broken(cause))) => {
                failed(FailureKind::Unreachable, format!("{} at {host_port}: {cause}", tablet.alias))
            }
            Err(_) => {
                // The peer may have vanished without a word; calls that are under way on this connection keep it.
                if let Some(used) = last {
                    peer.connection.forget(&used);
                }
                timed_out()
            }
        }
    }

    /// Gets one page and never fails, as [`Tablets::call`]. Pages are rare: each has a connection of its own, which counts as a
    /// call in its cell and among all tablets. The `wait` counts from now, and waiting for a turn is in it.
    pub async fn page(&self, tablet: &PageAddress, path: &str, wait: Duration, until: Option<Instant>) -> Answer {
        let (cell, place) = (self.cell(&tablet.cell), format!("{} at {}", tablet.alias, tablet.address()));
        let handed_over = Instant::now();
        let deadline = bounded(handed_over, wait, until);
        if !is_host(&tablet.host) {
            return failed(FailureKind::Unreachable, format!("{}: {}", tablet.alias, bad_host(&tablet.host)));
        }
        let got = timeout_at(deadline, async {
            // Semaphores of this struct are never closed.
            let _turns = (cell.acquire().await, self.turns.acquire().await);
            debug_vars::get(&self.network, &tablet.address(), path).await
        });
        match got.await {
            Ok(Ok(body)) => Answer::Called(body),
            Ok(Err((kind, cause))) => failed(kind, format!("{place}: {cause}")),
            Err(_) => {
                let waited = text(deadline.saturating_duration_since(handed_over));
                failed(FailureKind::TimedOut, format!("{place} did not answer in {waited}"))
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call's own variables, private")]
    async fn attempt(
        &self,
        peer: &Peer,
        tablet: &TabletAddress,
        path: &str,
        request: &[u8],
        effect: Effect,
        deadline: Instant,
        room: Option<&Share<'_>>,
        last: &mut Option<Leased<Link>>,
    ) -> Result<Vec<u8>, CallError> {
        let mut is_retry = false;
        let metadata = self.credentials.as_ref().map(Reloaded::current).unwrap_or_default();
        loop {
            let connected = peer.connection.lease(self.dial(tablet)).await.map_err(CallError::Broken)?;
            let link = connected.connection.clone();
            let fresh = connected.fresh;
            let remaining = deadline.saturating_duration_since(Instant::now());
            let patience = Patience::of(remaining);
            if effect == Effect::Write && !fresh && !is_retry && !link.is_alive(patience).await {
                // Nothing has been sent yet.
                peer.connection.forget(&connected);
                is_retry = true;
                continue;
            }
            let used = last.insert(connected);
            // What a write has come to is short, and must be known.
            let room = room.filter(|_| effect == Effect::Read);
            let terms = Terms { metadata: &metadata, limit_bytes: self.options.message_bytes, timeout: remaining, room };
            let mut channel = link.channel.clone();
            let call = unary(&mut channel, path, request, &terms);
            let outcome = if effect == Effect::Read && !fresh && !is_retry {
                link.watched(patience, call).await.unwrap_or_else(|| Err(CallError::Broken(GONE.to_owned())))
            } else {
                call.await
            };
            match outcome {
                Ok(response) => return Ok(response),
                Err(CallError::Broken(cause)) => {
                    peer.connection.forget(used);
                    let may_repeat = match effect {
                        // At the deadline it is our own channel that ended the call, and not the connection that broke.
                        Effect::Read => !fresh && !is_retry && !deadline_is_here(deadline),
                        Effect::Write => false,
                    };
                    if !may_repeat {
                        // The library says no more when the connection ends between the dial and the call.
                        let is_unsaid = fresh && cause == "connection closed";
                        return Err(CallError::Broken(if is_unsaid { CLOSED_AT_ONCE.to_owned() } else { cause }));
                    }
                    is_retry = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn dial(&self, tablet: &TabletAddress) -> Result<Link, String> {
        if !is_host(&tablet.host) {
            // In a URI it would lead somewhere else: to another port, or past a name and password.
            return Err(bad_host(&tablet.host));
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let endpoint = endpoint(format!("{scheme}://{}", tablet.address()), PACE)
            .map_err(|error| format!("not an address: {}", root_cause(&error)))?
            .connect_timeout(self.options.connect_timeout)
            .user_agent(concat!("vtflow/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| root_cause(&error))?;
        let endpoint = with_tls(&endpoint, self.tls.as_ref())?;
        Link::dial(&self.network, &endpoint, Some(self.options.connect_timeout), UNCONFIRMED).await
    }

    fn cell(&self, name: &str) -> Arc<Semaphore> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if cells.len() >= CELLS_KEPT {
            cells.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        let turns = self.options.concurrency_per_cell.clamp(1, Semaphore::MAX_PERMITS);
        Arc::clone(cells.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(turns))))
    }

    fn peer(&self, tablet: &TabletAddress) -> Arc<Peer> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_KEPT {
            // A server that runs for months sees tablets come and go.
            peers.retain(|_, peer| Arc::strong_count(peer) > 1);
        }
        let peer = peers.entry((tablet.host.clone(), tablet.grpc_port)).or_insert_with(|| {
            let turns = self.options.concurrency_per_tablet.clamp(1, Semaphore::MAX_PERMITS);
            Arc::new(Peer { connection: SharedConnection::new(), turns: Semaphore::new(turns) })
        });
        Arc::clone(peer)
    }
}

/// Whether it is a host name, underscores allowed, or an IP address, without brackets.
fn is_host(text: &str) -> bool {
    let is_name = || text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    !text.is_empty() && (is_name() || text.parse::<Ipv6Addr>().is_ok())
}

fn bad_host(host: &str) -> String {
    format!("its record says the host {host:?}, which is neither a host name nor an IP address")
}

fn failed(kind: FailureKind, message: String) -> Answer {
    Answer::Failed { kind, message }
}

/// A turn, and since when there is one: from the beginning if one is free, so that what a busy machine takes until here is not told as
/// a wait; else from when it comes, if that is before the deadline and leaves time to use it.
async fn turn(turns: &Semaphore, began: Instant, deadline: Instant) -> Option<(SemaphorePermit<'_>, Instant)> {
    if let Ok(turn) = turns.try_acquire() {
        return Some((turn, began));
    }
    let turn = timeout_at(deadline, turns.acquire()).await.ok()?.ok()?;
    (!deadline_is_here(deadline)).then(|| (turn, Instant::now()))
}

/// Why no turn came: the bound, since only when it is reached does anybody wait.
fn under_way(bound: usize, whose: &str) -> String {
    match bound {
        0 | 1 => format!("another call {whose} was under way"),
        more => format!("{more} calls {whose} were under way"),
    }
}

fn deadline_is_here(deadline: Instant) -> bool {
    Instant::now() + TIMER_SLACK >= deadline
}

/// How a tablet is dialed.
const PACE: Pace = Pace {
    ping_every: Duration::from_secs(15),
    ping_wait: Duration::from_secs(5),
    connection_window: 4 << 20,
    stream_window: 1 << 20,
};

/// How long a tablet's machine may leave bytes unconfirmed before the connection is given up: half of the usual deadline.
const UNCONFIRMED: Duration = Duration::from_secs(5);

/// How far timers may be apart that are set to the same time.
const TIMER_SLACK: Duration = Duration::from_millis(5);

/// For a peer that is gone, or that spoke no HTTP/2, before the call could be sent.
const CLOSED_AT_ONCE: &str =
    "connection closed as soon as it was open: is the port right, and is TLS on at both ends or at neither?";

/// Cells kept before idle ones are dropped; a topology has a few dozen.
const CELLS_KEPT: usize = 1024;

/// Connections kept before idle ones are dropped.
const PEERS_KEPT: usize = 8192;
