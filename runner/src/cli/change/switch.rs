//! `vtflow workflow switch|reverse KEYSPACE NAME`: which request each is. The way of it is `confirm.rs`.
//!
//! Source of flags and defaults: `go/cmd/vtctldclient/command/vreplication/common/switchtraffic.go`, v24.

use std::time::Duration;

use clap::{ArgAction, Args};
use prost::Message;
use vtflow_planner::{
    proto::{topodata::TabletType, vtctldata::WorkflowSwitchTrafficRequest, vttime},
    rpc,
};

#[cfg(feature = "embedded")]
use super::rehearse::RehearsalArgs;
use super::{
    confirm::{Change, ChangeArgs, ConfirmArgs},
    rehearsed::Rehearsed,
};
use crate::cli::{duration, read::topology::tablet_type};

#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown, reason = "the texts are shown as help")]
pub(crate) struct SwitchArgs {
    #[command(flatten)]
    traffic: TrafficArgs,
    /// Raise the sequences that the target's tables use above what the tables hold; one that is missing is created
    #[arg(long)]
    initialize_target_sequences: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ReverseArgs {
    #[command(flatten)]
    traffic: TrafficArgs,
}

/// What both directions take.
#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown, reason = "the texts are shown as help")]
struct TrafficArgs {
    /// The target keyspace of the workflow, also when traffic goes back
    keyspace: String,
    /// The workflow's name, without _reverse
    name: String,
    /// Whose traffic is moved: primary is that of writes
    #[arg(long, value_name = "TYPE,...", value_delimiter = ',', default_value = "primary,replica,rdonly", value_parser = tablet_type)]
    tablet_types: Vec<TabletType>,
    /// Cells, or aliases of cells, whose reads are moved; all without it. Writes are moved in all
    #[arg(short, long, value_name = "CELL,...", value_delimiter = ',')]
    cells: Vec<String>,
    /// How far the streams may be behind: nothing is begun if they are further
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    max_replication_lag_allowed: Duration,
    /// How long it is waited for the streams, while writes are refused; what was done is taken back if it takes longer
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,
    /// Whether rows are copied in the other direction afterwards, so that traffic can come back
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true")]
    enable_reverse_replication: bool,
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

impl Rehearsed for SwitchArgs {
    #[cfg(feature = "embedded")]
    fn place(&self) -> (&str, &str) {
        (&self.traffic.keyspace, &self.traffic.name)
    }

    #[cfg(feature = "embedded")]
    fn rehearsal(&self) -> &RehearsalArgs {
        &self.traffic.rehearsal
    }

    #[cfg(feature = "embedded")]
    fn back(&self) -> Option<(&'static str, Change)> {
        Some(("reverse", self.traffic.clone().change(BACK, false).0))
    }

    fn change(self) -> (Change, ChangeArgs) {
        self.traffic.change(FORWARD, self.initialize_target_sequences)
    }
}

impl Rehearsed for ReverseArgs {
    #[cfg(feature = "embedded")]
    fn place(&self) -> (&str, &str) {
        (&self.traffic.keyspace, &self.traffic.name)
    }

    #[cfg(feature = "embedded")]
    fn rehearsal(&self) -> &RehearsalArgs {
        &self.traffic.rehearsal
    }

    #[cfg(feature = "embedded")]
    fn back(&self) -> Option<(&'static str, Change)> {
        Some(("switch", self.traffic.clone().change(FORWARD, false).0))
    }

    fn change(self) -> (Change, ChangeArgs) {
        self.traffic.change(BACK, false)
    }
}

/// Numbers of the request's direction.
const FORWARD: i32 = 0;
const BACK: i32 = 1;

impl TrafficArgs {
    fn change(self, direction: i32, initialize_target_sequences: bool) -> (Change, ChangeArgs) {
        let request = WorkflowSwitchTrafficRequest {
            keyspace: self.keyspace,
            workflow: self.name,
            cells: self.cells,
            tablet_types: self.tablet_types.into_iter().map(i32::from).collect(),
            max_replication_lag_allowed: Some(message(self.max_replication_lag_allowed)),
            enable_reverse_replication: self.enable_reverse_replication,
            direction,
            timeout: Some(message(self.timeout)),
            // A preview has no effects, and needs no field of the message for it.
            dry_run: false,
            initialize_target_sequences,
            shards: Vec::new(),
            force: self.force,
        };
        let (path, request) = (rpc::WORKFLOW_SWITCH_TRAFFIC.into(), request.encode_to_vec());
        (Change { path, request, force: false, word: None }, ChangeArgs::whole(self.dry_run, self.confirm))
    }
}

fn message(duration: Duration) -> vttime::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    vttime::Duration { seconds, nanos: duration.subsec_nanos().cast_signed() }
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
        Switch(SwitchArgs),
        Reverse(ReverseArgs),
    }

    fn wanted(args: &[&str]) -> Result<WorkflowSwitchTrafficRequest, clap::Error> {
        let line = Line::try_parse_from([&["vtflow"], args].concat())?;
        let (change, _) = match line.verb {
            Verb::Switch(args) => args.change(),
            Verb::Reverse(args) => args.change(),
        };
        assert_eq!(change.path, rpc::WORKFLOW_SWITCH_TRAFFIC);
        Ok(WorkflowSwitchTrafficRequest::decode(change.request.as_slice()).unwrap())
    }

    #[test]
    fn the_defaults_are_the_clients() {
        // As vtctldclient v24 sends it.
        let thirty = Some(vttime::Duration { seconds: 30, nanos: 0 });
        let want = WorkflowSwitchTrafficRequest {
            keyspace: "customer".into(),
            workflow: "c2c".into(),
            tablet_types: vec![1, 2, 3],
            max_replication_lag_allowed: thirty,
            enable_reverse_replication: true,
            timeout: thirty,
            ..WorkflowSwitchTrafficRequest::default()
        };
        assert_eq!(wanted(&["switch", "customer", "c2c"]).unwrap(), want);
        let back = WorkflowSwitchTrafficRequest { direction: 1, ..want };
        assert_eq!(wanted(&["reverse", "customer", "c2c"]).unwrap(), back);
    }

    /// What the page previews is what the command does.
    #[test]
    fn the_request_in_plain_fields_is_the_command_without_flags() {
        let asked = |change, whose| {
            let (keyspace, workflow) = ("customer".into(), "c2c".into());
            let call = Request::Traffic { keyspace, workflow, change, whose }.call(CallOptions::default());
            assert_eq!(call.path, rpc::WORKFLOW_SWITCH_TRAFFIC);
            WorkflowSwitchTrafficRequest::decode(call.request.as_slice()).unwrap()
        };
        for (verb, change) in [("switch", TrafficChange::Switch), ("reverse", TrafficChange::Reverse)] {
            for (flags, whose) in [
                (&[][..], Whose::All),
                (&["--tablet-types=replica,rdonly"], Whose::Reads),
                (&["--tablet-types=primary"], Whose::Writes),
            ] {
                assert_eq!(
                    wanted(&[&[verb, "customer", "c2c"], flags].concat()).unwrap(),
                    asked(change, whose),
                    "{verb} {whose:?}"
                );
            }
        }
    }

    #[test]
    fn flags_are_those_of_the_client() {
        let flags = [
            "--tablet-types=REPLICA,rdonly",
            "--cells=zone1,zone2",
            "--max-replication-lag-allowed=1m",
            "--timeout=1500ms",
            "--enable-reverse-replication=false",
            "--initialize-target-sequences",
            "--force",
        ];
        let some = wanted(&[&["switch", "customer", "c2c"], &flags[..]].concat()).unwrap();
        assert_eq!((some.tablet_types, some.cells), (vec![2, 3], vec!["zone1".to_owned(), "zone2".to_owned()]));
        assert_eq!(some.max_replication_lag_allowed, Some(vttime::Duration { seconds: 60, nanos: 0 }));
        assert_eq!(some.timeout, Some(vttime::Duration { seconds: 1, nanos: 500_000_000 }));
        assert!(!some.enable_reverse_replication && some.initialize_target_sequences && some.force);
        for wrong in [&["--timeout=-1s"][..], &["--tablet-types=nope"], &["--shards=-80"], &["--timeout=1000h"]] {
            assert!(wanted(&[&["switch", "customer", "c2c"], wrong].concat()).is_err(), "{wrong:?}");
        }
        assert!(wanted(&["reverse", "customer", "c2c", "--initialize-target-sequences"]).is_err());
    }
}
