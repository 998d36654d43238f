//! How a peer is dialed, whoever it is.

use std::time::Duration;

use tonic::transport::{ClientTlsConfig, Endpoint, Error};

use super::cause::root_cause;
use crate::reloaded::Reloaded;

/// What differs from peer to peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two pings, while a call is under way.
    pub(crate) ping_every: Duration,
    /// How long one may take.
    pub(crate) ping_wait: Duration,
    /// Bytes that may be under way on a connection.
    pub(crate) connection_window: u32,
    /// Bytes that may be under way for one call.
    pub(crate) stream_window: u32,
}

/// Where a peer is. Nobody is connected to yet.
///
/// # Errors
/// It is no address.
pub(crate) fn endpoint(uri: String, pace: Pace) -> Result<Endpoint, Error> {
    Ok(Endpoint::from_shared(uri)?
        .http2_keep_alive_interval(pace.ping_every)
        .keep_alive_timeout(pace.ping_wait)
        // Go servers close a connection whose client pings more often than every 10 s, or without a call under way.
        .keep_alive_while_idle(false)
        .initial_connection_window_size(pace.connection_window)
        .initial_stream_window_size(pace.stream_window))
}

/// The same with TLS, if that is on, as its files are now.
///
/// # Errors
/// The files do not fit the address.
pub(crate) fn with_tls(endpoint: &Endpoint, tls: Option<&Reloaded<ClientTlsConfig>>) -> Result<Endpoint, String> {
    let endpoint = endpoint.clone();
    match tls {
        Some(tls) => endpoint.tls_config((*tls.current()).clone()).map_err(|error| root_cause(&error)),
        None => Ok(endpoint),
    }
}
