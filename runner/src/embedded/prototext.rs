//! Reads the protobuf text format: the `source` column holds a `binlogdata.BinlogSource` in it.
//!
//! Every dialect that a tablet ever wrote is read: braces or angle brackets, optional colons, any separators, both spellings of
//! a field. Written from the descriptors alone and apart from the planner's own reader, so that the two check each other.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use vtflow_planner::proto::binlogdata::BinlogSource;

/// Reads a `BinlogSource`.
///
/// # Errors
///
/// In the words of Go's parser, as far as clients see them: `proto: (line 1:1): unknown field: garbage`.
pub(super) fn binlog_source(text: &[u8]) -> Result<BinlogSource, String> {
    static DESCRIPTOR: LazyLock<Option<MessageDescriptor>> = LazyLock::new(|| {
        let pool = DescriptorPool::decode(vtflow_planner::DESCRIPTORS).ok()?;
        pool.get_message_by_name("binlogdata.BinlogSource")
    });
    let descriptor = DESCRIPTOR.as_ref().ok_or_else(|| "no descriptor of BinlogSource".to_owned())?;
    let mut reader = Reader { text, at: 0, depth: 0 };
    let message = reader.message(descriptor, None)?;
    BinlogSource::decode(message.encode_to_vec().as_slice()).map_err(|error| error.to_string())
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

/// Deeper messages than any source has.
const MAX_DEPTH: usize = 20;

impl Reader<'_> {
    fn message(&mut self, descriptor: &MessageDescriptor, close: Option<u8>) -> Result<DynamicMessage, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(self.at, "exceeded max recursion depth"));
        }
        let mut message = DynamicMessage::new(descriptor.clone());
        loop {
            self.space();
            match self.peek() {
                None if close.is_none() => break,
                None => return Err(self.error(self.at, "unexpected EOF")),
                Some(byte) if Some(byte) == close => {
                    self.at += 1;
                    break;
                }
                Some(b',' | b';') => self.at += 1,
                Some(_) => self.field(descriptor, &mut message)?,
            }
        }
        self.depth -= 1;
        Ok(message)
    }

    fn field(&mut self, descriptor: &MessageDescriptor, message: &mut DynamicMessage) -> Result<(), String> {
        let start = self.at;
        let name = self.word();
        if name.is_empty() {
            return Err(self.error(start, &format!("invalid field name: {}", String::from_utf8_lossy(self.rest(10)))));
        }
        let found = descriptor.get_field_by_name(&name).or_else(|| descriptor.get_field_by_json_name(&name));
        let Some(field) = found else { return Err(self.error(start, &format!("unknown field: {name}"))) };
        self.space();
        let colon = self.peek() == Some(b':');
        if colon {
            self.at += 1;
            self.space();
        } else if !matches!(field.kind(), Kind::Message(_)) {
            return Err(self.error(self.at, &format!("missing field separator : for {name}")));
        }
        if self.peek() == Some(b'[') && field.cardinality() == Cardinality::Repeated {
            self.at += 1;
            loop {
                self.space();
                match self.peek() {
                    Some(b']') => {
                        self.at += 1;
                        return Ok(());
                    }
                    Some(b',') => self.at += 1,
                    None => return Err(self.error(self.at, "unexpected EOF")),
                    Some(_) => self.put(&field, message)?,
                }
            }
        }
        self.put(&field, message)
    }

    fn put(&mut self, field: &FieldDescriptor, message: &mut DynamicMessage) -> Result<(), String> {
        let value = self.value(&field.kind())?;
        if field.is_map() {
            let Value::Message(entry) = value else { return Ok(()) };
            let key = entry.get_field_by_number(1).and_then(|key| map_key(key.into_owned()));
            let value = entry.get_field_by_number(2).map(std::borrow::Cow::into_owned);
            if let (Some(map), Some(key), Some(value)) = (message.get_field_mut(field).as_map_mut(), key, value) {
                map.insert(key, value);
            }
        } else if field.is_list() {
            if let Some(list) = message.get_field_mut(field).as_list_mut() {
                list.push(value);
            }
        } else {
            message.set_field(field, value);
        }
        Ok(())
    }

    fn value(&mut self, kind: &Kind) -> Result<Value, String> {
        let start = self.at;
        match kind {
            Kind::Message(descriptor) => {
                let close = match self.peek() {
                    Some(b'{') => b'}',
                    Some(b'<') => b'>',
                    _ => return Err(self.error(start, "unexpected token: expected a message")),
                };
                self.at += 1;
                self.message(descriptor, Some(close)).map(Value::Message)
            }
            Kind::String => {
                let raw = self.string()?;
                String::from_utf8(raw).map(Value::String).map_err(|_| self.error(start, "contains invalid UTF-8"))
            }
            Kind::Bytes => self.string().map(|raw| Value::Bytes(raw.into())),
            Kind::Enum(descriptor) => {
                let word = self.word();
                enum_number(descriptor, &word)
                    .map(Value::EnumNumber)
                    .ok_or_else(|| self.error(start, &format!("invalid value for enum type: {word}")))
            }
            Kind::Bool => match self.word().as_str() {
                "true" | "True" | "t" | "1" => Ok(Value::Bool(true)),
                "false" | "False" | "f" | "0" => Ok(Value::Bool(false)),
                word => Err(self.error(start, &format!("invalid value for bool type: {word}"))),
            },
            _ => {
                let word = self.word();
                let number: i64 = word.parse().map_err(|_| self.error(start, &format!("invalid value for number: {word}")))?;
                Ok(match kind {
                    Kind::Int32 => Value::I32(i32::try_from(number).map_err(|_| self.error(start, "number out of range"))?),
                    Kind::Uint32 => Value::U32(u32::try_from(number).map_err(|_| self.error(start, "number out of range"))?),
                    _ => Value::I64(number),
                })
            }
        }
    }

    /// One or several quoted strings in a row.
    fn string(&mut self) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let mut any = false;
        loop {
            self.space();
            match self.peek() {
                Some(quote @ (b'"' | b'\'')) => {
                    self.at += 1;
                    any = true;
                    self.quoted(quote, &mut out)?;
                }
                _ if any => return Ok(out),
                _ => return Err(self.error(self.at, "unexpected token: expected a string")),
            }
        }
    }

    fn quoted(&mut self, quote: u8, out: &mut Vec<u8>) -> Result<(), String> {
        loop {
            let Some(byte) = self.peek() else { return Err(self.error(self.at, "unexpected EOF")) };
            self.at += 1;
            match byte {
                byte if byte == quote => return Ok(()),
                b'\\' => self.escape(out)?,
                byte => out.push(byte),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let Some(byte) = self.peek() else { return Err(self.error(self.at, "unexpected EOF")) };
        self.at += 1;
        match byte {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'v' => out.push(11),
            b'"' | b'\'' | b'\\' | b'?' => out.push(byte),
            b'x' | b'X' => {
                let value = self.digits(16, 2);
                out.push(u8::try_from(value.unwrap_or(0)).unwrap_or(0));
            }
            b'u' | b'U' => {
                let value = self.digits(16, if byte == b'u' { 4 } else { 8 }).and_then(char::from_u32);
                let character = value.ok_or_else(|| self.error(self.at, "invalid Unicode escape"))?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            b'0'..=b'7' => {
                self.at -= 1;
                let value = self.digits(8, 3).unwrap_or(0);
                out.push(u8::try_from(value & 0xff).unwrap_or(0));
            }
            _ => return Err(self.error(self.at, "invalid escape code")),
        }
        Ok(())
    }

    fn digits(&mut self, radix: u32, most: usize) -> Option<u32> {
        let mut value = None;
        for _ in 0..most {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(radix)) else { break };
            value = Some(value.unwrap_or(0) * radix + digit);
            self.at += 1;
        }
        value
    }

    fn word(&mut self) -> String {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.');
        let word: Vec<u8> = self.rest(usize::MAX).iter().copied().take_while(is_word).collect();
        self.at += word.len();
        String::from_utf8(word).unwrap_or_default()
    }

    fn space(&mut self) {
        while let Some(byte) = self.peek() {
            if byte == b'#' {
                while self.peek().is_some_and(|byte| byte != b'\n') {
                    self.at += 1;
                }
            } else if byte.is_ascii_whitespace() {
                self.at += 1;
            } else {
                break;
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn rest(&self, most: usize) -> &[u8] {
        let rest = self.text.get(self.at..).unwrap_or(&[]);
        rest.get(..most.min(rest.len())).unwrap_or(rest)
    }

    fn error(&self, at: usize, text: &str) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.split(|byte| *byte == b'\n').count();
        let column = at - before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1) + 1;
        format!("proto: (line {line}:{column}): {text}")
    }
}

fn enum_number(descriptor: &EnumDescriptor, word: &str) -> Option<i32> {
    let named = descriptor.get_value_by_name(word).map(|value| value.number());
    named.or_else(|| word.parse().ok())
}

fn map_key(value: Value) -> Option<MapKey> {
    match value {
        Value::String(key) => Some(MapKey::String(key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_reads_the_same() {
        let braces = r#"keyspace:"commerce" shard:"0" filter:{rules:{match:"t1" filter:"select * from t1"}} on_ddl:STOP"#;
        let angles = r#"keyspace:"commerce" shard:"0" filter:<rules:<match:"t1" filter:"select * from t1" > > on_ddl:1 "#;
        let loose = "keyspace: 'com' \"merce\"; shard:\"\\60\",\nfilter { rules: [{match:\"t1\" filter:\"select * from t1\"}] } # end\non_ddl:STOP";
        let want = binlog_source(braces.as_bytes()).unwrap();
        assert_eq!(want.filter.as_ref().unwrap().rules[0].r#match, "t1");
        assert_eq!(binlog_source(angles.as_bytes()).unwrap(), want);
        assert_eq!(binlog_source(loose.as_bytes()).unwrap(), want);
    }

    #[test]
    fn what_is_not_a_source_is_named() {
        assert_eq!(binlog_source(b"garbage").unwrap_err(), "proto: (line 1:1): unknown field: garbage");
        assert_eq!(binlog_source(b"keyspace:\"a\nb").unwrap_err(), "proto: (line 2:2): unexpected EOF");
        assert!(binlog_source("filter:{".repeat(100).as_bytes()).is_err());
    }
}
