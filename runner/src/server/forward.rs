//! RPCs of others: handed to a real vtctld as they came, and its answer handed back, neither read nor held.
//!
//! Unary or streaming makes no difference here: both directions flow frame by frame, headers and trailers included, and
//! whoever goes away first takes the other side with it. The one header that changes is `user-agent`, to which the client
//! library appends itself.

use std::{future::poll_fn, time::Duration};

use http::{Request, Response, header, uri::PathAndQuery};
use tonic::{
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::Service;

use super::message::{Refusal, code};
use crate::{
    cause::root_cause,
    tls::{OptionError, TlsFiles},
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
pub(super) struct Forward {
    address: String,
    channel: Channel,
}

impl Forward {
    /// Reads the files that the options name. Connects when the first RPC comes, and again whenever the connection is lost.
    ///
    /// # Errors
    /// A text that is no address, a file that cannot be read or understood.
    pub(super) fn new(to: &ForwardTo) -> Result<Self, OptionError> {
        let with_tls = to.tls.ca.is_some() || to.tls.cert.is_some() || to.tls.key.is_some();
        let scheme = if with_tls { "https" } else { "http" };
        let bad_address = |cause| OptionError::Address { address: to.address.clone(), cause };
        if to.address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
            return Err(bad_address("it needs a host and a port, such as vtctld:15999".to_owned()));
        }
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", to.address))
            .map_err(|error| bad_address(root_cause(&error)))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // Go servers close a connection whose client pings more often than every 10 s, or without a call under way.
            .http2_keep_alive_interval(Duration::from_secs(15))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(false)
            .initial_connection_window_size(4 << 20)
            .initial_stream_window_size(1 << 20)
            .http2_max_header_list_size(1 << 20);
        if with_tls {
            let tls = to.tls.client_config()?;
            endpoint = endpoint.tls_config(tls).map_err(|error| OptionError::Tls { cause: root_cause(&error) })?;
        }
        Ok(Self { address: to.address.clone(), channel: endpoint.connect_lazy() })
    }

    /// Hands the request on and returns the answer as soon as its headers are here. Dropping the future, or the answer's body,
    /// cancels the RPC at the vtctld.
    ///
    /// # Errors
    /// The vtctld cannot be reached, or the caller's deadline passes before it says anything.
    pub(super) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let (mut head, body) = request.into_parts();
        let path: PathAndQuery = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        head.uri = path.into();
        // The connection's own, not the caller's.
        head.headers.remove(header::HOST);
        head.extensions = http::Extensions::new();
        let mut channel = self.channel.clone();
        let unreachable = |error: &tonic::transport::Error| {
            let cause = root_cause(error);
            let address = &self.address;
            if cause.to_lowercase().contains("timeout expired") {
                return Refusal::new(
                    code::DEADLINE_EXCEEDED,
                    format!("the vtctld at {address} did not answer within the deadline"),
                );
            }
            Refusal::new(code::UNAVAILABLE, format!("the vtctld at {address}, which this RPC is forwarded to: {cause}"))
        };
        poll_fn(|context| Service::<Request<Body>>::poll_ready(&mut channel, context)).await.map_err(|e| unreachable(&e))?;
        channel.call(Request::from_parts(head, body)).await.map_err(|e| unreachable(&e))
    }
}

/// How long a connection may take. An RPC that has to wait longer fails, and the next one tries again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
