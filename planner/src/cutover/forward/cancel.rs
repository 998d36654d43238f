//! Cancelling a workflow whose writes were not switched: what it has copied goes, then its rules and streams, of both directions.
//!
//! Facts: `go/vt/vtctl/workflow/server.go` (`WorkflowDelete`, `dropTargets`, `deleteTenantData`), v24.

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
        refusals::serves,
        reverse,
        scene::{Scene, Stream},
    },
    proto::{binlogdata::VReplicationWorkflowType, topodata::TabletType},
    traffic::kind::Kind,
};

/// The parts that are left. `copied`: of a reshard, tables and views of a shard of the source.
///
/// # Errors
/// Why it cannot be cancelled; nothing has been touched.
pub(super) fn stages(task: &Task, batch: i64, scene: &Scene, copied: &[(String, bool)]) -> Result<Stages, Status> {
    refuse(task, scene)?;
    let (mut stages, tables) = (Stages::default(), &scene.tables);
    let targets = || scene.targets.values();
    let runs = |shard: &str| scene.streams.iter().any(|stream| stream.shard == shard && stream.state != "Stopped");
    let running = targets().filter(|on| runs(&on.shard));
    stages.add("stop the streams", running.map(|on| acts::stop(on, &scene.workflow)));
    let is_tenant = !scene.options.tenant_id.is_empty();
    if !task.keep_data && is_tenant {
        let id = &scene.options.tenant_id;
        let prefix = format!("failed to fully delete all migrated data for tenant {id}, please retry the operation: ");
        let condition =
            reverse::tenant(scene).map_err(|text| Status::unknown(format!("{prefix}failed to build delete filter: {text}")))?;
        let lanes = condition.iter().flat_map(|condition| targets().map(|on| acts::tenant_rows(on, tables, condition, batch)));
        let gone = condition.iter().map(|condition| gone::rows(tables, condition, &scene.targets));
        stages.destroying("delete the tenant's rows", prefix.clone(), gone, lanes);
    } else if !task.keep_data && scene.kind == Kind::Reshard {
        let own = || {
            let fate = |is_view: bool| if is_view { Fate::DropView } else { Fate::Drop };
            copied.iter().map(move |(table, is_view)| (table.as_str(), fate(*is_view)))
        };
        let gone = gone::tables(own(), "target", &scene.targets);
        let lanes = targets().map(|on| acts::tables(on, own()));
        stages.destroying("drop the target's tables", String::new(), gone, lanes);
    } else if !task.keep_data {
        let own = || tables.iter().map(|table| (table.as_str(), Fate::Drop));
        let gone = gone::tables(own(), "target", &scene.targets);
        let lanes = targets().map(|on| acts::tables(on, own()));
        stages.destroying("drop the target's tables", String::new(), gone, lanes);
        if !scene.vschema(&scene.target_keyspace).map_err(Status::unknown)?.sharded {
            stages.add("edit the target's vschema", acts::vschema(scene, &scene.target_keyspace, tables, &[]));
        }
    }
    // Others deny tables for reasons of their own.
    if standing::moves_traffic(scene) && scene.kind != Kind::Reshard {
        stages.add("allow the tables on the source", scene.sources.values().map(|on| acts::allow(on, tables)));
        stages.add("allow the tables on the target", targets().map(|on| acts::allow(on, tables)));
        stages.add(TELL, acts::tell(scene));
    }
    let has_reverse = |shard: &str| scene.reverse_streams.iter().any(|stream| stream.shard == shard);
    let reversed = scene.sources.values().filter(|on| has_reverse(&on.shard));
    stages.add("delete the reverse streams", reversed.map(|on| acts::delete(on, &scene.reverse, &scene.reverse_streams, false)));
    if task.keep_rules {
        stages.add("serve the vschemas", [vec![rebuild(scene)]]);
    } else {
        let rules = Rules::of(scene).map_err(Status::unknown)?;
        stages.add("delete the routing rules", [rules.delete(scene)]);
    }
    stages.add("delete the streams", targets().map(|on| acts::delete(on, &scene.workflow, &scene.streams, false)));
    Ok(stages)
}

/// Whether the source's tables have to be known.
pub(super) fn needs_tables(task: &Task, scene: &Scene) -> bool {
    scene.kind == Kind::Reshard && !task.keep_data && !task.ignores_source
}

fn refuse(task: &Task, scene: &Scene) -> Result<(), Status> {
    let failed = |message: String| Err(Status { code: Code::FailedPrecondition, message });
    match standing::writes(scene).map_err(Status::unknown)? {
        Writes::NotSwitched => {}
        Writes::Switched => {
            return Err(Status::unknown("cannot delete workflow because you have already switched write traffic"));
        }
        Writes::Split => {
            return failed(
                "cannot delete workflow because you have already switched write traffic of some of its tables or shards; nothing \
                 was changed"
                    .into(),
            );
        }
    }
    let of_type = VReplicationWorkflowType::try_from(scene.workflow_type).map_or("", |of| of.as_str_name());
    if !scene.options.tenant_id.is_empty() && of_type != "MoveTables" {
        return Err(Status::unknown(format!("unsupported workflow type \"{of_type}\" for multi-tenant migration")));
    }
    if !scene.journals.is_empty() && scene.streams.iter().any(Stream::is_stopped_for_cutover) {
        return failed(
            "cannot delete workflow because a switch of its write traffic has written its journal and was not finished: switch the \
             traffic, which finishes it; nothing was changed"
                .into(),
        );
    }
    if scene.kind == Kind::Reshard && scene.sources.values().any(|on| scene.is_shut(on)) {
        // Nobody would find that any more.
        return failed(
            "cannot delete workflow because a switch of its write traffic has stopped half-way, and its source takes no writes: reverse \
             the traffic first, which takes that switch back; nothing was changed"
                .into(),
        );
    }
    if scene.kind == Kind::Reshard && task.ignores_source {
        // The reference dies of it.
        return failed("the source of a Reshard is its own keyspace, which cannot be ignored; nothing was changed".into());
    }
    if scene.kind == Kind::Reshard {
        for of in [TabletType::Replica, TabletType::Rdonly] {
            // Their tables would go, and nothing would send the reads elsewhere.
            if scene.srv_keyspaces.values().any(|stored| serves(&stored.value, of, &scene.targets)) {
                let of = of.as_str_name();
                return failed(format!(
                    "{of} reads go to the shards that would lose their tables: switch them back first; nothing was changed"
                ));
            }
        }
    }
    if let Some(frozen) = scene.streams.iter().find(|stream| Stream::is_frozen(stream)).filter(|_| !task.force) {
        let place = format!("{}/{}", scene.target_keyspace, frozen.shard);
        return failed(format!(
            "the {} workflow is frozen on {place}: its traffic has been switched at some time; nothing was changed. If it has to go all \
             the same, force it",
            scene.workflow
        ));
    }
    Ok(())
}
