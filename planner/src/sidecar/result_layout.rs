//! Where the fields and the values of a `query.QueryResult` lie in its bytes, found in one walk and without decoding it.
//!
//! It reads what every tablet writes and nothing else: a message with a field that is not known, or known with another encoding,
//! or there twice, is for the decoder of the whole message, whose errors people see. What is found here, that decoder finds, too.

use std::ops::Range;

use prost::encoding::{WireType, decode_key, decode_varint};

use crate::limits;

/// Where everything is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layout {
    pub(super) fields: Vec<Field>,
    /// Row by row, as many as there are fields in each.
    pub(super) cells: Vec<Cell>,
    pub(super) rows: usize,
}

/// What is known of one column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Field {
    whole: Span,
    name: Span,
    /// As in `query.Type`.
    pub(super) kind: i32,
}

impl Field {
    /// Its message.
    pub(super) fn bytes<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.whole.of(bytes)
    }

    pub(super) fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.name.of(bytes)
    }
}

/// One value. There may be very many: 32 bits are enough for where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell(Span);

impl Cell {
    /// No value begins behind all others.
    pub(super) const NULL: Self = Self(Span { start: u32::MAX, end: u32::MAX });

    /// A value that lies there; `None`: too far for 32 bits.
    pub(super) fn at(place: Range<usize>) -> Option<Self> {
        let end = u32::try_from(place.end).ok().filter(|end| *end < u32::MAX)?;
        Some(Self(Span { start: u32::try_from(place.start).ok()?, end }))
    }

    /// Where it lies; `None`: nowhere, it is NULL.
    pub(super) fn place(self) -> Option<Range<usize>> {
        (self != Self::NULL).then_some(self.0.start as usize..self.0.end as usize)
    }

    pub(super) fn value(self, bytes: &[u8]) -> Option<&[u8]> {
        (self != Self::NULL).then(|| self.0.of(bytes))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn bytes(self) -> usize {
        (self.end - self.start) as usize
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// Of a response that has its result in field 1 and nothing else: with columns, and no more of anything than a tablet answers.
pub(super) fn of_response(response: &[u8]) -> Option<Layout> {
    let mut reader = Reader::new(response)?;
    let (1, WireType::LengthDelimited) = reader.key()? else { return None };
    let result = reader.span()?;
    if !reader.is_at_end() {
        return None;
    }
    let layout = read(response, result, limits::COLUMNS, limits::TABLET_ROWS)?;
    (!layout.fields.is_empty()).then_some(layout)
}

/// Of a result alone, however large.
pub(super) fn of_result(result: &[u8]) -> Option<Layout> {
    read(result, Reader::new(result)?.rest(), usize::MAX, usize::MAX)
}

/// Counts while it reads: a field of two bytes becomes twenty in memory.
fn read(bytes: &[u8], result: Span, columns: usize, rows: usize) -> Option<Layout> {
    let mut layout = Layout::default();
    let mut reader = Reader::within(bytes, result);
    // The fields come before the rows: `query.proto` numbers them so.
    while !reader.is_at_end() {
        match reader.key()? {
            (1, WireType::LengthDelimited) if layout.rows == 0 && layout.fields.len() < columns => {
                layout.fields.push(field(bytes, reader.span()?)?);
            }
            // rows_affected, insert_id, insert_id_changed
            (2 | 3 | 8, WireType::Varint) => drop(reader.varint()?),
            (4, WireType::LengthDelimited) if layout.rows < rows => {
                let row = reader.span()?;
                let columns = layout.fields.len();
                cells(bytes, row, columns, &mut layout.cells)?;
                layout.rows += 1;
                if layout.rows == 1 {
                    // Others are much like it, of which each cell takes a byte at least.
                    let more = (reader.rest().bytes() / row.bytes().max(columns).max(1)).min(rows);
                    layout.cells.reserve(more * columns);
                }
            }
            // info, session_state_changes
            (6 | 7, WireType::LengthDelimited) => drop(reader.span()?),
            _ => return None,
        }
    }
    Some(layout)
}

fn field(bytes: &[u8], whole: Span) -> Option<Field> {
    let mut field = Field { whole, ..Field::default() };
    let mut reader = Reader::within(bytes, whole);
    while !reader.is_at_end() {
        match reader.key()? {
            (1, WireType::LengthDelimited) => field.name = reader.span()?,
            #[allow(clippy::cast_possible_truncation, reason = "as every decoder of an int32 does")]
            (2, WireType::Varint) => field.kind = reader.varint()? as i32,
            (3..=6 | 11, WireType::LengthDelimited) => drop(reader.span()?),
            (7..=10, WireType::Varint) => drop(reader.varint()?),
            _ => return None,
        }
    }
    Some(field)
}

/// Adds the values of one row: as many as there are columns, and all of its bytes.
fn cells(bytes: &[u8], row: Span, columns: usize, cells: &mut Vec<Cell>) -> Option<()> {
    let (mut lengths, mut values) = (None, None);
    let mut reader = Reader::within(bytes, row);
    while !reader.is_at_end() {
        match reader.key()? {
            (1, WireType::LengthDelimited) if lengths.is_none() => lengths = Some(reader.span()?),
            (2, WireType::LengthDelimited) if values.is_none() => values = Some(reader.span()?),
            _ => return None,
        }
    }
    let values = values.unwrap_or_default();
    let mut at = values.start;
    let mut lengths = lengths.unwrap_or_default().of(bytes);
    cells.reserve(columns);
    for _ in 0..columns {
        // Nearly all are of one byte.
        let coded = match lengths {
            [short @ 0..0x80, rest @ ..] => {
                lengths = rest;
                u64::from(*short)
            }
            _ => decode_varint(&mut lengths).ok()?,
        };
        // Zigzag. Every negative length is NULL, as in MakeRowTrusted.
        if coded & 1 == 1 {
            cells.push(Cell::NULL);
            continue;
        }
        let end = at.checked_add(u32::try_from(coded >> 1).ok()?)?;
        cells.push(Cell(Span { start: at, end }));
        at = end;
    }
    (lengths.is_empty() && at == values.end).then_some(())
}

/// Reads on from one place to the next.
struct Reader<'a> {
    bytes: &'a [u8],
    at: u32,
    end: u32,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        // The last number stands for NULL.
        let end = u32::try_from(bytes.len()).ok().filter(|end| *end < u32::MAX)?;
        Some(Self { bytes, at: 0, end })
    }

    fn within(bytes: &'a [u8], span: Span) -> Self {
        Self { bytes, at: span.start, end: span.end }
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    fn rest(&self) -> Span {
        Span { start: self.at, end: self.end }
    }

    fn key(&mut self) -> Option<(u32, WireType)> {
        self.take(|rest| decode_key(rest).ok())
    }

    fn varint(&mut self) -> Option<u64> {
        match self.bytes.get(self.at as usize) {
            Some(byte) if *byte < 0x80 && !self.is_at_end() => {
                self.at += 1;
                Some(u64::from(*byte))
            }
            _ => self.take(|rest| decode_varint(rest).ok()),
        }
    }

    /// A length and the bytes that it counts.
    fn span(&mut self) -> Option<Span> {
        let length = u32::try_from(self.varint()?).ok()?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.end)?;
        let span = Span { start: self.at, end };
        self.at = end;
        Some(span)
    }

    fn take<T>(&mut self, read: impl FnOnce(&mut &'a [u8]) -> Option<T>) -> Option<T> {
        let mut rest = self.rest().of(self.bytes);
        let before = rest.len();
        let value = read(&mut rest)?;
        self.at += u32::try_from(before - rest.len()).ok()?;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::{
        proto::{
            query::{self, QueryResult, Row},
            tabletmanagerdata::ExecuteFetchAsDbaResponse,
        },
        sidecar::RowSet,
    };

    /// A field of a message with these bytes in it.
    fn of(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn response(result: &[&[u8]]) -> Vec<u8> {
        of(1, &result.concat())
    }

    #[test]
    fn values_are_found_whatever_number_of_bytes_their_length_takes() {
        for length in [1, 2, 126, 127, 128, 129, 255, 256, 16_383, 16_384] {
            let value = vec![b'x'; length];
            let row = Row { lengths: vec![i64::try_from(length).unwrap()], values: value.clone() };
            let fields = vec![query::Field { name: "a".into(), ..query::Field::default() }];
            let result = QueryResult { fields, rows: vec![row], ..QueryResult::default() };
            let bytes = ExecuteFetchAsDbaResponse { result: Some(result) }.encode_to_vec();
            let layout = of_response(&bytes).unwrap();
            let values: Vec<_> = layout.cells.iter().map(|cell| cell.value(&bytes)).collect();
            assert_eq!(values, [Some(value.as_slice())], "{length}");
        }
    }

    #[test]
    fn what_a_tablet_writes_is_found() {
        let field = |name: &str| query::Field {
            name: name.into(),
            r#type: 265,
            table: "t".into(),
            org_table: "t".into(),
            database: "d".into(),
            org_name: name.into(),
            column_length: 300,
            charset: 63,
            decimals: 1,
            flags: 49_667,
            column_type: "bigint".into(),
        };
        let result = QueryResult {
            fields: vec![field("a"), field("b")],
            rows: vec![
                Row { lengths: vec![200, -1], values: vec![b'x'; 200] },
                Row { lengths: vec![0, 64], values: vec![b'y'; 64] },
            ],
            rows_affected: 300,
            insert_id: 1,
            insert_id_changed: true,
            info: b"Rows matched: 1".to_vec(),
            session_state_changes: b"uuid:1".to_vec(),
        };
        let bytes = ExecuteFetchAsDbaResponse { result: Some(result) }.encode_to_vec();
        let layout = of_response(&bytes).unwrap();
        let values: Vec<_> = layout.cells.iter().map(|cell| cell.value(&bytes)).collect();
        assert_eq!(values, [Some(&[b'x'; 200][..]), None, Some(b""), Some(&[b'y'; 64])]);
        let columns: Vec<_> = layout.fields.iter().map(|field| (field.name(&bytes), field.kind)).collect();
        assert_eq!((columns, layout.rows), (vec![(&b"a"[..], 265), (b"b", 265)], 2));
    }

    /// `Ok`: it has so many rows. What makes no such message is said in the decoder's words.
    #[test]
    fn what_no_tablet_writes_is_for_the_decoder() {
        let (a, b) = (of(1, &of(1, b"a")), of(1, &of(1, b"b")));
        let row = |parts: &[Vec<u8>]| of(4, &parts.concat());
        let lengths = |lengths: &[u8]| of(1, lengths);
        // A length is twice the number.
        let one = row(&[lengths(&[2]), of(2, b"x")]);
        for (name, bytes, want) in [
            ("a row before its fields", response(&[&row(&[]), &a]), Err("row 0: 0 values for 1 columns")),
            ("a column behind a row", response(&[&a, &one, &b]), Err("row 0: 1 values for 2 columns")),
            ("a field that is not known", response(&[&a, &of(9, b"?"), &one]), Ok(1)),
            ("a result in two parts", [response(&[&a]), response(&[&one])].concat(), Ok(1)),
            ("lengths in two parts", response(&[&a, &b, &row(&[lengths(&[2]), lengths(&[2]), of(2, b"xy")])]), Ok(1)),
            (
                "lengths twice",
                response(&[&a, &row(&[lengths(&[10]), lengths(&[2]), of(2, b"x")])]),
                Err("row 0: 2 values for 1 columns"),
            ),
            ("values twice", response(&[&a, &row(&[lengths(&[2]), of(2, b"xyz"), of(2, b"x")])]), Ok(1)),
            // A type without its number, which would be the first byte behind the column.
            ("a column that is cut off", response(&[&of(1, &[0x0a, 1, b'a', 0x10]), &one]), Err("")),
            ("a length that is cut off", response(&[&a, &row(&[lengths(&[0x80]), of(2, b"x")])]), Err("")),
        ] {
            assert_eq!(of_response(&bytes), None, "{name}");
            match (RowSet::from_execute_fetch(&bytes), want) {
                (Ok(set), Ok(rows)) => assert_eq!(set.len(), rows, "{name}"),
                (Err(error), Err("")) => assert!(error.reason.starts_with("failed to decode"), "{name}: {error}"),
                (got, want) => {
                    assert_eq!(got.map(|set| set.len()).map_err(|error| error.reason), want.map_err(str::to_owned), "{name}");
                }
            }
        }
    }
}
