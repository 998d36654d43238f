//! What is wrong with an option: a file that cannot be used, an address that is none.

use std::{io, path::PathBuf};

use crate::secret::{CredentialsFault, shown_address};

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
