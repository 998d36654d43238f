//! How tablets are called: what the flags say, and the credentials of a file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderMap, HeaderValue};

use crate::{
    error::OptionError,
    net::{credentials, tls::TlsFiles},
    secret::CredentialsFault,
};

/// How tablets are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TabletOptions {
    /// `--tablet-manager-grpc-ca`, `-cert`, `-key`, `-server-name`. TLS is on when there is a CA or a certificate.
    pub tls: TlsFiles,
    /// `--grpc-auth-static-client-creds`: a file with a JSON object, `{"Username": "…", "Password": "…"}`.
    pub credentials: Option<PathBuf>,
    /// `--grpc-max-message-size`: bytes of a message, in both directions. Default: 16 MiB, as in Vitess.
    pub message_bytes: usize,
    /// How long a connection may take. Default: 5 s.
    pub connect_timeout: Duration,
    /// Calls under way at once, all tablets together. Default: [`DEFAULT_CONCURRENCY`].
    pub concurrency: usize,
    /// Calls under way at once in one cell, so that a cell that does not answer leaves turns to the others. Default:
    /// [`DEFAULT_CONCURRENCY_PER_CELL`].
    pub concurrency_per_cell: usize,
    /// Calls under way at once on one tablet. Default: 4, since tablets work `VReplicationExec` off one by one
    /// (`go/vt/vttablet/tabletmanager/vreplication/engine.go:Exec`, a mutex).
    pub concurrency_per_tablet: usize,
}

impl Default for TabletOptions {
    fn default() -> Self {
        Self {
            tls: TlsFiles::default(),
            credentials: None,
            message_bytes: 16 << 20,
            connect_timeout: Duration::from_secs(5),
            concurrency: DEFAULT_CONCURRENCY,
            concurrency_per_cell: DEFAULT_CONCURRENCY_PER_CELL,
            concurrency_per_tablet: 4,
        }
    }
}

/// Source: `go/vt/grpcclient/client_auth_static.go:StaticAuthClientCreds`.
pub(super) fn static_credentials(path: &Path) -> Result<HeaderMap, OptionError> {
    let credentials = credentials::read(path)?;
    let mut headers = HeaderMap::new();
    for (what, value) in [("username", credentials.username.as_str()), ("password", credentials.password.reveal())] {
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| OptionError::Credentials { path: path.to_owned(), cause: CredentialsFault::Unsendable(what) })?;
        value.set_sensitive(true);
        headers.insert(what, value);
    }
    Ok(headers)
}

/// Calls under way at once, all tablets together, unless told otherwise: every shard of a very large keyspace.
pub const DEFAULT_CONCURRENCY: usize = 2048;

/// Calls under way at once in one cell, unless told otherwise: half of all, so that one cell that hangs leaves as many turns.
pub const DEFAULT_CONCURRENCY_PER_CELL: usize = DEFAULT_CONCURRENCY / 2;
