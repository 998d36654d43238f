//! Who gets in: TLS, client certificates, passwords; and that whoever does not get in harms nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use crate::support::{
    certificates::Certificates,
    serving::{GET_WORKFLOWS, NOW, Serving, options, small, unary, workflows_of},
};
use bytes::Bytes;
use tempfile::TempDir;
use tonic::{
    Code, Request, Response, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};
use vtflow::{
    server::{AuthOptions, ForwardTo, Server, ServerOptions, ServerTls},
    tls::TlsFiles,
};

const LONG: (&str, &str) = ("20200101000000Z", "20900101000000Z");
const OVER: (&str, &str) = ("20200101000000Z", "20210101000000Z");

fn with_tls(certificates: &Certificates, name: &str, with_clients: bool) -> ServerOptions {
    let tls = ServerTls {
        cert: Some(certificates.path(&format!("{name}.pem"))),
        key: Some(certificates.path(&format!("{name}.key"))),
        ca: with_clients.then(|| certificates.path("ca.pem")),
    };
    ServerOptions { tls, ..options() }
}

async fn call(serving: &Serving, certificates: &Certificates, client: Option<&str>) -> Result<Response<Bytes>, String> {
    let read = |name: &str| fs::read(certificates.path(name)).unwrap();
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("ca.pem")));
    if let Some(client) = client {
        tls = tls.identity(Identity::from_pem(read(&format!("{client}.pem")), read(&format!("{client}.key"))));
    }
    let endpoint = Channel::from_shared(format!("https://{}", serving.address())).unwrap().tls_config(tls).unwrap();
    let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
    let request = Request::new(workflows_of("customer"));
    unary(channel, GET_WORKFLOWS, request).await.map_err(|status| format!("{}: {status:?}", status.code() as i32))
}

#[tokio::test]
async fn tls_is_spoken_and_plaintext_refused() {
    let certificates = Certificates::create();
    let serving = Serving::with(with_tls(&certificates, "server", false), small(), &[]).await;
    call(&serving, &certificates, None).await.unwrap();
    let plain = Channel::from_shared(format!("http://{}", serving.address())).unwrap().connect_lazy();
    let status = unary(plain, GET_WORKFLOWS, Request::new(workflows_of("customer"))).await.unwrap_err();
    assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{status:?}");
    // A connection that says nothing keeps nobody out.
    let _silent = tokio::net::TcpStream::connect(serving.address()).await.unwrap();
    call(&serving, &certificates, None).await.unwrap();
}

#[tokio::test]
async fn an_expired_certificate_of_the_server_is_refused_by_clients() {
    let certificates = Certificates::create();
    certificates.issue("old", "/CN=old", "IP:127.0.0.1", OVER);
    let serving = Serving::with(with_tls(&certificates, "old", false), small(), &[]).await;
    let error = call(&serving, &certificates, None).await.unwrap_err();
    assert!(error.contains("Expired"), "{error}");
}

#[tokio::test]
async fn with_a_ca_every_client_needs_a_certificate_that_is_valid() {
    let certificates = Certificates::create();
    certificates.issue("expired", "/CN=client", "DNS:client.test", OVER);
    let stranger = Certificates::create();
    let serving = Serving::with(with_tls(&certificates, "server", true), small(), &[]).await;
    call(&serving, &certificates, Some("client")).await.unwrap();
    for client in [None, Some("expired")] {
        let error = call(&serving, &certificates, client).await.unwrap_err();
        assert!(!error.starts_with("0:"), "{client:?}: {error}");
    }
    // Signed by somebody else, and trusting the server all the same.
    fs::copy(stranger.path("client.pem"), certificates.path("stranger.pem")).unwrap();
    fs::copy(stranger.path("client.key"), certificates.path("stranger.key")).unwrap();
    call(&serving, &certificates, Some("stranger")).await.unwrap_err();
    call(&serving, &certificates, Some("client")).await.expect("the server is still well");
}

#[tokio::test]
async fn subjects_decide_in_mode_mtls() {
    let certificates = Certificates::create();
    certificates.issue("ops", "/C=DE/O=Example/OU=ops/CN=anna", "DNS:client.test", LONG);
    for (allowed, is_let_in) in [
        ("CN=anna", true),
        ("nobody:OU=ops", true),
        ("CN=anna,OU=ops,O=Example,C=DE", true),
        ("CN=bert", false),
        ("", false),
        ("::", false),
    ] {
        let options = ServerOptions { auth: AuthOptions::Mtls(allowed.to_owned()), ..with_tls(&certificates, "server", true) };
        let serving = Serving::with(options, small(), &[]).await;
        match call(&serving, &certificates, Some("ops")).await {
            Ok(_) => assert!(is_let_in, "{allowed}"),
            Err(error) => {
                assert!(!is_let_in, "{allowed}: {error}");
                assert!(error.starts_with("16:") && error.contains("client certificate not authorized"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn only_the_certificate_that_was_verified_counts_in_mode_mtls() {
    let certificates = Certificates::create();
    certificates.issue("guest", "/O=Example/OU=guests/CN=gina", "DNS:client.test", LONG);
    // Anybody can make this one; appended to a chain it is sent along, and nobody checks it.
    certificates.self_signed("forged", "/O=Example/OU=ops/CN=anna");
    let both = [fs::read(certificates.path("guest.pem")).unwrap(), fs::read(certificates.path("forged.pem")).unwrap()].concat();
    fs::write(certificates.path("both.pem"), both).unwrap();
    fs::copy(certificates.path("guest.key"), certificates.path("both.key")).unwrap();
    let options = ServerOptions { auth: AuthOptions::Mtls("OU=ops".to_owned()), ..with_tls(&certificates, "server", true) };
    let serving = Serving::with(options, small(), &[]).await;
    let error = call(&serving, &certificates, Some("both")).await.unwrap_err();
    assert!(error.starts_with("16:") && error.contains("client certificate not authorized"), "{error}");

    // The same chain is good where its leaf is allowed.
    let options = ServerOptions { auth: AuthOptions::Mtls("OU=guests".to_owned()), ..with_tls(&certificates, "server", true) };
    let serving = Serving::with(options, small(), &[]).await;
    call(&serving, &certificates, Some("both")).await.unwrap();
}

#[tokio::test]
async fn a_name_that_looks_like_another_attribute_is_a_name() {
    let certificates = Certificates::create();
    certificates.issue("sly", "/O=Example/CN=x,OU=ops", "DNS:client.test", LONG);
    for allowed in ["OU=ops", ",OU=ops"] {
        let options = ServerOptions { auth: AuthOptions::Mtls(allowed.to_owned()), ..with_tls(&certificates, "server", true) };
        let serving = Serving::with(options, small(), &[]).await;
        let error = call(&serving, &certificates, Some("sly")).await.unwrap_err();
        assert!(error.starts_with("16:") && error.contains("client certificate not authorized"), "{allowed}: {error}");
    }
}

#[tokio::test]
async fn certificates_and_passwords_are_read_again_when_they_change() {
    let certificates = Certificates::create();
    certificates.issue("next", "/CN=next", "IP:127.0.0.1", LONG);
    let file = passwords(r#"[{"Username": "anna", "Password": "secret"}]"#);
    let options = ServerOptions { auth: AuthOptions::Static(file.path.clone()), ..with_tls(&certificates, "server", false) };
    let serving = Serving::with(options, small(), &[]).await;
    assert_eq!(subject_served(&serving, &certificates).await, "CN=server");

    for (from, to) in [("next.pem", "server.pem"), ("next.key", "server.key")] {
        fs::rename(certificates.path(from), certificates.path(to)).unwrap();
    }
    fs::write(&file.path, r#"[{"Username": "anna", "Password": "changed"}]"#).unwrap();
    let serves = async |want: &str| subject_served(&serving, &certificates).await == want;
    for _ in 0..500 {
        if serves("CN=next").await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(serves("CN=next").await, "new connections get the new certificate");

    let called = |password: &'static str| {
        let (serving, certificates) = (&serving, &certificates);
        async move {
            let tls =
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(certificates.path("ca.pem")).unwrap()));
            let endpoint = Channel::from_shared(format!("https://{}", serving.address())).unwrap().tls_config(tls).unwrap();
            let mut request = Request::new(workflows_of("customer"));
            request.metadata_mut().insert("username", "anna".parse().unwrap());
            request.metadata_mut().insert("password", password.parse().unwrap());
            unary(endpoint.connect().await.unwrap(), GET_WORKFLOWS, request).await.map_err(|status| status.code())
        }
    };
    for _ in 0..500 {
        if called("changed").await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    called("changed").await.unwrap();
    assert_eq!(called("secret").await.unwrap_err(), Code::PermissionDenied, "who has only the old password is out");

    // What cannot be read leaves what there was.
    fs::write(&file.path, "[{").unwrap();
    fs::write(certificates.path("server.pem"), "nothing").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    called("changed").await.unwrap();
    assert!(serves("CN=next").await);
}

/// The subject of the certificate that a new connection is shown.
async fn subject_served(serving: &Serving, certificates: &Certificates) -> String {
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["s_client", "-connect", &serving.address().to_string(), "-alpn", "h2", "-CAfile"]);
    openssl.arg(certificates.path("ca.pem")).stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let shown = tokio::task::spawn_blocking(move || openssl.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("subject=")).unwrap_or_default();
    line.replace(' ', "")
}

struct Passwords {
    _directory: TempDir,
    path: PathBuf,
}

fn passwords(text: &str) -> Passwords {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("passwords.json");
    fs::write(&path, text).unwrap();
    Passwords { _directory: directory, path }
}

async fn with_password(serving: &Serving, path: &str, caller: Option<(&str, &str)>) -> Result<Response<Bytes>, Status> {
    let mut request = Request::new(if path == GET_WORKFLOWS { workflows_of("customer") } else { Bytes::new() });
    if let Some((username, password)) = caller {
        request.metadata_mut().insert("username", username.parse().unwrap());
        request.metadata_mut().insert("password", password.parse().unwrap());
    }
    unary(serving.channel().await, path, request).await
}

#[tokio::test]
async fn passwords_decide_in_mode_static() {
    let file = passwords(r#"[{"Username": "anna", "Password": "secret"}, {"Username": "bert", "Password": "other"}]"#);
    let options = ServerOptions { auth: AuthOptions::Static(file.path.clone()), ..options() };
    let serving = Serving::with(options, small(), &[]).await;
    with_password(&serving, GET_WORKFLOWS, Some(("anna", "secret"))).await.unwrap();
    with_password(&serving, GET_WORKFLOWS, Some(("bert", "other"))).await.unwrap();
    for path in [GET_WORKFLOWS, "/grpc.health.v1.Health/Check", "/vtctlservice.Vtctld/Backup", "/nope.Nope/Nope"] {
        let status = with_password(&serving, path, None).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unauthenticated, "username and password must be provided"),
            "{path}"
        );
        let status = with_password(&serving, path, Some(("anna", "other"))).await.unwrap_err();
        let denied = "auth failure: caller \"anna\" provided invalid credentials";
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, denied), "{path}");
    }
    assert_eq!(serving.asked.begun(), serving.asked.ended(), "nothing was asked for those who were refused");
    with_password(&serving, "/grpc.health.v1.Health/Check", Some(("anna", "secret"))).await.unwrap();
}

#[tokio::test]
async fn files_that_are_wrong_are_named_at_the_start() {
    let certificates = Certificates::create();
    let object = passwords(r#"{"Username": "anna", "Password": "secret"}"#);
    let tls = |cert: Option<&str>, key: Option<&str>, ca: Option<&str>| ServerTls {
        cert: cert.map(|name| certificates.path(name)),
        key: key.map(|name| certificates.path(name)),
        ca: ca.map(|name| certificates.path(name)),
    };
    let serving = Serving::small().await;
    for (name, options, said) in [
        ("no such file", ServerOptions { tls: tls(Some("no.pem"), Some("no.key"), None), ..options() }, "no.pem"),
        ("no key", ServerOptions { tls: tls(Some("server.pem"), None, None), ..options() }, "--grpc-key"),
        ("a ca alone", ServerOptions { tls: tls(None, None, Some("ca.pem")), ..options() }, "--grpc-cert"),
        ("not a key", ServerOptions { tls: tls(Some("server.pem"), Some("ca.pem"), None), ..options() }, "cannot set up TLS"),
        ("an object", ServerOptions { auth: AuthOptions::Static(object.path.clone()), ..options() }, "not a JSON array"),
    ] {
        let started = Server::start(options, serving.io.clone(), Arc::new(|| NOW), None).await;
        let error = started.err().map_or_else(String::new, |error| error.to_string());
        assert!(error.contains(said), "{name}: {error}");
    }
    let taken = ServerOptions { grpc_port: serving.address().port(), ..options() };
    let error = Server::start(taken, serving.io.clone(), Arc::new(|| NOW), None).await.err().unwrap().to_string();
    assert!(error.contains("cannot listen on 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_vtctld_behind_tls_is_reached_with_a_certificate() {
    // The vtctld is another vtflow, which wants a certificate and knows one RPC that the first one forwards: reflection.
    let certificates = Certificates::create();
    let behind = Serving::with(with_tls(&certificates, "server", true), small(), &[]).await;
    let tls = TlsFiles {
        cert: Some(certificates.path("client.pem")),
        key: Some(certificates.path("client.key")),
        ca: Some(certificates.path("ca.pem")),
        server_name: Some("tablet.test".to_owned()),
    };
    let forward_to = Some(ForwardTo { address: behind.address().to_string(), tls: tls.clone() });
    let serving = Serving::with(ServerOptions { forward_to, ..options() }, small(), &[]).await;
    let status = serving.call("/vtctlservice.Vtctld/Backup", Bytes::new()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    assert!(status.message().starts_with("unknown method Backup"), "the other server's words: {status:?}");

    let forward_to = Some(ForwardTo { address: behind.address().to_string(), tls: TlsFiles { cert: None, key: None, ..tls } });
    let serving = Serving::with(ServerOptions { forward_to, ..options() }, small(), &[]).await;
    let refused = tokio::time::timeout(Duration::from_secs(10), serving.call("/vtctlservice.Vtctld/Backup", Bytes::new())).await;
    assert_eq!(refused.unwrap().unwrap_err().code(), Code::Unavailable);
}
