//! `queryservice.Query/StreamHealth`: what a vtctld asks a tablet that streams are to read from. An embedded tablet serves, is healthy
//! and says so once; then the stream stays open, as a tablet's does.
//!
//! Source: `go/vt/discovery/tablet_picker.go`, `proto/query.proto:StreamHealthResponse`.

use std::{
    future::{Ready, ready},
    pin::Pin,
};

use bytes::Bytes;
use prost::Message;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, server::ServerStreamingService};
use vtflow_planner::proto::topodata::{self, TabletAlias};

/// The path of the RPC.
pub(super) const PATH: &str = "/queryservice.Query/StreamHealth";

#[derive(Clone, PartialEq, Message)]
struct Target {
    #[prost(string, tag = "1")]
    keyspace: String,
    #[prost(string, tag = "2")]
    shard: String,
    #[prost(int32, tag = "3")]
    tablet_type: i32,
    #[prost(string, tag = "4")]
    cell: String,
}

#[derive(Clone, PartialEq, Message)]
struct Health {
    #[prost(message, optional, tag = "1")]
    target: Option<Target>,
    #[prost(bool, tag = "2")]
    serving: bool,
    /// Its statistics: that they are there means that there is no error and no lag.
    #[prost(message, optional, tag = "4")]
    realtime_stats: Option<()>,
    #[prost(message, optional, tag = "5")]
    tablet_alias: Option<TabletAlias>,
}

/// What a tablet says of itself: of the topology's record of it.
pub(crate) fn message(record: &topodata::Tablet) -> Bytes {
    let target = Target {
        keyspace: record.keyspace.clone(),
        shard: record.shard.clone(),
        tablet_type: record.r#type,
        cell: record.alias.as_ref().map(|alias| alias.cell.clone()).unwrap_or_default(),
    };
    let health = Health { target: Some(target), serving: true, realtime_stats: Some(()), tablet_alias: record.alias.clone() };
    health.encode_to_vec().into()
}

/// The stream, with its one message.
pub(super) struct HealthStream(pub(super) Bytes);

impl ServerStreamingService<Bytes> for HealthStream {
    type Response = Bytes;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let stays_open = tokio_stream::once(Ok(self.0.clone())).chain(tokio_stream::pending());
        ready(Ok(Response::new(Box::pin(stays_open))))
    }
}
