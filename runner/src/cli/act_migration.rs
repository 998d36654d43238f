//! `vtflow migration VERB KEYSPACE UUID|all`: which request each verb is. The way of it is `act.rs`.
//!
//! Source: `go/cmd/vtctldclient/command/onlineddl.go`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use prost::Message;
use vtflow_planner::{proto::vtctldata::CancelSchemaMigrationRequest, rpc};

use super::{
    act::{self, Act, ActArgs},
    connect::Connected,
};

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
    act: ActArgs,
}

pub(crate) async fn run(cluster: &Connected, command: MigrationCommand) -> anyhow::Result<ExitCode> {
    let (path, args) = match command {
        MigrationCommand::Cancel(args) => (rpc::CANCEL_SCHEMA_MIGRATION, args),
        MigrationCommand::Cleanup(args) => (rpc::CLEANUP_SCHEMA_MIGRATION, args),
        MigrationCommand::Complete(args) => (rpc::COMPLETE_SCHEMA_MIGRATION, args),
        MigrationCommand::Launch(args) => (rpc::LAUNCH_SCHEMA_MIGRATION, args),
        MigrationCommand::Retry(args) => (rpc::RETRY_SCHEMA_MIGRATION, args),
        MigrationCommand::ForceCutover(args) => (rpc::FORCE_CUT_OVER_SCHEMA_MIGRATION, args),
    };
    let MigrationArgs { keyspace, uuid, act } = args;
    // The six messages are one.
    let request = CancelSchemaMigrationRequest { keyspace, uuid, caller_id: None }.encode_to_vec();
    act::run(cluster, Act { path, request, force: false }, act).await
}
