//! `Vtctl.ExecuteVtctlCommand`: the command lines of `vtctlclient` and `vtctldclient LegacyVtctlCommand` that read workflows and
//! schema migrations.
//!
//! A command's output is a stream of log events: what the client prints, what it logs, and the status at the end. What is read
//! is read by the operations behind the modern RPCs; here is only another way to ask and to say it. What does not answer is
//! named in a warning, and the rest is printed.
//!
//! Facts: `go/vt/vtctl/vtctl.go`, `go/vt/wrangler/vexec.go`; recorded calls in `tests/tests/it/legacy.rs`; `docs/compat.md` lists what
//! differs.

mod command;
mod flags;
mod show;
mod table;

use prost::Message;
use serde_json::{Value, json};

use self::command::Command;
use crate::{
    contract::{Answer, AskId, Call, CallOptions, Failure, Reply, Status, Timestamp},
    operation::{Asks, Operation},
    ops::{
        get_workflows::GetWorkflows,
        schema_migrations::{SchemaMigrations, ShardRows},
    },
    proto::{
        logutil::{Event, Level},
        vtctldata::{ExecuteVtctlCommandRequest, ExecuteVtctlCommandResponse, GetWorkflowsRequest},
        vttime::Time,
    },
    sidecar::result::{Row, RowSet},
    topo::targets,
};

/// Whether the request's command is answered here, a vtctld or not.
pub(crate) fn serves(request: &[u8]) -> bool {
    match ExecuteVtctlCommandRequest::decode(request) {
        Ok(request) => !matches!(command::read(&request.args), Command::Forward(..)),
        Err(_) => true,
    }
}

/// Begins a command.
pub(crate) fn start(call: &Call, now: Timestamp, asks: &mut Asks) -> Result<Box<dyn Operation>, Status> {
    let request: ExecuteVtctlCommandRequest = crate::operation::decode(call)?;
    let options = call.options.clone();
    match command::read(&request.args) {
        Command::List { keyspace, shards } => {
            let request = GetWorkflowsRequest { keyspace, shards, name_only: true, ..GetWorkflowsRequest::default() };
            Ok(Box::new(Workflows::start(request, &options, now, asks)?))
        }
        Command::Show { keyspace, workflow, shards } => {
            let request = GetWorkflowsRequest { keyspace, workflow, shards, ..GetWorkflowsRequest::default() };
            Ok(Box::new(Workflows::start(request, &options, now, asks)?))
        }
        Command::Migrations { request, json } => {
            Ok(Box::new(Migrations { inner: SchemaMigrations::begin_rows(request, &options, asks)?, json, now }))
        }
        Command::Print(text, result) | Command::Forward(text, result) => {
            let mut said = Output::new(now);
            said.print(text);
            Ok(Box::new(PrintOnly(Some(said.reply(result, Vec::new())))))
        }
    }
}

/// The events of a command so far.
struct Output {
    now: Timestamp,
    events: Vec<Vec<u8>>,
}

impl Output {
    fn new(now: Timestamp) -> Self {
        Self { now, events: Vec::new() }
    }

    fn event(&mut self, level: Level, value: String) {
        let time = Time { seconds: self.now.seconds, nanoseconds: i32::try_from(self.now.nanos).unwrap_or(0) };
        let event = Event { time: Some(time), level: level.into(), file: "vtflow".into(), line: 0, value };
        self.events.push(ExecuteVtctlCommandResponse { event: Some(event) }.encode_to_vec());
    }

    /// What the client prints, as it is.
    fn print(&mut self, text: String) {
        if !text.is_empty() {
            self.event(Level::Console, text);
        }
    }

    /// The end. What was lost goes into the client's log.
    fn reply(mut self, result: Result<(), Status>, failures: Vec<Failure>) -> Reply {
        for failure in &failures {
            let place = failure.place();
            let gap = if place.is_empty() { "" } else { ": " };
            self.event(Level::Warning, format!("{place}{gap}{}", failure.message));
        }
        if result.is_ok() && self.events.is_empty() {
            // Nothing to print, which is what an empty text prints.
            self.event(Level::Console, String::new());
        }
        let result = result.map(|()| self.events.pop().unwrap_or_default());
        Reply { stream: self.events, ..Reply::new(result, failures) }
    }
}

/// A command without asks.
struct PrintOnly(Option<Reply>);

impl Operation for PrintOnly {
    fn answered(&mut self, _id: AskId, _answer: Answer, _asks: &mut Asks) {}

    fn finish(&mut self) -> Reply {
        self.0.take().unwrap_or_else(|| Output::new(Timestamp::default()).reply(Ok(()), Vec::new()))
    }
}

/// `Workflow … listall` and `Workflow … show`.
struct Workflows {
    inner: GetWorkflows,
    keyspace: String,
    /// Empty: all are listed.
    workflow: String,
    now: Timestamp,
}

impl Workflows {
    fn start(request: GetWorkflowsRequest, options: &CallOptions, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        let (keyspace, workflow) = (request.keyspace.clone(), request.workflow.clone());
        Ok(Self { inner: GetWorkflows::begin(request, options, now, asks)?, keyspace, workflow, now })
    }
}

impl Operation for Workflows {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        self.inner.answered(id, answer, asks);
    }

    fn failures(&self) -> Vec<Failure> {
        self.inner.failures()
    }

    fn finish(&mut self) -> Reply {
        let heartbeats = self.inner.heartbeats();
        let (result, failures) = self.inner.end();
        let mut output = Output::new(self.now);
        let workflows = match result {
            Ok(workflows) => workflows,
            Err(status) => {
                if matches!(self.inner.nobody(), Some(targets::Event::NoKeyspace { .. })) {
                    output.event(Level::Error, format!("Keyspace {} not found", self.keyspace));
                }
                // The status says what the failures say.
                let Reply { stream, result, .. } = output.reply(Err(status), Vec::new());
                return Reply { stream, ..Reply::new(result, failures) };
            }
        };
        let Self { keyspace, workflow: wanted, .. } = self;
        if wanted.is_empty() {
            let names: Vec<&str> = workflows.iter().map(|workflow| workflow.name.as_str()).collect();
            output.print(match names.join(", ") {
                none if none.is_empty() => format!("No workflows found in keyspace {keyspace}\n"),
                names => format!("Following workflow(s) found in keyspace {keyspace}: {names}\n"),
            });
            return output.reply(Ok(()), failures);
        }
        let result = if let Some(workflow) = workflows.iter().find(|workflow| workflow.name == *wanted) {
            output.print(show::text(workflow, &heartbeats, self.now));
            Ok(())
        } else {
            Err(Status::unknown(format!("no streams found for workflow {wanted} in keyspace {keyspace}")))
        };
        output.reply(result, failures)
    }
}

/// `OnlineDDL … show`.
struct Migrations {
    inner: SchemaMigrations,
    json: bool,
    now: Timestamp,
}

impl Operation for Migrations {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        self.inner.answered(id, answer, asks);
    }

    fn failures(&self) -> Vec<Failure> {
        self.inner.failures()
    }

    fn finish(&mut self) -> Reply {
        let (rows, failures) = self.inner.finish_rows();
        let mut output = Output::new(self.now);
        match rows {
            Ok(shards) => {
                let columns = columns(&shards);
                if self.json {
                    output.print(show::escaped(&format!("{:#}", as_json(&columns, &shards))) + "\n");
                } else {
                    let names = columns.iter().map(|(name, _)| name);
                    let header: Vec<String> =
                        std::iter::once("Tablet").chain(names.map(String::as_str)).map(str::to_owned).collect();
                    let cells = |(tablet, row): (&str, Row<'_>)| {
                        std::iter::once(tablet.to_owned()).chain(columns.iter().map(|(name, _)| row.text(name))).collect()
                    };
                    let cells: Vec<Vec<String>> = rows_of(&shards).map(cells).collect();
                    for line in table::lines(&header, &cells) {
                        output.print(line);
                    }
                }
                output.reply(Ok(()), failures)
            }
            // The status says what the failures say.
            Err(status) => Reply::new(Err(status), failures),
        }
    }
}

fn rows_of(shards: &[ShardRows]) -> impl Iterator<Item = (&str, Row<'_>)> {
    shards.iter().flat_map(|shard| shard.pages.iter().flat_map(RowSet::rows).map(|row| (shard.tablet.as_str(), row)))
}

/// Name and type of each column of any tablet: those of the first one, then what others have besides.
fn columns(shards: &[ShardRows]) -> Vec<(String, i32)> {
    let mut columns: Vec<(String, i32)> = Vec::new();
    for field in shards.iter().flat_map(|shard| &shard.pages).flat_map(RowSet::fields) {
        let name = String::from_utf8_lossy(&field.name).into_owned();
        if !columns.iter().any(|(known, _)| *known == name) {
            columns.push((name, field.r#type));
        }
    }
    columns
}

/// Source: `go/sqltypes/result.go:Result`, `value.go:MarshalJSON`.
fn as_json(columns: &[(String, i32)], shards: &[ShardRows]) -> Value {
    /// Flag of the types whose values are quoted. Source: `proto/query.proto:Flag`.
    const QUOTED: i32 = 2048;
    const VARBINARY: i32 = 10_262;
    let mut fields = vec![json!({"name": "Tablet", "type": VARBINARY})];
    fields.extend(columns.iter().map(|(name, kind)| json!({"name": name, "type": kind})));
    let value = |row: &Row<'_>, name: &str, kind: i32| match row.value(name).flatten() {
        None => Value::Null,
        Some(_) if kind & QUOTED != 0 => row.text(name).into(),
        Some(_) => serde_json::from_str(&row.text(name)).unwrap_or_else(|_| row.text(name).into()),
    };
    let rows: Vec<Value> = rows_of(shards)
        .map(|(tablet, row)| {
            let values = columns.iter().map(|(name, kind)| value(&row, name, *kind));
            std::iter::once(Value::from(tablet)).chain(values).collect()
        })
        .collect();
    json!({"fields": fields, "rows": rows})
}
