//! The smallest parts of a change of traffic: a call, a record that is edited, a cell's copy that is made anew; each with how one sees that
//! it is done when its answer was lost, and what takes it back.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::{
    contract::{FailureKind, PlannedRow, PlannedWrite, TabletAddress, What},
    cutover::{
        edit::{self, Edit},
        scene::{Member, Scene},
        sequences::planned_values,
        stored::Stored,
        streams::OtherStream,
    },
    proto::tabletmanagerdata::{
        ExecuteFetchAsDbaRequest, PrimaryPositionRequest, RefreshStateRequest, VReplicationWaitForPosRequest,
    },
    rpc,
    sidecar::{
        query::{How, Query},
        result::RowSet,
    },
    topo::names::GLOBAL,
};

/// Acts of one shard, stream or record: each group waits for the one before, acts of one group for none.
pub(crate) type Lane = Vec<Vec<Act>>;

/// One act.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Call(Box<Call>),
    /// A record becomes another.
    Edit(Box<RecordEdit>),
    /// A record goes.
    Delete(Box<Deletion>),
    /// What a cell serves to vtgates is made anew from the vschemas and the rules as they are by then.
    Rebuild {
        cell: String,
    },
}

/// A call of a tablet.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) db_name: String,
    pub(crate) tablet: TabletAddress,
    pub(crate) query: Query,
    /// How long it may take, in milliseconds; 0: as long as any call.
    pub(crate) limit_ms: u32,
    /// What its answer is for.
    pub(crate) then: Then,
    /// What shows that it is done; `None`: nothing has to be shown, or nothing can.
    pub(crate) shown_by: Option<(Query, Sign)>,
    /// What takes it back.
    pub(crate) undo: Option<Undo>,
    /// A failure is only noted.
    pub(crate) is_best_effort: bool,
    /// A failure counts also where others of its kind are excused.
    pub(crate) is_vital: bool,
    /// In front of what the tablet says of a failure.
    pub(crate) failure: String,
    /// Numbers of MySQL's with which a refusal says that there is nothing left to do.
    pub(crate) done_by: &'static [u16],
}

/// What an answer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// The position of a shard of the source.
    SourcePosition(String),
    /// The position of a shard of the target.
    TargetPosition(String),
    /// The rights of the tablet's user.
    Permissions,
    /// The largest value of a column that a sequence fills, by keyspace and name.
    Highest(String),
    /// Where streams of a shard of the source are.
    StreamPositions(String),
    /// That a stream has come to a position, for which so many seconds are allowed; so often was a wait too short before.
    Reached {
        seconds: u32,
        waits: usize,
    },
}

/// What rows show that a call has done its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// There are rows, and each has these texts in these columns.
    Every(Vec<(&'static str, String)>),
    /// A row of this source whose id is none of these.
    NewSource(String, Vec<i64>),
    /// There is a row.
    Any,
    /// There is none.
    None,
}

impl Sign {
    /// Whether the rows are this sign.
    pub(crate) fn is_in(&self, rows: &RowSet) -> bool {
        match self {
            Self::Every(values) => {
                !rows.is_empty() && rows.rows().all(|row| values.iter().all(|(column, value)| row.text(column) == *value))
            }
            Self::NewSource(..) => self.new_id(rows).is_some(),
            Self::Any => !rows.is_empty(),
            Self::None => rows.is_empty(),
        }
    }

    /// The id of a row that is new.
    pub(crate) fn new_id(&self, rows: &RowSet) -> Option<i64> {
        let Self::NewSource(source, known) = self else { return None };
        let ids = rows.rows().filter(|row| row.text("source") == *source).filter_map(|row| row.integer("id").ok().flatten());
        ids.filter(|id| !known.contains(id)).max()
    }
}

/// What takes a call back.
#[derive(Clone, Debug)]
pub(crate) enum Undo {
    /// This statement.
    Statement(String),
    /// The row that was inserted goes.
    Inserted,
}

/// A record that becomes another.
#[derive(Clone, Debug)]
pub(crate) struct RecordEdit {
    pub(crate) cell: String,
    pub(crate) path: String,
    /// Whose it is: of a shard's record.
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) edit: Edit,
    /// As it was read.
    pub(crate) base: Stored,
    /// What takes it back whatever it was before: of an edit that finishes what another process has begun.
    pub(crate) back: Option<Edit>,
}

/// A record that goes.
#[derive(Clone, Debug)]
pub(crate) struct Deletion {
    pub(crate) cell: String,
    pub(crate) path: String,
    /// Whose it is.
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    /// As it was read.
    pub(crate) version: i64,
}

/// What has been learned and written in this run; of a plan, what stands for it.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Unix seconds, or what stands for them in a plan.
    pub(crate) now: String,
    pub(crate) source_positions: BTreeMap<String, String>,
    pub(crate) target_positions: BTreeMap<String, String>,
    /// By shard of the source and id: where a stream of another workflow has stopped.
    pub(crate) stream_positions: BTreeMap<(String, i64), String>,
    /// By keyspace and name of a sequence, the value that it has to go on with.
    pub(crate) next_values: BTreeMap<String, String>,
    /// The records of rules as they are now.
    pub(crate) rules: BTreeMap<&'static str, Vec<u8>>,
    /// Records that this run has written or read again, as they are now, by cell and path.
    pub(crate) records: BTreeMap<(String, String), Stored>,
    /// What cells serve, as it is now.
    pub(crate) served: BTreeMap<String, Stored>,
    /// What this run has changed in the records of rules, in its order.
    pub(crate) rule_edits: BTreeMap<&'static str, Vec<Edit>>,
    /// Cells whose copy others have made anew since it was read: theirs is what is changed.
    pub(crate) remade: BTreeSet<String>,
    /// Records of which nobody knows whether they were written, by cell and path.
    pub(crate) unclear: BTreeSet<(String, String)>,
}

impl Run {
    /// Of a plan: what is not known yet has a name.
    pub(crate) fn planned(scene: &Scene) -> Self {
        let named = |members: &BTreeMap<String, Member>| {
            members.iter().map(|(shard, member)| (shard.clone(), format!("<position of {}>", member.place()))).collect()
        };
        let streams = scene.others.moved.iter().map(|it| &it.stream);
        let stopped = |it: &OtherStream| format!("<position of stream {} of {}/{}>", it.id, scene.source_keyspace, it.shard);
        Self {
            now: "<now>".into(),
            source_positions: named(&scene.sources),
            target_positions: named(&scene.targets),
            stream_positions: streams.map(|it| ((it.shard.clone(), it.id), stopped(it))).collect(),
            next_values: planned_values(&scene.sequences),
            rules: scene.rule_values(),
            records: BTreeMap::new(),
            served: scene.served.clone(),
            rule_edits: BTreeMap::new(),
            remade: BTreeSet::new(),
            unclear: BTreeSet::new(),
        }
    }

    /// Of a run that begins.
    pub(crate) fn begun(scene: &Scene, now: i64) -> Self {
        Self {
            now: now.to_string(),
            source_positions: BTreeMap::new(),
            target_positions: BTreeMap::new(),
            stream_positions: BTreeMap::new(),
            next_values: BTreeMap::new(),
            ..Self::planned(scene)
        }
    }

    /// What a cell is to serve.
    ///
    /// # Errors
    /// What it serves is no such record.
    pub(crate) fn srv_vschema(&self, scene: &Scene, is_again: Option<&[u8]>) -> Result<Vec<u8>, String> {
        let of = |name: &str| self.records.get(&(GLOBAL.to_owned(), format!("keyspaces/{name}/VSchema"))).map(|it| &it.value);
        match is_again {
            None => {
                let keyspaces = scene.vschemas.iter().map(|(name, vschema)| (name, of(name).unwrap_or(vschema)));
                Ok(edit::srv_vschema(keyspaces, &self.rules))
            }
            Some(record) => {
                let own = scene.vschemas.keys().filter_map(|name| Some((name.as_str(), of(name)?))).collect();
                edit::srv_vschema_again(record, &own, &self.rules, &self.rule_edits)
            }
        }
    }
}

impl Call {
    pub(super) fn new(on: &Member, query: Query) -> Self {
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

    pub(super) fn boxed(self) -> Act {
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

/// A source's record becomes another, and its tablets are told, its primary without excuse.
pub(crate) fn close_shard(on: &Member, edit: Edit, back: Option<Edit>) -> Lane {
    let mut lane = edit_shard(on, edit, back);
    if let Some(told) = lane.last_mut() {
        *told = tell(on);
    }
    lane
}

/// All tablets of a shard are told to read its record, its primary without excuse.
pub(crate) fn tell(on: &Member) -> Vec<Act> {
    let others = on.tablets.iter().filter(|tablet| tablet.alias != on.primary.alias);
    others.map(|tablet| refresh(on, tablet)).chain([close_primary(on)]).collect()
}

/// Waits for statements that had begun before the tables were denied.
///
/// `attempt`: which of two this is.
pub(crate) fn lock_tables(on: &Member, tables: &[String], attempt: u32) -> Act {
    let names: Vec<String> = tables.iter().map(|table| format!("`{}` READ", table.replace('`', "``"))).collect();
    let statement = format!("LOCK TABLES {}", names.join(","));
    let request = ExecuteFetchAsDbaRequest {
        query: statement.clone().into_bytes(),
        db_name: on.db_name.clone(),
        max_rows: 1,
        reload_schema: true,
        ..ExecuteFetchAsDbaRequest::default()
    };
    let query = Query { statement, ..Query::typed(rpc::EXECUTE_FETCH_AS_DBA, &request, "lock tables") };
    let failure = format!("failed to execute LOCK TABLES (attempt {attempt} of 2) on sources: ");
    Call { failure, ..Call::new(on, query.that_writes()) }.boxed()
}

/// A tenth of a second on the tablet itself: a statement that had passed the list of denied tables gets to its locks meanwhile.
pub(crate) fn pause(on: &Member) -> Act {
    let how = How::ExecuteFetchAsDba { db_name: on.db_name.clone(), max_rows: 1 };
    Call::new(on, Query::by(how, "pause", "select sleep(0.1)".into())).boxed()
}

/// A statement that changes nothing and is in the binary log, so that every stream has something to note its position for. A stream
/// whose filter takes none of the last transactions notes it after a second without any
/// (`go/vt/vttablet/tabletmanager/vreplication/vplayer.go:applyEvents`); a `FLUSH` goes to each of them, whatever its filter
/// (`go/vt/vttablet/tabletserver/vstreamer/vstreamer.go:parseEvent`), and is noted at once. Where it fails, the wait is longer.
pub(crate) fn nudge(on: &Member) -> Act {
    let statement = "FLUSH OPTIMIZER_COSTS".to_owned();
    let (query, db_name) = (statement.clone().into_bytes(), on.db_name.clone());
    let request = ExecuteFetchAsDbaRequest { query, db_name, max_rows: 1, ..Default::default() };
    let query = Query { statement, ..Query::typed(rpc::EXECUTE_FETCH_AS_DBA, &request, "nudge streams") };
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

/// A shard's record becomes another, and its tablets are told.
pub(crate) fn edit_shard(on: &Member, edit: Edit, back: Option<Edit>) -> Lane {
    let record = RecordEdit {
        cell: GLOBAL.into(),
        path: on.path(),
        keyspace: on.keyspace.clone(),
        shard: on.shard.clone(),
        edit,
        base: on.record.clone(),
        back,
    };
    vec![vec![Act::Edit(Box::new(record))], on.tablets.iter().map(|tablet| refresh(on, tablet)).collect()]
}

/// What a cell serves of a keyspace becomes other; `None`: it serves nothing of it.
pub(crate) fn edit_served(scene: &Scene, cell: &str, edit: Edit, back: Option<Edit>) -> Option<Act> {
    let base = scene.srv_keyspaces.get(cell).filter(|stored| stored.version != 0)?.clone();
    let keyspace = scene.target_keyspace.clone();
    let path = format!("keyspaces/{keyspace}/SrvKeyspace");
    let record = RecordEdit { cell: cell.into(), path, keyspace, shard: String::new(), edit, base, back };
    Some(Act::Edit(Box::new(record)))
}

/// A keyspace's vschema becomes another.
pub(crate) fn edit_vschema(scene: &Scene, keyspace: &str, edit: Edit) -> Act {
    let value = scene.vschemas.get(keyspace).cloned().unwrap_or_default();
    let version = scene.vschema_versions.get(keyspace).copied().unwrap_or_default();
    let record = RecordEdit {
        cell: GLOBAL.into(),
        path: format!("keyspaces/{keyspace}/VSchema"),
        keyspace: keyspace.into(),
        shard: String::new(),
        edit,
        base: Stored { value, version },
        back: None,
    };
    Act::Edit(Box::new(record))
}

/// A shard's record becomes another, and nobody has to be told.
pub(crate) fn edit_shard_alone(on: &Member, edit: Edit) -> Act {
    let record = RecordEdit {
        cell: GLOBAL.into(),
        path: on.path(),
        keyspace: on.keyspace.clone(),
        shard: on.shard.clone(),
        edit,
        base: on.record.clone(),
        back: None,
    };
    Act::Edit(Box::new(record))
}

/// A record of rules becomes another, and all cells serve it.
pub(crate) fn edit_rules(scene: &Scene, path: &'static str, edit: Edit, cells: &[String]) -> Lane {
    let record = RecordEdit {
        cell: GLOBAL.into(),
        path: path.into(),
        keyspace: scene.target_keyspace.clone(),
        shard: String::new(),
        edit,
        base: scene.rules.get(path).cloned().unwrap_or_default(),
        back: None,
    };
    let rebuild = cells.iter().map(|cell| Act::Rebuild { cell: cell.clone() });
    vec![vec![Act::Edit(Box::new(record))], rebuild.collect()]
}

impl Act {
    /// What a plan says of it; `None`: it changes nothing.
    pub(crate) fn planned(&self, scene: &Scene, run: &Run, step: &str) -> Option<PlannedWrite> {
        let row = |basis: String| vec![PlannedRow { name: step.to_owned(), about: String::new(), basis }];
        match self {
            Self::Call(call) if call.query.effect == crate::Effect::Read => None,
            Self::Call(call) => Some(PlannedWrite {
                keyspace: call.keyspace.clone(),
                shard: call.shard.clone(),
                tablet: call.tablet.alias.clone(),
                address: call.tablet.address(),
                db_name: call.db_name.clone(),
                rpc: call.query.path().into(),
                request: call.query.request(),
                statement: call.query.statement.clone(),
                rows: row(String::new()),
            }),
            Self::Edit(record) => {
                let key = (record.cell.clone(), record.path.clone());
                let before = run.records.get(&key).unwrap_or(&record.base);
                let after = record.edit.apply(&before.value).unwrap_or_default();
                let changes = after != before.value;
                changes.then(|| PlannedWrite {
                    keyspace: record.keyspace.clone(),
                    shard: record.shard.clone(),
                    tablet: record.cell.clone(),
                    address: record.path.clone(),
                    db_name: String::new(),
                    rpc: String::new(),
                    request: after,
                    statement: record.edit.to_string(),
                    rows: row(format!("version {}", record.base.version)),
                })
            }
            Self::Delete(record) => Some(PlannedWrite {
                keyspace: record.keyspace.clone(),
                shard: record.shard.clone(),
                tablet: record.cell.clone(),
                address: record.path.clone(),
                db_name: String::new(),
                rpc: String::new(),
                request: Vec::new(),
                statement: "delete the record".into(),
                rows: row(format!("version {}", record.version)),
            }),
            Self::Rebuild { cell } => {
                let before = run.served.get(cell).cloned().unwrap_or_default();
                let after = run.srv_vschema(scene, None).unwrap_or_default();
                Some(PlannedWrite {
                    keyspace: scene.target_keyspace.clone(),
                    shard: String::new(),
                    tablet: cell.clone(),
                    address: "SrvVSchema".into(),
                    db_name: String::new(),
                    rpc: String::new(),
                    request: after,
                    statement: "made anew from the vschemas and the rules".into(),
                    rows: row(format!("version {}", before.version)),
                })
            }
        }
    }

    /// What a plan says of a call that changes nothing; `None`: it is not one.
    pub(crate) fn read(&self) -> Option<String> {
        let Self::Call(call) = self else { return None };
        if call.query.effect == crate::Effect::Write {
            return None;
        }
        let Call { keyspace, shard, tablet, query, .. } = &**call;
        let method = query.path().rsplit('/').next().unwrap_or_default();
        let what = match VReplicationWaitForPosRequest::decode(query.request().as_slice()) {
            Ok(VReplicationWaitForPosRequest { id, position }) if query.path() == rpc::VREPLICATION_WAIT_FOR_POS => {
                let seconds = if let Then::Reached { seconds, .. } = call.then { seconds } else { 0 };
                format!(" of stream {id} for {position}, {seconds} seconds at most")
            }
            _ if query.statement.is_empty() => String::new(),
            _ => format!(" {}", query.statement),
        };
        Some(format!("{}  {keyspace}/{shard}  {method}{what}", tablet.alias))
    }

    /// Writes into the run of a plan what the act would write: later steps are made from it.
    pub(crate) fn foresee(&self, run: &mut Run) {
        let Self::Edit(record) = self else { return };
        let key = (record.cell.clone(), record.path.clone());
        let before = run.records.get(&key).cloned().unwrap_or_else(|| record.base.clone());
        let Ok(after) = record.edit.apply(&before.value) else { return };
        if let Some(path) = edit::RULE_PATHS.into_iter().find(|path| record.path == *path) {
            run.rules.insert(path, after.clone());
        }
        run.records.insert(key, Stored { value: after, ..before });
    }
}

/// Whether a call that failed like this may be at work still, or have done its work.
pub(crate) fn may_be_done(kind: FailureKind) -> bool {
    !matches!(kind, FailureKind::NotSent)
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
