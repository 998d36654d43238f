//! Calls of tablets: what each asks for, and what shows that it is done.

use super::{Act, Call, Sign, Then, Undo};
use crate::{
    contract::{TabletAddress, What},
    cutover::scene::Member,
    proto::tabletmanagerdata::{PrimaryPositionRequest, RefreshStateRequest, VReplicationWaitForPosRequest},
    rpc,
    sidecar::query::Query,
};

impl Call {
    pub(in crate::cutover) fn new(on: &Member, query: Query) -> Self {
        Self {
            keyspace: on.keyspace.clone(),
            shard: on.shard.clone(),
            db_name: on.db_name.clone(),
            tablet: on.primary.clone(),
            query,
            limit_ms: 0,
            then: Then::Nothing,
            shown_by: None,
            undo: None,
            is_best_effort: false,
            is_vital: false,
            failure: String::new(),
            done_by: &[],
        }
    }

    /// The ask that makes it.
    pub(crate) fn ask(&self) -> What {
        self.asked(&self.query, self.limit_ms)
    }

    /// The ask that looks what became of it.
    pub(crate) fn look(&self) -> Option<What> {
        self.shown_by.as_ref().map(|(query, _)| self.asked(query, 0))
    }

    fn asked(&self, query: &Query, limit_ms: u32) -> What {
        match query.call(&self.tablet, &self.keyspace, &self.shard, &self.db_name) {
            What::TabletCall { tablet, path, request, effect, about, .. } => {
                What::TabletCall { tablet, path, request, effect, limit_ms, about }
            }
            other => other,
        }
    }

    /// The same call once more, if it waits for a position and its time was one of the first ones, which are short.
    pub(crate) fn waits_on(&self) -> Option<Self> {
        let Then::Reached { seconds, waits } = self.then else { return None };
        if waits >= FIRST_WAITS_MS.len() {
            return None;
        }
        let waits = waits + 1;
        let limit_ms = FIRST_WAITS_MS.get(waits).copied();
        let limit_ms = limit_ms.unwrap_or_else(|| seconds.saturating_mul(1000).saturating_add(WAY_MS));
        Some(Self { limit_ms, then: Then::Reached { seconds, waits }, ..self.clone() })
    }

    pub(in crate::cutover) fn boxed(self) -> Act {
        Act::Call(Box::new(self))
    }
}

/// A statement on the tables of vreplication that changes rows.
pub(crate) fn statement(on: &Member, subject: &'static str, text: String, look: (String, Sign), undo: Option<Undo>) -> Act {
    let query = Query::vreplication(subject, text).that_writes();
    let shown_by = Some((Query::vreplication("look again", look.0), look.1));
    Call { shown_by, undo, ..Call::new(on, query) }.boxed()
}

/// A tablet reads its shard's record.
pub(crate) fn refresh(on: &Member, tablet: &TabletAddress) -> Act {
    let query = Query::typed(rpc::REFRESH_STATE, &RefreshStateRequest {}, "refresh").that_writes();
    let failure = format!("failed to refresh tablet {}: ", tablet.alias);
    Call { tablet: tablet.clone(), failure, ..Call::new(on, query) }.boxed()
}

/// The primary of a shard that is closed, or opened again, reads that: one that did not would take writes that nobody copies, or none
/// although all is said to be taken back.
pub(crate) fn close_primary(on: &Member) -> Act {
    match refresh(on, &on.primary) {
        Act::Call(call) => Call { is_vital: true, ..*call }.boxed(),
        other => other,
    }
}

/// All tablets of a shard are told to read its record, its primary without excuse.
pub(crate) fn tell(on: &Member) -> Vec<Act> {
    let others = on.tablets.iter().filter(|tablet| tablet.alias != on.primary.alias);
    others.map(|tablet| refresh(on, tablet)).chain([close_primary(on)]).collect()
}

/// The tablets of a shard that is open again, but its primary, are told: one that has read that it is closed, as it was started or
/// promoted, would go on refusing, now or when it is promoted some day. The shard waits for none of them.
pub(crate) fn tell_others(on: &Member) -> Vec<Act> {
    on.tablets.iter().filter(|tablet| tablet.alias != on.primary.alias).map(|tablet| tell_newcomer(on, tablet)).collect()
}

/// The same of one tablet.
pub(crate) fn tell_newcomer(on: &Member, tablet: &TabletAddress) -> Act {
    match refresh(on, tablet) {
        Act::Call(call) => Call { is_best_effort: true, limit_ms: TELL_LIMIT_MS, ..*call }.boxed(),
        other => other,
    }
}

/// Waits for statements that had begun before the tables were denied.
///
/// `attempt`: which of two this is.
pub(crate) fn lock_tables(on: &Member, tables: &[String], attempt: u32) -> Act {
    let names: Vec<String> = tables.iter().map(|table| format!("`{}` READ", table.replace('`', "``"))).collect();
    let statement = format!("LOCK TABLES {}", names.join(","));
    let query = Query::dba_tables("lock tables", statement, &on.db_name, false);
    let failure = format!("failed to execute LOCK TABLES (attempt {attempt} of 2) on sources: ");
    Call { failure, ..Call::new(on, query) }.boxed()
}

/// A tenth of a second on the tablet itself: a statement that had passed the list of denied tables gets to its locks meanwhile.
pub(crate) fn pause(on: &Member) -> Act {
    Call::new(on, Query::dba_row("pause", "select sleep(0.1)".into(), &on.db_name)).boxed()
}

/// A statement that changes nothing and is in the binary log, so that every stream has something to note its position for. A stream
/// whose filter takes none of the last transactions notes it after a second without any
/// (`go/vt/vttablet/tabletmanager/vreplication/vplayer.go:applyEvents`); a `FLUSH` goes to each of them, whatever its filter
/// (`go/vt/vttablet/tabletserver/vstreamer/vstreamer.go:parseEvent`), and is noted at once. Where it fails, the wait is longer.
pub(crate) fn nudge(on: &Member) -> Act {
    let query = Query::dba_row("nudge streams", "FLUSH OPTIMIZER_COSTS".into(), &on.db_name);
    Call { is_best_effort: true, limit_ms: NUDGE_LIMIT_MS, ..Call::new(on, query.that_writes()) }.boxed()
}

/// Where a primary is.
pub(crate) fn position(on: &Member, then: Then) -> Act {
    let failure = match &then {
        Then::SourcePosition(_) => {
            let alias = &on.primary.alias;
            format!(
                "failed to gather replication positions on migration sources: failed to get position on migration source {alias}: "
            )
        }
        _ => format!("failed to get position on migration target {}: ", on.primary.alias),
    };
    Call { then, failure, ..Call::new(on, Query::typed(rpc::PRIMARY_POSITION, &PrimaryPositionRequest {}, "position")) }.boxed()
}

/// How long a tablet is let wait for a position each time before it is asked anew. A tablet looks when it is asked, and then once a
/// second (`go/vt/vttablet/tabletmanager/vreplication/engine.go:WaitForPos`), while a stream that is a few transactions behind is there
/// within milliseconds: and writes are refused all that time. In the end it is let wait for as long as the request allows.
const FIRST_WAITS_MS: [u32; 12] = [25, 25, 50, 50, 100, 100, 150, 150, 200, 200, 300, 300];

/// How long a tablet may take that the rest does not need, in milliseconds: one that is being promoted answers when it has been.
const TELL_LIMIT_MS: u32 = 5_000;

/// How long a nudge may take, in milliseconds: as much as it saves.
const NUDGE_LIMIT_MS: u32 = 1_000;

/// What is allowed for the way to a tablet and back when it waits for long, in milliseconds.
const WAY_MS: u32 = 10_000;

/// Waits until a stream has come to a position.
pub(crate) fn wait_for_position(on: &Member, stream: i64, position: &str, seconds: i64) -> Act {
    let id = i32::try_from(stream).unwrap_or(i32::MAX);
    let request = VReplicationWaitForPosRequest { id, position: position.into() };
    let query = Query::typed(rpc::VREPLICATION_WAIT_FOR_POS, &request, "wait for position");
    let limit_ms = FIRST_WAITS_MS.first().copied().unwrap_or_default();
    let then = Then::Reached { seconds: u32::try_from(seconds).unwrap_or(u32::MAX), waits: 0 };
    Call { limit_ms, then, ..Call::new(on, query) }.boxed()
}

/// Whether a tablet's user may manage streams.
pub(crate) fn permissions(on: &Member) -> Act {
    let request = crate::proto::tabletmanagerdata::ValidateVReplicationPermissionsRequest {};
    let query = Query::typed(rpc::VALIDATE_VREPLICATION_PERMISSIONS, &request, "permissions");
    let failure = format!("failed to validate required vreplication metadata permissions on tablet {}: ", on.primary.alias);
    Call { then: Then::Permissions, failure, ..Call::new(on, query) }.boxed()
}

/// `VDiffs` of streams that are there no more.
pub(crate) fn forget_vdiffs(on: &Member, workflow: &str) -> Act {
    let request = crate::proto::tabletmanagerdata::VDiffRequest {
        keyspace: on.keyspace.clone(),
        workflow: workflow.into(),
        action: "delete".into(),
        action_arg: "all".into(),
        ..Default::default()
    };
    let query = Query::typed(rpc::VDIFF, &request, "vdiff").that_writes();
    Call { is_best_effort: true, ..Call::new(on, query) }.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tablet_waits_for_a_position_shortly_at_first_and_for_all_the_time_in_the_end() {
        let tablet = TabletAddress { alias: "zone1-1".into(), cell: "zone1".into(), host: "h".into(), grpc_port: 1 };
        let of = |then, limit_ms| Call {
            keyspace: "ks".into(),
            shard: "0".into(),
            db_name: "vt_ks".into(),
            tablet: tablet.clone(),
            query: Query::vreplication("wait", String::new()),
            limit_ms,
            then,
            shown_by: None,
            undo: None,
            is_best_effort: false,
            is_vital: false,
            done_by: &[],
            failure: String::new(),
        };
        let mut limits = vec![FIRST_WAITS_MS[0]];
        let mut call = of(Then::Reached { seconds: 30, waits: 0 }, FIRST_WAITS_MS[0]);
        while let Some(next) = call.waits_on() {
            limits.push(next.limit_ms);
            call = next;
        }
        assert_eq!(limits, [25, 25, 50, 50, 100, 100, 150, 150, 200, 200, 300, 300, 40_000]);
        assert!(of(Then::Nothing, 0).waits_on().is_none(), "nothing else is asked again");
    }
}
