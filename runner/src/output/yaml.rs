//! What JSON says, as YAML that readers of YAML 1.1 and 1.2 both take for the same: a text that one of them reads as anything else
//! (`on`, `1_000`, `2001-01-01`, `<<`, `=`) is quoted.
//!
//! The shape is the usual one: blocks, two spaces of indent, lists as far to the left as their keys.

use std::fmt::{self, Write};

use serde::{Deserialize, Deserializer, de};

/// A JSON document as YAML, with a newline at the end.
///
/// # Errors
/// It is not JSON.
pub(super) fn from_json(json: &str) -> Result<String, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(json);
    // Our own documents, as deep as messages are.
    let node = Node::deserialize(&mut reader)?;
    let mut out = String::new();
    node.write(&mut out, 0, Behind::Start);
    Ok(out)
}

/// A value, its keys in their order.
enum Node {
    /// Of a spelling that means the same everywhere: `null`, `true`, a number.
    Word(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// What a value stands behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    Start,
    Key,
    Dash,
}

impl Node {
    /// Writes it, its line's end included.
    fn write(&self, out: &mut String, indent: usize, behind: Behind) {
        let gap = if behind == Behind::Start { "" } else { " " };
        let text = match self {
            Self::Word(word) => word.clone(),
            Self::Text(text) => scalar(text),
            Self::List(nodes) if nodes.is_empty() => "[]".to_owned(),
            Self::Map(entries) if entries.is_empty() => "{}".to_owned(),
            Self::List(nodes) => {
                let mut is_first = true;
                for node in nodes {
                    begin(out, indent, behind, is_first);
                    is_first = false;
                    out.push('-');
                    node.write(out, indent + 1, Behind::Dash);
                }
                return;
            }
            Self::Map(entries) => {
                // Behind a key one step further to the right; a list is not.
                let indent = if behind == Behind::Key { indent + 1 } else { indent };
                let mut is_first = true;
                for (key, node) in entries {
                    begin(out, indent, behind, is_first);
                    is_first = false;
                    let key = scalar(key);
                    if key.len() > SIMPLE_KEY_BYTES {
                        out.push_str("? ");
                        out.push_str(&key);
                        out.push('\n');
                        margin(out, indent);
                    } else {
                        out.push_str(&key);
                    }
                    out.push(':');
                    node.write(out, indent, Behind::Key);
                }
                return;
            }
        };
        out.push_str(gap);
        out.push_str(&text);
        out.push('\n');
    }
}

/// Goes to where an entry begins: the first one behind a dash on the same line.
fn begin(out: &mut String, indent: usize, behind: Behind, is_first: bool) {
    match behind {
        Behind::Dash if is_first => out.push(' '),
        Behind::Key if is_first => {
            out.push('\n');
            margin(out, indent);
        }
        _ => margin(out, indent),
    }
}

fn margin(out: &mut String, indent: usize) {
    for _ in 0..indent {
        out.push_str("  ");
    }
}

/// A text, quoted unless nobody can take it for anything else.
fn scalar(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    if text.chars().all(is_printable) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut out = String::from("\"");
    for character in text.chars() {
        // Writing to a String does not fail.
        let _ = match character {
            '"' | '\\' => write!(out, "\\{character}"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            character if is_printable(character) => write!(out, "{character}"),
            character if u32::from(character) <= 0xff => write!(out, "\\x{:02X}", u32::from(character)),
            character if u32::from(character) <= 0xffff => write!(out, "\\u{:04X}", u32::from(character)),
            character => write!(out, "\\U{:08X}", u32::from(character)),
        };
    }
    out.push('"');
    out
}

/// A letter first, then what has no meaning of its own inside of a text; and none of the words of YAML 1.1.
fn is_plain(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./@+=%(), ".contains(&byte);
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(is_first)
        && text.bytes().all(is_inner)
        && !text.ends_with(' ')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// What YAML 1.1 takes for a boolean or for nothing, in lower case.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// What stands on one line as it is, for every reader.
fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

/// Bytes of a key that may stand before its colon without a question mark; readers look no further than 1,024 characters.
const SIMPLE_KEY_BYTES: usize = 1_000;

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;
        impl<'de> de::Visitor<'de> for NodeVisitor {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Word("null".to_owned()))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Word(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Word(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Word(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Word(number(value)))
            }
            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Text(value.to_owned()))
            }
            fn visit_string<E>(self, value: String) -> Result<Node, E> {
                Ok(Node::Text(value))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = list.next_element()? {
                    nodes.push(node);
                }
                Ok(Node::List(nodes))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Map(entries))
            }
        }
        deserializer.deserialize_any(NodeVisitor)
    }
}

/// With a point and all digits: 1e21 is a text in YAML 1.1.
fn number(value: f64) -> String {
    let short = format!("{value:?}");
    match (short.contains('e'), value.fract() == 0.0) {
        (true, true) => format!("{value:.1}"),
        (true, false) => value.to_string(),
        (false, _) => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_the_usual_one() {
        let json = r#"{"workflows":[{"name":"w","shards":["-80","80-"],"none":[],"of":{},"source":{"keyspace":"ks","m":-7,"f":0.5}},{"name":null}],
            "lists":[[1,2],[],[{"a":true}]]}"#;
        let want = "\
workflows:
- name: w
  shards:
  - '-80'
  - '80-'
  none: []
  of: {}
  source:
    keyspace: ks
    m: -7
    f: 0.5
- name: null
lists:
- - 1
  - 2
- []
- - a: true
";
        assert_eq!(from_json(json).unwrap(), want);
        assert_eq!(from_json("7").unwrap(), "7\n");
        assert_eq!(from_json("1e21").unwrap(), "1000000000000000000000.0\n");
    }

    #[test]
    fn a_text_is_a_text_in_every_yaml() {
        for text in [
            "on",
            "Yes",
            "no",
            "N",
            "off",
            "TRUE",
            "Null",
            "~",
            "",
            "1_000",
            "0x10",
            "0o7",
            "012",
            "1e3",
            ".inf",
            ".NaN",
            "190:20:30",
            "2001-01-01",
            "0000-00-00 00:00:00",
            "<<",
            "=",
            "---",
            "...",
            "- a",
            "? b",
            "a: b",
            "a #b",
            "#",
            "&x",
            "*x",
            "!x",
            "%x",
            "@x",
            "`x",
            "{a",
            "[a",
            "|",
            ">",
            " lead",
            "trail ",
            "a:",
            "it's",
            "12345",
        ] {
            assert_eq!(scalar(text), format!("'{}'", text.replace('\'', "''")), "{text}");
        }
        for (text, want) in [
            ("a\nb\n", r#""a\nb\n""#),
            ("\t\r", r#""\t\r""#),
            ("x\u{85}y\u{2028}\u{feff}\u{7f}\u{1b}[", r#""x\x85y\u2028\uFEFF\x7F\x1B[""#),
            ("\u{fffe}\"\\", r#""\uFFFE\"\\""#),
        ] {
            assert_eq!(scalar(text), want);
        }
        for plain in
            ["commerce", "move_orders-2", "Running", "zone1-0000000100", "the tablet, (as it) is", "gA==", "_vt.vreplication"]
        {
            assert_eq!(scalar(plain), plain);
        }
        assert_eq!(scalar("caf\u{e9}"), "'caf\u{e9}'");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let long = "k".repeat(2_000);
        let texts = ["on", "1_000", "a\nb", "\u{85}", "<<", "=", "it's", "2001-01-01", "  ", "", "a: b\n- c\n", &long];
        let json: serde_json::Value =
            texts.iter().map(|text| serde_json::json!({ *text: [text, { *text: { *text: text } }] })).collect();
        let yaml = from_json(&json.to_string()).unwrap();
        assert_eq!(serde_norway::from_str::<serde_json::Value>(&yaml).unwrap(), json, "{yaml}");
    }
}
