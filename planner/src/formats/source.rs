//! What a stream reads, as its row has it: column `source`, nearly always read where it stands and put into a reply without a
//! message in between.
//!
//! Read here is a part of the format and of the fields: those that workflows write, each once and in the order of their numbers,
//! strings without escapes, spaces and nothing else between them. What is read here, [`binlog_source::parse`] reads alike; anything
//! else is for that one, whose errors people see.

use prost::Message as _;

use crate::{
    formats::{RowError, binlog_source, plain_bytes},
    proto::binlogdata::{BinlogSource, OnDdlAction},
    wire::{put_integer, put_message, put_text},
};

/// What a stream reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Source<'a>(Form<'a>);

#[derive(Clone, Debug, PartialEq)]
enum Form<'a> {
    Plain(PlainSource<'a>),
    Message(Box<BinlogSource>),
}

impl Default for Source<'_> {
    fn default() -> Self {
        Self(Form::Plain(PlainSource::default()))
    }
}

impl From<BinlogSource> for Source<'_> {
    fn from(message: BinlogSource) -> Self {
        Self(Form::Message(Box::new(message)))
    }
}

impl<'a> Source<'a> {
    /// Reads the column.
    ///
    /// # Errors
    /// As [`binlog_source::parse`].
    pub(crate) fn read(text: &'a [u8]) -> Result<Self, RowError> {
        let plain = PlainSource::read(text).map(|plain| Ok(Self(Form::Plain(plain))));
        plain.unwrap_or_else(|| binlog_source::parse(text).map(Self::from))
    }

    /// Its keyspace; empty: it has none.
    pub fn keyspace(&self) -> &str {
        match &self.0 {
            Form::Plain(plain) => plain.keyspace,
            Form::Message(message) => &message.keyspace,
        }
    }

    /// Its shard; empty: it has none.
    pub fn shard(&self) -> &str {
        match &self.0 {
            Form::Plain(plain) => plain.shard,
            Form::Message(message) => &message.shard,
        }
    }

    /// All of it.
    pub fn message(&self) -> BinlogSource {
        let mut bytes = Vec::new();
        self.put(&mut bytes);
        BinlogSource::decode(bytes.as_slice()).unwrap_or_default()
    }

    /// Writes the fields of a `binlogdata.BinlogSource`.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Form::Plain(plain) => plain.put(out),
            Form::Message(message) => message.encode_raw(out),
        }
    }
}

/// A source of which every part stands in its text as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct PlainSource<'a> {
    keyspace: &'a str,
    shard: &'a str,
    /// What is in `filter: {…}`, if there is one: nothing but rules.
    filter: Option<&'a str>,
    on_ddl: i32,
}

impl<'a> PlainSource<'a> {
    /// `None`: it may be a source, but not a plain one.
    fn read(text: &'a [u8]) -> Option<Self> {
        let mut scan = Scan { rest: std::str::from_utf8(text).ok()?, before: 0 };
        let mut source = Self::default();
        while !scan.is_at_end() {
            match scan.name()? {
                "keyspace" => source.keyspace = scan.after(1)?.string()?,
                "shard" => source.shard = scan.after(2)?.string()?,
                "filter" => source.filter = Some(scan.after(6)?.message(|filter| rules(filter, |_| ()))?),
                "on_ddl" => source.on_ddl = OnDdlAction::from_str_name(scan.after(7)?.word()?)?.into(),
                _ => return None,
            }
        }
        scan.rest.is_empty().then_some(source)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, 1, self.keyspace);
        put_text(out, 2, self.shard);
        if let Some(filter) = self.filter {
            put_message(out, 6, |out| {
                // It was read before.
                let _ = rules(&mut Scan { rest: filter, before: 0 }, |rule| put_message(out, 1, |out| rule.put(out)));
            });
        }
        put_integer(out, 7, self.on_ddl.into());
    }
}

/// The texts of a `binlogdata.Rule`, by the numbers of their fields.
#[derive(Default)]
struct PlainRule<'a>([(u32, &'a str); 6]);

impl<'a> PlainRule<'a> {
    const NAMES: [(u32, &'static str); 6] = [
        (1, "match"),
        (2, "filter"),
        (5, "source_unique_key_columns"),
        (6, "target_unique_key_columns"),
        (7, "source_unique_key_target_columns"),
        (9, "force_unique_key"),
    ];

    fn read(scan: &mut Scan<'a>) -> Option<Self> {
        let mut rule = Self::default();
        while !scan.is_at_end() {
            let name = scan.name()?;
            let (number, _) = Self::NAMES.into_iter().find(|(_, known)| *known == name)?;
            let text = (number, scan.after(number)?.string()?);
            let place = rule.0.iter_mut().find(|(number, _)| *number == 0)?;
            *place = text;
        }
        Some(rule)
    }

    fn put(&self, out: &mut Vec<u8>) {
        for (number, text) in self.0 {
            put_text(out, number, text);
        }
    }
}

fn rules<'a>(scan: &mut Scan<'a>, mut see: impl FnMut(PlainRule<'a>)) -> Option<()> {
    while !scan.is_at_end() {
        if scan.name()? != "rules" {
            return None;
        }
        let mut rule = None;
        scan.message(|scan| {
            rule = Some(PlainRule::read(scan)?);
            Some(())
        })?;
        see(rule?);
    }
    Some(())
}

fn behind_spaces(mut text: &str) -> &str {
    while let Some(rest) = text.strip_prefix(' ') {
        text = rest;
    }
    text
}

/// Goes over the fields of one message.
struct Scan<'a> {
    rest: &'a str,
    /// The number of the field before; 0 at the start.
    before: u32,
}

impl<'a> Scan<'a> {
    /// Whether there is no more field, but the end or a closing bracket.
    fn is_at_end(&mut self) -> bool {
        self.rest = behind_spaces(self.rest);
        matches!(self.rest.as_bytes().first(), None | Some(b'}' | b'>'))
    }

    /// The next field's name, its colon passed.
    fn name(&mut self) -> Option<&'a str> {
        let end = self.rest.bytes().position(|byte| byte != b'_' && !byte.is_ascii_lowercase())?;
        let (name, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.strip_prefix(':')?;
        Some(name)
    }

    /// Each field once, and in the order in which they are written.
    fn after(&mut self, number: u32) -> Option<&mut Self> {
        let ascends = self.before < number;
        self.before = number;
        ascends.then_some(self)
    }

    /// One string in double quotes, nothing to be joined to it.
    fn string(&mut self) -> Option<&'a str> {
        let inside = self.rest.strip_prefix('"')?;
        // One with a control character in it is for the reader of all.
        let (text, rest) = inside.split_at_checked(plain_bytes(inside.as_bytes()))?;
        self.rest = behind_spaces(rest.strip_prefix('"')?);
        // Strings one after the other are one; other space, and comments, may stand between them.
        matches!(self.rest.as_bytes().first(), None | Some(b'a'..=b'z' | b'}' | b'>' | b'_')).then_some(text)
    }

    fn word(&mut self) -> Option<&'a str> {
        let end = self.rest.bytes().position(|byte| byte != b'_' && !byte.is_ascii_uppercase()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (rest.is_empty() || rest.starts_with([' ', '}', '>'])).then_some(word)
    }

    /// What stands between brackets, read by `read` up to the closing one.
    fn message(&mut self, read: impl FnOnce(&mut Self) -> Option<()>) -> Option<&'a str> {
        let close = if self.rest.starts_with('{') { '}' } else { '>' };
        let inside = self.rest.strip_prefix(['{', '<'])?;
        let mut scan = Self { rest: inside, before: 0 };
        read(&mut scan)?;
        self.rest = scan.rest.strip_prefix(close)?;
        inside.get(..inside.len() - scan.rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::binlog_source::parse;

    /// Whatever is read here is read there, and is the same.
    fn same(text: &str) -> bool {
        let Some(plain) = PlainSource::read(text.as_bytes()) else { return false };
        let message = parse(text.as_bytes());
        let Ok(message) = message else { panic!("{text}: {message:?}") };
        assert_eq!((plain.keyspace, plain.shard), (message.keyspace.as_str(), message.shard.as_str()), "{text}");
        let mut bytes = Vec::new();
        plain.put(&mut bytes);
        assert_eq!(bytes, message.encode_to_vec(), "{text}");
        true
    }

    #[test]
    fn sources_of_workflows_are_plain() {
        for text in [
            "",
            " ",
            r#"keyspace:"s" shard:"0" filter:{rules:{match:"t1" filter:"select 'é' from t1"}} on_ddl:EXEC"#,
            r#"keyspace:"s"  shard:"0"  filter:<rules:<match:"t1"  filter:"select 1" > rules:<match:"t2" > >  on_ddl:EXEC_IGNORE "#,
            r#"keyspace:"s" shard:"" filter:{} on_ddl:IGNORE"#,
            r#"shard:"-80"filter:{rules:{}rules:{filter:"exclude"}}"#,
            r#"filter:{rules:{match:"a" filter:"b" source_unique_key_columns:"a,b" target_unique_key_columns:"c"
               source_unique_key_target_columns:"d" force_unique_key:"PRIMARY"}}"#,
        ] {
            assert_eq!(same(text), !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn others_are_left_to_the_reader_of_all() {
        for text in [
            r#"shard:"0" keyspace:"s""#,
            r#"keyspace:"s" keyspace:"s""#,
            r#"keyspace:"a" "b""#,
            "keyspace:\"a\"\n'b'",
            "keyspace:\"a\" # x",
            r#"keyspace:"a\x40""#,
            r#"keyspace:"a"#,
            r#"keyspace :"a""#,
            r"keyspace:'a'",
            r#"keyspace:"a", shard:"b""#,
            r#"filter:{rules:{match:"a">}"#,
            r#"filter:{rules:{match:"a"}"#,
            r#"filter:{rules:{match:"a"}}}"#,
            r#"filter:{rules:[{match:"a"}]}"#,
            r#"filter:{rules:{convert_enum_to_text:{key:"a"}}}"#,
            r"filter:{workflow_type:4}",
            "on_ddl:EXECUTE",
            "on_ddl:2",
            "on_ddl:EXEC-",
            "on_ddl:",
            "}",
            "x:1",
            "keyspace",
        ] {
            assert!(PlainSource::read(text.as_bytes()).is_none() || same(text), "{text}");
            assert!(PlainSource::read(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(PlainSource::read(b"keyspace:\"\xff\""), None);
    }

    /// Texts put together of pieces in all ways: what is read is read alike.
    #[test]
    fn no_text_is_read_in_two_ways() {
        const PIECES: [&str; 21] = [
            "keyspace:",
            "shard:",
            "filter:",
            "rules:",
            "match:",
            "on_ddl:",
            "\"a\"",
            "'b'",
            "{",
            "}",
            "<",
            ">",
            " ",
            "EXEC",
            "EXEC_IGNORE",
            "\n",
            ",",
            "#",
            "\\",
            "_",
            "\"",
        ];
        fn each(text: &mut String, more: usize, see: &mut dyn FnMut(&str)) {
            see(text);
            for piece in PIECES.iter().filter(|_| more > 0) {
                text.push_str(piece);
                each(text, more - 1, see);
                text.truncate(text.len() - piece.len());
            }
        }
        let mut plain = 0;
        each(&mut String::new(), 4, &mut |text| {
            plain += usize::from(same(text));
            plain += usize::from(same(&format!("keyspace:\"s\" filter:{{rules:{{match:\"t\" {text}")));
        });
        assert!(plain > 50, "{plain}");
    }
}
