//! The name of the format, and why files are not of it.

use std::path::PathBuf;

use crate::bounds;

/// The format that is read and written.
pub const FORMAT: &str = "vtflow-snapshot/1";

/// Why a snapshot cannot be read or written. Every variant names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A file that belongs to every snapshot cannot be opened.
    #[error("cannot read {}: {source}; a snapshot is a directory with snapshot.json, topo.json and tablets/<alias>.json", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not the JSON it should be.
    #[error("{} is not a snapshot file: {source}; take the snapshot again, or mend the file at that line", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// Written by a version that uses another format.
    #[error("{} has format {found:?}, this program reads {FORMAT:?}; use the vtflow that took the snapshot", file.display())]
    UnknownFormat {
        /// The file.
        file: PathBuf,
        /// The format it names.
        found: String,
    },
    /// A topology value is not base64.
    #[error("{}: the value of {cell} {path} is not base64 ({reason}); take the snapshot again", file.display())]
    BadBase64 {
        /// The file.
        file: PathBuf,
        /// The record's cell.
        cell: String,
        /// The record's path.
        path: String,
        /// What is wrong with it.
        reason: base64::DecodeError,
    },
    /// A row has another number of values than its table has columns.
    #[error("{}: table {table}, row {row} (from 1) has {values} values for {columns} columns; add or remove values", file.display())]
    RowWidth {
        /// The file.
        file: PathBuf,
        /// The table.
        table: String,
        /// The row's number, from 1.
        row: usize,
        /// How many values it has.
        values: usize,
        /// How many columns the table has.
        columns: usize,
    },
    /// A file that cannot be one of a snapshot: a link, a pipe, a device, or one that is too large.
    #[error("{} is not read: {source}; a snapshot has plain files only, of {} MiB at most", file.display(), bounds::FILE_BYTES >> 20)]
    Unfit {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// A table, a column or a tablet has a name that none can have.
    #[error("{}: {place}: {reason}; take the snapshot again", file.display())]
    BadName {
        /// The file.
        file: PathBuf,
        /// Whose name it is.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is more than is read.
    #[error("{} has more than {most} {things}: take a snapshot of fewer keyspaces", file.display())]
    TooMuch {
        /// The file or folder.
        file: PathBuf,
        /// How many or how much.
        most: u64,
        /// Of what.
        things: &'static str,
    },
    /// A tablet file's name and its content name different tablets.
    #[error("{} holds the rows of tablet {found:?}; rename the file to {found}.json", file.display())]
    WrongAlias {
        /// The file.
        file: PathBuf,
        /// The alias in the file.
        found: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
