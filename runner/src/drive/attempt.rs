//! The loop between a flow and a cluster, and reads that are like one before: what the topology said then is assumed, and read again
//! beside the tablets' answers.
//!
//! Reading the shards and their primaries takes two round trips before the first tablet is asked. A repeated read assumes them, so that
//! its tablets are asked at once; meanwhile the same records are read. If they are what was assumed, to the version, the reply is the one
//! that a read from the start would have given. If anything differs, all of it is thrown away and the read begins anew, from what is
//! there. Nothing is ever told that was only assumed.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{task::JoinSet, time::Instant};
use vtflow_planner::{Answer, AskId, FlowHandle, Reply, Status, What};

use super::{
    cluster_io::ClusterIo,
    last_records::{LastRecords, Read, asked},
    running::{Done, Running, is_write},
};
use crate::observe::Observer;

/// Performs a request to its end.
///
/// `until` is the caller's own deadline: asks that are not answered by then fail, and the reply says which. No call that writes
/// is begun after it; from the first one on the deadline counts no more, so that the reply can say what became of each.
pub async fn drive(flow: impl FlowHandle, cluster: &ClusterIo, until: Option<Instant>, observer: &dyn Observer) -> Reply {
    let whole = attempt(flow, cluster, until, observer, None, &Read::new()).await;
    // Nothing was assumed that could be otherwise.
    whole.unwrap_or_else(|_| without_reply())
}

/// Performs a read to its end, as [`drive`]; `start` begins it, once or twice.
pub async fn drive_assuming<F: FlowHandle>(
    start: impl Fn() -> F,
    cluster: &ClusterIo,
    until: Option<Instant>,
    observer: &dyn Observer,
    last: &LastRecords,
) -> Reply {
    let watch = (observer, last);
    match attempt(start(), cluster, until, &watch, Some(last), &Read::default()).await {
        Ok(reply) => reply,
        // What was read in vain is not read again: where the topology does not answer, nobody waits for it twice.
        Err(read) => attempt(start(), cluster, until, &watch, None, &read).await.unwrap_or_else(|_| without_reply()),
    }
}

/// Performs a request to its end. What is in `read` is an answer; what is in `last` is assumed, and read meanwhile.
///
/// # Errors
/// Something is not as it was assumed, or is to be written though something was assumed: what was read until then.
async fn attempt(
    flow: impl FlowHandle,
    cluster: &ClusterIo,
    until: Option<Instant>,
    observer: &dyn Observer,
    last: Option<&LastRecords>,
    read: &Read,
) -> Result<Reply, Read> {
    let share = cluster.tablets.share();
    // Dropped before its share of the room is given back: it keeps answers.
    let mut flow = flow;
    let (mut running, mut checks) = (Running::default(), Running::default());
    let mut assumed: BTreeMap<AskId, Arc<Answer>> = BTreeMap::new();
    let mut checked = Read::new();
    // What a tablet says may be why something is read again: that is no time to assume.
    let mut has_heard = false;
    let is_plain = last.is_none() && read.is_empty();
    flow.hand_out_work();
    let mut works = JoinSet::new();
    loop {
        let mut asks = flow.asks();
        while !asks.is_empty() {
            if last.is_some() && asks.iter().any(|ask| is_write(ask) || matches!(ask.what, What::TopoLock { .. })) {
                return Err(checked);
            }
            let (mut known, mut to_check, mut others) = (Vec::new(), Vec::new(), Vec::new());
            for ask in asks {
                let key = if has_heard || is_plain { None } else { asked(&ask) };
                if let Some(answer) = key.as_ref().and_then(|key| read.get(key)) {
                    known.push((ask.id, answer.clone()));
                } else if let Some(answer) = key.and_then(|key| last?.of(&key)) {
                    known.push((ask.id, Answer::clone(&answer)));
                    assumed.insert(ask.id, answer);
                    to_check.push(ask);
                } else {
                    others.push(ask);
                }
            }
            running.start(others, cluster, Some(&share), until, observer);
            checks.start(to_check, cluster, None, until, observer);
            for (id, answer) in known {
                flow.answer(id, answer);
            }
            asks = flow.asks();
        }
        for work in flow.work() {
            works.spawn(async { work.perform() });
        }
        let (is_check, done) = tokio::select! {
            biased;
            Some(done) = checks.next() => (true, done),
            Some(done) = running.next() => (false, done),
            Some(done) = works.join_next() => {
                flow.worked(done.ok());
                continue;
            }
            else => break,
        };
        let mut is_as_assumed = true;
        for done in done {
            done.tell(observer);
            let Done { ask, answer, .. } = done;
            let key = asked(&ask);
            has_heard |= key.is_none();
            if !is_check {
                flow.answer(ask.id, answer);
                continue;
            }
            is_as_assumed &= assumed.remove(&ask.id).as_deref() == Some(&answer);
            checked.extend(key.map(|key| (key, answer)));
        }
        if !is_as_assumed {
            return Err(checked);
        }
    }
    Ok(flow.end().unwrap_or_else(without_reply))
}

fn without_reply() -> Reply {
    let text = "the request has neither a reply nor anything left to ask: this is a defect of vtflow";
    Reply::new(Err(Status::unknown(text)), Vec::new())
}
