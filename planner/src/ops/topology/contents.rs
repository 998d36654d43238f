//! Records of the topology as people read them: protobuf text, or JSON, of the message that a record's name stands for.
//!
//! Driven by the descriptors, so that a field declared in `proto/` is a field that is shown. Unset fields are left out, map
//! entries are in the order of their keys, fields in that of their declaration. It does not know where a record was read.
//!
//! Facts: `go/vt/topo/decode.go:DecodeContent`; Go's `prototext` and `protojson` with proto names and an indent of two.

use std::{collections::BTreeMap, fmt::Write};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, MessageOptions,
    field_descriptor_proto::{Label, Type},
};

/// How a record is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

/// The record at this path, as text. A record that stands for no message is its own bytes.
///
/// # Errors
/// The record is no such message; or JSON is wanted of one that stands for no message.
pub(crate) fn show(path: &str, value: &[u8], form: Form) -> Result<String, String> {
    let file = path.rsplit('/').next().unwrap_or_default();
    let message = match file {
        "CellInfo" | "CellsAlias" | "Keyspace" | "Shard" | "ShardReplication" | "SrvKeyspace" | "Tablet" => {
            format!(".topodata.{file}")
        }
        "VSchema" => ".vschema.Keyspace".into(),
        "SrvVSchema" | "RoutingRules" | "ShardRoutingRules" | "MirrorRules" => format!(".vschema.{file}"),
        "Rules" if path.starts_with("routing_rules/") => ".vschema.KeyspaceRoutingRules".into(),
        _ if form == Form::Text => return Ok(String::from_utf8_lossy(value).into_owned()),
        _ => return Err(format!("unknown topo protobuf type for {file}")),
    };
    let set = FileDescriptorSet::decode(crate::DESCRIPTORS).map_err(|error| error.to_string())?;
    let types = Types::new(&set);
    let shown = types.message(&message, value)?;
    let mut out = String::new();
    match form {
        Form::Text => text(&mut out, &shown),
        Form::Json => json(&mut out, &shown, 0),
    }
    Ok(out)
}

/// Every declared type, by its full name with a dot in front.
struct Types<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
}

/// A message as it is shown: its set fields by name.
type Shown = Vec<(String, Field)>;

enum Field {
    One(Value),
    Many(Vec<Value>),
    /// Key and value of each entry, in the order of keys.
    Map(Vec<(Value, Value)>),
}

enum Value {
    /// Shown as it stands; quoted in JSON if 64 bits wide.
    Number {
        text: String,
        is_wide: bool,
    },
    /// A name; quoted in JSON.
    Enum(String),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    Message(Shown),
}

/// A field's value on the wire.
enum Raw<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Types<'a> {
    fn new(set: &'a FileDescriptorSet) -> Self {
        let mut types = Self { messages: BTreeMap::new(), enums: BTreeMap::new() };
        for file in &set.file {
            let package = format!(".{}", file.package());
            types.enums.extend(file.enum_type.iter().map(|kind| (format!("{package}.{}", kind.name()), kind)));
            let mut left: Vec<_> = file.message_type.iter().map(|message| (package.clone(), message)).collect();
            while let Some((within, message)) = left.pop() {
                let name = format!("{within}.{}", message.name());
                types.enums.extend(message.enum_type.iter().map(|kind| (format!("{name}.{}", kind.name()), kind)));
                left.extend(message.nested_type.iter().map(|nested| (name.clone(), nested)));
                types.messages.insert(name, message);
            }
        }
        types
    }

    fn message(&self, name: &str, bytes: &[u8]) -> Result<Shown, String> {
        let Some(message) = self.messages.get(name) else { return Err(format!("no message {name} is declared")) };
        let mut raw: BTreeMap<i32, Vec<Raw<'_>>> = BTreeMap::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (number, value, left) = field(rest)?;
            raw.entry(number).or_default().push(value);
            rest = left;
        }
        let mut shown = Vec::new();
        for field in &message.field {
            if let Some(values) = raw.remove(&field.number())
                && let Some(value) = self.field(field, values)?
            {
                shown.push((field.name().to_owned(), value));
            }
        }
        Ok(shown)
    }

    /// `None`: the value is the default, which is not shown.
    fn field(&self, field: &FieldDescriptorProto, raw: Vec<Raw<'_>>) -> Result<Option<Field>, String> {
        if field.label() != Label::Repeated {
            // A message that comes in parts is the sum of them; of other values the last one counts.
            let is_message = field.r#type() == Type::Message;
            let parts: Option<Vec<&[u8]>> =
                raw.iter().map(|raw| if let Raw::Bytes(bytes) = raw { Some(*bytes) } else { None }).collect();
            let joined = parts.filter(|_| is_message).map(|parts| parts.concat());
            let last = joined.as_deref().map(Raw::Bytes).or_else(|| raw.into_iter().next_back());
            let Some(last) = last else { return Ok(None) };
            let value = self.value(field, &last)?;
            let is_default = matches!(last, Raw::Number(0) | Raw::Bytes([])) && !is_message && !field.proto3_optional();
            return Ok((!is_default).then_some(Field::One(value)));
        }
        let mut values = Vec::new();
        for raw in raw {
            match raw {
                Raw::Bytes(mut packed) if is_number(field.r#type()) => {
                    while !packed.is_empty() {
                        let (number, left) = packed_number(field.r#type(), packed)?;
                        values.push(self.value(field, &Raw::Number(number))?);
                        packed = left;
                    }
                }
                raw => values.push(self.value(field, &raw)?),
            }
        }
        let entry =
            self.messages.get(field.type_name()).filter(|entry| entry.options.as_ref().is_some_and(MessageOptions::map_entry));
        let Some(entry) = entry else { return Ok(Some(Field::Many(values))) };
        let mut entries: Vec<(Value, Value)> = Vec::new();
        for value in values {
            let Value::Message(parts) = value else { continue };
            let (mut key, mut value) = (None, None);
            for (name, part) in parts {
                match (name.as_str(), part) {
                    ("key", Field::One(part)) => key = Some(part),
                    ("value", Field::One(part)) => value = Some(part),
                    _ => {}
                }
            }
            let default = |number| {
                let field = entry.field.iter().find(|field| field.number() == number);
                let empty = |field| if is_number(FieldDescriptorProto::r#type(field)) { Raw::Number(0) } else { Raw::Bytes(&[]) };
                field.map_or(Ok(Value::Text(Vec::new())), |field| self.value(field, &empty(field)))
            };
            entries.push((key.map_or_else(|| default(1), Ok)?, value.map_or_else(|| default(2), Ok)?));
        }
        entries.sort_by_cached_key(|(key, _)| if let Value::Text(key) = key { key.clone() } else { Vec::new() });
        Ok(Some(Field::Map(entries)))
    }

    fn value(&self, field: &FieldDescriptorProto, raw: &Raw<'_>) -> Result<Value, String> {
        let narrow = |text: String| Value::Number { text, is_wide: false };
        let wide = |text: String| Value::Number { text, is_wide: true };
        Ok(match (field.r#type(), raw) {
            (Type::String, Raw::Bytes(bytes)) => Value::Text(bytes.to_vec()),
            (Type::Bytes, Raw::Bytes(bytes)) => Value::Bytes(bytes.to_vec()),
            (Type::Message, Raw::Bytes(bytes)) => Value::Message(self.message(field.type_name(), bytes)?),
            (Type::Bool, Raw::Number(number)) => narrow((*number != 0).to_string()),
            (Type::Double, Raw::Number(bits)) => narrow(f64::from_bits(*bits).to_string()),
            (Type::Float, Raw::Number(bits)) => narrow(f32::from_bits(low(*bits)).to_string()),
            (Type::Int64 | Type::Sfixed64, Raw::Number(number)) => wide(number.cast_signed().to_string()),
            (Type::Uint64 | Type::Fixed64, Raw::Number(number)) => wide(number.to_string()),
            (Type::Uint32 | Type::Fixed32, Raw::Number(number)) => narrow(low(*number).to_string()),
            (Type::Int32 | Type::Sfixed32, Raw::Number(number)) => narrow(low(*number).cast_signed().to_string()),
            (Type::Enum, Raw::Number(number)) => {
                let number = low(*number).cast_signed();
                let kind = self.enums.get(field.type_name());
                // The first name of a number: PRIMARY, not its older name.
                match kind.and_then(|kind| kind.value.iter().find(|value| value.number() == number)) {
                    Some(value) => Value::Enum(value.name().to_owned()),
                    None => narrow(number.to_string()),
                }
            }
            (kind, _) => return Err(format!("field {} is not encoded as {}", field.name(), kind.as_str_name())),
        })
    }
}

fn is_number(kind: Type) -> bool {
    !matches!(kind, Type::String | Type::Bytes | Type::Message | Type::Group)
}

fn low(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or(0)
}

/// The first field of a message, and what follows it.
fn field(bytes: &[u8]) -> Result<(i32, Raw<'_>, &[u8]), String> {
    let (key, rest) = varint(bytes)?;
    let number = i32::try_from(key >> 3).map_err(|_| "a field number is too large".to_owned())?;
    let (value, rest) = match key & 7 {
        0 => {
            let (value, rest) = varint(rest)?;
            (Raw::Number(value), rest)
        }
        1 => {
            let (value, rest) = fixed(rest, 8)?;
            (Raw::Number(value), rest)
        }
        2 => {
            let (length, rest) = varint(rest)?;
            let length = usize::try_from(length).map_err(|error| error.to_string())?;
            let (value, rest) = rest.split_at_checked(length).ok_or(ENDS_EARLY)?;
            (Raw::Bytes(value), rest)
        }
        5 => {
            let (value, rest) = fixed(rest, 4)?;
            (Raw::Number(value), rest)
        }
        kind => return Err(format!("wire type {kind} is not one of protobuf 3")),
    };
    Ok((number, value, rest))
}

fn packed_number(kind: Type, bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    match kind {
        Type::Double | Type::Fixed64 | Type::Sfixed64 => fixed(bytes, 8),
        Type::Float | Type::Fixed32 | Type::Sfixed32 => fixed(bytes, 4),
        _ => varint(bytes),
    }
}

fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, bytes.get(index + 1..).unwrap_or_default()));
        }
    }
    Err(ENDS_EARLY.into())
}

fn fixed(bytes: &[u8], width: usize) -> Result<(u64, &[u8]), String> {
    let (value, rest) = bytes.split_at_checked(width).ok_or(ENDS_EARLY)?;
    let mut whole = [0; 8];
    whole.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
    Ok((u64::from_le_bytes(whole), rest))
}

const ENDS_EARLY: &str = "unexpected EOF";

fn text(out: &mut String, message: &Shown) {
    let mut gap = "";
    let mut begin = |out: &mut String, name: &str| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{gap}{name}:");
        gap = " ";
    };
    for (name, field) in message {
        match field {
            Field::One(value) => {
                begin(out, name);
                text_value(out, value);
            }
            // Numbers and names stand in one list, messages and texts one by one.
            Field::Many(values) => {
                for value in values {
                    begin(out, name);
                    text_value(out, value);
                }
            }
            Field::Map(entries) => {
                for (key, value) in entries {
                    begin(out, name);
                    out.push_str("{key:");
                    text_value(out, key);
                    out.push_str(" value:");
                    text_value(out, value);
                    out.push('}');
                }
            }
        }
    }
}

fn text_value(out: &mut String, value: &Value) {
    match value {
        Value::Number { text, .. } | Value::Enum(text) => out.push_str(text),
        Value::Text(bytes) | Value::Bytes(bytes) => quoted(out, bytes),
        Value::Message(message) => {
            out.push('{');
            text(out, message);
            out.push('}');
        }
    }
}

/// A text with what is not printable as `\xhh`.
fn quoted(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if u32::from(c) < 0x20 || c == '\u{7f}' => drop(write!(out, "\\x{:02x}", u32::from(c))),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
}

fn json(out: &mut String, message: &Shown, depth: usize) {
    let items = message.iter().map(|(name, field)| {
        let mut item = format!("\"{name}\": ");
        match field {
            Field::One(value) => json_value(&mut item, value, depth + 1),
            Field::Many(values) => {
                let values = values.iter().map(|value| json_text(value, depth + 2));
                bracketed(&mut item, ['[', ']'], values, depth + 1);
            }
            Field::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    let key = match key {
                        Value::Text(key) => serde_json::Value::from(String::from_utf8_lossy(key)).to_string(),
                        key => format!("\"{}\"", json_text(key, 0).trim_matches('"')),
                    };
                    format!("{key}: {}", json_text(value, depth + 2))
                });
                bracketed(&mut item, ['{', '}'], entries, depth + 1);
            }
        }
        item
    });
    bracketed(out, ['{', '}'], items, depth);
}

fn json_text(value: &Value, depth: usize) -> String {
    let mut text = String::new();
    json_value(&mut text, value, depth);
    text
}

fn json_value(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Number { text, is_wide: false } => out.push_str(text),
        Value::Number { text, .. } | Value::Enum(text) => drop(write!(out, "\"{text}\"")),
        Value::Text(text) => out.push_str(&serde_json::Value::from(String::from_utf8_lossy(text)).to_string()),
        Value::Bytes(bytes) => drop(write!(out, "\"{}\"", BASE64_STANDARD.encode(bytes))),
        Value::Message(message) => json(out, message, depth),
    }
}

fn bracketed(out: &mut String, [open, close]: [char; 2], items: impl Iterator<Item = String>, depth: usize) {
    out.push(open);
    let mut is_empty = true;
    for item in items {
        out.push_str(if is_empty { "\n" } else { ",\n" });
        let _ = write!(out, "{:indent$}{item}", "", indent = 2 * (depth + 1));
        is_empty = false;
    }
    if !is_empty {
        let _ = write!(out, "\n{:indent$}", "", indent = 2 * depth);
    }
    out.push(close);
}

#[cfg(test)]
mod tests;
