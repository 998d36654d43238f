//! The rows of several tablets as one table: the tablet first, then the columns, put together by name.
//!
//! Releases differ in columns and their order, so nothing is found by place. Text is decoded, what is not text is shown in
//! hexadecimal, and NULL, a column that a tablet lacks, and an empty text are three things.

use std::fmt::Write;

use vtflow_planner::{proto::vtflow::VExecResponse, sidecar::result::RowSet};

/// The rows of all targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultTable {
    /// Names of columns, without the tablet: those of the first target, then what others have besides. A name that a target
    /// has twice is there twice, the second as `name (2)`.
    pub columns: Vec<String>,
    /// By shard, then as the tablet sent them.
    pub rows: Vec<ResultRow>,
}

/// One row of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRow {
    /// The tablet's alias.
    pub tablet: String,
    /// Its shard.
    pub shard: String,
    /// One for each column.
    pub values: Vec<ResultValue>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultValue {
    /// This tablet has no such column.
    Missing,
    /// NULL.
    Null,
    /// An integer, as the tablet wrote it.
    Integer(String),
    /// Text.
    Text(String),
    /// Bytes that are no text: `0x` and their digits.
    Bytes(String),
}

/// Puts the results of all targets together. A target without a result (a dry run) has no rows.
///
/// # Errors
/// Which tablet's result cannot be read, and why.
pub fn table(response: VExecResponse) -> Result<ResultTable, String> {
    let mut table = ResultTable::default();
    for target in response.targets {
        let Some(result) = target.result else { continue };
        let set = RowSet::new(result).map_err(|error| format!("the result of {} cannot be read: {error}", target.tablet))?;
        let mut own: Vec<String> = Vec::new();
        for field in set.fields() {
            let name = String::from_utf8_lossy(&field.name).into_owned();
            let mut numbered = name.clone();
            let mut count = 1;
            while own.contains(&numbered) {
                count += 1;
                numbered = format!("{name} ({count})");
            }
            own.push(numbered);
        }
        for name in &own {
            if !table.columns.contains(name) {
                table.columns.push(name.clone());
            }
        }
        // Where each of the table's columns is in this result.
        let places: Vec<Option<usize>> = table.columns.iter().map(|name| own.iter().position(|column| column == name)).collect();
        for row in set.rows() {
            let value = |place: &Option<usize>| match place {
                None => ResultValue::Missing,
                Some(place) => value(set.kind(*place), row.at(*place)),
            };
            let values = places.iter().map(value).collect();
            table.rows.push(ResultRow { tablet: target.tablet.clone(), shard: target.shard.clone(), values });
        }
    }
    let width = table.columns.len();
    table.rows.iter_mut().for_each(|row| row.values.resize(width, ResultValue::Missing));
    Ok(table)
}

fn value(kind: i32, bytes: Option<&[u8]>) -> ResultValue {
    let Some(bytes) = bytes else { return ResultValue::Null };
    match std::str::from_utf8(bytes) {
        Ok(text) if kind & INTEGRAL != 0 && text.parse::<i128>().is_ok() => ResultValue::Integer(text.to_owned()),
        Ok(text) => ResultValue::Text(text.to_owned()),
        Err(_) => ResultValue::Bytes(bytes.iter().fold(String::from("0x"), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        })),
    }
}

/// The bit that integral types have in `query.Type`. Source: `query.proto:Flag.ISINTEGRAL`.
const INTEGRAL: i32 = 256;

#[cfg(test)]
mod tests {
    use super::{
        ResultValue::{Bytes, Integer, Missing, Null, Text},
        *,
    };
    use vtflow_planner::proto::{
        query::{Field, QueryResult, Row},
        vtflow::v_exec_response::Target,
    };

    fn target(tablet: &str, fields: &[(&str, i32)], values: &[Option<&[u8]>]) -> Target {
        let row = Row {
            lengths: values.iter().map(|value| value.map_or(-1, |value| i64::try_from(value.len()).unwrap())).collect(),
            values: values.iter().flatten().copied().flatten().copied().collect(),
        };
        let fields =
            fields.iter().map(|(name, kind)| Field { name: name.as_bytes().to_vec(), r#type: *kind, ..Field::default() });
        let result = QueryResult { fields: fields.collect(), rows: vec![row], ..QueryResult::default() };
        Target { tablet: tablet.into(), shard: "0".into(), result: Some(result), ..Target::default() }
    }

    #[test]
    fn columns_of_mixed_releases_are_put_together_by_name() {
        let old = target("a", &[("id", 265), ("message", 10262), ("pos", 10262)], &[Some(b"7"), None, Some(b"\xff\x00")]);
        let new = target("b", &[("options", 2078), ("pos", 10262), ("id", 265)], &[Some(b"{}"), Some(b""), Some(b"8")]);
        let dry = Target { tablet: "c".into(), ..Target::default() };
        let table = table(VExecResponse { targets: vec![old, new, dry] }).unwrap();
        assert_eq!(table.columns, ["id", "message", "pos", "options"]);
        assert_eq!(table.rows[0].values, [Integer("7".into()), Null, Bytes("0xff00".into()), Missing]);
        assert_eq!(table.rows[1].values, [Integer("8".into()), Missing, Text(String::new()), Text("{}".into())]);
        assert_eq!((table.rows.len(), table.rows[1].tablet.as_str()), (2, "b"));
    }

    #[test]
    fn a_column_that_comes_twice_is_there_twice() {
        let response = VExecResponse { targets: vec![target("a", &[("id", 265), ("id", 265)], &[Some(b"7"), Some(b"8")])] };
        let table = table(response).unwrap();
        assert_eq!(table.columns, ["id", "id (2)"]);
        assert_eq!(table.rows[0].values[1], ResultValue::Integer("8".into()));
    }

    #[test]
    fn a_result_that_contradicts_itself_is_named() {
        let mut bad = target("zone1-100", &[("id", 265)], &[Some(b"7")]);
        bad.result.as_mut().unwrap().rows[0].lengths.push(5);
        let error = table(VExecResponse { targets: vec![bad] }).unwrap_err();
        assert!(error.contains("zone1-100") && error.contains("2 values for 1 columns"), "{error}");
    }
}
