//! A name and a password that vtflow proves itself with, from a file.

use std::path::Path;

use vtflow_files::given_file;

use crate::{error::OptionError, secret::Credentials};

/// From a file with a JSON object, as Vitess's `--grpc-auth-static-client-creds` has.
///
/// # Errors
/// It cannot be read, or is something else.
pub(crate) fn read(path: &Path) -> Result<Credentials, OptionError> {
    let text =
        given_file::read(path, given_file::SETTINGS_BYTES).map_err(|cause| OptionError::File { path: path.to_owned(), cause })?;
    serde_json::from_slice(&text).map_err(|cause| OptionError::Credentials { path: path.to_owned(), cause: (&cause).into() })
}
