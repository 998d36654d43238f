//! `UpdateThrottlerConfig`, as far as it throttles an application: a migration, all of them, or anything else by its name.
//!
//! No tablet is called: the rule goes into the keyspace's record and into the `SrvKeyspace` record of every cell that serves it, and
//! tablets watch those. All records are read before the first is written, each is written over the very version that was read,
//! and every field but the one rule stays as it is, byte for byte. A record whose write failed is read again.
//!
//! Facts: `go/vt/vtctl/grpcvtctldserver/server.go:UpdateThrottlerConfig`,
//! `go/vt/topo/srv_keyspace.go:UpdateSrvKeyspaceThrottlerConfig`.

use std::collections::BTreeMap;

use prost::{DecodeError, Message as _};

use crate::{
    contract::{
        Answer, AskId, Call, CallOptions, Code, Failure, FailureKind, Lost, Mode, Outcome, PlannedRow, PlannedWrite, Reply,
        Status, Timestamp, Verdict, What, WritePlan, Written,
    },
    limits,
    operation::{Asks, Operation},
    proto::{
        topodata::ThrottledAppRule,
        vtctldata::{UpdateThrottlerConfigRequest, UpdateThrottlerConfigResponse},
    },
    rpc,
    topo::names::{self, CELLS_PREFIX, GLOBAL},
    wire::{Message, content, fields},
    words::{duration, plural},
    write::engine::ends_before_the_work,
};

/// The name under which all schema migrations are throttled. Source: `go/vt/vttablet/tabletserver/throttle/throttlerapp`.
const ALL_MIGRATIONS: &str = "online-ddl";

/// The number of `throttler_config` in a Keyspace record.
const IN_KEYSPACE: u32 = 9;
/// The number of `throttler_config` in a `SrvKeyspace` record.
const IN_SRV_KEYSPACE: u32 = 6;
/// The number of `throttled_apps` in a throttler's configuration.
const THROTTLED_APPS: u32 = 5;
/// The number of `throttled_app` in the request.
const THROTTLED_APP: u32 = 9;

/// Whether a request throttles an application, or is none: the rest of `UpdateThrottlerConfig` is a vtctld's.
pub(crate) fn throttles_an_app(request: &[u8]) -> bool {
    UpdateThrottlerConfigRequest::decode(request).map_or(true, |request| is_served(&request))
}

fn is_served(request: &UpdateThrottlerConfigRequest) -> bool {
    let has_app = request.throttled_app.as_ref().is_some_and(|rule| !rule.name.is_empty());
    let rest = UpdateThrottlerConfigRequest { keyspace: String::new(), throttled_app: None, ..request.clone() };
    has_app && rest == UpdateThrottlerConfigRequest::default()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Locking,
    Looking,
    Writing,
    LookingAgain,
    Unlocking,
}

enum Waiting {
    Lock,
    Unlock,
    Cells,
    Record { cell: String },
    Put(usize),
    Again(usize),
}

/// A record and what is to be made of it.
struct Edit {
    cell: String,
    path: String,
    version: i64,
    before: Vec<u8>,
    after: Vec<u8>,
    /// How the write ended: its verdict so far, what was said, and whether it may still be at work.
    done: Option<(Verdict, String, bool)>,
}

/// A request on its way.
pub(crate) struct Throttle {
    keyspace: String,
    rule: ThrottledAppRule,
    /// The rule's own bytes; `None`: the application is let go.
    raw: Option<Vec<u8>>,
    call: Call,
    now: Timestamp,
    phase: Phase,
    waiting: BTreeMap<AskId, Waiting>,
    lock: Option<AskId>,
    /// By place: the keyspace's own record first, then by cell.
    edits: Vec<Edit>,
    failures: Vec<Failure>,
    fatal: Option<Status>,
    plan: Option<WritePlan>,
    notes: Vec<String>,
}

impl Throttle {
    /// Begins the request.
    pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        let request: UpdateThrottlerConfigRequest = crate::operation::decode(call)?;
        let keyspace = request.keyspace.clone();
        names::check_object(&keyspace).map_err(|bad| Status::unknown(format!("keyspace {keyspace:?} cannot exist: {bad}")))?;
        if !is_served(&request) {
            let text =
                "vtflow changes throttled applications only (throttled_app with a name, and nothing else); nothing was changed";
            return Err(Status { code: Code::Unimplemented, message: text.into() });
        }
        if !call.options.shards.is_empty() {
            let text = "applications are throttled in a whole keyspace, not in some of its shards; nothing was changed";
            return Err(Status { code: Code::InvalidArgument, message: text.into() });
        }
        let rule = request.throttled_app.unwrap_or_default();
        let until = rule.expires_at.unwrap_or_default();
        let is_over = (until.seconds, until.nanoseconds) <= (now.seconds, now.nanos.cast_signed());
        let bad = |error| Status { code: Code::InvalidArgument, message: format!("the request cannot be read: {error}") };
        let raw = joined(&call.request, THROTTLED_APP).map_err(bad)?.filter(|_| !is_over);
        let mut throttle = Self {
            keyspace,
            rule,
            raw,
            call: call.clone(),
            now,
            phase: Phase::Locking,
            waiting: BTreeMap::new(),
            lock: None,
            edits: Vec::new(),
            failures: Vec::new(),
            fatal: None,
            plan: None,
            notes: Vec::new(),
        };
        if call.options.mode == Mode::Preview {
            throttle.look(asks);
        } else {
            let what = What::TopoLock { path: throttle.directory(), action: "UpdateThrottlerConfig".into(), is_named: false };
            throttle.waiting.insert(asks.release(what), Waiting::Lock);
        }
        Ok(throttle)
    }

    fn directory(&self) -> String {
        format!("keyspaces/{}", self.keyspace)
    }

    fn look(&mut self, asks: &mut Asks) {
        self.phase = Phase::Looking;
        self.read(GLOBAL, asks);
        let what = What::TopoList { cell: GLOBAL.into(), prefix: CELLS_PREFIX.into() };
        self.waiting.insert(asks.release(what), Waiting::Cells);
    }

    fn read(&mut self, cell: &str, asks: &mut Asks) {
        let what = What::TopoGet { cell: cell.into(), path: path(&self.keyspace, cell) };
        self.waiting.insert(asks.release(what), Waiting::Record { cell: cell.into() });
    }

    fn lost(&mut self, cell: &str, message: &str) {
        let (keyspace, empty) = (self.keyspace.clone(), String::new);
        let message = format!("{cell}: {message}");
        self.failures.push(Failure { keyspace, shard: empty(), tablet: empty(), workflow: empty(), lost: Lost::Record, message });
    }

    fn record(&mut self, cell: String, answer: Answer) {
        match answer {
            Answer::Found { value, version } => {
                let field = if cell == GLOBAL { IN_KEYSPACE } else { IN_SRV_KEYSPACE };
                match edited(&value, field, &self.rule.name, self.raw.as_deref()) {
                    Ok(after) => {
                        let path = path(&self.keyspace, &cell);
                        self.edits.push(Edit { cell, path, version, before: value, after, done: None });
                    }
                    Err(error) => self.lost(&cell, &format!("the record cannot be read: {error}")),
                }
            }
            // A cell that does not serve the keyspace.
            Answer::Missing { .. } if cell != GLOBAL => {}
            Answer::Missing { node } => self.fatal = Some(Status::unknown(format!("node doesn't exist: {node}"))),
            Answer::Failed { message, .. } => self.lost(&cell, &message),
            other => self.lost(&cell, &crate::topo::targets::unexpected("a record", &other)),
        }
    }

    /// Everything has been read: what is to be written.
    fn decide(&mut self) -> Result<(), Status> {
        if let Some(status) = self.fatal.take() {
            return Err(status);
        }
        self.failures.sort();
        if !self.failures.is_empty() {
            let mut status = crate::operation::status(&self.failures, false);
            status.message.push_str("\nnothing was changed");
            return Err(status);
        }
        self.edits.retain(|edit| edit.before != edit.after);
        self.edits.sort_by(|a, b| (a.cell != GLOBAL, &a.cell).cmp(&(b.cell != GLOBAL, &b.cell)));
        let plan = self.planned();
        if let Mode::Planned(digest) = &self.call.options.mode
            && *digest != plan.digest
        {
            self.plan = Some(plan);
            let text = "the plan is not the one any more: nothing was changed".to_owned();
            return Err(Status { code: Code::FailedPrecondition, message: text });
        }
        self.plan = Some(plan);
        Ok(())
    }

    fn planned(&self) -> WritePlan {
        let CallOptions { force, shards, .. } = self.call.options.clone();
        let (name, ratio) = (&self.rule.name, self.rule.ratio);
        let app = match name.as_str() {
            ALL_MIGRATIONS => "all schema migrations".to_owned(),
            name => format!("application {name}"),
        };
        let until = self.rule.expires_at.unwrap_or_default().seconds;
        let records = plural(self.edits.len(), "record");
        let (summary, statement) = if self.raw.is_some() {
            let exempt = if self.rule.exempt { ", exempt from all other rules" } else { "" };
            let left = duration(until.saturating_sub(self.now.seconds));
            (
                format!("This throttles {app} of {}: {ratio} of its requests, for {left}{exempt}, in {records}", self.keyspace),
                format!("throttled_apps[{name:?}] = ratio {ratio}, until {} UTC{exempt}", crate::formats::time::ansic(until)),
            )
        } else {
            (format!("This lets {app} of {} go on, in {records}", self.keyspace), format!("throttled_apps[{name:?}] is removed"))
        };
        let write = |edit: &Edit| PlannedWrite {
            keyspace: self.keyspace.clone(),
            shard: String::new(),
            tablet: edit.cell.clone(),
            address: edit.path.clone(),
            db_name: String::new(),
            rpc: String::new(),
            request: edit.after.clone(),
            statement: statement.clone(),
            rows: vec![PlannedRow {
                name: "record".into(),
                about: edit.path.clone(),
                basis: format!("version {}", edit.version),
            }],
        };
        WritePlan {
            planner: format!("{} {}", crate::VERSION, crate::DIGEST),
            rpc: rpc::UPDATE_THROTTLER_CONFIG.into(),
            request: self.call.request.clone(),
            force,
            shards,
            summary,
            locks: vec![self.directory()],
            writes: self.edits.iter().map(write).collect(),
            kept: Vec::new(),
            warnings: Vec::new(),
            digest: String::new(),
        }
        .sealed()
    }

    /// Writes records: the keyspace's own alone first, since the others are made from it.
    fn put(&mut self, asks: &mut Asks) {
        let is_global = |edit: &Edit| edit.cell == GLOBAL;
        let is_first = self.edits.iter().any(|edit| is_global(edit) && edit.done.is_none());
        let has_failed = self.edits.iter().any(|edit| matches!(edit.done, Some((verdict, ..)) if verdict != Verdict::Applied));
        for (place, edit) in self.edits.iter_mut().enumerate() {
            if edit.done.is_some() || is_first && !is_global(edit) {
                continue;
            }
            if has_failed {
                let text = "not sent: the record before it was not written".to_owned();
                edit.done = Some((Verdict::NotApplied, text, false));
                continue;
            }
            let (cell, path, value) = (edit.cell.clone(), edit.path.clone(), edit.after.clone());
            let id = asks.release(What::TopoPut { cell, path, value, version: edit.version });
            self.waiting.insert(id, Waiting::Put(place));
        }
    }

    fn stored(&mut self, place: usize, answer: Answer) {
        let Some(edit) = self.edits.get_mut(place) else { return };
        edit.done = Some(match answer {
            Answer::Stored { .. } => (Verdict::Applied, String::new(), false),
            Answer::Missing { node } => (Verdict::Unknown, format!("node doesn't exist: {node}"), false),
            Answer::Failed { kind: FailureKind::NotSent, message } => (Verdict::NotApplied, message, false),
            Answer::Failed { kind, message } => (Verdict::Unknown, message, ends_before_the_work(kind)),
            other => (Verdict::Unknown, crate::topo::targets::unexpected("a write", &other), true),
        });
    }

    fn looked_again(&mut self, place: usize, answer: Answer) {
        let Some(edit) = self.edits.get_mut(place) else { return };
        let Some((verdict, text, may_be_at_work)) = &mut edit.done else { return };
        let shown = match answer {
            Answer::Found { value, .. } if value == edit.after => {
                *verdict = Verdict::Applied;
                "a second look shows the change".to_owned()
            }
            Answer::Found { version, .. } if version == edit.version && *may_be_at_work => {
                "a second look shows the record as it was, but the write may still be at work".to_owned()
            }
            Answer::Found { version, .. } if version == edit.version => {
                *verdict = Verdict::NotApplied;
                "a second look shows the record as it was".to_owned()
            }
            // Another version and another value: somebody else's, and a write over the version that was read cannot come any more.
            // Whether it came before that one nobody can tell, unless its rule is still there.
            Answer::Found { .. } if !*may_be_at_work => {
                *verdict = Verdict::NotApplied;
                "somebody else has changed the record".to_owned()
            }
            Answer::Found { .. } => "somebody else has changed the record".to_owned(),
            Answer::Missing { .. } => "the record is gone".to_owned(),
            Answer::Failed { kind: FailureKind::Status(_) | FailureKind::Unreachable, message } => {
                format!("looking again: {message}")
            }
            other => crate::topo::targets::unexpected("looking again", &other),
        };
        *text = if text.is_empty() { shown } else { format!("{text} ({shown})") };
    }

    fn advance(&mut self, asks: &mut Asks) {
        if !self.waiting.is_empty() {
            return;
        }
        match self.phase {
            Phase::Locking | Phase::Unlocking => {}
            Phase::Looking => match self.decide() {
                Ok(()) if self.edits.is_empty() || self.call.options.mode == Mode::Preview => self.end(asks),
                Ok(()) => {
                    self.phase = Phase::Writing;
                    self.put(asks);
                }
                Err(status) => {
                    self.fatal = Some(status);
                    self.end(asks);
                }
            },
            Phase::Writing => {
                self.put(asks);
                if self.waiting.is_empty() {
                    self.look_again(asks);
                }
            }
            Phase::LookingAgain => self.end(asks),
        }
    }

    fn look_again(&mut self, asks: &mut Asks) {
        self.phase = Phase::LookingAgain;
        for (place, edit) in self.edits.iter().enumerate() {
            if matches!(edit.done, Some((Verdict::Unknown, ..))) {
                let id = asks.release(What::TopoGet { cell: edit.cell.clone(), path: edit.path.clone() });
                self.waiting.insert(id, Waiting::Again(place));
            }
        }
        self.advance(asks);
    }

    fn end(&mut self, asks: &mut Asks) {
        self.phase = Phase::Unlocking;
        if let Some(lock) = self.lock.take() {
            self.waiting.insert(asks.release(What::TopoUnlock { lock }), Waiting::Unlock);
        }
    }

    fn locked(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        let text = match answer {
            Answer::Locked => {
                self.lock = Some(id);
                self.look(asks);
                return;
            }
            Answer::Missing { node } => format!("node doesn't exist: {node}"),
            Answer::Failed { message, .. } => message,
            other => crate::topo::targets::unexpected("a lock", &other),
        };
        self.phase = Phase::Unlocking;
        self.fatal = Some(Status::unknown(text));
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |edit: &Edit| {
            let (verdict, message, _) = edit.done.clone()?;
            Some(Outcome {
                keyspace: self.keyspace.clone(),
                shard: String::new(),
                tablet: edit.cell.clone(),
                verdict,
                rows: u64::from(verdict == Verdict::Applied),
                message,
            })
        };
        self.edits.iter().filter_map(outcome).collect()
    }
}

impl Operation for Throttle {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        match self.waiting.remove(&id) {
            Some(Waiting::Lock) => self.locked(id, answer, asks),
            Some(Waiting::Unlock) => {
                if let Answer::Failed { message, .. } = answer {
                    self.notes.push(format!("the lock was lost on the way: {message}"));
                }
            }
            Some(Waiting::Cells) => match answer {
                Answer::Range(records) => {
                    let cells: Vec<&str> = records
                        .iter()
                        .filter_map(|record| record.path.strip_prefix(CELLS_PREFIX)?.strip_suffix("/CellInfo"))
                        .collect();
                    if cells.len() > limits::CELLS {
                        // A change of some of them would be half of one.
                        let text =
                            format!("the topology has {} cells, more than the {} that are read", cells.len(), limits::CELLS);
                        self.lost(GLOBAL, &text);
                    }
                    for cell in cells.into_iter().take(limits::CELLS) {
                        match names::check_cell(cell) {
                            Ok(()) => self.read(cell, asks),
                            Err(bad) => self.lost(GLOBAL, &format!("cell {cell:?} cannot exist: {bad}")),
                        }
                    }
                }
                Answer::Missing { .. } => {}
                Answer::Failed { message, .. } => self.lost(GLOBAL, &message),
                other => self.lost(GLOBAL, &crate::topo::targets::unexpected("a list", &other)),
            },
            Some(Waiting::Record { cell }) => self.record(cell, answer),
            Some(Waiting::Put(place)) => self.stored(place, answer),
            Some(Waiting::Again(place)) => self.looked_again(place, answer),
            None => {}
        }
        self.advance(asks);
    }

    fn failures(&self) -> Vec<Failure> {
        self.failures.clone()
    }

    fn finish(&mut self) -> Reply {
        let outcomes = self.outcomes();
        let result = match self.fatal.take() {
            Some(status) => Err(status),
            None if self.call.options.mode == Mode::Preview => Ok(Vec::new()),
            None if outcomes.iter().all(|outcome| outcome.verdict == Verdict::Applied) => {
                Ok(UpdateThrottlerConfigResponse {}.encode_to_vec())
            }
            None => Err(Status::unknown(outcomes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))),
        };
        let notes = std::mem::take(&mut self.notes);
        let written = self.plan.take().map(|plan| Box::new(Written { plan, outcomes, notes }));
        Reply { written, ..Reply::new(result, Vec::new()) }
    }
}

fn path(keyspace: &str, cell: &str) -> String {
    if cell == GLOBAL { format!("keyspaces/{keyspace}/Keyspace") } else { format!("keyspaces/{keyspace}/SrvKeyspace") }
}

/// The content of a message field; several of one number are one message, joined. `None` if there is none.
fn joined(message: &[u8], number: u32) -> Result<Option<Vec<u8>>, DecodeError> {
    let mut all: Option<Vec<u8>> = None;
    for field in fields(message)?.into_iter().filter(|(of, _)| *of == number) {
        all.get_or_insert_default().extend_from_slice(content(field).unwrap_or_default());
    }
    Ok(all)
}

/// A record with its throttler's rule for one application replaced, or removed. Every other byte is as before.
fn edited(record: &[u8], number: u32, app: &str, rule: Option<&[u8]>) -> Result<Vec<u8>, DecodeError> {
    let config = joined(record, number)?;
    let mut kept = Vec::new();
    let mut has_rule = false;
    for field in fields(config.as_deref().unwrap_or_default())? {
        let is_rule =
            field.0 == THROTTLED_APPS && joined(content(field).unwrap_or_default(), 1)?.unwrap_or_default() == app.as_bytes();
        has_rule |= is_rule;
        if !is_rule {
            kept.extend_from_slice(field.1);
        }
    }
    if rule.is_none() && !has_rule {
        return Ok(record.to_vec());
    }
    if let Some(rule) = rule {
        kept.extend(Message::new().entry(THROTTLED_APPS, app, rule).into_bytes());
    }
    let config = Message::new().message(number, &kept).into_bytes();
    let (mut after, mut is_placed) = (Vec::new(), false);
    for (of, field) in fields(record)? {
        if of >= number && !is_placed {
            after.extend_from_slice(&config);
            is_placed = true;
        }
        if of != number {
            after.extend_from_slice(field);
        }
    }
    if !is_placed {
        after.extend_from_slice(&config);
    }
    Ok(after)
}
