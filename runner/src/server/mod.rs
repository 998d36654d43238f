//! `vtflow serve`: the Vtctld service over gRPC for clients that know nothing of vtflow, beside it health, reflection and an
//! HTTP port.
//!
//! Bytes in, a flow, bytes out: the server knows RPC paths and statuses, no messages. Facts: Vitess
//! `go/vt/servenv/grpc_server.go` and `go/vt/vtctl/grpcvtctldserver/server.go`.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

mod access;
mod admission;
mod audit;
mod connections;
mod door;
mod grpc;
mod http;
mod load;
pub(crate) mod metadata;
mod metrics;
mod only_reads;
mod perform;
pub(crate) mod refusal;
mod rpc_log;
mod single_flight;
mod subject;
pub(crate) mod trailers;
pub mod vitess_rpcs;

pub(crate) use grpc::message;

pub use access::AuthOptions;
pub use door::ServerTls;
pub use grpc::forward::ForwardTo;
pub use load::Load;
pub use perform::Clock;

use self::{
    access::Auth,
    admission::Admission,
    connections::Connections,
    door::Door,
    grpc::{forward::Forward, health::Health, reflection::Reflection, service::Service},
    http::hosts::Hosts,
    metrics::Metrics,
    perform::Performer,
    rpc_log::RpcLogs,
    single_flight::SingleFlight,
};
use crate::{
    drive::{ClusterIo, LastRecords},
    error::OptionError,
    log::sparing::Sparing,
    net::network::Listener,
    observe::{Nobody, Observer},
    planner_host::PlannerHost,
    trace_file::TraceFile,
};

/// How the server listens, and whom it lets in.
#[derive(Clone)]
pub struct ServerOptions {
    /// `--bind-address`: a name or an address; empty for all of the machine's.
    pub bind_address: String,
    /// `--grpc-port`; 0 picks a free one.
    pub grpc_port: u16,
    /// `--port`, for HTTP; 0 picks a free one, `None` is no HTTP at all.
    pub http_port: Option<u16>,
    /// `--http-bind-address`: where HTTP is listened for. Default: 127.0.0.1.
    pub http_bind_address: String,
    /// `--allowed-hosts`: names by which the HTTP port may be called, besides `localhost`, this machine's name, and addresses. One that
    /// begins with a dot stands for all that end in it.
    pub allowed_hosts: Vec<String>,
    /// `--max-flows`: requests that are worked on at once. Eight times as many wait for their turn, the others are refused.
    pub flows: usize,
    /// `--request-timeout`: how long a request may take, its turn included, also if its caller would wait longer.
    pub request_time: Duration,
    /// `--grpc-max-message-size`: bytes of a message, in both directions. Default: 16 MiB, as in Vitess.
    pub message_bytes: usize,
    /// Bytes of tablets' answers that all requests together may have. Default: [`ANSWER_BYTES`].
    pub answer_bytes: usize,
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
            http_port: Some(15_000),
            http_bind_address: "127.0.0.1".to_owned(),
            allowed_hosts: Vec::new(),
            flows: DEFAULT_FLOWS,
            request_time: DEFAULT_REQUEST_TIME,
            message_bytes: 16 << 20,
            answer_bytes: ANSWER_BYTES,
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
    http_address: Option<SocketAddr>,
    grace: Duration,
    serving: watch::Sender<bool>,
    /// Changes under way, also those whose callers have gone.
    writing: watch::Sender<usize>,
    /// `None` once it is known to have ended.
    grpc: Option<JoinHandle<io::Result<()>>>,
    http: Option<HttpPort>,
    performer: Arc<Performer>,
    connections: Arc<Connections>,
}

/// Held by a port: however that ends, the server is not well any more.
struct Ending(watch::Sender<bool>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

struct HttpPort {
    /// Dropping it stops the port.
    _stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<io::Result<()>>,
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
        let grpc = listen(&options.bind_address, options.grpc_port).await?;
        let http = match options.http_port {
            Some(port) => Some(listen(&options.http_bind_address, port).await?),
            None => None,
        };
        Self::serve_on(grpc, http, options, io, now, observer)
    }

    /// The same on a listener that is there already, which may be another than the kernel's. There is no HTTP.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_on(
        listener: impl Listener,
        options: ServerOptions,
        io: ClusterIo,
        now: Clock,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ServerError> {
        Self::serve_on(listener, None, options, io, now, observer)
    }

    fn serve_on(
        grpc: impl Listener,
        http: Option<TcpListener>,
        options: ServerOptions,
        io: ClusterIo,
        now: Clock,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ServerError> {
        let door = Arc::new(Door::new(&options.tls)?);
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
        let unknown = |cause| unheard("a socket", cause);
        let grpc_address = grpc.address().map_err(unknown)?;
        let http_address = http.as_ref().map(TcpListener::local_addr).transpose().map_err(unknown)?;

        let (serving, is_serving) = watch::channel(true);
        let metrics = Arc::new(Metrics::new());
        let refused = Arc::clone(&metrics);
        io.tablets.bound_answers(options.answer_bytes, move || refused.refused("answers"));
        let (writing, _) = watch::channel(0);
        let performer = Arc::new(Performer {
            planner: options.planner,
            traces: options.traces,
            io,
            now,
            observer: observer.unwrap_or_else(|| Arc::new(Nobody)),
            message_bytes: options.message_bytes,
            metrics: Arc::clone(&metrics),
            flights: SingleFlight::new(),
            writing: writing.clone(),
            admission: Arc::new(Admission::new(options.flows, options.message_bytes, Arc::clone(&metrics))),
            request_time: options.request_time,
            last_records: Arc::default(),
            runtime: Handle::current(),
        });
        let rpc_logs = Arc::new(RpcLogs::new(Arc::clone(&metrics), options.has_log));
        let (grpc_cap, http_cap) = connections::caps();
        let http = match http {
            Some(listener) => {
                let pages = http::Pages {
                    metrics: Arc::clone(&metrics),
                    serving: is_serving.clone(),
                    grpc: grpc_address.port().to_string(),
                    api: http::api::Api::new(Arc::clone(&performer), Arc::clone(&auth), Arc::clone(&rpc_logs), http_cap),
                    hosts: Hosts::new([options.bind_address, options.http_bind_address].into_iter().chain(options.allowed_hosts)),
                    strangers: Sparing::new(),
                };
                let places = Connections::new("http", http_cap, Arc::clone(&metrics));
                let (stop, stopped) = oneshot::channel();
                let listener = listener.into_std();
                let ending = Ending(serving.clone());
                let started =
                    listener.and_then(|listener| http::start(listener, Arc::clone(&door), places, pages, stopped, ending));
                let ended = started.map_err(|cause| unheard("the HTTP port", cause))?;
                Some(HttpPort { _stop: stop, ended })
            }
            None => None,
        };
        let service = Arc::new(Service {
            performer: Arc::clone(&performer),
            auth,
            rpc_logs,
            forward,
            allow_writes: options.allow_writes,
            health: Health { serving: is_serving.clone() },
            reflection,
            kept_out: Sparing::new(),
        });
        let connections = Connections::new("grpc", grpc_cap, metrics);
        let places = Arc::clone(&connections);
        let ending = Ending(serving.clone());
        let grpc = tokio::spawn(async move {
            let _ending = ending;
            grpc::serve(grpc, door, places, service, is_serving).await
        });
        Ok(Self {
            grpc_address,
            http_address,
            grace: options.grace,
            serving,
            writing,
            grpc: Some(grpc),
            http,
            performer,
            connections,
        })
    }

    /// Ends only if a port cannot be served any more, and says which and why. The process must not live on then as if it were well:
    /// from then on `/healthz` and gRPC's health say that it is not.
    pub async fn broken(&mut self) -> String {
        fn why(port: &str, ended: Result<io::Result<()>, String>) -> String {
            match ended {
                Ok(Ok(())) => format!("the {port} port has ended"),
                Ok(Err(error)) => format!("the {port} port has ended: {error}"),
                Err(error) => format!("the {port} port has ended: {error}"),
            }
        }
        let http = async {
            match &mut self.http {
                Some(http) => (&mut http.ended).await.map_err(|_| "it panicked".to_owned()),
                None => std::future::pending().await,
            }
        };
        let grpc = async {
            match &mut self.grpc {
                Some(grpc) => grpc.await.map_err(|error| error.to_string()),
                None => std::future::pending().await,
            }
        };
        let (is_grpc, text) = tokio::select! {
            // When HTTP has ended, gRPC stops because of that: the first one is the one to be named.
            biased;
            ended = http => (false, why("HTTP", ended)),
            ended = grpc => (true, why("gRPC", ended)),
        };
        if is_grpc {
            self.grpc = None;
        }
        text
    }

    /// Where it takes RPCs.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// What the topology said last, which its reads assume: whoever reads before its first caller keeps it here.
    pub fn last_records(&self) -> Arc<LastRecords> {
        Arc::clone(&self.performer.last_records)
    }

    /// Where it takes HTTP requests; `None` without a port for them.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// What is under way now, and what it holds.
    pub fn load(&self) -> Load {
        Load::of(&self.performer, &self.connections)
    }

    /// Takes no more connections or RPCs, lets those under way end, and returns whether all of them did within the grace.
    pub async fn shut_down(mut self) -> bool {
        self.serving.send_replace(false);
        let mut writing = self.writing.subscribe();
        let ended = async {
            // An error means that it has ended in another way.
            if let Some(grpc) = &mut self.grpc {
                let _ = grpc.await;
            }
            let _ = writing.wait_for(|&count| count == 0).await;
        };
        timeout(self.grace, ended).await.is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(grpc) = &self.grpc {
            grpc.abort();
        }
    }
}

async fn listen(host: &str, port: u16) -> Result<TcpListener, ServerError> {
    if host.is_empty() {
        // IPv4 and IPv6 both, where the machine has both.
        if let Ok(listener) = TcpListener::bind(("::", port)).await {
            return Ok(listener);
        }
        return TcpListener::bind(("0.0.0.0", port)).await.map_err(|cause| unheard(&format!("port {port}"), cause));
    }
    let address = vtflow_planner::contract::host_port(host, port);
    TcpListener::bind((host, port)).await.map_err(|cause| unheard(&address, cause))
}

fn unheard(address: &str, cause: io::Error) -> ServerError {
    ServerError::Listen { address: address.to_owned(), cause }
}

/// Requests that are worked on at once, by default.
pub const DEFAULT_FLOWS: usize = 32;

/// Bytes of tablets' answers that all requests together may have: with what is made of them, some 1.5 GB.
pub const ANSWER_BYTES: usize = 512 << 20;

/// How long a request may take, by default.
pub const DEFAULT_REQUEST_TIME: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{
        deadline::Deadlines,
        tablet::{TabletOptions, Tablets},
        topo::MemoryTopology,
    };

    /// A listener, and what makes the system end it.
    fn listener() -> (TcpListener, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let handle = std::net::TcpStream::from(OwnedFd::from(listener.try_clone().unwrap()));
        (TcpListener::from_std(listener).unwrap(), handle)
    }

    async fn healthz(address: SocketAddr) -> String {
        let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).await.unwrap();
        text.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_server_that_loses_a_port_is_not_well_and_says_which() {
        for (is_grpc, said) in [(true, "the gRPC port has ended: "), (false, "the HTTP port has ended: ")] {
            let ((grpc, grpc_handle), (http, http_handle)) = (listener(), listener());
            let io = ClusterIo {
                topology: Arc::new(MemoryTopology::new([])),
                tablets: Arc::new(Tablets::new(TabletOptions::default()).unwrap()),
                deadlines: Deadlines::default(),
            };
            let options = ServerOptions { has_log: false, ..ServerOptions::default() };
            let clock: Clock = Arc::new(|| vtflow_planner::Timestamp { seconds: 0, nanos: 0 });
            let mut server = Server::serve_on(grpc, Some(http), options, io, clock, None).unwrap();
            let address = server.http_address().unwrap();
            assert_eq!(healthz(address).await, "HTTP/1.1 200 OK");
            assert!(timeout(Duration::from_millis(50), server.broken()).await.is_err());
            let mut serving = server.serving.subscribe();

            let handle = if is_grpc { grpc_handle } else { http_handle };
            handle.shutdown(std::net::Shutdown::Both).unwrap();
            // Before anybody has asked what is broken.
            timeout(Duration::from_secs(10), serving.wait_for(|serving| !serving)).await.unwrap().unwrap();
            if is_grpc {
                assert_eq!(healthz(address).await, "HTTP/1.1 503 Service Unavailable");
            } else {
                // Also when the other has ended because of it by the time that somebody asks.
                let ended = async {
                    while server.grpc.as_ref().is_some_and(|task| !task.is_finished()) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                timeout(Duration::from_secs(10), ended).await.unwrap();
            }
            let why = timeout(Duration::from_secs(10), server.broken()).await.unwrap();
            assert!(why.starts_with(said) && why.contains("Invalid argument"), "{why}");
            assert!(server.shut_down().await, "nothing is under way");
        }
    }
}
