//! A read of one sidecar table on one tablet: which statement comes next, and when all rows are there.
//!
//! One read is one statement in the usual case. It becomes more when a page is full, when an answer would be larger than a
//! message may be (then smaller pages), or when the tablet's release does not know the statement (then the older form). It ends
//! whatever the tablet answers: in statements, in bytes, and as soon as a page does not lead on.

use std::collections::BTreeMap;

use crate::{
    contract::Answer,
    formats::RowError,
    limits,
    sidecar::{
        paging::{Paging, Taken},
        result::RowSet,
        statement::{self, Scope},
    },
    topo::said,
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

    /// The columns that tell whose a row is, without which there is nothing to read.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Streams => &["id", "workflow"],
            Self::Names => &["workflow"],
            Self::CopyState => &["vrepl_id", "table_name"],
            Self::Logs => &["id", "vrepl_id"],
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
    paging: Paging,
    from: From,
    pages: Vec<RowSet>,
}

/// Where the next page begins. Names are bytes: one that is not UTF-8 must not be read over and over.
enum From {
    Start,
    AfterId(i64),
    AfterName(Vec<u8>),
    /// `copy_state` of v10 to v15, from the start or after a stream's table.
    Table(Option<(i64, Vec<u8>)>),
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
        let paging = Paging::new(subject.page_rows(), limits::STATEMENTS_PER_READ, limits::READ_BYTES);
        Self { tablet: tablet.to_owned(), subject, scope, paging, from: From::Start, pages: Vec::new() }
    }

    /// The same read with fewer bytes: one of many of a request.
    #[must_use]
    pub(crate) fn within(mut self, bytes: usize) -> Self {
        self.paging.within(bytes);
        self
    }

    pub(crate) fn subject(&self) -> Subject {
        self.subject
    }

    /// Rows that its next statement asks for.
    pub(super) fn page_rows(&self) -> usize {
        self.paging.rows
    }

    /// Whether so many bytes are within what it may have.
    pub(super) fn may_have(&self, bytes: usize) -> bool {
        self.paging.may_have(bytes)
    }

    /// The tablet's copy states have no ids: they are read in the older form from the start.
    pub(super) fn has_no_ids(&mut self) {
        self.from = From::Table(None);
    }

    /// Takes its first page, which came with other rows in an answer of which these bytes are its own.
    pub(super) fn begun(&mut self, rows: RowSet, bytes: usize) -> Next {
        self.paging.counts(bytes);
        self.page(rows)
    }

    /// Takes all its rows, however many they are.
    pub(super) fn filled(&mut self, rows: RowSet) -> Next {
        self.pages.push(rows);
        Next::Done
    }

    /// The statement to send now.
    pub(crate) fn statement(&self) -> String {
        let (scope, limit) = (&self.scope, self.paging.rows);
        let after = match self.from {
            From::AfterId(id) => Some(id),
            _ => None,
        };
        match (self.subject, &self.from) {
            (Subject::Streams, _) => statement::streams(scope, after, limit),
            (Subject::Names, From::AfterName(name)) => statement::names(scope, Some(name), limit),
            (Subject::Names, _) => statement::names(scope, None, limit),
            (Subject::CopyState, From::Table(after)) => {
                statement::all_copy_states(scope, after.as_ref().map(|(stream, table)| (*stream, table.as_slice())), limit)
            }
            (Subject::CopyState, _) => statement::newest_copy_states(scope, after, limit),
            (Subject::Logs, From::BelowId { id, rows }) => statement::logs(scope, Some(*id), &enough(rows), limit),
            (Subject::Logs, _) => statement::logs(scope, None, &[], limit),
        }
    }

    /// Takes the answer to the statement.
    pub(crate) fn answered(&mut self, answer: Answer) -> Next {
        let next = match self.paging.take(answer) {
            Taken::Response(response) => match self.rows(response) {
                Ok(rows) => self.page(rows),
                Err(text) => Next::Failed(text),
            },
            Taken::Smaller(_) => Next::Again,
            Taken::TooMuch(limit) => Next::Failed(format!(
                "the {} of {} have more than {limit} bytes: ask for one workflow, or for fewer shards",
                self.subject.name(),
                self.tablet
            )),
            Taken::Failed(message) if self.wants_id_column(&message) => {
                self.from = From::Table(None);
                Next::Again
            }
            Taken::Failed(message) if self.is_v10_without_logs(&message) => Next::Done,
            Taken::Failed(message) => Next::Failed(message),
            Taken::NoCall => Next::Failed(format!("the call to {} was answered with a topology record", self.tablet)),
        };
        match next {
            Next::Again if !self.paging.may_ask() => Next::Failed(format!(
                "the {} of {} need more than {} statements",
                self.subject.name(),
                self.tablet,
                self.paging.sent()
            )),
            next => next,
        }
    }

    /// The rows of an answer, if it is one to the statement.
    pub(super) fn rows(&self, response: Vec<u8>) -> Result<RowSet, String> {
        let (tablet, subject) = (&self.tablet, self.subject.name());
        let rows = RowSet::taken_from_vreplication_exec(response).and_then(|rows| {
            let missing = self.subject.columns().iter().find(|column| !rows.has_column(column));
            missing.map_or(Ok(rows), |column| Err(RowError::new(column, "no such column", b"")))
        });
        let rows = rows.map_err(|error| format!("the answer of {tablet} cannot be read: {error}"))?;
        if rows.len() > self.paging.rows {
            return Err(format!("{tablet} answered {} {subject} where {} were asked for at most", rows.len(), self.paging.rows));
        }
        Ok(rows)
    }

    /// The rows that came, a page at a time.
    pub(crate) fn into_pages(self) -> Vec<RowSet> {
        self.pages
    }

    /// `copy_state` has no `id` before v16: MySQL says 1054 of it. Source: `VR/engine.go` v10 to v15, `copy_state.sql` later.
    fn wants_id_column(&self, message: &str) -> bool {
        self.subject == Subject::CopyState && !matches!(self.from, From::Table(_)) && said::errno(message) == Some(1054)
    }

    /// v10 has no log table and refuses its name; v11 to v15 make it with the first row (1146 before that).
    fn is_v10_without_logs(&self, message: &str) -> bool {
        self.subject == Subject::Logs && (said::knows_no_table(message, "vreplication_log") || said::errno(message) == Some(1146))
    }

    fn page(&mut self, rows: RowSet) -> Next {
        let is_full = rows.len() >= self.paging.rows;
        let next = if is_full { self.next_page(&rows) } else { Ok(None) };
        self.pages.push(rows);
        match next {
            Ok(Some(from)) => {
                self.from = from;
                Next::Again
            }
            Ok(None) => Next::Done,
            Err(why) => Next::Failed(format!("no next page of the {} of {}: {why}", self.subject.name(), self.tablet)),
        }
    }

    /// Where the next page begins; `None` when nothing more is wanted. The error: a page after this one would be none that is
    /// closer to the end.
    fn next_page(&self, rows: &RowSet) -> Result<Option<From>, String> {
        let Some(last) = rows.rows().next_back() else { return Ok(None) };
        let unread = |error: RowError| format!("a row that cannot be read ({error})");
        let name = |column: &str| last.value(column).flatten().unwrap_or_default().to_vec();
        let (id, stream) = (rows.column("id"), rows.column("vrepl_id"));
        // A row whose id cannot be read does not end the read of the others.
        let ids = || rows.rows().filter_map(|row| row.integer_of(id).ok().flatten());
        let unread_id = || last.integer("id").err().map_or_else(|| "no row has an id".to_owned(), unread);
        let back = |text: String| Err(format!("the rows after {text} were asked for, and it came again"));
        Ok(Some(match (self.subject, &self.from) {
            (Subject::Names, from) => {
                let name = name("workflow");
                if let From::AfterName(before) = from
                    && name <= *before
                {
                    return back(format!("{:?}", String::from_utf8_lossy(before)));
                }
                From::AfterName(name)
            }
            (Subject::CopyState, From::Table(before)) => {
                let stream = last.integer("vrepl_id").map_err(unread)?.unwrap_or_default();
                let next = (stream, name("table_name"));
                if let Some(before) = before
                    && next <= *before
                {
                    return back(format!("table {:?} of stream {}", String::from_utf8_lossy(&before.1), before.0));
                }
                From::Table(Some(next))
            }
            (Subject::Streams | Subject::CopyState, from) => {
                let id = ids().max().ok_or_else(unread_id)?;
                if let From::AfterId(before) = from
                    && id <= *before
                {
                    return back(format!("id {before}"));
                }
                From::AfterId(id)
            }
            (Subject::Logs, from) => {
                let id = ids().min().ok_or_else(unread_id)?;
                let mut counts = match from {
                    From::BelowId { id: before, .. } if id >= *before => return back(format!("id {before}")),
                    From::BelowId { rows, .. } => rows.clone(),
                    _ => BTreeMap::new(),
                };
                for stream in rows.rows().filter_map(|row| row.integer_of(stream).ok().flatten()) {
                    *counts.entry(stream).or_default() += 1;
                }
                From::BelowId { id, rows: counts }
            }
        }))
    }
}

/// The streams that have all the log rows they may have.
fn enough(rows: &BTreeMap<i64, usize>) -> Vec<i64> {
    rows.iter().filter(|&(_, &count)| count >= limits::LOG_ROWS_PER_STREAM).map(|(&stream, _)| stream).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contract::FailureKind, sidecar::result::tests::answer};

    const NO_ID: &str = "Unknown column 'id' in 'field list' (errno 1054) (sqlstate 42S22)";

    fn failed(message: &str) -> Answer {
        Answer::Failed { kind: FailureKind::Status(2), message: message.into() }
    }

    fn page(columns: &[&str], rows: &[&[&str]]) -> Answer {
        let rows: Vec<_> = rows.iter().map(|row| row.iter().map(|value| (*value).to_owned()).collect()).collect();
        answer(columns, &rows)
    }

    fn copies(rows: &[&[&str]]) -> Answer {
        page(&["#vrepl_id", "table_name"], rows)
    }

    fn names(rows: &[&[&str]]) -> Answer {
        page(&["workflow"], rows)
    }

    /// So many log rows with falling ids from `id` on, those of the streams in turn.
    fn logs(id: i64, streams: &[i64], count: usize) -> Answer {
        let rows = (0..id).rev().zip(streams.iter().cycle()).take(count);
        answer(&["#id", "#vrepl_id"], &rows.map(|(id, stream)| vec![id.to_string(), stream.to_string()]).collect::<Vec<_>>())
    }

    /// What stands in the statements of a read behind the scope, and its end: how many rows came, or why not all did.
    fn read(subject: Subject, rows: usize, statements: usize, answers: Vec<Answer>) -> (Vec<String>, Result<usize, String>) {
        let scope = Scope { db_name: "d".into(), workflow: String::new(), active_only: false };
        let mut read = Read::new("zone1-1", subject, scope);
        read.paging = Paging::new(rows, statements, 1 << 20);
        let mut sent = Vec::new();
        for answer in answers {
            sent.push(read.statement().rsplit_once("db_name = 'd'").unwrap().1.trim_start_matches(')').trim_start().to_owned());
            match read.answered(answer) {
                Next::Again => {}
                Next::Done => return (sent, Ok(read.into_pages().iter().map(RowSet::len).sum())),
                Next::Failed(text) => return (sent, Err(text)),
            }
        }
        panic!("it goes on after {sent:?}");
    }

    #[test]
    fn full_pages_lead_on() {
        let streams = |ids: &[&str]| {
            page(
                &["#id", "workflow"],
                &ids.iter().map(|id| vec![*id, "w"]).collect::<Vec<_>>().iter().map(Vec::as_slice).collect::<Vec<_>>(),
            )
        };
        for (subject, answers, want, rows) in [
            (
                Subject::Streams,
                vec![streams(&["1", "2"]), streams(&["4", "5"]), streams(&[])],
                &["order by id limit 2", "and id > 2 order by id limit 2", "and id > 5 order by id limit 2"][..],
                4,
            ),
            (
                Subject::Names,
                vec![names(&[&["a"], &["b"]]), names(&[&["c"], &["d"]]), names(&[&["e"]])],
                &[
                    "order by workflow limit 2",
                    "and workflow > 'b' order by workflow limit 2",
                    "and workflow > 'd' order by workflow limit 2",
                ],
                5,
            ),
            (
                Subject::CopyState,
                vec![failed(NO_ID), copies(&[&["1", "a"], &["2", "a"]]), copies(&[&["2", "b"], &["3", "a"]]), copies(&[])],
                &[
                    "group by vrepl_id, table_name) order by id limit 2",
                    "order by vrepl_id, table_name limit 2",
                    "and (vrepl_id > 2 or vrepl_id = 2 and table_name > 'a') order by vrepl_id, table_name limit 2",
                    "and (vrepl_id > 3 or vrepl_id = 3 and table_name > 'a') order by vrepl_id, table_name limit 2",
                ],
                4,
            ),
        ] {
            let (sent, end) = read(subject, 2, 9, answers);
            assert_eq!((sent, end), (want.iter().map(|text| (*text).to_owned()).collect(), Ok(rows)), "{subject:?}");
        }
    }

    #[test]
    fn streams_that_have_their_log_rows_are_left_out_of_later_pages() {
        let half = limits::LOG_ROWS_PER_STREAM / 2;
        let answers = vec![logs(1_000, &[7, 8], half), logs(800, &[7], half), logs(600, &[7, 8], half), logs(300, &[8], 3)];
        let (sent, end) = read(Subject::Logs, half, 9, answers);
        let last = format!("order by id desc limit {half}");
        assert_eq!(
            sent,
            [
                last.clone(),
                format!("and id < {} {last}", 1_000 - half),
                format!("and id < {} {last}", 800 - half),
                format!("and id < {} and vrepl_id not in (7) {last}", 600 - half),
            ]
        );
        assert_eq!(end, Ok(3 * half + 3));
    }

    #[test]
    fn a_page_that_does_not_lead_on_is_the_last() {
        let back = |name: &str, text: &str| {
            Err(format!("no next page of the {name} of zone1-1: the rows after {text} were asked for, and it came again"))
        };
        for (subject, answers, want) in [
            (Subject::Names, vec![names(&[&["a"], &["b"]]), names(&[&["a"], &["b"]])], back("names", "\"b\"")),
            (Subject::Names, vec![names(&[&["a"], &["b"]]), names(&[&["c"], &["a"]])], back("names", "\"b\"")),
            (Subject::Logs, vec![logs(9, &[1], 2), logs(9, &[1], 2)], back("logs", "id 7")),
            (Subject::Logs, vec![logs(9, &[1], 2), logs(10, &[1], 2)], back("logs", "id 7")),
            (
                Subject::CopyState,
                vec![failed(NO_ID), copies(&[&["1", "a"], &["2", "b"]]), copies(&[&["1", "a"], &["2", "b"]])],
                back("copy state", "table \"b\" of stream 2"),
            ),
        ] {
            assert_eq!(read(subject, 2, 9, answers).1, want);
        }
    }

    #[test]
    fn a_tablet_is_asked_in_the_older_form_only_where_it_has_one() {
        for subject in [Subject::Streams, Subject::Names, Subject::Logs] {
            assert_eq!(read(subject, 2, 9, vec![failed(NO_ID)]).1, Err(NO_ID.to_owned()), "{subject:?}");
        }
        let copy_state = |answers: &[&str]| read(Subject::CopyState, 2, 9, answers.iter().map(|text| failed(text)).collect());
        assert_eq!(
            copy_state(&["boom"]),
            (vec!["group by vrepl_id, table_name) order by id limit 2".into()], Err("boom".into()))
        );
        assert_eq!(copy_state(&[NO_ID, NO_ID]).1, Err(NO_ID.to_owned()), "and once");
    }

    #[test]
    fn statements_are_counted() {
        let needs_more = |statements: usize| Err(format!("the names of zone1-1 need more than {statements} statements"));
        assert_eq!(read(Subject::Names, 1, 2, vec![names(&[&["a"]]), names(&[&["b"]])]).1, needs_more(2));
        assert_eq!(read(Subject::Names, 1, 3, vec![names(&[&["a"]]), names(&[&["b"]]), names(&[&["c"]])]).1, needs_more(3));
        assert_eq!(read(Subject::Names, 1, 3, vec![names(&[&["a"]]), names(&[&["b"]]), names(&[])]).1, Ok(2));
    }
}
