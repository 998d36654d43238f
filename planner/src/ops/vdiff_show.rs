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
    error::{Failure, Status},
    flow::{About, Answer, AskId, Asks, Call, Effect, Reply, What},
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
            Event::NoShards(status) => {
                let keyspace = &self.request.target_keyspace;
                self.fatal = Some(if status.message.ends_with('/') {
                    let text = status.message.trim_end_matches('/');
                    Status::unknown(format!("FindAllShardsInKeyspace({keyspace}): List: {text}"))
                } else {
                    Status::unknown(self.no_streams())
                });
            }
        }
    }

    fn no_streams(&self) -> String {
        format!("no streams found in keyspace {} for {}", self.request.target_keyspace, self.request.workflow)
    }

    fn ask_name(&mut self, target: Target, read: Read, asks: &mut Asks) {
        let statement = read.statement();
        let request = VReplicationExecRequest { query: statement.clone() }.encode_to_vec();
        let id = asks.release(tablet_call(&target, rpc::VREPLICATION_EXEC, request, Subject::Names.name(), statement));
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
        let id = asks.release(tablet_call(&target, rpc::VDIFF, request.encode_to_vec(), "vdiff", String::new()));
        self.waiting.insert(id, Waiting::Shown(target));
    }

    fn fail(&mut self, place: &Place, message: String) {
        self.failures.push(Failure {
            keyspace: self.request.target_keyspace.clone(),
            shard: place.shard.clone(),
            tablet: place.alias.as_ref().map_or_else(String::new, |_| place.alias_text()),
            workflow: self.request.workflow.clone(),
            lost: crate::error::Lost::Shard,
            message,
        });
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
            return Reply { stream: Vec::new(), result: Err(status), failures: Vec::new() };
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
        Reply { stream: Vec::new(), result, failures }
    }
}

fn tablet_call(target: &Target, path: &'static str, request: Vec<u8>, subject: &'static str, statement: String) -> What {
    What::TabletCall {
        tablet: target.address.clone(),
        path,
        request,
        effect: Effect::Read,
        about: About {
            keyspace: target.keyspace.clone(),
            shard: target.place.shard.clone(),
            db_name: target.db_name.clone(),
            subject,
            statement,
        },
    }
}
