//! One etcd cluster: the connection to one of its members, and what to do when that member fails.
//!
//! No keys and no records here. etcd-client balances over members by itself, but never says that none of them answers; so
//! the connection is made here. Facts: `go/vt/topo/etcd2topo/server.go:NewServerWithOpts`.

use std::{
    error::Error as _,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use etcd_client::{
    Client, ConnectOptions, Error, GetResponse, KvClient, LeaseClient, LeaseGrantResponse, LeaseRevokeResponse, ResponseHeader,
    TxnResponse,
};
use futures_util::{FutureExt, future::select_ok};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{
    Code,
    transport::{ClientTlsConfig, Endpoint},
};

use super::{
    addresses::Addresses,
    error::{EtcdError, NO_ETCD},
};
use crate::{
    net::{
        cause::root_cause,
        connection::{Leased, SharedConnection},
        endpoint::{Pace, endpoint, with_tls},
        link::{GONE, Link, Patience},
        network::Network,
    },
    reloaded::Reloaded,
    secret::{Credentials, shown_address},
};

/// How any cluster is dialed.
#[derive(Clone)]
pub(super) struct Dialing {
    pub(super) network: Network,
    pub(super) tls: Arc<Reloaded<ClientTlsConfig>>,
    /// Who says to be asking, where etcd wants to know.
    pub(super) credentials: Option<Arc<Reloaded<Credentials>>>,
    /// Whether a password may travel unencrypted.
    pub(super) plaintext_credentials: bool,
    pub(super) timeout: Duration,
    pub(super) answer_bytes: usize,
}

/// A cluster and the connection to it, shared by all who read there.
pub(super) struct Cluster {
    members: Vec<Member>,
    is_tls: bool,
    dialing: Dialing,
    connection: SharedConnection<Dialed>,
    /// The member to try first: the one after that which failed last.
    preferred: AtomicUsize,
}

/// Where one member is.
struct Member {
    endpoint: Endpoint,
    /// A socket of this machine.
    is_here: bool,
}

/// A connection to a member.
#[derive(Clone)]
struct Dialed {
    client: Arc<Client>,
    link: Link,
    member: usize,
}

impl Cluster {
    pub(super) fn new(addresses: &Addresses, dialing: &Dialing) -> Result<Self, String> {
        if addresses.members.is_empty() {
            return Err("it is empty".to_owned());
        }
        if dialing.credentials.is_some() && !addresses.is_tls && !dialing.plaintext_credentials {
            return Err(format!("a password would travel unencrypted to it: {PLAINTEXT}"));
        }
        let find = |member: &String| -> Result<Member, String> {
            if member.contains('@') || member.contains("%40") {
                return Err("a name and a password do not belong into an address: give --topo-etcd-credentials FILE".to_owned());
            }
            let invalid = |error: tonic::transport::Error| format!("{}: {}", shown_address(member), root_cause(&error));
            let uri = match (member.split_once("://"), addresses.is_tls) {
                (Some(("unix", _)), _) => member.clone(),
                (Some((scheme, _)), _) => return Err(format!("{member}: scheme {scheme} is not supported")),
                (None, true) => format!("https://{member}"),
                (None, false) => format!("http://{member}"),
            };
            let is_here = uri.starts_with("unix:");
            let endpoint = endpoint(uri, PACE).map_err(invalid)?;
            if addresses.is_tls {
                // Once now, so that a name that TLS does not take is found; again for each connection.
                endpoint.clone().tls_config((*dialing.tls.current()).clone()).map_err(invalid)?;
            }
            Ok(Member { endpoint, is_here })
        };
        let members = addresses.members.iter().map(find).collect::<Result<_, _>>()?;
        let is_tls = addresses.is_tls;
        Ok(Self {
            members,
            is_tls,
            dialing: dialing.clone(),
            connection: SharedConnection::new(),
            preferred: AtomicUsize::new(0),
        })
    }

    /// Performs a read, on another member or a new connection if the first breaks or is dead, until the deadline.
    pub(super) async fn read<T: Headed, F>(&self, deadline: Instant, ask: impl Fn(KvClient) -> F) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let answer = self.repeated(deadline, |dialed| ask(self.records(dialed))).await?;
        answered(answer)
    }

    /// Does something with a lease. It may be done twice: a lease that nobody knows of ends by itself.
    pub(super) async fn lease<T, F>(&self, deadline: Instant, ask: impl Fn(LeaseClient) -> F) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.repeated(deadline, |dialed| ask(dialed.client.lease_client())).await
    }

    async fn repeated<T, F>(&self, deadline: Instant, ask: impl Fn(&Dialed) -> F) -> Result<T, EtcdError>
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
            let (dialed, call) = (&connected.connection, ask(&connected.connection));
            let attempt = async {
                if connected.fresh || breaks_left < self.members.len() {
                    return Some(call.await);
                }
                let patience = Patience::of(deadline.saturating_duration_since(Instant::now()));
                dialed.link.watched(patience, call).await
            };
            let trouble = match timeout_at(attempt_until, attempt).await {
                Ok(Some(Ok(answer))) => return Ok(answer),
                Ok(Some(Err(error))) => error.into(),
                Ok(None) => EtcdError::Broken(GONE.to_owned()),
                Err(_) => EtcdError::TimedOut,
            };
            match &trouble {
                EtcdError::Status(status) if status.code() == Code::Unavailable && Instant::now() + PAUSE < deadline => {
                    // An election, or a server that is shutting down: the Go client repeats such reads after 25 ms too.
                    self.turn_away_from(&connected);
                    sleep(PAUSE).await;
                    continue;
                }
                EtcdError::Broken(_) | EtcdError::TimedOut => self.turn_away_from(&connected),
                EtcdError::Status(_) | EtcdError::TooLarge | EtcdError::Crowded | EtcdError::Dial(_) => return Err(trouble),
            }
            let is_over = Instant::now() >= deadline;
            if is_over || breaks_left == 0 || (connected.fresh && self.members.len() == 1) {
                return Err(if is_over { EtcdError::TimedOut } else { trouble });
            }
            breaks_left -= 1;
        }
    }

    /// Performs a write, once, on a connection that is alive.
    pub(super) async fn write<T: Headed, F>(&self, deadline: Instant, ask: impl FnOnce(KvClient) -> F) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut connected = self.connected(deadline).await?;
        let patience = Patience::of(deadline.saturating_duration_since(Instant::now()));
        if !connected.fresh && !connected.connection.link.is_alive(patience).await {
            self.turn_away_from(&connected);
            connected = self.connected(deadline).await?;
        }
        let outcome = match timeout_at(deadline, ask(self.records(&connected.connection))).await {
            Ok(outcome) => outcome.map_err(EtcdError::from).and_then(answered),
            Err(_) => Err(EtcdError::TimedOut),
        };
        if matches!(outcome, Err(EtcdError::Broken(_) | EtcdError::TimedOut)) {
            self.turn_away_from(&connected);
        }
        outcome
    }

    fn records(&self, dialed: &Dialed) -> KvClient {
        dialed.client.kv_client().max_decoding_message_size(self.dialing.answer_bytes)
    }

    async fn connected(&self, deadline: Instant) -> Result<Leased<Dialed>, EtcdError> {
        match timeout_at(deadline, self.connection.lease(self.dial())).await {
            Ok(outcome) => outcome.map_err(EtcdError::Dial),
            Err(_) => Err(EtcdError::Dial(DIAL_TIMED_OUT.to_owned())),
        }
    }

    /// The next dial begins with the next member. Of many who find one connection broken, only the first one moves it on.
    fn turn_away_from(&self, connected: &Leased<Dialed>) {
        if self.connection.forget(connected) {
            self.preferred.store((connected.connection.member + 1) % self.members.len(), Ordering::Relaxed);
        }
    }

    /// Connects to the first member that accepts: the preferred one has a head start, then one after the other.
    async fn dial(&self) -> Result<Dialed, String> {
        let first = self.preferred.load(Ordering::Relaxed);
        let tls = self.is_tls.then_some(&*self.dialing.tls);
        let attempts = (0..self.members.len()).map(|turn| {
            let index = (first + turn) % self.members.len();
            let member = &self.members[index];
            async move {
                let head_start = HEAD_START * u32::try_from(turn).unwrap_or(u32::MAX);
                sleep(head_start.min(self.dialing.timeout / 2)).await;
                if member.is_here {
                    return Ok((Link::dial_here(&member.endpoint).await?, index));
                }
                let endpoint = with_tls(&member.endpoint, tls)?;
                let link = Link::dial(&self.dialing.network, &endpoint, None, self.dialing.timeout / 2).await?;
                Ok::<_, String>((link, index))
            }
            .boxed()
        });
        let dialed = async {
            let (link, member) = select_ok(attempts).await?.0;
            let options = self.dialing.credentials.as_ref().map(|credentials| {
                let credentials = credentials.current();
                let options = ConnectOptions::new().with_auto_token_refresh(true);
                options.with_user(credentials.username.clone(), credentials.password.reveal())
            });
            let client = Client::from_channel(etcd_client::Channel::Tonic(link.channel.clone()), options).await;
            Ok(Dialed { client: Arc::new(client.map_err(|error| refused(&error))?), link, member })
        };
        tokio::time::timeout(self.dialing.timeout, dialed).await.map_err(|_| DIAL_TIMED_OUT.to_owned())?
    }
}

/// Why etcd does not take a name and password; its words name neither.
fn refused(error: &Error) -> String {
    match error {
        Error::GRpcStatus(status) if status.source().is_none() => status.message().to_owned(),
        error => root_cause(error),
    }
}

/// An answer that says of which revision it is, as every answer of an etcd does.
pub(super) trait Headed {
    /// 0 without a header.
    fn revision(&self) -> i64;
}

impl Headed for GetResponse {
    fn revision(&self) -> i64 {
        self.header().map_or(0, ResponseHeader::revision)
    }
}

impl Headed for TxnResponse {
    fn revision(&self) -> i64 {
        self.header().map_or(0, ResponseHeader::revision)
    }
}

impl Headed for LeaseGrantResponse {
    fn revision(&self) -> i64 {
        self.header().map_or(0, ResponseHeader::revision)
    }
}

impl Headed for LeaseRevokeResponse {
    fn revision(&self) -> i64 {
        self.header().map_or(0, ResponseHeader::revision)
    }
}

/// No bytes at all are a message, too: one in which there is nothing. Whoever sends that has not looked.
pub(super) fn answered<T: Headed>(answer: T) -> Result<T, EtcdError> {
    if answer.revision() == 0 { Err(EtcdError::Broken(NO_ETCD.to_owned())) } else { Ok(answer) }
}

/// What would help where a password may not be sent.
const PLAINTEXT: &str = "give --topo-etcd-tls-ca, or --plaintext-credentials if that is as it should be";

/// Go's words when a dial or a call runs out of time, which vtctld shows for every cell it cannot connect to.
const DIAL_TIMED_OUT: &str = "context deadline exceeded";

/// Between repetitions of a read that etcd cannot serve just now.
const PAUSE: Duration = Duration::from_millis(50);

/// How a member is dialed.
const PACE: Pace = Pace {
    ping_every: Duration::from_secs(10),
    ping_wait: Duration::from_secs(5),
    connection_window: 8 << 20,
    stream_window: 4 << 20,
};

/// What the preferred member has over the next one.
const HEAD_START: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::TlsFiles;

    fn dialing() -> Dialing {
        let tls = Arc::new(TlsFiles::default().reloaded("").unwrap());
        let timeout = Duration::from_secs(1);
        let network = Network::default();
        Dialing { network, tls, credentials: None, plaintext_credentials: false, timeout, answer_bytes: 1 << 20 }
    }

    #[tokio::test]
    async fn many_who_find_a_member_broken_move_on_by_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                held.push(connection);
            }
        });
        // Sorted behind the one that is there; nobody is at these two.
        let cluster =
            Cluster::new(&Addresses::parse(&format!("{open},z.invalid:1,z.invalid:2"), false).unwrap(), &dialing()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let first = cluster.connected(deadline).await.unwrap();
        let others = [cluster.connected(deadline).await.unwrap(), cluster.connected(deadline).await.unwrap()];
        assert_eq!(first.connection.member, 0);
        for connected in others.iter().chain([&first]) {
            cluster.turn_away_from(connected);
        }
        assert_eq!(cluster.preferred.load(Ordering::Relaxed), 1, "three who say so are not three members");
        // Reached by way of the second and third, which do not answer: the one after it comes first again.
        let second = cluster.connected(deadline).await.unwrap();
        cluster.turn_away_from(&second);
        assert_eq!((second.connection.member, cluster.preferred.load(Ordering::Relaxed)), (0, 1));
    }

    #[test]
    fn a_password_is_not_sent_in_plaintext_unless_told() {
        let credentials =
            || -> Result<Credentials, _> { Ok(serde_json::from_str(r#"{"Username": "a", "Password": "b"}"#).unwrap()) };
        let credentials = Some(Arc::new(Reloaded::new("", Vec::new(), credentials).unwrap()));
        let dialing = Dialing { credentials, ..dialing() };
        let plain = Addresses::parse("a:2379", false).unwrap();
        let refused = Cluster::new(&plain, &dialing).err().unwrap();
        assert!(refused.contains("--plaintext-credentials"), "{refused}");
        assert!(Cluster::new(&plain, &Dialing { plaintext_credentials: true, ..dialing.clone() }).is_ok());
        assert!(Cluster::new(&Addresses::parse("a:2379", true).unwrap(), &dialing).is_ok());
    }

    #[test]
    fn addresses_that_are_none_are_refused_by_name() {
        let dialing = dialing();
        for (list, part) in [
            ("", "empty"),
            (" , ", "empty"),
            ("unixs:///run/etcd", "unixs"),
            ("ftp://a:1", "ftp"),
            ("a b:1", "a b:1"),
            ("http://u:pw@a:1", "--topo-etcd-credentials"),
            ("http://u:pw%40a:1", "--topo-etcd-credentials"),
        ] {
            let refused = Cluster::new(&Addresses::parse(list, false).unwrap(), &dialing).err();
            assert!(refused.as_ref().is_none_or(|text| !text.contains("pw")), "{refused:?}");
            assert!(refused.as_ref().is_some_and(|text| text.contains(part)), "{list}: {refused:?}");
        }
    }
}
