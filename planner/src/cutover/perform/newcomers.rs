//! Those who came while a shard was closed, and may have read that it was: who its tablets are, and its primary, is read once more behind
//! the record that opens it.
//!
//! A tablet reads its shard's record when it is started and when it is told to, and goes by what it has read last when it is promoted
//! (`go/vt/vttablet/tabletmanager/tm_state.go`: `RefreshFromTopo`, `ChangeTabletType`; `rpc_actions.go:RefreshState` and promotions take
//! turns). So whoever is told behind the write of the record has read it, whatever it was in the middle of.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::written::{UNTOLD, said};
use crate::{
    contract::{Answer, What},
    cutover::{
        act::{self, Act, Newcomers},
        member::{Member, member},
        stored::Stored,
    },
    proto::topodata::Tablet,
    topo::names::recorded_alias,
};

/// What is listed anew.
#[derive(Default)]
pub(super) struct Listing {
    opened: Vec<Member>,
    /// By path.
    shards: BTreeMap<String, Stored>,
    tablets: BTreeMap<String, Tablet>,
    outstanding: usize,
}

impl Listing {
    /// Begins; the asks, each with what it lists.
    pub(super) fn start(of: Newcomers) -> (Self, Vec<(String, What)>) {
        let ask = |(cell, prefix): (String, String)| (format!("{prefix} of {cell}"), What::TopoRange { cell, prefix });
        let asks: Vec<_> = of.ranges().into_iter().map(ask).collect();
        (Self { outstanding: asks.len(), opened: of.opened, ..Self::default() }, asks)
    }

    /// Takes an answer. Once all are there: calls of those that came meanwhile.
    pub(super) fn took(&mut self, what: &str, answer: Answer, notes: &mut BTreeSet<String>) -> Vec<Act> {
        match answer {
            Answer::Range(records) => {
                for record in records {
                    if let Some(alias) = recorded_alias(&record.path) {
                        match Tablet::decode(record.value.as_slice()) {
                            Ok(tablet) => drop(self.tablets.insert(alias.to_owned(), tablet)),
                            Err(error) => untold(&format!("{}: {error}", record.path), notes),
                        }
                    } else {
                        self.shards.insert(record.path, Stored { value: record.value, version: record.version });
                    }
                }
            }
            Answer::Missing { .. } => {}
            other => untold(&said(what, other), notes),
        }
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.outstanding == 0 { self.calls(notes) } else { Vec::new() }
    }

    fn calls(&self, notes: &mut BTreeSet<String>) -> Vec<Act> {
        let mut acts = Vec::new();
        for on in &self.opened {
            let now = match member(&on.keyspace, &on.shard, true, self.shards.get(&on.path()), &self.tablets) {
                Ok(now) => now,
                Err(why) => {
                    untold(&why, notes);
                    continue;
                }
            };
            let new = now.tablets.iter().filter(|tablet| **tablet != now.primary && !on.tablets.contains(*tablet));
            acts.extend(new.map(|tablet| act::tell_newcomer(&now, tablet)));
            if now.primary != on.primary {
                let (alias, old) = (&now.primary.alias, &on.primary.alias);
                if alias != old {
                    notes.insert(format!("{alias} is the primary of {} now, no more {old}: it is to be told, too", on.place()));
                }
                acts.push(act::close_primary(&now));
            }
        }
        acts
    }
}

fn untold(why: &str, notes: &mut BTreeSet<String>) {
    notes.insert(format!("tablets that are new have not been told: {why}"));
    notes.insert(UNTOLD.into());
}
