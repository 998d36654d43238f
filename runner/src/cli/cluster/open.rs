//! A cluster that is open, and the way to a live one.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use vtflow_planner::{Call, Reply, Timestamp};

use super::flags::ConnectArgs;
#[cfg(feature = "embedded")]
use crate::embedded::Cluster;
use crate::{
    deadline::Deadlines,
    drive::{ClusterIo, drive},
    net::tls::TlsFiles,
    observe::{Nobody, Observer},
    output::{progress::Progress, terminal},
    planner_host::PlannerHost,
    secret::Credentials,
    tablet::{TabletOptions, Tablets},
    topo::{EtcdConfig, EtcdCredentials, EtcdTopology, Topology},
    trace_file::{Recorder, TraceFile},
};

/// A cluster that is open: everything a request needs.
pub(crate) struct OpenCluster {
    /// Where asks are performed.
    pub(crate) io: ClusterIo,
    /// The moment that a recorded cluster shows; a live one has none of its own.
    pub(super) recorded_at: Option<Timestamp>,
    /// The tablets of an embedded cluster run as long as this lives.
    #[cfg(feature = "embedded")]
    pub(super) embedded: Option<Cluster>,
    /// Who decides.
    pub(crate) planner: PlannerHost,
    /// Where requests are written down, if anywhere.
    pub(crate) traces: Option<Arc<TraceFile>>,
}

impl OpenCluster {
    /// The moment that a request is about: the recording's, else now.
    pub(crate) fn now(&self) -> Timestamp {
        self.recorded_at.unwrap_or_else(now)
    }

    /// Performs a request, shows how it goes if it takes long, and writes it down if that is wanted.
    pub(crate) async fn perform(&self, call: &Call, now: Timestamp) -> Reply {
        self.perform_watched(call, now, &Nobody).await
    }

    /// The same while somebody watches.
    pub(crate) async fn perform_watched(&self, call: &Call, now: Timestamp, watcher: &dyn Observer) -> Reply {
        let (flow, progress) = (self.planner.start(call, now), Progress::start());
        let Some(traces) = &self.traces else { return drive(flow, &self.io, None, &(watcher, &progress)).await };
        let recorder = Recorder::new();
        let reply = drive(flow, &self.io, None, &(watcher, (&recorder, &progress))).await;
        drop(progress);
        if let Err(text) = traces.add(recorder.ended(self.planner.build(), call, now, &reply)) {
            // What was asked for is there; only its trace is not.
            terminal::error_line(&format!("warning: {text}"));
        }
        reply
    }

    /// Whether the cluster runs in this process.
    pub(crate) fn is_embedded(&self) -> bool {
        // Only those have a moment of their own.
        self.recorded_at.is_some()
    }

    /// The embedded cluster, if it is one.
    #[cfg(feature = "embedded")]
    pub(crate) fn embedded(&self) -> Option<&Cluster> {
        self.embedded.as_ref()
    }
}

/// The clock of the machine. The planner has none: this is where time comes from.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() }
}

impl ConnectArgs {
    /// Opens a cluster with this topology.
    ///
    /// # Errors
    /// A file cannot be read, or the flags contradict each other.
    pub(super) fn with_topology(&self, topology: Arc<dyn Topology>) -> anyhow::Result<OpenCluster> {
        let io = self.io(topology)?;
        let planner = self.planner()?;
        let traces = self.traces(&planner)?;
        Ok(OpenCluster {
            io,
            recorded_at: None,
            #[cfg(feature = "embedded")]
            embedded: None,
            planner,
            traces,
        })
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

    fn io(&self, topology: Arc<dyn Topology>) -> anyhow::Result<ClusterIo> {
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
