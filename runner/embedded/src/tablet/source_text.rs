//! A `BinlogSource` as tablets write it into the column `source`: protobuf's text format on one line, as Go prints it.
//!
//! Only the printing; reading is the planner's (`formats/binlog_source.rs`). Facts: `google.golang.org/protobuf/encoding/prototext`
//! (fields in their order, defaults left out, maps by key), and rows that tablets of v18 to v24 wrote.

use std::fmt::Write as _;

use vtflow_planner::proto::{
    binlogdata::{BinlogSource, CharsetConversion, Filter, OnDdlAction, Rule, filter::FieldEventMode},
    topodata::{KeyRange, TabletType},
};

/// The text of a source.
pub(crate) fn print(source: &BinlogSource) -> String {
    let mut out = Fields::default();
    out.text("keyspace", source.keyspace.as_bytes());
    out.text("shard", source.shard.as_bytes());
    out.name("tablet_type", source.tablet_type, TabletType::try_from(source.tablet_type).map(|kind| kind.as_str_name()).ok());
    if let Some(KeyRange { start, end }) = &source.key_range {
        let mut inner = Fields::default();
        inner.text("start", start);
        inner.text("end", end);
        out.message("key_range", &inner);
    }
    for table in &source.tables {
        out.always("tables", table.as_bytes());
    }
    if let Some(value) = &source.filter {
        out.message("filter", &filter(value));
    }
    out.name("on_ddl", source.on_ddl, OnDdlAction::try_from(source.on_ddl).map(|action| action.as_str_name()).ok());
    out.text("external_mysql", source.external_mysql.as_bytes());
    out.flag("stop_after_copy", source.stop_after_copy);
    out.text("external_cluster", source.external_cluster.as_bytes());
    out.text("source_time_zone", source.source_time_zone.as_bytes());
    out.text("target_time_zone", source.target_time_zone.as_bytes());
    out.0
}

fn filter(filter: &Filter) -> Fields {
    let mut out = Fields::default();
    for value in &filter.rules {
        out.message("rules", &rule(value));
    }
    let mode = FieldEventMode::try_from(filter.field_event_mode).map(|mode| mode.as_str_name()).ok();
    out.name("field_event_mode", filter.field_event_mode, mode);
    if filter.workflow_type != 0 {
        out.raw("workflow_type", &format!(":{}", filter.workflow_type));
    }
    out.text("workflow_name", filter.workflow_name.as_bytes());
    out
}

fn rule(rule: &Rule) -> Fields {
    let mut out = Fields::default();
    out.text("match", rule.r#match.as_bytes());
    out.text("filter", rule.filter.as_bytes());
    for (key, value) in &rule.convert_enum_to_text {
        out.entry("convert_enum_to_text", key, |entry| entry.always("value", value.as_bytes()));
    }
    for (key, CharsetConversion { from_charset, to_charset }) in &rule.convert_charset {
        let mut inner = Fields::default();
        inner.text("from_charset", from_charset.as_bytes());
        inner.text("to_charset", to_charset.as_bytes());
        out.entry("convert_charset", key, |entry| entry.message("value", &inner));
    }
    out.text("source_unique_key_columns", rule.source_unique_key_columns.as_bytes());
    out.text("target_unique_key_columns", rule.target_unique_key_columns.as_bytes());
    out.text("source_unique_key_target_columns", rule.source_unique_key_target_columns.as_bytes());
    for (key, value) in &rule.convert_int_to_enum {
        out.entry("convert_int_to_enum", key, |entry| entry.raw("value", &format!(":{value}")));
    }
    out.text("force_unique_key", rule.force_unique_key.as_bytes());
    out
}

/// The fields of a message, one space between them.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn raw(&mut self, name: &str, rest: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(name);
        self.0.push_str(rest);
    }

    fn text(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.always(name, value);
        }
    }

    fn always(&mut self, name: &str, value: &[u8]) {
        self.raw(name, &format!(":{}", quoted(value)));
    }

    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.raw(name, ":true");
        }
    }

    /// An enum by name, or by number when it has none.
    fn name(&mut self, name: &str, number: i32, known: Option<&str>) {
        if number != 0 {
            self.raw(name, &known.map_or_else(|| format!(":{number}"), |known| format!(":{known}")));
        }
    }

    fn message(&mut self, name: &str, inner: &Self) {
        self.raw(name, &format!(":{{{}}}", inner.0));
    }

    fn entry(&mut self, name: &str, key: &str, value: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        inner.always("key", key.as_bytes());
        value(&mut inner);
        self.message(name, &inner);
    }
}

fn quoted(value: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => out.extend(['\\', character]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\0'..='\x1f' | '\x7f' => {
                    let _ = write!(out, "\\x{:02x}", u32::from(character));
                }
                '\u{80}'..='\u{9f}' => {
                    let _ = write!(out, "\\u{:04x}", u32::from(character));
                }
                _ => out.push(character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use vtflow_planner::formats::binlog_source::parse;

    use super::*;

    #[test]
    fn what_tablets_wrote_is_printed_again() {
        for text in [
            r#"keyspace:"commerce" shard:"0" filter:{rules:{match:"t" filter:"select * from t where in_keyrange(id, 'k.hash', '-80')"}} on_ddl:EXEC_IGNORE"#,
            r#"keyspace:"a" shard:"-80" tablet_type:REPLICA key_range:{start:"\x80" end:"@"} tables:"x" tables:"" stop_after_copy:true"#,
            r#"filter:{rules:{match:"t" convert_enum_to_text:{key:"a" value:"'r','b'"} convert_enum_to_text:{key:"c" value:""} convert_charset:{key:"c" value:{from_charset:"latin1" to_charset:"utf8mb4"}} source_unique_key_columns:"id" convert_int_to_enum:{key:"e" value:true} force_unique_key:"PRIMARY"} field_event_mode:BEST_EFFORT workflow_type:5 workflow_name:"w"} external_mysql:"m" external_cluster:"c" source_time_zone:"US/Pacific" target_time_zone:"UTC""#,
            r#"keyspace:"\"\\\n\t\x01ü\u0085" filter:{}"#,
        ] {
            assert_eq!(print(&parse(text.as_bytes()).unwrap()), text);
        }
    }
}
