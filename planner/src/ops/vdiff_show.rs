//! `VDiffShow`: what each shard that has streams of a workflow says of its comparison of source and target rows.
//!
//! Four rounds: the shards; the primaries' tablet records; which of them have the workflow; their own answers, which go into the
//! reply untouched. Clients sum the shards up, so one that is missing would make "no mismatch" of "not known": here, and only
//! here, one shard that cannot be asked fails the request, as in vtctld.
//!
//! Facts: `go/vt/vtctl/workflow/vdiff.go`, `server.go:VDiffShow`.

use std::collections::BTreeMap;

use prost::Message;

use super::Operation;
use crate::{
    error::{Failure, Lost, Status},
    flow::{Answer, AskId, Asks, Call, Effect, Reply},
    limits,
    proto::{
        tabletmanagerdata::{VDiffRequest, VDiffResponse, VReplicationExecRequest},
        vtctldata::VDiffShowRequest,
    },
    query::{
        read::{Next, Read, Subject},
        statement::Scope,
    },
    rpc,
    topo::targets::{Event, Place, Target, Targets, Unreached},
    wire,
};

pub(crate) struct VDiffShow {
    request: VDiffShowRequest,
    targets: Targets,
    waiting: BTreeMap<AskId, Waiting>,
    /// By shard: the tablet's answer.
    found: BTreeMap<String, Vec<u8>>,
    failures: Vec<Failure>,
    fatal: Option<Status>,
}

enum Waiting {
    /// Does the tablet have the workflow?
    Name(Target, Read),
    Shown(Target),
}

impl VDiffShow {
    pub(crate) fn start(call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        let request: VDiffShowRequest = super::decode(call)?;
        if request.workflow.is_empty() || request.workflow.len() > limits::WORKFLOW_NAME_BYTES {
            let text = format!("no streams found in keyspace {} for {}", request.target_keyspace, request.workflow);
            return Err(Status::unknown(text));
        }
        let targets = Targets::start(&request.target_keyspace, &[], asks)?;
        Ok(Self { request, targets, waiting: BTreeMap::new(), found: BTreeMap::new(), failures: Vec::new(), fatal: None })
    }

    fn event(&mut self, event: Event, asks: &mut Asks) {
        match event {
            Event::Target(target) => {
                let scope =
                    Scope { db_name: target.db_name.clone(), workflow: self.request.workflow.clone(), active_only: false };
                let read = Read::new(&target.address.alias, Subject::Names, scope);
                self.ask_name(target, read, asks);
            }
            Event::Unreached(Unreached { place, message, .. }) => self.fail(&place, message),
            Event::Fatal(status) => self.fatal = Some(status),
            Event::NoKeyspace { node } => {
                let (keyspace, node) = (&self.request.target_keyspace, node.trim_end_matches('/'));
                let text = format!("FindAllShardsInKeyspace({keyspace}): List: node doesn't exist: {node}");
                self.fatal = Some(Status::unknown(text));
            }
            Event::NoShards(_) => self.fatal = Some(Status::unknown(self.no_streams())),
        }
    }

    fn no_streams(&self) -> String {
        format!("no streams found in keyspace {} for {}", self.request.target_keyspace, self.request.workflow)
    }

    fn ask_name(&mut self, target: Target, read: Read, asks: &mut Asks) {
        let statement = read.statement();
        let request = VReplicationExecRequest { query: statement.clone() }.encode_to_vec();
        let id = asks.release(target.call(rpc::VREPLICATION_EXEC, request, Effect::Read, Subject::Names.name(), statement));
        self.waiting.insert(id, Waiting::Name(target, read));
    }

    fn ask_vdiff(&mut self, target: Target, asks: &mut Asks) {
        let request = VDiffRequest {
            keyspace: self.request.target_keyspace.clone(),
            workflow: self.request.workflow.clone(),
            action: "show".into(),
            action_arg: self.request.arg.clone(),
            ..VDiffRequest::default()
        };
        let id = asks.release(target.call(rpc::VDIFF, request.encode_to_vec(), Effect::Read, "vdiff", String::new()));
        self.waiting.insert(id, Waiting::Shown(target));
    }

    fn fail(&mut self, place: &Place, message: String) {
        let failure = place.failure(&self.request.target_keyspace, Lost::Shard, message);
        self.failures.push(Failure { workflow: self.request.workflow.clone(), ..failure });
    }
}

impl Operation for VDiffShow {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        match self.waiting.remove(&id) {
            Some(Waiting::Name(target, mut read)) => match read.answered(answer) {
                Next::Again => self.ask_name(target, read, asks),
                Next::Failed(text) => self.fail(&target.place, text),
                Next::Done => {
                    if read.into_pages().iter().any(|page| !page.is_empty()) {
                        self.ask_vdiff(target, asks);
                    }
                }
            },
            Some(Waiting::Shown(target)) => match answer {
                Answer::Called(response) => match VDiffResponse::decode(response.as_slice()) {
                    Ok(_) => drop(self.found.insert(target.place.shard, response)),
                    Err(error) => self.fail(&target.place, format!("the tablet's answer cannot be read: {error}")),
                },
                Answer::Failed { message, .. } => self.fail(&target.place, message),
                _ => self.fail(&target.place, "the tablet call was answered with a topology record".into()),
            },
            None => {
                for event in self.targets.answered(id, answer, asks) {
                    self.event(event, asks);
                }
            }
        }
    }

    fn failures(&self) -> Vec<Failure> {
        let mut failures = self.failures.clone();
        failures.sort();
        failures
    }

    fn finish(&mut self) -> Reply {
        if let Some(status) = self.fatal.take() {
            return Reply::new(Err(status), Vec::new());
        }
        let mut failures = std::mem::take(&mut self.failures);
        failures.sort();
        let result = if !failures.is_empty() {
            Err(super::status(&failures, failures.len() > 1))
        } else if self.found.is_empty() {
            Err(Status::unknown(self.no_streams()))
        } else {
            let reply = self.found.iter().fold(wire::Message::new(), |reply, (shard, value)| reply.entry(1, shard, value));
            Ok(reply.into_bytes())
        };
        Reply::new(result, failures)
    }
}
