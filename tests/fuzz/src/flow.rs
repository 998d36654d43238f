//! One request driven to its end over answers that somebody chooses, and what must hold of every flow, whatever the answers were.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use prost_reflect::{DescriptorPool, DynamicMessage};
use vtflow_planner::{
    Answer, Ask, AskId, Call, DESCRIPTORS, Effect, FlowHandle, Lost, Mode, Reply, Timestamp, What,
    contract::Verdict,
    limits,
    proto::{
        query::QueryResult,
        tabletmanagerdata::{ReadVReplicationWorkflowResponse, VReplicationExecResponse},
        vtctldata::GetWorkflowsResponse,
    },
    rpc, serve,
    trace::{FORMAT, Planner, Trace, Traced},
};

use prost::Message;

/// Asks of one request in a world of a few shards: far above what any makes, far below what would be none.
pub const ASKS: usize = 5_000;

/// A request that has been driven to its end.
pub struct Driven {
    /// All asks in the order of their release, each with what it was answered, and when: the place in the order of answers. `None`: it
    /// was never answered.
    pub asks: Vec<(Ask, Option<(usize, Answer)>)>,
    /// The reply; `None` only if an ask was never answered.
    pub reply: Option<Reply>,
}

/// In which order answers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As asked.
    First,
    /// The last ask first.
    Last,
    /// By chance.
    Seed(u64),
}

impl Order {
    /// From one byte.
    pub fn of(byte: u8) -> Self {
        match byte {
            0 => Self::First,
            1 => Self::Last,
            seed => Self::Seed(u64::from(seed)),
        }
    }

    fn pick(&mut self, count: usize) -> usize {
        match self {
            Self::First => 0,
            Self::Last => count - 1,
            Self::Seed(state) => {
                // xorshift64: enough to choose.
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                usize::try_from(*state % count as u64).unwrap_or(0)
            }
        }
    }
}

/// What an ask is about, the same in every order of answers. `before`: the asks before it.
fn place(ask: &Ask, before: &[(Ask, Option<(usize, Answer)>)]) -> String {
    match &ask.what {
        What::TopoGet { cell, path } => format!("get {cell} {path}"),
        What::TopoRange { cell, prefix } => format!("range {cell} {prefix}"),
        What::TopoList { cell, prefix } => format!("list {cell} {prefix}"),
        What::TopoPut { cell, path, .. } => format!("put {cell} {path}"),
        What::TopoDelete { cell, path, .. } => format!("delete {cell} {path}"),
        What::TopoLock { path, .. } => format!("lock {path}"),
        What::TopoUnlock { lock } => {
            // Its number is another one in every order.
            let taken = before.iter().find(|(ask, _)| ask.id == *lock);
            format!("un{}", taken.map_or_else(String::new, |(ask, _)| place(ask, &[])))
        }
        What::TabletCall { tablet, about, .. } => format!("call {} {}", tablet.alias, about.subject),
        What::TabletPage { tablet, path } => format!("page {} {path}", tablet.alias),
    }
}

/// Drives a flow. `answer` is given the ask, a name for what it is about, and how often the same was asked before; `None`: it never
/// answers.
///
/// # Panics
/// If the flow does not do what every flow must: it takes an answer that nobody asked for, or one twice, or refuses one; it has a reply
/// while it waits, or none when it does not; it goes on asking.
pub fn drive(flow: &mut dyn FlowHandle, mut order: Order, mut answer: impl FnMut(&Ask, &str, usize) -> Option<Answer>) -> Driven {
    let mut asks: Vec<(Ask, Option<(usize, Answer)>)> = Vec::new();
    let mut waiting: Vec<usize> = Vec::new();
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    let mut ids: BTreeSet<AskId> = BTreeSet::new();
    let mut never = 0;
    let mut answers = 0;
    loop {
        for ask in flow.asks() {
            assert!(ids.insert(ask.id), "{:?} was handed out twice", ask.id);
            waiting.push(asks.len());
            asks.push((ask, None));
        }
        assert!(asks.len() <= ASKS, "more than {ASKS} asks");
        let _ = flow.failures();
        if waiting.is_empty() {
            break;
        }
        let at = waiting.remove(order.pick(waiting.len()));
        let place = place(&asks[at].0, &asks);
        let (ask, told) = &mut asks[at];
        let times = asked.get(&place).copied().unwrap_or(0);
        let given = answer(ask, &place, times);
        asked.insert(place, times + 1);
        let Some(given) = given else {
            never += 1;
            continue;
        };
        assert!(flow.answer(ask.id, given.clone()), "an ask that is out is taken: {ask:?}");
        assert!(!flow.answer(ask.id, Answer::Locked), "and once only: {ask:?}");
        *told = Some((answers, given));
        answers += 1;
    }
    assert!(!flow.answer(AskId(u32::MAX), Answer::Locked), "what was never asked is not taken");
    let reply = flow.end();
    assert_eq!(reply.is_some(), never == 0, "a reply is there exactly when nothing is outstanding");
    Driven { asks, reply }
}

impl Driven {
    /// The same as a trace, as the runner writes it.
    pub fn trace(&self, call: &Call, now: Timestamp) -> Trace {
        let traced = |(ask, told): &(Ask, Option<(usize, Answer)>)| Traced {
            ask: ask.clone(),
            asked_us: 0,
            sent_us: None,
            answered_us: told.as_ref().map(|_| 1),
            order: told.as_ref().map(|(order, _)| u32::try_from(*order).unwrap_or(u32::MAX)),
            answer: told.as_ref().map(|(_, answer)| answer.clone()),
        };
        let asks = self.asks.iter().map(traced).collect();
        let reply = self.reply.clone();
        Trace {
            vtflow_trace: FORMAT,
            planner: Planner::this(),
            call: call.clone(),
            now,
            redacted: false,
            asks,
            reply,
            took_us: 9,
        }
    }

    /// What must hold of every flow that has ended, whatever was asked and answered.
    ///
    /// # Panics
    /// If it does not.
    pub fn check(&self, call: &Call) {
        self.check_writes(call);
        let Some(reply) = &self.reply else { return };
        check_reply(call, reply);
        self.check_targets(call, reply);
        if call.path == rpc::GET_WORKFLOWS {
            self.check_states(reply);
        }
        self.check_bytes(call, reply);
    }

    /// Changes only where they are wanted, each once, and under the locks that the plan names.
    fn check_writes(&self, call: &Call) {
        let effect = serve::SERVED.iter().find(|served| served.path == call.path).map(|served| served.effect);
        let may_write = call.path == rpc::VEXEC || effect == Some(Effect::Write);
        let is_write = |what: &What| match what {
            What::TopoPut { .. } | What::TopoDelete { .. } => true,
            What::TabletCall { effect, .. } => *effect == Effect::Write,
            _ => false,
        };
        let changes = |what: &What| is_write(what) || matches!(what, What::TopoLock { .. } | What::TopoUnlock { .. });
        if !may_write || call.options.mode == Mode::Preview {
            let changed = self.asks.iter().find(|(ask, _)| changes(&ask.what));
            assert!(changed.is_none(), "{} changes something: {changed:?}", call.path);
            return;
        }
        let mut sent = BTreeSet::new();
        for (at, (ask, _)) in self.asks.iter().enumerate() {
            if is_write(&ask.what) {
                assert!(sent.insert(format!("{:?}", ask.what)), "a write was sent twice: {ask:?}");
                let is_held = |lock: &AskId, told: &Option<(usize, Answer)>| {
                    matches!(told, Some((_, Answer::Locked)))
                        && !self.asks[..at]
                            .iter()
                            .any(|(ask, _)| matches!(&ask.what, What::TopoUnlock { lock: of } if of == lock))
                };
                let held = self.asks[..at]
                    .iter()
                    .any(|(ask, told)| matches!(&ask.what, What::TopoLock { .. }) && is_held(&ask.id, told));
                let wants_none = self
                    .reply
                    .as_ref()
                    .and_then(|reply| reply.written.as_ref())
                    .is_some_and(|written| written.plan.locks.is_empty());
                assert!(held || wants_none || call.options.force, "a write without a lock: {ask:?}");
            }
        }
        let Some(written) = self.reply.as_ref().and_then(|reply| reply.written.as_ref()) else {
            assert!(sent.is_empty() || self.reply.is_none(), "something was written, and the reply says nothing of it");
            return;
        };
        assert!(written.outcomes.len() <= written.plan.writes.len(), "{written:?}");
        assert!(sent.is_empty() || !written.outcomes.is_empty(), "something was written, and there is no outcome: {written:?}");
        if written.outcomes.iter().any(|outcome| outcome.verdict != Verdict::Applied) {
            assert!(
                self.reply.as_ref().is_some_and(|reply| reply.result.is_err()),
                "not all is applied, and the reply is no error"
            );
        }
        // Whatever a tablet said, what was never sent is not applied.
        let applied = written.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Applied).count();
        assert!(applied <= sent.len(), "{applied} changes are applied, {} were sent", sent.len());
    }

    /// Every tablet of which nothing could be had is told of.
    fn check_targets(&self, call: &Call, reply: &Reply) {
        if reply.result.is_err() || reply.written.is_some() || !reply.stream.is_empty() {
            return;
        }
        let mut answered: BTreeMap<(&str, &str), bool> = BTreeMap::new();
        for (ask, told) in &self.asks {
            if let (What::TabletCall { about, tablet, .. }, Some((_, answer))) = (&ask.what, told) {
                *answered.entry((&about.shard, &tablet.alias)).or_default() |= matches!(answer, Answer::Called(_));
            }
        }
        for ((shard, alias), has_answered) in answered {
            let is_told = reply.failures.iter().any(|failure| failure.shard == shard || failure.tablet == alias);
            let is_counted = reply.failures.len() > limits::FAILURES;
            assert!(has_answered || is_told || is_counted, "{}: nothing is said of {shard} {alias}", call.path);
        }
    }

    /// Nothing is said to run of which no tablet's row says so.
    fn check_states(&self, reply: &Reply) {
        let Ok(bytes) = &reply.result else { return };
        let workflows = GetWorkflowsResponse::decode(bytes.as_slice()).expect("a reply").workflows;
        let mut running: BTreeSet<(String, i64)> = BTreeSet::new();
        for (ask, told) in &self.asks {
            if let (What::TabletCall { tablet, .. }, Some((_, Answer::Called(bytes)))) = (&ask.what, told) {
                for id in running_ids(bytes) {
                    running.insert((tablet.alias.clone(), id));
                }
            }
        }
        for workflow in &workflows {
            for (key, shard) in &workflow.shard_streams {
                let alias = key.rsplit_once('/').map_or("", |(_, alias)| alias);
                for stream in shard.streams.iter().filter(|stream| stream.state == "Running") {
                    // Rows whose id cannot be read have id 0.
                    let is_read = running.iter().any(|(of, id)| of == alias && (*id == stream.id || stream.id == 0));
                    assert!(is_read, "stream {} of {key} in {} is said to be {}", stream.id, workflow.name, stream.state);
                }
            }
        }
    }

    /// A reply has no more than some times the bytes that came in.
    fn check_bytes(&self, call: &Call, reply: &Reply) {
        let size = |answer: &Answer| match answer {
            Answer::Found { value, .. } | Answer::Called(value) => value.len(),
            Answer::Range(records) => records.iter().map(|record| record.path.len() + record.value.len()).sum(),
            Answer::Missing { node } => node.len(),
            Answer::Failed { message, .. } => message.len().min(limits::FAILURE_BYTES),
            Answer::Stored { .. } | Answer::Deleted | Answer::Locked | Answer::Unlocked => 0,
        };
        let read: usize = self.asks.iter().filter_map(|(_, told)| told.as_ref()).map(|(_, answer)| size(answer)).sum();
        let replied = match &reply.result {
            Ok(bytes) => bytes.len() + reply.stream.iter().map(Vec::len).sum::<usize>(),
            Err(status) => status.message.len(),
        };
        let most = 64 * (read + call.request.len()) + limits::POSITIONS_BYTES.min(1_100 * read) + 64_000;
        assert!(replied <= most, "a reply of {replied} bytes from {read} bytes");
    }
}

/// The messages of a service, by method: to see that a reply is what its method answers.
static MESSAGES: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("our own descriptors"));

/// What must hold of every reply by itself.
///
/// # Panics
/// If it does not.
pub fn check_reply(call: &Call, reply: &Reply) {
    for failure in &reply.failures {
        assert!(!failure.message.is_empty(), "a failure without a text: {failure:?}");
        assert!(failure.message.len() <= limits::FAILURE_BYTES + 200, "a failure of {} bytes", failure.message.len());
        // A record that is no keyspace's is named in the text.
        let has_place = !failure.place().is_empty() || failure.lost == Lost::Record;
        assert!(has_place, "a failure without a place: {failure:?}");
    }
    assert!(reply.failures.len() <= limits::FAILURES + 1);
    match &reply.result {
        Err(status) => {
            assert!(!status.message.is_empty(), "{}: a status without a text", call.path);
            assert!(status.message.len() <= limits::STATUS_BYTES + 200, "a status of {} bytes", status.message.len());
        }
        Ok(bytes) => {
            let method = call.path.rsplit('/').next().unwrap_or_default();
            if let Some(message) = MESSAGES.get_message_by_name(&format!("vtctldata.{method}Response")) {
                let decoded = DynamicMessage::decode(message, bytes.as_slice());
                assert!(decoded.is_ok(), "{}: the reply is no {method}Response: {decoded:?}", call.path);
            }
        }
    }
    // What is written down is read back the same.
    let json = serde_json::to_string(reply).expect("a reply is data");
    assert_eq!(serde_json::from_str::<Reply>(&json).expect("what was written"), *reply);
}

/// The streams in a tablet's answer whose state is one that runs, read by nothing of the planner's.
fn running_ids(answer: &[u8]) -> Vec<i64> {
    if let Ok(VReplicationExecResponse { result: Some(result) }) = VReplicationExecResponse::decode(answer) {
        return running_rows(&result);
    }
    let Ok(typed) = ReadVReplicationWorkflowResponse::decode(answer) else { return Vec::new() };
    typed.streams.iter().map(|stream| i64::from(stream.id)).collect()
}

fn running_rows(result: &QueryResult) -> Vec<i64> {
    let column = |name: &[u8]| result.fields.iter().rposition(|field| field.name.eq_ignore_ascii_case(name));
    let (Some(id), Some(state)) = (column(b"id"), column(b"state")) else { return Vec::new() };
    let mut ids = Vec::new();
    for row in &result.rows {
        let mut at: usize = 0;
        let mut values = Vec::new();
        for length in &row.lengths {
            let length = usize::try_from(*length).unwrap_or(0);
            values.push(row.values.get(at..at.saturating_add(length)).unwrap_or_default());
            at = at.saturating_add(length);
        }
        let text = |at: usize| values.get(at).copied().unwrap_or_default();
        if matches!(text(state), b"Running" | b"Lagging") {
            ids.push(std::str::from_utf8(text(id)).ok().and_then(|id| id.trim().parse().ok()).unwrap_or(0));
        }
    }
    ids
}
