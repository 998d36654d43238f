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

#[cfg(test)]
mod tests {
    use super::reverse_of;

    // TR-5, TR-6, TR-7.
    #[test]
    fn the_way_back_of_the_way_back_is_the_way_forth() {
        assert_eq!(["aa", "aa_reverse", "aa_reverse_aa"].map(reverse_of), ["aa_reverse", "aa", "aa_reverse_aa_reverse"]);
    }
}
