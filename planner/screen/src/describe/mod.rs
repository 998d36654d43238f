//! One workflow on one screen: its streams, what is copied, where traffic goes, its last words, and what one could do next.
//!
//! Made of a GetWorkflows reply with logs and, where it could be had, a `WorkflowStatus` reply. A speed is only given when it can be known:
//! from two readings, or, from one, as the average since the copy began if the log goes back that far. Time left comes from the
//! tables' statistics, which are estimates, and is said to be about.

mod columns;
mod copy;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use self::{
    columns::{copy_table, stream_table},
    copy::{Progress, TableLine},
    streams::{Reading, StreamLine},
};
use self::{
    copy::{progress, tables},
    streams::stream_line,
};
use crate::{
    advice::{self, Step},
    around::Surroundings,
    health::Whole,
    logs::{LogLine, logs},
    workflows::line,
};
use vtflow_planner::{
    contract::Timestamp,
    proto::vtctldata::{ShardedAutoIncrementHandling, Workflow, WorkflowStatusResponse, workflow::Stream},
};

/// What there is to say of one workflow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its type, with the sub type in parentheses unless it is `None`.
    pub kind: String,
    /// Where it reads, as in a workflow's line.
    pub source: String,
    /// Where it writes, likewise.
    pub target: String,
    /// Streams by state, trouble first.
    pub streams_by_state: String,
    /// Whether anything is wrong with it.
    pub has_trouble: bool,
    /// What it was created with: name and value. Only what is set.
    pub options: Vec<(String, String)>,
    /// What is wrong with it as a whole: streams that are not in one state, shards without a stream, a source that is gone. What is wrong
    /// with single streams is theirs.
    pub troubles: Vec<String>,
    /// Where its traffic goes, in words; `None` when it is not known.
    pub traffic: Option<String>,
    /// Its streams, trouble first, then by shard and id.
    pub streams: Vec<StreamLine>,
    /// The copy as a whole; `None` when nothing is being copied.
    pub copy: Option<Progress>,
    /// The tables being copied, by name. Empty when none is, or the statistics are not known.
    pub tables: Vec<TableLine>,
    /// The last five things that happened, the newest first; equal ones are one line.
    pub logs: Vec<LogLine>,
    /// Logs that could not be read: the reasons.
    pub log_errors: Vec<String>,
    /// What one could do next, the most pressing first.
    pub next: Vec<Step>,
}

/// Describes a workflow. `status`: `None` when it could not be had. `around`: what is known beside them. `before`: an earlier reading, if
/// there was one.
pub fn describe(
    workflow: &Workflow,
    status: Option<&WorkflowStatusResponse>,
    around: &Surroundings,
    before: Option<Reading<'_>>,
    now: Timestamp,
) -> Description {
    let whole = Whole::new(workflow, true, now);
    let mut all = whole.streams.clone();
    all.sort_by(|(a, _, x), (b, _, y)| {
        b.is_trouble().cmp(&a.is_trouble()).then_with(|| x.shard.cmp(&y.shard)).then(x.id.cmp(&y.id))
    });
    let streams: Vec<(StreamLine, bool)> = all.iter().map(|stream| stream_line(workflow, *stream, before, now)).collect();
    let is_current = streams.iter().all(|(line, is_current)| line.rows_per_second.is_none() || *is_current);
    let streams: Vec<StreamLine> = streams.into_iter().map(|(line, _)| line).collect();
    let summary = line(workflow, &whole);
    let raw: Vec<&Stream> = all.iter().map(|(_, _, stream)| *stream).collect();
    let tables = tables(&all, status);
    let traffic = advice::traffic(workflow, status);
    let mut troubles = whole.of_all.clone();
    troubles.extend(around.contradictions.iter().cloned());
    troubles.extend(advice::splits(workflow, around).iter().cloned());
    troubles.extend(advice::against_traffic(workflow, &whole, traffic.as_deref(), around).map(str::to_owned));
    troubles.extend(advice::lost_source(workflow, &around.sources));
    Description {
        name: summary.name,
        kind: summary.kind,
        source: summary.source,
        target: summary.target,
        streams_by_state: summary.streams,
        has_trouble: summary.has_trouble || !troubles.is_empty(),
        troubles,
        options: options(workflow, &raw),
        copy: progress(&raw, &streams, &tables, is_current),
        next: advice::next(workflow, &whole, traffic.as_deref(), around, now),
        traffic,
        logs: logs(&raw, now),
        log_errors: log_errors(&raw),
        streams,
        tables,
    }
}

/// Why logs could not be read: a reason that many streams share is said once.
fn log_errors(streams: &[&Stream]) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, Vec<&Stream>> = BTreeMap::new();
    for stream in streams.iter().filter(|stream| !stream.log_fetch_error.is_empty()) {
        by_reason.entry(&stream.log_fetch_error).or_default().push(stream);
    }
    let said = |(reason, streams): (&str, Vec<&Stream>)| match streams.as_slice() {
        [one] => format!("{} stream {}: {reason}", one.shard, one.id),
        many => format!("{} streams: {reason}", many.len()),
    };
    by_reason.into_iter().map(said).collect()
}

fn options(workflow: &Workflow, streams: &[&Stream]) -> Vec<(String, String)> {
    let mut set: Vec<(String, String)> = Vec::new();
    let cells: BTreeSet<&str> = streams.iter().flat_map(|s| &s.cells).map(String::as_str).filter(|c| !c.is_empty()).collect();
    let types: BTreeSet<String> = streams
        .iter()
        .map(|s| s.tablet_types().map(|kind| kind.as_str_name().to_lowercase()).collect::<Vec<_>>().join(", "))
        .filter(|types| !types.is_empty())
        .collect();
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            set.push((name.to_owned(), value));
        }
    };
    add("reads from cells", cells.into_iter().collect::<Vec<_>>().join(", "));
    add("reads from tablets", types.into_iter().collect::<Vec<_>>().join("; "));
    if workflow.defer_secondary_keys {
        add("secondary keys", "made after the copy".into());
    }
    if let Some(options) = &workflow.options {
        add("tenant", options.tenant_id.clone());
        add("shards", options.shards.join(", "));
        match options.sharded_auto_increment_handling() {
            ShardedAutoIncrementHandling::Leave => {}
            handling => add("auto increment", handling.as_str_name().to_lowercase()),
        }
        add("global keyspace", options.global_keyspace.clone());
        add("lookup vindexes", options.lookup_vindexes.join(", "));
        for (name, value) in &options.config {
            add(name, value.clone());
        }
    }
    set
}
