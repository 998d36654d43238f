//! A lenient, bounded reader of protobuf text format: bytes to a tree of named values.
//!
//! It knows no message types: which names exist and which type a value must have is for the reader of the tree
//! ([`crate::formats::binlog_source`]). It accepts what both writers of Vitess wrote (braces, and the angle brackets of v10, with any
//! spaces) and what the format allows besides: separators, comments, both quotes, joined strings, escapes, lists.
//! A text that ends badly still has the tree of everything before that point, so that the reader of the tree can report an
//! earlier mistake first, as Go does.
//!
//! Facts: `google.golang.org/protobuf/internal/encoding/text/decode*.go`, whose error texts these are.

use std::borrow::Cow;

use crate::{
    formats::quote::{excerpt, quoted},
    limits::TEXT_FORMAT_DEPTH,
};

/// The fields of a message in the order of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message<'a> {
    /// Every field, known or not.
    pub fields: Vec<Field<'a>>,
}

/// One named value.
#[derive(Clone, Debug, PartialEq)]
pub struct Field<'a> {
    /// The name as written; a field number or `[extension.name]` is possible too.
    pub name: &'a str,
    /// Offset of the name in the text, in bytes.
    pub at: usize,
    /// Whether a `:` followed the name.
    pub has_separator: bool,
    /// Its value; `None` when the text breaks off there.
    pub value: Option<Value<'a>>,
}

/// What a field can hold, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `{…}` or `<…>`; the offset of the bracket.
    Message(usize, Message<'a>),
    /// `[…]`; the offset of the bracket.
    List(usize, Vec<Value<'a>>),
    /// A single value.
    Scalar(Scalar<'a>),
}

/// A single value.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar<'a> {
    /// Offset in the text, in bytes.
    pub at: usize,
    /// As written, with quotes.
    pub raw: &'a [u8],
    /// The bytes of a quoted string, borrowed where they stand in the text as they are; `None` for words and numbers.
    pub text: Option<Cow<'a, [u8]>>,
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Offset in bytes; `None` for the end of the text.
    pub at: Option<usize>,
    /// Whether it is wrong in every message, not only in this one.
    pub is_syntax: bool,
    /// What is wrong.
    pub reason: String,
}

impl Fault {
    /// The fault as Go prints it: `proto: (line 1:7): …`. Columns count characters from 1, as in Go.
    pub fn describe(&self, text: &[u8]) -> String {
        let Some(before) = self.at.map(|at| text.get(..at).unwrap_or(text)) else {
            return format!("proto: {}", self.reason);
        };
        let line = before.split(|byte| *byte == b'\n').count();
        let last = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let column = last.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum::<usize>() + 1;
        let kind = if self.is_syntax { "syntax error " } else { "" };
        format!("proto: {kind}(line {line}:{column}): {}", self.reason)
    }
}

impl Scalar<'_> {
    /// The integer that it is: decimal, `0x…` or `0…` octal, with or without a minus sign.
    pub fn integer(&self) -> Option<i128> {
        if self.text.is_some() {
            return None;
        }
        let raw = std::str::from_utf8(self.raw).ok()?;
        let (negative, digits) = raw.strip_prefix('-').map_or((false, raw), |digits| (true, digits.trim_start()));
        let (base, digits) = match digits.as_bytes() {
            [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
            [b'0', _, ..] => (8, digits.get(1..)?),
            _ => (10, digits),
        };
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None; // a second sign
        }
        let value = i128::from(u64::from_str_radix(digits, base).ok()?);
        Some(if negative { -value } else { value })
    }

    /// The word that it is, such as an enum's name.
    pub fn word(&self) -> Option<&str> {
        let raw = if self.text.is_some() { None } else { std::str::from_utf8(self.raw).ok() };
        raw.filter(|raw| raw.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic()))
    }
}

/// Reads a text. The fault, if any, lies behind everything that the tree holds.
pub fn parse(text: &[u8]) -> (Message<'_>, Option<Fault>) {
    let mut reader = Reader { text, at: 0, depth: 0, fault: None };
    let message = reader.message(None);
    (message, reader.fault)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    /// Set once; whoever sees it set returns what it has.
    fault: Option<Fault>,
}

impl<'a> Reader<'a> {
    fn message(&mut self, close: Option<u8>) -> Message<'a> {
        let mut message = Message::default();
        let mut may_separate = false;
        while self.fault.is_none() {
            self.skip_space();
            match (self.peek(), close) {
                (None, None) => break,
                (None, Some(_)) => self.end(),
                (Some(byte), Some(close)) if byte == close => {
                    self.at += 1;
                    break;
                }
                (Some(byte @ (b'}' | b'>')), Some(_)) => {
                    self.syntax(format!("mismatched close character {:?}", char::from(byte)));
                }
                (Some(b',' | b';'), _) if may_separate => {
                    self.at += 1;
                    may_separate = false;
                }
                _ => {
                    let Some(field) = self.field() else { break };
                    message.fields.push(field);
                    may_separate = true;
                }
            }
        }
        message
    }

    fn field(&mut self) -> Option<Field<'a>> {
        let at = self.at;
        let name = self.name()?;
        self.skip_space();
        let has_separator = self.peek() == Some(b':');
        if has_separator {
            self.at += 1;
            self.skip_space();
        }
        Some(Field { name, at, has_separator, value: self.value(true) })
    }

    fn name(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let size = match rest.first() {
            Some(b'[') => rest.iter().position(|byte| *byte == b']').map_or(0, |end| end + 1),
            _ => run(rest, |byte| byte == b'_' || byte.is_ascii_alphanumeric()),
        };
        let name = rest.get(..size).and_then(|name| std::str::from_utf8(name).ok()).filter(|name| !name.is_empty());
        if name.is_none() || rest.get(size).is_some_and(|next| matches!(next, b'-' | b'+' | b'.')) {
            self.syntax(format!("invalid field name: {}", offending(rest)));
            return None;
        }
        self.at += size;
        name
    }

    fn value(&mut self, list_allowed: bool) -> Option<Value<'a>> {
        let at = self.at;
        match self.peek() {
            None => {
                self.end();
                None
            }
            Some(open @ (b'{' | b'<')) => {
                self.open()?;
                let message = self.message(Some(if open == b'{' { b'}' } else { b'>' }));
                self.depth -= 1;
                Some(Value::Message(at, message))
            }
            Some(b'[') if list_allowed => {
                self.open()?;
                let list = self.list();
                self.depth -= 1;
                Some(Value::List(at, list))
            }
            Some(b'"' | b'\'') => {
                let text = self.strings()?;
                let raw = self.text.get(at..self.at).unwrap_or_default().trim_ascii_end();
                Some(Value::Scalar(Scalar { at, raw, text: Some(text) }))
            }
            Some(_) => self.literal().map(Value::Scalar),
        }
    }

    fn list(&mut self) -> Vec<Value<'a>> {
        let mut values = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return values;
        }
        loop {
            self.skip_space();
            let Some(value) = self.value(false) else { return values };
            values.push(value);
            if self.fault.is_some() {
                return values;
            }
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return values;
                }
                Some(other) => {
                    self.syntax(format!("unexpected character {:?}", char::from(other)));
                    return values;
                }
                None => {
                    self.end();
                    return values;
                }
            }
        }
    }

    fn literal(&mut self) -> Option<Scalar<'a>> {
        let at = self.at;
        let rest = self.text.get(at..)?;
        let sign = usize::from(rest.first() == Some(&b'-'));
        let gap = run(rest.get(sign..)?, |byte| sign == 1 && is_space(byte));
        let size = run(rest.get(sign + gap..)?, is_word_byte);
        let body = rest.get(sign + gap..sign + gap + size).and_then(|body| std::str::from_utf8(body).ok()).unwrap_or("");
        if !(is_word(body) && gap == 0 || is_number(body)) {
            self.syntax(format!("invalid scalar value: {}", offending(rest)));
            return None;
        }
        self.at += sign + gap + size;
        Some(Scalar { at, raw: rest.get(..sign + gap + size)?, text: None })
    }

    /// One or more strings, one after the other, as one.
    fn strings(&mut self) -> Option<Cow<'a, [u8]>> {
        let mut out = Cow::Borrowed(&[][..]);
        while let Some(quote @ (b'"' | b'\'')) = self.peek() {
            let begin = self.at;
            self.at += 1;
            if let Err(reason) = self.string(quote, &mut out) {
                self.at = begin;
                match reason {
                    Some(reason) => self.syntax(reason),
                    None => self.end(),
                }
                return None;
            }
            self.skip_space();
        }
        Some(out)
    }

    /// The rest of one string. `Err(None)`: the text ends in it.
    fn string(&mut self, quote: u8, out: &mut Cow<'a, [u8]>) -> Result<(), Option<String>> {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.get(..run(rest, |byte| !matches!(byte, b'\\' | b'\n' | 0) && byte != quote)).unwrap_or_default();
            if out.is_empty() {
                *out = Cow::Borrowed(plain);
            } else if !plain.is_empty() {
                out.to_mut().extend_from_slice(plain);
            }
            self.at += plain.len();
            match self.peek() {
                None => return Err(None),
                Some(b'\\') => self.escape(out.to_mut())?,
                Some(b'\n') => return Err(Some("invalid character '\\n' in string".to_owned())),
                Some(0) => return Err(Some("invalid character '\\x00' in string".to_owned())),
                Some(_) => {
                    self.at += 1;
                    return Ok(());
                }
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Option<String>> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let code = *rest.get(1).ok_or(None)?;
        let size = match code {
            b'0'..=b'7' => {
                let digits = run(rest.get(1..4.min(rest.len())).unwrap_or_default(), |byte| matches!(byte, b'0'..=b'7'));
                out.push(digits_of("octal escape", rest, 1, digits, 8)?);
                1 + digits
            }
            b'x' => {
                let digits = run(rest.get(2..4.min(rest.len())).unwrap_or_default(), |byte| byte.is_ascii_hexdigit());
                out.push(digits_of("hex escape", rest, 2, digits, 16)?);
                2 + digits
            }
            b'u' | b'U' => return self.unicode(if code == b'u' { 4 } else { 8 }, out),
            _ => {
                out.push(match code {
                    b'"' | b'\'' | b'\\' | b'?' => code,
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    _ => return Err(Some(invalid("escape", rest, 2))),
                });
                2
            }
        };
        self.at += size;
        Ok(())
    }

    /// `\uhhhh` or `\Uhhhhhhhh`; two of the first kind may be the halves of one character.
    fn unicode(&mut self, digits: usize, out: &mut Vec<u8>) -> Result<(), Option<String>> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut size = 2 + digits;
        let mut value: u32 = digits_of("Unicode escape", rest, 2, digits, 16)?;
        if (0xd800..0xdc00).contains(&value) {
            let low = rest
                .get(size..)
                .filter(|low| low.starts_with(b"\\u"))
                .ok_or_else(|| Some(invalid("Unicode escape", rest, size)))?;
            let low: u32 = digits_of("Unicode escape", low, 2, 4, 16)?;
            if (0xdc00..0xe000).contains(&low) {
                value = 0x1_0000 + ((value - 0xd800) << 10) + (low - 0xdc00);
                size += 6;
            }
        }
        let character = char::from_u32(value).ok_or_else(|| Some(invalid("Unicode escape", rest, size)))?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += size;
        Ok(())
    }

    /// One bracket deeper.
    fn open(&mut self) -> Option<()> {
        if self.depth == TEXT_FORMAT_DEPTH {
            let reason = format!("more than {TEXT_FORMAT_DEPTH} messages in each other");
            self.fault = Some(Fault { at: Some(self.at), is_syntax: false, reason });
            return None;
        }
        self.depth += 1;
        self.at += 1;
        Some(())
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            self.at += run(rest, is_space);
            if self.peek() != Some(b'#') {
                return;
            }
            self.at += run(self.text.get(self.at..).unwrap_or_default(), |byte| byte != b'\n');
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn syntax(&mut self, reason: String) {
        self.fault = Some(Fault { at: Some(self.at), is_syntax: true, reason });
    }

    fn end(&mut self) {
        self.fault = Some(Fault { at: None, is_syntax: true, reason: "unexpected EOF".to_owned() });
    }
}

/// How many bytes at the beginning are of a kind.
fn run(bytes: &[u8], is_in: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !is_in(*byte)).unwrap_or(bytes.len())
}

/// The number in `count` digits of an escape.
fn digits_of<T: TryFrom<u32>>(what: &str, rest: &[u8], from: usize, count: usize, base: u32) -> Result<T, Option<String>> {
    let end = from + count;
    let digits = rest.get(from..end).ok_or(None)?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let value = digits.and_then(|digits| T::try_from(u32::from_str_radix(digits, base).ok()?).ok());
    value.ok_or_else(|| Some(invalid(what, rest, end)))
}

fn invalid(what: &str, rest: &[u8], size: usize) -> String {
    let code = String::from_utf8_lossy(rest.get(..size.min(rest.len())).unwrap_or_default());
    format!("invalid {what} code {} in string", quoted(&code))
}

/// What an error shows of a text: a run of word bytes, or one character.
fn offending(rest: &[u8]) -> String {
    match run(rest, |byte| is_word_byte(byte) || byte == b'/') {
        0 => String::from_utf8_lossy(rest.get(..4.min(rest.len())).unwrap_or_default()).chars().take(1).collect(),
        size => excerpt(rest.get(..size).unwrap_or_default()),
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_word_byte(byte: u8) -> bool {
    matches!(byte, b'-' | b'+' | b'.' | b'_') || byte.is_ascii_alphanumeric()
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

fn is_number(text: &str) -> bool {
    let digits = |text: &str, is_in: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(is_in);
    match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => digits(text.get(2..).unwrap_or(""), u8::is_ascii_hexdigit),
        [b'0', b'0'..=b'9', ..] => digits(text, |digit| matches!(digit, b'0'..=b'7')),
        [b'0'..=b'9' | b'.', ..] => text.strip_suffix(['f', 'F']).unwrap_or(text).parse::<f64>().is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Value<'_> {
        let (mut message, fault) = parse(text.as_bytes());
        assert_eq!(fault, None, "{text}");
        assert_eq!(message.fields.len(), 1, "{text}");
        message.fields.remove(0).value.unwrap()
    }

    fn string(text: &str) -> Vec<u8> {
        let Value::Scalar(Scalar { text: Some(bytes), .. }) = only(text) else { panic!("{text}: no string") };
        bytes.into_owned()
    }

    #[test]
    fn strings_in_every_notation() {
        for (text, want) in [
            (r#"a:"x""#, &b"x"[..]),
            ("a : 'it\"s'", b"it\"s"),
            (
                r#"a:"one " 'two' # comment
                "!""#,
                b"one two!",
            ),
            (r#"a:"\a\b\f\n\r\t\v\\\"\'\?""#, b"\x07\x08\x0c\n\r\t\x0b\\\"'?"),
            (r#"a:"\0\12\1234\377""#, b"\x00\nS4\xff"),
            (r#"a:"\x4\x41f\xfe""#, b"\x04Af\xfe"),
            (r#"a:"\u00e9\U0001F600\ud83d\ude00""#, "é😀😀".as_bytes()),
            ("a:\"é\u{85}\"", "é\u{85}".as_bytes()),
        ] {
            assert_eq!(string(text), want, "{text}");
        }
        let (message, fault) = parse(b"a:\"\xff\"");
        let Some(Value::Scalar(scalar)) = &message.fields[0].value else { panic!("no scalar") };
        assert_eq!((scalar.text.as_deref(), fault), (Some(&b"\xff"[..]), None));
    }

    #[test]
    fn integers_in_every_notation() {
        for (text, want) in [
            ("a:0", Some(0)),
            ("a: -12", Some(-12)),
            ("a:- 5", Some(-5)),
            ("a:-  15", Some(-15)),
            ("a:0x1F", Some(31)),
            ("a:-017", Some(-15)),
            ("a:18446744073709551615", Some(i128::from(u64::MAX))),
            ("a:18446744073709551616", None),
            ("a:1.5", None),
            ("a:1e3", None),
            ("a:2f", None),
            ("a:EXEC", None),
            ("a:'7'", None),
        ] {
            let Value::Scalar(scalar) = only(text) else { panic!("{text}: no scalar") };
            assert_eq!(scalar.integer(), want, "{text}");
        }
    }

    #[test]
    fn words_are_no_numbers_and_no_strings() {
        for (text, want) in [("a:EXEC", Some("EXEC")), ("a:_x1", Some("_x1")), ("a:7", None), ("a:-1", None), ("a:'EXEC'", None)]
        {
            let Value::Scalar(scalar) = only(text) else { panic!("{text}: no scalar") };
            assert_eq!(scalar.word(), want, "{text}");
        }
    }

    #[test]
    fn messages_lists_and_separators() {
        for text in ["a{b:1 c:2}", "a:{b:1,c:2,}", "a <b:1;c:2;>", "a: <b:1  c:2 > ", "\ta\n{ b : 1 # }\n c:2 }", "a{b:1;c:2};"] {
            let Value::Message(_, message) = only(text) else { panic!("{text}: no message") };
            assert_eq!(message.fields.iter().map(|field| field.name).collect::<Vec<_>>(), ["b", "c"], "{text}");
        }
        for (text, want) in [("a:[]", 0), ("a:[ 'x' , 'y' ]", 2), ("a[{b:1},<b:2>]", 2)] {
            let Value::List(_, list) = only(text) else { panic!("{text}: no list") };
            assert_eq!(list.len(), want, "{text}");
        }
        assert_eq!(parse(b" # nothing").0.fields, []);
        assert_eq!(only("[vitess.x/y]:1"), only("[vitess.x/y]:1"));
    }

    /// The texts were printed by google.golang.org/protobuf 1.36.9, but for the lone surrogate.
    #[test]
    fn faults_say_where() {
        for (text, want) in [
            ("a:", "proto: unexpected EOF"),
            ("a:\"x", "proto: unexpected EOF"),
            ("a:\"x\\", "proto: unexpected EOF"),
            ("a:\"\\u12", "proto: unexpected EOF"),
            ("a{b:1", "proto: unexpected EOF"),
            ("a:[1", "proto: unexpected EOF"),
            ("a{b:1>", "proto: syntax error (line 1:6): mismatched close character '>'"),
            ("a<b:1}", "proto: syntax error (line 1:6): mismatched close character '}'"),
            ("a{b:1}}", "proto: syntax error (line 1:7): invalid field name: }"),
            ("a:1,,b:1", "proto: syntax error (line 1:5): invalid field name: ,"),
            (",a:1", "proto: syntax error (line 1:1): invalid field name: ,"),
            ("a:1\nbé:'x'", "proto: syntax error (line 2:2): invalid scalar value: é"),
            ("x:'é' y:12ab", "proto: syntax error (line 1:9): invalid scalar value: 12ab"),
            ("a:09", "proto: syntax error (line 1:3): invalid scalar value: 09"),
            ("a:[[1]]", "proto: syntax error (line 1:4): invalid scalar value: ["),
            ("a:[1;2]", "proto: syntax error (line 1:5): unexpected character ';'"),
            ("a:\"x\ny\"", "proto: syntax error (line 1:3): invalid character '\\n' in string"),
            ("a:\"\\q\"", "proto: syntax error (line 1:3): invalid escape code \"\\\\q\" in string"),
            ("a:\"\\777\"", "proto: syntax error (line 1:3): invalid octal escape code \"\\\\777\" in string"),
            ("a:\"\\ud800x\"", "proto: syntax error (line 1:3): invalid Unicode escape code \"\\\\ud800\" in string"),
            ("a:\"\\u12x4\"", "proto: syntax error (line 1:3): invalid Unicode escape code \"\\\\u12x4\" in string"),
            ("a:\"\\xzz\"", "proto: syntax error (line 1:3): invalid hex escape code \"\\\\x\" in string"),
            ("a-b:1", "proto: syntax error (line 1:1): invalid field name: a-b"),
        ] {
            assert_eq!(parse(text.as_bytes()).1.map(|fault| fault.describe(text.as_bytes())).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn a_byte_that_is_no_character_is_a_column() {
        let text = b"a:'\xc3' b:-";
        assert_eq!(parse(text).1.unwrap().describe(text), "proto: syntax error (line 1:9): invalid scalar value: -");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "a{".repeat(depth) + &"}".repeat(depth);
        assert_eq!(parse(nested(TEXT_FORMAT_DEPTH).as_bytes()).1, None);
        let fault = parse(nested(TEXT_FORMAT_DEPTH + 1).as_bytes()).1.unwrap();
        assert_eq!(fault.reason, "more than 32 messages in each other");
        for one in ["a{}", "a:[]"] {
            assert_eq!(parse(one.repeat(2 * TEXT_FORMAT_DEPTH).as_bytes()).1, None, "{one} after {one} is not in it");
        }
        assert!(parse("a:<".repeat(100_000).as_bytes()).1.is_some());
        assert!(parse("a:[".repeat(100_000).as_bytes()).1.is_some());
    }
}
