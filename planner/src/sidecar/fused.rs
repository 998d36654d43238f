//! The streams of a tablet with their copy states and log rows, asked for in one statement.
//!
//! A tablet answers one statement after the other and opens a connection for each, so one is cheaper than three. It is the first page
//! of each of three reads, which go on by themselves where it is full. Where a tablet does not take the statement, or its answer is not
//! to be trusted to the last byte, these reads begin anew, each with its own statement: what is found is the same.
//!
//! Not asked again is a tablet that gave no answer, or that says it is no primary: whoever waited for it would wait once more.

use crate::{
    contract::{Answer, FailureKind},
    sidecar::{
        json_rows::{Columns, Form, JsonRows},
        read::{Next, Read, Subject},
        result::RowSet,
        statement::{self, Scope},
    },
    topo::said::{self, says_not_primary},
};

/// The rows in column [`statement::COPY_STATES`]. Whose they are is their stream's id.
pub(crate) const COPY_STATES: Columns =
    &[("id", Form::Integer), ("table_name", Form::Hex), ("lastpk", Form::Hex), ("vrepl_id", Form::Given)];

/// The rows in column [`statement::LOGS`].
pub(crate) const LOGS: Columns = &[
    ("id", Form::Integer),
    ("vrepl_id", Form::Integer),
    ("type", Form::Hex),
    ("state", Form::Hex),
    ("created_at", Form::Text),
    ("updated_at", Form::Text),
    ("message", Form::Text),
    ("count", Form::Integer),
];

/// The statement under way, and the reads that it begins.
pub(crate) struct Fused {
    scope: Scope,
    streams: Read,
    copy_states: Read,
    logs: Option<Read>,
}

impl Fused {
    /// `bytes`: what each of the reads may bring.
    pub(crate) fn new(tablet: &str, scope: Scope, with_logs: bool, bytes: usize) -> Self {
        let read = |subject| Read::new(tablet, subject, scope.clone()).within(bytes);
        let (streams, copy_states) = (read(Subject::Streams), read(Subject::CopyState));
        Self { streams, copy_states, logs: with_logs.then(|| read(Subject::Logs)), scope }
    }

    /// What it reads, as people read it.
    pub(crate) fn subject(&self) -> &'static str {
        if self.logs.is_some() { "streams, copy state and logs" } else { "streams and copy state" }
    }

    pub(crate) fn statement(&self) -> String {
        statement::fused(&self.scope, self.streams.page_rows(), self.logs.as_ref().map(Read::page_rows))
    }

    /// What becomes of the reads: of streams, copy states and, if wanted, logs, in this order. If the tablet is not to be asked again,
    /// only the first, which has failed: without streams the others are nothing.
    pub(crate) fn answered(mut self, answer: Answer) -> Vec<(Read, Next)> {
        let is_lost = match &answer {
            Answer::Called(_) => false,
            Answer::Failed { kind: FailureKind::Status(_) | FailureKind::TooLarge, .. } => says_not_primary(&answer),
            _ => true,
        };
        if is_lost {
            let next = self.streams.answered(answer);
            return vec![(self.streams, next)];
        }
        let pages = match answer {
            Answer::Called(response) => self.pages(response),
            Answer::Failed { message, .. } if said::knows_no_id_of_copy_state(&message) => {
                self.copy_states.has_no_ids();
                None
            }
            _ => None,
        };
        if let Some(pages) = pages {
            return self.begun(pages);
        }
        let reads = [self.streams, self.copy_states].into_iter().chain(self.logs);
        reads.map(|read| (read, Next::Again)).collect()
    }

    /// What the answer has of each read; `None`: it is no such answer, or not such a one that nothing can be missing.
    fn pages(&self, response: Vec<u8>) -> Option<Pages> {
        let bytes = response.len();
        let streams = self.streams.rows(response).ok()?;
        let mut copy_states = JsonRows::new(COPY_STATES, false);
        let mut logs = JsonRows::new(LOGS, true);
        let [id, copy_states_of, logs_of] = ["id", statement::COPY_STATES, statement::LOGS].map(|name| streams.column(name));
        let has_columns = copy_states_of.is_there() && (self.logs.is_none() || logs_of.is_there());
        let (mut copy_state_bytes, mut log_bytes, mut log_values) = (0, 0, 0);
        for row in streams.rows() {
            row.integer_of(id).ok()??;
            let (stream, json) = (row.value_of(id)?, row.value_of(copy_states_of)?);
            copy_state_bytes += json.len();
            copy_states.add(json, stream)?;
            if let Some(json) = self.logs.as_ref().and(row.value_of(logs_of)) {
                log_bytes += json.len();
                log_values += 1;
                logs.add(json, b"")?;
            }
        }
        let logs = logs.into_rows();
        // Log rows stand beside one stream, if there is any.
        let has_logs = self.logs.is_none() || log_values == usize::from(!streams.is_empty());
        let stream_bytes = bytes.saturating_sub(copy_state_bytes + log_bytes);
        let fits = self.streams.may_have(stream_bytes)
            && self.copy_states.may_have(copy_state_bytes)
            && self.logs.as_ref().is_none_or(|read| read.may_have(log_bytes) && logs.len() <= read.page_rows());
        let pages = Pages { streams, stream_bytes, copy_states: copy_states.into_rows(), logs, log_bytes };
        (has_columns && has_logs && fits).then_some(pages)
    }

    /// The reads, each with its first page.
    fn begun(mut self, pages: Pages) -> Vec<(Read, Next)> {
        let streams = self.streams.begun(pages.streams, pages.stream_bytes);
        // Of streams that are still to come the copy states are, too.
        let copy_states = match streams {
            Next::Again => Next::Again,
            _ => self.copy_states.filled(pages.copy_states),
        };
        let logs = self.logs.map(|mut read| {
            let next = read.begun(pages.logs, pages.log_bytes);
            (read, next)
        });
        [(self.streams, streams), (self.copy_states, copy_states)].into_iter().chain(logs).collect()
    }
}

/// What one answer has of each read.
struct Pages {
    streams: RowSet,
    stream_bytes: usize,
    /// Of all these streams.
    copy_states: RowSet,
    logs: RowSet,
    log_bytes: usize,
}
