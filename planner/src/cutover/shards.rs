//! The steps of a reshard that are its own: query services, and which shards the cells serve.
//!
//! Facts: `go/vt/vtctl/workflow/traffic_switcher.go` (`switchShardReads`, `changeShardsAccess`, `changeShardRouting`), v24.

use std::collections::BTreeMap;

use crate::{
    cutover::{
        act::{self, Act, Lane},
        edit::Edit,
        scene::Member,
        served,
        steps::Basis,
        stored::Stored,
    },
    proto::topodata::{ShardReference, TabletType},
};

fn references(members: &BTreeMap<String, Member>) -> Vec<ShardReference> {
    members.values().map(Member::reference).collect()
}

fn query_service(of: TabletType, members: &BTreeMap<String, Member>, is_off: bool) -> Edit {
    Edit::QueryService { of, shards: references(members).into_iter().map(|shard| (shard, Some(is_off))).collect() }
}

impl Basis<'_> {
    /// In each cell at once: the shards that reads go to are open before any read is sent to them, and those that they leave are
    /// closed after.
    pub(super) fn shard_reads(&self) -> Lane {
        let (scene, resolved) = (self.scene, self.resolved);
        let (to, from) = resolved.sides(scene);
        let cells: Vec<&String> = if resolved.writes { scene.served.keys().collect() } else { resolved.cells.iter().collect() };
        let in_cells = |edit: &dyn Fn(TabletType) -> Vec<Edit>| -> Vec<Act> {
            let edit = Edit::All(resolved.reads.iter().flat_map(|of| edit(*of)).collect());
            cells.iter().filter_map(|cell| act::edit_served(scene, cell, edit.clone(), None)).collect()
        };
        let told = |members: &BTreeMap<String, Member>| -> Vec<Act> { members.values().flat_map(|on| self.told(on)).collect() };
        let moved = |of| {
            let serve = Edit::Serve { of, added: references(to), removed: references(from), clears: false };
            vec![serve, query_service(of, from, true)]
        };
        vec![in_cells(&|of| vec![query_service(of, to, false)]), told(to), in_cells(&moved), told(from)]
    }

    /// The source's primaries serve no more.
    pub(super) fn close_shards(&self) -> Lane {
        let scene = self.scene;
        let edit = query_service(TabletType::Primary, &scene.sources, true);
        let cells = scene.srv_keyspaces.keys();
        let edits = cells.filter_map(|cell| act::edit_served(scene, cell, edit.clone(), None)).collect();
        vec![edits, scene.sources.values().map(act::close_primary).collect()]
    }

    /// The target's primaries serve: by what the cells serve, and by the records of both sides.
    pub(super) fn route_shards(&self) -> Lane {
        let scene = self.scene;
        let (of, mut lane) = (TabletType::Primary, Vec::new());
        let is_off = |stored: &Stored| {
            let partitions = served::partitions(&stored.value).unwrap_or_default();
            scene.targets.values().any(|on| served::is_off(&partitions, of, &on.reference()) == Some(true))
        };
        if scene.srv_keyspaces.values().any(is_off) {
            let edit = query_service(of, &scene.targets, false);
            let opened = scene.srv_keyspaces.keys().filter_map(|cell| act::edit_served(scene, cell, edit.clone(), None));
            lane.push(opened.collect());
            lane.push(scene.targets.values().map(|on| act::refresh(on, &on.primary)).collect());
        }
        let serve = Edit::Serve { of, added: references(&scene.targets), removed: references(&scene.sources), clears: true };
        let cells = scene.srv_keyspaces.keys().filter_map(|cell| act::edit_served(scene, cell, serve.clone(), None));
        let closed = scene.sources.values().map(|on| act::edit_shard_alone(on, Edit::Serving(false)));
        let open = scene.targets.values().map(|on| act::edit_shard_alone(on, Edit::Serving(true)));
        lane.push(closed.chain(open).chain(cells).collect());
        lane
    }
}
