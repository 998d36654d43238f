//! Looking at sequences before anything is touched: where they are, their values, and the largest values of the columns that they fill.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    locate,
    sequence::{Sequence, highest_failure, initialize_failure},
};
use crate::{
    contract::{Answer, AskId},
    cutover::{
        scene::{Member, Scene, member},
        stored::Stored,
    },
    operation::Asks,
    proto::topodata::Tablet,
    sequences::{NO_TABLE, current, next_value},
    topo::{said::errno, targets::unexpected},
};

/// What is waited for; the number is the sequence's.
pub(crate) enum SequenceWanted {
    Value(usize, Box<Member>),
    Highest(usize, Box<Member>),
}

/// The look under way.
#[derive(Default)]
pub(crate) struct SequenceLook {
    sequences: Vec<Sequence>,
    /// Why they cannot be raised.
    failures: BTreeSet<String>,
}

impl SequenceLook {
    /// Finds them. Nothing is asked.
    pub(crate) fn start(scene: &Scene) -> Self {
        match locate::sequences(scene) {
            Ok(sequences) => Self { sequences, ..Self::default() },
            Err(why) => Self { failures: BTreeSet::from([located(scene, &why)]), ..Self::default() },
        }
    }

    /// The keyspaces that they are in.
    pub(crate) fn keyspaces(&self) -> BTreeSet<String> {
        self.sequences.iter().map(|it| it.keyspace.clone()).collect()
    }

    /// Asks for their values, and for the largest ones of the columns.
    pub(crate) fn ask(
        &mut self,
        scene: &Scene,
        shards: &BTreeMap<(String, String), Stored>,
        tablets: &BTreeMap<String, Tablet>,
        asks: &mut Asks,
    ) -> Vec<(AskId, SequenceWanted)> {
        for sequence in &mut self.sequences {
            match primary(sequence, shards, tablets) {
                Ok(on) => sequence.on = Some(on),
                Err(why) => drop(self.failures.insert(located(scene, &why))),
            }
        }
        if !self.failures.is_empty() {
            return Vec::new();
        }
        let mut waiting = Vec::new();
        for (at, sequence) in self.sequences.iter().enumerate() {
            let Some(on) = &sequence.on else { continue };
            let value = sequence.value(on).call(&on.primary, &on.keyspace, &on.shard, &on.db_name);
            waiting.push((asks.release(value), SequenceWanted::Value(at, Box::new(on.clone()))));
            for user in &sequence.users {
                for on in scene.targets.values() {
                    let highest = Sequence::highest(user, on).call(&on.primary, &on.keyspace, &on.shard, &on.db_name);
                    waiting.push((asks.release(highest), SequenceWanted::Highest(at, Box::new(on.clone()))));
                }
            }
        }
        waiting
    }

    /// Takes an answer.
    pub(crate) fn took(&mut self, wanted: SequenceWanted, answer: Answer) {
        let (at, failure) = match &wanted {
            SequenceWanted::Value(at, on) => (*at, initialize_failure(on)),
            SequenceWanted::Highest(at, on) => (*at, highest_failure(on)),
        };
        let Some(sequence) = self.sequences.get_mut(at) else { return };
        let taken = match (wanted, answer) {
            (SequenceWanted::Value(..), Answer::Failed { message, .. }) if errno(&message) == Some(NO_TABLE) => Ok(()),
            (_, Answer::Failed { message, .. }) => Err(message),
            (SequenceWanted::Value(..), Answer::Called(response)) => current(&response).map(|current| {
                (sequence.is_table_there, sequence.current) = (true, current);
            }),
            (SequenceWanted::Highest(..), Answer::Called(response)) => {
                next_value(&response).map(|next| sequence.next = sequence.next.max(next))
            }
            (_, other) => Err(unexpected("a read of a sequence", &other)),
        };
        if let Err(why) = taken {
            self.failures.insert(format!("{failure}{why}"));
        }
    }

    /// What was seen, or why the sequences cannot be raised.
    pub(crate) fn end(self, scene: &Scene) -> Result<Vec<Sequence>, String> {
        if self.failures.is_empty() {
            return Ok(self.sequences);
        }
        let is_located = self.failures.iter().all(|text| text.starts_with(&located(scene, "")));
        let texts = self.failures.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let target = &scene.target_keyspace;
        let front = format!("failed to initialize the sequences used in the {target} keyspace: ");
        Err(if is_located { texts } else { format!("{front}{texts}") })
    }
}

fn located(scene: &Scene, why: &str) -> String {
    format!("failed to get the sequence information in the {} keyspace: {why}", scene.target_keyspace)
}

/// The primary of a sequence's keyspace, which has one shard.
fn primary(
    sequence: &Sequence,
    shards: &BTreeMap<(String, String), Stored>,
    tablets: &BTreeMap<String, Tablet>,
) -> Result<Member, String> {
    let Sequence { keyspace, is_new, .. } = sequence;
    let own: Vec<_> = shards.iter().filter(|((of, _), _)| of == keyspace).collect();
    let [((_, shard), record)] = own.as_slice() else {
        return Err(if *is_new && !own.is_empty() {
            format!("global-keyspace {keyspace} is not unsharded")
        } else {
            format!("failed to get the primary tablet for keyspace {keyspace}: it has {} shards, a sequence's has one", own.len())
        });
    };
    member(keyspace, shard, false, Some(record), tablets).map_err(|why| {
        if *is_new && why.ends_with("doesn't have a primary set") {
            format!("global-keyspace {keyspace} does not currently have a primary tablet")
        } else {
            format!("failed to get the primary tablet for keyspace {keyspace}: {why}")
        }
    })
}
