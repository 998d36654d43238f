//! A stream's source as text, as Go prints the message: what goes into column `source`.
//!
//! Facts: `google.golang.org/protobuf/encoding/prototext` (fields in the order of their numbers, defaults left out, one space between);
//! which fields there are: `proto/binlogdata.proto`.

use std::fmt::Write as _;

use crate::{
    formats::text_format::{self, Message, Value},
    proto::{
        binlogdata::{BinlogSource, Filter, OnDdlAction, Rule, filter::FieldEventMode},
        topodata::TabletType,
    },
};

/// All of it.
pub(crate) fn print(source: &BinlogSource) -> String {
    let mut fields = vec![string("keyspace", &source.keyspace), string("shard", &source.shard)];
    fields.push(number("tablet_type", source.tablet_type, |of| TabletType::try_from(of).ok().map(|of| of.as_str_name())));
    if let Some(range) = &source.key_range {
        fields.push(message("key_range", &[bytes("start", &range.start), bytes("end", &range.end)]));
    }
    fields.extend(source.tables.iter().map(|table| text("tables", table)));
    if let Some(of) = &source.filter {
        fields.push(format!("filter:{{{}}}", filter(of)));
    }
    fields.push(number("on_ddl", source.on_ddl, |of| OnDdlAction::try_from(of).ok().map(|of| of.as_str_name())));
    fields.push(string("external_mysql", &source.external_mysql));
    fields.push(if source.stop_after_copy { "stop_after_copy:true".to_owned() } else { String::new() });
    fields.push(string("external_cluster", &source.external_cluster));
    fields.push(string("source_time_zone", &source.source_time_zone));
    fields.push(string("target_time_zone", &source.target_time_zone));
    joined(&fields)
}

/// What is in a filter's braces.
pub(crate) fn filter(filter: &Filter) -> String {
    let mut fields: Vec<String> = filter.rules.iter().map(|of| format!("rules:{{{}}}", rule(of))).collect();
    let mode = |of| FieldEventMode::try_from(of).ok().map(|of| of.as_str_name());
    fields.push(number("field_event_mode", filter.field_event_mode, mode));
    fields.push(if filter.workflow_type == 0 { String::new() } else { format!("workflow_type:{}", filter.workflow_type) });
    fields.push(string("workflow_name", &filter.workflow_name));
    joined(&fields)
}

/// What is in a rule's braces.
pub(crate) fn rule(rule: &Rule) -> String {
    let mut fields = vec![string("match", &rule.r#match), string("filter", &rule.filter)];
    for (key, value) in &rule.convert_enum_to_text {
        fields.push(format!("convert_enum_to_text:{{{} {}}}", text("key", key), text("value", value)));
    }
    for (key, value) in &rule.convert_charset {
        let value = joined(&[string("from_charset", &value.from_charset), string("to_charset", &value.to_charset)]);
        fields.push(format!("convert_charset:{{{} value:{{{value}}}}}", text("key", key)));
    }
    fields.push(string("source_unique_key_columns", &rule.source_unique_key_columns));
    fields.push(string("target_unique_key_columns", &rule.target_unique_key_columns));
    fields.push(string("source_unique_key_target_columns", &rule.source_unique_key_target_columns));
    for (key, value) in &rule.convert_int_to_enum {
        fields.push(format!("convert_int_to_enum:{{{} value:{value}}}", text("key", key)));
    }
    fields.push(string("force_unique_key", &rule.force_unique_key));
    joined(&fields)
}

/// A field that has a text, also an empty one.
pub(crate) fn text(field: &str, value: &str) -> String {
    let mut out = format!("{field}:\"");
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing to a String cannot fail.
            c if c < ' ' || c == '\u{7f}' => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether a text has fields that [`print`] would leave out: those of a release that this build does not know.
pub(crate) fn has_unknown(original: &[u8], printed: &str) -> bool {
    let count = |text: &[u8]| values(&text_format::parse(text).0);
    count(original) != count(printed.as_bytes())
}

/// How many single values are in a message, at any depth.
fn values(message: &Message<'_>) -> usize {
    fn of(value: &Value<'_>) -> usize {
        match value {
            Value::Message(_, inner) => values(inner),
            Value::List(_, list) => list.iter().map(of).sum(),
            Value::Scalar(_) => 1,
        }
    }
    message.fields.iter().filter_map(|field| field.value.as_ref()).map(of).sum()
}

fn string(field: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { text(field, value) }
}

fn bytes(field: &str, value: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(*byte)),
        b' '..=b'~' => char::from(*byte).to_string(),
        other => format!("\\x{other:02x}"),
    };
    if value.is_empty() { String::new() } else { format!("{field}:\"{}\"", value.iter().map(one).collect::<String>()) }
}

fn number(field: &str, value: i32, name: impl Fn(i32) -> Option<&'static str>) -> String {
    match (value, name(value)) {
        (0, _) => String::new(),
        (_, Some(name)) => format!("{field}:{name}"),
        (value, None) => format!("{field}:{value}"),
    }
}

fn message(field: &str, fields: &[String]) -> String {
    format!("{field}:{{{}}}", joined(fields))
}

fn joined(fields: &[String]) -> String {
    fields.iter().filter(|field| !field.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::binlog_source::parse;

    #[test]
    fn what_is_printed_is_read_as_it_was() {
        let text = r#"keyspace:"k" shard:"-80" tablet_type:REPLICA key_range:{start:"@" end:"\x80"} tables:"a" tables:"b" filter:{rules:{match:"m" filter:"select \"x\\y\"\n\x01é" convert_enum_to_text:{key:"color" value:"'red'"} convert_charset:{key:"c" value:{from_charset:"latin1" to_charset:"utf8mb4"}} source_unique_key_columns:"a,b" target_unique_key_columns:"c" source_unique_key_target_columns:"d" convert_int_to_enum:{key:"e" value:true} force_unique_key:"PRIMARY"} rules:{match:"n"} field_event_mode:BEST_EFFORT workflow_type:4 workflow_name:"w"} on_ddl:EXEC_IGNORE external_mysql:"x" stop_after_copy:true external_cluster:"y" source_time_zone:"US/Pacific" target_time_zone:"UTC""#;
        let source = parse(text.as_bytes()).unwrap();
        assert_eq!(print(&source), text);
        assert!(!has_unknown(text.as_bytes(), &print(&source)));
        let spaced = text.replace(' ', "  ").replace("select  ", "select ");
        assert!(!has_unknown(spaced.as_bytes(), &print(&source)));
    }

    #[test]
    fn what_is_not_set_is_left_out_and_what_has_no_name_is_a_number() {
        assert_eq!(print(&BinlogSource::default()), "");
        let of = Filter { field_event_mode: 77, ..Filter::default() };
        let source = BinlogSource { tablet_type: 88, on_ddl: 99, filter: Some(of), ..BinlogSource::default() };
        assert_eq!(print(&source), "tablet_type:88 filter:{field_event_mode:77} on_ddl:99");
    }

    #[test]
    fn whatever_is_not_printable_is_escaped() {
        assert_eq!(text("f", "\"\\ \n\r\t\u{1}\u{1f}\u{7f}~é"), r#"f:"\"\\ \n\r\t\x01\x1f\x7f~é""#);
        assert_eq!(bytes("f", b"\"\\ ~\x1f\x7f\xff"), r#"f:"\"\\ ~\x1f\x7f\xff""#);
    }

    #[test]
    fn a_field_of_a_later_release_is_noticed() {
        let text = br#"keyspace:"k" filter:{rules:{match:"t" filter:"" later:7}}"#;
        assert!(has_unknown(text, &print(&parse(text).unwrap())));
    }
}
