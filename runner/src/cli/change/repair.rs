//! `vtflow repair KEYSPACE [WORKFLOW]`: which request it is. The way of it is `confirm.rs`.

use std::process::ExitCode;

use clap::{Args, builder::PossibleValuesParser};
use prost::Message;
use vtflow_planner::{proto::vtflow::RepairRequest, rpc, traffic::deviation::Mechanism};

#[cfg(feature = "embedded")]
use super::rehearse::RehearsalArgs;
use super::{
    confirm::{Change, ChangeArgs, ConfirmArgs},
    rehearsed::{self, Rehearsed},
};
use crate::cli::cluster::open::OpenCluster;

#[derive(Args, Clone, Debug)]
pub(crate) struct RepairArgs {
    /// On whichever side of its workflows
    keyspace: String,
    /// One of the keyspace's workflows, by either direction's name; without it all of them, and what belongs to no workflow
    workflow: Option<String>,
    #[command(flatten)]
    way: Way,
    /// Only this, by its name in `diagnose -o json`; may be given several times
    #[arg(long, value_name = "MECHANISM", value_delimiter = ',', hide_possible_values = true, value_parser = mechanisms())]
    only: Vec<String>,
    /// Tell all tablets of the workflow to read their shards' records again, also where nothing is wrong by the records
    #[arg(long)]
    refresh: bool,
    /// Also sequences that are not ahead of their tables, of the whole keyspace, as `diagnose --sequences` tells of them
    #[arg(long, conflicts_with = "workflow")]
    sequences: bool,
    /// Print the steps with every call and change nothing; with -o json it is what `vtflow apply` takes
    #[arg(long)]
    dry_run: bool,
    #[cfg(feature = "embedded")]
    #[command(flatten)]
    rehearsal: RehearsalArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Neither: only what has one way.
#[derive(Args, Clone, Copy, Debug)]
struct Way {
    /// Where two ways are open, to the end of what was begun
    #[arg(long, conflicts_with = "back")]
    forward: bool,
    /// Where two ways are open, back to where it was before
    #[arg(long)]
    back: bool,
}

fn mechanisms() -> PossibleValuesParser {
    PossibleValuesParser::new(Mechanism::ALL.iter().map(|mechanism| mechanism.name()))
}

impl Rehearsed for RepairArgs {
    #[cfg(feature = "embedded")]
    fn place(&self) -> (&str, &str) {
        (&self.keyspace, self.workflow.as_deref().unwrap_or_default())
    }

    #[cfg(feature = "embedded")]
    fn rehearsal(&self) -> &RehearsalArgs {
        &self.rehearsal
    }

    fn change(self) -> (Change, ChangeArgs) {
        let direction = match (self.way.forward, self.way.back) {
            (true, _) => "forward",
            (_, true) => "back",
            _ => "",
        };
        let request = RepairRequest {
            keyspace: self.keyspace,
            workflow: self.workflow.unwrap_or_default(),
            direction: direction.into(),
            only: self.only,
            // A preview has no effects, and needs no field of the message for it.
            dry_run: false,
            refresh: self.refresh,
            sequences: self.sequences,
        };
        let change = Change { path: rpc::REPAIR.into(), request: request.encode_to_vec(), force: false, word: None };
        (change, ChangeArgs::whole(self.dry_run, self.confirm))
    }
}

pub(crate) async fn run(cluster: &OpenCluster, args: RepairArgs) -> anyhow::Result<ExitCode> {
    rehearsed::run(cluster, args).await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RepairArgs,
    }

    fn wanted(args: &[&str]) -> Result<RepairRequest, clap::Error> {
        let line = Line::try_parse_from([&["repair"], args].concat())?;
        Ok(RepairRequest::decode(line.args.change().0.request.as_slice()).unwrap())
    }

    #[test]
    fn flags_are_fields_of_the_request() {
        let want = RepairRequest { keyspace: "customer".into(), ..RepairRequest::default() };
        assert_eq!(wanted(&["customer"]).unwrap(), want);
        let only = vec!["writes_closed".to_owned(), "target_denied".to_owned()];
        assert!(wanted(&["customer", "--sequences"]).unwrap().sequences);
        let some = RepairRequest { workflow: "c2c".into(), direction: "back".into(), only, refresh: true, ..want };
        let args = ["customer", "c2c", "--back", "--only=writes_closed", "--only=target_denied", "--refresh", "--dry-run"];
        assert_eq!(wanted(&args).unwrap(), some);
        assert_eq!(wanted(&["customer", "c2c", "--forward"]).unwrap().direction, "forward");
        for wrong in
            [&["customer", "--forward", "--back"][..], &["customer", "--only=nope"], &["customer", "c2c", "--sequences"], &[]]
        {
            assert!(wanted(wrong).is_err(), "{wrong:?}");
        }
    }
}
