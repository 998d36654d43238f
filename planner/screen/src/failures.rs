//! What is missing from a reply, and why a request failed: places, texts, and what to try.

use serde::Serialize;

use super::text::Command;
use vtflow_planner::contract::{Failure, Lost};

/// What is missing from a reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The heading: `2 things are missing from this:`.
    pub heading: String,
    /// Each failure, in the reply's order.
    pub parts: Vec<MissingPart>,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingPart {
    /// Where it happened: `customer/-80 zone1-0000000100`.
    pub place: String,
    /// What was said there; may be several lines.
    pub message: String,
    /// What to try next. Empty where there is nothing better than reading the text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// What failures took away; `None` when there are none.
pub fn missing(failures: &[Failure]) -> Option<Missing> {
    let heading = match failures.len() {
        0 => return None,
        1 => "1 thing is missing from this:".to_owned(),
        n => format!("{n} things are missing from this:"),
    };
    let part = |failure: &Failure| MissingPart {
        place: failure.place(),
        message: failure.message.clone(),
        hint: hint(failure).unwrap_or_default(),
    };
    Some(Missing { heading, parts: failures.iter().map(part).collect() })
}

/// What to try next, where there is something better than reading the text.
pub(crate) fn hint(failure: &Failure) -> Option<String> {
    let Failure { keyspace, shard, tablet, .. } = failure;
    match failure.lost {
        Lost::NoPrimary => {
            let shard = format!("{keyspace}/{shard}");
            let command = |words: &str| Command::new(words).names(&[&shard], "");
            Some(format!("try: {}, then {}", command("vtflow get tablets"), command("vtctldclient PlannedReparentShard")))
        }
        Lost::Shard if failure.message.contains("vreplication engine is closed") => {
            Some("the tablet is no primary any more, or not yet: try again, or look at the shard's record".into())
        }
        // A tablet that was called and gave no answer; not one whose record is missing.
        Lost::Shard if failure.message.starts_with(&format!("{tablet} at ")) => {
            Some(format!("try: {}", Command::new("vtctldclient PingTablet").names(&[tablet], "")))
        }
        Lost::Stream
        | Lost::Workflow
        | Lost::Traffic
        | Lost::CopyState
        | Lost::Logs
        | Lost::Shard
        | Lost::Record
        | Lost::Migration => None,
    }
}

/// What to try when a request failed altogether, by the text that it failed with.
pub fn next_step(error: &str) -> Option<&'static str> {
    let step = if error.contains("node doesn't exist:") && error.contains("/keyspaces/") {
        "try: vtflow get keyspaces; or the global root is another one (--topo-global-root)"
    } else if error.starts_with("shard ") && error.contains(" not found in keyspace ") {
        "try: vtflow get shards KEYSPACE"
    } else if error.starts_with("no workflow ") {
        "try: vtflow get workflows KEYSPACE"
    } else if error.starts_with("failed to lock the ") && error.contains(" workflow: deadline exceeded: ") {
        "try: vtflow diagnose KEYSPACE NAME; what a vtctld has left locked that has died, vtflow workflow unlock KEYSPACE NAME takes away"
    } else if error.starts_with("failed to create topo connection to ") {
        "is the topology server running there? --topo-global-server-address names it, the CellInfo records name the cells'"
    } else {
        return None;
    };
    Some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(lost: Lost, message: &str) -> Failure {
        Failure {
            keyspace: "ks".into(),
            shard: "-80".into(),
            tablet: "zone1-0000000100".into(),
            workflow: String::new(),
            lost,
            message: message.into(),
        }
    }

    #[test]
    fn what_is_missing_says_where_and_what_to_try() {
        assert_eq!(missing(&[]), None);
        let said = "zone1-0000000100 at h:1: timed out";
        let of = missing(&[failure(Lost::Shard, said), failure(Lost::Logs, said)]).unwrap();
        assert_eq!(of.heading, "2 things are missing from this:");
        let parts: Vec<_> = of.parts.iter().map(|part| (part.place.as_str(), part.hint.as_str())).collect();
        let place = "ks/-80 zone1-0000000100";
        assert_eq!(parts, [(place, "try: vtctldclient PingTablet zone1-0000000100"), (place, "")]);
        assert_eq!(missing(&[failure(Lost::Logs, said)]).unwrap().heading, "1 thing is missing from this:");
        let hint = hint(&failure(Lost::NoPrimary, "no primary")).unwrap();
        assert_eq!(hint, "try: vtflow get tablets ks/-80, then vtctldclient PlannedReparentShard ks/-80");
    }

    #[test]
    fn a_request_that_failed_says_what_to_try_where_something_is_known() {
        let step = next_step("node doesn't exist: /vitess/global/keyspaces/nope/shards/");
        assert!(step.unwrap().starts_with("try: vtflow get keyspaces"), "{step:?}");
        assert_eq!(next_step("shard 80- not found in keyspace ks"), Some("try: vtflow get shards KEYSPACE"));
        assert_eq!(next_step("a shard 80- not found in keyspace ks"), None);
        let step = next_step(
            "failed to lock the ks/wf workflow: deadline exceeded: /vt/internal/named_locks/ks/wf/locks\nit is held by {}",
        );
        assert!(step.unwrap().contains("vtflow workflow unlock KEYSPACE NAME"), "{step:?}");
        assert_eq!(next_step("failed to lock the ks keyspace: deadline exceeded: x"), None, "it ends by itself");
    }
}
