//! `VExec`: one statement of a person's on the sidecar tables of every target, each in its own database and scope.
//!
//! Three rounds: the shards; the primaries' tablet records; the statement. What the statement may be is [`crate::vexec`]'s. A dry run
//! ends after the second round with the statements. Reads only: a write is refused unless it is a dry run.
//!
//! Facts: `go/vt/vtctl/workflow/vexec/vexec.go`. `VReplicationExec` takes all tables but `_vt.schema_migrations`, which goes through
//! `ExecuteFetchAsDba` (`controller_plan.go`).

use std::collections::BTreeMap;

use prost::Message;

use super::Operation;
use crate::{
    error::{Code, Failure, Lost, Status},
    flow::{Answer, AskId, Asks, Call, Effect, FailureKind, Reply, What},
    limits,
    proto::{
        query::QueryResult,
        tabletmanagerdata::{
            ExecuteFetchAsDbaRequest, ExecuteFetchAsDbaResponse, VReplicationExecRequest, VReplicationExecResponse,
        },
        vtflow::{VExecRequest, VExecResponse, v_exec_response as planned},
    },
    rows::result::RowSet,
    rpc,
    topo::targets::{Event, Place, Target, Targets, Unreached},
    vexec::{self, Scope, Scoped, Statement, Table},
};

pub(crate) struct VExec {
    keyspace: String,
    workflow: String,
    strict: bool,
    is_dry_run: bool,
    statement: Statement,
    targets: Targets,
    /// The statements under way.
    waiting: BTreeMap<AskId, (Place, planned::Target)>,
    /// By shard.
    found: BTreeMap<String, planned::Target>,
    failures: Vec<Failure>,
    fatal: Option<Status>,
}

impl VExec {
    pub(crate) fn start(call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        let request: VExecRequest = super::decode(call)?;
        let invalid = |message: &str| Status { code: Code::InvalidArgument, message: message.into() };
        if request.keyspace.is_empty() {
            return Err(invalid("keyspace is required"));
        }
        let scope = Scope { workflow: request.workflow.clone() };
        let statement = Statement::parse(&request.sql, scope).map_err(|refusal| vexec::status(&refusal, &request.sql))?;
        if statement.kind().is_write() && !request.dry_run {
            // Those that change rows are `crate::write`'s.
            return Err(invalid("this statement changes rows"));
        }
        Ok(Self {
            targets: Targets::start(&request.keyspace, &request.shards, asks)?,
            keyspace: request.keyspace,
            workflow: request.workflow,
            strict: call.options.strict,
            is_dry_run: request.dry_run,
            statement,
            waiting: BTreeMap::new(),
            found: BTreeMap::new(),
            failures: Vec::new(),
            fatal: None,
        })
    }

    fn event(&mut self, event: Event, asks: &mut Asks) {
        match event {
            Event::Target(target) => self.target(target, asks),
            Event::Unreached(Unreached { place, lost, message }) => self.fail(&place, lost, message),
            Event::Fatal(_) | Event::NoShards(_) | Event::NoKeyspace { .. } => self.fatal = event.status(),
        }
    }

    fn target(&mut self, target: Target, asks: &mut Asks) {
        let Scoped { text, added } = self.statement.scoped(&target.db_name);
        let byte = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let planned = planned::Target {
            tablet: target.address.alias.clone(),
            shard: target.place.shard.clone(),
            db_name: target.db_name.clone(),
            statement: text,
            added: added.iter().map(|range| planned::Span { start: byte(range.start), end: byte(range.end) }).collect(),
            result: None,
        };
        if self.is_dry_run {
            self.found.insert(target.place.shard, planned);
            return;
        }
        let id = asks.release(tablet_call(&target, self.statement.table(), planned.statement.clone()));
        self.waiting.insert(id, (target.place, planned));
    }

    fn answer(&mut self, place: &Place, mut planned: planned::Target, answer: Answer) {
        let result = match answer {
            Answer::Called(response) => {
                self.result(&response).map_err(|error| format!("the tablet's answer cannot be read: {error}"))
            }
            Answer::Failed { kind: FailureKind::TooLarge, message } => {
                Err(format!("{message}: select fewer columns, or fewer rows (limit)"))
            }
            Answer::Failed { message, .. } => Err(message),
            _ => Err("the tablet call was answered with a topology record".into()),
        };
        match result {
            Ok(result) => {
                planned.result = Some(result);
                self.found.insert(place.shard.clone(), planned);
            }
            Err(message) => self.fail(place, Lost::Shard, message),
        }
    }

    fn result(&self, response: &[u8]) -> Result<QueryResult, String> {
        let result = if self.statement.table() == Table::SchemaMigrations {
            ExecuteFetchAsDbaResponse::decode(response).map(|response| response.result)
        } else {
            VReplicationExecResponse::decode(response).map(|response| response.result)
        };
        let result = result.map_err(|error| error.to_string())?.ok_or("it has no result, not even that there are no rows")?;
        // Rows that contradict their columns are the tablet's failure, not the reader's.
        RowSet::new(result.clone()).map_err(|error| error.to_string())?;
        Ok(result)
    }

    fn fail(&mut self, place: &Place, lost: Lost, message: String) {
        let failure = place.failure(&self.keyspace, lost, message);
        self.failures.push(Failure { workflow: self.workflow.clone(), ..failure });
    }
}

impl Operation for VExec {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        if let Some((place, planned)) = self.waiting.remove(&id) {
            return self.answer(&place, planned, answer);
        }
        for event in self.targets.answered(id, answer, asks) {
            self.event(event, asks);
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
        let targets: Vec<_> = std::mem::take(&mut self.found).into_values().collect();
        let is_empty = targets.is_empty();
        let bytes = VExecResponse { targets }.encode_to_vec();
        super::conclude(bytes, is_empty, self.strict, std::mem::take(&mut self.failures))
    }
}

fn tablet_call(target: &Target, table: Table, statement: String) -> What {
    let (path, request) = if table == Table::SchemaMigrations {
        let request = ExecuteFetchAsDbaRequest {
            query: statement.clone().into_bytes(),
            db_name: target.db_name.clone(),
            max_rows: limits::TABLET_ROWS as u64,
            ..ExecuteFetchAsDbaRequest::default()
        };
        (rpc::EXECUTE_FETCH_AS_DBA, request.encode_to_vec())
    } else {
        (rpc::VREPLICATION_EXEC, VReplicationExecRequest { query: statement.clone() }.encode_to_vec())
    };
    target.call(path, request, Effect::Read, "vexec", statement)
}
