//! How connections become a caller's, on both ports: TLS where the server has a certificate, and what is then known of who is at
//! the other end.
//!
//! The files are read again when they change, see [`Reloaded`]: connections that there are stay as they are.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};
use tonic::transport::server::Connected;
use vtflow_files::given_file;

use super::subject::subject;
use crate::{error::OptionError, net::network::Incoming, reloaded::Reloaded};

/// PEM files of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    /// `--grpc-cert`: the server's certificate chain. Needs `key`.
    pub cert: Option<PathBuf>,
    /// `--grpc-key`: the private key of `cert`.
    pub key: Option<PathBuf>,
    /// `--grpc-ca`: who signs clients' certificates. With it, every client must have one.
    pub ca: Option<PathBuf>,
}

/// What a port's clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/2. With `--grpc-ca` nobody without a certificate gets further than the handshake.
    Grpc,
    /// HTTP/1.1. Probes have no certificates: who shows none gets through the handshake, and [`Peer::certificate`] says so.
    Http,
}

/// Who is at the other end of a connection. In every request's extensions.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Where it is; `None` if the system does not say.
    pub(super) address: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub(super) is_tls: bool,
    /// The certificate that it has proven to be its own, and that one of ours has signed.
    pub(super) certificate: Option<Proven>,
}

/// A verified certificate.
#[derive(Clone, Debug)]
pub(super) struct Proven {
    /// Its subject as Go prints it; `None` if it cannot be read.
    pub(super) subject: Option<Arc<str>>,
}

/// The way in: plaintext, or TLS with the certificates of now.
pub(super) struct Door {
    tls: Option<Reloaded<Acceptors>>,
}

struct Acceptors {
    grpc: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
}

/// A connection that is let in.
pub(super) struct Connection<S> {
    stream: Stream<S>,
    peer: Peer,
}

enum Stream<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
}

impl Door {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be read, a certificate without a key or of another key, clients' certificates without a server's.
    pub(super) fn new(files: &ServerTls) -> Result<Self, OptionError> {
        let wrong = |cause: &str| Err(OptionError::Tls { cause: cause.to_owned() });
        let (cert, key) = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            (None, None) if files.ca.is_none() => return Ok(Self { tls: None }),
            (None, None) => {
                return wrong("--grpc-ca asks for clients' certificates, which needs --grpc-cert and --grpc-key too");
            }
            (Some(_), None) => return wrong("--grpc-cert needs --grpc-key"),
            (None, Some(_)) => return wrong("--grpc-key needs --grpc-cert"),
        };
        let ca = files.ca.clone();
        let paths = [&cert, &key].into_iter().chain(&ca).cloned().collect();
        let tls = Reloaded::new("the server's certificates", paths, move || Acceptors::read(&cert, &key, ca.as_ref()))?;
        Ok(Self { tls: Some(tls) })
    }

    /// Lets a connection in, once its handshake is over.
    ///
    /// # Errors
    /// No handshake, none within [`HANDSHAKE_TIME`], or a certificate that is not good.
    pub(super) async fn welcome<S: Incoming>(&self, stream: S, speaks: Speaks) -> io::Result<Connection<S>> {
        let address = stream.greet()?;
        let Some(tls) = &self.tls else {
            return Ok(Connection { stream: Stream::Plain(stream), peer: Peer { address, ..Peer::default() } });
        };
        let acceptors = tls.current();
        let config = match speaks {
            Speaks::Grpc => &acceptors.grpc,
            Speaks::Http => &acceptors.http,
        };
        let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
        let stream = timeout(HANDSHAKE_TIME, handshake).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        // The first one is the leaf, which the verifier has led back to the authority and whose key has signed the handshake. What
        // follows it is whatever the client cared to send.
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = leaf.map(|leaf| Proven { subject: subject(leaf).map(Arc::from) });
        Ok(Connection { stream: Stream::Tls(Box::new(stream)), peer: Peer { address, is_tls: true, certificate } })
    }
}

impl Acceptors {
    fn read(cert: &PathBuf, key: &PathBuf, ca: Option<&PathBuf>) -> Result<Self, OptionError> {
        let invalid =
            |path: &PathBuf, cause: &dyn std::fmt::Display| OptionError::Tls { cause: format!("{}: {cause}", path.display()) };
        let chain = certificates(cert)?;
        let pem = read(key)?;
        // The library's words for a key may not repeat what stands in the file.
        let key_of = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| invalid(key, &"there is no private key in it"))?;
        let provider = Arc::new(ring::default_provider());
        let verifier = |is_optional: bool| {
            let Some(ca) = ca else { return Ok(None) };
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(ca)?);
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
            builder.build().map(Some).map_err(|error| invalid(ca, &error))
        };
        let config = |is_optional: bool, protocol: &[u8]| {
            let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
            let builder = builder.map_err(|error| invalid(cert, &error))?;
            let builder = match verifier(is_optional)? {
                Some(verifier) => builder.with_client_cert_verifier(verifier),
                None => builder.with_no_client_auth(),
            };
            let mut config =
                builder.with_single_cert(chain.clone(), key_of.clone_key()).map_err(|error| invalid(cert, &error))?;
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(Arc::new(config))
        };
        Ok(Self { grpc: config(false, b"h2")?, http: config(true, b"http/1.1")? })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, OptionError> {
    given_file::read(path, given_file::SETTINGS_BYTES).map_err(|cause| OptionError::File { path: path.to_owned(), cause })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OptionError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(OptionError::Tls { cause: format!("{}: there is no certificate in it", path.display()) }),
    }
}

impl<S: Incoming> Connected for Connection<S> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl<S: Incoming> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl<S: Incoming> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// How long a handshake may take: a connection that does not finish it must not be kept.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
