//! The lines of a dry run of a completion, as the reference prints them.
//!
//! Facts: `go/vt/vtctl/workflow/switcher_dry_run.go`, v24.

use crate::{
    cutover::{
        dry_run::{list, locked},
        forward::request::Task,
        scene::{Member, Scene},
    },
    traffic::kind::Kind,
};

/// The lines. `renames`: tables of the source are renamed.
pub(super) fn complete(task: &Task, renames: bool, scene: &Scene) -> Vec<String> {
    let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
    let mut lines = Vec::new();
    let only_target = task.ignores_source || scene.kind == Kind::Migrate;
    locked(if only_target { target } else { source }, target, &mut lines, |lines| {
        let deleted = |on: &Member, workflow: &str| {
            let Member { keyspace, shard, db_name, alias, .. } = on;
            format!("keyspace:{keyspace};shard:{shard};workflow:{workflow};dbname:{db_name};tablet:{}", alias.uid)
        };
        let on_targets = list(&scene.targets, |on| deleted(on, &scene.workflow));
        let streams = format!("Delete vreplication streams on targets: [{on_targets}]");
        if scene.kind == Kind::Migrate {
            lines.extend([streams, "All source tables will be added to the target keyspace vschema".into()]);
            return;
        }
        if !task.keep_data && scene.kind == Kind::Reshard {
            let shards: Vec<String> = scene
                .leaving
                .iter()
                .map(|(shard, left)| {
                    let mut uids: Vec<String> = left.uids.iter().map(ToString::to_string).collect();
                    uids.sort();
                    format!("cell:{};keyspace:{source};shards:[{shard}],{}", left.cell, uids.join(","))
                })
                .collect();
            lines.push(format!("Delete shards (and all related tablets): [{}]", shards.join(",")));
        } else if !task.keep_data {
            let tables = scene.tables.join(",");
            if !task.ignores_source {
                let verb = if renames { "Renaming" } else { "Dropping" };
                let of = |on: &Member| {
                    let Member { keyspace, shard, db_name, alias, .. } = on;
                    let table = |table: &String| {
                        format!("keyspace:{keyspace};shard:{shard};dbname:{db_name};tablet:{};table:{table}", alias.uid)
                    };
                    scene.tables.iter().map(table).collect::<Vec<_>>().join(",")
                };
                let all = list(&scene.sources, of);
                lines.push(format!(
                    "{verb} these tables from the database and removing them from the vschema for keyspace {source}: [{all}]"
                ));
            }
            let denied = |on: &Member| format!("keyspace:{};shard:{};tablet:{}", on.keyspace, on.shard, on.alias.uid);
            let sides = [(!task.ignores_source).then_some(&scene.sources), Some(&scene.targets)];
            for members in sides.into_iter().flatten() {
                lines.push(format!("Denied tables records on [{tables}] will be removed from: [{}]", list(members, denied)));
            }
        }
        let on_sources = list(&scene.sources, |on| deleted(on, &scene.reverse));
        lines.push(format!("Delete reverse vreplication streams on sources: [{on_sources}]"));
        lines.push(streams);
        if !task.keep_rules {
            lines.push("Routing rules for participating tables will be deleted".into());
            lines.extend(
                (scene.kind == Kind::Partial).then(|| "Shard routing rules for participating shards will be deleted".into()),
            );
            lines.extend((scene.kind == Kind::MultiTenant).then(|| "Keyspace routing rules will be deleted".into()));
        }
    });
    lines
}
