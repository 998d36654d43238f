//! A topology record as it is kept outside of a back end: in a snapshot, in memory, on its way into an etcd.

/// One record of a topology, with its cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellRecord {
    /// The cell's name, or `global`.
    pub cell: String,
    /// Relative to the cell's root, without a slash in front.
    pub path: String,
    /// In the back end's own count. Ignored where a record is written.
    pub version: i64,
    /// As stored.
    pub value: Vec<u8>,
}
