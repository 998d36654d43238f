//! `VExec` that writes: one update or delete of a person's on the streams of every target, held to the rows that it was planned for.
//!
//! What the statement may be, and that it touches only the workflow's rows in the tablet's own database, is [`crate::vexec`]'s.

use prost::Message;

use crate::{
    contract::{Call, Code, Status},
    proto::{
        query::QueryResult,
        vtflow::{VExecRequest, VExecResponse, v_exec_response as planned},
    },
    sidecar::{
        query::Query,
        result::RowSet,
        survey::{Look, Looked},
    },
    topo::targets::Target,
    vexec::{Kind, Scope, Statement},
    words::plural,
    write::{
        change::{Change, Prepared},
        inquiry::Inquired,
        judge::{Done, Shown},
        kind::{Lock, NoTargets, TabletWrite},
        locks,
        seen::Seen,
        stream::{self, Stream},
    },
};

pub(crate) struct VExecWrite {
    request: VExecRequest,
    statement: Statement,
}

impl VExecWrite {
    /// The request, if it is one that writes; `None` if it reads, is a dry run, or cannot be understood (which the read says).
    pub(crate) fn new(call: &Call) -> Option<Self> {
        let request: VExecRequest = crate::operation::decode(call).ok()?;
        let statement = Statement::parse(&request.sql, Scope { workflow: request.workflow.clone() }).ok()?;
        (statement.kind().is_write() && !request.dry_run && !request.keyspace.is_empty()).then_some(Self { request, statement })
    }

    fn is_delete(&self) -> bool {
        self.statement.kind() == Kind::Delete
    }
}

/// The streams that a target's only look showed.
fn streams(seen: &Seen) -> Result<Vec<Stream>, String> {
    match seen.looked.first() {
        Some(Looked::Called(bytes)) => {
            let rows =
                RowSet::from_vreplication_exec(bytes).map_err(|error| format!("the tablet's answer cannot be read: {error}"))?;
            stream::streams(&[rows])
        }
        Some(Looked::Refused(_, text)) => Err(text.clone()),
        _ => Err("the tablet was not asked".into()),
    }
}

impl TabletWrite for VExecWrite {
    fn keyspace(&self) -> &str {
        &self.request.keyspace
    }

    fn shards(&self) -> &[String] {
        &self.request.shards
    }

    /// vtctld takes none: its `VExec` can run into a switch of traffic.
    fn locks(&self) -> Vec<Lock> {
        locks::of_workflow(&self.request.keyspace, &self.request.workflow, "VExec")
    }

    fn no_targets(&self, why: NoTargets) -> Status {
        why.status()
    }

    fn looks(&self, target: &Target) -> Vec<Look> {
        let statement = self.statement.rows_expected(&target.db_name).unwrap_or_default();
        vec![Look::One(Query::vreplication("streams", statement))]
    }

    fn prepare(&self, seen: &[Seen], _replies: &[Inquired], force: bool) -> Result<Prepared, Status> {
        let (mut changes, mut streams_in_all) = (Vec::new(), 0);
        for (target, seen) in seen.iter().enumerate() {
            let place = format!("{}/{}", self.request.keyspace, seen.target.place.shard);
            let refused = |text: String| Status {
                code: Code::FailedPrecondition,
                message: format!("{place}: {text}; nothing was changed"),
            };
            let streams = streams(seen).map_err(refused)?;
            if streams.is_empty() {
                continue;
            }
            if streams.iter().any(Stream::is_frozen) && !force {
                return Err(refused("a stream is frozen, its traffic has been switched: force it if it has to be".into()));
            }
            streams_in_all += streams.len();
            // Held to the rows that were seen: another one may meet the condition by the time it is sent.
            let ids: Vec<String> = streams.iter().map(|stream| stream.id.to_string()).collect();
            let statement = format!("{} and id in ({})", self.statement.for_target(&seen.target.db_name), ids.join(", "));
            let rows = streams.iter().map(Stream::planned).collect();
            changes.push(Change::call(target, seen, Query::vreplication("vexec", statement), rows));
        }
        let (streams, tablets) = (plural(streams_in_all, "stream"), plural(changes.len(), "tablet"));
        let summary = match (self.is_delete(), changes.is_empty()) {
            (_, true) => "This changes nothing: no stream is meant.".to_owned(),
            (true, _) => format!("This deletes {streams} on {tablets}:"),
            (false, _) => format!("This changes and restarts {streams} on {tablets}:"),
        };
        let kept = if self.is_delete() { vec!["tables, routing rules, log rows".to_owned()] } else { Vec::new() };
        Ok(Prepared { summary, kept, warnings: Vec::new(), changes })
    }

    /// Of an update nothing can be told: what a statement of a person's makes of a row is MySQL's to know.
    fn judge(&self, change: &Change, before: &Seen, after: &Seen) -> Shown {
        let (before, after) = match (streams(before), streams(after)) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(text), _) | (_, Err(text)) => return Shown::Part(format!("rows that cannot be read: {text}")),
        };
        let left = before.iter().filter(|was| after.iter().any(|now| now.id == was.id)).count();
        let is_same = before.iter().all(|was| after.iter().any(|now| now.id == was.id && now.basis() == was.basis()));
        match (self.is_delete(), left) {
            (true, 0) => Shown::All,
            (true, _) if is_same && left == change.planned.rows.len() => Shown::Nothing,
            (false, _) if is_same => Shown::Part("no difference in what is compared, which is not every column".into()),
            _ => Shown::Part(format!("other rows than before ({left} of {} still meant)", plural(before.len(), "stream"))),
        }
    }

    fn reply(&self, seen: &[Seen], done: &[Done]) -> Result<Vec<u8>, Status> {
        let target = |done: &Done| {
            let target = &seen.get(done.change.target)?.target;
            let result = QueryResult { rows_affected: done.rows.unwrap_or_default(), ..QueryResult::default() };
            Some(planned::Target {
                tablet: target.address.alias.clone(),
                shard: target.place.shard.clone(),
                db_name: target.db_name.clone(),
                statement: done.change.planned.statement.clone(),
                added: Vec::new(),
                result: Some(result),
            })
        };
        Ok(VExecResponse { targets: done.iter().filter_map(target).collect() }.encode_to_vec())
    }
}
