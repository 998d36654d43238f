//! What an embedded tablet says when it refuses: the error of one statement or RPC, before the release's wrapping.
//!
//! Texts are those of Vitess and MySQL, because clients match them. Which code goes out and how the text is wrapped is decided
//! in `service.rs`.

use tonic::Code;

/// Why a tablet did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TabletError {
    /// A plain error of the tablet's own: goes out as UNKNOWN in every release.
    #[error("{0}")]
    Plain(String),
    /// An error of the tablet that has a code from the release on that sends codes.
    #[error("{text}")]
    Coded {
        /// What newer tablets send.
        code: Code,
        /// The text.
        text: String,
    },
    /// An error of MySQL.
    #[error("{error} during query: {query}")]
    Mysql {
        /// What MySQL said.
        error: MysqlError,
        /// The statement as MySQL got it.
        query: String,
    },
}

/// An error of MySQL, as its client library renders it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} (errno {errno}) (sqlstate {sqlstate})")]
pub struct MysqlError {
    /// MySQL's number.
    pub errno: u16,
    /// Five characters.
    pub sqlstate: &'static str,
    /// The text.
    pub text: String,
}

impl TabletError {
    /// The code that a tablet sends that maps codes.
    pub fn code(&self) -> Code {
        match self {
            Self::Plain(_) => Code::Unknown,
            Self::Coded { code, .. } => *code,
            Self::Mysql { error, .. } => match error.errno {
                1049 | 1054 | 1146 => Code::NotFound,
                1064 => Code::InvalidArgument,
                1062 => Code::AlreadyExists,
                1205 => Code::DeadlineExceeded,
                _ => Code::Unknown,
            },
        }
    }

    /// A plain error.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::Plain(text.into())
    }

    /// An error with a code.
    pub fn coded(code: Code, text: impl Into<String>) -> Self {
        Self::Coded { code, text: text.into() }
    }
}

impl MysqlError {
    /// 1054.
    pub fn unknown_column(name: &str, clause: &str) -> Self {
        Self { errno: 1054, sqlstate: "42S22", text: format!("Unknown column '{name}' in '{clause}'") }
    }

    /// 1146. `name` with its database.
    pub fn no_table(name: &str) -> Self {
        Self { errno: 1146, sqlstate: "42S02", text: format!("Table '{name}' doesn't exist") }
    }

    /// 1046.
    pub fn no_database() -> Self {
        Self { errno: 1046, sqlstate: "3D000", text: "No database selected".to_owned() }
    }

    /// 1064. `near` is the rest of the statement from where it cannot be read.
    pub fn syntax(near: &str) -> Self {
        let near: String = near.chars().take(80).collect();
        let text = format!(
            "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for the right \
             syntax to use near '{near}' at line 1"
        );
        Self { errno: 1064, sqlstate: "42000", text }
    }

    /// 1305.
    pub fn no_function(name: &str) -> Self {
        Self { errno: 1305, sqlstate: "42000", text: format!("FUNCTION {name} does not exist") }
    }

    /// 1235: MySQL would run it, an embedded tablet does not.
    pub fn unsupported(what: &str) -> Self {
        Self { errno: 1235, sqlstate: "42000", text: format!("This version of MySQL doesn't yet support '{what}'") }
    }
}
