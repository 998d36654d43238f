//! `VDiffShow`: what each shard that has streams of a workflow says of its comparison of source and target rows.
//!
//! Four rounds: the shards; the primaries' tablet records; which of them have the workflow; their own answers, which go into the
//! reply untouched. Clients sum the shards up, so one that is missing would make "no mismatch" of "not known": here, and only
//! here, one shard that cannot be asked fails the request, as in vtctld.
//! A tablet that turns out not to be its shard's primary any more costs two rounds more, once.
//!
//! Facts: `go/vt/vtctl/workflow/vdiff.go`, `server.go:VDiffShow`.

use std::collections::BTreeMap;

use prost::Message;

use crate::{
    contract::{Answer, AskId, Call, Failure, Lost, Reply, Status},
    limits,
    operation::{Asks, Operation, decode, status},
    proto::{
        tabletmanagerdata::{VDiffRequest, VDiffResponse},
        vtctldata::VDiffShowRequest,
    },
    rpc,
    sidecar::{
        query::Query,
        read::{Read, Subject},
        statement::Scope,
        survey::{Found, Look, Looked, Survey},
    },
    topo::targets::{Event, Place, Unreached},
    wire,
};

/// The looks at a target, in their order.
const HAS_WORKFLOW: usize = 0;
const VDIFF: usize = 1;

pub(crate) struct VDiffShow {
    request: VDiffShowRequest,
    survey: Survey,
    /// By shard: the tablet's answer.
    found: BTreeMap<String, Vec<u8>>,
    failures: Vec<Failure>,
    fatal: Option<Status>,
}

impl VDiffShow {
    pub(crate) fn start(call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        let request: VDiffShowRequest = decode(call)?;
        if request.workflow.is_empty() || request.workflow.len() > limits::WORKFLOW_NAME_BYTES {
            let text = format!("no streams found in keyspace {} for {}", request.target_keyspace, request.workflow);
            return Err(Status::unknown(text));
        }
        let survey = Survey::start(&request.target_keyspace, &[], asks)?;
        Ok(Self { request, survey, found: BTreeMap::new(), failures: Vec::new(), fatal: None })
    }

    fn nobody(&mut self, why: &Event) {
        self.fatal = match why {
            Event::NoKeyspace { node } => {
                let (keyspace, node) = (&self.request.target_keyspace, node.trim_end_matches('/'));
                let text = format!("FindAllShardsInKeyspace({keyspace}): List: node doesn't exist: {node}");
                Some(Status::unknown(text))
            }
            Event::NoShards(_) => Some(Status::unknown(self.no_streams())),
            other => other.status(),
        };
    }

    fn no_streams(&self) -> String {
        format!("no streams found in keyspace {} for {}", self.request.target_keyspace, self.request.workflow)
    }

    /// Whether the tablet has the workflow at all.
    fn ask_name(&mut self, index: usize, asks: &mut Asks) {
        let Some(target) = self.survey.target(index) else { return };
        let scope = Scope { db_name: target.db_name.clone(), workflow: self.request.workflow.clone(), active_only: false };
        let read = Read::new(&target.address.alias, Subject::Names, scope);
        self.survey.look(index, HAS_WORKFLOW, vec![Look::Rows(read)], asks);
    }

    fn ask_vdiff(&mut self, index: usize, asks: &mut Asks) {
        let request = VDiffRequest {
            keyspace: self.request.target_keyspace.clone(),
            workflow: self.request.workflow.clone(),
            action: "show".into(),
            action_arg: self.request.arg.clone(),
            ..VDiffRequest::default()
        };
        self.survey.look(index, VDIFF, vec![Look::One(Query::typed(rpc::VDIFF, &request, "vdiff"))], asks);
    }

    fn seen(&mut self, index: usize, asks: &mut Asks) {
        let mut looked = self.survey.take(index);
        let Some(place) = self.survey.target(index).map(|target| target.place.clone()) else { return };
        match looked.remove(&VDIFF) {
            Some(looked) => {
                let response = looked.response().and_then(|response| match VDiffResponse::decode(response.as_slice()) {
                    Ok(_) => Ok(response),
                    Err(error) => Err(format!("the tablet's answer cannot be read: {error}")),
                });
                match response {
                    Ok(response) => drop(self.found.insert(place.shard, response)),
                    Err(text) => self.fail(&place, text),
                }
            }
            None => match looked.remove(&HAS_WORKFLOW).map(Looked::whole) {
                Some(Ok(pages)) if pages.iter().any(|page| !page.is_empty()) => self.ask_vdiff(index, asks),
                Some(Err(text)) => self.fail(&place, text),
                Some(Ok(_)) | None => {}
            },
        }
    }

    fn fail(&mut self, place: &Place, message: String) {
        let failure = place.failure(&self.request.target_keyspace, Lost::Shard, message);
        self.failures.push(Failure { workflow: self.request.workflow.clone(), ..failure });
    }
}

impl Operation for VDiffShow {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        for found in self.survey.answered(id, answer, asks) {
            match found {
                Found::Target(index) => self.ask_name(index, asks),
                Found::Seen(index) => self.seen(index, asks),
                Found::Unreached(Unreached { place, message, .. }) => self.fail(&place, message),
                Found::Nobody(why) => self.nobody(&why),
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
            Err(status(&failures, failures.len() > 1))
        } else if self.found.is_empty() {
            Err(Status::unknown(self.no_streams()))
        } else {
            let reply = self.found.iter().fold(wire::Message::new(), |reply, (shard, value)| reply.entry(1, shard, value));
            Ok(reply.into_bytes())
        };
        Reply::new(result, failures)
    }
}
