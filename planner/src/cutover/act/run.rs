//! What a run has learned and written, from which its later acts are made.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cutover::{
        edit::{self, Edit},
        scene::{Member, Scene},
        sequences::planned_values,
        stored::Stored,
        streams::OtherStream,
    },
    topo::names::GLOBAL,
};

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
