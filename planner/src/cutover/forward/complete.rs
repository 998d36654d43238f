//! Completing a workflow whose traffic has been switched: what is left of it at the source goes, then its rules and streams.
//!
//! Facts: `go/vt/vtctl/workflow/server.go` (`MoveTablesComplete`, `dropSources`, `finalizeMigrateWorkflow`),
//! `utils.go:doValidateWorkflowHasCompleted`, v24.

use std::collections::BTreeSet;

use crate::{
    contract::{Code, Status},
    cutover::{
        forward::{
            acts::{self, Fate},
            gone,
            request::Task,
            rules::{Rules, rebuild},
            stage::{Stages, TELL},
            standing::{self, Writes},
        },
        scene::{Scene, Stream},
    },
    proto::topodata::TabletType,
    traffic::kind::Kind,
};

/// The parts that are left.
///
/// # Errors
/// Why it cannot be completed; nothing has been touched.
pub(super) fn stages(task: &Task, renames: bool, scene: &Scene) -> Result<Stages, Status> {
    if scene.kind == Kind::Migrate {
        return migrate(scene);
    }
    refuse(task, scene)?;
    let (mut stages, tables) = (Stages::default(), &scene.tables);
    let moves_tables = scene.kind != Kind::Reshard;
    if moves_tables && !task.keep_data {
        let fate = if renames { Fate::Rename } else { Fate::Drop };
        let own = || tables.iter().map(|table| (table.as_str(), fate));
        let lanes = scene.sources.values().map(|on| acts::tables(on, own()));
        if renames {
            stages.keeping("rename the source's tables", gone::renamed_tables(tables, &scene.sources), lanes);
        } else {
            let dropped = gone::tables(own(), "source", &scene.sources);
            stages.destroying("drop the source's tables", String::new(), dropped, lanes);
        }
        // Other shards of the source have the tables still.
        let is_whole = scene.kind != Kind::Partial || unmoved(scene).map_err(Status::unknown)?.is_empty();
        if is_whole && !task.ignores_source {
            stages.add("edit the source's vschema", acts::vschema(scene, &scene.source_keyspace, tables, &[]));
        }
    }
    if moves_tables {
        stages.add("allow the tables on the source", scene.sources.values().map(|on| acts::allow(on, tables)));
        stages.add("allow the tables on the target", scene.targets.values().map(|on| acts::allow(on, tables)));
        stages.add(TELL, acts::tell(scene));
    }
    // Of shards that go with everything on them, nothing has to be left behind.
    let is_best_effort = !moves_tables && !task.keep_data;
    let has_reverse = |shard: &str| scene.reverse_streams.iter().any(|stream| stream.shard == shard);
    let reversed = scene.sources.values().filter(|on| has_reverse(&on.shard));
    stages.add(
        "delete the reverse streams",
        reversed.map(|on| acts::delete(on, &scene.reverse, &scene.reverse_streams, is_best_effort)),
    );
    if !moves_tables && !task.keep_data {
        let shards = scene.leaving.iter();
        let keyspace = &scene.source_keyspace;
        let gone = scene.leaving.iter().map(|(shard, left)| gone::shard(keyspace, shard, left));
        let lanes = shards.map(|(shard, left)| acts::delete_shard(keyspace, shard, left));
        stages.destroying("delete the source's shards", String::new(), gone, lanes);
    }
    if task.keep_rules {
        stages.add("serve the vschemas", [vec![rebuild(scene)]]);
    } else {
        let rules = Rules::of(scene).map_err(Status::unknown)?;
        stages.add("delete the routing rules", [rules.delete(scene)]);
    }
    stages.add("delete the streams", scene.targets.values().map(|on| acts::delete(on, &scene.workflow, &scene.streams, false)));
    Ok(stages)
}

/// Shards of the source's keyspace whose traffic has not been moved: of a workflow that moves some of them.
fn unmoved(scene: &Scene) -> Result<Vec<String>, String> {
    let rules = standing::shard_rules(scene)?;
    let all = scene.all_shards.get(&scene.source_keyspace).cloned().unwrap_or_default();
    let is_moved = |shard: &String| rules.get(&(scene.source_keyspace.clone(), shard.clone())) == Some(&scene.target_keyspace);
    Ok(all.into_iter().filter(|shard| !is_moved(shard)).collect())
}

fn failed<T>(message: String) -> Result<T, Status> {
    Err(Status { code: Code::FailedPrecondition, message })
}

fn refuse(task: &Task, scene: &Scene) -> Result<(), Status> {
    if !scene.journals_back.is_empty() {
        let (keyspace, workflow) = (&scene.target_keyspace, &scene.workflow);
        return failed(format!(
            "cannot complete workflow because the way back of {keyspace}.{workflow} has written its journal and was not finished: reverse \
             its traffic again, which finishes it; nothing was changed"
        ));
    }
    if standing::is_cancelling(scene).map_err(Status::unknown)? {
        let text =
            "cannot complete workflow because it is being cancelled: cancel it again, which finishes that; nothing was changed";
        return failed(text.into());
    }
    let of_type = |of| standing::are_reads_switched(scene, of);
    let is_switched = standing::writes(scene).map_err(Status::unknown)? == Writes::Switched
        && of_type(TabletType::Replica)
        && of_type(TabletType::Rdonly);
    if !is_switched && !standing::is_completing(scene).map_err(Status::unknown)? {
        let text = "cannot complete workflow because you have not yet switched all read and write traffic";
        return Err(Status::unknown(text));
    }
    if scene.kind == Kind::Reshard && scene.targets.values().any(|on| scene.is_shut(on)) {
        // Nobody would find that any more.
        return failed(
            "cannot complete workflow because a way back of its write traffic has stopped half-way, and its target takes no writes: \
             switch the traffic first, which takes that way back; nothing was changed"
                .into(),
        );
    }
    let mut texts = BTreeSet::new();
    if scene.kind == Kind::Reshard {
        if task.ignores_source {
            // The reference dies of it.
            return failed("the source of a Reshard is its own keyspace, which cannot be ignored; nothing was changed".into());
        }
        let serving = scene.leaving.iter().filter(|(_, left)| left.is_primary_serving);
        texts.extend(serving.map(|(shard, _)| format!("shard {shard} is still serving")));
        if texts.is_empty() && !task.keep_data {
            let text = "is still serving, cannot delete it, use the even-if-serving flag if needed";
            let served = scene.leaving.iter().filter(|(_, left)| left.record.is_some() && !left.serving_cells.is_empty());
            texts.extend(served.map(|(shard, _)| format!("shard {}/{shard} {text}", scene.source_keyspace)));
        }
    } else {
        let thawed = |shard: &str| scene.streams.iter().any(|stream| stream.shard == shard && !Stream::is_frozen(stream));
        let on = scene.targets.values().filter(|on| thawed(&on.shard));
        texts.extend(on.map(|on| format!("vreplication streams are not frozen on tablet {}", on.alias.uid)));
        texts.extend(old_routes(task, scene)?);
    }
    if texts.is_empty() { Ok(()) } else { failed(texts.into_iter().collect::<Vec<_>>().join("\n")) }
}

/// Rules that lead to what is going to be dropped.
fn old_routes(task: &Task, scene: &Scene) -> Result<Vec<String>, Status> {
    let source = &scene.source_keyspace;
    if scene.kind == Kind::Partial {
        // Its rules of tables always lead to the source, and those of shards on to the target.
        let unmoved = unmoved(scene).map_err(Status::unknown)?;
        if task.keep_rules || unmoved.is_empty() {
            return Ok(Vec::new());
        }
        let (shards, noun) = (unmoved.join(", "), if unmoved.len() == 1 { "shard" } else { "shards" });
        return failed(format!(
            "cannot delete the routing rules while traffic of {noun} {shards} of keyspace {source} goes by them: keep them \
             (keep_routing_rules), or move these, too; nothing was changed"
        ));
    }
    if task.keep_rules {
        return Ok(Vec::new());
    }
    let mut texts = Vec::new();
    for (key, to) in scene.table_keys().map_err(Status::unknown)? {
        let tables = scene.tables.iter().filter(|table| to.contains(&format!("{source}.{table}")));
        texts.extend(tables.map(|table| format!("routing still exists from keyspace {source} table {table} to {key}")));
    }
    Ok(texts)
}

/// A workflow that has copied from another cluster: its tables are there for good.
fn migrate(scene: &Scene) -> Result<Stages, Status> {
    let prefix = format!("failed to finalize the {} workflow in the {} keyspace: ", scene.workflow, scene.target_keyspace);
    let vschema = scene.vschema(&scene.target_keyspace).map_err(Status::unknown)?;
    let unknown = scene.tables.iter().any(|table| !vschema.tables.contains_key(table));
    if vschema.sharded && unknown {
        let text =
            "no sharded vschema was provided, so you will need to update the vschema of the target manually for the moved tables";
        return failed(format!("{prefix}{text}"));
    }
    if scene.streams.iter().any(|stream| stream.state == "Copying") {
        // The reference deletes streams that have not copied everything.
        return failed(format!("{prefix}copy is still in progress; nothing was changed"));
    }
    let (mut stages, tables) = (Stages::default(), &scene.tables);
    let targets = || scene.targets.values();
    stages.failing("allow the tables", prefix.clone(), targets().map(|on| acts::allow(on, tables)));
    stages.failing(TELL, prefix.clone(), acts::tell(scene));
    if !vschema.sharded {
        stages.failing("edit the vschema", prefix.clone(), acts::vschema(scene, &scene.target_keyspace, &[], tables));
    }
    stages.failing("serve the vschemas", prefix.clone(), [vec![rebuild(scene)]]);
    stages.failing("delete the streams", prefix, targets().map(|on| acts::delete(on, &scene.workflow, &scene.streams, false)));
    Ok(stages)
}
