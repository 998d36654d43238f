//! One operation a file: what a request asks and how its answers become the reply.

use crate::{
    error::{Code, Failure, Lost, Status},
    flow::{Answer, AskId, Asks, Call, Reply, Timestamp},
    limits, rpc,
    write::{Migration, Throttle, VExecWrite, WorkflowDelete, WorkflowUpdate, engine::Write},
};

mod get_version;
mod get_workflows;
mod legacy;
mod schema_migrations;
mod snapshot;
mod snapshot_table;
mod topology;
mod vdiff_show;
mod vexec;
mod workflow_status;

pub(crate) use topology::says_no_keyspace;

/// A request being served: takes answers, releases asks, ends with a reply. It may move between threads: a server's requests do.
pub(crate) trait Operation: Send {
    /// Takes one answer; may release more asks.
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks);

    /// Shards that have already turned out to have nobody to ask, before the request has ended.
    fn failures(&self) -> Vec<Failure>;

    /// The reply, once nothing is outstanding. Called once.
    fn finish(&mut self) -> Reply;

    /// Whether the topology says that what the request names is not there at all: no text of an error tells. To be asked after
    /// [`Operation::finish`].
    fn is_absent(&self) -> bool {
        false
    }
}

/// Begins the operation that serves the call's path.
///
/// # Errors
/// The status that the RPC fails with: no such RPC, a message that cannot be decoded, a name that cannot exist.
pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Box<dyn Operation>, Status> {
    if call.request.len() > limits::REQUEST_BYTES {
        let (bytes, limit) = (call.request.len(), limits::REQUEST_BYTES);
        let message = format!("the request has {bytes} bytes, more than the {limit} of a message");
        return Err(Status { code: Code::InvalidArgument, message });
    }
    match call.path.as_str() {
        rpc::GET_WORKFLOWS => Ok(Box::new(get_workflows::GetWorkflows::start(call, now, asks)?)),
        rpc::EXECUTE_VTCTL_COMMAND => legacy::start(call, now, asks),
        rpc::GET_VERSION => Ok(Box::new(get_version::GetVersion::start(call, asks)?)),
        rpc::GET_SCHEMA_MIGRATIONS => Ok(Box::new(schema_migrations::SchemaMigrations::start(call, asks)?)),
        rpc::SNAPSHOT => Ok(Box::new(snapshot::Snapshot::start(call, asks)?)),
        rpc::VDIFF_SHOW => Ok(Box::new(vdiff_show::VDiffShow::start(call, asks)?)),
        rpc::VEXEC => match VExecWrite::new(call) {
            Some(write) => Ok(Box::new(Write::start(Box::new(write), rpc::VEXEC, call, now, asks)?)),
            None => Ok(Box::new(vexec::VExec::start(call, asks)?)),
        },
        rpc::WORKFLOW_STATUS => Ok(Box::new(workflow_status::WorkflowStatus::start(call, now, asks)?)),
        rpc::WORKFLOW_UPDATE => {
            let verb = Box::new(WorkflowUpdate::new(call)?);
            Ok(Box::new(Write::start(verb, rpc::WORKFLOW_UPDATE, call, now, asks)?))
        }
        rpc::UPDATE_THROTTLER_CONFIG => Ok(Box::new(Throttle::start(call, now, asks)?)),
        rpc::WORKFLOW_DELETE => {
            let verb = Box::new(WorkflowDelete::new(call)?);
            Ok(Box::new(Write::start(verb, rpc::WORKFLOW_DELETE, call, now, asks)?))
        }
        path => match Migration::new(call) {
            Some(migration) => Ok(Box::new(Write::start(Box::new(migration?), path, call, now, asks)?)),
            None => topology::start(call, asks).unwrap_or_else(|| Err(unserved(path))),
        },
    }
}

/// Whether vtflow has the command of this `ExecuteVtctlCommandRequest`: [`rpc::serves`].
pub(crate) fn serves_command(request: &[u8]) -> bool {
    legacy::serves(request)
}

fn unserved(path: &str) -> Status {
    Status { code: Code::Unimplemented, message: format!("vtflow does not serve {path}") }
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
fn conclude(bytes: Vec<u8>, is_empty: bool, strict: bool, mut failures: Vec<Failure>) -> Reply {
    failures.sort();
    failures.dedup();
    let is_whole = failures.iter().all(|failure| failure.lost == Lost::Migration);
    let result = if is_whole || !strict && !is_empty { Ok(bytes) } else { Err(status(&failures, !is_empty)) };
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

    fn failures(&self) -> Vec<Failure> {
        Vec::new()
    }

    fn finish(&mut self) -> Reply {
        Reply::new(Err(Status::unknown("the request has ended")), Vec::new())
    }
}
