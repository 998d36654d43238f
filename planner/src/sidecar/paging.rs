//! How a read of a table goes on from one statement to the next, whichever table it is: fewer rows at a time where an answer was too
//! large, and an end in statements and in bytes.

use crate::contract::{Answer, FailureKind};

/// How far a read has come, and how many rows it asks for at a time.
pub(crate) struct Paging {
    /// Rows of the next statement, at most.
    pub(crate) rows: usize,
    /// Statements that were sent and answered.
    sent: usize,
    statements_allowed: usize,
    /// Of all answers so far.
    bytes: usize,
    bytes_allowed: usize,
}

/// What an answer is to a read.
pub(crate) enum Taken {
    /// A tablet's response, within what the read may have.
    Response(Vec<u8>),
    /// It was too large, in these words: the same again, with fewer rows, if another statement may be sent.
    Smaller(String),
    /// The answers have more bytes than this.
    TooMuch(usize),
    /// The tablet's own words, or the runner's.
    Failed(String),
    /// No answer to a call of a tablet.
    NoCall,
}

impl Paging {
    /// A read of pages of so many rows, in so many statements and bytes at most.
    pub(crate) fn new(rows: usize, statements_allowed: usize, bytes_allowed: usize) -> Self {
        Self { rows, sent: 0, statements_allowed, bytes: 0, bytes_allowed }
    }

    /// The same with fewer bytes: one of many reads of a request.
    pub(crate) fn within(&mut self, bytes: usize) {
        self.bytes_allowed = self.bytes_allowed.min(bytes);
    }

    /// Statements that were answered.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// Whether another statement may be sent.
    pub(crate) fn may_ask(&self) -> bool {
        self.sent < self.statements_allowed
    }

    /// Whether an answer of so many bytes is within what the read may have.
    pub(crate) fn may_have(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= self.bytes_allowed
    }

    /// Counts an answer, or a part of one, that has been taken in another way.
    pub(crate) fn counts(&mut self, bytes: usize) {
        self.sent += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Counts an answer and says what it is.
    pub(crate) fn take(&mut self, answer: Answer) -> Taken {
        self.sent += 1;
        match answer {
            Answer::Called(response) => {
                self.bytes = self.bytes.saturating_add(response.len());
                if self.bytes > self.bytes_allowed { Taken::TooMuch(self.bytes_allowed) } else { Taken::Response(response) }
            }
            Answer::Failed { kind: FailureKind::TooLarge, message } if self.rows > 1 => {
                self.rows = (self.rows / 8).max(1);
                Taken::Smaller(message)
            }
            Answer::Failed { message, .. } => Taken::Failed(message),
            _ => Taken::NoCall,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: FailureKind) -> Answer {
        Answer::Failed { kind, message: "so it says".into() }
    }

    #[test]
    fn answers_are_taken_up_to_the_bytes_of_one_read_of_many() {
        let mut paging = Paging::new(2_000, 3, 100);
        paging.within(10);
        paging.within(50);
        assert!(matches!(paging.take(Answer::Called(vec![7; 4])), Taken::Response(response) if response == [7; 4]));
        assert!(matches!(paging.take(Answer::Called(vec![7; 6])), Taken::Response(_)), "ten bytes, and ten are allowed");
        assert_eq!((paging.sent(), paging.may_ask()), (2, true));
        assert!(matches!(paging.take(Answer::Called(vec![7])), Taken::TooMuch(10)));
        assert_eq!((paging.sent(), paging.may_ask()), (3, false));
    }

    #[test]
    fn what_is_too_large_is_asked_for_in_smaller_pages_down_to_one_row() {
        let mut paging = Paging::new(100, 9, 0);
        for rows in [12, 1] {
            assert!(matches!(paging.take(failed(FailureKind::TooLarge)), Taken::Smaller(text) if text == "so it says"));
            assert_eq!(paging.rows, rows);
        }
        assert!(matches!(paging.take(failed(FailureKind::TooLarge)), Taken::Failed(text) if text == "so it says"));
        assert!(matches!(paging.take(failed(FailureKind::TimedOut)), Taken::Failed(_)));
        assert!(matches!(paging.take(Answer::Locked), Taken::NoCall));
    }
}
