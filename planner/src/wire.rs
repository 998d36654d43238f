//! Messages written field by field, so that a record goes into a reply with the very bytes that the topology holds.
//!
//! A record that is decoded and encoded again loses the fields that this build does not know. Written here, it keeps them. Only
//! length-delimited fields are needed: strings, messages, map entries. Source: the protobuf encoding, wire type 2. And read field
//! by field, so that one field of a record can be changed and all others stay as they are.

use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_varint, encoded_len_varint, skip_field},
};

/// A message under construction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a field that is a message or bytes. It is present even when empty, as a message field is.
    #[must_use]
    pub(crate) fn message(mut self, field: u32, value: &[u8]) -> Self {
        put_bytes(&mut self.0, field, value);
        self
    }

    /// Adds a string field; an empty one is left out, as proto3 does.
    #[must_use]
    pub(crate) fn string(self, field: u32, value: &str) -> Self {
        if value.is_empty() { self } else { self.message(field, value.as_bytes()) }
    }

    /// Adds an entry of a `map<string, Message>`.
    #[must_use]
    pub(crate) fn entry(self, field: u32, key: &str, value: &[u8]) -> Self {
        let entry = Self::new().message(1, key.as_bytes()).message(2, value);
        self.message(field, &entry.0)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Adds a field that is an integer; 0 is left out, as proto3 does.
pub(crate) fn put_integer(out: &mut Vec<u8>, field: u32, value: i64) {
    if value != 0 {
        put_varint(out, u64::from(field) << 3);
        put_varint(out, value.cast_unsigned());
    }
}

/// Adds a string field; an empty one is left out, as proto3 does.
pub(crate) fn put_text(out: &mut Vec<u8>, field: u32, value: &str) {
    if !value.is_empty() {
        put_bytes(out, field, value.as_bytes());
    }
}

/// Adds a field that is a message, bytes, or a string of several. It is present even when empty.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    put_head(out, field, value.len());
    out.extend_from_slice(value);
}

/// Adds what stands before the content of a field of so many bytes.
pub(crate) fn put_head(out: &mut Vec<u8>, field: u32, bytes: usize) {
    put_varint(out, key(field));
    put_varint(out, bytes as u64);
}

/// Adds a field whose content is written in its place, behind one byte for its length: it is moved on where that needs more.
pub(crate) fn put_message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, key(field));
    let at = out.len();
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    let room = encoded_len_varint(length as u64);
    if room > 1 {
        out.resize(at + room + length, 0);
        out.copy_within(at + 1..=at + length, at + room);
    }
    if let Some(mut place) = out.get_mut(at..at + room) {
        encode_varint(length as u64, &mut place);
    }
}

/// Bytes of a field of so many bytes, with what stands before them.
pub(crate) fn field_bytes(field: u32, bytes: usize) -> usize {
    encoded_len_varint(key(field)) + encoded_len_varint(bytes as u64) + bytes
}

/// What a length-delimited field begins with: its number, and wire type 2.
fn key(field: u32) -> u64 {
    (u64::from(field) << 3) + 2
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    match u8::try_from(value) {
        Ok(byte) if byte < 0x80 => out.push(byte),
        _ => encode_varint(value, out),
    }
}

/// One field of a message as it stands there: its number and all its bytes, its key included.
pub(crate) type RawField<'a> = (u32, &'a [u8]);

/// The fields of a message, in its order. Their bytes together are the message.
///
/// # Errors
/// The bytes are no message.
pub(crate) fn fields(message: &[u8]) -> Result<Vec<RawField<'_>>, DecodeError> {
    let mut fields = Vec::new();
    each(message, |field| fields.push(field))?;
    Ok(fields)
}

/// Shows the fields of a message, in its order, and keeps none: a message of a few megabytes can have millions.
///
/// # Errors
/// The bytes are no message.
pub(crate) fn each<'a>(message: &'a [u8], mut see: impl FnMut(RawField<'a>)) -> Result<(), DecodeError> {
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let (number, wire_type) = decode_key(&mut rest)?;
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        let (field, _) = start.split_at(start.len() - rest.len());
        see((number, field));
    }
    Ok(())
}

/// The content of a field that is a message, a string or bytes; `None` if it is of another kind.
pub(crate) fn content((_, field): RawField<'_>) -> Option<&[u8]> {
    let mut rest = field;
    let (_, wire_type) = decode_key(&mut rest).ok()?;
    if wire_type != WireType::LengthDelimited {
        return None;
    }
    decode_varint(&mut rest).ok()?;
    Some(rest)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::proto::{
        topodata::{CellsAlias, Keyspace},
        vtctldata::{GetCellsAliasesResponse, GetKeyspaceResponse},
    };

    #[test]
    fn what_is_written_is_what_prost_reads() {
        let record = Keyspace { sidecar_db_name: "x".repeat(300), ..Keyspace::default() };
        let named = Message::new().string(1, "ks").message(2, &record.encode_to_vec()).into_bytes();
        let reply = GetKeyspaceResponse::decode(Message::new().message(1, &named).into_bytes().as_slice()).unwrap();
        let keyspace = reply.keyspace.unwrap();
        assert_eq!((keyspace.name.as_str(), keyspace.keyspace), ("ks", Some(record)));

        let alias = CellsAlias { cells: vec!["a".into()] };
        let bytes = Message::new().entry(1, "all", &alias.encode_to_vec()).entry(1, "", &[]).into_bytes();
        let aliases = GetCellsAliasesResponse::decode(bytes.as_slice()).unwrap().aliases;
        assert_eq!(aliases.into_iter().collect::<Vec<_>>(), [(String::new(), CellsAlias::default()), ("all".into(), alias)]);
    }

    #[test]
    fn a_field_takes_the_bytes_that_are_reckoned_with() {
        for field in [1, 15, 16, 3_000] {
            for bytes in [0, 1, 127, 128, 20_000] {
                let mut out = Vec::new();
                put_bytes(&mut out, field, &vec![7; bytes]);
                assert_eq!(out.len(), field_bytes(field, bytes), "field {field} of {bytes} bytes");
                let mut moved = Vec::new();
                put_message(&mut moved, field, |out| out.extend(vec![7; bytes]));
                assert_eq!(out, moved);
                assert_eq!(fields(&out), Ok(vec![(field, out.as_slice())]));
                assert_eq!(content((field, &out)), Some(vec![7; bytes].as_slice()));
            }
        }
    }

    #[test]
    fn fields_that_nobody_knows_survive() {
        let unknown = Message::new().string(1, "as stored").string(99, "from the future").into_bytes();
        let reply = Message::new().message(1, &unknown).into_bytes();
        assert!(reply.windows(unknown.len()).any(|window| window == unknown));
    }
}
