//! `vtflow workflow complete|cancel|mirror KEYSPACE NAME`: which request each is. The way of it is `confirm.rs`.
//!
//! Source of flags and defaults: `go/cmd/vtctldclient/command/vreplication/common/{complete,cancel,mirrortraffic}.go`, v24.

use clap::Args;
use prost::Message;
use vtflow_planner::{
    proto::{
        topodata::TabletType,
        vtctldata::{MoveTablesCompleteRequest, WorkflowDeleteRequest, WorkflowMirrorTrafficRequest},
    },
    rpc,
};

#[cfg(feature = "embedded")]
use super::rehearse::RehearsalArgs;
use super::{
    confirm::{Change, ChangeArgs, ConfirmArgs},
    rehearsed::Rehearsed,
};
use crate::cli::read::topology::tablet_type;

/// What stays of a workflow that ends.
#[derive(Args, Clone, Debug)]
struct KeptArgs {
    /// Drop no tables, delete no rows of a tenant and no shards
    #[arg(long)]
    keep_data: bool,
    /// Leave the routing rules as they are
    #[arg(long)]
    keep_routing_rules: bool,
    /// Leave the source as it is: it may be gone, down, or in another cluster. What is left of the workflow there stays
    #[arg(long, visible_alias = "ignore-source-keyspace")]
    ignore_source: bool,
}

#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown, reason = "the texts are shown as help")]
pub(crate) struct CompleteArgs {
    /// The target keyspace
    keyspace: String,
    /// The workflow's name
    name: String,
    #[command(flatten)]
    kept: KeptArgs,
    /// Give the source's tables other names instead of dropping them: corder becomes _corder_old
    #[arg(long, conflicts_with = "keep_data")]
    rename_tables: bool,
    #[command(flatten)]
    steps: StepArgs,
}

#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown, reason = "the texts are shown as help")]
pub(crate) struct CancelArgs {
    /// The target keyspace
    keyspace: String,
    /// The workflow's name
    name: String,
    #[command(flatten)]
    kept: KeptArgs,
    /// Of a tenant whose rows are deleted: so many at a time
    #[arg(long, value_name = "ROWS", default_value = "1000", value_parser = clap::value_parser!(i64).range(1..))]
    delete_batch_size: i64,
    /// Go on although a tablet cannot be told to read its records again, and although its traffic has been switched at some time
    #[arg(long)]
    force: bool,
    #[cfg(feature = "embedded")]
    #[command(flatten)]
    rehearsal: RehearsalArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown, reason = "the texts are shown as help")]
pub(crate) struct MirrorArgs {
    /// The target keyspace
    keyspace: String,
    /// The workflow's name
    name: String,
    /// How much of the traffic is sent to the target, too, in percent; 0 ends it
    #[arg(long, value_name = "PERCENT", default_value = "1", value_parser = percent, allow_negative_numbers = true)]
    percent: f32,
    /// Whose traffic is mirrored: primary is that of reads on primaries
    #[arg(long, value_name = "TYPE,...", value_delimiter = ',', default_value = "primary,replica,rdonly", value_parser = tablet_type)]
    tablet_types: Vec<TabletType>,
    #[command(flatten)]
    steps: StepArgs,
}

/// How a change of a whole workflow is decided on.
#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown, reason = "the texts are shown as help")]
struct StepArgs {
    /// Go on although a tablet cannot be told to read its records again
    #[arg(long)]
    force: bool,
    /// Print the steps with every call and change nothing; with -o json it is what `vtflow apply` takes
    #[arg(long)]
    dry_run: bool,
    #[cfg(feature = "embedded")]
    #[command(flatten)]
    rehearsal: RehearsalArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

impl Rehearsed for CompleteArgs {
    #[cfg(feature = "embedded")]
    fn place(&self) -> (&str, &str) {
        (&self.keyspace, &self.name)
    }

    #[cfg(feature = "embedded")]
    fn rehearsal(&self) -> &RehearsalArgs {
        &self.steps.rehearsal
    }

    fn change(self) -> (Change, ChangeArgs) {
        let KeptArgs { keep_data, keep_routing_rules, ignore_source } = self.kept;
        let word = Some(self.name.clone());
        let request = MoveTablesCompleteRequest {
            workflow: self.name,
            target_keyspace: self.keyspace,
            keep_data,
            keep_routing_rules,
            rename_tables: self.rename_tables,
            // A preview has no effects, and needs no field of the message for it.
            dry_run: false,
            shards: Vec::new(),
            ignore_source_keyspace: ignore_source,
        };
        self.steps.of(rpc::MOVE_TABLES_COMPLETE, request.encode_to_vec(), word)
    }
}

impl Rehearsed for CancelArgs {
    #[cfg(feature = "embedded")]
    fn place(&self) -> (&str, &str) {
        (&self.keyspace, &self.name)
    }

    #[cfg(feature = "embedded")]
    fn rehearsal(&self) -> &RehearsalArgs {
        &self.rehearsal
    }

    fn change(self) -> (Change, ChangeArgs) {
        let KeptArgs { keep_data, keep_routing_rules, ignore_source } = self.kept;
        let word = Some(self.name.clone());
        let request = WorkflowDeleteRequest {
            keyspace: self.keyspace,
            workflow: self.name,
            keep_data,
            keep_routing_rules,
            // They are among the options of the call.
            shards: Vec::new(),
            delete_batch_size: self.delete_batch_size,
            ignore_source_keyspace: ignore_source,
        };
        let (path, request) = (rpc::WORKFLOW_DELETE.into(), request.encode_to_vec());
        (Change { path, request, force: self.force, word }, self.change)
    }
}

impl Rehearsed for MirrorArgs {
    #[cfg(feature = "embedded")]
    fn place(&self) -> (&str, &str) {
        (&self.keyspace, &self.name)
    }

    #[cfg(feature = "embedded")]
    fn rehearsal(&self) -> &RehearsalArgs {
        &self.steps.rehearsal
    }

    /// What is mirrored can be mirrored no more.
    #[cfg(feature = "embedded")]
    fn back(&self) -> Option<(&'static str, Change)> {
        (self.percent > 0.0).then(|| ("mirror --percent 0", Self { percent: 0.0, ..self.clone() }.change().0))
    }

    fn change(self) -> (Change, ChangeArgs) {
        let request = WorkflowMirrorTrafficRequest {
            keyspace: self.keyspace,
            workflow: self.name,
            tablet_types: self.tablet_types.into_iter().map(i32::from).collect(),
            percent: self.percent,
        };
        self.steps.of(rpc::WORKFLOW_MIRROR_TRAFFIC, request.encode_to_vec(), None)
    }
}

impl StepArgs {
    fn of(self, path: &str, request: Vec<u8>, word: Option<String>) -> (Change, ChangeArgs) {
        let change = Change { path: path.into(), request, force: self.force, word };
        (change, ChangeArgs::whole(self.dry_run, self.confirm))
    }
}

fn percent(text: &str) -> Result<f32, String> {
    let number = text.trim_end_matches('%').parse::<f32>().map_err(|error| error.to_string())?;
    if (0.0..=100.0).contains(&number) { Ok(number) } else { Err("it is between 0 and 100".into()) }
}

#[cfg(test)]
mod tests {
    use clap::{Parser, Subcommand};
    use vtflow_planner::{
        CallOptions,
        request::{Request, TrafficChange, Whose},
    };

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Clone, Debug, Subcommand)]
    enum Verb {
        Complete(CompleteArgs),
        Cancel(CancelArgs),
        Mirror(MirrorArgs),
    }

    fn wanted(flags: &[&str]) -> Result<Change, clap::Error> {
        let (verb, flags) = flags.split_first().unwrap();
        let line = Line::try_parse_from([&["vtflow", verb, "customer", "c2c"], flags].concat())?;
        let (change, _) = match line.verb {
            Verb::Complete(args) => args.change(),
            Verb::Cancel(args) => args.change(),
            Verb::Mirror(args) => args.change(),
        };
        Ok(change)
    }

    fn of<M: Message + Default>(path: &str, flags: &[&str]) -> M {
        let change = wanted(flags).unwrap();
        assert_eq!(change.path, path);
        M::decode(change.request.as_slice()).unwrap()
    }

    #[test]
    fn the_defaults_are_the_clients() {
        // As vtctldclient v24 sends them for a MoveTables.
        let complete = MoveTablesCompleteRequest {
            workflow: "c2c".into(),
            target_keyspace: "customer".into(),
            ..MoveTablesCompleteRequest::default()
        };
        assert_eq!(of::<MoveTablesCompleteRequest>(rpc::MOVE_TABLES_COMPLETE, &["complete"]), complete);
        let (keyspace, workflow) = ("customer".to_owned(), "c2c".to_owned());
        let cancel = WorkflowDeleteRequest {
            keyspace: keyspace.clone(),
            workflow: workflow.clone(),
            delete_batch_size: 1000,
            ..WorkflowDeleteRequest::default()
        };
        assert_eq!(of::<WorkflowDeleteRequest>(rpc::WORKFLOW_DELETE, &["cancel"]), cancel);
        let mirror = WorkflowMirrorTrafficRequest { keyspace, workflow, tablet_types: vec![1, 2, 3], percent: 1.0 };
        assert_eq!(of::<WorkflowMirrorTrafficRequest>(rpc::WORKFLOW_MIRROR_TRAFFIC, &["mirror"]), mirror);
    }

    /// What the page previews is what the command does.
    #[test]
    fn the_request_in_plain_fields_is_the_command_without_flags() {
        for (verb, change) in [("complete", TrafficChange::Complete), ("cancel", TrafficChange::Cancel)] {
            let (keyspace, workflow, whose) = ("customer".into(), "c2c".into(), Whose::All);
            let call = Request::Traffic { keyspace, workflow, change, whose }.call(CallOptions::default());
            let command = wanted(&[verb]).unwrap();
            assert_eq!((call.path, call.request), (command.path, command.request), "{verb}");
        }
    }

    #[test]
    fn flags_are_those_of_the_client() {
        let kept = ["--keep-data", "--keep-routing-rules", "--ignore-source-keyspace"];
        let flags = [&["complete"], &kept[..]].concat();
        let complete: MoveTablesCompleteRequest = of(rpc::MOVE_TABLES_COMPLETE, &flags);
        assert!(complete.keep_data && complete.keep_routing_rules && complete.ignore_source_keyspace);
        let renamed: MoveTablesCompleteRequest = of(rpc::MOVE_TABLES_COMPLETE, &["complete", "--rename-tables"]);
        assert!(renamed.rename_tables && !renamed.keep_data && !renamed.dry_run);
        let flags = [&["cancel", "--delete-batch-size=7"], &kept[..]].concat();
        let cancel: WorkflowDeleteRequest = of(rpc::WORKFLOW_DELETE, &flags);
        assert!(cancel.keep_data && cancel.keep_routing_rules && cancel.ignore_source_keyspace);
        assert_eq!(cancel.delete_batch_size, 7);
        let flags = ["mirror", "--percent", "12.5", "--tablet-types", "replica,RDONLY"];
        let mirror: WorkflowMirrorTrafficRequest = of(rpc::WORKFLOW_MIRROR_TRAFFIC, &flags);
        assert_eq!((mirror.percent, mirror.tablet_types), (12.5, vec![2, 3]));
        for wrong in [
            &["complete", "--keep-data", "--rename-tables"][..],
            &["cancel", "--delete-batch-size=0"],
            &["mirror", "--percent=101"],
            &["mirror", "--percent=-1"],
            &["mirror", "--percent=NaN"],
            &["mirror", "--tablet-types=nope"],
        ] {
            assert!(wanted(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn whoever_ends_a_workflow_types_its_name() {
        let word = |flags: &[&str]| wanted(flags).unwrap().word;
        assert_eq!((word(&["complete"]), word(&["cancel"])), (Some("c2c".into()), Some("c2c".into())));
        assert_eq!(word(&["mirror", "--percent=0"]), None, "it can be begun again");
    }
}
