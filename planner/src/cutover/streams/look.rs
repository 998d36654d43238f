//! Reading the streams of other workflows on all primaries of a reshard.

use std::collections::{BTreeMap, BTreeSet};

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

/// A side of the way forth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Target,
}

/// What is waited for, of a shard.
pub(crate) enum OthersWanted {
    Streams(Side, String),
    Copying(Side, String),
}

/// What a side has.
#[derive(Default)]
struct OnSide {
    streams: BTreeMap<String, Vec<OtherStream>>,
    /// By shard, ids of streams that are copying.
    copying: BTreeMap<String, BTreeSet<i64>>,
}

impl OnSide {
    fn are_held(&self) -> bool {
        self.streams.values().flatten().any(OtherStream::is_held)
    }
}

/// The reading under way. Which of the sides the traffic is going to leave need not be known.
#[derive(Default)]
pub(crate) struct OthersLook {
    source: OnSide,
    target: OnSide,
}

impl OthersLook {
    /// Asks all primaries of both sides.
    pub(crate) fn ask(
        sources: &BTreeMap<String, Member>,
        targets: &BTreeMap<String, Member>,
        asks: &mut Asks,
    ) -> BTreeMap<AskId, OthersWanted> {
        let mut waiting = BTreeMap::new();
        let mut ask = |on: &Member, query: Query, wanted| {
            waiting.insert(asks.release(query.call(&on.primary, &on.keyspace, &on.shard, &on.db_name)), wanted);
        };
        for (side, members) in [(Side::Source, sources), (Side::Target, targets)] {
            for (shard, on) in members {
                let text = format!("select * from _vt.vreplication where db_name={}", quote(&on.db_name));
                ask(on, Query::vreplication("streams", text), OthersWanted::Streams(side, shard.clone()));
                let text = "select distinct vrepl_id from _vt.copy_state".to_owned();
                ask(on, Query::vreplication("copy state", text), OthersWanted::Copying(side, shard.clone()));
            }
        }
        waiting
    }

    fn side(&mut self, side: Side) -> &mut OnSide {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
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
            OthersWanted::Streams(side, shard) => {
                let streams = OtherStream::all(&shard, &rows);
                self.side(side).streams.insert(shard, streams);
            }
            OthersWanted::Copying(side, shard) => {
                let ids = rows.rows().filter_map(|row| row.integer("vrepl_id").ok().flatten()).collect();
                self.side(side).copying.insert(shard, ids);
            }
        }
        Ok(())
    }

    /// Whether a switch has stopped streams on the source.
    pub(crate) fn are_held_on_source(&self) -> bool {
        self.source.are_held()
    }

    /// Whether a way back has stopped streams on the target.
    pub(crate) fn are_held_on_target(&self) -> bool {
        self.target.are_held()
    }

    /// What there is, as the scene has the sides.
    ///
    /// # Errors
    /// The vschema cannot be read.
    pub(crate) fn end(self, scene: &Scene) -> Result<Others, String> {
        let (from, to) = if scene.is_reversal { (self.target, self.source) } else { (self.source, self.target) };
        if from.streams.is_empty() {
            return Ok(Others::default());
        }
        let found = Found { on_source: from.streams, on_target: to.streams, copying: from.copying };
        let about = About {
            keyspace: &scene.source_keyspace,
            workflow: &scene.workflow,
            reverse: &scene.reverse,
            sources: &scene.sources,
            vschema: &scene.vschema(&scene.source_keyspace)?,
            journaled: scene.journals.values().next().map(|text| journal::read(text).workflows),
        };
        Ok(Others::of(&found, about))
    }
}
