//! `GetWorkflows`: every workflow of a keyspace, with the streams of all its shards.
//!
//! Three rounds, the fewest that the data allows: the shards; the primaries' tablet records; then of each primary, in one statement,
//! its streams, copy state and (if asked) logs. Copy state and logs find their streams by a subquery instead of waiting for
//! the ids, and no shard waits for another. A tablet that does not take that statement is asked for each by itself, in one round
//! more. A tablet that turns out not to be its shard's primary any more costs two rounds
//! more, once: its shard is read again, and whoever is primary then is asked.
//!
//! Facts: `go/vt/vtctl/workflow/server.go:GetWorkflows`; `docs/compat.md` lists what differs.

mod lag;
mod merge;
mod stand_ins;
mod stream_message;
pub(crate) mod tablet_rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use prost::Message;

use crate::{
    contract::{Answer, AskId, Call, CallOptions, Code, Failure, Lost, Parts, Reply, Status, Timestamp},
    limits,
    operation::{Asks, Done, Operation, Work, decode, status},
    ops::get_workflows::{
        merge::Merge,
        tablet_rows::{PositionBudget, TabletPages, TabletStreams},
    },
    proto::vtctldata::{GetWorkflowsRequest, GetWorkflowsResponse, Workflow},
    sidecar::{
        fused::Fused,
        read::{Read, Subject},
        result::RowSet,
        statement::Scope,
        survey::{Found, Look, Looked, Progress, Survey, Unread},
    },
    topo::targets::{Event, Target, Unreached},
};

pub(crate) struct GetWorkflows {
    request: Arc<GetWorkflowsRequest>,
    strict: bool,
    /// Bytes that the reply may have.
    limit: Option<usize>,
    now: Timestamp,
    survey: Survey,
    /// What the targets say, by index, as soon as the last look at each has ended.
    said: BTreeMap<usize, Said>,
    /// Whether the work of reading answers is added to the asks' own, or done at once: another operation looks at what came of it.
    is_whole_request: bool,
    unreached: Vec<Unreached>,
    /// By workflow, at the end: why it cannot be told what it does as a whole.
    unclear: BTreeMap<String, BTreeSet<String>>,
    /// Why there is nobody to ask: [`Event::status`] is the reply.
    nobody: Option<Event>,
}

/// What is to be made of a target's answers.
struct Wanted {
    request: Arc<GetWorkflowsRequest>,
    now: Timestamp,
    with_heartbeats: bool,
}

/// A target whose answers have been read.
struct Worked {
    index: usize,
    /// The round of the last of them.
    round: u32,
    made: Made,
}

/// What was made of a target's answers.
enum Made {
    Said(Said),
    /// More is to be asked, from the look of this number on.
    GoesOn(usize, Box<Progress>),
}

/// What a target's reads say.
enum Said {
    /// Its streams, as the reply has them; and when they had their last heartbeat, in Unix seconds, by id, if anybody wants to know.
    Streams(TabletStreams, Vec<(i64, i64)>),
    /// Its streams, to be read when it is known how many bytes their positions may have.
    Pages(TabletPages),
    /// The names of its workflows.
    Names(Vec<RowSet>),
    /// Why it says nothing.
    Nothing(String),
}

impl Said {
    /// Puts together what the reads brought, and reads it if nothing else has to be known.
    fn new(mut looked: BTreeMap<usize, Looked>, target: &Target, wanted: &Wanted) -> Self {
        let Wanted { request, now, with_heartbeats } = wanted;
        let mut take = |subject| looked.remove(&look_of(subject)).unwrap_or(Looked::Rows(Vec::new(), None));
        if request.name_only {
            return take(Subject::Names).whole().map_or_else(Self::Nothing, Self::Names);
        }
        // Half of the streams would look like all of them; log rows that came are log rows.
        let streams = match take(Subject::Streams).whole() {
            Ok(streams) => streams,
            Err(message) => return Self::Nothing(message),
        };
        let pages = TabletPages::new(streams, take(Subject::CopyState).whole(), take(Subject::Logs).parts());
        if pages.has_compressed_positions() {
            return Self::Pages(pages);
        }
        let heartbeats = if *with_heartbeats { pages.heartbeats() } else { Vec::new() };
        let streams = TabletStreams::read(&pages, target, &request.keyspace, *now, &mut PositionBudget::new());
        Self::Streams(streams, heartbeats)
    }
}

/// The number of the look that reads this: those of a [`Fused`] follow each other.
fn look_of(subject: Subject) -> usize {
    match subject {
        Subject::Streams | Subject::Names => 0,
        Subject::CopyState => 1,
        Subject::Logs => 2,
    }
}

impl GetWorkflows {
    pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        Ok(Self { is_whole_request: true, ..Self::begin(decode(call)?, &call.options, now, asks)? })
    }

    /// As [`GetWorkflows::start`], of a request that another operation makes.
    pub(crate) fn begin(
        request: GetWorkflowsRequest,
        options: &CallOptions,
        now: Timestamp,
        asks: &mut Asks,
    ) -> Result<Self, Status> {
        if request.workflow.len() > limits::WORKFLOW_NAME_BYTES {
            let (bytes, limit) = (request.workflow.len(), limits::WORKFLOW_NAME_BYTES);
            let message = format!("no workflow can have a name of {bytes} bytes: the column holds {limit}");
            return Err(Status { code: Code::InvalidArgument, message });
        }
        let survey = Survey::start(&request.keyspace, &request.shards, asks)?;
        Ok(Self {
            request: Arc::new(request),
            strict: options.strict,
            limit: options.reply_limit(),
            now,
            survey,
            said: BTreeMap::new(),
            is_whole_request: false,
            unreached: Vec::new(),
            unclear: BTreeMap::new(),
            nobody: None,
        })
    }

    /// Whether nothing is outstanding: [`GetWorkflows::end`] has the workflows.
    pub(super) fn is_done(&self) -> bool {
        self.survey.is_done()
    }

    /// The targets found so far.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.survey.targets().map(|(_, target)| target)
    }

    /// When each stream had its last heartbeat, in Unix seconds, by shard and alias (`-80/zone1-0000000100`) and id: the reply
    /// does not have it.
    pub(super) fn heartbeats(&self) -> BTreeMap<(String, i64), i64> {
        let mut heartbeats = BTreeMap::new();
        for (index, target) in self.survey.targets() {
            let key = format!("{}/{}", target.shard, target.place.alias_text());
            let of_target = match self.said.get(&index) {
                Some(Said::Streams(_, heartbeats)) => heartbeats.clone(),
                Some(Said::Pages(pages)) => pages.heartbeats(),
                Some(Said::Names(_) | Said::Nothing(_)) | None => Vec::new(),
            };
            heartbeats.extend(of_target.into_iter().map(|(id, at)| ((key.clone(), id), at)));
        }
        heartbeats
    }

    /// Why there was nobody to ask, if so.
    pub(super) fn nobody(&self) -> Option<&Event> {
        self.nobody.as_ref()
    }

    /// Why it cannot be told what this workflow does as a whole; empty: it can. To be asked after [`GetWorkflows::end`].
    pub(super) fn unclear(&mut self, workflow: &str) -> BTreeSet<String> {
        self.unclear.remove(workflow).unwrap_or_default()
    }

    /// The names of all shards found so far.
    pub(super) fn shards(&self) -> impl Iterator<Item = &str> {
        let unreached = self.unreached.iter().map(|unreached| &unreached.place);
        self.targets().map(|target| &target.place).chain(unreached).map(|place| place.shard.as_str())
    }

    fn found(&mut self, found: Found, asks: &mut Asks) {
        match found {
            Found::Target(index) => self.look(index, asks),
            Found::Seen(index) => self.seen(index, asks),
            Found::Unreached(unreached) => self.unreached.push(unreached),
            Found::Nobody(why) => self.nobody = Some(why),
        }
    }

    fn look(&mut self, index: usize, asks: &mut Asks) {
        let Some(target) = self.survey.target(index) else { return };
        let scope = Scope {
            db_name: target.db_name.clone(),
            workflow: self.request.workflow.clone(),
            active_only: self.request.active_only,
        };
        let bytes = limits::READS_BYTES / self.survey.count().max(1);
        let alias = target.address.alias.clone();
        let look = if self.request.name_only {
            Look::Rows(Read::new(&alias, Subject::Names, scope).within(bytes))
        } else {
            Look::Fused(Box::new(Fused::new(&alias, scope, self.request.include_logs, bytes)))
        };
        self.survey.look(index, look_of(Subject::Streams), vec![look], asks);
    }

    /// Takes what a target has answered to the one statement, and has it read: whether it has to be asked otherwise, too.
    fn read(&mut self, unread: Unread, asks: &mut Asks) {
        let wanted = self.wanted();
        self.work(unread.index(), asks, move |target| {
            let (number, progress) = unread.read();
            let said = progress.ended(number).map(|looked| Made::Said(Said::new(looked, target, &wanted)));
            said.unwrap_or_else(|progress| Made::GoesOn(number, progress))
        });
    }

    /// Takes what a target has shown, and has it read.
    fn seen(&mut self, index: usize, asks: &mut Asks) {
        let (looked, wanted) = (self.survey.take(index), self.wanted());
        self.work(index, asks, move |target| Made::Said(Said::new(looked, target, &wanted)));
    }

    fn wanted(&self) -> Wanted {
        Wanted { request: Arc::clone(&self.request), now: self.now, with_heartbeats: !self.is_whole_request }
    }

    fn work(&mut self, index: usize, asks: &mut Asks, work: impl FnOnce(&Target) -> Made + Send + 'static) {
        let Some(target) = self.survey.target(index).cloned() else { return };
        let round = asks.round();
        let work = Work::new(move || Worked { index, round, made: work(&target) });
        if self.is_whole_request {
            asks.work(work);
        } else {
            self.worked(work.perform(), asks);
        }
    }

    /// The workflows, or the status of the request; and what is missing. Called once, instead of [`Operation::finish`].
    pub(crate) fn end(&mut self) -> (Result<Vec<Workflow>, Status>, Vec<Failure>) {
        let (result, failures) = self.encoded();
        let workflows = result.and_then(|parts| {
            let reply =
                GetWorkflowsResponse::decode(parts.whole().as_slice()).map_err(|error| Status::unknown(error.to_string()))?;
            Ok(reply.workflows)
        });
        (workflows, failures)
    }

    /// The same, encoded: each stream is written once, when its target has been read.
    fn encoded(&mut self) -> (Result<Parts, Status>, Vec<Failure>) {
        if let Some(status) = self.nobody.as_ref().and_then(Event::status) {
            return (Err(status), Vec::new());
        }
        let mut merge = Merge::new(&self.request.keyspace);
        let mut budget = PositionBudget::new();
        let mut unreached = std::mem::take(&mut self.unreached);
        let (targets, asked_nobody) = self.survey.take_targets();
        for (index, target) in targets {
            match self.said.remove(&index) {
                Some(Said::Streams(streams, _)) => merge.add(target, streams),
                Some(Said::Pages(pages)) => {
                    let streams = TabletStreams::read(&pages, &target, &self.request.keyspace, self.now, &mut budget);
                    merge.add(target, streams);
                }
                Some(Said::Names(names)) => {
                    let names = names.iter().flat_map(|page| {
                        let column = page.column("workflow");
                        page.rows().map(move |row| row.text_of(column))
                    });
                    merge.names(target, names);
                }
                Some(Said::Nothing(message)) => {
                    unreached.push(Unreached { place: target.place, lost: Lost::Shard, message });
                }
                // Nothing is outstanding, and all work is done: it has said something.
                None => {
                    let message = "what it answered was not read: this is a defect of vtflow".to_owned();
                    unreached.push(Unreached { place: target.place, lost: Lost::Shard, message });
                }
            }
        }
        unreached.sort_by(|a, b| a.place.order(&b.place));
        for unreached in &unreached {
            merge.unreached(unreached);
        }
        let mut merged = merge.finish(&unreached, self.request.name_only, self.limit);
        self.unclear = std::mem::take(&mut merged.unclear);
        let failures = std::mem::take(&mut merged.failures);

        // A shard without primary has no streams: that nothing was found elsewhere is an answer.
        let is_answered = !asked_nobody && failures.iter().all(|failure| failure.lost == Lost::NoPrimary);
        let result = if self.strict && failures.iter().any(|failure| failure.lost != Lost::Stream) {
            Err(status(&failures, true))
        } else if merged.is_empty() && !failures.is_empty() && !is_answered {
            // Nothing is known that could carry the news.
            Err(status(&failures, false))
        } else {
            Ok(merged.into_parts())
        };
        (result, failures)
    }
}

impl Operation for GetWorkflows {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        match self.survey.unread(id, answer) {
            Ok(unread) => self.read(unread, asks),
            Err(answer) => {
                for found in self.survey.answered(id, answer, asks) {
                    self.found(found, asks);
                }
            }
        }
    }

    fn worked(&mut self, done: Done, asks: &mut Asks) {
        let Some(Worked { index, round, made }) = done.take() else { return };
        match made {
            Made::Said(said) => drop(self.said.insert(index, said)),
            Made::GoesOn(number, progress) => {
                asks.go_on(round);
                if let Some(found) = self.survey.read(index, number, *progress, asks) {
                    self.found(found, asks);
                }
            }
        }
    }

    fn failures(&self) -> Vec<Failure> {
        let mut merge = Merge::new(&self.request.keyspace);
        for unreached in &self.unreached {
            merge.unreached(unreached);
        }
        merge.finish(&self.unreached, true, None).failures
    }

    fn finish(&mut self) -> Reply {
        let (result, failures) = self.encoded();
        Reply::in_parts(result, failures)
    }
}
