//! The names of tables and columns that come from outside (a tablet's answer, a file): read once, into a type that has no room for
//! anything but a name.

use std::{fmt, ops::Deref};

/// Bytes of a table's or column's name. Source: MySQL's reference manual, Identifier Length Limits.
const BYTES: usize = 64;

/// The name of a table or a column: 1 to 64 of the letters a to z and A to Z, digits, `_` and `$`. No sidecar table of any release has
/// other names. It cannot hold a quote, a dot, a space or a control character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SqlName(String);

/// Why a text is no such name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSqlName {
    /// Nothing.
    #[error("a name without a character")]
    Empty,
    /// More than 64 bytes.
    #[error("{0:?}… is longer than the {BYTES} bytes of a name")]
    TooLong(String),
    /// Something that is no letter, digit, `_` or `$`.
    #[error(
        "{0:?} is no name of a table or column: it has the character {1:?}, and letters, digits, _ and $ are all that is accepted"
    )]
    Character(String, char),
}

impl SqlName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`BadSqlName`]: it is empty, too long, or has a character that no such name has.
    pub fn parse(text: &str) -> Result<Self, BadSqlName> {
        if text.is_empty() {
            return Err(BadSqlName::Empty);
        }
        if text.len() > BYTES {
            return Err(BadSqlName::TooLong(text.chars().take(20).collect()));
        }
        match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '$'))) {
            Some(c) => Err(BadSqlName::Character(text.to_owned(), c)),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The name as it stands in a statement: between backticks.
    pub fn quoted(&self) -> String {
        format!("`{}`", self.0)
    }
}

impl Deref for SqlName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for SqlName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for SqlName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<String> for SqlName {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for SqlName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::SqlName;

    #[test]
    fn a_name_is_compared_as_the_text_that_it_is() {
        let name = SqlName::parse("id").unwrap();
        assert_eq!((&*name, name.to_string().as_str()), ("id", "id"));
        for (text, is_equal) in [("id", true), ("ID", false), ("i", false), ("", false)] {
            let owned = text.to_owned();
            assert_eq!((name == *text, name == text, name == owned), (is_equal, is_equal, is_equal), "{text}");
        }
    }

    #[test]
    fn a_name_has_no_room_for_a_statement() {
        for name in ["id", "vreplication_log", "TABLE_ROWS", "a$1", "9"] {
            assert_eq!(SqlName::parse(name).unwrap().quoted(), format!("`{name}`"));
        }
        assert!(SqlName::parse(&"x".repeat(64)).is_ok());
        for (name, want) in [
            ("", "a name without a character"),
            ("a`b", "it has the character '`'"),
            ("a\"b", "it has the character '\"'"),
            ("a'b", "it has the character '\\''"),
            ("a\\", "it has the character '\\\\'"),
            ("a b", "it has the character ' '"),
            ("a.b", "it has the character '.'"),
            ("a;b", "it has the character ';'"),
            ("a\0b", "it has the character '\\0'"),
            ("café", "it has the character 'é'"),
            ("a/b", "it has the character '/'"),
        ] {
            let text = SqlName::parse(name).unwrap_err().to_string();
            assert!(text.contains(want), "{name:?}: {text}");
        }
        let text = SqlName::parse(&"x".repeat(10_000)).unwrap_err().to_string();
        assert!(text.ends_with("longer than the 64 bytes of a name") && text.len() < 100, "{text}");
    }
}
