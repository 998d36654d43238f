//! `GetSchemaMigrations`: the schema migrations of a keyspace, as each of its shards knows them.
//!
//! Three rounds: the shards; the primaries' tablet records; one statement for each primary, more only when a page is full. Rows
//! are read by column name, tablet by tablet, so that mixed releases are right. What a shard does not say is named; the rest is
//! returned. Limit and skip are each shard's, as in vtctld.
//!
//! Facts: `go/vt/vtctl/grpcvtctldserver/server.go:GetSchemaMigrations`; `docs/compat.md` lists what differs.

use prost::Message;

use crate::{
    contract::{Answer, AskId, Call, CallOptions, Code, Failure, Lost, Reply, Status},
    limits,
    operation::{Asks, Operation, conclude, decode},
    proto::vtctldata::{GetSchemaMigrationsRequest, GetSchemaMigrationsResponse, SchemaMigration},
    sidecar::{
        migration,
        migration_read::MigrationRead,
        migration_statement::Selection,
        result::RowSet,
        survey::{Found, Look, Looked, Survey},
    },
    topo::targets::{Event, Place, Unreached},
};

pub(crate) struct SchemaMigrations {
    keyspace: String,
    strict: bool,
    /// Bytes that the reply may have.
    limit: Option<usize>,
    selection: Selection,
    survey: Survey,
    shards: Vec<Shard>,
    failures: Vec<Failure>,
    fatal: Option<Status>,
    /// Rows are kept as they are; [`SchemaMigrations::finish_rows`] has them.
    keeps_rows: bool,
}

/// A shard and what its primary has said.
struct Shard {
    place: Place,
    /// How many migrations it has.
    read: usize,
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
        Self::begin(decode(call)?, &call.options, asks)
    }

    fn begin(request: GetSchemaMigrationsRequest, options: &CallOptions, asks: &mut Asks) -> Result<Self, Status> {
        if request.keyspace.is_empty() {
            return Err(Status { code: Code::InvalidArgument, message: "keyspace is required".into() });
        }
        let selection = Selection::new(&request)?;
        let survey = Survey::start(&request.keyspace, &[], asks)?;
        Ok(Self {
            keyspace: request.keyspace,
            strict: options.strict,
            limit: options.reply_limit(),
            selection,
            survey,
            shards: Vec::new(),
            failures: Vec::new(),
            fatal: None,
            keeps_rows: false,
        })
    }

    /// As [`SchemaMigrations::start`], of another operation's request, and the rows are not read, only fetched.
    pub(super) fn begin_rows(
        request: GetSchemaMigrationsRequest,
        options: &CallOptions,
        asks: &mut Asks,
    ) -> Result<Self, Status> {
        Ok(Self { keeps_rows: true, ..Self::begin(request, options, asks)? })
    }

    /// The rows in the order of shards, and what is missing of them. Called once, instead of [`Operation::finish`].
    pub(super) fn finish_rows(&mut self) -> (Result<Vec<ShardRows>, Status>, Vec<Failure>) {
        if let Some(status) = self.fatal.take() {
            return (Err(status), Vec::new());
        }
        let shards = self.sorted();
        let has_rows = shards.iter().any(|shard| shard.read > 0);
        let rows = shards.into_iter().map(|shard| ShardRows { tablet: shard.place.alias_text(), pages: shard.pages });
        let rows: Vec<ShardRows> = rows.collect();
        let is_empty = !has_rows && self.is_partial(rows.is_empty());
        let reply = conclude(Vec::new(), is_empty, self.strict, std::mem::take(&mut self.failures));
        (reply.result.map(|_| rows), reply.failures)
    }

    fn sorted(&mut self) -> Vec<Shard> {
        let mut shards = std::mem::take(&mut self.shards);
        shards.sort_by(|a, b| a.place.shard.cmp(&b.place.shard));
        shards
    }

    /// Nothing runs on a shard without primary; but if no other one was asked, nothing is known at all.
    fn is_partial(&self, asked_nobody: bool) -> bool {
        asked_nobody || self.failures.iter().any(|failure| failure.lost != Lost::NoPrimary)
    }

    fn look(&mut self, index: usize, asks: &mut Asks) {
        let Some(target) = self.survey.target(index) else { return };
        let allowed = limits::MIGRATIONS_BYTES / self.survey.count().max(1);
        let read = MigrationRead::new(self.selection.clone(), &target.db_name).within(allowed);
        self.survey.look(index, 0, vec![Look::Migrations(read)], asks);
    }

    /// Takes what a shard has shown: also of one that could not show all of it.
    fn seen(&mut self, index: usize) {
        let looked = self.survey.take(index).remove(&0);
        let (Some(Looked::Rows(pages, error)), Some(target)) = (looked, self.survey.target(index)) else { return };
        let place = target.place.clone();
        let mut shard = Shard { place, read: 0, faults: 0, migrations: Vec::new(), pages: Vec::new() };
        for page in pages {
            shard.read += page.len();
            if self.keeps_rows {
                shard.pages.push(page);
                continue;
            }
            for row in page.rows() {
                let (migration, faults) = migration::read(&row);
                if !faults.is_empty() {
                    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
                    shard.faults += 1;
                    if shard.faults <= limits::FAULTS_PER_TABLET {
                        let message = format!("migration {}: {}", migration.uuid, texts.join("; "));
                        self.failures.push(shard.place.failure(&self.keyspace, Lost::Migration, message));
                    }
                }
                shard.migrations.push(migration);
            }
        }
        if let Some(message) = error {
            self.fail(&shard.place, Lost::Shard, message);
        }
        self.shards.push(shard);
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
            self.failures.retain(|failure| failure.shard != shard.place.shard);
            total -= bytes;
            let message = format!(
                "left out: it makes {bytes} bytes of a reply that may have {limit} in all; ask for one migration, or for those of a \
                 time"
            );
            self.failures.push(shard.place.failure(&self.keyspace, Lost::Shard, message));
        }
    }

    fn fail(&mut self, place: &Place, lost: Lost, message: String) {
        self.failures.push(place.failure(&self.keyspace, lost, message));
    }
}

impl Operation for SchemaMigrations {
    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        for found in self.survey.answered(id, answer, asks) {
            match found {
                Found::Target(index) => self.look(index, asks),
                Found::Seen(index) => self.seen(index),
                Found::Unreached(Unreached { place, lost, message }) => self.fail(&place, lost, message),
                // As in vtctld: where there is nobody to ask there are no migrations.
                Found::Nobody(Event::NoShards(_) | Event::NoKeyspace { .. }) => {}
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
                failures.push(shard.place.failure(&self.keyspace, Lost::Migration, message));
            }
        }
        let migrations: Vec<_> = shards.into_iter().flat_map(|shard| shard.migrations).collect();
        let is_empty = migrations.is_empty() && is_partial;
        let bytes = GetSchemaMigrationsResponse { migrations }.encode_to_vec();
        conclude(bytes, is_empty, self.strict, failures)
    }
}
