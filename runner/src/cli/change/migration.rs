//! `vtflow migration VERB KEYSPACE UUID|all`: which request each verb is. The way of it is `confirm.rs`.
//!
//! Source: `go/cmd/vtctldclient/command/onlineddl.go`.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use prost::Message;
use vtflow_planner::{
    Call, CallOptions, Timestamp,
    proto::{topodata::ThrottledAppRule, vtctldata::UpdateThrottlerConfigRequest, vttime::Time},
    request::{MigrationVerb, Request},
    rpc,
    sidecar::is_uuid,
};

use super::confirm::{self, Change, ChangeArgs};
use crate::cli::{cluster::open::OpenCluster, duration};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MigrationCommand {
    /// Cancel migrations that are queued, ready or running
    Cancel(MigrationArgs),
    /// Let the tables that finished migrations left behind be dropped
    Cleanup(MigrationArgs),
    /// Let migrations that wait with their cut-over cut over
    Complete(MigrationArgs),
    /// Let migrations that wait with their launch begin
    Launch(MigrationArgs),
    /// Begin a failed or cancelled migration again; there is no all
    Retry(MigrationArgs),
    /// Slow migrations down, or hold them, in the whole keyspace
    Throttle(ThrottleArgs),
    /// Let throttled migrations go on
    Unthrottle(MigrationArgs),
    /// Cut over although transactions or locks are in the way
    #[command(visible_alias = "force-cut-over")]
    ForceCutover(MigrationArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct MigrationArgs {
    /// The keyspace
    keyspace: String,
    /// The migration, or all
    #[arg(value_name = "UUID|all")]
    uuid: String,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ThrottleArgs {
    #[command(flatten)]
    migration: MigrationArgs,
    /// How much of its work is held back: 0 none, 1 all
    #[arg(long, value_name = "0..1", default_value = "1", value_parser = ratio)]
    ratio: f64,
    /// After how long it goes on by itself
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::of_any_length)]
    expire: Duration,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
    if (0.0..=1.0).contains(&ratio) { Ok(ratio) } else { Err("a ratio is a number from 0 to 1".to_owned()) }
}

/// What `vtctldclient OnlineDDL throttle` and `unthrottle` send: the rule of one migration, or of the application that all are.
async fn throttle(cluster: &OpenCluster, args: MigrationArgs, rule: ThrottledAppRule) -> anyhow::Result<ExitCode> {
    let MigrationArgs { keyspace, uuid, change } = args;
    let uuid = uuid.to_lowercase();
    let name = match uuid.as_str() {
        "all" => "online-ddl".to_owned(),
        uuid if is_uuid(uuid) => uuid.to_owned(),
        other => anyhow::bail!("argument must be 'all' or a valid UUID. Got '{other}'"),
    };
    let request = UpdateThrottlerConfigRequest {
        keyspace,
        throttled_app: Some(ThrottledAppRule { name, ..rule }),
        ..UpdateThrottlerConfigRequest::default()
    };
    confirm::run(
        cluster,
        Change { path: rpc::UPDATE_THROTTLER_CONFIG.into(), request: request.encode_to_vec(), force: false, word: None },
        change,
    )
    .await
}

fn after(now: Timestamp, expire: Duration) -> Time {
    let nanos = now.nanos + expire.subsec_nanos();
    let seconds = i64::try_from(expire.as_secs()).unwrap_or(i64::MAX);
    Time {
        seconds: now.seconds.saturating_add(seconds).saturating_add(i64::from(nanos / 1_000_000_000)),
        nanoseconds: (nanos % 1_000_000_000).cast_signed(),
    }
}

pub(crate) async fn run(cluster: &OpenCluster, command: MigrationCommand) -> anyhow::Result<ExitCode> {
    let (verb, args) = match command {
        MigrationCommand::Cancel(args) => (MigrationVerb::Cancel, args),
        MigrationCommand::Cleanup(args) => (MigrationVerb::Cleanup, args),
        MigrationCommand::Complete(args) => (MigrationVerb::Complete, args),
        MigrationCommand::Launch(args) => (MigrationVerb::Launch, args),
        MigrationCommand::Retry(args) => (MigrationVerb::Retry, args),
        MigrationCommand::Throttle(ThrottleArgs { migration, ratio, expire }) => {
            let expires_at = Some(after(cluster.now(), expire));
            return throttle(cluster, migration, ThrottledAppRule { ratio, expires_at, ..ThrottledAppRule::default() }).await;
        }
        MigrationCommand::Unthrottle(args) => {
            let expires_at = Some(Time::default());
            return throttle(cluster, args, ThrottledAppRule { expires_at, ..ThrottledAppRule::default() }).await;
        }
        MigrationCommand::ForceCutover(args) => (MigrationVerb::ForceCutover, args),
    };
    let MigrationArgs { keyspace, uuid, change } = args;
    let wanted = Request::Migration { keyspace, uuid, verb, shards: Vec::new() };
    let Call { path, request, .. } = wanted.call(CallOptions::default());
    confirm::run(cluster, Change { path, request, force: false, word: None }, change).await
}
