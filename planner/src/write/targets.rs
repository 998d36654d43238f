//! What the engine needs to know of the targets of a write, whatever they are: primaries of shards ([`super::tablets`]) or records
//! of the topology ([`super::records`]).

use crate::{
    contract::{Answer, AskId, Failure, Status},
    operation::{self, Asks},
    write::{
        change::{Change, Prepared},
        judge::{Done, Shown},
        kind::Lock,
    },
};

/// The targets of one write. The engine begins with `look`, hands every answer on, goes on with `look_on` whenever nothing is
/// outstanding, and then asks for the changes; a target whose change failed is looked at once more.
pub(super) trait TargetSet: Send {
    /// What is locked from before the first look to after the last change, in the order in which it is taken.
    fn locks(&self) -> Vec<Lock>;

    /// The end of a request whose directory to be locked is not there. `node`: its full name.
    fn no_directory(&self, node: String) -> Status;

    /// Begins to look.
    ///
    /// # Errors
    /// A name that cannot exist.
    fn look(&mut self, asks: &mut Asks) -> Result<(), Status>;

    /// Takes the answer to a look, a first or a second one.
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks);

    /// What could not be seen up to now, sorted.
    fn failures(&self) -> Vec<Failure>;

    /// Everything that was asked is answered: whether more is asked now.
    ///
    /// # Errors
    /// What was seen is not enough to change anything.
    fn look_on(&mut self, asks: &mut Asks) -> Result<bool, Status>;

    /// What to do, or why nothing is done at all.
    fn prepare(&self, force: bool) -> Result<Prepared, Status>;

    /// Looks again at the target at a place in what was seen.
    fn look_again(&mut self, target: usize, asks: &mut Asks);

    /// What the second look shows of a change; `None`: there was none.
    fn shown(&self, change: &Change) -> Option<Shown>;

    /// The response message, once every change has been made.
    fn reply(&self, done: &[Done]) -> Result<Vec<u8>, Status>;

    /// The error, if a change has not been made or nobody can tell. `lines` has a line for each change.
    fn failure(&self, _done: &[Done], lines: String) -> Status {
        Status::unknown(lines)
    }
}

/// The end of a request that leaves all targets alone because of what could not be seen of some.
pub(super) fn refused(failures: &[Failure], with_places: bool, hint: &str) -> Status {
    let mut status = operation::status(failures, with_places);
    status.message = format!("{}\nnothing was changed{hint}", status.message);
    status
}
