//! What the requests want that only go forward, as one type, and what is refused of them before anything is looked at.
//!
//! Facts: `go/vt/vtctl/workflow/server.go` (`MoveTablesComplete`, `WorkflowDelete`, `WorkflowMirrorTraffic`), v24.

use crate::{
    contract::{Call, Code, Mode, Status},
    cutover::request::{Direction, Goal},
    limits,
    operation::decode,
    proto::{
        topodata::TabletType,
        vtctldata::{MoveTablesCompleteRequest, WorkflowDeleteRequest, WorkflowMirrorTrafficRequest},
    },
    topo::names::KeyspaceName,
};

/// What is wanted of a workflow.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "flags of the request, each by itself")]
pub(crate) struct Task {
    /// The keyspace of its target.
    pub(crate) keyspace: String,
    pub(crate) workflow: String,
    pub(crate) verb: Verb,
    /// Tables, and shards of a reshard, stay.
    pub(crate) keep_data: bool,
    pub(crate) keep_rules: bool,
    /// Nothing of the source is looked at or touched.
    pub(crate) ignores_source: bool,
    /// The reply has lines for people, and nothing is done.
    pub(crate) dry_run: bool,
    /// A tablet that cannot be told of a changed record is no reason to stop; frozen streams are none either.
    pub(crate) force: bool,
}

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verb {
    /// It has done its work. `renames`: the source's tables are renamed, not dropped.
    Complete { renames: bool },
    /// It is given up. `batch`: rows of a tenant that are deleted at a time; 0: as many as the tablet likes.
    Cancel { batch: i64 },
    /// This much of the traffic of these types is sent to the target, too.
    Mirror { types: Vec<TabletType>, percent: f32 },
}

impl Task {
    /// Reads `MoveTablesComplete`.
    ///
    /// # Errors
    /// What is refused without a look.
    pub(crate) fn of_complete(call: &Call) -> Result<Self, Status> {
        let wanted: MoveTablesCompleteRequest = decode(call)?;
        let verb = Verb::Complete { renames: wanted.rename_tables };
        Self {
            keep_data: wanted.keep_data,
            keep_rules: wanted.keep_routing_rules,
            ignores_source: wanted.ignore_source_keyspace,
            dry_run: wanted.dry_run,
            ..Self::new(call, wanted.target_keyspace, wanted.workflow, verb)
        }
        .checked(call)
    }

    /// Reads `WorkflowDelete`.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn of_cancel(call: &Call) -> Result<Self, Status> {
        let wanted: WorkflowDeleteRequest = decode(call)?;
        if !wanted.shards.is_empty() || !call.options.shards.is_empty() {
            // Its tables would be dropped on all shards, and its streams stay on some of them.
            let text = "deleting some shards of a workflow with its tables or routing rules";
            let message = format!("vtflow does no {text}: keep both, or send this to a vtctld; nothing was changed");
            return Err(Status { code: Code::Unimplemented, message });
        }
        let verb = Verb::Cancel { batch: wanted.delete_batch_size };
        Self {
            keep_data: wanted.keep_data,
            keep_rules: wanted.keep_routing_rules,
            ignores_source: wanted.ignore_source_keyspace,
            ..Self::new(call, wanted.keyspace, wanted.workflow, verb)
        }
        .checked(call)
    }

    /// Reads `WorkflowMirrorTraffic`.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn of_mirror(call: &Call) -> Result<Self, Status> {
        let wanted: WorkflowMirrorTrafficRequest = decode(call)?;
        let mut types = Vec::new();
        for &number in &wanted.tablet_types {
            match TabletType::try_from(number) {
                Ok(of @ (TabletType::Primary | TabletType::Replica | TabletType::Rdonly)) if types.contains(&of) => {}
                Ok(of @ (TabletType::Primary | TabletType::Replica | TabletType::Rdonly)) => types.push(of),
                Ok(of) => return Err(Status::unknown(format!("invalid tablet type passed {}", of.as_str_name()))),
                Err(_) => return Err(Status::unknown(format!("invalid tablet type passed {number}"))),
            }
        }
        if !(0.0..=100.0).contains(&wanted.percent) {
            // The reference writes it down, and vtgates do with it what they can.
            let message = format!("percent {} is not between 0 and 100; nothing was changed", wanted.percent);
            return Err(Status { code: Code::InvalidArgument, message });
        }
        let verb = Verb::Mirror { types, percent: wanted.percent };
        Self::new(call, wanted.keyspace, wanted.workflow, verb).checked(call)
    }

    fn new(call: &Call, keyspace: String, workflow: String, verb: Verb) -> Self {
        Self {
            keyspace,
            workflow,
            verb,
            keep_data: false,
            keep_rules: false,
            ignores_source: false,
            dry_run: false,
            force: call.options.force,
        }
    }

    fn checked(self, call: &Call) -> Result<Self, Status> {
        KeyspaceName::of_request(&self.keyspace)?;
        if self.workflow.is_empty() {
            let message = "invalid request, no workflow provided".to_owned();
            return Err(Status { code: Code::InvalidArgument, message });
        }
        if self.workflow.len() > limits::WORKFLOW_NAME_BYTES {
            return Err(Status::unknown(format!("no streams found in keyspace {} for {}", self.keyspace, self.workflow)));
        }
        Ok(Self { dry_run: self.dry_run || call.options.mode == Mode::Preview, ..self })
    }

    /// Whose streams and records are looked at.
    pub(crate) fn goal(&self) -> Goal {
        Goal {
            keyspace: self.keyspace.clone(),
            workflow: self.workflow.clone(),
            direction: Direction::Forward,
            writes: false,
            reads: Vec::new(),
            cells: Vec::new(),
            max_lag: 0,
            timeout: 0,
            timeout_text: String::new(),
            enable_reverse: false,
            dry_run: self.dry_run,
            force: self.force,
            sequences: false,
        }
    }
}
