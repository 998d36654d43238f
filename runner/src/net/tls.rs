//! The TLS options of outgoing connections, as files: read once, at start, so that a wrong path is an error there.
//!
//! When TLS is on at all differs by peer (Vitess turns it on for tablets by a CA alone, for etcd only by a certificate with
//! its key), so that is decided by whoever holds the files. Source: `go/vt/grpcclient/client.go:SecureDialOption`,
//! `go/vt/topo/etcd2topo/server.go:newTLSConfig`.

use std::path::PathBuf;

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use vtflow_files::given_file;

use super::cause::root_cause;
use crate::{error::OptionError, reloaded::Reloaded};

/// PEM files of a client, each optional. An empty one changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The client's certificate chain. Needs `key`.
    pub cert: Option<PathBuf>,
    /// The private key of `cert`.
    pub key: Option<PathBuf>,
    /// Whom to trust. Without one: the system's certificates.
    pub ca: Option<PathBuf>,
    /// The name to expect in the server's certificate. Without one: the host that was dialed.
    pub server_name: Option<String>,
}

impl TlsFiles {
    /// The client's TLS settings, read again when the files change: for the next connection.
    ///
    /// # Errors
    ///
    /// As [`TlsFiles::client_config`], and files that are no certificates or keys.
    pub(crate) fn reloaded(&self, what: &'static str) -> Result<Reloaded<ClientTlsConfig>, OptionError> {
        let paths = [&self.cert, &self.key, &self.ca].into_iter().flatten().cloned().collect();
        let files = self.clone();
        Reloaded::new(what, paths, move || {
            let config = files.client_config()?;
            // Certificates are only parsed when an endpoint takes them: find out now, not at the first call.
            let checked = Endpoint::from_static("https://localhost").tls_config(config.clone());
            checked.map(|_| config).map_err(|error| OptionError::Tls { cause: root_cause(&error) })
        })
    }

    /// Whether TLS is asked for.
    ///
    /// # Errors
    ///
    /// A server name alone: whoever gives it expects TLS, and would get plaintext.
    pub fn is_given(&self) -> Result<bool, OptionError> {
        let is_given = self.ca.is_some() || self.cert.is_some() || self.key.is_some();
        match &self.server_name {
            Some(name) if !is_given => Err(OptionError::NameAlone { name: name.clone() }),
            _ => Ok(is_given),
        }
    }

    /// Reads the files into a client's TLS settings.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or a certificate without a key.
    pub fn client_config(&self) -> Result<ClientTlsConfig, OptionError> {
        let read = |path: &PathBuf| {
            let read = given_file::read(path, given_file::SETTINGS_BYTES);
            read.map_err(|cause| OptionError::File { path: path.clone(), cause })
        };
        let mut config = match &self.ca {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => config.identity(Identity::from_pem(read(cert)?, read(key)?)),
            (None, None) => config,
            (Some(_), None) => return Err(OptionError::HalfIdentity { missing: "key" }),
            (None, Some(_)) => return Err(OptionError::HalfIdentity { missing: "certificate" }),
        };
        // Go servers of older releases speak HTTP/2 over TLS without saying so in ALPN.
        config = config.assume_http2(true);
        Ok(match &self.server_name {
            Some(name) => config.domain_name(name),
            None => config,
        })
    }
}
