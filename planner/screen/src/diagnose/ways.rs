//! The ways out as commands to copy: `vtflow repair` where it does what is to be done, else the command that goes on with what was begun.

use vtflow_planner::{
    proto::vtflow::{Deviation, DiagnosedWorkflow, Repair, repair_action::Action},
    traffic::{commands, deviation::Mechanism},
};

use crate::{advice::Step, text::Command};

/// The commands of a deviation, each with where it leads. `of`: whose it is.
pub(super) fn commands(deviation: &Deviation, of: &DiagnosedWorkflow) -> Vec<Step> {
    let mechanism = Mechanism::named(&deviation.mechanism);
    let command = |repair: &Repair| match mechanism {
        // Nothing tells it from streams that somebody has stopped, so that a repair leaves it to people.
        Some(it @ Mechanism::DeletionInterrupted) if repair.direction == "forward" => {
            Some(commands::again(it, &of.phase, &of.keyspace, &of.workflow, false))
        }
        Some(Mechanism::DeletionInterrupted) => Some(commands::start(&of.keyspace, &of.workflow)),
        Some(it) => command(repair, it, of),
        None => None,
    };
    let step = |repair: &Repair| Some(Step { why: label(repair).to_owned(), command: command(repair)? });
    let mut steps: Vec<Step> = deviation.repairs.iter().filter_map(step).collect();
    // Of two ways in one direction a repair takes the first that it can.
    steps.dedup();
    steps
}

fn command(repair: &Repair, mechanism: Mechanism, of: &DiagnosedWorkflow) -> Option<String> {
    for action in &repair.actions {
        match &action.action {
            Some(Action::RunAgain(it)) => {
                return Some(commands::again(mechanism, &of.phase, &of.keyspace, &of.workflow, it.at_any_lag));
            }
            // Where a stream has to begin the steps of a switch alone know.
            Some(Action::CreateReverseStream(_)) | None => return None,
            Some(_) => {}
        }
    }
    let way = match repair.direction.as_str() {
        "forward" => "--forward ",
        "back" => "--back ",
        _ => "",
    };
    let flags = format!("{way}--only={}", mechanism.name());
    Some(Command::new("vtflow repair").names(&[&of.keyspace, &of.workflow], &flags))
}

/// Where it leads, in a word.
pub(super) fn label(of: &Repair) -> &'static str {
    match of.direction.as_str() {
        "forward" => "forward",
        "back" => "back",
        _ => "repair",
    }
}
