//! Requests that write: look first, refuse what cannot be done anywhere, then change every target, then say what became of each.
//!
//! One engine ([`engine`]) runs every kind of write; a kind is a [`verb::Verb`]: what it looks at, what it refuses, which calls
//! it makes, and how a row shows that a call has done its work. Nothing is changed before every target has been looked at and
//! found able to take its change. A call that writes is never made twice: one that failed is followed by a second look, and the
//! reply says `applied`, `not applied` or `unknown` of each target.
//!
//! `docs/design/0004-writes.md` has the reasons.

pub(crate) mod engine;
mod locks;
mod migration;
mod outcome;
mod plan;
mod sources;
mod stream;
mod throttler;
mod traffic;
mod verb;
mod vexec;
mod workflow_delete;
mod workflow_update;

use prost::Message;

use crate::{
    proto::vtctldata::{
        CancelSchemaMigrationRequest, CleanupSchemaMigrationRequest, CompleteSchemaMigrationRequest,
        ForceCutOverSchemaMigrationRequest, LaunchSchemaMigrationRequest, RetrySchemaMigrationRequest, WorkflowDeleteRequest,
        WorkflowUpdateRequest,
    },
    rpc,
};

pub(crate) use migration::Migration;
pub use outcome::{Outcome, Verdict, Written};
pub use plan::{PlannedRow, PlannedWrite, WritePlan};
pub(crate) use throttler::Throttle;
pub(crate) use vexec::VExecWrite;
pub(crate) use workflow_delete::WorkflowDelete;
pub(crate) use workflow_update::WorkflowUpdate;

/// Whether this very request is one that vtflow performs; see [`crate::rpc::serves`].
pub(crate) fn serves(path: &str, request: &[u8]) -> bool {
    match path {
        rpc::CANCEL_SCHEMA_MIGRATION => is_known::<CancelSchemaMigrationRequest>(request, |_| true),
        rpc::CLEANUP_SCHEMA_MIGRATION => is_known::<CleanupSchemaMigrationRequest>(request, |_| true),
        rpc::COMPLETE_SCHEMA_MIGRATION => is_known::<CompleteSchemaMigrationRequest>(request, |_| true),
        rpc::FORCE_CUT_OVER_SCHEMA_MIGRATION => is_known::<ForceCutOverSchemaMigrationRequest>(request, |_| true),
        rpc::LAUNCH_SCHEMA_MIGRATION => is_known::<LaunchSchemaMigrationRequest>(request, |_| true),
        rpc::RETRY_SCHEMA_MIGRATION => is_known::<RetrySchemaMigrationRequest>(request, |_| true),
        // Its bytes are kept where its fields are not known.
        rpc::UPDATE_THROTTLER_CONFIG => throttler::throttles_an_app(request),
        rpc::WORKFLOW_DELETE => is_known(request, |wanted: &WorkflowDeleteRequest| wanted.keep_data && wanted.keep_routing_rules),
        rpc::WORKFLOW_UPDATE => is_known(request, |wanted: &WorkflowUpdateRequest| {
            let tablet = wanted.tablet_request.as_ref();
            tablet.is_none_or(|wanted| wanted.message.is_none() && wanted.filter_rules.is_empty())
        }),
        _ => true,
    }
}

/// Whether a message has no fields but those that are known here, and is one that is wanted. True of what is no such message.
fn is_known<M: Message + Default>(request: &[u8], is_wanted: impl Fn(&M) -> bool) -> bool {
    // A field that is not known is not there when the message is encoded again.
    M::decode(request).map_or(true, |message| message.encoded_len() >= request.len() && is_wanted(&message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_says_whose_a_request_is() {
        let deletion = |keep_data, keep_routing_rules| {
            let workflow = "w".to_owned();
            WorkflowDeleteRequest { workflow, keep_data, keep_routing_rules, ..WorkflowDeleteRequest::default() }.encode_to_vec()
        };
        for (name, path, request, want) in [
            ("kept", rpc::WORKFLOW_DELETE, deletion(true, true), true),
            ("tables go", rpc::WORKFLOW_DELETE, deletion(false, true), false),
            ("rules go", rpc::WORKFLOW_DELETE, deletion(true, false), false),
            ("a field of a later release", rpc::WORKFLOW_DELETE, [deletion(true, true), vec![0xf8, 0x07, 1]].concat(), false),
            ("no message", rpc::WORKFLOW_DELETE, vec![0x0a, 0x7f], true),
            ("a field of a later release", rpc::RETRY_SCHEMA_MIGRATION, vec![0xf8, 0x07, 1], false),
            ("none", rpc::RETRY_SCHEMA_MIGRATION, vec![], true),
            ("a read", rpc::GET_WORKFLOWS, vec![0xf8, 0x07, 1], true),
            ("all keyspaces", rpc::GET_SCHEMA_MIGRATIONS, vec![], false),
            ("one keyspace", rpc::GET_SCHEMA_MIGRATIONS, vec![0x0a, 1, b'k'], true),
            ("an old version", rpc::GET_TOPOLOGY_PATH, vec![0x10, 7], false),
            ("the current version", rpc::GET_TOPOLOGY_PATH, vec![0x0a, 1, b'/'], true),
            ("nobody's", "/vtctlservice.Vtctld/Backup", vec![], false),
        ] {
            assert_eq!(rpc::serves(path, &request), want, "{name} of {path}");
        }
    }
}
