//! A `query.QueryResult` as a table of checked rows, each value found by its column's name.
//!
//! It knows nothing of what the columns mean. A row whose lengths do not fit the fields or the bytes makes the whole result
//! unreadable: vtctld's own reader panics there.
//!
//! The answer's bytes are kept as they came, and every value is a slice of them: nothing is copied, however many rows there are.
//!
//! Facts: `go/sqltypes/proto3.go` (row encoding), `go/sqltypes/value.go` (which values are integers), `query.proto`.

use std::borrow::Cow;

use prost::Message as _;

use crate::{
    formats::{RowError, number},
    limits,
    proto::{
        query::{Field, QueryResult, Row as WireRow},
        tabletmanagerdata::{ExecuteFetchAsDbaResponse, VReplicationExecResponse},
    },
    sidecar::result_layout::{self, Cell, Field as FieldAt, Layout},
    wire,
};

/// The rows that a tablet answered, every one with exactly one value for each column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowSet {
    /// What [`RowSet::layout`] points into.
    bytes: Vec<u8>,
    layout: Layout,
    /// The places of the columns, by name; of one name, in their order.
    by_name: Vec<usize>,
}

/// One row of a [`RowSet`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    set: &'a RowSet,
    cells: &'a [Cell],
    /// Its values one behind the other as text, if they are known to be one, and where that begins.
    text: Option<(usize, &'a str)>,
}

/// A column of one result, looked up once for all its rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    /// `None`: there is no such column.
    place: Option<usize>,
    is_integral: bool,
}

impl Column {
    pub(crate) fn name(self) -> &'static str {
        self.name
    }

    /// Whether the result has it.
    pub(crate) fn is_there(self) -> bool {
        self.place.is_some()
    }
}

impl RowSet {
    /// Reads the answer to a select by `VReplicationExec`.
    ///
    /// # Errors
    /// The bytes are no such message, or one without a result or columns: a tablet that has no rows names the columns all the
    /// same. Or there are more rows than a tablet answers, or a row does not fit the fields or its own bytes.
    pub fn from_vreplication_exec(response: &[u8]) -> Result<Self, RowError> {
        Self::taken_from_vreplication_exec(response.to_vec())
    }

    /// The same, of bytes that are the reader's own: they are not copied.
    ///
    /// # Errors
    /// As [`RowSet::from_vreplication_exec`].
    pub(crate) fn taken_from_vreplication_exec(response: Vec<u8>) -> Result<Self, RowError> {
        Self::read(response, |response| VReplicationExecResponse::decode(response).map(|response| response.result))
    }

    /// Reads the answer to a select by `ExecuteFetchAsDba`.
    ///
    /// # Errors
    /// As [`RowSet::from_vreplication_exec`].
    pub fn from_execute_fetch(response: &[u8]) -> Result<Self, RowError> {
        Self::read(response.to_vec(), |response| ExecuteFetchAsDbaResponse::decode(response).map(|response| response.result))
    }

    /// Both responses have their result in field 1.
    fn read(
        response: Vec<u8>,
        decode: impl FnOnce(&[u8]) -> Result<Option<QueryResult>, prost::DecodeError>,
    ) -> Result<Self, RowError> {
        if let Some(layout) = result_layout::of_response(&response) {
            return Ok(Self::laid_out(response, layout));
        }
        // Whatever is out of the ordinary is decoded in full: it is valid all the same, or the error says what is wrong.
        check_size(&response)?;
        let result = decode(&response).map_err(|error| undecodable(&error, &response))?;
        Self::new(answered(result)?)
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
        let result = QueryResult { fields: result.fields, rows: result.rows, ..QueryResult::default() }.encode_to_vec();
        let layout = result_layout::of_result(&result);
        let layout = layout.ok_or_else(|| RowError::new(RowError::RESULT, "too large to be read", b""))?;
        Ok(Self::laid_out(result, layout))
    }

    /// Rows whose values have been found by somebody else.
    pub(super) fn laid_out(bytes: Vec<u8>, layout: Layout) -> Self {
        let mut by_name: Vec<usize> = (0..layout.fields.len()).collect();
        by_name.sort_by_key(|place| layout.fields.get(*place).map(|field| field.name(&bytes)));
        Self { bytes, layout, by_name }
    }

    /// Whether there is a column of that name. Also true for a result without rows: tablets always send the columns.
    pub fn has_column(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.layout.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many columns there are, duplicates included.
    pub fn width(&self) -> usize {
        self.layout.fields.len()
    }

    /// The rows in the order of the result.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> + DoubleEndedIterator {
        let width = self.width();
        (0..self.len()).map(move |row| {
            let cells = self.layout.cells.get(row * width..(row + 1) * width).unwrap_or_default();
            Row { set: self, cells, text: None }
        })
    }

    /// What the result says of its columns, in its order, duplicates included.
    pub fn fields(&self) -> Vec<Field> {
        // They have been looked through, and are known to be fields.
        self.layout.fields.iter().map(|field| Field::decode(field.bytes(&self.bytes)).unwrap_or_default()).collect()
    }

    /// The type of the column at a place, as in `query.Type`; 0 where there is none.
    pub fn kind(&self, place: usize) -> i32 {
        self.layout.fields.get(place).map_or(0, |field| field.kind)
    }

    /// A column by its name; of two with one name the last one, as for every reader of Vitess.
    pub(crate) fn column(&self, name: &'static str) -> Column {
        let place = self.place(name);
        Column { name, place, is_integral: place.is_some_and(|place| self.kind(place) & INTEGRAL != 0) }
    }

    fn place(&self, name: &str) -> Option<usize> {
        let name_at = |place: &usize| self.layout.fields.get(*place).map(|field: &FieldAt| field.name(&self.bytes));
        let after = self.by_name.partition_point(|place| name_at(place) <= Some(name.as_bytes()));
        let place = self.by_name.get(after.checked_sub(1)?)?;
        (name_at(place) == Some(name.as_bytes())).then_some(*place)
    }
}

impl<'a> Row<'a> {
    /// The result that it is of.
    pub(crate) fn set(&self) -> &'a RowSet {
        self.set
    }

    /// The same row, its values looked through at once: that they are UTF-8 is faster known of all together.
    pub(crate) fn looked_through(self) -> Self {
        let begin = self.cells.iter().find_map(|cell| cell.place()).map(|place| place.start);
        let end = self.cells.iter().rev().find_map(|cell| cell.place()).map(|place| place.end);
        let text = begin.zip(end).and_then(|(begin, end)| Some((begin, str::from_utf8(self.set.bytes.get(begin..end)?).ok()?)));
        Self { text, ..self }
    }

    /// The value at a place, by the order of the fields: `None` for NULL, and for a place that there is not.
    pub fn at(&self, place: usize) -> Option<&'a [u8]> {
        self.cells.get(place)?.value(&self.set.bytes)
    }

    /// The value of a column: `None` if there is no such column, `Some(None)` for NULL. Of two columns with one name the last
    /// one counts, as for every reader of Vitess.
    pub fn value(&self, column: &str) -> Option<Option<&'a [u8]>> {
        self.set.place(column).map(|place| self.at(place))
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
        self.integer_of(self.set.column(column))
    }

    /// As [`Row::value`]; `None` for NULL, too.
    #[inline]
    pub(crate) fn value_of(&self, column: Column) -> Option<&'a [u8]> {
        self.at(column.place?)
    }

    /// As [`Row::text`], borrowed where it is UTF-8.
    #[inline]
    pub(crate) fn text_of(&self, column: Column) -> Cow<'a, str> {
        if let Some(text) = self.looked_through_at(column) {
            return Cow::Borrowed(text);
        }
        let value = self.value_of(column).unwrap_or_default();
        // The check of the whole is faster than the search for what is wrong.
        str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed)
    }

    /// The value where it is a part of the row's text.
    #[inline]
    fn looked_through_at(&self, column: Column) -> Option<&'a str> {
        let (begin, text) = self.text?;
        let place = self.cells.get(column.place?)?.place()?;
        text.get(place.start.checked_sub(begin)?..place.end.checked_sub(begin)?)
    }

    /// As [`Row::integer_of`], where the value is such a one that nothing can be wrong with it: nearly always.
    #[inline]
    pub(crate) fn plain_of(&self, column: Column) -> Option<i64> {
        number::plain(self.value_of(column)?).filter(|_| column.is_integral)
    }

    /// As [`Row::integer`].
    pub(crate) fn integer_of(&self, column: Column) -> Result<Option<i64>, RowError> {
        let Some(place) = column.place else { return Ok(None) };
        let value = self.at(place);
        let Some(value) = value.filter(|_| column.is_integral) else {
            return Err(RowError::new(column.name, "Cannot convert value to desired type", value.unwrap_or(b"NULL")));
        };
        if let Some(plain) = number::plain(value) {
            return Ok(Some(plain));
        }
        number::signed(&String::from_utf8_lossy(value)).map(Some).map_err(|why| RowError::new(column.name, why, value))
    }
}

/// The result of a select. Without rows it has its columns; one without columns is no answer to a select at all, and must not look
/// as if there were no rows.
///
/// # Errors
/// There is no result, or it has no columns.
fn answered(result: Option<QueryResult>) -> Result<QueryResult, RowError> {
    let missing =
        |what: &str| RowError::new(RowError::RESULT, format!("the answer has no {what}: not even that there are no rows"), b"");
    let result = result.ok_or_else(|| missing("result"))?;
    if result.fields.is_empty() { Err(missing("columns")) } else { Ok(result) }
}

/// Counts before anything is decoded: a row of one byte becomes a hundred in memory.
fn check_size(response: &[u8]) -> Result<(), RowError> {
    let (mut columns, mut rows) = (0, 0);
    let mut count = |result| {
        wire::each(result, |(number, _)| match number {
            1 => columns += 1,
            4 => rows += 1,
            _ => {}
        })
    };
    let mut counted = Ok(());
    // Field 1 of both responses is the result; one that is there twice is one, put together.
    let walked = wire::each(response, |field| {
        if let (1, Some(result), true) = (field.0, wire::content(field), counted.is_ok()) {
            counted = count(result);
        }
    });
    walked.and(counted).map_err(|error| undecodable(&error, response))?;
    for (what, found, limit) in [("columns", columns, limits::COLUMNS), ("rows", rows, limits::TABLET_ROWS)] {
        if found > limit {
            return Err(RowError::new(RowError::RESULT, format!("{found} {what}: a tablet answers at most {limit}"), b""));
        }
    }
    Ok(())
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
pub(crate) mod tests {
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

    /// What a tablet answers: columns with `#` in front are integers.
    pub(crate) fn answer(columns: &[&str], rows: &[Vec<String>]) -> crate::contract::Answer {
        let fields: Vec<_> =
            columns.iter().map(|name| name.strip_prefix('#').map_or((*name, VARBINARY), |name| (name, INT64))).collect();
        let length = |value: &String| i64::try_from(value.len()).unwrap();
        let row = |values: &Vec<String>| row(&values.iter().map(length).collect::<Vec<_>>(), values.concat().as_bytes());
        crate::contract::Answer::Called(response(&fields, rows.iter().map(row).collect()))
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

    /// What recorded tablets of five releases sent for a select without rows has its columns, always.
    #[test]
    fn an_answer_without_columns_is_not_one_without_rows() {
        let result = |result| VReplicationExecResponse { result: Some(result) }.encode_to_vec();
        for (name, bytes, want) in [
            ("zero bytes", Vec::new(), "the answer has no result: not even that there are no rows"),
            ("no result", vec![0x12, 0], "the answer has no result: not even that there are no rows"),
            ("an empty result", result(QueryResult::default()), "the answer has no columns: not even that there are no rows"),
            (
                "only a count",
                result(QueryResult { rows_affected: 3, ..QueryResult::default() }),
                "the answer has no columns: not even that there are no rows",
            ),
        ] {
            for set in [RowSet::from_vreplication_exec(&bytes), RowSet::from_execute_fetch(&bytes)] {
                let error = set.unwrap_err();
                assert_eq!((error.column, error.reason.as_str()), (RowError::RESULT, want), "{name}");
            }
        }
        let none = RowSet::from_vreplication_exec(&response(&[("id", INT64)], vec![])).unwrap();
        assert!(none.is_empty() && none.has_column("id"));
    }

    #[test]
    fn rows_and_columns_are_counted_before_they_are_read() {
        let empty = row(&[-1], b"");
        let read = |rows: usize| RowSet::from_execute_fetch(&response(&[("id", INT64)], vec![empty.clone(); rows]));
        assert_eq!(read(limits::TABLET_ROWS).unwrap().len(), limits::TABLET_ROWS);
        assert_eq!(read(limits::TABLET_ROWS + 1).unwrap_err().reason, "10001 rows: a tablet answers at most 10000");
        let wide = VReplicationExecResponse {
            result: Some(QueryResult { fields: vec![Field::default(); limits::COLUMNS + 1], ..QueryResult::default() }),
        };
        let error = RowSet::from_vreplication_exec(&wide.encode_to_vec()).unwrap_err();
        assert_eq!(error.reason, "4097 columns: a tablet answers at most 4096");
        // In two halves of one result, too.
        let halves = |rows: usize| {
            let first = response(&[("id", INT64)], vec![empty.clone(); limits::TABLET_ROWS / 2]);
            let second = response(&[], vec![empty.clone(); rows - limits::TABLET_ROWS / 2]);
            RowSet::from_execute_fetch(&[first, second].concat())
        };
        assert_eq!(halves(limits::TABLET_ROWS).unwrap().len(), limits::TABLET_ROWS);
        assert_eq!(halves(limits::TABLET_ROWS + 1).unwrap_err().reason, "10001 rows: a tablet answers at most 10000");
    }
}
