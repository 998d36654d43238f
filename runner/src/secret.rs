//! Texts that nobody may see: passwords, and addresses that somebody has put one into.
//!
//! A password is a [`Secret`] from the moment it is read; error texts, logs, traces and `Debug` have no way to its letters.

use std::{convert::Infallible, fmt, str::FromStr};

use serde::Deserialize;

/// A password. Compared, sent, never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Its letters, for the one who sends or compares them.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

/// A name and its password, as files of Vitess have them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Credentials {
    /// Who.
    #[serde(rename = "Username")]
    pub username: String,
    /// What proves it.
    #[serde(rename = "Password")]
    pub password: Secret,
}

/// What is wrong with a credentials file. Unlike the library's error it does not repeat what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialsFault {
    /// The JSON is not what it should be.
    Json {
        /// In which way.
        what: &'static str,
        /// From 1 on.
        line: usize,
        /// From 1 on.
        column: usize,
    },
    /// The `username` or the `password` has characters that no header can have.
    Unsendable(&'static str),
}

impl From<&serde_json::Error> for CredentialsFault {
    fn from(error: &serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Data => "not what is expected there",
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Io | serde_json::error::Category::Syntax => "not JSON",
        };
        Self::Json { what, line: error.line(), column: error.column() }
    }
}

impl fmt::Display for CredentialsFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { what, line, column } => write!(formatter, "{what}, line {line} column {column}"),
            Self::Unsendable(what) => write!(formatter, "the {what} has characters that cannot be sent"),
        }
    }
}

/// A list of addresses as texts show it: whatever stands before an `@`, also one that is written `%40`, or behind a `?` may be a name
/// and a password, and is left out.
pub(crate) fn shown_address(list: &str) -> String {
    let end = list.rfind('@').map(|at| at + 1).max(list.rfind("%40").map(|at| at + 3));
    let (secret, shown) = match end.and_then(|end| list.get(end..)) {
        Some(host) => ("…@", host),
        None => ("", list),
    };
    match shown.split_once('?') {
        Some((host, _)) => format!("{secret}{host}?…"),
        None => format!("{secret}{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let credentials: Credentials = serde_json::from_str(r#"{"Username": "anna", "Password": "hunter2"}"#).unwrap();
        assert!(!format!("{credentials:?}").contains("hunter2"));
        assert_eq!(credentials.password.reveal(), "hunter2");
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_a_secret() {
        for (list, shown) in [
            ("a:2379,b:2379", "a:2379,b:2379"),
            ("http://anna:hunter2@a:2379", "…@a:2379"),
            ("http://anna:hunter2%40a:2379", "…@a:2379"),
            ("b:1,http://anna:hun@ter2@a:2379?password=hunter2", "…@a:2379?…"),
            ("a:2379?password=hunter2@b", "…@b"),
            ("http://anna:hun?ter2@a:2379", "…@a:2379"),
        ] {
            assert_eq!(shown_address(list), shown);
        }
    }

    #[test]
    fn a_fault_of_a_file_does_not_repeat_the_file() {
        for (text, said) in [
            (r#""hunter2""#, "not what is expected there, line 1 column 9"),
            (r#"{"Username": "anna", "Password": "hunter2""#, "it ends too early, line 1 column 42"),
            ("{hunter2}", "not JSON, line 1 column 2"),
        ] {
            let error = serde_json::from_str::<Credentials>(text).unwrap_err();
            assert_eq!(CredentialsFault::from(&error).to_string(), said, "{text}");
        }
    }

    #[test]
    fn addresses_are_shown_without_their_login() {
        for (list, want) in [
            ("etcd:2379", "etcd:2379"),
            ("http://a:2379, https://b:2379/", "http://a:2379, https://b:2379/"),
            ("http://anna:hunter2@a:2379,b:2379", "…@a:2379,b:2379"),
            ("a:1,anna:hun@t,er2@b:2379", "…@b:2379"),
            ("", ""),
        ] {
            assert_eq!(shown_address(list), want);
        }
    }
}
