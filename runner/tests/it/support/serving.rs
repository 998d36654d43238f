//! A server under test on a loopback port, with a cluster behind it, and clients for it that know only bytes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::{Message, encoding};
use tonic::{Request, Response, Status, client::Grpc, transport::Channel};
use vtflow::{
    deadline::Deadlines,
    drive::ClusterIo,
    embedded::{Cluster, Fault, Shape, Snapshot, generate},
    observe::Observer,
    raw::RawCodec as Raw,
    server::{Server, ServerOptions},
    tablet::{TabletOptions, Tablets},
    topo::{CellRecord, MemoryTopology},
};
use vtflow_planner::{
    Answer, Ask, FailureKind, Timestamp,
    proto::{topodata, vtctldata::GetWorkflowsRequest},
};

pub(crate) const NOW: Timestamp = Timestamp { seconds: 1_795_424_044, nanos: 0 };
pub(crate) const GET_WORKFLOWS: &str = "/vtctlservice.Vtctld/GetWorkflows";

/// Listens on free ports of the loopback address, and writes nothing.
pub(crate) fn options() -> ServerOptions {
    ServerOptions {
        bind_address: "127.0.0.1".to_owned(),
        grpc_port: 0,
        http_port: Some(0),
        has_log: false,
        ..ServerOptions::default()
    }
}

/// Counts asks.
#[derive(Default)]
pub(crate) struct Asked {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Asked {
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub(crate) fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }
}

impl Observer for Asked {
    fn asked(&self, _: &Ask) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    fn answered(&self, _: &Ask, _: &Answer, _: Duration) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    fn failed(&self, _: &Ask, _: FailureKind, _: &str, _: Duration) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// A server and the cluster behind it.
pub(crate) struct Serving {
    pub(crate) server: Server,
    pub(crate) io: ClusterIo,
    pub(crate) asked: Arc<Asked>,
    _cluster: Option<Cluster>,
}

impl Serving {
    /// Two shards of twelve streams, all well.
    pub(crate) async fn small() -> Self {
        Self::with(options(), small(), &[]).await
    }

    pub(crate) async fn with(options: ServerOptions, snapshot: Snapshot, faults: &[(&str, Fault)]) -> Self {
        let now = snapshot.taken_at;
        let faults: BTreeMap<String, Fault> = faults.iter().map(|(alias, fault)| ((*alias).to_owned(), *fault)).collect();
        let cluster = Cluster::start(snapshot, faults, Duration::ZERO).await.unwrap();
        let topo = cluster.topo();
        Self::start(options, topo, Deadlines::default(), now, Some(cluster)).await
    }

    /// Two shards of twelve streams, whose tablets take `delay` for an answer and are asked so many things at once.
    pub(crate) async fn slow(options: ServerOptions, delay: Duration, concurrency: usize, deadlines: Deadlines) -> Self {
        let cluster = Cluster::start(small(), BTreeMap::new(), delay).await.unwrap();
        let tablets = TabletOptions { concurrency, ..TabletOptions::default() };
        Self::start_with(options, cluster.topo(), tablets, deadlines, NOW, Some(cluster)).await
    }

    /// All tablets are at this address.
    pub(crate) async fn with_tablets_at(options: ServerOptions, tablets: SocketAddr, deadlines: Deadlines) -> Self {
        let topo = small().topo.into_iter().map(|record| moved(record, tablets)).collect();
        Self::start(options, topo, deadlines, NOW, None).await
    }

    async fn start(
        options: ServerOptions,
        topo: Vec<CellRecord>,
        deadlines: Deadlines,
        now: Timestamp,
        cluster: Option<Cluster>,
    ) -> Self {
        Self::start_with(options, topo, TabletOptions::default(), deadlines, now, cluster).await
    }

    async fn start_with(
        options: ServerOptions,
        topo: Vec<CellRecord>,
        tablets: TabletOptions,
        deadlines: Deadlines,
        now: Timestamp,
        cluster: Option<Cluster>,
    ) -> Self {
        let topology = Arc::new(MemoryTopology::new(topo));
        let tablets = Arc::new(Tablets::new(tablets).unwrap());
        let io = ClusterIo { topology, tablets, deadlines };
        let asked = Arc::new(Asked::default());
        let observer = Arc::clone(&asked);
        let server = Server::start(options, io.clone(), Arc::new(move || now), Some(observer)).await.unwrap();
        Self { server, io, asked, _cluster: cluster }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.grpc_address()
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.server.http_address().unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        channel(self.address()).await
    }

    pub(crate) async fn call(&self, path: &str, request: Bytes) -> Result<Response<Bytes>, Status> {
        unary(self.channel().await, path, Request::new(request)).await
    }
}

pub(crate) fn small() -> Snapshot {
    generate(Shape { shards: 2, streams: 12, ..Shape::default() }, NOW)
}

pub(crate) async fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

pub(crate) async fn unary(channel: Channel, path: &str, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path: PathAndQuery = path.parse().unwrap();
    grpc.unary(request, path, Raw).await
}

/// The request for a keyspace's workflows.
pub(crate) fn workflows_of(keyspace: &str) -> Bytes {
    GetWorkflowsRequest { keyspace: keyspace.to_owned(), ..GetWorkflowsRequest::default() }.encode_to_vec().into()
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("in vain: {what}");
}

/// One HTTP request, to its end.
pub(crate) async fn http_get(address: SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

/// Leads a tablet's record elsewhere: the last value of a field wins.
pub(crate) fn moved(mut record: CellRecord, to: SocketAddr) -> CellRecord {
    if record.path.ends_with("/Tablet") {
        encoding::string::encode(2, &to.ip().to_string(), &mut record.value);
        let more =
            topodata::Tablet { port_map: [("grpc".to_owned(), i32::from(to.port()))].into(), ..topodata::Tablet::default() };
        record.value.extend(more.encode_to_vec());
    }
    record
}
