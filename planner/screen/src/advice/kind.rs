//! What a workflow is for, by its type.

use vtflow_planner::proto::vtctldata::Workflow;

/// What a workflow is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    MoveTables,
    Reshard,
    Migrate,
    Materialize,
    Lookup,
    OnlineDdl,
    Other,
}

/// Its type as vtctld names it.
pub(super) fn kind(workflow: &Workflow) -> Kind {
    match workflow.workflow_type.as_str() {
        "MoveTables" => Kind::MoveTables,
        "Reshard" => Kind::Reshard,
        "Migrate" => Kind::Migrate,
        "Materialize" => Kind::Materialize,
        "CreateLookupIndex" => Kind::Lookup,
        "OnlineDDL" => Kind::OnlineDdl,
        _ => Kind::Other,
    }
}
