//! What a request would ask, over a topology that is only looked at: its flow, with the records answered and no tablet called.

use std::collections::BTreeMap;

use crate::{
    contract::{Answer, Ask, Call, Failure, Record, Reply, Timestamp, What},
    flow::Flow,
};

/// The records of a topology: value and version, by cell and path.
pub type Records = BTreeMap<(String, String), (Vec<u8>, i64)>;

/// A request as far as the topology tells.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Everything that was asked, tablet calls included. What depends on rows is not known.
    pub asks: Vec<Ask>,
    /// Shards that have nobody to ask.
    pub failures: Vec<Failure>,
    /// The reply of a request that asks no tablet.
    pub reply: Option<Reply>,
}

/// Takes a request as far as the records lead.
pub fn preview(call: &Call, now: Timestamp, records: &Records) -> Preview {
    let mut flow = Flow::start(call, now);
    let mut all = Vec::new();
    loop {
        let asks = flow.asks();
        if asks.is_empty() {
            break;
        }
        for ask in &asks {
            if let Some(answer) = answer(records, ask) {
                flow.answer(ask.id, answer);
            }
        }
        all.extend(asks);
    }
    Preview { asks: all, failures: flow.failures(), reply: flow.into_reply() }
}

/// What the records answer; `None` for what only a cluster can.
fn answer(records: &Records, ask: &Ask) -> Option<Answer> {
    match &ask.what {
        What::TopoGet { cell, path } => Some(match records.get(&(cell.clone(), path.clone())) {
            Some((value, version)) => Answer::Found { value: value.clone(), version: *version },
            None => Answer::Missing { node: format!("{cell}:{path}") },
        }),
        What::TopoRange { cell, prefix } | What::TopoList { cell, prefix } => {
            let has_values = matches!(ask.what, What::TopoRange { .. });
            let below: Vec<Record> = records
                .iter()
                .filter(|((of, path), _)| of == cell && path.starts_with(prefix.as_str()))
                .map(|((_, path), (value, version))| Record {
                    path: path.clone(),
                    value: if has_values { value.clone() } else { Vec::new() },
                    version: *version,
                })
                .collect();
            Some(if below.is_empty() { Answer::Missing { node: format!("{cell}:{prefix}") } } else { Answer::Range(below) })
        }
        What::TopoLock { .. } => Some(Answer::Locked),
        What::TopoUnlock { .. } => Some(Answer::Unlocked),
        What::TopoPut { .. } | What::TopoDelete { .. } | What::TabletCall { .. } | What::TabletPage { .. } => None,
    }
}
