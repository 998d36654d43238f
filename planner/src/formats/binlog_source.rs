//! Column `source`: what a stream reads, a `binlogdata.BinlogSource` in protobuf text format.
//!
//! It knows the names and types of that message and nothing of the format ([`crate::formats::text_format`]). Unknown fields are left
//! out when they have a value, for a newer release wrote them; anything else that is wrong is an error with Go's text.
//!
//! Facts: `proto/binlogdata.proto` of Vitess, v10 (`fieldEventMode`) to v24; `prototext.Unmarshal` in
//! `go/vt/vttablet/tabletmanager/rpc_vreplication.go`; `google.golang.org/protobuf/encoding/prototext/decode.go`.

use crate::{
    formats::{
        RowError,
        quote::excerpt,
        text_format::{self, Fault, Field, Message, Scalar, Value},
    },
    proto::{
        binlogdata::{BinlogSource, CharsetConversion, Filter, OnDdlAction, Rule, filter::FieldEventMode},
        topodata::{KeyRange, TabletType},
    },
};

/// Reads a source in either of the two dialects that Vitess wrote. Strings that are not UTF-8 get U+FFFD. An empty text is an
/// empty source.
///
/// # Errors
/// The text is not in the format, a word stands without a value, or a known field's value is of another type. The reason is
/// Go's: `proto: (line 1:1): unknown field: x`.
pub fn parse(text: &[u8]) -> Result<BinlogSource, RowError> {
    let (message, broken) = text_format::parse(text);
    source(&message).and_then(|source| if broken.is_some() { Err(None) } else { Ok(source) }).map_err(|fault| {
        let reason = fault.or(broken).map_or_else(String::new, |fault| fault.describe(text));
        RowError::new("source", reason, text)
    })
}

/// `Err(None)`: the value is not there because the text breaks off, which the format's reader has said already.
type Read<T> = Result<T, Option<Fault>>;

fn source(message: &Message<'_>) -> Read<BinlogSource> {
    let mut out = BinlogSource::default();
    let mut seen = Seen::default();
    for field in &message.fields {
        match field.name {
            "keyspace" => out.keyspace = string(seen.scalar(field, 1)?)?,
            "shard" => out.shard = string(seen.scalar(field, 2)?)?,
            "tablet_type" => out.tablet_type = enumeration(seen.scalar(field, 3)?, tablet_type)?,
            "key_range" => out.key_range = Some(key_range(seen.message(field, 4)?)?),
            "tables" => each(separated(field)?, &mut |value| {
                out.tables.push(string(scalar(value)?)?);
                Ok(())
            })?,
            "filter" => out.filter = Some(filter(seen.message(field, 6)?)?),
            "on_ddl" => out.on_ddl = enumeration(seen.scalar(field, 7)?, |name| OnDdlAction::from_str_name(name).map(i32::from))?,
            "external_mysql" => out.external_mysql = string(seen.scalar(field, 8)?)?,
            "stop_after_copy" => out.stop_after_copy = boolean(seen.scalar(field, 9)?)?,
            "external_cluster" => out.external_cluster = string(seen.scalar(field, 10)?)?,
            "source_time_zone" => out.source_time_zone = string(seen.scalar(field, 11)?)?,
            "target_time_zone" => out.target_time_zone = string(seen.scalar(field, 12)?)?,
            _ => unknown(field)?,
        }
    }
    Ok(out)
}

fn key_range(message: &Message<'_>) -> Read<KeyRange> {
    let mut out = KeyRange::default();
    let mut seen = Seen::default();
    for field in &message.fields {
        match field.name {
            "start" => out.start = bytes(seen.scalar(field, 1)?)?.to_vec(),
            "end" => out.end = bytes(seen.scalar(field, 2)?)?.to_vec(),
            _ => unknown(field)?,
        }
    }
    Ok(out)
}

fn filter(message: &Message<'_>) -> Read<Filter> {
    let mut out = Filter::default();
    let mut seen = Seen::default();
    for field in &message.fields {
        match field.name {
            "rules" => each(present(field)?, &mut |value| {
                out.rules.push(rule(inner(value)?)?);
                Ok(())
            })?,
            // The second is its name up to v13.
            "field_event_mode" | "fieldEventMode" => {
                let mode = |name: &str| FieldEventMode::from_str_name(name).map(i32::from);
                out.field_event_mode = enumeration(seen.scalar(field, 2)?, mode)?;
            }
            "workflow_type" => {
                let scalar = seen.scalar(field, 3)?;
                let value = scalar.integer().and_then(|value| i64::try_from(value).ok());
                out.workflow_type = value.ok_or_else(|| Some(wrong_type(scalar, "int64")))?;
            }
            "workflow_name" => out.workflow_name = string(seen.scalar(field, 4)?)?,
            _ => unknown(field)?,
        }
    }
    Ok(out)
}

fn rule(message: &Message<'_>) -> Read<Rule> {
    let mut out = Rule::default();
    let mut seen = Seen::default();
    for field in &message.fields {
        match field.name {
            "match" => out.r#match = string(seen.scalar(field, 1)?)?,
            "filter" => out.filter = string(seen.scalar(field, 2)?)?,
            "convert_enum_to_text" => each(present(field)?, &mut |value| {
                let (key, value) = entry(inner(value)?, |field| string(scalar(separated(field)?)?))?;
                out.convert_enum_to_text.insert(key, value);
                Ok(())
            })?,
            "convert_charset" => each(present(field)?, &mut |value| {
                let (key, value) = entry(inner(value)?, |field| charset_conversion(inner(present(field)?)?))?;
                out.convert_charset.insert(key, value);
                Ok(())
            })?,
            "source_unique_key_columns" => out.source_unique_key_columns = string(seen.scalar(field, 5)?)?,
            "target_unique_key_columns" => out.target_unique_key_columns = string(seen.scalar(field, 6)?)?,
            "source_unique_key_target_columns" => out.source_unique_key_target_columns = string(seen.scalar(field, 7)?)?,
            "convert_int_to_enum" => each(present(field)?, &mut |value| {
                let (key, value) = entry(inner(value)?, |field| boolean(scalar(separated(field)?)?))?;
                out.convert_int_to_enum.insert(key, value);
                Ok(())
            })?,
            "force_unique_key" => out.force_unique_key = string(seen.scalar(field, 9)?)?,
            _ => unknown(field)?,
        }
    }
    Ok(out)
}

fn charset_conversion(message: &Message<'_>) -> Read<CharsetConversion> {
    let mut out = CharsetConversion::default();
    let mut seen = Seen::default();
    for field in &message.fields {
        match field.name {
            "from_charset" => out.from_charset = string(seen.scalar(field, 1)?)?,
            "to_charset" => out.to_charset = string(seen.scalar(field, 2)?)?,
            _ => unknown(field)?,
        }
    }
    Ok(out)
}

/// A map's entry; what it leaves out is the type's default.
fn entry<T: Default>(message: &Message<'_>, value: impl Fn(&Field<'_>) -> Read<T>) -> Read<(String, T)> {
    let mut out = (None, None);
    for field in &message.fields {
        let repeated = || Some(at(field.at, format!("map entry \"{}\" cannot be repeated", field.name)));
        match field.name {
            "key" if out.0.is_some() => return Err(repeated()),
            "key" => out.0 = Some(string(scalar(separated(field)?)?)?),
            "value" if out.1.is_some() => return Err(repeated()),
            "value" => out.1 = Some(value(field)?),
            _ => unknown(field)?,
        }
    }
    Ok((out.0.unwrap_or_default(), out.1.unwrap_or_default()))
}

/// Which of a message's fields were there already, by number.
#[derive(Default)]
struct Seen(u32);

impl Seen {
    fn scalar<'t, 'a>(&mut self, field: &'t Field<'a>, number: u32) -> Read<&'t Scalar<'a>> {
        let value = separated(field);
        if has_separator(field) {
            self.once(field, number)?;
        }
        scalar(value?)
    }

    fn message<'t, 'a>(&mut self, field: &'t Field<'a>, number: u32) -> Read<&'t Message<'a>> {
        self.once(field, number)?;
        inner(present(field)?)
    }

    fn once(&mut self, field: &Field<'_>, number: u32) -> Read<()> {
        if self.0 & 1 << number != 0 {
            return Err(Some(at(field.at, format!("non-repeated field \"{}\" is repeated", field.name))));
        }
        self.0 |= 1 << number;
        Ok(())
    }
}

fn unknown(field: &Field<'_>) -> Read<()> {
    // Without a colon only a message or a list can be a value: otherwise these are two words, not a field.
    match &field.value {
        Some(Value::Message(..) | Value::List(..)) => Ok(()),
        Some(Value::Scalar(_)) if field.has_separator => Ok(()),
        None if field.has_separator => Err(None),
        _ => Err(Some(at(field.at, format!("unknown field: {}", excerpt(field.name.as_bytes()))))),
    }
}

fn has_separator(field: &Field<'_>) -> bool {
    field.has_separator
}

fn separated<'t, 'a>(field: &'t Field<'a>) -> Read<&'t Value<'a>> {
    if !has_separator(field) {
        return Err(Some(syntax(field.at, "missing field separator :".to_owned())));
    }
    present(field)
}

fn present<'t, 'a>(field: &'t Field<'a>) -> Read<&'t Value<'a>> {
    field.value.as_ref().ok_or(None)
}

/// A repeated field's values: those of a list, or the single one.
fn each(value: &Value<'_>, read: &mut dyn FnMut(&Value<'_>) -> Read<()>) -> Read<()> {
    match value {
        Value::List(_, values) => values.iter().try_for_each(read),
        single => read(single),
    }
}

fn scalar<'t, 'a>(value: &'t Value<'a>) -> Read<&'t Scalar<'a>> {
    match value {
        Value::Scalar(scalar) => Ok(scalar),
        Value::Message(offset, _) => Err(Some(syntax(*offset, "unexpected token: {".to_owned()))),
        Value::List(offset, _) => Err(Some(syntax(*offset, "unexpected token: [".to_owned()))),
    }
}

fn inner<'t, 'a>(value: &'t Value<'a>) -> Read<&'t Message<'a>> {
    match value {
        Value::Message(_, message) => Ok(message),
        Value::List(offset, _) => Err(Some(syntax(*offset, "unexpected token: [".to_owned()))),
        Value::Scalar(scalar) => Err(Some(syntax(scalar.at, format!("unexpected token: {}", excerpt_raw(scalar))))),
    }
}

fn bytes<'t>(scalar: &'t Scalar<'_>) -> Read<&'t [u8]> {
    scalar.text.as_deref().ok_or_else(|| Some(wrong_type(scalar, "bytes")))
}

fn string(scalar: &Scalar<'_>) -> Read<String> {
    let text = scalar.text.as_deref().ok_or_else(|| Some(wrong_type(scalar, "string")))?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn boolean(scalar: &Scalar<'_>) -> Read<bool> {
    match (scalar.word(), scalar.integer()) {
        (Some("t" | "true" | "True"), _) | (_, Some(1)) => Ok(true),
        (Some("f" | "false" | "False"), _) | (_, Some(0)) => Ok(false),
        _ => Err(Some(wrong_type(scalar, "bool"))),
    }
}

fn enumeration(scalar: &Scalar<'_>, by_name: impl Fn(&str) -> Option<i32>) -> Read<i32> {
    let number = || scalar.integer().and_then(|number| i32::try_from(number).ok());
    scalar.word().and_then(by_name).or_else(number).ok_or_else(|| Some(wrong_type(scalar, "enum")))
}

fn tablet_type(name: &str) -> Option<i32> {
    match name {
        // Names of v10 and v11.
        "MASTER" => Some(TabletType::Primary.into()),
        "BATCH" => Some(TabletType::Rdonly.into()),
        _ => TabletType::from_str_name(name).map(i32::from),
    }
}

fn wrong_type(scalar: &Scalar<'_>, kind: &str) -> Fault {
    at(scalar.at, format!("invalid value for {kind} type: {}", excerpt_raw(scalar)))
}

/// A scalar as it stands in the text, which is escaped already.
fn excerpt_raw(scalar: &Scalar<'_>) -> String {
    match std::str::from_utf8(scalar.raw) {
        Ok(raw) if raw.len() <= crate::limits::EXCERPT_BYTES && !raw.contains(char::is_control) => raw.to_owned(),
        _ => excerpt(scalar.raw),
    }
}

fn at(offset: usize, reason: String) -> Fault {
    Fault { at: Some(offset), is_syntax: false, reason }
}

fn syntax(offset: usize, reason: String) -> Fault {
    Fault { at: Some(offset), is_syntax: true, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule_of(table: &str, query: &str) -> Rule {
        Rule { r#match: table.to_owned(), filter: query.to_owned(), ..Rule::default() }
    }

    fn source_of(rules: Vec<Rule>) -> BinlogSource {
        BinlogSource {
            keyspace: "s".to_owned(),
            shard: "0".to_owned(),
            filter: Some(Filter { rules, ..Filter::default() }),
            ..BinlogSource::default()
        }
    }

    /// Case MX-4, and the ways to write the same.
    #[test]
    fn both_dialects_and_any_spacing_are_one_source() {
        let want = BinlogSource { on_ddl: OnDdlAction::Exec.into(), ..source_of(vec![rule_of("t1", "select 1")]) };
        for text in [
            r#"keyspace:"s"  shard:"0"  filter:<rules:<match:"t1"  filter:"select 1" > >  on_ddl:EXEC "#,
            r#"keyspace:"s" shard:"0" filter:{rules:{match:"t1" filter:"select 1"}} on_ddl:EXEC"#,
            r#"keyspace: 's', shard: "0"; filter { rules { match: "t1" filter: "select " '1' } }; on_ddl: 2"#,
            r#"on_ddl:EXEC filter:{rules:[{match:"t1" filter:"select 1"}]} # end
               shard:"0" keyspace:"s""#,
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(want.clone()), "{text}");
        }
    }

    #[test]
    fn every_field_is_read() {
        let text = r#"keyspace:"k" shard:"-80" tablet_type:MASTER key_range:{start:"\x40" end:"\200"} tables:"a" tables:["b","c"]
            filter:{rules:{match:"m" filter:"f" convert_enum_to_text:{key:"color" value:"'red','blue'"}
            convert_charset:{key:"c" value:{from_charset:"latin1" to_charset:"utf8mb4"}} source_unique_key_columns:"a,b"
            target_unique_key_columns:"c" source_unique_key_target_columns:"d" convert_int_to_enum:{key:"e" value:true}
            convert_int_to_enum:{key:"f"} force_unique_key:"PRIMARY"} fieldEventMode:BEST_EFFORT workflow_type:4
            workflow_name:"w"} on_ddl:EXEC_IGNORE external_mysql:"x" stop_after_copy:true external_cluster:"y"
            source_time_zone:"US/Pacific" target_time_zone:"UTC""#;
        let got = parse(text.as_bytes()).unwrap();
        let filter = got.filter.clone().unwrap();
        let rule = filter.rules[0].clone();
        assert_eq!((got.tablet_type, got.on_ddl, got.stop_after_copy), (1, 3, true));
        assert_eq!(got.key_range, Some(KeyRange { start: vec![0x40], end: vec![0x80] }));
        assert_eq!(got.tables, ["a", "b", "c"]);
        assert_eq!(
            [got.external_mysql, got.external_cluster, got.source_time_zone, got.target_time_zone],
            ["x", "y", "US/Pacific", "UTC"]
        );
        assert_eq!((filter.field_event_mode, filter.workflow_type, filter.workflow_name.as_str()), (1, 4, "w"));
        assert_eq!(rule.convert_enum_to_text["color"], "'red','blue'");
        assert_eq!(rule.convert_charset["c"].to_charset, "utf8mb4");
        assert_eq!((rule.convert_int_to_enum["e"], rule.convert_int_to_enum["f"]), (true, false));
        assert_eq!([rule.source_unique_key_columns, rule.target_unique_key_columns], ["a,b", "c"]);
        assert_eq!([rule.source_unique_key_target_columns, rule.force_unique_key], ["d", "PRIMARY"]);
    }

    #[test]
    fn what_a_newer_release_wrote_is_skipped() {
        let text = r#"keyspace:"s" new_text:"x" new_flag:true new_message:{a:{b:1}} new_list:[1,2] 17:5 [x.y]:{} shard:"0"
            filter:{new:<a:1> rules:{match:"t" new_map{key:"a" value:"b"} filter:"q" convert_enum_to_text:{key:"k" value:"v" new:1}}}"#;
        let mut rule = rule_of("t", "q");
        rule.convert_enum_to_text.insert("k".to_owned(), "v".to_owned());
        assert_eq!(parse(text.as_bytes()), Ok(source_of(vec![rule])));
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        for text in [&b"keyspace:\"a\xffb\""[..], br#"keyspace:"a\377b""#, br#"keyspace:"a\xffb""#] {
            assert_eq!(parse(text).unwrap().keyspace, "a\u{fffd}b");
        }
        assert_eq!(parse(b""), Ok(BinlogSource::default()));
    }

    #[test]
    fn tablet_types_of_every_release_are_known() {
        for (name, want) in [("MASTER", 1), ("PRIMARY", 1), ("REPLICA", 2), ("BATCH", 3), ("RDONLY", 3), ("8", 8)] {
            assert_eq!(parse(format!("tablet_type:{name}").as_bytes()).unwrap().tablet_type, want, "{name}");
        }
    }

    #[test]
    fn errors_have_gos_text_and_place() {
        for (text, want) in [
            ("garbage", "proto: (line 1:1): unknown field: garbage"),
            ("garbage source text", "proto: (line 1:1): unknown field: garbage"),
            (r#"keyspace:"k" garbage"#, "proto: (line 1:14): unknown field: garbage"),
            (r#"keyspace "k""#, "proto: syntax error (line 1:1): missing field separator :"),
            ("keyspace", "proto: syntax error (line 1:1): missing field separator :"),
            ("keyspace:", "proto: unexpected EOF"),
            ("keyspace:{}", "proto: syntax error (line 1:10): unexpected token: {"),
            ("keyspace:[\"a\"]", "proto: syntax error (line 1:10): unexpected token: ["),
            ("keyspace:7", "proto: (line 1:10): invalid value for string type: 7"),
            ("filter:\"x\"", "proto: syntax error (line 1:8): unexpected token: \"x\""),
            ("filter:{rules:\"x\"}", "proto: syntax error (line 1:15): unexpected token: \"x\""),
            ("filter:{rules:{match:\"x\"}", "proto: unexpected EOF"),
            ("filter:{rules:{match:\"x\"}>", "proto: syntax error (line 1:26): mismatched close character '>'"),
            ("on_ddl:NEVER", "proto: (line 1:8): invalid value for enum type: NEVER"),
            ("on_ddl:\"EXEC\"", "proto: (line 1:8): invalid value for enum type: \"EXEC\""),
            ("stop_after_copy:yes", "proto: (line 1:17): invalid value for bool type: yes"),
            (
                "filter:{workflow_type:9223372036854775808}",
                "proto: (line 1:23): invalid value for int64 type: 9223372036854775808",
            ),
            ("shard:\"a\" shard:\"b\"", "proto: (line 1:11): non-repeated field \"shard\" is repeated"),
            ("filter:{} filter:{}", "proto: (line 1:11): non-repeated field \"filter\" is repeated"),
            (
                "filter:{rules:{convert_int_to_enum:{key:\"a\" key:\"b\"}}}",
                "proto: (line 1:45): map entry \"key\" cannot be repeated",
            ),
            (
                "filter:{rules:{convert_int_to_enum:{value:true value:false}}}",
                "proto: (line 1:48): map entry \"value\" cannot be repeated",
            ),
            ("new:", "proto: unexpected EOF"),
            ("on_ddl:'a\tb'", r"proto: (line 1:8): invalid value for enum type: 'a\tb'"),
            (
                &format!("keyspace:{}", "1".repeat(60)),
                &format!("proto: (line 1:10): invalid value for string type: {}", "1".repeat(60)),
            ),
            (
                &format!("keyspace:{}", "1".repeat(61)),
                &format!("proto: (line 1:10): invalid value for string type: {}…", "1".repeat(60)),
            ),
            // The first mistake counts, not the worst.
            ("on_ddl:NEVER shard:\"", "proto: (line 1:8): invalid value for enum type: NEVER"),
        ] {
            assert_eq!(parse(text.as_bytes()).map_err(|error| error.reason), Err(want.to_owned()), "{text}");
        }
        let error = parse(b"garbage").unwrap_err();
        assert_eq!(error.to_string(), "column source: proto: (line 1:1): unknown field: garbage in \"garbage\"");
    }
}
