//! The face of the machine: one request on its way, the asks it makes, the answers it takes, the reply it ends with.
//!
//! Nothing here knows what a workflow is (that is [`crate::ops`]) and nothing here performs an ask (that is the runner's).

use crate::{
    contract::{Answer, Ask, AskId, Call, Failure, FailureKind, Reply, Status, Timestamp},
    limits,
    operation::{Asks, Done, Ended, Operation, Work},
    serve,
    words::cut,
};

/// One request on its way: asks come out, answers go in, a reply ends it.
///
/// Call in this order: [`Flow::start`]; then until [`Flow::reply`] is `Some`: take [`Flow::asks`], perform them all, hand each
/// result to [`Flow::answer`] as it arrives, and take the asks that this released. A host with threads to spare calls
/// [`Flow::hand_out_work`] first, takes [`Flow::work`] beside the asks, and both also after each [`Flow::worked`].
pub struct Flow {
    operation: Box<dyn Operation>,
    asks: Asks,
    reply: Option<Reply>,
    hands_out_work: bool,
    /// Work that was handed out and is not done.
    working: usize,
    in_parts: bool,
}

/// What a host needs of a flow: [`Flow`] itself, or one that runs in another place (a planner in wasmtime).
pub trait FlowHandle: Send {
    /// As [`Flow::asks`].
    fn asks(&mut self) -> Vec<Ask>;
    /// As [`Flow::answer`].
    fn answer(&mut self, id: AskId, answer: Answer) -> bool;
    /// As [`Flow::hand_out_work`]. A flow around another one passes on this and the three that follow; one that hands out nothing needs none.
    fn hand_out_work(&mut self) {}
    /// As [`Flow::work`].
    fn work(&mut self) -> Vec<Work> {
        Vec::new()
    }
    /// As [`Flow::worked`].
    fn worked(&mut self, _done: Option<Done>) {}
    /// As [`Flow::in_parts`].
    fn in_parts(&mut self) {}
    /// As [`Flow::failures`].
    fn failures(&mut self) -> Vec<Failure>;
    /// As [`Flow::reply`], by value: to be called once, at the end.
    fn end(&mut self) -> Option<Reply>;
}

impl<T: FlowHandle + ?Sized> FlowHandle for Box<T> {
    fn asks(&mut self) -> Vec<Ask> {
        (**self).asks()
    }

    fn answer(&mut self, id: AskId, answer: Answer) -> bool {
        (**self).answer(id, answer)
    }

    fn hand_out_work(&mut self) {
        (**self).hand_out_work();
    }

    fn work(&mut self) -> Vec<Work> {
        (**self).work()
    }

    fn worked(&mut self, done: Option<Done>) {
        (**self).worked(done);
    }

    fn in_parts(&mut self) {
        (**self).in_parts();
    }

    fn failures(&mut self) -> Vec<Failure> {
        (**self).failures()
    }

    fn end(&mut self) -> Option<Reply> {
        (**self).end()
    }
}

impl FlowHandle for Flow {
    fn asks(&mut self) -> Vec<Ask> {
        Self::asks(self)
    }

    fn answer(&mut self, id: AskId, answer: Answer) -> bool {
        Self::answer(self, id, answer)
    }

    fn hand_out_work(&mut self) {
        Self::hand_out_work(self);
    }

    fn work(&mut self) -> Vec<Work> {
        Self::work(self)
    }

    fn worked(&mut self, done: Option<Done>) {
        Self::worked(self, done);
    }

    fn in_parts(&mut self) {
        Self::in_parts(self);
    }

    fn failures(&mut self) -> Vec<Failure> {
        Self::failures(self)
    }

    fn end(&mut self) -> Option<Reply> {
        self.reply.take()
    }
}

impl Flow {
    /// Begins a request. Never fails: a request that cannot be served has its reply at once and no asks.
    pub fn start(call: &Call, now: Timestamp) -> Self {
        let mut asks = Asks::default();
        let (operation, asks, reply): (Box<dyn Operation>, Asks, _) = match serve::start(call, now, &mut asks) {
            Ok(operation) => (operation, asks, None),
            Err(status) => (Box::new(Ended), Asks::default(), Some(Reply::new(Err(bounded(status)), Vec::new()))),
        };
        let mut flow = Self { operation, asks, reply, hands_out_work: false, working: 0, in_parts: false };
        flow.settle();
        flow
    }

    /// From now on the host does the work that answers bring, on its own threads: [`Flow::work`] hands it out. Without this the work is
    /// done as soon as there is some, by whoever gives the answer.
    pub fn hand_out_work(&mut self) {
        self.hands_out_work = true;
    }

    /// The work that came up since the last call, each piece once. Do all of it, in any order and on any thread, and say each time that
    /// it is done: [`Flow::worked`]. The reply waits for it. Empty unless it is to be handed out.
    ///
    /// It may find that more is to be asked.
    pub fn work(&mut self) -> Vec<Work> {
        if !self.hands_out_work {
            return Vec::new();
        }
        let work = self.asks.take_work();
        self.working += work.len();
        work
    }

    /// One piece of the work that was handed out is done, and this came of it; `None`: it broke off. It may release asks, and bring
    /// more work.
    pub fn worked(&mut self, done: Option<Done>) {
        self.working = self.working.saturating_sub(1);
        if let Some(done) = done {
            self.operation.worked(done, &mut self.asks);
        }
        self.settle();
    }

    /// From now on the reply may have its message in parts ([`Reply::rest`]): a large one is there once, and is put together as it is
    /// sent. To be called before the last answer.
    pub fn in_parts(&mut self) {
        self.in_parts = true;
    }

    /// The asks released since the last call. Each is handed out once; perform all of them.
    pub fn asks(&mut self) -> Vec<Ask> {
        self.asks.take_released()
    }

    /// Takes the result of one ask. Returns false, and changes nothing, if no such ask is outstanding.
    pub fn answer(&mut self, id: AskId, answer: Answer) -> bool {
        if !self.asks.answered(id) {
            return false;
        }
        let answer = match answer {
            Answer::Failed { kind, message } if message.trim().is_empty() => Answer::Failed { kind, message: wordless(kind) },
            Answer::Failed { kind, message } => Answer::Failed { kind, message: cut(message, limits::FAILURE_BYTES) },
            answer => answer,
        };
        self.operation.answered(id, answer, &mut self.asks);
        self.settle();
        true
    }

    /// The reply: `Some` as soon as nothing is outstanding and no work is left.
    pub fn reply(&self) -> Option<&Reply> {
        self.reply.as_ref()
    }

    /// The reply, by value.
    pub fn into_reply(self) -> Option<Reply> {
        self.reply
    }

    /// Targets that have already turned out to have nobody to ask: what a plan shows beside its asks.
    pub fn failures(&self) -> Vec<Failure> {
        self.reply.as_ref().map_or_else(|| self.operation.failures(), |reply| reply.failures.clone())
    }

    /// How many asks are out and unanswered.
    pub fn outstanding(&self) -> usize {
        self.asks.outstanding()
    }

    fn settle(&mut self) {
        while !self.hands_out_work && !self.asks.is_worked_off() {
            for work in self.asks.take_work() {
                self.operation.worked(work.perform(), &mut self.asks);
            }
        }
        if self.reply.is_none() && self.asks.outstanding() == 0 && self.asks.is_worked_off() && self.working == 0 {
            let mut reply = self.operation.finish();
            if !self.in_parts {
                reply.join();
            }
            let failures = counted(reply.failures);
            self.reply = Some(Reply { result: reply.result.map_err(bounded), failures, ..reply });
        }
    }
}

/// What is said of a failure without a text: a status may come without one.
fn wordless(kind: FailureKind) -> String {
    match kind {
        FailureKind::Status(code) => format!("gRPC code {code}, and no text with it"),
        FailureKind::Unreachable => "no answer, and no word why".to_owned(),
        FailureKind::TimedOut => "no answer in time".to_owned(),
        FailureKind::NotSent => "it was not asked".to_owned(),
        FailureKind::TooLarge => "the answer is too large".to_owned(),
    }
}

/// A status that people can read, whatever names and texts went into it.
fn bounded(status: Status) -> Status {
    Status { message: cut(status.message, limits::STATUS_BYTES), ..status }
}

/// The failures that are named, and one that counts the rest.
fn counted(mut failures: Vec<Failure>) -> Vec<Failure> {
    let more = failures.len().saturating_sub(limits::FAILURES);
    let rest = failures.get(limits::FAILURES).cloned();
    failures.truncate(limits::FAILURES);
    for failure in &mut failures {
        failure.message = cut(std::mem::take(&mut failure.message), limits::FAILURE_BYTES);
    }
    failures.extend(rest.map(|first| Failure {
        keyspace: first.keyspace,
        shard: String::new(),
        tablet: String::new(),
        workflow: String::new(),
        lost: first.lost,
        message: format!("and {more} more failures"),
    }));
    failures
}
