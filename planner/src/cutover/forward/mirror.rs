//! Mirroring the traffic of a workflow: rules that send some of it to the target, too, and reads that the target lets through for them.
//!
//! Facts: `go/vt/vtctl/workflow/server.go:WorkflowMirrorTraffic`, `traffic_switcher.go:mirrorTableTraffic`, v24.

use crate::{
    contract::Status,
    cutover::{
        act::{self, Lane},
        edit::{self, Edit, MIRROR_RULES},
        forward::{
            rules::rebuild,
            stage::Stages,
            standing::{self, Writes},
        },
        refusals::validate,
        scene::{Member, Scene, suffix},
    },
    proto::{binlogdata::VReplicationWorkflowType as Type, topodata::TabletType, vschema::MirrorRule},
    traffic::{kind::Kind, names::forward_of},
};

const TYPES: [TabletType; 3] = [TabletType::Primary, TabletType::Replica, TabletType::Rdonly];

/// The parts that are left.
///
/// # Errors
/// Why it cannot be done; nothing has been touched.
pub(super) fn stages(types: &[TabletType], percent: f32, scene: &Scene) -> Result<Stages, Status> {
    refuse(types, scene)?;
    let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
    let there = scene.mirrored(types).map_err(Status::unknown)?;
    let wanted: Vec<MirrorRule> = scene
        .tables
        .iter()
        .flat_map(|table| types.iter().map(move |of| (table, of)))
        .map(|(table, of)| MirrorRule {
            from_table: format!("{source}.{table}{}", suffix(*of)),
            to_table: format!("{target}.{table}"),
            percent,
        })
        .collect();
    let is_removed = percent <= 0.0;
    // What is there of a type is removed whether or not it is all of it.
    if !is_removed && !there.is_empty() && there.len() != wanted.len() {
        return Err(Status::unknown("wrong number of pre-existing mirror rules"));
    }
    let edit = if is_removed { Edit::Unmirror(there) } else { Edit::Mirror(wanted) };
    let record = scene.rules.get(MIRROR_RULES).cloned().unwrap_or_default().value;
    let after = edit.apply(&record).map_err(Status::unknown)?;
    let is_ours = |rule: &MirrorRule| {
        scene.tables.iter().any(|table| {
            let from = TYPES.map(|of| format!("{source}.{table}{}", suffix(of)));
            from.contains(&rule.from_table) && rule.to_table == format!("{target}.{table}")
        })
    };
    let allow_reads = edit::mirror_rules(&after).map_err(Status::unknown)?.iter().any(is_ours);
    let mut stages = Stages::default();
    let failure = "failed to save mirror rules: ".to_owned();
    if !types.is_empty() && !is_same(&after, &record) {
        stages.failing("write the mirror rules", failure, [act::edit_rules(scene, MIRROR_RULES, edit, &[])]);
    }
    let failure = "failed to update target denied tables: ".to_owned();
    let lanes = scene.targets.values().filter_map(|on| let_reads(on, scene, allow_reads));
    stages.failing("let mirrored reads through", failure, lanes);
    stages.add("serve the rules", [vec![rebuild(scene)]]);
    Ok(stages)
}

/// Whether two records have the same rules, in whatever order.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let sorted = |record: &[u8]| {
        let mut rules = edit::mirror_rules(record).unwrap_or_default();
        rules.sort_by(|a, b| (&a.from_table, &a.to_table).cmp(&(&b.from_table, &b.to_table)));
        rules
    };
    sorted(a) == sorted(b)
}

/// The tables that a shard denies, of the workflow's: whether reads of them are let through.
fn let_reads(on: &Member, scene: &Scene, allow_reads: bool) -> Option<Lane> {
    let denied = on.denied();
    let tables: Vec<String> = scene.tables.iter().filter(|table| denied.contains(*table)).cloned().collect();
    // Told also where the record says so already: whoever wrote it may have told nobody.
    (!tables.is_empty()).then(|| act::edit_shard(on, Edit::Deny { tables, is_denied: true, allow_reads }, None))
}

fn refuse(types: &[TabletType], scene: &Scene) -> Result<(), Status> {
    let invalid = |what: String| Err(Status::unknown(format!("invalid action for {what}: MirrorTraffic")));
    let of_type = Type::try_from(scene.workflow_type).map_or("", |of| of.as_str_name());
    if of_type != "MoveTables" || scene.kind == Kind::Migrate {
        let of_type = match scene.kind {
            Kind::Migrate => "Migrate",
            _ if of_type == "CreateLookupIndex" => "",
            _ => of_type,
        };
        return invalid(format!("{of_type} workflow"));
    }
    if forward_of(&scene.workflow).is_some() {
        return invalid("reverse workflow".into());
    }
    match scene.kind {
        Kind::Reshard => return invalid("SHARDS migration type".into()),
        Kind::Partial => return invalid("partial migration".into()),
        Kind::MultiTenant => return invalid("multi-tenant migration".into()),
        Kind::Standard | Kind::Migrate => {}
    }
    let are_writes_switched = standing::writes(scene).map_err(Status::unknown)? != Writes::NotSwitched;
    let mut switched = Vec::new();
    for of in types {
        let is_switched = match of {
            TabletType::Primary => are_writes_switched,
            of => standing::are_some_reads_switched(scene, *of).map_err(Status::unknown)?,
        };
        switched.extend(is_switched.then(|| of.as_str_name().to_lowercase()));
    }
    if !switched.is_empty() {
        let (switched, workflow) = (switched.join(","), &scene.workflow);
        let text = format!(
            "cannot mirror [{switched}] traffic for workflow {workflow} at this time: traffic for those tablet types is switched"
        );
        return Err(Status::unknown(text));
    }
    validate(scene).map_err(Status::unknown)
}
