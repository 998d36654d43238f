//! The rules of a workflow go: only those that lead to one of its two keyspaces, whatever others have for tables of the same name.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cutover::{
        act::{self, Act, Lane},
        edit::{self, Edit, KEYSPACE_RULES, MIRROR_RULES, SHARD_RULES, TABLE_RULES},
        forward::standing,
        scene::{Scene, suffix},
    },
    proto::topodata::TabletType,
    traffic::kind::Kind,
};

const TYPES: [TabletType; 3] = [TabletType::Primary, TabletType::Replica, TabletType::Rdonly];

/// Which kinds of rules a workflow has, of those that are there.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    tables: BTreeMap<String, Option<Vec<String>>>,
    shards: BTreeMap<(String, String), Option<String>>,
    keyspaces: BTreeMap<String, Option<String>>,
    mirrored: BTreeSet<(String, String)>,
}

impl Rules {
    /// Those of the workflow.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub(super) fn of(scene: &Scene) -> Result<Self, String> {
        if !standing::moves_traffic(scene) {
            return Ok(Self::default());
        }
        let (source, target) = (&scene.source_keyspace, &scene.target_keyspace);
        let mut rules = Self { mirrored: scene.mirrored(&TYPES)?, ..Self::default() };
        if scene.kind == Kind::Reshard {
            // Its tables are named by a pattern, and those of the same name are others'.
            return Ok(rules);
        }
        let keys = scene.table_keys()?;
        for table in &scene.tables {
            let ours = [format!("{source}.{table}"), format!("{target}.{table}")];
            for from in ["", &format!("{source}."), &format!("{target}.")] {
                let own = TYPES.map(|of| format!("{from}{table}{}", suffix(of)));
                let leads_to_ours = |key: &String| keys.get(key).is_some_and(|to| to.iter().all(|to| ours.contains(to)));
                rules.tables.extend(own.into_iter().filter(leads_to_ours).map(|key| (key, None)));
            }
        }
        if scene.kind == Kind::Partial {
            let there = standing::shard_rules(scene)?;
            let keys = standing::source_shards(scene).into_iter().map(|shard| (target.clone(), shard.to_owned()));
            rules.shards.extend(keys.filter(|key| there.get(key) == Some(source)).map(|key| (key, None)));
        }
        if scene.kind == Kind::MultiTenant {
            let there = scene.rules.get(KEYSPACE_RULES).map_or(&[][..], |stored| stored.value.as_slice());
            let there = edit::keyspace_keys(there)?;
            let keys = TYPES.map(|of| format!("{source}{}", suffix(of)));
            let is_ours = |key: &String| there.get(key).is_some_and(|to| to == source || to == target);
            rules.keyspaces.extend(keys.into_iter().filter(is_ours).map(|key| (key, None)));
        }
        Ok(rules)
    }

    /// The rules go at once, and then every cell serves what is there by now: what else was written, too.
    pub(super) fn delete(self, scene: &Scene) -> Lane {
        let edits = [
            (!self.tables.is_empty()).then_some((TABLE_RULES, Edit::TableRules(self.tables))),
            (!self.shards.is_empty()).then_some((SHARD_RULES, Edit::ShardRules(self.shards))),
            (!self.keyspaces.is_empty()).then_some((KEYSPACE_RULES, Edit::KeyspaceRules(self.keyspaces))),
            (!self.mirrored.is_empty()).then_some((MIRROR_RULES, Edit::Unmirror(self.mirrored))),
        ];
        let edits = edits.into_iter().flatten();
        vec![edits.flat_map(|(path, edit)| act::edit_rules(scene, path, edit, &[])).flatten().collect(), rebuild(scene)]
    }
}

/// What every cell serves is made anew.
pub(super) fn rebuild(scene: &Scene) -> Vec<Act> {
    scene.served.keys().map(|cell| Act::Rebuild { cell: cell.clone() }).collect()
}
