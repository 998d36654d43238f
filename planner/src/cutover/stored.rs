//! A record of the topology, with its version.

/// A record as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) value: Vec<u8>,
    /// 0: it is not there.
    pub(crate) version: i64,
}
