//! Whether a `VDiff` gets on: what its times say, against the clock.

use crate::{health::AHEAD_SECONDS, words::duration};
use vtflow_planner::{contract::Timestamp, formats::time::parse_datetime};

/// Seconds without a sign of life after which a `VDiff` that has started is said to make no progress, and after which one should have started.
const STUCK_SECONDS: i64 = 1_800;

/// Whether a `VDiff` that has started gets on.
pub(super) struct Its {
    pub(super) text: String,
    pub(super) is_stuck: bool,
}

/// `sign`: when it last said anything.
pub(super) fn progress(started: &str, sign: Option<i64>, now: Timestamp) -> Option<Its> {
    let started = moment(started);
    let ago = started.and_then(|then| age(then, now)).map(|age| format!("started {} ago", duration(age)));
    // What was only written when it began tells nothing of what came then.
    let sign = sign.filter(|sign| started.is_none_or(|then| *sign > then));
    let (moved, is_stuck) = match sign.and_then(|sign| age(sign, now)) {
        Some(silent) if silent > STUCK_SECONDS => (Some(format!("no progress for {}", duration(silent))), true),
        Some(_) => (None, false),
        None => (
            started
                .filter(|then| age(*then, now).is_none_or(|age| age > STUCK_SECONDS))
                .map(|_| "when it last moved is not known".into()),
            false,
        ),
    };
    let said: Vec<String> = [ago, moved].into_iter().flatten().collect();
    (!said.is_empty()).then(|| Its { text: said.join(", "), is_stuck })
}

/// What is said of a part that has not started. `created`: when it was made.
pub(super) fn pending(created: Option<i64>, now: Timestamp) -> Its {
    let age = created.and_then(|then| age(then, now));
    let text = match age {
        Some(age) => format!("has not started, created {} ago", duration(age)),
        None => "has not started".into(),
    };
    Its { text, is_stuck: age.is_some_and(|age| age > STUCK_SECONDS) }
}

/// A time that is one: NULL, the zero date and whatever else cannot be read are none.
pub(super) fn moment(text: &str) -> Option<i64> {
    parse_datetime(text).ok().filter(|seconds| *seconds > 0)
}

/// Seconds since then; a time to come is none.
pub(super) fn age(then: i64, now: Timestamp) -> Option<i64> {
    (then <= now.seconds.saturating_add(AHEAD_SECONDS)).then(|| now.seconds.saturating_sub(then).max(0))
}
