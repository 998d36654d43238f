//! How far behind streams are, in the two measures of the reply.

use crate::{contract::Timestamp, proto::binlogdata::VReplicationWorkflowState as State, sidecar::stream::StreamRow};

/// Nanoseconds since the stream last wrote its row, saturated like a Go `time.Duration` (±292 years).
///
/// `time_updated` is passed through unchecked: a stream that never ran can hold a `YYYYMMDDhhmmss` number there, which lies
/// far in the future. Source: `go/vt/vtctl/workflow/workflows.go:scanWorkflow`, v22 on.
fn since_update_nanos(now: Timestamp, time_updated: i64) -> i64 {
    let seconds = i128::from(now.seconds) - i128::from(time_updated);
    let nanos = seconds * 1_000_000_000 + i128::from(now.nanos);
    i64::try_from(nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX))).unwrap_or(i64::MAX)
}

/// `max_v_replication_lag` as it grows stream by stream: whole seconds, never below 0.
pub(crate) fn grow_lag(max_nanos: &mut i64, now: Timestamp, stream: &StreamRow<'_>) {
    *max_nanos = (*max_nanos).max(since_update_nanos(now, stream.time_updated));
}

/// Seconds that the stream's last applied transaction is behind, by the stored state.
///
/// * Copying: `i64::MAX`, there is no meaningful lag. (vtctld overflows it to `i64::MIN` on amd64: `docs/compat.md`.)
/// * No transaction yet, or an idle stream whose heartbeat wrote the row last: the age of the row.
/// * Source: `go/vt/vtctl/workflow/workflows.go:getVReplicationTrxLag`, v22 on.
pub(crate) fn transaction_lag(now: Timestamp, stream: &StreamRow<'_>) -> i64 {
    if stream.state == State::Copying as i32 {
        return i64::MAX;
    }
    let (transaction, updated) = (stream.transaction_timestamp, stream.time_updated);
    let last = match transaction {
        0 => updated,
        _ if updated == stream.time_heartbeat => updated.max(transaction),
        _ => transaction,
    };
    now.seconds.saturating_sub(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(state: State, transaction: i64, updated: i64, heartbeat: i64) -> StreamRow<'static> {
        StreamRow {
            state: state as i32,
            transaction_timestamp: transaction,
            time_updated: updated,
            time_heartbeat: heartbeat,
            ..StreamRow::default()
        }
    }

    #[test]
    fn lag_is_the_age_of_the_oldest_row() {
        let now = Timestamp { seconds: 1_000_100, nanos: 900_000_000 };
        for (name, updates, want) in [
            ("GW-19: the older of two, truncated", &[1_000_000, 1_000_050][..], 100),
            ("GW-20: only in the future", &[2_000_000][..], 0),
            ("a YYYYMMDDhhmmss number", &[20_251_123_073_112][..], 0),
            ("saturates as a Go duration does", &[-9_000_000_000_000][..], 9_223_372_036),
            ("never ran", &[0][..], 1_000_100),
        ] {
            let mut max = 0;
            for &updated in updates {
                grow_lag(&mut max, now, &stream(State::Running, 0, updated, 0));
            }
            assert_eq!(max / 1_000_000_000, want, "{name}");
        }
    }

    #[test]
    fn transaction_lag_follows_the_stored_state() {
        let now = Timestamp { seconds: 1000, nanos: 0 };
        for (name, state, transaction, updated, heartbeat, want) in [
            ("GW-21: busy", State::Running, 990, 999, 0, 10),
            ("GW-22: idle", State::Running, 900, 999, 999, 1),
            ("GW-23: no transaction yet", State::Running, 0, 995, 0, 5),
            ("GW-24: copying", State::Copying, 990, 999, 0, i64::MAX),
            ("MX-1: idle, heartbeat newer than the transaction", State::Running, 990, 995, 995, 5),
            ("MX-2: all equal", State::Running, 995, 995, 995, 5),
            ("a heartbeat older than the transaction", State::Running, 995, 990, 990, 5),
            ("the tablet's clock is ahead", State::Running, 1003, 1003, 0, -3),
            ("hostile", State::Running, i64::MIN, 0, 1, i64::MAX),
        ] {
            assert_eq!(transaction_lag(now, &stream(state, transaction, updated, heartbeat)), want, "{name}");
        }
    }
}
