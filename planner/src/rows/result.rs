//! A `query.QueryResult` as a table of checked rows, each value found by its column's name.
//!
//! It knows nothing of what the columns mean. A row whose lengths do not fit the fields or the bytes makes the whole result
//! unreadable: vtctld's own reader panics there.
//!
//! Facts: `go/sqltypes/proto3.go` (row encoding), `go/sqltypes/value.go` (which values are integers), `query.proto`.

use std::collections::BTreeMap;

use prost::Message as _;

use super::{RowError, number};
use crate::proto::query::{Field, QueryResult, Row as WireRow};
use crate::proto::tabletmanagerdata::{ExecuteFetchAsDbaResponse, VReplicationExecResponse};

/// The rows that a tablet answered, every one with exactly one value for each column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowSet {
    fields: Vec<Field>,
    /// Column name to position; the last column of a name.
    positions: BTreeMap<Vec<u8>, usize>,
    rows: Vec<WireRow>,
}

/// One row of a [`RowSet`].
#[derive(Clone, Debug)]
pub struct Row<'a> {
    set: &'a RowSet,
    values: Vec<Option<&'a [u8]>>,
}

impl RowSet {
    /// Reads the answer to `VReplicationExec`. An answer without a result has no columns and no rows.
    ///
    /// # Errors
    /// The bytes are no such message, or a row does not fit the fields or its own bytes.
    pub fn from_vreplication_exec(response: &[u8]) -> Result<Self, RowError> {
        let response = VReplicationExecResponse::decode(response).map_err(|error| undecodable(&error, response))?;
        Self::new(response.result.unwrap_or_default())
    }

    /// Reads the answer to `ExecuteFetchAsDba`. An answer without a result has no columns and no rows.
    ///
    /// # Errors
    /// As [`RowSet::from_vreplication_exec`].
    pub fn from_execute_fetch(response: &[u8]) -> Result<Self, RowError> {
        let response = ExecuteFetchAsDbaResponse::decode(response).map_err(|error| undecodable(&error, response))?;
        Self::new(response.result.unwrap_or_default())
    }

    /// Reads a result as it stands in a message of our own.
    ///
    /// # Errors
    /// A row does not fit the fields or its own bytes.
    pub fn new(result: QueryResult) -> Result<Self, RowError> {
        for (index, row) in result.rows.iter().enumerate() {
            check(row, result.fields.len())
                .map_err(|why| RowError::new(RowError::RESULT, format!("row {index}: {why}"), &row.values))?;
        }
        let positions = result.fields.iter().enumerate().map(|(position, field)| (field.name.clone(), position)).collect();
        Ok(Self { fields: result.fields, positions, rows: result.rows })
    }

    /// Whether there is a column of that name. Also true for a result without rows: tablets always send the columns.
    pub fn has_column(&self, name: &str) -> bool {
        self.positions.contains_key(name.as_bytes())
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows in the order of the result.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|row| {
            let mut rest = row.values.as_slice();
            let values = row.lengths.iter().map(|length| {
                let (value, tail) = rest.split_at_checked(usize::try_from(*length).ok()?)?;
                rest = tail;
                Some(value)
            });
            Row { set: self, values: values.collect() }
        })
    }

    /// What the result says of its columns, in its order, duplicates included.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
}

impl Row<'_> {
    /// The value at a place, by the order of the fields: `None` for NULL, and for a place that there is not.
    pub fn at(&self, place: usize) -> Option<&[u8]> {
        self.values.get(place).copied().flatten()
    }

    /// The value of a column: `None` if there is no such column, `Some(None)` for NULL. Of two columns with one name the last
    /// one counts, as for every reader of Vitess.
    pub fn value(&self, column: &str) -> Option<Option<&[u8]>> {
        let position = *self.set.positions.get(column.as_bytes())?;
        self.values.get(position).copied()
    }

    /// The value as text: `""` for NULL and for a column that is not there; U+FFFD for what is not UTF-8.
    pub fn text(&self, column: &str) -> String {
        self.value(column).flatten().map_or_else(String::new, |value| String::from_utf8_lossy(value).into_owned())
    }

    /// The value as integer; `None` if there is no such column.
    ///
    /// # Errors
    /// The value is NULL, its column is of no integral type, or its text is no 64-bit integer. The texts are those of
    /// `go/sqltypes/value.go:ToInt64`.
    pub fn integer(&self, column: &'static str) -> Result<Option<i64>, RowError> {
        let Some(position) = self.set.positions.get(column.as_bytes()) else { return Ok(None) };
        let kind = self.set.fields.get(*position).map_or(0, |field| field.r#type);
        let value = self.values.get(*position).copied().flatten();
        let Some(value) = value.filter(|_| kind & INTEGRAL != 0) else {
            return Err(RowError::new(column, "Cannot convert value to desired type", value.unwrap_or(b"NULL")));
        };
        number::signed(&String::from_utf8_lossy(value)).map(Some).map_err(|why| RowError::new(column, why, value))
    }
}

fn undecodable(error: &prost::DecodeError, response: &[u8]) -> RowError {
    RowError::new(RowError::RESULT, error.to_string(), response)
}

fn check(row: &WireRow, columns: usize) -> Result<(), String> {
    if row.lengths.len() != columns {
        return Err(format!("{} values for {columns} columns", row.lengths.len()));
    }
    // Every negative length is NULL, as in MakeRowTrusted. The sum cannot overflow: it is wide enough for 2^64 lengths.
    let said: u128 = row.lengths.iter().map(|length| u128::try_from(*length).unwrap_or(0)).sum();
    if said != row.values.len() as u128 {
        return Err(format!("lengths say {said} bytes, there are {}", row.values.len()));
    }
    Ok(())
}

/// The bit that integral types have in `query.Type`. Source: `query.proto:Flag.ISINTEGRAL`.
const INTEGRAL: i32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const INT64: i32 = 265;
    const VARBINARY: i32 = 10262;

    fn response(fields: &[(&str, i32)], rows: Vec<WireRow>) -> Vec<u8> {
        let fields = fields
            .iter()
            .map(|(name, kind)| Field { name: name.as_bytes().to_vec(), r#type: *kind, ..Field::default() })
            .collect();
        VReplicationExecResponse { result: Some(QueryResult { fields, rows, ..QueryResult::default() }) }.encode_to_vec()
    }

    fn row(lengths: &[i64], values: &[u8]) -> WireRow {
        WireRow { lengths: lengths.to_vec(), values: values.to_vec() }
    }

    #[test]
    fn values_are_found_by_name_and_the_last_duplicate_counts() {
        let fields = [("id", INT64), ("note", VARBINARY), ("id", INT64), ("none", VARBINARY)];
        let set = RowSet::from_vreplication_exec(&response(&fields, vec![row(&[1, 0, 2, -1], b"712")])).unwrap();
        let row = set.rows().next().unwrap();
        assert_eq!(row.value("id"), Some(Some(&b"12"[..])));
        assert_eq!(row.value("note"), Some(Some(&b""[..])));
        assert_eq!(row.value("none"), Some(None));
        assert_eq!(row.value("nothing"), None);
        assert_eq!((row.text("none"), row.text("nothing"), row.text("id")), (String::new(), String::new(), "12".to_owned()));
        assert!(set.has_column("note") && !set.has_column("Note"));
        assert_eq!((set.len(), set.is_empty(), set.fields().len()), (1, false, 4));
    }

    #[test]
    fn lengths_must_agree_with_fields_and_values() {
        for (name, wire, want) in [
            ("fewer values than columns", row(&[1], b"1"), "row 0: 1 values for 2 columns"),
            ("more values than columns", row(&[1, 1, 1], b"123"), "row 0: 3 values for 2 columns"),
            ("lengths overrun the bytes", row(&[1, 5], b"123"), "row 0: lengths say 6 bytes, there are 3"),
            ("bytes left over", row(&[1, 1], b"123"), "row 0: lengths say 2 bytes, there are 3"),
            ("huge length", row(&[i64::MAX, i64::MAX], b"1"), "row 0: lengths say 18446744073709551614 bytes, there are 1"),
        ] {
            let error = RowSet::from_vreplication_exec(&response(&[("a", INT64), ("b", INT64)], vec![wire])).unwrap_err();
            assert_eq!((error.column, error.reason.as_str()), (RowError::RESULT, want), "{name}");
        }
        assert!(RowSet::from_vreplication_exec(b"\xff\xff").unwrap_err().to_string().starts_with("column (result): "));
    }

    #[test]
    fn integers_need_an_integral_type_and_a_value() {
        let fields = [("good", INT64), ("text", VARBINARY), ("null", INT64), ("odd", INT64)];
        let set = RowSet::from_vreplication_exec(&response(&fields, vec![row(&[2, 1, -1, 3], b"-41abc")])).unwrap();
        let row = set.rows().next().unwrap();
        let refused = "Cannot convert value to desired type";
        assert_eq!(row.integer("good"), Ok(Some(-4)));
        assert_eq!(row.integer("nothing"), Ok(None));
        assert_eq!(row.integer("text").unwrap_err().reason, refused);
        assert_eq!(row.integer("null").unwrap_err().reason, refused);
        let odd = row.integer("odd").unwrap_err();
        assert_eq!(odd.to_string(), "column odd: strconv.ParseInt: parsing \"abc\": invalid syntax in \"abc\"");
    }

    #[test]
    fn an_answer_without_a_result_has_no_columns() {
        for set in [RowSet::from_vreplication_exec(b""), RowSet::from_execute_fetch(b"")] {
            let set = set.unwrap();
            assert!(set.is_empty() && set.fields().is_empty() && set.rows().next().is_none());
        }
    }
}
