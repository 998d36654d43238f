//! A read of one sidecar table on one tablet: which statement comes next, and when all rows are there.
//!
//! One read is one statement in the usual case. It becomes more when a page is full, when an answer would be larger than a
//! message may be (then smaller pages), or when the tablet's release does not know the statement (then the older form).

use std::collections::BTreeMap;

use super::statement::{self, Scope};
use crate::{
    flow::{Answer, FailureKind},
    limits,
    rows::result::RowSet,
};

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Rows of `_vt.vreplication`.
    Streams,
    /// The workflow names in `_vt.vreplication`.
    Names,
    /// The current rows of `_vt.copy_state`.
    CopyState,
    /// The newest rows of `_vt.vreplication_log`.
    Logs,
}

impl Subject {
    /// As people read it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Names => "names",
            Self::CopyState => "copy state",
            Self::Logs => "logs",
        }
    }

    fn page_rows(self) -> usize {
        match self {
            Self::Streams => limits::STREAM_PAGE_ROWS,
            Self::Names => limits::NAME_PAGE_ROWS,
            Self::CopyState => limits::COPY_STATE_PAGE_ROWS,
            Self::Logs => limits::LOG_PAGE_ROWS,
        }
    }
}

/// A read under way.
pub(crate) struct Read {
    /// The tablet's alias, for the texts that are not the tablet's own.
    tablet: String,
    subject: Subject,
    scope: Scope,
    page_rows: usize,
    from: From,
    sent: usize,
    pages: Vec<RowSet>,
}

/// Where the next page begins.
enum From {
    Start,
    AfterId(i64),
    AfterName(String),
    /// `copy_state` of v10 to v15, from the start or after a stream's table.
    Table(Option<(i64, String)>),
    /// Logs run backwards. `rows` counts what came for each stream.
    BelowId {
        id: i64,
        rows: BTreeMap<i64, usize>,
    },
}

/// What an answer means for a read.
pub(crate) enum Next {
    /// Another statement: [`Read::statement`] has it.
    Again,
    /// All rows are there.
    Done,
    /// The rows cannot be had. The text says why.
    Failed(String),
}

impl Read {
    pub(crate) fn new(tablet: &str, subject: Subject, scope: Scope) -> Self {
        let tablet = tablet.to_owned();
        Self { tablet, subject, scope, page_rows: subject.page_rows(), from: From::Start, sent: 0, pages: Vec::new() }
    }

    pub(crate) fn subject(&self) -> Subject {
        self.subject
    }

    /// The statement to send now.
    pub(crate) fn statement(&self) -> String {
        let (scope, limit) = (&self.scope, self.page_rows);
        let after = match self.from {
            From::AfterId(id) => Some(id),
            _ => None,
        };
        match (self.subject, &self.from) {
            (Subject::Streams, _) => statement::streams(scope, after, limit),
            (Subject::Names, From::AfterName(name)) => statement::names(scope, Some(name), limit),
            (Subject::Names, _) => statement::names(scope, None, limit),
            (Subject::CopyState, From::Table(after)) => {
                statement::all_copy_states(scope, after.as_ref().map(|(stream, table)| (*stream, table.as_str())), limit)
            }
            (Subject::CopyState, _) => statement::newest_copy_states(scope, after, limit),
            (Subject::Logs, From::BelowId { id, rows }) => statement::logs(scope, Some(*id), &enough(rows), limit),
            (Subject::Logs, _) => statement::logs(scope, None, &[], limit),
        }
    }

    /// Takes the answer to the statement.
    pub(crate) fn answered(&mut self, answer: Answer) -> Next {
        self.sent += 1;
        let next = match answer {
            Answer::Called(response) => match RowSet::from_vreplication_exec(&response) {
                Ok(rows) => self.page(rows),
                Err(error) => Next::Failed(format!("the answer of {} cannot be read: {error}", self.tablet)),
            },
            Answer::Failed { kind: FailureKind::TooLarge, .. } if self.page_rows > 1 => {
                self.page_rows = (self.page_rows / 8).max(1);
                Next::Again
            }
            Answer::Failed { message, .. } if self.wants_id_column(&message) => {
                self.from = From::Table(None);
                Next::Again
            }
            Answer::Failed { message, .. } if self.is_v10_without_logs(&message) => Next::Done,
            Answer::Failed { message, .. } => Next::Failed(message),
            _ => Next::Failed(format!("the call to {} was answered with a topology record", self.tablet)),
        };
        match next {
            Next::Again if self.sent >= limits::STATEMENTS_PER_READ => {
                Next::Failed(format!("the {} of {} need more than {} statements", self.subject.name(), self.tablet, self.sent))
            }
            next => next,
        }
    }

    /// The rows that came, a page at a time.
    pub(crate) fn into_pages(self) -> Vec<RowSet> {
        self.pages
    }

    /// `copy_state` has no `id` before v16: MySQL says 1054 of it. Source: `VR/engine.go` v10 to v15, `copy_state.sql` later.
    fn wants_id_column(&self, message: &str) -> bool {
        self.subject == Subject::CopyState
            && !matches!(self.from, From::Table(_))
            && message.contains("Unknown column")
            && message.contains("id'")
    }

    /// v10 has no log table and refuses its name; v11 to v15 make it with the first row (1146 before that).
    fn is_v10_without_logs(&self, message: &str) -> bool {
        self.subject == Subject::Logs
            && (message.contains("invalid table name: _vt.vreplication_log") || message.contains("(errno 1146)"))
    }

    fn page(&mut self, rows: RowSet) -> Next {
        let is_full = rows.len() >= self.page_rows;
        let next = if is_full { self.next_page(&rows) } else { Ok(None) };
        self.pages.push(rows);
        match next {
            Ok(Some(from)) => {
                self.from = from;
                Next::Again
            }
            Ok(None) => Next::Done,
            Err(error) => Next::Failed(format!("no next page of {} after a row that cannot be read: {error}", self.tablet)),
        }
    }

    /// Where the next page begins; `None` when nothing more is wanted.
    fn next_page(&self, rows: &RowSet) -> Result<Option<From>, crate::rows::RowError> {
        let Some(last) = rows.rows().last() else { return Ok(None) };
        let id = || last.integer("id").map(Option::unwrap_or_default);
        Ok(Some(match (self.subject, &self.from) {
            (Subject::Names, _) => From::AfterName(last.text("workflow")),
            (Subject::CopyState, From::Table(_)) => {
                From::Table(Some((last.integer("vrepl_id")?.unwrap_or_default(), last.text("table_name"))))
            }
            (Subject::Streams | Subject::CopyState, _) => From::AfterId(id()?),
            (Subject::Logs, from) => {
                let mut counts = match from {
                    From::BelowId { rows, .. } => rows.clone(),
                    _ => BTreeMap::new(),
                };
                for row in rows.rows() {
                    *counts.entry(row.integer("vrepl_id")?.unwrap_or_default()).or_default() += 1;
                }
                From::BelowId { id: id()?, rows: counts }
            }
        }))
    }
}

/// The streams that have all the log rows they may have.
fn enough(rows: &BTreeMap<i64, usize>) -> Vec<i64> {
    rows.iter().filter(|&(_, &count)| count >= limits::LOG_ROWS_PER_STREAM).map(|(&stream, _)| stream).collect()
}
