//! The names of a workflow's two directions.

/// What the name of a workflow ends with that goes the other way. Source: `go/vt/vtctl/workflow/utils.go:ReverseWorkflowName`.
const REVERSE: &str = "_reverse";

/// The name of the workflow whose other direction this one is; `None` if it is none.
pub fn forward_of(workflow: &str) -> Option<&str> {
    workflow.strip_suffix(REVERSE)
}

/// The name of a workflow's other direction.
pub fn reverse_of(workflow: &str) -> String {
    forward_of(workflow).map_or_else(|| format!("{workflow}{REVERSE}"), str::to_owned)
}
