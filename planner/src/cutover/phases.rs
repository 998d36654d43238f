//! How every engine here goes on: from phase to phase, each as soon as nothing is waited for.

use crate::{
    contract::{Answer, AskId, Call, Mode, Reply, Status, Written},
    operation::Asks,
    write::locks::{self, Locks},
};

/// An engine that looks, locks, looks again and performs, or a part of that.
pub(crate) trait Phases {
    /// Does what is next, now that all is there that the phase has asked for.
    ///
    /// # Errors
    /// It ends with this.
    fn go_on(&mut self, asks: &mut Asks) -> Result<(), Status>;

    /// Ends without success; locks are given back.
    fn fail(&mut self, status: Status, asks: &mut Asks);

    /// Whether it has ended: at most answers about locks are waited for.
    fn has_ended(&self) -> bool;

    /// Its locks, once it has asked for them.
    fn locks(&mut self) -> Option<&mut Locks>;

    /// Whether it waits for locks, to go on under them.
    fn is_locking(&self) -> bool;

    /// Goes on with what has become of the locks.
    ///
    /// # Errors
    /// It ends with this.
    fn locked(&mut self, step: locks::Step, asks: &mut Asks) -> Result<(), Status>;

    /// Goes on, if everything of this phase is there.
    fn advance(&mut self, asks: &mut Asks) {
        while asks.outstanding() == 0 {
            let had_ended = self.has_ended();
            if let Err(status) = self.go_on(asks) {
                self.fail(status, asks);
            }
            if had_ended && self.has_ended() {
                return;
            }
        }
    }

    /// Takes an answer about locks; gives any other back.
    fn of_locks(&mut self, id: AskId, answer: Answer, asks: &mut Asks) -> Option<Answer> {
        let Some(locks) = self.locks().filter(|locks| locks.waits_for(id)) else { return Some(answer) };
        let step = locks.answered(id, answer, asks);
        if let Some(step) = step.filter(|_| self.is_locking())
            && let Err(status) = self.locked(step, asks)
        {
            self.fail(status, asks);
        }
        None
    }
}

/// The reply to a request: a preview has the plan, and nothing that a client could take for a result.
pub(crate) fn reply(call: &Call, result: Result<Vec<u8>, Status>, written: Option<Box<Written>>) -> Reply {
    let is_preview = call.options.mode == Mode::Preview;
    let result = if is_preview { result.map(|_| Vec::new()) } else { result };
    Reply { written, ..Reply::new(result, Vec::new()) }
}
