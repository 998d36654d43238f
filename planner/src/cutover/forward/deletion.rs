//! `WorkflowDelete`, whichever way serves it: the streams alone, or everything that the workflow has made.
//!
//! Which one it is may be known from rows only: a request that keeps tables and rules has to delete the other direction's streams as
//! well, if there are any; one that keeps neither has nothing but streams to delete if the workflow is a lookup vindex's.

use prost::Message;

use crate::{
    contract::{Answer, AskId, Call, Code, Failure, Reply, Status, Timestamp},
    cutover::forward::{Forward, request::Task},
    operation::{Asks, Operation, decode},
    proto::vtctldata::WorkflowDeleteRequest,
    write::{WorkflowDelete, engine::Write},
};

enum Way {
    Streams(Box<Write>),
    Whole(Box<Forward>),
}

/// A deletion on its way.
pub(crate) struct Deletion {
    call: Call,
    now: Timestamp,
    way: Way,
    /// The other way has been taken.
    is_other: bool,
    /// The reply, if it is there before the end.
    reply: Option<Reply>,
}

impl Deletion {
    /// Begins.
    ///
    /// # Errors
    /// What is refused without a look.
    pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        let wanted: WorkflowDeleteRequest = decode(call)?;
        let way = if wanted.keep_data && wanted.keep_routing_rules {
            Way::Streams(streams(call, now, asks)?)
        } else {
            Way::Whole(Box::new(Forward::start(Task::of_cancel(call)?, call, now, asks)?))
        };
        Ok(Self { call: call.clone(), now, way, is_other: false, reply: None })
    }

    /// The way has ended: the other one, if this one was not the right one.
    fn turn(&mut self, asks: &mut Asks) -> Result<(), Status> {
        let is_wrong = match &mut self.way {
            Way::Whole(whole) => whole.is_for_streams_alone(),
            Way::Streams(streams) => {
                let reply = self.reply.insert(streams.finish());
                matches!(&reply.result, Err(status) if status.code == Code::Unimplemented)
            }
        };
        if !is_wrong || std::mem::replace(&mut self.is_other, true) {
            return Ok(());
        }
        let way = match self.way {
            Way::Whole(_) => {
                let wanted: WorkflowDeleteRequest = decode(&self.call)?;
                let wanted = WorkflowDeleteRequest { keep_data: true, keep_routing_rules: true, ..wanted };
                Way::Streams(streams(&Call { request: wanted.encode_to_vec(), ..self.call.clone() }, self.now, asks)?)
            }
            Way::Streams(_) => {
                // What cannot be done that way either is answered as it was.
                let Ok(task) = Task::of_cancel(&self.call) else { return Ok(()) };
                Way::Whole(Box::new(Forward::start(task, &self.call, self.now, asks)?))
            }
        };
        self.reply = None;
        self.way = way;
        Ok(())
    }
}

fn streams(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Box<Write>, Status> {
    Ok(Box::new(Write::of_tablets(Box::new(WorkflowDelete::new(call)?), call, now, asks)?))
}

impl Operation for Deletion {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        match &mut self.way {
            Way::Streams(streams) => streams.answered(id, answer, asks),
            Way::Whole(whole) => whole.answered(id, answer, asks),
        }
        if asks.outstanding() == 0
            && let Err(status) = self.turn(asks)
        {
            self.reply = Some(Reply::new(Err(status), Vec::new()));
        }
    }

    fn failures(&self) -> Vec<Failure> {
        match &self.way {
            Way::Streams(streams) => streams.failures(),
            Way::Whole(whole) => whole.failures(),
        }
    }

    fn finish(&mut self) -> Reply {
        match (self.reply.take(), &mut self.way) {
            (Some(reply), _) => reply,
            (None, Way::Streams(streams)) => streams.finish(),
            (None, Way::Whole(whole)) => whole.finish(),
        }
    }
}
