//! A served cluster that can be broken while it is in use: two cells, each with a real etcd behind a relay, embedded tablets
//! behind relays, and `vtflow serve` as a process in front.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Request, transport::Channel};
use vtflow::{
    embedded::{Cluster, Snapshot},
    topo::{CellRecord, EtcdConfig, EtcdTopology},
};
use vtflow_planner::{
    Failure,
    proto::{
        topodata::CellInfo,
        vtctldata::{GetWorkflowsResponse, Workflow},
    },
};

use super::{
    etcd::Etcd,
    process::Process,
    program::recorded,
    relay::Relay,
    serving::{GET_WORKFLOWS, channel, moved, unary, workflows_of},
};

/// Where the global topology is, in the first etcd.
pub(crate) const ROOT: &str = "/clusters/one/global";
/// How long one ask of the server may take, of either kind.
pub(crate) const DEADLINE: Duration = Duration::from_millis(800);
/// No request may take longer, whatever is broken: twice an ask's deadline, and what a busy machine needs.
pub(crate) const BOUND: Duration = Duration::from_millis(2 * 800 + 2000);

/// The primaries of keyspace `customer`: shard, tablet, cell.
pub(crate) const FIRST: (&str, &str) = ("-80", "zone1-0000000200");
pub(crate) const SECOND: (&str, &str) = ("80-", "zone2-0000000300");
/// A replica of the first shard.
pub(crate) const REPLICA: &str = "zone2-0000000201";

pub(crate) struct Faulty {
    /// The global topology and that of `zone1`; that of `zone2`.
    pub(crate) etcds: Vec<Etcd>,
    /// The ways to them.
    pub(crate) to_etcds: [Relay; 2],
    /// The ways to the tablets, by alias.
    pub(crate) to_tablets: BTreeMap<String, Relay>,
    pub(crate) server: Process,
    client: Channel,
    _cluster: Cluster,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Got {
    /// The message, or code and text.
    pub(crate) result: Result<Bytes, (Code, String)>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) took: Duration,
}

impl Faulty {
    pub(crate) async fn start() -> Self {
        let etcds = vec![Etcd::start(), Etcd::start()];
        let to_etcds = [Relay::to(etcds[0].address()).await, Relay::to(etcds[1].address()).await];
        let snapshot = Snapshot::load(&recorded("movetables-running")).unwrap();
        let cluster = Cluster::start(snapshot, BTreeMap::new(), Duration::ZERO).await.unwrap();
        let mut to_tablets = BTreeMap::new();
        let mut records = Vec::new();
        for record in cluster.topo() {
            let tablet = record.path.strip_prefix("tablets/").and_then(|rest| rest.strip_suffix("/Tablet"));
            let cell = record.path.strip_prefix("cells/").and_then(|rest| rest.strip_suffix("/CellInfo"));
            records.push(if let Some(alias) = tablet.map(str::to_owned) {
                let relay = Relay::to(format!("127.0.0.1:{}", cluster.port(&alias).unwrap())).await;
                let record = moved(record, relay.address);
                to_tablets.insert(alias, relay);
                record
            } else if let Some(cell) = cell.map(str::to_owned) {
                let relay = &to_etcds[usize::from(cell == "zone2")];
                let info = CellInfo { server_address: relay.address.to_string(), root: format!("/cells/{cell}") };
                CellRecord { value: info.encode_to_vec(), ..record }
            } else {
                record
            });
        }
        let topology = EtcdTopology::new(&EtcdConfig::new(to_etcds[0].address.to_string(), ROOT)).unwrap();
        topology.put_all(&records, true, tokio::time::Instant::now() + Duration::from_secs(30)).await.unwrap();

        let (address, deadline) = (to_etcds[0].address.to_string(), format!("{}ms", DEADLINE.as_millis()));
        let server = Process::start(&[
            "serve",
            "--topo-implementation=etcd2",
            "--topo-global-server-address",
            &address,
            "--topo-global-root",
            ROOT,
            "--topo-deadline",
            &deadline,
            "--tablet-deadline",
            &deadline,
            "--bind-address=127.0.0.1",
            "--grpc-port=0",
            "--port=0",
            "--no-log",
        ]);
        let client = channel(server.grpc).await;
        Self { etcds, to_etcds, to_tablets, server, client, _cluster: cluster }
    }

    /// The way to a tablet.
    pub(crate) fn tablet(&self, alias: &str) -> &Relay {
        &self.to_tablets[alias]
    }

    /// One request, whose end must come within [`BOUND`].
    pub(crate) async fn ask(&self, path: &str, request: Bytes) -> Got {
        let begun = Instant::now();
        let answered = tokio::time::timeout(Duration::from_secs(30), unary(self.client.clone(), path, Request::new(request)));
        let answered = answered.await.unwrap_or_else(|_| panic!("{path} hangs"));
        let took = begun.elapsed();
        let (metadata, result) = match answered {
            Ok(response) => (response.metadata().clone(), Ok(response.into_inner())),
            Err(status) => (status.metadata().clone(), Err((status.code(), status.message().to_owned()))),
        };
        let told = metadata.get("vtflow-failures").map_or("[]", |value| value.to_str().unwrap());
        let got = Got { result, failures: serde_json::from_str(told).unwrap(), took };
        assert!(took < BOUND, "{path} takes {took:?}: {got:?}");
        got
    }

    /// The workflows of `customer`.
    pub(crate) async fn workflows(&self) -> Got {
        self.ask(GET_WORKFLOWS, workflows_of("customer")).await
    }

    /// The workflows of `customer` when nothing is wrong.
    pub(crate) async fn whole(&self) -> Vec<Workflow> {
        let got = self.workflows().await;
        assert_eq!(got.failures, [], "nothing is wrong");
        got.workflows()
    }

    /// Puts a value into the first etcd, past every relay. The path is relative to the global root.
    pub(crate) async fn put(&self, path: &str, value: Vec<u8>) {
        self.etcds[0].put(&[(&format!("{ROOT}/{path}"), value)]).await;
    }
}

impl Got {
    /// The reply's workflows.
    pub(crate) fn workflows(&self) -> Vec<Workflow> {
        let bytes = self.result.as_ref().unwrap_or_else(|(code, text)| panic!("{code:?}: {text}"));
        GetWorkflowsResponse::decode(bytes.clone()).unwrap().workflows
    }

    /// The error's text.
    pub(crate) fn error(&self) -> &str {
        &self.result.as_ref().expect_err("an error").1
    }

    /// Asserts that the reply is that of a healthy cluster but for one shard, which is named and shown as unknown everywhere.
    pub(crate) fn lacks_only(&self, (shard, tablet): (&str, &str), reason: &str, healthy: &[Workflow]) {
        let [failure] = self.failures.as_slice() else { panic!("one failure: {:?}", self.failures) };
        assert_eq!((failure.keyspace.as_str(), failure.shard.as_str()), ("customer", shard), "{failure:?}");
        assert!(failure.message.contains(reason), "{reason:?} in {failure:?}");
        let is_its = |place: &str| place.starts_with(&format!("{shard}/"));
        let workflows = self.workflows();
        assert_eq!(names(&workflows), names(healthy));
        for (now, before) in workflows.iter().zip(healthy) {
            let kept: BTreeMap<_, _> = steady(now).into_iter().filter(|(place, _)| !is_its(place)).collect();
            let want: BTreeMap<_, _> = steady(before).into_iter().filter(|(place, _)| !is_its(place)).collect();
            assert!(!want.is_empty());
            assert_eq!(kept, want, "{}: the other shard", now.name);
            let lost: Vec<_> = now.shard_streams.iter().filter(|(place, _)| is_its(place)).collect();
            let [(place, streams)] = lost.as_slice() else { panic!("{}: one place of the shard: {lost:?}", now.name) };
            assert_eq!(**place, format!("{shard}/{tablet}"), "{}", now.name);
            let [stream] = streams.streams.as_slice() else { panic!("{}: one stream: {streams:?}", now.name) };
            assert_eq!((stream.id, stream.state.as_str()), (0, "Unknown"), "{}", now.name);
            assert!(stream.message.contains(reason), "{}: {:?}", now.name, stream.message);
        }
    }
}

fn names(workflows: &[Workflow]) -> Vec<&str> {
    workflows.iter().map(|workflow| workflow.name.as_str()).collect()
}

/// What does not depend on the moment: by place, each stream's id, state and position.
pub(crate) fn steady(workflow: &Workflow) -> BTreeMap<String, Vec<(i64, String, String)>> {
    let of = |streams: &vtflow_planner::proto::vtctldata::workflow::ShardStream| {
        streams.streams.iter().map(|stream| (stream.id, stream.state.clone(), stream.position.clone())).collect()
    };
    workflow.shard_streams.iter().map(|(place, streams)| (place.clone(), of(streams))).collect()
}
