//! `VExec`: one statement of a person's on the sidecar tables of every target, each in its own database and scope.
//!
//! Three rounds: the shards; the primaries' tablet records; the statement. What the statement may be is [`crate::vexec`]'s. A dry run
//! ends after the second round with the statements. Reads only: a write is refused unless it is a dry run.
//! A tablet that turns out not to be its shard's primary any more costs two rounds more, once.
//!
//! Facts: `go/vt/vtctl/workflow/vexec/vexec.go`. `VReplicationExec` takes all tables but `_vt.schema_migrations`, which goes through
//! `ExecuteFetchAsDba` (`controller_plan.go`).

use std::collections::BTreeMap;

use prost::Message;

use crate::{
    contract::{Answer, AskId, Call, Code, Failure, FailureKind, Lost, Reply, Status},
    operation::{Asks, Operation, conclude, decode},
    proto::{
        query::QueryResult,
        vtflow::{VExecRequest, VExecResponse, v_exec_response as planned},
    },
    sidecar::{
        query::Query,
        result::RowSet,
        survey::{Found, Look, Looked, Survey},
    },
    topo::targets::{Place, Unreached},
    vexec::{self, Scope, Scoped, Statement, Table},
};

pub(crate) struct VExec {
    keyspace: String,
    workflow: String,
    strict: bool,
    is_dry_run: bool,
    statement: Statement,
    survey: Survey,
    /// The statements under way: what a target is told, by its index.
    planned: BTreeMap<usize, (Query, planned::Target)>,
    /// By shard.
    found: BTreeMap<String, planned::Target>,
    failures: Vec<Failure>,
    fatal: Option<Status>,
}

impl VExec {
    pub(crate) fn start(call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        let request: VExecRequest = decode(call)?;
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
            survey: Survey::start(&request.keyspace, &request.shards, asks)?,
            keyspace: request.keyspace,
            workflow: request.workflow,
            strict: call.options.strict,
            is_dry_run: request.dry_run,
            statement,
            planned: BTreeMap::new(),
            found: BTreeMap::new(),
            failures: Vec::new(),
            fatal: None,
        })
    }

    fn target(&mut self, index: usize, asks: &mut Asks) {
        let Some(target) = self.survey.target(index) else { return };
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
            self.found.insert(target.place.shard.clone(), planned);
            return;
        }
        // Tablets refuse this one table to `VReplicationExec`.
        let query = if self.statement.table() == Table::SchemaMigrations {
            Query::dba("vexec", planned.statement.clone(), &target.db_name)
        } else {
            Query::vreplication("vexec", planned.statement.clone())
        };
        self.survey.look(index, 0, vec![Look::One(query.clone())], asks);
        self.planned.insert(index, (query, planned));
    }

    fn seen(&mut self, index: usize) {
        let looked = self.survey.take(index).remove(&0);
        let place = self.survey.target(index).map(|target| target.place.clone());
        let (Some(looked), Some(place), Some((query, mut planned))) = (looked, place, self.planned.remove(&index)) else {
            return;
        };
        let result = match looked {
            Looked::Called(response) => {
                result(&query, &response).map_err(|error| format!("the tablet's answer cannot be read: {error}"))
            }
            Looked::Refused(FailureKind::TooLarge, message) => {
                Err(format!("{message}: select fewer columns, or fewer rows (limit)"))
            }
            other => Err(other.response().err().unwrap_or_default()),
        };
        match result {
            Ok(result) => {
                planned.result = Some(result);
                self.found.insert(place.shard, planned);
            }
            Err(message) => self.fail(&place, Lost::Shard, message),
        }
    }

    fn fail(&mut self, place: &Place, lost: Lost, message: String) {
        let failure = place.failure(&self.keyspace, lost, message);
        self.failures.push(Failure { workflow: self.workflow.clone(), ..failure });
    }
}

impl Operation for VExec {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        for found in self.survey.answered(id, answer, asks) {
            match found {
                Found::Target(index) => self.target(index, asks),
                Found::Seen(index) => self.seen(index),
                Found::Unreached(Unreached { place, lost, message }) => self.fail(&place, lost, message),
                Found::Nobody(why) => self.fatal = why.status(),
            }
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
        conclude(bytes, is_empty, self.strict, std::mem::take(&mut self.failures))
    }
}

/// The result in a response, which a reader can rely on.
fn result(query: &Query, response: &[u8]) -> Result<QueryResult, String> {
    let result = query.result(response).map_err(|error| error.to_string())?;
    let result = result.ok_or("it has no result, not even that there are no rows")?;
    // Rows that contradict their columns are the tablet's failure, not the reader's.
    RowSet::new(result.clone()).map_err(|error| error.to_string())?;
    Ok(result)
}
