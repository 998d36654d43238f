//! What a request that is being served is to the flow that carries it: takes answers, releases asks, ends with a reply; and what all
//! operations share.

use std::{any::Any, collections::BTreeSet};

use crate::contract::{Answer, Ask, AskId, Call, Code, Failure, Gate, Lost, Reply, Status, What};

/// A request being served: takes answers, releases asks, ends with a reply. It may move between threads: a server's requests do.
pub(crate) trait Operation: Send {
    /// Takes one answer; may release more asks.
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks);

    /// A piece of the work is done: takes what came of it; may release more asks.
    fn worked(&mut self, _done: Done, _asks: &mut Asks) {}

    /// What has already turned out to be missing, such as shards that have nobody to ask, before the request has ended. Of a read of one
    /// thing there is nothing to say before.
    fn failures(&self) -> Vec<Failure> {
        Vec::new()
    }

    /// The reply, once nothing is outstanding and all work is done. Called once.
    fn finish(&mut self) -> Reply;
}

/// Work of a request that needs nothing but what it has: it may be done on another thread, while more answers come in. Where and
/// when it is done shows nowhere.
pub struct Work(Box<dyn FnOnce() -> Done + Send>);

/// What came of a piece of work. Whoever made the work knows what it is.
pub struct Done(Box<dyn Any + Send>);

impl Work {
    pub(crate) fn new<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Self {
        Self(Box::new(|| Done(Box::new(work()))))
    }

    /// Does it.
    pub fn perform(self) -> Done {
        (self.0)()
    }
}

impl Done {
    /// What it is, if it is that.
    pub(crate) fn take<T: 'static>(self) -> Option<T> {
        self.0.downcast().ok().map(|what| *what)
    }
}

/// Where an operation puts its asks, and its work.
#[derive(Default)]
pub(crate) struct Asks {
    released: Vec<Ask>,
    outstanding: BTreeSet<AskId>,
    /// Round of each ask, by id.
    rounds: Vec<u32>,
    /// Round of the answer being taken; 0 at the start.
    round: u32,
    work: Vec<Work>,
}

impl Asks {
    /// The asks released since the last call.
    pub(crate) fn take_released(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.released)
    }

    /// Notes that an ask is being answered: what is released now is one round deeper. False if it is not out.
    pub(crate) fn answered(&mut self, id: AskId) -> bool {
        let was_out = self.outstanding.remove(&id);
        if was_out {
            self.round = self.rounds.get(id.0 as usize).copied().unwrap_or(0);
        }
        was_out
    }

    /// The round of the answer being taken.
    pub(crate) fn round(&self) -> u32 {
        self.round
    }

    /// Goes on with what an answer of that round brought: what is released now is one round deeper.
    pub(crate) fn go_on(&mut self, round: u32) {
        self.round = round;
    }

    /// How many asks are out and unanswered, released ones included.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Adds work, which is done before the operation is asked for its reply.
    pub(crate) fn work(&mut self, work: Work) {
        self.work.push(work);
    }

    /// Whether all work has been taken.
    pub(crate) fn is_worked_off(&self) -> bool {
        self.work.is_empty()
    }

    /// The work added since the last call.
    pub(crate) fn take_work(&mut self) -> Vec<Work> {
        std::mem::take(&mut self.work)
    }

    /// Releases an ask, one round deeper than the answer being taken.
    pub(crate) fn release(&mut self, what: What) -> AskId {
        self.release_gate(what, None)
    }

    /// The same for an ask by which writes are refused, or taken again.
    pub(crate) fn release_gate(&mut self, what: What, gate: Option<Gate>) -> AskId {
        let id = AskId(u32::try_from(self.rounds.len()).unwrap_or(u32::MAX));
        let round = self.round + 1;
        self.rounds.push(round);
        self.outstanding.insert(id);
        self.released.push(Ask { id, round, what, gate });
        id
    }
}

/// Decodes the request message.
pub(crate) fn decode<M: prost::Message + Default>(call: &Call) -> Result<M, Status> {
    M::decode(call.request.as_slice()).map_err(|error| Status {
        code: Code::InvalidArgument,
        message: format!("the request message of {} cannot be decoded: {error}", call.path),
    })
}

/// The end of a request that has its reply: what is known is returned, what is not is named. Strict requests fail instead where
/// anything is missing, and so do those of which nothing is known: an empty reply would look like an empty cluster.
pub(crate) fn ended<T>(reply: T, is_empty: bool, strict: bool, mut failures: Vec<Failure>) -> (Result<T, Status>, Vec<Failure>) {
    failures.sort();
    failures.dedup();
    let is_whole = failures.iter().all(|failure| failure.lost == Lost::Migration);
    let result = if is_whole || !strict && !is_empty { Ok(reply) } else { Err(status(&failures, !is_empty)) };
    (result, failures)
}

/// As [`ended`], of a reply that is encoded.
pub(crate) fn conclude(bytes: Vec<u8>, is_empty: bool, strict: bool, failures: Vec<Failure>) -> Reply {
    let (result, failures) = ended(bytes, is_empty, strict, failures);
    Reply::new(result, failures)
}

/// The status that failures make, in the texts that clients know: a line each.
pub(crate) fn status(failures: &[Failure], with_places: bool) -> Status {
    let text = |failure: &Failure| match failure.place() {
        place if with_places && !place.is_empty() => format!("{place}: {}", failure.message),
        _ => failure.message.clone(),
    };
    Status::unknown(failures.iter().map(text).collect::<Vec<_>>().join("\n"))
}

/// What is left of a request that had its reply at once.
pub(crate) struct Ended;

impl Operation for Ended {
    fn answered(&mut self, _id: AskId, _answer: Answer, _asks: &mut Asks) {}

    fn finish(&mut self) -> Reply {
        Reply::new(Err(Status::unknown("the request has ended")), Vec::new())
    }
}
