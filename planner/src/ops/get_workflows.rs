//! `GetWorkflows`: every workflow of a keyspace, with the streams of all its shards.
//!
//! Three rounds, the fewest that the data allows: the shards; the primaries' tablet records; then for each primary, together,
//! its streams, copy state and (if asked) logs. Copy state and logs find their streams by a subquery instead of waiting for
//! the ids, and no shard waits for another. A tablet that turns out not to be its shard's primary any more costs two rounds
//! more, once: its shard is read again, and whoever is primary then is asked.
//!
//! Facts: `go/vt/vtctl/workflow/server.go:GetWorkflows`; `docs/compat.md` lists what differs.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::Operation;
use crate::{
    error::{Code, Failure, Lost, Status},
    flow::{Answer, AskId, Asks, Call, Effect, Reply, Timestamp},
    limits,
    merge::{
        tablet_rows::{PositionBudget, TabletPages, TabletStreams},
        workflows::Merge,
    },
    proto::{tabletmanagerdata::VReplicationExecRequest, vtctldata::GetWorkflowsRequest},
    query::{
        read::{Next, Read, Subject},
        statement::Scope,
    },
    rows::result::RowSet,
    rpc,
    topo::{
        said::says_not_primary,
        targets::{Event, Target, Targets, Unreached},
    },
};

pub(crate) struct GetWorkflows {
    request: GetWorkflowsRequest,
    strict: bool,
    /// Bytes that the reply may have.
    limit: Option<usize>,
    now: Timestamp,
    targets: Targets,
    asked: Vec<Asked>,
    /// The shards that were read again, and which target each one was before.
    again: BTreeMap<String, usize>,
    /// The reads under way: which target's, by index.
    reads: BTreeMap<AskId, (usize, Read)>,
    unreached: Vec<Unreached>,
    /// By workflow, at the end: why it cannot be told what it does as a whole.
    unclear: BTreeMap<String, BTreeSet<String>>,
    /// Why there is nobody to ask: [`Event::status`] is the reply.
    nobody: Option<Event>,
}

/// A target and what its reads have brought so far.
struct Asked {
    target: Target,
    pages: BTreeMap<Subject, Pages>,
    /// What they say, once the last one has come.
    said: Option<Said>,
    /// Reads under way.
    outstanding: usize,
    chance: Chance,
    /// It had no primary any more when it was read again.
    gone: Option<Unreached>,
}

/// What a target's reads say.
enum Said {
    /// Its streams, as the reply has them.
    Streams(TabletStreams),
    /// Its streams, to be read when it is known how many bytes their positions may have.
    Pages(TabletPages),
    /// The names of its workflows.
    Names(Vec<RowSet>),
    /// Why it says nothing.
    Nothing(String),
}

impl Said {
    /// Puts together what the reads brought, and reads it if nothing else has to be known.
    fn new(mut pages: BTreeMap<Subject, Pages>, target: &Target, request: &GetWorkflowsRequest, now: Timestamp) -> Self {
        let mut take = |subject| pages.remove(&subject).unwrap_or_default();
        if request.name_only {
            return take(Subject::Names).whole().map_or_else(Self::Nothing, Self::Names);
        }
        let streams = match take(Subject::Streams).whole() {
            Ok(streams) => streams,
            Err(message) => return Self::Nothing(message),
        };
        let logs = take(Subject::Logs);
        let pages = TabletPages { streams, copy_states: take(Subject::CopyState).whole(), logs: (logs.rows, logs.error) };
        if pages.has_compressed_positions() {
            return Self::Pages(pages);
        }
        Self::Streams(TabletStreams::read(&pages, target, &request.keyspace, now, &mut PositionBudget::new()))
    }
}

/// What one read brought.
#[derive(Default)]
struct Pages {
    rows: Vec<RowSet>,
    /// Why there are no more, if there should be.
    error: Option<String>,
}

impl Pages {
    /// All or nothing.
    fn whole(self) -> Result<Vec<RowSet>, String> {
        self.error.map_or(Ok(self.rows), Err)
    }
}

/// Whether a target's shard may be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chance {
    /// Nobody has said that it is not the primary.
    Unused,
    /// The tablet said so; when its last read has ended, the shard is read again. Not before: which of its reads said so, and
    /// when, must not show.
    Wanted,
    /// The shard was read again. What is said now is the answer.
    Used,
}

impl GetWorkflows {
    pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        let request: GetWorkflowsRequest = super::decode(call)?;
        if request.workflow.len() > limits::WORKFLOW_NAME_BYTES {
            let (bytes, limit) = (request.workflow.len(), limits::WORKFLOW_NAME_BYTES);
            let message = format!("no workflow can have a name of {bytes} bytes: the column holds {limit}");
            return Err(Status { code: Code::InvalidArgument, message });
        }
        let targets = Targets::start(&request.keyspace, &request.shards, asks)?;
        Ok(Self {
            request,
            strict: call.options.strict,
            limit: call.options.reply_limit(),
            now,
            targets,
            asked: Vec::new(),
            again: BTreeMap::new(),
            reads: BTreeMap::new(),
            unreached: Vec::new(),
            unclear: BTreeMap::new(),
            nobody: None,
        })
    }

    /// Whether nothing is outstanding: [`Operation::finish`] has the reply.
    pub(super) fn is_done(&self) -> bool {
        self.reads.is_empty() && self.targets.is_done()
    }

    /// The targets found so far.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.asked.iter().map(|asked| &asked.target)
    }

    /// When each stream had its last heartbeat, in Unix seconds, by shard and alias (`-80/zone1-0000000100`) and id: the reply
    /// does not have it.
    pub(super) fn heartbeats(&self) -> BTreeMap<(String, i64), i64> {
        let mut heartbeats = BTreeMap::new();
        for Asked { target, said, .. } in &self.asked {
            let key = format!("{}/{}", target.shard, target.place.alias_text());
            let of_target = match said {
                Some(Said::Streams(streams)) => streams.heartbeats.clone(),
                Some(Said::Pages(pages)) => pages.heartbeats(),
                _ => Vec::new(),
            };
            heartbeats.extend(of_target.into_iter().map(|(id, at)| ((key.clone(), id), at)));
        }
        heartbeats
    }

    /// Why there was nobody to ask, if so.
    pub(super) fn nobody(&self) -> Option<&Event> {
        self.nobody.as_ref()
    }

    /// Why it cannot be told what this workflow does as a whole; empty: it can. To be asked after [`Operation::finish`].
    pub(super) fn unclear(&mut self, workflow: &str) -> BTreeSet<String> {
        self.unclear.remove(workflow).unwrap_or_default()
    }

    /// The names of all shards found so far.
    pub(super) fn shards(&self) -> impl Iterator<Item = &str> {
        let unreached = self.unreached.iter().map(|unreached| &unreached.place);
        self.targets().map(|target| &target.place).chain(unreached).map(|place| place.shard.as_str())
    }

    fn subjects(&self) -> &'static [Subject] {
        match (self.request.name_only, self.request.include_logs) {
            (true, _) => &[Subject::Names],
            (false, false) => &[Subject::Streams, Subject::CopyState],
            (false, true) => &[Subject::Streams, Subject::CopyState, Subject::Logs],
        }
    }

    fn event(&mut self, event: Event, asks: &mut Asks) {
        match event {
            Event::Target(target) => {
                let scope = Scope {
                    db_name: target.db_name.clone(),
                    workflow: self.request.workflow.clone(),
                    active_only: self.request.active_only,
                };
                let outstanding = self.subjects().len();
                let alias = target.address.alias.clone();
                let index = self.again.get(&target.place.shard).copied().unwrap_or(self.asked.len());
                let chance = Chance::Unused;
                let asked = Asked { target, pages: BTreeMap::new(), said: None, outstanding, chance, gone: None };
                match self.asked.get_mut(index) {
                    Some(before) => *before = Asked { chance: Chance::Used, ..asked },
                    None => self.asked.push(asked),
                }
                let bytes = limits::READS_BYTES / self.targets.count().max(1);
                for &subject in self.subjects() {
                    self.send(index, Read::new(&alias, subject, scope.clone()).within(bytes), asks);
                }
            }
            Event::Unreached(unreached) => match self.again.get(&unreached.place.shard).copied() {
                None => self.unreached.push(unreached),
                Some(index) if unreached.lost == Lost::NoPrimary => {
                    // Nobody is primary now: what the former one said is out of date.
                    if let Some(asked) = self.asked.get_mut(index) {
                        asked.said = None;
                        asked.gone = Some(unreached);
                    }
                }
                // Nothing new came of it: what the tablet said stands.
                Some(_) => {}
            },
            Event::NoKeyspace { .. } | Event::NoShards(_) | Event::Fatal(_) => self.nobody = Some(event),
        }
    }

    fn send(&mut self, index: usize, read: Read, asks: &mut Asks) {
        let Some(Asked { target, .. }) = self.asked.get(index) else { return };
        let statement = read.statement();
        let id = asks.release(target.call(
            rpc::VREPLICATION_EXEC,
            VReplicationExecRequest { query: statement.clone() }.encode_to_vec(),
            Effect::Read,
            read.subject().name(),
            statement,
        ));
        self.reads.insert(id, (index, read));
    }
}

impl Operation for GetWorkflows {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        let Some((index, mut read)) = self.reads.remove(&id) else {
            for event in self.targets.answered(id, answer, asks) {
                self.event(event, asks);
            }
            return;
        };
        let is_closed = says_not_primary(&answer);
        let error = match read.answered(answer) {
            Next::Again => return self.send(index, read, asks),
            Next::Failed(text) => Some(text),
            Next::Done => None,
        };
        let subject = read.subject();
        let Some(asked) = self.asked.get_mut(index) else { return };
        // Half of the streams would look like all of them; log rows that came are log rows.
        let rows = if error.is_none() || subject == Subject::Logs { read.into_pages() } else { Vec::new() };
        asked.pages.insert(subject, Pages { rows, error });
        asked.outstanding -= 1;
        if is_closed && asked.chance == Chance::Unused {
            asked.chance = Chance::Wanted;
        }
        if asked.outstanding == 0 {
            asked.said = Some(Said::new(std::mem::take(&mut asked.pages), &asked.target, &self.request, self.now));
        }
        if asked.outstanding == 0 && asked.chance == Chance::Wanted {
            asked.chance = Chance::Used;
            self.again.insert(asked.target.place.shard.clone(), index);
            self.targets.again(&asked.target.place.shard, asks);
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
        if let Some(status) = self.nobody.as_ref().and_then(Event::status) {
            return Reply::new(Err(status), Vec::new());
        }
        let mut merge = Merge::new(&self.request.keyspace);
        let mut budget = PositionBudget::new();
        let mut unreached = std::mem::take(&mut self.unreached);
        let mut asked = std::mem::take(&mut self.asked);
        let asked_nobody = asked.is_empty();
        asked.sort_by(|a, b| a.target.place.order(&b.target.place));
        for Asked { target, said, gone, .. } in asked {
            match (gone, said) {
                (Some(gone), _) => unreached.push(gone),
                (None, Some(Said::Streams(streams))) => merge.add(target, streams),
                (None, Some(Said::Pages(pages))) => {
                    let streams = TabletStreams::read(&pages, &target, &self.request.keyspace, self.now, &mut budget);
                    merge.add(target, streams);
                }
                (None, Some(Said::Names(names))) => {
                    let names = names.iter().flat_map(|page| {
                        let column = page.column("workflow");
                        page.rows().map(move |row| row.text_of(column))
                    });
                    merge.names(target, names);
                }
                (None, Some(Said::Nothing(message))) => {
                    unreached.push(Unreached { place: target.place, lost: Lost::Shard, message });
                }
                // Nothing is outstanding: it has said something.
                (None, None) => {}
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
            Err(super::status(&failures, true))
        } else if merged.is_empty() && !failures.is_empty() && !is_answered {
            // Nothing is known that could carry the news.
            Err(super::status(&failures, false))
        } else {
            Ok(merged.into_bytes())
        };
        Reply::new(result, failures)
    }
}
