//! What the primaries of a keyspace's shards hold: the targets, what is read of each, page after page, and one second reading of a
//! shard's record where a tablet turns out not to be its primary any more.
//!
//! Whoever asks sidecar tables of a keyspace's primaries does it by a survey, reads and writes alike (a snapshot, which asks all
//! tablets, does not): it says what it looks at on each target and gets a target back as soon as the last look at it has ended.
//! No target waits for another.

use std::collections::BTreeMap;

use crate::{
    contract::{Answer, AskId, FailureKind, Lost, Status},
    operation::Asks,
    sidecar::{
        fused::Fused,
        migration_read::MigrationRead,
        query::Query,
        read::{Next, Read},
        result::RowSet,
    },
    topo::{
        said::says_not_primary,
        targets::{Event, Target, Targets, Unreached},
    },
};

/// One look at a target.
pub(crate) enum Look {
    /// Rows of a table of vreplication, to their end.
    Rows(Read),
    /// Streams, copy states and logs: as one statement, and three looks of their own from then on.
    Fused(Box<Fused>),
    /// Rows of the table of schema migrations, to their end.
    Migrations(MigrationRead),
    /// One question.
    One(Query),
}

/// What a look showed.
#[derive(Clone, Debug)]
pub(crate) enum Looked {
    /// The rows, a page at a time; and why there are no more, if there should be.
    Rows(Vec<RowSet>, Option<String>),
    /// The response to one question.
    Called(Vec<u8>),
    /// No response to one question, and why.
    Refused(FailureKind, String),
}

impl From<Answer> for Looked {
    /// The answer to one question.
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Called(response) => Self::Called(response),
            Answer::Failed { kind, message } => Self::Refused(kind, message),
            _ => Self::Rows(Vec::new(), Some("the tablet call was answered with a topology record".into())),
        }
    }
}

impl Looked {
    /// Why the rows, or some of them, cannot be seen. That one question was refused is an answer.
    pub(crate) fn failure(&self) -> Option<&str> {
        match self {
            Self::Rows(_, Some(text)) => Some(text),
            Self::Rows(_, None) | Self::Called(_) | Self::Refused(..) => None,
        }
    }

    /// The response to one question.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn response(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Called(response) => Ok(response),
            Self::Refused(_, text) | Self::Rows(_, Some(text)) => Err(text),
            Self::Rows(_, None) => Err("rows were looked at, and no question was asked".into()),
        }
    }

    /// The rows, and why there are no more.
    pub(crate) fn parts(self) -> (Vec<RowSet>, Option<String>) {
        match self {
            Self::Rows(pages, error) => (pages, error),
            Self::Refused(_, text) => (Vec::new(), Some(text)),
            Self::Called(_) => (Vec::new(), None),
        }
    }

    /// The rows, all or nothing.
    ///
    /// # Errors
    /// Why some are missing. A look that was one question has no rows.
    pub(crate) fn whole(self) -> Result<Vec<RowSet>, String> {
        match self {
            Self::Rows(pages, None) => Ok(pages),
            Self::Rows(_, Some(text)) | Self::Refused(_, text) => Err(text),
            Self::Called(_) => Ok(Vec::new()),
        }
    }
}

/// What an answer does to a look.
pub(crate) enum Progress {
    /// It goes on: [`Look::query`] has the next statement.
    Again(Look),
    Ended(Looked),
    /// It is several now: the first has its number, the others those that follow.
    Parts(Vec<Progress>),
}

impl Progress {
    fn new(look: Look, next: Next) -> Self {
        match next {
            Next::Again => Self::Again(look),
            Next::Done => Self::Ended(Looked::Rows(look.into_pages(), None)),
            Next::Failed(text) => Self::Ended(Looked::Rows(look.into_pages(), Some(text))),
        }
    }

    /// What all looks showed that it is now, by number, the first one's being `first`.
    ///
    /// # Errors
    /// Itself, where one of them goes on.
    pub(crate) fn ended(self, first: usize) -> Result<BTreeMap<usize, Looked>, Box<Self>> {
        match self {
            Self::Ended(looked) => Ok(BTreeMap::from([(first, looked)])),
            Self::Parts(parts) if parts.iter().all(|part| matches!(part, Self::Ended(_))) => {
                let looked =
                    parts.into_iter().filter_map(|part| if let Self::Ended(looked) = part { Some(looked) } else { None });
                Ok((first..).zip(looked).collect())
            }
            other => Err(Box::new(other)),
        }
    }
}

/// The answer to one statement for all of a target, which takes a while to read: on any thread.
pub(crate) struct Unread {
    index: usize,
    number: usize,
    look: Look,
    answer: Answer,
}

impl Unread {
    /// The target's index.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The number of the first look, and what becomes of them: for [`Survey::read`], unless all have ended.
    pub(crate) fn read(self) -> (usize, Progress) {
        (self.number, self.look.answered(self.answer))
    }
}

impl Look {
    /// What to send now.
    pub(crate) fn query(&self) -> Query {
        match self {
            Self::Rows(read) => Query::vreplication(read.subject().name(), read.statement()),
            Self::Fused(fused) => Query::vreplication(fused.subject(), fused.statement()),
            Self::Migrations(read) => read.query(),
            Self::One(query) => query.clone(),
        }
    }

    /// Takes the answer to it.
    pub(crate) fn answered(self, answer: Answer) -> Progress {
        match self {
            Self::Rows(mut read) => {
                let next = read.answered(answer);
                Progress::new(Self::Rows(read), next)
            }
            Self::Fused(fused) => {
                let parts = fused.answered(answer).into_iter();
                Progress::Parts(parts.map(|(read, next)| Progress::new(Self::Rows(read), next)).collect())
            }
            Self::Migrations(mut read) => {
                let next = read.answered(answer);
                Progress::new(Self::Migrations(read), next)
            }
            Self::One(_) => Progress::Ended(answer.into()),
        }
    }

    fn into_pages(self) -> Vec<RowSet> {
        match self {
            Self::Rows(read) => read.into_pages(),
            Self::Migrations(read) => read.into_pages(),
            Self::Fused(_) | Self::One(_) => Vec::new(),
        }
    }
}

/// What an answer brought.
pub(crate) enum Found {
    /// A target, by its index, of which nothing has been asked yet: [`Survey::look`] is due.
    Target(usize),
    /// All looks at this target have ended.
    Seen(usize),
    /// A shard without target.
    Unreached(Unreached),
    /// There is nobody to ask, and why.
    Nobody(Event),
}

/// Whether a target's shard may be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reread {
    /// Nobody has said that it is not the primary.
    NotNeeded,
    /// The tablet said so; when its last look has ended, the shard is read again. Not before: which of its looks said so, and
    /// when, must not show.
    Due,
    /// The shard was read again. What is said now is the answer.
    Done,
}

/// A target and what has been seen of it.
pub(crate) struct Asked {
    pub(crate) target: Target,
    /// By look.
    pub(crate) looked: BTreeMap<usize, Looked>,
    outstanding: usize,
    reread: Reread,
    /// Nobody is primary of its shard any more: what this tablet said is out of date.
    is_gone: bool,
    /// Why the second reading of its shard's record did not tell who is primary: what the tablet said stands for who reads, and is not
    /// enough for who writes.
    pub(crate) not_reread: Option<Unreached>,
}

/// The survey of one keyspace.
pub(crate) struct Survey {
    targets: Targets,
    asked: Vec<Asked>,
    /// The shards that were read again, and which target each one was before.
    reread: BTreeMap<String, usize>,
    /// The looks under way: which target's, and which of its looks.
    waiting: BTreeMap<AskId, (usize, usize, Look)>,
}

impl Survey {
    /// Begins. `shards` empty means all.
    ///
    /// # Errors
    /// A keyspace name that cannot be part of a path.
    pub(crate) fn start(keyspace: &str, shards: &[String], asks: &mut Asks) -> Result<Self, Status> {
        let targets = Targets::start(keyspace, shards, asks)?;
        Ok(Self { targets, asked: Vec::new(), reread: BTreeMap::new(), waiting: BTreeMap::new() })
    }

    /// How many targets there are, at most: known when the first of them is.
    pub(crate) fn count(&self) -> usize {
        self.targets.count()
    }

    /// Whether every target has been found and seen.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.targets.is_done()
    }

    /// Whether an ask is one of the survey's.
    pub(crate) fn waits_for(&self, id: AskId) -> bool {
        self.waiting.contains_key(&id) || self.targets.waits_for(id)
    }

    /// A target by its index.
    pub(crate) fn target(&self, index: usize) -> Option<&Target> {
        self.asked.get(index).map(|asked| &asked.target)
    }

    /// What a target shows, by its index; the looks are taken out.
    pub(crate) fn take(&mut self, index: usize) -> BTreeMap<usize, Looked> {
        self.asked.get_mut(index).map(|asked| std::mem::take(&mut asked.looked)).unwrap_or_default()
    }

    /// The targets that have turned out to be some, in the order in which they were found.
    pub(crate) fn asked(&self) -> impl Iterator<Item = &Asked> {
        self.asked.iter().filter(|asked| !asked.is_gone)
    }

    /// The same with their indices, without what they showed.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (usize, &Target)> {
        self.asked.iter().enumerate().filter(|(_, asked)| !asked.is_gone).map(|(index, asked)| (index, &asked.target))
    }

    /// The targets by value, with their indices, in the order of shards; and whether there never were any.
    pub(crate) fn take_targets(&mut self) -> (Vec<(usize, Target)>, bool) {
        let asked = std::mem::take(&mut self.asked);
        let asked_nobody = asked.is_empty();
        let still_there = asked.into_iter().enumerate().filter(|(_, asked)| !asked.is_gone);
        let mut targets: Vec<(usize, Target)> = still_there.map(|(index, asked)| (index, asked.target)).collect();
        targets.sort_by(|(_, a), (_, b)| a.place.order(&b.place));
        (targets, asked_nobody)
    }

    /// As [`Survey::asked`], in the order of shards, by value.
    pub(crate) fn into_asked(self) -> Vec<Asked> {
        let mut asked: Vec<Asked> = self.asked.into_iter().filter(|asked| !asked.is_gone).collect();
        asked.sort_by(|a, b| a.target.place.order(&b.target.place));
        asked
    }

    /// Looks at a target, at all of this at once. `first` is the number of the first of them: looks that follow from what others
    /// showed have their own.
    pub(crate) fn look(&mut self, index: usize, first: usize, looks: Vec<Look>, asks: &mut Asks) {
        for (number, look) in looks.into_iter().enumerate() {
            self.send(index, first + number, look, asks);
        }
    }

    fn send(&mut self, index: usize, number: usize, look: Look, asks: &mut Asks) {
        let Some(asked) = self.asked.get_mut(index) else { return };
        asked.outstanding += 1;
        self.waiting.insert(asks.release(look.query().ask(&asked.target)), (index, number, look));
    }

    /// Takes a tablet's response to one statement for all.
    ///
    /// # Errors
    /// The answer is another one, for [`Survey::answered`].
    pub(crate) fn unread(&mut self, id: AskId, answer: Answer) -> Result<Unread, Answer> {
        if !matches!((self.waiting.get(&id), &answer), (Some((_, _, Look::Fused(_))), Answer::Called(_))) {
            return Err(answer);
        }
        let Some((index, number, look)) = self.waiting.remove(&id) else { return Err(answer) };
        if let Some(asked) = self.asked.get_mut(index) {
            asked.outstanding -= 1;
        }
        Ok(Unread { index, number, look, answer })
    }

    /// Takes what became of a target's looks when that was read.
    pub(crate) fn read(&mut self, index: usize, number: usize, progress: Progress, asks: &mut Asks) -> Option<Found> {
        self.go_on(index, number, progress, asks);
        self.rested(index, asks)
    }

    /// Takes an answer, if it is to one of the survey's asks.
    pub(crate) fn answered(&mut self, id: AskId, answer: Answer, asks: &mut Asks) -> Vec<Found> {
        if let Some((index, number, look)) = self.waiting.remove(&id) {
            return self.looked(index, number, look, answer, asks).into_iter().collect();
        }
        let events = self.targets.answered(id, answer, asks);
        events.into_iter().map(|event| self.event(event)).collect()
    }

    fn looked(&mut self, index: usize, number: usize, look: Look, answer: Answer, asks: &mut Asks) -> Option<Found> {
        let asked = self.asked.get_mut(index)?;
        asked.outstanding -= 1;
        if says_not_primary(&answer) && asked.reread == Reread::NotNeeded {
            asked.reread = Reread::Due;
        }
        self.go_on(index, number, look.answered(answer), asks);
        self.rested(index, asks)
    }

    /// What follows for a target of which a look has ended.
    fn rested(&mut self, index: usize, asks: &mut Asks) -> Option<Found> {
        let asked = self.asked.get_mut(index)?;
        if asked.outstanding > 0 {
            return None;
        }
        if asked.reread == Reread::Due {
            asked.reread = Reread::Done;
            let shard = asked.target.place.shard.clone();
            self.targets.again(&shard, asks);
            self.reread.insert(shard, index);
            return None;
        }
        Some(Found::Seen(index))
    }

    fn go_on(&mut self, index: usize, number: usize, progress: Progress, asks: &mut Asks) {
        match progress {
            Progress::Again(look) => self.send(index, number, look, asks),
            Progress::Ended(looked) => {
                if let Some(asked) = self.asked.get_mut(index) {
                    asked.looked.insert(number, looked);
                }
            }
            Progress::Parts(parts) => {
                for (place, part) in parts.into_iter().enumerate() {
                    self.go_on(index, number + place, part, asks);
                }
            }
        }
    }

    fn event(&mut self, event: Event) -> Found {
        match event {
            Event::Target(target) => {
                let before = self.reread.get(&target.place.shard).copied();
                let asked = Asked {
                    target,
                    looked: BTreeMap::new(),
                    outstanding: 0,
                    reread: Reread::NotNeeded,
                    is_gone: false,
                    not_reread: None,
                };
                if let Some((index, old)) = before.and_then(|index| Some((index, self.asked.get_mut(index)?))) {
                    *old = Asked { reread: Reread::Done, ..asked };
                    return Found::Target(index);
                }
                self.asked.push(asked);
                Found::Target(self.asked.len() - 1)
            }
            Event::Unreached(unreached) => match self.reread.get(&unreached.place.shard).copied() {
                None => Found::Unreached(unreached),
                Some(index) if unreached.lost == Lost::NoPrimary => {
                    if let Some(asked) = self.asked.get_mut(index) {
                        asked.is_gone = true;
                        asked.looked.clear();
                    }
                    Found::Unreached(unreached)
                }
                // Nothing new came of it: what the tablet said stands.
                Some(index) => {
                    if let Some(asked) = self.asked.get_mut(index) {
                        asked.not_reread = Some(unreached);
                    }
                    Found::Seen(index)
                }
            },
            Event::NoKeyspace { .. } | Event::NoShards(_) | Event::NoShard { .. } | Event::Fatal(_) => Found::Nobody(event),
        }
    }
}
