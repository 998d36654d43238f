//! `vtflow workflow VERB KEYSPACE NAME`: which request each is, but for traffic (`switch.rs`), what ends a workflow (`forward.rs`) and
//! locks (`unlock.rs`). The way of it is `confirm.rs`.
//!
//! Source: `go/cmd/vtctldclient/command/vreplication/common/update.go`, `workflow/update.go`, `workflow/state.go`.

use std::{collections::BTreeMap, process::ExitCode};

use clap::{ArgAction, Args, Subcommand};
use prost::Message;
use vtflow_planner::{
    Call, CallOptions,
    proto::{
        binlogdata::OnDdlAction,
        tabletmanagerdata::{TabletSelectionPreference, UpdateVReplicationWorkflowRequest},
        topodata::TabletType,
        vtctldata::WorkflowUpdateRequest,
    },
    request::{Request, StateChange, unchanged},
    rpc,
};

use super::{
    confirm::{self, Change, ChangeArgs},
    forward::{CancelArgs, CompleteArgs, MirrorArgs},
    rehearsed,
    switch::{ReverseArgs, SwitchArgs},
    unlock::UnlockArgs,
};
use crate::cli::{cluster::open::OpenCluster, read::topology::tablet_type};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum WorkflowCommand {
    /// Let the streams of a workflow run
    Start(StateArgs),
    /// Stop the streams of a workflow
    Stop(StateArgs),
    /// Change where the streams of a workflow read, and how; what is not named stays as it is
    Update(UpdateArgs),
    /// Delete the streams of a workflow, their copy states and comparisons; tables and routing rules are kept
    Delete(DeleteArgs),
    /// Move reads and writes of a workflow's tables or shards to the target
    Switch(SwitchArgs),
    /// Move them back to the source
    Reverse(ReverseArgs),
    /// End a workflow whose traffic has been switched: the source's tables or shards go, its rules, its streams
    Complete(CompleteArgs),
    /// Give up a workflow whose writes were not switched: what it has copied goes, its rules, its streams
    Cancel(CancelArgs),
    /// Send some of the traffic to the target, too, to see how it takes it; what it answers is thrown away
    Mirror(MirrorArgs),
    /// Take away the lock that a vtctld has left on a workflow which died while it was changing it
    Unlock(UnlockArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct StateArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Leave the source as it is: it may be gone, down, or in another cluster. What is left of the workflow there stays
    #[arg(long, visible_alias = "ignore-source-keyspace")]
    ignore_source: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Which workflow.
#[derive(Args, Clone, Debug)]
struct WhichArgs {
    /// The target keyspace
    keyspace: String,
    /// The workflow's name
    name: String,
    /// Do it although somebody else holds a lock on the keyspace, or although the traffic of what is deleted has been switched
    #[arg(long)]
    force: bool,
}

#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown, reason = "the texts are shown as help")]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Cells to read from; an empty text for any
    #[arg(short, long, value_name = "CELL,...")]
    cells: Option<String>,
    /// Types of tablets to read from, such as replica,rdonly; an empty text for the tablets' default
    #[arg(short, long, value_name = "TYPE,...")]
    tablet_types: Option<String>,
    /// Whether the types are tried in their order
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tablet_types_in_order: Option<bool>,
    /// What to do when DDL comes along: ignore, stop, exec or exec_ignore
    #[arg(long, value_name = "ACTION", value_parser = on_ddl)]
    on_ddl: Option<OnDdlAction>,
    /// Settings of the streams that differ from the tablets' own; they replace those of before, an empty value removes one
    #[arg(long, value_name = "KEY=VALUE,...", value_delimiter = ',', value_parser = setting)]
    config_overrides: Vec<(String, String)>,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(crate) async fn run(cluster: &OpenCluster, command: WorkflowCommand) -> anyhow::Result<ExitCode> {
    let (which, action, args) = match command {
        WorkflowCommand::Delete(args) => return delete(cluster, args).await,
        WorkflowCommand::Update(args) => return update(cluster, args).await,
        WorkflowCommand::Switch(args) => return rehearsed::run(cluster, args).await,
        WorkflowCommand::Reverse(args) => return rehearsed::run(cluster, args).await,
        WorkflowCommand::Complete(args) => return rehearsed::run(cluster, args).await,
        WorkflowCommand::Cancel(args) => return rehearsed::run(cluster, args).await,
        WorkflowCommand::Mirror(args) => return rehearsed::run(cluster, args).await,
        WorkflowCommand::Unlock(args) => {
            let (change, how) = args.change();
            return confirm::run(cluster, change, how).await;
        }
        WorkflowCommand::Start(args) => (args.which, StateChange::Start, args.change),
        WorkflowCommand::Stop(args) => (args.which, StateChange::Stop, args.change),
    };
    let WhichArgs { keyspace, name: workflow, force } = which;
    let wanted = Request::Update { keyspace, workflow, action, shards: Vec::new() };
    let Call { path, request, .. } = wanted.call(CallOptions::default());
    confirm::run(cluster, Change { path, request, force, word: None }, args).await
}

async fn update(cluster: &OpenCluster, args: UpdateArgs) -> anyhow::Result<ExitCode> {
    let wanted = args.wanted()?;
    let WhichArgs { keyspace, name, force } = args.which;
    let tablet_request = Some(UpdateVReplicationWorkflowRequest { workflow: name, ..wanted });
    let request = WorkflowUpdateRequest { keyspace, tablet_request }.encode_to_vec();
    confirm::run(cluster, Change { path: rpc::WORKFLOW_UPDATE.into(), request, force, word: None }, args.change).await
}

async fn delete(cluster: &OpenCluster, args: DeleteArgs) -> anyhow::Result<ExitCode> {
    let WhichArgs { keyspace, name: workflow, force } = args.which;
    let word = Some(workflow.clone());
    let wanted = Request::Delete { keyspace, workflow, ignore_source: args.ignore_source, shards: Vec::new() };
    let Call { path, request, .. } = wanted.call(CallOptions::default());
    confirm::run(cluster, Change { path, request, force, word }, args.change).await
}

impl UpdateArgs {
    fn wanted(&self) -> anyhow::Result<UpdateVReplicationWorkflowRequest> {
        let mut wanted = unchanged();
        let is_any =
            self.cells.is_some() || self.tablet_types.is_some() || self.on_ddl.is_some() || !self.config_overrides.is_empty();
        // As in vtctldclient, the order alone is none: which types it is about has to be said with it.
        if !is_any {
            anyhow::bail!(
                "no configuration options specified to update: give --cells, --tablet-types, --on-ddl or --config-overrides"
            );
        }
        if let Some(cells) = &self.cells {
            wanted.cells = listed(cells).map(str::to_owned).collect();
        }
        if let Some(types) = &self.tablet_types {
            let types =
                listed(types).map(tablet_type).collect::<Result<Vec<TabletType>, String>>().map_err(anyhow::Error::msg)?;
            wanted.tablet_types = types.into_iter().map(i32::from).collect();
        }
        let preference = match self.tablet_types_in_order {
            None => TabletSelectionPreference::Unknown,
            Some(true) => TabletSelectionPreference::Inorder,
            Some(false) => TabletSelectionPreference::Any,
        };
        wanted.tablet_selection_preference = Some(preference.into());
        wanted.on_ddl = self.on_ddl.map(i32::from);
        wanted.config_overrides = self.config_overrides.iter().cloned().collect::<BTreeMap<_, _>>();
        Ok(wanted)
    }
}

/// The parts of a list with commas; an empty text has none.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn on_ddl(text: &str) -> Result<OnDdlAction, String> {
    let action = OnDdlAction::from_str_name(&text.to_uppercase());
    action.ok_or_else(|| format!("invalid on-ddl value: {text}: it is ignore, stop, exec or exec_ignore"))
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().into(), value.into())),
        _ => Err(format!("{text} is no setting: write KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: WorkflowCommand,
    }

    fn update(flags: &[&str]) -> anyhow::Result<UpdateVReplicationWorkflowRequest> {
        let line = Line::try_parse_from([&["vtflow", "update", "customer", "big"], flags].concat())?;
        match line.command {
            WorkflowCommand::Update(args) => args.wanted(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        for flags in [&[][..], &["--tablet-types-in-order=false"]] {
            let refused = update(flags).unwrap_err().to_string();
            assert!(refused.starts_with("no configuration options specified to update"), "{flags:?}: {refused}");
        }
        let cells = update(&["--cells", "zone1,zone2"]).unwrap();
        assert_eq!((cells.cells, cells.tablet_types), (vec!["zone1".to_owned(), "zone2".to_owned()], vec![-1]));
        assert_eq!((cells.state, cells.on_ddl), (None, None));
        assert!(update(&["--cells", ""]).unwrap().cells.is_empty());
        let types = update(&["--tablet-types", "replica,RDONLY", "--tablet-types-in-order"]).unwrap();
        assert_eq!((types.cells, types.tablet_types), (vec!["NULL".to_owned()], vec![2, 3]));
        assert_eq!(types.tablet_selection_preference, Some(TabletSelectionPreference::Inorder.into()));
        assert_eq!(update(&["--on-ddl", "exec_ignore"]).unwrap().on_ddl, Some(OnDdlAction::ExecIgnore.into()));
        let settings = update(&["--config-overrides", "a-b=1,c="]).unwrap().config_overrides;
        assert_eq!(settings, [("a-b".to_owned(), "1".to_owned()), ("c".to_owned(), String::new())].into());
    }

    #[test]
    fn values_that_are_none_are_named() {
        for (flags, part) in [
            (&["--on-ddl", "maybe"][..], "invalid on-ddl value: maybe"),
            (&["--tablet-types", "replica,nope"], "nope"),
            (&["--config-overrides", "a"], "a is no setting"),
        ] {
            let refused = update(flags).unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }
    }
}
