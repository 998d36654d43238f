//! Positions of the simulated shards: each has a server of its own, whose transactions are counted from before the run on.

/// Transactions that were there before the run.
pub(crate) const BEFORE: u64 = 1_000;

/// The server that a shard's transactions are of.
pub(crate) fn server(keyspace: &str, shard: &str) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in keyspace.bytes().chain([b'/']).chain(shard.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{:08x}-0000-4000-8000-{:012x}", hash >> 32, hash & 0xffff_ffff_ffff)
}

/// The last transaction of a server in a text with a position; `None`: it has none of them.
pub(crate) fn last_transaction(text: &str, server: &str) -> Option<u64> {
    let is_range = |letter: char| letter.is_ascii_digit() || letter == ':' || letter == '-';
    let after = text.split(server).nth(1)?;
    let ranges = after.split(|letter| !is_range(letter)).next()?;
    ranges.rsplit(['-', ':']).next()?.parse().ok()
}
