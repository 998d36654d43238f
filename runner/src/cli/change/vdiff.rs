//! `vtflow vdiff create|stop|resume|delete KEYSPACE WORKFLOW …`: which request each verb is. The way of it is `confirm.rs`.
//!
//! Source of flags and defaults: `go/cmd/vtctldclient/command/vreplication/vdiff/vdiff.go`, v24.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use clap::{ArgAction, Args, Subcommand};
use prost::Message;
use vtflow_planner::{
    formats::uuid,
    proto::{
        tabletmanagerdata::TabletSelectionPreference,
        topodata::TabletType,
        vtctldata::{VDiffCreateRequest, VDiffDeleteRequest, VDiffStopRequest},
        vttime,
    },
    rpc,
};

use super::confirm::{self, Change, ChangeArgs};
use crate::cli::{
    cluster::open::OpenCluster,
    duration,
    read::{topology::tablet_type, vdiff},
};

#[derive(Clone, Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, for as long as the program runs")]
pub(crate) enum VDiffCommand {
    /// Begin to compare the rows of a workflow's source and target
    Create(CreateArgs),
    /// Stop a comparison; it can be resumed
    Stop(OneArgs),
    /// Go on with a comparison that was stopped, or compare what has come since one was completed
    Resume(OneArgs),
    /// Delete a comparison and its report, or all of a workflow
    Delete(DeleteArgs),
}

/// Which workflow.
#[derive(Args, Clone, Debug)]
struct WhichArgs {
    /// The target keyspace
    keyspace: String,
    /// The workflow
    workflow: String,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// The comparison; vtflow get vdiff KEYSPACE WORKFLOW all names them
    #[arg(value_name = "UUID", value_parser = uuid_of)]
    uuid: String,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// The comparison, or all of the workflow
    #[arg(value_name = "UUID|all", value_parser = uuid_or_all)]
    uuid: String,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "the flags are the client's")]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// What it is called; one is made up without it
    #[arg(value_name = "UUID", value_parser = uuid_of)]
    uuid: Option<String>,
    /// Cells whose tablets the source is read from; all without it
    #[arg(long, value_name = "CELL,...", value_delimiter = ',')]
    source_cells: Vec<String>,
    /// Cells whose tablets the target is read from; all without it
    #[arg(long, value_name = "CELL,...", value_delimiter = ',')]
    target_cells: Vec<String>,
    /// Types of tablets to read from
    #[arg(long, value_name = "TYPE,...", value_delimiter = ',', default_value = "rdonly,replica,primary", value_parser = tablet_type)]
    tablet_types: Vec<TabletType>,
    /// Whether the types are tried in their order
    #[arg(long, visible_alias = "tablet-types-in-preference-order", value_name = "BOOL", action = ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    tablet_types_in_order: bool,
    /// Only these tables
    #[arg(long, value_name = "TABLE,...", value_delimiter = ',')]
    tables: Vec<String>,
    /// Rows of each table to compare at most; all without it
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(i64).range(1..))]
    limit: Option<i64>,
    /// How long a tablet waits for the streams to get to the position that is compared
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::of_any_length)]
    filtered_replication_wait_time: Duration,
    /// Put the queries that find a row again into the report
    #[arg(long)]
    debug_query: bool,
    /// Put only primary keys into the report
    #[arg(long)]
    only_pks: bool,
    /// Let the tablets count the rows of their tables anew first, for better estimates
    #[arg(long)]
    update_table_stats: bool,
    /// Rows that only one side has, of which it is looked whether the other one has them at another place; at most
    #[arg(long, value_name = "ROWS", default_value = "1000", value_parser = clap::value_parser!(i64).range(0..))]
    max_extra_rows_to_compare: i64,
    /// Rows of each kind in the report; 0 for all
    #[arg(long, value_name = "ROWS", default_value = "10", value_parser = clap::value_parser!(i64).range(0..))]
    max_report_sample_rows: i64,
    /// Characters of a column in the report; 0 for all
    #[arg(long, value_name = "LENGTH", default_value = "128")]
    row_diff_column_truncate_at: i64,
    /// How long one table is compared at a time, before it goes on at a new position; 0 for as long as it takes
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration::of_any_length)]
    max_diff_duration: Duration,
    /// Whether tablets try again after an error
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true")]
    auto_retry: bool,
    /// Whether it begins at once; if not, vtflow vdiff resume begins it
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true")]
    auto_start: bool,
    /// Wait until it ends, and show what came of it: exit code 1 unless it completes and no rows differ
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// How often is looked while waiting
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration::parse)]
    wait_update_interval: Duration,
    #[command(flatten)]
    change: ChangeArgs,
}

/// How often is looked at least: not more than once in this time.
const LOOKS_AT_MOST_EVERY: Duration = Duration::from_millis(100);

fn uuid_of(text: &str) -> Result<String, String> {
    uuid::parse(text)
}

fn uuid_or_all(text: &str) -> Result<String, String> {
    match text.to_lowercase().as_str() {
        "all" => Ok("all".into()),
        text => uuid::parse(text).map_err(|why| format!("it is all or a UUID: {why}")),
    }
}

impl CreateArgs {
    /// The request for one of this UUID.
    fn wanted(&self, uuid: String) -> VDiffCreateRequest {
        let preference =
            if self.tablet_types_in_order { TabletSelectionPreference::Inorder } else { TabletSelectionPreference::Any };
        VDiffCreateRequest {
            workflow: self.which.workflow.clone(),
            target_keyspace: self.which.keyspace.clone(),
            uuid,
            source_cells: self.source_cells.clone(),
            target_cells: self.target_cells.clone(),
            tablet_types: self.tablet_types.iter().copied().map(i32::from).collect(),
            tablet_selection_preference: preference.into(),
            tables: self.tables.clone(),
            limit: self.limit.unwrap_or(i64::MAX),
            filtered_replication_wait_time: Some(message(self.filtered_replication_wait_time)),
            debug_query: self.debug_query,
            only_p_ks: self.only_pks,
            update_table_stats: self.update_table_stats,
            max_extra_rows_to_compare: self.max_extra_rows_to_compare,
            wait: self.wait,
            wait_update_interval: Some(message(self.wait_update_interval)),
            auto_retry: self.auto_retry,
            verbose: false,
            max_report_sample_rows: self.max_report_sample_rows,
            max_diff_duration: Some(message(self.max_diff_duration)),
            row_diff_column_truncate_at: self.row_diff_column_truncate_at,
            auto_start: Some(self.auto_start),
        }
    }
}

fn message(duration: Duration) -> vttime::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    vttime::Duration { seconds, nanos: duration.subsec_nanos().cast_signed() }
}

fn change(path: &str, request: &impl Message) -> Change {
    Change { path: path.into(), request: request.encode_to_vec(), force: false, word: None }
}

pub(crate) async fn run(cluster: &OpenCluster, command: VDiffCommand) -> anyhow::Result<ExitCode> {
    let (path, args) = match command {
        VDiffCommand::Create(args) => return create(cluster, args).await,
        VDiffCommand::Delete(DeleteArgs { which, uuid: arg, change: how }) => {
            let request = VDiffDeleteRequest { workflow: which.workflow, target_keyspace: which.keyspace, arg };
            return confirm::run(cluster, change(rpc::VDIFF_DELETE, &request), how).await;
        }
        VDiffCommand::Stop(args) => (rpc::VDIFF_STOP, args),
        VDiffCommand::Resume(args) => (rpc::VDIFF_RESUME, args),
    };
    let WhichArgs { keyspace: target_keyspace, workflow } = args.which;
    // The shards go with the options of the call, as everywhere.
    let request = VDiffStopRequest { workflow, target_keyspace, uuid: args.uuid, target_shards: Vec::new() };
    confirm::run(cluster, change(path, &request), args.change).await
}

async fn create(cluster: &OpenCluster, args: CreateArgs) -> anyhow::Result<ExitCode> {
    if args.wait && !args.auto_start {
        bail!("--wait and --auto-start=false: one that does not begin does not end");
    }
    if args.wait_update_interval < LOOKS_AT_MOST_EVERY {
        bail!("--wait-update-interval={:?} would do nothing but ask: give 100ms or more", args.wait_update_interval);
    }
    let WhichArgs { keyspace, workflow } = args.which.clone();
    // Here and not by the server: the plan that is shown is the one that is performed. Of this moment, for a snapshot's never passes.
    let uuid = args.uuid.clone().unwrap_or_else(|| uuid::made(crate::cli::cluster::open::now(), &[&keyspace, &workflow]));
    let request = args.wanted(uuid.clone());
    let code = confirm::run_to_its_end(cluster, change(rpc::VDIFF_CREATE, &request), args.change).await?;
    if code != 0 || !args.wait {
        return Ok(ExitCode::from(code));
    }
    vdiff::wait(cluster, keyspace, workflow, uuid, args.wait_update_interval).await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: VDiffCommand,
    }

    const UUID: &str = "11111111-1111-1111-1111-111111111111";

    fn create(flags: &[&str]) -> Result<VDiffCreateRequest, clap::Error> {
        let line = Line::try_parse_from([&["vtflow", "create", "customer", "m2", UUID], flags].concat())?;
        match line.command {
            VDiffCommand::Create(args) => Ok(args.wanted(args.uuid.clone().unwrap())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_the_clients() {
        // As vtctldclient v24 sent it with `--auto-retry=false` (`tests/recordings/vdiff`).
        let want = VDiffCreateRequest {
            workflow: "m2".into(),
            target_keyspace: "customer".into(),
            uuid: UUID.into(),
            tablet_types: vec![3, 2, 1],
            tablet_selection_preference: 1,
            limit: i64::MAX,
            filtered_replication_wait_time: Some(vttime::Duration { seconds: 30, nanos: 0 }),
            max_extra_rows_to_compare: 1000,
            wait_update_interval: Some(vttime::Duration { seconds: 60, nanos: 0 }),
            max_report_sample_rows: 10,
            max_diff_duration: Some(vttime::Duration::default()),
            row_diff_column_truncate_at: 128,
            auto_start: Some(true),
            ..VDiffCreateRequest::default()
        };
        assert_eq!(create(&["--auto-retry=false"]).unwrap(), want);
        assert_eq!(create(&[]).unwrap(), VDiffCreateRequest { auto_retry: true, ..want });
        let some = create(&["--tables", "t1,t2", "--tablet-types", "PRIMARY", "--tablet-types-in-order=false", "--limit", "5"]);
        let some = some.unwrap();
        assert_eq!((some.tables.len(), some.tablet_types, some.tablet_selection_preference, some.limit), (2, vec![1], 0, 5));
    }

    #[test]
    fn values_that_mean_nothing_are_refused() {
        for flags in [
            &["--limit", "0"][..],
            &["--limit=-1"],
            &["--max-extra-rows-to-compare=-1"],
            &["--max-report-sample-rows=-1"],
            &["--tablet-types", "nope"],
            &["--max-diff-duration=-5s"],
            &["--wait", "--dry-run"],
        ] {
            assert!(create(flags).is_err(), "{flags:?}");
        }
        let parse = |args: &[&str]| Line::try_parse_from([&["vtflow"], args].concat()).map(|line| line.command);
        for args in
            [["stop", "k", "w", "all"], ["resume", "k", "w", "last"], ["delete", "k", "w", "last"], ["create", "k", "w", "x"]]
        {
            assert!(parse(&args).is_err(), "{args:?}");
        }
        assert!(parse(&["delete", "k", "w", "ALL"]).is_ok());
        let braced = format!("{{{UUID}}}");
        match parse(&["stop", "k", "w", &braced]).unwrap() {
            VDiffCommand::Stop(args) => assert_eq!(args.uuid, UUID),
            other => panic!("{other:?}"),
        }
    }
}
