//! The flags that name a cluster and say how it is reached: vtctld's own, in both spellings.
//!
//! Source: `go/vt/topo/server.go:registerTopoFlags`, `go/vt/topo/etcd2topo/server.go`, `go/vt/vttablet/grpctmclient/client.go`.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser},
};

use crate::{
    cli::duration,
    planner_host::PlannerChoice,
    secret::Secret,
    tablet::{DEFAULT_CONCURRENCY, DEFAULT_CONCURRENCY_PER_CELL},
    topo::DEFAULT_READ_CONCURRENCY,
};

/// Which cluster, and how it is reached.
#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown, reason = "the texts are shown as help")]
pub struct ConnectArgs {
    /// A recorded cluster: a directory made by `vtflow snapshot save`
    #[arg(long, global = true, value_name = "DIR", conflicts_with_all = ["demo", "topo_implementation"], help_heading = "Cluster")]
    pub(super) snapshot: Option<PathBuf>,
    /// The built-in demo cluster
    #[arg(long, global = true, conflicts_with = "topo_implementation", help_heading = "Cluster")]
    pub(super) demo: bool,
    /// The kind of topology server: etcd2
    #[arg(long, global = true, value_name = "KIND", help_heading = "Cluster")]
    pub(super) topo_implementation: Option<String>,
    /// Its addresses, with commas between
    #[arg(long, global = true, value_name = "HOST:PORT,...", help_heading = "Cluster")]
    pub(super) topo_global_server_address: Option<String>,
    /// Where in it the global topology is
    #[arg(long, global = true, value_name = "PATH", help_heading = "Cluster")]
    pub(super) topo_global_root: Option<String>,

    /// Client certificate for etcd; turns TLS on, together with the key
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    pub(super) topo_etcd_tls_cert: Option<PathBuf>,
    /// Key of the client certificate for etcd
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    pub(super) topo_etcd_tls_key: Option<PathBuf>,
    /// Who signs etcd's certificate; turns TLS on. The system's authorities without it
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    pub(super) topo_etcd_tls_ca: Option<PathBuf>,
    /// A JSON file with Username and Password, for an etcd that has users
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "topo_etcd_username", help_heading = "TLS")]
    pub(super) topo_etcd_credentials: Option<PathBuf>,
    /// The same without a file
    #[arg(long, global = true, value_name = "NAME", requires = "topo_etcd_password", help_heading = "TLS")]
    pub(super) topo_etcd_username: Option<String>,
    /// Its password: whoever sees the list of processes sees it, too
    #[arg(long, global = true, value_name = "PASSWORD", requires = "topo_etcd_username", help_heading = "TLS")]
    pub(super) topo_etcd_password: Option<Secret>,
    /// Let passwords travel unencrypted to an etcd, or with forwarded RPCs to a vtctld, that has no TLS
    #[arg(long, global = true, help_heading = "TLS")]
    pub(super) plaintext_credentials: bool,
    /// Who signs the tablets' certificates; turns TLS on
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    pub(super) tablet_manager_grpc_ca: Option<PathBuf>,
    /// Client certificate for tablets; turns TLS on, together with the key
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    pub(super) tablet_manager_grpc_cert: Option<PathBuf>,
    /// Key of the client certificate for tablets
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    pub(super) tablet_manager_grpc_key: Option<PathBuf>,
    /// The name that tablets' certificates are made out to
    #[arg(long, global = true, value_name = "NAME", help_heading = "TLS")]
    pub(super) tablet_manager_grpc_server_name: Option<String>,
    /// A JSON file with Username and Password, sent with every tablet call
    #[arg(long, global = true, value_name = "FILE", help_heading = "TLS")]
    pub(super) grpc_auth_static_client_creds: Option<PathBuf>,

    /// How long one read of the topology may take
    #[arg(long, global = true, value_name = "DURATION", default_value = "5s", value_parser = duration::parse, help_heading = "Limits")]
    pub(super) topo_deadline: Duration,
    /// How long one tablet call may take
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = duration::parse, help_heading = "Limits")]
    pub(super) tablet_deadline: Duration,
    /// Reads of the topology under way at once in one cell
    #[arg(long, global = true, value_name = "N", default_value_t = DEFAULT_READ_CONCURRENCY, help_heading = "Limits")]
    pub(super) topo_read_concurrency: usize,
    /// How long to wait for a lock of the topology that somebody else holds
    #[arg(long, global = true, value_name = "DURATION", default_value = "45s", value_parser = duration::parse, help_heading = "Limits")]
    pub(super) lock_timeout: Duration,
    /// How long a lock of the topology outlives a vtflow that has died
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400), help_heading = "Limits")]
    pub(super) topo_etcd_lease_ttl: u64,
    /// Tablet calls under way at once
    #[arg(long, global = true, value_name = "N", default_value_t = DEFAULT_CONCURRENCY, help_heading = "Limits")]
    pub(super) tablet_concurrency: usize,
    /// Tablet calls under way at once in one cell
    #[arg(long, global = true, value_name = "N", default_value_t = DEFAULT_CONCURRENCY_PER_CELL, help_heading = "Limits")]
    pub(super) tablet_concurrency_per_cell: usize,
    /// Write down every ask and answer, a line of JSON for each request; see `vtflow replay`. With `serve`: of each RPC that has the
    /// metadata key vtflow-trace
    #[arg(long, global = true, value_name = "FILE", help_heading = "Trace")]
    pub(super) trace: Option<PathBuf>,
    /// Leave the values of rows out of the trace, but for names, states, numbers and times
    #[arg(long, global = true, requires = "trace", help_heading = "Trace")]
    pub(super) redact: bool,
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
    pub(super) planner: PlannerChoice,
    /// Bytes of a message to or from a tablet, and to or from a client
    #[arg(long, global = true, value_name = "BYTES", default_value_t = 16 << 20, help_heading = "Limits")]
    pub(super) grpc_max_message_size: usize,
}
