//! The MySQL functions that SQLite lacks or does otherwise, registered under `vt_<name>`.
//!
//! The rewriting (`rewrite.rs`) is what calls them; nothing here parses SQL. JSON functions take each value after its
//! kind: see [`Kind`].

use std::{fmt::Write as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rusqlite::{
    Connection, Error, Result,
    functions::{Aggregate, Context, FunctionFlags},
    types::{Value, ValueRef},
};
use vtflow_planner::Timestamp;

use super::{
    clock::{self, Clock},
    json,
};

/// What a JSON function has to know of an argument: SQLite's values do not tell JSON or binary from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number, a text or NULL: becomes the JSON value of the same sort.
    Plain,
    /// Already JSON text.
    Json,
    /// A binary string: becomes the text `base64:type<N>:<base64>`, N being MySQL's column type.
    Binary(u8),
}

impl Kind {
    /// As the argument in front of the value.
    pub(crate) fn to_argument(self) -> i64 {
        match self {
            Self::Plain => 0,
            Self::Json => 1,
            Self::Binary(number) => i64::from(number),
        }
    }
}

/// The longest that a call of `sleep` takes, in seconds.
const LONGEST_SLEEP: f64 = 1.0;

/// Makes the functions known to a connection.
///
/// # Errors
///
/// Those of SQLite; none is expected.
pub(crate) fn register(connection: &Connection, clock: Clock) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    let changing = FunctionFlags::SQLITE_UTF8;
    connection.create_scalar_function("vt_now", 1, changing, move |context| {
        Ok(clock::to_text(clock.now(), u32::try_from(context.get::<i64>(0)?).unwrap_or(0)))
    })?;
    connection.create_scalar_function("vt_now_number", 0, changing, move |_| {
        let digits: String = clock::to_text(clock.now(), 0).chars().filter(char::is_ascii_digit).collect();
        Ok(digits.parse::<i64>().unwrap_or(0))
    })?;
    connection.create_scalar_function("vt_unix_timestamp", -1, changing, move |context| {
        if context.is_empty() {
            return Ok(Some(clock.now().seconds));
        }
        Ok(text(context, 0).map(|text| clock::from_text(&text).map_or(0, |at| at.seconds)))
    })?;
    // Seconds. What sleeps for long is ended by the tablet's limit on statements, but only between two rows.
    connection.create_scalar_function("vt_sleep", 1, changing, |context| {
        let seconds = context.get::<Option<f64>>(0)?.filter(|seconds| *seconds >= 0.0);
        let seconds = seconds.ok_or_else(|| user("Incorrect arguments to sleep."))?;
        std::thread::sleep(Duration::from_secs_f64(seconds.min(LONGEST_SLEEP)));
        Ok(0)
    })?;
    connection.create_scalar_function("vt_from_unixtime", 1, flags, |context| {
        Ok(context.get::<Option<i64>>(0)?.map(|seconds| clock::to_text(Timestamp { seconds, nanos: 0 }, 0)))
    })?;
    connection.create_scalar_function("vt_date_add", 3, flags, |context| date_add(context))?;
    connection.create_scalar_function("vt_left", 2, flags, |context| {
        let length = usize::try_from(context.get::<i64>(1)?).unwrap_or(0);
        Ok(text(context, 0).map(|text| text.chars().take(length).collect::<String>()))
    })?;
    connection.create_scalar_function("vt_concat", -1, flags, |context| Ok(concat(context)))?;
    connection.create_scalar_function("vt_compress", 1, flags, |context| Ok(bytes(context, 0).map(|raw| compress(&raw))))?;
    connection.create_scalar_function("vt_uncompress", 1, flags, |context| {
        Ok(bytes(context, 0).and_then(|raw| uncompress(&raw)).map(text_or_blob))
    })?;
    connection.create_scalar_function("vt_hex", 1, flags, |context| {
        if let ValueRef::Integer(number) = context.get_raw(0) {
            return Ok(Some(format!("{number:X}")));
        }
        Ok(bytes(context, 0).map(|raw| hex(&raw)))
    })?;
    connection.create_scalar_function("vt_like", 3, flags, |context| {
        let (Some(value), Some(pattern)) = (text(context, 0), text(context, 1)) else { return Ok(None) };
        let (value, pattern) =
            if context.get::<i64>(2)? == 1 { (value.to_lowercase(), pattern.to_lowercase()) } else { (value, pattern) };
        Ok(Some(like(&value.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>())))
    })?;
    register_json(connection, flags)
}

fn register_json(connection: &Connection, flags: FunctionFlags) -> Result<()> {
    connection.create_scalar_function("vt_json", 1, flags, |context| match text(context, 0) {
        None => Ok(None),
        Some(text) => Ok(Some(json::print(&parse_json(&text)?))),
    })?;
    connection.create_scalar_function("vt_json_array", -1, flags, |context| {
        let values = (0..context.len() / 2).map(|index| json_value(context, index * 2)).collect::<Result<Vec<_>>>()?;
        Ok(json::print(&serde_json::Value::Array(values)))
    })?;
    connection.create_scalar_function("vt_json_object", -1, flags, |context| {
        let mut entries = serde_json::Map::new();
        for index in (0..context.len() / 4).map(|pair| pair * 4) {
            let key = text(context, index + 1).ok_or_else(|| user("JSON documents may not contain NULL member names."))?;
            entries.insert(key, json_value(context, index + 2)?);
        }
        Ok(json::print(&serde_json::Value::Object(entries)))
    })?;
    connection.create_scalar_function("vt_json_set", -1, flags, |context| {
        let Some(document) = text(context, 1) else { return Ok(None) };
        let mut document = parse_json(&document)?;
        for index in (2..context.len().saturating_sub(3)).step_by(4) {
            let path = text(context, index + 1).unwrap_or_default();
            if !json::set(&mut document, &path, json_value(context, index + 2)?) {
                return Err(user("Invalid JSON path expression."));
            }
        }
        Ok(Some(json::print(&document)))
    })?;
    connection.create_scalar_function("vt_json_remove", -1, flags, |context| {
        let Some(document) = text(context, 1) else { return Ok(None) };
        let mut document = parse_json(&document)?;
        for index in (2..context.len()).step_by(2) {
            if !json::remove(&mut document, &text(context, index + 1).unwrap_or_default()) {
                return Err(user("Invalid JSON path expression."));
            }
        }
        Ok(Some(json::print(&document)))
    })?;
    connection.create_scalar_function("vt_json_extract", 4, flags, |context| {
        let (Some(document), Some(path)) = (text(context, 1), text(context, 3)) else { return Ok(None) };
        Ok(json::extract(&parse_json(&document)?, &path).map(|value| json::print(&value)))
    })?;
    connection.create_scalar_function("vt_json_unquote", 2, flags, |context| {
        Ok(text(context, 1).map(|text| match serde_json::from_str(&text) {
            Ok(serde_json::Value::String(inner)) => inner,
            _ => text,
        }))
    })?;
    connection.create_aggregate_function("vt_json_arrayagg", 2, flags, ArrayOf)
}

struct ArrayOf;

impl Aggregate<Vec<serde_json::Value>, Option<String>> for ArrayOf {
    fn init(&self, _: &mut Context<'_>) -> Result<Vec<serde_json::Value>> {
        Ok(Vec::new())
    }

    fn step(&self, context: &mut Context<'_>, values: &mut Vec<serde_json::Value>) -> Result<()> {
        values.push(json_value(context, 0)?);
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, values: Option<Vec<serde_json::Value>>) -> Result<Option<String>> {
        Ok(values.map(|values| json::print(&serde_json::Value::Array(values))))
    }
}

/// The value at `index + 1`, whose kind stands at `index`.
fn json_value(context: &Context<'_>, index: usize) -> Result<serde_json::Value> {
    let raw = context.get_raw(index + 1);
    if matches!(raw, ValueRef::Null) {
        return Ok(serde_json::Value::Null);
    }
    Ok(match context.get::<i64>(index)? {
        0 => match raw {
            ValueRef::Integer(number) => number.into(),
            ValueRef::Real(number) => number.into(),
            _ => text(context, index + 1).map_or(serde_json::Value::Null, Into::into),
        },
        1 => parse_json(&text(context, index + 1).unwrap_or_default())?,
        number => {
            let encoded = BASE64.encode(bytes(context, index + 1).unwrap_or_default());
            format!("base64:type{number}:{encoded}").into()
        }
    })
}

fn parse_json(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|error| user(&format!("Invalid JSON text: \"{error}\".")))
}

fn user(text: &str) -> Error {
    Error::UserFunctionError(text.into())
}

/// An argument as text; `None` for NULL.
fn text(context: &Context<'_>, index: usize) -> Option<String> {
    match context.get_raw(index) {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(raw) | ValueRef::Blob(raw) => Some(String::from_utf8_lossy(raw).into_owned()),
    }
}

fn bytes(context: &Context<'_>, index: usize) -> Option<Vec<u8>> {
    match context.get_raw(index) {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string().into_bytes()),
        ValueRef::Real(number) => Some(number.to_string().into_bytes()),
        ValueRef::Text(raw) | ValueRef::Blob(raw) => Some(raw.to_vec()),
    }
}

/// Text where the bytes are UTF-8, so that comparisons with literals work; a blob elsewhere.
pub(crate) fn text_or_blob(raw: Vec<u8>) -> Value {
    match String::from_utf8(raw) {
        Ok(text) => Value::Text(text),
        Err(error) => Value::Blob(error.into_bytes()),
    }
}

fn concat(context: &Context<'_>) -> Value {
    let mut joined = Vec::new();
    for index in 0..context.len() {
        let Some(part) = bytes(context, index) else { return Value::Null };
        joined.extend(part);
    }
    text_or_blob(joined)
}

fn hex(raw: &[u8]) -> String {
    raw.iter().fold(String::with_capacity(raw.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02X}");
        out
    })
}

/// MySQL's COMPRESS: the length, four bytes little-endian, then a zlib stream. Nothing for nothing.
fn compress(raw: &[u8]) -> Value {
    let Ok(length) = u32::try_from(raw.len()) else { return Value::Null };
    if raw.is_empty() {
        return Value::Text(String::new());
    }
    let mut out = length.to_le_bytes().to_vec();
    out.extend(miniz_oxide::deflate::compress_to_vec_zlib(raw, 6));
    Value::Blob(out)
}

fn uncompress(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.is_empty() {
        return Some(Vec::new());
    }
    let (length, stream) = raw.split_first_chunk::<4>()?;
    let limit = u32::from_le_bytes(*length) as usize;
    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(stream, limit).ok().filter(|out| out.len() == limit)
}

/// `vt_date_add(time, count, unit)`.
fn date_add(context: &Context<'_>) -> Result<Option<String>> {
    let (Some(at), Some(unit)) = (text(context, 0), text(context, 2)) else { return Ok(None) };
    let count = match context.get_raw(1) {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(count) => count,
        _ => text(context, 1).and_then(|text| text.trim().parse().ok()).unwrap_or(0),
    };
    let digits = at.split_once('.').map_or(0, |(_, fraction)| u32::try_from(fraction.len()).unwrap_or(0));
    let Some(at) = clock::from_text(&at) else { return Ok(None) };
    let unit = unit.to_ascii_lowercase();
    let seconds = match unit.trim_end_matches('s') {
        "second" => count,
        "minute" => count.saturating_mul(60),
        "hour" => count.saturating_mul(3600),
        "day" => count.saturating_mul(86_400),
        "week" => count.saturating_mul(604_800),
        "month" => return Ok(Some(clock::to_text(clock::add_months(at, count), digits))),
        "year" => return Ok(Some(clock::to_text(clock::add_months(at, count.saturating_mul(12)), digits))),
        _ => return Err(user(&format!("interval unit {unit} is not known here"))),
    };
    let moved = Timestamp { seconds: at.seconds.saturating_add(seconds), nanos: at.nanos };
    Ok(Some(clock::to_text(moved, digits)))
}

/// MySQL's LIKE with `\` as the escape. Only the last `%` is ever tried again, so that time stays within value times pattern.
fn like(mut value: &[char], mut pattern: &[char]) -> bool {
    let mut retry: Option<(&[char], &[char])> = None;
    loop {
        let step = match (pattern, value) {
            (['%', rest @ ..], _) => {
                retry = Some((value, rest));
                Some((value, rest))
            }
            ([], []) => return true,
            (['_', rest @ ..], [_, value @ ..]) => Some((value, rest)),
            (['\\', wanted, rest @ ..], [found, value @ ..]) if wanted == found => Some((value, rest)),
            (['\\', _, ..], _) => None,
            ([wanted, rest @ ..], [found, value @ ..]) if wanted == found => Some((value, rest)),
            _ => None,
        };
        (value, pattern) = match (step, retry) {
            (Some(step), _) => step,
            (None, Some(([_, value @ ..], rest))) => {
                retry = Some((value, rest));
                (value, rest)
            }
            (None, _) => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_knows_its_wildcards() {
        let check = |value: &str, pattern: &str| like(&value.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>());
        assert!(check("abc", "a%"));
        assert!(check("abc", "_b_"));
        assert!(!check("abc", "a"));
        assert!(check("a%c", r"a\%c"));
        assert!(!check("abc", r"a\%c"));
    }

    #[test]
    fn what_is_compressed_can_be_uncompressed() {
        let Value::Blob(packed) = compress(b"MySQL56/a:1-5") else { panic!("not a blob") };
        assert_eq!(packed.get(..4), Some(&[13, 0, 0, 0][..]));
        assert_eq!(uncompress(&packed).as_deref(), Some(&b"MySQL56/a:1-5"[..]));
        assert_eq!(uncompress(b"plain"), None);
    }
}
