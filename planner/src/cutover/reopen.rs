//! What takes back a switch, or a way back, that stopped before its journal: its source takes writes again, and rows are copied as before.
//!
//! Every step finds its work done or does it, so that none has to be taken back: what fails is finished by the same request.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cutover::{
        act::{self, Lane},
        begun::{self, is_left},
        edit::Edit,
        scene::{Member, Scene, Stream},
        steps::{Basis, delete_streams, freeze_streams},
    },
    proto::topodata::TabletType,
    traffic::kind::Kind,
};

/// Whoever may have read that these shards were closed reads that they are open. Of a reshard, only primaries were told.
pub(super) fn tell(scene: &Scene, opened: &[&Member]) -> Vec<Lane> {
    let others = opened.iter().filter(|_| scene.kind == Kind::Reshard).map(|on| vec![act::tell_others(on)]);
    others.chain([act::newcomers(scene.served.keys(), opened.iter().copied())]).collect()
}

impl Basis<'_> {
    /// The source takes writes again; what the switch had opened is closed.
    pub(super) fn reopen(&self) -> Vec<Lane> {
        let scene = self.scene;
        if scene.kind == Kind::Reshard {
            // As long as anything is said of a primary's query service, vtgates hold the keyspace for one that is being resharded: whatever
            // they hold up meanwhile, at a failover say, waits to the end of its time. Source: `go/vt/discovery/keyspace_events.go`.
            let shards = scene.sources.values().map(|on| (on.reference(), None)).collect();
            let edit = Edit::QueryService { of: TabletType::Primary, shards };
            let cells = scene.srv_keyspaces.keys();
            // What is taken back afterwards leaves them open.
            let edits = cells.filter_map(|cell| act::edit_served(scene, cell, edit.clone(), Some(edit.clone()))).collect();
            return vec![vec![edits, scene.sources.values().map(act::close_primary).collect()]];
        }
        let deny = |is_denied| Edit::Deny { tables: scene.tables.clone(), is_denied, allow_reads: false };
        let open = scene.sources.values().map(|on| act::edit_shard(on, deny(false), None));
        // Targets of other kinds deny nothing before their first switch; after it all do.
        let closed = scene.targets.values().filter(|_| scene.kind == Kind::Standard || scene.is_reversal);
        let closed = closed.map(|on| act::edit_shard(on, deny(true), None));
        open.chain(closed).collect()
    }

    /// The shards that this opens: of what is taken back, also those that whoever has begun with that has opened, for he may have told
    /// nobody.
    pub(super) fn opened(&self) -> Vec<&'_ Member> {
        let scene = self.scene;
        if self.resolved.reopens {
            return scene.sources.values().collect();
        }
        let closed = begun::closed(scene.kind, &scene.tables, &scene.targets, &scene.srv_keyspaces);
        scene.targets.values().filter(|on| closed.contains(&on.shard)).collect()
    }

    /// The streams of the other direction that the switch had created go.
    pub(super) fn drop_reverse(&self) -> Vec<Lane> {
        let mut ids: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
        for stream in self.scene.reverse_streams.iter().filter(|stream| is_left(stream)) {
            ids.entry(&stream.shard).or_default().insert(stream.id);
        }
        // A vtctld deletes those of the way forth before it makes them anew for a way back: then these are all that there are.
        let are_last = self.scene.is_reversal && !self.scene.reverse_streams.iter().any(Stream::is_frozen);
        let lane = |(shard, ids): (&str, BTreeSet<i64>)| {
            let on = self.scene.sources.get(shard)?;
            Some(vec![vec![if are_last { freeze_streams(on, &ids) } else { delete_streams(on, &ids) }]])
        };
        ids.into_iter().filter_map(lane).collect()
    }
}
