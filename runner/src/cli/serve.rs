//! `vtflow serve`: a Vtctld that unmodified clients read through. The flags are vtctld's own, in both spellings.
//!
//! Source: `go/vt/servenv/grpc_server.go:RegisterGRPCServerFlags`, `grpc_server_auth_static.go`, `grpc_server_auth_mtls.go`,
//! `go/vt/servenv/servenv.go`; the `--vtctld-grpc-*` flags are vtctldclient's.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::bail;
use clap::{Args, ValueEnum};
use vtflow_planner::rpc;

use super::{ConnectArgs, connect::Connected, duration};
use crate::{
    output::terminal,
    planner_host::PlannerHost,
    reloaded::look_again,
    server::{
        AuthOptions, ForwardTo, Server, ServerOptions, ServerTls,
        methods::{self, Answerer},
    },
    tls::TlsFiles,
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
    /// The port for HTTP (/healthz, /metrics); 0 picks one and prints it
    #[arg(long, value_name = "PORT", default_value_t = 15000)]
    port: u16,
    /// The address to listen on; all of this machine's without it
    #[arg(long, value_name = "HOST", visible_alias = "grpc-bind-address")]
    bind_address: Option<String>,
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
    cluster: &Arc<Connected>,
    args: &ListenArgs,
    default_host: &str,
) -> anyhow::Result<ExitCode> {
    let (planner, traces) = (cluster.planner.clone(), cluster.traces.clone());
    let options = ServerOptions { planner, traces, ..args.options(connect, default_host)? };
    let clock = Arc::clone(cluster);
    let server = Server::start(options, cluster.io.clone(), Arc::new(move || clock.now()), None).await?;
    // From before anybody knows that it runs: the signal would end a process that does not listen to it.
    let told = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
    let looking = tokio::spawn(async move {
        if let Ok(mut told) = told {
            while told.recv().await.is_some() {
                look_again();
            }
        }
    });
    terminal::error_line(&format!("Vtctld on {}, HTTP on http://{}", server.grpc_address(), server.http_address()));
    stopped().await;
    looking.abort();
    terminal::error_line("Stopping: RPCs that are under way may end.");
    Ok(if server.shut_down().await {
        ExitCode::SUCCESS
    } else {
        terminal::error_line("Some RPCs were still under way after --onterm-timeout and were cut off.");
        ExitCode::from(1)
    })
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
            http_port: self.port,
            message_bytes: connect.message_bytes(),
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
    let rows = methods::all();
    let width = rows.iter().map(|(path, _)| path.len() - 1).max().unwrap_or(0);
    let line = |(path, answerer): &(String, Answerer)| {
        let part = rpc::served(path).map_or("", |served| served.part);
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
        Err(_) => {
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
        let partly = "vtflow: deletions that keep tables and routing rules; else forwarded to vtctld:15999";
        assert!(deletion(&list(Some("vtctld:15999"), true)).ends_with(partly));
    }
}
