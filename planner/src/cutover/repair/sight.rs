//! What a repair looks at: what a diagnosis does, then the tablets of the shards that it touches, and what cells are made anew from.
//!
//! Nothing is changed here.

use std::collections::BTreeMap;

use prost::Message;

use super::{choose::Chosen, request::Wanted};
use crate::{
    contract::{Answer, AskId, Status, Timestamp, What},
    cutover::{
        edit::RULE_PATHS,
        scene::{self, Member, Scene},
        stored::Stored,
    },
    operation::{Asks, Operation},
    ops::diagnose::{Diagnose, Looked, Versioned},
    proto::topodata::Tablet,
    topo::{
        names::{GLOBAL, KeyspaceName, TABLETS_PREFIX, check_cell, recorded_alias},
        targets::unexpected,
    },
    traffic::repair::Action,
};

enum Asked {
    Tablets(String),
    VSchema(String),
}

/// The reading under way.
pub(super) struct Sight {
    wanted: Wanted,
    diagnose: Diagnose,
    seen: Option<(Looked, Chosen)>,
    waiting: BTreeMap<AskId, Asked>,
    tablets: BTreeMap<String, Tablet>,
    vschemas: BTreeMap<String, Stored>,
    /// What could not be read.
    failures: Vec<String>,
}

/// All that was seen.
pub(super) struct Seen {
    pub(super) looked: Looked,
    pub(super) chosen: Chosen,
    /// The records, as acts know them.
    pub(super) scene: Scene,
    tablets: BTreeMap<String, Tablet>,
}

impl Sight {
    /// Begins.
    ///
    /// # Errors
    /// Names that cannot exist.
    pub(super) fn start(wanted: &Wanted, now: Timestamp, asks: &mut Asks) -> Result<Self, Status> {
        Ok(Self {
            wanted: wanted.clone(),
            diagnose: Diagnose::of(wanted.diagnosis(), false, now, asks)?,
            seen: None,
            waiting: BTreeMap::new(),
            tablets: BTreeMap::new(),
            vschemas: BTreeMap::new(),
            failures: Vec::new(),
        })
    }

    pub(super) fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        let Some(asked) = self.waiting.remove(&id) else { return self.diagnose.answered(id, answer, asks) };
        match (asked, answer) {
            (Asked::Tablets(_), Answer::Range(records)) => {
                for record in records {
                    let name = recorded_alias(&record.path);
                    let read = name.and_then(|name| Some((name.to_owned(), Tablet::decode(record.value.as_slice()).ok()?)));
                    self.tablets.extend(read);
                }
            }
            (Asked::Tablets(_) | Asked::VSchema(_), Answer::Missing { .. }) => {}
            (Asked::VSchema(keyspace), Answer::Found { value, version }) => {
                self.vschemas.insert(keyspace, Stored { value, version });
            }
            (asked, other) => {
                let what = match asked {
                    Asked::Tablets(cell) => format!("the tablets of cell {cell}"),
                    Asked::VSchema(keyspace) => format!("the vschema of {keyspace}"),
                };
                let why = if let Answer::Failed { message, .. } = other { message } else { unexpected("a read", &other) };
                self.failures.push(format!("{what}: {why}"));
            }
        }
    }

    /// Goes on, once nothing is outstanding; whether all is there.
    ///
    /// # Errors
    /// What decides could not be read, or somebody has to choose.
    pub(super) fn go_on(&mut self, asks: &mut Asks) -> Result<bool, Status> {
        if self.seen.is_none() {
            let looked = self.diagnose.looked()?;
            let chosen = Chosen::of(&self.wanted, &looked)?;
            if !chosen.is_of_locks_alone() {
                self.read(&looked, &chosen, asks)?;
            }
            self.seen = Some((looked, chosen));
            return Ok(self.waiting.is_empty());
        }
        if self.failures.is_empty() {
            return Ok(true);
        }
        self.failures.sort();
        Err(Status::unknown(format!("{}\nnothing was changed", self.failures.join("\n"))))
    }

    fn read(&mut self, looked: &Looked, chosen: &Chosen, asks: &mut Asks) -> Result<(), Status> {
        for cell in &looked.cells {
            check_cell(cell).map_err(|bad| Status::unknown(format!("cell {cell:?} cannot exist: {bad}")))?;
            let id = asks.release(What::TopoRange { cell: cell.clone(), prefix: TABLETS_PREFIX.into() });
            self.waiting.insert(id, Asked::Tablets(cell.clone()));
        }
        if chosen.actions.iter().any(|it| matches!(it, Action::RebuildVSchemas { .. })) {
            for keyspace in &looked.keyspaces {
                let path = KeyspaceName::of_request(keyspace)?.vschema_path();
                let id = asks.release(What::TopoGet { cell: GLOBAL.into(), path });
                self.waiting.insert(id, Asked::VSchema(keyspace.clone()));
            }
        }
        Ok(())
    }

    /// What was seen, once all is there.
    pub(super) fn seen(self) -> Option<Seen> {
        let (looked, chosen) = self.seen?;
        let stored = |(value, version): &Versioned| Stored { value: value.clone(), version: *version };
        let rules = RULE_PATHS.into_iter().filter_map(|path| Some((path, stored(looked.rules.get(path)?))));
        let vschema = |name: &String| self.vschemas.get(name).cloned().unwrap_or_default();
        let scene = Scene {
            source_keyspace: self.wanted.keyspace.clone(),
            target_keyspace: self.wanted.keyspace,
            rules: rules.collect(),
            vschemas: looked.keyspaces.iter().map(|name| (name.clone(), vschema(name).value)).collect(),
            vschema_versions: looked.keyspaces.iter().map(|name| (name.clone(), vschema(name).version)).collect(),
            served: looked.served.iter().map(|(cell, it)| (cell.clone(), stored(it))).collect(),
            ..Scene::default()
        };
        Some(Seen { looked, chosen, scene, tablets: self.tablets })
    }
}

impl Seen {
    /// A shard that is touched, with its primary.
    ///
    /// # Errors
    /// It has no primary, or none that can be called.
    pub(super) fn member(&self, keyspace: &str, shard: &str) -> Result<Member, Status> {
        let path = format!("keyspaces/{keyspace}/shards/{shard}/Shard");
        let stored = self.looked.shards.get(&path).map(|(value, version)| Stored { value: value.clone(), version: *version });
        let member = scene::member(keyspace, shard, true, stored.as_ref(), &self.tablets);
        member.map_err(|why| Status::unknown(format!("{why}; nothing was changed")))
    }
}
