//! Which cluster a command is about, and the way to it: flags to an open cluster.
//!
//! The flags are vtctld's own, in both spellings. Source: `go/vt/topo/server.go:registerTopoFlags`,
//! `go/vt/topo/etcd2topo/server.go`, `go/vt/vttablet/grpctmclient/client.go`.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser},
};
use prost::Message;
use vtflow_planner::{Call, Reply, Timestamp, proto::topodata::CellInfo};

use crate::{
    cli::duration,
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    embedded::{Cluster, Fault, Snapshot, generate},
    net::tls::TlsFiles,
    output::{progress::Progress, terminal},
    planner_host::{PlannerChoice, PlannerHost},
    secret::{Credentials, Secret},
    tablet::{DEFAULT_CONCURRENCY, DEFAULT_CONCURRENCY_PER_CELL, TabletOptions, Tablets},
    topo::{CellRecord, DEFAULT_READ_CONCURRENCY, EtcdConfig, EtcdCredentials, EtcdTopology, GLOBAL, MemoryTopology},
    trace_file::{Recorder, TraceFile},
};

/// Which cluster, and how it is reached.
#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown, reason = "the texts are shown as help")]
pub struct ConnectArgs {
    /// A recorded cluster: a directory made by `vtflow snapshot save`
    #[arg(long, global = true, value_name = "DIR", conflicts_with_all = ["demo", "topo_implementation"], help_heading = "Cluster")]
    snapshot: Option<PathBuf>,
    /// The built-in demo cluster
    #[arg(long, global = true, conflicts_with = "topo_implementation", help_heading = "Cluster")]
    demo: bool,
    /// The kind of topology server: etcd2
    #[arg(long, global = true, value_name = "KIND", help_heading = "Cluster")]
    topo_implementation: Option<String>,
    /// Its addresses, with commas between
    #[arg(long, global = true, value_name = "HOST:PORT,...", help_heading = "Cluster")]
    topo_global_server_address: Option<String>,
    /// Where in it the global topology is
    #[arg(long, global = true, value_name = "PATH", help_heading = "Cluster")]
    topo_global_root: Option<String>,

    /// Client certificate for etcd; turns TLS on, together with the key
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    topo_etcd_tls_cert: Option<PathBuf>,
    /// Key of the client certificate for etcd
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    topo_etcd_tls_key: Option<PathBuf>,
    /// Who signs etcd's certificate; turns TLS on. The system's authorities without it
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    topo_etcd_tls_ca: Option<PathBuf>,
    /// A JSON file with Username and Password, for an etcd that has users
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "topo_etcd_username", help_heading = "TLS")]
    topo_etcd_credentials: Option<PathBuf>,
    /// The same without a file
    #[arg(long, global = true, value_name = "NAME", requires = "topo_etcd_password", help_heading = "TLS")]
    topo_etcd_username: Option<String>,
    /// Its password: whoever sees the list of processes sees it, too
    #[arg(long, global = true, value_name = "PASSWORD", requires = "topo_etcd_username", help_heading = "TLS")]
    topo_etcd_password: Option<Secret>,
    /// Let passwords travel unencrypted to an etcd, or with forwarded RPCs to a vtctld, that has no TLS
    #[arg(long, global = true, help_heading = "TLS")]
    plaintext_credentials: bool,
    /// Who signs the tablets' certificates; turns TLS on
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    tablet_manager_grpc_ca: Option<PathBuf>,
    /// Client certificate for tablets; turns TLS on, together with the key
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    tablet_manager_grpc_cert: Option<PathBuf>,
    /// Key of the client certificate for tablets
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    tablet_manager_grpc_key: Option<PathBuf>,
    /// The name that tablets' certificates are made out to
    #[arg(long, global = true, value_name = "NAME", help_heading = "TLS")]
    tablet_manager_grpc_server_name: Option<String>,
    /// A JSON file with Username and Password, sent with every tablet call
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    grpc_auth_static_client_creds: Option<PathBuf>,

    /// How long one read of the topology may take
    #[arg(long, global = true, value_name = "DURATION", default_value = "5s", value_parser = duration::parse, help_heading = "Limits")]
    topo_deadline: Duration,
    /// How long one tablet call may take
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = duration::parse, help_heading = "Limits")]
    tablet_deadline: Duration,
    /// Reads of the topology under way at once in one cell
    #[arg(long, global = true, value_name = "N", default_value_t = DEFAULT_READ_CONCURRENCY, help_heading = "Limits")]
    topo_read_concurrency: usize,
    /// How long to wait for a lock of the topology that somebody else holds
    #[arg(long, global = true, value_name = "DURATION", default_value = "45s", value_parser = duration::parse, help_heading = "Limits")]
    lock_timeout: Duration,
    /// How long a lock of the topology outlives a vtflow that has died
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400), help_heading = "Limits")]
    topo_etcd_lease_ttl: u64,
    /// Tablet calls under way at once
    #[arg(long, global = true, value_name = "N", default_value_t = DEFAULT_CONCURRENCY, help_heading = "Limits")]
    tablet_concurrency: usize,
    /// Tablet calls under way at once in one cell
    #[arg(long, global = true, value_name = "N", default_value_t = DEFAULT_CONCURRENCY_PER_CELL, help_heading = "Limits")]
    tablet_concurrency_per_cell: usize,
    /// Write down every ask and answer, a line of JSON for each request; see `vtflow replay`. With `serve`: of each RPC that has the
    /// metadata key vtflow-trace
    #[arg(long, global = true, value_name = "FILE", help_heading = "Trace")]
    trace: Option<PathBuf>,
    /// Leave the values of rows out of the trace, but for names, states, numbers and times
    #[arg(long, global = true, requires = "trace", help_heading = "Trace")]
    redact: bool,
    /// Which planner decides: the one built in (native), the same as a component (wasm), or another build of it (wasm=FILE)
    #[arg(
        long,
        global = true,
        value_name = "native|wasm[=FILE]",
        default_value = "native",
        hide_default_value = true,
        value_parser = OsStringValueParser::new().try_map(|text| PlannerChoice::read(&text)),
        help_heading = "Planner"
    )]
    planner: PlannerChoice,
    /// Bytes of a message to or from a tablet, and to or from a client
    #[arg(long, global = true, value_name = "BYTES", default_value_t = 16 << 20, help_heading = "Limits")]
    grpc_max_message_size: usize,
}

/// A cluster that is open: everything a request needs.
pub(crate) struct Connected {
    /// Where asks are performed.
    pub(crate) io: ClusterIo,
    /// The moment that a recorded cluster shows; a live one has none of its own.
    recorded_at: Option<Timestamp>,
    /// The tablets of an embedded cluster run as long as this lives.
    embedded: Option<Cluster>,
    /// Who decides.
    pub(crate) planner: PlannerHost,
    /// Where requests are written down, if anywhere.
    pub(crate) traces: Option<Arc<TraceFile>>,
}

impl Connected {
    /// The moment that a request is about: the recording's, else now.
    pub(crate) fn now(&self) -> Timestamp {
        self.recorded_at.unwrap_or_else(now)
    }

    /// Performs a request, shows how it goes if it takes long, and writes it down if that is wanted.
    pub(crate) async fn perform(&self, call: &Call, now: Timestamp) -> Reply {
        let (flow, progress) = (self.planner.start(call, now), Progress::start());
        let Some(traces) = &self.traces else { return drive(flow, &self.io, None, &progress).await };
        let recorder = Recorder::new();
        let reply = drive(flow, &self.io, None, &(&recorder, &progress)).await;
        drop(progress);
        if let Err(text) = traces.add(recorder.ended(self.planner.build(), call, now, &reply)) {
            // What was asked for is there; only its trace is not.
            terminal::error_line(&format!("warning: {text}"));
        }
        reply
    }

    /// The embedded cluster, if it is one.
    pub(crate) fn embedded(&self) -> Option<&Cluster> {
        self.embedded.as_ref()
    }
}

/// The clock of the machine. The planner has none: this is where time comes from.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() }
}

/// What is done to an embedded cluster before it is looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Embedding {
    /// Tablets that misbehave.
    pub(crate) faults: BTreeMap<String, Fault>,
    /// How long every tablet call takes at least.
    pub(crate) tablet_delay: Duration,
    /// How long every read of the topology takes at least.
    pub(crate) topo_delay: Duration,
}

impl ConnectArgs {
    /// Opens the cluster that the flags name.
    ///
    /// # Errors
    /// No cluster is named, a file cannot be read, or the flags contradict each other. Whether the cluster answers is only
    /// seen by asking it.
    pub(crate) async fn open(&self) -> anyhow::Result<Connected> {
        if let Some(dir) = &self.snapshot {
            return self.embed(Snapshot::load(dir)?, Embedding::default()).await;
        }
        if self.demo {
            return self.embed(generate::demo(now()), Embedding::default()).await;
        }
        if self.topo_implementation.is_none() && self.topo_global_server_address.is_none() {
            bail!(
                "which cluster? Give --topo-implementation etcd2 --topo-global-server-address HOST:PORT --topo-global-root ROOT \
                 for a live one, --snapshot DIR for a recorded one, or --demo to look around"
            );
        }
        let topology = Arc::new(self.etcd()?);
        let planner = self.planner()?;
        let traces = self.traces(&planner)?;
        Ok(Connected { io: self.io(topology)?, recorded_at: None, embedded: None, planner, traces })
    }

    /// Starts an embedded cluster and opens it.
    pub(crate) async fn embed(&self, snapshot: Snapshot, embedding: Embedding) -> anyhow::Result<Connected> {
        let (taken_at, unreadable) = (snapshot.taken_at, snapshot.unreadable.records.clone());
        for alias in embedding.faults.keys() {
            let path = format!("tablets/{alias}/Tablet");
            if !snapshot.topo.iter().any(|record| record.path == path) {
                bail!("this cluster has no tablet {alias}: its tablets are {}", some_aliases(&snapshot));
            }
        }
        let cluster = Cluster::start(snapshot, embedding.faults, embedding.tablet_delay)
            .await
            .context("the embedded tablets do not start")?;
        cluster.warnings().iter().for_each(|warning| terminal::error_line(&format!("warning: {warning}")));
        let topology = MemoryTopology::new(cluster.topo()).with_unreadable(unreadable).with_delay(embedding.topo_delay);
        let io = self.io(Arc::new(topology))?;
        let planner = self.planner()?;
        let traces = self.traces(&planner)?;
        Ok(Connected { io, recorded_at: Some(taken_at), embedded: Some(cluster), planner, traces })
    }

    /// Bytes that a message may have, in every direction.
    pub(crate) fn message_bytes(&self) -> usize {
        self.grpc_max_message_size
    }

    /// Whether passwords may travel unencrypted.
    pub(crate) fn plaintext_credentials(&self) -> bool {
        self.plaintext_credentials
    }

    /// Whether the flags name a topology server.
    pub(crate) fn has_topology_server(&self) -> bool {
        self.topo_implementation.is_some() || self.topo_global_server_address.is_some()
    }

    /// The etcd that the flags name.
    ///
    /// # Errors
    /// Another kind of topology server, a missing address or root, a certificate that cannot be read.
    pub(crate) fn etcd(&self) -> anyhow::Result<EtcdTopology> {
        match self.topo_implementation.as_deref() {
            Some("etcd2" | "etcd") | None => {}
            Some(other) => bail!("no such topology implementation {other}: vtflow reads etcd2"),
        }
        let Some(addresses) = &self.topo_global_server_address else {
            bail!("topo-global-server-address must be configured: give --topo-global-server-address HOST:PORT")
        };
        let Some(root) = &self.topo_global_root else {
            bail!("topo-global-root must be non-empty: give --topo-global-root, such as /vitess/global")
        };
        let mut config = EtcdConfig::new(addresses, root);
        config.tls = TlsFiles {
            cert: self.topo_etcd_tls_cert.clone(),
            key: self.topo_etcd_tls_key.clone(),
            ca: self.topo_etcd_tls_ca.clone(),
            server_name: None,
        };
        config.credentials = match (&self.topo_etcd_credentials, &self.topo_etcd_username, &self.topo_etcd_password) {
            (Some(path), _, _) => Some(EtcdCredentials::File(path.clone())),
            (None, Some(username), Some(password)) => {
                Some(EtcdCredentials::Given(Credentials { username: username.clone(), password: password.clone() }))
            }
            _ => None,
        };
        config.plaintext_credentials = self.plaintext_credentials;
        config.read_concurrency = self.topo_read_concurrency;
        config.lease_ttl = Duration::from_secs(self.topo_etcd_lease_ttl);
        config.dial_timeout = config.dial_timeout.min(self.topo_deadline);
        Ok(EtcdTopology::new(&config)?)
    }

    /// An embedded cluster's records as they belong into the etcd that the flags name: every cell beside the global root.
    pub(crate) fn etcd_records(&self, mut records: Vec<CellRecord>) -> Vec<CellRecord> {
        let address = self.topo_global_server_address.clone().unwrap_or_default();
        let root = self.topo_global_root.as_deref().unwrap_or_default().trim_end_matches('/');
        let beside = root.rsplit_once('/').map_or("", |(parent, _)| parent);
        for record in records.iter_mut().filter(|record| record.cell == GLOBAL) {
            if let Some(cell) = record.path.strip_prefix("cells/").and_then(|rest| rest.strip_suffix("/CellInfo")) {
                let info = CellInfo { server_address: address.clone(), root: format!("{beside}/{cell}") };
                record.value = info.encode_to_vec();
            }
        }
        records
    }

    /// The planner that the flags name.
    ///
    /// # Errors
    /// It cannot be read or run.
    pub(crate) fn planner(&self) -> anyhow::Result<PlannerHost> {
        PlannerHost::load(&self.planner).map_err(|error| anyhow::anyhow!(error))
    }

    fn traces(&self, planner: &PlannerHost) -> anyhow::Result<Option<Arc<TraceFile>>> {
        let Some(path) = &self.trace else { return Ok(None) };
        let file = TraceFile::create(path, self.redact, planner.clone());
        file.map(|file| Some(Arc::new(file))).with_context(|| format!("the trace {} cannot be written", path.display()))
    }

    fn io(&self, topology: Arc<dyn crate::topo::Topology>) -> anyhow::Result<ClusterIo> {
        let tablets = Tablets::new(TabletOptions {
            tls: TlsFiles {
                cert: self.tablet_manager_grpc_cert.clone(),
                key: self.tablet_manager_grpc_key.clone(),
                ca: self.tablet_manager_grpc_ca.clone(),
                server_name: self.tablet_manager_grpc_server_name.clone(),
            },
            credentials: self.grpc_auth_static_client_creds.clone(),
            message_bytes: self.grpc_max_message_size,
            concurrency: self.tablet_concurrency,
            concurrency_per_cell: self.tablet_concurrency_per_cell,
            ..TabletOptions::default()
        })?;
        let deadlines = Deadlines { topology: self.topo_deadline, tablet: self.tablet_deadline, lock: self.lock_timeout };
        Ok(ClusterIo { topology, tablets: Arc::new(tablets), deadlines })
    }
}

/// A few of a cluster's tablets, so that a mistyped one can be corrected.
fn some_aliases(snapshot: &Snapshot) -> String {
    let mut aliases: Vec<&str> =
        snapshot.topo.iter().filter_map(|record| record.path.strip_prefix("tablets/")?.strip_suffix("/Tablet")).collect();
    aliases.sort_unstable();
    let more = if aliases.len() > 8 { format!(" and {} more", aliases.len() - 8) } else { String::new() };
    aliases.truncate(8);
    format!("{}{more}", aliases.join(", "))
}
