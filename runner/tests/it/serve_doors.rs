//! The two ports: where they listen, by which names they may be called, what they encrypt, and what is left of whoever is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};
use tonic::{Code, Request};

use crate::support::{
    certificates::Certificates,
    process::Process,
    serving::{GET_WORKFLOWS, channel, http_get, unary, workflows_of},
};

fn start(more: &[&str]) -> Process {
    Process::start(&[&["demo", "--serve", "--grpc-port", "0"][..], more].concat())
}

async fn exchange(mut connection: impl AsyncRead + AsyncWrite + Unpin, head: &str, body: &str) -> (u16, String) {
    let request = format!("{head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(20), connection.read_to_end(&mut answer)).await.expect("an answer").ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}

async fn ask(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    exchange(TcpStream::connect(address).await.unwrap(), head, body).await
}

const CALL: &str = r#"{"path": "/vtctlservice.Vtctld/GetKeyspaces", "request": {"text": ""}, "options": {}}"#;

#[tokio::test]
async fn a_page_of_a_foreign_name_reads_nothing() {
    let server = start(&["--port", "0", "--allowed-hosts", "vtflow.example,.internal"]);
    let own = server.http;
    let post = "content-type: application/json";
    for (host, origin, is_let_in) in [
        (own.to_string(), None, true),
        (format!("localhost:{}", own.port()), None, true),
        ("vtflow.example".to_owned(), None, true),
        ("a.internal:80".to_owned(), None, true),
        (own.to_string(), Some(format!("http://{own}")), true),
        // A name of somebody else's that was made to resolve to this machine.
        (format!("rebound.example:{}", own.port()), None, false),
        (format!("rebound.example:{}", own.port()), Some(format!("http://rebound.example:{}", own.port())), false),
        (own.to_string(), Some("http://elsewhere.example".to_owned()), false),
        (own.to_string(), Some(format!("https://{own}")), false),
        (own.to_string(), Some("null".to_owned()), false),
    ] {
        let origin = origin.map_or_else(String::new, |origin| format!("\r\norigin: {origin}"));
        for (line, body) in [("GET /metrics", ""), ("GET /api/planner", ""), ("POST /api/trace", CALL)] {
            let head = format!("{line} HTTP/1.1\r\nhost: {host}{origin}\r\n{post}");
            let (status, said) = ask(own, &head, body).await;
            assert_eq!(status, if is_let_in { 200 } else { 403 }, "{head}: {said}");
            if !is_let_in {
                let is_explained = said.contains("--allowed-hosts rebound.example") || said.contains("other origins");
                assert!(is_explained && !said.contains("customer"), "{said}");
            }
        }
    }
    let (status, _) = ask(own, "GET / HTTP/1.1\r\nhost: rebound.example", "").await;
    assert_eq!(status, 403);
    // It says that somebody is here and no more; probes call by all kinds of names.
    assert_eq!(ask(own, "GET /healthz HTTP/1.1\r\nhost: rebound.example", "").await, (200, "ok\n".to_owned()));
    let (_, log) = tokio::task::spawn_blocking(move || server.end("-TERM")).await.unwrap();
    assert!(log.contains("HTTP request refused") && log.contains("rebound.example"), "{log}");
}

#[tokio::test]
async fn http_is_for_this_machine_and_can_be_left_out() {
    let server = start(&["--port", "0", "--bind-address", "0.0.0.0"]);
    assert!(server.grpc.ip().is_unspecified() && server.http.ip().is_loopback(), "{} {}", server.grpc, server.http);
    let server = start(&["--port", "0", "--http-bind-address", "127.0.0.2"]);
    assert_eq!(server.http.ip().to_string(), "127.0.0.2");
    let server = start(&["--port", "none"]);
    assert_eq!(server.http.port(), 0, "there is none");
    unary(channel(server.grpc).await, GET_WORKFLOWS, Request::new(workflows_of("customer"))).await.unwrap();
}

async fn over_tls(
    address: SocketAddr,
    certificates: &Certificates,
    client: Option<&str>,
    head: &str,
    body: &str,
) -> (u16, String) {
    let pem = |name: &str| fs::read(certificates.path(name)).unwrap();
    let chain = |name: &str| CertificateDer::pem_slice_iter(&pem(name)).collect::<Result<Vec<_>, _>>().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain("ca.pem"));
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let config = match client {
        Some(name) => {
            let key = PrivateKeyDer::from_pem_slice(&pem(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(chain(&format!("{name}.pem")), key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await.unwrap()).await.unwrap();
    exchange(stream, head, body).await
}

#[tokio::test]
async fn http_is_encrypted_as_grpc_is() {
    let certificates = Certificates::create();
    let path = |name: &str| certificates.path(name).to_str().unwrap().to_owned();
    let (cert, key, ca) = (path("server.pem"), path("server.key"), path("ca.pem"));
    let server = start(&["--port", "0", "--grpc-cert", &cert, "--grpc-key", &key]);
    let host = format!("host: {}", server.http);
    let get = format!("GET /healthz HTTP/1.1\r\n{host}");
    let post = format!("POST /api/trace HTTP/1.1\r\n{host}\r\ncontent-type: application/json");
    assert_eq!(over_tls(server.http, &certificates, None, &get, "").await.0, 200);
    assert_eq!(over_tls(server.http, &certificates, None, &post, CALL).await.0, 200);
    assert_eq!(ask(server.http, &get, "").await, (0, String::new()), "nothing goes in plaintext");

    let server = start(&["--port", "0", "--grpc-cert", &cert, "--grpc-key", &key, "--grpc-ca", &ca]);
    let host = format!("host: {}", server.http);
    let (get, post) = (format!("GET /healthz HTTP/1.1\r\n{host}"), format!("POST /api/trace HTTP/1.1\r\n{host}"));
    let post = format!("{post}\r\ncontent-type: application/json");
    assert_eq!(over_tls(server.http, &certificates, None, &get, "").await.0, 200, "probes have no certificates");
    assert_eq!(over_tls(server.http, &certificates, None, &post, CALL).await.0, 403);
    assert_eq!(over_tls(server.http, &certificates, Some("client"), &post, CALL).await.0, 200);
}

#[tokio::test]
async fn failed_logins_leave_lines_but_not_many_and_no_password() {
    let directory = TempDir::new().unwrap();
    let passwords = directory.path().join("passwords");
    fs::write(&passwords, r#"[{"Username": "ann", "Password": "right"}]"#).unwrap();
    let flags = ["--grpc-auth-mode", "static", "--grpc-auth-static-password-file", passwords.to_str().unwrap()];
    let server = start(&[&["--port", "0", "--no-log"][..], &flags].concat());
    // ann:wrong-1
    let head = format!(
        "POST /api/trace HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nauthorization: Basic YW5uOndyb25nLTE=",
        server.http
    );
    assert_eq!(ask(server.http, &head, CALL).await.0, 401);
    for _ in 0..40 {
        let mut request = Request::new(workflows_of("customer"));
        request.metadata_mut().insert("username", "ann".parse().unwrap());
        request.metadata_mut().insert("password", "wrong-2".parse().unwrap());
        unary(channel(server.grpc).await, GET_WORKFLOWS, request).await.unwrap_err();
    }
    let (_, log) = tokio::task::spawn_blocking(move || server.end("-TERM")).await.unwrap();
    let lines = log.lines().filter(|line| line.contains("msg=\"login failed\"")).count();
    assert!((2..=20).contains(&lines), "{lines}: {log}");
    assert!(log.contains("port=http") && log.contains("port=grpc") && log.contains("ann"), "{log}");
    assert!(!log.contains("wrong-") && !log.contains("YW5u"), "{log}");
}

#[tokio::test]
async fn the_page_asks_as_every_client_does() {
    let server = start(&["--port", "0"]);
    let head = format!("POST /api/trace HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json", server.http);
    assert_eq!(ask(server.http, &head, CALL).await.0, 200);
    let (_, metrics) = http_get(server.http, "/metrics").await;
    assert!(metrics.contains(r#"vtflow_rpcs_total{method="vtctlservice.Vtctld/GetKeyspaces",code="0"} 1"#), "{metrics}");
    let (_, log) = tokio::task::spawn_blocking(move || server.end("-TERM")).await.unwrap();
    let line = log.lines().find(|line| line.contains("GetKeyspaces")).expect(&log);
    assert!(line.contains("msg=rpc") && line.contains("port=http") && line.contains("code=0"), "{line}");
}

#[tokio::test]
async fn long_values_are_cut_in_the_log() {
    let server = start(&["--port", "0"]);
    let path = format!("/a.B/{}", "x".repeat(40_000));
    let status = unary(channel(server.grpc).await, &path, Request::new(Bytes::new())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let (_, log) = tokio::task::spawn_blocking(move || server.end("-TERM")).await.unwrap();
    let line = log.lines().find(|line| line.contains("xxx")).expect(&log);
    assert!(line.len() < 1000 && line.contains("bytes)"), "{} bytes", line.len());
}
