//! The TLS options of outgoing connections, as files: read once, at start, so that a wrong path is an error there.
//!
//! When TLS is on at all differs by peer (Vitess turns it on for tablets by a CA alone, for etcd only by a certificate with
//! its key), so that is decided by whoever holds the files. Source: `go/vt/grpcclient/client.go:SecureDialOption`,
//! `go/vt/topo/etcd2topo/server.go:newTLSConfig`.

use std::{io, path::PathBuf};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use vtflow_files::given_file;

use super::cause::root_cause;
use crate::{
    reloaded::Reloaded,
    secret::{CredentialsFault, shown_address},
};

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

/// Why an option of the runner cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionError {
    /// A file named by an option cannot be read.
    #[error("cannot read {path}: {cause}", path = .path.display())]
    File {
        /// As given.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A certificate without its key, or the other way round.
    #[error("a client certificate needs both files: give the {missing} file too, or neither")]
    HalfIdentity {
        /// `certificate` or `key`.
        missing: &'static str,
    },
    /// A name to expect in a certificate, and nothing that asks for TLS.
    #[error(
        "a server's name ({name}) is only looked for in its certificate, and without a CA or client certificate there is no TLS: give one of them, or leave the name out"
    )]
    NameAlone {
        /// As given.
        name: String,
    },
    /// The files are there, but TLS cannot be set up with them.
    #[error("cannot set up TLS: {cause}")]
    Tls {
        /// What is wrong with them.
        cause: String,
    },
    /// A file that should be a JSON object of two texts.
    #[error("{path} is not a JSON object with the texts \"Username\" and \"Password\": {cause}", path = .path.display())]
    Credentials {
        /// As given.
        path: PathBuf,
        /// What is wrong with it.
        cause: CredentialsFault,
    },
    /// A file that should be a JSON array of such objects.
    #[error("{path} is not a JSON array of objects with the texts \"Username\" and \"Password\": {cause}", path = .path.display())]
    Passwords {
        /// As given.
        path: PathBuf,
        /// What is wrong with it.
        cause: CredentialsFault,
    },
    /// A text that is not an address.
    #[error("{address:?} is not an address: {cause}", address = shown_address(.address))]
    Address {
        /// As given. The text leaves out what may be a password in it.
        address: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl TlsFiles {
    /// Whether there is a client certificate.
    pub fn has_identity(&self) -> bool {
        self.cert.is_some() && self.key.is_some()
    }

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
