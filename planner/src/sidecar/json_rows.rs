//! Rows that came as JSON in one value of another row, as rows of their own.
//!
//! `[<count>, [[<value>, …], …]]`, or `[0, null]`: what [`super::statement::fused`] has a tablet make. Anything else is no such value: a
//! JSON that is cut off, a count that does not fit, a value in another form than its column's. Then nothing is known, and whoever
//! asked asks in another way. Every value is decoded once, into one buffer for all rows; no tree is built.

use prost::Message as _;

use crate::{
    formats::plain_bytes,
    limits,
    proto::query::{Field, QueryResult},
    sidecar::{
        result::RowSet,
        result_layout::{self, Cell, Layout},
    },
};

/// How the values of a column stand in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A number, all digits: a column of an integral type.
    Integer,
    /// Bytes, as a string of hexadecimal digits.
    Hex,
    /// A string.
    Text,
    /// Not at all: of all rows of one value it is the same, and known. Behind all others.
    Given,
}

/// The columns of such rows. The first one is an id.
pub(crate) type Columns = &'static [(&'static str, Form)];

/// Rows being put together.
pub(crate) struct JsonRows {
    columns: Columns,
    newest_first: bool,
    bytes: Vec<u8>,
    layout: Layout,
}

impl JsonRows {
    /// No rows yet. In those of each value the ids will ascend, or descend.
    pub(crate) fn new(columns: Columns, newest_first: bool) -> Self {
        // Of `query.Type`: INT64 and VARBINARY.
        let kind = |form| if matches!(form, Form::Integer | Form::Given) { 265 } else { 10_262 };
        let field = |&(name, form): &(&str, Form)| Field { name: name.into(), r#type: kind(form), ..Field::default() };
        let head = QueryResult { fields: columns.iter().map(field).collect(), ..QueryResult::default() }.encode_to_vec();
        let layout = result_layout::of_result(&head).unwrap_or_default();
        Self { columns, newest_first, bytes: head, layout }
    }

    /// Adds the rows of one value. `given`: what stands in the columns that are not in the JSON. `None`: it is no such value, or there
    /// are more than [`limits::FUSED_ROWS`] rows now; what was added before does not count either.
    pub(crate) fn add(&mut self, value: &[u8], given: &[u8]) -> Option<()> {
        let mut json = Json(std::str::from_utf8(value).ok()?.as_bytes());
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(given);
        let given = Cell::at(begin..self.bytes.len())?;
        json.sign(b'[')?;
        let count: usize = json.integer()?.parse().ok()?;
        json.sign(b',')?;
        let first = self.layout.cells.len();
        let mut ids = Vec::with_capacity(count.min(limits::FUSED_ROWS));
        if !json.null() {
            json.sign(b'[')?;
            loop {
                if self.layout.rows >= limits::FUSED_ROWS {
                    return None;
                }
                ids.push((self.row(&mut json, given)?, ids.len()));
                self.layout.rows += 1;
                if json.sign(b',').is_none() {
                    break;
                }
            }
            json.sign(b']')?;
        }
        json.sign(b']')?;
        if !json.is_at_end() || ids.len() != count {
            return None;
        }
        self.sort(first, ids)
    }

    /// The rows of all values, in the order in which these were added.
    pub(crate) fn into_rows(self) -> RowSet {
        RowSet::laid_out(self.bytes, self.layout)
    }

    /// Adds one row, and gives its id.
    fn row(&mut self, json: &mut Json<'_>, given: Cell) -> Option<i128> {
        let mut id = None;
        json.sign(b'[')?;
        for (place, (_, form)) in self.columns.iter().enumerate() {
            if *form == Form::Given {
                self.layout.cells.push(given);
                continue;
            }
            if place > 0 {
                json.sign(b',')?;
            }
            let begin = self.bytes.len();
            let is_null = json.null();
            match form {
                _ if is_null => {}
                Form::Integer => {
                    let digits = json.integer()?;
                    if place == 0 {
                        id = Some(digits.parse().ok()?);
                    }
                    self.bytes.extend_from_slice(digits.as_bytes());
                }
                Form::Hex => json.hex(&mut self.bytes)?,
                Form::Text | Form::Given => json.text(&mut self.bytes)?,
            }
            self.layout.cells.push(if is_null { Cell::NULL } else { Cell::at(begin..self.bytes.len())? });
        }
        json.sign(b']')?;
        id
    }

    /// Puts the rows from a cell on in the order of their ids: `JSON_ARRAYAGG` has none.
    fn sort(&mut self, first: usize, mut ids: Vec<(i128, usize)>) -> Option<()> {
        let in_order = |(a, b): (&i128, &i128)| if self.newest_first { a >= b } else { a <= b };
        if ids.iter().zip(ids.iter().skip(1)).all(|((a, _), (b, _))| in_order((a, b))) {
            return Some(());
        }
        ids.sort_by_key(|(id, _)| if self.newest_first { -id } else { *id });
        let width = self.columns.len();
        let cells = self.layout.cells.split_off(first);
        for (_, row) in ids {
            self.layout.cells.extend_from_slice(cells.get(row * width..(row + 1) * width)?);
        }
        Some(())
    }
}

/// What is left of a JSON text. What it takes is gone, also where it turns out to be something else.
struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    fn skip_space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.0.is_empty()
    }

    /// One sign; it stays where another one stands.
    fn sign(&mut self, sign: u8) -> Option<()> {
        self.skip_space();
        let (first, rest) = self.0.split_first()?;
        (*first == sign).then(|| self.0 = rest)
    }

    fn null(&mut self) -> bool {
        self.skip_space();
        let rest = self.0.strip_prefix(b"null");
        rest.inspect(|rest| self.0 = rest).is_some()
    }

    fn integer(&mut self) -> Option<&'a str> {
        self.skip_space();
        let digits = usize::from(self.0.first() == Some(&b'-'));
        let end = digits + self.0.get(digits..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.0.split_at_checked(end).filter(|_| end > digits)?;
        self.0 = rest;
        std::str::from_utf8(number).ok()
    }

    fn hex(&mut self, out: &mut Vec<u8>) -> Option<()> {
        self.sign(b'"')?;
        let (digits, rest) = self.0.split_at_checked(plain_bytes(self.0))?;
        from_hex(digits, out)?;
        self.0 = rest;
        self.sign(b'"')
    }

    fn text(&mut self, out: &mut Vec<u8>) -> Option<()> {
        self.sign(b'"')?;
        loop {
            let (plain, rest) = self.0.split_at_checked(plain_bytes(self.0))?;
            out.extend_from_slice(plain);
            let (sign, rest) = rest.split_first()?;
            match sign {
                b'"' => {
                    self.0 = rest;
                    return Some(());
                }
                b'\\' => {
                    self.0 = rest;
                    self.escaped(out)?;
                }
                // A control character is always escaped.
                _ => return None,
            }
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let (sign, rest) = self.0.split_first()?;
        self.0 = rest;
        out.push(match sign {
            b'"' | b'\\' | b'/' => *sign,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = self.unit()?;
                if (0xd800..0xdc00).contains(&code) {
                    self.0 = self.0.strip_prefix(b"\\u")?;
                    let low = self.unit().filter(|low| (0xdc00..0xe000).contains(low))?;
                    code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                }
                let mut buffer = [0; 4];
                out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes());
                return Some(());
            }
            _ => return None,
        });
        Some(())
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        digits.iter().try_fold(0, |code, digit| Some(code << 4 | u32::from(nibble(*digit)?)))
    }
}

/// Adds the bytes of hexadecimal digits; `None`: they are none, or one is missing, and what was added is nothing.
pub(crate) fn from_hex(digits: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    // One look for all whether any is none: no branch for each.
    let mut all = 0;
    out.extend(pairs.iter().map(|pair| {
        let [high, low] = pair.map(|digit| nibble(digit).unwrap_or(u8::MAX));
        all |= high | low;
        high << 4 | low
    }));
    (all <= 0xf).then_some(())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns = &[("id", Form::Integer), ("name", Form::Hex), ("text", Form::Text), ("of", Form::Given)];

    /// The rows of a value, as texts; `None`: it is no such value.
    fn read(value: &[u8], newest_first: bool) -> Option<Vec<[Option<String>; 4]>> {
        let mut rows = JsonRows::new(COLUMNS, newest_first);
        rows.add(value, b"7")?;
        let rows = rows.into_rows();
        let text = |value: Option<&[u8]>| value.map(|value| value.escape_ascii().to_string());
        Some(
            rows.rows()
                .map(|row| COLUMNS.iter().map(|(name, _)| text(row.value(name)?)).collect::<Vec<_>>())
                .map(|row| row.try_into().unwrap())
                .collect(),
        )
    }

    fn row(id: &str, name: &str, text: &str) -> [Option<String>; 4] {
        [Some(id.into()), Some(name.into()), Some(text.into()), Some("7".into())]
    }

    #[test]
    fn rows_come_in_the_order_of_their_ids_however_they_are_written() {
        let value = br#" [3 ,[[20,"7430","b"], [3, "" , ""],
            [18446744073709551615,"FFfe00","x"]]] "#;
        let (low, middle, high) = (row("3", "", ""), row("20", "t0", "b"), row("18446744073709551615", r"\xff\xfe\x00", "x"));
        assert_eq!(read(value, false).unwrap(), [low.clone(), middle.clone(), high.clone()]);
        assert_eq!(read(value, true).unwrap(), [high, middle, low]);
        let in_order = br#"[2, [[-1, null, null], [5, "61", null]]]"#;
        let nulls = |id: &str, name: Option<&str>| [Some(id.into()), name.map(str::to_owned), None, Some("7".into())];
        assert_eq!(read(in_order, false).unwrap(), [nulls("-1", None), nulls("5", Some("a"))]);
        assert!(read(b"[0, null]", false).unwrap().is_empty());
    }

    #[test]
    fn every_escape_is_undone() {
        let value = r#"[1, [[1, null, "\"\\\/\b\f\n\r\t\u0000\u00fc\uD83E\udD80 ü🦀"]]]"#;
        let want = "\"\\/\u{8}\u{c}\n\r\t\0ü🦀 ü🦀".as_bytes().escape_ascii().to_string();
        assert_eq!(read(value.as_bytes(), false).unwrap()[0][2], Some(want));
    }

    #[test]
    fn what_is_no_such_value_is_told_wherever_it_is_cut_or_changed() {
        let whole = r#"[2, [[1, "61", "a\u00fc\ud83e\udd80"], [2, null, null]]]"#.as_bytes();
        assert!(read(whole, false).is_some());
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end], false), None, "{}", String::from_utf8_lossy(&whole[..end]));
        }
        for value in [
            r#"[1, [[1, "61", "a"], [2, null, null]]]"#,
            r#"[3, [[1, "61", "a"], [2, null, null]]]"#,
            r"[1, null]",
            r"[0, []]",
            r"[0, null] x",
            r"null",
            r#"[1, [[null, "61", "a"]]]"#,
            r#"[1, [["1", "61", "a"]]]"#,
            r#"[1, [[1.5, "61", "a"]]]"#,
            r#"[1, [[-, "61", "a"]]]"#,
            r#"[1, [[1, "6", "a"]]]"#,
            r#"[1, [[1, "6g", "a"]]]"#,
            r#"[1, [[1, 61, "a"]]]"#,
            r#"[1, [[1, "61", 5]]]"#,
            r#"[1, [[1, "61", {}]]]"#,
            r#"[1, [[1, "61"]]]"#,
            r#"[1, [[1, "61", "a", 4]]]"#,
            r#"[1, [[1, "61", "\x"]]]"#,
            r#"[1, [[1, "61", "\ud83e"]]]"#,
            r#"[1, [[1, "61", "\udd80\ud83e"]]]"#,
            r#"[1, [[1, "61", "\u00g0"]]]"#,
            "[1, [[1, \"61\", \"\n\"]]]",
            // MariaDB, with a small group_concat_max_len.
            r#"[2, [[16001, "7430", "6B6B]]"#,
        ] {
            assert_eq!(read(value.as_bytes(), false), None, "{value}");
        }
        assert_eq!(read(b"[1, [[1, \"61\", \"\xff\"]]]", false), None);
    }

    #[test]
    fn rows_are_counted() {
        let of = |count: usize| format!("[{count}, [{}]]", vec!["[1,null,null]"; count].join(","));
        let mut rows = JsonRows::new(COLUMNS, false);
        let half = limits::FUSED_ROWS / 2;
        assert!(rows.add(of(half).as_bytes(), b"1").is_some() && rows.add(of(half).as_bytes(), b"2").is_some());
        assert!(rows.add(of(1).as_bytes(), b"3").is_none());
        // A count is a stranger's: no room is made for it.
        assert_eq!(read(b"[18446744073709551615, null]", false), None);
    }
}
