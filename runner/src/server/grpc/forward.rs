//! RPCs of others: handed to a real vtctld as they came, and its answer handed back, neither read nor held.
//!
//! Unary or streaming makes no difference here: both directions flow frame by frame, headers and trailers included, and
//! whoever goes away first takes the other side with it. Two headers change: `user-agent`, to which the client library appends itself,
//! and `vtflow-via`, by which a loop is noticed.

use std::{collections::hash_map::RandomState, future::poll_fn, hash::BuildHasher, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response, header, uri::PathAndQuery};
use tokio::time::timeout;
use tonic::{
    body::Body,
    transport::{ClientTlsConfig, Endpoint},
};
use tower::Service;

use crate::{
    error::OptionError,
    net::{
        cause::root_cause,
        connection::{Leased, SharedConnection},
        endpoint::{Pace, endpoint, with_tls},
        grpc::code,
        link::{Link, Patience},
        network::Network,
        tls::TlsFiles,
    },
    reloaded::Reloaded,
    server::refusal::Refusal,
};

/// Where RPCs go that vtflow does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardTo {
    /// `--forward-to`: host and port of a vtctld's gRPC services.
    pub address: String,
    /// `--vtctld-grpc-ca`, `-cert`, `-key`, `-server-name`. TLS is on when there is a CA or a certificate.
    pub tls: TlsFiles,
}

/// A vtctld and the way to it.
pub(crate) struct Forward {
    address: String,
    endpoint: Endpoint,
    tls: Option<Reloaded<ClientTlsConfig>>,
    connection: SharedConnection<Link>,
    /// Whether a caller's password may travel unencrypted.
    plaintext_credentials: bool,
    /// This server, in [`VIA`].
    id: String,
}

impl Forward {
    /// Reads the files that the options name. Connects when the first RPC comes, and again whenever the connection is lost.
    ///
    /// # Errors
    /// A text that is no address, a file that cannot be read or understood.
    pub(crate) fn new(to: &ForwardTo, plaintext_credentials: bool) -> Result<Self, OptionError> {
        let with_tls = to.tls.is_given()?;
        let scheme = if with_tls { "https" } else { "http" };
        let bad_address = |cause| OptionError::Address { address: to.address.clone(), cause };
        if to.address.contains('@') {
            return Err(bad_address("a name and a password do not belong into it: callers bring their own".to_owned()));
        }
        if to.address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
            return Err(bad_address("it needs a host and a port, such as vtctld:15999".to_owned()));
        }
        let endpoint = endpoint(format!("{scheme}://{}", to.address), PACE)
            .map_err(|error| bad_address(root_cause(&error)))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_max_header_list_size(1 << 20);
        let tls = with_tls.then(|| to.tls.reloaded("the certificates for the vtctld")).transpose()?;
        // Two numbers that nobody can guess, so that nobody can pretend that an RPC was here.
        let number = || RandomState::new().hash_one(0);
        let id = format!("{:016x}{:016x}", number(), number());
        Ok(Self { address: to.address.clone(), endpoint, tls, connection: SharedConnection::new(), plaintext_credentials, id })
    }

    /// Where it leads.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether a password would travel unencrypted, and nobody has said that it may.
    pub(crate) fn hides_no_password(&self) -> bool {
        self.tls.is_none() && !self.plaintext_credentials
    }

    /// Hands the request on and returns the answer as soon as its headers are here. Dropping the future, or the answer's body,
    /// cancels the RPC at the vtctld. It is sent once, on a connection that is alive.
    ///
    /// # Errors
    /// It has been here before, or carries a password that would not be encrypted: nothing is sent. The vtctld cannot be reached, or
    /// the caller's deadline passes before it says anything.
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let (mut head, body) = request.into_parts();
        self.check_password(&head.headers)?;
        let via = self.via(&head.headers)?;
        head.headers.insert(VIA, via);
        let path: PathAndQuery = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        head.uri = path.into();
        // The connection's own, not the caller's.
        head.headers.remove(header::HOST);
        head.extensions = http::Extensions::new();
        let connected = self.connected().await?;
        let mut channel = connected.connection.channel.clone();
        let broken = |error: &tonic::transport::Error| {
            let cause = root_cause(error);
            if cause.to_lowercase().contains("timeout expired") {
                let text = format!("the vtctld at {} did not answer within the deadline", self.address);
                return Refusal::new(code::DEADLINE_EXCEEDED, text);
            }
            self.connection.forget(&connected);
            self.unreachable(&cause)
        };
        poll_fn(|context| Service::<Request<Body>>::poll_ready(&mut channel, context)).await.map_err(|e| broken(&e))?;
        channel.call(Request::from_parts(head, body)).await.map_err(|e| broken(&e))
    }

    fn unreachable(&self, cause: &str) -> Refusal {
        Refusal::new(code::UNAVAILABLE, format!("the vtctld at {}, which this RPC is forwarded to: {cause}", self.address))
    }

    /// A connection that is alive.
    async fn connected(&self) -> Result<Leased<Link>, Refusal> {
        let dial = || async {
            let endpoint = with_tls(&self.endpoint, self.tls.as_ref())?;
            Link::dial(&Network::default(), &endpoint, Some(CONNECT_TIMEOUT), UNCONFIRMED).await
        };
        let connect = async {
            let connected = self.connection.lease(dial()).await?;
            if connected.fresh || connected.connection.is_alive(Patience::of(CONNECT_TIMEOUT)).await {
                return Ok(connected);
            }
            self.connection.forget(&connected);
            self.connection.lease(dial()).await
        };
        let connected = timeout(CONNECT_TIMEOUT * 2, connect).await.unwrap_or_else(|_| Err("connection timed out".to_owned()));
        connected.map_err(|cause: String| self.unreachable(&cause))
    }

    fn check_password(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.hides_no_password() && PASSWORDS.iter().any(|name| headers.contains_key(*name)) {
            let text = "not forwarded: this RPC carries a password, and the way to the vtctld is not encrypted; give --vtctld-grpc-ca, \
                        or --plaintext-credentials if that is as it should be";
            return Err(Refusal::new(code::FAILED_PRECONDITION, text));
        }
        Ok(())
    }

    /// The servers that an RPC has come by, this one the last.
    fn via(&self, headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
        let circle = |text: String| {
            let text = format!("not forwarded: {text}; --forward-to has to lead to a vtctld, here it is {}", self.address);
            Err(Refusal::new(code::FAILED_PRECONDITION, text))
        };
        let before: Vec<&str> = headers.get_all(VIA).iter().filter_map(|value| value.to_str().ok()).collect();
        let before = before.join(",");
        let hops: Vec<&str> = before.split(',').map(str::trim).filter(|hop| !hop.is_empty()).collect();
        if let Some(at) = hops.iter().position(|hop| *hop == self.id) {
            return circle(match hops.len() - at - 1 {
                0 => "this RPC came back to the vtflow that has forwarded it, a loop".to_owned(),
                others => format!("this RPC came back to the vtflow that has forwarded it, a loop through {others} more"),
            });
        }
        if hops.len() >= HOPS {
            return circle(format!("this RPC was forwarded {} times already", hops.len()));
        }
        let via = hops.into_iter().chain([self.id.as_str()]).collect::<Vec<_>>().join(",");
        HeaderValue::try_from(via).map_err(|error| Refusal::new(code::INTERNAL, error.to_string()))
    }
}

/// In the metadata of a forwarded RPC: the ids of the vtflows that have forwarded it.
const VIA: &str = "vtflow-via";

/// How often an RPC is forwarded from one vtflow to the next: a second one may be there for a reason.
const HOPS: usize = 4;

/// Metadata that proves who calls.
const PASSWORDS: [&str; 2] = ["password", "authorization"];

/// How long the vtctld's machine may leave bytes unconfirmed before the connection is given up.
const UNCONFIRMED: Duration = Duration::from_secs(10);

/// How the vtctld is dialed.
const PACE: Pace = Pace {
    ping_every: Duration::from_secs(15),
    ping_wait: Duration::from_secs(10),
    connection_window: 4 << 20,
    stream_window: 1 << 20,
};

/// How long a connection may take. An RPC that has to wait longer fails, and the next one tries again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
