//! One page of a tablet: a GET over plain HTTP/1.1, its body undecoded, within a bound.
//!
//! Deadlines and turns are the caller's. Redirects are not followed: a tablet's pages are its own. Vitess asks the same way, in
//! plain text: `go/vt/wrangler/version.go:getVersionFromTabletDebugVars`.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use vtflow_planner::FailureKind;

use crate::net::{
    cause::root_cause,
    grpc::code,
    network::{Network, Stream},
};

/// Bytes of a page at most. A tablet with thousands of tables shows about one MiB of variables.
const PAGE_BYTES: usize = 8 << 20;

/// The body of the page at `address`, host and port. Dropping the future closes the connection.
///
/// # Errors
/// What kind of failure, and its cause.
pub(crate) async fn get(network: &Network, address: &str, path: &str) -> Result<Vec<u8>, (FailureKind, String)> {
    let unreachable = |cause: String| (FailureKind::Unreachable, cause);
    let dialed = match network.other() {
        Some(other) => other.dial(address).await,
        None => TcpStream::connect(address).await.map(|stream| Box::new(stream) as Box<dyn Stream>),
    };
    let stream = dialed.map_err(|error| unreachable(root_cause(&error)))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(root_cause(&error)))?;
    let request = Request::get(path)
        .header(header::HOST, address)
        .header(header::USER_AGENT, concat!("vtflow/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| unreachable(root_cause(&error)))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| unreachable(root_cause(&error)))?;
        if response.status() != StatusCode::OK {
            let status = response.status().as_u16();
            // It answered, and not what was asked for.
            return Err((FailureKind::Status(code::UNKNOWN), format!("its page {path} answered HTTP status {status}")));
        }
        let mut body = response.into_body();
        let mut received = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| unreachable(root_cause(&error)))?;
            let Ok(data) = frame.into_data() else { continue };
            if received.len() + data.len() > PAGE_BYTES {
                return Err((FailureKind::TooLarge, format!("its page {path} has more than {PAGE_BYTES} bytes")));
            }
            received.extend_from_slice(&data);
        }
        Ok(received)
    };
    // The connection is driven here, so that it ends with this future.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        got = &mut exchange => got,
        // The connection may end before its last bytes were taken.
        _ = &mut connection => exchange.await,
    }
}
