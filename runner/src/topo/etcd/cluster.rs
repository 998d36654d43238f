//! One etcd cluster: its addresses, the connection to one of its members, and what to do when that member fails.
//!
//! No keys and no records here. etcd-client balances over members by itself, but never says that none of them answers; so
//! the connection is made here. Facts: `go/vt/topo/etcd2topo/server.go:NewServerWithOpts` and `error.go`.

use std::{
    error::Error as _,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use etcd_client::{Client, Error, KvClient, LeaseClient};
use futures_util::{FutureExt, future::select_ok};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{
    Code, Status,
    transport::{ClientTlsConfig, Endpoint},
};
use vtflow_planner::{Answer, FailureKind};

use crate::{
    cause::root_cause,
    line::{Connected, Line},
};

/// The addresses of a cluster, sorted and without schemes, so that two spellings of one cluster are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Addresses {
    is_tls: bool,
    members: Vec<String>,
}

impl Addresses {
    /// From a comma list. TLS is decided by the first scheme, without one by whether there is a client certificate.
    pub(super) fn parse(list: &str, has_identity: bool) -> Self {
        let mut is_tls = None;
        let mut members: Vec<String> = list
            .split(',')
            // Vitess takes a space after a comma as part of the address, which then never works.
            .map(str::trim)
            .filter(|address| !address.is_empty())
            .map(|address| {
                let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
                is_tls.get_or_insert(match scheme {
                    "https" | "unixs" => true,
                    "http" | "unix" => false,
                    _ => has_identity,
                });
                match scheme {
                    "" | "http" | "https" => rest.trim_end_matches('/').to_owned(),
                    _ => address.to_owned(),
                }
            })
            .collect();
        members.sort_unstable();
        members.dedup();
        Self { is_tls: is_tls.unwrap_or(false), members }
    }
}

/// How any cluster is dialed.
#[derive(Clone, Debug)]
pub(super) struct Dialing {
    pub(super) tls: ClientTlsConfig,
    pub(super) timeout: Duration,
    pub(super) answer_bytes: usize,
}

/// A cluster and the connection to it, shared by all who read there.
pub(super) struct Cluster {
    members: Vec<Endpoint>,
    dial_timeout: Duration,
    answer_bytes: usize,
    line: Line<Arc<Client>>,
    /// The member to try first: moves on when one fails.
    preferred: AtomicUsize,
}

/// Why there is no answer from a cluster.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No member could be connected to.
    Dial(String),
    /// It broke, or what came was not gRPC.
    Broken(String),
    /// etcd answered with a status.
    Status(Status),
    /// No answer before the deadline.
    TimedOut,
    /// No turn before the deadline.
    Crowded,
    /// The answer is larger than a message may be.
    TooLarge,
}

impl Cluster {
    pub(super) fn new(addresses: &Addresses, dialing: &Dialing) -> Result<Self, String> {
        if addresses.members.is_empty() {
            return Err("it is empty".to_owned());
        }
        let endpoint = |member: &String| -> Result<Endpoint, String> {
            let invalid = |error: tonic::transport::Error| format!("{member}: {}", root_cause(&error));
            let uri = match (member.split_once("://"), addresses.is_tls) {
                (Some(("unix", _)), _) => member.clone(),
                (Some((scheme, _)), _) => return Err(format!("{member}: scheme {scheme} is not supported")),
                (None, true) => format!("https://{member}"),
                (None, false) => format!("http://{member}"),
            };
            let endpoint = Endpoint::from_shared(uri)
                .map_err(invalid)?
                .http2_keep_alive_interval(Duration::from_secs(10))
                .keep_alive_timeout(Duration::from_secs(5))
                .keep_alive_while_idle(false)
                .initial_connection_window_size(8 << 20)
                .initial_stream_window_size(4 << 20);
            if addresses.is_tls { endpoint.tls_config(dialing.tls.clone()).map_err(invalid) } else { Ok(endpoint) }
        };
        let members = addresses.members.iter().map(endpoint).collect::<Result<_, _>>()?;
        Ok(Self {
            members,
            dial_timeout: dialing.timeout,
            answer_bytes: dialing.answer_bytes,
            line: Line::new(),
            preferred: AtomicUsize::new(0),
        })
    }

    /// Performs a read, on another member or a new connection if the first breaks, until the deadline.
    pub(super) async fn read<T, F>(&self, deadline: Instant, ask: impl Fn(KvClient) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut breaks_left = self.members.len();
        loop {
            let connected = self.connected(deadline).await?;
            // With another member to turn to, a silent one gets half of the time that is left.
            let attempt_until = if self.members.len() > 1 && breaks_left > 0 {
                let now = Instant::now();
                now + deadline.saturating_duration_since(now) / 2
            } else {
                deadline
            };
            let trouble = match timeout_at(attempt_until, ask(self.records(&connected))).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => trouble(error),
                Err(_) => Trouble::TimedOut,
            };
            match &trouble {
                Trouble::Status(status) if status.code() == Code::Unavailable && Instant::now() + PAUSE < deadline => {
                    // An election, or a server that is shutting down: the Go client repeats such reads after 25 ms too.
                    self.turn_away_from(&connected);
                    sleep(PAUSE).await;
                    continue;
                }
                Trouble::Broken(_) | Trouble::TimedOut => self.turn_away_from(&connected),
                Trouble::Status(_) | Trouble::TooLarge | Trouble::Crowded | Trouble::Dial(_) => return Err(trouble),
            }
            let is_over = Instant::now() >= deadline;
            if is_over || breaks_left == 0 || (connected.fresh && self.members.len() == 1) {
                return Err(if is_over { Trouble::TimedOut } else { trouble });
            }
            breaks_left -= 1;
        }
    }

    /// A connection to write on: a write is never repeated.
    pub(super) async fn write<T, F>(&self, deadline: Instant, ask: impl FnOnce(KvClient) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let connected = self.connected(deadline).await?;
        match timeout_at(deadline, ask(self.records(&connected))).await {
            Ok(outcome) => outcome.map_err(trouble),
            Err(_) => Err(Trouble::TimedOut),
        }
    }

    /// Does something with a lease, once. The next attempt of whoever asks turns to another member if this one failed.
    pub(super) async fn lease<T, F>(&self, deadline: Instant, ask: impl FnOnce(LeaseClient) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let connected = self.connected(deadline).await?;
        let outcome = match timeout_at(deadline, ask(connected.connection.lease_client())).await {
            Ok(outcome) => outcome.map_err(trouble),
            Err(_) => Err(Trouble::TimedOut),
        };
        if matches!(outcome, Err(Trouble::Broken(_) | Trouble::TimedOut)) {
            self.turn_away_from(&connected);
        }
        outcome
    }

    fn records(&self, connected: &Connected<Arc<Client>>) -> KvClient {
        connected.connection.kv_client().max_decoding_message_size(self.answer_bytes)
    }

    async fn connected(&self, deadline: Instant) -> Result<Connected<Arc<Client>>, Trouble> {
        match timeout_at(deadline, self.line.connected(self.dial())).await {
            Ok(outcome) => outcome.map_err(Trouble::Dial),
            Err(_) => Err(Trouble::Dial(DIAL_TIMED_OUT.to_owned())),
        }
    }

    fn turn_away_from(&self, connected: &Connected<Arc<Client>>) {
        self.preferred.fetch_add(1, Ordering::Relaxed);
        self.line.forget(connected);
    }

    /// Connects to the first member that accepts: the preferred one has a head start, then one after the other.
    async fn dial(&self) -> Result<Arc<Client>, String> {
        let first = self.preferred.load(Ordering::Relaxed);
        let attempts = (0..self.members.len()).map(|turn| {
            let member = &self.members[(first + turn) % self.members.len()];
            async move {
                let head_start = HEAD_START * u32::try_from(turn).unwrap_or(u32::MAX);
                sleep(head_start.min(self.dial_timeout / 2)).await;
                let channel = member.connect().await.map_err(|error| root_cause(&error))?;
                Ok::<_, String>(etcd_client::Channel::Tonic(channel))
            }
            .boxed()
        });
        let dialed = tokio::time::timeout(self.dial_timeout, select_ok(attempts)).await;
        let channel = dialed.map_err(|_| DIAL_TIMED_OUT.to_owned())??.0;
        Client::from_channel(channel, None).await.map(Arc::new).map_err(|error| root_cause(&error))
    }
}

impl Trouble {
    /// As the answer of an ask for `node`, which is at `address` under `root`.
    pub(super) fn as_answer(&self, node: &str, address: &str, root: &str) -> Answer {
        let failed = |kind, message| Answer::Failed { kind, message };
        match self {
            Self::Dial(cause) => dial_failed(address, root, cause),
            Self::Broken(cause) => {
                failed(FailureKind::Unreachable, format!("no answer about {node} from etcd at {address}: {cause}"))
            }
            Self::Crowded => failed(
                FailureKind::TimedOut,
                format!("deadline exceeded: {node}: too many reads of this cell were under way (--topo-read-concurrency)"),
            ),
            Self::TimedOut => failed(FailureKind::TimedOut, format!("deadline exceeded: {node}")),
            Self::TooLarge => {
                failed(FailureKind::TooLarge, format!("the answer about {node} is larger than an answer of etcd may be"))
            }
            Self::Status(status) => {
                let code = status.code();
                let kind = FailureKind::Status(i32::from(code));
                let is_etcds_own = status.message().starts_with("etcdserver:");
                match code {
                    Code::Unavailable | Code::DeadlineExceeded if is_etcds_own => {
                        failed(FailureKind::TimedOut, format!("deadline exceeded: {node}"))
                    }
                    Code::NotFound => Answer::Missing { node: node.to_owned() },
                    Code::ResourceExhausted => failed(kind, format!("server resource exhausted: {node}")),
                    Code::Cancelled => failed(kind, format!("interrupted: {node}")),
                    _ if is_etcds_own => failed(kind, format!("{} ({node})", status.message())),
                    _ => failed(kind, format!("rpc error: code = {code:?} desc = {} ({node})", status.message())),
                }
            }
        }
    }
}

/// Vitess's text for a cell without a connection. Source: `go/vt/topo/server.go:ConnForCell`.
pub(super) fn dial_failed(address: &str, root: &str, cause: &str) -> Answer {
    let message = format!("failed to create topo connection to {address}, {root}: {cause}");
    Answer::Failed { kind: FailureKind::Unreachable, message }
}

fn trouble(error: Error) -> Trouble {
    match error {
        Error::GRpcStatus(status) => {
            let is_ours = status.source().is_some();
            match status.code() {
                Code::OutOfRange if status.message().contains("message length too large") => Trouble::TooLarge,
                Code::ResourceExhausted if status.message().contains("larger than max") => Trouble::TooLarge,
                _ if is_ours => Trouble::Broken(root_cause(&status)),
                _ => Trouble::Status(status),
            }
        }
        error => Trouble::Broken(root_cause(&error)),
    }
}

/// Go's words when a dial or a call runs out of time, which vtctld shows for every cell it cannot connect to.
const DIAL_TIMED_OUT: &str = "context deadline exceeded";

/// Between repetitions of a read that etcd cannot serve just now.
const PAUSE: Duration = Duration::from_millis(50);

/// What the preferred member has over the next one.
const HEAD_START: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_cluster_are_equal() {
        let plain = Addresses::parse("a:2379,b:2379", false);
        for spelling in ["b:2379,a:2379", "http://a:2379, http://b:2379/", "http://b:2379,a:2379", "a:2379,b:2379,"] {
            assert_eq!(Addresses::parse(spelling, false), plain, "{spelling}");
        }
        assert_ne!(Addresses::parse("https://a:2379,b:2379", false), plain);
        assert_ne!(Addresses::parse("a:2379,b:2379", true), plain);
        assert_eq!(Addresses::parse("http://a:2379,b:2379", true), plain);
    }

    #[test]
    fn addresses_that_are_none_are_refused_by_name() {
        let dialing = Dialing { tls: ClientTlsConfig::new(), timeout: Duration::from_secs(1), answer_bytes: 1 << 20 };
        for (list, part) in
            [("", "empty"), (" , ", "empty"), ("unixs:///run/etcd", "unixs"), ("ftp://a:1", "ftp"), ("a b:1", "a b:1")]
        {
            let refused = Cluster::new(&Addresses::parse(list, false), &dialing).err();
            assert!(refused.as_ref().is_some_and(|text| text.contains(part)), "{list}: {refused:?}");
        }
    }
}
