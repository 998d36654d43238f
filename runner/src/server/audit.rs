//! The line that every change through the server leaves in its log: who asked, for what, and what became of it where.
//!
//! Written whatever else is logged, and once, when the change has ended. Knows no message: a request is shown as its JSON.

use bytes::Bytes;
use vtflow_planner::Reply;

use super::{message::code, record};
use crate::output::json::Document;

/// What is known of a change before it is made.
pub(super) struct Audit {
    /// The RPC's id, as in its own line and its response.
    pub(super) id: String,
    /// A name that was proven: of a password or a certificate. Else the address.
    pub(super) who: String,
    /// The caller's address.
    pub(super) from: String,
    /// The gRPC path.
    pub(super) path: &'static str,
    pub(super) request: Bytes,
}

impl Audit {
    /// Writes the line.
    pub(super) fn ended(self, reply: &Reply) {
        let Self { id, who, from, path, request } = self;
        let rpc = path.trim_start_matches('/').to_owned();
        let mut fields = vec![
            ("id", id),
            ("who", who),
            ("from", from),
            ("rpc", rpc),
            ("request", as_json(path, &request)),
            ("verdict", verdict(reply)),
        ];
        if let Some(written) = &reply.written {
            let target = |outcome: &vtflow_planner::write::Outcome| {
                let vtflow_planner::write::Outcome { keyspace, shard, tablet, verdict, rows, .. } = outcome;
                format!("{keyspace}/{shard} {tablet} {verdict} {rows}")
            };
            let rows: u64 = written.outcomes.iter().map(|outcome| outcome.rows).sum();
            fields.push(("targets", written.outcomes.iter().map(target).collect::<Vec<_>>().join(", ")));
            fields.push(("rows", rows.to_string()));
            fields.push(("plan", written.plan.digest.clone()));
        }
        if let Err(status) = &reply.result {
            fields.push(("error", status.message.clone()));
        }
        record::audit(if reply.result.is_ok() { "info" } else { "warn" }, &fields);
    }
}

/// A change that is forwarded: what became of it is only known by its status.
pub(super) struct ForwardedChange {
    /// As in [`Audit`].
    pub(super) id: String,
    pub(super) who: String,
    pub(super) from: String,
    pub(super) path: String,
    /// The vtctld.
    pub(super) to: String,
}

impl ForwardedChange {
    /// Writes the line. `code` is `None` if nobody saw the end.
    pub(super) fn ended(self, code: Option<i32>) {
        let Self { id, who, from, path, to } = self;
        let rpc = path.trim_start_matches('/').to_owned();
        let verdict = match code {
            Some(code::OK) => "forwarded, done",
            Some(_) => "forwarded, failed",
            None => "forwarded, unknown",
        };
        let mut fields =
            vec![("id", id), ("who", who), ("from", from), ("rpc", rpc), ("to", to), ("verdict", verdict.to_owned())];
        fields.extend(code.map(|code| ("code", code.to_string())));
        record::audit(if code == Some(code::OK) { "info" } else { "warn" }, &fields);
    }
}

/// All of it in one word.
fn verdict(reply: &Reply) -> String {
    let is_begun = reply.written.as_ref().is_some_and(|written| !written.outcomes.is_empty());
    match (&reply.result, is_begun) {
        (Ok(_), true) => "applied",
        (Ok(_), false) => "nothing to do",
        (Err(_), true) => "not all applied",
        (Err(_), false) => "refused",
    }
    .to_owned()
}

/// The request as `vtctldclient` would print it; what cannot be decoded is said to be so.
fn as_json(path: &str, request: &[u8]) -> String {
    if request.len() > SHOWN_BYTES {
        return format!("of {} bytes, too long to be shown", request.len());
    }
    let method = path.rsplit('/').next().unwrap_or_default();
    let document = Document::read(&format!("vtctldata.{method}Request"), request).ok();
    document.and_then(|document| serde_json::to_string(&document).ok()).unwrap_or_else(|| "cannot be decoded".to_owned())
}

/// Bytes of a request that is shown. No request of a person is longer.
const SHOWN_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use prost::Message;
    use vtflow_planner::{Code, Status, proto::vtctldata::CancelSchemaMigrationRequest, rpc};

    use super::*;

    #[test]
    fn requests_are_shown_with_all_they_say() {
        let request = CancelSchemaMigrationRequest { keyspace: "customer".into(), uuid: "all".into(), caller_id: None };
        let text = as_json(rpc::CANCEL_SCHEMA_MIGRATION, &request.encode_to_vec());
        assert!(text.contains("\"keyspace\":\"customer\"") && text.contains("\"uuid\":\"all\""), "{text}");
        assert_eq!(as_json(rpc::CANCEL_SCHEMA_MIGRATION, b"\x0a\x7f"), "cannot be decoded");
        for served in rpc::SERVED.iter().filter(|served| served.effect == vtflow_planner::Effect::Write) {
            assert!(as_json(served.path, b"").starts_with('{'), "{}", served.path);
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_failure() {
        let refused = Err(Status { code: Code::FailedPrecondition, message: "no".into() });
        assert_eq!(verdict(&Reply::new(refused, Vec::new())), "refused");
        assert_eq!(verdict(&Reply::new(Ok(Vec::new()), Vec::new())), "nothing to do");
    }
}
