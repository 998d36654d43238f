//! The line that every change through the server leaves in its log: who asked, for what, and what became of it where; also one
//! that was refused, and why.
//!
//! Written whatever else is logged, and once, when the change has ended. Knows no message: a request is shown as its JSON.

use bytes::Bytes;
use vtflow_planner::Reply;

use super::refusal::Refusal;
use crate::{
    log::{self, queue::Room, sparing::Sparing},
    net::grpc::code,
    outage::{self, Outages},
    output::json::Document,
};

/// What is known of a change before it is made.
pub(super) struct Audit {
    /// The RPC's id, as in its own line and its response.
    pub(super) id: String,
    /// A name that was proven: of a password or a certificate. Else the address.
    pub(super) who: String,
    /// The caller's address.
    pub(super) from: String,
    /// The gRPC path.
    pub(super) path: String,
    /// `None` as long as it has not been read.
    pub(super) request: Option<Bytes>,
}

/// A change that has its turn: it leaves a line however it ends.
pub(super) struct Begun(Option<Audit>);

impl Audit {
    /// From here on it is at work.
    pub(super) fn begun(self) -> Begun {
        Begun(Some(self))
    }

    /// Writes the line of a change that is refused before anything was asked of the cluster. It has no room of its own in the queue: who
    /// may not change anything must not crowd out the lines of what is changed.
    pub(super) fn refused(self, refusal: &Refusal) {
        log::audit("warn", &self.refusal(refusal), Room::Common);
    }

    /// The same for somebody who is not let in: a few lines at a time, the others are counted.
    pub(super) fn kept_out(self, refusal: &Refusal, strangers: &Sparing) {
        strangers.audit(&self.refusal(refusal));
    }

    fn refusal(self, refusal: &Refusal) -> Vec<(&'static str, String)> {
        let mut fields = self.fields("refused");
        fields.extend([("code", refusal.code.to_string()), ("error", refusal.message.clone())]);
        fields
    }

    fn fields(self, verdict: &str) -> Vec<(&'static str, String)> {
        let Self { id, who, from, path, request } = self;
        let rpc = path.trim_start_matches('/').to_owned();
        let mut fields = vec![("id", id), ("who", who), ("from", from), ("rpc", rpc)];
        fields.extend(request.map(|request| ("request", as_json(&path, &request))));
        fields.push(("verdict", verdict.to_owned()));
        fields
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(audit) = self.0.take() {
            let mut fields = audit.fields("unknown");
            fields.push(("error", "it broke off inside the server: look at what became of it".to_owned()));
            log::audit("error", &fields, Room::Audit);
        }
    }
}

impl Begun {
    /// Writes the line.
    pub(super) fn ended(mut self, reply: &Reply, outages: &Outages) {
        let Some(audit) = self.0.take() else { return };
        let mut fields = audit.fields(verdict(reply));
        if let Some(written) = &reply.written {
            let target = |outcome: &vtflow_planner::contract::Outcome| {
                let vtflow_planner::contract::Outcome { keyspace, shard, tablet, verdict, rows, .. } = outcome;
                format!("{keyspace}/{shard} {tablet} {verdict} {rows}")
            };
            let rows: u64 = written.outcomes.iter().map(|outcome| outcome.rows).sum();
            fields.push(("targets", written.outcomes.iter().map(target).collect::<Vec<_>>().join(", ")));
            fields.push(("rows", rows.to_string()));
            fields.push(("plan", written.plan.digest.clone()));
            if let Some(refuses) = &written.plan.refuses {
                let ended = outages.ended(refuses, &written.refused);
                let lines = [outage::told(refuses, &ended), outage::trouble(refuses, &ended)].concat();
                fields.extend((!lines.is_empty()).then(|| ("outage", lines.join("; "))));
            }
        }
        if let Err(status) = &reply.result {
            fields.push(("error", status.message.clone()));
        }
        log::audit(if reply.result.is_ok() { "info" } else { "warn" }, &fields, Room::Audit);
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
        log::audit(if code == Some(code::OK) { "info" } else { "warn" }, &fields, Room::Audit);
    }
}

/// All of it in one word.
fn verdict(reply: &Reply) -> &'static str {
    let is_begun = reply.written.as_ref().is_some_and(|written| !written.outcomes.is_empty());
    match (&reply.result, is_begun) {
        (Ok(_), true) => "applied",
        (Ok(_), false) => "nothing to do",
        (Err(_), true) => "not all applied",
        (Err(_), false) => "refused",
    }
}

/// The request as `vtctldclient` would print it; what cannot be decoded is said to be so.
fn as_json(path: &str, request: &[u8]) -> String {
    if request.len() > SHOWN_BYTES {
        return format!("of {} bytes, too long to be shown", request.len());
    }
    let method = path.rsplit('/').next().unwrap_or_default();
    // Requests of our own are of our own package.
    let package = if path.starts_with("/vtflow.") { "vtflow" } else { "vtctldata" };
    let document = Document::read(&format!("{package}.{method}Request"), request).ok();
    document.and_then(|document| serde_json::to_string(&document).ok()).unwrap_or_else(|| "cannot be decoded".to_owned())
}

/// Bytes of a request that is shown. No request of a person is longer.
const SHOWN_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use prost::Message;
    use vtflow_planner::{Code, Status, proto::vtctldata::CancelSchemaMigrationRequest, rpc, serve};

    use super::*;

    #[test]
    fn requests_are_shown_with_all_they_say() {
        let request = CancelSchemaMigrationRequest { keyspace: "customer".into(), uuid: "all".into(), caller_id: None };
        let text = as_json(rpc::CANCEL_SCHEMA_MIGRATION, &request.encode_to_vec());
        assert!(text.contains("\"keyspace\":\"customer\"") && text.contains("\"uuid\":\"all\""), "{text}");
        assert_eq!(as_json(rpc::CANCEL_SCHEMA_MIGRATION, b"\x0a\x7f"), "cannot be decoded");
        for served in serve::SERVED.iter().filter(|served| served.effect == vtflow_planner::Effect::Write) {
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
