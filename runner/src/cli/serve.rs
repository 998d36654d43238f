//! `vtflow serve`: a Vtctld that unmodified clients read through. The flags are vtctld's own, in both spellings.
//!
//! Source: `go/vt/servenv/grpc_server.go:RegisterGRPCServerFlags`, `grpc_server_auth_static.go`, `grpc_server_auth_mtls.go`,
//! `go/vt/servenv/servenv.go`; the `--vtctld-grpc-*` flags are vtctldclient's.

use std::{path::PathBuf, process::ExitCode, str::FromStr, sync::Arc, time::Duration};

use anyhow::bail;
use clap::{Args, ValueEnum};
use prost::Message;
use vtflow_planner::{proto::vtctldata::GetWorkflowsRequest, rpc, serve};

use super::{
    cluster::{flags::ConnectArgs, open::OpenCluster},
    duration,
    read::view,
};
use crate::{
    drive::{LastRecords, drive_assuming},
    log::{self, queue},
    net::tls::TlsFiles,
    observe::Nobody,
    output::terminal,
    planner_host::PlannerHost,
    reloaded::look_again,
    server::{
        ANSWER_BYTES, AuthOptions, DEFAULT_FLOWS, ForwardTo, Server, ServerOptions, ServerTls,
        vitess_rpcs::{self, Answerer},
    },
};

#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown, reason = "the texts are shown as help")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    listen: ListenArgs,
    /// Print which RPCs vtflow answers and which it forwards, and end
    #[arg(long)]
    list_rpcs: bool,
}

/// How a server listens, whom it lets in and where it forwards to.
#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown, reason = "the texts are shown as help")]
pub(crate) struct ListenArgs {
    /// The port for clients of Vtctld; 0 picks one and prints it
    #[arg(long, value_name = "PORT", default_value_t = 15999)]
    grpc_port: u16,
    /// The port for HTTP (/healthz, /metrics, the page); 0 picks one and prints it, none is no HTTP
    #[arg(long, value_name = "PORT|none", default_value = "15000")]
    port: HttpPort,
    /// The address to listen on for gRPC; all of this machine's without it
    #[arg(long, value_name = "HOST", visible_alias = "grpc-bind-address")]
    bind_address: Option<String>,
    /// The address to listen on for HTTP; empty for all of this machine's
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    http_bind_address: String,
    /// Names by which the HTTP port may be called, besides addresses, localhost and this machine's name; .example.com is all names in it
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    allowed_hosts: Vec<String>,
    /// Requests worked on at once; eight times as many wait for their turn, the others are refused
    #[arg(long, value_name = "N", default_value_t = DEFAULT_FLOWS, value_parser = flows, help_heading = "Limits")]
    max_flows: usize,
    /// How long a request may take, whatever its caller says: then the reply has what is known, and what is missing
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse, help_heading = "Limits")]
    request_timeout: Duration,
    /// Connect to the primaries of this keyspace at once, not with the first request (may be given several times)
    #[arg(long, value_name = "KEYSPACE")]
    warm: Vec<String>,
    /// A vtctld that answers every RPC that vtflow does not
    #[arg(long, value_name = "HOST:PORT")]
    forward_to: Option<String>,
    /// Answer RPCs that change the cluster, too: they are refused (or forwarded) without this
    #[arg(long)]
    allow_writes: bool,
    /// How long RPCs that are under way may go on when the server is stopped
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    onterm_timeout: Duration,
    /// No line per RPC on stderr; changes leave theirs all the same
    #[arg(long)]
    no_log: bool,

    /// The server's certificate chain; turns TLS on, together with the key
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    grpc_cert: Option<PathBuf>,
    /// The key of the server's certificate
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    grpc_key: Option<PathBuf>,
    /// Who signs clients' certificates; every client must then have one
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    grpc_ca: Option<PathBuf>,
    /// Who may call: everybody without it
    #[arg(long, value_enum, value_name = "MODE", help_heading = "TLS")]
    grpc_auth_mode: Option<AuthMode>,
    /// With auth mode static: a JSON array of {"Username": ..., "Password": ...}
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    grpc_auth_static_password_file: Option<PathBuf>,
    /// With auth mode mtls: parts of certificates' subjects, with colons between; one of them must be in a client's
    #[arg(long, value_name = "TEXT:...", help_heading = "TLS")]
    grpc_auth_mtls_allowed_substrings: Option<String>,
    /// Who signs the certificate of the vtctld that is forwarded to; turns TLS on
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    vtctld_grpc_ca: Option<PathBuf>,
    /// Client certificate for the vtctld that is forwarded to
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    vtctld_grpc_cert: Option<PathBuf>,
    /// Key of the client certificate for that vtctld
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    vtctld_grpc_key: Option<PathBuf>,
    /// The name that the vtctld's certificate is made out to
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    vtctld_grpc_server_name: Option<String>,
}

/// A port, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HttpPort(Option<u16>);

impl FromStr for HttpPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|port| Self(Some(port))).map_err(|_| "a port from 0 to 65535, or none".to_owned())
    }
}

fn flows(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|flows| (1..=4096).contains(flows)).ok_or_else(|| "a number from 1 to 4096".to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuthMode {
    /// A name and a password with every call
    Static,
    /// A client certificate
    Mtls,
}

pub(crate) async fn run(connect: &ConnectArgs, args: ServeArgs) -> anyhow::Result<ExitCode> {
    if args.list_rpcs {
        terminal::print(&list(args.listen.forward_to.as_deref(), args.listen.allow_writes));
        return Ok(ExitCode::SUCCESS);
    }
    let cluster = connect.open().await?;
    serve(connect, &Arc::new(cluster), &args.listen, "").await
}

/// Serves a cluster until the process is asked to stop.
///
/// `default_host` is where to listen without `--bind-address`; empty for everywhere.
pub(crate) async fn serve(
    connect: &ConnectArgs,
    cluster: &Arc<OpenCluster>,
    args: &ListenArgs,
    default_host: &str,
) -> anyhow::Result<ExitCode> {
    let (planner, traces) = (cluster.planner.clone(), cluster.traces.clone());
    let options = ServerOptions { planner, traces, ..args.options(connect, default_host)? };
    let clock = Arc::clone(cluster);
    // From before anybody knows that it runs: the signal would end a process that does not listen to it.
    let told = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
    let looking = tokio::spawn(async move {
        match told {
            Ok(mut told) => {
                while told.recv().await.is_some() {
                    look_again();
                }
            }
            Err(error) => log::message("warn", &format!("SIGHUP is not heard, files are read again when they change: {error}")),
        }
    });
    let scheme = if options.tls.cert.is_some() { "https" } else { "http" };
    let server = Server::start(options, cluster.io.clone(), Arc::new(move || clock.now()), None).await?;
    let http = server.http_address().map_or_else(|| "no HTTP".to_owned(), |address| format!("HTTP on {scheme}://{address}"));
    terminal::error_line(&format!("Vtctld on {}, {http}", server.grpc_address()));
    let warming = tokio::spawn(warm(Arc::clone(cluster), args.warm.clone(), server.last_records()));
    let code = to_its_end(server, stopped()).await;
    looking.abort();
    warming.abort();
    queue::flush(Duration::from_secs(1));
    Ok(ExitCode::from(code))
}

/// Asks each keyspace's primaries for the names of their workflows: the least that reads the topology, which the server's first read then
/// assumes, and connects to all of them. The server answers meanwhile. The log says when it is done, and what could not be reached.
async fn warm(cluster: Arc<OpenCluster>, keyspaces: Vec<String>, last_records: Arc<LastRecords>) {
    for keyspace in keyspaces {
        let request = GetWorkflowsRequest { keyspace: keyspace.clone(), name_only: true, ..GetWorkflowsRequest::default() };
        let call = view::call(rpc::GET_WORKFLOWS, request.encode_to_vec(), false);
        let start = || cluster.planner.start(&call, cluster.now());
        let reply = drive_assuming(start, &cluster.io, None, &Nobody, &last_records).await;
        for failure in &reply.failures {
            log::message("warn", &format!("--warm {keyspace}: {}: {}", failure.place(), failure.message));
        }
        match reply.result {
            Ok(_) => {
                let which = if reply.failures.is_empty() { "its" } else { "the others of its" };
                log::message("info", &format!("--warm {keyspace}: connected to {which} primaries"));
            }
            Err(status) => log::message("warn", &format!("--warm {keyspace}: {}", status.message)),
        }
    }
}

/// Waits until the server is to stop, or cannot go on, lets what is under way end, and returns the process's exit code.
async fn to_its_end(mut server: Server, stopped: impl Future<Output = ()>) -> u8 {
    let broken = tokio::select! {
        () = stopped => None,
        why = server.broken() => Some(why),
    };
    // From here on the log's own way: whoever reads stderr may have stopped.
    if let Some(why) = &broken {
        log::message("error", &format!("{why}; a server without it is of no use, so it stops"));
    }
    log::message("info", "stopping: RPCs that are under way may end");
    let is_in_time = server.shut_down().await;
    if !is_in_time {
        log::message("warn", "some RPCs were still under way after --onterm-timeout and were cut off");
    }
    match (broken, is_in_time) {
        (Some(_), _) => 2,
        (None, false) => 1,
        (None, true) => 0,
    }
}

impl ListenArgs {
    fn options(&self, connect: &ConnectArgs, default_host: &str) -> anyhow::Result<ServerOptions> {
        let auth = match (self.grpc_auth_mode, &self.grpc_auth_static_password_file, &self.grpc_auth_mtls_allowed_substrings) {
            (None, None, None) => AuthOptions::None,
            (Some(AuthMode::Static), Some(path), _) => AuthOptions::Static(path.clone()),
            (Some(AuthMode::Mtls), _, Some(substrings)) if self.grpc_ca.is_some() => AuthOptions::Mtls(substrings.clone()),
            (Some(AuthMode::Static), None, _) => bail!("--grpc-auth-mode static needs --grpc-auth-static-password-file"),
            (Some(AuthMode::Mtls), _, _) => {
                bail!("--grpc-auth-mode mtls needs --grpc-auth-mtls-allowed-substrings and --grpc-ca")
            }
            // A password file that nobody looks at would be a server that is open by mistake.
            (None, _, _) => {
                bail!("--grpc-auth-static-password-file and --grpc-auth-mtls-allowed-substrings need --grpc-auth-mode")
            }
        };
        let forward_to = self.forward_to.as_ref().map(|address| ForwardTo {
            address: address.clone(),
            tls: TlsFiles {
                cert: self.vtctld_grpc_cert.clone(),
                key: self.vtctld_grpc_key.clone(),
                ca: self.vtctld_grpc_ca.clone(),
                server_name: self.vtctld_grpc_server_name.clone(),
            },
        });
        Ok(ServerOptions {
            bind_address: self.bind_address.clone().unwrap_or_else(|| default_host.to_owned()),
            grpc_port: self.grpc_port,
            http_port: self.port.0,
            http_bind_address: self.http_bind_address.clone(),
            allowed_hosts: self.allowed_hosts.clone(),
            flows: self.max_flows,
            request_time: self.request_timeout,
            message_bytes: connect.message_bytes(),
            answer_bytes: ANSWER_BYTES,
            plaintext_credentials: connect.plaintext_credentials(),
            tls: ServerTls { cert: self.grpc_cert.clone(), key: self.grpc_key.clone(), ca: self.grpc_ca.clone() },
            auth,
            forward_to,
            allow_writes: self.allow_writes,
            grace: self.onterm_timeout,
            has_log: !self.no_log,
            planner: PlannerHost::Native,
            traces: None,
        })
    }
}

fn list(forward_to: Option<&str>, allow_writes: bool) -> String {
    let others = forward_to.map_or_else(|| "UNIMPLEMENTED (no --forward-to)".to_owned(), |to| format!("forwarded to {to}"));
    let rows = vitess_rpcs::all();
    let width = rows.iter().map(|(path, _)| path.len() - 1).max().unwrap_or(0);
    let line = |(path, answerer): &(String, Answerer)| {
        let part = serve::served(path).map_or("", |served| served.part);
        let own = if part.is_empty() { "vtflow".to_owned() } else { format!("vtflow: {part}; else {others}") };
        let by = match answerer {
            Answerer::Vtflow => own.as_str(),
            Answerer::VtflowIfAllowed if allow_writes => &own,
            Answerer::VtflowIfAllowed if forward_to.is_none() => "refused (no --allow-writes)",
            Answerer::VtflowIfAllowed | Answerer::Forwarded => &others,
        };
        format!("{:width$}  {by}", path.trim_start_matches('/'))
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// Ends when the process is asked to stop.
pub(crate) async fn stopped() {
    let interrupted = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
        }
        Err(error) => {
            log::message("warn", &format!("SIGTERM is not heard, it ends the process at once: {error}"));
            let _ = interrupted.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_who_answers() {
        let text = list(None, false);
        assert!(text.lines().any(|line| line.starts_with("vtctlservice.Vtctld/GetWorkflows ") && line.ends_with(" vtflow")));
        let backup = |text: &str| text.lines().find(|line| line.contains("Vtctld/Backup ")).unwrap().to_owned();
        assert!(backup(&text).ends_with("UNIMPLEMENTED (no --forward-to)"));
        assert!(backup(&list(Some("vtctld:15999"), false)).ends_with("forwarded to vtctld:15999"));
        assert!(text.contains("vtctlservice.Vtctl/ExecuteVtctlCommand"));
        let deletion = |text: &str| text.lines().find(|line| line.contains("Vtctld/WorkflowDelete ")).unwrap().to_owned();
        assert!(deletion(&text).ends_with("refused (no --allow-writes)"));
        assert!(deletion(&list(Some("vtctld:15999"), false)).ends_with("  forwarded to vtctld:15999"));
        let partly = "vtflow: of some shards, deletions that keep tables and routing rules; else forwarded to vtctld:15999";
        assert!(deletion(&list(Some("vtctld:15999"), true)).ends_with(partly));
    }
}
