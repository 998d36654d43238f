//! One operation a file: what a request asks and how its answers become the reply.

use crate::{
    error::{Code, Status},
    flow::{Answer, AskId, Asks, Call, Reply, Timestamp},
};

/// A request being served: takes answers, releases asks, ends with a reply.
pub(crate) trait Operation {
    /// Takes one answer; may release more asks.
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks);

    /// The reply, once nothing is outstanding. Called once.
    fn finish(&mut self) -> Reply;
}

/// Begins the operation that serves the call's path.
pub(crate) fn start(call: &Call, _now: Timestamp, _asks: &mut Asks) -> Result<Box<dyn Operation>, Status> {
    Err(Status { code: Code::Unimplemented, message: format!("unknown method {}", call.path) })
}

/// What is left of a request that had its reply at once.
pub(crate) struct Ended;

impl Operation for Ended {
    fn answered(&mut self, _id: AskId, _answer: Answer, _asks: &mut Asks) {}

    fn finish(&mut self) -> Reply {
        Reply { result: Err(Status::unknown("the request has ended")), failures: Vec::new() }
    }
}
