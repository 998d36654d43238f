//! Reading the streams of other workflows on all primaries of a reshard.

use std::collections::BTreeMap;

use super::{
    row::OtherStream,
    taken::{About, Found, Others},
};
use crate::{
    contract::{Answer, AskId},
    cutover::{member::Member, scene::Scene},
    operation::Asks,
    sidecar::{literal::quote, query::Query, result::RowSet},
    topo::targets::unexpected,
    traffic::journal,
};

/// What is waited for.
pub(crate) enum OthersWanted {
    OnSource(String),
    OnTarget(String),
    Copying(String),
}

/// The reading under way.
#[derive(Default)]
pub(crate) struct OthersLook {
    found: Found,
}

impl OthersLook {
    /// Asks all primaries of both sides.
    pub(crate) fn ask(scene: &Scene, asks: &mut Asks) -> BTreeMap<AskId, OthersWanted> {
        let mut waiting = BTreeMap::new();
        let mut ask = |on: &Member, query: Query, wanted| {
            waiting.insert(asks.release(query.call(&on.primary, &on.keyspace, &on.shard, &on.db_name)), wanted);
        };
        let streams = |on: &Member| {
            let text = format!("select * from _vt.vreplication where db_name={}", quote(&on.db_name));
            Query::vreplication("streams", text)
        };
        for (shard, on) in &scene.sources {
            ask(on, streams(on), OthersWanted::OnSource(shard.clone()));
            let text = "select distinct vrepl_id from _vt.copy_state".to_owned();
            ask(on, Query::vreplication("copy state", text), OthersWanted::Copying(shard.clone()));
        }
        for (shard, on) in &scene.targets {
            ask(on, streams(on), OthersWanted::OnTarget(shard.clone()));
        }
        waiting
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// Why it is not known.
    pub(crate) fn took(&mut self, wanted: OthersWanted, answer: Answer) -> Result<(), String> {
        let rows = match answer {
            Answer::Called(response) => RowSet::from_vreplication_exec(&response).map_err(|error| error.to_string())?,
            Answer::Failed { message, .. } => return Err(message),
            other => return Err(unexpected("a read of streams", &other)),
        };
        match wanted {
            OthersWanted::OnSource(shard) => {
                let streams = OtherStream::all(&shard, &rows);
                self.found.on_source.insert(shard, streams);
            }
            OthersWanted::OnTarget(shard) => {
                let streams = OtherStream::all(&shard, &rows);
                self.found.on_target.insert(shard, streams);
            }
            OthersWanted::Copying(shard) => {
                let ids = rows.rows().filter_map(|row| row.integer("vrepl_id").ok().flatten()).collect();
                self.found.copying.insert(shard, ids);
            }
        }
        Ok(())
    }

    /// Whether a switch to the source of the scene has stopped streams on its target: where the scene is that of a way back which was
    /// finished once, the switch after it was begun, and came to nothing else.
    pub(crate) fn are_held_on_target(&self) -> bool {
        self.found.on_target.values().flatten().any(OtherStream::is_held)
    }

    /// What was read, for the scene of the other direction. What is copying on its source was not read: nothing is taken along there.
    pub(crate) fn turned(self) -> Self {
        let Found { on_source, on_target, .. } = self.found;
        Self { found: Found { on_source: on_target, on_target: on_source, ..Found::default() } }
    }

    /// What there is.
    ///
    /// # Errors
    /// The vschema cannot be read.
    pub(crate) fn end(self, scene: &Scene) -> Result<Others, String> {
        if self.found.on_source.is_empty() {
            return Ok(Others::default());
        }
        let about = About {
            keyspace: &scene.source_keyspace,
            workflow: &scene.workflow,
            reverse: &scene.reverse,
            sources: &scene.sources,
            vschema: &scene.vschema(&scene.source_keyspace)?,
            journaled: scene.journals.values().next().map(|text| journal::read(text).workflows),
        };
        Ok(Others::of(&self.found, about))
    }
}
