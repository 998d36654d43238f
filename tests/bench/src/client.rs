//! A client that does not decode what it gets.

use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use tonic::{Request, client::Grpc, transport::Channel};
use vtflow::raw::RawCodec;

/// Bytes that a reply may have.
const LIMIT: usize = 1 << 30;
const WINDOW: u32 = 64 << 20;

/// Connects to `HOST:PORT`.
pub(crate) async fn connect(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Channel::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .tcp_nodelay(true);
    endpoint.connect().await.with_context(|| format!("nobody listens on {address}"))
}

/// One call; the reply's bytes.
pub(crate) async fn unary(channel: &Channel, path: &str, request: Bytes) -> anyhow::Result<Bytes> {
    unary_within(channel, path, request, None).await
}

/// One call of a client that says how long it waits.
pub(crate) async fn unary_within(channel: &Channel, path: &str, request: Bytes, wait: Option<Duration>) -> anyhow::Result<Bytes> {
    let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(LIMIT);
    grpc.ready().await?;
    let mut request = Request::new(request);
    if let Some(wait) = wait {
        request.set_timeout(wait);
    }
    let response = grpc.unary(request, path.parse()?, RawCodec).await;
    let response = response.map_err(|status| anyhow!("{path}: {:?} {}", status.code(), status.message()))?;
    if let Some(failures) = response.metadata().get("vtflow-failures") {
        return Err(anyhow!("{path}: the reply lacks {failures:?}"));
    }
    Ok(response.into_inner())
}
