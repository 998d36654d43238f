//! The texts and bytes of cells: read, printed, read again; and the names, numbers and times in them.

use vtflow_embedded::fuzz::source_text;
use vtflow_planner::{
    formats::{binlog_source, options, position, quote::excerpt, tablet_types, text_format, time},
    fuzz, limits,
    proto::{binlogdata::BinlogSource, topodata::TabletType, vtctldata::WorkflowOptions},
    shell::{self, is_hidden},
    sidecar::name::SqlName,
    topo::names::{self, CellName, TabletName},
};

use crate::input::{Input, Output};

/// Which format, and a value of it.
pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let which = input.below(12);
    let value = input.rest();
    let text = String::from_utf8_lossy(value);
    match which {
        0 => source(value),
        1 => positions(value),
        2 => compressed(value),
        3 => workflow_options(&text),
        4 => times(&text),
        5 => numbers(&text),
        6 => types(&text),
        7 => drop(text_format::parse(value)),
        8 => words(&text),
        9 => names_of_things(&text),
        10 => excerpts(value),
        _ => several_options(&text),
    }
}

fn source(value: &[u8]) {
    let whole = binlog_source::parse(value);
    let short = fuzz::source(value);
    assert_eq!(short, whole, "read where it stands, and read whole");
    match whole {
        Ok(source) => {
            let printed = source_text(&source);
            let again = binlog_source::parse(printed.as_bytes());
            assert_eq!(again.as_ref(), Ok(&source), "{printed}");
            assert_eq!(fuzz::source(printed.as_bytes()), again, "{printed}");
        }
        Err(error) => said(&error.to_string()),
    }
}

/// What an error says is one short line.
fn said(text: &str) {
    assert!(!text.is_empty() && text.len() < 2_000, "{} bytes: {text}", text.len());
    assert!(!text.contains('\n'), "{text}");
}

fn positions(value: &[u8]) {
    let shown = position::as_stored(value);
    assert!(shown.len() <= limits::POSITION_BYTES.max(4 * limits::EXCERPT_BYTES + 3), "{} bytes", shown.len());
    match position::decode(value) {
        Ok(set) => {
            assert!(set.len() <= limits::POSITION_BYTES.max(2 * value.len()) + 64, "{} bytes", set.len());
            let plain = String::from_utf8_lossy(value);
            if let Some((flavor @ ("MySQL56" | "MariaDB" | "FilePos"), _)) = plain.split_once('/') {
                let again = position::decode(format!("{flavor}/{set}").as_bytes());
                assert_eq!(again, Ok(set), "{flavor}");
            }
        }
        Err(error) => said(&error.to_string()),
    }
}

/// What MySQL's `COMPRESS()` makes of a position reads as the position.
fn compressed(value: &[u8]) {
    let mut stored = u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    stored.extend(miniz_oxide::deflate::compress_to_vec_zlib(value, 1));
    if !value.is_empty() {
        assert_eq!(position::decode(&stored), position::decode(value));
    }
}

fn printed(options: &WorkflowOptions) -> String {
    serde_json::json!({
        "tenant_id": options.tenant_id,
        "sharded_auto_increment_handling": options.sharded_auto_increment_handling,
        "shards": options.shards,
        "config": options.config,
        "global_keyspace": options.global_keyspace,
        "lookup_vindexes": options.lookup_vindexes,
    })
    .to_string()
}

fn workflow_options(text: &str) {
    let mut read = None;
    match options::apply(&mut read, text) {
        Ok(()) => {
            if let Some(read) = &read {
                let mut again = None;
                options::apply(&mut again, &printed(read)).expect("what was printed");
                assert_eq!(again.as_ref(), Some(read));
            }
        }
        Err(error) => {
            assert_eq!(read, None);
            said(&error.to_string());
        }
    }
}

/// Texts one after the other, as of several streams, with `|` between.
fn several_options(text: &str) {
    let mut read = None;
    for part in text.split('|') {
        let before = read.clone();
        if options::apply(&mut read, part).is_err() {
            assert_eq!(read, before, "an error changes nothing");
        }
    }
}

fn times(text: &str) {
    match time::parse_datetime(text) {
        Ok(seconds) => {
            // Wed Feb  3 04:05:06 2021
            let printed = fuzz::ansic(seconds);
            let parts: Vec<&str> = printed.split_ascii_whitespace().collect();
            let [_, month, day, clock, year] = parts[..] else { panic!("{printed}") };
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month = months.iter().position(|name| *name == month).expect("a month") + 1;
            let again = format!("{year:0>4}-{month:02}-{day:0>2} {clock}");
            assert_eq!(time::parse_datetime(&again), Ok(seconds), "{text} is {printed}");
        }
        Err(reason) => said(&reason),
    }
    if let Some(seconds) = text.as_bytes().first_chunk::<8>() {
        let _ = fuzz::ansic(i64::from_le_bytes(*seconds));
    }
}

fn numbers(text: &str) {
    assert_eq!(fuzz::signed(text).ok(), text.parse::<i64>().ok(), "{text}");
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    assert_eq!(fuzz::unsigned(text, u64::MAX).ok(), text.parse::<u64>().ok().filter(|_| is_digits), "{text}");
    if let Ok(number) = fuzz::cast(text) {
        assert_eq!(fuzz::cast(&number.to_string()), Ok(number));
        assert_eq!(fuzz::signed(&number.to_string()), Ok(number));
    }
    for reason in [fuzz::signed(text).err(), fuzz::unsigned(text, 99).err(), fuzz::cast(text).err()].into_iter().flatten() {
        said(&reason);
    }
}

fn types(text: &str) {
    let (types, preference, error) = tablet_types::parse(text);
    if error.is_none() && !types.is_empty() {
        let names: Option<Vec<&str>> =
            types.iter().map(|kind| TabletType::try_from(*kind).ok().map(|kind| kind.as_str_name())).collect();
        let names = names.expect("types that there are");
        let front = if text.starts_with("in_order:") { "in_order:" } else { "" };
        assert_eq!(tablet_types::parse(&format!("{front}{}", names.join(","))), (types, preference, None), "{text}");
    }
}

/// A word as a shell would read it back, from what [`shell::quoted`] makes: plain, `'…'`, or `$'…'` with octal escapes.
fn unquoted(mut quoted: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while let Some(first) = quoted.chars().next() {
        if let Some(inside) = quoted.strip_prefix("$'") {
            let mut bytes = inside.bytes();
            let mut used = 0;
            loop {
                used += 1;
                match bytes.next()? {
                    b'\'' => break,
                    b'\\' => {
                        let next = bytes.next()?;
                        used += 1;
                        if next.is_ascii_digit() {
                            let (second, third) = (bytes.next()?, bytes.next()?);
                            used += 2;
                            let digit = |byte: u8| u32::from(byte - b'0');
                            out.push(u8::try_from(digit(next) * 64 + digit(second) * 8 + digit(third)).ok()?);
                        } else {
                            out.push(next);
                        }
                    }
                    byte => out.push(byte),
                }
            }
            quoted = &inside[used..];
        } else if let Some(inside) = quoted.strip_prefix('\'') {
            let (text, rest) = inside.split_once('\'')?;
            out.extend(text.as_bytes());
            quoted = rest;
        } else if let Some(rest) = quoted.strip_prefix('\\') {
            let next = rest.chars().next()?;
            out.extend(next.to_string().as_bytes());
            quoted = &rest[next.len_utf8()..];
        } else {
            let is_harmless = first.is_ascii_alphanumeric() || "_-./:@%+,".contains(first);
            assert!(is_harmless, "a shell may read {first:?} otherwise");
            out.extend(first.to_string().as_bytes());
            quoted = &quoted[first.len_utf8()..];
        }
    }
    Some(out)
}

fn words(text: &str) {
    let quoted = shell::quoted(text);
    assert!(!quoted.chars().any(is_hidden), "{quoted:?}");
    assert!(!quoted.is_empty());
    assert_eq!(unquoted(&quoted).as_deref(), Some(text.as_bytes()), "{quoted}");
    let shown = vtflow_screen::printable(text);
    assert!(!shown.chars().any(is_hidden), "{shown:?}");
}

fn names_of_things(text: &str) {
    if let Ok(name) = TabletName::parse(text) {
        assert_eq!(name.to_string(), text);
        let path = format!("tablets/{text}/Tablet");
        assert_eq!(TabletName::of_record(&path), Some(Ok(name)));
    }
    if let Ok(alias) = names::parse_alias(text) {
        let printed = names::alias_text(Some(&alias));
        assert_eq!(names::parse_alias(&printed), Ok(alias), "{text}");
    }
    if let Ok(cell) = CellName::parse(text) {
        assert_eq!(cell.as_str(), text);
        assert!(!text.contains(['/', ' ', '\'']) && !text.chars().any(is_hidden) && text != "." && text != "..");
    }
    if let Ok(name) = SqlName::parse(text) {
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(&byte)));
        assert_eq!(name.quoted(), format!("`{text}`"));
    }
    if names::check_shard(text).is_ok() {
        assert!(!text.contains('/') && !text.chars().any(char::is_control) && text != "..");
    }
    if let Ok(bytes) = names::hex(text) {
        let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('?'));
        assert_eq!(bytes.iter().flat_map(digits).collect::<String>(), text.to_ascii_lowercase());
    }
}

fn excerpts(value: &[u8]) {
    let shown = excerpt(value);
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    assert!(shown.len() <= 6 * limits::EXCERPT_BYTES + 3, "{} bytes", shown.len());
}

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<(String, Vec<u8>)> = Vec::new();
    let mut put = |which: u8, name: &str, value: &[u8]| {
        let Output(mut seed) = Output::default().byte(which);
        seed.extend(value);
        let number = seeds.len();
        seeds.push((format!("{name}-{number}"), seed));
    };
    // What the recorded tablets have in these columns, each once.
    let mut seen = std::collections::BTreeSet::new();
    for value in recorded_cells() {
        if !seen.insert(value.clone()) {
            continue;
        }
        match value.0.as_str() {
            "source" => put(0, "source", value.1.as_bytes()),
            "pos" | "stop_pos" => {
                put(1, "pos", value.1.as_bytes());
                put(2, "compressed", value.1.as_bytes());
            }
            "options" => put(3, "options", value.1.as_bytes()),
            "tablet_types" => put(6, "types", value.1.as_bytes()),
            "created_at" => put(4, "time", value.1.as_bytes()),
            _ => {}
        }
    }
    let every = BinlogSource {
        tables: vec!["a".into()],
        filter: Some(vtflow_planner::proto::binlogdata::Filter {
            rules: vec![vtflow_planner::proto::binlogdata::Rule {
                convert_enum_to_text: [("color".to_owned(), "'red'".to_owned())].into(),
                convert_int_to_enum: [("e".to_owned(), true)].into(),
                convert_charset: [("c".to_owned(), vtflow_planner::proto::binlogdata::CharsetConversion::default())].into(),
                ..Default::default()
            }],
            ..Default::default()
        }),
        stop_after_copy: true,
        ..Default::default()
    };
    put(0, "source", source_text(&every).as_bytes());
    put(0, "source", br#"keyspace: 's', shard: "0"; filter { rules { match: "t1" filter: "select " '1' } }; on_ddl: 2"#);
    put(0, "source", br#"keyspace:"s"  shard:"0"  filter:<rules:<match:"t1"  filter:"select 1" > >  on_ddl:EXEC "#);
    for pos in ["MariaDB/0-1-2,1-2-3", "FilePos/vt-bin.000001:4", "MySQL56/14b68925-696a-11ea-aee7-fec597a91f5e:1-3:7,"] {
        put(1, "pos", pos.as_bytes());
    }
    put(3, "options", br#"{"tenant_id":"1","shards":["a",null],"config":{"a":"b"},"sharded_auto_increment_handling":2}"#);
    put(11, "options", br#"{"tenant_id":"1"}|null|{"config":{"a":null}}|{"shards":["x"]}"#);
    for time in ["2024-02-29 23:59:59.123", "0000-01-01 0:00:00", "9999-12-31 00:00:00"] {
        put(4, "time", time.as_bytes());
    }
    for number in ["-9223372036854775808", "18446744073709551615", " -10 ", "+7"] {
        put(5, "number", number.as_bytes());
    }
    put(6, "types", b"in_order:REPLICA,primary,MASTER");
    put(7, "text", br#"a{b:[1,<c:"\x41\u00e9">]} # x"#);
    for word in ["it's", "$(reboot)", "--x", "a\u{202e}b\\"] {
        put(8, "word", word.as_bytes());
    }
    for name in ["zone1-0000000100", "-80", "80-c0", "_vt$1", "customer"] {
        put(9, "name", name.as_bytes());
    }
    put(10, "excerpt", "é\u{7f}\"\\".repeat(20).as_bytes());
    seeds
}

/// The texts of the recorded tablets' rows, by column.
fn recorded_cells() -> Vec<(String, String)> {
    let mut cells = Vec::new();
    let snapshots = crate::world::folder().join("../snapshots");
    for name in ["odd-rows", "movetables-copying", "mixed-releases"] {
        let snapshot = vtflow_embedded::Snapshot::load(&snapshots.join(name)).expect("a recorded cluster");
        for table in snapshot.tablets.values().flat_map(|tablet| tablet.sidecar.values()) {
            for row in &table.rows {
                for (column, cell) in table.columns.iter().zip(row) {
                    if let vtflow_embedded::Cell::Text(text) = cell
                        && text.len() < 1_000
                    {
                        cells.push((column.name.clone(), text.clone()));
                    }
                }
            }
        }
    }
    cells
}
