//! Records that become others, and who is told of it.

use super::{Act, Lane, RecordEdit, refresh, tell};
use crate::{
    cutover::{
        edit::Edit,
        scene::{Member, Scene},
        stored::Stored,
    },
    topo::names::GLOBAL,
};

/// A shard's record becomes another, and its tablets are told.
pub(crate) fn edit_shard(on: &Member, edit: Edit, back: Option<Edit>) -> Lane {
    vec![vec![shard_record(on, edit, back)], on.tablets.iter().map(|tablet| refresh(on, tablet)).collect()]
}

/// A source's record becomes another, and its tablets are told, its primary without excuse.
pub(crate) fn close_shard(on: &Member, edit: Edit, back: Option<Edit>) -> Lane {
    vec![vec![shard_record(on, edit, back)], tell(on)]
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
    shard_record(on, edit, None)
}

fn shard_record(on: &Member, edit: Edit, back: Option<Edit>) -> Act {
    let record = RecordEdit {
        cell: GLOBAL.into(),
        path: on.path(),
        keyspace: on.keyspace.clone(),
        shard: on.shard.clone(),
        edit,
        base: on.record.clone(),
        back,
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
