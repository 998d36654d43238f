//! `vtflow get migrations [KEYSPACE]`: one line per schema migration, its shards folded.

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use prost::Message;
use vtflow_planner::{
    Call, Failure, Lost, Timestamp,
    proto::{
        vtctldata::{
            GetSchemaMigrationsRequest, GetSchemaMigrationsResponse, GetWorkflowsRequest, GetWorkflowsResponse, QueryOrdering,
            SchemaMigration, schema_migration::Status,
        },
        vttime,
    },
    rpc,
};
use vtflow_screen::{self as screen, Counted};

use super::{
    overview::{Overview, Part},
    plan::Request,
    topology::{self, known, unread},
    view::{self, Format, Reading, Screen, ShowArgs, View},
};
use crate::{cli::cluster::open::OpenCluster, output::json::Document};

/// Which migrations of which keyspace.
#[derive(Args, Clone, Debug)]
pub(crate) struct MigrationsArgs {
    /// The keyspace
    keyspace: String,
    #[command(flatten)]
    filter: MigrationFilter,
}

/// Which migrations of a keyspace. The RPC heeds one of the filters only, so no two of them go together.
#[derive(Args, Clone, Debug)]
pub(crate) struct MigrationFilter {
    /// Only this migration
    #[arg(long, conflicts_with_all = ["context", "status", "recent"])]
    uuid: Option<String>,
    /// Only those of this migration context
    #[arg(long, visible_alias = "migration-context", conflicts_with_all = ["status", "recent"])]
    context: Option<String>,
    /// Only shards on which they are in this state
    #[arg(long, value_parser = status, conflicts_with = "recent", value_name = "STATUS")]
    status: Option<Status>,
    /// Only those requested in the last week, or in the last DURATION, such as 12h or 3d
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "7d", value_parser = recent, value_name = "DURATION")]
    recent: Option<Duration>,
    /// The order of each shard's rows, which --limit and --skip count in
    #[arg(long, value_enum)]
    order: Option<Order>,
    /// At most so many of each shard
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    limit: u64,
    /// Leave out the first so many of each shard; only with --limit
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, requires = "limit")]
    skip: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// The oldest first
    #[value(alias = "ascending")]
    Asc,
    /// The newest first
    #[value(alias = "descending")]
    Desc,
}

fn status(text: &str) -> Result<Status, String> {
    match Status::from_str_name(&text.to_uppercase()) {
        Some(Status::Unknown) | None => {
            Err(format!("no status {text}: requested, queued, ready, running, complete, failed and cancelled are"))
        }
        Some(status) => Ok(status),
    }
}

/// As other durations, and days: migrations are older than deadlines.
fn recent(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d').map(str::parse::<u32>) {
        Some(Ok(days)) if days <= 36_500 => Ok(Duration::from_secs(u64::from(days) * 86_400)),
        _ => crate::cli::duration::of_any_length(text).map_err(|error| format!("{error}; days are 3d")),
    }
}

impl MigrationFilter {
    /// Whether every shard that has a migration shows it. Shards may differ by a moment in when it was requested.
    fn is_whole(&self) -> bool {
        self.status.is_none() && self.recent.is_none() && self.limit == 0
    }
}

impl Request for MigrationsArgs {
    fn call(&self) -> anyhow::Result<Call> {
        let filter = &self.filter;
        let order = match filter.order {
            None | Some(Order::Asc) => QueryOrdering::Ascending,
            Some(Order::Desc) => QueryOrdering::Descending,
        };
        let recent = filter.recent.map(|recent| vttime::Duration {
            seconds: i64::try_from(recent.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(recent.subsec_nanos()).unwrap_or(0),
        });
        let request = GetSchemaMigrationsRequest {
            keyspace: self.keyspace.clone(),
            uuid: filter.uuid.clone().unwrap_or_default(),
            migration_context: filter.context.clone().unwrap_or_default(),
            status: filter.status.unwrap_or_default().into(),
            recent,
            order: order.into(),
            limit: filter.limit,
            skip: filter.skip,
        };
        Ok(view::call(rpc::GET_SCHEMA_MIGRATIONS, request.encode_to_vec(), false))
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct GetMigrationsArgs {
    /// The keyspace; all of them at a glance without it
    keyspace: Option<String>,
    #[command(flatten)]
    filter: MigrationFilter,
    /// Fail altogether if any shard gives no answer
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    show: ShowArgs,
}

/// What is read of migrations.
pub(crate) struct Migrations {
    /// The response message.
    reply: Vec<u8>,
    /// What is missing of it.
    failures: Vec<Failure>,
    /// The keyspace's workflows and what is missing of them; `None` if no migration is open, or nothing is drawn.
    workflows: Option<(GetWorkflowsResponse, Vec<Failure>)>,
    /// The keyspace's shards; `None` if nobody asked, or they cannot be had.
    shards: Option<Vec<String>>,
}

/// The command about one keyspace.
struct MigrationsOf {
    migrations: MigrationsArgs,
    strict: bool,
    show: ShowArgs,
}

impl MigrationsOf {
    /// The streams of what is under way. That they cannot be had is a failure of the shards that said so, or of all.
    async fn streams(
        &self,
        cluster: &OpenCluster,
        reply: &GetSchemaMigrationsResponse,
        now: Timestamp,
    ) -> Option<(GetWorkflowsResponse, Vec<Failure>)> {
        let is_open = |migration: &SchemaMigration| !matches!(migration.status(), Status::Complete | Status::Cancelled);
        if !reply.migrations.iter().any(is_open) {
            return None;
        }
        let keyspace = self.migrations.keyspace.clone();
        let request = GetWorkflowsRequest { keyspace: keyspace.clone(), ..GetWorkflowsRequest::default() };
        let reply = view::ask(cluster, &view::call(rpc::GET_WORKFLOWS, request.encode_to_vec(), false), now).await;
        let read = reply.result.and_then(|bytes| view::decode::<GetWorkflowsResponse>(&bytes));
        Some(match read {
            Ok(workflows) => (workflows, reply.failures),
            Err(status) => {
                let (empty, message) = (String::new, format!("the migrations' streams: {}", status.message));
                let failure =
                    Failure { keyspace, shard: empty(), tablet: empty(), workflow: empty(), lost: Lost::Stream, message };
                (GetWorkflowsResponse::default(), vec![failure])
            }
        })
    }
}

impl MigrationsOf {
    fn lines(&self, read: &Migrations, now: Timestamp) -> anyhow::Result<Vec<screen::MigrationLine>> {
        let Migrations { reply, failures, workflows, shards } = read;
        let reply = GetSchemaMigrationsResponse::decode(reply.as_slice())?;
        let beside = screen::Beside {
            failures,
            workflows: workflows.as_ref().map(|(reply, failures)| (reply, failures.as_slice())),
            shards: shards.as_deref(),
            is_whole: self.migrations.filter.is_whole(),
            is_newest_first: self.migrations.filter.order == Some(Order::Desc),
        };
        Ok(screen::migrations(&reply, beside, now))
    }
}

impl View for MigrationsOf {
    type Read = Migrations;

    async fn read(&self, cluster: &OpenCluster, now: Timestamp) -> Reading<Migrations> {
        let mut call = match self.migrations.call() {
            Ok(call) => call,
            Err(error) => return Reading::failed(vtflow_planner::Status::unknown(error.to_string())),
        };
        call.options.strict = self.strict;
        let reply = view::ask(cluster, &call, now).await;
        // To vtctld, a keyspace that does not exist is one without migrations.
        if reply.failures.is_empty()
            && reply.result.as_ref().is_ok_and(Vec::is_empty)
            && let Err(status) = known(cluster, &self.migrations.keyspace, now).await
        {
            return Reading::failed(status);
        }
        let bytes = match reply.result {
            Ok(bytes) => bytes,
            Err(status) => return Reading { result: Err(status), failures: reply.failures },
        };
        let mut read = Migrations { reply: bytes, failures: reply.failures, workflows: None, shards: None };
        if self.show.is_for_people() {
            let migrations = match view::decode::<GetSchemaMigrationsResponse>(&read.reply) {
                Ok(migrations) => migrations,
                Err(status) => return Reading::failed(status),
            };
            let keyspace = &self.migrations.keyspace;
            let shards;
            (read.workflows, shards) =
                tokio::join!(self.streams(cluster, &migrations, now), topology::shard_names(cluster, keyspace, now));
            let lost = |status: vtflow_planner::Status| unread(keyspace, format!("which shards there are: {}", status.message));
            read.shards = shards.map_err(|status| read.failures.push(lost(status))).ok();
        }
        // A tablet that is silent is so for both.
        let more = read.workflows.iter().flat_map(|(_, failures)| failures);
        let is_new =
            |failure: &&Failure| !read.failures.iter().any(|known| !known.shard.is_empty() && known.shard == failure.shard);
        let failures = read.failures.iter().chain(more.filter(is_new)).cloned().collect();
        Reading { result: Ok(read), failures }
    }

    fn text(&self, screen: &Screen<'_, Migrations>) -> anyhow::Result<String> {
        let document = Document::read(Self::MESSAGE, &screen.read.reply)?;
        if let Some(text) = view::document(self.show.output, &document) {
            return Ok(text?);
        }
        let lines = self.lines(screen.read, screen.now)?;
        if self.show.output == Format::Name {
            return Ok(view::names(lines.iter().map(|line| line.uuid.as_str())));
        }
        if lines.is_empty() {
            return Ok(screen::nothing(&self.migrations.call()?, screen.failures) + "\n");
        }
        Ok(view::table(&screen::migration_table(&lines), self.show.width(screen.width)))
    }
}

impl Part for MigrationsOf {
    const COUNTED: Counted = Counted::Migrations;
    const MESSAGE: &'static str = "vtctldata.GetSchemaMigrationsResponse";

    fn reply(read: &Migrations) -> &[u8] {
        &read.reply
    }

    fn things(&self, read: &Migrations, now: Timestamp) -> anyhow::Result<Vec<screen::Thing>> {
        Ok(self.lines(read, now)?.into_iter().map(Into::into).collect())
    }
}

pub(crate) async fn run(cluster: &OpenCluster, args: GetMigrationsArgs) -> anyhow::Result<ExitCode> {
    let GetMigrationsArgs { keyspace, filter, strict, show } = args;
    let of = |keyspace: String| MigrationsOf {
        migrations: MigrationsArgs { keyspace, filter: filter.clone() },
        strict,
        show: show.clone(),
    };
    match keyspace {
        Some(keyspace) => view::run(cluster, &of(keyspace), show.watch, show.is_for_people()).await,
        None => view::run(cluster, &Overview { of, show: show.clone() }, show.watch, show.is_for_people()).await,
    }
}
