//! `vtflow serve`: the Vtctld service over gRPC for clients that know nothing of vtflow, beside it health, reflection and an
//! HTTP port.
//!
//! Bytes in, a flow, bytes out: the server knows RPC paths and statuses, no messages. Facts: Vitess
//! `go/vt/servenv/grpc_server.go` and `go/vt/vtctl/grpcvtctldserver/server.go`.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tonic::transport::Server as Transport;

mod api;
mod audit;
mod auth;
mod door;
mod forward;
mod health;
mod http;
mod message;
pub mod methods;
mod metrics;
mod page;
mod record;
mod reflection;
mod service;
mod share;
mod subject;

pub use auth::AuthOptions;
pub use door::ServerTls;
pub use forward::ForwardTo;
pub(crate) use record::log;
pub use service::Clock;

use self::{
    auth::Auth,
    door::{Connection, Door, Speaks},
    forward::Forward,
    health::Health,
    metrics::Metrics,
    record::Ids,
    reflection::Reflection,
    service::{Inner, VtctldService},
    share::Flights,
};
use crate::{
    cause::root_cause,
    drive::ClusterIo,
    observe::{Nobody, Observer},
    planner_host::PlannerHost,
    tls::OptionError,
    trace::TraceFile,
};

/// How the server listens, and whom it lets in.
#[derive(Clone)]
pub struct ServerOptions {
    /// `--bind-address`: a name or an address; empty for all of the machine's.
    pub bind_address: String,
    /// `--grpc-port`; 0 picks a free one.
    pub grpc_port: u16,
    /// `--port`, for HTTP; 0 picks a free one.
    pub http_port: u16,
    /// `--grpc-max-message-size`: bytes of a message, in both directions. Default: 16 MiB, as in Vitess.
    pub message_bytes: usize,
    /// The server's certificate, and whose clients it trusts.
    pub tls: ServerTls,
    /// Who may call.
    pub auth: AuthOptions,
    /// Where RPCs go that vtflow does not serve; without it they are UNIMPLEMENTED.
    pub forward_to: Option<ForwardTo>,
    /// `--plaintext-credentials`: callers' passwords may be forwarded where there is no TLS.
    pub plaintext_credentials: bool,
    /// Whether RPCs that change the cluster are answered; if not, they are as ones that vtflow does not serve.
    pub allow_writes: bool,
    /// `--onterm-timeout`: how long RPCs that are under way at the end may go on. Default: 10 s, as in Vitess.
    pub grace: Duration,
    /// Whether each RPC is a line on stderr.
    pub has_log: bool,
    /// Who decides. Default: the planner that is linked in.
    pub planner: PlannerHost,
    /// Where the traces go of RPCs that have the metadata key `vtflow-trace`; without it they are told that there are none.
    pub traces: Option<Arc<TraceFile>>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            bind_address: String::new(),
            grpc_port: 15_999,
            http_port: 15_000,
            message_bytes: 16 << 20,
            tls: ServerTls::default(),
            auth: AuthOptions::None,
            forward_to: None,
            plaintext_credentials: false,
            allow_writes: false,
            grace: Duration::from_secs(10),
            has_log: true,
            planner: PlannerHost::Native,
            traces: None,
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A file or an address that the options name.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A port that cannot be had.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// Where.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The descriptors of the planner's messages are not sound.
    #[error("reflection cannot be set up, which is a defect of vtflow: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A server that runs. Dropping it stops it at once; [`Server::shut_down`] lets RPCs end.
pub struct Server {
    grpc_address: SocketAddr,
    http_address: SocketAddr,
    grace: Duration,
    serving: watch::Sender<bool>,
    /// Changes under way, also those whose callers have gone.
    writing: watch::Sender<usize>,
    grpc: JoinHandle<()>,
    http: JoinHandle<()>,
}

impl Server {
    /// Listens, and serves from then on. `observer` sees every ask of every request.
    ///
    /// # Errors
    /// [`ServerError`]: a file, an address or a port that cannot be used.
    pub async fn start(
        options: ServerOptions,
        io: ClusterIo,
        now: Clock,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ServerError> {
        let door = Door::new(&options.tls)?;
        let auth = Arc::new(Auth::new(&options.auth, &options.tls)?);
        let forward = options.forward_to.as_ref().map(|to| Forward::new(to, options.plaintext_credentials)).transpose()?;
        if let Some(forward) = forward.as_ref().filter(|forward| auth.is_by_password() && forward.hides_no_password()) {
            let cause = format!(
                "callers' passwords would travel unencrypted to {}: give --vtctld-grpc-ca, or --plaintext-credentials if that is as \
                 it should be",
                forward.address()
            );
            return Err(OptionError::Tls { cause }.into());
        }
        let reflection = Reflection::new()?;
        let transport = Transport::builder()
            // Tablets' answers and clients' connections may both be far away.
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .http2_max_header_list_size(HEADER_BYTES);
        let grpc = listen(&options.bind_address, options.grpc_port).await?;
        let http = listen(&options.bind_address, options.http_port).await?;
        let address = |listener: &TcpListener| listener.local_addr().map_err(|cause| unheard("a socket", cause));
        let (grpc_address, http_address) = (address(&grpc)?, address(&http)?);

        let (serving, is_serving) = watch::channel(true);
        let metrics = Arc::new(Metrics::new());
        let (writing, _) = watch::channel(0);
        let pages = http::Pages {
            metrics: Arc::clone(&metrics),
            serving: is_serving.clone(),
            grpc: grpc_address.port().to_string(),
            api: api::Api::new(options.planner.clone(), io.clone(), Arc::clone(&now), Arc::clone(&auth), Arc::clone(&metrics)),
        };
        let service = VtctldService(Arc::new(Inner {
            planner: options.planner,
            traces: options.traces,
            io,
            now,
            observer: observer.unwrap_or_else(|| Arc::new(Nobody)),
            message_bytes: options.message_bytes,
            has_log: options.has_log,
            auth,
            forward,
            allow_writes: options.allow_writes,
            health: Health { serving: is_serving.clone() },
            reflection,
            metrics,
            ids: Ids::new(),
            flights: Flights::new(),
            writing: writing.clone(),
        }));
        let incoming = welcomed(grpc, door);
        let mut until = is_serving;
        let grpc = tokio::spawn(async move {
            let ended = async move {
                // An error means that the server was dropped.
                let _ = until.wait_for(|serving| !serving).await;
            };
            let served = transport.serve_with_incoming_shutdown(service, incoming, ended).await;
            if let Err(error) = served {
                record::log("error", &format!("the gRPC server has ended: {}", root_cause(&error)));
            }
        });
        let http = tokio::spawn(http::serve(http, pages));
        Ok(Self { grpc_address, http_address, grace: options.grace, serving, writing, grpc, http })
    }

    /// Where it takes RPCs.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Where it takes HTTP requests.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Takes no more connections or RPCs, lets those under way end, and returns whether all of them did within the grace.
    pub async fn shut_down(mut self) -> bool {
        self.serving.send_replace(false);
        let mut writing = self.writing.subscribe();
        let ended = async {
            // An error means that it has ended in another way.
            let _ = (&mut self.grpc).await;
            let _ = writing.wait_for(|&count| count == 0).await;
        };
        timeout(self.grace, ended).await.is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.grpc.abort();
        self.http.abort();
    }
}

/// The connections that come, each after its handshake; a slow one keeps nobody waiting.
fn welcomed(listener: TcpListener, door: Door) -> impl Stream<Item = io::Result<Connection>> {
    let door = Arc::new(door);
    stream::unfold((listener, JoinSet::new()), move |(listener, mut handshakes)| {
        let door = Arc::clone(&door);
        async move {
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((connection, _)) => {
                            let door = Arc::clone(&door);
                            handshakes.spawn(async move { door.welcome(connection, Speaks::Grpc).await });
                        }
                        // Out of files, most likely: it passes, and a loop without a pause would make it worse.
                        Err(_) => sleep(Duration::from_millis(100)).await,
                    },
                    ended = handshakes.join_next(), if !handshakes.is_empty() => {
                        // A handshake that fails is the client's affair.
                        if let Some(Ok(Ok(connection))) = ended {
                            return Some((Ok(connection), (listener, handshakes)));
                        }
                    }
                }
            }
        }
    })
}

async fn listen(host: &str, port: u16) -> Result<TcpListener, ServerError> {
    if host.is_empty() {
        // IPv4 and IPv6 both, where the machine has both.
        if let Ok(listener) = TcpListener::bind(("::", port)).await {
            return Ok(listener);
        }
        return TcpListener::bind(("0.0.0.0", port)).await.map_err(|cause| unheard(&format!("port {port}"), cause));
    }
    let address = vtflow_planner::flow::host_port(host, port);
    TcpListener::bind((host, port)).await.map_err(|cause| unheard(&address, cause))
}

fn unheard(address: &str, cause: io::Error) -> ServerError {
    ServerError::Listen { address: address.to_owned(), cause }
}

/// How long a connection may be silent before it is pinged, and how long the answer may take. Source: the defaults of
/// `--grpc-server-keepalive-time` and `-timeout`, v20 and later.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Bytes of a request's headers: credentials and tracing take little, but nobody should be refused for a long token.
const HEADER_BYTES: u32 = 1 << 18;
