//! Messages as JSON, the way `vtctldclient` prints them, and as YAML of the same shape.
//!
//! Field names as in the `.proto`, declaration order, enums by name, 64-bit numbers as strings, bytes as base64, unset fields
//! printed (`null` for an unset message), map keys sorted, two spaces of indent. Source: `go/cmd/vtctldclient/cli/json.go` and
//! Go's `protojson` with `UseProtoNames` and `EmitUnpopulated`. One space after a colon, where Go puts one or two at random.

use base64::{Engine, prelude::BASE64_STANDARD};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::yaml;

/// Why a reply cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The bytes are not such a message.
    #[error("the reply is no {message}: {source}")]
    Decode {
        /// The message's full name.
        message: String,
        /// What the decoder says.
        source: prost::DecodeError,
    },
    /// No such message is known.
    #[error("no message {0} is known")]
    UnknownMessage(String),
    /// The serializer failed.
    #[error("cannot print JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The message as indented JSON, without a newline at the end.
///
/// # Errors
/// [`PrintError`] when the bytes are not such a message.
pub fn json(message: &str, bytes: &[u8]) -> Result<String, PrintError> {
    Ok(serde_json::to_string_pretty(&Printed(&decode(message, bytes)?, Style::Proto))?)
}

/// The message as YAML of the same shape, with a newline at the end.
///
/// # Errors
/// [`PrintError`] when the bytes are not such a message.
pub fn yaml(message: &str, bytes: &[u8]) -> Result<String, PrintError> {
    any_yaml(&Printed(&decode(message, bytes)?, Style::Proto))
}

/// A message that can be put into a larger document.
pub struct Document(DynamicMessage);

impl Document {
    /// Reads the message.
    ///
    /// # Errors
    /// [`PrintError`] when the bytes are not such a message.
    pub fn read(message: &str, bytes: &[u8]) -> Result<Self, PrintError> {
        Ok(Self(decode(message, bytes)?))
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Printed(&self.0, Style::Proto).serialize(serializer)
    }
}

/// The messages of one repeated field as a list of Go structs: what `vtctldclient` prints where it has a list and no message.
/// Numbers are numbers, enums too, and what is not set is left out. Source: `go/cmd/vtctldclient/cli/json.go`, `encoding/json`.
pub struct PlainList {
    message: DynamicMessage,
    field: FieldDescriptor,
}

impl PlainList {
    /// Reads the message and finds its field.
    ///
    /// # Errors
    /// [`PrintError`] when the bytes are not such a message or it has no such field.
    pub fn read(message: &str, field: &str, bytes: &[u8]) -> Result<Self, PrintError> {
        let message = decode(message, bytes)?;
        let unknown = || PrintError::UnknownMessage(format!("{}.{field}", message.descriptor().full_name()));
        let field = message.descriptor().get_field_by_name(field).ok_or_else(unknown)?;
        Ok(Self { message, field })
    }
}

impl Serialize for PlainList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.message.get_field(&self.field);
        PrintedValue { field: &self.field, value: &value, style: Style::Plain }.serialize(serializer)
    }
}

/// Anything as indented JSON with a newline at the end.
///
/// # Errors
/// [`PrintError`] when the value cannot be serialized.
pub fn any_json(value: &impl Serialize) -> Result<String, PrintError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Anything as YAML with a newline at the end.
///
/// # Errors
/// [`PrintError`] when the value cannot be serialized.
pub fn any_yaml(value: &impl Serialize) -> Result<String, PrintError> {
    Ok(yaml::from_json(&serde_json::to_string(value)?)?)
}

fn decode(message: &str, bytes: &[u8]) -> Result<DynamicMessage, PrintError> {
    let unknown = || PrintError::UnknownMessage(message.to_owned());
    let pool = DescriptorPool::decode(vtflow_planner::DESCRIPTORS).map_err(|_| unknown())?;
    let descriptor = pool.get_message_by_name(message).ok_or_else(unknown)?;
    DynamicMessage::decode(descriptor, bytes).map_err(|source| PrintError::Decode { message: message.into(), source })
}

/// Whose rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `protojson` with `UseProtoNames` and `EmitUnpopulated`.
    Proto,
    /// Go's `encoding/json` on the generated structs.
    Plain,
}

struct Printed<'a>(&'a DynamicMessage, Style);

impl Serialize for Printed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in fields(&self.0.descriptor()) {
            let is_message = matches!(field.kind(), Kind::Message(_)) && !field.is_list() && !field.is_map();
            // Of several of which one is there, the others are not there to be seen.
            let is_one_of = field.containing_oneof().is_some_and(|of| !of.is_synthetic());
            if self.0.has_field(&field) {
                let value = &self.0.get_field(&field);
                map.serialize_entry(field.name(), &PrintedValue { field: &field, value, style: self.1 })?;
            } else if self.1 == Style::Plain || is_one_of {
                // Left out.
            } else if is_message {
                map.serialize_entry(field.name(), &())?;
            } else if !field.supports_presence() {
                let value = &Value::default_value_for_field(&field);
                map.serialize_entry(field.name(), &PrintedValue { field: &field, value, style: self.1 })?;
            }
        }
        map.end()
    }
}

/// In declaration order, which is not always that of the numbers.
fn fields(descriptor: &MessageDescriptor) -> Vec<FieldDescriptor> {
    descriptor.descriptor_proto().field.iter().filter_map(|field| descriptor.get_field_by_name(field.name())).collect()
}

struct PrintedValue<'a> {
    field: &'a FieldDescriptor,
    value: &'a Value,
    style: Style,
}

impl Serialize for PrintedValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I32(value) => serializer.serialize_i32(*value),
            Value::U32(value) => serializer.serialize_u32(*value),
            Value::I64(value) if self.style == Style::Plain => serializer.serialize_i64(*value),
            Value::U64(value) if self.style == Style::Plain => serializer.serialize_u64(*value),
            Value::EnumNumber(number) if self.style == Style::Plain => serializer.serialize_i32(*number),
            Value::I64(value) => serializer.collect_str(value),
            Value::U64(value) => serializer.collect_str(value),
            // Go writes 100, not 100.0.
            Value::F32(value) if value.fract() == 0.0 && value.abs() < 1e15 => serializer.serialize_i64(whole(f64::from(*value))),
            Value::F64(value) if value.fract() == 0.0 && value.abs() < 1e15 => serializer.serialize_i64(whole(*value)),
            Value::F32(value) if value.is_finite() => serializer.serialize_f32(*value),
            Value::F64(value) if value.is_finite() => serializer.serialize_f64(*value),
            Value::F32(value) => serializer.serialize_str(float_name(f64::from(*value))),
            Value::F64(value) => serializer.serialize_str(float_name(*value)),
            Value::String(value) => serializer.serialize_str(value),
            Value::Bytes(value) => serializer.serialize_str(&BASE64_STANDARD.encode(value)),
            Value::EnumNumber(number) => match self.field.kind() {
                // The first name declared for a number is the one that is printed: PRIMARY, not its alias MASTER.
                Kind::Enum(kind) => match kind.enum_descriptor_proto().value.iter().find(|value| value.number() == *number) {
                    Some(value) => serializer.serialize_str(value.name()),
                    None => serializer.serialize_i32(*number),
                },
                _ => serializer.serialize_i32(*number),
            },
            Value::Message(message) => Printed(message, self.style).serialize(serializer),
            Value::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(&PrintedValue { field: self.field, value, style: self.style })?;
                }
                list.end()
            }
            Value::Map(entries) => {
                let Kind::Message(entry) = self.field.kind() else { return serializer.serialize_unit() };
                let field = entry.map_entry_value_field();
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_by_key(|(key, _)| order(key));
                let mut map = serializer.serialize_map(Some(sorted.len()))?;
                for (key, value) in sorted {
                    map.serialize_entry(&order(key).1, &PrintedValue { field: &field, value, style: self.style })?;
                }
                map.end()
            }
        }
    }
}

/// Numbers by value, texts by bytes.
fn order(key: &MapKey) -> (i128, String) {
    match key {
        MapKey::Bool(key) => (i128::from(*key), key.to_string()),
        MapKey::I32(key) => (i128::from(*key), key.to_string()),
        MapKey::I64(key) => (i128::from(*key), key.to_string()),
        MapKey::U32(key) => (i128::from(*key), key.to_string()),
        MapKey::U64(key) => (i128::from(*key), key.to_string()),
        MapKey::String(key) => (0, key.clone()),
    }
}

/// A number without fraction, of at most 15 digits.
#[allow(clippy::cast_possible_truncation, reason = "the callers have looked")]
fn whole(value: f64) -> i64 {
    value as i64
}

fn float_name(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message;
    use vtflow_planner::proto::{
        topodata::{Shard, TabletAlias},
        vtctldata::{
            GetWorkflowsResponse, Workflow, WorkflowOptions,
            workflow::{ReplicationLocation, Stream},
        },
    };

    use super::*;

    #[test]
    fn no_workflows_is_the_text_that_scripts_match() {
        assert_eq!(json("vtctldata.GetWorkflowsResponse", &[]).unwrap(), "{\n  \"workflows\": []\n}");
    }

    #[test]
    fn every_field_is_printed_in_declaration_order() {
        let workflow = Workflow {
            name: "w".into(),
            source: Some(ReplicationLocation { keyspace: "ks".into(), shards: vec!["-80".into()] }),
            max_v_replication_lag: i64::MAX,
            options: Some(WorkflowOptions {
                config: BTreeMap::from([("b".into(), "2".into()), ("a".into(), "1".into())]),
                sharded_auto_increment_handling: 7,
                ..WorkflowOptions::default()
            }),
            ..Workflow::default()
        };
        let bytes = GetWorkflowsResponse { workflows: vec![workflow] }.encode_to_vec();
        let want = r#"{
  "workflows": [
    {
      "name": "w",
      "source": {
        "keyspace": "ks",
        "shards": [
          "-80"
        ]
      },
      "target": null,
      "max_v_replication_lag": "9223372036854775807",
      "shard_streams": {},
      "workflow_type": "",
      "workflow_sub_type": "",
      "max_v_replication_transaction_lag": "0",
      "defer_secondary_keys": false,
      "options": {
        "tenant_id": "",
        "sharded_auto_increment_handling": 7,
        "shards": [],
        "config": {
          "a": "1",
          "b": "2"
        },
        "global_keyspace": "",
        "lookup_vindexes": []
      }
    }
  ]
}"#;
        assert_eq!(json("vtctldata.GetWorkflowsResponse", &bytes).unwrap(), want);
    }

    #[test]
    fn enums_are_names_and_bytes_are_base64() {
        let stream =
            Stream { tablet_types: vec![1, 3], tablet: Some(TabletAlias { cell: "z".into(), uid: 1 }), ..Stream::default() };
        let text = json("vtctldata.Workflow.Stream", &stream.encode_to_vec()).unwrap();
        assert!(text.contains("\"PRIMARY\",\n    \"RDONLY\""), "{text}");
        assert!(text.contains("\"tablet_selection_preference\": \"ANY\""), "{text}");
        let shard = Shard {
            key_range: Some(vtflow_planner::proto::topodata::KeyRange { start: vec![0x80], end: vec![] }),
            ..Shard::default()
        };
        let text = yaml("topodata.Shard", &shard.encode_to_vec()).unwrap();
        assert!(text.contains("start: gA==") && text.contains("end: ''"), "{text}");
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        assert!(
            json("vtctldata.GetWorkflowsResponse", &[0x0a])
                .unwrap_err()
                .to_string()
                .contains("no vtctldata.GetWorkflowsResponse")
        );
        assert!(matches!(json("no.Such", &[]), Err(PrintError::UnknownMessage(_))));
    }
}
