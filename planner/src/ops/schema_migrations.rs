//! `GetSchemaMigrations`: the schema migrations of a keyspace, as each of its shards knows them.
//!
//! Three rounds: the shards; the primaries' tablet records; one statement for each primary, more only when a page is full. Rows
//! are read by column name, tablet by tablet, so that mixed releases are right. What a shard does not say is named; the rest is
//! returned. Limit and skip are each shard's, as in vtctld.
//!
//! Facts: `go/vt/vtctl/grpcvtctldserver/server.go:GetSchemaMigrations`; `docs/compat.md` lists what differs.

use std::collections::BTreeMap;

use prost::Message;

use super::Operation;
use crate::{
    error::{Code, Failure, Lost, Status},
    flow::{Answer, AskId, Asks, Call, Effect, FailureKind, Reply},
    limits,
    proto::{
        tabletmanagerdata::ExecuteFetchAsDbaRequest,
        vtctldata::{GetSchemaMigrationsRequest, GetSchemaMigrationsResponse, SchemaMigration},
    },
    query::migrations::Selection,
    rows::{migration, result::RowSet},
    rpc,
    topo::targets::{Event, Place, Target, Targets, Unreached},
};

pub(crate) struct SchemaMigrations {
    keyspace: String,
    strict: bool,
    /// Bytes that the reply may have.
    limit: Option<usize>,
    selection: Selection,
    targets: Targets,
    shards: Vec<Shard>,
    /// The statements under way: which shard's, by index.
    reads: BTreeMap<AskId, usize>,
    failures: Vec<Failure>,
    fatal: Option<Status>,
    /// Rows are kept as they are; [`SchemaMigrations::finish_rows`] has them.
    keeps_rows: bool,
}

/// A shard and what its primary has said so far.
struct Shard {
    target: Target,
    page_rows: usize,
    sent: usize,
    read: usize,
    last_id: Option<i64>,
    /// Of all answers.
    bytes: usize,
    /// Migrations with a column that cannot be read.
    faults: usize,
    migrations: Vec<SchemaMigration>,
    /// The rows as they came, where they are wanted so.
    pages: Vec<RowSet>,
}

/// The rows of one shard, as its tablet sent them.
pub(super) struct ShardRows {
    /// The tablet's alias, as text.
    pub(super) tablet: String,
    pub(super) pages: Vec<RowSet>,
}

impl SchemaMigrations {
    pub(crate) fn start(call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        let request: GetSchemaMigrationsRequest = super::decode(call)?;
        if request.keyspace.is_empty() {
            return Err(Status { code: Code::InvalidArgument, message: "keyspace is required".into() });
        }
        let selection = Selection::new(&request)?;
        let targets = Targets::start(&request.keyspace, &[], asks)?;
        Ok(Self {
            keyspace: request.keyspace,
            strict: call.options.strict,
            limit: call.options.reply_limit(),
            selection,
            targets,
            shards: Vec::new(),
            reads: BTreeMap::new(),
            failures: Vec::new(),
            fatal: None,
            keeps_rows: false,
        })
    }

    /// As [`SchemaMigrations::start`], but the rows are not read, only fetched.
    pub(super) fn start_rows(call: &Call, asks: &mut Asks) -> Result<Self, Status> {
        Ok(Self { keeps_rows: true, ..Self::start(call, asks)? })
    }

    /// The rows in the order of shards, and what is missing of them. Called once, instead of [`Operation::finish`].
    pub(super) fn finish_rows(&mut self) -> (Result<Vec<ShardRows>, Status>, Vec<Failure>) {
        if let Some(status) = self.fatal.take() {
            return (Err(status), Vec::new());
        }
        let shards = self.sorted();
        let has_rows = shards.iter().any(|shard| shard.read > 0);
        let rows = shards.into_iter().map(|shard| ShardRows { tablet: shard.target.place.alias_text(), pages: shard.pages });
        let rows: Vec<ShardRows> = rows.collect();
        let is_empty = !has_rows && self.is_partial(rows.is_empty());
        let reply = super::conclude(Vec::new(), is_empty, self.strict, std::mem::take(&mut self.failures));
        (reply.result.map(|_| rows), reply.failures)
    }

    fn sorted(&mut self) -> Vec<Shard> {
        let mut shards = std::mem::take(&mut self.shards);
        shards.sort_by(|a, b| a.target.place.shard.cmp(&b.target.place.shard));
        shards
    }

    /// Nothing runs on a shard without primary; but if no other one was asked, nothing is known at all.
    fn is_partial(&self, asked_nobody: bool) -> bool {
        asked_nobody || self.failures.iter().any(|failure| failure.lost != Lost::NoPrimary)
    }

    fn event(&mut self, event: Event, asks: &mut Asks) {
        match event {
            Event::Target(target) => {
                let page_rows = limits::MIGRATION_PAGE_ROWS;
                self.shards.push(Shard {
                    target,
                    page_rows,
                    sent: 0,
                    read: 0,
                    last_id: None,
                    bytes: 0,
                    faults: 0,
                    migrations: Vec::new(),
                    pages: Vec::new(),
                });
                self.send(self.shards.len() - 1, asks);
            }
            Event::Unreached(Unreached { place, lost, message }) => self.fail(&place, lost, message),
            Event::Fatal(status) => self.fatal = Some(status),
            // As in vtctld: where there is nobody to ask there are no migrations.
            Event::NoShards(_) | Event::NoKeyspace { .. } => {}
        }
    }

    fn send(&mut self, index: usize, asks: &mut Asks) {
        let Some(shard) = self.shards.get_mut(index) else { return };
        let rows = self.selection.rows(shard.read, shard.page_rows);
        if rows == 0 {
            return;
        }
        shard.sent += 1;
        let statement = self.selection.statement(shard.last_id, rows);
        let request = ExecuteFetchAsDbaRequest {
            query: statement.clone().into_bytes(),
            db_name: shard.target.db_name.clone(),
            max_rows: limits::TABLET_ROWS as u64,
            ..ExecuteFetchAsDbaRequest::default()
        };
        let id = asks.release(shard.target.call(
            rpc::EXECUTE_FETCH_AS_DBA,
            request.encode_to_vec(),
            Effect::Read,
            "migrations",
            statement,
        ));
        self.reads.insert(id, index);
    }

    fn rows(&mut self, index: usize, answer: Answer, asks: &mut Asks) {
        let Some(shard) = self.shards.get_mut(index) else { return };
        let place = shard.target.place.clone();
        let may_ask = shard.sent < limits::STATEMENTS_PER_READ;
        let allowed = (limits::MIGRATIONS_BYTES / self.targets.count().max(1)).min(limits::READ_BYTES);
        let page = match answer {
            Answer::Called(response) if shard.bytes.saturating_add(response.len()) > allowed => {
                Err(format!("the migrations have more than {allowed} bytes: ask for one of them, or for those of a time"))
            }
            Answer::Called(response) => {
                shard.bytes += response.len();
                RowSet::from_execute_fetch(&response).map_err(|error| format!("the tablet's answer cannot be read: {error}"))
            }
            Answer::Failed { kind: FailureKind::TooLarge, .. } if shard.page_rows > 1 && may_ask => {
                shard.page_rows = (shard.page_rows / 8).max(1);
                return self.send(index, asks);
            }
            Answer::Failed { message, .. } => Err(message),
            _ => Err("the tablet call was answered with a topology record".into()),
        };
        let page = match page {
            Ok(page) => page,
            Err(message) => return self.fail(&place, Lost::Shard, message),
        };
        let asked = self.selection.rows(shard.read, shard.page_rows);
        if page.len() > asked {
            let message = format!("the tablet answered {} migrations where {asked} were asked for at most", page.len());
            return self.fail(&place, Lost::Shard, message);
        }
        let is_full = page.len() == asked;
        shard.read += page.len();
        for row in page.rows().filter(|_| !self.keeps_rows) {
            let (migration, faults) = migration::read(&row);
            if !faults.is_empty() {
                let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
                shard.faults += 1;
                if shard.faults <= limits::FAULTS_PER_TABLET {
                    let message = format!("migration {}: {}", migration.uuid, texts.join("; "));
                    self.failures.push(place.failure(&self.keyspace, Lost::Migration, message));
                }
            }
            shard.migrations.push(migration);
        }
        let next = page.rows().last().map(|row| row.integer("id"));
        let wants_more = is_full && !page.is_empty() && self.selection.rows(shard.read, shard.page_rows) > 0;
        if self.keeps_rows {
            shard.pages.push(page);
        }
        let message = match next {
            _ if !wants_more => return,
            Some(Ok(Some(id))) if shard.last_id.is_some_and(|before| !self.selection.leads_on(before, id)) => {
                let before = shard.last_id.unwrap_or_default();
                format!("no next page: the migrations after id {before} were asked for, and they end with id {id}")
            }
            Some(Ok(Some(id))) if may_ask => {
                shard.last_id = Some(id);
                return self.send(index, asks);
            }
            Some(Ok(Some(_))) => format!("the migrations need more than {} statements", limits::STATEMENTS_PER_READ),
            Some(Err(error)) => format!("no next page after a row whose id cannot be read: {error}"),
            Some(Ok(None)) | None => "no next page after a row without id".into(),
        };
        self.fail(&place, Lost::Shard, message);
    }

    /// Takes the largest shards out until the rest fits into a reply of so many bytes.
    fn leave_out(&mut self, shards: &mut [Shard], limit: usize) {
        let bytes = |shard: &Shard| {
            let migrations = shard.migrations.iter();
            migrations.map(|migration| prost::encoding::message::encoded_len(1, migration)).sum::<usize>()
        };
        let mut sizes: Vec<(usize, &mut Shard)> = shards.iter_mut().map(|shard| (bytes(shard), shard)).collect();
        sizes.sort_by_key(|(bytes, _)| *bytes);
        let mut total: usize = sizes.iter().map(|(bytes, _)| bytes).sum();
        while total > limit
            && let Some((bytes, shard)) = sizes.pop()
        {
            shard.migrations.clear();
            shard.faults = 0;
            self.failures.retain(|failure| failure.shard != shard.target.place.shard);
            total -= bytes;
            let message = format!(
                "left out: it makes {bytes} bytes of a reply that may have {limit} in all; ask for one migration, or for those of a \
                 time"
            );
            self.failures.push(shard.target.place.failure(&self.keyspace, Lost::Shard, message));
        }
    }

    fn fail(&mut self, place: &Place, lost: Lost, message: String) {
        self.failures.push(place.failure(&self.keyspace, lost, message));
    }
}

impl Operation for SchemaMigrations {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        if let Some(index) = self.reads.remove(&id) {
            return self.rows(index, answer, asks);
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
        let mut shards = self.sorted();
        if let Some(limit) = self.limit {
            self.leave_out(&mut shards, limit);
        }
        let is_partial = self.is_partial(shards.is_empty());
        let mut failures = std::mem::take(&mut self.failures);
        for shard in &shards {
            let more = shard.faults.saturating_sub(limits::FAULTS_PER_TABLET);
            if more > 0 {
                let message = format!("and {more} more migrations with a column that cannot be read");
                failures.push(shard.target.place.failure(&self.keyspace, Lost::Migration, message));
            }
        }
        let migrations: Vec<_> = shards.into_iter().flat_map(|shard| shard.migrations).collect();
        let is_empty = migrations.is_empty() && is_partial;
        let bytes = GetSchemaMigrationsResponse { migrations }.encode_to_vec();
        super::conclude(bytes, is_empty, self.strict, failures)
    }
}
