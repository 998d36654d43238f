//! What a `WorkflowUpdate` wants of each stream: the tablet's request, checked and complete, and the row that it makes of one.

use std::collections::BTreeMap;

use crate::{
    contract::{Code, Status},
    formats::{binlog_source, options},
    limits,
    proto::{
        binlogdata::{OnDdlAction, VReplicationWorkflowState},
        tabletmanagerdata::{TabletSelectionPreference, UpdateVReplicationWorkflowRequest},
        topodata::TabletType,
    },
    sidecar::literal::quote,
    write::stream::Stream,
};

/// Source: `go/textutil/strings.go:SimulatedNullStringSlice`, `SimulatedNullInt`.
const UNCHANGED: (&str, i32) = ("NULL", -1);

/// A request that every release reads alike.
pub(super) struct StreamUpdate {
    pub(super) request: UpdateVReplicationWorkflowRequest,
}

impl StreamUpdate {
    /// Takes a client's request.
    ///
    /// # Errors
    /// What no tablet could do: no workflow, the state `Unknown`, a v17 client's message, fields that this server does not offer.
    pub(super) fn new(mut wanted: UpdateVReplicationWorkflowRequest, keyspace: &str) -> Result<Self, Status> {
        let invalid = |message: String| Err(Status { code: Code::InvalidArgument, message });
        if wanted.workflow.is_empty() {
            return invalid("invalid request, no workflow provided".into());
        }
        if wanted.workflow.len() > limits::WORKFLOW_NAME_BYTES {
            return Err(Status::unknown(format!("the {} workflow does not exist in the {keyspace} keyspace", wanted.workflow)));
        }
        if wanted.tablet_types.iter().any(|&number| number > TabletType::Drained as i32) {
            let text =
                "tablet types that are none: this is the message of a v17 client, which later releases read as something else";
            return Err(Status { code: Code::FailedPrecondition, message: format!("{text}; use a client of v18 or later") });
        }
        if wanted.state == Some(VReplicationWorkflowState::Unknown as i32) {
            return invalid("a workflow cannot be put into the state Unknown".into());
        }
        if wanted.message.is_some() || !wanted.filter_rules.is_empty() {
            let message = "message and filter_rules of a workflow are not changed by vtflow: send this to a vtctld".into();
            return Err(Status { code: Code::Unimplemented, message });
        }
        let states = [VReplicationWorkflowState::Running as i32, VReplicationWorkflowState::Stopped as i32, UNCHANGED.1];
        if let Some(state) = wanted.state.filter(|state| !states.contains(state)) {
            return invalid(format!("a workflow can be put into the states Running and Stopped only, not into number {state}"));
        }
        if let Some(action) = wanted.on_ddl.filter(|&action| action != UNCHANGED.1 && OnDdlAction::try_from(action).is_err()) {
            return invalid(format!("invalid on-ddl value: {action}"));
        }
        // Tablets put them into their statement as they are.
        let is_unsafe = |text: &String| text.contains(['\'', '"', '\\', '\0']);
        if let Some((key, value)) = wanted.config_overrides.iter().find(|(key, value)| is_unsafe(key) || is_unsafe(value)) {
            return invalid(format!("config override {key:?}={value:?} has a quote or a backslash, which tablets do not escape"));
        }
        normalize(&mut wanted);
        Ok(Self { request: wanted })
    }

    /// What a stream's row becomes, column by column; only columns that the request names.
    pub(super) fn assignments(&self, stream: &Stream) -> Vec<(&'static str, String)> {
        let mut assignments = Vec::new();
        if let Some(state) = self.state() {
            assignments.push(("state", quote(state)));
        }
        if let Some(action) = self.on_ddl() {
            assignments.push(("source", format!("{} /* with on_ddl {action} */", quote(&stream.source))));
        }
        if self.request.cells != [UNCHANGED.0] {
            assignments.push(("cell", quote(&self.request.cells.join(","))));
        }
        if let Some(types) = self.tablet_types(&stream.tablet_types) {
            assignments.push(("tablet_types", quote(&types)));
        }
        if !self.request.config_overrides.is_empty() {
            assignments.push(("options", overrides(&self.request.config_overrides)));
        }
        assignments
    }

    /// The state that streams get, if they get one.
    pub(super) fn state(&self) -> Option<&'static str> {
        let number = self.request.state.filter(|&state| state != UNCHANGED.1)?;
        VReplicationWorkflowState::try_from(number).ok().map(|state| state.as_str_name())
    }

    /// What streams do with DDL from now on, if that changes.
    pub(super) fn on_ddl(&self) -> Option<&'static str> {
        let number = self.request.on_ddl.filter(|&action| action != UNCHANGED.1)?;
        OnDdlAction::try_from(number).ok().map(|action| action.as_str_name())
    }

    /// The column's text, if it changes.
    fn tablet_types(&self, stored: &str) -> Option<String> {
        let preference = self.request.tablet_selection_preference.unwrap_or_default();
        let types = &self.request.tablet_types;
        let is_kept = *types == [UNCHANGED.1];
        if is_kept && preference == TabletSelectionPreference::Unknown as i32 {
            return None;
        }
        let (was_in_order, list) = match stored.strip_prefix("in_order:") {
            Some(list) => (true, list),
            None => (false, stored),
        };
        let name = |&number: &i32| {
            TabletType::try_from(number).map_or_else(|_| number.to_string(), |kind| kind.as_str_name().to_lowercase())
        };
        let list = if is_kept { list.to_lowercase() } else { types.iter().map(name).collect::<Vec<_>>().join(",") };
        let in_order = preference == TabletSelectionPreference::Inorder as i32
            || preference == TabletSelectionPreference::Unknown as i32 && was_in_order;
        Some(if in_order { format!("in_order:{list}") } else { list })
    }

    /// Whether a stream's row is as the request wants it.
    pub(super) fn is_as_wanted(&self, before: &Stream, after: &Stream) -> bool {
        let state = self.state().is_none_or(|state| {
            after.state == state || state == "Running" && matches!(after.state.as_str(), "Copying" | "Lagging" | "Init")
        });
        let cells = self.request.cells == [UNCHANGED.0] || after.cell == self.request.cells.join(",");
        let types = self.tablet_types(&before.tablet_types).is_none_or(|types| types == after.tablet_types);
        let on_ddl = self
            .request
            .on_ddl
            .filter(|&action| action != UNCHANGED.1)
            .is_none_or(|action| binlog_source::parse(after.source.as_bytes()).is_ok_and(|source| source.on_ddl == action));
        let mut stored = None;
        let is_readable = options::apply(&mut stored, &after.options).is_ok();
        let config = stored.unwrap_or_default().config;
        let overrides = self.request.config_overrides.is_empty()
            || is_readable
                && self.request.config_overrides.iter().all(|(key, value)| match value.trim() {
                    "" => !config.contains_key(key),
                    _ => config.get(key) == Some(value),
                });
        state && cells && types && on_ddl && overrides
    }
}

/// What is left out gets the value that every release reads as "unchanged", and what VTAdmin's buttons leave out is meant so.
fn normalize(wanted: &mut UpdateVReplicationWorkflowRequest) {
    let is_button = wanted.state.is_some()
        && wanted.cells.is_empty()
        && wanted.tablet_types.is_empty()
        && wanted.tablet_selection_preference.is_none()
        && wanted.on_ddl.is_none()
        && wanted.config_overrides.is_empty();
    if is_button {
        wanted.cells = vec![UNCHANGED.0.into()];
        wanted.tablet_types = vec![UNCHANGED.1];
    }
    let keeps_types = wanted.tablet_types == [UNCHANGED.1];
    let unsaid = if keeps_types { TabletSelectionPreference::Unknown } else { TabletSelectionPreference::Any };
    wanted.tablet_selection_preference.get_or_insert(unsaid as i32);
    wanted.on_ddl.get_or_insert(UNCHANGED.1);
    wanted.state.get_or_insert(UNCHANGED.1);
}

/// The expression that a tablet makes of overrides: setting one forgets the ones before.
fn overrides(wanted: &BTreeMap<String, String>) -> String {
    let path = |key: &String| quote(&format!("$.config.\"{key}\""));
    let (removed, set): (Vec<_>, Vec<_>) = wanted.iter().partition(|(_, value)| value.trim().is_empty());
    let mut text = "options".to_owned();
    if !removed.is_empty() {
        let paths: Vec<String> = removed.into_iter().map(|(key, _)| path(key)).collect();
        text = format!("json_remove({text}, {})", paths.join(", "));
    }
    if !set.is_empty() {
        let pairs: Vec<String> = set.into_iter().map(|(key, value)| format!("{}, {}", path(key), quote(value))).collect();
        text = format!("json_set({text}, '$.config', json_object(), {})", pairs.join(", "));
    }
    text
}
