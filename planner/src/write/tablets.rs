//! The targets of a write of rows: the primaries of a keyspace's shards, and what else a kind of write asks before it decides.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    contract::{Answer, AskId, Code, Failure, Lost, Status, Timestamp},
    operation::Asks,
    sidecar::survey::{Found, Look, Looked, Progress, Survey},
    topo::targets::{Event, Unreached},
    write::{
        change::{Change, Prepared},
        inquiry::{Inquired, Inquiring},
        judge::{Done, Shown},
        kind::{Lock, NoTargets, TabletWrite},
        seen::Seen,
        targets::{TargetSet, refused},
    },
};

/// The tablets of one write.
pub(super) struct Tablets {
    kind: Box<dyn TabletWrite>,
    now: Timestamp,
    /// The first looks, until all of them have ended.
    survey: Option<Survey>,
    unreached: Vec<Unreached>,
    fatal: Option<Status>,
    /// The read under way that the decision needs.
    inquiry: Option<Inquiring>,
    replies: Vec<Inquired>,
    /// In the order of shards.
    seen: Vec<Seen>,
    /// The second looks under way: which target's, and which of its looks.
    waiting: BTreeMap<AskId, (usize, usize, Look)>,
    /// What the second looks showed, by target.
    again: BTreeMap<usize, Seen>,
}

impl Tablets {
    pub(super) fn new(kind: Box<dyn TabletWrite>, now: Timestamp) -> Self {
        Self {
            kind,
            now,
            survey: None,
            unreached: Vec::new(),
            fatal: None,
            inquiry: None,
            replies: Vec::new(),
            seen: Vec::new(),
            waiting: BTreeMap::new(),
            again: BTreeMap::new(),
        }
    }

    fn found(&mut self, found: Found, asks: &mut Asks) {
        match found {
            Found::Target(index) => {
                let Some(survey) = &mut self.survey else { return };
                let looks = survey.target(index).map(|target| self.kind.looks(target)).unwrap_or_default();
                survey.look(index, 0, looks, asks);
            }
            Found::Seen(_) => {}
            Found::Unreached(unreached) => self.unreached.push(unreached),
            Found::Nobody(Event::NoShards(status)) => self.fail(self.kind.no_targets(NoTargets::NoShards(status))),
            Found::Nobody(Event::NoKeyspace { node }) => self.fail(self.kind.no_targets(NoTargets::NoKeyspace { node })),
            Found::Nobody(Event::NoShard { shard, status }) => self.fail(self.kind.no_shard(&shard, status)),
            Found::Nobody(why) => why.status().into_iter().for_each(|status| self.fail(status)),
        }
    }

    /// The request fails. A search for targets says so once at most.
    fn fail(&mut self, status: Status) {
        self.fatal = Some(status);
    }

    /// Every target has been looked at: what was seen, or why that is not enough.
    fn settle(&mut self) -> Result<(), Status> {
        if let Some(status) = self.fatal.take() {
            return Err(status);
        }
        let failures = self.failures();
        if !failures.is_empty() {
            let hint = if self.kind.shards().is_empty() { without(&failures) } else { String::new() };
            return Err(refused(&failures, failures.len() > 1, &hint));
        }
        let asked = self.survey.take().map(Survey::into_asked).unwrap_or_default();
        let seen = asked.into_iter().map(|asked| Seen { target: asked.target, looked: asked.looked.into_values().collect() });
        self.seen = seen.collect();
        let mut aliases: Vec<&str> = self.seen.iter().map(|seen| seen.target.address.alias.as_str()).collect();
        aliases.sort_unstable();
        if let Some(twice) = aliases.chunk_by(|a, b| a == b).find(|same| same.len() > 1).and_then(|same| same.first()) {
            let text = format!("two shards name {twice} as their primary, so one of them is wrong; nothing was changed");
            return Err(Status { code: Code::FailedPrecondition, message: text });
        }
        Ok(())
    }

    fn ask_again(&mut self, target: usize, number: usize, look: Look, asks: &mut Asks) {
        let Some(seen) = self.seen.get(target) else { return };
        self.waiting.insert(asks.release(look.query().ask(&seen.target)), (target, number, look));
    }

    fn looked_again(&mut self, target: usize, number: usize, look: Look, answer: Answer, asks: &mut Asks) {
        self.go_on(target, number, look.answered(answer), asks);
    }

    fn go_on(&mut self, target: usize, number: usize, progress: Progress, asks: &mut Asks) {
        match progress {
            Progress::Again(look) => self.ask_again(target, number, look, asks),
            Progress::Parts(parts) => {
                for (place, part) in parts.into_iter().enumerate() {
                    self.go_on(target, number + place, part, asks);
                }
            }
            Progress::Ended(looked) => {
                if let Some(place) = self.again.get_mut(&target).and_then(|after| after.looked.get_mut(number)) {
                    *place = looked;
                }
            }
        }
    }
}

/// How to go on without the shards that could not be seen. They are named here: what a topology or a tablet says of itself has no shard.
fn without(failures: &[Failure]) -> String {
    let shards: BTreeSet<&str> =
        failures.iter().map(|failure| failure.shard.as_str()).filter(|shard| !shard.is_empty()).collect();
    let named: Vec<&str> = shards.iter().copied().take(SHARDS_NAMED).collect();
    let more = match shards.len().saturating_sub(SHARDS_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = named.join(", ");
    if named.is_empty() { String::new() } else { format!("; name the other shards to leave {named}{more} out") }
}

/// Names of shards in a line.
const SHARDS_NAMED: usize = 4;

impl TargetSet for Tablets {
    fn locks(&self) -> Vec<Lock> {
        self.kind.locks()
    }

    /// No keyspace, hence no shards: clients know that text. vtctld looks for the shards before it locks.
    fn no_directory(&self, node: String) -> Status {
        self.kind.no_targets(NoTargets::NoKeyspace { node: format!("{}/shards/", node.trim_end_matches('/')) })
    }

    fn look(&mut self, asks: &mut Asks) -> Result<(), Status> {
        self.survey = Some(Survey::start(self.kind.keyspace(), self.kind.shards(), asks)?);
        Ok(())
    }

    fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) {
        if let Some((target, number, look)) = self.waiting.remove(&id) {
            self.looked_again(target, number, look, answer, asks);
        } else if let Some(survey) = &mut self.survey {
            for found in survey.answered(id, answer, asks) {
                self.found(found, asks);
            }
        } else if let Some(inquiry) = &mut self.inquiry {
            inquiry.answered(id, answer, asks);
        }
    }

    fn failures(&self) -> Vec<Failure> {
        let keyspace = self.kind.keyspace();
        let unreached =
            self.unreached.iter().map(|unreached| unreached.place.failure(keyspace, unreached.lost, &unreached.message));
        // Of one target's failures that of its first look is told.
        let unseen = self.survey.iter().flat_map(Survey::asked).filter_map(|asked| {
            if let Some(Unreached { place, lost, message }) = &asked.not_reread {
                return Some(place.failure(keyspace, *lost, message));
            }
            let message = asked.looked.values().find_map(Looked::failure)?;
            Some(asked.target.place.failure(keyspace, Lost::Shard, message))
        });
        let mut failures: Vec<Failure> = unreached.chain(unseen).collect();
        failures.sort();
        failures
    }

    /// After the rows come the kind's own questions, one after the other.
    fn look_on(&mut self, asks: &mut Asks) -> Result<bool, Status> {
        if self.survey.is_some() {
            self.settle()?;
        }
        self.replies.extend(self.inquiry.take().map(Inquiring::end));
        while let Some(inquiry) = self.kind.inquiry(&self.seen, &self.replies) {
            let inquiry = inquiry.begin(self.now, asks)?;
            if asks.outstanding() == 0 {
                // It had its reply at once.
                self.replies.push(inquiry.end());
                continue;
            }
            self.inquiry = Some(inquiry);
            return Ok(true);
        }
        Ok(false)
    }

    fn prepare(&self, force: bool) -> Result<Prepared, Status> {
        self.kind.prepare(&self.seen, &self.replies, force)
    }

    fn look_again(&mut self, target: usize, asks: &mut Asks) {
        let Some(before) = self.seen.get(target) else { return };
        let looks = self.kind.looks_again(before);
        // Each place is taken by what its look shows.
        let looked = vec![Looked::Rows(Vec::new(), None); looks.len()];
        self.again.insert(target, Seen { target: before.target.clone(), looked });
        for (number, look) in looks.into_iter().enumerate() {
            self.ask_again(target, number, look, asks);
        }
    }

    fn shown(&self, change: &Change) -> Option<Shown> {
        let (before, after) = (self.seen.get(change.target)?, self.again.get(&change.target)?);
        // Of several failures that of the first look is told.
        Some(match after.looked.iter().find_map(Looked::failure) {
            Some(text) => Shown::Unseen(text.to_owned()),
            None => self.kind.judge(change, before, after),
        })
    }

    fn reply(&self, done: &[Done]) -> Result<Vec<u8>, Status> {
        self.kind.reply(&self.seen, done)
    }

    fn failure(&self, done: &[Done], lines: String) -> Status {
        self.kind.failure(&self.seen, done, lines)
    }
}
