//! What became of a change: what its ask brought, and what a second look says where that leaves it open.

use prost::Message;

use crate::{
    contract::{Answer, FailureKind, Outcome, Verdict},
    proto::tabletmanagerdata::{VDiffResponse, VReplicationExecResponse},
    rpc,
    topo::targets::unexpected,
    write::change::Change,
};

/// What a second look shows of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// All of it.
    All,
    /// Nothing of it.
    Nothing,
    /// Some of it, or something else.
    Part(String),
    /// What somebody else has made of a record.
    Overwritten,
    /// Nothing that says anything.
    Unclear(String),
    /// Nothing at all: the look failed.
    Unseen(String),
}

/// A change and what became of it.
pub(crate) struct Done {
    pub(crate) change: Change,
    pub(crate) verdict: Verdict,
    /// Rows changed; `None`: the tablet answered without a result.
    pub(crate) rows: Option<u64>,
    /// What was said instead of a result; empty if there was one.
    pub(crate) error: String,
    /// What the second look showed, in words.
    shown: String,
    /// Whether it may take effect later than now.
    may_be_at_work: bool,
}

impl Done {
    /// What the answer says.
    pub(super) fn new(change: Change, answer: Answer) -> Self {
        let is_of_record = change.is_of_record();
        let (mut verdict, mut rows, mut error, mut may_be_at_work) = (Verdict::Unknown, None, String::new(), false);
        match answer {
            Answer::Failed { kind: FailureKind::NotSent, message } => (verdict, error) = (Verdict::NotApplied, message),
            Answer::Failed { kind, message } => (error, may_be_at_work) = (message, ends_before_the_work(kind)),
            Answer::Deleted | Answer::Missing { .. } if change.is_deletion() => verdict = Verdict::Applied,
            Answer::Stored { .. } if is_of_record => verdict = Verdict::Applied,
            Answer::Missing { node } if is_of_record => error = format!("node doesn't exist: {node}"),
            other if is_of_record => (error, may_be_at_work) = (unexpected("a write", &other), true),
            Answer::Called(bytes) => match rows_changed(&change, &bytes) {
                Ok(changed) => (verdict, rows) = (Verdict::Applied, changed),
                Err(text) => error = text,
            },
            _ => error = "the tablet call was answered with a topology record".into(),
        }
        Self { change, verdict, rows, error, shown: String::new(), may_be_at_work }
    }

    /// Of one that is not sent, since what it is made from was not made.
    pub(super) fn not_sent(change: Change) -> Self {
        let message = "not sent: the record before it was not written".into();
        Self::new(change, Answer::Failed { kind: FailureKind::NotSent, message })
    }

    /// Takes what the second look showed.
    pub(super) fn judge(&mut self, shown: Shown) {
        let (before, work) =
            if self.change.is_of_record() { ("the record as it was", "write") } else { ("the rows as they were", "call") };
        let unless_at_work = if self.may_be_at_work { Verdict::Unknown } else { Verdict::NotApplied };
        (self.verdict, self.shown) = match shown {
            Shown::All => (Verdict::Applied, "a second look shows the change".into()),
            Shown::Nothing if self.may_be_at_work => {
                (Verdict::Unknown, format!("a second look shows {before}, but the {work} may still be at work"))
            }
            Shown::Nothing => (Verdict::NotApplied, format!("a second look shows {before}")),
            Shown::Part(text) => (Verdict::Unknown, format!("a second look shows {text}")),
            // Another version and another value: a write over the version that was read cannot come any more. Whether it came
            // before that one nobody can tell, unless its rule is still there.
            Shown::Overwritten => (unless_at_work, "somebody else has changed the record".into()),
            Shown::Unclear(text) => (Verdict::Unknown, text),
            Shown::Unseen(text) => (Verdict::Unknown, format!("looking again: {text}")),
        };
    }

    /// Takes what became of taking it back.
    pub(super) fn undone(&mut self, answer: Answer) {
        (self.verdict, self.error) = match answer {
            Answer::Called(_) => (Verdict::NotApplied, "made, and taken back, since it was not made everywhere".into()),
            Answer::Failed { kind, message } if ends_before_the_work(kind) => {
                (Verdict::Unknown, format!("made; whether it was taken back is not known: {message}"))
            }
            Answer::Failed { message, .. } => (Verdict::Applied, format!("made, and not taken back: {message}")),
            other => (Verdict::Unknown, unexpected("a write", &other)),
        };
    }

    /// The same, for people and clients.
    pub(super) fn outcome(&self) -> Outcome {
        let planned = &self.change.planned;
        let message = match (self.error.as_str(), self.shown.as_str()) {
            (text, "") | ("", text) => text.to_owned(),
            (error, shown) => format!("{error} ({shown})"),
        };
        let rows =
            if self.change.is_of_record() { u64::from(self.verdict == Verdict::Applied) } else { self.rows.unwrap_or_default() };
        Outcome {
            keyspace: planned.keyspace.clone(),
            shard: planned.shard.clone(),
            tablet: planned.tablet.clone(),
            verdict: self.verdict,
            rows,
            message,
        }
    }
}

/// How many rows a tablet says it has changed; `None`: it does not say. The answers of all calls that write rows have this form, but for
/// that of [`rpc::VDIFF`], which has no number: it is all of them or an error.
fn rows_changed(change: &Change, response: &[u8]) -> Result<Option<u64>, String> {
    let unreadable = |error| format!("the tablet's answer cannot be read: {error}");
    let path = change.planned.rpc.as_str();
    if path == rpc::VDIFF {
        return VDiffResponse::decode(response).map(|_| Some(change.planned.rows.len() as u64)).map_err(unreadable);
    }
    let response = VReplicationExecResponse::decode(response).map_err(unreadable)?;
    match response.result {
        Some(result) => Ok(Some(result.rows_affected)),
        None if path == rpc::UPDATE_VREPLICATION_WORKFLOW => Err("the tablet has no stream of the workflow any more".into()),
        None if [rpc::VREPLICATION_EXEC, rpc::EXECUTE_QUERY].contains(&path) => Err("the tablet's answer has no result".into()),
        None => Ok(None),
    }
}

/// Whether a call that failed like this may go on: the other side has not said that it is over, or only that nobody waits for it.
fn ends_before_the_work(kind: FailureKind) -> bool {
    const CANCELLED: i32 = 1;
    const DEADLINE_EXCEEDED: i32 = 4;
    match kind {
        FailureKind::TimedOut | FailureKind::Unreachable => true,
        FailureKind::Status(code) => matches!(code, CANCELLED | DEADLINE_EXCEEDED),
        FailureKind::NotSent | FailureKind::TooLarge => false,
    }
}
