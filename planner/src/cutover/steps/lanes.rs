//! What each step does: its acts, of each shard, stream or record apart.

use std::collections::BTreeMap;

use super::{
    Basis, Planned, Step, delete_streams, is_past, missing_reverse, old_reverse, read_rules, shard_rules, tenant_rules,
    write_rules,
};
use crate::{
    contract::{StepWay as Way, TabletAddress},
    cutover::{
        act::{self, Act, Lane, Run, Sign, Then, Undo, statement},
        edit::{Edit, KEYSPACE_RULES, MIRROR_RULES, SHARD_RULES, TABLE_RULES, control},
        look::journal_query,
        refusals::Resolved,
        reopen::tell,
        reverse,
        scene::{FROZEN, Member, STOPPED_FOR_CUTOVER, Scene, Stream},
    },
    proto::topodata::TabletType,
    sidecar::literal::quote,
    traffic::{journal, kind::Kind},
};

impl Basis<'_> {
    /// The acts of a step, with what is known by now.
    ///
    /// # Errors
    /// Something that a step before was to find out is not there.
    pub(crate) fn lanes(&self, planned: &Planned, run: &Run) -> Result<Vec<Lane>, String> {
        let scene = self.scene;
        let (sources, targets) = (|| scene.sources.values(), || scene.targets.values());
        let all_cells: Vec<String> = scene.served.keys().cloned().collect();
        Ok(match &planned.step {
            Step::Refresh => scene.members().map(|on| vec![self.told(on)]).collect(),
            Step::Permissions => sources().map(|on| vec![vec![act::permissions(on)]]).collect(),
            Step::Resume => self.of_streams(Stream::is_stopped_for_cutover, |on, stream| {
                let text = format!("update _vt.vreplication set state='Running', message='' where id={}", stream.id);
                let look = format!("select id from _vt.vreplication where id={} and state='Stopped'", stream.id);
                vec![vec![statement(on, "start", text, (look, Sign::None), None)]]
            }),
            Step::PrepareSequences => self.prepare_sequences(),
            Step::ResetMoved => self.reset_moved(),
            Step::HighestValues => self.highest_values(),
            Step::RaiseSequences => self.raise_sequences(run)?,
            Step::Unmirror(types) => {
                let edit = Edit::Unmirror(scene.mirrored(types)?);
                let mut lane = act::edit_rules(scene, MIRROR_RULES, edit, &all_cells);
                let all = [TabletType::Primary, TabletType::Replica, TabletType::Rdonly];
                let is_last = scene.mirrored(&all)? == scene.mirrored(types)?;
                let opened = targets().filter(|on| control(&on.record.value).ok().flatten().is_some_and(|it| it.allow_reads));
                for on in opened.filter(|_| is_last) {
                    let deny = Edit::Deny { tables: scene.tables.clone(), is_denied: true, allow_reads: false };
                    lane.extend(act::edit_shard(on, deny, None));
                }
                vec![lane]
            }
            Step::Reads if scene.kind == Kind::Reshard => vec![self.shard_reads()],
            Step::Reads => {
                let Resolved { reads, reads_to, .. } = self.resolved;
                let (path, edit) = match scene.kind {
                    Kind::MultiTenant => (KEYSPACE_RULES, tenant_rules(scene, reads, reads_to)),
                    _ => (TABLE_RULES, Edit::TableRules(read_rules(self.resolved, scene))),
                };
                let cells = if self.resolved.writes { &all_cells } else { &self.resolved.cells };
                vec![act::edit_rules(scene, path, edit, cells)]
            }
            Step::Close if scene.kind == Kind::Reshard => vec![self.close_shards()],
            Step::Close => self.close(planned.way),
            Step::Drain if scene.kind == Kind::Reshard => {
                let lane = |on: &Member| vec![vec![act::nudge(on), act::position(on, Then::SourcePosition(on.shard.clone()))]];
                sources().map(lane).collect()
            }
            Step::Drain => {
                let tables = &scene.tables;
                let lane = |on: &Member| {
                    let position = act::position(on, Then::SourcePosition(on.shard.clone()));
                    // A statement has its tenth of a second from when the tables are denied, whoever else is waited for meanwhile; and
                    // the streams note the position whether the nudge is before it or after.
                    vec![
                        vec![act::lock_tables(on, tables, 1), act::pause(on)],
                        vec![act::lock_tables(on, tables, 2)],
                        vec![act::nudge(on), position],
                    ]
                };
                sources().map(lane).collect()
            }
            Step::SourcePositions => {
                let missing = sources().filter(|on| !scene.journals.contains_key(&on.shard));
                let nudge = |on: &Member| (planned.way == Way::Back).then(|| act::nudge(on));
                let position = |on: &Member| act::position(on, Then::SourcePosition(on.shard.clone()));
                missing.map(|on| vec![nudge(on).into_iter().chain([position(on)]).collect()]).collect()
            }
            Step::Reopen => self.reopen(),
            Step::DropReverse => self.drop_reverse(),
            Step::CatchUp => self.catch_up(run)?,
            Step::TargetPositions => {
                targets().map(|on| vec![vec![act::position(on, Then::TargetPosition(on.shard.clone()))]]).collect()
            }
            Step::CreateReverse => self.create_reverse(planned.way == Way::Forward, run)?,
            Step::Journal => self.journal(run)?,
            Step::Route if scene.kind == Kind::Reshard => vec![self.route_shards()],
            Step::Route => {
                let (path, edit) = match scene.kind {
                    Kind::Partial => (SHARD_RULES, Edit::ShardRules(shard_rules(scene))),
                    Kind::MultiTenant => (KEYSPACE_RULES, tenant_rules(scene, &[TabletType::Primary], &scene.target_keyspace)),
                    _ => (TABLE_RULES, Edit::TableRules(write_rules(scene))),
                };
                vec![act::edit_rules(scene, path, edit, &all_cells)]
            }
            Step::DropOldReverse => self.drop_old_reverse(),
            Step::Others(part) => self.others(*part, run)?,
            Step::Tell => tell(scene, &self.opened()),
            Step::StartReverse => {
                let lane = |on: &Member| {
                    let of = format!("db_name={} and workflow={}", quote(&on.db_name), quote(&scene.reverse));
                    let text = format!("update _vt.vreplication set state='Running', message='' where {of}");
                    let look = format!("select id from _vt.vreplication where {of} and state='Stopped'");
                    vec![vec![statement(on, "start", text, (look, Sign::None), None)]]
                };
                sources().map(lane).collect()
            }
            Step::Freeze => {
                let lane = |on: &Member| {
                    let of = format!("db_name={} and workflow={}", quote(&on.db_name), quote(&scene.workflow));
                    let text = format!("update _vt.vreplication set message = '{FROZEN}' where {of}");
                    let look = format!("select message from _vt.vreplication where {of}");
                    let sign = Sign::Every(vec![("message", FROZEN.to_owned())]);
                    vec![vec![statement(on, "freeze", text, (look, sign), None)]]
                };
                targets().map(lane).collect()
            }
        })
    }

    /// All tablets of a shard are told to read their records, but a primary that would not answer.
    pub(in crate::cutover) fn told(&self, on: &Member) -> Vec<Act> {
        let is_shut = |tablet: &TabletAddress| tablet.alias == on.primary.alias && self.scene.is_shut(on);
        on.tablets.iter().filter(|tablet| !is_shut(tablet)).map(|tablet| act::refresh(on, tablet)).collect()
    }

    /// A lane for each stream of a kind, on its primary.
    fn of_streams(&self, is_it: impl Fn(&Stream) -> bool, lane: impl Fn(&Member, &Stream) -> Lane) -> Vec<Lane> {
        let streams = self.scene.streams.iter().filter(|stream| is_it(stream));
        streams.filter_map(|stream| Some(lane(self.scene.targets.get(&stream.shard)?, stream))).collect()
    }

    fn close(&self, way: Way) -> Vec<Lane> {
        let scene = self.scene;
        let deny = |is_denied| Edit::Deny { tables: scene.tables.clone(), is_denied, allow_reads: false };
        // Denied by a switch that stopped: what it did is taken back with what is done now, for else nobody could write.
        let denies = |on: &Member| scene.tables.iter().any(|table| on.denied().contains(table));
        let is_adopted = way == Way::Back && scene.sources.values().any(denies);
        let back = |is_denied| is_adopted.then(|| deny(is_denied));
        let closed = scene.sources.values().map(|on| act::close_shard(on, deny(true), back(false)));
        // Targets of other kinds deny nothing before their first switch.
        // Its primary has to know it, too: one that could not be told when this is taken back would take writes that nobody copies.
        let denied = |on| act::close_shard(on, deny(false), back(true).filter(|_| scene.kind == Kind::Standard));
        closed.chain(scene.targets.values().map(denied)).collect()
    }

    fn catch_up(&self, run: &Run) -> Result<Vec<Lane>, String> {
        let mut lanes = Vec::new();
        for stream in &self.scene.streams {
            let Some(on) = self.scene.targets.get(&stream.shard) else { continue };
            let position = position(&run.source_positions, &stream.source.shard)?;
            let wait = act::wait_for_position(on, stream.id, position, self.goal.timeout);
            let text =
                format!("update _vt.vreplication set state='Stopped', message='{STOPPED_FOR_CUTOVER}' where id={}", stream.id);
            let look = format!("select state, message from _vt.vreplication where id={}", stream.id);
            let sign = Sign::Every(vec![("state", "Stopped".to_owned()), ("message", STOPPED_FOR_CUTOVER.to_owned())]);
            let message = if stream.is_stopped_for_cutover() { "" } else { stream.message.as_str() };
            let back = format!("update _vt.vreplication set state='Running', message={} where id={}", quote(message), stream.id);
            lanes.push(vec![vec![wait], vec![statement(on, "stop", text, (look, sign), Some(Undo::Statement(back)))]]);
        }
        Ok(lanes)
    }

    fn create_reverse(&self, is_past: bool, run: &Run) -> Result<Vec<Lane>, String> {
        let scene = self.scene;
        let journaled = journaled(scene);
        let positions = if is_past { &journaled } else { &run.target_positions };
        let missing = missing_reverse(scene);
        let mut lanes = Vec::new();
        for (place, stream) in scene.streams.iter().enumerate() {
            if is_past && !missing.contains(&place) {
                continue;
            }
            let (Some(on), Some(source)) = (scene.sources.get(&stream.source.shard), self.resolved.reverse_sources.get(place))
            else {
                continue;
            };
            let at = position(positions, &stream.shard)?;
            let text = reverse::insert(scene, source, stream, at, &run.now);
            let of = format!("db_name = {} and workflow = {}", quote(&on.db_name), quote(&scene.reverse));
            let look = format!("select id, source from _vt.vreplication where {of}");
            let known = scene.reverse_streams.iter().filter(|it| it.shard == on.shard).map(|it| it.id).collect();
            let sign = Sign::NewSource(source.clone(), known);
            lanes.push(vec![vec![statement(on, "create stream", text, (look, sign), Some(Undo::Inserted))]]);
        }
        if !is_past && !scene.is_reversal {
            // Nobody has a use for them any more: they stay deleted, whatever becomes of this.
            let old = old_reverse(scene, false);
            let old = old.iter().filter_map(|(shard, ids)| Some(vec![vec![delete_streams(scene.sources.get(*shard)?, ids)]]));
            lanes.extend(old);
        }
        Ok(lanes)
    }

    fn journal(&self, run: &Run) -> Result<Vec<Lane>, String> {
        let scene = self.scene;
        let journaled = journaled(scene);
        // All journals of one switch say the same of the target.
        let targets = if scene.journals.is_empty() { &run.target_positions } else { &journaled };
        let mut lanes = Vec::new();
        for (shard, on) in scene.sources.iter().filter(|(shard, _)| !scene.journals.contains_key(*shard)) {
            let journal = reverse::journal(scene, position(&run.source_positions, shard)?, targets);
            let text = reverse::insert_journal(scene, on, &journal);
            let look = journal_query(scene.migration_id()).statement;
            lanes.push(vec![vec![statement(on, "write journal", text, (look, Sign::Any), None)]]);
        }
        Ok(lanes)
    }

    fn drop_old_reverse(&self) -> Vec<Lane> {
        let scene = self.scene;
        let is_past = is_past(scene);
        // Of a way forth they went when the new ones were created.
        let old = if is_past || scene.is_reversal { old_reverse(scene, is_past) } else { BTreeMap::new() };
        let lane = |on: &Member| {
            let delete = old.get(on.shard.as_str()).map(|ids| delete_streams(on, ids));
            vec![delete.into_iter().collect::<Vec<Act>>(), vec![act::forget_vdiffs(on, &scene.reverse)]]
        };
        scene.sources.values().map(lane).collect()
    }
}

fn position<'a>(positions: &'a BTreeMap<String, String>, shard: &str) -> Result<&'a String, String> {
    positions.get(shard).ok_or_else(|| format!("the position of shard {shard} is not known"))
}

/// Where the target was, as the journals that are there say.
fn journaled(scene: &Scene) -> BTreeMap<String, String> {
    scene.journals.values().next().map(|text| journal::read(text).positions.into_iter().collect()).unwrap_or_default()
}
